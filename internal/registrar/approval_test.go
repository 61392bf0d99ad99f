package registrar_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/pedigree-ml/pedigree"
)

// TestApproveAuthors: whoever registered or amended a version, or asked for its approval,
// does not approve it.
func TestApproveAuthors(t *testing.T) {
	eachDatabase(t, func(t *testing.T, database string) {
		ctx, r := t.Context(), mustOpen(t, database)
		r.mustPush(t, 2)
		approve := func(who string) error {
			_, err := r.Approve(ctx, by(who), fraud(1), pedigree.Review{Comment: "fine"})
			return err
		}
		amend := func(who string) {
			t.Helper()
			if _, err := r.Amend(ctx, by(who), fraud(1), pedigree.Amend{Record: pedigree.Record{RollbackNote: "by " + who}}, nil); err != nil {
				t.Fatal(err)
			}
		}
		ask := func(who string) {
			t.Helper()
			if _, err := r.RequestApproval(ctx, by(who), fraud(1), "by "+who); err != nil {
				t.Fatal(err)
			}
		}
		mustRefuse(t, "who registered it", approve("dev"), pedigree.CodeRefused, "fraud/1 is your own work", "allow_author: true")
		amend("amy")
		mustRefuse(t, "who amended it", approve("amy"), pedigree.CodeRefused)
		ask("pam")
		mustRefuse(t, "who asked", approve("pam"), pedigree.CodeRefused)
		ask("tom")
		want(t, "who asked before", approve("pam"), "")
		mustRefuse(t, "who asked now", approve("tom"), pedigree.CodeRefused)
		_, err := r.Reject(ctx, by("dev"), fraud(1), pedigree.Review{Comment: "I found a fault"})
		want(t, "who registered it may reject it", err, "")

		r.mustPolicy(t, pedigree.Policy{Project: "default", Approvals: &pedigree.ApprovalRule{AllowAuthor: true}})
		want(t, "who registered it, where the policy lets them", approve("dev"), "")
		v, err := r.Version(ctx, me, fraud(1), now)
		if err != nil || !v.Approval.Opinions[0].Author || v.Approval.State != pedigree.ApprovalApproved {
			t.Errorf("that is not shown: %+v, %v", v.Approval, err)
		}
		r.mustPolicy(t, pedigree.Policy{Approvals: &pedigree.ApprovalRule{}})
		mustRefuse(t, "where the instance does not", approve("dev"), pedigree.CodeRefused)
	})
}

// TestApproveAccounts: service accounts approve nothing, and those for whom one acted are
// authors; whose work it is must be known at a protected target; a policy may ask for a
// role.
func TestApproveAccounts(t *testing.T) {
	eachDatabase(t, func(t *testing.T, database string) {
		ctx := t.Context()
		e := mustEnable(t, mustOpen(t, database))
		ann, bob := e.account(t, "ann", "approver"), e.account(t, "bob", "approver")
		service := func(name, actsFor string, roles ...string) pedigree.Principal {
			t.Helper()
			if _, err := e.CreateAccount(ctx, e.root, pedigree.NewAccount{Name: pedigree.ActorName(name), Kind: pedigree.ServiceAccount, ActsFor: actsFor}); err != nil {
				t.Fatal(err)
			}
			for _, role := range roles {
				e.grant(t, name, role, "default")
			}
			tok, err := e.CreateToken(ctx, e.root, pedigree.NewToken{Account: name})
			if err != nil {
				t.Fatal(err)
			}
			return e.show(t, tok)
		}
		ci, bot := service("ci-fraud", "ann", "contributor", "approver"), service("bot", "", "contributor")
		want(t, "register", register(e.registry, ci, "default", "fraud"), "")
		want(t, "register", register(e.registry, bot, "default", "fraud"), "")
		approve := func(p pedigree.Principal, n pedigree.VersionNumber) error {
			_, err := e.Approve(ctx, p, fraud(n), pedigree.Review{})
			return err
		}
		mustRefuse(t, "a service account", approve(ci, 2), pedigree.CodeForbidden, "a service account can't decide", "pedigree login")
		mustRefuse(t, "for whom it acted", approve(ann, 1), pedigree.CodeRefused, "your own work")
		want(t, "somebody else", approve(bob, 1), "")
		want(t, "what nobody knows who made", approve(ann, 2), "")
		want(t, "register", register(e.registry, ci, "default", "fraud"), "")
		actsFor := "bob"
		if _, err := e.EditAccount(ctx, e.root, "ci-fraud", pedigree.AccountEdit{ActsFor: &actsFor}); err != nil {
			t.Fatal(err)
		}
		if _, err := e.Amend(ctx, ci, fraud(3), pedigree.Amend{Record: pedigree.Record{RollbackNote: "mind the cache"}}, nil); err != nil {
			t.Fatal(err)
		}
		mustRefuse(t, "for whom it acted before", approve(ann, 3), pedigree.CodeRefused, "your own work")
		mustRefuse(t, "for whom it acts now", approve(bob, 3), pedigree.CodeRefused, "your own work")

		if _, _, err := e.ApplyPolicy(ctx, e.root, pedigree.Policy{Project: "default", Approvals: &pedigree.ApprovalRule{}}, false); err != nil {
			t.Fatal(err)
		}
		for name, protected := range map[pedigree.TargetName]bool{"prod/open": false, "prod/guarded": true} {
			if _, err := e.CreateTarget(ctx, e.root, "default", name, pedigree.TargetSpec{Kind: pedigree.TargetOnline, Protected: protected}); err != nil {
				t.Fatal(err)
			}
		}
		deploy := func(n pedigree.VersionNumber, target pedigree.TargetName) error {
			_, err := e.Deploy(ctx, e.root, fraud(n), target, pedigree.Deploy{}, nil)
			return err
		}
		want(t, "known to a protected target", deploy(1, "prod/guarded"), "")
		want(t, "unknown to another", deploy(2, "prod/open"), "")
		mustRefuse(t, "unknown to a protected target", deploy(2, "prod/guarded"), pedigree.CodeRefused, "author: fraud/2 was made by the service account bot", "pedigree account edit bot --acts-for")

		if _, _, err := e.ApplyPolicy(ctx, e.root, pedigree.Policy{Project: "default", Approvals: &pedigree.ApprovalRule{Role: pedigree.OnCall}}, false); err != nil {
			t.Fatal(err)
		}
		mustRefuse(t, "without the role of the policy", approve(bob, 1), pedigree.CodeForbidden, "members of the role oncall in project default")
		e.grant(t, "bob", "oncall", "default")
		want(t, "with it", approve(bob, 1), "")
		dev := e.account(t, "dev", "contributor")
		mustRefuse(t, "without the right at all", approve(dev, 1), pedigree.CodeForbidden)
	})
}

