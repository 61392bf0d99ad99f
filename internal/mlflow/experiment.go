package mlflow

import (
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/pedigree-ml/pedigree/internal/registrar"
)

func (d *Dialect) experimentRoutes() []Route {
	return []Route{
		{Method: post, Pattern: api + "/experiments/create", Support: Full, Limit: bodyOfBatch, handle: createExperiment},
		{Method: get, Pattern: api + "/experiments/get", Support: Full, handle: getExperiment},
		{Method: get, Pattern: api + "/experiments/get-by-name", Support: Full, handle: getExperimentByName},
		{Method: post, Pattern: api + "/experiments/search", Support: Full, handle: searchExperiments},
		{Method: get, Pattern: api + "/experiments/search", Support: Full, handle: searchExperiments},
		{Method: post, Pattern: api + "/experiments/update", Support: Full, handle: updateExperiment},
		{Method: post, Pattern: api + "/experiments/delete", Support: Full, handle: deleteExperiment},
		{Method: post, Pattern: api + "/experiments/restore", Support: Full, handle: restoreExperiment},
		{Method: post, Pattern: api + "/experiments/set-experiment-tag", Support: Full, handle: setExperimentTag},
		{Method: post, Pattern: api + "/experiments/delete-experiment-tag", Support: Full, handle: deleteExperimentTag},
		{Method: post, Pattern: api + "/experiments/search-datasets", Support: Full, handle: searchDatasets},
	}
}

// experimentOut is an experiment on the wire.
type experimentOut struct {
	ID       string    `json:"experiment_id"`
	Name     string    `json:"name"`
	Location string    `json:"artifact_location"`
	Stage    string    `json:"lifecycle_stage"`
	Updated  int64     `json:"last_update_time"`
	Created  int64     `json:"creation_time"`
	Tags     []pairOut `json:"tags,omitempty"`
}

type experimentAnswer struct {
	Experiment experimentOut `json:"experiment"`
}

func outExperiment(e registrar.Experiment) experimentOut {
	return experimentOut{
		ID: strconv.FormatInt(e.ID, 10), Name: e.Name, Location: e.ArtifactURI, Stage: e.Stage,
		Updated: e.Updated, Created: e.Created, Tags: pairsOut(e.Tags),
	}
}

func createExperiment(c *call) error {
	var in struct {
		Name     string `json:"name" mlflow:"required"`
		Location string `json:"artifact_location"`
		Tags     []pair `json:"tags"`
	}
	if err := c.read(&in); err != nil {
		return err
	}
	if err := checkLength("name", maxExperimentName, in.Name); err != nil {
		return err
	}
	if err := checkLocation(in.Location); err != nil {
		return err
	}
	tags, err := pairsIn("tags", in.Tags, checkExperimentTag)
	if err != nil {
		return err
	}
	id, err := c.d.registrar.CreateExperiment(c.ctx(), c.principal, c.project, registrar.Experiment{Name: in.Name, ArtifactURI: in.Location, Tags: tags})
	return c.answer(struct {
		ID string `json:"experiment_id"`
	}{strconv.FormatInt(id, 10)}, err)
}

// checkLocation checks the artifact root that a caller asks for.
func checkLocation(uri string) error {
	switch {
	case strings.HasPrefix(uri, "runs:"):
		return invalid("Artifact location cannot be a runs:/ URI. Given: '%s'", clip(uri))
	case strings.Contains(uri, "#"):
		return invalid("'artifact_location' URL can't include fragments or params.")
	case strings.Contains(uri, "/../") || strings.HasSuffix(uri, "/.."):
		return invalid("Invalid artifact location: '%s'", clip(uri))
	}
	return checkLength("artifact_location", maxLocation, uri)
}

func getExperiment(c *call) error {
	var in struct {
		ID string `json:"experiment_id" mlflow:"required"`
	}
	if err := c.read(&in); err != nil {
		return err
	}
	id, err := experimentID(in.ID)
	if err != nil {
		return err
	}
	e, err := c.d.registrar.Experiment(c.ctx(), c.principal, c.project, id)
	return c.answer(experimentAnswer{outExperiment(e)}, err)
}

