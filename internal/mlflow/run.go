package mlflow

import (
	"encoding/json"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/pedigree-ml/pedigree/internal/registrar"
)

func (d *Dialect) runRoutes() []Route {
	return []Route{
		{Method: post, Pattern: api + "/runs/create", Support: Full, Limit: bodyOfBatch, handle: createRun},
		{Method: get, Pattern: api + "/runs/get", Support: Full, handle: getRun},
		{Method: post, Pattern: api + "/runs/update", Support: Full, handle: updateRun},
		{Method: post, Pattern: api + "/runs/delete", Support: Full, handle: deleteRun},
		{Method: post, Pattern: api + "/runs/restore", Support: Full, handle: restoreRun},
		{Method: post, Pattern: api + "/runs/search", Support: Full, handle: searchRuns},
		{Method: post, Pattern: api + "/runs/log-parameter", Support: Full, handle: logParam},
		{Method: post, Pattern: api + "/runs/log-batch", Support: Full, Limit: bodyOfBatch, handle: logBatch},
		{Method: post, Pattern: api + "/runs/set-tag", Support: Full, handle: setRunTag},
		{Method: post, Pattern: api + "/runs/delete-tag", Support: Full, handle: deleteRunTag},
		{Method: post, Pattern: api + "/runs/log-model", Support: Full, Limit: bodyOfBatch, handle: logModel},
	}
}

// runInfo, runData, runIn and runOut are a run on the wire. MLflow sends the id twice,
// as older clients read the other.
type runInfo struct {
	UUID       string `json:"run_uuid"`
	Experiment string `json:"experiment_id"`
	Name       string `json:"run_name"`
	User       string `json:"user_id"`
	Status     string `json:"status"`
	Start      int64  `json:"start_time"`
	End        *int64 `json:"end_time,omitempty"`
	Artifacts  string `json:"artifact_uri"`
	Stage      string `json:"lifecycle_stage"`
	ID         string `json:"run_id"`
}

type runData struct {
	Metrics []metricOut `json:"metrics,omitempty"`
	Params  []pairOut   `json:"params,omitempty"`
	Tags    []pairOut   `json:"tags,omitempty"`
}

type runInputs struct {
	Datasets []datasetInput `json:"dataset_inputs,omitempty"`
	Models   []modelInput   `json:"model_inputs,omitempty"`
}

type runOutputs struct {
	Models []modelOutput `json:"model_outputs,omitempty"`
}

type runOut struct {
	Info    runInfo     `json:"info"`
	Data    runData     `json:"data"`
	Inputs  runInputs   `json:"inputs"`
	Outputs *runOutputs `json:"outputs,omitempty"`
}

type runAnswer struct {
	Run runOut `json:"run"`
}

func outRunInfo(r registrar.Run) runInfo {
	return runInfo{
		UUID: r.ID, ID: r.ID, Experiment: strconv.FormatInt(r.Experiment, 10), Name: r.Name, User: r.User, Status: r.Status,
		Start: r.Start, End: r.End, Artifacts: r.ArtifactURI, Stage: r.Stage,
	}
}

func outRun(r registrar.Run) runOut {
	out := runOut{
		Info:    outRunInfo(r),
		Data:    runData{Params: pairsOut(r.Params), Tags: pairsOut(r.Tags)},
		Outputs: &runOutputs{},
	}
	for _, m := range r.Metrics {
		out.Data.Metrics = append(out.Data.Metrics, outMetric(m))
	}
	for _, d := range r.Datasets {
		out.Inputs.Datasets = append(out.Inputs.Datasets, outDataset(d))
	}
	for _, m := range r.Inputs {
		out.Inputs.Models = append(out.Inputs.Models, modelInput{m.Model})
	}
	for _, m := range r.Outputs {
		out.Outputs.Models = append(out.Outputs.Models, modelOutput{m.Model, m.Step})
	}
	return out
}

// runIDs is the id of a run by either of its names.
type runIDs struct {
	ID   string
	UUID string
}

func (r runIDs) get() (string, error) {
	if r.ID != "" {
		return r.ID, nil
	}
	if r.UUID == "" {
		return "", missing("run_id")
	}
	return r.UUID, nil
}

