package registrar

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/internal/sqlstore"
)

// Deploy opens a deployment of the version that ref names at a target of its project.
// ifCurrent, where not nil, is the version that must be active there now, 0 for none. It
// returns [pedigree.CodeRefused] with every check that failed and was not overridden.
func (r *Registrar) Deploy(ctx context.Context, p pedigree.Principal, ref pedigree.Reference, target pedigree.TargetName, deploy pedigree.Deploy, ifCurrent *pedigree.VersionNumber) (pedigree.Deployment, error) {
	if err := deploy.Normalize(); err != nil {
		return pedigree.Deployment{}, err
	}
	appended, err := r.decide(ctx, p, func(tx *sqlstore.Tx) (decision, error) {
		if err := r.authorise(ctx, tx, p, pedigree.DeploymentsWrite, ref.Project); err != nil {
			return decision{}, err
		}
		w, err := r.weighing(ctx, tx, ref)
		if err != nil {
			return decision{}, err
		}
		if err := w.at(ctx, target); err != nil {
			return decision{}, err
		}
		if err := pedigree.CheckCurrent(target, w.place.Current(), w.version.ModelID, ifCurrent); err != nil {
			return decision{}, err
		}
		drafts, err := w.deploy(ctx, p, deploy)
		return decision{drafts: drafts}, err
	})
	if err != nil {
		return pedigree.Deployment{}, err
	}
	return r.opened(ctx, appended)
}

// deploy decides a deployment of w's version at w's place, with the amendment of the
// rollback note that may come with it.
func (w *weighing) deploy(ctx context.Context, p pedigree.Principal, deploy pedigree.Deploy) ([]pedigree.Draft, error) {
	var drafts []pedigree.Draft
	if deploy.RollbackNote != "" && deploy.RollbackNote != w.version.Record.RollbackNote {
		amended, err := w.version.Amend(pedigree.Amend{Record: pedigree.Record{RollbackNote: deploy.RollbackNote}})
		if err != nil {
			return nil, err
		}
		drafts = append(drafts, amended...)
		w.version.Record.RollbackNote = deploy.RollbackNote
		w.version.Completeness = w.version.Complete(w.policies.Satisfied(w.version.Approval))
	}
	d, err := w.judge(ctx, deploy)
	if err != nil {
		return nil, err
	}
	if err := w.override(ctx, p, &d, deploy.Overrides); err != nil {
		return nil, err
	}
	deployed, err := w.place.Deploy(w.r.newID("dep"), &w.version, deploy, d, "")
	return append(drafts, deployed...), err
}

// opened reads the deployment that an append opened.
func (r *Registrar) opened(ctx context.Context, a *sqlstore.Appended) (pedigree.Deployment, error) {
	for i := range a.Events {
		if e := &a.Events[i]; strings.HasPrefix(e.Subject, "dep_") {
			return r.deploymentByID(ctx, e.Subject, seqAt(a.Last()))
		}
	}
	return pedigree.Deployment{}, errors.New("registrar: the append opened no deployment")
}

func (r *Registrar) deploymentByID(ctx context.Context, id string, at pedigree.At) (out pedigree.Deployment, err error) {
	err = r.store.Read(ctx, at, func(tx *sqlstore.Tx) (err error) {
		out, err = deploymentByID(ctx, tx, id)
		return err
	})
	return out, err
}

func deploymentByID(ctx context.Context, tx *sqlstore.Tx, id string) (pedigree.Deployment, error) {
	all, err := tx.DeploymentsByID(ctx, []string{id})
	if err == nil && len(all) == 0 {
		err = pedigree.Errorf(pedigree.CodeNotFound, "there is no deployment %s", id).WithFix("pedigree timeline TARGET lists them")
	}
	if err != nil {
		return pedigree.Deployment{}, err
	}
	return all[0], nil
}

