package mlflow

import (
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/internal/registrar"
)

func (d *Dialect) loggedModelRoutes() []Route {
	models := api + "/logged-models"
	return []Route{
		{Method: post, Pattern: models, Support: Full, Limit: bodyOfBatch, handle: createLoggedModel},
		{Method: post, Pattern: models + "/search", Support: Full, handle: searchLoggedModels},
		{Method: get, Pattern: models + "/{model}", Support: Full, handle: getLoggedModel},
		{Method: patch, Pattern: models + "/{model}", Support: Full, handle: finishLoggedModel},
		{Method: remove, Pattern: models + "/{model}", Support: Full, Raw: true, handle: deleteLoggedModel},
		{Method: post, Pattern: models + "/{model}/params", Support: Full, Limit: bodyOfBatch, handle: addLoggedModelParams},
		{Method: patch, Pattern: models + "/{model}/tags", Support: Full, Limit: bodyOfBatch, handle: tagLoggedModel},
		{Method: remove, Pattern: models + "/{model}/tags/{key...}", Support: Full, Raw: true, handle: untagLoggedModel},
	}
}

// loggedModelInfo and loggedModelData are a logged model on the wire.
type loggedModelInfo struct {
	ID         string    `json:"model_id"`
	Experiment string    `json:"experiment_id"`
	Name       string    `json:"name"`
	Created    int64     `json:"creation_timestamp_ms"`
	Updated    int64     `json:"last_updated_timestamp_ms"`
	Artifacts  string    `json:"artifact_uri"`
	Status     string    `json:"status"`
	Type       string    `json:"model_type"`
	SourceRun  string    `json:"source_run_id"`
	Tags       []pairOut `json:"tags,omitempty"`
}

type loggedModelData struct {
	Params  []pairOut   `json:"params,omitempty"`
	Metrics []metricOut `json:"metrics,omitempty"`
}

type loggedModelOut struct {
	Info loggedModelInfo `json:"info"`
	Data loggedModelData `json:"data"`
}

type loggedModelAnswer struct {
	Model loggedModelOut `json:"model"`
}

// loggedModelStatuses are the numbers of MLflow's enum.
var loggedModelStatuses = map[string]int64{
	"LOGGED_MODEL_PENDING": registrar.LoggedModelPending, "LOGGED_MODEL_READY": registrar.LoggedModelReady, "LOGGED_MODEL_UPLOAD_FAILED": registrar.LoggedModelFailed,
}

func outLoggedModel(m registrar.LoggedModel) loggedModelOut {
	out := loggedModelOut{
		Info: loggedModelInfo{
			ID: m.ID, Experiment: strconv.FormatInt(m.Experiment, 10), Name: m.Name, Created: m.Created, Updated: m.Updated,
			Artifacts: m.ArtifactURI, Type: m.Type, SourceRun: m.SourceRun, Tags: pairsOut(m.Tags),
		},
		Data: loggedModelData{Params: pairsOut(m.Params)},
	}
	for name, n := range loggedModelStatuses {
		if n == m.Status {
			out.Info.Status = name
		}
	}
	for _, v := range m.Metrics {
		out.Data.Metrics = append(out.Data.Metrics, outMetric(v))
	}
	return out
}

func createLoggedModel(c *call) error {
	var in struct {
		Experiment string `json:"experiment_id" mlflow:"required"`
		Name       string `json:"name"`
		Type       string `json:"model_type"`
		SourceRun  string `json:"source_run_id"`
		Params     []pair `json:"params"`
		Tags       []pair `json:"tags"`
	}
	if err := c.read(&in); err != nil {
		return err
	}
	id, err := experimentID(in.Experiment)
	if err != nil {
		return err
	}
	if strings.ContainsAny(in.Name, `/:.%"'`) {
		return invalid(`Invalid model name (%s) provided. Model name must be a non-empty string and cannot contain the following characters: ('/', ':', '.', '%%', '"', "'")`, pythonRepr(clip(in.Name)))
	}
	if err := checkLength("source_run_id", maxKey, in.SourceRun); err != nil {
		return err
	}
	m := registrar.LoggedModel{Experiment: id, Name: in.Name, Type: in.Type, SourceRun: in.SourceRun}
	if m.Params, err = pairsIn("params", in.Params, plainPair); err != nil {
		return err
	}
	if m.Tags, err = pairsIn("tags", in.Tags, plainPair); err != nil {
		return err
	}
	m, err = c.d.registrar.CreateLoggedModel(c.ctx(), c.principal, c.project, m)
	return c.answer(loggedModelAnswer{outLoggedModel(m)}, err)
}

