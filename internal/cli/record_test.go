package cli

import (
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/client"
	"github.com/pedigree-ml/pedigree/internal/capture"
)

const aDigest = "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"

// parseTest is a row for a parser of a flag; bad is a part of the error's message.
type parseTest[T any] struct {
	in   string
	want T
	bad  string
}

// equalFloats compares NaN with NaN as equal.
var equalFloats = cmp.Comparer(func(a, b pedigree.Float) bool { return a.String() == b.String() })

func runParse[T any](t *testing.T, parse func(string) (T, error), tests []parseTest[T]) {
	t.Helper()
	for _, tt := range tests {
		got, err := parse(tt.in)
		if tt.bad != "" {
			if err == nil || !strings.Contains(err.Error(), tt.bad) || pedigree.CodeOf(err) != pedigree.CodeInvalid {
				t.Errorf("%q: got %+v and %v, want an invalid error with %q", tt.in, got, err, tt.bad)
			}
			continue
		}
		if diff := cmp.Diff(tt.want, got, equalFloats); err != nil || diff != "" {
			t.Errorf("%q: %v, -want +got\n%s", tt.in, err, diff)
		}
	}
}

func TestParseMetric(t *testing.T) {
	runParse(t, parseMetric, []parseTest[pedigree.Metric]{
		{in: "auc=0.93", want: pedigree.Metric{Name: "auc", Value: 0.93}},
		{in: "auc=0.93@test", want: pedigree.Metric{Name: "auc", Value: 0.93, Dataset: "test"}},
		{in: "auc=0.93@test/holdout", want: pedigree.Metric{Name: "auc", Value: 0.93, Dataset: "test", Split: "holdout"}},
		{in: "auc=0.93@s3://lake/x/y", want: pedigree.Metric{Name: "auc", Value: 0.93, Dataset: "s3://lake/x/y"}},
		{in: "f1 macro=1e-3", want: pedigree.Metric{Name: "f1 macro", Value: 0.001}},
		{in: "loss=NaN", want: pedigree.Metric{Name: "loss", Value: pedigree.Float(math.NaN())}},
		{in: "auc", bad: "no name and value"},
		{in: "=0.9", bad: "no name and value"},
		{in: "auc=", bad: "not a number"},
		{in: "auc=high", bad: "not a number"},
		{in: "a$c=1", bad: "not allowed"},
	})
}

