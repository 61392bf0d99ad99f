package registrar

import (
	"context"
	"strings"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/internal/sqlstore"
)

// member finds an account or, after "group:", a group, by name or id.
func member(ctx context.Context, tx *sqlstore.Tx, text string) (pedigree.Member, error) {
	name, prefixed := strings.CutPrefix(text, pedigree.GroupPrefix)
	if prefixed || strings.HasPrefix(text, "grp_") {
		g, err := tx.Group(ctx, name)
		return pedigree.Member{ID: g.ID, Name: g.Name, Group: true}, err
	}
	a, err := tx.Account(ctx, text)
	return pedigree.Member{ID: a.ID, Name: a.Name}, err
}

// bound finds what a change of a binding rests on: the member, the project's id, and
// whether the binding is there.
func (r *Registrar) bound(ctx context.Context, tx *sqlstore.Tx, p pedigree.Principal, project pedigree.ProjectName, b pedigree.NewBinding) (m pedigree.Member, projectID string, has bool, err error) {
	if err := r.authorise(ctx, tx, p, pedigree.BindingsWrite, project); err != nil {
		return m, "", false, err
	}
	if err := needAccounts(tx); err != nil {
		return m, "", false, err
	}
	if project != "" {
		if projectID, err = tx.ProjectID(ctx, project); err != nil {
			return m, "", false, err
		}
	}
	if m, err = member(ctx, tx, b.Member); err != nil {
		return m, projectID, false, err
	}
	has, err = tx.HasBinding(ctx, b.Role, m.ID, projectID)
	return m, projectID, has, err
}

// AddBinding gives an account or a group a role in a project or, where project is "", for
// the whole registry. It returns [pedigree.CodeNotFound].
func (r *Registrar) AddBinding(ctx context.Context, p pedigree.Principal, project pedigree.ProjectName, b pedigree.NewBinding) (pedigree.Binding, error) {
	var out pedigree.Binding
	var projectID string
	_, err := r.decide(ctx, p, func(tx *sqlstore.Tx) (decision, error) {
		m, id, has, err := r.bound(ctx, tx, p, project, b)
		if err != nil {
			return decision{}, err
		}
		out.Member, projectID = m, id
		drafts, err := pedigree.AddBinding(b.Role, m, id, has)
		return decision{drafts: drafts}, err
	})
	if err != nil {
		return out, err
	}
	err = r.store.Read(ctx, pedigree.At{}, func(tx *sqlstore.Tx) error {
		if out.Member.ID == "" { // the call repeats an earlier one
			if out.Member, err = member(ctx, tx, b.Member); err != nil {
				return err
			}
			if project != "" {
				if projectID, err = tx.ProjectID(ctx, project); err != nil {
					return err
				}
			}
		}
		out, err = tx.Binding(ctx, b.Role, out.Member.ID, projectID)
		return err
	})
	return out, err
}

// RemoveBinding takes a role away. It returns [pedigree.CodeNotFound], and
// [pedigree.CodeRefused] for the last account that is admin of the whole registry.
func (r *Registrar) RemoveBinding(ctx context.Context, p pedigree.Principal, project pedigree.ProjectName, b pedigree.NewBinding) error {
	_, err := r.decide(ctx, p, func(tx *sqlstore.Tx) (decision, error) {
		m, id, has, err := r.bound(ctx, tx, p, project, b)
		if err != nil {
			return decision{}, err
		}
		last, err := lastAdmin(ctx, tx, m.ID)
		if err != nil {
			return decision{}, err
		}
		drafts, err := pedigree.RemoveBinding(b.Role, m, id, has, last)
		return decision{drafts: drafts}, err
	})
	return err
}

// Bindings lists who has which role at a moment in a project or, where project is "", for
// the whole registry, in the order in which they were given.
func (r *Registrar) Bindings(ctx context.Context, p pedigree.Principal, project pedigree.ProjectName, page pedigree.Page, at pedigree.At) (pedigree.List[pedigree.Binding], error) {
	out := pedigree.List[pedigree.Binding]{Items: []pedigree.Binding{}}
	after := int64(-1)
	if err := decodeCursor(page.Cursor, &after); err != nil {
		return out, err
	}
	err := r.store.Read(ctx, at, func(tx *sqlstore.Tx) error {
		permission := pedigree.RecordsRead
		if project == "" {
			permission = pedigree.BindingsWrite
		}
		if err := r.authorise(ctx, tx, p, permission, project); err != nil {
			return err
		}
		id := ""
		if project != "" {
			var err error
			if id, err = tx.ProjectID(ctx, project); err != nil {
				return err
			}
		}
		items, err := tx.Bindings(ctx, id, after, page.Size()+1)
		if len(items) > page.Size() {
			items = items[:page.Size()]
			out.Next = encodeCursor(items[len(items)-1].Seq)
		}
		out.Items, out.AsOf = append(out.Items, items...), tx.AsOf()
		return err
	})
	return out, err
}
