package sqlstore

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"maps"
	"math"
	"slices"

	"github.com/pedigree-ml/pedigree"
)

// RunMetric is one measurement.
type RunMetric struct {
	Key string
	// Value may be NaN; what is infinite is stored as the largest number.
	Value float64
	// Time is milliseconds since 1970.
	Time, Step int64
	// Model is the logged model that was measured, with Dataset and Digest the data
	// that it was measured on; all may be empty. Run is set where a model's metrics
	// are read.
	Model, Dataset, Digest, Run string
}

// The measurements of a run are written as they come, a row for all that were reported
// at once, and sorted when somebody reads them: a row each would touch as many pages as
// there are names. own_latest_metrics has the latest of each name, for searches; what came
// since is folded into it from time to time, and before anybody asks (see [Store.Read]).
// own_metric_folds says which runs have such, and up to which chunk was folded.
//
// A chunk is a sequence of segments. A segment is the number of names, each name with its
// length, the number of measurements, and of each the index of its name, the differences
// to the time and step of the one before, and eight bytes of its value; all numbers are
// varints. A small report becomes one more segment of the run's last chunk.
const (
	// fewPoints are so few that they are added to the last chunk of the run.
	fewPoints = 16
	// fullChunk is the length, in bytes, from which a chunk is not added to.
	fullChunk = 1900
	// foldEvery is after how many reports a run is folded, though nobody has asked, so
	// that whoever asks does not wait long.
	foldEvery = 32
)

// appendSegment adds a segment to a chunk.
func appendSegment(chunk []byte, metrics []RunMetric) []byte {
	index := map[string]uint64{}
	var names []string
	for _, m := range metrics {
		if _, ok := index[m.Key]; !ok {
			index[m.Key] = uint64(len(names))
			names = append(names, m.Key)
		}
	}
	chunk = binary.AppendUvarint(chunk, uint64(len(names)))
	for _, name := range names {
		chunk = binary.AppendUvarint(chunk, uint64(len(name)))
		chunk = append(chunk, name...)
	}
	chunk = binary.AppendUvarint(chunk, uint64(len(metrics)))
	var time, step int64
	for _, m := range metrics {
		value := m.Value
		if !math.IsNaN(value) {
			value, _ = storedMetric(value)
		}
		chunk = binary.AppendUvarint(chunk, index[m.Key])
		chunk = binary.AppendVarint(chunk, m.Time-time)
		chunk = binary.AppendVarint(chunk, m.Step-step)
		chunk = binary.LittleEndian.AppendUint64(chunk, math.Float64bits(value))
		time, step = m.Time, m.Step
	}
	return chunk
}

var errChunk = errors.New("a chunk of metrics is damaged")

// chunkReader takes numbers off a chunk. At its end it notes that, and returns zeros.
type chunkReader struct {
	left []byte
	bad  bool
}

func (r *chunkReader) uvarint() uint64 {
	v, n := binary.Uvarint(r.left)
	if n <= 0 {
		r.bad, r.left = true, nil
		return 0
	}
	r.left = r.left[n:]
	return v
}

func (r *chunkReader) varint() int64 {
	v, n := binary.Varint(r.left)
	if n <= 0 {
		r.bad, r.left = true, nil
		return 0
	}
	r.left = r.left[n:]
	return v
}

func (r *chunkReader) bytes(n uint64) []byte {
	if n > uint64(len(r.left)) {
		r.bad, r.left = true, nil
		return nil
	}
	b := r.left[:n]
	r.left = r.left[n:]
	return b
}

// eachPoint calls f for each measurement in a chunk, of one name or, where key is "", of
// all.
func eachPoint(chunk []byte, key string, f func(name []byte, time, step int64, value float64)) error {
	r := &chunkReader{left: chunk}
	var names [][]byte
	for len(r.left) > 0 {
		names = names[:0]
		for range r.uvarint() {
			name := r.bytes(r.uvarint())
			if r.bad {
				return errChunk
			}
			if key != "" && string(name) != key {
				name = nil
			}
			names = append(names, name)
		}
		var time, step int64
		for range r.uvarint() {
			name := r.uvarint()
			time += r.varint()
			step += r.varint()
			bits := r.bytes(8)
			if r.bad || name >= uint64(len(names)) {
				return errChunk
			}
			if names[name] != nil {
				f(names[name], time, step, math.Float64frombits(binary.LittleEndian.Uint64(bits)))
			}
		}
		if r.bad {
			return errChunk
		}
	}
	return nil
}

