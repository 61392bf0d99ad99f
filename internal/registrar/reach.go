package registrar

import (
	"context"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/internal/sqlstore"
)

// reach is where one caller holds one permission, for lists that go over projects.
type reach struct {
	// projects are the ids of the projects; nil means all of them, and the registry as a
	// whole.
	projects []string
}

// reach finds where a caller holds a permission: nowhere is an answer, too. It returns
// [pedigree.CodeUnauthenticated].
func (r *Registrar) reach(ctx context.Context, tx *sqlstore.Tx, p pedigree.Principal, permission pedigree.Permission) (reach, error) {
	seq := tx.Access()
	if seq < 0 || p.Trusted() {
		return reach{}, nil
	}
	rights, err := r.rights(ctx, tx, p, seq)
	if err != nil {
		return reach{}, err
	}
	can := func(project string) bool {
		return pedigree.Permits(rights.Grants, permission, project) && pedigree.Narrow(rights.Token.Scopes, permission, project)
	}
	if can("") {
		return reach{}, nil
	}
	out := reach{projects: []string{}}
	candidates := map[string]bool{}
	for _, g := range rights.Grants {
		candidates[g.Project] = true
	}
	for _, s := range rights.Token.Scopes {
		project, _ := s.Split()
		candidates[project] = true
	}
	for project := range candidates {
		if project != "" && can(project) {
			out.projects = append(out.projects, project)
		}
	}
	return out, nil
}

// everywhere says that nothing is left out.
func (c *reach) everywhere() bool { return c.projects == nil }

// has says whether a project is within reach; "" is the registry as a whole.
func (c *reach) has(projectID string) bool {
	if c.everywhere() {
		return true
	}
	for _, id := range c.projects {
		if id == projectID {
			return true
		}
	}
	return false
}

// sees says whether what a subject of the log belongs to is within reach.
func (c *reach) sees(ctx context.Context, tx *sqlstore.Tx, subject string) (bool, error) {
	if c.everywhere() {
		return true, nil
	}
	projects, err := tx.ProjectsOf(ctx, []string{subject})
	return err == nil && c.has(projects[subject]), err
}

// public are the events that every caller may read who may read the log at all: those
// without which nobody could check it, and what became of the instance's policy, which holds
// in every project and is itself no secret.
func public(e *pedigree.Event) bool {
	switch e.Type {
	case pedigree.LogCreated, pedigree.KeyRotated, pedigree.AuthEnabled:
		return true
	case pedigree.PolicyApplied, pedigree.PolicyRemoved:
		return e.Subject == pedigree.PolicySubject("")
	}
	return false
}

// redact leaves of each event that is out of reach its seq and its leaf hash; with drop it
// leaves nothing.
func (c *reach) redact(ctx context.Context, tx *sqlstore.Tx, entries []pedigree.Entry, drop bool) ([]pedigree.Entry, error) {
	if c.everywhere() {
		return entries, nil
	}
	events := make([]pedigree.Event, len(entries))
	subjects := make([]string, len(entries))
	for i := range entries {
		var err error
		if events[i], err = pedigree.ParseEnvelope(entries[i].Envelope); err != nil {
			return nil, err
		}
		subjects[i] = events[i].Subject
	}
	projects, err := tx.ProjectsOf(ctx, subjects)
	if err != nil {
		return nil, err
	}
	out := entries[:0]
	for i, e := range entries {
		if !public(&events[i]) && !c.has(projects[subjects[i]]) {
			if drop {
				continue
			}
			e.Envelope, e.Fields = "", nil
		}
		out = append(out, e)
	}
	return out, nil
}
