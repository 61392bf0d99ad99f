package pedigree

import (
	"encoding/json"
	"math"
	"testing"
)

func TestParseVersionNumber(t *testing.T) {
	for _, tt := range []struct {
		in   string
		want VersionNumber
	}{
		{"1", 1},
		{"42", 42},
		{"9223372036854775807", math.MaxInt64},
		{"", 0},
		{"0", 0},
		{"-1", 0},
		{"+1", 0},
		{"01", 0},
		{"1.0", 0},
		{"1e3", 0},
		{" 1", 0},
		{"9223372036854775808", 0},
		{"1_000", 0},
		{"١", 0},
	} {
		got, err := ParseVersionNumber(tt.in)
		checkEqual(t, tt.in, got, tt.want)
		if tt.want == 0 {
			checkCode(t, tt.in, err, CodeInvalid)
		} else {
			checkCode(t, tt.in, err, "")
			checkEqual(t, tt.in, got.String(), tt.in)
		}
	}
}

func TestFloatJSON(t *testing.T) {
	for _, tt := range []struct {
		in   string
		want float64
		out  string
	}{
		{"0.91", 0.91, "0.91"},
		{"1e3", 1000, "1000"},
		{"-5", -5, "-5"},
		{`"0.5"`, 0.5, "0.5"},
		{`"NaN"`, math.NaN(), `"NaN"`},
		{`"nan"`, math.NaN(), `"NaN"`},
		{`"Infinity"`, math.Inf(1), `"Infinity"`},
		{`"-Infinity"`, math.Inf(-1), `"-Infinity"`},
		{`"inf"`, math.Inf(1), `"Infinity"`},
	} {
		var f Float
		checkCode(t, tt.in, json.Unmarshal([]byte(tt.in), &f), "")
		if float64(f) != tt.want && !(math.IsNaN(float64(f)) && math.IsNaN(tt.want)) {
			t.Errorf("%s: got %v, want %v", tt.in, f, tt.want)
		}
		checkEqual(t, tt.in, string(marshal(f)), tt.out)
		again, err := ParseFloat(f.String())
		if err != nil || again.String() != f.String() {
			t.Errorf("%s: String %q reads %v, %v", tt.in, f, again, err)
		}
	}
	for _, bad := range []string{"null", `""`, `"x"`, "true", "[]", "{}", "1e999", `"1,5"`} {
		var f Float
		if err := json.Unmarshal([]byte(bad), &f); err == nil {
			t.Errorf("%s: got %v, want an error", bad, f)
		}
	}
	var m Metric
	if err := json.Unmarshal([]byte(`{"name":"auc","value":null}`), &m); err == nil {
		t.Errorf("a metric of null is read as %v", m.Value)
	}
	var r Runtime
	if err := json.Unmarshal([]byte(`{"seconds":null}`), &r); err != nil || r.Seconds != nil {
		t.Errorf("seconds of null: got %v, %v", r.Seconds, err)
	}
}

func FuzzFloatJSON(f *testing.F) {
	for _, s := range []string{"0", "-0", "0.1", "1e308", "5e-324", `"NaN"`, `"Infinity"`, `"-Infinity"`, `"0x1p-2"`, "null", `"1_0"`, `"+inf"`, `"\u004eaN"`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var v Float
		if json.Unmarshal([]byte(s), &v) != nil {
			return
		}
		out, err := json.Marshal(v)
		if err != nil {
			t.Fatalf("%s: %v", s, err)
		}
		var again Float
		if err := json.Unmarshal(out, &again); err != nil || math.Float64bits(float64(again)) != math.Float64bits(float64(v)) && again == again {
			t.Errorf("%s: %v writes %s, which reads %v, %v", s, v, out, again, err)
		}
		if text, err := ParseFloat(v.String()); err != nil || text != v && text == text {
			t.Errorf("%s: text %q reads %v, %v", s, v, text, err)
		}
	})
}
