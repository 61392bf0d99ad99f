package server_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/client"
)

// checksOfSuites say what a suite must have left in the registry: what MLflow's clients
// do is to be found in Pedigree's own words.
var checksOfSuites = map[string]func(t *testing.T, p *process){
	"flows":    checkFlows,
	"registry": checkRegistry,
}

// ownClient is a client of Pedigree's own API.
func ownClient(t *testing.T, p *process) *client.Client {
	t.Helper()
	c, err := client.New(client.Config{URL: p.url})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func versionOf(t *testing.T, c *client.Client, ref string) pedigree.Version {
	t.Helper()
	r, err := pedigree.ParseReference(ref)
	if err != nil {
		t.Fatal(err)
	}
	v, err := c.Version(t.Context(), r, pedigree.At{})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// wireTag is a tag of a version as MLflow's API answers; "" where it is not set.
func wireTag(t *testing.T, p *process, name string, n pedigree.VersionNumber, key string) string {
	t.Helper()
	res, err := http.Get(fmt.Sprintf("%s/api/2.0/mlflow/model-versions/get?name=%s&version=%d", p.url, name, n))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	var answer struct {
		Version struct {
			Tags []struct{ Key, Value string }
		} `json:"model_version"`
	}
	if err := json.NewDecoder(res.Body).Decode(&answer); err != nil {
		t.Fatal(err)
	}
	for _, tag := range answer.Version.Tags {
		if tag.Key == key {
			return tag.Value
		}
	}
	return ""
}

// dataOf lists the data references of a record: role, kind and what they point to.
func dataOf(r *pedigree.Record) []string {
	var out []string
	for _, d := range r.Data {
		line := d.Role + " " + string(d.Kind) + " " + string(d.URI)
		if d.Size != nil {
			line += fmt.Sprintf(" %d", *d.Size)
		}
		out = append(out, line)
	}
	slices.Sort(out)
	return out
}

func checkFlows(t *testing.T, p *process) {
	c := ownClient(t, p)
	v := versionOf(t, c, "fraud/1")
	r := &v.Record
	if r.Owner != "team:risk" || r.Target != "prod/fraud-api" || r.RollbackNote != "keep the features" {
		t.Errorf("fraud/1: the tags of the run became owner %q, target %q, rollback note %q", r.Owner, r.Target, r.RollbackNote)
	}
	if r.Params["C"] != "1.0" || r.Params["solver"] != "lbfgs" {
		t.Errorf("fraud/1: params %v", r.Params)
	}
	if !slices.ContainsFunc(r.Metrics, func(m pedigree.Metric) bool { return m.Name == "auc" && m.Value == 0.9 }) {
		t.Errorf("fraud/1: metrics %v", r.Metrics)
	}
	if r.Artifact.Kind != pedigree.ArtifactStored || r.Artifact.Digest == "" {
		t.Errorf("fraud/1: artifact %+v", r.Artifact)
	}
	if r.Signature == nil || len(r.Signature.Inputs) != 2 || r.Signature.Inputs[0].Name != "a" || r.Signature.Inputs[0].Type != "double" {
		t.Errorf("fraud/1: signature %+v", r.Signature)
	}
	if r.Runtime == nil || r.Runtime.Environment == nil || r.Runtime.Environment.Python == "" || len(r.Runtime.Environment.Packages) == 0 {
		t.Errorf("fraud/1: runtime %+v", r.Runtime)
	}
	if r.Run == nil || r.Run.System != "mlflow" || r.Run.ID == "" || r.Run.Name != "first" {
		t.Errorf("fraud/1: run %+v", r.Run)
	}
	data := dataOf(r)
	for _, want := range []string{"train snapshot s3://lake/fraud/2026-10", "train ", "example copy input_example.json "} {
		if !slices.ContainsFunc(data, func(line string) bool { return strings.HasPrefix(line, want) }) {
			t.Errorf("fraud/1: no data reference %q in %q", want, data)
		}
	}
	for _, name := range []string{"fraud", "double", "pushed", "files"} {
		checkComplete(t, p, name)
	}

	// Tags on a version that was there already amended its record.
	later := versionOf(t, c, "double/1")
	r = &later.Record
	if r.Owner != "team:late" || r.Target != "prod/late" || r.RollbackNote != "go back" || r.Runtime == nil || r.Runtime.Image != "registry.example.org/train:1" || r.Runtime.Environment == nil {
		t.Errorf("double/1: owner %q, target %q, rollback note %q, runtime %+v", r.Owner, r.Target, r.RollbackNote, r.Runtime)
	}
	if len(later.Amendments) != 5 {
		t.Errorf("double/1 has %d amendments, want one for each tag", len(later.Amendments))
	}
	if data := dataOf(r); !slices.Contains(data, "test snapshot s3://lake/test") || !slices.ContainsFunc(data, func(line string) bool { return strings.Contains(line, "input_example") }) {
		t.Errorf("double/1: data %q", data)
	}

	// What lies among the files as data is told with its size; what is nowhere is of no kind.
	tables := versionOf(t, c, "tables/1")
	for _, want := range []string{"copy copy data/rows.csv 8", "table copy eval/table.json"} {
		if data := dataOf(&tables.Record); !slices.ContainsFunc(data, func(line string) bool { return strings.HasPrefix(line, want) }) {
			t.Errorf("tables/1: no data reference %q in %q", want, data)
		}
	}
	if one := versionOf(t, c, "tables/2"); len(one.Record.Artifact.Files) != 0 && one.Record.Artifact.Kind != pedigree.ArtifactStored {
		t.Errorf("tables/2: %+v", one.Record.Artifact)
	}
	if none := versionOf(t, c, "tables/3"); none.Record.Artifact.Kind != pedigree.ArtifactNone {
		t.Errorf("tables/3 has the kind %q, want none", none.Record.Artifact.Kind)
	}
	if parent := versionOf(t, c, "fraud-prod/1"); len(parent.Record.Parents) != 1 || parent.Record.Artifact.Digest != v.Record.Artifact.Digest {
		t.Errorf("fraud-prod/1 is a copy of fraud/1: parents %v, digests %s and %s", parent.Record.Parents, parent.Record.Artifact.Digest, v.Record.Artifact.Digest)
	}
	if report := mustVerify(t, c); report.Size == 0 {
		t.Error("the log is empty")
	}
	if out := runOwn(t, p, "show", "fraud/1"); !strings.Contains(out, "team:risk") || !strings.Contains(out, "prod/fraud-api") {
		t.Errorf("pedigree show fraud/1:\n%s", out)
	}
}

// checkComplete checks that both APIs count the same points of the first version.
func checkComplete(t *testing.T, p *process, name string) {
	t.Helper()
	v := versionOf(t, ownClient(t, p), name+"/1")
	have := 0
	for _, c := range v.Completeness {
		if c.Stage == pedigree.StageDeploy {
			have = c.Have
		}
	}
	tag := wireTag(t, p, name, 1, "pedigree.complete")
	counted, _, _ := strings.Cut(tag, "/")
	if counted != fmt.Sprint(have) {
		t.Errorf("%s/1: MLflow's clients see pedigree.complete = %q, Pedigree's see %d points of %v", name, tag, have, v.Completeness)
	}
}

func checkRegistry(t *testing.T, p *process) {
	c := ownClient(t, p)
	v := versionOf(t, c, "greeting/1")
	if len(v.Completeness) != 0 || v.Record.Artifact.Kind != pedigree.ArtifactNone {
		t.Errorf("a prompt has completeness %v and artifact %q", v.Completeness, v.Record.Artifact.Kind)
	}
	for _, args := range [][]string{{"ls"}, {"model", "ls"}, {"search"}, {"search", "complete < 8"}} {
		if out := runOwn(t, p, args...); strings.Contains(out, "greeting") || !strings.Contains(out, "fraud") {
			t.Errorf("pedigree %s:\n%s", strings.Join(args, " "), out)
		}
	}
	mustVerify(t, c)
}

// runOwn runs the program's own commands against a server.
func runOwn(t *testing.T, p *process, args ...string) string {
	t.Helper()
	cmd := exec.Command(mustBuild(t), args...)
	cmd.Env = []string{"PEDIGREE_URL=" + p.url, "HOME=" + t.TempDir()}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("pedigree %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}
