package sqlstore

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"io"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/pedigree-ml/pedigree"
)

// dialect is all that differs between the two databases.
type dialect struct {
	name   string
	tokens *strings.Replacer
	// lockLog makes this transaction the only writer of the log until it ends.
	// SQLite has it by BEGIN IMMEDIATE.
	lockLog string
	// clock is the expression for the database's time in microseconds; empty where
	// the process's clock is meant.
	clock string
	// like is the condition that a column matches a LIKE pattern, case and all;
	// likePattern is the pattern as this database takes it. noEscape ends a LIKE in
	// which "\\" means itself.
	like        func(column, param string) string
	likePattern func(pattern string) string
	noEscape    string
	// placeholder is the n-th argument of a bulk INSERT. SQLite looks the name of each
	// $n up among all of them; "?" has none.
	placeholder func(n int) string
	// forUpdate ends a SELECT of the writer whose rows no other process may change
	// until the transaction ends. SQLite has one writer anyway.
	forUpdate string
	// analyze begins the statement that counts what is in a table, for the plans of queries;
	// empty where plans rest on no counts: SQLite's are the same in every registry.
	analyze string
	// beginRead and beginWrite begin a transaction on a connection.
	beginRead, beginWrite string
}

var sqliteDialect = &dialect{
	name: "sqlite",
	tokens: strings.NewReplacer(
		"{pk}", "INTEGER PRIMARY KEY", "{autopk}", "INTEGER PRIMARY KEY", "{int}", "INTEGER", "{real}", "REAL", "{text}", "TEXT", "{bytes}", "BLOB",
		"{emptybytes}", "x''", "{strict}", "STRICT", "{clustered}", "STRICT, WITHOUT ROWID"),
	beginRead: "BEGIN", beginWrite: "BEGIN IMMEDIATE",
	placeholder: func(int) string { return "?" },
	// SQLite's LIKE folds case; GLOB does not, and has other wildcards.
	like:        func(column, param string) string { return column + " GLOB " + param },
	likePattern: strings.NewReplacer("*", "[*]", "?", "[?]", "[", "[[]", "%", "*", "_", "?").Replace,
}

var postgresDialect = &dialect{
	name: "postgres",
	tokens: strings.NewReplacer(
		"{pk}", "BIGINT PRIMARY KEY", "{autopk}", "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY", "{int}", "BIGINT", "{real}", "DOUBLE PRECISION", "{text}", `TEXT COLLATE "C"`, "{bytes}", "BYTEA",
		"{emptybytes}", "''::bytea", "{strict}", "", "{clustered}", ""),
	beginRead: "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY", beginWrite: "BEGIN",
	like:        func(column, param string) string { return column + " LIKE " + param + " ESCAPE ''" },
	likePattern: func(pattern string) string { return pattern },
	noEscape:    " ESCAPE ''",
	lockLog:     "SELECT pg_advisory_xact_lock(7020519)",
	forUpdate:   " FOR UPDATE",
	analyze:     "ANALYZE ",
	placeholder: func(n int) string { return "$" + itoa(n) },
	clock:       "(extract(epoch FROM clock_timestamp()) * 1000000)::bigint",
}

// translate turns a driver's error into one that a caller can act on; doing says
// what was being done.
func (d *dialect) translate(err error, doing string) error {
	if err == nil {
		return nil
	}
	var own *pedigree.Error
	if errors.As(err, &own) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	var lite *sqlite.Error
	if errors.As(err, &lite) {
		switch lite.Code() & 0xff {
		case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED:
			return pedigree.Errorf(pedigree.CodeUnavailable, "the database is busy: %s took longer than the wait limit: %w", doing, err).WithFix("try again")
		case sqlite3.SQLITE_FULL:
			return pedigree.Errorf(pedigree.CodeUnavailable, "the disk of the database is full; nothing was written: %w", err).WithFix("free some space, then try again")
		case sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY:
			return pedigree.Errorf(pedigree.CodeUnavailable, "the database file can't be used: %w", err).WithFix("check the data directory: is its disk full, may you write there?")
		}
		return pedigree.Errorf(pedigree.CodeInternal, "%s: %w", doing, err)
	}
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		const refused = "PostgreSQL refuses the connection: %s"
		switch {
		case pg.Code == "3D000":
			name := "NAME"
			if c := (*pgconn.ConnectError)(nil); errors.As(err, &c) {
				name = c.Config.Database
			}
			return pedigree.Errorf(pedigree.CodeUnavailable, refused, pg.Message).WithFix("create it (createdb %s), or correct the URL of --database", name)
		case strings.HasPrefix(pg.Code, "28"):
			return pedigree.Errorf(pedigree.CodeUnavailable, refused, pg.Message).WithFix("correct user and password in the URL of --database")
		case pg.Code == "40001" || pg.Code == "40P01" || strings.HasPrefix(pg.Code, "53") || strings.HasPrefix(pg.Code, "57") || strings.HasPrefix(pg.Code, "08"):
			return pedigree.Errorf(pedigree.CodeUnavailable, "the database can't answer now: %w", err).WithFix("try again")
		}
		return pedigree.Errorf(pedigree.CodeInternal, "%s: %w", doing, err)
	}
	if d.name == "postgres" && unreachable(err) {
		return pedigree.Errorf(pedigree.CodeUnavailable, "the database can't be reached: %w", err).WithFix("try again")
	}
	return pedigree.Errorf(pedigree.CodeInternal, "%s: %w", doing, err)
}

// serialization says that PostgreSQL asks to try the same transaction again. SQLite has
// waited already.
func serialization(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && (pg.Code == "40001" || pg.Code == "40P01")
}

// unreachable says that a connection could not be made, or was lost.
func unreachable(err error) bool {
	var connect *pgconn.ConnectError
	var network net.Error
	return errors.As(err, &connect) || errors.As(err, &network) || errors.Is(err, driver.ErrBadConn) || errors.Is(err, io.EOF) ||
		errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) || errors.Is(err, sql.ErrConnDone) || strings.Contains(err.Error(), "conn closed")
}

func micros(t time.Time) int64 { return t.UnixMicro() }

func fromMicros(us int64) time.Time { return time.UnixMicro(us).UTC() }

func itoa(n int) string { return strconv.Itoa(n) }