// Deployment reads a deployment by its id. It returns [pedigree.CodeNotFound].
func (r *Registrar) Deployment(ctx context.Context, p pedigree.Principal, id string, at pedigree.At) (out pedigree.Deployment, err error) {
	err = r.store.Read(ctx, at, func(tx *sqlstore.Tx) (err error) {
		if out, err = deploymentByID(ctx, tx, id); err != nil {
			return errors.Join(r.authorise(ctx, tx, p, pedigree.SignedIn, ""), err)
		}
		return r.hidden(ctx, tx, p, out.Project, "deployment "+id)
	})
	return out, err
}

// hidden says that something does not exist to a caller who may not read its project.
func (r *Registrar) hidden(ctx context.Context, tx *sqlstore.Tx, p pedigree.Principal, project pedigree.ProjectName, what string) error {
	err := r.authorise(ctx, tx, p, pedigree.RecordsRead, project)
	if pedigree.CodeOf(err) == pedigree.CodeNotFound || pedigree.CodeOf(err) == pedigree.CodeForbidden {
		return pedigree.Errorf(pedigree.CodeNotFound, "there is no %s", what)
	}
	return err
}

// changeDeployment loads a deployment with its place and decides; permission is asked for
// in its project.
func (r *Registrar) changeDeployment(ctx context.Context, p pedigree.Principal, permission pedigree.Permission, id string, f func(tx *sqlstore.Tx, place *pedigree.Place, d *pedigree.Deployment) ([]pedigree.Draft, error)) (pedigree.Deployment, error) {
	appended, err := r.decide(ctx, p, func(tx *sqlstore.Tx) (decision, error) {
		d, err := deploymentByID(ctx, tx, id)
		if err != nil {
			return decision{}, errors.Join(r.authorise(ctx, tx, p, pedigree.SignedIn, ""), err)
		}
		if err := r.hidden(ctx, tx, p, d.Project, "deployment "+id); err != nil {
			return decision{}, err
		}
		if err := r.authorise(ctx, tx, p, permission, d.Project); err != nil {
			return decision{}, err
		}
		if _, err := tx.Watch(ctx, id); err != nil {
			return decision{}, err
		}
		place, err := tx.Place(ctx, d.TargetID)
		if err != nil {
			return decision{}, err
		}
		drafts, err := f(tx, &place, &d)
		return decision{drafts: drafts}, err
	})
	at := pedigree.At{}
	if err == nil && appended != nil {
		at = seqAt(appended.Last())
	}
	if err != nil {
		return pedigree.Deployment{}, err
	}
	return r.deploymentByID(ctx, id, at)
}

// waitingVersion reads the version of a deployment that is about to become active. The
// decision rests on what was said of it, and on how many must approve.
func waitingVersion(ctx context.Context, tx *sqlstore.Tx, d *pedigree.Deployment) (*pedigree.Version, error) {
	v, err := tx.Version(ctx, d.Project, d.Model, d.ModelID, d.Version)
	return &v, err
}

// ReportDeployment says how a deployment that waits went: it is active from now on, or it
// failed, and why.
func (r *Registrar) ReportDeployment(ctx context.Context, p pedigree.Principal, id string, report pedigree.DeploymentReport) (pedigree.Deployment, error) {
	return r.changeDeployment(ctx, p, pedigree.DeploymentsReport, id, func(tx *sqlstore.Tx, place *pedigree.Place, d *pedigree.Deployment) ([]pedigree.Draft, error) {
		switch report.State {
		case pedigree.DeploymentActive:
			var v *pedigree.Version
			if d.State == pedigree.DeploymentPending {
				var err error
				if v, err = waitingVersion(ctx, tx, d); err != nil {
					return nil, err
				}
			}
			return place.Activate(d, v, report.Note)
		case pedigree.DeploymentFailing:
			return d.Fail(report.Note, report.Incident)
		}
		return nil, pedigree.Errorf(pedigree.CodeInvalid, "a report says active or failed, not %q", report.State)
	})
}

