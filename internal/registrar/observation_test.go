package registrar_test

import (
	"crypto/rand"
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/internal/blob"
	"github.com/pedigree-ml/pedigree/internal/ledger"
	"github.com/pedigree-ml/pedigree/internal/registrar"
	"github.com/pedigree-ml/pedigree/internal/sqlstore"
)

// TestGoneInstances: an instance that hangs is shown as silent; one that was not seen for
// long is taken for gone, and comes back with its next word.
func TestGoneInstances(t *testing.T) {
	eachDatabase(t, func(t *testing.T, database string) {
		ctx := t.Context()
		later := time.Duration(0)
		now := func() time.Time { return time.Now().Add(later) }
		store, err := sqlstore.Open(ctx, sqlstore.Config{Database: database, Rand: rand.Reader, Log: slog.New(slog.NewTextHandler(io.Discard, nil)), Now: now})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = store.Close() })
		r, err := registrar.Open(ctx, registrar.Config{
			Store: store, Blobs: blob.NewMemory(), Now: now, NewID: newID, Rand: rand.Reader,
			Signer: func() (*ledger.Signer, error) { return ledger.NewSigner(testKey) },
		})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.CreateTarget(ctx, me, "default", "prod/api", pedigree.TargetSpec{Kind: pedigree.TargetOnline}); err != nil {
			t.Fatal(err)
		}
		observe := func(name string) {
			t.Helper()
			o := pedigree.Observation{Instance: name, Digest: pedigree.DigestBytes([]byte("a model"))}
			if _, err := r.Observe(ctx, me, "default", "prod/api", o); err != nil {
				t.Fatal(err)
			}
		}
		shown := func(instances, silent int) {
			t.Helper()
			s, err := r.TargetStatus(ctx, me, "default", "prod/api", pedigree.At{})
			if err != nil || len(s.Instances) != instances || s.Silent != silent {
				t.Errorf("after %s: %d instances, %d silent, %v; want %d and %d", later, len(s.Instances), s.Silent, err, instances, silent)
			}
		}
		observe("pod-1")
		later = 2 * time.Hour
		observe("pod-2")
		shown(2, 1)
		later = 25 * time.Hour
		shown(1, 1)
		if err := r.ForgetInstances(ctx); err != nil {
			t.Fatal(err)
		}
		observe("pod-1")
		shown(2, 1)
	})
}

// TestObserved: what an instance says is an event where it changes; the first that runs what
// waits to be seen makes it active; who lags and who is silent is counted.
func TestObserved(t *testing.T) {
	eachDatabase(t, func(t *testing.T, database string) {
		ctx, clock := t.Context(), time.Now()
		r := mustOpenClock(t, database, func() time.Time { return clock })
		r.mustPush(t, 2)
		r.mustTarget(t, "prod/fraud", pedigree.TargetSpec{Confirm: pedigree.ConfirmObservation, Alias: "production", SilentAfter: pedigree.Duration(time.Minute)})
		r.mustTarget(t, "prod/other", pedigree.TargetSpec{})
		observe := func(o pedigree.Observation) pedigree.TargetStatus {
			t.Helper()
			s, err := r.Observe(ctx, by("pod"), "default", "prod/fraud", o)
			if err != nil {
				t.Fatal(err)
			}
			return s
		}
		one := r.mustDeploy(t, 1, "prod/fraud", pedigree.Deploy{})
		same(t, "waits", r.timeline(t, "prod/fraud", now), "1 pending")
		observe(pedigree.Observation{Instance: "pod-1", Model: "fraud", Version: 2})
		same(t, "another version", r.timeline(t, "prod/fraud", now), "1 pending")
		s := observe(pedigree.Observation{Instance: "pod-2", Deployment: one.ID})
		same(t, "seen", r.timeline(t, "prod/fraud", now), "1 active")
		same(t, "alias", r.alias(t, "production"), 1)
		if s.Current == nil || s.Current.ActiveBy != "pod" || s.Lagging != 1 || s.Silent != 0 || len(s.Instances) != 2 || s.Instances[0].Matches || !s.Instances[1].Matches {
			t.Errorf("status: %+v", s)
		}
		head := r.last(t)
		clock = clock.Add(50 * time.Second)
		observe(pedigree.Observation{Instance: "pod-2", Deployment: one.ID})
		same(t, "the same again is no event", *r.last(t).Seq, *head.Seq)
		clock = clock.Add(11 * time.Second)
		s = observe(pedigree.Observation{Instance: "pod-2", Deployment: one.ID})
		if s.Silent != 1 || s.Lagging != 0 || !s.Instances[0].Silent || s.Instances[1].Silent {
			t.Errorf("who says nothing: %+v", s)
		}
		s = observe(pedigree.Observation{Instance: "pod-1", Digest: one.Digest})
		if s.Silent != 0 || s.Lagging != 0 || *r.last(t).Seq == *head.Seq {
			t.Errorf("by its bytes: %+v", s)
		}
		s = observe(pedigree.Observation{Instance: "pod-1", Model: "fraud", Version: 1, Digest: pedigree.DigestBytes([]byte("other"))})
		same(t, "the version with other bytes lags", s.Lagging, 1)

		r.mustDeploy(t, 2, "prod/fraud", pedigree.Deploy{})
		s, err := r.TargetStatus(ctx, me, "default", "prod/fraud", now)
		if err != nil || s.Pending == nil || s.Lagging != 2 {
			t.Errorf("what waits is desired: %+v, %v", s, err)
		}
		observe(pedigree.Observation{Instance: "pod-1", Model: "fraud", Version: 2})
		same(t, "seen", r.timeline(t, "prod/fraud", now), "2 active, 1 superseded")
		same(t, "alias", r.alias(t, "production"), 2)

		for _, tt := range []struct {
			what string
			o    pedigree.Observation
			code pedigree.ErrorCode
		}{
			{"an unknown model", pedigree.Observation{Instance: "pod-1", Model: "nothing", Version: 1}, pedigree.CodeNotFound},
			{"nobody", pedigree.Observation{Model: "fraud", Version: 1}, pedigree.CodeInvalid},
			{"nothing", pedigree.Observation{Instance: "pod-1"}, pedigree.CodeInvalid},
			{"no deployment", pedigree.Observation{Instance: "pod-1", Deployment: "fraud\x00"}, pedigree.CodeInvalid},
		} {
			_, err := r.Observe(ctx, by("pod"), "default", "prod/fraud", tt.o)
			want(t, tt.what, err, tt.code)
		}
		_, err = r.Observe(ctx, by("pod"), "default", "prod/nowhere", pedigree.Observation{Instance: "pod-1", Model: "fraud", Version: 1})
		want(t, "at no target", err, pedigree.CodeNotFound)
		then, err := r.TargetStatus(ctx, me, "default", "prod/fraud", head)
		if err != nil || then.Current.ID != one.ID || len(then.Instances) != 2 || then.Instances[0].Version != 2 {
			t.Errorf("as of then: %+v, %v", then, err)
		}
	})
}

