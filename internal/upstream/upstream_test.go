package upstream_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/internal/upstream"
)

func mustClient(t *testing.T, h http.HandlerFunc, cfg upstream.Config) *upstream.Client {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	cfg.URL = s.URL + "/base/"
	c, err := upstream.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestNewRefuses(t *testing.T) {
	for _, cfg := range []upstream.Config{
		{},
		{URL: "mlflow.example.org"},
		{URL: "ftp://mlflow.example.org"},
		{URL: "http://"},
		{URL: "http://h/?a=b"},
		{URL: "http://ann:s3cret@h"},
		{URL: "http://h", Token: "t", Username: "ann"},
	} {
		if _, err := upstream.New(cfg); pedigree.CodeOf(err) != pedigree.CodeInvalid || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%+v: got %v", cfg, err)
		}
	}
}

// TestAddress: however the address of a server is spelled, it has one spelling.
func TestAddress(t *testing.T) {
	for in, want := range map[string]string{
		"http://mlflow.example.org":           "http://mlflow.example.org",
		"http://mlflow.example.org/":          "http://mlflow.example.org",
		"HTTP://MLflow.Example.ORG:80//":      "http://mlflow.example.org",
		"https://mlflow.example.org:443/":     "https://mlflow.example.org",
		"https://mlflow.example.org:":         "https://mlflow.example.org",
		"https://mlflow.example.org:80":       "https://mlflow.example.org:80",
		"http://mlflow.example.org:443":       "http://mlflow.example.org:443",
		"http://mlflow.example.org:5000/Old/": "http://mlflow.example.org:5000/Old",
		"http://10.0.0.1:8080":                "http://10.0.0.1:8080",
		"http://[FE80::80]":                   "http://[fe80::80]",
		"http://[::1]:80/":                    "http://[::1]",
	} {
		got, err := upstream.Address(in)
		if err != nil || got != want {
			t.Errorf("%s: got %q, %v; want %q", in, got, err, want)
		}
		c, err := upstream.New(upstream.Config{URL: in})
		if err != nil || c.URL() != want {
			t.Errorf("%s: a client of %v, %v; want %q", in, c, err, want)
		}
	}
	if _, err := upstream.Address("http://ann:s3cret@h"); pedigree.CodeOf(err) != pedigree.CodeInvalid || strings.Contains(err.Error(), "s3cret") {
		t.Errorf("with a password: %v", err)
	}
}

// TestOwns: a server is known by its host, however that is spelled; another port is another.
func TestOwns(t *testing.T) {
	for _, tt := range []struct {
		base, uri string
		want      bool
	}{
		{"http://h:80", "mlflow-artifacts://h/a", true},
		{"http://h:80", "mlflow-artifacts://h:80/a", true},
		{"http://h", "http://H:80/a", true},
		{"http://h:5000", "mlflow-artifacts://H:5000/a", true},
		{"http://h:5000", "mlflow-artifacts://h/a", true},
		{"http://h:5000", "mlflow-artifacts://h:5001/a", false},
		{"https://h", "mlflow-artifacts://h:80/a", false},
		{"http://h", "http://other/a", false},
	} {
		c, err := upstream.New(upstream.Config{URL: tt.base})
		if err != nil {
			t.Fatal(err)
		}
		u, err := url.Parse(tt.uri)
		if err != nil {
			t.Fatal(err)
		}
		if got := c.Owns(u); got != tt.want {
			t.Errorf("%s owns %s: got %v, want %v", tt.base, tt.uri, got, tt.want)
		}
	}
}

// TestPages: all pages are read, and a server that goes in circles ends.
func TestPages(t *testing.T) {
	asked := 0
	c := mustClient(t, func(w http.ResponseWriter, r *http.Request) {
		asked++
		if user, password, _ := r.BasicAuth(); user != "ann" || password != "s3cret" || r.URL.Path != "/base/api/2.0/mlflow/registered-models/search" {
			t.Errorf("%s as %s", r.URL, user)
		}
		switch {
		case r.URL.Query().Get("filter") != "":
			_, _ = io.WriteString(w, `{"registered_models":[{"name":"greet"}],"next_page_token":"same"}`)
		case r.URL.Query().Get("page_token") == "":
			_, _ = io.WriteString(w, `{"registered_models":[{"name":"b","creation_timestamp":"1","aliases":[{"alias":"x","version":"2"}]}],"next_page_token":"2"}`)
		default:
			_, _ = io.WriteString(w, `{"registered_models":[{"name":"a","creation_timestamp":1,"tags":[{"key":"k"}]}]}`)
		}
	}, upstream.Config{Username: "ann", Password: "s3cret"})
	models, err := c.Models(t.Context())
	if err != nil || len(models) != 3 || models[0].Name != "a" || models[0].Created != 1 || models[1].Created != 1 || models[1].Aliases["x"] != 2 || models[2].Name != "greet" || asked != 4 {
		t.Errorf("got %+v, %v after %d requests", models, err, asked)
	}
}

