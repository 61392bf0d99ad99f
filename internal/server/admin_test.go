package server_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/internal/config"
	"github.com/pedigree-ml/pedigree/internal/server"
)

// mustOpen opens a server that does not listen, as "pedigree admin" does.
func mustOpen(t *testing.T, cfg config.Config) *server.Server {
	t.Helper()
	srv, err := server.Open(t.Context(), cfg, quiet)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = srv.Close() })
	return srv
}

func TestRotateKeyFile(t *testing.T) {
	dir := t.TempDir()
	key := filepath.Join(dir, config.KeyFile)
	r := mustStart(t, config.Config{Data: dir})
	var public string
	for n := 1; n <= 2; n++ {
		old, err := os.ReadFile(key)
		if err != nil {
			t.Fatal(err)
		}
		if public, err = mustOpen(t, config.Config{Data: dir}).RotateKey(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		kept, err := os.ReadFile(key + ".old-" + string(rune('0'+n)))
		if err != nil || string(kept) != string(old) {
			t.Errorf("rotation %d: the old key was not kept (%v)", n, err)
		}
		// The server that runs signs with the new key, without being told.
		if _, err := r.Register(t.Context(), "fraud", registration("x")); err != nil {
			t.Fatal(err)
		}
		if report := mustVerify(t, r.Client); len(report.Keys) != n+1 || report.Keys[n].Key != public {
			t.Errorf("rotation %d: keys %v, want %s at the end", n, report.Keys, public)
		}
	}
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	mustVerify(t, mustStart(t, config.Config{Data: dir}).Client)
}

// TestRotateKeyCrash: the process dies after the log got the new key and before the file
// did.
func TestRotateKeyCrash(t *testing.T) {
	dir := t.TempDir()
	key := filepath.Join(dir, config.KeyFile)
	next := key + ".next"
	admin := mustOpen(t, config.Config{Data: dir})
	public, err := admin.RotateKey(t.Context(), func(private string) error { return os.WriteFile(next, []byte(private), 0o600) })
	if err != nil {
		t.Fatal(err)
	}
	if err := admin.Close(); err != nil {
		t.Fatal(err)
	}
	r := mustStart(t, config.Config{Data: dir})
	if report := mustVerify(t, r.Client); report.Keys[len(report.Keys)-1].Key != public {
		t.Errorf("keys %v, want %s at the end", report.Keys, public)
	}
	if _, err := os.Stat(next); !errors.Is(err, os.ErrNotExist) {
		t.Error("the rotation was not finished")
	}
	if _, err := os.Stat(key + ".old-1"); err != nil {
		t.Errorf("the old key was not kept: %v", err)
	}
}

// TestRotateKeyCrashBefore: the process dies after it wrote the new key and before the
// log heard of it. The old key counts, and the next rotation says what lies there.
func TestRotateKeyCrashBefore(t *testing.T) {
	dir := t.TempDir()
	if err := mustOpen(t, config.Config{Data: dir}).Close(); err != nil {
		t.Fatal(err)
	}
	next, _, err := server.NewKey("")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, config.KeyFile+".next"), []byte(next), 0o600); err != nil {
		t.Fatal(err)
	}
	r := mustStart(t, config.Config{Data: dir})
	mustVerify(t, r.Client)
	if _, err := r.RotateKey(t.Context(), nil); pedigree.CodeOf(err) != pedigree.CodeConflict || !strings.Contains(err.Error(), "remove that file") {
		t.Errorf("got %v, want a conflict that says what to do", err)
	}
}

func TestRotateKeyText(t *testing.T) {
	eachDatabase(t, func(t *testing.T, cfg config.Config) {
		if cfg.LogKey == "" {
			cfg.LogKey, _, _ = server.NewKey("")
		}
		srv := mustOpen(t, cfg)
		if _, err := srv.RotateKey(t.Context(), nil); pedigree.CodeOf(err) != pedigree.CodeInvalid || !strings.Contains(err.Error(), "--out") {
			t.Errorf("without a place for the key: got %v", err)
		}
		before := cfg.LogKey
		broken := errors.New("disk full")
		if _, err := srv.RotateKey(t.Context(), func(string) error { return broken }); !errors.Is(err, broken) {
			t.Errorf("got %v, want %v", err, broken)
		}
		if _, err := srv.RotateKey(t.Context(), func(private string) error { cfg.LogKey = private; return nil }); err != nil {
			t.Fatal(err)
		}
		if err := srv.Close(); err != nil {
			t.Fatal(err)
		}
		if report := mustVerify(t, mustStart(t, cfg).Client); len(report.Keys) != 2 {
			t.Errorf("the log has %d keys, want 2", len(report.Keys))
		}
		cfg.LogKey = before
		if _, err := server.Open(t.Context(), cfg, quiet); pedigree.CodeOf(err) != pedigree.CodeRefused {
			t.Errorf("the old key: got %v, want refused", err)
		}
	})
}

func TestRedactAndRebuild(t *testing.T) {
	eachDatabase(t, func(t *testing.T, cfg config.Config) {
		r := mustStart(t, cfg)
		reg := registration("x")
		reg.Description = "made by Ada"
		v, err := r.Client.Register(t.Context(), "fraud", reg)
		if err != nil {
			t.Fatal(err)
		}
		admin := mustOpen(t, cfg)
		seq := v.Seq
		entry, err := admin.Entry(t.Context(), seq)
		if err != nil || !strings.Contains(string(entry.Payload()["description"]), "Ada") {
			t.Fatalf("event %d: %v, %v", seq, entry.Payload(), err)
		}
		if _, err := admin.Redact(t.Context(), seq, []string{"artifact"}, "because"); err == nil {
			t.Error("structure was erased")
		}
		entry, err = admin.Redact(t.Context(), seq, []string{"description"}, "request 77")
		if err != nil || string(entry.Payload()["description"]) != "null" {
			t.Fatalf("after the erasure: %v, %v", entry.Payload(), err)
		}
		var done, size int64
		if err := admin.Rebuild(t.Context(), func(d, s int64) { done, size = d, s }); err != nil {
			t.Fatal(err)
		}
		report := mustVerify(t, r.Client)
		if report.Erased != 1 || done != size || size != report.Size {
			t.Errorf("%d fields erased, %d of %d events rebuilt, the log has %d", report.Erased, done, size, report.Size)
		}
		got, err := r.Version(t.Context(), pedigree.Reference{Model: "fraud", Version: 1}, pedigree.At{})
		if err != nil || got.Description != "" {
			t.Errorf("the version still says %q (%v)", got.Description, err)
		}
		for _, seq := range []int64{-1, 999} {
			if _, err := admin.Entry(t.Context(), seq); pedigree.CodeOf(err) != pedigree.CodeNotFound {
				t.Errorf("event %d: got %v, want not found", seq, err)
			}
		}
	})
}
