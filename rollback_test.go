package pedigree

import (
	"encoding/json"
	"strings"
	"testing"
)

// states lists checks as "name state".
func states(checks []Check) string {
	var out []string
	for _, c := range checks {
		out = append(out, c.Name+" "+string(c.State))
	}
	return strings.Join(out, ", ")
}

func TestRollbackChecks(t *testing.T) {
	approved := &Approval{State: ApprovalApproved, Have: 1, Need: 1}
	at := func(state ApprovalState) func(*Version) {
		return func(v *Version) { v.Approval = &Approval{State: state} }
	}
	refused := func(state ApprovalState, verdict Verdict) func(*Version) {
		return func(v *Version) { v.Approval = &Approval{State: state, Refused: &Opinion{Verdict: verdict}} }
	}
	image := "image passed"
	for _, tt := range []struct {
		name          string
		change        func(*Version)
		bytes, schema Check
		want          string
	}{
		{"approved", func(v *Version) { v.Approval = approved }, Check{}, Check{}, "approval passed, " + image},
		{"no approval", func(*Version) {}, Check{}, Check{}, image},
		{"nobody asked", at(ApprovalNone), Check{}, Check{}, image},
		{"asked", at(ApprovalAsked), Check{}, Check{}, image},
		{"rejected", refused(ApprovalRefused, VerdictReject), Check{}, Check{}, "rejected failed, " + image},
		{"revoked", refused(ApprovalWithdrawn, VerdictRevoke), Check{}, Check{}, "revoked failed, " + image},
		{"rejected and asked again", refused(ApprovalAsked, VerdictReject), Check{}, Check{}, "rejected failed, " + image},
		{"revoked and asked again", refused(ApprovalAsked, VerdictRevoke), Check{}, Check{}, "revoked failed, " + image},
		{"rejected and amended", refused(ApprovalNone, VerdictReject), Check{}, Check{}, "rejected failed, " + image},
		{"rejected, stale", refused(ApprovalOutOfDate, VerdictReject), Check{}, Check{}, "rejected failed, " + image},
		{"expired", at(ApprovalExpired), Check{}, Check{}, "expired warned, " + image},
		{"stale", at(ApprovalOutOfDate), Check{}, Check{}, "stale warned, " + image},
		{"withdrawn", func(v *Version) { v.Withdrawn = &Withdrawal{Reason: "leak"} }, Check{}, Check{}, "withdrawn failed, " + image},
		{"archived", func(v *Version) { v.Archived = true }, Check{}, Check{}, "archived warned, " + image},
		{"its artifact erased", func(v *Version) { v.Erased = []string{"artifact"} }, Check{}, Check{}, "erased failed, " + image},
		{"something else erased", func(v *Version) { v.Erased = []string{"owner"} }, Check{}, Check{}, image},
		{"bytes and schema", func(*Version) {}, passed(CheckBytes, "there"), failed(CheckSchema, "", "no"), "bytes passed, schema failed, " + image},
		{"no image", func(v *Version) { v.Record.Runtime = nil }, Check{}, Check{}, "image warned"},
		{"an environment alone", func(v *Version) { v.Record.Runtime.Image = "" }, Check{}, Check{}, "image warned"},
		{"all at once", func(v *Version) {
			v.Withdrawn, v.Archived, v.Erased = &Withdrawal{Reason: "leak"}, true, []string{"artifact"}
			refused(ApprovalRefused, VerdictReject)(v)
		}, failed(CheckBytes, "", "gone"), Check{}, "withdrawn failed, rejected failed, erased failed, archived warned, bytes failed, " + image},
	} {
		v := testVersion(t)
		tt.change(&v)
		checks := RollbackChecks(&v, &Deployment{Target: "prod/fraud"}, nil, tt.bytes, tt.schema)
		checkEqual(t, tt.name, states(checks), tt.want)
		for _, c := range checks {
			if c.Message == "" {
				t.Errorf("%s: %s says nothing", tt.name, c.Name)
			}
		}
	}
	for state, want := range map[ApprovalState]string{
		ApprovalNone: "approval warned", ApprovalAsked: "approval warned", ApprovalExpired: "expired warned", ApprovalOutOfDate: "stale warned",
		ApprovalApproved: "approval passed",
	} {
		v := testVersion(t)
		at(state)(&v)
		checks := RollbackChecks(&v, &Deployment{}, []ApprovalRule{{}}, Check{}, Check{})
		checkEqual(t, string(state)+" where a rule asks", states(checks), want+", "+image)
	}
	v := testVersion(t)
	checks := RollbackChecks(&v, &Deployment{}, []ApprovalRule{{}}, Check{}, Check{})
	checkEqual(t, "nobody was ever asked, where a rule asks", states(checks), "approval warned, "+image)
	v.Record.Runtime = nil
	checks = RollbackChecks(&v, &Deployment{Image: "example.com/serve:1%d"}, nil, Check{}, Check{})
	checkEqual(t, "the image of the deployment", checks[0].Message, "example.com/serve:1%d")
}

func TestSchemaCheck(t *testing.T) {
	v := testVersion(t)
	for _, tt := range []struct {
		schema string
		want   CheckState
	}{
		{"", ""},
		{`{"properties":{"request":{"type":"object","required":["amount"]}}}`, CheckPassed},
		{`{"properties":{"request":{"type":"object","required":["age"]}}}`, CheckFailed},
	} {
		c := SchemaCheck(&v, &Target{Name: "prod/fraud", TargetSpec: TargetSpec{LogSchema: json.RawMessage(tt.schema)}})
		checkEqual(t, tt.schema, c.State, tt.want)
		if tt.want == CheckFailed && (!strings.Contains(c.Message, "age") || !strings.Contains(c.Fix, "pedigree amend fraud/7")) {
			t.Errorf("got %q, fix %q", c.Message, c.Fix)
		}
	}
}

