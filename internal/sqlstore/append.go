package sqlstore

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/internal/ledger"
)

// Append is what a decision asks to be written: events, and what must still hold.
type Append struct {
	Principal pedigree.Principal
	Drafts    []pedigree.Draft
	// Checks are the subjects that the decision rests on; see [Tx.Checks].
	Checks map[string]int64
	// Project and Blobs: each of the blobs must be live and known to the project.
	Project string
	Blobs   []pedigree.Digest
	// Own are written with the events: names, hashes of tokens and secrets, that no event may
	// hold. An append that only repeats an old answer writes none of them.
	Own []Own
	// Size, where not nil, is the size that the log must have: for the one event that
	// holds a signature over all events before it.
	Size *int64
}

// Appended is the answer to an [Append].
type Appended struct {
	// Events are the events as they were written, without payloads where Replayed.
	Events []pedigree.Event
	// Replayed says that the idempotency key was seen before: the events are those of
	// the first call, and nothing was written now.
	Replayed bool
}

// Last is the seq of the last event.
func (a *Appended) Last() int64 { return a.Events[len(a.Events)-1].Seq }

// request is an operation that waits for the writer: an append, or statements on
// own_ tables.
type request struct {
	ctx    context.Context
	append *Append
	own    func(ctx context.Context, tx *Tx) error
	// runs are those whose rows own is about, which the writer locks first. Where there
	// are none, or shared says that other rows are meant too, the log's lock is taken:
	// whoever has that may wait for runs, and who has runs waits for nobody.
	runs   []string
	shared bool
	// gathers says that own adds its statements to those of its neighbours.
	gathers bool
	fields  [][]pedigree.Field // sealed payloads, one a draft; nil where a number is missing
	answer  chan outcome
	// state is queued until the writer claims the request or its caller leaves it.
	state atomic.Int32
}

// sharedRows says that r needs the log's lock.
func (r *request) sharedRows() bool { return len(r.runs) == 0 || r.shared }

// The states of a request.
const (
	queued int32 = iota
	claimed
	left
)

type outcome struct {
	appended *Appended
	err      error
}

// Idempotency keys are kept for keysKept; every forgetEvery events the older ones go.
const (
	keysKept    = 7 * 24 * time.Hour
	forgetEvery = 4096
)

// maxBatch is the most requests that share a commit.
const maxBatch = 128

// Append writes the events and returns them once they are durable. It returns
// [pedigree.CodeConflict] when a subject of Checks has moved: load and decide again;
// [pedigree.CodePrecondition] when a blob is not there; [pedigree.CodeUnavailable]
// when the database can't write, and then says whether nothing was written.
func (s *Store) Append(ctx context.Context, a Append) (*Appended, error) {
	r := &request{ctx: ctx, append: &a, answer: make(chan outcome, 1)}
	for _, d := range a.Drafts {
		fields, err := s.seal(d, 0)
		if err != nil {
			return nil, err
		}
		r.fields = append(r.fields, fields)
	}
	out := s.submit(r)
	return out.appended, out.err
}

// own runs f, which writes own_ tables, within the writer's next transaction. f may
// run more than once.
func (s *Store) own(ctx context.Context, f func(ctx context.Context, tx *Tx) error) error {
	return s.submit(&request{ctx: ctx, own: f, answer: make(chan outcome, 1)}).err
}

func (s *Store) submit(r *request) outcome {
	select {
	case s.queue <- r:
	case <-r.ctx.Done():
		return outcome{err: r.ctx.Err()}
	case <-s.stop:
		return outcome{err: errClosed}
	}
	select {
	case out := <-r.answer:
		return out
	case <-r.ctx.Done():
		if r.state.CompareAndSwap(queued, left) {
			return outcome{err: r.ctx.Err()} // the writer has not seen it, and will pass it over
		}
		return <-r.answer // the writer has it, and answers within its own limit
	case <-s.stopped:
		select {
		case out := <-r.answer:
			return out
		default:
			return outcome{err: errClosed}
		}
	}
}

// Moved is the cause of the conflict that asks to load and decide again.
type Moved struct {
	// Subject is the one that has moved, of several the first by name; "" for the log's size.
	Subject string
}

