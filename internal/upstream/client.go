// Package upstream reads from somebody else's MLflow server: registered models and their
// versions, runs, logged models, and the bytes of artifacts.
//
// It owns that side of MLflow's wire: paths, pages, JSON shapes, errors, credentials and
// time limits. What it reads of runs and logged models it returns as package mlrecord
// has it. The registry-only mode of the server and "pedigree import mlflow" speak to
// MLflow through it.
//
// It must never write to that server, never leave the address that it was given (a
// redirect to another host is an error, and no URI of an answer is followed), and never
// put a credential into an error.
//
// Invariant: an error says by its code whether trying again can help:
// [pedigree.CodeUnavailable] says that it can, every other code that it can't.
package upstream

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/pedigree-ml/pedigree"
)

// Config says which server to read, and as whom.
type Config struct {
	// URL is the address of the server, with a path where it is below one. Required.
	URL string
	// Username and Password, or Token, are sent with every request; all may be empty.
	Username, Password, Token string
	// Timeout is how long the server may take to begin an answer, and how long it may
	// pause within one. Zero: a minute.
	Timeout time.Duration
	// UserAgent names the program to the server; zero: "pedigree".
	UserAgent string
}

// Client reads one MLflow server. Its methods may be called from any goroutine.
type Client struct {
	cfg  Config
	base *url.URL
	http *http.Client
}

// CheckURL returns [pedigree.CodeInvalid] for what can't be the address of a server.
func CheckURL(address string) error {
	_, err := parseURL(address)
	return err
}

// Address is the one spelling of the address of a server: scheme and host in small letters,
// without the port that the scheme implies and without slashes at the end. It returns
// [pedigree.CodeInvalid] for what can't be one.
func Address(address string) (string, error) {
	u, err := parseURL(address)
	if err != nil {
		return "", err
	}
	return u.String(), nil
}

func parseURL(address string) (*url.URL, error) {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.Fragment != "" {
		return nil, pedigree.Errorf(pedigree.CodeInvalid, "that is not the address of an MLflow server").WithFix("write it like http://mlflow.example.org:5000")
	}
	if u.User != nil {
		return nil, pedigree.Errorf(pedigree.CodeInvalid, "the address %s has a user or a password in it, which would be shown", u.Redacted()).
			WithFix("give the address without them, and the credentials apart")
	}
	u.Path = strings.TrimRight(u.Path, "/")
	u.RawPath = strings.TrimRight(u.RawPath, "/")
	u.Host = host(u.Scheme, u.Host)
	return u, nil
}

// host is a host with its port in one spelling.
func host(scheme, s string) string {
	s = strings.TrimSuffix(strings.ToLower(s), ":")
	if scheme == "https" {
		return strings.TrimSuffix(s, ":443")
	}
	return strings.TrimSuffix(s, ":80")
}

// New returns a Client. It sends nothing yet. It returns [pedigree.CodeInvalid] for an
// address that is none, and for a token beside a user.
func New(cfg Config) (*Client, error) {
	u, err := parseURL(cfg.URL)
	if err != nil {
		return nil, err
	}
	if cfg.Token != "" && cfg.Username+cfg.Password != "" {
		return nil, pedigree.Errorf(pedigree.CodeInvalid, "both a token and a user are given for the MLflow server: which one is meant?").WithFix("give one of them")
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = time.Minute
	}
	if cfg.UserAgent == "" {
		cfg.UserAgent = "pedigree"
	}
	transport := &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		TLSHandshakeTimeout:   10 * time.Second,
		ResponseHeaderTimeout: cfg.Timeout,
		MaxIdleConnsPerHost:   16,
		IdleConnTimeout:       90 * time.Second,
		DisableCompression:    true, // models do not compress, and ranges count the plain bytes
	}
	c := &Client{cfg: cfg, base: u}
	c.http = &http.Client{Transport: transport, CheckRedirect: c.checkRedirect}
	return c, nil
}

// URL is the address that c was given, as [Address] spells it.
func (c *Client) URL() string { return c.base.String() }

// Owns says whether a URI names the server of c as its host.
func (c *Client) Owns(u *url.URL) bool {
	if c == nil || u == nil {
		return false
	}
	host := host(c.base.Scheme, u.Host)
	return host == c.base.Host || host == c.base.Hostname()
}

// errElsewhere is a redirect to another host.
var errElsewhere = errors.New("the server sends us to another host")

func (c *Client) checkRedirect(r *http.Request, via []*http.Request) error {
	if host(c.base.Scheme, r.URL.Host) != c.base.Host || r.URL.Scheme != c.base.Scheme || len(via) > 5 {
		return errElsewhere
	}
	return nil
}

// The tries of one request, and the pauses between them.
var pauses = []time.Duration{200 * time.Millisecond, time.Second}

// maxAnswer is the most bytes of an answer that is not a file.
const maxAnswer = 64 << 20

