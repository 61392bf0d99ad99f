package pedigree

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// kinds is a set of the kinds of JSON values. A whole number is a kind of its own: an
// integer column takes it, and so does one of floating point.
type kinds uint8

const (
	kindNull kinds = 1 << iota
	kindBoolean
	kindWhole
	kindFraction
	kindString
	kindArray
	kindObject

	kindNumber = kindWhole | kindFraction
	kindAny    = kindNull | kindBoolean | kindNumber | kindString | kindArray | kindObject
)

var schemaTypes = map[string]kinds{
	"null": kindNull, "boolean": kindBoolean, "integer": kindWhole, "number": kindNumber,
	"string": kindString, "array": kindArray, "object": kindObject,
}

// columnTypes are the types of columns by the names that MLflow, numpy and pandas give
// them; what is not here may be anything.
var columnTypes = map[string]kinds{
	"boolean": kindBoolean, "bool": kindBoolean,
	"integer": kindWhole, "long": kindWhole, "short": kindWhole, "byte": kindWhole, "int": kindWhole,
	"int8": kindWhole, "int16": kindWhole, "int32": kindWhole, "int64": kindWhole,
	"uint8": kindWhole, "uint16": kindWhole, "uint32": kindWhole, "uint64": kindWhole,
	"float": kindNumber, "double": kindNumber, "number": kindNumber, "decimal": kindNumber,
	"float16": kindNumber, "float32": kindNumber, "float64": kindNumber,
	"string": kindString, "str": kindString, "text": kindString, "binary": kindString, "category": kindString,
	"datetime": kindString, "date": kindString, "timestamp": kindString,
	"map": kindObject, "array": kindArray,
}

func (k kinds) String() string {
	var names []string
	for _, t := range []struct {
		kind kinds
		name string
	}{
		{kindObject, "object"}, {kindArray, "array"}, {kindString, "string"}, {kindNumber, "number"}, {kindWhole, "integer"}, {kindBoolean, "boolean"}, {kindNull, "null"},
	} {
		if k&t.kind == t.kind && !(t.kind == kindWhole && k&kindFraction != 0) {
			names = append(names, t.name)
		}
	}
	if len(names) == 0 {
		return "nothing"
	}
	return strings.Join(names, " or ")
}

// shape is the part of a JSON Schema that a signature is compared with: type, enum,
// properties, required, items, whether other properties are refused, and what is behind
// allOf, anyOf, oneOf and references inside of the schema.
type shape struct {
	kinds      kinds
	properties map[string]*shape
	required   []string
	closed     bool // additionalProperties is false
	items      *shape
}

// numberRef is the number of the schema of a prediction, for the schemas of targets.
const numberRef = "urn:pedigree:prediction:v1#/$defs/number"

// shapeReader reads the shape of a schema. steps bounds what references that meet again
// and again can cost.
type shapeReader struct {
	root  json.RawMessage
	steps int
}

