package sqlstore

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/pedigree-ml/pedigree"
)

// What experiments, runs and logged models have in common. All of it is telemetry: it
// stands in own_ tables, is never in an event, and becomes part of the record only when
// a version is registered.

// KeyValue is one tag or one parameter.
type KeyValue struct{ Key, Value string }

// Stages of what can be deleted and restored.
const (
	StageActive  = "active"
	StageDeleted = "deleted"
)

var (
	ownTags          = &table{"own_tags", []string{"owner", "key", "value"}, "ON CONFLICT (owner, key) DO UPDATE SET value = excluded.value"}
	ownParams        = &table{"own_params", []string{"owner", "key", "value"}, ""}
	ownMetricChunks  = &table{"own_metric_chunks", []string{"run", "latest", "points"}, ""}
	ownMetricFolds   = &table{"own_metric_folds", []string{"run", "dirty", "upto"}, "ON CONFLICT (run) DO UPDATE SET dirty = 1 WHERE own_metric_folds.dirty = 0"}
	ownLatestMetrics = &table{"own_latest_metrics", []string{"run", "key", "time", "step", "value", "nan"}, `ON CONFLICT (run, key) DO UPDATE
SET time = excluded.time, step = excluded.step, value = excluded.value, nan = excluded.nan
WHERE (excluded.step, excluded.time, excluded.value) > (own_latest_metrics.step, own_latest_metrics.time, own_latest_metrics.value)`}
	ownModelMetrics = &table{"own_model_metrics", []string{"model", "key", "time", "step", "run", "value", "nan", "hash", "dataset", "digest"}, "ON CONFLICT (model, key, time, step, run, value, nan, hash) DO NOTHING"}
	ownRunModels    = &table{"own_run_models", []string{"run", "direction", "model", "step"}, "ON CONFLICT (run, direction, model, step) DO NOTHING"}
)

// View says which stages a search looks at.
type View int

// The views.
const (
	ViewActive View = iota
	ViewDeleted
	ViewAll
)

func (v View) condition(column string) string {
	switch v {
	case ViewDeleted:
		return column + " = 'deleted'"
	case ViewAll:
		return "1 = 1"
	}
	return column + " = 'active'"
}

// ClauseKind says what a [Clause] or a [SortKey] speaks of.
type ClauseKind string

// The kinds.
const (
	ClauseAttribute ClauseKind = "attribute"
	ClauseParam     ClauseKind = "param"
	ClauseTag       ClauseKind = "tag"
	ClauseMetric    ClauseKind = "metric"
	ClauseDataset   ClauseKind = "dataset"
)

// Clause is one comparison of a search over experiments, runs or logged models. All
// clauses of a search must hold. A parameter, tag, metric or dataset that is not there
// holds no comparison but IS NULL.
type Clause struct {
	Kind ClauseKind
	Key  string
	Cmp  pedigree.Comparator
	// Values are texts, or numbers for a metric and a numeric attribute.
	Values []pedigree.FilterValue
}

// SortKey is one key of an order; absent values come last, NaN before them.
type SortKey struct {
	Kind ClauseKind
	Key  string
	Desc bool
	// Dataset and Digest, where not empty, choose the metrics of a logged model.
	Dataset, Digest string
}

// sortColumn is an expression that is never NULL, and its direction.
type sortColumn struct {
	expr string
	desc bool
	// integer and real say what its values are; text where neither is set.
	integer, real bool
}

// paged runs a search and returns the values of the sort columns, the last of which is
// the id, row by row, and those of the last row where there are more.
func (c *compiler) paged(from string, where []string, columns []sortColumn, after []any, limit int) (rowsOf [][]any, next []any, err error) {
	var values, order []string
	for i, col := range columns {
		values = append(values, fmt.Sprintf("%s AS k%d", col.expr, i))
		direction := ""
		if col.desc {
			direction = " DESC"
		}
		order = append(order, fmt.Sprintf("k%d%s", i, direction))
	}
	text := "SELECT * FROM (SELECT " + strings.Join(values, ", ") + " FROM " + from + " WHERE " + strings.Join(where, " AND ") + ") t"
	if after != nil {
		cond, err := c.afterColumns(columns, after)
		if err != nil {
			return nil, nil, err
		}
		text += " WHERE " + cond
	}
	text += " ORDER BY " + strings.Join(order, ", ") + " LIMIT " + c.arg(limit+1)
	rs, err := c.tx.c.c.QueryContext(c.ctx, text, c.args...)
	if err != nil {
		return nil, nil, c.tx.s.d.translate(err, "search")
	}
	defer func() { _ = rs.Close() }()
	for rs.Next() {
		row := make([]any, len(columns))
		dest := make([]any, len(columns))
		for i := range row {
			dest[i] = &row[i]
		}
		if err := rs.Scan(dest...); err != nil {
			return nil, nil, c.tx.s.d.translate(err, "search")
		}
		for i, v := range row {
			if b, ok := v.([]byte); ok {
				row[i] = string(b)
			}
		}
		rowsOf = append(rowsOf, row)
	}
	if err := rs.Err(); err != nil {
		return nil, nil, c.tx.s.d.translate(err, "search")
	}
	if len(rowsOf) > limit {
		rowsOf = rowsOf[:limit]
		next = rowsOf[limit-1]
	}
	return rowsOf, next, nil
}

