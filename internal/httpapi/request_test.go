package httpapi_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/client"
	"github.com/pedigree-ml/pedigree/internal/httpx"
)

// answer is what a request got.
type answer struct {
	status int
	header http.Header
	body   []byte
}

func (a *answer) problem(t testing.TB) httpx.Problem {
	t.Helper()
	var p httpx.Problem
	if err := json.Unmarshal(a.body, &p); err != nil || a.header.Get("Content-Type") != "application/problem+json" {
		t.Fatalf("status %d, type %q, not a problem: %s", a.status, a.header.Get("Content-Type"), a.body)
	}
	return p
}

// send sends a request; headers are pairs.
func (r *registry) send(t testing.TB, method, path, body string, headers ...string) *answer {
	t.Helper()
	req := httptest.NewRequest(method, "http://localhost/", strings.NewReader(body))
	u, err := url.Parse("http://localhost" + path)
	if err != nil {
		t.Fatal(err)
	}
	req.URL, req.RequestURI = u, path
	for i := 0; i < len(headers); i += 2 {
		req.Header.Add(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	r.handler.ServeHTTP(w, req)
	return &answer{w.Code, w.Header(), w.Body.Bytes()}
}

const base = "/api/v1/projects/default/models"

// TestProblems holds the shape of every kind of error.
func TestProblems(t *testing.T) { onBoth(t, checkProblems) }

func checkProblems(t *testing.T, r *registry) {
	must(r.Register(t.Context(), "fraud", linked("s3://m/1")))(t)
	must(r.SetAlias(t.Context(), ref(t, "fraud/1"), "production", nil, ""))(t)
	for _, tc := range []struct {
		name, method, path, body string
		status                   int
		code                     pedigree.ErrorCode
		detail, fix              string
	}{
		{"unknown path", "GET", "/api/v1/nothing", "", 404, "not_found", "there is nothing at /api/v1/nothing", "/api/v1/openapi.json lists what there is"},
		{"unknown path above", "GET", "/api/v2/projects", "", 404, "not_found", "", ""},
		{"method", "PUT", "/api/v1/projects", "{}", 405, "invalid", "PUT is not a method of /api/v1/projects", "it has GET, HEAD, POST"},
		{"misspelt model", "GET", base + "/fruad", "", 404, "not_found", "there is no model fruad in project default", "did you mean fraud?"},
		{"before the record", "GET", base + "/fraud?as_of=1999-01-01", "", 404, "not_recorded", "", ""},
		{"bad moment", "GET", base + "/fraud?as_of=yesterday", "", 400, "invalid", `query parameter as_of: "yesterday" is not a moment`, ""},
		{"misspelt parameter", "GET", base + "/fraud?asof=1", "", 400, "invalid", `there is no query parameter "asof" here`, "did you mean as_of?"},
		{"unknown parameter", "GET", base + "/fraud?colour=red", "", 400, "invalid", `there is no query parameter "colour" here`, "there are as_of"},
		{"parameter where none is", "GET", "/api/v1/log/keys?colour=red", "", 400, "invalid", `there is no query parameter "colour" here`, "leave it out: there are none"},
		{"doubled parameter", "GET", base + "?limit=1&limit=2", "", 400, "invalid", "the query parameter limit is there 2 times", ""},
		{"bad limit", "GET", base + "?limit=ten", "", 400, "invalid", `query parameter limit: "ten" is not a whole number of at least 1`, ""},
		{"bad cursor", "GET", base + "?cursor=x", "", 400, "invalid", "", "begin again without a cursor"},
		{"bad filter", "GET", base + "/fraud/versions?filter=metrics.auc", "", 400, "invalid", "", ""},
		{"bad version", "GET", base + "/fraud/versions/newest", "", 400, "invalid", `"newest" does not choose a version`, ""},
		{"taken name", "POST", base, `{"name":"fraud"}`, 409, "exists", "", "pedigree model edit fraud"},
		{"rule", "POST", base + "/fraud/versions/1/archive", "", 422, "refused", "", ""},
		{"lost race", "PUT", base + "/fraud/aliases/production", `{"version":"1","if_current":7}`, 409, "conflict", "", ""},
		{"no bytes", "GET", base + "/fraud/versions/1/artifact", "", 422, "unsupported", "", ""},
		{"empty body", "POST", base, "", 400, "invalid", "the body is empty; it should be a JSON object", ""},
		{"no JSON", "POST", base, `{"name":`, 400, "invalid", "the body ends inside its JSON value", ""},
		{"syntax", "POST", base, `{"name":fraud}`, 400, "invalid", "", ""},
		{"trailing", "POST", base, `{"name":"x"} {}`, 400, "invalid", "the body goes on after its JSON value, which ends at byte 12", ""},
		{"unknown field", "POST", base, `{"nome":"x"}`, 400, "invalid", `the body can't be read: unknown field "nome"`, ""},
		{"wrong type", "POST", base + "/fraud/versions", `{"record":{"params":{"depth":6}}}`, 400, "invalid", "", ""},
		{"bad name", "POST", base, `{"name":"a/b"}`, 400, "invalid", `model name "a/b": "/" and ":" are not allowed in a name`, ""},
		{"bad digest", "PUT", "/api/v1/projects/default/blobs/sha256:0", "x", 400, "invalid", "", ""},
		{"wrong bytes", "PUT", "/api/v1/projects/default/blobs/sha256:" + strings.Repeat("0", 64), "x", 422, "corrupt", "", ""},
		{"no such event", "GET", "/api/v1/log/events/4711", "", 404, "not_found", "there is no event 4711; the last is 4", ""},
		{"which event", "GET", "/api/v1/log/proofs/inclusion", "", 400, "invalid", "query parameter seq is missing: which event?", ""},
		{"too large", "POST", base, `{"name":"` + strings.Repeat("x", httpx.MaxBody) + `"}`, 413, "too_large", "", ""},
		{"empty segment", "GET", "/api/v1/projects//models", "", 404, "not_found", "", ""},
		{"dots", "GET", "/api/v1/projects/../projects", "", 404, "not_found", "", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a := r.send(t, tc.method, tc.path, tc.body)
			p := a.problem(t)
			if a.status != tc.status || p.Status != tc.status || p.Code != tc.code || p.Type != "/problems/"+string(tc.code) || p.Title == "" || p.Detail == "" {
				t.Fatalf("status %d: %s", a.status, a.body)
			}
			if tc.detail != "" && p.Detail != tc.detail {
				t.Errorf("got detail %q, want %q", p.Detail, tc.detail)
			}
			if tc.fix != "" && p.Fix != tc.fix {
				t.Errorf("got fix %q, want %q", p.Fix, tc.fix)
			}
			if p.RequestID == "" || p.RequestID != a.header.Get("X-Request-Id") {
				t.Errorf("got request id %q and header %q", p.RequestID, a.header.Get("X-Request-Id"))
			}
		})
	}
	if a := r.send(t, "PUT", "/api/v1/projects", "{}"); a.header.Get("Allow") != "GET, HEAD, POST" {
		t.Errorf("got Allow %q", a.header.Get("Allow"))
	}
	if a := r.send(t, "HEAD", base+"/fruad", ""); a.status != 404 || len(a.body) != 0 {
		t.Errorf("HEAD got %d with %q", a.status, a.body)
	}
}

// TestHostile sends what nobody in good faith sends; all of it is refused, and nothing
// of it counts as a failure of the server.
func TestHostile(t *testing.T) { onBoth(t, checkHostile) }

func checkHostile(t *testing.T, r *registry) {
	must(r.Register(t.Context(), "fraud", linked("s3://m/1")))(t)
	deep := strings.Repeat(`{"record":`, 5000)
	for _, tc := range []struct{ name, method, path, body string }{
		{"nul", "POST", base, "{\"name\":\"a\\u0000b\"}"},
		{"raw nul", "POST", base, "{\"name\":\"a\x00b\"}"},
		{"not UTF-8", "POST", base, "{\"name\":\"\xff\xfe\"}"},
		{"half a pair", "POST", base, `{"name":"\ud800"}`},
		{"other half", "POST", base, `{"name":"\udc00x"}`},
		{"deep", "POST", base + "/fraud/versions", deep},
		{"list", "POST", base, `[1,2,3]`},
		{"string", "POST", base, `"fraud"`},
		{"huge number", "POST", base + "/fraud/versions", `{"record":{"metrics":[{"name":"a","value":1e999}]}}`},
		{"huge whole number", "PUT", base + "/fraud/aliases/a", `{"version":"1","if_current":99999999999999999999}`},
		{"fraction", "PUT", base + "/fraud/aliases/a", `{"version":"1","if_current":1.5}`},
		{"year 10000", "POST", base + "/fraud/versions", `{"record":{"run":{"started_at":"10000-01-01T00:00:00Z"}}}`},
		{"null record", "POST", base + "/none/versions", `{"record":null}`},
		{"null", "POST", base, `null`},
		{"null files", "POST", base + "/fraud/versions", `{"record":{"artifact":{"kind":"stored","files":null}}}`},
		{"traversal", "GET", base + "/fraud/versions/1/files/..%2f..%2fetc%2fpasswd", ""},
		{"traversal with dots", "GET", base + "/fraud/versions/1/files/%2e%2e/%2e%2e/etc/passwd", ""},
		{"absolute", "GET", base + "/fraud/versions/1/files/%2fetc%2fpasswd", ""},
		{"evidence traversal", "GET", base + "/fraud/versions/1/evidence/..%2f..%2fx", ""},
		{"backslash", "GET", base + "/fraud/versions/1/files/a%5Cb", ""},
		{"control character", "GET", base + "/fra%0aud", ""},
		{"nul in path", "GET", base + "/fra%00ud", ""},
		{"bad UTF-8 in path", "GET", base + "/%ff%fe", ""},
		{"slash in name", "GET", base + "/a%2Fb", ""},
		{"dots as name", "GET", base + "/%2e%2e", ""},
		{"long name", "GET", base + "/" + strings.Repeat("x", 10_000), ""},
		{"negative version", "GET", base + "/fraud/versions/-1", ""},
		{"huge version", "GET", base + "/fraud/versions/99999999999999999999", ""},
		{"last version", "GET", base + "/fraud/versions/9223372036854775807", ""},
		{"empty alias", "GET", base + "/fraud/versions/@", ""},
		{"reserved alias", "PUT", base + "/fraud/aliases/v7", `{"version":"1"}`},
		{"bad percent in query", "GET", base + "?limit=%zz", ""},
		{"semicolon in query", "GET", base + "?limit=1;x=2", ""},
		{"nul in query", "GET", base + "/fraud/versions?filter=%00", ""},
		{"bad UTF-8 in query", "GET", base + "/fraud/versions?filter=%ff", ""},
		{"negative limit", "GET", base + "?limit=-5", ""},
		{"cursor of JSON null", "GET", base + "?cursor=bnVsbA&limit=x", ""},
		{"cursor of another type", "GET", base + "?cursor=e30", ""},
		{"after", "GET", "/api/v1/log/events?after=-2", ""},
		{"type", "GET", "/api/v1/log/events?type=x", ""},
		{"event", "GET", "/api/v1/log/events/1e9", ""},
		{"proof", "GET", "/api/v1/log/proofs/inclusion?seq=9223372036854775807&size=9223372036854775807", ""},
		{"proof backwards", "GET", "/api/v1/log/proofs/consistency?from=3&size=2", ""},
		{"redact nothing", "POST", "/api/v1/log/events/0/redactions", `{"fields":[]}`},
		{"method", "BREW", base, ""},
		{"connect", "CONNECT", "/api/v1/projects", ""},
		{"if-match", "PATCH", base + "/fraud", `{`},
		{"many digests", "POST", "/api/v1/projects/default/blobs/missing", `{"digests":["x"]}`},
		{"empty digest", "POST", "/api/v1/projects/default/blobs/missing", `{"digests":[""]}`},
		{"depth", "GET", base + "/fraud/versions/1/lineage?depth=0", ""},
		{"direction", "GET", base + "/fraud/versions/1/lineage?direction=sideways", ""},
		{"future", "GET", base + "/fraud?as_of=99999999", ""},
		{"far away", "GET", base + "/fraud?as_of=-99999999999999h", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a := r.send(t, tc.method, tc.path, tc.body)
			if a.status < 400 || a.status >= 500 {
				t.Fatalf("got %d: %s", a.status, a.body)
			}
			a.problem(t)
		})
	}
	for _, headers := range [][]string{
		{"If-Match", "17"},
		{"If-Match", `"x"`},
		{"If-Match", `"1", "2"`},
		{"If-Match", `W/"1"`},
		{"Idempotency-Key", ""},
		{"Idempotency-Key", "a b"},
		{"Idempotency-Key", "ä"},
		{"Idempotency-Key", strings.Repeat("x", 256)},
		{"Idempotency-Key", "a", "Idempotency-Key", "b"},
	} {
		if a := r.send(t, "PATCH", base+"/fraud", `{"owner":"x"}`, headers...); a.status != 400 {
			t.Errorf("%q: got %d: %s", headers, a.status, a.body)
		}
	}
	if a := r.send(t, "GET", base+"/fraud", "", "Host", "x"); a.status != 200 {
		t.Errorf("got %d", a.status)
	}
	if m := must(r.Model(t.Context(), "fraud", now))(t); m.Owner != "" {
		t.Errorf("a refused request changed the model: %+v", m)
	}
}