// EndDeployment says that a deployment stands no more, with nothing in its place.
func (r *Registrar) EndDeployment(ctx context.Context, p pedigree.Principal, id, reason string) (pedigree.Deployment, error) {
	return r.changeDeployment(ctx, p, pedigree.DeploymentsWrite, id, func(_ *sqlstore.Tx, _ *pedigree.Place, d *pedigree.Deployment) ([]pedigree.Draft, error) {
		return d.End(reason)
	})
}

// MarkDeployment says whether a deployment is bad: no rollback goes to it by itself.
func (r *Registrar) MarkDeployment(ctx context.Context, p pedigree.Principal, id string, bad bool, reason string) (pedigree.Deployment, error) {
	return r.changeDeployment(ctx, p, pedigree.DeploymentsRollback, id, func(_ *sqlstore.Tx, _ *pedigree.Place, d *pedigree.Deployment) ([]pedigree.Draft, error) {
		return d.Mark(bad, reason)
	})
}

// Timeline lists the deployments of a target, newest first.
func (r *Registrar) Timeline(ctx context.Context, p pedigree.Principal, project pedigree.ProjectName, target pedigree.TargetName, page pedigree.Page, at pedigree.At) (pedigree.List[pedigree.Deployment], error) {
	return r.deployments(ctx, page, at, func(tx *sqlstore.Tx, q *sqlstore.DeploymentQuery) (err error) {
		_, q.Target, err = r.findTarget(ctx, tx, p, pedigree.RecordsRead, project, target)
		return err
	})
}

// Deployments lists the deployments of a project, newest first.
func (r *Registrar) Deployments(ctx context.Context, p pedigree.Principal, project pedigree.ProjectName, page pedigree.Page, at pedigree.At) (pedigree.List[pedigree.Deployment], error) {
	return r.deployments(ctx, page, at, func(tx *sqlstore.Tx, q *sqlstore.DeploymentQuery) (err error) {
		if err := r.authorise(ctx, tx, p, pedigree.RecordsRead, project); err != nil {
			return err
		}
		q.Project, err = tx.ProjectID(ctx, project)
		return err
	})
}

// Where lists where a version stands: its deployments that are pending or active.
func (r *Registrar) Where(ctx context.Context, p pedigree.Principal, ref pedigree.Reference, at pedigree.At) (pedigree.List[pedigree.Deployment], error) {
	return r.deployments(ctx, pedigree.Page{Limit: pedigree.MaxLimit}, at, func(tx *sqlstore.Tx, q *sqlstore.DeploymentQuery) error {
		if err := r.authorise(ctx, tx, p, pedigree.RecordsRead, ref.Project); err != nil {
			return err
		}
		_, id, err := modelID(ctx, tx, ref.Project, ref.Model)
		if err != nil {
			return err
		}
		q.Model, q.Standing = id, true
		if ref.Version != 0 || ref.Alias != "" || ref.Digest != "" { // a model alone means all its versions
			found, err := tx.Resolve(ctx, id, ref)
			q.Number = found.Number
			return err
		}
		return nil
	})
}

func (r *Registrar) deployments(ctx context.Context, page pedigree.Page, at pedigree.At, choose func(tx *sqlstore.Tx, q *sqlstore.DeploymentQuery) error) (pedigree.List[pedigree.Deployment], error) {
	out := pedigree.List[pedigree.Deployment]{Items: []pedigree.Deployment{}}
	q := sqlstore.DeploymentQuery{Before: -1, Limit: page.Size() + 1}
	if err := decodeCursor(page.Cursor, &q.Before); err != nil {
		return out, err
	}
	err := r.store.Read(ctx, at, func(tx *sqlstore.Tx) error {
		if err := choose(tx, &q); err != nil {
			return err
		}
		items, err := tx.Deployments(ctx, q)
		if len(items) > page.Size() {
			items = items[:page.Size()]
			out.Next = encodeCursor(items[len(items)-1].Seq)
		}
		out.Items, out.AsOf = append(out.Items, items...), tx.AsOf()
		return err
	})
	return out, err
}

