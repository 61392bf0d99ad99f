package pedigree

import (
	"cmp"
	"encoding/json"
	"slices"
	"strings"
	"time"
)

// Version is one registered version of a model: its record, what was amended, and
// what is said of it today (or at the moment that was asked about).
type Version struct {
	Project ProjectName   `json:"project"`
	Model   Name          `json:"model"`
	ModelID string        `json:"model_id"`
	Number  VersionNumber `json:"version"`
	// Record is the record with all amendments applied.
	Record Record `json:"record"`
	// RecordDigest is a hash over the payload digests of the registration and of
	// its material amendments, in order.
	RecordDigest Digest `json:"record_digest"`
	// Amendments are the changes of the record, oldest first.
	Amendments  []Amendment       `json:"amendments,omitempty"`
	Description string            `json:"description,omitempty"`
	Tags        map[string]string `json:"tags,omitempty"`
	Aliases     []Alias           `json:"aliases,omitempty"`
	// Archived versions are hidden from lists and take no alias.
	Archived bool `json:"archived,omitempty"`
	// Withdrawn versions are barred everywhere; nil for the others.
	Withdrawn *Withdrawal `json:"withdrawn,omitempty"`
	// Approval is the state of its approval; nil where nobody was asked and no policy asks.
	Approval     *Approval      `json:"approval,omitempty"`
	Completeness []Completeness `json:"completeness,omitempty"`
	CreatedAt    time.Time      `json:"created_at"`
	CreatedBy    string         `json:"created_by"`
	// Imported says where it was before it came here; nil for a version that was
	// registered here first.
	Imported *Imported `json:"imported,omitempty"`
	// Seq is the event that registered it, Changed the last one that changed it;
	// Changed is its ETag.
	Seq     int64 `json:"seq"`
	Changed int64 `json:"changed"`
	// Erased are the record fields whose values were erased by law.
	Erased []string `json:"erased,omitempty"`
	Named
}

// Imported is what another registry said of a version that was brought here from there.
// It is shown, and steers nothing: the version was registered here when the log says so,
// by whom the log says.
type Imported struct {
	// From is the address of that registry, ID the version's name there: "fraud/3".
	From SafeURI `json:"from"`
	ID   string  `json:"id"`
	// Author is who registered it there.
	Author string `json:"author,omitempty"`
	// CreatedAt and ChangedAt are its times there.
	CreatedAt *time.Time `json:"created_at,omitempty"`
	ChangedAt *time.Time `json:"changed_at,omitempty"`
}

// Amendment is one change of a record: the fields that it replaced, whole.
type Amendment struct {
	Seq    int64     `json:"seq"`
	Time   time.Time `json:"time"`
	Actor  string    `json:"actor"`
	Reason string    `json:"reason,omitempty"`
	// Fields are the new values by JSON key of [Record]. An erased value is null.
	Fields map[string]json.RawMessage `json:"fields"`
}

// Registration is what a caller gives to register a version.
type Registration struct {
	Record      Record            `json:"record"`
	Tags        map[string]string `json:"tags,omitempty"`
	Description string            `json:"description,omitempty"`
	// Aliases point to the new version in the same append.
	Aliases []Alias `json:"aliases,omitempty"`
	// CreateModel makes the model first, in the same append, where there is none.
	CreateModel bool `json:"create_model,omitempty"`
	// Imported, where not nil, says where the version comes from: an administrator's
	// right. Number may then ask for the number that it had there, which must be above
	// every number that the model ever gave; 0 asks for the next.
	Imported *Imported     `json:"imported,omitempty"`
	Number   VersionNumber `json:"version,omitempty"`
}

// Registered is the answer to a [Registration].
type Registered struct {
	Version
	// CreatedModel says that the registration made the model.
	CreatedModel bool `json:"created_model,omitempty"`
	// Similar is a model with nearly the same name, where the registration made one:
	// perhaps that one was meant.
	Similar Name `json:"similar,omitempty"`
}

