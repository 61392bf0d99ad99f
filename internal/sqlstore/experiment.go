package sqlstore

import (
	"context"
	"errors"
	"fmt"

	"github.com/pedigree-ml/pedigree"
)

// Experiment groups runs. Its id is unique within the project; 0 is there from the
// beginning.
type Experiment struct {
	ID          int64
	Name        string
	ArtifactURI string
	Stage       string
	// Created and Updated are milliseconds since 1970.
	Created, Updated int64
	Tags             []KeyValue
}

// ExperimentSearch asks for experiments.
type ExperimentSearch struct {
	Project string
	View    View
	Clauses []Clause
	Order   []SortKey
	After   []any
	Limit   int
}

const experimentColumns = "SELECT id, name, artifact_uri, stage, created, updated FROM own_experiments "

func scanExperiment(rows rows) (Experiment, error) {
	var e Experiment
	err := rows.Scan(&e.ID, &e.Name, &e.ArtifactURI, &e.Stage, &e.Created, &e.Updated)
	return e, err
}

// experimentOwner is the name by which own_tags knows an experiment. No run and no
// logged model has one like it.
func experimentOwner(project string, id int64) string { return fmt.Sprintf("%s/%d", project, id) }

// HasExperiments says whether the project has its first experiment.
func (tx *Tx) HasExperiments(ctx context.Context, project string) (bool, error) {
	var n int
	err := tx.row(ctx, "SELECT count(*) FROM own_experiments WHERE project = $1 AND id = 0", []any{project}, &n)
	return n > 0, tx.s.d.translate(err, "find an experiment")
}

// AddDefaultExperiment makes experiment 0 of the project where it is not there.
func (s *Store) AddDefaultExperiment(ctx context.Context, project string, e Experiment) error {
	return s.own(ctx, func(ctx context.Context, tx *Tx) error {
		return tx.c.exec(ctx, `INSERT INTO own_experiments (project, id, name, artifact_uri, stage, created, updated)
VALUES ($1, 0, $2, $3, 'active', $4, $4) ON CONFLICT (project, id) DO NOTHING`, project, e.Name, e.ArtifactURI, e.Created)
	})
}

// CreateExperiment makes an experiment and returns its id. artifactURI makes its
// artifact root of the id. It returns [pedigree.CodeExists] for a name that is taken,
// also by a deleted experiment.
func (s *Store) CreateExperiment(ctx context.Context, project string, e Experiment, artifactURI func(id int64) string) (int64, error) {
	var id int64
	err := s.own(ctx, func(ctx context.Context, tx *Tx) error {
		if err := tx.freeExperimentName(ctx, project, e.Name, -1); err != nil {
			return err
		}
		if err := tx.row(ctx, "SELECT coalesce(max(id), 0) + 1 FROM own_experiments WHERE project = $1", []any{project}, &id); err != nil {
			return err
		}
		if err := tx.c.exec(ctx, `INSERT INTO own_experiments (project, id, name, artifact_uri, stage, created, updated)
VALUES ($1, $2, $3, $4, 'active', $5, $5)`, project, id, e.Name, artifactURI(id), e.Created); err != nil {
			return err
		}
		var out statements
		insertTags(&out, experimentOwner(project, id), e.Tags)
		return out.flush(ctx, tx.c)
	})
	return id, err
}

func (tx *Tx) freeExperimentName(ctx context.Context, project, name string, but int64) error {
	var id int64
	err := tx.row(ctx, "SELECT id FROM own_experiments WHERE project = $1 AND name = $2", []any{project, name}, &id)
	switch {
	case errors.Is(err, errNoRows) || err == nil && id == but:
		return nil
	case err != nil:
		return err
	}
	return pedigree.Errorf(pedigree.CodeExists, "Experiment(name=%s) already exists.", name)
}

// Experiment reads an experiment, deleted or not. It returns [pedigree.CodeNotFound].
func (tx *Tx) Experiment(ctx context.Context, project string, id int64) (Experiment, error) {
	list, err := tx.experiments(ctx, project, "WHERE project = $1 AND id = $2", project, id)
	if err == nil && len(list) == 0 {
		err = noExperiment(id)
	}
	if err != nil {
		return Experiment{}, err
	}
	return list[0], nil
}

func noExperiment(id int64) error {
	return pedigree.Errorf(pedigree.CodeNotFound, "No Experiment with id=%d exists", id)
}

