package registrar_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pedigree-ml/pedigree"
)

// found lists what a question leads to, as "kind model/version target state".
func (r *registry) found(t testing.TB, p pedigree.Principal, what string, at pedigree.At) (string, error) {
	t.Helper()
	list, err := r.Which(t.Context(), p, "default", what, at)
	var out []string
	for _, f := range list.Items {
		line := f.Kind + " " + f.Version.Reference().String()
		if f.Deployment != nil {
			line += " " + string(f.Deployment.Target) + " " + string(f.Deployment.State)
			if f.Target == nil || f.Target.Name != f.Deployment.Target {
				t.Errorf("%s: the target is %+v", what, f.Target)
			}
		}
		out = append(out, line)
	}
	return strings.Join(out, ", "), err
}

// TestWhich asks which version something stands for, by everything that may lead to one.
func TestWhich(t *testing.T) {
	eachDatabase(t, func(t *testing.T, database string) {
		ctx, r := t.Context(), mustOpen(t, database)
		r.mustPush(t, 3)
		r.mustTarget(t, "prod/a", pedigree.TargetSpec{Dashboards: []pedigree.SafeURI{"https://example.org/d/1", "https://example.org/x?y=1"}, Runbook: "https://example.org/run"})
		r.mustTarget(t, "prod/b", pedigree.TargetSpec{Dashboards: []pedigree.SafeURI{"https://example.org/d/12"}, OnCall: "https://example.org/oncall/"})
		image := "example.org/serve:1@" + string(pedigree.DigestBytes([]byte("image")))
		one := r.mustDeploy(t, 1, "prod/a", pedigree.Deploy{Image: image})
		early := r.last(t)
		r.mustDeploy(t, 2, "prod/a", pedigree.Deploy{})
		r.mustDeploy(t, 1, "prod/b", pedigree.Deploy{Image: image, Role: pedigree.RoleCanary})
		r.mustDeploy(t, 2, "prod/b", pedigree.Deploy{})
		if _, err := r.SetAlias(ctx, me, fraud(2), "champion", nil, ""); err != nil {
			t.Fatal(err)
		}
		for i, o := range []pedigree.Observation{
			{Instance: "pod-1", Deployment: one.ID},
			{Instance: "pod-2", Model: "fraud", Version: 2},
			{Instance: "pod-3", Digest: pedigree.DigestBytes([]byte{2})},
			{Instance: "pod-4", Model: "fraud", Version: 3},
		} {
			if _, err := r.Observe(ctx, me, "default", "prod/a", o); err != nil {
				t.Fatalf("%d: %v", i, err)
			}
		}
		digest := func(n byte) string { return string(pedigree.DigestBytes([]byte{n})) }
		for _, tt := range []struct {
			what string
			at   pedigree.At
			want string
		}{
			{"prod/a", now, "target fraud/2 prod/a active"},
			{"target:prod/a", now, "target fraud/2 prod/a active"},
			{"target:default:prod/a", now, "target fraud/2 prod/a active"},
			{"prod/a", early, "target fraud/1 prod/a active"},
			{one.ID, now, "deployment fraud/1 prod/a superseded"},
			{one.ID, early, "deployment fraud/1 prod/a active"},
			{"fraud", now, "model fraud/2 prod/b active, model fraud/1 prod/b active, model fraud/2 prod/a active"},
			{"fraud", early, "model fraud/1 prod/a active"},
			{"fraud/1", now, "model fraud/1 prod/b active"},
			{"fraud/3", now, "model fraud/3"},
			{"fraud@champion", now, "model fraud/2 prod/b active, model fraud/2 prod/a active"},
			{"default/fraud/1", now, "model fraud/1 prod/b active"},
			{digest(1), now, "artifact fraud/1 prod/b active"},
			{digest(3), now, "artifact fraud/3"},
			{image, now, "image fraud/1 prod/b active"},
			{image[strings.Index(image, "sha256:"):], now, "image fraud/1 prod/b active"},
			{image, early, "image fraud/1 prod/a active"},
			{"pod-1", now, "instance fraud/1 prod/a superseded"},
			{"pod-2", now, "instance fraud/2 prod/a active"},
			{"pod-3", now, "instance fraud/2 prod/a active"},
			{"pod-4", now, "instance fraud/3"},
			{"https://example.org/d/1", now, "uri fraud/2 prod/a active"},
			{"https://example.org/d/1?from=now-1h", now, "uri fraud/2 prod/a active"},
			{"https://example.org/d/1/panel", now, "uri fraud/2 prod/a active"},
			{"https://example.org/d/1#top", now, "uri fraud/2 prod/a active"},
			{"https://example.org/d/12", now, "uri fraud/2 prod/b active"},
			{"https://example.org/x?y=1&z=2", now, "uri fraud/2 prod/a active"},
			{"https://example.org/run", now, "uri fraud/2 prod/a active"},
			{"https://example.org/oncall/now", now, "uri fraud/2 prod/b active"},
			{"models:/fraud@champion", now, "model fraud/2 prod/b active, model fraud/2 prod/a active"},
			{"pedigree://registry.example.org/default/fraud/3", now, "model fraud/3"},
		} {
			got, err := r.found(t, me, tt.what, tt.at)
			if err != nil || got != tt.want {
				t.Errorf("%s at %q: got %q, %v, want %q", tt.what, tt.at, got, err, tt.want)
			}
		}
		r.mustDeploy(t, 3, "prod/b", pedigree.Deploy{Image: "example.org/gone:1"})
		r.mustDeploy(t, 2, "prod/b", pedigree.Deploy{})
		if got, err := r.found(t, me, "example.org/gone:1", now); err != nil || got != "image fraud/3 prod/b superseded" {
			t.Errorf("an image that ran before: got %q, %v", got, err)
		}
		for _, tt := range []struct {
			what string
			at   pedigree.At
			code pedigree.ErrorCode
		}{
			{"", now, pedigree.CodeInvalid},
			{"prod/nothing", now, pedigree.CodeNotFound},
			{"dep_nothing", now, pedigree.CodeNotFound},
			{"nothing", now, pedigree.CodeNotFound},
			{"fraud/9", now, pedigree.CodeNotFound},
			{digest(9), now, pedigree.CodeNotFound},
			{"sha256:short", now, pedigree.CodeInvalid},
			{"https://example.org/d", now, pedigree.CodeNotFound},
			{"https://example.org/d/123", now, pedigree.CodeNotFound},
			{"pod-1", early, pedigree.CodeNotFound},
			{"prod/b", early, pedigree.CodeNotFound},
			{"target:nowhere:prod/a", now, pedigree.CodeNotFound},
			{"a b\x00c", now, pedigree.CodeInvalid},
			{"a\xff", now, pedigree.CodeInvalid},
			{"dep_\x00", now, pedigree.CodeInvalid},
		} {
			got, err := r.found(t, me, tt.what, tt.at)
			if pedigree.CodeOf(err) != tt.code {
				t.Errorf("%q at %q: got %q, %v, want %s", tt.what, tt.at, got, err, tt.code)
			}
		}
		list, err := r.Which(ctx, me, "default", "prod/a", now)
		if err != nil || list.Items[0].Rollback != "pedigree rollback prod/a" || list.AsOf != *r.last(t).Seq {
			t.Errorf("the way back: %+v, %v", list, err)
		}
	})
}

