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
		_ = f.Value.Set("20") // each makes two databases, and asks them as of every event
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
)

// legal draws a text of any legal Unicode.
func legal(t *rapid.T) string {
	runes := rapid.SliceOfN(rapid.OneOf(
		rapid.SampledFrom([]rune("ab\n\t<>&\"'\\%_\u2028\u2029\u00ad\U0001F600\uFFFD\u0301")),
		rapid.Rune().Filter(func(r rune) bool { return r >= 0x20 && r != 0x7f }),
	), 0, 12).Draw(t, "text")
	return string(runes)
}

func drawOp(t *rapid.T) op {
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

// run does one step. What the rules refuse is part of the history: the answer is the
// code of the error.
func (o op) run(ctx context.Context, r *registry) pedigree.ErrorCode {
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
			return pedigree.CodeOf(listErr)
		}
		id := list.Items[int(o.Seq)%len(list.Items)].ID
		if o.Kind == "webhookdelete" {
			err = r.DeleteWebhook(ctx, me, "default", id, o.Text, nil)
			break
		}
		on := o.Version%2 == 0
		_, err = r.EditWebhook(ctx, me, "default", id, pedigree.WebhookEdit{Active: &on, Description: &o.Text, Types: &[]string{}, Reason: o.Key}, nil)
	case "redact":
		_, err = r.Redact(ctx, me, o.Seq, []string{o.Field}, "asked to")
	}
	return pedigree.CodeOf(err)
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

// answers asks a registry everything, as of at.
func (r *registry) answers(t *rapid.T, at pedigree.At) string {
	ctx := context.Background()
	var out []any
	add := func(v any, err error) {
		if err != nil {
			v = string(pedigree.CodeOf(err)) + ": " + err.Error()
		}
		out = append(out, v)
	}
	models, err := r.Models(ctx, me, "default", pedigree.Page{}, at)
	add(models, err)
	if at.IsNow() {
		r.cards(add)
		hooks, err := r.Webhooks(ctx, me, registrar.WebhookList{All: true}, pedigree.Page{})
		for i := range hooks.Items {
			hooks.Items[i].UpdatedAt = time.Time{}
		}
		add(hooks, err)
	}
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
	for _, q := range [][2]string{
		{"", ""},
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
	b, err := json.MarshalIndent(out, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return timeless(b)
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

// timeless drops times, which differ between a database's clock and the test's.
func timeless(b []byte) string {
	var lines []string
	for line := range bytes.Lines(b) {
		for _, key := range []string{`"created_at":`, `"from":`, `"to":`, `"time":`, `"record_digest":`} { // salts are random, and the digest covers them
			if bytes.Contains(line, []byte(key)) {
				line = nil
			}
		}
		lines = append(lines, string(line))
	}
	return fmt.Sprint(lines)
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
		ops := rapid.SliceOfN(rapid.Custom(drawOp), 5, 45).Draw(rt, "history")
		r := map[string]*registry{}
		for name, database := range admin {
			r[name] = mustOpenFixed(t, database())
			defer r[name].store.Close()
		}
		for i, o := range ops {
			lite, pg := o.run(ctx, r["sqlite"]), o.run(ctx, r["postgres"])
			if lite != pg {
				rt.Fatalf("step %d %+v: SQLite says %q, PostgreSQL %q", i, o, lite, pg)
			}
			if lite == pedigree.CodeInternal {
				rt.Fatalf("step %d %+v: internal error", i, o)
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
			lite, pg := r["sqlite"].answers(rt, at), r["postgres"].answers(rt, at)
			if d := cmp.Diff(lite, pg); d != "" {
				rt.Fatalf("as of %q SQLite and PostgreSQL differ:\n%s", at, d)
			}
		}
		for name, reg := range r {
			before, answers := reg.views(rt), reg.answers(rt, pedigree.At{})
			if err := reg.Rebuild(ctx, me, nil); err != nil {
				rt.Fatalf("%s: rebuild: %v", name, err)
			}
			if d := cmp.Diff(before, reg.views(rt)); d != "" {
				rt.Fatalf("%s: a rebuild changed the tables:\n%s", name, d)
			}
			if d := cmp.Diff(answers, reg.answers(rt, pedigree.At{})); d != "" {
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
