package httpapi

import (
	"time"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/internal/registrar"
)

// NewWebhook is what a caller gives to make a webhook.
type NewWebhook struct {
	URL         string   `json:"url" doc:"Where deliveries go, by https." example:"https://ci.example.org/hooks/models"`
	Name        string   `json:"name,omitempty"`
	Description string   `json:"description,omitempty"`
	Types       []string `json:"types,omitempty" doc:"The types wanted, or families of them; none means all." example:"[\"alias.*\"]"`
	Models      []string `json:"models,omitempty" doc:"The models wanted, by reference or id; none means all."`
	// Active is true where it is not said.
	Active *bool `json:"active,omitempty" doc:"Whether events are sent; true without it."`
	// Secret is one of Standard Webhooks; without it the registry makes one.
	Secret string `json:"secret,omitempty" doc:"The secret that signs, whsec_…; the registry makes one without it."`
}

// Rotation is what a caller gives for another secret of a webhook.
type Rotation struct {
	Secret       string `json:"secret,omitempty" doc:"The new secret, whsec_…; the registry makes one without it."`
	GraceSeconds *int64 `json:"grace_seconds,omitempty" doc:"How long the old secret signs beside the new one; a day without it."`
	Reason       string `json:"reason,omitempty"`
}

// webhookRoutes are the operations on the webhooks of a project and of the instance.
func (a *API) webhookRoutes() []Route {
	var routes []Route
	for _, scope := range []struct{ prefix, id, of string }{
		{"/projects/{project}/webhooks", "Project", "a project"},
		{"/webhooks", "Instance", "the whole instance"},
	} {
		one := scope.prefix + "/{webhook}"
		list := []Param{limitParam, cursorParam}
		if scope.id == "Instance" {
			list = append(list, Param{Name: "all", Type: "boolean", Doc: "Those of every project too."})
		}
		add := func(r Route) {
			r.Tag = "webhooks"
			routes = append(routes, r)
		}
		add(Route{Method: get, Pattern: scope.prefix, ID: "list" + scope.id + "Webhooks", Summary: "List the webhooks of " + scope.of + ", newest first.", Query: list, Response: pedigree.List[pedigree.Webhook]{}, handle: a.listWebhooks})
		add(Route{Method: post, Pattern: scope.prefix, ID: "create" + scope.id + "Webhook", Summary: "Make a webhook of " + scope.of + ". The answer holds its secret, this once.", Request: NewWebhook{}, Response: pedigree.Webhook{}, Status: created, Changes: true, Tagged: true, RequestExample: exampleWebhook, handle: a.createWebhook})
		add(Route{Method: get, Pattern: one, ID: "get" + scope.id + "Webhook", Summary: "Read a webhook, and how its deliveries stand.", Response: pedigree.Webhook{}, Tagged: true, handle: a.getWebhook})
		add(Route{Method: patch, Pattern: one, ID: "edit" + scope.id + "Webhook", Summary: "Change a webhook.", Request: pedigree.WebhookEdit{}, Response: pedigree.Webhook{}, Changes: true, Match: true, Tagged: true, RequestExample: pedigree.WebhookEdit{Active: ptr(false), Reason: "the receiver moves"}, handle: a.editWebhook})
		add(Route{Method: remove, Pattern: one, ID: "delete" + scope.id + "Webhook", Summary: "Remove a webhook, and what waits to be sent by it.", Query: []Param{reasonParam}, Status: noContent, Changes: true, Match: true, handle: a.deleteWebhook})
		add(Route{Method: post, Pattern: one + "/rotate", ID: "rotate" + scope.id + "WebhookSecret", Summary: "Give a webhook another secret. The answer holds it, this once.", Request: Rotation{}, OptionalBody: true, Response: pedigree.Webhook{}, Changes: true, handle: a.rotateWebhookSecret})
		add(Route{Method: post, Pattern: one + "/test", ID: "test" + scope.id + "Webhook", Summary: "Send an example to a webhook's receiver, now, and say what became of it.", Response: pedigree.Attempt{}, handle: a.testWebhook})
		add(Route{Method: get, Pattern: one + "/deliveries", ID: "list" + scope.id + "Deliveries", Summary: "List the deliveries of a webhook, newest first.", Query: []Param{{Name: "state", Type: "string", Doc: "pending, delivered or dead.", Example: "dead"}, limitParam, cursorParam}, Response: pedigree.List[pedigree.WebhookDelivery]{}, handle: a.listDeliveries})
		add(Route{Method: post, Pattern: one + "/deliveries/{seq}/redeliver", ID: "redeliver" + scope.id + "Event", Summary: "Send an event to a webhook's receiver again.", Response: pedigree.WebhookDelivery{}, handle: a.redeliver})
	}
	return routes
}

