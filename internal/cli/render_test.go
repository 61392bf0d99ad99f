package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pedigree-ml/pedigree"
)

// newTestApp is an app that writes to buffers; the time is fixed.
func newTestApp() (a *app, stdout, stderr *bytes.Buffer) {
	stdout, stderr = &bytes.Buffer{}, &bytes.Buffer{}
	a = &app{
		stdin: strings.NewReader(""), stdout: stdout, stderr: stderr, out: "table", home: pedigree.DefaultProject,
		env: func(string) string { return "" },
		now: func() time.Time { return time.Date(2026, 11, 2, 12, 0, 0, 0, time.UTC) },
	}
	return a, stdout, stderr
}

func TestExitCodes(t *testing.T) {
	for code, want := range map[pedigree.ErrorCode]int{
		pedigree.CodeInvalid: 2, pedigree.CodeNotFound: 3, pedigree.CodeNotRecorded: 3, pedigree.CodeGone: 3,
		pedigree.CodeRefused: 4, pedigree.CodePrecondition: 4, pedigree.CodeForbidden: 4,
		pedigree.CodeConflict: 5, pedigree.CodeExists: 5,
		pedigree.CodeUnavailable: 1, pedigree.CodeCorrupt: 1, pedigree.CodeInternal: 1, pedigree.CodeTooLarge: 1,
		pedigree.CodeUnsupported: 1, pedigree.CodeUnauthenticated: 4,
	} {
		if got := exitCode(pedigree.Errorf(code, "x")); got != want {
			t.Errorf("%s: got %d, want %d", code, got, want)
		}
	}
	if exitCode(nil) != 0 || exitCode(errors.New("x")) != 1 {
		t.Error("nil is not 0, or any error not 1")
	}
}

func TestReport(t *testing.T) {
	a, _, stderr := newTestApp()
	err := fmt.Errorf("push: %w", pedigree.Errorf(pedigree.CodeConflict, "lost\x1b[31m").WithFix("look"))
	a.report(err)
	if got, want := stderr.String(), "pedigree: push: lost [31m\n  → look\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	a, _, stderr = newTestApp()
	a.out = "json"
	a.report(&pedigree.Error{Code: pedigree.CodeConflict, Message: "a < b", Fix: "look", Current: "fraud@x is fraud/8"})
	if got, want := stderr.String(), `{"code":"conflict","message":"a < b","fix":"look","current":"fraud@x is fraud/8"}`+"\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestPrintForms(t *testing.T) {
	ans := answer{value: map[string]any{"text": "a\nb", "number": 1.5, "looks": "true", "list": []string{"x"}}, names: []string{"fraud/7"}}
	for out, want := range map[string]string{
		"name": "fraud/7\n",
		"json": "{\n  \"list\": [\n    \"x\"\n  ],\n  \"looks\": \"true\",\n  \"number\": 1.5,\n  \"text\": \"a\\nb\"\n}\n",
		"yaml": "list:\n  - x\nlooks: \"true\"\nnumber: 1.5\ntext: |-\n  a\n  b\n",
	} {
		a, stdout, _ := newTestApp()
		a.out = out
		if err := a.print(ans); err != nil || stdout.String() != want {
			t.Errorf("-o %s: %v, got\n%s\nwant\n%s", out, err, stdout, want)
		}
	}
}

func TestTable(t *testing.T) {
	a, _, _ := newTestApp()
	table := a.newTable("name", "what")
	table.row("fraud", "two\nlines")
	table.row("überlang-名前", 7)
	table.row("x", "")
	var b bytes.Buffer
	table.write(&b, "  ")
	want := "  NAME           WHAT\n  fraud          two⏎lines\n  überlang-名前  7\n  x\n"
	if b.String() != want {
		t.Errorf("got\n%q\nwant\n%q", b.String(), want)
	}
}

