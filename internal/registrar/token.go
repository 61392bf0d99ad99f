package registrar

import (
	"context"
	"fmt"
	"io"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/internal/sqlstore"
)

// tokenText is a new token: its id, its text, and what is kept of that.
type tokenText struct {
	id, text string
	hash     []byte
}

func (r *Registrar) newToken() (tokenText, error) {
	var random [32]byte
	if _, err := io.ReadFull(r.rand, random[:]); err != nil {
		return tokenText{}, fmt.Errorf("make a token: %w", err)
	}
	text := pedigree.TokenText(random)
	hash, _ := pedigree.TokenHash(text)
	return tokenText{id: r.newID("tok"), text: text, hash: hash[:]}, nil
}

// makeToken decides and appends what f wants of a new token, and returns it with its text:
// unless this call only repeats an earlier one, whose answer alone had it.
func (r *Registrar) makeToken(ctx context.Context, p pedigree.Principal, f func(tx *sqlstore.Tx, text tokenText) (decision, error)) (pedigree.Token, error) {
	text, err := r.newToken()
	if err != nil {
		return pedigree.Token{}, err
	}
	appended, err := r.decide(ctx, p, func(tx *sqlstore.Tx) (decision, error) { return f(tx, text) })
	if err != nil {
		return pedigree.Token{}, err
	}
	var out pedigree.Token
	for i := range appended.Events {
		if e := &appended.Events[i]; e.Type == pedigree.TokenCreated {
			out.ID = e.Subject
		}
	}
	err = r.store.Read(ctx, pedigree.At{}, func(tx *sqlstore.Tx) error {
		if out, err = tx.Token(ctx, out.ID); err != nil {
			return err
		}
		return r.nameScopes(ctx, tx, &out)
	})
	if err == nil && !appended.Replayed {
		out.Text = text.text
	}
	return out, err
}

// CreateToken makes a token of the caller's own account, or of another for who may change
// accounts. The answer is the only one that ever has its text; that of a repeated call has
// none. It returns [pedigree.CodeNotFound], [pedigree.CodeInvalid] and
// [pedigree.CodeForbidden].
func (r *Registrar) CreateToken(ctx context.Context, p pedigree.Principal, spec pedigree.NewToken) (pedigree.Token, error) {
	if err := pedigree.CheckActor(spec.Name, ""); err != nil {
		return pedigree.Token{}, err
	}
	return r.makeToken(ctx, p, func(tx *sqlstore.Tx, text tokenText) (decision, error) {
		account, err := r.tokensOf(ctx, tx, p, spec.Account)
		if err != nil {
			return decision{}, err
		}
		var by *pedigree.Token
		if p.Token != "" {
			shown, err := tx.Token(ctx, p.Token)
			if err != nil {
				return decision{}, err
			}
			by = &shown
		}
		scopes := make([]pedigree.Scope, len(spec.Scopes))
		for i, s := range spec.Scopes {
			if scopes[i], err = r.placeScope(ctx, tx, p, s); err != nil {
				return decision{}, err
			}
		}
		drafts, err := pedigree.CreateToken(text.id, &account, scopes, spec.ExpiresAt, by, r.now())
		return decision{drafts: drafts, own: []sqlstore.Own{sqlstore.KeepToken(text.id, text.hash, spec.Name)}}, err
	})
}

// tokensOf finds the account whose tokens the caller may see, make and revoke: its own for
// "", others for who may change accounts.
func (r *Registrar) tokensOf(ctx context.Context, tx *sqlstore.Tx, p pedigree.Principal, nameOrID string) (pedigree.Account, error) {
	if err := r.authorise(ctx, tx, p, pedigree.SignedIn, ""); err != nil {
		return pedigree.Account{}, err
	}
	if err := needAccounts(tx); err != nil {
		return pedigree.Account{}, err
	}
	if nameOrID == "" {
		if !p.Account() {
			return pedigree.Account{}, pedigree.Errorf(pedigree.CodeInvalid, "name the account whose token it is")
		}
		nameOrID = p.ID
	}
	a, err := tx.Account(ctx, nameOrID)
	if err != nil {
		return a, err
	}
	if a.ID != p.ID {
		err = r.authorise(ctx, tx, p, pedigree.AccountsWrite, "")
	}
	return a, err
}

