package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/client"
)

// deployed is a registry in a folder where two versions were deployed one after the other.
type deployed struct {
	t             *testing.T
	dir           string
	env           func(string) string
	first, second pedigree.Deployment
	between       time.Time
}

const screening = pedigree.TargetName("prod/screening")

func newDeployed(t *testing.T) *deployed {
	t.Helper()
	d := &deployed{t: t, dir: t.TempDir()}
	d.env = func(name string) string {
		switch name {
		case "PEDIGREE_DATA":
			return filepath.Join(d.dir, "registry")
		case "HOME":
			return d.dir
		case "PATH":
			return os.Getenv("PATH")
		}
		return ""
	}
	ctx := t.Context()
	a := &app{stdin: strings.NewReader(""), stdout: &bytes.Buffer{}, stderr: &bytes.Buffer{}, env: d.env, now: time.Now, data: d.env("PEDIGREE_DATA")}
	c, err := a.client(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := a.close(); err != nil {
			t.Error(err)
		}
	}()
	schema := json.RawMessage(`{"properties": {"request": {"required": ["amount"], "properties": {"amount": {"type": "number"}}}}}`)
	if _, err := c.CreateTarget(ctx, screening, pedigree.TargetSpec{Kind: pedigree.TargetOnline, LogSchema: schema}); err != nil {
		t.Fatal(err)
	}
	d.first = d.deploy(ctx, c, 1, pedigree.RolePrimary)
	time.Sleep(5 * time.Millisecond)
	d.between = time.Now()
	time.Sleep(5 * time.Millisecond)
	d.second = d.deploy(ctx, c, 2, pedigree.RolePrimary)
	d.deploy(ctx, c, 3, pedigree.RoleCanary)
	return d
}

// deploy registers version n, which answers n to any request, and deploys it.
func (d *deployed) deploy(ctx context.Context, c *client.Client, n int, role pedigree.DeploymentRole) pedigree.Deployment {
	d.t.Helper()
	files := filepath.Join(d.dir, fmt.Sprint("v", n))
	if err := os.MkdirAll(files, 0o755); err != nil {
		d.t.Fatal(err)
	}
	for name, text := range map[string]string{"scoring.json": `{"command": ["sh", "-c", "cat answer.json"]}`, "answer.json": fmt.Sprint(n)} {
		if err := os.WriteFile(filepath.Join(files, name), []byte(text), 0o644); err != nil {
			d.t.Fatal(err)
		}
	}
	pushed, err := c.Push(ctx, client.Push{Model: "tumour", Path: files, Registration: pedigree.Registration{
		CreateModel: true, Record: pedigree.Record{Signature: &pedigree.Signature{Inputs: []pedigree.Column{{Name: "amount", Type: "double"}}}},
	}})
	if err != nil {
		d.t.Fatal(err)
	}
	out, err := c.Deploy(ctx, pedigree.Reference{Model: "tumour", Version: pushed.Number}, screening, pedigree.Deploy{Role: role}, nil)
	if err != nil {
		d.t.Fatal(err)
	}
	return out
}

// line writes a log of one line.
func (d *deployed) line(change func(p *pedigree.Prediction)) string {
	d.t.Helper()
	p := pedigree.Prediction{
		Schema: pedigree.PredictionV1, ID: "p-1", Time: time.Now().UTC(), Target: screening,
		Request: json.RawMessage(`{"amount": 12.5}`), Prediction: json.RawMessage(`2`),
	}
	change(&p)
	text, err := json.Marshal(p)
	if err != nil {
		d.t.Fatal(err)
	}
	name := filepath.Join(d.dir, "line.json")
	if err := os.WriteFile(name, text, 0o644); err != nil {
		d.t.Fatal(err)
	}
	return name
}

// run runs a command and returns its exit code and all that it said.
func (d *deployed) run(args ...string) (int, string) {
	d.t.Helper()
	var b bytes.Buffer
	exit := Main(args, strings.NewReader(""), &b, &b, d.env)
	return exit, b.String()
}

