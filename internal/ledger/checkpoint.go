package ledger

import (
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/pedigree-ml/pedigree"
)

// NewKey makes a key pair for the log named origin, from 32 bytes of rand. signer is
// the private half, one line of text that only the server may read; verifier is the
// public half, for everybody. It returns [pedigree.CodeInvalid] for an origin that
// has white space, control characters or a plus sign, and the error of rand.
func NewKey(rand io.Reader, origin string) (signer, verifier string, err error) {
	unfit := func(r rune) bool { return r == '+' || unicode.IsSpace(r) || unicode.IsControl(r) }
	if origin == "" || !utf8.ValidString(origin) || strings.ContainsFunc(origin, unfit) {
		return "", "", pedigree.Errorf(pedigree.CodeInvalid,
			"the log can't be named %q: want text without white space and plus signs, such as models.example.org/log", clip(origin))
	}
	signer, verifier, err = note.GenerateKey(rand, origin)
	if err != nil {
		return "", "", fmt.Errorf("ledger: make a key: %w", err)
	}
	return signer, verifier, nil
}

// Signer signs checkpoints with the private key of a log.
type Signer struct {
	signer   note.Signer
	verifier string
}

// NewSigner reads a private key as [NewKey] made it; white space around it does not
// matter. It returns [pedigree.CodeInvalid] for anything else, and never says
// what was in it.
func NewSigner(key string) (*Signer, error) {
	key = strings.TrimSpace(key)
	signer, err := note.NewSigner(key)
	if err != nil {
		return nil, pedigree.Errorf(pedigree.CodeInvalid, "this is not the private key of a log: want PRIVATE+KEY+name+hash+base64")
	}
	parts := strings.SplitN(key, "+", 5) // the last one may hold plus signs itself
	seed, err := base64.StdEncoding.DecodeString(parts[len(parts)-1])
	if err != nil || len(seed) != 1+ed25519.SeedSize {
		return nil, pedigree.Errorf(pedigree.CodeInvalid, "this private key is not an Ed25519 key")
	}
	public := ed25519.NewKeyFromSeed(seed[1:]).Public().(ed25519.PublicKey)
	verifier, err := note.NewEd25519VerifierKey(signer.Name(), public)
	if err != nil {
		return nil, fmt.Errorf("ledger: public key of %s: %w", signer.Name(), err)
	}
	return &Signer{signer, verifier}, nil
}

// Verifier returns the public key, name+hash+base64.
func (s *Signer) Verifier() string { return s.verifier }

// Origin returns the name of the log, which is the name of the key.
func (s *Signer) Origin() string { return s.signer.Name() }

// Sign makes the checkpoint of a tree of size leaves with that root. The same
// arguments give the same text. It returns [pedigree.CodeInvalid] for a size that no
// log has.
func (s *Signer) Sign(size int64, root tlog.Hash) (pedigree.Checkpoint, error) {
	if !validSize(size) {
		return pedigree.Checkpoint{}, pedigree.Errorf(pedigree.CodeInvalid, "no log has %d events", size)
	}
	text, err := note.Sign(&note.Note{Text: formatCheckpoint(s.Origin(), size, root)}, s.signer)
	if err != nil {
		return pedigree.Checkpoint{}, fmt.Errorf("ledger: sign the checkpoint of %d events: %w", size, err)
	}
	return pedigree.Checkpoint{Origin: s.Origin(), Size: size, Root: root[:], Note: string(text)}, nil
}

// OpenCheckpoint reads a signed checkpoint and checks that one of keys signed it.
// Signatures of others beside it, such as those of witnesses, are let be. It returns
// [pedigree.CodeCorrupt] where the text is no checkpoint, or a signature is wrong or
// of none of the keys, and [pedigree.CodeInvalid] where a key is not one.
func OpenCheckpoint(noteText string, keys ...string) (pedigree.Checkpoint, error) {
	cp, _, err := openCheckpoint(noteText, keys)
	return cp, err
}

