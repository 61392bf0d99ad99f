package ledger_test

import (
	"bytes"
	"crypto/rand"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"
	"pgregory.net/rapid"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/internal/ledger"
)

const (
	goldenSigner   = "PRIVATE+KEY+models.example.org/log+5d9a9328+AQABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f"
	goldenVerifier = "models.example.org/log+5d9a9328+AQOhB7/zzhC+HXDdGOdLwJln5NYwm6UNXx3chmQSVTG4"
	goldenNote     = "models.example.org/log\n7\ntB1hsuDNzm6A+zectuO70A/7f7O6qCUZXvH4oOkWvX8=\n\n" +
		"— models.example.org/log XZqTKBmoY9FmjYbtX+yQPZOX3cXmSqQvAwlDJ70hneAS6TFu/9D6cj3HSIxWRHIbHXIn0TTjm4TE2uf5TebB34itIQ4=\n"
)

func TestCheckpointGolden(t *testing.T) {
	signer, verifier, err := ledger.NewKey(&counting{}, origin)
	if err != nil {
		t.Fatal(err)
	}
	if signer != goldenSigner || verifier != goldenVerifier {
		t.Errorf("got keys\n%s\n%s, want\n%s\n%s", signer, verifier, goldenSigner, goldenVerifier)
	}
	s, err := ledger.NewSigner(goldenSigner + "\n") // as it is in a file
	if err != nil {
		t.Fatal(err)
	}
	if s.Origin() != origin || s.Verifier() != goldenVerifier {
		t.Errorf("the signer is of %s and has the public key %s", s.Origin(), s.Verifier())
	}
	var e ledger.Edge
	for _, text := range strings.Split("event 0,event 1,event 2,event 3,event 4,event 5,event 6", ",") {
		e.Append(ledger.Leaf(text))
	}
	root, err := e.Root()
	if err != nil {
		t.Fatal(err)
	}
	cp := mustSign(t, s, e.Size, root)
	if cp.Note != goldenNote {
		t.Errorf("got the note\n%s, want\n%s", cp.Note, goldenNote)
	}
	opened, err := ledger.OpenCheckpoint(goldenNote, goldenVerifier)
	if err != nil {
		t.Fatal(err)
	}
	if opened.Origin != cp.Origin || opened.Size != cp.Size || !bytes.Equal(opened.Root, cp.Root) || opened.Note != cp.Note {
		t.Errorf("opened %+v, signed %+v", opened, cp)
	}
}

// A server that has only the private key knows its public key, for any key and name.
func TestSignerKnowsItsPublicKey(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.StringMatching(`[a-zé./:_-]{1,20}`).Draw(t, "origin")
		key, verifier, err := ledger.NewKey(seeded(rapid.Uint64().Draw(t, "seed")), name)
		if err != nil {
			t.Fatal(err)
		}
		s, err := ledger.NewSigner(key)
		if err != nil {
			t.Fatal(err)
		}
		if s.Verifier() != verifier || s.Origin() != name {
			t.Fatalf("got %s of %s, want %s of %s", s.Verifier(), s.Origin(), verifier, name)
		}
	})
}

func TestNewKeyRefuses(t *testing.T) {
	for _, name := range []string{"", "a b", "a+b", "a\n", "a\u00a0b", "a\x00", "a\x7f", "\xff"} {
		_, _, err := ledger.NewKey(rand.Reader, name)
		wantError(t, err, pedigree.CodeInvalid, "can't be named")
	}
	if _, _, err := ledger.NewKey(bytes.NewReader(make([]byte, 31)), origin); err == nil {
		t.Error("a key was made of 31 random bytes")
	}
}

func TestNewSignerRefuses(t *testing.T) {
	for name, key := range map[string]string{
		"Empty":     "",
		"Public":    goldenVerifier,
		"Cut":       goldenSigner[:len(goldenSigner)-4],
		"Renamed":   strings.Replace(goldenSigner, "models.", "model.", 1),
		"OtherSeed": strings.Replace(goldenSigner, "AQAB", "AQAC", 1),
		"OtherKind": strings.Replace(goldenSigner, "AQAB", "AgAB", 1),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ledger.NewSigner(key)
			wantError(t, err, pedigree.CodeInvalid, "private key")
			if key != "" && strings.Contains(err.Error(), "AgMEBQ") {
				t.Errorf("the error holds the key: %v", err)
			}
		})
	}
}

func TestSignRefuses(t *testing.T) {
	s := mustSigner(t, 1, origin)
	for _, size := range []int64{-1, 1 << 60} {
		_, err := s.Sign(size, ledger.Leaf("x"))
		wantError(t, err, pedigree.CodeInvalid, "no log has")
	}
}

