package sqlstore

import (
	"context"
	"errors"

	"github.com/pedigree-ml/pedigree"
)

const projectColumns = `SELECT p.id, p.name, p.seq, coalesce(s.seq, p.seq), e.envelope,
  coalesce((SELECT a.text FROM view_attributes a WHERE a.subject = p.seq AND a.field = 'description' AND a.key = 'description' AND a.to_seq IS NULL), '')
FROM view_projects p JOIN log_events e ON e.seq = p.seq LEFT JOIN view_subjects s ON s.subject = p.id `

func scanProject(rows rows) (pedigree.Project, error) {
	var p pedigree.Project
	var envelope string
	if err := rows.Scan(&p.ID, &p.Name, &p.Seq, &p.Changed, &envelope, &p.Description); err != nil {
		return p, err
	}
	e, err := pedigree.ParseEnvelope(envelope)
	p.CreatedAt, p.CreatedBy = e.Time, e.Actor
	return p, err
}

// Project finds a project by name, and notes that the decision rests on the name. It
// returns [pedigree.CodeNotFound].
func (tx *Tx) Project(ctx context.Context, name pedigree.ProjectName) (pedigree.Project, error) {
	if _, err := tx.Watch(ctx, pedigree.ProjectKey(name)); err != nil {
		return pedigree.Project{}, err
	}
	var found []pedigree.Project
	err := tx.each(ctx, "find a project", projectColumns+"WHERE p.name = $1 AND p.seq <= $2", []any{string(name), tx.last}, func(rows rows) error {
		p, err := scanProject(rows)
		found = append(found, p)
		return err
	})
	if err == nil && len(found) == 0 {
		err = NoProject(name)
	}
	if err != nil {
		return pedigree.Project{}, err
	}
	return found[0], nil
}

// NoProject is the answer about a project that is not there, and about one of which the
// caller may not know.
func NoProject(name pedigree.ProjectName) error {
	return pedigree.Errorf(pedigree.CodeNotFound, "there is no project %s", name).WithFix("pedigree project create %s", name)
}

// knownProject is what a project keeps for ever: its id, beside its name, and the event
// that made it.
type knownProject struct {
	id  string
	seq int64
}

// ProjectID is the id of a project, without the rest. It returns
// [pedigree.CodeNotFound].
func (tx *Tx) ProjectID(ctx context.Context, name pedigree.ProjectName) (string, error) {
	kept, ok := tx.s.projects.Load(name)
	p, _ := kept.(knownProject)
	if !ok {
		err := tx.row(ctx, "SELECT id, seq FROM view_projects WHERE name = $1", []any{string(name)}, &p.id, &p.seq)
		if errors.Is(err, errNoRows) {
			return "", NoProject(name)
		}
		if err != nil {
			return "", tx.s.d.translate(err, "find a project")
		}
		tx.s.projects.Store(name, p)
	}
	if p.seq > tx.last {
		return "", NoProject(name)
	}
	return p.id, nil
}

// KnownProject is the id of a project that was looked up before, "" for any other.
func (s *Store) KnownProject(name pedigree.ProjectName) string {
	p, _ := s.projects.Load(name)
	known, _ := p.(knownProject)
	return known.id
}

// Projects lists projects by name, after the given one; within, where not nil, are the ids
// of those to choose from.
func (tx *Tx) Projects(ctx context.Context, within []string, after pedigree.ProjectName, limit int) ([]pedigree.Project, error) {
	var out []pedigree.Project
	args := []any{string(after), tx.last, limit}
	where := "WHERE p.name > $1 AND p.seq <= $2"
	if within != nil {
		var cond string
		cond, args = among("p.id", args, within)
		where += " AND " + cond
	}
	err := tx.each(ctx, "list projects", projectColumns+where+" ORDER BY p.name LIMIT $3", args, func(rows rows) error {
		p, err := scanProject(rows)
		out = append(out, p)
		return err
	})
	return out, err
}

// ProjectName is the name of the project with an id. It returns [pedigree.CodeNotFound].
func (tx *Tx) ProjectName(ctx context.Context, id string) (name pedigree.ProjectName, err error) {
	err = tx.row(ctx, "SELECT name FROM view_projects WHERE id = $1", []any{id}, (*string)(&name))
	if errors.Is(err, errNoRows) {
		err = pedigree.Errorf(pedigree.CodeNotFound, "there is no project %s", id)
	}
	return name, tx.s.d.translate(err, "find a project")
}
