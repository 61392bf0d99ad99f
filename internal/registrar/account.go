package registrar

import (
	"context"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/internal/sqlstore"
)

// needAccounts refuses what makes no sense without accounts.
func needAccounts(tx *sqlstore.Tx) error {
	if tx.Access() >= 0 {
		return nil
	}
	return pedigree.Errorf(pedigree.CodeRefused, "this registry has no accounts yet: whoever reaches it may do everything").
		WithFix("pedigree admin init, where the registry's database is, makes the first one")
}

// EnableAccounts makes the first account, admin of the whole registry, and a token of it:
// from then on, on every server of the database, callers must say who they are. It
// returns [pedigree.CodeRefused] where they have to already.
func (r *Registrar) EnableAccounts(ctx context.Context, p pedigree.Principal, spec pedigree.NewAccount) (pedigree.Token, error) {
	if err := checkAccount(&spec); err != nil {
		return pedigree.Token{}, err
	}
	return r.makeToken(ctx, p, func(tx *sqlstore.Tx, text tokenText) (decision, error) {
		if !p.Trusted() { // whoever reaches the server could shut everybody else out
			return decision{}, pedigree.Errorf(pedigree.CodeForbidden, "accounts are switched on where the registry's database is").WithFix("pedigree admin init")
		}
		drafts, err := pedigree.EnableAccounts(tx.Access())
		if err != nil {
			return decision{}, err
		}
		account := pedigree.Account{ID: r.newID("acc"), Kind: pedigree.UserAccount, Name: spec.Name}
		member := pedigree.Member{ID: account.ID, Name: account.Name}
		for _, decide := range []func() ([]pedigree.Draft, error){
			func() ([]pedigree.Draft, error) { return pedigree.CreateAccount(account.ID, account.Kind, nil) },
			func() ([]pedigree.Draft, error) { return pedigree.AddBinding(pedigree.Admin, member, "", false) },
			func() ([]pedigree.Draft, error) {
				return pedigree.CreateToken(text.id, &account, nil, nil, nil, r.now())
			},
		} {
			more, err := decide()
			if err != nil {
				return decision{}, err
			}
			drafts = append(drafts, more...)
		}
		own := []sqlstore.Own{
			sqlstore.NameAccount(account.ID, spec.Name, spec.DisplayName, spec.Email),
			sqlstore.KeepToken(text.id, text.hash, "admin init"),
		}
		return decision{drafts: drafts, own: own}, nil
	})
}

func checkAccount(spec *pedigree.NewAccount) error {
	if _, err := pedigree.ParseActorName(string(spec.Name)); err != nil {
		return err
	}
	if spec.Kind == "" {
		spec.Kind = pedigree.UserAccount
	}
	return pedigree.CheckActor(spec.DisplayName, spec.Email)
}

// CreateAccount makes an account. It may do nothing yet. It returns [pedigree.CodeExists]
// for a name that is taken, and [pedigree.CodeNotFound] for a person that is not there.
func (r *Registrar) CreateAccount(ctx context.Context, p pedigree.Principal, spec pedigree.NewAccount) (pedigree.Account, error) {
	if err := checkAccount(&spec); err != nil {
		return pedigree.Account{}, err
	}
	appended, err := r.decide(ctx, p, func(tx *sqlstore.Tx) (decision, error) {
		if err := r.authorise(ctx, tx, p, pedigree.AccountsWrite, ""); err != nil {
			return decision{}, err
		}
		if err := needAccounts(tx); err != nil {
			return decision{}, err
		}
		if _, err := tx.Account(ctx, string(spec.Name)); err == nil {
			return decision{}, pedigree.Errorf(pedigree.CodeExists, "account %s exists", spec.Name).WithFix("pedigree account edit %s", spec.Name)
		} else if pedigree.CodeOf(err) != pedigree.CodeNotFound {
			return decision{}, err
		}
		person, err := actsFor(ctx, tx, spec.ActsFor)
		if err != nil {
			return decision{}, err
		}
		id := r.newID("acc")
		drafts, err := pedigree.CreateAccount(id, spec.Kind, person)
		return decision{drafts: drafts, own: []sqlstore.Own{sqlstore.NameAccount(id, spec.Name, spec.DisplayName, spec.Email)}}, err
	})
	if err != nil {
		return pedigree.Account{}, err
	}
	return r.account(ctx, appended.Events[0].Subject)
}

// actsFor finds the person for whom a service account is to act, nil for none.
func actsFor(ctx context.Context, tx *sqlstore.Tx, name string) (*pedigree.Account, error) {
	if name == "" {
		return nil, nil
	}
	person, err := tx.Account(ctx, name)
	return &person, err
}

