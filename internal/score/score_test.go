package score

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/examples/breastcancer"
)

// write makes a folder of files.
func write(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		to := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(to, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func options() Options { return Options{Env: os.Getenv} }

func TestFind(t *testing.T) {
	model, err := fs.ReadFile(breastcancer.Files, "v1/model.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name  string
		files map[string]string
		kind  Kind
		want  string // part of String, or of the error
		code  pedigree.ErrorCode
	}{
		{name: "a command", files: map[string]string{"scoring.json": `{"command": ["python", "score.py"]}`, "MLmodel": "", "model.json": string(model)}, kind: KindCommand, want: "python score.py (scoring.json)"},
		{name: "a file of its own", files: map[string]string{"scoring.json": `{"command": ["./bin/score", "-v"], "timeout": "90s"}`}, kind: KindCommand, want: "./bin/score -v"},
		{name: "an MLflow model", files: map[string]string{"MLmodel": "flavors: {}", "model.json": string(model)}, kind: KindMLflow, want: "mlflow.pyfunc"},
		{name: "the quickstart's", files: map[string]string{"model.json": string(model)}, kind: KindJSON, want: "the quickstart's model"},
		{name: "another model.json", files: map[string]string{"model.json": `{"layers": []}`}, code: pedigree.CodeUnsupported, want: "does not say how it is scored"},
		{name: "nothing", code: pedigree.CodeUnsupported, want: "does not say how it is scored"},
		{name: "not JSON", files: map[string]string{"scoring.json": `command`}, code: pedigree.CodeInvalid, want: "scoring.json: "},
		{name: "two", files: map[string]string{"scoring.json": `{"command": ["a"]} {}`}, code: pedigree.CodeInvalid, want: "something follows"},
		{name: "no command", files: map[string]string{"scoring.json": `{}`}, code: pedigree.CodeInvalid, want: "names no command"},
		{name: "unknown field", files: map[string]string{"scoring.json": `{"command": ["a"], "shell": true}`}, code: pedigree.CodeInvalid, want: "shell"},
		{name: "a path outside", files: map[string]string{"scoring.json": `{"command": ["/bin/sh", "-c", "true"]}`}, code: pedigree.CodeInvalid, want: "outside of the version's files"},
		{name: "a way outside", files: map[string]string{"scoring.json": `{"command": ["../score"]}`}, code: pedigree.CodeInvalid, want: "outside of the version's files"},
		{name: "no time", files: map[string]string{"scoring.json": `{"command": ["a"], "timeout": "0s"}`}, code: pedigree.CodeInvalid, want: "timeout"},
		{name: "too much time", files: map[string]string{"scoring.json": `{"command": ["a"], "timeout": "24h"}`}, code: pedigree.CodeInvalid, want: "timeout"},
		{name: "a long one", files: map[string]string{"scoring.json": `{"command": ["` + strings.Repeat("a", maxDeclaration) + `"]}`}, code: pedigree.CodeInvalid, want: "more than"},
	} {
		e, err := Find(write(t, tt.files), options())
		if pedigree.CodeOf(err) != tt.code || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want code %q and %q", tt.name, err, tt.code, tt.want)
		}
		if err == nil && (e.Kind != tt.kind || !strings.Contains(e.String(), tt.want) || e.Timeout <= 0) {
			t.Errorf("%s: got %s of kind %s in %s", tt.name, e.String(), e.Kind, e.Timeout)
		}
	}
}

func TestScoreCommand(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("the programs are shell scripts")
	}
	t.Setenv("PEDIGREE_TOKEN", "secret")
	for _, tt := range []struct {
		name, script, request string
		command               string // in place of sh score.sh
		timeout               string
		want                  string // the prediction, or part of the error
		code                  pedigree.ErrorCode
	}{
		{name: "the request comes in", script: `cat`, request: `{"a":1}`, want: `{"a":1}`},
		{name: "white space goes", script: `echo '{ "score" : 0.50 }'`, request: `{}`, want: `{"score":0.50}`},
		{name: "in the folder of the version", script: `cat weights.txt`, request: `{}`, want: `0.25`},
		{name: "a file of its own", command: `"./score.sh"`, script: "#!/bin/sh\necho 1", request: `{}`, want: `1`},
		{name: "without the environment", script: `echo "\"$PEDIGREE_TOKEN\""`, request: `{}`, want: `""`},
		{name: "a home of its own", script: `touch "$HOME/x" && test "$HOME" = "$TMPDIR" && echo true`, request: `{}`, want: `true`},
		{name: "what it says besides is let be", script: `echo loading >&2; echo 1`, request: `{}`, want: `1`},
		{name: "it fails", script: `echo boom >&2; exit 3`, request: `{"secret":1}`, code: pedigree.CodeUnavailable, want: "sh failed: exit status 3"},
		{name: "it says nothing", script: `true`, request: `{}`, code: pedigree.CodeInvalid, want: "not one JSON value"},
		{name: "it says null", script: `echo null`, request: `{}`, code: pedigree.CodeInvalid, want: "no prediction"},
		{name: "it says text", script: `echo the score is 1`, request: `{}`, code: pedigree.CodeInvalid, want: "not one JSON value"},
		{name: "it says two things", script: `echo 1; echo 2`, request: `{}`, code: pedigree.CodeInvalid, want: "not one JSON value"},
		{name: "it says NaN", script: `echo NaN`, request: `{}`, code: pedigree.CodeInvalid, want: "not one JSON value"},
		{name: "it says too much", script: `yes 1111111111111111111111111111`, request: `{}`, code: pedigree.CodeUnavailable, want: "said more than 1048576 bytes"},
		{name: "it takes too long", script: `sleep 60`, timeout: "300ms", request: `{}`, code: pedigree.CodeUnavailable, want: "took longer than 300ms"},
		{name: "its child takes too long", script: `sleep 60 & wait`, timeout: "300ms", request: `{}`, code: pedigree.CodeUnavailable, want: "took longer than 300ms"},
		{name: "no such program", command: `"pedigree-no-such-program"`, request: `{}`, code: pedigree.CodeUnavailable, want: "there is no program"},
		{name: "no such file", command: `"./nothing"`, request: `{}`, code: pedigree.CodeUnavailable, want: "there is no program"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			command := tt.command
			if command == "" {
				command = `"sh", "score.sh"`
			}
			timeout := tt.timeout
			if timeout == "" {
				timeout = "30s"
			}
			dir := write(t, map[string]string{
				"scoring.json": `{"command": [` + command + `], "timeout": "` + timeout + `"}`, "score.sh": tt.script, "weights.txt": "0.25",
			})
			e, err := Find(dir, options())
			if err != nil {
				t.Fatal(err)
			}
			begin := time.Now()
			got, err := e.Score(t.Context(), json.RawMessage(tt.request))
			if took := time.Since(begin); took > 20*time.Second {
				t.Errorf("it took %s", took)
			}
			if pedigree.CodeOf(err) != tt.code || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("got %v, want code %q and %q", err, tt.code, tt.want)
			}
			if err == nil && string(got) != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
			if err != nil && (strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), "boom")) {
				t.Errorf("the message holds what the program said: %v", err)
			}
		})
	}
}

