package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/internal/config"
)

// Running is what a server leaves in its data folder while it listens, so that command
// lines on that folder go through it.
type Running struct {
	// URL is where it answers, from this machine.
	URL string `json:"url"`
	// PID is its process, for people; containers that share a folder have numbers of
	// their own, so that nothing is decided by it.
	PID int `json:"pid"`
	// Instance is what /healthz of that server says: another program may have got its
	// port after a crash.
	Instance string `json:"instance"`
}

// probeTimeout is how long a server may take to say that it is there.
const probeTimeout = 2 * time.Second

// FindRunning returns the server that runs on the data folder, and false where none does.
// What a killed server left behind counts as none.
func FindRunning(ctx context.Context, data string) (Running, bool) {
	text, err := os.ReadFile(filepath.Join(data, config.ServerFile))
	if err != nil {
		return Running{}, false
	}
	var r Running
	if err := json.Unmarshal(text, &r); err != nil || r.URL == "" || r.Instance == "" {
		return Running{}, false
	}
	return r, r.answers(ctx)
}

// answers asks the URL whether it is the same server.
func (r Running) answers(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.URL+"/healthz", nil)
	if err != nil {
		return false
	}
	// No proxy, and no connection that is kept: this asks one question of this machine.
	c := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := c.Do(req)
	if err != nil {
		return false
	}
	defer func() { _ = resp.Body.Close() }()
	var h health
	err = json.NewDecoder(io.LimitReader(resp.Body, 4096)).Decode(&h)
	return err == nil && resp.StatusCode == http.StatusOK && h.Instance == r.Instance
}

// announce writes the server file, unless another server that lives has done so: two
// may share a folder, and either will do for a command line.
func (s *Server) announce(ctx context.Context, url string) error {
	if other, ok := FindRunning(ctx, s.cfg.Data); ok {
		s.log.Info("another server runs on the same data folder", "url", other.URL, "pid", other.PID)
		return nil
	}
	text, err := json.Marshal(Running{URL: url, PID: os.Getpid(), Instance: s.instance})
	if err != nil {
		return err
	}
	return writeFile(filepath.Join(s.cfg.Data, config.ServerFile), append(text, '\n'), 0o600)
}

// withdraw removes the server file, if it is still ours.
func (s *Server) withdraw() {
	path := filepath.Join(s.cfg.Data, config.ServerFile)
	text, err := os.ReadFile(path)
	if err != nil {
		return
	}
	var r Running
	if json.Unmarshal(text, &r) == nil && r.Instance == s.instance {
		if err := os.Remove(path); err != nil {
			s.log.Warn("the server file can't be removed", "path", path, "error", err)
		}
	}
}

// makeFolder makes a folder that only this user may enter.
func makeFolder(path string) error {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return pedigree.Errorf(pedigree.CodeUnavailable, "the data folder can't be made: %w", err).
			WithFix("pass a folder that you may write to: --data DIR")
	}
	return nil
}

// writeFile makes or replaces a file so that a reader, and a crash at any moment, sees
// the old content or the new one whole: temporary file, fsync, rename, fsync of the
// folder.
func writeFile(path string, content []byte, mode fs.FileMode) error {
	tmp, err := writeTemporary(path, content, mode)
	if err != nil {
		return err
	}
	if err := os.Rename(tmp, path); err != nil {
		return errors.Join(fmt.Errorf("write %s: %w", path, err), os.Remove(tmp))
	}
	return syncFolder(filepath.Dir(path))
}

// writeNew makes a file that was not there; it returns [fs.ErrExist] where it is. A
// reader sees it whole or not at all, also when several processes try.
func writeNew(path string, content []byte, mode fs.FileMode) error {
	tmp, err := writeTemporary(path, content, mode)
	if err != nil {
		return err
	}
	err = os.Link(tmp, path)
	if removed := os.Remove(tmp); err == nil {
		err = removed
	}
	if err != nil && !errors.Is(err, fs.ErrExist) {
		err = writeExclusive(path, content, mode) // a file system without links
	}
	if err != nil {
		return fmt.Errorf("make %s: %w", path, err)
	}
	return syncFolder(filepath.Dir(path))
}

func writeTemporary(path string, content []byte, mode fs.FileMode) (string, error) {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return "", fmt.Errorf("write %s: %w", path, err)
	}
	if err := finish(f, content, mode); err != nil {
		return "", errors.Join(fmt.Errorf("write %s: %w", path, err), os.Remove(f.Name()))
	}
	return f.Name(), nil
}

func writeExclusive(path string, content []byte, mode fs.FileMode) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	return finish(f, content, mode)
}

// finish writes content, makes it durable and closes f.
func finish(f *os.File, content []byte, mode fs.FileMode) error {
	_, err := f.Write(content)
	return errors.Join(err, f.Chmod(mode), f.Sync(), f.Close())
}

// syncFolder makes a new name in a folder durable. Windows has no such call, and refuses
// to open a folder.
func syncFolder(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return nil //nolint:nilerr // see above; where folders can be opened, it just was written to
	}
	defer func() { _ = d.Close() }()
	if err := d.Sync(); err != nil && !errors.Is(err, errors.ErrUnsupported) && !errors.Is(err, fs.ErrInvalid) && !errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("sync %s: %w", path, err)
	}
	return nil
}
