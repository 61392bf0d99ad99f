package client_test

import (
	"bytes"
	"encoding/json"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/client"
)

var artifact = map[string]string{
	"model.bin": strings.Repeat("0123456789abcdef", 200_000), "bin/run*": "#!/bin/sh\n", "deep/er/ä b%2F.txt": "x", "empty": "",
}

// pushed makes a registry with one version of the artifact.
func pushed(t testing.TB) *registry {
	t.Helper()
	r := newRegistry(t)
	dir := t.TempDir()
	write(t, dir, artifact)
	must(r.Push(t.Context(), push("fraud", dir)))(t)
	return r
}

// wantFolder ends the test unless dest holds the artifact and nothing else, and nothing
// was left beside it.
func wantFolder(t testing.TB, dest string) {
	t.Helper()
	found := 0
	err := filepath.WalkDir(dest, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		found++
		rel := filepath.ToSlash(must(filepath.Rel(dest, name))(t))
		want, ok := artifact[rel]
		program := false
		if !ok {
			want, program = artifact[rel+"*"]
		}
		if got := must(os.ReadFile(name))(t); string(got) != want || program != (must(d.Info())(t).Mode()&0o100 != 0) {
			t.Errorf("%s has %d bytes", rel, len(got))
		}
		return nil
	})
	if err != nil || found != len(artifact) {
		t.Fatalf("%d files, %v", found, err)
	}
	wantAlone(t, dest)
}

func wantAlone(t testing.TB, dest string) {
	t.Helper()
	for _, e := range must(os.ReadDir(filepath.Dir(dest)))(t) {
		if strings.HasPrefix(e.Name(), ".pedigree") {
			t.Errorf("%s was left behind", e.Name())
		}
	}
}

func TestPull(t *testing.T) {
	ctx := t.Context()
	r := pushed(t)
	dest := filepath.Join(t.TempDir(), "new", "model")
	var last client.ProgressEvent
	p := client.Pull{Reference: ref(t, "fraud"), Dest: dest, Progress: func(e client.ProgressEvent) { last = e }}
	got := must(r.Pull(ctx, p))(t)
	wantFolder(t, dest)
	if got.Number != 1 || got.Files != 4 || got.Bytes != 3_200_011 || got.Path != dest || got.Unchanged {
		t.Errorf("got %+v", got)
	}
	if last.Done != last.Total || last.Files != 4 || last.Stage != "download" {
		t.Errorf("got %+v", last)
	}

	// Once more: nothing to do, and nothing is fetched.
	r.wrap = func(next http.Handler, w http.ResponseWriter, req *http.Request) {
		if strings.Contains(req.URL.Path, "/files/") {
			t.Error("a file was fetched")
		}
		next.ServeHTTP(w, req)
	}
	if got := must(r.Pull(ctx, p))(t); !got.Unchanged {
		t.Errorf("got %+v", got)
	}
	r.wrap = nil

	// Something else is there: refused, and replaced with Force.
	for name, change := range map[string]func() error{
		"other bytes": func() error {
			return os.WriteFile(filepath.Join(dest, "model.bin"), []byte(strings.Repeat("0123456789abcdeF", 200_000)), 0o644)
		},
		"a file more": func() error { return os.WriteFile(filepath.Join(dest, "more"), nil, 0o644) },
		"a file less": func() error { return os.Remove(filepath.Join(dest, "empty")) },
		"a link": func() error {
			return os.Rename(filepath.Join(dest, "empty"), filepath.Join(dest, "was"))
		},
		"another mode": func() error { return os.Chmod(filepath.Join(dest, "bin", "run"), 0o644) },
	} {
		if err := change(); err != nil {
			t.Fatal(err)
		}
		p.Force = false
		_, err := r.Pull(ctx, p)
		wantCode(t, err, pedigree.CodeExists)
		p.Force = true
		if got := must(r.Pull(ctx, p))(t); got.Unchanged {
			t.Errorf("%s: got %+v", name, got)
		}
		wantFolder(t, dest)
	}

	// An empty folder makes way; a file does with Force alone.
	empty := t.TempDir()
	must(r.Pull(ctx, client.Pull{Reference: ref(t, "fraud/1"), Dest: empty}))(t)
	wantFolder(t, empty)
	file := filepath.Join(t.TempDir(), "file")
	write(t, filepath.Dir(file), map[string]string{"file": "x"})
	_, err := r.Pull(ctx, client.Pull{Reference: ref(t, "fraud"), Dest: file})
	wantCode(t, err, pedigree.CodeExists)
	must(r.Pull(ctx, client.Pull{Reference: ref(t, "fraud"), Dest: file, Force: true}))(t)
	wantFolder(t, file)

	_, err = r.Pull(ctx, client.Pull{Reference: ref(t, "fraud/2"), Dest: dest})
	wantCode(t, err, pedigree.CodeNotFound)
	must(r.Register(ctx, "linked", linked()))(t)
	_, err = r.Pull(ctx, client.Pull{Reference: ref(t, "linked"), Dest: dest})
	wantCode(t, err, pedigree.CodeUnsupported)
}