// addMetrics adds measurements to a run, which is locked.
func (tx *Tx) addMetrics(ctx context.Context, run string, metrics []RunMetric, out *statements) error {
	if len(metrics) == 0 {
		return nil
	}
	if err := tx.addChunk(ctx, run, metrics, out); err != nil {
		return err
	}
	for _, m := range metrics {
		if m.Model != "" {
			value, nan := storedMetric(m.Value)
			out.insert(ownModelMetrics, m.Model, m.Key, m.Time, m.Step, run, value, nan, textHash(m.Dataset+"\x00"+m.Digest), m.Dataset, m.Digest)
		}
	}
	out.insert(ownMetricFolds, run, 1, 0)
	return nil
}

// addChunk writes measurements into a chunk of their own, or few of them into the last
// chunk of the run.
func (tx *Tx) addChunk(ctx context.Context, run string, metrics []RunMetric, out *statements) error {
	latest := int64(math.MinInt64)
	for _, m := range metrics {
		latest = max(latest, m.Time)
	}
	if len(metrics) < fewPoints {
		if err := tx.pending.flush(ctx, tx.c); err != nil {
			return err
		}
		var id, before int64
		var points []byte
		err := tx.row(ctx, "SELECT id, latest, points FROM own_metric_chunks WHERE run = $1 ORDER BY id DESC LIMIT 1", []any{run}, &id, &before, &points)
		if err != nil && !errors.Is(err, errNoRows) {
			return err
		}
		if err == nil && len(points) < fullChunk {
			out.exec("UPDATE own_metric_chunks SET latest = $1, points = $2 WHERE id = $3", max(latest, before), appendSegment(points, metrics), id)
			return nil
		}
	}
	out.insert(ownMetricChunks, run, latest, appendSegment(nil, metrics))
	return nil
}

// foldSometimes folds a run after some reports. The count is this process's alone, and
// lost with it: it bounds how much there is to fold, and nothing rests on it.
func (tx *Tx) foldSometimes(ctx context.Context, run string) error {
	const most = 10_000 // runs
	if len(tx.s.reports) > most {
		clear(tx.s.reports)
	}
	if tx.s.reports[run]++; tx.s.reports[run] < foldEvery {
		return nil
	}
	return tx.fold(ctx, run)
}

// fold brings own_latest_metrics up to date for a run, which is locked.
func (tx *Tx) fold(ctx context.Context, run string) error {
	delete(tx.s.reports, run)
	if err := tx.pending.flush(ctx, tx.c); err != nil {
		return err
	}
	var upto int64
	switch err := tx.row(ctx, "SELECT upto FROM own_metric_folds WHERE run = $1 AND dirty = 1", []any{run}, &upto); {
	case errors.Is(err, errNoRows):
		return nil
	case err != nil:
		return err
	}
	latest := map[string]*RunMetric{}
	// The last chunk that was folded may have been added to.
	err := tx.each(ctx, "read metrics", "SELECT id, points FROM own_metric_chunks WHERE run = $1 AND id >= $2 ORDER BY id", []any{run, upto}, func(rows rows) error {
		var chunk sql.RawBytes
		if err := rows.Scan(&upto, &chunk); err != nil {
			return err
		}
		return eachPoint(chunk, "", func(name []byte, time, step int64, value float64) {
			m := RunMetric{Time: time, Step: step, Value: value}
			if old := latest[string(name)]; old == nil {
				m.Key = string(name)
				latest[m.Key] = &m
			} else if laterMetric(m, *old) {
				m.Key = old.Key
				*old = m
			}
		})
	})
	if err != nil {
		return err
	}
	var out statements
	for _, key := range slices.Sorted(maps.Keys(latest)) {
		m := latest[key]
		value, nan := storedMetric(m.Value)
		out.insert(ownLatestMetrics, run, key, m.Time, m.Step, value, nan)
	}
	out.exec("UPDATE own_metric_folds SET dirty = 0, upto = $1 WHERE run = $2", upto, run)
	return out.flush(ctx, tx.c)
}

