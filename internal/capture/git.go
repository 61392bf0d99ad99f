package capture

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"sort"
	"strconv"
	"strings"

	"github.com/pedigree-ml/pedigree"
)

// worktree is what git said of the directory.
type worktree struct {
	root      string // of the work tree; "" where there is none
	code      pedigree.Code
	patch     [][]byte // git diff HEAD, one part a changed file
	untracked []string // notebooks and scripts that git does not track: paths from root, with slashes
	script    string   // the path on disk of a script that git does not track, and
	evidence  string   // its name as evidence
}

// code records the code version, from git or else from the variables of the CI
// system, and attaches what differs from the commit.
func (c *capturer) code(ctx context.Context, jobs []*system) worktree {
	tree, why := c.git(ctx)
	c.script(ctx, &tree)
	ci, ciName := jobCode(c.Env, jobs)
	code := &tree.code
	switch {
	case code.Commit == "" && ci.Commit != "":
		code.Commit, code.Branch = ci.Commit, ci.Branch
		if ci.Repository != "" {
			code.Repository = ci.Repository
		}
		c.note("%s: commit and branch are those that %s names, and local changes are not known", why, ciName)
	case code.Commit == "":
		c.note("%s: code version is not recorded; use --code REPO@COMMIT", why)
	case ci.Commit == code.Commit || ci.Commit == "":
		// A check-out in CI is detached, and may have no remote.
		if code.Branch == "" {
			code.Branch = ci.Branch
		}
		if code.Repository == "" {
			code.Repository = ci.Repository
		}
	}
	if code.Commit != "" && code.Repository == "" {
		c.note("the repository has no remote: nobody else can fetch commit %s; use --code REPO@COMMIT", code.Commit[:min(12, len(code.Commit))])
	}
	if *code != (pedigree.Code{}) {
		c.result.Record.Code = code
	}
	switch {
	case !code.Dirty && tree.script == "":
	case !c.Diff:
		if code.Dirty {
			c.note("the work tree differs from the commit, and --no-diff leaves out how")
		}
	default:
		c.attachPatch(tree.patch)
		c.attachUntracked(tree)
	}
	return tree
}

// git reads the work tree that holds Dir. Where there is none, or it has no commit,
// why says so.
func (c *capturer) git(ctx context.Context) (tree worktree, why string) {
	if c.Dir == "" {
		return tree, "no directory to look at"
	}
	out, err := c.gitCommand(ctx, c.Dir, maxOutput, "rev-parse", "--show-toplevel")
	tree.root = filepath.FromSlash(strings.TrimRight(string(out), "\r\n"))
	if err != nil || tree.root == "" {
		return worktree{}, gitFailure(err)
	}
	out, err = c.gitCommand(ctx, tree.root, maxOutput, "config", "-z", "--get-regexp", `^remote\..*\.url$`)
	if err == nil {
		tree.code.Repository = remote(string(out))
		if local(string(tree.code.Repository)) {
			c.note("the remote %s is a path on this machine: nobody else can fetch it", tree.code.Repository)
		}
	}
	out, err = c.gitCommand(ctx, tree.root, maxOutput, "ls-files", "-z", "--others", "--exclude-standard", "--",
		":(icase)*.ipynb", ":(icase)*.py", ":(icase)*.r", ":(icase)*.rmd", ":(icase)*.qmd")
	if err != nil {
		c.note("untracked notebooks and scripts are not known: git ls-files %s", reason(err))
	}
	for _, p := range strings.Split(string(out), "\x00") {
		if p != "" && !installed.MatchString(p) {
			tree.untracked = append(tree.untracked, p)
		}
	}
	tree.code.Dirty = len(tree.untracked) > 0
	out, err = c.gitCommand(ctx, tree.root, maxOutput, "symbolic-ref", "-q", "--short", "HEAD")
	if err == nil {
		tree.code.Branch = text(string(out))
	}
	out, err = c.gitCommand(ctx, tree.root, maxOutput, "rev-parse", "-q", "--verify", "HEAD^{commit}")
	if tree.code.Commit = commitID(string(out)); err != nil || tree.code.Commit == "" {
		tree.code.Commit, tree.code.Dirty = "", true
		return tree, "the git repository has no commit yet"
	}
	// As text, and whatever a person's settings are: changed binary files are named
	// without their content.
	out, err = c.gitCommand(ctx, tree.root, maxPatch, "diff", "--no-color", "--no-ext-diff", "--no-textconv", "--no-relative",
		"--full-index", "--submodule=short", "--src-prefix=a/", "--dst-prefix=b/", "HEAD", "--")
	switch {
	case errors.Is(err, errTooMuch):
		tree.code.Dirty = true
		c.leftOut = append(c.leftOut, fmt.Sprintf("changes of tracked files (over %s)", size(maxPatch)))
	case err != nil:
		c.note("whether the work tree differs from the commit is not known: git diff %s", reason(err))
	default:
		tree.patch = splitPatch(out)
		tree.code.Dirty = tree.code.Dirty || len(tree.patch) > 0
	}
	return tree, ""
}

