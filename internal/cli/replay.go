package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/client"
	"github.com/pedigree-ml/pedigree/internal/prediction"
	"github.com/pedigree-ml/pedigree/internal/score"
)

// replayFlags choose the line and what is done with it.
type replayFlags struct {
	id        string
	run       bool
	tolerance float64
	python    string
	write     string
}

func newReplayCommand(a *app) *cobra.Command {
	f := &replayFlags{tolerance: pedigree.DefaultTolerance}
	cmd := &cobra.Command{
		Use:   "replay FILE|-",
		Short: "Trace a logged prediction to the version that made it, and score it again",
		Long: `Replay reads one logged prediction (docs/predictions.md), finds the deployment and the
version of that moment, reads the version's files again and checks every digest, and shows
who approved it under which policies, which code and data made it, and where the line and
the log do not agree.

With --run it scores the logged request again, as the version itself declares: by the
command in its scoring.json, by mlflow.pyfunc where it is an MLflow model, or here where it
is a model.json of the quickstart's form; and says identical, within tolerance, different,
or cannot, because … That runs code of the version on this machine with your rights: only
do it for versions that you would run anyway.

With --write it writes one file with the proofs, which pedigree verify checks without the
registry. The request and the prediction are not in it, only their digests.

Replay exits with 4 where the line and the log do not agree or the predictions differ, and
with 1 where the files are not whole or the request can't be scored.`,
		Example: `  pedigree replay prediction.json
  pedigree replay predictions.jsonl.gz --id r-4711 --run --write proof.json
  tail -1 predictions.jsonl | pedigree replay - --run --tolerance 1e-6`,
		Args: args(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if !(f.tolerance >= 0) {
				return pedigree.Errorf(pedigree.CodeInvalid, "--tolerance %v: want 0 or more", f.tolerance)
			}
			return a.replay(cmd.Context(), f, args[0])
		},
	}
	cmd.Flags().StringVar(&f.id, "id", "", "the `ID` of the prediction, where the file holds more than one")
	cmd.Flags().BoolVar(&f.run, "run", false, "run the version's code to score the request again")
	cmd.Flags().Float64Var(&f.tolerance, "tolerance", f.tolerance, "the most that two numbers may differ, relatively to numbers above 1")
	cmd.Flags().StringVar(&f.python, "python", "", "the interpreter at `PATH` for --run (default: python3, or python)")
	cmd.Flags().StringVar(&f.write, "write", "", "write the facts and their proofs to `FILE`")
	return cmd
}

func (a *app) replay(ctx context.Context, f *replayFlags, name string) error {
	line, err := a.readPrediction(ctx, name, f.id)
	if err != nil {
		return err
	}
	c, err := a.client(ctx)
	if err != nil {
		return err
	}
	bar := a.newProgress()
	in := client.Replay{Prediction: line, Tolerance: f.tolerance, Write: f.write, Progress: bar.event}
	if in.Checkpoint, err = a.remember(ctx); err != nil {
		return err
	}
	if f.run {
		in.Score = a.scorer(f, bar)
	}
	out, err := c.Replay(ctx, in)
	bar.stop()
	if err != nil {
		return err
	}
	shown := a.reference(out.Facts.Project, out.Facts.Model, out.Facts.Version)
	err = a.print(answer{value: out, names: []string{shown}, human: func(w io.Writer) {
		a.replayPage(w, &out)
		if f.write != "" {
			fmt.Fprintf(w, "\n→ %s; anybody who has the log's key can check it: pedigree verify %s\n", printable(f.write), shellWord(f.write))
		}
	}})
	if err != nil {
		return err
	}
	return out.Err()
}

// scorer scores a request as the files of the version declare. What the program said where
// that failed is for the person here and never in the file: it may hold the request.
func (a *app) scorer(f *replayFlags, shown *bar) client.Score {
	return func(ctx context.Context, dir string, request json.RawMessage) (json.RawMessage, string, error) {
		shown.stop()
		entry, err := score.Find(dir, score.Options{Python: f.python, Env: a.env})
		if err != nil {
			a.explain(err)
			return nil, "", err
		}
		a.hint("scoring the request again: %s", entry.String())
		got, err := entry.Score(ctx, request)
		if err != nil {
			a.explain(err)
		}
		return got, entry.String(), err
	}
}

