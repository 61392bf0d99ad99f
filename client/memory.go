package client

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/internal/ledger"
)

// Memory keeps, in a directory, the last checkpoint that was seen of each server, and
// the keys of its log. With it a server can't change or shorten its log, or show
// another, without being found out by whoever asked it before.
type Memory struct{ dir string }

// OpenMemory returns the Memory in dir, which is made when something is kept.
func OpenMemory(dir string) *Memory { return &Memory{dir: dir} }

// remembered is what a Memory keeps of one server.
type remembered struct {
	URL        string              `json:"url"`
	Checkpoint pedigree.Checkpoint `json:"checkpoint"`
	Keys       []pedigree.LogKey   `json:"keys"`
	Seen       time.Time           `json:"seen"`
}

// embeddedHost is the host of a registry that runs inside the process: every data
// directory has it, so that it says nothing about which log is meant.
const embeddedHost = "pedigree.embedded"

// path is the file for one server; for one without an address of its own, the file for
// its log.
func (m *Memory) path(base, origin string) string {
	key := base
	if u, err := url.Parse(base); err == nil && u.Hostname() == embeddedHost {
		key += "\n" + origin
	}
	return filepath.Join(m.dir, pedigree.DigestBytes([]byte(key)).Hex()[:32]+".json")
}

// load returns nil for a server that was not seen before.
func (m *Memory) load(path string) (*remembered, error) {
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, localError("read the remembered checkpoint", err)
	}
	var r remembered
	if err := json.Unmarshal(b, &r); err != nil || r.Checkpoint.Note == "" || len(r.Keys) == 0 {
		return nil, pedigree.Errorf(pedigree.CodeCorrupt, "the remembered checkpoint in %s can't be read", path).
			WithFix("if you know why, remove the file: the server is then trusted anew")
	}
	// What counts is the signed text, not what stands beside it.
	if r.Checkpoint, err = ledger.OpenCheckpoint(r.Checkpoint.Note, keyTexts(r.Keys)...); err != nil {
		return nil, pedigree.Errorf(pedigree.CodeCorrupt, "the remembered checkpoint in %s was changed: %w", path, err).
			WithFix("if you know why, remove the file: the server is then trusted anew")
	}
	return &r, nil
}

