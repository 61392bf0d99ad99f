package pedigree

import (
	"encoding/json"
	"regexp"
	"sort"
	"strings"
	"time"
)

// Record is everything that somebody may need to know of a version later. It is
// immutable; an amendment replaces whole fields of it, and both stay readable. Its
// JSON keys are the payload fields of the event version.registered.
type Record struct {
	Artifact  Artifact        `json:"artifact,omitzero"`
	Code      *Code           `json:"code,omitempty"`
	Runtime   *Runtime        `json:"runtime,omitempty"`
	Data      []DataReference `json:"data,omitempty"`
	Params    Params          `json:"params,omitempty"`
	Metrics   []Metric        `json:"metrics,omitempty"`
	Run       *Run            `json:"run,omitempty"`
	Outputs   []Output        `json:"outputs,omitempty"`
	Parents   []Parent        `json:"parents,omitempty"`
	Signature *Signature      `json:"signature,omitempty"`
	Flavors   []Flavor        `json:"flavors,omitempty"`
	Evidence  []Evidence      `json:"evidence,omitempty"`
	// Owner is a person or a group: "ann", "team:risk".
	Owner string `json:"owner,omitempty"`
	// Target is the intended place of use: "prod/fraud-api".
	Target string `json:"target,omitempty"`
	// RollbackNote says what to mind when going back from this version.
	RollbackNote string `json:"rollback_note,omitempty"`
}

// Params are the parameters of the training, as text.
type Params map[string]string

// Code is where the training code is.
type Code struct {
	Repository SafeURI `json:"repository,omitempty"`
	// Commit is a full commit id.
	Commit string `json:"commit,omitempty"`
	Branch string `json:"branch,omitempty"`
	// Path is the script or notebook inside the repository.
	Path string `json:"path,omitempty"`
	// Dirty says that the work tree differed from the commit; what differed is
	// evidence of kind "patch" or "notebook" unless it was left out.
	Dirty bool `json:"dirty,omitempty"`
}

// Runtime is what ran the training.
type Runtime struct {
	// Image is a container image reference, with its digest where known.
	Image       string       `json:"image,omitempty"`
	Environment *Environment `json:"environment,omitempty"`
	Compute     *Compute     `json:"compute,omitempty"`
	// Seconds is how long the training ran.
	Seconds *Float `json:"seconds,omitempty"`
}

// Environment is the set of packages that the training ran with.
type Environment struct {
	// Manager wrote the list: "uv", "poetry", "pip", "conda" …
	Manager string `json:"manager,omitempty"`
	// Python is the interpreter's version.
	Python string `json:"python,omitempty"`
	// File is the lock file's name and Digest its content, where there is one.
	File   string `json:"file,omitempty"`
	Digest Digest `json:"digest,omitempty"`
	// Packages are requirement lines, "name==version", sorted and without credentials.
	Packages []string `json:"packages,omitempty"`
}

// Compute is the machine that the training ran on.
type Compute struct {
	OS     string `json:"os,omitempty"`
	Arch   string `json:"arch,omitempty"`
	CPU    string `json:"cpu,omitempty"`
	Cores  int    `json:"cores,omitempty"`
	Memory int64  `json:"memory,omitempty"` // bytes
	// GPUs has one entry a device.
	GPUs         []string `json:"gpus,omitempty"`
	InstanceType string   `json:"instance_type,omitempty"`
}

// DataKind says what a data reference is.
type DataKind string

// The five kinds of data reference.
const (
	DataCopy     DataKind = "copy"     // the full data set is kept with the model
	DataSnapshot DataKind = "snapshot" // a pointer to an immutable snapshot
	DataFeatures DataKind = "features" // a feature view of a feature store
	DataQuery    DataKind = "query"    // a query, to be run as of its version
	DataLineage  DataKind = "lineage"  // metadata only: an id in a lineage system
)