func (r *shapeReader) read(raw json.RawMessage, place string, depth int) (*shape, error) {
	wrong := func(keyword, want string) error {
		return Errorf(CodeInvalid, "the log schema is not one: %s/%s is not %s", place, keyword, want)
	}
	s := &shape{kinds: kindAny}
	if r.steps++; depth > 32 || r.steps > 10_000 {
		return s, nil // as good as not said
	}
	switch string(bytes.TrimSpace(raw)) {
	case "true":
		return s, nil
	case "false":
		s.kinds = 0
		return s, nil
	}
	var k struct {
		Ref        *string                    `json:"$ref"`
		Type       json.RawMessage            `json:"type"`
		Enum       []json.RawMessage          `json:"enum"`
		Const      json.RawMessage            `json:"const"`
		Properties map[string]json.RawMessage `json:"properties"`
		Required   json.RawMessage            `json:"required"`
		Additional json.RawMessage            `json:"additionalProperties"`
		Items      json.RawMessage            `json:"items"`
		AllOf      []json.RawMessage          `json:"allOf"`
		AnyOf      []json.RawMessage          `json:"anyOf"`
		OneOf      []json.RawMessage          `json:"oneOf"`
	}
	if err := json.Unmarshal(raw, &k); err != nil || bytes.TrimSpace(raw)[0] != '{' {
		return nil, Errorf(CodeInvalid, "the log schema is not one: %s: want an object of JSON Schema", place)
	}
	if len(k.Type) > 0 {
		var names []string
		var one string
		if json.Unmarshal(k.Type, &one) == nil {
			names = []string{one}
		} else if json.Unmarshal(k.Type, &names) != nil {
			return nil, wrong("type", "a type or a list of types")
		}
		s.kinds = 0
		for _, name := range names {
			kind, ok := schemaTypes[name]
			if !ok {
				return nil, wrong("type", "one of null, boolean, integer, number, string, array, object")
			}
			s.kinds |= kind
		}
	}
	if k.Const != nil {
		k.Enum = append(k.Enum, k.Const)
	}
	if k.Enum != nil {
		var values kinds
		for _, v := range k.Enum {
			values |= kindsOf(v)
		}
		s.kinds &= values
	}
	if len(k.Required) > 0 && json.Unmarshal(k.Required, &s.required) != nil {
		return nil, wrong("required", "a list of names")
	}
	s.closed = string(bytes.TrimSpace(k.Additional)) == "false"
	for _, name := range slices.Sorted(maps.Keys(k.Properties)) {
		property, err := r.read(k.Properties[name], place+"/properties/"+clip(name), depth+1)
		if err != nil {
			return nil, err
		}
		if s.properties == nil {
			s.properties = map[string]*shape{}
		}
		s.properties[name] = property
	}
	if items := bytes.TrimSpace(k.Items); len(items) > 0 && items[0] != '[' {
		var err error
		if s.items, err = r.read(k.Items, place+"/items", depth+1); err != nil {
			return nil, err
		}
	}
	if k.Ref != nil {
		other, err := r.follow(*k.Ref, depth)
		if err != nil {
			return nil, err
		}
		s.and(other)
	}
	for i, part := range k.AllOf {
		other, err := r.read(part, place+"/allOf/"+strconv.Itoa(i), depth+1)
		if err != nil {
			return nil, err
		}
		s.and(other)
	}
	for _, either := range []struct {
		keyword string
		parts   []json.RawMessage
	}{{"anyOf", k.AnyOf}, {"oneOf", k.OneOf}} {
		if len(either.parts) == 0 {
			continue
		}
		union := &shape{}
		for i, part := range either.parts {
			other, err := r.read(part, place+"/"+either.keyword+"/"+strconv.Itoa(i), depth+1)
			if err != nil {
				return nil, err
			}
			union.or(other)
		}
		s.and(union)
	}
	return s, nil
}

// follow reads what a reference names, where that is inside of the schema.
func (r *shapeReader) follow(ref string, depth int) (*shape, error) {
	if ref == numberRef {
		return &shape{kinds: kindNumber | kindString}, nil
	}
	pointer, ok := strings.CutPrefix(ref, "#")
	if !ok || pointer != "" && pointer[0] != '/' {
		return &shape{kinds: kindAny}, nil
	}
	here := r.root
	for _, segment := range strings.Split(pointer, "/")[1:] {
		var object map[string]json.RawMessage
		segment = strings.NewReplacer("~1", "/", "~0", "~").Replace(segment)
		if json.Unmarshal(here, &object) != nil || object[segment] == nil {
			return nil, Errorf(CodeInvalid, "the log schema is not one: there is nothing at %s", clip(ref))
		}
		here = object[segment]
	}
	return r.read(here, clip(ref), depth+1)
}

