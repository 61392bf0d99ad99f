package mlflow_test

import (
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/internal/mlflow"
	"github.com/pedigree-ml/pedigree/internal/registrar"
)

// access says what an endpoint takes, and a request that gets far enough to be refused.
type access struct {
	permission pedigree.Permission
	query      string
	body       string
	// filtered: the answer leaves out what the caller may not see. registry: it is about
	// the registry as a whole.
	filtered, registry bool
}

// endpoints has a row for every endpoint that is offered; the permission "" is for those
// that are answered whoever asks.
var endpoints = map[string]access{
	"POST /api/2.0/mlflow/registered-models/create":              {pedigree.VersionsWrite, "", `{"name":"fraud"}`, false, false},
	"GET /api/2.0/mlflow/registered-models/get":                  {pedigree.RecordsRead, "name=absent", "", false, false},
	"POST /api/2.0/mlflow/registered-models/rename":              {pedigree.VersionsWrite, "", `{"name":"absent","new_name":"x"}`, false, false},
	"PATCH /api/2.0/mlflow/registered-models/update":             {pedigree.VersionsWrite, "", `{"name":"absent","description":"x"}`, false, false},
	"DELETE /api/2.0/mlflow/registered-models/delete":            {pedigree.VersionsWrite, "", `{"name":"absent"}`, false, false},
	"GET /api/2.0/mlflow/registered-models/search":               {pedigree.RecordsRead, "", "", false, false},
	"POST /api/2.0/mlflow/registered-models/get-latest-versions": {pedigree.RecordsRead, "", `{"name":"absent"}`, false, false},
	"GET /api/2.0/mlflow/registered-models/get-latest-versions":  {pedigree.RecordsRead, "name=absent", "", false, false},
	"POST /api/2.0/mlflow/registered-models/set-tag":             {pedigree.VersionsWrite, "", `{"name":"absent","key":"a","value":"b"}`, false, false},
	"DELETE /api/2.0/mlflow/registered-models/delete-tag":        {pedigree.VersionsWrite, "", `{"name":"absent","key":"a"}`, false, false},
	"POST /api/2.0/mlflow/registered-models/alias":               {pedigree.AliasesWrite, "", `{"name":"fraud","alias":"a","version":"1"}`, false, false},
	"DELETE /api/2.0/mlflow/registered-models/alias":             {pedigree.AliasesWrite, "", `{"name":"absent","alias":"a"}`, false, false},
	"GET /api/2.0/mlflow/registered-models/alias":                {pedigree.RecordsRead, "name=absent&alias=a", "", false, false},

	"POST /api/2.0/mlflow/model-versions/create":           {pedigree.VersionsWrite, "", `{"name":"absent","source":"s3://b/k"}`, false, false},
	"GET /api/2.0/mlflow/model-versions/get":               {pedigree.RecordsRead, "name=absent&version=1", "", false, false},
	"PATCH /api/2.0/mlflow/model-versions/update":          {pedigree.VersionsWrite, "", `{"name":"absent","version":"1","description":"x"}`, false, false},
	"POST /api/2.0/mlflow/model-versions/transition-stage": {pedigree.AliasesWrite, "", `{"name":"absent","version":"1","stage":"Staging","archive_existing_versions":false}`, false, false},
	"DELETE /api/2.0/mlflow/model-versions/delete":         {pedigree.VersionsWrite, "", `{"name":"absent","version":"1"}`, false, false},
	"GET /api/2.0/mlflow/model-versions/search":            {pedigree.RecordsRead, "", "", false, false},
	"GET /api/2.0/mlflow/model-versions/get-download-uri":  {pedigree.RecordsRead, "name=absent&version=1", "", false, false},
	"POST /api/2.0/mlflow/model-versions/set-tag":          {pedigree.VersionsWrite, "", `{"name":"absent","version":"1","key":"a","value":"b"}`, false, false},
	"DELETE /api/2.0/mlflow/model-versions/delete-tag":     {pedigree.VersionsWrite, "", `{"name":"absent","version":"1","key":"a"}`, false, false},

	"POST /api/2.0/mlflow/experiments/create":                {pedigree.RunsWrite, "", `{"name":"Default"}`, false, false},
	"GET /api/2.0/mlflow/experiments/get":                    {pedigree.RunsRead, "experiment_id=77", "", false, false},
	"GET /api/2.0/mlflow/experiments/get-by-name":            {pedigree.RunsRead, "experiment_name=absent", "", false, false},
	"POST /api/2.0/mlflow/experiments/search":                {pedigree.RunsRead, "", `{"max_results":5}`, false, false},
	"GET /api/2.0/mlflow/experiments/search":                 {pedigree.RunsRead, "max_results=5", "", false, false},
	"POST /api/2.0/mlflow/experiments/search-datasets":       {pedigree.RunsRead, "", `{"experiment_ids":["0"]}`, false, false},
	"POST /api/2.0/mlflow/experiments/update":                {pedigree.RunsWrite, "", `{"experiment_id":"77","new_name":"x"}`, false, false},
	"POST /api/2.0/mlflow/experiments/delete":                {pedigree.RunsWrite, "", `{"experiment_id":"77"}`, false, false},
	"POST /api/2.0/mlflow/experiments/restore":               {pedigree.RunsWrite, "", `{"experiment_id":"77"}`, false, false},
	"POST /api/2.0/mlflow/experiments/set-experiment-tag":    {pedigree.RunsWrite, "", `{"experiment_id":"77","key":"a","value":"b"}`, false, false},
	"POST /api/2.0/mlflow/experiments/delete-experiment-tag": {pedigree.RunsWrite, "", `{"experiment_id":"77","key":"a"}`, false, false},

	"POST /api/2.0/mlflow/runs/create":                        {pedigree.RunsWrite, "", `{"experiment_id":"77"}`, false, false},
	"GET /api/2.0/mlflow/runs/get":                            {pedigree.RunsRead, "run_id=absent", "", false, false},
	"POST /api/2.0/mlflow/runs/update":                        {pedigree.RunsWrite, "", `{"run_id":"absent","status":"FINISHED"}`, false, false},
	"POST /api/2.0/mlflow/runs/delete":                        {pedigree.RunsWrite, "", `{"run_id":"absent"}`, false, false},
	"POST /api/2.0/mlflow/runs/restore":                       {pedigree.RunsWrite, "", `{"run_id":"absent"}`, false, false},
	"POST /api/2.0/mlflow/runs/search":                        {pedigree.RunsRead, "", `{"experiment_ids":["0"]}`, false, false},
	"POST /api/2.0/mlflow/runs/log-parameter":                 {pedigree.RunsWrite, "", `{"run_id":"absent","key":"a","value":"b"}`, false, false},
	"POST /api/2.0/mlflow/runs/log-batch":                     {pedigree.RunsWrite, "", `{"run_id":"absent","metrics":[{"key":"a","value":1,"timestamp":1,"step":0}]}`, false, false},
	"POST /api/2.0/mlflow/runs/set-tag":                       {pedigree.RunsWrite, "", `{"run_id":"absent","key":"a","value":"b"}`, false, false},
	"POST /api/2.0/mlflow/runs/delete-tag":                    {pedigree.RunsWrite, "", `{"run_id":"absent","key":"a"}`, false, false},
	"POST /api/2.0/mlflow/runs/log-model":                     {pedigree.RunsWrite, "", `{"run_id":"absent","model_json":"{\"run_id\":\"absent\",\"artifact_path\":\"m\",\"utc_time_created\":\"2026-01-01 00:00:00\",\"flavors\":{}}"}`, false, false},
	"POST /api/2.0/mlflow/runs/log-metric":                    {pedigree.RunsWrite, "", `{"run_id":"absent","key":"a","value":1,"timestamp":1}`, false, false},
	"GET /api/2.0/mlflow/metrics/get-history":                 {pedigree.RunsRead, "run_id=absent&metric_key=a", "", false, false},
	"GET /api/2.0/mlflow/metrics/get-history-bulk":            {pedigree.RunsRead, "run_id=absent&metric_key=a", "", false, false},
	"GET /api/2.0/mlflow/metrics/get-history-bulk-interval":   {pedigree.RunsRead, "run_ids=absent&metric_key=a&max_results=5", "", false, false},
	"POST /api/2.0/mlflow/runs/log-inputs":                    {pedigree.RunsWrite, "", `{"run_id":"absent","datasets":[{"dataset":{"name":"d","digest":"x","source_type":"local","source":"s"}}]}`, false, false},
	"POST /api/2.0/mlflow/runs/outputs":                       {pedigree.RunsWrite, "", `{"run_id":"absent","models":[{"model_id":"m-1","step":0}]}`, false, false},
	"POST /api/2.0/mlflow/logged-models":                      {pedigree.RunsWrite, "", `{"experiment_id":"77","name":"x"}`, false, false},
	"POST /api/2.0/mlflow/logged-models/search":               {pedigree.RunsRead, "", `{"experiment_ids":["0"]}`, false, false},
	"GET /api/2.0/mlflow/logged-models/{model}":               {pedigree.RunsRead, "", "", false, false},
	"PATCH /api/2.0/mlflow/logged-models/{model}":             {pedigree.RunsWrite, "", `{"status":"LOGGED_MODEL_READY"}`, false, false},
	"DELETE /api/2.0/mlflow/logged-models/{model}":            {pedigree.RunsWrite, "", "", false, false},
	"POST /api/2.0/mlflow/logged-models/{model}/params":       {pedigree.RunsWrite, "", `{"params":[{"key":"a","value":"b"}]}`, false, false},
	"PATCH /api/2.0/mlflow/logged-models/{model}/tags":        {pedigree.RunsWrite, "", `{"tags":[{"key":"a","value":"b"}]}`, false, false},
	"DELETE /api/2.0/mlflow/logged-models/{model}/tags/{key}": {pedigree.RunsWrite, "", "", false, false},

	"GET /api/2.0/mlflow-artifacts/artifacts":                         {pedigree.RunsRead, "path=absent", "", false, false},
	"GET /api/2.0/mlflow-artifacts/artifacts/{path}":                  {pedigree.BytesRead, "", "", false, false},
	"PUT /api/2.0/mlflow-artifacts/artifacts/{path}":                  {pedigree.RunsWrite, "", "bytes", false, false},
	"DELETE /api/2.0/mlflow-artifacts/artifacts/{path}":               {pedigree.RunsWrite, "", "", false, false},
	"GET /api/2.0/mlflow/artifacts/list":                              {pedigree.RunsRead, "run_id=absent", "", false, false},
	"GET /api/2.0/mlflow/logged-models/{model}/artifacts/directories": {pedigree.RunsRead, "", "", false, false},
	"GET /api/2.0/mlflow/logged-models/{model}/artifacts/files":       {pedigree.RunsRead, "artifact_file_path=x", "", false, false},
	"POST /api/2.0/mlflow/upload-artifact":                            {pedigree.RunsWrite, "run_uuid=RUN&path=x", "bytes", false, false},
	"GET /get-artifact":                                               {pedigree.BytesRead, "run_id=RUN&path=y", "", false, false},
	"GET /model-versions/get-artifact":                                {pedigree.BytesRead, "name=absent&version=1&path=x", "", false, false},

	"POST /api/2.0/mlflow/webhooks":                {pedigree.WebhooksWrite, "", `{"name":"n","url":"https://10.0.0.1/","events":[{"entity":"PROMPT","action":"CREATED"}]}`, false, false},
	"GET /api/2.0/mlflow/webhooks":                 {pedigree.WebhooksWrite, "", "", false, false},
	"GET /api/2.0/mlflow/webhooks/{webhook}":       {pedigree.WebhooksWrite, "", "", false, false},
	"PATCH /api/2.0/mlflow/webhooks/{webhook}":     {pedigree.WebhooksWrite, "", `{"name":"x"}`, false, false},
	"DELETE /api/2.0/mlflow/webhooks/{webhook}":    {pedigree.WebhooksWrite, "", "", false, false},
	"POST /api/2.0/mlflow/webhooks/{webhook}/test": {pedigree.WebhooksWrite, "", "{}", false, false},

	"GET /version":                               {"", "", "", false, false},
	"GET /api/3.0/mlflow/server-info":            {"", "", "", false, false},
	"GET /api/3.0/mlflow/workspaces":             {pedigree.RecordsRead, "", "", true, true},
	"POST /api/3.0/mlflow/workspaces":            {pedigree.ProjectsWrite, "", `{"name":"other"}`, false, true},
	"GET /api/3.0/mlflow/workspaces/{workspace}": {pedigree.RecordsRead, "", "", false, false},
}