func TestPrintable(t *testing.T) {
	for in, want := range map[string]string{
		"plain": "plain", "a\nb\n": "a⏎b", "a\x1b[2Jb": "a [2Jb", "tab\there": "tab here", "\u202egnp.exe": " gnp.exe", "\u009bx": " x",
	} {
		if got := printable(in); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}

func TestShellWord(t *testing.T) {
	for in, want := range map[string]string{"fraud/7": "fraud/7", "my model/7": "'my model/7'", "it's": `'it'\''s'`, "": "''", "$(x)": "'$(x)'"} {
		if got := shellWord(in); got != want {
			t.Errorf("%q: got %s, want %s", in, got, want)
		}
	}
}

func TestSentence(t *testing.T) {
	artifact := `{"kind":"stored","digest":"` + aDigest + `","size":1200,"files":[{"path":"a","size":1200,"digest":"` + aDigest + `"}]}`
	for _, tt := range []struct {
		t       pedigree.EventType
		subject string
		payload string
		want    string
	}{
		{pedigree.LogCreated, "the log", `{"origin":"pedigree/1","key":"k"}`, "the log pedigree/1 was created"},
		{pedigree.KeyRotated, "the log", `{"key":"k"}`, "the log got a new key"},
		{pedigree.ProjectCreated, "risk", `{"name":"risk"}`, "project risk was created"},
		{pedigree.ModelCreated, "fraud", `{"project":"prj_1","name":"fraud","state":"development"}`, "fraud was created"},
		{pedigree.ModelCreated, "fraud", `{"project":"prj_1","name":"fraud","owner":"ann","state":"in_use"}`, "fraud was created: owner = ann, state = in_use"},
		{pedigree.ModelEdited, "fraud", `{"owner":"ann","state":"development"}`, "fraud was changed: owner = ann, state = development"},
		{pedigree.ModelRenamed, "card", `{"project":"p","from":"fraud","to":"card"}`, "fraud was renamed to card"},
		{pedigree.ModelDeleted, "fraud", `{"project":"p","name":"fraud","reason":"test"}`, "fraud was deleted (test)"},
		{pedigree.ModelTagged, "fraud", `{"key":"team","value":"risk"}`, "fraud was tagged team=risk"},
		{pedigree.VersionTagged, "fraud/7", `{"key":"team","value":null}`, "fraud/7 was tagged team=(erased)"},
		{pedigree.VersionUntagged, "fraud/7", `{"key":"team"}`, "fraud/7 lost the tag team"},
		{pedigree.VersionRegistered, "fraud/7", `{"artifact":` + artifact + `,"metrics":[{"name":"auc","value":0.9,"dataset":"test"}]}`, "fraud/7 was registered: 9f86d081884c, 1 file, 1.2 kB, auc@test 0.9"},
		{pedigree.VersionRegistered, "fraud/7", `{"artifact":{"kind":"none"}}`, "fraud/7 was registered"},
		{pedigree.VersionAmended, "fraud/7", `{"metrics":[],"owner":"ann","reason":"wrong split","stales_approval":true}`, "fraud/7 was amended: metrics, owner (wrong split)"},
		{pedigree.VersionEdited, "fraud/7", `{"description":"good"}`, "fraud/7 was described: good"},
		{pedigree.VersionArchived, "fraud/7", `{}`, "fraud/7 was archived"},
		{pedigree.VersionRestored, "fraud/7", `{}`, "fraud/7 was restored"},
		{pedigree.VersionDeleted, "fraud/7", `{"reason":"oops"}`, "fraud/7 was deleted (oops)"},
		{pedigree.AliasMoved, "fraud", `{"alias":"production","version":7,"note":"good"}`, "fraud@production → 7 (good)"},
		{pedigree.AliasRemoved, "fraud", `{"alias":"production"}`, "fraud@production was removed"},
		{pedigree.PayloadRedacted, "fraud/7", `{"event":12,"fields":["owner","description"],"reason":"law"}`, "erased of event 12: owner, description (law)"},
		{"thing.happened", "fraud/7", `{}`, "fraud/7 thing.happened"},
	} {
		var payload map[string]json.RawMessage
		if err := json.Unmarshal([]byte(tt.payload), &payload); err != nil {
			t.Fatal(err)
		}
		if got := sentence(tt.t, tt.subject, payload); got != tt.want {
			t.Errorf("%s %s\n got  %s\n want %s", tt.t, tt.payload, got, tt.want)
		}
	}
	for _, et := range pedigree.EventTypes { // none may fall through
		if got := sentence(et, "S", nil); strings.Contains(got, string(et)) {
			t.Errorf("%s has no sentence: %s", et, got)
		}
	}
}

func TestEventTypes(t *testing.T) {
	got, err := eventTypes([]string{"alias", "version.deleted"})
	want := []pedigree.EventType{pedigree.AliasMoved, pedigree.AliasRemoved, pedigree.VersionDeleted}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v, -want +got\n%s", err, diff)
	}
	if _, err := eventTypes([]string{"alias.move"}); err == nil || !strings.Contains(err.Error(), "alias.moved") {
		t.Errorf("got %v, want the nearest type", err)
	}
}

