package registrar

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/internal/sqlstore"
)

// What follows is for the part of the server that sends deliveries. It acts for nobody:
// what a webhook may see was decided when it was made.

// WebhookLease is the right to send the deliveries of one webhook.
type WebhookLease = sqlstore.WebhookLease

// DeliveryTotals counts the deliveries of all webhooks.
type DeliveryTotals = sqlstore.DeliveryTotals

// Item is one event as watches and webhooks want it: the entry, what it says, and whose
// it is.
type Item struct {
	Entry pedigree.Entry
	Event pedigree.Event
	// Project is the id of the project that it belongs to, "" for none.
	Project string
}

// Grown returns a channel that is closed once this process has appended to the log, or
// has asked for a delivery by hand.
func (r *Registrar) Grown() <-chan struct{} { return r.store.Grown() }

// Items reads events of the log, in order, and the last event that the answer takes into
// account.
func (r *Registrar) Items(ctx context.Context, q pedigree.EventQuery) (items []Item, asOf int64, err error) {
	err = r.store.Read(ctx, pedigree.At{}, func(tx *sqlstore.Tx) error {
		asOf = tx.AsOf()
		entries, err := tx.Entries(ctx, q)
		if err != nil {
			return err
		}
		items = make([]Item, len(entries))
		subjects := make([]string, len(entries))
		for i := range entries {
			items[i].Entry = entries[i]
			if items[i].Event, err = entries[i].Event(); err != nil {
				return err
			}
			subjects[i] = items[i].Event.Subject
		}
		projects, err := tx.ProjectsOf(ctx, subjects)
		for i := range items {
			items[i].Project = projects[subjects[i]]
		}
		return err
	})
	return items, asOf, err
}

// LeaseWebhooks gives owner every webhook that nobody has a lease of, for the time d, and
// renews those that it has.
func (r *Registrar) LeaseWebhooks(ctx context.Context, owner string, d time.Duration) ([]WebhookLease, error) {
	return r.store.LeaseWebhooks(ctx, owner, d)
}

// ReleaseWebhooks gives back all leases of owner.
func (r *Registrar) ReleaseWebhooks(ctx context.Context, owner string) error {
	return r.store.ReleaseWebhooks(ctx, owner)
}

// WebhookAt reads a webhook as it was after an event; nil where it was deleted by then.
func (r *Registrar) WebhookAt(ctx context.Context, id string, at pedigree.At) (*pedigree.Webhook, error) {
	var w pedigree.Webhook
	err := r.store.Read(ctx, at, func(tx *sqlstore.Tx) (err error) {
		w, err = tx.Webhook(ctx, id)
		return err
	})
	if pedigree.CodeOf(err) == pedigree.CodeNotFound {
		return nil, nil
	}
	return &w, err
}

// Enqueue makes events wait to be sent by a webhook and moves its cursor: both or neither.
// It returns [pedigree.CodeConflict] where owner has no lease of it.
func (r *Registrar) Enqueue(ctx context.Context, owner string, l WebhookLease, deliveries []pedigree.WebhookDelivery) error {
	return r.store.Enqueue(ctx, owner, l, deliveries)
}

// NextDeliveries lists what a webhook may send next, the one whose time comes first at the
// head.
func (r *Registrar) NextDeliveries(ctx context.Context, webhook string, limit int) (out []pedigree.WebhookDelivery, err error) {
	err = r.store.Read(ctx, pedigree.At{}, func(tx *sqlstore.Tx) (err error) {
		out, err = tx.NextDeliveries(ctx, webhook, limit)
		return err
	})
	return out, err
}

// WebhookQueue says how the deliveries of a webhook stand.
func (r *Registrar) WebhookQueue(ctx context.Context, webhook string) (q pedigree.WebhookQueue, err error) {
	err = r.store.Read(ctx, pedigree.At{}, func(tx *sqlstore.Tx) (err error) {
		q, err = tx.WebhookQueue(ctx, webhook)
		return err
	})
	return q, err
}

// Settle keeps what became of a delivery.
func (r *Registrar) Settle(ctx context.Context, d pedigree.WebhookDelivery) error {
	return r.store.Settle(ctx, d)
}

// Hasten makes everything that failed since its receiver could not be reached due now.
func (r *Registrar) Hasten(ctx context.Context, webhook string, now time.Time) error {
	return r.store.Hasten(ctx, webhook, now)
}

