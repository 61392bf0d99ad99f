package registrar

import (
	"context"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/internal/sqlstore"
)

// The nouns of logged models.
type (
	LoggedModel       = sqlstore.LoggedModel
	LoggedModelSearch = sqlstore.LoggedModelSearch
)

// The statuses of a logged model.
const (
	LoggedModelPending = 1
	LoggedModelReady   = 2
	LoggedModelFailed  = 3 // its files did not arrive
)

// CreateLoggedModel makes a logged model of what m says of experiment, name ("" gets
// one), type, source run, parameters and tags, and returns it. It returns what
// [Registrar.CreateRun] does.
func (r *Registrar) CreateLoggedModel(ctx context.Context, p pedigree.Principal, project pedigree.ProjectName, m LoggedModel) (LoggedModel, error) {
	id, err := r.tracking(ctx, p, pedigree.RunsWrite, project)
	if err != nil {
		return m, err
	}
	id32 := r.hexID()
	m.ID = "m-" + id32
	if m.Name == "" {
		m.Name = generatedName(id32)
	}
	m.Status, m.Stage = LoggedModelPending, StageActive
	m.Created = r.milliseconds()
	m.Updated = m.Created
	err = r.store.CreateLoggedModel(ctx, id, &m, func(root string) string { return joinURI(root, "models/"+m.ID+"/artifacts") })
	return m, err
}

// LoggedModel reads a logged model. It returns [pedigree.CodeNotFound], for a deleted
// one unless deleted is set.
func (r *Registrar) LoggedModel(ctx context.Context, p pedigree.Principal, project pedigree.ProjectName, model string, deleted bool) (out LoggedModel, err error) {
	err = r.readTracking(ctx, p, pedigree.RunsRead, project, func(tx *sqlstore.Tx, id string) (err error) {
		out, err = tx.LoggedModel(ctx, id, model, deleted)
		return err
	})
	return out, err
}

// FinishLoggedModel sets the status of a logged model and returns it. It returns
// [pedigree.CodeNotFound].
func (r *Registrar) FinishLoggedModel(ctx context.Context, p pedigree.Principal, project pedigree.ProjectName, model string, status int64) (LoggedModel, error) {
	id, err := r.tracking(ctx, p, pedigree.RunsWrite, project)
	if err != nil {
		return LoggedModel{}, err
	}
	if err := r.store.SetLoggedModelStatus(ctx, id, model, status, r.milliseconds()); err != nil {
		return LoggedModel{}, err
	}
	return r.LoggedModel(ctx, p, project, model, false)
}

// DeleteLoggedModel hides a logged model; versions that were made of it stay. It
// returns [pedigree.CodeNotFound].
func (r *Registrar) DeleteLoggedModel(ctx context.Context, p pedigree.Principal, project pedigree.ProjectName, model string) error {
	id, err := r.tracking(ctx, p, pedigree.RunsWrite, project)
	if err != nil {
		return err
	}
	return r.store.DeleteLoggedModel(ctx, id, model, r.milliseconds())
}

// TagLoggedModel sets tags. It returns [pedigree.CodeNotFound].
func (r *Registrar) TagLoggedModel(ctx context.Context, p pedigree.Principal, project pedigree.ProjectName, model string, tags []KeyValue) error {
	id, err := r.tracking(ctx, p, pedigree.RunsWrite, project)
	if err != nil {
		return err
	}
	return r.store.TagLoggedModel(ctx, id, model, tags)
}

// UntagLoggedModel removes a tag. It returns [pedigree.CodeNotFound], also for a tag
// that is not set.
func (r *Registrar) UntagLoggedModel(ctx context.Context, p pedigree.Principal, project pedigree.ProjectName, model, key string) error {
	id, err := r.tracking(ctx, p, pedigree.RunsWrite, project)
	if err != nil {
		return err
	}
	return r.store.UntagLoggedModel(ctx, id, model, key)
}

// AppendLoggedModelTag sets a tag to what change makes of its value, which is "" where
// it is not set; change may be called more than once. It returns
// [pedigree.CodeNotFound].
func (r *Registrar) AppendLoggedModelTag(ctx context.Context, p pedigree.Principal, project pedigree.ProjectName, model, key string, change func(old string) (string, error)) error {
	id, err := r.tracking(ctx, p, pedigree.RunsWrite, project)
	if err != nil {
		return err
	}
	return r.store.AppendLoggedModelTag(ctx, id, model, key, change)
}

// AddLoggedModelParams adds parameters. It returns [pedigree.CodeNotFound], and
// [pedigree.CodeInvalid] for one that is there with another value.
func (r *Registrar) AddLoggedModelParams(ctx context.Context, p pedigree.Principal, project pedigree.ProjectName, model string, params []KeyValue) error {
	id, err := r.tracking(ctx, p, pedigree.RunsWrite, project)
	if err != nil {
		return err
	}
	return r.store.AddLoggedModelParams(ctx, id, model, params)
}

// SearchLoggedModels lists logged models in the order of q, whose project and place are
// set here. It returns the token of the next page, and [pedigree.CodeInvalid] for a
// token of another search.
func (r *Registrar) SearchLoggedModels(ctx context.Context, p pedigree.Principal, project pedigree.ProjectName, q LoggedModelSearch, token string) (out []LoggedModel, next string, err error) {
	what := []any{"logged models", q.Experiments, q.Clauses, q.Datasets, q.Order}
	next, err = r.searchTracking(ctx, p, project, token, what, func(tx *sqlstore.Tx, id string, after []any) (key []any, err error) {
		q.Project, q.After = id, after
		out, key, err = tx.SearchLoggedModels(ctx, q)
		return key, err
	})
	return out, next, err
}
