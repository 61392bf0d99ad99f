package cli

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/client"
	"github.com/pedigree-ml/pedigree/internal/link"
)

// execFlags say where a job runs, and what it reads and writes.
type execFlags struct {
	target          string
	inputs, outputs []string
	cache           string
	keep, parallel  int
	allow           bool
}

func newExecCommand(a *app) *cobra.Command {
	f := &execFlags{}
	cmd := &cobra.Command{
		Use:   "exec --target ENV/NAME -- COMMAND [ARG …]",
		Short: "Run a batch job with what is deployed at a target, and record what it read and wrote",
		Long: `Exec fetches the version that is active at a target (into a folder of this machine that is kept
for the next time), compares every file with its digest, and runs the command. The command finds

  PEDIGREE_PATH        the folder with the files of the version; nothing may be changed in it
  PEDIGREE_MODEL, PEDIGREE_VERSION, PEDIGREE_DIGEST, PEDIGREE_DEPLOYMENT, PEDIGREE_TARGET
                       what it runs, for its own log
  PEDIGREE_EXECUTION   the id of this run
  PEDIGREE_OUTPUTS     a file to which it may write what it wrote, one JSON object a line:
                       {"name": "scores", "uri": "out/scores.parquet"}

Signals are passed on to it, and its exit code is that of exec; one of 1 to 5 without a word of
the command means that it did not run. Recorded are the inputs (--input), the outputs (--output,
and those in the file), of files and folders of this machine with digest and size, and the exit
code: pedigree executions tells which outputs a version wrote.

Where the registry does not answer at the end, the report is kept and sent by the next exec.`,
		Example: `  pedigree exec --target prod/nightly -- python score.py
  pedigree exec --target prod/nightly --input transactions=s3://lake/tx/2026-11-23 --output scores=out/scores.parquet -- ./score.sh --day 2026-11-23`,
		Args: args(1, -1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if f.target == "" {
				return pedigree.Errorf(pedigree.CodeInvalid, "of which target is this job?").WithFix("--target prod/NAME; pedigree target ls lists the targets")
			}
			return a.exec(cmd.Context(), f, args)
		},
	}
	flags := cmd.Flags()
	flags.SetInterspersed(false) // what follows the command is the command's
	flags.SortFlags = false
	flags.StringVar(&f.target, "target", "", "target, `ENV/NAME`")
	flags.StringArrayVar(&f.inputs, "input", nil, "what the job reads, `[NAME=]URI` (repeat)")
	flags.StringArrayVar(&f.outputs, "output", nil, "what the job writes, `[NAME=]URI` (repeat)")
	flags.StringVar(&f.cache, "cache", "", "`FOLDER` to keep versions in (default: the user's cache folder)")
	flags.IntVar(&f.keep, "keep", 3, "versions to keep there")
	flags.IntVar(&f.parallel, "parallel", 0, "files to fetch at the same time (default: by the machine)")
	allowSecrets(flags, &f.allow)
	return cmd
}

// executing is an exec under way.
type executing struct {
	*app
	f    *execFlags
	c    *client.Client
	held *client.Held
}

func (a *app) exec(ctx context.Context, f *execFlags, command []string) error {
	target, err := a.targetOf(f.target)
	if err != nil {
		return err
	}
	if f.keep < 1 {
		return pedigree.Errorf(pedigree.CodeInvalid, "--keep %d: what the job runs with is always kept", f.keep).WithFix("--keep 1, or more")
	}
	if err := refuseTyped(f.allow, map[string]string{"--input": strings.Join(f.inputs, "\n"), "--output": strings.Join(f.outputs, "\n")}); err != nil {
		return err
	}
	inputs, err := parseAll(f.inputs, parseOutput)
	if err != nil {
		return err
	}
	outputs, err := parseAll(f.outputs, parseOutput)
	if err != nil {
		return err
	}
	for i := range inputs {
		if err := describe(ctx, &inputs[i]); err != nil {
			return err
		}
	}
	program, err := exec.LookPath(command[0])
	if err != nil && !errors.Is(err, exec.ErrDot) {
		return pedigree.Errorf(pedigree.CodeInvalid, "%s can't be run: %w", command[0], err)
	}
	command[0] = program
	if f.cache == "" {
		if f.cache, err = a.cacheDir(); err != nil {
			return err
		}
	}
	x := &executing{app: a, f: f}
	if x.c, err = a.client(ctx); err != nil {
		return err
	}
	x.sendKept(ctx)
	return x.job(ctx, target, inputs, outputs, command)
}

