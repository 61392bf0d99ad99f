package registrar_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/internal/blob"
)

// TestHeal: bytes that were lost or damaged are asked for again by the next push, and
// the version that named them is whole again.
func TestHeal(t *testing.T) {
	eachDatabase(t, func(t *testing.T, database string) {
		for _, row := range []struct {
			name string
			harm func(t *testing.T, dir string, d pedigree.Digest)
		}{
			{"lost", func(t *testing.T, dir string, d pedigree.Digest) {
				if err := os.Remove(filepath.Join(dir, "sha256", d.Hex()[:2], d.Hex())); err != nil {
					t.Fatal(err)
				}
			}},
			{"damaged", mustDamage},
		} {
			t.Run(row.name, func(t *testing.T) {
				ctx := context.Background()
				dir := t.TempDir()
				blobs, err := blob.OpenDir(dir)
				if err != nil {
					t.Fatal(err)
				}
				r := mustOpenBlobs(t, database, blobs)
				content := []byte("weights of " + row.name)
				d := pedigree.DigestBytes(content)
				put := func() {
					t.Helper()
					if err := r.PutBlob(ctx, me, "default", d, int64(len(content)), bytes.NewReader(content)); err != nil {
						t.Fatal(err)
					}
				}
				put()
				files := []pedigree.File{{Path: "w.bin", Size: int64(len(content)), Digest: d}}
				reg := pedigree.Registration{CreateModel: true, Record: pedigree.Record{Artifact: pedigree.Artifact{Kind: pedigree.ArtifactStored, Files: files}}}
				out, err := r.Register(ctx, me, "default", "fraud", reg)
				if err != nil {
					t.Fatal(err)
				}
				ref := pedigree.Reference{Project: "default", Model: "fraud", Version: out.Number}
				problems := func() (n int) {
					t.Helper()
					checks, err := r.VerifyVersion(ctx, me, ref, pedigree.At{})
					if err != nil {
						t.Fatal(err)
					}
					for _, c := range checks {
						if c.Problem != "" {
							n++
						}
					}
					return n
				}
				if n := problems(); n != 0 {
					t.Fatalf("%d problems before any harm", n)
				}
				row.harm(t, dir, d)
				if n := problems(); n != 1 {
					t.Fatalf("%d problems, want 1", n)
				}
				missing, err := r.MissingBlobs(ctx, me, "default", []pedigree.Digest{d})
				if err != nil || len(missing) != 1 {
					t.Fatalf("missing %v, %v: want the blob", missing, err)
				}
				put()
				if n := problems(); n != 0 {
					t.Errorf("%d problems after the bytes were sent again", n)
				}
				if missing, err = r.MissingBlobs(ctx, me, "default", []pedigree.Digest{d}); err != nil || len(missing) != 0 {
					t.Errorf("missing %v, %v: want nothing", missing, err)
				}
			})
		}
	})
}
