package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	mathrand "math/rand/v2"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/internal/config"
	"github.com/pedigree-ml/pedigree/internal/sqlstore"
)

// watchers is how many callers watch the log.
const watchers = 100

// lifecycle measures what an incident asks for: deployments, what ran when, and how soon
// everybody knows. One target has a long past; the others are new.
func (b *bench) lifecycle(ctx context.Context, database string) (err error) {
	r, err := b.newRegistry(ctx, database)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.remove()) }()
	began, ended, err := r.seedDeployments(ctx, b.deployments, b.say)
	if err != nil {
		return err
	}
	b.say("%s: lifecycle, %d deployments at one target", database, r.versions)
	columns := slices.Clone(loadColumns)
	columns[1] = "deployments of the old target"
	results, err := b.rounds(ctx, r.process, lifecycleLoads(began, ended), nil)
	if err != nil {
		return err
	}
	t := b.report.table("Deploy, and ask what ran when", "Deploying judges the version by the policies, which there are none of, and appends three or four events: opened, activated, the tied alias moved. A rollback finds what ran before, checks it, its files among it, and appends the same. "+
		"which --at asks for moments of the whole past of the old target.", columns...)
	for _, res := range results {
		t.add(res.cells(r)...)
	}
	if !b.match.MatchString("one event to " + strconv.Itoa(watchers) + " watchers") {
		return nil
	}
	return b.watch(ctx, r)
}

// lifecycleTarget is one of the targets without a past.
func lifecycleTarget(i int) pedigree.TargetName {
	return pedigree.TargetName(fmt.Sprintf("prod/api-%02d", i))
}

const (
	lifecycleTargets = 16
	oldTarget        = pedigree.TargetName("prod/old")
)

// lifecycleLoads are the requests; the old target's past is from began to ended.
func lifecycleLoads(began, ended time.Time) []*load {
	deploy := func(target func(client int) pedigree.TargetName) func(client, n int) []byte {
		run := mathrand.Uint64()
		return func(client, n int) []byte {
			key := fmt.Sprintf("Idempotency-Key: %016x-%04d-%08d\r\n", run, client, n)
			return post("targets/"+string(target(client))+"/deployments", map[string]string{"version": fmt.Sprintf("fraud/%d", 1+n%2)}, key)
		}
	}
	own := deploy(lifecycleTarget)
	which := func(_, _ int) []byte {
		at := began.Add(time.Duration(mathrand.Int64N(int64(ended.Sub(began)) + 1)))
		return get("which?" + url.Values{"what": {string(oldTarget)}, "as_of": {at.UTC().Format(time.RFC3339Nano)}}.Encode())
	}
	back := func(client, n int) []byte {
		target := "targets/" + string(lifecycleTarget(client))
		if n%2 == 0 {
			return post(target+"/deployments", map[string]string{"version": "fraud/1"}, "")
		}
		return post(target+"/rollback", map[string]string{"reason": "the bench"}, "")
	}
	shared := deploy(func(int) pedigree.TargetName { return lifecycleTarget(0) })
	old := deploy(func(int) pedigree.TargetName { return oldTarget })
	now := fixed(get("which?what=" + url.QueryEscape(string(oldTarget))))
	return []*load{
		{name: "which --at, the old target", clients: 1, want: 200, next: which},
		{name: "which --at, the old target", clients: 16, want: 200, next: which},
		{name: "which, the old target", clients: 16, want: 200, next: now},
		{name: "deploy, a target each", clients: 1, want: 201, next: own},
		{name: "deploy, a target each", clients: 16, want: 201, next: own},
		{name: "deploy and roll back in turn, a target each", clients: 1, want: 201, next: back},
		{name: "deploy and roll back in turn, a target each", clients: 16, want: 201, next: back},
		{name: "deploy, all to one target", clients: 16, want: 201, next: shared},
		{name: "deploy, the old target", clients: 1, want: 201, next: old},
	}
}