// TestRolesOnEndpoints calls every endpoint as every role, and compares what happens with
// the table above. An endpoint without a row fails.
func TestRolesOnEndpoints(t *testing.T) {
	k := newTracker(t, filepath.Join(t.TempDir(), "pedigree.db"))
	ctx := t.Context()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	token, err := k.registrar.EnableAccounts(ctx, pedigree.Operator, pedigree.NewAccount{Name: "root"})
	must(err)
	home, err := k.registrar.Project(ctx, pedigree.Operator, "default", pedigree.At{})
	must(err)
	_, err = k.registrar.CreateProject(ctx, pedigree.Operator, "other", "")
	must(err)
	_, err = k.registrar.Register(ctx, pedigree.Operator, "default", "fraud", pedigree.Registration{CreateModel: true})
	must(err)
	run, err := k.registrar.CreateRun(ctx, pedigree.Operator, "default", registrar.Run{})
	must(err)
	type caller struct {
		name, token string
		grants      []pedigree.Grant
	}
	callers := []caller{{"root", token.Text, []pedigree.Grant{{Role: pedigree.Admin}}}}
	add := func(name string, role pedigree.Role, project pedigree.ProjectName) {
		t.Helper()
		c := caller{name: name}
		_, err := k.registrar.CreateAccount(ctx, pedigree.Operator, pedigree.NewAccount{Name: pedigree.ActorName(name)})
		must(err)
		if role != "" {
			_, err := k.registrar.AddBinding(ctx, pedigree.Operator, project, pedigree.NewBinding{Role: role, Member: name})
			must(err)
			if project == "default" {
				c.grants = []pedigree.Grant{{Role: role, Project: home.ID}}
			}
		}
		tok, err := k.registrar.CreateToken(ctx, pedigree.Operator, pedigree.NewToken{Account: name})
		must(err)
		c.token = tok.Text
		callers = append(callers, c)
	}
	add("nothing", "", "")
	add("there", pedigree.Admin, "other")
	for _, role := range pedigree.Roles {
		add(string(role), role, "default")
	}
	seen := map[string]bool{}
	for _, route := range mlflow.New(k.registrar, mlflow.Config{}).Routes() {
		if route.Support == mlflow.None {
			continue
		}
		name := route.Method + " " + strings.ReplaceAll(route.Pattern, "...}", "}")
		e, ok := endpoints[name]
		if seen[name] = true; !ok {
			t.Errorf("%s has no row in the table", name)
			continue
		}
		path := strings.NewReplacer("{model}", "m-absent", "{key...}", "a", "{path...}", "absent/x", "{workspace}", "default", "{webhook}", "whk_absent").Replace(route.Pattern)
		if e.query != "" {
			path += "?" + strings.ReplaceAll(e.query, "RUN", run.ID)
		}
		call := func(token string) (int, string) {
			req, err := http.NewRequestWithContext(ctx, route.Method, k.url+path, strings.NewReader(e.body))
			must(err)
			if e.body != "" && e.body != "bytes" {
				req.Header.Set("Content-Type", "application/json")
			}
			if token != "" {
				req.SetBasicAuth("me", token)
			}
			resp, err := http.DefaultClient.Do(req)
			must(err)
			defer func() { _ = resp.Body.Close() }()
			var b strings.Builder
			_, err = io.Copy(&b, resp.Body)
			must(err)
			return resp.StatusCode, b.String()
		}
		if status, body := call(""); (status == http.StatusUnauthorized) != (e.permission != "") {
			t.Errorf("%s without a token: status %d: %s", name, status, body)
		}
		if e.permission == "" {
			continue
		}
		project := home.ID
		if e.registry {
			project = ""
		}
		for _, c := range callers {
			status, body := call(c.token)
			may := pedigree.Permits(c.grants, e.permission, project)
			sees := e.registry || pedigree.Permits(c.grants, pedigree.RecordsRead, project)
			refused := status == http.StatusUnauthorized || status == http.StatusForbidden
			hidden := status == http.StatusNotFound
			switch {
			case status >= 500:
				t.Errorf("%s as %s: status %d: %s", name, c.name, status, body)
			case e.filtered:
				if refused {
					t.Errorf("%s as %s is refused: %s", name, c.name, body)
				}
			case may && (refused || hidden && strings.Contains(body, "there is no project default")):
				t.Errorf("%s as %s, who has %s: status %d: %s", name, c.name, e.permission, status, body)
			case !may && sees && status != http.StatusForbidden:
				t.Errorf("%s as %s, who has no %s: status %d: %s", name, c.name, e.permission, status, body)
			case !may && !sees && !hidden:
				t.Errorf("%s as %s, who may not see the project: status %d: %s", name, c.name, status, body)
			}
		}
	}
	for name := range endpoints {
		if !seen[name] {
			t.Errorf("%s is in the table and is not offered", name)
		}
	}
}
