package cli

import (
	"bufio"
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
	"github.com/spf13/cobra"
	"golang.org/x/text/language"
	"golang.org/x/text/message"

	"github.com/pedigree-ml/pedigree"
)

func newPredictionsCommand(a *app) *cobra.Command {
	return noun("predictions", "Check logs of predictions, and print their schema", newPredictionsCheckCommand(a), newPredictionsSchemaCommand(a))
}

// predictionFlags choose a schema besides that of all predictions.
type predictionFlags struct {
	target string
	schema string
	errors int
}

func (f *predictionFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.target, "target", "", "the log schema of `TARGET`, as in prod/fraud-api")
	cmd.Flags().StringVar(&f.schema, "schema", "", "the log schema in `FILE`, in place of a target's")
}

func newPredictionsCheckCommand(a *app) *cobra.Command {
	f := &predictionFlags{}
	cmd := &cobra.Command{
		Use:   "check FILE|-",
		Short: "Check that every line of a log is a prediction that can be found and replayed",
		Long: `Check reads a log of predictions, one JSON object a line, plain or gzip, and compares each
line with the schema of all predictions, and with the log schema of a target or in a file.
It lists what is wrong by line, counts the lines of each version, and exits with 4 where a
line is bad.

What it reads stays on this machine.`,
		Example: `  pedigree predictions check predictions.jsonl --target prod/fraud-api
  zcat old/*.gz | pedigree predictions check - --schema log-schema.json`,
		Args: args(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.checkPredictions(cmd.Context(), f, args[0])
		},
	}
	f.add(cmd)
	cmd.Flags().IntVar(&f.errors, "errors", 20, "the most lines to list that are bad")
	return cmd
}

func newPredictionsSchemaCommand(a *app) *cobra.Command {
	f := &predictionFlags{}
	cmd := &cobra.Command{
		Use:   "schema",
		Short: "Print the JSON Schema of a logged prediction",
		Long: `Schema prints the JSON Schema (draft 2020-12) that every line of a prediction log fits,
together with the log schema of a target or in a file, for a validator or a generator of
code.`,
		Example: `  pedigree predictions schema > prediction.schema.json
  pedigree predictions schema --target prod/fraud-api`,
		Args: args(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			own, err := a.logSchema(cmd.Context(), f)
			if err != nil {
				return err
			}
			schema := pedigree.PredictionSchema()
			if own != nil {
				if schema, err = joinSchemas(schema, own.text); err != nil {
					return err
				}
			}
			return a.print(answer{value: schema, human: func(w io.Writer) { _ = writeJSON(w, schema) }})
		},
	}
	f.add(cmd)
	return cmd
}

// logSchema is a schema besides that of all predictions, compiled.
type logSchema struct {
	text json.RawMessage
	// of names it in a sentence.
	of       string
	target   pedigree.TargetName // "" for that of a file
	compiled *jsonschema.Schema
}

// logSchemaURL is what a log schema is called that does not name itself.
const logSchemaURL = "urn:pedigree:log-schema"

// logSchema reads and compiles the schema that the flags choose; nil where they choose
// none.
func (a *app) logSchema(ctx context.Context, f *predictionFlags) (*logSchema, error) {
	switch {
	case f.schema != "" && f.target != "":
		return nil, pedigree.Errorf(pedigree.CodeInvalid, "there are two log schemas: of %s and in %s", f.target, f.schema).WithFix("give --target or --schema")
	case f.schema != "":
		text, err := readFile(f.schema, pedigree.MaxLogSchema)
		s := &logSchema{text: text, of: f.schema}
		if err == nil {
			err = s.compile()
		}
		return s, err
	case f.target == "":
		return nil, nil
	}
	name, err := pedigree.ParseTarget(f.target)
	if err != nil {
		return nil, err
	}
	c, err := a.client(ctx)
	if err != nil {
		return nil, err
	}
	target, err := c.Target(ctx, name, pedigree.At{})
	if err != nil {
		return nil, err
	}
	s := &logSchema{text: target.LogSchema, of: string(name), target: name}
	if len(s.text) == 0 {
		a.hint("note: %s has no log schema: only the form of the lines is looked at", name)
		s.text = json.RawMessage(`{"properties": {"request": true}}`)
	}
	return s, s.compile()
}

// noLoader reads nothing: a schema that had to be fetched would be another one tomorrow.
type noLoader struct{}

func (noLoader) Load(url string) (any, error) {
	return nil, fmt.Errorf("%s is not fetched; put it into $defs of the schema", url)
}

