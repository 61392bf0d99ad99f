package sqlstore

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"time"

	"github.com/pedigree-ml/pedigree"
)

// token applies the making or the end of a token.
func (a *applier) token() {
	e := a.e
	if e.Type == pedigree.TokenRevoked {
		a.out.exec("UPDATE view_tokens SET revoked_seq = $1 WHERE id = $2 AND revoked_seq IS NULL", e.Seq, e.Subject)
		return
	}
	scopes := "[]"
	if f := e.Field("scopes"); f != nil && !f.Erased() {
		scopes = string(f.Value)
	}
	var at *time.Time
	if _, err := e.Decode("expires_at", &at); err != nil {
		a.failed = err
		return
	}
	var expires any
	if at != nil {
		expires = micros(*at)
	}
	a.out.insert(viewTokens, e.Subject, e.String("account"), scopes, expires, e.Seq)
}

// KeepToken keeps the hash of a token's text, and what its owner calls it.
func KeepToken(id string, hash []byte, name string) Own {
	return Own{"INSERT INTO own_tokens (id, hash, name) VALUES ($1, $2, $3)", []any{id, hash, name}}
}

// ForgetToken removes the hash of a token.
func ForgetToken(id string) Own {
	return Own{"DELETE FROM own_tokens WHERE id = $1", []any{id}}
}

// TokenByHash finds the token whose text has that hash, and its account. It returns
// [pedigree.CodeNotFound].
func (tx *Tx) TokenByHash(ctx context.Context, hash []byte) (token, account string, err error) {
	err = tx.row(ctx, "SELECT t.id, t.account FROM own_tokens o JOIN view_tokens t ON t.id = o.id WHERE o.hash = $1", []any{hash}, &token, &account)
	if errors.Is(err, errNoRows) {
		return "", "", pedigree.Errorf(pedigree.CodeNotFound, "there is no such token")
	}
	return token, account, tx.s.d.translate(err, "look for a token")
}

// tokens reads tokens as they are now. Scopes hold the ids of projects.
func (tx *Tx) tokens(ctx context.Context, where string, args ...any) ([]pedigree.Token, error) {
	var out []pedigree.Token
	err := tx.each(ctx, "read tokens", `SELECT t.id, t.account, t.scopes, t.expires, t.seq, t.revoked_seq, e.envelope, coalesce(o.name, ''), o.last_used, coalesce(a.name, '')
FROM view_tokens t JOIN log_events e ON e.seq = t.seq LEFT JOIN own_tokens o ON o.id = t.id LEFT JOIN own_actors a ON a.id = t.account WHERE `+where, args, func(rows rows) error {
		var t pedigree.Token
		var scopes, envelope string
		var expires, revoked, used sql.NullInt64
		if err := rows.Scan(&t.ID, &t.Account, &scopes, &expires, &t.Seq, &revoked, &envelope, &t.Name, &used, (*string)(&t.AccountName)); err != nil {
			return err
		}
		var texts []string // as they were written: ids of projects are no names of projects
		if err := json.Unmarshal([]byte(scopes), &texts); err != nil {
			return err
		}
		for _, s := range texts {
			t.Scopes = append(t.Scopes, pedigree.Scope(s))
		}
		t.ExpiresAt, t.LastUsed, t.Revoked = moment(expires), moment(used), revoked.Valid
		e, err := pedigree.ParseEnvelope(envelope)
		t.CreatedAt, t.CreatedBy = e.Time, e.Actor
		out = append(out, t)
		return err
	})
	return out, err
}

func moment(us sql.NullInt64) *time.Time {
	if !us.Valid {
		return nil
	}
	t := fromMicros(us.Int64)
	return &t
}

func (tx *Tx) token(ctx context.Context, id string) (pedigree.Token, error) {
	found, err := tx.tokens(ctx, "t.id = $1", id)
	if err == nil && len(found) == 0 {
		err = pedigree.Errorf(pedigree.CodeNotFound, "there is no token %s", id).WithFix("pedigree token list")
	}
	if err != nil {
		return pedigree.Token{}, err
	}
	return found[0], nil
}

// Token reads a token by its id. It returns [pedigree.CodeNotFound].
func (tx *Tx) Token(ctx context.Context, id string) (pedigree.Token, error) { return tx.token(ctx, id) }

// Tokens lists the tokens of an account that were not revoked, or with account "" those
// of all: after the given event, in the order in which they were made.
func (tx *Tx) Tokens(ctx context.Context, account string, after int64, limit int) ([]pedigree.Token, error) {
	return tx.tokens(ctx, "t.revoked_seq IS NULL AND ($1 = '' OR t.account = $1) AND t.seq > $2 ORDER BY t.seq LIMIT $3", account, after, limit)
}

// UseTokens notes when tokens were last shown.
func (s *Store) UseTokens(ctx context.Context, last map[string]time.Time) error {
	return s.own(ctx, func(ctx context.Context, tx *Tx) error {
		for id, at := range last {
			if err := tx.c.exec(ctx, "UPDATE own_tokens SET last_used = $1 WHERE id = $2 AND (last_used IS NULL OR last_used < $1)", micros(at), id); err != nil {
				return err
			}
		}
		return nil
	})
}
