package mlflow

import (
	"bytes"
	"encoding/json"
	"path"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/pedigree-ml/pedigree/internal/registrar"
)

// trackingRoutes are the endpoints of experiments, runs and logged models.
func (d *Dialect) trackingRoutes() []Route {
	var routes []Route
	for _, part := range [][]Route{d.experimentRoutes(), d.runRoutes(), d.metricRoutes(), d.inputRoutes(), d.loggedModelRoutes()} {
		routes = append(routes, part...)
	}
	return routes
}

// Limits of MLflow, in characters and in items.
const (
	maxKey             = 250
	maxParamValue      = 6000
	maxRunTagValue     = 8000
	maxExperimentTag   = 20000
	maxExperimentName  = 500
	maxBatchMetrics    = 1000
	maxBatchOthers     = 100
	maxBatch           = 1000
	maxSearchResults   = 50000
	defaultResults     = 1000
	maxLocation        = 2048
	bodyOfBatch        = 8 << 20 // a full batch of the longest values
	bodyOfInputs       = 32 << 20
	maxDatasetName     = 500
	maxDatasetDigest   = 36
	maxDatasetSource   = 65535
	maxDatasetSchema   = 1048575
	maxDatasetProfile  = 16777215
	maxInputTagKey     = 255
	maxInputTagValue   = 500
	maxHistoryResults  = 25000
	maxHistoryRuns     = 100
	defaultLoggedModel = 100
)

// pair is a tag or a parameter on the wire.
type pair struct {
	Key   *string `json:"key"`
	Value *string `json:"value"`
}

// pairOut is one that is answered.
type pairOut struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

func pairsOut(kvs []registrar.KeyValue) []pairOut {
	var out []pairOut
	for _, kv := range kvs {
		out = append(out, pairOut(kv))
	}
	return out
}

func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// missingAt is MLflow's error for what is missing inside a list.
func missingAt(path string) error { return missing(path) }

// pairsIn reads a list of pairs, named name in errors, with a check of each.
func pairsIn(name string, in []pair, check func(path string, key, value string) (registrar.KeyValue, error)) ([]registrar.KeyValue, error) {
	out := make([]registrar.KeyValue, 0, len(in))
	for i, p := range in {
		path := name + "[" + strconv.Itoa(i) + "]"
		if text(p.Key) == "" {
			return nil, missingAt(path + ".key")
		}
		kv, err := check(path, *p.Key, text(p.Value))
		if err != nil {
			return nil, err
		}
		out = append(out, kv)
	}
	return out, nil
}

var runKeyPattern = regexp.MustCompile(`^[/\p{L}\p{N}_.\- :]*$`)

// plainKey says that a key is one that [checkKey] takes, without asking its pattern: of
// letters, digits, _ and -, as nearly all are.
func plainKey(key string) bool {
	for i := range len(key) {
		switch c := key[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '_', c == '-':
		default:
			return false
		}
	}
	return key != ""
}

// checkKey checks the key of a metric, a parameter or a tag.
func checkKey(parameter, key string) error {
	if !runKeyPattern.MatchString(key) {
		return invalid("Invalid value %s for parameter '%s' supplied: Names may only contain alphanumerics, underscores (_), dashes (-), periods (.), spaces ( ), colon(:) and slashes (/).", quoteJSON(key), parameter)
	}
	if norm := path.Clean(key); norm != key || norm == "." || strings.HasPrefix(norm, "..") || strings.HasPrefix(norm, "/") {
		return invalid("Invalid value %s for parameter '%s' supplied: Names may be treated as files in certain cases, and must not resolve to other names when treated as such. This name would resolve to '%s'", quoteJSON(key), parameter, clip(norm))
	}
	return nil
}

func quoteJSON(v any) string {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return `""`
	}
	return clip(strings.TrimSuffix(b.String(), "\n"))
}

// checkLength checks a length in characters.
func checkLength(what string, limit int, s string) error {
	if len(s) > limit && utf8.RuneCountInString(s) > limit {
		return invalid("'%s' exceeds the maximum length of %d characters", what, limit)
	}
	return nil
}

// truncate cuts a text to a number of characters: MLflow's servers cut what is too long
// to be stored.
func truncate(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	n := 0
	for i := range s {
		if n == limit {
			return s[:i]
		}
		n++
	}
	return s
}

// checkParam checks a parameter; prefix stands before the names in errors.
func checkParam(prefix, key, value string) (registrar.KeyValue, error) {
	if err := checkKey(joinName(prefix, "key"), key); err != nil {
		return registrar.KeyValue{}, err
	}
	return registrar.KeyValue{Key: key, Value: truncate(value, maxParamValue)}, checkLength("Param key", maxKey, key)
}

// checkRunTag checks a tag of a run.
func checkRunTag(prefix, key, value string) (registrar.KeyValue, error) {
	name := joinName(prefix, "key")
	if err := checkKey(name, key); err != nil {
		return registrar.KeyValue{}, err
	}
	return registrar.KeyValue{Key: key, Value: truncate(value, maxRunTagValue)}, checkLength(name, maxKey, key)
}

// checkExperimentTag checks a tag of an experiment, whose errors have no prefix.
func checkExperimentTag(_, key, value string) (registrar.KeyValue, error) {
	if err := checkKey("key", key); err != nil {
		return registrar.KeyValue{}, err
	}
	if err := checkLength("key", maxKey, key); err != nil {
		return registrar.KeyValue{}, err
	}
	return registrar.KeyValue{Key: key, Value: value}, checkLength("value", maxExperimentTag, value)
}

func joinName(prefix, name string) string {
	if prefix == "" {
		return name
	}
	return prefix + "." + name
}

// experimentID reads the id of an experiment; "" is the default one.
func experimentID(s string) (int64, error) {
	if s == "" {
		return 0, nil
	}
	id, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return 0, invalid("Invalid experiment ID '%s'. Experiment ID must be a valid integer.", clip(s))
	}
	return id, nil
}

func experimentIDs(ids []string) ([]int64, error) {
	out := make([]int64, 0, len(ids))
	for _, s := range ids {
		id, err := experimentID(s)
		if err != nil {
			return nil, err
		}
		out = append(out, id)
	}
	return out, nil
}

// enumOf reads an enum: its name, or its number, also as text. It reports 0 for an
// absent one.
func enumOf(name string, raw any, names map[string]int64) (int64, error) {
	if raw == nil {
		return 0, nil
	}
	if list, ok := raw.([]string); ok && len(list) > 0 {
		raw = list[0]
	}
	if s, ok := raw.(string); ok {
		if n, ok := names[s]; ok {
			return n, nil
		}
	}
	if n, ok := wholeNumber(raw); ok {
		for _, known := range names {
			if known == n {
				return n, nil
			}
		}
	}
	return 0, invalidValue(name, raw)
}

// viewOf reads a view_type.
func viewOf(name string, raw any) (registrar.View, error) {
	n, err := enumOf(name, raw, map[string]int64{"ACTIVE_ONLY": 1, "DELETED_ONLY": 2, "ALL": 3})
	switch n {
	case 2:
		return registrar.ViewDeleted, err
	case 3:
		return registrar.ViewAll, err
	}
	return registrar.ViewActive, err
}

// checkResults checks max_results of a search.
func checkResults(n int64) (int, error) {
	switch {
	case n < 1:
		return 0, invalid("Invalid value %d for parameter 'max_results' supplied. It must be a positive integer", n)
	case n > maxSearchResults:
		return 0, invalid("Invalid value %d for parameter 'max_results' supplied. It must be at most %d", n, maxSearchResults)
	}
	return int(n), nil
}
