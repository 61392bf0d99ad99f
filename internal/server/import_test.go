package server_test

import (
	"context"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/client"
	"github.com/pedigree-ml/pedigree/internal/config"
	"github.com/pedigree-ml/pedigree/internal/importer"
	"github.com/pedigree-ml/pedigree/internal/upstream"
)

// grown is what testdata/mlflow/import.py prints.
type grown struct {
	Models  map[string]any `json:"models"`
	Predict map[string]any `json:"predict"`
	Files   map[string]any `json:"files"`
	Prompt  string         `json:"prompt"`
}

// mustImport imports from one address into the registry at another.
func mustImport(t *testing.T, ctx context.Context, from, to string, opts importer.Options) (importer.Report, error) {
	t.Helper()
	there, err := upstream.New(upstream.Config{URL: from})
	if err != nil {
		t.Fatal(err)
	}
	here, err := client.New(client.Config{URL: to})
	if err != nil {
		t.Fatal(err)
	}
	return importer.MLflow(ctx, there, here, opts)
}

func mustHead(t *testing.T, url string) int64 {
	t.Helper()
	c, err := client.New(client.Config{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	cp, err := c.Checkpoint(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return cp.Size
}

// actions are what became of the versions of a report: "fraud/1 registered stored".
func actions(r *importer.Report) []string {
	var out []string
	for _, m := range r.Models {
		for _, v := range m.Versions {
			out = append(out, strings.TrimSpace(v.ID+" "+string(v.Action)+" "+string(v.Kind)))
		}
	}
	return out
}

// TestImportMLflow: a registry of MLflow's own server, imported, is the same to MLflow's
// client; an import that was interrupted goes on; another changes nothing.
func TestImportMLflow(t *testing.T) {
	if testing.Short() {
		t.Skip("the real MLflow takes minutes")
	}
	for _, python := range []string{python(t, mlflow3), python(t, mlflow2)} {
		tracking := startMLflow(t, python)
		var want grown
		runPython(t, python, "import.py", &want, "MODE=fill", "MLFLOW_TRACKING_URI="+tracking)
		eachDatabase(t, func(t *testing.T, cfg config.Config) {
			url := mustStart(t, cfg).url
			proxy := cutBefore(t, tracking)
			if r, err := mustImport(t, t.Context(), proxy.URL, url, importer.Options{DryRun: true}); err != nil || r.Count(importer.Registered) != len(actions(&r)) {
				t.Fatalf("dry run: %v, %v", actions(&r), err)
			}
			before := mustHead(t, url)
			if before != 2 {
				t.Errorf("a dry run wrote %d events", before-2)
			}
			// Interrupted at many places: each try gets a little further.
			tries := 0
			for ; ; tries++ {
				if tries > 60 {
					t.Fatal("the import never ends")
				}
				ctx, cancel := context.WithCancel(t.Context())
				proxy.after(int64(8+3*tries), cancel)
				_, err := mustImport(t, ctx, proxy.URL, url, importer.Options{})
				cancel()
				if err == nil {
					break
				}
				if !errors.Is(err, context.Canceled) {
					t.Fatal(err)
				}
			}
			if tries < 3 {
				t.Errorf("the import was interrupted %d times only", tries)
			}
			proxy.after(1<<40, func() {})
			head := mustHead(t, url)
			again, err := mustImport(t, t.Context(), proxy.URL, url, importer.Options{})
			if err != nil || again.Err() != nil || again.Count(importer.Present) != len(actions(&again)) || mustHead(t, url) != head {
				t.Errorf("again: %v %v, %v, %v; %d new events", actions(&again), again.Models, err, again.Err(), mustHead(t, url)-head)
			}
			for _, m := range again.Models {
				if len(m.Changed)+len(m.Kept) > 0 {
					t.Errorf("%s: changed %v, kept %v", m.Name, m.Changed, m.Kept)
				}
			}
			var got grown
			runPython(t, python, "import.py", &got, "MODE=read", "MLFLOW_TRACKING_URI="+url)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("MLflow's client sees something else (-there +here):\n%s", diff)
			}
			third := mustVersion(t, url, "fraud/3")
			r := &third.Record
			if third.Imported == nil || third.Imported.ID != "fraud/3" || string(third.Imported.From) != proxy.URL || third.Imported.CreatedAt == nil || third.Imported.Author == "" {
				t.Errorf("imported: %+v", third.Imported)
			}
			if r.Artifact.Kind != pedigree.ArtifactStored || r.Params["depth"] != "2" || r.Target != "prod/fraud-api" || r.Signature == nil || len(r.Flavors) != 1 || len(r.Metrics) != 2 || r.Run.Name != "run 2" {
				t.Errorf("record: %+v", r)
			}
			if fourth := mustVersion(t, url, "fraud/4"); fourth.Record.Artifact.Kind != pedigree.ArtifactLinked || fourth.Record.Artifact.URI != "s3://models/fraud" {
				t.Errorf("linked: %+v", fourth.Record.Artifact)
			}
		})
	}
}

// TestImportSpelling: what was imported is known again however the address of the other server
// is spelled, and also where an earlier import recorded another spelling.
func TestImportSpelling(t *testing.T) {
	there := mustStart(t, config.Config{Data: t.TempDir()}).url
	_, port, _ := strings.Cut(strings.TrimPrefix(there, "http://"), ":")
	old, err := client.New(client.Config{URL: there})
	if err != nil {
		t.Fatal(err)
	}
	linked := pedigree.Record{Artifact: pedigree.Artifact{Kind: pedigree.ArtifactLinked, URI: "s3://models/fraud"}}
	for range 3 {
		if _, err := old.Register(t.Context(), "fraud", pedigree.Registration{CreateModel: true, Record: linked}); err != nil {
			t.Fatal(err)
		}
	}
	eachDatabase(t, func(t *testing.T, cfg config.Config) {
		url := mustStart(t, cfg).url
		here, err := client.New(client.Config{URL: url})
		if err != nil {
			t.Fatal(err)
		}
		for n, from := range []pedigree.SafeURI{pedigree.SafeURI("http://LOCALHOST:" + port + "/"), pedigree.SafeURI("http://Localhost:" + port)} {
			number := pedigree.VersionNumber(n + 1)
			imported := &pedigree.Imported{From: from, ID: "fraud/" + number.String()}
			if _, err := here.Register(t.Context(), "fraud", pedigree.Registration{CreateModel: true, Record: linked, Number: number, Imported: imported}); err != nil {
				t.Fatal(err)
			}
		}
		first, err := mustImport(t, t.Context(), "http://localhost:"+port, url, importer.Options{})
		if got := strings.Join(actions(&first), ", "); err != nil || got != "fraud/1 present linked, fraud/2 present linked, fraud/3 registered linked" {
			t.Fatalf("over what was recorded in other spellings: %s, %v, %v", got, err, first.Models)
		}
		head := mustHead(t, url)
		for _, from := range []string{"http://localhost:" + port + "/", "http://LocalHost:" + port + "//", "HTTP://localhost:" + port} {
			again, err := mustImport(t, t.Context(), from, url, importer.Options{})
			if got := strings.Join(actions(&again), ", "); err != nil || got != "fraud/1 present linked, fraud/2 present linked, fraud/3 present linked" || mustHead(t, url) != head {
				t.Errorf("from %s: %s, %v, %v", from, got, err, again.Models)
			}
		}
		elsewhere, err := mustImport(t, t.Context(), there, url, importer.Options{})
		if err != nil || elsewhere.Models[0].Action != importer.Skipped {
			t.Errorf("from a host of another name: %v, %v", elsewhere.Models, err)
		}
	})
}

// cutter is a server before another; it calls a function at the n-th request.
type cutter struct {
	*httptest.Server
	left atomic.Int64
	cut  atomic.Pointer[func()]
}

func cutBefore(t *testing.T, target string) *cutter {
	u, err := url.Parse(target)
	if err != nil {
		t.Fatal(err)
	}
	c := &cutter{}
	c.after(1<<40, func() {})
	forward := &httputil.ReverseProxy{ErrorLog: log.New(io.Discard, "", 0), Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(u) }}
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if c.left.Add(-1) == 0 {
			(*c.cut.Load())()
		}
		forward.ServeHTTP(w, r)
	}))
	t.Cleanup(c.Close)
	return c
}

func (c *cutter) after(n int64, f func()) {
	c.cut.Store(&f)
	c.left.Store(n)
}