// job fetches, runs and reports.
func (x *executing) job(ctx context.Context, target pedigree.TargetName, inputs, outputs []pedigree.Output, command []string) error {
	status, err := x.c.TargetStatus(ctx, target, pedigree.At{})
	if err != nil {
		return err
	}
	d := status.Current
	if d == nil {
		return pedigree.Errorf(pedigree.CodeRefused, "nothing is deployed at %s", target).WithFix("pedigree deploy MODEL/VERSION --to %s", target)
	}
	if _, err := x.remember(ctx); err != nil {
		return err
	}
	cache := client.OpenCache(x.f.cache)
	defer func() {
		if x.held != nil {
			_ = x.held.Release()
		}
		if err := cache.Prune(x.f.keep); err != nil {
			x.warn("old versions stay in %s: %v", x.f.cache, err)
		}
	}()
	if err := x.hold(ctx, cache, d.Reference().In(d.Project)); err != nil {
		return err
	}
	e, err := x.c.StartExecution(ctx, target, inputs)
	if err != nil {
		return err
	}
	if e.ModelID != x.held.ModelID || e.Version != x.held.Number { // deployed meanwhile
		if err := x.hold(ctx, cache, pedigree.Reference{Project: e.Project, Model: e.Model, Version: e.Version}); err != nil {
			x.finish(ctx, &e, pedigree.ExecutionReport{Exit: exitFailure})
			return err
		}
	}
	code, reported, runErr := x.run(ctx, &e, command)
	// What was to end this program has ended the command: what is left is to say so.
	ctx = context.WithoutCancel(ctx)
	report := pedigree.ExecutionReport{Exit: code}
	for _, o := range append(outputs, reported...) {
		if err := describe(ctx, &o); err != nil {
			x.warn("output %s is recorded without a digest: %v", cmp.Or(o.Name, string(o.URI)), err)
		}
		report.Outputs = append(report.Outputs, o)
	}
	x.finish(ctx, &e, report)
	if runErr != nil {
		x.report(runErr)
	}
	return exitStatus(code)
}

// hold has the cache fetch and keep a version.
func (x *executing) hold(ctx context.Context, cache *client.Cache, ref pedigree.Reference) error {
	if err := handedOut(ctx, x.c, ref); err != nil {
		return err
	}
	if x.held != nil {
		if err := x.held.Release(); err != nil {
			return err
		}
		x.held = nil
	}
	bar := x.newProgress()
	held, err := cache.Hold(ctx, x.c, ref, x.f.parallel, bar.event)
	bar.stop()
	x.held = held
	return err
}

// run runs the command and returns its exit code, and what it says that it wrote.
func (x *executing) run(ctx context.Context, e *pedigree.Execution, command []string) (int, []pedigree.Output, error) {
	said, err := os.CreateTemp("", "pedigree-outputs-*.jsonl")
	if err != nil {
		return exitFailure, nil, fmt.Errorf("make the file for outputs: %w", err)
	}
	_ = said.Close()
	defer func() { _ = os.Remove(said.Name()) }()
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = x.stdin, x.stdout, x.stderr
	p := pedigree.Pointer{Project: e.Project, Target: e.Target, Deployment: e.DeploymentID, Model: e.Model, Version: e.Version, Digest: e.Digest}
	cmd.Env = append(append(os.Environ(), pointerEnv(&p, x.held.Path)...), "PEDIGREE_EXECUTION="+e.ID, "PEDIGREE_OUTPUTS="+said.Name())
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, passedOn...)
	defer signal.Stop(signals)
	if ctx.Err() != nil {
		return exitInterrupted, nil, nil
	}
	if err := cmd.Start(); err != nil {
		return 126, nil, pedigree.Errorf(pedigree.CodeInvalid, "%s can't be run: %w", command[0], err)
	}
	ended := make(chan struct{})
	go func() {
		inFront := terminal(x.stdin)
		for {
			select {
			case s := <-signals:
				if !inFront || !byTerminal(s) {
					_ = cmd.Process.Signal(s) // it may just have ended
				}
			case <-ended:
				return
			}
		}
	}()
	err = cmd.Wait()
	close(ended)
	outputs := x.readOutputs(said.Name())
	if code, ok := endedBy(cmd.ProcessState); ok {
		return code, outputs, nil
	}
	var failed *exec.ExitError
	if err != nil && !errors.As(err, &failed) {
		return exitFailure, outputs, fmt.Errorf("wait for %s: %w", command[0], err)
	}
	return cmd.ProcessState.ExitCode(), outputs, nil
}

