package main

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/internal/ledger"
)

// exportLog writes a log of seven events as pedigree log export does: one field is erased
// and one event withheld. It returns a checkpoint of each size.
func exportLog(t *testing.T, origin string) (lines []string, checkpoints []pedigree.Checkpoint, key string) {
	t.Helper()
	random := rand.NewChaCha8([32]byte([]byte("a seed that is thirty-two bytes!")))
	private, key, err := ledger.NewKey(random, origin)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ledger.NewSigner(private)
	if err != nil {
		t.Fatal(err)
	}
	var edge ledger.Edge
	sign := func() {
		root, err := edge.Root()
		if err != nil {
			t.Fatal(err)
		}
		cp, err := signer.Sign(edge.Size, root)
		if err != nil {
			t.Fatal(err)
		}
		checkpoints = append(checkpoints, cp)
	}
	sign()
	for seq, ev := range []struct {
		typ     pedigree.EventType
		payload map[string]json.RawMessage
	}{
		{pedigree.LogCreated, map[string]json.RawMessage{"origin": json.RawMessage(`"` + origin + `"`), "key": json.RawMessage(`"` + key + `"`)}},
		{pedigree.ModelCreated, map[string]json.RawMessage{"project": json.RawMessage(`"prj_1"`), "name": json.RawMessage(`"fraud"`)}},
		{pedigree.ModelEdited, map[string]json.RawMessage{"owner": json.RawMessage(`"ada"`), "description": json.RawMessage(`"a < b & c, größer"`), "purpose": json.RawMessage(`null`)}},
		{pedigree.VersionRegistered, map[string]json.RawMessage{"params": json.RawMessage(`{"lr":1e-3,"b":"\u003c"}`), "parents": json.RawMessage(`[]`)}},
		{pedigree.PayloadRedacted, map[string]json.RawMessage{"event": json.RawMessage(`2`), "fields": json.RawMessage(`["owner"]`)}},
		{pedigree.ModelTagged, map[string]json.RawMessage{"key": json.RawMessage(`"secret"`), "value": json.RawMessage(`"x"`)}},
		{pedigree.VersionArchived, nil},
	} {
		fields, err := ledger.Seal(ev.payload, random)
		if err != nil {
			t.Fatal(err)
		}
		e := pedigree.Event{
			V: 1, Seq: int64(seq), Time: time.Date(2026, 5, 1, 10, 0, seq, 0, time.UTC), Type: ev.typ, Actor: "act_1", Subject: "mdl_1",
			PayloadDigest: ledger.PayloadDigest(fields),
		}
		text := e.Envelope()
		leaf := ledger.Leaf(text)
		edge.Append(leaf)
		sign()
		entry := pedigree.Entry{Envelope: text, Fields: fields, Seq: e.Seq, Leaf: leaf[:]}
		switch seq {
		case 2:
			i := slices.IndexFunc(fields, func(f pedigree.Field) bool { return f.Name == "owner" })
			fields[i] = ledger.Erase(fields[i])
		case 5:
			entry.Envelope, entry.Fields = "", nil
		}
		var b bytes.Buffer
		enc := json.NewEncoder(&b)
		enc.SetEscapeHTML(false)
		if err := enc.Encode(entry); err != nil {
			t.Fatal(err)
		}
		lines = append(lines, b.String())
	}
	return lines, checkpoints, key
}