// TestForeign refuses pages of other sites and other names of this server.
func TestForeign(t *testing.T) {
	r := newRegistry(t)
	for _, tc := range []struct {
		method, header, value string
		status                int
	}{
		{"POST", "Sec-Fetch-Site", "cross-site", 403},
		{"POST", "Origin", "https://evil.example", 403},
		{"POST", "Origin", "http://localhost", 201},
		{"POST", "Sec-Fetch-Site", "same-origin", 201},
		{"GET", "Sec-Fetch-Site", "cross-site", 200},
	} {
		body := fmt.Sprintf(`{"name":"p%d%s"}`, tc.status, strings.ToLower(tc.header[:1]))
		if a := r.send(t, tc.method, "/api/v1/projects", body, tc.header, tc.value); a.status != tc.status {
			t.Errorf("%s with %s %s: got %d, want %d: %s", tc.method, tc.header, tc.value, a.status, tc.status, a.body)
		}
	}
	for host, status := range map[string]int{
		"localhost": 200, "LOCALHOST:80": 200, "127.0.0.1:8080": 200, "[::1]:8080": 200, "[::1]": 200, "pedigree.embedded": 200, "localhost.": 200,
		"evil.example": 403, "localhost.evil.example": 403, "127.0.0.1.evil.example:80": 403, "10.0.0.1": 403,
	} {
		req := httptest.NewRequest("GET", "/api/v1/projects", nil)
		req.Host = host
		w := httptest.NewRecorder()
		r.handler.ServeHTTP(w, req)
		if w.Code != status {
			t.Errorf("host %s: got %d, want %d", host, w.Code, status)
		}
	}
}

