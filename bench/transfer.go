package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// smallFiles are how many small files there are, of smallSize bytes each.
const (
	smallFiles = 200
	smallSize  = 16 << 10
)

// transfer is a line of the table of files: what is moved, and how fast by each server,
// round by round.
type transfer struct {
	name  string
	unit  string // of a rate
	large bool   // compared with the physical limits
	rates [][]float64
}

// transfers measures how files go up and down through MLflow's artifact proxy. What
// bounds the large one is measured in the same rounds.
func (b *bench) transfers(ctx context.Context, database string) (err error) {
	list, remove, err := b.contenders(ctx, database, 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, remove()) }()
	name := filepath.Join(b.work, "weights.bin")
	if err := writeRandom(name, b.size); err != nil {
		return err
	}
	size := mebibytes(b.size)
	rows := []*transfer{
		{name: "upload of " + size, unit: "MB/s", large: true},
		{name: "download of " + size, unit: "MB/s", large: true},
		{name: "upload of 200 files of 16 KiB, 1 client", unit: "files/s"},
		{name: "download of them, 1 client", unit: "files/s"},
		{name: "upload of 200 files of 16 KiB, 16 clients", unit: "files/s"},
		{name: "download of them, 16 clients", unit: "files/s"},
	}
	for _, r := range rows {
		r.rates = make([][]float64, len(list))
	}
	limits := []*transfer{{name: "SHA-256, one core"}, {name: "write and fsync"}, {name: "loopback TCP"}}
	for who, c := range list {
		p, err := c.start(ctx)
		if err != nil {
			return err
		}
		runs, err := makeRuns(ctx, p, 1)
		if err != nil {
			return err
		}
		for round := range b.repeat {
			b.say("files, round %d: %s", round+1, c.name)
			if who == 0 {
				if err := b.limits(ctx, name, limits); err != nil {
					return err
				}
			}
			t := &transport{base: p.url + "/api/2.0/mlflow-artifacts/artifacts/0/" + runs[0] + "/artifacts/", seed: fmt.Sprintf("%s %d", c.name, round), name: name, size: b.size}
			rates, err := t.round(ctx)
			if err != nil {
				return fmt.Errorf("%s: %w", c.name, err)
			}
			for i, rate := range rates {
				rows[i].rates[who] = append(rows[i].rates[who], rate)
			}
		}
	}
	b.transferTable(list, rows, limits)
	return nil
}

// limits measures one round of what no server can be faster than.
func (b *bench) limits(ctx context.Context, name string, limits []*transfer) error {
	for i, step := range []func() error{
		func() error { return hashFile(name) },
		func() error { return copyFile(name, filepath.Join(b.work, "copy")) },
		func() error { return loopback(ctx, b.size) },
	} {
		begin := time.Now()
		if err := step(); err != nil {
			return err
		}
		if limits[i].rates == nil {
			limits[i].rates = make([][]float64, 1)
		}
		limits[i].rates[0] = append(limits[i].rates[0], float64(b.size)/1e6/time.Since(begin).Seconds())
	}
	return nil
}

func (b *bench) transferTable(list []contender, rows, limits []*transfer) {
	columns := []string{"what", "unit"}
	for _, c := range list {
		columns = append(columns, c.name)
	}
	t := b.report.table("Files, beside MLflow "+peerRelease, "Through MLflow's artifact proxy, by kept connections; medians of the rounds. Pedigree hashes and syncs what it takes, MLflow does neither. "+
		"The limits are those of this machine for the same bytes, measured in the same run; the last column is Pedigree's part of the slowest of them that applies: all three to an upload, loopback to a download. Client and server share "+strconv.Itoa(runtime.NumCPU())+" cores.",
		append(columns, "× defaults", "× best", "of the slowest limit")...)
	slowest := median(limits[0].rates[0])
	for _, l := range limits {
		slowest = min(slowest, median(l.rates[0]))
		row := []string{"limit: " + l.name, "MB/s", figure(median(l.rates[0]))}
		for range len(columns) {
			row = append(row, "")
		}
		t.add(row[:len(columns)+3]...)
	}
	for i, r := range rows {
		row := []string{r.name, r.unit}
		for _, rates := range r.rates {
			row = append(row, figure(median(rates)))
		}
		for _, rates := range r.rates[1:] {
			row = append(row, figure(median(r.rates[0])/median(rates)))
		}
		part := ""
		if r.large {
			limit := slowest
			if i == 1 {
				limit = median(limits[2].rates[0])
			}
			part = fmt.Sprintf("%.0f %%", 100*median(r.rates[0])/limit)
		}
		t.add(append(row, part)...)
	}
}

