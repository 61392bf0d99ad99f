package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"strings"

	"github.com/pedigree-ml/pedigree"
)

// ModelID is the id of the model that has the name at tx's moment, and notes that
// the decision rests on the name. It returns "" where there is none.
func (tx *Tx) ModelID(ctx context.Context, projectID string, name pedigree.Name) (string, error) {
	var id string
	if tx.current {
		seq := int64(-1)
		key := pedigree.NameKey(projectID, name)
		if tx.Recalled() {
			return tx.recallModel(key)
		}
		err := tx.row(ctx, "SELECT coalesce((SELECT seq FROM view_subjects WHERE subject = $1), -1), coalesce((SELECT model FROM view_names WHERE project = $2 AND name = $3 AND to_seq IS NULL), '')",
			[]any{key, projectID, string(name)}, &seq, &id)
		if err != nil {
			return "", tx.s.d.translate(err, "find a model")
		}
		tx.checks[key] = seq
		if id != "" {
			keep(&tx.s.memory, &tx.s.memory.models, key, rememberedModel{seq, id})
		}
		return id, nil
	}
	err := tx.row(ctx, "SELECT model FROM view_names WHERE project = $1 AND name = $2 AND "+tx.open(""), []any{projectID, string(name)}, &id)
	if errors.Is(err, errNoRows) {
		return "", nil
	}
	return id, tx.s.d.translate(err, "find a model")
}

// WasNamed says whether a model has a name at tx's moment, or ever had it.
func (tx *Tx) WasNamed(ctx context.Context, modelID string, name pedigree.Name) (bool, error) {
	var n int
	err := tx.row(ctx, "SELECT count(*) FROM view_names WHERE model = $1 AND name = $2 AND from_seq <= $3", []any{modelID, string(name), tx.last}, &n)
	return n > 0, tx.s.d.translate(err, "read former names")
}

// Model reads a model as it is at tx's moment, and notes that the decision rests on
// it. It returns [pedigree.CodeNotFound] for an id that has no name then.
func (tx *Tx) Model(ctx context.Context, project pedigree.ProjectName, id string) (pedigree.Model, error) {
	models, err := tx.Models(ctx, project, []string{id})
	if err == nil && len(models) == 0 {
		err = pedigree.Errorf(pedigree.CodeNotFound, "there is no model %s", id)
	}
	if err != nil {
		return pedigree.Model{}, err
	}
	m := models[0]
	if m.Changed, err = tx.changed(ctx, m.ID, m.Seq); err != nil {
		return m, err
	}
	err = tx.each(ctx, "read former models", `SELECT DISTINCT o.model FROM view_names n JOIN view_names o ON o.project = n.project AND o.name = n.name AND o.model <> n.model
WHERE n.model = $1 AND n.name = $2 AND o.from_seq < n.from_seq ORDER BY o.model`, []any{m.ID, string(m.Name)}, func(rows rows) error {
		var former string
		err := rows.Scan(&former)
		m.Former = append(m.Former, former)
		return err
	})
	if err != nil {
		return m, err
	}
	err = tx.each(ctx, "read erased fields", `SELECT DISTINCT f.name FROM log_events e JOIN log_fields f ON f.seq = e.seq
WHERE e.subject = $1 AND e.seq <= $2 AND f.value IS NULL ORDER BY f.name`, []any{m.ID, tx.last}, func(rows rows) error {
		var name string
		err := rows.Scan(&name)
		m.Erased = append(m.Erased, name)
		return err
	})
	return m, err
}

