package cli

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/internal/prediction"
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
				if schema, err = own.Joined(); err != nil {
					return err
				}
			}
			return a.print(answer{value: schema, human: func(w io.Writer) { _ = writeJSON(w, schema) }})
		},
	}
	f.add(cmd)
	return cmd
}

// logSchema reads and compiles the schema that the flags choose; nil where they choose
// none.
func (a *app) logSchema(ctx context.Context, f *predictionFlags) (*prediction.Schema, error) {
	switch {
	case f.schema != "" && f.target != "":
		return nil, pedigree.Errorf(pedigree.CodeInvalid, "there are two log schemas: of %s and in %s", f.target, f.schema).WithFix("give --target or --schema")
	case f.schema != "":
		text, err := readFile(f.schema, pedigree.MaxLogSchema)
		if err != nil {
			return nil, err
		}
		return prediction.CompileSchema(f.schema, text)
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
	if len(target.LogSchema) == 0 {
		a.hint("note: %s has no log schema: only the form of the lines is looked at", name)
	}
	return prediction.TargetSchema(&target)
}

// checkPredictions checks a log.
func (a *app) checkPredictions(ctx context.Context, f *predictionFlags, name string) error {
	schema, err := a.logSchema(ctx, f)
	if err != nil {
		return err
	}
	in, err := a.openPredictions(name)
	if err != nil {
		return err
	}
	defer in.Close()
	check := prediction.Check{Schema: schema, Listed: f.errors}
	out, err := check.Read(ctx, name, in)
	if err != nil {
		return err
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

func (a *app) predictionPage(w io.Writer, out *pedigree.PredictionCheck) {
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

// openPredictions opens a log, a file or standard input, which may be packed.
func (a *app) openPredictions(name string) (io.ReadCloser, error) {
	in := io.NopCloser(a.stdin)
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, fileError(err)
		}
		in = f
	}
	unpacked, err := prediction.Unpack(name, in)
	if err != nil {
		_ = in.Close()
		return nil, err
	}
	return struct {
		io.Reader
		io.Closer
	}{unpacked, in}, nil
}