// TestNames takes models through the API whose names need escapes.
func TestNames(t *testing.T) { onBoth(t, checkNames) }

func checkNames(t *testing.T, r *registry) {
	ctx := t.Context()
	for _, name := range []pedigree.Name{
		"a b", "a@b", "a%2Fb", "100%", "größe", "模型", "a+b", "a&b=c", "a?b#c", `"quoted"`, `back\slash`, "a;b", "7", "...", ".hidden", "<b>", "~", "versions", "latest", " ", "é",
	} {
		if strings.TrimSpace(string(name)) == "" {
			_, err := r.CreateModel(ctx, name, pedigree.ModelEdit{})
			wantCode(t, err, pedigree.CodeInvalid)
			continue
		}
		must(r.Register(ctx, name, linked("s3://m/1")))(t)
		one := pedigree.Reference{Model: name, Version: 1}
		must(r.SetAlias(ctx, one, "production", nil, ""))(t)
		if got := must(r.Resolve(ctx, pedigree.Reference{Model: name, Alias: "production"}, now))(t); got.Model != name || got.Number != 1 {
			t.Errorf("%q: got %+v", name, got)
		}
		if got := must(r.Version(ctx, one, now))(t); got.Model != name {
			t.Errorf("%q: got %q", name, got.Model)
		}
		if got := must(r.EventsOf(ctx, one, pedigree.EventQuery{After: -1}))(t); len(got.Items) != 2 {
			t.Errorf("%q: got %d events", name, len(got.Items))
		}
		list := getList[pedigree.Summary](t, r, base+"/"+url.PathEscape(string(name))+"/versions?filter="+url.QueryEscape("version = '1' OR archived = true"))
		if len(list.Items) != 1 || list.Items[0].Model != name {
			t.Errorf("%q: got %+v", name, list)
		}
	}
	a := r.send(t, "POST", base, `{"name":"with space"}`)
	if got := a.header.Get("Location"); got != base+"/with%20space" {
		t.Errorf("got Location %q", got)
	}
	if a := r.send(t, "GET", a.header.Get("Location"), ""); a.status != 200 {
		t.Errorf("got %d from where it is", a.status)
	}
}