// changed is the last event that moved subject, or created where none did.
func (tx *Tx) changed(ctx context.Context, subject string, created int64) (int64, error) {
	if tx.current {
		seq, err := tx.Watch(ctx, subject)
		return max(seq, created), err
	}
	seq := sql.NullInt64{}
	// As [pedigree.Event.Touches] has it.
	untouched := []pedigree.EventType{pedigree.AliasMoved, pedigree.AliasRemoved, pedigree.GateOverridden, pedigree.TargetReadiness, pedigree.InstanceChanged}
	in, args := list([]any{subject, tx.last}, untouched)
	// The last of many: read from the end of an index, and no further.
	text := "SELECT seq FROM (SELECT seq FROM log_events WHERE subject = $1 AND seq <= $2 AND type NOT IN (" + in + ") ORDER BY seq DESC LIMIT 1) s"
	if strings.HasPrefix(subject, "tgt_") { // what is deployed at a target changes it
		text += " UNION ALL SELECT seq FROM (SELECT r.seq AS seq FROM log_refs r JOIN log_events e ON e.seq = r.seq WHERE r.ref = $1 AND r.seq <= $2 AND e.type LIKE 'deployment.%' ORDER BY r.seq DESC LIMIT 1) d"
	}
	text = "SELECT max(seq) FROM (" + text + ") x"
	err := tx.row(ctx, text, args, &seq)
	return max(seq.Int64, created), tx.s.d.translate(err, "read a subject")
}

// ModelNames lists the names of models in a project, after the given one, with the
// id that each has at tx's moment. Prompts are left out.
func (tx *Tx) ModelNames(ctx context.Context, projectID string, after pedigree.Name, limit int) (names []pedigree.Name, ids []string, err error) {
	err = tx.each(ctx, "list models", `SELECT n.name, n.model FROM view_names n WHERE n.project = $1 AND n.name > $2 AND `+tx.open("n.")+` AND NOT EXISTS
(SELECT 1 FROM view_models m JOIN view_attributes a ON a.subject = m.seq WHERE m.id = n.model AND a.field = 'tags' AND a.key = $4 AND a.text = 'true' AND `+tx.open("a.")+`)
ORDER BY n.name LIMIT $3`, []any{projectID, string(after), limit, "tags." + pedigree.PromptTag}, func(rows rows) error {
		var name pedigree.Name
		var id string
		err := rows.Scan((*string)(&name), &id)
		names, ids = append(names, name), append(ids, id)
		return err
	})
	return names, ids, err
}

