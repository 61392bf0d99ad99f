package registrar_test

import (
	"crypto/rand"
	"io"
	"log/slog"
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