// plainPair takes a pair as it is, but for its length.
func plainPair(path, key, value string) (registrar.KeyValue, error) {
	return registrar.KeyValue{Key: key, Value: truncate(value, maxRunTagValue)}, checkLength(joinName(path, "key"), maxKey, key)
}

func getLoggedModel(c *call) error {
	var in struct {
		Deleted string `json:"allow_deleted"`
	}
	if err := c.read(&in); err != nil {
		return err
	}
	m, err := c.d.registrar.LoggedModel(c.ctx(), c.principal, c.project, c.r.PathValue("model"), strings.EqualFold(in.Deleted, "true"))
	return c.answer(loggedModelAnswer{outLoggedModel(m)}, err)
}

func finishLoggedModel(c *call) error {
	var in struct {
		Status any `json:"status" mlflow:"required"`
	}
	if err := c.read(&in); err != nil {
		return err
	}
	status, err := enumOf("status", in.Status, loggedModelStatuses)
	if err != nil {
		return err
	}
	m, err := c.d.registrar.FinishLoggedModel(c.ctx(), c.principal, c.project, c.r.PathValue("model"), status)
	return c.answer(loggedModelAnswer{outLoggedModel(m)}, err)
}

func deleteLoggedModel(c *call) error {
	id := c.r.PathValue("model")
	err := c.d.registrar.DeleteLoggedModel(c.ctx(), c.principal, c.project, id)
	if pedigree.CodeOf(err) == pedigree.CodeNotFound { // one that is deleted already is no error
		_, err = c.d.registrar.LoggedModel(c.ctx(), c.principal, c.project, id, true)
	}
	return c.answerNothing(err)
}

func addLoggedModelParams(c *call) error {
	var in struct {
		Params []pair `json:"params"`
	}
	if err := c.read(&in); err != nil {
		return err
	}
	params, err := pairsIn("params", in.Params, plainPair)
	if err != nil {
		return err
	}
	return c.answerNothing(c.d.registrar.AddLoggedModelParams(c.ctx(), c.principal, c.project, c.r.PathValue("model"), params))
}

func tagLoggedModel(c *call) error {
	var in struct {
		Tags []pair `json:"tags"`
	}
	if err := c.read(&in); err != nil {
		return err
	}
	tags, err := pairsIn("tags", in.Tags, plainTag)
	if err != nil {
		return err
	}
	return c.answerNothing(c.d.registrar.TagLoggedModel(c.ctx(), c.principal, c.project, c.r.PathValue("model"), tags))
}

// plainTag takes a tag as it is: the tag that lists the versions made of a model grows
// with them.
func plainTag(path, key, value string) (registrar.KeyValue, error) {
	return registrar.KeyValue{Key: key, Value: value}, checkLength(joinName(path, "key"), maxKey, key)
}

func untagLoggedModel(c *call) error {
	return c.answerNothing(c.d.registrar.UntagLoggedModel(c.ctx(), c.principal, c.project, c.r.PathValue("model"), c.r.PathValue("key")))
}

// loggedModelAttributes are the keys of a logged model itself, with what the registrar
// calls them.
var loggedModelAttributes = map[string]string{
	"model_id": "model_id", "experiment_id": "experiment_id", "name": "name", "model_type": "model_type", "source_run_id": "source_run_id", "status": "status",
	"artifact_location": "artifact_location", "lifecycle_stage": "lifecycle_stage",
	"creation_time": "creation_timestamp_ms", "creation_timestamp": "creation_timestamp_ms", "creation_timestamp_ms": "creation_timestamp_ms",
	"last_updated_timestamp": "last_updated_timestamp_ms", "last_updated_timestamp_ms": "last_updated_timestamp_ms",
}