// DataReference says which data fed the training, and in which role.
type DataReference struct {
	// Role is train, validation, test, features or a word of the team's.
	Role string   `json:"role"`
	Kind DataKind `json:"kind"`
	URI  SafeURI  `json:"uri,omitempty"`
	// Query is the text of a query.
	Query   string `json:"query,omitempty"`
	Version string `json:"version,omitempty"`
	Digest  Digest `json:"digest,omitempty"`
	// Size in bytes; a copy shows it.
	Size *int64 `json:"size,omitempty"`
	// Personal says whether the data is about people; nil where nobody said.
	Personal *bool `json:"personal,omitempty"`
	// Subjects says whose: "customers in the EU".
	Subjects string `json:"subjects,omitempty"`
	// SubjectKey is the column or key that finds one person's rows.
	SubjectKey string `json:"subject_key,omitempty"`
}

// Metric is one offline measurement.
type Metric struct {
	Name  string `json:"name"`
	Value Float  `json:"value"`
	// Dataset is the role or name of the data that it was measured on, Digest its
	// digest, Split the part of it.
	Dataset string `json:"dataset,omitempty"`
	Digest  Digest `json:"digest,omitempty"`
	Split   string `json:"split,omitempty"`
}

// Run is the job that trained the version.
type Run struct {
	ID   string  `json:"id,omitempty"`
	Name string  `json:"name,omitempty"`
	URI  SafeURI `json:"uri,omitempty"`
	// System is where it ran: "github", "gitlab", "jenkins", "mlflow" …
	System string `json:"system,omitempty"`
	// User is who started it, as that system says.
	User      string     `json:"user,omitempty"`
	StartedAt *time.Time `json:"started_at,omitempty"`
	EndedAt   *time.Time `json:"ended_at,omitempty"`
	// Upstream are the runs of the pipeline that this run depended on.
	Upstream []UpstreamRun `json:"upstream,omitempty"`
}

// UpstreamRun is a run that another run depended on.
type UpstreamRun struct {
	ID   string  `json:"id,omitempty"`
	Name string  `json:"name,omitempty"`
	URI  SafeURI `json:"uri,omitempty"`
}

// Output is something that the training wrote besides the model. One whose URI or
// digest is another version's data reference makes a lineage edge.
type Output struct {
	Name   string  `json:"name,omitempty"`
	URI    SafeURI `json:"uri,omitempty"`
	Digest Digest  `json:"digest,omitempty"`
	Size   *int64  `json:"size,omitempty"`
}

// Relation says how a version came from its parent.
type Relation string

// The relations.
const (
	FineTunedFrom Relation = "fine_tuned_from"
	DistilledFrom Relation = "distilled_from"
	EnsembleOf    Relation = "ensemble_of"
	DerivedFrom   Relation = "derived_from"
)

// Parent is a lineage edge to another version, or to a base model outside.
type Parent struct {
	Relation Relation `json:"relation"`
	// Reference names a version of this registry; the registrar resolves it to
	// ModelID and Version, which stay true when names change.
	Reference string        `json:"reference,omitempty"`
	ModelID   string        `json:"model_id,omitempty"`
	Version   VersionNumber `json:"version,omitempty"`
	// URI names a base model outside, Digest its bytes.
	URI    SafeURI `json:"uri,omitempty"`
	Digest Digest  `json:"digest,omitempty"`
}

// Signature says what a version takes and gives.
type Signature struct {
	Inputs  []Column `json:"inputs,omitempty"`
	Outputs []Column `json:"outputs,omitempty"`
	Params  []Column `json:"params,omitempty"`
}

// Column is one named input or output.
type Column struct {
	Name     string  `json:"name,omitempty"`
	Type     string  `json:"type"`
	Shape    []int64 `json:"shape,omitempty"`
	Optional bool    `json:"optional,omitempty"`
}

// Flavor is one way to load the artifact, as an MLmodel file among its files says it.
type Flavor struct {
	// Name is the library's: "sklearn", "pytorch", or "python_function" for the form
	// that every serving tool of MLflow loads. It is unique within the record.
	Name string `json:"name"`
	// Version is the library's version that wrote it.
	Version string `json:"version,omitempty"`
	// Loader is the Python module that loads it: "mlflow.sklearn".
	Loader string `json:"loader,omitempty"`
	// Python is the version of the interpreter that wrote it.
	Python string `json:"python,omitempty"`
}

