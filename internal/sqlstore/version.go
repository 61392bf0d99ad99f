package sqlstore

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/pedigree-ml/pedigree"
)

// Version reads a version as it is at tx's moment: its record from the events that
// registered and amended it, the rest from the views. It notes that the decision
// rests on it, though not on which aliases name it: they move with every deployment of the
// model anywhere. It returns [pedigree.CodeNotFound].
func (tx *Tx) Version(ctx context.Context, project pedigree.ProjectName, model pedigree.Name, modelID string, n pedigree.VersionNumber) (pedigree.Version, error) {
	v := pedigree.Version{Project: project, Model: model, ModelID: modelID, Number: n}
	var projectID string
	err := tx.row(ctx, "SELECT v.seq, m.project FROM view_versions v JOIN view_models m ON m.id = v.model WHERE v.model = $1 AND v.number = $2 AND "+tx.alive("v."), []any{modelID, int64(n)}, &v.Seq, &projectID)
	if err == nil && v.Seq > tx.last {
		err = errNoRows
	}
	if errors.Is(err, errNoRows) {
		return v, noVersion(&v)
	}
	if err != nil {
		return v, tx.s.d.translate(err, "find a version")
	}
	if err := tx.record(ctx, &v); err != nil {
		return v, err
	}
	err = tx.attributes(ctx, []int64{v.Seq}, []string{"tags", "description", "archived", "withdrawn"}, func(_ int64, a pedigree.Attribute) {
		switch a.Field {
		case "tags":
			if v.Tags == nil {
				v.Tags = map[string]string{}
			}
			v.Tags[strings.TrimPrefix(a.Key, "tags.")] = a.Text
		case "description":
			v.Description = a.Text
		case "archived":
			v.Archived = true
		case "withdrawn":
			v.Withdrawn = &pedigree.Withdrawal{}
		}
	})
	if err != nil {
		return v, err
	}
	if v.Withdrawn != nil {
		if err := tx.withdrawal(ctx, &v); err != nil {
			return v, err
		}
	}
	if v.Aliases, err = tx.AliasesOf(ctx, modelID, n); err != nil {
		return v, err
	}
	if v.Changed, err = tx.changed(ctx, v.Subject(), v.Seq); err != nil {
		return v, err
	}
	policies, err := tx.Policies(ctx, projectID, project)
	if err != nil {
		return v, err
	}
	if v.Approval, err = tx.Approval(ctx, &v, policies); err != nil {
		return v, err
	}
	v.Completeness = v.Complete(policies.Satisfied(v.Approval))
	return v, nil
}

// Stands says whether a version is there at tx's moment and whether it is archived, and
// notes that the decision rests on it. It returns [pedigree.CodeNotFound].
func (tx *Tx) Stands(ctx context.Context, v *pedigree.Version) error {
	err := tx.row(ctx, "SELECT v.seq FROM view_versions v WHERE v.model = $1 AND v.number = $2 AND "+tx.alive("v."), []any{v.ModelID, int64(v.Number)}, &v.Seq)
	if errors.Is(err, errNoRows) {
		return noVersion(v)
	}
	if err != nil {
		return tx.s.d.translate(err, "find a version")
	}
	if _, err := tx.Watch(ctx, v.Subject()); err != nil {
		return err
	}
	return tx.attributes(ctx, []int64{v.Seq}, []string{"archived", "withdrawn"}, func(_ int64, a pedigree.Attribute) {
		if a.Field == "withdrawn" {
			v.Withdrawn = &pedigree.Withdrawal{}
		} else {
			v.Archived = true
		}
	})
}

func noVersion(v *pedigree.Version) error {
	return pedigree.Errorf(pedigree.CodeNotFound, "there is no version %s", v.Reference()).WithFix("pedigree ls %s", v.Model)
}

