package sqlstore

import (
	"context"
	"strings"

	"github.com/pedigree-ml/pedigree"
)

// LoggedModel is a model that a run logged, before anybody registers it.
type LoggedModel struct {
	// ID is "m-" and 32 hexadecimal digits, unique over all projects.
	ID         string
	Experiment int64
	Name       string
	Type       string
	// SourceRun is the run that made it; "" where nobody said.
	SourceRun string
	// Status is 1 for pending, 2 for ready, 3 for an upload that failed.
	Status      int64
	ArtifactURI string
	Stage       string
	// Created and Updated are milliseconds since 1970.
	Created, Updated int64
	Tags             []KeyValue
	Params           []KeyValue
	Metrics          []RunMetric

	project string
}

// LoggedModelSearch asks for logged models of experiments.
type LoggedModelSearch struct {
	Project     string
	Experiments []int64
	Clauses     []Clause
	// Datasets limit the models, or where a clause speaks of metrics, these, to those
	// measured on any of them; a digest may be empty.
	Datasets []RunDataset
	Order    []SortKey
	After    []any
	Limit    int
}

const loggedModelColumns = "SELECT project, id, experiment, name, model_type, source_run, status, artifact_uri, stage, created, updated FROM own_logged_models "

func scanLoggedModel(rows rows) (LoggedModel, error) {
	var m LoggedModel
	err := rows.Scan(&m.project, &m.ID, &m.Experiment, &m.Name, &m.Type, &m.SourceRun, &m.Status, &m.ArtifactURI, &m.Stage, &m.Created, &m.Updated)
	return m, err
}

// CreateLoggedModel makes a logged model in an experiment; artifactURI makes its root
// of that of the experiment. It returns what [Store.CreateRun] does.
func (s *Store) CreateLoggedModel(ctx context.Context, project string, m *LoggedModel, artifactURI func(root string) string) error {
	return s.own(ctx, func(ctx context.Context, tx *Tx) error {
		e, err := tx.activeExperiment(ctx, project, m.Experiment)
		if err != nil {
			return err
		}
		m.ArtifactURI = artifactURI(e.ArtifactURI)
		if err := tx.c.exec(ctx, `INSERT INTO own_logged_models (id, project, experiment, name, model_type, source_run, status, artifact_uri, stage, created, updated)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 'active', $9, $9)`, m.ID, project, m.Experiment, m.Name, m.Type, m.SourceRun, m.Status, m.ArtifactURI, m.Created); err != nil {
			return err
		}
		var out statements
		insertTags(&out, m.ID, m.Tags)
		for _, p := range lastByKey(m.Params) {
			out.insert(ownParams, m.ID, p.Key, p.Value)
		}
		return out.flush(ctx, tx.c)
	})
}

func noLoggedModel(id string) error {
	return pedigree.Errorf(pedigree.CodeNotFound, "Logged model with ID '%s' not found.", id)
}

// changeLoggedModel runs f on a logged model, which it keeps from other writers.
func (s *Store) changeLoggedModel(ctx context.Context, project, id string, f func(ctx context.Context, tx *Tx) error) error {
	return s.own(ctx, func(ctx context.Context, tx *Tx) error {
		found := false
		err := tx.each(ctx, "read a logged model", loggedModelColumns+"WHERE id = $1 AND project = $2 AND stage = 'active'"+s.d.forUpdate, []any{id, project}, func(rows rows) error {
			_, err := scanLoggedModel(rows)
			found = true
			return err
		})
		if err != nil {
			return err
		}
		if !found {
			return noLoggedModel(id)
		}
		return f(ctx, tx)
	})
}

// SetLoggedModelStatus changes the status. It returns [pedigree.CodeNotFound].
func (s *Store) SetLoggedModelStatus(ctx context.Context, project, id string, status, now int64) error {
	return s.changeLoggedModel(ctx, project, id, func(ctx context.Context, tx *Tx) error {
		return tx.c.exec(ctx, "UPDATE own_logged_models SET status = $1, updated = $2 WHERE id = $3", status, now, id)
	})
}

// DeleteLoggedModel hides a logged model. It returns [pedigree.CodeNotFound].
func (s *Store) DeleteLoggedModel(ctx context.Context, project, id string, now int64) error {
	return s.changeLoggedModel(ctx, project, id, func(ctx context.Context, tx *Tx) error {
		return tx.c.exec(ctx, "UPDATE own_logged_models SET stage = 'deleted', updated = $1 WHERE id = $2", now, id)
	})
}