// requirement is the flavor with its version as a requirement line has it,
// "sklearn==1.5.0"; "" where the version is not known.
func (f *Flavor) requirement() string {
	if f.Version == "" {
		return ""
	}
	return f.Name + "==" + f.Version
}

// Evidence is an attached document or result. Its bytes are a blob of the project
// where Digest is set and URI is not.
type Evidence struct {
	// Name is a clean relative path, unique within the record.
	Name string `json:"name"`
	// Kind is evaluation, fairness, explainability, scan, card, patch, notebook,
	// environment or a word of the team's.
	Kind      string  `json:"kind"`
	Digest    Digest  `json:"digest,omitempty"`
	Size      int64   `json:"size,omitempty"`
	MediaType string  `json:"media_type,omitempty"`
	URI       SafeURI `json:"uri,omitempty"`
	Note      string  `json:"note,omitempty"`
}

// Blobs returns the digests that must be in the blob store for r to be whole:
// its files, manifest, config and evidence.
func (r *Record) Blobs() ([]Digest, error) {
	var out []Digest
	if r.Artifact.Kind == ArtifactStored {
		m, c, err := Manifest(r.Artifact.Files)
		if err != nil {
			return nil, err
		}
		out = append(out, DigestBytes(m), DigestBytes(c))
		for _, f := range r.Artifact.Files {
			out = append(out, f.Digest)
		}
	}
	for _, e := range r.Evidence {
		if e.Digest != "" && e.URI == "" {
			out = append(out, e.Digest)
		}
	}
	return out, nil
}

// Fields returns the fields of r that are set, by JSON key.
func (r *Record) Fields() map[string]json.RawMessage {
	fields := map[string]json.RawMessage{}
	if err := json.Unmarshal(marshal(r), &fields); err != nil {
		panic("pedigree: record fields: " + err.Error())
	}
	return fields
}

// RecordFields are the JSON keys of a [Record], in its order.
var RecordFields = []string{
	"artifact", "code", "runtime", "data", "params", "metrics", "run", "outputs",
	"parents", "signature", "flavors", "evidence", "owner", "target", "rollback_note",
}

var imagePattern = regexp.MustCompile(`^[A-Za-z0-9](?:[A-Za-z0-9._:/-]*[A-Za-z0-9])?(?:@sha256:[0-9a-f]{64})?$`)

// ParseImage checks a container image reference, [HOST[:PORT]/]PATH[:TAG][@sha256:…],
// which has no scheme and no user info. It returns [CodeInvalid].
func ParseImage(s string) (string, error) {
	if len(s) > MaxURI || strings.Contains(s, "//") || !imagePattern.MatchString(s) {
		if i := strings.LastIndexByte(s, '@'); i >= 0 && !strings.HasPrefix(s[i:], "@sha256:") {
			s = "…" + s[i:] // what stands before may be a password
		}
		return "", Errorf(CodeInvalid, "%q is not an image: write registry.example.org/team/train:1.2 or …@sha256: and 64 hexadecimal digits", clip(s))
	}
	return s, nil
}

