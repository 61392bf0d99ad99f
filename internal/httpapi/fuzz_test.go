package httpapi_test

import (
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/pedigree-ml/pedigree"
)

// FuzzRequest sends any method, path, query and body: whatever comes, no answer is a
// failure of the server.
func FuzzRequest(f *testing.F) {
	digest := string(pedigree.DigestBytes(nil))
	for _, seed := range [][4]string{
		{"GET", "/api/v1/projects", "", ""},
		{"POST", "/api/v1/projects", "", `{"name":"risk","description":"x"}`},
		{"POST", base, "", `{"name":"fraud","tier":"high","tags":{"a":"b"}}`},
		{"PATCH", base + "/fraud", "", `{"state":"in_use","tags":{"a":"b"}}`},
		{"DELETE", base + "/fraud", "force=true&reason=x", ""},
		{"POST", base + "/fraud/rename", "", `{"to":"froud"}`},
		{"DELETE", base + "/fraud/tags/a%2Fb", "", ""},
		{"GET", base + "/fraud/versions", "filter=metrics.auc+%3E+0.9&order=metrics.auc+DESC&limit=2&as_of=3", ""},
		{"POST", base + "/fraud/versions", "", `{"record":{"artifact":{"kind":"linked","uri":"s3://u:p@m/1","size":3},"code":{"commit":"abc"},"runtime":{"seconds":"NaN","compute":{"memory":-1}},` +
			`"data":[{"role":"train","kind":"snapshot","uri":"s3://d","personal":true}],"params":{"a":"1"},"metrics":[{"name":"auc","value":0.9}],"run":{"id":"r","started_at":"2026-11-02T08:00:00Z"},` +
			`"outputs":[{"name":"o"}],"parents":[{"relation":"fine_tuned_from","reference":"fraud/1"}],"signature":{"inputs":[{"type":"double","shape":[-1,3]}]},"flavors":[{"name":"f","version":"1","loader":"l","python":"3"}],"evidence":[{"name":"e","kind":"card","uri":"s3://e"}],` +
			`"owner":"x","target":"prod/x","rollback_note":"y"},"tags":{"a":"b"},"aliases":["production"],"create_model":true}`},
		{"POST", base + "/fraud/versions", "", `{"record":{"artifact":{"kind":"stored","files":[{"path":"a","size":0,"digest":"` + digest + `"}]}},"create_model":true}`},
		{"GET", base + "/fraud/versions/@production/resolve", "as_of=-2h", ""},
		{"GET", base + "/fraud/versions/" + digest + "/artifact", "", ""},
		{"GET", base + "/stored/versions/1/manifest", "", ""},
		{"GET", base + "/stored/versions/1/files/dir/model.bin", "", ""},
		{"GET", base + "/stored/versions/1/evidence/card.md", "", ""},
		{"POST", base + "/stored/versions/1/verify", "", ""},
		{"GET", base + "/fraud/versions/1/lineage", "direction=up&depth=2", ""},
		{"POST", base + "/fraud/versions/1/amendments", "", `{"record":{"metrics":[{"name":"auc","value":"Infinity"}]},"replace":["metrics"],"reason":"x"}`},
		{"PATCH", base + "/fraud/versions/1", "", `{"description":"x","tags":{"a":"b"}}`},
		{"POST", base + "/fraud/versions/1/archive", "", `{"reason":"x"}`},
		{"POST", base + "/fraud/versions/1/restore", "", ""},
		{"DELETE", base + "/fraud/versions/1/tags/a", "", ""},
		{"DELETE", base + "/fraud/versions/1", "reason=x", ""},
		{"PUT", base + "/fraud/aliases/production", "", `{"version":"1","if_current":null,"note":"x"}`},
		{"DELETE", base + "/fraud/aliases/production", "if_current=1&note=x", ""},
		{"GET", base + "/fraud/aliases/production/history", "limit=1&cursor=MQ", ""},
		{"POST", "/api/v1/projects/default/blobs/missing", "", `{"digests":["` + digest + `"]}`},
		{"PUT", "/api/v1/projects/default/blobs/" + digest, "", ""},
		{"GET", "/api/v1/search", "filter=tags.a+%3D+'b'+OR+NOT+(owner+ILIKE+'%25x')&cursor=eyJxIjoieCIsImsiOnsidiI6W251bGxdLCJzIjoxfSwicyI6MX0", ""},
		{"POST", "/api/v1/projects/default/predictions/which", "as_of=3", `{"schema":"pedigree.prediction/v1","id":"1","time":"2026-11-24T09:00:00Z","target":"prod/x","model":"fraud","version":1}`},
		{"POST", "/api/v1/projects/default/predictions/check", "target=prod/x", `{"schema":"pedigree.prediction/v1","id":"1","time":"2026-11-24T09:00:00Z","digest":"` + digest + `","request":{},"prediction":1}`},
		{"GET", "/api/v1/log/events", "type=alias.moved&ref=fraud/1&after=1&newest=true&limit=3", ""},
		{"POST", "/api/v1/log/events/2/redactions", "", `{"fields":["tags"],"reason":"x"}`},
		{"GET", "/api/v1/log/export", "after=1", ""},
		{"GET", "/api/v1/log/proofs/inclusion", "seq=1&size=2", ""},
		{"GET", "/api/v1/log/proofs/consistency", "from=1&size=2", ""},
		{"GET", "/api/v1/../x//y/%2e%2e", "%zz", "\xff"},
	} {
		f.Add(seed[0], seed[1], seed[2], seed[3])
	}
	r := newRegistry(f)
	f.Fuzz(func(t *testing.T, method, path, query, body string) {
		if !strings.HasPrefix(path, "/") {
			path = "/api/v1/" + path
		}
		u, err := url.Parse("http://localhost" + path)
		if err != nil || method == "" || strings.ContainsAny(method, " \r\n\t") {
			return // net/http would not hand it on
		}
		u.RawQuery = query
		req := httptest.NewRequest("GET", "/", strings.NewReader(body))
		req.Method, req.URL, req.RequestURI = method, u, u.RequestURI()
		w := httptest.NewRecorder()
		r.handler.ServeHTTP(w, req)
		if w.Code >= 500 {
			lines := r.log.all()
			t.Fatalf("%s %s?%s %q: got %d: %s\n%s", method, path, query, body, w.Code, w.Body, lines[len(lines)-1])
		}
	})
}