// TestApprovalStale: an amendment of what was judged makes approvals stale, of the evidence
// only where a gate reads it.
func TestApprovalStale(t *testing.T) {
	eachDatabase(t, func(t *testing.T, database string) {
		ctx, r := t.Context(), mustOpen(t, database)
		r.mustPush(t, 1)
		evidence := pedigree.Record{Evidence: []pedigree.Evidence{{Name: "fair.html", Kind: "fairness", URI: "https://example.org/fair"}}}
		for _, tt := range []struct {
			name   string
			gate   string
			record pedigree.Record
			want   pedigree.ApprovalState
		}{
			{"metrics", "", pedigree.Record{Metrics: []pedigree.Metric{{Name: "auc", Value: 0.5}}}, pedigree.ApprovalOutOfDate},
			{"params", "", pedigree.Record{Params: pedigree.Params{"depth": "9"}}, pedigree.ApprovalOutOfDate},
			{"owner", "", pedigree.Record{Owner: "team:other"}, pedigree.ApprovalApproved},
			{"rollback note", "", pedigree.Record{RollbackNote: "mind"}, pedigree.ApprovalApproved},
			{"owner that a gate reads", `owner.startsWith("team:")`, pedigree.Record{Owner: "team:third"}, pedigree.ApprovalOutOfDate},
			{"owner of what is replaced", `current.owner.startsWith("team:")`, pedigree.Record{Owner: "team:fourth"}, pedigree.ApprovalApproved},
			{"run that nothing reads", "metrics.auc > 0.0", pedigree.Record{Run: &pedigree.Run{ID: "1", System: "github"}}, pedigree.ApprovalApproved},
			{"run that a gate reads", `run.system == "github"`, pedigree.Record{Run: &pedigree.Run{ID: "2", System: "github"}}, pedigree.ApprovalOutOfDate},
			{"target that a gate reads", "target_name == target.name", pedigree.Record{Target: "prod/fraud"}, pedigree.ApprovalOutOfDate},
			{"target of the deployment", "target.protected", pedigree.Record{Target: "prod/other"}, pedigree.ApprovalApproved},
			{"outputs that a gate reads", "outputs.size() > 0", pedigree.Record{Outputs: []pedigree.Output{{Name: "scores"}}}, pedigree.ApprovalOutOfDate},
			{"evidence that nothing reads", "metrics.auc > 0.0", evidence, pedigree.ApprovalApproved},
			{"evidence that a gate reads", `evidence.exists(e, e.kind == "fairness")`, pedigree.Record{Evidence: []pedigree.Evidence{{Name: "fair.html", Kind: "fairness", URI: "https://example.org/fairer"}}}, pedigree.ApprovalOutOfDate},
		} {
			p := pedigree.Policy{Project: "default", Approvals: &pedigree.ApprovalRule{}}
			if tt.gate != "" {
				p.Gates = []pedigree.Gate{{Name: "g", Expr: tt.gate}}
			}
			r.mustPolicy(t, p)
			r.mustApprove(t, 1)
			before := r.last(t)
			v, err := r.Amend(ctx, by("dev"), fraud(1), pedigree.Amend{Record: tt.record, Reason: tt.name}, nil)
			if err != nil {
				t.Fatal(err)
			}
			same(t, tt.name, v.Approval.State, tt.want)
			if v, err = r.Version(ctx, me, fraud(1), before); err != nil || v.Approval.State != pedigree.ApprovalApproved {
				t.Errorf("%s: it was %+v, %v", tt.name, v.Approval, err)
			}
		}
		if _, err := r.EditVersion(ctx, by("dev"), fraud(1), pedigree.VersionEdit{Tags: map[string]string{"a": "b"}}, nil); err != nil {
			t.Fatal(err)
		}
		r.mustApprove(t, 1)
		text := "described anew"
		v, err := r.EditVersion(ctx, by("dev"), fraud(1), pedigree.VersionEdit{Tags: map[string]string{"a": "c"}, Description: &text}, nil)
		if err != nil || v.Approval.State != pedigree.ApprovalApproved {
			t.Errorf("tags and descriptions: %+v, %v", v.Approval, err)
		}
		r.mustTarget(t, "prod/fraud", pedigree.TargetSpec{})
		if _, err := r.Amend(ctx, by("dev"), fraud(1), pedigree.Amend{Record: pedigree.Record{Params: pedigree.Params{"depth": "10"}}}, nil); err != nil {
			t.Fatal(err)
		}
		_, err = r.Deploy(ctx, me, fraud(1), "prod/fraud", pedigree.Deploy{}, nil)
		mustRefuse(t, "deploy what is stale", err, pedigree.CodeRefused, "stale: its record was amended since", "pedigree request fraud/1")
	})
}

