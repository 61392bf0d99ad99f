package sqlstore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/pedigree-ml/pedigree"
)

// Run is one training run, as the code that trains reports it.
type Run struct {
	// ID is unique over all projects.
	ID         string
	Experiment int64
	Name       string
	User       string
	// Status is RUNNING, SCHEDULED, FINISHED, FAILED or KILLED.
	Status string
	// Start and End are milliseconds since 1970; End is nil until somebody says.
	Start int64
	End   *int64
	// ArtifactURI is the root of the run's files.
	ArtifactURI string
	Stage       string
	Tags        []KeyValue
	Params      []KeyValue
	// Metrics are the latest of each name.
	Metrics  []RunMetric
	Datasets []RunDataset
	// Inputs and Outputs are logged models.
	Inputs, Outputs []RunModel

	project string
}

// RunDataset is a data set that a run read.
type RunDataset struct {
	Name, Digest, SourceType, Source, Schema, Profile string
	Tags                                              []KeyValue
}

// DatasetContext is the tag of a [RunDataset] that says what it was used for.
const DatasetContext = "mlflow.data.context"

// RunModel is a logged model that a run read or made.
type RunModel struct {
	Model string
	Step  int64
}

// The directions of a [RunModel].
const (
	ModelInput  = "in"
	ModelOutput = "out"
)

// RunBatch is what a run reports at once.
type RunBatch struct {
	Metrics []RunMetric
	Params  []KeyValue
	Tags    []KeyValue
}

// RunSearch asks for runs of experiments.
type RunSearch struct {
	Project     string
	Experiments []int64
	View        View
	Clauses     []Clause
	Order       []SortKey
	After       []any
	Limit       int
}

// RunNameTag is the tag that holds the name of a run as well.
const RunNameTag = "mlflow.runName"

const runColumns = "SELECT project, id, experiment, name, user_id, status, start_time, end_time, artifact_uri, stage FROM own_runs "

func scanRun(rows rows) (Run, error) {
	var r Run
	err := rows.Scan(&r.project, &r.ID, &r.Experiment, &r.Name, &r.User, &r.Status, &r.Start, &r.End, &r.ArtifactURI, &r.Stage)
	return r, err
}

// CreateRun makes a run in an experiment; artifactURI makes its artifact root of that
// of the experiment. It returns [pedigree.CodeNotFound] and, for a deleted experiment,
// [pedigree.CodeInvalid].
func (s *Store) CreateRun(ctx context.Context, project string, r *Run, artifactURI func(root string) string) error {
	return s.own(ctx, func(ctx context.Context, tx *Tx) error {
		e, err := tx.activeExperiment(ctx, project, r.Experiment)
		if err != nil {
			return err
		}
		r.ArtifactURI = artifactURI(e.ArtifactURI)
		if err := tx.c.exec(ctx, `INSERT INTO own_runs (id, project, experiment, name, user_id, status, start_time, artifact_uri, stage)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 'active')`, r.ID, project, r.Experiment, r.Name, r.User, r.Status, r.Start, r.ArtifactURI); err != nil {
			return err
		}
		var out statements
		insertTags(&out, r.ID, r.Tags)
		return out.flush(ctx, tx.c)
	})
}

func (tx *Tx) activeExperiment(ctx context.Context, project string, id int64) (e Experiment, err error) {
	err = tx.each(ctx, "read an experiment", experimentColumns+"WHERE project = $1 AND id = $2", []any{project, id}, func(rows rows) (err error) {
		e, err = scanExperiment(rows)
		return err
	})
	if err != nil {
		return e, err
	}
	if e.Stage == "" {
		return e, noExperiment(id)
	}
	return e, activeExperiment(e)
}

func noRun(id string) error {
	return pedigree.Errorf(pedigree.CodeNotFound, "Run with id=%s not found", id)
}

// changeRun runs f on a run, which the writer keeps from other processes.
func (s *Store) changeRun(ctx context.Context, project, id string, f func(ctx context.Context, tx *Tx, r Run) error) error {
	return s.submit(changeRun(ctx, project, id, f)).err
}