// Error is for the log; callers see what it is the cause of.
func (*Moved) Error() string { return "a subject of the decision has moved" }

var errClosed = pedigree.Errorf(pedigree.CodeUnavailable, "the registry is shutting down").WithFix("try again")

// seal marshals and salts a draft's payload. number stands for the version number of
// the append; while it is 0, a payload that needs it is left for later: nil.
func (s *Store) seal(d pedigree.Draft, number pedigree.VersionNumber) ([]pedigree.Field, error) {
	values := make(map[string]json.RawMessage, len(d.Payload))
	for name, v := range d.Payload {
		if n, ok := v.(pedigree.VersionNumber); ok && n == 0 {
			if number == 0 {
				return nil, nil
			}
			v = number
		}
		text, err := marshalValue(v)
		if err != nil {
			return nil, pedigree.Errorf(pedigree.CodeInternal, "event %s: field %s: %w", d.Type, name, err)
		}
		values[name] = text
	}
	return ledger.Seal(values, s.rand)
}

// marshalValue writes a payload value without HTML escapes.
func marshalValue(v any) (json.RawMessage, error) {
	if raw, ok := v.(json.RawMessage); ok {
		return raw, nil
	}
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return json.RawMessage(strings.TrimSuffix(b.String(), "\n")), nil
}

// writer is the one goroutine that writes: it takes all that waits and gives it one
// transaction.
func (s *Store) writer() {
	defer close(s.stopped)
	var c *conn
	defer func() {
		if c != nil {
			c.close()
		}
	}()
	for {
		var batch []*request
		select {
		case r := <-s.queue:
			batch = append(batch, r)
		case <-s.stop:
			select { // what was queued before the stop is still written
			case r := <-s.queue:
				batch = append(batch, r)
			default:
				return
			}
		}
		for yields := 0; len(batch) < maxBatch && yields < 4; {
			select {
			case r := <-s.queue:
				batch = append(batch, r)
			default:
				runtime.Gosched() // whoever is about to ask comes along
				yields++
			}
		}
		batch = slices.DeleteFunc(batch, func(r *request) bool { return !r.state.CompareAndSwap(queued, claimed) })
		c = s.commit(c, batch)
	}
}

// writeTimeout bounds one batch: a database that hangs must not hang its callers for
// ever.
const writeTimeout = 30 * time.Second

// refusal says that err concerns one member of a batch alone: a rule said no. A statement
// that failed ends the whole batch: PostgreSQL has aborted its transaction by then.
func refusal(err error) bool {
	switch pedigree.CodeOf(err) {
	case pedigree.CodeInternal, pedigree.CodeUnavailable:
		return false
	}
	return true
}

// commit writes a batch and answers its members, and returns the connection to go on
// with. When a statement failed, nothing was written: a fault of the database is
// everybody's, and any other is looked for by trying each member alone.
func (s *Store) commit(c *conn, batch []*request) *conn {
	batch = slices.DeleteFunc(batch, func(r *request) bool {
		err := r.ctx.Err()
		if err != nil { // whoever asked has gone
			r.answer <- outcome{err: err}
		}
		return err != nil
	})
	if len(batch) == 0 {
		return c
	}
	ctx, cancel := context.WithTimeout(context.Background(), writeTimeout)
	defer cancel()
	var err error
	for try := 0; ; try++ {
		var b *batchState
		if c, b, err = s.tryCommit(ctx, c, batch); err == nil {
			for i, r := range batch {
				r.answer <- b.outcomes[i]
			}
			return c
		}
		if !serialization(err) || try == 2 {
			break
		}
		s.log.Info("PostgreSQL asked to try a write again", "error", err.Error())
	}
	err = s.d.translate(err, "write")
	if len(batch) > 1 && pedigree.CodeOf(err) != pedigree.CodeUnavailable || len(batch) > 1 && serialization(err) {
		for _, r := range batch {
			c = s.commit(c, []*request{r})
		}
		return c
	}
	for _, r := range batch {
		r.answer <- outcome{err: err}
	}
	return c
}

// unknownOutcome says that the connection was lost while it committed.
type unknownOutcome struct{ err error }

func (u *unknownOutcome) Error() string { return "commit: " + u.err.Error() }

