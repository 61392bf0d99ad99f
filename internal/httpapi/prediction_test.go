package httpapi_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/internal/httpapi"
)

// testPredictions uses every operation on logged predictions.
func testPredictions(t *testing.T, r *registry) {
	ctx := t.Context()
	must(r.CreateProject(ctx, "logs", ""))(t)
	c := r.In("logs")
	must(c.Register(ctx, "loans", linked("s3://models/loans")))(t)
	must(c.CreateTarget(ctx, "prod/loans", pedigree.TargetSpec{Kind: pedigree.TargetOnline}))(t)
	last := must(c.Deploy(ctx, ref(t, "logs/loans/1"), "prod/loans", pedigree.Deploy{}, nil))(t)
	line := pedigree.Prediction{
		Schema: pedigree.PredictionV1, ID: "r-1", Time: *last.ActiveAt, Project: "logs", Target: "prod/loans",
		Request: json.RawMessage(`{"amount": 1}`), Prediction: json.RawMessage("1"),
	}
	found := must(r.WhichPrediction(ctx, line, now))(t) // by a client of another project
	if len(found.Items) != 1 || found.Items[0].Deployment.ID != last.ID || found.AsOf == 0 {
		t.Errorf("got %+v", found)
	}
	if found = must(c.WhichPrediction(ctx, line, at(*last.ActiveSeq)))(t); found.AsOf != *last.ActiveSeq {
		t.Errorf("as of %d: got %d", *last.ActiveSeq, found.AsOf)
	}
	text := must(json.Marshal(line))(t)
	check := must(c.CheckPredictions(ctx, "prod/loans", bytes.NewReader(append(text, "\nhello\n"...))))(t)
	if check.Lines != 2 || check.Bad != 1 || check.Problems[0].Line != 2 || len(check.Versions) != 1 {
		t.Errorf("got %+v", check)
	}
	_, err := c.CheckPredictions(ctx, "", strings.NewReader(strings.Repeat("x", pedigree.MaxPredictionLog+1)))
	wantCode(t, err, pedigree.CodeTooLarge)

	schema := must(r.PredictionSchema(ctx))(t)
	if !bytes.Equal(bytes.TrimSpace(schema), bytes.TrimSpace(pedigree.PredictionSchema())) {
		t.Errorf("got another schema than the program's: %s", schema)
	}
}

// TestPredictionRequests: lines as anybody may send them, without the SDK.
func TestPredictionRequests(t *testing.T) { onBoth(t, checkPredictionRequests) }

