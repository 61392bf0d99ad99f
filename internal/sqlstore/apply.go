package sqlstore

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"strings"
	"sync"

	"github.com/pedigree-ml/pedigree"
)

// table is one that rows are inserted into in bulk. A conflict, where it says how to
// settle one, is a later event's row in place of an earlier one's.
type table struct {
	name     string
	columns  []string
	conflict string
}

var (
	logEvents       = &table{"log_events", []string{"seq", "time", "type", "subject", "envelope"}, ""}
	logRefs         = &table{"log_refs", []string{"ref", "seq"}, "ON CONFLICT (ref, seq) DO NOTHING"}
	logFields       = &table{"log_fields", []string{"seq", "name", "value", "salt", "commitment"}, ""}
	logHashes       = &table{"log_hashes", []string{"idx", "hash"}, ""}
	viewProjects    = &table{"view_projects", []string{"id", "name", "seq"}, ""}
	viewModels      = &table{"view_models", []string{"id", "project", "seq", "updated_seq"}, ""}
	viewNames       = &table{"view_names", []string{"project", "name", "model", "from_seq"}, ""}
	viewVersions    = &table{"view_versions", []string{"seq", "model", "number", "updated_seq", "stage", "stage_seq"}, ""}
	viewAliases     = &table{"view_aliases", []string{"model", "alias", "version", "from_seq"}, ""}
	viewAttributes  = &table{"view_attributes", []string{"subject", "field", "key", "from_seq", "ord", "text", "hash", "number"}, ""}
	viewPolicies    = &table{"view_policies", []string{"scope", "from_seq", "need"}, ""}
	viewApprovals   = &table{"view_approvals", []string{"subject", "from_seq", "kind", "actor", "expires", "conditional"}, ""}
	viewTargets     = &table{"view_targets", []string{"id", "project", "name", "seq", "alias", "protected"}, ""}
	viewDeployments = &table{"view_deployments", []string{"id", "seq", "target", "model", "number", "role", "image"}, ""}
	viewExecutions  = &table{"view_executions", []string{"id", "seq", "target", "deployment", "model", "number"}, ""}
	viewInstances   = &table{"view_instances", []string{"target", "instance", "from_seq", "deployment", "model", "number", "digest"}, ""}
	viewWebhooks    = &table{"view_webhooks", []string{"id", "project", "format", "seq"}, ""}
	ownIdempotency  = &table{"own_idempotency", []string{"actor", "key", "fingerprint", "first_seq", "last_seq", "time"}, ""}
	viewAccounts    = &table{"view_accounts", []string{"id", "kind", "acts_for", "seq", "from_seq"}, ""}
	viewGroups      = &table{"view_groups", []string{"id", "seq"}, ""}
	viewMembers     = &table{"view_members", []string{"grp", "account", "from_seq"}, ""}
	viewBindings    = &table{"view_bindings", []string{"project", "member", "role", "from_seq"}, ""}
	viewTokens      = &table{"view_tokens", []string{"id", "account", "scopes", "expires", "seq"}, ""}
)

// viewTables are all that rebuild makes again.
var viewTables = []string{
	"view_subjects", "view_projects", "view_models", "view_names", "view_versions", "view_aliases", "view_attributes",
	"view_policies", "view_approvals", "view_targets", "view_deployments", "view_executions", "view_instances",
	"view_accounts", "view_groups", "view_members", "view_bindings", "view_tokens", "view_webhooks",
}

// statements are what a batch will execute, in order. Inserts into one table are
// gathered until another statement comes between.
type statements struct {
	ops  []*op
	open map[*table]*op
}

type op struct {
	text string
	into *table
	args []any
}

func (s *statements) insert(t *table, args ...any) {
	o := s.open[t]
	if o == nil {
		o = &op{into: t}
		s.ops = append(s.ops, o)
		if s.open == nil {
			s.open = map[*table]*op{}
		}
		s.open[t] = o
	}
	o.args = append(o.args, args...)
}

func (s *statements) exec(text string, args ...any) {
	s.ops = append(s.ops, &op{text: text, args: args})
	clear(s.open)
}

// insertRows are the numbers of rows that one INSERT takes: a fixed set, so that each
// text is prepared once.
var insertRows = []int{64, 32, 16, 8, 4, 2, 1}

// insertTexts keeps the INSERT of each insertKey, once it was made.
var insertTexts sync.Map

type insertKey struct {
	d    *dialect
	t    *table
	rows int
}

