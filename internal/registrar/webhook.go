package registrar

import (
	"context"
	"io"
	"strings"
	"time"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/internal/sqlstore"
)

// NewWebhook is what a caller says of a webhook that is to be made.
type NewWebhook struct {
	pedigree.WebhookEdit
	Format pedigree.WebhookFormat
	// Secret signs its deliveries; "" asks for a fresh one where the format wants one.
	Secret string
}

// webhookProject is the project of that name, the zero one for "": the instance. It refuses
// a caller that may not look after its webhooks.
func (r *Registrar) webhookProject(ctx context.Context, tx *sqlstore.Tx, p pedigree.Principal, name pedigree.ProjectName) (pedigree.Project, error) {
	if err := r.authorise(ctx, tx, p, pedigree.WebhooksWrite, name); err != nil {
		return pedigree.Project{}, err
	}
	if name == "" {
		return pedigree.Project{}, nil
	}
	return tx.Project(ctx, name)
}

// webhookModels turns what a caller calls models into their ids. In a project's webhook
// they are models of that project.
func webhookModels(ctx context.Context, tx *sqlstore.Tx, project pedigree.ProjectName, edit *pedigree.WebhookEdit) error {
	if edit.Models == nil {
		return nil
	}
	ids := make([]string, len(*edit.Models))
	for i, text := range *edit.Models {
		if strings.HasPrefix(text, "mdl_") {
			in, _, _, err := tx.NameOf(ctx, text)
			if err != nil {
				return err
			}
			if project != "" && in != project {
				return foreignModel(text, project)
			}
			ids[i] = text
			continue
		}
		ref, err := pedigree.ParseReference(text)
		if err != nil {
			return err
		}
		if ref.Version != 0 || ref.Alias != "" || ref.Digest != "" {
			return pedigree.Errorf(pedigree.CodeInvalid, "%s names a version; a webhook wants models", ref).WithFix("write the model alone")
		}
		home := project
		if home == "" {
			home = pedigree.DefaultProject
		}
		if ref = ref.In(home); project != "" && ref.Project != project {
			return foreignModel(text, project)
		}
		if _, ids[i], err = modelID(ctx, tx, ref.Project, ref.Model); err != nil {
			return err
		}
	}
	edit.Models = &ids
	return nil
}

func foreignModel(model string, project pedigree.ProjectName) error {
	return pedigree.Errorf(pedigree.CodeInvalid, "%s is not a model of project %s, whose webhook this is", model, project).
		WithFix("make a webhook of that project, or of the whole instance")
}

// CreateWebhook makes a webhook of a project, or of the whole instance where project is
// "". The answer holds its secret, this once. It returns [pedigree.CodeInvalid], and
// [pedigree.CodeRefused] for a receiver that the operator does not allow.
func (r *Registrar) CreateWebhook(ctx context.Context, p pedigree.Principal, project pedigree.ProjectName, spec NewWebhook) (pedigree.Webhook, error) {
	if spec.Secret != "" {
		if err := pedigree.CheckWebhookSecret(spec.Format, spec.Secret); err != nil {
			return pedigree.Webhook{}, err
		}
	} else if spec.Format == pedigree.FormatStandard {
		var err error
		if spec.Secret, err = r.newSecret(); err != nil {
			return pedigree.Webhook{}, err
		}
	}
	id := r.newID("whk")
	sealed, err := r.seal(spec.Secret, id)
	if err != nil {
		return pedigree.Webhook{}, err
	}
	own := sqlstore.PutSecrets(id, sqlstore.WebhookSecrets{Secret: sealed})
	appended, err := r.decide(ctx, p, func(tx *sqlstore.Tx) (decision, error) {
		pr, err := r.webhookProject(ctx, tx, p, project)
		if err != nil {
			return decision{}, err
		}
		edit := spec.WebhookEdit
		if err := webhookModels(ctx, tx, project, &edit); err != nil {
			return decision{}, err
		}
		drafts, err := pedigree.CreateWebhook(pr, id, spec.Format, edit, r.receivers)
		return decision{drafts: drafts, own: own}, err
	})
	if err != nil {
		return pedigree.Webhook{}, err
	}
	return r.webhookWithSecret(ctx, appended.Events[0].Subject, appended.Last())
}

// newSecret makes a secret of Standard Webhooks.
func (r *Registrar) newSecret() (string, error) {
	b := make([]byte, 32)
	_, err := io.ReadFull(r.rand, b)
	return pedigree.NewWebhookSecret(b), err
}

// seal encrypts a secret of a webhook for the database.
func (r *Registrar) seal(secret, webhook string) (string, error) {
	return r.sealer.seal(r.rand, secret, webhook)
}

