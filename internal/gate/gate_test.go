package gate

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pedigree-ml/pedigree"
)

const (
	digestA = pedigree.Digest("sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa")
	digestB = pedigree.Digest("sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb")
)

var now = time.Date(2026, 11, 3, 12, 0, 0, 0, time.UTC)

func pointer[T any](v T) *T { return &v }

// sample is fraud/7 on its way to prod/fraud-api, where fraud/6 is.
func sample() Input {
	record := func(auc pedigree.Float) pedigree.Record {
		return pedigree.Record{
			Artifact: pedigree.Artifact{
				Kind: pedigree.ArtifactStored, Digest: digestA, Size: pointer(int64(2048)),
				Files: []pedigree.File{{Path: "MLmodel", Size: 48, Digest: digestA}, {Path: "model.onnx", Size: 2000, Digest: digestB}},
			},
			Code:    &pedigree.Code{Repository: "https://git.example.org/risk/fraud", Commit: strings.Repeat("c", 40)},
			Runtime: &pedigree.Runtime{Image: "registry.example.org/risk/train@" + string(digestA), Compute: &pedigree.Compute{GPUs: []string{"A100"}}},
			Data: []pedigree.DataReference{
				{Role: "train", Kind: pedigree.DataSnapshot, URI: "s3://lake/fraud/train", Digest: digestA, Personal: pointer(true), Subjects: "customers"},
				{Role: "test", Kind: pedigree.DataSnapshot, URI: "s3://lake/fraud/test", Digest: digestB, Personal: pointer(false)},
			},
			Params:    pedigree.Params{"lr": "0.1", "max depth": "6"},
			Metrics:   []pedigree.Metric{{Name: "auc", Value: auc, Dataset: "test"}, {Name: "log loss", Value: 0.2, Dataset: "test"}},
			Signature: &pedigree.Signature{Inputs: []pedigree.Column{{Name: "amount", Type: "double"}}, Outputs: []pedigree.Column{{Name: "score", Type: "double"}}},
			Flavors:   []pedigree.Flavor{{Name: "onnx", Version: "1.16", Loader: "mlflow.onnx"}},
			Evidence:  []pedigree.Evidence{{Name: "card.md", Kind: "card", Digest: digestA, Size: 10, MediaType: "text/markdown", Note: "secret"}},
			Outputs:   []pedigree.Output{{Name: "scores", URI: "s3://lake/scores"}},
			Parents:   []pedigree.Parent{{Relation: pedigree.FineTunedFrom, Reference: "fraud/5"}},
			Run:       &pedigree.Run{System: "gitlab", StartedAt: pointer(now.Add(-time.Hour))},
			Owner:     "team:risk", Target: "prod/fraud-api", RollbackNote: "none",
		}
	}
	return Input{
		Version: &pedigree.Version{
			Project: pedigree.DefaultProject, Model: "fraud", ModelID: "mdl_1", Number: 7, Record: record(0.91), CreatedAt: now.Add(-48 * time.Hour),
			Description: "tries", Tags: map[string]string{"a": "b"},
		},
		Model: &pedigree.Model{Name: "fraud", Owner: "ann", Tier: pedigree.TierHigh, State: pedigree.StateInUse, PermittedUse: "card payments"},
		Target: &pedigree.Target{Name: "prod/fraud-api", TargetSpec: pedigree.TargetSpec{
			Kind: pedigree.TargetOnline, Owner: "team:risk", Protected: true, Alias: "production", Runbook: "https://wiki.example.org/fraud",
		}},
		Current: &pedigree.Version{
			Project: pedigree.DefaultProject, Model: "fraud", ModelID: "mdl_1", Number: 6, Record: record(0.94), CreatedAt: now.Add(-1000 * time.Hour),
		},
		CurrentDeployment: &pedigree.Deployment{Role: pedigree.RolePrimary, Image: "registry.example.org/serve:1", ActiveAt: pointer(now.Add(-24 * time.Hour))},
		Deploy:            pedigree.Deploy{Image: "registry.example.org/serve:2", Config: "git:abc", Note: "hush"},
		Now:               now,
	}
}

