//go:build unix

package cli

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/pedigree-ml/pedigree"
)

// job is "pedigree exec" of a shell script at the target of w.
func (w *syncWorld) job(script string) (*exec.Cmd, *bytes.Buffer) {
	cmd := exec.Command("pedigree", "exec", "--target", string(syncTarget), "--", "sh", "-c", script)
	cmd.Env = append(os.Environ(), "HOME="+w.home, "PEDIGREE_URL="+w.url)
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	return cmd, &said
}

func (w *syncWorld) executions(t *testing.T) []pedigree.Execution {
	t.Helper()
	list, err := w.TargetExecutions(t.Context(), syncTarget, pedigree.Page{}, pedigree.At{})
	if err != nil {
		t.Fatal(err)
	}
	return list.Items
}

func exitOf(t *testing.T, err error) int {
	t.Helper()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	if exit == nil {
		return 0
	}
	return exit.ExitCode()
}

// TestExecPassesSignals: the command decides what a signal means, and how it ended is
// recorded although the program was told to end, too.
func TestExecPassesSignals(t *testing.T) {
	w := mustSyncWorld(t, 1, 1<<10)
	w.mustDeploy(t, 1)
	ready := filepath.Join(t.TempDir(), "ready")
	cmd, said := w.job(`trap 'echo "{\"name\": \"half\"}" > "$PEDIGREE_OUTPUTS"; exit 9' TERM; touch ` + ready + `; while :; do sleep 0.05; done`)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the command runs", func() bool { _, err := os.Stat(ready); return err == nil })
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if code := exitOf(t, cmd.Wait()); code != 9 {
		t.Errorf("exit code %d, want 9\n%s", code, said)
	}
	all := w.executions(t)
	if len(all) != 1 || all[0].Exit == nil || *all[0].Exit != 9 || len(all[0].Outputs) != 1 || all[0].Outputs[0].Name != "half" {
		t.Errorf("recorded: %+v", all)
	}
}

// TestExecKeepsItsReport: where the registry is away when the job ends, its end is kept, and
// recorded by the next one.
func TestExecKeepsItsReport(t *testing.T) {
	start := restartable(t)
	url, stop := start()
	t.Cleanup(func() { stop() })
	w := mustFill(t, url, 1, 1<<10)
	w.mustDeploy(t, 1)
	dir := t.TempDir()
	ready, leave := filepath.Join(dir, "ready"), filepath.Join(dir, "leave")
	cmd, said := w.job("touch " + ready + "; while ! test -e " + leave + "; do sleep 0.05; done; exit 3")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the command runs", func() bool { _, err := os.Stat(ready); return err == nil })
	stop()
	if err := os.WriteFile(leave, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if code := exitOf(t, cmd.Wait()); code != 3 {
		t.Errorf("exit code %d, want 3", code)
	}
	if !strings.Contains(said.String(), "is not recorded yet") {
		t.Errorf("it said\n%s", said)
	}
	_, stop = start()
	if all := w.executions(t); len(all) != 1 || all[0].Exit != nil {
		t.Fatalf("recorded: %+v", all)
	}
	for range 2 { // what was sent is not sent again
		cmd, said := w.job("true")
		if code := exitOf(t, cmd.Run()); code != 0 {
			t.Errorf("exit code %d\n%s", code, said)
		}
	}
	all := w.executions(t)
	if len(all) != 3 || all[2].Exit == nil || *all[2].Exit != 3 {
		t.Errorf("recorded: %+v", all)
	}
	if left, _ := filepath.Glob(filepath.Join(w.home, ".local/state/pedigree/executions/*")); len(left) != 0 {
		t.Errorf("still kept: %v", left)
	}
}
