// Package client is the Go SDK of Pedigree: one method per operation of the registry's
// API, with the root package's types in and out. An error that the server decided on
// comes back as the same [pedigree.Error]: same code, message and fix.
//
// It owns what a caller's side of the contract needs: [Client.Push] and [Client.Pull]
// move folders of any size with flat memory and check every digest on this side too;
// [Client.Remember] keeps the last checkpoint of a server's log and refuses a log that
// is not its continuation.
//
// Calls are tried again after a lost connection or an outage where that can't do harm:
// reads, uploads by digest, and changes, which carry an Idempotency-Key for it. A
// deadline or a cancelled context ends that at once; its error is then in the chain.
//
// The package must never trust what it receives: paths are checked again before a file
// is made, bytes against their digests before they appear, proofs before a checkpoint
// is kept. It imports the root package and internal/ledger, and nothing of the server.
//
// Invariant: what Push registered has the digests that were read from the disk, and
// what Pull leaves under its destination is one whole artifact.
package client

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	mathrand "math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/pedigree-ml/pedigree"
)

// Config says which registry to speak to, and how.
type Config struct {
	// URL is the address of the server: "http://127.0.0.1:8080", with a path where it
	// is behind one. Required.
	URL string
	// HTTP sends the requests; nil stands for a client with kept connections, large
	// buffers and no time limit (use the context for one).
	HTTP *http.Client
	// Token says who calls a registry that has accounts; "" says nothing. It is sent to URL
	// and nowhere else.
	Token string
	// Project is where references look that name none; "" stands for
	// [pedigree.DefaultProject].
	Project pedigree.ProjectName
	// UserAgent names the program to the server's request log; "" stands for
	// "pedigree-go".
	UserAgent string
	// Retries is how often a call is tried again after an outage; 0 stands for 3, -1
	// for never.
	Retries int
	// BeforeChange, where not nil, is shown every request that would change the registry
	// before it is sent, token included. What it returns, an answer or an error, stands in
	// the place of sending it, so that a caller can ask what would be changed; (nil, nil)
	// lets it go. It may be called from several goroutines at once.
	BeforeChange func(*http.Request) (*http.Response, error)
}

// Client speaks to one registry. Its methods may be called from any goroutine.
type Client struct {
	base      string // without a slash at its end
	shown     string // base, without a password
	http      *http.Client
	project   pedigree.ProjectName
	userAgent string
	retries   int
	token     string
	before    func(*http.Request) (*http.Response, error) // [Config.BeforeChange]
	names     *names
}

// New returns a Client. It sends nothing yet. It returns [pedigree.CodeInvalid] for an
// address that is none.
func New(cfg Config) (*Client, error) {
	u, err := url.Parse(cfg.URL)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.Fragment != "" {
		return nil, pedigree.Errorf(pedigree.CodeInvalid, "%q is not the address of a server", redact(cfg.URL)).
			WithFix("write it like http://127.0.0.1:8080 or https://models.example.org")
	}
	c := &Client{
		base:      strings.TrimRight(u.String(), "/"),
		shown:     strings.TrimRight(u.Redacted(), "/"),
		http:      cfg.HTTP,
		project:   cfg.Project,
		userAgent: cfg.UserAgent,
		retries:   max(cfg.Retries, 0),
		token:     cfg.Token,
		before:    cfg.BeforeChange,
		names:     &names{},
	}
	if cfg.Retries == 0 {
		c.retries = 3
	}
	if c.http == nil {
		c.http = &http.Client{Transport: newTransport()}
	}
	if c.project == "" {
		c.project = pedigree.DefaultProject
	}
	if _, err := pedigree.ParseProjectName(string(c.project)); err != nil {
		return nil, err
	}
	if c.userAgent == "" {
		c.userAgent = "pedigree-go"
	}
	return c, nil
}

// redact hides a password in a text that could not be parsed as a URL.
func redact(s string) string {
	if at := strings.LastIndexByte(s, '@'); at >= 0 {
		return "…" + s[at:]
	}
	return s
}

// In returns a Client for the same server that looks in project.
func (c *Client) In(project pedigree.ProjectName) *Client {
	in := *c
	if in.project = project; project == "" {
		in.project = pedigree.DefaultProject
	}
	return &in
}

// Project is where c looks when a reference names no project.
func (c *Client) Project() pedigree.ProjectName { return c.project }

