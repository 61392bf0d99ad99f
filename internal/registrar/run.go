package registrar

import (
	"context"
	"math"
	"strings"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/internal/sqlstore"
)

// The nouns of runs.
type (
	Run        = sqlstore.Run
	RunMetric  = sqlstore.RunMetric
	RunDataset = sqlstore.RunDataset
	RunModel   = sqlstore.RunModel
	RunBatch   = sqlstore.RunBatch
	RunSearch  = sqlstore.RunSearch
)

// Tags that mean something.
const (
	RunNameTag     = sqlstore.RunNameTag
	DatasetContext = sqlstore.DatasetContext
)

// CreateRun makes a run of what run says of experiment, name ("" gets one), user, start
// and tags, and returns it. It returns [pedigree.CodeNotFound], and [pedigree.CodeInvalid] for a
// deleted experiment.
func (r *Registrar) CreateRun(ctx context.Context, p pedigree.Principal, project pedigree.ProjectName, run Run) (Run, error) {
	id, err := r.tracking(ctx, p, pedigree.RunsWrite, project)
	if err != nil {
		return run, err
	}
	run.ID = r.hexID()
	run.Status, run.Stage = "RUNNING", StageActive
	if run.Name == "" {
		run.Name = generatedName(run.ID)
	}
	run.Tags = append(run.Tags[:len(run.Tags):len(run.Tags)], KeyValue{Key: RunNameTag, Value: run.Name})
	err = r.store.CreateRun(ctx, id, &run, func(root string) string { return joinURI(root, run.ID+"/artifacts") })
	return run, err
}

// hexID is an opaque id of 32 hexadecimal digits, as clients of MLflow expect it.
func (r *Registrar) hexID() string {
	_, id, _ := strings.Cut(r.newID("run"), "_")
	return strings.ReplaceAll(id, "-", "")
}

// joinURI adds a path to a URI, before its query.
func joinURI(uri, path string) string {
	base, query, has := strings.Cut(uri, "?")
	out := strings.TrimSuffix(base, "/") + "/" + path
	if has {
		out += "?" + query
	}
	return out
}

// Run reads a run with all that it logged, deleted or not. It returns
// [pedigree.CodeNotFound].
func (r *Registrar) Run(ctx context.Context, p pedigree.Principal, project pedigree.ProjectName, run string) (out Run, err error) {
	err = r.readTracking(ctx, p, pedigree.RunsRead, project, func(tx *sqlstore.Tx, id string) (err error) {
		out, err = tx.Run(ctx, id, run)
		return err
	})
	return out, err
}

// RunForRegistration reads what a registration takes from a run: parameters, latest
// metrics, tags, data sets and logged models. It returns [pedigree.CodeNotFound].
func (r *Registrar) RunForRegistration(ctx context.Context, p pedigree.Principal, project pedigree.ProjectName, run string) (Run, error) {
	return r.Run(ctx, p, project, run)
}

// UpdateRun changes status, end and name of a run; nil leaves one as it is. It returns
// the run without what it logged, [pedigree.CodeNotFound], and [pedigree.CodeInvalid]
// for a deleted run.
func (r *Registrar) UpdateRun(ctx context.Context, p pedigree.Principal, project pedigree.ProjectName, run string, status *string, end *int64, name *string) (Run, error) {
	id, err := r.tracking(ctx, p, pedigree.RunsWrite, project)
	if err != nil {
		return Run{}, err
	}
	return r.store.UpdateRun(ctx, id, run, status, end, name)
}

// SetRunStage deletes or restores a run. It returns [pedigree.CodeNotFound].
func (r *Registrar) SetRunStage(ctx context.Context, p pedigree.Principal, project pedigree.ProjectName, run, stage string) error {
	id, err := r.tracking(ctx, p, pedigree.RunsWrite, project)
	if err != nil {
		return err
	}
	return r.store.SetRunStage(ctx, id, run, stage)
}

// LogBatch adds metrics, parameters and tags to a run: all or nothing. It returns
// [pedigree.CodeNotFound], and [pedigree.CodeInvalid] for a deleted run and for a
// parameter that is there with another value.
func (r *Registrar) LogBatch(ctx context.Context, p pedigree.Principal, project pedigree.ProjectName, run string, b RunBatch) error {
	id, err := r.tracking(ctx, p, pedigree.RunsWrite, project)
	if err != nil {
		return err
	}
	return r.store.LogBatch(ctx, id, run, b)
}