// Amend is what a caller gives to amend a record. Scalars and structs replace;
// lists and params merge by key (a metric by name, data set and split; a data
// reference by role and URI; an output, a flavor or evidence by its name; a parent by its
// version, or reference and URI), unless Replace names the field.
type Amend struct {
	Record  Record   `json:"record"`
	Replace []string `json:"replace,omitempty"`
	Reason  string   `json:"reason,omitempty"`
}

// VersionEdit changes what is said of a version beside its record.
type VersionEdit struct {
	// Description, where not nil, is the new description.
	Description *string `json:"description,omitempty"`
	// Tags are set; the others stay.
	Tags map[string]string `json:"tags,omitempty"`
}

// FileCheck is the finding about one stored file, when the bytes of a version are read
// again.
type FileCheck struct {
	// Path is the file's path; "(manifest)", "(config)" and "evidence/NAME" are not
	// part of the artifact's folder.
	Path   string `json:"path"`
	Digest Digest `json:"digest"`
	Size   int64  `json:"size"`
	// Problem says what is wrong; "" for a file that is whole.
	Problem string `json:"problem,omitempty"`
}

// Summary is a version as lists show it.
type Summary struct {
	Project   ProjectName   `json:"project"`
	Model     Name          `json:"model"`
	ModelID   string        `json:"model_id"`
	Number    VersionNumber `json:"version"`
	Kind      ArtifactKind  `json:"kind"`
	Digest    Digest        `json:"digest,omitempty"`
	Size      *int64        `json:"size,omitempty"`
	Owner     string        `json:"owner,omitempty"`
	Aliases   []Alias       `json:"aliases,omitempty"`
	Archived  bool          `json:"archived,omitempty"`
	CreatedAt time.Time     `json:"created_at"`
	CreatedBy string        `json:"created_by"`
	Seq       int64         `json:"seq"`
	// Withdrawn versions are barred everywhere.
	Withdrawn bool `json:"withdrawn,omitempty"`
	// Approval is the state of its approval; "" where nobody was asked and no policy asks.
	Approval ApprovalState `json:"approval,omitempty"`
	// Waiting is the request, in the list of what waits for an approval; nil in others.
	Waiting *Waiting `json:"waiting,omitempty"`
	// Have and Want are the completeness for deployment.
	Have int `json:"have"`
	Want int `json:"want"`
}

// Resolved is what a reference points to: enough to fetch the bytes.
type Resolved struct {
	Project ProjectName   `json:"project"`
	Model   Name          `json:"model"`
	ModelID string        `json:"model_id"`
	Number  VersionNumber `json:"version"`
	Kind    ArtifactKind  `json:"kind"`
	Digest  Digest        `json:"digest,omitempty"`
	// AsOf is the size of the log that the answer holds for.
	AsOf int64 `json:"as_of"`
}

// VersionSubject is the opaque id of a version in the log: "mdl_…/7".
func VersionSubject(modelID string, n VersionNumber) string { return modelID + "/" + n.String() }

// SplitVersionSubject is the inverse of [VersionSubject]; ok is false for any
// other subject.
func SplitVersionSubject(subject string) (modelID string, n VersionNumber, ok bool) {
	id, digits, found := strings.Cut(subject, "/")
	if !found || !strings.HasPrefix(id, "mdl_") {
		return "", 0, false
	}
	n, err := ParseVersionNumber(digits)
	return id, n, err == nil
}

// Reference names v for people: "fraud/7", with its project unless that is the default.
func (v *Version) Reference() Reference {
	ref := Reference{Project: v.Project, Model: v.Model, Version: v.Number}
	if ref.Project == DefaultProject {
		ref.Project = ""
	}
	return ref
}

// Exact names v with its project, for another question about the same version.
func (v *Version) Exact() Reference {
	return Reference{Project: v.Project, Model: v.Model, Version: v.Number}
}

// Subject is the opaque id of v in the log.
func (v *Version) Subject() string { return VersionSubject(v.ModelID, v.Number) }

