package registrar

import (
	"context"
	"errors"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/internal/sqlstore"
)

// SetAlias points an alias of ref's model to the version that ref names. ifCurrent,
// where not nil, is the version that the alias must name now, 0 for none: the loser of
// a race gets [pedigree.CodeConflict] with what is there.
func (r *Registrar) SetAlias(ctx context.Context, p pedigree.Principal, ref pedigree.Reference, alias pedigree.Alias, ifCurrent *pedigree.VersionNumber, note string) (pedigree.AliasMove, error) {
	var id string
	appended, err := r.decide(ctx, p, func(tx *sqlstore.Tx) (decision, error) {
		if err := r.authorise(ctx, tx, p, pedigree.RecordsRead, ref.Project); err != nil {
			return decision{}, err
		}
		projectID, m, err := aliasModel(ctx, tx, ref, alias, ifCurrent)
		if err != nil {
			return decision{}, err
		}
		id = m.ID
		found, err := tx.Resolve(ctx, id, ref)
		if err != nil {
			return decision{}, err
		}
		v := pedigree.Version{Project: ref.Project, Model: ref.Model, ModelID: id, Number: found.Number}
		if err := tx.Stands(ctx, &v); err != nil {
			return decision{}, err
		}
		drafts, err := m.SetAlias(alias, &v, note)
		if err != nil || len(drafts) == 0 {
			return decision{}, errors.Join(r.authorise(ctx, tx, p, pedigree.AliasesWrite, ref.Project), err)
		}
		exact := ref
		exact.Alias, exact.Digest, exact.Version = "", "", v.Number
		guarded, ok, err := r.guardAlias(ctx, tx, p, exact, projectID, m, alias, note)
		if err != nil {
			return decision{}, err
		}
		if ok {
			return decision{drafts: guarded}, nil
		}
		if err := r.authorise(ctx, tx, p, pedigree.AliasesWrite, ref.Project); err != nil {
			return decision{}, err
		}
		return decision{drafts: drafts}, nil
	})
	if err != nil {
		return pedigree.AliasMove{}, err
	}
	at := pedigree.At{}
	if appended != nil {
		id, at = appended.Events[len(appended.Events)-1].Subject, seqAt(appended.Last())
	}
	return r.lastMove(ctx, id, alias, at)
}

// aliasModel is the model of ref with what the decision about one alias rests on, and
// no more: moves of other aliases don't disturb it.
func aliasModel(ctx context.Context, tx *sqlstore.Tx, ref pedigree.Reference, alias pedigree.Alias, ifCurrent *pedigree.VersionNumber) (projectID string, _ *pedigree.Model, _ error) {
	projectID, id, err := modelID(ctx, tx, ref.Project, ref.Model)
	if err != nil {
		return "", nil, err
	}
	m := &pedigree.Model{ID: id, Project: ref.Project, Name: ref.Model}
	n, err := tx.AliasTarget(ctx, id, alias)
	if err != nil {
		return "", nil, err
	}
	if n != 0 {
		m.Aliases = map[pedigree.Alias]pedigree.VersionNumber{alias: n}
	}
	if ifCurrent == nil || *ifCurrent == n {
		return projectID, m, nil
	}
	at := pedigree.Reference{Model: ref.Model, Alias: alias}
	current := at.String() + " is not set"
	if n != 0 {
		current = at.String() + " is " + pedigree.Reference{Model: ref.Model, Version: n}.String()
	}
	e := pedigree.Errorf(pedigree.CodeConflict, "%s, not what you expected", current).WithFix("look with: pedigree alias history %s", at)
	e.Current = current
	return "", nil, e
}

func (r *Registrar) lastMove(ctx context.Context, modelID string, alias pedigree.Alias, at pedigree.At) (out pedigree.AliasMove, err error) {
	err = r.store.Read(ctx, at, func(tx *sqlstore.Tx) error {
		moves, err := tx.AliasHistory(ctx, modelID, alias, -1, 1)
		if err == nil && len(moves) == 1 {
			out = moves[0]
		}
		return err
	})
	return out, err
}

// RemoveAlias makes an alias name nothing. It returns [pedigree.CodeNotFound] where it
// does not now; ifCurrent is as in [Registrar.SetAlias].
func (r *Registrar) RemoveAlias(ctx context.Context, p pedigree.Principal, project pedigree.ProjectName, model pedigree.Name, alias pedigree.Alias, ifCurrent *pedigree.VersionNumber, note string) error {
	_, err := r.decide(ctx, p, func(tx *sqlstore.Tx) (decision, error) {
		if err := r.authorise(ctx, tx, p, pedigree.AliasesWrite, project); err != nil {
			return decision{}, err
		}
		projectID, m, err := aliasModel(ctx, tx, pedigree.Reference{Project: project, Model: model}, alias, ifCurrent)
		if err != nil {
			return decision{}, err
		}
		drafts, err := m.RemoveAlias(alias, note)
		if err != nil {
			return decision{}, err
		}
		return decision{drafts: drafts}, r.freeAlias(ctx, tx, p, projectID, m, alias)
	})
	return err
}

// Aliases lists what the aliases of a model name at a moment: the interval that each is
// in.
func (r *Registrar) Aliases(ctx context.Context, p pedigree.Principal, project pedigree.ProjectName, model pedigree.Name, at pedigree.At) (pedigree.List[pedigree.AliasMove], error) {
	out := pedigree.List[pedigree.AliasMove]{Items: []pedigree.AliasMove{}}
	err := r.store.Read(ctx, at, func(tx *sqlstore.Tx) error {
		if err := r.authorise(ctx, tx, p, pedigree.RecordsRead, project); err != nil {
			return err
		}
		_, id, err := modelID(ctx, tx, project, model)
		if err != nil {
			return err
		}
		moves, err := tx.AliasesNow(ctx, id)
		out.Items, out.AsOf = append(out.Items, moves...), tx.AsOf()
		return err
	})
	return out, err
}

// AliasHistory lists every interval of an alias, or of all aliases of the model where
// alias is "", newest first.
func (r *Registrar) AliasHistory(ctx context.Context, p pedigree.Principal, project pedigree.ProjectName, model pedigree.Name, alias pedigree.Alias, page pedigree.Page, at pedigree.At) (pedigree.List[pedigree.AliasMove], error) {
	out := pedigree.List[pedigree.AliasMove]{Items: []pedigree.AliasMove{}}
	before := int64(-1)
	if err := decodeCursor(page.Cursor, &before); err != nil {
		return out, err
	}
	err := r.store.Read(ctx, at, func(tx *sqlstore.Tx) error {
		if err := r.authorise(ctx, tx, p, pedigree.RecordsRead, project); err != nil {
			return err
		}
		_, id, err := modelID(ctx, tx, project, model)
		if err != nil {
			return err
		}
		moves, err := tx.AliasHistory(ctx, id, alias, before, page.Size()+1)
		if len(moves) > page.Size() {
			moves = moves[:page.Size()]
			out.Next = encodeCursor(moves[len(moves)-1].FromSeq)
		}
		out.Items, out.AsOf = append(out.Items, moves...), tx.AsOf()
		return err
	})
	return out, err
}
