package sqlstore

import (
	"context"
	"database/sql"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/internal/ledger"
)

// rows is the part of *sql.Rows that a scan needs.
type rows = *sql.Rows

var errNoRows = sql.ErrNoRows

// headText reads the log's size and the last event that said who may do what, -1 for
// none, in one question.
const headText = "SELECT size, coalesce((SELECT seq FROM view_subjects WHERE subject = '" + pedigree.AccessKey + "'), -1) FROM log_head WHERE id = 1"

// Head is the size of the log now, in events.
func (s *Store) Head(ctx context.Context) (int64, error) {
	size, _, err := s.Access(ctx)
	return size, err
}

// Access is the size of the log now, and the last event that said who may do what, -1
// while there are no accounts.
func (s *Store) Access(ctx context.Context) (size, access int64, err error) {
	for {
		c, kept, err := s.readers.get(ctx, s)
		if err != nil {
			return 0, 0, s.d.translate(err, "read the log's head")
		}
		tx := &Tx{s: s, c: c, current: true}
		if err = tx.row(ctx, headText, nil, &size, &access); err == nil {
			s.readers.put(c)
			return size, access, nil
		}
		s.readers.drop(c)
		if !kept || ctx.Err() != nil { // one that was kept may have died since
			return 0, 0, s.d.translate(err, "read the log's head")
		}
	}
}

// signal wakes whoever waits for it.
type signal struct {
	mu sync.Mutex
	c  chan struct{} // closed by the next raise; nil while nobody waits
}

func (s *signal) wait() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.c == nil {
		s.c = make(chan struct{})
	}
	return s.c
}

func (s *signal) raise() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.c != nil {
		close(s.c)
		s.c = nil
	}
}

// Grown returns a channel that is closed once this store has appended to the log, or was
// nudged. What other processes append, only [Store.Head] tells.
func (s *Store) Grown() <-chan struct{} { return s.grown.wait() }

// Nudge wakes those who wait for [Store.Grown], for what is not in the log.
func (s *Store) Nudge() { s.grown.raise() }

// Root is the size of the tree and its root hash, as of tx's moment.
func (tx *Tx) Root(ctx context.Context) (size int64, root tlog.Hash, err error) {
	size = tx.last + 1
	if size == 0 {
		return 0, root, nil
	}
	root, err = tlog.TreeHash(size, tx.Hashes(ctx))
	return size, root, err
}

// Hashes reads stored hashes of the tree by their index.
func (tx *Tx) Hashes(ctx context.Context) tlog.HashReader {
	return tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		out := make([]tlog.Hash, len(indexes))
		if len(indexes) == 0 {
			return out, nil
		}
		at := make(map[int64]int, len(indexes))
		for i, idx := range indexes {
			at[idx] = i
		}
		in, args := list(nil, indexes)
		found := 0
		err := tx.each(ctx, "read tree hashes", "SELECT idx, hash FROM log_hashes WHERE idx IN ("+in+")", args, func(rows rows) error {
			var idx int64
			var h []byte
			if err := rows.Scan(&idx, &h); err != nil {
				return err
			}
			copy(out[at[idx]][:], h)
			found++
			return nil
		})
		if err == nil && found != len(indexes) {
			err = pedigree.Errorf(pedigree.CodeCorrupt, "the log's tree lacks %d hashes", len(indexes)-found)
		}
		return out, err
	})
}

// envelopes reads events without payloads, first to last.
func (tx *Tx) envelopes(ctx context.Context, first, last int64) ([]pedigree.Event, error) {
	var out []pedigree.Event
	err := tx.each(ctx, "read events", "SELECT envelope FROM log_events WHERE seq BETWEEN $1 AND $2 ORDER BY seq", []any{first, last}, func(rows rows) error {
		var text string
		if err := rows.Scan(&text); err != nil {
			return err
		}
		e, err := pedigree.ParseEnvelope(text)
		out = append(out, e)
		return err
	})
	return out, err
}

// fields reads the payloads of events first to last, by seq.
func (tx *Tx) fields(ctx context.Context, first, last int64) (map[int64][]pedigree.Field, error) {
	out := map[int64][]pedigree.Field{}
	err := tx.each(ctx, "read payloads", "SELECT seq, name, value, salt, commitment FROM log_fields WHERE seq BETWEEN $1 AND $2 ORDER BY seq, name", []any{first, last}, scanFields(out))
	return out, err
}

func scanFields(out map[int64][]pedigree.Field) func(rows rows) error {
	return func(rows rows) error {
		var seq int64
		var f pedigree.Field
		var value sql.NullString
		if err := rows.Scan(&seq, &f.Name, &value, &f.Salt, &f.Commitment); err != nil {
			return err
		}
		if value.Valid {
			f.Value = []byte(value.String)
		}
		out[seq] = append(out[seq], f)
		return nil
	}
}

