package registrar_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/internal/registrar"
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

// TestDecidedOnce: what happens between a decision to deploy and its append makes it be decided
// again where the decision rests on it, and only there.
func TestDecidedOnce(t *testing.T) {
	ctx := context.Background()
	deploy := func(n pedigree.VersionNumber, target pedigree.TargetName) func(r *registry) error {
		return func(r *registry) error {
			_, err := r.Deploy(ctx, me, fraud(n), target, pedigree.Deploy{}, nil)
			return err
		}
	}
	back := func(target pedigree.TargetName) func(r *registry) error {
		return func(r *registry) error {
			_, err := r.Rollback(ctx, me, "default", target, pedigree.Rollback{Reason: "it rejects everybody"})
			return err
		}
	}
	move := func(alias pedigree.Alias, n pedigree.VersionNumber) func(r *registry) error {
		return func(r *registry) error {
			_, err := r.SetAlias(ctx, me, fraud(n), alias, nil, "")
			return err
		}
	}
	named := func(r *registry) error {
		_, err := r.Deploy(ctx, me, pedigree.Reference{Project: "default", Model: "fraud", Alias: "candidate"}, "prod/a", pedigree.Deploy{}, nil)
		return err
	}
	amend := func(r *registry) error {
		_, err := r.Amend(ctx, me, fraud(1), pedigree.Amend{Record: pedigree.Record{Owner: "team:another"}}, nil)
		return err
	}
	approve := func(r *registry) error {
		_, err := r.Approve(ctx, by("ann"), fraud(1), pedigree.Review{})
		return err
	}
	policy := func(r *registry) error {
		_, _, err := r.ApplyPolicy(ctx, me, pedigree.Policy{Project: "default"}, false)
		return err
	}
	retarget := func(r *registry) error {
		_, err := r.EditTarget(ctx, me, "default", "prod/a", func(spec *pedigree.TargetSpec) error {
			spec.Runbook = "https://wiki.example.com/a"
			return nil
		}, nil)
		return err
	}
	for name, tt := range map[string]struct {
		first, meanwhile func(r *registry) error
		decisions        int
	}{
		"deploy, and a deployment elsewhere":                   {deploy(1, "prod/a"), deploy(2, "prod/b"), 1},
		"deploy, and a rollback elsewhere":                     {deploy(1, "prod/a"), back("prod/b"), 1},
		"deploy, and an alias that it did not read":            {deploy(1, "prod/a"), move("other", 1), 1},
		"deploy, and another version":                          {deploy(2, "prod/a"), amend, 1},
		"deploy, and a deployment there":                       {deploy(1, "prod/a"), deploy(2, "prod/a"), 2},
		"deploy, and the alias that named the version":         {named, move("candidate", 2), 2},
		"deploy, and an amendment of the version":              {deploy(1, "prod/a"), amend, 2},
		"deploy, and an approval of the version":               {deploy(1, "prod/a"), approve, 2},
		"deploy, and a policy":                                 {deploy(1, "prod/a"), policy, 2},
		"deploy, and the target":                               {deploy(1, "prod/a"), retarget, 2},
		"roll back, and a deployment elsewhere":                {back("prod/a"), deploy(2, "prod/b"), 1},
		"roll back, and a rollback elsewhere":                  {back("prod/a"), back("prod/b"), 1},
		"roll back, and an alias that it did not read":         {back("prod/a"), move("other", 2), 1},
		"roll back, and a deployment there":                    {back("prod/a"), deploy(1, "prod/a"), 2},
		"roll back, and an amendment of what comes back":       {back("prod/a"), amend, 2},
		"move a tied alias, and a deployment elsewhere":        {move("a", 1), deploy(2, "prod/b"), 1},
		"move a tied alias, and a tied alias elsewhere":        {move("a", 1), move("b", 1), 1},
		"move a tied alias, and a deployment there":            {move("a", 1), deploy(1, "prod/a"), 1},
		"move a tied alias, and a deployment of another there": {move("a", 1), deploy(2, "prod/a"), 2},
	} {
		t.Run(name, func(t *testing.T) {
			eachDatabase(t, func(t *testing.T, database string) {
				var r *registry
				decisions, counts := 0, false
				r = mustOpenConfig(t, database, testKey, registrar.Config{NewID: func(prefix string) string {
					if counts && prefix == "dep" {
						if decisions++; decisions == 1 {
							counts = false
							if err := tt.meanwhile(r); err != nil {
								t.Error(err)
							}
							counts = true
						}
					}
					return newID(prefix)
				}})
				r.mustPush(t, 2)
				for _, name := range []pedigree.Alias{"a", "b"} {
					target := pedigree.TargetName("prod/" + name)
					r.mustTarget(t, target, pedigree.TargetSpec{Alias: name})
					r.mustDeploy(t, 1, target, pedigree.Deploy{})
					r.mustDeploy(t, 2, target, pedigree.Deploy{})
				}
				want(t, "candidate", move("candidate", 1)(r), "")
				counts = true
				want(t, "the first", tt.first(r), "")
				if decisions != tt.decisions {
					t.Errorf("it was decided %d times, want %d", decisions, tt.decisions)
				}
				r.verify(t)
			})
		})
	}
}

// TestHideAgainstAlias: a version is archived, or deleted, only while no alias names it, and
// none can be set once it is: whoever comes first, both hold.
func TestHideAgainstAlias(t *testing.T) {
	for name, hide := range map[string]func(r *registry, n pedigree.VersionNumber) error{
		"archive": func(r *registry, n pedigree.VersionNumber) error {
			_, err := r.ArchiveVersion(context.Background(), me, fraud(n), "")
			return err
		},
		"delete": func(r *registry, n pedigree.VersionNumber) error {
			_, err := r.DeleteVersion(context.Background(), me, fraud(n), "", false, nil)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			eachDatabase(t, func(t *testing.T, database string) {
				r := mustOpen(t, database)
				const rounds = 8
				r.mustPush(t, rounds)
				for n := range pedigree.VersionNumber(rounds) {
					var hidden, set error
					together(2, func(i int) {
						if i == 0 {
							hidden = hide(r, n+1)
						} else {
							_, set = r.SetAlias(context.Background(), me, fraud(n+1), pedigree.Alias("a"), nil, "")
						}
					})
					if (hidden == nil) == (set == nil) {
						t.Fatalf("version %d: hiding says %v, the alias says %v: want exactly one to happen", n+1, hidden, set)
					}
				}
				r.verify(t)
			})
		})
	}
}

// TestTurns: of those who deploy to one target at once, one wins at a time. The others decide
// one after the other, and not all again whenever one has: for each call that went through, at
// most one that had not lost yet, and at most one whose turn it was, decided in vain.
func TestTurns(t *testing.T) {
	eachDatabase(t, func(t *testing.T, database string) {
		const callers = 24
		var decisions atomic.Int64
		r := mustOpenConfig(t, database, testKey, registrar.Config{NewID: func(prefix string) string {
			if prefix == "dep" {
				decisions.Add(1)
			}
			return newID(prefix)
		}})
		r.mustPush(t, 2)
		r.mustTarget(t, "prod/fraud", pedigree.TargetSpec{Alias: "production"})
		together(callers, func(i int) {
			if _, err := r.Deploy(context.Background(), me, fraud(pedigree.VersionNumber(1+i%2)), "prod/fraud", pedigree.Deploy{}, nil); err != nil {
				t.Error(err)
			}
		})
		if n := decisions.Load(); n > 2*callers {
			t.Errorf("%d decisions for %d deployments, want at most %d", n, callers, 2*callers)
		}
		r.verify(t)
	})
}
