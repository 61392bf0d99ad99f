package registrar_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/internal/blob"
	"github.com/pedigree-ml/pedigree/internal/ledger"
	"github.com/pedigree-ml/pedigree/internal/pgtest"
	"github.com/pedigree-ml/pedigree/internal/registrar"
	"github.com/pedigree-ml/pedigree/internal/sqlstore"
)

func TestMain(m *testing.M) {
	flag.Parse()
	if f := flag.Lookup("rapid.checks"); f != nil && f.Value.String() == f.DefValue {
		_ = f.Value.Set("10") // each makes two databases, and asks them as of every event
	}
	os.Exit(m.Run())
}

// op is one step of a random history.
type op struct {
	Kind    string
	Model   pedigree.Name
	Other   pedigree.Name
	Alias   pedigree.Alias
	Version pedigree.VersionNumber
	Key     string
	Text    string
	Value   pedigree.Float
	Seq     int64
	Field   string
	Target  pedigree.TargetName
}

var (
	names   = []pedigree.Name{"fraud", "churn", "Übermodell 模型", "a@b", "7", `quote"d`, "%_x"}
	aliases = []pedigree.Alias{"champion", "production", "ärger"}
	keys    = []string{"team", "a b", "x/y:z.w-1", "ключ"}
	values  = []pedigree.Float{0, 1, -1, 0.93, pedigree.Float(math.NaN()), pedigree.Float(math.Inf(1)), pedigree.Float(math.Inf(-1)), math.MaxFloat64, 5e-324}
	kinds   = []string{
		"create", "register", "register", "register", "import", "edit", "tag", "untag", "tagmodel", "alias", "alias", "unalias",
		"archive", "restore", "amend", "amend", "describe", "rename", "deletemodel", "deleteversion", "stage", "stage", "redact", "redact", "redact",
		"webhook", "webhook", "webhookedit", "webhookdelete",
	}
	fields = []string{"url", "owner", "params", "metrics", "tags", "value", "description", "data", "reason", "note", "run", "purpose", "rollback_note", "imported"}

	// livingKinds are the steps of approvals, deployments and what follows from them; they
	// keep to two models and few targets, so that they meet.
	livingKinds = []string{
		"request", "approve", "approve", "approve", "reject", "revoke", "meet", "withdraw", "reinstate", "policy", "policy", "unpolicy",
		"target", "edittarget", "deletetarget", "deploy", "deploy", "deploy", "deploy", "report", "report", "end", "mark", "rollback", "rollback",
		"observe", "observe", "exec", "finish", "redact", "redact", "amend", "alias",
	}
	livingFields = []string{
		"reason", "comment", "conditions", "note", "description", "incident", "config", "decision", "message", "checks", "inputs", "outputs",
		"dashboards", "owner", "runbook", "log_schema", "silent_after", "metrics", "stales_approval", "gates", "image", "expires_at",
	}
	targets = []pedigree.TargetName{"prod/x", "prod/y", "dev/x"}
	people  = []string{"ann", "bob", "local"}
)

// beginning is what every history begins with: something to deploy, and where.
var beginning = []op{
	{Kind: "register", Model: "fraud", Alias: "champion", Key: "team", Value: 0.93},
	{Kind: "register", Model: "fraud", Alias: "champion", Key: "team", Value: 1},
	{Kind: "register", Model: "churn", Alias: "champion", Key: "team", Value: 1},
	{Kind: "target", Target: "prod/x", Alias: "production", Key: "ann", Seq: 12},
	{Kind: "target", Target: "prod/y", Key: "ann", Seq: 2},
	{Kind: "deploy", Model: "fraud", Version: 1, Target: "prod/x", Key: "ann", Seq: 5},
}