func TestCompletenessLine(t *testing.T) {
	r := pedigree.Record{Owner: "ann", Artifact: pedigree.Artifact{Kind: pedigree.ArtifactStored}, Metrics: []pedigree.Metric{{Name: "auc"}}}
	got := completenessLine(r.Complete(true))
	want := "complete: register 3/5, missing: code version and runtime image (--code REPO@COMMIT --image IMAGE), data reference (--data ROLE=URI)" +
		" · approve 3/6, missing: deployment target (--target ENV/NAME) · deploy 4/8, missing: rollback note (--rollback-note TEXT)\n"
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestCompare(t *testing.T) {
	size := int64(10)
	left := pedigree.Version{Record: pedigree.Record{
		Metrics:  []pedigree.Metric{{Name: "auc", Value: 0.9, Dataset: "test"}, {Name: "old", Value: 1}},
		Params:   pedigree.Params{"C": "1.0", "same": "x"},
		Runtime:  &pedigree.Runtime{Environment: &pedigree.Environment{Packages: []string{"numpy==1.0", "scipy==1.0"}}},
		Artifact: pedigree.Artifact{Kind: pedigree.ArtifactStored, Files: []pedigree.File{{Path: "a", Size: size, Digest: aDigest}}},
	}}
	right := left
	right.Record.Metrics = []pedigree.Metric{{Name: "auc", Value: 0.925, Dataset: "test"}}
	right.Record.Params = pedigree.Params{"C": "2.0", "same": "x"}
	right.Record.Runtime = &pedigree.Runtime{Environment: &pedigree.Environment{Packages: []string{"numpy==2.0", "pandas==1.0"}}}
	right.Tags = map[string]string{"team": "risk"}
	var got []string
	for _, d := range compare(facts(&left), facts(&right)) {
		got = append(got, strings.TrimSpace(fmt.Sprintf("%s: %s %s %s", d.Field, side(d.A), side(d.B), deltaText(d.Delta))))
	}
	want := []string{
		"metrics.auc@test: 0.9 0.925 +0.025", "metrics.old: 1 -", "params.C: 1.0 2.0",
		"package.numpy: 1.0 2.0", "package.scipy: 1.0 -", "package.pandas: - 1.0", "tags.team: - risk",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	if d := compare(facts(&left), facts(&left)); len(d) != 0 {
		t.Errorf("a version differs from itself: %v", d)
	}
}

func TestTree(t *testing.T) {
	graph := pedigree.Lineage{
		Root: "m/3",
		Nodes: []pedigree.Node{
			{ID: "m/3", Kind: "version", Label: "fraud/3"},
			{ID: "m/2", Kind: "version", Label: "fraud/2", Note: "archived"},
			{ID: "m/1", Kind: "version", Label: "fraud/1"},
			{ID: "d", Kind: "data", Label: "s3://lake/x", Digest: aDigest},
			{ID: "m/4", Kind: "version", Label: "fraud/4"},
		},
		Edges: []pedigree.Edge{
			{From: "m/2", To: "m/3", Relation: "fine_tuned_from"},
			{From: "d", To: "m/3", Relation: "trained_on"},
			{From: "m/1", To: "m/2", Relation: "fine_tuned_from"},
			{From: "d", To: "m/2", Relation: "trained_on"},
			{From: "m/1", To: "d", Relation: "wrote"},
			{From: "m/3", To: "m/4", Relation: "distilled_from"},
		},
		Truncated: true,
	}
	var b bytes.Buffer
	newTree(&graph).write(&b, "both")
	want := `fraud/3
made from:
  fine tuned from  fraud/2  (archived)
    fine tuned from  fraud/1
    trained on  data s3://lake/x  sha256:9f86d081884c…
      written by  fraud/1
  trained on  data s3://lake/x  sha256:9f86d081884c…  (see above)
gone into:
  distilled from  fraud/4
… and further; --depth goes on
`
	if b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
}

func TestVersionOf(t *testing.T) {
	model := pedigree.Reference{Project: "risk", Model: "fraud"}
	for in, want := range map[string]string{
		"7": "risk/fraud/7", "v7": "risk/fraud/7", "latest": "risk/fraud", "@candidate": "risk/fraud@candidate",
		aDigest: "risk/fraud@" + aDigest, "fraud/7": "risk/fraud/7", "risk/fraud@x": "risk/fraud@x",
	} {
		if got, err := versionOf(model, in); err != nil || got.String() != want {
			t.Errorf("%s: got %s and %v, want %s", in, got, err, want)
		}
	}
	for _, bad := range []string{"other/7", "x/fraud/7", "sha256:1", "@", "0", ""} {
		if got, err := versionOf(model, bad); exitCode(err) != exitUsage {
			t.Errorf("%q: got %s and %v, want a usage error", bad, got, err)
		}
	}
}

func TestConfirm(t *testing.T) {
	a, stdout, stderr := newTestApp()
	sent := 0
	do := func() error {
		req := httptest.NewRequest(http.MethodDelete, "/api/v1/x?reason=it%27s+old", http.NoBody)
		resp, err := a.rehearsal.before(req)
		if resp == nil && err == nil {
			sent++
		}
		return err
	}
	a.rehearsal.address = "http://127.0.0.1:8080"
	if ok, err := a.confirm(deletion{yes: true}, "fraud/7", []string{"x"}, do); !ok || err != nil || stderr.Len() > 0 || sent != 1 {
		t.Errorf("--yes: got %v, %v, sent %d", ok, err, sent)
	}
	const plan, dry = "- it goes\n", "nothing was changed\n"
	const line = "the same with curl:\n  curl --fail-with-body -X DELETE 'http://127.0.0.1:8080/api/v1/x?reason=it%27s+old'\n"
	if ok, err := a.confirm(deletion{}, "fraud/7", []string{"it goes"}, do); ok || exitCode(err) != exitRefused || stderr.String() != plan+line || sent != 1 {
		t.Errorf("no terminal: got %v, %v, %q, sent %d", ok, err, stderr, sent)
	}
	a.dryRun, a.rehearsal.on = true, true
	if ok, err := a.confirm(deletion{yes: true}, "fraud/7", []string{"it goes"}, do); ok || err != nil || stdout.String() != plan+dry+line || sent != 1 {
		t.Errorf("--dry-run: got %v, %v, %q, sent %d", ok, err, stdout, sent)
	}
	if a.rehearsal.stopped {
		t.Error("what was shown in a plan is shown again")
	}
}
