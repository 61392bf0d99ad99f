package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/client"
)

// registry is one registry under measurement and the server that runs on it.
type registry struct {
	*process
	database string // "sqlite" or "postgres"
	binary   string
	dir      string
	flags    []string
	versions int          // that were seeded
	drop     func() error // drops the database
	starts   int
}

// newRegistry makes an empty registry and starts its server.
func (b *bench) newRegistry(ctx context.Context, database string) (_ *registry, err error) {
	dir, err := os.MkdirTemp(b.work, database)
	if err != nil {
		return nil, err
	}
	r := &registry{database: database, binary: b.binary, dir: dir, drop: func() error { return nil }}
	defer func() {
		if err != nil {
			err = errors.Join(err, r.remove())
		}
	}()
	r.flags = append([]string{"--addr", "127.0.0.1:0", "--data", filepath.Join(dir, "data")}, b.serve...)
	if database == "postgres" {
		cluster, err := b.cluster(ctx)
		if err != nil {
			return nil, err
		}
		name, dsn, err := cluster.create(ctx)
		if err != nil {
			return nil, err
		}
		r.drop = func() error { return cluster.drop(context.WithoutCancel(ctx), name) }
		key, err := exec.CommandContext(ctx, b.binary, "admin", "new-key").Output()
		if err != nil {
			return nil, fmt.Errorf("make a key for the log: %w", err)
		}
		file := filepath.Join(dir, "log.key")
		if err := os.WriteFile(file, key, 0o600); err != nil {
			return nil, err
		}
		r.flags = append(r.flags, "--database", dsn, "--log-key-file", file)
	}
	return r, r.restart(ctx)
}

// restart stops the server where it runs, and starts it.
func (r *registry) restart(ctx context.Context) (err error) {
	if err := r.stop(); err != nil {
		return err
	}
	r.starts++
	r.process, err = start(ctx, r.binary, filepath.Join(r.dir, fmt.Sprintf("server-%d.log", r.starts)), r.flags...)
	return err
}

// remove stops the server and removes everything.
func (r *registry) remove() error {
	return errors.Join(r.stop(), r.drop(), os.RemoveAll(r.dir))
}

func (r *registry) client() (*client.Client, error) { return client.New(client.Config{URL: r.url}) }

const api = "/api/v1/projects/default/"

// get is a GET request as it goes over the wire.
func get(path string) []byte {
	return []byte("GET " + api + path + " HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: bench\r\n\r\n")
}

// post is a POST request as it goes over the wire.
func post(path string, body any, headers string) []byte {
	text, err := json.Marshal(body)
	if err != nil {
		panic(err) // a registration can always be written
	}
	return fmt.Appendf(nil, "POST "+api+"%s HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: bench\r\nContent-Type: application/json\r\n%sContent-Length: %d\r\n\r\n%s",
		path, headers, len(text), text)
}

// seedModels is how many models the seeded versions are spread over, and the
// registrations "on fifty models".
const seedModels = 50

func seedModel(i int) pedigree.Name {
	return pedigree.Name(fmt.Sprintf("model-%02d", i%seedModels))
}

// rareFilter chooses what one version in a hundred has, and of those the tenth with the
// best metric: one in a thousand.
const rareFilter = "tags.grade = 'rare' AND metrics.auc > 0.9"

// seedVersion is the registration number i of a seeded registry, always the same.
func seedVersion(i int) pedigree.Registration {
	random := rand.New(rand.NewPCG(1, uint64(i)))
	grade := "common"
	if random.IntN(100) == 0 {
		grade = "rare"
	}
	return pedigree.Registration{
		Record: pedigree.Record{
			Owner:   fmt.Sprintf("team-%d", i%7),
			Metrics: []pedigree.Metric{{Name: "auc", Value: pedigree.Float(random.Float64())}},
		},
		Tags: map[string]string{"grade": grade, "region": fmt.Sprintf("region-%d", i%5)},
	}
}

