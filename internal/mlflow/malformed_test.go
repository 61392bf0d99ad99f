package mlflow_test

import (
	"encoding/json"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pedigree-ml/pedigree/internal/mlflow"
	"github.com/pedigree-ml/pedigree/internal/pgtest"
)

// fieldNames are names of fields of MLflow's messages, each of which gets values of every
// wrong kind.
var fieldNames = []string{
	"experiment_id", "experiment_ids", "name", "new_name", "artifact_location", "tags", "run_id", "run_uuid", "key", "value", "timestamp", "step",
	"metrics", "params", "status", "end_time", "start_time", "filter", "order_by", "max_results", "page_token", "view_type", "run_view_type", "path",
	"datasets", "models", "model_id", "model_json", "metric_key", "run_ids", "source_run_id", "experiment_name", "start_step", "end_step",
	"artifact_directory_path", "artifact_file_path", "version", "alias", "source", "description", "stage", "archive_existing_versions",
}

var wrongValues = []string{
	`null`, `true`, `-1`, `0`, `1e400`, `1.5`, `9223372036854775808`, `""`, `"x"`, `"0"`, `"\u0001"`, `"\ud83d\ude00"`, `"e30"`, `"eyJxIjoiIiwiayI6W251bGxdfQ"`, `"'"`, `"a = 'b"`,
	`"metrics.a > 1e308 AND start_time > 1e300 AND creation_time < -1e300"`, `"version_number > 1e300"`, `[]`, `{}`, `[[]]`, `[{}]`, `[null]`, `["x"]`, `[1]`, `[{"key":"a"}]`, `[{"key":"a","value":"1","timestamp":1}]`,
	`[{"key":"a","value":1,"timestamp":9223372036854775807,"step":-9223372036854775808}]`, `[{"field_name":"x"}]`, `[{"model_id":"m"}]`, `[{"dataset":{}}]`, `[{"dataset":{"name":"a","digest":"b","source_type":"","source":""}}]`,
}

// TestMalformed: whatever is sent to any endpoint, the answer is below 500, save for what
// is not offered, and an error has MLflow's shape.
func TestMalformed(t *testing.T) {
	for name, k := range map[string]*tracker{"sqlite": newTracker(t, filepath.Join(t.TempDir(), "p.db")), "postgres": newTracker(t, pgtest.Database(t))} {
		t.Run(name, func(t *testing.T) { malformed(t, k) })
	}
}

func malformed(t *testing.T, k *tracker) {
	run := k.run("0", "r")
	model := k.post("logged-models", object{"experiment_id": "0", "source_run_id": run}).text("model.info.model_id")
	check := func(method, path, body string) {
		t.Helper()
		var kind any = json.RawMessage(body)
		if !json.Valid([]byte(body)) {
			kind = body
		}
		if method == http.MethodGet {
			kind = nil
		}
		status, text, _ := k.do(method, path, kind)
		if status >= 500 && status != http.StatusNotImplemented {
			t.Errorf("%s %s %s: %d %s", method, path, body, status, text)
		}
		var e struct {
			Code string `json:"error_code"`
		}
		if status >= 400 && (json.Unmarshal([]byte(text), &e) != nil || e.Code == "") {
			t.Errorf("%s %s %s: %d %s", method, path, body, status, text)
		}
	}
	for n, route := range mlflow.New(k.registrar, mlflow.Config{}).Routes() {
		if route.Support == mlflow.None {
			continue
		}
		for _, id := range []string{model, "%01", "%F0%9F%98%80", "%FF", "%00"} {
			path := strings.NewReplacer("{path...}", id, "{model}", id, "{key...}", id).Replace(route.Pattern)
			for _, body := range []string{``, `{`, `[]`, `"x"`, `5`, `{}`, `{"run_id":"` + run + `"}`, "{\"name\":\"\xff\"}", `{"name":"\u0000"}`, `{"name":"\ud800"}`, strings.Repeat(`{"a":`, 20000)} {
				check(route.Method, path, body)
			}
			if id != model {
				continue
			}
			for i, field := range fieldNames {
				for j, value := range wrongValues {
					if (i+j+n)%3 != 0 { // each in some route, not each in all
						continue
					}
					if route.Method == http.MethodGet {
						check(route.Method, path+"?run_id="+run+"&experiment_id=0&metric_key=a&max_results=2&"+field+"="+urlEscape(strings.Trim(value, `"`)), "")
						continue
					}
					check(route.Method, path, `{"run_id":"`+run+`","experiment_id":"0","experiment_ids":["0"],"key":"k","max_results":2,"name":"n","`+field+`":`+value+`}`)
				}
			}
		}
	}
}

func urlEscape(s string) string {
	return strings.NewReplacer("%", "%25", " ", "%20", "&", "%26", "\\", "%5C", "#", "%23", "+", "%2B").Replace(s)
}
