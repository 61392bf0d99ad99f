package pedigree

import (
	"encoding/json"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"
)

func TestReceivers(t *testing.T) {
	for _, tt := range []struct {
		allow, url string
		want       ErrorCode
	}{
		{"", "https://ci.example.org/hook?x=1", ""},
		{"", "https://ci.example.org:8443/hook", ""},
		{"", "http://ci.example.org/hook", CodeRefused},
		{"", "https://8.8.8.8/", ""},
		{"", "https://127.0.0.1/", CodeRefused},
		{"", "https://localhost/", CodeRefused},
		{"", "https://a.localhost/", CodeRefused},
		{"", "https://10.1.2.3/", CodeRefused},
		{"", "https://[::1]/", CodeRefused},
		{"", "https://[::ffff:10.0.0.1]/", CodeRefused},
		{"", "https://[64:ff9b::7f00:1]/", CodeRefused},
		{"", "https://[2002:7f00:1::]/", CodeRefused},
		{"", "https://[fe80::1%25eth0]/", CodeRefused},
		{"", "https://169.254.169.254/latest/meta-data", CodeRefused},
		{"", "https://168.63.129.16/", CodeRefused},
		{"", "https://100.100.100.200/", CodeRefused},
		{"", "ftp://example.org/", CodeInvalid},
		{"", "https:///path", CodeInvalid},
		{"", "example.org", CodeInvalid},
		{"", "https://user:password@example.org/", CodeInvalid},
		{"", "https://example.org/?token=abc", CodeInvalid},
		{"", "https://example.org/#x", CodeInvalid},
		{"", "https://example.org/" + strings.Repeat("x", MaxURI), CodeInvalid},
		{"", "https://exa mple.org/", CodeInvalid},
		{"127.0.0.1", "http://127.0.0.1:8080/", ""},
		{"127.0.0.1", "http://127.0.0.2:8080/", CodeRefused},
		{"10.0.0.0/8", "http://10.200.0.1/", ""},
		{"10.0.0.0/8", "http://ci.internal/", ""}, // what it stands for is looked at when it is dialled
		{"ci.internal", "http://ci.internal:8080/", ""},
		{"ci.internal", "http://CI.internal./", ""},
		{"ci.internal", "http://other.internal/", CodeRefused},
		{"*.internal", "http://a.b.internal/", ""},
		{"*.internal", "http://internal/", CodeRefused},
		{"*.internal", "http://evilinternal/", CodeRefused},
	} {
		r, err := ParseReceivers(tt.allow)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.CheckURL(tt.url); CodeOf(err) != tt.want {
			t.Errorf("%s with %q allowed: got %v, want %q", tt.url, tt.allow, err, tt.want)
		}
	}
	for _, bad := range []string{"http://x", "a b*c", "*.", "10.0.0.0/99", "user@host"} {
		if _, err := ParseReceivers(bad); CodeOf(err) != CodeInvalid {
			t.Errorf("%q: got %v", bad, err)
		}
	}
}

func TestReceiverAddresses(t *testing.T) {
	for _, tt := range []struct {
		allow, url, addr string
		want             ErrorCode
	}{
		{"", "https://ci.example.org", "93.184.216.34", ""},
		{"", "https://ci.example.org", "127.0.0.1", CodeRefused},
		{"", "https://ci.example.org", "::ffff:127.0.0.1", CodeRefused},
		{"", "https://ci.example.org", "fd00:ec2::254", CodeRefused},
		{"", "https://ci.example.org", "2606:2800:220:1::1", ""},
		{"10.0.0.0/8", "http://ci.internal", "10.1.1.1", ""},
		{"10.0.0.0/8", "http://ci.internal", "8.8.8.8", CodeRefused}, // without https only where it is allowed
		{"10.0.0.0/8", "https://ci.internal", "192.168.1.1", CodeRefused},
		{"ci.internal", "http://ci.internal", "192.168.1.1", ""},
	} {
		r, err := ParseReceivers(tt.allow)
		if err != nil {
			t.Fatal(err)
		}
		u, _ := url.Parse(tt.url)
		if err := r.CheckAddr(u, netip.MustParseAddr(tt.addr)); CodeOf(err) != tt.want {
			t.Errorf("%s at %s with %q allowed: got %v, want %q", tt.url, tt.addr, tt.allow, err, tt.want)
		}
	}
}

