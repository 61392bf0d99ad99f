package sqlstore

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/pedigree-ml/pedigree"
)

// Lease is how long a blob that nothing names yet is kept: from its upload, or from
// the last time that the registry said it had it.
const Lease = 24 * time.Hour

// AddBlobs notes that the blobs are durable and belong to the project, and leases
// them. sizes has one entry a digest.
func (s *Store) AddBlobs(ctx context.Context, projectID string, digests []pedigree.Digest, sizes []int64) error {
	return s.own(ctx, func(ctx context.Context, tx *Tx) error {
		for i, d := range digests {
			if err := tx.addBlob(ctx, projectID, d, sizes[i]); err != nil {
				return err
			}
		}
		return nil
	})
}

// addBlob notes that a blob is durable and belongs to the project, and leases it.
func (tx *Tx) addBlob(ctx context.Context, projectID string, d pedigree.Digest, size int64) error {
	until := micros(tx.s.now().Add(Lease))
	if err := tx.c.exec(ctx, `INSERT INTO own_blobs (digest, size, state, leased_until) VALUES ($1, $2, 'live', $3)
ON CONFLICT (digest) DO UPDATE SET state = 'live', leased_until = excluded.leased_until`, string(d), size, until); err != nil {
		return err
	}
	return tx.c.exec(ctx, "INSERT INTO own_project_blobs (project, digest) VALUES ($1, $2) ON CONFLICT (project, digest) DO NOTHING", projectID, string(d))
}

// HaveBlobs says which of the digests the project has, and renews their leases, so
// that they are still there when a version that names them is registered.
func (s *Store) HaveBlobs(ctx context.Context, projectID string, digests []pedigree.Digest) (map[pedigree.Digest]bool, error) {
	have := map[pedigree.Digest]bool{}
	err := s.own(ctx, func(ctx context.Context, tx *Tx) error {
		clear(have)
		until := micros(s.now().Add(Lease))
		for chunk := range slices.Chunk(digests, 64) {
			found, err := tx.liveBlobs(ctx, projectID, chunk)
			if err != nil {
				return err
			}
			for d := range found {
				have[d] = true
				if err := tx.c.exec(ctx, "UPDATE own_blobs SET leased_until = $1 WHERE digest = $2 AND leased_until < $1", until, string(d)); err != nil {
					return err
				}
			}
		}
		return nil
	})
	return have, err
}

// The states of a blob. A damaged one counts as missing until its bytes are sent again.
const (
	blobLive    = "live"
	blobDamaged = "damaged"
)

// MarkDamaged notes that the stored bytes of a blob are not what its digest says, or are
// gone, so that the next push sends them again.
func (s *Store) MarkDamaged(ctx context.Context, d pedigree.Digest) error {
	return s.own(ctx, func(ctx context.Context, tx *Tx) error {
		return tx.c.exec(ctx, "UPDATE own_blobs SET state = $1 WHERE digest = $2", blobDamaged, string(d))
	})
}

// Damaged says whether a blob was marked by [Store.MarkDamaged] and not sent again since.
func (s *Store) Damaged(ctx context.Context, d pedigree.Digest) (bool, error) {
	var state string
	err := s.Read(ctx, pedigree.At{}, func(tx *Tx) error {
		err := tx.row(ctx, "SELECT state FROM own_blobs WHERE digest = $1", []any{string(d)}, &state)
		if errors.Is(err, errNoRows) {
			return nil
		}
		return s.d.translate(err, "look for a blob")
	})
	return state == blobDamaged, err
}

// liveBlobs says which of the digests the project has and nobody is deleting.
func (tx *Tx) liveBlobs(ctx context.Context, projectID string, digests []pedigree.Digest) (map[pedigree.Digest]bool, error) {
	have := make(map[pedigree.Digest]bool, len(digests))
	in, args := list([]any{projectID}, digests)
	err := tx.each(ctx, "look for blobs", `SELECT b.digest FROM own_blobs b JOIN own_project_blobs p ON p.digest = b.digest
WHERE p.project = $1 AND b.state = 'live' AND b.digest IN (`+in+")", args, func(rows rows) error {
		var d string
		err := rows.Scan(&d)
		have[pedigree.Digest(d)] = true
		return err
	})
	return have, err
}
