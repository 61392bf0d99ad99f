package client

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"github.com/pedigree-ml/pedigree"
)

// The methods on webhooks take the project that a webhook belongs to; "" stands for the
// webhooks of the whole instance.

func webhookPath(project pedigree.ProjectName, segments ...string) string {
	segments = append([]string{"webhooks"}, segments...)
	if project == "" {
		return escape(segments...)
	}
	return escape(append([]string{"projects", string(project)}, segments...)...)
}

// NewWebhook is what makes a webhook.
type NewWebhook struct {
	// URL is where deliveries go. Required.
	URL               string
	Name, Description string
	// Types are the types of events wanted, or families ("alias.*"); none means all.
	Types []string
	// Models are references or ids; none means all.
	Models []string
	// Inactive makes it without sending anything yet.
	Inactive bool
	// Secret signs; "" lets the registry make one.
	Secret string
}

// CreateWebhook makes a webhook. The answer holds its secret, which nobody can read again.
// It returns [pedigree.CodeRefused] for a receiver that the operator of the server does not
// allow.
func (c *Client) CreateWebhook(ctx context.Context, project pedigree.ProjectName, w NewWebhook) (pedigree.Webhook, error) {
	in := struct {
		URL         string   `json:"url"`
		Name        string   `json:"name,omitempty"`
		Description string   `json:"description,omitempty"`
		Types       []string `json:"types,omitempty"`
		Models      []string `json:"models,omitempty"`
		Active      bool     `json:"active"`
		Secret      string   `json:"secret,omitempty"`
	}{w.URL, w.Name, w.Description, w.Types, w.Models, !w.Inactive, w.Secret}
	return ask[pedigree.Webhook](ctx, c, request{method: http.MethodPost, path: webhookPath(project), in: in})
}

// Webhook reads a webhook, and how its deliveries stand. It returns
// [pedigree.CodeNotFound].
func (c *Client) Webhook(ctx context.Context, project pedigree.ProjectName, id string) (pedigree.Webhook, error) {
	return ask[pedigree.Webhook](ctx, c, request{method: http.MethodGet, path: webhookPath(project, id)})
}

// Webhooks lists webhooks, newest first.
func (c *Client) Webhooks(ctx context.Context, project pedigree.ProjectName, page pedigree.Page) (pedigree.List[pedigree.Webhook], error) {
	return ask[pedigree.List[pedigree.Webhook]](ctx, c, request{method: http.MethodGet, path: webhookPath(project), query: paged(url.Values{}, page)})
}

// AllWebhooks lists the webhooks of the instance and of every project, newest first.
func (c *Client) AllWebhooks(ctx context.Context, page pedigree.Page) (pedigree.List[pedigree.Webhook], error) {
	return ask[pedigree.List[pedigree.Webhook]](ctx, c, request{method: http.MethodGet, path: webhookPath(""), query: paged(url.Values{"all": {"true"}}, page)})
}

// EditWebhook changes a webhook; ifMatch, where not nil, is the Changed that the caller has
// seen.
func (c *Client) EditWebhook(ctx context.Context, project pedigree.ProjectName, id string, edit pedigree.WebhookEdit, ifMatch *int64) (pedigree.Webhook, error) {
	return ask[pedigree.Webhook](ctx, c, request{method: http.MethodPatch, path: webhookPath(project, id), in: edit, ifMatch: ifMatch})
}

// DeleteWebhook removes a webhook, and what waits to be sent by it.
func (c *Client) DeleteWebhook(ctx context.Context, project pedigree.ProjectName, id, reason string) error {
	return c.call(ctx, request{method: http.MethodDelete, path: webhookPath(project, id), query: set(url.Values{}, "reason", reason)}, nil)
}

// RotateWebhookSecret gives a webhook another secret, which the answer holds; the old one
// signs beside it for the time of grace.
func (c *Client) RotateWebhookSecret(ctx context.Context, project pedigree.ProjectName, id string, grace time.Duration, reason string) (pedigree.Webhook, error) {
	in := struct {
		GraceSeconds int64  `json:"grace_seconds"`
		Reason       string `json:"reason,omitempty"`
	}{int64(grace / time.Second), reason}
	return ask[pedigree.Webhook](ctx, c, request{method: http.MethodPost, path: webhookPath(project, id, "rotate"), in: in})
}

// TestWebhook sends an example to a webhook's receiver, now; Error of the answer is ""
// where the receiver took it.
func (c *Client) TestWebhook(ctx context.Context, project pedigree.ProjectName, id string) (pedigree.Attempt, error) {
	return ask[pedigree.Attempt](ctx, c, request{method: http.MethodPost, path: webhookPath(project, id, "test")})
}

// Deliveries lists the deliveries of a webhook, newest first, in one state where that is
// not "".
func (c *Client) Deliveries(ctx context.Context, project pedigree.ProjectName, id string, state pedigree.DeliveryState, page pedigree.Page) (pedigree.List[pedigree.WebhookDelivery], error) {
	q := paged(set(url.Values{}, "state", string(state)), page)
	return ask[pedigree.List[pedigree.WebhookDelivery]](ctx, c, request{method: http.MethodGet, path: webhookPath(project, id, "deliveries"), query: q})
}

// Redeliver sends the event with that number to a webhook's receiver again. It returns
// [pedigree.CodeNotFound] for one that was never to be sent.
func (c *Client) Redeliver(ctx context.Context, project pedigree.ProjectName, id string, seq int64) (pedigree.WebhookDelivery, error) {
	return ask[pedigree.WebhookDelivery](ctx, c, request{method: http.MethodPost, path: webhookPath(project, id, "deliveries", number(seq), "redeliver"), safe: true})
}
