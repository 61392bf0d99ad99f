package sqlstore

import (
	"context"
	"testing"
	"time"

	"github.com/pedigree-ml/pedigree"
)

// TestLease: one of two has a job, until it gives it back or is silent for too long.
func TestLease(t *testing.T) {
	eachDatabase(t, func(t *testing.T, database string) {
		ctx, s := t.Context(), mustOpen(t, database)
		mustBegin(t, s)
		take := func(owner string, d time.Duration, want bool) {
			t.Helper()
			if held, err := s.Lease(ctx, "job", owner, d); err != nil || held != want {
				t.Errorf("%s has the job: %v, %v, want %v", owner, held, err, want)
			}
		}
		take("a", time.Hour, true)
		take("b", time.Hour, false)
		take("a", time.Hour, true)
		if err := s.Release(ctx, "job", "b"); err != nil { // not b's to give
			t.Fatal(err)
		}
		take("b", time.Hour, false)
		if err := s.Release(ctx, "job", "a"); err != nil {
			t.Fatal(err)
		}
		take("b", time.Millisecond, true)
		time.Sleep(5 * time.Millisecond)
		take("a", time.Hour, true)
		take("b", time.Hour, false)
	})
}

// TestForgetHeartbeats: what was seen long ago, and all of a target that is no more, goes.
func TestForgetHeartbeats(t *testing.T) {
	eachDatabase(t, func(t *testing.T, database string) {
		ctx, s := t.Context(), mustOpen(t, database)
		project, _ := mustBegin(t, s)
		for id, name := range map[string]string{"tgt_1": "prod/a", "tgt_2": "prod/b"} {
			mustAppend(t, s, pedigree.Draft{Type: pedigree.TargetCreated, Subject: id, Payload: pedigree.Payload{"project": project, "name": name, "kind": "online"}})
			found, err := KeepReadiness(id, pedigree.Readiness{})
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Keep(ctx, found); err != nil {
				t.Fatal(err)
			}
			now := s.now
			for instance, age := range map[string]time.Duration{"old": 48 * time.Hour, "new": 0} {
				s.now = func() time.Time { return now().Add(-age) }
				if err := s.Heartbeat(ctx, id, instance); err != nil {
					t.Fatal(err)
				}
			}
			s.now = now
		}
		left := func(want ...int) {
			t.Helper()
			for k, query := range []string{"SELECT count(*) FROM own_heartbeats WHERE target = 'tgt_1'", "SELECT count(*) FROM own_heartbeats WHERE target = 'tgt_2'", "SELECT count(*) FROM own_readiness"} {
				var n int
				if err := s.Read(ctx, pedigree.At{}, func(tx *Tx) error { return tx.row(context.Background(), query, nil, &n) }); err != nil {
					t.Fatal(err)
				}
				if n != want[k] {
					t.Errorf("%s: %d, want %d", query, n, want[k])
				}
			}
		}
		left(2, 2, 2)
		yesterday := time.Now().Add(-24 * time.Hour)
		if err := s.ForgetHeartbeats(ctx, map[string]time.Time{"tgt_1": yesterday}); err != nil {
			t.Fatal(err)
		}
		left(1, 2, 2)
		deleted := pedigree.Draft{Type: pedigree.TargetDeleted, Subject: "tgt_2", Payload: pedigree.Payload{"project": project, "name": "prod/b"}}
		if _, err := s.Append(ctx, Append{Principal: pedigree.Local, Drafts: []pedigree.Draft{deleted}, Own: DropTarget("tgt_2")}); err != nil {
			t.Fatal(err)
		}
		left(1, 0, 1)
		if err := s.Heartbeat(ctx, "tgt_2", "late"); err != nil { // it was under way
			t.Fatal(err)
		}
		left(1, 1, 1)
		if err := s.ForgetHeartbeats(ctx, nil); err != nil {
			t.Fatal(err)
		}
		left(1, 0, 1)
	})
}