// bufferSize is one read or write of a transfer.
const bufferSize = 256 << 10

// newTransport speaks HTTP/1.1 alone: large files go over connections of their own,
// which HTTP/2 would fold into one with small windows.
func newTransport() *http.Transport {
	return &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		TLSHandshakeTimeout:   10 * time.Second,
		MaxIdleConnsPerHost:   64,
		IdleConnTimeout:       90 * time.Second,
		ExpectContinueTimeout: time.Second,
		DisableCompression:    true,
		WriteBufferSize:       bufferSize,
		ReadBufferSize:        bufferSize / 4, // larger reads go past it, into the buffer that is hashed
		Protocols:             http1(),
	}
}

func http1() *http.Protocols {
	var p http.Protocols
	p.SetHTTP1(true)
	return &p
}

// request is one call before it is sent.
type request struct {
	method string
	// path below the server's address, escaped.
	path  string
	query url.Values
	// in is marshalled as the body; nil sends none.
	in any
	// open, where not nil, makes the body instead, of size bytes (-1: not known).
	open func() (io.ReadCloser, error)
	size int64
	// once says that open can't be called twice.
	once    bool
	ifMatch *int64
	header  http.Header
	// safe says that a call other than GET changes the same thing when it is sent again.
	safe bool
	// reads says that a call other than GET changes nothing.
	reads bool
	// keyed sends an Idempotency-Key even where nothing is tried again.
	keyed bool
}

// changes says that r would change the registry.
func (r *request) changes() bool {
	return r.method != http.MethodGet && r.method != http.MethodHead && !r.reads
}

const api = "/api/v1/"

// call sends r and reads the answer into out, where that is not nil.
func (c *Client) call(ctx context.Context, r request, out any) error {
	resp, err := c.send(ctx, r)
	if err != nil {
		return err
	}
	defer drain(resp)
	if out == nil {
		return nil
	}
	defer func() { c.names.learn(out) }()
	if err := json.NewDecoder(resp.Body).Decode(out); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return pedigree.Errorf(pedigree.CodeUnavailable, "the answer of %s can't be read: %w", c.shown, err).
			WithFix("is this the address of a Pedigree server, and is it as new as this program?")
	}
	return nil
}

// ask is call for an answer of type T.
func ask[T any](ctx context.Context, c *Client, r request) (T, error) {
	var out T
	err := c.call(ctx, r, &out)
	return out, err
}

// drain reads what is left of a small answer, so that the connection is kept.
func drain(resp *http.Response) {
	_, _ = io.CopyN(io.Discard, resp.Body, 64<<10)
	_ = resp.Body.Close()
}

// send sends r, again after outages, and returns an answer below 300 with its body
// open. Any other answer is an error.
func (c *Client) send(ctx context.Context, r request) (*http.Response, error) {
	if r.in != nil {
		b, err := encode(r.in)
		if err != nil {
			return nil, pedigree.Errorf(pedigree.CodeInvalid, "the request can't be written as JSON: %w", err)
		}
		r.open = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b)), nil }
		r.size = int64(len(b))
	}
	retries, key := c.retries, ""
	switch {
	case r.once:
		retries = 0
	case r.keyed, r.changes() && !r.safe && retries > 0:
		key = rand.Text() // makes the change happen once, however often it is sent
	}
	for try := 0; ; try++ {
		resp, err := c.try(ctx, &r, key)
		if err == nil || try == retries || pedigree.CodeOf(err) != pedigree.CodeUnavailable {
			return resp, err
		}
		var wait retryAfter
		errors.As(err, &wait)
		if err := pause(ctx, try, time.Duration(wait)); err != nil {
			return nil, err
		}
	}
}

