package registrar

import (
	"context"
	"errors"
	"slices"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/internal/gate"
	"github.com/pedigree-ml/pedigree/internal/sqlstore"
)

// ApplyPolicy makes p the policy of its scope: of its project, or of the instance where it
// names none. dryRun only checks it. The answer says whether anything changed. It returns
// [pedigree.CodeInvalid] for an expression that can't be used.
func (r *Registrar) ApplyPolicy(ctx context.Context, p pedigree.Principal, policy pedigree.Policy, dryRun bool) (out pedigree.Policy, changed bool, err error) {
	if err := gate.Check(&policy); err != nil {
		return out, false, err
	}
	errDry := errors.New("dry run")
	_, err = r.decide(ctx, p, func(tx *sqlstore.Tx) (decision, error) {
		if err := r.authorise(ctx, tx, p, pedigree.PoliciesWrite, policy.Project); err != nil {
			return decision{}, err
		}
		id, err := scopeOf(ctx, tx, policy.Project)
		if err != nil {
			return decision{}, err
		}
		before, err := ownPolicy(ctx, tx, id, policy.Project)
		if err != nil {
			return decision{}, err
		}
		drafts, err := policy.Apply(pedigree.PolicySubject(id), before)
		if changed = len(drafts) > 0; dryRun && err == nil {
			err = errDry
		}
		return decision{drafts: drafts}, err
	})
	if errors.Is(err, errDry) {
		return policy, changed, nil
	}
	if err != nil {
		return out, false, err
	}
	out, err = r.Policy(ctx, p, policy.Project, pedigree.At{})
	return out, changed, err
}

// RemovePolicy takes the policy of a scope away. It returns [pedigree.CodeNotFound] where
// there is none.
func (r *Registrar) RemovePolicy(ctx context.Context, p pedigree.Principal, project pedigree.ProjectName, reason string) error {
	_, err := r.decide(ctx, p, func(tx *sqlstore.Tx) (decision, error) {
		if err := r.authorise(ctx, tx, p, pedigree.PoliciesWrite, project); err != nil {
			return decision{}, err
		}
		id, err := scopeOf(ctx, tx, project)
		if err != nil {
			return decision{}, err
		}
		before, err := ownPolicy(ctx, tx, id, project)
		if err == nil && before == nil {
			err = noPolicy(project)
		}
		if err != nil {
			return decision{}, err
		}
		drafts, err := before.Remove(pedigree.PolicySubject(id), reason)
		return decision{drafts: drafts}, err
	})
	return err
}

// ownPolicy is the policy of a scope itself, without that of the instance; nil for none. A
// decision about it is to watch it first.
func ownPolicy(ctx context.Context, tx *sqlstore.Tx, projectID string, project pedigree.ProjectName) (*pedigree.Policy, error) {
	policies, err := tx.Policies(ctx, projectID, project)
	i := slices.IndexFunc(policies, func(p pedigree.Policy) bool { return p.Project == project })
	if err != nil || i < 0 {
		return nil, err
	}
	p, err := tx.Policy(ctx, policies[i].Seq)
	p.Project = project
	return &p, err
}

// scopeOf is the id of a project, "" for the instance.
func scopeOf(ctx context.Context, tx *sqlstore.Tx, project pedigree.ProjectName) (string, error) {
	if project == "" {
		return "", nil
	}
	return tx.ProjectID(ctx, project)
}

func noPolicy(project pedigree.ProjectName) error {
	if project == "" {
		return pedigree.Errorf(pedigree.CodeNotFound, "the instance has no policy").WithFix("pedigree policy apply -f FILE --instance")
	}
	return pedigree.Errorf(pedigree.CodeNotFound, "project %s has no policy", project).WithFix("pedigree policy apply -f FILE -p %s", project)
}

