package prediction

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
	"golang.org/x/text/language"
	"golang.org/x/text/message"

	"github.com/pedigree-ml/pedigree"
)

// Schema is a log schema, compiled. It is for one goroutine at a time.
type Schema struct {
	text json.RawMessage
	// of names it in a sentence.
	of       string
	target   pedigree.TargetName // "" for one that is no target's
	compiled *jsonschema.Schema
	left     int64 // schemas that may still be visited for the line
}

// schemaURL is what a log schema is called that does not name itself.
const schemaURL = "urn:pedigree:log-schema"

// lineSteps is the most schemas that are visited for one line. A line of numbers alone,
// as large as a line may be, takes about as many.
const lineSteps = 500_000

// maxViolations is the most that is said about one line.
const maxViolations = 20

// TargetSchema compiles the log schema of a target. A target without one has that of all
// predictions; its lines may still be of another target. It returns
// [pedigree.CodeInvalid].
func TargetSchema(t *pedigree.Target) (*Schema, error) {
	text := t.LogSchema
	if len(text) == 0 {
		text = json.RawMessage(`{"properties": {"request": true}}`)
	}
	s, err := CompileSchema(string(t.Name), text)
	if err == nil {
		s.target = t.Name
	}
	return s, err
}

// CompileSchema compiles a log schema; of names it in errors. It returns
// [pedigree.CodeInvalid] for what is no JSON Schema or no log schema, and for references
// that lead out of it.
func CompileSchema(of string, text json.RawMessage) (*Schema, error) {
	if err := pedigree.CheckLogSchema(text); err != nil {
		return nil, err
	}
	c := jsonschema.NewCompiler()
	c.UseLoader(noLoader{})
	c.AssertFormat()
	for url, text := range map[string]json.RawMessage{"urn:pedigree:prediction:v1": pedigree.PredictionSchema(), schemaURL: text} {
		doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
		if err == nil {
			err = c.AddResource(url, doc)
		}
		if err != nil {
			return nil, pedigree.Errorf(pedigree.CodeInvalid, "the log schema of %s: %w", of, err)
		}
	}
	compiled, err := c.Compile(schemaURL)
	if err != nil {
		why := err.Error()
		var invalid *jsonschema.SchemaValidationError
		var wrong *jsonschema.ValidationError
		if errors.As(err, &invalid) && errors.As(invalid.Err, &wrong) {
			why = strings.Join(violations(wrong, nil), "; ")
		}
		return nil, pedigree.Errorf(pedigree.CodeInvalid, "the log schema of %s is not a JSON Schema: %s", of, cut(why, 300))
	}
	s := &Schema{text: text, of: of, compiled: compiled}
	if !s.count(compiled, map[*jsonschema.Schema]bool{}) {
		return nil, pedigree.Errorf(pedigree.CodeInvalid, "the log schema of %s has a $dynamicRef or $recursiveRef, which are not followed", of).WithFix("write $ref")
	}
	return s, nil
}

// noLoader reads nothing: a schema that had to be fetched would be another one tomorrow.
type noLoader struct{}

// Load implements [jsonschema.URLLoader].
func (noLoader) Load(url string) (any, error) {
	return nil, fmt.Errorf("%s is not fetched; put it into $defs of the schema", url)
}

// tooManySteps ends a comparison that takes too long.
type tooManySteps struct{}

