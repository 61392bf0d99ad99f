package server_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pedigree-ml/pedigree/internal/config"
)

// The suites of testdata/mlflow drive the real MLflow package. They need Pythons that
// have it: PEDIGREE_TEST_MLFLOW is one, of MLflow 3.17, whose server gives the expected
// answers too; PEDIGREE_TEST_MLFLOW2, of MLflow 2.22, is another client.
const (
	mlflow3 = "PEDIGREE_TEST_MLFLOW"
	mlflow2 = "PEDIGREE_TEST_MLFLOW2"
)

// python returns the interpreter that a variable names. Without one it skips the test,
// or fails it where CI is set.
func python(t *testing.T, variable string) string {
	t.Helper()
	path := os.Getenv(variable)
	if path == "" {
		message := variable + " is not set: it names a python in whose environment MLflow is installed"
		if os.Getenv("CI") != "" {
			t.Fatal(message)
		}
		t.Skip(message)
	}
	return path
}

// TestMLflowSuites runs each suite against the built program and against MLflow's own
// server, and compares the answers, step by step.
func TestMLflowSuites(t *testing.T) {
	if testing.Short() {
		t.Skip("the real MLflow takes minutes")
	}
	three := python(t, mlflow3)
	deviations := readDeviations(t)
	for _, client := range []struct {
		name, python string
		suites       []string
	}{
		{"3", three, []string{"registry", "tracking", "flows", "workspaces", "webhooks"}},
		{"2", python(t, mlflow2), []string{"registry", "tracking", "flows"}},
	} {
		for _, suite := range client.suites {
			t.Run(client.name+"/"+suite, func(t *testing.T) {
				t.Parallel() // each spends most of its time in Python, starting
				var flags []string
				if suite == "workspaces" {
					flags = append(flags, "--enable-workspaces")
				}
				want := runSuite(t, client.python, suite, startMLflow(t, three, flags...))
				eachDatabase(t, func(t *testing.T, cfg config.Config) {
					cfg.WebhookAllow = "127.0.0.1"
					p := mustServe(t, cfg)
					got := runSuite(t, client.python, suite, p.url, "PEDIGREE="+mustBuild(t))
					compareSteps(t, suite, got, want, deviations)
					if check := checksOfSuites[suite]; check != nil {
						check(t, p)
					}
					mustEnd(t, p)
				})
			})
		}
	}
}

// mustEnd tells a server to stop, which it must do of its own accord and without having
// logged a failure.
func mustEnd(t *testing.T, p *process) {
	t.Helper()
	if runtime.GOOS == "windows" { // has no signal to send to another process
		_ = p.cmd.Process.Kill()
		_ = p.cmd.Wait()
		return
	}
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	<-p.said
	if err := p.cmd.Wait(); err != nil {
		t.Errorf("the server ended with %v", err)
	}
	for line := range strings.Lines(p.log.String()) {
		if strings.Contains(line, "ERROR") && !strings.Contains(line, "status=501") { // which says what is not offered
			t.Errorf("the server logged: %s", line)
		}
	}
}

// readDeviations reads which steps differ from MLflow's own answers, and why.
func readDeviations(t *testing.T) map[string]bool {
	t.Helper()
	b, err := os.ReadFile("../../testdata/mlflow/deviations.txt")
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]bool{}
	for line := range strings.Lines(string(b)) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		step, _, ok := strings.Cut(line, " — ")
		if !ok {
			t.Fatalf("deviation %q: want SUITE: STEP — REASON", line)
		}
		out[step] = true
	}
	return out
}

// answered is the answer of one step.
type answered struct{ step, line string }

