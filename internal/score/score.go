// Package score runs a version again on a logged request, by the scoring entry that the
// files of the version declare; pedigree.ComparePredictions then says what came of it.
//
// It owns the three kinds of entry and the processes that two of them start. A process gets the request on its standard input, a folder of its own for
// what it writes, no variables of the environment but the few that it needs, a time limit
// and a limit on what it may say.
//
// None of that is a sandbox: whoever scores a version runs its code with their own rights
// and their own network. So nothing here may run unless a person asked for it by name, and
// the server must never import this package. It imports the root package and the
// quickstart's model.
//
// Invariant: [Find] runs nothing; [Entry.Score] runs what Find described.
package score

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/examples/breastcancer"
)

// Kind says how a version is scored.
type Kind string

// The kinds, in the order in which they are looked for.
const (
	KindCommand Kind = "command" // scoring.json names a program
	KindMLflow  Kind = "mlflow"  // MLmodel: loaded by mlflow.pyfunc
	KindJSON    Kind = "json"    // model.json is the quickstart's: scored here
)

// The files that declare an entry.
const (
	commandFile = "scoring.json"
	mlflowFile  = "MLmodel"
	jsonFile    = "model.json"
)

// Limits. A command may say a timeout of its own.
const (
	defaultTimeout = time.Minute
	mlflowTimeout  = 5 * time.Minute // loading the libraries alone takes long
	maxTimeout     = 30 * time.Minute
	maxOutput      = pedigree.MaxPrediction
	maxDeclaration = 64 << 10
)

// Options are what an entry may be told.
type Options struct {
	// Python runs MLflow models, and commands that begin with python; "" looks for
	// python3 and python.
	Python string
	// Env looks up the variables of the environment that a process needs. Required.
	Env func(string) string
}

// Entry is how a version is scored, found in its files.
type Entry struct {
	Kind Kind
	// Command is what is run, for people: the program and its arguments. Empty where
	// nothing is: the quickstart's model.
	Command []string
	// Timeout is how long it may take.
	Timeout time.Duration

	dir   string
	opts  Options
	model *breastcancer.Model
}

// Find looks in a folder that holds the files of a version for what says how it is
// scored: scoring.json, MLmodel, or the quickstart's model.json. It runs nothing. It
// returns [pedigree.CodeUnsupported] where none is there, and [pedigree.CodeInvalid] for
// a scoring.json that is not one.
func Find(dir string, opts Options) (Entry, error) {
	e := Entry{dir: dir, opts: opts}
	text, err := readDeclaration(dir, commandFile)
	if err == nil {
		e.Kind = KindCommand
		return e, e.declare(text)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return e, err
	}
	if info, err := os.Lstat(filepath.Join(dir, mlflowFile)); err == nil && info.Mode().IsRegular() {
		e.Kind, e.Timeout, e.Command = KindMLflow, mlflowTimeout, []string{"python", "-c", "mlflow.pyfunc.load_model(…).predict(…)"}
		return e, nil
	}
	if f, err := os.Open(filepath.Join(dir, jsonFile)); err == nil {
		defer f.Close()
		if model, err := breastcancer.Load(f); err == nil {
			e.Kind, e.Timeout, e.model = KindJSON, defaultTimeout, model
			return e, nil
		}
	}
	return e, pedigree.Errorf(pedigree.CodeUnsupported, "the version does not say how it is scored: it has no %s, no %s, and no %s of the quickstart's form", commandFile, mlflowFile, jsonFile).
		WithFix(`push the next one with a %s such as {"command": ["python", "score.py"]}`, commandFile)
}

func readDeclaration(dir, name string) ([]byte, error) {
	f, err := os.Open(filepath.Join(dir, name))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxDeclaration+1))
	if err == nil && len(text) > maxDeclaration {
		err = pedigree.Errorf(pedigree.CodeInvalid, "%s has more than %d bytes", name, maxDeclaration)
	}
	return text, err
}