func getExperimentByName(c *call) error {
	var in struct {
		Name string `json:"experiment_name" mlflow:"required"`
	}
	if err := c.read(&in); err != nil {
		return err
	}
	e, err := c.d.registrar.ExperimentByName(c.ctx(), c.principal, c.project, in.Name)
	return c.answer(experimentAnswer{outExperiment(e)}, err)
}

// experimentNoun is what a search over experiments may ask.
var experimentNoun = &noun{
	entities: map[string]registrar.ClauseKind{
		"attribute": registrar.ClauseAttribute, "tag": registrar.ClauseTag, "tags": registrar.ClauseTag,
	},
	names: "Valid entity types are ('attribute', 'tag', 'tags')",
	attributes: map[string]string{
		"name": "name", "experiment_id": "experiment_id", "creation_time": "creation_time", "last_update_time": "last_update_time",
	},
	numeric: []string{"creation_time", "last_update_time"},
	lists:   []string{"experiment_id"},
	absent:  []registrar.ClauseKind{registrar.ClauseTag},
	notAbsent: func(_ registrar.ClauseKind, key string) error {
		return invalid("IS NULL / IS NOT NULL is only supported for tags, not for attribute '%s'", clip(key))
	},
	comparator: experimentComparator,
	repeats:    true,
}

// experimentComparator refuses what a search over experiments can't compare so.
func experimentComparator(kind registrar.ClauseKind, key string, number bool, cmp string) error {
	plain := []string{"=", "!=", "LIKE", "ILIKE"}
	switch {
	case kind == registrar.ClauseTag:
		if !slices.Contains(plain, cmp) {
			return invalid("Invalid comparator for tag: %s", clip(cmp))
		}
		return nil
	case key == "experiment_id": // a text in a filter, and a number in our tables
		if !slices.Contains([]string{"=", "!=", "IN", "NOT IN"}, cmp) {
			return invalid("Invalid comparator for experiment_id: %s", clip(cmp))
		}
		return nil
	case !number && slices.Contains(textComparators, cmp) && !slices.Contains(plain, cmp):
		return invalid("Invalid comparator for string attribute: %s", clip(cmp))
	}
	return runComparator(kind, key, number, cmp)
}

func searchExperiments(c *call) error {
	var in struct {
		View    any      `json:"view_type"`
		Results int64    `json:"max_results"`
		Order   []string `json:"order_by"`
		Filter  string   `json:"filter"`
		Token   string   `json:"page_token"`
	}
	if err := c.read(&in); err != nil {
		return err
	}
	limit, err := checkResults(in.Results)
	if err != nil {
		return err
	}
	q := registrar.ExperimentSearch{Limit: limit}
	if q.View, err = viewOf("view_type", in.View); err != nil {
		return err
	}
	if q.Clauses, err = experimentClauses(in.Filter); err != nil {
		return err
	}
	if q.Order, err = experimentNoun.sortKeys(in.Order); err != nil {
		return err
	}
	for _, k := range q.Order {
		if k.Kind != registrar.ClauseAttribute {
			return invalid("Invalid order_by entity: %s", k.Kind)
		}
	}
	if len(in.Order) == 0 {
		q.Order = []registrar.SortKey{{Kind: registrar.ClauseAttribute, Key: "creation_time", Desc: true}, {Kind: registrar.ClauseAttribute, Key: "experiment_id"}}
	}
	list, next, err := c.d.registrar.SearchExperiments(c.ctx(), c.principal, c.project, q, in.Token)
	out := struct {
		Experiments []experimentOut `json:"experiments,omitempty"`
		Next        string          `json:"next_page_token,omitempty"`
	}{Next: next}
	for _, e := range list {
		out.Experiments = append(out.Experiments, outExperiment(e))
	}
	return c.answer(out, err)
}

