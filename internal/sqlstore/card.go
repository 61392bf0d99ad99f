package sqlstore

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/pedigree-ml/pedigree"
)

// Card is a version without its record: what a list of MLflow's shows of it today.
type Card struct {
	Project pedigree.ProjectName
	Model   pedigree.Name
	ModelID string
	Number  pedigree.VersionNumber
	// Seq is the event that registered it.
	Seq  int64
	Kind pedigree.ArtifactKind
	// Source is the artifact's URI: what the registration named.
	Source string
	// RunID and RunURI are those of the record's run.
	RunID, RunURI string
	Stage         string
	Description   string
	Tags          map[string]string
	Aliases       []pedigree.Alias
	CreatedBy     string
	CreatedAt     time.Time
	// UpdatedAt is the time of the last change, tags and aliases apart.
	UpdatedAt time.Time
	// Author and Born are who registered it and when where it was imported from; "" and
	// the zero time for a version that was registered here first.
	Author string
	Born   time.Time
	// Points are those of the minimum record that are filled.
	Points pedigree.Points
}

// ModelCard is a model with the newest version of each stage.
type ModelCard struct {
	pedigree.Model
	UpdatedAt time.Time
	// Newest are the newest versions, one a stage, in the order of the stages.
	Newest []Card
}

// cardChunk is how many versions are read at once.
const cardChunk = 128

// Cards reads versions by their seqs, in the order of these; those that are gone are
// left out. It is about the present.
func (tx *Tx) Cards(ctx context.Context, seqs []int64) ([]Card, error) {
	out := make([]Card, 0, len(seqs))
	for chunk := range slices.Chunk(seqs, cardChunk) {
		cards, err := tx.cards(ctx, chunk)
		if err != nil {
			return nil, err
		}
		for _, seq := range chunk {
			if c := cards[seq]; c != nil {
				out = append(out, *c)
			}
		}
	}
	return out, nil
}

func (tx *Tx) cards(ctx context.Context, seqs []int64) (map[int64]*Card, error) {
	cards := make(map[int64]*Card, len(seqs))
	byVersion := make(map[string]*Card, len(seqs))
	var models []string
	in, args := list(nil, seqs)
	err := tx.each(ctx, "read versions", `SELECT v.seq, v.model, v.number, v.stage, p.name, n.name, e.time, u.time FROM view_versions v JOIN view_models m ON m.id = v.model
JOIN view_projects p ON p.id = m.project JOIN view_names n ON n.model = v.model JOIN log_events e ON e.seq = v.seq JOIN log_events u ON u.seq = v.updated_seq
WHERE v.seq IN (`+in+") AND v.deleted_seq IS NULL AND n.to_seq IS NULL", args, func(rows rows) error {
		c := &Card{Kind: pedigree.ArtifactNone, Points: pedigree.Points{}}
		var created, updated int64
		err := rows.Scan(&c.Seq, &c.ModelID, (*int64)(&c.Number), &c.Stage, (*string)(&c.Project), (*string)(&c.Model), &created, &updated)
		c.CreatedAt, c.UpdatedAt = fromMicros(created), fromMicros(updated)
		cards[c.Seq], byVersion[pedigree.VersionSubject(c.ModelID, c.Number)] = c, c
		models = append(models, c.ModelID)
		return err
	})
	if err != nil {
		return nil, err
	}
	add := func(rows rows) error {
		var seq int64
		var a pedigree.Attribute
		if err := rows.Scan(&seq, &a.Field, &a.Key, &a.Text); err != nil {
			return err
		}
		if c := cards[seq]; c != nil {
			c.add(a)
		}
		return nil
	}
	err = tx.each(ctx, "read attributes", "SELECT subject, field, key, text FROM view_attributes WHERE subject IN ("+in+
		") AND field IN ('tags', 'description', 'created_by', 'imported', 'owner', 'target', 'rollback_note') AND to_seq IS NULL", args, add)
	if err != nil {
		return nil, err
	}
	err = tx.each(ctx, "read attributes", "SELECT subject, field, key, text FROM view_attributes WHERE subject IN ("+in+
		") AND field IN ('artifact', 'run', 'code', 'runtime') AND key IN ('artifact.kind', 'artifact.uri', 'run.id', 'run.uri', 'code.commit', 'runtime.image', 'runtime.environment') AND to_seq IS NULL", args, add)
	if err != nil {
		return nil, err
	}
	err = tx.each(ctx, "read attributes", "SELECT subject, field, min(key), '' FROM view_attributes WHERE subject IN ("+in+
		") AND (field = 'metrics' OR field = 'data' AND key = 'data.role') AND to_seq IS NULL GROUP BY subject, field", args, add)
	if err != nil {
		return nil, err
	}
	states, needed, err := tx.approvalStates(ctx, seqs)
	if err != nil {
		return nil, err
	}
	for seq, c := range cards {
		c.Points["approval"] = !needed[seq] || states[seq] == pedigree.ApprovalApproved
	}
	in, args = list(nil, compact(models))
	if len(args) == 0 {
		return cards, nil
	}
	err = tx.each(ctx, "read aliases", "SELECT model, alias, version FROM view_aliases WHERE model IN ("+in+") AND to_seq IS NULL ORDER BY alias", args, func(rows rows) error {
		var model, alias string
		var n int64
		err := rows.Scan(&model, &alias, &n)
		if c := byVersion[pedigree.VersionSubject(model, pedigree.VersionNumber(n))]; c != nil {
			c.Aliases = append(c.Aliases, pedigree.Alias(alias))
		}
		return err
	})
	return cards, err
}