// explain tells what a program said that could not score, and what to do.
func (a *app) explain(err error) {
	var own *pedigree.Error
	if !errors.As(err, &own) {
		return
	}
	if own.Err != nil && own.Code != pedigree.CodeInternal {
		for line := range strings.Lines(own.Err.Error()) {
			a.hint("  %s", strings.TrimRight(line, "\r\n"))
		}
	}
	if own.Fix != "" {
		a.hint("  → %s", own.Fix)
	}
}

// readPrediction reads the line that is meant.
func (a *app) readPrediction(ctx context.Context, name, id string) (pedigree.Prediction, error) {
	var found pedigree.Prediction
	lines, matches := 0, 0
	var failure error
	in, err := a.openPredictions(name)
	if err != nil {
		return found, err
	}
	defer in.Close()
	err = prediction.Lines(ctx, name, in, func(n int, line []byte) error {
		lines++
		p, err := pedigree.ParsePrediction(line)
		if id != "" && p.ID != id {
			return nil // also where the line is bad: it is not the one that is meant
		}
		matches++
		if err != nil && failure == nil {
			e := *asError(err)
			e.Message = fmt.Sprintf("line %d: %s", n, e.Message)
			failure = &e
		}
		found = p
		return nil
	})
	switch {
	case err != nil:
		return found, err
	case id == "" && lines > 1:
		return found, pedigree.Errorf(pedigree.CodeInvalid, "%s holds %s", name, count(lines, "prediction")).WithFix("--id ID says which is meant")
	case matches > 1:
		return found, pedigree.Errorf(pedigree.CodeInvalid, "%s holds %s with the id %s", name, count(matches, "prediction"), cut(id, 60)).WithFix("give the one line that is meant on standard input")
	case matches == 0 && id != "":
		return found, pedigree.Errorf(pedigree.CodeNotFound, "none of the %s of %s has the id %s", count(lines, "line"), name, cut(id, 60))
	case matches == 0:
		return found, pedigree.Errorf(pedigree.CodeInvalid, "%s holds no prediction", name)
	}
	return found, failure
}

// loggedPrediction reads what names a logged prediction: the line itself, or a file that
// holds such lines; ok is false for anything else.
func (a *app) loggedPrediction(ctx context.Context, what, id string) (p pedigree.Prediction, ok bool, err error) {
	if strings.HasPrefix(what, "{") {
		p, err = pedigree.ParsePredictionHead([]byte(what))
		return p, true, err
	}
	if what != "-" && !holdsPredictions(what) {
		return p, false, nil
	}
	p, err = a.readPrediction(ctx, what, id)
	return p, true, err
}

// holdsPredictions says whether a file looks like a log of predictions: a file may have the
// name of a model by chance.
func holdsPredictions(name string) bool {
	info, err := os.Stat(name)
	if err != nil || !info.Mode().IsRegular() {
		return false
	}
	f, err := os.Open(name)
	if err != nil {
		return false
	}
	defer f.Close()
	begin := make([]byte, 64<<10)
	n, _ := io.ReadFull(f, begin)
	return bytes.Contains(begin[:n], []byte(`"pedigree.prediction/`)) || prediction.Packed(begin[:n])
}