func createRun(c *call) error {
	var in struct {
		Experiment string `json:"experiment_id"`
		User       string `json:"user_id"`
		Name       string `json:"run_name"`
		Start      int64  `json:"start_time"`
		Tags       []pair `json:"tags"`
	}
	if err := c.read(&in); err != nil {
		return err
	}
	id, err := experimentID(in.Experiment)
	if err != nil {
		return err
	}
	run := registrar.Run{Experiment: id, Name: in.Name, User: in.User, Start: in.Start}
	if run.Tags, err = pairsIn("tags", in.Tags, plainTag); err != nil { // MLflow checks the tags that are set later, not these
		return err
	}
	for _, t := range run.Tags {
		if t.Key != registrar.RunNameTag || t.Value == "" {
			continue
		}
		if run.Name != "" && run.Name != t.Value {
			return invalid("Both 'run_name' argument and 'mlflow.runName' tag are specified, but with different values (run_name='%s', mlflow.runName='%s').", clip(run.Name), clip(t.Value))
		}
		run.Name = t.Value
	}
	run, err = c.d.registrar.CreateRun(c.ctx(), c.principal, c.project, run)
	out := outRun(run)
	out.Data.Tags = uniquePairs(out.Data.Tags)
	out.Outputs = nil // as MLflow's server answers here
	return c.answer(runAnswer{out}, err)
}

// uniquePairs keeps the last of each key, where the key first stood.
func uniquePairs(pairs []pairOut) []pairOut {
	var out []pairOut
	for _, p := range pairs {
		i := slices.IndexFunc(out, func(o pairOut) bool { return o.Key == p.Key })
		if i >= 0 {
			out[i] = p
			continue
		}
		out = append(out, p)
	}
	return out
}

func getRun(c *call) error {
	var in struct {
		ID   string `json:"run_id"`
		UUID string `json:"run_uuid"`
	}
	if err := c.read(&in); err != nil {
		return err
	}
	id, err := runIDs(in).get()
	if err != nil {
		return err
	}
	run, err := c.d.registrar.Run(c.ctx(), c.principal, c.project, id)
	return c.answer(runAnswer{outRun(run)}, err)
}

// runStatuses are the numbers of MLflow's enum.
var runStatuses = map[string]int64{"RUNNING": 1, "SCHEDULED": 2, "FINISHED": 3, "FAILED": 4, "KILLED": 5}

func updateRun(c *call) error {
	var in struct {
		ID     string  `json:"run_id"`
		UUID   string  `json:"run_uuid"`
		Status any     `json:"status"`
		End    *int64  `json:"end_time"`
		Name   *string `json:"run_name"`
	}
	if err := c.read(&in); err != nil {
		return err
	}
	id, err := runIDs{in.ID, in.UUID}.get()
	if err != nil {
		return err
	}
	n, err := enumOf("status", in.Status, runStatuses)
	if err != nil {
		return err
	}
	var status *string
	for name, number := range runStatuses {
		if number == n {
			status = &name
		}
	}
	if in.Name != nil && *in.Name == "" {
		in.Name = nil
	}
	run, err := c.d.registrar.UpdateRun(c.ctx(), c.principal, c.project, id, status, in.End, in.Name)
	return c.answer(struct {
		Info runInfo `json:"run_info"`
	}{outRunInfo(run)}, err)
}

func deleteRun(c *call) error { return setRunStage(c, registrar.StageDeleted) }

func restoreRun(c *call) error { return setRunStage(c, registrar.StageActive) }

func setRunStage(c *call, stage string) error {
	var in struct {
		ID string `json:"run_id" mlflow:"required"`
	}
	if err := c.read(&in); err != nil {
		return err
	}
	return c.answerNothing(c.d.registrar.SetRunStage(c.ctx(), c.principal, c.project, in.ID, stage))
}

