package registrar

import (
	"context"
	"strings"
	"unicode/utf8"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/internal/sqlstore"
)

// search looks for what a text may stand for.
type search struct {
	r       *Registrar
	tx      *sqlstore.Tx
	p       pedigree.Principal
	project pedigree.ProjectName
	found   []pedigree.Finding
}

// maxFindings bounds what one question finds.
const maxFindings = 50

func (s *search) find(ctx context.Context, what string) error {
	if what == "" || strings.ContainsRune(what, 0) || !utf8.ValidString(what) {
		return pedigree.Errorf(pedigree.CodeInvalid, "say what: a target, a deployment, a digest …")
	}
	if project, name, ok := pedigree.ParseTargetReference(what); ok {
		if project == "" {
			project = s.project
		}
		return s.target(ctx, project, name)
	}
	switch {
	case strings.HasPrefix(what, "dep_"):
		return s.deployments(ctx, "deployment", func() ([]pedigree.Deployment, error) { return s.tx.DeploymentsByID(ctx, []string{what}) })
	case strings.HasPrefix(what, "sha256:"):
		return s.digest(ctx, "artifact", what)
	case strings.Contains(what, "://"):
		return s.uri(ctx, what)
	}
	if _, err := pedigree.ParseTarget(what); err == nil {
		err := s.target(ctx, s.project, pedigree.TargetName(what))
		if err == nil || pedigree.CodeOf(err) != pedigree.CodeNotFound {
			return err
		}
	}
	for _, look := range []func(context.Context, string) error{s.reference, s.instance, s.image} {
		if err := look(ctx, what); err != nil || len(s.found) > 0 {
			return err
		}
	}
	return nil
}

// add takes a deployment up where the caller may read its project.
func (s *search) add(ctx context.Context, kind string, d *pedigree.Deployment) error {
	if len(s.found) >= maxFindings {
		return nil
	}
	if err := s.r.authorise(ctx, s.tx, s.p, pedigree.RecordsRead, d.Project); err != nil {
		return visible(err)
	}
	f := pedigree.Finding{Kind: kind, Deployment: d}
	v, err := s.tx.Version(ctx, d.Project, d.Model, d.ModelID, d.Version)
	if err != nil && pedigree.CodeOf(err) != pedigree.CodeNotFound { // deleted since: what is known of the deployment stays
		return err
	}
	f.Version = v
	t, err := s.tx.Target(ctx, d.TargetID)
	if err != nil {
		return err
	}
	f.Target = &t
	if d.State == pedigree.DeploymentActive && d.Role == pedigree.RolePrimary {
		f.Rollback = "pedigree rollback " + string(t.Name)
		if t.Project != pedigree.DefaultProject {
			f.Rollback += " -p " + string(t.Project)
		}
	}
	s.found = append(s.found, f)
	return nil
}

// visible leaves out what the caller may not know of.
func visible(err error) error {
	switch pedigree.CodeOf(err) {
	case pedigree.CodeNotFound, pedigree.CodeForbidden:
		return nil
	}
	return err
}

func (s *search) deployments(ctx context.Context, kind string, list func() ([]pedigree.Deployment, error)) error {
	all, err := list()
	for i := range all {
		if err == nil {
			err = s.add(ctx, kind, &all[i])
		}
	}
	return err
}

func (s *search) target(ctx context.Context, project pedigree.ProjectName, name pedigree.TargetName) error {
	_, id, err := s.r.findTarget(ctx, s.tx, s.p, pedigree.RecordsRead, project, name)
	if err != nil {
		return err
	}
	return s.current(ctx, "target", id, name)
}

// current adds what is active at a target.
func (s *search) current(ctx context.Context, kind, targetID string, name pedigree.TargetName) error {
	current, err := s.tx.CurrentDeployment(ctx, targetID, pedigree.RolePrimary)
	if err != nil {
		return err
	}
	if current == "" {
		return pedigree.Errorf(pedigree.CodeNotFound, "nothing is active at %s then", name).WithFix("pedigree timeline %s", name)
	}
	return s.deployments(ctx, kind, func() ([]pedigree.Deployment, error) { return s.tx.DeploymentsByID(ctx, []string{current}) })
}

// digest looks for versions with an artifact, then for deployments with an image.
func (s *search) digest(ctx context.Context, kind, digest string) error {
	if _, err := pedigree.ParseDigest(digest); err != nil {
		return err
	}
	if err := s.versionsWith(ctx, kind, "artifact", "artifact.digest", digest); err != nil || len(s.found) > 0 {
		return err
	}
	return s.image(ctx, digest)
}

// image looks for deployments with an image: those that stand, else those that did; and
// then for versions that were made in it.
func (s *search) image(ctx context.Context, image string) error {
	for _, standing := range []bool{true, false} {
		err := s.deployments(ctx, "image", func() ([]pedigree.Deployment, error) {
			return s.tx.Deployments(ctx, sqlstore.DeploymentQuery{Image: image, Standing: standing, Before: -1, Limit: maxFindings})
		})
		if err != nil || len(s.found) > 0 {
			return err
		}
	}
	return s.versionsWith(ctx, "image", "runtime", "runtime.image", image)
}

