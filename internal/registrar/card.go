package registrar

import (
	"context"
	"encoding/json"
	"slices"
	"strings"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/internal/sqlstore"
)

// Cards are what lists of foreign protocols show: no records.
type (
	Card      = sqlstore.Card
	ModelCard = sqlstore.ModelCard
)

// Head is the size of the log, for a caller that may read the records of a project: what
// was read of them at one head holds until the next.
func (r *Registrar) Head(ctx context.Context, p pedigree.Principal, project pedigree.ProjectName) (int64, error) {
	return r.may(ctx, p, pedigree.RecordsRead, project)
}

// Card reads the version that ref names, without its record. It returns
// [pedigree.CodeNotFound], and [pedigree.CodeRefused] for a version that was withdrawn and is
// named by an alias, or as the newest.
func (r *Registrar) Card(ctx context.Context, p pedigree.Principal, ref pedigree.Reference) (c Card, err error) {
	err = r.store.Read(ctx, pedigree.At{}, func(tx *sqlstore.Tx) error {
		if err := r.authorise(ctx, tx, p, pedigree.RecordsRead, ref.Project); err != nil {
			return err
		}
		_, id, err := modelID(ctx, tx, ref.Project, ref.Model)
		if err != nil {
			return err
		}
		if c, err = card(ctx, tx, id, ref); err != nil || ref.Version != 0 || ref.Digest != "" {
			return err
		}
		return barredCard(ctx, tx, &c)
	})
	return c, err
}

// barredCard is [barred] for a card.
func barredCard(ctx context.Context, tx *sqlstore.Tx, c *Card) error {
	return barred(ctx, tx, &pedigree.Resolved{Project: c.Project, Model: c.Model, ModelID: c.ModelID, Number: c.Number})
}

func card(ctx context.Context, tx *sqlstore.Tx, id string, ref pedigree.Reference) (Card, error) {
	if ref.Version == 0 {
		found, err := tx.Resolve(ctx, id, ref)
		if err != nil {
			return Card{}, err
		}
		ref.Version = found.Number
	}
	seq, err := tx.VersionSeq(ctx, id, ref.Version)
	if err != nil {
		return Card{}, err
	}
	cards, err := tx.Cards(ctx, []int64{seq})
	if err == nil && len(cards) == 0 {
		err = pedigree.Errorf(pedigree.CodeNotFound, "there is no version %s", ref)
	}
	if err != nil {
		return Card{}, err
	}
	return cards[0], nil
}

// ModelCard reads a model with the newest version of each stage. It returns
// [pedigree.CodeNotFound].
func (r *Registrar) ModelCard(ctx context.Context, p pedigree.Principal, project pedigree.ProjectName, name pedigree.Name) (c ModelCard, err error) {
	err = r.store.Read(ctx, pedigree.At{}, func(tx *sqlstore.Tx) error {
		if err := r.authorise(ctx, tx, p, pedigree.RecordsRead, project); err != nil {
			return err
		}
		_, id, err := modelID(ctx, tx, project, name)
		if err != nil {
			return err
		}
		cards, err := tx.ModelCards(ctx, project, []string{id})
		if err == nil {
			c = cards[0]
		}
		return err
	})
	return c, err
}

// StageCard reads the newest version of a stage. It returns [pedigree.CodeNotFound] for a model
// that is not there, and [pedigree.CodeRefused] where the version was withdrawn: whoever asks
// for one stage means to run what is there, and gets no other in its place. ok is false where
// the stage is empty.
func (r *Registrar) StageCard(ctx context.Context, p pedigree.Principal, project pedigree.ProjectName, name pedigree.Name, stage string) (c Card, ok bool, err error) {
	err = r.newest(ctx, p, project, name, []string{stage}, func(tx *sqlstore.Tx, cards []Card) error {
		if ok = len(cards) > 0; !ok {
			return nil
		}
		c = cards[0]
		return barredCard(ctx, tx, &c)
	})
	return c, ok, err
}

// NewestCards lists the newest version of each of the stages that has one, without those that
// were withdrawn. It returns [pedigree.CodeNotFound] for a model that is not there.
func (r *Registrar) NewestCards(ctx context.Context, p pedigree.Principal, project pedigree.ProjectName, name pedigree.Name, stages []string) (out []Card, err error) {
	err = r.newest(ctx, p, project, name, stages, func(tx *sqlstore.Tx, cards []Card) error {
		for i := range cards {
			switch err := barredCard(ctx, tx, &cards[i]); {
			case err == nil:
				out = append(out, cards[i])
			case pedigree.CodeOf(err) != pedigree.CodeRefused:
				return err
			}
		}
		return nil
	})
	return out, err
}

// newest calls f with the newest version of each of the stages that has one.
func (r *Registrar) newest(ctx context.Context, p pedigree.Principal, project pedigree.ProjectName, name pedigree.Name, stages []string, f func(tx *sqlstore.Tx, cards []Card) error) error {
	return r.store.Read(ctx, pedigree.At{}, func(tx *sqlstore.Tx) error {
		if err := r.authorise(ctx, tx, p, pedigree.RecordsRead, project); err != nil {
			return err
		}
		_, id, err := modelID(ctx, tx, project, name)
		if err != nil {
			return err
		}
		seqs, err := tx.NewestSeqs(ctx, id, stages)
		if err != nil {
			return err
		}
		cards, err := tx.Cards(ctx, seqs)
		if err != nil {
			return err
		}
		return f(tx, cards)
	})
}

// CardQuery asks for cards of one project.
type CardQuery struct {
	Filter *pedigree.Filter
	// Order is what versions are sorted by. Models know "model" and "updated_at", and
	// of these the first.
	Order []pedigree.Order
	// Limit is the most to return, without a limit of its own.
	Limit int
	// Cursor is the Next of the page before; Skip passes over that many where a caller
	// has none.
	Cursor string
	Skip   int64
}

