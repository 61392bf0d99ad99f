package pedigree

import (
	"encoding/base64"
	"math"
	"slices"
	"strings"
	"time"
)

// Webhook tells a receiver elsewhere what happens, by a request for each event that it
// wants. The log says what it wants and since when; its secret and its deliveries are
// kept beside it.
type Webhook struct {
	// ID is opaque, "whk_…".
	ID string `json:"id"`
	// Project is the one whose events it wants; "" stands for all of the instance.
	Project     ProjectName `json:"project,omitempty"`
	Name        string      `json:"name,omitempty"`
	Description string      `json:"description,omitempty"`
	URL         string      `json:"url"`
	// Types are the types wanted, or families of them ("alias.*"); none means all.
	Types []string `json:"types,omitempty"`
	// Models are the opaque ids of the models wanted; none means all.
	Models []string `json:"models,omitempty"`
	// Active says that events are sent. What happens while it is not is never sent.
	Active bool          `json:"active"`
	Format WebhookFormat `json:"format"`
	// Events are what is wanted in the words of a foreign format.
	Events []string `json:"events,omitempty"`
	// Signed says that there is a secret by which deliveries are signed.
	Signed bool `json:"signed"`
	// Secret is there in the answer to the call that made it, and never again.
	Secret string `json:"secret,omitempty"`
	// Queue is how its deliveries stand, in the answer about one webhook.
	Queue     *WebhookQueue `json:"queue,omitempty"`
	CreatedAt time.Time     `json:"created_at"`
	CreatedBy string        `json:"created_by"`
	UpdatedAt time.Time     `json:"updated_at"`
	// Seq is the event that created it, Changed the last one that changed it; Changed is
	// its ETag.
	Seq     int64 `json:"seq"`
	Changed int64 `json:"changed"`
	// Erased are the fields whose values were erased by law.
	Erased []string `json:"erased,omitempty"`

	// ProjectID is the opaque id of Project.
	ProjectID string `json:"-"`
}

// WebhookFormat is the form of a webhook's deliveries.
type WebhookFormat string

// The formats.
const (
	// FormatStandard is a [Notice], signed as standardwebhooks.com says.
	FormatStandard WebhookFormat = "standard"
	// FormatMLflow is what MLflow's own server sends.
	FormatMLflow WebhookFormat = "mlflow"
)

// WebhookQueue is how the deliveries of a webhook stand.
type WebhookQueue struct {
	// Cursor is the last event that was dealt with: it was sent, waits, or is not wanted.
	Cursor int64 `json:"cursor"`
	// Behind is the number of events in the log after Cursor.
	Behind int64 `json:"behind"`
	// Pending wait to be sent, or to be tried again; Dead were given up.
	Pending int64 `json:"pending"`
	Dead    int64 `json:"dead"`
	// Oldest is when the first of the pending happened.
	Oldest *time.Time `json:"oldest,omitempty"`
}

// WebhookEdit changes what is said of a webhook; a nil field stays as it is.
type WebhookEdit struct {
	Name        *string   `json:"name,omitempty"`
	Description *string   `json:"description,omitempty"`
	URL         *string   `json:"url,omitempty"`
	Types       *[]string `json:"types,omitempty"`
	// Models are opaque ids once they reach a decision; callers may send references.
	Models *[]string `json:"models,omitempty"`
	Events *[]string `json:"-"`
	Active *bool     `json:"active,omitempty"`
	// Reason says why; it is kept in the log.
	Reason string `json:"reason,omitempty"`
}

// Limits on webhooks.
const (
	maxWebhookName   = 250
	maxWebhookTypes  = 200
	maxWebhookModels = 1000
	// MaxRotationGrace is the longest time for which an old secret signs beside a new one.
	MaxRotationGrace = 7 * 24 * time.Hour
	// RotationGrace is that time where nobody says another.
	RotationGrace = 24 * time.Hour
)

// check returns [CodeInvalid] for a value that a webhook can't have.
func (e *WebhookEdit) check() error {
	c := &checker{}
	for _, f := range []struct {
		what  string
		value *string
		limit int
	}{{"name", e.Name, maxWebhookName}, {"description", e.Description, MaxText}, {"reason", &e.Reason, MaxText}} {
		if f.value != nil {
			c.text(f.what, *f.value, f.limit)
		}
	}
	if e.Types != nil {
		c.check(len(*e.Types) <= maxWebhookTypes, "a webhook wants %d types, the limit is %d; none means all", len(*e.Types), maxWebhookTypes)
		for _, t := range *e.Types {
			c.err(checkTypePattern(t))
		}
	}
	if e.Models != nil {
		c.check(len(*e.Models) <= maxWebhookModels, "a webhook wants %d models, the limit is %d; none means all", len(*e.Models), maxWebhookModels)
	}
	return c.failed
}

