package registrar_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/internal/sqlstore"
)

// TestRecall: a server that remembers what another has changed since decides by what is
// true. Each row changes something on one server; the other has registered before.
func TestRecall(t *testing.T) {
	fraud := func(r *registry) (pedigree.Registered, error) {
		return r.Register(context.Background(), me, "default", "fraud", pedigree.Registration{})
	}
	for name, row := range map[string]struct {
		change func(ctx context.Context, r *registry) error
		code   pedigree.ErrorCode
		number pedigree.VersionNumber
		// undecided says that a version without an approval is complete in this.
		undecided bool
	}{
		"nothing": {func(context.Context, *registry) error { return nil }, "", 2, true},
		"the model is deleted": {func(ctx context.Context, r *registry) error {
			return r.DeleteModel(ctx, me, "default", "fraud", "gone", false, nil)
		}, pedigree.CodeNotFound, 0, true},
		"the model has another name": {func(ctx context.Context, r *registry) error {
			_, err := r.RenameModel(ctx, me, "default", "fraud", "risk", nil)
			return err
		}, pedigree.CodeNotFound, 0, true},
		"another model has the name": {func(ctx context.Context, r *registry) error {
			if err := r.DeleteModel(ctx, me, "default", "fraud", "gone", false, nil); err != nil {
				return err
			}
			_, err := r.CreateModel(ctx, me, "default", "fraud", pedigree.ModelEdit{})
			return err
		}, "", 1, true},
		"a policy asks for approvals": {func(ctx context.Context, r *registry) error {
			_, _, err := r.ApplyPolicy(ctx, me, pedigree.Policy{Project: "default", Approvals: &pedigree.ApprovalRule{Count: 1, Role: pedigree.Approver}}, false)
			return err
		}, "", 2, false},
	} {
		t.Run(name, func(t *testing.T) {
			eachDatabase(t, func(t *testing.T, database string) {
				ctx := context.Background()
				one, two := mustOpen(t, database), mustOpen(t, database)
				if _, err := one.CreateModel(ctx, me, "default", "fraud", pedigree.ModelEdit{}); err != nil {
					t.Fatal(err)
				}
				if _, err := fraud(two); err != nil {
					t.Fatal(err)
				}
				if err := row.change(ctx, one); err != nil {
					t.Fatal(err)
				}
				got, err := fraud(two)
				if pedigree.CodeOf(err) != row.code || got.Number != row.number {
					t.Fatalf("got version %d and %v, want version %d and %q", got.Number, err, row.number, row.code)
				}
				counted := err == nil && !slices.ContainsFunc(got.Completeness, func(c pedigree.Completeness) bool {
					return slices.ContainsFunc(c.Missing, func(g pedigree.Gap) bool { return g.Field == "approval" })
				})
				if err == nil && counted != row.undecided {
					t.Errorf("completeness %v, want the approval counted: %v", got.Completeness, row.undecided)
				}
				two.verify(t)
			})
		})
	}
}

// TestRecalled: what was read once is answered without the database, and nothing else is.
func TestRecalled(t *testing.T) {
	eachDatabase(t, func(t *testing.T, database string) {
		ctx := context.Background()
		r := mustOpen(t, database)
		want(t, "a first version", register(r, me, "default", "fraud"), "")
		want(t, "a second version", register(r, me, "default", "fraud"), "")
		tx := r.store.Recall()
		project, err := tx.ProjectID(ctx, "default")
		if err != nil {
			t.Fatal(err)
		}
		id, err := tx.ModelID(ctx, project, "fraud")
		if err != nil || id == "" {
			t.Errorf("the model: got %q, %v", id, err)
		}
		if _, err := tx.Policies(ctx, project, "default"); err != nil {
			t.Errorf("the policies: %v", err)
		}
		if len(tx.Checks()) != 3 {
			t.Errorf("it rests on %v, want the name and two policies", tx.Checks())
		}
		if _, err := tx.ModelID(ctx, project, "other"); !errors.Is(err, sqlstore.ErrForgotten) {
			t.Errorf("a model that nobody asked for: got %v", err)
		}
		if _, err := tx.Version(ctx, "default", "fraud", id, 1); !errors.Is(err, sqlstore.ErrForgotten) {
			t.Errorf("a version: got %v", err)
		}
	})
}
