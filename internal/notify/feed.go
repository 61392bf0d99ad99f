package notify

import (
	"context"
	"encoding/json"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/internal/registrar"
)

// Feed hands the events of the log on as they come.
type Feed struct {
	r    *registrar.Registrar
	log  *slog.Logger
	poll time.Duration

	closing sync.Once
	closed  chan struct{}

	reads atomic.Int64 // of the log, by users and by the feed itself

	mu       sync.Mutex
	users    int
	watchers int
	first    chan struct{} // closed when the first user comes; nil while there are some
	// recent are the last events without a gap, up to the event head; size is their sum.
	recent []*Entry
	size   int
	head   int64         // -1 while nothing was read
	grown  chan struct{} // closed when there is something to look at
}

// Entry is one event as it is handed on, to any number of takers.
type Entry struct {
	registrar.Item
	once sync.Once
	json []byte
	err  error
}

// JSON is the entry as the log's API has it. It is made once; nobody changes it.
func (e *Entry) JSON() ([]byte, error) {
	e.once.Do(func() { e.json, e.err = marshal(&e.Entry) })
	return e.json, e.err
}

// Hidden is what a watcher sees of an event that it may not read: number and leaf, by which
// it can still prove that none is missing.
func Hidden(e *Entry) ([]byte, error) {
	return marshal(&pedigree.Entry{Seq: e.Entry.Seq, Leaf: e.Entry.Leaf})
}

// How much of the log a Feed keeps at hand, and how much it reads at a time.
const (
	keptEntries = 2000
	keptBytes   = 32 << 20
	readEntries = 200
)

// DefaultPoll is how often a Feed looks for events of other processes.
const DefaultPoll = 250 * time.Millisecond

// NewFeed returns the Feed of a registry, which looks every poll for events that other
// processes have appended; 0 stands for [DefaultPoll]. Nothing is read until [Feed.Run]
// runs and somebody wants it.
func NewFeed(r *registrar.Registrar, poll time.Duration, log *slog.Logger) *Feed {
	if poll == 0 {
		poll = DefaultPoll
	}
	return &Feed{r: r, log: log, poll: poll, closed: make(chan struct{}), first: make(chan struct{}), head: -1, grown: make(chan struct{})}
}

// Close ends every watch, without an error: whoever watched goes on elsewhere.
func (f *Feed) Close() { f.closing.Do(func() { close(f.closed) }) }

// Watchers is how many watch now.
func (f *Feed) Watchers() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.watchers
}

func (f *Feed) countWatcher(n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.watchers += n
}

// Reads is how often events were read from the log so far, for all who wanted them.
func (f *Feed) Reads() int64 { return f.reads.Load() }

// items reads events of the log.
func (f *Feed) items(ctx context.Context, q pedigree.EventQuery) ([]registrar.Item, int64, error) {
	f.reads.Add(1)
	return f.r.Items(ctx, q)
}

// Run reads the log until ctx ends, as long as anybody wants it.
func (f *Feed) Run(ctx context.Context) {
	failed := false
	for {
		f.mu.Lock()
		first := f.first
		f.mu.Unlock()
		if first != nil {
			select {
			case <-first:
				continue
			case <-ctx.Done():
				return
			}
		}
		grown := f.r.Grown()
		_, err := f.refresh(ctx)
		if err != nil && ctx.Err() == nil && !failed {
			f.log.Warn("watches and webhooks wait: the log can't be read", "error", err)
		}
		failed = err != nil
		tick := time.NewTimer(f.poll)
		select {
		case <-grown:
			tick.Stop()
			if grew, err := f.refresh(ctx); err == nil && !grew {
				f.wake() // a nudge
			}
		case <-tick.C:
		case <-ctx.Done():
			tick.Stop()
			return
		}
	}
}

// join makes the feed read for one more; leave ends that.
func (f *Feed) join() (leave func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.users++; f.first != nil {
		close(f.first)
		f.first = nil
	}
	return sync.OnceFunc(func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.users--; f.users == 0 {
			f.first = make(chan struct{})
			f.recent, f.size, f.head = nil, 0, -1
		}
	})
}

// refresh reads what was appended since the last time, and says whether there was any.
func (f *Feed) refresh(ctx context.Context) (grew bool, err error) {
	size, err := f.r.Head(ctx, pedigree.System, "")
	if err != nil {
		return false, err
	}
	f.mu.Lock()
	head := f.head
	f.mu.Unlock()
	last := size - 1
	if head < 0 || last-head > keptEntries {
		// Whoever wants what is older reads it for itself.
		f.mu.Lock()
		f.recent, f.size, f.head = nil, 0, last
		f.mu.Unlock()
		f.wake()
		return true, nil
	}
	for head < last {
		items, _, err := f.items(ctx, pedigree.EventQuery{After: head, Limit: readEntries})
		if err != nil || len(items) == 0 {
			return grew, err
		}
		grew = true
		f.mu.Lock()
		for i := range items {
			f.recent = append(f.recent, &Entry{Item: items[i]})
			f.size += sizeOf(&items[i])
		}
		drop := 0
		for ; len(f.recent)-drop > keptEntries || f.size > keptBytes && drop < len(f.recent)-1; drop++ {
			f.size -= sizeOf(&f.recent[drop].Item)
		}
		f.recent = append([]*Entry(nil), f.recent[drop:]...)
		head = items[len(items)-1].Event.Seq
		f.head = head
		f.mu.Unlock()
		f.wake()
	}
	return grew, nil
}

func sizeOf(item *registrar.Item) int {
	n := len(item.Entry.Envelope) + 200
	for i := range item.Entry.Fields {
		n += len(item.Entry.Fields[i].Value) + 100
	}
	return 2 * n // the entry, and its JSON
}

// wake tells everybody to look.
func (f *Feed) wake() {
	f.mu.Lock()
	defer f.mu.Unlock()
	close(f.grown)
	f.grown = make(chan struct{})
}

// signal returns a channel that is closed when there is something to look at: ask for it
// before looking.
func (f *Feed) signal() <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.grown
}

// since returns what is at hand after an event, and the last event that it knows of. It
// reports false where the log must be read for it.
func (f *Feed) since(after int64) (entries []*Entry, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.head < 0:
		return nil, false
	case after >= f.head:
		return nil, true
	}
	if len(f.recent) == 0 || f.recent[0].Event.Seq > after+1 {
		return nil, false
	}
	return f.recent[after+1-f.recent[0].Event.Seq:], true
}

// Watch is what somebody wants to see.
type Watch struct {
	// After is the event after which to begin.
	After int64
	// Project is the id of the one project wanted, "" stands for all.
	Project string
	// Subjects are what the events must be about, each of them; see [pedigree.Event.Concerns].
	Subjects []string
	// Types are the types wanted; none means all.
	Types []pedigree.EventType
	// Reader says which events the watcher may read. Of others it gets number and leaf, and
	// nothing where it has chosen some: that would tell what they are.
	Reader *registrar.LogReader
}

// chooses says that not every event is wanted.
func (w *Watch) chooses() bool { return w.Project != "" || len(w.Subjects) > 0 || len(w.Types) > 0 }

func (w *Watch) wants(item *registrar.Item) bool {
	if w.Project != "" && item.Project != w.Project {
		return false
	}
	for _, s := range w.Subjects {
		if !item.Event.Concerns(s) {
			return false
		}
	}
	if len(w.Types) == 0 {
		return true
	}
	for _, t := range w.Types {
		if item.Event.Type == t {
			return true
		}
	}
	return false
}

// Sink takes what a watch finds. An error of it ends the watch.
type Sink struct {
	// Event takes one event. hidden says that the watcher may not read it.
	Event func(e *Entry, hidden bool) error
	// Flush is called when there is nothing more for the moment.
	Flush func() error
	// Idle is called where nothing was sent for the time of Every; position is the last
	// event that was looked at.
	Idle  func(position int64) error
	Every time.Duration
}

// Watch hands on the events that w wants, until ctx ends, the feed is closed or the sink
// fails. It returns nil but for the last and for a log that can't be read.
func (f *Feed) Watch(ctx context.Context, w Watch, sink Sink) error {
	defer f.join()()
	f.countWatcher(1)
	defer f.countWatcher(-1)
	position := w.After
	quiet := time.NewTicker(sink.Every)
	defer quiet.Stop()
	for sent := false; ; {
		signal := f.signal()
		entries, ok := f.since(position)
		if !ok {
			var last int64
			var err error
			if entries, last, err = f.read(ctx, &w, position); err != nil {
				if ctx.Err() != nil {
					return nil
				}
				return err
			}
			if len(entries) == 0 {
				position = max(position, last)
			}
		}
		for _, e := range entries {
			if position = e.Event.Seq; !w.wants(&e.Item) {
				continue
			}
			shown, err := w.Reader.Reads(ctx, &e.Item)
			if err == nil && (shown || !w.chooses()) {
				sent = true
				err = sink.Event(e, !shown)
			}
			if err != nil {
				return err
			}
		}
		if len(entries) > 0 {
			select {
			case <-f.closed:
				return nil
			case <-ctx.Done():
				return nil
			default:
				continue // until there are no more
			}
		}
		if sent {
			sent = false
			quiet.Reset(sink.Every)
			if err := sink.Flush(); err != nil {
				return err
			}
		}
		select {
		case <-signal:
		case <-quiet.C:
			if err := sink.Idle(position); err != nil {
				return err
			}
		case <-f.closed:
			return nil
		case <-ctx.Done():
			return nil
		}
	}
}

// read reads what is not at hand: the next events that w may want, and the last event of
// the log.
func (f *Feed) read(ctx context.Context, w *Watch, after int64) ([]*Entry, int64, error) {
	q := pedigree.EventQuery{After: after, Types: w.Types, Limit: readEntries}
	if len(w.Subjects) > 0 {
		q.Subject = w.Subjects[0]
	}
	items, last, err := f.items(ctx, q)
	entries := make([]*Entry, len(items))
	for i := range items {
		entries[i] = &Entry{Item: items[i]}
	}
	return entries, last, err
}

// marshal is json.Marshal without HTML escapes: the texts must arrive as they were hashed.
func marshal(v any) ([]byte, error) {
	var b buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err := enc.Encode(v)
	if n := len(b); n > 0 {
		b = b[:n-1] // the newline
	}
	return b, err
}

type buffer []byte

func (b *buffer) Write(p []byte) (int, error) {
	*b = append(*b, p...)
	return len(p), nil
}
