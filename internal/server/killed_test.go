package server_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/client"
	"github.com/pedigree-ml/pedigree/internal/config"
	"github.com/pedigree-ml/pedigree/internal/pgtest"
	"github.com/pedigree-ml/pedigree/internal/server"
)

// attempt is one deployment or rollback that somebody asked for, under a key of its own.
type attempt struct {
	key      string
	rollback bool
	version  int
	// id is the deployment that the server answered with, "" while it did not answer.
	id string
}

// send makes the call, for the first time or again. It reports false where the server is
// not there any more.
func (a *attempt) send(t *testing.T, url string) bool {
	path, body := "/api/v1/projects/default/targets/prod/api/deployments", fmt.Sprintf(`{"version": "fraud/%d"}`, a.version)
	if a.rollback {
		path, body = "/api/v1/projects/default/targets/prod/api/rollback", fmt.Sprintf(`{"to": "fraud/%d", "reason": "it rejects everybody"}`, a.version)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url+path, bytes.NewBufferString(body))
	if err != nil {
		t.Error(err)
		return false
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Idempotency-Key", a.key)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return false
	}
	defer func() { _ = resp.Body.Close() }()
	var d struct {
		pedigree.Deployment
		Detail string `json:"detail"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&d); err != nil {
		return false // it died in the middle of the answer
	}
	switch {
	case resp.StatusCode == http.StatusServiceUnavailable:
		return false
	case resp.StatusCode == http.StatusUnprocessableEntity || resp.StatusCode == http.StatusConflict || resp.StatusCode == http.StatusForbidden:
		a.id = "refused" // it runs that version already
	case resp.StatusCode/100 != 2 || d.ID == "":
		t.Errorf("%+v: status %d: %s", a, resp.StatusCode, d.Detail)
	default:
		a.id = d.ID
	}
	return true
}

// TestKillDeployments kills the server at random moments while clients deploy and roll back
// at one target. What it did not answer is asked again, with the same key, after the next
// start: every deployment is there once, and what was answered is among them.
func TestKillDeployments(t *testing.T) {
	for name, cfg := range map[string]func(t *testing.T) config.Config{
		"SQLite": func(t *testing.T) config.Config { return config.Config{Data: t.TempDir()} },
		"Postgres": func(t *testing.T) config.Config {
			key, _, err := server.NewKey("")
			if err != nil {
				t.Fatal(err)
			}
			return config.Config{Data: t.TempDir(), Database: pgtest.Database(t), LogKey: key}
		},
	} {
		t.Run(name, func(t *testing.T) { killDeployments(t, cfg(t), 5) })
	}
}

func killDeployments(t *testing.T, cfg config.Config, rounds int) {
	var all []*attempt
	for round := range rounds {
		p := mustServe(t, cfg)
		if round == 0 {
			mustBegin(t, p.url)
		}
		for _, a := range all {
			if a.id == "" && !a.send(t, p.url) {
				t.Fatalf("%+v: the second try is not answered", a)
			}
		}
		all = append(all, deployUntilKilled(t, p, round)...)
	}
	r := mustStart(t, cfg)
	c := r.Client
	made, open := map[string]string{}, 0
	for _, a := range all {
		if a.id == "" {
			open++
			if !a.send(t, r.URL()) {
				t.Fatalf("%+v: the second try is not answered", a)
			}
		}
		if other, ok := made[a.id]; ok && a.id != "refused" {
			t.Errorf("%s and %s were answered with one deployment", other, a.key)
		}
		made[a.id] = a.key
	}
	delete(made, "refused")
	there, live := 0, 0
	for page := (pedigree.Page{Limit: pedigree.MaxLimit}); ; {
		list, err := c.Timeline(t.Context(), "prod/api", page, pedigree.At{})
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range list.Items {
			if there++; made[d.ID] == "" && d.Version != 1 {
				t.Errorf("nobody was answered with %s of %s", d.ID, d.Reference())
			}
			if d.Live() {
				live++
			}
		}
		if page.Cursor = list.Next; page.Cursor == "" {
			break
		}
	}
	if there != len(made)+1 || live != 1 { // and the first of all
		t.Errorf("%d deployments are there, %d of them live, and %d were answered", there, live, len(made))
	}
	t.Logf("%d rounds, %d calls, %d deployments, %d calls without an answer at the last end", rounds, len(all), there, open)
	if len(made) < rounds {
		t.Error("the test tests nothing")
	}
	mustVerify(t, c)
	if err := r.Rebuild(t.Context(), nil); err != nil {
		t.Errorf("rebuild: %v", err)
	}
}

// mustBegin makes what is deployed, and deploys it for the first time.
func mustBegin(t *testing.T, url string) {
	t.Helper()
	c, err := client.New(client.Config{URL: url, Retries: -1})
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if _, err := c.Register(t.Context(), "fraud", pedigree.Registration{CreateModel: true}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.CreateTarget(t.Context(), "prod/api", pedigree.TargetSpec{Kind: pedigree.TargetOnline, Alias: "production"}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Deploy(t.Context(), pedigree.Reference{Model: "fraud", Version: 1}, "prod/api", pedigree.Deploy{}, nil); err != nil {
		t.Fatal(err)
	}
}

// deployUntilKilled lets clients deploy and roll back until a random number of calls was
// answered, kills the server, and returns all calls.
func deployUntilKilled(t *testing.T, p *process, round int) []*attempt {
	t.Helper()
	fatal := rand.Int64N(60) + 1
	var count atomic.Int64
	var kill sync.Once
	results := make([][]*attempt, 4)
	var wg sync.WaitGroup
	for n := range results {
		wg.Go(func() {
			for k := 0; ; k++ {
				a := &attempt{key: fmt.Sprintf("key-%d-%d-%d", round, n, k), rollback: k%3 == 2, version: 2 + rand.IntN(2)}
				if a.rollback {
					a.version = 1
				}
				results[n] = append(results[n], a)
				if !a.send(t, p.url) {
					return
				}
				if count.Add(1) >= fatal {
					kill.Do(func() { _ = p.cmd.Process.Kill() })
				}
			}
		})
	}
	wg.Wait()
	kill.Do(func() {
		t.Error("the server died before it was killed")
		_ = p.cmd.Process.Kill()
	})
	_ = p.cmd.Wait()
	var all []*attempt
	for _, r := range results {
		all = append(all, r...)
	}
	return all
}
