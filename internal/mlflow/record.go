package mlflow

import (
	"encoding/json"
	"io"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"

	"go.yaml.in/yaml/v3"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/internal/registrar"
)

// Tags by which a client of MLflow fills what MLflow has no word for.
const (
	ownerTag    = "pedigree.owner"
	imageTag    = "pedigree.image"
	targetTag   = "pedigree.target"
	rollbackTag = "pedigree.rollback_note"
	dataTag     = "pedigree.data." // and a role
)

// record makes the record of a version from all that is known of its source: the run,
// the logged model, the files, and the tags, of which those of the version itself come
// last.
func (d *Dialect) record(c *call, o *origin, tags map[string]string, runLink string) (pedigree.Record, error) {
	r := pedigree.Record{}
	source, err := pedigree.ParseSafeURI(o.source)
	if err != nil {
		return r, err
	}
	if o.copied != nil {
		r = o.copied.Record
		r.Parents = append(slices.Clone(r.Parents), pedigree.Parent{Relation: pedigree.DerivedFrom, Reference: o.copied.Reference().In(c.project).String()})
	}
	if o.run != nil {
		fillRun(&r, o.run)
	}
	if o.model != nil {
		fillModel(&r, o.model)
	}
	if err := d.fillFiles(c, &r, o); err != nil {
		return r, err
	}
	if o.linked {
		r.Artifact.Kind = pedigree.ArtifactLinked
	}
	r.Artifact.URI = source
	if o.runID != "" || runLink != "" {
		run := pedigree.Run{ID: o.runID, System: "mlflow"}
		if r.Run != nil {
			run = *r.Run
		}
		if run.URI, err = pedigree.ParseSafeURI(runLink); err != nil {
			return r, err
		}
		r.Run = &run
	}
	for _, key := range sortedKeys(tags) {
		if _, err := applyTag(&r, key, tags[key]); err != nil {
			return r, err
		}
	}
	return r, nil
}

// applyTag fills the field of a record that a tag stands for; typed says that it is such
// a tag. It returns an error for a value that the field can't have.
func applyTag(r *pedigree.Record, key, value string) (typed bool, err error) {
	switch key {
	case ownerTag:
		r.Owner = value
	case imageTag:
		if r.Runtime == nil {
			r.Runtime = &pedigree.Runtime{}
		} else {
			again := *r.Runtime
			r.Runtime = &again
		}
		r.Runtime.Image = value
	case targetTag:
		if value != "" {
			if _, err := pedigree.ParseTarget(value); err != nil {
				return true, err
			}
		}
		r.Target = value
	case rollbackTag:
		r.RollbackNote = value
	default:
		role, ok := strings.CutPrefix(key, dataTag)
		if !ok || role == "" || value == "" {
			return false, nil
		}
		ref, err := parseData(role, value)
		if err != nil {
			return true, err
		}
		r.Data = append(slices.DeleteFunc(slices.Clone(r.Data), func(old pedigree.DataReference) bool { return old.Role == role && old.URI == ref.URI }), ref)
	}
	return true, nil
}

var queryStart = regexp.MustCompile(`(?is)^\s*(select|with|from)\s`)