// TestObserveTogether: of two servers that hear the same of one instance, one writes it.
func TestObserveTogether(t *testing.T) {
	eachPair(t, func(t *testing.T, pair []*registry) {
		r := pair[0]
		r.mustPush(t, 1)
		r.mustTarget(t, "prod/fraud", pedigree.TargetSpec{})
		head := r.last(t)
		together(8, func(i int) {
			if _, err := pair[i%2].Observe(t.Context(), by("pod"), "default", "prod/fraud", pedigree.Observation{Instance: "pod-1", Model: "fraud", Version: 1}); err != nil {
				t.Error(err)
			}
		})
		same(t, "events", *r.last(t).Seq, *head.Seq+1)
	})
}

// TestExecutions: a job runs what is active, its end is said once, and "which outputs did
// this version write" has an answer.
func TestExecutions(t *testing.T) {
	eachPair(t, func(t *testing.T, pair []*registry) {
		ctx, r := t.Context(), pair[0]
		r.mustPush(t, 2)
		r.mustTarget(t, "prod/fraud", pedigree.TargetSpec{Kind: pedigree.TargetBatch})
		_, err := r.StartExecution(ctx, me, "default", "prod/fraud", nil)
		mustRefuse(t, "nothing is deployed", err, pedigree.CodeRefused, "nothing is deployed at prod/fraud", "--to prod/fraud")
		d := r.mustDeploy(t, 1, "prod/fraud", pedigree.Deploy{})
		run, err := r.StartExecution(ctx, by("job"), "default", "prod/fraud", []pedigree.Output{{Name: "rows", URI: "s3://in"}})
		if err != nil || run.DeploymentID != d.ID || run.Version != 1 || run.Exit != nil || run.StartedBy != "job" || run.Target != "prod/fraud" {
			t.Fatalf("%+v, %v", run, err)
		}
		begun := r.last(t)
		r.mustDeploy(t, 2, "prod/fraud", pedigree.Deploy{})
		codes := make([]pedigree.ErrorCode, 4)
		together(len(codes), func(i int) {
			_, err := pair[i%2].FinishExecution(ctx, by("job"), run.ID, pedigree.ExecutionReport{Exit: i, Outputs: []pedigree.Output{{Name: "scores", URI: "s3://out"}}})
			codes[i] = pedigree.CodeOf(err)
		})
		var all []string
		for _, c := range codes {
			all = append(all, string(c))
		}
		same(t, "one of four says the end", strings.Count(strings.Join(all, " "), string(pedigree.CodeRefused)), 3)
		_, err = r.FinishExecution(ctx, me, "exe_nothing", pedigree.ExecutionReport{})
		want(t, "of no execution", err, pedigree.CodeNotFound)
		if _, err := r.StartExecution(ctx, by("job"), "default", "prod/fraud", nil); err != nil {
			t.Fatal(err)
		}
		ref := fraud(1)
		list, err := r.Executions(ctx, me, "default", "", &ref, pedigree.Page{}, now)
		if err != nil || len(list.Items) != 1 || list.Items[0].Exit == nil || list.Items[0].Outputs[0].URI != "s3://out" || len(list.Items[0].Inputs) != 1 {
			t.Errorf("of version 1: %+v, %v", list.Items, err)
		}
		first, err := r.Executions(ctx, me, "default", "prod/fraud", nil, pedigree.Page{Limit: 1}, now)
		if err != nil || len(first.Items) != 1 || first.Items[0].Version != 2 {
			t.Fatalf("of the target: %+v, %v", first.Items, err)
		}
		second, err := r.Executions(ctx, me, "default", "prod/fraud", nil, pedigree.Page{Limit: 1, Cursor: first.Next}, now)
		if err != nil || len(second.Items) != 1 || second.Items[0].ID != run.ID || second.Next != "" {
			t.Errorf("and before: %+v, %v", second.Items, err)
		}
		list, err = r.Executions(ctx, me, "default", "prod/fraud", nil, pedigree.Page{}, begun)
		if err != nil || len(list.Items) != 1 || list.Items[0].Exit != nil {
			t.Errorf("as of its beginning: %+v, %v", list.Items, err)
		}
	})
}