func TestCreateWebhook(t *testing.T) {
	good := "https://ci.example.org/hook"
	for _, tt := range []struct {
		name string
		spec WebhookEdit
		want ErrorCode
	}{
		{"OK", WebhookEdit{URL: &good, Types: &[]string{"alias.*", "version.registered"}}, ""},
		{"NoURL", WebhookEdit{}, CodeInvalid},
		{"BadType", WebhookEdit{URL: &good, Types: &[]string{"alias.move"}}, CodeInvalid},
		{"BadFamily", WebhookEdit{URL: &good, Types: &[]string{"alia*"}}, CodeInvalid},
		{"LongName", WebhookEdit{URL: &good, Name: new(strings.Repeat("x", maxWebhookName+1))}, CodeInvalid},
	} {
		drafts, err := CreateWebhook(Project{ID: "prj_1"}, "whk_1", FormatStandard, tt.spec, Receivers{})
		if CodeOf(err) != tt.want {
			t.Errorf("%s: got %v, want %q", tt.name, err, tt.want)
		}
		if err == nil && (len(drafts) != 1 || drafts[0].Payload["active"] != true || drafts[0].Payload["project"] != "prj_1") {
			t.Errorf("%s: got %+v", tt.name, drafts)
		}
	}
}

func TestEditWebhook(t *testing.T) {
	w := Webhook{ID: "whk_1", URL: "https://a.example.org", Types: []string{"alias.moved"}, Active: true, Format: FormatStandard}
	same := WebhookEdit{URL: &w.URL, Types: &[]string{"alias.moved", "alias.moved"}, Active: new(true), Name: new("")}
	if drafts, err := w.Edit(same, Receivers{}); err != nil || drafts != nil {
		t.Errorf("got %v, %v for no change", drafts, err)
	}
	drafts, err := w.Edit(WebhookEdit{Types: &[]string{}, Active: new(false), Reason: "quiet"}, Receivers{})
	if err != nil || len(drafts) != 1 || len(drafts[0].Payload) != 3 {
		t.Errorf("got %v, %v", drafts, err)
	}
	if _, err := w.Edit(WebhookEdit{URL: new("https://10.0.0.1")}, Receivers{}); CodeOf(err) != CodeRefused {
		t.Errorf("got %v", err)
	}
	if _, err := w.RotateSecret(-1, false, ""); CodeOf(err) != CodeInvalid {
		t.Errorf("got %v", err)
	}
	if _, err := w.RotateSecret(0, true, ""); CodeOf(err) != CodeInvalid {
		t.Errorf("a webhook without a secret: got %v", err)
	}
}

func TestWebhookWants(t *testing.T) {
	w := Webhook{Active: true, Seq: 5, ProjectID: "prj_1", Types: []string{"alias.*"}, Models: []string{"mdl_1"}}
	e := Event{Seq: 6, Type: AliasMoved, Subject: "mdl_1", Refs: []string{"mdl_1/3"}}
	if !w.Wants(&e, "prj_1") {
		t.Error("it wants the move of an alias")
	}
	for name, change := range map[string]func(w *Webhook, e *Event){
		"Inactive":     func(w *Webhook, _ *Event) { w.Active = false },
		"BeforeIt":     func(_ *Webhook, e *Event) { e.Seq = 5 },
		"OtherProject": func(w *Webhook, _ *Event) { w.ProjectID = "prj_2" },
		"OtherType":    func(_ *Webhook, e *Event) { e.Type = ModelTagged },
		"OtherModel":   func(_ *Webhook, e *Event) { e.Subject, e.Refs = "mdl_11/1", nil },
	} {
		w, e := w, e
		if change(&w, &e); w.Wants(&e, "prj_1") {
			t.Errorf("%s: wanted", name)
		}
	}
	e.Subject = "mdl_1/7"
	if !w.Wants(&e, "prj_1") {
		t.Error("a version belongs to its model")
	}
	e.Type, e.Subject, e.Refs = DeploymentActivated, "dep_1", []string{"tgt_1", "mdl_1/7"}
	if w.Types = nil; !w.Wants(&e, "prj_1") {
		t.Error("so does the deployment of a version")
	}
	e.Type, e.Subject, e.Refs = VersionRegistered, "mdl_2/1", []string{"mdl_1/7"}
	if w.Wants(&e, "prj_1") {
		t.Error("what is made from a version is another model's")
	}
	e.Type, e.Subject, w.Types = AliasMoved, "mdl_1/7", []string{"alias.*"}
	w.ProjectID, w.Models = "", nil
	if !w.Wants(&e, "") {
		t.Error("one of the instance wants what belongs to no project")
	}
}

