package server

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/internal/config"
	"github.com/pedigree-ml/pedigree/internal/ledger"
)

// keySource knows where the private key of the log is.
//
// A rotation must never lose a key, whatever crashes when: the next key is durable in
// "<file>.next" before the event that names it is appended, and takes the file's name
// after it. In between, and after a crash there, the log names a key that only the next
// file holds; so [keySource.signer] looks there when it is asked again.
type keySource struct {
	text string // the key itself, from the configuration
	path string // or the file that holds it

	mu    sync.Mutex
	asked bool
}

// nextFile is where the key lies that a rotation is about to make the log's.
func (k *keySource) nextFile() string { return k.path + ".next" }

// openKeys finds the private key. Only where the log is fresh is a key file made, and
// only beside a SQLite database: a new key for an old log would be of no use, and
// servers of one PostgreSQL database must all have the same.
func openKeys(cfg config.Config, fresh bool) (*keySource, error) {
	k := &keySource{text: cfg.LogKey, path: cfg.LogKeyFile}
	switch {
	case k.text != "":
		return k, nil
	case k.path == "":
		return nil, pedigree.Errorf(pedigree.CodeRefused, "the log on this PostgreSQL database needs its private key, and none is configured").
			WithFix("once: pedigree admin new-key > log.key; then on every server: PEDIGREE_LOG_KEY_FILE=log.key (or its text in PEDIGREE_LOG_KEY)")
	}
	if _, err := os.Stat(k.path); err == nil || !errors.Is(err, fs.ErrNotExist) {
		return k, nil // signer says what is wrong with it
	}
	if cfg.Postgres() || !fresh {
		return nil, pedigree.Errorf(pedigree.CodeRefused, "the private key of the log is missing: there is no %s", k.path).
			WithFix("put the file back from where you keep it; a log can't get another key without its old one")
	}
	key, _, err := NewKey(cfg.LogOrigin)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Dir(k.path), 0o700); err != nil {
		return nil, err
	}
	// Another process that starts on the same folder may be faster: then its key counts.
	if err := writeNew(k.path, []byte(key+"\n"), 0o600); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	return k, nil
}

// NewKey makes the private key of a log and the public key that belongs to it. Without an
// origin the log is named by chance: a name says nothing about the machine. It returns
// [pedigree.CodeInvalid] for an origin that can't be one.
func NewKey(origin string) (private, public string, err error) {
	if origin == "" {
		var b [8]byte
		_, _ = rand.Read(b[:])
		origin = "pedigree/" + hex.EncodeToString(b[:])
	}
	return ledger.NewKey(rand.Reader, origin)
}

// signer is the registrar's source of the key. It is called again when the log names
// another key than the last call returned: then a rotation is under way, or was.
func (k *keySource) signer() (*ledger.Signer, error) {
	k.mu.Lock()
	again := k.asked
	k.asked = true
	k.mu.Unlock()
	if k.text != "" {
		return ledger.NewSigner(k.text)
	}
	if again {
		if s, err := readKey(k.nextFile()); err == nil {
			return s, nil
		}
	}
	return readKey(k.path)
}

func readKey(path string) (*ledger.Signer, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, pedigree.Errorf(pedigree.CodeRefused, "the private key of the log can't be read: %w", err)
	}
	s, err := ledger.NewSigner(string(text))
	if err != nil {
		return nil, pedigree.Errorf(pedigree.CodeRefused, "%s: %w", path, err)
	}
	return s, nil
}

// finishRotation gives the next key its place where the log names it already.
func (s *Server) finishRotation(ctx context.Context) error {
	if s.keys.path == "" {
		return nil
	}
	next, err := readKey(s.keys.nextFile())
	if err != nil {
		return nil //nolint:nilerr // there is none, or it is half written and so not the log's
	}
	keys, err := s.registrar.Keys(ctx, pedigree.System)
	if err != nil || keys[len(keys)-1].Key != next.Verifier() {
		return err
	}
	return s.keys.promote(len(keys) - 1)
}

// promote makes the next file the key file and keeps the old one as "<file>.old-n": a key
// that has signed is worth keeping, if only to know it again.
func (k *keySource) promote(n int) error {
	old, err := os.ReadFile(k.path)
	if err != nil {
		return fmt.Errorf("read the old key: %w", err)
	}
	err = writeNew(fmt.Sprintf("%s.old-%d", k.path, n), old, 0o600)
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if err := os.Rename(k.nextFile(), k.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("give the new key its place: %w", err)
	}
	return syncFolder(filepath.Dir(k.path))
}

// RotateKey gives the log a new key, by an event under a checkpoint that the old key
// signs, and returns the new public key. Where the key is in a file, the new one takes
// its place and the old one is kept beside it as "<file>.old-n"; servers that run go on
// with it by themselves. With save, or where the key came as text, save gets the new
// private key instead, before anything is written: servers must be configured with it
// and started again.
//
// It returns [pedigree.CodeInvalid] where the key came as text and save is nil, and
// [pedigree.CodeConflict] where another rotation is under way.
func (s *Server) RotateKey(ctx context.Context, save func(private string) error) (public string, err error) {
	if save == nil && s.keys.text != "" {
		return "", pedigree.Errorf(pedigree.CodeInvalid, "the key of this log came from PEDIGREE_LOG_KEY, which this command can't change").
			WithFix("say where the new key shall be written: --out FILE")
	}
	keys, err := s.registrar.Keys(ctx, pedigree.System)
	if err != nil {
		return "", err
	}
	origin, _, _ := strings.Cut(keys[0].Key, "+")
	private, public, err := NewKey(origin)
	if err != nil {
		return "", err
	}
	next, err := ledger.NewSigner(private)
	if err != nil {
		return "", err
	}
	inPlace := save == nil
	if inPlace {
		save = s.keys.prepare
	}
	if err := save(private); err != nil {
		return "", err
	}
	if err := s.registrar.RotateKey(ctx, pedigree.Operator, next); err != nil {
		if inPlace && !unknownOutcome(err) {
			err = errors.Join(err, os.Remove(s.keys.nextFile()))
		}
		return "", err
	}
	if inPlace {
		return public, s.keys.promote(len(keys))
	}
	return public, nil
}

// unknownOutcome says that an append may have happened although it failed: its key must
// then be kept.
func unknownOutcome(err error) bool {
	switch pedigree.CodeOf(err) {
	case pedigree.CodeRefused, pedigree.CodeInvalid, pedigree.CodeConflict:
		return false
	}
	return true
}

// prepare makes the next key durable before the log hears of it.
func (k *keySource) prepare(private string) error {
	err := writeNew(k.nextFile(), []byte(private+"\n"), 0o600)
	if errors.Is(err, fs.ErrExist) {
		return pedigree.Errorf(pedigree.CodeConflict, "another rotation is under way, or broke off before it began: there is %s", k.nextFile()).
			WithFix("if none is under way, remove that file and try again")
	}
	return err
}
