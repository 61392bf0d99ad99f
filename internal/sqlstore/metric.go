package sqlstore

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"math"
	"slices"
	"strings"
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
// there are names. own_latest_metrics has the latest of each name, for searches.
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

// pointsOf appends the measurements of one name in a chunk to out.
func pointsOf(chunk []byte, key string, out []RunMetric) ([]RunMetric, error) {
	r := &chunkReader{left: chunk}
	for len(r.left) > 0 {
		const absent = math.MaxUint64
		wanted := uint64(absent)
		for i := range r.uvarint() {
			if string(r.bytes(r.uvarint())) == key {
				wanted = i
			}
			if r.bad {
				return nil, errChunk
			}
		}
		var time, step int64
		for range r.uvarint() {
			name := r.uvarint()
			time += r.varint()
			step += r.varint()
			bits := r.bytes(8)
			if r.bad {
				return nil, errChunk
			}
			if name == wanted {
				out = append(out, RunMetric{Key: key, Value: math.Float64frombits(binary.LittleEndian.Uint64(bits)), Time: time, Step: step})
			}
		}
		if r.bad {
			return nil, errChunk
		}
	}
	return out, nil
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
	for _, m := range latestByKey(metrics) {
		value, nan := storedMetric(m.Value)
		out.insert(ownLatestMetrics, run, m.Key, m.Time, m.Step, value, nan)
	}
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
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
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

// latestByKey are the latest measurements of each name, in the order of names.
func latestByKey(metrics []RunMetric) []RunMetric {
	latest := make(map[string]int, len(metrics))
	out := make([]RunMetric, 0, len(metrics))
	for _, m := range metrics {
		i, ok := latest[m.Key]
		if !ok {
			latest[m.Key] = len(out)
			out = append(out, m)
		} else if laterMetric(m, out[i]) {
			out[i] = m
		}
	}
	slices.SortFunc(out, func(a, b RunMetric) int { return strings.Compare(a.Key, b.Key) })
	return out
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
		var err error
		out, err = pointsOf(chunk, key, out)
		return err
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