// Normalize checks every field of r, sorts what has no order of its own, and
// completes a stored artifact's digest and size from its files. It returns
// [CodeInvalid] or [CodeTooLarge] and says which field is wrong.
func (r *Record) Normalize() error {
	c := &checker{}
	r.checkArtifact(c)
	if r.Code != nil {
		c.text("code.commit", r.Code.Commit, MaxKey)
		c.text("code.branch", r.Code.Branch, MaxURI)
		c.text("code.path", r.Code.Path, MaxPath)
	}
	if r.Runtime != nil {
		if r.Runtime.Image != "" {
			_, err := ParseImage(r.Runtime.Image)
			c.err(err)
		}
		if m := r.Runtime.Compute; m != nil {
			c.texts("runtime.compute", MaxURI, m.OS, m.Arch, m.CPU, m.InstanceType)
			c.texts("runtime.compute.gpus", MaxURI, m.GPUs...)
		}
		if e := r.Runtime.Environment; e != nil {
			c.texts("runtime.environment", MaxURI, e.Manager, e.Python)
			c.text("runtime.environment.file", e.File, MaxPath)
			for _, p := range e.Packages {
				c.text("runtime.environment.packages", p, MaxURI)
			}
			sort.Strings(e.Packages)
		}
	}
	if r.Run != nil {
		c.texts("run", MaxURI, r.Run.ID, r.Run.Name, r.Run.System, r.Run.User)
		for _, u := range r.Run.Upstream {
			c.texts("upstream run", MaxURI, u.ID, u.Name)
		}
	}
	if s := r.Signature; s != nil {
		for _, columns := range [][]Column{s.Inputs, s.Outputs, s.Params} {
			for _, column := range columns {
				c.texts("signature", MaxURI, column.Name, column.Type)
			}
		}
	}
	flavors := map[string]bool{}
	for _, f := range r.Flavors {
		c.key("flavor", f.Name)
		c.texts("flavor "+f.Name, MaxURI, f.Version, f.Loader, f.Python)
		c.check(!flavors[f.Name], "flavor %q is there twice", f.Name)
		flavors[f.Name] = true
	}
	for _, d := range r.Data {
		d.check(c)
	}
	for k, v := range r.Params {
		c.key("param", k)
		c.text("param "+k, v, MaxParamValue)
	}
	for i := range r.Metrics {
		m := &r.Metrics[i]
		c.key("metric", m.Name)
		c.text("metric dataset", m.Dataset, MaxKey)
		c.text("metric split", m.Split, MaxKey)
	}
	for _, p := range r.Parents {
		p.check(c)
	}
	for _, o := range r.Outputs {
		c.text("output name", o.Name, MaxPath)
		c.check(o.URI != "" || o.Digest != "" || o.Name != "", "an output needs a name, a URI or a digest")
	}
	seen := map[string]bool{}
	for _, e := range r.Evidence {
		c.err(CheckPath(e.Name))
		c.check(!seen[e.Name], "evidence %q is there twice", e.Name)
		seen[e.Name] = true
		c.check(e.Digest != "" || e.URI != "", "evidence %q has neither bytes nor a URI", e.Name)
		c.check(e.Kind != "", "evidence %q needs a kind", e.Name)
		c.texts("evidence", MaxURI, e.Kind, e.MediaType)
		c.text("evidence note", e.Note, MaxText)
	}
	c.text("owner", r.Owner, MaxName)
	if r.Target != "" {
		_, err := ParseTarget(r.Target)
		c.err(err)
	}
	c.text("rollback note", r.RollbackNote, MaxText)
	if c.failed == nil {
		files := len(marshal(r.Artifact.Files))
		if files > MaxFileTable {
			return Errorf(CodeTooLarge, "the list of %d files has %d bytes of JSON, the limit is %d", len(r.Artifact.Files), files, MaxFileTable).
				WithFix("use shorter paths, or pack small files into an archive first")
		}
		if n := len(marshal(r)) - files; n > MaxRecord {
			return Errorf(CodeTooLarge, "the record has %d bytes of JSON, the limit is %d", n, MaxRecord).WithFix("attach long texts as evidence files")
		}
	}
	return c.failed
}

func (r *Record) checkArtifact(c *checker) {
	a := &r.Artifact
	switch a.Kind {
	case ArtifactStored:
		stored, err := StoredArtifact(a.Files)
		c.err(err)
		if err != nil {
			return
		}
		c.check(a.Digest == "" || a.Digest == stored.Digest, "artifact digest %s is not that of the files, %s", a.Digest, stored.Digest)
		stored.URI = a.URI
		*a = stored
	case ArtifactLinked:
		c.check(a.URI != "", "a linked artifact needs a URI")
		c.check(len(a.Files) == 0, "a linked artifact lists no files")
	case ArtifactNone, "":
		a.Kind = ArtifactNone
		c.check(a.Digest == "" && len(a.Files) == 0, "an artifact of kind none has no digest and no files")
	default:
		c.check(false, "artifact kind %q: want stored, linked or none", a.Kind)
	}
	c.check(a.Size == nil || *a.Size >= 0, "artifact size is negative")
}