// SearchCards lists versions as they are now, those archived left out, and the cursor
// of the next page. It returns [pedigree.CodeInvalid] for a cursor that is none.
func (r *Registrar) SearchCards(ctx context.Context, p pedigree.Principal, project pedigree.ProjectName, q CardQuery) (cards []Card, next string, err error) {
	var after *sqlstore.SearchKey
	if q.Cursor != "" {
		if err := json.Unmarshal([]byte(q.Cursor), &after); err != nil || after == nil {
			return nil, "", pedigree.Errorf(pedigree.CodeInvalid, "the page cursor is not one that this registry gave out")
		}
	}
	err = r.store.Read(ctx, pedigree.At{}, func(tx *sqlstore.Tx) error {
		if err := r.authorise(ctx, tx, p, pedigree.RecordsRead, project); err != nil {
			return err
		}
		id, err := tx.ProjectID(ctx, project)
		if err != nil {
			return err
		}
		seqs, key, err := tx.Search(ctx, sqlstore.Search{
			Project: id, Filter: q.Filter, Order: q.Order, After: after, Skip: q.Skip, Limit: q.Limit, Now: r.now(),
		})
		if err != nil {
			return err
		}
		if next, err = cursorText(key); err != nil {
			return err
		}
		cards, err = tx.Cards(ctx, seqs)
		return err
	})
	return cards, next, err
}

// SearchModelCards lists models as they are now by name and tags, and the cursor of the
// next page. It returns [pedigree.CodeInvalid] for a cursor that is none.
func (r *Registrar) SearchModelCards(ctx context.Context, p pedigree.Principal, project pedigree.ProjectName, q CardQuery) (cards []ModelCard, next string, err error) {
	s := sqlstore.ModelSearch{Filter: q.Filter, Skip: q.Skip, Limit: q.Limit}
	if q.Cursor != "" {
		if err := json.Unmarshal([]byte(q.Cursor), &s.After); err != nil || s.After == nil || strings.ContainsRune(s.After.Name, 0) {
			return nil, "", pedigree.Errorf(pedigree.CodeInvalid, "the page cursor is not one that this registry gave out")
		}
	}
	if len(q.Order) > 0 {
		s.ByUpdate, s.Desc = q.Order[0].Field.Attribute() == "updated_at", q.Order[0].Desc
	}
	err = r.store.Read(ctx, pedigree.At{}, func(tx *sqlstore.Tx) error {
		if err := r.authorise(ctx, tx, p, pedigree.RecordsRead, project); err != nil {
			return err
		}
		if s.Project, err = tx.ProjectID(ctx, project); err != nil {
			return err
		}
		ids, key, err := tx.SearchModels(ctx, s)
		if err != nil {
			return err
		}
		if key != nil {
			if next, err = cursorText(key); err != nil {
				return err
			}
		}
		cards, err = tx.ModelCards(ctx, project, ids)
		return err
	})
	return cards, next, err
}

// cursorText is a key as a caller keeps it; "" for none.
func cursorText[T any](key *T) (string, error) {
	if key == nil {
		return "", nil
	}
	text, err := json.Marshal(key)
	return string(text), err
}

// Transition puts a version into one of MLflow's stages; archiveOthers moves those of
// the model that are there now to Archived, in the same append. It returns
// [pedigree.CodeNotFound], and [pedigree.CodeRefused] for a withdrawn version.
func (r *Registrar) Transition(ctx context.Context, p pedigree.Principal, ref pedigree.Reference, stage string, archiveOthers bool) (Card, error) {
	var id string
	var number pedigree.VersionNumber
	_, err := r.decide(ctx, p, func(tx *sqlstore.Tx) (decision, error) {
		err := r.authorise(ctx, tx, p, pedigree.AliasesWrite, ref.Project)
		if err != nil {
			return decision{}, err
		}
		var projectID string
		if projectID, id, err = modelID(ctx, tx, ref.Project, ref.Model); err != nil {
			return decision{}, err
		}
		v := pedigree.Version{Project: ref.Project, Model: ref.Model, ModelID: id, Number: ref.Version}
		if err := tx.Stands(ctx, &v); err != nil {
			return decision{}, err
		}
		number = v.Number
		moves := map[pedigree.VersionNumber]string{number: stage}
		numbers := []pedigree.VersionNumber{number}
		if archiveOthers {
			others, err := tx.InStage(ctx, id, stage)
			if err != nil {
				return decision{}, err
			}
			for _, n := range others {
				if n != number {
					moves[n] = pedigree.StagedArchived
					numbers = append(numbers, n)
				}
			}
		}
		drafts, err := transitions(v, numbers, moves)
		if err != nil {
			return decision{}, err
		}
		if err := r.leaveStage(ctx, tx, p, projectID, &v); err != nil {
			return decision{}, err
		}
		return decision{drafts: drafts}, r.guardStage(ctx, tx, p, projectID, &v, stage)
	})
	if err != nil {
		return Card{}, err
	}
	return r.Card(ctx, p, pedigree.Reference{Project: ref.Project, Model: ref.Model, Version: number})
}

// transitions decides the moves of several versions, the oldest first: the order of
// the log is then that of the numbers.
func transitions(v pedigree.Version, numbers []pedigree.VersionNumber, to map[pedigree.VersionNumber]string) ([]pedigree.Draft, error) {
	slices.Sort(numbers)
	var drafts []pedigree.Draft
	for _, n := range numbers {
		v.Number = n
		moved, err := v.Transition(to[n])
		if err != nil {
			return nil, err
		}
		drafts = append(drafts, moved...)
	}
	return drafts, nil
}
