package httpapi_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/internal/httpapi"
)

// nasty are values to put where another one belongs.
var nasty = []any{
	nil, true, 0, -1, 1e308, int64(9223372036854775807), "", " ", "x", "\x01", "a\nb", "../x", "/", "\"", "'", "%", "\\", "é\u0301", "\U0010ffff", "latest", "v1", "@",
	"sha256:" + strings.Repeat("0", 64), "NaN", "-Infinity", "0000-01-01T00:00:00Z", "9999-12-31T23:59:59.999999999-23:59", strings.Repeat("x", 7000), strings.Repeat("é", 300),
	[]any{},
	[]any{nil},
	[]any{"x", "x"},
	map[string]any{},
	map[string]any{"": ""},
	map[string]any{"x": nil},
	map[string]any{"a\x01": "b"},
}

// TestMutations takes every request of the document's examples, and each time puts one
// nasty value in the place of one right one.
func TestMutations(t *testing.T) { onBoth(t, checkMutations) }

func checkMutations(t *testing.T, r *registry) {
	reset := func() {
		r.send(t, "POST", base+"/fraud/versions", `{"record":{"artifact":{"kind":"linked","uri":"s3://m"}},"create_model":true}`)
	}
	reset()
	full := `{"record":{"artifact":{"kind":"stored","digest":"","size":0,"files":[{"path":"a","size":0,"digest":"` + string(pedigree.DigestBytes(nil)) + `","executable":true}]},
"code":{"repository":"https://x","commit":"abc","branch":"b","path":"p","dirty":true},"runtime":{"image":"i","seconds":1.5,"environment":{"manager":"uv","python":"3","file":"f","digest":"","packages":["a==1"]},
"compute":{"os":"l","arch":"a","cpu":"c","cores":1,"memory":1,"gpus":["g"],"instance_type":"t"}},"data":[{"role":"train","kind":"query","uri":"s3://d","query":"q","version":"1","digest":"","size":1,"personal":true,"subjects":"s","subject_key":"k"}],
"params":{"a":"1"},"metrics":[{"name":"auc","value":0.9,"dataset":"d","digest":"","split":"s"}],"run":{"id":"r","name":"n","uri":"https://r","system":"s","user":"u","started_at":"2026-11-02T08:00:00Z","ended_at":"2026-11-02T08:00:00Z","upstream":[{"id":"u","name":"n","uri":"https://u"}]},
"outputs":[{"name":"o","uri":"s3://o","digest":"","size":1}],"parents":[{"relation":"fine_tuned_from","reference":"fraud/1","model_id":"","version":0,"uri":"","digest":""}],"signature":{"inputs":[{"name":"n","type":"double","shape":[-1],"optional":true}],"outputs":[],"params":[]},"flavors":[{"name":"f","version":"1","loader":"l","python":"3"}],
"evidence":[{"name":"e","kind":"card","digest":"","size":1,"media_type":"m","uri":"s3://e","note":"n"}],"owner":"x","target":"prod/x","rollback_note":"y"},"tags":{"a":"b"},"description":"d","aliases":["production"],"create_model":true}`
	bodies := map[string][]string{"POST " + base + "/fraud/versions": {full}, "POST " + base + "/fraud/versions/latest/amendments": {`{"record":` + between(full, `"record":`, `,"tags"`) + `,"replace":["metrics"],"reason":"r"}`}}
	for _, route := range httpapi.New(nil, httpapi.Options{}).Routes() {
		if route.RequestExample == nil {
			continue
		}
		b := must(json.Marshal(route.RequestExample))(t)
		path := strings.NewReplacer("{project}", "default", "{model}", "fraud", "{version}", "latest", "{alias}", "production", "{seq}", "2").Replace(httpapi.Prefix + route.Pattern)
		bodies[route.Method+" "+path] = append(bodies[route.Method+" "+path], string(b))
	}
	sent := 0
	for _, target := range slices.Sorted(maps.Keys(bodies)) {
		method, path, _ := strings.Cut(target, " ")
		for _, body := range bodies[target] {
			if a := r.send(t, method, path, body); a.status >= 500 {
				t.Fatalf("%s %s: got %d %s", target, body, a.status, a.body)
			}
			var whole any
			if err := json.Unmarshal([]byte(body), &whole); err != nil {
				t.Fatalf("%s: %v", body, err)
			}
			mutate(whole, func(v any) { whole = v }, func() {
				if sent++; sent%50 == 0 { // a version with many amendments is slow to read
					reset()
				}
				b := must(json.Marshal(whole))(t)
				if a := r.send(t, method, path, string(b)); a.status >= 500 {
					lines := r.log.all()
					t.Errorf("%s %.500s: got %d %s\n%s", target, b, a.status, a.body, lines[len(lines)-1])
				}
			})
		}
		reset() // in case the model is gone
	}
	if sent < 1500 {
		t.Errorf("only %d requests were made", sent)
	}
	// What was taken can be read, found and verified.
	for _, path := range []string{base, base + "/fraud/versions?limit=1000", "/api/v1/search?limit=1000", "/api/v1/log/events?limit=1000", "/api/v1/log/export", base + "/fraud/history"} {
		if a := r.send(t, "GET", path, ""); a.status != 200 {
			t.Errorf("GET %s: got %d %s", path, a.status, a.body)
		}
	}
	list := getList[pedigree.Summary](t, r, base+"/fraud/versions?limit=1000")
	for _, s := range list.Items {
		for _, of := range []string{"", "/lineage", "/resolve", "/artifact"} {
			if a := r.send(t, "GET", fmt.Sprintf("%s/fraud/versions/%d%s", base, s.Number, of), ""); a.status >= 500 {
				t.Errorf("version %d%s: got %d %s", s.Number, of, a.status, a.body)
			}
		}
	}
}

