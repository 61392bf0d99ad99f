package httpapi_test

import (
	"testing"
	"time"

	"github.com/pedigree-ml/pedigree"
)

// testLifecycle uses every operation on policies, approvals, targets, deployments and
// executions.
func testLifecycle(t *testing.T, r *registry) {
	ctx := t.Context()
	c := r.In("risk")
	for range 3 {
		must(c.Register(ctx, "loans", linked("s3://models/loans")))(t)
	}
	one, two, three := ref(t, "risk/loans/1"), ref(t, "risk/loans/2"), ref(t, "risk/loans/3")

	_, err := c.Policy(ctx, "risk", now)
	wantCode(t, err, pedigree.CodeNotFound)
	policy := pedigree.Policy{
		Project: "risk", Gates: []pedigree.Gate{{Name: "kind", Expr: `artifact.kind == "linked"`, Message: "want a link"}},
		Approvals: &pedigree.ApprovalRule{AllowAuthor: true, ValidFor: pedigree.Duration(24 * time.Hour)},
	}
	if _, changed, err := c.ApplyPolicy(ctx, policy, true); err != nil || !changed {
		t.Fatalf("dry run: %v, %v", changed, err)
	}
	applied, changed, err := c.ApplyPolicy(ctx, policy, false)
	if err != nil || !changed || applied.Seq == 0 {
		t.Fatalf("applied: %+v, %v, %v", applied, changed, err)
	}
	if _, changed, err = c.ApplyPolicy(ctx, policy, false); err != nil || changed {
		t.Fatalf("applied twice: %v, %v", changed, err)
	}
	bad := policy
	bad.Gates = []pedigree.Gate{{Name: "kind", Expr: "artifact.knd == 1"}}
	_, _, err = c.ApplyPolicy(ctx, bad, false)
	wantCode(t, err, pedigree.CodeInvalid)
	if got := must(c.Policy(ctx, "risk", now))(t); got.Seq != applied.Seq || got.Approvals.ValidFor != policy.Approvals.ValidFor {
		t.Fatalf("policy: %+v", got)
	}
	if _, _, err := c.ApplyPolicy(ctx, pedigree.Policy{Description: "floor"}, false); err != nil {
		t.Fatal(err)
	}
	if got := must(c.Policy(ctx, "", now))(t); got.Description != "floor" || got.Project != "" {
		t.Fatalf("instance: %+v", got)
	}
	if err := c.RemovePolicy(ctx, "", "not needed"); err != nil {
		t.Fatal(err)
	}

	target := must(c.CreateTarget(ctx, "prod/loans", pedigree.TargetSpec{Kind: pedigree.TargetOnline, Alias: "live", Confirm: pedigree.ConfirmReport}))(t)
	_, err = c.CreateTarget(ctx, "prod/loans", pedigree.TargetSpec{Kind: pedigree.TargetOnline})
	wantCode(t, err, pedigree.CodeExists)
	if got := must(c.EditTarget(ctx, "prod/loans", map[string]any{"owner": "team:risk", "confirm": nil}, &target.Changed))(t); got.Owner != "team:risk" || got.Alias != "live" || got.Confirm != pedigree.ConfirmNone {
		t.Fatalf("edited: %+v", got)
	}
	must(c.EditTarget(ctx, "prod/loans", map[string]any{"confirm": "report"}, nil))(t)
	if got := must(c.Target(ctx, "prod/loans", at(target.Seq)))(t); got.Owner != "" {
		t.Fatalf("before the edit: %+v", got)
	}

	d := must(c.TestPolicy(ctx, one, "prod/loans", pedigree.Deploy{}, now))(t)
	if len(d.Failed()) != 1 || d.Failed()[0].Name != pedigree.CheckApproval {
		t.Fatalf("decision: %+v", d)
	}
	_, err = c.Deploy(ctx, one, "prod/loans", pedigree.Deploy{}, nil)
	wantCode(t, err, pedigree.CodeRefused)
	for _, v := range []pedigree.Reference{one, two} {
		if got := must(c.RequestApproval(ctx, v, "please"))(t); got.Approval.State != pedigree.ApprovalAsked {
			t.Fatalf("requested: %+v", got.Approval)
		}
	}
	if list := must(c.Approvals(ctx, false, pedigree.Page{}, now))(t); len(list.Items) != 2 || list.Items[0].Number != 2 {
		t.Fatalf("inbox: %+v", list.Items)
	}
	if list := must(c.Approvals(ctx, true, pedigree.Page{Limit: 1}, now))(t); len(list.Items) != 1 || list.Next == "" {
		t.Fatalf("inbox of all: %+v", list)
	}
	approved := must(c.Approve(ctx, one, pedigree.Review{Comment: "fine", Conditions: []pedigree.Condition{{Note: "watch it", Owner: "ann", Due: "2026-12-31"}}}))(t)
	if a := approved.Approval; a.State != pedigree.ApprovalApproved || len(a.Conditions) != 1 || a.ExpiresAt == nil {
		t.Fatalf("approved: %+v", a)
	}
	given := approved.Approval.Conditions[0].ID
	for name, tt := range map[string]struct {
		all    bool
		owners []string
		want   int
	}{
		"of the project": {false, nil, 1}, "of all": {true, nil, 1}, "of its owner": {true, []string{"bob", "ann"}, 1}, "of another": {false, []string{"bob"}, 0},
	} {
		list := must(c.Conditions(ctx, tt.all, tt.owners, pedigree.Page{}, now))(t)
		if len(list.Items) != tt.want {
			t.Fatalf("open conditions %s: %+v", name, list.Items)
		}
		for _, k := range list.Items {
			if k.Model != "loans" || k.Version != 1 || k.ID != given || k.Note != "watch it" || k.Owner != "ann" || k.Due != "2026-12-31" || k.By == "" || k.At.IsZero() {
				t.Errorf("open condition %s: %+v", name, k)
			}
		}
	}
	asOf := must(c.Conditions(ctx, false, nil, pedigree.Page{}, now))(t).AsOf
	if got := must(c.MeetCondition(ctx, one, approved.Approval.Conditions[0].ID, "done"))(t); !got.Approval.Conditions[0].Met {
		t.Fatalf("met: %+v", got.Approval)
	}
	if list := must(c.Conditions(ctx, false, nil, pedigree.Page{}, now))(t); len(list.Items) != 0 {
		t.Fatalf("conditions after it was met: %+v", list.Items)
	}
	if list := must(c.Conditions(ctx, false, nil, pedigree.Page{}, pedigree.At{Seq: &asOf}))(t); len(list.Items) != 1 {
		t.Fatalf("conditions as of before: %+v", list.Items)
	}
	if got := must(c.Reject(ctx, three, pedigree.Review{Comment: "leaks"}))(t); got.Approval.State != pedigree.ApprovalRefused {
		t.Fatalf("rejected: %+v", got.Approval)
	}
	must(c.Approve(ctx, two, pedigree.Review{}))(t)

	zero := pedigree.VersionNumber(0)
	first := must(c.Deploy(ctx, one, "prod/loans", pedigree.Deploy{Image: "registry.example.org/loans:1", Note: "first"}, &zero))(t)
	if first.State != pedigree.DeploymentPending || first.Model != "loans" || first.Decision.Checks == nil {
		t.Fatalf("deployed: %+v", first)
	}
	if got := must(c.ReportDeployment(ctx, first.ID, pedigree.DeploymentReport{State: pedigree.DeploymentActive}))(t); got.State != pedigree.DeploymentActive {
		t.Fatalf("reported: %+v", got)
	}
	if a := must(c.Aliases(ctx, "loans", now))(t); len(a.Items) != 1 || a.Items[0].Alias != "live" || a.Items[0].Version != 1 {
		t.Fatalf("the tied alias: %+v", a.Items)
	}
	_, err = c.Deploy(ctx, two, "prod/loans", pedigree.Deploy{}, &zero)
	wantCode(t, err, pedigree.CodeConflict)
	second := must(c.Deploy(ctx, two, "prod/loans", pedigree.Deploy{}, nil))(t)
	must(c.ReportDeployment(ctx, second.ID, pedigree.DeploymentReport{State: pedigree.DeploymentActive}))(t)

	status := must(c.Observe(ctx, "prod/loans", pedigree.Observation{Instance: "pod-1", Model: "loans", Version: 1}))(t)
	if len(status.Instances) != 1 || status.Instances[0].Matches || status.Lagging != 1 || status.Current.ID != second.ID {
		t.Fatalf("observed: %+v", status)
	}
	if s := must(c.TargetStatus(ctx, "prod/loans", now))(t); s.Lagging != 1 || s.Target.Name != "prod/loans" {
		t.Fatalf("status: %+v", s)
	}
	for what, version := range map[string]pedigree.VersionNumber{"prod/loans": 2, second.ID: 2, "pod-1": 1} {
		list := must(c.Which(ctx, what, now))(t)
		if len(list.Items) != 1 || list.Items[0].Version.Number != version {
			t.Fatalf("which %s: %+v", what, list.Items)
		}
	}
	if list := must(c.Which(ctx, "prod/loans", at(second.Seq-1)))(t); list.Items[0].Version.Number != 1 {
		t.Fatalf("which, before: %+v", list.Items)
	}

	begun := must(c.StartExecution(ctx, "prod/loans", []pedigree.Output{{Name: "in"}}))(t)
	if e := must(c.FinishExecution(ctx, begun.ID, pedigree.ExecutionReport{Exit: 0, Outputs: []pedigree.Output{{URI: "s3://scores/1"}}}))(t); e.Exit == nil || len(e.Outputs) != 1 {
		t.Fatalf("finished: %+v", e)
	}
	if list := must(c.TargetExecutions(ctx, "prod/loans", pedigree.Page{}, now))(t); len(list.Items) != 1 || list.Items[0].Version != 2 {
		t.Fatalf("executions: %+v", list.Items)
	}
	if list := must(c.VersionExecutions(ctx, two, pedigree.Page{}, now))(t); len(list.Items) != 1 {
		t.Fatalf("executions of a version: %+v", list.Items)
	}

	plan := must(c.PlanRollback(ctx, "prod/loans", pedigree.Rollback{}))(t)
	if plan.To.ID != first.ID || plan.From.ID != second.ID || len(plan.Executions) != 1 {
		t.Fatalf("plan: %+v", plan)
	}
	back := must(c.Rollback(ctx, "prod/loans", pedigree.Rollback{Reason: "wrong scores", IfCurrent: second.ID}))(t)
	if back.Restores != first.ID || back.Image != first.Image || back.State != pedigree.DeploymentPending {
		t.Fatalf("rolled back: %+v", back)
	}
	must(c.ReportDeployment(ctx, back.ID, pedigree.DeploymentReport{State: pedigree.DeploymentActive}))(t)
	if got := must(c.Deployment(ctx, second.ID, now))(t); got.State != pedigree.DeploymentRolledBack {
		t.Fatalf("rolled back from: %+v", got)
	}
	if got := must(c.MarkDeployment(ctx, second.ID, true, "wrong scores"))(t); !got.Bad {
		t.Fatalf("marked: %+v", got)
	}
	if list := must(c.Timeline(ctx, "prod/loans", pedigree.Page{Limit: 2}, now))(t); len(list.Items) != 2 || list.Items[0].ID != back.ID || list.Next == "" {
		t.Fatalf("timeline: %+v", list)
	}
	if list := must(c.Deployments(ctx, pedigree.Page{}, now))(t); len(list.Items) != 3 {
		t.Fatalf("deployments: %+v", list.Items)
	}
	if list := must(c.Where(ctx, one, now))(t); len(list.Items) != 1 {
		t.Fatalf("where: %+v", list.Items)
	}
	if list := must(c.Where(ctx, ref(t, "risk/loans"), now))(t); len(list.Items) != 1 {
		t.Fatalf("where the model is: %+v", list.Items)
	}
	if list := must(c.Changes(ctx, "prod/loans", "", time.Time{}, time.Time{}, pedigree.Page{}))(t); len(list.Items) < 8 {
		t.Fatalf("changes: %d", len(list.Items))
	}
	if list := must(c.Delivery(ctx, "prod", time.Time{}, time.Time{}))(t); len(list.Items) != 2 || list.Items[0].Rollbacks != 1 || list.Items[0].Deployments != 2 {
		t.Fatalf("delivery: %+v", list.Items)
	}

	if got := must(c.RevokeApproval(ctx, two, "an audit"))(t); got.Approval.State != pedigree.ApprovalWithdrawn {
		t.Fatalf("revoked: %+v", got.Approval)
	}
	w := must(c.Withdraw(ctx, one, "must not be used", "https://incidents.example.org/1"))(t)
	if w.Version.Withdrawn == nil || len(w.Running) != 1 {
		t.Fatalf("withdrawn: %+v", w)
	}
	_, err = c.Resolve(ctx, ref(t, "risk/loans@live"), now)
	wantCode(t, err, pedigree.CodeRefused)
	must(c.Restore(ctx, one, "another data set"))(t)
	wantCode(t, c.DeleteTarget(ctx, "prod/loans", ""), pedigree.CodeRefused)
	if got := must(c.EndDeployment(ctx, back.ID, "over"))(t); got.State != pedigree.DeploymentOver {
		t.Fatalf("ended: %+v", got)
	}
	if err := c.DeleteTarget(ctx, "prod/loans", "over"); err != nil {
		t.Fatal(err)
	}
	if list := must(c.Targets(ctx, pedigree.Page{}, now))(t); len(list.Items) != 0 {
		t.Fatalf("targets: %+v", list.Items)
	}
	if err := c.RemovePolicy(ctx, "risk", ""); err != nil {
		t.Fatal(err)
	}
}