// signText signs any text as if it were a checkpoint.
func signText(t *testing.T, text string, keys ...string) string {
	t.Helper()
	var signers []note.Signer
	for _, key := range keys {
		s, err := note.NewSigner(key)
		if err != nil {
			t.Fatal(err)
		}
		signers = append(signers, s)
	}
	b, err := note.Sign(&note.Note{Text: text}, signers...)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestOpenCheckpoint(t *testing.T) {
	const root = "tB1hsuDNzm6A+zectuO70A/7f7O6qCUZXvH4oOkWvX8="
	otherKey, other, err := ledger.NewKey(seeded(2), origin)
	if err != nil {
		t.Fatal(err)
	}
	witnessKey, witness, err := ledger.NewKey(seeded(3), "witness.example.net")
	if err != nil {
		t.Fatal(err)
	}
	good := origin + "\n7\n" + root + "\n"
	golden := []string{goldenVerifier}
	for _, tc := range []struct {
		name string
		note string
		keys []string
		what string // "": it opens
	}{
		{"OK", goldenNote, golden, ""},
		{"AnyKey", goldenNote, []string{other, goldenVerifier}, ""},
		{"KeyTwice", goldenNote, []string{goldenVerifier, goldenVerifier + "\n"}, ""},
		{"WitnessUnknown", signText(t, good, witnessKey, goldenSigner), golden, ""},
		{"Empty", signText(t, origin+"\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n", goldenSigner), golden, ""},

		{"WrongKey", goldenNote, []string{other}, "signed by models.example.org/log+5d9a9328; the keys"},
		{"SignedByOther", signText(t, good, otherKey), golden, "signed by models.example.org/log+"},
		{"SizeChanged", strings.Replace(goldenNote, "\n7\n", "\n8\n", 1), golden, "invalid signature"},
		{"RootChanged", strings.Replace(goldenNote, "tB1h", "tB2h", 1), golden, "invalid signature"},
		{"OriginChanged", strings.Replace(goldenNote, "models.", "mödels.", 1), golden, "invalid signature"},
		{"SignatureChanged", strings.Replace(goldenNote, "QPZOX", "QPZOY", 1), golden, "invalid signature"},
		{"OfTheWitness", signText(t, good, witnessKey), []string{witness}, "signed by the key of witness"},
		{"WitnessWrong", strings.TrimSuffix(goldenNote, "\n") + "\n" +
			strings.Split(signText(t, good+"x\n", witnessKey), "\n\n")[1], []string{goldenVerifier, witness}, "invalid signature"},
		{"NoText", "", golden, "not a checkpoint"},
		{"NoSignature", good, golden, "not a checkpoint"},
		{"Prose", "hello", golden, "not a checkpoint"},
		{"EmptyRoot", signText(t, origin+"\n0\n"+root+"\n", goldenSigner), golden, "not the empty tree's"},
		{"LineTooMuch", signText(t, good+"more\n", goldenSigner), golden, "has 4 lines"},
		{"LineMissing", signText(t, origin+"\n7\n", goldenSigner), golden, "has 2 lines"},
		{"NoOrigin", signText(t, "\n7\n"+root+"\n", goldenSigner), golden, "not written as"},
		{"NegativeSize", signText(t, origin+"\n-7\n"+root+"\n", goldenSigner), golden, `its size is "-7"`},
		{"SizeTooLarge", signText(t, origin+"\n4611686018427387905\n"+root+"\n", goldenSigner), golden, "its size is"},
		{"SizePadded", signText(t, origin+"\n07\n"+root+"\n", goldenSigner), golden, "not written as"},
		{"SizeSigned", signText(t, origin+"\n+7\n"+root+"\n", goldenSigner), golden, "not written as"},
		{"RootShort", signText(t, origin+"\n7\ntB1h\n", goldenSigner), golden, "want 32 bytes"},
		{"RootLoose", signText(t, origin+"\n7\n"+strings.Replace(root, "X8=", "X9=", 1)+"\n", goldenSigner), golden, "not written as"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			cp, err := ledger.OpenCheckpoint(tc.note, tc.keys...)
			if tc.what != "" {
				wantError(t, err, pedigree.CodeCorrupt, tc.what)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if cp.Origin != origin || cp.Note != tc.note {
				t.Errorf("opened %+v", cp)
			}
		})
	}

	for name, keys := range map[string][]string{
		"NoKey":      nil,
		"Prose":      {"hello"},
		"PrivateKey": {"public key: " + goldenSigner},
		"Renamed":    {strings.Replace(goldenVerifier, "models.", "model.", 1)},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ledger.OpenCheckpoint(goldenNote, keys...)
			wantError(t, err, pedigree.CodeInvalid, "public key")
		})
	}
}

func FuzzOpenCheckpoint(f *testing.F) {
	f.Add(goldenNote)
	f.Add("")
	f.Add(strings.Replace(goldenNote, "\n7\n", "\n9223372036854775807\n", 1))
	f.Add(strings.Replace(goldenNote, "\n\n", "\nmore\n\n", 1))
	s, err := ledger.NewSigner(goldenSigner)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text string) {
		cp, err := ledger.OpenCheckpoint(text, goldenVerifier)
		if err != nil {
			if pedigree.CodeOf(err) != pedigree.CodeCorrupt {
				t.Fatalf("got code %s: %v", pedigree.CodeOf(err), err)
			}
			return
		}
		// What opens is what the key would sign: nobody else can write it.
		root := [32]byte(cp.Root)
		signed, err := s.Sign(cp.Size, root)
		if err != nil {
			t.Fatal(err)
		}
		if body, _, _ := strings.Cut(signed.Note, "\n\n"); !strings.HasPrefix(text, body+"\n\n") {
			t.Fatalf("%q opened as %+v", text, cp)
		}
	})
}
