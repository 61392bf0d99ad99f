// Verifylog checks an export of a Pedigree log. It shares no code with Pedigree and
// needs nothing but the standard library: whoever has to trust a log can read these
// lines first, or write them again.
//
//	pedigree log export | verifylog
//	verifylog --checkpoint seen.txt --key 'models.example.org/log+5d9a9328+AQOh…' export.jsonl
//
// It recomputes each payload digest, each leaf and the Merkle root. With a checkpoint
// it checks that the log had that root at that size and that the key signed it, or a key
// that the log names later under a checkpoint of the one before. It does not look for
// silent erasures; pedigree verify does.
package main

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"sort"
	"strings"
)

// entry is one line of the export.
type entry struct {
	Seq      int64
	Envelope string
	Leaf     []byte
	Fields   []struct {
		Name             string
		Value            json.RawMessage // the exact text, which is what counts; nil once erased
		Salt, Commitment []byte
	}
}

// check checks an entry by itself and returns its type. One without an envelope was not to
// be read by whoever exported it, and counts as its leaf.
func (e *entry) check() (string, error) {
	if e.Envelope == "" && len(e.Fields) == 0 && len(e.Leaf) == 32 {
		return "", nil
	}
	if leaf := sha256.Sum256([]byte("\x00" + e.Envelope)); !bytes.Equal(leaf[:], e.Leaf) {
		return "", fmt.Errorf("event %d: the envelope does not have the hash of its leaf", e.Seq)
	}
	var envelope struct {
		V, Seq        int64
		Type          string
		PayloadDigest string `json:"payload_digest"`
	}
	if err := json.Unmarshal([]byte(e.Envelope), &envelope); err != nil || envelope.V != 1 || envelope.Seq != e.Seq {
		return "", fmt.Errorf("event %d: the envelope is of event %d in format %d (%v)", e.Seq, envelope.Seq, envelope.V, err)
	}
	var lines []string
	for _, f := range e.Fields {
		if f.Value != nil {
			sum := sha256.Sum256(bytes.Join([][]byte{f.Salt, []byte(f.Name), {0}, f.Value}, nil))
			f.Commitment = sum[:]
		}
		if strings.Trim(f.Name, "abcdefghijklmnopqrstuvwxyz_") != "" || len(f.Commitment) != 32 || f.Value != nil && len(f.Salt) != 32 {
			return "", fmt.Errorf("event %d: field %q is malformed", e.Seq, f.Name)
		}
		lines = append(lines, fmt.Sprintf("%s %x\n", f.Name, f.Commitment))
	}
	sort.Strings(lines) // that is by name: the space sorts before all that a name consists of
	if got := fmt.Sprintf("sha256:%x", sha256.Sum256([]byte("pedigree-payload/1\n"+strings.Join(lines, "")))); got != envelope.PayloadDigest {
		return "", fmt.Errorf("event %d: its fields have the digest %s, the envelope says %s", e.Seq, got, envelope.PayloadDigest)
	}
	return envelope.Type, nil
}

// text is the value of a field that is a text, "" where there is none.
func (e *entry) text(name string) (s string) {
	for _, f := range e.Fields {
		if f.Name == name {
			_ = json.Unmarshal(f.Value, &s)
		}
	}
	return s
}

// tree is the right edge of a Merkle tree: its complete subtrees, the largest first.
type tree struct {
	size   int64
	hashes [][]byte
}

func node(left, right []byte) []byte {
	sum := sha256.Sum256(bytes.Join([][]byte{{1}, left, right}, nil))
	return sum[:]
}

func (t *tree) add(leaf []byte) {
	for n := t.size; n&1 == 1; n >>= 1 { // join it with each subtree of its own size
		last := len(t.hashes) - 1
		leaf, t.hashes = node(t.hashes[last], leaf), t.hashes[:last]
	}
	t.hashes = append(t.hashes, leaf)
	t.size++
}

func (t *tree) root() string {
	if t.size == 0 {
		return base64.StdEncoding.EncodeToString(sha256.New().Sum(nil))
	}
	root := t.hashes[len(t.hashes)-1]
	for i := len(t.hashes) - 2; i >= 0; i-- {
		root = node(t.hashes[i], root)
	}
	return base64.StdEncoding.EncodeToString(root)
}

