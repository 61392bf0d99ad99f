package pedigree

import (
	"encoding/json"
	"math"
	"testing"
	"time"
)

func TestParseDuration(t *testing.T) {
	for _, tt := range []struct {
		in   string
		want time.Duration
		text string
	}{
		{"90d", 90 * day, "90d"},
		{"0d", 0, "0s"},
		{"2w", 14 * day, "14d"},
		{"36h", 36 * time.Hour, "36h"},
		{"48h", 2 * day, "2d"},
		{"15m", 15 * time.Minute, "15m"},
		{"10h10m", 10*time.Hour + 10*time.Minute, "10h10m"},
		{"1m30s", 90 * time.Second, "1m30s"},
		{"1h0m5s", time.Hour + 5*time.Second, "1h0m5s"},
		{"20s", 20 * time.Second, "20s"},
		{"1.5h", 90 * time.Minute, "1h30m"},
		{"0", 0, "0s"},
		{"+5m", 5 * time.Minute, "5m"},
		{"106751d", 106751 * day, "106751d"},
		{"65536d", 65536 * day, "65536d"},
		{"15250w", 15250 * 7 * day, "106750d"},
		{"2562047h47m16.854775807s", math.MaxInt64, "2562047h47m16.854775807s"},
	} {
		d, err := ParseDuration(tt.in)
		checkCode(t, tt.in, err, "")
		checkEqual(t, tt.in, time.Duration(d), tt.want)
		checkEqual(t, tt.in+" as text", d.String(), tt.text)
	}
	for _, in := range []string{
		"", "d", "w", "-1d", "+1d", "-5m", "1.5d", "1e3d", "90 d", "90D", "5", "106752d", "15251w", "99999999999999999999d", "60000w", "2562048h", "1d12h", "٣d", "a\x00",
	} {
		d, err := ParseDuration(in)
		checkCode(t, in, err, CodeInvalid)
		checkEqual(t, in, d, Duration(0))
	}
	var rule ApprovalRule
	checkCode(t, "in JSON", json.Unmarshal([]byte(`{"valid_for":"2w"}`), &rule), "")
	checkEqual(t, "in JSON", string(marshal(rule)), `{"valid_for":"14d"}`)
	checkCode(t, "a number in JSON", json.Unmarshal([]byte(`{"valid_for":5}`), &rule), CodeInternal)
	checkCode(t, "bad in JSON", json.Unmarshal([]byte(`{"valid_for":"soon"}`), &rule), CodeInvalid)
}

// FuzzParseDuration: what is read is never negative, and is read again from its own text.
func FuzzParseDuration(f *testing.F) {
	for _, s := range []string{"90d", "2w", "36h", "15m", "1h0m5s", "20000w", "106752d", "65535w", "1ns", "0", "2562047h47m16.854775807s"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		d, err := ParseDuration(s)
		if err != nil {
			return
		}
		if d < 0 {
			t.Fatalf("%q is negative: %v", s, time.Duration(d))
		}
		again, err := ParseDuration(d.String())
		if err != nil || again != d {
			t.Fatalf("%q is %d, its text %q is %d, %v", s, d, d, again, err)
		}
	})
}
