package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/client"
)

// syncRate is how often a second 4 KiB can be appended to a file and synced.
func syncRate(dir string, d time.Duration) (float64, error) {
	f, err := os.CreateTemp(dir, "sync")
	if err != nil {
		return 0, err
	}
	defer func() { _ = f.Close(); _ = os.Remove(f.Name()) }()
	block := make([]byte, 4096)
	begin := time.Now()
	n := 0
	for ; time.Since(begin) < d; n++ {
		if _, err := f.Write(block); err != nil {
			return 0, err
		}
		if err := f.Sync(); err != nil {
			return 0, err
		}
	}
	return float64(n) / time.Since(begin).Seconds(), nil
}

// chunk is how much the limits are measured with at a time, bytes.
const chunk = 1 << 20

// plain hides what a file can do besides reading and writing, so that io.Copy takes no
// short cut through the kernel.
type (
	plainReader struct{ io.Reader }
	plainWriter struct{ io.Writer }
)

func copyPlain(w io.Writer, r io.Reader) error {
	_, err := io.CopyBuffer(plainWriter{w}, plainReader{r}, make([]byte, chunk))
	return err
}

// writeRandom makes a file of random bytes, on the disk.
func writeRandom(name string, size int64) error {
	var seed [32]byte
	for i := range seed {
		seed[i] = byte(rand.Uint32())
	}
	return writeSynced(name, io.LimitReader(rand.NewChaCha8(seed), size))
}

// writeSynced writes a file and syncs it.
func writeSynced(name string, r io.Reader) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	if err = copyPlain(f, r); err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// hashFile reads a file through SHA-256, on one core.
func hashFile(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	return copyPlain(sha256.New(), f)
}

// copyFile writes the bytes of a file to another and syncs that.
func copyFile(name, to string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	return errors.Join(writeSynced(to, f), os.Remove(to))
}

// loopback sends so many bytes from this process to itself.
func loopback(ctx context.Context, size int64) error {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer func() { _ = l.Close() }()
	sent := make(chan error, 1)
	go func() {
		c, err := (&net.Dialer{}).DialContext(ctx, "tcp", l.Addr().String())
		if err != nil {
			sent <- errors.Join(err, l.Close())
			return
		}
		block := make([]byte, chunk)
		for left := size; left > 0 && err == nil; left -= chunk {
			_, err = c.Write(block[:min(left, chunk)])
		}
		sent <- errors.Join(err, c.Close())
	}()
	c, err := l.Accept()
	if err != nil {
		return errors.Join(err, <-sent)
	}
	err = copyPlain(io.Discard, c)
	return errors.Join(err, <-sent, c.Close())
}

// bytesRow is one line of the table of bytes.
type bytesRow struct {
	name   string
	rates  []float64 // MB (10⁶ bytes) a second
	peak   int64     // of the server above idle, bytes
	limit  bool      // a limit, and no figure of ours
	moves  bool      // every byte crosses the wire
	remark string
}

// bytes measures push and pull of one large file beside what bounds them. Each round has
// a registry and a file of its own: what the registry has, is not sent again.
func (b *bench) bytes(ctx context.Context, database string) error {
	b.say("%s: push and pull of %s", database, mebibytes(b.size))
	rows := []*bytesRow{
		{name: "SHA-256 of the file, one core", limit: true},
		{name: "write and fsync of the same bytes", limit: true},
		{name: "loopback TCP", limit: true},
		{name: "push", moves: true},
		{name: "push again, unchanged"},
		{name: "pull", moves: true},
	}
	for round := range b.repeat {
		b.say("  round %d", round+1)
		if err := b.bytesRound(ctx, database, rows); err != nil {
			return err
		}
	}
	slowest := 0.0
	for _, r := range rows {
		if m := median(r.rates); r.limit && (slowest == 0 || m < slowest) {
			slowest = m
		}
	}
	t := b.report.table("Push and pull of "+mebibytes(b.size), "The ratio is to the slowest of the three limits, which were measured in the same rounds; they and the pull read from the page cache. "+
		"A push hashes the file first, so that only what the registry lacks is sent; then the server hashes, writes and syncs. The Go SDK runs in the same process as the limits.",
		"what", "MB/s", "of the slowest limit", "server's peak above idle", "bytes moved")
	for _, r := range rows {
		ratio, peak := "", ""
		if !r.limit {
			peak = mebibytes(r.peak)
		}
		if r.moves {
			ratio = fmt.Sprintf("%.0f %%", 100*median(r.rates)/slowest)
		}
		t.add(r.name, spread(r.rates, figure), ratio, peak, r.remark)
	}
	return nil
}

func (b *bench) bytesRound(ctx context.Context, database string, rows []*bytesRow) (err error) {
	r, err := b.newRegistry(ctx, database)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.remove()) }()
	name := filepath.Join(r.dir, "weights.bin")
	if err := writeRandom(name, b.size); err != nil {
		return err
	}
	c, err := r.client()
	if err != nil {
		return err
	}
	var moved [3]int64
	push := func(moved *int64) error {
		p, err := c.Push(ctx, client.Push{Model: "large", Path: name, Registration: pedigree.Registration{CreateModel: true}})
		*moved = p.Uploaded
		return err
	}
	steps := []func() error{
		func() error { return hashFile(name) },
		func() error { return copyFile(name, filepath.Join(r.dir, "copy")) },
		func() error { return loopback(ctx, b.size) },
		func() error { return push(&moved[0]) },
		func() error { return push(&moved[1]) },
		func() error {
			p, err := c.Pull(ctx, client.Pull{Reference: pedigree.Reference{Model: "large"}, Dest: filepath.Join(r.dir, "pulled")})
			moved[2] = p.Bytes
			return err
		},
	}
	idle := r.memory("VmRSS")
	for i, step := range steps {
		r.forgetPeak()
		begin := time.Now()
		if err := step(); err != nil {
			return fmt.Errorf("%s: %w", rows[i].name, err)
		}
		rows[i].rates = append(rows[i].rates, float64(b.size)/1e6/time.Since(begin).Seconds())
		if !rows[i].limit {
			rows[i].peak = max(rows[i].peak, r.memory("VmHWM")-idle)
			rows[i].remark = fmt.Sprint(moved[i-3])
		}
	}
	if want := [3]int64{b.size, 0, b.size}; !slices.Equal(moved[:], want[:]) {
		return fmt.Errorf("push, second push and pull moved %d bytes, want %d", moved, want)
	}
	return nil
}
