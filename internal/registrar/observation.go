package registrar

import (
	"context"
	"time"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/internal/sqlstore"
)

// Observe takes what an instance of a target says that it runs. It is an event only where
// that has changed; the first that runs what waits to be confirmed by an observation makes
// it active. The answer is what the instance should run.
func (r *Registrar) Observe(ctx context.Context, p pedigree.Principal, project pedigree.ProjectName, target pedigree.TargetName, o pedigree.Observation) (pedigree.TargetStatus, error) {
	if err := o.Normalize(); err != nil {
		return pedigree.TargetStatus{}, err
	}
	var id string
	_, err := r.decide(ctx, p, func(tx *sqlstore.Tx) (decision, error) {
		var err error
		if _, id, err = r.findTarget(ctx, tx, p, pedigree.ObservationsWrite, project, target); err != nil {
			return decision{}, err
		}
		place, err := tx.Place(ctx, id)
		if err != nil {
			return decision{}, err
		}
		if _, err := tx.Watch(ctx, pedigree.InstanceKey(id, o.Instance)); err != nil {
			return decision{}, err
		}
		seen, err := tx.Instances(ctx, id, o.Instance)
		if err != nil {
			return decision{}, err
		}
		i := pedigree.Instance{Instance: o.Instance, Deployment: o.Deployment, Version: o.Version, Digest: o.Digest}
		if o.Model != "" {
			if _, i.ModelID, err = modelID(ctx, tx, project, o.Model); err != nil {
				return decision{}, err
			}
		}
		var before *pedigree.Instance
		if len(seen) > 0 {
			before = &seen[0]
		}
		var v *pedigree.Version
		if d := place.Confirms(&i); d != nil {
			if v, err = waitingVersion(ctx, tx, d); err != nil {
				return decision{}, err
			}
		}
		return decision{drafts: place.Observe(before, i, v)}, nil
	})
	if err != nil {
		return pedigree.TargetStatus{}, err
	}
	if err := r.store.Heartbeat(ctx, id, o.Instance); err != nil {
		return pedigree.TargetStatus{}, err
	}
	return r.TargetStatus(ctx, p, project, target, pedigree.At{})
}

// TargetStatus reads what is desired at a target and what was seen there. It returns
// [pedigree.CodeNotFound].
func (r *Registrar) TargetStatus(ctx context.Context, p pedigree.Principal, project pedigree.ProjectName, target pedigree.TargetName, at pedigree.At) (out pedigree.TargetStatus, err error) {
	err = r.store.Read(ctx, at, func(tx *sqlstore.Tx) error {
		_, id, err := r.findTarget(ctx, tx, p, pedigree.RecordsRead, project, target)
		if err == nil {
			out, err = r.status(ctx, tx, id)
		}
		return err
	})
	return out, err
}

// status compares what stands at a target with what its instances run.
func (r *Registrar) status(ctx context.Context, tx *sqlstore.Tx, id string) (pedigree.TargetStatus, error) {
	place, err := tx.Place(ctx, id)
	if err != nil {
		return pedigree.TargetStatus{}, err
	}
	projectID, err := tx.ProjectID(ctx, place.Target.Project)
	if err != nil {
		return pedigree.TargetStatus{}, err
	}
	policies, err := tx.Policies(ctx, projectID, place.Target.Project)
	if err != nil {
		return pedigree.TargetStatus{}, err
	}
	s := pedigree.TargetStatus{Target: place.Target, Protected: policies.Protects(&place.Target), Current: place.Current(), Pending: place.Pending(), AsOf: tx.AsOf()}
	for _, d := range place.Standing {
		if d.Role != pedigree.RolePrimary {
			s.Others = append(s.Others, d)
		}
	}
	if d := s.Current; d != nil {
		v := pedigree.Version{Project: d.Project, Model: d.Model, ModelID: d.ModelID, Number: d.Version}
		if err := tx.Stands(ctx, &v); err != nil && pedigree.CodeOf(err) != pedigree.CodeNotFound {
			return s, err
		}
		s.Withdrawn = v.Withdrawn != nil
	}
	if d := s.Pending; d != nil {
		v, err := tx.Version(ctx, d.Project, d.Model, d.ModelID, d.Version)
		if err != nil {
			return s, err
		}
		if why := d.Barred(&v); why != "" {
			s.Barred = d.Reference().String() + " " + why
		}
	}
	if s.Protected {
		if s.Rollback, err = tx.Readiness(ctx, id); err != nil {
			return s, err
		}
	}
	now, err := tx.Time(ctx)
	if err != nil {
		return s, err
	}
	if s.Instances, err = tx.SeenInstances(ctx, id, now.Add(-s.Target.Forgotten())); err != nil {
		return s, err
	}
	s.Compare(now)
	return s, nil
}

