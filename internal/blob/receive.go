package blob

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"sync"

	"github.com/pedigree-ml/pedigree"
)

// bufferSize is large enough that handing a buffer over costs nothing beside hashing it
// (about 150 µs), and small enough that it is still in the processor's cache when it is
// written: measured, 1 MiB is no faster and costs a tenth more processor time. A blob
// that fits in it takes one, any other takes three.
const bufferSize = 256 << 10

// buffers keeps idle buffers for the next blob.
type buffers struct{ pool sync.Pool }

func (b *buffers) get() *[bufferSize]byte {
	if p, ok := b.pool.Get().(*[bufferSize]byte); ok {
		return p
	}
	return new([bufferSize]byte)
}

func (b *buffers) put(p *[bufferSize]byte) { b.pool.Put(p) }

// receive copies r to w and checks on the way that it is blob d of the given size (below
// zero: not known). It returns the size. An error of w is returned as it is.
func receive(ctx context.Context, d pedigree.Digest, size int64, r io.Reader, w io.Writer, bufs *buffers) (int64, error) {
	if size >= 0 && size < math.MaxInt64 {
		r = io.LimitReader(r, size+1) // one more, to see that there is more
	}
	h := pedigree.NewHasher()
	err := copyHashing(ctx, w, h, r, bufs)
	got := h.Size()
	var source *sourceError
	if errors.As(err, &source) {
		got += int64(source.unhashed)
	}
	switch {
	case source != nil && errors.Is(err, io.ErrUnexpectedEOF):
		return got, pedigree.Errorf(pedigree.CodeCorrupt, "blob %s ended early: got %d bytes, wanted %s: %w", d, got, wanted(size), source.err)
	case source != nil:
		return got, fmt.Errorf("receive blob %s: %w", d, source.err)
	case err != nil:
		return got, err
	case size >= 0 && got > size:
		return got, pedigree.Errorf(pedigree.CodeCorrupt, "blob %s is too long: got more than %d bytes, wanted %d", d, size, size)
	case size >= 0 && got < size:
		return got, pedigree.Errorf(pedigree.CodeCorrupt, "blob %s ended early: got %d bytes, wanted %d", d, got, size)
	case h.Digest() != d:
		return got, pedigree.Errorf(pedigree.CodeCorrupt, "blob has the wrong digest: got %s (%d bytes), wanted %s", h.Digest(), got, d)
	}
	return got, nil
}

// receiveUnknown copies r to w and to h. Errors are those of receive, but for what a
// digest or a size would tell.
func receiveUnknown(ctx context.Context, h *pedigree.Hasher, r io.Reader, w io.Writer, bufs *buffers) error {
	err := copyHashing(ctx, w, h, r, bufs)
	var source *sourceError
	switch {
	case errors.As(err, &source) && errors.Is(err, io.ErrUnexpectedEOF):
		return pedigree.Errorf(pedigree.CodeCorrupt, "the upload ended early, after %d bytes: %w", h.Size()+int64(source.unhashed), source.err)
	case errors.As(err, &source):
		return fmt.Errorf("receive an upload: %w", source.err)
	}
	return err
}

func wanted(size int64) string {
	if size < 0 {
		return "more"
	}
	return fmt.Sprint(size)
}

// sourceError marks an error of the reader, so that a full disk behind the reader is
// not taken for a full disk of ours.
type sourceError struct {
	err      error
	unhashed int // bytes that came last and were not hashed
}

func (e *sourceError) Error() string { return e.err.Error() }
func (e *sourceError) Unwrap() error { return e.err }

// copyHashing copies r to w and to h. Reading, hashing and writing overlap: while one
// buffer is hashed by one goroutine and written by another, the caller's goroutine
// fills the next. A blob that fits in one buffer, as most files of a push do, starts
// no goroutine. When it returns, or when r panics, nobody holds w, h or a buffer.
func copyHashing(ctx context.Context, w io.Writer, h *pedigree.Hasher, r io.Reader, bufs *buffers) error {
	first := bufs.get()
	defer bufs.put(first)
	n, err := fill(ctx, r, first[:])
	if err == io.EOF {
		h.Write(first[:n])
		_, err = w.Write(first[:n])
		return err
	}
	if err != nil {
		return &sourceError{err, n}
	}

	// A ring of three: one is filled while a slower lane may be one buffer behind the
	// faster one, so that neither waits for the other's hiccups.
	second, third := bufs.get(), bufs.get()
	defer bufs.put(second)
	defer bufs.put(third)
	ring := [...]*[bufferSize]byte{first, second, third}

	lanes := [...]lane{startLane(h), startLane(w)}
	var failed error
	settle := func(pending int) { // until at most so many buffers are with each lane
		for i := range lanes {
			if err := lanes[i].settle(pending); err != nil && failed == nil {
				failed = err
			}
		}
	}
	defer func() { // before the buffers go back to the pool, also when r panics
		for i := range lanes {
			close(lanes[i].in)
			lanes[i].settle(0)
		}
	}()
	for i := 0; ; {
		for j := range lanes {
			lanes[j].send(ring[i][:n])
		}
		if err == io.EOF {
			settle(0)
			return failed
		}
		i = (i + 1) % len(ring)
		if settle(len(ring) - 1); failed != nil {
			return failed
		}
		if n, err = fill(ctx, r, ring[i][:]); err != nil && err != io.EOF {
			return &sourceError{err, n}
		}
	}
}

// fill reads until buf is full. Like a Read, it may return bytes with an error.
func fill(ctx context.Context, r io.Reader, buf []byte) (n int, err error) {
	for n < len(buf) && err == nil {
		if err := ctx.Err(); err != nil {
			return n, err
		}
		var m int
		m, err = r.Read(buf[n:])
		n += m
	}
	return n, err
}

// lane is a goroutine that writes buffers to one writer, in order. After an error it
// only hands them back.
type lane struct {
	in      chan []byte
	out     chan error
	pending int
}

func startLane(w io.Writer) lane {
	// As long as there are buffers in the ring, neither side waits to hand one over.
	l := lane{in: make(chan []byte, 3), out: make(chan error, 3)}
	go func() {
		var err error
		for b := range l.in {
			if err == nil {
				_, err = w.Write(b)
			}
			l.out <- err
		}
	}()
	return l
}

func (l *lane) send(b []byte) {
	l.pending++
	l.in <- b
}

// settle waits until at most so many buffers are pending.
func (l *lane) settle(pending int) (err error) {
	for ; l.pending > pending; l.pending-- {
		if e := <-l.out; e != nil {
			err = e
		}
	}
	return err
}