// installed matches paths that no person wrote: environments, caches, check-points.
var installed = regexp.MustCompile(`(^|/)(site-packages|dist-packages|node_modules|__pycache__|\.ipynb_checkpoints|\.?venv)/`)

// gitCommand runs git so that it changes nothing, asks nothing, starts no other program
// of the repository's choosing than its own filters, and stays off the network.
func (c *capturer) gitCommand(ctx context.Context, dir string, limit int, args ...string) ([]byte, error) {
	env := []string{
		"GIT_OPTIONAL_LOCKS=0", "GIT_TERMINAL_PROMPT=0", "GIT_PAGER=cat", "GIT_ASKPASS=", "SSH_ASKPASS=",
		"GIT_NO_LAZY_FETCH=1", "GIT_ALLOW_PROTOCOL=none",
	}
	// Configuration by variables is how many CI images declare safe.directory.
	if n, err := strconv.Atoi(c.Env("GIT_CONFIG_COUNT")); err == nil && n > 0 && n <= 100 {
		env = append(env, fmt.Sprintf("GIT_CONFIG_COUNT=%d", n))
		for i := range n {
			for _, name := range []string{fmt.Sprintf("GIT_CONFIG_KEY_%d", i), fmt.Sprintf("GIT_CONFIG_VALUE_%d", i)} {
				env = append(env, name+"="+c.Env(name))
			}
		}
	}
	args = append([]string{"--no-pager", "-c", "core.fsmonitor=false", "-c", "diff.autoRefreshIndex=false", "-c", "protocol.allow=never", "-c", "submodule.recurse=false"}, args...)
	return c.run(ctx, program{name: "git", args: args, dir: dir, env: env, timeout: gitTimeout, limit: limit})
}

// gitFailure says why there is no work tree.
func gitFailure(err error) string {
	var exit *exec.ExitError
	switch {
	case errors.Is(err, errNoProgram):
		return "git is not installed"
	case errors.As(err, &exit) && bytes.Contains(exit.Stderr, []byte("dubious ownership")):
		return "git refuses the repository because another account owns it (git config --global --add safe.directory DIR allows it)"
	case errors.As(err, &exit):
		return "no git repository"
	}
	return "git " + reason(err)
}

// reason is a failure in words that hold nothing from outside.
func reason(err error) string {
	var exit *exec.ExitError
	switch {
	case errors.Is(err, errTooSlow), errors.Is(err, errTooMuch):
		return err.Error()
	case errors.Is(err, errNoProgram):
		return "is " + err.Error()
	case errors.As(err, &exit):
		return "failed"
	}
	return "could not be started"
}

// remote picks the URL of origin, or else the first one, from the output of
// git config -z --get-regexp. insteadOf rules are not applied: they may add tokens.
func remote(config string) pedigree.SafeURI {
	first := ""
	for _, entry := range strings.Split(config, "\x00") {
		key, value, ok := strings.Cut(entry, "\n")
		switch {
		case ok && key == "remote.origin.url":
			return safeURI(value)
		case ok && first == "":
			first = value
		}
	}
	return safeURI(first)
}

