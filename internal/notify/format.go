package notify

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/internal/registrar"
)

// Format makes the requests of one [pedigree.WebhookFormat].
type Format interface {
	// Wants says whether a webhook wants an event, beyond what [pedigree.Webhook.Wants]
	// has said already.
	Wants(ctx context.Context, w *pedigree.Webhook, item *registrar.Item) (bool, error)
	// Body is the body of the delivery of an event. Asked again, it says the same, but for
	// what was erased since.
	Body(ctx context.Context, w *pedigree.Webhook, item *registrar.Item) ([]byte, error)
	// Example is a body for a test; event chooses what it pretends, "" leaves that to the
	// format. It returns [pedigree.CodeInvalid] for an event that the format does not know.
	Example(w *pedigree.Webhook, event string, now time.Time) ([]byte, error)
	// Sign sets the headers that name a message and prove where it comes from, with each
	// of the secrets.
	Sign(h http.Header, id string, at time.Time, body []byte, secrets []string) error
}

// standard is Pedigree's own format: a [pedigree.Notice], signed as Standard Webhooks
// says.
type standard struct {
	r *registrar.Registrar
	// base is where the API is, as receivers reach it; "" where nobody said.
	base string
}

func (standard) Wants(context.Context, *pedigree.Webhook, *registrar.Item) (bool, error) {
	return true, nil
}

func (s standard) Body(ctx context.Context, _ *pedigree.Webhook, item *registrar.Item) ([]byte, error) {
	scene, err := s.r.Scene(ctx, item)
	if err != nil {
		return nil, err
	}
	e := &item.Event
	data := pedigree.NoticeData{
		Seq: e.Seq, Event: e.Type, Actor: e.Actor, Subject: e.Subject, Refs: e.Refs,
		Project: scene.Project, Model: scene.Model, Version: scene.Version, Target: scene.Target, Deployment: scene.Deployment,
		Targets: scene.Targets,
		URL:     s.base + "/api/v1/log/events/" + strconv.FormatInt(e.Seq, 10),
	}
	switch e.Type { // names, numbers and keys: what can't be erased
	case pedigree.AliasMoved, pedigree.AliasRemoved:
		data.Alias = pedigree.Alias(e.String("alias"))
		if _, err := e.Decode("version", &data.Version); err != nil {
			return nil, err
		}
	case pedigree.ModelTagged, pedigree.ModelUntagged, pedigree.VersionTagged, pedigree.VersionUntagged:
		data.Key = e.String("key")
	case pedigree.DeploymentOpened, pedigree.DeploymentActivated:
		data.Role = pedigree.DeploymentRole(e.String("role"))
	case pedigree.ModelRenamed:
		data.From, data.To = pedigree.Name(e.String("from")), pedigree.Name(e.String("to"))
	}
	return marshal(pedigree.Notice{Type: e.Type, Timestamp: e.Time, Data: data})
}

// testEvent is the type of the notice of a test.
const testEvent = "webhook.test"

func (s standard) Example(w *pedigree.Webhook, event string, now time.Time) ([]byte, error) {
	if event != "" && event != testEvent {
		return nil, pedigree.Errorf(pedigree.CodeInvalid, "a test of this webhook is always %s", testEvent).WithFix("leave the event out")
	}
	return marshal(pedigree.Notice{Type: testEvent, Timestamp: now, Data: pedigree.NoticeData{
		Seq: w.Changed, Event: testEvent, Actor: pedigree.System.ID, Subject: w.ID, Project: w.Project,
		URL: s.base + "/api/v1/log/events/" + strconv.FormatInt(w.Changed, 10),
	}})
}

func (standard) Sign(h http.Header, id string, at time.Time, body []byte, secrets []string) error {
	if len(secrets) == 0 {
		return pedigree.Errorf(pedigree.CodeRefused, "the webhook has no secret: deliveries are never sent unsigned").WithFix("pedigree webhook rotate ID")
	}
	seconds := strconv.FormatInt(at.Unix(), 10)
	var signatures []string
	for _, secret := range secrets {
		key, err := pedigree.WebhookKey(secret)
		if err != nil {
			return err
		}
		signatures = append(signatures, "v1,"+Signature(key, id, seconds, body))
	}
	h.Set("Webhook-Id", id)
	h.Set("Webhook-Timestamp", seconds)
	h.Set("Webhook-Signature", strings.Join(signatures, " "))
	return nil
}

// Signature is the HMAC-SHA256, in base64, of id, time and body with dots between them.
func Signature(key []byte, id, seconds string, body []byte) string {
	mac := hmac.New(sha256.New, key)
	for _, part := range []string{id, ".", seconds, "."} {
		_, _ = mac.Write([]byte(part))
	}
	_, _ = mac.Write(body)
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}
