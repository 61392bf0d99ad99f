package mlflow_test

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pedigree-ml/pedigree/internal/auth"
	"github.com/pedigree-ml/pedigree/internal/blob"
	"github.com/pedigree-ml/pedigree/internal/httpx"
	"github.com/pedigree-ml/pedigree/internal/ledger"
	"github.com/pedigree-ml/pedigree/internal/mlflow"
	"github.com/pedigree-ml/pedigree/internal/pgtest"
	"github.com/pedigree-ml/pedigree/internal/registrar"
	"github.com/pedigree-ml/pedigree/internal/sqlstore"
)

// tracker is a dialect over a real registry, behind HTTP.
type tracker struct {
	t         testing.TB
	url       string
	registrar *registrar.Registrar
	handler   http.Handler
}

// failures is where the log of a test's server goes: a failure of the server is one of
// the test.
type failures struct{ t testing.TB }

func (f failures) Write(p []byte) (int, error) {
	if !strings.Contains(string(p), "status=501") { // which says what is not offered
		f.t.Errorf("the server logged: %s", p)
	}
	return len(p), nil
}

func newTracker(t testing.TB, database string) *tracker {
	t.Helper()
	log := slog.New(slog.NewTextHandler(failures{t}, &slog.HandlerOptions{Level: slog.LevelError}))
	store, err := sqlstore.Open(t.Context(), sqlstore.Config{Database: database, Now: time.Now, Rand: rand.Reader, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	blobs, err := blob.OpenDir(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	key, _, err := ledger.NewKey(rand.Reader, "pedigree/test")
	if err != nil {
		t.Fatal(err)
	}
	newID := func(prefix string) string {
		var b [16]byte
		_, _ = rand.Read(b[:])
		return prefix + "_" + hex.EncodeToString(b[:])
	}
	k := &tracker{t: t}
	k.registrar, err = registrar.Open(t.Context(), registrar.Config{
		Store: store, Blobs: blobs, NewID: newID, Now: time.Now, Rand: rand.Reader,
		Signer: func() (*ledger.Signer, error) { return ledger.NewSigner(key) },
	})
	if err != nil {
		t.Fatal(err)
	}
	h, err := httpx.Chain(mlflow.New(k.registrar, mlflow.Config{Now: time.Now, Caller: auth.New(k.registrar).Caller}).Handler(), httpx.Config{
		Log: log, NewID: func() string { return newID("req") }, Now: time.Now, WriteError: mlflow.WriteError,
	})
	if err != nil {
		t.Fatal(err)
	}
	k.handler = h
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	k.url = srv.URL
	return k
}

func eachTracker(t *testing.T, f func(t *testing.T, k *tracker)) {
	t.Run("sqlite", func(t *testing.T) { f(t, newTracker(t, filepath.Join(t.TempDir(), "pedigree.db"))) })
	t.Run("postgres", func(t *testing.T) { f(t, newTracker(t, pgtest.Database(t))) })
}

// object is a JSON object, with short ways into it.
type object map[string]any

func (o object) at(path string) any {
	var v any = map[string]any(o)
	for _, part := range strings.Split(path, ".") {
		switch x := v.(type) {
		case map[string]any:
			v = x[part]
		case []any:
			var i int
			if _, err := fmt.Sscan(part, &i); err != nil || i >= len(x) {
				return nil
			}
			v = x[i]
		default:
			return nil
		}
	}
	return v
}

func (o object) text(path string) string {
	v := o.at(path)
	if v == nil {
		return ""
	}
	return fmt.Sprint(v)
}

func (o object) len(path string) int {
	list, _ := o.at(path).([]any)
	return len(list)
}

// do sends a request; body nil sends none, an object is sent as JSON, a string as bytes.
func (k *tracker) do(method, path string, body any) (int, string, http.Header) {
	k.t.Helper()
	var r io.Reader
	kind := ""
	switch b := body.(type) {
	case nil:
	case string:
		r = strings.NewReader(b)
	default:
		text, err := json.Marshal(b)
		if err != nil {
			k.t.Fatal(err)
		}
		r, kind = bytes.NewReader(text), "application/json"
	}
	req, err := http.NewRequestWithContext(k.t.Context(), method, k.url+path, r)
	if err != nil {
		k.t.Fatal(err)
	}
	if kind != "" {
		req.Header.Set("Content-Type", kind)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		k.t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		k.t.Fatal(err)
	}
	return res.StatusCode, string(text), res.Header
}

// call calls an endpoint of MLflow's API that must succeed.
func (k *tracker) call(method, path string, body any) object {
	k.t.Helper()
	status, text, _ := k.do(method, "/api/2.0/mlflow/"+path, body)
	if status != http.StatusOK {
		k.t.Fatalf("%s %s: got %d %s", method, path, status, text)
	}
	var out object
	if err := json.Unmarshal([]byte(text), &out); err != nil {
		k.t.Fatalf("%s %s: %v: %s", method, path, err, text)
	}
	return out
}

func (k *tracker) post(path string, body object) object {
	k.t.Helper()
	return k.call("POST", path, body)
}

func (k *tracker) get(path string, query ...string) object {
	k.t.Helper()
	v := url.Values{}
	for i := 0; i+1 < len(query); i += 2 {
		v.Add(query[i], query[i+1])
	}
	return k.call("GET", path+"?"+v.Encode(), nil)
}

// refused calls an endpoint that must answer with a status, a code and a message that
// begins so.
func (k *tracker) refused(method, path string, body any, status int, code, message string) {
	k.t.Helper()
	got, text, _ := k.do(method, "/api/2.0/mlflow/"+path, body)
	var e struct {
		Code    string `json:"error_code"`
		Message string `json:"message"`
	}
	if err := json.Unmarshal([]byte(text), &e); err != nil {
		k.t.Errorf("%s %s: %d %v: %s", method, path, got, err, text)
		return
	}
	if got != status || e.Code != code || !strings.HasPrefix(e.Message, message) {
		k.t.Errorf("%s %s %v:\n got %d %s %s\nwant %d %s %s", method, path, body, got, e.Code, e.Message, status, code, message)
	}
}

func (k *tracker) invalid(path string, body object, message string) {
	k.t.Helper()
	k.refused("POST", path, body, 400, "INVALID_PARAMETER_VALUE", message)
}

func (k *tracker) run(experiment, name string) string {
	k.t.Helper()
	return k.post("runs/create", object{"experiment_id": experiment, "run_name": name, "start_time": time.Now().UnixMilli()}).text("run.info.run_id")
}

func TestExperiments(t *testing.T) {
	eachTracker(t, func(t *testing.T, k *tracker) {
		e := k.get("experiments/get", "experiment_id", "0")
		if e.text("experiment.name") != "Default" || e.text("experiment.artifact_location") != "mlflow-artifacts:/0" || e.text("experiment.lifecycle_stage") != "active" {
			t.Errorf("experiment 0: %v", e)
		}
		id := k.post("experiments/create", object{"name": "fraud", "tags": []object{{"key": "team", "value": "risk"}, {"key": "team", "value": "fraud"}}}).text("experiment_id")
		if id != "1" {
			t.Errorf("id %q", id)
		}
		k.refused("POST", "experiments/create", object{"name": "fraud"}, 400, "RESOURCE_ALREADY_EXISTS", "Experiment(name=fraud) already exists.")
		k.invalid("experiments/create", object{"name": ""}, "Missing value for required parameter 'name'. See the API docs")
		k.invalid("experiments/create", object{"name": strings.Repeat("é", 501)}, "'name' exceeds the maximum length of 500 characters")
		k.invalid("experiments/create", object{"name": "x", "artifact_location": "runs:/a"}, "Artifact location cannot be a runs:/ URI.")
		if e := k.get("experiments/get-by-name", "experiment_name", "fraud"); e.text("experiment.tags.0.value") != "fraud" || e.len("experiment.tags") != 1 {
			t.Errorf("by name: %v", e)
		}
		k.refused("GET", "experiments/get-by-name?experiment_name=nope", nil, 404, "RESOURCE_DOES_NOT_EXIST", "Could not find experiment with name 'nope'")
		k.refused("GET", "experiments/get?experiment_id=999", nil, 404, "RESOURCE_DOES_NOT_EXIST", "No Experiment with id=999 exists")
		k.refused("GET", "experiments/get?experiment_id=x", nil, 400, "INVALID_PARAMETER_VALUE", "Invalid experiment ID 'x'. Experiment ID must be a valid integer.")
		k.post("experiments/set-experiment-tag", object{"experiment_id": id, "key": "a b", "value": "1"})
		k.post("experiments/delete-experiment-tag", object{"experiment_id": id, "key": "a b"})
		k.refused("POST", "experiments/delete-experiment-tag", object{"experiment_id": id, "key": "a b"}, 404, "RESOURCE_DOES_NOT_EXIST", "No tag with name: a b in experiment with id 1")
		k.post("experiments/update", object{"experiment_id": id, "new_name": "fraud 2"})
		k.refused("POST", "experiments/update", object{"experiment_id": id, "new_name": "Default"}, 400, "RESOURCE_ALREADY_EXISTS", "Experiment(name=Default)")
		run := k.run(id, "r")
		k.post("experiments/delete", object{"experiment_id": id})
		k.refused("POST", "experiments/delete", object{"experiment_id": id}, 404, "RESOURCE_DOES_NOT_EXIST", "No Experiment with id=1 exists")
		if got := k.get("runs/get", "run_id", run).text("run.info.lifecycle_stage"); got != "deleted" {
			t.Errorf("run of a deleted experiment: %s", got)
		}
		k.invalid("runs/create", object{"experiment_id": id}, "The experiment 1 must be in the 'active' state. Current state is deleted.")
		k.invalid("experiments/set-experiment-tag", object{"experiment_id": id, "key": "a", "value": "1"}, "The experiment 1 must be in the 'active' state.")
		k.refused("POST", "experiments/create", object{"name": "fraud 2"}, 400, "RESOURCE_ALREADY_EXISTS", "Experiment(name=fraud 2) already exists.")
		k.post("experiments/restore", object{"experiment_id": id})
		if got := k.get("runs/get", "run_id", run).text("run.info.lifecycle_stage"); got != "active" {
			t.Errorf("run of a restored experiment: %s", got)
		}
		k.post("experiments/create", object{"name": "s3", "artifact_location": "s3://bucket/a"})
		if got := k.post("runs/create", object{"experiment_id": "2"}); !strings.HasPrefix(got.text("run.info.artifact_uri"), "s3://bucket/a/") || got.text("run.info.run_name") == "" {
			t.Errorf("run in s3: %v", got)
		}
	})
}

func TestSearchExperiments(t *testing.T) {
	eachTracker(t, func(t *testing.T, k *tracker) {
		for i := range 5 {
			k.post("experiments/create", object{"name": fmt.Sprintf("exp%d", i), "tags": []object{{"key": "n", "value": fmt.Sprint(i)}, {"key": "team", "value": "risk"}}})
		}
		k.post("experiments/delete", object{"experiment_id": "5"})
		names := func(body object) string {
			var out []string
			token := ""
			for {
				if token != "" {
					body["page_token"] = token
				}
				o := k.post("experiments/search", body)
				list, _ := o.at("experiments").([]any)
				for _, e := range list {
					out = append(out, e.(map[string]any)["name"].(string))
				}
				if token = o.text("next_page_token"); token == "" {
					return strings.Join(out, " ")
				}
			}
		}
		for _, row := range []struct {
			body object
			want string
		}{
			{object{"order_by": []string{"name"}}, "Default exp0 exp1 exp2 exp3"},
			{object{"order_by": []string{"name DESC"}}, "exp3 exp2 exp1 exp0 Default"},
			{object{"order_by": []string{"experiment_id desc"}}, "exp3 exp2 exp1 exp0 Default"},
			{object{"view_type": "DELETED_ONLY"}, "exp4"},
			{object{"view_type": 3, "order_by": []string{"name"}}, "Default exp0 exp1 exp2 exp3 exp4"},
			{object{"filter": "name = 'exp1'"}, "exp1"},
			{object{"filter": "attribute.name LIKE 'EXP%'"}, ""},
			{object{"filter": "name ILIKE 'EXP%' AND tags.n != '1'", "order_by": []string{"name"}}, "exp0 exp2 exp3"},
			{object{"filter": "tags.`team` = 'risk' and tag.n = '2'"}, "exp2"},
			{object{"filter": "tags.team IS NULL"}, "Default"},
			{object{"filter": "experiment_id IN ('1', '3')", "order_by": []string{"name"}}, "exp0 exp2"},
			{object{"filter": "experiment_id != '1' AND tags.team IS NOT NULL", "order_by": []string{"name"}}, "exp1 exp2 exp3"},
			{object{"filter": "creation_time > 0 AND last_update_time >= 1", "order_by": []string{"name"}}, "Default exp0 exp1 exp2 exp3"},
		} {
			for _, results := range []int{1, 2, 100} {
				row.body["max_results"] = results
				delete(row.body, "page_token")
				if got := names(row.body); got != row.want {
					t.Errorf("%v: got %q, want %q", row.body, got, row.want)
				}
			}
		}
		for _, row := range []struct {
			body    object
			message string
		}{
			{object{}, "Invalid value 0 for parameter 'max_results' supplied."},
			{object{"max_results": 50001}, "Invalid value 50001 for parameter 'max_results' supplied. It must be at most 50000"},
			{object{"max_results": 1, "filter": "metrics.a = 1"}, "Invalid entity type 'metrics'. Valid entity types are ('attribute', 'tag', 'tags')"},
			{object{"max_results": 1, "filter": "foo = 'a'"}, "Invalid attribute key 'foo' specified. Valid keys are '{"},
			{object{"max_results": 1, "filter": "name = 'a' OR name = 'b'"}, "Invalid clause(s) in filter string: OR"},
			{object{"max_results": 1, "filter": "experiment_id LIKE '1'"}, "Invalid comparator for experiment_id: LIKE"},
			{object{"max_results": 1, "filter": "experiment_id = 'x'"}, "Invalid experiment ID 'x'."},
			{object{"max_results": 1, "order_by": []string{"tags.a"}}, "Invalid order_by entity: tag"},
			{object{"max_results": 1, "order_by": []string{"name foo"}}, "Invalid ordering key in order_by clause 'name foo'."},
			{object{"max_results": 1, "order_by": []string{""}}, "Invalid order_by clause ''. Could not be parsed."},
			{object{"max_results": 1, "page_token": "!"}, "Invalid page token, could not base64-decode"},
			{object{"max_results": 1, "view_type": "SOME"}, `Invalid value "SOME" for parameter 'view_type' supplied:  Hint:`},
		} {
			k.invalid("experiments/search", row.body, row.message)
		}
	})
}

func TestRuns(t *testing.T) {
	eachTracker(t, func(t *testing.T, k *tracker) {
		created := k.post("runs/create", object{
			"experiment_id": "0", "user_id": "ann", "start_time": "1700000000000",
			"tags": []object{{"key": "mlflow.user", "value": "ann"}, {"key": "mlflow.parentRunId", "value": "p"}},
		})
		id := created.text("run.info.run_id")
		if len(id) != 32 || created.text("run.info.status") != "RUNNING" || created.text("run.info.artifact_uri") != "mlflow-artifacts:/0/"+id+"/artifacts" || created.at("run.outputs") != nil {
			t.Fatalf("created: %v", created)
		}
		k.invalid("runs/create", object{"experiment_id": "0", "run_name": "a", "tags": []object{{"key": "mlflow.runName", "value": "b"}}}, "Both 'run_name' argument and 'mlflow.runName' tag are specified")
		k.refused("POST", "runs/create", object{"experiment_id": "9"}, 404, "RESOURCE_DOES_NOT_EXIST", "No Experiment with id=9 exists")
		k.refused("GET", "runs/get?run_id=nope", nil, 404, "RESOURCE_DOES_NOT_EXIST", "Run with id=nope not found")
		k.refused("GET", "runs/get", nil, 400, "INVALID_PARAMETER_VALUE", "Missing value for required parameter 'run_id'. See")
		k.post("runs/log-parameter", object{"run_id": id, "run_uuid": id, "key": "depth", "value": "6"})
		k.post("runs/log-parameter", object{"run_id": id, "key": "depth", "value": "6"})
		k.invalid("runs/log-parameter", object{"run_id": id, "key": "depth", "value": "7"}, "Changing param values is not allowed. Param with key='depth' was already logged with value='6' for run ID='"+id+"'. Attempted logging new value '7'.")
		k.invalid("runs/log-parameter", object{"run_id": id, "key": "a|b", "value": "7"}, `Invalid value "a|b" for parameter 'key' supplied: Names may only contain alphanumerics`)
		k.invalid("runs/log-parameter", object{"run_id": id, "key": "../a", "value": "7"}, `Invalid value "../a" for parameter 'key' supplied: Names may be treated as files`)
		k.post("runs/log-parameter", object{"run_id": id, "key": "long", "value": strings.Repeat("é", 7000)})
		k.post("runs/log-metric", object{"run_uuid": id, "key": "auc", "value": 0.5, "timestamp": 10, "step": 0})
		k.post("runs/log-metric", object{"run_id": id, "key": "auc", "value": "0.75", "timestamp": "11", "step": "2"})
		k.post("runs/log-metric", object{"run_id": id, "key": "auc", "value": 0.6, "timestamp": 12, "step": 1})
		k.post("runs/log-metric", object{"run_id": id, "key": "nan", "value": "NaN", "timestamp": 1})
		k.post("runs/log-metric", object{"run_id": id, "key": "inf", "value": "Infinity", "timestamp": 1})
		k.invalid("runs/log-metric", object{"run_id": id, "key": "auc", "timestamp": 1}, "Missing value for required parameter 'value'.")
		k.invalid("runs/log-metric", object{"run_id": id, "key": "auc", "value": 1, "timestamp": -1}, "Invalid value -1 for parameter 'timestamp' supplied: metric 'auc' (value=1.0)")
		k.invalid("runs/log-metric", object{"run_id": id, "key": "auc", "value": "high", "timestamp": 1}, `Invalid value "high" for parameter 'value' supplied:  Hint: Value was of type 'str'.`)
		k.post("runs/set-tag", object{"run_id": id, "key": "team", "value": "risk"})
		k.post("runs/set-tag", object{"run_id": id, "key": "mlflow.runName", "value": "renamed"})
		k.post("runs/delete-tag", object{"run_id": id, "key": "team"})
		k.refused("POST", "runs/delete-tag", object{"run_id": id, "key": "team"}, 404, "RESOURCE_DOES_NOT_EXIST", "No tag with name: team in run with id "+id)
		got := k.get("runs/get", "run_id", id, "run_uuid", id)
		if got.text("run.info.run_name") != "renamed" || got.len("run.data.metrics") != 3 || got.len("run.data.params") != 2 || got.at("run.inputs") == nil || got.at("run.outputs") == nil {
			t.Errorf("got %v", got)
		}
		if got.text("run.data.metrics.0.key") != "auc" || got.text("run.data.metrics.0.value") != "0.75" || got.text("run.data.metrics.1.value") != "1.7976931348623157e+308" || got.text("run.data.metrics.2.value") != "NaN" {
			t.Errorf("metrics %v", got.at("run.data.metrics"))
		}
		if got := len([]rune(got.text("run.data.params.1.value"))); got != 6000 {
			t.Errorf("a long parameter has %d characters", got)
		}
		updated := k.post("runs/update", object{"run_id": id, "status": "FINISHED", "end_time": 1700000009999, "run_name": "done"})
		if updated.text("run_info.status") != "FINISHED" || updated.text("run_info.end_time") != "1.700000009999e+12" || updated.text("run_info.run_name") != "done" {
			t.Errorf("updated %v", updated)
		}
		k.post("runs/update", object{"run_id": id, "status": 4})
		k.invalid("runs/update", object{"run_id": id, "status": "GONE"}, `Invalid value "GONE" for parameter 'status' supplied:  Hint:`)
		k.post("runs/log-model", object{"run_id": id, "model_json": `{"artifact_path":"m","flavors":{},"utc_time_created":"x","run_id":"` + id + `"}`})
		k.invalid("runs/log-model", object{"run_id": id, "model_json": `{"flavors":{}}`}, "Model json is missing mandatory fields: {'artifact_path', 'run_id', 'utc_time_created'}")
		k.invalid("runs/log-model", object{"run_id": id, "model_json": `{`}, "Malformed model info.")
		k.post("runs/delete", object{"run_id": id})
		k.invalid("runs/set-tag", object{"run_id": id, "key": "a", "value": "b"}, "The run "+id+" must be in the 'active' state. Current state is deleted.")
		k.invalid("runs/log-batch", object{"run_id": id, "tags": []object{{"key": "a", "value": "b"}}}, "The run "+id+" must be in the 'active' state.")
		k.post("runs/restore", object{"run_id": id})
		k.post("runs/set-tag", object{"run_id": id, "key": "a", "value": "b"})
	})
}

func TestLogBatch(t *testing.T) {
	eachTracker(t, func(t *testing.T, k *tracker) {
		id := k.run("0", "")
		var metrics []object
		for i := range 1000 {
			metrics = append(metrics, object{"key": fmt.Sprintf("m%d", i%7), "value": float64(i), "timestamp": 1000 + i/7, "step": i / 7})
		}
		k.post("runs/log-batch", object{"run_id": id, "metrics": metrics})
		k.post("runs/log-batch", object{"run_id": id, "metrics": metrics}) // the same again changes nothing
		k.post("runs/log-batch", object{"run_id": id, "params": []object{{"key": "a", "value": "1"}, {"key": "b"}}, "tags": []object{{"key": "t", "value": "1"}, {"key": "t", "value": "2"}}})
		k.invalid("runs/log-batch", object{"run_id": id, "params": []object{{"key": "a", "value": "2"}, {"key": "c", "value": "3"}}},
			"Changing param values is not allowed. Params were already logged='[{'key': 'a', 'old_value': '1', 'new_value': '2'}]' for run ID='"+id+"'.")
		got := k.get("runs/get", "run_id", id)
		if got.len("run.data.metrics") != 7 || got.len("run.data.params") != 2 || got.text("run.data.metrics.0.value") != "994" {
			t.Errorf("got %v", got.at("run.data"))
		}
		total, token := 0, ""
		last := -1.0
		for {
			args := []string{"run_id", id, "metric_key", "m3", "max_results", "40"}
			if token != "" {
				args = append(args, "page_token", token)
			}
			page := k.get("metrics/get-history", args...)
			list, _ := page.at("metrics").([]any)
			for _, m := range list {
				v := m.(map[string]any)["value"].(float64)
				if v <= last {
					t.Fatalf("%v after %v", v, last)
				}
				last = v
			}
			total += len(list)
			if token = page.text("next_page_token"); token == "" {
				break
			}
		}
		if total != 143 {
			t.Errorf("history of %d values, want 143", total)
		}
		if got := k.get("metrics/get-history", "run_id", id, "metric_key", "m3").len("metrics"); got != 143 {
			t.Errorf("the whole history has %d values", got)
		}
		if got := k.get("metrics/get-history", "run_id", id, "metric_key", "nope"); len(got) != 0 {
			t.Errorf("history of nothing: %v", got)
		}
		if got := k.get("metrics/get-history-bulk", "run_id", id, "metric_key", "m0", "max_results", "10"); got.len("metrics") != 10 || got.text("metrics.0.run_id") != id {
			t.Errorf("bulk: %v", got)
		}
		if got := k.get("metrics/get-history-bulk-interval", "run_ids", id, "metric_key", "m0", "max_results", "10", "start_step", "10", "end_step", "100"); got.len("metrics") < 10 || got.len("metrics") > 12 {
			t.Errorf("interval: %v", got)
		}
		k.refused("GET", "metrics/get-history?run_id="+id+"&metric_key=m0&max_results=0", nil, 400, "INVALID_PARAMETER_VALUE", "Invalid value 0 for parameter 'max_results' supplied.")
		k.refused("GET", "metrics/get-history?run_id="+id+"&metric_key=m0&max_results=1&page_token=abc", nil, 400, "INVALID_PARAMETER_VALUE", "Invalid page token")
		k.invalid("runs/log-batch", object{"run_id": id, "metrics": append(metrics, metrics[0])}, "A batch logging request can contain at most 1000 metrics. Got 1001 metrics. Please split up metrics")
		k.invalid("runs/log-batch", object{"run_id": id, "metrics": []object{{"key": "a", "value": 1}}}, "Missing value for required parameter 'metrics[0].timestamp'.")
		k.invalid("runs/log-batch", object{"run_id": id, "metrics": []object{{"key": "a//b", "value": 1, "timestamp": 1}}}, `Invalid value "a//b" for parameter 'metrics[0].name' supplied: Names may be treated`)
		k.invalid("runs/log-batch", object{"run_id": id, "params": []object{{"key": "x", "value": "1"}, {"key": "x", "value": "1"}}}, "Duplicate parameter keys have been submitted: ['x'].")
		k.invalid("runs/log-batch", object{"run_id": "../x"}, `Invalid value "../x" for parameter 'run_id' supplied.`)
		k.refused("POST", "runs/log-batch", object{"run_id": "nope"}, 404, "RESOURCE_DOES_NOT_EXIST", "Run with id=nope not found")
	})
}

func TestSearchRuns(t *testing.T) {
	eachTracker(t, func(t *testing.T, k *tracker) {
		k.post("experiments/create", object{"name": "other"})
		for i := range 6 {
			id := k.post("runs/create", object{"experiment_id": fmt.Sprint(i / 4), "run_name": fmt.Sprintf("r%d", i), "start_time": 100 + i, "user_id": "ann"}).text("run.info.run_id")
			b := object{"run_id": id, "params": []object{{"key": "depth", "value": fmt.Sprint(i % 3)}}, "tags": []object{{"key": "a b", "value": fmt.Sprintf("T%d", i)}}}
			if i != 2 {
				b["metrics"] = []object{{"key": "auc", "value": float64(i%4) / 10, "timestamp": 1}}
			}
			if i == 3 {
				b["metrics"] = []object{{"key": "auc", "value": "NaN", "timestamp": 1}}
			}
			k.post("runs/log-batch", b)
			if i%2 == 0 {
				k.post("runs/update", object{"run_id": id, "status": "FINISHED", "end_time": 1000 + i})
				k.post("runs/log-inputs", object{"run_id": id, "datasets": []object{{
					"tags":    []object{{"key": "mlflow.data.context", "value": "train"}},
					"dataset": object{"name": fmt.Sprintf("d%d", i), "digest": "abc", "source_type": "local", "source": "{}", "schema": "{}"},
				}}})
			}
			if i == 5 {
				k.post("runs/delete", object{"run_id": id})
			}
		}
		names := func(body object) string {
			var out []string
			token := ""
			for {
				if token != "" {
					body["page_token"] = token
				}
				o := k.post("runs/search", body)
				list, _ := o.at("runs").([]any)
				for _, r := range list {
					out = append(out, object(r.(map[string]any)).text("info.run_name"))
				}
				if token = o.text("next_page_token"); token == "" {
					return strings.Join(out, " ")
				}
			}
		}
		first := k.post("runs/search", object{"experiment_ids": []string{"0"}, "max_results": 1, "filter": "run_name = 'r0'"})
		firstID := first.text("runs.0.info.run_id")
		if first.text("runs.0.inputs.dataset_inputs.0.dataset.name") != "d0" || first.text("runs.0.data.params.0.value") != "0" {
			t.Errorf("first: %v", first)
		}
		for _, row := range []struct {
			filter, want string
			order        []string
		}{
			{"", "r4 r3 r2 r1 r0", nil},
			{"", "r0 r1 r2 r3 r4", []string{"start_time ASC"}},
			{"", "r0 r1 r2 r3 r4", []string{"attributes.created"}},
			{"", "r1 r4 r0 r3 r2", []string{"metrics.auc DESC"}},
			{"", "r4 r0 r1 r3 r2", []string{"metric.`auc`"}},
			{"", "r3 r0 r4 r1 r2", []string{"params.depth", "start_time ASC"}[:1]},
			{"", "r2 r1 r4 r0 r3", []string{"params.depth DESC", "start_time"}},
			{"", "r4 r3 r2 r1 r0", []string{`tags."a b" DESC`}},
			{"", "r0 r2 r4 r3 r1", []string{"end_time"}},
			{"metrics.auc >= 0.1", "r1", nil},
			{"metrics.auc != 0.1", "r4 r3 r0", nil},
			{"metrics.`auc` = 0 and params.depth = '0'", "r0", nil},
			{"params.depth != '0'", "r4 r2 r1", nil},
			{"params.nope IS NULL", "r4 r3 r2 r1 r0", nil},
			{"tags.`a b` LIKE 'T%' AND tags.\"a b\" ILIKE 't3'", "r3", nil},
			{"tag.`a b` LIKE 't3'", "", nil},
			{"attributes.status = 'FINISHED'", "r4 r2 r0", nil},
			{"status != \"FINISHED\"", "r3 r1", nil},
			{"start_time > 102 AND end_time <= 1004", "r4", nil},
			{"attr.run_id IN ('" + firstID + "', 'x')", "r0", nil},
			{"run_id NOT IN ('" + firstID + "')", "r4 r3 r2 r1", nil},
			{"run_id = '" + firstID + "'", "r0", nil},
			{"run.`Run Name` LIKE 'r_'", "r4 r3 r2 r1 r0", nil},
			{"user_id ILIKE 'ANN'", "r4 r3 r2 r1 r0", nil},
			{"dataset.name = 'd2'", "r2", nil},
			{"datasets.context = 'train' AND dataset.digest = 'abc'", "r4 r2 r0", nil},
			{"dataset.name IN ('d0', 'd4')", "r4 r0", nil},
			{"AND metrics.auc >= 0.1 AND", "r1", nil},
			{"metrics.auc > -1e-3 AND metrics.auc < 1", "r4 r1 r0", nil},
		} {
			for _, results := range []int{1, 2, 1000} {
				body := object{"experiment_ids": []string{"0", "1"}, "filter": row.filter, "max_results": results}
				if row.order != nil {
					body["order_by"] = row.order
				}
				if got := names(body); got != row.want {
					t.Errorf("%q order %q by %d: got %q, want %q", row.filter, row.order, results, got, row.want)
				}
			}
		}
		for _, row := range []struct {
			body object
			want string
		}{
			{object{"run_view_type": "DELETED_ONLY"}, "r5"},
			{object{"run_view_type": "ALL"}, "r5 r4 r3 r2 r1 r0"},
			{object{"experiment_ids": []string{"1"}}, "r4"},
			{object{"experiment_ids": []string{}}, ""},
		} {
			if row.body["experiment_ids"] == nil {
				row.body["experiment_ids"] = []string{"0", "1"}
			}
			if got := names(row.body); got != row.want {
				t.Errorf("%v: got %q, want %q", row.body, got, row.want)
			}
		}
		for _, row := range []struct {
			body    object
			message string
		}{
			{object{"filter": "metrics.auc = 'x'"}, "Expected numeric value type for metric. Found 'x'"},
			{object{"filter": "metrics.auc LIKE 1"}, "Invalid comparator 'LIKE' not one of"},
			{object{"filter": "params.a = 5"}, "Expected a quoted string value for parameter (e.g. 'my-value'). Got value 5"},
			{object{"filter": "params.a > '5'"}, "Invalid comparator '>' not one of"},
			{object{"filter": "tags.a = b"}, "Parameter value is either not quoted or unidentified quote types used for string value b."},
			{object{"filter": "start_time = '5'"}, "Expected numeric value type for numeric attribute: start_time. Found '5'"},
			{object{"filter": "foo.a = 'x'"}, "Invalid entity type 'foo'. Valid values are ['metric', 'parameter', 'tag', 'attribute', 'dataset']"},
			{object{"filter": "attribute.foo = 'x'"}, "Invalid attribute key 'foo' specified. Valid keys are '{"},
			{object{"filter": "dataset.foo = 'x'"}, "Invalid dataset key 'foo' specified."},
			{object{"filter": "status IN ('a')"}, "Only ['run_id'] attributes support comparison with a list of quoted string values."},
			{object{"filter": "run_id IN ()"}, "While parsing a list in the query, expected a non-empty list"},
			{object{"filter": "metrics.auc > 1 OR metrics.auc < 2"}, "Invalid clause(s) in filter string: 'OR"},
			{object{"filter": "(metrics.auc > 1)"}, "Invalid clause(s) in filter string: '("},
			{object{"filter": "metrics.auc >"}, "Invalid clause(s) in filter string:"},
			{object{"filter": "tags.a = 'x"}, "Invalid clause(s) in filter string:"},
			{object{"filter": "  "}, "Invalid filter '  '. Could not be parsed."},
			{object{"filter": "NOT tags.x IN ('1')"}, "Invalid clause(s) in filter string: 'NOT'"},
			{object{"filter": "status IS NULL"}, "IS NULL / IS NOT NULL is only supported for tags and params"},
			{object{"order_by": []string{"foo"}}, "Invalid attribute key 'foo' specified. Valid keys are '{"},
			{object{"order_by": []string{"start_time", "created DESC"}}, "`order_by` contains duplicate fields: ['start_time', 'created DESC']"},
			{object{"order_by": []string{"dataset.name"}}, "Invalid identifier type 'dataset'"},
			{object{"max_results": 50001}, "Invalid value 50001 for parameter 'max_results' supplied:  Hint:"},
			{object{"max_results": 0}, "Invalid value 0 for parameter 'max_results' supplied. It must be a positive integer"},
			{object{"page_token": "e30"}, "Invalid page token"},
			{object{"experiment_ids": []string{"x"}}, "Invalid experiment ID 'x'."},
		} {
			if row.body["experiment_ids"] == nil {
				row.body["experiment_ids"] = []string{"0"}
			}
			k.invalid("runs/search", row.body, row.message)
		}
	})
}

func TestLoggedModels(t *testing.T) {
	eachTracker(t, func(t *testing.T, k *tracker) {
		run := k.run("0", "r")
		created := k.post("logged-models", object{"experiment_id": "0", "name": "m", "model_type": "agent", "source_run_id": run, "params": []object{{"key": "C", "value": "1"}}, "tags": []object{{"key": "t", "value": "v"}}})
		id := created.text("model.info.model_id")
		if !strings.HasPrefix(id, "m-") || len(id) != 34 || created.text("model.info.status") != "LOGGED_MODEL_PENDING" || created.text("model.info.artifact_uri") != "mlflow-artifacts:/0/models/"+id+"/artifacts" {
			t.Fatalf("created %v", created)
		}
		k.invalid("logged-models", object{"experiment_id": "0", "name": "a/b"}, "Invalid model name ('a/b') provided.")
		k.invalid("logged-models", object{"name": "a"}, "Missing value for required parameter 'experiment_id'.")
		k.refused("POST", "logged-models", object{"experiment_id": "9"}, 404, "RESOURCE_DOES_NOT_EXIST", "No Experiment with id=9 exists")
		k.post("runs/outputs", object{"run_id": run, "models": []object{{"model_id": id, "step": 3}}})
		k.post("runs/log-inputs", object{"run_id": run, "models": []object{{"model_id": id}}})
		k.post("runs/log-batch", object{"run_id": run, "metrics": []object{
			{"key": "auc", "value": 0.9, "timestamp": 5, "step": 1, "model_id": id, "dataset_name": "d", "dataset_digest": "x"},
			{"key": "auc", "value": 0.8, "timestamp": 4, "step": 0, "model_id": id},
		}})
		if got := k.get("runs/get", "run_id", run); got.text("run.outputs.model_outputs.0.step") != "3" || got.text("run.inputs.model_inputs.0.model_id") != id || got.text("run.data.metrics.0.value") != "0.9" {
			t.Errorf("run %v", got)
		}
		if got := k.call("PATCH", "logged-models/"+id, object{"model_id": id, "status": "LOGGED_MODEL_READY"}); got.text("model.info.status") != "LOGGED_MODEL_READY" || got.len("model.data.metrics") != 2 || got.text("model.data.metrics.1.run_id") != run || got.text("model.data.metrics.1.dataset_name") != "d" {
			t.Errorf("finished %v", got)
		}
		k.call("PATCH", "logged-models/"+id+"/tags", object{"tags": []object{{"key": "x/y", "value": "z"}}})
		k.call("DELETE", "logged-models/"+id+"/tags/x/y", object{})
		k.refused("DELETE", "logged-models/"+id+"/tags/x", nil, 404, "RESOURCE_DOES_NOT_EXIST", "No tag with key 'x' found for model with ID '"+id+"'.")
		k.post("logged-models/"+id+"/params", object{"params": []object{{"key": "D", "value": "2"}}})
		other := k.post("logged-models", object{"experiment_id": "0"})
		if other.text("model.info.name") == "" {
			t.Errorf("no name: %v", other)
		}
		search := func(body object) string {
			body["experiment_ids"] = []string{"0"}
			o := k.post("logged-models/search", body)
			list, _ := o.at("models").([]any)
			var out []string
			for _, m := range list {
				if object(m.(map[string]any)).text("info.model_id") == id {
					out = append(out, "m")
				} else {
					out = append(out, "other")
				}
			}
			return strings.Join(out, " ")
		}
		for _, row := range []struct {
			body object
			want string
		}{
			{object{"filter": "name = 'm'"}, "m"},
			{object{"filter": "attributes.source_run_id = '" + run + "' AND params.C = '1'"}, "m"},
			{object{"filter": "params.C = 1"}, "m"},
			{object{"filter": "metrics.auc > 0.85"}, "m"},
			{object{"filter": "metrics.auc > 0.85", "datasets": []object{{"dataset_name": "d"}}}, "m"},
			{object{"filter": "metrics.auc < 0.85", "datasets": []object{{"dataset_name": "d"}}}, ""},
			{object{"datasets": []object{{"dataset_name": "d", "dataset_digest": "x"}}}, "m"},
			{object{"filter": "tags.t LIKE 'v%' AND model_type IN ('agent', 'x')"}, "m"},
			{object{"filter": "status = 'READY'"}, "m"},
			{object{"filter": "creation_timestamp > 0", "order_by": []object{{"field_name": "metrics.auc", "ascending": false}}}, "m other"},
			{object{"order_by": []object{{"field_name": "creation_time", "ascending": true}}}, "m other"},
			{object{"order_by": []object{{"field_name": "name"}}, "filter": "model_id = '" + id + "'"}, "m"},
		} {
			if got := search(row.body); got != row.want {
				t.Errorf("%v: got %q, want %q", row.body, got, row.want)
			}
		}
		page := k.post("logged-models/search", object{"experiment_ids": []string{"0"}, "max_results": 1})
		rest := k.post("logged-models/search", object{"experiment_ids": []string{"0"}, "max_results": 1, "page_token": page.text("next_page_token")})
		if page.len("models") != 1 || rest.len("models") != 1 || rest.text("next_page_token") != "" || page.text("models.0.info.model_id") == rest.text("models.0.info.model_id") {
			t.Errorf("pages %v %v", page, rest)
		}
		k.invalid("logged-models/search", object{}, "Missing value for required parameter 'experiment_ids'.")
		k.invalid("logged-models/search", object{"experiment_ids": []string{"0"}, "filter": "a OR b"}, "Invalid filter string: 'a OR b'.")
		k.invalid("logged-models/search", object{"experiment_ids": []string{"0"}, "order_by": []object{{"field_name": "x"}}}, "Invalid order by field name: x")
		k.invalid("logged-models/search", object{"experiment_ids": []string{"0"}, "datasets": []object{{}}}, "`dataset_name` in the `datasets` clause must be specified.")
		k.call("DELETE", "logged-models/"+id, object{"model_id": id})
		k.refused("GET", "logged-models/"+id, nil, 404, "RESOURCE_DOES_NOT_EXIST", "Logged model with ID '"+id+"' not found.")
		k.get("logged-models/"+id, "allow_deleted", "true")
	})
}

func TestProjectsAreApart(t *testing.T) {
	k := newTracker(t, filepath.Join(t.TempDir(), "pedigree.db"))
	if _, err := k.registrar.CreateProject(t.Context(), me, "risk", ""); err != nil {
		t.Fatal(err)
	}
	run := k.run("0", "r")
	status, text, _ := k.do("GET", "/p/risk/api/2.0/mlflow/runs/get?run_id="+run, nil)
	if status != http.StatusNotFound {
		t.Errorf("got %d %s", status, text)
	}
	if status, text, _ := k.do("PUT", "/p/risk/api/2.0/mlflow-artifacts/artifacts/0/x.txt", "risk"); status != 200 {
		t.Fatalf("got %d %s", status, text)
	}
	if status, _, _ := k.do("GET", "/api/2.0/mlflow-artifacts/artifacts/0/x.txt", nil); status != http.StatusNotFound {
		t.Errorf("got %d", status)
	}
	if status, text, _ := k.do("GET", "/p/nope/api/2.0/mlflow/experiments/get?experiment_id=0", nil); status != http.StatusNotFound {
		t.Errorf("got %d %s", status, text)
	}
}

// TestMetricKeys: what is refused of the keys of metrics is refused among many, too, and
// named.
func TestMetricKeys(t *testing.T) {
	k := newTracker(t, filepath.Join(t.TempDir(), "pedigree.db"))
	run := k.run("0", "")
	good := object{"key": "a-1_B", "value": 1, "timestamp": 1}
	for key, want := range map[string]string{"a b/c.d:é": "", "-": "", "a//b": "metrics[1].name", "..": "metrics[1].name", "a\"": "metrics[1].name", "": "metrics[1].key"} {
		body := object{"run_id": run, "metrics": []object{good, {"key": key, "value": 1, "timestamp": 1}}}
		if want == "" {
			k.post("runs/log-batch", body)
		} else {
			status, text, _ := k.do("POST", "/api/2.0/mlflow/runs/log-batch", body)
			if status != 400 || !strings.Contains(text, "'"+want+"'") {
				t.Errorf("%q: %d %s, want an error about %s", key, status, text, want)
			}
		}
	}
}