// runNoun is what a search over runs may ask.
var runNoun = &noun{
	entities: map[string]registrar.ClauseKind{
		"metric": registrar.ClauseMetric, "metrics": registrar.ClauseMetric,
		"parameter": registrar.ClauseParam, "parameters": registrar.ClauseParam, "param": registrar.ClauseParam, "params": registrar.ClauseParam,
		"tag": registrar.ClauseTag, "tags": registrar.ClauseTag,
		"attribute": registrar.ClauseAttribute, "attributes": registrar.ClauseAttribute, "attr": registrar.ClauseAttribute, "run": registrar.ClauseAttribute,
		"dataset": registrar.ClauseDataset, "datasets": registrar.ClauseDataset,
	},
	names: "Valid values are ['metric', 'parameter', 'tag', 'attribute', 'dataset']",
	attributes: map[string]string{
		"artifact_uri": "artifact_uri", "end_time": "end_time", "run_id": "run_id", "run_name": "run_name", "start_time": "start_time",
		"status": "status", "user_id": "user_id", "created": "start_time", "Created": "start_time",
		"run name": "run_name", "Run name": "run_name", "Run Name": "run_name",
	},
	orders: map[string]string{
		"artifact_uri": "artifact_uri", "end_time": "end_time", "run_id": "run_id", "run_name": "run_name", "start_time": "start_time",
		"status": "status", "user_id": "user_id", "created": "start_time", "Created": "start_time",
	},
	numeric: []string{"start_time", "end_time"},
	lists:   []string{"run_id"},
	absent:  []registrar.ClauseKind{registrar.ClauseTag, registrar.ClauseParam},
	notAbsent: func(kind registrar.ClauseKind, key string) error {
		return invalid("IS NULL / IS NOT NULL is only supported for tags and params, not for '%s' '%s'", kind, clip(key))
	},
	comparator: runComparator,
	quote:      "'",
}

func searchRuns(c *call) error {
	var in struct {
		Experiments []string `json:"experiment_ids"`
		Filter      string   `json:"filter"`
		View        any      `json:"run_view_type"`
		Results     *int64   `json:"max_results"`
		Order       []string `json:"order_by"`
		Token       string   `json:"page_token"`
	}
	if err := c.read(&in); err != nil {
		return err
	}
	q := registrar.RunSearch{Limit: defaultResults}
	var err error
	if in.Results != nil {
		if *in.Results > maxSearchResults {
			return invalidValue("max_results", json.Number(strconv.FormatInt(*in.Results, 10)))
		}
		if q.Limit, err = checkResults(*in.Results); err != nil {
			return err
		}
	}
	if q.View, err = viewOf("run_view_type", in.View); err != nil {
		return err
	}
	if q.Experiments, err = experimentIDs(in.Experiments); err != nil {
		return err
	}
	if q.Clauses, err = runNoun.clauses(in.Filter); err != nil {
		return err
	}
	if q.Order, err = runNoun.sortKeys(in.Order); err != nil {
		return err
	}
	runs, next, err := c.d.registrar.SearchRuns(c.ctx(), c.principal, c.project, q, in.Token)
	out := struct {
		Runs []runOut `json:"runs,omitempty"`
		Next string   `json:"next_page_token,omitempty"`
	}{Next: next}
	for _, r := range runs {
		out.Runs = append(out.Runs, outRun(r))
	}
	return c.answer(out, err)
}

func logParam(c *call) error {
	id, kv, err := runKeyValue(c, checkParam)
	if err != nil {
		return err
	}
	return c.answerNothing(c.d.registrar.LogParam(c.ctx(), c.principal, c.project, id, kv))
}

func setRunTag(c *call) error {
	id, kv, err := runKeyValue(c, checkRunTag)
	if err != nil {
		return err
	}
	return c.answerNothing(c.d.registrar.LogBatch(c.ctx(), c.principal, c.project, id, registrar.RunBatch{Tags: []registrar.KeyValue{kv}}))
}

// runKeyValue reads a request that gives a run one key and value.
func runKeyValue(c *call, check func(path, key, value string) (registrar.KeyValue, error)) (string, registrar.KeyValue, error) {
	var in struct {
		ID    string `json:"run_id"`
		UUID  string `json:"run_uuid"`
		Key   string `json:"key" mlflow:"required"`
		Value string `json:"value"`
	}
	if err := c.read(&in); err != nil {
		return "", registrar.KeyValue{}, err
	}
	id, err := runIDs{in.ID, in.UUID}.get()
	if err != nil {
		return "", registrar.KeyValue{}, err
	}
	kv, err := check("", in.Key, in.Value)
	return id, kv, err
}

