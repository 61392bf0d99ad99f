package main

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/url"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// What "bench mlflow" measures: Pedigree and MLflow's own server, in one run, by the same
// requests in MLflow's wire format.

// parts are what -only chooses from.
var parts = []string{"create", "alias", "search", "metrics", "idle", "python", "bytes"}

const wire = "/api/2.0/mlflow/"

// wireGet and wirePost are requests of MLflow's clients as they go over the wire.
func wireGet(path string, query url.Values) []byte {
	return []byte("GET " + wire + path + "?" + query.Encode() + " HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: bench\r\n\r\n")
}

func wirePost(path string, body any) []byte {
	text, err := json.Marshal(body)
	if err != nil {
		panic(err) // what is sent can always be written
	}
	return fmt.Appendf(nil, "POST "+wire+"%s HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: bench\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", path, len(text), text)
}

// object is a JSON object of MLflow's.
type object map[string]any

// wireSource is where the files of all versions are said to be.
const wireSource = "s3://models/fraud"

type wireTag struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

// wireTags are the two tags of the seeded version number i: one in a hundred is rare.
func wireTags(i int) []wireTag {
	grade := "common"
	if rand.New(rand.NewPCG(1, uint64(i))).IntN(100) == 0 {
		grade = "rare"
	}
	return []wireTag{{"grade", grade}, {"region", fmt.Sprintf("region-%d", i%5)}}
}

func wireVersion(model int, tags []wireTag) []byte {
	return wirePost("model-versions/create", object{"name": seedModel(model), "source": wireSource, "tags": tags})
}

// seedWire makes the models and n versions by MLflow's API; every model's alias
// "champion" then names one of them.
func (r *registry) seedWire(ctx context.Context, n int) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var next atomic.Int64
	var clients sync.WaitGroup
	for range seedClients {
		clients.Go(func() {
			if err := seedWireSome(ctx, r.process, n, &next); err != nil {
				cancel(fmt.Errorf("seed: %w", err))
			}
		})
	}
	clients.Wait()
	r.versions = n
	return context.Cause(ctx)
}

// seedWireSome is one of the clients that seed. The first of all versions of a model
// waits for nobody: whoever comes to it first makes the model.
func seedWireSome(ctx context.Context, p *process, n int, next *atomic.Int64) error {
	c, err := dial(ctx, p.addr())
	if err != nil {
		return err
	}
	defer func() { _ = c.c.Close() }()
	for ctx.Err() == nil {
		m := int(next.Add(1)) - 1 // a model, and all its versions
		if m >= seedModels {
			return nil
		}
		requests := [][]byte{wirePost("registered-models/create", object{"name": seedModel(m)})}
		for i := m; i < n; i += seedModels {
			requests = append(requests, wireVersion(m, wireTags(i)))
		}
		requests = append(requests, wirePost("registered-models/alias", object{"name": seedModel(m), "alias": "champion", "version": "1"}))
		for _, request := range requests {
			if _, err := c.mustDo(request); err != nil {
				return err
			}
			if ctx.Err() != nil {
				return nil
			}
		}
	}
	return nil
}

// mustDo sends a request that has to be answered with 200.
func (c *conn) mustDo(request []byte) ([]byte, error) {
	status, body, err := c.do(request)
	if err == nil && status != 200 {
		err = fmt.Errorf("status %d: %s", status, body)
	}
	return body, err
}

// comparison is one case: a load, and how many times the answers of MLflow's better
// setting are asked for at 16 clients, on SQLite and on PostgreSQL; 0 where nothing is.
type comparison struct {
	part, name       string
	next             func(client, n int) []byte
	sqlite, postgres float64
	large            bool // the bar holds for large registries alone
	// beside, where not nil, is what one more client sends meanwhile.
	beside func(client, n int) []byte
}