// ExperimentByName reads an experiment by its name. It returns [pedigree.CodeNotFound].
func (tx *Tx) ExperimentByName(ctx context.Context, project, name string) (Experiment, error) {
	list, err := tx.experiments(ctx, project, "WHERE project = $1 AND name = $2", project, name)
	if err == nil && len(list) == 0 {
		err = pedigree.Errorf(pedigree.CodeNotFound, "Could not find experiment with name '%s'", name)
	}
	if err != nil {
		return Experiment{}, err
	}
	return list[0], nil
}

func (tx *Tx) experiments(ctx context.Context, project, where string, args ...any) ([]Experiment, error) {
	var out []Experiment
	err := tx.each(ctx, "read experiments", experimentColumns+where, args, func(rows rows) error {
		e, err := scanExperiment(rows)
		out = append(out, e)
		return err
	})
	if err != nil || len(out) == 0 {
		return out, err
	}
	byOwner := map[string]*Experiment{}
	owners := make([]string, len(out))
	for i := range out {
		owners[i] = experimentOwner(project, out[i].ID)
		byOwner[owners[i]] = &out[i]
	}
	err = tx.keyValues(ctx, "own_tags", owners, func(owner string, kv KeyValue) { byOwner[owner].Tags = append(byOwner[owner].Tags, kv) })
	return out, err
}

// changeExperiment runs f on an experiment, which it reads first; its seq of writers is
// one, also over several processes.
func (s *Store) changeExperiment(ctx context.Context, project string, id int64, f func(ctx context.Context, tx *Tx, e Experiment) error) error {
	return s.own(ctx, func(ctx context.Context, tx *Tx) error {
		var e Experiment
		err := tx.each(ctx, "read an experiment", experimentColumns+"WHERE project = $1 AND id = $2"+s.d.forUpdate, []any{project, id}, func(rows rows) (err error) {
			e, err = scanExperiment(rows)
			return err
		})
		if err != nil {
			return err
		}
		if e.Stage == "" {
			return noExperiment(id)
		}
		return f(ctx, tx, e)
	})
}

// RenameExperiment gives an experiment another name. It returns
// [pedigree.CodeNotFound], [pedigree.CodeExists], and [pedigree.CodeInvalid] for a
// deleted experiment.
func (s *Store) RenameExperiment(ctx context.Context, project string, id int64, name string, now int64) error {
	return s.changeExperiment(ctx, project, id, func(ctx context.Context, tx *Tx, e Experiment) error {
		if e.Stage != StageActive {
			return pedigree.Errorf(pedigree.CodeInvalid, "Cannot rename a non-active experiment.")
		}
		if err := tx.freeExperimentName(ctx, project, name, id); err != nil {
			return err
		}
		return tx.c.exec(ctx, "UPDATE own_experiments SET name = $1, updated = $2 WHERE project = $3 AND id = $4", name, now, project, id)
	})
}

// SetExperimentStage deletes or restores an experiment and its runs. It returns
// [pedigree.CodeNotFound] for one that has the stage already.
func (s *Store) SetExperimentStage(ctx context.Context, project string, id int64, stage string, now int64) error {
	return s.changeExperiment(ctx, project, id, func(ctx context.Context, tx *Tx, e Experiment) error {
		if e.Stage == stage {
			return noExperiment(id)
		}
		if err := tx.c.exec(ctx, "UPDATE own_experiments SET stage = $1, updated = $2 WHERE project = $3 AND id = $4", stage, now, project, id); err != nil {
			return err
		}
		// As [Tx.lockRuns] does, lest two processes wait for each other.
		if err := tx.each(ctx, "lock runs", "SELECT id FROM own_runs WHERE project = $1 AND experiment = $2 ORDER BY id"+s.d.forUpdate, []any{project, id}, func(rows) error { return nil }); err != nil {
			return err
		}
		for run := range tx.runs {
			tx.changedRun(run)
		}
		return tx.c.exec(ctx, "UPDATE own_runs SET stage = $1 WHERE project = $2 AND experiment = $3", stage, project, id)
	})
}