// try sends r once.
func (c *Client) try(ctx context.Context, r *request, key string) (*http.Response, error) {
	target := c.base + r.path
	if len(r.query) > 0 {
		target += "?" + r.query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, r.method, target, nil)
	if err != nil {
		return nil, pedigree.Errorf(pedigree.CodeInvalid, "no address can be made for this request: %w", err)
	}
	for name, values := range r.header {
		req.Header[name] = values
	}
	req.Header.Set("User-Agent", c.userAgent)
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	if r.in != nil {
		req.Header.Set("Content-Type", "application/json")
		req.GetBody = r.open
	}
	if key != "" {
		req.Header.Set("Idempotency-Key", key)
	}
	if r.ifMatch != nil {
		req.Header.Set("If-Match", `"`+strconv.FormatInt(*r.ifMatch, 10)+`"`)
	}
	if r.open != nil {
		if req.Body, err = r.open(); err != nil {
			return nil, err
		}
		if req.ContentLength = r.size; r.size == 0 {
			_ = req.Body.Close()
			req.Body = http.NoBody
		}
	}
	resp, err := c.do(r, req)
	if err != nil {
		return nil, c.sendError(ctx, err)
	}
	if resp.StatusCode >= 300 {
		defer drain(resp)
		return nil, c.answerError(resp)
	}
	return resp, nil
}

// do sends req, or has another answer for it: see [Config.BeforeChange].
func (c *Client) do(r *request, req *http.Request) (*http.Response, error) {
	if c.before == nil || !r.changes() {
		return c.http.Do(req)
	}
	resp, err := c.before(req)
	if resp == nil && err == nil {
		return c.http.Do(req)
	}
	if req.Body != nil {
		_ = req.Body.Close()
	}
	return resp, err
}

// Rehearse asks the registry what a change would bring and does not make it: req is one that
// [Config.BeforeChange] was shown, and it is left as it was where it has no body or GetBody.
// It returns the refusal where the change would be refused, and [pedigree.CodeUnsupported]
// where the registry can't tell without doing it.
func (c *Client) Rehearse(req *http.Request) (pedigree.Rehearsed, error) {
	var out pedigree.Rehearsed
	ask := req.Clone(req.Context())
	query := ask.URL.Query()
	query.Set("dry_run", "true")
	ask.URL.RawQuery = query.Encode()
	ask.Header.Del("Idempotency-Key")
	resp, err := c.http.Do(ask)
	if err != nil {
		return out, c.sendError(req.Context(), err)
	}
	defer drain(resp)
	if resp.StatusCode >= 300 {
		return out, c.answerError(resp)
	}
	if err := json.NewDecoder(resp.Body).Decode(&out); err != nil || !out.DryRun {
		return out, pedigree.Errorf(pedigree.CodeUnsupported, "%s does not answer a dry run", c.shown)
	}
	return out, nil
}

// sendError turns the error of a request that got no answer into one to act on.
func (c *Client) sendError(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("ask %s: %w", c.shown, ctx.Err())
	}
	var own *pedigree.Error
	if errors.As(err, &own) { // from a body that could not be read
		return own
	}
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "dial" {
		return &pedigree.Error{
			Code: pedigree.CodeUnavailable, Message: "no server answers at " + c.shown,
			Fix: "start one with pedigree serve, or give the right address", Err: err,
		}
	}
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	var local *fs.PathError
	if errors.As(err, &local) { // the file that is sent can't be read
		return localError("send", err)
	}
	return pedigree.Errorf(pedigree.CodeUnavailable, "the connection to %s failed: %w", c.shown, err).WithFix("try again")
}

// retryAfter is the cause of an outage's error when the server said how long to wait.
type retryAfter time.Duration

func (r retryAfter) Error() string { return "the server asks to wait " + time.Duration(r).String() }

// problem is the part of a problem document (RFC 9457) that makes a [pedigree.Error].
type problem struct {
	Code      pedigree.ErrorCode `json:"code"`
	Title     string             `json:"title"`
	Detail    string             `json:"detail"`
	Fix       string             `json:"fix"`
	Current   string             `json:"current"`
	RequestID string             `json:"request_id"`
}

// answerError reads the error that an answer of 300 or more carries.
func (c *Client) answerError(resp *http.Response) error {
	var p problem
	if strings.HasPrefix(resp.Header.Get("Content-Type"), "application/problem+json") {
		_ = json.NewDecoder(io.LimitReader(resp.Body, 1<<20)).Decode(&p)
	}
	if p.Code == "" { // a proxy, or another kind of server
		p.Code = foreignCode(resp.StatusCode)
		p.Detail = fmt.Sprintf("%s answered %s, and not in Pedigree's way", c.shown, resp.Status)
		p.Fix = "is this the address of a Pedigree server?"
		if p.Code == pedigree.CodeUnavailable {
			p.Fix = "try again later"
		}
	}
	e := &pedigree.Error{Code: p.Code, Message: p.Detail, Fix: p.Fix, Current: p.Current}
	if e.Message == "" {
		e.Message = p.Title
	}
	if p.Code == pedigree.CodeInternal && p.RequestID != "" {
		e.Message += " (request " + p.RequestID + ")"
	}
	if seconds, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && seconds > 0 {
		e.Err = retryAfter(time.Duration(seconds) * time.Second)
	}
	return e
}

