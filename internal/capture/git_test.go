package capture

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/pedigree-ml/pedigree"
)

// environ is an environment for Capture: what programs need, and vars.
type environ map[string]string

func (e environ) get(name string) string { return e[name] }

// testEnv returns an environment in which only git is on the PATH, and which has
// nothing of the account that runs the tests.
func testEnv(t *testing.T, vars ...string) environ {
	t.Helper()
	e := environ{
		"PATH": gitPath(t), "HOME": t.TempDir(), "GIT_CONFIG_GLOBAL": os.DevNull, "GIT_CONFIG_NOSYSTEM": "1",
		"USER": "ann", "SYSTEMROOT": os.Getenv("SYSTEMROOT"),
	}
	for _, v := range vars {
		name, value, _ := strings.Cut(v, "=")
		e[name] = value
	}
	return e
}

// gitPath returns a PATH for git. Without git a test can't run; that it was skipped
// must not go unseen in CI.
func gitPath(t *testing.T) string {
	t.Helper()
	git, err := exec.LookPath("git")
	switch {
	case err == nil:
		return filepath.Dir(git)
	case os.Getenv("CI") != "":
		t.Fatal("git is not on the PATH")
	default:
		t.Skip("git is not on the PATH")
	}
	return ""
}

// repo is a git repository in a temporary directory.
type repo struct {
	t   *testing.T
	dir string
}

// newRepo returns a repository with a first commit of train.py and .gitignore.
func newRepo(t *testing.T) *repo {
	t.Helper()
	gitPath(t)
	r := &repo{t, t.TempDir()}
	r.git("init", "-q", "-b", "main")
	r.write("src/train.py", "import numpy\nprint(1)\n")
	r.write(".gitignore", "*.pkl\nprivate.py\n")
	r.commit()
	return r
}

