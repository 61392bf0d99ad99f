package ledger

import (
	"bytes"
	"fmt"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/pedigree-ml/pedigree"
)

// ProveInclusion proves that the event seq is in the tree of size events, from the
// hashes that [Edge.Append] gave to be stored. It returns [pedigree.CodeInvalid] where
// it is not, and the error of r.
func ProveInclusion(size, seq int64, r tlog.HashReader) (pedigree.InclusionProof, error) {
	if !validSize(size) || seq < 0 || seq >= size {
		return pedigree.InclusionProof{}, pedigree.Errorf(pedigree.CodeInvalid, "event %d is not among the first %d events", seq, size)
	}
	leaf, err := r.ReadHashes([]int64{tlog.StoredHashIndex(0, seq)})
	if err == nil && len(leaf) != 1 {
		err = fmt.Errorf("%d hashes for one index", len(leaf))
	}
	if err != nil {
		return pedigree.InclusionProof{}, fmt.Errorf("ledger: read the leaf of event %d: %w", seq, err)
	}
	hashes, err := tlog.ProveRecord(size, seq, r)
	if err != nil {
		return pedigree.InclusionProof{}, fmt.Errorf("ledger: prove event %d of %d: %w", seq, size, err)
	}
	return pedigree.InclusionProof{Seq: seq, Size: size, Leaf: leaf[0][:], Hashes: toBytes(hashes)}, nil
}

// CheckInclusion checks that the leaf of proof is in the log that checkpoint
// is of. That the leaf is that of a given event is for [CheckEntry] to say, and that
// the checkpoint is signed for [OpenCheckpoint]. It returns [pedigree.CodeCorrupt].
func CheckInclusion(proof pedigree.InclusionProof, checkpoint pedigree.Checkpoint) error {
	root, err := toRoot(checkpoint)
	if err != nil {
		return err
	}
	leaf, ok := toHash(proof.Leaf)
	hashes, all := toHashes(proof.Hashes)
	switch {
	case !ok || !all:
		return corrupt("the proof for event %d holds something that is not a hash", proof.Seq)
	case proof.Size != checkpoint.Size:
		return corrupt("the proof for event %d is of a log of %d events, the checkpoint of one of %d", proof.Seq, proof.Size, checkpoint.Size)
	case proof.Seq < 0 || proof.Seq >= proof.Size:
		return corrupt("the proof is for event %d, which is not among the %d events of the checkpoint", proof.Seq, proof.Size)
	}
	if err := tlog.CheckRecord(hashes, proof.Size, root, proof.Seq, leaf); err != nil {
		return corrupt("event %d, as it was shown, is not in the log of %d events with the root %s", proof.Seq, proof.Size, root)
	}
	return nil
}

// ProveConsistency proves that the tree of the first from events is a prefix of that
// of size events. A tree of none and a tree itself need no hashes for it. It
// returns [pedigree.CodeInvalid] where from is larger than size, and the error of r.
func ProveConsistency(from, size int64, r tlog.HashReader) (pedigree.ConsistencyProof, error) {
	if !validSize(size) || from < 0 || from > size {
		return pedigree.ConsistencyProof{}, pedigree.Errorf(pedigree.CodeInvalid, "a log of %d events can't begin with one of %d", size, from)
	}
	var hashes tlog.TreeProof
	if from > 0 && from < size {
		var err error
		if hashes, err = tlog.ProveTree(size, from, r); err != nil {
			return pedigree.ConsistencyProof{}, fmt.Errorf("ledger: prove %d events to begin %d: %w", from, size, err)
		}
	}
	return pedigree.ConsistencyProof{From: from, Size: size, Hashes: toBytes(hashes)}, nil
}

// CheckConsistency checks that the log of the older checkpoint is a prefix of that of
// the newer: nothing in it was changed, removed or moved since. Both are taken to be
// signed, as [OpenCheckpoint] returns them. It returns [pedigree.CodeCorrupt].
func CheckConsistency(proof pedigree.ConsistencyProof, older, newer pedigree.Checkpoint) error {
	oldRoot, err := toRoot(older)
	if err != nil {
		return err
	}
	newRoot, err := toRoot(newer)
	if err != nil {
		return err
	}
	hashes, all := toHashes(proof.Hashes)
	switch {
	case older.Origin != newer.Origin:
		return corrupt("the checkpoints are of two logs, %s and %s", clip(older.Origin), clip(newer.Origin))
	case older.Size > newer.Size:
		return corrupt("the log had %d events and has %d now: events were removed", older.Size, newer.Size)
	case proof.From != older.Size || proof.Size != newer.Size:
		return corrupt("the proof is for logs of %d and %d events, the checkpoints of %d and %d", proof.From, proof.Size, older.Size, newer.Size)
	case !all:
		return corrupt("the proof for %d and %d events holds something that is not a hash", proof.From, proof.Size)
	case older.Size == newer.Size && !bytes.Equal(older.Root, newer.Root):
		return corrupt("two logs of %d events have the roots %s and %s: one of them was changed", older.Size, oldRoot, newRoot)
	case older.Size == 0 && oldRoot != emptyRoot:
		return corrupt("the checkpoint of no events has a root that is not the empty tree's")
	case older.Size == 0 || older.Size == newer.Size:
		if len(hashes) > 0 {
			return corrupt("the proof for %d and %d events holds %d hashes; it needs none", proof.From, proof.Size, len(hashes))
		}
		return nil
	}
	if err := tlog.CheckTree(hashes, newer.Size, newRoot, older.Size, oldRoot); err != nil {
		return corrupt("the log of %d events with the root %s does not begin with the %d events that had the root %s: an event was changed, removed or moved",
			newer.Size, newRoot, older.Size, oldRoot)
	}
	return nil
}

func toBytes(hashes []tlog.Hash) [][]byte {
	b := make([][]byte, len(hashes)) // never nil: an empty list in JSON, not null
	for i := range hashes {
		b[i] = hashes[i][:]
	}
	return b
}

func toHashes(b [][]byte) (hashes []tlog.Hash, ok bool) {
	for _, x := range b {
		h, ok := toHash(x)
		if !ok {
			return nil, false
		}
		hashes = append(hashes, h)
	}
	return hashes, true
}

// CheckProven checks that events are in the log that checkpoint is of, each as it is shown
// and once, in their order, and returns them. That the checkpoint is signed is for
// [OpenCheckpoint] to say. It returns [pedigree.CodeCorrupt], also for an event that is
// withheld: nothing follows from it.
func CheckProven(proven []pedigree.Proven, checkpoint pedigree.Checkpoint) ([]pedigree.Event, error) {
	events := make([]pedigree.Event, len(proven))
	for i, p := range proven {
		e, err := CheckEntry(p.Entry)
		if err != nil {
			return nil, err
		}
		switch {
		case p.Entry.Envelope == "":
			return nil, corrupt("event %d is withheld: only its hash is there", p.Entry.Seq)
		case i > 0 && e.Seq <= events[i-1].Seq:
			return nil, corrupt("event %d follows event %d: events are doubled or out of order", e.Seq, events[i-1].Seq)
		case p.Inclusion.Seq != e.Seq || !bytes.Equal(p.Inclusion.Leaf, p.Entry.Leaf):
			return nil, corrupt("event %d comes with the proof of another event", e.Seq)
		}
		if err := CheckInclusion(p.Inclusion, checkpoint); err != nil {
			return nil, err
		}
		events[i] = e
	}
	return events, nil
}