func TestParseData(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	mustWrite(t, "train.csv", "a,b\n1,2\n")
	mustWrite(t, "parts/1.csv", "1")
	mustWrite(t, "parts/2.csv", "2")
	here, err := filepath.Abs(".")
	if err != nil {
		t.Fatal(err)
	}
	fileSize, folderSize := int64(8), int64(2)
	folder, err := pedigree.StoredArtifact([]pedigree.File{
		{Path: "1.csv", Size: 1, Digest: pedigree.DigestBytes([]byte("1"))},
		{Path: "2.csv", Size: 1, Digest: pedigree.DigestBytes([]byte("2"))},
	})
	if err != nil {
		t.Fatal(err)
	}
	fileDigest := pedigree.DigestBytes([]byte("a,b\n1,2\n"))
	runParse(t, func(s string) (pedigree.DataReference, error) { return parseData(t.Context(), s) }, []parseTest[pedigree.DataReference]{
		{in: "train=s3://lake/f/2026", want: pedigree.DataReference{Role: "train", Kind: pedigree.DataSnapshot, URI: "s3://lake/f/2026"}},
		{in: "train=s3://lake/f@" + aDigest, want: pedigree.DataReference{Role: "train", Kind: pedigree.DataSnapshot, URI: "s3://lake/f", Digest: aDigest}},
		{in: "train=https://ann:secret@lake.example.org/f", want: pedigree.DataReference{Role: "train", Kind: pedigree.DataSnapshot, URI: "https://lake.example.org/f"}},
		{in: "train=query:SELECT a FROM b WHERE c = 'd'", want: pedigree.DataReference{Role: "train", Kind: pedigree.DataQuery, Query: "SELECT a FROM b WHERE c = 'd'"}},
		{in: "train=select a from b", want: pedigree.DataReference{Role: "train", Kind: pedigree.DataQuery, Query: "select a from b"}},
		{in: "features=feast://store/customer:v3", want: pedigree.DataReference{Role: "features", Kind: pedigree.DataFeatures, URI: "feast://store/customer:v3"}},
		{in: "features=features:customer_v3", want: pedigree.DataReference{Role: "features", Kind: pedigree.DataFeatures, URI: "features:customer_v3"}},
		{in: "train=openlineage://ns/name", want: pedigree.DataReference{Role: "train", Kind: pedigree.DataLineage, URI: "openlineage://ns/name"}},
		{in: "train=lineage:job-17", want: pedigree.DataReference{Role: "train", Kind: pedigree.DataLineage, URI: "lineage:job-17"}},
		{in: "train=train.csv", want: pedigree.DataReference{Role: "train", Kind: pedigree.DataSnapshot, URI: pedigree.SafeURI("file://" + filepath.ToSlash(here) + "/train.csv"), Digest: fileDigest, Size: &fileSize}},
		{in: "train=parts", want: pedigree.DataReference{Role: "train", Kind: pedigree.DataSnapshot, URI: pedigree.SafeURI("file://" + filepath.ToSlash(here) + "/parts"), Digest: folder.Digest, Size: &folderSize}},
		{in: "train=train.csv@" + aDigest, bad: "has the digest"},
		{in: "train", bad: "no role and reference"},
		{in: "=s3://x", bad: "no role and reference"},
		{in: "train=", bad: "no role and reference"},
		{in: "tr$in=s3://x", bad: "not allowed"},
		{in: "train=s3://x@sha256:12", bad: "not a digest"},
	})
}

func TestParseOutput(t *testing.T) {
	runParse(t, parseOutput, []parseTest[pedigree.Output]{
		{in: "s3://lake/scores", want: pedigree.Output{URI: "s3://lake/scores"}},
		{in: "scores=s3://lake/scores", want: pedigree.Output{Name: "scores", URI: "s3://lake/scores"}},
		{in: "https://x.example.org/a?b=c", want: pedigree.Output{URI: "https://x.example.org/a?b=c"}},
		{in: "scores=s3://lake/scores@" + aDigest, want: pedigree.Output{Name: "scores", URI: "s3://lake/scores", Digest: aDigest}},
		{in: "scores=", bad: "no URI"},
	})
}

func TestParseParent(t *testing.T) {
	runParse(t, parseParent, []parseTest[pedigree.Parent]{
		{in: "fine-tuned-from=fraud/6", want: pedigree.Parent{Relation: pedigree.FineTunedFrom, Reference: "fraud/6"}},
		{in: "fine_tuned_from=fraud:6", want: pedigree.Parent{Relation: pedigree.FineTunedFrom, Reference: "fraud/6"}},
		{in: "distilled-from=risk/fraud@production", want: pedigree.Parent{Relation: pedigree.DistilledFrom, Reference: "risk/fraud@production"}},
		{in: "derived-from=models:/fraud/6", want: pedigree.Parent{Relation: pedigree.DerivedFrom, Reference: "fraud/6"}},
		{in: "ensemble-of=https://hub.example.org/bert@" + aDigest, want: pedigree.Parent{Relation: pedigree.EnsembleOf, URI: "https://hub.example.org/bert", Digest: aDigest}},
		{in: "cousin-of=fraud/6", bad: "no such relation"},
		{in: "fine-tuned-from=", bad: "no relation and reference"},
		{in: "fraud/6", bad: "no relation and reference"},
		{in: "fine-tuned-from=a//b", bad: "not a reference"},
	})
}