// TestPullPast fetches what an alias named then, also when the version is gone since.
func TestPullPast(t *testing.T) {
	ctx := t.Context()
	r := pushed(t)
	move := must(r.SetAlias(ctx, ref(t, "fraud/1"), "production", nil, ""))(t)
	must(r.Register(ctx, "fraud", linked()))(t)
	must(r.SetAlias(ctx, ref(t, "fraud/2"), "production", nil, ""))(t)
	if err := r.DeleteVersion(ctx, ref(t, "fraud/1"), "", false); err != nil {
		t.Fatal(err)
	}
	must(r.RenameModel(ctx, "fraud", "froud"))(t)
	dest := filepath.Join(t.TempDir(), "then")
	got := must(r.Pull(ctx, client.Pull{Reference: ref(t, "fraud@production"), At: pedigree.At{Seq: &move.FromSeq}, Dest: dest}))(t)
	wantFolder(t, dest)
	if got.Number != 1 {
		t.Errorf("got %+v", got)
	}
}

// TestPullMoves moves the alias between the question and the files: they are those of
// one version.
func TestPullMoves(t *testing.T) {
	ctx := t.Context()
	r := pushed(t)
	must(r.SetAlias(ctx, ref(t, "fraud/1"), "production", nil, ""))(t)
	other := t.TempDir()
	write(t, other, map[string]string{"model.bin": "other"})
	must(r.Push(ctx, push("fraud", other)))(t)
	var once atomic.Bool
	r.wrap = func(next http.Handler, w http.ResponseWriter, req *http.Request) {
		next.ServeHTTP(w, req)
		if strings.HasSuffix(req.URL.Path, "/artifact") && once.CompareAndSwap(false, true) {
			if _, err := r.registrar.SetAlias(req.Context(), pedigree.Local, pedigree.Reference{Project: "default", Model: "fraud", Version: 2}, "production", nil, ""); err != nil {
				t.Error(err)
			}
		}
	}
	dest := filepath.Join(t.TempDir(), "model")
	must(r.Pull(ctx, client.Pull{Reference: ref(t, "fraud@production"), Dest: dest}))(t)
	wantFolder(t, dest)
}

// TestPullLosesConnections cuts every answer with a file short; the pull goes on where
// it was, and the folder is whole.
func TestPullLosesConnections(t *testing.T) {
	r := pushed(t)
	var requests, resumed atomic.Int64
	c := r.throughProxy(t, func(resp *http.Response) error {
		if strings.Contains(resp.Request.URL.Path, "/files/model.bin") {
			requests.Add(1)
			if resp.StatusCode == http.StatusPartialContent {
				resumed.Add(1)
			}
			resp.Body = &cutBody{resp.Body, 1_000_000, io.ErrUnexpectedEOF}
		}
		return nil
	})
	dest := filepath.Join(t.TempDir(), "model")
	must(c.Pull(t.Context(), client.Pull{Reference: ref(t, "fraud"), Dest: dest}))(t)
	wantFolder(t, dest)
	if requests.Load() != 4 || resumed.Load() != 3 {
		t.Errorf("%d requests, %d of them for the rest", requests.Load(), resumed.Load())
	}
}

