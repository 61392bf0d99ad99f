package capture

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"sort"
	"strings"

	"github.com/pedigree-ml/pedigree"
)

// lockFiles are the files that fix a whole environment, the most telling first.
var lockFiles = []struct{ name, manager, media string }{
	{"uv.lock", "uv", "application/toml"},
	{"poetry.lock", "poetry", "application/toml"},
	{"pdm.lock", "pdm", "application/toml"},
	{"Pipfile.lock", "pipenv", "application/json"},
	{"pixi.lock", "pixi", "application/yaml"},
	{"conda-lock.yml", "conda", "application/yaml"},
	{"pylock.toml", "pip", "application/toml"},
	{"renv.lock", "renv", "application/json"},
}

// environment records the packages: the nearest lock file from Dir up to the root of
// the work tree, or else the packages of the active Python environment.
func (c *capturer) environment(ctx context.Context, root string) *pedigree.Environment {
	env := c.lockFile(root)
	prefix, manager := c.prefix()
	var packages []string
	python := ""
	if prefix != "" {
		python, packages = pythonVersion(prefix), sitePackages(prefix)
	}
	if python == "" || env == nil && packages == nil {
		// No environment is active, or it has a shape that we don't know: ask Python.
		v, list, err := c.askPython(ctx)
		switch {
		case err == nil && packages == nil:
			python, packages = v, list
		case err == nil:
			python = v
		case env == nil && packages == nil && !errors.Is(err, errNoProgram):
			c.note("the packages of the Python environment are not recorded: python %s", reason(err))
			return nil
		}
	}
	switch {
	case env != nil:
	case len(packages) > 0:
		env = &pedigree.Environment{Manager: manager, Packages: packages}
	case python == "":
		c.note("no lock file and no Python environment: packages are not recorded; use --image IMAGE to name the runtime")
		return nil
	default:
		env = &pedigree.Environment{}
	}
	env.Python = python
	return env
}

// lockFile finds the nearest lock file and attaches it, redacted, when it is not large.
func (c *capturer) lockFile(root string) *pedigree.Environment {
	if c.Dir == "" {
		return nil
	}
	for _, dir := range upTo(c.Dir, root) {
		for _, l := range lockFiles {
			if env := c.lock(filepath.Join(dir, l.name), l.manager, l.media); env != nil {
				return env
			}
		}
		names, _ := filepath.Glob(filepath.Join(globEscape(dir), "requirements*.txt"))
		sort.Strings(names) // requirements-dev.txt before requirements.txt, which is the usual one:
		sort.SliceStable(names, func(i, j int) bool { return len(names[i]) < len(names[j]) })
		for _, name := range names {
			if env := c.lock(name, "pip", "text/plain"); env != nil {
				return env
			}
		}
	}
	return nil
}

// lock reads one lock file; nil when it is not there or, for requirements, pins nothing.
func (c *capturer) lock(file, manager, media string) *pedigree.Environment {
	content, err := readFile(file, maxLockFile)
	name := filepath.Base(file)
	requirements := strings.HasSuffix(name, ".txt")
	switch {
	case errors.Is(err, errTooMuch):
		c.note("%s is too large to be recorded", printable(name))
		return nil
	case err != nil || requirements && !pinned(string(content)):
		return nil
	}
	env := &pedigree.Environment{Manager: manager, File: text(name), Digest: pedigree.DigestBytes(content)}
	var redacted strings.Builder
	for line := range strings.Lines(string(content)) {
		bare := strings.TrimRight(line, "\r\n")
		redacted.WriteString(RedactRequirement(bare))
		redacted.WriteString(line[len(bare):])
	}
	e := pedigree.Evidence{Name: LockPrefix + name, Kind: "environment", MediaType: media}
	if redacted.String() != string(content) {
		e.Note = "credentials in URLs were taken out; the digest in the record is that of the file as it was"
	}
	if redacted.Len() > maxLockAttach {
		c.note("%s (%s) is recorded by its digest and not attached: it is over %s", printable(name), size(int64(len(content))), size(maxLockAttach))
		return env
	}
	c.attach(e, []byte(redacted.String()))
	return env
}

// upTo returns dir and the directories above it, up to root; only dir when it is not
// inside root.
func upTo(dir, root string) []string {
	real, err1 := filepath.EvalSymlinks(dir)
	top, err2 := filepath.EvalSymlinks(root)
	if abs, err := filepath.Abs(real); err == nil {
		real = abs
	}
	rel, err3 := filepath.Rel(top, real)
	if root == "" || err1 != nil || err2 != nil || err3 != nil || !filepath.IsLocal(rel) {
		return []string{dir}
	}
	dirs := []string{real}
	for real != top && filepath.Dir(real) != real {
		real = filepath.Dir(real)
		dirs = append(dirs, real)
	}
	return dirs
}

var globMeta = regexp.MustCompile(`[*?[]`)

// globEscape makes a directory a pattern that matches itself.
func globEscape(dir string) string {
	return globMeta.ReplaceAllString(dir, "[$0]")
}

// readFile reads a regular file of at most limit bytes.
func readFile(name string, limit int64) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if fi, err := f.Stat(); err != nil || !fi.Mode().IsRegular() {
		return nil, errors.New("not a regular file")
	}
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if int64(len(b)) > limit {
		return nil, errTooMuch
	}
	return b, err
}