// local says whether a remote is a path: "/srv/x.git", "../x", "file:///x", "C:/x".
func local(uri string) bool {
	switch {
	case uri == "":
		return false
	case strings.HasPrefix(uri, "file:"):
		return true
	case strings.Contains(uri, "://"):
		return false
	}
	host, _, scp := strings.Cut(uri, ":")
	return !scp || len(host) == 1 || strings.ContainsAny(host, `/\`)
}

var commitPattern = regexp.MustCompile(`^[0-9a-f]{7,64}$`)

// commitID returns s when it is a commit id, or "".
func commitID(s string) string {
	s = strings.ToLower(strings.TrimSpace(s))
	if !commitPattern.MatchString(s) {
		return ""
	}
	return s
}

// script finds the training script or notebook: its path in the repository becomes
// the path of the code. When git does not track it, it is to be attached.
func (c *capturer) script(ctx context.Context, tree *worktree) {
	file := c.Script
	if nb := c.Env("JPY_SESSION_NAME"); file == "" && strings.HasSuffix(nb, ".ipynb") {
		file = nb // set by notebook servers for the kernel
	}
	if file == "" || c.Dir == "" && !filepath.IsAbs(file) {
		return
	}
	if !filepath.IsAbs(file) {
		file = filepath.Join(c.Dir, file)
	}
	file, err := filepath.EvalSymlinks(file)
	if fi, statErr := os.Stat(file); err != nil || statErr != nil || !fi.Mode().IsRegular() {
		if c.Script != "" {
			c.note("the script %s is not a file", printable(c.Script))
		}
		return
	}
	tree.code.Path = text(filepath.Base(file))
	tree.script, tree.evidence = file, ScriptPrefix+filepath.Base(file)
	if tree.root == "" {
		return
	}
	root, err := filepath.EvalSymlinks(tree.root)
	rel, relErr := filepath.Rel(root, file)
	if err != nil || relErr != nil || !filepath.IsLocal(rel) {
		c.note("the script %s is outside the git repository", printable(filepath.Base(file)))
		return
	}
	rel = filepath.ToSlash(rel)
	tree.code.Path = text(rel)
	out, err := c.gitCommand(ctx, tree.root, maxOutput, "ls-files", "-z", "--", ":(top,literal)"+rel)
	if err == nil && len(out) > 0 {
		tree.script, tree.evidence = "", "" // tracked: in the commit or in the patch
		return
	}
	tree.code.Dirty = true
	tree.evidence = UntrackedPrefix + rel
}

// attachPatch attaches the patch. Where it is too large, its largest files are left out.
func (c *capturer) attachPatch(patch [][]byte) {
	for _, part := range patch {
		if submodule.Match(part) {
			c.note("changes inside the submodule %s are not in the patch", headerFile(part))
		}
	}
	kept, dropped := fitPatch(patch, c.left)
	e := pedigree.Evidence{Name: PatchName, Kind: "patch", MediaType: "text/x-diff"}
	if len(dropped) > 0 {
		c.leftOut = append(c.leftOut, dropped...)
		e.Note = "without " + summary(dropped)
	}
	if len(kept) > 0 {
		c.attach(e, kept)
	}
}

var submodule = regexp.MustCompile(`(?m)^\+Subproject commit [0-9a-f]+-dirty$`)

// splitPatch splits a patch into its files. A file with a header alone was touched and
// has not changed: git would say nothing of it if it could write its index, which it
// may not here.
func splitPatch(patch []byte) [][]byte {
	var parts [][]byte
	begin, end, lines := 0, 0, 0
	flush := func() {
		if lines > 1 {
			parts = append(parts, patch[begin:end])
		}
		begin, lines = end, 0
	}
	for line := range bytes.Lines(patch) {
		if bytes.HasPrefix(line, []byte(diffHeader)) {
			flush()
		}
		end += len(line)
		lines++
	}
	flush()
	return parts
}

// fitPatch joins as many parts as fit into limit bytes, the smallest first, in their
// order, and names the others.
func fitPatch(parts [][]byte, limit int) (kept []byte, dropped []string) {
	bySize := make([]int, len(parts))
	for i := range bySize {
		bySize[i] = i
	}
	sort.SliceStable(bySize, func(i, j int) bool { return len(parts[bySize[i]]) < len(parts[bySize[j]]) })
	fits := make([]bool, len(parts))
	for _, i := range bySize {
		if len(parts[i]) <= limit {
			limit -= len(parts[i])
			fits[i] = true
		}
	}
	for i, part := range parts {
		if fits[i] {
			kept = append(kept, part...)
			continue
		}
		dropped = append(dropped, fmt.Sprintf("changes of %s (%s)", headerFile(part), size(int64(len(part)))))
	}
	return kept, dropped
}

// diffHeader begins the changes of one file in a patch. No line of content begins so:
// each has a marker before it.
const diffHeader = "diff --git "

// headerFile returns the path of the file that a part of a patch changes.
func headerFile(part []byte) string {
	header, _, _ := bytes.Cut(part, []byte("\n"))
	return changedFile(string(header))
}

// changedFile returns the path that a diff header names.
func changedFile(header string) string {
	header = strings.TrimSuffix(strings.TrimRight(header, "\r\n"), `"`)
	for _, sep := range []string{` b/`, ` "b/`} {
		if i := strings.LastIndex(header, sep); i >= 0 {
			return printable(header[i+len(sep):])
		}
	}
	return printable(strings.TrimPrefix(header, diffHeader))
}

// attachUntracked attaches the script first, when git does not track it, and then the
// other untracked notebooks and scripts, the smallest first.
func (c *capturer) attachUntracked(tree worktree) {
	if tree.script != "" {
		f, err := os.Open(tree.script)
		c.attachFile(tree.evidence, f, err)
	}
	if len(tree.untracked) == 0 {
		return
	}
	root, err := os.OpenRoot(tree.root) // no link leads out of the work tree
	if err != nil {
		c.note("untracked notebooks and scripts are not attached: the work tree can't be opened")
		return
	}
	defer root.Close()
	sizes := map[string]int64{}
	var names []string
	for _, name := range tree.untracked {
		fi, err := root.Lstat(filepath.FromSlash(name))
		if err == nil && fi.Mode().IsRegular() && UntrackedPrefix+name != tree.evidence {
			names = append(names, name)
			sizes[name] = fi.Size()
		}
	}
	sort.SliceStable(names, func(i, j int) bool { return sizes[names[i]] < sizes[names[j]] })
	for _, name := range names {
		f, err := root.Open(filepath.FromSlash(name))
		c.attachFile(UntrackedPrefix+name, f, err)
	}
}

// attachFile attaches the content of f, which it closes, unless opening it gave err.
func (c *capturer) attachFile(name string, f *os.File, err error) {
	var content []byte
	var total int64
	if err == nil {
		defer f.Close()
		var fi os.FileInfo
		if fi, err = f.Stat(); err == nil {
			total = fi.Size()
			content, err = io.ReadAll(io.LimitReader(f, int64(c.left)+1))
		}
	}
	switch {
	case err != nil:
		c.note("left out: %s: it can't be read", printable(name))
	case len(content) > c.left:
		c.leftOut = append(c.leftOut, printable(name)+" ("+size(max(total, int64(len(content))))+")")
	default:
		c.attach(pedigree.Evidence{Name: name, Kind: "notebook", MediaType: mediaType(name), Note: "not tracked by git"}, content)
	}
}

// mediaType is that of a notebook or script.
func mediaType(name string) string {
	switch strings.ToLower(path.Ext(name)) {
	case ".ipynb":
		return "application/x-ipynb+json"
	case ".py":
		return "text/x-python"
	}
	return "text/plain"
}
