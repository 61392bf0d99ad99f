package mlflow

import (
	"slices"
	"strings"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/internal/registrar"
)

func (d *Dialect) metricRoutes() []Route {
	return []Route{
		{Method: post, Pattern: api + "/runs/log-metric", Support: Full, handle: logMetric},
		{Method: get, Pattern: api + "/metrics/get-history", Support: Full, handle: getHistory},
		{Method: get, Pattern: api + "/metrics/get-history-bulk", Support: Full, handle: getHistoryBulk},
		{Method: get, Pattern: api + "/metrics/get-history-bulk-interval", Support: Partial, Why: "Where there are more steps than asked for, other ones may be left out than MLflow leaves out.", handle: getHistoryInterval},
	}
}

// metricIn is a measurement as a client sends it.
type metricIn struct {
	Key       string   `json:"key"`
	Value     *float64 `json:"value"`
	Timestamp *int64   `json:"timestamp"`
	Step      int64    `json:"step"`
	Model     string   `json:"model_id"`
	Dataset   string   `json:"dataset_name"`
	Digest    string   `json:"dataset_digest"`
}

// get checks a measurement; at makes the name of a field as errors call it.
func (m *metricIn) get(at func(name string) string) (registrar.RunMetric, error) {
	out := registrar.RunMetric{Key: m.Key, Step: m.Step, Model: m.Model, Dataset: m.Dataset, Digest: m.Digest}
	switch {
	case m.Key == "":
		return out, missingAt(at("key"))
	case m.Value == nil:
		return out, missingAt(at("value"))
	case m.Timestamp == nil:
		return out, missingAt(at("timestamp"))
	}
	out.Value, out.Time = *m.Value, *m.Timestamp
	if !plainKey(m.Key) {
		if err := checkKey(at("name"), m.Key); err != nil {
			return out, err
		}
	}
	if out.Time < 0 {
		return out, invalid("Invalid value %d for parameter '%s' supplied: metric '%s' (value=%s). Timestamp must be a nonnegative long (64-bit integer) ",
			out.Time, at("timestamp"), clip(m.Key), pythonFloat(out.Value))
	}
	for _, limit := range []struct {
		name  string
		most  int
		value string
	}{{"Metric name", maxKey, m.Key}, {"model_id", maxKey, m.Model}, {"dataset_name", maxDatasetName, m.Dataset}, {"dataset_digest", maxDatasetName, m.Digest}} {
		if err := checkLength(limit.name, limit.most, limit.value); err != nil {
			return out, err
		}
	}
	return out, nil
}

// pythonFloat is a number as Python shows it.
func pythonFloat(v float64) string {
	s := pedigree.Float(v).String()
	if !strings.ContainsAny(s, ".eEnN") {
		s += ".0"
	}
	return s
}

// metricOut is a measurement on the wire.
type metricOut struct {
	Key     string         `json:"key"`
	Value   pedigree.Float `json:"value"`
	Time    int64          `json:"timestamp"`
	Step    int64          `json:"step"`
	Model   string         `json:"model_id,omitempty"`
	Dataset string         `json:"dataset_name,omitempty"`
	Digest  string         `json:"dataset_digest,omitempty"`
	Run     string         `json:"run_id,omitempty"`
}

func outMetric(m registrar.RunMetric) metricOut {
	return metricOut{Key: m.Key, Value: pedigree.Float(m.Value), Time: m.Time, Step: m.Step, Model: m.Model, Dataset: m.Dataset, Digest: m.Digest, Run: m.Run}
}

func logMetric(c *call) error {
	var in struct {
		ID        string   `json:"run_id"`
		UUID      string   `json:"run_uuid"`
		Key       string   `json:"key"`
		Value     *float64 `json:"value"`
		Timestamp *int64   `json:"timestamp"`
		Step      int64    `json:"step"`
		Model     string   `json:"model_id"`
		Dataset   string   `json:"dataset_name"`
		Digest    string   `json:"dataset_digest"`
	}
	if err := c.read(&in); err != nil {
		return err
	}
	id, err := runIDs{in.ID, in.UUID}.get()
	if err != nil {
		return err
	}
	m := metricIn{in.Key, in.Value, in.Timestamp, in.Step, in.Model, in.Dataset, in.Digest}
	metric, err := m.get(func(name string) string { return name })
	if err != nil {
		return err
	}
	return c.answerNothing(c.d.registrar.LogBatch(c.ctx(), c.principal, c.project, id, registrar.RunBatch{Metrics: []registrar.RunMetric{metric}}))
}

