package registrar_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/internal/blob"
)

// mustBack goes back at a target.
func (r *registry) mustBack(t testing.TB, rollback pedigree.Rollback) pedigree.Deployment {
	t.Helper()
	d, err := r.Rollback(context.Background(), by("oncall"), "default", "prod/fraud", rollback)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// TestRollback plans a rollback and does it.
func TestRollback(t *testing.T) {
	eachDatabase(t, func(t *testing.T, database string) {
		ctx, r := t.Context(), mustOpen(t, database)
		r.mustPush(t, 3)
		r.mustTarget(t, "prod/fraud", pedigree.TargetSpec{Alias: "production"})
		plan := func(rollback pedigree.Rollback) (pedigree.RollbackPlan, error) {
			return r.PlanRollback(ctx, me, "default", "prod/fraud", rollback)
		}
		_, err := plan(pedigree.Rollback{})
		mustRefuse(t, "nothing was ever deployed", err, pedigree.CodeRefused, "prod/fraud has nothing to go back to", "pedigree timeline prod/fraud")
		one := r.mustDeploy(t, 1, "prod/fraud", pedigree.Deploy{Image: "example.org/serve:1", Config: "c1"})
		_, err = plan(pedigree.Rollback{})
		mustRefuse(t, "only what runs", err, pedigree.CodeRefused, "nothing to go back to")
		if _, err := r.Amend(ctx, by("dev"), fraud(2), pedigree.Amend{Record: pedigree.Record{RollbackNote: "clear the cache"}}, nil); err != nil {
			t.Fatal(err)
		}
		two := r.mustDeploy(t, 2, "prod/fraud", pedigree.Deploy{Image: "example.org/serve:2"})
		run, err := r.StartExecution(ctx, me, "default", "prod/fraud", nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.FinishExecution(ctx, me, run.ID, pedigree.ExecutionReport{Outputs: []pedigree.Output{{Name: "scores"}}}); err != nil {
			t.Fatal(err)
		}
		if _, err := r.Register(ctx, me, "default", "child", pedigree.Registration{CreateModel: true, Record: pedigree.Record{Parents: []pedigree.Parent{{Relation: pedigree.FineTunedFrom, Reference: "fraud/2"}}}}); err != nil {
			t.Fatal(err)
		}

		p, err := plan(pedigree.Rollback{})
		if err != nil || p.From.ID != two.ID || p.To.ID != one.ID || p.Image != "example.org/serve:1" || p.Config != "c1" || p.Alias != "production" || p.Note != "clear the cache" || p.AsOf != *r.last(t).Seq || p.Decision.Replaces != "fraud/2" {
			t.Errorf("plan: %+v, %v", p, err)
		}
		var changes []string
		for _, c := range p.Changes {
			changes = append(changes, c.Field)
		}
		same(t, "what changes", strings.Join(changes, " "), "artifact metrics.auc params.depth rollback_note")
		if len(p.Executions) != 1 || p.Executions[0].Outputs[0].Name != "scores" || len(p.Downstream) != 1 || p.Downstream[0] != "child/1" {
			t.Errorf("what was made: %+v, %v", p.Executions, p.Downstream)
		}
		same(t, "a plan does nothing", r.timeline(t, "prod/fraud", now), "2 active, 1 superseded")

		back := r.mustBack(t, pedigree.Rollback{Reason: "slow", Incident: "https://example.org/INC-1", IfCurrent: two.ID})
		if back.Restores != one.ID || back.Version != 1 || back.Image != "example.org/serve:1" || back.Config != "c1" || back.Note != "slow" || back.OpenedBy != "oncall" || back.State != pedigree.DeploymentActive {
			t.Errorf("back: %+v", back)
		}
		same(t, "timeline", r.timeline(t, "prod/fraud", now), "1 active, 2 rolled_back, 1 superseded")
		same(t, "the tied alias", r.alias(t, "production"), 1)
		_, err = r.Rollback(ctx, me, "default", "prod/fraud", pedigree.Rollback{IfCurrent: two.ID})
		mustRefuse(t, "twice by mistake", err, pedigree.CodeConflict, "does not run deployment "+two.ID, "pedigree which prod/fraud")
		_, err = plan(pedigree.Rollback{})
		mustRefuse(t, "further than there is", err, pedigree.CodeRefused, "nothing to go back to")

		for _, tt := range []struct {
			to   string
			code pedigree.ErrorCode
			says string
		}{
			{"fraud/3", pedigree.CodeNotFound, "fraud/3 was never active at prod/fraud"},
			{"fraud/1", pedigree.CodeRefused, "runs fraud/1 already"},
			{"dep_nothing", pedigree.CodeNotFound, "pedigree timeline prod/fraud"},
			{"fraud", pedigree.CodeInvalid, "no place to go back to"},
			{"fraud@production", pedigree.CodeInvalid, "no place to go back to"},
			{"", pedigree.CodeRefused, "nothing to go back to"},
		} {
			_, err := plan(pedigree.Rollback{To: tt.to})
			mustRefuse(t, "to "+tt.to, err, tt.code, tt.says)
		}
		p, err = plan(pedigree.Rollback{To: "fraud/2"})
		if err != nil || p.To.ID != two.ID {
			t.Errorf("to what was rolled back, by its name: %+v, %v", p.To, err)
		}
		r.mustBack(t, pedigree.Rollback{To: two.ID, Reason: "it was not that"})
		same(t, "timeline", r.timeline(t, "prod/fraud", now), "2 active, 1 rolled_back, 2 rolled_back, 1 superseded")
	})
}

// TestRollbackBad: what was marked bad is passed by, and found by its name.
func TestRollbackBad(t *testing.T) {
	eachDatabase(t, func(t *testing.T, database string) {
		ctx, r := t.Context(), mustOpen(t, database)
		r.mustPush(t, 3)
		r.mustTarget(t, "prod/fraud", pedigree.TargetSpec{})
		var two pedigree.Deployment
		for n := range pedigree.VersionNumber(3) {
			if d := r.mustDeploy(t, n+1, "prod/fraud", pedigree.Deploy{}); d.Version == 2 {
				two = d
			}
		}
		mark := func(bad bool, reason string) error {
			_, err := r.MarkDeployment(ctx, by("oncall"), two.ID, bad, reason)
			return err
		}
		candidate := func() pedigree.VersionNumber {
			t.Helper()
			p, err := r.PlanRollback(ctx, me, "default", "prod/fraud", pedigree.Rollback{})
			if err != nil {
				t.Fatal(err)
			}
			return p.To.Version
		}
		same(t, "the one before", candidate(), 2)
		mustRefuse(t, "bad without a word", mark(true, ""), pedigree.CodeInvalid, "--reason")
		want(t, "bad", mark(true, "leaks memory"), "")
		same(t, "the one before that", candidate(), 1)
		p, err := r.PlanRollback(ctx, me, "default", "prod/fraud", pedigree.Rollback{To: "fraud/2"})
		if err != nil || p.To.ID != two.ID || !p.To.Bad || p.To.BadReason != "leaks memory" {
			t.Errorf("by its name: %+v, %v", p.To, err)
		}
		want(t, "good again", mark(false, "it was the node"), "")
		same(t, "the one before", candidate(), 2)
	})
}

// TestRollbackChecks: what speaks against going back stops it, unless it is passed over by
// name; what is expired or stale is told.
func TestRollbackChecks(t *testing.T) {
	eachDatabase(t, func(t *testing.T, database string) {
		ctx, dir := t.Context(), t.TempDir()
		blobs, err := blob.OpenDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		r := mustOpenBlobs(t, database, blobs)
		content := []byte("weights")
		d := pedigree.DigestBytes(content)
		if err := r.PutBlob(ctx, by("dev"), "default", d, int64(len(content)), bytes.NewReader(content)); err != nil {
			t.Fatal(err)
		}
		files := []pedigree.File{{Path: "w.bin", Size: int64(len(content)), Digest: d}}
		if _, err := r.Register(ctx, by("dev"), "default", "fraud", pedigree.Registration{CreateModel: true, Record: pedigree.Record{Artifact: pedigree.Artifact{Kind: pedigree.ArtifactStored, Files: files}}}); err != nil {
			t.Fatal(err)
		}
		r.mustPush(t, 1)
		r.mustTarget(t, "prod/fraud", pedigree.TargetSpec{Protected: true})
		r.mustDeploy(t, 1, "prod/fraud", pedigree.Deploy{})
		r.mustDeploy(t, 2, "prod/fraud", pedigree.Deploy{})
		checks := func() string {
			t.Helper()
			p, err := r.PlanRollback(ctx, me, "default", "prod/fraud", pedigree.Rollback{})
			if err != nil {
				t.Fatal(err)
			}
			var out []string
			for _, c := range p.Decision.Checks {
				if c.Name != pedigree.CheckImage {
					out = append(out, c.Name+" "+string(c.State))
				}
			}
			return strings.Join(out, ", ")
		}
		// ready looks in the background, as several servers that all think they have the job
		// might, and says what was found and how often that was told.
		ready := func() (bool, int) {
			t.Helper()
			var servers errgroup.Group
			for range 3 {
				servers.Go(func() error { return r.CheckReadiness(ctx, 0) })
			}
			if err := servers.Wait(); err != nil {
				t.Fatal(err)
			}
			s, err := r.TargetStatus(ctx, me, "default", "prod/fraud", now)
			if err != nil || s.Rollback == nil {
				t.Fatalf("%+v, %v", s, err)
			}
			list, err := r.Entries(ctx, pedigree.Operator, pedigree.EventQuery{Types: []pedigree.EventType{pedigree.TargetReadiness}, After: -1})
			if err != nil {
				t.Fatal(err)
			}
			return s.Rollback.Ready, len(list.Items)
		}
		expect := func(what, want string, open bool, told int) {
			t.Helper()
			same(t, what, checks(), want)
			gotOpen, gotTold := ready()
			same(t, what+": the way is open", gotOpen, open)
			same(t, what+": times told", gotTold, told)
		}
		expect("all is well", "bytes passed", true, 0)
		r.mustApprove(t, 1)
		expect("approved", "approval passed, bytes passed", true, 0)
		if _, err := r.Amend(ctx, by("dev"), fraud(1), pedigree.Amend{Record: pedigree.Record{Params: pedigree.Params{"a": "b"}}}, nil); err != nil {
			t.Fatal(err)
		}
		expect("stale", "stale warned, bytes passed", true, 0)
		r.mustApprove(t, 1)
		if _, err := r.RevokeApproval(ctx, by("ann"), fraud(1), "no"); err != nil {
			t.Fatal(err)
		}
		expect("revoked", "revoked failed, bytes passed", false, 1)
		if _, err := r.Reject(ctx, by("ann"), fraud(1), pedigree.Review{Comment: "no"}); err != nil {
			t.Fatal(err)
		}
		expect("rejected", "rejected failed, bytes passed", false, 1)
		if _, err := r.RequestApproval(ctx, by("dep"), fraud(1), "again"); err != nil {
			t.Fatal(err)
		}
		expect("rejected and asked again", "rejected failed, bytes passed", false, 1)
		if _, err := r.Reject(ctx, by("ann"), fraud(1), pedigree.Review{Comment: "no"}); err != nil {
			t.Fatal(err)
		}
		if _, err := r.Amend(ctx, by("dev"), fraud(1), pedigree.Amend{Record: pedigree.Record{Params: pedigree.Params{"a": "c"}}}, nil); err != nil {
			t.Fatal(err)
		}
		expect("rejected and amended", "rejected failed, bytes passed", false, 1)
		_, err = r.Rollback(ctx, me, "default", "prod/fraud", pedigree.Rollback{})
		mustRefuse(t, "go back to what was rejected", err, pedigree.CodeRefused, "rolling prod/fraud back to fraud/1 is refused: rejected: fraud/1 was rejected: no")
		_, err = r.Rollback(ctx, me, "default", "prod/fraud", pedigree.Rollback{Overrides: []pedigree.Override{{Name: "withdrawn", Reason: "x"}}})
		mustRefuse(t, "with another override", err, pedigree.CodeInvalid, "the failed checks are rejected")
		r.mustApprove(t, 1)
		if _, err := r.Withdraw(ctx, me, fraud(1), "leak", ""); err != nil {
			t.Fatal(err)
		}
		expect("withdrawn", "withdrawn failed, approval passed, bytes passed", false, 1)
		if _, err := r.RestoreVersion(ctx, me, fraud(1), ""); err != nil {
			t.Fatal(err)
		}
		expect("restored", "approval passed, bytes passed", true, 2)

		mustDamage(t, dir, d)
		same(t, "damaged, which only reading tells", checks(), "approval passed, bytes passed")
		open, told := ready()
		same(t, "damaged: the way is open", open, false)
		same(t, "damaged: times told", told, 3)
		expect("damaged, as the background found", "approval passed, bytes failed", false, 3)
		if err := os.Remove(filepath.Join(dir, "sha256", d.Hex()[:2], d.Hex())); err != nil {
			t.Fatal(err)
		}
		_, err = r.Rollback(ctx, me, "default", "prod/fraud", pedigree.Rollback{})
		mustRefuse(t, "lost", err, pedigree.CodeRefused, "bytes: w.bin of fraud/1", "restore the stored bytes from a backup")
		back := r.mustBack(t, pedigree.Rollback{Overrides: []pedigree.Override{{Name: "bytes", Reason: "every node has them"}}})
		if over := back.Decision.Overridden(); len(over) != 1 || over[0].Name != "bytes" || over[0].Reason != "every node has them" {
			t.Errorf("passed over: %+v", back.Decision)
		}
	})
}

// TestRollbackExpired: an approval that has expired is told, and stops nothing.
func TestRollbackExpired(t *testing.T) {
	eachDatabase(t, func(t *testing.T, database string) {
		clock := time.Now()
		r := mustOpenClock(t, database, func() time.Time { return clock })
		r.mustPush(t, 2)
		r.mustTarget(t, "prod/fraud", pedigree.TargetSpec{})
		r.mustPolicy(t, pedigree.Policy{Project: "default", Approvals: &pedigree.ApprovalRule{ValidFor: pedigree.Duration(time.Hour)}})
		for n := range pedigree.VersionNumber(2) {
			r.mustApprove(t, n+1)
			r.mustDeploy(t, n+1, "prod/fraud", pedigree.Deploy{})
		}
		clock = clock.Add(time.Hour)
		_, err := r.Deploy(t.Context(), me, fraud(1), "prod/fraud", pedigree.Deploy{}, nil)
		mustRefuse(t, "deploy what is expired", err, pedigree.CodeRefused, "has expired", "pedigree request fraud/1")
		back := r.mustBack(t, pedigree.Rollback{})
		same(t, "told", back.Decision.Checks[0].Name+" "+string(back.Decision.Checks[0].State), "expired warned")
	})
}

// TestRollbackConfirmed: a rollback that waits for a report ends what it takes the place of
// when it is confirmed.
func TestRollbackConfirmed(t *testing.T) {
	eachDatabase(t, func(t *testing.T, database string) {
		ctx, r := t.Context(), mustOpen(t, database)
		r.mustPush(t, 2)
		r.mustTarget(t, "prod/fraud", pedigree.TargetSpec{Confirm: pedigree.ConfirmReport, Alias: "production"})
		active := func(d pedigree.Deployment) {
			t.Helper()
			if _, err := r.ReportDeployment(ctx, me, d.ID, pedigree.DeploymentReport{State: pedigree.DeploymentActive}); err != nil {
				t.Fatal(err)
			}
		}
		active(r.mustDeploy(t, 1, "prod/fraud", pedigree.Deploy{}))
		active(r.mustDeploy(t, 2, "prod/fraud", pedigree.Deploy{}))
		back := r.mustBack(t, pedigree.Rollback{})
		same(t, "waits", r.timeline(t, "prod/fraud", now), "1 pending, 2 active, 1 superseded")
		same(t, "alias", r.alias(t, "production"), 2)
		active(back)
		same(t, "confirmed", r.timeline(t, "prod/fraud", now), "1 active, 2 rolled_back, 1 superseded")
		same(t, "alias", r.alias(t, "production"), 1)
	})
}

// TestRollbackRights: who is on call goes back and marks, and deploys nothing.
func TestRollbackRights(t *testing.T) {
	eachDatabase(t, func(t *testing.T, database string) {
		ctx := t.Context()
		e := mustEnable(t, mustOpen(t, database))
		oncall, dev := e.account(t, "night", "oncall"), e.account(t, "dev", "contributor")
		for n := range pedigree.VersionNumber(2) {
			want(t, "register", register(e.registry, e.root, "default", "fraud"), "")
			if n == 0 {
				if _, err := e.CreateTarget(ctx, e.root, "default", "prod/fraud", pedigree.TargetSpec{Kind: pedigree.TargetOnline}); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := e.Deploy(ctx, e.root, fraud(n+1), "prod/fraud", pedigree.Deploy{}, nil); err != nil {
				t.Fatal(err)
			}
		}
		_, err := e.Rollback(ctx, dev, "default", "prod/fraud", pedigree.Rollback{})
		mustRefuse(t, "a contributor", err, pedigree.CodeForbidden)
		_, err = e.PlanRollback(ctx, dev, "default", "prod/fraud", pedigree.Rollback{})
		want(t, "a contributor looks at the plan", err, "")
		_, err = e.Deploy(ctx, oncall, fraud(1), "prod/fraud", pedigree.Deploy{}, nil)
		mustRefuse(t, "on call, to deploy", err, pedigree.CodeForbidden)
		d, err := e.Rollback(ctx, oncall, "default", "prod/fraud", pedigree.Rollback{Reason: "slow"})
		want(t, "on call", err, "")
		_, err = e.MarkDeployment(ctx, oncall, d.ID, true, "slow too")
		want(t, "on call, to mark", err, "")
		_, err = e.EndDeployment(ctx, oncall, d.ID, "")
		mustRefuse(t, "on call, to end", err, pedigree.CodeForbidden)
		_, err = e.Withdraw(ctx, e.root, fraud(2), "leak", "")
		want(t, "withdraw", err, "")
		_, err = e.Rollback(ctx, oncall, "default", "prod/fraud", pedigree.Rollback{To: "fraud/2", Overrides: []pedigree.Override{{Name: "withdrawn", Reason: "night"}}})
		mustRefuse(t, "on call, to pass over a check", err, pedigree.CodeForbidden)
	})
}