// TagLoggedModel sets tags. It returns [pedigree.CodeNotFound].
func (s *Store) TagLoggedModel(ctx context.Context, project, id string, tags []KeyValue) error {
	return s.changeLoggedModel(ctx, project, id, func(ctx context.Context, tx *Tx) error {
		var out statements
		insertTags(&out, id, tags)
		return out.flush(ctx, tx.c)
	})
}

// AppendLoggedModelTag sets a tag to what change makes of its value, "" where it is not
// set. It returns [pedigree.CodeNotFound].
func (s *Store) AppendLoggedModelTag(ctx context.Context, project, id, key string, change func(old string) (string, error)) error {
	return s.changeLoggedModel(ctx, project, id, func(ctx context.Context, tx *Tx) error {
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

// UntagLoggedModel removes a tag. It returns [pedigree.CodeNotFound], also for a tag
// that is not set.
func (s *Store) UntagLoggedModel(ctx context.Context, project, id, key string) error {
	return s.changeLoggedModel(ctx, project, id, func(ctx context.Context, tx *Tx) error {
		return tx.untag(ctx, id, key, func() error {
			return pedigree.Errorf(pedigree.CodeNotFound, "No tag with key '%s' found for model with ID '%s'.", key, id)
		})
	})
}

// AddLoggedModelParams adds parameters. It returns [pedigree.CodeNotFound], and
// [pedigree.CodeInvalid] for one that is there with another value.
func (s *Store) AddLoggedModelParams(ctx context.Context, project, id string, params []KeyValue) error {
	return s.changeLoggedModel(ctx, project, id, func(ctx context.Context, tx *Tx) error {
		var out statements
		changed, err := tx.addParams(ctx, id, params, &out)
		if err != nil {
			return err
		}
		if len(changed) > 0 {
			return paramsChanged(id, changed)
		}
		return out.flush(ctx, tx.c)
	})
}

// LoggedModel reads a logged model. It returns [pedigree.CodeNotFound], for a deleted
// one unless deleted is set.
func (tx *Tx) LoggedModel(ctx context.Context, project, id string, deleted bool) (LoggedModel, error) {
	models, err := tx.loggedModelsByID(ctx, project, []string{id})
	if err == nil && (len(models) == 0 || models[0].Stage != StageActive && !deleted) {
		err = noLoggedModel(id)
	}
	if err != nil {
		return LoggedModel{}, err
	}
	return models[0], nil
}

// LoggedModelOf finds the newest logged model of a run by its name. It returns
// [pedigree.CodeNotFound].
func (tx *Tx) LoggedModelOf(ctx context.Context, project, run, name string) (LoggedModel, error) {
	id := ""
	err := tx.each(ctx, "find a logged model", `SELECT id FROM own_logged_models WHERE source_run = $1 AND project = $2 AND name = $3 AND stage = 'active'
ORDER BY created DESC, id LIMIT 1`, []any{run, project, name}, func(rows rows) error { return rows.Scan(&id) })
	if err == nil && id == "" {
		err = pedigree.Errorf(pedigree.CodeNotFound, "run %s logged no model %q", run, name)
	}
	if err != nil {
		return LoggedModel{}, err
	}
	return tx.LoggedModel(ctx, project, id, false)
}

func (tx *Tx) loggedModelsByID(ctx context.Context, project string, ids []string) ([]LoggedModel, error) {
	byID := make(map[string]*LoggedModel, len(ids))
	err := inLists(ids, func(chunk []string) error {
		in, args := list(nil, chunk)
		return tx.each(ctx, "read logged models", loggedModelColumns+"WHERE id IN ("+in+")", args, func(rows rows) error {
			m, err := scanLoggedModel(rows)
			if m.project == project { // see runsByID
				byID[m.ID] = &m
			}
			return err
		})
	})
	if err != nil || len(byID) == 0 {
		return nil, err
	}
	err = tx.keyValues(ctx, "own_tags", ids, func(owner string, kv KeyValue) {
		if m := byID[owner]; m != nil {
			m.Tags = append(m.Tags, kv)
		}
	})
	if err != nil {
		return nil, err
	}
	err = tx.keyValues(ctx, "own_params", ids, func(owner string, kv KeyValue) {
		if m := byID[owner]; m != nil {
			m.Params = append(m.Params, kv)
		}
	})
	if err != nil {
		return nil, err
	}
	err = inLists(ids, func(chunk []string) error {
		in, args := list(nil, chunk)
		return tx.each(ctx, "read metrics of models", `SELECT model, key, time, step, run, value, nan, dataset, digest FROM own_model_metrics
WHERE model IN (`+in+") ORDER BY model, key, time, step, run", args, func(rows rows) error {
			var v RunMetric
			var nan int64
			err := rows.Scan(&v.Model, &v.Key, &v.Time, &v.Step, &v.Run, &v.Value, &nan, &v.Dataset, &v.Digest)
			v.Value = readMetric(v.Value, nan)
			if m := byID[v.Model]; m != nil {
				m.Metrics = append(m.Metrics, v)
			}
			return err
		})
	})
	if err != nil {
		return nil, err
	}
	out := make([]LoggedModel, 0, len(ids))
	for _, id := range ids {
		if m := byID[id]; m != nil {
			out = append(out, *m)
		}
	}
	return out, nil
}

// SearchLoggedModels lists logged models, the newest first where no order is asked for,
// and the key of the last where there are more.
func (tx *Tx) SearchLoggedModels(ctx context.Context, q LoggedModelSearch) ([]LoggedModel, []any, error) {
	noun := &trackedNoun{
		owner: "m.id",
		texts: map[string]string{
			"model_id": "m.id", "name": "m.name", "model_type": "m.model_type", "source_run_id": "m.source_run",
			"artifact_location": "m.artifact_uri", "lifecycle_stage": "m.stage",
		},
		numbers: map[string]string{"creation_timestamp_ms": "m.created", "last_updated_timestamp_ms": "m.updated", "status": "m.status", "experiment_id": "m.experiment"},
		metrics: "own_model_metrics", metricOwner: "model",
	}
	if len(q.Experiments) == 0 {
		return nil, nil, nil
	}
	c := &compiler{tx: tx, ctx: ctx}
	experiments := make([]string, len(q.Experiments))
	for i, id := range q.Experiments {
		experiments[i] = c.arg(id)
	}
	where := []string{"m.project = " + c.arg(q.Project), "m.experiment IN (" + strings.Join(experiments, ", ") + ")", "m.stage = 'active'"}
	var measured string
	if len(q.Datasets) > 0 {
		var any []string
		for _, d := range q.Datasets {
			cond := "x.dataset = " + c.arg(d.Name)
			if d.Digest != "" {
				cond += " AND x.digest = " + c.arg(d.Digest)
			}
			any = append(any, "("+cond+")")
		}
		measured = " AND (" + strings.Join(any, " OR ") + ")"
	}
	metrics := false
	for _, cl := range q.Clauses {
		cond, err := c.clause(noun, cl)
		if err != nil {
			return nil, nil, err
		}
		if cl.Kind == ClauseMetric {
			metrics = true
			cond = strings.TrimSuffix(cond, ")") + measured + ")"
		}
		where = append(where, cond)
	}
	if measured != "" && !metrics {
		where = append(where, "EXISTS (SELECT 1 FROM own_model_metrics x WHERE x.model = m.id"+measured+")")
	}
	var columns []sortColumn
	byCreated := false
	for _, k := range q.Order {
		cols, err := c.sortColumns(noun, k)
		if err != nil {
			return nil, nil, err
		}
		byCreated = byCreated || k.Kind == ClauseAttribute && k.Key == "creation_timestamp_ms"
		columns = append(columns, cols...)
	}
	if !byCreated {
		columns = append(columns, sortColumn{expr: "m.created", desc: true, integer: true})
	}
	columns = append(columns, sortColumn{expr: "m.id"})
	found, next, err := c.paged("own_logged_models m", where, columns, q.After, q.Limit)
	if err != nil || len(found) == 0 {
		return nil, nil, err
	}
	ids := make([]string, len(found))
	for i, row := range found {
		ids[i], _ = row[len(row)-1].(string)
	}
	models, err := tx.loggedModelsByID(ctx, q.Project, ids)
	return models, next, err
}
