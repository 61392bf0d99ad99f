package registrar

import (
	"context"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/internal/sqlstore"
)

// CreateProject makes a project. It returns [pedigree.CodeExists] for a name that is
// taken.
func (r *Registrar) CreateProject(ctx context.Context, p pedigree.Principal, name pedigree.ProjectName, description string) (pedigree.Project, error) {
	var out pedigree.Project
	_, err := r.decide(ctx, p, func(tx *sqlstore.Tx) (decision, error) {
		if err := r.authorise(ctx, tx, p, pedigree.ProjectsWrite, ""); err != nil {
			return decision{}, err
		}
		if _, err := tx.Project(ctx, name); err == nil {
			return decision{}, pedigree.Errorf(pedigree.CodeExists, "project %s exists", name)
		} else if pedigree.CodeOf(err) != pedigree.CodeNotFound {
			return decision{}, err
		}
		drafts, err := pedigree.CreateProject(r.newID("prj"), name, description)
		return decision{drafts: drafts}, err
	})
	if err != nil {
		return out, err
	}
	return r.Project(ctx, pedigree.System, name, pedigree.At{}) // it was the caller's to make
}

// Project reads a project. It returns [pedigree.CodeNotFound].
func (r *Registrar) Project(ctx context.Context, p pedigree.Principal, name pedigree.ProjectName, at pedigree.At) (pedigree.Project, error) {
	var out pedigree.Project
	err := r.store.Read(ctx, at, func(tx *sqlstore.Tx) (err error) {
		if err := r.authorise(ctx, tx, p, pedigree.RecordsRead, name); err != nil {
			return err
		}
		out, err = tx.Project(ctx, name)
		return err
	})
	return out, err
}

// Projects lists the projects that the caller may read by name.
func (r *Registrar) Projects(ctx context.Context, p pedigree.Principal, page pedigree.Page, at pedigree.At) (pedigree.List[pedigree.Project], error) {
	out := pedigree.List[pedigree.Project]{Items: []pedigree.Project{}}
	var after pedigree.ProjectName
	if err := decodeCursor(page.Cursor, &after); err != nil {
		return out, err
	}
	err := r.store.Read(ctx, at, func(tx *sqlstore.Tx) error {
		reach, err := r.reach(ctx, tx, p, pedigree.RecordsRead)
		if err != nil {
			return err
		}
		items, err := tx.Projects(ctx, reach.projects, after, page.Size()+1)
		if len(items) > page.Size() {
			items = items[:page.Size()]
			out.Next = encodeCursor(items[len(items)-1].Name)
		}
		out.Items, out.AsOf = append(out.Items, items...), tx.AsOf()
		return err
	})
	return out, err
}
