package pedigree

import (
	"encoding/json"
	"math"
	"strconv"
)

// VersionNumber counts the versions of one model: 1, 2, 3 … A number is never
// used twice within a model. Zero means "none named".
type VersionNumber int64

// ParseVersionNumber reads a positive decimal number without sign or leading
// zeros, or returns [CodeInvalid].
func ParseVersionNumber(s string) (VersionNumber, error) {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 1 || s[0] == '0' || s[0] == '+' {
		return 0, Errorf(CodeInvalid, "%q is not a version number: want 1, 2, 3 …", clip(s))
	}
	return VersionNumber(n), nil
}

// String returns the decimal digits.
func (n VersionNumber) String() string { return strconv.FormatInt(int64(n), 10) }

// Float is a float64 whose JSON form also carries what JSON numbers can't: "NaN",
// "Infinity" and "-Infinity" are strings. A comparison with NaN is false.
type Float float64

// MarshalJSON implements [json.Marshaler].
func (f Float) MarshalJSON() ([]byte, error) {
	switch v := float64(f); {
	case math.IsNaN(v):
		return []byte(`"NaN"`), nil
	case math.IsInf(v, 1):
		return []byte(`"Infinity"`), nil
	case math.IsInf(v, -1):
		return []byte(`"-Infinity"`), nil
	default:
		return json.Marshal(v)
	}
}

// UnmarshalJSON implements [json.Unmarshaler]. It takes numbers and strings that
// [ParseFloat] takes, or returns [CodeInvalid].
func (f *Float) UnmarshalJSON(b []byte) error {
	if len(b) > 1 && b[0] == '"' {
		v, err := ParseFloat(string(b[1 : len(b)-1]))
		*f = v
		return err
	}
	if string(b) == "null" { // what JavaScript makes of NaN; it must not become 0
		return Errorf(CodeInvalid, `null is not a number; write "NaN"`)
	}
	return json.Unmarshal(b, (*float64)(f))
}

// ParseFloat reads a decimal number, NaN, Infinity or -Infinity (or Inf), or
// returns [CodeInvalid].
func ParseFloat(s string) (Float, error) {
	v, err := strconv.ParseFloat(s, 64)
	if err != nil && !math.IsInf(v, 0) {
		return 0, Errorf(CodeInvalid, "%q is not a number", clip(s))
	}
	return Float(v), nil
}

// String returns the shortest text that [ParseFloat] reads as the same number.
func (f Float) String() string { return strconv.FormatFloat(float64(f), 'g', -1, 64) }
