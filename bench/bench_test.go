package main

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/internal/config"
	"github.com/pedigree-ml/pedigree/internal/server"
)

func TestMedian(t *testing.T) {
	for _, c := range []struct {
		values []float64
		want   float64
	}{
		{nil, 0}, {[]float64{7}, 7}, {[]float64{9, 1}, 5}, {[]float64{3, 100, 1}, 3}, {[]float64{4, 1, 3, 2}, 2.5},
	} {
		if got := median(c.values); got != c.want {
			t.Errorf("median(%v) = %v, want %v", c.values, got, c.want)
		}
	}
}

func TestPercentile(t *testing.T) {
	hundred := make([]time.Duration, 100)
	for i := range hundred {
		hundred[i] = time.Duration(i + 1)
	}
	for _, c := range []struct {
		sorted  []time.Duration
		p, want float64
	}{
		{nil, 50, 0},
		{hundred[:1], 50, 1},
		{hundred[:1], 99, 1},
		{hundred, 50, 50},
		{hundred, 99, 99},
		{hundred, 100, 100},
		{hundred, 0, 1},
		{hundred[:10], 99, 10},
		{hundred[:3], 50, 2},
		{hundred[:4], 50, 2},
	} {
		if got := percentile(c.sorted, c.p); got != time.Duration(c.want) {
			t.Errorf("percentile of 1..%d at %v = %v, want %v", len(c.sorted), c.p, got, c.want)
		}
	}
}

func TestFigure(t *testing.T) {
	for v, want := range map[float64]string{1234.5: "1234", 12.34: "12.3", 0.126: "0.13"} {
		if got := figure(v); got != want {
			t.Errorf("figure(%v) = %q, want %q", v, got, want)
		}
	}
	if got, want := spread([]float64{3, 1, 2}, figure), "2.00 (1.00 to 3.00)"; got != want {
		t.Errorf("spread = %q, want %q", got, want)
	}
}

func TestParse(t *testing.T) {
	o, err := parse([]string{"search", "-database", "sqlite", "-versions", "10, 20", "-seconds", "0.5"}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if o.command != "search" || len(o.databases) != 1 || len(o.versions) != 2 || o.versions[1] != 20 || o.seconds != time.Second/2 || o.size != 1<<30 {
		t.Errorf("parse = %+v", o)
	}
	for _, args := range [][]string{
		{"fly"}, {"mlflow", "-only", "alias,flying"}, {"-database", "oracle"}, {"-versions", "none"}, {"-rounds", "0"}, {"-match", "("}, {"resolve", "now"},
	} {
		if _, err := parse(args, io.Discard); err == nil {
			t.Errorf("parse(%q) is no error", args)
		}
	}
}

// TestPage keeps the page and the program together: there is a place for the tables.
func TestPage(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "docs", "benchmarks.md"))
	if err != nil {
		t.Fatal(err)
	}
	r := &report{command: "go run ./bench"}
	r.table("Title", "Note.", "a", "b").add("1", "2")
	r.table("Title", "Note.", "a", "b").add("3", "4")
	once, err := insert(string(page), "bench", r.markdown())
	if err != nil {
		t.Fatal(err)
	}
	twice, err := insert(once, "bench", r.markdown())
	if err != nil || twice != once {
		t.Errorf("a second insert changes the page (error %v)", err)
	}
	if want := "### Title\n\n| a | b |\n|---|---|\n| 1 | 2 |\n| 3 | 4 |\n\nNote.\n"; !strings.Contains(once, want) {
		t.Errorf("the page does not hold %q", want)
	}
	if _, err := insert("no markers", "bench", ""); err == nil {
		t.Error("insert into a page without markers is no error")
	}
}