// TestScoreLeavesNothing looks whether a child that went on is ended.
func TestScoreLeavesNothing(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("the program is a shell script")
	}
	dir := write(t, map[string]string{
		"scoring.json": `{"command": ["sh", "score.sh"]}`,
		"score.sh":     "(sleep 1; echo 1 > still-here) >/dev/null 2>&1 &\necho 1",
	})
	e, err := Find(dir, options())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.Score(t.Context(), json.RawMessage(`{}`)); err != nil {
		t.Fatal(err)
	}
	time.Sleep(1500 * time.Millisecond)
	if _, err := os.Stat(filepath.Join(dir, "still-here")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the child went on: %v", err)
	}
}

func TestScoreCancelled(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("the program is a shell script")
	}
	e, err := Find(write(t, map[string]string{"scoring.json": `{"command": ["sleep", "60"]}`}), options())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	stopped, stop := context.WithCancel(ctx)
	time.AfterFunc(50*time.Millisecond, stop)
	if _, err := e.Score(stopped, json.RawMessage(`{}`)); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestScorePython(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("there is no python3")
		}
		t.Skip("there is no python3")
	}
	dir := write(t, map[string]string{
		"scoring.json": `{"command": ["python", "score.py"]}`,
		"score.py":     "import json, sys\nrow = json.load(sys.stdin)\nprint(json.dumps({'score': row['amount'] / 2}))\n",
	})
	for _, opts := range []Options{options(), {Python: python, Env: os.Getenv}} {
		e, err := Find(dir, opts)
		if err != nil {
			t.Fatal(err)
		}
		got, err := e.Score(t.Context(), json.RawMessage(`{"amount": 3}`))
		if err != nil || string(got) != `{"score":1.5}` {
			t.Errorf("got %s, %v", got, err)
		}
	}
	e, err := Find(dir, Options{Python: "pedigree-no-such-python", Env: os.Getenv})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.Score(t.Context(), json.RawMessage(`{}`)); pedigree.CodeOf(err) != pedigree.CodeUnavailable || !strings.Contains(err.Error(), "--python PATH") {
		t.Errorf("got %v", err)
	}
}

