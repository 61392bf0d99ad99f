package gate

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/pedigree-ml/pedigree"
)

func examplePolicy(t *testing.T, name string) pedigree.Policy {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("..", "..", "examples", "policies", name))
	if err != nil {
		t.Fatal(err)
	}
	var tree map[string]any
	if err := yaml.Unmarshal(data, &tree); err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(tree)
	if err != nil {
		t.Fatal(err)
	}
	var p pedigree.Policy
	if err := json.Unmarshal(text, &p); err != nil {
		t.Fatal(err)
	}
	if err := p.Normalize(); err != nil {
		t.Fatal(err)
	}
	if err := Check(&p); err != nil {
		t.Fatal(err)
	}
	return p
}

// bankSample and deviceSample are versions that pass the policies; in each row of the test
// something is missing.
func bankSample() Input {
	in := sample()
	for _, v := range []*pedigree.Version{in.Version, in.Current} {
		for _, region := range []string{"eu", "us", "apac"} {
			v.Record.Metrics = append(v.Record.Metrics, pedigree.Metric{Name: "auc", Value: 0.9, Dataset: "test", Split: region})
		}
		v.Record.Metrics = append(v.Record.Metrics, pedigree.Metric{Name: "demographic parity", Value: 0.05, Dataset: "test"})
	}
	in.Current.Record.Metrics[0].Value = 0.91
	in.Version.Record.Data[0].SubjectKey = "customer_id"
	for _, kind := range []string{"fairness", "explainability", "scan"} {
		in.Version.Record.Evidence = append(in.Version.Record.Evidence, pedigree.Evidence{Name: kind, Kind: kind})
	}
	in.Target.OnCall = "https://oncall.example.org/fraud"
	in.Deploy.Image = "registry.example.org/serve@" + string(digestA)
	return in
}

func deviceSample() Input {
	in := sample()
	in.Target.Name = "market/scan"
	in.Model.Purpose, in.Model.Restrictions = "find nodules", "not for children"
	for _, v := range []*pedigree.Version{in.Version, in.Current} {
		v.Record.Metrics = []pedigree.Metric{{Name: "sensitivity", Value: 0.96, Dataset: "test"}, {Name: "specificity", Value: 0.93, Dataset: "test"}}
	}
	in.Version.Record.Runtime.Environment = &pedigree.Environment{Digest: digestB}
	for _, kind := range []string{"evaluation", "fairness", "explainability", "risk"} {
		in.Version.Record.Evidence = append(in.Version.Record.Evidence, pedigree.Evidence{Name: kind, Kind: kind})
	}
	in.Deploy.Image = "registry.example.org/serve@" + string(digestA)
	return in
}

