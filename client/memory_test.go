package client_test

import (
	"crypto/rand"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/client"
	"github.com/pedigree-ml/pedigree/internal/ledger"
)

// server is one address behind which registries can be exchanged.
type server struct {
	*client.Client
	now *registry
}

func newServer(t *testing.T, r *registry) *server {
	t.Helper()
	s := &server{now: r}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) { s.now.srv.Config.Handler.ServeHTTP(w, req) }))
	t.Cleanup(srv.Close)
	s.Client = must(client.New(client.Config{URL: srv.URL}))(t)
	return s
}

func register(t *testing.T, r *registry, model pedigree.Name) {
	t.Helper()
	must(r.Register(t.Context(), model, linked()))(t)
}

func TestRemember(t *testing.T) {
	ctx := t.Context()
	honest := newRegistry(t)
	s := newServer(t, honest)
	dir := filepath.Join(t.TempDir(), "memory")
	m := client.OpenMemory(dir)
	register(t, honest, "fraud")
	first := must(s.Remember(ctx, m))(t)
	if again := must(s.Remember(ctx, m))(t); again.Size != first.Size {
		t.Errorf("got %+v", again)
	}
	register(t, honest, "fraud")
	second := must(s.Remember(ctx, m))(t)
	if second.Size != first.Size+1 {
		t.Errorf("got %d events, then %d", first.Size, second.Size)
	}

	// Another log with the same key and the same size, a shorter one, a longer one.
	forked := newRegistryWithKey(t, honest.key)
	s.now = forked
	for range 6 {
		_, err := s.Remember(ctx, m)
		wantCode(t, err, pedigree.CodeCorrupt)
		if !strings.Contains(err.Error(), "this server's log is not a continuation of the one you saw on 2") {
			t.Errorf("got %v", err)
		}
		register(t, forked, "other")
	}
	// One with another key, of another name.
	s.now = newRegistry(t)
	_, err := s.Remember(ctx, m)
	wantCode(t, err, pedigree.CodeCorrupt)

	// The old one is still fine: nothing wrong was kept.
	s.now = honest
	if third := must(s.Remember(ctx, m))(t); third.Size != second.Size {
		t.Errorf("got %+v", third)
	}
	// Who never saw the first log can't know.
	s.now = forked
	must(s.Remember(ctx, client.OpenMemory(t.TempDir())))(t)
	s.now = honest

	// What was kept is not believed when it was changed.
	files := must(os.ReadDir(dir))(t)
	if len(files) != 1 {
		t.Fatalf("got %d files", len(files))
	}
	path := filepath.Join(dir, files[0].Name())
	text := must(os.ReadFile(path))(t)
	for _, changed := range []string{"", "{}", "x", strings.Replace(string(text), `\n`, `\n\n`, 1), strings.ReplaceAll(string(text), "pedigree/test", "pedigree/best")} {
		if err := os.WriteFile(path, []byte(changed), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := s.Remember(ctx, m)
		wantCode(t, err, pedigree.CodeCorrupt)
	}
}

// TestRememberRotation takes a new key from the log, and from nowhere else.
func TestRememberRotation(t *testing.T) {
	ctx := t.Context()
	r := newRegistry(t)
	s := newServer(t, r)
	m := client.OpenMemory(t.TempDir())
	must(s.Remember(ctx, m))(t)
	rotate := func() {
		t.Helper()
		key, _, err := ledger.NewKey(rand.Reader, "pedigree/test")
		if err != nil {
			t.Fatal(err)
		}
		next := must(ledger.NewSigner(key))(t)
		if err := r.registrar.RotateKey(ctx, pedigree.Local, next); err != nil {
			t.Fatal(err)
		}
		r.key = key
	}
	rotate()
	register(t, r, "fraud")
	must(s.Remember(ctx, m))(t)
	rotate()
	rotate()
	must(s.Remember(ctx, m))(t)
	must(s.Remember(ctx, client.OpenMemory(t.TempDir())))(t)
	if keys := must(s.Keys(ctx))(t); len(keys) != 4 {
		t.Errorf("got %d keys", len(keys))
	}

	// A server that names a key of its own beside those of the log.
	foreign := newRegistry(t)
	c := r.throughProxy(t, func(resp *http.Response) error { return nil })
	m2 := client.OpenMemory(t.TempDir())
	must(c.Remember(ctx, m2))(t)
	other := must(foreign.Keys(ctx))(t)[0].Key
	mine := must(r.Keys(ctx))(t)
	liar := r.newClient(t, client.Config{HTTP: &http.Client{Transport: roundTripper(func(req *http.Request) (*http.Response, error) {
		resp, err := http.DefaultTransport.RoundTrip(req)
		if err == nil && strings.HasSuffix(req.URL.Path, "/log/keys") {
			return replaceBody(resp, mine[3].Key, other)
		}
		return resp, err
	})}})
	_, err := liar.Remember(ctx, m2)
	wantCode(t, err, pedigree.CodeCorrupt)
	_, err = liar.Remember(ctx, client.OpenMemory(t.TempDir()))
	wantCode(t, err, pedigree.CodeCorrupt)
}
