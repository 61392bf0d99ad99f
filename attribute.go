package pedigree

import (
	"bytes"
	"cmp"
	"encoding/json"
	"math"
	"strconv"
	"time"
)

// Attribute is one searchable value of a version, under the key that
// [FilterField.Attribute] returns for it. A key may have several values.
type Attribute struct {
	// Field is the field of the record, or of the event's payload, that it came from:
	// when that is replaced or erased, so are its attributes.
	Field string `json:"field"`
	// Key is the canonical key: "tags.team", "data.train.uri".
	Key string `json:"key"`
	// Text is the value as text; of a number as [Float.String] has it, of a bool
	// "true" or "false".
	Text string `json:"text"`
	// Number is the value of a number field. It is nil for text, and for NaN, with which
	// no comparison holds; ±Inf are ±[math.MaxFloat64], which every SQL database orders
	// alike.
	Number *float64 `json:"number,omitempty"`
}

// searchable is a record and what else of a registration can be searched.
type searchable struct {
	Record
	Tags        map[string]string
	Description string
	Imported    *Imported
}

// Attributes returns every searchable attribute of r, in the order of [RecordFields]
// and within a field in its own order, maps by key; no two are equal in Field, Key
// and Text. It is the concatenation of [FieldAttributes] over the fields.
func (r *Record) Attributes() []Attribute {
	s := searchable{Record: *r}
	return s.attributes()
}

// FieldAttributes returns the attributes of one field of a record, or of "tags" (a
// map), "description" or "imported", from its JSON, as an event's payload has it. A field that
// can't be searched, and one that is absent, null or erased, has none. It returns
// [CodeCorrupt] where the JSON is not that of the field.
func FieldAttributes(field string, raw json.RawMessage) ([]Attribute, error) {
	var s searchable
	to := s.field(field)
	if to == nil || len(bytes.TrimSpace(raw)) == 0 {
		return nil, nil
	}
	if err := json.Unmarshal(raw, to); err != nil {
		return nil, Errorf(CodeCorrupt, "field %s is not what a record has there: %w", field, err)
	}
	return s.attributes(), nil
}

// field returns where the JSON of a searchable field is read to, or nil.
func (s *searchable) field(name string) any {
	switch name {
	case "artifact":
		return &s.Artifact
	case "code":
		return &s.Code
	case "runtime":
		return &s.Runtime
	case "data":
		return &s.Data
	case "params":
		return &s.Params
	case "metrics":
		return &s.Metrics
	case "run":
		return &s.Run
	case "outputs":
		return &s.Outputs
	case "parents":
		return &s.Parents
	case "flavors":
		return &s.Flavors
	case "evidence":
		return &s.Evidence
	case "owner":
		return &s.Owner
	case "target":
		return &s.Target
	case "rollback_note":
		return &s.RollbackNote
	case "tags":
		return &s.Tags
	case "description":
		return &s.Description
	case "imported":
		return &s.Imported
	default: // a signature is not searched
		return nil
	}
}

