package server

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/internal/auth"
	"github.com/pedigree-ml/pedigree/internal/httpapi"
	"github.com/pedigree-ml/pedigree/internal/httpx"
	"github.com/pedigree-ml/pedigree/internal/mlflow"
	"github.com/pedigree-ml/pedigree/internal/upstream"
)

// routes joins everything to one handler.
func (s *Server) routes(m *metrics) (http.Handler, error) {
	mux := http.NewServeMux()
	get := func(path string, h http.Handler) {
		mux.Handle("GET "+path, h)
		mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) { httpx.NotAllowed(w, r, "GET, HEAD") })
	}
	get("/healthz", httpx.Handler(s.serveHealth))
	get("/health", httpx.Handler(serveOK)) // what MLflow's own server answers, and its tools wait for
	get("/readyz", httpx.Handler(s.serveReady))
	callers := auth.New(s.registrar)
	get("/metrics", m.handler(func(r *http.Request) error {
		p, err := callers.Caller(r)
		if err != nil {
			return err
		}
		return s.registrar.May(r.Context(), p, pedigree.RecordsRead, "")
	}))
	get("/{$}", httpx.Handler(serveIndex))
	mux.Handle("/api/", httpapi.New(s.registrar, httpapi.Options{Now: time.Now, Caller: callers.Caller, Feed: s.feed, Notifier: s.notifier}).Handler())
	away, err := s.upstream()
	if err != nil {
		return nil, err
	}
	dialect := mlflow.New(s.registrar, mlflow.Config{Now: time.Now, Caller: callers.Caller, Upstream: away, Notifier: s.notifier}).Handler()
	for _, path := range mlflow.Mounts {
		mux.Handle(path, dialect)
	}
	mux.HandleFunc("/", httpx.NotFound)
	cfg := httpx.Config{
		Log: s.log, NewID: func() string { return newID("req") }, Now: time.Now, Observe: m.observe, WriteError: writeError,
	}
	if !s.cfg.AllowAnonymous {
		cfg.Hosts, cfg.AnyHost = httpx.LoopbackHosts(s.cfg.Addr), s.hasAccounts
	}
	return httpx.Chain(m.count(mux), cfg)
}

// upstream is the MLflow server that the configuration names; nil for none.
func (s *Server) upstream() (*upstream.Client, error) {
	if s.cfg.UpstreamMLflow == "" {
		return nil, nil
	}
	c, err := upstream.New(upstream.Config{
		URL: s.cfg.UpstreamMLflow, Username: s.cfg.UpstreamMLflowUser, Password: s.cfg.UpstreamMLflowPassword, Token: s.cfg.UpstreamMLflowToken,
	})
	if err != nil {
		return nil, pedigree.Errorf(pedigree.CodeInvalid, "upstream-mlflow: %w", err)
	}
	return c, nil
}

// writeError answers what is refused before any handler, in the shape of the dialect that
// the path belongs to.
func writeError(w http.ResponseWriter, r *http.Request, err error) {
	if mlflow.Owns(r.URL.Path) {
		mlflow.WriteError(w, r, err)
		return
	}
	httpx.WriteError(w, r, err)
}

// serveOK says that the process answers, as MLflow's server says it.
func serveOK(w http.ResponseWriter, _ *http.Request) error {
	h := w.Header()
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	_, err := io.WriteString(w, "OK")
	return err
}

// health is the answer of /healthz.
type health struct {
	Status string `json:"status"`
	// Instance is another one after each start.
	Instance string `json:"instance"`
}

// serveHealth says that the process answers. It asks nobody: a server whose database is
// away must not be killed for it.
func (s *Server) serveHealth(w http.ResponseWriter, _ *http.Request) error {
	w.Header().Set("Cache-Control", "no-store")
	return httpx.WriteJSON(w, http.StatusOK, health{Status: "ok", Instance: s.instance})
}

// serveReady says whether requests can be answered now.
func (s *Server) serveReady(w http.ResponseWriter, r *http.Request) error {
	w.Header().Set("Cache-Control", "no-store")
	if err := s.ready(r.Context()); err != nil {
		return err
	}
	return httpx.WriteJSON(w, http.StatusOK, health{Status: "ready", Instance: s.instance})
}

// readyTimeout is how long /readyz waits for the database.
const readyTimeout = 3 * time.Second

// ready returns [pedigree.CodeUnavailable] unless the database answers and the folder of
// the stored bytes can be written to.
func (s *Server) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	if err := s.registrar.Ready(ctx); err != nil {
		return pedigree.Errorf(pedigree.CodeUnavailable, "the database does not answer: %w", err)
	}
	f, err := os.CreateTemp(s.cfg.Blobs, ".ready-*")
	if err == nil {
		_ = f.Close()
		err = os.Remove(f.Name())
	}
	if err != nil {
		return &pedigree.Error{Code: pedigree.CodeUnavailable, Message: "the folder of the stored bytes can't be written to", Err: err}
	}
	return nil
}

const index = `Pedigree: a model registry, the durable handoff record between training and production.

  /api/v1/openapi.json     what the API offers
  /api/v1/projects         the projects
  /api/v1/search           versions of all projects; ?filter= and ?as_of= choose
  /api/v1/log/checkpoint   signed size and root of the log
  /api/v1/watch            what happens, as it happens (server-sent events)
  /healthz                 whether this process answers
  /readyz                  whether it can reach its database and its files
  /metrics                 figures for Prometheus

On the command line:       pedigree --url http://%[1]s ls
From MLflow:               export MLFLOW_TRACKING_URI=http://%[1]s
                           The "View run at" links that its clients print lead here: there are no pages
                           of runs and models; "pedigree show" and MLflow's own clients show them.
`

// serveIndex tells a person with a browser what this is.
func serveIndex(w http.ResponseWriter, r *http.Request) error {
	h := w.Header()
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("X-Content-Type-Options", "nosniff")
	_, err := io.WriteString(w, fmt.Sprintf(index, r.Host))
	return err
}
