package httpapi_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"reflect"
	"strings"
	"testing"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/client"
	"github.com/pedigree-ml/pedigree/internal/httpapi"
	"github.com/pedigree-ml/pedigree/internal/ledger"
)

// TestEveryRoute goes through the life of some models with the real client, and at the
// end finds no route that it did not use.
func TestEveryRoute(t *testing.T) { onBoth(t, checkEveryRoute) }

func checkEveryRoute(t *testing.T, r *registry) {
	ctx := t.Context()

	// Projects.
	p := must(r.CreateProject(ctx, "risk", "Models of the risk team"))(t)
	if p.Name != "risk" || p.Seq < 2 || p.ID == "" {
		t.Fatalf("got project %+v", p)
	}
	_, err := r.CreateProject(ctx, "risk", "")
	wantCode(t, err, pedigree.CodeExists)
	if got := must(r.GetProject(ctx, "risk", now))(t); !reflect.DeepEqual(got, p) {
		t.Fatalf("got %+v, want %+v", got, p)
	}
	_, err = r.GetProject(ctx, "risk", at(p.Seq-1))
	wantCode(t, err, pedigree.CodeNotFound)
	if got := must(r.Projects(ctx, pedigree.Page{}, now))(t); len(got.Items) != 2 || got.AsOf != p.Seq {
		t.Fatalf("got projects %+v", got)
	}

	testModels(t, r)
	testVersions(t, r)
	testBytes(t, r)
	testAliases(t, r)
	testSearch(t, r)
	testLog(t, r)
	testWatch(t, r)
	testWebhooks(t, r)
	testLifecycle(t, r)

	resp := must(http.Get(r.url + "/api/v1/openapi.json"))(t)
	body := must(io.ReadAll(resp.Body))(t)
	_ = resp.Body.Close()
	if !json.Valid(body) || resp.Header.Get("Content-Type") != "application/json" {
		t.Fatalf("the document has type %q", resp.Header.Get("Content-Type"))
	}

	testPredictions(t, r)
	testAccess(t, r)

	r.close() // a route is counted after its answer was sent
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, route := range httpapi.New(nil, httpapi.Options{}).Routes() {
		if !r.routes[route.Method+" "+httpapi.Prefix+route.Pattern] {
			t.Errorf("%s %s was not used", route.Method, route.Pattern)
		}
	}
}

func testModels(t *testing.T, r *registry) {
	ctx := t.Context()
	c := r.In("risk")
	owner, tier := "team:risk", pedigree.TierHigh
	m := must(c.CreateModel(ctx, "fraud", pedigree.ModelEdit{Owner: &owner, Tags: map[string]string{"a/b": "1", "..": "2"}}))(t)
	if m.Owner != owner || m.Project != "risk" || m.Tags["a/b"] != "1" {
		t.Fatalf("got model %+v", m)
	}
	_, err := c.CreateModel(ctx, "fraud", pedigree.ModelEdit{})
	wantCode(t, err, pedigree.CodeExists)
	edited := must(c.EditModel(ctx, "fraud", pedigree.ModelEdit{Tier: &tier}, &m.Changed))(t)
	if edited.Tier != tier || edited.Changed <= m.Changed {
		t.Fatalf("got model %+v", edited)
	}
	_, err = c.EditModel(ctx, "fraud", pedigree.ModelEdit{Tier: &tier}, &m.Changed)
	wantCode(t, err, pedigree.CodePrecondition)
	for _, key := range []string{"a/b", ".."} {
		if m = must(c.UntagModel(ctx, "fraud", key))(t); m.Tags[key] != "" {
			t.Fatalf("tag %q is still there", key)
		}
	}
	_, err = c.UntagModel(ctx, "fraud", "a/b")
	wantCode(t, err, pedigree.CodeNotFound)
	if m = must(c.RenameModel(ctx, "fraud", "fraud-eu"))(t); m.Name != "fraud-eu" {
		t.Fatalf("got model %+v", m)
	}
	_, err = c.Model(ctx, "fraud-e", now)
	wantCode(t, err, pedigree.CodeNotFound)
	if e := err.(*pedigree.Error); e.Fix != "did you mean fraud-eu?" {
		t.Fatalf("got fix %q", e.Fix)
	}
	if got := must(c.Model(ctx, "fraud", at(m.Seq)))(t); got.Name != "fraud" || got.Tier != "" {
		t.Fatalf("got model %+v as of its creation", got)
	}
	if list := must(c.Models(ctx, pedigree.Page{}, now))(t); len(list.Items) != 1 {
		t.Fatalf("got models %+v", list)
	}
	if err := c.DeleteModel(ctx, "fraud-eu", "a mistake", false); err != nil {
		t.Fatal(err)
	}
	_, err = c.Model(ctx, "fraud-eu", now)
	wantCode(t, err, pedigree.CodeNotFound)
}

