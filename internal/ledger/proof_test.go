package ledger_test

import (
	"errors"
	"slices"
	"strconv"
	"testing"

	"golang.org/x/mod/sumdb/tlog"
	"pgregory.net/rapid"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/internal/ledger"
)

// tree is a log of numbered leaves, and its unsigned checkpoint at every size.
func tree(size int) (stored, []pedigree.Checkpoint) {
	hashes := stored{}
	var e ledger.Edge
	var checkpoints []pedigree.Checkpoint
	for n := range size + 1 {
		root, _ := e.Root()
		checkpoints = append(checkpoints, pedigree.Checkpoint{Origin: origin, Size: e.Size, Root: root[:]})
		for _, h := range e.Append(ledger.Leaf(strconv.Itoa(n))) {
			if n < size {
				hashes[h.Index] = h.Hash
			}
		}
	}
	return hashes, checkpoints
}

// Every proof of every pair of sizes up to 40 holds, and is the one that tlog makes.
func TestProofsHold(t *testing.T) {
	hashes, checkpoints := tree(40)
	for size := int64(0); size <= 40; size++ {
		for seq := range size {
			p, err := ledger.ProveInclusion(size, seq, hashes)
			if err != nil {
				t.Fatal(err)
			}
			if want := ledger.Leaf(strconv.FormatInt(seq, 10)); !slices.Equal(p.Leaf, want[:]) {
				t.Errorf("the proof of event %d has another leaf", seq)
			}
			if want, err := tlog.ProveRecord(size, seq, hashes); err != nil || len(p.Hashes) != len(want) {
				t.Errorf("event %d of %d: got %d hashes, want %d (%v)", seq, size, len(p.Hashes), len(want), err)
			}
			if err := ledger.CheckInclusion(p, checkpoints[size]); err != nil {
				t.Errorf("event %d of %d: %v", seq, size, err)
			}
		}
		for from := int64(0); from <= size; from++ {
			p, err := ledger.ProveConsistency(from, size, hashes)
			if err != nil {
				t.Fatal(err)
			}
			if p.Hashes == nil {
				t.Errorf("the proof for %d and %d has nil hashes; they would be null in JSON", from, size)
			}
			if err := ledger.CheckConsistency(p, checkpoints[from], checkpoints[size]); err != nil {
				t.Errorf("%d and %d: %v", from, size, err)
			}
		}
	}
}

// One changed bit anywhere in a proof or a root is found, and so is one hash more
// or less.
func TestProofsAreTamperEvident(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.IntRange(2, 60).Draw(t, "size")
		from := rapid.IntRange(1, size).Draw(t, "from")
		seq := rapid.IntRange(0, size-1).Draw(t, "seq")
		hashes, checkpoints := tree(size)
		in, err1 := ledger.ProveInclusion(int64(size), int64(seq), hashes)
		con, err2 := ledger.ProveConsistency(int64(from), int64(size), hashes)
		if err1 != nil || err2 != nil {
			t.Fatal(err1, err2)
		}
		older, newer := checkpoints[from], checkpoints[size]

		flip := func(b []byte) {
			i := rapid.IntRange(0, 8*len(b)-1).Draw(t, "bit")
			b[i/8] ^= 1 << (i % 8)
		}
		// One place is changed; places of hashes number all of them in turn.
		places := [][]byte{newer.Root}
		places = append(places, in.Leaf)
		places = append(places, in.Hashes...)
		nIn := len(places)
		places = append(places, older.Root)
		places = append(places, con.Hashes...)
		at := rapid.IntRange(0, len(places)-1).Draw(t, "place")
		flip(places[at])
		if at < nIn && ledger.CheckInclusion(in, newer) == nil {
			t.Fatalf("place %d of the inclusion proof was changed and it still holds", at)
		}
		if (at == 0 || at >= nIn) && from < size && ledger.CheckConsistency(con, older, newer) == nil {
			t.Fatalf("place %d of the consistency proof was changed and it still holds", at)
		}
	})
}

