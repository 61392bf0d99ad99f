package ledger

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/pedigree-ml/pedigree"
)

// saltSize is the length of a salt: as long as the hash, so that a commitment to
// "yes" or "no" says nothing about which it was once the salt is gone.
const saltSize = 32

// payloadHeader begins the text that a payload digest hashes. It names the format,
// so that no text of another format can have the same digest.
const payloadHeader = "pedigree-payload/1\n"

// Seal makes the fields of a payload, sorted by name, each with a fresh salt read
// from rand. It returns [pedigree.CodeInvalid] for a name that is not [a-z_]+ and for
// a value that is not compact, valid JSON in UTF-8, and the error of rand.
func Seal(fields map[string]json.RawMessage, rand io.Reader) ([]pedigree.Field, error) {
	sealed := make([]pedigree.Field, 0, len(fields))
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		value := fields[name]
		if !validName(name) {
			return nil, pedigree.Errorf(pedigree.CodeInvalid, "payload field %q: a name consists of a-z and _", clip(name))
		}
		if !compact(value) {
			return nil, pedigree.Errorf(pedigree.CodeInvalid, "payload field %s: its value is not compact JSON: %q", name, clip(string(value)))
		}
		salt := make([]byte, saltSize)
		if _, err := io.ReadFull(rand, salt); err != nil {
			return nil, fmt.Errorf("ledger: read a salt: %w", err)
		}
		sealed = append(sealed, pedigree.Field{Name: name, Value: value, Salt: salt})
	}
	return sealed, nil
}

// Commitment returns what the payload digest holds of f: computed from salt and
// value, or the stored one once they are erased.
func Commitment(f pedigree.Field) []byte {
	if f.Erased() {
		return f.Commitment
	}
	h := sha256.New()
	h.Write(f.Salt)
	h.Write([]byte(f.Name))
	h.Write([]byte{0})
	h.Write(f.Value)
	return h.Sum(nil)
}

// PayloadDigest returns the digest of a payload; it is the same before and after
// an erasure. The order of fields does not matter.
func PayloadDigest(fields []pedigree.Field) pedigree.Digest {
	byName := func(a, b pedigree.Field) int { return strings.Compare(a.Name, b.Name) }
	if !slices.IsSortedFunc(fields, byName) {
		fields = slices.SortedFunc(slices.Values(fields), byName)
	}
	text := []byte(payloadHeader)
	for _, f := range fields {
		text = append(text, f.Name...)
		text = append(text, ' ')
		text = hex.AppendEncode(text, Commitment(f))
		text = append(text, '\n')
	}
	return pedigree.DigestBytes(text)
}

// Erase returns f without value and salt; the commitment takes their place.
func Erase(f pedigree.Field) pedigree.Field {
	return pedigree.Field{Name: f.Name, Commitment: Commitment(f)}
}

// Leaf returns the hash that the tree holds of an event: of the exact text of its
// envelope.
func Leaf(envelope string) tlog.Hash { return tlog.RecordHash([]byte(envelope)) }

// CheckEntry checks one entry by itself and returns its event: the envelope parses
// and has the entry's seq, the leaf is its hash, and the fields are those that the
// payload digest commits to. Where the envelope is withheld there is only a leaf
// to look at, and the event has a seq and nothing else.
//
// It returns [pedigree.CodeCorrupt]. That the leaf is in the log is for
// [CheckInclusion] and [Verifier] to say.
func CheckEntry(entry pedigree.Entry) (pedigree.Event, error) {
	leaf, ok := toHash(entry.Leaf)
	if !ok {
		return pedigree.Event{}, corrupt("event %d: its leaf has %d bytes, want %d", entry.Seq, len(entry.Leaf), tlog.HashSize)
	}
	if entry.Envelope == "" {
		if len(entry.Fields) > 0 {
			return pedigree.Event{}, corrupt("event %d: it has payload fields, but the envelope that commits to them is missing", entry.Seq)
		}
		return pedigree.Event{Seq: entry.Seq}, nil
	}
	if Leaf(entry.Envelope) != leaf {
		return pedigree.Event{}, corrupt("event %d: the envelope does not have the hash of its leaf; its text was changed", entry.Seq)
	}
	ev, err := entry.Event()
	if err != nil {
		return pedigree.Event{}, err
	}
	if ev.Seq != entry.Seq {
		return pedigree.Event{}, corrupt("event %d: by its envelope it is event %d", entry.Seq, ev.Seq)
	}
	if err := checkFields(&ev); err != nil {
		return pedigree.Event{}, err
	}
	if got := PayloadDigest(ev.Fields); got != ev.PayloadDigest {
		return pedigree.Event{}, corrupt("event %d: its fields have the payload digest %s, the envelope says %s; a value or a salt was changed, added or removed",
			ev.Seq, got.Short(), ev.PayloadDigest.Short())
	}
	return ev, nil
}

// checkFields refuses what would make a payload digest ambiguous, and an erasure
// that left something behind or took what can't be erased.
func checkFields(ev *pedigree.Event) error {
	for i, f := range ev.Fields {
		var wrong string
		switch {
		case !validName(f.Name):
			return corrupt("event %d: a payload field is named %q; a name consists of a-z and _", ev.Seq, clip(f.Name))
		case i > 0 && f.Name <= ev.Fields[i-1].Name:
			wrong = "it is there twice or out of order"
		case f.Erased() && len(f.Commitment) != sha256.Size:
			wrong = "neither a value nor a commitment is there"
		case f.Erased() && len(f.Salt) > 0:
			wrong = "its value is erased, but the salt, by which the value can be guessed, is still there"
		case f.Erased() && !pedigree.Erasable(ev.Type, f.Name):
			wrong = fmt.Sprintf("it is erased, and that field of %s can't be", ev.Type)
		case f.Erased():
		case len(f.Salt) != saltSize:
			wrong = fmt.Sprintf("its salt has %d bytes, want %d", len(f.Salt), saltSize)
		case !json.Valid(f.Value) || !utf8.Valid(f.Value):
			wrong = "its value is not JSON"
		case len(f.Commitment) > 0 && !bytes.Equal(f.Commitment, Commitment(f)):
			wrong = "its value and salt do not have the commitment beside them"
		}
		if wrong != "" {
			return corrupt("event %d: payload field %s: %s", ev.Seq, f.Name, wrong)
		}
	}
	return nil
}

func validName(name string) bool {
	return name != "" && strings.Trim(name, "abcdefghijklmnopqrstuvwxyz_") == ""
}

// compact says whether value is JSON as an encoder writes it: another text of the
// same meaning would not survive the encoding of the answer that carries it.
func compact(value []byte) bool {
	var b bytes.Buffer
	return utf8.Valid(value) && json.Compact(&b, value) == nil && bytes.Equal(b.Bytes(), value)
}

func corrupt(format string, args ...any) error {
	return pedigree.Errorf(pedigree.CodeCorrupt, format, args...)
}

// clip shortens a text from outside for a message.
func clip(s string) string {
	const most = 80
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}
