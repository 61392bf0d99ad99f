package pedigree

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
)

func TestExecution(t *testing.T) {
	p := testPlace(ConfirmNone, "")
	size, less := int64(5), int64(-1)
	in, out := []Output{{Name: "rows"}}, []Output{{URI: "s3://out/1"}, {Digest: testDigest("x"), Size: &size}}
	for _, tt := range []struct {
		name string
		list []Output
		want ErrorCode
	}{
		{"none", nil, ""},
		{"a name", in, ""},
		{"a URI, a digest", out, ""},
		{"nothing at all", []Output{{Size: &size}}, CodeInvalid},
		{"NUL", []Output{{Name: "a\x00"}}, CodeInvalid},
		{"less than nothing", []Output{{Name: "a", Size: &less}}, CodeInvalid},
		{"as many as may be", slices.Repeat(in, MaxExecutionOutputs), ""},
		{"too many", slices.Repeat(in, MaxExecutionOutputs+1), CodeInvalid},
	} {
		_, err := p.StartExecution("exe_1", tt.list)
		checkCode(t, "start with "+tt.name, err, tt.want)
		_, err = (&Execution{}).Finish(ExecutionReport{Inputs: tt.list})
		checkCode(t, "inputs: "+tt.name, err, tt.want)
		_, err = (&Execution{}).Finish(ExecutionReport{Outputs: tt.list})
		checkCode(t, "outputs: "+tt.name, err, tt.want)
	}
	_, err := (&Execution{}).Finish(ExecutionReport{Inputs: slices.Repeat(in, MaxExecutionOutputs), Outputs: slices.Repeat(in, MaxExecutionOutputs)})
	checkCode(t, "as many of both as may be", err, "")

	var s story
	drafts, err := p.StartExecution("exe_1", in)
	s.mustAdd(t, "job", drafts, err)
	var e Execution
	checkCode(t, "fold", FoldExecution(&e, s.events), "")
	if e.ID != "exe_1" || e.DeploymentID != "dep_6" || e.TargetID != "tgt_1" || e.Version != 6 || e.Exit != nil || e.FinishedAt != nil || len(e.Inputs) != 1 || e.StartedBy != "job" {
		t.Errorf("started: %+v", e)
	}
	drafts, err = e.Finish(ExecutionReport{Exit: 0, Inputs: in, Outputs: out})
	checkEqual(t, "refers to", drafts[0].Refs, []string{"tgt_1", "dep_6", "mdl_fraud/6"})
	ended := s.mustAdd(t, "job", drafts, err)
	checkEqual(t, "of two who report the end, one is late", ended.Touches(), []string{"exe_1"})
	e = Execution{}
	checkCode(t, "fold", FoldExecution(&e, s.events), "")
	if e.Exit == nil || *e.Exit != 0 || len(e.Inputs) != 2 || len(e.Outputs) != 2 || !e.FinishedAt.Equal(s.events[1].Time) {
		t.Errorf("finished: %+v", e)
	}
	_, err = e.Finish(ExecutionReport{Exit: 1})
	checkCode(t, "twice", err, CodeRefused)

	p.Standing = []Deployment{*testDeployment(RolePrimary, DeploymentPending), *testDeployment(RoleCanary, DeploymentActive)}
	_, err = p.StartExecution("exe_2", nil)
	checkCode(t, "nothing is active", err, CodeRefused)
	if !strings.Contains(err.Error(), "--to prod/fraud") {
		t.Errorf("got %v", err)
	}
	checkCode(t, "corrupt", FoldExecution(&e, []Event{{Type: ExecutionFinished, Fields: []Field{{Name: "exit", Value: json.RawMessage(`"x"`)}}}}), CodeCorrupt)
}
