package pedigree

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
)

func TestParseTarget(t *testing.T) {
	for _, in := range []string{"prod/fraud-api", "p/F", "eu.west_1/x.y", "prod-eu.1_x/A.b_c-d", strings.Repeat("a", 63) + "/" + strings.Repeat("b", 127)} {
		n, err := ParseTarget(in)
		checkCode(t, in, err, "")
		checkEqual(t, in, string(n), in)
	}
	for _, in := range []string{
		"", "prod", "/x", "prod/", "Prod/x", "prod/x/y", "prod/x y", "prod/x\n", " prod/x", "-prod/x", "prod/-x", "prod/.x", "ünit/x", "prod/ü", "prod:x/y", "a\x00/b",
		strings.Repeat("a", 64) + "/b", "a/" + strings.Repeat("b", 128),
	} {
		_, err := ParseTarget(in)
		checkCode(t, in, err, CodeInvalid)
	}
	checkEqual(t, "environment", TargetName("prod/fraud").Environment(), "prod")
	var n TargetName
	checkCode(t, "JSON", json.Unmarshal([]byte(`"prod"`), &n), CodeInvalid)
}

func TestParseTargetReference(t *testing.T) {
	for _, tt := range []struct {
		in      string
		project ProjectName
		name    TargetName
		ok      bool
	}{
		{"target:prod/fraud-api", "", "prod/fraud-api", true},
		{"target:risk:prod/fraud-api", "risk", "prod/fraud-api", true},
		{"target:", "", "", false},
		{"target::prod/x", "", "", false},
		{"target:prod", "", "", false},
		{"target:risk:", "", "", false},
		{"target:risk:prod", "", "", false},
		{"target:a:b:prod/x", "", "", false},
		{"target:UPPER CASE:prod/x", "", "", false},
		{"prod/fraud-api", "", "", false},
		{"Target:prod/x", "", "", false},
		{"", "", "", false},
	} {
		project, name, ok := ParseTargetReference(tt.in)
		if ok != tt.ok || project != tt.project || name != tt.name {
			t.Errorf("%q: got %q, %q, %v", tt.in, project, name, ok)
		}
	}
}

// FuzzParseTargetReference: what is read is written the same again, and what is not read
// says nothing.
func FuzzParseTargetReference(f *testing.F) {
	for _, s := range []string{"target:prod/fraud-api", "target:risk:prod/x", "target:a:b", "target:::", "x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		project, name, ok := ParseTargetReference(s)
		if !ok {
			if project != "" || name != "" {
				t.Fatalf("%q is none, and names %q and %q", s, project, name)
			}
			return
		}
		if _, err := ParseTarget(string(name)); err != nil {
			t.Fatal(err)
		}
		text := "target:"
		if project != "" {
			if _, err := ParseProjectName(string(project)); err != nil {
				t.Fatal(err)
			}
			text += string(project) + ":"
		}
		if text += string(name); text != s {
			t.Fatalf("%q was read as %q", s, text)
		}
	})
}

// testSpec has something in every field.
func testSpec() TargetSpec {
	return TargetSpec{
		Kind: TargetOnline, Owner: "team:risk", Description: "d <&>", Alias: "production", Protected: true, Confirm: ConfirmReport, SilentAfter: Duration(time.Minute),
		Dashboards: []SafeURI{"https://example.com/d"}, Runbook: "https://example.com/r", OnCall: "https://example.com/o",
		LogSchema: json.RawMessage(`{"properties":{"request":{"type":"object"}}}`),
	}
}

func TestTargetSpec(t *testing.T) {
	with := func(change func(*TargetSpec)) TargetSpec {
		s := testSpec()
		change(&s)
		return s
	}
	for _, tt := range []struct {
		name string
		s    TargetSpec
		want ErrorCode
	}{
		{"whole", testSpec(), ""},
		{"least", TargetSpec{Kind: TargetBatch}, ""},
		{"managed", TargetSpec{Kind: TargetManaged}, ""},
		{"edge", TargetSpec{Kind: TargetEdge}, ""},
		{"no kind", TargetSpec{}, CodeInvalid},
		{"another kind", TargetSpec{Kind: "cloud"}, CodeInvalid},
		{"another confirmation", with(func(s *TargetSpec) { s.Confirm = "prayer" }), CodeInvalid},
		{"a bad alias", with(func(s *TargetSpec) { s.Alias = "latest" }), CodeInvalid},
		{"NUL in the owner", with(func(s *TargetSpec) { s.Owner = "a\x00" }), CodeInvalid},
		{"NUL in the description", with(func(s *TargetSpec) { s.Description = "a\x00" }), CodeInvalid},
		{"too many dashboards", with(func(s *TargetSpec) { s.Dashboards = make([]SafeURI, 101) }), CodeInvalid},
		{"an on-call that is no URL", with(func(s *TargetSpec) { s.OnCall = "foo" }), CodeInvalid},
		{"a runbook that is no URL", with(func(s *TargetSpec) { s.Runbook = "wiki.example.org/x" }), CodeInvalid},
		{"a dashboard that is no URL", with(func(s *TargetSpec) { s.Dashboards = []SafeURI{"https://x", "d"} }), CodeInvalid},
		{"an on-call to ring up", with(func(s *TargetSpec) { s.OnCall = "tel:+15550100" }), ""},
		{"negative silence", with(func(s *TargetSpec) { s.SilentAfter = -1 }), CodeInvalid},
		{"a bad schema", with(func(s *TargetSpec) { s.LogSchema = json.RawMessage(`{"type":5}`) }), CodeInvalid},
	} {
		checkCode(t, tt.name, tt.s.Normalize(), tt.want)
	}
	s := TargetSpec{Kind: TargetOnline}
	checkCode(t, "defaults", s.Normalize(), "")
	checkEqual(t, "confirm", s.Confirm, ConfirmNone)
	checkEqual(t, "silence", s.Silence(), 5*time.Minute)
	s.SilentAfter = Duration(time.Hour)
	checkEqual(t, "silence", s.Silence(), time.Hour)
}

