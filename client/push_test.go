package client_test

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/client"
)

// write makes files below dir; a name that ends in "*" is a program.
func write(t testing.TB, dir string, files map[string]string) {
	t.Helper()
	for name, content := range files {
		mode := os.FileMode(0o644)
		name, program := strings.CutSuffix(name, "*")
		if program {
			mode = 0o755
		}
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), mode); err != nil {
			t.Fatal(err)
		}
	}
}

func push(model pedigree.Name, path string) client.Push {
	return client.Push{Model: model, Path: path, Registration: pedigree.Registration{CreateModel: true}}
}

func TestPush(t *testing.T) {
	ctx := t.Context()
	r := newRegistry(t)
	dir := t.TempDir()
	large := strings.Repeat("0123456789abcdef", 100_000)
	write(t, dir, map[string]string{
		"model.bin": large, "copy.bin": large, "empty": "", "bin/run.sh*": "#!/bin/sh\n", "größe/ä b%2F.txt": "x",
		".git/HEAD": "ref", "__pycache__/a.pyc": "x", "sub/.DS_Store": "x", ".ipynb_checkpoints/n": "x", "secret.key": "x", "logs/a.log": "x",
	})
	if err := os.Symlink("model.bin", filepath.Join(dir, "link.bin")); err != nil {
		t.Fatal(err)
	}
	p := push("fraud", dir)
	p.Exclude = []string{"*.key", "logs"}
	p.Attachments = []client.Attachment{{Evidence: pedigree.Evidence{Name: "card.md", Kind: "card", MediaType: "text/markdown"}, Content: []byte("# Card")}}
	var last client.ProgressEvent
	stages := map[string]bool{}
	p.Progress = func(e client.ProgressEvent) {
		stages[e.Stage], last = true, e
		if e.Done > e.Total || e.Files > e.TotalFiles {
			t.Errorf("got %+v", e)
		}
	}
	pushed := must(r.Push(ctx, p))(t)
	var paths []string
	for _, f := range pushed.Record.Artifact.Files {
		paths = append(paths, f.Path)
		if f.Executable != (f.Path == "bin/run.sh") {
			t.Errorf("%s: executable is %v", f.Path, f.Executable)
		}
	}
	if got := strings.Join(paths, "|"); got != "bin/run.sh|copy.bin|empty|größe/ä b%2F.txt|link.bin|model.bin" {
		t.Errorf("got %s", got)
	}
	if pushed.Number != 1 || pushed.UploadedFiles != 5 || pushed.Uploaded != int64(len(large)+10+1+6) || pushed.Reused != 0 {
		t.Errorf("got %d files, %d bytes, %d reused", pushed.UploadedFiles, pushed.Uploaded, pushed.Reused)
	}
	if !stages["hash"] || last.Stage != "upload" || last.Done != last.Total || last.Files != 5 || last.TotalFiles != 5 {
		t.Errorf("got %+v", last)
	}
	if got := must(io.ReadAll(must(r.Evidence(ctx, ref(t, "fraud/1"), "card.md", now))(t)))(t); string(got) != "# Card" {
		t.Errorf("got %q", got)
	}

	// Once more: nothing moves.
	again := must(r.Push(ctx, p))(t)
	if again.Number != 2 || again.Uploaded != 0 || again.UploadedFiles != 0 || again.Reused != pushed.Uploaded || again.Record.Artifact.Digest != pushed.Record.Artifact.Digest {
		t.Errorf("got version %d, %d bytes, %d reused", again.Number, again.Uploaded, again.Reused)
	}

	// One file alone, by way of a link too.
	for _, name := range []string{"model.bin", "link.bin"} {
		one := must(r.Push(ctx, push("one", filepath.Join(dir, name))))(t)
		if files := one.Record.Artifact.Files; len(files) != 1 || files[0].Path != name || one.Uploaded != 0 {
			t.Errorf("got %+v", one)
		}
	}

	// A link, and nothing, need no bytes.
	link := must(r.Push(ctx, client.Push{Model: "linked", Registration: linked()}))(t)
	if link.Record.Artifact.URI != "s3://m/1" {
		t.Errorf("got %+v", link.Record.Artifact)
	}
}

