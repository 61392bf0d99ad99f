package breastcancer

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"io/fs"
	"math"
	"os"
	"regexp"
	"strings"
	"testing"
)

var versions = []string{"v1", "v2"}

func loadVersion(t *testing.T, version string) *Model {
	t.Helper()
	f, err := Files.Open(version + "/model.json")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	m, err := Load(f)
	if err != nil {
		t.Fatalf("%s: %v", version, err)
	}
	return m
}

func loadSamples(t *testing.T) []Sample {
	t.Helper()
	samples, err := Samples()
	if err != nil {
		t.Fatal(err)
	}
	return samples
}

// text is a valid model.json for a model with two features.
const text = `{"features":["a","b"],"coefficients":[2,-1],"intercept":0.5,"classes":["no","yes"],"threshold":0.5}`

func TestPredictMatchesTraining(t *testing.T) {
	samples := loadSamples(t)
	if len(samples) != 8 {
		t.Fatalf("got %d samples, want 8", len(samples))
	}
	for _, version := range versions {
		m := loadVersion(t, version)
		for _, s := range samples {
			want, ok := s.Expected[version]
			if !ok {
				t.Fatalf("row %d has no expected probability for %s", s.Row, version)
			}
			got, label, err := m.Predict(s.Features)
			if err != nil {
				t.Fatalf("%s row %d: %v", version, s.Row, err)
			}
			if math.Abs(got-want) > 1e-9 {
				t.Errorf("%s row %d: got probability %v, train.py computed %v", version, s.Row, got, want)
			}
			wantLabel := "benign"
			if want >= m.Threshold {
				wantLabel = "malignant"
			}
			if label != wantLabel {
				t.Errorf("%s row %d: got label %q, want %q", version, s.Row, label, wantLabel)
			}
		}
	}
}

func TestSamplesAreUsable(t *testing.T) {
	v2 := loadVersion(t, "v2")
	seen := map[int]bool{}
	count := map[string]int{}
	for _, s := range loadSamples(t) {
		if seen[s.Row] {
			t.Errorf("row %d appears twice", s.Row)
		}
		seen[s.Row] = true
		count[s.Label]++
		if len(s.Features) != 30 {
			t.Errorf("row %d has %d features, want 30", s.Row, len(s.Features))
		}
		for _, name := range v2.Features {
			if _, ok := s.Features[name]; !ok {
				t.Errorf("row %d lacks %q", s.Row, name)
			}
		}
	}
	if count["benign"] == 0 || count["malignant"] == 0 || len(count) != 2 {
		t.Errorf("labels are %v, want some benign and some malignant", count)
	}
}

func TestVersionsUseDifferentFeatures(t *testing.T) {
	v1, v2 := loadVersion(t, "v1"), loadVersion(t, "v2")
	if len(v1.Features) != 10 || len(v2.Features) != 30 {
		t.Errorf("got %d and %d features, want 10 and 30", len(v1.Features), len(v2.Features))
	}
}

func TestPredictByHand(t *testing.T) {
	m, err := Load(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		a, b  float64
		p     float64
		label string
	}{
		{a: 0, b: 0.5, p: 0.5, label: "yes"}, // exactly on the threshold
		{a: 0.25, b: 0, p: 1 / (1 + math.Exp(-1)), label: "yes"},
		{a: 0, b: 1.5, p: 1 / (1 + math.E), label: "no"},
		{a: 1e6, b: 0, p: 1, label: "yes"},
		{a: -1e6, b: 0, p: 0, label: "no"},
	}
	for _, tt := range tests {
		p, label, err := m.Predict(map[string]float64{"a": tt.a, "b": tt.b, "unused": 9})
		if err != nil {
			t.Errorf("a=%v b=%v: %v", tt.a, tt.b, err)
			continue
		}
		if math.Abs(p-tt.p) > 1e-15 || label != tt.label {
			t.Errorf("a=%v b=%v: got %v %q, want %v %q", tt.a, tt.b, p, label, tt.p, tt.label)
		}
	}
}

func TestPredictErrors(t *testing.T) {
	m, err := Load(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name     string
		model    *Model
		features map[string]float64
		want     string
	}{
		{"missing", m, map[string]float64{"a": 1}, `feature "b" is missing`},
		{"none at all", m, nil, `feature "a" is missing`},
		{"NaN", m, map[string]float64{"a": math.NaN(), "b": 1}, `feature "a" is not a finite number`},
		{"infinite", m, map[string]float64{"a": 1, "b": math.Inf(-1)}, `feature "b" is not a finite number`},
		{"overflow", m, map[string]float64{"a": math.MaxFloat64, "b": 1}, "too large"},
		{"empty model", &Model{}, map[string]float64{"a": 1}, "no features"},
		{
			"model with NaN",
			&Model{Features: []string{"a"}, Coefficients: []float64{math.NaN()}, Classes: []string{"no", "yes"}, Threshold: 0.5},
			map[string]float64{"a": 1},
			`coefficient of "a" is not a finite number`,
		},
		{
			"model with infinite intercept",
			&Model{Features: []string{"a"}, Coefficients: []float64{1}, Intercept: math.Inf(1), Classes: []string{"no", "yes"}, Threshold: 0.5},
			map[string]float64{"a": 1},
			"intercept is not a finite number",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p, label, err := tt.model.Predict(tt.features)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("got error %v, want one containing %q", err, tt.want)
			}
			if p != 0 || label != "" {
				t.Errorf("got %v %q beside the error", p, label)
			}
		})
	}
}

func TestPredictNamesMissingRealFeature(t *testing.T) {
	features := loadSamples(t)[0].Features
	delete(features, "worst area")
	if _, _, err := loadVersion(t, "v2").Predict(features); err == nil || !strings.Contains(err.Error(), `"worst area"`) {
		t.Errorf("v2 without worst area: got error %v", err)
	}
	if _, _, err := loadVersion(t, "v1").Predict(features); err != nil {
		t.Errorf("v1 does not use worst area, but: %v", err)
	}
}

