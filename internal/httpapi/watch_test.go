package httpapi_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/client"
	"github.com/pedigree-ml/pedigree/internal/pgtest"
)

var errEnough = errors.New("enough")

// watch returns the first n events that q chooses.
func watch(t testing.TB, c *client.Client, q pedigree.WatchQuery, n int) []pedigree.Entry {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var out []pedigree.Entry
	err := c.Watch(ctx, q, func(e pedigree.Entry) error {
		if out = append(out, e); len(out) == n {
			return errEnough
		}
		return nil
	})
	if !errors.Is(err, errEnough) {
		t.Fatalf("got %d of %d events: %v", len(out), n, err)
	}
	return out
}

// testWatch compares what a watch finds with what the list of events says.
func testWatch(t *testing.T, r *registry) {
	ctx := t.Context()
	all := must(r.Events(ctx, pedigree.EventQuery{After: -1, Limit: pedigree.MaxLimit}))(t).Items
	begin, three := int64(-1), int64(3)
	found := watch(t, r.Client, pedigree.WatchQuery{After: &begin}, len(all))
	for i := range all {
		if found[i].Envelope != all[i].Envelope || len(found[i].Fields) != len(all[i].Fields) {
			t.Fatalf("got event %+v, want %+v", found[i], all[i])
		}
	}
	id := must(r.Model(ctx, "churn", now))(t).ID
	for _, row := range []struct {
		q    pedigree.WatchQuery
		want pedigree.EventQuery
	}{
		{pedigree.WatchQuery{After: &three}, pedigree.EventQuery{After: 3}},
		{pedigree.WatchQuery{After: &begin, Types: []pedigree.EventType{"alias.moved", "version.registered"}}, pedigree.EventQuery{After: -1, Types: []pedigree.EventType{"alias.moved", "version.registered"}}},
		{pedigree.WatchQuery{After: &begin, Model: "churn"}, pedigree.EventQuery{After: -1, Subject: id}},
		{pedigree.WatchQuery{After: &begin, Model: id, Project: "default"}, pedigree.EventQuery{After: -1, Subject: id}},
		{pedigree.WatchQuery{After: &begin, Subject: id + "/1"}, pedigree.EventQuery{After: -1, Subject: id + "/1"}},
	} {
		row.want.Limit = pedigree.MaxLimit
		want := must(r.Events(ctx, row.want))(t).Items
		for i, e := range watch(t, r.Client, row.q, len(want)) {
			if e.Seq != want[i].Seq {
				t.Fatalf("%+v: event no. %d is %d, want %d", row.q, i, e.Seq, want[i].Seq)
			}
		}
	}
	risk := watch(t, r.Client, pedigree.WatchQuery{After: &begin, Project: "risk"}, 2)
	if e := must(risk[1].Event())(t); e.Type != pedigree.ModelCreated {
		t.Fatalf("got %+v", e)
	}
}

// TestWatchLive: many watchers see what happens while they watch, and the log is read once
// for all of them.
func TestWatchLive(t *testing.T) {
	onBoth(t, func(t *testing.T, r *registry) {
		const watchers, events = 100, 5
		var group sync.WaitGroup
		before := r.feed.Reads()
		got := make([][]int64, watchers)
		for i := range watchers {
			group.Go(func() {
				for _, e := range watch(t, r.Client, pedigree.WatchQuery{Types: []pedigree.EventType{pedigree.ProjectCreated}}, events) {
					got[i] = append(got[i], e.Seq)
				}
			})
		}
		for r.feed.Watchers() < watchers {
			time.Sleep(time.Millisecond)
		}
		joined := r.feed.Reads()
		var want []int64
		for i := range events {
			p := must(r.CreateProject(t.Context(), pedigree.ProjectName(fmt.Sprintf("p%d", i)), ""))(t)
			want = append(want, p.Seq)
		}
		group.Wait()
		for i := range got {
			if !slices.Equal(got[i], want) {
				t.Fatalf("watcher %d got %v, want %v", i, got[i], want)
			}
		}
		if n := r.feed.Reads() - joined; n > 3*events+watchers { // those who join look once for themselves
			t.Errorf("%d events for %d watchers took %d reads of the log (%d before)", events, watchers, n, joined-before)
		}
	})
}