// TestModelFieldsOfGates: what a gate reads of a model is changed by those who may change
// the policy, and everything else by whoever may write.
func TestModelFieldsOfGates(t *testing.T) {
	eachDatabase(t, func(t *testing.T, database string) {
		ctx := t.Context()
		e := mustEnable(t, mustOpen(t, database))
		dev := e.account(t, "dev", "contributor")
		want(t, "register", register(e.registry, dev, "default", "fraud"), "")
		low, high, owner := pedigree.TierLow, pedigree.TierHigh, "team:risk"
		tier := func(p pedigree.Principal, to pedigree.Tier) error {
			_, err := e.EditModel(ctx, p, "default", "fraud", pedigree.ModelEdit{Tier: &to}, nil)
			return err
		}
		apply := func(project pedigree.ProjectName, expr string) {
			t.Helper()
			if _, _, err := e.ApplyPolicy(ctx, e.root, pedigree.Policy{Project: project, Gates: []pedigree.Gate{{Name: "g", Expr: expr}}}, false); err != nil {
				t.Fatal(err)
			}
		}
		want(t, "without a policy", tier(dev, high), "")
		apply("default", `model.tier != "high" || evidence.size() > 0`)
		mustRefuse(t, "what a gate reads", tier(dev, low), pedigree.CodeForbidden, "a gate reads the tier of models", "dev has no policies.write in project default", "pedigree role grant admin dev -p default")
		want(t, "no change", tier(dev, high), "")
		_, err := e.EditModel(ctx, dev, "default", "fraud", pedigree.ModelEdit{Owner: &owner, Tags: map[string]string{"a": "b"}}, nil)
		want(t, "what no gate reads", err, "")
		_, err = e.RenameModel(ctx, dev, "default", "fraud", "scam", nil)
		want(t, "a name that no gate reads", err, "")
		_, err = e.RenameModel(ctx, dev, "default", "scam", "fraud", nil)
		want(t, "a name that no gate reads", err, "")
		want(t, "who may change the policy", tier(e.root, low), "")
		apply("default", "true")
		want(t, "without the gate", tier(dev, high), "")
		apply("", `model.name != "fraud" || model.tier == "high"`)
		mustRefuse(t, "what a gate of the instance reads", tier(dev, low), pedigree.CodeForbidden)
		_, err = e.RenameModel(ctx, dev, "default", "fraud", "scam", nil)
		mustRefuse(t, "a name that a gate reads", err, pedigree.CodeForbidden, "a gate reads the name of models")
	})
}

