// Package cli is the command line of Pedigree: one file for each noun, one function
// for each command.
//
// It owns what people type and what they see: flags, tables, sentences, progress,
// exit codes, and the choice of the registry that a command speaks to. That is a server
// by its URL; or the registry in a data directory, through the server that runs on that
// folder where there is one, and otherwise opened in this process.
//
// It holds no rules and reads no database: every command speaks through package client,
// also to a registry in its own process, so that what works here works over HTTP. Only
// serve and admin know the server by another way.
//
// It must never ask a question when its input is not a terminal, never write anything
// but the answer to standard output (progress, warnings and errors go to standard
// error), and never print a secret.
//
// Invariant: the answer with -o json is the wire format, the exit code says what kind
// of failure it was (see [Main]), and the text that people see may change at any time.
package cli

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/term"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/client"
)

// app is one run of the program: its streams, and what the global flags say.
type app struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	env            func(string) string
	now            func() time.Time

	out     string // -o: table, json, yaml or name
	quiet   bool   // -q: ids and references only
	noColor bool   // --no-color, or NO_COLOR
	project string // -p, or PEDIGREE_PROJECT; "" is the default project
	url     string // --url, or PEDIGREE_URL; "" is the registry in the data directory
	data    string // --data-dir, or PEDIGREE_DATA; "" is the user's data directory
	at      string // --at of the commands that have it
	// home is the project that the user works in; project changes to another where a
	// reference names one.
	home pedigree.ProjectName

	dryRun    bool      // --dry-run of the commands that have it
	rehearsal rehearsal // what a dry run would send
	registry  *registry // opened by the first call of client
}

// client returns the SDK's client of the registry that this run speaks to, in the
// project of the run. It opens the registry once; [Main] closes it.
func (a *app) client(ctx context.Context) (*client.Client, error) {
	if a.registry == nil {
		r, err := a.connect(ctx)
		if err != nil {
			return nil, err
		}
		a.registry = r
	}
	return a.registry.client, nil
}

// close ends what client opened.
func (a *app) close() error {
	if a.registry == nil || a.registry.close == nil {
		return nil
	}
	r := a.registry
	a.registry = nil
	return r.close()
}

// moment is what --at says.
func (a *app) moment() (pedigree.At, error) { return pedigree.ParseAt(a.at, a.now()) }

// clientAt is [app.client] for a question about the moment that --at says.
func (a *app) clientAt(ctx context.Context) (*client.Client, pedigree.At, error) {
	at, err := a.moment()
	if err != nil {
		return nil, at, err
	}
	c, err := a.client(ctx)
	return c, at, err
}

// terminal says whether w is one, so that colour and progress make sense.
func terminal(w any) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// width is the number of columns of w, 0 where it is no terminal.
func width(w any) int {
	f, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return 0
	}
	columns, _, err := term.GetSize(int(f.Fd()))
	if err != nil {
		return 0
	}
	return columns
}

// stateDir is where this user's memory of remote servers is kept.
func (a *app) stateDir() (string, error) {
	if dir := a.env("XDG_STATE_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "pedigree"), nil
	}
	if dir := a.env("LOCALAPPDATA"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "pedigree"), nil
	}
	home := a.env("HOME")
	if home == "" {
		home = a.env("USERPROFILE")
	}
	if home == "" {
		return "", pedigree.Errorf(pedigree.CodeInvalid, "there is no place to remember checkpoints in: neither HOME nor XDG_STATE_HOME is set").
			WithFix("set XDG_STATE_HOME to a folder of yours")
	}
	return filepath.Join(home, ".local", "state", "pedigree"), nil
}
