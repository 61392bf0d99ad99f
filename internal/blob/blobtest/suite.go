// Package blobtest holds the suite that every [blob.Store] must pass, [Run], and a store
// that fails on demand, [Faulty], for tests of the packages that use one.
//
// It is imported by tests only.
package blobtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/internal/blob"
)

// Run checks a kind of store. newStore makes an empty one for each test; a kind with
// scratch space (files, parts of uploads) should check in a cleanup there that nothing
// is left in it.
func Run(t *testing.T, newStore func(t *testing.T) blob.Store) {
	for _, test := range []struct {
		name string
		run  func(*testing.T, blob.Store)
	}{
		{"RoundTrip", testRoundTrip},
		{"Receive", testReceive},
		{"Absent", testAbsent},
		{"InvalidDigest", testInvalidDigest},
		{"Rejected", testRejected},
		{"ReaderError", testReaderError},
		{"Cancelled", testCancelled},
		{"Present", testPresent},
		{"WrongSizeOfPresent", testWrongSizeOfPresent},
		{"ConcurrentSame", testConcurrentSame},
		{"ConcurrentDifferent", testConcurrentDifferent},
		{"PutWhileReading", testPutWhileReading},
		{"ReadAtAndSeek", testReadAtAndSeek},
		{"ServeContent", testServeContent},
		{"Delete", testDelete},
		{"List", testList},
		{"Verify", testVerify},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, newStore(t)) })
	}
}

// Bytes returns n bytes that depend on the seed alone, and their digest.
func Bytes(seed uint64, n int) ([]byte, pedigree.Digest) {
	var key [32]byte
	copy(key[:], fmt.Sprint("blobtest ", seed))
	b := make([]byte, n)
	rand.NewChaCha8(key).Read(b)
	return b, pedigree.DigestBytes(b)
}

// MustPut stores b and returns its digest.
func MustPut(t testing.TB, s blob.Store, b []byte) pedigree.Digest {
	t.Helper()
	d := pedigree.DigestBytes(b)
	if err := s.Put(t.Context(), d, int64(len(b)), bytes.NewReader(b)); err != nil {
		t.Fatalf("Put(%s, %d bytes): %v", d, len(b), err)
	}
	return d
}

// MustGet returns the bytes of d.
func MustGet(t testing.TB, s blob.Store, d pedigree.Digest) []byte {
	t.Helper()
	f := mustOpen(t, s, d)
	b, err := io.ReadAll(f)
	if err != nil {
		t.Fatalf("read %s: %v", d, err)
	}
	return b
}

