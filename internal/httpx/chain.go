package httpx

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path"
	"runtime/debug"
	"strings"
	"time"

	"github.com/pedigree-ml/pedigree"
)

// Config is what [Chain] needs.
type Config struct {
	// Log gets one line a request. Required.
	Log *slog.Logger
	// NewID makes the server's id of a request. Required.
	NewID func() string
	// Now is the clock for durations. Required.
	Now func() time.Time
	// Hosts are the names by which clients may call the server, without ports; nil
	// allows all. A server without accounts sets it: a page of another site whose name
	// was made to point here (DNS rebinding) still sends that name.
	Hosts []string
	// AnyHost, where not nil, is asked about a request that names another host: it says
	// that callers are known by accounts, so that no name is a danger.
	AnyHost func(context.Context) bool
	// Origins are foreign origins ("https://ci.example.org") whose pages may send
	// changes from a browser.
	Origins []string
	// Observe is told of every request when it is over; nil is told nothing. route is
	// the pattern that it matched, "" for none.
	Observe func(route, method string, status int, d time.Duration)
	// WriteError answers a request that the chain itself refuses, or whose handler
	// panicked; nil stands for [WriteError]. A dialect has errors of its own shape.
	WriteError func(w http.ResponseWriter, r *http.Request, err error)
}

// LoopbackHosts are the names of a server that only this machine can reach, and the
// host of the address it was told to listen on.
func LoopbackHosts(address string) []string {
	hosts := []string{"localhost", "127.0.0.1", "::1", "pedigree.embedded"}
	if host, _, err := net.SplitHostPort(address); err == nil && host != "" {
		hosts = append(hosts, host)
	}
	return hosts
}

// Info is what is known of a request beside itself.
type Info struct {
	// ID is the server's id of the request.
	ID string
	// Err is why it was refused or failed, for the log.
	Err error

	began bool
}

// Began says that the answer has begun: an error can't be told any more.
func (i *Info) Began() bool { return i.began }

type infoKey struct{}

// InfoOf returns the Info of the request that ctx belongs to; an empty one outside of a
// [Chain].
func InfoOf(ctx context.Context) *Info {
	if info, ok := ctx.Value(infoKey{}).(*Info); ok {
		return info
	}
	return &Info{}
}

// Chain wraps everything that a server offers. A panic of next is answered as a failure
// and logged; where the answer has begun, Chain panics with [http.ErrAbortHandler], which
// net/http takes as the order to cut the connection.
func Chain(next http.Handler, cfg Config) (http.Handler, error) {
	c := &chain{next: next, cfg: cfg, origins: http.NewCrossOriginProtection()}
	if c.cfg.WriteError == nil {
		c.cfg.WriteError = WriteError
	}
	for _, o := range cfg.Origins {
		if err := c.origins.AddTrustedOrigin(o); err != nil {
			return nil, pedigree.Errorf(pedigree.CodeInvalid, "%q is not an origin: want https://name", o)
		}
	}
	if cfg.Hosts != nil {
		c.hosts = map[string]bool{}
		for _, h := range cfg.Hosts {
			c.hosts[strings.ToLower(strings.Trim(h, "[]"))] = true
		}
	}
	return c, nil
}

type chain struct {
	next    http.Handler
	cfg     Config
	origins *http.CrossOriginProtection
	hosts   map[string]bool
}

// exchange is one request on its way: what is known of it and its answer.
type exchange struct {
	Info
	http.ResponseWriter
	status int
	bytes  int64
}

func (c *chain) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	start := c.cfg.Now()
	x := &exchange{ResponseWriter: w, Info: Info{ID: c.cfg.NewID()}}
	w.Header()["X-Request-Id"] = []string{x.ID}
	r = r.WithContext(context.WithValue(r.Context(), infoKey{}, &x.Info))
	defer func() {
		p := recover()
		if p != nil && p != http.ErrAbortHandler {
			x.Err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
			if !x.began {
				c.cfg.WriteError(x, r, x.Err)
				p = nil
			}
		}
		c.end(x, r, c.cfg.Now().Sub(start))
		if p != nil {
			panic(http.ErrAbortHandler)
		}
	}()
	if err := c.guard(r); err != nil {
		c.cfg.WriteError(x, r, err)
		return
	}
	c.next.ServeHTTP(x, r)
}