// legal draws a text of any legal Unicode.
func legal(t *rapid.T) string {
	runes := rapid.SliceOfN(rapid.OneOf(
		rapid.SampledFrom([]rune("ab\n\t<>&\"'\\%_\u2028\u2029\u00ad\U0001F600\uFFFD\u0301")),
		rapid.Rune().Filter(func(r rune) bool { return r >= 0x20 && r != 0x7f }),
	), 0, 12).Draw(t, "text")
	return string(runes)
}

func drawOp(t *rapid.T) op {
	if rapid.Bool().Draw(t, "life") {
		return op{
			Kind:    rapid.SampledFrom(livingKinds).Draw(t, "kind"),
			Model:   names[rapid.SampledFrom([]int{0, 0, 0, 0, 1}).Draw(t, "model")],
			Target:  targets[rapid.SampledFrom([]int{0, 0, 0, 1, 2}).Draw(t, "target")],
			Alias:   rapid.SampledFrom(aliases).Draw(t, "alias"),
			Version: pedigree.VersionNumber(rapid.IntRange(1, 2).Draw(t, "version")),
			Key:     rapid.SampledFrom(people).Draw(t, "person"),
			Text:    legal(t),
			Value:   rapid.SampledFrom(values).Draw(t, "value"),
			Seq:     int64(rapid.IntRange(0, 60).Draw(t, "seq")),
			Field:   rapid.SampledFrom(livingFields).Draw(t, "field"),
		}
	}
	return op{
		Kind:    rapid.SampledFrom(kinds).Draw(t, "kind"),
		Model:   rapid.SampledFrom(names).Draw(t, "model"),
		Other:   rapid.SampledFrom(names).Draw(t, "other"),
		Alias:   rapid.SampledFrom(aliases).Draw(t, "alias"),
		Version: pedigree.VersionNumber(rapid.IntRange(1, 4).Draw(t, "version")),
		Key:     rapid.SampledFrom(keys).Draw(t, "key"),
		Text:    legal(t),
		Value:   rapid.SampledFrom(values).Draw(t, "value"),
		Seq:     int64(rapid.IntRange(0, 60).Draw(t, "seq")),
		Field:   rapid.SampledFrom(fields).Draw(t, "field"),
	}
}