// declare reads a scoring.json.
func (e *Entry) declare(text []byte) error {
	var d struct {
		Command []string `json:"command"`
		Timeout string   `json:"timeout"`
	}
	invalid := func(format string, args ...any) error {
		err := pedigree.Errorf(pedigree.CodeInvalid, format, args...)
		err.Message = commandFile + ": " + err.Message
		return err.WithFix(`it should be like {"command": ["python", "score.py"], "timeout": "60s"}`)
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&d); err != nil {
		return invalid("%w", err)
	}
	if dec.More() {
		return invalid("something follows the object")
	}
	if len(d.Command) == 0 || d.Command[0] == "" {
		return invalid("it names no command")
	}
	for _, word := range d.Command {
		if strings.ContainsRune(word, 0) {
			return invalid("a word of the command holds a NUL")
		}
	}
	if program := d.Command[0]; strings.ContainsAny(program, `/\`) && !filepath.IsLocal(filepath.FromSlash(program)) {
		return invalid("the program %q is outside of the version's files; name one of them, or one that is found on the PATH", program)
	}
	e.Command, e.Timeout = d.Command, defaultTimeout
	if d.Timeout != "" {
		t, err := time.ParseDuration(d.Timeout)
		if err != nil || t <= 0 || t > maxTimeout {
			return invalid("timeout %q: want a duration of at most %s, such as 60s", d.Timeout, maxTimeout)
		}
		e.Timeout = t
	}
	return nil
}

// String says for people how the version is scored.
func (e *Entry) String() string {
	switch e.Kind {
	case KindCommand:
		return strings.Join(e.Command, " ") + " (" + commandFile + ")"
	case KindMLflow:
		return "mlflow.pyfunc (" + mlflowFile + ")"
	}
	return "the quickstart's model (" + jsonFile + ")"
}

// Score scores one request and returns the prediction as compact JSON. It runs code of
// the version. It returns [pedigree.CodeUnavailable] where a program is not there, fails,
// takes too long or says too much, and [pedigree.CodeInvalid] where the model can't take
// the request or what comes out is not JSON. A message holds nothing of the request; what
// a program said on its standard error is the cause.
func (e *Entry) Score(ctx context.Context, request json.RawMessage) (json.RawMessage, error) {
	ctx, cancel := context.WithTimeout(ctx, e.Timeout)
	defer cancel()
	switch e.Kind {
	case KindCommand:
		command := e.Command
		if command[0] == "python" || command[0] == "python3" {
			python, err := e.opts.python()
			if err != nil {
				return nil, err
			}
			command = append([]string{python}, command[1:]...)
		}
		return e.run(ctx, e.Command[0], command, request)
	case KindMLflow:
		python, err := e.opts.python()
		if err != nil {
			return nil, err
		}
		return e.run(ctx, "mlflow.pyfunc", []string{python, "-c", mlflowScript}, request)
	}
	return e.scoreHere(request)
}

// scoreHere scores the quickstart's model.
func (e *Entry) scoreHere(request json.RawMessage) (json.RawMessage, error) {
	var row map[string]json.RawMessage
	if err := json.Unmarshal(request, &row); err != nil {
		return nil, pedigree.Errorf(pedigree.CodeInvalid, "the request is not an object")
	}
	features := make(map[string]float64, len(e.model.Features))
	for _, name := range e.model.Features {
		if row[name] == nil {
			continue // Predict says which is missing
		}
		var v pedigree.Float
		if err := json.Unmarshal(row[name], &v); err != nil {
			return nil, pedigree.Errorf(pedigree.CodeInvalid, "feature %q is not a number", name)
		}
		features[name] = float64(v)
	}
	p, label, err := e.model.Predict(features)
	if err != nil {
		return nil, pedigree.Errorf(pedigree.CodeInvalid, "%w", err)
	}
	return json.Marshal(struct {
		Label       string  `json:"label"`
		Probability float64 `json:"probability"`
	}{label, p})
}
