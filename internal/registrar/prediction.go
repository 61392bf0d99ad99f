package registrar

import (
	"cmp"
	"context"
	"io"
	"slices"
	"time"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/internal/prediction"
	"github.com/pedigree-ml/pedigree/internal/sqlstore"
)

// WhichPrediction finds the deployment and the version that a logged prediction is of, by
// what the line says: its deployment, else its target and time ([pedigree.Prediction.AnsweredBy]
// is the rule), else its version or its artifact. Each finding says by which, in its Kind,
// and where the line and the registry do not agree; the first is the one that a replay
// takes. The question is about the time of the line, where at names no other moment; what
// the line names surely is also found where that was not there yet. project is where names
// are looked up that the line gives no project.
//
// The line may be a head: request and prediction are not read, and nothing of it is kept.
// It returns [pedigree.CodeNotFound], and [pedigree.CodeNotRecorded] for a target and a
// time before the record.
func (r *Registrar) WhichPrediction(ctx context.Context, p pedigree.Principal, project pedigree.ProjectName, line *pedigree.Prediction, at pedigree.At) (pedigree.List[pedigree.Finding], error) {
	out := pedigree.List[pedigree.Finding]{Items: []pedigree.Finding{}}
	if _, err := r.may(ctx, p, pedigree.RecordsRead, project); err != nil { // the moment may be none that can be read
		return out, err
	}
	if at.IsNow() && line.Time.Before(r.now()) {
		at = pedigree.At{Time: line.Time.UTC()}
	}
	s, err := r.searchPrediction(ctx, p, project, line, at, false)
	code := pedigree.CodeOf(err)
	if surely := line.Deployment != "" || line.Digest != "" || line.Version != 0; surely && !at.IsNow() && (code == pedigree.CodeNotFound || code == pedigree.CodeNotRecorded) {
		s, err = r.searchPrediction(ctx, p, project, line, pedigree.At{}, true)
	}
	if err != nil {
		return out, err
	}
	for i := range s.found {
		f := &s.found[i]
		f.Notes = s.notes
		if s.elsewhere != "" {
			f.Contradictions = []string{s.elsewhere}
		}
		known := f.Deployment
		if known != nil { // how it went on may be later than the moment
			d, err := r.deploymentByID(ctx, known.ID, pedigree.At{})
			if err != nil {
				return out, err
			}
			known = &d
		}
		f.Compare(line, known)
	}
	out.Items, out.AsOf = s.found, s.asOf
	return out, nil
}

// predictionSearch looks for what a line leads to.
type predictionSearch struct {
	search
	line *pedigree.Prediction
	// elsewhere says that what the line names was not at its target.
	elsewhere string
	notes     []string
	asOf      int64
}

// searchPrediction searches at a moment. late says that it is not that of the line, so that
// what was active at the target proves nothing.
func (r *Registrar) searchPrediction(ctx context.Context, p pedigree.Principal, project pedigree.ProjectName, line *pedigree.Prediction, at pedigree.At, late bool) (*predictionSearch, error) {
	var s *predictionSearch
	err := r.store.Read(ctx, at, func(tx *sqlstore.Tx) error {
		s = &predictionSearch{search: search{r: r, tx: tx, p: p, project: cmp.Or(line.Project, project)}, line: line, asOf: tx.AsOf()}
		if err := r.authorise(ctx, tx, p, pedigree.RecordsRead, project); err != nil {
			return err
		}
		return s.findLine(ctx, late)
	})
	return s, err
}