func (r *repo) git(args ...string) string {
	r.t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir = r.dir
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL="+os.DevNull, "GIT_CONFIG_NOSYSTEM=1",
		"GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@b.test", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@b.test",
		"GIT_DIR="+filepath.Join(r.dir, ".git"), "GIT_WORK_TREE="+r.dir)
	out, err := cmd.CombinedOutput()
	if err != nil {
		r.t.Fatalf("git %v: %v\n%s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

func (r *repo) commit() {
	r.t.Helper()
	r.git("add", ".")
	r.git("commit", "-q", "-m", "x")
}

func (r *repo) write(name, content string) {
	r.t.Helper()
	writeFile(r.t, filepath.Join(r.dir, filepath.FromSlash(name)), content)
}

func writeFile(t *testing.T, name, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

// captureIn is Capture on a machine that shows nothing of the one that runs the tests.
func captureIn(o Options) Result {
	c := &capturer{Options: o, machine: fstest.MapFS{}, goos: goosUnderTest}
	return c.capture(context.Background())
}

// attachments returns the content of the attachments by name.
func attachments(t *testing.T, r Result) map[string]string {
	t.Helper()
	got := map[string]string{}
	total := 0
	for _, a := range r.Attachments {
		e := a.Evidence
		if _, twice := got[e.Name]; twice {
			t.Errorf("attachment %s is there twice", e.Name)
		}
		if e.Digest != pedigree.DigestBytes(a.Content) || e.Size != int64(len(a.Content)) {
			t.Errorf("attachment %s: digest %s and size %d are not those of its content", e.Name, e.Digest, e.Size)
		}
		got[e.Name] = string(a.Content)
		total += len(a.Content)
	}
	if total > pedigree.MaxEvidence {
		t.Errorf("attachments have %d bytes together, the limit is %d", total, pedigree.MaxEvidence)
	}
	// Whatever was captured must be a valid record.
	rec := r.Record
	for _, a := range r.Attachments {
		rec.Evidence = append(rec.Evidence, a.Evidence)
	}
	if err := rec.Normalize(); err != nil {
		t.Errorf("the record is not valid: %v", err)
	}
	return got
}

func wantNote(t *testing.T, r Result, part string) {
	t.Helper()
	if !slices.ContainsFunc(r.Notes, func(n string) bool { return strings.Contains(n, part) }) {
		t.Errorf("no note says %q; notes:\n%s", part, strings.Join(r.Notes, "\n"))
	}
}

func TestGitClean(t *testing.T) {
	r := newRepo(t)
	r.git("remote", "add", "other", "https://git.test/other.git")
	r.git("remote", "add", "origin", "https://ann:s3cret@git.test/team/x.git")
	r.write("model.pkl", "ignored")
	r.write("data.csv", "not code")
	got := captureIn(Options{Dir: filepath.Join(r.dir, "src"), Env: testEnv(t).get, Diff: true, Script: "train.py"})
	want := pedigree.Code{Repository: "https://git.test/team/x.git", Commit: r.git("rev-parse", "HEAD"), Branch: "main", Path: "src/train.py"}
	if got.Record.Code == nil || *got.Record.Code != want {
		t.Errorf("code\n got %+v\nwant %+v", got.Record.Code, want)
	}
	if a := attachments(t, got); len(a) != 0 {
		t.Errorf("attachments of a clean tree: %v", a)
	}
}

func TestGitRemotes(t *testing.T) {
	tests := []struct{ remote, url, want, note string }{
		{"origin", "git@git.test:team/x.git", "git@git.test:team/x.git", ""},
		{"origin", "s3cret@git.test:team/x.git", "git.test:team/x.git", ""},
		{"origin", "ssh://git:s3cret@git.test/x.git", "ssh://git.test/x.git", ""},
		{"upstream", "https://s3cret@git.test/x.git", "https://git.test/x.git", ""},
		{"origin", "/srv/git/x.git", "/srv/git/x.git", "a path on this machine"},
		{"origin", "file:///srv/git/x.git", "file:///srv/git/x.git", "a path on this machine"},
	}
	for _, tt := range tests {
		t.Run(tt.url, func(t *testing.T) {
			r := newRepo(t)
			r.git("remote", "add", tt.remote, tt.url)
			// A rule that adds a token must not be applied.
			r.git("config", "url.https://s3cret@git.test/.insteadOf", "https://git.test/")
			got := captureIn(Options{Dir: r.dir, Env: testEnv(t).get})
			if repo := string(got.Record.Code.Repository); repo != tt.want {
				t.Errorf("repository %q, want %q", repo, tt.want)
			}
			if tt.note != "" {
				wantNote(t, got, tt.note)
			}
		})
	}
	t.Run("none", func(t *testing.T) {
		wantNote(t, captureIn(Options{Dir: newRepo(t).dir, Env: testEnv(t).get}), "no remote")
	})
}

func TestGitDirty(t *testing.T) {
	r := newRepo(t)
	r.git("remote", "add", "origin", "https://git.test/x.git")
	r.write("logo.bin", "a\x00b")
	r.commit()
	r.write("src/train.py", "import numpy\nprint(2)\n")
	r.write("logo.bin", "a\x00c")
	r.write("staged.txt", "new\n")
	r.git("add", "staged.txt")
	r.write("nb/explore.ipynb", "{}")
	r.write("fit.R", "x <- 1\n")
	r.write("data.csv", "not code")
	r.write(".ipynb_checkpoints/explore-checkpoint.ipynb", "{}")
	r.write("env/lib/python3.12/site-packages/x.py", "pass")
	// Settings of a person that change how git writes a patch.
	r.git("config", "diff.noprefix", "true")
	r.git("config", "diff.external", "false")
	r.git("config", "color.ui", "always")

	got := captureIn(Options{Dir: filepath.Join(r.dir, "src"), Env: testEnv(t).get, Diff: true})
	if c := got.Record.Code; !c.Dirty {
		t.Errorf("code %+v is not dirty", c)
	}
	files := attachments(t, got)
	want := []string{PatchName, UntrackedPrefix + "fit.R", UntrackedPrefix + "nb/explore.ipynb"}
	if names := sortedKeys(files); !slices.Equal(names, want) {
		t.Fatalf("attachments %q, want %q", names, want)
	}
	patch := files[PatchName]
	for _, part := range []string{"diff --git a/src/train.py b/src/train.py", "\n-print(1)\n+print(2)\n", "+new\n", "Binary files"} {
		if !strings.Contains(patch, part) {
			t.Errorf("the patch has no %q:\n%s", part, patch)
		}
	}
	if strings.Contains(patch, "\x1b") || strings.Contains(patch, "GIT binary patch") {
		t.Errorf("the patch has colours or binary content:\n%s", patch)
	}
	wantFirst := "attached: capture/changes.patch ("
	if len(got.Notes) == 0 || !strings.HasPrefix(got.Notes[0], wantFirst) || !strings.HasSuffix(got.Notes[0], "; --no-diff leaves them out") {
		t.Errorf("the first note is not the list of attachments: %q", got.Notes)
	}

	t.Run("applies", func(t *testing.T) {
		r.git("checkout", "-q", "logo.bin") // its content is not in the patch
		text := captureIn(Options{Dir: r.dir, Env: testEnv(t).get, Diff: true})
		other := &repo{t, t.TempDir()}
		other.git("init", "-q")
		other.git("pull", "-q", r.dir, "main")
		other.write("p.patch", attachments(t, text)[PatchName])
		other.git("apply", "p.patch")
		if b, _ := os.ReadFile(filepath.Join(other.dir, "src", "train.py")); !strings.Contains(string(b), "print(2)") {
			t.Errorf("the patch did not give the changed file: %s", b)
		}
	})
	t.Run("no diff", func(t *testing.T) {
		got := captureIn(Options{Dir: r.dir, Env: testEnv(t).get})
		if !got.Record.Code.Dirty || len(got.Attachments) != 0 {
			t.Errorf("code %+v with %d attachments, want dirty and none", got.Record.Code, len(got.Attachments))
		}
		wantNote(t, got, "--no-diff")
	})
}

func TestGitUntouched(t *testing.T) {
	r := newRepo(t)
	index := filepath.Join(r.dir, ".git", "index")
	// The same content with another time: a plain git status would rewrite the index.
	r.write("src/train.py", "import numpy\nprint(1)\n")
	before, err := os.ReadFile(index)
	if err != nil {
		t.Fatal(err)
	}
	got := captureIn(Options{Dir: r.dir, Env: testEnv(t).get, Diff: true})
	if got.Record.Code.Dirty {
		t.Error("a rewritten file with the same content makes the tree dirty")
	}
	after, err := os.ReadFile(index)
	if err != nil || !bytes.Equal(before, after) {
		t.Errorf("capture changed the index (%v)", err)
	}
}

func TestGitUntrackedLink(t *testing.T) {
	r := newRepo(t)
	outside := filepath.Join(t.TempDir(), "secret.txt")
	writeFile(t, outside, "outside")
	if err := os.Symlink(outside, filepath.Join(r.dir, "link.py")); err != nil {
		t.Skip("no symbolic links here: ", err)
	}
	got := captureIn(Options{Dir: r.dir, Env: testEnv(t).get, Diff: true})
	if a := attachments(t, got); len(a) != 0 {
		t.Errorf("a link was followed: %v", a)
	}
}

func TestGitTooLarge(t *testing.T) {
	r := newRepo(t)
	r.write("a.txt", "1\n")
	r.write("big.txt", "1\n")
	r.commit()
	r.write("a.txt", "2\n")
	r.write("big.txt", strings.Repeat("a long line of text\n", 100_000))
	r.write("src/train.py", "print(3)\n")
	r.write("small.py", "x = 1\n")
	r.write("huge.ipynb", strings.Repeat("x", pedigree.MaxEvidence))
	got := captureIn(Options{Dir: r.dir, Env: testEnv(t).get, Diff: true})
	files := attachments(t, got)
	if names, want := sortedKeys(files), []string{PatchName, UntrackedPrefix + "small.py"}; !slices.Equal(names, want) {
		t.Errorf("attachments %q, want %q", names, want)
	}
	patch := files[PatchName]
	if !strings.Contains(patch, "b/a.txt") || !strings.Contains(patch, "b/src/train.py") || strings.Contains(patch, "big.txt") {
		t.Errorf("the patch should have a.txt and train.py and not big.txt: %.300s", patch)
	}
	wantNote(t, got, "left out: changes of big.txt (2.")
	wantNote(t, got, "capture/nb/huge.ipynb (1.0 MB)")
	for _, a := range got.Attachments {
		if a.Evidence.Name == PatchName && !strings.Contains(a.Evidence.Note, "big.txt") {
			t.Errorf("the evidence does not say what the patch leaves out: %q", a.Evidence.Note)
		}
	}
}

func TestGitScript(t *testing.T) {
	r := newRepo(t)
	r.write("private.py", "ignored by git\n")
	r.write("new.py", "not yet added\n")
	outside := filepath.Join(t.TempDir(), "new.py")
	writeFile(t, outside, "elsewhere\n")
	tests := []struct {
		name, script, path string
		want               []string
		note               string
	}{
		{"tracked", "src/train.py", "src/train.py", []string{UntrackedPrefix + "new.py"}, ""},
		{"untracked", "new.py", "new.py", []string{UntrackedPrefix + "new.py"}, ""},
		{"ignored", "private.py", "private.py", []string{UntrackedPrefix + "new.py", UntrackedPrefix + "private.py"}, ""},
		{"absolute", filepath.Join(r.dir, "src", "train.py"), "src/train.py", []string{UntrackedPrefix + "new.py"}, ""},
		{"outside", outside, "new.py", []string{UntrackedPrefix + "new.py", ScriptPrefix + "new.py"}, "outside the git repository"},
		{"missing", "none.py", "", []string{UntrackedPrefix + "new.py"}, "is not a file"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := captureIn(Options{Dir: r.dir, Env: testEnv(t).get, Diff: true, Script: tt.script})
			if got.Record.Code.Path != tt.path {
				t.Errorf("path %q, want %q", got.Record.Code.Path, tt.path)
			}
			if names := sortedKeys(attachments(t, got)); !slices.Equal(names, tt.want) {
				t.Errorf("attachments %q, want %q", names, tt.want)
			}
			if tt.note != "" {
				wantNote(t, got, tt.note)
			}
		})
	}
	t.Run("notebook", func(t *testing.T) {
		r.write("nb/a.ipynb", "{}")
		got := captureIn(Options{Dir: r.dir, Env: testEnv(t, "JPY_SESSION_NAME="+filepath.Join(r.dir, "nb", "a.ipynb")).get})
		if got.Record.Code.Path != "nb/a.ipynb" {
			t.Errorf("path %q, want the notebook", got.Record.Code.Path)
		}
	})
	t.Run("no repository", func(t *testing.T) {
		got := captureIn(Options{Dir: filepath.Dir(outside), Env: testEnv(t).get, Diff: true, Script: "new.py"})
		if names := sortedKeys(attachments(t, got)); !slices.Equal(names, []string{ScriptPrefix + "new.py"}) {
			t.Errorf("attachments %q, want the script", names)
		}
	})
}

func TestNoGit(t *testing.T) {
	const sha = "0123456789abcdef0123456789abcdef01234567"
	plain := t.TempDir()
	empty := &repo{t, t.TempDir()}
	gitPath(t)
	empty.git("init", "-q")
	github := []string{"GITHUB_ACTIONS=true", "GITHUB_SHA=" + sha, "GITHUB_REF=refs/heads/dev", "GITHUB_SERVER_URL=https://git.test", "GITHUB_REPOSITORY=team/x"}
	fromCI := &pedigree.Code{Repository: "https://git.test/team/x", Commit: sha, Branch: "dev"}
	tests := []struct {
		name string
		dir  string
		env  environ
		want *pedigree.Code
		note string
	}{
		{"no directory", "", testEnv(t), nil, "no directory to look at: code version is not recorded; use --code REPO@COMMIT"},
		{"no repository", plain, testEnv(t), nil, "no git repository: code version is not recorded; use --code REPO@COMMIT"},
		{"no program", plain, testEnv(t, "PATH="), nil, "git is not installed: code version is not recorded"},
		{"relative PATH", plain, testEnv(t, "PATH=."), nil, "git is not installed"},
		{"no commit", empty.dir, testEnv(t), &pedigree.Code{Branch: empty.git("symbolic-ref", "--short", "HEAD"), Dirty: true}, "no commit yet: code version is not recorded"},
		{"no repository in CI", plain, testEnv(t, github...), fromCI, "those that github names"},
		{"no program in CI", plain, testEnv(t, append(github, "PATH=")...), fromCI, "those that github names"},
		{"no environment", plain, nil, nil, "git is not installed"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o := Options{Dir: tt.dir, Diff: true}
			if tt.env != nil {
				o.Env = tt.env.get
			}
			got := captureIn(o)
			if fmt.Sprint(got.Record.Code) != fmt.Sprint(tt.want) {
				t.Errorf("code %+v, want %+v", got.Record.Code, tt.want)
			}
			wantNote(t, got, tt.note)
			attachments(t, got)
		})
	}
}

func TestGitDetached(t *testing.T) {
	r := newRepo(t)
	head := r.git("rev-parse", "HEAD")
	r.git("checkout", "-q", "--detach")
	other := strings.Repeat("0", 40)
	tests := []struct {
		name string
		env  []string
		want pedigree.Code
	}{
		{"no CI", nil, pedigree.Code{Commit: head}},
		{
			"same commit",
			[]string{"GITLAB_CI=true", "CI_COMMIT_SHA=" + head, "CI_COMMIT_BRANCH=dev", "CI_PROJECT_URL=https://git.test/x"},
			pedigree.Code{Commit: head, Branch: "dev", Repository: "https://git.test/x"},
		},
		{
			"another repository's commit",
			[]string{"GITLAB_CI=true", "CI_COMMIT_SHA=" + other, "CI_COMMIT_BRANCH=dev", "CI_PROJECT_URL=https://git.test/x"},
			pedigree.Code{Commit: head},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := captureIn(Options{Dir: r.dir, Env: testEnv(t, tt.env...).get})
			if *got.Record.Code != tt.want {
				t.Errorf("code\n got %+v\nwant %+v", *got.Record.Code, tt.want)
			}
		})
	}
}