func (d *DataReference) check(c *checker) {
	c.check(d.Role != "", "a data reference needs a role: train, validation, test …")
	c.key("data role", d.Role)
	switch d.Kind {
	case DataCopy, DataSnapshot, DataFeatures, DataLineage:
		c.check(d.URI != "" || d.Digest != "" || d.Version != "", "data %s: a %s needs a URI, a version or a digest", d.Role, d.Kind)
	case DataQuery:
		c.check(d.Query != "", "data %s: a query reference needs the query", d.Role)
	default:
		c.check(false, "data %s: kind %q: want copy, snapshot, features, query or lineage", d.Role, d.Kind)
	}
	c.text("data version", d.Version, MaxURI)
	c.text("data query", d.Query, MaxText)
	c.text("data subjects", d.Subjects, MaxURI)
	c.text("data subject key", d.SubjectKey, MaxKey)
	c.check(d.Size == nil || *d.Size >= 0, "data %s: size is negative", d.Role)
}

func (p *Parent) check(c *checker) {
	switch p.Relation {
	case FineTunedFrom, DistilledFrom, EnsembleOf, DerivedFrom:
	default:
		c.check(false, "parent relation %q: want fine_tuned_from, distilled_from, ensemble_of or derived_from", p.Relation)
	}
	c.check(p.Reference != "" || p.ModelID != "" || p.URI != "", "a parent needs a reference to a version or the URI of a base model")
	if p.Reference != "" {
		_, err := ParseReference(p.Reference)
		c.err(err)
	}
	if p.ModelID != "" {
		_, _, ok := SplitVersionSubject(VersionSubject(p.ModelID, p.Version))
		c.check(ok, "a parent of model %q has no version %d", clip(p.ModelID), p.Version)
		c.text("parent model", p.ModelID, MaxKey)
	}
}

// CheckTags checks keys and values of tags. It returns [CodeInvalid].
func CheckTags(tags map[string]string) error {
	c := &checker{}
	for k, v := range tags {
		c.key("tag", k)
		c.text("tag "+k, v, MaxTagValue)
	}
	return c.failed
}

// checker keeps the first failure of a series of checks.
type checker struct{ failed error }

func (c *checker) err(err error) {
	if c.failed == nil && err != nil {
		c.failed = err
	}
}

func (c *checker) check(ok bool, format string, args ...any) {
	if !ok {
		c.err(Errorf(CodeInvalid, format, args...))
	}
}

func (c *checker) text(what, s string, limit int) { c.err(checkText(what, s, limit)) }

func (c *checker) texts(what string, limit int, texts ...string) {
	for _, s := range texts {
		c.text(what, s, limit)
	}
}

func (c *checker) key(what, s string) {
	_, err := ParseKey(what, s)
	c.err(err)
}

// Gap is one missing point of a record and how to fill it.
type Gap struct {
	// Field is what is missing, in words: "rollback note".
	Field string `json:"field"`
	// Flag fills it at push or amend: "--rollback-note TEXT".
	Flag string `json:"flag"`
}

// Stage is a step of a version's life at which its record is asked for.
type Stage string

// The stages. Each asks for what the one before asks, and more.
const (
	StageRegister Stage = "register"
	StageApprove  Stage = "approve"
	StageDeploy   Stage = "deploy"
)

// Completeness says how much of the minimum record is there for one stage.
type Completeness struct {
	Stage   Stage `json:"stage"`
	Have    int   `json:"have"`
	Want    int   `json:"want"`
	Missing []Gap `json:"missing,omitempty"`
}

// String returns "7/8, missing: rollback note".
func (c Completeness) String() string {
	s := Float(c.Have).String() + "/" + Float(c.Want).String()
	if len(c.Missing) == 0 {
		return s
	}
	names := make([]string, len(c.Missing))
	for i, g := range c.Missing {
		names[i] = g.Field
	}
	return s + ", missing: " + strings.Join(names, ", ")
}