// TestWatchOtherProcess: what another process appends is seen too.
func TestWatchOtherProcess(t *testing.T) {
	database := pgtest.Database(t)
	one := newRegistryOn(t, database)
	two := newRegistryWith(t, database, one.key)
	done := make(chan []pedigree.Entry)
	go func() { done <- watch(t, two.Client, pedigree.WatchQuery{}, 1) }()
	for two.feed.Watchers() == 0 {
		time.Sleep(time.Millisecond)
	}
	time.Sleep(20 * time.Millisecond)
	p := must(one.CreateProject(t.Context(), "risk", ""))(t)
	if e := <-done; e[0].Seq != p.Seq {
		t.Fatalf("got %+v", e)
	}
}

// TestWatchAccess: of what a watcher may not read it gets number and leaf, and nothing where
// it has chosen; what it may read is what it may now; a token that ends, ends its watch.
func TestWatchAccess(t *testing.T) {
	onBoth(t, func(t *testing.T, r *registry) {
		ctx := t.Context()
		root := r.mustEnable(t)
		secret := must(root.CreateProject(ctx, "secret", ""))(t)
		must(root.CreateAccount(ctx, pedigree.NewAccount{Name: "ann"}))(t)
		must(root.AddBinding(ctx, "default", pedigree.NewBinding{Role: pedigree.Viewer, Member: "ann"}))(t)
		token := must(root.CreateToken(ctx, pedigree.NewToken{Account: "ann"}))(t)
		ann := r.as(t, token.Text)
		before := secret.Seq - 1
		for _, e := range watch(t, ann, pedigree.WatchQuery{After: &before}, 2) {
			if e.Envelope != "" || e.Fields != nil || len(e.Leaf) != 32 {
				t.Fatalf("got %+v", e)
			}
		}
		_, err := ann.CreateWebhook(ctx, "default", client.NewWebhook{URL: "https://ci.example.org/"})
		wantCode(t, err, pedigree.CodeForbidden)
		wantCode(t, ann.Watch(ctx, pedigree.WatchQuery{Project: "secret"}, nil), pedigree.CodeNotFound)
		wantCode(t, r.Watch(ctx, pedigree.WatchQuery{}, nil), pedigree.CodeUnauthenticated)

		// Live: only what is chosen and may be read comes; a role that is given and a token
		// that is revoked count from that event on.
		var got []pedigree.Entry
		arrived := make(chan int64, 16)
		ended := make(chan error, 1)
		go func() {
			ended <- ann.Watch(ctx, pedigree.WatchQuery{Types: []pedigree.EventType{pedigree.ModelCreated, pedigree.TokenRevoked, pedigree.BindingAdded}}, func(e pedigree.Entry) error {
				got = append(got, e)
				arrived <- e.Seq
				return nil
			})
		}()
		for r.feed.Watchers() == 0 {
			time.Sleep(time.Millisecond)
		}
		hidden := must(root.In("secret").CreateModel(ctx, "hidden", pedigree.ModelEdit{}))(t)
		open := must(root.CreateModel(ctx, "open", pedigree.ModelEdit{}))(t)
		must(root.AddBinding(ctx, "secret", pedigree.NewBinding{Role: pedigree.Viewer, Member: "ann"}))(t)
		seen := must(root.In("secret").CreateModel(ctx, "seen", pedigree.ModelEdit{}))(t)
		for deadline := time.After(20 * time.Second); ; {
			var seq int64
			select {
			case seq = <-arrived:
			case <-deadline:
				t.Fatal("what may be read since did not come")
			}
			if seq == seen.Seq {
				break
			}
		}
		if err := root.RevokeToken(ctx, token.ID); err != nil {
			t.Fatal(err)
		}
		select {
		case err := <-ended:
			wantCode(t, err, pedigree.CodeUnauthenticated)
		case <-time.After(20 * time.Second):
			t.Fatal("the watch went on without a token")
		}
		has := func(seq int64) bool {
			return slices.ContainsFunc(got, func(e pedigree.Entry) bool { return e.Seq == seq && e.Envelope != "" })
		}
		if has(hidden.Seq) || !has(open.Seq) || !has(seen.Seq) {
			t.Errorf("got %+v", got)
		}
	})
}

