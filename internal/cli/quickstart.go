package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/examples/breastcancer"
	"github.com/pedigree-ml/pedigree/internal/capture"
)

// tumour is the name of the quickstart's model.
const tumour = "tumour"

func newQuickstartCommand(a *app) *cobra.Command {
	dir := "pedigree-quickstart"
	cmd := &cobra.Command{
		Use:   "quickstart",
		Short: "Try the main job in a minute: register, name, pull, predict, prove, replay",
		Long: `Quickstart makes a registry in one folder, registers two versions of a small real model,
moves an alias, pulls the version back by it, predicts with what it pulled, shows what was
recorded, and traces one of the predictions back to it. Every step is a command that you
can type; all that it writes is in the folder, and it can be run again.`,
		Example: `  pedigree quickstart
  pedigree quickstart --dir /tmp/try`,
		Args: args(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if a.url != "" {
				return pedigree.Errorf(pedigree.CodeInvalid, "quickstart works on a folder of its own, not on a server").WithFix("leave --url and PEDIGREE_URL out")
			}
			q := &quickstart{app: a, dir: dir}
			return q.run(cmd.Context())
		},
	}
	cmd.Flags().StringVar(&dir, "dir", dir, "the `FOLDER` for everything that it makes")
	return cmd
}

// quickstart is one run of it.
type quickstart struct {
	*app
	dir string
}

func (q *quickstart) run(ctx context.Context) error {
	begin := q.now()
	if err := q.unpack(); err != nil {
		return err
	}
	q.data = q.dir
	if _, err := q.client(ctx); err != nil {
		return err
	}
	q.say("Everything stays in %s. To type the commands yourself: export PEDIGREE_DATA=%s", q.dir, q.dir)
	first, err := q.push(ctx, "1. Register a model: ten measurements of a cell sample in, the chance of a malignant tumour out.", "v1")
	if err != nil {
		return err
	}
	second, err := q.push(ctx, "2. Register a better version, which uses thirty measurements. This record also says where it will run and how to go back.", "v2",
		"--target", "prod/screening", "--rollback-note", "version 1 takes ten of the same thirty columns; nothing else changes")
	if err != nil {
		return err
	}
	production := tumour + "@production"
	steps := []struct {
		say  string
		args []string
	}{
		{"3. Give the first version a name that services use, then move the name to the second.", []string{"alias", "set", production, first.String()}},
		{"", []string{"alias", "set", production, second.String(), "--note", "fewer malignant cases missed"}},
		{"4. Get the exact bytes back by that name; every digest is checked on the way.", []string{"pull", production, q.path("pulled"), "--force"}},
		{"   And the stored bytes are still what was registered:", []string{"verify", production}},
	}
	for _, s := range steps {
		if err := q.command(ctx, s.say, s.args...); err != nil {
			return err
		}
	}
	if err := q.predict(ctx); err != nil {
		return err
	}
	if err := q.command(ctx, "6. What is it, and where does it come from?", "show", production); err != nil {
		return err
	}
	before, err := q.beforeMove(ctx)
	if err != nil {
		return err
	}
	if err := q.command(ctx, "7. What did the name point to a moment ago, before it moved?", "alias", "ls", tumour, "--at", before.Format(time.RFC3339Nano)); err != nil {
		return err
	}
	if err := q.command(ctx, "8. What happened? Every change is an event of a log that can't be rewritten unseen.", "log", tumour, "--limit", "6"); err != nil {
		return err
	}
	if err := q.command(ctx, "", "verify"); err != nil {
		return err
	}
	if err := q.command(ctx, "9. Months later: who said this of patient one? Trace the logged prediction, score it again, and write down the proof.",
		"replay", q.path("predictions.jsonl"), "--id", "patient-1", "--run", "--write", q.path("proof.json")); err != nil {
		return err
	}
	if err := q.command(ctx, "   Whoever gets that file checks it without the registry:", "verify", q.path("proof.json")); err != nil {
		return err
	}
	q.say("\nDone in %.1f seconds. Try next:", q.now().Sub(begin).Seconds())
	for _, next := range []string{
		"pedigree diff " + tumour + "/" + first.String() + " " + tumour + "/" + second.String(),
		`pedigree search "metrics.auc > 0.99 AND data.train.uri = 'sklearn:load_breast_cancer'"`,
		"pedigree lineage " + production,
		"pedigree push my-model ./folder --metric auc=0.93      (your own model)",
		"pedigree serve --data " + shellWord(q.dir) + "      (the same over HTTP)",
	} {
		q.say("  %s", next)
	}
	return nil
}

func (q *quickstart) say(format string, args ...any) { fmt.Fprintf(q.stdout, format+"\n", args...) }

func (q *quickstart) path(name string) string { return filepath.Join(q.dir, filepath.FromSlash(name)) }

// unpack writes the example's files into the folder.
func (q *quickstart) unpack() error {
	return fs.WalkDir(breastcancer.Files, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		to := filepath.Join(q.dir, "example", filepath.FromSlash(name))
		if d.IsDir() {
			return os.MkdirAll(to, 0o755)
		}
		content, err := fs.ReadFile(breastcancer.Files, name)
		if err != nil {
			return err
		}
		return os.WriteFile(to, content, 0o644)
	})
}

