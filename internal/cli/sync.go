package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/client"
)

// syncFlags say how a folder follows its source.
type syncFlags struct {
	keep, parallel int
	exec           string
	signal         string
	pidFile        string
	interval       time.Duration
	watch          bool
	fallback       string
	keys           []string
	instance       string
	noReport       bool
}

func newSyncCommand(a *app) *cobra.Command {
	f := &syncFlags{}
	cmd := &cobra.Command{
		Use:   "sync SOURCE DEST",
		Short: "Keep a folder at what is deployed at a target, or at what an alias names",
		Long: `Sync fetches what is deployed at a target, or what an alias names, checks every digest, and
makes DEST/current link to it in one step: whoever opens DEST/current sees one whole version,
whenever sync is stopped or killed. Beside the folder of a version lies, under the same name
with .json, the pointer that says which version it is, with the proof from the log.

It runs once, as before the start of a service or from cron, or with --interval or --watch as
long as the service does. A command (--exec) or a signal (--signal, --pid-file) tells the
service of a change; one that fails is tried again. Of a target, sync then reports what this
instance runs, and again in every round. A deployment that waits for an observation is fetched
and becomes active by that report.

While the registry does not answer, DEST stays as it is, and sync once ends with 0 and a
warning as long as the files there are whole. Where DEST is empty, --fallback DIR takes the
version from a folder that an earlier sync has filled: its pointer must be signed by the key of
the log (--key, or one that was seen before), and every file must be the one that it names.
What then runs is reported once the registry answers.`,
		Example: `  pedigree sync target:prod/fraud-api /models/fraud
  pedigree sync target:prod/fraud-api /models/fraud --interval 15s --watch --exec 'systemctl reload fraud'
  pedigree sync fraud@production ./model --interval 1m --signal HUP --pid-file /run/fraud.pid
  pedigree sync target:risk:prod/fraud-api /models/fraud --fallback /baked/fraud --key models.example.org/log+5d9a9328+AQOh…`,
		Args:              args(2, 2),
		ValidArgsFunction: a.completeThenFiles,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.sync(cmd.Context(), f, args[0], args[1])
		},
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.DurationVar(&f.interval, "interval", 0, "look again every `TIME`, as in 15s (default: once)")
	flags.BoolVar(&f.watch, "watch", false, "be told of changes besides; the interval is then 15s, or that of --interval")
	flags.StringVar(&f.exec, "exec", "", "`COMMAND` to run after a change, by the shell; PEDIGREE_PATH, _MODEL, _VERSION, _DIGEST, _DEPLOYMENT and _TARGET say what is current")
	flags.StringVar(&f.signal, "signal", "", "`NAME` of a signal to send after a change, as in HUP, to the process in --pid-file")
	flags.StringVar(&f.pidFile, "pid-file", "", "`FILE` with the number of the process to signal")
	flags.IntVar(&f.keep, "keep", 3, "versions to keep in DEST, the current one among them")
	flags.StringVar(&f.fallback, "fallback", "", "folder `DIR` that an earlier sync filled, to start from while the registry does not answer")
	flags.StringArrayVar(&f.keys, "key", nil, "public `KEY` of the log that you trust, for pointers (repeat; default: those that were seen before)")
	flags.StringVar(&f.instance, "instance", "", "`NAME` of this instance in reports (default: the name of this host)")
	flags.BoolVar(&f.noReport, "no-report", false, "do not report what this instance runs")
	flags.IntVar(&f.parallel, "parallel", 0, "files to fetch at the same time (default: by the machine)")
	return cmd
}

// check refuses what can't be meant.
func (f *syncFlags) check() (os.Signal, error) {
	switch {
	case f.interval < 0:
		return nil, pedigree.Errorf(pedigree.CodeInvalid, "--interval %s is negative", f.interval)
	case f.keep < 1:
		return nil, pedigree.Errorf(pedigree.CodeInvalid, "--keep %d: the current version is always kept", f.keep).WithFix("--keep 1, or more")
	case (f.signal == "") != (f.pidFile == ""):
		return nil, pedigree.Errorf(pedigree.CodeInvalid, "--signal and --pid-file belong together").WithFix("--signal HUP --pid-file /run/fraud.pid")
	case f.signal != "":
		return parseSignal(f.signal)
	}
	return nil, nil
}