// TestPushRefused holds what can't be an artifact; nothing is registered.
func TestPushRefused(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Log("links, sockets and names that differ by case are Unix's")
		return
	}
	ctx := t.Context()
	r := newRegistry(t)
	outside := t.TempDir()
	write(t, outside, map[string]string{"secret": "x"})
	link := func(to string) func(dir string) error {
		return func(dir string) error { return os.Symlink(to, filepath.Join(dir, "link")) }
	}
	for _, tc := range []struct {
		name string
		make func(dir string) error
		code pedigree.ErrorCode
		text string
	}{
		{"link out", link(filepath.Join(outside, "secret")), pedigree.CodeInvalid, `"link" is a link that leaves the folder`},
		{"link up", link("../" + filepath.Base(outside)), pedigree.CodeInvalid, `"link" is a link that leads nowhere`},
		{"link to nowhere", link("gone"), pedigree.CodeInvalid, `"link" is a link that leads nowhere`},
		{"link to itself", link("link"), pedigree.CodeInvalid, `"link" is a link that leads nowhere`},
		{"link to a folder", func(dir string) error {
			write(t, dir, map[string]string{"sub/a": "x"})
			return link("sub")(dir)
		}, pedigree.CodeInvalid, `"link" is a link to something that is not a file`},
		{"socket", func(dir string) error {
			l, err := net.Listen("unix", filepath.Join(dir, "socket"))
			if err == nil {
				t.Cleanup(func() { _ = l.Close() })
			}
			return err
		}, pedigree.CodeInvalid, `"socket" is neither a file nor a folder`},
		{"case", func(dir string) error {
			write(t, dir, map[string]string{"Model.bin": "x", "model.bin": "y"})
			return nil
		}, pedigree.CodeInvalid, "differ by case alone"},
		{"backslash", func(dir string) error { write(t, dir, map[string]string{`a\b`: "x"}); return nil }, pedigree.CodeInvalid, `holds "\" or ":"`},
		{"device", func(dir string) error { write(t, dir, map[string]string{"nul.txt": "x"}); return nil }, pedigree.CodeInvalid, "Windows"},
		{"not UTF-8", func(dir string) error { write(t, dir, map[string]string{"\xff": "x"}); return nil }, pedigree.CodeInvalid, "UTF-8"},
		{"empty", func(dir string) error { return os.Remove(filepath.Join(dir, "fine")) }, pedigree.CodeInvalid, "at least one file"},
		{"not there", os.RemoveAll, pedigree.CodeNotFound, "no such file"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := t.TempDir()
			write(t, dir, map[string]string{"fine": "x"})
			if err := tc.make(dir); err != nil {
				t.Fatal(err)
			}
			_, err := r.Push(ctx, push("fraud", dir))
			wantCode(t, err, tc.code)
			if !strings.Contains(err.Error(), tc.text) {
				t.Errorf("got %v, want %q", err, tc.text)
			}
		})
	}
	_, err := r.Model(ctx, "fraud", now)
	wantCode(t, err, pedigree.CodeNotFound)
	p := push("fraud", outside)
	p.Exclude = []string{"["}
	_, err = r.Push(ctx, p)
	wantCode(t, err, pedigree.CodeInvalid)
}

// TestPushChanged writes to a file while it is being pushed, at each stage: the push
// says which file it was, and registers nothing.
func TestPushChanged(t *testing.T) {
	ctx := t.Context()
	grown := bytes.Repeat([]byte("y"), 3<<20)
	for _, tc := range []struct {
		name, when string
		change     func(path string) error
	}{
		{"grows before the upload", "POST missing", func(path string) error { return os.WriteFile(path, grown, 0o644) }},
		{"shrinks before the upload", "POST missing", func(path string) error { return os.Truncate(path, 5) }},
		{"goes before the upload", "POST missing", os.Remove},
		{"grows during the upload", "PUT", func(path string) error { return os.WriteFile(path, grown, 0o644) }},
		{"shrinks during the upload", "PUT", func(path string) error { return os.Truncate(path, 5) }},
		{"is replaced after the upload", "PUT done", func(path string) error { return os.WriteFile(path, []byte("z"), 0o644) }},
		{"goes after the upload", "PUT done", os.Remove},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := newRegistry(t)
			dir := t.TempDir()
			path := filepath.Join(dir, "model.bin")
			write(t, dir, map[string]string{"model.bin": strings.Repeat("x", 2<<20)})
			change := func() {
				if err := tc.change(path); err != nil {
					t.Error(err)
				}
			}
			r.wrap = func(next http.Handler, w http.ResponseWriter, req *http.Request) {
				missing := strings.HasSuffix(req.URL.Path, "/blobs/missing")
				if tc.when == "POST missing" && missing || tc.when == "PUT" && req.Method == http.MethodPut {
					change()
				}
				next.ServeHTTP(w, req)
				if tc.when == "PUT done" && req.Method == http.MethodPut {
					change()
				}
			}
			_, err := r.Push(ctx, push("fraud", dir))
			wantCode(t, err, pedigree.CodeConflict)
			if !strings.Contains(err.Error(), `file "model.bin" changed while it was being pushed`) {
				t.Errorf("got %v", err)
			}
			_, err = r.Model(ctx, "fraud", now)
			wantCode(t, err, pedigree.CodeNotFound)
		})
	}
}