// guard refuses requests before anybody looks at what they ask for.
func (c *chain) guard(r *http.Request) error {
	if c.hosts != nil && r.Host != "" && !c.hosts[hostOf(r.Host)] && (c.cfg.AnyHost == nil || !c.cfg.AnyHost(r.Context())) {
		return pedigree.Errorf(pedigree.CodeForbidden, "this server is not called %s", clip(r.Host)).
			WithFix("call it by the address it listens on, or make accounts: pedigree admin init")
	}
	if err := c.origins.Check(r); err != nil {
		return pedigree.Errorf(pedigree.CodeForbidden, "a page of another site sent this request: %w", err)
	}
	// The mux would answer with a redirect; nobody who escapes segments sends these.
	if p := r.URL.EscapedPath(); strings.Contains(p, "//") || strings.Contains(p, "/.") && path.Clean(p) != strings.TrimSuffix(p, "/") {
		return pedigree.Errorf(pedigree.CodeNotFound, "the path %s has empty or dot segments", clip(p)).WithFix("escape what stands in a path")
	}
	return nil
}

// hostOf is the name in a Host header, without its port.
func hostOf(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	return strings.ToLower(strings.TrimSuffix(strings.Trim(host, "[]"), "."))
}

// end logs and counts a request that is over.
func (c *chain) end(x *exchange, r *http.Request, d time.Duration) {
	if x.status == 0 {
		x.status = http.StatusOK
	}
	if c.cfg.Observe != nil {
		c.cfg.Observe(r.Pattern, r.Method, x.status, d)
	}
	level := slog.LevelInfo
	switch {
	case x.status == http.StatusServiceUnavailable: // an outage, which the caller was told of
		level = slog.LevelWarn
	case x.status >= 500:
		level = slog.LevelError
	}
	if !c.cfg.Log.Enabled(r.Context(), level) {
		return
	}
	attrs := make([]slog.Attr, 0, 12)
	attrs = append(attrs,
		slog.String("method", clip(r.Method)), slog.String("route", r.Pattern), slog.Int("status", x.status),
		slog.Int64("bytes", x.bytes), slog.Duration("duration", d), slog.String("request_id", x.ID))
	if id := r.Header.Get("X-Request-Id"); id != "" {
		attrs = append(attrs, slog.String("caller_id", clip(id)))
	}
	if trace := r.Header.Get("Traceparent"); isTraceparent(trace) {
		attrs = append(attrs, slog.String("traceparent", trace))
	}
	if agent := r.UserAgent(); agent != "" {
		attrs = append(attrs, slog.String("agent", clip(agent)))
	}
	if x.Err != nil {
		attrs = append(attrs, slog.String("path", clip(r.URL.Path)), slog.String("error", detail(x.Err)))
	}
	c.cfg.Log.LogAttrs(r.Context(), level, "request", attrs...)
}

// detail is an error for the log, with the cause that its caller was not told.
func detail(err error) string {
	text := err.Error()
	for cause := errors.Unwrap(err); cause != nil; cause = errors.Unwrap(cause) {
		if !strings.Contains(text, cause.Error()) {
			text += ": " + cause.Error()
		}
	}
	return text
}

// isTraceparent checks the form of W3C trace context: version, trace, span, flags.
func isTraceparent(s string) bool {
	if len(s) != 55 || s[2] != '-' || s[35] != '-' || s[52] != '-' {
		return false
	}
	return strings.Trim(s, "0123456789abcdef-") == ""
}

// WriteHeader implements [http.ResponseWriter].
func (x *exchange) WriteHeader(status int) {
	if status >= 200 && !x.began {
		x.began, x.status = true, status
	}
	x.ResponseWriter.WriteHeader(status)
}

// Write implements [http.ResponseWriter].
func (x *exchange) Write(p []byte) (int, error) {
	x.begin()
	n, err := x.ResponseWriter.Write(p)
	x.bytes += int64(n)
	return n, err
}

// ReadFrom lets net/http send a file without copying it through the process.
func (x *exchange) ReadFrom(r io.Reader) (int64, error) {
	x.begin()
	n, err := io.Copy(x.ResponseWriter, r)
	x.bytes += n
	return n, err
}

func (x *exchange) begin() {
	if !x.began {
		x.began, x.status = true, http.StatusOK
	}
}

// Unwrap is for [http.ResponseController].
func (x *exchange) Unwrap() http.ResponseWriter { return x.ResponseWriter }