// source reads what is to be followed.
func (a *app) source(text string) (client.Source, error) {
	if isTarget(text) {
		project, name, ok := pedigree.ParseTargetReference(text)
		if !ok {
			return client.Source{}, notTarget(text)
		}
		return client.Source{Target: name}, a.enter(project)
	}
	ref, err := pedigree.ParseReference(text)
	if err == nil && ref.Alias == "" && ref.Version == 0 && ref.Digest == "" {
		err = pedigree.Errorf(pedigree.CodeInvalid, "sync follows a target or an alias, and %s is neither", ref).
			WithFix("write target:ENV/NAME or %s@ALIAS", ref)
	} else if err == nil && ref.Alias == "" {
		err = pedigree.Errorf(pedigree.CodeInvalid, "%s never names another version: there is nothing to follow", ref).
			WithFix("write target:ENV/NAME or MODEL@ALIAS; one version is fetched by: pedigree pull %s DEST", ref)
	}
	if err != nil {
		return client.Source{}, err
	}
	return client.Source{Model: ref.Model, Alias: ref.Alias}, a.enter(ref.Project)
}

// synced is what came of one round.
type synced struct {
	Source string `json:"source"`
	// Path is the link that the service opens, Folder what it leads to.
	Path       string                 `json:"path"`
	Folder     string                 `json:"folder,omitempty"`
	Project    pedigree.ProjectName   `json:"project,omitempty"`
	Model      pedigree.Name          `json:"model,omitempty"`
	Version    pedigree.VersionNumber `json:"version,omitempty"`
	Digest     pedigree.Digest        `json:"digest,omitempty"`
	Deployment string                 `json:"deployment,omitempty"`
	// Changed says that the link leads to something else than before, Told that the
	// command ran or the signal was sent, Reported that the registry knows.
	Changed  bool  `json:"changed"`
	Told     bool  `json:"told,omitempty"`
	Reported bool  `json:"reported,omitempty"`
	Bytes    int64 `json:"bytes,omitempty"`
	// Outage says why the registry could not be asked, Fallback which folder the files
	// came from instead.
	Outage   string   `json:"outage,omitempty"`
	Fallback string   `json:"fallback,omitempty"`
	Removed  []string `json:"removed,omitempty"`
}

// syncing is a sync under way.
type syncing struct {
	*app
	f        *syncFlags
	source   client.Source
	name     string // of the source, as pointers have it
	folder   *client.SyncFolder
	signal   os.Signal
	instance string

	verified string // the folder whose files this process has compared with their digests
	looked   int64  // the event up to which withdrawals were looked for
	barred   string // why the version that is current was withdrawn
	// said are the complaints of the last round, saying those of this one: what goes on and
	// on does not fill a log.
	said, saying map[string]bool
}

func (a *app) sync(ctx context.Context, f *syncFlags, source, dest string) error {
	signal, err := f.check()
	if err != nil {
		return err
	}
	s := &syncing{app: a, f: f, signal: signal, looked: -1, instance: f.instance}
	if s.source, err = a.source(source); err != nil {
		return err
	}
	if s.instance == "" && s.source.Target != "" && !f.noReport {
		if s.instance, err = os.Hostname(); err != nil {
			return pedigree.Errorf(pedigree.CodeInvalid, "this host does not tell its name: %w", err).WithFix("--instance NAME, or --no-report")
		}
	}
	if s.folder, err = client.OpenSync(dest); err != nil {
		return err
	}
	defer func() { _ = s.folder.Close() }()
	if s.name, err = s.sourceName(); err != nil {
		return err
	}
	if f.interval == 0 && !f.watch {
		out, err := s.round(ctx)
		if err != nil {
			return err
		}
		return s.show(&out)
	}
	return s.follow(ctx)
}

// sourceName is the name of the source with its project; it needs no registry.
func (s *syncing) sourceName() (string, error) {
	c, err := client.New(client.Config{URL: embeddedURL, Project: s.projectName()})
	if err != nil {
		return "", err
	}
	return c.SourceName(s.source), nil
}

// follow goes on until ctx ends. Nothing but that ends it: a service must not lose its
// sidecar to a fault that passes.
func (s *syncing) follow(ctx context.Context) error {
	interval := cmp.Or(s.f.interval, 15*time.Second)
	nudged := make(chan struct{}, 1)
	watching := false
	before := ""
	for {
		out, err := s.round(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			s.complain(err)
		} else if now := out.Folder + out.Deployment + out.Fallback; out.Changed || out.Told || now != before {
			before = now
			if err := s.show(&out); err != nil {
				return err
			}
		}
		s.said, s.saying = s.saying, nil
		if s.f.watch && !watching && err == nil && out.Outage == "" {
			watching = true
			go s.watch(ctx, nudged)
		}
		wait := interval + rand.N(interval/5+1) - interval/10 // many instances don't come at once
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-nudged:
		case <-ctx.Done():
		}
		timer.Stop()
	}
}