func changeRun(ctx context.Context, project, id string, f func(ctx context.Context, tx *Tx, r Run) error) *request {
	return &request{ctx: ctx, runs: []string{id}, answer: make(chan outcome, 1), own: func(ctx context.Context, tx *Tx) error {
		r, err := tx.lockedRun(ctx, id)
		if err != nil {
			return err
		}
		if r.ID == "" || r.project != project {
			return noRun(id)
		}
		return f(ctx, tx, r)
	}}
}

// lockRuns reads runs that the transaction is about, and keeps them from other processes.
// All of them at once, and in one order: two processes must not wait for each other.
func (tx *Tx) lockRuns(ctx context.Context, ids []string) error {
	tx.runs = make(map[string]Run, len(ids))
	return inLists(compact(ids), func(chunk []string) error {
		in, args := list(nil, chunk)
		return tx.each(ctx, "read runs", runColumns+"WHERE id IN ("+in+") ORDER BY id"+tx.s.d.forUpdate, args, func(rows rows) error {
			r, err := scanRun(rows)
			tx.runs[r.ID] = r
			return err
		})
	})
}

// lockedRun returns a run of [Tx.lockRuns] as it is by now, without an ID where it is not
// there.
func (tx *Tx) lockedRun(ctx context.Context, id string) (Run, error) {
	r, ok := tx.runs[id]
	if ok && r.ID == "" { // changed in this transaction
		delete(tx.runs, id)
		err := tx.each(ctx, "read a run", runColumns+"WHERE id = $1", []any{id}, func(rows rows) (err error) {
			r, err = scanRun(rows)
			tx.runs[id] = r
			return err
		})
		return r, err
	}
	return r, nil
}

// changedRun makes the next [Tx.lockedRun] read the run again.
func (tx *Tx) changedRun(id string) { tx.runs[id] = Run{} }

func (s *Store) changeActiveRun(ctx context.Context, project, id string, f func(ctx context.Context, tx *Tx, r Run) error) error {
	return s.changeRun(ctx, project, id, active(f))
}

// active lets f see active runs alone.
func active(f func(ctx context.Context, tx *Tx, r Run) error) func(ctx context.Context, tx *Tx, r Run) error {
	return func(ctx context.Context, tx *Tx, r Run) error {
		if r.Stage != StageActive {
			return pedigree.Errorf(pedigree.CodeInvalid, "The run %s must be in the 'active' state. Current state is %s.", r.ID, r.Stage)
		}
		return f(ctx, tx, r)
	}
}

// UpdateRun changes the status, the end and the name of a run; nil leaves one as it is.
// It returns the run without what was logged, [pedigree.CodeNotFound], and
// [pedigree.CodeInvalid] for a deleted run.
func (s *Store) UpdateRun(ctx context.Context, project, id string, status *string, end *int64, name *string) (Run, error) {
	var out Run
	err := s.changeActiveRun(ctx, project, id, func(ctx context.Context, tx *Tx, r Run) error {
		if status != nil {
			r.Status = *status
		}
		if end != nil {
			r.End = end
		}
		if name != nil {
			r.Name = *name
			var out statements
			insertTags(&out, id, []KeyValue{{RunNameTag, *name}})
			if err := out.flush(ctx, tx.c); err != nil {
				return err
			}
		}
		out = r
		tx.changedRun(id)
		return tx.c.exec(ctx, "UPDATE own_runs SET status = $1, end_time = $2, name = $3 WHERE id = $4", r.Status, r.End, r.Name, id)
	})
	return out, err
}

// SetRunStage deletes or restores a run. It returns [pedigree.CodeNotFound].
func (s *Store) SetRunStage(ctx context.Context, project, id, stage string) error {
	return s.changeRun(ctx, project, id, func(ctx context.Context, tx *Tx, r Run) error {
		tx.changedRun(id)
		return tx.c.exec(ctx, "UPDATE own_runs SET stage = $1 WHERE id = $2", stage, id)
	})
}

// UntagRun removes a tag. It returns [pedigree.CodeNotFound].
func (s *Store) UntagRun(ctx context.Context, project, id, key string) error {
	return s.changeActiveRun(ctx, project, id, func(ctx context.Context, tx *Tx, _ Run) error {
		return tx.untag(ctx, id, key, func() error {
			return pedigree.Errorf(pedigree.CodeNotFound, "No tag with name: %s in run with id %s", key, id)
		})
	})
}

