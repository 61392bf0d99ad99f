package registrar

import (
	"context"
	"errors"
	"slices"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/internal/ledger"
	"github.com/pedigree-ml/pedigree/internal/sqlstore"
)

// Keys are the public keys of the log, oldest first; the last signs today.
func (r *Registrar) Keys(ctx context.Context, p pedigree.Principal) (keys []pedigree.LogKey, err error) {
	err = r.store.Read(ctx, pedigree.At{}, func(tx *sqlstore.Tx) (err error) {
		if err := r.authorise(ctx, tx, p, pedigree.ProofsRead, ""); err != nil {
			return err
		}
		keys, err = logKeys(ctx, tx)
		return err
	})
	return keys, err
}

func logKeys(ctx context.Context, tx *sqlstore.Tx) ([]pedigree.LogKey, error) {
	entries, err := tx.Entries(ctx, pedigree.EventQuery{Subject: pedigree.LogSubject, Types: []pedigree.EventType{pedigree.LogCreated, pedigree.KeyRotated}, After: -1, Limit: pedigree.MaxLimit})
	if err != nil {
		return nil, err
	}
	var keys []pedigree.LogKey
	for i := range entries {
		e, err := entries[i].Event()
		if err != nil {
			return nil, err
		}
		keys = append(keys, pedigree.LogKey{Key: e.String("key"), FromSeq: e.Seq, From: e.Time})
	}
	if len(keys) == 0 {
		return nil, pedigree.Errorf(pedigree.CodeCorrupt, "the log does not begin with its key")
	}
	return keys, nil
}

// checkKey compares the signing key with the one that the log names.
func (r *Registrar) checkKey(ctx context.Context) error {
	keys, err := r.Keys(ctx, pedigree.System)
	if err != nil {
		return err
	}
	_, err = r.signerFor(keys[len(keys)-1].Key)
	return err
}

// signerFor returns the signer whose public key is the given one. When the one at
// hand is another, the key was rotated by somebody else, and is read again.
func (r *Registrar) signerFor(public string) (*ledger.Signer, error) {
	r.signing.Lock()
	defer r.signing.Unlock()
	if r.signer.Verifier() == public {
		return r.signer, nil
	}
	fresh, err := r.newSigner()
	if err != nil {
		return nil, err
	}
	if fresh.Verifier() != public {
		return nil, pedigree.Errorf(pedigree.CodeRefused, "this log is signed with the key %s, and the configured key is %s", public, fresh.Verifier()).
			WithFix("configure the log's own private key (--log-key)")
	}
	r.signer = fresh
	return fresh, nil
}

// Checkpoint is the signed size and root of the log now.
func (r *Registrar) Checkpoint(ctx context.Context, p pedigree.Principal) (out pedigree.Checkpoint, err error) {
	err = r.store.Read(ctx, pedigree.At{}, func(tx *sqlstore.Tx) (err error) {
		if err := r.authorise(ctx, tx, p, pedigree.ProofsRead, ""); err != nil {
			return err
		}
		out, err = r.checkpoint(ctx, tx)
		return err
	})
	return out, err
}

func (r *Registrar) checkpoint(ctx context.Context, tx *sqlstore.Tx) (pedigree.Checkpoint, error) {
	keys, err := logKeys(ctx, tx)
	if err != nil {
		return pedigree.Checkpoint{}, err
	}
	signer, err := r.signerFor(keys[len(keys)-1].Key)
	if err != nil {
		return pedigree.Checkpoint{}, err
	}
	size, root, err := tx.Root(ctx)
	if err != nil {
		return pedigree.Checkpoint{}, err
	}
	return signer.Sign(size, root)
}

// ProveInclusion proves that event seq is in the tree of size events; size 0 means the
// whole log. It returns [pedigree.CodeInvalid] for numbers that don't fit the log.
func (r *Registrar) ProveInclusion(ctx context.Context, p pedigree.Principal, seq, size int64) (out pedigree.InclusionProof, err error) {
	err = r.store.Read(ctx, pedigree.At{}, func(tx *sqlstore.Tx) (err error) {
		if err := r.authorise(ctx, tx, p, pedigree.ProofsRead, ""); err != nil {
			return err
		}
		if size == 0 {
			size = tx.AsOf() + 1
		}
		if seq < 0 || seq >= size || size > tx.AsOf()+1 {
			return pedigree.Errorf(pedigree.CodeInvalid, "event %d in a tree of %d events: the log has %d", seq, size, tx.AsOf()+1)
		}
		out, err = ledger.ProveInclusion(size, seq, tx.Hashes(ctx))
		return err
	})
	return out, err
}