func insertText(d *dialect, t *table, rows int) string {
	key := insertKey{d, t, rows}
	if text, ok := insertTexts.Load(key); ok {
		return text.(string)
	}
	text := t.insertText(d, rows)
	insertTexts.Store(key, text)
	return text
}

func (t *table) insertText(d *dialect, rows int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "INSERT INTO %s (%s) VALUES ", t.name, strings.Join(t.columns, ", "))
	n := 0
	for r := range rows {
		if r > 0 {
			b.WriteString(", ")
		}
		b.WriteByte('(')
		for c := range t.columns {
			if c > 0 {
				b.WriteString(", ")
			}
			n++
			b.WriteString(d.placeholder(n))
		}
		b.WriteByte(')')
	}
	if t.conflict != "" {
		b.WriteString(" " + t.conflict)
	}
	return b.String()
}

// flush executes the statements and forgets them.
func (s *statements) flush(ctx context.Context, c *conn) error {
	return c.run(ctx, s.take(c.d))
}

// take returns the statements, and forgets them.
func (s *statements) take(d *dialect) []statement {
	var all []statement
	for _, o := range s.ops {
		if o.into == nil {
			all = append(all, statement{text: o.text, args: o.args})
			continue
		}
		width := len(o.into.columns)
		args := o.args
		for _, n := range insertRows {
			for len(args) >= n*width {
				all = append(all, statement{text: insertText(d, o.into, n), args: args[:n*width]})
				args = args[n*width:]
			}
		}
	}
	*s = statements{}
	return all
}

