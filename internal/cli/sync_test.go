//go:build unix

package cli

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/client"
	"github.com/pedigree-ml/pedigree/internal/config"
	"github.com/pedigree-ml/pedigree/internal/server"
)

// syncWorld is a server with a target, and versions of a model to deploy there.
type syncWorld struct {
	*client.Client
	url, home string
	// versions are the files of each version, by number.
	versions map[pedigree.VersionNumber]map[string]pedigree.Digest
}

const syncTarget = pedigree.TargetName("prod/fraud-api")

func mustSyncWorld(t *testing.T, versions, size int) *syncWorld {
	t.Helper()
	url, _, err := serve(t.TempDir(), t.Cleanup, "")
	if err != nil {
		t.Fatal(err)
	}
	return mustFill(t, url, versions, size)
}

func mustFill(t *testing.T, url string, versions, size int) *syncWorld {
	t.Helper()
	w := &syncWorld{url: url, home: t.TempDir(), versions: map[pedigree.VersionNumber]map[string]pedigree.Digest{}}
	var err error
	if w.Client, err = client.New(client.Config{URL: url}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.CreateTarget(t.Context(), syncTarget, pedigree.TargetSpec{Kind: pedigree.TargetOnline}); err != nil {
		t.Fatal(err)
	}
	for range versions {
		dir := t.TempDir()
		files := map[string]pedigree.Digest{}
		for _, name := range []string{"a.bin", "b.bin", "c/d.bin"} {
			content := make([]byte, size)
			for i := range content {
				content[i] = byte(rand.Int())
			}
			if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
				t.Fatal(err)
			}
			files[name] = pedigree.DigestBytes(content)
		}
		v, err := w.Push(t.Context(), client.Push{Model: "fraud", Path: dir, Registration: pedigree.Registration{CreateModel: true}})
		if err != nil {
			t.Fatal(err)
		}
		w.versions[v.Number] = files
	}
	return w
}

func (w *syncWorld) mustDeploy(t *testing.T, n pedigree.VersionNumber) {
	t.Helper()
	if _, err := w.Deploy(t.Context(), pedigree.Reference{Model: "fraud", Version: n}, syncTarget, pedigree.Deploy{}, nil); err != nil {
		t.Fatal(err)
	}
}

// command is "pedigree sync" of the target to dest, at a URL.
func (w *syncWorld) command(url, dest string, flags ...string) (*exec.Cmd, *bytes.Buffer) {
	cmd := exec.Command("pedigree", append([]string{"sync", "target:" + string(syncTarget), dest, "--instance", "pod-1"}, flags...)...)
	cmd.Env = append(os.Environ(), "HOME="+w.home, "PEDIGREE_URL="+url)
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	return cmd, &said
}

func (w *syncWorld) mustSync(t *testing.T, url, dest string, flags ...string) string {
	t.Helper()
	cmd, said := w.command(url, dest, flags...)
	if err := cmd.Run(); err != nil {
		t.Fatalf("sync: %v\n%s", err, said)
	}
	return said.String()
}

// current says which version a folder holds; it fails where what is current is not one
// whole version. It is 0 where nothing is.
func (w *syncWorld) current(t *testing.T, dest string) pedigree.VersionNumber {
	t.Helper()
	dir, err := filepath.EvalSymlinks(filepath.Join(dest, "current"))
	if errors.Is(err, fs.ErrNotExist) {
		return 0
	}
	if err != nil {
		t.Fatal(err)
	}
	for n, files := range w.versions {
		same := 0
		for name, digest := range files {
			content, err := os.ReadFile(filepath.Join(dir, name))
			if err == nil && pedigree.DigestBytes(content) == digest {
				same++
			}
		}
		if same == len(files) {
			return n
		}
	}
	t.Fatalf("%s holds no whole version", dir)
	return 0
}

// TestSyncKilled: whenever sync is killed, what is current is one whole version, and the
// next sync makes what is desired current and leaves nothing half done behind.
func TestSyncKilled(t *testing.T) {
	w := mustSyncWorld(t, 3, 2<<20)
	dest := filepath.Join(t.TempDir(), "fraud")
	seen := map[pedigree.VersionNumber]int{}
	rounds := 24
	if testing.Short() {
		rounds = 6
	}
	for i := range rounds {
		w.mustDeploy(t, pedigree.VersionNumber(i%3+1))
		cmd, _ := w.command(w.url, dest, "--keep", "1", "--interval", "50ms")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(rand.N(700 * time.Millisecond))
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		seen[w.current(t, dest)]++
	}
	w.mustDeploy(t, 2)
	w.mustSync(t, w.url, dest, "--keep", "1")
	if n := w.current(t, dest); n != 2 {
		t.Errorf("version %d is current, want 2", n)
	}
	entries, err := os.ReadDir(filepath.Join(dest, "versions"))
	if err != nil || len(entries) != 2 { // the folder and its pointer
		t.Errorf("left behind: %v, %v", entries, err)
	}
	t.Logf("current after each kill: %v", seen)
}

