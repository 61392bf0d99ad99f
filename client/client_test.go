package client_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/client"
)

func TestNew(t *testing.T) {
	for _, url := range []string{"", "localhost:8080", "ftp://x", "http://", "http://x?y", "://", "http://user:secret@[x"} {
		_, err := client.New(client.Config{URL: url})
		wantCode(t, err, pedigree.CodeInvalid)
		if strings.Contains(err.Error(), "secret") {
			t.Errorf("%v tells a password", err)
		}
	}
	_, err := client.New(client.Config{URL: "http://x", Project: "Not One"})
	wantCode(t, err, pedigree.CodeInvalid)
	c := must(client.New(client.Config{URL: "http://x/"}))(t)
	if c.Project() != "default" || c.In("risk").Project() != "risk" || c.In("risk").In("").Project() != "default" {
		t.Error("wrong project")
	}
}

// TestNoServer asks where nobody listens.
func TestNoServer(t *testing.T) {
	l := must(net.Listen("tcp", "127.0.0.1:0"))(t)
	url := "http://" + l.Addr().String()
	_ = l.Close()
	c := must(client.New(client.Config{URL: url, Retries: -1}))(t)
	_, err := c.Projects(t.Context(), pedigree.Page{}, now)
	wantCode(t, err, pedigree.CodeUnavailable)
	var e *pedigree.Error
	if !errors.As(err, &e) || e.Message != "no server answers at "+url || e.Fix == "" {
		t.Errorf("got %+v", e)
	}
}

// TestForeignServer asks something that is not Pedigree.
func TestForeignServer(t *testing.T) {
	for status, code := range map[int]pedigree.ErrorCode{
		200: pedigree.CodeUnavailable, 302: pedigree.CodeInternal, 401: pedigree.CodeUnauthenticated, 403: pedigree.CodeForbidden, 404: pedigree.CodeNotFound,
		413: pedigree.CodeTooLarge, 418: pedigree.CodeInternal, 500: pedigree.CodeInternal, 502: pedigree.CodeUnavailable,
	} {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			fmt.Fprint(w, "<html>hello")
		}))
		c := must(client.New(client.Config{URL: srv.URL + "/prefix", Retries: -1}))(t)
		_, err := c.Projects(t.Context(), pedigree.Page{}, now)
		wantCode(t, err, code)
		srv.Close()
	}
}

// TestErrors finds the server's error whole on this side.
func TestErrors(t *testing.T) {
	r := newRegistry(t)
	must(r.Register(t.Context(), "fraud", linked()))(t)
	_, err := r.Version(t.Context(), ref(t, "fruad/1"), now)
	var e *pedigree.Error
	if !errors.As(err, &e) || *e != (pedigree.Error{Code: pedigree.CodeNotFound, Message: "there is no model fruad in project default", Fix: "did you mean fraud?"}) {
		t.Errorf("got %+v", e)
	}
	seven := pedigree.VersionNumber(7)
	_, err = r.SetAlias(t.Context(), ref(t, "fraud/1"), "production", &seven, "")
	if !errors.As(err, &e) || e.Code != pedigree.CodeConflict || e.Current != "fraud@production is not set" {
		t.Errorf("got %+v", e)
	}
}