// checkTypePattern returns [CodeInvalid] unless s is a type of event or a family.
func checkTypePattern(s string) error {
	all := make([]string, 0, len(EventTypes))
	for _, t := range EventTypes {
		if matchesType(s, t) {
			return nil
		}
		all = append(all, string(t))
	}
	err := Errorf(CodeInvalid, "%q is not a type of event", clip(s))
	if near := Nearest(s, all); near != "" {
		return err.WithFix("did you mean %s?", near)
	}
	return err.WithFix("write one as the log has it (alias.moved), or a family (alias.*)")
}

func matchesType(pattern string, t EventType) bool {
	if family, ok := strings.CutSuffix(pattern, "*"); ok && strings.HasSuffix(family, ".") {
		return strings.HasPrefix(string(t), family)
	}
	return pattern == string(t)
}

// payload holds the fields that the edit sets.
func (e *WebhookEdit) payload() Payload {
	p := Payload{}
	for key, value := range map[string]*string{"name": e.Name, "description": e.Description, "url": e.URL} {
		if value != nil {
			p[key] = *value
		}
	}
	for key, value := range map[string]*[]string{"types": e.Types, "models": e.Models, "events": e.Events} {
		if value != nil {
			p[key] = sortedSet(*value)
		}
	}
	if e.Active != nil {
		p["active"] = *e.Active
	}
	return p
}

// sortedSet is never nil: an empty list is a value.
func sortedSet(list []string) []string {
	out := append([]string{}, list...)
	slices.Sort(out)
	return slices.Compact(out)
}

// CreateWebhook decides a webhook of a project (with the zero project: of the instance)
// under a new id. It returns [CodeInvalid], and [CodeRefused] for a receiver that the
// operator does not allow.
func CreateWebhook(project Project, id string, format WebhookFormat, spec WebhookEdit, allowed Receivers) ([]Draft, error) {
	if err := spec.check(); err != nil {
		return nil, err
	}
	if spec.URL == nil {
		return nil, Errorf(CodeInvalid, "a webhook needs the URL of its receiver").WithFix("pedigree webhook create https://HOST/PATH")
	}
	if _, err := allowed.CheckURL(*spec.URL); err != nil {
		return nil, err
	}
	p := spec.payload()
	p["format"] = format
	if spec.Active == nil {
		p["active"] = true
	}
	d := Draft{Type: WebhookCreated, Subject: id, Payload: p.with("project", project.ID)}
	if project.ID != "" {
		d.Refs = []string{project.ID}
	}
	return []Draft{d}, nil
}

// Edit decides a change of w. Without any change it returns no event. It returns
// [CodeInvalid], and [CodeRefused] for a receiver that the operator does not allow.
func (w *Webhook) Edit(edit WebhookEdit, allowed Receivers) ([]Draft, error) {
	if err := edit.check(); err != nil {
		return nil, err
	}
	if edit.URL != nil {
		if _, err := allowed.CheckURL(*edit.URL); err != nil {
			return nil, err
		}
	}
	p := edit.payload()
	for key, now := range map[string]string{"name": w.Name, "description": w.Description, "url": w.URL} {
		if p[key] == now {
			delete(p, key)
		}
	}
	for key, now := range map[string][]string{"types": w.Types, "models": w.Models, "events": w.Events} {
		if next, ok := p[key].([]string); ok && slices.Equal(next, now) {
			delete(p, key)
		}
	}
	if p["active"] == w.Active {
		delete(p, "active")
	}
	if len(p) == 0 {
		return nil, nil
	}
	return []Draft{{Type: WebhookEdited, Subject: w.ID, Payload: p.with("reason", edit.Reason)}}, nil
}

// Delete decides that w is no more, and with it what waits to be sent. It returns
// [CodeInvalid].
func (w *Webhook) Delete(reason string) ([]Draft, error) {
	if err := checkText("reason", reason, MaxText); err != nil {
		return nil, err
	}
	return []Draft{{Type: WebhookDeleted, Subject: w.ID, Payload: Payload{}.with("reason", reason)}}, nil
}

