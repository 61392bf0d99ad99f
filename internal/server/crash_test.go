package server_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/client"
	"github.com/pedigree-ml/pedigree/internal/config"
	"github.com/pedigree-ml/pedigree/internal/pgtest"
	"github.com/pedigree-ml/pedigree/internal/server"
)

// binary is the program, built once for the tests that need a process to kill.
var binary struct {
	once sync.Once
	dir  string
	err  error
}

func TestMain(m *testing.M) {
	code := m.Run()
	if binary.dir != "" {
		_ = os.RemoveAll(binary.dir)
	}
	os.Exit(code)
}

func mustBuild(t *testing.T) string {
	t.Helper()
	binary.once.Do(func() {
		if binary.dir, binary.err = os.MkdirTemp("", "pedigree-binary"); binary.err != nil {
			return
		}
		build := exec.Command("go", "build", "-o", binary.dir+string(filepath.Separator), "../../cmd/pedigree")
		if out, err := build.CombinedOutput(); err != nil {
			binary.err = fmt.Errorf("%w\n%s", err, out)
		}
	})
	if binary.err != nil {
		t.Fatal(binary.err)
	}
	matches, _ := filepath.Glob(filepath.Join(binary.dir, "pedigree*"))
	if len(matches) != 1 {
		t.Fatalf("built %v", matches)
	}
	return matches[0]
}

// process is a running "pedigree serve".
type process struct {
	cmd *exec.Cmd
	url string
	// said is closed once all that it wrote is in log.
	said chan struct{}
	log  *strings.Builder
}

// mustServe starts the binary and waits until it says that it is ready.
func mustServe(t *testing.T, cfg config.Config) *process {
	t.Helper()
	cmd := exec.Command(mustBuild(t), "serve", "--addr", "127.0.0.1:0", "--data", cfg.Data, "--log-level", "error")
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + cfg.Data, "PEDIGREE_DATABASE=" + cfg.Database, "PEDIGREE_LOG_KEY=" + cfg.LogKey, "PEDIGREE_WEBHOOK_ALLOW=" + cfg.WebhookAllow}
	if root := os.Getenv("SYSTEMROOT"); root != "" {
		cmd.Env = append(cmd.Env, "SYSTEMROOT="+root)
	}
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	lines := bufio.NewReader(stderr)
	var said strings.Builder
	for {
		line, err := lines.ReadString('\n')
		said.WriteString(line)
		if rest, ok := strings.CutPrefix(line, "pedigree is ready: "); ok {
			url, _, _ := strings.Cut(rest, " ")
			p := &process{cmd: cmd, url: url, said: make(chan struct{}), log: &strings.Builder{}}
			go func() { _, _ = io.Copy(p.log, lines); close(p.said) }()
			return p
		}
		if err != nil {
			t.Fatalf("the server did not start: %v\n%s", err, said.String())
		}
	}
}

// TestTerminate: a server that is told to stop does so, says that all is well, and leaves
// nothing behind that says it runs. It then starts on the same address at once.
func TestTerminate(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows has no signal to send to another process")
	}
	cfg := config.Config{Data: t.TempDir()}
	p := mustServe(t, cfg)
	until(func() bool { _, ok := server.FindRunning(t.Context(), cfg.Data); return ok })
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Wait(); err != nil {
		t.Errorf("the server ended with %v", err)
	}
	if _, err := os.Stat(filepath.Join(cfg.Data, config.ServerFile)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the server file is still there (%v)", err)
	}
	cfg.Addr = strings.TrimPrefix(p.url, "http://")
	mustStart(t, cfg)
}

// acknowledged is a version that the server said it had registered.
type acknowledged struct {
	ref   pedigree.Reference
	owner string
	seq   int64
	bytes string // of its one file, "" for a version without
}

// TestKillUnderLoad kills the server at random moments while clients register and push,
// again and again on the same registry, and then looks for everything that it had
// acknowledged.
func TestKillUnderLoad(t *testing.T) {
	for name, cfg := range map[string]func(t *testing.T) config.Config{
		"SQLite": func(t *testing.T) config.Config { return config.Config{Data: t.TempDir()} },
		"Postgres": func(t *testing.T) config.Config {
			key, _, err := server.NewKey("")
			if err != nil {
				t.Fatal(err)
			}
			return config.Config{Data: t.TempDir(), Database: pgtest.Database(t), LogKey: key}
		},
	} {
		t.Run(name, func(t *testing.T) { killUnderLoad(t, cfg(t), 15) })
	}
}

