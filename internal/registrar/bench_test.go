package registrar_test

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/pedigree-ml/pedigree"
)

// BenchmarkRegister measures registrations of two tags by sixteen callers on one
// model, below HTTP; bench/ has the figures that users see.
func BenchmarkRegister(b *testing.B) {
	r := mustOpen(b, filepath.Join(b.TempDir(), "pedigree.db"))
	ctx := context.Background()
	reg := pedigree.Registration{CreateModel: true, Tags: map[string]string{"team": "risk", "stage": "candidate"}}
	b.SetParallelism(8)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := r.Register(ctx, me, "default", "fraud", reg); err != nil {
				b.Error(err)
			}
		}
	})
}

// BenchmarkResolve measures the resolution of an alias while nothing changes.
func BenchmarkResolve(b *testing.B) {
	r := mustOpen(b, filepath.Join(b.TempDir(), "pedigree.db"))
	ctx := context.Background()
	if _, err := r.Register(ctx, me, "default", "fraud", pedigree.Registration{CreateModel: true, Aliases: []pedigree.Alias{"production"}}); err != nil {
		b.Fatal(err)
	}
	ref := pedigree.Reference{Project: "default", Model: "fraud", Alias: "production"}
	b.SetParallelism(8)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := r.Resolve(ctx, me, ref, pedigree.At{}); err != nil {
				b.Error(err)
			}
		}
	})
}