func (s *logSchema) compile() error {
	if err := pedigree.CheckLogSchema(s.text); err != nil {
		return err
	}
	c := jsonschema.NewCompiler()
	c.UseLoader(noLoader{})
	c.AssertFormat()
	for url, text := range map[string]json.RawMessage{"urn:pedigree:prediction:v1": pedigree.PredictionSchema(), logSchemaURL: s.text} {
		doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
		if err == nil {
			err = c.AddResource(url, doc)
		}
		if err != nil {
			return pedigree.Errorf(pedigree.CodeInvalid, "the log schema of %s: %w", s.of, err)
		}
	}
	var err error
	if s.compiled, err = c.Compile(logSchemaURL); err != nil {
		why := err.Error()
		var invalid *jsonschema.SchemaValidationError
		var wrong *jsonschema.ValidationError
		if errors.As(err, &invalid) && errors.As(invalid.Err, &wrong) {
			why = strings.Join(violations(wrong), "; ")
		}
		return pedigree.Errorf(pedigree.CodeInvalid, "the log schema of %s is not a JSON Schema: %s", s.of, cut(why, 300))
	}
	return nil
}

// joinSchemas is a schema of what fits both. The log schema gets a name of its own, so
// that its references stay within it.
func joinSchemas(all, own json.RawMessage) (json.RawMessage, error) {
	var object map[string]json.RawMessage
	if err := json.Unmarshal(own, &object); err != nil {
		return nil, err
	}
	if object["$id"] == nil {
		object["$id"] = json.RawMessage(`"` + logSchemaURL + `"`)
	}
	return json.Marshal(struct {
		Schema string `json:"$schema"`
		AllOf  []any  `json:"allOf"`
	}{"https://json-schema.org/draft/2020-12/schema", []any{all, object}})
}

// problems says what of a line does not fit.
func (s *logSchema) problems(line []byte, p *pedigree.Prediction) []string {
	if s.target != "" && p.Target != "" && p.Target != s.target {
		return []string{fmt.Sprintf("target: it is of %s", p.Target)}
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(line))
	if err == nil {
		err = s.compiled.Validate(value)
	}
	if err == nil {
		return nil
	}
	var wrong *jsonschema.ValidationError
	if !errors.As(err, &wrong) {
		return []string{err.Error()}
	}
	return violations(wrong)
}

var schemaPrinter = message.NewPrinter(language.English)

// violations are the sentences of what failed at the bottom: "request.amount: got string,
// want number".
func violations(e *jsonschema.ValidationError) []string {
	if len(e.Causes) == 0 {
		text := e.ErrorKind.LocalizedString(schemaPrinter)
		if len(e.InstanceLocation) > 0 {
			text = strings.Join(e.InstanceLocation, ".") + ": " + text
		}
		return []string{cut(text, 200)}
	}
	if _, ok := e.ErrorKind.(*kind.Not); ok {
		return []string{cut(strings.Join(e.InstanceLocation, ".")+": "+e.ErrorKind.LocalizedString(schemaPrinter), 200)}
	}
	var out []string
	for _, cause := range e.Causes {
		for _, v := range violations(cause) {
			if !slices.Contains(out, v) {
				out = append(out, v)
			}
		}
	}
	return out
}

// predictionCheck is what was found in a log.
type predictionCheck struct {
	Lines int `json:"lines"`
	Bad   int `json:"bad"`
	// From and To are the first and the last time of the good lines.
	From *time.Time `json:"from,omitempty"`
	To   *time.Time `json:"to,omitempty"`
	// Versions counts the good lines of each version, as the lines name it.
	Versions []loggedVersion `json:"versions,omitempty"`
	// Problems are those of the first bad lines.
	Problems []predictionProblem `json:"problems,omitempty"`
}

type loggedVersion struct {
	Name  string `json:"name"`
	Lines int    `json:"lines"`
}

type predictionProblem struct {
	Line int `json:"line"`
	// ID is that of the prediction, where it could be read.
	ID       string   `json:"id,omitempty"`
	Problems []string `json:"problems"`
	Fix      string   `json:"fix,omitempty"`
}