func TestCheckInclusionRefuses(t *testing.T) {
	hashes, checkpoints := tree(11)
	for _, tc := range []struct {
		name string
		edit func(p *pedigree.InclusionProof, cp *pedigree.Checkpoint)
		what string
	}{
		{"OtherEvent", func(p *pedigree.InclusionProof, _ *pedigree.Checkpoint) { p.Seq = 6 }, "event 6, as it was shown, is not in the log"},
		{"OtherLeaf", func(p *pedigree.InclusionProof, _ *pedigree.Checkpoint) {
			leaf := ledger.Leaf("forged")
			p.Leaf = leaf[:]
		}, "is not in the log of 11 events"},
		{"OtherSize", func(_ *pedigree.InclusionProof, cp *pedigree.Checkpoint) { *cp = checkpoints[10] }, "of a log of 11 events, the checkpoint of one of 10"},
		{"OtherRoot", func(_ *pedigree.InclusionProof, cp *pedigree.Checkpoint) { cp.Root = checkpoints[10].Root }, "is not in the log of 11 events"},
		{"HashMissing", func(p *pedigree.InclusionProof, _ *pedigree.Checkpoint) { p.Hashes = p.Hashes[1:] }, "is not in the log"},
		{"HashTooMuch", func(p *pedigree.InclusionProof, _ *pedigree.Checkpoint) { p.Hashes = append(p.Hashes, p.Leaf) }, "is not in the log"},
		{"NoHash", func(p *pedigree.InclusionProof, _ *pedigree.Checkpoint) { p.Hashes[0] = p.Hashes[0][:31] }, "not a hash"},
		{"NoLeaf", func(p *pedigree.InclusionProof, _ *pedigree.Checkpoint) { p.Leaf = nil }, "not a hash"},
		{"NoRoot", func(_ *pedigree.InclusionProof, cp *pedigree.Checkpoint) { cp.Root = nil }, "root of 0 bytes"},
		{"NegativeSeq", func(p *pedigree.InclusionProof, _ *pedigree.Checkpoint) { p.Seq = -1 }, "event -1"},
		{"SeqBeyond", func(p *pedigree.InclusionProof, _ *pedigree.Checkpoint) { p.Seq = 11 }, "event 11, which is not among the 11"},
		// tlog does not end on this one
		{"Endless", func(p *pedigree.InclusionProof, cp *pedigree.Checkpoint) { p.Size, cp.Size = 1<<62+1, 1<<62+1 }, "checkpoint"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p, err := ledger.ProveInclusion(11, 5, hashes)
			if err != nil {
				t.Fatal(err)
			}
			cp := checkpoints[11]
			tc.edit(&p, &cp)
			wantError(t, ledger.CheckInclusion(p, cp), pedigree.CodeCorrupt, tc.what)
		})
	}
}

func TestCheckConsistencyRefuses(t *testing.T) {
	hashes, checkpoints := tree(11)
	type proof = *pedigree.ConsistencyProof
	type checkpoint = *pedigree.Checkpoint
	junk := make([]byte, 32)
	for _, tc := range []struct {
		name       string
		from, size int64
		edit       func(p proof, older, newer checkpoint)
		what       string
	}{
		{"Shrunk", 6, 11, func(p proof, older, newer checkpoint) { *older, *newer = *newer, *older }, "had 11 events and has 6 now"},
		{"OtherOldRoot", 6, 11, func(_ proof, older, _ checkpoint) { older.Root = junk }, "does not begin with the 6 events"},
		{"OtherNewRoot", 6, 11, func(_ proof, _, newer checkpoint) { newer.Root = junk }, "does not begin with the 6 events"},
		{"OtherSizes", 6, 11, func(p proof, _, _ checkpoint) { p.From = 5 }, "the proof is for logs of 5 and 11"},
		{"HashMissing", 6, 11, func(p proof, _, _ checkpoint) { p.Hashes = p.Hashes[1:] }, "does not begin with"},
		{"HashTooMuch", 6, 11, func(p proof, _, _ checkpoint) { p.Hashes = append(p.Hashes, junk) }, "does not begin with"},
		{"NoHash", 6, 11, func(p proof, _, _ checkpoint) { p.Hashes[0] = nil }, "not a hash"},
		{"OtherLog", 6, 11, func(_ proof, older, _ checkpoint) { older.Origin = "other" }, "two logs, other and"},
		{"EqualSizes", 6, 6, func(_ proof, older, _ checkpoint) { older.Root = junk }, "two logs of 6 events"},
		{"EqualSizesHash", 6, 6, func(p proof, _, _ checkpoint) { p.Hashes = append(p.Hashes, junk) }, "it needs none"},
		{"FromNothingHash", 0, 6, func(p proof, _, _ checkpoint) { p.Hashes = append(p.Hashes, junk) }, "it needs none"},
		{"FromNothingRoot", 0, 6, func(_ proof, older, _ checkpoint) { older.Root = junk }, "not the empty tree's"},
		{"NoRoot", 6, 11, func(_ proof, _, newer checkpoint) { newer.Root = nil }, "root of 0 bytes"},
		{"Negative", 6, 11, func(p proof, older, _ checkpoint) { p.From, older.Size = -1, -1 }, "checkpoint of -1 events"},
		{"Endless", 6, 11, func(p proof, _, newer checkpoint) { p.Size, newer.Size = 1<<62+1, 1<<62+1 }, "checkpoint"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p, err := ledger.ProveConsistency(tc.from, tc.size, hashes)
			if err != nil {
				t.Fatal(err)
			}
			older, newer := checkpoints[tc.from], checkpoints[tc.size]
			tc.edit(&p, &older, &newer)
			wantError(t, ledger.CheckConsistency(p, older, newer), pedigree.CodeCorrupt, tc.what)
		})
	}
}

