package ledger

import (
	"bytes"
	"cmp"
	"slices"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/pedigree-ml/pedigree"
)

// VerifierConfig says what the caller of a [Verifier] knows of the log from elsewhere.
// Without any of it a Verifier shows only that a log fits itself.
type VerifierConfig struct {
	// Keys are public keys of the log that the caller trusts. The log must name one of
	// them, in event 0 or in a rotation; that key and those that follow it vouch for
	// checkpoints. None: the key of event 0 is trusted.
	Keys []string
	// Checkpoints are those that the caller has seen: each must be signed, and the log
	// must have had its root at its size. They have to be known before the first event,
	// because a Verifier keeps the right edge of the tree and nothing else of it.
	Checkpoints []pedigree.Checkpoint
}

// Verifier checks an export of a log, entry by entry. Its memory does not grow with
// the log, but for erased fields that no later event has announced yet. The first
// thing that is wrong ends it.
//
// It takes the events of the log itself (log.created, log.key_rotated) to be
// readable, and a redaction by whoever may read what it redacts; any other event may
// be withheld and then counts as its leaf.
type Verifier struct {
	pinned      map[string]bool // the keys of the config, in their one way to be written
	checkpoints []checkpoint    // by size

	edge   Edge
	last   time.Time
	origin string
	keys   []pedigree.LogKey
	// trusted is the index in keys of the first that the caller trusts; -1: none yet.
	trusted int
	// unannounced are the erased fields that no redaction has named yet.
	unannounced map[erased]bool
	report      Report
	err         error
}

type checkpoint struct {
	pedigree.Checkpoint
	root tlog.Hash
}

type erased struct {
	seq   int64
	field string
}

// Report is what a [Verifier] found in a log that is as it should be.
type Report struct {
	// Size is the number of events of the log, and Root the root of their tree.
	Size int64     `json:"size"`
	Root tlog.Hash `json:"root"`
	// Events is the number of events that could be read: of the others, Size - Events,
	// only the leaf was there.
	Events int64 `json:"events"`
	// Erased is the number of payload fields that were erased, as later events say.
	Erased int64 `json:"erased"`
	// Signed is the size of the largest checkpoint that was compared: the events from
	// it on are vouched for by nobody. 0: no checkpoint was given.
	Signed int64 `json:"signed"`
	// Keys are the public keys of the log, the present one last.
	Keys []pedigree.LogKey `json:"keys"`
}

// NewVerifier returns a Verifier that waits for event 0. It returns
// [pedigree.CodeInvalid] for a key that is not one and [pedigree.CodeCorrupt] for a
// checkpoint that is not one, or whose fields are not what its note says.
func NewVerifier(cfg VerifierConfig) (*Verifier, error) {
	v := &Verifier{pinned: make(map[string]bool), trusted: -1, unannounced: make(map[erased]bool)}
	for _, key := range cfg.Keys {
		_, key, err := parseKey(key)
		if err != nil {
			return nil, err
		}
		v.pinned[key] = true
	}
	for _, given := range cfg.Checkpoints {
		cp, err := parseCheckpoint(given.Note)
		if err != nil {
			return nil, err
		}
		if given.Origin != cp.Origin || given.Size != cp.Size || !bytes.Equal(given.Root, cp.Root) {
			return nil, corrupt("the checkpoint says %d events of %s, its signed text %d events of %s, or they have other roots",
				given.Size, clip(given.Origin), cp.Size, clip(cp.Origin))
		}
		root, err := toRoot(cp)
		if err != nil {
			return nil, err
		}
		v.checkpoints = append(v.checkpoints, checkpoint{cp, root})
	}
	slices.SortStableFunc(v.checkpoints, func(a, b checkpoint) int { return cmp.Compare(a.Size, b.Size) })
	return v, nil
}

// Add checks the next entry: that its seq follows, that envelope, leaf and fields
// belong together, that time does not go back, and what an event of the log itself
// says about keys and erasures. It returns [pedigree.CodeCorrupt], again for every
// call after the first that did.
func (v *Verifier) Add(entry pedigree.Entry) error {
	if v.err == nil {
		v.err = v.add(entry)
	}
	return v.err
}