// experimentClauses reads the filter of a search over experiments.
func experimentClauses(filter string) ([]registrar.Clause, error) {
	clauses, err := experimentNoun.clauses(filter)
	if err != nil {
		return nil, err
	}
	for _, cl := range clauses {
		if cl.Kind != registrar.ClauseAttribute || cl.Key == "name" {
			continue
		}
		for i := range cl.Values {
			v := &cl.Values[i]
			if cl.Key != "experiment_id" {
				if v.Number != math.Trunc(v.Number) || strings.ContainsAny(v.Text, ".eE") {
					return nil, invalid("Invalid value for numeric attribute '%s': '%s'", cl.Key, clip(v.Text))
				}
				continue
			}
			id, err := experimentID(v.Text)
			if err != nil {
				return nil, err
			}
			v.Number, v.IsNumber = float64(id), true
		}
	}
	return clauses, nil
}

func updateExperiment(c *call) error {
	var in struct {
		ID   string `json:"experiment_id" mlflow:"required"`
		Name string `json:"new_name" mlflow:"required"`
	}
	if err := c.read(&in); err != nil {
		return err
	}
	id, err := experimentID(in.ID)
	if err != nil {
		return err
	}
	if err := checkLength("name", maxExperimentName, in.Name); err != nil {
		return err
	}
	return c.answerNothing(c.d.registrar.RenameExperiment(c.ctx(), c.principal, c.project, id, in.Name))
}

func deleteExperiment(c *call) error { return setExperimentStage(c, registrar.StageDeleted) }

func restoreExperiment(c *call) error { return setExperimentStage(c, registrar.StageActive) }

func setExperimentStage(c *call, stage string) error {
	var in struct {
		ID string `json:"experiment_id" mlflow:"required"`
	}
	if err := c.read(&in); err != nil {
		return err
	}
	id, err := experimentID(in.ID)
	if err != nil {
		return err
	}
	return c.answerNothing(c.d.registrar.SetExperimentStage(c.ctx(), c.principal, c.project, id, stage))
}

func setExperimentTag(c *call) error {
	var in struct {
		ID    string `json:"experiment_id" mlflow:"required"`
		Key   string `json:"key" mlflow:"required"`
		Value string `json:"value"`
	}
	if err := c.read(&in); err != nil {
		return err
	}
	id, err := experimentID(in.ID)
	if err != nil {
		return err
	}
	kv, err := checkExperimentTag("", in.Key, in.Value)
	if err != nil {
		return err
	}
	return c.answerNothing(c.d.registrar.ChangeExperimentTag(c.ctx(), c.principal, c.project, id, kv.Key, &kv.Value))
}

func deleteExperimentTag(c *call) error {
	var in struct {
		ID  string `json:"experiment_id" mlflow:"required"`
		Key string `json:"key" mlflow:"required"`
	}
	if err := c.read(&in); err != nil {
		return err
	}
	id, err := experimentID(in.ID)
	if err != nil {
		return err
	}
	return c.answerNothing(c.d.registrar.ChangeExperimentTag(c.ctx(), c.principal, c.project, id, in.Key, nil))
}

// maxDatasetExperiments is the most experiments whose data sets one request may ask for.
const maxDatasetExperiments = 20

func searchDatasets(c *call) error {
	var in struct {
		Experiments []string `json:"experiment_ids"`
	}
	if err := c.read(&in); err != nil {
		return err
	}
	switch n := len(in.Experiments); {
	case n == 0:
		return invalid("SearchDatasets request must specify at least one experiment_id.")
	case n > maxDatasetExperiments:
		return invalid("SearchDatasets request cannot specify more than %d experiment_ids. Received %d experiment_ids.", maxDatasetExperiments, n)
	}
	ids, err := experimentIDs(in.Experiments)
	if err != nil {
		return err
	}
	list, err := c.d.registrar.SearchDatasets(c.ctx(), c.principal, c.project, ids)
	type summary struct {
		Experiment string  `json:"experiment_id"`
		Name       string  `json:"name"`
		Digest     string  `json:"digest"`
		Context    *string `json:"context,omitempty"`
	}
	out := struct {
		Datasets []summary `json:"dataset_summaries,omitempty"`
	}{}
	for _, d := range list {
		out.Datasets = append(out.Datasets, summary{strconv.FormatInt(d.Experiment, 10), d.Name, d.Digest, d.Context})
	}
	return c.answer(out, err)
}