// ProveConsistency proves that the first from events are a prefix of the first size;
// size 0 means the whole log. It returns [pedigree.CodeInvalid].
func (r *Registrar) ProveConsistency(ctx context.Context, p pedigree.Principal, from, size int64) (out pedigree.ConsistencyProof, err error) {
	err = r.store.Read(ctx, pedigree.At{}, func(tx *sqlstore.Tx) (err error) {
		if err := r.authorise(ctx, tx, p, pedigree.ProofsRead, ""); err != nil {
			return err
		}
		if size == 0 {
			size = tx.AsOf() + 1
		}
		if from < 0 || from > size || size > tx.AsOf()+1 {
			return pedigree.Errorf(pedigree.CodeInvalid, "from %d to %d events: the log has %d", from, size, tx.AsOf()+1)
		}
		out, err = ledger.ProveConsistency(from, size, tx.Hashes(ctx))
		return err
	})
	return out, err
}

// Entries lists events of the log as they were written. Of an event that the caller may
// not read only seq and leaf hash are there; where q chooses by subject or type, nothing.
func (r *Registrar) Entries(ctx context.Context, p pedigree.Principal, q pedigree.EventQuery) (out pedigree.List[pedigree.Entry], err error) {
	out.Items = []pedigree.Entry{}
	err = r.store.Read(ctx, pedigree.At{}, func(tx *sqlstore.Tx) error {
		reach, err := r.reach(ctx, tx, p, pedigree.LogRead)
		if err != nil {
			return err
		}
		limit := pedigree.Page{Limit: q.Limit}.Size()
		entries, err := tx.Entries(ctx, q)
		if err != nil {
			return err
		}
		if len(entries) == limit {
			out.Next = pedigree.VersionNumber(entries[limit-1].Seq).String()
		}
		entries, err = reach.redact(ctx, tx, entries, q.Subject != "" || len(q.Types) > 0)
		out.Items, out.AsOf = append(out.Items, entries...), tx.AsOf()
		return err
	})
	return out, err
}

// LogReader says which events a caller may read, for as long as a watch lasts. It is for
// one goroutine.
type LogReader struct {
	r      *Registrar
	p      pedigree.Principal
	reach  reach
	rights *sqlstore.Rights // nil for a caller without a token
}

// LogReader returns the LogReader of a caller. It returns [pedigree.CodeUnauthenticated].
func (r *Registrar) LogReader(ctx context.Context, p pedigree.Principal) (*LogReader, error) {
	l := &LogReader{r: r, p: p}
	return l, l.look(ctx)
}

// look finds out what the caller may now.
func (l *LogReader) look(ctx context.Context) error {
	return l.r.store.Read(ctx, pedigree.At{}, func(tx *sqlstore.Tx) (err error) {
		if l.reach, err = l.r.reach(ctx, tx, l.p, pedigree.LogRead); err != nil {
			return err
		}
		l.rights = nil
		if seq := tx.Access(); seq >= 0 && l.p.Account() && !l.p.Trusted() {
			l.rights, err = l.r.rights(ctx, tx, l.p, seq)
		}
		return err
	})
}

// Reads says whether the caller may read an event: by the rights of now, which it learns
// from the events themselves. It returns [pedigree.CodeUnauthenticated] for a caller whose
// token has ended.
func (l *LogReader) Reads(ctx context.Context, item *Item) (bool, error) {
	if slices.Contains(item.Event.Touches(), pedigree.AccessKey) {
		if err := l.look(ctx); err != nil {
			return false, err
		}
	}
	if l.rights != nil {
		if err := l.r.stillGood(l.rights); err != nil {
			return false, err
		}
	}
	return public(&item.Event) || l.reach.has(item.Project), nil
}

