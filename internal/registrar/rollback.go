package registrar

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/internal/blob"
	"github.com/pedigree-ml/pedigree/internal/sqlstore"
)

// maxAffected bounds the executions and the versions that a plan names.
const maxAffected = 100

// PlanRollback says what a rollback of a target would do, and whether it may. The overrides
// are taken into account and not judged.
func (r *Registrar) PlanRollback(ctx context.Context, p pedigree.Principal, project pedigree.ProjectName, target pedigree.TargetName, rollback pedigree.Rollback) (out pedigree.RollbackPlan, err error) {
	err = r.store.Read(ctx, pedigree.At{}, func(tx *sqlstore.Tx) error {
		_, id, err := r.findTarget(ctx, tx, p, pedigree.RecordsRead, project, target)
		if err != nil {
			return err
		}
		plan, err := r.planRollback(ctx, tx, id, rollback)
		if err != nil {
			return err
		}
		out = plan.RollbackPlan
		out.AsOf = tx.AsOf()
		if err := out.Decision.Override(rollback.Overrides); err != nil {
			return err
		}
		reach, err := r.reach(ctx, tx, p, pedigree.RecordsRead)
		if err != nil {
			return err
		}
		return plan.affected(ctx, tx, &out, &reach)
	})
	return out, err
}

// Rollback goes back to what rollback names, or to the latest earlier deployment that was
// good: one append, which opens the deployment that restores it and, where the target asks
// for no confirmation, makes it active and moves the tied alias. It returns
// [pedigree.CodeRefused] with every check that failed and was not overridden.
func (r *Registrar) Rollback(ctx context.Context, p pedigree.Principal, project pedigree.ProjectName, target pedigree.TargetName, rollback pedigree.Rollback) (pedigree.Deployment, error) {
	appended, err := r.decide(ctx, p, func(tx *sqlstore.Tx) (decision, error) {
		_, id, err := r.findTarget(ctx, tx, p, pedigree.DeploymentsRollback, project, target)
		if err != nil {
			return decision{}, err
		}
		plan, err := r.planRollback(ctx, tx, id, rollback)
		if err != nil {
			return decision{}, err
		}
		if len(rollback.Overrides) > 0 {
			w := weighing{r: r, tx: tx, policies: plan.policies, version: plan.version}
			if err := w.override(ctx, p, &plan.Decision, rollback.Overrides); err != nil {
				return decision{}, err
			}
		}
		drafts, err := plan.place.Deploy(r.newID("dep"), &plan.version, pedigree.Deploy{
			Image: plan.To.Image, Config: plan.To.Config, Note: rollback.Reason, Incident: rollback.Incident,
		}, plan.Decision, plan.To.ID)
		return decision{drafts: drafts}, err
	})
	if err != nil {
		return pedigree.Deployment{}, err
	}
	return r.opened(ctx, appended)
}

// rollbackPlan is a plan with what it rests on.
type rollbackPlan struct {
	pedigree.RollbackPlan
	place    pedigree.Place
	policies pedigree.Policies
	version  pedigree.Version
}

