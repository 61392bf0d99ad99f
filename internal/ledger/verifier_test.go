package ledger_test

import (
	"bytes"
	"encoding/json"
	"io"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/internal/ledger"
)

// fixture is a log with an erasure and a rotation:
//
//	0 log.created   1 model.created   2 model.edited (owner erased)   3 version.registered
//	4 payload.redacted of 2   5 log.key_rotated   6 model.tagged
func fixture(t testing.TB) (l *testLog, first, second *ledger.Signer) {
	first, second = mustSigner(t, 1, origin), mustSigner(t, 2, origin)
	l = newLog(t, first)
	l.append(pedigree.ModelCreated, pedigree.Payload{"project": "prj_1", "name": "fraud"})
	edited := l.append(pedigree.ModelEdited, pedigree.Payload{"owner": "ada@example.org", "description": "a < b & c"})
	l.append(pedigree.VersionRegistered, pedigree.Payload{"params": map[string]any{"lr": 0.1}, "parents": nil})
	l.erase(edited, "owner")
	l.rotate(second)
	l.append(pedigree.ModelTagged, pedigree.Payload{"key": "tier", "value": "high"})
	return l, first, second
}

func TestVerifierAccepts(t *testing.T) {
	l, first, second := fixture(t)
	before := mustSign(t, first, 5, [32]byte(l.checkpointAt(5).Root)) // as an auditor kept it before the rotation
	keys := []pedigree.LogKey{
		{Key: first.Verifier(), FromSeq: 0, From: time.Date(2026, 5, 1, 10, 0, 1, 0, time.UTC)},
		{Key: second.Verifier(), FromSeq: 5, From: time.Date(2026, 5, 1, 10, 0, 6, 0, time.UTC)},
	}
	withheld := slices.Clone(l.entries)
	withheld[3] = withhold(withheld[3])
	for _, tc := range []struct {
		name           string
		cfg            ledger.VerifierConfig
		entries        []pedigree.Entry
		events, signed int64
	}{
		{"NothingKnown", ledger.VerifierConfig{}, l.entries, 7, 0},
		{"FirstKey", ledger.VerifierConfig{Keys: []string{first.Verifier()}}, l.entries, 7, 0},
		{"SecondKey", ledger.VerifierConfig{Keys: []string{second.Verifier() + "\n"}}, l.entries, 7, 0},
		{"KeyOfElsewhereToo", ledger.VerifierConfig{Keys: []string{mustSigner(t, 3, origin).Verifier(), first.Verifier()}}, l.entries, 7, 0},
		{"Head", ledger.VerifierConfig{Checkpoints: []pedigree.Checkpoint{l.checkpoint()}}, l.entries, 7, 7},
		{"FirstKeyHead", ledger.VerifierConfig{Keys: []string{first.Verifier()}, Checkpoints: []pedigree.Checkpoint{l.checkpoint()}}, l.entries, 7, 7},
		{"SecondKeyHead", ledger.VerifierConfig{Keys: []string{second.Verifier()}, Checkpoints: []pedigree.Checkpoint{l.checkpoint()}}, l.entries, 7, 7},
		{"Smaller", ledger.VerifierConfig{Checkpoints: []pedigree.Checkpoint{before}}, l.entries, 7, 5},
		{"Many", ledger.VerifierConfig{Checkpoints: []pedigree.Checkpoint{l.checkpoint(), before, l.checkpointAt(6), before}}, l.entries, 7, 7},
		{"NewerKeyOlderSize", ledger.VerifierConfig{Checkpoints: []pedigree.Checkpoint{l.checkpointAt(3)}}, l.entries, 7, 3},
		{"OfNothing", ledger.VerifierConfig{Checkpoints: []pedigree.Checkpoint{l.checkpointAt(0)}}, l.entries, 7, 0},
		{"Withheld", ledger.VerifierConfig{Checkpoints: []pedigree.Checkpoint{l.checkpoint()}}, withheld, 6, 7},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := verify(tc.cfg, tc.entries)
			if err != nil {
				t.Fatal(err)
			}
			want := ledger.Report{Size: 7, Root: l.root(), Events: tc.events, Erased: 1, Signed: tc.signed, Keys: keys}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("got %+v, want %+v", got, want)
			}
		})
	}
}

