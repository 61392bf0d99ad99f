package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pedigree-ml/pedigree/internal/cli"
)

// program is a user with a home folder, who runs the program.
type program struct {
	t    *testing.T
	vars map[string]string
}

// run runs one command line and checks its exit code.
func (p *program) run(want int, args ...string) (stdout, stderr string) {
	p.t.Helper()
	var out, diagnostics bytes.Buffer
	code := cli.Main(args, strings.NewReader(""), &out, &diagnostics, func(name string) string { return p.vars[name] })
	if code != want {
		p.t.Fatalf("pedigree %s: exit code %d, want %d\n%s%s", strings.Join(args, " "), code, want, out.String(), diagnostics.String())
	}
	return out.String(), diagnostics.String()
}

func newProgram(t *testing.T) (p *program, data string) {
	home := t.TempDir()
	data = filepath.Join(home, "registry")
	return &program{t, map[string]string{"HOME": home, "USERPROFILE": home, "PEDIGREE_DATA": data}}, data
}

func TestConfig(t *testing.T) {
	p, data := newProgram(t)
	p.vars["PEDIGREE_DATABASE"] = "postgres://ada:hunter2@db/pedigree"
	p.vars["PEDIGREE_LOG_KEY"] = "PRIVATE+KEY+hunter2"
	out, stderr := p.run(0, "config", "-o", "json", "--log-level", "debug")
	var settings []struct{ Name, Value, Source, Variable, Usage string }
	if err := json.Unmarshal([]byte(out), &settings); err != nil {
		t.Fatal(err)
	}
	want := map[string][2]string{
		"data": {data, "environment PEDIGREE_DATA"}, "log-level": {"debug", "flag"}, "addr": {"127.0.0.1:5000", "default"},
		"database": {"postgres://ada:xxxxx@db/pedigree", "environment PEDIGREE_DATABASE"}, "log-key": {"(secret)", "environment PEDIGREE_LOG_KEY"},
	}
	for _, s := range settings {
		if w, ok := want[s.Name]; ok && w != [2]string{s.Value, s.Source} {
			t.Errorf("%s: got %q from %q, want %q", s.Name, s.Value, s.Source, w)
		}
		delete(want, s.Name)
	}
	if len(want) > 0 {
		t.Errorf("not shown: %v", want)
	}
	table, _ := p.run(0, "config")
	if all := out + stderr + table; strings.Contains(all, "hunter2") {
		t.Errorf("a secret is shown:\n%s", all)
	}
	help, _ := p.run(0, "config", "--help")
	for _, s := range settings {
		if !strings.Contains(help, "--"+s.Name+" ") || !strings.Contains(help, s.Variable) {
			t.Errorf("the help says nothing of --%s and %s", s.Name, s.Variable)
		}
	}
}

func TestServeRefuses(t *testing.T) {
	p, data := newProgram(t)
	for _, test := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"--addr", "0.0.0.0:0"}, 2, "--allow-anonymous"},
		{[]string{"--adr", "x"}, 2, "--addr"},
		{[]string{"--shutdown-timeout", "soon"}, 2, "shutdown-timeout"},
		{[]string{"--log-key-file", filepath.Join(data, "no.key"), "--database", "postgres://127.0.0.1:1/x"}, 1, "can't be reached"},
		{[]string{"extra"}, 2, "extra"},
	} {
		if _, stderr := p.run(test.code, append([]string{"serve"}, test.args...)...); !strings.Contains(stderr, test.want) {
			t.Errorf("serve %s: got %s, want %s in it", strings.Join(test.args, " "), stderr, test.want)
		}
	}
}

func TestAdmin(t *testing.T) {
	p, data := newProgram(t)
	key, public := p.run(0, "admin", "new-key", "--origin", "models.example.org/log")
	if !strings.HasPrefix(key, "PRIVATE+KEY+models.example.org/log+") || strings.Count(key, "\n") != 1 || strings.Contains(public, "PRIVATE") {
		t.Errorf("new-key: got %q and %q", key, public)
	}
	file := filepath.Join(t.TempDir(), "log.key")
	p.run(0, "admin", "new-key", "--out", file)
	p.run(2, "admin", "new-key", "--out", file) // never over a key

	p.run(0, "model", "create", "fraud", "--description", "made by Ada")
	if _, stderr := p.run(4, "admin", "redact", "2", "description", "--reason", "request 77"); !strings.Contains(stderr, `description: "made by Ada"`) {
		t.Errorf("the plan does not show what goes: %s", stderr)
	}
	if out, _ := p.run(0, "show", "fraud", "-o", "json"); !strings.Contains(out, "made by Ada") {
		t.Errorf("the plan changed something: %s", out)
	}
	p.run(2, "admin", "redact", "2", "description", "--yes") // without a reason
	p.run(4, "admin", "redact", "2", "name", "--reason", "x", "--yes")
	p.run(3, "admin", "redact", "99", "name", "--reason", "x", "--yes")
	p.run(2, "admin", "redact", "two", "name", "--reason", "x", "--yes")
	p.run(0, "admin", "redact", "2", "description", "--reason", "request 77", "--yes")

	before, err := os.ReadFile(filepath.Join(data, "log.key"))
	if err != nil {
		t.Fatal(err)
	}
	p.run(4, "admin", "rotate-key")
	p.run(0, "admin", "rotate-key", "--yes")
	kept, err := os.ReadFile(filepath.Join(data, "log.key.old-1"))
	if err != nil || !bytes.Equal(before, kept) {
		t.Errorf("the old key was not kept (%v)", err)
	}
	if out, _ := p.run(0, "admin", "rebuild", "-o", "json"); !strings.Contains(out, `"events": 5`) {
		t.Errorf("rebuild: got %s, want 5 events", out)
	}
	if out, _ := p.run(0, "show", "fraud", "-o", "json"); strings.Contains(out, "Ada") {
		t.Errorf("the description is back: %s", out)
	}

	out := filepath.Join(t.TempDir(), "next.key")
	p.run(0, "admin", "rotate-key", "--out", out, "--yes")
	if _, stderr := p.run(4, "ls"); !strings.Contains(stderr, "is signed with the key") { // the folder has the key before it
		t.Errorf("ls with the old key: %s", stderr)
	}
	p.vars["PEDIGREE_LOG_KEY_FILE"] = out
	p.run(0, "ls")
}