// AppendRunTag sets a tag to what change makes of its value, "" where it is not set.
func (s *Store) AppendRunTag(ctx context.Context, project, id, key string, change func(old string) (string, error)) error {
	return s.changeActiveRun(ctx, project, id, func(ctx context.Context, tx *Tx, _ Run) error {
		old := ""
		err := tx.each(ctx, "read a tag", "SELECT value FROM own_tags WHERE owner = $1 AND key = $2", []any{id, key}, func(rows rows) error { return rows.Scan(&old) })
		if err != nil {
			return err
		}
		value, err := change(old)
		if err != nil {
			return err
		}
		var out statements
		insertTags(&out, id, []KeyValue{{key, value}})
		return out.flush(ctx, tx.c)
	})
}

// LogBatch adds what a run reports: all of it or nothing. A parameter that is there
// with the same value is fine; with another, it returns [pedigree.CodeInvalid].
func (s *Store) LogBatch(ctx context.Context, project, id string, b RunBatch) error {
	r := changeRun(ctx, project, id, active(func(ctx context.Context, tx *Tx, _ Run) error {
		var out statements
		changed, err := tx.addParams(ctx, id, b.Params, &out)
		if err != nil {
			return err
		}
		if len(changed) > 0 {
			return paramsChanged(id, changed)
		}
		if err := tx.addMetrics(ctx, id, b.Metrics, &out); err != nil {
			return err
		}
		insertTags(&out, id, b.Tags)
		for _, t := range b.Tags {
			if t.Key == RunNameTag {
				out.exec("UPDATE own_runs SET name = $1 WHERE id = $2", t.Value, id)
				tx.changedRun(id)
			}
		}
		tx.pending.merge(&out)
		if len(b.Metrics) == 0 {
			return nil
		}
		return tx.foldSometimes(ctx, id)
	}))
	r.gathers = true
	return s.submit(r).err
}

// LogParam adds one parameter, as [Store.LogBatch] does.
func (s *Store) LogParam(ctx context.Context, project, id string, p KeyValue) error {
	return s.changeActiveRun(ctx, project, id, func(ctx context.Context, tx *Tx, _ Run) error {
		var out statements
		changed, err := tx.addParams(ctx, id, []KeyValue{p}, &out)
		if err != nil {
			return err
		}
		if len(changed) > 0 {
			return pedigree.Errorf(pedigree.CodeInvalid, "Changing param values is not allowed. Param with key='%s' was already logged with value='%s' for run ID='%s'. Attempted logging new value '%s'.",
				p.Key, changed[0].old, id, p.Value)
		}
		return out.flush(ctx, tx.c)
	})
}

// changedParam is a parameter that is there with another value.
type changedParam struct {
	KeyValue
	old string
}

func paramsChanged(run string, changed []changedParam) error {
	var texts []string
	for _, c := range changed {
		texts = append(texts, fmt.Sprintf("{'key': %s, 'old_value': %s, 'new_value': %s}", pyQuote(c.Key), pyQuote(c.old), pyQuote(c.Value)))
	}
	return pedigree.Errorf(pedigree.CodeInvalid, "Changing param values is not allowed. Params were already logged='[%s]' for run ID='%s'.", strings.Join(texts, ", "), run)
}

// addParams adds the parameters that are not there yet, and returns those that are there
// with another value.
func (tx *Tx) addParams(ctx context.Context, run string, params []KeyValue, out *statements) ([]changedParam, error) {
	if len(params) == 0 {
		return nil, nil
	}
	if err := tx.pending.flush(ctx, tx.c); err != nil {
		return nil, err
	}
	have := map[string]string{}
	keys := make([]string, len(params))
	for i, p := range params {
		keys[i] = p.Key
	}
	err := inLists(keys, func(chunk []string) error {
		in, args := list([]any{run}, chunk)
		return tx.each(ctx, "read parameters", "SELECT key, value FROM own_params WHERE owner = $1 AND key IN ("+in+")", args, func(rows rows) error {
			var kv KeyValue
			err := rows.Scan(&kv.Key, &kv.Value)
			have[kv.Key] = kv.Value
			return err
		})
	})
	if err != nil {
		return nil, err
	}
	var changed []changedParam
	for _, p := range params {
		old, ok := have[p.Key]
		switch {
		case !ok:
			have[p.Key] = p.Value
			out.insert(ownParams, run, p.Key, p.Value)
		case old != p.Value:
			changed = append(changed, changedParam{p, old})
		}
	}
	return changed, nil
}