// and makes s what both say.
func (s *shape) and(other *shape) {
	s.kinds &= other.kinds
	s.required = append(s.required, other.required...)
	s.closed = s.closed || other.closed
	for name, property := range other.properties {
		if mine := s.properties[name]; mine != nil {
			mine.and(property)
			continue
		}
		if s.properties == nil {
			s.properties = map[string]*shape{}
		}
		s.properties[name] = property
	}
	if s.items == nil {
		s.items = other.items
	}
}

// or makes s what either says. What is said of properties and items is kept where only
// one speaks of objects or arrays: "this or null".
func (s *shape) or(other *shape) {
	if s.kinds&(kindObject|kindArray) == 0 {
		s.properties, s.required, s.closed, s.items = other.properties, other.required, other.closed, other.items
	} else if other.kinds&(kindObject|kindArray) != 0 {
		s.properties, s.required, s.closed, s.items = nil, nil, false, nil
	}
	s.kinds |= other.kinds
}

// kindsOf is the kind of one value.
func kindsOf(value json.RawMessage) kinds {
	switch v := bytes.TrimSpace(value); {
	case len(v) == 0:
		return 0
	case v[0] == '{':
		return kindObject
	case v[0] == '[':
		return kindArray
	case v[0] == '"':
		return kindString
	case v[0] == 't' || v[0] == 'f':
		return kindBoolean
	case v[0] == 'n':
		return kindNull
	case bytes.ContainsAny(v, ".eE"):
		return kindFraction
	}
	return kindWhole
}

func readShape(schema json.RawMessage) (*shape, error) {
	r := &shapeReader{root: schema}
	return r.read(schema, "#", 0)
}

// CheckLogSchema checks that a target's schema is one that every logged prediction there
// can be compared with: a JSON Schema of the whole line ([Prediction]) that says
// something of request, prediction or response, and leaves room for the other fields. It
// returns [CodeInvalid]; keywords that it does not know are for whoever validates to
// judge.
func CheckLogSchema(schema json.RawMessage) error {
	if len(schema) > MaxLogSchema {
		return Errorf(CodeInvalid, "the log schema has %d bytes, the limit is %d", len(schema), MaxLogSchema)
	}
	var object map[string]json.RawMessage
	if json.Unmarshal(schema, &object) != nil || object == nil {
		return Errorf(CodeInvalid, "the log schema is not a JSON object: want a JSON Schema")
	}
	s, err := readShape(schema)
	if err != nil {
		return err
	}
	const form = `write {"properties": {"request": …, "prediction": …}}`
	switch {
	case s.kinds&kindObject == 0:
		return Errorf(CodeInvalid, "the log schema takes no object, and a logged prediction is one").WithFix(form)
	case s.closed:
		return Errorf(CodeInvalid, "the log schema allows no other fields, and a logged prediction also has schema, id, time …").
			WithFix(`take "additionalProperties": false out of the outermost object; that of the request may stay`)
	case s.properties["request"] == nil && s.properties["prediction"] == nil && s.properties["response"] == nil:
		return Errorf(CodeInvalid, "the log schema says nothing of request, prediction or response").WithFix(form)
	}
	for _, name := range s.required {
		if !slices.Contains(predictionFields, name) {
			return Errorf(CodeInvalid, "the log schema requires the field %q, which a logged prediction does not have", clip(name)).
				WithFix(`require it of the request: {"properties": {"request": {"required": […]}}}`)
		}
	}
	return nil
}

