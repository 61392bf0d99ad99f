package server_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/pedigree-ml/pedigree/internal/server"
)

// inProcess sends one request through h.
func inProcess(t *testing.T, req *http.Request, h http.HandlerFunc) (*http.Response, error) {
	t.Helper()
	return (&http.Client{Transport: server.Transport(h)}).Do(req)
}

func TestTransportStreamsBothWays(t *testing.T) {
	body, feed := io.Pipe()
	resp, err := inProcess(t, mustRequest(t, http.MethodPost, "http://pedigree.embedded/x?y=1", body), func(w http.ResponseWriter, r *http.Request) {
		if r.Host != "localhost" || r.RequestURI != "/x?y=1" || r.ContentLength != -1 || r.URL.Host != "" {
			t.Errorf("got host %q, uri %q, length %d", r.Host, r.RequestURI, r.ContentLength)
		}
		w.Header().Set("Content-Type", "text/x")
		w.WriteHeader(http.StatusCreated)
		w.Header().Set("Too-Late", "x")
		_, _ = io.Copy(w, r.Body) // an echo
	})
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != 201 || resp.Header.Get("Content-Type") != "text/x" || resp.Header.Get("Too-Late") != "" || resp.ContentLength != -1 {
		t.Errorf("got %d, %v, length %d", resp.StatusCode, resp.Header, resp.ContentLength)
	}
	for i := range 3 { // each answer comes before the next question
		word := fmt.Sprintf("word %d", i)
		if _, err := io.WriteString(feed, word); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, len(word))
		if _, err := io.ReadFull(resp.Body, got); err != nil || string(got) != word {
			t.Fatalf("got %q, %v, want %q", got, err, word)
		}
	}
	_ = feed.Close()
	if rest, err := io.ReadAll(resp.Body); err != nil || len(rest) != 0 {
		t.Errorf("at the end: %q, %v", rest, err)
	}
}

func TestTransportAnswers(t *testing.T) {
	for name, test := range map[string]struct {
		method  string
		handler http.HandlerFunc
		status  int
		body    string
		length  int64
	}{
		"Nothing": {http.MethodGet, func(http.ResponseWriter, *http.Request) {}, 200, "", -1},
		"Length": {http.MethodGet, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "2")
			_, _ = io.WriteString(w, "ab")
		}, 200, "ab", 2},
		"Head": {http.MethodHead, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "2")
			_, _ = io.WriteString(w, "ab")
		}, 200, "", 2},
		"NoBody":   {http.MethodGet, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204); _, _ = io.WriteString(w, "ab") }, 204, "", -1},
		"Hint":     {http.MethodGet, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(103); w.WriteHeader(404) }, 404, "", -1},
		"Reads":    {http.MethodGet, func(w http.ResponseWriter, r *http.Request) { b, err := io.ReadAll(r.Body); fmt.Fprint(w, len(b), err) }, 200, "0 <nil>", -1},
		"TwoHeads": {http.MethodGet, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(400); w.WriteHeader(200) }, 400, "", -1},
	} {
		t.Run(name, func(t *testing.T) {
			resp, err := inProcess(t, mustRequest(t, test.method, "http://x/", nil), test.handler)
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(resp.Body)
			if err != nil || resp.StatusCode != test.status || string(body) != test.body || resp.ContentLength != test.length {
				t.Errorf("got %d %q length %d (%v), want %d %q length %d", resp.StatusCode, body, resp.ContentLength, err, test.status, test.body, test.length)
			}
			_ = resp.Body.Close()
		})
	}
}

func TestTransportBreaksOff(t *testing.T) {
	if resp, err := inProcess(t, mustRequest(t, http.MethodGet, "http://x/", nil), func(http.ResponseWriter, *http.Request) { panic("a defect") }); err == nil {
		_ = resp.Body.Close()
		t.Error("a panic before the answer gave an answer")
	}
	resp, err := inProcess(t, mustRequest(t, http.MethodGet, "http://x/", nil), func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "half")
		panic(http.ErrAbortHandler)
	})
	if err != nil {
		t.Fatal(err)
	}
	if text, err := io.ReadAll(resp.Body); err == nil || string(text) != "half" {
		t.Errorf("a panic in the middle: got %q, %v, want an error after half", text, err)
	}
}

// TestTransportCallerGivesUpUploading: a handler that waits for the rest of a body must
// not wait for ever.
func TestTransportCallerGivesUpUploading(t *testing.T) {
	body, feed := io.Pipe()
	defer func() { _ = feed.Close() }()
	ctx, cancel := context.WithCancel(t.Context())
	req := mustRequest(t, http.MethodPost, "http://x/", body).WithContext(ctx)
	ended := make(chan error, 1)
	go func() {
		_, _ = io.WriteString(feed, "half") // returns once the handler has it
		cancel()
	}()
	resp, err := inProcess(t, req, func(_ http.ResponseWriter, r *http.Request) {
		_, err := io.ReadAll(r.Body)
		ended <- err
	})
	if err == nil {
		_ = resp.Body.Close()
	}
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want canceled", err)
	}
	if err := <-ended; err == nil {
		t.Error("the handler took half of a body for the whole")
	}
}

func TestTransportCallerGoesAway(t *testing.T) {
	ended := make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	began := make(chan struct{})
	req := mustRequest(t, http.MethodGet, "http://x/", strings.NewReader("")).WithContext(ctx)
	go func() { <-began; cancel() }()
	_, err := inProcess(t, req, func(_ http.ResponseWriter, r *http.Request) {
		close(began)
		<-r.Context().Done()
		ended <- r.Context().Err()
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want canceled", err)
	}
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("the handler saw %v", err)
	}

	resp, err := inProcess(t, mustRequest(t, http.MethodGet, "http://x/", nil), func(w http.ResponseWriter, _ *http.Request) {
		var err error
		for err == nil {
			_, err = io.WriteString(w, "and so on")
		}
		ended <- err
	})
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close() // in the middle
	if err := <-ended; err == nil {
		t.Error("the handler writes on, and nobody reads")
	}
}