func (v *Verifier) add(entry pedigree.Entry) error {
	seq := v.edge.Size
	if entry.Seq != seq {
		return corrupt("after %d events comes event %d, want %d: events are missing, doubled or out of order", seq, entry.Seq, seq)
	}
	ev, err := CheckEntry(entry)
	if err != nil {
		return err
	}
	withheld := entry.Envelope == ""
	if seq == 0 && (withheld || ev.Type != pedigree.LogCreated) {
		return corrupt("event 0 is %q, want %s with the key of the log", clip(string(ev.Type)), pedigree.LogCreated)
	}
	if !withheld {
		if err := v.read(&ev); err != nil {
			return err
		}
	}
	leaf, _ := toHash(entry.Leaf)
	v.edge.Append(leaf)
	return v.compareRoots()
}

// read takes what an event says that bears on the log itself.
func (v *Verifier) read(ev *pedigree.Event) error {
	v.report.Events++
	if ev.Time.Before(v.last) {
		return corrupt("event %d is of %s, before the one that precedes it (%s)", ev.Seq, ev.Time.Format(time.RFC3339Nano), v.last.Format(time.RFC3339Nano))
	}
	v.last = ev.Time
	for i := range ev.Fields {
		if ev.Fields[i].Erased() {
			v.report.Erased++
			v.unannounced[erased{ev.Seq, ev.Fields[i].Name}] = true
		}
	}
	switch ev.Type {
	case pedigree.LogCreated:
		return v.create(ev)
	case pedigree.KeyRotated:
		return v.rotate(ev)
	case pedigree.PayloadRedacted:
		return v.redact(ev)
	}
	return nil
}

// create takes the first key.
func (v *Verifier) create(ev *pedigree.Event) error {
	if ev.Seq != 0 {
		return corrupt("event %d creates the log, as event 0 did", ev.Seq)
	}
	v.origin = ev.String("origin")
	return v.addKey(ev)
}

// rotate takes the next key, where the one before it signed everything so far.
func (v *Verifier) rotate(ev *pedigree.Event) error {
	current := v.keys[len(v.keys)-1].Key
	cp, err := OpenCheckpoint(ev.String("checkpoint"), current)
	if err != nil {
		return corrupt("event %d gives the log a new key, but not under a checkpoint that its old key signed: %w", ev.Seq, err)
	}
	root, err := v.edge.Root()
	if err != nil {
		return err
	}
	if cp.Size != ev.Seq || !bytes.Equal(cp.Root, root[:]) {
		return corrupt("event %d gives the log a new key under a checkpoint of %d events that is not one of all the events before it", ev.Seq, cp.Size)
	}
	return v.addKey(ev)
}

func (v *Verifier) addKey(ev *pedigree.Event) error {
	verifier, key, err := parseKey(ev.String("key"))
	if err != nil {
		return corrupt("event %d: the key of the log: %w", ev.Seq, err)
	}
	if verifier.Name() != v.origin {
		return corrupt("event %d gives the log %s the key of %s", ev.Seq, clip(v.origin), clip(verifier.Name()))
	}
	id := keyID(verifier.Name(), verifier.KeyHash())
	for _, k := range v.keys {
		if strings.HasPrefix(k.Key, id+"+") {
			return corrupt("event %d gives the log the key %s, which it had from event %d on", ev.Seq, clip(id), k.FromSeq)
		}
	}
	if v.trusted < 0 && (len(v.pinned) == 0 || v.pinned[key]) {
		v.trusted = len(v.keys)
	}
	v.keys = append(v.keys, pedigree.LogKey{Key: key, FromSeq: ev.Seq, From: ev.Time})
	return nil
}

// redact strikes out the erased fields that a later event announces. One that is
// still readable is none of its business: an export may have read it before.
func (v *Verifier) redact(ev *pedigree.Event) error {
	seq := int64(-1)
	var fields []string
	if _, err := ev.Decode("event", &seq); err != nil {
		return err
	}
	if _, err := ev.Decode("fields", &fields); err != nil {
		return err
	}
	if seq < 0 || seq >= ev.Seq {
		return corrupt("event %d erases fields of event %d, which does not come before it", ev.Seq, seq)
	}
	for _, f := range fields {
		delete(v.unannounced, erased{seq, f})
	}
	return nil
}

