package pedigree

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestCheckLogSchema(t *testing.T) {
	for _, tt := range []struct{ schema, want string }{
		{`{"properties": {"request": {"type": "object", "required": ["amount"], "properties": {"amount": {"type": "number"}}}}}`, ""},
		{`{"$ref": "#/$defs/line", "$defs": {"line": {"properties": {"prediction": {"type": ["number", "null"]}}}}}`, ""},
		{`{"allOf": [{"properties": {"response": true}}, {"required": ["instance"]}]}`, ""},
		{`{"properties": {"request": {"$ref": "urn:pedigree:prediction:v1#/$defs/number"}}}`, ""},
		{`{"properties": {"request": {"$ref": "https://example.com/request.json"}}}`, ""},
		{`7`, "not a JSON object"},
		{`null`, "not a JSON object"},
		{`{"properties": {"request": {}}`, "not a JSON object"},
		{`{"type": "array", "properties": {"request": {}}}`, "takes no object"},
		{`{"properties": {"request": {}}, "additionalProperties": false}`, "allows no other fields"},
		{`{"type": "object", "properties": {"amount": {"type": "number"}}}`, "says nothing of request"},
		{`{"properties": {"request": {}}, "required": ["amount"]}`, `requires the field "amount"`},
		{`{"properties": {"request": {"type": "float"}}}`, "#/properties/request/type is not one of"},
		{`{"properties": {"request": {"type": 7}}}`, "#/properties/request/type is not a type"},
		{`{"properties": {"request": {"required": "amount"}}}`, "#/properties/request/required is not a list of names"},
		{`{"properties": {"request": {"items": {"properties": []}}}}`, "#/properties/request/items: want an object"},
		{`{"properties": {"request": {"anyOf": [7]}}}`, "#/properties/request/anyOf/0: want an object"},
		{`{"properties": {"request": {"$ref": "#/$defs/none"}}}`, "there is nothing at #/$defs/none"},
		{`{"properties": {"request": {"$comment": "` + strings.Repeat("x", MaxLogSchema) + `"}}}`, "the limit is 65536"},
	} {
		err := CheckLogSchema(json.RawMessage(tt.schema))
		switch {
		case tt.want == "" && err != nil:
			t.Errorf("%s: %v", tt.schema, err)
		case tt.want != "" && (CodeOf(err) != CodeInvalid || !strings.Contains(err.Error(), tt.want)):
			t.Errorf("%s: got %v, want something with %q", clip(tt.schema), err, tt.want)
		}
	}
}

