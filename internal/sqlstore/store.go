package sqlstore

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"embed"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"math/bits"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"modernc.org/sqlite" // registers the driver "sqlite", too
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/pedigree-ml/pedigree"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Config says which database to open and where time and chance come from.
type Config struct {
	// Database is the path of a SQLite file, or a postgres:// URL.
	Database string
	// Now is the clock; SQLite's events take their time from it.
	Now func() time.Time
	// Rand is the source of salts.
	Rand io.Reader
	// Log is told of what an operator should know; never nil.
	Log *slog.Logger
	// Connections is the most connections to keep for reading; 0 means 8.
	Connections int
}

// Store is one open database. Its methods may be called from any goroutine.
type Store struct {
	d       *dialect
	write   *sql.DB
	read    *sql.DB
	now     func() time.Time
	rand    io.Reader
	log     *slog.Logger
	queue   chan *request
	stop    chan struct{} // closed by Close: the writer finishes what waits and ends
	stopped chan struct{}
	closing sync.Once
	readers *pool
	pgx     *pgxpool.Pool
	reports map[string]int // of the writer alone: reports of a run since it was folded
	grown   signal
	// fault, where a test sets it, may fail a batch before or after its commit.
	fault func(point string) error
	// projects keeps what never changes of projects that were looked up, by name.
	projects sync.Map
	// policies keeps policies by the event that applied them, without descriptions.
	policies sync.Map
	memory   memory
}

// Open opens the database, brings its tables up to date and starts the writer. It
// returns [pedigree.CodeInvalid] for a database URL that it can't read and
// [pedigree.CodeUnavailable] for a database that it can't reach.
func Open(ctx context.Context, cfg Config) (*Store, error) {
	s := &Store{
		now: cfg.Now, rand: cfg.Rand, log: cfg.Log,
		queue: make(chan *request, 1024), stop: make(chan struct{}), stopped: make(chan struct{}),
		reports: map[string]int{},
	}
	connections := cfg.Connections
	if connections == 0 {
		connections = 8
	}
	s.readers = newPool(connections)
	var err error
	if strings.HasPrefix(cfg.Database, "postgres://") || strings.HasPrefix(cfg.Database, "postgresql://") {
		err = s.openPostgres(ctx, cfg.Database, connections)
	} else {
		err = s.openSQLite(cfg.Database, connections)
	}
	if err != nil {
		return nil, err
	}
	if err := s.migrate(ctx); err != nil {
		s.closeDatabases()
		return nil, err
	}
	go s.writer()
	return s, nil
}

func (s *Store) openSQLite(path string, connections int) error {
	s.d = sqliteDialect
	if strings.Contains(path, "://") {
		return pedigree.Errorf(pedigree.CodeInvalid, "database %q: want a file path for SQLite or a postgres:// URL", path)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return pedigree.Errorf(pedigree.CodeUnavailable, "the folder of the database can't be made: %w", err)
	}
	uri := "file:" + (&url.URL{Path: filepath.ToSlash(path)}).EscapedPath() +
		"?_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=foreign_keys(1)&_pragma=secure_delete(1)" +
		"&_pragma=temp_store(MEMORY)&_pragma=cache_size(-16000)" + // statement journals, and pages, in memory: 16 MB a connection at most
		"&_pragma=wal_autocheckpoint(4000)" // a page that many commits change is written back once in 16 MB
	var err error
	if s.write, err = sql.Open("sqlite", uri+"&_txlock=immediate"); err != nil {
		return s.d.translate(err, "open the database")
	}
	s.write.SetMaxOpenConns(2) // the writer, and a rebuild
	if s.read, err = sql.Open("sqlite", uri+"&_pragma=query_only(1)"); err != nil {
		return s.d.translate(err, "open the database")
	}
	s.read.SetMaxOpenConns(connections)
	return nil
}

