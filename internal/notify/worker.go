package notify

import (
	"context"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/internal/registrar"
)

// worker sends the deliveries of one webhook, as long as this process has its lease. All
// but ticked, nudge and done is its own goroutine's.
type worker struct {
	n  *Notifier
	id string
	// ctx ends when the worker shall begin nothing more, hard when it shall let go of what
	// is under way.
	ctx  context.Context
	stop context.CancelFunc
	hard context.Context
	done chan struct{}

	// cursor is the last event that was looked at, saved the one that the database knows.
	cursor, saved int64
	// hook is the webhook as of cursor, nil before it was made and after it was deleted.
	hook   *pedigree.Webhook
	loaded bool
	// room is how many deliveries may still be added before those that wait are counted
	// again.
	room int

	queue   []pedigree.WebhookDelivery // due, and not begun
	running map[int64]bool             // by seq
	results chan outcome
	nextAt  time.Time // when the next delivery is due, zero for none
	dirty   bool      // the database may know more than queue and nextAt

	// failing says that the receiver could not be reached at the last attempt: then one
	// request at a time is enough to learn when it is back.
	failing   bool
	hastened  time.Time
	forgotten time.Time
	// blocked, where not nil, ends a pause after something of our own failed.
	blocked <-chan time.Time
	ticked  atomic.Bool
	nudge   chan struct{}
}

// outcome is what became of a delivery; err says that it could not be noted.
type outcome struct {
	pedigree.WebhookDelivery
	err error
}

func newWorker(ctx, hard context.Context, n *Notifier, l registrar.WebhookLease) *worker {
	w := &worker{
		n: n, id: l.Webhook, hard: hard, done: make(chan struct{}), cursor: l.Cursor, saved: l.Cursor,
		running: map[int64]bool{}, results: make(chan outcome, n.cfg.Parallel), dirty: true, nudge: make(chan struct{}, 1),
	}
	w.ctx, w.stop = context.WithCancel(ctx)
	return w
}

// tick tells the worker, from outside, that its lease was renewed: a time to save its
// cursor, and to look for what other processes were asked to deliver again.
func (w *worker) tick() {
	w.ticked.Store(true)
	select {
	case w.nudge <- struct{}{}:
	default:
	}
}

// The pace of a worker.
const (
	// saveEvery is how many events may pass that the webhook does not want until the
	// cursor is saved all the same, without waiting for a tick.
	saveEvery = 5000
	// batch is how many due deliveries are read at a time.
	batch = 64
	// hastenEvery bounds how often deliveries are brought forward.
	hastenEvery = time.Minute
	// What was delivered is shown for a week, what was given up for a month.
	keepDelivered = 7 * 24 * time.Hour
	keepDead      = 30 * 24 * time.Hour
	forgetEvery   = time.Hour
	// troubled is how long a worker waits after its database failed.
	troubled = 2 * time.Second
)

func (w *worker) run() {
	defer close(w.done)
	defer w.stop()
	for w.ctx.Err() == nil {
		signal := w.n.feed.signal()
		more, err := w.work()
		if w.ctx.Err() != nil {
			break
		}
		if pedigree.CodeOf(err) == pedigree.CodeConflict { // the lease is somebody else's
			break
		}
		var alarm <-chan time.Time
		switch {
		case err != nil:
			w.n.cfg.Log.Warn("a webhook waits", "webhook", w.id, "error", err)
			w.blocked = time.After(troubled)
		case more:
			continue
		case !w.nextAt.IsZero() && w.blocked == nil:
			alarm = w.n.cfg.After(max(w.nextAt.Sub(w.n.cfg.Now()), 0))
		}
		select {
		case <-signal:
			if entries, ok := w.n.feed.since(w.cursor); ok && len(entries) == 0 {
				w.dirty = true // somebody asked for a delivery by hand
			}
		case <-w.nudge:
		case o := <-w.results:
			w.finished(o)
		case <-alarm:
			w.dirty = true
		case <-w.blocked:
			w.blocked, w.dirty = nil, true
		case <-w.ctx.Done():
		}
	}
	for len(w.running) > 0 {
		w.finished(<-w.results)
	}
}

