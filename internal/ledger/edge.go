package ledger

import (
	"math/bits"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/pedigree-ml/pedigree"
)

// maxLevels bounds a log at 2^60 events. The arithmetic of tlog does not end for
// sizes above 2^62, and sizes come from outside.
const maxLevels = 60

func validSize(size int64) bool { return size >= 0 && size < 1<<maxLevels }

// Edge is the right edge of a tree: the root of each complete subtree that makes up
// its Size leaves, which is all that an append needs to know of what came before. The
// zero Edge is the empty tree. An Edge is a value: a copy is independent, so that
// a batch that aborts leaves the one it began with.
type Edge struct {
	// Size is the number of leaves.
	Size int64
	// hashes holds the subtree of 2^level leaves, for each level whose bit is set
	// in Size; the others are remains. The last place is for the leaf that makes a
	// log too large.
	hashes [maxLevels + 1]tlog.Hash
}

// StoredHash is one hash that an append adds to the stored tree, at its index by
// [tlog.StoredHashIndex].
type StoredHash struct {
	Index int64
	Hash  tlog.Hash
}

// ParseEdge reads what [Edge.Bytes] wrote of a tree of that size. It returns
// [pedigree.CodeCorrupt] where b does not fit the size.
func ParseEdge(size int64, b []byte) (Edge, error) {
	if !validSize(size) {
		return Edge{}, corrupt("the edge of the tree belongs to %d events; no log has that many", size)
	}
	if want := bits.OnesCount64(uint64(size)) * tlog.HashSize; len(b) != want {
		return Edge{}, corrupt("the edge of a tree of %d events has %d bytes, want %d", size, len(b), want)
	}
	e := Edge{Size: size}
	for rest := uint64(size); rest != 0; {
		level := bits.Len64(rest) - 1
		b = b[copy(e.hashes[level][:], b):]
		rest &^= 1 << level
	}
	return e, nil
}

// Bytes returns the hashes of the edge, the largest subtree first. With Size they
// are the whole of it.
func (e *Edge) Bytes() []byte {
	b := make([]byte, 0, bits.OnesCount64(uint64(e.Size))*tlog.HashSize)
	for rest := uint64(e.Size); rest != 0; {
		level := bits.Len64(rest) - 1
		b = append(b, e.hashes[level][:]...)
		rest &^= 1 << level
	}
	return b
}

// Append adds a leaf and returns the hashes to be stored for it: the leaf's own and
// that of each subtree it completes. They are consecutive, and no other append adds
// one of the same index.
func (e *Edge) Append(leaf tlog.Hash) []StoredHash {
	index := tlog.StoredHashIndex(0, e.Size)
	stored := []StoredHash{{index, leaf}}
	level := 0
	for h := leaf; ; level++ {
		if e.Size>>level&1 == 0 {
			e.hashes[level] = h
			break
		}
		h = tlog.NodeHash(e.hashes[level], h)
		stored = append(stored, StoredHash{index + int64(level) + 1, h})
	}
	e.Size++
	return stored
}

// Root returns the root hash of the tree. It returns [pedigree.CodeCorrupt] for a
// Size that no log has: somebody else must have set it.
func (e *Edge) Root() (tlog.Hash, error) {
	if !validSize(e.Size) {
		return tlog.Hash{}, corrupt("the edge of the tree belongs to %d events; no log has that many", e.Size)
	}
	if e.Size == 0 {
		return emptyRoot, nil
	}
	level := bits.TrailingZeros64(uint64(e.Size))
	root := e.hashes[level]
	for level++; level < maxLevels; level++ {
		if e.Size>>level&1 == 1 {
			root = tlog.NodeHash(e.hashes[level], root)
		}
	}
	return root, nil
}

// emptyRoot is the root of a tree without leaves: the hash of nothing.
var emptyRoot, _ = tlog.TreeHash(0, nil)

// toHash reports false for anything that is not 32 bytes.
func toHash(b []byte) (h tlog.Hash, ok bool) {
	return h, copy(h[:], b) == len(h) && len(b) == len(h)
}

// toRoot reads the root of a checkpoint.
func toRoot(cp pedigree.Checkpoint) (tlog.Hash, error) {
	h, ok := toHash(cp.Root)
	if !ok || !validSize(cp.Size) {
		return h, corrupt("a checkpoint of %d events with a root of %d bytes is none", cp.Size, len(cp.Root))
	}
	return h, nil
}
