package registrar

import (
	"context"
	"sync"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/internal/sqlstore"
)

// resolveCache keeps answers about the present for as long as the log does not grow:
// each answer is keyed by the log's head, so that a move which was acknowledged by any
// server is seen at once by all.
type resolveCache struct {
	mu      sync.RWMutex
	head    int64
	answers map[pedigree.Reference]pedigree.Resolved
}

// maxResolved bounds the answers kept.
const maxResolved = 10_000

func (c *resolveCache) get(head int64, ref pedigree.Reference) (pedigree.Resolved, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if c.head != head {
		return pedigree.Resolved{}, false
	}
	r, ok := c.answers[ref]
	return r, ok
}

func (c *resolveCache) put(head int64, ref pedigree.Reference, r pedigree.Resolved) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.head != head || c.answers == nil || len(c.answers) >= maxResolved {
		if head < c.head {
			return
		}
		c.head, c.answers = head, map[pedigree.Reference]pedigree.Resolved{}
	}
	c.answers[ref] = r
}

// Resolve finds the version that ref names at a moment, and the digest of its
// artifact. It returns [pedigree.CodeNotFound].
func (r *Registrar) Resolve(ctx context.Context, p pedigree.Principal, ref pedigree.Reference, at pedigree.At) (pedigree.Resolved, error) {
	return r.resolve(ctx, p, pedigree.RecordsRead, ref, at)
}

// resolve is [Registrar.Resolve] for a caller that needs a permission.
func (r *Registrar) resolve(ctx context.Context, p pedigree.Principal, permission pedigree.Permission, ref pedigree.Reference, at pedigree.At) (pedigree.Resolved, error) {
	if at.IsNow() {
		head, err := r.may(ctx, p, permission, ref.Project)
		if err != nil {
			return pedigree.Resolved{}, err
		}
		if out, ok := r.resolved.get(head, ref); ok {
			return out, nil
		}
	}
	var out pedigree.Resolved
	err := r.store.Read(ctx, at, func(tx *sqlstore.Tx) error {
		if err := r.authorise(ctx, tx, p, permission, ref.Project); err != nil {
			return err
		}
		_, id, err := modelID(ctx, tx, ref.Project, ref.Model)
		if err == nil {
			out, err = tx.Resolve(ctx, id, ref)
		}
		return err
	})
	if err == nil && at.IsNow() {
		r.resolved.put(out.AsOf+1, ref, out)
	}
	return out, err
}