// get reads the JSON at a path into out.
func (c *Client) get(ctx context.Context, path string, query url.Values, out any) error {
	resp, err := c.open(ctx, path, query, nil)
	if err != nil {
		return err
	}
	body := c.watch(resp.Body)
	defer func() { _ = body.Close() }()
	b, err := io.ReadAll(io.LimitReader(body, maxAnswer+1))
	switch {
	case err != nil:
		return c.failed(ctx, err)
	case len(b) > maxAnswer:
		return pedigree.Errorf(pedigree.CodeTooLarge, "%s answers with more than %d bytes", c.base, maxAnswer)
	}
	if err := json.Unmarshal(b, out); err != nil {
		return pedigree.Errorf(pedigree.CodeUnsupported, "what answers at %s does not speak MLflow: %w", c.base, err).WithFix("check the address, and that nothing stands before the server")
	}
	return nil
}

// open sends a GET request and returns an answer of status 200 or 206; the caller closes
// its body. An outage is tried again.
func (c *Client) open(ctx context.Context, path string, query url.Values, header http.Header) (*http.Response, error) {
	for try := 0; ; try++ {
		resp, err := c.try(ctx, path, query, header)
		if pedigree.CodeOf(err) != pedigree.CodeUnavailable || try == len(pauses) || ctx.Err() != nil {
			return resp, err
		}
		select {
		case <-time.After(pauses[try]):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (c *Client) try(ctx context.Context, path string, query url.Values, header http.Header) (*http.Response, error) {
	address := c.base.String() + path
	if len(query) > 0 {
		address += "?" + query.Encode()
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, fmt.Errorf("ask %s: %w", c.base, err)
	}
	for name, values := range header {
		r.Header[name] = values
	}
	r.Header.Set("User-Agent", c.cfg.UserAgent)
	switch {
	case c.cfg.Token != "":
		r.Header.Set("Authorization", "Bearer "+c.cfg.Token)
	case c.cfg.Username+c.cfg.Password != "":
		r.SetBasicAuth(c.cfg.Username, c.cfg.Password)
	}
	resp, err := c.http.Do(r)
	if err != nil {
		return nil, c.failed(ctx, err)
	}
	if resp.StatusCode == http.StatusOK || resp.StatusCode == http.StatusPartialContent {
		return resp, nil
	}
	defer func() { _ = resp.Body.Close() }()
	text, _ := io.ReadAll(io.LimitReader(resp.Body, 64<<10)) // what can't be read says nothing
	return nil, c.answered(resp.StatusCode, text)
}

// failed is the error of a request that got no whole answer.
func (c *Client) failed(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err // without the address, whose query is nobody's business
	}
	var dns *net.DNSError
	var cert *tls.CertificateVerificationError
	var record tls.RecordHeaderError
	switch {
	case errors.Is(err, errElsewhere), errors.As(err, &cert), errors.As(err, &record), errors.As(err, &dns) && dns.IsNotFound,
		strings.Contains(err.Error(), "server gave HTTP response to HTTPS client"):
		return pedigree.Errorf(pedigree.CodePrecondition, "the MLflow server at %s can't be used: %w", c.base, err).WithFix("check its address")
	}
	return pedigree.Errorf(pedigree.CodeUnavailable, "the MLflow server at %s does not answer: %w", c.base, err).WithFix("check that it runs, and try again")
}

// answered is the error of an answer that is one.
func (c *Client) answered(status int, body []byte) error {
	var e struct {
		Message string `json:"message"`
	}
	if json.Unmarshal(body, &e) != nil || e.Message == "" {
		e.Message = http.StatusText(status)
	}
	const most = 300
	if len(e.Message) > most {
		e.Message = strings.ToValidUTF8(e.Message[:most], "") + "…"
	}
	said := fmt.Sprintf("the MLflow server at %s says %d: %s", c.base, status, strings.ToValidUTF8(e.Message, "�"))
	switch status {
	case http.StatusUnauthorized, http.StatusForbidden:
		return pedigree.Errorf(pedigree.CodeForbidden, "%s", said).WithFix("give credentials that may read there")
	case http.StatusNotFound:
		return pedigree.Errorf(pedigree.CodeNotFound, "%s", said)
	case http.StatusRequestTimeout, http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return pedigree.Errorf(pedigree.CodeUnavailable, "%s", said).WithFix("try again later")
	}
	return pedigree.Errorf(pedigree.CodeUnsupported, "%s", said) // MLflow says 500 to what can never succeed
}

// watch closes a body on which nothing moves for as long as an answer may take to begin.
func (c *Client) watch(body io.ReadCloser) io.ReadCloser {
	w := &watched{body: body, limit: c.cfg.Timeout}
	w.timer = time.AfterFunc(w.limit, func() { _ = body.Close() })
	return w
}

type watched struct {
	body  io.ReadCloser
	limit time.Duration
	timer *time.Timer
}

func (w *watched) Read(p []byte) (int, error) {
	w.timer.Reset(w.limit)
	return w.body.Read(p)
}

func (w *watched) Close() error {
	w.timer.Stop()
	return w.body.Close()
}
