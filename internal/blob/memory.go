package blob

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pedigree-ml/pedigree"
)

// Memory is a [Store] in memory, for tests of other packages. Make it with [NewMemory].
type Memory struct {
	// Now is the clock for the times that List tells; nil means that all of them are
	// the zero time. It must not be changed while the store is in use.
	Now func() time.Time

	mu    sync.RWMutex
	blobs map[pedigree.Digest]memoryBlob
	bufs  buffers
}

type memoryBlob struct {
	bytes   []byte // never changed
	modTime time.Time
}

// NewMemory returns an empty store.
func NewMemory() *Memory { return &Memory{blobs: make(map[pedigree.Digest]memoryBlob)} }

// Put implements [Store].
func (m *Memory) Put(ctx context.Context, d pedigree.Digest, size int64, r io.Reader) error {
	if err := begin(ctx, d); err != nil {
		return err
	}
	if b, ok := m.get(d); ok && (size < 0 || size == int64(len(b.bytes))) {
		return nil
	}
	var buf bytes.Buffer
	if _, err := receive(ctx, d, size, r, &buf, &m.bufs); err != nil {
		return err
	}
	b := memoryBlob{bytes: buf.Bytes()}
	if m.Now != nil {
		b.modTime = m.Now().UTC()
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.blobs[d]; !ok { // the first one wins, and its time stays
		m.blobs[d] = b
	}
	return nil
}

// Receive implements [Store].
func (m *Memory) Receive(ctx context.Context, r io.Reader) (pedigree.Digest, int64, error) {
	var buf bytes.Buffer
	h := pedigree.NewHasher()
	if err := receiveUnknown(ctx, h, r, &buf, &m.bufs); err != nil {
		return "", 0, err
	}
	return h.Digest(), h.Size(), m.Put(ctx, h.Digest(), h.Size(), &buf)
}

// Open implements [Store].
func (m *Memory) Open(ctx context.Context, d pedigree.Digest) (File, error) {
	if err := begin(ctx, d); err != nil {
		return nil, err
	}
	b, ok := m.get(d)
	if !ok {
		return nil, notFound(d)
	}
	r := &memoryReader{bytes: b.bytes}
	return &memoryFile{SectionReader: io.NewSectionReader(r, 0, int64(len(b.bytes))), r: r}, nil
}

// Stat implements [Store].
func (m *Memory) Stat(ctx context.Context, d pedigree.Digest) (int64, error) {
	if err := begin(ctx, d); err != nil {
		return 0, err
	}
	b, ok := m.get(d)
	if !ok {
		return 0, notFound(d)
	}
	return int64(len(b.bytes)), nil
}

// Delete implements [Store].
func (m *Memory) Delete(ctx context.Context, d pedigree.Digest) error {
	if err := begin(ctx, d); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.blobs, d)
	return nil
}

// List implements [Store]. It lists what was there when it began; fn may call the store.
func (m *Memory) List(ctx context.Context, fn func(d pedigree.Digest, size int64, modTime time.Time) error) error {
	m.mu.RLock()
	blobs := maps.Clone(m.blobs)
	m.mu.RUnlock()
	for _, d := range slices.Sorted(maps.Keys(blobs)) {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("list blobs: %w", err)
		}
		if err := fn(d, int64(len(blobs[d].bytes)), blobs[d].modTime); err != nil {
			return err
		}
	}
	return nil
}

func (m *Memory) get(d pedigree.Digest) (memoryBlob, bool) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	b, ok := m.blobs[d]
	return b, ok
}

// memoryFile fails after Close, as a real file does, so that tests find such uses.
type memoryFile struct {
	*io.SectionReader
	r *memoryReader
}

func (f *memoryFile) Close() error {
	if f.r.closed.Swap(true) {
		return fs.ErrClosed
	}
	return nil
}

type memoryReader struct {
	bytes  []byte
	closed atomic.Bool
}

func (r *memoryReader) ReadAt(p []byte, off int64) (int, error) {
	if r.closed.Load() {
		return 0, fs.ErrClosed
	}
	if off >= int64(len(r.bytes)) {
		return 0, io.EOF
	}
	n := copy(p, r.bytes[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}