func TestParseCode(t *testing.T) {
	parse := func(s string) (pedigree.Code, error) {
		c, err := parseCode(s)
		if c == nil {
			return pedigree.Code{}, err
		}
		return *c, err
	}
	runParse(t, parse, []parseTest[pedigree.Code]{
		{in: "https://git.example.org/a@4f9d2c1", want: pedigree.Code{Repository: "https://git.example.org/a", Commit: "4f9d2c1"}},
		{in: "git@git.example.org:a/b@4F9D2C1", want: pedigree.Code{Repository: "git@git.example.org:a/b", Commit: "4f9d2c1"}},
		{in: "4f9d2c1", want: pedigree.Code{Commit: "4f9d2c1"}},
		{in: "git@git.example.org:a/b", bad: "not a commit id"},
		{in: "https://git.example.org/a@main", bad: "not a commit id"},
	})
}

func TestParsePairs(t *testing.T) {
	got, err := parsePairs("tag", []string{"a=1", "b=x=y", "c="})
	if want := map[string]string{"a": "1", "b": "x=y", "c": ""}; err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %v and %v, want %v", got, err, want)
	}
	for _, bad := range [][]string{{"a"}, {"=1"}, {"a=1", "a=2"}, {"a$=1"}} {
		if got, err := parsePairs("tag", bad); pedigree.CodeOf(err) != pedigree.CodeInvalid {
			t.Errorf("%q: got %v and %v, want an invalid error", bad, got, err)
		}
	}
}

func TestDecodeYAML(t *testing.T) {
	type file struct {
		pedigree.Record
		Tags        map[string]string `json:"tags"`
		Description string            `json:"description"`
	}
	const text = `
metrics:
  - {name: auc, value: 0.98, dataset: test}
  - {name: loss, value: .nan}
  - {name: gain, value: -.inf}
params: {C: 1.0, seed: 7, shuffle: true, since: 2026-01-02, depth: null}
run: {id: "17", started_at: 2026-10-01T03:00:00Z}
signature: {inputs: [{name: amount, type: double, optional: true}]}
tags: {ticket: 812}
description: |
  two
  lines
`
	var got file
	if err := decodeYAML([]byte(text), &got); err != nil {
		t.Fatal(err)
	}
	if want := (pedigree.Params{"C": "1.0", "seed": "7", "shuffle": "true", "since": "2026-01-02", "depth": "null"}); !reflect.DeepEqual(got.Params, want) {
		t.Errorf("params: got %v, want %v", got.Params, want)
	}
	if got.Metrics[0].Value != 0.98 || !math.IsNaN(float64(got.Metrics[1].Value)) || !math.IsInf(float64(got.Metrics[2].Value), -1) {
		t.Errorf("metrics: got %v", got.Metrics)
	}
	if got.Tags["ticket"] != "812" || got.Description != "two\nlines\n" || !got.Signature.Inputs[0].Optional || got.Run.StartedAt.Day() != 1 {
		t.Errorf("got %+v", got)
	}
	for _, tt := range []struct{ text, bad string }{
		{"metrix: []", `unknown field "metrix"`},
		{"metrics: [{name: auc, valeu: 1}]", `unknown field "valeu"`},
		{"owner: ann\nowner: bob", "is there twice"},
		{"owner: ann\n---\nowner: bob", "second YAML document"},
		{"owner: [", "yaml"},
		{"owner: 7", "number"},
	} {
		var got file
		if err := decodeYAML([]byte(tt.text), &got); err == nil || !strings.Contains(err.Error(), tt.bad) {
			t.Errorf("%q: got %v, want an error with %q", tt.text, err, tt.bad)
		}
	}
	var empty file
	if err := decodeYAML(nil, &empty); err != nil {
		t.Errorf("an empty file: %v", err)
	}
	bomb := "a: &a [x,x,x,x,x,x,x,x,x,x]\n"
	for i := 'b'; i < 'k'; i++ {
		prev := string(i - 1)
		bomb += string(i) + ": &" + string(i) + " [" + strings.Repeat("*"+prev+",", 9) + "*" + prev + "]\n"
	}
	if err := decodeYAML([]byte(bomb), new(map[string]any)); err == nil {
		t.Error("a bomb of aliases was taken")
	}
}

