// Package registrar holds every rule of Pedigree: one method per operation, which
// authorises the caller, loads what the decision rests on, decides by a pure function
// of the root package, and appends the events that follow.
//
// Loading and deciding run side by side, outside any lock. The append carries the seq
// of each subject that was read and is refused when one has moved; the registrar then
// loads and decides again until the caller's deadline. A caller therefore sees either
// the state it decided on or a conflict, never a lost update.
//
// Order of the two stores: bytes first, durable and checked; then the event that names
// them. A crash leaves a blob that nothing names, never a record that names nothing.
//
// Every method takes the caller. Methods return [pedigree.Error] for what a caller can
// act on, and wrap everything else. This package never speaks HTTP and holds no SQL.
package registrar

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/internal/blob"
	"github.com/pedigree-ml/pedigree/internal/ledger"
	"github.com/pedigree-ml/pedigree/internal/sqlstore"
)

// Config is what a Registrar is made of; every field is required that does not say what
// its zero value means.
type Config struct {
	Store *sqlstore.Store
	Blobs blob.Store
	// NewID makes an opaque id with a prefix, as in "mdl_0192…"; ids sort by time.
	NewID func(prefix string) string
	// Signer returns the key that signs checkpoints. It is asked again when the log
	// says that the key was rotated.
	Signer func() (*ledger.Signer, error)
	// Now is the clock, for ages in search filters and the end of tokens.
	Now func() time.Time
	// Rand is the source of the secrets of tokens and webhooks.
	Rand io.Reader
	// PublicRead lets callers that say nothing of themselves read what [pedigree.Reader]
	// may in every project, once there are accounts.
	PublicRead bool
	// Secret encrypts what the database must keep and not know: the secrets of webhooks.
	// Empty: they are kept as they are.
	Secret string
	// Receivers says where webhooks may go. Zero: https to public addresses.
	Receivers pedigree.Receivers
}

// Registrar is the registry. Its methods may be called from any goroutine.
type Registrar struct {
	store     *sqlstore.Store
	blobs     blob.Store
	newID     func(prefix string) string
	newSigner func() (*ledger.Signer, error)
	now       func() time.Time
	rand      io.Reader
	public    []pedigree.Grant // what callers may who say nothing of themselves
	sealer    sealer
	receivers pedigree.Receivers

	access    accessCache
	turns     turns
	denials   denials
	uses      tokenUses
	resolved  resolveCache
	artifacts artifactCache
	tracked   sync.Map // project name → id, of projects that have their first experiment
	signing   sync.Mutex
	signer    *ledger.Signer
}

// Open returns a Registrar on an open store. An empty log gets its first events: the
// log's origin and key, and the default project. It returns [pedigree.CodeRefused]
// where the log was made with another key.
func Open(ctx context.Context, cfg Config) (*Registrar, error) {
	r := &Registrar{store: cfg.Store, blobs: cfg.Blobs, newID: cfg.NewID, newSigner: cfg.Signer, now: cfg.Now, rand: cfg.Rand, receivers: cfg.Receivers}
	if cfg.PublicRead {
		r.public = []pedigree.Grant{{Role: pedigree.Reader}}
	}
	var err error
	if r.sealer, err = newSealer(cfg.Secret); err != nil {
		return nil, err
	}
	if r.signer, err = cfg.Signer(); err != nil {
		return nil, err
	}
	size, err := r.store.Head(ctx)
	if err != nil {
		return nil, err
	}
	if size == 0 {
		if err := r.create(ctx); err != nil {
			return nil, err
		}
	}
	if err := r.checkKey(ctx); err != nil {
		return nil, err
	}
	return r, nil
}

// create writes the first events. Another process may be faster: then there is
// nothing to do.
func (r *Registrar) create(ctx context.Context) error {
	project, err := pedigree.CreateProject(r.newID("prj"), pedigree.DefaultProject, "")
	if err != nil {
		return err
	}
	drafts := append([]pedigree.Draft{{
		Type: pedigree.LogCreated, Subject: pedigree.LogSubject,
		Payload: pedigree.Payload{"origin": r.signer.Origin(), "key": r.signer.Verifier()},
	}}, project...)
	_, err = r.store.Append(ctx, sqlstore.Append{Principal: pedigree.System, Drafts: drafts, Checks: map[string]int64{pedigree.LogSubject: -1}})
	if pedigree.CodeOf(err) == pedigree.CodeConflict {
		return nil
	}
	return err
}

// Ready says whether the registry can answer.
func (r *Registrar) Ready(ctx context.Context) error { return r.store.Ping(ctx) }

// decision is what a decide function found: the append it wants, and whether there is
// one at all.
type decision struct {
	drafts  []pedigree.Draft
	project string
	blobs   []pedigree.Digest
	own     []sqlstore.Own
}

// append is what p asks to be written, if all that tx has read still holds.
func (d decision) append(tx *sqlstore.Tx, p pedigree.Principal) sqlstore.Append {
	return sqlstore.Append{Principal: p, Drafts: d.drafts, Checks: tx.Checks(), Project: d.project, Blobs: d.blobs, Own: d.own}
}

// decide runs f in a read transaction and appends what it decided, again and again
// while somebody else was faster. It returns nil where nothing was to be changed, and
// the events of the first call where the caller's idempotency key was seen before. A dry run
// ends with [pedigree.Rehearsed] in place of the append.
func (r *Registrar) decide(ctx context.Context, p pedigree.Principal, f func(tx *sqlstore.Tx) (decision, error)) (*sqlstore.Appended, error) {
	turn := turn{of: &r.turns}
	defer turn.leave()
	for {
		var a sqlstore.Append
		var replayed *sqlstore.Appended
		err := r.store.Read(ctx, pedigree.At{}, func(tx *sqlstore.Tx) (err error) {
			if p.IdempotencyKey != "" {
				if err := r.known(ctx, tx, p); err != nil {
					return err
				}
				if replayed, err = tx.Replay(ctx, p); err != nil {
					return err
				}
				if replayed != nil { // rights are today's, also for the answer of yesterday
					return mayStill(tx, f)
				}
			}
			d, err := f(tx)
			a = d.append(tx, p)
			return err
		})
		if err != nil || replayed != nil {
			return replayed, err
		}
		if p.DryRun {
			return nil, pedigree.Rehearse(a.Drafts)
		}
		if len(a.Drafts) == 0 {
			return nil, nil
		}
		appended, err := r.store.Append(ctx, a)
		var moved *sqlstore.Moved
		if errors.As(err, &moved) && turn.take(ctx, moved.Subject) && ctx.Err() == nil {
			continue
		}
		return appended, err
	}
}

// recall decides as decide does, first from what the store remembers: a decision that every
// caller makes again and again reads nothing then. What the store remembers may be out of
// date, which the append finds out, or a refusal hides: then it is decided anew.
func (r *Registrar) recall(ctx context.Context, p pedigree.Principal, f func(tx *sqlstore.Tx) (decision, error)) (*sqlstore.Appended, error) {
	if tx := r.store.Recall(); tx != nil && p.IdempotencyKey == "" && !p.DryRun {
		if d, err := f(tx); err == nil && len(d.drafts) > 0 {
			appended, err := r.store.Append(ctx, d.append(tx, p))
			if !errors.As(err, new(*sqlstore.Moved)) {
				return appended, err
			}
		}
	}
	return r.decide(ctx, p, f)
}

// errMay ends a decision whose caller may make it.
var errMay = errors.New("the caller may")

// mayStill says whether the caller of a repeated call may still make it. Every decision
// begins with the check of rights, and goes no further here.
func mayStill(tx *sqlstore.Tx, f func(tx *sqlstore.Tx) (decision, error)) error {
	tx.Authorised = errMay
	if _, err := f(tx); err != nil && !errors.Is(err, errMay) {
		return err
	}
	return nil
}

// seqAt is the moment of an append, for reading what it made.
func seqAt(seq int64) pedigree.At { return pedigree.At{Seq: &seq} }