// pinned says whether a requirements file fixes every package that it names, so that
// it says what was installed. One that includes another file does not say it alone.
func pinned(content string) bool {
	n := 0
	content = strings.ReplaceAll(strings.ReplaceAll(content, "\\\r\n", " "), "\\\n", " ")
	for line := range strings.Lines(content) {
		line = strings.TrimSpace(line)
		switch {
		case line == "" || line[0] == '#':
		case strings.HasPrefix(line, "-r") || strings.HasPrefix(line, "--requirement") || strings.HasPrefix(line, "-e") || strings.HasPrefix(line, "--editable"):
			return false
		case line[0] == '-': // another option
		case !strings.Contains(line, "==") && !strings.Contains(line, " @ "):
			return false
		default:
			n++
		}
	}
	return n > 0
}

// prefix is the directory of the active Python environment, and what made it.
func (c *capturer) prefix() (dir, manager string) {
	if v := c.Env("VIRTUAL_ENV"); v != "" {
		return v, "pip"
	}
	if v := c.Env("CONDA_PREFIX"); v != "" {
		return v, "conda"
	}
	if c.Dir != "" {
		v := filepath.Join(c.Dir, ".venv")
		if _, err := os.Stat(filepath.Join(v, "pyvenv.cfg")); err == nil {
			return v, "pip"
		}
	}
	return "", "pip"
}

var (
	pythonRelease = regexp.MustCompile(`^\d+\.\d+(\.\d+)?`)
	condaPython   = regexp.MustCompile(`^python-(\d+\.\d+\.\d+)-`)
)

// pythonVersion reads the version of an environment's Python without starting it.
func pythonVersion(prefix string) string {
	if b, err := readFile(filepath.Join(prefix, "pyvenv.cfg"), 64<<10); err == nil {
		for line := range strings.Lines(string(b)) {
			key, value, _ := strings.Cut(line, "=")
			if key = strings.TrimSpace(key); key == "version" || key == "version_info" {
				return pythonRelease.FindString(strings.TrimSpace(value))
			}
		}
	}
	entries, _ := os.ReadDir(filepath.Join(prefix, "conda-meta"))
	for _, e := range entries {
		if m := condaPython.FindStringSubmatch(e.Name()); m != nil {
			return m[1]
		}
	}
	return ""
}

// sitePackages lists the packages of an environment, "name==version", from the
// metadata that installers leave there.
func sitePackages(prefix string) []string {
	dirs, _ := filepath.Glob(filepath.Join(globEscape(prefix), "lib", "python3*", "site-packages"))
	dirs = append(dirs, filepath.Join(prefix, "Lib", "site-packages")) // Windows
	var packages []string
	for _, dir := range dirs {
		entries, _ := os.ReadDir(dir)
		for _, e := range entries {
			stem, isInfo := strings.CutSuffix(e.Name(), ".dist-info")
			if !isInfo {
				continue
			}
			name, version := metadata(filepath.Join(dir, e.Name(), "METADATA"))
			if name == "" || version == "" {
				name, version, _ = strings.Cut(stem, "-")
			}
			if name, version = text(name), text(version); name != "" && version != "" {
				packages = append(packages, name+"=="+version)
			}
		}
	}
	return sorted(packages)
}

// metadata reads name and version from the header of a package's METADATA.
func metadata(file string) (name, version string) {
	f, err := os.Open(file)
	if err != nil {
		return "", ""
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan() && lines.Text() != ""; {
		key, value, _ := strings.Cut(lines.Text(), ":")
		switch key {
		case "Name":
			name = strings.TrimSpace(value)
		case "Version":
			version = strings.TrimSpace(value)
		}
		if name != "" && version != "" {
			break
		}
	}
	return name, version
}

// listing makes Python print its version and packages. It takes the working directory
// off the path first, so that no file there runs by the name of a standard module.
const listing = `
import sys
sys.path[:] = [p for p in sys.path if p]
import json
from importlib import metadata
names = set()
for d in metadata.distributions():
    try:
        if d.metadata["Name"] and d.version:
            names.add(d.metadata["Name"] + "==" + d.version)
    except Exception:
        pass
print(json.dumps({"python": ".".join(map(str, sys.version_info[:3])), "packages": sorted(names)}))
`

// askPython starts the Python on the PATH and returns its version and packages.
func (c *capturer) askPython(ctx context.Context) (version string, packages []string, err error) {
	var out []byte
	for _, name := range []string{"python3", "python"} {
		out, err = c.run(ctx, program{name: name, args: []string{"-c", listing}, timeout: pythonTimeout, limit: maxOutput})
		if !errors.Is(err, errNoProgram) {
			break
		}
	}
	if err != nil {
		return "", nil, err
	}
	var got struct {
		Python   string
		Packages []string
	}
	if err := json.Unmarshal(out, &got); err != nil {
		return "", nil, err
	}
	for _, p := range got.Packages {
		if p = text(p); p != "" {
			packages = append(packages, p)
		}
	}
	return pythonRelease.FindString(got.Python), sorted(packages), nil
}
