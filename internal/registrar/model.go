package registrar

import (
	"context"
	"errors"
	"maps"
	"slices"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/internal/gate"
	"github.com/pedigree-ml/pedigree/internal/sqlstore"
)

// modelID finds a model by name. It returns [pedigree.CodeNotFound] and the nearest
// name there is.
func modelID(ctx context.Context, tx *sqlstore.Tx, project pedigree.ProjectName, name pedigree.Name) (projectID, id string, err error) {
	if projectID, err = tx.ProjectID(ctx, project); err != nil {
		return "", "", err
	}
	if id, err = tx.ModelID(ctx, projectID, name); err != nil || id != "" {
		return projectID, id, err
	}
	e := pedigree.Errorf(pedigree.CodeNotFound, "there is no model %s in project %s", name, project)
	near, err := nearestModel(ctx, tx, projectID, name)
	switch {
	case err != nil:
		return projectID, "", err
	case near != "":
		return projectID, "", e.WithFix("did you mean %s?", near)
	}
	return projectID, "", e.WithFix("pedigree push %s PATH registers its first version", name)
}

func nearestModel(ctx context.Context, tx *sqlstore.Tx, projectID string, name pedigree.Name) (pedigree.Name, error) {
	names, _, err := tx.ModelNames(ctx, projectID, "", pedigree.MaxLimit)
	texts := make([]string, len(names))
	for i, n := range names {
		texts[i] = string(n)
	}
	return pedigree.Name(pedigree.Nearest(string(name), texts)), err
}

// CreateModel makes a model. It returns [pedigree.CodeExists] for a name that is taken
// in the project.
func (r *Registrar) CreateModel(ctx context.Context, p pedigree.Principal, project pedigree.ProjectName, name pedigree.Name, spec pedigree.ModelEdit) (pedigree.Model, error) {
	appended, err := r.decide(ctx, p, func(tx *sqlstore.Tx) (decision, error) {
		if err := r.authorise(ctx, tx, p, pedigree.VersionsWrite, project); err != nil {
			return decision{}, err
		}
		pr, err := tx.Project(ctx, project)
		if err != nil {
			return decision{}, err
		}
		id, err := tx.ModelID(ctx, pr.ID, name)
		if err != nil {
			return decision{}, err
		}
		if id != "" {
			return decision{}, pedigree.Errorf(pedigree.CodeExists, "model %s exists in project %s", name, project).WithFix("pedigree model edit %s", name)
		}
		drafts, err := pedigree.CreateModel(pr, r.newID("mdl"), name, spec)
		return decision{drafts: drafts}, err
	})
	if err != nil {
		return pedigree.Model{}, err
	}
	return r.modelByID(ctx, project, appended.Events[0].Subject, seqAt(appended.Last()))
}

func (r *Registrar) modelByID(ctx context.Context, project pedigree.ProjectName, id string, at pedigree.At) (out pedigree.Model, err error) {
	err = r.store.Read(ctx, at, func(tx *sqlstore.Tx) (err error) {
		out, err = tx.Model(ctx, project, id)
		return err
	})
	return out, err
}

// Model reads a model by name. It returns [pedigree.CodeNotFound].
func (r *Registrar) Model(ctx context.Context, p pedigree.Principal, project pedigree.ProjectName, name pedigree.Name, at pedigree.At) (out pedigree.Model, err error) {
	err = r.store.Read(ctx, at, func(tx *sqlstore.Tx) error {
		if err := r.authorise(ctx, tx, p, pedigree.RecordsRead, project); err != nil {
			return err
		}
		_, id, err := modelID(ctx, tx, project, name)
		if err == nil {
			out, err = tx.Model(ctx, project, id)
		}
		return err
	})
	return out, err
}