// Subject is the opaque id, in the log, of the model or the version that ref names.
func (r *Registrar) Subject(ctx context.Context, p pedigree.Principal, ref pedigree.Reference, at pedigree.At) (subject string, err error) {
	err = r.store.Read(ctx, at, func(tx *sqlstore.Tx) error {
		if err := r.authorise(ctx, tx, p, pedigree.RecordsRead, ref.Project); err != nil {
			return err
		}
		_, id, err := modelID(ctx, tx, ref.Project, ref.Model)
		if err != nil {
			return err
		}
		if subject = id; ref.Version == 0 && ref.Alias == "" && ref.Digest == "" {
			return nil
		}
		found, err := tx.Resolve(ctx, id, ref)
		subject = pedigree.VersionSubject(id, found.Number)
		return err
	})
	return subject, err
}

// Redact erases payload fields of one event: the values and salts go, their
// commitments stay, and every proof still holds. It can't be undone. It returns
// [pedigree.CodeRefused] for a field that holds the registry's structure.
func (r *Registrar) Redact(ctx context.Context, p pedigree.Principal, seq int64, fields []string, reason string) (pedigree.Entry, error) {
	appended, err := r.decide(ctx, p, func(tx *sqlstore.Tx) (decision, error) {
		if err := r.authorise(ctx, tx, p, pedigree.LogRedact, ""); err != nil {
			return decision{}, err
		}
		e, err := tx.Event(ctx, seq)
		if err != nil {
			return decision{}, err
		}
		if _, err := tx.Watch(ctx, e.Subject); err != nil {
			return decision{}, err
		}
		drafts, err := e.Redact(fields, reason)
		return decision{drafts: drafts}, err
	})
	if err != nil {
		return pedigree.Entry{}, err
	}
	if appended != nil {
		seq = appended.Last()
		if err := r.store.Scrub(ctx); err != nil {
			return pedigree.Entry{}, err
		}
	}
	list, err := r.Entries(ctx, p, pedigree.EventQuery{After: seq - 1, Limit: 1})
	if err != nil {
		return pedigree.Entry{}, err
	}
	return list.Items[0], nil
}

// RotateKey makes next the key that signs from now on: an event under a checkpoint
// that the old key signs.
func (r *Registrar) RotateKey(ctx context.Context, p pedigree.Principal, next *ledger.Signer) error {
	var a sqlstore.Append
	for {
		err := r.store.Read(ctx, pedigree.At{}, func(tx *sqlstore.Tx) error {
			if err := r.authorise(ctx, tx, p, pedigree.LogRedact, ""); err != nil {
				return err
			}
			cp, err := r.checkpoint(ctx, tx)
			a = sqlstore.Append{
				Principal: p, Size: &cp.Size,
				Drafts: []pedigree.Draft{{
					Type: pedigree.KeyRotated, Subject: pedigree.LogSubject,
					Payload: pedigree.Payload{"key": next.Verifier(), "checkpoint": cp.Note},
				}},
			}
			return err
		})
		if err != nil {
			return err
		}
		_, err = r.store.Append(ctx, a)
		if errors.As(err, new(*sqlstore.Moved)) && ctx.Err() == nil {
			continue // the log has grown meanwhile
		}
		return err
	}
}

// Rebuild makes the tables that answer questions again, from the log alone.
func (r *Registrar) Rebuild(ctx context.Context, p pedigree.Principal, progress func(done, size int64)) error {
	if _, err := r.may(ctx, p, pedigree.LogRedact, ""); err != nil {
		return err
	}
	return r.store.Rebuild(ctx, progress)
}

// Moment is the last event that a question about at takes into account. It returns
// [pedigree.CodeNotRecorded] for a moment before the first event.
func (r *Registrar) Moment(ctx context.Context, p pedigree.Principal, at pedigree.At) (seq int64, err error) {
	if at.IsNow() {
		p.Head = 0 // the moment is that of this call, not that of the request
		size, err := r.may(ctx, p, pedigree.ProofsRead, "")
		return size - 1, err
	}
	err = r.store.Read(ctx, at, func(tx *sqlstore.Tx) error {
		if err := r.authorise(ctx, tx, p, pedigree.ProofsRead, ""); err != nil {
			return err
		}
		seq = tx.AsOf()
		return nil
	})
	return seq, err
}