func (s *predictionSearch) findLine(ctx context.Context, late bool) error {
	p := s.line
	if p.Deployment != "" {
		err := s.deployments(ctx, pedigree.FoundByDeployment, func() ([]pedigree.Deployment, error) { return s.tx.DeploymentsByID(ctx, []string{p.Deployment}) })
		if err == nil && len(s.found) == 0 {
			err = pedigree.Errorf(pedigree.CodeNotFound, "there is no deployment %s", p.Deployment).WithFix("is this the registry that the service is deployed from? --url, PEDIGREE_URL")
		}
		return err
	}
	version := p.Model != "" && (p.Version != 0 || p.Digest != "")
	if p.Target != "" {
		s.elsewhere = "what the line names was not active at " + string(p.Target) + " on " + p.Time.UTC().Format(time.DateTime) + " UTC"
		err := s.lineTarget(ctx, late)
		if len(s.found) > 0 {
			s.elsewhere = ""
		}
		if len(s.found) > 0 || err != nil && (pedigree.CodeOf(err) != pedigree.CodeNotFound || !version && p.Digest == "") {
			return err
		}
	}
	if version {
		return s.lineVersion(ctx)
	}
	if p.Digest == "" {
		return pedigree.Errorf(pedigree.CodeNotFound, "nothing was active at %s on %s UTC", p.Target, p.Time.UTC().Format(time.DateTime)).WithFix("look with: pedigree timeline %s", p.Target)
	}
	err := s.versionsWith(ctx, pedigree.FoundByDigest, "artifact", "artifact.digest", string(p.Digest))
	if p.Project != "" {
		s.found = slices.DeleteFunc(s.found, func(f pedigree.Finding) bool { return f.Version.Project != p.Project })
	}
	if err == nil && len(s.found) == 0 {
		err = pedigree.Errorf(pedigree.CodeNotFound, "no version that this registry had then holds %s", p.Digest)
	}
	return err
}

// lineTarget finds what answered at the target of the line, if what the line names did.
func (s *predictionSearch) lineTarget(ctx context.Context, late bool) error {
	_, id, err := s.r.findTarget(ctx, s.tx, s.p, pedigree.RecordsRead, s.project, s.line.Target)
	if err != nil || late {
		return err
	}
	var ids []string
	for _, role := range []pedigree.DeploymentRole{pedigree.RolePrimary, pedigree.RoleCanary, pedigree.RoleShadow} {
		current, err := s.tx.CurrentDeployment(ctx, id, role)
		if err != nil {
			return err
		}
		if current != "" {
			ids = append(ids, current)
		}
	}
	active, err := s.tx.DeploymentsByID(ctx, ids)
	if err != nil {
		return err
	}
	d, notes := s.line.AnsweredBy(active)
	if s.notes = notes; d == nil {
		return nil
	}
	return s.add(ctx, pedigree.FoundByTarget, d)
}

// lineVersion finds the version that the line names, and where it stands.
func (s *predictionSearch) lineVersion(ctx context.Context) error {
	p := s.line
	ref, kind := pedigree.Reference{Project: s.project, Model: p.Model, Version: p.Version}, pedigree.FoundByVersion
	if p.Version == 0 {
		ref.Digest, kind = p.Digest, pedigree.FoundByDigest
	}
	if err := s.r.authorise(ctx, s.tx, s.p, pedigree.RecordsRead, ref.Project); err != nil {
		return err
	}
	_, id, err := modelID(ctx, s.tx, ref.Project, ref.Model)
	if err != nil {
		return err
	}
	found, err := s.tx.Resolve(ctx, id, ref)
	if err != nil {
		return err
	}
	return s.version(ctx, kind, id, found.Number)
}

// CheckPredictions reads the lines of a log, at most [pedigree.MaxPredictionLog] bytes of
// them, and says what is wrong with each: that it is no logged prediction, or, where target
// is not "", that it does not fit the target's log schema. Nothing of the lines is kept. It
// returns [pedigree.CodeNotFound] for the target, [pedigree.CodeInvalid] for a schema that
// is none, and [pedigree.CodeTooLarge] where lines and schema take too much work.
func (r *Registrar) CheckPredictions(ctx context.Context, p pedigree.Principal, project pedigree.ProjectName, target pedigree.TargetName, lines io.Reader) (pedigree.PredictionCheck, error) {
	if _, err := r.may(ctx, p, pedigree.RecordsRead, project); err != nil {
		return pedigree.PredictionCheck{}, err
	}
	check := prediction.Check{Listed: maxBadLines, Steps: maxCheckSteps}
	if target != "" {
		t, err := r.Target(ctx, p, project, target, pedigree.At{})
		if err != nil {
			return pedigree.PredictionCheck{}, err
		}
		if check.Schema, err = prediction.TargetSchema(&t); err != nil {
			return pedigree.PredictionCheck{}, err
		}
	}
	return check.Read(ctx, "the log", lines)
}

// Bounds of one check: the bad lines that it lists, and the steps of comparing all lines
// with a schema, so that lines and a schema that were made for it can't keep a server busy.
const (
	maxBadLines   = 100
	maxCheckSteps = 5_000_000
)