// run does one step. What the rules refuse is part of the history: both databases must
// refuse it by the same code.
func (o op) run(ctx context.Context, r *registry) error {
	ref := pedigree.Reference{Project: "default", Model: o.Model, Version: o.Version}
	record := pedigree.Record{
		Owner: "team:" + o.Key, Params: pedigree.Params{o.Key: o.Text}, Metrics: []pedigree.Metric{{Name: "auc", Value: o.Value}, {Name: "auc", Value: 1, Split: "test"}},
		Data:         []pedigree.DataReference{{Role: "train", Kind: pedigree.DataSnapshot, URI: "s3://lake/" + pedigree.SafeURI(o.Alias)}},
		Artifact:     pedigree.Artifact{Kind: pedigree.ArtifactLinked, URI: "s3://models/" + pedigree.SafeURI(o.Alias), Digest: pedigree.DigestBytes([]byte(o.Text))},
		RollbackNote: o.Text,
	}
	var err error
	switch o.Kind {
	case "create":
		_, err = r.CreateModel(ctx, me, "default", o.Model, pedigree.ModelEdit{Owner: &o.Key, Purpose: &o.Text, Tags: map[string]string{o.Key: o.Text}})
	case "register":
		_, err = r.Register(ctx, me, "default", o.Model, pedigree.Registration{Record: record, Tags: map[string]string{o.Key: o.Text}, Description: o.Text, CreateModel: true, Aliases: []pedigree.Alias{o.Alias}})
	case "import":
		born := time.UnixMilli(o.Seq * 1e9).UTC()
		_, err = r.Register(ctx, me, "default", o.Model, pedigree.Registration{
			Record: record, CreateModel: true, Number: o.Version + 1, Tags: map[string]string{pedigree.StageTag: pedigree.StagedProduction}, Aliases: []pedigree.Alias{o.Alias},
			Imported: &pedigree.Imported{From: "http://old.example.org", ID: "fraud/" + o.Version.String(), Author: o.Key, CreatedAt: &born},
		})
	case "edit":
		_, err = r.EditModel(ctx, me, "default", o.Model, pedigree.ModelEdit{Owner: &o.Text, Description: &o.Key, Tags: map[string]string{o.Key: o.Text}}, nil)
	case "tag":
		_, err = r.EditVersion(ctx, me, ref, pedigree.VersionEdit{Tags: map[string]string{o.Key: o.Text}}, nil)
	case "untag":
		_, err = r.UntagVersion(ctx, me, ref, o.Key)
	case "tagmodel":
		_, err = r.UntagModel(ctx, me, "default", o.Model, o.Key)
	case "alias":
		_, err = r.SetAlias(ctx, me, ref, o.Alias, nil, o.Text)
	case "unalias":
		err = r.RemoveAlias(ctx, me, "default", o.Model, o.Alias, nil, o.Text)
	case "archive":
		_, err = r.ArchiveVersion(ctx, me, ref, o.Text)
	case "restore":
		_, err = r.RestoreVersion(ctx, me, ref, o.Text)
	case "amend":
		_, err = r.Amend(ctx, me, ref, pedigree.Amend{Record: record, Replace: []string{"metrics"}, Reason: o.Text}, nil)
	case "describe":
		_, err = r.EditVersion(ctx, me, ref, pedigree.VersionEdit{Description: &o.Text}, nil)
	case "rename":
		_, err = r.RenameModel(ctx, me, "default", o.Model, o.Other, nil)
	case "deletemodel":
		err = r.DeleteModel(ctx, me, "default", o.Model, o.Text, o.Version > 2, nil)
	case "deleteversion":
		_, err = r.DeleteVersion(ctx, me, ref, o.Text, o.Seq%2 == 0, nil)
	case "stage":
		_, err = r.Transition(ctx, me, ref, pedigree.VersionStages[int(o.Seq)%4], o.Version > 2)
	case "webhook":
		url := "https://" + string(o.Alias) + ".example.org/"
		_, err = r.CreateWebhook(ctx, me, "default", registrar.NewWebhook{Format: pedigree.FormatStandard, WebhookEdit: pedigree.WebhookEdit{
			URL: &url, Name: &o.Text, Types: &[]string{"alias.*"}, Models: &[]string{string(o.Model)},
		}})
	case "webhookedit", "webhookdelete":
		list, listErr := r.Webhooks(ctx, me, registrar.WebhookList{Project: "default"}, pedigree.Page{})
		if listErr != nil || len(list.Items) == 0 {
			return listErr
		}
		id := list.Items[int(o.Seq)%len(list.Items)].ID
		if o.Kind == "webhookdelete" {
			err = r.DeleteWebhook(ctx, me, "default", id, o.Text, nil)
			break
		}
		on := o.Version%2 == 0
		_, err = r.EditWebhook(ctx, me, "default", id, pedigree.WebhookEdit{Active: &on, Description: &o.Text, Types: &[]string{}, Reason: o.Key}, nil)
	case "redact":
		_, err = r.Redact(ctx, me, o.Seq, []string{o.field(ctx, r)}, "asked to")
	default:
		err = o.live(ctx, r, ref)
	}
	return err
}

// field is the field to erase: mostly one that the event has.
func (o op) field(ctx context.Context, r *registry) string {
	list, err := r.Entries(ctx, me, pedigree.EventQuery{After: o.Seq - 1, Limit: 1})
	if err != nil || len(list.Items) == 0 || o.Version == 1 {
		return o.Field
	}
	fields := list.Items[0].Fields
	if i := slices.IndexFunc(fields, func(f pedigree.Field) bool { return f.Name == o.Field }); i >= 0 || len(fields) == 0 {
		return o.Field
	}
	return fields[len(o.Text)%len(fields)].Name
}

