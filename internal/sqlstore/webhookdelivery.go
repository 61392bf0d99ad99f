package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/pedigree-ml/pedigree"
)

const deliveryColumns = "SELECT seq, type, subject, state, again, attempts, created, first_at, next_at, last_at, duration, status, answer, error FROM own_deliveries "

func (tx *Tx) deliveries(ctx context.Context, webhook, condition string, args ...any) ([]pedigree.WebhookDelivery, error) {
	var out []pedigree.WebhookDelivery
	err := tx.each(ctx, "read deliveries", deliveryColumns+"WHERE webhook = $1 AND "+condition, append([]any{webhook}, args...), func(rows rows) error {
		d := pedigree.WebhookDelivery{Webhook: webhook}
		var a pedigree.Attempt
		var again, created int64
		var first, next, last sql.NullInt64
		err := rows.Scan(&d.Seq, (*string)(&d.Type), &d.Subject, (*string)(&d.State), &again, &d.Attempts, &created, &first, &next, &last,
			&a.Duration, &a.Status, &a.Answer, &a.Error)
		d.MessageID, d.Again, d.CreatedAt = pedigree.MessageID(webhook, d.Seq), again != 0, fromMicros(created)
		d.FirstAt, d.NextAt = moment(first), moment(next)
		if at := moment(last); at != nil {
			a.At = *at
			d.Last = &a
		}
		out = append(out, d)
		return err
	})
	return out, err
}

func momentValue(t *time.Time) any {
	if t == nil {
		return nil
	}
	return micros(*t)
}

// Deliveries lists the deliveries of a webhook, newest first and before the given seq (-1
// for all), in one state where that is not "".
func (tx *Tx) Deliveries(ctx context.Context, webhook string, state pedigree.DeliveryState, before int64, limit int) ([]pedigree.WebhookDelivery, error) {
	condition, args := "seq >= 0", []any{}
	if state != "" {
		args = append(args, string(state))
		condition += " AND state = $2"
	}
	if before >= 0 {
		args = append(args, before)
		condition += " AND seq < $" + itoa(len(args)+1)
	}
	args = append(args, limit)
	return tx.deliveries(ctx, webhook, condition+" ORDER BY seq DESC LIMIT $"+itoa(len(args)+1), args...)
}

// Delivery finds one delivery. It returns [pedigree.CodeNotFound].
func (tx *Tx) Delivery(ctx context.Context, webhook string, seq int64) (pedigree.WebhookDelivery, error) {
	found, err := tx.deliveries(ctx, webhook, "seq = $2", seq)
	if err == nil && len(found) == 0 {
		err = pedigree.Errorf(pedigree.CodeNotFound, "webhook %s has no delivery of event %d: it did not want it, or that is long ago", webhook, seq).
			WithFix("pedigree webhook deliveries %s", webhook)
	}
	if err != nil {
		return pedigree.WebhookDelivery{}, err
	}
	return found[0], nil
}

// NextDeliveries lists what a webhook may send next, the one whose time comes first at
// the head: of each subject the first that waits, and what was asked for by hand.
func (tx *Tx) NextDeliveries(ctx context.Context, webhook string, limit int) ([]pedigree.WebhookDelivery, error) {
	return tx.deliveries(ctx, webhook, `seq IN (
  SELECT min(seq) FROM own_deliveries WHERE webhook = $1 AND state = 'pending' AND again = 0 GROUP BY subject
  UNION ALL SELECT seq FROM own_deliveries WHERE webhook = $1 AND state = 'pending' AND again = 1)
ORDER BY next_at, seq LIMIT $2`, limit)
}

// Enqueue adds deliveries of a webhook, which wait from now on, and moves its cursor; both
// or neither. Done again, it does nothing. It returns [pedigree.CodeConflict] where owner
// has no lease of it.
func (s *Store) Enqueue(ctx context.Context, owner string, l WebhookLease, deliveries []pedigree.WebhookDelivery) error {
	return s.own(ctx, func(ctx context.Context, tx *Tx) error {
		var by string
		err := tx.row(ctx, "SELECT leased_by FROM own_webhooks WHERE id = $1"+s.d.forUpdate, []any{l.Webhook}, &by)
		if errors.Is(err, errNoRows) || err == nil && by != owner {
			return pedigree.Errorf(pedigree.CodeConflict, "webhook %s is somebody else's now", l.Webhook)
		}
		if err != nil {
			return err
		}
		for i := range deliveries {
			d := &deliveries[i]
			err := tx.c.exec(ctx, `INSERT INTO own_deliveries (webhook, seq, type, subject, state, again, attempts, created, next_at, duration, status, answer, error)
VALUES ($1, $2, $3, $4, 'pending', 0, 0, $5, $6, 0, 0, '', '') ON CONFLICT (webhook, seq) DO NOTHING`,
				l.Webhook, d.Seq, string(d.Type), d.Subject, micros(d.CreatedAt), momentValue(d.NextAt))
			if err != nil {
				return err
			}
		}
		return tx.c.exec(ctx, "UPDATE own_webhooks SET cursor_seq = $1 WHERE id = $2 AND cursor_seq < $1", l.Cursor, l.Webhook)
	})
}