// placeScope turns the project's name in a scope into its id.
func (r *Registrar) placeScope(ctx context.Context, tx *sqlstore.Tx, p pedigree.Principal, s pedigree.Scope) (pedigree.Scope, error) {
	s, err := pedigree.ParseScope(string(s))
	if err != nil {
		return s, err
	}
	name, _ := s.Split()
	if name == "" {
		return s, nil
	}
	if err := r.authorise(ctx, tx, p, pedigree.RecordsRead, pedigree.ProjectName(name)); err != nil {
		return s, err
	}
	id, err := tx.ProjectID(ctx, pedigree.ProjectName(name))
	return s.In(id), err
}

// nameScopes turns the ids of projects in a token's scopes into their names.
func (r *Registrar) nameScopes(ctx context.Context, tx *sqlstore.Tx, t *pedigree.Token) error {
	for i, s := range t.Scopes {
		id, _ := s.Split()
		if id == "" {
			continue
		}
		name, err := tx.ProjectName(ctx, id)
		if err != nil {
			return err
		}
		t.Scopes[i] = s.In(string(name))
	}
	return nil
}

// Tokens lists the tokens of an account that were not revoked: of the caller's own for "",
// and with "*" those of all accounts, for who may change them.
func (r *Registrar) Tokens(ctx context.Context, p pedigree.Principal, account string, page pedigree.Page) (pedigree.List[pedigree.Token], error) {
	out := pedigree.List[pedigree.Token]{Items: []pedigree.Token{}}
	after := int64(-1)
	if err := decodeCursor(page.Cursor, &after); err != nil {
		return out, err
	}
	err := r.store.Read(ctx, pedigree.At{}, func(tx *sqlstore.Tx) error {
		id := ""
		if account == "*" {
			if err := r.authorise(ctx, tx, p, pedigree.AccountsWrite, ""); err != nil {
				return err
			}
		} else {
			a, err := r.tokensOf(ctx, tx, p, account)
			if err != nil {
				return err
			}
			id = a.ID
		}
		items, err := tx.Tokens(ctx, id, after, page.Size()+1)
		if err != nil {
			return err
		}
		if len(items) > page.Size() {
			items = items[:page.Size()]
			out.Next = encodeCursor(items[len(items)-1].Seq)
		}
		for i := range items {
			if err := r.nameScopes(ctx, tx, &items[i]); err != nil {
				return err
			}
		}
		out.Items, out.AsOf = append(out.Items, items...), tx.AsOf()
		return nil
	})
	return out, err
}

// RevokeToken ends a token at once, on every server. It returns [pedigree.CodeNotFound],
// also for a token of another account that the caller may not change.
func (r *Registrar) RevokeToken(ctx context.Context, p pedigree.Principal, id string) error {
	_, err := r.decide(ctx, p, func(tx *sqlstore.Tx) (decision, error) {
		if err := r.authorise(ctx, tx, p, pedigree.SignedIn, ""); err != nil {
			return decision{}, err
		}
		if err := needAccounts(tx); err != nil {
			return decision{}, err
		}
		t, err := tx.Token(ctx, id)
		if err != nil {
			return decision{}, err
		}
		if t.Account != p.ID {
			if err := r.authorise(ctx, tx, p, pedigree.AccountsWrite, ""); err != nil {
				return decision{}, err
			}
		}
		return decision{drafts: t.Revoke(), own: []sqlstore.Own{sqlstore.ForgetToken(id)}}, nil
	})
	return err
}
