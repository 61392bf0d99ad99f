package sqlstore

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/internal/pgtest"
)

// mustRun makes a run in the default experiment of the project "p", which it makes, too,
// where it is not there.
func mustRun(t *testing.T, s *Store, id string) {
	t.Helper()
	ctx := context.Background()
	same := func(string) string { return "mlflow-artifacts:/" }
	if err := s.AddDefaultExperiment(ctx, "p", Experiment{Name: "Default", ArtifactURI: "mlflow-artifacts:/0"}); err != nil {
		t.Fatal(err)
	}
	if err := s.CreateRun(ctx, "p", &Run{ID: id, Name: id, Status: "RUNNING"}, same); err != nil {
		t.Fatal(err)
	}
}

func mustLog(t *testing.T, s *Store, run string, metrics ...RunMetric) {
	t.Helper()
	if err := s.LogBatch(context.Background(), "p", run, RunBatch{Metrics: metrics}); err != nil {
		t.Fatal(err)
	}
}

// mustHistory reads a history as texts.
func mustHistory(t *testing.T, s *Store, run, key string, after *RunMetric, limit int) []string {
	t.Helper()
	var out []string
	err := s.Read(context.Background(), pedigree.At{}, func(tx *Tx) error {
		list, err := tx.MetricHistory(context.Background(), "p", run, key, after, limit)
		for _, m := range list {
			out = append(out, fmt.Sprintf("%d/%d/%v", m.Time, m.Step, m.Value))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestChunk writes and reads a chunk, and one that is cut anywhere or changed anywhere:
// an error or other values, but no panic.
func TestChunk(t *testing.T) {
	metrics := []RunMetric{
		{Key: "a", Value: 1.5, Time: 1_700_000_000_000, Step: 3},
		{Key: "ключ", Value: math.NaN(), Time: 0, Step: -1},
		{Key: "a", Value: math.Inf(-1), Time: math.MaxInt64, Step: math.MinInt64},
	}
	chunk := appendSegment(appendSegment(nil, metrics[:1]), metrics[1:])
	read := func(chunk []byte, key string) (out []RunMetric, err error) {
		err = eachPoint(chunk, key, func(name []byte, time, step int64, value float64) {
			out = append(out, RunMetric{Key: string(name), Value: value, Time: time, Step: step})
		})
		return out, err
	}
	all, err := read(chunk, "")
	metrics[2].Value = -math.MaxFloat64 // as it is stored
	if err != nil || fmt.Sprint(all) != fmt.Sprint(metrics) {
		t.Errorf("got %v, want %v (%v)", all, metrics, err)
	}
	if one, err := read(chunk, "a"); err != nil || fmt.Sprint(one) != fmt.Sprint([]RunMetric{metrics[0], metrics[2]}) {
		t.Errorf("of a: %v (%v)", one, err)
	}
	first := len(appendSegment(nil, metrics[:1]))
	for n := range chunk {
		if _, err := read(chunk[:n], ""); n != 0 && n != first && !errors.Is(err, errChunk) {
			t.Errorf("cut after %d bytes: %v", n, err)
		}
		for bit := range 8 {
			other := slices.Clone(chunk)
			other[n] ^= 1 << bit
			_, _ = read(other, "")
		}
	}
}

// TestMetricHistory: what is logged in one report and in many, in any order and twice, is
// one history; a page begins after any measurement.
func TestMetricHistory(t *testing.T) {
	eachDatabase(t, func(t *testing.T, database string) {
		s := mustOpen(t, database)
		mustRun(t, s, "r1")
		mustRun(t, s, "r2")
		nan := math.NaN()
		mustLog(t, s, "r1", RunMetric{Key: "m", Value: 2, Time: 5, Step: 1}, RunMetric{Key: "n", Value: 9, Time: 1})
		mustLog(t, s, "r1", RunMetric{Key: "m", Value: nan, Time: 5, Step: 1})
		mustLog(t, s, "r1", RunMetric{Key: "m", Value: 0, Time: 5, Step: 1})
		mustLog(t, s, "r2", RunMetric{Key: "m", Value: 7, Time: 5, Step: 1})
		var many []RunMetric
		for i := range int64(40) {
			many = append(many, RunMetric{Key: "m", Value: float64(i), Time: 10 - i/10, Step: i})
		}
		mustLog(t, s, "r1", many...)
		mustLog(t, s, "r1", many[3], many[39])
		got := mustHistory(t, s, "r1", "m", nil, 0)
		if len(got) != 43 || !slices.Equal(got[:4], []string{"5/1/0", "5/1/NaN", "5/1/2", "7/30/30"}) || got[42] != "10/9/9" {
			t.Errorf("%d: %v", len(got), got)
		}
		if page := mustHistory(t, s, "r1", "m", &RunMetric{Value: nan, Time: 5, Step: 1}, 2); !slices.Equal(page, []string{"5/1/2", "7/30/30"}) {
			t.Errorf("page %v", page)
		}
		if got := mustHistory(t, s, "r2", "m", nil, 0); !slices.Equal(got, []string{"5/1/7"}) {
			t.Errorf("of the other run %v", got)
		}
		if got := mustHistory(t, s, "r1", "absent", nil, 0); got != nil {
			t.Errorf("of nothing %v", got)
		}
	})
}

// TestSmallReports: reports of one measurement share rows, and a reader sees the latest,
// also after another process's reports, which has not folded them.
func TestSmallReports(t *testing.T) {
	eachDatabase(t, func(t *testing.T, database string) {
		s, other := mustOpen(t, database), mustOpen(t, database)
		mustRun(t, s, "r1")
		const reports = 300
		for i := range int64(reports) {
			writer := s
			if i%3 == 0 {
				writer = other
			}
			mustLog(t, writer, "r1", RunMetric{Key: fmt.Sprintf("m%d", i%2), Value: float64(i), Time: i, Step: i})
			if i%50 != 49 {
				continue
			}
			for _, reader := range []*Store{s, other} {
				err := reader.Read(context.Background(), pedigree.At{}, func(tx *Tx) error {
					r, err := tx.Run(context.Background(), "p", "r1")
					if err == nil && (len(r.Metrics) != 2 || r.Metrics[i%2].Value != float64(i)) {
						t.Errorf("after %d: %v", i, r.Metrics)
					}
					return err
				})
				if err != nil {
					t.Fatal(err)
				}
			}
		}
		err := s.Read(context.Background(), pedigree.At{}, func(tx *Tx) error {
			var rows int
			if err := tx.row(context.Background(), "SELECT count(*) FROM own_metric_chunks", nil, &rows); err != nil {
				return err
			}
			if rows > 10 {
				t.Errorf("%d reports are in %d rows", reports, rows)
			}
			found, _, err := tx.SearchRuns(context.Background(), RunSearch{
				Project: "p", Experiments: []int64{0}, Limit: 10,
				Clauses: []Clause{{Kind: ClauseMetric, Key: "m1", Cmp: pedigree.CmpEqual, Values: []pedigree.FilterValue{{Number: reports - 1}}}},
			})
			if len(found) != 1 {
				t.Errorf("a search for the latest finds %d", len(found))
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	})
}

// mustOld opens a database as it was after so many migrations; [Store.closeDatabases] closes it.
func mustOld(t *testing.T, database string, migrations int) *Store {
	t.Helper()
	ctx := context.Background()
	old := &Store{now: time.Now, rand: rand.Reader, log: slog.New(slog.NewTextHandler(io.Discard, nil)), readers: newPool(1)}
	open := func() error { return old.openSQLite(database, 1) }
	if strings.Contains(database, "://") {
		open = func() error { return old.openPostgres(ctx, database, 1) }
	}
	if err := open(); err != nil {
		t.Fatal(err)
	}
	if err := old.migrateTo(ctx, migrations); err != nil {
		t.Fatal(err)
	}
	return old
}

// TestCarryMetrics opens a database of the release before, which has a row for each
// measurement.
func TestCarryMetrics(t *testing.T) {
	eachDatabase(t, func(t *testing.T, database string) {
		ctx := context.Background()
		old := mustOld(t, database, 5)
		const steps = 6000 // of two names: more than is carried at a time
		for _, statement := range []string{
			"INSERT INTO own_runs (id, project, experiment, name, user_id, status, start_time, artifact_uri, stage) VALUES ('r1', 'p', 0, 'r1', '', 'RUNNING', 0, 'mlflow-artifacts:/', 'active')",
			fmt.Sprintf("INSERT INTO own_metrics WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < %d) SELECT 'r1', 'a', i / 3, i, i / 2.0, 0 FROM n", steps-1),
			fmt.Sprintf("INSERT INTO own_metrics WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < %d) SELECT 'r1', 'b', i, -i, i, 0 FROM n", steps-1),
			"INSERT INTO own_metrics VALUES ('r2', 'a', 5, 5, 0, 1)",
			"INSERT INTO own_latest_metrics VALUES ('r1', 'a', 1999, 5999, 2999.5, 0), ('r1', 'b', 0, 0, 0, 0)",
		} {
			if _, err := old.write.ExecContext(ctx, statement); err != nil {
				t.Fatal(err)
			}
		}
		if err := old.closeDatabases(); err != nil {
			t.Fatal(err)
		}
		s := mustOpen(t, database)
		if got := mustHistory(t, s, "r1", "a", nil, 0); len(got) != steps || got[0] != "0/0/0" || got[steps-1] != "1999/5999/2999.5" {
			t.Errorf("%d carried, from %s to %s", len(got), got[0], got[len(got)-1])
		}
		if got := mustHistory(t, s, "r1", "b", nil, 0); len(got) != steps || got[steps-1] != "5999/-5999/5999" {
			t.Errorf("%d of the other name carried, the last is %s", len(got), got[len(got)-1])
		}
		mustLog(t, s, "r1", RunMetric{Key: "b", Value: 8, Time: 1, Step: 1})
		err := s.Read(ctx, pedigree.At{}, func(tx *Tx) error {
			r, err := tx.Run(ctx, "p", "r1")
			if err == nil && (len(r.Metrics) != 2 || r.Metrics[0].Value != 2999.5 || r.Metrics[1].Value != 8) {
				t.Errorf("the latest are %v", r.Metrics)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	})
}

// failures fails the test by what is logged.
type failures struct{ t *testing.T }

func (f failures) Write(p []byte) (int, error) {
	f.t.Error(string(p))
	return len(p), nil
}

// TestRunsOfTwoProcesses: two processes report to the same runs in different orders, and
// change what runs share, and never wait for each other in a circle: PostgreSQL would
// notice after a second, and end one of them, and it would be in the log.
func TestRunsOfTwoProcesses(t *testing.T) {
	database := pgtest.Database(t)
	pair := []*Store{mustOpen(t, database), mustOpen(t, database)}
	for _, s := range pair {
		s.log = slog.New(slog.NewTextHandler(failures{t}, nil))
	}
	_, model := mustBegin(t, pair[0])
	ctx := context.Background()
	const runs = 8
	for i := range runs {
		mustRun(t, pair[0], fmt.Sprintf("r%d", i))
	}
	var clients sync.WaitGroup
	for n := range 32 {
		clients.Go(func() {
			s := pair[n%2]
			run := fmt.Sprintf("r%d", n/2%runs)
			if n%2 == 1 { // the other process has them the other way round
				run = fmt.Sprintf("r%d", runs-1-n/2%runs)
			}
			for i := range 60 {
				step := int64(n*1000 + i)
				var err error
				switch {
				case n < 24:
					err = s.LogBatch(ctx, "p", run, RunBatch{
						Metrics: []RunMetric{{Key: "m", Value: 1, Time: step, Step: step}},
						Tags:    []KeyValue{{"a", "1"}, {"b", "2"}},
					})
				case n < 26:
					err = s.LogInputs(ctx, "p", run, []RunDataset{{Name: fmt.Sprint(i % 3), Digest: "d"}, {Name: fmt.Sprint((i + n) % 3), Digest: "d"}}, nil)
				case n < 28:
					_, err = s.Append(ctx, Append{Principal: pedigree.Local, Drafts: []pedigree.Draft{register(model)}})
				case n < 30:
					value := fmt.Sprint(n)
					err = s.ChangeExperimentTag(ctx, "p", 0, fmt.Sprint("k", i%3), &value)
				default:
					_, err = s.UpdateRun(ctx, "p", run, nil, &step, nil)
				}
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	clients.Wait()
	for i := range runs {
		if len(mustHistory(t, pair[0], fmt.Sprintf("r%d", i), "m", nil, 0)) == 0 {
			t.Errorf("nothing was reported to r%d", i)
		}
	}
}