// account reads an account, for whoever has just changed it.
func (r *Registrar) account(ctx context.Context, nameOrID string) (a pedigree.Account, err error) {
	err = r.store.Read(ctx, pedigree.At{}, func(tx *sqlstore.Tx) (err error) {
		a, err = tx.Account(ctx, nameOrID)
		return err
	})
	return a, err
}

// Account reads an account by its name or its id. The address is shown to those who may
// change accounts, and to the account itself. It returns [pedigree.CodeNotFound].
func (r *Registrar) Account(ctx context.Context, p pedigree.Principal, nameOrID string) (a pedigree.Account, err error) {
	err = r.store.Read(ctx, pedigree.At{}, func(tx *sqlstore.Tx) (err error) {
		if err := r.authorise(ctx, tx, p, pedigree.SignedIn, ""); err != nil {
			return err
		}
		if a, err = tx.Account(ctx, nameOrID); err != nil {
			return err
		}
		return r.hideAddresses(ctx, tx, p, &a)
	})
	return a, err
}

// hideAddresses takes addresses of others out, for a caller that may not change accounts.
func (r *Registrar) hideAddresses(ctx context.Context, tx *sqlstore.Tx, p pedigree.Principal, accounts ...*pedigree.Account) error {
	reach, err := r.reach(ctx, tx, p, pedigree.AccountsWrite)
	if err != nil || reach.everywhere() {
		return err
	}
	for _, a := range accounts {
		if a.ID != p.ID {
			a.Email = ""
		}
	}
	return nil
}

// Accounts lists accounts by name; those whose name was erased are not among them.
func (r *Registrar) Accounts(ctx context.Context, p pedigree.Principal, page pedigree.Page) (pedigree.List[pedigree.Account], error) {
	out := pedigree.List[pedigree.Account]{Items: []pedigree.Account{}}
	var after pedigree.ActorName
	if err := decodeCursor(page.Cursor, &after); err != nil {
		return out, err
	}
	err := r.store.Read(ctx, pedigree.At{}, func(tx *sqlstore.Tx) error {
		if err := r.authorise(ctx, tx, p, pedigree.SignedIn, ""); err != nil {
			return err
		}
		items, err := tx.Accounts(ctx, after, page.Size()+1)
		if err != nil {
			return err
		}
		if len(items) > page.Size() {
			items = items[:page.Size()]
			out.Next = encodeCursor(items[len(items)-1].Name)
		}
		for i := range items {
			if err := r.hideAddresses(ctx, tx, p, &items[i]); err != nil {
				return err
			}
		}
		out.Items, out.AsOf = append(out.Items, items...), tx.AsOf()
		return nil
	})
	return out, err
}

// changeAccount loads an account that the caller may change, and decides.
func (r *Registrar) changeAccount(ctx context.Context, p pedigree.Principal, nameOrID string, f func(tx *sqlstore.Tx, a *pedigree.Account) (decision, error)) (pedigree.Account, error) {
	var before pedigree.Account
	_, err := r.decide(ctx, p, func(tx *sqlstore.Tx) (decision, error) {
		if err := r.authorise(ctx, tx, p, pedigree.AccountsWrite, ""); err != nil {
			return decision{}, err
		}
		if err := needAccounts(tx); err != nil {
			return decision{}, err
		}
		var err error
		if before, err = tx.Account(ctx, nameOrID); err != nil {
			return decision{}, err
		}
		return f(tx, &before)
	})
	if err != nil {
		return before, err
	}
	if before.ID != "" { // it may have lost its name
		nameOrID = before.ID
	}
	return r.account(ctx, nameOrID)
}

// EditAccount changes what is said of an account. It returns [pedigree.CodeNotFound].
func (r *Registrar) EditAccount(ctx context.Context, p pedigree.Principal, nameOrID string, edit pedigree.AccountEdit) (pedigree.Account, error) {
	return r.changeAccount(ctx, p, nameOrID, func(tx *sqlstore.Tx, a *pedigree.Account) (decision, error) {
		var d decision
		if edit.ActsFor != nil {
			person, err := actsFor(ctx, tx, *edit.ActsFor)
			if err != nil {
				return d, err
			}
			if d.drafts, err = a.SetActsFor(person); err != nil {
				return d, err
			}
		}
		display, email := a.DisplayName, a.Email
		if edit.DisplayName != nil {
			display = *edit.DisplayName
		}
		if edit.Email != nil {
			email = *edit.Email
		}
		if err := pedigree.CheckActor(display, email); err != nil {
			return d, err
		}
		if display == a.DisplayName && email == a.Email {
			return d, nil
		}
		if a.Erased {
			return d, pedigree.Errorf(pedigree.CodeRefused, "the account %s was erased", a.ID)
		}
		d.own = []sqlstore.Own{sqlstore.NameAccount(a.ID, a.Name, display, email)}
		if len(d.drafts) == 0 {
			d.drafts = a.Describe()
		}
		return d, nil
	})
}