// watch nudges the rounds when the log says that something changed. The rounds go on without
// it: where it can't be had it is only slower.
func (s *syncing) watch(ctx context.Context, nudged chan<- struct{}) {
	c, err := s.client(ctx)
	if err != nil {
		return
	}
	q := pedigree.WatchQuery{Project: c.Project()}
	if s.source.Target == "" {
		q.Model = pedigree.Reference{Project: c.Project(), Model: s.source.Model}.String()
		q.Types = []pedigree.EventType{pedigree.AliasMoved, pedigree.VersionWithdrawn}
	} else {
		status, err := c.TargetStatus(ctx, s.source.Target, pedigree.At{})
		if err != nil {
			return
		}
		q.Subject = status.Target.ID
		q.Types = []pedigree.EventType{pedigree.DeploymentOpened, pedigree.DeploymentActivated, pedigree.DeploymentFailed, pedigree.DeploymentEnded}
	}
	err = c.Watch(ctx, q, func(pedigree.Entry) error {
		select {
		case nudged <- struct{}{}:
		default:
		}
		return nil
	})
	if ctx.Err() == nil {
		s.warn("changes are not told, and seen in the next round only: %v", err)
	}
}

// complain writes an error, unless the round before had the same.
func (s *syncing) complain(err error) {
	e := asError(err)
	text := e.Message
	if e.Fix != "" {
		text += "; " + e.Fix
	}
	if !s.said[text] && !s.saying[text] {
		s.warn("%s", text)
	}
	if s.saying == nil {
		s.saying = map[string]bool{}
	}
	s.saying[text] = true
}

// askTime bounds a question to the registry: one that does not answer is out of order, and
// the folder has what it has.
const askTime = 30 * time.Second

// outage says that an error means that the registry can't be asked now.
func outage(err error) bool {
	code := pedigree.CodeOf(err)
	return code == pedigree.CodeUnavailable || errors.Is(err, context.DeadlineExceeded) || code == pedigree.CodeInternal
}

// round does once all that there is to do.
func (s *syncing) round(ctx context.Context) (synced, error) {
	out := synced{Source: s.name, Path: s.folder.Current()}
	have, name, err := s.folder.Read()
	if err != nil && name == "" {
		return out, err
	}
	if err != nil {
		s.complain(err)
	}
	if have != nil && have.Source != s.name { // of another source: this one knows nothing of it
		have = nil
	}
	c, now, err := s.fetch(ctx, have, name, &out)
	if err != nil {
		if !outage(err) || ctx.Err() != nil {
			if c != nil && ctx.Err() == nil && have != nil { // it lives, whatever was refused
				s.report(ctx, c, &out)
			}
			return out, err
		}
		out.Outage = asError(err).Message
		if now, err = s.survive(ctx, have, name, &out, err); err != nil {
			return out, err
		}
	}
	out.Folder, out.Project, out.Model, out.Version, out.Digest, out.Deployment = s.folder.Path(s.verified), now.Project, now.Model, now.Version, now.Digest, now.Deployment
	failed := s.tell(ctx, now, &out)
	if c != nil && out.Outage == "" {
		s.report(ctx, c, &out)
	}
	if failed != nil {
		return out, failed
	}
	if out.Removed, err = s.folder.Prune(s.f.keep); err != nil {
		s.warn("old versions stay in %s: %v", s.folder.Path(""), err)
	}
	return out, nil
}

