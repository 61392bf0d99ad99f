// Package breastcancer is the small real model that the quickstart registers:
// two versions of a logistic regression, the facts recorded when they were
// trained, and a few held-out rows to predict on.
//
// It owns the embedded example files and the scoring of model.json. It must
// never train, download anything, or import another package of this module, so
// that it stays an example of a model and not a part of the registry. The
// files under v1 and v2, the record files and samples.json are written by
// train.py and never edited by hand.
//
// Invariant: for every row of samples.json, Predict with a version's
// model.json returns the probability that train.py computed for that version,
// within 1e-9.
package breastcancer

import (
	"bytes"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
)

// Files holds the two model folders (v1, v2), the facts recorded about each
// (v1.record.yaml, v2.record.yaml), samples.json, and the train.py that made
// them all.
//
//go:embed v1 v2 v1.record.yaml v2.record.yaml samples.json train.py
var Files embed.FS

// maxModelBytes bounds what Load reads; a real model.json is under 2 kB.
const maxModelBytes = 1 << 20

// Model is a binary logistic regression on raw, unscaled features.
type Model struct {
	// Features names the inputs, in the order of Coefficients.
	Features []string `json:"features"`
	// Coefficients holds one weight per feature.
	Coefficients []float64 `json:"coefficients"`
	// Intercept is the log-odds when every feature is zero.
	Intercept float64 `json:"intercept"`
	// Classes holds the negative label, then the positive one.
	Classes []string `json:"classes"`
	// Threshold is the lowest probability that gets the positive label.
	Threshold float64 `json:"threshold"`
}

// Sample is one held-out row of the data set.
type Sample struct {
	// Row is the row's zero-based index in the data set.
	Row int `json:"row"`
	// Label is the true class.
	Label string `json:"label"`
	// Features holds all thirty raw measurements by name.
	Features map[string]float64 `json:"features"`
	// Expected holds, for each version ("v1", "v2"), the probability that
	// train.py computed for this row.
	Expected map[string]float64 `json:"expected"`
}

// Load reads and validates one model.json. Every field is required, unknown
// fields are refused, and nothing may follow the JSON object.
func Load(r io.Reader) (*Model, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxModelBytes+1))
	if err != nil {
		return nil, fmt.Errorf("read model: %w", err)
	}
	if len(data) > maxModelBytes {
		return nil, fmt.Errorf("read model: larger than %d bytes", maxModelBytes)
	}

	// Decoding straight into Model would turn an absent or null number into
	// zero, which is a different but plausible model.
	var file struct {
		Model
		Coefficients []*float64 `json:"coefficients"`
		Intercept    *float64   `json:"intercept"`
	}
	if err := unmarshalStrict(data, &file); err != nil {
		return nil, fmt.Errorf("decode model: %w", err)
	}
	m := file.Model
	for i, c := range file.Coefficients {
		if c == nil {
			return nil, fmt.Errorf("invalid model: coefficient %d is null", i)
		}
		m.Coefficients = append(m.Coefficients, *c)
	}
	if file.Intercept == nil {
		return nil, errors.New("invalid model: intercept is missing")
	}
	m.Intercept = *file.Intercept
	if err := m.validate(); err != nil {
		return nil, fmt.Errorf("invalid model: %w", err)
	}
	return &m, nil
}

// validate reports the first reason why the model cannot score a row.
func (m *Model) validate() error {
	if len(m.Features) == 0 {
		return errors.New("no features")
	}
	if len(m.Features) != len(m.Coefficients) {
		return fmt.Errorf("%d features but %d coefficients", len(m.Features), len(m.Coefficients))
	}
	seen := make(map[string]bool, len(m.Features))
	for i, name := range m.Features {
		if name == "" {
			return fmt.Errorf("feature %d has no name", i)
		}
		if seen[name] {
			return fmt.Errorf("feature %q appears twice", name)
		}
		seen[name] = true
		if !finite(m.Coefficients[i]) {
			return fmt.Errorf("coefficient of %q is not a finite number", name)
		}
	}
	if !finite(m.Intercept) {
		return errors.New("intercept is not a finite number")
	}
	if len(m.Classes) != 2 || m.Classes[0] == "" || m.Classes[1] == "" || m.Classes[0] == m.Classes[1] {
		return fmt.Errorf("classes must be two different names, got %q", m.Classes)
	}
	if !(m.Threshold > 0 && m.Threshold < 1) {
		return fmt.Errorf("threshold must lie between 0 and 1, got %v", m.Threshold)
	}
	return nil
}

// Predict scores one row of raw features. It returns the probability of the
// positive class, Classes[1], and the label that the threshold gives it.
// Features that the model does not use are ignored; a missing one is an error
// that names it.
func (m *Model) Predict(features map[string]float64) (probability float64, label string, err error) {
	if err := m.validate(); err != nil {
		return 0, "", fmt.Errorf("invalid model: %w", err)
	}
	logOdds := m.Intercept
	for i, name := range m.Features {
		value, ok := features[name]
		if !ok {
			return 0, "", fmt.Errorf("feature %q is missing", name)
		}
		if !finite(value) {
			return 0, "", fmt.Errorf("feature %q is not a finite number", name)
		}
		logOdds += m.Coefficients[i] * value
	}
	if !finite(logOdds) {
		return 0, "", errors.New("features are too large to score")
	}
	probability = 1 / (1 + math.Exp(-logOdds))
	if probability >= m.Threshold {
		return probability, m.Classes[1], nil
	}
	return probability, m.Classes[0], nil
}

// Samples returns the embedded held-out rows, in data set order. They were
// chosen to illustrate, including rows on which the versions disagree; they
// are no basis for a metric.
func Samples() ([]Sample, error) {
	data, err := Files.ReadFile("samples.json")
	if err != nil {
		return nil, fmt.Errorf("read samples: %w", err)
	}
	var samples []Sample
	if err := unmarshalStrict(data, &samples); err != nil {
		return nil, fmt.Errorf("decode samples: %w", err)
	}
	return samples, nil
}

// unmarshalStrict decodes data as exactly one JSON value without unknown
// fields.
func unmarshalStrict(data []byte, v any) error {
	if !json.Valid(data) {
		// Unmarshal words syntax errors well and covers trailing data.
		return json.Unmarshal(data, v)
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	return dec.Decode(v)
}

func finite(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }
