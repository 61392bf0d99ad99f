package pedigree

import (
	"encoding/json"
	"slices"
	"strings"
	"time"
)

// EventType names what happened. The types are a public, versioned contract: a
// type may gain payload fields; a change of meaning is a new type.
type EventType string

// The event types, with their payload fields.
const (
	LogCreated        EventType = "log.created"        // origin, key
	KeyRotated        EventType = "log.key_rotated"    // key, checkpoint
	ProjectCreated    EventType = "project.created"    // name, description
	ModelCreated      EventType = "model.created"      // project, name, tags and those of model.edited
	ModelEdited       EventType = "model.edited"       // owner, purpose, permitted_use, restrictions, tier, state, description
	ModelRenamed      EventType = "model.renamed"      // project, from, to
	ModelDeleted      EventType = "model.deleted"      // project, name, reason
	ModelTagged       EventType = "model.tagged"       // key, value
	ModelUntagged     EventType = "model.untagged"     // key
	VersionRegistered EventType = "version.registered" // the fields of Record, tags, description, imported
	VersionAmended    EventType = "version.amended"    // the fields of Record that are replaced, reason, stales_approval
	VersionEdited     EventType = "version.edited"     // description
	VersionTagged     EventType = "version.tagged"     // key, value
	VersionUntagged   EventType = "version.untagged"   // key
	VersionArchived   EventType = "version.archived"   // reason
	VersionRestored   EventType = "version.restored"   // reason
	VersionDeleted    EventType = "version.deleted"    // reason
	AliasMoved        EventType = "alias.moved"        // alias, version, note
	AliasRemoved      EventType = "alias.removed"      // alias, note
	PayloadRedacted   EventType = "payload.redacted"   // event, fields, reason

	VersionWithdrawn  EventType = "version.withdrawn"  // reason, incident
	VersionReinstated EventType = "version.reinstated" // reason

	PolicyApplied EventType = "policy.applied" // the fields of Policy
	PolicyRemoved EventType = "policy.removed" // reason

	ApprovalRequested    EventType = "approval.requested"     // record_digest, note
	ApprovalGranted      EventType = "approval.granted"       // record_digest, policies, comment, conditions, expires_at, author
	ApprovalRejected     EventType = "approval.rejected"      // record_digest, policies, comment
	ApprovalRevoked      EventType = "approval.revoked"       // comment
	ApprovalConditionMet EventType = "approval.condition_met" // condition, comment

	TargetCreated EventType = "target.created" // project, name and the fields of TargetSpec
	TargetEdited  EventType = "target.edited"  // the fields of TargetSpec that change
	TargetDeleted EventType = "target.deleted" // project, name, reason

	DeploymentOpened    EventType = "deployment.opened"    // target, model, version, role and those of Deploy, digest, decision, confirm, restores
	DeploymentActivated EventType = "deployment.activated" // target, model, version, role, how, ends_as, note
	DeploymentFailed    EventType = "deployment.failed"    // reason, incident
	DeploymentEnded     EventType = "deployment.ended"     // reason
	DeploymentMarked    EventType = "deployment.marked"    // bad, reason
	GateOverridden      EventType = "gate.overridden"      // check, message, reason
	TargetReadiness     EventType = "target.readiness"     // deployment, ready, checks

	ExecutionStarted  EventType = "execution.started"  // target, deployment, model, version, digest, inputs
	ExecutionFinished EventType = "execution.finished" // exit, inputs, outputs

	InstanceChanged EventType = "instance.changed" // instance, model, version, digest, deployment
)

// The event types of accounts and what they may, with their payload fields. Names of
// people, their addresses and the texts of tokens are in none of them.
const (
	AuthEnabled        EventType = "auth.enabled"         //
	AccountCreated     EventType = "account.created"      // kind, acts_for
	AccountChanged     EventType = "account.changed"      // acts_for
	AccountDisabled    EventType = "account.disabled"     // reason
	AccountEnabled     EventType = "account.enabled"      // reason
	AccountErased      EventType = "account.erased"       //
	GroupCreated       EventType = "group.created"        //
	GroupDeleted       EventType = "group.deleted"        //
	GroupMemberAdded   EventType = "group.member_added"   // account
	GroupMemberRemoved EventType = "group.member_removed" // account
	BindingAdded       EventType = "binding.added"        // role, member, project
	BindingRemoved     EventType = "binding.removed"      // role, member, project
	TokenCreated       EventType = "token.created"        // account, scopes, expires_at
	TokenRevoked       EventType = "token.revoked"        // account
	AccessDenied       EventType = "access.denied"        // permission, more
)

// The event types of webhooks, with their payload fields. Their secrets are in none of them.
const (
	WebhookCreated       EventType = "webhook.created"        // project, format, and those of webhook.edited
	WebhookEdited        EventType = "webhook.edited"         // name, description, url, types, models, events, active, reason
	WebhookSecretRotated EventType = "webhook.secret_rotated" // grace_seconds, removed, reason
	WebhookDeleted       EventType = "webhook.deleted"        // reason
)

// EventTypes lists every type, in the order above.
var EventTypes = []EventType{
	LogCreated, KeyRotated, ProjectCreated, ModelCreated, ModelEdited, ModelRenamed, ModelDeleted, ModelTagged, ModelUntagged,
	VersionRegistered, VersionAmended, VersionEdited, VersionTagged, VersionUntagged, VersionArchived, VersionRestored,
	VersionDeleted, AliasMoved, AliasRemoved, PayloadRedacted,
	VersionWithdrawn, VersionReinstated, PolicyApplied, PolicyRemoved,
	ApprovalRequested, ApprovalGranted, ApprovalRejected, ApprovalRevoked, ApprovalConditionMet,
	TargetCreated, TargetEdited, TargetDeleted,
	DeploymentOpened, DeploymentActivated, DeploymentFailed, DeploymentEnded, DeploymentMarked, GateOverridden, TargetReadiness,
	ExecutionStarted, ExecutionFinished, InstanceChanged,
	AuthEnabled, AccountCreated, AccountChanged, AccountDisabled, AccountEnabled, AccountErased, GroupCreated, GroupDeleted, GroupMemberAdded,
	GroupMemberRemoved, BindingAdded, BindingRemoved, TokenCreated, TokenRevoked, AccessDenied,
	WebhookCreated, WebhookEdited, WebhookSecretRotated, WebhookDeleted,
}

// structural are the payload fields that hold the registry's structure together:
// names, numbers, keys and digests. They can't be erased.
var structural = map[EventType][]string{
	LogCreated:        {"origin", "key"},
	KeyRotated:        {"key", "checkpoint"},
	ProjectCreated:    {"name"},
	ModelCreated:      {"project", "name", "state"},
	ModelEdited:       {"state"},
	ModelRenamed:      {"project", "from", "to"},
	ModelDeleted:      {"project", "name"},
	ModelTagged:       {"key"},
	ModelUntagged:     {"key"},
	VersionRegistered: {"artifact"},
	VersionAmended:    {"artifact", stalesField},
	VersionTagged:     {"key"},
	VersionUntagged:   {"key"},
	AliasMoved:        {"alias", "version"},
	AliasRemoved:      {"alias"},
	PayloadRedacted:   {"event", "fields"},

	PolicyApplied:        {"gates", "approvals", "protected", "override"},
	ApprovalRequested:    {"record_digest"},
	ApprovalGranted:      {"record_digest", "policies", "expires_at", "author"},
	ApprovalRejected:     {"record_digest", "policies"},
	ApprovalConditionMet: {"condition"},
	TargetCreated:        {"project", "name", "kind", "alias", "protected", "confirm"},
	TargetEdited:         {"kind", "alias", "protected", "confirm"},
	TargetDeleted:        {"project", "name"},
	DeploymentOpened:     {"target", "model", "version", "role", "digest", "image", "confirm", "restores"},
	DeploymentActivated:  {"target", "model", "version", "role", "how", "ends_as"},
	DeploymentMarked:     {"bad"},
	GateOverridden:       {"check"},
	TargetReadiness:      {"deployment", "ready"},
	ExecutionStarted:     {"target", "deployment", "model", "version", "digest"},
	ExecutionFinished:    {"exit"},
	InstanceChanged:      {"instance", "model", "version", "digest", "deployment"},
	AccountCreated:       {"kind", "acts_for"},
	AccountChanged:       {"acts_for"},
	GroupMemberAdded:     {"account"},
	GroupMemberRemoved:   {"account"},
	BindingAdded:         {"role", "member", "project"},
	BindingRemoved:       {"role", "member", "project"},
	TokenCreated:         {"account", "scopes", "expires_at"},
	TokenRevoked:         {"account"},
	AccessDenied:         {"permission", "more"},

	WebhookCreated: {"project", "format", "types", "models", "events", "active"},
	WebhookEdited:  {"types", "models", "events", "active"},
}

// LogSubject is the subject of events about the log itself.
const LogSubject = "log"

// InstanceSubject is the subject of events about the registry as a whole.
const InstanceSubject = "instance"

// NextVersion stands for "/N" in the subject and the references of a [Draft],
// where N is the number that the append gives to the version.
const NextVersion = "/next"

// Payload holds the fields of an event before they are written; each value is
// marshalled by itself.
type Payload map[string]any

func (p Payload) with(key, value string) Payload {
	if value != "" {
		p[key] = value
	}
	return p
}

// Draft is an event that was decided and not yet appended: seq, time, actor and
// version numbers come with the append.
type Draft struct {
	Type EventType
	// Subject and Refs are opaque ids; they may end in [NextVersion], and a payload
	// field "version" of 0 is then the same number.
	Subject string
	Refs    []string
	Payload Payload
	// Number is the number that a registration asks for; 0 is the next. The append
	// refuses one that is not above all that the model ever gave.
	Number VersionNumber
}

// Rehearsed ends a call with [Principal.DryRun] that nothing speaks against: what it would
// have appended, none where it would change nothing.
type Rehearsed struct {
	// DryRun is true.
	DryRun  bool     `json:"dry_run"`
	Changes []Change `json:"changes"`
}

// Change is an event that a call would append. Numbers that only the append gives are 0, and
// the ids of what it makes are not those that it gets when it is for real.
type Change struct {
	Type    EventType                  `json:"type"`
	Subject string                     `json:"subject"`
	Payload map[string]json.RawMessage `json:"payload"`
}

// Error implements error.
func (r *Rehearsed) Error() string { return "nothing was changed: this is a dry run" }

// Rehearse says what an append of drafts would bring.
func Rehearse(drafts []Draft) *Rehearsed {
	out := &Rehearsed{DryRun: true, Changes: []Change{}}
	for _, d := range drafts {
		payload := map[string]json.RawMessage{}
		for name, value := range d.Payload {
			payload[name] = marshal(value)
		}
		out.Changes = append(out.Changes, Change{d.Type, d.Subject, payload})
	}
	return out
}

// Field is one field of an event's payload as the log keeps it.
type Field struct {
	Name string `json:"name"`
	// Value is the exact JSON text that the commitment covers; nil once erased.
	Value json.RawMessage `json:"value,omitempty"`
	// Salt is 32 random bytes; nil once erased.
	Salt []byte `json:"salt,omitempty"`
	// Commitment is SHA-256(salt ‖ name ‖ 0x00 ‖ value); it is stored in place of the
	// value once that is erased.
	Commitment []byte `json:"commitment,omitempty"`
}

// Erased says that the value is gone.
func (f *Field) Erased() bool { return f.Value == nil }

// Event is one entry of the log: the parsed envelope, and beside it the payload.
// The envelope is what the log's tree commits to; Text is its exact text.
type Event struct {
	V       int       `json:"v"`
	Seq     int64     `json:"seq"`
	Time    time.Time `json:"time"`
	Type    EventType `json:"type"`
	Actor   string    `json:"actor"`
	Subject string    `json:"subject"`
	Refs    []string  `json:"refs,omitempty"`
	// RequestID is the server's id of the request that caused it.
	RequestID     string `json:"request_id,omitempty"`
	PayloadDigest Digest `json:"payload_digest"`

	// Text is the exact envelope, as it was hashed. It is not part of itself.
	Text string `json:"-"`
	// Fields are the payload, sorted by name.
	Fields []Field `json:"-"`
}

// Envelope returns the JSON text of e's envelope. It is made once, at the append.
func (e *Event) Envelope() string { return string(marshal(e)) }

// ParseEnvelope reads the text of an envelope. It returns [CodeCorrupt] for any
// other text and for a version of the format that this program does not know.
func ParseEnvelope(text string) (Event, error) {
	var e Event
	if err := json.Unmarshal([]byte(text), &e); err != nil {
		return Event{}, Errorf(CodeCorrupt, "envelope is not valid JSON: %w", err)
	}
	if e.V != 1 {
		return Event{}, Errorf(CodeCorrupt, "envelope of event %d has version %d; this program knows version 1", e.Seq, e.V)
	}
	e.Text = text
	return e, nil
}

// Field returns the payload field with that name, or nil.
func (e *Event) Field(name string) *Field {
	for i := range e.Fields {
		if e.Fields[i].Name == name {
			return &e.Fields[i]
		}
	}
	return nil
}

// Decode reads a payload field into v. It reports false, and leaves v, where the
// field is absent or erased. It returns [CodeCorrupt] where the text does not fit.
func (e *Event) Decode(name string, v any) (bool, error) {
	f := e.Field(name)
	if f == nil || f.Erased() {
		return false, nil
	}
	if err := json.Unmarshal(f.Value, v); err != nil {
		return false, Errorf(CodeCorrupt, "event %d: field %s: %w", e.Seq, name, err)
	}
	return true, nil
}

// String returns a payload field that is a string, "" where absent or erased.
func (e *Event) String(name string) string {
	var s string
	_, _ = e.Decode(name, &s)
	return s
}

// Material says whether this record field is part of what the version is: an
// amendment of it enters the record digest, and makes an approval stale (of the
// evidence only where a gate reads it, as of the other fields).
func Material(field string) bool {
	switch field {
	case "artifact", "code", "runtime", "data", "params", "metrics", "parents", "signature", "flavors", "evidence":
		return true
	}
	return false
}

// Erasable says whether a payload field of a type may be erased; fields that hold
// the registry's structure (names, numbers, keys, digests) may not.
func Erasable(t EventType, field string) bool { return !slices.Contains(structural[t], field) }

// Touches returns the concurrency subjects that e moves. A decision that rested on
// one of them is refused once it moved; what is absent has seq -1.
func (e *Event) Touches() []string {
	switch e.Type {
	case LogCreated, KeyRotated:
		return []string{e.Subject}
	case ProjectCreated:
		return []string{ProjectKey(ProjectName(e.String("name")))}
	case ModelCreated:
		return []string{NameKey(e.String("project"), Name(e.String("name")))}
	case ModelRenamed:
		project := e.String("project")
		return []string{e.Subject, NameKey(project, Name(e.String("from"))), NameKey(project, Name(e.String("to")))}
	case ModelDeleted:
		return []string{e.Subject, NameKey(e.String("project"), Name(e.String("name")))}
	case AliasMoved, AliasRemoved:
		return []string{AliasKey(e.Subject, Alias(e.String("alias"))), AliasesKey(e.Subject)}
	case VersionTagged, VersionUntagged:
		if id, _, ok := SplitVersionSubject(e.Subject); ok && e.String("key") == StageTag {
			return []string{e.Subject, StagesKey(id)}
		}
		return []string{e.Subject}
	case WebhookEdited, WebhookSecretRotated, WebhookDeleted:
		return []string{e.Subject}
	case ModelEdited, ModelTagged, ModelUntagged, VersionAmended, VersionEdited, VersionArchived, VersionRestored, VersionDeleted:
		return []string{e.Subject}
	case PayloadRedacted, VersionWithdrawn, VersionReinstated, PolicyApplied, PolicyRemoved,
		ApprovalRequested, ApprovalGranted, ApprovalRejected, ApprovalRevoked, ApprovalConditionMet:
		return []string{e.Subject}
	case TargetCreated:
		return []string{e.Subject, TargetKey(e.String("project"), TargetName(e.String("name"))), TiedKey(e.String("project"))}
	case TargetEdited:
		return append([]string{e.Subject}, keys(e.Refs, TiedKey)...)
	case TargetDeleted:
		return []string{e.Subject, TargetKey(e.String("project"), TargetName(e.String("name"))), TiedKey(e.String("project"))}
	case DeploymentOpened, DeploymentActivated:
		return append([]string{e.Subject}, deployed(e.String("target"), VersionSubject(e.String("model"), e.version()))...)
	case DeploymentFailed, DeploymentEnded, DeploymentMarked:
		touches := []string{e.Subject}
		if len(e.Refs) == 2 {
			touches = append(touches, deployed(e.Refs[0], e.Refs[1])...)
		}
		return touches
	case ExecutionFinished:
		return []string{e.Subject}
	case TargetReadiness:
		return []string{ReadinessKey(e.Subject)}
	case InstanceChanged:
		return []string{InstanceKey(e.Subject, e.String("instance"))}
	case AuthEnabled, BindingAdded, BindingRemoved:
		return []string{AccessKey}
	case AccountCreated, AccountChanged, AccountDisabled, AccountEnabled, AccountErased, GroupCreated, GroupDeleted, GroupMemberAdded,
		GroupMemberRemoved, TokenCreated, TokenRevoked:
		return []string{e.Subject, AccessKey}
	default: // a registration moves nothing: any number of them may share a commit
		return nil
	}
}

func keys(ids []string, key func(string) string) []string {
	var out []string
	for _, id := range ids {
		out = append(out, key(id))
	}
	return out
}

// version is the number in an event's payload.
func (e *Event) version() VersionNumber {
	var n VersionNumber
	_, _ = e.Decode("version", &n)
	return n
}

// DeployedKey is the concurrency subject of the deployments of a version, or of a whole
// model: for a decision that rests on where it runs.
func DeployedKey(subject string) string { return "deployed:" + subject }

// deployed are the subjects that a step of a deployment moves beside itself.
func deployed(target, version string) []string {
	model, _, _ := strings.Cut(version, "/")
	return []string{target, DeployedKey(version), DeployedKey(model)}
}

// InstanceKey is the concurrency subject of what an instance of a target runs.
func InstanceKey(targetID, instance string) string { return "instance:" + targetID + "/" + instance }

// ReadinessKey is the concurrency subject of what was found of a target's way back.
func ReadinessKey(targetID string) string { return "readiness:" + targetID }

// ProjectKey, NameKey and AliasKey are concurrency subjects that are not ids.
func ProjectKey(name ProjectName) string { return "project:" + string(name) }

// NameKey is the concurrency subject of a model name within a project.
func NameKey(projectID string, name Name) string { return "name:" + projectID + "/" + string(name) }

// AliasKey is the concurrency subject of an alias within a model.
func AliasKey(modelID string, alias Alias) string { return "alias:" + modelID + "/" + string(alias) }

// AliasesKey is the concurrency subject of all aliases of a model: for a decision that
// rests on none of them naming something.
func AliasesKey(modelID string) string { return "aliases:" + modelID }

// AccessKey is the concurrency subject of everything that says who may do what. Every
// decision rests on it: a right that was taken before the append is not used by it. It
// is absent until the registry has accounts.
const AccessKey = "access"

// Redact decides the erasure of payload fields of e. It returns [CodeInvalid] for a
// field that is not there, [CodeRefused] for one that can't be erased, and no event
// where all are erased already.
func (e *Event) Redact(fields []string, reason string) ([]Draft, error) {
	if err := checkText("reason", reason, MaxText); err != nil {
		return nil, err
	}
	if len(fields) == 0 {
		return nil, Errorf(CodeInvalid, "name the fields of event %d to erase", e.Seq)
	}
	fields = slices.Clone(fields)
	slices.Sort(fields)
	fields = slices.Compact(fields)
	var live []string
	for _, name := range fields {
		f := e.Field(name)
		if f == nil {
			var names []string
			for _, f := range e.Fields {
				names = append(names, f.Name)
			}
			return nil, Errorf(CodeInvalid, "event %d (%s) has no field %q; it has %v", e.Seq, e.Type, clip(name), names)
		}
		if !Erasable(e.Type, name) {
			return nil, Errorf(CodeRefused, "field %s of %s holds the registry's structure and can't be erased", name, e.Type)
		}
		if !f.Erased() {
			live = append(live, name)
		}
	}
	if len(live) == 0 {
		return nil, nil
	}
	return []Draft{{
		Type: PayloadRedacted, Subject: e.Subject,
		Payload: Payload{"event": e.Seq, "fields": live}.with("reason", reason),
	}}, nil
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
