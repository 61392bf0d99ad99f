package score

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/pedigree-ml/pedigree"
)

// mlflowScript loads the model of its folder and scores the row on its standard input.
//
//go:embed mlflow.py
var mlflowScript string

// python is the interpreter to use.
func (o Options) python() (string, error) {
	names := []string{"python3", "python"}
	if o.Python != "" {
		names = []string{o.Python}
	}
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			if path, err = filepath.Abs(path); err == nil { // the process has another folder
				return path, nil
			}
		}
	}
	return "", pedigree.Errorf(pedigree.CodeUnavailable, "there is no %s here", strings.Join(names, " and no ")).
		WithFix("--python PATH names the interpreter that has what the version needs")
}

// limited keeps what fits and says once that more came. It embeds no buffer, whose
// ReadFrom would take everything.
type limited struct {
	b     bytes.Buffer
	limit int
	over  func()
	full  bool
}

func (l *limited) Write(p []byte) (int, error) {
	n := min(len(p), l.limit-l.b.Len())
	l.b.Write(p[:n])
	if n < len(p) && !l.full {
		l.full = true
		l.over()
	}
	return len(p), nil
}

// tail keeps the last bytes of what is written.
type tail struct{ b []byte }

const maxTail = 4 << 10

func (t *tail) Write(p []byte) (int, error) {
	t.b = append(t.b, p...)
	if n := len(t.b) - maxTail; n > 0 {
		t.b = append(t.b[:0], t.b[n:]...)
	}
	return len(p), nil
}

// run runs a program of the version. name is what people call it.
func (e *Entry) run(ctx context.Context, name string, command []string, request json.RawMessage) (json.RawMessage, error) {
	scratch, err := os.MkdirTemp("", "pedigree-score-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(scratch)
	stop, cancel := context.WithCancel(ctx)
	defer cancel()
	program := command[0]
	if strings.ContainsAny(program, `/\`) && !filepath.IsAbs(program) { // one of the files
		if program, err = filepath.Abs(filepath.Join(e.dir, filepath.FromSlash(program))); err != nil {
			return nil, err
		}
	}
	cmd := exec.CommandContext(stop, program, command[1:]...)
	out := &limited{limit: maxOutput, over: cancel}
	said := &tail{}
	cmd.Dir, cmd.Env = e.dir, e.opts.environment(scratch)
	cmd.Stdin = bytes.NewReader(append(bytes.Clone(request), '\n'))
	cmd.Stdout, cmd.Stderr = out, said
	cmd.WaitDelay = 2 * time.Second // children of it may hold its pipes
	ownGroup(cmd)
	err = cmd.Run()
	// What a program left running in its group goes with it.
	endGroup(cmd)
	switch {
	case out.full:
		return nil, failure(said, "%s said more than %d bytes", name, maxOutput)
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return nil, failure(said, "%s took longer than %s", name, e.Timeout)
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case errors.Is(err, exec.ErrNotFound), errors.Is(err, os.ErrNotExist):
		return nil, failure(said, "there is no program %s here", name)
	case errors.Is(err, exec.ErrWaitDelay):
		return nil, failure(said, "%s ended and left something running that holds its output", name)
	case err != nil:
		var exit *exec.ExitError
		if errors.As(err, &exit) && exit.ExitCode() == exitNoMLflow && e.Kind == KindMLflow {
			return nil, failure(said, "%s has no mlflow", command[0]).WithFix("--python PATH names the interpreter that has what the version needs")
		}
		if exit == nil {
			return nil, failure(said, "%s can't be run: %s", name, strings.TrimPrefix(err.Error(), "fork/exec "))
		}
		return nil, failure(said, "%s failed: %s", name, exit.ProcessState.String())
	}
	var b bytes.Buffer
	if err := json.Compact(&b, out.b.Bytes()); err != nil {
		return nil, &pedigree.Error{
			Code: pedigree.CodeInvalid, Message: "what " + name + " wrote to its standard output is not one JSON value", Err: said.err(),
			Fix: `write the prediction alone there, and what JSON has no number for as "NaN"`,
		}
	}
	if b.Len() == 0 || b.String() == "null" {
		return nil, &pedigree.Error{Code: pedigree.CodeInvalid, Message: name + " wrote no prediction to its standard output", Err: said.err()}
	}
	return b.Bytes(), nil
}

// exitNoMLflow is how mlflow.py says that it can't import mlflow.
const exitNoMLflow = 86

func failure(said *tail, format string, args ...any) *pedigree.Error {
	e := pedigree.Errorf(pedigree.CodeUnavailable, format, args...)
	e.Err = said.err()
	return e
}

func (t *tail) err() error {
	if text := strings.TrimSpace(strings.ToValidUTF8(string(t.b), "�")); text != "" {
		return errors.New(text)
	}
	return nil
}

// environment is what a process sees of the environment: enough to find programs and
// libraries, and no secrets. Its home and its temporary files are in scratch.
func (o Options) environment(scratch string) []string {
	env := []string{
		"HOME=" + scratch, "TMPDIR=" + scratch, "TMP=" + scratch, "TEMP=" + scratch, "LANG=C.UTF-8",
		"PYTHONDONTWRITEBYTECODE=1", "PYTHONUNBUFFERED=1", "PYTHONHASHSEED=0",
		"MLFLOW_TRACKING_URI=file://" + filepath.ToSlash(scratch), "MLFLOW_DISABLE_TELEMETRY=true", "DO_NOT_TRACK=true",
	}
	for _, name := range []string{"PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SYSTEMROOT", "PATHEXT"} {
		if v := o.Env(name); v != "" {
			env = append(env, name+"="+v)
		}
	}
	return env
}
