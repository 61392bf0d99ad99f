package cli

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"net/http"
	"net/url"
	"path/filepath"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/client"
	"github.com/pedigree-ml/pedigree/internal/config"
	"github.com/pedigree-ml/pedigree/internal/server"
)

// registry is what a run speaks to.
type registry struct {
	client *client.Client
	config client.Config // that client was made of
	// kind is how, one of the kinds below; where is the URL or the folder.
	kind, where string
	// checkpoints is where this user remembers checkpoints of it; "" is nowhere.
	checkpoints string
	// address is the scheme and host that a request from elsewhere would be sent to; ""
	// where no server answers, or none that may be printed.
	address string
	close   func() error // nil where there is nothing to close
}

// The kinds of registry.
const (
	kindServer   = "server"
	kindThrough  = "folder, through the server that runs on it"
	kindEmbedded = "folder, opened here"
)

// embeddedURL is the URL that requests to the registry of a folder carry. Package client
// knows its host, and remembers checkpoints of such a registry by the name of its log:
// the port of a server on the folder changes with every start.
const embeddedURL = "http://pedigree.embedded"

// connect finds the registry: the URL, a server that runs on the data directory, or the
// data directory itself, in this process.
func (a *app) connect(ctx context.Context) (*registry, error) {
	if a.url != "" {
		r := &registry{kind: kindServer, where: config.MaskURL(a.url), config: client.Config{URL: a.url}}
		if u, err := url.Parse(a.url); err == nil && u.User == nil { // what it holds is not for printing
			r.address = u.Scheme + "://" + u.Host
		}
		if dir, err := a.stateDir(); err == nil {
			r.checkpoints = filepath.Join(dir, "checkpoints")
		}
		return r, a.dial(r)
	}
	cfg, err := config.FromEnvironment(a.env, a.data)
	if err != nil {
		return nil, err
	}
	r := &registry{where: cfg.Data, checkpoints: filepath.Join(cfg.Data, "checkpoints")}
	if running, ok := server.FindRunning(ctx, cfg.Data); ok {
		next, err := newThrough(running.URL, cfg.Data)
		if err != nil {
			return nil, err
		}
		r.address = running.URL
		r.kind, r.config = kindThrough, client.Config{URL: embeddedURL, HTTP: &http.Client{Transport: next}}
		return r, a.dial(r)
	}
	log := slog.New(slog.NewTextHandler(a.stderr, &slog.HandlerOptions{Level: slog.LevelError}))
	srv, err := server.Open(ctx, cfg, log)
	if err != nil {
		return nil, err
	}
	r.kind, r.close = kindEmbedded, srv.Close
	r.config = client.Config{URL: embeddedURL, HTTP: &http.Client{Transport: server.Transport(srv.Handler())}}
	if err := a.dial(r); err != nil {
		return nil, errors.Join(err, srv.Close())
	}
	return r, nil
}

// through sends the requests for a folder to the server that runs on it.
type through struct {
	next   http.RoundTripper
	server *url.URL
	folder string
}

func newThrough(serverURL, folder string) (*through, error) {
	u, err := url.Parse(serverURL)
	if err != nil {
		return nil, pedigree.Errorf(pedigree.CodeCorrupt, "the server that runs on %s says a wrong address: %w", folder, err)
	}
	next := http.DefaultTransport.(*http.Transport).Clone()
	next.Proxy = nil // it is on this machine
	next.MaxIdleConnsPerHost = 64
	return &through{next: next, server: u, folder: folder}, nil
}

// RoundTrip implements [http.RoundTripper].
func (t *through) RoundTrip(req *http.Request) (*http.Response, error) {
	out := req.Clone(req.Context())
	out.URL.Scheme, out.URL.Host, out.Host = t.server.Scheme, t.server.Host, t.server.Host
	resp, err := t.next.RoundTrip(out)
	if err != nil {
		return nil, pedigree.Errorf(pedigree.CodeUnavailable, "the server %s that runs on %s does not answer: %w", t.server, t.folder, err).
			WithFix("try again: when it has stopped, the folder is opened without it")
	}
	return resp, nil
}

// dial makes the client of a registry.
func (a *app) dial(r *registry) (err error) {
	r.config.Project = a.projectName()
	r.config.UserAgent = "pedigree/" + programVersion()
	if r.config.Token, err = a.token(r); err != nil {
		return err
	}
	a.rehearsal.address, a.rehearsal.token, a.rehearsal.on = cmp.Or(r.address, curlURL), r.config.Token != "", a.dryRun
	r.config.BeforeChange = a.rehearsal.before
	if r.client, err = client.New(r.config); err != nil {
		return err
	}
	a.rehearsal.judge = r.client.Rehearse
	return nil
}

// remember checks that the registry's log continues the one that this user saw last,
// and keeps its checkpoint. Only a log that does not, or a registry that does not
// answer, is an error: a place to remember in is not something that every job has.
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
		a.hint("note: the checkpoint of the log can't be remembered: %v", pathErr)
		return c.Checkpoint(ctx)
	}
	return cp, err
}