// attributes emits the fields in the order of RecordFields; unset ones emit nothing.
func (s *searchable) attributes() []Attribute {
	b := attributeBuilder{}
	b.artifact(&s.Artifact)
	if c := s.Code; c != nil {
		b.field = "code"
		b.text("code.commit", c.Commit)
		b.text("code.repository", string(c.Repository))
		b.text("code.branch", c.Branch)
		b.text("code.path", c.Path)
		b.text("code.dirty", strconv.FormatBool(c.Dirty))
	}
	b.runtime(s.Runtime)
	for i := range s.Data {
		b.data(&s.Data[i])
	}
	b.field = "params"
	for _, k := range sortedKeys(s.Params) {
		b.value("params."+k, s.Params[k], nil)
	}
	b.field = "metrics"
	for _, m := range s.Metrics {
		b.value("metrics."+m.Name, m.Value.String(), sqlNumber(m.Value))
	}
	if r := s.Run; r != nil {
		b.field = "run"
		b.text("run.id", r.ID)
		b.text("run.user", r.User)
		b.text("run.uri", string(r.URI))
		b.text("run.system", r.System)
	}
	b.field = "outputs"
	for _, o := range s.Outputs {
		b.text("output.uri", string(o.URI))
		b.text("output.digest", string(o.Digest))
		b.text("output.name", o.Name)
	}
	b.field = "parents"
	for _, p := range s.Parents {
		if p.ModelID != "" {
			b.text("parent", VersionSubject(p.ModelID, p.Version))
		} else {
			b.text("parent", p.Reference) // not resolved: better than nothing
		}
		b.text("parent.uri", string(p.URI))
	}
	b.field = "flavors"
	for _, f := range s.Flavors {
		b.text("flavor.name", f.Name)
		b.text("flavor.version", f.requirement())
		b.text("flavor.loader", f.Loader)
	}
	b.field = "evidence"
	for _, e := range s.Evidence {
		b.text("evidence.name", e.Name)
		b.text("evidence.kind", e.Kind)
	}
	b.field = "owner"
	b.text("owner", s.Owner)
	b.field = "target"
	b.text("target", s.Target)
	b.field = "rollback_note"
	b.text("rollback_note", s.RollbackNote)
	b.field = "tags"
	for _, k := range sortedKeys(s.Tags) {
		b.value("tags."+k, s.Tags[k], nil)
	}
	b.field = "description"
	b.text("description", s.Description)
	if m := s.Imported; m != nil {
		b.field = "imported"
		b.text("imported.from", string(m.From))
		b.text("imported.id", m.ID)
		b.text("imported.author", m.Author)
		if m.CreatedAt != nil {
			b.text("imported.created_at", m.CreatedAt.UTC().Format(time.RFC3339Nano))
		}
	}
	return b.out
}

// attributeBuilder collects the attributes of one field after another.
type attributeBuilder struct {
	field string
	out   []Attribute
	seen  map[Attribute]bool // with Number nil
}

// value adds an attribute that is not there yet.
func (b *attributeBuilder) value(key, text string, number *float64) {
	a := Attribute{Field: b.field, Key: key, Text: text}
	if b.seen[a] {
		return
	}
	if b.seen == nil {
		b.seen = map[Attribute]bool{}
	}
	b.seen[a] = true
	a.Number = number
	b.out = append(b.out, a)
}

// text adds a text that is set.
func (b *attributeBuilder) text(key, text string) {
	if text != "" {
		b.value(key, text, nil)
	}
}

func (b *attributeBuilder) artifact(a *Artifact) {
	b.field = "artifact"
	b.text("artifact.digest", string(a.Digest))
	b.text("artifact.kind", string(a.Kind))
	b.text("artifact.uri", string(a.URI))
	if a.Size != nil {
		n := float64(*a.Size)
		b.value("artifact.size", strconv.FormatInt(*a.Size, 10), &n)
	}
	for i := range a.Files {
		b.text("file.path", a.Files[i].Path)
		b.text("file.digest", string(a.Files[i].Digest))
	}
}

func (b *attributeBuilder) runtime(r *Runtime) {
	if r == nil {
		return
	}
	b.field = "runtime"
	b.text("runtime.image", r.Image)
	if c := r.Compute; c != nil {
		b.text("runtime.instance_type", c.InstanceType)
		for _, gpu := range c.GPUs {
			b.text("runtime.gpu", gpu)
		}
	}
	if e := r.Environment; e != nil {
		b.text("runtime.environment", cmp.Or(e.Manager, e.File, "unknown"))
		b.text("runtime.python", e.Python)
		for _, p := range e.Packages {
			b.text("runtime.package", p)
		}
	}
}

// data emits each property of a data reference for itself and under its role.
func (b *attributeBuilder) data(d *DataReference) {
	b.field = "data"
	b.text("data.role", d.Role)
	personal := ""
	if d.Personal != nil {
		personal = strconv.FormatBool(*d.Personal)
	}
	for _, p := range []struct{ name, text string }{
		{"uri", string(d.URI)},
		{"digest", string(d.Digest)},
		{"version", d.Version},
		{"query", d.Query},
		{"kind", string(d.Kind)},
		{"personal", personal},
	} {
		b.text("data."+p.name, p.text)
		if d.Role != "" {
			b.text("data."+d.Role+"."+p.name, p.text)
		}
	}
}

// sqlNumber returns f as the attribute table has it.
func sqlNumber(f Float) *float64 {
	v := float64(f)
	if math.IsNaN(v) {
		return nil
	}
	v = max(min(v, math.MaxFloat64), -math.MaxFloat64)
	return &v
}
