package notify

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	mathrand "math/rand/v2"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/internal/blob"
	"github.com/pedigree-ml/pedigree/internal/ledger"
	"github.com/pedigree-ml/pedigree/internal/pgtest"
	"github.com/pedigree-ml/pedigree/internal/registrar"
	"github.com/pedigree-ml/pedigree/internal/sqlstore"
)

var me = pedigree.Local

// testKey signs the logs of these tests.
var testKey = func() string {
	key, _, err := ledger.NewKey(rand.Reader, "pedigree/test")
	if err != nil {
		panic(err)
	}
	return key
}()

func newID(prefix string) string {
	var b [16]byte
	_, _ = rand.Read(b[:])
	return prefix + "_" + hex.EncodeToString(b[:])
}

func eachDatabase(t *testing.T, f func(t *testing.T, database string)) {
	t.Helper()
	t.Run("sqlite", func(t *testing.T) { f(t, filepath.Join(t.TempDir(), "pedigree.db")) })
	t.Run("postgres", func(t *testing.T) { f(t, pgtest.Database(t)) })
}

// allowed lets webhooks go to the receivers of these tests.
const allowed = "127.0.0.1"

// mustRegistrar opens a registry. Its clock is the real one.
func mustRegistrar(t testing.TB, database, allow string) *registrar.Registrar {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	store, err := sqlstore.Open(context.Background(), sqlstore.Config{Database: database, Now: time.Now, Rand: rand.Reader, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	receivers, err := pedigree.ParseReceivers(allow)
	if err != nil {
		t.Fatal(err)
	}
	r, err := registrar.Open(context.Background(), registrar.Config{
		Store: store, Blobs: blob.NewMemory(), NewID: newID, Now: time.Now, Rand: rand.Reader, Secret: "the operator's", Receivers: receivers,
		Signer: func() (*ledger.Signer, error) { return ledger.NewSigner(testKey) },
	})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// clock is a clock that a test moves.
type clock struct {
	mu     sync.Mutex
	now    time.Time
	alarms []alarm
}

type alarm struct {
	at time.Time
	c  chan time.Time
}

// newClock begins with the present, so that events are not of its future.
func newClock() *clock { return &clock{now: time.Now()} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) After(d time.Duration) <-chan time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := make(chan time.Time, 1)
	if d <= 0 {
		out <- c.now
		return out
	}
	c.alarms = append(c.alarms, alarm{c.now.Add(d), out})
	return out
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
	c.alarms = slices.DeleteFunc(c.alarms, func(a alarm) bool {
		if a.at.After(c.now) {
			return false
		}
		a.c <- c.now
		return true
	})
}

// process is a notifier that runs.
type process struct {
	*Notifier
	stop func()
}

// run starts a notifier on a registry; change may change its configuration.
func run(t testing.TB, r *registrar.Registrar, c *clock, change func(*Notifier)) *process {
	t.Helper()
	log := slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelError}))
	feed := NewFeed(r, 20*time.Millisecond, log)
	n := New(Config{Registrar: r, Feed: feed, Log: log, Owner: newID("srv"), Now: c.Now, After: c.After, Agent: "test", Lease: 600 * time.Millisecond, Timeout: 2 * time.Second})
	if change != nil {
		change(n)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var group sync.WaitGroup
	group.Go(func() { feed.Run(ctx) })
	group.Go(func() { n.Run(ctx, time.Second) })
	p := &process{n, sync.OnceFunc(func() { cancel(); group.Wait() })}
	t.Cleanup(p.stop)
	return p
}

// receiver is a real HTTP server that keeps what it gets.
type receiver struct {
	*httptest.Server
	mu       sync.Mutex
	requests []received
	// answer decides the status of an answer; nil answers 200.
	answer func(n *pedigree.Notice, w http.ResponseWriter) int
}

type received struct {
	pedigree.Notice
	id     string
	took   bool // answered with 2xx
	header http.Header
	body   []byte
}