// ChangeExperimentTag sets a tag, or removes it where value is nil. It returns
// [pedigree.CodeNotFound], also for a tag to remove that is not set, and
// [pedigree.CodeInvalid] for a deleted experiment.
func (s *Store) ChangeExperimentTag(ctx context.Context, project string, id int64, key string, value *string) error {
	return s.changeExperiment(ctx, project, id, func(ctx context.Context, tx *Tx, e Experiment) error {
		if err := activeExperiment(e); err != nil {
			return err
		}
		owner := experimentOwner(project, id)
		if value != nil {
			var out statements
			insertTags(&out, owner, []KeyValue{{key, *value}})
			return out.flush(ctx, tx.c)
		}
		return tx.untag(ctx, owner, key, func() error {
			return pedigree.Errorf(pedigree.CodeNotFound, "No tag with name: %s in experiment with id %d", key, id)
		})
	})
}

// untag removes a tag, or returns what missing makes.
func (tx *Tx) untag(ctx context.Context, owner, key string, missing func() error) error {
	var n int
	if err := tx.row(ctx, "SELECT count(*) FROM own_tags WHERE owner = $1 AND key = $2", []any{owner, key}, &n); err != nil {
		return err
	}
	if n == 0 {
		return missing()
	}
	return tx.c.exec(ctx, "DELETE FROM own_tags WHERE owner = $1 AND key = $2", owner, key)
}

func activeExperiment(e Experiment) error {
	if e.Stage == StageActive {
		return nil
	}
	return pedigree.Errorf(pedigree.CodeInvalid, "The experiment %d must be in the 'active' state. Current state is %s.", e.ID, e.Stage)
}

// SearchExperiments lists experiments, and the key of the last where there are more.
func (tx *Tx) SearchExperiments(ctx context.Context, q ExperimentSearch) ([]Experiment, []any, error) {
	noun := &trackedNoun{
		owner:   "(e.project || '/' || e.id)",
		texts:   map[string]string{"name": "e.name"},
		numbers: map[string]string{"experiment_id": "e.id", "creation_time": "e.created", "last_update_time": "e.updated"},
	}
	c := &compiler{tx: tx, ctx: ctx}
	where := []string{"e.project = " + c.arg(q.Project), q.View.condition("e.stage")}
	for _, cl := range q.Clauses {
		cond, err := c.clause(noun, cl)
		if err != nil {
			return nil, nil, err
		}
		where = append(where, cond)
	}
	var columns []sortColumn
	byID := false
	for _, k := range q.Order {
		cols, err := c.sortColumns(noun, k)
		if err != nil {
			return nil, nil, err
		}
		byID = byID || k.Key == "experiment_id"
		columns = append(columns, cols...)
	}
	// The id is what tells two experiments apart; where it is asked for, it is there
	// already, and comes once more to be read.
	columns = append(columns, sortColumn{expr: "e.id", desc: !byID, integer: true})
	found, next, err := c.paged("own_experiments e", where, columns, q.After, q.Limit)
	if err != nil || len(found) == 0 {
		return nil, nil, err
	}
	ids := make([]int64, len(found))
	for i, row := range found {
		ids[i], _ = row[len(row)-1].(int64)
	}
	byIDs := map[int64]Experiment{}
	err = inLists(ids, func(chunk []int64) error {
		in, args := list([]any{q.Project}, chunk)
		list, err := tx.experiments(ctx, q.Project, "WHERE project = $1 AND id IN ("+in+")", args...)
		for _, e := range list {
			byIDs[e.ID] = e
		}
		return err
	})
	out := make([]Experiment, 0, len(ids))
	for _, id := range ids {
		out = append(out, byIDs[id])
	}
	return out, next, err
}

// DatasetSummary says that runs of an experiment read a data set, and as what; Context
// is nil where they did not say.
type DatasetSummary struct {
	Experiment   int64
	Name, Digest string
	Context      *string
}

// DatasetSummaries lists what the runs of experiments read, deleted ones among them, at
// most limit.
func (tx *Tx) DatasetSummaries(ctx context.Context, project string, experiments []int64, limit int) ([]DatasetSummary, error) {
	in, args := list([]any{project}, experiments)
	var out []DatasetSummary
	err := tx.each(ctx, "search data sets", fmt.Sprintf(`SELECT DISTINCT r.experiment, x.name, x.digest, x.context
FROM own_runs r JOIN own_run_datasets x ON x.run = r.id
WHERE r.project = $1 AND r.experiment IN (%s) ORDER BY r.experiment, x.name, x.digest, x.context LIMIT %d`, in, limit), args, func(rows rows) error {
		var d DatasetSummary
		err := rows.Scan(&d.Experiment, &d.Name, &d.Digest, &d.Context)
		out = append(out, d)
		return err
	})
	return out, err
}