// ForgetDeliveries removes what was delivered or given up before the given times.
func (r *Registrar) ForgetDeliveries(ctx context.Context, webhook string, delivered, dead time.Time) error {
	return r.store.ForgetDeliveries(ctx, webhook, delivered, dead)
}

// DeliveryTotals counts the deliveries of all webhooks.
func (r *Registrar) DeliveryTotals(ctx context.Context) (t DeliveryTotals, err error) {
	err = r.store.Read(ctx, pedigree.At{}, func(tx *sqlstore.Tx) (err error) {
		t, err = tx.DeliveryTotals(ctx)
		return err
	})
	return t, err
}

// WebhookSecrets are the secrets that sign a webhook's deliveries at a moment: its own, and
// the one before while that is in its time of grace. None means that it has no secret.
func (r *Registrar) WebhookSecrets(ctx context.Context, id string, now time.Time) ([]string, error) {
	var s sqlstore.WebhookSecrets
	err := r.store.Read(ctx, pedigree.At{}, func(tx *sqlstore.Tx) (err error) {
		s, err = tx.Secrets(ctx, id)
		return err
	})
	if err != nil {
		return nil, err
	}
	var out []string
	sealed := []string{s.Secret}
	if now.Before(s.OldUntil) {
		sealed = append(sealed, s.Old)
	}
	for _, text := range sealed {
		secret, err := r.sealer.open(text, id)
		if err != nil {
			return nil, err
		}
		if secret != "" {
			out = append(out, secret)
		}
	}
	return out, nil
}

// Scene is what an event is about, by the names of that moment; each may be empty.
type Scene struct {
	pedigree.Reference // project, model and version
	Target             pedigree.TargetName
	Deployment         string
	// Targets are where a version that the event withdraws stood at that moment, by name.
	Targets []pedigree.TargetName
}

// Scene says what an event is about.
func (r *Registrar) Scene(ctx context.Context, item *Item) (s Scene, err error) {
	e := &item.Event
	about := []string{e.Subject}
	if !slices.Contains(pedigree.LineageTypes, e.Type) {
		about = append(about, e.Refs...)
	}
	err = r.store.Read(ctx, seqAt(e.Seq), func(tx *sqlstore.Tx) (err error) {
		for _, id := range about {
			switch kind, _, _ := strings.Cut(id, "_"); {
			case kind == "mdl" && s.Model == "":
				model, n, versioned := pedigree.SplitVersionSubject(id)
				if !versioned {
					model = id
				}
				if s.Project, s.Model, _, err = tx.NameOf(ctx, model); err != nil {
					return err
				}
				if s.Version = n; e.Type == pedigree.VersionWithdrawn {
					s.Targets, err = runningAt(ctx, tx, model, n)
				}
			case kind == "tgt" && s.Target == "":
				var targets []pedigree.Target
				if targets, err = tx.Targets(ctx, []string{id}); len(targets) == 1 {
					s.Project, s.Target = targets[0].Project, targets[0].Name
				}
			case kind == "dep" && s.Deployment == "":
				s.Deployment = id
			}
			if err != nil {
				return err
			}
		}
		if s.Project == "" && item.Project != "" {
			s.Project, err = tx.ProjectName(ctx, item.Project)
		}
		return err
	})
	return s, err
}

// runningAt lists the targets where a version stands at tx's moment, each once, by name.
func runningAt(ctx context.Context, tx *sqlstore.Tx, modelID string, n pedigree.VersionNumber) ([]pedigree.TargetName, error) {
	runs, err := tx.Runs(ctx, modelID, n)
	var out []pedigree.TargetName
	for i := range runs {
		out = append(out, runs[i].Target)
	}
	slices.Sort(out)
	return slices.Compact(out), err
}

// Item reads one event as watches and webhooks want it. It returns
// [pedigree.CodeNotFound].
func (r *Registrar) Item(ctx context.Context, seq int64) (Item, error) {
	items, asOf, err := r.Items(ctx, pedigree.EventQuery{After: seq - 1, Limit: 1})
	if err == nil && (len(items) == 0 || items[0].Event.Seq != seq) {
		err = pedigree.Errorf(pedigree.CodeNotFound, "there is no event %d; the last is %d", seq, asOf)
	}
	if err != nil {
		return Item{}, err
	}
	return items[0], nil
}

// Receivers says where the operator lets webhooks go.
func (r *Registrar) Receivers() pedigree.Receivers { return r.receivers }
