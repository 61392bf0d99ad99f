// Package pedigreetest runs a real Pedigree inside a test: the real server on a real
// port of this machine, with a real database and real files in a temporary folder, and
// the client that belongs to it. A program that uses Pedigree tests itself against what
// it will meet.
//
//	func TestTraining(t *testing.T) {
//		s := pedigreetest.NewServer(t)
//		train(s.URL)                                     // the code under test
//		v := s.MustVersion(t, "fraud@candidate")         // what it left behind
//		…
//	}
//
// It must never touch what lies outside of the test's temporary folder and the database
// that the test names. Everything ends with the test: the server, its files and its port.
package pedigreetest

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/client"
	"github.com/pedigree-ml/pedigree/internal/config"
	"github.com/pedigree-ml/pedigree/internal/server"
)

// Server is a running registry. Each has its own log, with a key of its own.
type Server struct {
	// URL is where it answers: "http://127.0.0.1:PORT".
	URL string
	// Client speaks to it, in the project "default".
	Client *client.Client
}

// Option changes the server that [NewServer] starts.
type Option func(*config.Config)

// Postgres makes the server use a PostgreSQL database instead of SQLite. The database
// must be empty, and is the caller's to drop.
func Postgres(url string) Option {
	return func(c *config.Config) { c.Database = url }
}

// NewServer starts a server, which ends with t. It fails t where it can't. Errors of
// the server appear in the output of t.
func NewServer(t testing.TB, options ...Option) *Server {
	t.Helper()
	cfg := config.Config{Addr: "127.0.0.1:0", Data: t.TempDir()}
	for _, o := range options {
		o(&cfg)
	}
	if cfg.Database != "" {
		key, _, err := server.NewKey("")
		must(t, "make a key", err)
		cfg.LogKey = key
	}
	ctx, stop := context.WithCancel(context.Background())
	srv, err := server.Open(ctx, cfg, slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn})))
	if err != nil {
		stop()
		must(t, "open the registry", err)
	}
	served := make(chan error, 1)
	err = srv.Listen(ctx)
	if err == nil {
		go func() { served <- srv.Serve(ctx) }()
	} else {
		served <- err
	}
	t.Cleanup(func() {
		stop()
		if err := <-served; err != nil {
			t.Errorf("the server: %v", err)
		}
		if err := srv.Close(); err != nil {
			t.Errorf("close the registry: %v", err)
		}
	})
	must(t, "listen", err)
	c, err := client.New(client.Config{URL: srv.URL()})
	must(t, "make a client", err)
	return &Server{URL: srv.URL(), Client: c}
}

func must(t testing.TB, doing string, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("%s: %v", doing, err)
	}
}

// MustRegister registers a version, and its model where there is none.
func (s *Server) MustRegister(t testing.TB, model pedigree.Name, reg pedigree.Registration) pedigree.Registered {
	t.Helper()
	reg.CreateModel = true
	v, err := s.Client.Register(t.Context(), model, reg)
	must(t, "register a version of "+string(model), err)
	return v
}

// MustPush registers a version with the given files, by path within the artifact, and
// its model where there is none.
func (s *Server) MustPush(t testing.TB, model pedigree.Name, files map[string]string, reg pedigree.Registration) client.Pushed {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		must(t, "make the files", os.MkdirAll(filepath.Dir(path), 0o700))
		must(t, "make the files", os.WriteFile(path, []byte(content), 0o600))
	}
	reg.CreateModel = true
	v, err := s.Client.Push(t.Context(), client.Push{Model: model, Path: dir, Registration: reg})
	must(t, "push a version of "+string(model), err)
	return v
}

// MustAlias points an alias of the model to a version, given as in "fraud/7".
func (s *Server) MustAlias(t testing.TB, version string, alias pedigree.Alias) pedigree.AliasMove {
	t.Helper()
	move, err := s.Client.SetAlias(t.Context(), mustReference(t, version), alias, nil, "")
	must(t, "move the alias "+string(alias), err)
	return move
}

// MustVersion returns the version that a reference names, as in "fraud@production".
func (s *Server) MustVersion(t testing.TB, reference string) pedigree.Version {
	t.Helper()
	v, err := s.Client.Version(t.Context(), mustReference(t, reference), pedigree.At{})
	must(t, "find "+reference, err)
	return v
}

func mustReference(t testing.TB, text string) pedigree.Reference {
	t.Helper()
	ref, err := pedigree.ParseReference(text)
	must(t, "read "+text, err)
	return ref
}
