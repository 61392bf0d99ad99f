package sqlstore

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"time"

	"github.com/pedigree-ml/pedigree"
)

// webhookColumns reads a webhook without the fields that can change; what follows it is
// the condition, and $1 is tx's moment.
const webhookColumns = `SELECT w.id, w.project, coalesce(p.name, ''), w.format, w.seq, e.envelope, l.seq, l.time,
  coalesce((SELECT CASE WHEN o.secret = '' THEN 0 ELSE 1 END FROM own_webhooks o WHERE o.id = w.id), 0)
FROM view_webhooks w JOIN log_events e ON e.seq = w.seq
JOIN log_events l ON l.seq = (SELECT max(c.seq) FROM log_events c WHERE c.subject = w.id AND c.seq <= $1)
LEFT JOIN view_projects p ON p.id = w.project `

// webhooks reads the webhooks that a condition chooses; its parameters begin at $2.
func (tx *Tx) webhooks(ctx context.Context, condition string, args ...any) ([]pedigree.Webhook, error) {
	var out []pedigree.Webhook
	at := map[int64]int{}
	var subjects []int64
	err := tx.each(ctx, "read webhooks", webhookColumns+condition, append([]any{tx.last}, args...), func(rows rows) error {
		var w pedigree.Webhook
		var envelope string
		var changed int64
		if err := rows.Scan(&w.ID, &w.ProjectID, (*string)(&w.Project), (*string)(&w.Format), &w.Seq, &envelope, &w.Changed, &changed, &w.Signed); err != nil {
			return err
		}
		e, err := pedigree.ParseEnvelope(envelope)
		w.CreatedAt, w.CreatedBy, w.UpdatedAt = e.Time, e.Actor, fromMicros(changed)
		at[w.Seq] = len(out)
		subjects = append(subjects, w.Seq)
		out = append(out, w)
		return err
	})
	if err != nil {
		return nil, err
	}
	err = inLists(subjects, func(chunk []int64) error {
		in, args := list(nil, chunk)
		return tx.each(ctx, "read webhooks", "SELECT subject, field, text FROM view_attributes WHERE subject IN ("+in+") AND "+tx.open(""), args, func(rows rows) error {
			var subject int64
			var field, text string
			if err := rows.Scan(&subject, &field, &text); err != nil {
				return err
			}
			return setWebhookField(&out[at[subject]], field, text)
		})
	})
	for i := range out {
		if out[i].URL == "" { // every webhook had one
			out[i].Erased = []string{"url"}
		}
	}
	return out, err
}

func setWebhookField(w *pedigree.Webhook, field, text string) error {
	dest := map[string]any{
		"name": &w.Name, "description": &w.Description, "url": &w.URL, "types": &w.Types, "models": &w.Models, "events": &w.Events, "active": &w.Active,
	}[field]
	if dest == nil {
		return nil
	}
	if err := json.Unmarshal([]byte(text), dest); err != nil {
		return pedigree.Errorf(pedigree.CodeCorrupt, "webhook %s: field %s: %w", w.ID, field, err)
	}
	return nil
}

// Webhook finds a webhook by its id, and notes that the decision rests on it. It returns
// [pedigree.CodeNotFound].
func (tx *Tx) Webhook(ctx context.Context, id string) (pedigree.Webhook, error) {
	if tx.current {
		if _, err := tx.Watch(ctx, id); err != nil {
			return pedigree.Webhook{}, err
		}
	}
	found, err := tx.webhooks(ctx, "WHERE w.id = $2 AND "+tx.alive("w."), id)
	if err == nil && len(found) == 0 {
		err = pedigree.Errorf(pedigree.CodeNotFound, "there is no webhook %s", id).WithFix("pedigree webhook ls")
	}
	if err != nil {
		return pedigree.Webhook{}, err
	}
	return found[0], nil
}

// Webhooks lists webhooks, newest first and before the given seq (-1 for all): those of
// the projects with the given ids ("" stands for the instance), or of all where projects
// is nil; and of one format where that is not "".
func (tx *Tx) Webhooks(ctx context.Context, projects []string, format pedigree.WebhookFormat, before int64, limit int) ([]pedigree.Webhook, error) {
	condition, args := "WHERE "+tx.alive("w."), []any{tx.last}
	if projects != nil {
		var in string
		in, args = list(args, projects)
		condition += " AND w.project IN (" + in + ")"
	}
	if format != "" {
		args = append(args, string(format))
		condition += " AND w.format = $" + itoa(len(args))
	}
	if before >= 0 {
		args = append(args, before)
		condition += " AND w.seq < $" + itoa(len(args))
	}
	args = append(args, limit)
	return tx.webhooks(ctx, condition+" ORDER BY w.seq DESC LIMIT $"+itoa(len(args)), args[1:]...)
}