// comparisons are the cases; runs are the runs to report metrics to, one a client.
func comparisons(runs []string) []comparison {
	versions := func(filter, order string) func(int, int) []byte {
		q := url.Values{"filter": {filter}, "max_results": {"50"}}
		if order != "" {
			q.Set("order_by", order)
		}
		return fixed(wireGet("model-versions/search", q))
	}
	var aliases, names [][]byte
	for i := range seedModels {
		name := string(seedModel(i))
		aliases = append(aliases, wireGet("registered-models/alias", url.Values{"name": {name}, "alias": {"champion"}}))
		names = append(names, wireGet("model-versions/search", url.Values{"filter": {"name = '" + name + "'"}, "max_results": {"50"}}))
	}
	// No two clients add to one model at a time: MLflow numbers versions by trying again,
	// and refuses after three tries.
	creates := make([][]byte, seedModels)
	for i := range creates {
		creates[i] = wireVersion(i, wireTags(1))
	}
	write := func(client, n int) []byte { return creates[49] }
	return []comparison{
		{part: "alias", name: "version by alias, one client creates", next: fixed(aliases...), beside: write},
		{part: "search", name: "search, a tag that 1 % have, one client creates", next: versions("tags.grade = 'rare'", ""), beside: write},
		{part: "alias", name: "version by alias", next: fixed(aliases...), sqlite: 100, postgres: 50},
		{part: "search", name: "search, a tag that 1 % have", next: versions("tags.grade = 'rare'", ""), sqlite: 100, postgres: 50, large: true},
		{part: "search", name: "search, by name", next: fixed(names...), sqlite: 20, postgres: 10},
		{part: "search", name: "search, all in an order", next: versions("", "creation_timestamp DESC"), sqlite: 20, postgres: 10},
		{part: "metrics", name: "100 metrics at once, 10 names", next: metricBatches(runs, 10), sqlite: 20, postgres: 10},
		{part: "metrics", name: "100 metrics at once, 100 names", next: metricBatches(runs, 100), sqlite: 20, postgres: 10},
		{part: "create", name: "create version, two tags", next: func(client, n int) []byte { return creates[client+16*(n%3)] }, sqlite: 50, postgres: 20},
	}
}

// metricBatches reports 100 metrics of so many names at once, steps and times going on.
// Each client reports to a run of its own.
func metricBatches(runs []string, names int) func(client, n int) []byte {
	type metric struct {
		Key       string  `json:"key"`
		Value     float64 `json:"value"`
		Timestamp int64   `json:"timestamp"`
		Step      int     `json:"step"`
	}
	steps := make([]int, len(runs)) // of one client alone
	return func(client, _ int) []byte {
		now := time.Now().UnixMilli()
		var metrics [100]metric
		for i := range metrics {
			if i%names == 0 {
				steps[client]++
			}
			metrics[i] = metric{Key: fmt.Sprintf("metric-%d", i%names), Value: rand.Float64(), Timestamp: now, Step: steps[client]}
		}
		return wirePost("runs/log-batch", object{"run_id": runs[client], "metrics": metrics[:]})
	}
}

// makeRuns makes runs in MLflow's default experiment.
func makeRuns(ctx context.Context, p *process, n int) ([]string, error) {
	c, err := dial(ctx, p.addr())
	if err != nil {
		return nil, err
	}
	defer func() { _ = c.c.Close() }()
	var ids []string
	for i := range n {
		body, err := c.mustDo(wirePost("runs/create", object{"experiment_id": "0", "run_name": fmt.Sprintf("run-%d", i), "start_time": time.Now().UnixMilli()}))
		if err != nil {
			return nil, err
		}
		var answer struct {
			Run struct {
				Info struct {
					ID string `json:"run_id"`
				}
			}
		}
		if err := json.Unmarshal(body, &answer); err != nil {
			return nil, err
		}
		ids = append(ids, answer.Run.Info.ID)
	}
	return ids, nil
}

// contender is one server of the comparison: a product and how it is run.
type contender struct {
	name  string
	start func(ctx context.Context) (*process, error) // ends the one before
}