// Policy reads the policy of a scope: of a project, or of the instance for "". It returns
// [pedigree.CodeNotFound] where there is none.
func (r *Registrar) Policy(ctx context.Context, p pedigree.Principal, project pedigree.ProjectName, at pedigree.At) (out pedigree.Policy, err error) {
	permission := pedigree.RecordsRead
	if project == "" {
		permission = pedigree.SignedIn
	}
	err = r.store.Read(ctx, at, func(tx *sqlstore.Tx) error {
		if err := r.authorise(ctx, tx, p, permission, project); err != nil {
			return err
		}
		id, err := scopeOf(ctx, tx, project)
		if err != nil {
			return err
		}
		own, err := ownPolicy(ctx, tx, id, project)
		if err == nil && own == nil {
			err = noPolicy(project)
		}
		if err != nil {
			return err
		}
		out = *own
		return nil
	})
	return out, err
}

// TestPolicy says what the policies make of deploying a version to a target, without doing
// it. target "" asks for a protected alias that is tied to no target.
func (r *Registrar) TestPolicy(ctx context.Context, p pedigree.Principal, ref pedigree.Reference, target pedigree.TargetName, deploy pedigree.Deploy, at pedigree.At) (out pedigree.Decision, err error) {
	if err := deploy.Normalize(); err != nil {
		return out, err
	}
	err = r.store.Read(ctx, at, func(tx *sqlstore.Tx) error {
		if err := r.authorise(ctx, tx, p, pedigree.RecordsRead, ref.Project); err != nil {
			return err
		}
		w, err := r.weighing(ctx, tx, ref)
		if err != nil {
			return err
		}
		if target != "" {
			if err := w.at(ctx, target); err != nil {
				return err
			}
		}
		out, err = w.judge(ctx, deploy)
		return err
	})
	return out, err
}

// weighing gathers what a decision about a version and a place rests on.
type weighing struct {
	r         *Registrar
	tx        *sqlstore.Tx
	projectID string
	policies  pedigree.Policies
	version   pedigree.Version
	model     pedigree.Model
	// place is nil for an alias that is tied to no target; replaces is what the alias
	// names then.
	place    *pedigree.Place
	replaces *pedigree.Version
}

// weighing begins with the version that ref names, its model and the policies.
func (r *Registrar) weighing(ctx context.Context, tx *sqlstore.Tx, ref pedigree.Reference) (*weighing, error) {
	w := &weighing{r: r, tx: tx}
	var id string
	var err error
	if w.projectID, id, err = modelID(ctx, tx, ref.Project, ref.Model); err != nil {
		return nil, err
	}
	found, err := tx.Resolve(ctx, id, ref)
	if err != nil {
		return nil, err
	}
	if w.version, err = tx.Version(ctx, ref.Project, ref.Model, id, found.Number); err != nil {
		return nil, err
	}
	if w.model, err = tx.Model(ctx, ref.Project, id); err != nil {
		return nil, err
	}
	w.policies, err = tx.Policies(ctx, w.projectID, ref.Project)
	return w, err
}

// at names the target of the version's project, and what stands there.
func (w *weighing) at(ctx context.Context, name pedigree.TargetName) error {
	id, err := w.tx.TargetID(ctx, w.projectID, name)
	if err != nil {
		return err
	}
	return w.atTarget(ctx, id)
}

func (w *weighing) atTarget(ctx context.Context, id string) error {
	place, err := w.tx.Place(ctx, id)
	w.place = &place
	return err
}

// current is the version that would be replaced, nil without one, and its deployment.
func (w *weighing) current(ctx context.Context) (*pedigree.Version, *pedigree.Deployment, error) {
	if w.place == nil {
		return w.replaces, nil, nil
	}
	d := w.place.Current()
	if d == nil {
		return nil, nil, nil
	}
	v, err := w.tx.Version(ctx, d.Project, d.Model, d.ModelID, d.Version)
	if pedigree.CodeOf(err) == pedigree.CodeNotFound { // it was deleted, and can't be compared with
		return nil, d, nil
	}
	return &v, d, err
}