// TestApprovalExpires: an approval ends at its time, in reading, in searching and in
// deploying; the pages of one search show one moment.
func TestApprovalExpires(t *testing.T) {
	eachDatabase(t, func(t *testing.T, database string) {
		ctx, r := t.Context(), mustOpen(t, database)
		r.mustPush(t, 3)
		r.mustPolicy(t, pedigree.Policy{Project: "default", Approvals: &pedigree.ApprovalRule{ValidFor: pedigree.Duration(time.Hour)}})
		for n := range pedigree.VersionNumber(3) {
			r.mustApprove(t, n+1)
		}
		v, err := r.Version(ctx, me, fraud(1), now)
		if err != nil || v.Approval.ExpiresAt == nil {
			t.Fatalf("%+v, %v", v.Approval, err)
		}
		for _, tt := range []struct {
			at    time.Time
			state pedigree.ApprovalState
			found int
		}{
			{v.Approval.ExpiresAt.Add(-time.Microsecond), pedigree.ApprovalApproved, 3},
			{*v.Approval.ExpiresAt, pedigree.ApprovalExpired, 2},
			{v.Approval.ExpiresAt.Add(time.Hour), pedigree.ApprovalExpired, 0},
		} {
			at := pedigree.At{Time: tt.at}
			v, err := r.Version(ctx, me, fraud(1), at)
			if err != nil || v.Approval.State != tt.state {
				t.Errorf("at %s: %+v, %v", tt.at, v.Approval, err)
			}
			for _, limit := range []int{1, 100} {
				same(t, "found at "+tt.at.String(), len(r.numbers(t, "approval = 'approved'", "version", limit, at)), tt.found)
				same(t, "the rest at "+tt.at.String(), len(r.numbers(t, "approval = 'expired'", "", limit, at)), 3-tt.found)
			}
		}
	})
}

// TestSearchPagesExpiry: an approval that ends between two pages of a search is on neither
// twice, and on one of them.
func TestSearchPagesExpiry(t *testing.T) {
	eachDatabase(t, func(t *testing.T, database string) {
		ctx, clock := t.Context(), time.Now()
		r := mustOpenClock(t, database, func() time.Time { return clock })
		r.mustPush(t, 4)
		r.mustPolicy(t, pedigree.Policy{Project: "default", Approvals: &pedigree.ApprovalRule{ValidFor: pedigree.Duration(time.Hour)}})
		for n := range pedigree.VersionNumber(4) {
			r.mustApprove(t, n+1)
		}
		for _, tt := range []struct {
			first, then time.Duration
			filter      string
		}{
			{0, 2 * time.Hour, "approval = 'approved'"},
			{2 * time.Hour, 2 * time.Hour, "approval = 'expired'"},
		} {
			start := clock
			clock = start.Add(tt.first)
			first, err := r.Search(ctx, me, "default", tt.filter, "version", pedigree.Page{Limit: 2}, now)
			if err != nil {
				t.Fatal(err)
			}
			clock = start.Add(tt.then)
			if err := register(r, me, "default", "churn"); err != nil { // the log goes on
				t.Fatal(err)
			}
			second, err := r.Search(ctx, me, "default", tt.filter, "version", pedigree.Page{Limit: 3, Cursor: first.Next}, now)
			if err != nil || len(first.Items) != 2 || len(second.Items) != 2 || second.Items[0].Approval != first.Items[0].Approval {
				t.Errorf("%s: %d and %d, %v", tt.filter, len(first.Items), len(second.Items), err)
			}
			clock = start
		}
	})
}