// smallVersion has two tags and nothing else.
func smallVersion() pedigree.Registration {
	return pedigree.Registration{Tags: map[string]string{"team": "risk", "stage": "candidate"}}
}

// fullVersion has ten parameters, five metrics, five tags and two data references, and
// what else a push from CI records, but no artifact.
func fullVersion() pedigree.Registration {
	reg := pedigree.Registration{
		Record: pedigree.Record{
			Code:    &pedigree.Code{Repository: "https://git.example.org/risk/fraud", Commit: "3f786850e387550fdab836ed7e6dc881de23001b", Branch: "main"},
			Runtime: &pedigree.Runtime{Image: "registry.example.org/train@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
			Data: []pedigree.DataReference{
				{Role: "train", Kind: pedigree.DataSnapshot, URI: "s3://lake/fraud/train/2026-11-01", Version: "2026-11-01"},
				{Role: "test", Kind: pedigree.DataSnapshot, URI: "s3://lake/fraud/test/2026-11-01", Version: "2026-11-01"},
			},
			Params: pedigree.Params{}, Owner: "team:risk", Target: "prod/fraud-api", RollbackNote: "thresholds go back with the model",
		},
		Tags: map[string]string{},
	}
	for i := range 10 {
		reg.Record.Params[fmt.Sprintf("param_%d", i)] = strconv.Itoa(i * 100)
	}
	for i := range 5 {
		reg.Record.Metrics = append(reg.Record.Metrics, pedigree.Metric{Name: fmt.Sprintf("metric_%d", i), Value: pedigree.Float(0.9 + float64(i)/100), Dataset: "test"})
		reg.Tags[fmt.Sprintf("tag_%d", i)] = fmt.Sprintf("value-%d", i)
	}
	return reg
}

// seedClients is how many clients seed a registry: enough to share commits.
const seedClients = 32

// seed makes the models and registers n versions, in turn over the models; every model's
// alias "production" then names one of them.
func (r *registry) seed(ctx context.Context, n int, say func(string, ...any)) error {
	c, err := r.client()
	if err != nil {
		return err
	}
	for i := range seedModels {
		if _, err := c.CreateModel(ctx, seedModel(i), pedigree.ModelEdit{}); err != nil {
			return err
		}
	}
	n = max(n, seedModels) // each model has a version
	var next atomic.Int64
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var clients sync.WaitGroup
	for range seedClients {
		clients.Go(func() {
			if err := r.seedSome(ctx, n, &next); err != nil {
				cancel(fmt.Errorf("seed: %w", err))
			}
		})
	}
	done := make(chan struct{})
	go func() { clients.Wait(); close(done) }()
	begin := time.Now()
	tell := time.NewTicker(2 * time.Second)
	defer tell.Stop()
	for seeding := true; seeding; {
		select {
		case <-tell.C:
			say("  seeding: %d of %d", min(int(next.Load()), n), n)
		case <-done:
			seeding = false
		}
	}
	if err := context.Cause(ctx); err != nil {
		return err
	}
	for i := range seedModels {
		if _, err := c.SetAlias(ctx, pedigree.Reference{Model: seedModel(i), Version: 1}, "production", nil, ""); err != nil {
			return err
		}
	}
	r.versions = n
	took := time.Since(begin)
	say("%s: seeded %d versions in %s, %.0f/s", r.database, n, took.Round(time.Millisecond), float64(n)/took.Seconds())
	return nil
}

// seedSome is one of the clients that seed.
func (r *registry) seedSome(ctx context.Context, n int, next *atomic.Int64) error {
	c, err := dial(ctx, r.addr())
	if err != nil {
		return err
	}
	defer func() { _ = c.c.Close() }()
	for ctx.Err() == nil {
		i := int(next.Add(1)) - 1
		if i >= n {
			return nil
		}
		status, body, err := c.do(post("models/"+string(seedModel(i))+"/versions", seedVersion(i), ""))
		if err != nil {
			return err
		}
		if status != 201 {
			return fmt.Errorf("status %d: %s", status, body)
		}
	}
	return nil
}

// fixed sends the same requests, one after the other.
func fixed(requests ...[]byte) func(client, n int) []byte {
	return func(client, n int) []byte { return requests[(client*7+n)%len(requests)] }
}

// registrations registers reg on the first so many models in turn.
func registrations(reg pedigree.Registration, models int) func(client, n int) []byte {
	var requests [][]byte
	for i := range models {
		requests = append(requests, post("models/"+string(seedModel(i))+"/versions", reg, ""))
	}
	return fixed(requests...)
}

// keyed registers reg as the SDK does, with an Idempotency-Key that no other request has.
func keyed(reg pedigree.Registration, models int) func(client, n int) []byte {
	run := rand.Uint64()
	return func(client, n int) []byte {
		key := fmt.Sprintf("Idempotency-Key: %016x-%04d-%08d\r\n", run, client, n)
		return post("models/"+string(seedModel(client*7+n))+"/versions", reg, key)
	}
}

// resolve measures the question of every serving process: which version is it?
func (b *bench) resolve(ctx context.Context, r *registry) error {
	b.say("%s: resolve, %d versions", r.database, r.versions)
	var requests [][]byte
	for i := range seedModels {
		requests = append(requests, get("models/"+string(seedModel(i))+"/versions/@production/resolve"))
	}
	writer := &load{name: "register", clients: 1, want: 201, next: registrations(smallVersion(), 1)}
	loads := []*load{
		{name: "nobody writes", clients: 1, want: 200, next: fixed(requests...)},
		{name: "nobody writes", clients: 16, want: 200, next: fixed(requests...)},
		{name: "one client registers", clients: 1, want: 200, next: fixed(requests...), beside: writer},
		{name: "one client registers", clients: 16, want: 200, next: fixed(requests...), beside: writer},
	}
	results, err := b.rounds(ctx, r.process, loads, nil)
	if err != nil {
		return err
	}
	t := b.report.table("Resolve model@production", "Fifty models, asked for in turn. While a client registers, the log grows, and an answer is good for one size of it. "+
		"The CPU time includes that of the registrations; on PostgreSQL it is that of Pedigree alone.", append(loadColumns, "registrations/s beside")...)
	for _, res := range results {
		beside := ""
		if res.beside != nil {
			beside = spread(res.besides, figure)
		}
		t.add(append(res.cells(r), beside)...)
	}
	return nil
}

// register measures durable registrations, beside the disk's limit on them.
func (b *bench) register(ctx context.Context, r *registry) error {
	b.say("%s: register, from %d versions", r.database, r.versions)
	loads := []*load{
		{name: "two tags, one model", clients: 1, want: 201, next: registrations(smallVersion(), 1)},
		{name: "two tags, one model", clients: 16, want: 201, next: registrations(smallVersion(), 1)},
		{name: "two tags, fifty models", clients: 1, want: 201, next: registrations(smallVersion(), seedModels)},
		{name: "two tags, fifty models", clients: 16, want: 201, next: registrations(smallVersion(), seedModels)},
		{name: "two tags, fifty models, Idempotency-Key", clients: 16, want: 201, next: keyed(smallVersion(), seedModels)},
		{name: "full record, fifty models", clients: 1, want: 201, next: registrations(fullVersion(), seedModels)},
		{name: "full record, fifty models", clients: 16, want: 201, next: registrations(fullVersion(), seedModels)},
	}
	var syncs []float64
	results, err := b.rounds(ctx, r.process, loads, func() error {
		rate, err := syncRate(r.dir, b.seconds)
		syncs = append(syncs, rate)
		return err
	})
	if err != nil {
		return err
	}
	t := b.report.table("Register a version, durably", "A full record has 10 params, 5 metrics, 5 tags, 2 data references, code, image, owner, target and rollback note. "+
		"fsync/s is the limit of the disk for one writer, 4 KiB appended and synced at a time, measured in the same rounds; more than one registration can share a sync.",
		append(loadColumns, "fsync/s", "registrations a sync of the disk")...)
	for _, res := range results {
		t.add(append(res.cells(r), spread(syncs, figure), figure(median(res.rates)/median(syncs)))...)
	}
	return nil
}

// search measures a filter that one version in a thousand passes: its first page, and
// the page that is reached by following ninety-nine cursors.
func (b *bench) search(ctx context.Context, r *registry) error {
	b.say("%s: search, %d versions", r.database, r.versions)
	const deep = 100
	limit := min(max(r.versions/1000/deep, 1), 10) // so that there are so many pages, where there can be
	page, number, err := r.page(ctx, limit, deep)
	if err != nil {
		return err
	}
	first := func(filter string, limit int) []byte { return searchRequest(filter, pedigree.Page{Limit: limit}) }
	now := []*load{}
	for _, clients := range []int{1, 16} {
		now = append(now,
			&load{name: "tag and metric, first page of 50", clients: clients, want: 200, next: fixed(first(rareFilter, 50))},
			&load{name: fmt.Sprintf("tag and metric, page %d of %d items each", number, limit), clients: clients, want: 200, next: fixed(page)},
			&load{name: "tag alone, first page of 50", clients: clients, want: 200, next: fixed(first("tags.grade = 'rare'", 50))})
	}
	results, err := b.rounds(ctx, r.process, now, nil)
	if err != nil {
		return err
	}
	// Pages are followed while others write: then the rest of them shows the past.
	c, err := r.client()
	if err == nil {
		_, err = c.Register(ctx, seedModel(0), smallVersion())
	}
	if err != nil {
		return err
	}
	then := []*load{{name: "the same page, after the log has grown", clients: 1, want: 200, next: fixed(page)}}
	late, err := b.rounds(ctx, r.process, then, nil)
	if err != nil {
		return err
	}
	t := b.report.table("Search, newest first", "The tag is on 1 % of the versions, and the metric of 10 % passes: "+rareFilter+". "+
		"Page 100 is followed by cursor, or the last page where there are fewer.", loadColumns...)
	for _, res := range append(results, late...) {
		t.add(res.cells(r)...)
	}
	return nil
}

func searchRequest(filter string, page pedigree.Page) []byte {
	q := url.Values{"filter": {filter}, "limit": {strconv.Itoa(page.Limit)}}
	if page.Cursor != "" {
		q.Set("cursor", page.Cursor)
	}
	return get("search?" + q.Encode())
}

// page follows cursors to the page number deep, or the last, and returns the request for
// it and its number.
func (r *registry) page(ctx context.Context, limit, deep int) ([]byte, int, error) {
	c, err := r.client()
	if err != nil {
		return nil, 0, err
	}
	page := pedigree.Page{Limit: limit}
	for number := 1; ; number++ {
		list, err := c.Search(ctx, client.Query{Filter: rareFilter, Page: page})
		if err != nil || list.Next == "" || number == deep {
			return searchRequest(rareFilter, page), number, err
		}
		page.Cursor = list.Next
	}
}

// idle measures how soon a server is ready, and what it holds while nobody asks.
func (b *bench) idle(ctx context.Context, r *registry) error {
	b.say("%s: idle, %d versions", r.database, r.versions)
	var ready []float64
	var memory int64
	for range b.repeat {
		if err := r.restart(ctx); err != nil {
			return err
		}
		ready = append(ready, float64(r.ready)/1e6)
		wait(ctx, 2*time.Second)
		memory = max(memory, r.memory("VmRSS"))
	}
	t := b.report.table("Idle server", "From the start of the process to the first good answer of /readyz, and the greatest resident set two seconds later.",
		"database", "versions", "ready after, ms", "RSS")
	t.add(r.database, strconv.Itoa(r.versions), spread(ready, figure), mebibytes(memory))
	return ctx.Err()
}
