package httpx

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/pedigree-ml/pedigree"
)

// serve sends one request through a chain around h, and returns the answer, the log and
// what h made the chain panic with.
func serve(t *testing.T, h http.Handler, req *http.Request) (w *httptest.ResponseRecorder, log string, panicked any) {
	t.Helper()
	var text bytes.Buffer
	var observed []string
	c, err := Chain(h, Config{
		Log: slog.New(slog.NewTextHandler(&text, nil)), NewID: func() string { return "req_1" }, Now: func() time.Time { return time.Unix(0, 0) },
		Observe: func(route, method string, status int, _ time.Duration) {
			observed = append(observed, fmt.Sprint(route, "|", method, "|", status))
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	w = httptest.NewRecorder()
	func() {
		defer func() { panicked = recover() }()
		c.ServeHTTP(w, req)
	}()
	if len(observed) != 1 {
		t.Errorf("observed %q", observed)
	}
	return w, text.String(), panicked
}

func get() *http.Request { return httptest.NewRequest("GET", "http://localhost/x", nil) }

// TestFailures holds what a caller learns of a failure, and what the log does.
func TestFailures(t *testing.T) {
	for _, tc := range []struct {
		name      string
		h         Handler
		status    int
		body, log string
		cut       bool
	}{
		{"unclassified", func(http.ResponseWriter, *http.Request) error { return errors.New("secret DSN") }, 500, "its log says why", "secret DSN", false},
		{"internal", func(http.ResponseWriter, *http.Request) error {
			return pedigree.Errorf(pedigree.CodeInternal, "doing: %w", errors.New("secret DSN"))
		}, 500, "its log says why", "secret DSN", false},
		{"unknown code", func(http.ResponseWriter, *http.Request) error { return pedigree.Errorf("odd", "secret DSN") }, 500, "its log says why", "secret DSN", false},
		{"cause", func(http.ResponseWriter, *http.Request) error {
			return &pedigree.Error{Code: pedigree.CodeUnavailable, Message: "disk full", Err: errors.New("/secret/path")}
		}, 503, "disk full", "/secret/path", false},
		{"panic", func(http.ResponseWriter, *http.Request) error { panic("secret DSN") }, 500, "its log says why", "chain_test.go", false},
		{"nil dereference", func(http.ResponseWriter, *http.Request) error { var e *pedigree.Error; _ = e.Code; return nil }, 500, "its log says why", "nil pointer", false},
		{"client gone", func(http.ResponseWriter, *http.Request) error { return fmt.Errorf("read: %w", context.Canceled) }, 400, "the client went away", "canceled", false},
		{"deadline", func(http.ResponseWriter, *http.Request) error {
			return fmt.Errorf("read: %w", context.DeadlineExceeded)
		}, 503, "time limit", "deadline", false},
		{"error after the beginning", func(w http.ResponseWriter, _ *http.Request) error {
			_, _ = io.WriteString(w, "half")
			return errors.New("secret DSN")
		}, 200, "half", "secret DSN", true},
		{"panic after the beginning", func(w http.ResponseWriter, _ *http.Request) error {
			_, _ = io.WriteString(w, "half")
			panic("secret DSN")
		}, 200, "half", "secret DSN", true},
		{"abort", func(http.ResponseWriter, *http.Request) error { panic(http.ErrAbortHandler) }, 200, "", "status=200", true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w, log, panicked := serve(t, tc.h, get())
			if w.Code != tc.status || !strings.Contains(w.Body.String(), tc.body) || strings.Contains(w.Body.String(), "secret") {
				t.Errorf("got %d %s", w.Code, w.Body)
			}
			if !strings.Contains(log, tc.log) || !strings.Contains(log, "request_id=req_1") {
				t.Errorf("got log %s", log)
			}
			if (panicked == http.ErrAbortHandler) != tc.cut {
				t.Errorf("the chain panicked with %v", panicked)
			}
			if w.Code == 503 && w.Header().Get("Retry-After") == "" {
				t.Error("no Retry-After")
			}
		})
	}
}

// TestStatuses holds the table, and that it has every code.
func TestStatuses(t *testing.T) {
	want := map[pedigree.ErrorCode]int{
		"invalid": 400, "unauthenticated": 401, "forbidden": 403, "not_found": 404, "exists": 409, "conflict": 409, "precondition": 412, "refused": 422,
		"gone": 410, "too_large": 413, "unavailable": 503, "not_recorded": 404, "corrupt": 422, "unsupported": 422, "internal": 500,
	}
	if len(kinds) != len(want) {
		t.Errorf("the table has %d codes", len(kinds))
	}
	for code, status := range want {
		if got := Status(fmt.Errorf("wrapped: %w", pedigree.Errorf(code, "x"))); got != status {
			t.Errorf("%s: got %d, want %d", code, got, status)
		}
	}
	if Status(&http.MaxBytesError{Limit: 5}) != 413 {
		t.Error("a body over its limit")
	}
}

// TestLogNeverLies holds what clients send and the log must not repeat as it is.
func TestLogNeverLies(t *testing.T) {
	req := get()
	req.Header.Set("Traceparent", "00-x")
	req.Header.Set("X-Request-Id", strings.Repeat("x", 500)+"\nfake line")
	req.Method = strings.Repeat("M", 500)
	_, log, _ := serve(t, Handler(func(http.ResponseWriter, *http.Request) error { return nil }), req)
	if strings.Count(log, "\n") != 1 || len(log) > 500 || strings.Contains(log, "traceparent") {
		t.Errorf("got log %s", log)
	}
}

func TestDecode(t *testing.T) {
	type inner struct {
		Name  pedigree.Alias `json:"name"`
		Count int            `json:"count"`
	}
	type outer struct {
		Inner []inner `json:"inner"`
		Text  string  `json:"text"`
	}
	for body, want := range map[string]string{
		`{"inner":[{"name":"a","count":1}],"text":"é\u00e9\ud83d\ude00\\u0000"}`: "",
		` {} `:                      "",
		``:                          "the body is empty; it should be a JSON object",
		` `:                         "the body is empty; it should be a JSON object",
		`{`:                         "the body ends inside its JSON value",
		`{]`:                        "the body is not JSON: invalid character ']' looking for beginning of object key string, at byte 2",
		`[]`:                        "the body is a list, want an object",
		`{"inner":[{"count":"1"}]}`: "field inner.count: got a string, want a whole number, at byte 22",
		`{"inner":{}}`:              "field inner: got an object, want a list, at byte 10",
		`{"text":1}`:                "field text: got a number, want a string, at byte 9",
		`{"inner":[{"name":"!"}]}`:  `"!" is not an alias: use letters, digits, '_' and '-'`,
		`{"x":1}`:                   `the body can't be read: unknown field "x"`,
		`{}{}`:                      "the body goes on after its JSON value, which ends at byte 2",
		`{"text":"\u0000"}`:         "the body holds a NUL character, at byte 9",
		`{"text":"\\\u0000"}`:       "the body holds a NUL character, at byte 11",
		`{"text":"\ud83dx"}`:        "the body holds half of a surrogate pair, at byte 9",
		`{"text":"\ud83d\u0041"}`:   "the body holds half of a surrogate pair, at byte 9",
		`{"text":"\ude00"}`:         "the body holds half of a surrogate pair, at byte 9",
		"{\"text\":\"\xc3\"}":       "the body is not valid UTF-8",
		`{"text":"\u00`:             "the body ends inside its JSON value",
		`{"text":"\`:                "the body ends inside its JSON value",
		`{"text":"\ud83d`:           "the body holds half of a surrogate pair, at byte 9",
	} {
		var v outer
		err := Decode([]byte(body), &v)
		if err == nil && want != "" || err != nil && (err.Error() != want || pedigree.CodeOf(err) != pedigree.CodeInvalid) {
			t.Errorf("%s: got %v, want %q", body, err, want)
		}
	}
}

// TestReadBody holds the limit, with a length that is told and with one that is not.
func TestReadBody(t *testing.T) {
	for _, length := range []int64{20, -1} {
		req := httptest.NewRequest("POST", "/", strings.NewReader(strings.Repeat("x", 20)))
		req.ContentLength = length
		if b, err := ReadBody(httptest.NewRecorder(), req, 20); err != nil || len(b) != 20 {
			t.Errorf("got %d bytes, %v", len(b), err)
		}
		req = httptest.NewRequest("POST", "/", strings.NewReader(strings.Repeat("x", 20)))
		req.ContentLength = length
		if _, err := ReadBody(httptest.NewRecorder(), req, 19); pedigree.CodeOf(err) != pedigree.CodeTooLarge {
			t.Errorf("got %v", err)
		}
	}
}

func TestChainOrigins(t *testing.T) {
	h := Handler(func(w http.ResponseWriter, _ *http.Request) error { w.WriteHeader(204); return nil })
	cfg := Config{Log: slog.New(slog.DiscardHandler), NewID: func() string { return "" }, Now: time.Now, Origins: []string{"https://ci.example.org"}}
	c, err := Chain(h, cfg)
	if err != nil {
		t.Fatal(err)
	}
	for origin, status := range map[string]int{"https://ci.example.org": 204, "https://evil.example.org": 403} {
		req := httptest.NewRequest("POST", "http://localhost/x", nil)
		req.Header.Set("Origin", origin)
		w := httptest.NewRecorder()
		if c.ServeHTTP(w, req); w.Code != status {
			t.Errorf("%s: got %d", origin, w.Code)
		}
	}
	if cfg.Origins = []string{"nonsense"}; true {
		if _, err := Chain(h, cfg); pedigree.CodeOf(err) != pedigree.CodeInvalid {
			t.Errorf("got %v", err)
		}
	}
}

// TestNoEscapes: the texts of log entries must arrive as they were hashed.
func TestNoEscapes(t *testing.T) {
	w := httptest.NewRecorder()
	v := map[string]any{"a": "<&>", "b": json.RawMessage("\"<&>\u2028\\u003c\"")}
	if err := WriteJSON(w, 200, v); err != nil || w.Body.String() != "{\"a\":\"<&>\",\"b\":\"<&>\u2028\\u003c\"}\n" {
		t.Errorf("got %q, %v", w.Body, err)
	}
}