// add fills c from one attribute.
func (c *Card) add(a pedigree.Attribute) {
	c.Points.Add(a)
	switch a.Key {
	case "artifact.kind":
		c.Kind = pedigree.ArtifactKind(a.Text)
	case "artifact.uri":
		c.Source = a.Text
	case "run.id":
		c.RunID = a.Text
	case "run.uri":
		c.RunURI = a.Text
	case "description":
		c.Description = a.Text
	case "created_by":
		c.CreatedBy = a.Text
	case "imported.author":
		c.Author = a.Text
	case "imported.created_at":
		c.Born, _ = time.Parse(time.RFC3339Nano, a.Text) // what can't be read says nothing
	default:
		if a.Field == "tags" {
			if c.Tags == nil {
				c.Tags = map[string]string{}
			}
			c.Tags[strings.TrimPrefix(a.Key, "tags.")] = a.Text
		}
	}
}

// VersionSeq is the event that registered a version that is there now. It returns
// [pedigree.CodeNotFound].
func (tx *Tx) VersionSeq(ctx context.Context, modelID string, n pedigree.VersionNumber) (int64, error) {
	var seq int64
	err := tx.row(ctx, "SELECT v.seq FROM view_versions v WHERE v.model = $1 AND v.number = $2 AND v.deleted_seq IS NULL", []any{modelID, int64(n)}, &seq)
	if errors.Is(err, errNoRows) {
		return 0, pedigree.Errorf(pedigree.CodeNotFound, "there is no version %s of the model", n)
	}
	return seq, tx.s.d.translate(err, "find a version")
}

// NewestSeqs are the newest versions of a model, one a stage that has one, in the order
// of stages. Archived ones, which lists do not show, are left out.
func (tx *Tx) NewestSeqs(ctx context.Context, modelID string, stages []string) ([]int64, error) {
	var seqs []int64
	for _, stage := range stages {
		var seq int64
		in, args := staged([]any{modelID}, stage)
		err := tx.row(ctx, `SELECT v.seq FROM view_versions v WHERE v.model = $1 AND `+in+` AND v.deleted_seq IS NULL AND NOT EXISTS
(SELECT 1 FROM view_attributes a WHERE a.subject = v.seq AND a.field = 'archived' AND a.key = 'archived' AND a.to_seq IS NULL) ORDER BY v.number DESC LIMIT 1`, args, &seq)
		switch {
		case errors.Is(err, errNoRows):
		case err != nil:
			return nil, tx.s.d.translate(err, "find the newest version")
		default:
			seqs = append(seqs, seq)
		}
	}
	return seqs, nil
}

// Stage is the stage that a version is in, and notes that the decision rests on it.
func (tx *Tx) Stage(ctx context.Context, modelID string, n pedigree.VersionNumber) (stage string, err error) {
	if _, err := tx.Watch(ctx, pedigree.StagesKey(modelID)); err != nil {
		return "", err
	}
	err = tx.row(ctx, "SELECT stage FROM view_versions WHERE model = $1 AND number = $2", []any{modelID, int64(n)}, &stage)
	return stage, tx.s.d.translate(err, "read a stage")
}

// staged is the condition that a version v is in a stage: one that either the index of the
// few that are in some stage answers, or that of all.
func staged(args []any, stage string) (string, []any) {
	if stage == pedigree.StagedNone {
		return "v.stage = '" + pedigree.StagedNone + "'", args
	}
	args = append(args, stage)
	return "v.stage = $" + itoa(len(args)) + " AND v.stage <> '" + pedigree.StagedNone + "'", args
}

// InStage lists the versions of a model that are in a stage, oldest first, and notes
// that the decision rests on it.
func (tx *Tx) InStage(ctx context.Context, modelID, stage string) ([]pedigree.VersionNumber, error) {
	if _, err := tx.Watch(ctx, pedigree.StagesKey(modelID)); err != nil {
		return nil, err
	}
	var out []pedigree.VersionNumber
	in, args := staged([]any{modelID}, stage)
	err := tx.each(ctx, "list a stage", "SELECT v.number FROM view_versions v WHERE v.model = $1 AND "+in+" AND v.deleted_seq IS NULL ORDER BY v.number", args, func(rows rows) error {
		var n int64
		err := rows.Scan(&n)
		out = append(out, pedigree.VersionNumber(n))
		return err
	})
	return out, err
}