// TestTargetLife: what is created and edited is read again as it was said.
func TestTargetLife(t *testing.T) {
	project := Project{ID: "prj_1", Name: "risk"}
	_, err := CreateTarget(project, "tgt_1", "prod", testSpec())
	checkCode(t, "a bad name", err, CodeInvalid)
	_, err = CreateTarget(project, "tgt_1", "prod/x", TargetSpec{})
	checkCode(t, "a bad spec", err, CodeInvalid)

	var s story
	target := Target{ID: "tgt_1", Project: "risk", Name: "prod/x"}
	drafts, err := CreateTarget(project, "tgt_1", "prod/x", testSpec())
	e := s.mustAdd(t, "ann", drafts, err)
	checkEqual(t, "touches", e.Touches(), []string{"tgt_1", TargetKey("prj_1", "prod/x"), TiedKey("prj_1")})
	fold := func(want TargetSpec) {
		t.Helper()
		checkCode(t, "fold", FoldTarget(&target, s.events), "")
		checkEqual(t, "folded", target.TargetSpec, want)
		drafts, err := target.Edit(project, want)
		checkDrafts(t, "no change", drafts, err)
	}
	fold(testSpec())
	bare := TargetSpec{Kind: TargetBatch, Confirm: ConfirmNone}
	for _, next := range []TargetSpec{bare, testSpec(), {Kind: TargetOnline, Confirm: ConfirmNone, Protected: true}, {Kind: TargetOnline, Confirm: ConfirmNone, Alias: "a"}, testSpec()} {
		drafts, err = target.Edit(project, next)
		e := s.mustAdd(t, "bob", drafts, err)
		checkEqual(t, "touches", e.Touches(), []string{"tgt_1", TiedKey("prj_1")})
		fold(next)
	}
	drafts, err = target.Edit(project, TargetSpec{Kind: TargetOnline})
	checkCode(t, "default", err, "")
	checkEqual(t, "gone", drafts[0].Payload["alias"], nil)
	if _, ok := drafts[0].Payload["kind"]; ok {
		t.Error("the kind did not change, and is in the event")
	}
	_, err = target.Edit(project, TargetSpec{})
	checkCode(t, "a bad edit", err, CodeInvalid)

	_, err = target.Delete(project, []Deployment{{ID: "dep_1", Model: "fraud", Version: 7, Project: DefaultProject, State: DeploymentPending}}, "")
	checkCode(t, "delete in use", err, CodeRefused)
	if !strings.Contains(err.Error(), "fraud/7 is pending") || !strings.Contains(err.Error(), "pedigree deployment end dep_1") {
		t.Errorf("delete in use: %v", err)
	}
	_, err = target.Delete(project, nil, "a\x00")
	checkCode(t, "delete with NUL", err, CodeInvalid)
	drafts, err = target.Delete(project, nil, "moved")
	checkDrafts(t, "delete", drafts, err, Draft{Type: TargetDeleted, Subject: "tgt_1", Payload: Payload{"project": "prj_1", "name": TargetName("prod/x"), "reason": "moved"}})

	for i := range s.events[len(s.events)-1].Fields {
		if f := &s.events[len(s.events)-1].Fields[i]; Erasable(TargetEdited, f.Name) {
			f.Value = nil
		}
	}
	checkCode(t, "fold", FoldTarget(&target, s.events), "")
	checkEqual(t, "erased", target.TargetSpec, TargetSpec{Kind: TargetOnline, Confirm: ConfirmReport, Alias: "production", Protected: true})
	checkCode(t, "corrupt", FoldTarget(&target, []Event{{Fields: []Field{{Name: "kind", Value: json.RawMessage(`5`)}}}}), CodeCorrupt)
}

// TestReady: an event only where the way back was open and is shut, or the reverse.
func TestReady(t *testing.T) {
	target := Target{ID: "tgt_1"}
	open, shut := Readiness{Ready: true, Deployment: "dep_1"}, Readiness{Checks: []Check{failed("bytes", "", "gone")}}
	for _, tt := range []struct {
		name   string
		before *Readiness
		now    Readiness
		want   int
	}{
		{"first, open", nil, open, 0},
		{"first, shut", nil, shut, 1},
		{"open stays", &open, open, 0},
		{"shut stays", &shut, shut, 0},
		{"it shuts", &open, shut, 1},
		{"it opens", &shut, open, 1},
	} {
		drafts := target.Ready(tt.before, tt.now)
		checkEqual(t, tt.name, len(drafts), tt.want)
		if tt.want > 0 {
			checkEqual(t, tt.name, drafts[0].Payload["ready"], tt.now.Ready)
			checkEqual(t, tt.name, drafts[0].Subject, "tgt_1")
		}
	}
}