func killUnderLoad(t *testing.T, cfg config.Config, rounds int) {
	var all []acknowledged
	for round := range rounds {
		p := mustServe(t, cfg)
		all = append(all, loadUntilKilled(t, p, round)...)
	}
	r := mustStart(t, cfg) // and the last start finds everything
	report := mustVerify(t, r.Client)
	for _, a := range all {
		v, err := r.Version(t.Context(), a.ref, pedigree.At{})
		if err != nil || v.Record.Owner != a.owner || v.Seq != a.seq {
			t.Errorf("%s was acknowledged as event %d of %s: now it is event %d of %q (%v)", a.ref, a.seq, a.owner, v.Seq, v.Record.Owner, err)
			continue
		}
		if a.bytes == "" {
			continue
		}
		checks, err := r.VerifyVersion(t.Context(), a.ref, pedigree.At{})
		if err != nil || len(checks) == 0 {
			t.Errorf("%s: its bytes can't be verified: %v", a.ref, err)
		}
		for _, c := range checks {
			if c.Problem != "" {
				t.Errorf("%s: %+v", a.ref, c)
			}
		}
	}
	if err := r.Rebuild(t.Context(), nil); err != nil {
		t.Errorf("rebuild: %v", err)
	}
	t.Logf("%d rounds, %d versions acknowledged, %d events in the log", rounds, len(all), report.Size)
	if len(all) < rounds {
		t.Errorf("only %d versions were acknowledged: the test tests nothing", len(all))
	}
}

// loadUntilKilled lets clients register until a random number of versions was
// acknowledged, kills the server, and returns what was acknowledged.
func loadUntilKilled(t *testing.T, p *process, round int) []acknowledged {
	t.Helper()
	c, err := client.New(client.Config{URL: p.url, Retries: -1})
	if err != nil {
		t.Fatal(err)
	}
	fatal := rand.Int64N(120) + 1 // so many, and the server dies
	var count atomic.Int64
	var kill sync.Once
	results := make([][]acknowledged, 8)
	var wg sync.WaitGroup
	for n := range results {
		dir := t.TempDir()
		wg.Go(func() {
			for k := 0; ; k++ {
				a, err := registerOne(t.Context(), c, dir, n, fmt.Sprintf("user:%d-%d-%d", round, n, k))
				if err != nil {
					if code := pedigree.CodeOf(err); code != pedigree.CodeUnavailable && code != pedigree.CodeInternal {
						t.Errorf("client %d: %v", n, err) // the server is there, and says no
					}
					return
				}
				results[n] = append(results[n], a)
				if count.Add(1) >= fatal {
					kill.Do(func() { _ = p.cmd.Process.Kill() })
				}
			}
		})
	}
	wg.Wait()
	kill.Do(func() {
		t.Error("the server died before it was killed")
		_ = p.cmd.Process.Kill()
	})
	_ = p.cmd.Wait()
	var all []acknowledged
	for _, r := range results {
		all = append(all, r...)
	}
	return all
}

// registerOne registers a version, every third with a file of its own.
func registerOne(ctx context.Context, c *client.Client, dir string, n int, owner string) (acknowledged, error) {
	model := pedigree.Name(fmt.Sprintf("model-%d", n%3))
	reg := registration(owner)
	a := acknowledged{owner: owner}
	var v pedigree.Registered
	var err error
	if n%3 == 0 {
		path := filepath.Join(dir, "model.bin")
		if err := os.WriteFile(path, []byte(owner), 0o600); err != nil {
			return a, err
		}
		var pushed client.Pushed
		pushed, err = c.Push(ctx, client.Push{Model: model, Path: path, Registration: reg})
		v, a.bytes = pushed.Registered, owner
	} else {
		v, err = c.Register(ctx, model, reg)
	}
	if err != nil {
		return a, err
	}
	a.ref, a.seq = pedigree.Reference{Model: model, Version: v.Number}, v.Seq
	return a, nil
}
