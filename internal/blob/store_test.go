package blob_test

import (
	"testing"
	"time"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/internal/blob"
	"github.com/pedigree-ml/pedigree/internal/blob/blobtest"
)

func TestMemory(t *testing.T) {
	blobtest.Run(t, func(*testing.T) blob.Store { return blob.NewMemory() })
}

func TestMemoryTimes(t *testing.T) {
	m := blob.NewMemory()
	now := time.Date(2030, 1, 2, 3, 4, 5, 0, time.FixedZone("", 3600))
	m.Now = func() time.Time { return now }
	blobtest.MustPut(t, m, []byte("x"))
	m.Now = func() time.Time { return now.Add(time.Hour) }
	blobtest.MustPut(t, m, []byte("x")) // present: keeps its time
	err := m.List(t.Context(), func(_ pedigree.Digest, _ int64, got time.Time) error {
		if !got.Equal(now) {
			t.Errorf("time: got %v, want %v", got, now)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
