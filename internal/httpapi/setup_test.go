package httpapi_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/client"
	"github.com/pedigree-ml/pedigree/internal/auth"
	"github.com/pedigree-ml/pedigree/internal/blob"
	"github.com/pedigree-ml/pedigree/internal/httpapi"
	"github.com/pedigree-ml/pedigree/internal/httpx"
	"github.com/pedigree-ml/pedigree/internal/ledger"
	"github.com/pedigree-ml/pedigree/internal/notify"
	"github.com/pedigree-ml/pedigree/internal/pgtest"
	"github.com/pedigree-ml/pedigree/internal/registrar"
	"github.com/pedigree-ml/pedigree/internal/sqlstore"
)

// registry is a real registry behind HTTP.
type registry struct {
	*client.Client
	registrar *registrar.Registrar
	store     *sqlstore.Store
	handler   http.Handler
	url       string
	feed      *notify.Feed
	key       string
	deliver   func()        // sends what webhooks want, until the test ends
	late      time.Duration // of the API's clock
	close     func()        // waits for the requests that still run
	blobs     string

	mu     sync.Mutex
	routes map[string]bool
	log    *logBuffer
}

// logBuffer keeps the last lines of the request log.
type logBuffer struct {
	mu    sync.Mutex
	lines []string
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.lines = append(b.lines, string(p)); len(b.lines) > 200 {
		b.lines = append([]string(nil), b.lines[100:]...)
	}
	return len(p), nil
}

func (b *logBuffer) all() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]string(nil), b.lines...)
}

// onBoth runs f on a registry with each of the databases.
func onBoth(t *testing.T, f func(t *testing.T, r *registry)) {
	t.Run("sqlite", func(t *testing.T) { f(t, newRegistry(t)) })
	t.Run("postgres", func(t *testing.T) { f(t, newRegistryOn(t, pgtest.Database(t))) })
}

// newRegistry starts a registry on an empty SQLite database, for the time of the test.
func newRegistry(t testing.TB) *registry {
	t.Helper()
	return newRegistryOn(t, filepath.Join(t.TempDir(), "pedigree.db"))
}

func newRegistryOn(t testing.TB, database string) *registry {
	t.Helper()
	return newRegistryWith(t, database, must(newKey())(t))
}

func newKey() (string, error) {
	key, _, err := ledger.NewKey(rand.Reader, "pedigree/test")
	return key, err
}

// newRegistryWith starts a registry on a database whose log has the given key.
func newRegistryWith(t testing.TB, database, key string) *registry {
	t.Helper()
	dir := t.TempDir()
	r := &registry{key: key, routes: map[string]bool{}, log: &logBuffer{}, blobs: filepath.Join(dir, "blobs")}
	log := slog.New(slog.NewJSONHandler(r.log, nil))
	store, err := sqlstore.Open(context.Background(), sqlstore.Config{
		Database: database, Now: time.Now, Rand: rand.Reader, Log: log,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	r.store = store
	blobs, err := blob.OpenDir(r.blobs)
	if err != nil {
		t.Fatal(err)
	}
	var ids atomic.Int64
	newID := func(prefix string) string { return fmt.Sprintf("%s_%032x", prefix, ids.Add(1)) }
	receivers, err := pedigree.ParseReceivers("127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	r.registrar, err = registrar.Open(context.Background(), registrar.Config{
		Store: store, Blobs: blobs, NewID: newID, Now: time.Now, Rand: rand.Reader, Secret: "the operator's", Receivers: receivers,
		Signer: func() (*ledger.Signer, error) { return ledger.NewSigner(key) },
	})
	if err != nil {
		t.Fatal(err)
	}
	feed := notify.NewFeed(r.registrar, 0, log)
	r.feed = feed
	notifier := notify.New(notify.Config{
		Registrar: r.registrar, Feed: feed, Log: log, Owner: newID("srv"), Now: time.Now, After: time.After, BaseURL: "https://models.example.org",
	})
	running, stop := context.WithCancel(context.Background())
	var feeding sync.WaitGroup
	feeding.Go(func() { feed.Run(running) })
	r.deliver = func() { feeding.Go(func() { notifier.Run(running, time.Second) }) }
	t.Cleanup(func() { feed.Close(); stop(); feeding.Wait() })
	api := httpapi.New(r.registrar, httpapi.Options{Now: func() time.Time { return time.Now().Add(r.late) }, Feed: feed, Notifier: notifier, Caller: auth.New(r.registrar).Caller})
	r.handler, err = httpx.Chain(api.Handler(), httpx.Config{
		Log: log, NewID: func() string { return newID("req") }, Now: time.Now,
		Hosts: httpx.LoopbackHosts("127.0.0.1:0"),
		Observe: func(route, _ string, _ int, _ time.Duration) {
			r.mu.Lock()
			r.routes[route] = true
			r.mu.Unlock()
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(r.handler)
	r.url, r.close = srv.URL, func() { feed.Close(); srv.Close() }
	t.Cleanup(r.close)
	if r.Client, err = client.New(client.Config{URL: srv.URL}); err != nil {
		t.Fatal(err)
	}
	return r
}

// must returns v and ends the test on an error.
func must[T any](v T, err error) func(t testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// wantCode ends the test unless err has the code.
func wantCode(t testing.TB, err error, code pedigree.ErrorCode) {
	t.Helper()
	if got := pedigree.CodeOf(err); got != code {
		t.Fatalf("got code %q (%v), want %q", got, err, code)
	}
}

// now asks about the present.
var now pedigree.At

func at(seq int64) pedigree.At { return pedigree.At{Seq: &seq} }

func ref(t testing.TB, s string) pedigree.Reference {
	t.Helper()
	return must(pedigree.ParseReference(s))(t)
}

// linked is a registration that needs no bytes.
func linked(uri string) pedigree.Registration {
	return pedigree.Registration{
		Record:      pedigree.Record{Artifact: pedigree.Artifact{Kind: pedigree.ArtifactLinked, URI: pedigree.SafeURI(uri)}},
		CreateModel: true,
	}
}

// as returns the client of a caller that shows a token.
func (r *registry) as(t testing.TB, token string) *client.Client {
	t.Helper()
	return must(client.New(client.Config{URL: r.url, Token: token, Retries: -1}))(t)
}

// mustEnable switches accounts on and returns a client of the first one.
func (r *registry) mustEnable(t testing.TB) *client.Client {
	t.Helper()
	token := must(r.registrar.EnableAccounts(t.Context(), pedigree.Operator, pedigree.NewAccount{Name: "root"}))(t)
	return r.as(t, token.Text)
}