// TestPayloads sends what the measurements send to a real server.
func TestPayloads(t *testing.T) {
	s, err := server.Open(t.Context(), config.Config{Data: t.TempDir()}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	web := httptest.NewServer(s.Handler())
	t.Cleanup(web.Close)
	r := &registry{process: &process{url: web.URL}, database: "sqlite"}
	const seeded = 2000
	if err := r.seed(t.Context(), seeded, t.Logf); err != nil {
		t.Fatal(err)
	}
	for _, l := range []*load{
		{name: "resolve", want: 200, next: fixed(get("models/model-49/versions/@production/resolve"))},
		{name: "two tags", want: 201, next: registrations(smallVersion(), 1)},
		{name: "keyed", want: 201, next: keyed(smallVersion(), seedModels)},
		{name: "full record", want: 201, next: registrations(fullVersion(), seedModels)},
	} {
		mustAnswer(t, r, l)
	}
	c, err := r.client()
	if err != nil {
		t.Fatal(err)
	}
	v, err := c.Version(t.Context(), pedigree.Reference{Model: seedModel(0)}, pedigree.At{})
	if err != nil {
		t.Fatal(err)
	}
	if rec := v.Record; len(rec.Params) != 10 || len(rec.Metrics) != 5 || len(v.Tags) != 5 || len(rec.Data) != 2 {
		t.Errorf("the full record has %d params, %d metrics, %d tags, %d data references", len(rec.Params), len(rec.Metrics), len(v.Tags), len(rec.Data))
	}
	want := 0
	for i := range seeded {
		reg := seedVersion(i)
		if reg.Tags["grade"] == "rare" && reg.Record.Metrics[0].Value > 0.9 {
			want++
		}
	}
	request, number, err := r.page(t.Context(), 1, 100)
	if err != nil {
		t.Fatal(err)
	}
	if want == 0 || number != want {
		t.Errorf("the filter finds %d versions, want %d", number, want)
	}
	body := mustAnswer(t, r, &load{name: "last page", want: 200, next: fixed(request)})
	var list pedigree.List[pedigree.Summary]
	if err := json.Unmarshal(body, &list); err != nil || len(list.Items) != 1 || list.Next != "" {
		t.Errorf("the last page is %s (error %v)", body, err)
	}
}

// TestLifecyclePayloads seeds a target beside a real server, and sends what the
// measurements of the lifecycle send.
func TestLifecyclePayloads(t *testing.T) {
	dir := t.TempDir()
	s, err := server.Open(t.Context(), config.Config{Data: filepath.Join(dir, "data")}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	web := httptest.NewServer(s.Handler())
	t.Cleanup(web.Close)
	r := &registry{process: &process{url: web.URL}, database: "sqlite", dir: dir}
	began, ended, err := r.seedDeployments(t.Context(), 450, t.Logf)
	if err != nil {
		t.Fatal(err)
	}
	if !ended.After(began) {
		t.Errorf("the past is from %s to %s", began, ended)
	}
	c, err := r.client()
	if err != nil {
		t.Fatal(err)
	}
	list, err := c.Timeline(t.Context(), oldTarget, pedigree.Page{Limit: pedigree.MaxLimit}, pedigree.At{})
	if err != nil || len(list.Items) != 450 || list.Items[0].State != pedigree.DeploymentActive || list.Items[449].State != pedigree.DeploymentSuperseded {
		t.Errorf("%d deployments (%v)", len(list.Items), err)
	}
	for _, l := range lifecycleLoads(began, ended) {
		mustAnswer(t, r, l)
	}
}

// TestWire sends what the comparison with MLflow sends to a real server.
func TestWire(t *testing.T) {
	s, err := server.Open(t.Context(), config.Config{Data: t.TempDir()}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	web := httptest.NewServer(s.Handler())
	t.Cleanup(web.Close)
	r := &registry{process: &process{url: web.URL}, database: "sqlite"}
	const seeded = 1000
	if err := r.seedWire(t.Context(), seeded); err != nil {
		t.Fatal(err)
	}
	rare := 0
	for i := range seeded {
		if wireTags(i)[0].Value == "rare" {
			rare++
		}
	}
	runs, err := makeRuns(t.Context(), r.process, 16)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]int{"search, a tag that 1 % have": rare, "search, a tag that 1 % have, one client creates": rare, "search, by name": seeded / seedModels, "search, all in an order": 50}
	for _, c := range comparisons(runs) {
		body := mustAnswer(t, r, &load{name: c.name, want: 200, next: c.next})
		if c.beside != nil {
			mustAnswer(t, r, &load{name: c.name, want: 200, next: c.beside})
		}
		var answer struct {
			Versions []struct{ Tags []wireTag } `json:"model_versions"`
		}
		if err := json.Unmarshal(body, &answer); err != nil || len(answer.Versions) != want[c.name] {
			t.Errorf("%s: %d versions, want %d (%v)", c.name, len(answer.Versions), want[c.name], err)
		}
	}
	name := filepath.Join(t.TempDir(), "weights.bin")
	if err := writeRandom(name, 1<<20); err != nil {
		t.Fatal(err)
	}
	files := &transport{base: web.URL + "/api/2.0/mlflow-artifacts/artifacts/0/" + runs[0] + "/artifacts/", seed: "test", name: name, size: 1 << 20}
	if rates, err := files.round(t.Context()); err != nil || len(rates) != 6 {
		t.Errorf("files: %v, %v", rates, err)
	}
}

// TestPeerMissing: who has no MLflow is told how to get it.
func TestPeerMissing(t *testing.T) {
	_, err := findPeer(t.Context(), filepath.Join(t.TempDir(), "python"))
	if err == nil || !strings.Contains(err.Error(), "-m venv ") || !strings.Contains(err.Error(), "mlflow=="+peerRelease) {
		t.Errorf("the advice is: %v", err)
	}
}

// mustAnswer sends two requests of a load over one connection and returns the last
// answer.
func mustAnswer(t *testing.T, r *registry, l *load) []byte {
	t.Helper()
	c, err := dial(t.Context(), r.addr())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.c.Close() }()
	var last []byte
	for n := range 2 {
		status, body, err := c.do(l.next(7, n))
		if err != nil || status != l.want {
			t.Fatalf("%s: status %d, error %v: %s", l.name, status, err, body)
		}
		last = bytes.Clone(body)
	}
	return last
}

// TestClient lets a client run until its round is over, and has it stop at a refusal.
func TestClient(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	answers := []string{
		"HTTP/1.1 200 OK\r\nDate: x\r\ncontent-length: 2\r\n\r\nok", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
		"HTTP/1.1 503 Later\r\nContent-Length: 4\r\n\r\nbusy",
	}
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer func() { _ = c.Close() }()
		for _, a := range answers {
			if _, err := c.Read(make([]byte, 1000)); err != nil {
				return
			}
			_, _ = io.WriteString(c, a)
		}
	}()
	var phase atomic.Int32
	var counted atomic.Int64
	phase.Store(counting)
	sent := 0
	load := &load{want: 200, next: func(_, n int) []byte { sent = n + 1; return get("x") }}
	var s sample
	err = load.client(t.Context(), l.Addr().String(), 0, &phase, &counted, &s)
	if s.answers != 2 || len(s.latencies) != 2 {
		t.Errorf("the client counted %+v, want two answers", s)
	}
	if err == nil || !strings.Contains(err.Error(), "status 503: busy") || sent != 3 {
		t.Errorf("the client stopped after %d requests with %v", sent, err)
	}
}