// guardAlias decides what a move of an alias of m is. Where the alias is tied to a target, it
// is a deployment there, through the same gates; where a policy protects it, it passes the
// gates; otherwise it is just a move, and the answer is ok false. ref names the version by its
// number.
func (r *Registrar) guardAlias(ctx context.Context, tx *sqlstore.Tx, p pedigree.Principal, ref pedigree.Reference, projectID string, m *pedigree.Model, alias pedigree.Alias, note string) (drafts []pedigree.Draft, ok bool, err error) {
	g, err := guardOf(ctx, tx, projectID, m, handle{alias: alias})
	if err != nil || !g.protected && len(g.ties) == 0 {
		return nil, false, err
	}
	if err := r.authorise(ctx, tx, p, pedigree.DeploymentsWrite, ref.Project); err != nil {
		return nil, false, err
	}
	w, err := r.weighing(ctx, tx, ref)
	if err != nil {
		return nil, false, err
	}
	if len(g.ties) > 1 {
		var names []string
		for _, t := range g.ties {
			names = append(names, string(t.place.Target.Name))
		}
		return nil, false, pedigree.Errorf(pedigree.CodeRefused, "the alias %s is tied to several targets: %s", alias, strings.Join(names, ", ")).
			WithFix("say which: pedigree deploy %s --to %s", w.version.Reference(), names[0])
	}
	if len(g.ties) == 1 {
		w.place = &g.ties[0].place
		if w.place.Target.Confirm != pedigree.ConfirmNone {
			return nil, false, pedigree.Errorf(pedigree.CodeRefused, "the alias %s is tied to %s, where a deployment is active once it is confirmed", alias, w.place.Target.Name).
				WithFix("pedigree deploy %s --to %s", w.version.Reference(), w.place.Target.Name)
		}
		drafts, err = w.deploy(ctx, p, pedigree.Deploy{Role: pedigree.RolePrimary, Note: note})
		return drafts, true, err
	}
	if n, err := tx.AliasTarget(ctx, w.version.ModelID, alias); err != nil {
		return nil, false, err
	} else if n != 0 && n != w.version.Number {
		current, err := tx.Version(ctx, ref.Project, ref.Model, w.version.ModelID, n)
		if err != nil {
			return nil, false, err
		}
		w.replaces = &current
	}
	d, err := w.judge(ctx, pedigree.Deploy{Role: pedigree.RolePrimary, Note: note})
	if err != nil {
		return nil, false, err
	}
	if err := d.Err("moving the protected alias " + string(alias) + " to " + w.version.Reference().String()); err != nil {
		return nil, false, err
	}
	drafts, err = w.model.SetAlias(alias, &w.version, note)
	for i := range drafts {
		drafts[i].Payload["decision"] = d
	}
	return drafts, true, err
}

// guard is what stands before a move of a handle of a model.
type guard struct {
	// protected says that a policy does.
	protected bool
	ties      []tie
}

// tie is a target to which a handle of a model is tied, and the deployment there that makes
// it so, nil where nothing was ever active there or waits to be.
type tie struct {
	place pedigree.Place
	by    *pedigree.Deployment
}

// runs is a deployment that stands at a target to which the handle is tied, nil without one.
func (g *guard) runs() *pedigree.Deployment {
	for _, t := range g.ties {
		if t.by != nil && t.by.Live() {
			return t.by
		}
	}
	return nil
}

// handle is a name that moves from version to version: an alias, or a stage of MLflow's, which
// is gated as the alias of its name, in any case. None and Archived hand out nothing.
type handle struct {
	alias pedigree.Alias
	stage string
}