// replayPage shows a replay.
func (a *app) replayPage(w io.Writer, out *pedigree.Replay) {
	page := page{w}
	p, f := &out.Prediction, &out.Facts
	version := a.reference(f.Project, f.Model, f.Version)
	instance := ""
	if p.Instance != "" {
		instance = "by " + p.Instance
	}
	page.line("prediction", p.ID, stamp(p.Time)+" UTC", instance)
	page.line("version", version, "found by the "+out.FoundBy+" of the line")
	page.line("registered", stamp(f.RegisteredAt)+" UTC", "by "+a.who(f.RegisteredBy))
	if d := f.Deployment; d != nil {
		page.line("deployment", d.ID, string(d.Role)+" at "+string(d.Target))
		page.line("", a.replayInterval(d))
		var policies []string
		for _, ref := range d.Decision.Policies {
			policies = append(policies, fmt.Sprintf("%s (event %d)", ref.Scope, ref.Seq))
		}
		page.line("policies", strings.Join(policies, ", "))
		for _, c := range d.Decision.Overridden() {
			page.line("overridden", c.Name, c.Message, "because "+c.Reason)
		}
	}
	for _, o := range f.Opinions {
		note := ""
		if o.Past || o.Stale {
			note = "(counted no more)"
		}
		page.line(string(o.Verdict), stamp(o.At)+" UTC", "by "+a.who(o.By), o.Comment, note)
	}
	a.codeLines(page, &pedigree.Record{Code: f.Code})
	page.line("image", f.Image)
	page.list("data", dataLines(f.Data))
	page.line("owner", f.Owner)
	if b := out.Bytes; b.Problem == "" {
		page.line("files", string(b.Digest), count(b.Files, "file")+", "+size(&b.Bytes), "read again and whole")
	} else {
		page.line("files", "not read: "+b.Problem)
	}
	page.disagreement(out.Contradictions, out.Notes)
	if c := out.Comparison; c != nil {
		page.line("scored again", comparisonLine(c), out.Scoring)
	}
	page.line("proof", count(len(out.Events), "event")+" of a log of "+fmt.Sprint(out.Checkpoint.Size))
}

// disagreement shows where a line and the log do not agree, and what to mind.
func (p page) disagreement(contradictions, notes []string) {
	for _, c := range contradictions {
		p.line("DISAGREES", c)
	}
	for _, n := range notes {
		p.line("mind", n)
	}
}

// replayInterval is when a deployment was active.
func (a *app) replayInterval(d *pedigree.Deployment) string {
	if d.ActiveAt == nil {
		return "never active"
	}
	out := "active from " + stamp(*d.ActiveAt) + " UTC"
	if d.EndedAt != nil {
		out += " to " + stamp(*d.EndedAt) + " UTC, then " + strings.ReplaceAll(string(d.State), "_", " ")
	}
	return out + ", opened by " + a.who(d.OpenedBy)
}

// comparisonLine is a comparison in a sentence.
func comparisonLine(c *pedigree.Comparison) string {
	where := ""
	if c.At != "" {
		where = " at " + c.At
	}
	switch c.Outcome {
	case pedigree.OutcomeIdentical:
		return "identical"
	case pedigree.OutcomeWithin:
		if c.Difference == nil {
			return "within tolerance"
		}
		return fmt.Sprintf("within tolerance: off by at most %.3g%s", float64(*c.Difference), where)
	case pedigree.OutcomeCannot:
		return "cannot, because " + c.Reason
	}
	if c.Reason != "" {
		return "different: " + c.Reason
	}
	if c.Difference == nil { // a file that somebody made
		return "different"
	}
	return fmt.Sprintf("different: by up to %.3g%s", float64(*c.Difference), where)
}

// verifyReplay checks the file of a replay, with nothing but what the user has.
func (a *app) verifyReplay(f *verifyFlags, name string, r *pedigree.Replay) error {
	events, err := client.CheckReplay(r, f.keys...)
	if err != nil {
		return err
	}
	version := a.reference(r.Facts.Project, r.Facts.Model, r.Facts.Version)
	return a.print(answer{value: r, names: []string{version}, human: func(w io.Writer) {
		fmt.Fprintf(w, "ok  %s of the log %s prove what %s says of %s\n", count(len(events), "event"), printable(r.Checkpoint.Origin), printable(name), version)
		trust := "by a key that the file itself names; --key pins one that you have from elsewhere"
		if len(f.keys) > 0 {
			trust = "by the key that you trust"
		}
		fmt.Fprintf(w, "    the checkpoint of %s is signed %s\n", count(int(r.Checkpoint.Size), "event"), trust)
		fmt.Fprintf(w, "    request %s, prediction %s: whoever has the line can compare\n\n", r.Prediction.RequestDigest, r.Prediction.PredictionDigest)
		if r.Bytes == nil {
			r.Bytes = &pedigree.ReplayedBytes{Problem: "the file does not say"}
		}
		a.replayPage(w, r)
		fmt.Fprintf(w, "\nproven: the version, its record, reviews and deployment. That the files were whole, and what\ncame of scoring again, is the word of who made the file, on %s UTC.\n", stamp(r.MadeAt.In(time.UTC)))
	}})
}