func TestReplayOfDeployments(t *testing.T) {
	d := newDeployed(t)
	for _, tt := range []struct {
		name   string
		change func(p *pedigree.Prediction)
		exit   int
		want   []string
		not    string
	}{
		{
			"by its deployment", func(p *pedigree.Prediction) { p.Deployment, p.Target = d.second.ID, "" },
			exitOK,
			[]string{"version       tumour/2  found by the deployment of the line", "primary at prod/screening", "active from", "scored again  identical"},
			"mind",
		},
		{
			"by its target and time", func(p *pedigree.Prediction) { p.Time, p.Prediction = d.between, json.RawMessage(`1`) },
			exitOK,
			[]string{"version       tumour/1  found by the target of the line", d.first.ID, ", then superseded", "scored again  identical", "mind          the deployments changed on"},
			"DISAGREES",
		},
		{
			"by its target, now", func(*pedigree.Prediction) {},
			exitOK,
			[]string{"version       tumour/2  found by the target", "mind          tumour/3 was active there too, as canary", "scored again  identical"},
			"DISAGREES",
		},
		{
			"the canary, by its version", func(p *pedigree.Prediction) { p.Model, p.Version, p.Prediction = "tumour", 3, json.RawMessage(`3`) },
			exitOK,
			[]string{"version       tumour/3  found by the target", "canary at prod/screening", "scored again  identical"},
			"was active there too",
		},
		{
			"a version that was not there", func(p *pedigree.Prediction) { p.Model, p.Version, p.Prediction = "tumour", 1, json.RawMessage(`1`) },
			exitRefused,
			[]string{"version       tumour/1  found by the version", "DISAGREES     what the line names was not active at prod/screening"},
			"deployment    dep_",
		},
		{
			"the deployment of another version", func(p *pedigree.Prediction) {
				p.Deployment, p.Model, p.Version, p.Prediction = d.second.ID, "tumour", 1, json.RawMessage(`2`)
			},
			exitRefused,
			[]string{"version       tumour/2", "DISAGREES     the line says version 1, and the log says 2"},
			"",
		},
		{
			"after its end", func(p *pedigree.Prediction) { p.Deployment, p.Prediction = d.first.ID, json.RawMessage(`1`) },
			exitRefused,
			[]string{"version       tumour/1", "DISAGREES     the line is of", "after the deployment ended"},
			"",
		},
		{
			"another answer", func(p *pedigree.Prediction) { p.Deployment, p.Prediction = d.second.ID, json.RawMessage(`2.5`) },
			exitRefused,
			[]string{"scored again  different: by up to 0.5"},
			"",
		},
		{
			"before everything", func(p *pedigree.Prediction) { p.Time = time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC) },
			exitNotFound,
			nil,
			"",
		},
		{
			"another target", func(p *pedigree.Prediction) { p.Target = "prod/nothing" },
			exitNotFound,
			[]string{"prod/nothing"},
			"",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			proof := filepath.Join(d.dir, "proof.json")
			_ = os.Remove(proof)
			exit, said := d.run("replay", d.line(tt.change), "--run", "--write", proof)
			if exit != tt.exit {
				t.Errorf("exit code %d, want %d", exit, tt.exit)
			}
			for _, want := range tt.want {
				if !strings.Contains(said, want) {
					t.Errorf("want %q", want)
				}
			}
			if tt.not != "" && strings.Contains(said, tt.not) {
				t.Errorf("don't want %q", tt.not)
			}
			if tt.exit != exitNotFound {
				exit, verified := d.run("verify", proof, "--data-dir", filepath.Join(d.dir, "nowhere"))
				if exit != exitOK {
					t.Errorf("verify: exit code %d: %s", exit, verified)
				}
			}
			if t.Failed() {
				t.Log(said)
			}
		})
	}
}

