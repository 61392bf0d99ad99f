package client_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/client"
	"github.com/pedigree-ml/pedigree/internal/blob"
	"github.com/pedigree-ml/pedigree/internal/httpapi"
	"github.com/pedigree-ml/pedigree/internal/httpx"
	"github.com/pedigree-ml/pedigree/internal/ledger"
	"github.com/pedigree-ml/pedigree/internal/registrar"
	"github.com/pedigree-ml/pedigree/internal/sqlstore"
)

// registry is a real registry behind HTTP. What a client meets on the way to it can be
// set: wrap sees each request that arrives, through is the client's own round tripper.
type registry struct {
	*client.Client
	registrar *registrar.Registrar
	srv       *httptest.Server
	blobs     string
	key       string
	wrap      func(next http.Handler, w http.ResponseWriter, r *http.Request)
}

func newRegistry(t testing.TB) *registry {
	t.Helper()
	key, _, err := ledger.NewKey(rand.Reader, "pedigree/test")
	if err != nil {
		t.Fatal(err)
	}
	return newRegistryWithKey(t, key)
}

// newRegistryWithKey starts a registry with an empty log that key signs.
func newRegistryWithKey(t testing.TB, key string) *registry {
	t.Helper()
	dir := t.TempDir()
	r := &registry{blobs: filepath.Join(dir, "blobs"), key: key}
	log := slog.New(slog.DiscardHandler)
	store, err := sqlstore.Open(context.Background(), sqlstore.Config{
		Database: filepath.Join(dir, "pedigree.db"), Now: time.Now, Rand: rand.Reader, Log: log,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	blobs, err := blob.OpenDir(r.blobs)
	if err != nil {
		t.Fatal(err)
	}
	var ids atomic.Int64
	newID := func(prefix string) string { return fmt.Sprintf("%s_%032x", prefix, ids.Add(1)) }
	r.registrar, err = registrar.Open(context.Background(), registrar.Config{
		Store: store, Blobs: blobs, NewID: newID, Now: time.Now,
		Signer: func() (*ledger.Signer, error) { return ledger.NewSigner(r.key) },
	})
	if err != nil {
		t.Fatal(err)
	}
	api := httpapi.New(r.registrar, httpapi.Options{Now: time.Now})
	handler, err := httpx.Chain(api.Handler(), httpx.Config{Log: log, NewID: func() string { return newID("req") }, Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	r.srv = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if r.wrap != nil {
			r.wrap(handler, w, req)
			return
		}
		handler.ServeHTTP(w, req)
	}))
	t.Cleanup(r.srv.Close)
	r.Client = r.newClient(t, client.Config{})
	return r
}

func (r *registry) newClient(t testing.TB, cfg client.Config) *client.Client {
	t.Helper()
	cfg.URL = r.srv.URL
	return must(client.New(cfg))(t)
}

// roundTripper is a function that sends requests.
type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// throughProxy is a client whose answers pass by change.
func (r *registry) throughProxy(t testing.TB, change func(*http.Response) error) *client.Client {
	t.Helper()
	return r.newClient(t, client.Config{HTTP: &http.Client{Transport: roundTripper(func(req *http.Request) (*http.Response, error) {
		resp, err := http.DefaultTransport.RoundTrip(req)
		if err == nil {
			if err = change(resp); err != nil {
				_ = resp.Body.Close()
				return nil, err
			}
		}
		return resp, err
	})}})
}

// cutBody ends with err after n bytes.
type cutBody struct {
	io.ReadCloser
	n   int64
	err error
}

func (c *cutBody) Read(p []byte) (int, error) {
	if c.n <= 0 {
		return 0, c.err
	}
	n, err := c.ReadCloser.Read(p[:min(int64(len(p)), c.n)])
	c.n -= int64(n)
	return n, err
}

func must[T any](v T, err error) func(t testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func wantCode(t testing.TB, err error, code pedigree.ErrorCode) {
	t.Helper()
	if got := pedigree.CodeOf(err); got != code {
		t.Fatalf("got code %q (%v), want %q", got, err, code)
	}
}

var now pedigree.At

func ref(t testing.TB, s string) pedigree.Reference {
	t.Helper()
	return must(pedigree.ParseReference(s))(t)
}

func linked() pedigree.Registration {
	return pedigree.Registration{
		Record:      pedigree.Record{Artifact: pedigree.Artifact{Kind: pedigree.ArtifactLinked, URI: "s3://m/1"}},
		CreateModel: true,
	}
}

// replaceBody replaces a text in an answer.
func replaceBody(resp *http.Response, old, new string) (*http.Response, error) {
	b, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	b = bytes.ReplaceAll(b, []byte(old), []byte(new))
	resp.Body, resp.ContentLength = io.NopCloser(bytes.NewReader(b)), int64(len(b))
	return resp, err
}