// transport moves files between a client and a server.
type transport struct {
	base string // URL of a folder
	seed string // no two rounds move the same bytes: what a registry has, it need not write
	name string // the large file
	size int64
}

// round moves everything once and returns the rates, in the order of the rows.
func (t *transport) round(ctx context.Context) ([]float64, error) {
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 16, DisableCompression: true}}
	defer client.CloseIdleConnections()
	f, err := os.OpenFile(t.name, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	if _, err := f.WriteAt([]byte(t.seed), 0); err != nil {
		return nil, err
	}
	large := func(method string) func() error {
		return func() error {
			if method == http.MethodGet {
				return t.move(ctx, client, method, "weights.bin", nil, 0, t.size)
			}
			if _, err := f.Seek(0, io.SeekStart); err != nil {
				return err
			}
			return t.move(ctx, client, method, "weights.bin", io.NopCloser(f), t.size, 0)
		}
	}
	steps := []struct {
		amount float64
		run    func() error
	}{
		{float64(t.size) / 1e6, large(http.MethodPut)},
		{float64(t.size) / 1e6, large(http.MethodGet)},
		{smallFiles, func() error { return t.small(ctx, client, http.MethodPut, 1) }},
		{smallFiles, func() error { return t.small(ctx, client, http.MethodGet, 1) }},
		{smallFiles, func() error { return t.small(ctx, client, http.MethodPut, 16) }},
		{smallFiles, func() error { return t.small(ctx, client, http.MethodGet, 16) }},
	}
	var rates []float64
	for _, s := range steps {
		// What the step before left unwritten is not this one's work.
		_ = exec.CommandContext(ctx, "sync").Run()
		begin := time.Now()
		if err := s.run(); err != nil {
			return nil, err
		}
		rates = append(rates, s.amount/time.Since(begin).Seconds())
	}
	return rates, nil
}

// small moves the small files, by some clients at a time.
func (t *transport) small(ctx context.Context, client *http.Client, method string, clients int) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var next atomic.Int64
	var group sync.WaitGroup
	for range clients {
		group.Go(func() {
			for ctx.Err() == nil {
				i := int(next.Add(1)) - 1
				if i >= smallFiles {
					return
				}
				var err error
				name := fmt.Sprintf("small-%d/%d.bin", clients, i)
				if method == http.MethodGet {
					err = t.move(ctx, client, method, name, nil, 0, smallSize)
				} else {
					text := bytes.Repeat(fmt.Appendf(nil, "%s %d %d ", t.seed, clients, i), smallSize)[:smallSize]
					err = t.move(ctx, client, method, name, bytes.NewReader(text), smallSize, 0)
				}
				if err != nil {
					cancel(err)
				}
			}
		})
	}
	group.Wait()
	return context.Cause(ctx)
}

// move sends or fetches one file, and checks how long the answer is.
func (t *transport) move(ctx context.Context, client *http.Client, method, name string, body io.Reader, length, want int64) error {
	r, err := http.NewRequestWithContext(ctx, method, t.base+name, body)
	if err != nil {
		return err
	}
	r.ContentLength = length
	resp, err := client.Do(r)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	got, err := io.CopyBuffer(plainWriter{io.Discard}, plainReader{resp.Body}, make([]byte, 256<<10))
	switch {
	case err != nil:
		return err
	case resp.StatusCode != http.StatusOK:
		return fmt.Errorf("%s %s: status %d", method, name, resp.StatusCode)
	case want > 0 && got != want:
		return fmt.Errorf("%s %s: %d bytes, want %d", method, name, got, want)
	}
	return nil
}