// pyQuote quotes a text as the clients that read the message do.
func pyQuote(s string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, "'", `\'`, "\n", `\n`).Replace(s) + "'"
}

// LogInputs adds data sets and logged models that the run read. A data set that the
// experiment has under the same name and digest is not stored again, and one that the
// run has already stays as it is.
func (s *Store) LogInputs(ctx context.Context, project, id string, datasets []RunDataset, models []RunModel) error {
	r := changeRun(ctx, project, id, active(func(ctx context.Context, tx *Tx, r Run) error {
		var ord int64
		if err := tx.row(ctx, "SELECT count(*) FROM own_run_datasets WHERE run = $1", []any{id}, &ord); err != nil {
			return err
		}
		for _, d := range datasets {
			if err := tx.c.exec(ctx, `INSERT INTO own_datasets (project, experiment, name, digest, source_type, source, schema_text, profile)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (project, experiment, name, digest) DO NOTHING`,
				project, r.Experiment, d.Name, d.Digest, d.SourceType, d.Source, d.Schema, d.Profile); err != nil {
				return err
			}
			var use *string
			for _, t := range d.Tags {
				if t.Key == DatasetContext {
					use = &t.Value
				}
			}
			tags, err := json.Marshal(d.Tags)
			if err != nil {
				return err
			}
			if err := tx.c.exec(ctx, `INSERT INTO own_run_datasets (run, name, digest, ord, context, tags)
VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (run, name, digest) DO NOTHING`, id, d.Name, d.Digest, ord, use, string(tags)); err != nil {
				return err
			}
			ord++
		}
		return tx.addRunModels(ctx, id, ModelInput, models)
	}))
	r.shared = true // data sets are the experiment's
	return s.submit(r).err
}

// LogOutputs adds logged models that the run made.
func (s *Store) LogOutputs(ctx context.Context, project, id string, models []RunModel) error {
	return s.changeActiveRun(ctx, project, id, func(ctx context.Context, tx *Tx, _ Run) error {
		return tx.addRunModels(ctx, id, ModelOutput, models)
	})
}

func (tx *Tx) addRunModels(ctx context.Context, run, direction string, models []RunModel) error {
	var out statements
	for _, m := range models {
		out.insert(ownRunModels, run, direction, m.Model, m.Step)
	}
	return out.flush(ctx, tx.c)
}

// Run reads a run with all that was logged, deleted or not. It returns
// [pedigree.CodeNotFound].
func (tx *Tx) Run(ctx context.Context, project, id string) (Run, error) {
	if err := tx.folded(ctx, id); err != nil {
		return Run{}, err
	}
	runs, err := tx.runsByID(ctx, project, []string{id})
	if err == nil && len(runs) == 0 {
		err = noRun(id)
	}
	if err != nil {
		return Run{}, err
	}
	return runs[0], nil
}

// runsByID reads runs in the order of their ids; unknown ids are left out.
func (tx *Tx) runsByID(ctx context.Context, project string, ids []string) ([]Run, error) {
	byID := make(map[string]*Run, len(ids))
	err := inLists(ids, func(chunk []string) error {
		in, args := list(nil, chunk)
		// The project is compared here: given it, SQLite would look at all its runs.
		return tx.each(ctx, "read runs", runColumns+"WHERE id IN ("+in+")", args, func(rows rows) error {
			r, err := scanRun(rows)
			if r.project == project {
				byID[r.ID] = &r
			}
			return err
		})
	})
	if err != nil || len(byID) == 0 {
		return nil, err
	}
	for _, read := range []func(context.Context, []string, map[string]*Run) error{tx.runTexts, tx.latestMetrics, tx.runDatasets, tx.runModels} {
		if err := read(ctx, ids, byID); err != nil {
			return nil, err
		}
	}
	out := make([]Run, 0, len(ids))
	for _, id := range ids {
		if r := byID[id]; r != nil {
			out = append(out, *r)
		}
	}
	return out, nil
}