// Settle keeps what became of a delivery that was pending. One that is not any more stays
// as it is: another server may have been there in the meantime.
func (s *Store) Settle(ctx context.Context, d pedigree.WebhookDelivery) error {
	a := pedigree.Attempt{}
	var last any
	if d.Last != nil {
		a, last = *d.Last, micros(d.Last.At)
	}
	return s.own(ctx, func(ctx context.Context, tx *Tx) error {
		return tx.c.exec(ctx, `UPDATE own_deliveries SET state = $1, again = $2, attempts = $3, first_at = $4, next_at = $5, last_at = $6,
duration = $7, status = $8, answer = $9, error = $10 WHERE webhook = $11 AND seq = $12 AND state = 'pending'`,
			string(d.State), flag(d.Again), d.Attempts, momentValue(d.FirstAt), momentValue(d.NextAt), last,
			a.Duration, a.Status, a.Answer, a.Error, d.Webhook, d.Seq)
	})
}

func flag(b bool) int {
	if b {
		return 1
	}
	return 0
}

// Redeliver makes a delivery wait again, as decide says of it. It returns
// [pedigree.CodeNotFound], and what decide returns.
func (s *Store) Redeliver(ctx context.Context, webhook string, seq int64, decide func(pedigree.WebhookDelivery) (pedigree.WebhookDelivery, error)) (next pedigree.WebhookDelivery, err error) {
	err = s.own(ctx, func(ctx context.Context, tx *Tx) error {
		d, err := tx.Delivery(ctx, webhook, seq)
		if err != nil {
			return err
		}
		if next, err = decide(d); err != nil {
			return err
		}
		return tx.c.exec(ctx, "UPDATE own_deliveries SET state = $1, again = $2, attempts = $3, first_at = $4, next_at = $5 WHERE webhook = $6 AND seq = $7",
			string(next.State), flag(next.Again), next.Attempts, momentValue(next.FirstAt), momentValue(next.NextAt), webhook, seq)
	})
	return next, err
}

// Hasten makes everything that a webhook would try again later due now: its receiver has
// come back. What the receiver itself refused keeps its time.
func (s *Store) Hasten(ctx context.Context, webhook string, now time.Time) error {
	return s.own(ctx, func(ctx context.Context, tx *Tx) error {
		return tx.c.exec(ctx, `UPDATE own_deliveries SET next_at = $1 WHERE webhook = $2 AND state = 'pending' AND next_at > $1
AND attempts > 0 AND (status = 0 OR status = 429 OR status >= 502)`, micros(now), webhook)
	})
}

// ForgetDeliveries removes what was delivered or given up before the given times.
func (s *Store) ForgetDeliveries(ctx context.Context, webhook string, delivered, dead time.Time) error {
	return s.own(ctx, func(ctx context.Context, tx *Tx) error {
		return tx.c.exec(ctx, "DELETE FROM own_deliveries WHERE webhook = $1 AND (state = 'delivered' AND last_at < $2 OR state = 'dead' AND last_at < $3)",
			webhook, micros(delivered), micros(dead))
	})
}

// DeliveryTotals counts the deliveries of all webhooks.
type DeliveryTotals struct {
	Webhooks, Pending, Dead int64
	// Behind is the greatest number of events that a webhook has not dealt with.
	Behind int64
	// Oldest is when the first of the pending happened.
	Oldest *time.Time
}

// DeliveryTotals counts the deliveries of all webhooks.
func (tx *Tx) DeliveryTotals(ctx context.Context) (t DeliveryTotals, err error) {
	var cursor, oldest sql.NullInt64
	err = tx.row(ctx, `SELECT (SELECT count(*) FROM own_webhooks), (SELECT min(cursor_seq) FROM own_webhooks),
(SELECT count(*) FROM own_deliveries WHERE state = 'pending'), (SELECT count(*) FROM own_deliveries WHERE state = 'dead'),
(SELECT min(created) FROM own_deliveries WHERE state = 'pending')`, nil, &t.Webhooks, &cursor, &t.Pending, &t.Dead, &oldest)
	if cursor.Valid {
		t.Behind = max(tx.last-cursor.Int64, 0)
	}
	t.Oldest = moment(oldest)
	return t, tx.s.d.translate(err, "count deliveries")
}