func TestConditional(t *testing.T) { onBoth(t, checkConditional) }

func checkConditional(t *testing.T, r *registry) {
	ctx := t.Context()
	must(r.Register(ctx, "fraud", linked("s3://m/1")))(t)
	for _, path := range []string{base + "/fraud", base + "/fraud/versions/1"} {
		first := r.send(t, "GET", path, "")
		tag := first.header.Get("ETag")
		for _, header := range []string{tag, "W/" + tag, `"x", ` + tag, "*"} {
			if a := r.send(t, "GET", path, "", "If-None-Match", header); a.status != 304 || len(a.body) > 0 || a.header.Get("ETag") != tag {
				t.Errorf("%s, If-None-Match %s: got %d %s", path, header, a.status, a.body)
			}
		}
		if a := r.send(t, "GET", path, "", "If-None-Match", `"x"`); a.status != 200 {
			t.Errorf("%s: got %d", path, a.status)
		}
		// What an alias says is part of the answer, and of its tag.
		must(r.SetAlias(ctx, ref(t, "fraud/1"), pedigree.Alias("a"+path[len(path)-1:]), nil, ""))(t)
		if a := r.send(t, "GET", path, "", "If-None-Match", tag); a.status != 200 {
			t.Errorf("%s: got %d after an alias moved", path, a.status)
		}
		if a := r.send(t, "PATCH", path, `{"description":"one"}`, "If-Match", tag); a.status != 200 {
			t.Errorf("%s: got %d with the tag of an answer: %s", path, a.status, a.body)
		}
		a := r.send(t, "PATCH", path, `{"description":"two"}`, "If-Match", tag)
		if p := a.problem(t); a.status != 412 || p.Current == "" {
			t.Errorf("%s: got %d %s with an old tag", path, a.status, a.body)
		}
		current := a.problem(t).Current
		if a := r.send(t, "PATCH", path, `{"description":"three"}`, "If-Match", current); a.status != 200 {
			t.Errorf("%s: got %d with the current tag %s: %s", path, a.status, current, a.body)
		}
		if a := r.send(t, "PATCH", path, `{"description":"four"}`, "If-Match", "*"); a.status != 200 {
			t.Errorf("%s: got %d with *", path, a.status)
		}
		if a := r.send(t, "DELETE", path+"?force=true", "", "If-Match", tag); path == base+"/fraud" && a.status != 412 {
			t.Errorf("%s: got %d for a removal with an old tag", path, a.status)
		}
	}
	if a := r.send(t, "DELETE", base+"/fraud/versions/1", "", "If-Match", `"1"`); a.status != 412 {
		t.Errorf("got %d for a removal with an old tag", a.status)
	}
	if a := r.send(t, "POST", base+"/fraud/versions/1/amendments", `{"record":{"owner":"x"}}`, "If-Match", `"1"`); a.status != 412 {
		t.Errorf("got %d for an amendment with an old tag", a.status)
	}
	if a := r.send(t, "POST", base+"/fraud/rename", `{"to":"x"}`, "If-Match", `"1"`); a.status != 412 {
		t.Errorf("got %d for a new name with an old tag", a.status)
	}
}