// TestPullRefused holds servers and proxies that send something wrong: an error, and no
// folder.
func TestPullRefused(t *testing.T) {
	r := pushed(t)
	isFile := func(resp *http.Response) bool { return strings.Contains(resp.Request.URL.Path, "/files/model.bin") }
	edit := func(f func(a map[string]any)) func(resp *http.Response) error {
		return func(resp *http.Response) error {
			if !strings.HasSuffix(resp.Request.URL.Path, "/artifact") {
				return nil
			}
			var v map[string]any
			if err := json.NewDecoder(resp.Body).Decode(&v); err != nil {
				return err
			}
			f(v)
			b, err := json.Marshal(v)
			resp.Body, resp.ContentLength = io.NopCloser(bytes.NewReader(b)), int64(len(b))
			return err
		}
	}
	files := func(v map[string]any) []any { return v["artifact"].(map[string]any)["files"].([]any) }
	for _, tc := range []struct {
		name   string
		change func(resp *http.Response) error
		code   pedigree.ErrorCode
		text   string
	}{
		{"bytes of another file", func(resp *http.Response) error {
			if isFile(resp) {
				resp.Body = io.NopCloser(strings.NewReader(strings.Repeat("0123456789abcdeF", 200_000)))
			}
			return nil
		}, pedigree.CodeCorrupt, `the bytes of "model.bin" that the server sent have digest`},
		{"too many bytes", func(resp *http.Response) error {
			if isFile(resp) {
				resp.Body = io.NopCloser(io.MultiReader(resp.Body, strings.NewReader("more")))
			}
			return nil
		}, pedigree.CodeCorrupt, `the bytes of "model.bin"`},
		{"cut short without an error", func(resp *http.Response) error {
			if isFile(resp) {
				resp.Body = &cutBody{resp.Body, 1000, io.EOF}
			}
			return nil
		}, pedigree.CodeCorrupt, `the bytes of "model.bin"`},
		{"cut each time at once", func(resp *http.Response) error {
			if isFile(resp) {
				resp.Body = &cutBody{resp.Body, 0, io.ErrUnexpectedEOF}
			}
			return nil
		}, pedigree.CodeUnavailable, "was lost after 0 of 3200000 bytes"},
		{"a path that leaves", edit(func(v map[string]any) { files(v)[0].(map[string]any)["path"] = "../../evil" }), pedigree.CodeCorrupt, "leaves the artifact"},
		{"an absolute path", edit(func(v map[string]any) { files(v)[0].(map[string]any)["path"] = "/evil" }), pedigree.CodeCorrupt, "is absolute"},
		{"another path", edit(func(v map[string]any) { files(v)[0].(map[string]any)["path"] = "other" }), pedigree.CodeCorrupt, "list of files has digest"},
		{"a file less", edit(func(v map[string]any) { v["artifact"].(map[string]any)["files"] = files(v)[1:] }), pedigree.CodeCorrupt, "list of files has digest"},
		{"another digest", edit(func(v map[string]any) {
			v["resolved"].(map[string]any)["digest"] = "sha256:" + strings.Repeat("0", 64)
		}), pedigree.CodeCorrupt, "list of files has digest"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dest := filepath.Join(t.TempDir(), "model")
			_, err := r.throughProxy(t, tc.change).Pull(t.Context(), client.Pull{Reference: ref(t, "fraud"), Dest: dest})
			wantCode(t, err, tc.code)
			if !strings.Contains(err.Error(), tc.text) {
				t.Errorf("got %v, want %q", err, tc.text)
			}
			if _, err := os.Lstat(dest); err == nil {
				t.Error("there is a folder")
			}
			wantAlone(t, dest)
		})
	}

	// By digest, the server can't pass off another version either.
	found := must(r.Resolve(t.Context(), ref(t, "fraud"), now))(t)
	write(t, t.TempDir(), nil)
	other := t.TempDir()
	write(t, other, map[string]string{"x": "y"})
	must(r.Push(t.Context(), push("fraud", other)))(t)
	c := r.newClient(t, client.Config{HTTP: &http.Client{Transport: roundTripper(func(req *http.Request) (*http.Response, error) {
		req.URL.Path = strings.Replace(req.URL.Path, string(found.Digest), "2", 1)
		req.URL.RawPath = ""
		return http.DefaultTransport.RoundTrip(req)
	})}})
	_, err := c.Pull(t.Context(), client.Pull{Reference: pedigree.Reference{Model: "fraud", Digest: found.Digest}, Dest: filepath.Join(t.TempDir(), "x")})
	wantCode(t, err, pedigree.CodeCorrupt)
}

// TestPullDamaged asks for bytes that rotted or went in the server's store.
func TestPullDamaged(t *testing.T) {
	r := pushed(t)
	d := pedigree.DigestBytes([]byte(artifact["model.bin"]))
	path := filepath.Join(r.blobs, "sha256", d.Hex()[:2], d.Hex())
	dest := filepath.Join(t.TempDir(), "model")
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(strings.Repeat("?", len(artifact["model.bin"]))), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := r.Pull(t.Context(), client.Pull{Reference: ref(t, "fraud"), Dest: dest})
	wantCode(t, err, pedigree.CodeCorrupt)
	body, _, err := r.OpenFile(t.Context(), ref(t, "fraud"), "model.bin", now)
	if err != nil {
		t.Fatal(err)
	}
	_, err = io.Copy(io.Discard, body)
	wantCode(t, err, pedigree.CodeCorrupt)
	_ = body.Close()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	_, err = r.Pull(t.Context(), client.Pull{Reference: ref(t, "fraud"), Dest: dest})
	wantCode(t, err, pedigree.CodeGone)
}
