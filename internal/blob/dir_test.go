package blob_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/internal/blob"
	"github.com/pedigree-ml/pedigree/internal/blob/blobtest"
)

func TestDir(t *testing.T) {
	blobtest.Run(t, func(t *testing.T) blob.Store {
		s, path := mustOpenDir(t)
		t.Cleanup(func() { wantNoScratch(t, path) }) // after every test of the suite
		return s
	})
}

func mustOpenDir(t testing.TB) (*blob.Dir, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "data", "blobs")
	s, err := blob.OpenDir(path)
	if err != nil {
		t.Fatal(err)
	}
	return s, path
}

func wantNoScratch(t testing.TB, path string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(path, "tmp"))
	if err != nil {
		t.Error(err)
	}
	for _, e := range entries {
		t.Errorf("left behind: tmp/%s", e.Name())
	}
}

func fileOf(path string, d pedigree.Digest) string {
	return filepath.Join(path, "sha256", d.Hex()[:2], d.Hex())
}

func TestDirLayoutAndModes(t *testing.T) {
	s, path := mustOpenDir(t)
	d := blobtest.MustPut(t, s, []byte("hello"))
	if d != "sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824" {
		t.Fatalf("digest: got %s", d)
	}
	info, err := os.Stat(filepath.Join(path, "sha256", "2c", "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"))
	if err != nil {
		t.Fatal(err)
	}
	if runtime.GOOS == "windows" {
		return // it has no such modes
	}
	if got := info.Mode(); got != 0o400 {
		t.Errorf("mode of a blob: got %v, want -r--------", got)
	}
	for _, dir := range []string{".", "tmp", "sha256", "sha256/2c"} {
		info, err := os.Stat(filepath.Join(path, dir))
		if err != nil || info.Mode() != fs.ModeDir|0o700 {
			t.Errorf("mode of %s: got %v, %v, want drwx------", dir, info.Mode(), err)
		}
	}
}

func TestOpenDirAgain(t *testing.T) {
	s, path := mustOpenDir(t)
	d := blobtest.MustPut(t, s, []byte("hello"))
	again, err := blob.OpenDir(path)
	if err != nil {
		t.Fatal(err)
	}
	if got := blobtest.MustGet(t, again, d); string(got) != "hello" {
		t.Errorf("got %q, want hello", got)
	}
	// Each learns of the shards that the other made.
	for i := range 300 {
		one, other := s, again
		if i%2 == 1 {
			one, other = again, s
		}
		b, d := blobtest.Bytes(uint64(i), 10)
		if _, err := other.Stat(t.Context(), d); pedigree.CodeOf(err) != pedigree.CodeNotFound {
			t.Errorf("Stat before Put: got %v, want not found", err)
		}
		if err := other.Delete(t.Context(), d); err != nil {
			t.Errorf("Delete before Put: %v", err)
		}
		blobtest.MustPut(t, one, b)
		blobtest.MustPut(t, other, b)
	}
	wantNoScratch(t, path)
}

func TestOpenDirNotADirectory(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{path, filepath.Join(path, "below")} {
		if _, err := blob.OpenDir(path); err == nil {
			t.Errorf("OpenDir(%s): got no error", path)
		}
	}
}

func TestOpenDirSweepsOldScratch(t *testing.T) {
	_, path := mustOpenDir(t)
	tmp := filepath.Join(path, "tmp")
	for name, age := range map[string]time.Duration{"old": 25 * time.Hour, "young": 23 * time.Hour, "new": 0} {
		file := filepath.Join(tmp, name)
		if err := os.WriteFile(file, []byte("half a blob"), 0o600); err != nil {
			t.Fatal(err)
		}
		then := time.Now().Add(-age)
		if err := os.Chtimes(file, then, then); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := blob.OpenDir(path); err != nil {
		t.Fatal(err)
	}
	var got []string
	entries, err := os.ReadDir(tmp)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		got = append(got, e.Name())
	}
	if fmt.Sprint(got) != "[new young]" {
		t.Errorf("left: got %v, want [new young]", got)
	}
}

// A reader that panics, as an HTTP body may, leaves nothing behind and no goroutine
// that still writes.
func TestDirPanickingReader(t *testing.T) {
	s, path := mustOpenDir(t)
	for _, n := range []int{0, 10, 3<<20 + 1} {
		b, d := blobtest.Bytes(uint64(n), n)
		func() {
			defer func() {
				if got := recover(); got != "boom" {
					t.Errorf("recovered %v, want boom", got)
				}
			}()
			_ = s.Put(t.Context(), d, -1, io.MultiReader(bytes.NewReader(b), panicReader{}))
			t.Error("Put returned")
		}()
		wantNoScratch(t, path)
		if _, err := s.Stat(t.Context(), d); pedigree.CodeOf(err) != pedigree.CodeNotFound {
			t.Errorf("Stat: got %v, want not found", err)
		}
	}
}

type panicReader struct{}

func (panicReader) Read([]byte) (int, error) { panic("boom") }

