// Package mlflow is the MLflow dialect of Pedigree: an unchanged MLflow client works
// against it. It turns MLflow's requests into calls of the registrar, and what these
// return into MLflow's own JSON.
//
// It owns MLflow's paths, JSON shapes, names of errors and texts of messages, its filter
// and page-token grammars, and nothing else. Every operation stands in one table
// ([Dialect.Routes]), from which the mux and the compatibility table of docs/mlflow.md
// are made. Private wire structs live beside the handlers of their noun; no other
// package sees them.
//
// It must never hold a rule of the registry and never touch storage: what MLflow calls a
// registered model is a [pedigree.Model], a model version a [pedigree.Version], and each
// change goes through the registrar, so that it is in the log.
//
// Invariant: whatever a client sends gets an answer in MLflow's error shape below 500,
// unless the server itself failed: MLflow's clients retry every 5xx for minutes.
package mlflow

import (
	"context"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/internal/httpx"
	"github.com/pedigree-ml/pedigree/internal/notify"
	"github.com/pedigree-ml/pedigree/internal/registrar"
	"github.com/pedigree-ml/pedigree/internal/upstream"
)

// Version is what the path /version answers: the release of MLflow whose semantics this
// dialect follows.
const Version = "3.17.2"

// Config is what a [Dialect] may be told.
type Config struct {
	// Now is the clock. Required.
	Now func() time.Time
	// Upstream is the MLflow server on which the runs are of clients that have only their
	// registry here; nil where there is none.
	Upstream *upstream.Client
	// Notifier tests webhooks. Required.
	Notifier *notify.Notifier
	// Caller says who sends a request; nil stands for [pedigree.Local].
	Caller func(*http.Request) (pedigree.Principal, error)
}

// Dialect answers the requests of MLflow's clients.
type Dialect struct {
	registrar *registrar.Registrar
	cfg       Config
	mux       *http.ServeMux
	answers   answerCache
	fetches   fetches
}

// Support says how much of an endpoint of MLflow there is.
type Support string

// The degrees of support.
const (
	Full    Support = "full"    // as MLflow has it
	Partial Support = "partial" // Why says what is missing
	None    Support = "none"    // an error in MLflow's shape; Why says what to do instead
)

// Route is one endpoint of MLflow.
type Route struct {
	Method string
	// Pattern is the path as [http.ServeMux] has it. One below /api/ is also served
	// below /ajax-api/, and every one also below /p/{project}.
	Pattern string
	Support Support
	// Why says, where Support is not Full, what differs.
	Why string
	// Limit is the most bytes of a JSON body; 0 stands for [httpx.MaxBody].
	Limit int64
	// Raw says that the handler reads the body itself.
	Raw bool

	handle func(c *call) error
}

const (
	get    = http.MethodGet
	post   = http.MethodPost
	put    = http.MethodPut
	patch  = http.MethodPatch
	remove = http.MethodDelete

	// api is where MLflow's tracking and registry are, artifacts its artifact proxy.
	api       = "/api/2.0/mlflow"
	artifacts = "/api/2.0/mlflow-artifacts"
	api3      = "/api/3.0/mlflow"
)

// New returns the dialect of a registry. Mount [Dialect.Handler] at the paths of
// [Mounts], inside of [httpx.Chain].
func New(r *registrar.Registrar, cfg Config) *Dialect {
	d := &Dialect{registrar: r, cfg: cfg, mux: http.NewServeMux()}
	if d.cfg.Caller == nil {
		d.cfg.Caller = func(*http.Request) (pedigree.Principal, error) { return pedigree.Local, nil }
	}
	other := http.HandlerFunc(d.serveOther)
	bare := map[string]bool{}
	for _, route := range d.Routes() {
		h := d.serve(route)
		for _, pattern := range spellings(route.Pattern) {
			d.mux.Handle(route.Method+" "+pattern, h)
			// The mux would send a client that leaves out the last part elsewhere.
			if i := strings.LastIndex(pattern, "/{"); strings.HasSuffix(pattern, "...}") && !bare[pattern[:i]] {
				bare[pattern[:i]] = true
				d.mux.Handle(pattern[:i], other)
			}
		}
	}
	d.mux.Handle("/", other)
	return d
}

// spellings are the patterns under which a route is served.
func spellings(pattern string) []string {
	var out []string
	for _, prefix := range []string{"", "/p/{project}"} {
		out = append(out, prefix+pattern)
		if rest, ok := strings.CutPrefix(pattern, "/api/"); ok {
			out = append(out, prefix+"/ajax-api/"+rest)
		}
	}
	return out
}

