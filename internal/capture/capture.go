// Package capture fills the fields of a record that nobody should have to type: the
// code version, the runtime image, the environment and the machine, and the run.
//
// It looks at what a training job leaves around it: the git work tree, the variables
// of CI systems and schedulers, lock files, the active Python environment, /proc and
// cgroups, nvidia-smi. Everything comes in by [Options]: there is no look at the
// process's own environment or working directory, so that a test and a server see
// exactly what they were given. Programs are looked up on the PATH that Options.Env
// names, never in the working directory; each has a time limit, and none is allowed
// to ask or to use the network.
//
// Capture never fails. What could not be found is a note that says why and which
// flag of push fills it, and a record with gaps is still a record.
//
// Invariant: no credential reaches the record, because nothing can be taken out of an
// append-only log quietly. Every URI goes through [pedigree.ParseSafeURI], every other
// text through the same redaction, and a value that still looks like a secret is
// dropped. Attachments hold the text of files as it is; what looks like a secret in
// them is listed in Result.Findings, and the caller must not push them without being
// told to.
package capture

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sort"
	"strings"
	"time"
	"unicode"

	"github.com/pedigree-ml/pedigree"
)

// Names of the evidence that Capture makes. An untracked file has the name
// UntrackedPrefix and its path in the repository, so that a check-out of the commit,
// the patch, and the untracked files at their paths give the code that ran.
const (
	// PatchName is the evidence of kind "patch": the output of git diff HEAD.
	PatchName = "capture/changes.patch"
	// UntrackedPrefix begins the names of evidence of kind "notebook": notebooks and
	// scripts that git does not track.
	UntrackedPrefix = "capture/nb/"
	// ScriptPrefix begins the name of the training script, of kind "notebook" too, where
	// it is outside the repository or there is no repository.
	ScriptPrefix = "capture/script/"
	// LockPrefix begins the name of evidence of kind "environment": a lock file.
	LockPrefix = "capture/"
)

// Options says where to look. A zero field means "nothing there"; it never means the
// process's own environment or working directory.
type Options struct {
	// Dir is the directory of the training code, mostly the working directory. Empty
	// means that there are no files to look at: no git, no lock file.
	Dir string
	// Env looks up an environment variable and returns "" for one that is not set:
	// os.Getenv for the real one. Nil means an empty environment.
	Env func(name string) string
	// Diff attaches what differs from the commit: a patch, and untracked notebooks and
	// scripts. Push's --no-diff sets it to false; that the tree is dirty is recorded
	// either way, and a lock file is attached either way.
	Diff bool
	// User is the account that the process runs under, for a person's own machine where
	// Env names none. Optional.
	User string
	// Script is the path of the training script or notebook, absolute or relative to
	// Dir. Optional; inside a notebook it is taken from the notebook server's variable.
	Script string
}

// Attachment is an evidence file with its bytes. The bytes are to be uploaded as the
// blob that Evidence.Digest names, and Evidence appended to the record.
type Attachment struct {
	Evidence pedigree.Evidence
	Content  []byte
}

// Result is what was found.
type Result struct {
	// Record has code, runtime and run, each only when something is known of it. It
	// lists no evidence: see Attachments.
	Record pedigree.Record
	// Attachments are the patch, the untracked files and the lock file: together at
	// most [pedigree.MaxEvidence] bytes. Those in which a secret was found are among
	// them; check Findings before uploading any.
	Attachments []Attachment
	// Findings are the places in Attachments that look like a secret. When there is
	// one, push must stop and show them unless the person said that they are none:
	// an attachment cannot be taken back.
	Findings []Finding
	// Notes are for the person: first what was attached, then what could not be
	// captured, why, and what to do about it. They hold no secrets.
	Notes []string
}

// Limits of what is read and of how long a program may take.
const (
	gitTimeout    = 20 * time.Second // one git command: a large tree on a network disk is slow
	gpuTimeout    = 2 * time.Second
	pythonTimeout = 5 * time.Second
	maxOutput     = 8 << 20   // bytes read of a program's output
	maxPatch      = 32 << 20  // bytes read of a patch, before it is cut to the limit
	maxLockFile   = 32 << 20  // bytes read of a lock file, to know its digest
	maxLockAttach = 256 << 10 // a lock file over this is not attached
	maxText       = 1000      // characters of a captured text
)

