package sqlstore

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"

	"github.com/pedigree-ml/pedigree"
)

// AliasTarget is the version that an alias names at tx's moment, 0 for none. It notes
// that the decision rests on it.
func (tx *Tx) AliasTarget(ctx context.Context, modelID string, alias pedigree.Alias) (pedigree.VersionNumber, error) {
	if tx.current {
		if _, err := tx.Watch(ctx, pedigree.AliasKey(modelID, alias)); err != nil {
			return 0, err
		}
	}
	var n int64
	err := tx.row(ctx, "SELECT version FROM view_aliases WHERE model = $1 AND alias = $2 AND "+tx.open(""), []any{modelID, string(alias)}, &n)
	if errors.Is(err, errNoRows) {
		return 0, nil
	}
	return pedigree.VersionNumber(n), tx.s.d.translate(err, "find an alias")
}

// Aliases are all aliases of a model at tx's moment.
func (tx *Tx) Aliases(ctx context.Context, modelID string) (map[pedigree.Alias]pedigree.VersionNumber, error) {
	out := map[pedigree.Alias]pedigree.VersionNumber{}
	err := tx.each(ctx, "read aliases", "SELECT alias, version FROM view_aliases WHERE model = $1 AND "+tx.open(""), []any{modelID}, func(rows rows) error {
		var alias string
		var n int64
		err := rows.Scan(&alias, &n)
		out[pedigree.Alias(alias)] = pedigree.VersionNumber(n)
		return err
	})
	return out, err
}

// AliasesOf are the aliases that name a version at tx's moment, sorted. A decision that rests
// on there being some, or none, is to watch [pedigree.AliasesKey].
func (tx *Tx) AliasesOf(ctx context.Context, modelID string, n pedigree.VersionNumber) ([]pedigree.Alias, error) {
	var out []pedigree.Alias
	err := tx.each(ctx, "read aliases", "SELECT alias FROM view_aliases WHERE model = $1 AND version = $2 AND "+tx.open("")+" ORDER BY alias", []any{modelID, int64(n)}, func(rows rows) error {
		var alias string
		err := rows.Scan(&alias)
		out = append(out, pedigree.Alias(alias))
		return err
	})
	return out, err
}

// AliasHistory lists the intervals of an alias, or of all aliases of a model where
// alias is "", newest first and before the given seq (-1 for all).
func (tx *Tx) AliasHistory(ctx context.Context, modelID string, alias pedigree.Alias, before int64, limit int) ([]pedigree.AliasMove, error) {
	if before < 0 {
		before = tx.last + 1
	}
	text := `SELECT a.alias, a.version, a.from_seq, a.to_seq, e.envelope, t.time, f.value FROM view_aliases a JOIN log_events e ON e.seq = a.from_seq
LEFT JOIN log_events t ON t.seq = a.to_seq LEFT JOIN log_fields f ON f.seq = a.from_seq AND f.name = 'note'
WHERE a.model = $1 AND a.from_seq <= $2 AND a.from_seq < $3`
	args := []any{modelID, tx.last, before}
	if alias != "" {
		text += " AND a.alias = $4"
		args = append(args, string(alias))
	}
	args = append(args, limit)
	var out []pedigree.AliasMove
	err := tx.each(ctx, "read an alias's history", text+" ORDER BY a.from_seq DESC LIMIT $"+itoa(len(args)), args, func(rows rows) error {
		var m pedigree.AliasMove
		var envelope string
		var to sql.NullInt64
		var note sql.NullString
		if err := rows.Scan((*string)(&m.Alias), (*int64)(&m.Version), &m.FromSeq, &m.ToSeq, &envelope, &to, &note); err != nil {
			return err
		}
		if m.ToSeq != nil && *m.ToSeq > tx.last { // at tx's moment it still lasts
			m.ToSeq, to.Valid = nil, false
		}
		e, err := pedigree.ParseEnvelope(envelope)
		m.From, m.Actor = e.Time, e.Actor
		if to.Valid {
			t := fromMicros(to.Int64)
			m.To = &t
		}
		if err == nil && note.Valid {
			err = json.Unmarshal([]byte(note.String), &m.Note)
		}
		out = append(out, m)
		return err
	})
	return out, err
}

// AliasesNow lists the interval that each alias of a model is in at tx's moment, by
// alias.
func (tx *Tx) AliasesNow(ctx context.Context, modelID string) ([]pedigree.AliasMove, error) {
	var out []pedigree.AliasMove
	err := tx.each(ctx, "read aliases", `SELECT a.alias, a.version, a.from_seq, e.envelope, f.value FROM view_aliases a JOIN log_events e ON e.seq = a.from_seq
LEFT JOIN log_fields f ON f.seq = a.from_seq AND f.name = 'note' WHERE a.model = $1 AND `+tx.open("a.")+" ORDER BY a.alias", []any{modelID}, func(rows rows) error {
		var m pedigree.AliasMove
		var envelope string
		var note sql.NullString
		if err := rows.Scan((*string)(&m.Alias), (*int64)(&m.Version), &m.FromSeq, &envelope, &note); err != nil {
			return err
		}
		e, err := pedigree.ParseEnvelope(envelope)
		m.From, m.Actor = e.Time, e.Actor
		if err == nil && note.Valid {
			err = json.Unmarshal([]byte(note.String), &m.Note)
		}
		out = append(out, m)
		return err
	})
	return out, err
}