// TestRequests: the inbox holds what waits for somebody, the newest request first.
func TestRequests(t *testing.T) {
	eachDatabase(t, func(t *testing.T, database string) {
		ctx, r := t.Context(), mustOpen(t, database)
		r.mustPush(t, 4)
		r.mustPolicy(t, pedigree.Policy{Project: "default", Approvals: &pedigree.ApprovalRule{Count: 2}})
		for _, n := range []pedigree.VersionNumber{2, 1, 4, 3} {
			if _, err := r.RequestApproval(ctx, by("dev"), fraud(n), "please"); err != nil {
				t.Fatal(err)
			}
		}
		inbox := func(limit int, at pedigree.At) string {
			t.Helper()
			var out []string
			page := pedigree.Page{Limit: limit}
			for {
				list, err := r.Requests(ctx, me, "default", page, at)
				if err != nil {
					t.Fatal(err)
				}
				for _, s := range list.Items {
					out = append(out, s.Number.String())
				}
				if page.Cursor = list.Next; page.Cursor == "" {
					return strings.Join(out, " ")
				}
			}
		}
		all := r.last(t)
		for _, limit := range []int{1, 2, 3, 100} {
			same(t, "pages", inbox(limit, now), "3 4 1 2")
		}
		r.mustApprove(t, 1)
		same(t, "one of two", inbox(100, now), "3 4 1 2")
		if _, err := r.Approve(ctx, by("bob"), fraud(1), pedigree.Review{}); err != nil {
			t.Fatal(err)
		}
		same(t, "two of two", inbox(100, now), "3 4 2")
		r.mustApprove(t, 4)
		list, err := r.Requests(ctx, me, "default", pedigree.Page{}, now)
		if err != nil {
			t.Fatal(err)
		}
		for i, have := range []int{0, 1, 0} {
			w := list.Items[i].Waiting
			if w == nil || w.Have != have || w.Need != 2 || w.Request.By != "dev" || w.Request.Note != "please" || w.Request.At.IsZero() {
				t.Errorf("what waits: %+v", w)
			}
		}
		if _, err := r.Reject(ctx, by("bob"), fraud(4), pedigree.Review{Comment: "no"}); err != nil {
			t.Fatal(err)
		}
		same(t, "rejected", inbox(100, now), "3 2")
		if _, err := r.Amend(ctx, by("dev"), fraud(1), pedigree.Amend{Record: pedigree.Record{Params: pedigree.Params{"depth": "9"}}}, nil); err != nil {
			t.Fatal(err)
		}
		same(t, "stale", inbox(100, now), "3 1 2")
		if _, err := r.DeleteVersion(ctx, me, fraud(3), "", false, nil); err != nil {
			t.Fatal(err)
		}
		same(t, "deleted", inbox(100, now), "1 2")
		if _, err := r.Withdraw(ctx, me, fraud(2), "leak", ""); err != nil {
			t.Fatal(err)
		}
		same(t, "withdrawn", inbox(100, now), "1")
		same(t, "as it was", inbox(100, all), "3 4 1 2")
	})
}

// TestConditions: a condition that is an expression is judged where the version goes; a note
// is listed until somebody reports it met.
func TestConditions(t *testing.T) {
	eachDatabase(t, func(t *testing.T, database string) {
		ctx, r := t.Context(), mustOpen(t, database)
		r.mustPush(t, 1)
		r.mustTarget(t, "prod/fraud", pedigree.TargetSpec{})
		r.mustTarget(t, "dev/fraud", pedigree.TargetSpec{})
		approve := func(expr string) (pedigree.Version, error) {
			return r.Approve(ctx, by("ann"), fraud(1), pedigree.Review{Conditions: []pedigree.Condition{{Expr: expr}, {Note: "watch it", Owner: "bob", Due: "2026-12-01"}}})
		}
		_, err := approve("metrics.auc >")
		mustRefuse(t, "broken", err, pedigree.CodeInvalid, "condition 1")
		v, err := approve(`target.name.startsWith("dev/")`)
		if err != nil {
			t.Fatal(err)
		}
		deploy := func(target pedigree.TargetName) error {
			_, err := r.Deploy(ctx, by("dep"), fraud(1), target, pedigree.Deploy{}, nil)
			return err
		}
		want(t, "where it holds", deploy("dev/fraud"), "")
		mustRefuse(t, "where it does not", deploy("prod/fraud"), pedigree.CodeRefused, "condition/"+v.Approval.Conditions[0].ID, `a condition of the approval does not hold: target.name.startsWith("dev/"): target.name = "prod/fraud"`,
			"do as it says, or let whoever set it approve again without it: pedigree approve fraud/1")
		note := v.Approval.Conditions[1]
		v, err = r.MeetCondition(ctx, by("bob"), fraud(1), note.ID, "watched")
		if err != nil || !v.Approval.Conditions[1].Met || v.Approval.Conditions[1].MetBy != "bob" || v.Approval.Conditions[1].Comment != "watched" {
			t.Errorf("met: %+v, %v", v.Approval.Conditions, err)
		}
		_, err = r.MeetCondition(ctx, by("bob"), fraud(1), "0.7", "")
		mustRefuse(t, "one that is not there", err, pedigree.CodeNotFound, "pedigree show fraud/1")
		if _, err := r.RequestApproval(ctx, by("dev"), fraud(1), "again"); err != nil {
			t.Fatal(err)
		}
		want(t, "it went with its approval", deploy("prod/fraud"), "")
	})
}

