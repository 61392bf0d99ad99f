package registrar_test

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/internal/pgtest"
)

// A deployment and a rollback are one append each. These tests end a server at every point
// of both: the caller tries again with the same key, on another server, and finds it done
// once and whole.

// mustRun makes a target that runs fraud/2, and ran fraud/1 before.
func mustRun(t *testing.T, r *registry) {
	t.Helper()
	ctx := t.Context()
	if _, err := r.CreateTarget(ctx, me, "default", "prod/api", pedigree.TargetSpec{Kind: pedigree.TargetOnline, Alias: "production"}); err != nil {
		t.Fatal(err)
	}
	for n := range pedigree.VersionNumber(3) {
		if _, err := r.Register(ctx, me, "default", "fraud", pedigree.Registration{CreateModel: true}); err != nil {
			t.Fatal(err)
		}
		if n == 2 { // to be deployed by the test
			continue
		}
		if _, err := r.Deploy(ctx, me, number{"fraud", n + 1}.reference(), "prod/api", pedigree.Deploy{}, nil); err != nil {
			t.Fatal(err)
		}
	}
}

// faulted is one call that is interrupted: it deploys fraud/3 with a new rollback note, or
// goes back to fraud/1.
type faulted struct {
	name string
	call func(ctx context.Context, r *registry, key string) (pedigree.Deployment, error)
}

var faultedCalls = []faulted{
	{"deploy", func(ctx context.Context, r *registry, key string) (pedigree.Deployment, error) {
		p := pedigree.Principal{ID: "ann", IdempotencyKey: key, Fingerprint: "deploy"}
		return r.Deploy(ctx, p, number{"fraud", 3}.reference(), "prod/api", pedigree.Deploy{Image: "registry.example.org/serve:3", RollbackNote: "mind the thresholds " + key}, nil)
	}},
	{"rollback", func(ctx context.Context, r *registry, key string) (pedigree.Deployment, error) {
		p := pedigree.Principal{ID: "ann", IdempotencyKey: key, Fingerprint: "rollback"}
		return r.Rollback(ctx, p, "default", "prod/api", pedigree.Rollback{To: "fraud/1", Reason: "it rejects everybody"})
	}},
}

// picture is what people see of the target: what runs, what the alias names, the note, and
// the last deployments.
func picture(t *testing.T, r *registry) string {
	t.Helper()
	ctx := t.Context()
	found, err := r.Which(ctx, me, "default", "prod/api", pedigree.At{})
	if err != nil {
		t.Fatal(err)
	}
	list, err := r.Timeline(ctx, me, "default", "prod/api", pedigree.Page{Limit: 4}, pedigree.At{})
	if err != nil {
		t.Fatal(err)
	}
	alias, err := r.Resolve(ctx, me, pedigree.Reference{Project: "default", Model: "fraud", Alias: "production"}, pedigree.At{})
	if err != nil {
		t.Fatal(err)
	}
	v, err := r.Version(ctx, me, number{"fraud", 3}.reference(), pedigree.At{})
	if err != nil {
		t.Fatal(err)
	}
	d := found.Items[0].Deployment
	out := fmt.Sprintf("%s/%d image %q note %q alias %d:", d.Model, d.Version, d.Image, v.Record.RollbackNote, alias.Number)
	for _, d := range list.Items {
		out += fmt.Sprintf(" %d %s", d.Version, d.State)
	}
	return out
}

// retry makes the call again on r, and checks that it is done once and whole: before and
// after are the pictures without it and with it.
func (f faulted) retry(t *testing.T, r *registry, key, before, after string) (done bool) {
	t.Helper()
	switch got := picture(t, r); got {
	case before:
	case after:
		done = true
	default:
		t.Fatalf("half done:\n%s, want\n%s or\n%s", got, before, after)
	}
	d, err := f.call(t.Context(), r, key)
	if err != nil {
		t.Fatalf("the second try: %v", err)
	}
	if got := picture(t, r); got != after {
		t.Fatalf("after the second try:\n%s, want\n%s", got, after)
	}
	again, err := f.call(t.Context(), r, key)
	if err != nil || again.ID != d.ID {
		t.Fatalf("the third try answers %s, %v, want %s", again.ID, err, d.ID)
	}
	return done
}