// Unwrap returns what the caller is told.
func (u *unknownOutcome) Unwrap() error {
	return pedigree.Errorf(pedigree.CodeUnavailable, "the database did not confirm the write, which may or may not have happened: %w", u.err).
		WithFix("try again with the same Idempotency-Key, or look first")
}

func (s *Store) tryCommit(ctx context.Context, c *conn, batch []*request) (*conn, *batchState, error) {
	fresh := c == nil
	if fresh {
		var err error
		if c, err = s.connect(ctx, s.write); err != nil {
			return nil, nil, err
		}
	}
	fail := func(err error) (*conn, *batchState, error) {
		if !c.rollback() {
			c = nil
		}
		return c, nil, err
	}
	b := &batchState{s: s, tx: &Tx{s: s, c: c, current: true, checks: map[string]int64{}}}
	if err := b.begin(ctx, batch); err != nil {
		c.close()
		if !fresh && s.d == postgresDialect && !answered(err) { // the connection had died since; nothing was written on it
			return s.tryCommit(ctx, nil, batch)
		}
		return nil, nil, err
	}
	if err := b.run(ctx, batch); err != nil {
		return fail(err)
	}
	if s.fault != nil {
		if err := s.fault("before commit"); err != nil {
			return fail(err)
		}
	}
	if c.aborted() { // COMMIT would roll back, and say nothing
		return fail(errors.New("the transaction was aborted by a statement whose error was lost"))
	}
	if err := c.run(ctx, append(b.out.take(s.d), statement{text: "COMMIT"})); err != nil {
		if s.d == sqliteDialect || answered(err) { // a commit that was refused did not happen
			return fail(err)
		}
		c.close()
		return nil, nil, &unknownOutcome{err}
	}
	if b.grew {
		s.grown.raise()
	}
	if s.fault != nil {
		if err := s.fault("after commit"); err != nil {
			return c, nil, &unknownOutcome{err}
		}
	}
	return c, b, nil
}

// answered says that PostgreSQL has refused a statement, and lives.
func answered(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && pg.SeverityUnlocalized == "ERROR"
}

// batchState is one transaction of the writer.
type batchState struct {
	s        *Store
	tx       *Tx
	outcomes []outcome
	now      int64
	edge     ledger.Edge
	subjects map[string]int64            // concurrency subjects, as of now
	created  map[string]int64            // models and versions of this batch, and others looked up
	numbers  map[string]int64            // model → its greatest version number
	keys     map[idempotency]keyedAnswer // idempotency keys of this batch
	out      statements
	grew     bool // the batch has events
}

// idempotency names one call of one caller.
type idempotency struct{ actor, key string }

// keyedAnswer is what a key was used for; events is nil where that was before this batch.
type keyedAnswer struct {
	fingerprint pedigree.Digest
	events      []pedigree.Event
}

// run decides for every request whether it may happen and writes those that may.
func (b *batchState) run(ctx context.Context, batch []*request) error {
	b.outcomes = make([]outcome, len(batch))
	var runs []string
	for _, r := range batch {
		runs = append(runs, r.runs...)
	}
	if len(runs) > 0 {
		if err := b.tx.lockRuns(ctx, runs); err != nil {
			return err
		}
	}
	first := b.edge.Size
	for i, r := range batch {
		if err := r.ctx.Err(); err != nil { // whoever asked has gone
			b.outcomes[i].err = err
			continue
		}
		if r.own != nil {
			if !r.gathers {
				if err := b.tx.pending.flush(ctx, b.tx.c); err != nil {
					return err
				}
			}
			err := r.own(ctx, b.tx)
			if err != nil && !refusal(err) {
				return err
			}
			b.outcomes[i].err = err
			continue
		}
		appended, err := b.append(ctx, r)
		if err != nil && !refusal(err) {
			return err
		}
		b.outcomes[i] = outcome{appended, err}
	}
	if b.edge.Size/forgetEvery != first/forgetEvery {
		b.out.exec("DELETE FROM own_idempotency WHERE time < $1", b.now-keysKept.Microseconds())
	}
	if b.edge.Size > first {
		b.grew = true
		b.out.exec("UPDATE log_head SET size = $1, time = $2, edge = $3 WHERE id = 1", b.edge.Size, b.now, b.edge.Bytes())
	}
	return b.tx.pending.flush(ctx, b.tx.c)
}