// TestRetries counts how often a call is sent when the server is out of order.
func TestRetries(t *testing.T) {
	var sent atomic.Int64
	keys := map[string]bool{}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		sent.Add(1)
		if r.Method != http.MethodGet {
			keys[r.Header.Get("Idempotency-Key")] = true
		}
		w.WriteHeader(http.StatusServiceUnavailable)
	}))
	defer srv.Close()
	for _, tc := range []struct {
		name    string
		retries int
		want    int64
		call    func(c *client.Client) error
	}{
		{"read", 1, 2, func(c *client.Client) error { _, err := c.Keys(t.Context()); return err }},
		{"read, never", -1, 1, func(c *client.Client) error { _, err := c.Keys(t.Context()); return err }},
		{"change", 1, 2, func(c *client.Client) error { _, err := c.Register(t.Context(), "fraud", linked()); return err }},
		{"question by POST", 1, 2, func(c *client.Client) error {
			_, err := c.MissingBlobs(t.Context(), []pedigree.Digest{pedigree.DigestBytes(nil)})
			return err
		}},
		{"upload that can't be read again", 1, 1, func(c *client.Client) error {
			return c.PutBlob(t.Context(), pedigree.DigestBytes([]byte("x")), 1, strings.NewReader("x"))
		}},
		{"upload that can", 1, 2, func(c *client.Client) error {
			return c.PutFile(t.Context(), pedigree.DigestBytes([]byte("x")), 1, func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader("x")), nil })
		}},
	} {
		sent.Store(0)
		clear(keys)
		c := must(client.New(client.Config{URL: srv.URL, Retries: tc.retries}))(t)
		wantCode(t, tc.call(c), pedigree.CodeUnavailable)
		if sent.Load() != tc.want {
			t.Errorf("%s: sent %d times, want %d", tc.name, sent.Load(), tc.want)
		}
		if tc.name == "change" && (len(keys) != 1 || keys[""]) {
			t.Errorf("%s: got keys %v", tc.name, keys)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := must(client.New(client.Config{URL: srv.URL}))(t).Keys(ctx)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// TestExportCut notices an export that ends before its end.
func TestExportCut(t *testing.T) {
	r := newRegistry(t)
	must(r.Register(t.Context(), "fraud", linked()))(t)
	c := r.throughProxy(t, func(resp *http.Response) error {
		resp.Body = &cutBody{resp.Body, 500, io.ErrUnexpectedEOF}
		return nil
	})
	if err := c.Export(t.Context(), -1, io.Discard); err == nil {
		t.Error("nobody noticed")
	}
}

// TestBeforeChange shows the caller what would be changed, and nothing that is only asked.
func TestBeforeChange(t *testing.T) {
	r := newRegistry(t)
	must(r.Register(t.Context(), "fraud", linked()))(t)
	must(r.CreateTarget(t.Context(), "prod/fraud-api", pedigree.TargetSpec{Kind: pedigree.TargetOnline}))(t)
	var seen []string
	refused := pedigree.Errorf(pedigree.CodeRefused, "not today")
	c := r.newClient(t, client.Config{BeforeChange: func(req *http.Request) (*http.Response, error) {
		seen = append(seen, req.Method+" "+req.URL.Path+" "+req.Header.Get("Content-Type"))
		switch {
		case strings.HasSuffix(req.URL.Path, "/archive"):
			return nil, nil
		case req.Method == http.MethodPut:
			return &http.Response{StatusCode: http.StatusCreated, Body: http.NoBody}, nil
		}
		return nil, refused
	}})
	ref := pedigree.Reference{Model: "fraud", Version: 1}
	must(c.MissingBlobs(t.Context(), []pedigree.Digest{pedigree.DigestBytes(nil)}))(t)
	must(c.TestPolicy(t.Context(), ref, "prod/fraud-api", pedigree.Deploy{}, pedigree.At{}))(t)
	if _, _, err := c.ApplyPolicy(t.Context(), pedigree.Policy{Project: "default"}, true); err != nil {
		t.Errorf("a policy that is only checked: got %v", err)
	}
	if _, err := c.PlanRollback(t.Context(), "prod/fraud-api", pedigree.Rollback{}); errors.Is(err, refused) || err == nil {
		t.Errorf("the plan of a rollback: got %v, want the registry's own refusal", err)
	}
	if _, err := c.WhichPrediction(t.Context(), pedigree.Prediction{}, pedigree.At{}); errors.Is(err, refused) {
		t.Error("asking which version a prediction is of was taken for a change")
	}
	must(c.CheckPredictions(t.Context(), "", strings.NewReader("{}\n")))(t)
	if _, err := c.VerifyVersion(t.Context(), ref, pedigree.At{}); errors.Is(err, refused) {
		t.Error("checking the bytes of a version was taken for a change")
	}
	if len(seen) > 0 {
		t.Fatalf("questions were taken for changes: %q", seen)
	}
	if _, err := c.CreateProject(t.Context(), "risk", ""); !errors.Is(err, refused) {
		t.Errorf("got %v, want what was returned for it", err)
	}
	if err := c.PutBlob(t.Context(), pedigree.DigestBytes(nil), 0, strings.NewReader("")); err != nil {
		t.Errorf("an answer in the place of the registry's: got %v", err)
	}
	if missing := must(r.MissingBlobs(t.Context(), []pedigree.Digest{pedigree.DigestBytes(nil)}))(t); len(missing) != 1 {
		t.Error("the bytes were sent all the same")
	}
	if v := must(c.Archive(t.Context(), ref, "old"))(t); !v.Archived || len(seen) != 3 {
		t.Errorf("what was let go: got archived %v, seen %q", v.Archived, seen)
	}
}
