package registrar_test

import (
	"encoding/json"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/pedigree-ml/pedigree"
)

// later appends to the log until its clock has moved on, and returns that moment.
func (r *registry) later(t testing.TB) time.Time {
	t.Helper()
	var first time.Time
	for n := pedigree.VersionNumber(1); ; n = 3 - n {
		move, err := r.SetAlias(t.Context(), me, fraud(n), "clock", nil, "")
		if err != nil {
			t.Fatal(err)
		}
		if first.IsZero() {
			first = move.From
		}
		if move.From.After(first) {
			return move.From
		}
	}
}

// logged is the head of a line.
func logged(at time.Time, change func(p *pedigree.Prediction)) *pedigree.Prediction {
	p := &pedigree.Prediction{Schema: pedigree.PredictionV1, ID: "r-1", Time: at}
	change(p)
	return p
}

// TestWhichPrediction: each way by which a line leads to the deployment of its moment.
func TestWhichPrediction(t *testing.T) {
	eachDatabase(t, func(t *testing.T, database string) {
		ctx, r := t.Context(), mustOpen(t, database)
		r.mustPush(t, 4)
		r.mustTarget(t, "prod/a", pedigree.TargetSpec{Dashboards: []pedigree.SafeURI{"https://example.org/d/1"}})
		r.mustTarget(t, "prod/empty", pedigree.TargetSpec{})
		r.mustPolicy(t, pedigree.Policy{Project: "default", Description: "looked at"})
		r.mustApprove(t, 2)
		early := r.later(t)
		first := r.mustDeploy(t, 1, "prod/a", pedigree.Deploy{})
		between := r.later(t)
		r.later(t)
		second := r.mustDeploy(t, 2, "prod/a", pedigree.Deploy{})
		canary := r.mustDeploy(t, 3, "prod/a", pedigree.Deploy{Role: pedigree.RoleCanary})
		after := r.later(t)
		digest := func(n byte) pedigree.Digest { return pedigree.DigestBytes([]byte{n}) }
		for _, tt := range []struct {
			name   string
			at     time.Time
			change func(p *pedigree.Prediction)
			want   string // "kind version deployment"
			says   string // of the contradictions and notes
		}{
			{"by its deployment", between, func(p *pedigree.Prediction) { p.Deployment = first.ID }, "deployment fraud/1 " + first.ID, ""},
			{"by its deployment, of another version", between, func(p *pedigree.Prediction) { p.Deployment, p.Model, p.Version = first.ID, "fraud", 2 }, "deployment fraud/1 " + first.ID, "the line says version 2, and the log says 1"},
			{"by its deployment, of another artifact", between, func(p *pedigree.Prediction) { p.Deployment, p.Digest = first.ID, digest(2) }, "deployment fraud/1 " + first.ID, "the line says the artifact " + string(digest(2)) + ", and that of fraud/1 is " + string(digest(1))},
			{"by its deployment, at another target", between, func(p *pedigree.Prediction) { p.Deployment, p.Target = first.ID, "prod/empty" }, "deployment fraud/1 " + first.ID, "the line says target prod/empty, and the deployment is at prod/a"},
			{"before its deployment", early, func(p *pedigree.Prediction) { p.Deployment = first.ID }, "deployment fraud/1 " + first.ID, "before the deployment became active"},
			{"after its deployment", after, func(p *pedigree.Prediction) { p.Deployment = first.ID }, "deployment fraud/1 " + first.ID, "after the deployment ended"},
			{"by its target and time", between, func(p *pedigree.Prediction) { p.Target = "prod/a" }, "target fraud/1 " + first.ID, "the deployments changed on"},
			{"by its target, with a canary", after, func(p *pedigree.Prediction) { p.Target = "prod/a" }, "target fraud/2 " + second.ID, "fraud/3 was active there too, as canary"},
			{"the canary, by its version", after, func(p *pedigree.Prediction) { p.Target, p.Model, p.Version = "prod/a", "fraud", 3 }, "target fraud/3 " + canary.ID, ""},
			{"the canary, by its artifact", after, func(p *pedigree.Prediction) { p.Target, p.Digest = "prod/a", digest(3) }, "target fraud/3 " + canary.ID, ""},
			{"another model at its target", after, func(p *pedigree.Prediction) { p.Target, p.Model = "prod/a", "other" }, "target fraud/2 " + second.ID, "the line says model other, and the log says fraud"},
			{"a version that was not at its target", after, func(p *pedigree.Prediction) { p.Target, p.Model, p.Version = "prod/a", "fraud", 1 }, "version fraud/1", "what the line names was not active at prod/a on"},
			{"an artifact that was not at its target", after, func(p *pedigree.Prediction) { p.Target, p.Digest = "prod/a", digest(4) }, "digest fraud/4", "what the line names was not active at prod/a on"},
			{"no such target, and a version", after, func(p *pedigree.Prediction) { p.Target, p.Model, p.Version = "prod/none", "fraud", 4 }, "version fraud/4", "what the line names was not active at prod/none on"},
			{"by its version", after, func(p *pedigree.Prediction) { p.Model, p.Version = "fraud", 3 }, "version fraud/3 " + canary.ID, ""},
			{"by its version, which is deployed nowhere", after, func(p *pedigree.Prediction) { p.Model, p.Version = "fraud", 4 }, "version fraud/4", ""},
			{"by model and artifact", between, func(p *pedigree.Prediction) { p.Model, p.Digest = "fraud", digest(1) }, "digest fraud/1 " + first.ID, ""},
			{"by its artifact", between, func(p *pedigree.Prediction) { p.Digest = digest(1) }, "digest fraud/1 " + first.ID, ""},
			{"by its artifact, in a project", between, func(p *pedigree.Prediction) { p.Project, p.Digest = "default", digest(1) }, "digest fraud/1 " + first.ID, ""},
			{"before the record", time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC), func(p *pedigree.Prediction) { p.Model, p.Version = "fraud", 4 }, "version fraud/4", "before fraud/4 was registered on"},
			{"in times to come", time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC), func(p *pedigree.Prediction) { p.Deployment = second.ID }, "deployment fraud/2 " + second.ID, ""},
		} {
			list, err := r.WhichPrediction(ctx, me, "default", logged(tt.at, tt.change), now)
			if err != nil {
				t.Errorf("%s: %v", tt.name, err)
				continue
			}
			f := list.Items[0]
			got, said := f.Kind+" "+f.Version.Reference().String(), strings.Join(append(f.Contradictions, f.Notes...), "\n")
			if f.Deployment != nil {
				got += " " + f.Deployment.ID
			}
			if got != tt.want || !strings.Contains(said, tt.says) || tt.says == "" && len(f.Contradictions) > 0 {
				t.Errorf("%s: got %q, which says %q; want %q, which says %q", tt.name, got, said, tt.want, tt.says)
			}
		}

		// The answer has what an incident asks for.
		list, err := r.WhichPrediction(ctx, me, "default", logged(after, func(p *pedigree.Prediction) { p.Target = "prod/a" }), now)
		if err != nil || len(list.Items) != 1 {
			t.Fatalf("got %+v, %v", list, err)
		}
		f := list.Items[0]
		if f.Version.Record.Owner != "team:risk" || len(f.Version.Approval.Opinions) != 1 || len(f.Deployment.Decision.Policies) != 1 || len(f.Target.Dashboards) != 1 || f.Rollback != "pedigree rollback prod/a" || list.AsOf == 0 {
			t.Errorf("got %+v, approved %+v, decided by %+v, as of %d", f, f.Version.Approval, f.Deployment.Decision, list.AsOf)
		}
		// Another moment can be asked about.
		list, err = r.WhichPrediction(ctx, me, "default", logged(after, func(p *pedigree.Prediction) { p.Target = "prod/a" }), pedigree.At{Time: between})
		if err != nil || list.Items[0].Version.Number != 1 {
			t.Errorf("at another moment: got %+v, %v", list, err)
		}

		// A deployment of a version that was deleted since is known all the same.
		if _, err := r.EndDeployment(ctx, me, canary.ID, ""); err != nil {
			t.Fatal(err)
		}
		if _, err := r.DeleteVersion(ctx, me, fraud(3), "", false, nil); err != nil {
			t.Fatal(err)
		}
		gone := r.later(t)
		list, err = r.WhichPrediction(ctx, me, "default", logged(gone, func(p *pedigree.Prediction) { p.Deployment, p.Model, p.Version = canary.ID, "fraud", 3 }), now)
		if err != nil || list.Items[0].Deployment.ID != canary.ID || len(list.Items[0].Contradictions) != 1 || !strings.Contains(list.Items[0].Contradictions[0], "after the deployment ended") {
			t.Errorf("of a deleted version: got %+v, %v", list, err)
		}

		for _, tt := range []struct {
			name   string
			at     time.Time
			change func(p *pedigree.Prediction)
			code   pedigree.ErrorCode
		}{
			{"no such deployment", after, func(p *pedigree.Prediction) { p.Deployment = "dep_0193a3c5e8b07aa48f2d3c4b5a697887" }, pedigree.CodeNotFound},
			{"no such target", after, func(p *pedigree.Prediction) { p.Target = "prod/none" }, pedigree.CodeNotFound},
			{"nothing at the target", after, func(p *pedigree.Prediction) { p.Target = "prod/empty" }, pedigree.CodeNotFound},
			{"nothing at the target yet", early, func(p *pedigree.Prediction) { p.Target = "prod/a" }, pedigree.CodeNotFound},
			{"no such version", after, func(p *pedigree.Prediction) { p.Model, p.Version = "fraud", 9 }, pedigree.CodeNotFound},
			{"no such model", after, func(p *pedigree.Prediction) { p.Model, p.Version = "fruad", 1 }, pedigree.CodeNotFound},
			{"no such artifact", after, func(p *pedigree.Prediction) { p.Digest = digest(9) }, pedigree.CodeNotFound},
			{"no such project", after, func(p *pedigree.Prediction) { p.Project, p.Target = "nowhere", "prod/a" }, pedigree.CodeNotFound},
			{"before the record", time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC), func(p *pedigree.Prediction) { p.Target = "prod/a" }, pedigree.CodeNotRecorded},
		} {
			if list, err := r.WhichPrediction(ctx, me, "default", logged(tt.at, tt.change), now); pedigree.CodeOf(err) != tt.code {
				t.Errorf("%s: got %+v, %v, want %s", tt.name, list, err, tt.code)
			}
		}
	})
}