// work does what there is to do now, and says whether there is more.
func (w *worker) work() (more bool, err error) {
	if w.blocked != nil {
		return false, nil
	}
	if w.ticked.Swap(false) {
		w.dirty = true
		if err := w.upkeep(); err != nil {
			return false, err
		}
	}
	if more, err = w.scan(); err != nil {
		return false, err
	}
	if w.dirty && len(w.queue) == 0 {
		if err := w.load(); err != nil {
			return false, err
		}
	}
	limit := w.n.cfg.Parallel
	if w.failing {
		limit = 1
	}
	for len(w.queue) > 0 && len(w.running) < limit && w.ctx.Err() == nil {
		d := w.queue[0]
		w.queue = w.queue[1:]
		if !w.running[d.Seq] {
			w.begin(d)
		}
	}
	return more, nil
}

// upkeep saves the cursor, and forgets old deliveries.
func (w *worker) upkeep() error {
	if w.cursor > w.saved {
		if err := w.enqueue(nil); err != nil {
			return err
		}
	}
	now := w.n.sender.now()
	if now.Sub(w.forgotten) < forgetEvery {
		return nil
	}
	w.forgotten = now
	return w.n.r.ForgetDeliveries(w.ctx, w.id, now.Add(-keepDelivered), now.Add(-keepDead))
}

// scan looks at the next events and makes deliveries of those that the webhook wants.
func (w *worker) scan() (more bool, err error) {
	if !w.loaded {
		if w.hook, err = w.n.r.WebhookAt(w.ctx, w.id, pedigree.At{Seq: &w.cursor}); err != nil {
			return false, err
		}
		w.loaded = true
	}
	entries, ok := w.n.feed.since(w.cursor)
	if !ok {
		if entries, _, err = w.n.feed.read(w.ctx, &Watch{}, w.cursor); err != nil {
			return false, err
		}
	}
	if len(entries) > readEntries {
		entries, more = entries[:readEntries], true
	} else {
		more = !ok && len(entries) > 0
	}
	if len(entries) == 0 {
		return false, nil
	}
	if w.room <= readEntries {
		q, err := w.n.r.WebhookQueue(w.ctx, w.id)
		if err != nil {
			return false, err
		}
		if w.room = w.n.cfg.MaxPending - int(q.Pending); w.room <= 0 {
			return false, nil // the log keeps the rest
		}
	}
	cursor, hook := w.cursor, w.hook
	var wanted []pedigree.WebhookDelivery
	for _, e := range entries {
		cursor = e.Event.Seq
		if e.Event.Subject == w.id {
			if hook, err = w.n.r.WebhookAt(w.ctx, w.id, pedigree.At{Seq: &cursor}); err != nil {
				return false, err
			}
			w.dirty = true
		}
		if hook == nil || !hook.Wants(&e.Event, e.Project) {
			continue
		}
		if format := w.n.formats[hook.Format]; format != nil {
			if ok, err := format.Wants(w.ctx, hook, &e.Item); err != nil {
				return false, err
			} else if !ok {
				continue
			}
		}
		due := w.n.sender.now()
		wanted = append(wanted, pedigree.WebhookDelivery{
			Webhook: w.id, Seq: e.Event.Seq, Type: e.Event.Type, Subject: e.Event.Subject, CreatedAt: e.Event.Time, NextAt: &due,
		})
	}
	w.cursor, w.hook = cursor, hook
	if len(wanted) > 0 || w.cursor-w.saved > saveEvery {
		if !w.n.step("scanned") {
			return false, context.Canceled
		}
		if err := w.enqueue(wanted); err != nil {
			w.cursor, w.loaded = w.saved, false // again from where the database is
			return false, err
		}
		w.room -= len(wanted)
		if !w.n.step("enqueued") {
			return false, context.Canceled
		}
	}
	return more, nil
}

func (w *worker) enqueue(wanted []pedigree.WebhookDelivery) error {
	err := w.n.r.Enqueue(w.ctx, w.n.cfg.Owner, registrar.WebhookLease{Webhook: w.id, Cursor: w.cursor}, wanted)
	if err != nil {
		return err
	}
	w.saved = w.cursor
	w.dirty = w.dirty || len(wanted) > 0
	return nil
}

// load reads which deliveries are due, and when the next one is. A webhook that is not
// active, or has no URL any more, has none.
func (w *worker) load() error {
	w.nextAt = time.Time{}
	now, err := w.n.r.WebhookAt(w.ctx, w.id, pedigree.At{})
	if err != nil {
		return err
	}
	if now == nil || !now.Active || now.URL == "" {
		w.dirty = false
		return nil
	}
	limit := batch
	if w.failing { // little at a time: what somebody asks for by hand shall not wait long
		limit = w.n.cfg.Parallel
	}
	list, err := w.n.r.NextDeliveries(w.ctx, w.id, limit+len(w.running))
	if err != nil {
		return err
	}
	w.dirty = false
	clock := w.n.sender.now()
	for _, d := range list {
		switch {
		case w.running[d.Seq]:
		case d.NextAt != nil && d.NextAt.After(clock):
			w.nextAt = *d.NextAt
			return nil
		default:
			w.queue = append(w.queue, d)
		}
	}
	// What comes after these is read when they are done.
	return nil
}

