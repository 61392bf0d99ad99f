package prediction_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/internal/prediction"
)

const head = `{"schema":"pedigree.prediction/v1","id":"r-1","time":"2026-11-24T09:00:00Z","model":"fraud","version":7,"prediction":1,"request":`

func compile(t *testing.T, text string) *prediction.Schema {
	t.Helper()
	s, err := prediction.CompileSchema("the test", json.RawMessage(text))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// doubling is a schema that is visited twice for every level of an object.
const doubling = `{"$defs": {"node": {"%s": [{"properties": {"a": {"$ref": "#/$defs/node"}}}, {"properties": {"a": {"$ref": "#/$defs/node"}}}]}}, "properties": {"request": {"$ref": "#/$defs/node"}}}`

// nested is a request of many levels.
func nested(levels int) string {
	return strings.Repeat(`{"a":`, levels) + "{}" + strings.Repeat("}", levels)
}

// TestEnds: a schema and a line that were made for each other keep nobody busy.
func TestEnds(t *testing.T) {
	for _, tt := range []struct{ name, schema string }{
		{"all of", fmt.Sprintf(doubling, "allOf")},
		{"any of", strings.Replace(fmt.Sprintf(doubling, "anyOf"), `"node": {`, `"node": {"minProperties": 1, `, 1)},
		{"one of", fmt.Sprintf(doubling, "oneOf")},
		{"not", `{"$defs": {"node": {"not": {"anyOf": [{"required": ["a"], "properties": {"a": {"$ref": "#/$defs/node"}}}, {"required": ["a"], "properties": {"a": {"$ref": "#/$defs/node"}}}]}}}, "properties": {"request": {"$ref": "#/$defs/node"}}}`},
		{"types that differ", `{"$defs": {"node": {"anyOf": [{"allOf": [{"properties": {"a": {"$ref": "#/$defs/node"}}}, {"type": "string"}]}, {"allOf": [{"properties": {"a": {"$ref": "#/$defs/node"}}}, {"type": "string"}]}]}}, "properties": {"request": {"$ref": "#/$defs/node"}}}`},
		{"by doubling references", `{"$defs": {` + doublings(40) + `"d40": {}}, "properties": {"request": {"$ref": "#/$defs/d0"}}}`},
	} {
		s := compile(t, tt.schema)
		check := prediction.Check{Schema: s, Listed: 1, Steps: 1000}
		_, err := check.Read(context.Background(), "the log", strings.NewReader(head+"{}}\n"+head+nested(60)+"}\n"))
		if pedigree.CodeOf(err) != pedigree.CodeTooLarge || !strings.Contains(err.Error(), "as far as line") {
			t.Errorf("%s: got %v", tt.name, err)
		}
	}
}

// TestSlowLine: a line that takes too long is a bad one, and the next is compared as if it
// had not been.
func TestSlowLine(t *testing.T) {
	check := prediction.Check{Schema: compile(t, fmt.Sprintf(doubling, "allOf")), Listed: 9}
	got, err := check.Read(context.Background(), "the log", strings.NewReader(head+nested(60)+"}\n"+head+nested(3)+"}\n"))
	if err != nil || got.Lines != 2 || got.Bad != 1 || got.Problems[0].Line != 1 || got.Problems[0].Problems[0] != "it takes too long to compare with the log schema of the test" {
		t.Errorf("got %+v, %v", got, err)
	}
}

// doublings are definitions each of which refers twice to the next.
func doublings(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `"d%d": {"allOf": [{"$ref": "#/$defs/d%d"}, {"$ref": "#/$defs/d%d"}]}, `, i, i+1, i+1)
	}
	return b.String()
}

// TestLargeLine: a line of numbers, as large as one may be, is compared.
func TestLargeLine(t *testing.T) {
	s := compile(t, `{"properties": {"request": {"properties": {"embedding": {"type": "array", "items": {"type": "number", "maximum": 10}}}}}}`)
	numbers := strings.Repeat("1.25,", 200_000)
	line := head + `{"embedding":[` + numbers + `11]}}`
	p, err := pedigree.ParsePrediction([]byte(line))
	if err != nil {
		t.Fatal(err)
	}
	if got := s.Problems([]byte(line), &p); len(got) != 1 || got[0] != "request.embedding.200000: maximum: got 11, want 10" {
		t.Errorf("got %q", got)
	}
	bad := head + `{"embedding":[` + strings.Repeat("12,", 100_000) + `11]}}`
	if got := s.Problems([]byte(bad), &p); len(got) != 20 {
		t.Errorf("got %d problems, want the first 20", len(got))
	}
}

// TestSchemas are schemas that are refused; what is not one is told by the commands' test.
func TestSchemas(t *testing.T) {
	for _, tt := range []struct{ schema, want string }{
		{`{"properties": {"request": {"$dynamicRef": "#node"}}, "$defs": {"n": {"$dynamicAnchor": "node"}}}`, "$dynamicRef"},
		{`{"properties": {"request": {"$ref": "https://json-schema.org/draft/2020-12/schema"}}}`, "$dynamicRef"},
		{`{"properties": {"request": {"$ref": "#/$defs/none"}}}`, "there is nothing at #/$defs/none"},
		{`{"properties": {"request": {"minLength": "x"}}}`, "is not a JSON Schema"},
		{`{"properties": {"request": {"$ref": "file:///etc/passwd"}}}`, "is not fetched"},
	} {
		if _, err := prediction.CompileSchema("the test", json.RawMessage(tt.schema)); pedigree.CodeOf(err) != pedigree.CodeInvalid || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want %q", tt.schema, err, tt.want)
		}
	}
}