// contenders makes a registry and a database of MLflow of n versions each, and returns
// who can run on them: Pedigree, then MLflow with its settings.
func (b *bench) contenders(ctx context.Context, database string, n int) (_ []contender, remove func() error, err error) {
	r, err := b.newRegistry(ctx, database)
	if err != nil {
		return nil, nil, err
	}
	var p *peer
	all := func() error {
		if p == nil {
			return r.remove()
		}
		return errors.Join(r.remove(), p.remove())
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, all())
		}
	}()
	if n > 0 {
		b.say("%s: seeding Pedigree with %d versions", database, n)
		if err := r.seedWire(ctx, n); err != nil {
			return nil, nil, err
		}
	}
	if err := r.stop(); err != nil {
		return nil, nil, err
	}
	if p, err = b.newPeer(ctx, database); err != nil {
		return nil, nil, err
	}
	if n > 0 {
		b.say("%s: seeding MLflow with %d versions", database, n)
		if err := p.seed(ctx, n); err != nil {
			return nil, nil, err
		}
	}
	list := []contender{{"Pedigree", func(ctx context.Context) (*process, error) {
		err := errors.Join(p.end(), r.restart(ctx))
		return r.process, err
	}}}
	for _, s := range settings() {
		list = append(list, contender{s.name, func(ctx context.Context) (*process, error) {
			err := r.stop()
			if err == nil {
				err = p.restart(ctx, s)
			}
			return p.process, err
		}})
	}
	return list, all, nil
}

// mlflow measures Pedigree beside MLflow's own server.
func (b *bench) mlflow(ctx context.Context) (err error) {
	if b.python, err = findPeer(ctx, b.python); err != nil {
		return err
	}
	rest := slices.ContainsFunc(b.only, func(part string) bool { return part != "bytes" })
	for _, database := range b.databases {
		for i, n := range b.versions {
			if !rest {
				continue
			}
			if err := b.besides(ctx, database, max(n, seedModels), i == 0); err != nil {
				return fmt.Errorf("%s, %d versions: %w", database, n, err)
			}
		}
	}
	if slices.Contains(b.only, "bytes") {
		return b.transfers(ctx, b.databases[0])
	}
	return nil
}

// besides measures all but bytes, on one database and size.
func (b *bench) besides(ctx context.Context, database string, n int, first bool) (err error) {
	list, remove, err := b.contenders(ctx, database, n)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, remove()) }()
	results := make([][]result, len(list))
	views := make([]map[string]float64, len(list))
	var cases []comparison
	for i, c := range list {
		b.say("%s, %d versions: %s", database, n, c.name)
		p, err := c.start(ctx)
		if err != nil {
			return err
		}
		if slices.Contains(b.only, "idle") {
			wait(ctx, 2*time.Second)
			t := b.report.table("Idle, beside MLflow "+peerRelease, "From the start of the process to the first good answer of /readyz or /health, and the resident sets of the process and all that it started, two seconds later. "+
				"MLflow's defaults are four workers and processes for jobs; at its best it has one worker a core and no jobs.",
				"database", "versions", "server", "ready after, ms", "RSS", "processes")
			t.add(database, strconv.Itoa(n), c.name, figure(float64(p.ready)/1e6), mebibytes(p.memory("VmRSS")), strconv.Itoa(len(p.tree())))
		}
		runs, err := makeRuns(ctx, p, 16)
		if err != nil {
			return err
		}
		cases = slices.DeleteFunc(comparisons(runs), func(c comparison) bool { return !slices.Contains(b.only, c.part) })
		var loads []*load
		for _, c := range cases {
			for _, clients := range []int{1, 16} {
				l := &load{name: c.name, clients: clients, next: c.next, want: 200, least: clients, lenient: i > 0}
				if c.beside != nil {
					l.beside = &load{name: c.name, clients: 1, next: c.beside, want: 200, lenient: i > 0}
				}
				loads = append(loads, l)
			}
		}
		if results[i], err = b.rounds(ctx, p, loads, nil); err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
		if first && slices.Contains(b.only, "python") {
			if views[i], err = b.view(ctx, p); err != nil {
				return fmt.Errorf("%s: %w", c.name, err)
			}
		}
	}
	b.besideTable(database, n, list, cases, results)
	if views[0] != nil {
		b.viewTable(database, n, list, views)
	}
	return nil
}

