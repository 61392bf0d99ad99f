package link

import (
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/pedigree-ml/pedigree"
)

func mustWrite(t *testing.T, dir, name string, b []byte) string {
	t.Helper()
	file := filepath.Join(dir, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, b, 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}

func fileURI(name string) string {
	p := filepath.ToSlash(name)
	if !strings.HasPrefix(p, "/") {
		p = "/" + p
	}
	u := url.URL{Scheme: "file", Path: p}
	return u.String()
}

// artifact is the digest of what a push of the files would store.
func artifact(t *testing.T, files map[string][]byte, executable ...string) pedigree.Digest {
	t.Helper()
	var list []pedigree.File
	for name, b := range files {
		f := pedigree.File{Path: name, Size: int64(len(b)), Digest: pedigree.DigestBytes(b)}
		for _, e := range executable {
			f.Executable = f.Executable || e == name && runtime.GOOS != "windows"
		}
		list = append(list, f)
	}
	a, err := pedigree.StoredArtifact(list)
	if err != nil {
		t.Fatal(err)
	}
	return a.Digest
}

func TestLocalFile(t *testing.T) {
	b := content(700_000)
	name := mustWrite(t, t.TempDir(), "my model #1.bin", b)
	for _, uri := range []string{name, fileURI(name), strings.Replace(fileURI(name), "file://", "file://localhost", 1), strings.Replace(fileURI(name), "file://", "FILE:", 1)} {
		var calls, last int64
		got := mustRead(t, uri, Options{Progress: func(done, total int64) {
			if calls++; done <= last || total != int64(len(b)) {
				t.Errorf("progress %d of %d after %d", done, total, last)
			}
			last = done
		}})
		checkInfo(t, got, int64(len(b)), pedigree.DigestBytes(b), 0, "")
		if want := fileURI(name); string(got.URI) != want {
			t.Errorf("URI %q, want %q", got.URI, want)
		}
		if last != int64(len(b)) || calls < 2 {
			t.Errorf("progress ended at %d after %d calls, want %d", last, calls, len(b))
		}
	}
}

func TestLocalRelative(t *testing.T) {
	t.Chdir(t.TempDir())
	mustWrite(t, ".", "models/a.bin", []byte("a"))
	for _, uri := range []string{"models/a.bin", "./models/a.bin", "file:models/a.bin"} {
		got := mustRead(t, uri, Options{})
		checkInfo(t, got, 1, pedigree.DigestBytes([]byte("a")), 0, "")
		if !strings.HasPrefix(string(got.URI), "file:///") || !strings.HasSuffix(string(got.URI), "/models/a.bin") {
			t.Errorf("%s: URI %q is not absolute", uri, got.URI)
		}
	}
}

func TestLocalLimit(t *testing.T) {
	dir := t.TempDir()
	name := mustWrite(t, dir, "a", content(100))
	checkInfo(t, mustRead(t, name, Options{MaxBytes: 99}), 100, "", 0, "not hashed: it has 100, and no more than 99 are")
	checkInfo(t, mustRead(t, name, Options{MaxBytes: 100}), 100, pedigree.DigestBytes(content(100)), 0, "")
	mustWrite(t, dir, "b", content(1))
	checkInfo(t, mustRead(t, dir, Options{MaxBytes: 100}), 101, "", 2, "not hashed")
}

func TestLocalErrors(t *testing.T) {
	dir := t.TempDir()
	mustFail(t, filepath.Join(dir, "nothing"), Options{}, pedigree.CodeNotFound)
	mustFail(t, fileURI(filepath.Join(dir, "nothing")), Options{}, pedigree.CodeNotFound)
	if runtime.GOOS != "windows" {
		mustFail(t, os.DevNull, Options{}, pedigree.CodeInvalid)
		if os.Getuid() != 0 {
			secret := mustWrite(t, dir, "secret", []byte("x"))
			if err := os.Chmod(secret, 0); err != nil {
				t.Fatal(err)
			}
			mustFail(t, secret, Options{}, pedigree.CodeForbidden)
			mustFail(t, dir, Options{}, pedigree.CodeForbidden)
		}
	}
}

func TestLocalFolder(t *testing.T) {
	dir, outside := t.TempDir(), t.TempDir()
	files := map[string][]byte{
		"model.onnx": content(300_000), "tokenizer/vocab.json": []byte("{}"), "serve.sh": []byte("#!/bin/sh\n"), "empty": {},
		"shared.bin": content(9), "README.md": []byte("read me"),
	}
	for name, b := range files {
		if name != "shared.bin" {
			mustWrite(t, dir, name, b)
		}
	}
	for _, name := range []string{".git/config", "a/__pycache__/x.pyc", ".DS_Store", "a/.ipynb_checkpoints/y"} {
		mustWrite(t, dir, name, []byte("left out"))
	}
	if err := os.Chmod(filepath.Join(dir, "serve.sh"), 0o755); err != nil {
		t.Fatal(err)
	}
	// As a download cache has it: the bytes are elsewhere.
	target := mustWrite(t, outside, "blobs/123", files["shared.bin"])
	if err := os.Symlink(target, filepath.Join(dir, "shared.bin")); err != nil {
		t.Skipf("no symbolic links here: %v", err)
	}
	link := filepath.Join(outside, "current")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	var size int64
	for _, b := range files {
		size += int64(len(b))
	}
	want := artifact(t, files, "serve.sh")
	for _, name := range []string{dir, dir + "/", fileURI(dir), link} {
		checkInfo(t, mustRead(t, name, Options{}), size, want, len(files), "")
	}
}

// TestLocalFolderFlaws reads folders that can't be an artifact. They are recorded all
// the same.
func TestLocalFolderFlaws(t *testing.T) {
	tests := []struct {
		name, note string
		make       func(dir string) error
		size       int64
	}{
		{"dangling link", "x is a link that leads nowhere", func(dir string) error { return os.Symlink("nothing", filepath.Join(dir, "x")) }, -1},
		{"link to a folder", "x is a link to a folder", func(dir string) error { return os.Symlink("..", filepath.Join(dir, "x")) }, -1},
		{"socket", "x is neither a file nor a folder", func(dir string) error {
			l, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(dir, "x"), Net: "unix"})
			if err == nil {
				t.Cleanup(func() { _ = l.Close() })
			}
			return err
		}, -1},
		{"name", `holds "\" or ":"`, func(dir string) error { return os.WriteFile(filepath.Join(dir, "a:b"), []byte("xy"), 0o600) }, 3},
		{"case", "differ by case", func(dir string) error { return os.WriteFile(filepath.Join(dir, "A"), []byte("xy"), 0o600) }, 3},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir, err := os.MkdirTemp("", "link") // a socket's path must be short
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = os.RemoveAll(dir) })
			mustWrite(t, dir, "a", []byte("a"))
			if err := tt.make(dir); err != nil {
				t.Skipf("not on this system: %v", err)
			}
			if entries, err := os.ReadDir(dir); err != nil || len(entries) != 2 {
				t.Skipf("not on this file system: %v %v", entries, err)
			}
			files := 2
			if tt.size < 0 {
				files = 1
			}
			checkInfo(t, mustRead(t, dir, Options{}), tt.size, "", files, tt.note)
		})
	}
	checkInfo(t, mustRead(t, t.TempDir(), Options{}), 0, "", 0, "there is no file in it")
}