// Complete computes the completeness of r for each stage. The minimum record has
// eight points: artifact, owner, code and image, data, offline metric; to approve
// also the target; to deploy also a decided approval and a rollback note. approved
// says that an approval stands or that none is needed.
func (r *Record) Complete(approved bool) []Completeness {
	type point struct {
		ok    bool
		field string
		flag  string
	}
	hasCode := r.Code != nil && r.Code.Commit != ""
	hasImage := r.Runtime != nil && (r.Runtime.Image != "" || r.Runtime.Environment != nil)
	code := point{hasCode && hasImage, "code version and runtime image", "--code REPO@COMMIT --image IMAGE"}
	switch {
	case hasCode:
		code.field, code.flag = "runtime image", "--image IMAGE"
	case hasImage:
		code.field, code.flag = "code version", "--code REPO@COMMIT"
	}
	points := []point{
		{r.Artifact.Kind == ArtifactStored || r.Artifact.Kind == ArtifactLinked, "artifact", "PATH or --link URI"},
		{r.Owner != "", "owner", "--owner NAME"},
		code,
		{len(r.Data) > 0, "data reference", "--data ROLE=URI"},
		{len(r.Metrics) > 0, "offline metric", "--metric NAME=VALUE"},
		{r.Target != "", "deployment target", "--target ENV/NAME"},
		{approved, "approval", "pedigree request VERSION"},
		{r.RollbackNote != "", "rollback note", "--rollback-note TEXT"},
	}
	stages := []struct {
		stage Stage
		want  int
	}{{StageRegister, 5}, {StageApprove, 6}, {StageDeploy, 8}}
	out := make([]Completeness, len(stages))
	for i, s := range stages {
		c := Completeness{Stage: s.stage, Want: s.want}
		for _, p := range points[:s.want] {
			if p.ok {
				c.Have++
			} else {
				c.Missing = append(c.Missing, Gap{p.field, p.flag})
			}
		}
		out[i] = c
	}
	return out
}

// RecordPoints are the points of the minimum record.
const RecordPoints = 8

// Points gathers, attribute by attribute, which points of the minimum record are
// filled, as lists count them without reading whole records.
type Points map[string]bool

// Add notes the point that a fills, if any.
func (p Points) Add(a Attribute) {
	switch a.Key {
	case "artifact.kind":
		if a.Text != string(ArtifactNone) {
			p["artifact"] = true
		}
	case "owner", "target", "rollback_note":
		p[a.Key] = true
	case "code.commit":
		p["code"] = true
	case "runtime.image", "runtime.environment":
		p["runtime"] = true
	case "data.role":
		p["data"] = true
	default:
		if a.Field == "metrics" {
			p["metrics"] = true
		}
	}
}

// Missing names the points that are not filled, in the words of [Record.Complete].
func (p Points) Missing() []string {
	code := "code version and runtime image"
	switch {
	case p["code"]:
		code = "runtime image"
	case p["runtime"]:
		code = "code version"
	}
	var out []string
	for _, point := range []struct {
		ok   bool
		name string
	}{
		{p["artifact"], "artifact"},
		{p["owner"], "owner"},
		{p["code"] && p["runtime"], code},
		{p["data"], "data reference"},
		{p["metrics"], "offline metric"},
		{p["target"], "deployment target"},
		{p["approval"], "approval"},
		{p["rollback_note"], "rollback note"},
	} {
		if !point.ok {
			out = append(out, point.name)
		}
	}
	return out
}

// Count is the number of points filled, of [RecordPoints]; code and runtime make one
// point together. Whoever counts says under "approval" whether one is decided, or none
// needed.
func (p Points) Count() int {
	n := 0
	for _, point := range []string{"artifact", "owner", "data", "metrics", "target", "approval", "rollback_note"} {
		if p[point] {
			n++
		}
	}
	if p["code"] && p["runtime"] {
		n++
	}
	return n
}