// held finds what may hold a handle in a project: whether a policy protects it, and the targets
// that tie it. The decision rests on both.
func (h handle) held(ctx context.Context, tx *sqlstore.Tx, projectID string, project pedigree.ProjectName) (protected bool, targets []string, err error) {
	if h.alias == "" && !pedigree.ActiveStage(h.stage) {
		return false, nil, nil
	}
	policies, err := tx.Policies(ctx, projectID, project)
	if err != nil {
		return false, nil, err
	}
	if h.alias != "" {
		targets, err = tx.TiedTargets(ctx, projectID, h.alias)
		return policies.ProtectsAlias(h.alias), targets, err
	}
	targets, err = tx.TiedStage(ctx, projectID, h.stage)
	return policies.ProtectsStage(h.stage), targets, err
}

// guardOf finds what guards a handle of m, of which the id, the project and the name are read.
// The decision rests on it.
func guardOf(ctx context.Context, tx *sqlstore.Tx, projectID string, m *pedigree.Model, h handle) (g guard, err error) {
	var targets []string
	if g.protected, targets, err = h.held(ctx, tx, projectID, m.Project); err != nil {
		return g, err
	}
	g.ties, err = ties(ctx, tx, targets, m)
	return g, err
}

// ties finds, of the targets that tie a handle, those to which it is tied for m: where m is
// active or was last, or waits to be; where that is true of a model that has, or once had, the
// name of m, so that a name which was freed leads past no gate; without any such, all where
// nothing was ever active or waits.
//
// No other model can get m's name without moving what the decision about m rests on.
func ties(ctx context.Context, tx *sqlstore.Tx, targets []string, m *pedigree.Model) ([]tie, error) {
	var tied, vacant []tie
	for _, id := range targets {
		place, err := tx.Place(ctx, id)
		if err != nil {
			return nil, err
		}
		there, err := occupants(ctx, tx, &place)
		if err != nil {
			return nil, err
		}
		if len(there) == 0 {
			vacant = append(vacant, tie{place: place})
		}
		var by *pedigree.Deployment // what stands before what stood
		for i := range there {
			same := there[i].ModelID == m.ID
			if !same {
				if same, err = tx.WasNamed(ctx, there[i].ModelID, m.Name); err != nil {
					return nil, err
				}
			}
			if same && (by == nil || !by.Live()) {
				by = &there[i]
			}
		}
		if by != nil {
			tied = append(tied, tie{place, by})
		}
	}
	if len(tied) > 0 {
		return tied, nil
	}
	return vacant, nil
}

// occupants are the primary deployments by which a place belongs to a model: what is active
// there, else what was last, and what waits.
func occupants(ctx context.Context, tx *sqlstore.Tx, place *pedigree.Place) (out []pedigree.Deployment, err error) {
	if d := place.Current(); d != nil {
		out = append(out, *d)
	} else {
		q := sqlstore.DeploymentQuery{Target: place.Target.ID, Role: pedigree.RolePrimary, Activated: true, Before: -1, Limit: 1}
		if out, err = tx.Deployments(ctx, q); err != nil {
			return nil, err
		}
	}
	if d := place.Pending(); d != nil {
		out = append(out, *d)
	}
	return out, nil
}

// standsAlone refuses to hide or delete a version, or a whole model for number 0, that is
// deployed somewhere.
func standsAlone(ctx context.Context, tx *sqlstore.Tx, modelID string, n pedigree.VersionNumber) error {
	runs, err := tx.Runs(ctx, modelID, n)
	if err != nil || len(runs) == 0 {
		return err
	}
	d := &runs[0]
	return pedigree.Errorf(pedigree.CodeRefused, "%s is in use: it is %s at %s", d.Reference(), d.State, d.Target).
		WithFix("deploy another version there, or: pedigree deployment end %s --reason …", d.ID)
}

// freeAlias refuses to remove an alias by which a deployment stands; one that is protected is
// removed by who may deploy.
func (r *Registrar) freeAlias(ctx context.Context, tx *sqlstore.Tx, p pedigree.Principal, projectID string, m *pedigree.Model, alias pedigree.Alias) error {
	g, err := guardOf(ctx, tx, projectID, m, handle{alias: alias})
	if err != nil {
		return err
	}
	if d := g.runs(); d != nil {
		return pedigree.Errorf(pedigree.CodeRefused, "the alias %s is tied to %s, where %s is %s", alias, d.Target, d.Reference(), d.State).
			WithFix("pedigree deployment end %s --reason …", d.ID)
	}
	return r.leave(ctx, tx, p, m, g)
}

