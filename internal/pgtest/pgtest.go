// Package pgtest gives a test a fresh PostgreSQL database.
//
// It owns one throw-away cluster per test binary, made at the first call: a temporary
// folder, a free loopback port, no durability. With PEDIGREE_TEST_POSTGRES, the URL of
// a server on which databases may be created, it uses that server instead. Each test
// gets a database of its own, dropped when the test ends.
//
// It must never leave a cluster behind: a watching shell, whose standard input is a
// pipe from this process, stops the cluster and removes its folder as soon as the pipe
// closes, and that happens however the process ends.
//
// A developer without PostgreSQL sees the tests skipped, with the reason. Where CI or
// PEDIGREE_TEST_REQUIRE=postgres is set the same is a failure, so that a broken
// installation can't pass for a green run.
//
// PostgreSQL refuses to run as root: there the cluster runs as the user "postgres".
package pgtest

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
)

// errMissing says that this machine has no PostgreSQL to run.
type errMissing struct{ reason string }

func (e *errMissing) Error() string {
	return e.reason + "; install PostgreSQL, or set PEDIGREE_TEST_POSTGRES to the postgres:// URL of a server where databases may be created"
}

// server is the URL of a server's maintenance database, found once per test binary.
var server = sync.OnceValues(func() (string, error) {
	if dsn := os.Getenv("PEDIGREE_TEST_POSTGRES"); dsn != "" {
		return dsn, nil
	}
	return startCluster()
})

// Database returns the postgres:// URL of a new, empty database whose text sorts by
// bytes. It is dropped, connections and all, when t ends. Without PostgreSQL it skips
// the test, or fails it where CI is set or PEDIGREE_TEST_REQUIRE is "postgres".
func Database(t testing.TB) string {
	t.Helper()
	admin, err := server()
	if err != nil {
		if _, ok := err.(*errMissing); ok && os.Getenv("CI") == "" && os.Getenv("PEDIGREE_TEST_REQUIRE") != "postgres" {
			t.Skip(err)
		}
		t.Fatal(err)
	}
	var id [8]byte
	_, _ = rand.Read(id[:])
	name := "pedigree_test_" + hex.EncodeToString(id[:])
	err = execute(admin, "CREATE DATABASE "+name+" TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C.UTF-8' LC_CTYPE 'C.UTF-8'")
	if err != nil && strings.Contains(err.Error(), "invalid locale") {
		// A system without C.UTF-8; C sorts the same.
		err = execute(admin, "CREATE DATABASE "+name+" TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C'")
	}
	if err != nil {
		t.Fatalf("create a database for the test: %v", err)
	}
	t.Cleanup(func() {
		if err := execute(admin, "DROP DATABASE IF EXISTS "+name+" WITH (FORCE)"); err != nil {
			t.Errorf("drop the test's database: %v", err)
		}
	})
	u, err := url.Parse(admin)
	if err != nil {
		t.Fatal("PEDIGREE_TEST_POSTGRES is not a URL") // its text may hold a password
	}
	u.Path = "/" + name
	return u.String()
}

// execute runs one statement on a connection of its own. Its own context: it also runs in
// cleanups, when the test's context has ended.
func execute(dsn, statement string) error {
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer func() { _ = conn.Close(ctx) }()
	_, err = conn.Exec(ctx, statement)
	return err
}
