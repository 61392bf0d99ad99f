package pedigree

import (
	"strconv"
	"strings"
	"time"
)

// Page asks for a part of a list.
type Page struct {
	// Limit is the most items to return; 0 means [DefaultLimit], more than
	// [MaxLimit] means that.
	Limit int
	// Cursor is the Next of the page before; "" begins.
	Cursor string
}

// Limits on pages, in items.
const (
	DefaultLimit = 50
	MaxLimit     = 1000
)

// Size returns the limit in force.
func (p Page) Size() int {
	switch {
	case p.Limit <= 0:
		return DefaultLimit
	case p.Limit > MaxLimit:
		return MaxLimit
	}
	return p.Limit
}

// List is one page of a list.
type List[T any] struct {
	Items []T `json:"items"`
	// Next asks for the page after; "" where this is the last.
	Next string `json:"next,omitempty"`
	// AsOf is the last event that the answer takes into account.
	AsOf int64 `json:"as_of"`
	Named
}

// At is the moment that a question is about. The zero At is now.
type At struct {
	// Seq is the last event to take into account, where not nil.
	Seq *int64
	// Time stands for the last event at or before it, where not zero.
	Time time.Time
}

// IsNow says that at names no moment.
func (at At) IsNow() bool { return at.Seq == nil && at.Time.IsZero() }

// String is the form that [ParseAt] reads; "" for now.
func (at At) String() string {
	switch {
	case at.Seq != nil:
		return strconv.FormatInt(*at.Seq, 10)
	case !at.Time.IsZero():
		return at.Time.UTC().Format(time.RFC3339Nano)
	}
	return ""
}

// ParseAt reads the moment of a question: "" is now, a number is an event's seq,
// otherwise RFC 3339 ("2026-11-02T08:00:00Z", a date alone is its midnight UTC) or an
// age before now ("-2h", "-30m", "-7d"). It returns [CodeInvalid].
func ParseAt(s string, now time.Time) (At, error) {
	if s == "" || s == "now" {
		return At{}, nil
	}
	if seq, err := strconv.ParseInt(s, 10, 64); err == nil && s[0] >= '0' {
		return At{Seq: &seq}, nil
	}
	if age, ok := strings.CutPrefix(s, "-"); ok {
		if days, isDays := strings.CutSuffix(age, "d"); isDays {
			if n, err := strconv.ParseUint(days, 10, 16); err == nil {
				return At{Time: now.UTC().AddDate(0, 0, -int(n))}, nil
			}
		} else if d, err := time.ParseDuration(age); err == nil && age[0] != '-' && age[0] != '+' {
			return At{Time: now.UTC().Add(-d)}, nil
		}
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05", "2006-01-02 15:04:05", "2006-01-02T15:04", "2006-01-02"} {
		t, err := time.Parse(layout, s)
		if t = t.UTC(); err == nil && !t.IsZero() && t.Year() >= 1 && t.Year() <= 9999 { // what String can write
			return At{Time: t}, nil
		}
	}
	return At{}, Errorf(CodeInvalid, "%q is not a moment", clip(s)).
		WithFix("write an RFC 3339 time (2026-11-02T08:00:00Z), an age (-2h, -7d) or an event's number")
}
