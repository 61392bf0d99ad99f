package blobtest_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/internal/blob"
	"github.com/pedigree-ml/pedigree/internal/blob/blobtest"
)

// A Faulty without faults is a store like any other.
func TestFaultyIsAStore(t *testing.T) {
	blobtest.Run(t, func(*testing.T) blob.Store { return blobtest.NewFaulty(blob.NewMemory()) })
}

func TestFaulty(t *testing.T) {
	own := errors.New("own error")
	for _, test := range []struct {
		name   string
		fault  blobtest.Fault
		errs   []error // of four calls; errAny stands for the default error
		stored []bool  // after each Put
	}{
		{"before", blobtest.Fault{Op: blobtest.OpPut, Nth: 2}, []error{nil, errAny, nil, nil}, []bool{true, false, true, true}},
		{"after", blobtest.Fault{Op: blobtest.OpPut, Nth: 2, After: true}, []error{nil, errAny, nil, nil}, []bool{true, true, true, true}},
		{"always", blobtest.Fault{Op: blobtest.OpPut, Err: own}, []error{own, own, own, own}, []bool{false, false, false, false}},
		{"another operation", blobtest.Fault{Op: blobtest.OpDelete}, []error{nil, nil, nil, nil}, []bool{true, true, true, true}},
	} {
		t.Run(test.name, func(t *testing.T) {
			inner := blob.NewMemory()
			s := blobtest.NewFaulty(inner, test.fault)
			for i := range test.errs {
				b, d := blobtest.Bytes(uint64(i), 10)
				err := s.Put(t.Context(), d, -1, bytes.NewReader(b))
				if want := test.errs[i]; !errors.Is(err, want) && !(want == errAny && pedigree.CodeOf(err) == pedigree.CodeUnavailable) {
					t.Errorf("Put %d: got %v, want %v", i+1, err, want)
				}
				if _, err := inner.Stat(t.Context(), d); (err == nil) != test.stored[i] {
					t.Errorf("Put %d: stored: %v, want %v", i+1, err == nil, test.stored[i])
				}
			}
			if got := s.Calls(blobtest.OpPut); got != len(test.errs) {
				t.Errorf("Calls: got %d, want %d", got, len(test.errs))
			}
		})
	}
}

var errAny = errors.New("any")

func TestFaultyEveryOp(t *testing.T) {
	b, d := blobtest.Bytes(1, 1000)
	for op, call := range map[blobtest.Op]func(context.Context, blob.Store) error{
		blobtest.OpPut: func(ctx context.Context, s blob.Store) error { return s.Put(ctx, d, -1, bytes.NewReader(b)) },
		blobtest.OpOpen: func(ctx context.Context, s blob.Store) error {
			f, err := s.Open(ctx, d)
			if err == nil {
				f.Close()
			}
			return err
		},
		blobtest.OpStat:   func(ctx context.Context, s blob.Store) error { _, err := s.Stat(ctx, d); return err },
		blobtest.OpDelete: func(ctx context.Context, s blob.Store) error { return s.Delete(ctx, d) },
		blobtest.OpRead:   func(ctx context.Context, s blob.Store) error { return blob.Verify(ctx, s, d) },
		blobtest.OpList: func(ctx context.Context, s blob.Store) error {
			return s.List(ctx, func(pedigree.Digest, int64, time.Time) error { return nil })
		},
	} {
		for _, after := range []bool{false, true} {
			s := blobtest.NewFaulty(blob.NewMemory())
			blobtest.MustPut(t, s, b)
			s.SetFaults(blobtest.Fault{Op: op, After: after})
			if got := pedigree.CodeOf(call(t.Context(), s)); got != pedigree.CodeUnavailable {
				t.Errorf("%s (after: %v): got code %q, want %q", op, after, got, pedigree.CodeUnavailable)
			}
			s.SetFaults()
			blobtest.MustPut(t, s, b) // what Delete took away
			if err := call(t.Context(), s); err != nil {
				t.Errorf("%s, mended: %v", op, err)
			}
		}
	}
}

func TestFaultyCorrupt(t *testing.T) {
	s := blobtest.NewFaulty(blob.NewMemory())
	b, _ := blobtest.Bytes(1, 3<<20)
	d := blobtest.MustPut(t, s, b)
	s.Corrupt(d)
	if err := blob.Verify(t.Context(), s, d); pedigree.CodeOf(err) != pedigree.CodeCorrupt {
		t.Errorf("Verify: got %v, want code %q", err, pedigree.CodeCorrupt)
	}
	got := blobtest.MustGet(t, s, d)
	if bytes.Equal(got, b) || !bytes.Equal(got[1:], b[1:]) {
		t.Error("want just the first byte to be wrong")
	}
	f, err := s.Open(t.Context(), d)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	p := make([]byte, 10)
	if _, err := f.ReadAt(p, 0); err != nil || bytes.Equal(p, b[:10]) {
		t.Errorf("ReadAt(0): %v; want a wrong byte", err)
	}
	if _, err := f.ReadAt(p, 1); err != nil || !bytes.Equal(p, b[1:11]) {
		t.Errorf("ReadAt(1): %v; want the right bytes", err)
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(f, p); err != nil || bytes.Equal(p, b[:10]) {
		t.Errorf("Read at 0: %v; want a wrong byte", err)
	}
}