func testVersions(t *testing.T, r *registry) {
	ctx := t.Context()
	_, err := r.Register(ctx, "churn", pedigree.Registration{})
	wantCode(t, err, pedigree.CodeNotFound)
	reg := linked("s3://models/churn/1?X-Amz-Signature=abc")
	reg.Tags = map[string]string{"team": "<crm> & co", "x/y": "z"}
	reg.Record.Metrics = []pedigree.Metric{{Name: "auc", Value: 0.91}}
	v := must(r.Register(ctx, "churn", reg))(t)
	if v.Number != 1 || !v.CreatedModel || v.Record.Artifact.URI != "s3://models/churn/1" || v.Tags["team"] != "<crm> & co" {
		t.Fatalf("got version %+v", v)
	}
	one := ref(t, "churn/1")
	got := must(r.Version(ctx, one, now))(t)
	if got.RecordDigest != v.RecordDigest || got.Changed != v.Changed || len(got.Completeness) == 0 {
		t.Fatalf("got version %+v", got)
	}
	amended := must(r.Amend(ctx, one, pedigree.Amend{Record: pedigree.Record{RollbackNote: "none"}, Reason: "late"}, &got.Changed))(t)
	if amended.Record.RollbackNote != "none" || len(amended.Amendments) != 1 {
		t.Fatalf("got version %+v", amended)
	}
	_, err = r.Amend(ctx, one, pedigree.Amend{Record: pedigree.Record{RollbackNote: "x"}}, &got.Changed)
	wantCode(t, err, pedigree.CodePrecondition)
	text := "retrained"
	edited := must(r.EditVersion(ctx, one, pedigree.VersionEdit{Description: &text, Tags: map[string]string{"stage": "candidate"}}, nil))(t)
	if edited.Description != text || edited.Tags["stage"] != "candidate" {
		t.Fatalf("got version %+v", edited)
	}
	if untagged := must(r.UntagVersion(ctx, one, "x/y"))(t); untagged.Tags["x/y"] != "" {
		t.Fatalf("got version %+v", untagged)
	}
	if archived := must(r.Archive(ctx, one, "old"))(t); !archived.Archived {
		t.Fatalf("got version %+v", archived)
	}
	_, err = r.Resolve(ctx, ref(t, "churn"), now)
	wantCode(t, err, pedigree.CodeNotFound)
	if restored := must(r.Restore(ctx, one, ""))(t); restored.Archived {
		t.Fatalf("got version %+v", restored)
	}
	found := must(r.Resolve(ctx, ref(t, "churn"), now))(t)
	if found.Number != 1 || found.Kind != pedigree.ArtifactLinked || found.ModelID != v.ModelID {
		t.Fatalf("got %+v", found)
	}
	child := linked("s3://models/churn/2")
	child.Record.Parents = []pedigree.Parent{{Relation: pedigree.FineTunedFrom, Reference: "churn/1"}}
	must(r.Register(ctx, "churn", child))(t)
	graph := must(r.Lineage(ctx, one, "down", 3, now))(t)
	if len(graph.Edges) != 1 || graph.Edges[0].Relation != "fine_tuned_from" {
		t.Fatalf("got lineage %+v", graph)
	}
	list := getList[pedigree.Summary](t, r, "/api/v1/projects/default/models/churn/versions")
	if len(list.Items) != 2 || list.Items[0].Number != 2 {
		t.Fatalf("got versions %+v", list)
	}
	if err := r.DeleteVersion(ctx, ref(t, "churn/2"), "wrong data", false); err != nil {
		t.Fatal(err)
	}
	_, err = r.Version(ctx, ref(t, "churn/2"), now)
	wantCode(t, err, pedigree.CodeNotFound)
	if v := must(r.Register(ctx, "churn", linked("s3://models/churn/3")))(t); v.Number != 3 || v.CreatedModel {
		t.Fatalf("got version %+v", v)
	}
}