// TestWhichPrediction asks which version a logged prediction is of.
func TestWhichPrediction(t *testing.T) {
	d := newDeployed(t)
	for _, tt := range []struct {
		name   string
		change func(p *pedigree.Prediction)
		want   string
	}{
		{"by its deployment", func(p *pedigree.Prediction) { p.Deployment, p.Time = d.first.ID, d.between }, "tumour/1"},
		{"by its target and time", func(p *pedigree.Prediction) { p.Time = d.between }, "tumour/1"},
		{"by its target, now", func(*pedigree.Prediction) {}, "tumour/2"},
		{"by its target and what the canary there is", func(p *pedigree.Prediction) { p.Model, p.Version = "tumour", 3 }, "tumour/3"},
		{"by its target and what ran there before", func(p *pedigree.Prediction) { p.Model, p.Version = "tumour", 1 }, "tumour/1"},
		{"by its version", func(p *pedigree.Prediction) { p.Target, p.Model, p.Version = "", "tumour", 3 }, "tumour/3"},
		{"by its artifact", func(p *pedigree.Prediction) { p.Target, p.Digest = "", d.first.Digest }, "tumour/1"},
	} {
		exit, said := d.run("which", d.line(tt.change), "-q")
		if first, _, _ := strings.Cut(said, "\n"); exit != exitOK || first != tt.want {
			t.Errorf("%s: exit code %d, %q, want %s", tt.name, exit, said, tt.want)
		}
	}
	line, err := os.ReadFile(d.line(func(p *pedigree.Prediction) { p.Time = d.between }))
	if err != nil {
		t.Fatal(err)
	}
	if exit, said := d.run("which", string(line)); exit != exitOK || !strings.Contains(said, "tumour/1") {
		t.Errorf("the line itself: exit code %d, %q", exit, said)
	}
	head := pedigree.Prediction{Schema: pedigree.PredictionV1, ID: "p-1", Time: d.between, Deployment: d.first.ID, Version: 2}
	if line, err = json.Marshal(head); err != nil {
		t.Fatal(err)
	}
	if exit, said := d.run("which", string(line)); exit != exitOK || !strings.Contains(said, "tumour/1") || !strings.Contains(said, "DISAGREES     the line says version 2, and the log says 1") {
		t.Errorf("a line without its content: exit code %d, %q", exit, said)
	}
	if exit, said := d.run("which", filepath.Join(d.dir, "v1", "answer.json")); exit != exitNotFound {
		t.Errorf("another file: exit code %d, %q", exit, said)
	}
}

