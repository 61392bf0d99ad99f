package server_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/client"
	"github.com/pedigree-ml/pedigree/internal/config"
	"github.com/pedigree-ml/pedigree/internal/ledger"
	"github.com/pedigree-ml/pedigree/internal/pgtest"
	"github.com/pedigree-ml/pedigree/internal/server"
)

// quiet drops what a server logs.
var quiet = slog.New(slog.DiscardHandler)

// running is a server that serves, and how to stop it.
type running struct {
	*server.Server
	*client.Client
	url  string
	stop func() error // ends Serve as a signal would, and returns what Serve did
}

// mustStart opens and serves cfg on a free port until the test ends.
func mustStart(t *testing.T, cfg config.Config) *running {
	t.Helper()
	r, err := start(t, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func start(t *testing.T, cfg config.Config) (*running, error) {
	t.Helper()
	if cfg.Addr == "" {
		cfg.Addr = "127.0.0.1:0"
	}
	srv, err := server.Open(t.Context(), cfg, quiet)
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() { _ = srv.Close() })
	if err := srv.Listen(t.Context()); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- srv.Serve(ctx) }()
	stop := sync.OnceValue(func() error {
		cancel()
		return errors.Join(<-served, srv.Close())
	})
	t.Cleanup(func() { _ = stop() })
	c, err := client.New(client.Config{URL: srv.URL(), Retries: -1})
	if err != nil {
		return nil, err
	}
	return &running{Server: srv, Client: c, url: srv.URL(), stop: stop}, nil
}

// answer is what came back from a request.
type answer struct {
	status int
	header http.Header
	body   string
}

func mustDo(t *testing.T, req *http.Request) answer {
	t.Helper()
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, string(body)}
}

func mustGet(t *testing.T, url string) answer {
	t.Helper()
	return mustDo(t, mustRequest(t, http.MethodGet, url, nil))
}

func mustRequest(t *testing.T, method, url string, body io.Reader) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, body)
	if err != nil {
		t.Fatal(err)
	}
	return req
}

// until calls f again and again until it says yes; the test's own time limit ends it.
func until(f func() bool) {
	for !f() {
		time.Sleep(time.Millisecond)
	}
}

// registration is one that makes its model, with an owner that tells it from others.
func registration(owner string) pedigree.Registration {
	return pedigree.Registration{CreateModel: true, Record: pedigree.Record{Owner: owner}}
}

// mustVerify exports the whole log and checks it against a checkpoint.
func mustVerify(t *testing.T, c *client.Client) ledger.Report {
	t.Helper()
	cp, err := c.Checkpoint(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	v, err := ledger.NewVerifier(ledger.VerifierConfig{Checkpoints: []pedigree.Checkpoint{cp}})
	if err != nil {
		t.Fatal(err)
	}
	var export bytes.Buffer
	if err := c.Export(t.Context(), -1, &export); err != nil {
		t.Fatal(err)
	}
	dec := json.NewDecoder(&export)
	for {
		var e pedigree.Entry
		if err := dec.Decode(&e); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		if err := v.Add(e); err != nil {
			t.Fatal(err)
		}
	}
	report, err := v.Finish()
	if err != nil {
		t.Fatal(err)
	}
	if report.Size < cp.Size || report.Signed != cp.Size {
		t.Errorf("the export has %d events, of which %d are signed; the checkpoint has %d", report.Size, report.Signed, cp.Size)
	}
	return report
}

func TestServe(t *testing.T) {
	r := mustStart(t, config.Config{Data: t.TempDir()})
	if _, err := r.Register(t.Context(), "fraud", registration("x")); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		path   string
		status int
		kind   string
		want   string
	}{
		{"/healthz", 200, "application/json", `"status":"ok"`},
		{"/health", 200, "text/plain; charset=utf-8", "OK"},
		{"/readyz", 200, "application/json", `"status":"ready"`},
		{"/", 200, "text/plain; charset=utf-8", "model registry"},
		{"/nothing", 404, "application/problem+json", `"code":"not_found"`},
		{"/api/v1/nothing", 404, "application/problem+json", `"code":"not_found"`},
	} {
		got := mustGet(t, r.url+test.path)
		if got.status != test.status || got.header.Get("Content-Type") != test.kind || !strings.Contains(got.body, test.want) {
			t.Errorf("GET %s: got %d %s %s, want %d %s with %s", test.path, got.status, got.header.Get("Content-Type"), got.body, test.status, test.kind, test.want)
		}
	}
	if got := mustDo(t, mustRequest(t, http.MethodPost, r.url+"/healthz", nil)); got.status != 405 || got.header.Get("Allow") != "GET, HEAD" {
		t.Errorf("POST /healthz: got %d, allow %q", got.status, got.header.Get("Allow"))
	}
	metrics := mustGet(t, r.url+"/metrics").body
	for _, want := range []string{
		`pedigree_http_requests_total{method="GET",route="/healthz",status="200"} 1`,
		`pedigree_http_requests_total{method="POST",route="/healthz",status="405"} 1`,
		`pedigree_http_requests_total{method="GET",route="none",status="404"} 2`,
		`pedigree_http_request_duration_seconds_count{method="GET",route="/readyz"} 1`,
		`pedigree_log_events_total 4`, // log, project, model, version
		`pedigree_http_requests_running 1`, "go_goroutines ",
	} {
		if !strings.Contains(metrics, want) {
			t.Errorf("/metrics has no %s", want)
		}
	}
	if strings.Contains(metrics, "nothing") {
		t.Error("/metrics holds a path that a client chose")
	}
}