func TestLoadErrors(t *testing.T) {
	replace := func(old, new string) string {
		t.Helper()
		if !strings.Contains(text, old) {
			t.Fatalf("%q is not in the valid model", old)
		}
		return strings.Replace(text, old, new, 1)
	}
	tests := []struct{ name, json, want string }{
		{"empty", "", "unexpected end of JSON input"},
		{"cut short", text[:40], "unexpected end of JSON input"},
		{"not JSON", "features: [a]", "invalid character"},
		{"two objects", text + text, "invalid character"},
		{"wrong type", replace("[2,-1]", `["2","-1"]`), "cannot unmarshal string"},
		{"unknown field", replace(`{"features"`, `{"scale":1,"features"`), `unknown field "scale"`},
		{"NaN", replace("[2,-1]", "[NaN,-1]"), "invalid character"},
		{"number out of range", replace("[2,-1]", "[1e999,-1]"), "1e999"},
		{"JSON null", "null", "intercept is missing"},
		{"null coefficient", replace("[2,-1]", "[2,null]"), "coefficient 1 is null"},
		{"no intercept", replace(`"intercept":0.5,`, ""), "intercept is missing"},
		{"no features", replace(`["a","b"]`, "[]"), "no features"},
		{"fewer coefficients", replace("[2,-1]", "[2]"), "2 features but 1 coefficients"},
		{"more coefficients", replace("[2,-1]", "[2,-1,3]"), "2 features but 3 coefficients"},
		{"unnamed feature", replace(`"b"`, `""`), "feature 1 has no name"},
		{"repeated feature", replace(`"b"`, `"a"`), `feature "a" appears twice`},
		{"one class", replace(`["no","yes"]`, `["no"]`), "two different names"},
		{"equal classes", replace(`["no","yes"]`, `["no","no"]`), "two different names"},
		{"no threshold", replace(`,"threshold":0.5`, ""), "threshold must lie between 0 and 1"},
		{"threshold of one", replace(`"threshold":0.5`, `"threshold":1`), "threshold must lie between 0 and 1"},
		{"too large", text + strings.Repeat(" ", maxModelBytes), "larger than"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m, err := Load(strings.NewReader(tt.json))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("got error %v, want one containing %q", err, tt.want)
			}
			if m != nil {
				t.Error("got a model beside the error")
			}
		})
	}
}

func TestModelSurvivesRoundTrip(t *testing.T) {
	for _, version := range versions {
		m := loadVersion(t, version)
		data, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		again, err := Load(bytes.NewReader(data))
		if err != nil {
			t.Fatal(err)
		}
		sample := loadSamples(t)[0].Features
		p, _, _ := m.Predict(sample)
		q, _, err := again.Predict(sample)
		if err != nil || p != q {
			t.Errorf("%s: %v became %v (error %v)", version, p, q, err)
		}
	}
}

// TestONNXHoldsSameWeights finds the coefficients of model.json, as the raw
// little-endian float32 tensor that ONNX stores, inside model.onnx. It catches
// one file being replaced without the other.
func TestONNXHoldsSameWeights(t *testing.T) {
	for _, version := range versions {
		onnx, err := Files.ReadFile(version + "/model.onnx")
		if err != nil {
			t.Fatal(err)
		}
		m := loadVersion(t, version)
		for name, values := range map[string][]float64{"coefficients": m.Coefficients, "intercept": {m.Intercept}} {
			var raw []byte
			for _, v := range values {
				raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(float32(v)))
			}
			if !bytes.Contains(onnx, raw) {
				t.Errorf("%s/model.onnx does not hold the %s of model.json", version, name)
			}
		}
		if !bytes.Contains(onnx, []byte(strings.Join(m.Features, ","))) {
			t.Errorf("%s/model.onnx does not name the features of model.json", version)
		}
	}
}

// TestDocumentedMetrics keeps the two places that show metrics to a reader in
// step with the record file.
func TestDocumentedMetrics(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	pattern := regexp.MustCompile(`\{name: (\w+), value: ([0-9.]+), dataset: test, split: test\}`)
	for _, version := range versions {
		record, err := Files.ReadFile(version + ".record.yaml")
		if err != nil {
			t.Fatal(err)
		}
		card, err := Files.ReadFile(version + "/README.md")
		if err != nil {
			t.Fatal(err)
		}
		metrics := pattern.FindAllSubmatch(record, -1)
		if len(metrics) != 3 {
			t.Fatalf("%s.record.yaml has %d metrics, want 3", version, len(metrics))
		}
		for _, metric := range metrics {
			cell := append([]byte("| "), metric[2]...)
			cell = append(cell, " |"...)
			if !bytes.Contains(card, cell) {
				t.Errorf("%s/README.md does not show %s = %s", version, metric[1], metric[2])
			}
			if !bytes.Contains(readme, cell) {
				t.Errorf("README.md does not show %s = %s of %s", metric[1], metric[2], version)
			}
		}
	}
}

func TestFilesAreExactlyTheExample(t *testing.T) {
	want := map[string]bool{
		"v1/README.md": true, "v1/model.json": true, "v1/model.onnx": true,
		"v2/README.md": true, "v2/model.json": true, "v2/model.onnx": true,
		"v1.record.yaml": true, "v2.record.yaml": true,
		"samples.json": true, "train.py": true,
	}
	err := fs.WalkDir(Files, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		if !want[path] {
			t.Errorf("unexpected embedded file %s", path)
		}
		delete(want, path)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for path := range want {
		t.Errorf("%s is not embedded", path)
	}
}