// command prints a command line and runs it, on the registry that is already open.
func (q *quickstart) command(ctx context.Context, say string, args ...string) error {
	if say != "" {
		q.say("\n%s", say)
	}
	words := make([]string, len(args))
	for i, arg := range args {
		words[i] = shellWord(arg)
	}
	q.say("$ pedigree %s", strings.Join(words, " "))
	sub := &app{stdin: q.stdin, stdout: q.stdout, stderr: q.stderr, env: q.elsewhere, now: q.now, noColor: q.noColor, registry: q.registry}
	root := newRootCommand(sub)
	root.SetArgs(args)
	root.SetIn(q.stdin)
	root.SetOut(q.stdout)
	root.SetErr(q.stderr)
	return root.ExecuteContext(ctx)
}

// elsewhere is the environment of the commands: that of the person, without what points
// them to another registry.
func (q *quickstart) elsewhere(name string) string {
	switch name {
	case "PEDIGREE_URL", "PEDIGREE_DATA", "PEDIGREE_PROJECT", "PEDIGREE_OWNER":
		return ""
	}
	return q.env(name)
}

// push registers one folder of the example and returns the number it got.
func (q *quickstart) push(ctx context.Context, say, version string, more ...string) (pedigree.VersionNumber, error) {
	args := []string{
		"push", tumour, q.path("example/" + version), "--record", q.path("example/" + version + ".record.yaml"),
		"--owner", "team:screening", "--no-capture", // what runs here did not train the model
	}
	if code := q.code(ctx); code != "" {
		args = append(args, "--code", code)
	}
	if err := q.command(ctx, say, append(args, more...)...); err != nil {
		return 0, err
	}
	c, err := q.client(ctx)
	if err != nil {
		return 0, err
	}
	m, err := c.Model(ctx, tumour, pedigree.At{})
	return m.Latest, err
}

// code is the commit that holds the training script, where quickstart runs in a check-out
// of it; "" elsewhere: the commit of another repository would be a false record.
func (q *quickstart) code(ctx context.Context) string {
	script := filepath.Join("examples", "breastcancer", "train.py")
	here, err := os.ReadFile(script)
	if err != nil {
		return ""
	}
	ours, err := fs.ReadFile(breastcancer.Files, "train.py")
	if err != nil || !bytes.Equal(here, ours) {
		return ""
	}
	dir, err := os.Getwd()
	if err != nil {
		return ""
	}
	c := capture.Capture(ctx, capture.Options{Dir: dir, Env: q.env}).Record.Code
	if c == nil || c.Commit == "" || c.Dirty {
		return ""
	}
	repository := string(c.Repository)
	if repository == "" {
		repository = "https://github.com/pedigree-ml/pedigree"
	}
	return repository + "@" + c.Commit
}

// predict scores what was pulled, and logs every prediction as a service would.
func (q *quickstart) predict(ctx context.Context) error {
	q.say("\n5. Use what was pulled: the model scores patients it has never seen, and logs what it says (%s).", q.path("predictions.jsonl"))
	c, err := q.client(ctx)
	if err != nil {
		return err
	}
	version, err := c.Resolve(ctx, pedigree.Reference{Model: tumour, Alias: "production"}, pedigree.At{})
	if err != nil {
		return err
	}
	file, err := os.Open(q.path("pulled/model.json"))
	if err != nil {
		return err
	}
	defer file.Close()
	model, err := breastcancer.Load(file)
	if err != nil {
		return err
	}
	samples, err := breastcancer.Samples()
	if err != nil {
		return err
	}
	if len(samples) == 0 {
		return errors.New("the example has no samples")
	}
	var log bytes.Buffer
	t := q.newTable("patient", "chance of malignant", "prediction", "diagnosis")
	for i, s := range samples[:min(5, len(samples))] {
		p, label, err := model.Predict(s.Features)
		if err != nil {
			return err
		}
		t.row(s.Row, fmt.Sprintf("%.3f", p), label, s.Label)
		request, err := json.Marshal(s.Features)
		if err != nil {
			return err
		}
		prediction, err := json.Marshal(map[string]any{"label": label, "probability": p})
		if err != nil {
			return err
		}
		line := pedigree.Prediction{
			Schema: pedigree.PredictionV1, ID: fmt.Sprintf("patient-%d", i+1), Time: q.now().UTC(),
			Model: version.Model, Version: version.Number, Digest: version.Digest, Request: request, Prediction: prediction,
		}
		if err := json.NewEncoder(&log).Encode(line); err != nil {
			return err
		}
	}
	t.write(q.stdout, "")
	return os.WriteFile(q.path("predictions.jsonl"), log.Bytes(), 0o644)
}

// beforeMove is the moment just before the alias got its present version.
func (q *quickstart) beforeMove(ctx context.Context) (time.Time, error) {
	c, err := q.client(ctx)
	if err != nil {
		return time.Time{}, err
	}
	moves, err := c.AliasHistory(ctx, tumour, "production", pedigree.Page{Limit: 1}, pedigree.At{})
	if err != nil {
		return time.Time{}, err
	}
	if len(moves.Items) == 0 {
		return time.Time{}, errors.New("the alias production was never set")
	}
	return moves.Items[0].From.Add(-time.Microsecond), nil
}
