package notify

import (
	"context"
	"crypto/rand"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/internal/registrar"
)

// Config is what a [Notifier] is made of.
type Config struct {
	Registrar *registrar.Registrar
	Feed      *Feed
	Log       *slog.Logger
	// Owner names this process to the others: no two have the same.
	Owner string
	// Now is the clock by which deliveries are tried again, After its alarm.
	Now   func() time.Time
	After func(time.Duration) <-chan time.Time
	// Formats are the foreign formats; the standard one is always there.
	Formats map[pedigree.WebhookFormat]Format
	// BaseURL is where receivers reach the server; "" where nobody said.
	BaseURL string
	// Agent names the program to receivers.
	Agent string
	// Lease is how long a process that stopped without a word keeps its webhooks. Zero:
	// 30 s.
	Lease time.Duration
	// Timeout is how long a receiver may take. Zero: 15 s.
	Timeout time.Duration
	// Parallel is the most requests to one receiver at a time. Zero: 4.
	Parallel int
	// MaxPending is the most deliveries of one webhook that wait; further events wait in
	// the log. Zero: 10,000.
	MaxPending int
}

// Notifier sends the deliveries of webhooks.
type Notifier struct {
	cfg     Config
	r       *registrar.Registrar
	feed    *Feed
	sender  sender
	formats map[pedigree.WebhookFormat]Format

	delivered, failed, dead atomic.Int64

	// step, where a test sets it, is called between the steps of a delivery; it says
	// whether the process goes on.
	step func(name string) bool
}

// New returns a Notifier. It sends nothing until [Notifier.Run] runs.
func New(cfg Config) *Notifier {
	fill(&cfg.Lease, 30*time.Second)
	fill(&cfg.Timeout, 15*time.Second)
	fill(&cfg.Parallel, 4)
	fill(&cfg.MaxPending, 10_000)
	n := &Notifier{
		cfg: cfg, r: cfg.Registrar, feed: cfg.Feed,
		sender:  sender{receivers: cfg.Registrar.Receivers(), timeout: cfg.Timeout, now: func() time.Time { return cfg.Now().UTC().Truncate(time.Microsecond) }, agent: cfg.Agent},
		formats: map[pedigree.WebhookFormat]Format{pedigree.FormatStandard: standard{cfg.Registrar, cfg.BaseURL}},
		step:    func(string) bool { return true },
	}
	for name, f := range cfg.Formats {
		n.formats[name] = f
	}
	return n
}

func fill[T comparable](v *T, value T) {
	var zero T
	if *v == zero {
		*v = value
	}
}

// Counts are how many attempts this process has made so far, by what became of them. Dead
// deliveries are among the failed.
type Counts struct{ Delivered, Failed, Dead int64 }

// Counts counts the attempts of this process.
func (n *Notifier) Counts() Counts {
	return Counts{n.delivered.Load(), n.failed.Load(), n.dead.Load()}
}