func ask(t *testing.T, expr string, in Input) pedigree.Check {
	t.Helper()
	if err := CheckExpression("gate", expr); err != nil {
		t.Fatalf("%s: %v", expr, err)
	}
	return Evaluate(t.Context(), "default", []pedigree.Gate{{Name: "g", Expr: expr}}, in)[0]
}

func values(c pedigree.Check) string {
	var out []string
	for _, v := range c.Values {
		out = append(out, v.Path+"="+string(v.Value))
	}
	return strings.Join(out, " ")
}

// TestHolds are expressions over everything that can be read; all hold for the sample.
func TestHolds(t *testing.T) {
	for _, expr := range []string{
		`metrics.auc >= 0.9 && metrics.auc < 1`,
		`metrics["log loss"] <= 0.2`,
		`metric("auc", "test") == metrics.auc`,
		`current.metric("auc", "test") > 0.93`,
		`has(metrics.auc) && !has(metrics.f1) && "auc" in metrics && !("f1" in metrics) && "auc@test" in metrics`,
		`metrics.?f1.orValue(0.5) == 0.5`,
		`metrics.all(name, metrics[name] > 0.1) && size(metrics) == 2`,
		`double(params.lr) < 0.2 && int(params["max depth"]) == 6 && size(params) == 2`,
		`!has(params.x) && params.?x.orValue("none") == "none"`,
		`data.all(d, d.digest != "" && d.kind == "snapshot" && d.uri.startsWith("s3://lake/"))`,
		`data.exists(d, d.role == "train" && d.personal && d.subjects == "customers")`,
		`!data.exists(d, has(d.size))`,
		`code.commit.matches("^[0-9a-f]{40}$") && !code.dirty && code.branch == ""`,
		`runtime.image.contains("@sha256:") && runtime.compute.gpus == ["A100"] && !has(runtime.environment) && has(runtime.compute)`,
		`runtime.environment.packages == []`,
		`artifact.kind == "stored" && artifact.size < 1024 * 1024 && artifact.files.all(f, f.size > 0 && !f.executable)`,
		`artifact.files.map(f, f.path) == ["MLmodel", "model.onnx"]`,
		`sets.contains(artifact.files.map(f, f.path), ["MLmodel"])`,
		`signature.inputs.exists(c, c.name == "amount" && c.type == "double" && c.shape == [])`,
		`signature == current.signature && data == current.data && code == current.code`,
		`flavors.exists(f, f.name == "onnx" && f.version.startsWith("1."))`,
		`parents.all(p, p.reference != "" && p.relation == "fine_tuned_from")`,
		`evidence.exists(e, e.kind == "card" && e.media_type.startsWith("text/") && e.size > 0)`,
		`outputs.size() == 1 && outputs[0].name == "scores"`,
		`run.system == "gitlab" && run.started_at < now`,
		`owner == "team:risk" && target_name == target.name && project == "default"`,
		`completeness.approve.have == completeness.approve.want && completeness.deploy.missing == []`,
		`model.name == "fraud" && model.tier == "high" && model.state == "in_use" && model.permitted_use != "" && model.restrictions == ""`,
		`target.env == "prod" && target.kind == "online" && target.protected && target.alias == "production" && target.runbook != ""`,
		`deploy.role == "primary" && deploy.image != current.deploy.image && deploy.config == "git:abc"`,
		`version == current.version + 1 && current.owner == "team:risk"`,
		`now - created_at < days(3) && created_at > current.created_at && now - current.deployed_at >= duration("24h")`,
		`now.getDayOfWeek() == 2 && timestamp("2026-01-01T00:00:00Z") < now`,
		`math.greatest(metrics.auc, 0.5) == metrics.auc && math.abs(-1.0) == 1.0`,
		`["b", "a"].sort() == ["a", "b"] && lists.range(3) == [0, 1, 2] && "A,b".lowerAscii().split(",") == ["a", "b"]`,
		`cel.bind(a, metrics.auc, a * a < a)`,
		`sets.intersects(["a"], ["b", "a"]) && sets.equivalent([1, 2], [2, 1, 1]) && sets.intersects(data, current.data)`,
	} {
		if c := ask(t, expr, sample()); c.State != pedigree.CheckPassed {
			t.Errorf("%s\n\tdoes not hold: %s", expr, c.Message)
		}
	}
}