// TestJudge gathers what speaks against a deployment, by what holds at the place.
func TestJudge(t *testing.T) {
	prod, dev := &Target{Name: "prod/fraud"}, &Target{Name: "dev/fraud"}
	inProd := rules(ApprovalRule{Environments: []string{"prod"}})
	gates := []Check{passed("auc", "fine")}
	for _, tt := range []struct {
		name      string
		change    func(*Version)
		target    *Target
		policies  Policies
		protected bool
		schema    Check
		unknown   string
		want      string
	}{
		{"no policy", nil, prod, nil, false, Check{}, "", "auc passed"},
		{"a rule that does not hold here", nil, dev, inProd, false, Check{}, "", "auc passed"},
		{"a rule that holds", nil, prod, inProd, false, Check{}, "", "approval failed, auc passed"},
		{"a protected place", nil, dev, inProd, true, Check{}, "", "approval failed, auc passed"},
		{"an alias", nil, nil, inProd, true, Check{}, "", "approval failed, auc passed"},
		{"approved", func(v *Version) { v.Approval = &Approval{State: ApprovalApproved, Have: 1} }, prod, inProd, false, Check{}, "", "approval passed, auc passed"},
		{"an unknown author", nil, prod, inProd, false, Check{}, "ci", "approval failed, auc passed"},
		{"an unknown author, protected", nil, prod, inProd, true, Check{}, "ci", "approval failed, author failed, auc passed"},
		{"an unknown author, protected, no rule", nil, prod, nil, true, Check{}, "ci", "auc passed"},
		{"withdrawn", func(v *Version) { v.Withdrawn = &Withdrawal{Reason: "leak"} }, prod, nil, false, Check{}, "", "withdrawn failed, auc passed"},
		{"archived", func(v *Version) { v.Archived = true }, prod, nil, false, Check{}, "", "archived failed, auc passed"},
		{"erased", func(v *Version) { v.Erased = []string{"artifact", "owner"} }, prod, nil, false, Check{}, "", "erased failed, auc passed"},
		{"another field erased", func(v *Version) { v.Erased = []string{"owner"} }, prod, nil, false, Check{}, "", "auc passed"},
		{"schema", nil, prod, nil, false, failed(CheckSchema, "", "no"), "", "schema failed, auc passed"},
	} {
		v := testVersion(t)
		v.RecordDigest = testDigest("r")
		if tt.change != nil {
			tt.change(&v)
		}
		d := Judge(&v, tt.target, tt.policies, tt.protected, gates, tt.schema, tt.unknown)
		checkEqual(t, tt.name, states(d.Checks), tt.want)
		checkEqual(t, tt.name, d.RecordDigest, v.RecordDigest)
		checkEqual(t, tt.name, d.Policies, tt.policies.Refs())
	}
}

func TestDifference(t *testing.T) {
	base := normalRecord(t)
	checkEqual(t, "none", Difference(&base, &base), []RecordChange(nil))
	checkEqual(t, "empty ones", Difference(&Record{}, &Record{}), []RecordChange(nil))
	for _, tt := range []struct {
		name   string
		change func(*Record)
		want   []RecordChange
	}{
		{"a text", func(r *Record) { r.Owner = "team:fraud" }, []RecordChange{{"owner", json.RawMessage(`"team:risk"`), json.RawMessage(`"team:fraud"`)}}},
		{"gone", func(r *Record) { r.Owner = "" }, []RecordChange{{"owner", json.RawMessage(`"team:risk"`), nil}}},
		{"a param", func(r *Record) { r.Params = Params{"depth": "8", "eta": "0.1"} }, []RecordChange{{"params.depth", json.RawMessage(`"6"`), json.RawMessage(`"8"`)}}},
		{"another param", func(r *Record) { r.Params = Params{"depth": "6", "rate": "0.1"} }, []RecordChange{
			{"params.eta", json.RawMessage(`"0.1"`), nil}, {"params.rate", nil, json.RawMessage(`"0.1"`)},
		}},
		{"a metric of one split", func(r *Record) {
			r.Metrics = []Metric{{Name: "auc", Value: 0.91, Dataset: "test"}, {Name: "auc", Value: 0.5, Dataset: "train", Split: "a"}, {Name: "loss", Value: 0.2}}
		}, []RecordChange{{"metrics.auc (train/a)", json.RawMessage(`0.95`), json.RawMessage(`0.5`)}}},
		{"a metric without a data set", func(r *Record) { r.Metrics = r.Metrics[:2] }, []RecordChange{{"metrics.loss", json.RawMessage(`0.2`), nil}}},
	} {
		next := normalRecord(t)
		tt.change(&next)
		checkEqual(t, tt.name, Difference(&base, &next), tt.want)
	}
	next := normalRecord(t)
	next.Artifact.Files = next.Artifact.Files[:1]
	checkEqual(t, "files are not told", Difference(&base, &next), []RecordChange(nil))
	next.Artifact.Digest = testDigest("other")
	if got := Difference(&base, &next); len(got) != 1 || got[0].Field != "artifact" || strings.Contains(string(got[0].From), "config.json") {
		t.Errorf("artifact: got %+v", got)
	}
	if len(base.Params) == 0 || len(base.Metrics) == 0 || len(base.Artifact.Files) == 0 {
		t.Error("the records were changed")
	}
}
