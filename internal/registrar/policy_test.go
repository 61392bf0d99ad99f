package registrar_test

import (
	"strings"
	"testing"

	"github.com/pedigree-ml/pedigree"
)

// TestPolicies: a policy is applied, read as of any moment, changed, tried and removed; the
// instance's is a floor under that of the project.
func TestPolicies(t *testing.T) {
	eachDatabase(t, func(t *testing.T, database string) {
		ctx, r := t.Context(), mustOpen(t, database)
		_, err := r.Policy(ctx, me, "default", now)
		mustRefuse(t, "none", err, pedigree.CodeNotFound, "project default has no policy", "pedigree policy apply -f FILE -p default")
		_, err = r.Policy(ctx, me, "", now)
		mustRefuse(t, "none of the instance", err, pedigree.CodeNotFound, "the instance has no policy", "--instance")
		_, err = r.Policy(ctx, me, "nowhere", now)
		mustRefuse(t, "no such project", err, pedigree.CodeNotFound)
		mustRefuse(t, "remove none", r.RemovePolicy(ctx, me, "default", ""), pedigree.CodeNotFound, "has no policy")

		first := pedigree.Policy{Project: "default", Description: "as the bank asks", Gates: []pedigree.Gate{{Name: "auc", Expr: "metrics.auc > 0.9"}}}
		apply := func(p pedigree.Policy, dry, changes bool) pedigree.Policy {
			t.Helper()
			out, changed, err := r.ApplyPolicy(ctx, by("boss"), p, dry)
			if err != nil || changed != changes {
				t.Errorf("apply: changed is %v, %v, want %v", changed, err, changes)
			}
			return out
		}
		apply(first, true, true)
		_, err = r.Policy(ctx, me, "default", now)
		want(t, "after it was only tried", err, pedigree.CodeNotFound)
		got := apply(first, false, true)
		if got.Seq != *r.last(t).Seq || got.AppliedBy != "boss" || got.Description != first.Description || len(got.Gates) != 1 {
			t.Errorf("applied: %+v", got)
		}
		one := r.last(t)
		apply(first, false, false)
		apply(first, true, false)
		same(t, "nothing was written", *r.last(t).Seq, *one.Seq)
		second := first
		second.Gates = append(second.Gates, pedigree.Gate{Name: "owner", Expr: `owner != ""`})
		apply(second, false, true)
		if p, err := r.Policy(ctx, me, "default", one); err != nil || len(p.Gates) != 1 || p.Seq != *one.Seq {
			t.Errorf("as of the first: %+v, %v", p, err)
		}
		broken := pedigree.Policy{Project: "default", Gates: []pedigree.Gate{{Name: "auc", Expr: "metrics.auc >"}}}
		_, _, err = r.ApplyPolicy(ctx, me, broken, false)
		mustRefuse(t, "a broken expression", err, pedigree.CodeInvalid, `gate "auc"`, "line 1")
		_, _, err = r.ApplyPolicy(ctx, me, pedigree.Policy{Project: "nowhere"}, false)
		mustRefuse(t, "for no project", err, pedigree.CodeNotFound)

		r.mustPush(t, 1)
		r.mustTarget(t, "prod/fraud", pedigree.TargetSpec{})
		checks := func(at pedigree.At) string {
			t.Helper()
			d, err := r.TestPolicy(ctx, me, fraud(1), "prod/fraud", pedigree.Deploy{}, at)
			if err != nil {
				t.Fatal(err)
			}
			var out []string
			for _, c := range d.Checks {
				out = append(out, c.Name)
			}
			return strings.Join(out, " ")
		}
		same(t, "of the project", checks(now), "auc owner")
		apply(pedigree.Policy{Gates: []pedigree.Gate{{Name: "auc", Expr: "metrics.auc > 0.1"}}}, false, true)
		both := r.last(t)
		same(t, "and of the instance", checks(now), "instance/auc auc owner")
		if err := r.RemovePolicy(ctx, me, "default", "too much"); err != nil {
			t.Fatal(err)
		}
		same(t, "of the instance alone", checks(now), "instance/auc")
		same(t, "as of before", checks(both), "instance/auc auc owner")
		_, err = r.Policy(ctx, me, "default", now)
		want(t, "removed", err, pedigree.CodeNotFound)
		want(t, "remove the instance's", r.RemovePolicy(ctx, me, "", ""), "")
		same(t, "of nobody", checks(now), "")
		_, err = r.TestPolicy(ctx, me, fraud(1), "prod/nothing", pedigree.Deploy{}, now)
		want(t, "test at no target", err, pedigree.CodeNotFound)
		_, err = r.TestPolicy(ctx, me, fraud(1), "prod/fraud", pedigree.Deploy{Role: "main"}, now)
		want(t, "test in no role", err, pedigree.CodeInvalid)
	})
}

// TestPolicyErased: a description that was erased is gone, though policies are kept in
// memory; and it can be said anew.
func TestPolicyErased(t *testing.T) {
	eachDatabase(t, func(t *testing.T, database string) {
		ctx, r := t.Context(), mustOpen(t, database)
		p := pedigree.Policy{Project: "default", Description: "Ann Example asked for it", Gates: []pedigree.Gate{{Name: "auc", Expr: "true"}}}
		r.mustPolicy(t, p)
		read := func() string {
			t.Helper()
			got, err := r.Policy(ctx, me, "default", now)
			if err != nil || len(got.Gates) != 1 {
				t.Fatalf("%+v, %v", got, err)
			}
			return got.Description
		}
		same(t, "before", read(), p.Description)
		_, err := r.Redact(ctx, me, *r.last(t).Seq, []string{"gates"}, "asked to")
		mustRefuse(t, "erase the gates", err, pedigree.CodeRefused)
		if _, err := r.Redact(ctx, me, *r.last(t).Seq, []string{"description"}, "asked to"); err != nil {
			t.Fatal(err)
		}
		same(t, "erased", read(), "")
		r.mustPolicy(t, p)
		same(t, "said anew", read(), p.Description)
	})
}