// live does one step of a life.
func (o op) live(ctx context.Context, r *registry, ref pedigree.Reference) error {
	by := pedigree.Principal{ID: o.Key}
	flag, uri := o.Seq%2 == 0, pedigree.SafeURI("https://example.org/"+string(o.Alias))
	spec := pedigree.TargetSpec{
		Kind: pedigree.TargetOnline, Owner: o.Key, Description: o.Text, Protected: flag, Dashboards: []pedigree.SafeURI{uri}, Runbook: uri,
		Confirm: []pedigree.Confirm{pedigree.ConfirmNone, pedigree.ConfirmNone, pedigree.ConfirmReport, pedigree.ConfirmObservation}[o.Seq%4], SilentAfter: pedigree.Duration(o.Seq) * 1e9,
	}
	if o.Seq%3 == 0 {
		spec.Alias = o.Alias
	}
	if o.Seq%7 == 0 {
		spec.LogSchema = json.RawMessage(`{"properties":{"request":{"required":["amount"]}}}`)
	}
	// pick is one of the deployments that there are, "" without any.
	pick := func() (d pedigree.Deployment) {
		list, err := r.Deployments(ctx, me, "default", pedigree.Page{Limit: 5}, pedigree.At{})
		if err == nil && len(list.Items) > 0 {
			d = list.Items[int(o.Seq)%len(list.Items)]
		}
		return d
	}
	// passOver overrides what failed, now and then.
	passOver := func(d pedigree.Decision) (out []pedigree.Override) {
		for _, c := range d.Failed() {
			if o.Seq%3 > 0 {
				out = append(out, pedigree.Override{Name: c.Name, Reason: "known: " + o.Text})
			}
		}
		return out
	}
	var err error
	switch o.Kind {
	case "request":
		_, err = r.RequestApproval(ctx, by, ref, o.Text)
	case "approve":
		review := pedigree.Review{Comment: o.Text}
		if flag {
			review.Conditions = []pedigree.Condition{{Note: "watch " + o.Key, Owner: o.Key, Due: "2026-12-01"}, {Expr: "metrics.auc > 0.0"}}
		}
		_, err = r.Approve(ctx, by, ref, review)
	case "reject":
		_, err = r.Reject(ctx, by, ref, pedigree.Review{Comment: "no: " + o.Text})
	case "revoke":
		_, err = r.RevokeApproval(ctx, by, ref, "no more: "+o.Text)
	case "meet":
		id := "0.1"
		if v, err := r.Version(ctx, me, ref, pedigree.At{}); err == nil && v.Approval != nil && len(v.Approval.Conditions) > 0 {
			id = v.Approval.Conditions[0].ID
		}
		_, err = r.MeetCondition(ctx, by, ref, id, o.Text)
	case "withdraw":
		_, err = r.Withdraw(ctx, by, ref, "bad: "+o.Text, uri)
	case "reinstate":
		_, err = r.RestoreVersion(ctx, by, ref, o.Text)
	case "policy":
		policy := pedigree.Policy{Project: "default", Description: o.Text, Protected: pedigree.Protected{Aliases: []string{string(o.Alias)}}}
		if o.Seq%3 == 0 {
			policy.Project, policy.Protected = "", pedigree.Protected{Targets: []string{"prod/*"}}
		}
		if flag {
			policy.Approvals = &pedigree.ApprovalRule{Count: int(o.Seq % 3), AllowAuthor: o.Seq%4 == 0, Environments: []string{"prod"}}
		}
		if o.Seq%5 == 0 {
			policy.Gates = []pedigree.Gate{{Name: "auc", Expr: "metrics.auc >= current.metrics.auc - 0.1", Message: o.Text}, {Name: "proof", Expr: "evidence.size() >= 0"}}
		}
		_, _, err = r.ApplyPolicy(ctx, by, policy, false)
	case "unpolicy":
		project := pedigree.ProjectName("default")
		if o.Seq%3 == 0 {
			project = ""
		}
		err = r.RemovePolicy(ctx, by, project, o.Text)
	case "target":
		_, err = r.CreateTarget(ctx, by, "default", o.Target, spec)
	case "edittarget":
		_, err = r.EditTarget(ctx, by, "default", o.Target, func(s *pedigree.TargetSpec) error { *s = spec; return nil }, nil)
	case "deletetarget":
		err = r.DeleteTarget(ctx, by, "default", o.Target, o.Text)
	case "deploy":
		deploy := pedigree.Deploy{Config: o.Key, Note: o.Text, Incident: uri}
		if d, err := r.TestPolicy(ctx, by, ref, o.Target, deploy, pedigree.At{}); err == nil {
			deploy.Overrides = passOver(d)
		}
		switch o.Seq % 6 {
		case 0:
			deploy.Role = pedigree.RoleCanary
		case 1:
			deploy.RollbackNote = "mind " + o.Text
		case 2:
			deploy.Image = "example.org/serve:" + o.Key
		}
		_, err = r.Deploy(ctx, by, ref, o.Target, deploy, nil)
	case "report":
		_, err = r.ReportDeployment(ctx, by, pick().ID, pedigree.DeploymentReport{State: []pedigree.DeploymentState{pedigree.DeploymentActive, pedigree.DeploymentFailing}[o.Seq%2], Note: o.Text, Incident: uri})
	case "end":
		_, err = r.EndDeployment(ctx, by, pick().ID, o.Text)
	case "mark":
		_, err = r.MarkDeployment(ctx, by, pick().ID, flag, "slow: "+o.Text)
	case "rollback":
		rollback := pedigree.Rollback{Reason: o.Text, Incident: uri}
		if o.Seq%4 == 0 {
			rollback.To = pick().ID
		}
		if plan, err := r.PlanRollback(ctx, by, "default", o.Target, rollback); err == nil {
			rollback.Overrides = passOver(plan.Decision)
		}
		_, err = r.Rollback(ctx, by, "default", o.Target, rollback)
	case "observe":
		seen := pedigree.Observation{Instance: "pod-" + o.Key}
		switch d := pick(); {
		case o.Seq%3 == 0:
			seen.Model, seen.Version = o.Model, o.Version
		case o.Seq%3 == 1 && d.Digest != "":
			seen.Digest = d.Digest
		default:
			seen.Deployment = d.ID
		}
		_, err = r.Observe(ctx, by, "default", o.Target, seen)
	case "exec":
		_, err = r.StartExecution(ctx, by, "default", o.Target, []pedigree.Output{{Name: "in " + o.Key, URI: uri}})
	case "finish":
		list, listErr := r.Executions(ctx, me, "default", o.Target, nil, pedigree.Page{}, pedigree.At{})
		if listErr != nil || len(list.Items) == 0 {
			return listErr
		}
		_, err = r.FinishExecution(ctx, by, list.Items[int(o.Seq)%len(list.Items)].ID, pedigree.ExecutionReport{Exit: int(o.Seq % 3), Outputs: []pedigree.Output{{Name: "out " + o.Key}}})
	}
	return err
}