func newReceiver(t testing.TB) *receiver {
	rc := &receiver{}
	rc.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost {
			http.NotFound(w, r) // somebody else's, who waits for a server on this port
			return
		}
		body, _ := io.ReadAll(r.Body)
		got := received{id: r.Header.Get("webhook-id"), header: r.Header.Clone(), body: body}
		if err := json.Unmarshal(body, &got.Notice); err != nil {
			t.Errorf("body %q: %v", body, err)
		}
		rc.mu.Lock()
		answer := rc.answer
		rc.mu.Unlock()
		status := http.StatusOK
		if answer != nil {
			status = answer(&got.Notice, w)
		}
		got.took = status < 300
		rc.mu.Lock()
		rc.requests = append(rc.requests, got)
		rc.mu.Unlock()
		w.WriteHeader(status)
		fmt.Fprint(w, "thanks")
	}))
	t.Cleanup(rc.Close)
	return rc
}

func (rc *receiver) set(answer func(*pedigree.Notice, http.ResponseWriter) int) {
	rc.mu.Lock()
	defer rc.mu.Unlock()
	rc.answer = answer
}

func (rc *receiver) all() []received {
	rc.mu.Lock()
	defer rc.mu.Unlock()
	return slices.Clone(rc.requests)
}

// taken are the requests that were answered with 2xx.
func (rc *receiver) taken() []received {
	return slices.DeleteFunc(rc.all(), func(r received) bool { return !r.took })
}

