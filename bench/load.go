package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// conn is one kept HTTP/1.1 connection. It costs a fraction of net/http's client: on a
// small machine, client and server share the cores, and what the client spends is
// missing from the rate.
type conn struct {
	c    net.Conn
	r    *bufio.Reader
	body bytes.Buffer
}

func dial(ctx context.Context, addr string) (*conn, error) {
	c, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	return &conn{c: c, r: bufio.NewReaderSize(c, 16<<10)}, nil
}

// patience is how long an answer may take.
const patience = time.Minute

// do sends a request, as it goes over the wire, and returns status and body of the
// answer; the body is good until the next call.
func (c *conn) do(request []byte) (status int, body []byte, err error) {
	if err := c.c.SetDeadline(time.Now().Add(patience)); err != nil {
		return 0, nil, err
	}
	if _, err := c.c.Write(request); err != nil {
		return 0, nil, err
	}
	line, err := c.r.ReadSlice('\n') // HTTP/1.1 200 OK
	if err != nil {
		return 0, nil, err
	}
	if len(line) < 12 {
		return 0, nil, fmt.Errorf("not an HTTP answer: %q", line)
	}
	if status, err = strconv.Atoi(string(line[9:12])); err != nil {
		return 0, nil, err
	}
	length := int64(-1)
	for {
		if line, err = c.r.ReadSlice('\n'); err != nil {
			return 0, nil, err
		}
		if line = bytes.TrimRight(line, "\r\n"); len(line) == 0 {
			break
		}
		if name, value, _ := bytes.Cut(line, []byte(": ")); bytes.EqualFold(name, []byte("Content-Length")) {
			if length, err = strconv.ParseInt(string(value), 10, 64); err != nil {
				return 0, nil, err
			}
		}
	}
	if length < 0 { // none of the answers that are measured is sent in chunks
		return 0, nil, errors.New("the answer does not say how long it is")
	}
	c.body.Reset()
	_, err = io.CopyN(&c.body, c.r, length)
	return status, c.body.Bytes(), err
}

// load is requests that some clients send, each as soon as the last was answered.
type load struct {
	name    string
	clients int
	// next makes the request number n of a client, which it sends before it asks for
	// another: what next returns may be changed by its next call for the same client.
	next func(client, n int) []byte
	want int // status of the answers
	// least, where not 0, is how many answers a round waits for at least: a round of a
	// slow server is as long as it takes, up to patience.
	least int
	// lenient counts an answer of another status, and none at all, as a failure, and goes
	// on: MLflow's workers are ended by their parent when they are slow.
	lenient bool
	// beside, where not nil, runs as long as the load does.
	beside *load
}

// sample is one round of a load.
type sample struct {
	rate      float64         // answers a second
	answers   int             // that came while the round was counting
	failures  int             // of a lenient load
	latencies []time.Duration // of those, and of what was under way when it ended
	cpu       time.Duration   // processor time of the server meanwhile
	beside    float64         // answers a second of the load beside it
}

// The phases of a round.
const (
	warming int32 = iota
	counting
	over
)

// run sends the load to a process for a while, after a tenth of that for warming up.
func (l *load) run(ctx context.Context, p *process, d time.Duration) (sample, error) {
	var phase atomic.Int32
	var counted, besides atomic.Int64
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var clients sync.WaitGroup
	start := func(l *load, counted *atomic.Int64) []sample {
		samples := make([]sample, l.clients)
		for i := range l.clients {
			clients.Go(func() {
				if err := l.client(ctx, p.addr(), i, &phase, counted, &samples[i]); err != nil {
					cancel(fmt.Errorf("%s: %w", l.name, err)) // the first error counts
				}
			})
		}
		return samples
	}
	var beside []sample
	if l.beside != nil {
		beside = start(l.beside, &besides)
	}
	own := start(l, &counted)
	wait(ctx, d/10)
	cpu := p.cpu()
	begin := time.Now()
	phase.Store(counting)
	wait(ctx, d)
	for counted.Load() < int64(l.least) && ctx.Err() == nil && time.Since(begin) < patience {
		wait(ctx, d/10)
	}
	phase.Store(over)
	took := time.Since(begin).Seconds()
	s := sample{cpu: p.cpu() - cpu}
	clients.Wait()
	for _, c := range own {
		s.answers += c.answers
		s.failures += c.failures
		s.latencies = append(s.latencies, c.latencies...)
	}
	for _, c := range beside {
		s.beside += float64(c.answers) / took
	}
	s.rate = float64(s.answers) / took
	return s, context.Cause(ctx)
}