// apply emits the statements by which e changes the view_ tables, and reads nothing.
// subject is the seq of the event that created e's subject; 0
// for other subjects. An erased field is a value like any other: what it replaced
// ends, and nothing takes its place. Rebuild and append both come through here, and
// nothing else writes view_ tables.
func apply(e *pedigree.Event, subject int64, out *statements) error {
	for _, key := range e.Touches() {
		out.exec("INSERT INTO view_subjects (subject, seq) VALUES ($1, $2) ON CONFLICT (subject) DO UPDATE SET seq = excluded.seq", key, e.Seq)
	}
	a := &applier{e: e, subject: subject, out: out}
	switch e.Type {
	case pedigree.LogCreated, pedigree.KeyRotated:
	case pedigree.ProjectCreated:
		out.insert(viewProjects, e.Subject, e.String("name"), e.Seq)
		a.subject = e.Seq
		a.setText("description")
	case pedigree.ModelCreated:
		project := e.String("project")
		out.insert(viewModels, e.Subject, project, e.Seq, e.Seq)
		out.insert(viewNames, project, e.String("name"), e.Subject, e.Seq)
		a.subject = e.Seq
		for _, f := range e.Fields {
			switch f.Name {
			case "project", "name":
			case "tags":
				a.set("tags")
			default:
				a.setText(f.Name)
			}
		}
	case pedigree.ModelEdited:
		a.updateModel(e.Subject)
		for _, f := range e.Fields {
			a.endField(f.Name)
			a.setText(f.Name)
		}
	case pedigree.ModelRenamed:
		a.updateModel(e.Subject)
		out.exec("UPDATE view_versions SET updated_seq = $1 WHERE model = $2 AND deleted_seq IS NULL", e.Seq, e.Subject)
		out.exec("UPDATE view_names SET to_seq = $1 WHERE model = $2 AND to_seq IS NULL", e.Seq, e.Subject)
		out.insert(viewNames, e.String("project"), e.String("to"), e.Subject, e.Seq)
	case pedigree.ModelDeleted:
		out.exec("UPDATE view_names SET to_seq = $1 WHERE model = $2 AND to_seq IS NULL", e.Seq, e.Subject)
		out.exec("UPDATE view_aliases SET to_seq = $1 WHERE model = $2 AND to_seq IS NULL", e.Seq, e.Subject)
		out.exec("UPDATE view_models SET deleted_seq = $1 WHERE id = $2", e.Seq, e.Subject)
	case pedigree.VersionRegistered:
		a.subject = e.Seq
		a.register()
	case pedigree.VersionAmended:
		a.updateVersion()
		for _, f := range e.Fields {
			if f.Name != "reason" {
				a.replace(f.Name)
			}
		}
		a.stale()
	case pedigree.VersionEdited:
		a.updateVersion()
		a.replace("description")
	case pedigree.ModelTagged, pedigree.VersionTagged:
		key := "tags." + e.String("key")
		a.end("tags", key)
		var value string
		if ok, err := e.Decode("value", &value); err != nil {
			return err
		} else if ok {
			a.insert(0, pedigree.Attribute{Field: "tags", Key: key, Text: value})
		}
		a.stage(value)
	case pedigree.ModelUntagged, pedigree.VersionUntagged:
		a.end("tags", "tags."+e.String("key"))
		a.stage("")
	case pedigree.VersionArchived:
		a.updateVersion()
		a.insert(0, pedigree.Attribute{Field: "archived", Key: "archived", Text: "true"})
	case pedigree.VersionRestored:
		a.updateVersion()
		a.end("archived", "archived")
	case pedigree.VersionDeleted:
		out.exec("UPDATE view_versions SET deleted_seq = $1, updated_seq = $1 WHERE seq = $2", e.Seq, subject)
		if model, _, ok := pedigree.SplitVersionSubject(e.Subject); ok {
			a.updateModel(model)
		}
	case pedigree.AliasMoved:
		var n int64
		if _, err := e.Decode("version", &n); err != nil {
			return err
		}
		out.exec("UPDATE view_aliases SET to_seq = $1 WHERE model = $2 AND alias = $3 AND to_seq IS NULL", e.Seq, e.Subject, e.String("alias"))
		out.insert(viewAliases, e.Subject, e.String("alias"), n, e.Seq)
	case pedigree.AliasRemoved:
		out.exec("UPDATE view_aliases SET to_seq = $1 WHERE model = $2 AND alias = $3 AND to_seq IS NULL", e.Seq, e.Subject, e.String("alias"))
	case pedigree.WebhookCreated:
		out.insert(viewWebhooks, e.Subject, e.String("project"), e.String("format"), e.Seq)
		a.subject = e.Seq
		a.webhook()
	case pedigree.WebhookEdited:
		a.webhook()
	case pedigree.WebhookSecretRotated:
	case pedigree.WebhookDeleted:
		out.exec("UPDATE view_webhooks SET deleted_seq = $1 WHERE id = $2", e.Seq, e.Subject)
	case pedigree.PayloadRedacted:
		a.redact()
	case pedigree.VersionWithdrawn:
		a.updateVersion()
		a.insert(0, pedigree.Attribute{Field: "withdrawn", Key: "withdrawn", Text: "true"})
	case pedigree.VersionReinstated:
		a.updateVersion()
		a.end("withdrawn", "withdrawn")
	case pedigree.PolicyApplied, pedigree.PolicyRemoved:
		a.policy()
	case pedigree.ApprovalRequested, pedigree.ApprovalGranted, pedigree.ApprovalRejected, pedigree.ApprovalRevoked, pedigree.ApprovalConditionMet:
		a.approval()
	case pedigree.TargetCreated, pedigree.TargetEdited, pedigree.TargetDeleted:
		a.target()
	case pedigree.DeploymentOpened, pedigree.DeploymentActivated, pedigree.DeploymentFailed, pedigree.DeploymentEnded, pedigree.DeploymentMarked:
		a.deployment()
	case pedigree.GateOverridden, pedigree.TargetReadiness: // to be read in the log
	case pedigree.ExecutionStarted, pedigree.ExecutionFinished:
		a.execution()
	case pedigree.InstanceChanged:
		a.observation()
	case pedigree.AuthEnabled, pedigree.AccessDenied:
	case pedigree.AccountCreated, pedigree.AccountChanged, pedigree.AccountDisabled, pedigree.AccountEnabled, pedigree.AccountErased:
		a.account()
	case pedigree.GroupCreated, pedigree.GroupDeleted, pedigree.GroupMemberAdded, pedigree.GroupMemberRemoved:
		a.group()
	case pedigree.BindingAdded, pedigree.BindingRemoved:
		a.binding()
	case pedigree.TokenCreated, pedigree.TokenRevoked:
		a.token()
	default:
		return pedigree.Errorf(pedigree.CodeUnsupported, "event %d has type %s, which this program does not know; it was written by a newer one", e.Seq, e.Type)
	}
	return a.failed
}

// applier carries one event through its statements and keeps the first failure.
type applier struct {
	e       *pedigree.Event
	subject int64
	out     *statements
	failed  error
}

// decode reads a payload field of e, and keeps the first failure.
func (a *applier) decode(name string, v any) bool {
	ok, err := a.e.Decode(name, v)
	if err != nil && a.failed == nil {
		a.failed = err
	}
	return ok
}

// set inserts the attributes of one payload field.
func (a *applier) set(field string) {
	f := a.e.Field(field)
	if f == nil || f.Erased() || string(f.Value) == "null" {
		return
	}
	attributes, err := pedigree.FieldAttributes(field, f.Value)
	if err != nil && a.failed == nil {
		a.failed = err
	}
	for i, at := range attributes {
		a.insert(i, at)
	}
}