// SignatureFills says what keeps a version with this signature from being logged as a
// target's schema demands, one sentence each; nothing where nothing does. What the schema
// says of the request is compared with the inputs, what it says of the prediction with
// the outputs; the response is the service's, not the model's. A schema that it can't
// read gives one sentence that says so.
//
// It finds names that the schema requires and the signature does not have, inputs that
// are needed and that the schema does not allow, and types that no value can have both
// of. It reads the part of JSON Schema that these need; what is beyond it is taken to
// fit.
func SignatureFills(sig *Signature, schema json.RawMessage) []string {
	if len(schema) == 0 {
		return nil
	}
	s, err := readShape(schema)
	if err != nil {
		return []string{asMessage(err)}
	}
	request, prediction := s.properties["request"], s.properties["prediction"]
	if sig == nil {
		sig = &Signature{}
	}
	var out []string
	if request != nil {
		out = append(out, request.fill("request", "input", sig.Inputs, sig.Params)...)
	}
	if prediction != nil && (prediction.kinds&kindObject != 0 && len(prediction.properties)+len(prediction.required) > 0) {
		out = append(out, prediction.fill("prediction", "output", sig.Outputs, nil)...)
	} else if prediction != nil && len(sig.Outputs) == 1 {
		out = append(out, prediction.hold("prediction", &sig.Outputs[0])...)
	}
	return out
}

func asMessage(err error) string {
	if e, ok := err.(*Error); ok {
		return e.Message
	}
	return err.Error()
}

// fill compares an object with columns; optional ones need not be there.
func (s *shape) fill(where, noun string, columns, optional []Column) []string {
	byName := map[string]*Column{}
	unnamed := len(columns) > 0
	for _, list := range [][]Column{columns, optional} {
		for i := range list {
			if name := list[i].Name; name != "" {
				byName[name] = &list[i]
				unnamed = false
			}
		}
	}
	required := slices.Compact(slices.Sorted(slices.Values(s.required)))
	switch {
	case len(required) > 0 && len(columns)+len(optional) == 0:
		return []string{fmt.Sprintf("%s requires %s, and the version records no %ss in its signature", where, someNames(required), noun)}
	case unnamed:
		if len(required) == 0 {
			return nil
		}
		return []string{fmt.Sprintf("%s requires %s, and the %ss of the signature have no names", where, someNames(required), noun)}
	}
	var out []string
	for _, name := range required {
		if byName[name] == nil {
			e := fmt.Sprintf("%s.%s is required, and the signature has no such %s", where, name, noun)
			if near := Misspelt(name, slices.Sorted(maps.Keys(byName)), 4); near != "" {
				e += " (but " + near + ")"
			}
			out = append(out, e)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(s.properties)) {
		if column := byName[name]; column != nil {
			out = append(out, s.properties[name].hold(where+"."+name, column)...)
		}
	}
	if s.closed && noun == "input" {
		for i := range columns {
			if c := &columns[i]; c.Name != "" && !c.Optional && s.properties[c.Name] == nil {
				out = append(out, fmt.Sprintf("the signature needs the input %s, and the schema allows no such field in the %s", c.Name, where))
			}
		}
	}
	return out
}

// hold compares a value with one column.
func (s *shape) hold(where string, c *Column) []string {
	want, ok := columnTypes[strings.ToLower(c.Type)]
	if !ok {
		return nil
	}
	elements, depth := s, 0
	if dimensions := c.Shape; len(dimensions) > 0 {
		if dimensions[0] == -1 { // the rows
			dimensions = dimensions[1:]
		}
		depth = len(dimensions)
		if depth == 0 || !slices.ContainsFunc(dimensions, func(n int64) bool { return n != 1 }) {
			if s.kinds&kindArray == 0 { // one value, with or without brackets around it
				depth = 0
			}
		}
	}
	for range depth {
		if elements.kinds&kindArray == 0 {
			return []string{fmt.Sprintf("%s is %s in the schema, and an array of %s in the signature", where, elements.kinds, c.Type)}
		}
		if elements = elements.items; elements == nil {
			return nil
		}
	}
	if elements.kinds&want == 0 {
		return []string{fmt.Sprintf("%s is %s in the schema, and %s in the signature", where, elements.kinds, c.Type)}
	}
	return nil
}

// someNames lists the first few of names.
func someNames(names []string) string {
	if len(names) > 5 {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:4], ", "), len(names)-4)
	}
	return strings.Join(names, ", ")
}