func getHistory(c *call) error {
	var in struct {
		ID      string `json:"run_id"`
		UUID    string `json:"run_uuid"`
		Key     string `json:"metric_key" mlflow:"required"`
		Results *int64 `json:"max_results"`
		Token   string `json:"page_token"`
	}
	if err := c.read(&in); err != nil {
		return err
	}
	id, err := runIDs{in.ID, in.UUID}.get()
	if err != nil {
		return err
	}
	limit := 0
	if in.Results != nil {
		if *in.Results <= 0 {
			return invalid("Invalid value %d for parameter 'max_results' supplied. It must be a positive integer.", *in.Results)
		}
		limit = int(min(*in.Results, 1_000_000))
	}
	list, next, err := c.d.registrar.MetricHistory(c.ctx(), c.principal, c.project, id, in.Key, limit, in.Token)
	out := struct {
		Metrics []metricOut `json:"metrics,omitempty"`
		Next    string      `json:"next_page_token,omitempty"`
	}{Next: next}
	for _, m := range list {
		out.Metrics = append(out.Metrics, outMetric(m))
	}
	return c.answer(out, err)
}

// bulkHistory is what both bulk endpoints answer.
type bulkHistory struct {
	Metrics []metricOut `json:"metrics"`
}

func getHistoryBulk(c *call) error {
	var in struct {
		Runs    []string `json:"run_id"`
		Key     string   `json:"metric_key"`
		Results *int64   `json:"max_results"`
	}
	if err := c.read(&in); err != nil {
		return err
	}
	limit := maxHistoryResults
	if in.Results != nil {
		limit = int(max(0, min(*in.Results, maxHistoryResults)))
	}
	switch {
	case len(in.Runs) == 0:
		return invalid("GetMetricHistoryBulk request must specify at least one run_id.")
	case len(in.Runs) > maxHistoryRuns:
		return invalid("GetMetricHistoryBulk request cannot specify more than %d run_ids. Received %d run_ids.", maxHistoryRuns, len(in.Runs))
	case in.Key == "":
		return invalid("GetMetricHistoryBulk request must specify a metric_key.")
	}
	out := bulkHistory{Metrics: []metricOut{}}
	runs := slices.Clone(in.Runs)
	slices.Sort(runs)
	for _, run := range slices.Compact(runs) {
		if len(out.Metrics) >= limit {
			break
		}
		list, _, err := c.d.registrar.MetricHistory(c.ctx(), c.principal, c.project, run, in.Key, limit-len(out.Metrics), "")
		if err != nil {
			return err
		}
		for _, m := range list {
			m.Run = run
			out.Metrics = append(out.Metrics, outMetric(m))
		}
	}
	return c.answer(out, nil)
}

// maxInterval is the most steps that an answer about an interval has of one run.
const maxInterval = 2500

func getHistoryInterval(c *call) error {
	var in struct {
		Runs    []string `json:"run_ids"`
		Key     string   `json:"metric_key" mlflow:"required"`
		First   *int64   `json:"start_step"`
		Last    *int64   `json:"end_step"`
		Results *int64   `json:"max_results"`
	}
	if err := c.read(&in); err != nil {
		return err
	}
	limit := 320
	if in.Results != nil {
		limit = int(*in.Results)
	}
	switch {
	case len(in.Runs) == 0:
		return missing("run_ids")
	case len(in.Runs) > maxHistoryRuns:
		return invalid("GetMetricHistoryBulkInterval request must specify at most %d run_ids. Received %d run_ids.", maxHistoryRuns, len(in.Runs))
	case limit < 1 || limit > maxInterval:
		return invalid("max_results must be between 1 and %d. See the API docs for more information about request parameters.", maxInterval)
	case (in.First == nil) != (in.Last == nil):
		return invalid("If either start step or end step are specified, both must be specified.")
	case in.First != nil && *in.First > *in.Last:
		return invalid("end_step must be greater than start_step. Found start_step=%d and end_step=%d.", *in.First, *in.Last)
	}
	out := bulkHistory{Metrics: []metricOut{}}
	for _, run := range in.Runs {
		list, _, err := c.d.registrar.MetricHistory(c.ctx(), c.principal, c.project, run, in.Key, 0, "")
		if err != nil {
			return err
		}
		for _, m := range sampleSteps(list, in.First, in.Last, limit) {
			m.Run = run
			out.Metrics = append(out.Metrics, outMetric(m))
		}
	}
	return c.answer(out, nil)
}

// sampleSteps keeps the measurements of at most about limit steps of an interval, evenly
// spread, the first and the last among them.
func sampleSteps(list []registrar.RunMetric, first, last *int64, limit int) []registrar.RunMetric {
	list = slices.DeleteFunc(list, func(m registrar.RunMetric) bool { return first != nil && (m.Step < *first || m.Step > *last) })
	slices.SortStableFunc(list, func(a, b registrar.RunMetric) int {
		switch {
		case a.Step < b.Step:
			return -1
		case a.Step > b.Step:
			return 1
		}
		return 0
	})
	var steps []int64
	for _, m := range list {
		if len(steps) == 0 || steps[len(steps)-1] != m.Step {
			steps = append(steps, m.Step)
		}
	}
	if len(steps) <= limit {
		return list
	}
	keep := map[int64]bool{steps[0]: true, steps[len(steps)-1]: true}
	for i := range limit {
		keep[steps[i*len(steps)/limit]] = true
	}
	return slices.DeleteFunc(list, func(m registrar.RunMetric) bool { return !keep[m.Step] })
}