// TestWhichHides: nobody learns by a question what they may not read.
func TestWhichHides(t *testing.T) {
	eachDatabase(t, func(t *testing.T, database string) {
		ctx := t.Context()
		e := mustEnable(t, mustOpen(t, database))
		if _, err := e.CreateProject(ctx, e.root, "risk", ""); err != nil {
			t.Fatal(err)
		}
		digest := pedigree.DigestBytes([]byte("x"))
		if _, err := e.Register(ctx, e.root, "risk", "score", pedigree.Registration{CreateModel: true, Record: pedigree.Record{Artifact: pedigree.Artifact{Kind: pedigree.ArtifactLinked, URI: "s3://m", Digest: digest}}}); err != nil {
			t.Fatal(err)
		}
		if _, err := e.CreateTarget(ctx, e.root, "risk", "prod/score", pedigree.TargetSpec{Kind: pedigree.TargetOnline, Runbook: "https://example.org/run"}); err != nil {
			t.Fatal(err)
		}
		d, err := e.Deploy(ctx, e.root, pedigree.Reference{Project: "risk", Model: "score", Version: 1}, "prod/score", pedigree.Deploy{Image: "example.org/serve:1"}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := e.Observe(ctx, e.root, "risk", "prod/score", pedigree.Observation{Instance: "pod-1", Deployment: d.ID}); err != nil {
			t.Fatal(err)
		}
		ann := e.account(t, "ann", "reader")
		for _, what := range []string{"target:risk:prod/score", d.ID, "risk/score", "risk/score/1", string(digest), "example.org/serve:1", "pod-1", "https://example.org/run"} {
			got, err := e.found(t, ann, what, now)
			if pedigree.CodeOf(err) != pedigree.CodeNotFound || got != "" {
				t.Errorf("%s: got %q, %v", what, got, err)
			}
			got, err = e.found(t, e.root, what, now)
			if err != nil || !strings.HasSuffix(got, "risk/score/1 prod/score active") {
				t.Errorf("%s by who may: got %q, %v", what, got, err)
			}
		}
		for what, err := range map[string]error{
			"the deployment": func() error { _, err := e.Deployment(ctx, ann, d.ID, now); return err }(),
			"its report": func() error {
				_, err := e.ReportDeployment(ctx, ann, d.ID, pedigree.DeploymentReport{State: pedigree.DeploymentActive})
				return err
			}(),
		} {
			want(t, what, err, pedigree.CodeNotFound)
		}
	})
}

// TestChanges: what changed in a time, of a target, of a model, of a project.
func TestChanges(t *testing.T) {
	eachDatabase(t, func(t *testing.T, database string) {
		ctx, r := t.Context(), mustOpen(t, database)
		if _, err := r.CreateProject(ctx, me, "risk", ""); err != nil {
			t.Fatal(err)
		}
		begin := time.Now().Add(-time.Hour)
		end := begin.Add(2 * time.Hour)
		want(t, "another project", register(r, me, "risk", "score"), "")
		r.mustPush(t, 1)
		r.mustTarget(t, "prod/a", pedigree.TargetSpec{})
		r.mustTarget(t, "prod/b", pedigree.TargetSpec{})
		r.mustPolicy(t, pedigree.Policy{Project: "default"})
		r.mustApprove(t, 1)
		r.mustDeploy(t, 1, "prod/a", pedigree.Deploy{})
		if err := r.DeleteTarget(ctx, me, "default", "prod/b", ""); err != nil {
			t.Fatal(err)
		}
		changes := func(target pedigree.TargetName, model pedigree.Name, from, to time.Time, limit int) string {
			t.Helper()
			var out []string
			page := pedigree.Page{Limit: limit}
			for {
				list, err := r.Changes(ctx, me, "default", target, model, from, to, page)
				if err != nil {
					t.Fatal(err)
				}
				for i := range list.Items {
					e, err := list.Items[i].Event()
					if err != nil {
						t.Fatal(err)
					}
					out = append(out, string(e.Type))
				}
				if page.Cursor = list.Next; page.Cursor == "" {
					return strings.Join(out, " ")
				}
			}
		}
		for _, limit := range []int{1, 2, 100} {
			same(t, "of a target", changes("prod/a", "", begin, end, limit), "version.registered target.created policy.applied approval.granted deployment.opened deployment.activated")
			same(t, "of a model", changes("", "fraud", begin, end, limit), "model.created version.registered approval.granted deployment.opened deployment.activated")
			same(t, "of a project", changes("", "", begin, end, limit), "project.created model.created version.registered target.created target.created policy.applied approval.granted deployment.opened deployment.activated target.deleted")
		}
		same(t, "before", changes("", "", begin.Add(-time.Hour), begin, 100), "")
		_, err := r.Changes(ctx, me, "default", "prod/nothing", "", begin, end, pedigree.Page{})
		want(t, "of no target", err, pedigree.CodeNotFound)
		_, err = r.Changes(ctx, me, "default", "", "nothing", begin, end, pedigree.Page{})
		want(t, "of no model", err, pedigree.CodeNotFound)
		_, err = r.Changes(ctx, me, "nowhere", "", "", begin, end, pedigree.Page{})
		want(t, "of no project", err, pedigree.CodeNotFound)
	})
}

// TestChangesOfTarget: what changed at a target is also what was said of the versions that ran
// there in that time, and the rules that hold there.
func TestChangesOfTarget(t *testing.T) {
	eachDatabase(t, func(t *testing.T, database string) {
		ctx, r := t.Context(), mustOpen(t, database)
		if _, err := r.CreateProject(ctx, me, "risk", ""); err != nil {
			t.Fatal(err)
		}
		r.mustPush(t, 6)
		r.mustTarget(t, "prod/a", pedigree.TargetSpec{})
		r.mustTarget(t, "prod/b", pedigree.TargetSpec{})
		r.mustTarget(t, "prod/c", pedigree.TargetSpec{Confirm: pedigree.ConfirmReport})
		waiting := r.mustDeploy(t, 4, "prod/c", pedigree.Deploy{})
		r.mustDeploy(t, 1, "prod/a", pedigree.Deploy{}) // over before the time that is asked about
		r.mustDeploy(t, 2, "prod/a", pedigree.Deploy{})
		r.mustDeploy(t, 5, "prod/a", pedigree.Deploy{Role: pedigree.RoleCanary})
		r.mustDeploy(t, 6, "prod/b", pedigree.Deploy{})
		from := r.lastTime(t).Add(time.Microsecond)
		if _, err := r.ReportDeployment(ctx, me, waiting.ID, pedigree.DeploymentReport{State: pedigree.DeploymentActive}); err != nil {
			t.Fatal(err)
		}
		r.mustDeploy(t, 3, "prod/a", pedigree.Deploy{}) // which ends 2
		changes := func(p pedigree.Principal, target pedigree.TargetName, from, to time.Time, limit int) string {
			t.Helper()
			var out []string
			page := pedigree.Page{Limit: limit}
			for {
				list, err := r.Changes(ctx, p, "default", target, "", from, to, page)
				if err != nil {
					t.Fatal(err)
				}
				for i := range list.Items {
					e, err := list.Items[i].Event()
					if err != nil {
						t.Fatal(err)
					}
					out = append(out, string(e.Type))
				}
				if page.Cursor = list.Next; page.Cursor == "" {
					return strings.Join(out, " ")
				}
			}
		}
		policy := func(project pedigree.ProjectName) func() error {
			return func() error {
				_, _, err := r.ApplyPolicy(ctx, me, pedigree.Policy{Project: project, Protected: pedigree.Protected{Aliases: []string{"x"}}}, false)
				return err
			}
		}
		unset := func(project pedigree.ProjectName) func() error {
			return func() error { return r.RemovePolicy(ctx, me, project, "") }
		}
		say := func(f func(context.Context, pedigree.Principal, pedigree.Reference, pedigree.Review) (pedigree.Version, error), n pedigree.VersionNumber, review pedigree.Review) func() error {
			return func() error {
				_, err := f(ctx, by("ann"), fraud(n), review)
				return err
			}
		}
		version := func(f func() (pedigree.Version, error)) func() error {
			return func() error {
				_, err := f()
				return err
			}
		}
		condition := ""
		every := []pedigree.TargetName{"prod/a", "prod/b", "prod/c"}
		for _, tt := range []struct {
			name string
			do   func() error
			typ  pedigree.EventType
			at   []pedigree.TargetName // where it is among the changes
		}{
			{"the project's policy", policy("default"), pedigree.PolicyApplied, every},
			{"its end", unset("default"), pedigree.PolicyRemoved, every},
			{"the instance's policy", policy(""), pedigree.PolicyApplied, every},
			{"its end", unset(""), pedigree.PolicyRemoved, every},
			{"the policy of another project", policy("risk"), pedigree.PolicyApplied, nil},
			{"a request", version(func() (pedigree.Version, error) { return r.RequestApproval(ctx, me, fraud(3), "") }), pedigree.ApprovalRequested, []pedigree.TargetName{"prod/a"}},
			{"an approval", func() error {
				v, err := r.Approve(ctx, by("ann"), fraud(3), pedigree.Review{Conditions: []pedigree.Condition{{Note: "watch it"}}})
				if err == nil {
					condition = v.Approval.Conditions[0].ID
				}
				return err
			}, pedigree.ApprovalGranted, []pedigree.TargetName{"prod/a"}},
			{"a condition that is met", version(func() (pedigree.Version, error) { return r.MeetCondition(ctx, me, fraud(3), condition, "") }), pedigree.ApprovalConditionMet, []pedigree.TargetName{"prod/a"}},
			{"a revocation", version(func() (pedigree.Version, error) { return r.RevokeApproval(ctx, by("ann"), fraud(3), "no") }), pedigree.ApprovalRevoked, []pedigree.TargetName{"prod/a"}},
			{"a rejection of what ran before", say(r.Reject, 2, pedigree.Review{Comment: "no"}), pedigree.ApprovalRejected, []pedigree.TargetName{"prod/a"}},
			{"an amendment of the canary", version(func() (pedigree.Version, error) {
				return r.Amend(ctx, by("dev"), fraud(5), pedigree.Amend{Record: pedigree.Record{Owner: "team:other"}}, nil)
			}), pedigree.VersionAmended, []pedigree.TargetName{"prod/a"}},
			{"a withdrawal of what waited and runs", func() error {
				_, err := r.Withdraw(ctx, me, fraud(4), "no", "")
				return err
			}, pedigree.VersionWithdrawn, []pedigree.TargetName{"prod/c"}},
			{"that it is none", version(func() (pedigree.Version, error) { return r.RestoreVersion(ctx, me, fraud(4), "") }), pedigree.VersionReinstated, []pedigree.TargetName{"prod/c"}},
			{"an approval elsewhere", say(r.Approve, 6, pedigree.Review{}), pedigree.ApprovalGranted, []pedigree.TargetName{"prod/b"}},
			{"a rejection of what ran before that time", say(r.Reject, 1, pedigree.Review{Comment: "no"}), pedigree.ApprovalRejected, nil},
		} {
			before := r.lastTime(t)
			if err := tt.do(); err != nil {
				t.Fatalf("%s: %v", tt.name, err)
			}
			for _, target := range every {
				earlier := changes(me, target, from, before, 100)
				wanted := earlier
				if slices.Contains(tt.at, target) {
					wanted = strings.TrimSpace(earlier + " " + string(tt.typ))
				}
				for _, limit := range []int{1, 3, 100} {
					same(t, tt.name+" at "+string(target), changes(me, target, from, r.lastTime(t), limit), wanted)
				}
			}
		}
		// What was said of a version before it came is part of the time, and what was said after
		// that time is not.
		same(t, "a time without anything", changes(me, "prod/a", from.Add(-24*time.Hour), from.Add(-23*time.Hour), 100), "")
		same(t, "the time to come", changes(me, "prod/a", r.lastTime(t).Add(time.Hour), r.lastTime(t).Add(2*time.Hour), 100), "")
		all := changes(me, "prod/a", from, r.lastTime(t), 100)
		e := mustEnable(t, r)
		ann := e.account(t, "ann", "oncall")
		same(t, "for whoever reads this project alone", changes(ann, "prod/a", from, r.lastTime(t), 100), all)
		list, err := e.Entries(ctx, ann, pedigree.EventQuery{After: -1, Types: []pedigree.EventType{pedigree.PolicyApplied}})
		if err != nil {
			t.Fatal(err)
		}
		same(t, "policies in the log of this project's reader", len(list.Items), 2) // not that of risk
	})
}

// TestDelivery reports how a project delivers, out of what happened.
func TestDelivery(t *testing.T) {
	eachDatabase(t, func(t *testing.T, database string) {
		ctx, r := t.Context(), mustOpen(t, database)
		r.mustPush(t, 3)
		r.mustTarget(t, "prod/fraud", pedigree.TargetSpec{})
		r.mustTarget(t, "prod-eu/fraud", pedigree.TargetSpec{Confirm: pedigree.ConfirmReport})
		r.mustTarget(t, "dev/fraud", pedigree.TargetSpec{})
		begin := time.Now().Add(-time.Hour)
		end := begin.Add(7 * 24 * time.Hour)
		r.mustDeploy(t, 1, "dev/fraud", pedigree.Deploy{})
		r.mustDeploy(t, 1, "prod/fraud", pedigree.Deploy{})
		r.mustDeploy(t, 2, "prod/fraud", pedigree.Deploy{})
		r.mustDeploy(t, 3, "prod/fraud", pedigree.Deploy{Role: pedigree.RoleCanary})
		r.mustBack(t, pedigree.Rollback{Reason: "slow"})
		d := r.mustDeploy(t, 3, "prod-eu/fraud", pedigree.Deploy{})
		if _, err := r.ReportDeployment(ctx, me, d.ID, pedigree.DeploymentReport{State: pedigree.DeploymentFailing, Note: "it crashes"}); err != nil {
			t.Fatal(err)
		}
		for _, tt := range []struct {
			environment                      string
			deployments, failures, rollbacks int
			rate                             pedigree.Float
		}{
			{"prod", 2, 1, 1, 0.5},
			{"prod*", 2, 2, 1, pedigree.Float(2.0 / 3)},
			{"dev", 1, 0, 0, 0},
			{"*", 3, 2, 1, 0.5},
			{"nowhere", 0, 0, 0, -1},
		} {
			lines, err := r.Delivery(ctx, me, "default", tt.environment, begin, end)
			if err != nil {
				t.Fatal(err)
			}
			all := lines[0]
			rate := pedigree.Float(-1)
			if all.FailureRate != nil {
				rate = *all.FailureRate
			}
			if all.Deployments != tt.deployments || all.Failures != tt.failures || all.Rollbacks != tt.rollbacks || rate != tt.rate || all.Environment != tt.environment || all.PerWeek != pedigree.Float(tt.deployments) {
				t.Errorf("%s: %+v, rate %v", tt.environment, all, rate)
			}
			if tt.rollbacks > 0 && (all.TimeToRestore == nil || *all.TimeToRestore < 0 || all.LeadTime == nil || *all.LeadTime < 0) {
				t.Errorf("%s: times %+v", tt.environment, all)
			}
			if models := slices.ContainsFunc(lines, func(d pedigree.Delivery) bool { return d.Model == "fraud" }); models != (tt.deployments > 0) {
				t.Errorf("%s: lines %+v", tt.environment, lines)
			}
		}
		lines, err := r.Delivery(ctx, me, "default", "*", end, end.Add(time.Hour))
		if err != nil || lines[0].Deployments != 0 || lines[0].Rollbacks != 0 {
			t.Errorf("later: %+v, %v", lines, err)
		}
		_, err = r.Delivery(ctx, me, "default", "[", begin, end)
		mustRefuse(t, "no pattern", err, pedigree.CodeInvalid, "not a pattern")
	})
}