// checkPredictions checks a log.
func (a *app) checkPredictions(ctx context.Context, f *predictionFlags, name string) error {
	own, err := a.logSchema(ctx, f)
	if err != nil {
		return err
	}
	var out predictionCheck
	versions := map[string]int{}
	err = a.readPredictions(ctx, name, func(n int, line []byte) error {
		out.Lines++
		p, err := pedigree.ParsePrediction(line)
		var wrong []string
		fix := ""
		if err != nil {
			e := asError(err)
			wrong, fix = []string{e.Message}, e.Fix
		} else if own != nil {
			wrong = own.problems(line, &p)
		}
		if len(wrong) > 0 {
			if out.Bad++; out.Bad <= f.errors {
				out.Problems = append(out.Problems, predictionProblem{Line: n, ID: p.ID, Problems: wrong, Fix: fix})
			}
			return nil
		}
		t := p.Time
		if out.From == nil || t.Before(*out.From) {
			out.From = &t
		}
		if out.To == nil || t.After(*out.To) {
			out.To = &t
		}
		if key := a.loggedName(&p); versions[key] > 0 || len(versions) < 1000 {
			versions[key]++
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, key := range slices.Sorted(maps.Keys(versions)) {
		out.Versions = append(out.Versions, loggedVersion{key, versions[key]})
	}
	names := make([]string, len(out.Problems))
	for i, p := range out.Problems {
		names[i] = fmt.Sprint(p.Line)
	}
	err = a.print(answer{value: out, names: names, human: func(w io.Writer) { a.predictionPage(w, &out) }})
	if err == nil && out.Bad > 0 {
		err = &pedigree.Error{Code: pedigree.CodeRefused, Message: fmt.Sprintf("%d of %s not as they should be", out.Bad, count(out.Lines, "line")), Fix: "docs/predictions.md shows a logger of ten lines"}
	}
	return err
}

// loggedName is the version of a line as the line names it.
func (a *app) loggedName(p *pedigree.Prediction) string {
	project := cmp.Or(p.Project, pedigree.DefaultProject)
	switch {
	case p.Model != "" && p.Version != 0:
		return a.reference(project, p.Model, p.Version)
	case p.Deployment != "":
		return p.Deployment
	case p.Digest != "":
		return string(p.Digest)
	}
	return "target:" + string(p.Target)
}

func (a *app) predictionPage(w io.Writer, out *predictionCheck) {
	if out.Bad == 0 {
		fmt.Fprintf(w, "ok  %s", count(out.Lines, "line"))
		if out.From != nil {
			fmt.Fprintf(w, ", %s to %s UTC", stamp(*out.From), stamp(*out.To))
		}
		fmt.Fprintln(w)
	} else {
		t := a.newTable("line", "id", "what is wrong")
		for _, p := range out.Problems {
			for i, what := range p.Problems {
				if i == 0 {
					t.row(p.Line, cut(p.ID, 40), what)
				} else {
					t.row("", "", what)
				}
			}
			if p.Fix != "" {
				t.row("", "", "→ "+p.Fix)
			}
		}
		t.write(w, "")
		if more := out.Bad - len(out.Problems); more > 0 {
			fmt.Fprintf(w, "and %s more (--errors %d)\n", count(more, "line"), out.Bad)
		}
	}
	if len(out.Versions) > 0 {
		fmt.Fprintln(w)
		t := a.newTable("version", "lines")
		for _, v := range out.Versions {
			t.row(v.Name, v.Lines)
		}
		t.write(w, "")
	}
}

// gzipMagic begins a file that gzip packed.
var gzipMagic = []byte{0x1f, 0x8b}

// readPredictions gives every line of a log to each, with its number from 1: of a file or
// of standard input, plain or gzip. Blank lines are none. A line that is too long comes
// cut, a byte over the limit.
func (a *app) readPredictions(ctx context.Context, name string, each func(n int, line []byte) error) error {
	in := a.stdin
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return fileError(err)
		}
		defer f.Close()
		in = f
	}
	r := bufio.NewReaderSize(in, 256<<10)
	if magic, _ := r.Peek(2); bytes.Equal(magic, gzipMagic) {
		z, err := gzip.NewReader(r)
		if err != nil {
			return pedigree.Errorf(pedigree.CodeCorrupt, "%s can't be unpacked: %w", name, err)
		}
		r = bufio.NewReaderSize(z, 256<<10)
	}
	var line []byte
	for n := 1; ; n++ {
		line = line[:0]
		var err error
		for {
			var part []byte
			part, err = r.ReadSlice('\n')
			if room := pedigree.MaxPrediction + 2 - len(line); room > 0 { // with its line end
				line = append(line, part[:min(len(part), room)]...)
			}
			if !errors.Is(err, bufio.ErrBufferFull) {
				break
			}
		}
		text := bytes.TrimRight(line, "\r\n")
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if len(bytes.TrimSpace(text)) > 0 && (err == nil || errors.Is(err, io.EOF)) {
			if err := each(n, text); err != nil {
				return err
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return pedigree.Errorf(pedigree.CodeCorrupt, "%s can't be read after line %d: %w", name, n-1, fileError(err))
		}
	}
}