func TestIdempotency(t *testing.T) { onBoth(t, checkIdempotency) }

func checkIdempotency(t *testing.T, r *registry) {
	ctx := t.Context()
	body := `{"record":{"artifact":{"kind":"linked","uri":"s3://m/1"}},"create_model":true}`
	first := r.send(t, "POST", base+"/fraud/versions", body, "Idempotency-Key", "key-1")
	again := r.send(t, "POST", base+"/fraud/versions", body, "Idempotency-Key", "key-1")
	var a, b pedigree.Registered
	if err := json.Unmarshal(first.body, &a); err != nil || first.status != 201 {
		t.Fatalf("got %d %s", first.status, first.body)
	}
	if err := json.Unmarshal(again.body, &b); err != nil || again.status != 201 || a.Number != 1 || b.Number != 1 || a.Seq != b.Seq || a.RecordDigest != b.RecordDigest {
		t.Fatalf("got %d %s, then %d %s", first.status, first.body, again.status, again.body)
	}
	for _, tc := range []struct{ name, method, path, body string }{
		{"another body", "POST", base + "/fraud/versions", `{"record":{"owner":"x"}}`},
		{"another path", "POST", base + "/froud/versions", body},
		{"another method", "PATCH", base + "/fraud", `{}`},
	} {
		if got := r.send(t, tc.method, tc.path, tc.body, "Idempotency-Key", "key-1"); got.status != 409 || got.problem(t).Code != "conflict" {
			t.Errorf("%s: got %d %s", tc.name, got.status, got.body)
		}
	}
	if got := r.send(t, "POST", base+"/fraud/versions", body, "Idempotency-Key", "key-2"); got.status != 201 || !bytes.Contains(got.body, []byte(`"version":2`)) {
		t.Errorf("another key: got %d %s", got.status, got.body)
	}
	// The same for the other methods; a query is part of what is asked for.
	for _, tc := range []struct{ method, path, body string }{
		{"PUT", base + "/fraud/aliases/production", `{"version":"2","if_current":0}`},
		{"PATCH", base + "/fraud/versions/1", `{"tags":{"a":"b"}}`},
		{"DELETE", base + "/fraud/versions/1/tags/a", ""},
		{"DELETE", base + "/fraud/aliases/production?if_current=2", ""},
		{"DELETE", base + "/fraud/versions/1?reason=x", ""},
		{"POST", base, `{"name":"other"}`},
		{"DELETE", base + "/other", ""},
	} {
		size := must(r.Checkpoint(ctx))(t).Size
		for try := range 2 {
			if got := r.send(t, tc.method, tc.path, tc.body, "Idempotency-Key", tc.method+tc.path); got.status >= 300 {
				t.Errorf("%s %s, try %d: got %d %s", tc.method, tc.path, try, got.status, got.body)
			}
		}
		if after := must(r.Checkpoint(ctx))(t).Size; after != size+1 {
			t.Errorf("%s %s: %d events", tc.method, tc.path, after-size)
		}
	}
	if got := r.send(t, "DELETE", base+"/fraud/aliases/production", "", "Idempotency-Key", "DELETE"+base+"/fraud/aliases/production?if_current=2"); got.status != 409 {
		t.Errorf("another query: got %d %s", got.status, got.body)
	}
}