// TestFollowsKeys rotates the key of a log twice: each key vouches for the checkpoints of
// the time from it on, and for none after its rotation by itself.
func TestFollowsKeys(t *testing.T) {
	const origin = "models.example.org/log"
	random := rand.NewChaCha8([32]byte([]byte("a seed that is thirty-two bytes!")))
	var edge ledger.Edge
	var lines, keys, notes []string // notes[i]: of the time of keys[i]
	var signers []*ledger.Signer
	sign := func(signer *ledger.Signer) string {
		root, err := edge.Root()
		if err != nil {
			t.Fatal(err)
		}
		cp, err := signer.Sign(edge.Size, root)
		if err != nil {
			t.Fatal(err)
		}
		return cp.Note
	}
	for i := range 3 {
		private, key, err := ledger.NewKey(random, origin)
		if err != nil {
			t.Fatal(err)
		}
		signer, err := ledger.NewSigner(private)
		if err != nil {
			t.Fatal(err)
		}
		typ, payload := pedigree.LogCreated, map[string]any{"origin": origin, "key": key}
		if i > 0 {
			typ, payload = pedigree.KeyRotated, map[string]any{"key": key, "checkpoint": sign(signers[i-1])}
		}
		texts := map[string]json.RawMessage{}
		for name, value := range payload {
			if texts[name], err = json.Marshal(value); err != nil {
				t.Fatal(err)
			}
		}
		fields, err := ledger.Seal(texts, random)
		if err != nil {
			t.Fatal(err)
		}
		e := pedigree.Event{V: 1, Seq: int64(i), Type: typ, Actor: "system", Subject: "log", PayloadDigest: ledger.PayloadDigest(fields)}
		leaf := ledger.Leaf(e.Envelope())
		edge.Append(leaf)
		line, err := json.Marshal(pedigree.Entry{Envelope: e.Envelope(), Fields: fields, Seq: e.Seq, Leaf: leaf[:]})
		if err != nil {
			t.Fatal(err)
		}
		lines, keys, signers = append(lines, string(line)+"\n"), append(keys, key), append(signers, signer)
		notes = append(notes, sign(signer))
	}
	stale := sign(signers[0]) // by a key that was replaced
	for _, tt := range []struct {
		key, note string
		ok        bool
	}{
		{keys[0], notes[0], true},
		{keys[0], notes[1], true},
		{keys[0], notes[2], true},
		{keys[1], notes[2], true},
		{keys[2], notes[2], true},
		{keys[1], notes[0], false},
		{keys[2], notes[1], false},
		{keys[0], stale, false},
		{keys[2], stale, false},
	} {
		err := run([]string{"--checkpoint", mustWrite(t, tt.note), "--key", tt.key}, strings.NewReader(strings.Join(lines, "")), &bytes.Buffer{})
		if (err == nil) != tt.ok {
			t.Errorf("key %s and checkpoint %q: got %v, want it accepted: %v", tt.key, tt.note, err, tt.ok)
		}
	}
}