// TestDeliveryAfter goes through the life of a delivery that never succeeds.
func TestDeliveryAfter(t *testing.T) {
	now := time.Date(2026, 11, 24, 3, 0, 0, 0, time.UTC)
	d := WebhookDelivery{State: DeliveryPending}
	begin := now
	var waits []time.Duration
	for d.State == DeliveryPending {
		next, gone := d.After(Attempt{At: now, Status: 500, Error: "no"}, 0.5)
		if gone {
			t.Fatal("gone")
		}
		if next.NextAt != nil {
			waits = append(waits, next.NextAt.Sub(now))
			now = *next.NextAt
		}
		d = next
	}
	if d.State != DeliveryDead || d.NextAt != nil || now.Sub(begin) > DeliverFor || now.Sub(begin) < DeliverFor-time.Hour {
		t.Errorf("got %+v after %s", d, now.Sub(begin))
	}
	if waits[0] != 5*time.Second || waits[3] != 40*time.Second || waits[len(waits)-1] != time.Hour || len(waits) < 75 || len(waits) > 85 {
		t.Errorf("%d waits: %v", len(waits), waits[:12])
	}
	for _, tt := range []struct {
		a      Attempt
		chance float64
		state  DeliveryState
		wait   time.Duration
		gone   bool
	}{
		{Attempt{Status: 204}, 0, DeliveryDelivered, 0, false},
		{Attempt{Status: 410, Error: "gone"}, 0, DeliveryDead, 0, true},
		{Attempt{Error: "timeout"}, 0, DeliveryPending, 4 * time.Second, false},
		{Attempt{Error: "timeout"}, 1, DeliveryPending, 6 * time.Second, false},
		{Attempt{Status: 503, Error: "busy", RetryAfter: 10 * time.Minute}, 0, DeliveryPending, 10 * time.Minute, false},
		{Attempt{Status: 429, Error: "busy", RetryAfter: 24 * time.Hour}, 0, DeliveryPending, time.Hour, false},
	} {
		tt.a.At = now
		first := WebhookDelivery{State: DeliveryPending, Again: true}
		next, gone := first.After(tt.a, tt.chance)
		if next.State != tt.state || gone != tt.gone || next.Attempts != 1 || next.Again != (tt.state == DeliveryPending) {
			t.Errorf("%+v: got %+v, %v", tt.a, next, gone)
		}
		if tt.wait > 0 && next.NextAt.Sub(now) != tt.wait {
			t.Errorf("%+v: next after %s, want %s", tt.a, next.NextAt.Sub(now), tt.wait)
		}
	}
}

func TestRedeliver(t *testing.T) {
	now := time.Now()
	if _, err := (&WebhookDelivery{State: DeliveryPending}).Redeliver(now); CodeOf(err) != CodeRefused {
		t.Errorf("got %v", err)
	}
	for _, d := range []WebhookDelivery{{State: DeliveryPending, Attempts: 3}, {State: DeliveryDead, Attempts: 80}, {State: DeliveryDelivered, Attempts: 1}} {
		next, err := d.Redeliver(now)
		if err != nil || next.State != DeliveryPending || next.Attempts != 0 || !next.NextAt.Equal(now) || next.Again != (d.State != DeliveryPending) {
			t.Errorf("%+v: got %+v, %v", d, next, err)
		}
	}
}

func TestWebhookSecret(t *testing.T) {
	secret := NewWebhookSecret(make([]byte, 32))
	if key, err := WebhookKey(secret); err != nil || len(key) != 32 {
		t.Errorf("got %v, %v", key, err)
	}
	for _, bad := range []string{"", "whsec_", "whsec_AAAA", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", "whsec_!" + strings.Repeat("A", 40)} {
		err := CheckWebhookSecret(FormatStandard, bad)
		if CodeOf(err) != CodeInvalid {
			t.Errorf("%q: got %v", bad, err)
		}
		if len(bad) > 8 && strings.Contains(err.Error(), bad) {
			t.Errorf("the message repeats the secret: %v", err)
		}
	}
	if err := CheckWebhookSecret(FormatMLflow, "any text"); err != nil {
		t.Error(err)
	}
}

// TestNotice pins the wire form, which receivers rely on.
func TestNotice(t *testing.T) {
	n := Notice{Type: AliasMoved, Timestamp: time.Date(2026, 11, 24, 3, 0, 0, 0, time.UTC), Data: NoticeData{
		Seq: 12, Event: AliasMoved, Actor: "local", Subject: "mdl_1", Refs: []string{"mdl_1/7"}, Project: "risk", Model: "fraud", Version: 7, Alias: "production", URL: "/api/v1/log/events/12",
	}}
	b, err := json.Marshal(n)
	const want = `{"type":"alias.moved","timestamp":"2026-11-24T03:00:00Z","data":{"seq":12,"event":"alias.moved","actor":"local","subject":"mdl_1","refs":["mdl_1/7"],"project":"risk","model":"fraud","version":7,"alias":"production","url":"/api/v1/log/events/12"}}`
	if err != nil || string(b) != want {
		t.Errorf("got %s, want %s", b, want)
	}
}