// besideTable adds the rows of a comparison.
func (b *bench) besideTable(database string, n int, list []contender, cases []comparison, results [][]result) {
	columns := []string{"database", "versions", "what", "clients"}
	for _, c := range list {
		columns = append(columns, c.name)
	}
	t := b.report.table("Beside MLflow "+peerRelease, "Answers a second, and the median latency of one. A ratio is to MLflow with its defaults, and with the setting that serves most; a bar is what is asked for beside the better of both. "+
		"Of MLflow, answers of another status are not counted, and their number is given; of Pedigree, the first would end the run. "+
		"CPU is processor time an answer, of the server's processes without those of PostgreSQL, in the order of the servers. Where nobody writes, Pedigree may answer a search by what it answered before; where a client creates versions, its CPU is included. Pedigree's creates are synced to the disk before they are answered.",
		append(columns, "× defaults", "× best", "bar", "CPU an answer")...)
	for i := range results[0] {
		ours := results[0][i]
		c := cases[slices.IndexFunc(cases, func(c comparison) bool { return c.name == ours.name })]
		row := []string{database, strconv.Itoa(n), ours.name, strconv.Itoa(ours.clients)}
		var cpu, ratios []string
		better := 0.0
		for who := range list {
			r := results[who][i]
			cell := figure(median(r.rates)) + "/s, " + milliseconds(percentile(r.latencies, 50))
			if r.failures > 0 {
				cell += fmt.Sprintf(" (%d failed)", r.failures)
			}
			row = append(row, cell)
			cpu = append(cpu, microseconds(float64(r.cpu.Microseconds())/float64(max(r.answers, 1))))
			if who > 0 {
				better = max(better, median(r.rates))
				ratios = append(ratios, figure(median(ours.rates)/median(r.rates)))
			}
		}
		bar := c.sqlite
		if database == "postgres" {
			bar = c.postgres
		}
		verdict := ""
		if bar > 0 && ours.clients == 16 && (!c.large || n >= 100_000) {
			verdict = fmt.Sprintf("%.0f, missed", bar)
			if median(ours.rates) >= bar*better {
				verdict = fmt.Sprintf("%.0f, met", bar)
			}
		}
		t.add(append(append(row, ratios...), verdict, strings.Join(cpu, " / "))...)
	}
}

func microseconds(us float64) string {
	if us >= 10_000 {
		return figure(us/1000) + " ms"
	}
	return figure(us) + " µs"
}

//go:embed view.py
var viewScript string

// viewCount is how often the Python client makes each call.
const viewCount = 30

// view asks MLflow's Python client for the latencies that its users have, by call.
func (b *bench) view(ctx context.Context, p *process) (map[string]float64, error) {
	cmd := exec.CommandContext(ctx, b.python, "-c", viewScript, strconv.Itoa(viewCount))
	cmd.Dir = b.work
	cmd.Env = peerEnv(b.python, b.work, "MLFLOW_TRACKING_URI="+p.url, "MLFLOW_HTTP_REQUEST_MAX_RETRIES=0")
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%s: %w\n%s", filepath.Base(b.python), err, said.Bytes())
	}
	lines := bytes.Split(bytes.TrimSpace(out), []byte("\n"))
	var view map[string]float64
	err = json.Unmarshal(lines[len(lines)-1], &view)
	return view, err
}

// viewTable adds the rows of what the Python client saw.
func (b *bench) viewTable(database string, n int, list []contender, views []map[string]float64) {
	columns := []string{"database", "versions", "call"}
	for _, c := range list {
		columns = append(columns, c.name)
	}
	t := b.report.table("As MLflow's Python client sees it", fmt.Sprintf("The median of %d calls of MlflowClient by one client, in milliseconds. Much of what is left is the client's own work.", viewCount),
		append(columns, "× defaults", "× best")...)
	var calls []string
	for call := range views[0] {
		calls = append(calls, call)
	}
	slices.Sort(calls)
	for _, call := range calls {
		row := []string{database, strconv.Itoa(n), call}
		for _, v := range views {
			row = append(row, figure(v[call]))
		}
		for _, v := range views[1:] {
			row = append(row, figure(v[call]/views[0][call]))
		}
		t.add(row...)
	}
}