func TestProveRefuses(t *testing.T) {
	hashes, _ := tree(5)
	for _, tc := range []struct{ size, seq int64 }{{5, 5}, {5, -1}, {0, 0}, {-1, 0}, {1<<62 + 1, 3}} {
		_, err := ledger.ProveInclusion(tc.size, tc.seq, hashes)
		wantError(t, err, pedigree.CodeInvalid, "is not among")
	}
	for _, tc := range []struct{ from, size int64 }{{6, 5}, {-1, 5}, {0, -1}, {1, 1<<62 + 1}} {
		_, err := ledger.ProveConsistency(tc.from, tc.size, hashes)
		wantError(t, err, pedigree.CodeInvalid, "can't begin with")
	}

	broken := errors.New("the disk is gone")
	r := tlog.HashReaderFunc(func([]int64) ([]tlog.Hash, error) { return nil, broken })
	if _, err := ledger.ProveInclusion(5, 1, r); !errors.Is(err, broken) {
		t.Errorf("got %v, want the error of the reader", err)
	}
	if _, err := ledger.ProveConsistency(3, 5, r); !errors.Is(err, broken) {
		t.Errorf("got %v, want the error of the reader", err)
	}
	short := tlog.HashReaderFunc(func([]int64) ([]tlog.Hash, error) { return nil, nil })
	if _, err := ledger.ProveInclusion(1, 0, short); err == nil {
		t.Error("a proof was made without its leaf")
	}
}

func TestCheckProven(t *testing.T) {
	l := newLog(t, mustSigner(t, 1, origin))
	for i := range 6 {
		l.append(pedigree.ModelEdited, pedigree.Payload{"description": strconv.Itoa(i)})
	}
	l.erase(3, "description")
	cp := l.checkpoint()
	prove := func(seqs ...int64) []pedigree.Proven {
		var out []pedigree.Proven
		for _, seq := range seqs {
			p, err := ledger.ProveInclusion(cp.Size, seq, l.hashes)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, pedigree.Proven{Entry: l.entries[seq], Inclusion: p})
		}
		return out
	}
	events, err := ledger.CheckProven(prove(0, 2, 3, 7), cp)
	if err != nil || len(events) != 4 || events[1].String("description") != "1" || !events[2].Field("description").Erased() {
		t.Fatalf("got %v, %v", events, err)
	}
	for _, tt := range []struct {
		name   string
		change func(p []pedigree.Proven)
		want   string
	}{
		{"withheld", func(p []pedigree.Proven) { p[1].Entry = withhold(p[1].Entry) }, "event 2 is withheld"},
		{"doubled", func(p []pedigree.Proven) { p[1] = p[0] }, "event 0 follows event 0"},
		{"out of order", func(p []pedigree.Proven) { p[0], p[1] = p[1], p[0] }, "event 0 follows event 2"},
		{"the proof of another", func(p []pedigree.Proven) { p[1].Inclusion = p[0].Inclusion }, "the proof of another event"},
		{"a value changed", func(p []pedigree.Proven) {
			fields := slices.Clone(p[1].Entry.Fields)
			fields[0].Value = []byte(`"else"`)
			p[1].Entry.Fields = fields
		}, "event 2"},
		{"a hash changed", func(p []pedigree.Proven) { p[1].Inclusion.Hashes[0] = p[1].Inclusion.Leaf }, "not in the log"},
	} {
		p := prove(0, 2)
		tt.change(p)
		_, err := ledger.CheckProven(p, cp)
		t.Log(tt.name)
		wantError(t, err, pedigree.CodeCorrupt, tt.want)
	}
}