// DisableAccount takes every right from an account until [Registrar.EnableAccount]. It
// returns [pedigree.CodeRefused] for the last one that is admin of the whole registry.
func (r *Registrar) DisableAccount(ctx context.Context, p pedigree.Principal, nameOrID, reason string) (pedigree.Account, error) {
	return r.changeAccount(ctx, p, nameOrID, func(tx *sqlstore.Tx, a *pedigree.Account) (decision, error) {
		last, err := lastAdmin(ctx, tx, a.ID)
		if err != nil {
			return decision{}, err
		}
		drafts, err := a.Disable(last, reason)
		return decision{drafts: drafts}, err
	})
}

// lastAdmin says that no other account is admin of the whole registry, and this one is.
func lastAdmin(ctx context.Context, tx *sqlstore.Tx, id string) (bool, error) {
	is, err := tx.HasBinding(ctx, pedigree.Admin, id, "")
	if err != nil || !is {
		return false, err
	}
	others, err := tx.OtherAdmins(ctx, id)
	return !others, err
}

// EnableAccount undoes [Registrar.DisableAccount].
func (r *Registrar) EnableAccount(ctx context.Context, p pedigree.Principal, nameOrID, reason string) (pedigree.Account, error) {
	return r.changeAccount(ctx, p, nameOrID, func(_ *sqlstore.Tx, a *pedigree.Account) (decision, error) {
		drafts, err := a.Enable(reason)
		return decision{drafts: drafts}, err
	})
}

// EraseAccount removes the name and the addresses of an account, and its tokens, for good.
// What it did stays in the log under its id.
func (r *Registrar) EraseAccount(ctx context.Context, p pedigree.Principal, nameOrID string) (pedigree.Account, error) {
	a, err := r.changeAccount(ctx, p, nameOrID, func(tx *sqlstore.Tx, a *pedigree.Account) (decision, error) {
		last, err := lastAdmin(ctx, tx, a.ID)
		if err != nil {
			return decision{}, err
		}
		drafts, err := a.Erase(last)
		return decision{drafts: drafts, own: sqlstore.ForgetActor(a.ID)}, err
	})
	if err != nil {
		return a, err
	}
	return a, r.store.Scrub(ctx)
}

// WhoAmI says what the registry knows of the caller.
func (r *Registrar) WhoAmI(ctx context.Context, p pedigree.Principal) (out pedigree.Identity, err error) {
	err = r.store.Read(ctx, pedigree.At{}, func(tx *sqlstore.Tx) error {
		if out.Accounts = tx.Access() >= 0; !out.Accounts || !p.Account() {
			return r.authorise(ctx, tx, p, pedigree.SignedIn, "")
		}
		if err := r.authorise(ctx, tx, p, pedigree.SignedIn, ""); err != nil {
			return err
		}
		account, err := tx.Account(ctx, p.ID)
		if err != nil {
			return err
		}
		token, err := tx.Token(ctx, p.Token)
		if err != nil {
			return err
		}
		if err := r.nameScopes(ctx, tx, &token); err != nil {
			return err
		}
		out.Account, out.Token = &account, &token
		out.Bindings, err = tx.BindingsOf(ctx, p.ID)
		return err
	})
	return out, err
}

// Names are the names of accounts and groups by their ids, for a caller who has signed
// in. Whoever has none, and what is no such id, is not among them.
func (r *Registrar) Names(ctx context.Context, p pedigree.Principal, ids []string) (map[string]pedigree.ActorName, error) {
	if len(ids) == 0 || !p.Account() {
		return nil, nil
	}
	out := make(map[string]pedigree.ActorName, len(ids))
	var missing []string
	for _, id := range ids {
		if name, ok := r.access.name(p.Access, id); ok {
			out[id] = name
		} else {
			missing = append(missing, id)
		}
	}
	if len(missing) == 0 {
		return out, nil
	}
	err := r.store.Read(ctx, pedigree.At{}, func(tx *sqlstore.Tx) error {
		if err := r.authorise(ctx, tx, p, pedigree.SignedIn, ""); err != nil {
			return err
		}
		seq := tx.Access()
		found, err := tx.Names(ctx, missing)
		if err != nil {
			return err
		}
		for id, name := range found {
			out[id] = name
			r.access.keep(seq, func() { r.access.names[id] = name })
		}
		return nil
	})
	return out, err
}