// unfolded says that a reader needs the latest metrics of a run, or of all where run is
// "", and not all are there.
type unfolded struct{ run string }

func (u *unfolded) Error() string { return "metrics are not folded yet" }

// folded returns an [unfolded] where metrics of a run, or of any where run is "", are not
// in own_latest_metrics. Once this transaction's reader has waited for them, those that
// have come since may be left out.
func (tx *Tx) folded(ctx context.Context, run string) error {
	if tx.waited {
		return nil
	}
	text, args := "SELECT run FROM own_metric_folds WHERE dirty = 1 LIMIT 1", []any(nil)
	if run != "" {
		text, args = "SELECT run FROM own_metric_folds WHERE run = $1 AND dirty = 1", []any{run}
	}
	var found string
	switch err := tx.row(ctx, text, args, &found); {
	case errors.Is(err, errNoRows):
		return nil
	case err != nil:
		return tx.s.d.translate(err, "read metrics")
	}
	return &unfolded{run}
}

// foldAll folds a run, or all where run is "", some at a time.
func (s *Store) foldAll(ctx context.Context, run string) error {
	const some = 64
	for after := ""; ; {
		runs := []string{run}
		if run == "" {
			runs = runs[:0]
			err := s.readOnce(ctx, pedigree.At{}, true, func(tx *Tx) error {
				return tx.each(ctx, "read metrics", "SELECT run FROM own_metric_folds WHERE dirty = 1 AND run > $1 ORDER BY run LIMIT "+itoa(some), []any{after}, func(rows rows) error {
					var r string
					err := rows.Scan(&r)
					runs = append(runs, r)
					return err
				})
			})
			if err != nil || len(runs) == 0 {
				return err
			}
			after = runs[len(runs)-1]
		}
		err := s.submit(&request{ctx: ctx, runs: runs, answer: make(chan outcome, 1), own: func(ctx context.Context, tx *Tx) error {
			for _, r := range runs {
				if err := tx.fold(ctx, r); err != nil {
					return err
				}
			}
			return nil
		}}).err
		if err != nil || len(runs) < some {
			return err
		}
	}
}

// laterMetric says whether a is later than b: by step, then time, then value.
func laterMetric(a, b RunMetric) bool {
	av, _ := storedMetric(a.Value)
	bv, _ := storedMetric(b.Value)
	return cmp.Or(cmp.Compare(a.Step, b.Step), cmp.Compare(a.Time, b.Time), cmp.Compare(av, bv)) > 0
}

// compareMetrics is the order of a history: by time, step and value, NaN after 0.
func compareMetrics(a, b RunMetric) int {
	av, an := storedMetric(a.Value)
	bv, bn := storedMetric(b.Value)
	return cmp.Or(cmp.Compare(a.Time, b.Time), cmp.Compare(a.Step, b.Step), cmp.Compare(av, bv), cmp.Compare(an, bn))
}

// storedMetric is a value as columns take it: NaN apart, infinity as the largest number.
func storedMetric(v float64) (value float64, nan int64) {
	switch {
	case math.IsNaN(v):
		return 0, 1
	case math.IsInf(v, 1):
		return math.MaxFloat64, 0
	case math.IsInf(v, -1):
		return -math.MaxFloat64, 0
	}
	return v, 0
}

func readMetric(value float64, nan int64) float64 {
	if nan != 0 {
		return math.NaN()
	}
	return value
}