// record reads the events that registered and amended v, and folds them.
func (tx *Tx) record(ctx context.Context, v *pedigree.Version) error {
	args := []any{v.Subject(), tx.last, string(pedigree.VersionRegistered), string(pedigree.VersionAmended)}
	var events []pedigree.Event
	err := tx.each(ctx, "read a record", `SELECT envelope FROM log_events WHERE subject = $1 AND seq <= $2 AND type IN ($3, $4) ORDER BY seq`, args, func(rows rows) error {
		var text string
		if err := rows.Scan(&text); err != nil {
			return err
		}
		e, err := pedigree.ParseEnvelope(text)
		events = append(events, e)
		return err
	})
	if err != nil {
		return err
	}
	fields := map[int64][]pedigree.Field{}
	err = tx.each(ctx, "read a record", `SELECT f.seq, f.name, f.value, f.salt, f.commitment FROM log_events e JOIN log_fields f ON f.seq = e.seq
WHERE e.subject = $1 AND e.seq <= $2 AND e.type IN ($3, $4) ORDER BY f.seq, f.name`, args, scanFields(fields))
	if err != nil {
		return err
	}
	for i := range events {
		events[i].Fields = fields[events[i].Seq]
	}
	return pedigree.FoldRecord(v, events)
}

// VersionAt is the number of the version that was registered by event seq.
func (tx *Tx) VersionAt(ctx context.Context, seq int64) (modelID string, n pedigree.VersionNumber, err error) {
	err = tx.row(ctx, "SELECT model, number FROM view_versions WHERE seq = $1", []any{seq}, &modelID, (*int64)(&n))
	return modelID, n, tx.s.d.translate(err, "find a version")
}

// RegisteredAt is when a version was registered, also one that was deleted since.
func (tx *Tx) RegisteredAt(ctx context.Context, modelID string, n pedigree.VersionNumber) (time.Time, error) {
	var us int64
	err := tx.row(ctx, "SELECT e.time FROM view_versions v JOIN log_events e ON e.seq = v.seq WHERE v.model = $1 AND v.number = $2", []any{modelID, int64(n)}, &us)
	return fromMicros(us), tx.s.d.translate(err, "find a version")
}

// Resolve finds the version that ref names in a model: by number, alias or digest, or
// the newest. Archived versions are found by number and digest. It returns
// [pedigree.CodeNotFound].
func (tx *Tx) Resolve(ctx context.Context, modelID string, ref pedigree.Reference) (pedigree.Resolved, error) {
	r := pedigree.Resolved{Project: ref.Project, Model: ref.Model, ModelID: modelID, Number: ref.Version, AsOf: tx.last}
	var err error
	switch {
	case ref.Alias != "":
		r.Number, err = tx.AliasTarget(ctx, modelID, ref.Alias)
		if err == nil && r.Number == 0 {
			return r, tx.noAlias(ctx, modelID, ref)
		}
	case ref.Digest != "":
		err = tx.row(ctx, `SELECT v.number FROM view_attributes a JOIN view_versions v ON v.seq = a.subject
WHERE a.key = 'artifact.digest' AND a.hash = $1 AND a.text = $2 AND a.field = 'artifact' AND v.model = $3 AND `+tx.open("a.")+` AND `+tx.alive("v.")+`
ORDER BY v.number DESC LIMIT 1`, []any{textHash(string(ref.Digest)), string(ref.Digest), modelID}, (*int64)(&r.Number))
		if errors.Is(err, errNoRows) {
			return r, pedigree.Errorf(pedigree.CodeNotFound, "no version of %s holds the artifact %s", ref.Model, ref.Digest)
		}
	case ref.Version == 0:
		r.Number, err = tx.Latest(ctx, modelID)
		if err == nil && r.Number == 0 {
			return r, pedigree.Errorf(pedigree.CodeNotFound, "model %s has no live version", ref.Model).WithFix("pedigree push %s PATH", ref.Model)
		}
	}
	if err != nil {
		return r, tx.s.d.translate(err, "resolve a reference")
	}
	var seq int64
	var digest, kind *string
	err = tx.row(ctx, "SELECT v.seq, (SELECT a.text FROM view_attributes a WHERE a.subject = v.seq AND a.field = 'artifact' AND a.key = 'artifact.digest' AND "+tx.open("a.")+"), "+
		"(SELECT a.text FROM view_attributes a WHERE a.subject = v.seq AND a.field = 'artifact' AND a.key = 'artifact.kind' AND "+tx.open("a.")+") "+
		"FROM view_versions v WHERE v.model = $1 AND v.number = $2 AND "+tx.alive("v."), []any{modelID, int64(r.Number)}, &seq, &digest, &kind)
	if errors.Is(err, errNoRows) {
		return r, pedigree.Errorf(pedigree.CodeNotFound, "there is no version %s/%d", ref.Model, r.Number).WithFix("pedigree ls %s", ref.Model)
	}
	if err != nil {
		return r, tx.s.d.translate(err, "resolve a reference")
	}
	r.Kind = pedigree.ArtifactNone
	if kind != nil {
		r.Kind = pedigree.ArtifactKind(*kind)
	}
	if digest != nil {
		r.Digest = pedigree.Digest(*digest)
	}
	return r, nil
}