// events reads events with their payloads, first to last.
func (tx *Tx) events(ctx context.Context, first, last int64) ([]pedigree.Event, error) {
	events, err := tx.envelopes(ctx, first, last)
	if err != nil {
		return nil, err
	}
	fields, err := tx.fields(ctx, first, last)
	for i := range events {
		events[i].Fields = fields[events[i].Seq]
	}
	return events, err
}

// Event reads one event with its payload. It returns [pedigree.CodeNotFound].
func (tx *Tx) Event(ctx context.Context, seq int64) (pedigree.Event, error) {
	if seq < 0 || seq > tx.last {
		return pedigree.Event{}, pedigree.Errorf(pedigree.CodeNotFound, "there is no event %d; the last is %d", seq, tx.last)
	}
	events, err := tx.events(ctx, seq, seq)
	if err == nil && len(events) != 1 {
		err = pedigree.Errorf(pedigree.CodeCorrupt, "event %d is missing from the log", seq)
	}
	if err != nil {
		return pedigree.Event{}, err
	}
	return events[0], nil
}

// Entries reads the entries that q chooses, with leaf hashes.
func (tx *Tx) Entries(ctx context.Context, q pedigree.EventQuery) ([]pedigree.Entry, error) {
	args := []any{tx.last}
	where := []string{"e.seq <= $1"}
	from := "log_events e"
	order := "ASC"
	switch {
	case q.Newest && q.After >= 0:
		args = append(args, q.After)
		where, order = append(where, "e.seq < $2"), "DESC"
	case q.Newest:
		order = "DESC"
	default:
		args = append(args, q.After)
		where = append(where, "e.seq > $2")
	}
	if q.Subject != "" {
		args = append(args, q.Subject)
		n := "$" + itoa(len(args))
		in := "SELECT seq FROM log_events WHERE subject = " + n + " UNION SELECT seq FROM log_refs WHERE ref = " + n
		if !strings.Contains(q.Subject, "/") { // what happens to its versions happens to a model
			args = append(args, q.Subject+"/", q.Subject+"0") // "0" follows "/"
			from, to := "$"+itoa(len(args)-1), "$"+itoa(len(args))
			var parents string
			parents, args = list(args, pedigree.LineageTypes)
			in += " UNION SELECT seq FROM log_events WHERE subject > " + from + " AND subject < " + to +
				" UNION SELECT r.seq FROM log_refs r JOIN log_events t ON t.seq = r.seq WHERE r.ref > " + from + " AND r.ref < " + to + " AND t.type NOT IN (" + parents + ")"
		}
		where = append(where, "e.seq IN ("+in+")")
	}
	if len(q.Types) > 0 {
		var in string
		in, args = list(args, q.Types)
		where = append(where, "e.type IN ("+in+")")
	}
	args = append(args, pedigree.Page{Limit: q.Limit}.Size())
	text := "SELECT e.seq, e.envelope FROM " + from + " WHERE " + strings.Join(where, " AND ") + " ORDER BY e.seq " + order + " LIMIT $" + itoa(len(args))
	return tx.entries(ctx, text, args)
}

// entries reads the entries whose seq and envelope a query gives.
func (tx *Tx) entries(ctx context.Context, text string, args []any) ([]pedigree.Entry, error) {
	var out []pedigree.Entry
	var seqs []int64
	err := tx.each(ctx, "read the log", text, args, func(rows rows) error {
		var e pedigree.Entry
		if err := rows.Scan(&e.Seq, &e.Envelope); err != nil {
			return err
		}
		leaf := ledger.Leaf(e.Envelope)
		e.Leaf = leaf[:]
		out = append(out, e)
		seqs = append(seqs, e.Seq)
		return nil
	})
	if err != nil || len(seqs) == 0 {
		return out, err
	}
	fields := map[int64][]pedigree.Field{}
	if contiguous := int64(len(seqs)-1) == max(seqs[0], seqs[len(seqs)-1])-min(seqs[0], seqs[len(seqs)-1]); contiguous {
		fields, err = tx.fields(ctx, min(seqs[0], seqs[len(seqs)-1]), max(seqs[0], seqs[len(seqs)-1]))
	} else {
		in, args := list(nil, seqs)
		err = tx.each(ctx, "read payloads", "SELECT seq, name, value, salt, commitment FROM log_fields WHERE seq IN ("+in+") ORDER BY seq, name", args, scanFields(fields))
	}
	for i := range out {
		out[i].Fields = fields[out[i].Seq]
	}
	return out, err
}