// TestReplayIsTamperEvident changes each part of a file in turn.
func TestReplayIsTamperEvident(t *testing.T) {
	d := newDeployed(t)
	proof := filepath.Join(d.dir, "proof.json")
	if exit, said := d.run("replay", d.line(func(p *pedigree.Prediction) { p.Deployment = d.first.ID; p.Time = d.between }), "--write", proof); exit != exitOK {
		t.Fatal(said)
	}
	whole, err := os.ReadFile(proof)
	if err != nil {
		t.Fatal(err)
	}
	late := time.Now().Add(time.Hour)
	for _, tt := range []struct {
		name   string
		change func(r *pedigree.Replay)
		want   string
	}{
		{"a fact", func(r *pedigree.Replay) { r.Facts.RegisteredBy = "eve" }, "the facts of the file are not those"},
		{"the end of the deployment", func(r *pedigree.Replay) { r.Facts.Deployment.EndedAt = &late }, "the facts of the file are not those"},
		{"no deployment", func(r *pedigree.Replay) { r.Facts.Deployment = nil }, ""}, // says less, and only what is true
		{"another time", func(r *pedigree.Replay) { r.Prediction.Time = late }, "the file does not say that the line is of"},
		{"another deployment", func(r *pedigree.Replay) { r.Facts.Deployment.ID = d.second.ID }, "is not among the events"},
		{"an event taken out", func(r *pedigree.Replay) { r.Events = r.Events[:len(r.Events)-1] }, "the facts of the file are not those"},
		{"an event changed", func(r *pedigree.Replay) {
			e := &r.Events[3].Entry
			e.Envelope = strings.Replace(e.Envelope, `"local"`, `"other"`, 1)
		}, "its text was changed"},
		{"a value changed", func(r *pedigree.Replay) { r.Events[2].Entry.Fields[0].Value = json.RawMessage(`"other"`) }, "payload digest"},
		{"another root", func(r *pedigree.Replay) { r.Checkpoint.Note = strings.Replace(r.Checkpoint.Note, "\n", "\n1", 1) }, "is wrong|invalid|checkpoint"},
		{"no key", func(r *pedigree.Replay) { r.Keys = nil }, "public key"},
	} {
		var r pedigree.Replay
		if err := json.Unmarshal(whole, &r); err != nil {
			t.Fatal(err)
		}
		tt.change(&r)
		changed := filepath.Join(d.dir, "changed.json")
		if err := client.WriteReplay(changed, &r); err != nil {
			t.Fatal(err)
		}
		exit, said := d.run("verify", changed)
		found := false
		for _, want := range strings.Split(tt.want, "|") {
			found = found || strings.Contains(said, want)
		}
		if (exit == exitOK) != (tt.want == "") || !found {
			t.Errorf("%s: exit code %d, want %q: %s", tt.name, exit, tt.want, said)
		}
	}
}

// TestPredictionsOfTarget checks a log against the log schema of a target.
func TestPredictionsOfTarget(t *testing.T) {
	d := newDeployed(t)
	for _, tt := range []struct {
		name   string
		change func(p *pedigree.Prediction)
		exit   int
		want   string
	}{
		{"good", func(*pedigree.Prediction) {}, exitOK, "ok  1 line"},
		{"a text", func(p *pedigree.Prediction) { p.Request = json.RawMessage(`{"amount": "much"}`) }, exitRefused, "request.amount: got string, want number"},
		{"of another target", func(p *pedigree.Prediction) { p.Target = "prod/other" }, exitRefused, "target: it is of prod/other"},
	} {
		if exit, said := d.run("predictions", "check", d.line(tt.change), "--target", string(screening)); exit != tt.exit || !strings.Contains(said, tt.want) {
			t.Errorf("%s: exit code %d, want %d and %q: %s", tt.name, exit, tt.exit, tt.want, said)
		}
	}
	if exit, said := d.run("predictions", "check", d.line(func(*pedigree.Prediction) {}), "--target", "prod/nothing"); exit != exitNotFound {
		t.Errorf("no such target: exit code %d: %s", exit, said)
	}
	if exit, said := d.run("predictions", "schema", "--target", string(screening)); exit != exitOK || !strings.Contains(said, "urn:pedigree:log-schema") {
		t.Errorf("exit code %d: %s", exit, said)
	}
	// A version that can't fill the schema is not deployed there.
	a := &app{stdin: strings.NewReader(""), stdout: &bytes.Buffer{}, stderr: &bytes.Buffer{}, env: d.env, now: time.Now, data: d.env("PEDIGREE_DATA")}
	c, err := a.client(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = a.close() }()
	v, err := c.Register(t.Context(), "tumour", pedigree.Registration{Record: pedigree.Record{Signature: &pedigree.Signature{Inputs: []pedigree.Column{{Name: "income", Type: "double"}}}}})
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.Deploy(t.Context(), pedigree.Reference{Model: "tumour", Version: v.Number}, screening, pedigree.Deploy{}, nil)
	if pedigree.CodeOf(err) != pedigree.CodeRefused || !strings.Contains(err.Error(), "request.amount is required, and the signature has no such input") {
		t.Errorf("got %v", err)
	}
}