// save replaces the file in one step, unless another process has kept a newer
// checkpoint meanwhile.
func (m *Memory) save(path string, r *remembered) error {
	if now, err := m.load(path); err == nil && now != nil && now.Checkpoint.Size > r.Checkpoint.Size {
		return nil
	}
	b, err := encode(r)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(m.dir, 0o700); err != nil {
		return localError("remember the checkpoint", err)
	}
	scratch := path + "." + rand.Text()[:12]
	f, err := os.OpenFile(scratch, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err == nil {
		_, err = f.Write(b)
		err = errors.Join(err, f.Sync(), f.Close())
	}
	if err == nil {
		err = os.Rename(scratch, path)
	}
	if err == nil {
		err = syncDir(m.dir)
	}
	if err != nil {
		_ = os.Remove(scratch)
	}
	return localError("remember the checkpoint", err)
}

// Remember fetches the checkpoint of the server's log, checks it against the one that m
// has of this server, and keeps it. The keys of a server that is seen for the first
// time are trusted; later ones only where the log itself introduces them, each under a
// checkpoint that the key before it signed.
//
// It returns [pedigree.CodeCorrupt] where the log is not a continuation of the one that
// was seen; nothing is kept then.
func (c *Client) Remember(ctx context.Context, m *Memory) (pedigree.Checkpoint, error) {
	path := m.path(c.shown, "")
	if embedded := path != m.path(c.shown, "x"); embedded {
		cp, err := c.Checkpoint(ctx)
		if err != nil {
			return pedigree.Checkpoint{}, err
		}
		path = m.path(c.shown, cp.Origin)
	}
	before, err := m.load(path) // before asking: the answer can then only be newer
	if err != nil {
		return pedigree.Checkpoint{}, err
	}
	claimed, err := c.Checkpoint(ctx)
	if err != nil {
		return pedigree.Checkpoint{}, err
	}
	keys, err := c.Keys(ctx)
	if err != nil {
		return pedigree.Checkpoint{}, err
	}
	now, err := c.verify(ctx, before, claimed, keys)
	if pedigree.CodeOf(err) == pedigree.CodeCorrupt && before != nil {
		return pedigree.Checkpoint{}, pedigree.Errorf(pedigree.CodeCorrupt, "this server's log is not a continuation of the one you saw on %s: %w",
			before.Seen.Format(time.DateOnly), err).
			WithFix("ask who runs %s; if the registry was made anew on purpose, remove %s", c.shown, path)
	}
	if err != nil {
		return pedigree.Checkpoint{}, err
	}
	now.URL, now.Seen = c.shown, time.Now().UTC()
	return now.Checkpoint, m.save(path, now)
}

// verify checks a checkpoint: that its key is the log's, its signature that key's, and
// its log a continuation of what was seen before.
func (c *Client) verify(ctx context.Context, before *remembered, claimed pedigree.Checkpoint, keys []pedigree.LogKey) (*remembered, error) {
	// A key that came with a later event than the checkpoint covers is not its key.
	keys = slices.DeleteFunc(keys, func(k pedigree.LogKey) bool { return k.FromSeq >= claimed.Size })
	if len(keys) == 0 {
		return nil, pedigree.Errorf(pedigree.CodeCorrupt, "the server names no key for its checkpoint of %d events", claimed.Size)
	}
	known := 0
	if before != nil {
		known = len(before.Keys)
		if len(keys) < known || !slices.Equal(keyTexts(keys[:known]), keyTexts(before.Keys)) {
			return nil, pedigree.Errorf(pedigree.CodeCorrupt, "the log's keys are not those that it had")
		}
	}
	cp, err := ledger.OpenCheckpoint(claimed.Note, keys[len(keys)-1].Key)
	if err != nil {
		return nil, err
	}
	if cp.Size != claimed.Size {
		return nil, pedigree.Errorf(pedigree.CodeCorrupt, "the server says %d events and signs %d", claimed.Size, cp.Size)
	}
	if before != nil {
		if err := c.continues(ctx, before.Checkpoint, cp); err != nil {
			return nil, err
		}
	}
	for i := known; i < len(keys); i++ {
		var signer *pedigree.LogKey
		if i > 0 {
			signer = &keys[i-1]
		}
		if err := c.introduced(ctx, keys[i], signer, cp); err != nil {
			return nil, err
		}
	}
	return &remembered{Checkpoint: cp, Keys: keys}, nil
}

// continues checks that the log of before is the beginning of that of now.
func (c *Client) continues(ctx context.Context, before, now pedigree.Checkpoint) error {
	proof := pedigree.ConsistencyProof{From: before.Size, Size: now.Size}
	if before.Origin == now.Origin && before.Size < now.Size {
		var err error
		if proof, err = c.ConsistencyProof(ctx, before.Size, now.Size); err != nil {
			return err
		}
	}
	return ledger.CheckConsistency(proof, before, now)
}

// introduced checks that the log itself gives the key: in its first event, or in one
// under a checkpoint of all events before it that signer, the key before, signed.
func (c *Client) introduced(ctx context.Context, key pedigree.LogKey, signer *pedigree.LogKey, cp pedigree.Checkpoint) error {
	entry, err := c.Event(ctx, key.FromSeq)
	if err != nil {
		return err
	}
	e, err := ledger.CheckEntry(entry)
	if err != nil {
		return err
	}
	proof, err := c.InclusionProof(ctx, key.FromSeq, cp.Size)
	if err != nil {
		return err
	}
	proof.Seq, proof.Leaf = entry.Seq, entry.Leaf // what the server says of these does not count
	if err := ledger.CheckInclusion(proof, cp); err != nil {
		return err
	}
	bad := pedigree.Errorf(pedigree.CodeCorrupt, "event %d does not introduce the key that the server names", key.FromSeq)
	if e.Seq != key.FromSeq || e.String("key") != key.Key {
		return bad
	}
	if signer == nil {
		if e.Type != pedigree.LogCreated || e.Seq != 0 {
			return bad
		}
		return nil
	}
	under, err := ledger.OpenCheckpoint(e.String("checkpoint"), signer.Key)
	if err != nil {
		return err
	}
	if e.Type != pedigree.KeyRotated || under.Size != e.Seq {
		return bad
	}
	return c.continues(ctx, under, cp)
}

func keyTexts(keys []pedigree.LogKey) []string {
	out := make([]string, len(keys))
	for i, k := range keys {
		out[i] = k.Key
	}
	return out
}