// begin begins the transaction, takes the lock that the batch needs, and reads what all of
// its appends rest on.
func (b *batchState) begin(ctx context.Context, batch []*request) error {
	all := []statement{{text: b.s.d.beginWrite}}
	if b.s.d.lockLog != "" && slices.ContainsFunc(batch, (*request).sharedRows) {
		all = append(all, statement{text: b.s.d.lockLog})
	}
	if !slices.ContainsFunc(batch, func(r *request) bool { return r.append != nil }) {
		return b.tx.c.run(ctx, all)
	}
	var size, last int64
	var edge []byte
	dest := []any{&size, &last, &edge}
	text := "SELECT size, time, edge FROM log_head WHERE id = 1"
	if b.s.d.clock != "" {
		text = "SELECT size, time, edge, " + b.s.d.clock + " FROM log_head WHERE id = 1"
		dest = append(dest, &b.now)
	}
	all = append(all, statement{text: text, scan: func(row scanner) error { return row.Scan(dest...) }})
	b.subjects, b.created, b.numbers = map[string]int64{}, map[string]int64{}, map[string]int64{}
	b.keys = map[idempotency]keyedAnswer{}
	all = append(all, b.readKeys(batch)...)
	var subjects, models []string
	for _, r := range batch {
		if r.append == nil {
			continue
		}
		for subject := range r.append.Checks {
			subjects = append(subjects, subject)
		}
		for _, d := range r.append.Drafts {
			if model, ok := strings.CutSuffix(d.Subject, pedigree.NextVersion); ok {
				models = append(models, model)
			}
		}
	}
	for chunk := range slices.Chunk(compact(subjects), 64) {
		for _, subject := range chunk {
			b.subjects[subject] = -1
		}
		in, args := list(nil, chunk)
		all = append(all, statement{"SELECT subject, seq FROM view_subjects WHERE subject IN (" + in + ")", args, func(row scanner) error {
			var subject string
			var seq int64
			err := row.Scan(&subject, &seq)
			b.subjects[subject] = seq
			return err
		}})
	}
	for chunk := range slices.Chunk(compact(models), 64) {
		in, args := list(nil, chunk)
		all = append(all, statement{"SELECT m.id, coalesce((SELECT max(v.number) FROM view_versions v WHERE v.model = m.id), 0) FROM view_models m WHERE m.id IN (" + in + ")", args, func(row scanner) error {
			var model string
			var n int64
			err := row.Scan(&model, &n)
			b.numbers[model] = n
			return err
		}})
	}
	if err := b.tx.c.run(ctx, all); err != nil {
		return err
	}
	if b.s.d.clock == "" {
		b.now = micros(b.s.now())
	}
	const jump = 5_000_000 // µs
	if b.now < last {
		if last-b.now > jump {
			b.s.log.Warn("the clock went back; events keep the time of the last one", "behind_seconds", float64(last-b.now)/1e6)
		}
		b.now = last
	}
	var err error
	b.edge, err = ledger.ParseEdge(size, edge)
	return err
}

func compact(s []string) []string {
	slices.Sort(s)
	return slices.Compact(s)
}

