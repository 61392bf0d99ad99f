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
// artifact. It returns [pedigree.CodeNotFound], and [pedigree.CodeRefused] for a version
// that was withdrawn and is named by an alias, or as the newest.
func (r *Registrar) Resolve(ctx context.Context, p pedigree.Principal, ref pedigree.Reference, at pedigree.At) (pedigree.Resolved, error) {
	return r.resolve(ctx, p, pedigree.RecordsRead, ref, at)
}

// barred refuses to hand out, by a name that moves, a version that was withdrawn. By its
// number it is still found: whoever looks into an incident must be able to see it.
func barred(ctx context.Context, tx *sqlstore.Tx, found *pedigree.Resolved) error {
	v := pedigree.Version{Project: found.Project, Model: found.Model, ModelID: found.ModelID, Number: found.Number}
	if err := tx.Stands(ctx, &v); err != nil || v.Withdrawn == nil {
		return err
	}
	return pedigree.Errorf(pedigree.CodeRefused, "%s is withdrawn and is not handed out any more", v.Reference()).
		WithFix("pedigree show %s says why; take another version", v.Reference())
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
		if err != nil || ref.Version != 0 || ref.Digest != "" {
			return err
		}
		return barred(ctx, tx, &out)
	})
	if err == nil && at.IsNow() {
		r.resolved.put(out.AsOf+1, ref, out)
	}
	if err == nil && !at.IsNow() && ref.Version == 0 && ref.Digest == "" { // what is barred today was so at no earlier time
		err = r.store.Read(ctx, pedigree.At{}, func(tx *sqlstore.Tx) error { return barred(ctx, tx, &out) })
		if pedigree.CodeOf(err) == pedigree.CodeNotFound { // deleted since
			err = nil
		}
	}
	return out, err
}