func TestExampleRecords(t *testing.T) {
	for _, name := range []string{"v1", "v2"} {
		f := recordFlags{recordFile: filepath.Join("..", "..", "examples", "breastcancer", name+".record.yaml")}
		g, err := f.read(t.Context(), pedigree.Record{}, nil, "ann")
		if err != nil {
			t.Fatal(err)
		}
		if err := g.record.Normalize(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if len(g.record.Metrics) == 0 || len(g.record.Data) == 0 || g.record.Owner != "ann" {
			t.Errorf("%s: got %+v", name, g.record)
		}
	}
}

// TestReadOrder: what was captured, then the file, then the flags.
func TestReadOrder(t *testing.T) {
	t.Chdir(t.TempDir())
	mustWrite(t, "record.yaml", `
owner: team:file
target: dev/file
runtime: {image: "file:1"}
params: {a: "file", b: "file"}
metrics: [{name: auc, value: 0.1, dataset: test}]
`)
	captured := pedigree.Record{
		Code:    &pedigree.Code{Repository: "https://git.example.org/a", Commit: "4f9d2c1000000000000000000000000000000000", Branch: "main", Dirty: true},
		Runtime: &pedigree.Runtime{Image: "captured:1", Compute: &pedigree.Compute{Cores: 8}},
	}
	patch := client.Attachment{Evidence: pedigree.Evidence{Name: "capture/changes.patch", Kind: "patch"}}
	f := recordFlags{
		recordFile: "record.yaml", target: "prod/flag", params: []string{"b=flag"},
		metrics: []string{"auc=0.9@test", "auc=0.8@train"}, code: "4f9d2c1",
	}
	g, err := f.read(t.Context(), captured, []client.Attachment{patch}, "from-env")
	if err != nil {
		t.Fatal(err)
	}
	want := pedigree.Record{
		Owner: "team:file", Target: "prod/flag",
		Code:    captured.Code,
		Runtime: &pedigree.Runtime{Image: "file:1", Compute: &pedigree.Compute{Cores: 8}},
		Params:  pedigree.Params{"a": "file", "b": "flag"},
		Metrics: []pedigree.Metric{{Name: "auc", Value: 0.9, Dataset: "test"}, {Name: "auc", Value: 0.8, Dataset: "train"}},
	}
	if diff := cmp.Diff(want, g.record); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	if len(g.attachments) != 1 {
		t.Errorf("the patch of the same commit is gone")
	}

	f.code = "https://git.example.org/other@5555555"
	if g, err = f.read(t.Context(), captured, []client.Attachment{patch}, ""); err != nil {
		t.Fatal(err)
	}
	if g.record.Code.Dirty || g.record.Code.Branch != "" || len(g.attachments) != 0 {
		t.Errorf("another commit keeps what was captured of this one: %+v, %d attachments", g.record.Code, len(g.attachments))
	}
}

func TestReadEvidence(t *testing.T) {
	t.Chdir(t.TempDir())
	mustWrite(t, "report.html", "<p>good</p>")
	mustWrite(t, "b/report.html", "<p>fair</p>")
	attached, links, err := readEvidence([]string{"evaluation=report.html", "fairness=b/report.html", "card=https://docs.example.org/card.md"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, a := range attached {
		got = append(got, a.Evidence.Kind+" "+a.Evidence.Name+" "+a.Evidence.MediaType)
	}
	for _, e := range links {
		got = append(got, e.Kind+" "+e.Name+" "+string(e.URI))
	}
	want := []string{"evaluation report.html text/html", "fairness fairness/report.html text/html", "card card.md https://docs.example.org/card.md"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	if _, _, err := readEvidence([]string{"evaluation=missing.html"}, nil); pedigree.CodeOf(err) != pedigree.CodeInvalid {
		t.Errorf("a missing file: got %v", err)
	}
}

func TestSecrets(t *testing.T) {
	const secret, token = "Zx81-kjhQ7-pp0oLm3", "ghp_a8Fk2Lq9Zt4Xw7Rb1Nc6Vd3Ys5Hj0Pg8Ke2M"
	params := pedigree.Params{"db_password": secret, "depth": "7"}
	patch := client.Attachment{Evidence: pedigree.Evidence{Name: "capture/changes.patch", Kind: "patch"}}
	lock := client.Attachment{Evidence: pedigree.Evidence{Name: "capture/requirements.txt", Kind: "environment"}}
	found := func(name string) []capture.Finding {
		return []capture.Finding{{File: name, Line: 3, Kind: "AWS access key"}}
	}
	for _, tt := range []struct {
		name    string
		given   given
		already []capture.Finding
		want    string // what is named; "" for nothing found
		advice  string
	}{
		{"patch", given{attachments: []client.Attachment{patch}}, found(patch.Evidence.Name), "capture/changes.patch:3: AWS access key", "--no-diff"},
		{"lock file", given{attachments: []client.Attachment{lock}}, found(lock.Evidence.Name), "capture/requirements.txt:3: AWS access key", "take it out; --allow-secrets"},
		{"evidence", given{attachments: []client.Attachment{{Evidence: pedigree.Evidence{Name: "notes.txt"}, Content: []byte("fine\npassword = \"" + secret + "\"\n")}}}, nil, "notes.txt:2", "take it out; --allow-secrets"},
		{"param", given{record: pedigree.Record{Params: params}}, nil, "param db_password: ", "take it out; --allow-secrets"},
		{"name of a param", given{record: pedigree.Record{Params: pedigree.Params{token: "1"}}}, nil, "param: GitHub token", ""},
		{"owner", given{record: pedigree.Record{Owner: token}}, nil, "owner: ", ""},
		{"rollback note", given{record: pedigree.Record{RollbackNote: "log in with password: " + secret + " first"}}, nil, "rollback note: ", ""},
		{"target", given{record: pedigree.Record{Target: "prod/" + token}}, nil, "target: ", ""},
		{"image", given{record: pedigree.Record{Runtime: &pedigree.Runtime{Image: "x/" + token}}}, nil, "runtime image: ", ""},
		{"run", given{record: pedigree.Record{Run: &pedigree.Run{Name: token}}}, nil, "run name: ", ""},
		{"query", given{record: pedigree.Record{Data: []pedigree.DataReference{{Role: "train", Query: "SELECT '" + token + "'"}}}}, nil, "data train query: ", ""},
		{"output", given{record: pedigree.Record{Outputs: []pedigree.Output{{Name: token, URI: "s3://x/y"}}}}, nil, "outputs 1 name: ", ""},
		{"metric", given{record: pedigree.Record{Metrics: []pedigree.Metric{{Name: "auc", Dataset: token}}}}, nil, "metrics auc dataset: ", ""},
		{"tag", given{tags: map[string]string{"api_key": token}}, nil, "tag api_key: ", ""},
		{"description", given{description: "use " + token}, nil, "description: GitHub token", ""},
		{"nothing", given{
			record: pedigree.Record{
				Owner: "team:risk", Params: pedigree.Params{"tokenizer": "bert-base-uncased", "max_token_length": "512", "key": aDigest},
				Code: &pedigree.Code{Commit: "9fceb02d0ae598e95dc970b74767f19372d61af8"},
				Data: []pedigree.DataReference{{Role: "train", URI: "s3://lake/2026-10", Digest: aDigest, Query: "SELECT token, key FROM t WHERE secret = 'no'"}},
			},
			description: "the token: see the wiki; password = none",
		}, nil, "", ""},
	} {
		s, err := tt.given.secrets(tt.already)
		if err != nil {
			t.Fatal(err)
		}
		err = s.refuse(false)
		if tt.want == "" {
			if err != nil {
				t.Errorf("%s: %v", tt.name, err)
			}
			continue
		}
		if exitCode(err) != exitRefused || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), tt.advice) {
			t.Errorf("%s: got %v, want a refusal with %q and %q", tt.name, err, tt.want, tt.advice)
			continue
		}
		if strings.Contains(err.Error(), secret) || strings.Contains(err.Error(), token) {
			t.Errorf("%s: the message holds the secret: %v", tt.name, err)
		}
		if err := s.refuse(true); err != nil {
			t.Errorf("%s: --allow-secrets: %v", tt.name, err)
		}
	}
}

func mustWrite(t *testing.T, name, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}
