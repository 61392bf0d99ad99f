package server_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/client"
	"github.com/pedigree-ml/pedigree/internal/config"
	"github.com/pedigree-ml/pedigree/internal/pgtest"
	"github.com/pedigree-ml/pedigree/internal/server"
)

// TestReadiness: a server finds by itself that the way back of a protected target is shut,
// where a stored file of what it would restore is damaged, and says so everywhere: in the
// status, as an event, as a metric. A rollback stops then, unless it is overridden.
func TestReadiness(t *testing.T) {
	t.Run("sqlite", func(t *testing.T) { testReadiness(t, config.Config{}) })
	t.Run("postgres", func(t *testing.T) {
		key, _, err := server.NewKey("")
		if err != nil {
			t.Fatal(err)
		}
		testReadiness(t, config.Config{Database: pgtest.Database(t), LogKey: key})
	})
}

func testReadiness(t *testing.T, cfg config.Config) {
	ctx := t.Context()
	cfg.Data, cfg.ReadinessInterval = t.TempDir(), 100*time.Millisecond
	s := mustStart(t, cfg)
	target := pedigree.TargetName("prod/fraud-api")
	if _, err := s.CreateTarget(ctx, target, pedigree.TargetSpec{Kind: pedigree.TargetOnline, Protected: true}); err != nil {
		t.Fatal(err)
	}
	var digests []pedigree.Digest
	for _, content := range []string{"the first model", "the second one"} {
		path := filepath.Join(t.TempDir(), "model.bin")
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		v, err := s.Push(ctx, client.Push{Model: "fraud", Path: path, Registration: pedigree.Registration{CreateModel: true}})
		if err != nil {
			t.Fatal(err)
		}
		digests = append(digests, pedigree.DigestBytes([]byte(content)))
		ref := pedigree.Reference{Project: "default", Model: "fraud", Version: v.Number}
		if _, err := s.Deploy(ctx, ref, target, pedigree.Deploy{Image: "registry.example.org/serve:1"}, nil); err != nil {
			t.Fatal(err)
		}
	}
	status := func() *pedigree.Readiness {
		st, err := s.TargetStatus(ctx, target, pedigree.At{})
		if err != nil {
			t.Fatal(err)
		}
		return st.Rollback
	}
	metric := func(line string) func() bool {
		return func() bool { return strings.Contains(mustGet(t, s.url+"/metrics").body, line) }
	}
	until(func() bool { r := status(); return r != nil && r.Ready && r.Version == "fraud/1" })
	until(metric(`pedigree_target_rollback_ready{project="default",target="prod/fraud-api"} 1`))
	if !metric(`pedigree_target_deployed_info{model="fraud",project="default",target="prod/fraud-api",version="2"} 1`)() {
		t.Error("no metric says what is deployed")
	}
	damage(t, cfg.Data, digests[0])
	until(func() bool { return !status().Ready })
	until(metric(`pedigree_target_rollback_ready{project="default",target="prod/fraud-api"} 0`))
	if checks := status().Checks; len(checks) == 0 || !strings.Contains(checks[0].Message, "damaged") {
		t.Errorf("the checks say %+v", checks)
	}
	events, err := s.Events(ctx, pedigree.EventQuery{Types: []pedigree.EventType{pedigree.TargetReadiness}, After: -1})
	if err != nil {
		t.Fatal(err)
	}
	var said []string
	for _, e := range events.Items {
		said = append(said, string(e.Payload()["ready"]))
	}
	// At first there was nothing to go back to, unless both were deployed between two looks.
	if got := strings.Join(said, " "); got != "false true false" && got != "false" {
		t.Errorf("the log says ready: %s", got)
	}
	_, err = s.Rollback(ctx, target, pedigree.Rollback{Reason: "it is slow"})
	if pedigree.CodeOf(err) != pedigree.CodeRefused || !strings.Contains(err.Error(), "damaged") {
		t.Errorf("a rollback to damaged bytes: %v", err)
	}
	d, err := s.Rollback(ctx, target, pedigree.Rollback{Reason: "it is slow", Overrides: []pedigree.Override{{Name: pedigree.CheckBytes, Reason: "the service has its own copy"}}})
	if err != nil || d.Version != 1 || d.State != pedigree.DeploymentActive {
		t.Errorf("an overridden rollback: %+v, %v", d, err)
	}
	// Nothing is deployed any more: there is no way back to tell of.
	if _, err := s.EndDeployment(ctx, d.ID, "retired"); err != nil {
		t.Fatal(err)
	}
	until(func() bool { return status() == nil })
}

// damage changes a byte of a stored file.
func damage(t *testing.T, data string, d pedigree.Digest) {
	t.Helper()
	name := filepath.Join(data, config.BlobFolder, "sha256", d.Hex()[:2], d.Hex())
	content, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	content[0] ^= 1
	if err := os.Chmod(name, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, content, 0o600); err != nil {
		t.Fatal(err)
	}
}