// TestOrigin: the way to the files of every kind of source.
func TestOrigin(t *testing.T) {
	c := mustClient(t, func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		answer := func(v any) { _ = json.NewEncoder(w).Encode(v) }
		type m = map[string]any
		files := func(paths ...string) {
			var list []m
			for _, p := range paths {
				list = append(list, m{"path": p, "file_size": "3"})
			}
			answer(m{"files": list})
		}
		switch p := strings.TrimPrefix(r.URL.Path, "/base"); {
		case p == "/api/2.0/mlflow/runs/get" && q.Get("run_id") == "r1":
			answer(m{"run": m{"info": m{"run_id": "r1", "artifact_uri": "s3://b/r1/artifacts"}, "outputs": m{"model_outputs": []m{{"model_id": "m-1"}}}}})
		case p == "/api/2.0/mlflow/runs/get" && q.Get("run_id") == "r2":
			answer(m{"run": m{"info": m{"run_id": "r2", "artifact_uri": "mlflow-artifacts:/0/r2/artifacts"}}})
		case p == "/api/2.0/mlflow/logged-models/m-1":
			answer(m{"model": m{"info": m{"model_id": "m-1", "name": "m", "source_run_id": "r1", "artifact_uri": "s3://b/models/m-1/artifacts"}}})
		case p == "/api/2.0/mlflow/artifacts/list" && q.Get("path") == "extra":
			files("extra/a b")
		case p == "/api/2.0/mlflow/artifacts/list" && q.Get("path") == "":
			files("one")
		case p == "/api/2.0/mlflow/logged-models/m-1/artifacts/directories":
			files("MLmodel")
		case p == "/api/2.0/mlflow-artifacts/artifacts" && q.Get("path") == "0/r2/artifacts/x":
			files("y")
		case p == "/api/2.0/mlflow/artifacts/list", p == "/api/2.0/mlflow-artifacts/artifacts":
			files()
		case p == "/get-artifact" && q.Get("run_id") == "r1":
			_, _ = io.WriteString(w, "run")
		case p == "/ajax-api/2.0/mlflow/logged-models/m-1/artifacts/files" && q.Get("artifact_file_path") == "MLmodel":
			_, _ = io.WriteString(w, "mod")
		case p == "/api/2.0/mlflow-artifacts/artifacts/0/r2/artifacts/x/y":
			_, _ = io.WriteString(w, "pro")
		default:
			w.WriteHeader(http.StatusNotFound)
		}
	}, upstream.Config{})
	for _, tt := range []struct{ source, run, model, file, content string }{
		{"runs:/r1/extra", "", "", "a b", "run"},
		{"runs:/r1/m", "", "", "MLmodel", "mod"},
		{"runs:/r1/one", "", "", "one", "run"},
		{"runs:/r1/nobody", "", "", "", ""},
		{"runs:/nobody/m", "", "", "-", ""},
		{"models:/m-1", "", "", "MLmodel", "mod"},
		{"models:/m-9", "", "", "-", ""},
		{"s3://b/r1/artifacts/extra", "r1", "", "a b", "run"},
		{"s3://b/models/m-1/artifacts", "r1", "", "MLmodel", "mod"},
		{"s3://b/models/m-1/artifacts", "", "m-1", "MLmodel", "mod"},
		{"s3://b/r1/artifacts-not/extra", "r1", "", "-", ""},
		{"s3://other", "r1", "", "-", ""},
		{"mlflow-artifacts:/0/r2/artifacts/x", "r2", "", "y", "pro"},
		{"mlflow-artifacts://elsewhere/0/r2/artifacts/x", "r2", "", "-", ""},
	} {
		o, err := c.Origin(t.Context(), tt.source, tt.run, tt.model)
		if err != nil {
			t.Errorf("%s: %v", tt.source, err)
			continue
		}
		if (o.Tree == nil) != (tt.file == "-") {
			t.Errorf("%s: a way to its files: %v", tt.source, o.Tree != nil)
		}
		if o.Tree == nil {
			continue
		}
		files, err := o.Tree.Files(t.Context())
		if err != nil || len(files) > 1 || (len(files) == 0) != (tt.file == "") {
			t.Errorf("%s: files %+v, %v", tt.source, files, err)
			continue
		}
		for _, f := range files {
			body, err := o.Tree.Open(t.Context(), f)
			if err != nil {
				t.Errorf("%s: %v", tt.source, err)
				continue
			}
			text, err := io.ReadAll(body)
			_ = body.Close()
			if err != nil || f.Path != tt.file || string(text) != tt.content {
				t.Errorf("%s: %s is %q, %v; want %s, %q", tt.source, f.Path, text, err, tt.file, tt.content)
			}
		}
	}
}