// leave asks for the right to deploy where a handle of m that is protected, or by which m
// stands at a target, is to name something else or nothing.
func (r *Registrar) leave(ctx context.Context, tx *sqlstore.Tx, p pedigree.Principal, m *pedigree.Model, g guard) error {
	if !g.protected && g.runs() == nil {
		return nil
	}
	return r.authorise(ctx, tx, p, pedigree.DeploymentsWrite, m.Project)
}

// handlesOf are the aliases and stages by which versions of m are handed out. The decision
// rests on which there are.
func handlesOf(ctx context.Context, tx *sqlstore.Tx, m *pedigree.Model) ([]handle, error) {
	if _, err := tx.Watch(ctx, pedigree.AliasesKey(m.ID)); err != nil {
		return nil, err
	}
	var out []handle
	for _, alias := range slices.Sorted(maps.Keys(m.Aliases)) {
		out = append(out, handle{alias: alias})
	}
	for _, stage := range pedigree.VersionStages {
		if !pedigree.ActiveStage(stage) {
			continue
		}
		in, err := tx.InStage(ctx, m.ID, stage)
		if err != nil {
			return nil, err
		}
		if len(in) > 0 {
			out = append(out, handle{stage: stage})
		}
	}
	return out, nil
}

// guardRename decides who may give m another name. What its handles named under the old one
// they name no more: where m stands at a target, or one of them is guarded, that is for who may
// deploy. A handle that would be tied under the new name alone, to where a model ran that had
// it, passed no gates of that target and can't be taken along.
func (r *Registrar) guardRename(ctx context.Context, tx *sqlstore.Tx, p pedigree.Principal, projectID string, m *pedigree.Model, to pedigree.Name) error {
	handles, err := handlesOf(ctx, tx, m)
	if err != nil {
		return err
	}
	renamed := *m
	renamed.Name = to
	for _, h := range handles {
		g, err := guardOf(ctx, tx, projectID, m, h)
		if err != nil {
			return err
		}
		if err := r.leave(ctx, tx, p, m, g); err != nil {
			return err
		}
		then, err := guardOf(ctx, tx, projectID, &renamed, h)
		if err != nil {
			return err
		}
		for _, t := range then.ties {
			if t.by != nil && t.by.ModelID != m.ID {
				return h.tiedAs(m, to, t.place.Target.Name)
			}
		}
	}
	if runs, err := tx.Runs(ctx, m.ID, 0); err != nil || len(runs) == 0 {
		return err
	}
	return r.authorise(ctx, tx, p, pedigree.DeploymentsWrite, m.Project)
}

// tiedAs is the error of a rename that would take h along past the gates of a target.
func (h handle) tiedAs(m *pedigree.Model, to pedigree.Name, target pedigree.TargetName) error {
	if h.alias == "" {
		return pedigree.Errorf(pedigree.CodeRefused, "the stage %s is tied to %s, where a model named %s runs or ran: a version gets there through the gates", h.stage, target, to).
			WithFix("take the versions of %s out of the stage before the rename, and move one there after it", m.Name)
	}
	return pedigree.Errorf(pedigree.CodeRefused, "the alias %s is tied to %s, where a model named %s runs or ran: a version gets there through the gates", h.alias, target, to).
		WithFix("pedigree alias rm %s@%s, and after the rename: pedigree alias set %s@%s VERSION", m.Name, h.alias, to, h.alias)
}