func (tx *Tx) runTexts(ctx context.Context, ids []string, byID map[string]*Run) error {
	err := tx.keyValues(ctx, "own_tags", ids, func(owner string, kv KeyValue) {
		if r := byID[owner]; r != nil {
			r.Tags = append(r.Tags, kv)
		}
	})
	if err != nil {
		return err
	}
	return tx.keyValues(ctx, "own_params", ids, func(owner string, kv KeyValue) {
		if r := byID[owner]; r != nil {
			r.Params = append(r.Params, kv)
		}
	})
}

func (tx *Tx) runDatasets(ctx context.Context, ids []string, byID map[string]*Run) error {
	return inLists(ids, func(chunk []string) error {
		in, args := list(nil, chunk)
		return tx.each(ctx, "read data sets", `SELECT x.run, x.tags, d.name, d.digest, d.source_type, d.source, d.schema_text, d.profile
FROM own_run_datasets x CROSS JOIN own_runs r CROSS JOIN own_datasets d
WHERE r.id = x.run AND d.project = r.project AND d.experiment = r.experiment AND d.name = x.name AND d.digest = x.digest
AND x.run IN (`+in+") ORDER BY x.run, x.ord", args, func(rows rows) error {
			var d RunDataset
			var run, tags string
			err := rows.Scan(&run, &tags, &d.Name, &d.Digest, &d.SourceType, &d.Source, &d.Schema, &d.Profile)
			if err == nil {
				err = json.Unmarshal([]byte(tags), &d.Tags)
			}
			if r := byID[run]; r != nil {
				r.Datasets = append(r.Datasets, d)
			}
			return err
		})
	})
}

func (tx *Tx) runModels(ctx context.Context, ids []string, byID map[string]*Run) error {
	return inLists(ids, func(chunk []string) error {
		in, args := list(nil, chunk)
		return tx.each(ctx, "read models of runs", "SELECT run, direction, model, step FROM own_run_models WHERE run IN ("+in+") ORDER BY run, step, model", args, func(rows rows) error {
			var run, direction string
			var m RunModel
			err := rows.Scan(&run, &direction, &m.Model, &m.Step)
			if r := byID[run]; r != nil {
				if direction == ModelInput {
					r.Inputs = append(r.Inputs, m)
				} else {
					r.Outputs = append(r.Outputs, m)
				}
			}
			return err
		})
	})
}

// SearchRuns lists runs, and the key of the last where there are more.
func (tx *Tx) SearchRuns(ctx context.Context, q RunSearch) ([]Run, []any, error) {
	noun := &trackedNoun{
		owner: "r.id",
		texts: map[string]string{
			"run_id": "r.id", "run_name": "r.name", "user_id": "r.user_id", "status": "r.status", "artifact_uri": "r.artifact_uri",
		},
		numbers: map[string]string{"start_time": "r.start_time", "end_time": "r.end_time"},
		metrics: "own_latest_metrics", metricOwner: "run",
	}
	if len(q.Experiments) == 0 {
		return nil, nil, nil
	}
	if err := tx.folded(ctx, ""); err != nil {
		return nil, nil, err
	}
	c := &compiler{tx: tx, ctx: ctx}
	from, err := c.runDriver(q.Clauses)
	if err != nil {
		return nil, nil, err
	}
	experiments := make([]string, len(q.Experiments))
	for i, id := range q.Experiments {
		experiments[i] = c.arg(id)
	}
	where := []string{"r.project = " + c.arg(q.Project), "r.experiment IN (" + strings.Join(experiments, ", ") + ")", q.View.condition("r.stage")}
	if from != "own_runs r" {
		where = append([]string{"r.id = d.id"}, where...)
	}
	for _, cl := range q.Clauses {
		cond, err := c.runClause(noun, cl)
		if err != nil {
			return nil, nil, err
		}
		where = append(where, cond)
	}
	var columns []sortColumn
	byStart := false
	for _, k := range q.Order {
		cols, err := c.sortColumns(noun, k)
		if err != nil {
			return nil, nil, err
		}
		byStart = byStart || k.Kind == ClauseAttribute && k.Key == "start_time"
		columns = append(columns, cols...)
	}
	if !byStart {
		columns = append(columns, sortColumn{expr: "r.start_time", desc: true, integer: true})
	}
	columns = append(columns, sortColumn{expr: "r.id"})
	found, next, err := c.paged(from, where, columns, q.After, q.Limit)
	if err != nil || len(found) == 0 {
		return nil, nil, err
	}
	ids := make([]string, len(found))
	for i, row := range found {
		ids[i], _ = row[len(row)-1].(string)
	}
	runs, err := tx.runsByID(ctx, q.Project, ids)
	return runs, next, err
}