// TestOpenConditions: what approvals wait for is listed until it is met, or the approval that
// it came with counts no more.
func TestOpenConditions(t *testing.T) {
	eachDatabase(t, func(t *testing.T, database string) {
		ctx, r := t.Context(), mustOpen(t, database)
		if _, err := r.CreateProject(ctx, me, "risk", ""); err != nil {
			t.Fatal(err)
		}
		r.mustPush(t, 7)
		want(t, "another project", register(r, me, "risk", "score"), "")
		approve := func(who string, ref pedigree.Reference, conditions ...pedigree.Condition) {
			t.Helper()
			if _, err := r.Approve(ctx, by(who), ref, pedigree.Review{Conditions: conditions}); err != nil {
				t.Fatal(err)
			}
		}
		list := func(project pedigree.ProjectName, limit int, at pedigree.At, owners ...string) string {
			t.Helper()
			var out []string
			page := pedigree.Page{Limit: limit}
			for {
				list, err := r.Conditions(ctx, me, project, owners, page, at)
				if err != nil {
					t.Fatal(err)
				}
				if len(list.Items) > limit {
					t.Fatalf("%d of %d", len(list.Items), limit)
				}
				for _, c := range list.Items {
					if c.Met || c.At.IsZero() || c.ID == "" {
						t.Errorf("got %+v", c)
					}
					mark := ""
					if c.Overdue {
						mark = "!"
					}
					out = append(out, string(c.Model)+"/"+c.Version.String()+" "+c.By+": "+c.Note+c.Expr+mark)
				}
				if page.Cursor = list.Next; page.Cursor == "" {
					return strings.Join(out, ", ")
				}
			}
		}
		same(t, "none", list("", 10, now), "")
		approve("ann", fraud(1), pedigree.Condition{Note: "a", Owner: "bob", Due: "2020-01-01"}, pedigree.Condition{Expr: "true", Owner: "eve"}, pedigree.Condition{Note: "c", Owner: "bob", Due: "2999-01-01"})
		approve("ann", fraud(2)) // without any
		approve("bob", fraud(1), pedigree.Condition{Note: "d", Due: time.Now().UTC().Format(time.DateOnly)})
		approve("ann", pedigree.Reference{Project: "risk", Model: "score", Version: 1}, pedigree.Condition{Note: "e", Owner: "eve"})
		const here, there = "fraud/1 bob: d, fraud/1 ann: a!, fraud/1 ann: true, fraud/1 ann: c", "score/1 ann: e, "
		early := r.last(t)
		for _, limit := range []int{1, 2, 3, 4, 100} {
			same(t, "of a project", list("default", limit, now), here)
			same(t, "of all", list("", limit, now), there+here)
			same(t, "of an owner", list("", limit, now, "bob"), "fraud/1 ann: a!, fraud/1 ann: c")
			same(t, "of owners", list("", limit, now, "bob", "eve"), "score/1 ann: e, fraud/1 ann: a!, fraud/1 ann: true, fraud/1 ann: c")
			same(t, "of nobody", list("", limit, now, "team:risk"), "")
		}
		v, err := r.Version(ctx, me, fraud(1), now)
		if err != nil {
			t.Fatal(err)
		}
		same(t, "as the version shows them", len(v.Approval.Conditions), 4)
		if _, err := r.MeetCondition(ctx, by("bob"), fraud(1), v.Approval.Conditions[0].ID, ""); err != nil {
			t.Fatal(err)
		}
		same(t, "one met", list("default", 2, now), "fraud/1 bob: d, fraud/1 ann: true, fraud/1 ann: c")
		for _, tt := range []struct {
			name string
			n    pedigree.VersionNumber
			do   func(ref pedigree.Reference) error
		}{
			{"amended", 2, func(ref pedigree.Reference) error {
				_, err := r.Amend(ctx, by("dev"), ref, pedigree.Amend{Record: pedigree.Record{Params: pedigree.Params{"depth": "9"}}}, nil)
				return err
			}},
			{"asked for anew", 3, func(ref pedigree.Reference) error {
				_, err := r.RequestApproval(ctx, by("dev"), ref, "again")
				return err
			}},
			{"approved without", 4, func(ref pedigree.Reference) error {
				_, err := r.Approve(ctx, by("ann"), ref, pedigree.Review{})
				return err
			}},
			{"revoked", 5, func(ref pedigree.Reference) error {
				_, err := r.RevokeApproval(ctx, by("ann"), ref, "no")
				return err
			}},
			{"withdrawn", 6, func(ref pedigree.Reference) error {
				_, err := r.Withdraw(ctx, me, ref, "no", "")
				return err
			}},
			{"deleted", 7, func(ref pedigree.Reference) error {
				_, err := r.DeleteVersion(ctx, me, ref, "", false, nil)
				return err
			}},
		} {
			before := list("", 10, now)
			approve("ann", fraud(tt.n), pedigree.Condition{Note: tt.name})
			listed := r.last(t)
			entry := "fraud/" + tt.n.String() + " ann: " + tt.name
			same(t, "before it is "+tt.name, list("", 10, now), entry+", "+before)
			if err := tt.do(fraud(tt.n)); err != nil {
				t.Fatalf("%s: %v", tt.name, err)
			}
			same(t, tt.name, list("", 10, now), before)
			same(t, "as it was before it was "+tt.name, list("", 1, listed), entry+", "+before)
		}
		same(t, "as it was", list("", 2, early), there+here)
		r.checkRebuild(t)
		_, err = r.Conditions(ctx, me, "nowhere", nil, pedigree.Page{}, now)
		want(t, "of no project", err, pedigree.CodeNotFound)
		_, err = r.Conditions(ctx, me, "", nil, pedigree.Page{Cursor: "x"}, now)
		want(t, "no cursor", err, pedigree.CodeInvalid)
		e := mustEnable(t, r)
		for _, tt := range []struct {
			name  string
			roles []string
			want  int
		}{{"ann", []string{"viewer"}, 3}, {"eve", []string{"viewer@risk"}, 1}, {"both", []string{"reader@*"}, 4}, {"none", nil, 0}} {
			list, err := e.Conditions(ctx, e.account(t, tt.name, tt.roles...), "", nil, pedigree.Page{Limit: 1000}, now)
			if err != nil {
				t.Fatal(err)
			}
			same(t, "for "+tt.name, len(list.Items), tt.want)
		}
	})
}

