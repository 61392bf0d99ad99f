package pedigree

import (
	"testing"
	"time"
)

func TestPageSize(t *testing.T) {
	for _, tt := range []struct{ limit, want int }{{0, DefaultLimit}, {-1, DefaultLimit}, {1, 1}, {MaxLimit, MaxLimit}, {MaxLimit + 1, MaxLimit}} {
		checkEqual(t, "size", Page{Limit: tt.limit}.Size(), tt.want)
	}
}

func TestParseAt(t *testing.T) {
	now := testNow.In(time.FixedZone("CET", 3600))
	for _, tt := range []struct{ in, want string }{
		{"", ""},
		{"now", ""},
		{"0", "0"},
		{"42", "42"},
		{"9223372036854775807", "9223372036854775807"},
		{"-2h", "2026-11-02T06:00:00Z"},
		{"-30m", "2026-11-02T07:30:00Z"},
		{"-1h30m", "2026-11-02T06:30:00Z"},
		{"-7d", "2026-10-26T08:00:00Z"},
		{"-0d", "2026-11-02T08:00:00Z"},
		{"-0s", "2026-11-02T08:00:00Z"},
		{"2026-11-02T08:00:00Z", "2026-11-02T08:00:00Z"},
		{"2026-11-02T08:00:00.123456789+01:00", "2026-11-02T07:00:00.123456789Z"},
		{"2026-11-02", "2026-11-02T00:00:00Z"},
		{"2026-11-02T08:00", "2026-11-02T08:00:00Z"},
		{"2026-11-02 08:00:01", "2026-11-02T08:00:01Z"},
	} {
		at, err := ParseAt(tt.in, now)
		checkCode(t, tt.in, err, "")
		checkEqual(t, tt.in, at.String(), tt.want)
		checkEqual(t, tt.in, at.IsNow(), tt.want == "")
	}
	for _, bad := range []string{
		"yesterday", "-", "-d", "-2", "--2h", "-+2h", "+2h", "+5", "-5", "2h", "-1.5d", "-99999d", "9223372036854775808", "2026-13-01", "2026-11-02T25:00:00Z",
		"0001-01-01", "0001-01-01T00:00:00Z", "0000-12-31", "9999-12-31T23:59:59-01:00", "0000-01-01T00:00:00+01:00", "1.5", " 1",
	} {
		at, err := ParseAt(bad, now)
		checkCode(t, bad, err, CodeInvalid)
		checkEqual(t, bad, at, At{})
	}
}

func FuzzParseAt(f *testing.F) {
	for _, s := range []string{"", "now", "0", "+1", "-0", "-2h", "-7d", "--1s", "2026-11-02", "2026-11-02T08:00:00.5+14:00", "9999-12-31T23:59:59-23:59", "0001-01-01", "-65535d"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		at, err := ParseAt(s, testNow)
		if err != nil {
			checkCode(t, s, err, CodeInvalid)
			return
		}
		if at.IsNow() != (s == "" || s == "now") {
			t.Errorf("%q: is now: %v", s, at.IsNow())
		}
		again, err := ParseAt(at.String(), testNow.Add(time.Hour))
		if err != nil || again.String() != at.String() || !again.Time.Equal(at.Time) {
			t.Errorf("%q: %q reads %q, %v", s, at, again, err)
		}
	})
}