func testBytes(t *testing.T, r *registry) {
	ctx := t.Context()
	weights, card := bytes.Repeat([]byte("weights"), 1000), []byte("# Card\n<script>alert(1)</script>")
	wd, cd := pedigree.DigestBytes(weights), pedigree.DigestBytes(card)
	if missing := must(r.MissingBlobs(ctx, []pedigree.Digest{wd, cd}))(t); len(missing) != 2 {
		t.Fatalf("missing are %v", missing)
	}
	reg := pedigree.Registration{CreateModel: true, Record: pedigree.Record{
		Artifact: pedigree.Artifact{Kind: pedigree.ArtifactStored, Files: []pedigree.File{{Path: "a b/w%2F€.bin", Size: int64(len(weights)), Digest: wd, Executable: true}}},
		Evidence: []pedigree.Evidence{{Name: "cards/model card.html", Kind: "card", Digest: cd, Size: int64(len(card)), MediaType: "text/html"}},
	}}
	_, err := r.Register(ctx, "stored", reg)
	wantCode(t, err, pedigree.CodePrecondition)
	if err := r.PutBlob(ctx, wd, int64(len(weights)), bytes.NewReader(weights)); err != nil {
		t.Fatal(err)
	}
	if err := r.PutBlob(ctx, cd, -1, bytes.NewReader(card)); err != nil { // chunked
		t.Fatal(err)
	}
	wantCode(t, r.PutBlob(ctx, cd, 3, strings.NewReader("no!")), pedigree.CodeCorrupt)
	v := must(r.Register(ctx, "stored", reg))(t)
	one := ref(t, "stored/1")
	found, artifact, err := r.Artifact(ctx, one, now)
	if err != nil || found.Digest != v.Record.Artifact.Digest || len(artifact.Files) != 1 {
		t.Fatalf("got %+v %+v %v", found, artifact, err)
	}
	body, f, err := r.OpenFile(ctx, one, "a b/w%2F€.bin", now)
	if err != nil {
		t.Fatal(err)
	}
	if got := must(io.ReadAll(body))(t); !bytes.Equal(got, weights) || f != reg.Record.Artifact.Files[0] {
		t.Fatalf("got %d bytes, file %+v", len(got), f)
	}
	_ = body.Close()
	body = must(r.Evidence(ctx, one, "cards/model card.html", now))(t)
	if got := must(io.ReadAll(body))(t); !bytes.Equal(got, card) {
		t.Fatalf("got evidence %q", got)
	}
	_ = body.Close()
	resp := must(http.Get(r.url + "/api/v1/projects/default/models/stored/versions/1/evidence/cards/model%20card.html"))(t)
	_ = resp.Body.Close()
	if got := resp.Header.Get("Content-Type"); got != "application/octet-stream" {
		t.Fatalf("a page that somebody uploaded is served as %s", got)
	}
	resp = must(http.Get(r.url + "/api/v1/projects/default/models/stored/versions/latest/manifest"))(t)
	manifest := must(io.ReadAll(resp.Body))(t)
	_ = resp.Body.Close()
	if pedigree.DigestBytes(manifest) != found.Digest || resp.Header.Get("Content-Type") != pedigree.MediaTypeManifest || resp.Header.Get("Pedigree-Digest") != string(found.Digest) {
		t.Fatalf("got manifest %s with %v", manifest, resp.Header)
	}
	checks := must(r.VerifyVersion(ctx, one, now))(t)
	if len(checks) != 4 {
		t.Fatalf("got %+v", checks)
	}
	for _, c := range checks {
		if c.Problem != "" {
			t.Fatalf("got %+v", c)
		}
	}
}