// runDriver is where a search over runs begins: at the few runs that an index finds for
// one of the clauses, where there are few, else at all runs, the newest first.
func (c *compiler) runDriver(clauses []Clause) (string, error) {
	best, least := "", sample
	for _, cl := range clauses {
		probe := &compiler{tx: c.tx, ctx: c.ctx}
		text := probe.indexed(cl)
		if text == "" {
			continue
		}
		var n int
		rs, err := c.tx.c.c.QueryContext(c.ctx, "SELECT count(*) FROM ("+text+" LIMIT "+itoa(sample)+") n", probe.args...)
		if err != nil {
			return "", c.tx.s.d.translate(err, "search")
		}
		for rs.Next() {
			err = rs.Scan(&n)
		}
		if err = errors.Join(err, rs.Err(), rs.Close()); err != nil {
			return "", c.tx.s.d.translate(err, "search")
		}
		if n < least {
			least = n
			chosen := &compiler{tx: c.tx, ctx: c.ctx}
			best = "(SELECT DISTINCT id FROM (" + chosen.indexed(cl) + ") f) d CROSS JOIN own_runs r"
			c.args = chosen.args
		}
	}
	if best == "" {
		return "own_runs r", nil
	}
	return best, nil
}

// indexed selects the ids of the runs that an index finds for a clause; "" where none
// does.
func (c *compiler) indexed(cl Clause) string {
	switch {
	case (cl.Kind == ClauseTag || cl.Kind == ClauseParam) && cl.Cmp == pedigree.CmpEqual:
		source := "own_tags"
		if cl.Kind == ClauseParam {
			source = "own_params"
		}
		value := cl.Values[0].Text
		return "SELECT x.owner AS id FROM " + source + " x WHERE x.key = " + c.arg(cl.Key) + " AND substr(x.value, 1, 64) = " + c.arg(firstRunes(value, 64)) + " AND x.value = " + c.arg(value)
	case cl.Kind == ClauseMetric && cl.Cmp != pedigree.CmpNotEqual:
		return "SELECT x.run AS id FROM own_latest_metrics x WHERE x.key = " + c.arg(cl.Key) + " AND x.nan = 0 AND " +
			c.compare("x.value", cl.Cmp, cl.Values, func(v pedigree.FilterValue) any { return v.Number })
	case cl.Kind == ClauseDataset && cl.Key == "name" && cl.Cmp == pedigree.CmpEqual:
		return "SELECT x.run AS id FROM own_run_datasets x WHERE x.name = " + c.arg(cl.Values[0].Text)
	}
	return ""
}

// firstRunes is the first n characters of a text.
func firstRunes(s string, n int) string {
	for i := range s {
		if n == 0 {
			return s[:i]
		}
		n--
	}
	return s
}

func (c *compiler) runClause(noun *trackedNoun, cl Clause) (string, error) {
	if cl.Kind != ClauseDataset {
		return c.clause(noun, cl)
	}
	column, ok := map[string]string{"name": "x.name", "digest": "x.digest", "context": "x.context"}[cl.Key]
	if !ok {
		return "", pedigree.Errorf(pedigree.CodeInvalid, "can't search by dataset %q", cl.Key)
	}
	return "EXISTS (SELECT 1 FROM own_run_datasets x WHERE x.run = r.id AND " + c.compare(column, cl.Cmp, cl.Values, textValue) + ")", nil
}