func TestScoreQuickstart(t *testing.T) {
	model, err := fs.ReadFile(breastcancer.Files, "v2/model.json")
	if err != nil {
		t.Fatal(err)
	}
	e, err := Find(write(t, map[string]string{"model.json": string(model)}), options())
	if err != nil {
		t.Fatal(err)
	}
	samples, err := breastcancer.Samples()
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range samples {
		request, err := json.Marshal(s.Features)
		if err != nil {
			t.Fatal(err)
		}
		text, err := e.Score(t.Context(), request)
		if err != nil {
			t.Fatal(err)
		}
		var got struct {
			Label       string
			Probability float64
		}
		if err := json.Unmarshal(text, &got); err != nil || math.Abs(got.Probability-s.Expected["v2"]) > 1e-9 || got.Label == "" {
			t.Errorf("row %d: got %s, want %v", s.Row, text, s.Expected["v2"])
		}
	}
	for _, tt := range []struct{ request, want string }{
		{`{}`, `feature "mean radius" is missing`},
		{`{"mean radius": "large"}`, `feature "mean radius" is not a number`},
		{`[1]`, `not an object`},
	} {
		if _, err := e.Score(t.Context(), json.RawMessage(tt.request)); pedigree.CodeOf(err) != pedigree.CodeInvalid || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want %q", tt.request, err, tt.want)
		}
	}
}

// mlflowModels logs models with the real MLflow: columns, a tensor, and one of Python
// code that answers with a table.
const mlflowModels = `
import sys, mlflow, numpy as np, pandas as pd
from sklearn.linear_model import LogisticRegression
from mlflow.models import infer_signature
mlflow.set_tracking_uri("file:///nowhere")
x = pd.DataFrame({"amount": [1.0, 2.0, 3.0, 4.0], "age": [30.0, 20.0, 50.0, 10.0]})
model = LogisticRegression().fit(x, [0, 0, 1, 1])
mlflow.sklearn.save_model(model, sys.argv[1] + "/columns", signature=infer_signature(x, model.predict(x)))
bare = LogisticRegression().fit(x.to_numpy(), [0, 0, 1, 1])
mlflow.sklearn.save_model(bare, sys.argv[1] + "/tensor", signature=infer_signature(x.to_numpy(), bare.predict(x.to_numpy())), pyfunc_predict_fn="predict_proba")
class Table(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        print("this must not spoil the answer")
        return pd.DataFrame({"score": model_input["amount"] / 2, "missing": np.nan, "label": "a"})
mlflow.pyfunc.save_model(sys.argv[1] + "/table", python_model=Table())
`

func TestScoreMLflow(t *testing.T) {
	for _, variable := range []string{"PEDIGREE_TEST_MLFLOW", "PEDIGREE_TEST_MLFLOW2"} {
		t.Run(variable, func(t *testing.T) {
			python := os.Getenv(variable)
			if python == "" {
				if os.Getenv("CI") != "" {
					t.Fatal("no " + variable)
				}
				t.Skip("no " + variable)
			}
			dir := t.TempDir()
			cmd := exec.Command(python, "-c", mlflowModels, dir)
			cmd.Dir = dir
			cmd.Env = append(os.Environ(), "MLFLOW_DISABLE_TELEMETRY=true")
			if said, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, said)
			}
			rows := []struct{ model, request, want string }{
				{"columns", `{"amount": 4, "age": 10}`, `1`},
				{"tensor", `{"inputs": [4, 10]}`, `[0.`},
				{"table", `{"amount": 4}`, `{"score":2.0,"missing":"NaN","label":"a"}`},
				{"tensor", `{"amount": 4, "age": 10}`, ``},
			}
			if variable == "PEDIGREE_TEST_MLFLOW2" {
				rows = rows[:1] // each takes some ten seconds to load the libraries
			}
			for _, tt := range rows {
				e, err := Find(filepath.Join(dir, tt.model), Options{Python: python, Env: os.Getenv})
				if err != nil {
					t.Fatal(err)
				}
				got, err := e.Score(t.Context(), json.RawMessage(tt.request))
				if tt.want == "" {
					if pedigree.CodeOf(err) != pedigree.CodeUnavailable || errors.Unwrap(err) == nil {
						t.Errorf("%s of %s: got %s, %v", tt.model, tt.request, got, err)
					}
					continue
				}
				if err != nil || !strings.HasPrefix(string(got), tt.want) {
					t.Errorf("%s of %s: got %s, %v (%v), want %s", tt.model, tt.request, got, err, errors.Unwrap(err), tt.want)
				}
			}
		})
	}
}
