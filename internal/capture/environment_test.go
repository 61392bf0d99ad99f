package capture

import (
	"context"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/pedigree-ml/pedigree"
)

// environmentOf runs only the part that looks for packages.
func environmentOf(dir, root string, env environ) (*pedigree.Environment, *capturer) {
	c := &capturer{Options: Options{Dir: dir, Env: env.get}, machine: files(), goos: goosUnderTest, left: pedigree.MaxEvidence}
	return c.environment(context.Background(), root), c
}

func TestLockFile(t *testing.T) {
	const pins = "# by hand\n--index-url https://ann:s3cret@pypi.test/simple\nnumpy==1.26.4 \\\n    --hash=sha256:ab\nours @ https://files.test/ours.whl ; python_version<'3.13'\n"
	tests := []struct {
		name    string
		files   []string // name, content
		dir     string
		file    string // "" for none
		manager string
		content string // of the attachment, when not that of the file
	}{
		{"uv", []string{"uv.lock", "version = 1\n", "poetry.lock", "x", "requirements.txt", pins}, "", "uv.lock", "uv", ""},
		{"poetry", []string{"poetry.lock", "x"}, "", "poetry.lock", "poetry", ""},
		{"pipenv", []string{"Pipfile.lock", "{}"}, "", "Pipfile.lock", "pipenv", ""},
		{"pdm", []string{"pdm.lock", "x"}, "", "pdm.lock", "pdm", ""},
		{"conda", []string{"conda-lock.yml", "x"}, "", "conda-lock.yml", "conda", ""},
		{"nearest", []string{"uv.lock", "x", "sub/requirements.txt", pins}, "sub", "requirements.txt", "pip", strings.Replace(pins, "ann:s3cret@", "", 1)},
		{"above", []string{"uv.lock", "x", "sub/deep/a.py", ""}, "sub/deep", "uv.lock", "uv", ""},
		{"the usual name first", []string{"requirements-dev.txt", "pytest==8.0\n", "requirements.txt", "numpy==1.26.4\r\n"}, "", "requirements.txt", "pip", ""},
		{"another name", []string{"requirements.txt", "numpy\n", "requirements-lock.txt", "numpy==1.26.4\n"}, "", "requirements-lock.txt", "pip", ""},
		{"no pins", []string{"requirements.txt", "numpy==1.26.4\npandas>=2\n"}, "", "", "", ""},
		{"only options", []string{"requirements.txt", "--pre\n# none\n"}, "", "", "", ""},
		{"includes another", []string{"requirements.txt", "-r base.txt\nnumpy==1.26.4\n"}, "", "", "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			root := t.TempDir()
			var content string
			for i := 0; i < len(tt.files); i += 2 {
				writeFile(t, filepath.Join(root, filepath.FromSlash(tt.files[i])), tt.files[i+1])
				if filepath.Base(tt.files[i]) == tt.file {
					content = tt.files[i+1]
				}
			}
			env, c := environmentOf(filepath.Join(root, filepath.FromSlash(tt.dir)), root, environ{})
			if tt.file == "" {
				if env != nil || len(c.result.Attachments) != 0 {
					t.Errorf("environment %+v with %d attachments, want none", env, len(c.result.Attachments))
				}
				wantNote(t, c.result, "packages are not recorded")
				return
			}
			want := pedigree.Environment{Manager: tt.manager, File: tt.file, Digest: pedigree.DigestBytes([]byte(content))}
			if env == nil || !reflect.DeepEqual(*env, want) {
				t.Fatalf("environment\n got %+v\nwant %+v", env, want)
			}
			if tt.content == "" {
				tt.content = content
			}
			got := attachments(t, c.result)
			if len(got) != 1 || got[LockPrefix+tt.file] != tt.content {
				t.Errorf("attachments %q, want %q", got, tt.content)
			}
			if note := c.result.Attachments[0].Evidence.Note; (note != "") != (tt.content != content) {
				t.Errorf("note %q of evidence that was changed: %v", note, tt.content != content)
			}
		})
	}
}

