package mlrecord

import (
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/pedigree-ml/pedigree"
)

// MaxFile is the most bytes of a file that is read for the record.
const MaxFile = 1 << 20

// The files that say something of the model beside which they lie.
const (
	modelFile        = "MLmodel"
	requirementsFile = "requirements.txt"
	pythonFile       = "python_env.yaml"
)

// Described says whether [FillFile] takes something from a file, and so needs its
// content.
func Described(f pedigree.File) bool {
	return (f.Path == modelFile || f.Path == requirementsFile || f.Path == pythonFile) && f.Size <= MaxFile
}

// Content is a file whose bytes are stored, with its text where that says something of
// the model.
type Content struct {
	pedigree.File
	Text []byte
}

// FillContent makes a stored artifact of files, and takes what they say.
func FillContent(r *pedigree.Record, files []Content) {
	r.Artifact.Kind = pedigree.ArtifactStored
	for _, f := range files {
		r.Artifact.Files = append(r.Artifact.Files, f.File)
		AddCopy(r, f.File)
		if f.Text != nil {
			FillFile(r, f.File, f.Text)
		}
	}
}

// AddCopy records data that lies among the files: whoever looks must see that it is
// there, and how large it is.
func AddCopy(r *pedigree.Record, f pedigree.File) {
	role := ""
	switch path.Base(f.Path) {
	case "input_example.json", "serving_input_example.json", "serving_input_payload.json":
		role = "example"
	}
	switch strings.ToLower(path.Ext(f.Path)) {
	case ".csv", ".parquet":
		role = "copy"
	}
	addCopy(r, role, f)
}

func addCopy(r *pedigree.Record, role string, f pedigree.File) {
	if role == "" || slices.ContainsFunc(r.Data, func(d pedigree.DataReference) bool { return d.Kind == pedigree.DataCopy && d.URI == uri(f.Path) }) {
		return
	}
	r.Data = append(r.Data, pedigree.DataReference{Role: role, Kind: pedigree.DataCopy, URI: uri(f.Path), Digest: f.Digest, Size: &f.Size})
}

// loggedTag is where clients note what they logged in a form of their own; a table is
// data, whatever its file is called.
const loggedTag = "mlflow.loggedArtifacts"

// AddTables records the tables that a run logged and that are among the files of r, which
// were taken from source.
func AddTables(r *pedigree.Record, run *Run, source string) {
	folder, ok := strings.CutPrefix(source, run.ArtifactURI)
	if !ok {
		folder, ok = strings.CutPrefix(source, "runs:/"+run.ID)
	}
	if !ok {
		return
	}
	folder = strings.Trim(folder, "/")
	for _, t := range run.Tags {
		var logged []struct{ Path, Type string }
		if t.Key != loggedTag || json.Unmarshal([]byte(t.Value), &logged) != nil {
			continue
		}
		for _, l := range logged {
			for _, f := range r.Artifact.Files {
				if l.Type == "table" && (path.Join(folder, f.Path) == l.Path || folder == l.Path) {
					addCopy(r, "table", f)
				}
			}
		}
	}
}

// FillFile takes what one of MLflow's own files says: signature and flavors from MLmodel,
// packages from requirements.txt, the interpreter from python_env.yaml. One that can't
// be read says nothing.
func FillFile(r *pedigree.Record, f pedigree.File, content []byte) {
	switch f.Path {
	case modelFile:
		fillModelFile(r, content)
	case requirementsFile:
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
	case pythonFile:
		var env struct{ Python string }
		if yaml.Unmarshal(content, &env) == nil && env.Python != "" {
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

// fillModelFile takes signature and flavors from an MLmodel file.
func fillModelFile(r *pedigree.Record, content []byte) {
	var m struct {
		Signature struct{ Inputs, Outputs, Params string }
		Flavors   map[string]map[string]any
	}
	if yaml.Unmarshal(content, &m) != nil {
		return
	}
	s := pedigree.Signature{Inputs: columns(m.Signature.Inputs), Outputs: columns(m.Signature.Outputs), Params: columns(m.Signature.Params)}
	if len(s.Inputs)+len(s.Outputs)+len(s.Params) > 0 {
		r.Signature = &s
	}
	r.Flavors = nil
	python := ""
	for name, of := range m.Flavors {
		if _, err := pedigree.ParseKey("flavor", name); err != nil {
			continue
		}
		f := pedigree.Flavor{
			Name: name, Version: libraryVersion(name, of), Loader: flavorText(of["loader_module"]), Python: flavorText(of["python_version"]),
		}
		if f.Python != "" {
			python = f.Python
		}
		r.Flavors = append(r.Flavors, f)
	}
	slices.SortFunc(r.Flavors, func(a, b pedigree.Flavor) int { return strings.Compare(a.Name, b.Name) })
	if python != "" && (r.Runtime == nil || r.Runtime.Environment == nil || r.Runtime.Environment.Python == "") {
		environmentOf(r).Python = python
	}
}

// flavorText is a value of a flavor as text; YAML reads an unquoted 1.5 as a number.
func flavorText(v any) string {
	switch v := v.(type) {
	case string:
		return fit(v, pedigree.MaxURI)
	case int, float64:
		return fmt.Sprint(v)
	}
	return ""
}

// libraryVersion finds the version of a flavor's library: MLflow names the key after the
// library ("sklearn_version"), or after its short name ("xgb_version", "lgb_version").
func libraryVersion(name string, of map[string]any) string {
	if v := flavorText(of[name+"_version"]); v != "" {
		return v
	}
	var keys []string
	for key := range of {
		if strings.HasSuffix(key, "_version") && key != "python_version" {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	for _, key := range keys {
		if v := flavorText(of[key]); v != "" {
			return v
		}
	}
	return ""
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
