package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/internal/config"
	"github.com/pedigree-ml/pedigree/internal/server"
)

// finding is one line of the doctor.
type finding struct {
	Check string `json:"check"`
	// Status is ok, warn or fail.
	Status string `json:"status"`
	Detail string `json:"detail"`
	Fix    string `json:"fix,omitempty"`
}

func newDoctorCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "doctor",
		Short: "Check what this program works with, and say how to mend it",
		Long: `Doctor says which registry commands speak to and checks that it answers, that its log
continues the one you saw, that the clocks agree, that the data folder is private and has
room, and that git is there for push to capture with. It exits with 1 where something
fails.`,
		Example: `  pedigree doctor
  pedigree doctor --url https://models.example.org -o json`,
		Args: args(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error { return a.doctor(cmd.Context()) },
	}
}

func (a *app) doctor(ctx context.Context) error {
	d := &doctor{app: a}
	d.program()
	d.registry(ctx)
	if a.url == "" {
		d.folder()
	}
	d.git()
	d.memory()
	failed := 0
	var names []string
	for _, f := range d.findings {
		if f.Status == "fail" {
			failed++
		}
		names = append(names, f.Status+" "+f.Check)
	}
	err := a.print(answer{value: pedigree.List[finding]{Items: d.findings}, names: names, human: func(w io.Writer) {
		for _, f := range d.findings {
			fmt.Fprintf(w, "%-4s  %-12s  %s\n", f.Status, f.Check, printable(f.Detail))
			if f.Fix != "" {
				fmt.Fprintf(w, "      → %s\n", printable(f.Fix))
			}
		}
	}})
	if err == nil && failed > 0 {
		err = &pedigree.Error{Code: pedigree.CodeUnavailable, Message: count(failed, "check") + " failed"}
	}
	return err
}

// doctor gathers findings.
type doctor struct {
	*app
	findings []finding
}

func (d *doctor) add(status, check, detail, fix string) {
	d.findings = append(d.findings, finding{check, status, detail, fix})
}

// fail adds the finding of an error.
func (d *doctor) fail(check string, err error) {
	e := asError(err)
	d.add("fail", check, e.Message, e.Fix)
}

func (d *doctor) program() {
	b := programBuild()
	d.add("ok", "program", words([]string{b.Version, cut(b.Commit, 13), b.Go, b.Platform}), "")
}

// registry looks at what commands speak to.
func (d *doctor) registry(ctx context.Context) {
	c, err := d.client(ctx)
	if err != nil {
		d.fail("registry", err)
		return
	}
	r := d.app.registry
	d.add("ok", "registry", r.where+" ("+r.kind+")", "")
	if _, err := c.GetProject(ctx, d.projectName(), pedigree.At{}); err != nil {
		d.fail("project", err)
		if pedigree.CodeOf(err) == pedigree.CodeUnavailable {
			return
		}
	} else {
		d.add("ok", "project", string(d.projectName()), "")
	}
	cp, err := d.remember(ctx)
	if err != nil {
		d.fail("log", err)
	} else {
		d.add("ok", "log", fmt.Sprintf("%s, %s, signed; it continues what you saw before", cp.Origin, count(int(cp.Size), "event")), "")
	}
	if r.kind == kindServer {
		d.clock(ctx)
	}
}

// maxSkew is the difference of two clocks that is worth a warning.
const maxSkew = 5 * time.Second

// clock compares the server's clock with this machine's. Moments of --at are counted
// from here, and times in the log are the server's.
func (d *doctor) clock(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimRight(d.url, "/")+"/healthz", nil)
	if err != nil {
		return
	}
	before := d.now()
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		d.add("warn", "clock", "the server's clock can't be read: "+err.Error(), "")
		return
	}
	defer resp.Body.Close()
	there, err := http.ParseTime(resp.Header.Get("Date"))
	if err != nil {
		d.add("warn", "clock", "the server does not say what time it is", "")
		return
	}
	// The header has whole seconds: the truth is within one after it.
	middle := before.Add(d.now().Sub(before) / 2)
	skew := middle.Sub(there.Add(500 * time.Millisecond))
	if skew.Abs() > maxSkew {
		d.add("warn", "clock", "this machine and the server differ by "+skew.Round(time.Second).String(), "synchronise the clocks; until then give --at as a full time, not as an age")
		return
	}
	d.add("ok", "clock", "agrees with the server's", "")
}

// folder looks at the data folder.
func (d *doctor) folder() {
	cfg, err := config.FromEnvironment(d.env, d.data)
	if err != nil {
		d.fail("data folder", err)
		return
	}
	info, err := os.Stat(cfg.Data)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		d.add("warn", "data folder", cfg.Data+" is not there yet; the first push makes it", "")
		return
	case err != nil:
		d.fail("data folder", err)
		return
	case runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0:
		d.add("warn", "data folder", fmt.Sprintf("others may enter %s (%s)", cfg.Data, info.Mode().Perm()), "chmod 700 "+shellWord(cfg.Data))
	default:
		d.add("ok", "data folder", cfg.Data, "")
	}
	if f, err := os.CreateTemp(cfg.Data, ".doctor-*"); err != nil {
		d.add("fail", "writable", err.Error(), "give this user the right to write there, or name another folder with --data-dir")
	} else {
		_ = f.Close()
		_ = os.Remove(f.Name())
	}
	const low = 1 << 30
	if free, ok := freeSpace(cfg.Data); ok && free < low {
		d.add("warn", "disk", humanize.IBytes(free)+" left", "make room: a full disk refuses pushes")
	} else if ok {
		d.add("ok", "disk", humanize.IBytes(free)+" left", "")
	}
	d.serverFile(cfg.Data)
}

// serverFile tells a server that runs from one that was killed.
func (d *doctor) serverFile(data string) {
	path := filepath.Join(data, config.ServerFile)
	if _, err := os.Stat(path); err != nil {
		return
	}
	if running, ok := server.FindRunning(context.Background(), data); ok {
		d.add("ok", "server", fmt.Sprintf("%s runs on the data folder (process %d)", running.URL, running.PID), "")
		return
	}
	d.add("warn", "server", path+" is there, and no server answers: it was killed, or is just starting", "nothing to do, the next server replaces it; or remove the file")
}

func (d *doctor) git() {
	if path, err := exec.LookPath("git"); err == nil {
		d.add("ok", "git", path, "")
		return
	}
	d.add("warn", "git", "not on the PATH: push can't capture the commit", "install git, or give --code REPO@COMMIT")
}

// memory says where checkpoints are remembered.
func (d *doctor) memory() {
	r := d.app.registry
	switch {
	case r == nil:
	case r.checkpoints == "":
		d.add("warn", "memory", "there is no place to remember checkpoints in: a log that was changed would not be noticed", "set HOME or XDG_STATE_HOME")
	default:
		d.add("ok", "memory", "checkpoints are remembered in "+r.checkpoints, "")
	}
}