func TestTooManyFiles(t *testing.T) {
	tr := &tree{}
	for i := range pedigree.MaxFiles + 50 {
		tr.add(treeFile{File: pedigree.File{Path: fmt.Sprintf("f%d", i), Size: 2}})
	}
	if len(tr.files) > pedigree.MaxFiles+1 {
		t.Errorf("%d files are kept in memory", len(tr.files))
	}
	r := quick("x", Options{})
	if err := r.describe(t.Context(), tr, true); err != nil {
		t.Fatal(err)
	}
	r.info.Note = strings.Join(r.notes, "; ")
	checkInfo(t, r.info, 2*(pedigree.MaxFiles+50), "", pedigree.MaxFiles+50, "the limit is")
}

// TestLocalChanges changes what is being read.
func TestLocalChanges(t *testing.T) {
	for name, change := range map[string]func(file string) error{
		"grown": func(file string) error {
			f, err := os.OpenFile(file, os.O_APPEND|os.O_WRONLY, 0)
			if err != nil {
				return err
			}
			_, _ = f.Write(content(1_000_000))
			return f.Close()
		},
		"gone": os.Remove,
	} {
		if name == "gone" && runtime.GOOS == "windows" {
			continue // an open file can't be removed there
		}
		dir := t.TempDir()
		file := mustWrite(t, dir, "f", content(1_000_000))
		o := Options{Progress: func(done, _ int64) {
			if done < 300_000 {
				if err := change(file); err != nil {
					t.Error(err)
				}
			}
		}}
		uri, want := dir, pedigree.CodeConflict
		if name == "gone" {
			uri, want = file, pedigree.CodeNotFound
		}
		mustFail(t, uri, o, want)
	}
}