// versionsWith adds the versions with a value of an attribute.
func (s *search) versionsWith(ctx context.Context, kind, field, key, value string) error {
	seqs, err := s.tx.WithAttribute(ctx, field, key, value, maxFindings)
	if err != nil {
		return err
	}
	for _, seq := range seqs {
		id, n, err := s.tx.VersionAt(ctx, seq)
		if err == nil {
			err = s.version(ctx, kind, id, n)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// version adds where a version stands, or the version alone where it stands nowhere.
func (s *search) version(ctx context.Context, kind, modelID string, n pedigree.VersionNumber) error {
	project, name, deleted, err := s.tx.NameOf(ctx, modelID)
	if err != nil || deleted {
		return err
	}
	if err := s.r.authorise(ctx, s.tx, s.p, pedigree.RecordsRead, project); err != nil {
		return visible(err)
	}
	before := len(s.found)
	err = s.deployments(ctx, kind, func() ([]pedigree.Deployment, error) { return s.tx.Runs(ctx, modelID, n) })
	if err != nil || len(s.found) > before || n == 0 {
		return err
	}
	v, err := s.tx.Version(ctx, project, name, modelID, n)
	if pedigree.CodeOf(err) == pedigree.CodeNotFound {
		return nil
	}
	s.found = append(s.found, pedigree.Finding{Kind: kind, Version: v})
	return err
}

// reference looks for a model, all of whose versions are meant, or for a version.
func (s *search) reference(ctx context.Context, text string) error {
	ref, err := pedigree.ParseReference(text)
	if err != nil {
		return nil // it may still be something else
	}
	ref = ref.In(s.project)
	if err := s.r.authorise(ctx, s.tx, s.p, pedigree.RecordsRead, ref.Project); err != nil {
		return visible(err)
	}
	projectID, err := s.tx.ProjectID(ctx, ref.Project)
	if err != nil {
		return visible(err)
	}
	id, err := s.tx.ModelID(ctx, projectID, ref.Model)
	if err != nil || id == "" {
		return err
	}
	if ref.Version == 0 && ref.Alias == "" && ref.Digest == "" {
		if err := s.version(ctx, "model", id, 0); err != nil || len(s.found) > 0 {
			return err
		}
	}
	found, err := s.tx.Resolve(ctx, id, ref)
	if err != nil {
		return err
	}
	return s.version(ctx, "model", id, found.Number)
}

// instance looks for what a process said that it runs.
func (s *search) instance(ctx context.Context, name string) error {
	targets, err := s.tx.InstanceTargets(ctx, name)
	if err != nil {
		return err
	}
	for _, id := range targets {
		seen, err := s.tx.Instances(ctx, id, name)
		if err != nil || len(seen) == 0 {
			return err
		}
		i := &seen[0]
		place, err := s.tx.Place(ctx, id)
		if err != nil {
			return err
		}
		var here []pedigree.Deployment // what it runs stands where it was seen
		for _, d := range place.Standing {
			if i.Runs(&d) {
				here = append(here, d)
			}
		}
		switch {
		case len(here) > 0:
			err = s.deployments(ctx, "instance", func() ([]pedigree.Deployment, error) { return here, nil })
		case i.Deployment != "":
			err = s.deployments(ctx, "instance", func() ([]pedigree.Deployment, error) { return s.tx.DeploymentsByID(ctx, []string{i.Deployment}) })
		case i.ModelID != "" && i.Version != 0:
			err = s.version(ctx, "instance", i.ModelID, i.Version)
		case i.Digest != "":
			err = s.digest(ctx, "instance", string(i.Digest))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// leads says whether a URI is a link or something below it.
func leads(uri, link string) bool {
	rest, ok := strings.CutPrefix(uri, link)
	return ok && (rest == "" || strings.ContainsAny(rest[:1], "/?#&") || strings.ContainsAny(link[len(link)-1:], "/?#&="))
}

// uri looks for a target with that link, and otherwise reads a reference.
func (s *search) uri(ctx context.Context, uri string) error {
	ids, err := s.tx.AllTargets(ctx)
	if err != nil {
		return err
	}
	targets, err := s.tx.Targets(ctx, ids)
	if err != nil {
		return err
	}
	for i := range targets {
		t := &targets[i]
		for _, u := range append([]pedigree.SafeURI{t.Runbook, t.OnCall}, t.Dashboards...) {
			if u == "" || !leads(uri, string(u)) {
				continue
			}
			if err := s.r.authorise(ctx, s.tx, s.p, pedigree.RecordsRead, t.Project); err != nil {
				if visible(err) != nil {
					return err
				}
				break
			}
			if err := s.current(ctx, "uri", t.ID, t.Name); err != nil && pedigree.CodeOf(err) != pedigree.CodeNotFound {
				return err
			}
			break
		}
	}
	if len(s.found) > 0 {
		return nil
	}
	return s.reference(ctx, uri)
}