// TestWhichPredictionHides: nobody learns by a line what they may not read.
func TestWhichPredictionHides(t *testing.T) {
	eachDatabase(t, func(t *testing.T, database string) {
		ctx := t.Context()
		e := mustEnable(t, mustOpen(t, database))
		if _, err := e.CreateProject(ctx, e.root, "risk", ""); err != nil {
			t.Fatal(err)
		}
		digest := pedigree.DigestBytes([]byte("x"))
		if _, err := e.Register(ctx, e.root, "risk", "score", pedigree.Registration{CreateModel: true, Record: pedigree.Record{Artifact: pedigree.Artifact{Kind: pedigree.ArtifactLinked, URI: "s3://m", Digest: digest}}}); err != nil {
			t.Fatal(err)
		}
		if _, err := e.CreateTarget(ctx, e.root, "risk", "prod/score", pedigree.TargetSpec{Kind: pedigree.TargetOnline}); err != nil {
			t.Fatal(err)
		}
		d, err := e.Deploy(ctx, e.root, pedigree.Reference{Project: "risk", Model: "score", Version: 1}, "prod/score", pedigree.Deploy{}, nil)
		if err != nil {
			t.Fatal(err)
		}
		ann := e.account(t, "ann", "reader")
		for name, change := range map[string]func(p *pedigree.Prediction){
			"by its deployment": func(p *pedigree.Prediction) { p.Deployment = d.ID },
			"by its target":     func(p *pedigree.Prediction) { p.Project, p.Target = "risk", "prod/score" },
			"by its version":    func(p *pedigree.Prediction) { p.Project, p.Model, p.Version = "risk", "score", 1 },
			"by its artifact":   func(p *pedigree.Prediction) { p.Digest = digest },
		} {
			line := logged(time.Now().Add(time.Hour), change)
			list, err := e.WhichPrediction(ctx, ann, "default", line, now)
			if pedigree.CodeOf(err) != pedigree.CodeNotFound || len(list.Items) > 0 {
				t.Errorf("%s: got %+v, %v", name, list, err)
			}
			if list, err := e.WhichPrediction(ctx, e.root, "default", line, now); err != nil || list.Items[0].Version.Model != "score" {
				t.Errorf("%s, by who may: got %+v, %v", name, list, err)
			}
		}
		_, err = e.WhichPrediction(ctx, ann, "risk", logged(time.Now(), func(p *pedigree.Prediction) { p.Deployment = d.ID }), now)
		want(t, "in a hidden project", err, pedigree.CodeNotFound)
		_, err = e.CheckPredictions(ctx, ann, "risk", "prod/score", strings.NewReader(""))
		want(t, "the schema of a hidden target", err, pedigree.CodeNotFound)
	})
}