func (tx *Tx) latestMetrics(ctx context.Context, ids []string, byID map[string]*Run) error {
	return inLists(ids, func(chunk []string) error {
		in, args := list(nil, chunk)
		return tx.each(ctx, "read metrics", "SELECT run, key, time, step, value, nan FROM own_latest_metrics WHERE run IN ("+in+") ORDER BY run, key", args, func(rows rows) error {
			var run string
			m, err := scanMetric(rows, &run)
			if r := byID[run]; r != nil {
				r.Metrics = append(r.Metrics, m)
			}
			return err
		})
	})
}

func scanMetric(rows rows, run *string) (RunMetric, error) {
	var m RunMetric
	var nan int64
	err := rows.Scan(run, &m.Key, &m.Time, &m.Step, &m.Value, &nan)
	m.Value = readMetric(m.Value, nan)
	return m, err
}

// MetricHistory reads all that a run logged of a metric, by time, step and value, after
// the given measurement; limit 0 means all. What was logged twice is there once. A run
// that is not there has no history.
func (tx *Tx) MetricHistory(ctx context.Context, project, run, key string, after *RunMetric, limit int) ([]RunMetric, error) {
	text := "SELECT c.points FROM own_runs r JOIN own_metric_chunks c ON c.run = r.id WHERE r.project = $1 AND r.id = $2"
	args := []any{project, run}
	if after != nil {
		args = append(args, after.Time)
		text += " AND c.latest >= $3"
	}
	var out []RunMetric
	err := tx.each(ctx, "read metrics", text, args, func(rows rows) error {
		var chunk sql.RawBytes
		if err := rows.Scan(&chunk); err != nil {
			return err
		}
		return eachPoint(chunk, key, func(_ []byte, time, step int64, value float64) {
			out = append(out, RunMetric{Key: key, Value: value, Time: time, Step: step})
		})
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(out, compareMetrics)
	out = slices.CompactFunc(out, func(a, b RunMetric) bool { return compareMetrics(a, b) == 0 })
	if after != nil {
		from, found := slices.BinarySearchFunc(out, *after, compareMetrics)
		if found {
			from++
		}
		out = out[from:]
	}
	if limit > 0 && len(out) > limit {
		out = out[:limit]
	}
	return out, nil
}

// carryMetrics puts what own_metrics has, a row for each measurement, into chunks, and
// drops it.
func carryMetrics(ctx context.Context, d *dialect, tx *sql.Tx) error {
	const page = 10_000
	last := struct {
		run, key, time, step, value, nan any
	}{"", "", int64(math.MinInt64), int64(math.MinInt64), -math.MaxFloat64, 0}
	for {
		byRun, n, err := func() (map[string][]RunMetric, int, error) {
			rows, err := tx.QueryContext(ctx, `SELECT run, key, time, step, value, nan FROM own_metrics
WHERE (run, key, time, step, value, nan) > ($1, $2, $3, $4, $5, $6) ORDER BY run, key, time, step, value, nan LIMIT `+itoa(page),
				last.run, last.key, last.time, last.step, last.value, last.nan)
			if err != nil {
				return nil, 0, err
			}
			defer func() { _ = rows.Close() }()
			byRun, n := map[string][]RunMetric{}, 0
			for ; rows.Next(); n++ {
				var run string
				m, err := scanMetric(rows, &run)
				if err != nil {
					return nil, 0, err
				}
				byRun[run] = append(byRun[run], m)
				value, nan := storedMetric(m.Value)
				last.run, last.key, last.time, last.step, last.value, last.nan = run, m.Key, m.Time, m.Step, value, nan
			}
			return byRun, n, rows.Err()
		}()
		if err != nil {
			return err
		}
		for run, metrics := range byRun {
			for some := range slices.Chunk(metrics, 1000) {
				latest := slices.MaxFunc(some, func(a, b RunMetric) int { return cmp.Compare(a.Time, b.Time) }).Time
				if _, err := tx.ExecContext(ctx, ownMetricChunks.insertText(d, 1), run, latest, appendSegment(nil, some)); err != nil {
					return err
				}
			}
		}
		if n < page {
			_, err := tx.ExecContext(ctx, "DROP TABLE own_metrics")
			return err
		}
	}
}