func between(s, after, before string) string {
	_, s, _ = strings.Cut(s, after)
	return s[:strings.LastIndex(s, before)]
}

// turn counts the places, so that each gets other nasty values first.
var turn int

// mutate puts some of the nasty values, others in each place, in the place of v and of
// all that is in it, and calls try each time.
func mutate(v any, put func(any), try func()) {
	turn += 7
	for i := range 12 {
		put(nasty[(turn+i)%len(nasty)])
		try()
	}
	put(v)
	switch v := v.(type) {
	case map[string]any:
		for _, k := range slices.Sorted(maps.Keys(v)) {
			mutate(v[k], func(n any) { v[k] = n }, try)
		}
		for _, k := range []string{"", "\x00", "unknown", strings.Repeat("k", 300)} {
			v[k] = "x"
			try()
			delete(v, k)
		}
	case []any:
		for i := range v {
			mutate(v[i], func(n any) { v[i] = n }, try)
		}
	}
}

// TestCursors sends cursors that were tampered with: they hold what a client likes.
func TestCursors(t *testing.T) { onBoth(t, checkCursors) }

func checkCursors(t *testing.T, r *registry) {
	must(r.Register(t.Context(), "fraud", linked("s3://m/1")))(t)
	for _, order := range []string{"", "version ASC", "metrics.auc DESC", "tags.a ASC", "created ASC", "owner DESC, version ASC"} {
		text := must(json.Marshal([]string{"", "", order}))(t)
		for _, n := range nasty {
			for _, values := range []any{n, []any{n}, []any{n, n}} {
				for _, seq := range []any{1, n} {
					b := must(json.Marshal(map[string]any{"q": pedigree.DigestBytes(text), "k": map[string]any{"v": values, "s": seq}, "s": seq}))(t)
					cursor := base64.RawURLEncoding.EncodeToString(b)
					a := r.send(t, "GET", "/api/v1/search?order="+url.QueryEscape(order)+"&cursor="+cursor, "")
					if a.status >= 500 {
						t.Errorf("order %q, cursor %.200s: got %d %s", order, b, a.status, a.body)
					}
				}
			}
		}
	}
	for _, path := range []string{"/api/v1/projects", base, base + "/fraud/history"} {
		for _, n := range nasty {
			cursor := base64.RawURLEncoding.EncodeToString(must(json.Marshal(n))(t))
			if a := r.send(t, "GET", path+"?cursor="+cursor, ""); a.status >= 500 {
				t.Errorf("%s, cursor %v: got %d %s", path, n, a.status, a.body)
			}
		}
	}
}
