package link

import (
	"context"
	"errors"
	"io"
	"sync"

	"github.com/pedigree-ml/pedigree"
)

// source opens the bytes of one object, from offset on where it can, and says from
// where on they are. Its errors are [pedigree.Error]s: of CodeUnavailable when a second
// try may succeed.
type source func(ctx context.Context, offset int64) (body io.ReadCloser, start int64, err error)

// errTooLong ends the hashing of something whose size was not known before.
var errTooLong = errors.New("more bytes than are to be hashed")

// buffers are what bodies are read into.
var buffers = sync.Pool{New: func() any { b := make([]byte, 256<<10); return &b }}

// hash reads one object to its end. When the connection breaks it goes on once, from
// where it was if the source can.
func (r *reader) hash(ctx context.Context, open source) (pedigree.Digest, int64, error) {
	h := pedigree.NewHasher()
	err := r.retry(ctx, func() error {
		err := r.hashRest(ctx, &h, open)
		if err == nil || errors.Is(err, errTooLong) {
			return err
		}
		var own *pedigree.Error
		if errors.As(err, &own) {
			return err
		}
		return r.fail(pedigree.CodeUnavailable, "reading its bytes: %w", err)
	})
	if err != nil {
		return "", 0, err
	}
	return h.Digest(), h.Size(), nil
}

// hashRest hashes from where h is; h is replaced when the source begins anew.
func (r *reader) hashRest(ctx context.Context, h **pedigree.Hasher, open source) error {
	watched, alive, stop := r.watch(ctx)
	defer stop()
	body, start, err := open(watched, (*h).Size())
	if err != nil {
		return err
	}
	defer func() { _ = body.Close() }()
	if start != (*h).Size() {
		r.meter.add(-(*h).Size())
		*h = pedigree.NewHasher()
	}
	buf := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	for {
		n, err := body.Read(*buf)
		_, _ = (*h).Write((*buf)[:n])
		r.meter.add(int64(n))
		switch {
		case r.MaxBytes > 0 && (*h).Size() > r.MaxBytes:
			return errTooLong
		case err == io.EOF:
			return nil
		case err != nil || ctx.Err() != nil:
			return reason(watched, err)
		}
		alive()
	}
}

// object fills digest and size of a link to a single object.
func (r *reader) object(ctx context.Context, open source) error {
	digest, size, err := r.hash(ctx, open)
	if errors.Is(err, errTooLong) {
		r.note("its bytes were not hashed: it has more than %d", r.MaxBytes)
		return nil
	}
	if err != nil {
		return err
	}
	if r.info.Size != nil && *r.info.Size != size {
		return r.fail(pedigree.CodeConflict, "it was to have %d bytes, and has %d", *r.info.Size, size).WithFix("try again when nothing writes to it any more")
	}
	if r.info.Digest != "" && r.info.Digest != digest {
		return r.fail(pedigree.CodeCorrupt, "its bytes have the digest %s; its store says %s", digest, r.info.Digest)
	}
	r.info.Digest, r.info.Size = digest, &size
	return nil
}

// meter counts what is hashed. Several files are hashed at the same time, and whoever
// is told hears of one after the other.
type meter struct {
	mu          sync.Mutex
	done, total int64
	tell        func(done, total int64)
}

func (m *meter) start(total int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.done, m.total = 0, total
}

func (m *meter) add(n int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.done += n; m.tell != nil && n != 0 {
		m.tell(m.done, m.total)
	}
}