// TestSyncTidies: what a killed fetch of another version left behind goes once the registry
// says that what is current is what should be.
func TestSyncTidies(t *testing.T) {
	w := mustSyncWorld(t, 1, 1<<10)
	w.mustDeploy(t, 1)
	dest := filepath.Join(t.TempDir(), "fraud")
	w.mustSync(t, w.url, dest)
	if err := os.Mkdir(filepath.Join(dest, "versions", ".pedigree-half"), 0o777); err != nil {
		t.Fatal(err)
	}
	w.mustSync(t, w.url, dest)
	entries, err := os.ReadDir(filepath.Join(dest, "versions"))
	if err != nil || len(entries) != 2 { // the folder and its pointer
		t.Errorf("left behind: %v, %v", entries, err)
	}
}

// TestSyncResumes: a fetch that was killed goes on where it was, file by file and byte by
// byte.
func TestSyncResumes(t *testing.T) {
	w := mustSyncWorld(t, 1, 4<<20)
	w.mustDeploy(t, 1)
	target, err := url.Parse(w.url)
	if err != nil {
		t.Fatal(err)
	}
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target); r.Out.Host = target.Host }}
	var healthy atomic.Bool
	var sent atomic.Int64
	stuck := make(chan struct{}, 8)
	front := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if !strings.Contains(r.URL.Path, "/files/") {
			proxy.ServeHTTP(rw, r)
			return
		}
		counted := &cutWriter{ResponseWriter: rw, sent: &sent, ctx: r.Context()}
		if !healthy.Load() {
			counted.most, counted.stuck = 1<<20, stuck
		}
		proxy.ServeHTTP(counted, r)
	}))
	t.Cleanup(front.Close)
	dest := filepath.Join(t.TempDir(), "fraud")
	cmd, said := w.command(front.URL, dest)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		<-stuck
	}
	time.Sleep(100 * time.Millisecond) // what was sent is received
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	if n := w.current(t, dest); n != 0 {
		t.Errorf("version %d is current; %s", n, said)
	}
	healthy.Store(true)
	sent.Store(0)
	w.mustSync(t, front.URL, dest)
	if n := w.current(t, dest); n != 1 {
		t.Errorf("version %d is current", n)
	}
	if n := sent.Load(); n > 3*(4<<20)-3*(1<<20)+64<<10 {
		t.Errorf("%d bytes were sent again; 3 MiB of 12 had come", n)
	}
}

// cutWriter counts what it sends, and stops after most bytes until its client is gone.
type cutWriter struct {
	http.ResponseWriter
	sent  *atomic.Int64
	most  int
	stuck chan<- struct{}
	ctx   context.Context
}

func (c *cutWriter) Write(p []byte) (int, error) {
	if c.stuck != nil && len(p) >= c.most {
		n, _ := c.ResponseWriter.Write(p[:c.most])
		_ = http.NewResponseController(c.ResponseWriter).Flush()
		c.stuck <- struct{}{}
		<-c.ctx.Done()
		return n, c.ctx.Err()
	}
	c.most -= len(p)
	n, err := c.ResponseWriter.Write(p)
	c.sent.Add(int64(n))
	return n, err
}

// TestSyncKilledBeforeItTold: one that was killed after the link was replaced and before the
// command had run tells the next time.
func TestSyncKilledBeforeItTold(t *testing.T) {
	w := mustSyncWorld(t, 1, 1<<10)
	w.mustDeploy(t, 1)
	dest, told := filepath.Join(t.TempDir(), "fraud"), filepath.Join(t.TempDir(), "told")
	cmd, _ := w.command(w.url, dest, "--exec", "kill -9 $PPID")
	if err := cmd.Run(); err == nil {
		t.Error("sync was not killed")
	}
	if n := w.current(t, dest); n != 1 {
		t.Errorf("version %d is current", n)
	}
	for range 2 {
		w.mustSync(t, w.url, dest, "--exec", "echo told >> "+told)
	}
	if text, err := os.ReadFile(told); string(text) != "told\n" {
		t.Errorf("told: %q, %v", text, err)
	}
}

