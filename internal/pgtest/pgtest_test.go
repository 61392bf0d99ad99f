package pgtest_test

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/pedigree-ml/pedigree/internal/pgtest"
)

func TestDatabaseIsFreshAndSortsByBytes(t *testing.T) {
	ctx := context.Background()
	for _, name := range []string{"first", "second"} {
		t.Run(name, func(t *testing.T) {
			conn, err := pgx.Connect(ctx, pgtest.Database(t))
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = conn.Close(ctx) }()
			if _, err := conn.Exec(ctx, "CREATE TABLE t (x TEXT)"); err != nil {
				t.Fatal(err)
			}
			var first string
			if err := conn.QueryRow(ctx, "SELECT x FROM (VALUES ('a'), ('B')) v(x) ORDER BY x LIMIT 1").Scan(&first); err != nil {
				t.Fatal(err)
			}
			if first != "B" {
				t.Errorf("first in order: got %q, want B", first)
			}
		})
	}
}

func TestDatabaseIsDroppedWhileConnectionsAreOpen(t *testing.T) {
	ctx := context.Background()
	var dsn string
	t.Run("user", func(t *testing.T) {
		dsn = pgtest.Database(t)
		if _, err := pgx.Connect(ctx, dsn); err != nil { // left open on purpose
			t.Fatal(err)
		}
	})
	if dsn == "" {
		t.Skip("no PostgreSQL")
	}
	if conn, err := pgx.Connect(ctx, dsn); err == nil {
		_ = conn.Close(ctx)
		t.Error("the database is still there")
	}
}
