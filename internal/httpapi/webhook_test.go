package httpapi_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/client"
)

// testWebhooks goes through the life of webhooks, of a project and of the instance, with a
// real receiver.
func testWebhooks(t *testing.T, r *registry) {
	ctx := t.Context()
	r.deliver()
	var mu sync.Mutex
	var got []pedigree.Notice
	status := http.StatusOK
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, _ := io.ReadAll(req.Body)
		var n pedigree.Notice
		_ = json.Unmarshal(body, &n)
		mu.Lock()
		defer mu.Unlock()
		got = append(got, n)
		w.WriteHeader(status)
	}))
	t.Cleanup(receiver.Close)
	for _, project := range []pedigree.ProjectName{"default", ""} {
		_, err := r.CreateWebhook(ctx, project, client.NewWebhook{URL: "http://10.0.0.1/"})
		wantCode(t, err, pedigree.CodeRefused)
		_, err = r.CreateWebhook(ctx, project, client.NewWebhook{URL: receiver.URL, Models: []string{"nobody"}})
		wantCode(t, err, pedigree.CodeNotFound)
		_, err = r.CreateWebhook(ctx, project, client.NewWebhook{URL: receiver.URL, Types: []string{"alias.move"}})
		wantCode(t, err, pedigree.CodeInvalid)
		_, err = r.CreateWebhook(ctx, project, client.NewWebhook{URL: receiver.URL, Secret: "hunter2"})
		wantCode(t, err, pedigree.CodeInvalid)
		hook := must(r.CreateWebhook(ctx, project, client.NewWebhook{URL: receiver.URL, Name: "ci", Types: []string{"alias.*"}, Models: []string{"churn"}}))(t)
		if hook.Project != project || !hook.Active || !strings.HasPrefix(hook.Secret, "whsec_") || len(hook.Models) != 1 || !strings.HasPrefix(hook.Models[0], "mdl_") {
			t.Fatalf("got %+v", hook)
		}
		_, err = r.Webhook(ctx, "risk", hook.ID)
		wantCode(t, err, pedigree.CodeNotFound)
		attempt := must(r.TestWebhook(ctx, project, hook.ID))(t)
		if attempt.Status != 200 || attempt.Error != "" {
			t.Fatalf("got %+v", attempt)
		}
		must(r.SetAlias(ctx, ref(t, "churn/1"), "watched"+pedigree.Alias(project), nil, ""))(t)
		var list pedigree.List[pedigree.WebhookDelivery]
		for deadline := time.Now().Add(20 * time.Second); len(list.Items) == 0 || list.Items[0].State != pedigree.DeliveryDelivered; time.Sleep(5 * time.Millisecond) {
			if list = must(r.Deliveries(ctx, project, hook.ID, "", pedigree.Page{}))(t); time.Now().After(deadline) {
				t.Fatalf("got deliveries %+v", list)
			}
		}
		mu.Lock()
		first, second := got[0], got[1]
		got = nil
		mu.Unlock()
		if first.Type != "webhook.test" || second.Type != pedigree.AliasMoved || second.Data.Model != "churn" || second.Data.Seq != list.Items[0].Seq ||
			!strings.HasPrefix(second.Data.URL, "https://models.example.org/api/v1/log/events/") {
			t.Fatalf("got %+v and %+v", first, second)
		}
		d := must(r.Redeliver(ctx, project, hook.ID, second.Data.Seq))(t)
		if d.State != pedigree.DeliveryPending || !d.Again {
			t.Fatalf("got %+v", d)
		}
		for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
			mu.Lock()
			n := len(got)
			got = nil
			mu.Unlock()
			if n > 0 {
				break
			}
			if time.Now().After(deadline) {
				t.Fatal("the redelivery did not come")
			}
		}
		_, err = r.Redeliver(ctx, project, hook.ID, 1)
		wantCode(t, err, pedigree.CodeNotFound)
		no, stale := false, hook.Changed-1
		_, err = r.EditWebhook(ctx, project, hook.ID, pedigree.WebhookEdit{Active: &no}, &stale)
		wantCode(t, err, pedigree.CodePrecondition)
		edited := must(r.EditWebhook(ctx, project, hook.ID, pedigree.WebhookEdit{Active: &no, Types: &[]string{}}, &hook.Changed))(t)
		if edited.Active || len(edited.Types) != 0 || edited.Secret != "" || edited.Changed <= hook.Changed {
			t.Fatalf("got %+v", edited)
		}
		rotated := must(r.RotateWebhookSecret(ctx, project, hook.ID, time.Hour, "leaked"))(t)
		if rotated.Secret == hook.Secret || rotated.Secret == "" {
			t.Fatal("the secret was not rotated")
		}
		read := must(r.Webhook(ctx, project, hook.ID))(t)
		if read.Queue == nil || read.Secret != "" || !read.Signed || read.Name != "ci" {
			t.Fatalf("got %+v", read)
		}
		if list := must(r.Webhooks(ctx, project, pedigree.Page{}))(t); len(list.Items) != 1 || list.Items[0].ID != hook.ID {
			t.Fatalf("got %+v", list)
		}
		if list := must(r.AllWebhooks(ctx, pedigree.Page{}))(t); len(list.Items) == 0 || list.Items[0].ID != hook.ID {
			t.Fatalf("got %+v", list)
		}
		_, err = r.Deliveries(ctx, project, hook.ID, "lost", pedigree.Page{})
		wantCode(t, err, pedigree.CodeInvalid)
		if err := r.DeleteWebhook(ctx, project, hook.ID, "over"); err != nil {
			t.Fatal(err)
		}
		_, err = r.Webhook(ctx, project, hook.ID)
		wantCode(t, err, pedigree.CodeNotFound)
		_, err = r.Deliveries(ctx, project, hook.ID, "", pedigree.Page{})
		wantCode(t, err, pedigree.CodeNotFound)
	}
}
