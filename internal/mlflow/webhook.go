package mlflow

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/internal/httpx"
	"github.com/pedigree-ml/pedigree/internal/notify"
	"github.com/pedigree-ml/pedigree/internal/registrar"
)

// webhookRoutes are the endpoints of MLflow 3's webhooks. They show those that were made
// here: clients stumble over events that they don't know.
func (d *Dialect) webhookRoutes() []Route {
	const all, one = api + "/webhooks", api + "/webhooks/{webhook}"
	return []Route{
		{Method: post, Pattern: all, Support: Partial, Why: "Names, events and answers are MLflow's; `budget_policy` is refused, since there is no gateway.", handle: d.createWebhook},
		{Method: get, Pattern: all, Support: Full, handle: d.listWebhooks},
		{Method: get, Pattern: one, Support: Full, handle: d.getWebhook},
		{Method: patch, Pattern: one, Support: Full, handle: d.updateWebhook},
		{Method: remove, Pattern: one, Support: Full, Raw: true, handle: d.deleteWebhook},
		{Method: post, Pattern: one + "/test", Support: Full, handle: d.testWebhook},
	}
}

// webhookEntities and webhookActions are MLflow's words by their numbers on the wire.
var (
	webhookEntities = []string{
		"", "registered_model", "model_version", "model_version_tag", "model_version_alias", "prompt", "prompt_version", "prompt_tag", "prompt_version_tag", "prompt_alias", "budget_policy",
	}
	webhookActions = []string{"", "created", "updated", "deleted", "set", "exceeded"}
)

// webhookEvents are the events of MLflow, each with the type of ours that it comes from.
var webhookEvents = map[string]pedigree.EventType{
	"registered_model.created":    pedigree.ModelCreated,
	"model_version.created":       pedigree.VersionRegistered,
	"model_version_tag.set":       pedigree.VersionTagged,
	"model_version_tag.deleted":   pedigree.VersionUntagged,
	"model_version_alias.created": pedigree.AliasMoved,
	"model_version_alias.deleted": pedigree.AliasRemoved,
	"prompt.created":              pedigree.ModelCreated,
	"prompt_version.created":      pedigree.VersionRegistered,
	"prompt_tag.set":              pedigree.ModelTagged,
	"prompt_tag.deleted":          pedigree.ModelUntagged,
	"prompt_version_tag.set":      pedigree.VersionTagged,
	"prompt_version_tag.deleted":  pedigree.VersionUntagged,
	"prompt_alias.created":        pedigree.AliasMoved,
	"prompt_alias.deleted":        pedigree.AliasRemoved,
}

// webhookEvent is an event on the wire: names in capitals, or numbers.
type webhookEvent struct {
	Entity any `json:"entity"`
	Action any `json:"action"`
}

// wireWebhook is a webhook on the wire.
type wireWebhook struct {
	ID          string         `json:"webhook_id"`
	Name        string         `json:"name"`
	Description string         `json:"description,omitempty"`
	URL         string         `json:"url"`
	Events      []webhookEvent `json:"events"`
	Status      string         `json:"status"`
	Created     int64          `json:"creation_timestamp"`
	Updated     int64          `json:"last_updated_timestamp"`
}

type webhookAnswer struct {
	Webhook wireWebhook `json:"webhook"`
}

func wireWebhookOf(w *pedigree.Webhook) wireWebhook {
	out := wireWebhook{
		ID: w.ID, Name: w.Name, Description: w.Description, URL: w.URL, Status: "DISABLED", Events: []webhookEvent{},
		Created: w.CreatedAt.UnixMilli(), Updated: w.UpdatedAt.UnixMilli(),
	}
	if w.Active {
		out.Status = "ACTIVE"
	}
	for _, event := range w.Events {
		entity, action, _ := strings.Cut(strings.ToUpper(event), ".")
		out.Events = append(out.Events, webhookEvent{entity, action})
	}
	return out
}

// word reads one of MLflow's enumerations, by name or by number.
func word(words []string, what string, raw any) (string, error) {
	switch v := raw.(type) {
	case string:
		for _, w := range words[1:] {
			if v == strings.ToUpper(w) {
				return w, nil
			}
		}
	case json.Number:
		if n, err := strconv.Atoi(v.String()); err == nil && n > 0 && n < len(words) {
			return words[n], nil
		}
	}
	return "", invalid("Invalid webhook event %s: '%s'.", what, clip(fmt.Sprint(raw)))
}

