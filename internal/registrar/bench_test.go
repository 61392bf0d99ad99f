package registrar_test

import (
	"context"
	"fmt"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/internal/registrar"
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

// BenchmarkLogBatch reports 100 metrics of 10 names at once, from 16 sides.
func BenchmarkLogBatch(b *testing.B) {
	r := mustOpen(b, filepath.Join(b.TempDir(), "pedigree.db"))
	ctx := context.Background()
	var n atomic.Int64
	b.SetParallelism(8)
	b.RunParallel(func(pb *testing.PB) {
		run, err := r.CreateRun(ctx, me, "default", registrar.Run{})
		if err != nil {
			b.Error(err)
			return
		}
		for pb.Next() {
			i := n.Add(1)
			var batch registrar.RunBatch
			for k := range 100 {
				batch.Metrics = append(batch.Metrics, registrar.RunMetric{Key: fmt.Sprintf("m%d", k%10), Value: float64(i), Time: i, Step: i*10 + int64(k/10)})
			}
			if err := r.LogBatch(ctx, me, "default", run.ID, batch); err != nil {
				b.Error(err)
			}
		}
	})
}
