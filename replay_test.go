package pedigree

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
)

const replayedID = "dep_0193a3c5e8b07aa48f2d3c4b5a697887"

// replayEvents are the life of a version that was deployed and replaced.
func replayEvents() []Event {
	var events []Event
	add := func(minute int, t EventType, subject string, payload Payload) {
		e := Event{V: 1, Seq: int64(len(events)), Time: testNow.Add(time.Duration(minute) * time.Minute), Type: t, Actor: "ann", Subject: subject}
		for _, name := range sortedKeys(payload) {
			e.Fields = append(e.Fields, Field{Name: name, Value: marshal(payload[name])})
		}
		e.PayloadDigest = testDigest(string(marshal(payload)))
		events = append(events, e)
	}
	add(0, ProjectCreated, "prj_1", Payload{"name": "risk"})
	add(0, ModelCreated, "mdl_1", Payload{"project": "prj_1", "name": "scam"})
	add(1, VersionRegistered, "mdl_1/7", Payload{
		"artifact": Artifact{Kind: ArtifactLinked, URI: "s3://b/m", Digest: testDigest("m")}, "code": Code{Commit: "abc"}, "owner": "team:risk",
		"data": []DataReference{{Role: "train", Kind: DataQuery, Query: "SELECT 1"}}, "runtime": Runtime{Image: "train:1"},
	})
	add(2, ModelRenamed, "mdl_1", Payload{"project": "prj_1", "from": "scam", "to": "fraud"})
	add(3, VersionAmended, "mdl_1/7", Payload{"owner": "team:fraud"})
	add(4, ApprovalGranted, "mdl_1/7", Payload{"record_digest": testDigest("r"), "comment": "fine"})
	add(5, TargetCreated, "tgt_1", Payload{"project": "prj_1", "name": "prod/fraud-api"})
	add(6, DeploymentOpened, replayedID, Payload{"target": "tgt_1", "model": "mdl_1", "version": 7, "role": RolePrimary, "confirm": ConfirmReport, "decision": Decision{RecordDigest: testDigest("r"), Policies: []PolicyRef{{Scope: "instance", Seq: 9}}}})
	add(7, DeploymentActivated, replayedID, Payload{"target": "tgt_1", "model": "mdl_1", "version": 7, "role": RolePrimary, "how": "report", "ends_as": DeploymentSuperseded})
	add(8, DeploymentActivated, "dep_canary", Payload{"target": "tgt_1", "model": "mdl_1", "version": 8, "role": RoleCanary, "how": "report", "ends_as": DeploymentSuperseded})
	add(20, VersionAmended, "mdl_1/7", Payload{"owner": "team:late"})
	add(21, ApprovalRevoked, "mdl_1/7", Payload{"comment": "too late"})
	add(22, ModelRenamed, "mdl_1", Payload{"project": "prj_1", "from": "fraud", "to": "late"})
	add(30, DeploymentActivated, "dep_next", Payload{"target": "tgt_1", "model": "mdl_1", "version": 6, "role": RolePrimary, "how": "at_once", "ends_as": DeploymentRolledBack})
	return events
}

func replayQuestion(minute int) ReplayQuestion {
	return ReplayQuestion{ModelID: "mdl_1", Version: 7, Deployment: replayedID, At: testNow.Add(time.Duration(minute) * time.Minute)}
}

func TestFoldReplay(t *testing.T) {
	f, err := FoldReplay(replayQuestion(10), replayEvents())
	if err != nil {
		t.Fatal(err)
	}
	checkEqual(t, "reference", string(f.Project)+"/"+string(f.Model), "risk/fraud")
	checkEqual(t, "digest", f.Digest, testDigest("m"))
	checkEqual(t, "owner as of then", f.Owner, "team:fraud")
	checkEqual(t, "code", f.Code.Commit, "abc")
	checkEqual(t, "image", f.Image, "train:1")
	checkEqual(t, "data", len(f.Data), 1)
	checkEqual(t, "opinions as of then", len(f.Opinions), 1)
	checkEqual(t, "approved", f.Opinions[0].Verdict, VerdictApprove)
	d := f.Deployment
	checkEqual(t, "target", d.Target, TargetName("prod/fraud-api"))
	checkEqual(t, "state", d.State, DeploymentRolledBack)
	checkEqual(t, "active", *d.ActiveAt, testNow.Add(7*time.Minute))
	checkEqual(t, "ended by the next primary", *d.EndedAt, testNow.Add(30*time.Minute))
	checkEqual(t, "policies", d.Decision.Policies, []PolicyRef{{Scope: "instance", Seq: 9}})

	var read ReplayFacts
	if err := json.Unmarshal(marshal(f), &read); err != nil {
		t.Fatal(err)
	}
	checkEqual(t, "written and read", string(marshal(read)), string(marshal(f)))

	q := replayQuestion(10)
	q.Deployment = ""
	if f, err = FoldReplay(q, replayEvents()); err != nil || f.Deployment != nil {
		t.Errorf("without a deployment: %v, %v", f.Deployment, err)
	}
	if f, err = FoldReplay(replayQuestion(-60), replayEvents()); err != nil || f.Owner != "team:risk" || f.Model != "scam" {
		t.Errorf("before it was registered: %+v, %v", f, err)
	}
}