// Each row changes one thing; each is found, and the message says what.
func TestVerifierFindsTampering(t *testing.T) {
	thief := mustSigner(t, 9, origin)
	elsewhere := mustSigner(t, 1, "other.example.org/log")

	// rebuild makes the entry fit itself again after its payload was changed, as a
	// server that rewrites history would.
	rebuild := func(e *pedigree.Entry, edit func(ev *pedigree.Event)) {
		ev, err := e.Event()
		if err != nil {
			t.Fatal(err)
		}
		ev.PayloadDigest = ledger.PayloadDigest(e.Fields)
		edit(&ev)
		e.Envelope = ev.Envelope()
		leaf := ledger.Leaf(e.Envelope)
		e.Leaf = leaf[:]
	}
	same := func(*pedigree.Event) {}
	field := func(e *pedigree.Entry, name string) *pedigree.Field {
		for i := range e.Fields {
			if e.Fields[i].Name == name {
				return &e.Fields[i]
			}
		}
		t.Fatalf("event %d has no field %s", e.Seq, name)
		return nil
	}
	type state struct {
		*testLog
		cfg           ledger.VerifierConfig
		first, second *ledger.Signer
	}
	for _, tc := range []struct {
		name string
		edit func(s *state)
		what string
	}{
		// one entry that does not fit itself
		{"Value", func(s *state) { field(&s.entries[1], "name").Value = json.RawMessage(`"freud"`) }, "event 1: its fields have the payload digest"},
		{"ValueRespaced", func(s *state) { field(&s.entries[1], "name").Value = json.RawMessage(`"fraud" `) }, "event 1: its fields have the payload digest"},
		{"ValueEscaped", func(s *state) {
			field(&s.entries[2], "description").Value = json.RawMessage(`"a \u003c b \u0026 c"`)
		}, "event 2: its fields have the payload digest"},
		{"ValueNotJSON", func(s *state) { field(&s.entries[1], "name").Value = json.RawMessage(`fraud`) }, "is not JSON"},
		{"ValueEmpty", func(s *state) { field(&s.entries[1], "name").Value = json.RawMessage{} }, "is not JSON"},
		{"Salt", func(s *state) { field(&s.entries[1], "name").Salt[31] ^= 1 }, "event 1: its fields have the payload digest"},
		{"SaltShort", func(s *state) { f := field(&s.entries[1], "name"); f.Salt = f.Salt[:31] }, "its salt has 31 bytes"},
		{"SaltShifted", func(s *state) { // the bytes hashed stay the same
			f := field(&s.entries[1], "name")
			f.Salt = append(slices.Clone(f.Salt), f.Name[0])
			f.Name = f.Name[1:]
		}, "its salt has 33 bytes"},
		{"FieldMissing", func(s *state) { s.entries[1].Fields = s.entries[1].Fields[1:] }, "event 1: its fields have the payload digest"},
		{"FieldAdded", func(s *state) {
			s.entries[1].Fields = append(s.entries[1].Fields, pedigree.Field{Name: "tags", Value: json.RawMessage("{}"), Salt: make([]byte, 32)})
		}, "event 1: its fields have the payload digest"},
		{"FieldTwice", func(s *state) {
			s.entries[1].Fields = append(s.entries[1].Fields, s.entries[1].Fields[1])
		}, "twice or out of order"},
		{"FieldsSwapped", func(s *state) { slices.Reverse(s.entries[1].Fields) }, "twice or out of order"},
		{"FieldRenamed", func(s *state) { field(&s.entries[1], "name").Name = "names" }, "event 1: its fields have the payload digest"},
		{"FieldsMerged", func(s *state) { // two lines of the digest's text as one name
			e := &s.entries[1]
			erased := ledger.Erase(e.Fields[1])
			erased.Name = e.Fields[0].Name + " " + hexOf(ledger.Commitment(e.Fields[0])) + "\n" + erased.Name
			e.Fields = []pedigree.Field{erased}
		}, "a name consists of"},
		{"ErasedCommitment", func(s *state) { field(&s.entries[2], "owner").Commitment[0] ^= 1 }, "event 2: its fields have the payload digest"},
		{"ErasedCommitmentShort", func(s *state) {
			f := field(&s.entries[2], "owner")
			f.Commitment = f.Commitment[:31]
		}, "neither a value nor a commitment"},
		{"ErasedSaltKept", func(s *state) { field(&s.entries[2], "owner").Salt = make([]byte, 32) }, "by which the value can be guessed"},
		{"CommitmentBeside", func(s *state) { field(&s.entries[1], "name").Commitment = make([]byte, 32) }, "do not have the commitment beside them"},
		{"Envelope", func(s *state) {
			s.entries[3].Envelope = strings.Replace(s.entries[3].Envelope, "act_1", "act_2", 1)
		}, "event 3: the envelope does not have the hash of its leaf"},
		{"EnvelopeSpace", func(s *state) { s.entries[3].Envelope += " " }, "event 3: the envelope does not have the hash"},
		{"Leaf", func(s *state) { s.entries[3].Leaf[0] ^= 1 }, "event 3: the envelope does not have the hash of its leaf"},
		{"LeafShort", func(s *state) { s.entries[3].Leaf = s.entries[3].Leaf[:31] }, "its leaf has 31 bytes"},
		{"LeafMissing", func(s *state) { s.entries[3].Leaf = nil }, "its leaf has 0 bytes"},
		{"WithheldWithFields", func(s *state) { s.entries[3].Envelope = "" }, "the envelope that commits to them is missing"},
		{"WithheldLeaf", func(s *state) {
			s.entries[6] = withhold(s.entries[6])
			s.entries[6].Leaf[0] ^= 1
		}, "the first 7 events have the root"},
		{"NotAnEnvelope", func(s *state) {
			e := &s.entries[3]
			e.Envelope = "[]"
			leaf := ledger.Leaf(e.Envelope)
			e.Leaf = leaf[:]
		}, "not valid JSON"},
		{"EnvelopeTwice", func(s *state) {
			e := &s.entries[3]
			e.Envelope += e.Envelope
			leaf := ledger.Leaf(e.Envelope)
			e.Leaf = leaf[:]
		}, "not valid JSON"},
		{"SeqInEnvelope", func(s *state) { rebuild(&s.entries[3], func(ev *pedigree.Event) { ev.Seq = 4 }) }, "event 3: by its envelope it is event 4"},
		{"UnknownFormat", func(s *state) { rebuild(&s.entries[3], func(ev *pedigree.Event) { ev.V = 2 }) }, "has version 2"},

		// entries that fit themselves and not each other
		{"Swapped", func(s *state) { s.entries[2], s.entries[3] = s.entries[3], s.entries[2] }, "after 2 events comes event 3"},
		{"Missing", func(s *state) { s.entries = slices.Delete(s.entries, 3, 4) }, "after 3 events comes event 4"},
		{"MissingFirst", func(s *state) { s.entries = s.entries[1:] }, "after 0 events comes event 1"},
		{"MissingLast", func(s *state) { s.entries = s.entries[:6] }, "1 are missing at its end"},
		{"MissingAll", func(s *state) { s.entries = nil }, "the log is empty"},
		{"Doubled", func(s *state) { s.entries = slices.Insert(s.entries, 3, s.entries[3]) }, "after 4 events comes event 3"},
		{"TimeBack", func(s *state) {
			rebuild(&s.entries[6], func(ev *pedigree.Event) { ev.Time = ev.Time.Add(-time.Minute) })
		}, "event 6 is of 2026-05-01T09:59:07Z, before"},
		{"TimeForth", func(s *state) {
			rebuild(&s.entries[1], func(ev *pedigree.Event) { ev.Time = ev.Time.Add(time.Minute) })
		}, "event 2 is of"},
		{"CreatedTwice", func(s *state) {
			rebuild(&s.entries[3], func(ev *pedigree.Event) { ev.Type = pedigree.LogCreated })
		}, "event 3 creates the log, as event 0 did"},
		{"NotCreated", func(s *state) {
			rebuild(&s.entries[0], func(ev *pedigree.Event) { ev.Type = pedigree.ModelCreated })
		}, "event 0 is \"model.created\""},
		{"CreationWithheld", func(s *state) { s.entries[0] = withhold(s.entries[0]) }, "event 0 is \"\""},

		// a history that was rewritten whole
		{"Rewritten", func(s *state) {
			e := &s.entries[1]
			field(e, "name").Value = json.RawMessage(`"freud"`)
			rebuild(e, same)
		}, "under a checkpoint of 5 events that is not one of all the events before it"},
		{"RewrittenAtTheEnd", func(s *state) {
			e := &s.entries[6]
			field(e, "value").Value = json.RawMessage(`"low"`)
			rebuild(e, same)
		}, "one of them was changed, or it is another log's"},
		{"RewrittenSinceCheckpoint", func(s *state) {
			s.cfg.Checkpoints = []pedigree.Checkpoint{mustSign(t, s.first, 3, [32]byte(s.checkpointAt(3).Root))}
			e := &s.entries[2]
			rebuild(e, func(ev *pedigree.Event) { ev.Actor = "act_9" })
		}, "the first 3 events have the root"},

		// checkpoints
		{"CheckpointForged", func(s *state) {
			s.cfg.Checkpoints[0] = mustSign(t, thief, s.edge.Size, s.root())
		}, "the checkpoint of 7 events is signed by"},
		{"CheckpointOtherRoot", func(s *state) {
			s.cfg.Checkpoints[0] = mustSign(t, s.second, s.edge.Size, ledger.Leaf("x"))
		}, "the checkpoint of 7 events says"},
		{"CheckpointOfLongerLog", func(s *state) {
			s.cfg.Checkpoints = append(s.cfg.Checkpoints, mustSign(t, s.second, 9, ledger.Leaf("x")))
		}, "ends after 7 events, the checkpoint is of 9: 2 are missing"},
		{"CheckpointOfAnotherLog", func(s *state) {
			other := newLog(t, elsewhere)
			s.cfg.Checkpoints[0] = other.checkpoint()
		}, "the checkpoint of 1 events says"},
		{"CheckpointOfAnotherName", func(s *state) {
			s.cfg.Checkpoints[0] = mustSign(t, elsewhere, s.edge.Size, s.root())
		}, "is signed by other.example.org/log"},
		{"CheckpointBySpentKey", func(s *state) {
			s.cfg.Checkpoints[0] = mustSign(t, s.first, s.edge.Size, s.root())
		}, "signed by a key that event 5 had replaced"},
		{"CheckpointByKeyBeforeTheTrusted", func(s *state) {
			s.cfg.Keys = []string{s.second.Verifier()}
			s.cfg.Checkpoints[0] = mustSign(t, s.first, 5, [32]byte(s.checkpointAt(5).Root))
		}, "the key that the log had before event 5"},
		{"CheckpointUnsigned", func(s *state) { s.cfg.Checkpoints[0].Note = "" }, "not a checkpoint"},
		{"CheckpointNotItsNote", func(s *state) { s.cfg.Checkpoints[0].Size = 6 }, "the checkpoint says 6 events of"},
		{"CheckpointNotItsNotesRoot", func(s *state) { s.cfg.Checkpoints[0].Root = make([]byte, 32) }, "other roots"},

		// keys
		{"WrongKey", func(s *state) { s.cfg.Keys = []string{thief.Verifier()} }, "not one of those given: it is another log"},
		{"ForgedUpToTheTrustedKey", func(s *state) { // a thief's log that ends in naming the true key
			trusted := s.first
			s.testLog = newLog(t, thief)
			s.rotate(trusted)
			s.cfg = ledger.VerifierConfig{
				Keys:        []string{trusted.Verifier()},
				Checkpoints: []pedigree.Checkpoint{mustSign(t, thief, 1, [32]byte(s.checkpointAt(1).Root))},
			}
		}, "the key that the log had before event 1"},
		{"KeyMissing", func(s *state) {
			e := &s.entries[0]
			e.Fields = e.Fields[1:]
			rebuild(e, same)
		}, "event 0: the key of the log"},
		{"KeyOfAnotherName", func(s *state) {
			e := &s.entries[0]
			field(e, "key").Value = json.RawMessage(`"` + elsewhere.Verifier() + `"`)
			rebuild(e, same)
		}, "gives the log models.example.org/log the key of other.example.org/log"},
		{"KeyErased", func(s *state) {
			f := field(&s.entries[0], "key")
			*f = ledger.Erase(*f)
		}, "that field of log.created can't be"},
		{"RotationByThief", func(s *state) {
			s.signer = thief
			s.rotate(mustSigner(t, 10, origin))
		}, "event 7 gives the log a new key, but not under a checkpoint that its old key signed"},
		{"RotationBySpentKey", func(s *state) {
			s.signer = s.first
			s.rotate(thief)
		}, "event 7 gives the log a new key, but not under"},
		{"RotationUnsigned", func(s *state) {
			s.append(pedigree.KeyRotated, pedigree.Payload{"key": thief.Verifier()})
		}, "event 7 gives the log a new key, but not under"},
		{"RotationOldCheckpoint", func(s *state) {
			s.append(pedigree.KeyRotated, pedigree.Payload{"key": thief.Verifier(), "checkpoint": s.checkpointAt(6).Note})
		}, "under a checkpoint of 6 events that is not one of all"},
		{"RotationOtherRoot", func(s *state) {
			s.append(pedigree.KeyRotated, pedigree.Payload{"key": thief.Verifier(), "checkpoint": mustSign(t, s.second, 7, ledger.Leaf("x")).Note})
		}, "under a checkpoint of 7 events that is not one of all"},
		{"RotationOtherSize", func(s *state) {
			s.append(pedigree.KeyRotated, pedigree.Payload{"key": thief.Verifier(), "checkpoint": mustSign(t, s.second, 8, s.root()).Note})
		}, "under a checkpoint of 8 events that is not one of all"},
		{"RotationBack", func(s *state) { s.rotate(s.first) }, "which it had from event 0 on"},
		{"RotationToAnotherName", func(s *state) { s.rotate(elsewhere) }, "the key of other.example.org/log"},
		{"RotationWithoutKey", func(s *state) {
			s.append(pedigree.KeyRotated, pedigree.Payload{"checkpoint": s.checkpoint().Note})
		}, "event 7: the key of the log"},

		// erasures
		{"ErasedSilently", func(s *state) {
			f := field(&s.entries[3], "params")
			*f = ledger.Erase(*f)
		}, "event 3: payload field params is gone, and no later event says that it was erased (1 such"},
		{"ErasedMoreThanSaid", func(s *state) {
			f := field(&s.entries[2], "description")
			*f = ledger.Erase(*f)
		}, "event 2: payload field description is gone"},
		{"ErasureWithheld", func(s *state) { s.entries[4] = withhold(s.entries[4]) }, "event 2: payload field owner is gone"},
		{"ErasedInAdvance", func(s *state) {
			s.append(pedigree.PayloadRedacted, pedigree.Payload{"event": 8, "fields": []string{"value"}})
		}, "event 7 erases fields of event 8, which does not come before it"},
		{"ErasureOfItself", func(s *state) {
			s.append(pedigree.PayloadRedacted, pedigree.Payload{"event": 7, "fields": []string{"reason"}})
		}, "event 7 erases fields of event 7"},
		{"ErasureOfNothing", func(s *state) { s.append(pedigree.PayloadRedacted, pedigree.Payload{"fields": []string{"a"}}) }, "event 7 erases fields of event -1"},
		{"ErasureMalformed", func(s *state) {
			s.append(pedigree.PayloadRedacted, pedigree.Payload{"event": 2, "fields": "owner"})
		}, "field fields"},
		{"StructureErased", func(s *state) { s.erase(1, "name") }, "field name: it is erased, and that field of model.created can't be"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			l, first, second := fixture(t)
			s := &state{l, ledger.VerifierConfig{Checkpoints: []pedigree.Checkpoint{l.checkpoint()}}, first, second}
			if _, err := verify(s.cfg, s.entries); err != nil {
				t.Fatalf("before the change: %v", err)
			}
			tc.edit(s)
			_, err := verify(s.cfg, s.entries)
			wantError(t, err, pedigree.CodeCorrupt, tc.what)
		})
	}
}

