package pedigree

import (
	"strings"
	"testing"
)

// pointerEvents are those that a pointer to a deployment, and one to an alias, rest on.
func pointerEvents(digest Digest) []Event {
	var events []Event
	add := func(t EventType, subject string, payload Payload) {
		e := Event{V: 1, Seq: int64(len(events)), Time: testNow, Type: t, Subject: subject}
		for _, name := range sortedKeys(payload) {
			e.Fields = append(e.Fields, Field{Name: name, Value: marshal(payload[name])})
		}
		events = append(events, e)
	}
	add(ProjectCreated, "prj_1", Payload{"name": "risk"})
	add(ModelCreated, "mdl_1", Payload{"project": "prj_1", "name": "scam"})
	add(ModelRenamed, "mdl_1", Payload{"project": "prj_1", "from": "scam", "to": "fraud"})
	add(VersionRegistered, "mdl_1/7", Payload{"artifact": Artifact{Kind: ArtifactStored, Digest: digest}})
	add(TargetCreated, "tgt_1", Payload{"project": "prj_1", "name": "prod/api"})
	add(DeploymentOpened, "dep_1", Payload{"target": "tgt_1", "model": "mdl_1", "version": 7, "digest": digest, "role": "primary"})
	add(AliasMoved, "mdl_1", Payload{"alias": "production", "version": 7})
	return events
}

func TestPointerCheck(t *testing.T) {
	files := []File{{Path: "model.bin", Size: 3, Digest: DigestBytes([]byte("abc"))}}
	a, err := StoredArtifact(files)
	if err != nil {
		t.Fatal(err)
	}
	deployed := Pointer{
		Schema: PointerV1, Source: "target:risk:prod/api", Project: "risk", Target: "prod/api", TargetID: "tgt_1", Deployment: "dep_1",
		Model: "fraud", ModelID: "mdl_1", Version: 7, Digest: a.Digest, Files: files,
	}
	named := Pointer{Schema: PointerV1, Source: "risk/fraud@production", Project: "risk", Alias: "production", Model: "fraud", ModelID: "mdl_1", Version: 7, Digest: a.Digest, Files: files}
	other := DigestBytes([]byte("other"))
	for _, tt := range []struct {
		name    string
		pointer Pointer
		change  func(*Pointer)
		without EventType
		want    string // in the error; "" for none
	}{
		{"a deployment", deployed, nil, "", ""},
		{"an alias", named, nil, "", ""},
		{"a deployment needs no registration", deployed, nil, VersionRegistered, ""},
		{"another schema", deployed, func(p *Pointer) { p.Schema = "pedigree.pointer/v2" }, "", "schema"},
		{"another version", deployed, func(p *Pointer) { p.Version = 6 }, "", "version 6"},
		{"another model", deployed, func(p *Pointer) { p.ModelID = "mdl_2" }, "", "version 7"},
		{"another deployment", deployed, func(p *Pointer) { p.Deployment = "dep_2" }, "", "version 7"},
		{"another target", deployed, func(p *Pointer) { p.Target = "prod/other" }, "", "prod/other"},
		{"another target's id", deployed, func(p *Pointer) { p.TargetID = "tgt_2" }, "", "version 7"},
		{"another project", deployed, func(p *Pointer) { p.Project = "default" }, "", "project default"},
		{"another name of the model", deployed, func(p *Pointer) { p.Model = "scam" }, "", "called scam"},
		{"other files", deployed, func(p *Pointer) { p.Files = []File{{Path: "model.bin", Size: 3, Digest: other}} }, "", "list of files has digest"},
		{"no files", deployed, func(p *Pointer) { p.Files = nil }, "", "list of files"},
		{"another digest", named, func(p *Pointer) { p.Digest = other }, "", "list of files has digest"},
		{"another alias", named, func(p *Pointer) { p.Alias = "champion" }, "", "version 7"},
		{"another version of an alias", named, func(p *Pointer) { p.Version = 6 }, "", "version 6"},
		{"no deployment in the log", deployed, nil, DeploymentOpened, "version 7"},
		{"no move in the log", named, nil, AliasMoved, "version 7"},
		{"no registration in the log", named, nil, VersionRegistered, "has the digest"},
		{"no project in the log", deployed, nil, ProjectCreated, "project risk"},
		{"no target in the log", deployed, nil, TargetCreated, "project risk"},
	} {
		p := tt.pointer
		if tt.change != nil {
			tt.change(&p)
		}
		var events []Event
		for _, e := range pointerEvents(a.Digest) {
			if e.Type != tt.without {
				events = append(events, e)
			}
		}
		err := p.Check(events)
		if tt.want == "" && err != nil || tt.want != "" && (CodeOf(err) != CodeCorrupt || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%s: got %v, want %q", tt.name, err, tt.want)
		}
	}
	// What the bytes are is of no use where the log has others.
	if err := deployed.Check(pointerEvents(other)); CodeOf(err) != CodeCorrupt || !strings.Contains(err.Error(), "has the digest") {
		t.Errorf("a deployment of other bytes: %v", err)
	}
	shadow := pointerEvents(a.Digest)
	for i := range shadow {
		if shadow[i].Type == DeploymentOpened {
			shadow[i].Field("role").Value = marshal(RoleShadow)
		}
	}
	if err := deployed.Check(shadow); CodeOf(err) != CodeCorrupt {
		t.Errorf("a shadow: %v", err)
	}
	again := deployed
	again.Deployment = "dep_2"
	if deployed.Same(&again) || deployed.Same(nil) || !deployed.Same(&deployed) {
		t.Error("what is the same is mixed up")
	}
}