// Models reads models by id, in the order of the ids; those that have no name at tx's
// moment are left out.
func (tx *Tx) Models(ctx context.Context, project pedigree.ProjectName, ids []string) ([]pedigree.Model, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	byID := map[string]*pedigree.Model{}
	bySeq := map[int64]*pedigree.Model{}
	in, args := list(nil, ids)
	err := tx.each(ctx, "read models", `SELECT m.id, n.name, m.seq, e.envelope FROM view_models m JOIN view_names n ON n.model = m.id JOIN log_events e ON e.seq = m.seq
WHERE m.id IN (`+in+`) AND `+tx.open("n."), args, func(rows rows) error {
		m := &pedigree.Model{Project: project, State: pedigree.StateDevelopment}
		var envelope string
		if err := rows.Scan(&m.ID, (*string)(&m.Name), &m.Seq, &envelope); err != nil {
			return err
		}
		e, err := pedigree.ParseEnvelope(envelope)
		m.CreatedAt, m.CreatedBy = e.Time, e.Actor
		byID[m.ID], bySeq[m.Seq] = m, m
		return err
	})
	if err != nil {
		return nil, err
	}
	var seqs []int64
	for seq := range bySeq {
		seqs = append(seqs, seq)
	}
	err = tx.attributes(ctx, seqs, nil, func(subject int64, a pedigree.Attribute) {
		setModelAttribute(bySeq[subject], a)
	})
	if err != nil {
		return nil, err
	}
	err = tx.each(ctx, "read aliases", "SELECT model, alias, version FROM view_aliases WHERE model IN ("+in+") AND "+tx.open(""), args, func(rows rows) error {
		var model, alias string
		var n int64
		if err := rows.Scan(&model, &alias, &n); err != nil {
			return err
		}
		if m := byID[model]; m != nil {
			if m.Aliases == nil {
				m.Aliases = map[pedigree.Alias]pedigree.VersionNumber{}
			}
			m.Aliases[pedigree.Alias(alias)] = pedigree.VersionNumber(n)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	var out []pedigree.Model
	for _, id := range ids {
		if m := byID[id]; m != nil {
			if m.Latest, err = tx.Latest(ctx, id); err != nil {
				return nil, err
			}
			out = append(out, *m)
		}
	}
	return out, nil
}

func setModelAttribute(m *pedigree.Model, a pedigree.Attribute) {
	if m == nil {
		return
	}
	switch a.Field {
	case "tags":
		if m.Tags == nil {
			m.Tags = map[string]string{}
		}
		m.Tags[strings.TrimPrefix(a.Key, "tags.")] = a.Text
	case "owner":
		m.Owner = a.Text
	case "purpose":
		m.Purpose = a.Text
	case "permitted_use":
		m.PermittedUse = a.Text
	case "restrictions":
		m.Restrictions = a.Text
	case "tier":
		m.Tier = pedigree.Tier(a.Text)
	case "state":
		m.State = pedigree.LifeState(a.Text)
	case "description":
		m.Description = a.Text
	}
}

// Latest is the newest version of a model that is neither archived nor deleted at
// tx's moment, 0 without one.
func (tx *Tx) Latest(ctx context.Context, modelID string) (pedigree.VersionNumber, error) {
	var n int64
	err := tx.row(ctx, "SELECT v.number FROM view_versions v WHERE v.model = $1 AND "+tx.alive("v.")+` AND NOT EXISTS
(SELECT 1 FROM view_attributes a WHERE a.subject = v.seq AND a.field = 'archived' AND a.key = 'archived' AND `+tx.open("a.")+`) ORDER BY v.number DESC LIMIT 1`, []any{modelID}, &n)
	if errors.Is(err, errNoRows) {
		return 0, nil
	}
	return pedigree.VersionNumber(n), tx.s.d.translate(err, "find the newest version")
}

// attributes reads the attributes that the subjects have at tx's moment, of the
// given fields or of all. The order is that of subject, field and key.
func (tx *Tx) attributes(ctx context.Context, subjects []int64, fields []string, visit func(subject int64, a pedigree.Attribute)) error {
	const chunk = 128
	for len(subjects) > 0 {
		part := subjects[:min(chunk, len(subjects))]
		subjects = subjects[len(part):]
		in, args := list(nil, part)
		text := "SELECT subject, field, key, text, number FROM view_attributes WHERE subject IN (" + in + ") AND " + tx.open("")
		if len(fields) > 0 {
			in, args = list(args, fields)
			text += " AND field IN (" + in + ")"
		}
		err := tx.each(ctx, "read attributes", text+" ORDER BY subject, field, key, from_seq, ord", args, func(rows rows) error {
			var subject int64
			var a pedigree.Attribute
			if err := rows.Scan(&subject, &a.Field, &a.Key, &a.Text, &a.Number); err != nil {
				return err
			}
			visit(subject, a)
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// NameOf is the name that a model has at tx's moment, and its project; the last one it
// had where it was deleted. It returns [pedigree.CodeNotFound] for an id that no model
// has.
func (tx *Tx) NameOf(ctx context.Context, id string) (project pedigree.ProjectName, name pedigree.Name, deleted bool, err error) {
	var to sql.NullInt64
	err = tx.row(ctx, `SELECT p.name, n.name, n.to_seq FROM view_names n JOIN view_projects p ON p.id = n.project
WHERE n.model = $1 AND n.from_seq <= $2 ORDER BY n.from_seq DESC LIMIT 1`, []any{id, tx.last}, (*string)(&project), (*string)(&name), &to)
	if errors.Is(err, errNoRows) {
		err = pedigree.Errorf(pedigree.CodeNotFound, "there is no model %s", id)
	}
	return project, name, to.Valid && to.Int64 <= tx.last, tx.s.d.translate(err, "find a model's name")
}