// mustOpenFixed opens a registry whose ids and salts count up, so that two of them
// give the same answers.
func mustOpenFixed(t *testing.T, database string) *registry {
	t.Helper()
	key, _, err := ledger.NewKey(rand.Reader, "pedigree/test")
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 11, 24, 0, 0, 0, 0, time.UTC)
	store, err := sqlstore.Open(context.Background(), sqlstore.Config{
		Database: database, Rand: rand.Reader, Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
		Now: func() time.Time { now = now.Add(time.Second); return now },
	})
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	r, err := registrar.Open(context.Background(), registrar.Config{
		Store: store, Blobs: blob.NewMemory(), Now: time.Now, Rand: rand.Reader,
		NewID:  func(prefix string) string { n++; return fmt.Sprintf("%s_%032d", prefix, n) },
		Signer: func() (*ledger.Signer, error) { return ledger.NewSigner(key) },
	})
	if err != nil {
		t.Fatal(err)
	}
	return &registry{Registrar: r, store: store, key: key}
}

func (r *registry) views(t fatal) string {
	var b bytes.Buffer
	if err := r.store.Views(context.Background(), &b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// answers asks a registry everything about now, and a third of it as of an event: which
// one is for turn to say, so that over some histories everything is asked about each kind
// of event.
func (r *registry) answers(t *rapid.T, at pedigree.At, turn int) string {
	third := func(n int64) bool { return at.IsNow() || (*at.Seq+int64(turn))%3 == n }
	var out []any
	add := func(v any, err error) {
		if err != nil {
			v = string(pedigree.CodeOf(err)) + ": " + err.Error()
		}
		out = append(out, v)
	}
	if at.IsNow() {
		r.cards(add)
		hooks, err := r.Webhooks(context.Background(), me, registrar.WebhookList{All: true}, pedigree.Page{})
		for i := range hooks.Items {
			hooks.Items[i].UpdatedAt = time.Time{}
		}
		add(hooks, err)
	}
	if third(0) {
		r.versions(add, at)
	}
	if third(1) {
		r.searches(add, at)
	}
	if third(2) {
		r.lives(add, at)
	}
	b, err := json.MarshalIndent(out, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return timeless(b)
}

// versions asks for models, their versions and their aliases.
func (r *registry) versions(add func(v any, err error), at pedigree.At) {
	ctx := context.Background()
	models, err := r.Models(ctx, me, "default", pedigree.Page{}, at)
	add(models, err)
	for _, m := range models.Items {
		add(r.Model(ctx, me, "default", m.Name, at))
		add(r.AliasHistory(ctx, me, "default", m.Name, "", pedigree.Page{}, at))
		for n := pedigree.VersionNumber(1); n < 5; n++ {
			ref := pedigree.Reference{Project: "default", Model: m.Name, Version: n}
			add(r.Version(ctx, me, ref, at))
			add(r.Lineage(ctx, me, ref, registrar.Both, 0, at))
		}
		for _, a := range aliases {
			add(r.Resolve(ctx, me, pedigree.Reference{Project: "default", Model: m.Name, Alias: a}, at))
		}
	}
}

// searches asks for versions by what is said of them.
func (r *registry) searches(add func(v any, err error), at pedigree.At) {
	ctx := context.Background()
	for _, q := range [][2]string{
		{"", ""},
		{"approval = 'approved' OR deployed_to = 'prod/x'", "approval, version"},
		{"withdrawn = true OR deployed_to IS NULL", "complete, updated_at"},
		{"tags.team LIKE '%a%' OR NOT tags.\"a b\" = 'x'", "metrics.auc DESC"},
		{"metrics.auc > 0.5 AND archived = false", "model, version"},
		{"metrics.auc != 1", "params.team"},
		{"owner ILIKE 'TEAM:%' AND alias IS NOT NULL", "complete DESC"},
		{"archived = true", ""},
		{"imported.from LIKE 'http://%' AND imported.author != 'x'", "version"},
		{"data.uri = 's3://lake/production'", "metrics.auc"},
		{"complete >= 4 AND created_by = 'local'", "version DESC"},
	} {
		page := pedigree.Page{Limit: 3}
		for {
			list, err := r.Search(ctx, me, "", q[0], q[1], page, at)
			add(list.Items, err)
			if page.Cursor = list.Next; err != nil || page.Cursor == "" {
				break
			}
		}
	}
}

// lives asks what was said of versions and where they run.
func (r *registry) lives(add func(v any, err error), at pedigree.At) {
	ctx := context.Background()
	for _, project := range []pedigree.ProjectName{"", "default"} {
		add(r.Policy(ctx, me, project, at))
	}
	add(r.Requests(ctx, me, "default", pedigree.Page{}, at))
	add(r.Conditions(ctx, me, "", nil, pedigree.Page{}, at))
	add(r.Targets(ctx, me, "default", pedigree.Page{}, at))
	add(r.Deployments(ctx, me, "default", pedigree.Page{}, at))
	for _, name := range targets {
		add(r.Executions(ctx, me, "default", name, nil, pedigree.Page{}, at))
		add(r.Which(ctx, me, "default", string(name), at))
		add(r.TestPolicy(ctx, me, pedigree.Reference{Project: "default", Model: "fraud", Version: 1}, name, pedigree.Deploy{}, at))
		if at.IsNow() {
			add(r.PlanRollback(ctx, me, "default", name, pedigree.Rollback{}))
		}
	}
	for _, what := range []string{"pod-ann", "fraud", "churn/1", "https://example.org/champion", "example.org/serve:ann"} {
		add(r.Which(ctx, me, "default", what, at))
	}
	if at.IsNow() {
		begin, end := time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2120, 1, 1, 0, 0, 0, 0, time.UTC)
		add(r.Delivery(ctx, me, "default", "*", begin, end))
		changes, err := r.Changes(ctx, me, "default", "prod/x", "", begin, end, pedigree.Page{})
		for i := range changes.Items { // their payloads hold times and digests
			e, err := changes.Items[i].Event()
			add(strings.Join([]string{string(e.Type), e.Actor, e.Subject}, " "), err)
		}
		add(len(changes.Items), err)
	}
}

// cards asks for what lists of MLflow's show, which is about the present alone.
func (r *registry) cards(add func(v any, err error)) {
	ctx := context.Background()
	for _, o := range []string{"model", "model DESC", "updated_at", "updated_at DESC"} {
		by, err := pedigree.ParseOrder(o)
		if err != nil {
			add(nil, err)
			continue
		}
		for q := (registrar.CardQuery{Order: by, Limit: 2}); ; {
			cards, next, err := r.SearchModelCards(ctx, me, "default", q)
			for i := range cards {
				cards[i].UpdatedAt = time.Time{}
				for j := range cards[i].Newest {
					cards[i].Newest[j].CreatedAt, cards[i].Newest[j].UpdatedAt = time.Time{}, time.Time{}
				}
			}
			add(cards, err)
			if q.Cursor = next; err != nil || next == "" {
				break
			}
		}
		for q := (registrar.CardQuery{Order: by, Limit: 3}); ; {
			cards, next, err := r.SearchCards(ctx, me, "default", q)
			for i := range cards {
				cards[i].CreatedAt, cards[i].UpdatedAt = time.Time{}, time.Time{}
			}
			add(cards, err)
			if q.Cursor = next; err != nil || next == "" {
				break
			}
		}
	}
}

// timely are the keys of what differs between two registries: times and what is counted
// from them, and the digests and the salts of the log, which are random.
var timely = []string{
	`"created_at":`, `"from":`, `"to":`, `"time":`, `"record_digest":`, `"at":`, `"applied_at":`, `"opened_at":`, `"active_at":`, `"ended_at":`, `"met_at":`,
	`"started_at":`, `"finished_at":`, `"since":`, `"seen_at":`, `"silent":`, `"lagging":`, `"lags_since":`, `"lagging_since":`, `"silent_since":`, `"lead_time_seconds":`, `"time_to_restore_seconds":`,
	`"envelope":`, `"leaf":`, `"salt":`, `"commitment":`,
}

// timeless drops times, which differ between a database's clock and the test's.
func timeless(b []byte) string {
	var lines []string
	for line := range strings.Lines(string(b)) {
		if !slices.ContainsFunc(timely, func(key string) bool { return strings.Contains(line, key) }) {
			lines = append(lines, strings.TrimRight(line, ",\n")) // a comma is there for the sake of the next line
		}
	}
	return strings.Join(lines, "\n")
}

// TestHistories runs random histories on both databases: the refusals are the same,
// the answers are the same today and as of every event, a rebuild changes nothing, and
// the log verifies.
func TestHistories(t *testing.T) {
	admin := map[string]func() string{
		"sqlite":   func() string { return filepath.Join(t.TempDir(), "pedigree.db") },
		"postgres": func() string { return pgtest.Database(t) },
	}
	rapid.Check(t, func(rt *rapid.T) {
		ctx := context.Background()
		ops := append(beginning, rapid.SliceOfN(rapid.Custom(drawOp), 20, 60).Draw(rt, "history")...)
		r := map[string]*registry{}
		for name, database := range admin {
			r[name] = mustOpenFixed(t, database())
			defer r[name].store.Close()
		}
		for i, o := range ops {
			lite, pg := o.run(ctx, r["sqlite"]), o.run(ctx, r["postgres"])
			if pedigree.CodeOf(lite) != pedigree.CodeOf(pg) {
				rt.Fatalf("step %d %+v: SQLite says %v, PostgreSQL %v", i, o, lite, pg)
			}
			if pedigree.CodeOf(lite) == pedigree.CodeInternal {
				rt.Fatalf("step %d %+v: internal error: %v", i, o, lite)
			}
		}
		head, err := r["sqlite"].store.Head(ctx)
		if err != nil {
			rt.Fatal(err)
		}
		moments := []pedigree.At{{}}
		for seq := range head {
			moments = append(moments, pedigree.At{Seq: &seq})
		}
		for _, at := range moments {
			lite, pg := r["sqlite"].answers(rt, at, len(ops)), r["postgres"].answers(rt, at, len(ops))
			if d := cmp.Diff(lite, pg); d != "" {
				rt.Fatalf("as of %q SQLite and PostgreSQL differ:\n%s", at, d)
			}
		}
		for name, reg := range r {
			before, answers := reg.views(rt), reg.answers(rt, pedigree.At{}, 0)
			if err := reg.Rebuild(ctx, me, nil); err != nil {
				rt.Fatalf("%s: rebuild: %v", name, err)
			}
			if d := cmp.Diff(before, reg.views(rt)); d != "" {
				rt.Fatalf("%s: a rebuild changed the tables:\n%s", name, d)
			}
			if d := cmp.Diff(answers, reg.answers(rt, pedigree.At{}, 0)); d != "" {
				rt.Fatalf("%s: a rebuild changed the answers:\n%s", name, d)
			}
			reg.verify(rt)
		}
		if d := cmp.Diff(r["sqlite"].views(rt), r["postgres"].views(rt)); d != "" {
			rt.Fatalf("the tables differ:\n%s", d)
		}
	})
}

// fatal is what verify needs of a test.
type fatal interface {
	Helper()
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

// verify checks the whole log against its checkpoint.
func (r *registry) verify(t fatal) {
	t.Helper()
	ctx := context.Background()
	cp, err := r.Checkpoint(ctx, pedigree.Operator)
	if err != nil {
		t.Fatal(err)
	}
	v, err := ledger.NewVerifier(ledger.VerifierConfig{Checkpoints: []pedigree.Checkpoint{cp}})
	if err != nil {
		t.Fatal(err)
	}
	for after := int64(-1); ; {
		list, err := r.Entries(ctx, pedigree.Operator, pedigree.EventQuery{After: after, Limit: 1000})
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range list.Items {
			if err := v.Add(e); err != nil {
				t.Fatal(err)
			}
			after = e.Seq
		}
		if list.Next == "" {
			break
		}
	}
	report, err := v.Finish()
	if err != nil {
		t.Fatal(err)
	}
	if report.Size != cp.Size {
		t.Fatalf("verified %d events, the checkpoint has %d", report.Size, cp.Size)
	}
}