// client is one of the load's clients; it notes in s what it got.
func (l *load) client(ctx context.Context, addr string, i int, phase *atomic.Int32, counted *atomic.Int64, s *sample) error {
	c, err := dial(ctx, addr)
	if err != nil {
		return err
	}
	defer func() { _ = c.c.Close() }()
	for n := 0; phase.Load() != over && ctx.Err() == nil; n++ {
		request := l.next(i, n)
		begin := time.Now()
		status, body, err := c.do(request)
		took := time.Since(begin)
		if err != nil && l.lenient && ctx.Err() == nil {
			s.failures++
			_ = c.c.Close()
			wait(ctx, 10*time.Millisecond)
			fresh, err := dial(ctx, addr)
			if err != nil {
				return err
			}
			c = fresh
			continue
		}
		if err != nil {
			return err
		}
		if status != l.want && l.lenient {
			s.failures++
			continue
		}
		if status != l.want {
			return fmt.Errorf("status %d: %s", status, body)
		}
		switch phase.Load() {
		case counting:
			s.answers++
			counted.Add(1)
			s.latencies = append(s.latencies, took)
		case over: // not counted, but slow answers must not be left out of the percentiles
			s.latencies = append(s.latencies, took)
		}
	}
	return nil
}

// wait waits for a while, or until ctx ends.
func wait(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// result is what came of all rounds of a load.
type result struct {
	*load
	rates     []float64
	besides   []float64
	latencies []time.Duration // of all rounds, sorted
	cpu       time.Duration
	answers   int
	failures  int
	memory    int64 // the server's greatest resident set after a round, bytes
}

// rounds runs the loads that -match chooses in turn, as often as there are rounds; before
// each round of all it calls between, where not nil.
func (b *bench) rounds(ctx context.Context, p *process, loads []*load, between func() error) ([]result, error) {
	loads = slices.DeleteFunc(loads, func(l *load) bool { return !b.match.MatchString(l.name + ", " + strconv.Itoa(l.clients)) })
	results := make([]result, len(loads))
	for round := range b.repeat {
		if between != nil {
			if err := between(); err != nil {
				return nil, err
			}
		}
		for i, l := range loads {
			s, err := l.run(ctx, p, b.seconds)
			if err != nil {
				return nil, err
			}
			b.say("  round %d: %s, %d: %s/s", round+1, l.name, l.clients, figure(s.rate))
			r := &results[i]
			r.load = l
			r.rates = append(r.rates, s.rate)
			r.besides = append(r.besides, s.beside)
			r.latencies = append(r.latencies, s.latencies...)
			r.cpu += s.cpu
			r.answers += s.answers
			r.failures += s.failures
			r.memory = max(r.memory, p.memory("VmRSS"))
		}
	}
	for i := range results {
		slices.Sort(results[i].latencies)
	}
	return results, nil
}

// loadColumns are the columns that the tables of loads begin with; see [result.cells].
var loadColumns = []string{"database", "versions", "what", "clients", "answers/s", "p50", "p99", "server CPU an answer", "server RSS"}

func (r *result) cells(g *registry) []string {
	cpu := "no answer in time"
	if r.answers > 0 {
		cpu = figure(float64(r.cpu.Microseconds())/float64(r.answers)) + " µs"
	}
	return []string{
		g.database, strconv.Itoa(g.versions), r.name, strconv.Itoa(r.clients), spread(r.rates, figure),
		milliseconds(percentile(r.latencies, 50)), milliseconds(percentile(r.latencies, 99)),
		cpu, mebibytes(r.memory),
	}
}
