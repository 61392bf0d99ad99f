package pedigree

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
)

func TestPolicyNormalize(t *testing.T) {
	gate := func(g Gate) Policy { return Policy{Gates: []Gate{g}} }
	many := make([]Gate, MaxGates+1)
	for i := range many {
		many[i] = Gate{Name: "g" + VersionNumber(i+1).String(), Expr: "true"}
	}
	for _, tt := range []struct {
		name string
		p    Policy
		want ErrorCode
	}{
		{"empty", Policy{}, ""},
		{"a gate", gate(Gate{Name: "auc", Expr: "true", Message: "m", Fix: "f", Environments: []string{"prod", "st*"}}), ""},
		{"as many gates as may be", Policy{Gates: many[:MaxGates]}, ""},
		{"too many gates", Policy{Gates: many}, CodeInvalid},
		{"no name", gate(Gate{Expr: "true"}), CodeInvalid},
		{"upper case", gate(Gate{Name: "AUC", Expr: "true"}), CodeInvalid},
		{"a slash", gate(Gate{Name: "instance/auc", Expr: "true"}), CodeInvalid},
		{"a name of 63", gate(Gate{Name: strings.Repeat("a", 63), Expr: "true"}), ""},
		{"a name of 64", gate(Gate{Name: strings.Repeat("a", 64), Expr: "true"}), CodeInvalid},
		{"two of a name", Policy{Gates: []Gate{{Name: "a", Expr: "true"}, {Name: "a", Expr: "false"}}}, CodeInvalid},
		{"no expression", gate(Gate{Name: "a", Expr: " \t"}), CodeInvalid},
		{"a long expression", gate(Gate{Name: "a", Expr: strings.Repeat("a", MaxExpr+1)}), CodeInvalid},
		{"NUL in an expression", gate(Gate{Name: "a", Expr: "a\x00"}), CodeInvalid},
		{"NUL in a message", gate(Gate{Name: "a", Expr: "true", Message: "a\x00"}), CodeInvalid},
		{"NUL in a fix", gate(Gate{Name: "a", Expr: "true", Fix: "a\x00"}), CodeInvalid},
		{"a bad environment", gate(Gate{Name: "a", Expr: "true", Environments: []string{"[a"}}), CodeInvalid},
		{"an empty environment", gate(Gate{Name: "a", Expr: "true", Environments: []string{""}}), CodeInvalid},
		{"NUL in a description", Policy{Description: "a\x00"}, CodeInvalid},
		{"approvals", Policy{Approvals: &ApprovalRule{Count: 100, Role: Approver, ValidFor: 1, Environments: []string{"prod"}}}, ""},
		{"approvals of 0", Policy{Approvals: &ApprovalRule{}}, ""},
		{"approvals of less", Policy{Approvals: &ApprovalRule{Count: -1}}, CodeInvalid},
		{"approvals of 101", Policy{Approvals: &ApprovalRule{Count: 101}}, CodeInvalid},
		{"a negative time", Policy{Approvals: &ApprovalRule{ValidFor: -1}}, CodeInvalid},
		{"an unknown role", Policy{Approvals: &ApprovalRule{Role: "boss"}}, CodeInvalid},
		{"a bad environment of approvals", Policy{Approvals: &ApprovalRule{Environments: []string{"a\\"}}}, CodeInvalid},
		{"an override", Policy{Override: OnCall}, ""},
		{"an unknown override", Policy{Override: "boss"}, CodeInvalid},
		{"protected", Policy{Protected: Protected{Aliases: []string{"prod*"}, Targets: []string{"prod/*"}}}, ""},
		{"bad protected aliases", Policy{Protected: Protected{Aliases: []string{"x[-]"}}}, CodeInvalid},
		{"bad protected targets", Policy{Protected: Protected{Targets: []string{"prod/["}}}, CodeInvalid},
		{"too many patterns", Policy{Protected: Protected{Targets: slices.Repeat([]string{"a"}, 1001)}}, CodeInvalid},
	} {
		checkCode(t, tt.name, tt.p.Normalize(), tt.want)
	}
	for _, name := range builtinChecks {
		p := gate(Gate{Name: name, Expr: "true"})
		checkCode(t, name, p.Normalize(), CodeInvalid)
	}
}

// testPolicy has something in every field.
func testPolicy() Policy {
	return Policy{
		Description: "as the bank asks",
		Gates:       []Gate{{Name: "auc", Expr: "metrics.auc > 0.9", Message: "m", Fix: "f", Environments: []string{"prod"}}},
		Approvals:   &ApprovalRule{Count: 2, Role: Approver, ValidFor: Duration(90 * day), Environments: []string{"prod"}, AllowAuthor: true},
		Protected:   Protected{Aliases: []string{"production"}, Targets: []string{"prod/*"}},
		Override:    OnCall,
	}
}