// fetch asks what is desired and makes it current.
func (s *syncing) fetch(ctx context.Context, have *pedigree.Pointer, name string, out *synced) (*client.Client, *pedigree.Pointer, error) {
	c, err := s.client(ctx)
	if err != nil {
		return nil, nil, err
	}
	asking, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	want, err := c.Desired(asking, s.source)
	if err != nil {
		return c, nil, err
	}
	if err := s.mindWithdrawal(asking, c, &want, have); err != nil {
		return c, nil, err
	}
	if want.Same(have) && (s.verified == name || s.folder.Verify(ctx, name, have) == nil) {
		s.verified = name
		s.folder.Sweep()
		s.folder.Confirm(s.now())
		return c, have, nil
	}
	if _, err := s.remember(asking); err != nil {
		return c, nil, err
	}
	err = c.Prove(asking, &want, s.folder.Memory())
	if pedigree.CodeOf(err) == pedigree.CodeForbidden && len(want.Files) > 0 {
		s.warn("the pointer has no proof, so that nothing can start from it during an outage: %v", err)
		err = nil
	}
	if err != nil {
		return c, nil, err
	}
	if name, out.Bytes, err = s.pull(ctx, c, &want); err != nil {
		return c, nil, err
	}
	if err := s.folder.Swap(name, &want); err != nil {
		return c, nil, err
	}
	s.verified, out.Changed = name, true
	return c, &want, nil
}

// stallTime is how long a transfer may bring nothing before it counts as lost: what was
// fetched stays, and the next round goes on with it.
const stallTime = 5 * time.Minute

// pull fetches the files of a pointer.
func (s *syncing) pull(ctx context.Context, c *client.Client, p *pedigree.Pointer) (string, int64, error) {
	pulling, stalled := context.WithCancel(ctx)
	defer stalled()
	alive := time.AfterFunc(stallTime, stalled)
	alive.Stop() // until the registry is asked
	defer alive.Stop()
	bar := s.newProgress()
	name, n, err := s.folder.Fetch(pulling, c, p, s.f.parallel, func(e client.ProgressEvent) {
		alive.Reset(stallTime)
		if e.Files == e.TotalFiles && e.Files > 0 { // what is left is the disk's, which may take its time
			alive.Stop()
		}
		bar.event(e)
	})
	bar.stop()
	if err != nil && pulling.Err() != nil && ctx.Err() == nil {
		err = pedigree.Errorf(pedigree.CodeUnavailable, "nothing of %s came for %s", p.Reference(), stallTime).WithFix("the next sync goes on where this one was")
	}
	return name, n, err
}

// mindWithdrawal refuses to fetch a version that was withdrawn, and says so of one that is
// current already: taking it away is for people to decide.
func (s *syncing) mindWithdrawal(ctx context.Context, c *client.Client, want, have *pedigree.Pointer) error {
	if s.source.Target == "" { // an alias of one is refused by the registry
		return nil
	}
	if s.looked != want.AsOf || !want.Same(have) {
		v, err := c.Version(ctx, pedigree.Reference{Project: want.Project, Model: want.Model, Version: want.Version}, pedigree.At{})
		if err != nil {
			return err
		}
		if s.barred = ""; v.Withdrawn != nil {
			s.barred = fmt.Sprintf("%s is withdrawn: %s", s.display(want.Reference()), v.Withdrawn.Reason)
		}
		s.looked = want.AsOf
	}
	if s.barred == "" {
		return nil
	}
	if want.Same(have) {
		s.complain(pedigree.Errorf(pedigree.CodeRefused, "%s; it still is what runs here", s.barred).WithFix("pedigree rollback %s", want.Target))
		return nil
	}
	return pedigree.Errorf(pedigree.CodeRefused, "%s, and is not fetched; %s stays as it is", s.barred, s.folder.Current()).WithFix("pedigree rollback %s", want.Target)
}

// survive finds what to go on with while the registry does not answer: what is current, or
// what the fallback has.
func (s *syncing) survive(ctx context.Context, have *pedigree.Pointer, name string, out *synced, cause error) (*pedigree.Pointer, error) {
	why := asError(cause)
	if have != nil {
		err := s.trust(have, false)
		if err == nil && s.verified != name {
			err = s.folder.Verify(ctx, name, have)
		}
		if err == nil {
			s.verified = name
			since := ""
			if t := s.folder.Confirmed(); !t.IsZero() {
				since = ", as the registry last said on " + stamp(t) + " UTC"
			}
			s.complain(pedigree.Errorf(pedigree.CodeUnavailable, "%s; %s stays at %s%s", why.Message, s.folder.Current(), s.display(have.Reference()), since))
			return have, nil
		}
		s.complain(err)
	}
	if s.f.fallback == "" {
		return nil, pedigree.Errorf(why.Code, "%s; and %s has no whole version", why.Message, s.folder.Path("..")).
			WithFix("try again when it answers; --fallback DIR starts from a folder that an earlier sync filled")
	}
	p, from, err := client.Fallback(s.f.fallback)
	if err == nil && p.Source != s.name {
		err = pedigree.Errorf(pedigree.CodeRefused, "%s follows %s, and not %s", s.f.fallback, p.Source, s.name)
	}
	if err == nil {
		err = s.trust(&p, true)
	}
	if err == nil {
		name, err = s.folder.Adopt(ctx, from, &p)
	}
	if err == nil {
		err = s.folder.Swap(name, &p)
	}
	if err != nil {
		e := asError(err)
		return nil, pedigree.Errorf(e.Code, "%s; and the fallback can't be used: %s", why.Message, e.Message).WithFix("%s", e.Fix)
	}
	s.verified, out.Changed, out.Fallback = name, true, s.f.fallback
	s.complain(pedigree.Errorf(pedigree.CodeUnavailable, "%s; started from %s with %s, as the registry said on %s UTC", why.Message, s.f.fallback, s.display(p.Reference()), stamp(p.ResolvedAt)))
	return &p, nil
}

