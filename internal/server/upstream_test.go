package server_test

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/client"
	"github.com/pedigree-ml/pedigree/internal/config"
)

// elsewhere is what testdata/mlflow/elsewhere.py prints.
type elsewhere struct {
	Run, Version string
	Predict      map[string]any
	Tags         map[string]map[string]string
}

// runPython runs a program of testdata/mlflow and reads the last line that it prints.
func runPython(t *testing.T, python, program string, out any, env ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, python, program)
	cmd.Dir = "../../testdata/mlflow"
	cmd.Env = mlflowEnv(append(env, "MLFLOW_HTTP_REQUEST_MAX_RETRIES=0", "HOME="+t.TempDir(), "PYTHONDONTWRITEBYTECODE=1",
		"PATH="+filepath.Dir(python)+string(os.PathListSeparator)+os.Getenv("PATH"))...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	text, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s", program, err, tail(stderr.String()))
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), out); err != nil {
		t.Fatalf("%s prints no JSON: %v\n%s\n%s", program, err, tail(string(text)), tail(stderr.String()))
	}
}

func mustVersion(t *testing.T, url, ref string) pedigree.Version {
	t.Helper()
	c, err := client.New(client.Config{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := pedigree.ParseReference(ref)
	if err != nil {
		t.Fatal(err)
	}
	v, err := c.Version(t.Context(), parsed, pedigree.At{})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func paths(v *pedigree.Version) []string {
	var out []string
	for _, f := range v.Record.Artifact.Files {
		out = append(out, f.Path)
	}
	return out
}

// TestRegistryOnly: the runs of a client are on MLflow's own server, its registry is
// here. With the upstream, its versions are whole; without, they are linked and say so.
func TestRegistryOnly(t *testing.T) {
	if testing.Short() {
		t.Skip("the real MLflow takes minutes")
	}
	for _, python := range []string{python(t, mlflow3), python(t, mlflow2)} {
		tracking := startMLflow(t, python)
		eachDatabase(t, func(t *testing.T, cfg config.Config) {
			cfg.UpstreamMLflow = tracking
			url := mustStart(t, cfg).url
			var got elsewhere
			runPython(t, python, "elsewhere.py", &got, "MLFLOW_TRACKING_URI="+tracking, "REGISTRY="+url)
			for _, name := range []string{"logged", "by-run"} {
				v := mustVersion(t, url, name+"/1")
				r := &v.Record
				if r.Artifact.Kind != pedigree.ArtifactStored || !slices.Contains(paths(&v), "MLmodel") {
					t.Errorf("%s: artifact %s with files %v", name, r.Artifact.Kind, paths(&v))
				}
				if r.Run == nil || r.Run.ID != got.Run || r.Run.Name != "first" || r.Run.StartedAt == nil || r.Params["depth"] != "6" || r.Target != "prod/fraud-api" || r.Owner == "" {
					t.Errorf("%s: the run is not in the record: %+v", name, r)
				}
				if r.Signature == nil || len(r.Signature.Inputs) != 2 || len(r.Flavors) != 1 || r.Flavors[0].Loader != "mlflow.pyfunc.model" || r.Runtime.Environment.Python == "" {
					t.Errorf("%s: the MLmodel file is not in the record: %+v %+v", name, r.Signature, r.Flavors)
				}
				if !slices.ContainsFunc(r.Data, func(d pedigree.DataReference) bool { return d.Role == "train" && d.URI == "s3://lake/toy.parquet" }) {
					t.Errorf("%s: data %+v", name, r.Data)
				}
				if p, ok := got.Predict[name].([]any); !ok || len(p) != 3 || p[2] != 3.0 {
					t.Errorf("%s predicts %v", name, got.Predict[name])
				}
				if c := got.Tags[name]["pedigree.complete"]; !strings.HasSuffix(c, "rollback note") || got.Tags[name]["pedigree.warning"] != "" {
					t.Errorf("%s: tags %v", name, got.Tags[name])
				}
			}
			extra := mustVersion(t, url, "extra@champion")
			if want := []string{"ü note.csv"}; !slices.Equal(paths(&extra), want) || len(extra.Record.Metrics) != 1 {
				t.Errorf("extra: files %v, record %+v", paths(&extra), extra.Record)
			}
			bucket := mustVersion(t, url, "bucket/1")
			if bucket.Record.Artifact.Kind != pedigree.ArtifactLinked || bucket.Record.Params["depth"] != "6" {
				t.Errorf("bucket: %+v", bucket.Record)
			}
		})
		t.Run("without", func(t *testing.T) {
			url := mustStart(t, config.Config{Data: t.TempDir()}).url
			var got elsewhere
			runPython(t, python, "elsewhere.py", &got, "MLFLOW_TRACKING_URI="+tracking, "REGISTRY="+url)
			for _, name := range []string{"logged", "by-run", "extra"} {
				v := mustVersion(t, url, name+"/1")
				if v.Record.Artifact.Kind != pedigree.ArtifactLinked || v.Record.Artifact.URI == "" {
					t.Errorf("%s: %+v", name, v.Record.Artifact)
				}
				if tags := got.Tags[name]; !strings.Contains(tags["pedigree.warning"], "--upstream-mlflow") || !strings.Contains(tags["pedigree.complete"], "missing: ") {
					t.Errorf("%s does not say what is missing: %v", name, tags)
				}
			}
		})
	}
}

// TestUpstreamFails: what goes wrong with the upstream is told in MLflow's shape, only
// an outage has a status that clients try again, and nothing is half done.
func TestUpstreamFails(t *testing.T) {
	const run = "0123456789abcdef0123456789abcdef"
	answer := http.NotFound
	away := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { answer(w, r) }))
	defer away.Close()
	other := httptest.NewServer(http.NotFoundHandler())
	defer other.Close()
	url := mustStart(t, config.Config{Data: t.TempDir(), UpstreamMLflow: away.URL, UpstreamMLflowToken: "s3cret"}).url
	post := func(path, body string) (int, string) {
		t.Helper()
		resp, err := http.Post(url+"/api/2.0/mlflow/"+path, "application/json", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = resp.Body.Close() }()
		var b bytes.Buffer
		_, _ = b.ReadFrom(resp.Body)
		return resp.StatusCode, b.String()
	}
	if status, body := post("registered-models/create", `{"name":"fraud"}`); status != 200 {
		t.Fatal(status, body)
	}
	known := func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasSuffix(r.URL.Path, "/runs/get") {
			return false
		}
		_, _ = w.Write([]byte(`{"run":{"info":{"run_id":"` + run + `","artifact_uri":"mlflow-artifacts:/0/` + run + `/artifacts"}}}`))
		return true
	}
	says := func(status int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }
	}
	for _, tt := range []struct {
		name   string
		answer http.HandlerFunc
		status int
		text   string
	}{
		{"no access", says(http.StatusForbidden), 403, "nothing was registered"},
		{"outage", says(http.StatusServiceUnavailable), 503, "TEMPORARILY_UNAVAILABLE"},
		{"fails", says(http.StatusInternalServerError), 400, "nothing was registered"},
		{"not MLflow", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>")) }, 400, "does not speak MLflow"},
		{"elsewhere", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, other.URL, http.StatusFound) }, 409, "another host"},
		{"listed and gone", func(w http.ResponseWriter, r *http.Request) {
			switch {
			case known(w, r):
			case r.URL.Query().Has("path"):
				_, _ = w.Write([]byte(`{"files":[{"path":"a","file_size":1},{"path":"b","file_size":1}]}`))
			default:
				w.WriteHeader(http.StatusNotFound)
			}
		}, 400, "nothing was registered"},
		{"traversal", func(w http.ResponseWriter, r *http.Request) {
			if !known(w, r) {
				_, _ = w.Write([]byte(`{"files":[{"path":"..","is_dir":true}]}`))
			}
		}, 400, "nothing was registered"},
	} {
		answer = tt.answer
		status, body := post("model-versions/create", `{"name":"fraud","source":"runs:/`+run+`/m"}`)
		if status != tt.status || !strings.Contains(body, tt.text) || strings.Contains(body, "s3cret") {
			t.Errorf("%s: got %d %s, want %d with %q", tt.name, status, body, tt.status, tt.text)
		}
	}
	// A source outside of the run that is named for it is refused, as MLflow refuses it.
	answer = func(w http.ResponseWriter, r *http.Request) { known(w, r) }
	if status, body := post("model-versions/create", `{"name":"fraud","source":"mlflow-artifacts:/9/`+run+`/artifacts/m","run_id":"`+run+`"}`); status != 400 || !strings.Contains(body, "must identify the resource") {
		t.Errorf("outside of its run: got %d %s", status, body)
	}
	answer = http.NotFound
	if status, body := post("model-versions/create", `{"name":"fraud","source":"models:/m-`+run+`"}`); status != 404 {
		t.Errorf("unknown logged model: got %d %s", status, body)
	}
	status, body := post("model-versions/create", `{"name":"fraud","source":"runs:/`+run+`/m"}`)
	if v := mustVersion(t, url, "fraud/1"); status != 200 || v.Record.Artifact.Kind != pedigree.ArtifactLinked {
		t.Errorf("unknown run: got %d %s, %+v", status, body, v.Record)
	}
	// A connection that breaks off is continued; a client that gives up gets it next time.
	text := bytes.Repeat([]byte("0123456789"), 100_000)
	tries := 0
	answer = func(w http.ResponseWriter, r *http.Request) {
		switch {
		case known(w, r):
		case r.URL.Query().Has("path"):
			if strings.HasSuffix(r.URL.Query().Get("path"), "/m") {
				_, _ = w.Write([]byte(`{"files":[{"path":"big","file_size":1000000}]}`))
			} else {
				_, _ = w.Write([]byte(`{}`))
			}
		default:
			tries++
			if tries <= 2 {
				w = &cutWriter{ResponseWriter: w, left: 300_000}
			}
			http.ServeContent(w, r, "big", time.Time{}, bytes.NewReader(text))
		}
	}
	status, body = post("model-versions/create", `{"name":"fraud","source":"runs:/`+run+`/m"}`)
	if v := mustVersion(t, url, "fraud/2"); status != 200 || tries != 3 || len(v.Record.Artifact.Files) != 1 || v.Record.Artifact.Files[0].Digest != pedigree.DigestBytes(text) {
		t.Errorf("broken off: got %d %s after %d tries, %+v", status, body, tries, v.Record.Artifact)
	}
}

// cutWriter ends its connection after some bytes.
type cutWriter struct {
	http.ResponseWriter
	left int
}

func (w *cutWriter) Write(p []byte) (int, error) {
	if len(p) > w.left {
		_, _ = w.ResponseWriter.Write(p[:w.left])
		panic(http.ErrAbortHandler)
	}
	w.left -= len(p)
	return w.ResponseWriter.Write(p)
}