func testAliases(t *testing.T, r *registry) {
	ctx := t.Context()
	none, three := pedigree.VersionNumber(0), pedigree.VersionNumber(3)
	move := must(r.SetAlias(ctx, ref(t, "churn/1"), "production", &none, "first"))(t)
	if move.Version != 1 || move.Note != "first" || move.Actor != "local" {
		t.Fatalf("got %+v", move)
	}
	_, err := r.SetAlias(ctx, ref(t, "churn"), "production", &none, "")
	wantCode(t, err, pedigree.CodeConflict)
	if e := err.(*pedigree.Error); e.Current != "churn@production is churn/1" || e.Fix == "" {
		t.Fatalf("got %+v", e)
	}
	must(r.SetAlias(ctx, ref(t, "churn"), "production", nil, ""))(t)
	must(r.SetAlias(ctx, ref(t, "churn@production"), "größe-1", nil, ""))(t)
	if list := must(r.Aliases(ctx, "churn", now))(t); len(list.Items) != 2 || list.Items[0].Version != 3 {
		t.Fatalf("got %+v", list)
	}
	if list := must(r.Aliases(ctx, "churn", at(move.FromSeq)))(t); len(list.Items) != 1 || list.Items[0].Version != 1 {
		t.Fatalf("got %+v", list)
	}
	err = r.RemoveAlias(ctx, "churn", "production", &none, "")
	wantCode(t, err, pedigree.CodeConflict)
	if err := r.RemoveAlias(ctx, "churn", "production", &three, "over & out"); err != nil {
		t.Fatal(err)
	}
	if list := must(r.AliasHistory(ctx, "churn", "production", pedigree.Page{}, now))(t); len(list.Items) != 2 || !reflect.DeepEqual(list.Items[1], pedigree.AliasMove{
		Alias: "production", Version: 1, FromSeq: move.FromSeq, ToSeq: list.Items[1].ToSeq, From: move.From, To: list.Items[1].To, Actor: "local", Note: "first",
	}) {
		t.Fatalf("got %+v", list)
	}
	if list := must(r.AliasHistory(ctx, "churn", "", pedigree.Page{}, now))(t); len(list.Items) != 3 {
		t.Fatalf("got %+v", list)
	}
	err = r.DeleteModel(ctx, "churn", "", false)
	wantCode(t, err, pedigree.CodeRefused)
}

func testSearch(t *testing.T, r *registry) {
	ctx := t.Context()
	list := must(r.Search(ctx, client.Query{Filter: "metrics.auc > 0.9 AND tags.team = '<crm> & co'"}))(t)
	if len(list.Items) != 1 || list.Items[0].Model != "churn" {
		t.Fatalf("got %+v", list)
	}
	if all := must(r.In("risk").Search(ctx, client.Query{AllProjects: true, Order: "model ASC"}))(t); len(all.Items) < 3 {
		t.Fatalf("got %+v", all)
	}
	_, err := r.Search(ctx, client.Query{Filter: "metrics.auc >"})
	wantCode(t, err, pedigree.CodeInvalid)
}