// append adds one request's events to the batch. A [pedigree.Error] concerns this
// request alone, and leaves the batch as it was; any other error ends the batch.
func (b *batchState) append(ctx context.Context, r *request) (*Appended, error) {
	a := r.append
	keyed := a.Principal.IdempotencyKey != ""
	if keyed {
		replayed, err := b.replay(ctx, a.Principal)
		if replayed != nil || err != nil {
			return replayed, err
		}
	}
	var moved string
	for subject, seq := range a.Checks {
		if b.subjects[subject] != seq && (moved == "" || subject < moved) {
			moved = subject
		}
	}
	if moved != "" {
		return nil, pedigree.Errorf(pedigree.CodeConflict, "%s changed meanwhile (event %d): %w", moved, b.subjects[moved], &Moved{moved}).WithFix("look and try again")
	}
	if a.Size != nil && *a.Size != b.edge.Size {
		return nil, pedigree.Errorf(pedigree.CodeConflict, "the log has grown from %d to %d events meanwhile: %w", *a.Size, b.edge.Size, &Moved{}).WithFix("try again")
	}
	if err := b.checkBlobs(ctx, a); err != nil {
		return nil, err
	}
	// Everything that can be refused comes before b changes, but for b.created, whose
	// entries of a refused request name ids that nothing else has.
	edge, numbers := b.edge, map[string]int64{}
	events := make([]pedigree.Event, len(a.Drafts))
	var out statements
	for i, d := range a.Drafts {
		e, err := b.event(d, a.Principal, r.fields[i], edge.Size, numbers)
		if err != nil {
			return nil, err
		}
		subject, err := b.subjectSeq(ctx, &e)
		if err != nil {
			return nil, err
		}
		if err := b.write(ctx, &e, &edge, subject, &out); err != nil {
			return nil, err
		}
		b.created[e.Subject] = cmp.Or(subject, e.Seq)
		events[i] = e
	}
	for _, o := range a.Own {
		out.exec(o.text, o.args...)
	}
	b.out.merge(&out)
	b.edge = edge
	for model, n := range numbers {
		b.numbers[model] = n
	}
	if keyed {
		first, last := events[0].Seq, events[len(events)-1].Seq
		b.out.insert(ownIdempotency, a.Principal.ID, a.Principal.IdempotencyKey, string(a.Principal.Fingerprint), first, last, b.now)
		b.keys[idempotency{a.Principal.ID, a.Principal.IdempotencyKey}] = keyedAnswer{a.Principal.Fingerprint, events}
	}
	for i := range events {
		for _, subject := range events[i].Touches() {
			b.subjects[subject] = events[i].Seq
		}
	}
	return &Appended{Events: events}, nil
}

// event makes the event of a draft: it gives it its seq, its time and, where it
// registers, its number.
func (b *batchState) event(d pedigree.Draft, p pedigree.Principal, fields []pedigree.Field, seq int64, numbers map[string]int64) (pedigree.Event, error) {
	number := func(model string) pedigree.VersionNumber {
		if n, ok := numbers[model]; ok {
			return pedigree.VersionNumber(n)
		}
		return pedigree.VersionNumber(b.numbers[model])
	}
	e := pedigree.Event{V: 1, Seq: seq, Time: fromMicros(b.now), Type: d.Type, Actor: p.ID, Subject: d.Subject, RequestID: p.RequestID}
	if model, ok := strings.CutSuffix(d.Subject, pedigree.NextVersion); ok {
		n := number(model) + 1
		if d.Number != 0 {
			if d.Number < n {
				return e, pedigree.Errorf(pedigree.CodeExists, "the number %d can't be given: the model has given numbers up to %d, and never gives one again", d.Number, n-1).
					WithFix("register without a number, which gives %d", n)
			}
			n = d.Number
		}
		numbers[model] = int64(n)
		e.Subject = pedigree.VersionSubject(model, n)
	}
	for _, ref := range d.Refs {
		if model, ok := strings.CutSuffix(ref, pedigree.NextVersion); ok {
			ref = pedigree.VersionSubject(model, number(model))
		}
		e.Refs = append(e.Refs, ref)
	}
	if fields == nil {
		var err error
		if fields, err = b.s.seal(d, number(d.Subject)); err != nil {
			return e, err
		}
	}
	e.Fields = fields
	e.PayloadDigest = ledger.PayloadDigest(fields)
	e.Text = e.Envelope()
	return e, nil
}

// subjectSeq is the seq of the event that created e's subject, where that is a model
// or a version that was there before.
func (b *batchState) subjectSeq(ctx context.Context, e *pedigree.Event) (int64, error) {
	switch e.Type {
	case pedigree.ModelCreated, pedigree.VersionRegistered, pedigree.ProjectCreated, pedigree.WebhookCreated:
		return 0, nil
	}
	if seq, ok := b.created[e.Subject]; ok {
		return seq, nil
	}
	seq, err := b.tx.createdSeq(ctx, e.Subject)
	return seq, err
}

// createdSeq is the seq of the event that created a project, a model, a version or a
// webhook, 0 for other subjects.
func (tx *Tx) createdSeq(ctx context.Context, subject string) (seq int64, err error) {
	if model, n, ok := pedigree.SplitVersionSubject(subject); ok {
		err = tx.row(ctx, "SELECT seq FROM view_versions WHERE model = $1 AND number = $2", []any{model, int64(n)}, &seq)
	} else if strings.HasPrefix(subject, "mdl_") {
		err = tx.row(ctx, "SELECT seq FROM view_models WHERE id = $1", []any{subject}, &seq)
	} else if strings.HasPrefix(subject, "prj_") {
		err = tx.row(ctx, "SELECT seq FROM view_projects WHERE id = $1", []any{subject}, &seq)
	} else if strings.HasPrefix(subject, "whk_") {
		err = tx.row(ctx, "SELECT seq FROM view_webhooks WHERE id = $1", []any{subject}, &seq)
	}
	return seq, err
}

// write emits the statements of one event: its rows in the log, then its effect.
func (b *batchState) write(ctx context.Context, e *pedigree.Event, edge *ledger.Edge, subject int64, out *statements) error {
	out.insert(logEvents, e.Seq, micros(e.Time), string(e.Type), e.Subject, e.Text)
	for _, ref := range e.Refs {
		out.insert(logRefs, ref, e.Seq)
	}
	for _, f := range e.Fields {
		out.insert(logFields, e.Seq, f.Name, string(f.Value), f.Salt, nil)
	}
	for _, h := range edge.Append(ledger.Leaf(e.Text)) {
		out.insert(logHashes, h.Index, h.Hash[:])
	}
	if e.Type == pedigree.PayloadRedacted {
		if err := b.erase(ctx, e, out); err != nil {
			return err
		}
	}
	return apply(e, subject, out)
}

// erase emits the statements that take the values and salts of a redaction out of
// the log; their commitments stay, and with them every proof.
func (b *batchState) erase(ctx context.Context, e *pedigree.Event, out *statements) error {
	var names []string
	var target int64
	if _, err := e.Decode("fields", &names); err != nil {
		return err
	}
	if _, err := e.Decode("event", &target); err != nil {
		return err
	}
	fields, err := b.tx.fields(ctx, target, target)
	if err != nil {
		return err
	}
	for _, f := range fields[target] {
		if slices.Contains(names, f.Name) && !f.Erased() {
			out.exec("UPDATE log_fields SET value = NULL, salt = NULL, commitment = $1 WHERE seq = $2 AND name = $3",
				ledger.Commitment(f), target, f.Name)
		}
	}
	return nil
}

// Replay answers a call whose idempotency key was seen before; nil where it was not.
// It returns [pedigree.CodeConflict] where the key came with another request.
func (tx *Tx) Replay(ctx context.Context, p pedigree.Principal) (*Appended, error) {
	var fingerprint string
	var first, last int64
	err := tx.row(ctx, "SELECT fingerprint, first_seq, last_seq FROM own_idempotency WHERE actor = $1 AND key = $2", []any{p.ID, p.IdempotencyKey}, &fingerprint, &first, &last)
	switch {
	case errors.Is(err, errNoRows):
		return nil, nil
	case err != nil:
		return nil, tx.s.d.translate(err, "look for an idempotency key")
	case fingerprint != string(p.Fingerprint):
		return nil, errKeyReused
	}
	events, err := tx.envelopes(ctx, first, last)
	if err != nil {
		return nil, err
	}
	return &Appended{Events: events, Replayed: true}, nil
}

var errKeyReused = pedigree.Errorf(pedigree.CodeConflict, "the Idempotency-Key was used before, for another request").WithFix("use a new key for a new request")

// replay answers a call whose idempotency key was seen before, in an earlier batch or in
// this one; see [Tx.Replay].
func (b *batchState) replay(ctx context.Context, p pedigree.Principal) (*Appended, error) {
	seen, ok := b.keys[idempotency{p.ID, p.IdempotencyKey}]
	switch {
	case !ok:
		return nil, nil
	case seen.fingerprint != p.Fingerprint:
		return nil, errKeyReused
	case seen.events != nil:
		return &Appended{Events: seen.events, Replayed: true}, nil
	}
	return b.tx.Replay(ctx, p)
}

// readKeys are the statements that read which idempotency keys of the batch were seen
// before.
func (b *batchState) readKeys(batch []*request) []statement {
	var keys []idempotency
	for _, r := range batch {
		if r.append != nil && r.append.Principal.IdempotencyKey != "" {
			keys = append(keys, idempotency{r.append.Principal.ID, r.append.Principal.IdempotencyKey})
		}
	}
	var all []statement
	for chunk := range slices.Chunk(keys, 64) {
		var pairs []string
		var args []any
		for _, k := range evened(chunk) {
			args = append(args, k.actor, k.key)
			pairs = append(pairs, "($"+itoa(len(args)-1)+", $"+itoa(len(args))+")")
		}
		all = append(all, statement{"SELECT actor, key, fingerprint FROM own_idempotency WHERE (actor, key) IN (VALUES " + strings.Join(pairs, ", ") + ")", args, func(row scanner) error {
			var k idempotency
			var fingerprint string
			err := row.Scan(&k.actor, &k.key, &fingerprint)
			b.keys[k] = keyedAnswer{fingerprint: pedigree.Digest(fingerprint)}
			return err
		}})
	}
	return all
}

// checkBlobs makes sure that each blob is there, is the project's, and is not being
// deleted. The collector marks under the same lock.
func (b *batchState) checkBlobs(ctx context.Context, a *Append) error {
	want := slices.Clone(a.Blobs)
	slices.Sort(want)
	want = slices.Compact(want)
	for chunk := range slices.Chunk(want, 64) {
		have, err := b.tx.liveBlobs(ctx, a.Project, chunk)
		if err != nil {
			return err
		}
		for _, d := range chunk {
			if !have[d] {
				return pedigree.Errorf(pedigree.CodePrecondition, "blob %s is not in the registry", d).WithFix("upload it, then register again")
			}
		}
	}
	return nil
}

// merge appends the statements of other.
func (s *statements) merge(other *statements) {
	for _, o := range other.ops {
		if o.into == nil {
			s.exec(o.text, o.args...)
		} else {
			s.insert(o.into, o.args...)
		}
	}
	*other = statements{}
}

// Rebuild drops what the view_ tables hold and applies the whole log again, in one
// transaction under the log's lock. progress, if not nil, is told the events done.
// It is for administrators: readers see the old tables until it is done.
func (s *Store) Rebuild(ctx context.Context, progress func(done, size int64)) error {
	c, err := s.connect(ctx, s.write)
	if err != nil {
		return s.d.translate(err, "rebuild")
	}
	defer c.close()
	if err := s.rebuild(ctx, c, progress); err != nil {
		c.rollback()
		return s.d.translate(err, "rebuild")
	}
	return nil
}

func (s *Store) rebuild(ctx context.Context, c *conn, progress func(done, size int64)) error {
	if err := c.exec(ctx, s.d.beginWrite); err != nil {
		return err
	}
	if s.d.lockLog != "" {
		if err := c.exec(ctx, s.d.lockLog); err != nil {
			return err
		}
	}
	for _, t := range viewTables {
		if err := c.exec(ctx, "DELETE FROM "+t); err != nil {
			return err
		}
	}
	b := &batchState{s: s, tx: &Tx{s: s, c: c, current: true, checks: map[string]int64{}}}
	var size int64
	if err := b.tx.row(ctx, "SELECT size FROM log_head WHERE id = 1", nil, &size); err != nil {
		return err
	}
	const step = 512
	for from := int64(0); from < size; from += step {
		events, err := b.tx.events(ctx, from, min(from+step, size)-1)
		if err != nil {
			return err
		}
		b.created = map[string]int64{}
		for i := range events {
			e := &events[i]
			subject, err := b.subjectSeq(ctx, e)
			if err != nil {
				return err
			}
			b.created[e.Subject] = cmp.Or(subject, e.Seq)
			if err := apply(e, subject, &b.out); err != nil {
				return err
			}
		}
		if err := b.out.flush(ctx, c); err != nil {
			return err
		}
		if progress != nil {
			progress(from+int64(len(events)), size)
		}
	}
	if s.d.analyze != "" { // until the database gets round to it, it would read whole tables
		for _, t := range viewTables {
			if err := c.exec(ctx, s.d.analyze+t); err != nil {
				return err
			}
		}
	}
	return c.exec(ctx, "COMMIT")
}