// TestFails are gates that fail, what they say, what mends it, and what they read.
func TestFails(t *testing.T) {
	for _, tt := range []struct {
		expr, message, fix, values string
		change                     func(in *Input)
	}{
		{
			expr:    `metrics.auc >= current.metrics.auc - 0.005`,
			message: `metrics.auc = 0.91, current.metrics.auc = 0.94`, fix: `see what changed: pedigree diff fraud/6 fraud/7`,
			values: `metrics.auc=0.91 current.metrics.auc=0.94`,
		},
		{
			expr: `metrics.auc >= 0.95`, message: `metrics.auc = 0.91`, fix: `register a version that passes: pedigree push fraud PATH`,
		},
		{
			expr: `metrics.f1 > 0.5`, message: `metric f1 is not recorded`, fix: `pedigree amend fraud/7 --metric f1=VALUE`, values: `metrics.f1=null`,
		},
		{expr: `metrics.f1 < 0.5`, message: `metric f1 is not recorded`},
		{expr: `!(metrics.f1 > 0.5)`, message: `metric f1 is not recorded`},
		{expr: `metrics.auk > 0.5`, message: `metric auk is not recorded; did you mean auc?`},
		{
			expr: `metric("auc", "eu") > 0.5`, message: `metric auc on eu is not recorded; auc is recorded on test`,
			fix: `pedigree amend fraud/7 --metric auc=VALUE@eu`, values: `metric("auc", "eu")=null`,
		},
		{
			expr: `metrics["log losses"] > 0.5`, message: `metric log losses is not recorded; did you mean log loss?`,
			fix: `pedigree amend fraud/7 --metric 'log losses=VALUE'`, values: `metrics["log losses"]=null`,
		},
		{expr: `has(metrics.f1)`, message: `has(metrics.f1) = false`, fix: `pedigree amend fraud/7 --metric f1=VALUE`},
		{
			expr: `current.metrics.f1 > 0.5`, message: `metric f1 of fraud/6 is not recorded`, fix: `pedigree amend fraud/6 --metric f1=VALUE`,
		},
		{expr: `int(params.depth) < 4`, message: `param depth is not recorded`, fix: `pedigree amend fraud/7 --param depth=VALUE`, values: `params.depth=null`},
		{expr: `double(params["max depth"]) < 4.0`, message: `params["max depth"] = "6"`},
		{expr: `runtime.seconds < 60.0`, message: `runtime.seconds is not recorded`, values: `runtime.seconds=null`},
		{
			expr: `!data[0].personal`, message: `data[0].personal is not recorded (train)`, fix: `pedigree amend fraud/7 --data-file FILE`,
			change: func(in *Input) { in.Version.Record.Data[0].Personal = nil },
		},
		{
			expr:    `model.tier != "high" || evidence.exists(e, e.kind == "fairness")`,
			message: `there is no evidence of kind fairness; model.tier = "high", size(evidence) = 1, evidence[0].kind = "card"`,
			fix:     `pedigree amend fraud/7 --evidence fairness=FILE`,
			values:  `model.tier="high" size(evidence)=1 evidence[0].kind="card"`,
		},
		{
			expr: `owner != "" && code.commit != "" && runtime.image != ""`, message: `owner = ""`, fix: `pedigree amend risk/fraud/7 --owner NAME`,
			change: func(in *Input) { in.Version.Record.Owner, in.Version.Project = "", "risk" },
		},
		{
			expr: `size(data) > 0`, message: `size(data) = 0`, fix: `pedigree amend fraud/7 --data ROLE=URI`,
			change: func(in *Input) { in.Version.Record.Data = nil },
		},
		{
			expr: `model.restrictions != ""`, message: `model.restrictions = ""`, fix: `pedigree model edit fraud --restrictions TEXT`,
		},
		{
			expr: `deploy.image != ""`, message: `deploy.image = ""`, fix: `pedigree deploy fraud/7 --to prod/fraud-api --image IMAGE`,
			change: func(in *Input) { in.Deploy.Image = "" },
		},
		{expr: `target.oncall != ""`, message: `target.oncall = ""`, fix: `pedigree target edit prod/fraud-api --oncall URL`},
		{
			expr: `completeness.deploy.missing == []`, message: `completeness.deploy.missing = ["rollback note"]`,
			fix:    `pedigree amend fraud/7 --rollback-note TEXT`,
			change: func(in *Input) { in.Version.Record.RollbackNote = "" },
		},
		{
			expr: `signature == current.signature`, message: `signature differs from current.signature`, fix: `see what changed: pedigree diff fraud/6 fraud/7`,
			change: func(in *Input) { in.Version.Record.Signature.Inputs[0].Type = "long" },
		},
		{
			expr: `data.all(d, !d.personal)`, message: `data was erased`,
			change: func(in *Input) { in.Version.Record.Data, in.Version.Erased = nil, []string{"data"} },
		},
		{expr: `metrics.auc >= 0.5`, message: `metrics.auc is NaN; metrics.auc = "NaN"`, change: nan, values: `metrics.auc="NaN"`},
		{expr: `metrics.auc < 0.5`, message: `metrics.auc is NaN`, change: nan},
		{expr: `metrics.auc == metrics.auc`, message: `metrics.auc is NaN`, change: nan},
		{expr: `double(params["word"]) > 0.1`, message: `it can't be judged: `, change: func(in *Input) { in.Version.Record.Params["word"] = "much" }},
		{expr: `1 / (version - 7) == 1`, message: `it can't be judged: division by zero; version = 7`},
		{expr: `outputs[3].name == ""`, message: `it can't be judged: index out of bounds: 3`},
		{expr: `target.env == "prod"`, message: `target.env = ""`, change: func(in *Input) { in.Target = nil }},
		{expr: `now - current.deployed_at > days(7)`, message: `current.deployed_at is not recorded`, change: func(in *Input) { in.CurrentDeployment = nil }},
	} {
		in := sample()
		if tt.change != nil {
			tt.change(&in)
		}
		c := ask(t, tt.expr, in)
		if c.State != pedigree.CheckFailed {
			t.Errorf("%s\n\t%s: %s", tt.expr, c.State, c.Message)
		}
		if !strings.HasPrefix(c.Message, tt.message) {
			t.Errorf("%s\n\tgot  message %s\n\twant         %s", tt.expr, c.Message, tt.message)
		}
		if tt.fix != "" && c.Fix != tt.fix {
			t.Errorf("%s\n\tgot  fix %s\n\twant     %s", tt.expr, c.Fix, tt.fix)
		}
		if tt.values != "" && values(c) != tt.values {
			t.Errorf("%s\n\tgot  values %s\n\twant        %s", tt.expr, values(c), tt.values)
		}
	}
}