// modelUpdated is the expression of the last event that changed a model under an alias;
// a registration changes it too.
func modelUpdated(alias string) string {
	newest := "coalesce((SELECT w.seq FROM view_versions w WHERE w.model = " + alias + ".id ORDER BY w.number DESC LIMIT 1), 0)"
	return "CASE WHEN " + alias + ".updated_seq > " + newest + " THEN " + alias + ".updated_seq ELSE " + newest + " END"
}

// ModelCards reads models by id, in the order of the ids; those that are gone are left
// out. It is about the present.
func (tx *Tx) ModelCards(ctx context.Context, project pedigree.ProjectName, ids []string) ([]ModelCard, error) {
	models, err := tx.Models(ctx, project, ids)
	if err != nil || len(models) == 0 {
		return nil, err
	}
	updated := make(map[string]int64, len(ids))
	for chunk := range slices.Chunk(ids, cardChunk) {
		in, args := list(nil, chunk)
		err := tx.each(ctx, "read models", "SELECT u.id, e.time FROM (SELECT m.id AS id, "+modelUpdated("m")+" AS seq FROM view_models m WHERE m.id IN ("+in+")) u JOIN log_events e ON e.seq = u.seq", args, func(rows rows) error {
			var id string
			var us int64
			err := rows.Scan(&id, &us)
			updated[id] = us
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	out := make([]ModelCard, len(models))
	var all []int64
	owner := map[int64]int{}
	for i, m := range models {
		out[i] = ModelCard{Model: m, UpdatedAt: fromMicros(updated[m.ID])}
		seqs, err := tx.NewestSeqs(ctx, m.ID, pedigree.VersionStages)
		if err != nil {
			return nil, err
		}
		for _, seq := range seqs {
			owner[seq] = i
		}
		all = append(all, seqs...)
	}
	cards, err := tx.Cards(ctx, all)
	for _, c := range cards {
		out[owner[c.Seq]].Newest = append(out[owner[c.Seq]].Newest, c)
	}
	return out, err
}

// ModelSearch asks for models of a project by name and tags.
type ModelSearch struct {
	Project string
	Filter  *pedigree.Filter
	// ByUpdate sorts by the last change, then by name; otherwise by name. Desc reverses
	// the first of them.
	ByUpdate, Desc bool
	// After is where the page begins; nil at the first. Skip passes over that many.
	After *ModelKey
	Skip  int64
	Limit int
}

// ModelKey is a place in the order of a search for models.
type ModelKey struct {
	Name    string `json:"n"`
	Updated int64  `json:"u"`
}

// SearchModels lists the ids of the models that q chooses, and the key from which the
// next page goes on; nil where there is none. It is about the present.
func (tx *Tx) SearchModels(ctx context.Context, q ModelSearch) ([]string, *ModelKey, error) {
	c := &compiler{tx: tx, ctx: ctx, project: q.Project}
	// The model stands under the name that conditions have for versions: both have a seq.
	columns := "n.name AS name, v.id AS id, 0 AS updated"
	if q.ByUpdate {
		columns = "n.name AS name, v.id AS id, " + modelUpdated("v") + " AS updated"
	}
	where := []string{"n.project = " + c.arg(q.Project), "n.to_seq IS NULL"}
	if q.Filter != nil && q.Filter.Root != nil {
		cond, err := c.node(q.Filter.Root)
		if err != nil {
			return nil, nil, err
		}
		where = append(where, cond)
	}
	direction, op := "", ">"
	if q.Desc {
		direction, op = " DESC", "<"
	}
	order := "name" + direction
	if q.ByUpdate {
		order = "updated" + direction + ", name"
	}
	outside := ""
	switch {
	case q.After == nil:
	case q.ByUpdate:
		u := c.arg(q.After.Updated)
		outside = " WHERE updated " + op + " " + u + " OR updated = " + u + " AND name > " + c.arg(q.After.Name)
	default:
		where = append(where, "n.name "+op+" "+c.arg(q.After.Name))
	}
	text := "SELECT name, id, updated FROM (SELECT " + columns + " FROM view_names n JOIN view_models v ON v.id = n.model WHERE " + strings.Join(where, " AND ") + ") t" +
		outside + " ORDER BY " + order + " LIMIT " + c.arg(q.Limit+1)
	if q.Skip > 0 {
		text += " OFFSET " + c.arg(q.Skip)
	}
	var ids []string
	var keys []ModelKey
	err := tx.each(ctx, "search models", text, c.args, func(rows rows) error {
		var k ModelKey
		var id string
		err := rows.Scan(&k.Name, &id, &k.Updated)
		ids, keys = append(ids, id), append(keys, k)
		return err
	})
	if err != nil || len(ids) <= q.Limit {
		return ids, nil, err
	}
	return ids[:q.Limit], &keys[q.Limit-1], nil
}