// webhookWithSecret reads a webhook together with its secret: also the answer to a call
// that is repeated.
func (r *Registrar) webhookWithSecret(ctx context.Context, id string, seq int64) (w pedigree.Webhook, err error) {
	var s sqlstore.WebhookSecrets
	err = r.store.Read(ctx, seqAt(seq), func(tx *sqlstore.Tx) (err error) {
		if w, err = tx.Webhook(ctx, id); err == nil {
			s, err = tx.Secrets(ctx, id)
		}
		return err
	})
	if err == nil {
		w.Secret, err = r.sealer.open(s.Secret, id)
	}
	return w, err
}

// Webhook reads a webhook of a project (of the instance where that is "") and how its
// deliveries stand. It returns [pedigree.CodeNotFound].
func (r *Registrar) Webhook(ctx context.Context, p pedigree.Principal, project pedigree.ProjectName, id string) (w pedigree.Webhook, err error) {
	err = r.store.Read(ctx, pedigree.At{}, func(tx *sqlstore.Tx) error {
		if w, err = r.ownWebhook(ctx, tx, p, project, id); err != nil {
			return err
		}
		q, err := tx.WebhookQueue(ctx, id)
		w.Queue = &q
		return err
	})
	return w, err
}

// WebhookForTest reads a webhook for somebody who wants an example sent to its receiver.
func (r *Registrar) WebhookForTest(ctx context.Context, p pedigree.Principal, project pedigree.ProjectName, id string) (pedigree.Webhook, error) {
	w, err := r.Webhook(ctx, p, project, id)
	if err == nil && w.URL == "" {
		err = pedigree.Errorf(pedigree.CodeGone, "the URL of webhook %s was erased", id).WithFix("pedigree webhook edit %s --to URL", id)
	}
	return w, err
}

// ownWebhook finds a webhook, and refuses one of another project as if it were not there,
// and a caller that may not look after those of this one.
func (r *Registrar) ownWebhook(ctx context.Context, tx *sqlstore.Tx, p pedigree.Principal, project pedigree.ProjectName, id string) (pedigree.Webhook, error) {
	if err := r.authorise(ctx, tx, p, pedigree.WebhooksWrite, project); err != nil {
		return pedigree.Webhook{}, err
	}
	w, err := tx.Webhook(ctx, id)
	if err == nil && w.Project != project {
		where := "of the instance"
		if project != "" {
			where = "in project " + string(project)
		}
		err = pedigree.Errorf(pedigree.CodeNotFound, "there is no webhook %s %s", id, where).WithFix("pedigree webhook ls --all")
	}
	return w, err
}

// WebhookList chooses webhooks.
type WebhookList struct {
	// Project is the one whose webhooks are wanted, "" stands for those of the instance.
	Project pedigree.ProjectName
	// All wants those of the instance and of every project.
	All bool
	// Format is the one wanted; "" means all.
	Format pedigree.WebhookFormat
}

// Webhooks lists webhooks, newest first.
func (r *Registrar) Webhooks(ctx context.Context, p pedigree.Principal, which WebhookList, page pedigree.Page) (pedigree.List[pedigree.Webhook], error) {
	out := pedigree.List[pedigree.Webhook]{Items: []pedigree.Webhook{}}
	before := int64(-1)
	if err := decodeCursor(page.Cursor, &before); err != nil {
		return out, err
	}
	err := r.store.Read(ctx, pedigree.At{}, func(tx *sqlstore.Tx) error {
		var projects []string
		if which.All {
			if _, err := r.webhookProject(ctx, tx, p, ""); err != nil {
				return err
			}
		} else {
			pr, err := r.webhookProject(ctx, tx, p, which.Project)
			if err != nil {
				return err
			}
			projects = []string{pr.ID}
		}
		items, err := tx.Webhooks(ctx, projects, which.Format, before, page.Size()+1)
		if len(items) > page.Size() {
			items = items[:page.Size()]
			out.Next = encodeCursor(items[len(items)-1].Seq)
		}
		out.Items, out.AsOf = append(out.Items, items...), tx.AsOf()
		return err
	})
	return out, err
}

// changeWebhook loads a webhook, checks what the caller believes of it, and decides. own,
// where not nil, is written along.
func (r *Registrar) changeWebhook(ctx context.Context, p pedigree.Principal, project pedigree.ProjectName, id string, ifMatch *int64,
	f func(tx *sqlstore.Tx, w *pedigree.Webhook) ([]pedigree.Draft, error), own []sqlstore.Own,
) (*sqlstore.Appended, error) {
	return r.decide(ctx, p, func(tx *sqlstore.Tx) (decision, error) {
		w, err := r.ownWebhook(ctx, tx, p, project, id)
		if err != nil {
			return decision{}, err
		}
		if err := checkMatch("webhook "+id, ifMatch, w.Changed); err != nil {
			return decision{}, err
		}
		drafts, err := f(tx, &w)
		return decision{drafts: drafts, own: own}, err
	})
}

