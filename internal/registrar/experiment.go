package registrar

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/internal/sqlstore"
)

// What training code reports while it runs: experiments, runs, logged models and their
// files. It is telemetry, no part of the log; what matters of it is carried into the
// record when a version is registered. The nouns are those of the store.
type (
	Experiment       = sqlstore.Experiment
	ExperimentSearch = sqlstore.ExperimentSearch
	DatasetSummary   = sqlstore.DatasetSummary
	KeyValue         = sqlstore.KeyValue
	Clause           = sqlstore.Clause
	ClauseKind       = sqlstore.ClauseKind
	SortKey          = sqlstore.SortKey
	View             = sqlstore.View
)

// The views of a search, the kinds of its clauses, and the stages of what it finds.
const (
	ViewActive      = sqlstore.ViewActive
	ViewDeleted     = sqlstore.ViewDeleted
	ViewAll         = sqlstore.ViewAll
	ClauseAttribute = sqlstore.ClauseAttribute
	ClauseParam     = sqlstore.ClauseParam
	ClauseTag       = sqlstore.ClauseTag
	ClauseMetric    = sqlstore.ClauseMetric
	ClauseDataset   = sqlstore.ClauseDataset
	StageActive     = sqlstore.StageActive
	StageDeleted    = sqlstore.StageDeleted
)

// DefaultExperiment is the experiment that every project has, with id 0.
const DefaultExperiment = "Default"

// ArtifactRoot is the artifact root of an experiment that names none of its own.
func ArtifactRoot(experiment int64) string { return fmt.Sprintf("mlflow-artifacts:/%d", experiment) }

// tracking finds a project in which the caller needs a permission, and makes sure that it
// has its first experiment.
func (r *Registrar) tracking(ctx context.Context, p pedigree.Principal, permission pedigree.Permission, project pedigree.ProjectName) (id string, err error) {
	if _, err := r.may(ctx, p, permission, project); err != nil {
		return "", err
	}
	if known, ok := r.tracked.Load(project); ok {
		return known.(string), nil
	}
	has := false
	err = r.store.Read(ctx, pedigree.At{}, func(tx *sqlstore.Tx) (err error) {
		if id, err = tx.ProjectID(ctx, project); err == nil {
			has, err = tx.HasExperiments(ctx, id)
		}
		return err
	})
	if err == nil && !has {
		err = r.store.AddDefaultExperiment(ctx, id, Experiment{Name: DefaultExperiment, ArtifactURI: ArtifactRoot(0), Created: r.milliseconds()})
	}
	if err == nil {
		r.tracked.Store(project, id) // a project keeps its name and its id
	}
	return id, err
}

func (r *Registrar) milliseconds() int64 { return r.now().UnixMilli() }

// CreateExperiment makes an experiment with a name, an artifact root ("" is one of
// ours) and tags, and returns its id. It returns [pedigree.CodeExists] for a name that
// is taken, also by a deleted experiment.
func (r *Registrar) CreateExperiment(ctx context.Context, p pedigree.Principal, project pedigree.ProjectName, e Experiment) (int64, error) {
	id, err := r.tracking(ctx, p, pedigree.RunsWrite, project)
	if err != nil {
		return 0, err
	}
	e.Created = r.milliseconds()
	root := ArtifactRoot
	if e.ArtifactURI != "" {
		root = func(int64) string { return e.ArtifactURI }
	}
	return r.store.CreateExperiment(ctx, id, e, root)
}

// Experiment reads an experiment, deleted or not. It returns [pedigree.CodeNotFound].
func (r *Registrar) Experiment(ctx context.Context, p pedigree.Principal, project pedigree.ProjectName, experiment int64) (e Experiment, err error) {
	err = r.readTracking(ctx, p, pedigree.RunsRead, project, func(tx *sqlstore.Tx, id string) (err error) {
		e, err = tx.Experiment(ctx, id, experiment)
		return err
	})
	return e, err
}

// ExperimentByName reads an experiment by its name. It returns [pedigree.CodeNotFound].
func (r *Registrar) ExperimentByName(ctx context.Context, p pedigree.Principal, project pedigree.ProjectName, name string) (e Experiment, err error) {
	err = r.readTracking(ctx, p, pedigree.RunsRead, project, func(tx *sqlstore.Tx, id string) (err error) {
		e, err = tx.ExperimentByName(ctx, id, name)
		return err
	})
	return e, err
}