// Models lists the models of a project by name.
func (r *Registrar) Models(ctx context.Context, p pedigree.Principal, project pedigree.ProjectName, page pedigree.Page, at pedigree.At) (pedigree.List[pedigree.Model], error) {
	out := pedigree.List[pedigree.Model]{Items: []pedigree.Model{}}
	var after pedigree.Name
	if err := decodeCursor(page.Cursor, &after); err != nil {
		return out, err
	}
	err := r.store.Read(ctx, at, func(tx *sqlstore.Tx) error {
		if err := r.authorise(ctx, tx, p, pedigree.RecordsRead, project); err != nil {
			return err
		}
		projectID, err := tx.ProjectID(ctx, project)
		if err != nil {
			return err
		}
		names, ids, err := tx.ModelNames(ctx, projectID, after, page.Size()+1)
		if err != nil {
			return err
		}
		if len(names) > page.Size() {
			names, ids = names[:page.Size()], ids[:page.Size()]
			out.Next = encodeCursor(names[len(names)-1])
		}
		models, err := tx.Models(ctx, project, ids)
		out.Items, out.AsOf = append(out.Items, models...), tx.AsOf()
		return err
	})
	return out, err
}

// changeModel loads a model, checks what the caller believes of it, and decides.
func (r *Registrar) changeModel(ctx context.Context, p pedigree.Principal, project pedigree.ProjectName, name pedigree.Name, ifMatch *int64,
	f func(tx *sqlstore.Tx, pr pedigree.Project, m *pedigree.Model) ([]pedigree.Draft, error),
) (pedigree.Model, error) {
	var before pedigree.Model
	appended, err := r.decide(ctx, p, func(tx *sqlstore.Tx) (decision, error) {
		if err := r.authorise(ctx, tx, p, pedigree.VersionsWrite, project); err != nil {
			return decision{}, err
		}
		pr, err := tx.Project(ctx, project)
		if err != nil {
			return decision{}, err
		}
		_, id, err := modelID(ctx, tx, project, name)
		if err != nil {
			return decision{}, err
		}
		if before, err = tx.Model(ctx, project, id); err != nil {
			return decision{}, err
		}
		if err := checkMatch(string(name), ifMatch, before.Changed); err != nil {
			return decision{}, err
		}
		drafts, err := f(tx, pr, &before)
		if err == nil {
			err = r.guardModel(ctx, tx, p, pr, drafts)
		}
		return decision{drafts: drafts}, err
	})
	if err != nil || appended == nil {
		return before, err
	}
	return r.modelByID(ctx, project, appended.Events[0].Subject, seqAt(appended.Last()))
}

// guardModel refuses to change what a gate reads of a model to whoever may not change the
// policies: what high risk means is theirs to say, and approvals rest on it.
func (r *Registrar) guardModel(ctx context.Context, tx *sqlstore.Tx, p pedigree.Principal, pr pedigree.Project, drafts []pedigree.Draft) error {
	for _, d := range drafts {
		fields := slices.Sorted(maps.Keys(d.Payload))
		switch d.Type {
		case pedigree.ModelEdited:
		case pedigree.ModelRenamed:
			fields = []string{"name"}
		default:
			continue
		}
		policies, err := tx.Policies(ctx, pr.ID, pr.Name)
		if err != nil {
			return err
		}
		reads := gate.Reads(policies)
		for _, field := range fields {
			if !reads("model." + field) {
				continue
			}
			err := r.authorise(ctx, tx, p, pedigree.PoliciesWrite, pr.Name)
			if e := new(pedigree.Error); errors.As(err, &e) && e.Code == pedigree.CodeForbidden {
				return pedigree.Errorf(pedigree.CodeForbidden, "a gate reads the %s of models, which only those change who may change policies: %s", field, e.Message).WithFix("%s", e.Fix)
			}
			return err
		}
	}
	return nil
}

// checkMatch compares the ETag that a caller believes in with the one there is.
func checkMatch(what string, ifMatch *int64, now int64) error {
	if ifMatch == nil || *ifMatch == now {
		return nil
	}
	e := pedigree.Errorf(pedigree.CodePrecondition, "%s has changed since you read it: its state is %d, not %d", what, now, *ifMatch).WithFix("read it again, then decide")
	e.Current = `"` + pedigree.VersionNumber(now).String() + `"`
	return e
}