// TestCheckPredictions: lines against the form of all and the schema of a target.
func TestCheckPredictions(t *testing.T) {
	eachDatabase(t, func(t *testing.T, database string) {
		ctx, r := t.Context(), mustOpen(t, database)
		r.mustTarget(t, "prod/a", pedigree.TargetSpec{LogSchema: json.RawMessage(`{"properties": {"request": {"properties": {"amount": {"type": "number"}}}}}`)})
		r.mustTarget(t, "prod/b", pedigree.TargetSpec{})
		const good = `{"schema":"pedigree.prediction/v1","id":"r-1","time":"2026-11-24T09:00:00Z","target":"prod/a","request":{"amount":1},"prediction":1}` + "\n"
		text := strings.Replace(good, `"amount":1`, `"amount":"1"`, 1)
		for _, tt := range []struct {
			name, lines string
			target      pedigree.TargetName
			lineCount   int
			bad         string // what is said of the first bad line
		}{
			{"nothing", "", "", 0, ""},
			{"good, without a target", good + "\n" + good, "", 2, ""},
			{"good", good, "prod/a", 1, ""},
			{"a text, without a target", text, "", 1, ""},
			{"a text", good + text, "prod/a", 2, "request.amount: got string, want number"},
			{"no schema, of another target", text, "prod/b", 1, "target: it is of prod/a"},
			{"no JSON", good + "hello", "prod/a", 2, "byte 1: this is not JSON"},
			{"too long", `{"id":"` + strings.Repeat("x", pedigree.MaxPrediction) + `"}`, "", 1, "the limit is 1048576"},
		} {
			got, err := r.CheckPredictions(ctx, me, "default", tt.target, strings.NewReader(tt.lines))
			if err != nil || got.Lines != tt.lineCount || got.Bad > 0 != (tt.bad != "") || tt.bad != "" && (len(got.Problems) != 1 || got.Problems[0].Line != tt.lineCount || !strings.Contains(got.Problems[0].Problems[0], tt.bad)) {
				t.Errorf("%s: got %+v, %v", tt.name, got, err)
			}
		}
		_, err := r.CheckPredictions(ctx, me, "default", "prod/none", strings.NewReader(good))
		want(t, "no such target", err, pedigree.CodeNotFound)
		_, err = r.CheckPredictions(ctx, me, "nowhere", "prod/a", strings.NewReader(good))
		want(t, "no such project", err, pedigree.CodeNotFound)
		limit := pedigree.Errorf(pedigree.CodeTooLarge, "that is all")
		_, err = r.CheckPredictions(ctx, me, "default", "prod/a", io.MultiReader(strings.NewReader(good), failing{limit}))
		want(t, "more than the reader gives", err, pedigree.CodeTooLarge)
	})
}

// failing is a reader that fails.
type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }
