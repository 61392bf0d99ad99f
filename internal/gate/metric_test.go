package gate

import (
	"strings"
	"testing"

	"github.com/pedigree-ml/pedigree"
)

// TestComparable: metrics of different data or splits are not compared, in whichever order
// an expression reads them, and the check says what both were measured on.
func TestComparable(t *testing.T) {
	const plain = `metrics.auc >= current.metrics.auc - 0.5`
	on := func(dataset, split string, digest pedigree.Digest) pedigree.Metric {
		return pedigree.Metric{Name: "auc", Value: 0.9, Dataset: dataset, Split: split, Digest: digest}
	}
	train := on("train", "", "") // has a data reference with digestA in both records
	for _, tt := range []struct {
		name         string
		own, current []pedigree.Metric
		expr         string
		change       func(in *Input)
		message, fix string // "" for a gate that passes
	}{
		{name: "same digest", own: []pedigree.Metric{on("test", "", digestA)}, current: []pedigree.Metric{on("test", "", digestA)}},
		{name: "same digest under another name", own: []pedigree.Metric{on("test", "", digestA)}, current: []pedigree.Metric{on("holdout", "", digestA)}},
		{name: "the same data reference", own: []pedigree.Metric{train}, current: []pedigree.Metric{train}},
		{name: "its digest and that of the reference", own: []pedigree.Metric{train}, current: []pedigree.Metric{on("eval", "", digestA)}},
		{name: "nothing said on both sides", own: []pedigree.Metric{on("", "", "")}, current: []pedigree.Metric{on("", "", "")}},
		{name: "same split", own: []pedigree.Metric{on("x", "eu", "")}, current: []pedigree.Metric{on("x", "eu", "")}},
		{
			name: "other digest", own: []pedigree.Metric{on("test", "", digestA)}, current: []pedigree.Metric{on("test", "", digestB)},
			message: "metric auc is not comparable: that of fraud/7 was measured on test " + string(digestA) + ", that of fraud/6 on test " + string(digestB),
			fix:     "pedigree amend fraud/7 --metric auc=VALUE@test",
		},
		{
			name: "the reference has another digest", own: []pedigree.Metric{train}, current: []pedigree.Metric{train},
			change:  func(in *Input) { in.Version.Record.Data[0].Digest = digestB },
			message: "metric auc is not comparable: that of fraud/7 was measured on train " + string(digestB) + ", that of fraud/6 on train " + string(digestA),
			fix:     "pedigree amend fraud/7 --metric auc=VALUE@train",
		},
		{
			name: "other split", own: []pedigree.Metric{on("x", "eu", digestA)}, current: []pedigree.Metric{on("x", "us", digestA)},
			message: "metric auc is not comparable: that of fraud/7 was measured on x/eu " + string(digestA) + ", that of fraud/6 on x/us",
			fix:     "pedigree amend fraud/7 --metric auc=VALUE@x/us",
		},
		{
			name: "one digest unknown", own: []pedigree.Metric{on("x", "", digestA)}, current: []pedigree.Metric{on("x", "", "")},
			message: "metric auc is not comparable: that of fraud/7 was measured on x " + string(digestA) + ", that of fraud/6 on x;",
		},
		{
			name: "other data set", own: []pedigree.Metric{on("x", "", "")}, current: []pedigree.Metric{on("", "", "")},
			message: "metric auc is not comparable: that of fraud/7 was measured on x, that of fraud/6 on data that is not recorded",
			fix:     "pedigree amend fraud/7 --metric auc=VALUE",
		},
		{
			name: "other place of the data", own: []pedigree.Metric{train}, current: []pedigree.Metric{train},
			change: func(in *Input) {
				in.Version.Record.Data[0].Digest, in.Current.Record.Data[0].Digest = "", ""
				in.Version.Record.Data[0].Version = "2026-11"
			},
			message: "metric auc is not comparable: that of fraud/7 was measured on train s3://lake/fraud/train 2026-11, that of fraud/6 on train s3://lake/fraud/train",
		},
		{
			name: "current first", expr: `current.metrics.auc <= metrics.auc + 0.5`,
			own: []pedigree.Metric{on("test", "", digestA)}, current: []pedigree.Metric{on("test", "", digestB)}, message: "metric auc is not comparable",
		},
		{
			name: "by a name that is computed", expr: `["auc"].all(m, metrics[m] >= current.metrics[m])`,
			own: []pedigree.Metric{on("test", "", digestA)}, current: []pedigree.Metric{on("test", "", digestB)}, message: "metric auc is not comparable",
		},
		{
			name: "all metrics", expr: `metrics == current.metrics`,
			own: []pedigree.Metric{on("test", "", digestA)}, current: []pedigree.Metric{on("test", "", digestB)}, message: "metric auc is not comparable",
		},
		{
			name: "a way out that does not compare", expr: plain + ` || metrics.auc > 0.8`,
			own: []pedigree.Metric{on("test", "", digestA)}, current: []pedigree.Metric{on("test", "", digestB)},
		},
		{
			name: "each against a bound of its own", expr: `metrics.auc > 0.8 || current.metrics.auc > 0.8`,
			own: []pedigree.Metric{on("test", "", digestA)}, current: []pedigree.Metric{on("test", "", digestB)},
		},
		{
			name: "another split beside", expr: `metric("auc", "test") >= 0.8 && metric("auc", "val") >= current.metric("auc", "val")`,
			own: []pedigree.Metric{on("", "test", ""), on("", "val", "")}, current: []pedigree.Metric{on("", "test", ""), on("", "val", "")},
		},
		{
			name: "splits crossed", expr: `metric("auc", "test") >= current.metric("auc", "val")`,
			own: []pedigree.Metric{on("", "test", ""), on("", "val", "")}, current: []pedigree.Metric{on("", "test", ""), on("", "val", "")},
			message: "metric auc is not comparable: that of fraud/7 was measured on /test, that of fraud/6 on /val",
		},
		{
			name: "asked for only", expr: `has(metrics.auc) && has(current.metrics.auc)`,
			own: []pedigree.Metric{on("test", "", digestA)}, current: []pedigree.Metric{on("test", "", digestB)},
		},
	} {
		in := sample()
		in.Version.Record.Metrics, in.Current.Record.Metrics = tt.own, tt.current
		if tt.change != nil {
			tt.change(&in)
		}
		expr := tt.expr
		if expr == "" {
			expr = plain
		}
		c := ask(t, expr, in)
		if (c.State == pedigree.CheckFailed) != (tt.message != "") {
			t.Errorf("%s: %s: %s", tt.name, c.State, c.Message)
		}
		if !strings.HasPrefix(c.Message, tt.message) || tt.fix != "" && c.Fix != tt.fix {
			t.Errorf("%s:\n\tgot  %s; %s\n\twant %s; %s", tt.name, c.Message, c.Fix, tt.message, tt.fix)
		}
	}
}