// WebhookSecrets are the secrets of a webhook as they are stored.
type WebhookSecrets struct {
	Secret string
	// Old signs beside Secret until OldUntil.
	Old      string
	OldUntil time.Time
}

// Secrets reads the secrets of a webhook; none where it has no row of its own.
func (tx *Tx) Secrets(ctx context.Context, id string) (out WebhookSecrets, err error) {
	var until int64
	err = tx.row(ctx, "SELECT secret, old_secret, old_until FROM own_webhooks WHERE id = $1", []any{id}, &out.Secret, &out.Old, &until)
	if errors.Is(err, errNoRows) {
		return out, nil
	}
	out.OldUntil = fromMicros(until)
	return out, tx.s.d.translate(err, "read a secret")
}

// PutSecrets keeps the secrets of a webhook. One that has no row yet begins after the last
// event.
func PutSecrets(id string, s WebhookSecrets) []Own {
	return []Own{{
		`INSERT INTO own_webhooks (id, secret, old_secret, old_until, cursor_seq, leased_by, leased_until)
VALUES ($1, $2, $3, $4, (SELECT size - 1 FROM log_head WHERE id = 1), '', 0)
ON CONFLICT (id) DO UPDATE SET secret = excluded.secret, old_secret = excluded.old_secret, old_until = excluded.old_until`,
		[]any{id, s.Secret, s.Old, micros(s.OldUntil)},
	}}
}

// DropWebhook forgets the secrets and the deliveries of a webhook.
func DropWebhook(id string) []Own {
	return []Own{
		{"DELETE FROM own_deliveries WHERE webhook = $1", []any{id}},
		{"DELETE FROM own_webhooks WHERE id = $1", []any{id}},
	}
}

// WebhookLease is the right to send the deliveries of one webhook.
type WebhookLease struct {
	Webhook string
	// Cursor is the last event that was dealt with.
	Cursor int64
}

// LeaseWebhooks gives owner every webhook that nobody has a lease of, for the time d from
// now, and renews those that it has. It writes nothing where there are none.
func (s *Store) LeaseWebhooks(ctx context.Context, owner string, d time.Duration) ([]WebhookLease, error) {
	some := false
	err := s.Read(ctx, pedigree.At{}, func(tx *Tx) error {
		return tx.each(ctx, "look for webhooks", "SELECT 1 FROM own_webhooks LIMIT 1", nil, func(rows) error { some = true; return nil })
	})
	if err != nil || !some {
		return nil, err
	}
	var out []WebhookLease
	err = s.own(ctx, func(ctx context.Context, tx *Tx) error {
		out = nil
		clock := s.clock()
		text := "UPDATE own_webhooks SET leased_by = $1, leased_until = " + clock + " + $2 WHERE leased_by = $1 OR leased_until < " + clock
		if _, err := tx.c.c.ExecContext(ctx, text, owner, d.Microseconds()); err != nil {
			return err
		}
		return tx.each(ctx, "read leases", "SELECT id, cursor_seq FROM own_webhooks WHERE leased_by = $1 ORDER BY id", []any{owner}, func(rows rows) error {
			var l WebhookLease
			err := rows.Scan(&l.Webhook, &l.Cursor)
			out = append(out, l)
			return err
		})
	})
	return out, err
}

// ReleaseWebhooks gives back all leases of owner.
func (s *Store) ReleaseWebhooks(ctx context.Context, owner string) error {
	return s.own(ctx, func(ctx context.Context, tx *Tx) error {
		return tx.c.exec(ctx, "UPDATE own_webhooks SET leased_by = '', leased_until = 0 WHERE leased_by = $1", owner)
	})
}

// WebhookQueue says how the deliveries of a webhook stand. One without a row of its own
// has dealt with nothing.
func (tx *Tx) WebhookQueue(ctx context.Context, id string) (q pedigree.WebhookQueue, err error) {
	err = tx.row(ctx, "SELECT cursor_seq FROM own_webhooks WHERE id = $1", []any{id}, &q.Cursor)
	if errors.Is(err, errNoRows) {
		return q, nil
	}
	var oldest sql.NullInt64
	if err == nil {
		err = tx.row(ctx, `SELECT (SELECT count(*) FROM own_deliveries WHERE webhook = $1 AND state = 'pending'),
(SELECT count(*) FROM own_deliveries WHERE webhook = $1 AND state = 'dead'), (SELECT min(created) FROM own_deliveries WHERE webhook = $1 AND state = 'pending')`,
			[]any{id}, &q.Pending, &q.Dead, &oldest)
	}
	if oldest.Valid {
		t := fromMicros(oldest.Int64)
		q.Oldest = &t
	}
	q.Behind = max(tx.last-q.Cursor, 0)
	return q, tx.s.d.translate(err, "read a webhook's queue")
}
