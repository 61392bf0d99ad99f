package registrar

import (
	"context"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/internal/sqlstore"
)

// CreateTarget makes a target. It returns [pedigree.CodeExists] for a name that is taken in
// the project.
func (r *Registrar) CreateTarget(ctx context.Context, p pedigree.Principal, project pedigree.ProjectName, name pedigree.TargetName, spec pedigree.TargetSpec) (pedigree.Target, error) {
	appended, err := r.decide(ctx, p, func(tx *sqlstore.Tx) (decision, error) {
		if err := r.authorise(ctx, tx, p, pedigree.TargetsWrite, project); err != nil {
			return decision{}, err
		}
		pr, err := tx.Project(ctx, project)
		if err != nil {
			return decision{}, err
		}
		switch _, err := tx.TargetID(ctx, pr.ID, name); pedigree.CodeOf(err) {
		case "":
			return decision{}, pedigree.Errorf(pedigree.CodeExists, "target %s exists in project %s", name, project).WithFix("pedigree target edit %s", name)
		case pedigree.CodeNotFound:
		default:
			return decision{}, err
		}
		drafts, err := pedigree.CreateTarget(pr, r.newID("tgt"), name, spec)
		return decision{drafts: drafts}, err
	})
	if err != nil {
		return pedigree.Target{}, err
	}
	return r.targetByID(ctx, appended.Events[0].Subject, seqAt(appended.Last()))
}

func (r *Registrar) targetByID(ctx context.Context, id string, at pedigree.At) (out pedigree.Target, err error) {
	err = r.store.Read(ctx, at, func(tx *sqlstore.Tx) (err error) {
		out, err = tx.Target(ctx, id)
		return err
	})
	return out, err
}

// Target reads a target. It returns [pedigree.CodeNotFound].
func (r *Registrar) Target(ctx context.Context, p pedigree.Principal, project pedigree.ProjectName, name pedigree.TargetName, at pedigree.At) (out pedigree.Target, err error) {
	err = r.store.Read(ctx, at, func(tx *sqlstore.Tx) error {
		_, id, err := r.findTarget(ctx, tx, p, pedigree.RecordsRead, project, name)
		if err == nil {
			out, err = tx.Target(ctx, id)
		}
		return err
	})
	return out, err
}

// findTarget authorises the caller and finds a target by its name.
func (r *Registrar) findTarget(ctx context.Context, tx *sqlstore.Tx, p pedigree.Principal, permission pedigree.Permission, project pedigree.ProjectName, name pedigree.TargetName) (projectID, id string, err error) {
	if err := r.authorise(ctx, tx, p, permission, project); err != nil {
		return "", "", err
	}
	if projectID, err = tx.ProjectID(ctx, project); err != nil {
		return "", "", err
	}
	id, err = tx.TargetID(ctx, projectID, name)
	return projectID, id, err
}

// Targets lists the targets of a project by name, each with what stands there and what was
// seen.
func (r *Registrar) Targets(ctx context.Context, p pedigree.Principal, project pedigree.ProjectName, page pedigree.Page, at pedigree.At) (pedigree.List[pedigree.TargetStatus], error) {
	out := pedigree.List[pedigree.TargetStatus]{Items: []pedigree.TargetStatus{}}
	after := ""
	if err := decodeCursor(page.Cursor, &after); err != nil {
		return out, err
	}
	err := r.store.Read(ctx, at, func(tx *sqlstore.Tx) error {
		if err := r.authorise(ctx, tx, p, pedigree.RecordsRead, project); err != nil {
			return err
		}
		id, err := tx.ProjectID(ctx, project)
		if err != nil {
			return err
		}
		ids, err := tx.ListTargets(ctx, id, after, page.Size()+1)
		if err != nil {
			return err
		}
		more := len(ids) > page.Size()
		if more {
			ids = ids[:page.Size()]
		}
		for _, id := range ids {
			s, err := r.status(ctx, tx, id)
			if err != nil {
				return err
			}
			out.Items = append(out.Items, s)
		}
		if more {
			out.Next = encodeCursor(out.Items[len(out.Items)-1].Target.Name)
		}
		out.AsOf = tx.AsOf()
		return nil
	})
	return out, err
}

// EditTarget changes what is said of a target: edit turns what is said now into what is to
// be said. ifMatch, where not nil, is the Changed that the caller has seen.
func (r *Registrar) EditTarget(ctx context.Context, p pedigree.Principal, project pedigree.ProjectName, name pedigree.TargetName, edit func(*pedigree.TargetSpec) error, ifMatch *int64) (pedigree.Target, error) {
	var before pedigree.Target
	appended, err := r.decide(ctx, p, func(tx *sqlstore.Tx) (decision, error) {
		projectID, id, err := r.findTarget(ctx, tx, p, pedigree.TargetsWrite, project, name)
		if err != nil {
			return decision{}, err
		}
		if before, err = tx.Target(ctx, id); err != nil {
			return decision{}, err
		}
		if err := checkMatch(string(name), ifMatch, before.Changed); err != nil {
			return decision{}, err
		}
		spec := before.TargetSpec
		if err := edit(&spec); err != nil {
			return decision{}, err
		}
		drafts, err := before.Edit(pedigree.Project{ID: projectID, Name: project}, spec)
		return decision{drafts: drafts}, err
	})
	if err != nil || appended == nil {
		return before, err
	}
	return r.targetByID(ctx, appended.Events[0].Subject, seqAt(appended.Last()))
}

// DeleteTarget takes a target away and frees its name. It returns [pedigree.CodeRefused]
// while something stands there.
func (r *Registrar) DeleteTarget(ctx context.Context, p pedigree.Principal, project pedigree.ProjectName, name pedigree.TargetName, reason string) error {
	_, err := r.decide(ctx, p, func(tx *sqlstore.Tx) (decision, error) {
		projectID, id, err := r.findTarget(ctx, tx, p, pedigree.TargetsWrite, project, name)
		if err != nil {
			return decision{}, err
		}
		place, err := tx.Place(ctx, id)
		if err != nil {
			return decision{}, err
		}
		drafts, err := place.Target.Delete(pedigree.Project{ID: projectID, Name: project}, place.Standing, reason)
		return decision{drafts: drafts, own: sqlstore.DropTarget(id)}, err
	})
	return err
}
