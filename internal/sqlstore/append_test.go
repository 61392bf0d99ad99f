package sqlstore

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/internal/ledger"
	"github.com/pedigree-ml/pedigree/internal/pgtest"
)

func eachDatabase(t *testing.T, f func(t *testing.T, database string)) {
	t.Helper()
	t.Run("sqlite", func(t *testing.T) { f(t, filepath.Join(t.TempDir(), "pedigree.db")) })
	t.Run("postgres", func(t *testing.T) { f(t, pgtest.Database(t)) })
}

func mustOpen(t *testing.T, database string) *Store {
	t.Helper()
	s, err := Open(context.Background(), Config{Database: database, Now: time.Now, Rand: rand.Reader, Log: slog.New(slog.NewTextHandler(io.Discard, nil))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// mustBegin writes the first events of a log with one model, and returns the project's
// and the model's ids.
func mustBegin(t *testing.T, s *Store) (project, model string) {
	t.Helper()
	_, public, err := ledger.NewKey(rand.Reader, "pedigree/test")
	if err != nil {
		t.Fatal(err)
	}
	project, model = "prj_1", "mdl_1"
	mustAppend(t, s,
		pedigree.Draft{Type: pedigree.LogCreated, Subject: pedigree.LogSubject, Payload: pedigree.Payload{"origin": "pedigree/test", "key": public}},
		pedigree.Draft{Type: pedigree.ProjectCreated, Subject: project, Payload: pedigree.Payload{"name": "default"}},
		pedigree.Draft{Type: pedigree.ModelCreated, Subject: model, Payload: pedigree.Payload{"project": project, "name": "fraud"}},
	)
	return project, model
}

func mustAppend(t *testing.T, s *Store, drafts ...pedigree.Draft) *Appended {
	t.Helper()
	a, err := s.Append(context.Background(), Append{Principal: pedigree.Local, Drafts: drafts})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func register(model string) pedigree.Draft {
	return pedigree.Draft{Type: pedigree.VersionRegistered, Subject: model + pedigree.NextVersion, Payload: pedigree.Payload{"tags": map[string]string{"a": "1", "b": "2"}}}
}

// verify checks the whole log: gapless, every leaf and payload, and the stored tree.
func verify(t *testing.T, s *Store) int64 {
	t.Helper()
	var size int64
	err := s.Read(context.Background(), pedigree.At{}, func(tx *Tx) error {
		v, err := ledger.NewVerifier(ledger.VerifierConfig{})
		if err != nil {
			return err
		}
		for after := int64(-1); ; {
			entries, err := tx.Entries(context.Background(), pedigree.EventQuery{After: after, Limit: 1000})
			if err != nil {
				return err
			}
			if len(entries) == 0 {
				break
			}
			for _, e := range entries {
				if err := v.Add(e); err != nil {
					return err
				}
				after = e.Seq
			}
		}
		report, err := v.Finish()
		if err != nil {
			return err
		}
		n, root, err := tx.Root(context.Background())
		if err != nil {
			return err
		}
		if n != report.Size || root != report.Root {
			return fmt.Errorf("the stored tree has %d events and root %x, the events give %d and %x", n, root, report.Size, report.Root)
		}
		size = n
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return size
}

// TestAppendFaults fails a batch before and after its commit. Before: nothing was
// written, and the same call succeeds once the fault is gone. After: the caller is told
// that the outcome is unknown, and the same key answers with what was written.
func TestAppendFaults(t *testing.T) {
	eachDatabase(t, func(t *testing.T, database string) {
		for i, row := range []struct {
			point   string
			written bool
		}{{"before commit", false}, {"after commit", true}} {
			t.Run(row.point, func(t *testing.T) {
				s := mustOpen(t, database)
				var model string
				if i == 0 {
					_, model = mustBegin(t, s)
				} else {
					model = "mdl_1"
				}
				before := verify(t, s)
				broken := true
				s.fault = func(point string) error {
					if broken && point == row.point {
						return errors.New("injected")
					}
					return nil
				}
				a := Append{Principal: pedigree.Principal{ID: "local", IdempotencyKey: row.point, Fingerprint: "x"}, Drafts: []pedigree.Draft{register(model)}}
				_, err := s.Append(context.Background(), a)
				if err == nil {
					t.Fatal("the fault was not seen")
				}
				size := verify(t, s)
				if wrote := size > before; wrote != row.written {
					t.Fatalf("size went from %d to %d", before, size)
				}
				if row.written && pedigree.CodeOf(err) != pedigree.CodeUnavailable {
					t.Errorf("got %v, want an unknown outcome", err)
				}
				broken = false
				again, err := s.Append(context.Background(), a)
				if err != nil {
					t.Fatal(err)
				}
				if again.Replayed != row.written {
					t.Errorf("replayed is %v, want %v", again.Replayed, row.written)
				}
				if got := verify(t, s); got != before+1 {
					t.Errorf("the log has %d events, want %d: one version, however often it was asked for", got, before+1)
				}
				other := a
				other.Principal.Fingerprint = "y"
				if _, err := s.Append(context.Background(), other); pedigree.CodeOf(err) != pedigree.CodeConflict {
					t.Errorf("the key with another request: got %v, want a conflict", err)
				}
				if err := s.Close(); err != nil {
					t.Error(err)
				}
			})
		}
	})
}

// TestAppendChecks: of two decisions that rest on one state, the second is refused, in
// one batch as in two; registrations disturb nobody.
func TestAppendChecks(t *testing.T) {
	eachDatabase(t, func(t *testing.T, database string) {
		s := mustOpen(t, database)
		_, model := mustBegin(t, s)
		mustAppend(t, s, register(model))
		move := Append{
			Principal: pedigree.Local, Checks: map[string]int64{pedigree.AliasKey(model, "champion"): -1},
			Drafts: []pedigree.Draft{{Type: pedigree.AliasMoved, Subject: model, Payload: pedigree.Payload{"alias": "champion", "version": pedigree.VersionNumber(1)}}},
		}
		var mu sync.Mutex
		moved, refused := 0, 0
		var wg sync.WaitGroup
		for range 16 {
			wg.Go(func() {
				_, err := s.Append(context.Background(), move)
				mu.Lock()
				defer mu.Unlock()
				switch {
				case err == nil:
					moved++
				case errors.As(err, new(*Moved)):
					refused++
				default:
					t.Error(err)
				}
			})
			wg.Go(func() { mustAppendQuietly(t, s, register(model)) })
		}
		wg.Wait()
		if moved != 1 || refused != 15 {
			t.Errorf("%d moved and %d were refused, want 1 and 15", moved, refused)
		}
		if size := verify(t, s); size != 3+1+16+1 {
			t.Errorf("the log has %d events, want 21", size)
		}
	})
}

func mustAppendQuietly(t *testing.T, s *Store, d pedigree.Draft) {
	if _, err := s.Append(context.Background(), Append{Principal: pedigree.Local, Drafts: []pedigree.Draft{d}}); err != nil {
		t.Error(err)
	}
}

// TestAppendProcesses: two stores on one database keep one gapless log, and give each
// number once.
func TestAppendProcesses(t *testing.T) {
	eachDatabase(t, func(t *testing.T, database string) {
		a, b := mustOpen(t, database), mustOpen(t, database)
		_, model := mustBegin(t, a)
		const each = 100
		var mu sync.Mutex
		numbers := map[string]int{}
		var wg sync.WaitGroup
		for _, s := range []*Store{a, b} {
			for range 4 {
				wg.Go(func() {
					for range each / 4 {
						out, err := s.Append(context.Background(), Append{Principal: pedigree.Local, Drafts: []pedigree.Draft{register(model)}})
						if err != nil {
							t.Error(err)
							return
						}
						mu.Lock()
						numbers[out.Events[0].Subject]++
						mu.Unlock()
					}
				})
			}
		}
		wg.Wait()
		if len(numbers) != 2*each {
			t.Errorf("%d numbers for %d versions", len(numbers), 2*each)
		}
		if size := verify(t, b); size != 3+2*each {
			t.Errorf("the log has %d events, want %d", size, 3+2*each)
		}
	})
}

// TestBlobMissing: an event never names a blob that the project does not have, and a
// blob of another project does not count.
func TestBlobMissing(t *testing.T) {
	eachDatabase(t, func(t *testing.T, database string) {
		s := mustOpen(t, database)
		project, model := mustBegin(t, s)
		d := pedigree.DigestBytes([]byte("weights"))
		a := Append{Principal: pedigree.Local, Drafts: []pedigree.Draft{register(model)}, Project: project, Blobs: []pedigree.Digest{d, d}}
		for _, row := range []struct {
			name string
			add  func() error
			want pedigree.ErrorCode
		}{
			{"nobody has it", func() error { return nil }, pedigree.CodePrecondition},
			{"another project has it", func() error {
				return s.AddBlobs(context.Background(), "prj_2", []pedigree.Digest{d}, []int64{7})
			}, pedigree.CodePrecondition},
			{"this project has it", func() error {
				return s.AddBlobs(context.Background(), project, []pedigree.Digest{d}, []int64{7})
			}, ""},
		} {
			if err := row.add(); err != nil {
				t.Fatal(err)
			}
			if _, err := s.Append(context.Background(), a); pedigree.CodeOf(err) != row.want {
				t.Errorf("%s: got %v, want code %q", row.name, err, row.want)
			}
		}
	})
}

// TestRebuildAnalyses: what a rebuild has filled anew has statistics at once: without them
// PostgreSQL reads whole tables until it gets round to making some.
func TestRebuildAnalyses(t *testing.T) {
	s := mustOpen(t, pgtest.Database(t))
	_, model := mustBegin(t, s)
	mustAppend(t, s, register(model))
	if err := s.Rebuild(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	for _, table := range viewTables {
		rows := float64(-1)
		if err := s.Read(t.Context(), pedigree.At{}, func(tx *Tx) error {
			return tx.row(t.Context(), "SELECT reltuples FROM pg_class WHERE relname = $1", []any{table}, &rows)
		}); err != nil {
			t.Fatal(err)
		}
		if rows < 0 {
			t.Errorf("%s has no statistics", table)
		}
	}
}

// TestClockGoesBack: events never go back in time.
func TestClockGoesBack(t *testing.T) {
	now := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	s, err := Open(context.Background(), Config{
		Database: filepath.Join(t.TempDir(), "pedigree.db"), Rand: rand.Reader,
		Now: func() time.Time { return now }, Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	_, model := mustBegin(t, s)
	now = now.Add(-time.Hour)
	e := mustAppend(t, s, register(model)).Events[0]
	if want := now.Add(time.Hour); !e.Time.Equal(want) {
		t.Errorf("got %s, want the last event's %s", e.Time, want)
	}
	err = s.Read(context.Background(), pedigree.At{Time: now}, func(*Tx) error { return nil })
	if pedigree.CodeOf(err) != pedigree.CodeNotRecorded {
		t.Errorf("before the first event: got %v, want not recorded", err)
	}
}

// TestClosedStore: an append after Close is an outage, not a hang.
func TestClosedStore(t *testing.T) {
	s := mustOpen(t, filepath.Join(t.TempDir(), "pedigree.db"))
	_, model := mustBegin(t, s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	_, err := s.Append(context.Background(), Append{Principal: pedigree.Local, Drafts: []pedigree.Draft{register(model)}})
	if pedigree.CodeOf(err) != pedigree.CodeUnavailable {
		t.Errorf("got %v, want unavailable", err)
	}
}

// TestFailedStatement: a statement that fails takes its own member of the batch down and
// no other; PostgreSQL aborts the whole transaction then, and must not be believed when
// it answers COMMIT.
func TestFailedStatement(t *testing.T) {
	eachDatabase(t, func(t *testing.T, database string) {
		s := mustOpen(t, database)
		mustBegin(t, s)
		ctx := context.Background()
		d := pedigree.DigestBytes([]byte("weights"))
		own := func(f func(ctx context.Context, tx *Tx) error) *request {
			return &request{ctx: ctx, own: f, answer: make(chan outcome, 1)}
		}
		good := own(func(ctx context.Context, tx *Tx) error { return tx.addBlob(ctx, "prj_1", d, 7) })
		bad := own(func(ctx context.Context, tx *Tx) error {
			return tx.each(ctx, "read nothing", "SELECT no_such_column FROM log_head", nil, func(rows) error { return nil })
		})
		swallowed := own(func(ctx context.Context, tx *Tx) error { // an error that is lost on the way
			_ = tx.each(ctx, "read nothing", "SELECT no_such_column FROM log_head", nil, func(rows) error { return nil })
			return nil
		})
		c := s.commit(nil, []*request{good, bad, swallowed})
		if c != nil {
			defer c.close()
		}
		if out := <-good.answer; out.err != nil {
			t.Errorf("the innocent member: %v", out.err)
		}
		if out := <-bad.answer; pedigree.CodeOf(out.err) != pedigree.CodeInternal {
			t.Errorf("the member whose statement failed: got %v, want an internal error", out.err)
		}
		have, err := s.HaveBlobs(ctx, "prj_1", []pedigree.Digest{d})
		if err != nil || !have[d] {
			t.Errorf("acknowledged and not there: %v, %v", have, err)
		}
		verify(t, s)
	})
}

// TestCloseAfterReader: Close comes back when a read outlives its beginning.
func TestCloseAfterReader(t *testing.T) {
	eachDatabase(t, func(t *testing.T, database string) {
		s, err := Open(context.Background(), Config{Database: database, Now: time.Now, Rand: rand.Reader, Log: slog.New(slog.NewTextHandler(io.Discard, nil))})
		if err != nil {
			t.Fatal(err)
		}
		mustBegin(t, s)
		reading, release, read := make(chan struct{}), make(chan struct{}), make(chan error)
		go func() {
			read <- s.Read(context.Background(), pedigree.At{}, func(*Tx) error {
				close(reading)
				<-release
				return nil
			})
		}()
		<-reading
		closed := make(chan struct{})
		go func() { _ = s.Close(); close(closed) }()
		<-s.stopped // Close is on its way
		close(release)
		<-read
		<-closed // hangs for ever where the reader's connection is kept
	})
}

// TestLostConnections: after PostgreSQL dropped every connection, reads and writes go on.
func TestLostConnections(t *testing.T) {
	database := pgtest.Database(t)
	s, admin := mustOpen(t, database), mustOpen(t, database)
	_, model := mustBegin(t, s)
	ctx := context.Background()
	for range 3 {
		if _, err := s.Head(ctx); err != nil {
			t.Fatal(err)
		}
		c, err := admin.connect(ctx, admin.write)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.exec(ctx, "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"); err != nil {
			t.Fatal(err)
		}
		c.close()
		if _, err := s.Head(ctx); err != nil {
			t.Errorf("head: %v", err)
		}
		if err := s.Read(ctx, pedigree.At{}, func(*Tx) error { return nil }); err != nil {
			t.Errorf("read: %v", err)
		}
		if _, err := s.Append(ctx, Append{Principal: pedigree.Local, Drafts: []pedigree.Draft{register(model)}}); err != nil {
			t.Errorf("append: %v", err)
		}
	}
	if size := verify(t, s); size != 6 {
		t.Errorf("the log has %d events, want 6", size)
	}
}

// TestAbandoned: a caller that leaves while the writer is busy with others gets its own
// error at once, and is not written afterwards.
func TestAbandoned(t *testing.T) {
	s := mustOpen(t, filepath.Join(t.TempDir(), "pedigree.db"))
	_, model := mustBegin(t, s)
	busy, release := make(chan struct{}), make(chan struct{})
	blocker := make(chan error)
	go func() {
		blocker <- s.own(context.Background(), func(context.Context, *Tx) error {
			close(busy)
			<-release
			return nil
		})
	}()
	<-busy
	ctx, cancel := context.WithCancel(context.Background())
	left := make(chan error)
	go func() {
		_, err := s.Append(ctx, Append{Principal: pedigree.Local, Drafts: []pedigree.Draft{register(model)}})
		left <- err
	}()
	cancel()
	if err := <-left; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want the caller's own end", err)
	}
	close(release)
	if err := <-blocker; err != nil {
		t.Error(err)
	}
	if size := verify(t, s); size != 3 {
		t.Errorf("the log has %d events, want 3", size)
	}
}

// TestErasedPages: an erased value is not left in the free pages of SQLite's file.
func TestErasedPages(t *testing.T) {
	database := filepath.Join(t.TempDir(), "pedigree.db")
	s := mustOpen(t, database)
	_, model := mustBegin(t, s)
	const secret = "jane.doe@example.org"
	params := map[string]string{}
	for i := range 300 {
		params[fmt.Sprint("k", i)] = secret + fmt.Sprint(i)
	}
	e := mustAppend(t, s, pedigree.Draft{Type: pedigree.VersionRegistered, Subject: model + pedigree.NextVersion, Payload: pedigree.Payload{"params": params}}).Events[0]
	for range 30 {
		mustAppend(t, s, register(model))
	}
	mustAppend(t, s, pedigree.Draft{Type: pedigree.PayloadRedacted, Subject: e.Subject, Payload: pedigree.Payload{"event": e.Seq, "fields": []string{"params"}}})
	if err := s.Scrub(context.Background()); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{database, database + "-wal"} {
		content, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if n := bytes.Count(content, []byte(secret)); n > 0 {
			t.Errorf("the erased value is %d times in %s", n, filepath.Base(name))
		}
	}
}