// TestPolicyApply: what was applied is read again as it was, and applying it again changes
// nothing.
func TestPolicyApply(t *testing.T) {
	for _, p := range []Policy{testPolicy(), {}, {Override: Admin}, {Approvals: &ApprovalRule{}}} {
		drafts, err := p.Apply("policy:prj_1", nil)
		if checkCode(t, "apply", err, ""); len(drafts) != 1 {
			t.Fatalf("got %d drafts", len(drafts))
		}
		var s story
		e := s.add("ann", drafts...)
		var read Policy
		checkCode(t, "fold", FoldPolicy(&read, e), "")
		want := p
		want.Seq, want.AppliedAt, want.AppliedBy = e.Seq, e.Time, "ann"
		checkEqual(t, "folded", read, want)
		drafts, err = p.Apply("policy:prj_1", &read)
		checkDrafts(t, "again", drafts, err)
	}
	p, before := testPolicy(), testPolicy()
	for name, change := range map[string]func(){
		"description": func() { p.Description = "" },
		"gates":       func() { p.Gates = nil },
		"a gate":      func() { p.Gates = []Gate{{Name: "auc", Expr: "true"}} },
		"approvals":   func() { p.Approvals = nil },
		"count":       func() { p.Approvals = &ApprovalRule{} },
		"protected":   func() { p.Protected.Aliases = nil },
		"override":    func() { p.Override = "" },
	} {
		p = testPolicy()
		change()
		drafts, err := p.Apply("policy:prj_1", &before)
		checkCode(t, name, err, "")
		checkEqual(t, name, len(drafts), 1)
	}
	p = Policy{Override: "boss"}
	_, err := p.Apply("policy:prj_1", nil)
	checkCode(t, "invalid", err, CodeInvalid)

	drafts, err := p.Remove("policy:prj_1", "no more")
	checkDrafts(t, "remove", drafts, err, Draft{Type: PolicyRemoved, Subject: "policy:prj_1", Payload: Payload{"reason": "no more"}})
	_, err = p.Remove("policy:prj_1", "a\x00")
	checkCode(t, "remove with NUL", err, CodeInvalid)

	checkCode(t, "corrupt", FoldPolicy(&p, &Event{Fields: []Field{{Name: "gates", Value: json.RawMessage(`5`)}}}), CodeCorrupt)
	var erased Policy
	checkCode(t, "erased", FoldPolicy(&erased, &Event{Fields: []Field{{Name: "description"}, {Name: "override", Value: json.RawMessage(`"oncall"`)}}}), "")
	checkEqual(t, "erased", erased.Override, OnCall)
}

func TestPolicyIn(t *testing.T) {
	p := Policy{Gates: []Gate{{Name: "all"}, {Name: "prod", Environments: []string{"prod"}}, {Name: "live", Environments: []string{"prod*", "canary"}}}}
	for _, tt := range []struct{ environment, want string }{
		{"", "all"}, {"dev", "all"}, {"prod", "all prod live"}, {"prod-eu", "all live"}, {"canary", "all live"}, {"xprod", "all"},
	} {
		var got []string
		for _, g := range p.In(tt.environment) {
			got = append(got, g.Name)
		}
		checkEqual(t, tt.environment, strings.Join(got, " "), tt.want)
	}
}

func TestPoliciesRules(t *testing.T) {
	ps := Policies{
		{Seq: 5, Approvals: &ApprovalRule{Count: 1}},
		{Seq: 6, Project: "risk"},
		{Seq: 7, Project: "risk", Approvals: &ApprovalRule{Count: 2, Environments: []string{"prod*"}}},
	}
	for _, tt := range []struct {
		environment string
		protected   bool
		want        []int
	}{
		{"", false, []int{1}}, {"dev", false, []int{1}}, {"dev", true, []int{1, 2}}, {"prod", false, []int{1, 2}}, {"prod-eu", false, []int{1, 2}}, {"", true, []int{1, 2}},
	} {
		var got []int
		for _, r := range ps.Rules(tt.environment, tt.protected) {
			got = append(got, r.Need())
		}
		checkEqual(t, tt.environment, got, tt.want)
	}
	checkEqual(t, "all", len(ps.AllRules()), 2)
	checkEqual(t, "refs", ps.Refs(), []PolicyRef{{"instance", 5}, {"risk", 6}, {"risk", 7}})
	for _, tt := range []struct {
		ps   Policies
		a    *Approval
		want bool
	}{
		{nil, nil, true},
		{Policies{{}}, nil, true},
		{ps, nil, false},
		{ps, &Approval{State: ApprovalAsked}, false},
		{ps, &Approval{State: ApprovalApproved}, true},
		{nil, &Approval{State: ApprovalRefused}, true},
	} {
		checkEqual(t, "satisfied", tt.ps.Satisfied(tt.a), tt.want)
	}
}

func TestPoliciesProtect(t *testing.T) {
	ps := Policies{
		{Protected: Protected{Aliases: []string{"prod*"}, Targets: []string{"prod/*"}}},
		{Protected: Protected{Aliases: []string{"champion"}, Targets: []string{"*/score"}}},
	}
	for name, want := range map[Alias]bool{"production": true, "prod": true, "champion": true, "Champion": false, "candidate": false} {
		checkEqual(t, string(name), ps.ProtectsAlias(name), want)
	}
	for name, want := range map[string]bool{"Production": true, "Staging": false} {
		checkEqual(t, name, ps.ProtectsStage(name), want)
	}
	spelled := Policies{{Protected: Protected{Aliases: []string{"PROD[T-U]ction", "sTAG*"}}}}
	for _, name := range []string{"Production", "Staging"} {
		checkEqual(t, name+" in another case", spelled.ProtectsStage(name), true)
	}
	for name, want := range map[TargetName]bool{"prod/fraud": true, "dev/score": true, "dev/fraud": false, "prod-eu/fraud": false} {
		checkEqual(t, string(name), ps.Protects(&Target{Name: name}), want)
	}
	checkEqual(t, "by itself", Policies(nil).Protects(&Target{Name: "dev/x", TargetSpec: TargetSpec{Protected: true}}), true)
	checkEqual(t, "no policy", Policies(nil).ProtectsAlias("production"), false)
}

func TestPolicyScope(t *testing.T) {
	checkEqual(t, "instance", (&Policy{}).Scope(), "instance")
	checkEqual(t, "project", (&Policy{Project: "risk"}).Scope(), "risk")
	checkEqual(t, "subject of the instance", PolicySubject(""), "policy:instance")
	checkEqual(t, "subject of a project", PolicySubject("prj_1"), "policy:prj_1")
}
