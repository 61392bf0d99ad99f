package pedigree

import (
	"strings"
	"testing"
)

func TestParseReference(t *testing.T) {
	digest := testDigest("x")
	for _, tt := range []struct {
		in        string
		want      Reference
		canonical string
	}{
		{"fraud", Reference{Model: "fraud"}, "fraud"},
		{"fraud/7", Reference{Model: "fraud", Version: 7}, "fraud/7"},
		{"fraud:7", Reference{Model: "fraud", Version: 7}, "fraud/7"},
		{"fraud@7", Reference{Model: "fraud", Version: 7}, "fraud/7"},
		{"fraud@production", Reference{Model: "fraud", Alias: "production"}, "fraud@production"},
		{"fraud@" + string(digest), Reference{Model: "fraud", Digest: digest}, "fraud@" + string(digest)},
		{"risk/fraud", Reference{Project: "risk", Model: "fraud"}, "risk/fraud"},
		{"risk/fraud/7", Reference{Project: "risk", Model: "fraud", Version: 7}, "risk/fraud/7"},
		{"risk/fraud@production", Reference{Project: "risk", Model: "fraud", Alias: "production"}, "risk/fraud@production"},
		{"risk/7", Reference{Model: "risk", Version: 7}, "risk/7"},
		{`risk/"7"`, Reference{Project: "risk", Model: "7"}, `risk/"7"`},
		{"risk/7/3", Reference{Project: "risk", Model: "7", Version: 3}, `risk/"7"/3`},
		{"7", Reference{Model: "7"}, `"7"`},
		{"007", Reference{Model: "007"}, "007"},
		{`"7"/3`, Reference{Model: "7", Version: 3}, `"7"/3`},
		{`"a@b"@production`, Reference{Model: "a@b", Alias: "production"}, `"a@b"@production`},
		{`risk/"a@b"/3`, Reference{Project: "risk", Model: "a@b", Version: 3}, `risk/"a@b"/3`},
		{`"a""b"/3`, Reference{Model: `a"b`, Version: 3}, `"a""b"/3`},
		{`risk/""""@production`, Reference{Project: "risk", Model: `"`, Alias: "production"}, `risk/""""@production`},
		{`"fraud"`, Reference{Model: "fraud"}, "fraud"},
		{"fraud v2/7", Reference{Model: "fraud v2", Version: 7}, "fraud v2/7"},
		{"models:/fraud@champion", Reference{Model: "fraud", Alias: "champion"}, "fraud@champion"},
		{"models:/fraud/7", Reference{Model: "fraud", Version: 7}, "fraud/7"},
		{"models://fraud/7", Reference{Model: "fraud", Version: 7}, "fraud/7"},
		{"pedigree://registry.example.com/risk/fraud/7", Reference{Project: "risk", Model: "fraud", Version: 7}, "risk/fraud/7"},
		{"pedigree://h/fraud%20v2@production", Reference{Model: "fraud v2", Alias: "production"}, "fraud v2@production"},
	} {
		got, err := ParseReference(tt.in)
		checkCode(t, tt.in, err, "")
		checkEqual(t, tt.in, got, tt.want)
		checkEqual(t, tt.in, got.String(), tt.canonical)
	}
	for _, bad := range []string{
		"", "/", "@", "/fraud", "@production", "/7", "fraud@", "fraud:", "fraud:x", "fraud@latest", "fraud@v1", "fraud@sha256:1", "fraud@a b",
		"a/b/c", "risk/fraud/x/7", "Risk/fraud", `"fraud`, `fraud"`, `a"b`, `"a"b"`, `""`, `"a"/x`, "models:/", "pedigree://host", "pedigree://", "fraud/7/",
		"a\x00b", "a\nb/7", strings.Repeat("a", MaxName+1), "risk/.", "..",
	} {
		got, err := ParseReference(bad)
		checkCode(t, bad, err, CodeInvalid)
		checkEqual(t, bad, got, Reference{})
	}
}

func TestReferenceIn(t *testing.T) {
	checkEqual(t, "none", Reference{Model: "fraud"}.In("risk"), Reference{Project: "risk", Model: "fraud"})
	checkEqual(t, "own", Reference{Project: "eu", Model: "fraud"}.In("risk"), Reference{Project: "eu", Model: "fraud"})
}

func FuzzParseReference(f *testing.F) {
	for _, s := range []string{
		"fraud", "fraud/7", "fraud:7", "risk/fraud@production", `risk/"a@b"/3`, `"a""b"`, `""""`, "models:/fraud@champion", "pedigree://h/a%22b/7",
		"fraud@" + string(testDigest("x")), "7", "0", "007/07", `risk/"7"`, "99999999999999999999/1",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		ref, err := ParseReference(s)
		if err != nil {
			checkCode(t, s, err, CodeInvalid)
			return
		}
		again, err := ParseReference(ref.String())
		if err != nil || again != ref {
			t.Errorf("%q: %#v writes %q, which reads %#v, %v", s, ref, ref.String(), again, err)
		}
		ref = ref.In("risk")
		if again, err = ParseReference(ref.String()); err != nil || again != ref {
			t.Errorf("%q in a project: %#v writes %q, which reads %#v, %v", s, ref, ref.String(), again, err)
		}
	})
}