// openCheckpoint returns with the checkpoint the signatures that were checked.
func openCheckpoint(noteText string, keys []string) (pedigree.Checkpoint, []note.Signature, error) {
	var known []note.Verifier
	seen := make(map[string]bool)
	for _, key := range keys {
		v, key, err := parseKey(key)
		if err != nil {
			return pedigree.Checkpoint{}, nil, err
		}
		if !seen[key] { // a verifier that is listed twice would be ambiguous
			known = append(known, v)
		}
		seen[key] = true
	}
	if len(known) == 0 {
		return pedigree.Checkpoint{}, nil, pedigree.Errorf(pedigree.CodeInvalid, "a checkpoint can't be checked without the public key of its log")
	}

	cp, err := parseCheckpoint(noteText)
	if err != nil {
		return pedigree.Checkpoint{}, nil, err
	}
	n, err := note.Open([]byte(noteText), note.VerifierList(known...))
	var unverified *note.UnverifiedNoteError
	switch {
	case errors.As(err, &unverified):
		return pedigree.Checkpoint{}, nil, corrupt("the checkpoint of %d events is signed by %s; the keys to check it are %s",
			cp.Size, signers(unverified.Note.UnverifiedSigs), keyNames(known))
	case err != nil:
		return pedigree.Checkpoint{}, nil, corrupt("the checkpoint of %d events: %w", cp.Size, err)
	}
	for _, sig := range n.Sigs {
		if sig.Name != cp.Origin {
			return pedigree.Checkpoint{}, nil, corrupt("the checkpoint is of the log %s and signed by the key of %s", clip(cp.Origin), clip(sig.Name))
		}
	}
	return cp, n.Sigs, nil
}

// parseCheckpoint reads a signed checkpoint without looking at who signed it.
func parseCheckpoint(noteText string) (pedigree.Checkpoint, error) {
	_, err := note.Open([]byte(noteText), nil)
	var unverified *note.UnverifiedNoteError
	if !errors.As(err, &unverified) {
		return pedigree.Checkpoint{}, corrupt("this is not a checkpoint: want a signed note, its signatures below an empty line")
	}
	text := unverified.Note.Text
	lines := strings.Split(text, "\n") // the last one is empty
	if len(lines) != 4 {
		return pedigree.Checkpoint{}, corrupt("this is not a checkpoint: the note has %d lines, want origin, size and root", len(lines)-1)
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil || !validSize(size) {
		return pedigree.Checkpoint{}, corrupt("this is not a checkpoint: its size is %q", clip(lines[1]))
	}
	root, err := tlog.ParseHash(lines[2])
	if err != nil {
		return pedigree.Checkpoint{}, corrupt("this is not a checkpoint: its root is %q, want 32 bytes in base64", clip(lines[2]))
	}
	if lines[0] == "" || formatCheckpoint(lines[0], size, root) != text { // +7, 007 and their like
		return pedigree.Checkpoint{}, corrupt("this is not a checkpoint: origin, size and root are not written as they must be")
	}
	if size == 0 && root != emptyRoot {
		return pedigree.Checkpoint{}, corrupt("the checkpoint of no events has a root that is not the empty tree's")
	}
	return pedigree.Checkpoint{Origin: lines[0], Size: size, Root: root[:], Note: noteText}, nil
}

func formatCheckpoint(origin string, size int64, root tlog.Hash) string {
	return fmt.Sprintf("%s\n%d\n%s\n", origin, size, root)
}

// parseKey reads a public key and returns with it the one way to write it, by
// which two keys compare. It returns [pedigree.CodeInvalid].
func parseKey(text string) (note.Verifier, string, error) {
	text = strings.TrimSpace(text)
	if strings.Contains(text, "PRIVATE+KEY+") { // never to be repeated in a message
		return nil, "", pedigree.Errorf(pedigree.CodeInvalid, "this is the private key of a log; want its public key, name+hash+base64")
	}
	v, err := note.NewVerifier(text)
	if err != nil {
		return nil, "", pedigree.Errorf(pedigree.CodeInvalid, "%q is not the public key of a log, name+hash+base64: %w", clip(text), err)
	}
	parts := strings.SplitN(text, "+", 3)
	key, err := base64.StdEncoding.DecodeString(parts[len(parts)-1])
	if err == nil {
		text, err = note.NewEd25519VerifierKey(v.Name(), key[1:])
	}
	if err != nil {
		return nil, "", pedigree.Errorf(pedigree.CodeInvalid, "%q is not an Ed25519 key: %w", clip(text), err)
	}
	return v, text, nil
}

// keyID is what a signature says of the key that made it.
func keyID(name string, hash uint32) string { return fmt.Sprintf("%s+%08x", name, hash) }

func keyNames(keys []note.Verifier) string {
	var ids []string
	for _, k := range keys {
		ids = append(ids, clip(keyID(k.Name(), k.KeyHash())))
	}
	return strings.Join(ids, ", ")
}

func signers(sigs []note.Signature) string {
	var ids []string
	for _, s := range sigs[:min(3, len(sigs))] {
		ids = append(ids, clip(keyID(s.Name, s.Hash)))
	}
	return strings.Join(ids, ", ")
}