// readOutputs reads what the command said that it wrote. A line that can't be read is told
// and passed over: the job is done.
func (x *executing) readOutputs(name string) []pedigree.Output {
	text, err := os.ReadFile(name)
	if err != nil {
		x.warn("what the command wrote to PEDIGREE_OUTPUTS can't be read: %v", err)
		return nil
	}
	var out []pedigree.Output
	lines := bufio.NewScanner(bytes.NewReader(text))
	lines.Buffer(nil, len(text)+1)
	for n := 1; lines.Scan(); n++ {
		line := bytes.TrimSpace(lines.Bytes())
		if len(line) == 0 {
			continue
		}
		var o pedigree.Output
		dec := json.NewDecoder(bytes.NewReader(line))
		dec.DisallowUnknownFields()
		if err := dec.Decode(&o); err != nil || o == (pedigree.Output{}) {
			x.warn(`line %d of PEDIGREE_OUTPUTS is no output, as in {"name": "scores", "uri": "out/scores.parquet"}: %s`, n, cut(string(line), 80))
			continue
		}
		out = append(out, o)
	}
	return out
}

// describe adds digest and size to an input or output that is a file or a folder of this
// machine. What is elsewhere is taken as it was named.
func describe(ctx context.Context, o *pedigree.Output) error {
	uri := string(o.URI)
	if uri == "" || o.Digest != "" && o.Size != nil {
		return nil
	}
	if scheme, _, found := strings.Cut(uri, ":"); found && len(scheme) > 1 && scheme != "file" {
		return nil
	}
	info, err := link.Read(ctx, uri, link.Options{})
	if err != nil {
		return err
	}
	if o.Digest != "" && info.Digest != "" && o.Digest != info.Digest {
		return pedigree.Errorf(pedigree.CodeInvalid, "%s has the digest %s, not %s", uri, info.Digest, o.Digest)
	}
	o.URI, o.Size, o.Digest = info.URI, info.Size, cmp.Or(info.Digest, o.Digest)
	return nil
}

// keptReport is a report that could not be sent yet.
type keptReport struct {
	// Registry is the one that it is for, as [credentialKey] has it.
	Registry  string                   `json:"registry"`
	Execution string                   `json:"execution"`
	Report    pedigree.ExecutionReport `json:"report"`
}

// finish reports the end of a job, or keeps the report for later.
func (x *executing) finish(ctx context.Context, e *pedigree.Execution, report pedigree.ExecutionReport) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	_, err := x.c.FinishExecution(ctx, e.ID, report)
	switch {
	case err == nil:
		x.hint("execution %s of %s ended with %d: %s recorded", e.ID, x.reference(e.Project, e.Model, e.Version), report.Exit, count(len(report.Outputs), "output"))
		return
	case !outage(err):
		x.warn("the end of execution %s is not recorded: %v", e.ID, err)
		return
	}
	path, keepErr := x.keep(keptReport{credentialKey(x.registry), e.ID, report})
	if keepErr != nil {
		text, _ := json.Marshal(report)
		x.warn("the end of execution %s is not recorded: %v; and it can't be kept: %v; it is: %s", e.ID, err, keepErr, text)
		return
	}
	x.warn("the end of execution %s is not recorded yet: %s; it is kept in %s, and sent by the next pedigree exec of this user", e.ID, asError(err).Message, path)
}

func (x *executing) keptDir() (string, error) {
	dir, err := x.stateDir()
	return filepath.Join(dir, "executions"), err
}

func (x *executing) keep(r keptReport) (string, error) {
	dir, err := x.keptDir()
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	text, err := json.Marshal(r)
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, r.Execution+".json")
	return path, replaceFile(path, append(text, '\n'))
}

// sendKept sends the reports that were kept for this registry. One that it has already, or
// will never take, is not kept any longer.
func (x *executing) sendKept(ctx context.Context) {
	dir, err := x.keptDir()
	if err != nil {
		return
	}
	paths, _ := filepath.Glob(filepath.Join(dir, "exe_*.json"))
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			continue // another exec has sent it
		}
		var r keptReport
		if json.Unmarshal(text, &r) != nil || r.Registry != credentialKey(x.registry) {
			continue
		}
		_, err = x.c.FinishExecution(ctx, r.Execution, r.Report)
		switch code := pedigree.CodeOf(err); {
		case err == nil:
			x.hint("the end of execution %s, kept since the registry did not answer, is recorded", r.Execution)
		case code == pedigree.CodeRefused: // it came through after all
		case code == pedigree.CodeNotFound || code == pedigree.CodeInvalid:
			x.warn("the end of execution %s can't be recorded and is not kept any longer: %v: %s", r.Execution, err, bytes.TrimSpace(text))
		default:
			x.warn("the end of execution %s is still not recorded: %v", r.Execution, err)
			continue
		}
		_ = os.Remove(path)
	}
}

