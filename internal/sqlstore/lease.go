package sqlstore

import (
	"context"
	"time"

	"github.com/pedigree-ml/pedigree"
)

// Lease gives owner the right to a job that one process of several does, for the time d
// from now, or renews it, and says whether owner has it. Who does not get it writes nothing.
func (s *Store) Lease(ctx context.Context, job, owner string, d time.Duration) (held bool, err error) {
	taken := false
	err = s.Read(ctx, pedigree.At{}, func(tx *Tx) error {
		return tx.each(ctx, "look for a lease", "SELECT 1 FROM own_leases WHERE name = $1 AND leased_by <> $2 AND leased_until >= "+s.clock(), []any{job, owner}, func(rows) error {
			taken = true
			return nil
		})
	})
	if err != nil || taken {
		return false, err
	}
	err = s.own(ctx, func(ctx context.Context, tx *Tx) error {
		held = false
		text := "INSERT INTO own_leases (name, leased_by, leased_until) VALUES ($1, $2, " + s.clock() + " + $3) ON CONFLICT (name) DO UPDATE SET leased_by = excluded.leased_by, leased_until = excluded.leased_until WHERE own_leases.leased_by = excluded.leased_by OR own_leases.leased_until < " + s.clock()
		if _, err := tx.c.c.ExecContext(ctx, text, job, owner, d.Microseconds()); err != nil {
			return err
		}
		return tx.each(ctx, "read a lease", "SELECT 1 FROM own_leases WHERE name = $1 AND leased_by = $2", []any{job, owner}, func(rows) error {
			held = true
			return nil
		})
	})
	return held, err
}

// Release gives a job back.
func (s *Store) Release(ctx context.Context, job, owner string) error {
	return s.own(ctx, func(ctx context.Context, tx *Tx) error {
		return tx.c.exec(ctx, "DELETE FROM own_leases WHERE name = $1 AND leased_by = $2", job, owner)
	})
}

// clock is the time by which leases end, as an expression: the database's, where it has
// one that all processes share.
func (s *Store) clock() string {
	if s.d.clock != "" {
		return s.d.clock
	}
	return itoa(int(micros(s.now())))
}
