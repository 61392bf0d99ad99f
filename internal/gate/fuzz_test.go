package gate

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pedigree-ml/pedigree"
)

// FuzzEvaluate: no expression panics, takes long, or gives a check without a state; values
// are JSON and short.
func FuzzEvaluate(f *testing.F) {
	for _, seed := range []string{
		`metrics.auc >= current.metrics.auc - 0.005`, `model.tier != "high" || evidence.exists(e, e.kind == "fairness")`, `metric("auc", params.lr) > 0.5`,
		`artifact.files.all(f, f.path.matches("^[a-z]+$"))`, `cel.bind(x, [1], x + x == [1, 1])`, `current.metrics.all(k, has(metrics.auc))`,
		`[pedigree.data{role: "x"}] == data`, `type(model) == type(target)`, `metrics.?x.orValue(1.0) > 0.0`, `current == current`, `string(metrics) == ""`,
		`{"a": metrics}.a.auc > 0.0`, `optional.of(data).value() == data`, `metrics[0] > 1.0`, `[metrics] == [current.metrics]`, `now - now == duration("0s")`,
		`params == {"lr": "0.1"}`, `"\xff" == owner`, `b"\xff" == bytes(owner)`, `sets.contains(data, [data[0]])`, `model in [model]`, `metrics == metrics`,
		`data.sortBy(d, d.role).first().value().role == "test"`, `-9223372036854775808 / -1 == 1`, `timestamp(0) < now`, `deploy.role.split("").size() == 7`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, expr string) {
		start := time.Now()
		gate := []pedigree.Gate{{Name: "g", Expr: expr}}
		err := Check(&pedigree.Policy{Gates: gate})
		if err != nil && pedigree.CodeOf(err) != pedigree.CodeInvalid {
			t.Fatalf("code %s: %v", pedigree.CodeOf(err), err)
		}
		for _, current := range []bool{true, false} {
			in := sample()
			if !current {
				in.Current = nil
			}
			c := Evaluate(t.Context(), "x", gate, in)[0]
			if c.State != pedigree.CheckPassed && c.State != pedigree.CheckFailed || c.Message == "" || err != nil && c.State == pedigree.CheckPassed {
				t.Fatalf("got %+v", c)
			}
			text, err := json.Marshal(c)
			if err != nil {
				t.Fatal(err)
			}
			if len(text) > 64<<10 || len(c.Values) > maxReadings {
				t.Fatalf("a check of %d bytes", len(text))
			}
		}
		if d := time.Since(start); d > 4*maxTime {
			t.Fatalf("took %v", d)
		}
	})
}

// TestConcurrent: programs are shared, evaluations are not; the cache stays bounded.
func TestConcurrent(t *testing.T) {
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := range 200 {
				in := sample()
				in.Version.Number = pedigree.VersionNumber(w + 1)
				gates := []pedigree.Gate{
					{Name: "own", Expr: fmt.Sprintf("version == %d", w+1)},
					{Name: "many", Expr: fmt.Sprintf("version + %d > %d", i%7, i%7)},
				}
				for _, c := range Evaluate(t.Context(), "x", gates, in) {
					if c.State != pedigree.CheckPassed {
						t.Errorf("%s: %s", c.Expr, c.Message)
					}
				}
			}
		})
	}
	wg.Wait()
	for i := range 3 * maxCached {
		if err := CheckExpression("x", fmt.Sprintf("version > %d", i)); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(programs.young) + len(programs.old); n > 2*maxCached {
		t.Errorf("%d expressions are kept", n)
	}
}

// BenchmarkEvaluate asks the three gates of a usual policy about a usual version.
func BenchmarkEvaluate(b *testing.B) {
	gates := []pedigree.Gate{
		{Name: "auc", Expr: "metrics.auc >= current.metrics.auc - 0.05"},
		{Name: "fairness", Expr: `model.tier != "high" || evidence.exists(e, e.kind == "card")`},
		{Name: "reproducible", Expr: `code.commit != "" && !code.dirty && runtime.image.contains("@sha256:") && data.all(d, d.digest != "")`},
	}
	in := sample()
	b.ReportAllocs()
	for b.Loop() {
		for _, c := range Evaluate(b.Context(), "x", gates, in) {
			if c.State != pedigree.CheckPassed {
				b.Fatal(c.Message)
			}
		}
	}
}

// BenchmarkCompile compiles one gate that is in no cache.
func BenchmarkCompile(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := compile(`model.tier != "high" || evidence.exists(e, e.kind == "fairness")`); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkFiles looks at each of ten thousand files.
func BenchmarkFiles(b *testing.B) {
	in := sample()
	for i := range pedigree.MaxFiles {
		in.Version.Record.Artifact.Files = append(in.Version.Record.Artifact.Files[:i:i], pedigree.File{Path: fmt.Sprintf("part-%05d.bin", i), Size: 1})
	}
	gates := []pedigree.Gate{{Name: "pickle", Expr: `!artifact.files.exists(f, f.path.endsWith(".pkl") || f.path.endsWith(".pt"))`}}
	for b.Loop() {
		if c := Evaluate(b.Context(), "x", gates, in)[0]; c.State != pedigree.CheckPassed {
			b.Fatal(c.Message)
		}
	}
}

// TestHostile are expressions made to be slow to read.
func TestHostile(t *testing.T) {
	for _, expr := range []string{
		strings.Repeat("(", 4000), strings.Repeat("[", 2000) + strings.Repeat("]", 2000), strings.Repeat("a.", 2000) + "b", strings.Repeat("!", 4000) + "a",
		strings.Repeat("-", 4000) + "1 == 1", strings.Repeat("true?", 600) + "true" + strings.Repeat(":true", 600), strings.Repeat("true||", 600) + "true",
		strings.Repeat("{", 4000), strings.Repeat("a(", 2000), strings.Repeat("data.all(d,", 300) + "true" + strings.Repeat(")", 300),
		`owner.matches("` + strings.Repeat("(a*)*", 700) + `")`, `owner.matches("((((a{1000}){1000}){1000}){1000})")`, strings.Repeat("\"", 4095),
	} {
		start := time.Now()
		c := Evaluate(t.Context(), "x", []pedigree.Gate{{Name: "g", Expr: expr}}, sample())[0]
		t.Logf("%v %s: %s: %s", time.Since(start).Round(time.Millisecond), short(expr)[:20], c.State, short(c.Message))
	}
}