// TestNaN: a comparison with NaN is false, as everywhere in the registry; what negates it
// holds, and the check says why.
func TestNaN(t *testing.T) {
	in := sample()
	nan(&in)
	c := ask(t, `!(metrics.auc < 0.5)`, in)
	if c.State != pedigree.CheckPassed || !strings.HasPrefix(c.Message, "metrics.auc is NaN") {
		t.Errorf("%s: %s", c.State, c.Message)
	}
}

func nan(in *Input) { in.Version.Record.Metrics[0].Value = pedigree.Float(math.NaN()) }

// TestUnknownParts: what is not recorded decides nothing where the other side of || or &&
// decides alone.
func TestUnknownParts(t *testing.T) {
	for expr, want := range map[string]pedigree.CheckState{
		`metrics.f1 > 0.5 || metrics.auc > 0.9`:              pedigree.CheckPassed,
		`metrics.auc > 0.9 || metrics.f1 > 0.5`:              pedigree.CheckPassed,
		`metrics.f1 > 0.5 || metrics.auc > 0.95`:             pedigree.CheckFailed,
		`metrics.f1 > 0.5 && metrics.auc > 0.9`:              pedigree.CheckFailed,
		`!has(metrics.f1) || metrics.f1 > 0.5`:               pedigree.CheckPassed,
		`["f1", "auc"].exists(m, metrics[m] > 0.9)`:          pedigree.CheckPassed,
		`["f1", "auc"].all(m, m in metrics)`:                 pedigree.CheckFailed,
		`has(metrics.f1) ? metrics.f1 > 0.5 : metrics.auc>0`: pedigree.CheckPassed,
	} {
		if c := ask(t, expr, sample()); c.State != want {
			t.Errorf("%s: %s, want %s: %s", expr, c.State, want, c.Message)
		}
	}
}