// Files that are no blobs are neither listed nor in the way.
func TestDirForeignFiles(t *testing.T) {
	s, path := mustOpenDir(t)
	d := blobtest.MustPut(t, s, []byte("hello"))
	if err := os.Mkdir(filepath.Join(path, "sha256", "00"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"sha256/.DS_Store", "sha256/2c/notes.txt", "sha256/00/" + d.Hex(), "lost+found"} {
		if err := os.WriteFile(filepath.Join(path, name), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	_, sub := blobtest.Bytes(1, 1)
	if err := os.MkdirAll(fileOf(path, sub), 0o700); err != nil {
		t.Fatal(err)
	}
	var got []pedigree.Digest
	err := s.List(t.Context(), func(d pedigree.Digest, _ int64, _ time.Time) error {
		got = append(got, d)
		return nil
	})
	if err != nil || len(got) != 1 || got[0] != d {
		t.Errorf("List: got %v, %v, want just %s", got, err, d)
	}
	if _, err := s.Open(t.Context(), sub); err == nil {
		t.Error("Open of a directory: got no error")
	}
}

// Damage of the disk is found, told, and mended.
func TestDirDamage(t *testing.T) {
	for _, c := range []struct {
		name   string
		damage func([]byte) []byte
		mends  bool // by another Put alone: the size gives it away
	}{
		{"bit flipped", func(b []byte) []byte { b[len(b)/2] ^= 1; return b }, false},
		{"truncated", func(b []byte) []byte { return b[:len(b)-1] }, true},
		{"emptied", func([]byte) []byte { return nil }, true},
		{"longer", func(b []byte) []byte { return append(b, 0) }, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, path := mustOpenDir(t)
			b, _ := blobtest.Bytes(1, 2<<20)
			d := blobtest.MustPut(t, s, b)
			file := fileOf(path, d)
			if err := os.Chmod(file, 0o600); err != nil {
				t.Fatal(err)
			}
			bad := c.damage(bytes.Clone(b))
			if err := os.WriteFile(file, bad, 0o600); err != nil {
				t.Fatal(err)
			}
			err := blob.Verify(t.Context(), s, d)
			if pedigree.CodeOf(err) != pedigree.CodeCorrupt {
				t.Fatalf("Verify: got %v, want code %q", err, pedigree.CodeCorrupt)
			}
			for _, want := range []string{string(d), string(pedigree.DigestBytes(bad))} {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q does not name %s", err, want)
				}
			}
			if !c.mends {
				if err := s.Delete(t.Context(), d); err != nil {
					t.Fatal(err)
				}
			}
			blobtest.MustPut(t, s, b)
			if err := blob.Verify(t.Context(), s, d); err != nil {
				t.Errorf("Verify after another Put: %v", err)
			}
		})
	}
}

// A disk that went away must not look like a store without blobs.
func TestDirGone(t *testing.T) {
	s, path := mustOpenDir(t)
	b, d := blobtest.Bytes(1, 10)
	blobtest.MustPut(t, s, b)
	if err := os.Rename(path, path+".away"); err != nil {
		t.Fatal(err)
	}
	_, openErr := s.Open(t.Context(), d)
	_, statErr := s.Stat(t.Context(), d)
	for name, err := range map[string]error{
		"Open":   openErr,
		"Stat":   statErr,
		"Put":    s.Put(t.Context(), d, -1, bytes.NewReader(b)),
		"Delete": s.Delete(t.Context(), d),
		"List":   s.List(t.Context(), func(pedigree.Digest, int64, time.Time) error { return nil }),
	} {
		if pedigree.CodeOf(err) != pedigree.CodeUnavailable || strings.Contains(fmt.Sprint(err), path) {
			t.Errorf("%s: got %v (code %q), want code %q and no path", name, err, pedigree.CodeOf(err), pedigree.CodeUnavailable)
		}
	}
}

// A blob without the mark (its writer crashed before making it, or it was copied here
// from a backup) is whole like any other, and gets the mark from whoever meets it first.
func TestDirMarks(t *testing.T) {
	for name, meet := range map[string]func(*blob.Dir, context.Context, pedigree.Digest) error{
		"Stat": func(s *blob.Dir, ctx context.Context, d pedigree.Digest) error { _, err := s.Stat(ctx, d); return err },
		"Open": func(s *blob.Dir, ctx context.Context, d pedigree.Digest) error {
			f, err := s.Open(ctx, d)
			if err == nil {
				f.Close()
			}
			return err
		},
		"Put": func(s *blob.Dir, ctx context.Context, d pedigree.Digest) error {
			return s.Put(ctx, d, -1, panicReader{})
		},
		"List": func(s *blob.Dir, ctx context.Context, _ pedigree.Digest) error {
			return s.List(ctx, func(pedigree.Digest, int64, time.Time) error { return nil })
		},
	} {
		t.Run(name, func(t *testing.T) {
			s, path := mustOpenDir(t)
			d := blobtest.MustPut(t, s, []byte("hello"))
			if err := os.Chmod(fileOf(path, d), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := meet(s, t.Context(), d); err != nil {
				t.Fatal(err)
			}
			info, err := os.Stat(fileOf(path, d))
			if err != nil || info.Mode()&0o200 != 0 {
				t.Errorf("mode: got %v, %v, want it to be read-only", info.Mode(), err)
			}
		})
	}
}

// An error of the reader is the reader's, even when it looks like one of our disk.
func TestDirReaderErrorIsNotOurs(t *testing.T) {
	s, _ := mustOpenDir(t)
	_, d := blobtest.Bytes(1, 10)
	theirs := &fs.PathError{Op: "read", Path: "their file", Err: fs.ErrNotExist}
	err := s.Put(t.Context(), d, -1, errReader{theirs})
	if !errors.Is(err, theirs) || pedigree.CodeOf(err) != pedigree.CodeInternal {
		t.Errorf("got %v (code %q), want their error, unclassified", err, pedigree.CodeOf(err))
	}
}

type errReader struct{ err error }

func (r errReader) Read([]byte) (int, error) { return 0, r.err }