// TestWatchResumes: a client whose connection is cut goes on where it was, by the id that
// it saw last, also where the event of that id was none that it wants.
func TestWatchResumes(t *testing.T) {
	r := newRegistry(t)
	for i := range 5 {
		must(r.CreateProject(t.Context(), pedigree.ProjectName(fmt.Sprintf("p%d", i)), ""))(t)
	}
	get := func(after string, header string) (string, *http.Response) {
		req := must(http.NewRequestWithContext(t.Context(), http.MethodGet, r.url+"/api/v1/watch"+after, nil))(t)
		if header != "" {
			req.Header.Set("Last-Event-ID", header)
		}
		resp := must(http.DefaultClient.Do(req))(t)
		t.Cleanup(func() { _ = resp.Body.Close() })
		lines := bufio.NewScanner(resp.Body)
		for lines.Scan() {
			if id, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
				return id, resp
			}
		}
		return "", resp
	}
	if data, resp := get("?after=-1", "4"); !strings.HasSuffix(data, `"seq":5,`+data[strings.LastIndex(data, `"leaf"`):]) || resp.Header.Get("Content-Type") != "text/event-stream" {
		t.Fatalf("got %s with %v", data, resp.Header)
	}
	for _, bad := range []struct{ query, header string }{{"?after=99", ""}, {"?after=x", ""}, {"", "x"}, {"?type=nope", ""}, {"?model=nobody", ""}, {"?project=nobody", ""}, {"?afte=1", ""}} {
		if _, resp := get(bad.query, bad.header); resp.StatusCode < 400 || resp.StatusCode >= 500 {
			t.Errorf("%+v: got %s", bad, resp.Status)
		}
	}
}

// TestWatchSlowClient: a client that does not read is cut, and holds nobody up.
func TestWatchSlowClient(t *testing.T) {
	r := newRegistry(t)
	r.late = -29800 * time.Millisecond // of the 30 s that it may take, 0.2 are left
	long := strings.Repeat("x", 90_000)
	for i := range 200 { // more than the buffers of a connection hold
		must(r.CreateProject(t.Context(), pedigree.ProjectName(fmt.Sprintf("p%d", i)), long))(t)
	}
	u := must(url.Parse(r.url))(t)
	conn := must(net.Dial("tcp", u.Host))(t)
	defer func() { _ = conn.Close() }()
	_ = conn.(*net.TCPConn).SetReadBuffer(4096)
	fmt.Fprintf(conn, "GET /api/v1/watch?after=-1 HTTP/1.1\r\nHost: %s\r\n\r\n", u.Host)
	deadline := time.Now().Add(15 * time.Second)
	for joined := false; ; time.Sleep(10 * time.Millisecond) {
		n := r.feed.Watchers()
		if joined = joined || n > 0; joined && n == 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the client was not cut")
		}
	}
}

// BenchmarkWatch appends one event at a time while 100 clients watch over HTTP, and reports
// how long after the append was acknowledged they had it.
func BenchmarkWatch(b *testing.B) {
	r := newRegistry(b)
	const watchers = 100
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	arrived := make(chan time.Time, watchers)
	var group sync.WaitGroup
	for range watchers {
		group.Go(func() {
			_ = r.Watch(ctx, pedigree.WatchQuery{Types: []pedigree.EventType{pedigree.ProjectCreated}}, func(pedigree.Entry) error {
				arrived <- time.Now()
				return nil
			})
		})
	}
	for r.feed.Watchers() < watchers {
		time.Sleep(time.Millisecond)
	}
	var waits []time.Duration
	n := 0
	for b.Loop() {
		n++
		_, err := r.registrar.CreateProject(ctx, pedigree.Operator, pedigree.ProjectName(fmt.Sprintf("p%d", n)), "")
		if err != nil {
			b.Fatal(err)
		}
		acknowledged := time.Now()
		for range watchers {
			waits = append(waits, max((<-arrived).Sub(acknowledged), 0))
		}
	}
	cancel()
	group.Wait()
	slices.Sort(waits)
	b.ReportMetric(float64(waits[len(waits)/2].Microseconds()), "µs-p50")
	b.ReportMetric(float64(waits[len(waits)*99/100].Microseconds()), "µs-p99")
}