func hexOf(b []byte) string {
	const digits = "0123456789abcdef"
	var s strings.Builder
	for _, x := range b {
		s.WriteByte(digits[x>>4])
		s.WriteByte(digits[x&15])
	}
	return s.String()
}

func TestNewVerifierRefusesKey(t *testing.T) {
	_, err := ledger.NewVerifier(ledger.VerifierConfig{Keys: []string{goldenSigner}})
	wantError(t, err, pedigree.CodeInvalid, "is the private key of a log")
	if strings.Contains(err.Error(), "AQABAgME") {
		t.Errorf("the error holds a private key: %v", err)
	}
}

// The first fault ends it: nothing that follows can make it good.
func TestVerifierStaysFailed(t *testing.T) {
	l, _, _ := fixture(t)
	v, err := ledger.NewVerifier(ledger.VerifierConfig{})
	if err != nil {
		t.Fatal(err)
	}
	first := v.Add(l.entries[1])
	wantError(t, first, pedigree.CodeCorrupt, "after 0 events")
	if err := v.Add(l.entries[0]); err != first {
		t.Errorf("the right entry after a fault gives %v", err)
	}
	if _, err := v.Finish(); err != first {
		t.Errorf("Finish after a fault gives %v", err)
	}
}

// Random histories, with erasures, rotations and entries that are withheld, verify,
// against checkpoints of any of their sizes.
func TestVerifierAcceptsHistories(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		l := newLog(t, mustSigner(t, 1, origin))
		checkpoints := []pedigree.Checkpoint{l.checkpoint()}
		var live []int64
		var erased, keys int64
		keys = 1
		for range rapid.IntRange(0, 25).Draw(rt, "events") {
			switch kind := rapid.IntRange(0, 5).Draw(rt, "kind"); {
			case kind == 0:
				keys++
				l.rotate(mustSigner(t, uint64(keys), origin))
			case kind == 1 && len(live) > 0:
				i := rapid.IntRange(0, len(live)-1).Draw(rt, "erase")
				l.erase(live[i], "reason")
				live = slices.Delete(live, i, i+1)
				erased++
			default:
				live = append(live, l.append(pedigree.VersionArchived, pedigree.Payload{"reason": rapid.String().Draw(rt, "reason")}))
			}
			if rapid.Bool().Draw(rt, "checkpoint") {
				checkpoints = append(checkpoints, l.checkpoint())
			}
		}
		entries := slices.Clone(l.entries)
		withheld := int64(0)
		for _, seq := range live {
			if rapid.Bool().Draw(rt, "withhold") {
				entries[seq] = withhold(entries[seq])
				withheld++
			}
		}
		r, err := verify(ledger.VerifierConfig{Checkpoints: checkpoints}, entries)
		if err != nil {
			rt.Fatal(err)
		}
		if r.Root != l.root() || r.Erased != erased || int64(len(r.Keys)) != keys || r.Size != l.edge.Size || r.Events != l.edge.Size-withheld {
			rt.Fatalf("got %+v, want %d erased, %d keys, %d events, %d withheld", r, erased, keys, l.edge.Size, withheld)
		}
	})
}