func (r *Registrar) planRollback(ctx context.Context, tx *sqlstore.Tx, targetID string, rollback pedigree.Rollback) (*rollbackPlan, error) {
	place, err := tx.Place(ctx, targetID)
	if err != nil {
		return nil, err
	}
	plan := &rollbackPlan{place: place}
	plan.Target, plan.Project, plan.Alias = place.Target.Name, place.Target.Project, place.Target.Alias
	current := place.Current()
	plan.From = current
	if rollback.IfCurrent != "" && (current == nil || current.ID != rollback.IfCurrent) {
		e := pedigree.Errorf(pedigree.CodeConflict, "%s does not run deployment %s any more", plan.Target, rollback.IfCurrent).WithFix("look with: pedigree which %s", plan.Target)
		if current != nil {
			e.Current = current.ID
		}
		return nil, e
	}
	if err := plan.choose(ctx, tx, rollback.To); err != nil {
		return nil, err
	}
	to := &plan.To
	projectID, err := tx.ProjectID(ctx, plan.Project)
	if err != nil {
		return nil, err
	}
	if plan.policies, err = tx.Policies(ctx, projectID, plan.Project); err != nil {
		return nil, err
	}
	plan.version, err = tx.Version(ctx, to.Project, to.Model, to.ModelID, to.Version)
	if pedigree.CodeOf(err) == pedigree.CodeNotFound {
		err = pedigree.Errorf(pedigree.CodeRefused, "%s was deleted since it ran at %s, and can't come back", to.Reference(), plan.Target).
			WithFix("pedigree rollback %s --to another version, from: pedigree timeline %s", plan.Target, plan.Target)
	}
	if err != nil {
		return nil, err
	}
	v := &plan.version
	ready, err := tx.Readiness(ctx, targetID)
	if err != nil {
		return nil, err
	}
	plan.Decision = pedigree.Decision{
		Policies: plan.policies.Refs(), RecordDigest: v.RecordDigest,
		Checks: plan.checks(r.bytesCheck(ctx, v, to.ID, ready)),
	}
	plan.Code, plan.Config = v.Record.Code, to.Config
	if plan.Image = to.Image; plan.Image == "" && v.Record.Runtime != nil {
		plan.Image = v.Record.Runtime.Image
	}
	plan.Artifact = v.Record.Artifact
	plan.Artifact.Files = nil
	if current == nil {
		return plan, nil
	}
	plan.Decision.Replaces = current.Reference().String()
	from, err := tx.Version(ctx, current.Project, current.Model, current.ModelID, current.Version)
	if pedigree.CodeOf(err) == pedigree.CodeNotFound {
		return plan, nil
	}
	plan.Note, plan.Changes = from.Record.RollbackNote, pedigree.Difference(&from.Record, &v.Record)
	return plan, err
}

// checks are what speaks for and against the plan, with what was found of the bytes.
func (plan *rollbackPlan) checks(bytes pedigree.Check) []pedigree.Check {
	t := &plan.place.Target
	rules := plan.policies.Rules(t.Name.Environment(), plan.policies.Protects(t))
	return pedigree.RollbackChecks(&plan.version, &plan.To, rules, bytes, pedigree.SchemaCheck(&plan.version, t))
}

// choose finds the deployment to restore.
func (plan *rollbackPlan) choose(ctx context.Context, tx *sqlstore.Tx, to string) error {
	target, current := &plan.place.Target, plan.place.Current()
	runsAlready := func() error {
		return pedigree.Errorf(pedigree.CodeRefused, "%s runs %s already: there is nothing to go back to it from", target.Name, to).WithFix("choose another from: pedigree timeline %s", target.Name)
	}
	if strings.HasPrefix(to, "dep_") {
		all, err := tx.DeploymentsByID(ctx, []string{to})
		if err != nil {
			return err
		}
		if len(all) == 0 || all[0].TargetID != target.ID || all[0].ActiveSeq == nil || all[0].Role != pedigree.RolePrimary {
			return pedigree.Errorf(pedigree.CodeNotFound, "%s was never the active primary of %s", to, target.Name).WithFix("pedigree timeline %s", target.Name)
		}
		if plan.To = all[0]; plan.To.Runs(current) {
			return runsAlready()
		}
		return nil
	}
	number, model := pedigree.VersionNumber(0), pedigree.Name("")
	if to != "" {
		ref, err := pedigree.ParseReference(to)
		if err != nil || ref.Version == 0 {
			return pedigree.Errorf(pedigree.CodeInvalid, "%q is no place to go back to", to).WithFix("--to fraud/6, or --to dep_… from: pedigree timeline %s", target.Name)
		}
		number, model = ref.Version, ref.Model
	}
	before := int64(-1)
	way, runs := pedigree.WayBack{Current: current}, false
	for {
		history, err := tx.Deployments(ctx, sqlstore.DeploymentQuery{Target: target.ID, Role: pedigree.RolePrimary, Activated: true, Before: before, Limit: 100})
		if err != nil {
			return err
		}
		for _, d := range history {
			named := to != "" && d.Version == number && d.Model == model
			runs = runs || named && d.Runs(current)
			if named && !d.Runs(current) || to == "" && way.Fits(&d) {
				plan.To = d
				return nil
			}
			before = d.Seq
		}
		if len(history) < 100 {
			break
		}
	}
	switch {
	case runs:
		return runsAlready()
	case to != "":
		return pedigree.Errorf(pedigree.CodeNotFound, "%s was never active at %s", to, target.Name).WithFix("pedigree deploy %s --to %s, or choose from: pedigree timeline %s", to, target.Name, target.Name)
	}
	return pedigree.Errorf(pedigree.CodeRefused, "%s has nothing to go back to: no earlier deployment was active and good", target.Name).
		WithFix("pedigree timeline %s shows what there was; pedigree deploy puts another version there", target.Name)
}