func TestPages(t *testing.T) { onBoth(t, checkPages) }

func checkPages(t *testing.T, r *registry) {
	ctx := t.Context()
	for i := range 7 {
		must(r.Register(ctx, pedigree.Name(fmt.Sprintf("m%d", i)), linked("s3://m/1")))(t)
		must(r.Register(ctx, "fraud", linked("s3://m/1")))(t)
		must(r.SetAlias(ctx, ref(t, "fraud"), "production", nil, ""))(t)
	}
	collect := func(what string, want int, next func(cursor string) (int, string, error)) {
		t.Helper()
		total, cursor := 0, ""
		for pages := 0; ; pages++ {
			n, after, err := next(cursor)
			if err != nil || pages > want {
				t.Fatalf("%s: page %d: %v", what, pages, err)
			}
			total += n
			if cursor = after; cursor == "" {
				break
			}
		}
		if total != want {
			t.Errorf("%s: got %d, want %d", what, total, want)
		}
	}
	collect("models", 8, func(cursor string) (int, string, error) {
		l, err := r.Models(ctx, pedigree.Page{Limit: 3, Cursor: cursor}, now)
		return len(l.Items), l.Next, err
	})
	collect("projects", 1, func(cursor string) (int, string, error) {
		l, err := r.Projects(ctx, pedigree.Page{Limit: 3, Cursor: cursor}, now)
		return len(l.Items), l.Next, err
	})
	collect("moves", 7, func(cursor string) (int, string, error) {
		l, err := r.AliasHistory(ctx, "fraud", "production", pedigree.Page{Limit: 2, Cursor: cursor}, now)
		return len(l.Items), l.Next, err
	})
	// New versions between the pages don't move them.
	collect("versions", 7, func(cursor string) (int, string, error) {
		must(r.Register(ctx, "fraud", linked("s3://m/2")))(t)
		l := getList[pedigree.Summary](t, r, base+"/fraud/versions?limit=2&order=version+ASC&filter=artifact.uri+%3D+'s3%3A%2F%2Fm%2F1'&cursor="+url.QueryEscape(cursor))
		return len(l.Items), l.Next, nil
	})
	collect("search", 3, func(cursor string) (int, string, error) {
		l, err := r.Search(ctx, client.Query{Filter: "model LIKE 'm%' AND model != 'm0' AND model NOT IN ('m1','m2','m3')", Page: pedigree.Page{Limit: 1, Cursor: cursor}})
		return len(l.Items), l.Next, err
	})
	_, err := r.Search(ctx, client.Query{Filter: "model = 'm1'", Page: pedigree.Page{Cursor: must(r.Search(ctx, client.Query{Page: pedigree.Page{Limit: 1}}))(t).Next}})
	wantCode(t, err, pedigree.CodeInvalid)
	after := int64(-1)
	collect("events", int(must(r.Checkpoint(ctx))(t).Size), func(string) (int, string, error) {
		l, err := r.Events(ctx, pedigree.EventQuery{After: after, Limit: 5})
		if len(l.Items) > 0 {
			after = l.Items[len(l.Items)-1].Seq
		}
		return len(l.Items), l.Next, err
	})
}

// TestAsOf asks about the past, by number and by time, and finds the header true.
func TestAsOf(t *testing.T) { onBoth(t, checkAsOf) }