// RegisterVersion decides the registration of the next version of the model with
// modelID. The record must be normalized and its parents resolved. It returns
// [CodeInvalid].
func RegisterVersion(modelID string, reg Registration) ([]Draft, error) {
	c := &checker{}
	c.err(CheckTags(reg.Tags))
	c.text("description", reg.Description, MaxText)
	c.check(reg.Number == 0 || reg.Imported != nil, "the registry numbers versions itself; only an imported one can ask for a number")
	c.check(reg.Number >= 0, "version %d is not a number of a version", reg.Number)
	if m := reg.Imported; m != nil {
		c.check(m.From != "" && m.ID != "", "an imported version needs the address it comes from and its id there")
		c.texts("imported", MaxURI, m.ID, m.Author)
	}
	if c.failed != nil {
		return nil, c.failed
	}
	p := Payload{}
	for key, value := range reg.Record.Fields() {
		p[key] = value
	}
	if len(reg.Tags) > 0 {
		p["tags"] = reg.Tags
	}
	if reg.Imported != nil {
		p["imported"] = reg.Imported
	}
	p = p.with("description", reg.Description)
	next := modelID + NextVersion
	var refs []string
	for _, parent := range reg.Record.Parents {
		if parent.ModelID != "" {
			refs = append(refs, VersionSubject(parent.ModelID, parent.Version))
		}
	}
	drafts := []Draft{{Type: VersionRegistered, Subject: next, Refs: refs, Payload: p, Number: reg.Number}}
	for _, alias := range reg.Aliases {
		drafts = append(drafts, Draft{
			Type: AliasMoved, Subject: modelID, Refs: []string{next},
			Payload: Payload{"alias": alias, "version": VersionNumber(0)},
		})
	}
	return drafts, nil
}

// Amend decides a change of v's record. It returns [CodeInvalid], [CodeRefused] for
// a change of a stored artifact's bytes (register a version instead), and no event
// where nothing changes.
func (v *Version) Amend(amend Amend) ([]Draft, error) {
	for _, f := range amend.Replace {
		if !slices.Contains(RecordFields, f) {
			return nil, Errorf(CodeInvalid, "replace: %q is not a field of the record; they are %s", clip(f), strings.Join(RecordFields, ", "))
		}
	}
	if err := checkText("reason", amend.Reason, MaxText); err != nil {
		return nil, err
	}
	next := v.Record.merge(amend.Record, amend.Replace)
	if err := next.Normalize(); err != nil {
		return nil, err
	}
	if v.Record.Artifact.Kind == ArtifactStored && next.Artifact.Digest != v.Record.Artifact.Digest {
		return nil, Errorf(CodeRefused, "%s has its bytes; an amendment can't change them", v.Reference()).
			WithFix("register a new version: pedigree push %s PATH", v.Model)
	}
	before, after := v.Record.Fields(), next.Fields()
	p := Payload{}
	for _, key := range RecordFields {
		if string(before[key]) == string(after[key]) {
			continue
		}
		if after[key] == nil {
			p[key] = nil
		} else {
			p[key] = after[key]
		}
	}
	if len(p) == 0 {
		return nil, nil
	}
	return []Draft{{Type: VersionAmended, Subject: v.Subject(), Payload: p.with("reason", amend.Reason)}}, nil
}