// Mounts are the paths below which requests are MLflow's.
var Mounts = []string{
	"/api/2.0/", "/api/3.0/", "/ajax-api/", "/p/", "/get-artifact", "/model-versions/get-artifact", "/version", "/graphql",
}

// Owns says whether a path is one of MLflow's, so that its errors have MLflow's shape.
func Owns(path string) bool {
	for _, m := range Mounts {
		if path == m || strings.HasSuffix(m, "/") && strings.HasPrefix(path, m) {
			return true
		}
	}
	return false
}

// Handler returns the handler of everything that [Owns] reports.
func (d *Dialect) Handler() http.Handler {
	return handler(func(w http.ResponseWriter, r *http.Request) error {
		if err := guardPath(r); err != nil {
			return err
		}
		if p := r.URL.Path; !utf8.ValidString(p) || strings.ContainsRune(p, 0) {
			return invalid("The path is not text: it is not valid UTF-8, or holds a NUL character.")
		}
		d.mux.ServeHTTP(w, r)
		return nil
	})
}

// Routes is the table of all endpoints, those that are not offered among them.
func (d *Dialect) Routes() []Route {
	var routes []Route
	for _, part := range [][]Route{
		d.registryRoutes(), d.trackingRoutes(), d.artifactRoutes(), d.webhookRoutes(), d.serverRoutes(), d.workspaceRoutes(), d.absentRoutes(),
	} {
		routes = append(routes, part...)
	}
	return routes
}

// call is one request, with what a handler wants to know of it.
type call struct {
	d         *Dialect
	w         http.ResponseWriter
	r         *http.Request
	project   pedigree.ProjectName
	principal pedigree.Principal
	body      []byte
	in        message
}

func (c *call) ctx() context.Context { return c.r.Context() }

// serve makes the handler of a route: what is common to all comes first.
func (d *Dialect) serve(route Route) http.Handler {
	limit := route.Limit
	if limit == 0 {
		limit = httpx.MaxBody
	}
	return handler(func(w http.ResponseWriter, r *http.Request) error {
		c := &call{d: d, w: w, r: r}
		var err error
		if c.project, err = projectOf(r); err != nil {
			return err
		}
		if !route.Raw {
			if c.body, err = httpx.ReadBody(w, r, limit); err != nil {
				return err
			}
			if c.in, err = parseMessage(r, c.body); err != nil {
				return err
			}
		}
		caller, err := d.cfg.Caller(r)
		if err != nil {
			return err
		}
		if c.principal, err = httpx.Identify(caller, r, c.body); err != nil {
			return err
		}
		return c.workspaceMissing(route.handle(c))
	})
}

// workspaceHeader names the project in the requests of MLflow 3 clients that have a
// workspace set.
const workspaceHeader = "X-Mlflow-Workspace"

// projectOf is the project that a request is about: that of its path, else that of its
// workspace header, else the default one.
func projectOf(r *http.Request) (pedigree.ProjectName, error) {
	name := r.PathValue("project")
	if name == "" {
		name = r.Header.Get(workspaceHeader)
	}
	if name == "" {
		return pedigree.DefaultProject, nil
	}
	return pedigree.ParseProjectName(name)
}

// read reads the request's message into v, see [message.decode].
func (c *call) read(v any) error { return c.in.decode(v) }

// answer writes v as JSON.
func (c *call) answer(v any, err error) error {
	if err != nil {
		return err
	}
	return httpx.WriteJSON(c.w, http.StatusOK, v)
}

// answerNothing writes MLflow's empty message.
func (c *call) answerNothing(err error) error {
	if err != nil {
		return err
	}
	httpx.WriteRaw(c.w, http.StatusOK, []byte("{}\n"))
	return nil
}

// serveOther answers what no route matches: an unknown path, or another method.
func (d *Dialect) serveOther(w http.ResponseWriter, r *http.Request) {
	var allow []string
	for _, method := range []string{get, http.MethodHead, post, put, patch, remove} {
		probe := &http.Request{Method: method, URL: r.URL, Host: r.Host, Header: http.Header{}}
		if _, pattern := d.mux.Handler(probe); strings.HasPrefix(pattern, method+" ") || method == http.MethodHead && strings.HasPrefix(pattern, get+" ") {
			allow = append(allow, method)
		}
	}
	if len(allow) > 0 {
		w.Header().Set("Allow", strings.Join(allow, ", "))
		WriteError(w, r, &wireError{http.StatusMethodNotAllowed, "ENDPOINT_NOT_FOUND", r.Method + " is not a method of " + clip(r.URL.Path) + "; it has " + strings.Join(allow, ", ")})
		return
	}
	WriteError(w, r, &wireError{http.StatusNotFound, "ENDPOINT_NOT_FOUND", "There is nothing at " + clip(r.URL.Path)})
}