func (tx *Tx) noAlias(ctx context.Context, modelID string, ref pedigree.Reference) error {
	aliases, err := tx.Aliases(ctx, modelID)
	if err != nil {
		return err
	}
	var names []string
	for a := range aliases {
		names = append(names, string(a))
	}
	slices.Sort(names)
	e := pedigree.Errorf(pedigree.CodeNotFound, "model %s has no alias %s", ref.Model, ref.Alias)
	if near := pedigree.Nearest(string(ref.Alias), names); near != "" {
		return e.WithFix("did you mean %s@%s?", ref.Model, near)
	}
	return e.WithFix("pedigree alias set %s@%s VERSION", ref.Model, ref.Alias)
}

// Summaries reads what lists show of versions, in the order of their seqs.
func (tx *Tx) Summaries(ctx context.Context, seqs []int64) ([]pedigree.Summary, error) {
	if len(seqs) == 0 {
		return nil, nil
	}
	bySeq := map[int64]*pedigree.Summary{}
	byVersion := map[string]*pedigree.Summary{}
	var models []string
	for chunk := range slices.Chunk(seqs, 128) {
		in, args := list(nil, chunk)
		err := tx.each(ctx, "read versions", `SELECT v.seq, v.model, v.number, p.name, n.name, e.envelope FROM view_versions v JOIN view_models m ON m.id = v.model
JOIN view_projects p ON p.id = m.project JOIN view_names n ON n.model = v.model JOIN log_events e ON e.seq = v.seq
WHERE v.seq IN (`+in+") AND "+tx.open("n."), args, func(rows rows) error {
			s := &pedigree.Summary{Kind: pedigree.ArtifactNone}
			var envelope string
			if err := rows.Scan(&s.Seq, &s.ModelID, (*int64)(&s.Number), (*string)(&s.Project), (*string)(&s.Model), &envelope); err != nil {
				return err
			}
			e, err := pedigree.ParseEnvelope(envelope)
			s.CreatedAt, s.CreatedBy = e.Time, e.Actor
			bySeq[s.Seq], byVersion[pedigree.VersionSubject(s.ModelID, s.Number)] = s, s
			models = append(models, s.ModelID)
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	points := map[int64]pedigree.Points{}
	err := tx.attributes(ctx, seqs, []string{"artifact", "owner", "code", "runtime", "data", "metrics", "target", "rollback_note", "archived", "withdrawn"}, func(seq int64, a pedigree.Attribute) {
		if s := bySeq[seq]; s != nil {
			if points[seq] == nil {
				points[seq] = pedigree.Points{}
			}
			setSummaryAttribute(s, points[seq], a)
		}
	})
	if err != nil {
		return nil, err
	}
	for chunk := range slices.Chunk(compact(models), 128) {
		in, args := list(nil, chunk)
		err := tx.each(ctx, "read aliases", "SELECT model, alias, version FROM view_aliases WHERE model IN ("+in+") AND "+tx.open("")+" ORDER BY alias", args, func(rows rows) error {
			var model, alias string
			var n int64
			err := rows.Scan(&model, &alias, &n)
			if s := byVersion[pedigree.VersionSubject(model, pedigree.VersionNumber(n))]; s != nil {
				s.Aliases = append(s.Aliases, pedigree.Alias(alias))
			}
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	states, needed, err := tx.approvalStates(ctx, seqs)
	if err != nil {
		return nil, err
	}
	out := make([]pedigree.Summary, 0, len(seqs))
	for _, seq := range seqs {
		if s := bySeq[seq]; s != nil {
			if points[seq] == nil {
				points[seq] = pedigree.Points{}
			}
			s.Approval = states[seq]
			points[seq]["approval"] = !needed[seq] || s.Approval == pedigree.ApprovalApproved
			s.Have, s.Want = points[seq].Count(), pedigree.RecordPoints
			out = append(out, *s)
		}
	}
	return out, nil
}

// setSummaryAttribute fills s from one attribute, and notes the point that it fills.
func setSummaryAttribute(s *pedigree.Summary, points pedigree.Points, a pedigree.Attribute) {
	switch a.Key {
	case "artifact.kind":
		s.Kind = pedigree.ArtifactKind(a.Text)
	case "artifact.digest":
		s.Digest = pedigree.Digest(a.Text)
	case "artifact.size":
		if a.Number != nil {
			size := int64(*a.Number)
			s.Size = &size
		}
	case "owner":
		s.Owner = a.Text
	case "archived":
		s.Archived = true
	case "withdrawn":
		s.Withdrawn = true
	}
	points.Add(a)
}

func (tx *Tx) artifactJSON(ctx context.Context, modelID string, n pedigree.VersionNumber) (json.RawMessage, error) {
	var value *string
	err := tx.row(ctx, `SELECT f.value FROM log_events e JOIN log_fields f ON f.seq = e.seq WHERE e.subject = $1 AND e.type IN ($2, $3) AND f.name = 'artifact' AND e.seq <= $4 ORDER BY e.seq DESC LIMIT 1`,
		[]any{pedigree.VersionSubject(modelID, n), string(pedigree.VersionRegistered), string(pedigree.VersionAmended), tx.last}, &value)
	if err != nil || value == nil {
		return nil, err
	}
	return json.RawMessage(*value), nil
}

// Artifact reads the artifact of a version without the rest of its record.
func (tx *Tx) Artifact(ctx context.Context, modelID string, n pedigree.VersionNumber) (pedigree.Artifact, error) {
	raw, err := tx.artifactJSON(ctx, modelID, n)
	var a pedigree.Artifact
	if err == nil && raw != nil {
		err = json.Unmarshal(raw, &a)
	}
	if errors.Is(err, errNoRows) {
		return pedigree.Artifact{Kind: pedigree.ArtifactNone}, nil
	}
	return a, tx.s.d.translate(err, "read an artifact")
}

// HasVersion says whether a version of a model of the project is there at tx's moment.
func (tx *Tx) HasVersion(ctx context.Context, projectID, modelID string, n pedigree.VersionNumber) (bool, error) {
	var count int
	err := tx.row(ctx, "SELECT count(*) FROM view_versions v JOIN view_models m ON m.id = v.model WHERE m.project = $1 AND v.model = $2 AND v.number = $3 AND "+tx.alive("v.")+" AND "+tx.alive("m."),
		[]any{projectID, modelID, int64(n)}, &count)
	return count > 0, tx.s.d.translate(err, "find a version")
}