// merge returns r with change laid over it.
func (r *Record) merge(change Record, replace []string) Record {
	whole := func(field string) bool { return slices.Contains(replace, field) }
	next := *r
	if change.Artifact.Kind != "" {
		next.Artifact = change.Artifact
	}
	if change.Code != nil || whole("code") {
		next.Code = change.Code
	}
	if change.Runtime != nil || whole("runtime") {
		next.Runtime = change.Runtime
	}
	if change.Run != nil || whole("run") {
		next.Run = change.Run
	}
	if change.Signature != nil || whole("signature") {
		next.Signature = change.Signature
	}
	if change.Owner != "" || whole("owner") {
		next.Owner = change.Owner
	}
	if change.Target != "" || whole("target") {
		next.Target = change.Target
	}
	if change.RollbackNote != "" || whole("rollback_note") {
		next.RollbackNote = change.RollbackNote
	}
	params := Params{}
	if !whole("params") {
		for k, v := range r.Params {
			params[k] = v
		}
	}
	for k, v := range change.Params {
		params[k] = v
	}
	next.Params = params
	next.Data = mergeList(r.Data, change.Data, whole("data"), func(d DataReference) string { return d.Role + "\x00" + string(d.URI) })
	next.Metrics = mergeList(r.Metrics, change.Metrics, whole("metrics"), func(m Metric) string { return m.Name + "\x00" + m.Dataset + "\x00" + m.Split })
	next.Outputs = mergeList(r.Outputs, change.Outputs, whole("outputs"), func(o Output) string { return cmp.Or(o.Name, string(o.URI), string(o.Digest)) })
	next.Parents = mergeList(r.Parents, change.Parents, whole("parents"), func(p Parent) string {
		if p.ModelID != "" {
			return VersionSubject(p.ModelID, p.Version)
		}
		return p.Reference + "\x00" + string(p.URI)
	})
	next.Flavors = mergeList(r.Flavors, change.Flavors, whole("flavors"), func(f Flavor) string { return f.Name })
	next.Evidence = mergeList(r.Evidence, change.Evidence, whole("evidence"), func(e Evidence) string { return e.Name })
	return next
}

func mergeList[T any](old, change []T, replace bool, key func(T) string) []T {
	if replace {
		return change
	}
	out := slices.Clone(old)
	for _, c := range change {
		if i := slices.IndexFunc(out, func(o T) bool { return key(o) == key(c) }); i >= 0 {
			out[i] = c
		} else {
			out = append(out, c)
		}
	}
	return out
}

// Describe decides a new description. It returns [CodeInvalid].
func (v *Version) Describe(description string) ([]Draft, error) {
	if err := checkText("description", description, MaxText); err != nil {
		return nil, err
	}
	if description == v.Description {
		return nil, nil
	}
	return []Draft{{Type: VersionEdited, Subject: v.Subject(), Payload: Payload{"description": description}}}, nil
}

// Tag decides that tags are set on v. It returns [CodeInvalid], and [CodeRefused] where one
// would put a withdrawn version into a stage.
func (v *Version) Tag(tags map[string]string) ([]Draft, error) {
	if err := CheckTags(tags); err != nil {
		return nil, err
	}
	if stage := StageOf(tags[StageTag]); stage != StageOf(v.Tags[StageTag]) {
		if err := v.enter(stage); err != nil {
			return nil, err
		}
	}
	return tagDrafts(VersionTagged, v.Subject(), v.Tags, tags), nil
}

// Untag decides that a tag of v is removed. It returns [CodeNotFound] where it is
// not set.
func (v *Version) Untag(key string) ([]Draft, error) {
	if _, ok := v.Tags[key]; !ok {
		return nil, Errorf(CodeNotFound, "%s has no tag %q", v.Reference(), clip(key))
	}
	return []Draft{{Type: VersionUntagged, Subject: v.Subject(), Payload: Payload{"key": key}}}, nil
}

func tagDrafts(t EventType, subject string, have, set map[string]string) []Draft {
	var drafts []Draft
	for _, key := range sortedKeys(set) {
		if old, ok := have[key]; !ok || old != set[key] {
			drafts = append(drafts, Draft{Type: t, Subject: subject, Payload: Payload{"key": key, "value": set[key]}})
		}
	}
	return drafts
}

// Archive decides that v is hidden from lists. It returns [CodeRefused] while an
// alias names it, and no event where it is archived already.
func (v *Version) Archive(reason string) ([]Draft, error) {
	if err := checkText("reason", reason, MaxText); err != nil {
		return nil, err
	}
	if v.Archived {
		return nil, nil
	}
	if len(v.Aliases) > 0 {
		return nil, Errorf(CodeRefused, "%s is in use: alias %s names it", v.Reference(), v.Aliases[0]).
			WithFix("pedigree alias set %s@%s OTHER, or pedigree alias rm %s@%s", v.Model, v.Aliases[0], v.Model, v.Aliases[0])
	}
	return []Draft{{Type: VersionArchived, Subject: v.Subject(), Payload: Payload{}.with("reason", reason)}}, nil
}