var loggedModelEntities = map[string]registrar.ClauseKind{
	"attributes": registrar.ClauseAttribute, "metrics": registrar.ClauseMetric, "params": registrar.ClauseParam, "tags": registrar.ClauseTag,
}

func searchLoggedModels(c *call) error {
	var in struct {
		Experiments []string `json:"experiment_ids" mlflow:"required"`
		Filter      string   `json:"filter"`
		Datasets    []struct {
			Name   string `json:"dataset_name"`
			Digest string `json:"dataset_digest"`
		} `json:"datasets"`
		Results int64             `json:"max_results"`
		Order   []loggedModelSort `json:"order_by"`
		Token   string            `json:"page_token"`
	}
	if err := c.read(&in); err != nil {
		return err
	}
	if len(in.Experiments) == 0 {
		return missing("experiment_ids")
	}
	q := registrar.LoggedModelSearch{Limit: defaultLoggedModel}
	var err error
	if in.Results != 0 {
		if q.Limit, err = checkResults(in.Results); err != nil {
			return err
		}
	}
	if q.Experiments, err = experimentIDs(in.Experiments); err != nil {
		return err
	}
	if q.Clauses, err = loggedModelClauses(in.Filter); err != nil {
		return err
	}
	for _, d := range in.Datasets {
		if d.Name == "" {
			return invalid("`dataset_name` in the `datasets` clause must be specified.")
		}
		q.Datasets = append(q.Datasets, registrar.RunDataset{Name: d.Name, Digest: d.Digest})
	}
	if q.Order, err = loggedModelOrder(in.Order); err != nil {
		return err
	}
	list, next, err := c.d.registrar.SearchLoggedModels(c.ctx(), c.principal, c.project, q, in.Token)
	out := struct {
		Models []loggedModelOut `json:"models,omitempty"`
		Next   string           `json:"next_page_token,omitempty"`
	}{Next: next}
	for _, m := range list {
		out.Models = append(out.Models, outLoggedModel(m))
	}
	return c.answer(out, err)
}

// loggedModelSort is one item of order_by.
type loggedModelSort struct {
	Field     string `json:"field_name"`
	Ascending *bool  `json:"ascending"`
	Dataset   string `json:"dataset_name"`
	Digest    string `json:"dataset_digest"`
}

func loggedModelOrder(items []loggedModelSort) ([]registrar.SortKey, error) {
	if len(items) > pedigree.MaxOrderKeys {
		return nil, invalid("`order_by` has %d items, the limit is %d", len(items), pedigree.MaxOrderKeys)
	}
	var out []registrar.SortKey
	for _, item := range items {
		k := registrar.SortKey{Kind: registrar.ClauseAttribute, Desc: item.Ascending != nil && !*item.Ascending, Dataset: item.Dataset, Digest: item.Digest}
		entity, name, dotted := strings.Cut(item.Field, ".")
		switch {
		case dotted && entity != "metrics":
			return nil, invalid("Invalid order by field name: %s. Only metrics are supported.", clip(item.Field))
		case dotted:
			k.Kind, k.Key = registrar.ClauseMetric, strings.Trim(name, "`")
		default:
			var ok bool
			if k.Key, ok = loggedModelAttributes[item.Field]; !ok {
				return nil, invalid("Invalid order by field name: %s", clip(item.Field))
			}
		}
		out = append(out, k)
	}
	return out, nil
}

var loggedModelKey = regexp.MustCompile(`^([a-z]+)\.(.+)$`)

// loggedModelClauses reads the filter of a search over logged models, whose rules are
// looser than those of runs: a value may stand without quotes, and a number in them.
func loggedModelClauses(filter string) ([]registrar.Clause, error) {
	comparisons, wrong, err := sqlComparisons(filter)
	switch {
	case err != nil && len(filter) <= pedigree.MaxFilter:
		return nil, invalid("Invalid filter string: %s. Expected a single SQL expression.", pythonRepr(clip(filter)))
	case err != nil:
		return nil, err
	case len(wrong) > 0:
		return nil, invalid("Invalid filter string: %s. Expected a list of comparisons separated by 'AND' (e.g. 'metrics.loss > 0.1 AND params.lr = 0.01').", pythonRepr(clip(filter)))
	}
	var out []registrar.Clause
	for _, c := range comparisons {
		cl, err := loggedModelClause(c)
		if err != nil {
			return nil, err
		}
		out = append(out, cl)
	}
	return out, nil
}