func TestSignatureFills(t *testing.T) {
	column := func(name, typ string, shape ...int64) Column { return Column{Name: name, Type: typ, Shape: shape} }
	sig := &Signature{
		Inputs:  []Column{column("amount", "double"), column("age", "long"), column("country", "string"), {Name: "note", Type: "string", Optional: true}},
		Outputs: []Column{column("score", "float64"), column("label", "string")},
		Params:  []Column{column("threshold", "double")},
	}
	scalar := &Signature{Inputs: sig.Inputs, Outputs: []Column{column("", "double")}}
	tensor := &Signature{Inputs: []Column{column("", "float64", -1, 30)}, Outputs: []Column{column("", "int64", -1)}}
	image := &Signature{Inputs: []Column{column("pixels", "uint8", -1, 28, 28), column("weight", "float32", -1, 1)}}
	request := func(s string) string { return `{"properties": {"request": ` + s + `}}` }
	prediction := func(s string) string { return `{"properties": {"prediction": ` + s + `}}` }
	for _, tt := range []struct {
		name   string
		sig    *Signature
		schema string
		want   []string
	}{
		{"no schema", sig, ``, nil},
		{"an open schema", sig, `{"properties": {"request": true}}`, nil},
		{"what it takes", sig, request(`{"type": "object", "required": ["amount", "age", "country"], "properties": {"amount": {"type": "number"}, "age": {"type": "integer"}, "country": {"enum": ["DE", "FR"]}}}`), nil},
		{"a parameter", sig, request(`{"required": ["threshold"]}`), nil},
		{"a missing input", sig, request(`{"required": ["amount", "income"]}`), []string{"request.income is required, and the signature has no such input"}},
		{"a misspelt input", sig, request(`{"required": ["amout"]}`), []string{"request.amout is required, and the signature has no such input (but amount)"}},
		{"a wrong type", sig, request(`{"properties": {"amount": {"type": "string"}}}`), []string{"request.amount is string in the schema, and double in the signature"}},
		{"a wrong enum", sig, request(`{"properties": {"country": {"enum": [1, 2]}}}`), []string{"request.country is integer in the schema, and string in the signature"}},
		{"a wrong const", sig, request(`{"properties": {"country": {"const": null}}}`), []string{"request.country is null in the schema, and string in the signature"}},
		{"whole numbers for a double", sig, request(`{"properties": {"amount": {"type": "integer"}}}`), nil},
		{"numbers for a long", sig, request(`{"properties": {"age": {"type": "number"}}}`), nil},
		{"fractions for a long", sig, request(`{"properties": {"age": {"enum": [0.5, 1.5]}}}`), []string{"request.age is nothing in the schema, and long in the signature"}},
		{"NaN allowed", sig, request(`{"properties": {"amount": {"$ref": "urn:pedigree:prediction:v1#/$defs/number"}}}`), nil},
		{"null allowed", sig, request(`{"properties": {"amount": {"anyOf": [{"type": "number"}, {"type": "null"}]}}}`), nil},
		{"optional and wrong", sig, request(`{"properties": {"amount": {"anyOf": [{"type": "string"}, {"type": "null"}]}}}`), []string{"request.amount is string or null in the schema, and double in the signature"}},
		{
			"a reference", sig, `{"properties": {"request": {"$ref": "#/$defs/Request"}}, "$defs": {"Request": {"required": ["income"], "properties": {"amount": {"$ref": "#/$defs/Money"}}}, "Money": {"type": "object"}}}`,
			[]string{"request.income is required, and the signature has no such input", "request.amount is object in the schema, and double in the signature"},
		},
		{
			"a loop", sig, `{"properties": {"request": {"$ref": "#/$defs/r"}}, "$defs": {"r": {"allOf": [{"$ref": "#/$defs/r"}, {"$ref": "#/$defs/r"}], "required": ["income"]}}}`,
			[]string{"request.income is required, and the signature has no such input"},
		},
		{"no room for an input", sig, request(`{"additionalProperties": false, "properties": {"amount": {}, "age": {}}}`), []string{"the signature needs the input country, and the schema allows no such field in the request"}},
		{"no signature", nil, request(`{"required": ["b", "a"]}`), []string{"request requires a, b, and the version records no inputs in its signature"}},
		{"no signature, nothing required", nil, request(`{"properties": {"a": {"type": "string"}}}`), nil},
		{"no names", tensor, request(`{"required": ["a", "b", "c", "d", "e", "f"]}`), []string{"request requires a, b, c, d and 2 more, and the inputs of the signature have no names"}},
		{"tensors", image, request(`{"properties": {"pixels": {"type": "array", "items": {"type": "array", "items": {"type": "integer"}}}, "weight": {"type": "number"}}}`), nil},
		{"a flat tensor", image, request(`{"properties": {"pixels": {"type": "array", "items": {"type": "integer"}}, "weight": {"type": "array", "items": {"type": "number"}}}}`), []string{"request.pixels is integer in the schema, and an array of uint8 in the signature"}},
		{"wrong elements", image, request(`{"properties": {"weight": {"type": "array", "items": {"type": "string"}}}}`), []string{"request.weight is string in the schema, and float32 in the signature"}},
		{"outputs by name", sig, prediction(`{"type": "object", "required": ["score"], "properties": {"score": {"type": "number"}}}`), nil},
		{"a missing output", sig, prediction(`{"required": ["probability"]}`), []string{"prediction.probability is required, and the signature has no such output"}},
		{"a scalar", scalar, prediction(`{"type": "number"}`), nil},
		{"a wrong scalar", scalar, prediction(`{"type": "string"}`), []string{"prediction is string in the schema, and double in the signature"}},
		{"one value a row", tensor, prediction(`{"type": "integer"}`), nil},
		{"the response is the service's", sig, `{"properties": {"response": {"required": ["decision"]}}}`, nil},
		{"an unknown type", &Signature{Inputs: []Column{column("a", "geometry")}}, request(`{"required": ["a"], "properties": {"a": {"type": "boolean"}}}`), nil},
		{"not a schema", sig, request(`{"type": "float"}`), []string{"the log schema is not one: #/properties/request/type is not one of null, boolean, integer, number, string, array, object"}},
	} {
		checkEqual(t, tt.name, SignatureFills(tt.sig, json.RawMessage(tt.schema)), tt.want)
	}
}

func FuzzSignatureFills(f *testing.F) {
	f.Add(`{"properties": {"request": {"$ref": "#/$defs/r"}}, "$defs": {"r": {"allOf": [{"$ref": "#/$defs/r"}, {"$ref": "#/$defs/r"}], "required": ["income"]}}}`)
	f.Add(`{"properties": {"request": {"anyOf": [{"type": "object", "properties": {"a": {"enum": [1, null]}}}, {"items": {"oneOf": [false]}}]}, "prediction": {"const": 1e5}}}`)
	sig := &Signature{Inputs: []Column{{Name: "a", Type: "double"}, {Name: "b", Type: "long", Shape: []int64{-1, 2}}}, Outputs: []Column{{Type: "string"}}}
	f.Fuzz(func(t *testing.T, schema string) {
		_ = CheckLogSchema(json.RawMessage(schema))
		SignatureFills(sig, json.RawMessage(schema))
	})
}