func checkPredictionRequests(t *testing.T, r *registry) {
	ctx := t.Context()
	one := must(r.Register(ctx, "fraud", linked("s3://m/1")))(t)
	must(r.Register(ctx, "fraud", linked("s3://m/2")))(t)
	schema := json.RawMessage(`{"properties": {"request": {"properties": {"amount": {"type": "number"}}}}}`)
	must(r.CreateTarget(ctx, "prod/fraud", pedigree.TargetSpec{Kind: pedigree.TargetOnline, LogSchema: schema}))(t)
	primary := must(r.Deploy(ctx, ref(t, "fraud/1"), "prod/fraud", pedigree.Deploy{}, nil))(t)
	canary := must(r.Deploy(ctx, ref(t, "fraud/2"), "prod/fraud", pedigree.Deploy{Role: pedigree.RoleCanary}, nil))(t)
	log := must(json.Marshal(time.Now().Add(time.Hour)))(t)
	line := func(more string) string {
		return `{"schema":"pedigree.prediction/v1","id":"r-1","time":` + string(log) + `,` + more + `}`
	}
	const secret = "4711.0815"
	content := `,"request":{"amount":` + secret + `},"prediction":{"score":` + secret + `},"response":"` + secret + `","extra":{"x":"` + secret + `"}`
	type row struct {
		name, body string
		status     int
		want       string // in the answer
	}
	post := func(path string, rows []row) {
		for _, tt := range rows {
			got := r.send(t, "POST", "/api/v1/projects/default/predictions/"+path, tt.body)
			if got.status != tt.status || !strings.Contains(string(got.body), tt.want) {
				t.Errorf("%s: got %d, want %d and %q: %s", tt.name, got.status, tt.status, tt.want, got.body)
			}
			if strings.Contains(string(got.body), secret) {
				t.Errorf("%s: the answer repeats what was asked: %s", tt.name, got.body)
			}
			if got.status >= 300 {
				got.problem(t)
			}
		}
	}
	other := string(pedigree.DigestBytes([]byte("other")))
	post("which", []row{
		{"by deployment", line(`"deployment":"` + primary.ID + `"`), 200, `"kind":"deployment","deployment":{"id":"` + primary.ID},
		{"with its content", line(`"deployment":"` + primary.ID + `"` + content), 200, `"record":`},
		{"as a log has it", line(`"deployment":"`+primary.ID+`"`+content) + "\r\n", 200, `"kind":"deployment"`},
		{"null for content", line(`"deployment":"` + primary.ID + `","response":null`), 200, `"kind":"deployment"`},
		{"by target and time", line(`"target":"prod/fraud"`), 200, `"rollback":"pedigree rollback prod/fraud"`},
		{"a canary beside it", line(`"target":"prod/fraud"`), 200, `fraud/2 was active there too, as canary`},
		{"the canary", line(`"target":"prod/fraud","model":"fraud","version":2`), 200, `"kind":"target","deployment":{"id":"` + canary.ID},
		{"by version", line(`"model":"fraud","version":1`), 200, `"kind":"version"`},
		{"another digest", line(`"model":"fraud","version":1,"digest":"` + other + `"`), 200, `"kind":"version"`},
		{"no such deployment", line(`"deployment":"dep_0193a3c5e8b07aa48f2d3c4b5a697887"`), 404, `"code":"not_found"`},
		{"no such target", line(`"target":"prod/none"`), 404, `"code":"not_found"`},
		{"in no project", line(`"project":"nowhere","target":"prod/fraud"`), 404, `there is no project nowhere`},
		{"no such artifact", line(`"digest":"` + other + `"`), 404, `no version that this registry had then holds`},
		{"before the record", strings.Replace(line(`"target":"prod/fraud"`), string(log), `"1999-01-01T00:00:00Z"`, 1), 404, `"code":"not_recorded"`},
		{"names nothing", line(`"instance":"pod-1"`), 400, `nothing says which version it was`},
		{"misspelt", line(`"depolyment":"x"`), 400, `did you mean deployment?`},
		{"no time", `{"schema":"pedigree.prediction/v1","id":"r-1","target":"prod/fraud"}`, 400, `the field time is missing`},
		{"malformed", `{"schema":"pedigree.prediction/v1",id:1` + content + `}`, 400, `byte 36: this is not JSON`},
		{"a list for a request", line(`"target":"prod/fraud","request":[` + secret + `]`), 400, `request: want an object, not a list`},
		{"no JSON", `hello`, 400, `byte 1: this is not JSON`},
		{"nothing", ``, 400, `the line is empty`},
		{"too large", line(`"target":"prod/fraud","extra":{"x":"` + strings.Repeat("x", pedigree.MaxPrediction) + `"}`), 413, `the limit is 1048576`},
	})
	post("which?as_of=1999-01-01", []row{{"another moment", line(`"target":"prod/fraud"`), 404, `"code":"not_recorded"`}})
	good := line(`"target":"prod/fraud"` + content)
	post("check", []row{
		{"good", good + "\n", 200, `{"lines":1,"bad":0,`},
		{"nothing", "", 200, `{"lines":0,"bad":0}`},
		{"without content", line(`"target":"prod/fraud"`), 200, `"problems":[{"line":1,"id":"r-1","problems":["the field request is missing"]}]`},
		{"malformed", good + "\n\nhello" + secret, 200, `"line":3,"problems":["byte 1: this is not JSON`},
		{"too large", strings.Repeat("x", pedigree.MaxPredictionLog) + "y", 413, `the limit is 8388608`},
	})
	post("check?target=prod/fraud", []row{
		{"good", good, 200, `{"lines":1,"bad":0,`},
		{"a text", strings.Replace(good, secret, `"`+secret+`"`, 1), 200, `"problems":["request.amount: got string, want number"]`},
		{"of another target", strings.Replace(good, "prod/fraud", "prod/other", 1), 200, `"target: it is of prod/other"`},
	})
	post("check?target=prod/none", []row{{"no such target", good, 404, `"code":"not_found"`}})
	post("check?target=none", []row{{"no target's name", good, 400, `query parameter target`}})

	// What came unannounced, in pieces, is bounded as well.
	req := must(http.NewRequestWithContext(ctx, "POST", r.url+"/api/v1/projects/default/predictions/check", struct{ io.Reader }{strings.NewReader(strings.Repeat(good+"\n", pedigree.MaxPredictionLog/len(good)+1))}))(t)
	resp := must(http.DefaultClient.Do(req))(t)
	if _ = resp.Body.Close(); resp.StatusCode != http.StatusRequestEntityTooLarge {
		t.Errorf("in pieces: got %s", resp.Status)
	}
	// Nothing of a line is kept: not in the log of requests, not in that of the registry.
	if strings.Contains(strings.Join(r.log.all(), ""), secret) {
		t.Error("the request log holds what was asked")
	}
	if events := must(r.Events(ctx, pedigree.EventQuery{After: canary.Seq}))(t); len(events.Items) != 1 || one.Number != 1 {
		t.Errorf("asking made events: %+v", events.Items)
	}
}

// TestPredictionSchemaIsPublic asks as nobody, and again with what was kept.
func TestPredictionSchemaIsPublic(t *testing.T) {
	a := httpapi.New(nil, httpapi.Options{
		Now:    time.Now,
		Caller: func(*http.Request) (pedigree.Principal, error) { return pedigree.Principal{}, errors.New("nobody") },
	})
	get := func(tag string) *http.Response {
		req := httptest.NewRequest(http.MethodGet, "/api/v1/schemas/prediction/v1", nil)
		req.Header.Set("If-None-Match", tag)
		w := httptest.NewRecorder()
		a.Handler().ServeHTTP(w, req)
		return w.Result()
	}
	first := get("")
	tag := first.Header.Get("Etag")
	if first.StatusCode != http.StatusOK || first.Header.Get("Content-Type") != "application/schema+json" || tag == "" || first.Header.Get("Cache-Control") == "" {
		t.Errorf("got %s with %v", first.Status, first.Header)
	}
	if again := get(tag); again.StatusCode != http.StatusNotModified {
		t.Errorf("asked again with %s: got %s", tag, again.Status)
	}
}
