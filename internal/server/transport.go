package server

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"
)

// Transport returns a round tripper that runs requests through h in this process, for a
// client of a registry that is embedded in its own program. Bodies stream both ways and
// are never held whole. The handler sees requests to "localhost", whatever their URL
// says. A handler that panics breaks the response off, as a server would.
func Transport(h http.Handler) http.RoundTripper { return &transport{handler: h} }

type transport struct{ handler http.Handler }

// RoundTrip implements [http.RoundTripper]. It returns as soon as the handler began its
// answer.
func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancel(req.Context())
	in := req.Clone(ctx)
	in.RequestURI = req.URL.RequestURI()
	in.URL.Scheme, in.URL.Host, in.Host = "", "", "localhost"
	in.RemoteAddr = "127.0.0.1:0"
	in.Proto, in.ProtoMajor, in.ProtoMinor = "HTTP/1.1", 1, 1
	if in.Body == nil {
		in.Body = http.NoBody
	} else if in.ContentLength == 0 && in.Body != http.NoBody {
		in.ContentLength = -1 // a client's zero means unknown, a server's means empty
	}

	body := in.Body
	reader, writer := io.Pipe()
	w := &pipeWriter{header: make(http.Header), pipe: writer, head: req.Method == http.MethodHead, started: make(chan struct{})}
	go func() {
		defer cancel()
		defer func() { _ = body.Close() }()
		defer func() {
			if p := recover(); p != nil {
				w.fail(fmt.Errorf("the handler of %s %s broke off: %v", req.Method, req.URL.Path, p))
			}
		}()
		t.handler.ServeHTTP(w, in)
		w.finish()
	}()

	// A caller that gives up gets its own error, now and in the middle of the body, and
	// a handler that still reads or writes is told as well.
	stop := context.AfterFunc(req.Context(), func() {
		_ = reader.CloseWithError(req.Context().Err())
		_ = body.Close()
	})
	select {
	case <-w.started:
	case <-req.Context().Done():
	}
	if err := req.Context().Err(); err != nil {
		cancel()
		return nil, err
	}
	if w.err != nil {
		stop()
		return nil, w.err
	}
	return w.response(req, &pipeBody{PipeReader: reader, cancel: func() { stop(); cancel() }}), nil
}

// pipeWriter is the response writer of a request in this process.
type pipeWriter struct {
	header http.Header
	pipe   *io.PipeWriter
	head   bool // HEAD: the body goes nowhere

	once    sync.Once
	started chan struct{} // closed once status and sent are fixed, or err
	status  int
	sent    http.Header
	err     error
}

func (w *pipeWriter) Header() http.Header { return w.header }

// WriteHeader fixes the head of the answer; informational answers are left out.
func (w *pipeWriter) WriteHeader(status int) {
	if status >= 100 && status < 200 {
		return
	}
	w.once.Do(func() {
		w.status, w.sent = status, w.header.Clone()
		close(w.started)
	})
}

func (w *pipeWriter) Write(p []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	if w.head || w.status == http.StatusNoContent || w.status == http.StatusNotModified {
		return len(p), nil
	}
	return w.pipe.Write(p)
}

// FlushError implements what [http.ResponseController] looks for: nothing is buffered
// here but the head.
func (w *pipeWriter) FlushError() error {
	w.WriteHeader(http.StatusOK)
	return nil
}

// Flush implements [http.Flusher].
func (w *pipeWriter) Flush() { _ = w.FlushError() }

// finish ends the answer of a handler that returned.
func (w *pipeWriter) finish() {
	w.WriteHeader(http.StatusOK)
	_ = w.pipe.Close()
}

// fail ends the answer of a handler that did not return.
func (w *pipeWriter) fail(err error) {
	w.once.Do(func() {
		w.err = err
		close(w.started)
	})
	_ = w.pipe.CloseWithError(err)
}

func (w *pipeWriter) response(req *http.Request, body io.ReadCloser) *http.Response {
	length := int64(-1)
	if n, err := strconv.ParseInt(w.sent.Get("Content-Length"), 10, 64); err == nil && n >= 0 {
		length = n
	}
	return &http.Response{
		Status: strconv.Itoa(w.status) + " " + http.StatusText(w.status), StatusCode: w.status,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: w.sent, Body: body, ContentLength: length, Request: req,
	}
}

// pipeBody is the body of an answer. Closing it early tells the handler that nobody
// reads on.
type pipeBody struct {
	*io.PipeReader
	cancel func()
}

func (b *pipeBody) Close() error {
	b.cancel()
	return b.PipeReader.Close()
}