// parseData reads what a tag says of data: a URI, with "@sha256:…" where its digest is
// known, a query, or the JSON of a data reference.
func parseData(role, value string) (pedigree.DataReference, error) {
	ref := pedigree.DataReference{Role: role, Kind: pedigree.DataSnapshot}
	if strings.HasPrefix(strings.TrimSpace(value), "{") {
		if err := json.Unmarshal([]byte(value), &ref); err != nil {
			return ref, invalid("The tag '%s%s' is not the JSON of a data reference: %s", dataTag, role, clip(err.Error()))
		}
		ref.Role = role
		return ref, nil
	}
	if query, ok := strings.CutPrefix(value, "query:"); ok || queryStart.MatchString(value) {
		ref.Kind, ref.Query = pedigree.DataQuery, strings.TrimSpace(query)
		return ref, nil
	}
	lower := strings.ToLower(value)
	switch {
	case strings.HasPrefix(lower, "features:"), strings.HasPrefix(lower, "feast:"):
		ref.Kind = pedigree.DataFeatures
	case strings.HasPrefix(lower, "lineage:"), strings.HasPrefix(lower, "openlineage:"):
		ref.Kind = pedigree.DataLineage
	}
	if i := strings.LastIndex(value, "@sha256:"); i >= 0 {
		digest, err := pedigree.ParseDigest(value[i+1:])
		if err != nil {
			return ref, err
		}
		value, ref.Digest = value[:i], digest
	}
	var err error
	ref.URI, err = pedigree.ParseSafeURI(value)
	return ref, err
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

// fillRun takes parameters, metrics, code, data and who and when from a run.
func fillRun(r *pedigree.Record, run *registrar.Run) {
	tags := map[string]string{}
	for _, t := range run.Tags {
		tags[t.Key] = t.Value
	}
	started := time.UnixMilli(run.Start).UTC()
	r.Run = &pedigree.Run{
		ID: run.ID, Name: fit(run.Name, pedigree.MaxURI), System: "mlflow",
		User: fit(cmpOr(run.User, tags["mlflow.user"]), pedigree.MaxURI), StartedAt: &started,
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

// fillTags fills what the tags of a run or a logged model say in our words; a value that
// the field can't have is left out.
func fillTags(r *pedigree.Record, tags []registrar.KeyValue) {
	for _, t := range tags {
		next := *r
		if typed, err := applyTag(&next, t.Key, t.Value); typed && err == nil {
			*r = next
		}
	}
}

func cmpOr(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

func runtimeOf(r *pedigree.Record) *pedigree.Runtime {
	if r.Runtime == nil {
		r.Runtime = &pedigree.Runtime{}
	}
	return r.Runtime
}

func addParams(r *pedigree.Record, params []registrar.KeyValue) {
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

// addMetric adds the latest value of a metric; what a model was measured on tells two of
// one name apart.
func addMetric(r *pedigree.Record, m registrar.RunMetric) {
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
func addDataset(r *pedigree.Record, set registrar.RunDataset) {
	ref := pedigree.DataReference{Kind: pedigree.DataSnapshot, Version: fit(set.Digest, pedigree.MaxURI)}
	for _, t := range set.Tags {
		if t.Key == registrar.DatasetContext {
			ref.Role = t.Value
		}
	}
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

// fillModel takes parameters, metrics and tags from a logged model.
func fillModel(r *pedigree.Record, m *registrar.LoggedModel) {
	addParams(r, m.Params)
	for _, metric := range m.Metrics {
		addMetric(r, metric)
	}
	fillTags(r, m.Tags)
}

// maxDescription is the most bytes of a file that is read for the record.
const maxDescription = 1 << 20

// fillFiles makes a stored artifact of the files of a source, and takes what they say of
// signature, environment and data.
func (d *Dialect) fillFiles(c *call, r *pedigree.Record, o *origin) error {
	if o.files == "" {
		return nil
	}
	files, err := d.registrar.FilesUnder(c.ctx(), c.principal, c.project, o.files)
	switch pedigree.CodeOf(err) {
	case pedigree.CodeNotFound:
		return nil
	case pedigree.CodeUnsupported: // a run whose files are elsewhere
		o.linked = true
		return nil
	}
	if err != nil || len(files) == 0 {
		return err
	}
	r.Artifact = pedigree.Artifact{Kind: pedigree.ArtifactStored, Files: files}
	for _, f := range files {
		addCopy(r, f)
		switch f.Path {
		case "MLmodel", "requirements.txt", "python_env.yaml":
		default:
			continue
		}
		if f.Size > maxDescription {
			continue
		}
		b, err := d.registrar.OpenUnder(c.ctx(), c.principal, c.project, o.files, f.Path)
		if err != nil {
			return err
		}
		text, err := io.ReadAll(io.LimitReader(b, maxDescription))
		_ = b.Close()
		if err != nil {
			return err
		}
		fillFile(r, f, text)
	}
	return nil
}

// addCopy records data that lies among the files: whoever looks must see that it is
// there, and how large it is.
func addCopy(r *pedigree.Record, f pedigree.File) {
	role := ""
	switch path.Base(f.Path) {
	case "input_example.json", "serving_input_example.json", "serving_input_payload.json":
		role = "example"
	}
	switch strings.ToLower(path.Ext(f.Path)) {
	case ".csv", ".parquet":
		role = "copy"
	}
	if role != "" {
		r.Data = append(r.Data, pedigree.DataReference{Role: role, Kind: pedigree.DataCopy, URI: uri(f.Path), Digest: f.Digest, Size: &f.Size})
	}
}

// fillFile takes what one of MLflow's own files says. One that can't be read says
// nothing.
func fillFile(r *pedigree.Record, f pedigree.File, content []byte) {
	switch f.Path {
	case "MLmodel":
		var m struct {
			Signature struct{ Inputs, Outputs, Params string }
		}
		if yaml.Unmarshal(content, &m) != nil {
			return
		}
		s := pedigree.Signature{Inputs: columns(m.Signature.Inputs), Outputs: columns(m.Signature.Outputs), Params: columns(m.Signature.Params)}
		if len(s.Inputs)+len(s.Outputs)+len(s.Params) > 0 {
			r.Signature = &s
		}
	case "requirements.txt":
		env := environmentOf(r)
		env.Manager, env.File, env.Digest, env.Packages = "pip", f.Path, f.Digest, nil
		for line := range strings.Lines(string(content)) {
			line = strings.TrimSpace(line)
			if line != "" && !strings.HasPrefix(line, "#") {
				if u := uri(line); u != "" {
					env.Packages = append(env.Packages, string(u))
				}
			}
		}
	case "python_env.yaml":
		var env struct{ Python string }
		if yaml.Unmarshal(content, &env) == nil {
			environmentOf(r).Python = fit(env.Python, pedigree.MaxKey)
		}
	}
}

func environmentOf(r *pedigree.Record) *pedigree.Environment {
	if runtimeOf(r).Environment == nil {
		r.Runtime.Environment = &pedigree.Environment{}
	}
	return r.Runtime.Environment
}

// columns reads the columns of an MLflow signature: JSON inside of the YAML.
func columns(text string) []pedigree.Column {
	var raw []struct {
		Name     string          `json:"name"`
		Type     json.RawMessage `json:"type"`
		Required *bool           `json:"required"`
		Optional bool            `json:"optional"`
		Shape    []int64         `json:"shape"`
		Tensor   struct {
			DType string  `json:"dtype"`
			Shape []int64 `json:"shape"`
		} `json:"tensor-spec"`
	}
	if text == "" || json.Unmarshal([]byte(text), &raw) != nil {
		return nil
	}
	out := make([]pedigree.Column, 0, len(raw))
	for _, c := range raw {
		col := pedigree.Column{Name: fit(c.Name, pedigree.MaxURI), Shape: c.Shape, Optional: c.Optional || c.Required != nil && !*c.Required}
		if json.Unmarshal(c.Type, &col.Type) != nil {
			col.Type = string(c.Type)
		}
		if col.Type == "tensor" {
			col.Type, col.Shape = c.Tensor.DType, c.Tensor.Shape
		}
		col.Type = fit(col.Type, pedigree.MaxURI)
		out = append(out, col)
	}
	return out
}