func mustWrite(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestVerifiesWhatPedigreeExports(t *testing.T) {
	lines, checkpoints, key := exportLog(t, "models.example.org/log")
	export := strings.Join(lines, "")
	head := checkpoints[len(lines)]
	want := "verified 7 events, root " + tlog.Hash(head.Root).String() + "\n"

	var out bytes.Buffer
	if err := run(nil, strings.NewReader(export), &out); err != nil || out.String() != want {
		t.Errorf("from standard input: got %q and %v, want %q", out.String(), err, want)
	}
	for _, cp := range checkpoints {
		out.Reset()
		args := []string{"--checkpoint", mustWrite(t, cp.Note), "--key", key, mustWrite(t, export)}
		if err := run(args, nil, &out); err != nil || out.String() != want {
			t.Errorf("with the checkpoint of %d events: got %q and %v, want %q", cp.Size, out.String(), err, want)
		}
	}

	// The root at every size, by both programs.
	for size := range len(lines) + 1 {
		got, err := verify(strings.NewReader(strings.Join(lines[:size], "")), "", "")
		if want := tlog.Hash(checkpoints[size].Root).String(); err != nil || got.root() != want {
			t.Errorf("got root %s of %d events, want %s (%v)", got.root(), size, want, err)
		}
	}
}

func TestFindsTampering(t *testing.T) {
	lines, checkpoints, key := exportLog(t, "models.example.org/log")
	_, others, other := exportLog(t, "other.example.org/log")
	replace := func(line int, from, to string) func([]string) []string {
		return func(lines []string) []string {
			changed := strings.Replace(lines[line], from, to, 1)
			if changed == lines[line] {
				t.Fatalf("line %d has no %s: %s", line, from, lines[line])
			}
			lines[line] = changed
			return lines
		}
	}
	same := func(lines []string) []string { return lines }
	for _, tc := range []struct {
		name string
		edit func(lines []string) []string
		note string // "": the checkpoint of the whole log
		key  string // "": the key of the log
		what string
	}{
		{"Value", replace(1, `"fraud"`, `"freud"`), "", "", "event 1: its fields have the digest"},
		{"ValueEscaped", replace(2, `a < b`, `a \u003c b`), "", "", "event 2: its fields have the digest"},
		{"ValueRespaced", replace(3, `{"lr":1e-3`, `{"lr": 1e-3`), "", "", "event 3: its fields have the digest"},
		{"ValueNulled", replace(1, `"value":"fraud",`, ``), "", "", `event 1: field "name" is malformed`},
		{"SaltShort", replace(1, `"salt":"`, `"salt":"","was":"`), "", "", "is malformed"},
		{"Commitment", replace(2, `"commitment":"`, `"commitment":"AAAA`), "", "", `event 2: field "owner" is malformed`},
		{"FieldName", replace(1, `"name":"name"`, `"name":"name x\n"`), "", "", "is malformed"},
		{"Actor", replace(3, `act_1`, `act_2`), "", "", "event 3: the envelope does not have the hash of its leaf"},
		{"Withheld", replace(3, `"envelope"`, `"was"`), "", "", "event 3: the envelope does not have the hash of its leaf"},
		{"WithheldLeaf", replace(5, `"leaf":"`, `"leaf":"AAAA`), "", "", "event 5"},
		{"Seq", replace(3, `"seq":3,"leaf"`, `"seq":4,"leaf"`), "", "", "after 3 events comes event 4"},
		{"NotJSON", replace(3, `{`, ``), "", "", "after 3 events"},
		{"Missing", func(lines []string) []string { return slices.Delete(lines, 3, 4) }, "", "", "after 3 events comes event 4"},
		{"Swapped", func(lines []string) []string { lines[2], lines[3] = lines[3], lines[2]; return lines }, "", "", "after 2 events comes event 3"},
		{"MissingLast", func(lines []string) []string { return lines[:6] }, "", "", "ends after 6 events, the checkpoint is of 7"},
		{"Rewritten", func(lines []string) []string { // each line fits itself
			changed, _, _ := exportLog(t, "other.example.org/log")
			return changed
		}, "", "", "the first 7 events have the root"},
		{"CheckpointSize", same, strings.Replace(checkpoints[7].Note, "\n7\n", "\n6\n", 1), "", "not signed by the key"},
		{"CheckpointEarlierRoot", same, strings.Split(checkpoints[6].Note, "\n\n")[0] + "\n\n" + strings.Split(checkpoints[7].Note, "\n\n")[1], "", "not signed by the key"},
		{"CheckpointUnsigned", same, strings.Split(checkpoints[7].Note, "—")[0], "", "not signed by the key"},
		{"CheckpointOfAnotherLog", same, others[7].Note, "", "not signed by the key"},
		{"CheckpointAndKeyOfAnotherLog", same, others[7].Note, other, "the first 7 events have the root"},
		{"KeyOfAnotherLog", same, "", other, "not signed by the key"},
		{"NoKey", same, "", "hello", "the key is not"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if tc.note == "" {
				tc.note = checkpoints[7].Note
			}
			if tc.key == "" {
				tc.key = key
			}
			export := strings.Join(tc.edit(slices.Clone(lines)), "")
			var out bytes.Buffer
			err := run([]string{"--checkpoint", mustWrite(t, tc.note), "--key", tc.key}, strings.NewReader(export), &out)
			if err == nil || !strings.Contains(err.Error(), tc.what) {
				t.Errorf("got the error %v, want it to say %q", err, tc.what)
			}
			if out.Len() > 0 {
				t.Errorf("it says %q of a log that is not right", out.String())
			}
		})
	}
}

func TestRunRefuses(t *testing.T) {
	for _, args := range [][]string{{"--checkpoint", "missing"}, {"--key", "k"}, {"missing"}} {
		if err := run(args, strings.NewReader(""), &bytes.Buffer{}); err == nil {
			t.Errorf("%q was accepted", args)
		}
	}
}