func (a *API) listWebhooks(c *call) error {
	project, err := c.scope()
	if err != nil {
		return err
	}
	page, err := c.page()
	if err != nil {
		return err
	}
	all, err := c.flag("all")
	if err != nil {
		return err
	}
	list, err := a.registrar.Webhooks(c.ctx(), c.principal, registrar.WebhookList{Project: project, All: all}, page)
	return answerList(c, list, err)
}

func (a *API) createWebhook(c *call) error {
	project, err := c.scope()
	if err != nil {
		return err
	}
	var in NewWebhook
	if err := c.decode(&in); err != nil {
		return err
	}
	spec := registrar.NewWebhook{Format: pedigree.FormatStandard, Secret: in.Secret}
	spec.WebhookEdit = pedigree.WebhookEdit{URL: &in.URL, Active: in.Active}
	for _, text := range []struct {
		value string
		to    **string
	}{{in.Name, &spec.Name}, {in.Description, &spec.Description}} {
		if text.value != "" {
			*text.to = &text.value
		}
	}
	if len(in.Types) > 0 {
		spec.Types = &in.Types
	}
	if len(in.Models) > 0 {
		spec.Models = &in.Models
	}
	w, err := a.registrar.CreateWebhook(c.ctx(), c.principal, project, spec)
	if err == nil {
		c.located(w.ID)
	}
	return c.answerTagged(w.Changed, w, err)
}

func (a *API) getWebhook(c *call) error {
	project, err := c.scope()
	if err != nil {
		return err
	}
	w, err := a.registrar.Webhook(c.ctx(), c.principal, project, c.r.PathValue("webhook"))
	return c.answerTagged(w.Changed, w, err)
}

func (a *API) editWebhook(c *call) error {
	project, err := c.scope()
	if err != nil {
		return err
	}
	match, err := c.ifMatch()
	if err != nil {
		return err
	}
	var in pedigree.WebhookEdit
	if err := c.decode(&in); err != nil {
		return err
	}
	w, err := a.registrar.EditWebhook(c.ctx(), c.principal, project, c.r.PathValue("webhook"), in, match)
	return c.answerTagged(w.Changed, w, err)
}

func (a *API) deleteWebhook(c *call) error {
	project, err := c.scope()
	if err != nil {
		return err
	}
	match, err := c.ifMatch()
	if err != nil {
		return err
	}
	return c.answerNothing(a.registrar.DeleteWebhook(c.ctx(), c.principal, project, c.r.PathValue("webhook"), c.query.Get("reason"), match))
}

func (a *API) rotateWebhookSecret(c *call) error {
	project, err := c.scope()
	if err != nil {
		return err
	}
	var in Rotation
	if err := c.decodeOptional(&in); err != nil {
		return err
	}
	grace := pedigree.RotationGrace
	if in.GraceSeconds != nil {
		if *in.GraceSeconds < 0 || *in.GraceSeconds > int64(pedigree.MaxRotationGrace/time.Second) {
			return invalid("grace_seconds is %d: want 0 to %d", *in.GraceSeconds, int64(pedigree.MaxRotationGrace/time.Second))
		}
		grace = time.Duration(*in.GraceSeconds) * time.Second
	}
	w, err := a.registrar.RotateWebhookSecret(c.ctx(), c.principal, project, c.r.PathValue("webhook"), in.Secret, false, grace, in.Reason)
	return c.answer(w, err)
}

// testWebhook sends from this server, whichever has the webhook's lease: a test is no
// delivery.
func (a *API) testWebhook(c *call) error {
	project, err := c.scope()
	if err != nil {
		return err
	}
	w, err := a.registrar.WebhookForTest(c.ctx(), c.principal, project, c.r.PathValue("webhook"))
	if err != nil {
		return err
	}
	attempt, err := a.notifier.Test(c.ctx(), &w, "")
	return c.answer(attempt, err)
}

func (a *API) listDeliveries(c *call) error {
	project, err := c.scope()
	if err != nil {
		return err
	}
	page, err := c.page()
	if err != nil {
		return err
	}
	list, err := a.registrar.Deliveries(c.ctx(), c.principal, project, c.r.PathValue("webhook"), pedigree.DeliveryState(c.query.Get("state")), page)
	return answerList(c, list, err)
}

func (a *API) redeliver(c *call) error {
	project, err := c.scope()
	if err != nil {
		return err
	}
	seq, err := c.seq()
	if err != nil {
		return err
	}
	d, err := a.registrar.Redeliver(c.ctx(), c.principal, project, c.r.PathValue("webhook"), seq)
	return c.answer(d, err)
}