// Any change of one byte of an export is found, unless the entries are still the same.
func TestNoByteChangesUnseen(t *testing.T) {
	l := newLog(t, mustSigner(t, 1, origin))
	l.append(pedigree.ModelEdited, pedigree.Payload{"owner": "ada", "purpose": nil})
	l.erase(1, "owner")
	cfg := ledger.VerifierConfig{Checkpoints: []pedigree.Checkpoint{l.checkpoint()}}

	var export bytes.Buffer
	enc := json.NewEncoder(&export)
	enc.SetEscapeHTML(false)
	for _, e := range l.entries {
		if err := enc.Encode(e); err != nil {
			t.Fatal(err)
		}
	}
	read := func(b []byte) (entries []pedigree.Entry, err error) {
		for dec := json.NewDecoder(bytes.NewReader(b)); ; {
			var e pedigree.Entry
			if err := dec.Decode(&e); err == io.EOF {
				return entries, nil
			} else if err != nil {
				return nil, err
			}
			entries = append(entries, e)
		}
	}
	want, err := read(export.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := verify(cfg, want); err != nil {
		t.Fatal(err)
	}
	for i := range export.Len() {
		for _, mask := range []byte{0x01, 0x10, 0x20, 0x80} {
			b := bytes.Clone(export.Bytes())
			b[i] ^= mask
			got, err := read(b)
			if err != nil || reflect.DeepEqual(got, want) {
				continue
			}
			if _, err := verify(cfg, got); pedigree.CodeOf(err) != pedigree.CodeCorrupt {
				t.Errorf("byte %d ^ %#x: got %v in …%s…", i, mask, err, b[max(0, i-40):min(len(b), i+40)])
			}
		}
	}
}

func BenchmarkVerifierAdd(b *testing.B) {
	l := newLog(b, mustSigner(b, 1, origin))
	for range 10_000 {
		l.append(pedigree.VersionRegistered, pedigree.Payload{"params": map[string]any{"lr": 0.1}, "metrics": map[string]any{"auc": 0.9}, "owner": "ada"})
	}
	b.ResetTimer()
	for n := 0; n < b.N; n += len(l.entries) {
		if _, err := verify(ledger.VerifierConfig{}, l.entries); err != nil {
			b.Fatal(err)
		}
	}
}
