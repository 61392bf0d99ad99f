package registrar

import (
	"context"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/internal/sqlstore"
)

// CreateGroup makes a group without members. It returns [pedigree.CodeExists] for a name
// that is taken.
func (r *Registrar) CreateGroup(ctx context.Context, p pedigree.Principal, name pedigree.ActorName) (pedigree.Group, error) {
	if _, err := pedigree.ParseActorName(string(name)); err != nil {
		return pedigree.Group{}, err
	}
	appended, err := r.decide(ctx, p, func(tx *sqlstore.Tx) (decision, error) {
		if err := r.authorise(ctx, tx, p, pedigree.AccountsWrite, ""); err != nil {
			return decision{}, err
		}
		if err := needAccounts(tx); err != nil {
			return decision{}, err
		}
		if _, err := tx.Group(ctx, string(name)); err == nil {
			return decision{}, pedigree.Errorf(pedigree.CodeExists, "group %s exists", name)
		} else if pedigree.CodeOf(err) != pedigree.CodeNotFound {
			return decision{}, err
		}
		id := r.newID("grp")
		return decision{drafts: pedigree.CreateGroup(id), own: []sqlstore.Own{sqlstore.NameGroup(id, name)}}, nil
	})
	if err != nil {
		return pedigree.Group{}, err
	}
	return r.group(ctx, appended.Events[0].Subject)
}

func (r *Registrar) group(ctx context.Context, nameOrID string) (g pedigree.Group, err error) {
	err = r.store.Read(ctx, pedigree.At{}, func(tx *sqlstore.Tx) (err error) {
		g, err = tx.Group(ctx, nameOrID)
		return err
	})
	return g, err
}

// Group reads a group with its members by its name or its id. It returns
// [pedigree.CodeNotFound].
func (r *Registrar) Group(ctx context.Context, p pedigree.Principal, nameOrID string) (g pedigree.Group, err error) {
	err = r.store.Read(ctx, pedigree.At{}, func(tx *sqlstore.Tx) (err error) {
		if err := r.authorise(ctx, tx, p, pedigree.SignedIn, ""); err != nil {
			return err
		}
		g, err = tx.Group(ctx, nameOrID)
		return err
	})
	return g, err
}

// Groups lists groups by name, without their members.
func (r *Registrar) Groups(ctx context.Context, p pedigree.Principal, page pedigree.Page) (pedigree.List[pedigree.Group], error) {
	out := pedigree.List[pedigree.Group]{Items: []pedigree.Group{}}
	var after pedigree.ActorName
	if err := decodeCursor(page.Cursor, &after); err != nil {
		return out, err
	}
	err := r.store.Read(ctx, pedigree.At{}, func(tx *sqlstore.Tx) error {
		if err := r.authorise(ctx, tx, p, pedigree.SignedIn, ""); err != nil {
			return err
		}
		items, err := tx.Groups(ctx, after, page.Size()+1)
		if len(items) > page.Size() {
			items = items[:page.Size()]
			out.Next = encodeCursor(items[len(items)-1].Name)
		}
		out.Items, out.AsOf = append(out.Items, items...), tx.AsOf()
		return err
	})
	return out, err
}

// changeGroup loads a group that the caller may change, and decides.
func (r *Registrar) changeGroup(ctx context.Context, p pedigree.Principal, nameOrID string, f func(tx *sqlstore.Tx, g *pedigree.Group) (decision, error)) (pedigree.Group, error) {
	var before pedigree.Group
	_, err := r.decide(ctx, p, func(tx *sqlstore.Tx) (decision, error) {
		if err := r.authorise(ctx, tx, p, pedigree.AccountsWrite, ""); err != nil {
			return decision{}, err
		}
		if err := needAccounts(tx); err != nil {
			return decision{}, err
		}
		var err error
		if before, err = tx.Group(ctx, nameOrID); err != nil {
			return decision{}, err
		}
		return f(tx, &before)
	})
	return before, err
}

// DeleteGroup ends a group and what was granted to it. It returns
// [pedigree.CodeNotFound].
func (r *Registrar) DeleteGroup(ctx context.Context, p pedigree.Principal, nameOrID string) error {
	_, err := r.changeGroup(ctx, p, nameOrID, func(_ *sqlstore.Tx, g *pedigree.Group) (decision, error) {
		return decision{drafts: g.Delete(), own: sqlstore.ForgetActor(g.ID)}, nil
	})
	return err
}

// AddMember puts an account into a group. It returns [pedigree.CodeNotFound].
func (r *Registrar) AddMember(ctx context.Context, p pedigree.Principal, group, account string) (pedigree.Group, error) {
	return r.changeMember(ctx, p, group, account, (*pedigree.Group).Add)
}

// RemoveMember takes an account out of a group. It returns [pedigree.CodeNotFound].
func (r *Registrar) RemoveMember(ctx context.Context, p pedigree.Principal, group, account string) (pedigree.Group, error) {
	return r.changeMember(ctx, p, group, account, (*pedigree.Group).Remove)
}

func (r *Registrar) changeMember(ctx context.Context, p pedigree.Principal, group, account string, change func(*pedigree.Group, *pedigree.Account) ([]pedigree.Draft, error)) (pedigree.Group, error) {
	before, err := r.changeGroup(ctx, p, group, func(tx *sqlstore.Tx, g *pedigree.Group) (decision, error) {
		a, err := tx.Account(ctx, account)
		if err != nil {
			return decision{}, err
		}
		drafts, err := change(g, &a)
		return decision{drafts: drafts}, err
	})
	if err != nil {
		return before, err
	}
	if before.ID != "" {
		group = before.ID
	}
	return r.group(ctx, group)
}