// count makes every visit of sch, and of the schemas that it leads to, count. The library
// looks at the format of a schema before it goes on to others, so that is where a visit is
// noticed; one whose type is another already has gone nowhere. It reports false for a
// reference whose end is only known while a line is compared.
func (s *Schema) count(sch *jsonschema.Schema, seen map[*jsonschema.Schema]bool) bool {
	if sch == nil || seen[sch] {
		return true
	}
	seen[sch] = true
	if sch.DynamicRef != nil || sch.RecursiveRef != nil {
		return false
	}
	format := jsonschema.Format{Validate: func(any) error { return nil }}
	if sch.Format != nil {
		format = *sch.Format
	}
	validate := format.Validate
	format.Validate = func(v any) error {
		if s.left--; s.left < 0 {
			panic(tooManySteps{}) // an error would be lost in a not
		}
		return validate(v)
	}
	sch.Format = &format
	next := []*jsonschema.Schema{
		sch.Ref, sch.Not, sch.If, sch.Then, sch.Else, sch.PropertyNames, sch.UnevaluatedProperties, sch.Contains, sch.Items2020, sch.UnevaluatedItems, sch.ContentSchema,
	}
	next = slices.Concat(next, sch.AllOf, sch.AnyOf, sch.OneOf, sch.PrefixItems)
	for _, more := range []map[string]*jsonschema.Schema{sch.Properties, sch.DependentSchemas} {
		for _, v := range more {
			next = append(next, v)
		}
	}
	for _, v := range sch.PatternProperties {
		next = append(next, v)
	}
	mixed := []any{sch.AdditionalProperties, sch.Items, sch.AdditionalItems}
	for _, v := range sch.Dependencies {
		mixed = append(mixed, v)
	}
	for _, v := range mixed {
		switch v := v.(type) {
		case *jsonschema.Schema:
			next = append(next, v)
		case []*jsonschema.Schema:
			next = append(next, v...)
		}
	}
	return !slices.ContainsFunc(next, func(n *jsonschema.Schema) bool { return !s.count(n, seen) })
}

// Joined is a schema of what fits both the form of all predictions and s. The log schema
// gets a name of its own, so that its references stay within it.
func (s *Schema) Joined() (json.RawMessage, error) {
	var object map[string]json.RawMessage
	if err := json.Unmarshal(s.text, &object); err != nil {
		return nil, err
	}
	if object["$id"] == nil {
		object["$id"] = json.RawMessage(`"` + schemaURL + `"`)
	}
	return json.Marshal(struct {
		Schema string `json:"$schema"`
		AllOf  []any  `json:"allOf"`
	}{"https://json-schema.org/draft/2020-12/schema", []any{pedigree.PredictionSchema(), object}})
}

// Problems says what of a line, which p was read from, does not fit; the first twenty
// things.
func (s *Schema) Problems(line []byte, p *pedigree.Prediction) []string {
	problems, _ := s.problems(line, p, lineSteps)
	return problems
}

// problems is Problems within steps; it also returns how many it took.
func (s *Schema) problems(line []byte, p *pedigree.Prediction, steps int64) (out []string, took int64) {
	if s.target != "" && p.Target != "" && p.Target != s.target {
		return []string{fmt.Sprintf("target: it is of %s", p.Target)}, 0
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(line))
	if err != nil {
		return []string{err.Error()}, 0
	}
	s.left = steps
	defer func() {
		took = steps - s.left
		if e := recover(); e != nil {
			if _, ok := e.(tooManySteps); !ok {
				panic(e)
			}
			out = []string{fmt.Sprintf("it takes too long to compare with the log schema of %s", s.of)}
		}
	}()
	err = s.compiled.Validate(value)
	var wrong *jsonschema.ValidationError
	switch {
	case err == nil:
		return nil, 0
	case !errors.As(err, &wrong):
		return []string{err.Error()}, 0
	}
	return violations(wrong, nil), 0
}

var schemaPrinter = message.NewPrinter(language.English)

// violations adds the sentences of what failed at the bottom to out: "request.amount: got
// string, want number".
func violations(e *jsonschema.ValidationError, out []string) []string {
	if len(out) >= maxViolations {
		return out
	}
	text := ""
	if len(e.Causes) == 0 {
		text = e.ErrorKind.LocalizedString(schemaPrinter)
		if len(e.InstanceLocation) > 0 {
			text = strings.Join(e.InstanceLocation, ".") + ": " + text
		}
	} else if _, ok := e.ErrorKind.(*kind.Not); ok {
		text = strings.Join(e.InstanceLocation, ".") + ": " + e.ErrorKind.LocalizedString(schemaPrinter)
	}
	if text != "" {
		if text = cut(text, 200); !slices.Contains(out, text) {
			out = append(out, text)
		}
		return out
	}
	for _, cause := range e.Causes {
		out = violations(cause, out)
	}
	return out
}

func cut(s string, n int) string {
	if r := []rune(s); len(r) > n {
		return string(r[:n-1]) + "…"
	}
	return s
}
