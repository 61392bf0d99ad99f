package registrar_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pedigree-ml/pedigree"
)

// now is the moment of most questions.
var now = pedigree.At{}

// by is a caller of a registry without accounts.
func by(id string) pedigree.Principal { return pedigree.Principal{ID: id} }

// fraud names a version of the model of these tests.
func fraud(n pedigree.VersionNumber) pedigree.Reference {
	return pedigree.Reference{Project: "default", Model: "fraud", Version: n}
}

// mustRefuse fails where err has not the code, or does not say each of the texts.
func mustRefuse(t testing.TB, what string, err error, code pedigree.ErrorCode, says ...string) {
	t.Helper()
	want(t, what, err, code)
	for _, text := range says {
		if err != nil && !strings.Contains(err.Error(), text) {
			t.Errorf("%s: %q does not say %q", what, err, text)
		}
	}
}

// mustPush registers versions of fraud by dev, of which the n-th has an AUC of 0.9n.
func (r *registry) mustPush(t testing.TB, numbers int) {
	t.Helper()
	for n := 1; n <= numbers; n++ {
		_, err := r.Register(context.Background(), by("dev"), "default", "fraud", pedigree.Registration{CreateModel: true, Record: pedigree.Record{
			Owner: "team:risk", Metrics: []pedigree.Metric{{Name: "auc", Value: pedigree.Float(0.9) + pedigree.Float(n)/100}}, Params: pedigree.Params{"depth": pedigree.VersionNumber(n).String()},
			Artifact: pedigree.Artifact{Kind: pedigree.ArtifactLinked, URI: "s3://models/fraud", Digest: pedigree.DigestBytes([]byte{byte(n)})},
		}})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// mustTarget makes a target.
func (r *registry) mustTarget(t testing.TB, name pedigree.TargetName, spec pedigree.TargetSpec) pedigree.Target {
	t.Helper()
	if spec.Kind == "" {
		spec.Kind = pedigree.TargetOnline
	}
	out, err := r.CreateTarget(context.Background(), me, "default", name, spec)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// mustPolicy makes a policy of the project, or of the instance.
func (r *registry) mustPolicy(t testing.TB, p pedigree.Policy) {
	t.Helper()
	if _, _, err := r.ApplyPolicy(context.Background(), me, p, false); err != nil {
		t.Fatal(err)
	}
}

// mustDeploy deploys a version of fraud.
func (r *registry) mustDeploy(t testing.TB, n pedigree.VersionNumber, target pedigree.TargetName, deploy pedigree.Deploy) pedigree.Deployment {
	t.Helper()
	d, err := r.Deploy(context.Background(), by("dep"), fraud(n), target, deploy, nil)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func (r *registry) mustApprove(t testing.TB, n pedigree.VersionNumber) {
	t.Helper()
	if _, err := r.Approve(context.Background(), by("ann"), fraud(n), pedigree.Review{}); err != nil {
		t.Fatal(err)
	}
}

// timeline lists the deployments of a target as "version state", newest first.
func (r *registry) timeline(t testing.TB, target pedigree.TargetName, at pedigree.At) string {
	t.Helper()
	list, err := r.Timeline(context.Background(), me, "default", target, pedigree.Page{}, at)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, d := range list.Items {
		out = append(out, d.Version.String()+" "+string(d.State))
	}
	return strings.Join(out, ", ")
}

// same fails where two things differ.
func same[T comparable](t testing.TB, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

// last is the moment of the last event.
func (r *registry) last(t testing.TB) pedigree.At {
	t.Helper()
	head, err := r.store.Head(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	head--
	return pedigree.At{Seq: &head}
}

// lastTime is when the last event happened.
func (r *registry) lastTime(t testing.TB) time.Time {
	t.Helper()
	item, err := r.Item(context.Background(), *r.last(t).Seq)
	if err != nil {
		t.Fatal(err)
	}
	return item.Event.Time
}

// alias is what an alias of fraud names, 0 for nothing.
func (r *registry) alias(t testing.TB, alias pedigree.Alias) pedigree.VersionNumber {
	t.Helper()
	m, err := r.Model(context.Background(), me, "default", "fraud", now)
	if err != nil {
		t.Fatal(err)
	}
	return m.Aliases[alias]
}

// TestDeployGates: a deployment is refused with what each gate and rule says and how it is
// mended, the same as a policy test foretells; what was decided is kept with it.
func TestDeployGates(t *testing.T) {
	eachDatabase(t, func(t *testing.T, database string) {
		ctx, r := t.Context(), mustOpen(t, database)
		r.mustPush(t, 2)
		r.mustTarget(t, "prod/fraud", pedigree.TargetSpec{})
		r.mustTarget(t, "dev/fraud", pedigree.TargetSpec{})
		r.mustPolicy(t, pedigree.Policy{Project: "default", Gates: []pedigree.Gate{{Name: "auc", Expr: "metrics.auc >= 0.92", Message: "AUC is below 0.92", Fix: "train longer"}}, Approvals: &pedigree.ApprovalRule{Environments: []string{"prod"}}})
		r.mustPolicy(t, pedigree.Policy{Gates: []pedigree.Gate{{Name: "owner", Expr: `owner != ""`}}})
		deploy := func(n pedigree.VersionNumber, target pedigree.TargetName, overrides ...pedigree.Override) (pedigree.Deployment, error) {
			return r.Deploy(ctx, by("dep"), fraud(n), target, pedigree.Deploy{Overrides: overrides}, nil)
		}
		_, err := deploy(1, "prod/fraud")
		mustRefuse(t, "bad and not approved", err, pedigree.CodeRefused, "deploying fraud/1 to prod/fraud is refused", "auc: AUC is below 0.92", "needs the approval of 1", "pedigree request fraud/1")
		foretold, err := r.TestPolicy(ctx, me, fraud(1), "prod/fraud", pedigree.Deploy{}, now)
		if err != nil || len(foretold.Failed()) != 2 {
			t.Errorf("the test of the policy: %+v, %v", foretold, err)
		}
		_, err = deploy(1, "dev/fraud")
		mustRefuse(t, "bad where no approval is needed", err, pedigree.CodeRefused, "auc: AUC is below 0.92", "train longer")
		if strings.Contains(err.Error(), "approv") {
			t.Errorf("an approval is asked for at dev: %v", err)
		}
		_, err = deploy(2, "prod/fraud")
		mustRefuse(t, "good and not approved", err, pedigree.CodeRefused, "approval")
		if _, err := r.RequestApproval(ctx, by("dev"), fraud(2), ""); err != nil {
			t.Fatal(err)
		}
		_, err = deploy(2, "prod/fraud")
		mustRefuse(t, "asked for", err, pedigree.CodeRefused, "0 of 1 approve it", "pedigree approve fraud/2")
		r.mustApprove(t, 2)
		d, err := deploy(2, "prod/fraud")
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, c := range d.Decision.Checks {
			names = append(names, c.Name+" "+string(c.State))
		}
		same(t, "what was decided", strings.Join(names, ", "), "approval passed, instance/owner passed, auc passed")
		same(t, "policies that were asked", len(d.Decision.Policies), 2)
		same(t, "state", d.State, pedigree.DeploymentActive)

		_, err = deploy(1, "prod/fraud", pedigree.Override{Name: "auc", Reason: "known"})
		mustRefuse(t, "one of two is passed over", err, pedigree.CodeRefused, "approval")
		_, err = deploy(1, "prod/fraud", pedigree.Override{Name: "nothing", Reason: "known"})
		mustRefuse(t, "a check that is none", err, pedigree.CodeInvalid, "the failed checks are approval, auc")
		_, err = deploy(1, "prod/fraud", pedigree.Override{Name: "auc"}, pedigree.Override{Name: "approval", Reason: "x"})
		mustRefuse(t, "without a reason", err, pedigree.CodeInvalid, "needs a reason")
		d, err = deploy(1, "prod/fraud", pedigree.Override{Name: "auc", Reason: "known"}, pedigree.Override{Name: "approval", Reason: "at night"})
		if err != nil || len(d.Decision.Overridden()) != 2 || d.Decision.Replaces != "fraud/2" {
			t.Errorf("passed over: %+v, %v", d.Decision, err)
		}
		entries, err := r.Entries(ctx, pedigree.Operator, pedigree.EventQuery{Types: []pedigree.EventType{pedigree.GateOverridden}, After: -1})
		if err != nil || len(entries.Items) != 2 {
			t.Errorf("overrides in the log: %d, %v", len(entries.Items), err)
		}
		_, err = deploy(3, "prod/fraud")
		mustRefuse(t, "no such version", err, pedigree.CodeNotFound, "there is no version fraud/3")
		_, err = deploy(1, "prod/fruad")
		mustRefuse(t, "no such target", err, pedigree.CodeNotFound, "did you mean prod/fraud?")
	})
}

// TestOverrideRole: only members of the role that every policy names pass over a gate, or an
// administrator.
func TestOverrideRole(t *testing.T) {
	eachDatabase(t, func(t *testing.T, database string) {
		ctx := t.Context()
		e := mustEnable(t, mustOpen(t, database))
		dep := e.account(t, "dep", "deployer")
		both := e.account(t, "both", "deployer", "oncall")
		want(t, "register", register(e.registry, e.root, "default", "fraud"), "")
		if _, err := e.CreateTarget(ctx, e.root, "default", "prod/fraud", pedigree.TargetSpec{Kind: pedigree.TargetOnline}); err != nil {
			t.Fatal(err)
		}
		apply := func(p pedigree.Policy) {
			t.Helper()
			if _, _, err := e.ApplyPolicy(ctx, e.root, p, false); err != nil {
				t.Fatal(err)
			}
		}
		deploy := func(p pedigree.Principal) error {
			_, err := e.Deploy(ctx, p, fraud(1), "prod/fraud", pedigree.Deploy{Overrides: []pedigree.Override{{Name: "never", Reason: "night"}}}, nil)
			return err
		}
		gate := pedigree.Policy{Project: "default", Gates: []pedigree.Gate{{Name: "never", Expr: "false"}}, Override: pedigree.OnCall}
		apply(gate)
		mustRefuse(t, "without the role", deploy(dep), pedigree.CodeForbidden)
		want(t, "with the role", deploy(both), "")
		want(t, "an administrator", deploy(e.root), "")
		apply(pedigree.Policy{Override: pedigree.Approver})
		mustRefuse(t, "with the role of one policy", deploy(both), pedigree.CodeForbidden)
		e.grant(t, "both", "approver", "default")
		want(t, "with the roles of both", deploy(both), "")
		gate.Override = ""
		apply(gate)
		mustRefuse(t, "where a policy lets nobody", deploy(both), pedigree.CodeForbidden)
		want(t, "but an administrator", deploy(e.root), "")
	})
}

// TestDeployments goes through the life of deployments: waiting, active, superseded, failed,
// ended; and reads it as of every step.
func TestDeployments(t *testing.T) {
	eachDatabase(t, func(t *testing.T, database string) {
		ctx, r := t.Context(), mustOpen(t, database)
		r.mustPush(t, 4)
		r.mustTarget(t, "prod/fraud", pedigree.TargetSpec{Confirm: pedigree.ConfirmReport, Alias: "production"})
		type moment struct {
			at       pedigree.At
			timeline string
			alias    pedigree.VersionNumber
		}
		var moments []moment
		step := func(timeline string, alias pedigree.VersionNumber) {
			t.Helper()
			same(t, "timeline", r.timeline(t, "prod/fraud", now), timeline)
			same(t, "alias", r.alias(t, "production"), alias)
			moments = append(moments, moment{r.last(t), timeline, alias})
		}
		report := func(d pedigree.Deployment, state pedigree.DeploymentState) (pedigree.Deployment, error) {
			return r.ReportDeployment(ctx, by("dep"), d.ID, pedigree.DeploymentReport{State: state, Note: "seen"})
		}
		one := r.mustDeploy(t, 1, "prod/fraud", pedigree.Deploy{})
		step("1 pending", 0)
		got, err := report(one, pedigree.DeploymentActive)
		if err != nil || got.State != pedigree.DeploymentActive || got.ActiveBy != "dep" {
			t.Errorf("active: %+v, %v", got, err)
		}
		step("1 active", 1)
		two := r.mustDeploy(t, 2, "prod/fraud", pedigree.Deploy{})
		step("2 pending, 1 active", 1)
		three := r.mustDeploy(t, 3, "prod/fraud", pedigree.Deploy{})
		step("3 pending, 2 superseded, 1 active", 1)
		_, err = report(two, pedigree.DeploymentActive)
		mustRefuse(t, "what was passed over", err, pedigree.CodeRefused, "is superseded and can't become active", "pedigree deploy fraud/2 --to prod/fraud")
		got, err = report(three, pedigree.DeploymentFailing)
		if err != nil || got.State != pedigree.DeploymentFailing || got.EndReason != "seen" || got.EndedBy != "dep" {
			t.Errorf("failed: %+v, %v", got, err)
		}
		step("3 failed, 2 superseded, 1 active", 1)
		_, err = report(three, pedigree.DeploymentFailing)
		want(t, "failed already", err, "")
		_, err = report(one, pedigree.DeploymentFailing)
		mustRefuse(t, "what is active has not failed", err, pedigree.CodeRefused, "pedigree rollback prod/fraud")
		_, err = report(one, pedigree.DeploymentActive)
		want(t, "active already", err, "")
		_, err = report(one, "ended")
		mustRefuse(t, "neither", err, pedigree.CodeInvalid, "active or failed")
		same(t, "nothing was written", *r.last(t).Seq, *moments[len(moments)-1].at.Seq)

		canary := r.mustDeploy(t, 4, "prod/fraud", pedigree.Deploy{Role: pedigree.RoleCanary})
		if _, err := report(canary, pedigree.DeploymentActive); err != nil {
			t.Fatal(err)
		}
		step("4 active, 3 failed, 2 superseded, 1 active", 1)
		four := r.mustDeploy(t, 4, "prod/fraud", pedigree.Deploy{})
		step("4 pending, 4 active, 3 failed, 2 superseded, 1 active", 1)
		if _, err := report(four, pedigree.DeploymentActive); err != nil {
			t.Fatal(err)
		}
		step("4 active, 4 superseded, 3 failed, 2 superseded, 1 superseded", 4)
		got, err = r.EndDeployment(ctx, by("dep"), four.ID, "moved away")
		if err != nil || got.State != pedigree.DeploymentOver || got.EndReason != "moved away" {
			t.Errorf("ended: %+v, %v", got, err)
		}
		step("4 ended, 4 superseded, 3 failed, 2 superseded, 1 superseded", 4)
		_, err = r.EndDeployment(ctx, by("dep"), four.ID, "again")
		want(t, "ended already", err, "")
		same(t, "nothing was written", *r.last(t).Seq, *moments[len(moments)-1].at.Seq)
		_, err = r.EndDeployment(ctx, by("dep"), "dep_nothing", "")
		mustRefuse(t, "no such deployment", err, pedigree.CodeNotFound)

		for _, m := range moments {
			same(t, "as of "+m.at.String(), r.timeline(t, "prod/fraud", m.at), m.timeline)
			found, err := r.Resolve(ctx, me, pedigree.Reference{Project: "default", Model: "fraud", Alias: "production"}, m.at)
			if m.alias == 0 {
				want(t, "the alias as of "+m.at.String(), err, pedigree.CodeNotFound)
			} else if err != nil || found.Number != m.alias {
				t.Errorf("the alias as of %s: %d, %v, want %d", m.at, found.Number, err, m.alias)
			}
		}
		first, err := r.Timeline(ctx, me, "default", "prod/fraud", pedigree.Page{Limit: 2}, now)
		if err != nil {
			t.Fatal(err)
		}
		second, err := r.Timeline(ctx, me, "default", "prod/fraud", pedigree.Page{Limit: 10, Cursor: first.Next}, now)
		if err != nil || len(first.Items) != 2 || len(second.Items) != 3 || second.Next != "" || second.Items[0].ID != three.ID {
			t.Errorf("pages: %d and %d, %v", len(first.Items), len(second.Items), err)
		}
	})
}

// TestDeploymentBarred: a deployment that waits does not become active once its version was
// withdrawn, rejected or revoked, unless that was known when it was opened.
func TestDeploymentBarred(t *testing.T) {
	eachDatabase(t, func(t *testing.T, database string) {
		ctx, r := t.Context(), mustOpen(t, database)
		r.mustPush(t, 1)
		r.mustPolicy(t, pedigree.Policy{Project: "default", Approvals: &pedigree.ApprovalRule{}})
		r.mustTarget(t, "prod/report", pedigree.TargetSpec{Confirm: pedigree.ConfirmReport})
		r.mustTarget(t, "prod/seen", pedigree.TargetSpec{Confirm: pedigree.ConfirmObservation})
		for _, tt := range []struct {
			name   string
			bar    func() error
			says   string
			failed string // the check that stops another deployment
			undo   func() error
		}{
			{
				"withdrawn", func() error { _, err := r.Withdraw(ctx, by("ann"), fraud(1), "it leaks", ""); return err },
				"fraud/1 was withdrawn: it leaks", "withdrawn",
				func() error { _, err := r.RestoreVersion(ctx, me, fraud(1), ""); return err },
			},
			{
				"rejected", func() error {
					_, err := r.Reject(ctx, by("bob"), fraud(1), pedigree.Review{Comment: "it leaks"})
					return err
				},
				"fraud/1 was rejected: it leaks", "approval",
				func() error { _, err := r.Approve(ctx, by("bob"), fraud(1), pedigree.Review{}); return err },
			},
			{
				"revoked, and asked again", func() error {
					if _, err := r.RevokeApproval(ctx, by("ann"), fraud(1), "it leaks"); err != nil {
						return err
					}
					_, err := r.RequestApproval(ctx, by("dep"), fraud(1), "again")
					return err
				},
				"fraud/1 has lost its approval: it was revoked: it leaks", "approval", func() error { return nil },
			},
			{
				"amended", func() error {
					_, err := r.Amend(ctx, by("eve"), fraud(1), pedigree.Amend{Record: pedigree.Record{Params: pedigree.Params{"depth": "9"}}}, nil)
					return err
				},
				"fraud/1 was amended, and not approved again", "approval", func() error { return nil },
			},
		} {
			r.mustApprove(t, 1)
			report := func(d pedigree.Deployment, state pedigree.DeploymentState) error {
				_, err := r.ReportDeployment(ctx, by("dep"), d.ID, pedigree.DeploymentReport{State: state, Note: "it was " + tt.name})
				return err
			}
			observe := func(version pedigree.VersionNumber) pedigree.TargetStatus {
				t.Helper()
				s, err := r.Observe(ctx, by("pod"), "default", "prod/seen", pedigree.Observation{Instance: "pod " + tt.name, Model: "fraud", Version: version})
				if err != nil {
					t.Fatal(err)
				}
				return s
			}
			waits, seen := r.mustDeploy(t, 1, "prod/report", pedigree.Deploy{}), r.mustDeploy(t, 1, "prod/seen", pedigree.Deploy{})
			want(t, tt.name, tt.bar(), "")
			mustRefuse(t, tt.name, report(waits, pedigree.DeploymentActive), pedigree.CodeRefused, tt.says, "pedigree deployment report "+waits.ID+" --failed")
			s := observe(1)
			if s.Pending == nil || s.Pending.ID != seen.ID || s.Barred != tt.says || s.Desired() == s.Pending || !slices.ContainsFunc(s.Instances, func(i pedigree.Instance) bool { return i.Instance == "pod "+tt.name }) {
				t.Errorf("%s: what an instance says is recorded, and makes nothing active: %+v", tt.name, s)
			}
			for _, d := range []pedigree.Deployment{waits, seen} {
				want(t, tt.name+": the way out", report(d, pedigree.DeploymentFailing), "")
			}
			over := pedigree.Deploy{Overrides: []pedigree.Override{{Name: tt.failed, Reason: "known"}}}
			waits, seen = r.mustDeploy(t, 1, "prod/report", over), r.mustDeploy(t, 1, "prod/seen", over)
			want(t, tt.name+", and passed over", report(waits, pedigree.DeploymentActive), "")
			observe(2)
			if s := observe(1); s.Current == nil || s.Current.ID != seen.ID || s.Barred != "" {
				t.Errorf("%s, passed over and seen: %+v", tt.name, s)
			}
			want(t, tt.name+": undone", tt.undo(), "")
		}
	})
}

// TestActivateAgainstWithdraw: of a report and a withdrawal at once, no deployment becomes
// active after its version was withdrawn.
func TestActivateAgainstWithdraw(t *testing.T) {
	eachPair(t, func(t *testing.T, pair []*registry) {
		ctx, r := t.Context(), pair[0]
		r.mustPush(t, 1)
		r.mustTarget(t, "prod/fraud", pedigree.TargetSpec{Confirm: pedigree.ConfirmReport})
		for round := range 8 {
			d := r.mustDeploy(t, 1, "prod/fraud", pedigree.Deploy{})
			var reported error
			var withdrawn pedigree.Withdrawn
			together(2, func(i int) {
				var err error
				if i == 0 {
					_, reported = pair[0].ReportDeployment(ctx, by("dep"), d.ID, pedigree.DeploymentReport{State: pedigree.DeploymentActive})
				} else if withdrawn, err = pair[1].Withdraw(ctx, by("ann"), fraud(1), "it leaks", ""); err != nil {
					t.Error(err)
				}
			})
			got, err := r.Deployment(ctx, me, d.ID, now)
			if err != nil {
				t.Fatal(err)
			}
			switch {
			case reported == nil && (got.ActiveSeq == nil || *got.ActiveSeq > withdrawn.Version.Withdrawn.Seq):
				t.Fatalf("round %d: active at %v, withdrawn at %d", round, got.ActiveSeq, withdrawn.Version.Withdrawn.Seq)
			case reported != nil:
				want(t, "reported", reported, pedigree.CodeRefused)
			}
			if _, err := r.RestoreVersion(ctx, me, fraud(1), ""); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// TestDeployIfCurrent: who believes something else to be there is told what is.
func TestDeployIfCurrent(t *testing.T) {
	eachDatabase(t, func(t *testing.T, database string) {
		ctx, r := t.Context(), mustOpen(t, database)
		r.mustPush(t, 2)
		want(t, "another model", register(r, me, "default", "churn"), "")
		r.mustTarget(t, "prod/fraud", pedigree.TargetSpec{})
		deploy := func(model pedigree.Name, n, believed pedigree.VersionNumber) error {
			_, err := r.Deploy(ctx, by("dep"), pedigree.Reference{Project: "default", Model: model, Version: n}, "prod/fraud", pedigree.Deploy{}, &believed)
			return err
		}
		mustRefuse(t, "nothing is there", deploy("fraud", 1, 1), pedigree.CodeConflict, "nothing is deployed at prod/fraud")
		want(t, "nothing, as believed", deploy("fraud", 1, 0), "")
		mustRefuse(t, "something is there", deploy("fraud", 2, 0), pedigree.CodeConflict, "prod/fraud runs fraud/1", "pedigree which prod/fraud")
		want(t, "that, as believed", deploy("fraud", 2, 1), "")
		want(t, "another", deploy("fraud", 1, 1), pedigree.CodeConflict)
		want(t, "of another model", deploy("churn", 1, 2), pedigree.CodeConflict)
	})
}

// TestStands: what is deployed, or waits to be, is neither hidden nor deleted, nor is its
// model or its target.
func TestStands(t *testing.T) {
	eachDatabase(t, func(t *testing.T, database string) {
		ctx, r := t.Context(), mustOpen(t, database)
		r.mustPush(t, 2)
		r.mustTarget(t, "prod/fraud", pedigree.TargetSpec{Confirm: pedigree.ConfirmReport})
		d := r.mustDeploy(t, 1, "prod/fraud", pedigree.Deploy{})
		for _, state := range []string{"pending", "active"} {
			_, err := r.ArchiveVersion(ctx, me, fraud(1), "")
			mustRefuse(t, "archive what is "+state, err, pedigree.CodeRefused, "fraud/1 is in use: it is "+state+" at prod/fraud", "pedigree deployment end "+d.ID)
			_, err = r.DeleteVersion(ctx, me, fraud(1), "", true, nil)
			mustRefuse(t, "delete what is "+state, err, pedigree.CodeRefused, "it is "+state)
			mustRefuse(t, "delete its model", r.DeleteModel(ctx, me, "default", "fraud", "", true, nil), pedigree.CodeRefused, "it is "+state)
			mustRefuse(t, "delete its target", r.DeleteTarget(ctx, me, "default", "prod/fraud", ""), pedigree.CodeRefused, "fraud/1 is "+state+" there", "pedigree deployment end "+d.ID)
			if _, err := r.ReportDeployment(ctx, me, d.ID, pedigree.DeploymentReport{State: pedigree.DeploymentActive}); err != nil {
				t.Fatal(err)
			}
		}
		_, err := r.ArchiveVersion(ctx, me, fraud(2), "")
		want(t, "archive another", err, "")
		_, err = r.Deploy(ctx, me, fraud(2), "prod/fraud", pedigree.Deploy{}, nil)
		mustRefuse(t, "deploy what is archived", err, pedigree.CodeRefused, "archived", "pedigree restore fraud/2")
		if _, err := r.EndDeployment(ctx, me, d.ID, ""); err != nil {
			t.Fatal(err)
		}
		_, err = r.ArchiveVersion(ctx, me, fraud(1), "")
		want(t, "archive what was deployed", err, "")
		want(t, "delete its target", r.DeleteTarget(ctx, me, "default", "prod/fraud", ""), "")
		want(t, "delete its model", r.DeleteModel(ctx, me, "default", "fraud", "", true, nil), "")
		got, err := r.Deployment(ctx, me, d.ID, now)
		if err != nil || got.Model != "fraud" || got.Target != "prod/fraud" || got.State != pedigree.DeploymentOver {
			t.Errorf("what was: %+v, %v", got, err)
		}
	})
}

// TestTiedAlias: an alias that is tied to a target is moved by deployments there, and a move
// of it is one.
func TestTiedAlias(t *testing.T) {
	eachDatabase(t, func(t *testing.T, database string) {
		ctx, r := t.Context(), mustOpen(t, database)
		r.mustPush(t, 3)
		r.mustTarget(t, "prod/fraud", pedigree.TargetSpec{Alias: "production"})
		r.mustPolicy(t, pedigree.Policy{Project: "default", Gates: []pedigree.Gate{{Name: "auc", Expr: "metrics.auc < 0.925"}}})
		set := func(n pedigree.VersionNumber) error {
			_, err := r.SetAlias(ctx, by("dep"), fraud(n), "production", nil, "by hand")
			return err
		}
		want(t, "set", set(1), "")
		same(t, "it is a deployment", r.timeline(t, "prod/fraud", now), "1 active")
		list, err := r.Timeline(ctx, me, "default", "prod/fraud", pedigree.Page{}, now)
		if err != nil || list.Items[0].Note != "by hand" || list.Items[0].Role != pedigree.RolePrimary || len(list.Items[0].Decision.Checks) != 1 {
			t.Errorf("the deployment: %+v, %v", list.Items, err)
		}
		same(t, "alias", r.alias(t, "production"), 1)
		want(t, "set again", set(1), "")
		same(t, "nothing new", r.timeline(t, "prod/fraud", now), "1 active")
		mustRefuse(t, "set through the gates", set(3), pedigree.CodeRefused, "deploying fraud/3 to prod/fraud is refused: auc")
		same(t, "alias", r.alias(t, "production"), 1)
		r.mustDeploy(t, 2, "prod/fraud", pedigree.Deploy{})
		same(t, "moved by a deployment", r.alias(t, "production"), 2)
		mustRefuse(t, "remove", r.RemoveAlias(ctx, me, "default", "fraud", "production", nil, ""), pedigree.CodeRefused, "tied to prod/fraud, where fraud/2 is active", "pedigree deployment end")
		_, err = r.Register(ctx, me, "default", "fraud", pedigree.Registration{Aliases: []pedigree.Alias{"production"}})
		mustRefuse(t, "register with it", err, pedigree.CodeRefused, "protected or tied to a target", "pedigree alias set fraud@production VERSION")
		one := pedigree.VersionNumber(1)
		_, err = r.SetAlias(ctx, me, fraud(1), "production", &one, "")
		mustRefuse(t, "with a wrong belief", err, pedigree.CodeConflict, "fraud@production is fraud/2")

		spec := pedigree.TargetSpec{Kind: pedigree.TargetOnline, Alias: "production", Confirm: pedigree.ConfirmReport}
		if _, err := r.EditTarget(ctx, me, "default", "prod/fraud", func(s *pedigree.TargetSpec) error { *s = spec; return nil }, nil); err != nil {
			t.Fatal(err)
		}
		mustRefuse(t, "where a deployment waits for a report", set(1), pedigree.CodeRefused, "active once it is confirmed", "pedigree deploy fraud/1 --to prod/fraud")

		// Another model's alias of that name is tied to the target that runs that model.
		want(t, "another model", register(r, me, "default", "churn"), "")
		churn := pedigree.Reference{Project: "default", Model: "churn", Version: 1}
		_, err = r.SetAlias(ctx, me, churn, "production", nil, "")
		want(t, "of another model, which runs nowhere", err, "")
		same(t, "no deployment", strings.Contains(r.timeline(t, "prod/fraud", now), "pending"), false)
		r.mustTarget(t, "prod/a", pedigree.TargetSpec{Alias: "live"})
		r.mustTarget(t, "prod/b", pedigree.TargetSpec{Alias: "live"})
		_, err = r.SetAlias(ctx, me, fraud(1), "live", nil, "")
		mustRefuse(t, "tied to two targets", err, pedigree.CodeRefused, "tied to several targets: prod/a, prod/b", "pedigree deploy fraud/1 --to prod/a")
		r.mustDeploy(t, 1, "prod/b", pedigree.Deploy{})
		_, err = r.SetAlias(ctx, me, fraud(2), "live", nil, "")
		want(t, "to the one that runs the model", err, "")
		same(t, "it is deployed there", r.timeline(t, "prod/b", now), "2 active, 1 superseded")
	})
}

// TestTiedFor: an alias is tied to a target for the model that is active there, or was last, and
// for one that waits there; and for whatever has a name that such a model has or had.
func TestTiedFor(t *testing.T) {
	eachDatabase(t, func(t *testing.T, database string) {
		ctx, r := t.Context(), mustOpen(t, database)
		r.mustPush(t, 2)
		want(t, "another model", register(r, me, "default", "churn"), "")
		r.mustTarget(t, "prod/fraud", pedigree.TargetSpec{Alias: "production", Confirm: pedigree.ConfirmReport})
		ref := func(model pedigree.Name) pedigree.Reference {
			return pedigree.Reference{Project: "default", Model: model, Version: 1}
		}
		deploy := func(model pedigree.Name) pedigree.Deployment {
			t.Helper()
			d, err := r.Deploy(ctx, me, ref(model), "prod/fraud", pedigree.Deploy{}, nil)
			if err != nil {
				t.Fatal(err)
			}
			return d
		}
		report := func(d pedigree.Deployment, state pedigree.DeploymentState) {
			t.Helper()
			if _, err := r.ReportDeployment(ctx, me, d.ID, pedigree.DeploymentReport{State: state, Note: "as it went"}); err != nil {
				t.Fatal(err)
			}
		}
		tied := func(what string, models ...pedigree.Name) {
			t.Helper()
			for _, model := range models {
				to := ref(model)
				if m, err := r.Model(ctx, me, "default", model, now); err != nil {
					t.Fatal(err)
				} else if m.Aliases["production"] == to.Version { // which would be no move
					to.Version = 2
				}
				_, err := r.SetAlias(ctx, me, to, "production", nil, "")
				mustRefuse(t, what+": "+string(model), err, pedigree.CodeRefused, "the alias production is tied to prod/fraud")
			}
		}
		free := func(what string, model pedigree.Name) {
			t.Helper()
			_, err := r.SetAlias(ctx, me, ref(model), "production", nil, "")
			want(t, what+": "+string(model), err, "")
			want(t, what+", taken away: "+string(model), r.RemoveAlias(ctx, me, "default", model, "production", nil, ""), "")
		}
		remove := func() error { return r.RemoveAlias(ctx, me, "default", "fraud", "production", nil, "") }
		tied("nothing was ever there", "fraud", "churn")
		report(deploy("churn"), pedigree.DeploymentFailing)
		tied("what was there failed to start", "fraud", "churn")
		first := deploy("fraud")
		tied("it waits", "fraud")
		free("another waits", "churn")
		report(first, pedigree.DeploymentActive)
		tied("it is active", "fraud")
		mustRefuse(t, "remove what is active", remove(), pedigree.CodeRefused, "where fraud/1 is active", "pedigree deployment end "+first.ID)
		second := deploy("churn")
		tied("one is active and one waits", "fraud", "churn")
		mustRefuse(t, "remove what is active still", remove(), pedigree.CodeRefused, "where fraud/1 is active")
		report(second, pedigree.DeploymentFailing)
		tied("what waited failed", "fraud")
		free("it failed", "churn")

		rename := func(from, to pedigree.Name) {
			t.Helper()
			if _, err := r.RenameModel(ctx, me, "default", from, to, nil); err != nil {
				t.Fatal(err)
			}
		}
		rename("fraud", "old")
		want(t, "a new model of the name", register(r, me, "default", "fraud"), "")
		tied("after a rename", "old", "fraud")
		if _, err := r.EndDeployment(ctx, me, first.ID, ""); err != nil {
			t.Fatal(err)
		}
		tied("it was last", "old", "fraud")
		free("of another name", "churn")
		want(t, "delete what was last", r.DeleteModel(ctx, me, "default", "old", "", true, nil), "")
		tied("after it was deleted", "fraud")
		want(t, "a new model of its last name", register(r, me, "default", "old"), "")
		tied("after it was deleted", "old")
	})
}

// TestTiedWaiting: an alias stays while a deployment waits at its target, also where another
// of the model was there before and has ended.
func TestTiedWaiting(t *testing.T) {
	eachDatabase(t, func(t *testing.T, database string) {
		ctx, r := t.Context(), mustOpen(t, database)
		r.mustPush(t, 2)
		r.mustTarget(t, "prod/fraud", pedigree.TargetSpec{Alias: "production", Confirm: pedigree.ConfirmReport})
		first := r.mustDeploy(t, 1, "prod/fraud", pedigree.Deploy{})
		if _, err := r.ReportDeployment(ctx, me, first.ID, pedigree.DeploymentReport{State: pedigree.DeploymentActive}); err != nil {
			t.Fatal(err)
		}
		if _, err := r.EndDeployment(ctx, me, first.ID, "retired"); err != nil {
			t.Fatal(err)
		}
		r.mustDeploy(t, 2, "prod/fraud", pedigree.Deploy{})
		remove := func() error { return r.RemoveAlias(ctx, me, "default", "fraud", "production", nil, "") }
		mustRefuse(t, "remove", remove(), pedigree.CodeRefused, "tied to prod/fraud, where fraud/2 is pending")
	})
}

// TestTiedAliasRight: whoever moves a tied or protected alias must have the right to deploy.
func TestTiedAliasRight(t *testing.T) {
	eachDatabase(t, func(t *testing.T, database string) {
		ctx := t.Context()
		e := mustEnable(t, mustOpen(t, database))
		want(t, "register", register(e.registry, e.root, "default", "fraud"), "")
		want(t, "register", register(e.registry, e.root, "default", "fraud"), "")
		if _, err := e.CreateTarget(ctx, e.root, "default", "prod/fraud", pedigree.TargetSpec{Kind: pedigree.TargetOnline, Alias: "production"}); err != nil {
			t.Fatal(err)
		}
		if _, _, err := e.ApplyPolicy(ctx, e.root, pedigree.Policy{Project: "default", Protected: pedigree.Protected{Aliases: []string{"champion"}}}, false); err != nil {
			t.Fatal(err)
		}
		dev, dep := e.account(t, "dev", "contributor"), e.account(t, "dep", "deployer")
		for _, alias := range []pedigree.Alias{"production", "champion"} {
			set := func(p pedigree.Principal, n pedigree.VersionNumber) error {
				_, err := e.SetAlias(ctx, p, fraud(n), alias, nil, "")
				return err
			}
			mustRefuse(t, string(alias)+" by a contributor", set(dev, 1), pedigree.CodeForbidden)
			want(t, string(alias)+" by a deployer", set(dep, 1), "")
			mustRefuse(t, string(alias)+" moved on by a contributor", set(dev, 2), pedigree.CodeForbidden)
		}
		mustRefuse(t, "removed by a contributor", e.RemoveAlias(ctx, dev, "default", "fraud", "champion", nil, ""), pedigree.CodeForbidden)
		_, err := e.SetAlias(ctx, dev, fraud(1), "candidate", nil, "")
		want(t, "a free alias by a contributor", err, "")
		_, err = e.SetAlias(ctx, dep, fraud(2), "candidate", nil, "")
		mustRefuse(t, "a free alias by a deployer", err, pedigree.CodeForbidden)
		want(t, "another model", register(e.registry, e.root, "default", "churn"), "")
		_, err = e.SetAlias(ctx, dev, pedigree.Reference{Project: "default", Model: "churn", Version: 1}, "production", nil, "")
		want(t, "an alias that is tied to where another model runs", err, "")
	})
}

// TestProtectedAlias: a protected alias moves through the gates, and the move says what was
// decided; a registration can't take it along, and what it names is not deleted.
func TestProtectedAlias(t *testing.T) {
	eachDatabase(t, func(t *testing.T, database string) {
		ctx, r := t.Context(), mustOpen(t, database)
		r.mustPush(t, 3)
		r.mustPolicy(t, pedigree.Policy{
			Project: "default", Protected: pedigree.Protected{Aliases: []string{"prod*"}},
			Gates:     []pedigree.Gate{{Name: "auc", Expr: "metrics.auc >= current.metrics.auc", Message: "AUC fell"}},
			Approvals: &pedigree.ApprovalRule{Environments: []string{"nowhere"}},
		})
		set := func(n pedigree.VersionNumber) error {
			_, err := r.SetAlias(ctx, by("dep"), fraud(n), "production", nil, "")
			return err
		}
		mustRefuse(t, "not approved", set(2), pedigree.CodeRefused, "moving the protected alias production to fraud/2 is refused", "approval")
		for n := range pedigree.VersionNumber(3) {
			r.mustApprove(t, n+1)
		}
		want(t, "approved", set(2), "")
		mustRefuse(t, "worse than what it names", set(1), pedigree.CodeRefused, "auc: AUC fell")
		want(t, "better", set(3), "")
		entries, err := r.Entries(ctx, pedigree.Operator, pedigree.EventQuery{Types: []pedigree.EventType{pedigree.AliasMoved}, After: -1})
		if err != nil || len(entries.Items) != 2 {
			t.Fatalf("moves: %d, %v", len(entries.Items), err)
		}
		e, err := entries.Items[1].Event()
		if err != nil {
			t.Fatal(err)
		}
		var d pedigree.Decision
		if ok, err := e.Decode("decision", &d); !ok || err != nil || d.Replaces != "fraud/2" || len(d.Checks) != 2 {
			t.Errorf("what was decided: %+v, %v, %v", d, ok, err)
		}
		_, err = r.Register(ctx, me, "default", "fraud", pedigree.Registration{Aliases: []pedigree.Alias{"free", "production"}})
		mustRefuse(t, "register with it", err, pedigree.CodeRefused, "alias production is protected")
		_, err = r.DeleteVersion(ctx, me, fraud(3), "", true, nil)
		mustRefuse(t, "delete what it names", err, pedigree.CodeRefused, "the protected alias production names it")
		mustRefuse(t, "delete the model", r.DeleteModel(ctx, me, "default", "fraud", "", true, nil), pedigree.CodeRefused, "the protected alias production")
		if _, err := r.Withdraw(ctx, me, fraud(1), "leak", ""); err != nil {
			t.Fatal(err)
		}
		mustRefuse(t, "withdrawn", set(1), pedigree.CodeRefused, "fraud/1 is withdrawn and can't take an alias", "pedigree show fraud/1")
		_, err = r.SetAlias(ctx, me, fraud(1), "candidate", nil, "")
		mustRefuse(t, "withdrawn, for a free alias", err, pedigree.CodeRefused, "withdrawn")
	})
}

// TestGuardedStage: a stage of MLflow is gated as the alias of the same name.
func TestGuardedStage(t *testing.T) {
	eachDatabase(t, func(t *testing.T, database string) {
		ctx, r := t.Context(), mustOpen(t, database)
		r.mustPush(t, 2)
		r.mustPolicy(t, pedigree.Policy{Project: "default", Protected: pedigree.Protected{Aliases: []string{"production"}}, Approvals: &pedigree.ApprovalRule{}})
		stage := func(n pedigree.VersionNumber, to string) error {
			_, err := r.Transition(ctx, by("dep"), fraud(n), to, false)
			return err
		}
		mustRefuse(t, "production", stage(1, pedigree.StagedProduction), pedigree.CodeRefused, "the stage Production for fraud/1 is refused", "approval", "pedigree request fraud/1")
		want(t, "staging", stage(1, pedigree.StagedStaging), "")
		want(t, "none", stage(1, pedigree.StagedNone), "")
		_, err := r.EditVersion(ctx, by("dep"), fraud(1), pedigree.VersionEdit{Tags: map[string]string{pedigree.StageTag: pedigree.StagedProduction}}, nil)
		mustRefuse(t, "by the tag", err, pedigree.CodeRefused, "the stage Production")
		_, err = r.Register(ctx, me, "default", "fraud", pedigree.Registration{Tags: map[string]string{pedigree.StageTag: pedigree.StagedProduction}})
		mustRefuse(t, "by registering with the tag", err, pedigree.CodeRefused, "Production", "registered first")
		_, err = r.Register(ctx, me, "default", "fraud", pedigree.Registration{Tags: map[string]string{pedigree.StageTag: pedigree.StagedStaging}})
		want(t, "by registering with another stage", err, "")
		r.mustApprove(t, 1)
		want(t, "approved", stage(1, pedigree.StagedProduction), "")
		_, err = r.EditVersion(ctx, by("dep"), fraud(1), pedigree.VersionEdit{Tags: map[string]string{pedigree.StageTag: pedigree.StagedProduction}}, nil)
		want(t, "the same tag again", err, "")
		// Where only another model runs at the target that ties the name, nothing is gated.
		if err := r.RemovePolicy(ctx, me, "default", ""); err != nil {
			t.Fatal(err)
		}
		r.mustTarget(t, "prod/churn", pedigree.TargetSpec{Alias: "staging"})
		want(t, "another model", register(r, me, "default", "churn"), "")
		if _, err := r.Deploy(ctx, me, pedigree.Reference{Project: "default", Model: "churn", Version: 1}, "prod/churn", pedigree.Deploy{}, nil); err != nil {
			t.Fatal(err)
		}
		r.mustPolicy(t, pedigree.Policy{Project: "default", Gates: []pedigree.Gate{{Name: "never", Expr: "false"}}})
		want(t, "tied to a target that runs another model", stage(2, pedigree.StagedStaging), "")
		_, err = r.Transition(ctx, by("dep"), pedigree.Reference{Project: "default", Model: "churn", Version: 1}, pedigree.StagedStaging, false)
		mustRefuse(t, "tied to the target that runs it", err, pedigree.CodeRefused, "never")
	})
}

// TestSpelledStage: a stage is gated however the tag that says it, the pattern of a policy or
// the alias of a target is spelled.
func TestSpelledStage(t *testing.T) {
	eachDatabase(t, func(t *testing.T, database string) {
		ctx, r := t.Context(), mustOpen(t, database)
		r.mustPush(t, 1)
		tries := func(what string, code pedigree.ErrorCode) {
			t.Helper()
			for _, text := range []string{"Production", "production", "PRODUCTION", "pRoDuCtIoN"} {
				tags := map[string]string{pedigree.StageTag: text}
				_, err := r.EditVersion(ctx, me, fraud(1), pedigree.VersionEdit{Tags: tags}, nil)
				want(t, what+": tag "+text, err, code)
				_, err = r.Register(ctx, me, "default", "fraud", pedigree.Registration{Tags: tags})
				want(t, what+": register with "+text, err, code)
				if code == "" {
					_, err = r.UntagVersion(ctx, me, fraud(1), pedigree.StageTag)
					want(t, what+": untag "+text, err, "")
				}
			}
		}
		tries("without a policy", "")
		for _, pattern := range []string{"Production", "production", "PROD*", "pRoduction"} {
			r.mustPolicy(t, pedigree.Policy{Project: "default", Protected: pedigree.Protected{Aliases: []string{pattern}}, Approvals: &pedigree.ApprovalRule{}})
			tries("protected as "+pattern, pedigree.CodeRefused)
		}
		r.mustPolicy(t, pedigree.Policy{Project: "default", Gates: []pedigree.Gate{{Name: "never", Expr: "false"}}})
		tries("free", "")
		r.mustTarget(t, "prod/fraud", pedigree.TargetSpec{Alias: "pRoduction"})
		tries("tied in another case", pedigree.CodeRefused)
		_, err := r.EditVersion(ctx, me, fraud(1), pedigree.VersionEdit{Tags: map[string]string{pedigree.StageTag: "nowhere"}}, nil)
		want(t, "a text that is no stage", err, "")
	})
}

// TestOddIDs: an id that no database can hold is one that is not there.
func TestOddIDs(t *testing.T) {
	eachDatabase(t, func(t *testing.T, database string) {
		ctx, r := t.Context(), mustOpen(t, database)
		r.mustPush(t, 1)
		r.mustTarget(t, "prod/fraud", pedigree.TargetSpec{})
		r.mustDeploy(t, 1, "prod/fraud", pedigree.Deploy{})
		for _, id := range []string{"", "dep_", "dep_\x00", "exe_\x00", "dep_\xff", "dep_'", strings.Repeat("d", 1<<16)} {
			_, err := r.Deployment(ctx, me, id, now)
			want(t, "read", err, pedigree.CodeNotFound)
			_, err = r.ReportDeployment(ctx, me, id, pedigree.DeploymentReport{State: pedigree.DeploymentActive})
			want(t, "report", err, pedigree.CodeNotFound)
			_, err = r.EndDeployment(ctx, me, id, "")
			want(t, "end", err, pedigree.CodeNotFound)
			_, err = r.MarkDeployment(ctx, me, id, true, "x")
			want(t, "mark", err, pedigree.CodeNotFound)
			_, err = r.FinishExecution(ctx, me, id, pedigree.ExecutionReport{})
			want(t, "finish", err, pedigree.CodeNotFound)
			if strings.HasPrefix(id, "dep_") {
				_, err = r.Rollback(ctx, me, "default", "prod/fraud", pedigree.Rollback{To: id})
				want(t, "go back", err, pedigree.CodeNotFound)
			}
		}
	})
}

// TestDeployNotes: a rollback note comes along with a deployment, and makes no approval
// stale.
func TestDeployNotes(t *testing.T) {
	eachDatabase(t, func(t *testing.T, database string) {
		ctx, r := t.Context(), mustOpen(t, database)
		r.mustPush(t, 1)
		r.mustTarget(t, "prod/fraud", pedigree.TargetSpec{})
		r.mustPolicy(t, pedigree.Policy{Project: "default", Approvals: &pedigree.ApprovalRule{}})
		r.mustApprove(t, 1)
		d := r.mustDeploy(t, 1, "prod/fraud", pedigree.Deploy{RollbackNote: "mind the cache", Config: "c", Note: "n", Image: "example.org/serve:1"})
		v, err := r.Version(ctx, me, fraud(1), now)
		if err != nil || v.Record.RollbackNote != "mind the cache" || v.Approval.State != pedigree.ApprovalApproved {
			t.Errorf("the version: %q, %+v, %v", v.Record.RollbackNote, v.Approval, err)
		}
		if d.Config != "c" || d.Note != "n" || d.Image != "example.org/serve:1" || d.Digest != v.Record.Artifact.Digest {
			t.Errorf("the deployment: %+v", d)
		}
		before := r.last(t)
		r.mustDeploy(t, 1, "prod/fraud", pedigree.Deploy{RollbackNote: "mind the cache"})
		list, err := r.Entries(ctx, me, pedigree.EventQuery{After: *before.Seq})
		if err != nil || slices.ContainsFunc(list.Items, func(e pedigree.Entry) bool { return strings.Contains(e.Envelope, "amended") }) {
			t.Errorf("the same note amends: %v", err)
		}
		runs, err := r.Where(ctx, me, fraud(1), now)
		if err != nil || len(runs.Items) != 1 {
			t.Errorf("where: %+v, %v", runs.Items, err)
		}
		runs, err = r.Where(ctx, me, fraud(0), before)
		if err != nil || len(runs.Items) != 1 || runs.Items[0].ID != d.ID {
			t.Errorf("where the model was: %+v, %v", runs.Items, err)
		}
	})
}