// restartable returns a function that starts a server on one folder and one address, and one
// that stops it.
func restartable(t *testing.T) func() (url string, stop func()) {
	data, addr := t.TempDir(), "127.0.0.1:0"
	return func() (string, func()) {
		cfg, err := config.Config{Addr: addr, Data: data, ShutdownTimeout: time.Second}.Complete()
		if err != nil {
			t.Fatal(err)
		}
		srv, err := server.Open(t.Context(), cfg, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		if err := srv.Listen(t.Context()); err != nil {
			t.Fatal(err)
		}
		addr = strings.TrimPrefix(srv.URL(), "http://")
		ctx, cancel := context.WithCancel(context.Background())
		served := make(chan error, 1)
		go func() { served <- srv.Serve(ctx) }()
		return srv.URL(), sync.OnceFunc(func() {
			cancel()
			<-served
			_ = srv.Close()
		})
	}
}

// TestSyncThroughAnOutage: a sync that goes on and on keeps what it has while the registry is
// away, and goes on with it once it is back; a signal tells the service, and a change is seen
// long before the next round.
func TestSyncThroughAnOutage(t *testing.T) {
	start := restartable(t)
	url, stop := start()
	t.Cleanup(func() { stop() })
	w := mustFill(t, url, 2, 1<<10)
	w.mustDeploy(t, 1)
	dest := filepath.Join(t.TempDir(), "fraud")

	// The service is a shell that counts its signals. It could not trap HUP where the tests
	// were started to ignore that.
	dir := t.TempDir()
	service := exec.Command("sh", "-c", `trap 'echo reloaded >> reloads' USR1; echo $$ > pid; while :; do sleep 0.05; done`)
	service.Dir = dir
	if err := service.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = service.Process.Kill(); _ = service.Wait() })
	pid := filepath.Join(dir, "pid")
	eventually(t, "the service runs", func() bool { text, err := os.ReadFile(pid); return err == nil && len(text) > 1 })

	cmd := exec.Command("pedigree", "sync", "target:"+string(syncTarget), dest, "--instance", "pod-1", "--interval", "1m", "--watch", "--signal", "USR1", "--pid-file", pid)
	cmd.Env = append(os.Environ(), "HOME="+w.home, "PEDIGREE_URL="+url)
	var said bytes.Buffer
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := sync.OnceValue(cmd.Wait)
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = ended()
		t.Logf("sync said: %s", &said)
	})
	reloads := func() int {
		text, _ := os.ReadFile(filepath.Join(dir, "reloads"))
		return strings.Count(string(text), "reloaded")
	}
	eventually(t, "the first version runs", func() bool { return w.current(t, dest) == 1 && reloads() == 1 })
	runs := func(n pedigree.VersionNumber) func() bool {
		return func() bool {
			s, err := w.TargetStatus(t.Context(), syncTarget, pedigree.At{})
			return err == nil && len(s.Instances) == 1 && s.Instances[0].Version == n && s.Instances[0].Matches
		}
	}
	eventually(t, "the registry knows", runs(1))
	time.Sleep(time.Second) // the watch is up
	begin := time.Now()
	w.mustDeploy(t, 2)
	eventually(t, "the second version runs", func() bool { return w.current(t, dest) == 2 && reloads() == 2 })
	t.Logf("a change was current after %s", time.Since(begin).Round(time.Millisecond))

	stop()
	once := w.mustSync(t, url, filepath.Join(t.TempDir(), "copy"), "--fallback", dest) // by the key that this user has seen
	if !strings.Contains(once, "started from") {
		t.Errorf("a cold start during the outage said\n%s", once)
	}
	time.Sleep(300 * time.Millisecond)
	if n := w.current(t, dest); n != 2 {
		t.Errorf("during the outage version %d is current", n)
	}
	_, stop = start()
	w.mustDeploy(t, 1)
	eventually(t, "the outage is over", func() bool { return w.current(t, dest) == 1 && reloads() == 3 })
	eventually(t, "the registry knows", runs(1))
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := ended(); err != nil {
		t.Errorf("sync ended with %v", err)
	}
}

func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(90 * time.Second); !f(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within 90 s: %s", what)
		}
	}
}