func TestGitSubmodule(t *testing.T) {
	inner, r := newRepo(t), newRepo(t)
	r.git("-c", "protocol.file.allow=always", "submodule", "add", "-q", inner.dir, "lib")
	r.commit()
	r.write("lib/src/train.py", "print('changed')\n")
	got := captureIn(Options{Dir: r.dir, Env: testEnv(t).get, Diff: true})
	if !got.Record.Code.Dirty {
		t.Error("a change in a submodule does not make the tree dirty")
	}
	wantNote(t, got, "inside the submodule lib ")
}

func TestGitCanceled(t *testing.T) {
	r := newRepo(t)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	c := &capturer{Options: Options{Dir: r.dir, Env: testEnv(t).get, Diff: true}, machine: fstest.MapFS{}, goos: goosUnderTest}
	got := c.capture(ctx)
	if got.Record.Code != nil {
		t.Errorf("code %+v after the context was done", got.Record.Code)
	}
	wantNote(t, got, "code version is not recorded")
}

func TestFitPatch(t *testing.T) {
	file := func(name string, n int) string {
		return "diff --git a/" + name + " b/" + name + "\n" + strings.Repeat("+", n) + "\n"
	}
	a, b, c := file("a", 30), file("b", 300), file(`c d`, 10)
	whole := a + b + c
	tests := []struct {
		limit   int
		want    string
		dropped int
	}{
		{len(whole), whole, 0},
		{len(whole) + 1, whole, 0},
		{len(whole) - 1, a + c, 1},
		{len(a + c), a + c, 1},
		{len(c), c, 2},
		{0, "", 3},
	}
	for _, tt := range tests {
		kept, dropped := fitPatch(splitPatch([]byte(whole+"diff --git a/touched b/touched\n")), tt.limit)
		if string(kept) != tt.want || len(dropped) != tt.dropped {
			t.Errorf("fitPatch(%d) = %q without %q", tt.limit, kept, dropped)
		}
	}
}