// EditModel changes what is said of a model; ifMatch, where not nil, is the Changed
// that the caller has seen. It returns [pedigree.CodePrecondition] where that is old.
func (r *Registrar) EditModel(ctx context.Context, p pedigree.Principal, project pedigree.ProjectName, name pedigree.Name, edit pedigree.ModelEdit, ifMatch *int64) (pedigree.Model, error) {
	return r.changeModel(ctx, p, project, name, ifMatch, func(_ *sqlstore.Tx, _ pedigree.Project, m *pedigree.Model) ([]pedigree.Draft, error) {
		return m.Edit(edit)
	})
}

// UntagModel removes a tag of a model. It returns [pedigree.CodeNotFound].
func (r *Registrar) UntagModel(ctx context.Context, p pedigree.Principal, project pedigree.ProjectName, name pedigree.Name, key string) (pedigree.Model, error) {
	return r.changeModel(ctx, p, project, name, nil, func(_ *sqlstore.Tx, _ pedigree.Project, m *pedigree.Model) ([]pedigree.Draft, error) {
		return m.Untag(key)
	})
}

// RenameModel gives a model another name within its project. It returns
// [pedigree.CodeExists] for a name that is taken, and [pedigree.CodeRefused] for one under
// which an alias would name what passed no gates.
func (r *Registrar) RenameModel(ctx context.Context, p pedigree.Principal, project pedigree.ProjectName, name, to pedigree.Name, ifMatch *int64) (pedigree.Model, error) {
	return r.changeModel(ctx, p, project, name, ifMatch, func(tx *sqlstore.Tx, pr pedigree.Project, m *pedigree.Model) ([]pedigree.Draft, error) {
		if taken, err := tx.ModelID(ctx, pr.ID, to); err != nil {
			return nil, err
		} else if taken != "" && taken != m.ID {
			return nil, pedigree.Errorf(pedigree.CodeExists, "model %s exists in project %s", to, project)
		}
		drafts, err := m.Rename(pr, to)
		if err != nil || len(drafts) == 0 {
			return nil, err
		}
		return drafts, r.guardRename(ctx, tx, p, pr.ID, m, to)
	})
}

// DeleteModel hides a model and frees its name; its history and its bytes stay. It
// returns [pedigree.CodeRefused] while an alias names one of its versions and force is
// false.
func (r *Registrar) DeleteModel(ctx context.Context, p pedigree.Principal, project pedigree.ProjectName, name pedigree.Name, reason string, force bool, ifMatch *int64) error {
	_, err := r.decide(ctx, p, func(tx *sqlstore.Tx) (decision, error) {
		if err := r.authorise(ctx, tx, p, pedigree.VersionsWrite, project); err != nil {
			return decision{}, err
		}
		pr, err := tx.Project(ctx, project)
		if err != nil {
			return decision{}, err
		}
		_, id, err := modelID(ctx, tx, project, name)
		if err != nil {
			return decision{}, err
		}
		m, err := tx.Model(ctx, project, id)
		if err != nil {
			return decision{}, err
		}
		if err := unused(ctx, tx, pr.ID, project, id, 0, slices.Sorted(maps.Keys(m.Aliases))); err != nil {
			return decision{}, err
		}
		if err := checkMatch(string(name), ifMatch, m.Changed); err != nil {
			return decision{}, err
		}
		handles, err := handlesOf(ctx, tx, &m)
		if err != nil {
			return decision{}, err
		}
		for _, h := range handles {
			g, err := guardOf(ctx, tx, pr.ID, &m, h)
			if err != nil {
				return decision{}, err
			}
			if err := r.leave(ctx, tx, p, &m, g); err != nil {
				return decision{}, err
			}
		}
		drafts, err := m.Delete(pr, reason, force)
		return decision{drafts: drafts}, err
	})
	return err
}