func deleteRunTag(c *call) error {
	var in struct {
		ID  string `json:"run_id" mlflow:"required"`
		Key string `json:"key" mlflow:"required"`
	}
	if err := c.read(&in); err != nil {
		return err
	}
	return c.answerNothing(c.d.registrar.UntagRun(c.ctx(), c.principal, c.project, in.ID, in.Key))
}

var runIDPattern = regexp.MustCompile(`^[a-zA-Z0-9][\p{L}\p{N}_\-]{0,255}$`)

func checkRunID(id string) error {
	if !runIDPattern.MatchString(id) {
		return invalid("Invalid value %s for parameter 'run_id' supplied.", quoteJSON(id))
	}
	return nil
}

func logBatch(c *call) error {
	var in struct {
		ID      string     `json:"run_id" mlflow:"required"`
		Metrics []metricIn `json:"metrics"`
		Params  []pair     `json:"params"`
		Tags    []pair     `json:"tags"`
	}
	if err := c.read(&in); err != nil {
		return err
	}
	if err := checkRunID(in.ID); err != nil {
		return err
	}
	b := registrar.RunBatch{Metrics: make([]registrar.RunMetric, 0, len(in.Metrics))}
	for i, m := range in.Metrics {
		metric, err := m.get(func(name string) string { return "metrics[" + strconv.Itoa(i) + "]." + name })
		if err != nil {
			return err
		}
		b.Metrics = append(b.Metrics, metric)
	}
	var err error
	if b.Params, err = pairsIn("params", in.Params, checkParam); err != nil {
		return err
	}
	if b.Tags, err = pairsIn("tags", in.Tags, checkRunTag); err != nil {
		return err
	}
	if err := checkBatch(b); err != nil {
		return err
	}
	return c.answerNothing(c.d.registrar.LogBatch(c.ctx(), c.principal, c.project, in.ID, b))
}

func checkBatch(b registrar.RunBatch) error {
	for _, limit := range []struct {
		what    string
		n, most int
	}{
		{"metrics", len(b.Metrics), maxBatchMetrics},
		{"params", len(b.Params), maxBatchOthers},
		{"tags", len(b.Tags), maxBatchOthers},
		{"metrics, params, and tags", len(b.Metrics) + len(b.Params) + len(b.Tags), maxBatch},
	} {
		if limit.n > limit.most {
			return invalid("A batch logging request can contain at most %d %s. Got %d %s. Please split up %s across multiple requests and try again.",
				limit.most, limit.what, limit.n, limit.what, limit.what)
		}
	}
	seen, twice := map[string]bool{}, []string{}
	for _, p := range b.Params {
		if seen[p.Key] {
			twice = append(twice, p.Key)
		}
		seen[p.Key] = true
	}
	if len(twice) > 0 {
		return invalid("Duplicate parameter keys have been submitted: %s. Please ensure the request contains only one param value per param key.", pythonList(twice))
	}
	return nil
}

// loggedModelsTag is where clients before MLflow 3 note which models a run logged.
const loggedModelsTag = "mlflow.log-model.history"

func logModel(c *call) error {
	var in struct {
		ID    string `json:"run_id" mlflow:"required"`
		Model string `json:"model_json" mlflow:"required"`
	}
	if err := c.read(&in); err != nil {
		return err
	}
	var model map[string]json.RawMessage
	if err := json.Unmarshal([]byte(in.Model), &model); err != nil {
		return invalid("Malformed model info. \n %s \n is not a valid JSON.", clip(in.Model))
	}
	var absent []string
	for _, name := range []string{"artifact_path", "flavors", "run_id", "utc_time_created"} {
		if _, ok := model[name]; !ok {
			absent = append(absent, "'"+name+"'")
		}
	}
	if len(absent) > 0 {
		return invalid("Model json is missing mandatory fields: {%s}", strings.Join(absent, ", "))
	}
	return c.answerNothing(c.d.registrar.AppendRunTag(c.ctx(), c.principal, c.project, in.ID, loggedModelsTag, func(old string) (string, error) {
		return appendJSON(old, json.RawMessage(in.Model))
	}))
}

// appendJSON adds a value to a JSON list; what is none begins anew.
func appendJSON(list string, v json.RawMessage) (string, error) {
	var items []json.RawMessage
	if json.Unmarshal([]byte(list), &items) != nil {
		items = nil
	}
	b, err := json.Marshal(append(items, v))
	return string(b), err
}