// openCheckpoint checks that key signed note, and returns the text that it signed. A
// note is the text, an empty line, and per signature "— name base64(key hash, signature)";
// a key is name+hash+base64(1, public key).
func openCheckpoint(note, key string) (string, error) {
	name, rest, _ := strings.Cut(strings.TrimSpace(key), "+")
	_, key64, _ := strings.Cut(rest, "+")
	public, err := base64.StdEncoding.DecodeString(key64)
	if err != nil || len(public) != 33 || public[0] != 1 {
		return "", errors.New("the key is not name+hash+base64 of an Ed25519 key")
	}
	keyHash := sha256.Sum256(append([]byte(name+"\n"), public...))
	text, signatures, _ := strings.Cut(note, "\n\n")
	for line := range strings.Lines(signatures) {
		sig64, _ := strings.CutPrefix(strings.TrimSpace(line), "— "+name+" ")
		sig, err := base64.StdEncoding.DecodeString(sig64)
		if err == nil && bytes.HasPrefix(sig, keyHash[:4]) && ed25519.Verify(public[1:], []byte(text+"\n"), sig[4:]) {
			return text, nil
		}
	}
	return "", errors.New("the checkpoint is not signed by the key that was given, or one that followed it")
}

// is checks that the tree is the one of a checkpoint, which key signed.
func (t *tree) is(note, key string) error {
	text, err := openCheckpoint(note, key)
	if err != nil {
		return err
	}
	size, root, err := sizeAndRoot(text)
	if err != nil || size != t.size || root != t.root() {
		return fmt.Errorf("the first %d events have the root %s, the checkpoint says %s of %d (%v)", t.size, t.root(), root, size, err)
	}
	return nil
}

// sizeAndRoot reads a checkpoint: origin, size and root on a line each.
func sizeAndRoot(text string) (size int64, root string, err error) {
	var origin string
	_, err = fmt.Sscanf(text, "%s\n%d\n%s", &origin, &size, &root)
	return size, root, err
}

// verify reads an export and returns its tree. One of the sizes of the log must give the
// checkpoint note, "" for none, signed by key or by one that followed it by then.
func verify(export io.Reader, note, key string) (t tree, err error) {
	var size int64
	if note != "" {
		if size, _, err = sizeAndRoot(note); err != nil || size < 0 {
			return t, fmt.Errorf("the checkpoint is not origin, size and root (%v)", err)
		}
	}
	for dec := json.NewDecoder(export); ; {
		if note != "" && t.size == size {
			if err := t.is(note, key); err != nil {
				return t, err
			}
		}
		var e entry
		if err := dec.Decode(&e); err == io.EOF {
			break
		} else if err != nil {
			return t, fmt.Errorf("after %d events: %w", t.size, err)
		}
		if e.Seq != t.size {
			return t, fmt.Errorf("after %d events comes event %d: events are missing or out of order", t.size, e.Seq)
		}
		typ, err := e.check()
		if err != nil {
			return t, err
		}
		// A rotation that another key signed is of before or after the key that was given.
		if _, err := openCheckpoint(e.text("checkpoint"), key); err == nil && typ == "log.key_rotated" && t.size < size {
			if err := t.is(e.text("checkpoint"), key); err != nil {
				return t, fmt.Errorf("event %d rotates the key under a wrong checkpoint: %w", e.Seq, err)
			}
			key = e.text("key")
		}
		t.add(e.Leaf)
	}
	if t.size < size {
		return t, fmt.Errorf("the log ends after %d events, the checkpoint is of %d", t.size, size)
	}
	return t, nil
}

func run(args []string, export io.Reader, stdout io.Writer) error {
	flags := flag.NewFlagSet("verifylog [EXPORT]", flag.ContinueOnError)
	file := flags.String("checkpoint", "", "`file` with a signed checkpoint of the log")
	key := flags.String("key", "", "public `key` of the log that you trust, name+hash+base64")
	if err := flags.Parse(args); err != nil {
		return err
	}
	note := ""
	if *file != "" || *key != "" {
		text, err := os.ReadFile(*file)
		if err != nil {
			return err
		}
		if note = string(text); note == "" {
			return errors.New("the checkpoint is empty")
		}
	}
	if flags.NArg() > 0 {
		f, err := os.Open(flags.Arg(0))
		if err != nil {
			return err
		}
		defer f.Close()
		export = f
	}
	t, err := verify(export, note, *key)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(stdout, "verified %d events, root %s\n", t.size, t.root())
	return err
}

func main() {
	if err := run(os.Args[1:], os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "verifylog:", err)
		os.Exit(1)
	}
}