// Restore undoes [Version.Archive]; no event where it is not archived.
func (v *Version) Restore(reason string) ([]Draft, error) {
	if err := checkText("reason", reason, MaxText); err != nil {
		return nil, err
	}
	if !v.Archived {
		return nil, nil
	}
	return []Draft{{Type: VersionRestored, Subject: v.Subject(), Payload: Payload{}.with("reason", reason)}}, nil
}

// Delete decides that v is gone from every list and can't be found by number;
// the aliases that named it go with it. Its history stays, and its number is never
// used again. It returns [CodeRefused] while an alias names it, unless force says that
// this is known.
func (v *Version) Delete(reason string, force bool) ([]Draft, error) {
	if err := checkText("reason", reason, MaxText); err != nil {
		return nil, err
	}
	if len(v.Aliases) > 0 && !force {
		return nil, Errorf(CodeRefused, "%s is in use: alias %s names it", v.Reference(), v.Aliases[0]).
			WithFix("move the alias first, or delete with --force")
	}
	var drafts []Draft
	for _, a := range v.Aliases {
		drafts = append(drafts, Draft{Type: AliasRemoved, Subject: v.ModelID, Refs: []string{v.Subject()}, Payload: Payload{"alias": a}})
	}
	return append(drafts, Draft{Type: VersionDeleted, Subject: v.Subject(), Payload: Payload{}.with("reason", reason)}), nil
}

// FoldRecord fills v's record, digest, amendments and erased fields from the events
// that registered and amended it, oldest first. It returns [CodeCorrupt] for payloads
// that don't fit.
func FoldRecord(v *Version, events []Event) error {
	v.Record, v.Amendments, v.Erased, v.Imported = Record{}, nil, nil, nil
	current := map[string]json.RawMessage{}
	erased := map[string]bool{}
	digest := NewHasher()
	for i := range events {
		e := &events[i]
		material := e.Type == VersionRegistered
		amendment := Amendment{Seq: e.Seq, Time: e.Time, Actor: e.Actor, Fields: map[string]json.RawMessage{}}
		for _, f := range e.Fields {
			if f.Name == "reason" && e.Type == VersionAmended {
				amendment.Reason = e.String("reason")
				continue
			}
			if f.Name == "imported" && f.Erased() {
				erased[f.Name] = true
			}
			if !slices.Contains(RecordFields, f.Name) {
				continue
			}
			material = material || Material(f.Name)
			amendment.Fields[f.Name] = f.Value
			if f.Erased() {
				amendment.Fields[f.Name] = json.RawMessage("null")
			}
			delete(current, f.Name)
			if erased[f.Name] = f.Erased(); !f.Erased() && string(f.Value) != "null" {
				current[f.Name] = f.Value
			}
		}
		if material {
			_, _ = digest.Write([]byte(e.PayloadDigest + "\n"))
		}
		switch e.Type {
		case VersionRegistered:
			v.CreatedAt, v.CreatedBy = e.Time, e.Actor
			if _, err := e.Decode("imported", &v.Imported); err != nil {
				return err
			}
		default:
			v.Amendments = append(v.Amendments, amendment)
		}
	}
	if err := json.Unmarshal(marshal(current), &v.Record); err != nil {
		return Errorf(CodeCorrupt, "the record of %s can't be read: %w", v.Reference(), err)
	}
	if v.Record.Artifact.Kind == "" {
		v.Record.Artifact.Kind = ArtifactNone
	}
	for _, name := range sortedKeys(erased) {
		if erased[name] {
			v.Erased = append(v.Erased, name)
		}
	}
	v.RecordDigest = digest.Digest()
	return nil
}