func testLog(t *testing.T, r *registry) {
	ctx := t.Context()
	cp := must(r.Checkpoint(ctx))(t)
	keys := must(r.Keys(ctx))(t)
	if len(keys) != 1 {
		t.Fatalf("got keys %+v", keys)
	}
	if _, err := ledger.OpenCheckpoint(cp.Note, keys[0].Key); err != nil {
		t.Fatal(err)
	}
	req := must(http.NewRequest(http.MethodGet, r.url+"/api/v1/log/checkpoint", nil))(t)
	req.Header.Set("Accept", "text/plain")
	resp := must(http.DefaultClient.Do(req))(t)
	if note := must(io.ReadAll(resp.Body))(t); string(note) != cp.Note {
		t.Fatalf("got note %q, want %q", note, cp.Note)
	}
	_ = resp.Body.Close()

	events := must(r.Events(ctx, pedigree.EventQuery{After: -1, Types: []pedigree.EventType{pedigree.AliasMoved, pedigree.AliasRemoved}}))(t)
	if len(events.Items) != 4 {
		t.Fatalf("got %d events", len(events.Items))
	}
	newest := must(r.Events(ctx, pedigree.EventQuery{After: -1, Newest: true, Limit: 1}))(t)
	if newest.Items[0].Seq != cp.Size-1 || newest.Next == "" {
		t.Fatalf("got %+v", newest)
	}
	of := must(r.EventsOf(ctx, ref(t, "churn/1"), pedigree.EventQuery{After: -1}))(t)
	if len(of.Items) < 8 {
		t.Fatalf("got %d events of churn/1", len(of.Items))
	}
	for _, entry := range of.Items {
		if _, err := ledger.CheckEntry(entry); err != nil {
			t.Fatal(err)
		}
		proof := must(r.InclusionProof(ctx, entry.Seq, cp.Size))(t)
		if err := ledger.CheckInclusion(proof, cp); err != nil {
			t.Fatal(err)
		}
	}
	registered := must(r.Event(ctx, of.Items[0].Seq))(t)
	redaction := must(r.Redact(ctx, registered.Seq, []string{"tags"}, "ticket 4711"))(t)
	if e := must(redaction.Event())(t); e.Type != pedigree.PayloadRedacted {
		t.Fatalf("got %+v", e)
	}
	_, err := r.Redact(ctx, registered.Seq, []string{"artifact"}, "")
	wantCode(t, err, pedigree.CodeRefused)
	later := must(r.Checkpoint(ctx))(t)
	consistency := must(r.ConsistencyProof(ctx, cp.Size, later.Size))(t)
	if err := ledger.CheckConsistency(consistency, cp, later); err != nil {
		t.Fatal(err)
	}

	// An export verifies: texts arrive as they were hashed, "<" and "&" among them.
	verifier := must(ledger.NewVerifier(ledger.VerifierConfig{Keys: []string{keys[0].Key}, Checkpoints: []pedigree.Checkpoint{cp, later}}))(t)
	report := verify(t, r.Client, verifier)
	if report.Size != later.Size || report.Erased != 1 {
		t.Fatalf("got %+v", report)
	}
	var rest bytes.Buffer
	if err := r.Export(ctx, later.Size-3, &rest); err != nil || bytes.Count(rest.Bytes(), []byte("\n")) != 2 {
		t.Fatalf("got %q, %v", rest.Bytes(), err)
	}
	wantCode(t, r.Export(ctx, later.Size, io.Discard), pedigree.CodeNotRecorded)
}

func verify(t *testing.T, c *client.Client, v *ledger.Verifier) ledger.Report {
	t.Helper()
	reader, writer := io.Pipe()
	go func() { _ = writer.CloseWithError(c.Export(context.Background(), -1, writer)) }()
	dec := json.NewDecoder(reader)
	for {
		var e pedigree.Entry
		err := dec.Decode(&e)
		if err == io.EOF {
			break
		}
		if err == nil {
			err = v.Add(e)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return must(v.Finish())(t)
}

func getList[T any](t *testing.T, r *registry, path string) pedigree.List[T] {
	t.Helper()
	resp := must(http.Get(r.url + path))(t)
	defer func() { _ = resp.Body.Close() }()
	var list pedigree.List[T]
	body := must(io.ReadAll(resp.Body))(t)
	if err := json.Unmarshal(body, &list); err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("GET %s: %v, %s %s", path, err, resp.Status, body)
	}
	return list
}