// seedDeployments makes the targets and two versions, and gives the old target n
// deployments, which are decided and appended beside the server, many in one append. It
// returns when the first and the last were.
func (r *registry) seedDeployments(ctx context.Context, n int, say func(string, ...any)) (began, ended time.Time, err error) {
	c, err := r.client()
	if err != nil {
		return began, ended, err
	}
	var versions []pedigree.Version
	for range 2 {
		v, err := c.Register(ctx, "fraud", pedigree.Registration{CreateModel: true, Record: fullVersion().Record})
		if err != nil {
			return began, ended, err
		}
		versions = append(versions, v.Version)
	}
	for i := range lifecycleTargets {
		if _, err := c.CreateTarget(ctx, lifecycleTarget(i), pedigree.TargetSpec{Kind: pedigree.TargetOnline, Alias: pedigree.Alias(fmt.Sprintf("api-%02d", i))}); err != nil {
			return began, ended, err
		}
	}
	old, err := c.CreateTarget(ctx, oldTarget, pedigree.TargetSpec{Kind: pedigree.TargetOnline})
	if err != nil {
		return began, ended, err
	}
	database := filepath.Join(r.dir, "data", config.DatabaseFile)
	if i := slices.Index(r.flags, "--database"); i >= 0 {
		database = r.flags[i+1]
	}
	store, err := sqlstore.Open(ctx, sqlstore.Config{Database: database, Now: time.Now, Rand: rand.Reader, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return began, ended, err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	const together = 200
	start, told := time.Now(), time.Now()
	place := pedigree.Place{Target: old}
	for done := 0; done < n; {
		var drafts []pedigree.Draft
		for range min(together, n-done) {
			id, err := uuid.NewV7()
			if err != nil {
				return began, ended, err
			}
			v := &versions[done%len(versions)]
			some, err := place.Deploy("dep_"+id.String(), v, pedigree.Deploy{Note: "number " + strconv.Itoa(done)}, pedigree.Decision{RecordDigest: v.RecordDigest}, "")
			if err != nil {
				return began, ended, err
			}
			drafts = append(drafts, some...)
			done++
		}
		a, err := store.Append(ctx, sqlstore.Append{Principal: pedigree.Local, Drafts: drafts})
		if err != nil {
			return began, ended, fmt.Errorf("seed: %w", err)
		}
		if ended = a.Events[0].Time; began.IsZero() {
			began = ended
		}
		if time.Since(told) > 5*time.Second {
			told = time.Now()
			say("  seeding: %d of %d", done, n)
		}
	}
	r.versions = n
	took := time.Since(start)
	say("%s: seeded %d deployments in %s, %.0f/s", r.database, n, took.Round(time.Millisecond), float64(n)/took.Seconds())
	return began, ended, nil
}

// watch measures how long an event takes to reach everybody who watches: from the moment
// that the request which causes it is sent, and from its answer.
func (b *bench) watch(ctx context.Context, r *registry) error {
	c, err := r.client()
	if err != nil {
		return err
	}
	b.say("%s: one event to %d watchers", r.database, watchers)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	type arrival struct {
		seq int64
		at  time.Time
	}
	arrivals := make(chan arrival, 10*watchers)
	first, err := c.Deploy(ctx, pedigree.Reference{Model: "fraud", Version: 1}, lifecycleTarget(0), pedigree.Deploy{}, nil)
	if err != nil {
		return err
	}
	after := *first.ActiveSeq
	var all sync.WaitGroup
	for range watchers {
		all.Go(func() {
			err := c.Watch(ctx, pedigree.WatchQuery{After: &after, Types: []pedigree.EventType{pedigree.DeploymentActivated}}, func(e pedigree.Entry) error {
				arrivals <- arrival{e.Seq, time.Now()}
				return nil
			})
			if ctx.Err() == nil {
				cancel(fmt.Errorf("watch: %w", err))
			}
		})
	}
	defer func() { cancel(nil); all.Wait() }()
	var calls, fromCall, fromAnswer []time.Duration
	events := 20 * b.repeat
	for i := range events + 1 {
		sent := time.Now()
		d, err := c.Deploy(ctx, pedigree.Reference{Model: "fraud", Version: pedigree.VersionNumber(1 + i%2)}, lifecycleTarget(0), pedigree.Deploy{}, nil)
		if err != nil {
			return err
		}
		answered := time.Now()
		for range watchers {
			select {
			case a := <-arrivals:
				if a.seq != *d.ActiveSeq {
					return fmt.Errorf("event %d arrived, and %d was appended", a.seq, *d.ActiveSeq)
				}
				if i > 0 { // the first waits for the connections
					fromCall = append(fromCall, a.at.Sub(sent))
					fromAnswer = append(fromAnswer, a.at.Sub(answered))
				}
			case <-ctx.Done():
				return context.Cause(ctx)
			case <-time.After(patience):
				return errors.New("an event did not reach everybody")
			}
		}
		if i > 0 {
			calls = append(calls, answered.Sub(sent))
		}
	}
	t := b.report.table("One event to 100 watchers", "A deployment is made, and "+strconv.Itoa(watchers)+" connections watch for it, all in the one process that measures. A time below zero is an arrival before the answer to whoever deployed.",
		"database", "events", "the call, p50", "p99", "from the call to a watcher, p50", "p99", "from the answer to a watcher, p50", "p99", "server RSS")
	row := []string{r.database, strconv.Itoa(events)}
	for _, times := range [][]time.Duration{calls, fromCall, fromAnswer} {
		slices.Sort(times)
		row = append(row, milliseconds(percentile(times, 50)), milliseconds(percentile(times, 99)))
	}
	t.add(append(row, mebibytes(r.memory("VmRSS")))...)
	return nil
}