func TestLockFileOutsideRepository(t *testing.T) {
	above := t.TempDir()
	writeFile(t, filepath.Join(above, "uv.lock"), "x")
	dir := filepath.Join(above, "sub")
	writeFile(t, filepath.Join(dir, "a.py"), "")
	if env, _ := environmentOf(dir, "", environ{}); env != nil {
		t.Errorf("without a repository, a lock file above the directory is taken: %+v", env)
	}
}

func TestLockFileLarge(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "conda-lock.yml"), strings.Repeat("x", maxLockAttach+1))
	env, c := environmentOf(dir, "", environ{})
	if env == nil || env.Digest == "" || len(c.result.Attachments) != 0 {
		t.Errorf("environment %+v with %d attachments, want the digest alone", env, len(c.result.Attachments))
	}
	wantNote(t, c.result, "not attached")
}

func TestActiveEnvironment(t *testing.T) {
	venv := t.TempDir()
	site := filepath.Join(venv, "lib", "python3.12", "site-packages")
	if goosUnderTest == "windows" {
		site = filepath.Join(venv, "Lib", "site-packages")
	}
	writeFile(t, filepath.Join(venv, "pyvenv.cfg"), "home = /usr/bin\nversion_info = 3.12.4.final.0\n")
	writeFile(t, filepath.Join(site, "scikit_learn-1.5.0.dist-info", "METADATA"), "Metadata-Version: 2.1\nName: scikit-learn\nVersion: 1.5.0\n\nName: not-this\n")
	writeFile(t, filepath.Join(site, "numpy-1.26.4.dist-info", "RECORD"), "")
	writeFile(t, filepath.Join(site, "numpy", "__init__.py"), "")
	packages := []string{"numpy==1.26.4", "scikit-learn==1.5.0"}
	want := &pedigree.Environment{Manager: "pip", Python: "3.12.4", Packages: packages}

	if env, _ := environmentOf("", "", environ{"VIRTUAL_ENV": venv}); !reflect.DeepEqual(env, want) {
		t.Errorf("VIRTUAL_ENV\n got %+v\nwant %+v", env, want)
	}
	writeFile(t, filepath.Join(venv, "conda-meta", "python-3.11.9-h955ad1f_0.json"), "{}")
	if env, _ := environmentOf("", "", environ{"CONDA_PREFIX": venv}); env.Manager != "conda" || !reflect.DeepEqual(env.Packages, packages) {
		t.Errorf("CONDA_PREFIX: got %+v", env)
	}
	// With a lock file, the environment gives the version of Python alone.
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "uv.lock"), "x")
	if env, _ := environmentOf(dir, "", environ{"VIRTUAL_ENV": venv}); env.File != "uv.lock" || env.Python != "3.12.4" || env.Packages != nil {
		t.Errorf("with a lock file: got %+v", env)
	}
}

func TestCondaPython(t *testing.T) {
	prefix := t.TempDir()
	writeFile(t, filepath.Join(prefix, "conda-meta", "python-dateutil-2.9.0-py_0.json"), "{}")
	writeFile(t, filepath.Join(prefix, "conda-meta", "python-3.11.9-h955ad1f_0.json"), "{}")
	if got := pythonVersion(prefix); got != "3.11.9" {
		t.Errorf("version %q, want 3.11.9", got)
	}
}

func TestAskPython(t *testing.T) {
	tests := []struct {
		name, body string
		want       *pedigree.Environment
		note       string
	}{
		{
			"answers", `echo '{"python": "3.12.4", "packages": ["b==2", "a==1", "a==1", "x @ https://ann:s3cret@files.test/x.whl"]}'`,
			&pedigree.Environment{Manager: "pip", Python: "3.12.4", Packages: []string{"a==1", "b==2", "x @ https://files.test/x.whl"}}, "",
		},
		{"fails", "exit 1", nil, "python failed"},
		{"nonsense", "echo hello", nil, "packages"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			env, c := environmentOf("", "", environ{"PATH": script(t, "python3", tt.body)})
			if !reflect.DeepEqual(env, tt.want) {
				t.Errorf("environment\n got %+v\nwant %+v", env, tt.want)
			}
			if tt.note != "" {
				wantNote(t, c.result, tt.note)
			}
		})
	}
}