// TestFoldReplayNeeds takes away each event that the facts rest on.
func TestFoldReplayNeeds(t *testing.T) {
	for _, tt := range []struct {
		without EventType
		subject string
		want    string
	}{
		{VersionRegistered, "mdl_1/7", "registered version 7"},
		{ModelCreated, "mdl_1", "made model mdl_1"},
		{ProjectCreated, "prj_1", "made model mdl_1"},
		{TargetCreated, "tgt_1", "made target tgt_1"},
		{DeploymentOpened, replayedID, "opened deployment"},
	} {
		var events []Event
		for _, e := range replayEvents() {
			if e.Type != tt.without || e.Subject != tt.subject {
				events = append(events, e)
			}
		}
		_, err := FoldReplay(replayQuestion(10), events)
		if CodeOf(err) != CodeCorrupt || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("without %s: got %v, want %q", tt.without, err, tt.want)
		}
	}
	q := replayQuestion(10)
	q.Version = 8
	events := replayEvents()
	for i := range events {
		events[i].Subject = strings.Replace(events[i].Subject, "mdl_1/7", "mdl_1/8", 1)
	}
	_, err := FoldReplay(q, events)
	if CodeOf(err) != CodeCorrupt || !strings.Contains(err.Error(), "is of version 7") {
		t.Errorf("a deployment of another version: %v", err)
	}
}

func TestContradictions(t *testing.T) {
	f, err := FoldReplay(replayQuestion(10), replayEvents())
	if err != nil {
		t.Fatal(err)
	}
	whole := func() *ReplayedPrediction {
		return &ReplayedPrediction{
			Time: testNow.Add(10 * time.Minute), Project: "risk", Model: "fraud", Version: 7, Digest: testDigest("m"), Target: "prod/fraud-api", Deployment: replayedID,
		}
	}
	for _, tt := range []struct {
		name   string
		change func(p *ReplayedPrediction)
		want   string
	}{
		{"nothing", func(*ReplayedPrediction) {}, ""},
		{"a line that says little", func(p *ReplayedPrediction) { *p = ReplayedPrediction{Time: p.Time, Deployment: p.Deployment} }, ""},
		{"project", func(p *ReplayedPrediction) { p.Project = "default" }, "project default"},
		{"model", func(p *ReplayedPrediction) { p.Model = "scam" }, "model scam"},
		{"version", func(p *ReplayedPrediction) { p.Version = 8 }, "version 8, and the log says 7"},
		{"digest", func(p *ReplayedPrediction) { p.Digest = testDigest("x") }, "the artifact " + string(testDigest("x"))},
		{"target", func(p *ReplayedPrediction) { p.Target = "prod/other" }, "target prod/other"},
		{"deployment", func(p *ReplayedPrediction) { p.Deployment = "dep_x" }, "deployment dep_x"},
		{"too early", func(p *ReplayedPrediction) { p.Time = testNow.Add(6 * time.Minute) }, "before the deployment became active"},
		{"too late", func(p *ReplayedPrediction) { p.Time = testNow.Add(31 * time.Minute) }, "after the deployment ended"},
	} {
		p := whole()
		tt.change(p)
		got := strings.Join(f.Contradictions(p), "; ")
		if !strings.Contains(got, tt.want) || tt.want == "" && got != "" {
			t.Errorf("%s: got %q, want %q", tt.name, got, tt.want)
		}
	}
	p := whole()
	p.Time = testNow
	checkEqual(t, "before everything", len(f.Contradictions(p)), 2)
	f.Deployment.ActiveAt = nil
	checkEqual(t, "never active", f.Contradictions(whole()), []string{"deployment " + replayedID + " was never active"})
}
