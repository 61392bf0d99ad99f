package ledger_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/internal/ledger"
)

const origin = "models.example.org/log"

// counting is the reader 0, 1, 2 …: randomness that makes golden vectors.
type counting struct{ next byte }

func (c *counting) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = c.next
		c.next++
	}
	return len(p), nil
}

// seeded is randomness that differs by seed and is the same in every run.
func seeded(seed uint64) *rand.ChaCha8 {
	var s [32]byte
	for i := range 8 {
		s[i] = byte(seed >> (8 * i))
	}
	return rand.NewChaCha8(s)
}

func mustSigner(t testing.TB, seed uint64, origin string) *ledger.Signer {
	t.Helper()
	key, _, err := ledger.NewKey(seeded(seed), origin)
	if err != nil {
		t.Fatal(err)
	}
	s, err := ledger.NewSigner(key)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// stored is what a store keeps of the tree.
type stored map[int64]tlog.Hash

func (s stored) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	hashes := make([]tlog.Hash, len(indexes))
	for i, index := range indexes {
		h, ok := s[index]
		if !ok {
			return nil, fmt.Errorf("no hash is stored at %d", index)
		}
		hashes[i] = h
	}
	return hashes, nil
}

// testLog is a log as a server keeps it, in memory.
type testLog struct {
	t       testing.TB
	rand    *rand.ChaCha8
	signer  *ledger.Signer
	edge    ledger.Edge
	hashes  stored
	entries []pedigree.Entry
	now     time.Time
}

// newLog makes a log whose event 0 names the key of signer.
func newLog(t testing.TB, signer *ledger.Signer) *testLog {
	l := &testLog{
		t: t, rand: seeded(7), signer: signer, hashes: stored{},
		now: time.Date(2026, 5, 1, 10, 0, 0, 0, time.UTC),
	}
	l.append(pedigree.LogCreated, pedigree.Payload{"origin": signer.Origin(), "key": signer.Verifier()})
	return l
}

// append adds an event a second after the last one and returns its seq.
func (l *testLog) append(typ pedigree.EventType, payload pedigree.Payload) int64 {
	l.t.Helper()
	texts := make(map[string]json.RawMessage)
	for name, v := range payload {
		var b bytes.Buffer
		enc := json.NewEncoder(&b)
		enc.SetEscapeHTML(false)
		if err := enc.Encode(v); err != nil {
			l.t.Fatal(err)
		}
		texts[name] = bytes.TrimSpace(b.Bytes())
	}
	fields, err := ledger.Seal(texts, l.rand)
	if err != nil {
		l.t.Fatal(err)
	}
	l.now = l.now.Add(time.Second)
	ev := pedigree.Event{
		V: 1, Seq: l.edge.Size, Time: l.now, Type: typ, Actor: "act_1", Subject: "mdl_1",
		PayloadDigest: ledger.PayloadDigest(fields),
	}
	envelope := ev.Envelope()
	leaf := ledger.Leaf(envelope)
	l.entries = append(l.entries, pedigree.Entry{Envelope: envelope, Fields: fields, Seq: ev.Seq, Leaf: leaf[:]})
	for _, h := range l.edge.Append(leaf) {
		l.hashes[h.Index] = h.Hash
	}
	return ev.Seq
}

// erase takes fields of an event away and says so.
func (l *testLog) erase(seq int64, names ...string) {
	l.t.Helper()
	fields := slices.Clone(l.entries[seq].Fields)
	for i := range fields {
		if slices.Contains(names, fields[i].Name) {
			fields[i] = ledger.Erase(fields[i])
		}
	}
	l.entries[seq].Fields = fields
	l.append(pedigree.PayloadRedacted, pedigree.Payload{"event": seq, "fields": names})
}

// rotate gives the log the key of next.
func (l *testLog) rotate(next *ledger.Signer) {
	l.t.Helper()
	l.append(pedigree.KeyRotated, pedigree.Payload{"key": next.Verifier(), "checkpoint": l.checkpoint().Note})
	l.signer = next
}

func (l *testLog) root() tlog.Hash {
	l.t.Helper()
	root, err := l.edge.Root()
	if err != nil {
		l.t.Fatal(err)
	}
	return root
}

// checkpoint signs the log as it is.
func (l *testLog) checkpoint() pedigree.Checkpoint {
	l.t.Helper()
	return mustSign(l.t, l.signer, l.edge.Size, l.root())
}

// checkpointAt signs the log as it was with size events.
func (l *testLog) checkpointAt(size int64) pedigree.Checkpoint {
	l.t.Helper()
	root, err := tlog.TreeHash(size, l.hashes)
	if err != nil {
		l.t.Fatal(err)
	}
	return mustSign(l.t, l.signer, size, root)
}

func mustSign(t testing.TB, s *ledger.Signer, size int64, root tlog.Hash) pedigree.Checkpoint {
	t.Helper()
	cp, err := s.Sign(size, root)
	if err != nil {
		t.Fatal(err)
	}
	return cp
}

// withhold leaves only the leaf of an entry.
func withhold(e pedigree.Entry) pedigree.Entry {
	return pedigree.Entry{Seq: e.Seq, Leaf: e.Leaf}
}

// verify runs a Verifier over entries.
func verify(cfg ledger.VerifierConfig, entries []pedigree.Entry) (ledger.Report, error) {
	v, err := ledger.NewVerifier(cfg)
	if err != nil {
		return ledger.Report{}, err
	}
	for _, e := range entries {
		if err := v.Add(e); err != nil {
			return ledger.Report{}, err
		}
	}
	return v.Finish()
}

// wantError fails unless err has the code and says what.
func wantError(t *testing.T, err error, code pedigree.ErrorCode, what string) {
	t.Helper()
	if err == nil {
		t.Fatalf("got no error, want %s: %s", code, what)
	}
	if got := pedigree.CodeOf(err); got != code {
		t.Errorf("got code %s, want %s (%v)", got, code, err)
	}
	if !bytes.Contains([]byte(err.Error()), []byte(what)) {
		t.Errorf("got the error %q, want it to say %q", err, what)
	}
}