// waitFor waits until f says yes.
func waitFor(t testing.TB, what string, f func() bool) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for !f() {
		if time.Now().After(deadline) {
			t.Fatalf("waited 30 s for %s", what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

func mustWebhook(t testing.TB, r *registrar.Registrar, project pedigree.ProjectName, url string, change func(*registrar.NewWebhook)) pedigree.Webhook {
	t.Helper()
	spec := registrar.NewWebhook{Format: pedigree.FormatStandard}
	spec.URL = &url
	if change != nil {
		change(&spec)
	}
	w, err := r.CreateWebhook(context.Background(), me, project, spec)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func mustModel(t testing.TB, r *registrar.Registrar, name pedigree.Name) pedigree.Model {
	t.Helper()
	m, err := r.CreateModel(context.Background(), me, "default", name, pedigree.ModelEdit{})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func mustTag(t testing.TB, r *registrar.Registrar, name pedigree.Name, key, value string) int64 {
	t.Helper()
	m, err := r.EditModel(context.Background(), me, "default", name, pedigree.ModelEdit{Tags: map[string]string{key: value}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return m.Changed
}

func tagTypes(spec *registrar.NewWebhook) { spec.Types = &[]string{string(pedigree.ModelTagged)} }

// TestDelivery: an event arrives, signed as Standard Webhooks says, with both secrets after
// a rotation; what is not wanted does not arrive.
func TestDelivery(t *testing.T) {
	eachDatabase(t, func(t *testing.T, database string) {
		r, rc, ctx := mustRegistrar(t, database, allowed), newReceiver(t), context.Background()
		fraud := mustModel(t, r, "fraud")
		mustModel(t, r, "churn")
		if _, err := r.CreateProject(ctx, me, "risk", ""); err != nil {
			t.Fatal(err)
		}
		hook := mustWebhook(t, r, "default", rc.URL, func(spec *registrar.NewWebhook) {
			spec.Types, spec.Models = &[]string{"alias.*", "version.registered"}, &[]string{"fraud"}
		})
		other := newReceiver(t)
		mustWebhook(t, r, "", other.URL, nil) // everything, of the whole instance
		run(t, r, newClock(), nil)
		for _, name := range []pedigree.Name{"fraud", "churn"} {
			if _, err := r.Register(ctx, me, "default", name, pedigree.Registration{Aliases: []pedigree.Alias{"production"}}); err != nil {
				t.Fatal(err)
			}
		}
		waitFor(t, "all deliveries", func() bool { return len(rc.taken()) >= 2 && len(other.taken()) >= 4 })
		got := rc.taken()
		if len(got) != 2 || len(other.taken()) != 4 {
			t.Fatalf("got %d and %d requests", len(got), len(other.taken()))
		}
		slices.SortFunc(got, func(a, b received) int { return int(a.Data.Seq - b.Data.Seq) })
		reg, move := got[0], got[1]
		if reg.Type != pedigree.VersionRegistered || reg.Data.Model != "fraud" || reg.Data.Version != 1 || reg.Data.Subject != fraud.ID+"/1" || reg.Data.Project != "default" {
			t.Errorf("got %+v", reg.Notice)
		}
		if move.Data.Alias != "production" || move.Data.Version != 1 || move.Data.URL != "/api/v1/log/events/"+strconv.FormatInt(move.Data.Seq, 10) || move.Timestamp.IsZero() {
			t.Errorf("got %+v", move.Notice)
		}
		checkSignature(t, reg, hook.Secret)

		next, err := r.RotateWebhookSecret(ctx, me, "default", hook.ID, "", false, time.Hour, "")
		if err != nil {
			t.Fatal(err)
		}
		if next.Secret == hook.Secret {
			t.Fatal("the secret is the same")
		}
		if _, err := r.SetAlias(ctx, me, pedigree.Reference{Project: "default", Model: "fraud", Version: 1}, "shadow", nil, ""); err != nil {
			t.Fatal(err)
		}
		waitFor(t, "a delivery", func() bool { return len(rc.taken()) == 3 })
		last := rc.taken()[2]
		checkSignature(t, last, hook.Secret)
		checkSignature(t, last, next.Secret)

		read, err := r.Webhook(ctx, me, "default", hook.ID)
		if err != nil || read.Secret != "" || !read.Signed {
			t.Fatalf("got %+v, %v", read, err)
		}
		waitFor(t, "the outcome", func() bool {
			list, err := r.Deliveries(ctx, me, "default", hook.ID, pedigree.DeliveryDelivered, pedigree.Page{})
			return err == nil && len(list.Items) == 3 && list.Items[0].Last.Status == 200 && list.Items[0].Last.Answer == "thanks" && list.Items[0].Attempts == 1
		})
	})
}

// TestDeploymentNotice: a webhook of a model hears of its deployments, with the names by
// which somebody can act.
func TestDeploymentNotice(t *testing.T) {
	eachDatabase(t, func(t *testing.T, database string) {
		r, rc, ctx := mustRegistrar(t, database, allowed), newReceiver(t), context.Background()
		for _, name := range []pedigree.Name{"fraud", "churn"} {
			mustModel(t, r, name)
			if _, err := r.Register(ctx, me, "default", name, pedigree.Registration{}); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := r.CreateTarget(ctx, me, "default", "prod/fraud-api", pedigree.TargetSpec{Kind: pedigree.TargetOnline, Alias: "production", Confirm: pedigree.ConfirmReport}); err != nil {
			t.Fatal(err)
		}
		mustWebhook(t, r, "default", rc.URL, func(spec *registrar.NewWebhook) { spec.Models = &[]string{"fraud"} })
		run(t, r, newClock(), nil)
		var ids []string
		for _, name := range []pedigree.Name{"churn", "fraud"} {
			d, err := r.Deploy(ctx, me, pedigree.Reference{Project: "default", Model: name, Version: 1}, "prod/fraud-api", pedigree.Deploy{}, nil)
			if err != nil {
				t.Fatal(err)
			}
			ids = append(ids, d.ID)
		}
		if _, err := r.ReportDeployment(ctx, me, ids[1], pedigree.DeploymentReport{State: pedigree.DeploymentActive}); err != nil {
			t.Fatal(err)
		}
		if _, err := r.EndDeployment(ctx, me, ids[1], ""); err != nil {
			t.Fatal(err)
		}
		waitFor(t, "all deliveries", func() bool { return len(rc.taken()) == 4 })
		want := map[pedigree.EventType]pedigree.NoticeData{
			pedigree.DeploymentOpened:    {Role: pedigree.RolePrimary},
			pedigree.DeploymentActivated: {Role: pedigree.RolePrimary},
			pedigree.AliasMoved:          {Alias: "production"},
			pedigree.DeploymentEnded:     {},
		}
		for _, got := range rc.taken() {
			d := got.Data
			w, ok := want[got.Type]
			if !ok || d.Project != "default" || d.Model != "fraud" || d.Version != 1 || d.Deployment != ids[1] || d.Role != w.Role || d.Alias != w.Alias {
				t.Errorf("got %s: %+v", got.Type, d)
			}
			if d.Target != "prod/fraud-api" && got.Type != pedigree.AliasMoved {
				t.Errorf("%s names no target: %+v", got.Type, d)
			}
			delete(want, got.Type)
		}
	})
}

// TestWithdrawalNotice: who hears that a version is barred hears where it ran at that moment,
// whatever was deployed there until the notice is sent.
func TestWithdrawalNotice(t *testing.T) {
	eachDatabase(t, func(t *testing.T, database string) {
		r, rc, ctx := mustRegistrar(t, database, allowed), newReceiver(t), context.Background()
		version := func(n pedigree.VersionNumber) pedigree.Reference {
			return pedigree.Reference{Project: "default", Model: "fraud", Version: n}
		}
		deploy := func(n pedigree.VersionNumber, target pedigree.TargetName, role pedigree.DeploymentRole) {
			t.Helper()
			if _, err := r.Deploy(ctx, me, version(n), target, pedigree.Deploy{Role: role}, nil); err != nil {
				t.Fatal(err)
			}
		}
		mustModel(t, r, "fraud")
		for range 2 {
			if _, err := r.Register(ctx, me, "default", "fraud", pedigree.Registration{}); err != nil {
				t.Fatal(err)
			}
		}
		for name, confirm := range map[pedigree.TargetName]pedigree.Confirm{
			"prod/api": pedigree.ConfirmNone, "prod/batch": pedigree.ConfirmReport, "prod/old": pedigree.ConfirmNone, "prod/other": pedigree.ConfirmNone, "stage/api": pedigree.ConfirmNone,
		} {
			if _, err := r.CreateTarget(ctx, me, "default", name, pedigree.TargetSpec{Kind: pedigree.TargetOnline, Confirm: confirm}); err != nil {
				t.Fatal(err)
			}
		}
		mustWebhook(t, r, "default", rc.URL, func(spec *registrar.NewWebhook) {
			spec.Types = &[]string{"version.withdrawn", "version.reinstated"}
		})
		deploy(1, "prod/old", pedigree.RolePrimary)
		deploy(2, "prod/old", pedigree.RolePrimary) // it ran there, and does no more
		deploy(2, "prod/other", pedigree.RolePrimary)
		deploy(1, "stage/api", pedigree.RoleCanary)
		deploy(1, "prod/batch", pedigree.RolePrimary) // it waits
		deploy(1, "prod/api", pedigree.RolePrimary)
		deploy(1, "prod/api", pedigree.RoleShadow) // twice at one target
		if _, err := r.Withdraw(ctx, me, version(1), "wrong features", ""); err != nil {
			t.Fatal(err)
		}
		deploy(2, "prod/api", pedigree.RolePrimary)
		if _, err := r.RestoreVersion(ctx, me, version(1), ""); err != nil {
			t.Fatal(err)
		}
		run(t, r, newClock(), nil)
		waitFor(t, "both deliveries", func() bool { return len(rc.taken()) == 2 })
		want := map[pedigree.EventType][]pedigree.TargetName{
			pedigree.VersionWithdrawn: {"prod/api", "prod/batch", "stage/api"}, pedigree.VersionReinstated: nil,
		}
		for _, got := range rc.taken() {
			if d := got.Data; d.Project != "default" || d.Model != "fraud" || d.Version != 1 || !slices.Equal(d.Targets, want[got.Type]) {
				t.Errorf("got %s: %+v, want targets %v", got.Type, d, want[got.Type])
			}
		}
	})
}

func checkSignature(t testing.TB, got received, secret string) {
	t.Helper()
	key, err := pedigree.WebhookKey(secret)
	if err != nil {
		t.Fatal(err)
	}
	want := "v1," + Signature(key, got.id, got.header.Get("webhook-timestamp"), got.body)
	if !slices.Contains(strings.Fields(got.header.Get("webhook-signature")), want) {
		t.Errorf("signature %q is not %q", got.header.Get("webhook-signature"), want)
	}
	if got.id == "" || got.header.Get("Content-Type") != "application/json" {
		t.Errorf("got headers %v", got.header)
	}
}

// TestSecretsAtRest: the database does not hold a secret that can be read.
func TestSecretsAtRest(t *testing.T) {
	r := mustRegistrar(t, filepath.Join(t.TempDir(), "pedigree.db"), allowed)
	w := mustWebhook(t, r, "", "https://receiver.example.org", nil)
	secrets, err := r.WebhookSecrets(context.Background(), w.ID, time.Now())
	if err != nil || len(secrets) != 1 || secrets[0] != w.Secret || !strings.HasPrefix(w.Secret, "whsec_") {
		t.Fatalf("got %v, %v", len(secrets), err)
	}
	list, _, err := r.Items(context.Background(), pedigree.EventQuery{After: -1, Types: []pedigree.EventType{pedigree.WebhookCreated}})
	if err != nil {
		t.Fatal(err)
	}
	if b, _ := json.Marshal(list[0].Entry); strings.Contains(string(b), w.Secret) {
		t.Fatal("the log holds the secret")
	}
}

// TestDownForAnHour: a receiver is down for an hour. Nothing is lost, nothing doubled, and
// what is of one subject comes in order; another webhook does not wait.
func TestDownForAnHour(t *testing.T) {
	eachDatabase(t, func(t *testing.T, database string) {
		r, c := mustRegistrar(t, database, allowed), newClock()
		rc, healthy := newReceiver(t), newReceiver(t)
		rc.set(func(*pedigree.Notice, http.ResponseWriter) int { return http.StatusServiceUnavailable })
		names := []pedigree.Name{"a", "b", "c", "d", "e", "f"}
		for _, name := range names {
			mustModel(t, r, name)
		}
		hook := mustWebhook(t, r, "default", rc.URL, tagTypes)
		mustWebhook(t, r, "default", healthy.URL, tagTypes)
		run(t, r, c, nil)
		const rounds = 10
		var want []int64
		for i := range rounds {
			for _, name := range names {
				want = append(want, mustTag(t, r, name, "round", strconv.Itoa(i)))
			}
			for range 36 { // six minutes
				c.advance(10 * time.Second)
				time.Sleep(time.Millisecond)
			}
		}
		waitFor(t, "the healthy one", func() bool { return len(healthy.taken()) == len(want) })
		if n := len(rc.taken()); n != 0 {
			t.Fatalf("%d deliveries while the receiver was down", n)
		}
		tries := len(rc.all())
		if tries > 200 {
			t.Errorf("a receiver that was down for an hour was asked %d times", tries)
		}
		q, err := r.Webhook(context.Background(), me, "default", hook.ID)
		if err != nil || q.Queue.Pending != int64(len(want)) || q.Queue.Dead != 0 || q.Queue.Oldest == nil {
			t.Fatalf("got queue %+v, %v", q.Queue, err)
		}
		rc.set(nil)
		waitFor(t, "the rest", func() bool {
			c.advance(20 * time.Second)
			return len(rc.taken()) >= len(want)
		})
		checkDeliveries(t, rc.taken(), want, true)
		waitFor(t, "an empty queue", func() bool {
			q, err := r.Webhook(context.Background(), me, "default", hook.ID)
			return err == nil && q.Queue.Pending == 0
		})
	})
}

// checkDeliveries: each of the events came (once, if exactly), and those of one subject in
// order of their first coming.
func checkDeliveries(t testing.TB, got []received, want []int64, exactly bool) {
	t.Helper()
	seen := map[int64]string{}
	last := map[string]int64{}
	for _, g := range got {
		if id, again := seen[g.Data.Seq]; again {
			if exactly {
				t.Errorf("event %d came twice", g.Data.Seq)
			}
			if id != g.id {
				t.Errorf("event %d came as %s and as %s", g.Data.Seq, id, g.id)
			}
			continue
		}
		seen[g.Data.Seq] = g.id
		if g.Data.Seq < last[g.Data.Subject] {
			t.Errorf("event %d of %s came after %d", g.Data.Seq, g.Data.Subject, last[g.Data.Subject])
		}
		last[g.Data.Subject] = g.Data.Seq
	}
	for _, seq := range want {
		if seen[seq] == "" {
			t.Errorf("event %d did not come", seq)
		}
	}
	if len(seen) != len(want) {
		t.Errorf("%d events came, want %d", len(seen), len(want))
	}
}

// TestOneSubjectHeldBack: the receiver refuses the events of one subject; those of others
// pass, and the refused ones are given up after three days, one after the other.
func TestOneSubjectHeldBack(t *testing.T) {
	r, rc, c := mustRegistrar(t, filepath.Join(t.TempDir(), "pedigree.db"), allowed), newReceiver(t), newClock()
	bad := mustModel(t, r, "bad")
	mustModel(t, r, "good")
	rc.set(func(n *pedigree.Notice, _ http.ResponseWriter) int {
		if n.Data.Subject == bad.ID {
			return http.StatusBadRequest
		}
		return http.StatusNoContent
	})
	hook := mustWebhook(t, r, "default", rc.URL, tagTypes)
	p := run(t, r, c, nil)
	first := mustTag(t, r, "bad", "k", "1")
	second := mustTag(t, r, "bad", "k", "2")
	for i := range 5 {
		mustTag(t, r, "good", "k", strconv.Itoa(i))
	}
	waitFor(t, "the others", func() bool { return len(rc.taken()) == 5 })
	for _, g := range rc.all() {
		if g.Data.Seq == second {
			t.Fatal("an event overtook an earlier one of its subject")
		}
	}
	ctx := context.Background()
	dead := func(n int) func() bool {
		return func() bool {
			c.advance(30 * time.Minute)
			list, err := r.Deliveries(ctx, me, "default", hook.ID, pedigree.DeliveryDead, pedigree.Page{})
			return err == nil && len(list.Items) == n
		}
	}
	waitFor(t, "the first to be given up", dead(1))
	waitFor(t, "the second to be given up", dead(2))
	list, _ := r.Deliveries(ctx, me, "default", hook.ID, pedigree.DeliveryDead, pedigree.Page{})
	if d := list.Items[1]; d.Seq != first || d.Last.Status != 400 || d.Attempts < 2 || d.Attempts > 110 || d.NextAt != nil {
		t.Fatalf("got %+v %+v", d, d.Last)
	}
	if n := p.Counts(); n.Dead != 2 || n.Delivered != 5 {
		t.Errorf("got %+v", n)
	}

	// By hand, it is sent again, and waits for no other.
	rc.set(nil)
	if _, err := r.Redeliver(ctx, me, "default", hook.ID, second); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the redelivery", func() bool { return len(rc.taken()) == 6 })
	if g := rc.taken()[5]; g.Data.Seq != second || g.id != pedigree.MessageID(hook.ID, second) {
		t.Fatalf("got %+v", g)
	}
	if _, err := r.Redeliver(ctx, me, "default", hook.ID, 0); pedigree.CodeOf(err) != pedigree.CodeNotFound {
		t.Fatalf("got %v", err)
	}
}

// TestGone: a receiver that says 410 is not asked again.
func TestGone(t *testing.T) {
	r, rc, ctx := mustRegistrar(t, filepath.Join(t.TempDir(), "pedigree.db"), allowed), newReceiver(t), context.Background()
	mustModel(t, r, "m")
	rc.set(func(*pedigree.Notice, http.ResponseWriter) int { return http.StatusGone })
	hook := mustWebhook(t, r, "default", rc.URL, tagTypes)
	run(t, r, newClock(), nil)
	mustTag(t, r, "m", "k", "1")
	waitFor(t, "the end", func() bool {
		w, err := r.Webhook(ctx, me, "default", hook.ID)
		return err == nil && !w.Active
	})
	mustTag(t, r, "m", "k", "2")
	time.Sleep(100 * time.Millisecond)
	if n := len(rc.all()); n != 1 {
		t.Fatalf("%d requests", n)
	}
	// What happened while it was not active is never sent; what comes after, is.
	rc.set(nil)
	yes := true
	if _, err := r.EditWebhook(ctx, me, "default", hook.ID, pedigree.WebhookEdit{Active: &yes}, nil); err != nil {
		t.Fatal(err)
	}
	want := mustTag(t, r, "m", "k", "3")
	waitFor(t, "the next", func() bool { return len(rc.taken()) > 0 })
	if got := rc.taken(); got[0].Data.Seq != want {
		t.Fatalf("got %+v", got)
	}
}

// TestAddresses: what is not allowed is refused when the webhook is made, and what a name
// stands for when it is dialled. Redirects lead nowhere.
func TestAddresses(t *testing.T) {
	r, ctx := mustRegistrar(t, filepath.Join(t.TempDir(), "pedigree.db"), "10.0.0.0/8"), context.Background()
	for url, want := range map[string]pedigree.ErrorCode{
		"http://127.0.0.1:1/": pedigree.CodeRefused, "https://[::1]/": pedigree.CodeRefused, "https://169.254.169.254/latest": pedigree.CodeRefused,
		"http://192.0.2.1/": pedigree.CodeRefused, "ftp://example.org": pedigree.CodeInvalid, "https://u:p@example.org": pedigree.CodeInvalid,
		"http://8.8.8.8/": pedigree.CodeRefused, "https://[::ffff:127.0.0.1]/": pedigree.CodeRefused,
	} {
		spec := registrar.NewWebhook{Format: pedigree.FormatStandard}
		spec.URL = &url
		if _, err := r.CreateWebhook(ctx, me, "default", spec); pedigree.CodeOf(err) != want {
			t.Errorf("%s: got %v, want %s", url, err, want)
		}
	}
	rc := newReceiver(t)
	port := rc.URL[strings.LastIndex(rc.URL, ":"):]
	s := &sender{receivers: r.Receivers(), timeout: time.Second, now: time.Now}
	a := s.send(ctx, message{url: "http://localhost" + port, header: http.Header{}}) // a name, that stands for what is not allowed
	if a.Status != 0 || !strings.Contains(a.Error, "private addresses") {
		t.Errorf("got %+v", a)
	}
	s.receivers, _ = pedigree.ParseReceivers("127.0.0.0/8,::1")
	if a := s.send(ctx, message{url: "http://localhost" + port, header: http.Header{}, body: []byte("{}")}); a.Status != 200 || a.Error != "" {
		t.Errorf("got %+v", a)
	}
	before := len(rc.all())
	rc.set(func(_ *pedigree.Notice, w http.ResponseWriter) int {
		w.Header().Set("Location", rc.URL+"/elsewhere")
		return http.StatusTemporaryRedirect
	})
	if a := s.send(ctx, message{url: rc.URL, header: http.Header{}, body: []byte("{}")}); a.Status != 307 || !strings.Contains(a.Error, "redirects") || len(rc.all()) != before+1 {
		t.Errorf("got %+v after %d requests", a, len(rc.all())-before)
	}
}

// TestDeadReceiverSlowsNobody: a receiver that never answers costs neither writes nor other
// webhooks anything.
func TestDeadReceiverSlowsNobody(t *testing.T) {
	r, ctx := mustRegistrar(t, filepath.Join(t.TempDir(), "pedigree.db"), allowed), context.Background()
	release := make(chan struct{})
	hanging := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
		select {
		case <-release:
		case <-req.Context().Done():
		}
	}))
	defer hanging.Close()
	defer close(release)
	rc := newReceiver(t)
	for i := range 20 {
		mustModel(t, r, pedigree.Name(fmt.Sprintf("m%d", i)))
	}
	for range 10 {
		mustWebhook(t, r, "default", hanging.URL, tagTypes)
	}
	mustWebhook(t, r, "default", rc.URL, tagTypes)
	p := run(t, r, newClock(), nil)
	begin := time.Now()
	for i := range 20 {
		mustTag(t, r, pedigree.Name(fmt.Sprintf("m%d", i)), "k", "v")
	}
	waitFor(t, "the healthy one", func() bool { return len(rc.taken()) == 20 })
	if took := time.Since(begin); took > 20*time.Second {
		t.Errorf("20 writes and their deliveries took %s beside ten receivers that hang", took)
	}
	stopped := time.Now()
	p.stop()
	if took := time.Since(stopped); took > 4*time.Second {
		t.Errorf("the end took %s", took)
	}
	_ = ctx
}

// TestKilledAnywhere kills the sending process after each kind of step, again and again,
// while events come and two processes share the work: nothing is lost, what is of one
// subject comes in order, and what comes twice has one id.
func TestKilledAnywhere(t *testing.T) {
	eachDatabase(t, func(t *testing.T, database string) {
		c, rc := newClock(), newReceiver(t)
		first := mustRegistrar(t, database, allowed)
		names := []pedigree.Name{"a", "b", "c", "d"}
		for _, name := range names {
			mustModel(t, first, name)
		}
		hook := mustWebhook(t, first, "default", rc.URL, tagTypes)
		var want []int64
		kills := 0
		for round, at := range []string{"scanned", "enqueued", "prepared", "sent", "settled", "sent", "prepared"} {
			var killed atomic.Bool
			died := make(chan struct{})
			once := sync.OnceFunc(func() { close(died) })
			left := 0
			if at != "scanned" && at != "enqueued" { // which come once for many events
				left = mathrand.IntN(4)
			}
			victim := run(t, first, c, func(n *Notifier) {
				n.step = func(name string) bool {
					if killed.Load() {
						return false
					}
					if name == at {
						if left--; left < 0 {
							killed.Store(true)
							once()
							return false
						}
					}
					return true
				}
				n.cfg.Parallel = 1 // the steps of a test are counted one by one
			})
			for i := range 3 {
				for _, name := range names {
					want = append(want, mustTag(t, first, name, "k", fmt.Sprintf("%d.%d", round, i)))
				}
			}
			select {
			case <-died:
				kills++
			case <-time.After(20 * time.Second):
				t.Fatalf("round %d: the step %q never came", round, at)
			}
			// A killed process gives nothing back: its leases end by themselves.
			go victim.stop()
		}
		run(t, mustRegistrar(t, database, allowed), c, nil)
		run(t, mustRegistrar(t, database, allowed), c, nil)
		waitFor(t, "all events", func() bool {
			c.advance(time.Second)
			q, err := first.Webhook(context.Background(), me, "default", hook.ID)
			return err == nil && q.Queue.Pending == 0 && len(rc.taken()) >= len(want)
		})
		checkDeliveries(t, rc.taken(), want, false)
		if twice := len(rc.taken()) - len(want); twice > kills {
			t.Errorf("%d deliveries came twice after %d kills", twice, kills)
		}
	})
}

// TestTwoServers: two processes on one PostgreSQL send nothing twice, and when one goes
// the other goes on.
func TestTwoServers(t *testing.T) {
	database := pgtest.Database(t)
	c, rc := newClock(), newReceiver(t)
	one, two := mustRegistrar(t, database, allowed), mustRegistrar(t, database, allowed)
	names := []pedigree.Name{"a", "b", "c", "d"}
	for _, name := range names {
		mustModel(t, one, name)
	}
	for range 3 {
		mustWebhook(t, one, "default", rc.URL, tagTypes)
	}
	first := run(t, one, c, nil)
	run(t, two, c, nil)
	var want []int64
	for i := range 20 {
		if i == 10 {
			first.stop()
		}
		for _, name := range names {
			want = append(want, mustTag(t, []*registrar.Registrar{one, two}[i%2], name, "k", strconv.Itoa(i)))
		}
	}
	waitFor(t, "all events", func() bool { return len(rc.taken()) >= 3*len(want) })
	time.Sleep(200 * time.Millisecond)
	byHook := map[string][]received{}
	for _, g := range rc.taken() {
		hook := g.id[:strings.LastIndex(g.id, "-")]
		byHook[hook] = append(byHook[hook], g)
	}
	for _, got := range byHook {
		checkDeliveries(t, got, want, true)
	}
	if len(byHook) != 3 {
		t.Fatalf("%d webhooks sent", len(byHook))
	}
}

// TestManyPending: what waits in the database is bounded; the rest waits in the log.
func TestManyPending(t *testing.T) {
	r, rc, c := mustRegistrar(t, filepath.Join(t.TempDir(), "pedigree.db"), allowed), newReceiver(t), newClock()
	rc.set(func(*pedigree.Notice, http.ResponseWriter) int { return http.StatusBadGateway })
	mustModel(t, r, "m")
	hook := mustWebhook(t, r, "default", rc.URL, tagTypes)
	run(t, r, c, func(n *Notifier) { n.cfg.MaxPending = 1 })
	var want []int64
	tags := map[string]string{}
	for i := range readEntries + 50 {
		tags[fmt.Sprintf("k%d", i)] = "v"
	}
	m, err := r.EditModel(context.Background(), me, "default", "m", pedigree.ModelEdit{Tags: tags}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := range tags {
		_ = i
		want = append(want, m.Changed-int64(len(want)))
	}
	waitFor(t, "an attempt", func() bool { return len(rc.all()) > 0 })
	q, err := r.Webhook(context.Background(), me, "default", hook.ID)
	if err != nil || q.Queue.Pending == 0 || q.Queue.Pending > readEntries || q.Queue.Behind == 0 {
		t.Fatalf("got %+v, %v", q.Queue, err)
	}
	rc.set(nil)
	waitFor(t, "the rest", func() bool { c.advance(time.Minute); return len(rc.taken()) >= len(want) })
	checkDeliveries(t, rc.taken(), want, true)
}