// readTracking reads the telemetry of a project in which the caller needs a permission.
func (r *Registrar) readTracking(ctx context.Context, p pedigree.Principal, permission pedigree.Permission, project pedigree.ProjectName, f func(tx *sqlstore.Tx, project string) error) error {
	known, ok := r.tracked.Load(project)
	if !ok {
		id, err := r.tracking(ctx, p, permission, project)
		if err != nil {
			return err
		}
		known = id
	}
	return r.store.Read(ctx, pedigree.At{}, func(tx *sqlstore.Tx) error {
		if err := r.authorise(ctx, tx, p, permission, project); err != nil {
			return err
		}
		return f(tx, known.(string))
	})
}

// RenameExperiment gives an experiment another name. It returns
// [pedigree.CodeNotFound], [pedigree.CodeExists], and [pedigree.CodeInvalid] for a
// deleted one.
func (r *Registrar) RenameExperiment(ctx context.Context, p pedigree.Principal, project pedigree.ProjectName, experiment int64, name string) error {
	id, err := r.tracking(ctx, p, pedigree.RunsWrite, project)
	if err != nil {
		return err
	}
	return r.store.RenameExperiment(ctx, id, experiment, name, r.milliseconds())
}

// SetExperimentStage deletes or restores an experiment with its runs. It returns
// [pedigree.CodeNotFound], also for one that has the stage already.
func (r *Registrar) SetExperimentStage(ctx context.Context, p pedigree.Principal, project pedigree.ProjectName, experiment int64, stage string) error {
	id, err := r.tracking(ctx, p, pedigree.RunsWrite, project)
	if err != nil {
		return err
	}
	return r.store.SetExperimentStage(ctx, id, experiment, stage, r.milliseconds())
}

// ChangeExperimentTag sets a tag, or removes it where value is nil. It returns
// [pedigree.CodeNotFound], and [pedigree.CodeInvalid] for a deleted experiment.
func (r *Registrar) ChangeExperimentTag(ctx context.Context, p pedigree.Principal, project pedigree.ProjectName, experiment int64, key string, value *string) error {
	id, err := r.tracking(ctx, p, pedigree.RunsWrite, project)
	if err != nil {
		return err
	}
	return r.store.ChangeExperimentTag(ctx, id, experiment, key, value)
}

// SearchExperiments lists experiments in the order of q, whose project and place are
// set here. It returns the token of the next page, and [pedigree.CodeInvalid] for a
// token of another search.
func (r *Registrar) SearchExperiments(ctx context.Context, p pedigree.Principal, project pedigree.ProjectName, q ExperimentSearch, token string) (out []Experiment, next string, err error) {
	next, err = r.searchTracking(ctx, p, project, token, []any{"experiments", q.View, q.Clauses, q.Order}, func(tx *sqlstore.Tx, id string, after []any) (key []any, err error) {
		q.Project, q.After = id, after
		out, key, err = tx.SearchExperiments(ctx, q)
		return key, err
	})
	return out, next, err
}

// trackingCursor is where the next page of a search over telemetry begins.
type trackingCursor struct {
	Query pedigree.Digest `json:"q"`
	Key   []any           `json:"k"`
}

// searchTracking runs a search from a token on, and makes the token of the next page.
// what is asked for is part of a token.
func (r *Registrar) searchTracking(ctx context.Context, p pedigree.Principal, project pedigree.ProjectName, token string, what []any, f func(tx *sqlstore.Tx, project string, after []any) ([]any, error)) (string, error) {
	text, err := json.Marshal(append(what, project))
	if err != nil {
		return "", err
	}
	query := pedigree.DigestBytes(text)
	cursor := trackingCursor{Query: query}
	if err := decodeCursor(token, &cursor); err != nil {
		return "", pedigree.Errorf(pedigree.CodeInvalid, "Invalid page token, could not base64-decode")
	}
	if cursor.Query != query || token != "" && cursor.Key == nil {
		return "", pedigree.Errorf(pedigree.CodeInvalid, "Invalid page token: it belongs to another search")
	}
	next := ""
	err = r.readTracking(ctx, p, pedigree.RunsRead, project, func(tx *sqlstore.Tx, id string) error {
		key, err := f(tx, id, cursor.Key)
		if key != nil {
			next = encodeCursor(trackingCursor{Query: query, Key: key})
		}
		return err
	})
	return next, err
}

// maxDatasets is the most data sets that one search returns.
const maxDatasets = 1000

// SearchDatasets lists the data sets that the runs of some experiments read, by
// experiment and name; of an experiment that is not there, none.
func (r *Registrar) SearchDatasets(ctx context.Context, p pedigree.Principal, project pedigree.ProjectName, experiments []int64) (out []DatasetSummary, err error) {
	err = r.readTracking(ctx, p, pedigree.RunsRead, project, func(tx *sqlstore.Tx, id string) (err error) {
		out, err = tx.DatasetSummaries(ctx, id, experiments, maxDatasets)
		return err
	})
	return out, err
}