// TestLoggedModelNaN: MLflow's server gives 0 for what was not a number where it speaks of a
// logged model; the history of the run tells the two apart.
func TestLoggedModelNaN(t *testing.T) {
	c := mustClient(t, func(w http.ResponseWriter, r *http.Request) {
		switch p, q := strings.TrimPrefix(r.URL.Path, "/base/api/2.0/mlflow"), r.URL.Query(); {
		case p == "/logged-models/m-1":
			_, _ = io.WriteString(w, `{"model":{"info":{"model_id":"m-1","source_run_id":"r1"},"data":{"metrics":[
				{"key":"loss","value":0.0,"timestamp":5,"step":3,"run_id":"r1"},
				{"key":"errors","value":0,"timestamp":"5","step":"3","run_id":"r1"},
				{"key":"gone","value":0,"timestamp":5,"step":3,"run_id":"r9"},
				{"key":"auc","value":0.5,"timestamp":5,"step":3,"run_id":"r1"}]}}}`)
		case p != "/metrics/get-history" || q.Get("run_id") != "r1":
			w.WriteHeader(http.StatusNotFound)
		case q.Get("metric_key") == "errors":
			_, _ = io.WriteString(w, `{"metrics":[{"key":"errors","value":0,"timestamp":5,"step":3},{"key":"errors","value":"NaN","timestamp":6,"step":4}]}`)
		case q.Get("metric_key") == "loss" && q.Get("page_token") == "":
			_, _ = io.WriteString(w, `{"metrics":[{"key":"loss","value":0.5,"timestamp":1,"step":1}],"next_page_token":"2"}`)
		case q.Get("metric_key") == "loss":
			_, _ = io.WriteString(w, `{"metrics":[{"key":"loss","value":"NaN","timestamp":"5","step":"3"}]}`)
		default:
			t.Errorf("asked for the history of %s", q.Get("metric_key"))
		}
	}, upstream.Config{})
	m, err := c.LoggedModel(t.Context(), "m-1")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, metric := range m.Metrics {
		got = append(got, fmt.Sprint(metric.Key, " ", metric.Value))
	}
	if want := []string{"loss NaN", "errors 0", "gone 0", "auc 0.5"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestStalls: a server that says nothing any more does not hold its caller.
func TestStalls(t *testing.T) {
	held := make(chan struct{})
	defer close(held)
	c := mustClient(t, func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/version") {
			w.(http.Flusher).Flush()
		}
		<-held
	}, upstream.Config{Timeout: 50 * time.Millisecond})
	for name, call := range map[string]func(context.Context) error{
		"head": func(ctx context.Context) error { _, err := c.Run(ctx, "r"); return err },
		"body": func(ctx context.Context) error { _, err := c.ServerVersion(ctx); return err },
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		if err := call(ctx); pedigree.CodeOf(err) != pedigree.CodeUnavailable || ctx.Err() != nil {
			t.Errorf("%s: got %v", name, err)
		}
		cancel()
	}
}

// TestChanges: a file that changes between two connections is not put together.
func TestChanges(t *testing.T) {
	tries := 0
	c := mustClient(t, func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/artifacts") {
			_, _ = io.WriteString(w, `{"files":[{"path":"f","file_size":1000}]}`)
			return
		}
		tries++
		w.Header().Set("Etag", []string{`"a"`, `"b"`}[min(tries-1, 1)])
		w.Header().Set("Content-Length", "1000")
		_, _ = w.Write(bytes.Repeat([]byte("x"), 500))
	}, upstream.Config{})
	o, err := c.Origin(t.Context(), "mlflow-artifacts:/x", "", "")
	if err != nil {
		t.Fatal(err)
	}
	files, err := o.Tree.Files(t.Context())
	if err != nil || !slices.ContainsFunc(files, func(f upstream.File) bool { return f.Size == 1000 }) {
		t.Fatal(files, err)
	}
	body, err := o.Tree.Open(t.Context(), files[0])
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(body); pedigree.CodeOf(err) != pedigree.CodeConflict {
		t.Errorf("got %v after %d tries, want a conflict", err, tries)
	}
}