// EditWebhook changes what is said of a webhook. It returns [pedigree.CodePrecondition]
// where ifMatch is old.
func (r *Registrar) EditWebhook(ctx context.Context, p pedigree.Principal, project pedigree.ProjectName, id string, edit pedigree.WebhookEdit, ifMatch *int64) (pedigree.Webhook, error) {
	_, err := r.changeWebhook(ctx, p, project, id, ifMatch, func(tx *sqlstore.Tx, w *pedigree.Webhook) ([]pedigree.Draft, error) {
		edit := edit
		if err := webhookModels(ctx, tx, project, &edit); err != nil {
			return nil, err
		}
		return w.Edit(edit, r.receivers)
	}, nil)
	if err != nil {
		return pedigree.Webhook{}, err
	}
	return r.Webhook(ctx, p, project, id)
}

// DeleteWebhook removes a webhook, and with it what waits to be sent.
func (r *Registrar) DeleteWebhook(ctx context.Context, p pedigree.Principal, project pedigree.ProjectName, id, reason string, ifMatch *int64) error {
	_, err := r.changeWebhook(ctx, p, project, id, ifMatch, func(_ *sqlstore.Tx, w *pedigree.Webhook) ([]pedigree.Draft, error) {
		return w.Delete(reason)
	}, sqlstore.DropWebhook(id))
	return err
}

// RotateWebhookSecret gives a webhook another secret ("" asks for a fresh one); the old one
// signs beside it for the time of grace. The answer holds the new one, this once. removed
// takes the secret away.
func (r *Registrar) RotateWebhookSecret(ctx context.Context, p pedigree.Principal, project pedigree.ProjectName, id, secret string, removed bool, grace time.Duration, reason string) (pedigree.Webhook, error) {
	w, err := r.Webhook(ctx, p, project, id)
	if err != nil {
		return w, err
	}
	if secret != "" {
		if err := pedigree.CheckWebhookSecret(w.Format, secret); err != nil {
			return pedigree.Webhook{}, err
		}
	} else if !removed {
		if secret, err = r.newSecret(); err != nil {
			return pedigree.Webhook{}, err
		}
	}
	var now sqlstore.WebhookSecrets
	err = r.store.Read(ctx, pedigree.At{}, func(tx *sqlstore.Tx) (err error) {
		now, err = tx.Secrets(ctx, id)
		return err
	})
	if err != nil {
		return pedigree.Webhook{}, err
	}
	sealed, err := r.seal(secret, id)
	if err != nil {
		return pedigree.Webhook{}, err
	}
	next := sqlstore.WebhookSecrets{Secret: sealed}
	if grace > 0 && now.Secret != "" {
		next.Old, next.OldUntil = now.Secret, r.now().Add(grace)
	}
	seen := w.Changed // a rotation that came between would lose its secret
	appended, err := r.changeWebhook(ctx, p, project, id, &seen, func(_ *sqlstore.Tx, w *pedigree.Webhook) ([]pedigree.Draft, error) {
		return w.RotateSecret(grace, removed, reason)
	}, sqlstore.PutSecrets(id, next))
	if err != nil {
		return pedigree.Webhook{}, err
	}
	return r.webhookWithSecret(ctx, id, appended.Last())
}

// Deliveries lists the deliveries of a webhook, newest first, in one state where that is
// not "".
func (r *Registrar) Deliveries(ctx context.Context, p pedigree.Principal, project pedigree.ProjectName, id string, state pedigree.DeliveryState, page pedigree.Page) (pedigree.List[pedigree.WebhookDelivery], error) {
	out := pedigree.List[pedigree.WebhookDelivery]{Items: []pedigree.WebhookDelivery{}}
	switch state {
	case "", pedigree.DeliveryPending, pedigree.DeliveryDelivered, pedigree.DeliveryDead:
	default:
		return out, pedigree.Errorf(pedigree.CodeInvalid, "state %q: want pending, delivered or dead", state)
	}
	before := int64(-1)
	if err := decodeCursor(page.Cursor, &before); err != nil {
		return out, err
	}
	err := r.store.Read(ctx, pedigree.At{}, func(tx *sqlstore.Tx) error {
		if _, err := r.ownWebhook(ctx, tx, p, project, id); err != nil {
			return err
		}
		items, err := tx.Deliveries(ctx, id, state, before, page.Size()+1)
		if len(items) > page.Size() {
			items = items[:page.Size()]
			out.Next = encodeCursor(items[len(items)-1].Seq)
		}
		out.Items, out.AsOf = append(out.Items, items...), tx.AsOf()
		return err
	})
	return out, err
}

// Redeliver sends the delivery of an event again, whatever became of it; it waits for no
// other. It returns [pedigree.CodeNotFound].
func (r *Registrar) Redeliver(ctx context.Context, p pedigree.Principal, project pedigree.ProjectName, id string, seq int64) (pedigree.WebhookDelivery, error) {
	if _, err := r.Webhook(ctx, p, project, id); err != nil {
		return pedigree.WebhookDelivery{}, err
	}
	d, err := r.store.Redeliver(ctx, id, seq, func(d pedigree.WebhookDelivery) (pedigree.WebhookDelivery, error) { return d.Redeliver(r.now().UTC()) })
	if err == nil {
		r.store.Nudge()
	}
	return d, err
}