// Statuses are the states of all targets, for figures that an operator watches. It takes no
// caller: the server asks for itself.
func (r *Registrar) Statuses(ctx context.Context) ([]pedigree.TargetStatus, error) {
	var out []pedigree.TargetStatus
	err := r.store.Read(ctx, pedigree.At{}, func(tx *sqlstore.Tx) error {
		ids, err := tx.AllTargets(ctx)
		if err != nil {
			return err
		}
		for _, id := range ids {
			s, err := r.status(ctx, tx, id)
			if err != nil {
				return err
			}
			out = append(out, s)
		}
		return nil
	})
	return out, err
}

// Which finds the deployment and the version that something stands for at a moment: a
// target, a deployment, a version or a model, a digest of an artifact or an image, an
// instance, or one of a target's links. project is where names are looked up.
// It returns [pedigree.CodeNotFound].
func (r *Registrar) Which(ctx context.Context, p pedigree.Principal, project pedigree.ProjectName, what string, at pedigree.At) (pedigree.List[pedigree.Finding], error) {
	out := pedigree.List[pedigree.Finding]{Items: []pedigree.Finding{}}
	err := r.store.Read(ctx, at, func(tx *sqlstore.Tx) error {
		if err := r.authorise(ctx, tx, p, pedigree.RecordsRead, project); err != nil {
			return err
		}
		s := &search{r: r, tx: tx, p: p, project: project}
		if err := s.find(ctx, what); err != nil {
			return err
		}
		if len(s.found) == 0 {
			return pedigree.Errorf(pedigree.CodeNotFound, "nothing that is or was deployed is called %q here", what).
				WithFix("name a target (prod/fraud-api), a deployment (dep_…), a model, fraud/7, a digest (sha256:…), an image, an instance or a dashboard's URL")
		}
		out.Items, out.AsOf = s.found, tx.AsOf()
		return nil
	})
	return out, err
}

// Changes lists the events of a time about a target, a model or a whole project, oldest
// first: what changed. Those of a target are also what was said of the versions that were
// deployed or active there in that time, and the policies of the project and the instance.
// Only one of target and model is set, or none.
func (r *Registrar) Changes(ctx context.Context, p pedigree.Principal, project pedigree.ProjectName, target pedigree.TargetName, model pedigree.Name, from, to time.Time, page pedigree.Page) (pedigree.List[pedigree.Entry], error) {
	out := pedigree.List[pedigree.Entry]{Items: []pedigree.Entry{}}
	after := int64(-1)
	if err := decodeCursor(page.Cursor, &after); err != nil {
		return out, err
	}
	err := r.store.Read(ctx, pedigree.At{}, func(tx *sqlstore.Tx) error {
		if err := r.authorise(ctx, tx, p, pedigree.LogRead, project); err != nil {
			return err
		}
		projectID, err := tx.ProjectID(ctx, project)
		if err != nil {
			return err
		}
		q := sqlstore.ChangeQuery{Project: projectID, From: from, To: to, After: after, Limit: page.Size() + 1}
		switch {
		case target != "":
			q.Target, err = tx.TargetID(ctx, projectID, target)
		case model != "":
			_, q.Model, err = modelID(ctx, tx, project, model)
		}
		if err != nil {
			return err
		}
		items, err := tx.Changes(ctx, q)
		if len(items) > page.Size() {
			items = items[:page.Size()]
			out.Next = encodeCursor(items[len(items)-1].Seq)
		}
		if err != nil {
			return err
		}
		reach, err := r.reach(ctx, tx, p, pedigree.LogRead)
		if err != nil {
			return err
		}
		items, err = reach.redact(ctx, tx, items, true) // other projects refer to what is here
		out.Items, out.AsOf = append(out.Items, items...), tx.AsOf()
		return err
	})
	return out, err
}
