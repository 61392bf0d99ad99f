package pedigree

import (
	"math"
	"strconv"
	"strings"
	"time"
)

// Duration is a length of time that people write: "90d", "2w", "36h", "15m". A day is 24
// hours.
type Duration time.Duration

const day = 24 * time.Hour

// ParseDuration reads whole days ("90d"), whole weeks ("2w") or what
// [time.ParseDuration] reads. It returns [CodeInvalid], also for a negative one and for one
// over 292 years.
func ParseDuration(s string) (Duration, error) {
	for suffix, unit := range map[string]time.Duration{"d": day, "w": 7 * day} {
		if text, ok := strings.CutSuffix(s, suffix); ok {
			if n, err := strconv.ParseUint(text, 10, 63); err == nil && n <= uint64(math.MaxInt64/unit) {
				return Duration(time.Duration(n) * unit), nil
			}
		}
	}
	if d, err := time.ParseDuration(s); err == nil && d >= 0 {
		return Duration(d), nil
	}
	return 0, Errorf(CodeInvalid, "%q is not a length of time", clip(s)).WithFix("write 90d, 2w, 36h or 15m")
}

// String returns d as [ParseDuration] reads it, in days where it is whole days.
func (d Duration) String() string {
	if t := time.Duration(d); t != 0 && t%day == 0 {
		return strconv.FormatInt(int64(t/day), 10) + "d"
	}
	s := time.Duration(d).String()
	if strings.HasSuffix(s, "m0s") {
		s = s[:len(s)-2]
	}
	if strings.HasSuffix(s, "h0m") {
		s = s[:len(s)-2]
	}
	return s
}

// MarshalText implements [encoding.TextMarshaler].
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText implements [encoding.TextUnmarshaler] by [ParseDuration].
func (d *Duration) UnmarshalText(b []byte) error {
	v, err := ParseDuration(string(b))
	*d = v
	return err
}