func mustOpen(t testing.TB, s blob.Store, d pedigree.Digest) blob.File {
	t.Helper()
	f, err := s.Open(t.Context(), d)
	if err != nil {
		t.Fatalf("Open(%s): %v", d, err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// sizes are around every buffer border that a store may have.
var sizes = []int{0, 1, 10, 4095, 4096, 256<<10 - 1, 256 << 10, 256<<10 + 1, 512 << 10, 1<<20 - 1, 1 << 20, 1<<20 + 1, 2 << 20, 3<<20 + 7, 5 << 20}

func testRoundTrip(t *testing.T, s blob.Store) {
	for i, n := range sizes {
		for j, declared := range []int64{int64(n), -1} {
			for k, wrap := range []func(io.Reader) io.Reader{
				func(r io.Reader) io.Reader { return r },
				iotest.HalfReader,
				iotest.DataErrReader, // the last bytes come together with io.EOF
			} {
				want, d := Bytes(uint64(100*i+10*j+k), n)
				if err := s.Put(t.Context(), d, declared, wrap(bytes.NewReader(want))); err != nil {
					t.Fatalf("Put of %d bytes, declared as %d: %v", n, declared, err)
				}
				if got, err := s.Stat(t.Context(), d); err != nil || got != int64(n) {
					t.Fatalf("Stat: got %d, %v, want %d", got, err, n)
				}
				if got := mustOpen(t, s, d).Size(); got != int64(n) {
					t.Fatalf("Size: got %d, want %d", got, n)
				}
				if got := MustGet(t, s, d); !bytes.Equal(got, want) {
					t.Fatalf("blob of %d bytes, declared as %d: got %d other bytes", n, declared, len(got))
				}
			}
		}
	}
}

func testReceive(t *testing.T, s blob.Store) {
	for i, n := range sizes {
		want, d := Bytes(uint64(5000+i), n)
		for range 2 { // the second time it is there already
			got, size, err := s.Receive(t.Context(), bytes.NewReader(want))
			if err != nil || got != d || size != int64(n) {
				t.Fatalf("Receive of %d bytes: got %s, %d, %v, want %s", n, got, size, err, d)
			}
		}
		if got := MustGet(t, s, d); !bytes.Equal(got, want) {
			t.Fatalf("blob of %d bytes: got %d other bytes", n, len(got))
		}
	}
	_, _, err := s.Receive(t.Context(), io.MultiReader(strings.NewReader("half"), iotest.ErrReader(io.ErrUnexpectedEOF)))
	wantCode(t, "Receive of a part", err, pedigree.CodeCorrupt)
	wantAbsent(t, s, pedigree.DigestBytes([]byte("half")))
}

func testAbsent(t *testing.T, s blob.Store) {
	_, d := Bytes(1, 10)
	wantAbsent(t, s, d)
	wantCode(t, "Verify", blob.Verify(t.Context(), s, d), pedigree.CodeNotFound)
}

func testInvalidDigest(t *testing.T, s blob.Store) {
	_, good := Bytes(1, 10)
	for _, d := range []pedigree.Digest{
		"", "sha256:", "sha256:ab", "sha256:../../../../outside", "sha512:" + pedigree.Digest(good.Hex()),
		pedigree.Digest(good.Hex()), pedigree.Digest(strings.ToUpper(string(good))), good + "0",
		"sha256:" + pedigree.Digest(strings.Repeat("../", 21)+"x"),
	} {
		wantCode(t, "Put", s.Put(t.Context(), d, -1, strings.NewReader("x")), pedigree.CodeInvalid)
		_, err := s.Open(t.Context(), d)
		wantCode(t, "Open", err, pedigree.CodeInvalid)
		_, err = s.Stat(t.Context(), d)
		wantCode(t, "Stat", err, pedigree.CodeInvalid)
		wantCode(t, "Delete", s.Delete(t.Context(), d), pedigree.CodeInvalid)
	}
}

// testRejected puts what is not the announced blob.
func testRejected(t *testing.T, s blob.Store) {
	for i, n := range []int{10, 1 << 20, 3<<20 + 7} {
		b, d := Bytes(uint64(i), n)
		other, otherDigest := Bytes(uint64(i+1000), n)
		for _, c := range []struct {
			name  string
			size  int64
			r     io.Reader
			names []string // what the message must name: got and wanted
		}{
			{"wrong digest", int64(n), bytes.NewReader(other), []string{string(otherDigest), string(d)}},
			{"wrong digest, size unknown", -1, bytes.NewReader(other), []string{string(otherDigest), string(d)}},
			{"truncated", int64(n), bytes.NewReader(b[:n-1]), []string{string(d), fmt.Sprint(n), fmt.Sprint(n - 1)}},
			{"truncated, size unknown", -1, bytes.NewReader(b[:n-1]), []string{string(pedigree.DigestBytes(b[:n-1])), string(d)}},
			{"truncated, and the reader knows", int64(n), io.MultiReader(bytes.NewReader(b[:n-1]), iotest.ErrReader(io.ErrUnexpectedEOF)), []string{string(d), fmt.Sprint(n), fmt.Sprint(n - 1)}},
			{"nothing", int64(n), strings.NewReader(""), []string{string(d), fmt.Sprint(n)}},
			{"too long", int64(n), io.MultiReader(bytes.NewReader(b), strings.NewReader("x")), []string{string(d), fmt.Sprint(n)}},
			{"too long, size unknown", -1, io.MultiReader(bytes.NewReader(b), strings.NewReader("x")), []string{string(d)}},
			{"declared too small", int64(n) - 1, bytes.NewReader(b), []string{string(d), fmt.Sprint(n - 1)}},
			{"declared empty", 0, bytes.NewReader(b), []string{string(d)}},
		} {
			err := s.Put(t.Context(), d, c.size, c.r)
			wantCode(t, c.name, err, pedigree.CodeCorrupt)
			for _, name := range c.names {
				if err != nil && !strings.Contains(err.Error(), name) {
					t.Errorf("%s: error %q does not name %s", c.name, err, name)
				}
			}
			wantAbsent(t, s, d)
		}
		wantAbsent(t, s, otherDigest)
		wantListed(t, s)
		MustPut(t, s, b) // a failure does not stand in the way of the next try
		if err := s.Delete(t.Context(), d); err != nil {
			t.Fatal(err)
		}
	}
}

func testReaderError(t *testing.T, s blob.Store) {
	plain := errors.New("the wire broke")
	coded := pedigree.Errorf(pedigree.CodeTooLarge, "over the limit")
	for i, n := range []int{10, 1 << 20, 3<<20 + 7} {
		b, d := Bytes(uint64(i), n)
		for _, at := range []int{0, n / 2, n} {
			for _, size := range []int64{int64(n), -1} {
				for _, want := range []error{plain, coded} {
					r := io.MultiReader(bytes.NewReader(b[:at]), iotest.ErrReader(want))
					err := s.Put(t.Context(), d, size, r)
					if !errors.Is(err, want) || pedigree.CodeOf(err) != pedigree.CodeOf(want) {
						t.Errorf("reader fails after %d of %d bytes: got %v (%s), want %v", at, n, err, pedigree.CodeOf(err), want)
					}
					wantAbsent(t, s, d)
				}
			}
		}
		wantListed(t, s)
		MustPut(t, s, b)
		if err := s.Delete(t.Context(), d); err != nil {
			t.Fatal(err)
		}
	}
}

func testCancelled(t *testing.T, s blob.Store) {
	for i, n := range []int{10, 3<<20 + 7} {
		b, d := Bytes(uint64(i), n)
		for _, at := range []int{0, n / 2} {
			ctx, cancel := context.WithCancel(t.Context())
			r := io.MultiReader(
				bytes.NewReader(b[:at]),
				readerFunc(func([]byte) (int, error) { cancel(); return 0, io.EOF }), // goes on with the rest
				bytes.NewReader(b[at:]))
			if err := s.Put(ctx, d, int64(n), r); !errors.Is(err, context.Canceled) {
				t.Errorf("Put cancelled after %d of %d bytes: got %v, want context canceled", at, n, err)
			}
			wantAbsent(t, s, d)
			wantListed(t, s)
		}
	}

	b, d := Bytes(9, 100)
	MustPut(t, s, b)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, openErr := s.Open(ctx, d)
	_, statErr := s.Stat(ctx, d)
	for name, err := range map[string]error{
		"Put":    s.Put(ctx, d, -1, bytes.NewReader(b)),
		"Open":   openErr,
		"Stat":   statErr,
		"Delete": s.Delete(ctx, d),
		"Verify": blob.Verify(ctx, s, d),
		"List":   s.List(ctx, func(pedigree.Digest, int64, time.Time) error { return nil }),
	} {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s: got %v, want context canceled", name, err)
		}
	}
	wantListed(t, s, b)
}

// testPresent: a blob that is there already costs its sender nothing.
func testPresent(t *testing.T, s blob.Store) {
	for i, n := range []int{0, 10, 3 << 20} {
		b, _ := Bytes(uint64(i), n)
		d := MustPut(t, s, b)
		for _, size := range []int64{int64(n), -1} {
			r := iotest.ErrReader(errors.New("the body was read"))
			if err := s.Put(t.Context(), d, size, r); err != nil {
				t.Errorf("Put of a blob that is present (%d bytes, declared as %d): %v", n, size, err)
			}
		}
		if got := MustGet(t, s, d); !bytes.Equal(got, b) {
			t.Errorf("the second Put changed the blob of %d bytes", n)
		}
	}
}

// testWrongSizeOfPresent: a caller who is wrong about the size is told so, and does no harm.
func testWrongSizeOfPresent(t *testing.T, s blob.Store) {
	b, d := Bytes(1, 100)
	MustPut(t, s, b)
	wantCode(t, "Put", s.Put(t.Context(), d, 99, bytes.NewReader(b)), pedigree.CodeCorrupt)
	wantCode(t, "Put", s.Put(t.Context(), d, 3, strings.NewReader("bad")), pedigree.CodeCorrupt)
	wantListed(t, s, b)
}

func testConcurrentSame(t *testing.T, s blob.Store) {
	for i, n := range []int{100, 2<<20 + 5} {
		b, d := Bytes(uint64(i), n)
		var wg sync.WaitGroup
		for j := range 16 {
			wg.Go(func() {
				if j%4 == 3 { // one in four sends rubbish and must not win
					other, _ := Bytes(uint64(j+100), n)
					if err := s.Put(t.Context(), d, int64(n), bytes.NewReader(other)); err != nil && pedigree.CodeOf(err) != pedigree.CodeCorrupt {
						t.Errorf("Put of other bytes: %v", err)
					}
					return
				}
				if err := s.Put(t.Context(), d, int64(n), bytes.NewReader(b)); err != nil {
					t.Errorf("Put: %v", err)
				}
				if got, err := s.Stat(t.Context(), d); err != nil || got != int64(n) {
					t.Errorf("Stat after Put: got %d, %v, want %d", got, err, n)
				}
				if err := blob.Verify(t.Context(), s, d); err != nil {
					t.Errorf("Verify after Put: %v", err)
				}
			})
		}
		wg.Wait()
		wantListed(t, s, b)
		if err := s.Delete(t.Context(), d); err != nil {
			t.Fatal(err)
		}
	}
}

func testConcurrentDifferent(t *testing.T, s blob.Store) {
	var wg sync.WaitGroup
	all := make([][]byte, 48)
	for i := range all {
		all[i], _ = Bytes(uint64(i), i*5000)
		wg.Go(func() {
			if err := s.Put(t.Context(), pedigree.DigestBytes(all[i]), -1, bytes.NewReader(all[i])); err != nil {
				t.Errorf("Put: %v", err)
			}
		})
	}
	wg.Wait()
	wantListed(t, s, all...)
}

func testPutWhileReading(t *testing.T, s blob.Store) {
	b, d := Bytes(1, 3<<20)
	MustPut(t, s, b)
	f := mustOpen(t, s, d)
	got := make([]byte, len(b))
	if _, err := io.ReadFull(f, got[:1000]); err != nil {
		t.Fatal(err)
	}
	MustPut(t, s, b)
	MustPut(t, s, []byte("another one"))
	if err := s.Put(t.Context(), d, -1, bytes.NewReader(b)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(f, got[1000:]); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, b) {
		t.Error("a Put changed what an open reader sees")
	}
}

func testReadAtAndSeek(t *testing.T, s blob.Store) {
	b, d := Bytes(1, 100_000)
	MustPut(t, s, b)
	f := mustOpen(t, s, d)
	var wg sync.WaitGroup
	for i := range 8 { // ReadAt is for many goroutines at once
		wg.Go(func() {
			p := make([]byte, 1000)
			off := int64(i * 12_345)
			if n, err := f.ReadAt(p, off); err != nil || !bytes.Equal(p[:n], b[off:off+1000]) {
				t.Errorf("ReadAt(%d): %d bytes, %v", off, n, err)
			}
		})
	}
	wg.Wait()
	p := make([]byte, 100)
	if n, err := f.ReadAt(p, 99_950); n != 50 || err != io.EOF {
		t.Errorf("ReadAt over the end: got %d, %v, want 50, EOF", n, err)
	}
	if n, err := f.ReadAt(p, 100_000); n != 0 || err != io.EOF {
		t.Errorf("ReadAt at the end: got %d, %v, want 0, EOF", n, err)
	}
	for _, c := range []struct {
		off    int64
		whence int
		want   int64
	}{{10, io.SeekStart, 10}, {-100, io.SeekEnd, 99_900}, {0, io.SeekStart, 0}} {
		if got, err := f.Seek(c.off, c.whence); err != nil || got != c.want {
			t.Errorf("Seek(%d, %d): got %d, %v, want %d", c.off, c.whence, got, err, c.want)
		}
		if _, err := io.ReadFull(f, p); err != nil || !bytes.Equal(p, b[c.want:c.want+100]) {
			t.Errorf("read after Seek(%d, %d): %v, or other bytes", c.off, c.whence, err)
		}
	}
	if err := f.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	if _, err := f.Read(p); err == nil {
		t.Error("Read after Close: got no error")
	}
}

func testServeContent(t *testing.T, s blob.Store) {
	b, d := Bytes(1, 200_000)
	MustPut(t, s, b)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f, err := s.Open(r.Context(), d)
		if err != nil {
			t.Errorf("Open: %v", err)
			return
		}
		defer f.Close()
		http.ServeContent(w, r, "", time.Time{}, f)
	}))
	defer srv.Close()
	for _, c := range []struct {
		header string
		status int
		want   []byte
	}{
		{"", http.StatusOK, b},
		{"bytes=0-0", http.StatusPartialContent, b[:1]},
		{"bytes=100-199", http.StatusPartialContent, b[100:200]},
		{"bytes=150000-", http.StatusPartialContent, b[150_000:]},
		{"bytes=-5", http.StatusPartialContent, b[199_995:]},
		{"bytes=200000-", http.StatusRequestedRangeNotSatisfiable, nil},
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, srv.URL, nil)
		if err != nil {
			t.Fatal(err)
		}
		if c.header != "" {
			req.Header.Set("Range", c.header)
		}
		res, err := srv.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(res.Body)
		res.Body.Close()
		if err != nil || res.StatusCode != c.status || c.want != nil && !bytes.Equal(got, c.want) {
			t.Errorf("Range %q: status %d, %d bytes, %v; want %d, %d bytes", c.header, res.StatusCode, len(got), err, c.status, len(c.want))
		}
	}
}