// afterColumns is the condition that a row comes after the one with these values.
func (c *compiler) afterColumns(columns []sortColumn, after []any) (string, error) {
	bad := pedigree.Errorf(pedigree.CodeInvalid, "the page token does not fit the order")
	if len(after) != len(columns) {
		return "", bad
	}
	cond := ""
	for i := len(columns) - 1; i >= 0; i-- {
		v := after[i]
		switch x := v.(type) {
		case float64:
			if columns[i].integer {
				v = int64(x)
			} else if !columns[i].real {
				return "", bad
			}
		case string:
			if columns[i].integer || columns[i].real || strings.ContainsRune(x, 0) {
				return "", bad
			}
		default:
			return "", bad
		}
		p, op := c.arg(v), ">"
		if columns[i].desc {
			op = "<"
		}
		k := fmt.Sprintf("k%d", i)
		if cond == "" {
			cond = fmt.Sprintf("%s %s %s", k, op, p)
		} else {
			cond = fmt.Sprintf("(%s %s %s OR (%s = %s AND %s))", k, op, p, k, p, cond)
		}
	}
	return cond, nil
}

// trackedNoun says how a search over a noun finds what a clause or a sort key names.
type trackedNoun struct {
	// owner is the expression by which own_tags and own_params know a row.
	owner string
	// texts and numbers are the columns of attributes, by key.
	texts, numbers map[string]string
	// metrics is the table of metrics and its column for the owner.
	metrics, metricOwner string
}

// clause is the condition of one clause.
func (c *compiler) clause(n *trackedNoun, cl Clause) (string, error) {
	number := func(v pedigree.FilterValue) any { return v.Number }
	switch cl.Kind {
	case ClauseAttribute:
		if column, ok := n.numbers[cl.Key]; ok {
			return c.compareInteger(column, cl), nil
		}
		if column, ok := n.texts[cl.Key]; ok {
			return c.compare(column, cl.Cmp, cl.Values, textValue), nil
		}
	case ClauseParam, ClauseTag:
		source := "own_tags"
		if cl.Kind == ClauseParam {
			source = "own_params"
		}
		exists, cond := "EXISTS ", ""
		switch cl.Cmp {
		case pedigree.CmpIsNull:
			exists = "NOT EXISTS "
		case pedigree.CmpIsNotNull:
		default:
			cond = " AND " + c.compare("x.value", cl.Cmp, cl.Values, textValue)
		}
		return exists + "(SELECT 1 FROM " + source + " x WHERE x.owner = " + n.owner + " AND x.key = " + c.arg(cl.Key) + cond + ")", nil
	case ClauseMetric:
		if n.metrics == "" {
			break
		}
		cond := c.compare("x.value", cl.Cmp, cl.Values, number)
		if cl.Cmp == pedigree.CmpNotEqual { // NaN is unlike every number
			cond = "(x.nan = 1 OR " + cond + ")"
		} else {
			cond = "x.nan = 0 AND " + cond
		}
		return "EXISTS (SELECT 1 FROM " + n.metrics + " x WHERE x." + n.metricOwner + " = " + n.owner + " AND x.key = " + c.arg(cl.Key) + " AND " + cond + ")", nil
	}
	return "", pedigree.Errorf(pedigree.CodeInvalid, "can't search by %s %q", cl.Kind, cl.Key)
}

// compareInteger compares a column of integers with numbers, which may be none of them:
// then the column is what gives way.
func (c *compiler) compareInteger(column string, cl Clause) string {
	const most = 1 << 53
	for _, v := range cl.Values {
		if v.Number != math.Trunc(v.Number) || math.Abs(v.Number) > most {
			return c.compare("CAST("+column+" AS DOUBLE PRECISION)", cl.Cmp, cl.Values, func(v pedigree.FilterValue) any { return v.Number })
		}
	}
	return c.compare(column, cl.Cmp, cl.Values, func(v pedigree.FilterValue) any { return int64(v.Number) })
}