// trust checks a pointer against the keys of the log that are known here. One in the folder
// itself may do without: whoever can change it there can change all else. A key that comes
// along with what it is to prove says nothing, so that one from elsewhere must be known.
func (s *syncing) trust(p *pedigree.Pointer, foreign bool) error {
	keys := s.f.keys
	if len(keys) == 0 {
		memories := []*client.Memory{s.folder.Memory()}
		server := embeddedURL
		if s.url != "" {
			server = s.url
			if dir, err := s.stateDir(); err == nil {
				memories = append(memories, client.OpenMemory(filepath.Join(dir, "checkpoints")))
			}
		} else if s.registry != nil && s.registry.checkpoints != "" {
			memories = append(memories, client.OpenMemory(s.registry.checkpoints))
		}
		for _, m := range memories {
			known, err := m.Keys(server, p.Checkpoint.Origin)
			if err != nil {
				return err
			}
			keys = append(keys, keyTexts(known)...)
		}
	}
	switch {
	case len(keys) > 0 && (foreign || len(p.Events) > 0):
		return client.CheckPointer(*p, keys...)
	case foreign:
		return pedigree.Errorf(pedigree.CodeRefused, "no key of the log is known here, so that nothing shows who signed the pointer").
			WithFix("--key KEY; while the registry answers, pedigree log keys shows it")
	}
	return p.CheckFiles()
}

// tell tells whoever uses the folder of a change, unless they know already.
func (s *syncing) tell(ctx context.Context, now *pedigree.Pointer, out *synced) error {
	known, err := s.folder.Applied()
	if err != nil || now.Same(known) {
		return err
	}
	switch {
	case s.f.exec != "":
		if err := s.run(ctx, now, out.Folder); err != nil {
			return err
		}
		out.Told = true
	case s.signal != nil:
		if out.Told, err = s.send(); err != nil {
			return err
		}
	}
	if err = s.folder.SetApplied(*now); err == nil && out.Outage != "" {
		s.folder.Confirm(now.ResolvedAt) // the registry has not said it again
	}
	return err
}

// run runs the command of --exec.
func (s *syncing) run(ctx context.Context, now *pedigree.Pointer, folder string) error {
	shell := []string{"sh", "-c", s.f.exec}
	if runtime.GOOS == "windows" {
		shell = []string{"cmd", "/C", s.f.exec}
	}
	cmd := exec.CommandContext(ctx, shell[0], shell[1:]...)
	cmd.Env = append(os.Environ(), pointerEnv(now, folder)...)
	cmd.Stdout, cmd.Stderr = s.stderr, s.stderr // standard output is for the answer
	if runtime.GOOS != "windows" {
		cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	}
	cmd.WaitDelay = 10 * time.Second
	if err := cmd.Run(); err != nil {
		return pedigree.Errorf(pedigree.CodeInternal, "%s is current, and the command of --exec failed: %w", s.display(now.Reference()), err).
			WithFix("it is run again by the next sync")
	}
	return nil
}

// pointerEnv are the variables that tell a program which version it is about to use.
func pointerEnv(p *pedigree.Pointer, folder string) []string {
	env := []string{
		"PEDIGREE_PROJECT=" + string(p.Project), "PEDIGREE_MODEL=" + string(p.Model), "PEDIGREE_VERSION=" + p.Version.String(),
		"PEDIGREE_DIGEST=" + string(p.Digest), "PEDIGREE_DEPLOYMENT=" + p.Deployment, "PEDIGREE_TARGET=" + string(p.Target), "PEDIGREE_PATH=" + folder,
	}
	return env
}

