package pedigree

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestComparePredictions(t *testing.T) {
	for _, tt := range []struct {
		name, logged, again string
		tolerance           float64
		outcome             Outcome
		difference          float64 // -1: none
		at, reason          string
	}{
		{"the same text", `{"score": 0.5}`, `{"score": 0.5}`, 0, OutcomeIdentical, -1, "", ""},
		{"another order and form", `{"a": 1, "b": [1.50, true, null]}`, `{"b":[15e-1,true,null],"a":1.0}`, 0, OutcomeIdentical, -1, "", ""},
		{"NaN", `["NaN"]`, `["NaN"]`, 0, OutcomeIdentical, -1, "", ""},
		{"a little more", `{"score": 0.5}`, `{"score": 0.5000000001}`, 1e-9, OutcomeWithin, 1.000000082740371e-10, "score", ""},
		{"relatively little", `1000000`, `1000000.0001`, 1e-9, OutcomeWithin, 0.00009999994654208422, "", ""},
		{"without tolerance", `0.5`, `0.5000000001`, 0, OutcomeDifferent, 1.000000082740371e-10, "", ""},
		{"the largest", `{"a": 1, "b": [2, 3]}`, `{"a": 1.5, "b": [2, 4]}`, 1e-9, OutcomeDifferent, 1, "b[1]", ""},
		{"whole numbers that floats can't tell apart", `9007199254740993`, `9007199254740992`, 0, OutcomeDifferent, 1, "", ""},
		{"a text", `{"label": "a", "score": 1}`, `{"label": "b", "score": 1}`, 1, OutcomeDifferent, -1, "", "label is another text now"},
		{"a boolean", `true`, `false`, 1, OutcomeDifferent, -1, "", "the prediction is another boolean now"},
		{"another kind", `{"x": [0.5]}`, `{"x": 0.5}`, 1, OutcomeDifferent, -1, "", "x was a list and is a number now"},
		{"not a number any more", `0.5`, `"NaN"`, 1, OutcomeDifferent, -1, "", "the prediction was a number and is a text now"},
		{"a field less", `{"a": 1, "b": 2}`, `{"a": 1}`, 1, OutcomeDifferent, -1, "", "b was logged and is not there now"},
		{"a field more", `{"a": 1}`, `{"a": 1, "b": 2}`, 1, OutcomeDifferent, -1, "", "b is there now and was not logged"},
		{"a longer list", `[1]`, `[1, 2]`, 1, OutcomeDifferent, -1, "", "was a list of 1 and is one of 2 now"},
		{"null", `null`, `{}`, 1, OutcomeDifferent, -1, "", "was null and is an object now"},
		{"overflow", `1e400`, `1e399`, 1, OutcomeDifferent, -1, "", "too large to compare"},
		{"not JSON", `{`, `1`, 1, OutcomeCannot, -1, "", "the logged prediction is not JSON"},
		{"not JSON again", `1`, `NaN`, 1, OutcomeCannot, -1, "", "the new prediction is not JSON"},
	} {
		r := ComparePredictions(json.RawMessage(tt.logged), json.RawMessage(tt.again), tt.tolerance)
		got := -1.0
		if r.Difference != nil {
			got = float64(*r.Difference)
		}
		if r.Outcome != tt.outcome || r.At != tt.at || !strings.Contains(r.Reason, tt.reason) || tt.reason == "" && r.Reason != "" || got != tt.difference {
			t.Errorf("%s: got %+v (%v), want %s %v at %q %q", tt.name, r, got, tt.outcome, tt.difference, tt.at, tt.reason)
		}
	}
}

func FuzzComparePredictions(f *testing.F) {
	f.Add(`{"a": [1, "x", null]}`, `{"a": [1.5, "y", {}]}`)
	f.Fuzz(func(t *testing.T, a, b string) {
		r := ComparePredictions(json.RawMessage(a), json.RawMessage(b), 1e-9)
		if _, err := json.Marshal(r); err != nil {
			t.Fatal(err)
		}
		if same := ComparePredictions(json.RawMessage(a), json.RawMessage(a), 0); same.Outcome != OutcomeIdentical && same.Outcome != OutcomeCannot {
			t.Fatalf("%s differs from itself: %+v", a, same)
		}
	})
}