// TestManyConditions: pages of conditions come from more approvals than are read at a time.
func TestManyConditions(t *testing.T) {
	eachDatabase(t, func(t *testing.T, database string) {
		ctx, r := t.Context(), mustOpen(t, database)
		const many = 130
		r.mustPush(t, many)
		for n := pedigree.VersionNumber(1); n <= many; n++ {
			owner := "bob"
			if n%50 == 0 {
				owner = "eve"
			}
			if _, err := r.Approve(ctx, by("ann"), fraud(n), pedigree.Review{Conditions: []pedigree.Condition{{Note: "x", Owner: owner}}}); err != nil {
				t.Fatal(err)
			}
		}
		for owner, wanted := range map[string]int{"": many, "eve": 2, "bob": many - 2} {
			var owners []string
			if owner != "" {
				owners = append(owners, owner)
			}
			for _, limit := range []int{7, 64, 1000} {
				count, below := 0, pedigree.VersionNumber(many+1)
				for page := (pedigree.Page{Limit: limit}); ; {
					list, err := r.Conditions(ctx, me, "default", owners, page, now)
					if err != nil {
						t.Fatal(err)
					}
					for _, c := range list.Items {
						if c.Version >= below {
							t.Fatalf("fraud/%d after fraud/%d", c.Version, below)
						}
						below, count = c.Version, count+1
					}
					if page.Cursor = list.Next; page.Cursor == "" {
						break
					}
				}
				same(t, "of "+owner, count, wanted)
			}
		}
	})
}