// freshCheck is how old the background's check of bytes may be for a rollback to rest on it.
const freshCheck = 48 * time.Hour

// bytesCheck says whether the stored bytes of a version are there: each is looked up now, and
// what the background found when it last read them is told with its age. A file that is
// small is not read again: at night a rollback must not wait for gigabytes.
func (r *Registrar) bytesCheck(ctx context.Context, v *pedigree.Version, deployment string, ready *pedigree.Readiness) pedigree.Check {
	if v.Record.Artifact.Kind != pedigree.ArtifactStored {
		return pedigree.Check{Name: pedigree.CheckBytes, State: pedigree.CheckWarned, Message: fmt.Sprintf("the artifact of %s is %s: its bytes are not kept here", v.Reference(), v.Record.Artifact.Kind)}
	}
	fix := "restore the stored bytes from a backup: pedigree verify " + v.Reference().String() + " says which are missing"
	for _, f := range v.Record.Artifact.Files {
		size, err := r.blobs.Stat(ctx, f.Digest)
		if err == nil && size == f.Size {
			continue
		}
		message := fmt.Sprintf("%s of %s has another size than recorded", f.Path, v.Reference())
		if err != nil {
			message = fmt.Sprintf("%s of %s can't be read: %v", f.Path, v.Reference(), err)
		}
		return pedigree.Check{Name: pedigree.CheckBytes, State: pedigree.CheckFailed, Fix: fix, Message: message}
	}
	message := fmt.Sprintf("all files are there (%d), not read again", len(v.Record.Artifact.Files))
	if ready != nil && ready.Deployment == deployment {
		age := r.now().Sub(ready.CheckedAt)
		for _, c := range ready.Checks {
			if c.Name == pedigree.CheckBytes && c.State == pedigree.CheckFailed && age < freshCheck {
				return c
			}
			if c.Name == pedigree.CheckBytes && c.State == pedigree.CheckPassed {
				message = fmt.Sprintf("all files are there (%d), read and compared %s ago", len(v.Record.Artifact.Files), age.Round(time.Second))
			}
		}
	}
	return pedigree.Check{Name: pedigree.CheckBytes, State: pedigree.CheckPassed, Message: message}
}

// affected adds what was made since the deployment that is left became active, as far as it
// is within reach.
func (plan *rollbackPlan) affected(ctx context.Context, tx *sqlstore.Tx, out *pedigree.RollbackPlan, within *reach) error {
	d := plan.From
	if d == nil || d.ActiveSeq == nil {
		return nil
	}
	var err error
	if out.Executions, err = tx.Executions(ctx, sqlstore.ExecutionQuery{Target: d.TargetID, Model: d.ModelID, Number: d.Version, After: *d.ActiveSeq, Before: -1, Limit: maxAffected}); err != nil {
		return err
	}
	seqs, err := tx.WithAttribute(ctx, "parents", "parent", pedigree.VersionSubject(d.ModelID, d.Version), maxAffected)
	if err != nil {
		return err
	}
	seqs = slices.DeleteFunc(seqs, func(seq int64) bool { return seq < *d.ActiveSeq })
	items, err := tx.Summaries(ctx, seqs)
	if err != nil {
		return err
	}
	for _, s := range items {
		id, err := tx.ProjectID(ctx, s.Project)
		if err != nil {
			return err
		}
		if !within.has(id) {
			continue
		}
		v := pedigree.Version{Project: s.Project, Model: s.Model, Number: s.Number}
		out.Downstream = append(out.Downstream, v.Reference().String())
	}
	return err
}

