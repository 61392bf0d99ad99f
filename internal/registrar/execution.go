package registrar

import (
	"context"
	"errors"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/internal/sqlstore"
)

// StartExecution says that a job begins to run what is active at a target. It returns
// [pedigree.CodeRefused] where nothing is, and where that was withdrawn.
func (r *Registrar) StartExecution(ctx context.Context, p pedigree.Principal, project pedigree.ProjectName, target pedigree.TargetName, inputs []pedigree.Output) (pedigree.Execution, error) {
	appended, err := r.decide(ctx, p, func(tx *sqlstore.Tx) (decision, error) {
		_, id, err := r.findTarget(ctx, tx, p, pedigree.ObservationsWrite, project, target)
		if err != nil {
			return decision{}, err
		}
		place, err := tx.Place(ctx, id)
		if err != nil {
			return decision{}, err
		}
		if d := place.Current(); d != nil { // "no pull by target" holds for jobs, too
			found := pedigree.Resolved{Project: d.Project, Model: d.Model, ModelID: d.ModelID, Number: d.Version}
			if err := barred(ctx, tx, &found); err != nil {
				return decision{}, err
			}
		}
		drafts, err := place.StartExecution(r.newID("exe"), inputs)
		return decision{drafts: drafts}, err
	})
	if err != nil {
		return pedigree.Execution{}, err
	}
	return r.executionByID(ctx, appended.Events[0].Subject, seqAt(appended.Last()))
}

func (r *Registrar) executionByID(ctx context.Context, id string, at pedigree.At) (out pedigree.Execution, err error) {
	err = r.store.Read(ctx, at, func(tx *sqlstore.Tx) (err error) {
		out, err = executionByID(ctx, tx, id)
		return err
	})
	return out, err
}

func executionByID(ctx context.Context, tx *sqlstore.Tx, id string) (pedigree.Execution, error) {
	all, err := tx.Executions(ctx, sqlstore.ExecutionQuery{ID: id, After: -1, Before: -1, Limit: 1})
	if err == nil && len(all) == 0 {
		err = pedigree.Errorf(pedigree.CodeNotFound, "there is no execution %s", id)
	}
	if err != nil {
		return pedigree.Execution{}, err
	}
	return all[0], nil
}

// FinishExecution says how a job ended, what it read and what it wrote. It returns
// [pedigree.CodeNotFound], and [pedigree.CodeRefused] where it was said before.
func (r *Registrar) FinishExecution(ctx context.Context, p pedigree.Principal, id string, report pedigree.ExecutionReport) (pedigree.Execution, error) {
	_, err := r.decide(ctx, p, func(tx *sqlstore.Tx) (decision, error) {
		e, err := executionByID(ctx, tx, id)
		if err != nil {
			return decision{}, errors.Join(r.authorise(ctx, tx, p, pedigree.SignedIn, ""), err)
		}
		if err := r.hidden(ctx, tx, p, e.Project, "execution "+id); err != nil {
			return decision{}, err
		}
		if err := r.authorise(ctx, tx, p, pedigree.ObservationsWrite, e.Project); err != nil {
			return decision{}, err
		}
		if _, err := tx.Watch(ctx, id); err != nil {
			return decision{}, err
		}
		drafts, err := e.Finish(report)
		return decision{drafts: drafts}, err
	})
	if err != nil {
		return pedigree.Execution{}, err
	}
	return r.executionByID(ctx, id, pedigree.At{})
}

// Executions lists the batch runs of a target, or of the version that ref names, newest
// first; ref is nil for a target.
func (r *Registrar) Executions(ctx context.Context, p pedigree.Principal, project pedigree.ProjectName, target pedigree.TargetName, ref *pedigree.Reference, page pedigree.Page, at pedigree.At) (pedigree.List[pedigree.Execution], error) {
	out := pedigree.List[pedigree.Execution]{Items: []pedigree.Execution{}}
	q := sqlstore.ExecutionQuery{After: -1, Before: -1, Limit: page.Size() + 1}
	if err := decodeCursor(page.Cursor, &q.Before); err != nil {
		return out, err
	}
	err := r.store.Read(ctx, at, func(tx *sqlstore.Tx) error {
		var err error
		if ref == nil {
			_, q.Target, err = r.findTarget(ctx, tx, p, pedigree.RecordsRead, project, target)
		} else if err = r.authorise(ctx, tx, p, pedigree.RecordsRead, ref.Project); err == nil {
			if _, q.Model, err = modelID(ctx, tx, ref.Project, ref.Model); err == nil {
				var found pedigree.Resolved
				found, err = tx.Resolve(ctx, q.Model, *ref)
				q.Number = found.Number
			}
		}
		if err != nil {
			return err
		}
		items, err := tx.Executions(ctx, q)
		if len(items) > page.Size() {
			items = items[:page.Size()]
			out.Next = encodeCursor(items[len(items)-1].Seq)
		}
		out.Items, out.AsOf = append(out.Items, items...), tx.AsOf()
		return err
	})
	return out, err
}