func (s *Store) openPostgres(ctx context.Context, dsn string, connections int) error {
	s.d = postgresDialect
	cfg, err := pgxpool.ParseConfig(dsn)
	if err != nil {
		// pgx's message holds the URL, and with it a password.
		return pedigree.Errorf(pedigree.CodeInvalid, "the postgres:// URL of the database can't be read").
			WithFix("write postgres://USER:PASSWORD@HOST:PORT/DATABASE")
	}
	cfg.MaxConns = int32(connections) + 2 // the writer and one to spare
	if s.pgx, err = pgxpool.NewWithConfig(ctx, cfg); err != nil {
		return s.d.translate(err, "open the database")
	}
	s.write = stdlib.OpenDBFromPool(s.pgx)
	s.read = s.write
	if err := s.write.PingContext(ctx); err != nil {
		s.closeDatabases()
		return s.d.translate(err, "open the database")
	}
	return nil
}

// first begins the first transaction. A new SQLite file becomes one with a write-ahead
// log by its first connection, and another that comes at that moment is told that the
// file is locked, whatever its wait limit: it asks again.
func (s *Store) first(ctx context.Context) (*sql.Tx, error) {
	for try := 0; ; try++ {
		tx, err := s.write.BeginTx(ctx, nil)
		var lite *sqlite.Error
		if err == nil || try == 100 || !errors.As(err, &lite) || lite.Code()&0xff != sqlite3.SQLITE_BUSY {
			return tx, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// migrate brings the tables up to date, in one transaction under the log's lock, so
// that any number of processes may start at once.
func (s *Store) migrate(ctx context.Context) error { return s.migrateTo(ctx, math.MaxInt) }

// carries are what statements can't say, by the name of the file that comes before.
var carries = map[string]func(ctx context.Context, d *dialect, tx *sql.Tx) error{
	"0006_metrics.sql": carryMetrics,
}

// migrateTo runs the files that are missing up to number most.
func (s *Store) migrateTo(ctx context.Context, most int) error {
	entries, err := migrations.ReadDir("migrations")
	if err != nil {
		return err
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name()
	}
	sort.Strings(names)
	tx, err := s.first(ctx)
	if err != nil {
		return s.d.translate(err, "open the database")
	}
	defer func() { _ = tx.Rollback() }()
	if s.d.lockLog != "" {
		if _, err := tx.ExecContext(ctx, s.d.lockLog); err != nil {
			return s.d.translate(err, "lock the log")
		}
	}
	if _, err := tx.ExecContext(ctx, s.d.tokens.Replace("CREATE TABLE IF NOT EXISTS own_schema (version {int} NOT NULL PRIMARY KEY) {strict}")); err != nil {
		return s.d.translate(err, "create the schema table")
	}
	var have int
	if err := tx.QueryRowContext(ctx, "SELECT coalesce(max(version), 0) FROM own_schema").Scan(&have); err != nil {
		return s.d.translate(err, "read the schema version")
	}
	if have > len(names) {
		return pedigree.Errorf(pedigree.CodeRefused, "the database has schema version %d; this program knows %d", have, len(names)).
			WithFix("run the newer pedigree that upgraded it")
	}
	for i := have; i < min(len(names), most); i++ {
		text, err := migrations.ReadFile("migrations/" + names[i])
		if err != nil {
			return err
		}
		for _, stmt := range strings.Split(s.d.tokens.Replace(string(text)), ";\n") {
			if stmt = strings.TrimSpace(stmt); stmt == "" {
				continue
			}
			if _, err := tx.ExecContext(ctx, stmt); err != nil {
				return s.d.translate(err, "migration "+names[i])
			}
		}
		if carry := carries[names[i]]; carry != nil {
			if err := carry(ctx, s.d, tx); err != nil {
				return s.d.translate(err, "migration "+names[i])
			}
		}
		if _, err := tx.ExecContext(ctx, "INSERT INTO own_schema (version) VALUES ($1)", i+1); err != nil {
			return s.d.translate(err, "migration "+names[i])
		}
	}
	return s.d.translate(tx.Commit(), "migrate")
}

// Close lets the appends that wait finish, and closes the database.
func (s *Store) Close() error {
	s.closing.Do(func() { close(s.stop) })
	<-s.stopped
	return s.closeDatabases()
}

func (s *Store) closeDatabases() error {
	var errs []error
	s.readers.close()
	if s.read != nil && s.read != s.write {
		errs = append(errs, s.read.Close())
	}
	if s.write != nil {
		errs = append(errs, s.write.Close())
	}
	if s.pgx != nil {
		s.pgx.Close()
	}
	return errors.Join(errs...)
}

// Ping says whether the database answers.
func (s *Store) Ping(ctx context.Context) error {
	_, err := s.Head(ctx)
	return err
}

// Scrub makes what was erased disappear from the database's own files as far as that can
// be asked for: SQLite overwrites what it deletes, and here gives up the copies in its
// write-ahead log. PostgreSQL does so by VACUUM, in its own time.
func (s *Store) Scrub(ctx context.Context) error {
	if s.d != sqliteDialect {
		return nil
	}
	_, err := s.write.ExecContext(ctx, "PRAGMA wal_checkpoint(TRUNCATE)")
	return s.d.translate(err, "truncate the write-ahead log")
}

// Kind is "sqlite" or "postgres".
func (s *Store) Kind() string { return s.d.name }

// conn is one connection with its prepared statements. modernc's SQLite has no cache
// of its own, and parsing costs more than a point select; pgx has one.
type conn struct {
	d     *dialect
	c     *sql.Conn
	stmts map[string]*sql.Stmt // nil on PostgreSQL
}

// maxStatements bounds the statements that a connection keeps prepared: the fixed
// ones fit, and searches, whose texts vary, can't fill the memory.
const maxStatements = 512

func (s *Store) connect(ctx context.Context, db *sql.DB) (*conn, error) {
	c, err := db.Conn(ctx)
	if err != nil {
		return nil, err
	}
	cn := &conn{d: s.d, c: c}
	if s.d == sqliteDialect {
		cn.stmts = map[string]*sql.Stmt{}
	}
	return cn, nil
}

func (c *conn) stmt(ctx context.Context, text string) (*sql.Stmt, error) {
	if c.stmts == nil {
		return nil, nil
	}
	st := c.stmts[text]
	if st == nil && len(c.stmts) < maxStatements {
		var err error
		if st, err = c.c.PrepareContext(ctx, text); err != nil {
			return nil, err
		}
		c.stmts[text] = st
	}
	return st, nil
}

func (c *conn) exec(ctx context.Context, text string, args ...any) error {
	st, err := c.stmt(ctx, text)
	if err != nil {
		return err
	}
	if st != nil {
		_, err = st.ExecContext(ctx, args...)
	} else {
		_, err = c.c.ExecContext(ctx, text, args...)
	}
	return err
}

// statement is a text with its arguments. scan, where not nil, is called once a row.
type statement struct {
	text string
	args []any
	scan func(row scanner) error
}

// scanner is a row of either driver.
type scanner interface{ Scan(dest ...any) error }

// run runs statements in order, up to the first that fails: on PostgreSQL without waiting
// for one answer before the next is sent.
func (c *conn) run(ctx context.Context, all []statement) error {
	if c.d != postgresDialect {
		for i := range all {
			if err := c.runOne(ctx, &all[i]); err != nil {
				return err
			}
		}
		return nil
	}
	if len(all) == 0 {
		return nil
	}
	var batch pgx.Batch
	for _, st := range all {
		queued := batch.Queue(st.text, st.args...)
		if st.scan != nil {
			queued.Query(func(rows pgx.Rows) error {
				for rows.Next() {
					if err := st.scan(rows); err != nil {
						return err
					}
				}
				return rows.Err()
			})
		}
	}
	return c.c.Raw(func(driver any) error {
		return driver.(*stdlib.Conn).Conn().SendBatch(ctx, &batch).Close()
	})
}

func (c *conn) runOne(ctx context.Context, st *statement) error {
	if st.scan == nil {
		return c.exec(ctx, st.text, st.args...)
	}
	rows, err := c.query(ctx, st.text, st.args...)
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		if err := st.scan(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

func (c *conn) query(ctx context.Context, text string, args ...any) (*sql.Rows, error) {
	st, err := c.stmt(ctx, text)
	if err != nil {
		return nil, err
	}
	if st != nil {
		return st.QueryContext(ctx, args...)
	}
	return c.c.QueryContext(ctx, text, args...)
}

// aborted says that a statement of this transaction failed on PostgreSQL, which then
// answers COMMIT by rolling back, without an error.
func (c *conn) aborted() bool {
	aborted := false
	if c.d == postgresDialect {
		_ = c.c.Raw(func(driver any) error {
			if pg, ok := driver.(*stdlib.Conn); ok {
				aborted = pg.Conn().PgConn().TxStatus() == 'E'
			}
			return nil
		})
	}
	return aborted
}

// rollback ends the connection's transaction. A connection that can't roll back is
// closed, and rollback reports false.
func (c *conn) rollback() bool {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := c.exec(ctx, "ROLLBACK"); err != nil {
		c.close()
		return false
	}
	return true
}

func (c *conn) close() {
	for _, st := range c.stmts {
		_ = st.Close()
	}
	// Raw with ErrBadConn tells the pool to drop the connection instead of keeping it.
	_ = c.c.Raw(func(any) error { return driver.ErrBadConn })
	_ = c.c.Close()
}

// Tx is a transaction: of a read, or the writer's. Its methods are the statements.
type Tx struct {
	s *Store
	c *conn // nil where tx answers from memory: see [Store.Recall]
	// last is the last event to take into account, current says that it is the newest.
	last    int64
	current bool
	// at is the time that tx is about, zero until it is known; see [Tx.Time].
	at time.Time
	// access is the last event that moved [pedigree.AccessKey], whatever tx's moment is:
	// rights are always today's. It is -1 while the registry has no accounts.
	access int64
	// Authorised is what a check of rights returns that succeeds: nil, but where nothing is
	// to be done beyond it.
	Authorised error
	// checks are the subjects that a decision rests on.
	checks map[string]int64
	// runs are what the writer has locked, see [Tx.lockRuns]; pending are statements on
	// own_ tables that it will execute before anything reads what they write.
	runs    map[string]Run
	pending statements
	// waited says that the reader has waited for [Store.foldAll].
	waited bool
}

// Read runs f in a read-only transaction that sees one state of the database, as of
// at. It returns [pedigree.CodeNotRecorded] for a moment before the first event, and
// what f returns. f may run twice: where it needs metrics that have come since they were
// last folded, they are, and f is called again.
func (s *Store) Read(ctx context.Context, at pedigree.At, f func(tx *Tx) error) error {
	err := s.readOnce(ctx, at, false, f)
	var u *unfolded
	if errors.As(err, &u) {
		if err := s.foldAll(ctx, u.run); err != nil {
			return err
		}
		err = s.readOnce(ctx, at, true, f)
	}
	return err
}

func (s *Store) readOnce(ctx context.Context, at pedigree.At, waited bool, f func(tx *Tx) error) error {
	tx := &Tx{s: s, current: true, checks: map[string]int64{}, waited: waited}
	c, err := s.readers.begin(ctx, tx)
	if err != nil {
		return s.d.translate(err, "begin to read")
	}
	defer func() {
		if c.rollback() {
			s.readers.put(c)
		} else {
			s.readers.drop(nil)
		}
	}()
	if err := tx.moment(ctx, at); err != nil {
		return err
	}
	return f(tx)
}

// pool keeps the connections that read, with their prepared statements; slots
// bounds their number.
type pool struct {
	slots  chan struct{}
	mu     sync.Mutex
	idle   []*conn
	closed bool
}

func newPool(n int) *pool { return &pool{slots: make(chan struct{}, n)} }

// begin begins tx on a connection, and reads the log's head. A connection that was kept
// may have died since: then there is another.
func (p *pool) begin(ctx context.Context, tx *Tx) (*conn, error) {
	for {
		c, kept, err := p.get(ctx, tx.s)
		if err != nil {
			return nil, err
		}
		if err = tx.begin(ctx, c); err == nil {
			return c, nil
		}
		p.drop(c)
		if !kept || ctx.Err() != nil {
			return nil, err
		}
	}
}

func (p *pool) get(ctx context.Context, s *Store) (c *conn, kept bool, err error) {
	select {
	case p.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, false, ctx.Err()
	}
	p.mu.Lock()
	closed := p.closed
	if n := len(p.idle); n > 0 {
		c, p.idle = p.idle[n-1], p.idle[:n-1]
	}
	p.mu.Unlock()
	switch {
	case closed:
		err = errClosed
	case c != nil:
		return c, true, nil
	default:
		c, err = s.connect(ctx, s.read)
	}
	if err != nil {
		<-p.slots
	}
	return c, false, err
}

// put gives a connection back; once the pool is closed, so is the connection.
func (p *pool) put(c *conn) {
	p.mu.Lock()
	closed := p.closed
	if !closed {
		p.idle = append(p.idle, c)
	}
	p.mu.Unlock()
	if closed {
		c.close()
	}
	<-p.slots
}

// drop gives a slot back without its connection.
func (p *pool) drop(c *conn) {
	if c != nil {
		c.close()
	}
	<-p.slots
}

func (p *pool) close() {
	p.mu.Lock()
	idle := p.idle
	p.idle, p.closed = nil, true
	p.mu.Unlock()
	for _, c := range idle {
		c.close()
	}
}

// begin begins a transaction that reads, and reads the log's head.
func (tx *Tx) begin(ctx context.Context, c *conn) error {
	tx.c = c
	err := c.run(ctx, []statement{
		{text: tx.s.d.beginRead},
		{text: headText, scan: func(row scanner) error {
			err := row.Scan(&tx.last, &tx.access)
			tx.last-- // the size, until now
			return err
		}},
	})
	if err == nil {
		tx.s.memory.keepAccess(tx.access)
	}
	return err
}

// moment sets what tx takes into account to what there was as of at.
func (tx *Tx) moment(ctx context.Context, at pedigree.At) error {
	tx.current = at.IsNow()
	switch {
	case at.IsNow():
	case at.Seq != nil:
		if *at.Seq > tx.last {
			return pedigree.Errorf(pedigree.CodeNotRecorded, "event %d is not recorded yet; the last is %d", *at.Seq, tx.last)
		}
		tx.last = *at.Seq
	default:
		tx.at = at.Time.UTC()
		err := tx.row(ctx, "SELECT seq FROM log_events WHERE time <= $1 ORDER BY time DESC, seq DESC LIMIT 1", []any{micros(at.Time)}, &tx.last)
		if errors.Is(err, sql.ErrNoRows) {
			return pedigree.Errorf(pedigree.CodeNotRecorded, "nothing is recorded at or before %s", at.Time.UTC().Format(time.RFC3339))
		}
		if err != nil {
			return tx.s.d.translate(err, "find the moment")
		}
	}
	return nil
}

// Upto sets tx's moment to that of an earlier page, which ended with an event and was read
// at a time: the pages of one list show one moment, also of what time alone changes.
func (tx *Tx) Upto(seq int64, at time.Time) {
	if seq < tx.last {
		tx.last, tx.current = seq, false
	}
	tx.at = at.UTC()
}

// AsOf is the last event that this transaction takes into account.
func (tx *Tx) AsOf() int64 { return tx.last }

// Checks are the subjects that were read so far, with the seq that each had; -1
// stands for absent.
func (tx *Tx) Checks() map[string]int64 { return tx.checks }

// Access is the last event that said who may do what, -1 while there are no accounts. It
// notes that the decision rests on it.
func (tx *Tx) Access() int64 {
	tx.checks[pedigree.AccessKey] = tx.access
	return tx.access
}

// Watch notes that the decision rests on subject and returns the seq of the last
// event that moved it, -1 where none did.
func (tx *Tx) Watch(ctx context.Context, subject string) (int64, error) {
	if seq, ok := tx.checks[subject]; ok {
		return seq, nil
	}
	seq := int64(-1)
	err := tx.row(ctx, "SELECT seq FROM view_subjects WHERE subject = $1", []any{subject}, &seq)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return 0, tx.s.d.translate(err, "read a subject")
	}
	tx.checks[subject] = seq
	return seq, nil
}

// open is the condition that an interval row holds at tx's moment; alias is the
// table's alias in the statement with its dot, or "".
func (tx *Tx) open(alias string) string {
	if tx.current {
		return alias + "to_seq IS NULL"
	}
	return fmt.Sprintf("%sfrom_seq <= %d AND (%sto_seq IS NULL OR %sto_seq > %d)", alias, tx.last, alias, alias, tx.last)
}

// alive is the condition that a row with seq and deleted_seq exists at tx's moment.
func (tx *Tx) alive(alias string) string {
	if tx.current {
		return alias + "deleted_seq IS NULL"
	}
	return fmt.Sprintf("%sseq <= %d AND (%sdeleted_seq IS NULL OR %sdeleted_seq > %d)", alias, tx.last, alias, alias, tx.last)
}

// row runs a query for one row and scans it; it returns [sql.ErrNoRows] for none.
func (tx *Tx) row(ctx context.Context, text string, args []any, dest ...any) error {
	rows, err := tx.query(ctx, text, args)
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }()
	if !rows.Next() {
		if err := rows.Err(); err != nil {
			return err
		}
		return sql.ErrNoRows
	}
	if err := rows.Scan(dest...); err != nil {
		return err
	}
	return rows.Close()
}

// query runs a query. Statements about the present are a fixed set and are kept
// prepared; those about a past moment hold its number, and searches are made for one
// question: they are not.
func (tx *Tx) query(ctx context.Context, text string, args []any) (*sql.Rows, error) {
	if tx.Recalled() {
		return nil, ErrForgotten
	}
	if !tx.current || len(text) > maxPrepared {
		return tx.c.c.QueryContext(ctx, text, args...)
	}
	return tx.c.query(ctx, text, args...)
}

// maxPrepared is the longest statement worth keeping prepared, in bytes.
const maxPrepared = 1000

// each runs a query and calls scan once a row.
func (tx *Tx) each(ctx context.Context, doing, text string, args []any, scan func(rows rows) error) error {
	rows, err := tx.query(ctx, text, args)
	if err != nil {
		return tx.s.d.translate(err, doing)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		if err := scan(rows); err != nil {
			return tx.s.d.translate(err, doing)
		}
	}
	return tx.s.d.translate(rows.Err(), doing)
}

// among is the condition that a column has one of the values, which may be none.
func among(column string, args []any, values []string) (string, []any) {
	if len(values) == 0 {
		return "1 = 0", args
	}
	in, args := list(args, values)
	return column + " IN (" + in + ")", args
}

// list makes "$n, $n+1, …" for values that follow the given arguments, and appends
// them to these. The last value stands as often as makes their number a power of two, so
// that few texts are prepared.
func list[T any](args []any, values []T) (string, []any) {
	var b strings.Builder
	for i, v := range evened(values) {
		if i > 0 {
			b.WriteString(", ")
		}
		args = append(args, v)
		fmt.Fprintf(&b, "$%d", len(args))
	}
	return b.String(), args
}

// evened repeats the last of the values until their number is a power of two.
func evened[T any](values []T) []T {
	if len(values) == 0 {
		return values
	}
	want := 1 << bits.Len(uint(len(values)-1))
	return append(slices.Clip(values), slices.Repeat(values[len(values)-1:], want-len(values))...)
}