// TestNothingThere: without a version to replace, what depends on it passes and says so;
// what does not is asked as ever.
func TestNothingThere(t *testing.T) {
	const said = "nothing is deployed there yet: not compared"
	for _, tt := range []struct {
		expr string
		want pedigree.CheckState
		said bool
	}{
		{`metrics.auc >= current.metrics.auc - 0.005`, pedigree.CheckPassed, true},
		{`metrics.f1 >= current.metrics.f1`, pedigree.CheckPassed, true},
		{`metrics.auc >= 0.9 && metrics.auc >= current.metrics.auc`, pedigree.CheckPassed, true},
		{`metrics.auc >= 0.99 && metrics.auc >= current.metrics.auc`, pedigree.CheckFailed, false},
		{`metrics.auc >= 0.9 || metrics.auc >= current.metrics.auc`, pedigree.CheckPassed, false},
		{`current.data.all(d, data.exists(e, e.digest == d.digest))`, pedigree.CheckPassed, true},
		{`data.all(d, d.digest in current.data.map(e, e.digest))`, pedigree.CheckPassed, true},
		{`has(current.metrics.auc)`, pedigree.CheckPassed, true},
		{`!has(current.version) || version > current.version`, pedigree.CheckPassed, true},
		{`current.version > 3 ? true : false`, pedigree.CheckPassed, true},
		{`signature == current.signature`, pedigree.CheckPassed, true},
		{`current.metric("auc", "test") < 1.0`, pedigree.CheckPassed, true},
		{`current.deploy.image != deploy.image`, pedigree.CheckPassed, true},
		{`current.code.commit.startsWith("a")`, pedigree.CheckPassed, true},
		{`metrics.auc > 0.9`, pedigree.CheckPassed, false},
	} {
		in := sample()
		in.Current, in.CurrentDeployment = nil, nil
		c := ask(t, tt.expr, in)
		if c.State != tt.want || strings.HasPrefix(c.Message, said) != tt.said {
			t.Errorf("%s: %s: %s", tt.expr, c.State, c.Message)
		}
	}
}

// TestMessages: the gate's own message comes first, its own fix wins, and the instance's
// gates are named as such.
func TestMessages(t *testing.T) {
	gates := []pedigree.Gate{
		{Name: "auc", Expr: "metrics.auc >= current.metrics.auc", Message: "AUC fell.", Fix: "ask team:risk"},
		{Name: "fine", Expr: "metrics.auc > 0.5"},
		{Name: "old", Expr: "metrics.auc >", Message: "Too old"},
	}
	out := Evaluate(t.Context(), pedigree.InstanceScope, gates, sample())
	if len(out) != 3 || out[0].Name != "instance/auc" || out[0].Message != "AUC fell: metrics.auc = 0.91, current.metrics.auc = 0.94" || out[0].Fix != "ask team:risk" {
		t.Errorf("got %+v", out[0])
	}
	if out[1].Name != "instance/fine" || out[1].State != pedigree.CheckPassed || out[1].Message != "metrics.auc = 0.91" || out[1].Fix != "" {
		t.Errorf("got %+v", out[1])
	}
	if want := "Too old: the expression can't be used, line 1, column 14: the expression ends too early"; out[2].State != pedigree.CheckFailed || out[2].Message != want {
		t.Errorf("got  %s\nwant %s", out[2].Message, want)
	}
	if out := Evaluate(t.Context(), "risk", gates[:1], sample()); out[0].Name != "auc" {
		t.Errorf("got name %s", out[0].Name)
	}
	stated := []pedigree.Gate{{Name: "card", Expr: `owner == ""`, Fix: "pedigree amend REF --evidence card=PREFIX (REF again)"}}
	if out := Evaluate(t.Context(), "risk", stated, sample()); out[0].Fix != "pedigree amend fraud/7 --evidence card=PREFIX (fraud/7 again)" {
		t.Errorf("REF stands for the version that is judged: got fix %s", out[0].Fix)
	}
	if out := Evaluate(t.Context(), "risk", nil, sample()); len(out) != 0 {
		t.Errorf("got %v", out)
	}
}