// begin makes one attempt of a delivery, beside what else goes on.
func (w *worker) begin(d pedigree.WebhookDelivery) {
	w.running[d.Seq] = true
	go func() {
		next, err := w.attempt(d)
		w.results <- outcome{next, err}
	}()
}

// attempt sends a delivery and notes what became of it. It returns the delivery as it was
// before where nothing could be noted.
func (w *worker) attempt(d pedigree.WebhookDelivery) (pedigree.WebhookDelivery, error) {
	hook, m, err := w.prepare(&d)
	if err == nil && hook == nil { // deleted or switched off meanwhile
		return d, nil
	}
	if !w.n.step("prepared") {
		return d, context.Canceled
	}
	a := pedigree.Attempt{At: w.n.sender.now()}
	switch {
	case err == nil:
		a = w.n.sender.send(w.hard, m)
	case pedigree.CodeOf(err) == pedigree.CodeInternal || pedigree.CodeOf(err) == pedigree.CodeUnavailable:
		return d, err // not the receiver's fault: no attempt
	default:
		a.Error = err.Error()
	}
	if w.hard.Err() != nil && a.Error != "" {
		return d, w.hard.Err() // broken off by us
	}
	if !w.n.step("sent") {
		return d, context.Canceled
	}
	next, gone := d.After(a, rand.Float64())
	w.count(&next)
	// A lease that ended meanwhile does not make it untrue.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(w.hard), 10*time.Second)
	defer cancel()
	if err := w.n.r.Settle(ctx, next); err != nil {
		return d, err
	}
	if !w.n.step("settled") {
		return next, context.Canceled
	}
	if gone {
		no := false
		_, err := w.n.r.EditWebhook(ctx, pedigree.System, hook.Project, w.id, pedigree.WebhookEdit{Active: &no, Reason: "the receiver answered 410 Gone"}, nil)
		return next, err
	}
	return next, nil
}

// prepare makes the request of a delivery. It returns no webhook where nothing is to be
// sent any more.
func (w *worker) prepare(d *pedigree.WebhookDelivery) (*pedigree.Webhook, message, error) {
	hook, err := w.n.r.WebhookAt(w.hard, w.id, pedigree.At{})
	if err != nil || hook == nil || !hook.Active || hook.URL == "" {
		return nil, message{}, err
	}
	format := w.n.formats[hook.Format]
	if format == nil {
		return hook, message{}, pedigree.Errorf(pedigree.CodeUnsupported, "this server does not know the format %q", hook.Format)
	}
	item, err := w.n.r.Item(w.hard, d.Seq)
	if err != nil {
		return hook, message{}, err
	}
	body, err := format.Body(w.hard, hook, &item)
	if err != nil {
		return hook, message{}, err
	}
	m, err := w.n.message(w.hard, hook, format, d.MessageID, w.n.sender.now(), body)
	return hook, m, err
}

func (w *worker) count(d *pedigree.WebhookDelivery) {
	switch d.State {
	case pedigree.DeliveryDelivered:
		w.n.delivered.Add(1)
		return
	case pedigree.DeliveryDead:
		w.n.dead.Add(1)
	}
	w.n.failed.Add(1)
}

// finished takes the outcome of an attempt.
func (w *worker) finished(o outcome) {
	delete(w.running, o.Seq)
	w.dirty = true // the next of its subject may go
	switch {
	case o.err != nil:
		if w.hard.Err() == nil {
			w.n.cfg.Log.Warn("a delivery could not be sent or noted, and is tried again", "webhook", w.id, "event", o.Seq, "error", o.err)
		}
		w.blocked = time.After(troubled)
		return
	case o.Last != nil && unreachable(o.Last):
		w.failing = true
		return
	case !w.failing || o.State != pedigree.DeliveryDelivered:
		return
	}
	w.failing = false
	now := w.n.sender.now()
	if now.Sub(w.hastened) < hastenEvery {
		return
	}
	w.hastened = now
	if err := w.n.r.Hasten(w.ctx, w.id, now); err != nil && w.ctx.Err() == nil {
		w.n.cfg.Log.Warn("deliveries wait for their time", "webhook", w.id, "error", err)
	}
}