func loggedModelClause(c sqlComparison) (registrar.Clause, error) {
	cl := registrar.Clause{Kind: registrar.ClauseAttribute, Key: strings.Trim(c.key, "`"), Cmp: pedigree.Comparator(c.cmp)}
	entity := "attributes"
	if m := loggedModelKey.FindStringSubmatch(c.key); m != nil {
		var ok bool
		if cl.Kind, ok = loggedModelEntities[m[1]]; !ok {
			return cl, invalid("Invalid entity type: '%s'. Expected one of ['attributes', 'metrics', 'params', 'tags'].", clip(m[1]))
		}
		entity, cl.Key = m[1], strings.Trim(m[2], "`")
	}
	number := cl.Kind == registrar.ClauseMetric
	if cl.Kind == registrar.ClauseAttribute {
		name, ok := loggedModelAttributes[cl.Key]
		if !ok {
			return cl, invalid("Invalid attribute key '%s' specified. Valid keys are '%s'", clip(cl.Key), pythonSet(loggedModelAttributes))
		}
		cl.Key = name
		number = strings.HasSuffix(name, "_timestamp_ms")
	}
	valid := []string{"=", "!=", "LIKE", "ILIKE", "IN", "NOT IN"}
	if number {
		valid = []string{"<", "<=", ">", ">=", "=", "!="}
	}
	if !slices.Contains(valid, c.cmp) {
		return cl, invalid("Invalid comparison operator for %s.%s: '%s'. Expected one of ('%s').", entity, clip(cl.Key), clip(c.cmp), strings.Join(valid, "', '"))
	}
	list := c.value.kind == sqlGroup
	if (c.cmp == "IN" || c.cmp == "NOT IN") != list {
		return cl, invalid("Invalid comparison: %s %s %s. Expected a list in parentheses for IN alone.", clip(c.key), clip(c.cmp), clip(c.value.text))
	}
	if list {
		texts, err := parseList(c.value.text)
		if err != nil {
			return cl, err
		}
		for _, text := range texts {
			cl.Values = append(cl.Values, pedigree.FilterValue{Text: text})
		}
		return loggedModelNumbers(cl)
	}
	raw := c.value.text
	if c.value.kind == sqlText || c.value.kind == sqlQuoted {
		raw = raw[1 : len(raw)-1]
	}
	cl.Values = []pedigree.FilterValue{{Text: raw}}
	if !number {
		return loggedModelNumbers(cl)
	}
	f, err := strconv.ParseFloat(strings.TrimSpace(raw), 64)
	if err != nil {
		return cl, invalid("Invalid filter string: could not convert string to float: %s", pythonRepr(clip(c.value.text)))
	}
	cl.Values[0].Number, cl.Values[0].IsNumber = f, true
	return cl, nil
}

// loggedModelNumbers turns the values of what is a number in our tables, and a word to
// clients, into numbers.
func loggedModelNumbers(cl registrar.Clause) (registrar.Clause, error) {
	if cl.Kind != registrar.ClauseAttribute || cl.Key != "status" && cl.Key != "experiment_id" {
		return cl, nil
	}
	if cl.Cmp == "LIKE" || cl.Cmp == "ILIKE" {
		return cl, invalid("Invalid comparison operator for %s: '%s'.", cl.Key, cl.Cmp)
	}
	for i := range cl.Values {
		v := &cl.Values[i]
		n, ok := loggedModelStatuses["LOGGED_MODEL_"+strings.TrimPrefix(v.Text, "LOGGED_MODEL_")]
		if cl.Key == "experiment_id" || !ok {
			var err error
			if n, err = strconv.ParseInt(v.Text, 10, 64); err != nil {
				return cl, invalid("Invalid value '%s' for %s", clip(v.Text), cl.Key)
			}
		}
		v.Number, v.IsNumber = float64(n), true
	}
	return cl, nil
}
