package mlflow_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pedigree-ml/pedigree/internal/httpx"
	"github.com/pedigree-ml/pedigree/internal/mlflow"
)

// Whatever is sent to any endpoint, the answer is below 500, save for what is not
// offered, and an error has MLflow's shape: MLflow's clients repeat each 5xx for minutes.

// send sends a request as it is, and checks the answer; it returns the status.
func (k *tracker) send(method, target, kind, body string) int {
	k.t.Helper()
	r, err := http.NewRequestWithContext(k.t.Context(), method, "http://127.0.0.1"+target, strings.NewReader(body))
	if err != nil { // no HTTP at all
		return 0
	}
	r.RequestURI, r.RemoteAddr = target, "127.0.0.1:1"
	if kind != "" {
		r.Header.Set("Content-Type", kind)
	}
	return k.answers(r, body)
}

// answers gives a request to the dialect and checks the answer.
func (k *tracker) answers(r *http.Request, body string) int {
	k.t.Helper()
	w := httptest.NewRecorder()
	k.handler.ServeHTTP(w, r)
	said := func() string {
		return fmt.Sprintf("%s %s %.300q: %d %.300s", r.Method, r.URL.RequestURI(), body, w.Code, w.Body)
	}
	if w.Code >= 500 && w.Code != http.StatusNotImplemented {
		k.t.Error(said())
	}
	var e struct {
		Code    string `json:"error_code"`
		Message string `json:"message"`
	}
	if w.Code >= 300 && (json.Unmarshal(w.Body.Bytes(), &e) != nil || e.Code == "" || e.Message == "") && r.Method != http.MethodHead && w.Code != http.StatusNotModified {
		k.t.Error(said())
	}
	return w.Code
}

const jsonKind = "application/json"

// malformed is a registry with a run, a logged model and a version, to name in requests.
type malformed struct {
	*tracker
	run, model, root string
	routes           []mlflow.Route
}

func newMalformed(k *tracker) *malformed {
	m := &malformed{tracker: k, run: k.run("0", "r"), routes: mlflow.New(k.registrar, mlflow.Config{}).Routes()}
	m.model = k.post("logged-models", object{"experiment_id": "0", "source_run_id": m.run}).text("model.info.model_id")
	m.root = "0/" + m.run + "/artifacts"
	k.post("registered-models/create", object{"name": "n"})
	k.post("model-versions/create", object{"name": "n", "source": "runs:/" + m.run})
	return m
}

// path is the path of a route, with id where it has a part that varies.
func (m *malformed) path(route mlflow.Route, id string) string {
	segments := strings.Split(route.Pattern, "/")
	for i, s := range segments {
		if strings.HasPrefix(s, "{") {
			segments[i] = id
		}
	}
	return strings.Join(segments, "/")
}

func eachMalformed(t *testing.T, f func(t *testing.T, m *malformed)) {
	eachTracker(t, func(t *testing.T, k *tracker) { f(t, newMalformed(k)) })
}