// judge asks the policies and the registry's own rules.
func (w *weighing) judge(ctx context.Context, deploy pedigree.Deploy) (pedigree.Decision, error) {
	var none pedigree.Decision
	current, currentDeployment, err := w.current(ctx)
	if err != nil {
		return none, err
	}
	now, err := w.tx.Time(ctx)
	if err != nil {
		return none, err
	}
	in := gate.Input{
		Version: &w.version, Model: &w.model, Current: current, CurrentDeployment: currentDeployment, Deploy: deploy, Now: now,
	}
	protected, schema := true, pedigree.Check{}
	if w.place != nil {
		in.Target = &w.place.Target
		protected = w.policies.Protects(in.Target)
		schema = pedigree.SchemaCheck(&w.version, in.Target)
	}
	var checks []pedigree.Check
	for _, p := range w.policies {
		gates := p.Gates
		if in.Target != nil {
			gates = p.In(in.Target.Name.Environment())
		}
		checks = append(checks, gate.Evaluate(ctx, p.Scope(), gates, in)...)
	}
	if a := w.version.Approval; a != nil {
		var conditions []pedigree.Gate
		for _, c := range a.Conditions {
			if c.Expr != "" {
				conditions = append(conditions, pedigree.Gate{
					Name: pedigree.CheckCondition + "/" + c.ID, Expr: c.Expr, Message: "a condition of the approval does not hold: " + c.Expr,
					Fix: "do as it says, or let whoever set it approve again without it: pedigree approve REF",
				})
			}
		}
		checks = append(checks, gate.Evaluate(ctx, "", conditions, in)...)
	}
	_, unknown, err := w.authors(ctx)
	if err != nil {
		return none, err
	}
	d := pedigree.Judge(&w.version, in.Target, w.policies, protected, checks, schema, unknown)
	if current != nil {
		d.Replaces = current.Reference().String()
	}
	return d, ctx.Err()
}

// authors are those who made the version, the people for whom service accounts did among
// them, each as of when they did; unknown is the name of a service account of whom nobody
// knows for whom it acted last.
func (w *weighing) authors(ctx context.Context) (authors []string, unknown string, err error) {
	actors, err := w.tx.Authors(ctx, &w.version)
	if err != nil {
		return nil, "", err
	}
	for actor, seqs := range actors {
		authors = append(authors, actor)
		kind, people, err := w.tx.ActedFor(ctx, actor, seqs)
		if err != nil {
			return nil, "", err
		}
		if kind != pedigree.ServiceAccount {
			continue
		}
		authors = append(authors, people...)
		if people[len(people)-1] == "" {
			names, err := w.tx.Names(ctx, []string{actor})
			if err != nil {
				return nil, "", err
			}
			if unknown = string(names[actor]); unknown == "" {
				unknown = actor
			}
		}
	}
	slices.Sort(authors)
	authors = slices.DeleteFunc(slices.Compact(authors), func(actor string) bool { return actor == "" })
	return authors, unknown, nil
}

// override passes over failed checks, where the caller may: a member of the role that
// every policy names for it, or an administrator.
func (w *weighing) override(ctx context.Context, p pedigree.Principal, d *pedigree.Decision, overrides []pedigree.Override) error {
	if len(overrides) == 0 {
		return nil
	}
	for _, policy := range w.policies {
		if err := w.r.holds(ctx, w.tx, p, policy.Override, pedigree.GatesOverride, w.version.Project); err != nil {
			return err
		}
	}
	if len(w.policies) == 0 {
		if err := w.r.authorise(ctx, w.tx, p, pedigree.GatesOverride, w.version.Project); err != nil {
			return err
		}
	}
	return d.Override(overrides)
}

// holds refuses a caller that neither has a role in a project, "" for none, nor may what
// permission names there.
func (r *Registrar) holds(ctx context.Context, tx *sqlstore.Tx, p pedigree.Principal, role pedigree.Role, permission pedigree.Permission, project pedigree.ProjectName) error {
	has, err := r.hasRole(ctx, tx, p, role, project)
	if err != nil || has {
		return err
	}
	return r.authorise(ctx, tx, p, permission, project)
}