func TestNotReadyWithoutTheBlobFolder(t *testing.T) {
	dir := t.TempDir()
	r := mustStart(t, config.Config{Data: dir})
	if err := os.Rename(filepath.Join(dir, "blobs"), filepath.Join(dir, "away")); err != nil {
		t.Fatal(err)
	}
	got := mustGet(t, r.url+"/readyz")
	if got.status != 503 || got.header.Get("Retry-After") == "" || !strings.Contains(got.body, `"code":"unavailable"`) {
		t.Errorf("got %d, Retry-After %q, %s", got.status, got.header.Get("Retry-After"), got.body)
	}
	if strings.Contains(got.body, dir) {
		t.Errorf("the answer names a folder of the server: %s", got.body)
	}
	if got := mustGet(t, r.url+"/healthz"); got.status != 200 {
		t.Errorf("/healthz: got %d: a server must not be killed for its disk", got.status)
	}
}

func TestShutdownFinishesRequests(t *testing.T) {
	r := mustStart(t, config.Config{Data: t.TempDir()})
	content := "weights of a model"
	digest := pedigree.DigestBytes([]byte(content))
	body, feed := io.Pipe()
	put := mustRequest(t, http.MethodPut, r.url+"/api/v1/projects/default/blobs/"+string(digest), body)
	answered := make(chan int, 1)
	go func() {
		resp, err := http.DefaultClient.Do(put)
		if err != nil {
			t.Errorf("the upload: %v", err)
			answered <- 0
			return
		}
		_ = resp.Body.Close()
		answered <- resp.StatusCode
	}()
	if _, err := io.WriteString(feed, content[:5]); err != nil {
		t.Fatal(err)
	}
	inProcess := &http.Client{Transport: server.Transport(r.Handler())}
	until(func() bool { // the upload is under way, beside the question itself
		resp, err := inProcess.Get("http://pedigree.embedded/metrics")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = resp.Body.Close() }()
		text, _ := io.ReadAll(resp.Body)
		return bytes.Contains(text, []byte("pedigree_http_requests_running 2\n"))
	})
	stopped := make(chan error, 1)
	go func() { stopped <- r.stop() }()
	until(func() bool { // nobody new is let in
		_, err := r.Keys(t.Context())
		return err != nil
	})
	select {
	case err := <-stopped:
		t.Fatalf("the server stopped in the middle of a request: %v", err)
	default:
	}
	if _, err := io.WriteString(feed, content[5:]); err != nil {
		t.Fatal(err)
	}
	_ = feed.Close()
	if status := <-answered; status != http.StatusCreated {
		t.Errorf("the upload: got %d, want 201", status)
	}
	if err := <-stopped; err != nil {
		t.Errorf("the server: %v", err)
	}
}