// TestPushUnseenChange changes bytes so that neither size nor time tell: the digest does.
func TestPushUnseenChange(t *testing.T) {
	r := newRegistry(t)
	dir := t.TempDir()
	path := filepath.Join(dir, "model.bin")
	write(t, dir, map[string]string{"model.bin": strings.Repeat("x", 2<<20)})
	info := must(os.Stat(path))(t)
	r.wrap = func(next http.Handler, w http.ResponseWriter, req *http.Request) {
		if strings.HasSuffix(req.URL.Path, "/blobs/missing") {
			if err := os.WriteFile(path, bytes.Repeat([]byte("y"), 2<<20), 0o644); err != nil {
				t.Error(err)
			}
			if err := os.Chtimes(path, info.ModTime(), info.ModTime()); err != nil {
				t.Error(err)
			}
		}
		next.ServeHTTP(w, req)
	}
	_, err := r.Push(t.Context(), push("fraud", dir))
	wantCode(t, err, pedigree.CodeCorrupt)
	if !strings.Contains(err.Error(), `the bytes of "model.bin" that arrived are not those that were hashed`) {
		t.Errorf("got %v", err)
	}
}

// TestPushOutage loses answers and connections on the way; the push goes on, and no
// version is registered twice.
func TestPushOutage(t *testing.T) {
	ctx := t.Context()
	r := newRegistry(t)
	dir := t.TempDir()
	write(t, dir, map[string]string{"a": strings.Repeat("a", 3<<20), "b": strings.Repeat("b", 2<<20), "c": "c"})
	var puts, posts atomic.Int64
	r.wrap = func(next http.Handler, w http.ResponseWriter, req *http.Request) {
		switch {
		case req.Method == http.MethodPut && puts.Add(1)%2 == 1: // in the middle of the bytes
			_, _ = io.CopyN(io.Discard, req.Body, 1000)
			panic(http.ErrAbortHandler)
		case strings.HasSuffix(req.URL.Path, "/versions") && posts.Add(1) == 1: // done, but nobody learns of it
			next.ServeHTTP(discard{http.Header{}}, req)
			panic(http.ErrAbortHandler)
		case strings.HasSuffix(req.URL.Path, "/versions") && posts.Load() == 2:
			http.Error(w, "no", http.StatusBadGateway)
		default:
			next.ServeHTTP(w, req)
		}
	}
	pushed := must(r.Push(ctx, push("fraud", dir)))(t)
	if pushed.Number != 1 || pushed.Uploaded != 5<<20+1 || len(pushed.Record.Artifact.Files) != 3 || !pushed.CreatedModel {
		t.Errorf("got %+v", pushed)
	}
	if list := must(r.Search(ctx, client.Query{}))(t); len(list.Items) != 1 {
		t.Errorf("got %d versions", len(list.Items))
	}
	if posts.Load() != 3 {
		t.Errorf("%d registrations were sent", posts.Load())
	}
}

type discard struct{ header http.Header }

func (d discard) Header() http.Header         { return d.header }
func (d discard) Write(p []byte) (int, error) { return len(p), nil }
func (d discard) WriteHeader(int)             {}

// TestPushLostBlob takes a blob away between the upload and the registration.
func TestPushLostBlob(t *testing.T) {
	r := newRegistry(t)
	dir := t.TempDir()
	write(t, dir, map[string]string{"a": "a"})
	first := true
	r.wrap = func(next http.Handler, w http.ResponseWriter, req *http.Request) {
		if first && req.Method == http.MethodPut {
			first = false
			w.WriteHeader(http.StatusCreated) // a server that lies, or lost it
			return
		}
		next.ServeHTTP(w, req)
	}
	pushed := must(r.Push(t.Context(), push("fraud", dir)))(t)
	if pushed.Number != 1 || len(must(r.VerifyVersion(t.Context(), ref(t, "fraud/1"), now))(t)) != 3 {
		t.Errorf("got %+v", pushed)
	}
}

func TestPushCancelled(t *testing.T) {
	r := newRegistry(t)
	dir := t.TempDir()
	write(t, dir, map[string]string{"a": strings.Repeat("a", 4<<20)})
	ctx, cancel := context.WithCancel(t.Context())
	r.wrap = func(next http.Handler, w http.ResponseWriter, req *http.Request) {
		if req.Method == http.MethodPut {
			cancel()
		}
		next.ServeHTTP(w, req)
	}
	_, err := r.Push(ctx, push("fraud", dir))
	if err == nil || ctx.Err() == nil || !strings.Contains(err.Error(), "context canceled") {
		t.Errorf("got %v", err)
	}
	_, err = r.Model(t.Context(), "fraud", now)
	wantCode(t, err, pedigree.CodeNotFound)
}