// TestCheck are expressions that are refused, with the place and the reason.
func TestCheck(t *testing.T) {
	const private = ": descriptions, tags and notes may change without making an approval stale; put what decides into params, metrics or evidence"
	for _, tt := range []struct{ expr, want string }{
		{`metrics.auc >= "0.9"`, `, line 1, column 13: >= does not fit (double, string): write numbers without quotes, and double(params.x) for a parameter, which is a text`},
		{`params.lr < 0.1`, `, line 1, column 11: < does not fit (string, double): write numbers without quotes, and double(params.x) for a parameter, which is a text`},
		{`metrics.auc + 1 > 2.0`, `, line 1, column 13: + does not fit (double, int): write whole numbers with a point, as in 1.0`},
		{`metrics.auc`, `: it gives double, and true or false is wanted: compare it with something`},
		{`data`, `: it gives list(data), and true or false is wanted: compare it with something`},
		{`metrisc.auc > 0.9`, `, line 1, column 1: there is nothing named metrisc; did you mean metrics?`},
		{`curent.metrics.auc > 0.9`, `, line 1, column 1: there is nothing named curent; did you mean current?`},
		{`model.teir == "high"`, `, line 1, column 7: there is no field teir in model; did you mean tier?`},
		{`current.modle == ""`, `, line 1, column 9: there is no field modle in current`},
		{`runtime.environment.pyton == "3"`, `, line 1, column 21: there is no field pyton in environment; did you mean python?`},
		{"owner != \"\" &&\n  data.exists(d, d.rol == \"x\")", `, line 2, column 20: there is no field rol; did you mean role?`},
		{`evidence.exist(e, e.kind == "x")`, `, line 1, column 15: there is no function exist; did you mean exists?`},
		{`metrics.auc >`, `, line 1, column 14: the expression ends too early`},
		{`metrics.auc > > 1`, `, line 1, column 15: > is not expected here`},
		{`tags.x == "y"`, `, line 1, column 1: gates can't read tags` + private},
		{`description == ""`, `, line 1, column 1: gates can't read description` + private},
		{`rollback_note != ""`, `, line 1, column 1: gates can't read rollback_note` + private},
		{`model.description == ""`, `, line 1, column 7: gates can't read description` + private},
		{`model.tags.a == ""`, `, line 1, column 7: gates can't read tags` + private},
		{`deploy.note == ""`, `, line 1, column 8: gates can't read note` + private},
		{`evidence.all(e, e.note == "")`, `, line 1, column 19: gates can't read note` + private},
		{`owner.matches("(")`, `, line 1, column 15: invalid matches argument`},
		{`now > timestamp("yesterday")`, `, line 1, column 17: invalid timestamp argument`},
		{`now - created_at > duration("90d")`, `, line 1, column 29: invalid duration argument`},
		{`[1, "a"].size() == 2`, `, line 1, column 5: expected type 'int' but found 'string'`},
		{`owner.replace("a", "b") == ""`, `, line 1, column 14: replace is not offered in gates: its cost has no bound`},
		{`dyn(owner) == 1`, `, line 1, column 4: dyn is not offered in gates: its cost has no bound`},
		{`[[1]] == [[1]]`, `, line 1, column 1: a list or map inside another is not offered in gates`},
		{strings.Repeat("(", 100) + "true" + strings.Repeat(")", 100), ``},
		{`owner == "` + strings.Repeat("a", pedigree.MaxExpr) + `"`, `: the expression has 4107 bytes, the limit is 4096`},
		{``, ``},
	} {
		err := CheckExpression("the condition", tt.expr)
		if pedigree.CodeOf(err) != pedigree.CodeInvalid {
			t.Errorf("%s: got error %v", tt.expr, err)
		} else if want := "the condition" + tt.want; !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s\n\tgot  %s\n\twant %s", tt.expr, err, want)
		}
	}
	err := Check(&pedigree.Policy{Gates: []pedigree.Gate{
		{Name: "auc", Expr: "metrics.auc > 1"}, {Name: "tier", Expr: `model.teir == ""`}, {Name: "own", Expr: `ownr == ""`},
	}})
	want := `gate "tier", line 1, column 7: there is no field teir in model; did you mean tier?; gate "own", line 1, column 1: there is nothing named ownr; did you mean owner?`
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	if err := Check(&pedigree.Policy{}); err != nil {
		t.Error(err)
	}
}

