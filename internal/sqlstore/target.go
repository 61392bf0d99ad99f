package sqlstore

import (
	"context"
	"errors"
	"strings"

	"github.com/pedigree-ml/pedigree"
)

// target applies what is said of a target. The columns alias and protected are today's.
func (a *applier) target() {
	protected := 0
	var flag bool
	if a.decode("protected", &flag); flag {
		protected = 1
	}
	switch a.e.Type {
	case pedigree.TargetCreated:
		a.out.insert(viewTargets, a.e.Subject, a.e.String("project"), a.e.String("name"), a.e.Seq, a.e.String("alias"), protected)
	case pedigree.TargetEdited:
		if a.e.Field("alias") != nil {
			a.out.exec("UPDATE view_targets SET alias = $1 WHERE id = $2", a.e.String("alias"), a.e.Subject)
		}
		if a.e.Field("protected") != nil {
			a.out.exec("UPDATE view_targets SET protected = $1 WHERE id = $2", protected, a.e.Subject)
		}
	case pedigree.TargetDeleted:
		a.out.exec("UPDATE view_targets SET deleted_seq = $1 WHERE id = $2", a.e.Seq, a.e.Subject)
	}
}

// TargetID finds a target of a project by its name at tx's moment. It notes that the
// decision rests on the name, and returns [pedigree.CodeNotFound].
func (tx *Tx) TargetID(ctx context.Context, projectID string, name pedigree.TargetName) (string, error) {
	if tx.current {
		if _, err := tx.Watch(ctx, pedigree.TargetKey(projectID, name)); err != nil {
			return "", err
		}
	}
	var id string
	err := tx.row(ctx, "SELECT id FROM view_targets WHERE project = $1 AND name = $2 AND "+tx.alive("")+" ORDER BY seq DESC LIMIT 1", []any{projectID, string(name)}, &id)
	if !errors.Is(err, errNoRows) {
		return id, tx.s.d.translate(err, "find a target")
	}
	all, listErr := tx.TargetNames(ctx, projectID)
	if listErr != nil {
		return "", listErr
	}
	e := pedigree.Errorf(pedigree.CodeNotFound, "there is no target %s", name)
	if near := pedigree.Nearest(string(name), all); near != "" {
		return "", e.WithFix("did you mean %s?", near)
	}
	return "", e.WithFix("pedigree target create %s --kind online", name)
}

// TargetNames are the names of a project's targets at tx's moment, sorted.
func (tx *Tx) TargetNames(ctx context.Context, projectID string) ([]string, error) {
	var out []string
	err := tx.each(ctx, "read targets", "SELECT name FROM view_targets WHERE project = $1 AND "+tx.alive("")+" ORDER BY name", []any{projectID}, func(rows rows) error {
		var name string
		err := rows.Scan(&name)
		out = append(out, name)
		return err
	})
	return out, err
}

// Targets reads targets by id, in that order. It notes that the decision rests on each.
func (tx *Tx) Targets(ctx context.Context, ids []string) ([]pedigree.Target, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	byID := map[string]*pedigree.Target{}
	in, args := list(nil, ids)
	err := tx.each(ctx, "read targets", "SELECT t.id, p.name, t.name, t.seq, t.deleted_seq, e.envelope FROM view_targets t JOIN view_projects p ON p.id = t.project JOIN log_events e ON e.seq = t.seq WHERE t.id IN ("+in+")", args, func(rows rows) error {
		t := &pedigree.Target{}
		var deleted *int64
		var envelope string
		if err := rows.Scan(&t.ID, (*string)(&t.Project), (*string)(&t.Name), &t.Seq, &deleted, &envelope); err != nil {
			return err
		}
		t.Deleted = deleted != nil && *deleted <= tx.last
		e, err := pedigree.ParseEnvelope(envelope)
		t.CreatedAt, t.CreatedBy = e.Time, e.Actor
		byID[t.ID] = t
		return err
	})
	if err != nil {
		return nil, err
	}
	events, err := tx.subjectEvents(ctx, ids, []pedigree.EventType{pedigree.TargetCreated, pedigree.TargetEdited})
	if err != nil {
		return nil, err
	}
	bySubject := map[string][]pedigree.Event{}
	for _, e := range events {
		bySubject[e.Subject] = append(bySubject[e.Subject], e)
	}
	var out []pedigree.Target
	for _, id := range ids {
		t := byID[id]
		if t == nil {
			continue
		}
		if err := pedigree.FoldTarget(t, bySubject[id]); err != nil {
			return nil, err
		}
		if t.Changed, err = tx.changed(ctx, id, t.Seq); err != nil {
			return nil, err
		}
		out = append(out, *t)
	}
	return out, nil
}

// Target reads one target; see [Tx.Targets].
func (tx *Tx) Target(ctx context.Context, id string) (pedigree.Target, error) {
	targets, err := tx.Targets(ctx, []string{id})
	if err == nil && len(targets) == 0 {
		err = pedigree.Errorf(pedigree.CodeNotFound, "there is no target %s", id)
	}
	if err != nil {
		return pedigree.Target{}, err
	}
	return targets[0], nil
}

// ListTargets are the ids of the targets of a project (of all for "") after a name, in the
// order of project and name.
func (tx *Tx) ListTargets(ctx context.Context, projectID string, after string, limit int) ([]string, error) {
	text := "SELECT t.id FROM view_targets t WHERE t.name > $1 AND " + tx.alive("t.")
	args := []any{after, limit}
	if projectID != "" {
		text += " AND t.project = $3"
		args = append(args, projectID)
	}
	var out []string
	err := tx.each(ctx, "read targets", text+" ORDER BY t.name, t.id LIMIT $2", args, func(rows rows) error {
		var id string
		err := rows.Scan(&id)
		out = append(out, id)
		return err
	})
	return out, err
}

// AllTargets are the ids of all live targets.
func (tx *Tx) AllTargets(ctx context.Context) ([]string, error) {
	return tx.ListTargets(ctx, "", "", 1<<30)
}

// TiedTargets are the ids of the targets of a project that tie an alias now. It notes that
// the decision rests on them.
func (tx *Tx) TiedTargets(ctx context.Context, projectID string, alias pedigree.Alias) ([]string, error) {
	return tx.tiedTargets(ctx, projectID, "alias", string(alias))
}

// TiedStage is [Tx.TiedTargets] for the aliases that are spelled as a stage of MLflow's, in
// any case.
func (tx *Tx) TiedStage(ctx context.Context, projectID, stage string) ([]string, error) {
	return tx.tiedTargets(ctx, projectID, "lower(alias)", strings.ToLower(stage))
}

func (tx *Tx) tiedTargets(ctx context.Context, projectID, expr, value string) ([]string, error) {
	if _, err := tx.Watch(ctx, pedigree.TiedKey(projectID)); err != nil {
		return nil, err
	}
	var out []string
	err := tx.each(ctx, "read targets", "SELECT id FROM view_targets WHERE project = $1 AND deleted_seq IS NULL AND "+expr+" = $2 ORDER BY seq", []any{projectID, value}, func(rows rows) error {
		var id string
		err := rows.Scan(&id)
		out = append(out, id)
		return err
	})
	return out, err
}
