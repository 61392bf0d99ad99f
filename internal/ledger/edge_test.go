package ledger_test

import (
	"bytes"
	"math/bits"
	"testing"

	"golang.org/x/mod/sumdb/tlog"
	"pgregory.net/rapid"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/internal/ledger"
)

func TestRootGolden(t *testing.T) {
	want := []string{
		"47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=",
		"o0Te2mOZ4HlwDxjKzMF07RHvGx0WQnHjqV2CxzRGaXc=",
		"lZegCMOZEI3cZ/iBYp372ha+Y/y3S0KJL3Sd3gjTNko=",
		"cuDRdZjUDBQ/FOv7BeLFxN3Wvr8WXzVpRDrEaViH0wI=",
		"f0l1rlueoFoa1OtGPV8gkkCHBI6XjPazQgNu7FyQV+Y=",
		"ta+cQRht2hND3naHOygForFCH9Goid6fqYsqjtjSFL4=",
		"d70eRx+g9NtyWfqljI/eA+03/quOABNUPbYlWS+Wwy8=",
		"tB1hsuDNzm6A+zectuO70A/7f7O6qCUZXvH4oOkWvX8=",
	}
	var e ledger.Edge
	for n, w := range want {
		root, err := e.Root()
		if err != nil {
			t.Fatal(err)
		}
		if got := root.String(); got != w {
			t.Errorf("got root %s of %d leaves, want %s", got, n, w)
		}
		e.Append(ledger.Leaf("event " + string(rune('0'+n))))
	}
}

// The edge stores and computes what tlog does, with nothing but its own bytes to
// go by: it is written and read again before every append.
func TestEdgeIsTheTree(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		hashes := stored{}
		var size int64
		var edge []byte
		for _, text := range rapid.SliceOfN(rapid.String(), 0, 200).Draw(t, "events") {
			e, err := ledger.ParseEdge(size, edge)
			if err != nil {
				t.Fatal(err)
			}
			got := e.Append(ledger.Leaf(text))
			want, err := tlog.StoredHashes(size, []byte(text), hashes)
			if err != nil {
				t.Fatal(err)
			}
			if len(got) != len(want) {
				t.Fatalf("append %d stores %d hashes, want %d", size, len(got), len(want))
			}
			for i, h := range got {
				if index := tlog.StoredHashIndex(0, size) + int64(i); h.Index != index || h.Hash != want[i] {
					t.Fatalf("append %d stores %v at %d, want %v at %d", size, h.Hash, h.Index, want[i], index)
				}
				if _, ok := hashes[h.Index]; ok {
					t.Fatalf("append %d stores another hash at %d", size, h.Index)
				}
				hashes[h.Index] = h.Hash
			}
			size, edge = e.Size, e.Bytes()
			if int64(len(hashes)) != tlog.StoredHashCount(size) {
				t.Fatalf("%d hashes are stored for %d leaves, want %d", len(hashes), size, tlog.StoredHashCount(size))
			}
			root, err := e.Root()
			if err != nil {
				t.Fatal(err)
			}
			if want, err := tlog.TreeHash(size, hashes); err != nil || root != want {
				t.Fatalf("got root %v of %d leaves, want %v (%v)", root, size, want, err)
			}
		}
	})
}

// A copy is what a batch falls back to when it aborts.
func TestEdgeIsAValue(t *testing.T) {
	var e ledger.Edge
	for range 7 {
		e.Append(ledger.Leaf("x"))
	}
	before, want := e, bytes.Clone(e.Bytes())
	for range 9 {
		e.Append(ledger.Leaf("y"))
	}
	if before.Size != 7 || !bytes.Equal(before.Bytes(), want) {
		t.Error("an append changed a copy of the edge")
	}
}

func TestParseEdgeRefuses(t *testing.T) {
	for _, tc := range []struct {
		name  string
		size  int64
		bytes int
	}{
		{"Negative", -1, 64 * 32},
		{"TooLarge", 1 << 60, 32},
		{"EmptyWithHash", 0, 32},
		{"TooShort", 3, 32},
		{"TooLong", 4, 64},
		{"Torn", 2, 31},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := ledger.ParseEdge(tc.size, make([]byte, tc.bytes))
			wantError(t, err, pedigree.CodeCorrupt, "edge")
		})
	}
	for _, size := range []int64{-1, 1 << 60} {
		e := ledger.Edge{Size: size}
		_, err := e.Root()
		wantError(t, err, pedigree.CodeCorrupt, "no log has that many")
	}
}

func FuzzParseEdge(f *testing.F) {
	f.Add(int64(0), []byte{})
	f.Add(int64(5), make([]byte, 64))
	f.Add(int64(1<<60-1), make([]byte, 60*32))
	f.Add(int64(-1), make([]byte, 32))
	f.Fuzz(func(t *testing.T, size int64, b []byte) {
		e, err := ledger.ParseEdge(size, b)
		if err != nil {
			if pedigree.CodeOf(err) != pedigree.CodeCorrupt {
				t.Fatalf("got code %s", pedigree.CodeOf(err))
			}
			return
		}
		if !bytes.Equal(e.Bytes(), b) {
			t.Fatalf("%x was read and %x written", b, e.Bytes())
		}
		if _, err := e.Root(); err != nil {
			t.Fatal(err)
		}
		if got, want := len(e.Append(tlog.Hash{})), 1+bits.TrailingZeros64(^uint64(size)); got != want {
			t.Fatalf("append %d stores %d hashes, want %d", size, got, want)
		}
	})
}

func BenchmarkEdgeAppend(b *testing.B) {
	var e ledger.Edge
	leaf := ledger.Leaf("x")
	for b.Loop() {
		e.Append(leaf)
	}
}