// Views writes every row of the view_ tables as a line of text, in a fixed order, so
// that two stores, or one before and after a rebuild, can be compared.
func (s *Store) Views(ctx context.Context, w io.Writer) error {
	return s.Read(ctx, pedigree.At{}, func(tx *Tx) error {
		for _, t := range viewTables {
			var lines []string
			err := tx.each(ctx, "read "+t, "SELECT * FROM "+t, nil, func(rows rows) error {
				columns, err := rows.Columns()
				if err != nil {
					return err
				}
				values := make([]any, len(columns))
				dest := make([]any, len(columns))
				for i := range values {
					dest[i] = &values[i]
				}
				if err := rows.Scan(dest...); err != nil {
					return err
				}
				line := t
				for i, v := range values {
					line += fmt.Sprintf(" %s=%q", columns[i], fmt.Sprint(v))
				}
				lines = append(lines, line)
				return nil
			})
			if err != nil {
				return err
			}
			slices.Sort(lines)
			for _, line := range lines {
				if _, err := fmt.Fprintln(w, line); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// ChangeQuery chooses events of a time.
type ChangeQuery struct {
	// Project is an id: everything that belongs to it, and the policies that hold there.
	// Target and Model narrow that down, with an id: to a model and its versions with what
	// refers to them; or to a target with what refers to it, those policies, and the versions
	// that were deployed or active there in that time.
	Project, Target, Model string
	From, To               time.Time
	After                  int64
	Limit                  int
}

// Changes reads the entries that q chooses, oldest first.
func (tx *Tx) Changes(ctx context.Context, q ChangeQuery) ([]pedigree.Entry, error) {
	first, last, err := tx.span(ctx, q.From, q.To)
	if err != nil {
		return nil, err
	}
	args := []any{first, last, q.After}
	in := ""
	switch {
	case q.Target != "":
		args = append(args, q.Target, pedigree.PolicySubject(q.Project), pedigree.PolicySubject(""))
		in = "SELECT seq FROM log_events WHERE subject IN ($4, $5, $6) AND seq >= $1 AND seq <= $2 UNION SELECT seq FROM log_refs WHERE ref = $4 AND seq >= $1 AND seq <= $2 UNION SELECT e.seq FROM (" + stood +
			") d JOIN log_events e ON e.subject = d.model || '/' || d.number WHERE e.seq >= $1 AND e.seq <= $2"
	case q.Model != "":
		args = append(args, q.Model, q.Model+"/", q.Model+"0")
		in = "SELECT seq FROM log_events WHERE subject = $4 UNION SELECT seq FROM log_refs WHERE ref = $4 UNION SELECT seq FROM log_events WHERE subject > $5 AND subject < $6 UNION SELECT seq FROM log_refs WHERE ref > $5 AND ref < $6"
	default:
		args = append(args, q.Project, pedigree.PolicySubject(q.Project), pedigree.PolicySubject(""))
		in = `SELECT seq FROM log_events WHERE subject IN ($4, $5, $6) UNION SELECT seq FROM log_refs WHERE ref = $4
UNION SELECT e.seq FROM log_events e JOIN view_models m ON e.subject = m.id OR e.subject > m.id || '/' AND e.subject < m.id || '0' WHERE m.project = $4 AND e.seq >= $1 AND e.seq <= $2
UNION SELECT e.seq FROM log_events e JOIN view_targets t ON e.subject = t.id WHERE t.project = $4
UNION SELECT r.seq FROM log_refs r JOIN view_targets t ON r.ref = t.id WHERE t.project = $4`
	}
	args = append(args, q.Limit)
	return tx.entries(ctx, "SELECT e.seq, e.envelope FROM log_events e WHERE e.seq >= $1 AND e.seq <= $2 AND e.seq > $3 AND e.seq IN ("+in+") ORDER BY e.seq LIMIT $"+itoa(len(args)), args)
}

// stood is the query of the versions that were deployed to the target $4, or active there, from
// the event $1 to the event $2. Of each role at most one deployment was active when that time
// began, the last that had become so: however long a target's past is, it is not read.
var stood = func() string {
	parts := []string{"SELECT model, number FROM view_deployments WHERE target = $4 AND seq >= $1 AND seq <= $2"}
	for _, role := range []pedigree.DeploymentRole{pedigree.RolePrimary, pedigree.RoleCanary, pedigree.RoleShadow} {
		of := "FROM view_deployments WHERE target = $4 AND role = '" + string(role) + "' AND active_seq"
		parts = append(parts, "SELECT model, number "+of+" >= $1 AND active_seq <= $2",
			"SELECT model, number FROM (SELECT model, number, end_seq "+of+" < $1 ORDER BY active_seq DESC LIMIT 1) was_"+string(role)+" WHERE end_seq IS NULL OR end_seq >= $1")
	}
	return strings.Join(parts, " UNION ")
}()

// span finds the first and the last event of a time; the first is after the last where there
// is none.
func (tx *Tx) span(ctx context.Context, from, to time.Time) (first, last int64, err error) {
	for _, end := range []struct {
		seq  *int64
		none int64
		text string
		at   time.Time
	}{
		{&first, tx.last + 1, "time >= $1 AND seq <= $2 ORDER BY time, seq", from},
		{&last, -1, "time <= $1 AND seq <= $2 ORDER BY time DESC, seq DESC", to},
	} {
		err := tx.row(ctx, "SELECT seq FROM log_events WHERE "+end.text+" LIMIT 1", []any{micros(end.at), tx.last}, end.seq)
		if err == errNoRows {
			*end.seq = end.none
		} else if err != nil {
			return 0, 0, tx.s.d.translate(err, "find the moment")
		}
	}
	return first, last, nil
}
