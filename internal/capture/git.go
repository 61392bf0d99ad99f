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
	untracked []string // notebooks and scripts that git does not track: paths from root, with slashes
}

// code records the code version, from git or else from the variables of the CI
// system, and attaches what differs from the commit.
func (c *capturer) code(ctx context.Context, jobs []*system) worktree {
	tree, why := c.git(ctx)
	script := c.script(ctx, &tree)
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
	case !code.Dirty && script == "":
	case !c.Diff:
		if code.Dirty {
			c.note("the work tree differs from the commit, and --no-diff leaves out how")
		}
	default:
		if code.Dirty && code.Commit != "" && tree.root != "" {
			c.attachPatch(ctx, tree.root)
		}
		c.attachUntracked(tree, script)
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
	_, err = c.gitCommand(ctx, tree.root, maxOutput, "diff", "--quiet", "--no-ext-diff", "HEAD", "--")
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit) && exit.ExitCode() == 1:
		tree.code.Dirty = true
	case err != nil:
		c.note("whether the work tree differs from the commit is not known: git diff %s", reason(err))
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
	args = append([]string{"--no-pager", "-c", "core.fsmonitor=false", "-c", "protocol.allow=never", "-c", "submodule.recurse=false"}, args...)
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

// script finds the training script: its path in the repository goes to the code, and
// when git does not track it, its path on disk is returned, to be attached.
func (c *capturer) script(ctx context.Context, tree *worktree) string {
	file := c.Script
	if nb := c.Env("JPY_SESSION_NAME"); file == "" && strings.HasSuffix(nb, ".ipynb") {
		file = nb // set by notebook servers for the kernel
	}
	if file == "" || c.Dir == "" && !filepath.IsAbs(file) {
		return ""
	}
	if !filepath.IsAbs(file) {
		file = filepath.Join(c.Dir, file)
	}
	file, err := filepath.EvalSymlinks(file)
	if fi, statErr := os.Stat(file); err != nil || statErr != nil || !fi.Mode().IsRegular() {
		if c.Script != "" {
			c.note("the script %s is not a file", printable(c.Script))
		}
		return ""
	}
	if root, err := filepath.EvalSymlinks(tree.root); err == nil && tree.root != "" {
		if rel, err := filepath.Rel(root, file); err == nil && filepath.IsLocal(rel) {
			rel = filepath.ToSlash(rel)
			tree.code.Path = text(rel)
			out, err := c.gitCommand(ctx, tree.root, maxOutput, "ls-files", "-z", "--", ":(top,literal)"+rel)
			if err == nil && len(out) > 0 {
				return ""
			}
			tree.code.Dirty = true
			return file
		}
		c.note("the script %s is outside the git repository", printable(filepath.Base(file)))
	}
	tree.code.Path = text(filepath.Base(file))
	return file
}

// attachPatch attaches git diff HEAD, as text: changed binary files are named in it
// without their content. Where it is too large, its largest files are left out.
func (c *capturer) attachPatch(ctx context.Context, root string) {
	patch, err := c.gitCommand(ctx, root, maxPatch, "diff", "--no-color", "--no-ext-diff", "--no-textconv", "--no-relative",
		"--full-index", "--submodule=short", "--src-prefix=a/", "--dst-prefix=b/", "HEAD", "--")
	if err != nil {
		c.note("the work tree differs from the commit, and how is not recorded: git diff %s", reason(err))
		return
	}
	if len(patch) == 0 {
		return // only untracked files
	}
	for line := range bytes.Lines(patch) {
		if bytes.HasPrefix(line, []byte("+Subproject commit ")) && bytes.Contains(line, []byte("-dirty")) {
			c.note("changes inside a submodule are not in the patch")
			break
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

// fitPatch keeps the changes of as many files as fit into limit bytes, the smallest
// first, in the order of the patch, and names the others.
func fitPatch(patch []byte, limit int) (kept []byte, dropped []string) {
	if len(patch) <= limit {
		return patch, nil
	}
	var files [][]byte // one a changed file
	for line := range bytes.Lines(patch) {
		if len(files) == 0 || bytes.HasPrefix(line, []byte(diffHeader)) {
			files = append(files, nil)
		}
		last := len(files) - 1
		files[last] = append(files[last], line...)
	}
	bySize := make([]int, len(files))
	for i := range bySize {
		bySize[i] = i
	}
	sort.SliceStable(bySize, func(i, j int) bool { return len(files[bySize[i]]) < len(files[bySize[j]]) })
	fits := make([]bool, len(files))
	for _, i := range bySize {
		if len(files[i]) <= limit {
			limit -= len(files[i])
			fits[i] = true
		}
	}
	for i, f := range files {
		if fits[i] {
			kept = append(kept, f...)
			continue
		}
		header, _, _ := strings.Cut(string(f), "\n")
		dropped = append(dropped, fmt.Sprintf("changes of %s (%s)", changedFile(header), size(int64(len(f)))))
	}
	return kept, dropped
}

// diffHeader begins the changes of one file in a patch. No line of content begins so:
// each has a marker before it.
const diffHeader = "diff --git "

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
func (c *capturer) attachUntracked(tree worktree, script string) {
	type file struct {
		name string // of the evidence, after UntrackedPrefix
		size int64
		read func() (io.ReadCloser, error)
	}
	var files []file
	if script != "" {
		if fi, err := os.Stat(script); err == nil {
			name := tree.code.Path
			if name == "" {
				name = filepath.Base(script)
			}
			files = append(files, file{name, fi.Size(), func() (io.ReadCloser, error) { return os.Open(script) }})
		}
	}
	if len(tree.untracked) > 0 {
		root, err := os.OpenRoot(tree.root) // no link leads out of the work tree
		if err != nil {
			c.note("untracked notebooks and scripts are not attached: the work tree can't be opened")
			return
		}
		defer root.Close()
		var others []file
		for _, p := range tree.untracked {
			fi, err := root.Lstat(filepath.FromSlash(p))
			if err != nil || !fi.Mode().IsRegular() || script != "" && p == tree.code.Path {
				continue
			}
			others = append(others, file{p, fi.Size(), func() (io.ReadCloser, error) { return root.Open(filepath.FromSlash(p)) }})
		}
		sort.SliceStable(others, func(i, j int) bool { return others[i].size < others[j].size })
		files = append(files, others...)
	}
	for _, f := range files {
		name := UntrackedPrefix + f.name
		if f.size > int64(c.left) {
			c.leftOut = append(c.leftOut, printable(name)+" ("+size(f.size)+")")
			continue
		}
		r, err := f.read()
		if err != nil {
			c.note("left out: %s: it can't be read", printable(name))
			continue
		}
		content, err := io.ReadAll(io.LimitReader(r, int64(c.left)+1)) // it may have grown
		r.Close()
		if err != nil {
			c.note("left out: %s: it can't be read", printable(name))
			continue
		}
		c.attach(pedigree.Evidence{Name: name, Kind: "notebook", MediaType: mediaType(f.name), Note: "not tracked by git"}, content)
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