// TestExamplePolicies asks the policies of examples/policies about records that pass, and
// about some with one fault each: which gates fail, and what is said.
func TestExamplePolicies(t *testing.T) {
	smallSample := func() Input {
		in := sample()
		in.Current.Record.Metrics[0].Value = 0.912
		return in
	}
	for _, tt := range []struct {
		file   string
		sample func() Input
		change func(in *Input)
		failed string // the gates, in order
		says   string // part of the first one's message
	}{
		{"small-team.yaml", smallSample, nil, "", ""},
		{"small-team.yaml", smallSample, func(in *Input) { in.Current, in.CurrentDeployment = nil, nil }, "", ""},
		{"small-team.yaml", smallSample, func(in *Input) { in.Version.Record.Metrics[0].Value = 0.7 }, "auc auc-floor", "AUC fell by more than half a point: metrics.auc = 0.7, current.metrics.auc = 0.912"},
		{"small-team.yaml", smallSample, func(in *Input) { in.Version.Record.Metrics = nil }, "auc auc-floor", "metric auc is not recorded"},
		{"small-team.yaml", smallSample, func(in *Input) { in.Version.Record.Data[1].Digest = digestA }, "auc", "not comparable"},
		{"small-team.yaml", smallSample, func(in *Input) { in.Version.Record.Code.Dirty = true }, "reproducible", "code.dirty = true"},
		{"small-team.yaml", smallSample, func(in *Input) { in.Version.Record.Artifact.Files[1].Path = "model.pkl" }, "no-pickle", `"model.pkl"`},
		{"small-team.yaml", smallSample, func(in *Input) { in.Target.Name, in.Version.Record.Code = "dev/x", nil }, "", ""},

		{"bank.yaml", bankSample, nil, "", ""},
		{"bank.yaml", bankSample, func(in *Input) { in.Current, in.CurrentDeployment = nil, nil }, "", ""},
		{"bank.yaml", bankSample, func(in *Input) { in.Model.Tier = "" }, "inventory", `model.tier = ""`},
		{"bank.yaml", bankSample, func(in *Input) { in.Version.Record.RollbackNote = "" }, "complete", `"rollback note"`},
		{"bank.yaml", bankSample, func(in *Input) { in.Version.Record.Run = nil }, "built-by-pipeline", `run.system = ""`},
		{"bank.yaml", bankSample, func(in *Input) { in.Deploy.Image = "registry.example.org/serve:2" }, "built-by-pipeline", "deploy.image"},
		{"bank.yaml", bankSample, func(in *Input) { in.Version.Record.Data[1].Personal = nil }, "data-known", "data[1].personal is not recorded (test)"},
		{"bank.yaml", bankSample, func(in *Input) { in.Version.Record.Data[0].SubjectKey = "" }, "data-known", `data[0].subject_key = ""`},
		{"bank.yaml", bankSample, func(in *Input) { in.Version.Record.Metrics[3].Value = 0.8 }, "not-worse", "in one region"},
		{"bank.yaml", bankSample, func(in *Input) { in.Version.Record.Metrics = slices.Delete(in.Version.Record.Metrics, 3, 4) }, "not-worse", "metric auc on test/us is not recorded"},
		{"bank.yaml", bankSample, func(in *Input) { in.Version.Record.Evidence = in.Version.Record.Evidence[:1] }, "fair explained scanned", "there is no evidence of kind fairness"},
		{"bank.yaml", bankSample, func(in *Input) { in.Now = in.Now.Add(200 * 24 * time.Hour) }, "fresh", "half a year"},
		{"bank.yaml", bankSample, func(in *Input) { in.Target.OnCall = "" }, "operated", `target.oncall = ""`},

		{"medical-product.yaml", deviceSample, nil, "", ""},
		{"medical-product.yaml", deviceSample, func(in *Input) { in.Current, in.CurrentDeployment = nil, nil }, "", ""},
		{"medical-product.yaml", deviceSample, func(in *Input) { in.Model.Restrictions = "" }, "intended-use", `model.restrictions = ""`},
		{"medical-product.yaml", deviceSample, func(in *Input) { in.Version.Record.Artifact = pedigree.Artifact{Kind: pedigree.ArtifactLinked} }, "bytes-here", "not a link"},
		{"medical-product.yaml", deviceSample, func(in *Input) { in.Version.Record.Data[1].Digest = digestA }, "data-apart no-regression", "and not the same"},
		{"medical-product.yaml", deviceSample, func(in *Input) { in.Version.Record.Metrics[0].Value = 0.955 }, "no-regression", "fewer patients"},
		{"medical-product.yaml", deviceSample, func(in *Input) { in.Version.Record.Metrics[1].Value = 0.5 }, "acceptance", "acceptance criteria"},
		{"medical-product.yaml", deviceSample, func(in *Input) { in.Version.Record.Evidence = nil }, "technical-file", "technical file"},
		{"medical-product.yaml", deviceSample, func(in *Input) { in.Version.Record.Signature.Inputs[0].Type = "long" }, "same-interface", "signature differs from current.signature"},
		{"medical-product.yaml", deviceSample, func(in *Input) { in.Version.Record.Runtime.Environment = nil }, "traceable", `runtime.environment.digest = ""`},
		{"medical-product.yaml", deviceSample, func(in *Input) { in.Deploy.Image = "" }, "pinned-image", "by its digest"},
		{"medical-product.yaml", deviceSample, func(in *Input) { in.Deploy.Image, in.Deploy.Role = "", pedigree.RoleShadow }, "", ""},
	} {
		in := tt.sample()
		if tt.change != nil {
			tt.change(&in)
		}
		p := examplePolicy(t, tt.file)
		var failed, messages []string
		for _, c := range Evaluate(t.Context(), "x", p.In(in.Target.Name.Environment()), in) {
			if c.State == pedigree.CheckFailed {
				failed, messages = append(failed, c.Name), append(messages, c.Message+" ["+c.Fix+"]")
			}
		}
		if got := strings.Join(failed, " "); got != tt.failed || !strings.Contains(strings.Join(messages[:min(1, len(messages))], ""), tt.says) {
			t.Errorf("%s: failed %q, want %q\n\t%s\n\twant %s", tt.file, got, tt.failed, strings.Join(messages, "\n\t"), tt.says)
		}
		for i, m := range messages {
			t.Logf("%s %s: %s", tt.file, failed[i], m)
		}
	}
}
