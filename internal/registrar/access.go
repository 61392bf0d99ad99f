package registrar

import (
	"context"
	"crypto/sha256"
	"fmt"
	"sync"
	"time"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/internal/sqlstore"
)

// accessCache keeps what callers may for as long as no event says otherwise: it is keyed
// by the last such event, which every transaction reads with the log's size.
type accessCache struct {
	mu     sync.RWMutex
	seq    int64
	rights map[caller]*sqlstore.Rights
	shown  map[[sha256.Size]byte]shown
	names  map[string]pedigree.ActorName
}

// caller names an account and the token that it showed.
type caller struct{ account, token string }

// shown is who shows a token.
type shown struct {
	pedigree.Principal
	rights *sqlstore.Rights
}

// maxCallers bounds the callers kept.
const maxCallers = 10_000

func (c *accessCache) get(seq int64, who caller) *sqlstore.Rights {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if c.seq != seq {
		return nil
	}
	return c.rights[who]
}

func (c *accessCache) shownBy(seq int64, hash [sha256.Size]byte) (shown, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	p, ok := c.shown[hash]
	return p, ok && c.seq == seq
}

func (c *accessCache) name(seq int64, id string) (pedigree.ActorName, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	name, ok := c.names[id]
	return name, ok && c.seq == seq
}

// keep runs f on the maps of seq, which it clears of older answers first.
func (c *accessCache) keep(seq int64, f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if seq < c.seq {
		return
	}
	if c.seq != seq || c.rights == nil || len(c.rights) >= maxCallers || len(c.shown) >= maxCallers || len(c.names) >= maxCallers {
		c.seq, c.rights, c.shown, c.names = seq, map[caller]*sqlstore.Rights{}, map[[sha256.Size]byte]shown{}, map[string]pedigree.ActorName{}
	}
	f()
}

// authorise refuses a caller that may not do what permission names in a project, or,
// where project is "", in the registry as a whole. Every method of the Registrar begins
// with it, within the transaction that reads what it decides on: rights are those of that
// moment, and a decision is not appended once they have changed.
//
// It returns [pedigree.CodeUnauthenticated] for a caller that must say who it is first,
// [pedigree.CodeNotFound] for a project that the caller may not know of, and
// [pedigree.CodeForbidden]. While there are no accounts it looks nothing up.
func (r *Registrar) authorise(ctx context.Context, tx *sqlstore.Tx, p pedigree.Principal, permission pedigree.Permission, project pedigree.ProjectName) error {
	seq := tx.Access()
	if seq < 0 || p.Trusted() {
		return tx.Authorised
	}
	rights, err := r.rights(ctx, tx, p, seq)
	if err != nil {
		return err
	}
	id, err := r.knownProject(ctx, tx, project)
	if err != nil {
		return err
	}
	if tx.Recalled() && !permits(p, rights, permission, id) {
		return sqlstore.ErrForgotten // a denial is told, and so is never said from memory
	}
	if err := r.judge(ctx, p, rights, permission, project, id); err != nil {
		return err
	}
	return tx.Authorised
}

// may is authorise for a method that opens no transaction, and returns the size of the
// log at that moment. What the caller's own request has looked up is not asked again.
func (r *Registrar) may(ctx context.Context, p pedigree.Principal, permission pedigree.Permission, project pedigree.ProjectName) (head int64, err error) {
	head, seq := p.Head, p.Access
	if head == 0 {
		if head, seq, err = r.store.Access(ctx); err != nil {
			return 0, err
		}
	}
	if seq < 0 || p.Trusted() {
		return head, nil
	}
	var rights *sqlstore.Rights
	if p.Account() {
		rights = r.access.get(seq, caller{p.ID, p.Token})
	} else if rights, err = r.publicRights(); err != nil {
		return head, err
	}
	id := r.store.KnownProject(project)
	if rights != nil && (id != "" || project == "") {
		if err := r.stillGood(rights); err != nil {
			return head, err
		}
		return head, r.judge(ctx, p, rights, permission, project, id)
	}
	err = r.store.Read(ctx, pedigree.At{}, func(tx *sqlstore.Tx) error {
		head = tx.AsOf() + 1
		return r.authorise(ctx, tx, p, permission, project)
	})
	return head, err
}

// May refuses a caller as the operation that takes the permission would, for a dialect that
// is about to do something dear before it gets there. It decides nothing: the operation
// asks again.
func (r *Registrar) May(ctx context.Context, p pedigree.Principal, permission pedigree.Permission, project pedigree.ProjectName) error {
	_, err := r.may(ctx, p, permission, project)
	return err
}

// known refuses a caller that no longer is who it was: whose token has ended, or whose
// account may do nothing.
func (r *Registrar) known(ctx context.Context, tx *sqlstore.Tx, p pedigree.Principal) error {
	seq := tx.Access()
	if seq < 0 || p.Trusted() {
		return nil
	}
	_, err := r.rights(ctx, tx, p, seq)
	return err
}

// errAnonymous asks a caller that says nothing of itself for more.
var errAnonymous = pedigree.Errorf(pedigree.CodeUnauthenticated, "this registry has accounts, and the request does not say whose it is").
	WithFix("pedigree login, or set PEDIGREE_TOKEN (MLflow: MLFLOW_TRACKING_TOKEN)")

// rights are what a caller may by the events up to seq.
func (r *Registrar) rights(ctx context.Context, tx *sqlstore.Tx, p pedigree.Principal, seq int64) (*sqlstore.Rights, error) {
	if !p.Account() {
		return r.publicRights()
	}
	who := caller{p.ID, p.Token}
	rights := r.access.get(seq, who)
	if rights == nil {
		read, err := tx.Rights(ctx, p.ID, p.Token)
		if err != nil {
			return nil, err
		}
		rights = &read
		r.access.keep(seq, func() { r.access.rights[who] = rights })
	}
	return rights, r.stillGood(rights)
}

// publicRights are those of a caller that says nothing of itself, once there are accounts.
func (r *Registrar) publicRights() (*sqlstore.Rights, error) {
	if r.public == nil {
		return nil, errAnonymous
	}
	return &sqlstore.Rights{Grants: r.public}, nil
}

// stillGood refuses a disabled account and a token that has ended. No event says that a
// token's time is over.
func (r *Registrar) stillGood(rights *sqlstore.Rights) error {
	t := &rights.Token
	again := "pedigree token create makes another one, and pedigree login keeps it"
	switch {
	case rights.Disabled:
		return pedigree.Errorf(pedigree.CodeUnauthenticated, "the account %s is disabled", t.AccountName).WithFix("ask an administrator: pedigree account enable %s", t.AccountName)
	case t.Revoked:
		return pedigree.Errorf(pedigree.CodeUnauthenticated, "the token %s was revoked", t.ID).WithFix("%s", again)
	case t.Expired(r.now()):
		return pedigree.Errorf(pedigree.CodeUnauthenticated, "the token %s has expired at %s", t.ID, t.ExpiresAt.UTC().Format(time.RFC3339)).WithFix("%s", again)
	}
	return nil
}

// hasRole says whether a caller has a role in a project, or is an administrator there.
// Without accounts everybody has; nobody has "".
func (r *Registrar) hasRole(ctx context.Context, tx *sqlstore.Tx, p pedigree.Principal, role pedigree.Role, project pedigree.ProjectName) (bool, error) {
	seq := tx.Access()
	if seq < 0 || p.Trusted() {
		return true, nil
	}
	rights, err := r.rights(ctx, tx, p, seq)
	if err != nil || role == "" {
		return false, err
	}
	id, err := r.knownProject(ctx, tx, project)
	return pedigree.Holds(rights.Grants, rights.Token.Scopes, role, id), err
}

// knownProject is the id of a project by its name, "" for none.
func (r *Registrar) knownProject(ctx context.Context, tx *sqlstore.Tx, project pedigree.ProjectName) (string, error) {
	if project == "" {
		return "", nil
	}
	if id := r.store.KnownProject(project); id != "" { // rights are today's, whatever tx's moment is
		return id, nil
	}
	id, err := tx.ProjectID(ctx, project)
	if pedigree.CodeOf(err) == pedigree.CodeNotFound { // whoever may look finds that out by itself
		return "", nil
	}
	return id, err
}

// judge asks the one decision function, and says no in a way that tells nobody what they
// may not know.
func (r *Registrar) judge(ctx context.Context, p pedigree.Principal, rights *sqlstore.Rights, permission pedigree.Permission, project pedigree.ProjectName, id string) error {
	if permits(p, rights, permission, id) {
		return nil
	}
	if !p.Account() {
		return errAnonymous
	}
	if project != "" && id == "" {
		return sqlstore.NoProject(project)
	}
	if err := r.deny(ctx, p, permission, id); err != nil {
		return err
	}
	if project != "" && !permits(p, rights, pedigree.RecordsRead, id) {
		return sqlstore.NoProject(project)
	}
	return refusal(&rights.Token, permission, project, pedigree.Permits(rights.Grants, permission, id))
}

// permits says that a caller with these rights may do something in a project.
func permits(p pedigree.Principal, rights *sqlstore.Rights, permission pedigree.Permission, project string) bool {
	return pedigree.Permits(rights.Grants, permission, project) && pedigree.Narrow(rights.Token.Scopes, permission, project) &&
		(p.Account() || permission != pedigree.SignedIn)
}

// refusal says what is missing, and the command that gives it. scoped says that the
// account may, and its token may not.
func refusal(t *pedigree.Token, permission pedigree.Permission, project pedigree.ProjectName, scoped bool) error {
	where, flag := "in project "+string(project), "-p "+string(project)
	if project == "" {
		where, flag = "in the registry as a whole", "--instance"
	}
	if scoped {
		return pedigree.Errorf(pedigree.CodeForbidden, "the scopes of this token leave no %s %s", permission, where).
			WithFix("use a token with more scopes: pedigree token create --scope %s", permission)
	}
	const most = 3
	roles := ""
	for i, role := range permission.Least() {
		switch {
		case i == most:
			roles += " or a greater one"
		case i > most:
		case i > 0:
			roles += " or " + string(role)
		default:
			roles = string(role)
		}
	}
	return pedigree.Errorf(pedigree.CodeForbidden, "%s has no %s %s: that takes the role %s", t.AccountName, permission, where, roles).
		WithFix("ask an administrator: pedigree role grant %s %s %s", permission.Least()[0], t.AccountName, flag)
}

// Authenticate finds who shows a token by the hash of its text. It returns
// [pedigree.Local] while there are no accounts, and [pedigree.CodeUnauthenticated] for
// a token that means nothing, or nothing any more.
func (r *Registrar) Authenticate(ctx context.Context, hash [sha256.Size]byte) (pedigree.Principal, error) {
	head, seq, err := r.store.Access(ctx)
	if err != nil {
		return pedigree.Principal{}, err
	}
	who := shown{Principal: pedigree.Local}
	if seq >= 0 {
		var ok bool
		if who, ok = r.access.shownBy(seq, hash); !ok {
			if who, head, seq, err = r.lookUp(ctx, hash); err != nil {
				return pedigree.Principal{}, err
			}
		}
		if err := r.stillGood(who.rights); err != nil {
			return pedigree.Principal{}, err
		}
		r.uses.note(who.Token, r.now())
	}
	who.Head, who.Access = head, seq
	return who.Principal, nil
}

// lookUp reads who shows a token, and keeps it.
func (r *Registrar) lookUp(ctx context.Context, hash [sha256.Size]byte) (who shown, head, seq int64, err error) {
	err = r.store.Read(ctx, pedigree.At{}, func(tx *sqlstore.Tx) error {
		head, seq = tx.AsOf()+1, tx.Access()
		token, account, err := tx.TokenByHash(ctx, hash[:])
		if pedigree.CodeOf(err) == pedigree.CodeNotFound {
			return pedigree.Errorf(pedigree.CodeUnauthenticated, "the token that was sent is none of this registry's").
				WithFix("pedigree login with another one; an administrator makes them: pedigree token create --account NAME")
		}
		if err != nil {
			return err
		}
		rights, err := tx.Rights(ctx, account, token)
		if err != nil {
			return err
		}
		who.Principal = pedigree.Principal{ID: account, Kind: rights.Kind, ActsFor: rights.ActsFor, Token: token, Scopes: rights.Token.Scopes}
		who.rights = &rights
		r.access.keep(seq, func() { r.access.rights[caller{account, token}], r.access.shown[hash] = &rights, who })
		return nil
	})
	return who, head, seq, err
}

// HasAccounts says whether callers must say who they are.
func (r *Registrar) HasAccounts(ctx context.Context) (bool, error) {
	_, seq, err := r.store.Access(ctx)
	return seq >= 0, err
}

// tokenUses gathers when tokens were last shown, for [Registrar.WriteTokenUses].
type tokenUses struct {
	mu   sync.Mutex
	last map[string]time.Time
}

func (u *tokenUses) note(token string, now time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.last == nil {
		u.last = map[string]time.Time{}
	}
	u.last[token] = now
}

// WriteTokenUses writes when tokens were last shown: once in a while, and not while
// anybody waits for it.
func (r *Registrar) WriteTokenUses(ctx context.Context) error {
	r.uses.mu.Lock()
	last := r.uses.last
	r.uses.last = nil
	r.uses.mu.Unlock()
	if len(last) == 0 {
		return nil
	}
	if err := r.store.UseTokens(ctx, last); err != nil {
		return fmt.Errorf("write when tokens were used: %w", err)
	}
	return nil
}

// denials gathers refusals: the first of a minute is written at once, the others of that
// minute are counted and told of in the next event.
type denials struct {
	mu   sync.Mutex
	seen map[denial]*denied
}

type denial struct {
	actor, project string
	permission     pedigree.Permission
}

type denied struct {
	since time.Time
	more  int
}

// denialsEvery is how long refusals of one thing are gathered.
const denialsEvery = time.Minute

// deny writes that an account was refused, at most once a minute. The refusal holds
// whether or not it can be written; what can't be is the error of the call.
func (r *Registrar) deny(ctx context.Context, p pedigree.Principal, permission pedigree.Permission, projectID string) error {
	more, write := r.denials.note(denial{p.ID, projectID, permission}, r.now())
	if !write {
		return nil
	}
	return r.writeDenial(ctx, p, permission, projectID, more)
}

func (r *Registrar) writeDenial(ctx context.Context, p pedigree.Principal, permission pedigree.Permission, projectID string, more int) error {
	who := pedigree.Principal{ID: p.ID, RequestID: p.RequestID}
	_, err := r.store.Append(ctx, sqlstore.Append{Principal: who, Drafts: pedigree.Deny(permission, projectID, more)})
	return err
}

// note counts a refusal, and says whether to write it, with how many before it that were
// not.
func (d *denials) note(what denial, now time.Time) (more int, write bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.seen == nil {
		d.seen = map[denial]*denied{}
	}
	seen := d.seen[what]
	if seen != nil && now.Sub(seen.since) < denialsEvery {
		seen.more++
		return 0, false
	}
	if seen != nil {
		more = seen.more
	}
	d.seen[what] = &denied{since: now}
	return more, true
}

// take removes the refusals that were gathered for long enough, all where all is set.
func (d *denials) take(now time.Time, all bool) map[denial]int {
	d.mu.Lock()
	defer d.mu.Unlock()
	out := map[denial]int{}
	for what, seen := range d.seen {
		if all || now.Sub(seen.since) >= denialsEvery {
			delete(d.seen, what)
			if seen.more > 0 {
				out[what] = seen.more
			}
		}
	}
	return out
}

// WriteDenials writes the refusals that were gathered and whose minute is over; all of
// them where the registry is about to end.
func (r *Registrar) WriteDenials(ctx context.Context, all bool) error {
	for what, more := range r.denials.take(r.now(), all) {
		// The last of those that were not told of is the event itself.
		if err := r.writeDenial(ctx, pedigree.Principal{ID: what.actor}, what.permission, what.project, more-1); err != nil {
			return err
		}
	}
	return nil
}
