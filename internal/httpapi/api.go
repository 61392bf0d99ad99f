// Package httpapi is the native API of Pedigree, under /api/v1: it turns requests into
// calls of the registrar, and what these return into JSON.
//
// It owns the URLs, the query parameters and the headers of this one dialect, in one
// table of routes ([API.Routes]), from which both the mux and the OpenAPI document are
// made. A test compares the document that is served (openapi.json, embedded) with the
// table and the root package's types.
//
// It must never hold a rule of the registry, and never touch storage: a handler reads
// what it was given, calls one method, and writes what came back. It imports the root
// package, registrar, httpx, and notify for watches and tests of webhooks.
//
// Names may hold any character but "/" and ":", so that segments of a path are matched
// escaped and read unescaped; the mux of net/http does both.
package httpapi

import (
	_ "embed"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/internal/httpx"
	"github.com/pedigree-ml/pedigree/internal/notify"
	"github.com/pedigree-ml/pedigree/internal/registrar"
)

// Prefix is where the API is.
const Prefix = "/api/v1"

// document is the OpenAPI document, kept in step by a test.
//
//go:embed openapi.json
var document []byte

// Options are what an [API] may be told; Caller may be nil.
type Options struct {
	// Now is the clock that ages ("-2h") count from. Required.
	Now func() time.Time
	// Feed serves watches. Required.
	Feed *notify.Feed
	// Notifier tests webhooks. Required.
	Notifier *notify.Notifier
	// Caller says who sends a request; nil stands for [pedigree.Local].
	Caller func(*http.Request) (pedigree.Principal, error)
}

// API answers the requests of the native API.
type API struct {
	registrar *registrar.Registrar
	now       func() time.Time
	feed      *notify.Feed
	notifier  *notify.Notifier
	caller    func(*http.Request) (pedigree.Principal, error)
	mux       *http.ServeMux
}

// New returns the API of a registry. Mount [API.Handler] at /api/, inside of
// [httpx.Chain].
func New(r *registrar.Registrar, opts Options) *API {
	a := &API{registrar: r, now: opts.Now, feed: opts.Feed, notifier: opts.Notifier, caller: opts.Caller, mux: http.NewServeMux()}
	if a.caller == nil {
		a.caller = func(*http.Request) (pedigree.Principal, error) { return pedigree.Local, nil }
	}
	for _, route := range a.Routes() {
		a.mux.Handle(route.Method+" "+Prefix+route.Pattern, a.serve(route))
	}
	a.mux.HandleFunc("/", a.serveOther)
	return a
}

// Handler returns the handler of everything under /api/.
func (a *API) Handler() http.Handler { return a.mux }

// serveOther answers what no route matches: an unknown path, or another method.
func (a *API) serveOther(w http.ResponseWriter, r *http.Request) {
	var allow []string
	for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"} {
		probe := &http.Request{Method: method, URL: r.URL, Host: r.Host, Header: http.Header{}}
		if _, pattern := a.mux.Handler(probe); pattern != "" && pattern != "/" {
			allow = append(allow, method)
		}
	}
	if len(allow) > 0 {
		httpx.NotAllowed(w, r, strings.Join(allow, ", "))
		return
	}
	httpx.NotFound(w, r)
}

// serve makes the handler of a route: what is common to all comes first.
func (a *API) serve(route Route) http.Handler {
	allowed := map[string]bool{}
	for _, p := range route.Query {
		allowed[p.Name] = p.Many
	}
	return httpx.Handler(func(w http.ResponseWriter, r *http.Request) error {
		c := &call{a: a, w: w, r: r, route: &route}
		if err := c.parseQuery(allowed); err != nil {
			return err
		}
		if route.Request != nil {
			var err error
			if c.body, err = httpx.ReadBody(w, r, httpx.MaxBody); err != nil {
				return err
			}
		}
		if route.Public {
			return route.handle(c)
		}
		caller, err := a.caller(r)
		if err != nil {
			return err
		}
		if c.principal, err = httpx.Identify(caller, r, c.body); err != nil {
			return err
		}
		if route.Judged {
			if c.principal.DryRun, err = c.flag(judgedParam.Name); err != nil {
				return err
			}
			if c.principal.DryRun { // asks again every time
				c.principal.IdempotencyKey, c.principal.Fingerprint = "", ""
			}
		}
		err = route.handle(c)
		var rehearsed *pedigree.Rehearsed
		if errors.As(err, &rehearsed) {
			return httpx.WriteJSON(w, http.StatusOK, rehearsed)
		}
		return err
	})
}