func TestReads(t *testing.T) {
	all := []string{"evidence", "model.name", "model.owner", "model.tier", "outputs", "owner", "run", "target"}
	for expr, want := range map[string][]string{
		"true": nil,
		`evidence.exists(e, e.kind == "fairness")`:             {"evidence"},
		`size(evidence) > 0`:                                   {"evidence"},
		`current.evidence.size() > 0`:                          nil,
		`metrics.auc > 0.9 && params.depth != "evidence"`:      nil,
		`owner != "" && run.system == "github"`:                {"owner", "run"},
		`current.owner != "" && outputs.all(o, o.name != "x")`: {"outputs"},
		`target.owner != ""`:                                   nil,
		`target_name == target.name`:                           {"target"},
		`completeness.approve.missing == []`:                   {"owner", "target"},
		`model.tier != "high" || has(model.owner)`:             {"model.owner", "model.tier"},
		`model.?tier.orValue("high") != "high"`:                {"model.name", "model.owner", "model.tier"},
		`[model].exists(m, m.tier == "low")`:                   {"model.name", "model.owner", "model.tier"},
		`[1].exists(i, model.tier == "low")`:                   {"model.tier"},
		`evidence >`:                                           all,
	} {
		var got []string
		reads := Reads(pedigree.Policies{{Gates: []pedigree.Gate{{Name: "a", Expr: "true"}}}, {Gates: []pedigree.Gate{{Name: "b", Expr: expr}}}})
		for _, field := range all {
			if reads(field) {
				got = append(got, field)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s reads %v, want %v", expr, got, want)
		}
	}
}

// TestBounded: whatever is asked ends soon, with a check that says so.
func TestBounded(t *testing.T) {
	in := sample()
	in.Version.Record.Artifact.Files = nil
	for i := range pedigree.MaxFiles {
		in.Version.Record.Artifact.Files = append(in.Version.Record.Artifact.Files, pedigree.File{Path: fmt.Sprintf("part-%05d.bin", i), Size: int64(i + 1)})
	}
	in.Model.PermittedUse = strings.Repeat("a", pedigree.MaxText)
	in.Version.Record.Params = pedigree.Params{}
	for i := range 10_000 {
		in.Version.Record.Params[fmt.Sprintf("param %d", i)] = "x"
		in.Version.Record.Metrics = append(in.Version.Record.Metrics,
			pedigree.Metric{Name: "auc", Split: fmt.Sprint(i)}, pedigree.Metric{Name: fmt.Sprintf("metric %d", i)})
	}
	in.Current.Record.Metrics = slices.Clone(in.Version.Record.Metrics)
	for _, expr := range []string{
		`artifact.files.all(a, artifact.files.all(b, a.size + b.size > 0))`,
		`artifact.files.all(a, artifact.files.all(b, artifact.files.all(c, a.size + b.size + c.size > 0)))`,
		`artifact.files.all(a, artifact.files.map(b, b.path).size() == 0 || a.size > 0 && a.size < 0 || true)`,
		`artifact.files.all(a, a.path in artifact.files.map(b, b.path))`,
		`["aaaaaaaaaaaaaaaa"]` + strings.Repeat(".map(x,x+x)", 60) + `[0] == ""`,
		`[1]` + strings.Repeat(".map(x,[x,x].size())", 60) + `[0] == 3 && artifact.files.all(a, artifact.files.all(b, true))`,
		`cel.bind(a,[1],` + strings.Repeat("cel.bind(a,a+a,", 20) + `a.size() == 0` + strings.Repeat(")", 21),
		`artifact.files.all(f, model.permitted_use.matches("(a|aa)*b(a|b)*c"))`,
		`lists.range(10000).all(a, lists.range(99).all(b, has(artifact.files) && model.permitted_use.size() > 0))`,
		`cel.bind(a, artifact.files.map(f, f.path), lists.range(10000).all(i, sets.contains(a, a)))`,
		`lists.range(10000).all(i, metrics.auc > 0.5 && ["k"].exists(k, metrics[string(i)] > 0.0 || true))`,
		`lists.range(10000).all(i, metric("auc", string(i)) > 0.5 || true)`,
		`lists.range(10000).all(i, params[string(i) + "x"] == "" || true)`,
		`lists.range(10000).all(i, metrics == current.metrics || true)`,
		`lists.range(1000).all(i, metrics[model.permitted_use] > 0.0 || true)`,
		`params[model.permitted_use.substring(0, 60000)] == ""`,
		`params[model.permitted_use.substring(0, 3000)] == "" || metric("auc", model.permitted_use.substring(0, 2000)) > 0.0`,
		`artifact.files.map(f, f.size).all(n, artifact.files.map(f, f.size).sort().size() > 0)`,
		`lists.range(10000).all(a, lists.range(10000).all(b, true))`,
		`sets.intersects(artifact.files, artifact.files.filter(f, false) + artifact.files)`,
		`[` + strings.Repeat("artifact,", 140) + `artifact] == [` + strings.Repeat("current.artifact,", 140) + `artifact]`,
	} {
		if err := CheckExpression("x", expr); err != nil {
			t.Errorf("%s: %v", short(expr), err)
			continue
		}
		start := time.Now()
		c := Evaluate(t.Context(), "x", []pedigree.Gate{{Name: "g", Expr: expr}}, in)[0]
		t.Logf("%v %s %s: %s", time.Since(start).Round(time.Millisecond), c.State, short(expr), short(c.Message))
		if text, err := json.Marshal(c); err != nil || len(text) > 64<<10 {
			t.Errorf("%s: a check of %d bytes, %v", short(expr), len(text), err)
		}
	}
	for _, expr := range []string{
		`artifact.files.all(a, artifact.files.all(b, a.size + b.size > 0))`,
		`["aaaaaaaaaaaaaaaa"]` + strings.Repeat(".map(x,x+x)", 60) + `[0] == ""`,
	} {
		c := ask(t, expr, in)
		if c.State != pedigree.CheckFailed || !strings.HasPrefix(c.Message, "the gate costs too much") {
			t.Errorf("%s: %s: %s", short(expr), c.State, c.Message)
		}
	}
	// What people write about ten thousand files stays within the bound.
	for _, expr := range []string{
		`artifact.files.all(f, f.size > 0 && f.path.endsWith(".bin"))`,
		`!artifact.files.exists(f, f.path.endsWith(".pkl") || f.path.endsWith(".pickle") || f.path.endsWith(".pt"))`,
	} {
		if c := ask(t, expr, in); c.State != pedigree.CheckPassed {
			t.Errorf("%s: %s", expr, c.Message)
		} else if n := len(c.Values); n > 2*maxElements+1 {
			t.Errorf("%s: %d values", expr, n)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if c := Evaluate(ctx, "x", []pedigree.Gate{{Name: "g", Expr: `artifact.files.all(a, a.size > 0)`}}, in)[0]; c.State != pedigree.CheckFailed {
		t.Errorf("ended context: %s", c.State)
	}
}
