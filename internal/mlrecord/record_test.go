package mlrecord

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/pedigree-ml/pedigree"
)

const exampleModelFile = `artifact_path: model
flavors:
  python_function:
    env: {conda: conda.yaml, virtualenv: python_env.yaml}
    loader_module: mlflow.xgboost
    python_version: 3.11.9
  xgboost:
    code: null
    data: model.xgb
    xgb_version: 2.1
mlflow_version: 2.22.5
signature:
  inputs: '[{"type": "double", "name": "amount", "required": false}]'
  outputs: '[{"type": "tensor", "tensor-spec": {"dtype": "float64", "shape": [-1]}}]'
`

func wantJSON(t *testing.T, what string, got any, want string) {
	t.Helper()
	b, err := json.Marshal(got)
	if err != nil {
		t.Fatal(err)
	}
	if string(b) != want {
		t.Errorf("%s:\n got %s\nwant %s", what, b, want)
	}
}

// TestFillFile: what each of MLflow's files says, and that garbage says nothing.
func TestFillFile(t *testing.T) {
	var r pedigree.Record
	FillFile(&r, pedigree.File{Path: "MLmodel"}, []byte(exampleModelFile))
	FillFile(&r, pedigree.File{Path: "requirements.txt"}, []byte("# made by hand\nxgboost==2.1\n\nhttps://ann:secret@example.org/x.whl\n"))
	wantJSON(t, "flavors", r.Flavors, `[{"name":"python_function","loader":"mlflow.xgboost","python":"3.11.9"},{"name":"xgboost","version":"2.1"}]`)
	wantJSON(t, "signature", r.Signature, `{"inputs":[{"name":"amount","type":"double","optional":true}],"outputs":[{"type":"float64","shape":[-1]}]}`)
	wantJSON(t, "environment", r.Runtime.Environment, `{"manager":"pip","python":"3.11.9","file":"requirements.txt","packages":["xgboost==2.1","https://example.org/x.whl"]}`)
	FillFile(&r, pedigree.File{Path: "python_env.yaml"}, []byte("python: 3.11.10\n"))
	if got := r.Runtime.Environment.Python; got != "3.11.10" {
		t.Errorf("python: got %s", got)
	}
	if err := r.Normalize(); err != nil {
		t.Error(err)
	}
	for _, content := range []string{"", "\x00", "[1, 2]", "flavors: 7", "flavors: {\"a|b\": {}}", "flavors: {x: 7}", "signature: {inputs: '{'}", "flavors: {x: {x_version: \"a\\u0000b\"}}"} {
		var r pedigree.Record
		for _, name := range []string{"MLmodel", "requirements.txt", "python_env.yaml", "other"} {
			FillFile(&r, pedigree.File{Path: name}, []byte(content))
		}
		if err := r.Normalize(); err != nil {
			t.Errorf("%q makes a record that is refused: %v", content, err)
		}
	}
}

// TestFillRun: what a run says by itself never keeps its model from being registered.
func TestFillRun(t *testing.T) {
	end := int64(1_700_000_060_000)
	run := &Run{
		ID: "r1", Name: "blue", User: "ann", Start: 1_700_000_000_000, End: &end,
		Tags: []KeyValue{
			{"mlflow.source.git.commit", "abc"},
			{"mlflow.source.name", "train.py"},
			{"mlflow.parentRunId", "r0"},
			{TargetTag, "no target"},
			{OwnerTag, "team:risk"},
			{DataTag + "test", "s3://lake/test"},
		},
		Params:  []KeyValue{{"depth", "6"}, {"a|b", "1"}, {"text", "a\x00b"}},
		Metrics: []Metric{{Key: "auc", Value: 0.9}, {Key: "auc", Value: 0.95}, {Key: "", Value: 1}},
		Datasets: []Dataset{
			{Name: "lake", Digest: "d1", Source: `{"uri": "s3://lake/train"}`, Context: "training"},
			{Name: "sql", Digest: "d2", Source: `{"sql": "SELECT 1"}`, Context: "eval"},
			{Name: "code", Digest: "d3", Source: `{"tags": {}}`},
			{Name: "nothing", Source: "{}", Context: strings.Repeat("x", 9999)},
		},
	}
	var r pedigree.Record
	FillRun(&r, run)
	FillModel(&r, &Model{Metrics: []Metric{{Key: "auc", Value: 0.5, Dataset: "holdout"}}})
	AddCopy(&r, pedigree.File{Path: "data/rows.csv", Size: 3, Digest: pedigree.DigestBytes([]byte("a,b"))})
	if err := r.Normalize(); err != nil {
		t.Fatal(err)
	}
	wantJSON(t, "run", r.Run, `{"id":"r1","name":"blue","system":"mlflow","user":"ann","started_at":"2023-11-14T22:13:20Z","ended_at":"2023-11-14T22:14:20Z","upstream":[{"id":"r0"}]}`)
	wantJSON(t, "code", r.Code, `{"commit":"abc","path":"train.py"}`)
	wantJSON(t, "params", r.Params, `{"depth":"6","text":"ab"}`)
	wantJSON(t, "metrics", r.Metrics, `[{"name":"auc","value":0.95},{"name":"auc","value":0.5,"dataset":"holdout"}]`)
	wantJSON(t, "owner", r.Owner, `"team:risk"`)
	wantJSON(t, "target", r.Target, `""`)
	var data []string
	for _, d := range r.Data {
		data = append(data, d.Role+" "+string(d.Kind)+" "+string(d.URI)+d.Query)
	}
	wantJSON(t, "data", data, `["train snapshot s3://lake/train","test query SELECT 1","train lineage code","train lineage nothing","test snapshot s3://lake/test","copy copy data/rows.csv"]`)
}