// cacheDir is where versions are kept for the jobs of this user.
func (a *app) cacheDir() (string, error) {
	for _, name := range []string{"XDG_CACHE_HOME", "LOCALAPPDATA"} {
		if dir := a.env(name); filepath.IsAbs(dir) {
			return filepath.Join(dir, "pedigree", "artifacts"), nil
		}
	}
	home := cmp.Or(a.env("HOME"), a.env("USERPROFILE"))
	if home == "" {
		return "", pedigree.Errorf(pedigree.CodeInvalid, "there is no place to keep versions in: neither HOME nor XDG_CACHE_HOME is set").WithFix("--cache FOLDER")
	}
	return filepath.Join(home, ".cache", "pedigree", "artifacts"), nil
}

func newExecutionsCommand(a *app) *cobra.Command {
	var limit int
	var outputs bool
	cmd := &cobra.Command{
		Use:   "executions ENV/NAME|REF",
		Short: "List the runs of batch jobs at a target, or with a version, and what they wrote",
		Example: `  pedigree executions prod/nightly
  pedigree executions fraud/7 --outputs
  pedigree executions target:prod/nightly --at -7d -o json`,
		Args:              args(1, 1),
		ValidArgsFunction: a.completeTargets,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.executions(cmd.Context(), args[0], limit, outputs)
		},
	}
	limitFlag(cmd, &limit)
	cmd.Flags().BoolVar(&outputs, "outputs", false, "one line for each output")
	a.atFlag(cmd)
	return cmd
}

func (a *app) executions(ctx context.Context, text string, limit int, outputs bool) error {
	at, err := a.moment()
	if err != nil {
		return err
	}
	ref, refErr := pedigree.ParseReference(text)
	precisely := refErr == nil && (ref.Version != 0 || ref.Alias != "" || ref.Digest != "")
	target, targetErr := pedigree.ParseTarget(text)
	if isTarget(text) || targetErr == nil && !precisely {
		if target, err = a.targetOf(text); err != nil {
			return err
		}
	} else if refErr != nil {
		return refErr
	} else {
		target = ""
	}
	c, err := a.client(ctx)
	if err != nil {
		return err
	}
	list, err := gather(limit, func(page pedigree.Page) (pedigree.List[pedigree.Execution], error) {
		if target != "" {
			return c.TargetExecutions(ctx, target, page, at)
		}
		return c.VersionExecutions(ctx, ref, page, at)
	})
	if err != nil {
		return err
	}
	var names []string
	t := a.newTable("execution", "target", "version", "started (UTC)", "took", "exit", "wrote")
	if outputs {
		t = a.newTable("output", "size", "digest", "version", "finished (UTC)", "execution")
	}
	for i := range list.Items {
		e := &list.Items[i]
		names = append(names, e.ID)
		version := a.reference(e.Project, e.Model, e.Version)
		took, exit, finished := "", "(no word)", ""
		if e.FinishedAt != nil {
			took, exit, finished = e.FinishedAt.Sub(e.StartedAt).Round(time.Millisecond).String(), fmt.Sprint(*e.Exit), stamp(*e.FinishedAt)
		}
		var wrote []string
		for _, o := range e.Outputs {
			wrote = append(wrote, cmp.Or(o.Name, string(o.URI)))
			if outputs {
				t.row(outputName(o), size(o.Size), o.Digest.Short(), version, finished, e.ID)
			}
		}
		if !outputs {
			t.row(e.ID, e.Target, version, stamp(e.StartedAt), took, exit, cut(strings.Join(wrote, ", "), 60))
		}
	}
	err = a.print(answer{value: list, names: names, asOf: a.asOf(ctx, at), human: func(w io.Writer) {
		if len(names) == 0 {
			fmt.Fprintln(w, "no executions; pedigree exec --target ENV/NAME -- COMMAND runs one")
			return
		}
		t.write(w, "")
	}})
	a.more(list.Next, limit)
	return err
}

// outputName is an output for people: what it is called, and where it is.
func outputName(o pedigree.Output) string {
	if o.Name == "" {
		return string(o.URI)
	}
	return strings.TrimSpace(o.Name + " " + string(o.URI))
}
