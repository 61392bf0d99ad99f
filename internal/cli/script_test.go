package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/pedigree-ml/pedigree/internal/config"
	"github.com/pedigree-ml/pedigree/internal/pgtest"
	"github.com/pedigree-ml/pedigree/internal/server"
)

// TestMain makes this test binary the program that the scripts run.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"pedigree": func() { os.Exit(Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr, os.Getenv)) },
	})
}

// TestScripts runs testdata/script/*.txtar on the registry in a folder, and again
// through a server on PostgreSQL.
func TestScripts(t *testing.T) {
	t.Run("sqlite", func(t *testing.T) {
		testscript.Run(t, scripts(func(env *testscript.Env) error {
			env.Setenv("PEDIGREE_DATA", filepath.Join(env.WorkDir, ".registry"))
			return nil
		}, "sqlite"))
	})
	t.Run("postgres", func(t *testing.T) {
		testscript.Run(t, scripts(func(env *testscript.Env) error {
			database := pgtest.Database(env.T().(testing.TB))
			url, key, err := serve(filepath.Join(env.WorkDir, ".server"), env.Defer, database)
			env.Setenv("PEDIGREE_URL", url)
			env.Setenv("SERVER_DATABASE", database) // for what works on the database itself
			env.Setenv("SERVER_KEY", key)
			return err
		}, "postgres"))
	})
}

func scripts(setup func(*testscript.Env) error, name string) testscript.Params {
	return testscript.Params{
		Dir: filepath.Join("..", "..", "testdata", "script"),
		Setup: func(env *testscript.Env) error {
			home := filepath.Join(env.WorkDir, ".home")
			env.Setenv("HOME", home)
			env.Setenv("GIT_CONFIG_NOSYSTEM", "1")
			env.Setenv("GORACE", "atexit_sleep_ms=0") // the race detector lets every program sleep a second at its end
			if err := os.Mkdir(home, 0o700); err != nil {
				return err
			}
			return setup(env)
		},
		Condition: func(cond string) (bool, error) {
			if cond == "ci" { // where what a script needs must be there
				return os.Getenv("CI") != "", nil
			}
			return cond == name, nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"code": code, "edit": edit, "grepline": grepLine, "envfile": envFile, "other": other, "now": now},
	}
}

// other runs a second server, on SQLite, and sets a variable to its URL: "other NAME".
func other(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: other NAME")
	}
	url, _, err := serve(filepath.Join(ts.Getenv("WORK"), "."+args[0]), ts.Defer, "")
	ts.Check(err)
	ts.Setenv(args[0], url)
}

// serve runs a server on a database until the script ends.
func serve(data string, later func(func()), database string) (url, private string, err error) {
	private, _, err = server.NewKey("")
	if err != nil {
		return "", "", err
	}
	cfg, err := config.Config{Addr: "127.0.0.1:0", Data: data, Database: database, LogKey: private}.Complete()
	if err != nil {
		return "", "", err
	}
	ctx, stop := context.WithCancel(context.Background())
	srv, err := server.Open(ctx, cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		stop()
		return "", "", err
	}
	if err := srv.Listen(ctx); err != nil {
		stop()
		return "", "", errors.Join(err, srv.Close())
	}
	done := make(chan error, 1)
	go func() { done <- srv.Serve(ctx) }()
	later(func() {
		stop()
		if err := errors.Join(<-done, srv.Close()); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
	})
	return srv.URL(), private, nil
}

// code runs a command that must end with an exit code: "code 3 pedigree show x".
func code(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: code N command …")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	got := 0
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		got = exit.ExitCode()
	} else if err != nil {
		ts.Fatalf("%v", err)
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

// edit replaces a text in a file: "edit FILE OLD NEW".
func edit(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: edit FILE OLD NEW")
	}
	text := ts.ReadFile(args[0])
	if !strings.Contains(text, args[1]) {
		ts.Fatalf("%s does not hold %q", args[0], args[1])
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(strings.ReplaceAll(text, args[1], args[2])), 0o644))
}

// grepLine checks that the last output holds the only line of a file.
func grepLine(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 1 {
		ts.Fatalf("usage: grepline FILE")
	}
	line := strings.TrimSpace(ts.ReadFile(args[0]))
	if strings.Contains(ts.ReadFile("stdout"), line) == neg {
		ts.Fatalf("whether the output holds %q: %v", line, neg)
	}
}

// now replaces the word NOW in a file by the time: "now FILE".
func now(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: now FILE")
	}
	text := strings.ReplaceAll(ts.ReadFile(args[0]), "NOW", time.Now().UTC().Format(time.RFC3339Nano))
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(text), 0o644))
}

// envFile sets a variable to the only line of a file: "envfile NAME FILE".
func envFile(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: envfile NAME FILE")
	}
	ts.Setenv(args[0], strings.TrimSpace(ts.ReadFile(args[1])))
}
