package client

import (
	"context"
	"io"
	"os"
	"sync"
	"time"

	"github.com/pedigree-ml/pedigree"
)

// Progress is told how a push or a pull goes on; it is called often, and by one
// goroutine at a time.
type Progress func(ProgressEvent)

// ProgressEvent is one step of a push or a pull.
type ProgressEvent struct {
	// Stage is "hash", "upload" or "download".
	Stage string
	// Path is the file that went on.
	Path string
	// Done and Total are the bytes of all files of the stage.
	Done, Total int64
	// Files are those that are finished, of TotalFiles.
	Files, TotalFiles int
}

// meter adds up the progress of one stage.
type meter struct {
	mu    sync.Mutex
	tell  Progress
	event ProgressEvent
}

func newMeter(tell Progress, stage string, files int, total int64) *meter {
	return &meter{tell: tell, event: ProgressEvent{Stage: stage, TotalFiles: files, Total: total}}
}

// add says that n more bytes of path, and perhaps its end, are through.
func (m *meter) add(path string, n int64, finished bool) {
	if m.tell == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.event.Path = path
	m.event.Done += n
	if finished {
		m.event.Files++
	}
	m.tell(m.event)
}

// buffers keeps idle buffers of transfers.
var buffers = sync.Pool{New: func() any { return new([bufferSize]byte) }}

// sourceError marks an error of the side that is read.
type sourceError struct{ err error }

func (e *sourceError) Error() string { return e.err.Error() }
func (e *sourceError) Unwrap() error { return e.err }

// transfer copies src to its end to dst (nil: nowhere) and to h, and calls note after
// each piece. While one buffer is hashed the next is read and written, so that hashing
// costs no time of its own. An error of src comes back as a sourceError.
func transfer(ctx context.Context, h *pedigree.Hasher, dst io.Writer, src io.Reader, note func(n int)) (total int64, err error) {
	type piece struct {
		buf *[bufferSize]byte
		n   int
	}
	var full, free chan piece // a lane of its own for the hash, from the second piece on
	var ring []*[bufferSize]byte
	take := func() *[bufferSize]byte {
		if len(ring) < 3 {
			ring = append(ring, buffers.Get().(*[bufferSize]byte))
			return ring[len(ring)-1]
		}
		return (<-free).buf
	}
	hashed := make(chan struct{})
	defer func() {
		if full != nil {
			close(full)
			<-hashed
		}
		for _, buf := range ring {
			buffers.Put(buf)
		}
	}()
	for {
		buf := take()
		n, readErr := fill(ctx, src, buf[:])
		if readErr == nil && full == nil { // more than one piece
			full, free = make(chan piece, 3), make(chan piece, 3)
			go func() {
				for p := range full {
					_, _ = h.Write(p.buf[:p.n])
					free <- p
				}
				close(hashed)
			}()
		}
		if full != nil {
			full <- piece{buf, n}
		} else {
			_, _ = h.Write(buf[:n])
		}
		if dst != nil && n > 0 {
			if _, err := dst.Write(buf[:n]); err != nil {
				return total, err
			}
		}
		total += int64(n)
		if note != nil && n > 0 {
			note(n)
		}
		switch {
		case readErr == io.EOF:
			return total, nil
		case readErr != nil:
			return total, &sourceError{readErr}
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

// watch tells note how far f is read, until stop is called. The file itself is handed
// to the connection, which sends it without copying it through the process; a reader
// around it that counts would cost just that.
func watch(f *os.File, note func(n int64)) (stop func(size int64)) {
	done, ended := make(chan struct{}), make(chan struct{})
	var told int64
	go func() {
		defer close(ended)
		ticker := time.NewTicker(100 * time.Millisecond)
		defer ticker.Stop()
		for {
			select {
			case <-done:
				return
			case <-ticker.C:
				at, err := f.Seek(0, io.SeekCurrent)
				if err != nil { // closed: it was sent
					return
				}
				if at > told {
					note(at - told)
					told = at
				}
			}
		}
	}()
	return func(size int64) {
		close(done)
		<-ended
		if size != told {
			note(size - told)
		}
	}
}
