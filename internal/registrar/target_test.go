package registrar_test

import (
	"strings"
	"testing"

	"github.com/pedigree-ml/pedigree"
)

// TestTargets: a target is made, changed by who has seen it as it is, deleted and made
// again; every moment of it can be read.
func TestTargets(t *testing.T) {
	eachDatabase(t, func(t *testing.T, database string) {
		ctx, r := t.Context(), mustOpen(t, database)
		spec := pedigree.TargetSpec{
			Kind: pedigree.TargetOnline, Owner: "team:risk", Alias: "production", Dashboards: []pedigree.SafeURI{"https://example.org/d"},
			LogSchema: []byte(`{"properties": {"request": {"type": "object"}}}`),
		}
		made := r.mustTarget(t, "prod/fraud", spec)
		if made.Changed != made.Seq || made.Confirm != pedigree.ConfirmNone || made.Owner != "team:risk" || made.CreatedBy != "local" {
			t.Errorf("made: %+v", made)
		}
		_, err := r.CreateTarget(ctx, me, "default", "prod/fraud", spec)
		mustRefuse(t, "again", err, pedigree.CodeExists, "target prod/fraud exists", "pedigree target edit prod/fraud")
		_, err = r.CreateTarget(ctx, me, "nowhere", "prod/fraud", spec)
		mustRefuse(t, "in no project", err, pedigree.CodeNotFound)
		_, err = r.CreateTarget(ctx, me, "default", "prod/x", pedigree.TargetSpec{Kind: "cloud"})
		mustRefuse(t, "of no kind", err, pedigree.CodeInvalid, "online, batch, managed or edge")
		_, err = r.CreateTarget(ctx, me, "default", "prod", spec)
		mustRefuse(t, "without an environment", err, pedigree.CodeInvalid)

		first := r.last(t)
		edit := func(owner string, ifMatch *int64) (pedigree.Target, error) {
			return r.EditTarget(ctx, by("bob"), "default", "prod/fraud", func(s *pedigree.TargetSpec) error { s.Owner, s.Alias = owner, ""; return nil }, ifMatch)
		}
		edited, err := edit("team:fraud", &made.Changed)
		if err != nil || edited.Owner != "team:fraud" || edited.Alias != "" || len(edited.Dashboards) != 1 || edited.Changed <= made.Changed {
			t.Errorf("edited: %+v, %v", edited, err)
		}
		_, err = edit("team:late", &made.Changed)
		mustRefuse(t, "by who has seen an older one", err, pedigree.CodePrecondition)
		again, err := edit("team:fraud", nil)
		if err != nil || again.Changed != edited.Changed {
			t.Errorf("without a change: %+v, %v", again, err)
		}
		if then, err := r.Target(ctx, me, "default", "prod/fraud", first); err != nil || then.Owner != "team:risk" || then.Alias != "production" || then.Changed != made.Changed {
			t.Errorf("as of the first: %+v, %v", then, err)
		}
		// What is deployed at a target changes it, what is seen there does not.
		r.mustPush(t, 1)
		r.mustDeploy(t, 1, "prod/fraud", pedigree.Deploy{})
		deployed, err := r.Target(ctx, me, "default", "prod/fraud", now)
		if err != nil || deployed.Changed <= edited.Changed {
			t.Errorf("deployed to: %+v, %v", deployed, err)
		}
		if _, err := r.Observe(ctx, me, "default", "prod/fraud", pedigree.Observation{Instance: "pod-1", Model: "fraud", Version: 1}); err != nil {
			t.Fatal(err)
		}
		for _, at := range []pedigree.At{now, r.last(t)} {
			if seen, err := r.Target(ctx, me, "default", "prod/fraud", at); err != nil || seen.Changed != deployed.Changed {
				t.Errorf("seen, at %q: changed is %d, %v, want %d", at, seen.Changed, err, deployed.Changed)
			}
		}
		list, err := r.Timeline(ctx, me, "default", "prod/fraud", pedigree.Page{}, now)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.EndDeployment(ctx, me, list.Items[0].ID, ""); err != nil {
			t.Fatal(err)
		}
		before := r.last(t)
		want(t, "delete", r.DeleteTarget(ctx, me, "default", "prod/fraud", "moved"), "")
		_, err = r.Target(ctx, me, "default", "prod/fraud", now)
		mustRefuse(t, "deleted", err, pedigree.CodeNotFound)
		if then, err := r.Target(ctx, me, "default", "prod/fraud", before); err != nil || then.Deleted || then.ID != made.ID {
			t.Errorf("before it was deleted: %+v, %v", then, err)
		}
		new := r.mustTarget(t, "prod/fraud", pedigree.TargetSpec{Kind: pedigree.TargetBatch})
		if new.ID == made.ID || new.Owner != "" || r.timeline(t, "prod/fraud", now) != "" {
			t.Errorf("made again: %+v, %s", new, r.timeline(t, "prod/fraud", now))
		}
		same(t, "the old one's deployments", r.timeline(t, "prod/fraud", before), "1 ended")
	})
}

// TestTargetList lists targets by name, by pages, as of any moment.
func TestTargetList(t *testing.T) {
	eachDatabase(t, func(t *testing.T, database string) {
		ctx, r := t.Context(), mustOpen(t, database)
		for _, name := range []pedigree.TargetName{"prod/b", "dev/z", "prod/a", "prod/B"} {
			r.mustTarget(t, name, pedigree.TargetSpec{})
		}
		four := r.last(t)
		if err := r.DeleteTarget(ctx, me, "default", "prod/a", ""); err != nil {
			t.Fatal(err)
		}
		names := func(limit int, at pedigree.At) string {
			t.Helper()
			var out []string
			page := pedigree.Page{Limit: limit}
			for {
				list, err := r.Targets(ctx, me, "default", page, at)
				if err != nil {
					t.Fatal(err)
				}
				for _, s := range list.Items {
					out = append(out, string(s.Target.Name))
				}
				if page.Cursor = list.Next; page.Cursor == "" {
					return strings.Join(out, " ")
				}
			}
		}
		for _, limit := range []int{1, 2, 3, 100} {
			same(t, "now", names(limit, now), "dev/z prod/B prod/b")
			same(t, "then", names(limit, four), "dev/z prod/B prod/a prod/b")
		}
	})
}

// TestTargetSchema: a version whose signature can't fill the log schema of a target is not
// deployed there.
func TestTargetSchema(t *testing.T) {
	eachDatabase(t, func(t *testing.T, database string) {
		ctx, r := t.Context(), mustOpen(t, database)
		r.mustPush(t, 1)
		r.mustTarget(t, "prod/fraud", pedigree.TargetSpec{LogSchema: []byte(`{"properties":{"request":{"required":["amount"]}}}`)})
		_, err := r.Deploy(ctx, me, fraud(1), "prod/fraud", pedigree.Deploy{}, nil)
		mustRefuse(t, "without a signature", err, pedigree.CodeRefused, "schema: fraud/1 can't fill the log schema of prod/fraud", "amount", "pedigree amend fraud/1")
		if _, err := r.Amend(ctx, me, fraud(1), pedigree.Amend{Record: pedigree.Record{Signature: &pedigree.Signature{Inputs: []pedigree.Column{{Name: "amount", Type: "double"}}}}}, nil); err != nil {
			t.Fatal(err)
		}
		_, err = r.Deploy(ctx, me, fraud(1), "prod/fraud", pedigree.Deploy{}, nil)
		want(t, "with one", err, "")
	})
}
