package blobtest

import (
	"context"
	"io"
	"sync"
	"time"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/internal/blob"
)

// Op is what a [Fault] strikes: a method of the store, or the reading of an open blob.
type Op string

// The operations. OpRead is any Read or ReadAt of any file that the store opened.
const (
	OpPut    Op = "put"
	OpOpen   Op = "open"
	OpStat   Op = "stat"
	OpDelete Op = "delete"
	OpList   Op = "list"
	OpRead   Op = "read"
)

// Fault is one failure, written as a row of a test's table.
type Fault struct {
	// Op is the operation that fails.
	Op Op
	// Nth is the call of Op that fails, counted from 1 over the life of the store; 0
	// means each of them.
	Nth int
	// After lets the call take effect before it reports the failure, as when an answer
	// is lost on the way. Otherwise nothing happens: of a Put not a byte is read.
	After bool
	// Err is what the call returns; nil means [pedigree.CodeUnavailable], "injected fault".
	Err error
}

func (f Fault) err() error {
	if f.Err != nil {
		return f.Err
	}
	return pedigree.Errorf(pedigree.CodeUnavailable, "injected fault: %s", f.Op)
}

// Faulty is a store that fails when it is told to, and counts what is asked of it. It
// is as safe for concurrent use as the store within.
type Faulty struct {
	store blob.Store

	mu      sync.Mutex
	faults  []Fault
	calls   map[Op]int
	corrupt map[pedigree.Digest]bool
}

// NewFaulty wraps s. Without faults it behaves as s does.
func NewFaulty(s blob.Store, faults ...Fault) *Faulty {
	return &Faulty{store: s, faults: faults, calls: make(map[Op]int), corrupt: make(map[pedigree.Digest]bool)}
}

// SetFaults replaces the faults: none mends the store. The counts of calls go on.
func (f *Faulty) SetFaults(faults ...Fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.faults = faults
}

// Calls returns how often op was called, failures included.
func (f *Faulty) Calls(op Op) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.calls[op]
}

// Corrupt makes every later Open of d give bytes of which the first is wrong, as after
// damage of a disk. It shows nothing for an empty blob.
func (f *Faulty) Corrupt(d pedigree.Digest) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.corrupt[d] = true
}

// do counts a call of op and strikes it if it is its turn.
func (f *Faulty) do(op Op, call func() error) error {
	f.mu.Lock()
	f.calls[op]++
	var hit *Fault
	for _, fault := range f.faults {
		if fault.Op == op && (fault.Nth == 0 || fault.Nth == f.calls[op]) {
			hit = &fault
			break
		}
	}
	f.mu.Unlock()
	if hit == nil {
		return call()
	}
	if hit.After {
		if err := call(); err != nil {
			return err
		}
	}
	return hit.err()
}

// Put implements [blob.Store].
func (f *Faulty) Put(ctx context.Context, d pedigree.Digest, size int64, r io.Reader) error {
	return f.do(OpPut, func() error { return f.store.Put(ctx, d, size, r) })
}

// Receive implements [blob.Store]. It counts as a put.
func (f *Faulty) Receive(ctx context.Context, r io.Reader) (d pedigree.Digest, size int64, err error) {
	err = f.do(OpPut, func() (err error) {
		d, size, err = f.store.Receive(ctx, r)
		return err
	})
	return d, size, err
}

// Open implements [blob.Store].
func (f *Faulty) Open(ctx context.Context, d pedigree.Digest) (blob.File, error) {
	var file blob.File
	err := f.do(OpOpen, func() (err error) {
		file, err = f.store.Open(ctx, d)
		return err
	})
	if err != nil {
		if file != nil {
			file.Close()
		}
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return &faultyFile{File: file, f: f, corrupt: f.corrupt[d]}, nil
}

// Stat implements [blob.Store].
func (f *Faulty) Stat(ctx context.Context, d pedigree.Digest) (size int64, err error) {
	err = f.do(OpStat, func() (err error) {
		size, err = f.store.Stat(ctx, d)
		return err
	})
	if err != nil {
		return 0, err
	}
	return size, nil
}

// Delete implements [blob.Store].
func (f *Faulty) Delete(ctx context.Context, d pedigree.Digest) error {
	return f.do(OpDelete, func() error { return f.store.Delete(ctx, d) })
}

// List implements [blob.Store].
func (f *Faulty) List(ctx context.Context, fn func(d pedigree.Digest, size int64, modTime time.Time) error) error {
	return f.do(OpList, func() error { return f.store.List(ctx, fn) })
}

// faultyFile is a file whose reads may fail or lie.
type faultyFile struct {
	blob.File
	f       *Faulty
	corrupt bool
}

// Read implements [io.Reader].
func (r *faultyFile) Read(p []byte) (n int, err error) {
	off, err := r.File.Seek(0, io.SeekCurrent)
	if err != nil {
		return 0, err
	}
	return r.read(p, off, func() (int, error) { return r.File.Read(p) })
}

// ReadAt implements [io.ReaderAt].
func (r *faultyFile) ReadAt(p []byte, off int64) (int, error) {
	return r.read(p, off, func() (int, error) { return r.File.ReadAt(p, off) })
}

func (r *faultyFile) read(p []byte, off int64, read func() (int, error)) (n int, err error) {
	err = r.f.do(OpRead, func() (err error) {
		n, err = read()
		return err
	})
	if r.corrupt && off == 0 && n > 0 {
		p[0] ^= 1
	}
	return n, err
}