// LogParam adds one parameter, as [Registrar.LogBatch] does.
func (r *Registrar) LogParam(ctx context.Context, p pedigree.Principal, project pedigree.ProjectName, run string, param KeyValue) error {
	id, err := r.tracking(ctx, p, pedigree.RunsWrite, project)
	if err != nil {
		return err
	}
	return r.store.LogParam(ctx, id, run, param)
}

// UntagRun removes a tag. It returns [pedigree.CodeNotFound], also for a tag that is
// not set, and [pedigree.CodeInvalid] for a deleted run.
func (r *Registrar) UntagRun(ctx context.Context, p pedigree.Principal, project pedigree.ProjectName, run, key string) error {
	id, err := r.tracking(ctx, p, pedigree.RunsWrite, project)
	if err != nil {
		return err
	}
	return r.store.UntagRun(ctx, id, run, key)
}

// AppendRunTag sets a tag to what change makes of its value, which is "" where it is
// not set; change may be called more than once.
func (r *Registrar) AppendRunTag(ctx context.Context, p pedigree.Principal, project pedigree.ProjectName, run, key string, change func(old string) (string, error)) error {
	id, err := r.tracking(ctx, p, pedigree.RunsWrite, project)
	if err != nil {
		return err
	}
	return r.store.AppendRunTag(ctx, id, run, key, change)
}

// LogInputs adds data sets and logged models that a run read.
func (r *Registrar) LogInputs(ctx context.Context, p pedigree.Principal, project pedigree.ProjectName, run string, datasets []RunDataset, models []RunModel) error {
	id, err := r.tracking(ctx, p, pedigree.RunsWrite, project)
	if err != nil {
		return err
	}
	return r.store.LogInputs(ctx, id, run, datasets, models)
}

// LogOutputs adds logged models that a run made.
func (r *Registrar) LogOutputs(ctx context.Context, p pedigree.Principal, project pedigree.ProjectName, run string, models []RunModel) error {
	id, err := r.tracking(ctx, p, pedigree.RunsWrite, project)
	if err != nil {
		return err
	}
	return r.store.LogOutputs(ctx, id, run, models)
}

// MetricHistory lists all that a run logged of a metric, by time, step and value; limit
// 0 means all. It returns the token of the next page.
func (r *Registrar) MetricHistory(ctx context.Context, p pedigree.Principal, project pedigree.ProjectName, run, key string, limit int, token string) (out []RunMetric, next string, err error) {
	next, err = r.searchTracking(ctx, p, project, token, []any{"history", run, key}, func(tx *sqlstore.Tx, id string, after []any) ([]any, error) {
		from, err := metricOf(after)
		if err != nil {
			return nil, err
		}
		ask := 0
		if limit > 0 {
			ask = limit + 1
		}
		if out, err = tx.MetricHistory(ctx, id, run, key, from, ask); err != nil || limit == 0 || len(out) <= limit {
			return nil, err
		}
		out = out[:limit]
		return keyOf(out[limit-1]), nil
	})
	return out, next, err
}

// keyOf and metricOf turn a measurement into the key of a page and back.
func keyOf(m RunMetric) []any {
	if math.IsNaN(m.Value) {
		return []any{m.Time, m.Step, 0, 1}
	}
	return []any{m.Time, m.Step, m.Value, 0}
}

func metricOf(key []any) (*RunMetric, error) {
	if key == nil {
		return nil, nil
	}
	var n [4]float64
	for i := range n {
		var ok bool
		if i >= len(key) {
			break
		}
		if n[i], ok = key[i].(float64); !ok {
			return nil, pedigree.Errorf(pedigree.CodeInvalid, "Invalid page token")
		}
	}
	m := &RunMetric{Time: int64(n[0]), Step: int64(n[1]), Value: n[2]}
	if n[3] != 0 {
		m.Value = math.NaN()
	}
	return m, nil
}

// SearchRuns lists runs in the order of q, whose project and place are set here. It
// returns the token of the next page, and [pedigree.CodeInvalid] for a token of another
// search.
func (r *Registrar) SearchRuns(ctx context.Context, p pedigree.Principal, project pedigree.ProjectName, q RunSearch, token string) (out []Run, next string, err error) {
	next, err = r.searchTracking(ctx, p, project, token, []any{"runs", q.Experiments, q.View, q.Clauses, q.Order}, func(tx *sqlstore.Tx, id string, after []any) (key []any, err error) {
		q.Project, q.After = id, after
		out, key, err = tx.SearchRuns(ctx, q)
		return key, err
	})
	return out, next, err
}