// TestBadBodies sends every kind of bad body to every endpoint.
func TestBadBodies(t *testing.T) {
	eachMalformed(t, func(t *testing.T, m *malformed) {
		bodies := []string{
			"", "{", "[]", `"x"`, "5", "null", "true", "{}", "}", `{"name":NaN}`, `{"name":"a","name":"b"}`, "\ufeff{}", "\x00", "\xff", `{"name":"\u0000"}`, `{"name":"\ud800"}`, "{\"name\":\"\xff\"}", "{\"name\":\"a\u0001b\"}",
			`"{\"name\":5}"`, `"\"{}\""`, `{"nobody":{"a":[1]}}`, `{"name":{"name":{}}}`, `{"run_id":"` + m.run + `"}`, `{} {}`, `{"name":"n","version":"1","key":"k\u0007","value":"v\u0007","stage":"\u0001","alias":"\u0001"}`,
			strings.Repeat(`{"a":`, 20000), strings.Repeat("[", 100000), `{"name":` + strings.Repeat("9", 5000) + `}`, `{"max_results":1e999}`,
		}
		kinds := []string{"", "text/plain", "application/json; charset=utf-16", "application/JSON", "multipart/form-data; boundary=x", "application/x-www-form-urlencoded", ";;;", "application/json\u00e9", "application/octet-stream"}
		for _, route := range m.routes {
			for _, id := range []string{m.model, "%01", "%F0%9F%98%80", "%FF", "%00", strings.Repeat("a", 3000)} {
				path := m.path(route, id)
				for _, body := range bodies {
					m.send(route.Method, path, jsonKind, body)
					if id != m.model {
						break
					}
				}
			}
			path := m.path(route, m.model)
			for _, kind := range kinds {
				for _, body := range []string{"", `{"name":"n"}`} {
					m.send(route.Method, path, kind, body)
				}
			}
			for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions, http.MethodTrace, "BREW"} {
				m.send(method, path, jsonKind, "{")
			}
			for _, prefix := range []string{"/p/nobody", "/p/%00", "/p/A%20B", "/p/..", "/p/", "/p/default", "/p/" + strings.Repeat("x", 500)} {
				m.send(route.Method, prefix+path, jsonKind, "{}")
			}
			for _, workspace := range []string{"nobody", "\x00", "A B", "../x", strings.Repeat("x", 500), "é\xff"} {
				r := httptest.NewRequest(route.Method, "/x", strings.NewReader("{}")).WithContext(t.Context())
				r.URL, _ = url.Parse(path)
				r.Header.Set("Content-Type", jsonKind)
				r.Header["X-Mlflow-Workspace"] = []string{workspace}
				m.answers(r, "workspace "+workspace)
			}
		}
	})
}

// TestHugeBodies sends more than an endpoint takes.
func TestHugeBodies(t *testing.T) {
	m := newMalformed(newTracker(t, filepath.Join(t.TempDir(), "p.db")))
	for _, route := range m.routes {
		if route.Raw || route.Method == http.MethodGet {
			continue
		}
		limit := route.Limit
		if limit == 0 {
			limit = httpx.MaxBody
		}
		if status := m.send(route.Method, m.path(route, m.model), jsonKind, `{"name":"`+strings.Repeat("x", int(limit))+`"}`); status != http.StatusRequestEntityTooLarge {
			t.Errorf("%s %s: %d for a body over its limit", route.Method, route.Pattern, status)
		}
	}
	if status := m.send(http.MethodPost, "/ajax-api/2.0/mlflow/upload-artifact?run_uuid="+m.run+"&path=x", "", strings.Repeat("x", 11<<20)); status != http.StatusBadRequest {
		t.Errorf("an upload of 11 MB by the way of the web pages: %d", status)
	}
}

// fieldNames are names of fields of MLflow's messages, each of which gets values of every
// wrong kind.
var fieldNames = []string{
	"experiment_id", "experiment_ids", "name", "new_name", "artifact_location", "tags", "run_id", "run_uuid", "key", "value", "timestamp", "step",
	"metrics", "params", "status", "end_time", "start_time", "filter", "order_by", "max_results", "page_token", "view_type", "run_view_type", "path",
	"datasets", "models", "model_id", "model_json", "metric_key", "run_ids", "source_run_id", "experiment_name", "start_step", "end_step",
	"artifact_directory_path", "artifact_file_path", "version", "alias", "source", "description", "stage", "archive_existing_versions", "stages", "run_link", "allow_deleted",
}

var wrongValues = []string{
	`null`, `true`, `-1`, `0`, `1e400`, `1.5`, `9223372036854775808`, `""`, `"x"`, `"0"`, `"\u0001"`, `"\ud83d\ude00"`, `"e30"`, `"eyJxIjoiIiwiayI6W251bGxdfQ"`, `"'"`, `"a = 'b"`,
	`"metrics.a > 1e308 AND start_time > 1e300 AND creation_time < -1e300"`, `"version_number > 1e300"`, `[]`, `{}`, `[[]]`, `[{}]`, `[null]`, `["x"]`, `[1]`, `[{"key":"a"}]`, `[{"key":"a","value":"1","timestamp":1}]`,
	`[{"key":"a","value":1,"timestamp":9223372036854775807,"step":-9223372036854775808}]`, `[{"field_name":"x"}]`, `[{"model_id":"m"}]`, `[{"dataset":{}}]`, `[{"dataset":{"name":"a","digest":"b","source_type":"","source":""}}]`,
}