// send sends the signal. A process that is not there yet will begin with what is current.
func (s *syncing) send() (bool, error) {
	text, err := os.ReadFile(s.f.pidFile)
	if errors.Is(err, os.ErrNotExist) {
		s.hint("note: there is no %s: nobody is told", s.f.pidFile)
		return false, nil
	}
	pid, parseErr := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil || parseErr != nil || pid <= 1 {
		return false, pedigree.Errorf(pedigree.CodeInvalid, "%s does not hold the number of a process: %w", s.f.pidFile, errors.Join(err, parseErr))
	}
	p, err := os.FindProcess(pid)
	if err == nil {
		err = p.Signal(s.signal)
	}
	if err != nil && isGone(err) {
		s.hint("note: there is no process %d: nobody is told", pid)
		return false, nil
	}
	if err != nil {
		return false, pedigree.Errorf(pedigree.CodeInternal, "process %d can't be told: %w", pid, err)
	}
	return true, nil
}

// report says what this instance runs. That it can't is no reason to stop: the next round
// tries again.
func (s *syncing) report(ctx context.Context, c *client.Client, out *synced) {
	if s.source.Target == "" || s.f.noReport {
		return
	}
	runs, err := s.folder.Applied()
	if err != nil || runs == nil || runs.Source != s.name {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	_, err = c.Observe(ctx, s.source.Target, pedigree.Observation{
		Instance: s.instance, Deployment: runs.Deployment, Model: runs.Model, Version: runs.Version, Digest: runs.Digest,
	})
	if err != nil {
		if ctx.Err() == nil {
			s.complain(fmt.Errorf("what runs here is not reported: %w", err))
		}
		return
	}
	out.Reported = true
}

// show prints what came of a round.
func (s *syncing) show(out *synced) error {
	ref := s.reference(out.Project, out.Model, out.Version)
	return s.print(answer{value: out, names: []string{ref}, human: func(w io.Writer) {
		state := "(as it was)"
		switch {
		case out.Fallback != "":
			state = "(from " + out.Fallback + ")"
		case out.Changed:
			state = fmt.Sprintf("(%s fetched)", size(&out.Bytes))
		case out.Outage != "":
			state = "(as it was; the registry does not answer)"
		}
		more := ""
		if out.Deployment != "" {
			more = "  " + out.Deployment
		}
		fmt.Fprintf(w, "%s  %s%s\n→ %s  %s\n", ref, out.Digest, more, printable(out.Path), printable(state))
	}})
}

// maxPointer is the most bytes of a pointer that is read.
const maxPointer = 256 << 20

// readPointer reads a file that sync made; ok is false for anything else.
func readPointer(name string) (out pedigree.Pointer, ok bool, err error) {
	info, err := os.Stat(name)
	if err != nil || !info.Mode().IsRegular() || info.Size() > maxPointer {
		return out, false, nil
	}
	text, err := readFile(name, maxPointer)
	if err != nil {
		return out, true, err
	}
	if json.Unmarshal(text, &out) != nil || !strings.HasPrefix(out.Schema, "pedigree.pointer/") {
		return out, false, nil
	}
	return out, true, nil
}

// verifyPointer checks a pointer without the registry.
func (a *app) verifyPointer(f *verifyFlags, name string, p *pedigree.Pointer) error {
	if len(f.keys) == 0 {
		return pedigree.Errorf(pedigree.CodeInvalid, "which key is the pointer to be signed by?").WithFix("--key KEY, from a place that you trust; pedigree log keys shows those of a registry")
	}
	if err := client.CheckPointer(*p, f.keys...); err != nil {
		return err
	}
	ref := a.reference(p.Project, p.Model, p.Version)
	return a.print(answer{value: p, names: []string{ref}, human: func(w io.Writer) {
		fmt.Fprintf(w, "ok  %s of the log %s prove that %s stood for %s\n", count(len(p.Events), "event"), printable(p.Checkpoint.Origin), printable(p.Source), ref)
		fmt.Fprintf(w, "    %s of %s; the checkpoint of %s is signed by the key that you trust\n", count(len(p.Files), "file"), p.Digest, count(int(p.Checkpoint.Size), "event"))
		fmt.Fprintf(w, "    asked on %s UTC; what the registry decided since it does not say\n", stamp(p.ResolvedAt))
	}})
}