func sortedKeys(m map[string]string) []string {
	var keys []string
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// TestNoCredentials plants a credential wherever one is found in practice, and looks
// for it in everything that reaches the record.
func TestNoCredentials(t *testing.T) {
	const planted = "t0psEcr3tZQ8xV"
	for _, remote := range []string{
		"https://ann:" + planted + "@git.test/x.git", "https://" + planted + "@git.test/x.git", "ssh://ann:" + planted + "@git.test/x.git",
		planted + "@git.test:x.git", "https://git.test/x.git?private_token=" + planted,
	} {
		r := newRepo(t)
		r.git("remote", "add", "origin", remote)
		r.git("checkout", "-q", "--detach")
		r.write("requirements.txt", "--extra-index-url https://ann:"+planted+"@pypi.test/simple\nnumpy==1.26.4\nours @ https://"+planted+"@files.test/ours.whl?token="+planted+"\n")
		r.write("src/train.py", "password = '"+planted+"'\n")
		head := r.git("rev-parse", "HEAD")
		env := testEnv(t,
			"GITLAB_CI=true", "CI_COMMIT_SHA="+head, "CI_COMMIT_BRANCH=dev", "CI_JOB_ID=7", "CI_JOB_NAME=fit https://x:"+planted+"@h.test",
			"CI_JOB_URL=https://ann:"+planted+"@ci.test/7", "CI_PROJECT_URL=https://gitlab-ci-token:"+planted+"@git.test/x", "CI_JOB_IMAGE=ann:"+planted+"@images.test/train:1",
			"CI_API_V4_URL=https://ann:"+planted+"@ci.test/api/v4", "CI_UPSTREAM_PROJECT_ID=3", "CI_UPSTREAM_PIPELINE_ID=4",
			"GITLAB_USER_LOGIN=https://"+planted+"@ci.test",
			"JENKINS_URL=x", "BUILD_TAG=b", "BUILD_URL=https://ann:"+planted+"@jenkins.test/job/1?token="+planted,
			"PEDIGREE_INSTANCE_TYPE=password="+planted,
		)
		got := captureIn(Options{Dir: r.dir, Env: env.get, Diff: true, Script: "src/train.py"})
		b, err := json.Marshal(got.Record)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(b), planted) {
			t.Errorf("with the remote %s the record holds the credential:\n%s", remote, b)
		}
		for _, n := range got.Notes {
			if strings.Contains(n, planted) {
				t.Errorf("a note holds the credential: %s", n)
			}
		}
		files := attachments(t, got)
		for name, content := range files {
			if name != PatchName && strings.Contains(content, planted) {
				t.Errorf("%s holds the credential:\n%s", name, content)
			}
		}
		if files[LockPrefix+"requirements.txt"] == "" || files[PatchName] == "" {
			t.Errorf("attachments %q, want patch and requirements", sortedKeys(files))
		}
		// The patch is text that somebody wrote: it is as it is, and found out.
		want := []Finding{{File: PatchName, Path: "src/train.py", Kind: "password or token"}}
		if len(got.Findings) == 1 {
			want[0].Line = got.Findings[0].Line
		}
		if !slices.Equal(got.Findings, want) {
			t.Errorf("findings %v, want %v", got.Findings, want)
		}
		if want := "https://ci.test/7"; string(got.Record.Run.URI) != want {
			t.Errorf("run URI %q, want %q", got.Record.Run.URI, want)
		}
		if want := "images.test/train:1"; got.Record.Runtime.Image != want {
			t.Errorf("image %q, want %q", got.Record.Runtime.Image, want)
		}
	}
}
