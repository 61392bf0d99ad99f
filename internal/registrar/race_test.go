package registrar_test

import (
	"context"
	"sync"
	"testing"

	"github.com/pedigree-ml/pedigree"
)

// together calls f from n goroutines at the same time.
func together(n int, f func(i int)) {
	var wg sync.WaitGroup
	begin := make(chan struct{})
	for i := range n {
		wg.Go(func() { <-begin; f(i) })
	}
	close(begin)
	wg.Wait()
}

// TestSameKey: one idempotency key, sixteen calls at once: one version, one answer.
func TestSameKey(t *testing.T) {
	eachDatabase(t, func(t *testing.T, database string) {
		r := mustOpen(t, database)
		caller := pedigree.Principal{ID: "local", IdempotencyKey: "k1", Fingerprint: "f"}
		var mu sync.Mutex
		digests := map[pedigree.Digest]int{}
		together(16, func(int) {
			out, err := r.Register(context.Background(), caller, "default", "fraud", pedigree.Registration{CreateModel: true, Tags: map[string]string{"a": "b"}})
			if err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			digests[out.RecordDigest]++
			if out.Number != 1 || !out.CreatedModel || out.Tags["a"] != "b" || out.CreatedBy != "local" || len(out.Completeness) != 3 {
				t.Errorf("got %+v", out)
			}
		})
		if len(digests) != 1 {
			t.Errorf("%d different answers", len(digests))
		}
		list, err := r.Search(context.Background(), me, "default", "", "", pedigree.Page{}, pedigree.At{})
		if err != nil || len(list.Items) != 1 {
			t.Errorf("%d versions, %v; want one", len(list.Items), err)
		}
		r.verify(t)
	})
}

// TestSameName: sixteen registrations that make one model make one model, and give the
// numbers 1 to 16.
func TestSameName(t *testing.T) {
	eachDatabase(t, func(t *testing.T, database string) {
		r := mustOpen(t, database)
		var mu sync.Mutex
		numbers, created := map[pedigree.VersionNumber]bool{}, 0
		together(16, func(int) {
			out, err := r.Register(context.Background(), me, "default", "fraud", pedigree.Registration{CreateModel: true})
			if err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			numbers[out.Number] = true
			if out.CreatedModel {
				created++
			}
		})
		if len(numbers) != 16 || created != 1 {
			t.Errorf("%d numbers and %d models, want 16 and 1", len(numbers), created)
		}
	})
}

// TestCompareAndSwap: of sixteen moves from one version, one wins; the losers are told
// what is there.
func TestCompareAndSwap(t *testing.T) {
	eachDatabase(t, func(t *testing.T, database string) {
		r := mustOpen(t, database)
		ctx := context.Background()
		for range 3 {
			if _, err := r.Register(ctx, me, "default", "fraud", pedigree.Registration{CreateModel: true}); err != nil {
				t.Fatal(err)
			}
		}
		ref := pedigree.Reference{Project: "default", Model: "fraud", Version: 1}
		if _, err := r.SetAlias(ctx, me, ref, "production", nil, ""); err != nil {
			t.Fatal(err)
		}
		one := pedigree.VersionNumber(1)
		var mu sync.Mutex
		won, lost := 0, 0
		together(16, func(i int) {
			to := ref
			to.Version = pedigree.VersionNumber(2 + i%2)
			_, err := r.SetAlias(ctx, me, to, "production", &one, "")
			mu.Lock()
			defer mu.Unlock()
			e, _ := err.(*pedigree.Error)
			switch {
			case err == nil:
				won++
			case e != nil && e.Code == pedigree.CodeConflict && (e.Current == "fraud@production is fraud/2" || e.Current == "fraud@production is fraud/3"):
				lost++
			default:
				t.Error(err)
			}
		})
		if won != 1 || lost != 15 {
			t.Errorf("%d won and %d lost, want 1 and 15", won, lost)
		}
	})
}

// TestDeleteAgainstAlias: a model is deleted only while no alias names a version, and
// none can be set once it is: whoever comes first, both hold.
func TestDeleteAgainstAlias(t *testing.T) {
	eachDatabase(t, func(t *testing.T, database string) {
		r := mustOpen(t, database)
		ctx := context.Background()
		for round := range 8 {
			if _, err := r.Register(ctx, me, "default", "fraud", pedigree.Registration{CreateModel: true}); err != nil {
				t.Fatal(err)
			}
			var deleted, set error
			together(2, func(i int) {
				if i == 0 {
					deleted = r.DeleteModel(ctx, me, "default", "fraud", "", false, nil)
				} else {
					_, set = r.SetAlias(ctx, me, pedigree.Reference{Project: "default", Model: "fraud"}, "a", nil, "")
				}
			})
			if (deleted == nil) == (set == nil) {
				t.Fatalf("round %d: delete says %v, set says %v: want exactly one to happen", round, deleted, set)
			}
			if deleted != nil {
				if err := r.DeleteModel(ctx, me, "default", "fraud", "", true, nil); err != nil {
					t.Fatal(err)
				}
			}
		}
	})
}

// TestRenameAgainstAlias: into a name under which an alias is tied to a target, no rename takes
// one along that is set at the same moment: whoever comes first, the gates hold.
func TestRenameAgainstAlias(t *testing.T) {
	eachDatabase(t, func(t *testing.T, database string) {
		r := mustOpen(t, database)
		ctx := context.Background()
		r.mustPush(t, 1)
		r.mustTarget(t, "prod/fraud", pedigree.TargetSpec{Alias: "production"})
		r.mustDeploy(t, 1, "prod/fraud", pedigree.Deploy{})
		if _, err := r.RenameModel(ctx, me, "default", "fraud", "gone", nil); err != nil {
			t.Fatal(err)
		}
		for round := range 8 {
			if err := register(r, me, "default", "new"); err != nil {
				t.Fatal(err)
			}
			var renamed, set error
			together(2, func(i int) {
				if i == 0 {
					_, renamed = r.RenameModel(ctx, me, "default", "new", "fraud", nil)
				} else {
					_, set = r.SetAlias(ctx, me, pedigree.Reference{Project: "default", Model: "new", Version: 1}, "production", nil, "")
				}
			})
			if (renamed == nil) == (set == nil) {
				t.Fatalf("round %d: rename says %v, set says %v: want exactly one to happen", round, renamed, set)
			}
			name := pedigree.Name("new")
			if renamed == nil {
				name = "fraud"
			}
			if err := r.DeleteModel(ctx, me, "default", name, "", true, nil); err != nil {
				t.Fatal(err)
			}
		}
	})
}