// runSuite runs a suite against a server, with more variables in its environment, and
// returns its answers.
func runSuite(t *testing.T, python, suite, url string, env ...string) []answered {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, python, suite+".py")
	cmd.Dir = "../../testdata/mlflow"
	cmd.Env = append(env, mlflowEnv("MLFLOW_TRACKING_URI="+url, "MLFLOW_HTTP_REQUEST_MAX_RETRIES=0", "HOME="+t.TempDir(), "PYTHONDONTWRITEBYTECODE=1",
		"PATH="+filepath.Dir(python)+string(os.PathListSeparator)+os.Getenv("PATH"))...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s", suite, err, tail(stderr.String()))
	}
	var steps []answered
	lines := bufio.NewScanner(bytes.NewReader(out))
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var s struct{ Step string }
		if err := json.Unmarshal(lines.Bytes(), &s); err != nil || s.Step == "" {
			continue // what a library prints by itself
		}
		steps = append(steps, answered{s.Step, lines.Text()})
	}
	if len(steps) == 0 {
		t.Fatalf("%s printed no step\n%s", suite, tail(stderr.String()))
	}
	return steps
}

// mlflowEnv is the environment of every MLflow process: nothing of the machine's own
// settings, and no calls home.
func mlflowEnv(more ...string) []string {
	env := []string{"MLFLOW_DISABLE_TELEMETRY=true", "DO_NOT_TRACK=true", "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT=true", "GIT_PYTHON_REFRESH=quiet", "PYTHONWARNINGS=ignore"}
	for _, kv := range os.Environ() {
		if name, _, _ := strings.Cut(kv, "="); !strings.HasPrefix(name, "MLFLOW_") && name != "HOME" && name != "PATH" {
			env = append(env, kv)
		}
	}
	return append(env, more...)
}

func tail(s string) string {
	const most = 4000
	if len(s) > most {
		s = "…" + s[len(s)-most:]
	}
	return s
}

// compareSteps compares the answers of two servers.
func compareSteps(t *testing.T, suite string, got, want []answered, deviations map[string]bool) {
	t.Helper()
	for i := range max(len(got), len(want)) {
		if i >= len(got) || i >= len(want) || got[i].step != want[i].step {
			t.Fatalf("after %d steps the two runs go different ways", i)
		}
		key := suite + ": " + got[i].step
		switch differ := got[i].line != want[i].line; {
		case differ && !deviations[key]:
			t.Errorf("%s\n  Pedigree: %s\n  MLflow:   %s", key, tail(got[i].line), tail(want[i].line))
		case !differ && deviations[key]:
			t.Errorf("%s is no deviation any more: take it out of deviations.txt", key)
		}
	}
}

// startMLflow starts MLflow's own server on an empty database and returns its URL. It
// ends with the test.
func startMLflow(t *testing.T, python string, flags ...string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	_ = l.Close()
	dir := t.TempDir()
	cmd := exec.Command(python, append([]string{
		"-m", "mlflow", "server", "--host", "127.0.0.1", "--port", fmt.Sprint(port), "--workers", "1",
		"--backend-store-uri", "sqlite:///" + dir + "/mlflow.db", "--artifacts-destination", dir + "/artifacts",
	}, flags...)...)
	cmd.Dir = dir
	cmd.Env = mlflowEnv("MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false", "MLFLOW_WEBHOOK_ALLOWED_SCHEMES=http,https", "MLFLOW_WEBHOOK_ALLOW_PRIVATE_IPS=true", "HOME="+dir, "PATH="+filepath.Dir(python)+string(os.PathListSeparator)+os.Getenv("PATH"))
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	endTogether(cmd)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	t.Cleanup(func() { stopTogether(cmd); <-ended })
	url := fmt.Sprintf("http://127.0.0.1:%d", port)
	deadline := time.After(10 * time.Minute) // a busy machine needs minutes to import it
	for {
		if r, err := http.Get(url + "/health"); err == nil {
			_ = r.Body.Close()
			return url
		}
		select {
		case <-ended:
			t.Fatalf("mlflow server ended:\n%s", tail(log.String()))
		case <-deadline:
			t.Fatalf("mlflow server does not answer:\n%s", tail(log.String()))
		case <-time.After(200 * time.Millisecond):
		}
	}
}