// replace ends what a field said and inserts what it says now.
func (a *applier) replace(field string) {
	a.endField(field)
	a.set(field)
}

// setText inserts a field that is one text; an empty one says nothing.
func (a *applier) setText(field string) {
	if text := a.e.String(field); text != "" {
		a.insert(0, pedigree.Attribute{Field: field, Key: field, Text: text})
	}
}

func (a *applier) endField(field string) {
	a.out.exec("UPDATE view_attributes SET to_seq = $1 WHERE subject = $2 AND field = $3 AND to_seq IS NULL", a.e.Seq, a.subject, field)
}

func (a *applier) end(field, key string) {
	a.out.exec("UPDATE view_attributes SET to_seq = $1 WHERE subject = $2 AND field = $3 AND key = $4 AND to_seq IS NULL", a.e.Seq, a.subject, field, key)
}

func (a *applier) insert(ord int, at pedigree.Attribute) {
	var number any
	if at.Number != nil {
		number = *at.Number
	}
	a.out.insert(viewAttributes, a.subject, at.Field, at.Key, a.e.Seq, ord, at.Text, textHash(at.Text), number)
}

// textHash is the indexed form of an attribute's text: 64 bits of its SHA-256, since
// databases limit the length of an index entry.
func textHash(s string) int64 {
	sum := sha256.Sum256([]byte(s))
	return int64(binary.BigEndian.Uint64(sum[:]))
}

func (a *applier) register() {
	model, n, ok := pedigree.SplitVersionSubject(a.e.Subject)
	if !ok {
		a.failed = pedigree.Errorf(pedigree.CodeCorrupt, "event %d: %q is not a version", a.e.Seq, a.e.Subject)
		return
	}
	var tags map[string]string
	if _, err := a.e.Decode("tags", &tags); err != nil {
		a.failed = err
		return
	}
	a.out.insert(viewVersions, a.e.Seq, model, int64(n), a.e.Seq, pedigree.StageOf(tags[pedigree.StageTag]), a.e.Seq)
	a.insert(0, pedigree.Attribute{Field: "created_by", Key: "created_by", Text: a.e.Actor})
	for _, f := range a.e.Fields {
		a.set(f.Name)
	}
}

// updateModel notes that e is the last event that changed a model, as MLflow counts it:
// not by tags and aliases. A registration does not come here, since registrations
// share their statements: whoever reads takes the newest version into account.
func (a *applier) updateModel(model string) {
	a.out.exec("UPDATE view_models SET updated_seq = $1 WHERE id = $2", a.e.Seq, model)
}

// updateVersion notes the same for the version that is e's subject.
func (a *applier) updateVersion() {
	a.out.exec("UPDATE view_versions SET updated_seq = $1 WHERE seq = $2", a.e.Seq, a.subject)
}

// stage keeps the stage of a version beside it, where e is about its tag.
func (a *applier) stage(text string) {
	model, _, ok := pedigree.SplitVersionSubject(a.e.Subject)
	if !ok || a.e.String("key") != pedigree.StageTag {
		return
	}
	a.out.exec("UPDATE view_versions SET updated_seq = $1, stage = $2, stage_seq = $1 WHERE seq = $3", a.e.Seq, pedigree.StageOf(text), a.subject)
	a.updateModel(model)
}

// webhook replaces the fields of a webhook that e sets, each by its JSON text.
func (a *applier) webhook() {
	for _, f := range a.e.Fields {
		switch f.Name {
		case "project", "format", "reason":
			continue
		}
		a.endField(f.Name)
		if !f.Erased() {
			a.insert(0, pedigree.Attribute{Field: f.Name, Key: "webhook." + f.Name, Text: string(f.Value)})
		}
	}
}

// redact removes what the erased fields of an earlier event put into the views.
func (a *applier) redact() {
	var fields []string
	var event int64
	if _, err := a.e.Decode("fields", &fields); err != nil {
		a.failed = err
		return
	}
	if _, err := a.e.Decode("event", &event); err != nil {
		a.failed = err
		return
	}
	for _, f := range fields {
		if f == "value" { // of a tag
			f = "tags"
		}
		a.out.exec("DELETE FROM view_attributes WHERE subject = $1 AND field = $2 AND from_seq = $3", a.subject, f, event)
		if f == "tags" {
			a.out.exec("UPDATE view_versions SET stage = $1 WHERE seq = $2 AND stage_seq = $3", pedigree.StagedNone, a.subject, event)
		}
	}
}
