package client

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/pedigree-ml/pedigree"
)

// Cache keeps artifacts by their digest in a folder of this machine, for programs that run
// one after the other or side by side.
type Cache struct{ dir string }

// OpenCache returns the Cache in dir, which is made when something is kept.
func OpenCache(dir string) *Cache { return &Cache{dir: dir} }

// Held is an artifact that a Cache keeps, at least until it is released.
type Held struct {
	pedigree.Resolved
	// Path is the folder; nothing may be changed in it.
	Path string
	// Fetched are the bytes that came from the registry, 0 where they were there.
	Fetched int64
	lock    *os.File
}

// Release lets the cache remove the artifact.
func (h *Held) Release() error { return h.lock.Close() }

// busyWait is how often it is looked whether another process has fetched what is wanted.
const busyWait = 200 * time.Millisecond

// Hold makes sure that the cache has the artifact of a version, every file of it compared
// with its digest, and keeps it until it is released. What another process fetches just now
// is waited for. Errors are those of [Client.Pull].
func (k *Cache) Hold(ctx context.Context, c *Client, ref pedigree.Reference, parallel int, progress Progress) (*Held, error) {
	found, artifact, err := c.Artifact(ctx, ref, pedigree.At{})
	if err != nil {
		return nil, err
	}
	if err := checkArtifact(ref, found, artifact); err != nil {
		return nil, err
	}
	name := found.Digest.Hex()[:32]
	h := &Held{Resolved: found, Path: filepath.Join(k.dir, name)}
	if err := os.MkdirAll(k.dir, 0o700); err != nil {
		return nil, localError("keep an artifact", err)
	}
	if h.lock, err = os.OpenFile(h.Path+".lock", os.O_RDWR|os.O_CREATE, 0o600); err != nil {
		return nil, localError("keep an artifact", err)
	}
	done := false
	defer func() {
		if !done {
			_ = h.lock.Close()
		}
	}()
	for {
		shared, err := lockFile(h.lock, true)
		if err != nil {
			return nil, localError("keep an artifact", err)
		}
		if shared {
			whole, err := contains(ctx, h.Path, artifact.Files)
			if err != nil || whole {
				now := time.Now()
				_ = os.Chtimes(h.lock.Name(), now, now) // what was used last is kept
				done = err == nil
				return h, err
			}
			alone, err := lockFile(h.lock, false)
			if err != nil {
				return nil, localError("keep an artifact", err)
			}
			if alone {
				out, err := c.Pull(ctx, Pull{
					Reference: pedigree.Reference{Project: found.Project, Model: found.Model, Version: found.Number},
					Dest:      h.Path, Force: true, Resume: true, Parallel: parallel, Progress: progress,
				})
				if err != nil {
					return nil, err
				}
				if out.Digest != found.Digest {
					return nil, pedigree.Errorf(pedigree.CodeConflict, "%s was replaced by another model while it was fetched", ref).WithFix("try again")
				}
				h.Fetched = out.Bytes
				continue // with a lock that others may share
			}
		}
		if err := wait(ctx, busyWait); err != nil {
			return nil, err
		}
	}
}

func wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Prune removes artifacts that nobody holds until at most keep are left; those that were
// used last stay.
func (k *Cache) Prune(keep int) error {
	entries, err := os.ReadDir(k.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return localError("read the cache", err)
	}
	type kept struct {
		path string
		used time.Time
	}
	var all []kept
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), ".lock")
		if !ok {
			continue
		}
		path := filepath.Join(k.dir, name)
		info, err := e.Info()
		if _, gone := os.Lstat(path); err != nil || gone != nil {
			continue
		}
		all = append(all, kept{path, info.ModTime()})
	}
	slices.SortFunc(all, func(a, b kept) int { return b.used.Compare(a.used) })
	for _, a := range all[min(len(all), max(keep, 0)):] {
		if err := k.remove(a.path); err != nil {
			return localError("remove from the cache", err)
		}
	}
	return nil
}

// remove removes one artifact unless somebody holds it. The file of the lock stays: another
// process may just have opened it.
func (k *Cache) remove(path string) error {
	lock, err := os.OpenFile(path+".lock", os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer func() { _ = lock.Close() }()
	if alone, err := lockFile(lock, false); err != nil || !alone {
		return err
	}
	return os.RemoveAll(path)
}