// TestWrongValues gives fields values of every wrong kind.
func TestWrongValues(t *testing.T) {
	eachMalformed(t, func(t *testing.T, m *malformed) {
		for n, route := range m.routes {
			if route.Support == mlflow.None {
				continue
			}
			path := m.path(route, m.model)
			for i, field := range fieldNames {
				for j, value := range wrongValues {
					if (i+j+n)%3 != 0 { // each in some route, not each in all
						continue
					}
					if route.Method == http.MethodGet {
						m.send(route.Method, path+"?run_id="+m.run+"&experiment_id=0&metric_key=a&max_results=2&"+field+"="+url.QueryEscape(strings.Trim(value, `"`)), "", "")
						continue
					}
					m.send(route.Method, path, jsonKind, `{"run_id":"`+m.run+`","experiment_id":"0","experiment_ids":["0"],"key":"k","max_results":2,"name":"n","version":"1","`+field+`":`+value+`}`)
				}
			}
			if route.Method == http.MethodGet {
				for _, query := range []string{"name=%zz", "name=%FF", "name=%00", "name=a&name=b", "=", "&&&", ";", "name[]=x", "max_results=", "max_results=a", "page_token=%FF%FE", strings.Repeat("a=b&", 5000)} {
					m.send(route.Method, path+"?"+query, "", "")
				}
			}
		}
	})
}

// TestPageTokens gives every search tokens that it did not give out.
func TestPageTokens(t *testing.T) {
	var tokens []string
	for _, text := range []string{
		`{}`, `[]`, `null`, `5`, `{"offset":-1}`, `{"offset":0}`, `{"offset":"x"}`, `{"offset":"3"}`, `{"offset":1e300}`, `{"offset":9223372036854775807}`, `{"offset":1,"cursor":"x"}`, `{"offset":1,"cursor":"{}"}`, `{"offset":1,"cursor":"null"}`,
		`{"offset":1,"cursor":"{\"values\":[1,2,3]}"}`, `{"offset":1,"cursor":5}`, `{"cursor":[]}`, `{"q":"","k":[]}`, `{"q":"","k":["a",{},null,1e300]}`, "\x00", "\xff", "x", strings.Repeat("[", 5000),
	} {
		tokens = append(tokens, base64.StdEncoding.EncodeToString([]byte(text)), base64.RawURLEncoding.EncodeToString([]byte(text)), text)
	}
	eachMalformed(t, func(t *testing.T, m *malformed) {
		for _, route := range m.routes {
			if !strings.HasSuffix(route.Pattern, "/search") && !strings.Contains(route.Pattern, "get-history") && !strings.HasSuffix(route.Pattern, "/artifacts/list") {
				continue
			}
			for _, token := range tokens {
				if route.Method == http.MethodGet {
					m.send(route.Method, m.path(route, m.model)+"?max_results=1&run_id="+m.run+"&metric_key=a&page_token="+url.QueryEscape(token), "", "")
					continue
				}
				body, err := json.Marshal(object{"experiment_ids": []string{"0"}, "max_results": 1, "page_token": token})
				if err != nil {
					t.Fatal(err)
				}
				m.send(route.Method, m.path(route, m.model), jsonKind, string(body))
			}
		}
	})
}