// Run sends deliveries until ctx ends; those under way may then finish, for as long as
// stop, and its webhooks are free for other processes when it returns.
func (n *Notifier) Run(ctx context.Context, stop time.Duration) {
	m := &manager{n: n, workers: map[string]*worker{}}
	m.hard, m.abort = context.WithCancel(context.WithoutCancel(ctx))
	defer m.abort()
	defer m.follow(false)
	m.run(ctx)
	late := time.AfterFunc(stop, m.abort)
	defer late.Stop()
	for _, w := range m.workers {
		w.stop()
	}
	m.group.Wait()
	if len(m.workers) == 0 || !n.step("stopped") {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if err := n.r.ReleaseWebhooks(ctx, n.cfg.Owner); err != nil {
		n.cfg.Log.Warn("other servers will take the webhooks over later", "after", n.cfg.Lease, "error", err)
	}
}

// manager keeps a worker for each webhook that this process has the lease of.
type manager struct {
	n       *Notifier
	workers map[string]*worker
	group   sync.WaitGroup
	// hard ends requests that are under way.
	hard  context.Context
	abort context.CancelFunc
	// valid ends the workers, by stops, when their leases have ended and could not be
	// renewed.
	valid *time.Timer
	stops atomic.Pointer[[]context.CancelFunc]
	// position is the last event that was looked at for new webhooks.
	position int64
	// leave ends what follow began; nil while the feed does not read for the manager.
	leave func()
}

func (m *manager) run(ctx context.Context) {
	failed := false
	for ctx.Err() == nil {
		signal := m.n.feed.signal()
		head, err := m.n.r.Head(ctx, pedigree.System, "")
		if err == nil {
			m.position = head - 1 // webhooks up to here are claimed now
			err = m.claim(ctx)
		}
		if err != nil && ctx.Err() == nil && !failed {
			m.n.cfg.Log.Warn("webhooks wait: their leases can't be renewed", "error", err)
		}
		failed = err != nil
		m.follow(len(m.workers) > 0)
		// Leases run by the database's clock, so that this timer is a real one.
		renew := time.NewTimer(m.n.cfg.Lease / 3)
		look := time.NewTicker(m.n.feed.poll)
		for wait := true; wait; {
			select {
			case <-signal:
				signal = m.n.feed.signal()
				wait = m.leave == nil || !m.news()
			case <-look.C:
				wait = m.leave != nil || !m.first(ctx)
			case <-renew.C:
				wait = false
			case <-ctx.Done():
				wait = false
			}
		}
		renew.Stop()
		look.Stop()
	}
}

// follow makes the feed read for the manager while it has workers: every event. Without
// webhooks nobody else may want any.
func (m *manager) follow(workers bool) {
	switch {
	case workers && m.leave == nil:
		m.leave = m.n.feed.join()
	case !workers && m.leave != nil:
		m.leave()
		m.leave = nil
	}
}

// webhookNews are the types of the events after which there may be webhooks to claim.
var webhookNews = []pedigree.EventType{pedigree.WebhookCreated, pedigree.WebhookSecretRotated}

// first says whether there may be new webhooks, while the feed does not read.
func (m *manager) first(ctx context.Context) bool {
	head, err := m.n.r.Head(ctx, pedigree.System, "")
	if err != nil || head-1 <= m.position {
		return false
	}
	items, _, err := m.n.feed.items(ctx, pedigree.EventQuery{After: m.position, Types: webhookNews, Limit: 1})
	if err == nil {
		m.position = head - 1
	}
	return len(items) > 0
}

// news says whether there may be new webhooks.
func (m *manager) news() bool {
	entries, ok := m.n.feed.since(m.position)
	if !ok {
		m.n.feed.mu.Lock()
		m.position = m.n.feed.head
		m.n.feed.mu.Unlock()
		return true
	}
	found := false
	for _, e := range entries {
		m.position = e.Event.Seq
		found = found || slices.Contains(webhookNews, e.Event.Type)
	}
	return found
}

// claim renews the leases, takes those that are free, and starts and stops workers.
func (m *manager) claim(ctx context.Context) error {
	valid := time.AfterFunc(m.n.cfg.Lease, func() { // from before the database was asked
		if stops := m.stops.Load(); stops != nil {
			for _, stop := range *stops {
				stop()
			}
		}
	})
	leases, err := m.n.r.LeaseWebhooks(ctx, m.n.cfg.Owner, m.n.cfg.Lease)
	if err != nil {
		valid.Stop()
		return err
	}
	if m.valid != nil {
		m.valid.Stop()
	}
	m.valid = valid
	have := map[string]bool{}
	for _, l := range leases {
		have[l.Webhook] = true
		if w := m.workers[l.Webhook]; w != nil && w.ctx.Err() == nil {
			w.tick()
			continue
		}
		m.start(ctx, l)
	}
	var stops []context.CancelFunc
	for id, w := range m.workers {
		if !have[id] {
			w.stop()
			delete(m.workers, id)
			continue
		}
		stops = append(stops, w.stop)
	}
	m.stops.Store(&stops)
	return nil
}

func (m *manager) start(ctx context.Context, l registrar.WebhookLease) {
	before := m.workers[l.Webhook]
	w := newWorker(ctx, m.hard, m.n, l)
	m.workers[l.Webhook] = w
	m.group.Go(func() {
		if before != nil {
			<-before.done // two workers of one webhook would send twice
			// Its cursor may be newer than the lease's.
			w.cursor = max(w.cursor, before.saved)
		}
		w.run()
	})
}

// Test sends an example to the receiver of a webhook, now, whether it is active or not,
// and says what became of it. It is no delivery: nothing is kept of it.
func (n *Notifier) Test(ctx context.Context, w *pedigree.Webhook, event string) (pedigree.Attempt, error) {
	format := n.formats[w.Format]
	if format == nil {
		return pedigree.Attempt{}, pedigree.Errorf(pedigree.CodeUnsupported, "this server does not know the format %q", w.Format)
	}
	now := n.sender.now()
	body, err := format.Example(w, event, now)
	if err != nil {
		return pedigree.Attempt{}, err
	}
	m, err := n.message(ctx, w, format, w.ID+"-test-"+rand.Text()[:8], now, body)
	if err != nil {
		return pedigree.Attempt{}, err
	}
	return n.sender.send(ctx, m), nil
}

// message signs a body.
func (n *Notifier) message(ctx context.Context, w *pedigree.Webhook, format Format, id string, now time.Time, body []byte) (message, error) {
	secrets, err := n.r.WebhookSecrets(ctx, w.ID, now)
	if err != nil {
		return message{}, err
	}
	m := message{url: w.URL, header: http.Header{}, body: body}
	return m, format.Sign(m.header, id, now, body, secrets)
}