func checkAsOf(t *testing.T, r *registry) {
	ctx := t.Context()
	v := must(r.Register(ctx, "fraud", linked("s3://m/1")))(t)
	move := must(r.SetAlias(ctx, ref(t, "fraud/1"), "production", nil, ""))(t)
	must(r.Register(ctx, "fraud", linked("s3://m/2")))(t)
	must(r.SetAlias(ctx, ref(t, "fraud/2"), "production", nil, ""))(t)
	must(r.RenameModel(ctx, "fraud", "froud"))(t)
	head := must(r.Checkpoint(ctx))(t).Size - 1

	if got := must(r.Resolve(ctx, ref(t, "fraud@production"), at(move.FromSeq)))(t); got.Number != 1 || got.AsOf != move.FromSeq {
		t.Errorf("got %+v", got)
	}
	byTime := pedigree.At{Time: move.From}
	if got := must(r.Resolve(ctx, ref(t, "fraud@production"), byTime))(t); got.Number != 1 && got.AsOf >= move.FromSeq {
		t.Errorf("got %+v", got)
	}
	if got := must(r.Version(ctx, ref(t, "fraud@production"), at(move.FromSeq)))(t); got.Number != 1 || got.Changed != v.Seq && got.Changed < v.Seq {
		t.Errorf("got %+v", got)
	}
	for _, path := range []string{
		"/api/v1/projects", "/api/v1/projects/default", base, base + "/froud", base + "/froud/versions", base + "/froud/versions/@production",
		base + "/froud/versions/latest/resolve", base + "/froud/versions/2/lineage", base + "/froud/aliases", base + "/froud/aliases/production/history",
		base + "/froud/history", "/api/v1/search", "/api/v1/projects/default/search", "/api/v1/log/checkpoint", "/api/v1/log/keys", "/api/v1/log/events", "/api/v1/log/export",
	} {
		if a := r.send(t, "GET", path, ""); a.status != 200 || a.header.Get("Pedigree-As-Of") != fmt.Sprint(head) {
			t.Errorf("%s: got %d as of %q, want %d: %s", path, a.status, a.header.Get("Pedigree-As-Of"), head, a.body)
		}
		if strings.Contains(path, "/log/") {
			continue
		}
		old := strings.ReplaceAll(path, "froud", "fraud")
		old = strings.ReplaceAll(old, "versions/2", "versions/1")
		if a := r.send(t, "GET", fmt.Sprintf("%s?as_of=%d", old, move.FromSeq), ""); a.status != 200 || a.header.Get("Pedigree-As-Of") != fmt.Sprint(move.FromSeq) {
			t.Errorf("%s: got %d as of %q, want %d: %s", path, a.status, a.header.Get("Pedigree-As-Of"), move.FromSeq, a.body)
		}
		if a := r.send(t, "GET", path+"?as_of=1970-01-01", ""); a.status != 404 || a.problem(t).Code != "not_recorded" {
			t.Errorf("%s: got %d before the record: %s", path, a.status, a.body)
		}
	}
}

func TestRanges(t *testing.T) {
	ctx := t.Context()
	r := newRegistry(t)
	content := "0123456789"
	d := pedigree.DigestBytes([]byte(content))
	if err := r.PutBlob(ctx, d, 10, strings.NewReader(content)); err != nil {
		t.Fatal(err)
	}
	must(r.Register(ctx, "fraud", pedigree.Registration{CreateModel: true, Record: pedigree.Record{Artifact: pedigree.Artifact{
		Kind: pedigree.ArtifactStored, Files: []pedigree.File{{Path: "dir/model.bin", Size: 10, Digest: d}},
	}}}))(t)
	path := base + "/fraud/versions/latest/files/dir/model.bin"
	for _, tc := range []struct {
		headers []string
		status  int
		body    string
	}{
		{nil, 200, content},
		{[]string{"Range", "bytes=2-4"}, 206, "234"},
		{[]string{"Range", "bytes=8-"}, 206, "89"},
		{[]string{"Range", "bytes=-3"}, 206, "789"},
		{[]string{"Range", "bytes=2-4", "If-Range", `"` + string(d) + `"`}, 206, "234"},
		{[]string{"Range", "bytes=2-4", "If-Range", `"other"`}, 200, content},
		{[]string{"If-None-Match", `"` + string(d) + `"`}, 304, ""},
	} {
		a := r.send(t, "GET", path, "", tc.headers...)
		if a.status != tc.status || string(a.body) != tc.body {
			t.Errorf("%q: got %d %q", tc.headers, a.status, a.body)
		}
		if a.header.Get("ETag") != `"`+string(d)+`"` || a.header.Get("Pedigree-Version") != "1" || a.header.Get("Pedigree-Digest") != string(d) {
			t.Errorf("%q: got %v", tc.headers, a.header)
		}
	}
	for _, of := range []string{"/manifest", "/files/dir/model.bin", "/artifact"} {
		if a := r.send(t, "GET", base+"/fraud/versions/latest"+of+"?as_of=3", ""); a.status != 200 || a.header.Get("Pedigree-As-Of") != "3" {
			t.Errorf("%s: got %d as of %q: %s", of, a.status, a.header.Get("Pedigree-As-Of"), a.body)
		}
	}
	a := r.send(t, "GET", path, "", "Range", "bytes=10-")
	if p := a.problem(t); a.status != 416 || p.Status != 416 || a.header.Get("Content-Range") != "bytes */10" {
		t.Errorf("got %d %v %s", a.status, a.header, a.body)
	}
	if a := r.send(t, "GET", path, "", "If-Match", `"other"`); a.status != 412 || a.problem(t).Code != "precondition" {
		t.Errorf("got %d %s", a.status, a.body)
	}
	if a := r.send(t, "HEAD", path, ""); a.status != 200 || a.header.Get("Content-Length") != "10" || len(a.body) != 0 {
		t.Errorf("HEAD got %d %v %q", a.status, a.header, a.body)
	}
	if a := r.send(t, "GET", base+"/fraud/versions/1/files/dir/modle.bin", ""); a.status != 404 || a.problem(t).Fix != "did you mean dir/model.bin?" {
		t.Errorf("got %d %s", a.status, a.body)
	}
	// The bytes go: the version stays, and says so.
	if err := os.Remove(filepath.Join(r.blobs, "sha256", d.Hex()[:2], d.Hex())); err != nil {
		t.Fatal(err)
	}
	if a := r.send(t, "GET", path, ""); a.status != 410 || a.problem(t).Code != "gone" {
		t.Errorf("got %d %s", a.status, a.body)
	}
	if checks := must(r.VerifyVersion(ctx, ref(t, "fraud/1"), now))(t); checks[2].Problem != "missing" {
		t.Errorf("got %+v", checks)
	}
}