// CheckReadiness looks whether each protected target could go back now: what would be
// restored, its approval, its schema, and its stored bytes, which are read and compared
// where that was not done less than every ago. What was found is kept, and where it changed
// an event says so. It is for the background; what fails at one target does not keep it
// from the others.
func (r *Registrar) CheckReadiness(ctx context.Context, every time.Duration) error {
	var ids []string
	err := r.store.Read(ctx, pedigree.At{}, func(tx *sqlstore.Tx) (err error) {
		ids, err = tx.AllTargets(ctx)
		return err
	})
	for _, id := range ids {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if e := r.checkReadiness(ctx, id, every); e != nil && pedigree.CodeOf(e) != pedigree.CodeNotFound { // deleted meanwhile
			err = errors.Join(err, fmt.Errorf("target %s: %w", id, e))
		}
	}
	return err
}

// readinessTypes are the types of events that may open or shut a way back.
var readinessTypes = []pedigree.EventType{
	pedigree.DeploymentActivated, pedigree.DeploymentEnded, pedigree.DeploymentMarked, pedigree.TargetCreated, pedigree.TargetEdited,
	pedigree.VersionAmended, pedigree.VersionArchived, pedigree.VersionRestored, pedigree.VersionDeleted, pedigree.VersionWithdrawn, pedigree.VersionReinstated,
	pedigree.PolicyApplied, pedigree.PolicyRemoved, pedigree.ApprovalGranted, pedigree.ApprovalRejected, pedigree.ApprovalRevoked, pedigree.PayloadRedacted,
}

// ReadinessMoved says whether something happened after an event that may have opened or shut
// a way back, and which event is the last one now.
func (r *Registrar) ReadinessMoved(ctx context.Context, after int64) (moved bool, last int64, err error) {
	err = r.store.Read(ctx, pedigree.At{}, func(tx *sqlstore.Tx) error {
		if last = tx.AsOf(); last == after {
			return nil
		}
		entries, err := tx.Entries(ctx, pedigree.EventQuery{Types: readinessTypes, After: after, Limit: 1})
		moved = len(entries) > 0
		return err
	})
	return moved, last, err
}

func (r *Registrar) checkReadiness(ctx context.Context, id string, every time.Duration) error {
	var plan *rollbackPlan
	var before *pedigree.Readiness
	now := pedigree.Readiness{CheckedAt: r.now().UTC()}
	skip := false
	err := r.store.Read(ctx, pedigree.At{}, func(tx *sqlstore.Tx) error {
		place, err := tx.Place(ctx, id)
		if err != nil {
			return err
		}
		projectID, err := tx.ProjectID(ctx, place.Target.Project)
		if err != nil {
			return err
		}
		policies, err := tx.Policies(ctx, projectID, place.Target.Project)
		if err != nil {
			return err
		}
		if before, err = tx.Readiness(ctx, id); err != nil {
			return err
		}
		if skip = !policies.Protects(&place.Target) || place.Current() == nil; skip {
			return nil
		}
		plan, err = r.planRollback(ctx, tx, id, pedigree.Rollback{})
		if code := pedigree.CodeOf(err); code == pedigree.CodeRefused || code == pedigree.CodeNotFound { // nothing to go back to
			now.Checks = []pedigree.Check{{Name: "candidate", State: pedigree.CheckFailed, Message: err.Error()}}
			plan, err = nil, nil
		}
		return err
	})
	switch {
	case err != nil:
		return err
	case skip && before != nil: // what was found then says nothing any more
		return r.store.DropReadiness(ctx, id)
	case skip:
		return nil
	}
	if plan != nil {
		to := &plan.To
		now.Deployment, now.Version = to.ID, to.Reference().String()
		bytes := r.bytesCheck(ctx, &plan.version, to.ID, nil)
		if read := bytesRead(before, to.ID, now.CheckedAt.Add(-every)); read != nil && bytes.State != pedigree.CheckFailed {
			bytes, now.CheckedAt = *read, before.CheckedAt
		} else {
			bytes = r.readBytes(ctx, &plan.version)
		}
		now.Checks = plan.checks(bytes)
		d := pedigree.Decision{Checks: now.Checks}
		now.Ready = len(d.Failed()) == 0
	}
	if err := ctx.Err(); err != nil { // bytes that were not read to their end prove nothing
		return err
	}
	if now.Same(before) && r.now().Sub(before.CheckedAt) < every {
		return nil
	}
	// Another server may have looked as well: what both found is told once.
	keep, err := sqlstore.KeepReadiness(id, now)
	if err != nil {
		return err
	}
	appended, err := r.decide(ctx, pedigree.System, func(tx *sqlstore.Tx) (decision, error) {
		if _, err := tx.Watch(ctx, pedigree.ReadinessKey(id)); err != nil {
			return decision{}, err
		}
		t, err := tx.Target(ctx, id)
		if err != nil {
			return decision{}, err
		}
		known, err := tx.Readiness(ctx, id)
		return decision{drafts: t.Ready(known, now), own: []sqlstore.Own{keep}}, err
	})
	if err != nil || appended != nil {
		return err
	}
	return r.store.Keep(ctx, keep)
}