// Capture looks around and returns what it found. It never fails: what is missing is
// a note. It stops early, with notes, when ctx is done.
func Capture(ctx context.Context, o Options) Result {
	c := &capturer{Options: o, machine: os.DirFS("/"), goos: runtime.GOOS}
	return c.capture(ctx)
}

// capturer gathers one Result.
type capturer struct {
	Options
	machine fs.FS  // the root directory of the machine, for /proc, /sys and container marks
	goos    string // which system machine is of
	result  Result
	left    int      // bytes that may still be attached
	leftOut []string // what did not fit, with its size
}

func (c *capturer) capture(ctx context.Context) Result {
	if c.Env == nil {
		c.Env = func(string) string { return "" }
	}
	c.left = pedigree.MaxEvidence
	jobs := detect(c.Env)
	tree := c.code(ctx, jobs)
	rt := pedigree.Runtime{
		Image:       c.image(jobs),
		Environment: c.environment(ctx, tree.root),
		Compute:     c.compute(ctx),
	}
	c.result.Record.Runtime = &rt
	c.result.Record.Run = run(c.Env, jobs, c.User)
	if len(c.leftOut) > 0 {
		c.note("left out: %s: attachments hold %s together", summary(c.leftOut), size(pedigree.MaxEvidence))
	}
	c.announce()
	return c.result
}

// announce puts the list of attachments before all other notes and searches them for
// secrets.
func (c *capturer) announce() {
	var names []string
	changes := false
	for _, a := range c.result.Attachments {
		names = append(names, a.Evidence.Name+" ("+size(a.Evidence.Size)+")")
		changes = changes || a.Evidence.Kind != "environment"
		c.result.Findings = append(c.result.Findings, FindSecrets(a.Evidence.Name, a.Content)...)
	}
	if len(names) == 0 {
		return
	}
	note := "attached: " + strings.Join(names, ", ")
	switch {
	case changes && len(names) == 1:
		note += "; --no-diff leaves it out"
	case changes && c.result.Attachments[len(names)-1].Evidence.Kind == "environment":
		note += "; --no-diff leaves out all but the lock file"
	case changes:
		note += "; --no-diff leaves them out"
	}
	c.result.Notes = append([]string{note}, c.result.Notes...)
}

func (c *capturer) note(format string, args ...any) {
	c.result.Notes = append(c.result.Notes, fmt.Sprintf(format, args...))
}

// attach adds an evidence file when it fits, and remembers it as left out otherwise.
func (c *capturer) attach(e pedigree.Evidence, content []byte) {
	if err := pedigree.CheckPath(e.Name); err != nil {
		c.note("left out: %s: its name can't be the name of evidence", printable(e.Name))
		return
	}
	if len(content) > c.left {
		c.leftOut = append(c.leftOut, e.Name+" ("+size(int64(len(content)))+")")
		return
	}
	c.left -= len(content)
	e.Digest, e.Size = pedigree.DigestBytes(content), int64(len(content))
	c.result.Attachments = append(c.result.Attachments, Attachment{Evidence: e, Content: content})
}

// Failures of a program that a note tells apart.
var (
	errNoProgram = errors.New("not on the PATH")
	errTooSlow   = errors.New("took too long")
	errTooMuch   = errors.New("wrote too much")
)

// passed are the variables that programs get: enough to find their configuration and
// libraries, and nothing that changes which repository or interpreter is looked at.
var passed = []string{
	"PATH", "HOME", "USER", "LOGNAME", "TMPDIR", "TEMP", "TMP", "XDG_CONFIG_HOME",
	"SYSTEMROOT", "SYSTEMDRIVE", "PROGRAMDATA", "USERPROFILE", "APPDATA", "LOCALAPPDATA",
	"GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM", "GIT_CONFIG_NOSYSTEM", "GIT_CEILING_DIRECTORIES", "GIT_DISCOVERY_ACROSS_FILESYSTEM",
	"LD_LIBRARY_PATH", "PYTHONPATH", "PYTHONHOME", "PYTHONUSERBASE",
}