// RotateSecret decides that w has another secret; the old one signs beside it for the time
// of grace. removed says that there is none any more, which only foreign formats allow.
// It returns [CodeInvalid].
func (w *Webhook) RotateSecret(grace time.Duration, removed bool, reason string) ([]Draft, error) {
	if err := checkText("reason", reason, MaxText); err != nil {
		return nil, err
	}
	if grace < 0 || grace > MaxRotationGrace {
		return nil, Errorf(CodeInvalid, "the old secret can sign for 0 s to %s beside the new one, not for %s", MaxRotationGrace, grace)
	}
	if removed && w.Format == FormatStandard {
		return nil, Errorf(CodeInvalid, "deliveries in Pedigree's own format are always signed").WithFix("pedigree webhook rotate %s", w.ID)
	}
	p := Payload{"grace_seconds": int64(grace / time.Second)}
	if removed {
		p["removed"] = true
	}
	return []Draft{{Type: WebhookSecretRotated, Subject: w.ID, Payload: p.with("reason", reason)}}, nil
}

// Wants says whether w sends e, which happened in the project with that id ("" for what
// belongs to none). It is asked of w as it was when e happened.
func (w *Webhook) Wants(e *Event, projectID string) bool {
	if !w.Active || e.Seq <= w.Seq || w.ProjectID != "" && w.ProjectID != projectID {
		return false
	}
	if len(w.Types) > 0 && !slices.ContainsFunc(w.Types, func(p string) bool { return matchesType(p, e.Type) }) {
		return false
	}
	return len(w.Models) == 0 || slices.ContainsFunc(w.Models, e.Concerns)
}

// Concerns says whether e is about a subject: it or, for a model, one of its versions is
// e's subject, or e refers to it. The parents of a version are not what its record is about.
func (e *Event) Concerns(subject string) bool {
	of := func(id string) bool {
		rest, ok := strings.CutPrefix(id, subject)
		return ok && strings.HasPrefix(rest, "/")
	}
	return e.Subject == subject || slices.Contains(e.Refs, subject) || of(e.Subject) ||
		!slices.Contains(LineageTypes, e.Type) && slices.ContainsFunc(e.Refs, of)
}

// LineageTypes are the types of events whose references are the parents of a version.
var LineageTypes = []EventType{VersionRegistered, VersionAmended}

// secretPrefix is in front of the secrets of Standard Webhooks.
const secretPrefix = "whsec_"

// NewWebhookSecret writes random bytes as a secret of Standard Webhooks.
func NewWebhookSecret(random []byte) string {
	return secretPrefix + base64.StdEncoding.EncodeToString(random)
}

// CheckWebhookSecret returns [CodeInvalid] for a secret that w's format does not allow:
// that of Standard Webhooks has 24 to 64 bytes, in base64 behind "whsec_"; one of MLflow
// is any text.
func CheckWebhookSecret(format WebhookFormat, secret string) error {
	if format != FormatStandard {
		return checkText("secret", secret, MaxURI)
	}
	_, err := WebhookKey(secret)
	return err
}

// WebhookKey is the key that a secret of Standard Webhooks stands for. It returns
// [CodeInvalid], and never repeats the secret.
func WebhookKey(secret string) ([]byte, error) {
	text, ok := strings.CutPrefix(secret, secretPrefix)
	key, err := base64.StdEncoding.DecodeString(text)
	if !ok || err != nil || len(key) < 24 || len(key) > 64 {
		return nil, Errorf(CodeInvalid, "the secret is none of Standard Webhooks: want %s and 24 to 64 bytes in base64", secretPrefix).
			WithFix("leave it out: the registry makes one")
	}
	return key, nil
}

// Notice is the body of a delivery in Pedigree's own format. It holds no free text: what
// was erased from the log since is not in anybody's mailbox.
type Notice struct {
	Type      EventType  `json:"type"`
	Timestamp time.Time  `json:"timestamp"`
	Data      NoticeData `json:"data"`
}

// NoticeData says what happened to what.
type NoticeData struct {
	// Seq is the event's number in the log: later events have greater ones.
	Seq     int64     `json:"seq"`
	Event   EventType `json:"event"`
	Actor   string    `json:"actor"`
	Subject string    `json:"subject"`
	Refs    []string  `json:"refs,omitempty"`
	// Project, Model and Version are what the event is about, by the names of that moment.
	Project ProjectName   `json:"project,omitempty"`
	Model   Name          `json:"model,omitempty"`
	Version VersionNumber `json:"version,omitempty"`
	Alias   Alias         `json:"alias,omitempty"`
	// Target, Deployment and Role are those of what happens at a target.
	Target     TargetName     `json:"target,omitempty"`
	Deployment string         `json:"deployment,omitempty"`
	Role       DeploymentRole `json:"role,omitempty"`
	// Targets are those that run a version as it is withdrawn, or have it waiting, by name.
	// They are of Project.
	Targets []TargetName `json:"targets,omitempty"`
	// Key is that of a tag.
	Key string `json:"key,omitempty"`
	// From and To are the names of a renaming.
	From Name `json:"from,omitempty"`
	To   Name `json:"to,omitempty"`
	// URL is where the whole event is.
	URL string `json:"url"`
}