// TestUploadBreaksOff loses a client in the middle of an upload: a refusal, and nothing
// is kept.
func TestUploadBreaksOff(t *testing.T) {
	r := newRegistry(t)
	content := bytes.Repeat([]byte("x"), 1<<20)
	d := pedigree.DigestBytes(content)
	for _, head := range []string{fmt.Sprintf("Content-Length: %d", len(content)), "Transfer-Encoding: chunked"} {
		conn := must(net.Dial("tcp", strings.TrimPrefix(r.url, "http://")))(t)
		part := content[:1000]
		if strings.Contains(head, "chunked") {
			part = append([]byte("100000\r\n"), part...)
		}
		fmt.Fprintf(conn, "PUT /api/v1/projects/default/blobs/%s HTTP/1.1\r\nHost: localhost\r\n%s\r\n\r\n%s", d, head, part)
		if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		resp := must(http.ReadResponse(bufio.NewReader(conn), nil))(t)
		body := must(io.ReadAll(resp.Body))(t)
		_ = conn.Close()
		if resp.StatusCode != 400 || !bytes.Contains(body, []byte("broke off after 1000 bytes")) {
			t.Errorf("%s: got %d %s", head, resp.StatusCode, body)
		}
	}
	if missing := must(r.MissingBlobs(t.Context(), []pedigree.Digest{d}))(t); len(missing) != 1 {
		t.Error("the part of an upload is there")
	}
	err := filepath.WalkDir(r.blobs, func(path string, e os.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() {
			t.Errorf("%s was left behind", path)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	// An upload of any size is taken, others of more than the limit are not.
	large := strings.NewReader(strings.Repeat("y", 4<<20))
	ld := pedigree.DigestBytes([]byte(strings.Repeat("y", 4<<20)))
	if err := r.PutBlob(t.Context(), ld, -1, large); err != nil {
		t.Error(err)
	}
}

// TestRequestLog finds in the log what was asked and why it was refused, with the
// server's id and the caller's.
func TestRequestLog(t *testing.T) {
	r := newRegistry(t)
	const trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	a := r.send(t, "GET", base+"/fraud", "", "X-Request-Id", "mine", "Traceparent", trace)
	lines := r.log.all()
	var line struct {
		Method, Route, Error, Traceparent string
		Status                            int
		RequestID                         string `json:"request_id"`
		CallerID                          string `json:"caller_id"`
	}
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &line); err != nil {
		t.Fatal(err)
	}
	if line.Method != "GET" || line.Route != "GET /api/v1/projects/{project}/models/{model}" || line.Status != 404 || line.Traceparent != trace ||
		line.CallerID != "mine" || line.RequestID != a.header.Get("X-Request-Id") || !strings.HasPrefix(line.Error, "there is no model fraud") {
		t.Errorf("got %s", lines[len(lines)-1])
	}
	// The server's id enters the log of events, the caller's does not.
	a = r.send(t, "POST", base, `{"name":"fraud"}`, "X-Request-Id", "mine")
	entry := must(r.Event(t.Context(), 2))(t)
	e := must(entry.Event())(t)
	if e.RequestID != a.header.Get("X-Request-Id") || e.RequestID == "mine" {
		t.Errorf("got %+v", e)
	}
}
