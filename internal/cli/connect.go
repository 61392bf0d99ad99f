package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/client"
	"github.com/pedigree-ml/pedigree/internal/config"
	"github.com/pedigree-ml/pedigree/internal/server"
)

// registry is what a run speaks to.
type registry struct {
	client *client.Client
	// kind is how: "server" by its URL, "folder through its server", or "embedded".
	kind string
	// where is the URL or the folder.
	where string
	// checkpoints is where this user remembers checkpoints of it; "" is nowhere.
	checkpoints string
	close       func() error // nil where there is nothing to close
}

// The kinds of registry.
const (
	kindServer   = "server"
	kindThrough  = "folder, through the server that runs on it"
	kindEmbedded = "folder, opened here"
)

// embeddedURL is the URL that requests in this process carry.
const embeddedURL = "http://pedigree.embedded"

// connect finds the registry: the URL, a server that runs on the data directory, or the
// data directory itself, in this process.
func (a *app) connect(ctx context.Context) (*registry, error) {
	if a.url != "" {
		r := &registry{kind: kindServer, where: a.url}
		if dir, err := a.stateDir(); err == nil {
			r.checkpoints = filepath.Join(dir, "checkpoints")
		}
		return r, a.dial(r, client.Config{URL: a.url})
	}
	dir, err := a.dataDir()
	if err != nil {
		return nil, err
	}
	r := &registry{kind: kindEmbedded, where: dir, checkpoints: filepath.Join(dir, "checkpoints")}
	if running := a.running(ctx, dir); running != "" {
		r.kind = kindThrough
		return r, a.dial(r, client.Config{URL: running})
	}
	cfg, err := a.serverConfig(dir)
	if err != nil {
		return nil, err
	}
	srv, err := server.Open(ctx, cfg, slog.New(slog.NewTextHandler(a.stderr, &slog.HandlerOptions{Level: slog.LevelWarn})))
	if err != nil {
		return nil, err
	}
	r.close = srv.Close
	err = a.dial(r, client.Config{URL: embeddedURL, HTTP: &http.Client{Transport: server.Transport(srv.Handler())}})
	if err != nil {
		_ = srv.Close()
	}
	return r, err
}

func (a *app) dial(r *registry, cfg client.Config) (err error) {
	cfg.Project = a.projectName()
	cfg.UserAgent = "pedigree/" + programVersion()
	r.client, err = client.New(cfg)
	return err
}

// serverFile is what a server leaves in its data directory while it runs.
type serverFile struct {
	URL string `json:"url"`
	PID int    `json:"pid"`
}

// readServerFile returns what a server left in dir; ok is false where there is none.
func readServerFile(dir string) (f serverFile, ok bool, err error) {
	text, err := os.ReadFile(filepath.Join(dir, "server.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return f, false, nil
	}
	if err != nil {
		return f, false, fmt.Errorf("read %s: %w", filepath.Join(dir, "server.json"), err)
	}
	if err := json.Unmarshal(text, &f); err != nil || f.URL == "" {
		return f, false, pedigree.Errorf(pedigree.CodeCorrupt, "%s is damaged", filepath.Join(dir, "server.json")).
			WithFix("remove it when no server runs on that folder")
	}
	return f, true, nil
}

// running is the URL of the server that runs on dir, "" where none answers: one that
// was killed leaves its file behind.
func (a *app) running(ctx context.Context, dir string) string {
	f, ok, err := readServerFile(dir)
	if err != nil || !ok {
		return ""
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	c, err := client.New(client.Config{URL: f.URL, Retries: -1})
	if err != nil {
		return ""
	}
	if _, err := c.Keys(ctx); err != nil {
		return ""
	}
	return f.URL
}

// remember checks that the registry's log continues the one that this user saw last,
// and keeps its checkpoint. Only a log that does not is an error: a place to remember in
// is not something that every job has.
func (a *app) remember(ctx context.Context) (pedigree.Checkpoint, error) {
	c, err := a.client(ctx)
	if err != nil {
		return pedigree.Checkpoint{}, err
	}
	if a.registry.checkpoints == "" {
		return c.Checkpoint(ctx)
	}
	cp, err := c.Remember(ctx, client.OpenMemory(a.registry.checkpoints))
	var pathErr *fs.PathError
	if errors.As(err, &pathErr) {
		a.hint("note: the checkpoint of the log could not be remembered: %v", pathErr)
		return c.Checkpoint(ctx)
	}
	return cp, err
}
