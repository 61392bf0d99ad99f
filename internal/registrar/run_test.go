package registrar_test

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/internal/pgtest"
	"github.com/pedigree-ml/pedigree/internal/registrar"
)

// eachPair runs a test on two registrars of one database: two processes.
func eachPair(t *testing.T, f func(t *testing.T, pair []*registry)) {
	t.Helper()
	for name, database := range map[string]func() string{
		"sqlite":   func() string { return filepath.Join(t.TempDir(), "pedigree.db") },
		"postgres": func() string { return pgtest.Database(t) },
	} {
		t.Run(name, func(t *testing.T) {
			db := database()
			first := mustOpen(t, db)
			f(t, []*registry{first, mustOpenWith(t, db, first.key, first.blobs)})
		})
	}
}

// TestExperimentRace: of many who make an experiment with one name one succeeds, and ids
// have no gaps.
func TestExperimentRace(t *testing.T) {
	eachPair(t, func(t *testing.T, pair []*registry) {
		ctx := context.Background()
		var made atomic.Int64
		var wg sync.WaitGroup
		for n := range 16 {
			wg.Go(func() {
				for i := range 5 {
					_, err := pair[n%2].CreateExperiment(ctx, me, pedigree.DefaultProject, registrar.Experiment{Name: fmt.Sprintf("e%d", i)})
					switch pedigree.CodeOf(err) {
					case "":
						made.Add(1)
					case pedigree.CodeExists:
					default:
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		list, _, err := pair[0].SearchExperiments(ctx, me, pedigree.DefaultProject, registrar.ExperimentSearch{Limit: 100}, "")
		if err != nil || made.Load() != 5 || len(list) != 6 || list[0].ID != 5 {
			t.Errorf("%d made, %d there, the last is %d (%v)", made.Load(), len(list), list[0].ID, err)
		}
	})
}

// TestLogBatchRace: many processes report to one run. Each value is kept once, the latest
// is that of the greatest step, and a parameter has the value of whoever came first.
func TestLogBatchRace(t *testing.T) {
	eachPair(t, func(t *testing.T, pair []*registry) {
		ctx := context.Background()
		run, err := pair[0].CreateRun(ctx, me, pedigree.DefaultProject, registrar.Run{})
		if err != nil {
			t.Fatal(err)
		}
		if run.Name == "" || len(run.ID) != 32 {
			t.Errorf("run %+v", run)
		}
		const writers, rounds = 16, 10
		var first atomic.Int64
		var wg sync.WaitGroup
		for n := range writers {
			wg.Go(func() {
				for i := range rounds {
					step := int64(i*writers + n)
					b := registrar.RunBatch{Tags: []registrar.KeyValue{{Key: "t", Value: fmt.Sprint(n)}}}
					for m := range 20 {
						b.Metrics = append(b.Metrics, registrar.RunMetric{Key: fmt.Sprintf("m%d", m), Value: float64(step), Step: step, Time: 1})
					}
					if err := pair[n%2].LogBatch(ctx, me, pedigree.DefaultProject, run.ID, b); err != nil {
						t.Error(err)
					}
				}
				err := pair[n%2].LogParam(ctx, me, pedigree.DefaultProject, run.ID, registrar.KeyValue{Key: "p", Value: fmt.Sprint(n)})
				switch pedigree.CodeOf(err) {
				case "":
					first.Add(1)
				case pedigree.CodeInvalid:
				default:
					t.Error(err)
				}
			})
		}
		wg.Wait()
		got, err := pair[1].Run(ctx, me, pedigree.DefaultProject, run.ID)
		if err != nil {
			t.Fatal(err)
		}
		if first.Load() != 1 || len(got.Params) != 1 || len(got.Metrics) != 20 {
			t.Errorf("%d parameters were accepted; run %+v", first.Load(), got)
		}
		for _, m := range got.Metrics {
			history, _, err := pair[0].MetricHistory(ctx, me, pedigree.DefaultProject, run.ID, m.Key, 0, "")
			if err != nil || m.Value != writers*rounds-1 || len(history) != writers*rounds {
				t.Errorf("%s: latest %v, %d values (%v)", m.Key, m.Value, len(history), err)
			}
		}
	})
}

// TestFileRace: one path is written from many sides; what is read is one of the files,
// whole.
func TestFileRace(t *testing.T) {
	eachPair(t, func(t *testing.T, pair []*registry) {
		ctx := context.Background()
		var wg sync.WaitGroup
		for n := range 8 {
			wg.Go(func() {
				r := pair[0] // the blobs of a test are in memory: each registry has its own
				for range 5 {
					if err := r.PutFile(ctx, me, pedigree.DefaultProject, "0/r/artifacts/a", strings.NewReader(strings.Repeat(fmt.Sprint(n), 1000))); err != nil {
						t.Error(err)
					}
					if err := r.PutFile(ctx, me, pedigree.DefaultProject, fmt.Sprintf("0/r/artifacts/d%d/x", n), strings.NewReader("x")); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		b, f, err := pair[0].OpenTracked(ctx, me, pedigree.DefaultProject, "0/r/artifacts/a")
		if err != nil || f.Size != 1000 || b.Size() != 1000 {
			t.Fatalf("%+v %v", f, err)
		}
		_ = b.Close()
		list, err := pair[0].ListFolder(ctx, me, pedigree.DefaultProject, "0/r/artifacts")
		if err != nil || len(list) != 9 {
			t.Errorf("%v %v", list, err)
		}
	})
}

// TestListFolder: a folder with more files below it than one step reads.
func TestListFolder(t *testing.T) {
	r := mustOpen(t, filepath.Join(t.TempDir(), "pedigree.db"))
	ctx := context.Background()
	put := func(path string) {
		t.Helper()
		if err := r.PutFile(ctx, me, pedigree.DefaultProject, path, strings.NewReader("x")); err != nil {
			t.Fatal(err)
		}
	}
	var wg sync.WaitGroup
	for n := range 8 {
		wg.Go(func() {
			for i := range 160 {
				put(fmt.Sprintf("a/big/%d/%03d", n, i))
				put(fmt.Sprintf("a/f%d-%03d", n, i))
			}
		})
	}
	wg.Wait()
	put("a/big.txt")
	put("a/zz/x")
	list, err := r.ListFolder(ctx, me, pedigree.DefaultProject, "a")
	if err != nil || len(list) != 1280+3 || !list[0].IsDir || list[0].Name != "big" || list[1].Name != "big.txt" || list[len(list)-1].Name != "zz" {
		t.Errorf("%d entries (%v): %+v", len(list), err, list[:3])
	}
	if list, err := r.ListFolder(ctx, me, pedigree.DefaultProject, ""); err != nil || len(list) != 1 {
		t.Errorf("root: %v %v", list, err)
	}
	if list, err := r.ListFolder(ctx, me, pedigree.DefaultProject, "a/big"); err != nil || len(list) != 8 {
		t.Errorf("big: %v %v", list, err)
	}
	files, err := r.FilesUnder(ctx, me, pedigree.DefaultProject, "mlflow-artifacts:/a")
	if err != nil || len(files) != 2562 {
		t.Errorf("%d files (%v)", len(files), err)
	}
}