// TestFillModelLatest: a logged model has each of its measurements; the record has the last,
// which is that of the highest step, as for a run.
func TestFillModelLatest(t *testing.T) {
	var r pedigree.Record
	FillModel(&r, &Model{Metrics: []Metric{
		{Key: "loss", Value: 9, Step: 0, Time: 1},
		{Key: "loss", Value: 1, Step: 10, Time: 2},
		{Key: "loss", Value: 5, Step: 5, Time: 3},
		{Key: "acc", Value: 0.7, Step: 1, Time: 4},
		{Key: "acc", Value: 0.6, Step: 1, Time: 4},
		{Key: "f1", Value: 0.2, Step: 1, Time: 6},
		{Key: "f1", Value: 0.3, Step: 1, Time: 5},
	}})
	wantJSON(t, "metrics", r.Metrics, `[{"name":"acc","value":0.7},{"name":"f1","value":0.2},{"name":"loss","value":1}]`)
}

// TestApplyTag: a tag that somebody sets on a version is refused where its field can't
// have the value.
func TestApplyTag(t *testing.T) {
	for _, tt := range []struct {
		key, value string
		typed      bool
		code       pedigree.ErrorCode
	}{
		{OwnerTag, "ann", true, ""},
		{ImageTag, "example.org/train:1", true, ""},
		{TargetTag, "prod/x", true, ""},
		{TargetTag, "prod", true, pedigree.CodeInvalid},
		{RollbackTag, "mind the cache", true, ""},
		{DataTag + "train", "s3://lake/x@sha256:0", true, pedigree.CodeInvalid},
		{DataTag + "train", `{"uri": 5}`, true, pedigree.CodeInvalid},
		{DataTag + "train", "WITH a AS (SELECT 1) SELECT * FROM a", true, ""},
		{DataTag, "s3://lake/x", false, ""},
		{"team", "risk", false, ""},
	} {
		var r pedigree.Record
		typed, err := ApplyTag(&r, tt.key, tt.value)
		if typed != tt.typed || pedigree.CodeOf(err) != tt.code {
			t.Errorf("%s=%s: got %v, %v", tt.key, tt.value, typed, err)
		}
	}
}

// TestAddTables: a table is found among the files of the run and below any folder of it.
func TestAddTables(t *testing.T) {
	run := &Run{ID: "abc", ArtifactURI: "mlflow-artifacts:/1/abc/artifacts", Tags: []KeyValue{{Key: "mlflow.loggedArtifacts", Value: `[{"path": "eval/t.json", "type": "table"}, {"path": "a.csv", "type": "table"}]`}}}
	size := int64(3)
	for _, row := range []struct {
		source string
		files  []string
		want   int
	}{
		{run.ArtifactURI, []string{"eval/t.json", "a.csv", "other.json"}, 2},
		{run.ArtifactURI + "/eval", []string{"t.json", "a.csv"}, 2},
		{"runs:/abc/eval", []string{"t.json"}, 1},
		{"runs:/abc/eval/t.json", []string{"t.json"}, 1},
		{"s3://elsewhere", []string{"eval/t.json"}, 0},
	} {
		var r pedigree.Record
		for _, name := range row.files {
			f := pedigree.File{Path: name, Size: size, Digest: pedigree.DigestBytes([]byte(name))}
			r.Artifact.Files = append(r.Artifact.Files, f)
			AddCopy(&r, f)
		}
		AddTables(&r, run, row.source)
		if len(r.Data) != row.want {
			t.Errorf("%s: data references %+v", row.source, r.Data)
		}
		for _, d := range r.Data {
			if d.Size == nil || *d.Size != size || d.Kind != pedigree.DataCopy {
				t.Errorf("%s: %+v", row.source, d)
			}
		}
	}
}