// DeliveryState says how a delivery stands.
type DeliveryState string

// The states.
const (
	DeliveryPending   DeliveryState = "pending"   // waits for its turn, or to be tried again
	DeliveryDelivered DeliveryState = "delivered" // the receiver took it
	DeliveryDead      DeliveryState = "dead"      // given up; it can be delivered by hand
)

// WebhookDelivery is one event on its way to one receiver.
type WebhookDelivery struct {
	Webhook string `json:"webhook"`
	// Seq is the event's number.
	Seq int64 `json:"seq"`
	// MessageID is the same however often it is sent: receivers know a repetition by it.
	MessageID string        `json:"message_id"`
	Type      EventType     `json:"type"`
	Subject   string        `json:"subject"`
	State     DeliveryState `json:"state"`
	// Again says that it was asked for by hand: it then waits for no earlier event.
	Again     bool      `json:"again,omitempty"`
	Attempts  int       `json:"attempts"`
	CreatedAt time.Time `json:"created_at"`
	// FirstAt is when it was tried first, NextAt when it is tried again.
	FirstAt *time.Time `json:"first_at,omitempty"`
	NextAt  *time.Time `json:"next_at,omitempty"`
	// Last is the last attempt.
	Last *Attempt `json:"last,omitempty"`
}

// Attempt is one request to a receiver, and what became of it.
type Attempt struct {
	At       time.Time `json:"at"`
	Duration float64   `json:"duration_ms"`
	// Status is that of the answer, 0 where none came.
	Status int `json:"status,omitempty"`
	// Answer is the beginning of the answer's body.
	Answer string `json:"answer,omitempty"`
	// Error says why it failed; "" where it did not.
	Error string `json:"error,omitempty"`

	// RetryAfter is how long the receiver asks to wait.
	RetryAfter time.Duration `json:"-"`
}

// MaxAnswer is how much of a receiver's answer is kept, in bytes.
const MaxAnswer = 1024

// MessageID names the delivery of an event by a webhook.
func MessageID(webhook string, seq int64) string { return webhook + "-" + VersionNumber(seq).String() }

// The times between attempts: they double from the first to the longest, and after the
// last a delivery is given up.
const (
	firstRetry   = 5 * time.Second
	longestRetry = time.Hour
	// DeliverFor is how long a delivery is tried.
	DeliverFor = 72 * time.Hour
)

// gone is the status by which a receiver says that it wants nothing any more.
const gone = 410

// After decides what becomes of d after an attempt. chance is from 0 to 1: attempts of
// many deliveries shall not come at one moment. deactivate says that the receiver wants
// no more.
func (d *WebhookDelivery) After(a Attempt, chance float64) (next WebhookDelivery, deactivate bool) {
	next = *d
	next.Attempts++
	next.Last, next.NextAt = &a, nil
	if next.FirstAt == nil {
		next.FirstAt = &a.At
	}
	switch {
	case a.Error == "":
		next.State, next.Again = DeliveryDelivered, false
		return next, false
	case a.Status == gone:
		next.State, next.Again = DeliveryDead, false
		return next, true
	}
	wait := time.Duration(float64(firstRetry) * math.Exp2(float64(min(next.Attempts-1, 20))))
	wait = min(wait, longestRetry)
	wait = wait*4/5 + time.Duration(chance*float64(wait)*2/5) // a fifth more or less
	wait = max(wait, min(a.RetryAfter, longestRetry))
	at := a.At.Add(wait)
	if at.Sub(*next.FirstAt) > DeliverFor {
		next.State, next.Again = DeliveryDead, false
		return next, false
	}
	next.NextAt = &at
	return next, false
}

// Redeliver decides that d is sent again, by hand and at once. It returns [CodeRefused]
// for one that waits to be sent anyway and has not failed yet.
func (d *WebhookDelivery) Redeliver(now time.Time) (WebhookDelivery, error) {
	if d.State == DeliveryPending && d.Attempts == 0 {
		return *d, Errorf(CodeRefused, "event %d waits to be sent already", d.Seq).WithFix("pedigree webhook show %s", d.Webhook)
	}
	next := *d
	next.State, next.Again, next.Attempts = DeliveryPending, d.Again || d.State != DeliveryPending, 0
	next.FirstAt, next.NextAt = nil, &now
	return next, nil
}