// run starts the program, without input, and returns its output. The errors are
// errNoProgram, errTooSlow, errTooMuch, or an *exec.ExitError with the beginning of
// what the program complained about.
func (c *capturer) run(ctx context.Context, p program) ([]byte, error) {
	exe := c.find(p.name)
	if exe == "" {
		return nil, errNoProgram
	}
	ctx, cancel := context.WithTimeout(ctx, p.timeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, exe, p.args...)
	cmd.Dir = p.dir
	cmd.WaitDelay = time.Second
	cmd.Env = append([]string{"LC_ALL=C", "PYTHONIOENCODING=utf-8"}, p.env...)
	for _, name := range passed {
		if v := c.Env(name); v != "" {
			cmd.Env = append(cmd.Env, name+"="+v)
		}
	}
	out := &limitedBuffer{limit: p.limit}
	complaint := &limitedBuffer{limit: 64 << 10}
	cmd.Stdout, cmd.Stderr = out, complaint
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case out.full:
		return nil, errTooMuch
	case ctx.Err() != nil:
		return nil, errTooSlow
	case errors.As(err, &exit):
		exit.Stderr = complaint.buf
		return out.buf, exit
	}
	return out.buf, err
}

// program is a command to run.
type program struct {
	name    string
	args    []string
	dir     string
	env     []string
	timeout time.Duration
	limit   int // bytes of output
}

// find returns the path of a program on the PATH, or "". Relative entries of the PATH
// are passed over: a program in a cloned repository must not run by being there.
func (c *capturer) find(name string) string {
	if c.goos == "windows" {
		name += ".exe"
	}
	for _, dir := range filepath.SplitList(c.Env("PATH")) {
		if !filepath.IsAbs(dir) {
			continue
		}
		p := filepath.Join(dir, name)
		if fi, err := os.Stat(p); err == nil && fi.Mode().IsRegular() && (c.goos == "windows" || fi.Mode().Perm()&0o111 != 0) {
			return p
		}
	}
	return ""
}

// limitedBuffer keeps what is written until the limit, and fails the write after it,
// which ends the program that writes.
type limitedBuffer struct {
	buf   []byte
	limit int
	full  bool
}

func (b *limitedBuffer) Write(p []byte) (int, error) {
	if len(b.buf)+len(p) > b.limit {
		b.full = true
		return 0, errTooMuch
	}
	b.buf = append(b.buf, p...)
	return len(p), nil
}

// text makes a captured value fit for the record: valid UTF-8 on one line, not too
// long, without credentials; "" when it still looks like a secret.
func text(s string) string { return safe(RedactRequirement(printable(s))) }

// safe is the last part of text: the length, and no secrets.
func safe(s string) string {
	if r := []rune(s); len(r) > maxText {
		s = string(r[:maxText])
	}
	if len(FindSecrets("", []byte(s))) > 0 {
		return ""
	}
	return s
}

// printable makes s one line of valid UTF-8.
func printable(s string) string {
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "")))
}

// summary lists the first of many.
func summary(names []string) string {
	const most = 8
	if len(names) > most {
		return strings.Join(names[:most], ", ") + fmt.Sprintf(" and %d more", len(names)-most)
	}
	return strings.Join(names, ", ")
}

// size is a number of bytes for people: "3.2 kB".
func size(n int64) string {
	switch {
	case n >= 1e6:
		return fmt.Sprintf("%.1f MB", float64(n)/1e6)
	case n >= 1e3:
		return fmt.Sprintf("%.1f kB", float64(n)/1e3)
	}
	return fmt.Sprintf("%d B", n)
}

// sorted sorts names and drops what is there twice.
func sorted(names []string) []string {
	sort.Strings(names)
	out := names[:0]
	for i, n := range names {
		if i == 0 || n != names[i-1] {
			out = append(out, n)
		}
	}
	return out
}