// TestArtifactTraversal asks for paths that leave their folder, by every way to a file:
// nothing is answered, listed, written or deleted.
func TestArtifactTraversal(t *testing.T) {
	evil := []string{
		"..", "../x", "a/../../x", "/etc/passwd", "//etc/passwd", "%2e%2e/x", "%252e%252e/x", "%25252e%25252e%25252fx", "..%2fx", "..%252fx", "a/..%5c..%5cx", `..\x`, `a\..\..\x`, `\\host\x`, "C:/x", `C:\x`, "./x", "a/./x", "a//x", "a/", ".", "",
		"a\x00b", "a\nb", "a\x7fb", "a\xffb", "~/x", "file:///etc/passwd", "http://h/x", "a#b", strings.Repeat("a/", 3000) + "x", strings.Repeat("a", 5000), "versions/mdl_x/1/y",
	}
	eachMalformed(t, func(t *testing.T, m *malformed) {
		const proxy = "/api/2.0/mlflow-artifacts/artifacts"
		if status := m.send(http.MethodPut, proxy+"/"+m.root+"/kept.txt", "", "kept"); status != http.StatusOK {
			t.Fatal(status)
		}
		for _, path := range evil {
			// As it is, escaped once, and escaped twice.
			for _, written := range []string{path, escapePath(path), escapePath(escapePath(path))} {
				for _, method := range []string{http.MethodGet, http.MethodPut, http.MethodDelete} {
					for _, base := range []string{proxy + "/", proxy + "/" + m.root + "/", "/p/default" + proxy + "/"} {
						m.send(method, base+written, "", "evil")
					}
				}
				query := url.QueryEscape(written)
				for _, target := range []string{
					proxy + "?path=" + query, proxy + "?path=" + m.root + "/" + query,
					"/api/2.0/mlflow/artifacts/list?run_id=" + m.run + "&path=" + query,
					"/get-artifact?run_id=" + m.run + "&path=" + query,
					"/model-versions/get-artifact?name=n&version=1&path=" + query,
					"/api/2.0/mlflow/logged-models/" + m.model + "/artifacts/directories?artifact_directory_path=" + query,
					"/ajax-api/2.0/mlflow/logged-models/" + m.model + "/artifacts/files?artifact_file_path=" + query,
				} {
					m.send(http.MethodGet, target, "", "")
				}
				m.send(http.MethodPost, "/ajax-api/2.0/mlflow/upload-artifact?run_uuid="+m.run+"&path="+query, "", "evil")
				body, err := json.Marshal(object{"name": "n", "source": "mlflow-artifacts:/" + m.root + "/" + strings.ToValidUTF8(written, ""), "run_id": m.run})
				if err != nil {
					t.Fatal(err)
				}
				m.send(http.MethodPost, "/api/2.0/mlflow/model-versions/create", jsonKind, string(body))
			}
		}
		if status, text, _ := m.do(http.MethodGet, proxy+"/"+m.root+"/kept.txt", nil); status != http.StatusOK || text != "kept" {
			t.Errorf("a path that leaves its folder changed a file: %d %q", status, text)
		}
	})
}

func escapePath(p string) string {
	return strings.ReplaceAll(url.QueryEscape(p), "+", "%20")
}

// FuzzRequest: nothing that is sent to any endpoint gives a 5xx, or an error of another
// shape.
func FuzzRequest(f *testing.F) {
	f.Add(uint8(0), "x", "", jsonKind, []byte(`{"name":"n"}`))
	f.Add(uint8(5), "..", "name=n", "", []byte(""))
	f.Add(uint8(16), "a/b", "filter=name%20%3D%20'x'&order_by=name&max_results=1&page_token=eyJvZmZzZXQiOjF9", "", []byte(""))
	f.Add(uint8(30), "m-1", "", jsonKind, []byte(`{"experiment_ids":["0"],"filter":"metrics.a > 1","order_by":["metrics.a DESC"],"max_results":1}`))
	f.Add(uint8(35), "m-1", "", jsonKind, []byte(`{"run_id":"r","metrics":[{"key":"a","value":"NaN","timestamp":1,"step":-1}],"params":[{"key":"p","value":"v"}],"tags":[{"key":"t"}]}`))
	f.Add(uint8(60), "%2e%2e%2fx", "path=..%2fx", "text/plain", []byte("bytes"))
	k := newTracker(f, filepath.Join(f.TempDir(), "p.db"))
	m := newMalformed(k)
	f.Fuzz(func(t *testing.T, n uint8, id, query, kind string, body []byte) {
		m := *m
		m.tracker = &tracker{t: t, url: k.url, registrar: k.registrar, handler: k.handler}
		route := m.routes[int(n)%len(m.routes)]
		if !strings.Contains(route.Pattern, "...") {
			id = strings.ReplaceAll(id, "/", "")
		}
		target := m.path(route, id)
		if query != "" {
			target += "?" + query
		}
		m.send(route.Method, target, kind, string(body))
	})
}