// leaveStage asks for the right to deploy where a version is taken out of a stage that is
// protected, or by which its model stands at a target; also where it is hidden or deleted.
func (r *Registrar) leaveStage(ctx context.Context, tx *sqlstore.Tx, p pedigree.Principal, projectID string, v *pedigree.Version) error {
	stage, err := tx.Stage(ctx, v.ModelID, v.Number)
	if err != nil {
		return err
	}
	m := &pedigree.Model{ID: v.ModelID, Project: v.Project, Name: v.Model}
	g, err := guardOf(ctx, tx, projectID, m, handle{stage: stage})
	if err != nil {
		return err
	}
	return r.leave(ctx, tx, p, m, g)
}

// unused refuses to delete a version, or a whole model for number 0, that is deployed or
// that a protected alias names.
func unused(ctx context.Context, tx *sqlstore.Tx, projectID string, project pedigree.ProjectName, modelID string, n pedigree.VersionNumber, aliases []pedigree.Alias) error {
	if err := standsAlone(ctx, tx, modelID, n); err != nil {
		return err
	}
	policies, err := tx.Policies(ctx, projectID, project)
	if err != nil {
		return err
	}
	for _, alias := range aliases {
		if policies.ProtectsAlias(alias) {
			return pedigree.Errorf(pedigree.CodeRefused, "the protected alias %s names it", alias).WithFix("move the alias to another version first")
		}
	}
	return nil
}

// newHandles refuses a registration that would take along an alias, or by its tags a stage,
// which only a deployment, or the gates, may move: the version is to be looked at first.
func newHandles(ctx context.Context, tx *sqlstore.Tx, projectID string, project pedigree.ProjectName, model pedigree.Name, reg *pedigree.Registration) error {
	for _, alias := range reg.Aliases {
		protected, targets, err := handle{alias: alias}.held(ctx, tx, projectID, project)
		if err != nil {
			return err
		}
		if protected || len(targets) > 0 {
			return pedigree.Errorf(pedigree.CodeRefused, "the alias %s is protected or tied to a target: a version is registered first, and then moved through the gates", alias).
				WithFix("register without the alias, then: pedigree alias set %s@%s VERSION", model, alias)
		}
	}
	stage := pedigree.StageOf(reg.Tags[pedigree.StageTag])
	protected, targets, err := handle{stage: stage}.held(ctx, tx, projectID, project)
	if err != nil || !protected && len(targets) == 0 {
		return err
	}
	return pedigree.Errorf(pedigree.CodeRefused, "the stage %s is gated as the alias of its name, which is protected or tied to a target: a version is registered first, and then moved through the gates", stage).
		WithFix("register without the tag %s, then move the version to the stage", pedigree.StageTag)
}

// guardStage passes a version through the gates that the alias of the name of a stage of
// MLflow's has. Where several targets tie it, it passes those of each. Whether v is archived or
// withdrawn it says itself, as it is to be.
func (r *Registrar) guardStage(ctx context.Context, tx *sqlstore.Tx, p pedigree.Principal, projectID string, v *pedigree.Version, stage string) error {
	g, err := guardOf(ctx, tx, projectID, &pedigree.Model{ID: v.ModelID, Project: v.Project, Name: v.Model}, handle{stage: stage})
	if err != nil || !g.protected && len(g.ties) == 0 {
		return err
	}
	if err := r.authorise(ctx, tx, p, pedigree.DeploymentsWrite, v.Project); err != nil {
		return err
	}
	w, err := r.weighing(ctx, tx, v.Exact())
	if err != nil {
		return err
	}
	w.version.Archived, w.version.Withdrawn = v.Archived, v.Withdrawn
	var places []*pedigree.Place
	for i := range g.ties {
		places = append(places, &g.ties[i].place)
	}
	if len(places) == 0 {
		places = append(places, nil)
	}
	for _, w.place = range places {
		d, err := w.judge(ctx, pedigree.Deploy{Role: pedigree.RolePrimary})
		if err != nil {
			return err
		}
		if err := d.Err("the stage " + stage + " for " + w.version.Reference().String()); err != nil {
			return err
		}
	}
	return nil
}