// text reads an event, as in "model_version.created".
func (e webhookEvent) text() (string, error) {
	entity, err := word(webhookEntities, "entity", e.Entity)
	if err != nil {
		return "", err
	}
	action, err := word(webhookActions, "action", e.Action)
	if err != nil {
		return "", err
	}
	text := entity + "." + action
	if _, ok := webhookEvents[text]; ok {
		return text, nil
	}
	if text == "budget_policy.exceeded" {
		return "", invalid("Pedigree is no gateway to language models: there are no events of budget policies.")
	}
	var valid []string
	for known := range webhookEvents {
		if other, action, _ := strings.Cut(known, "."); other == entity {
			valid = append(valid, "'"+action+"'")
		}
	}
	slices.Sort(valid)
	return "", invalid("Invalid action '%s' for entity '%s'. Valid actions are: [%s]", action, entity, strings.Join(valid, ", "))
}

// events reads a list of events, and the types of ours that they come from.
func eventTexts(events []webhookEvent) (texts, types []string, err error) {
	for _, e := range events {
		text, err := e.text()
		if err != nil {
			return nil, nil, err
		}
		texts = append(texts, text)
		types = append(types, string(webhookEvents[text]))
	}
	return texts, types, nil
}

var webhookName = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$`)

func checkWebhookName(name string) error {
	if webhookName.MatchString(name) {
		return nil
	}
	return invalid("Webhook name '%s' is invalid. It must start and end with a letter or digit, be less than 63 characters long, and contain only letters, digits, dots (.), underscores (_), and hyphens (-).", clip(name))
}

func checkWebhookURL(text string) error {
	if strings.TrimSpace(text) == "" {
		return invalid("Webhook URL cannot be empty or just whitespace: '%s'", text)
	}
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return invalid("Invalid webhook URL '%s'", clip(text))
	case u.Scheme != "https" && u.Scheme != "http":
		return invalid("Invalid webhook URL scheme: '%s'. Allowed schemes are: http, https.", clip(u.Scheme))
	case u.Hostname() == "":
		return invalid("Webhook URL must include a hostname: '%s'", clip(text))
	}
	return nil
}

// ofReceiver makes a receiver that the operator does not allow a bad parameter, as MLflow
// has it.
func ofReceiver(err error) error {
	if pedigree.CodeOf(err) == pedigree.CodeRefused {
		return invalid("%s", err)
	}
	return err
}

// status reads ACTIVE or DISABLED, by name or number; nil where it is not said.
func webhookStatus(raw any) (*bool, error) {
	active := false
	switch fmt.Sprint(raw) {
	case "<nil>", "":
		return nil, nil
	case "ACTIVE", "1":
		active = true
	case "DISABLED", "2":
	default:
		return nil, invalid("Invalid value for parameter 'status': '%s'. It must be ACTIVE or DISABLED.", clip(fmt.Sprint(raw)))
	}
	return &active, nil
}

func (d *Dialect) createWebhook(c *call) error {
	var in struct {
		Name        string         `json:"name" mlflow:"required"`
		URL         string         `json:"url" mlflow:"required"`
		Events      []webhookEvent `json:"events" mlflow:"required"`
		Description string         `json:"description"`
		Secret      string         `json:"secret"`
		Status      any            `json:"status"`
	}
	if err := c.read(&in); err != nil {
		return err
	}
	events, types, err := eventTexts(in.Events)
	if err != nil {
		return err
	}
	if err := checkWebhookName(in.Name); err != nil {
		return err
	}
	if err := checkWebhookURL(in.URL); err != nil {
		return err
	}
	if len(events) == 0 {
		return invalid("Webhook events must be a non-empty list of WebhookEvent objects: [].")
	}
	active, err := webhookStatus(in.Status)
	if err != nil {
		return err
	}
	spec := registrar.NewWebhook{Format: pedigree.FormatMLflow, Secret: in.Secret, WebhookEdit: pedigree.WebhookEdit{
		Name: &in.Name, URL: &in.URL, Types: &types, Events: &events, Active: active,
	}}
	if in.Description != "" {
		spec.Description = &in.Description
	}
	w, err := d.registrar.CreateWebhook(c.ctx(), c.principal, c.project, spec)
	return c.answer(webhookAnswer{wireWebhookOf(&w)}, ofReceiver(err))
}

func (d *Dialect) listWebhooks(c *call) error {
	var in struct {
		MaxResults int64  `json:"max_results"`
		PageToken  string `json:"page_token"`
	}
	if err := c.read(&in); err != nil {
		return err
	}
	if in.MaxResults == 0 {
		in.MaxResults = 100
	}
	if in.MaxResults < 1 || in.MaxResults > 1000 {
		return invalid("max_results must be between 1 and 1000.")
	}
	which := registrar.WebhookList{Project: c.project, Format: pedigree.FormatMLflow}
	list, err := d.registrar.Webhooks(c.ctx(), c.principal, which, pedigree.Page{Limit: int(in.MaxResults), Cursor: in.PageToken})
	answer := struct {
		Webhooks []wireWebhook `json:"webhooks,omitempty"`
		Next     string        `json:"next_page_token,omitempty"`
	}{Next: list.Next}
	for i := range list.Items {
		answer.Webhooks = append(answer.Webhooks, wireWebhookOf(&list.Items[i]))
	}
	return c.answer(answer, err)
}

// webhook reads the webhook that the path names, by what does it for whom.
func (c *call) webhook(read func(ctx context.Context, p pedigree.Principal, project pedigree.ProjectName, id string) (pedigree.Webhook, error)) (pedigree.Webhook, error) {
	id := c.r.PathValue("webhook")
	w, err := read(c.ctx(), c.principal, c.project, id)
	if pedigree.CodeOf(err) == pedigree.CodeNotFound || err == nil && w.Format != pedigree.FormatMLflow {
		err = notFound("Webhook with ID %s not found.", clip(id))
	}
	return w, err
}

func (d *Dialect) getWebhook(c *call) error {
	w, err := c.webhook(d.registrar.Webhook)
	return c.answer(webhookAnswer{wireWebhookOf(&w)}, err)
}

func (d *Dialect) updateWebhook(c *call) error {
	var in struct {
		Name        string         `json:"name"`
		URL         string         `json:"url"`
		Events      []webhookEvent `json:"events"`
		Description *string        `json:"description"`
		Secret      *string        `json:"secret"`
		Status      any            `json:"status"`
	}
	if err := c.read(&in); err != nil {
		return err
	}
	w, err := c.webhook(d.registrar.Webhook)
	if err != nil {
		return err
	}
	edit := pedigree.WebhookEdit{Description: in.Description}
	if in.Name != "" {
		if err := checkWebhookName(in.Name); err != nil {
			return err
		}
		edit.Name = &in.Name
	}
	if in.URL != "" {
		if err := checkWebhookURL(in.URL); err != nil {
			return err
		}
		edit.URL = &in.URL
	}
	if len(in.Events) > 0 {
		events, types, err := eventTexts(in.Events)
		if err != nil {
			return err
		}
		edit.Events, edit.Types = &events, &types
	}
	if edit.Active, err = webhookStatus(in.Status); err != nil {
		return err
	}
	once := c.principal
	once.IdempotencyKey, once.Fingerprint = "", "" // the request is two changes: both say what shall be
	if w, err = d.registrar.EditWebhook(c.ctx(), once, c.project, w.ID, edit, nil); err != nil {
		return ofReceiver(err)
	}
	if in.Secret != nil && (*in.Secret != "" || w.Signed) {
		w, err = d.registrar.RotateWebhookSecret(c.ctx(), once, c.project, w.ID, *in.Secret, *in.Secret == "", 0, "")
	}
	return c.answer(webhookAnswer{wireWebhookOf(&w)}, err)
}

func (d *Dialect) deleteWebhook(c *call) error {
	w, err := c.webhook(d.registrar.Webhook)
	if err == nil {
		err = d.registrar.DeleteWebhook(c.ctx(), c.principal, c.project, w.ID, "", nil)
	}
	return c.answerNothing(err)
}

func (d *Dialect) testWebhook(c *call) error {
	var in struct {
		Event *webhookEvent `json:"event"`
	}
	if err := c.read(&in); err != nil {
		return err
	}
	w, err := c.webhook(d.registrar.WebhookForTest)
	if err != nil {
		return err
	}
	event := ""
	if in.Event != nil {
		if event, err = in.Event.text(); err != nil {
			return err
		}
	}
	attempt, err := d.cfg.Notifier.Test(c.ctx(), &w, event)
	if err != nil {
		return err
	}
	type result struct {
		Success bool   `json:"success"`
		Status  int    `json:"response_status,omitempty"`
		Body    string `json:"response_body,omitempty"`
		Error   string `json:"error_message,omitempty"`
	}
	out := result{Success: attempt.Error == "", Status: attempt.Status, Body: attempt.Answer}
	if attempt.Status == 0 {
		out.Error = "Failed to test webhook: " + attempt.Error
	}
	return httpx.WriteJSON(c.w, http.StatusOK, struct {
		Result result `json:"result"`
	}{out})
}

// WebhookFormat makes the deliveries of webhooks as MLflow's own server makes them.
func WebhookFormat(r *registrar.Registrar) notify.Format { return webhookFormat{r} }

type webhookFormat struct{ r *registrar.Registrar }

// event is what MLflow calls an event of ours, "" where it has no word: its own server
// says nothing of tags of models that are no prompts, nor of stages.
func (f webhookFormat) event(ctx context.Context, item *registrar.Item) (string, error) {
	e := &item.Event
	if e.Type == pedigree.VersionTagged || e.Type == pedigree.VersionUntagged {
		if e.String("key") == pedigree.StageTag {
			return "", nil
		}
	}
	prompt, err := f.isPrompt(ctx, item)
	if err != nil {
		return "", err
	}
	for text, t := range webhookEvents {
		if t == e.Type && strings.HasPrefix(text, "prompt") == prompt {
			return text, nil
		}
	}
	return "", nil
}

// isPrompt says whether the model that an event is about was a prompt then.
func (f webhookFormat) isPrompt(ctx context.Context, item *registrar.Item) (bool, error) {
	if item.Event.Type == pedigree.ModelCreated {
		var tags map[string]string
		_, err := item.Event.Decode("tags", &tags)
		return pedigree.IsPrompt(tags), err
	}
	scene, err := f.r.Scene(ctx, item)
	if err != nil || scene.Model == "" {
		return false, err
	}
	m, err := f.r.Model(ctx, pedigree.System, scene.Project, scene.Model, pedigree.At{Seq: &item.Event.Seq})
	if pedigree.CodeOf(err) == pedigree.CodeNotFound { // deleted by that very event
		return false, nil
	}
	return pedigree.IsPrompt(m.Tags), err
}

// Wants implements [notify.Format].
func (f webhookFormat) Wants(ctx context.Context, w *pedigree.Webhook, item *registrar.Item) (bool, error) {
	event, err := f.event(ctx, item)
	return event != "" && slices.Contains(w.Events, event), err
}

// Body implements [notify.Format].
func (f webhookFormat) Body(ctx context.Context, _ *pedigree.Webhook, item *registrar.Item) ([]byte, error) {
	event, err := f.event(ctx, item)
	if err != nil {
		return nil, err
	}
	scene, err := f.r.Scene(ctx, item)
	if err != nil {
		return nil, err
	}
	data, err := eventData(event, scene.Reference, &item.Event)
	if err != nil {
		return nil, err
	}
	return eventBody(event, item.Event.Time, scene.Project, data)
}

func eventBody(event string, at time.Time, project pedigree.ProjectName, data any) ([]byte, error) {
	entity, action, _ := strings.Cut(event, ".")
	body := struct {
		Entity    string               `json:"entity"`
		Action    string               `json:"action"`
		Timestamp string               `json:"timestamp"`
		Data      any                  `json:"data"`
		Workspace pedigree.ProjectName `json:"workspace,omitempty"`
	}{entity, action, at.UTC().Format("2006-01-02T15:04:05.000000-07:00"), data, ""}
	if project != pedigree.DefaultProject {
		body.Workspace = project
	}
	return json.Marshal(body)
}

// eventData is the part of a delivery that differs from event to event. Texts that were
// erased since are missing from it.
func eventData(event string, place pedigree.Reference, e *pedigree.Event) (map[string]any, error) {
	data := map[string]any{"name": place.Model}
	switch e.Type {
	case pedigree.ModelCreated, pedigree.VersionRegistered:
		tags := map[string]string{}
		if _, err := e.Decode("tags", &tags); err != nil {
			return nil, err
		}
		maps.DeleteFunc(tags, func(key, _ string) bool { return key == pedigree.StageTag || key == completeTag })
		if tags == nil {
			tags = map[string]string{}
		}
		data["tags"] = tags
		data["description"] = e.String("description")
		if strings.HasPrefix(event, "prompt") { // whose own tags say what it is
			delete(tags, promptTag)
			delete(tags, promptTypeTag)
			if text, ok := tags[promptTextTag]; ok && e.Type == pedigree.VersionRegistered {
				data["template"] = text
				delete(tags, promptTextTag)
			}
		}
		if e.Type == pedigree.VersionRegistered {
			return data, versionData(event, data, place, e)
		}
	case pedigree.VersionTagged, pedigree.ModelTagged:
		data["key"], data["value"] = e.String("key"), e.String("value")
	case pedigree.VersionUntagged, pedigree.ModelUntagged:
		data["key"] = e.String("key")
	case pedigree.AliasMoved, pedigree.AliasRemoved:
		data["alias"] = e.String("alias")
		var n pedigree.VersionNumber
		if ok, err := e.Decode("version", &n); err != nil {
			return nil, err
		} else if ok {
			data["version"] = n.String()
		}
	}
	if e.Type == pedigree.VersionTagged || e.Type == pedigree.VersionUntagged {
		data["version"] = place.Version.String()
	}
	return data, nil
}

// promptTypeTag says of what type a prompt is.
const promptTypeTag = "_mlflow_prompt_type"

// versionData adds what a registration says.
func versionData(event string, data map[string]any, place pedigree.Reference, e *pedigree.Event) error {
	data["version"] = place.Version.String()
	if data["description"] == "" {
		data["description"] = nil
	}
	if strings.HasPrefix(event, "prompt") {
		return nil
	}
	var artifact pedigree.Artifact
	var run *pedigree.Run
	if _, err := e.Decode("artifact", &artifact); err != nil {
		return err
	}
	if _, err := e.Decode("run", &run); err != nil {
		return err
	}
	data["source"], data["run_id"] = string(artifact.URI), nil
	if run != nil && run.ID != "" {
		data["run_id"] = run.ID
	}
	return nil
}

// Example implements [notify.Format] with the examples of MLflow's own server.
func (f webhookFormat) Example(w *pedigree.Webhook, event string, now time.Time) ([]byte, error) {
	if event == "" && len(w.Events) > 0 {
		event = w.Events[0]
	}
	t, ok := webhookEvents[event]
	if !ok {
		return nil, pedigree.Errorf(pedigree.CodeInvalid, "MLflow has no event %q", clip(event))
	}
	kind, prompt := "model", strings.HasPrefix(event, "prompt")
	if prompt {
		kind = "prompt"
	}
	data := map[string]any{"name": "example_" + kind}
	tags, version := map[string]string{"example_key": "example_value"}, "1"
	switch t {
	case pedigree.ModelCreated:
		data["tags"], data["description"] = tags, "An example registered model"
		if prompt {
			data["description"] = "An example prompt"
		}
	case pedigree.VersionRegistered:
		data["version"], data["tags"], data["description"] = version, tags, "An example "+kind+" version"
		if prompt {
			data["template"] = "Hello {{name}}!"
		} else {
			data["source"], data["run_id"] = "models:/123", "abcd1234abcd5678"
		}
	case pedigree.VersionTagged, pedigree.ModelTagged:
		data["key"], data["value"] = "example_key", "example_value"
	case pedigree.VersionUntagged, pedigree.ModelUntagged:
		data["key"] = "example_key"
	case pedigree.AliasMoved:
		data["alias"], data["version"] = "example_alias", version
	case pedigree.AliasRemoved:
		data["alias"] = "example_alias"
	}
	if t == pedigree.VersionTagged || t == pedigree.VersionUntagged {
		data["version"] = version
	}
	return eventBody(event, now, w.Project, data)
}

// Sign implements [notify.Format]: one signature, by the newest secret; none where there is
// no secret.
func (webhookFormat) Sign(h http.Header, id string, at time.Time, body []byte, secrets []string) error {
	// MLflow's ids are UUIDs; ours become one, the same for each attempt.
	id = uuid.NewSHA1(uuid.NameSpaceURL, []byte(id)).String()
	seconds := strconv.FormatInt(at.Unix(), 10)
	h.Set("X-MLflow-Delivery-Id", id)
	h.Set("X-MLflow-Timestamp", seconds)
	if len(secrets) > 0 {
		h.Set("X-MLflow-Signature", "v1,"+notify.Signature([]byte(secrets[0]), id, seconds, body))
	}
	return nil
}
