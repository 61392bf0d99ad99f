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

// process is one running "pedigree serve".
type process struct {
	cmd   *exec.Cmd
	url   string
	ready time.Duration // from its start to the first good answer of /readyz
	ended chan error
}

// start runs the server with flags; its log goes to a file, which costs the server what
// it costs in production, and the load nothing. It returns once /readyz answers 200.
func start(ctx context.Context, binary, log string, flags ...string) (*process, error) {
	file, err := os.Create(log)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	p := &process{cmd: exec.CommandContext(ctx, binary, append([]string{"serve"}, flags...)...), ended: make(chan error, 1)}
	p.cmd.Stderr = file
	for _, v := range os.Environ() { // the caller's settings are not those to measure
		if !strings.HasPrefix(v, "PEDIGREE_") {
			p.cmd.Env = append(p.cmd.Env, v)
		}
	}
	begin := time.Now()
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() { p.ended <- p.cmd.Wait() }()
	if err := p.await(ctx, log); err != nil {
		said, _ := os.ReadFile(log)
		return nil, errors.Join(fmt.Errorf("%w\n%s", err, said), p.stop())
	}
	p.ready = time.Since(begin)
	return p, nil
}

// readyLine is what the server says when it listens.
var readyLine = regexp.MustCompile(`is ready: (http://[^\s]+)`)

// await waits until the server says where it is, and then that it is ready.
func (p *process) await(ctx context.Context, log string) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for ; ; wait(ctx, time.Millisecond) {
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
		if resp, err := http.Get(p.url + "/readyz"); err == nil {
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

// cpu is the processor time that the server has used, user and system; 0 where there is
// no /proc.
func (p *process) cpu() time.Duration {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	// The name, in parentheses, may hold anything; utime and stime are fields 14 and 15.
	fields := bytes.Fields(text[bytes.LastIndexByte(text, ')')+1:])
	if len(fields) < 13 {
		return 0
	}
	user, _ := strconv.ParseInt(string(fields[11]), 10, 64)
	system, _ := strconv.ParseInt(string(fields[12]), 10, 64)
	return time.Duration(user+system) * tick
}

// memory reads a line of /proc/PID/status in bytes: VmRSS is the resident set now, VmHWM
// its peak; 0 where there is no /proc.
func (p *process) memory(key string) int64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, key+":"); ok {
			kib, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			return kib << 10
		}
	}
	return 0
}

// forgetPeak makes VmHWM begin again from the resident set now. Where that is not
// allowed, the peak includes what came before.
func (p *process) forgetPeak() {
	_ = os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", p.cmd.Process.Pid), []byte("5"), 0)
}