// sortColumns are the columns of one sort key: first whether the value is there, then
// the value.
func (c *compiler) sortColumns(n *trackedNoun, k SortKey) ([]sortColumn, error) {
	present := func(value, zero string, integer bool) []sortColumn {
		return []sortColumn{
			{expr: "CASE WHEN " + value + " IS NULL THEN 1 ELSE 0 END", integer: true},
			{expr: "coalesce(" + value + ", " + zero + ")", desc: k.Desc, integer: integer},
		}
	}
	switch k.Kind {
	case ClauseAttribute:
		if column, ok := n.numbers[k.Key]; ok {
			return present(column, "0", true), nil
		}
		if column, ok := n.texts[k.Key]; ok {
			return []sortColumn{{expr: column, desc: k.Desc}}, nil
		}
	case ClauseParam, ClauseTag:
		source := "own_tags"
		if k.Kind == ClauseParam {
			source = "own_params"
		}
		return present("(SELECT x.value FROM "+source+" x WHERE x.owner = "+n.owner+" AND x.key = "+c.arg(k.Key)+")", "''", false), nil
	case ClauseMetric:
		if n.metrics == "" {
			break
		}
		key := c.arg(k.Key)
		cond := " FROM " + n.metrics + " x WHERE x." + n.metricOwner + " = " + n.owner + " AND x.key = " + key
		if k.Dataset != "" {
			cond += " AND x.dataset = " + c.arg(k.Dataset)
		}
		if k.Digest != "" {
			cond += " AND x.digest = " + c.arg(k.Digest)
		}
		if n.metricOwner == "model" { // of many, the latest
			cond += " ORDER BY x.time DESC, x.step DESC, x.run LIMIT 1"
		}
		return []sortColumn{
			{expr: "coalesce((SELECT x.nan" + cond + "), 2)", integer: true},
			{expr: "coalesce((SELECT x.value" + cond + "), 0.0)", desc: k.Desc, real: true},
		}, nil
	}
	return nil, pedigree.Errorf(pedigree.CodeInvalid, "can't order by %s %q", k.Kind, k.Key)
}

// inSizes are the lengths of IN lists: a fixed set, so that each text is prepared once.
var inSizes = []int{1, 8, 64, 512}

// inLists calls f for lists of at most 512 values, padded with the last one to a
// length of inSizes.
func inLists[T any](values []T, f func(chunk []T) error) error {
	for chunk := range slices.Chunk(values, inSizes[len(inSizes)-1]) {
		size := inSizes[len(inSizes)-1]
		for _, n := range inSizes {
			if len(chunk) <= n {
				size = n
				break
			}
		}
		padded := make([]T, 0, size)
		padded = append(padded, chunk...)
		for len(padded) < size {
			padded = append(padded, chunk[len(chunk)-1])
		}
		if err := f(padded); err != nil {
			return err
		}
	}
	return nil
}

// keyValues reads tags or parameters of owners.
func (tx *Tx) keyValues(ctx context.Context, source string, owners []string, add func(owner string, kv KeyValue)) error {
	return inLists(owners, func(chunk []string) error {
		in, args := list(nil, chunk)
		return tx.each(ctx, "read "+source, "SELECT owner, key, value FROM "+source+" WHERE owner IN ("+in+") ORDER BY owner, key", args, func(rows rows) error {
			var owner string
			var kv KeyValue
			err := rows.Scan(&owner, &kv.Key, &kv.Value)
			add(owner, kv)
			return err
		})
	})
}

// insertTags adds the statements that set tags; of two with one key the last counts.
func insertTags(out *statements, owner string, tags []KeyValue) {
	for _, kv := range lastByKey(tags) {
		out.insert(ownTags, owner, kv.Key, kv.Value)
	}
}

// lastByKey keeps the last of each key, in the order of keys: writers that touch rows
// in one order don't wait for each other in a circle.
func lastByKey(kvs []KeyValue) []KeyValue {
	last := make(map[string]string, len(kvs))
	for _, kv := range kvs {
		last[kv.Key] = kv.Value
	}
	out := make([]KeyValue, 0, len(last))
	for k, v := range last {
		out = append(out, KeyValue{k, v})
	}
	slices.SortFunc(out, func(a, b KeyValue) int { return strings.Compare(a.Key, b.Key) })
	return out
}
