package server_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/client"
	"github.com/pedigree-ml/pedigree/internal/config"
)

// TestWebhooksSurviveKill kills the server while events come and are delivered, again and
// again: each event that it had acknowledged arrives, in order for each model, and what
// arrives twice has one id.
func TestWebhooksSurviveKill(t *testing.T) {
	if testing.Short() {
		t.Skip("a killed server's leases last half a minute")
	}
	eachDatabase(t, func(t *testing.T, cfg config.Config) {
		type arrival struct {
			pedigree.Notice
			id string
		}
		var mu sync.Mutex
		var got []arrival
		receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			var a arrival
			body, _ := io.ReadAll(r.Body)
			if r.Method != http.MethodPost || json.Unmarshal(body, &a.Notice) != nil {
				http.NotFound(w, r)
				return
			}
			a.id = r.Header.Get("webhook-id")
			mu.Lock()
			got = append(got, a)
			mu.Unlock()
			time.Sleep(time.Duration(rand.IntN(5)) * time.Millisecond)
		}))
		defer receiver.Close()
		cfg.WebhookAllow = "127.0.0.1"
		var want []int64 // acknowledged
		connect := func(p *process) *client.Client {
			c, err := client.New(client.Config{URL: p.url, Retries: -1})
			if err != nil {
				t.Fatal(err)
			}
			return c
		}
		p := mustServe(t, cfg)
		c := connect(p)
		if _, err := c.CreateWebhook(t.Context(), "default", client.NewWebhook{URL: receiver.URL, Types: []string{"model.tagged"}}); err != nil {
			t.Fatal(err)
		}
		for i := range 4 {
			if _, err := c.CreateModel(t.Context(), pedigree.Name(fmt.Sprintf("m%d", i)), pedigree.ModelEdit{}); err != nil {
				t.Fatal(err)
			}
		}
		for round := range 4 {
			var writers sync.WaitGroup
			for i := range 4 {
				writers.Go(func() {
					for n := 0; ; n++ {
						m, err := c.EditModel(context.Background(), pedigree.Name(fmt.Sprintf("m%d", i)), pedigree.ModelEdit{Tags: map[string]string{"k": fmt.Sprintf("%d.%d", round, n)}}, nil)
						if err != nil {
							return // killed
						}
						mu.Lock()
						want = append(want, m.Changed)
						mu.Unlock()
					}
				})
			}
			time.Sleep(time.Duration(100+rand.IntN(400)) * time.Millisecond)
			if err := p.cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			writers.Wait()
			_ = p.cmd.Wait()
			p = mustServe(t, cfg)
			c = connect(p)
		}
		first := map[int64]string{}
		for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(50 * time.Millisecond) {
			mu.Lock()
			arrived := got
			mu.Unlock()
			clear(first)
			for _, a := range arrived {
				first[a.Data.Seq] = a.id
			}
			missing := 0
			for _, seq := range want {
				if first[seq] == "" {
					missing++
				}
			}
			if missing == 0 {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("%d of %d acknowledged events did not arrive", missing, len(want))
			}
		}
		mu.Lock()
		defer mu.Unlock()
		seen, last := map[int64]bool{}, map[string]int64{}
		for _, a := range got {
			if a.id != first[a.Data.Seq] {
				t.Errorf("event %d came as %s and as %s", a.Data.Seq, a.id, first[a.Data.Seq])
			}
			if seen[a.Data.Seq] {
				continue
			}
			seen[a.Data.Seq] = true
			if a.Data.Seq < last[a.Data.Subject] {
				t.Errorf("event %d of %s came after %d", a.Data.Seq, a.Data.Subject, last[a.Data.Subject])
			}
			last[a.Data.Subject] = a.Data.Seq
		}
		t.Logf("%d events, %d deliveries", len(seen), len(got))
	})
}

// TestWatchOutlivesServer: a watch does not hold a server's end back, and goes on with the
// server that comes after it, without missing anything.
func TestWatchOutlivesServer(t *testing.T) {
	cfg := config.Config{Data: t.TempDir()}
	one := mustStart(t, cfg)
	events := make(chan int64, 100)
	enough := errors.New("enough")
	ended := make(chan error, 1)
	watched, err := client.New(client.Config{URL: one.url, Retries: -1})
	if err != nil {
		t.Fatal(err)
	}
	begin := int64(-1)
	go func() {
		ended <- watched.Watch(t.Context(), pedigree.WatchQuery{After: &begin, Types: []pedigree.EventType{pedigree.ModelCreated}}, func(e pedigree.Entry) error {
			events <- e.Seq
			if len(events) == cap(events) {
				return enough
			}
			return nil
		})
	}()
	create := func(r *running, name pedigree.Name) int64 {
		t.Helper()
		m, err := r.CreateModel(t.Context(), name, pedigree.ModelEdit{})
		if err != nil {
			t.Fatal(err)
		}
		return m.Seq
	}
	next := func(want int64) {
		t.Helper()
		select {
		case got := <-events:
			if got != want {
				t.Fatalf("got event %d, want %d", got, want)
			}
		case <-time.After(20 * time.Second):
			t.Fatalf("event %d did not come", want)
		}
	}
	next(create(one, "first"))
	stopping := time.Now()
	if err := one.stop(); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(stopping); took > 5*time.Second {
		t.Errorf("a watch held the server's end back for %s", took)
	}
	cfg.Addr = strings.TrimPrefix(one.url, "http://")
	two := mustStart(t, cfg)
	next(create(two, "second"))
	next(create(two, "third"))
	select {
	case err := <-ended:
		t.Fatalf("the watch ended: %v", err)
	default:
	}
}

// TestWebhookMetrics: what a dashboard needs to see that a receiver is down.
func TestWebhookMetrics(t *testing.T) {
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) }))
	defer receiver.Close()
	r := mustStart(t, config.Config{Data: t.TempDir(), WebhookAllow: "127.0.0.1"})
	if _, err := r.CreateWebhook(t.Context(), "", client.NewWebhook{URL: receiver.URL}); err != nil {
		t.Fatal(err)
	}
	if _, err := r.CreateModel(t.Context(), "m", pedigree.ModelEdit{}); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		resp, err := http.Get(r.url + "/metrics")
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		text := string(b)
		if strings.Contains(text, `pedigree_webhook_attempts_total{outcome="failed"} 1`) && strings.Contains(text, `pedigree_webhook_deliveries{state="pending"} 1`) &&
			strings.Contains(text, "pedigree_webhooks 1") && strings.Contains(text, "pedigree_webhook_lag_seconds 0.") && strings.Contains(text, "pedigree_watchers 0") {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("got %s", text)
		}
	}
}