// TestWithdraw: a version that was withdrawn is found by its number alone, also in questions
// about the past; who runs it is told, and it comes back.
func TestWithdraw(t *testing.T) {
	eachDatabase(t, func(t *testing.T, database string) {
		ctx, r := t.Context(), mustOpen(t, database)
		r.mustPush(t, 2)
		r.mustTarget(t, "prod/fraud", pedigree.TargetSpec{})
		r.mustDeploy(t, 2, "prod/fraud", pedigree.Deploy{})
		if _, err := r.SetAlias(ctx, me, fraud(2), "champion", nil, ""); err != nil {
			t.Fatal(err)
		}
		before := r.last(t)
		resolve := func(ref pedigree.Reference, at pedigree.At) error {
			_, err := r.Resolve(ctx, me, ref, at)
			return err
		}
		champion := pedigree.Reference{Project: "default", Model: "fraud", Alias: "champion"}
		want(t, "before", resolve(champion, now), "") // and is kept
		_, err := r.Withdraw(ctx, by("ann"), fraud(2), " ", "")
		mustRefuse(t, "without a reason", err, pedigree.CodeInvalid, "--reason")
		gone, err := r.Withdraw(ctx, by("ann"), fraud(2), "leak", "https://example.org/INC-1")
		if err != nil || len(gone.Running) != 1 || gone.Running[0].Target != "prod/fraud" || gone.Version.Withdrawn.Reason != "leak" || gone.Version.Withdrawn.Incident != "https://example.org/INC-1" || gone.Version.Withdrawn.By != "ann" {
			t.Errorf("withdrawn: %+v, %v", gone, err)
		}
		for _, at := range []pedigree.At{now, before} {
			mustRefuse(t, "by alias at "+at.String(), resolve(champion, at), pedigree.CodeRefused, "fraud/2 is withdrawn", "pedigree show fraud/2")
			mustRefuse(t, "the latest at "+at.String(), resolve(pedigree.Reference{Project: "default", Model: "fraud"}, at), pedigree.CodeRefused)
			want(t, "by number at "+at.String(), resolve(fraud(2), at), "")
			want(t, "another at "+at.String(), resolve(fraud(1), at), "")
		}
		same(t, "searched for", len(r.numbers(t, "withdrawn = true", "", 10, now)), 1)
		same(t, "searched for, before", len(r.numbers(t, "withdrawn = true", "", 10, before)), 0)
		if v, err := r.Version(ctx, me, fraud(2), before); err != nil || v.Withdrawn != nil {
			t.Errorf("before it was withdrawn: %+v, %v", v.Withdrawn, err)
		}
		head := r.last(t)
		if _, err := r.Withdraw(ctx, by("ann"), fraud(2), "again", ""); err != nil || *r.last(t).Seq != *head.Seq {
			t.Errorf("twice: %v", err)
		}
		_, err = r.RequestApproval(ctx, me, fraud(2), "")
		mustRefuse(t, "ask for it", err, pedigree.CodeRefused, "fraud/2 is withdrawn: leak", "pedigree restore fraud/2")
		_, err = r.Deploy(ctx, me, fraud(2), "prod/fraud", pedigree.Deploy{}, nil)
		mustRefuse(t, "deploy it", err, pedigree.CodeRefused, "withdrawn: fraud/2 is withdrawn: leak")
		_, err = r.Deploy(ctx, me, fraud(2), "prod/fraud", pedigree.Deploy{Overrides: []pedigree.Override{{Name: "withdrawn", Reason: "nothing else runs"}}}, nil)
		want(t, "deploy it all the same", err, "")

		if _, err := r.Withdraw(ctx, by("ann"), fraud(1), "leak", ""); err != nil {
			t.Fatal(err)
		}
		then := r.last(t)
		for _, at := range []pedigree.At{now, then} {
			same(t, "what was changed last", r.numbers(t, "", "updated_at DESC", 10, at)[0], 1)
		}
		if _, err := r.RestoreVersion(ctx, by("ann"), fraud(1), ""); err != nil {
			t.Fatal(err)
		}
		then = r.last(t)
		if _, err := r.EditVersion(ctx, me, fraud(2), pedigree.VersionEdit{Tags: map[string]string{pedigree.StageTag: pedigree.StagedArchived}}, nil); err != nil {
			t.Fatal(err)
		}
		same(t, "what was changed last then", r.numbers(t, "", "updated_at DESC", 10, then)[0], 1)

		v, err := r.RestoreVersion(ctx, by("ann"), fraud(2), "it was another")
		if err != nil || v.Withdrawn != nil {
			t.Errorf("restored: %+v, %v", v.Withdrawn, err)
		}
		want(t, "by alias again", resolve(champion, now), "")
		want(t, "by alias at the time before", resolve(champion, before), "")
		want(t, "by alias while it was withdrawn", resolve(champion, head), pedigree.CodeRefused)
	})
}

// TestWithdrawRights: restoring a version that was withdrawn asks for the right to withdraw.
func TestWithdrawRights(t *testing.T) {
	eachDatabase(t, func(t *testing.T, database string) {
		ctx := context.Background()
		e := mustEnable(t, mustOpen(t, database))
		dev, ann := e.account(t, "dev", "contributor"), e.account(t, "ann", "approver")
		want(t, "register", register(e.registry, dev, "default", "fraud"), "")
		restore := func(p pedigree.Principal) error {
			_, err := e.RestoreVersion(ctx, p, fraud(1), "")
			return err
		}
		_, err := e.Withdraw(ctx, dev, fraud(1), "leak", "")
		mustRefuse(t, "withdraw", err, pedigree.CodeForbidden)
		_, err = e.ArchiveVersion(ctx, dev, fraud(1), "")
		want(t, "archive", err, "")
		want(t, "restore what was archived", restore(dev), "")
		_, err = e.Withdraw(ctx, ann, fraud(1), "leak", "")
		want(t, "withdraw", err, "")
		mustRefuse(t, "restore what was withdrawn", restore(dev), pedigree.CodeForbidden)
		want(t, "restore what was withdrawn", restore(ann), "")
	})
}