// foreignCode is the code for an answer that is not a problem document.
func foreignCode(status int) pedigree.ErrorCode {
	switch status {
	case http.StatusUnauthorized, http.StatusProxyAuthRequired:
		return pedigree.CodeUnauthenticated
	case http.StatusForbidden:
		return pedigree.CodeForbidden
	case http.StatusNotFound, http.StatusMethodNotAllowed:
		return pedigree.CodeNotFound
	case http.StatusRequestEntityTooLarge:
		return pedigree.CodeTooLarge
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return pedigree.CodeUnavailable
	case http.StatusBadRequest:
		return pedigree.CodeInvalid
	}
	return pedigree.CodeInternal
}

// pause waits before try is followed by the next: the longer of what the server asked
// for (up to half a minute) and a time that doubles, with chance in it so that many
// clients don't come back at once.
func pause(ctx context.Context, try int, asked time.Duration) error {
	wait := min(100*time.Millisecond<<min(try, 6), 5*time.Second)
	wait = wait/2 + mathrand.N(wait)
	timer := time.NewTimer(max(wait, min(asked, 30*time.Second)))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// encode is json.Marshal without HTML escaping.
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err := enc.Encode(v)
	return b.Bytes(), err
}

// escape joins segments to a path of the API; a segment is escaped as a whole.
func escape(segments ...string) string {
	var b strings.Builder
	b.WriteString(api)
	for i, s := range segments {
		if i > 0 {
			b.WriteByte('/')
		}
		b.WriteString(escapeSegment(s))
	}
	return b.String()
}

// escapeSegment is url.PathEscape, and also hides what a path would be cleaned of.
func escapeSegment(s string) string {
	if s == "." || s == ".." {
		return strings.ReplaceAll(s, ".", "%2E")
	}
	return url.PathEscape(s)
}

// escapeRest escapes a text that may hold slashes, for the end of a path. They stay as
// they are where cleaning the path would not change it.
func escapeRest(s string) string {
	if path.Clean("/"+s) != "/"+s {
		return escapeSegment(s)
	}
	parts := strings.Split(s, "/")
	for i := range parts {
		parts[i] = escapeSegment(parts[i])
	}
	return strings.Join(parts, "/")
}

// projectPath is the path of something in c's project.
func (c *Client) projectPath(segments ...string) string {
	return escape(append([]string{"projects", string(c.project)}, segments...)...)
}

// modelPath is the path of something of a model in c's project.
func (c *Client) modelPath(model pedigree.Name, segments ...string) string {
	return c.projectPath(append([]string{"models", string(model)}, segments...)...)
}

// versionPath is the path of something of the version that ref names.
func (c *Client) versionPath(ref pedigree.Reference, segments ...string) string {
	ref = ref.In(c.project)
	return c.In(ref.Project).modelPath(ref.Model, append([]string{"versions", selector(ref)}, segments...)...)
}

// selector is the segment that chooses a version of a model.
func selector(ref pedigree.Reference) string {
	switch {
	case ref.Version != 0:
		return ref.Version.String()
	case ref.Alias != "":
		return "@" + string(ref.Alias)
	case ref.Digest != "":
		return string(ref.Digest)
	}
	return "latest"
}

// asOf is the query of a question about a moment.
func asOf(at pedigree.At) url.Values {
	q := url.Values{}
	if !at.IsNow() {
		q.Set("as_of", at.String())
	}
	return q
}

// paged adds a page to a query.
func paged(q url.Values, page pedigree.Page) url.Values {
	if page.Limit > 0 {
		q.Set("limit", strconv.Itoa(page.Limit))
	}
	if page.Cursor != "" {
		q.Set("cursor", page.Cursor)
	}
	return q
}

// set adds a text to a query that is not empty.
func set(q url.Values, key, value string) url.Values {
	if value != "" {
		q.Set(key, value)
	}
	return q
}