func TestShutdownBreaksOffAfterItsTimeout(t *testing.T) {
	r := mustStart(t, config.Config{Data: t.TempDir(), ShutdownTimeout: time.Millisecond})
	body, feed := io.Pipe()
	put := mustRequest(t, http.MethodPut, r.url+"/api/v1/projects/default/blobs/"+string(pedigree.DigestBytes(nil)), body)
	go func() {
		if resp, err := http.DefaultClient.Do(put); err == nil {
			_ = resp.Body.Close()
		}
	}()
	if _, err := io.WriteString(feed, "x"); err != nil {
		t.Fatal(err)
	}
	until(func() bool {
		return strings.Contains(mustGet(t, r.url+"/metrics").body, "pedigree_http_requests_running 2\n")
	})
	if err := r.stop(); pedigree.CodeOf(err) != pedigree.CodeUnavailable {
		t.Errorf("got %v, want an unavailable that says so", err)
	}
	_ = feed.Close()
}

func TestAddressInUse(t *testing.T) {
	r := mustStart(t, config.Config{Data: t.TempDir()})
	_, err := start(t, config.Config{Data: t.TempDir(), Addr: strings.TrimPrefix(r.url, "http://")})
	if pedigree.CodeOf(err) != pedigree.CodeUnavailable || !strings.Contains(err.Error(), "--addr") {
		t.Errorf("got %v, want an unavailable that says what to do", err)
	}
}

func TestForeignHostsAndOrigins(t *testing.T) {
	closed := mustStart(t, config.Config{Data: t.TempDir()})
	open := mustStart(t, config.Config{Data: t.TempDir(), AllowAnonymous: true})
	create := func(r *running, name string) *http.Request {
		return mustRequest(t, http.MethodPost, r.url+"/api/v1/projects", strings.NewReader(`{"name":"`+name+`"}`))
	}
	for _, test := range []struct {
		name   string
		r      *running
		change func(req *http.Request)
		want   int
	}{
		{"Itself", closed, func(*http.Request) {}, 201},
		{"ForeignHost", closed, func(req *http.Request) { req.Host = "evil.example" }, 403},
		{"ForeignHostWithPort", closed, func(req *http.Request) { req.Host = "evil.example:5000" }, 403},
		{"LocalhostOfSomebodyElse", closed, func(req *http.Request) { req.Host = "localhost.evil.example" }, 403},
		{"Localhost", closed, func(req *http.Request) { req.Host = "localhost:1" }, 201},
		{"ForeignHostWhereAllAreAllowed", open, func(req *http.Request) { req.Host = "models.example.org" }, 201},
		{"ForeignOrigin", closed, func(req *http.Request) { req.Header.Set("Origin", "https://evil.example") }, 403},
		{"CrossSite", closed, func(req *http.Request) { req.Header.Set("Sec-Fetch-Site", "cross-site") }, 403},
		{"ForeignOriginWhereAllHostsAreAllowed", open, func(req *http.Request) { req.Header.Set("Origin", "https://evil.example") }, 403},
	} {
		t.Run(test.name, func(t *testing.T) {
			req := create(test.r, strings.ToLower(test.name))
			test.change(req)
			got := mustDo(t, req)
			if got.status != test.want {
				t.Errorf("got %d %s, want %d", got.status, got.body, test.want)
			}
			if test.want == 403 && got.header.Get("Content-Type") != "application/problem+json" {
				t.Errorf("the refusal is %s", got.header.Get("Content-Type"))
			}
		})
	}
	if got := closed.mustProjects(t); got != 3 {
		t.Errorf("%d projects, want 3: a refused request changed something", got)
	}
}

func (r *running) mustProjects(t *testing.T) int {
	t.Helper()
	list, err := r.Projects(t.Context(), pedigree.Page{}, pedigree.At{})
	if err != nil {
		t.Fatal(err)
	}
	return len(list.Items)
}

func TestServerFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, config.ServerFile)
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"status":"ok"}`) // another program got the port
	}))
	defer other.Close()
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	for name, text := range map[string]string{
		"Dead":    `{"url":"` + gone.URL + `","pid":1,"instance":"srv_1"}`,
		"Other":   `{"url":"` + other.URL + `","pid":1,"instance":"srv_1"}`,
		"Damaged": `{"url":`,
		"Empty":   ``,
		"NotAURL": `{"url":"::","pid":1,"instance":"srv_1"}`,
	} {
		t.Run(name, func(t *testing.T) {
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			if found, ok := server.FindRunning(t.Context(), dir); ok {
				t.Errorf("found %+v", found)
			}
			r := mustStart(t, config.Config{Data: dir})
			var found server.Running
			until(func() (ok bool) { found, ok = server.FindRunning(t.Context(), dir); return ok })
			if found.URL != r.url || found.PID != os.Getpid() {
				t.Errorf("got %+v, want %s", found, r.url)
			}
			second := mustStart(t, config.Config{Data: dir}) // another address, the same folder
			if _, err := second.Register(t.Context(), "fraud", registration(name)); err != nil {
				t.Fatal(err)
			}
			if still, ok := server.FindRunning(t.Context(), dir); !ok || still != found {
				t.Errorf("the second server took the file: %+v", still)
			}
			if err := second.stop(); err != nil {
				t.Error(err)
			}
			if _, ok := server.FindRunning(t.Context(), dir); !ok {
				t.Error("the second server removed the file of the first")
			}
			if err := r.stop(); err != nil {
				t.Error(err)
			}
			if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("the file is still there (%v)", err)
			}
		})
	}
}

// eachDatabase runs f with the configuration of a registry on SQLite, and of one on
// PostgreSQL.
func eachDatabase(t *testing.T, f func(t *testing.T, cfg config.Config)) {
	t.Helper()
	t.Run("SQLite", func(t *testing.T) { f(t, config.Config{Data: t.TempDir()}) })
	t.Run("Postgres", func(t *testing.T) {
		key, _, err := server.NewKey("")
		if err != nil {
			t.Fatal(err)
		}
		f(t, config.Config{Data: t.TempDir(), Database: pgtest.Database(t), LogKey: key})
	})
}

func TestTwoServersKeepOneLog(t *testing.T) {
	const clients, each = 8, 12
	eachDatabase(t, func(t *testing.T, cfg config.Config) {
		servers := []*running{mustStart(t, cfg), mustStart(t, cfg)}
		var wg sync.WaitGroup
		for i, r := range servers {
			for n := range clients {
				wg.Go(func() {
					for k := range each {
						tag := fmt.Sprintf("%d/%d/%d", i, n, k)
						model := pedigree.Name(fmt.Sprintf("model-%d", n%3)) // several clients of both servers share a model
						if _, err := r.Register(t.Context(), model, registration(tag)); err != nil {
							t.Errorf("register %s: %v", tag, err)
							return
						}
					}
				})
			}
		}
		wg.Wait()
		for i, r := range servers {
			report := mustVerify(t, r.Client)
			if want := int64(2 + 3 + 2*clients*each); report.Size != want { // log, project, models, versions
				t.Errorf("server %d: the log has %d events, want %d", i, report.Size, want)
			}
			seen := map[string]bool{}
			for model := range 3 {
				numbers := map[pedigree.VersionNumber]bool{}
				for page := (pedigree.Page{Limit: 50}); ; {
					list, err := r.Search(t.Context(), client.Query{Filter: fmt.Sprintf("model = 'model-%d'", model), Page: page})
					if err != nil {
						t.Fatal(err)
					}
					for _, v := range list.Items {
						seen[v.Owner], numbers[v.Number] = true, true
					}
					if page.Cursor = list.Next; page.Cursor == "" {
						break
					}
				}
				for n := range pedigree.VersionNumber(len(numbers)) {
					if !numbers[n+1] {
						t.Errorf("server %d: model-%d has no version %d of %d", i, model, n+1, len(numbers))
					}
				}
			}
			if len(seen) != 2*clients*each {
				t.Errorf("server %d shows %d registrations, want %d", i, len(seen), 2*clients*each)
			}
		}
	})
}

// TestManyStartAtOnce: the first start of several processes on one place makes one key
// and one log.
func TestManyStartAtOnce(t *testing.T) {
	eachDatabase(t, func(t *testing.T, cfg config.Config) {
		var wg sync.WaitGroup
		origins := make([]string, 6)
		for i := range origins {
			wg.Go(func() {
				srv, err := server.Open(t.Context(), cfg, quiet)
				if err != nil {
					t.Errorf("open: %v", err)
					return
				}
				defer func() { _ = srv.Close() }()
				cp, err := embedded(t, srv).Checkpoint(t.Context())
				if err != nil {
					t.Errorf("checkpoint: %v", err)
				}
				origins[i] = cp.Origin
			})
		}
		wg.Wait()
		for _, origin := range origins {
			if origin != origins[0] || origin == "" {
				t.Errorf("origins: %q", origins)
				break
			}
		}
	})
}

// embedded is a client of a server in this process that listens nowhere.
func embedded(t *testing.T, srv *server.Server) *client.Client {
	t.Helper()
	c, err := client.New(client.Config{URL: "http://pedigree.embedded", HTTP: &http.Client{Transport: server.Transport(srv.Handler())}, Retries: -1})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestKeyFileIsPrivate(t *testing.T) {
	dir := t.TempDir()
	r := mustStart(t, config.Config{Data: dir, LogOrigin: "models.example.org/log"})
	info, err := os.Stat(filepath.Join(dir, config.KeyFile))
	if err != nil {
		t.Fatal(err)
	}
	if runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
		t.Errorf("log.key has mode %o, want 600", info.Mode().Perm())
	}
	cp, err := r.Checkpoint(t.Context())
	if err != nil || cp.Origin != "models.example.org/log" {
		t.Errorf("the log is %q (%v)", cp.Origin, err)
	}
}

func TestWrongKeyIsRefused(t *testing.T) {
	other, _, err := server.NewKey("")
	if err != nil {
		t.Fatal(err)
	}
	eachDatabase(t, func(t *testing.T, cfg config.Config) {
		if err := mustStart(t, cfg).stop(); err != nil {
			t.Fatal(err)
		}
		cfg.LogKey = other
		if _, err := start(t, cfg); pedigree.CodeOf(err) != pedigree.CodeRefused {
			t.Errorf("another key: got %v, want refused", err)
		} else if strings.Contains(err.Error(), "PRIVATE") {
			t.Errorf("the message holds the private key: %v", err)
		}
	})
}

func TestMissingKeyIsRefused(t *testing.T) {
	dir := t.TempDir()
	if err := mustStart(t, config.Config{Data: dir}).stop(); err != nil {
		t.Fatal(err)
	}
	key := filepath.Join(dir, config.KeyFile)
	if err := os.Remove(key); err != nil {
		t.Fatal(err)
	}
	if _, err := start(t, config.Config{Data: dir}); pedigree.CodeOf(err) != pedigree.CodeRefused || !strings.Contains(err.Error(), "log.key") {
		t.Errorf("SQLite: got %v, want a refusal that names the file", err)
	}
	if _, err := os.Stat(key); !errors.Is(err, fs.ErrNotExist) {
		t.Error("a new key was made for an old log")
	}
	if err := os.WriteFile(key, []byte("rubbish\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := start(t, config.Config{Data: dir}); pedigree.CodeOf(err) != pedigree.CodeRefused || strings.Contains(err.Error(), "rubbish") {
		t.Errorf("a damaged file: got %v, want a refusal that does not repeat it", err)
	}
	_, err := start(t, config.Config{Data: t.TempDir(), Database: pgtest.Database(t)})
	if pedigree.CodeOf(err) != pedigree.CodeRefused || !strings.Contains(err.Error(), "pedigree admin new-key") {
		t.Errorf("PostgreSQL: got %v, want a refusal that says how to make one", err)
	}
}

func TestCheckpointIsPublished(t *testing.T) {
	path := filepath.Join(t.TempDir(), "checkpoint.txt")
	r := mustStart(t, config.Config{Data: t.TempDir(), CheckpointTo: path})
	keys, err := r.Keys(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	published := func() int64 {
		text, err := os.ReadFile(path)
		if err != nil {
			return -1
		}
		cp, err := ledger.OpenCheckpoint(string(text), keys[0].Key)
		if err != nil {
			t.Fatal(err) // never a half of one
		}
		return cp.Size
	}
	until(func() bool { return published() == 2 })
	if _, err := r.Register(t.Context(), "fraud", registration("x")); err != nil {
		t.Fatal(err)
	}
	until(func() bool { return published() == 4 })
	if _, err := r.Register(t.Context(), "fraud", registration("y")); err != nil {
		t.Fatal(err)
	}
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	if got := published(); got != 5 {
		t.Errorf("after the shutdown: %d events, want 5", got)
	}
}