func testDelete(t *testing.T, s blob.Store) {
	b, d := Bytes(1, 100)
	keep, _ := Bytes(2, 100)
	MustPut(t, s, b)
	MustPut(t, s, keep)
	for range 2 {
		if err := s.Delete(t.Context(), d); err != nil {
			t.Fatalf("Delete: %v", err)
		}
		wantAbsent(t, s, d)
	}
	_, never := Bytes(3, 100)
	if err := s.Delete(t.Context(), never); err != nil {
		t.Errorf("Delete of what was never there: %v", err)
	}
	wantListed(t, s, keep)
	MustPut(t, s, b)
	wantListed(t, s, b, keep)
}

func testList(t *testing.T, s blob.Store) {
	wantListed(t, s)
	var all [][]byte
	for i := range 40 {
		b, _ := Bytes(uint64(i), 100*i)
		MustPut(t, s, b)
		all = append(all, b)
	}
	wantListed(t, s, all...)

	times := make(map[pedigree.Digest]time.Time)
	for range 2 {
		err := s.List(t.Context(), func(d pedigree.Digest, _ int64, modTime time.Time) error {
			if was, ok := times[d]; ok && !was.Equal(modTime) {
				t.Errorf("time of %s: %v, and then %v", d, was, modTime)
			}
			if modTime.Location() != time.UTC {
				t.Errorf("time of %s: %v, want UTC", d, modTime)
			}
			times[d] = modTime
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}

	stop := errors.New("enough")
	calls := 0
	err := s.List(t.Context(), func(pedigree.Digest, int64, time.Time) error {
		if calls++; calls == 3 {
			return stop
		}
		return nil
	})
	if err != stop || calls != 3 {
		t.Errorf("List that is stopped: got %v after %d calls, want %v after 3", err, calls, stop)
	}

	// As the collector does it.
	err = s.List(t.Context(), func(d pedigree.Digest, _ int64, _ time.Time) error { return s.Delete(t.Context(), d) })
	if err != nil {
		t.Errorf("List that deletes: %v", err)
	}
	wantListed(t, s)
}

func testVerify(t *testing.T, s blob.Store) {
	for i, n := range sizes {
		b, d := Bytes(uint64(i), n)
		MustPut(t, s, b)
		if err := blob.Verify(t.Context(), s, d); err != nil {
			t.Errorf("Verify of %d bytes: %v", n, err)
		}
	}
}

// wantAbsent checks that nobody can see d.
func wantAbsent(t *testing.T, s blob.Store, d pedigree.Digest) {
	t.Helper()
	if f, err := s.Open(t.Context(), d); err == nil {
		f.Close()
		t.Errorf("Open(%s): it is there", d.Short())
	} else {
		wantCode(t, "Open", err, pedigree.CodeNotFound)
	}
	_, err := s.Stat(t.Context(), d)
	wantCode(t, "Stat", err, pedigree.CodeNotFound)
}

// wantListed checks that exactly these blobs are listed, in order, and right.
func wantListed(t *testing.T, s blob.Store, want ...[]byte) {
	t.Helper()
	left := make(map[pedigree.Digest]int64)
	for _, b := range want {
		left[pedigree.DigestBytes(b)] = int64(len(b))
	}
	var last pedigree.Digest
	err := s.List(t.Context(), func(d pedigree.Digest, size int64, _ time.Time) error {
		n, ok := left[d]
		if !ok || n != size {
			t.Errorf("List: got %s of %d bytes, want it: %v, of %d bytes", d.Short(), size, ok, n)
		}
		if d <= last {
			t.Errorf("List: %s comes after %s", d.Short(), last.Short())
		}
		last = d
		delete(left, d)
		return blob.Verify(t.Context(), s, d)
	})
	if err != nil {
		t.Errorf("List: %v", err)
	}
	for d := range left {
		t.Errorf("List: %s is missing", d.Short())
	}
}

func wantCode(t *testing.T, what string, err error, want pedigree.ErrorCode) {
	t.Helper()
	if got := pedigree.CodeOf(err); got != want {
		t.Errorf("%s: got error %v (code %q), want code %q", what, err, got, want)
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }
