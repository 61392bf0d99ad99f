package sqlstore

import (
	"context"
	"errors"
	"slices"

	"github.com/pedigree-ml/pedigree"
)

// account applies an event about an account. Each change ends one interval and begins the
// next: for whom a service account acted is asked of past moments, too.
func (a *applier) account() {
	e := a.e
	next := func(columns string, args ...any) {
		a.out.exec("INSERT INTO view_accounts (id, kind, acts_for, disabled, erased, seq, from_seq) SELECT id, kind, "+columns+
			", seq, CAST($2 AS BIGINT) FROM view_accounts WHERE id = $1 AND to_seq IS NULL", append([]any{e.Subject, e.Seq}, args...)...)
		a.out.exec("UPDATE view_accounts SET to_seq = $1 WHERE id = $2 AND to_seq IS NULL AND from_seq < $1", e.Seq, e.Subject)
	}
	switch e.Type {
	case pedigree.AccountCreated:
		a.out.insert(viewAccounts, e.Subject, e.String("kind"), e.String("acts_for"), e.Seq, e.Seq)
	case pedigree.AccountChanged:
		if e.Field("acts_for") != nil { // otherwise something changed that no event holds
			next("CAST($3 AS TEXT), disabled, erased", e.String("acts_for"))
		}
	case pedigree.AccountDisabled:
		next("acts_for, 1, erased")
	case pedigree.AccountEnabled:
		next("acts_for, 0, erased")
	case pedigree.AccountErased:
		next("acts_for, 1, 1")
		a.out.exec("UPDATE view_bindings SET to_seq = $1 WHERE member = $2 AND to_seq IS NULL", e.Seq, e.Subject)
		a.out.exec("UPDATE view_members SET to_seq = $1 WHERE account = $2 AND to_seq IS NULL", e.Seq, e.Subject)
		a.out.exec("UPDATE view_tokens SET revoked_seq = $1 WHERE account = $2 AND revoked_seq IS NULL", e.Seq, e.Subject)
	}
}

// Rights are what an account may, and by which token: all of today, whatever tx's moment
// is.
type Rights struct {
	Kind     pedigree.AccountKind
	ActsFor  string
	Disabled bool
	Token    pedigree.Token
	Grants   []pedigree.Grant
}

// Rights reads what a caller may. It returns [pedigree.CodeUnauthenticated] for a token or
// an account that is not there.
func (tx *Tx) Rights(ctx context.Context, account, token string) (Rights, error) {
	var out Rights
	err := tx.row(ctx, "SELECT kind, acts_for, disabled FROM view_accounts WHERE id = $1 AND to_seq IS NULL", []any{account}, (*string)(&out.Kind), &out.ActsFor, &out.Disabled)
	if errors.Is(err, errNoRows) {
		return out, pedigree.Errorf(pedigree.CodeUnauthenticated, "there is no such account any more")
	}
	if err != nil {
		return out, tx.s.d.translate(err, "read an account")
	}
	if out.Token, err = tx.token(ctx, token); err != nil {
		if pedigree.CodeOf(err) == pedigree.CodeNotFound {
			return out, pedigree.Errorf(pedigree.CodeUnauthenticated, "there is no such token any more")
		}
		return out, err
	}
	err = tx.each(ctx, "read what an account may", `SELECT project, role FROM view_bindings WHERE to_seq IS NULL
AND (member = $1 OR member IN (SELECT grp FROM view_members WHERE account = $1 AND to_seq IS NULL)) ORDER BY project, role`, []any{account}, func(rows rows) error {
		var g pedigree.Grant
		err := rows.Scan(&g.Project, (*string)(&g.Role))
		out.Grants = append(out.Grants, g)
		return err
	})
	return out, err
}

// Own are statements on own_ tables that are written with the events of an append, or not
// at all.
type Own struct {
	text string
	args []any
}

// The kinds of actor that have a name.
const (
	actorAccount = "account"
	actorGroup   = "group"
)

// NameAccount gives an account its name and addresses.
func NameAccount(id string, name pedigree.ActorName, display, email string) Own {
	return Own{
		`INSERT INTO own_actors (id, kind, name, display, email) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (id) DO UPDATE SET name = excluded.name, display = excluded.display, email = excluded.email`,
		[]any{id, actorAccount, string(name), display, email},
	}
}

// NameGroup gives a group its name.
func NameGroup(id string, name pedigree.ActorName) Own {
	return Own{"INSERT INTO own_actors (id, kind, name, display, email) VALUES ($1, $2, $3, '', '')", []any{id, actorGroup, string(name)}}
}

// ForgetActor removes the name and the addresses of an account or a group for good.
func ForgetActor(id string) []Own {
	return []Own{
		{"DELETE FROM own_tokens WHERE id IN (SELECT id FROM view_tokens WHERE account = $1)", []any{id}},
		{"DELETE FROM own_actors WHERE id = $1", []any{id}},
	}
}

const accountText = `SELECT a.id, a.kind, a.acts_for, a.disabled, a.erased, a.seq, coalesce(s.seq, a.seq), e.envelope,
  coalesce(o.name, ''), coalesce(o.display, ''), coalesce(o.email, ''), coalesce(f.name, '')
FROM view_accounts a JOIN log_events e ON e.seq = a.seq LEFT JOIN view_subjects s ON s.subject = a.id
LEFT JOIN own_actors o ON o.id = a.id LEFT JOIN own_actors f ON f.id = a.acts_for WHERE a.to_seq IS NULL AND `

// accounts reads accounts as they are now, whatever tx's moment is.
func (tx *Tx) accounts(ctx context.Context, where string, args ...any) ([]pedigree.Account, error) {
	var out []pedigree.Account
	err := tx.each(ctx, "read accounts", accountText+where, args, func(rows rows) error {
		var a pedigree.Account
		var envelope string
		if err := rows.Scan(&a.ID, (*string)(&a.Kind), &a.ActsFor, &a.Disabled, &a.Erased, &a.Seq, &a.Changed, &envelope,
			(*string)(&a.Name), &a.DisplayName, &a.Email, (*string)(&a.ActsForName)); err != nil {
			return err
		}
		e, err := pedigree.ParseEnvelope(envelope)
		a.CreatedAt, a.CreatedBy = e.Time, e.Actor
		out = append(out, a)
		return err
	})
	return out, err
}

// Account finds an account by its name or its id, as it is now. It returns
// [pedigree.CodeNotFound].
func (tx *Tx) Account(ctx context.Context, nameOrID string) (pedigree.Account, error) {
	found, err := tx.accounts(ctx, "(a.id = $1 OR a.id = (SELECT id FROM own_actors WHERE kind = 'account' AND name = $1))", nameOrID)
	if err == nil && len(found) == 0 {
		err = pedigree.Errorf(pedigree.CodeNotFound, "there is no account %s", nameOrID).WithFix("pedigree account list")
	}
	if err != nil {
		return pedigree.Account{}, err
	}
	return found[0], nil
}

// Accounts lists accounts that were not erased by name, after the given one.
func (tx *Tx) Accounts(ctx context.Context, after pedigree.ActorName, limit int) ([]pedigree.Account, error) {
	return tx.accounts(ctx, "o.name > $1 ORDER BY o.name LIMIT $2", string(after), limit)
}

// OtherAdmins says whether an account other than the given one is enabled and admin of
// the whole registry, by a binding of its own.
func (tx *Tx) OtherAdmins(ctx context.Context, id string) (bool, error) {
	var n int64
	err := tx.row(ctx, `SELECT count(*) FROM view_bindings b JOIN view_accounts a ON a.id = b.member AND a.to_seq IS NULL AND a.disabled = 0
WHERE b.project = '' AND b.role = $1 AND b.to_seq IS NULL AND b.member <> $2`, []any{string(pedigree.Admin), id}, &n)
	return n > 0, tx.s.d.translate(err, "count the administrators")
}

// ActedFor is the kind of the account that an actor was, "" for none, and for each of some
// events, oldest first, the id of the person for whom a service account acted then, "" for
// none that was known.
func (tx *Tx) ActedFor(ctx context.Context, account string, seqs []int64) (kind pedigree.AccountKind, people []string, err error) {
	people = make([]string, len(seqs))
	err = tx.each(ctx, "read an account", "SELECT kind, acts_for, from_seq FROM view_accounts WHERE id = $1 ORDER BY from_seq", []any{account}, func(rows rows) error {
		var person string
		var from int64
		err := rows.Scan((*string)(&kind), &person, &from)
		for i, seq := range seqs {
			if seq >= from {
				people[i] = person
			}
		}
		return err
	})
	return kind, people, err
}

// Names are the names that accounts and groups have now, by their ids. Whoever has none
// is not among them.
func (tx *Tx) Names(ctx context.Context, ids []string) (map[string]pedigree.ActorName, error) {
	out := make(map[string]pedigree.ActorName, len(ids))
	for chunk := range slices.Chunk(compact(slices.Clone(ids)), 64) {
		in, args := list(nil, chunk)
		err := tx.each(ctx, "read names", "SELECT id, coalesce(name, '') FROM own_actors WHERE id IN ("+in+")", args, func(rows rows) error {
			var id, name string
			err := rows.Scan(&id, &name)
			out[id] = pedigree.ActorName(name)
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}