// compareRoots compares with the checkpoints of the present size.
func (v *Verifier) compareRoots() error {
	i, found := slices.BinarySearchFunc(v.checkpoints, v.edge.Size, func(c checkpoint, size int64) int { return cmp.Compare(c.Size, size) })
	if !found {
		return nil
	}
	root, err := v.edge.Root()
	if err != nil {
		return err
	}
	for ; i < len(v.checkpoints) && v.checkpoints[i].Size == v.edge.Size; i++ {
		if cp := v.checkpoints[i]; cp.root != root {
			return corrupt("the first %d events have the root %s, the checkpoint of %d events says %s: one of them was changed, or it is another log's",
				v.edge.Size, root, cp.Size, cp.root)
		}
	}
	return nil
}

// Finish says that the log ends here, and returns what it held. It returns
// [pedigree.CodeCorrupt] where Add did, where the log is empty, where it ends before a
// checkpoint, where a checkpoint is not signed by the key of its time, where none of
// the caller's keys is the log's, and where a field is gone that no event erased.
func (v *Verifier) Finish() (Report, error) {
	if v.err == nil {
		v.err = v.finish()
	}
	if v.err != nil {
		return Report{}, v.err
	}
	return v.report, nil
}

func (v *Verifier) finish() error {
	if v.edge.Size == 0 {
		return corrupt("the log is empty; it has lost even the event that creates it")
	}
	if v.trusted < 0 {
		return corrupt("the key of the log is %s, not one of those given: it is another log", clip(v.keys[len(v.keys)-1].Key))
	}
	for _, cp := range v.checkpoints {
		if cp.Size > v.edge.Size {
			return corrupt("the log ends after %d events, the checkpoint is of %d: %d are missing at its end", v.edge.Size, cp.Size, cp.Size-v.edge.Size)
		}
		if err := v.checkSigner(cp); err != nil {
			return err
		}
		v.report.Signed = cp.Size
	}
	if err := v.checkErasures(); err != nil {
		return err
	}
	root, err := v.edge.Root()
	if err != nil {
		return err
	}
	v.report.Size, v.report.Root, v.report.Keys = v.edge.Size, root, v.keys
	return nil
}

// checkSigner checks that cp is signed by a key that the caller trusts, and by one
// that the log had not replaced before: such a key may have been replaced because it
// was stolen. A newer key may sign an older size.
func (v *Verifier) checkSigner(cp checkpoint) error {
	var keys []string
	for _, k := range v.keys {
		keys = append(keys, k.Key)
	}
	_, sigs, err := openCheckpoint(cp.Note, keys)
	if err != nil {
		return err
	}
	newest := 0
	for _, sig := range sigs {
		id := keyID(sig.Name, sig.Hash) + "+"
		newest = max(newest, slices.IndexFunc(keys, func(k string) bool { return strings.HasPrefix(k, id) }))
	}
	if newest < v.trusted {
		return corrupt("the checkpoint of %d events is signed by the key that the log had before event %d, when it got the first of those given",
			cp.Size, v.keys[v.trusted].FromSeq)
	}
	if newest+1 < len(v.keys) && cp.Size > v.keys[newest+1].FromSeq {
		return corrupt("the checkpoint of %d events is signed by a key that event %d had replaced", cp.Size, v.keys[newest+1].FromSeq)
	}
	return nil
}

func (v *Verifier) checkErasures() error {
	if len(v.unannounced) == 0 {
		return nil
	}
	first := erased{seq: v.edge.Size}
	for e := range v.unannounced {
		if e.seq < first.seq || e.seq == first.seq && e.field < first.field {
			first = e
		}
	}
	return corrupt("event %d: payload field %s is gone, and no later event says that it was erased (%d such fields in all)",
		first.seq, first.field, len(v.unannounced))
}