// bytesRead is what was found when the bytes of a deployment were last read, where that was
// at or after a time; nil otherwise.
func bytesRead(r *pedigree.Readiness, deployment string, since time.Time) *pedigree.Check {
	if r == nil || r.Deployment != deployment || r.CheckedAt.Before(since) {
		return nil
	}
	for i := range r.Checks {
		if r.Checks[i].Name == pedigree.CheckBytes {
			return &r.Checks[i]
		}
	}
	return nil
}

// ForgetInstances deletes the heartbeats of instances that are taken for gone, and all that
// was seen at targets that are no more.
func (r *Registrar) ForgetInstances(ctx context.Context) error {
	before := map[string]time.Time{}
	err := r.store.Read(ctx, pedigree.At{}, func(tx *sqlstore.Tx) error {
		ids, err := tx.AllTargets(ctx)
		if err != nil {
			return err
		}
		targets, err := tx.Targets(ctx, ids)
		for i := range targets {
			before[targets[i].ID] = r.now().Add(-targets[i].Forgotten())
		}
		return err
	})
	if err != nil {
		return err
	}
	return r.store.ForgetHeartbeats(ctx, before)
}

// HasTargets says whether there is any target.
func (r *Registrar) HasTargets(ctx context.Context) (bool, error) {
	var ids []string
	err := r.store.Read(ctx, pedigree.At{}, func(tx *sqlstore.Tx) (err error) {
		ids, err = tx.ListTargets(ctx, "", "", 1)
		return err
	})
	return len(ids) > 0, err
}

// Lease gives owner the right to a job of the background, or renews it, and says whether
// owner has it; Release gives it back.
func (r *Registrar) Lease(ctx context.Context, job, owner string, d time.Duration) (bool, error) {
	return r.store.Lease(ctx, job, owner, d)
}

// Release gives back what [Registrar.Lease] gave.
func (r *Registrar) Release(ctx context.Context, job, owner string) error {
	return r.store.Release(ctx, job, owner)
}

// readBytes reads every stored file of a version and compares it with its digest.
func (r *Registrar) readBytes(ctx context.Context, v *pedigree.Version) pedigree.Check {
	c := r.bytesCheck(ctx, v, "", nil)
	if c.State != pedigree.CheckPassed {
		return c
	}
	for _, f := range v.Record.Artifact.Files {
		if err := blob.Verify(ctx, r.blobs, f.Digest); err != nil {
			c.State, c.Message = pedigree.CheckFailed, fmt.Sprintf("%s of %s: %v", f.Path, v.Reference(), err)
			return c
		}
	}
	c.Message = fmt.Sprintf("all files are there (%d), read and compared", len(v.Record.Artifact.Files))
	return c
}
