package mlrecord

import (
	"cmp"
	"encoding/json"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/pedigree-ml/pedigree"
)

// System is how records name the system that such runs ran in.
const System = "mlflow"

// Run is what a record takes from a run.
type Run struct {
	ID, Name, User string
	// Start and End are milliseconds since 1970; End is nil while it runs.
	Start int64
	End   *int64
	// ArtifactURI is the root of its files.
	ArtifactURI string
	Tags        []KeyValue
	Params      []KeyValue
	// Metrics are the latest of each name.
	Metrics  []Metric
	Datasets []Dataset
	// Models are the ids of the logged models that it made.
	Models []string
}

// KeyValue is one tag or one parameter.
type KeyValue struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

// Metric is one measurement; Dataset names what a model was measured on.
type Metric struct {
	Key     string
	Value   float64
	Dataset string
	// Step and Time, in milliseconds since 1970, tell which is the latest of a name.
	Step, Time int64
}

// Dataset is a data set that a run read; Context is what it was used for.
type Dataset struct{ Name, Digest, Source, Context string }

// Model is what a record takes from a logged model.
type Model struct {
	ID, Name string
	// Run is the run that made it; "" where nobody said.
	Run         string
	ArtifactURI string
	Tags        []KeyValue
	Params      []KeyValue
	// Metrics are all that there are, of each name.
	Metrics []Metric
}

// fit returns s where a record takes it, else "": what a run says by itself must not
// keep its model from being registered.
func fit(s string, limit int) string {
	if len(s) > limit || strings.ContainsFunc(s, func(r rune) bool { return unicode.IsControl(r) || r == unicode.ReplacementChar }) {
		return ""
	}
	return s
}

// uri is s as a record keeps a URI, or "".
func uri(s string) pedigree.SafeURI {
	u, err := pedigree.ParseSafeURI(s)
	if err != nil {
		return ""
	}
	return u
}

// FillRun takes parameters, metrics, code, data, and who and when from a run, and what
// its tags say in our words.
func FillRun(r *pedigree.Record, run *Run) {
	tags := map[string]string{}
	for _, t := range run.Tags {
		tags[t.Key] = t.Value
	}
	started := time.UnixMilli(run.Start).UTC()
	r.Run = &pedigree.Run{
		ID: run.ID, Name: fit(run.Name, pedigree.MaxURI), System: System,
		User: fit(cmp.Or(run.User, tags["mlflow.user"]), pedigree.MaxURI), StartedAt: &started,
	}
	if run.End != nil {
		ended := time.UnixMilli(*run.End).UTC()
		r.Run.EndedAt = &ended
		seconds := pedigree.Float(ended.Sub(started).Seconds())
		if seconds >= 0 {
			runtimeOf(r).Seconds = &seconds
		}
	}
	if parent := tags["mlflow.parentRunId"]; parent != "" {
		r.Run.Upstream = []pedigree.UpstreamRun{{ID: fit(parent, pedigree.MaxURI)}}
	}
	r.Owner = fit(r.Run.User, pedigree.MaxName)
	code := pedigree.Code{
		Repository: uri(tags["mlflow.source.git.repoURL"]), Commit: fit(tags["mlflow.source.git.commit"], pedigree.MaxKey),
		Branch: fit(tags["mlflow.source.git.branch"], pedigree.MaxKey), Dirty: strings.EqualFold(tags["mlflow.source.git.dirty"], "true"),
	}
	if code != (pedigree.Code{}) {
		code.Path = fit(tags["mlflow.source.name"], pedigree.MaxPath)
		r.Code = &code
	}
	if image := fit(tags["mlflow.docker.image.uri"], pedigree.MaxURI); image != "" {
		runtimeOf(r).Image = image
	}
	addParams(r, run.Params)
	for _, m := range run.Metrics {
		addMetric(r, m)
	}
	for _, set := range run.Datasets {
		addDataset(r, set)
	}
	fillTags(r, run.Tags)
}

// FillModel takes parameters, metrics and tags from a logged model.
func FillModel(r *pedigree.Record, m *Model) {
	addParams(r, m.Params)
	metrics := slices.SortedStableFunc(slices.Values(m.Metrics), func(a, b Metric) int {
		return cmp.Or(cmp.Compare(a.Step, b.Step), cmp.Compare(a.Time, b.Time), cmp.Compare(a.Value, b.Value))
	})
	for _, metric := range metrics { // the latest of each name comes last, as MLflow counts for runs
		addMetric(r, metric)
	}
	fillTags(r, m.Tags)
}

func runtimeOf(r *pedigree.Record) *pedigree.Runtime {
	if r.Runtime == nil {
		r.Runtime = &pedigree.Runtime{}
	}
	return r.Runtime
}

func addParams(r *pedigree.Record, params []KeyValue) {
	for _, p := range params {
		if _, err := pedigree.ParseKey("param", p.Key); err != nil {
			continue
		}
		if r.Params == nil {
			r.Params = pedigree.Params{}
		}
		r.Params[p.Key] = strings.Map(func(c rune) rune {
			if c < 0x20 && c != '\n' && c != '\t' && c != '\r' || c == 0x7f {
				return -1
			}
			return c
		}, p.Value)
	}
}

// addMetric adds a metric in place of an earlier value of it; what a model was measured on tells two of
// one name apart.
func addMetric(r *pedigree.Record, m Metric) {
	if _, err := pedigree.ParseKey("metric", m.Key); err != nil {
		return
	}
	metric := pedigree.Metric{Name: m.Key, Value: pedigree.Float(m.Value), Dataset: fit(m.Dataset, pedigree.MaxKey)}
	r.Metrics = append(slices.DeleteFunc(r.Metrics, func(old pedigree.Metric) bool {
		return old.Name == metric.Name && old.Dataset == metric.Dataset
	}), metric)
}

// roles are MLflow's contexts of data sets in our words.
var roles = map[string]string{"": "train", "training": "train", "train": "train", "validation": "validation", "eval": "test", "testing": "test", "test": "test"}

// addDataset adds a data set that the run read.
func addDataset(r *pedigree.Record, set Dataset) {
	ref := pedigree.DataReference{Kind: pedigree.DataSnapshot, Version: fit(set.Digest, pedigree.MaxURI), Role: set.Context}
	if role, ok := roles[ref.Role]; ok {
		ref.Role = role
	}
	if _, err := pedigree.ParseKey("data role", ref.Role); err != nil {
		ref.Role = "train"
	}
	var source map[string]any
	if json.Unmarshal([]byte(set.Source), &source) == nil {
		for _, key := range []string{"uri", "url", "path", "delta_table_name", "table_name", "table", "dataset_path"} {
			if s, ok := source[key].(string); ok && ref.URI == "" {
				ref.URI = uri(s)
			}
		}
		if query, ok := source["sql"].(string); ok && query != "" && ref.URI == "" {
			ref.Kind, ref.Query = pedigree.DataQuery, fit(query, pedigree.MaxText)
		}
	} else {
		ref.URI = uri(set.Source)
	}
	if ref.URI == "" && ref.Query == "" { // made by code: all there is is a name
		ref.Kind, ref.URI = pedigree.DataLineage, uri(set.Name)
	}
	if ref.Kind == pedigree.DataQuery && ref.Query == "" || ref.URI == "" && ref.Version == "" {
		return
	}
	r.Data = append(r.Data, ref)
}
