package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// build builds the program into dir, as releases are built.
func build(ctx context.Context, dir string) (string, error) {
	name := filepath.Join(dir, "pedigree")
	cmd := exec.CommandContext(ctx, "go", "build", "-buildvcs=false", "-trimpath", "-ldflags=-s -w", "-o", name, "github.com/pedigree-ml/pedigree/cmd/pedigree")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the program: %w\n%s", err, out)
	}
	return name, nil
}

// process is one running server: a process, and those that it starts.
type process struct {
	cmd   *exec.Cmd
	url   string
	ready time.Duration // from its start to the first good answer
	ended chan error
}

// start runs "pedigree serve" with flags and returns once /readyz answers 200.
func start(ctx context.Context, binary, log string, flags ...string) (*process, error) {
	cmd := exec.CommandContext(ctx, binary, append([]string{"serve"}, flags...)...)
	for _, v := range os.Environ() { // the caller's settings are not those to measure
		if !strings.HasPrefix(v, "PEDIGREE_") {
			cmd.Env = append(cmd.Env, v)
		}
	}
	return launch(ctx, cmd, log, "", "/readyz")
}

// launch starts a server and waits until it answers 200 at path. Its log goes to a file,
// which costs the server what it costs in production, and the load nothing; where url is
// "", the server says in it where it listens.
func launch(ctx context.Context, cmd *exec.Cmd, log, url, path string) (*process, error) {
	file, err := os.Create(log)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	p := &process{cmd: cmd, url: url, ended: make(chan error, 1)}
	cmd.Stdout, cmd.Stderr = file, file
	cmd.Cancel = func() error { p.kill(p.tree()); return nil }
	begin := time.Now()
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	go func() { p.ended <- cmd.Wait() }()
	if err := p.await(ctx, log, path); err != nil {
		said, _ := os.ReadFile(log)
		return nil, errors.Join(fmt.Errorf("%w\n%s", err, said), p.stop())
	}
	p.ready = time.Since(begin)
	return p, nil
}

// startPatience is how long a server may take to start: MLflow's, on a busy machine, takes
// more than a minute.
const startPatience = 5 * time.Minute

// readyLine is what Pedigree says when it listens.
var readyLine = regexp.MustCompile(`is ready: (http://[^\s]+)`)

// await waits until the server says where it is, and then that it is ready.
func (p *process) await(ctx context.Context, log, path string) error {
	ctx, cancel := context.WithTimeout(ctx, startPatience)
	defer cancel()
	begin := time.Now()
	for ; ; wait(ctx, max(time.Millisecond, time.Since(begin)/200)) { // asking must not slow the start down
		select {
		case err := <-p.ended:
			p.ended <- err
			return fmt.Errorf("the server ended: %w", err)
		case <-ctx.Done():
			return fmt.Errorf("the server did not get ready: %w", ctx.Err())
		default:
		}
		if p.url == "" {
			said, err := os.ReadFile(log)
			if err != nil {
				return err
			}
			if found := readyLine.FindSubmatch(said); found != nil {
				p.url = string(found[1])
			}
		}
		if p.url == "" {
			continue
		}
		if resp, err := http.Get(p.url + path); err == nil {
			_ = resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return nil
			}
		}
	}
}

// stop ends the server and waits for it.
func (p *process) stop() error {
	if p == nil {
		return nil
	}
	tree := p.tree()
	defer func() { p.kill(tree[1:]) }()               // children that outlive it
	if p.cmd.Process.Signal(syscall.SIGTERM) != nil { // not on Windows, or it has ended
		_ = p.cmd.Process.Kill()
	}
	select {
	case err := <-p.ended:
		p.ended <- err
		return err
	case <-time.After(patience):
		return errors.Join(errors.New("the server did not stop when it was told to"), p.cmd.Process.Kill())
	}
}

// kill ends processes at once.
func (p *process) kill(pids []int) {
	for _, pid := range pids {
		if child, err := os.FindProcess(pid); err == nil {
			_ = child.Kill() // it may have ended
		}
	}
}

// addr is host and port of the server.
func (p *process) addr() string {
	u, err := url.Parse(p.url)
	if err != nil {
		return ""
	}
	return u.Host
}

// tick is the unit of processor time in /proc: 100 a second on every Linux.
const tick = 10 * time.Millisecond

// cpu is the processor time that the server and all that descend from it have used, user
// and system; 0 where there is no /proc.
func (p *process) cpu() time.Duration {
	var ticks int64
	for _, pid := range p.tree() {
		fields := stat(pid)
		if len(fields) < 15 {
			continue
		}
		for _, f := range fields[11:15] { // its own, and of children that have ended
			n, _ := strconv.ParseInt(string(f), 10, 64)
			ticks += n
		}
	}
	return time.Duration(ticks) * tick
}

// stat reads the fields of /proc/PID/stat that follow the name: state, parent, …
func stat(pid int) [][]byte {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return nil
	}
	// The name, in parentheses, may hold anything.
	return bytes.Fields(text[bytes.LastIndexByte(text, ')')+1:])
}

// tree is the server's process and all that descend from it; without a /proc, the first
// alone.
func (p *process) tree() []int {
	children := map[int][]int{}
	names, _ := filepath.Glob("/proc/[0-9]*")
	for _, name := range names {
		pid, err := strconv.Atoi(filepath.Base(name))
		if err != nil {
			continue
		}
		if fields := stat(pid); len(fields) > 1 {
			parent, _ := strconv.Atoi(string(fields[1]))
			children[parent] = append(children[parent], pid)
		}
	}
	all := []int{p.cmd.Process.Pid}
	for i := 0; i < len(all); i++ {
		all = append(all, children[all[i]]...)
	}
	return all
}

// memory reads a line of /proc/PID/status in bytes, summed over the process and all that
// descend from it: VmRSS is the resident set now, VmHWM its peak; 0 where there is no
// /proc.
func (p *process) memory(key string) int64 {
	var total int64
	for _, pid := range p.tree() {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(text)) {
			if rest, ok := strings.CutPrefix(line, key+":"); ok {
				kib, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
				total += kib << 10
			}
		}
	}
	return total
}

// forgetPeak makes VmHWM begin again from the resident set now. Where that is not
// allowed, the peak includes what came before.
func (p *process) forgetPeak() {
	for _, pid := range p.tree() {
		_ = os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", pid), []byte("5"), 0)
	}
}