// TestChoice: which measurement the name of a metric means where there are several.
func TestChoice(t *testing.T) {
	m := func(dataset, split string, value pedigree.Float) pedigree.Metric {
		return pedigree.Metric{Name: "auc", Dataset: dataset, Split: split, Value: value}
	}
	for _, tt := range []struct {
		name    string
		metrics []pedigree.Metric
		expr    string
		message string // "" for a gate that passes
	}{
		{"the only one", []pedigree.Metric{m("val", "eu", 1)}, `metrics.auc == 1.0`, ""},
		{"the plain one", []pedigree.Metric{m("val", "", 2), m("", "", 1), m("test", "", 3)}, `metrics.auc == 1.0`, ""},
		{"data set test", []pedigree.Metric{m("val", "", 2), m("test", "", 1)}, `metrics.auc == 1.0`, ""},
		{"split test", []pedigree.Metric{m("d", "val", 2), m("d", "test", 1)}, `metrics.auc == 1.0`, ""},
		{"split by name", []pedigree.Metric{m("d", "val", 2), m("d", "test", 1)}, `metric("auc", "val") == 2.0`, ""},
		{"data set by name", []pedigree.Metric{m("a", "x", 2), m("b", "x", 1)}, `metric("auc", "a") == 2.0 && metrics["auc@b"] == 1.0`, ""},
		{"both by name", []pedigree.Metric{m("a", "x", 2), m("a", "y", 1)}, `metric("auc", "a/y") == 1.0`, ""},
		{"both by a name that is computed", []pedigree.Metric{m("a", "x", 2), m("a", "y", 1)}, `["x", "y"].all(s, metric("auc", "a/" + s) > 0.5)`, ""},
		{"its absence", []pedigree.Metric{m("a", "x", 2)}, `!("auc@b" in metrics) && "auc@x" in metrics`, ""},
		{
			"no test data",
			[]pedigree.Metric{m("val", "", 2), m("train", "", 1)},
			`metrics.auc > 0.5`,
			`metric auc is ambiguous, it is recorded on val, train: name the split, as in metric("auc", "test")`,
		},
		{"two test splits", []pedigree.Metric{m("a", "test", 2), m("b", "test", 1)}, `metrics.auc > 0.5`, `metric auc is ambiguous, it is recorded on a/test, b/test`},
		{"still two", []pedigree.Metric{m("a", "x", 2), m("a", "y", 1)}, `metric("auc", "a") > 0.5`, `metric auc on a is ambiguous, it is recorded on a/x, a/y`},
	} {
		in := sample()
		in.Version.Record.Metrics = tt.metrics
		c := ask(t, tt.expr, in)
		if (c.State == pedigree.CheckFailed) != (tt.message != "") || !strings.HasPrefix(c.Message, tt.message) {
			t.Errorf("%s: %s: %s", tt.name, c.State, c.Message)
		}
	}
}