// sizes of SQLite's write-ahead log.
const (
	walHeader = 32
	walFrame  = 24 + 4096
)

// TestKilledSQLite: a process that dies while SQLite writes leaves the database with a part
// of the write-ahead log. Each such state is made, with every number of whole pages and
// with torn ones, and a new server goes on from it.
func TestKilledSQLite(t *testing.T) {
	copyFile := func(from, to string) {
		content, err := os.ReadFile(from)
		if err == nil {
			err = os.WriteFile(to, content, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, f := range faultedCalls {
		t.Run(f.name, func(t *testing.T) {
			dir := t.TempDir()
			base := filepath.Join(dir, "base.db")
			r := mustOpen(t, base)
			mustRun(t, r)
			before := picture(t, r)
			if err := r.store.Close(); err != nil { // which leaves the write-ahead log empty
				t.Fatal(err)
			}
			whole := filepath.Join(dir, "whole.db")
			copyFile(base, whole)
			r = mustOpen(t, whole)
			if _, err := f.call(t.Context(), r, "k"); err != nil {
				t.Fatal(err)
			}
			after := picture(t, r)
			wal, err := os.ReadFile(whole + "-wal")
			if err != nil {
				t.Fatal(err)
			}
			frames := (len(wal) - walHeader) / walFrame
			if frames < 10 {
				t.Fatalf("only %d pages were written: the test tests nothing", frames)
			}
			done, undone := 0, 0
			for k := range 2*frames + 1 { // whole pages, and every other time half a page more
				n := min(walHeader+k/2*walFrame+k%2*walFrame/2, len(wal))
				image := filepath.Join(dir, fmt.Sprintf("killed-%d.db", k))
				copyFile(base, image)
				if err := os.WriteFile(image+"-wal", wal[:n], 0o600); err != nil {
					t.Fatal(err)
				}
				r := mustOpen(t, image)
				if f.retry(t, r, "k", before, after) {
					done++
				} else {
					undone++
				}
				if k%10 == 0 {
					r.verify(t)
				}
				_ = r.store.Close()
			}
			t.Logf("%d states, in %d of them it was done", done+undone, done)
			if done == 0 || undone == 0 {
				t.Errorf("done in %d states and undone in %d: the test tests nothing", done, undone)
			}
		})
	}
}

// cutter stands between a server and PostgreSQL, and can end all connections at a message.
type cutter struct {
	listener net.Listener
	to       string
	mu       sync.Mutex
	conns    map[net.Conn]bool
	left     atomic.Int64 // messages until the cut; negative for none
	deliver  atomic.Bool  // the last message still arrives: its answer does not
	cut      atomic.Bool
}

func mustCut(t *testing.T, dsn string) (c *cutter, proxied string) {
	t.Helper()
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	c = &cutter{to: u.Host, conns: map[net.Conn]bool{}}
	if c.listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	c.left.Store(-1)
	t.Cleanup(func() { _ = c.listener.Close(); c.end() })
	go func() {
		for {
			client, err := c.listener.Accept()
			if err != nil {
				return
			}
			go c.serve(client)
		}
	}()
	u.Host = c.listener.Addr().String()
	return c, u.String()
}

func (c *cutter) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for conn := range c.conns {
		_ = conn.Close()
	}
	clear(c.conns)
}

func (c *cutter) serve(client net.Conn) {
	server, err := net.Dial("tcp", c.to)
	if err != nil {
		_ = client.Close()
		return
	}
	c.mu.Lock()
	c.conns[client], c.conns[server] = true, true
	c.mu.Unlock()
	go func() {
		_, _ = io.Copy(client, server)
		_ = client.Close()
	}()
	buffer := make([]byte, 64<<10)
	for {
		n, err := client.Read(buffer)
		if err != nil {
			_ = server.Close()
			return
		}
		fatal := c.left.Load() >= 0 && c.left.Add(-1) == -1
		if fatal {
			c.cut.Store(true)
			_ = client.Close() // no answer arrives
		}
		if !fatal || c.deliver.Load() {
			_, _ = server.Write(buffer[:n])
		}
		if fatal {
			c.end()
			return
		}
	}
}

// TestKilledPostgres: a server that dies leaves PostgreSQL with closed connections, at some
// message of some call. Each message of a call is once the last one, delivered or not; the
// call is then tried again on a second server.
func TestKilledPostgres(t *testing.T) {
	dsn := pgtest.Database(t)
	c, proxied := mustCut(t, dsn)
	second := mustOpen(t, dsn)
	mustRun(t, second)
	first := mustOpen(t, proxied)
	for _, deliver := range []bool{false, true} {
		for _, f := range faultedCalls {
			t.Run(fmt.Sprintf("%s, delivered %v", f.name, deliver), func(t *testing.T) {
				done, undone := 0, 0
				for k := rand.Int64N(5); ; k += 5 { // there are some 150: all of them, over five runs
					key := fmt.Sprintf("%s %v %d", f.name, deliver, k)
					before := mustReset(t, second)
					c.deliver.Store(deliver)
					c.cut.Store(false)
					c.left.Store(k)
					_, err := f.call(t.Context(), first, key)
					c.left.Store(-1)
					if !c.cut.Load() {
						if err != nil {
							t.Fatal(err)
						}
						break
					}
					if code := pedigree.CodeOf(err); err != nil && code != pedigree.CodeUnavailable {
						t.Errorf("cut at message %d: the caller is told %q (%v), want that the database is not there", k, code, err)
					}
					if acknowledged := err == nil; f.finish(t, second, key, before) {
						done++
					} else if undone++; acknowledged {
						t.Errorf("cut at message %d: acknowledged, and not done", k)
					}
				}
				t.Logf("%d messages; done at %d of them", done+undone, done)
				if undone < 5 || deliver && done == 0 {
					t.Errorf("done at %d messages and undone at %d: the test tests nothing", done, undone)
				}
				second.verify(t)
			})
		}
	}
	before := first.views(t)
	if err := first.Rebuild(t.Context(), me, nil); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(before, first.views(t)); d != "" {
		t.Errorf("a rebuild changed the tables:\n%s", d)
	}
}

// mustReset brings fraud/2 to the target.
func mustReset(t *testing.T, r *registry) pedigree.Deployment {
	t.Helper()
	d, err := r.Deploy(t.Context(), me, number{"fraud", 2}.reference(), "prod/api", pedigree.Deploy{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// finish makes the call again on another server, and says whether it had been done.
// before was there before.
func (f faulted) finish(t *testing.T, r *registry, key string, before pedigree.Deployment) bool {
	t.Helper()
	head, err := r.store.Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	d, err := f.call(t.Context(), r, key)
	if err != nil {
		t.Fatalf("%s: the second try: %v", key, err)
	}
	grown, err := r.store.Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	list, err := r.Timeline(t.Context(), me, "default", "prod/api", pedigree.Page{Limit: 2}, pedigree.At{})
	if err != nil {
		t.Fatal(err)
	}
	if now, last := list.Items[0], list.Items[1]; now.ID != d.ID || now.State != pedigree.DeploymentActive || last.ID != before.ID || last.Live() {
		t.Fatalf("%s: %s was answered, after %s; there is %s, which is %s, after %s, which is %s", key, d.ID, before.ID, now.ID, now.State, last.ID, last.State)
	}
	if got, want := picture(t, r), fmt.Sprintf(" alias %d:", d.Version); !strings.Contains(got, want) {
		t.Fatalf("%s: %s, want %s", key, got, want)
	}
	return grown == head
}
