package pedigree

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"math/big"
	"slices"
	"strconv"
	"strings"
)

// Outcome is what came of scoring a request again.
type Outcome string

// The outcomes.
const (
	OutcomeIdentical Outcome = "identical"
	OutcomeWithin    Outcome = "within_tolerance"
	OutcomeDifferent Outcome = "different"
	OutcomeCannot    Outcome = "cannot" // the Reason says why
)

// Comparison is a logged prediction beside the same request scored again. It holds
// nothing of either but the size and the place of the largest difference.
type Comparison struct {
	Outcome Outcome `json:"outcome"`
	// Difference is the largest between two numbers, At where they are in the
	// prediction: "score", "classes[2]", "" for the whole.
	Difference *Float `json:"difference,omitempty"`
	At         string `json:"at,omitempty"`
	// Tolerance is what was allowed: absolutely, or relatively to numbers above 1.
	Tolerance Float `json:"tolerance"`
	// Reason says what differs but numbers, or why nothing could be compared.
	Reason string `json:"reason,omitempty"`
}

// DefaultTolerance is the most by which two numbers differ that a command takes for the
// same: what the order of additions makes of 64-bit numbers.
const DefaultTolerance = 1e-9

// ComparePredictions compares a logged prediction with a new one: by value, whatever
// their white space, the order of their fields and the way that numbers are written. Two
// numbers are within the tolerance where their difference is at most
// tolerance × max(1, |a|, |b|).
func ComparePredictions(logged, again json.RawMessage, tolerance float64) Comparison {
	c := comparing{tolerance: tolerance}
	a, err := decodeNumbers(logged)
	if err != nil {
		return CannotCompare("the logged prediction is not JSON")
	}
	b, err := decodeNumbers(again)
	if err != nil {
		return CannotCompare("the new prediction is not JSON")
	}
	c.compare("", a, b)
	r := Comparison{Outcome: OutcomeIdentical, Tolerance: Float(tolerance), Reason: c.reason}
	if c.differ {
		d := Float(c.largest)
		r.Outcome, r.Difference, r.At = OutcomeWithin, &d, c.at
	}
	if c.outside || c.reason != "" {
		r.Outcome = OutcomeDifferent
	}
	return r
}

// CannotCompare is the comparison where there is nothing to compare with.
func CannotCompare(reason string) Comparison {
	return Comparison{Outcome: OutcomeCannot, Reason: reason}
}

func decodeNumbers(text json.RawMessage) (any, error) {
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber() // numbers over 2^53 must not be made equal by reading them
	var v any
	err := dec.Decode(&v)
	return v, err
}

// comparing gathers what differs.
type comparing struct {
	tolerance       float64
	largest         float64
	at              string
	differ, outside bool
	reason          string // the first difference that is not one of numbers
}

func (c *comparing) other(at, format string, args ...any) {
	if c.reason == "" {
		if at == "" {
			at = "the prediction"
		}
		c.reason = at + " " + fmt.Sprintf(format, args...)
	}
}

func (c *comparing) compare(at string, a, b any) {
	if x, ok := a.(json.Number); ok {
		if y, ok := b.(json.Number); ok {
			c.numbers(at, string(x), string(y))
			return
		}
	}
	switch x := a.(type) {
	case map[string]any:
		y, ok := b.(map[string]any)
		if !ok {
			break
		}
		all := maps.Clone(x)
		maps.Copy(all, y)
		for _, name := range slices.Sorted(maps.Keys(all)) {
			one, logged := x[name]
			two, scored := y[name]
			where := strings.TrimPrefix(at+"."+name, ".")
			switch {
			case !scored:
				c.other(where, "was logged and is not there now")
			case !logged:
				c.other(where, "is there now and was not logged")
			default:
				c.compare(where, one, two)
			}
		}
		return
	case []any:
		y, ok := b.([]any)
		if !ok {
			break
		}
		if len(x) != len(y) {
			c.other(at, "was a list of %d and is one of %d now", len(x), len(y))
			return
		}
		for i := range x {
			c.compare(at+"["+strconv.Itoa(i)+"]", x[i], y[i])
		}
		return
	default:
		if kindName(a) == kindName(b) {
			if a != b {
				c.other(at, "is another %s now", strings.TrimPrefix(kindName(a), "a "))
			}
			return
		}
	}
	c.other(at, "was %s and is %s now", kindName(a), kindName(b))
}

// numbers compares two texts of numbers.
func (c *comparing) numbers(at, a, b string) {
	if a == b {
		return
	}
	x, _ := strconv.ParseFloat(a, 64)
	y, _ := strconv.ParseFloat(b, 64)
	if math.IsInf(x, 0) || math.IsInf(y, 0) {
		c.other(at, "is another number now, of which one is too large to compare")
		return
	}
	difference := math.Abs(x - y)
	if x == y {
		m, whole := new(big.Int).SetString(a, 10)
		n, too := new(big.Int).SetString(b, 10)
		if !whole || !too || m.Cmp(n) == 0 { // 1, 1.0 and 1e0 are one number
			return
		}
		difference, _ = new(big.Float).SetInt(m.Sub(m, n).Abs(m)).Float64()
	}
	if !c.differ || difference > c.largest {
		c.largest, c.at = difference, at
	}
	c.differ = true
	c.outside = c.outside || !(difference <= c.tolerance*max(1, math.Abs(x), math.Abs(y)))
}

func kindName(v any) string {
	switch v.(type) {
	case map[string]any:
		return "an object"
	case []any:
		return "a list"
	case string:
		return "a text"
	case bool:
		return "a boolean"
	case nil:
		return "null"
	}
	return "a number"
}
