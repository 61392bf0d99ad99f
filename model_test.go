package pedigree

import (
	"strings"
	"testing"
)

var testProject = Project{ID: "prj_risk", Name: "risk"}

// testModel is a model with everything set.
func testModel() Model {
	return Model{
		ID: "mdl_fraud", Project: "risk", Name: "fraud", Owner: "ann", Purpose: "find fraud", PermittedUse: "cards", Restrictions: "no credit",
		Tier: TierHigh, State: StateInUse, Description: "d", Tags: map[string]string{"team": "risk"},
		Aliases: map[Alias]VersionNumber{"champion": 7, "challenger": 8}, Latest: 8,
	}
}

// checkDrafts compares what was decided, and that payloads can be marshalled.
func checkDrafts(t *testing.T, what string, got []Draft, err error, want ...Draft) {
	t.Helper()
	checkCode(t, what, err, "")
	if len(got) == 0 && len(want) == 0 {
		return
	}
	checkEqual(t, what, got, want)
	for _, d := range got {
		for _, key := range sortedKeys(d.Payload) {
			marshal(d.Payload[key])
		}
	}
}

func TestCreateProject(t *testing.T) {
	got, err := CreateProject("prj_1", "risk", "")
	checkDrafts(t, "bare", got, err, Draft{Type: ProjectCreated, Subject: "prj_1", Payload: Payload{"name": ProjectName("risk")}})
	got, err = CreateProject("prj_1", "risk", "cards")
	checkDrafts(t, "described", got, err, Draft{Type: ProjectCreated, Subject: "prj_1", Payload: Payload{"name": ProjectName("risk"), "description": "cards"}})
	_, err = CreateProject("prj_1", "Risk", "")
	checkCode(t, "name", err, CodeInvalid)
	_, err = CreateProject("prj_1", "risk", "\x00")
	checkCode(t, "description", err, CodeInvalid)
}

func TestCreateModel(t *testing.T) {
	got, err := CreateModel(testProject, "mdl_1", "fraud", ModelEdit{})
	checkDrafts(t, "bare", got, err, Draft{Type: ModelCreated, Subject: "mdl_1", Refs: []string{"prj_risk"}, Payload: Payload{"project": "prj_risk", "name": Name("fraud")}})
	got, err = CreateModel(testProject, "mdl_1", "fraud", ModelEdit{
		Owner: new("ann"), Purpose: new("p"), PermittedUse: new("u"), Restrictions: new("r"), Tier: new(TierLow), State: new(StateRetired),
		Description: new("d"), Tags: map[string]string{"a": "b"},
	})
	checkDrafts(t, "whole", got, err, Draft{Type: ModelCreated, Subject: "mdl_1", Refs: []string{"prj_risk"}, Payload: Payload{
		"project": "prj_risk", "name": Name("fraud"), "owner": "ann", "purpose": "p", "permitted_use": "u", "restrictions": "r",
		"tier": "low", "state": "retired", "description": "d", "tags": map[string]string{"a": "b"},
	}})
	_, err = CreateModel(testProject, "mdl_1", "a/b", ModelEdit{})
	checkCode(t, "name", err, CodeInvalid)
}

func TestModelEditRefuses(t *testing.T) {
	long := strings.Repeat("x", MaxText+1)
	m := testModel()
	for _, tt := range []struct {
		name string
		edit ModelEdit
	}{
		{"owner", ModelEdit{Owner: new(strings.Repeat("x", MaxName+1))}},
		{"purpose", ModelEdit{Purpose: &long}},
		{"permitted use", ModelEdit{PermittedUse: &long}},
		{"restrictions", ModelEdit{Restrictions: &long}},
		{"description", ModelEdit{Description: new("a\x00b")}},
		{"tier", ModelEdit{Tier: new(Tier("extreme"))}},
		{"state", ModelEdit{State: new(LifeState(""))}},
		{"tag key", ModelEdit{Tags: map[string]string{"a|b": ""}}},
		{"tag value", ModelEdit{Tags: map[string]string{"a": "\xff"}}},
	} {
		got, err := m.Edit(tt.edit)
		checkCode(t, tt.name, err, CodeInvalid)
		checkEqual(t, tt.name, len(got), 0)
		_, err = CreateModel(testProject, "mdl_1", "fraud", tt.edit)
		checkCode(t, tt.name+" at creation", err, CodeInvalid)
	}
}

func TestModelEdit(t *testing.T) {
	m := testModel()
	edited := func(p Payload) Draft { return Draft{Type: ModelEdited, Subject: "mdl_fraud", Payload: p} }
	tagged := func(key, value string) Draft {
		return Draft{Type: ModelTagged, Subject: "mdl_fraud", Payload: Payload{"key": key, "value": value}}
	}
	for _, tt := range []struct {
		name string
		edit ModelEdit
		want []Draft
	}{
		{"nothing", ModelEdit{}, nil},
		{"the same", ModelEdit{Owner: new("ann"), Tier: new(TierHigh), State: new(StateInUse), Description: new("d"), Tags: map[string]string{"team": "risk"}}, nil},
		{"one", ModelEdit{Owner: new("bob"), Purpose: new("find fraud")}, []Draft{edited(Payload{"owner": "bob"})}},
		{"removed", ModelEdit{Tier: new(Tier("")), Description: new("")}, []Draft{edited(Payload{"tier": "", "description": ""})}},
		{"tags", ModelEdit{Tags: map[string]string{"z": "", "team": "eu", "a": "1"}}, []Draft{tagged("a", "1"), tagged("team", "eu"), tagged("z", "")}},
		{"both", ModelEdit{State: new(StateRetired), Tags: map[string]string{"a": "1"}}, []Draft{edited(Payload{"state": "retired"}), tagged("a", "1")}},
	} {
		got, err := m.Edit(tt.edit)
		checkDrafts(t, tt.name, got, err, tt.want...)
	}
	checkEqual(t, "the model", m, testModel())
}

func TestModelRename(t *testing.T) {
	m := testModel()
	got, err := m.Rename(testProject, "fraud2")
	checkDrafts(t, "rename", got, err, Draft{Type: ModelRenamed, Subject: "mdl_fraud", Payload: Payload{"project": "prj_risk", "from": Name("fraud"), "to": Name("fraud2")}})
	got, err = m.Rename(testProject, "fraud")
	checkDrafts(t, "same name", got, err)
	_, err = m.Rename(testProject, "a:b")
	checkCode(t, "bad name", err, CodeInvalid)
}

func TestModelDelete(t *testing.T) {
	m := testModel()
	for range 20 { // a map has no order; the refusal has one
		_, err := m.Delete(testProject, "", false)
		checkCode(t, "in use", err, CodeRefused)
		if !strings.Contains(err.Error(), "alias challenger names version 8") {
			t.Errorf("got %v", err)
		}
	}
	want := Draft{Type: ModelDeleted, Subject: "mdl_fraud", Payload: Payload{"project": "prj_risk", "name": Name("fraud"), "reason": "old"}}
	got, err := m.Delete(testProject, "old", true)
	checkDrafts(t, "forced", got, err, want)
	m.Aliases = nil
	got, err = m.Delete(testProject, "old", false)
	checkDrafts(t, "unused", got, err, want)
	got, err = m.Delete(testProject, "", false)
	checkDrafts(t, "no reason", got, err, Draft{Type: ModelDeleted, Subject: "mdl_fraud", Payload: Payload{"project": "prj_risk", "name": Name("fraud")}})
	_, err = m.Delete(testProject, "\x00", true)
	checkCode(t, "reason", err, CodeInvalid)
}

func TestSetAlias(t *testing.T) {
	m := testModel()
	moved := func(alias Alias, n VersionNumber, note string) Draft {
		return Draft{Type: AliasMoved, Subject: "mdl_fraud", Refs: []string{VersionSubject("mdl_fraud", n)}, Payload: Payload{"alias": alias, "version": n}.with("note", note)}
	}
	for _, tt := range []struct {
		name    string
		alias   Alias
		version Version
		note    string
		want    []Draft
		code    ErrorCode
	}{
		{"new", "canary", Version{ModelID: "mdl_fraud", Number: 8}, "", []Draft{moved("canary", 8, "")}, ""},
		{"moved, with a note", "champion", Version{ModelID: "mdl_fraud", Number: 8}, "better", []Draft{moved("champion", 8, "better")}, ""},
		{"back", "challenger", Version{ModelID: "mdl_fraud", Number: 1}, "", []Draft{moved("challenger", 1, "")}, ""},
		{"already there", "champion", Version{ModelID: "mdl_fraud", Number: 7}, "again", nil, ""},
		{"archived", "champion", Version{ModelID: "mdl_fraud", Model: "fraud", Number: 8, Archived: true}, "", nil, CodeRefused},
		{"archived and there", "champion", Version{ModelID: "mdl_fraud", Model: "fraud", Number: 7, Archived: true}, "", nil, CodeRefused},
		{"withdrawn", "champion", Version{ModelID: "mdl_fraud", Model: "fraud", Number: 8, Withdrawn: &Withdrawal{}}, "", nil, CodeRefused},
		{"note", "champion", Version{ModelID: "mdl_fraud", Number: 8}, "\x00", nil, CodeInvalid},
	} {
		got, err := m.SetAlias(tt.alias, &tt.version, tt.note)
		if tt.code != "" {
			checkCode(t, tt.name, err, tt.code)
			checkEqual(t, tt.name, len(got), 0)
			continue
		}
		checkDrafts(t, tt.name, got, err, tt.want...)
	}
}

func TestRemoveAlias(t *testing.T) {
	m := testModel()
	got, err := m.RemoveAlias("champion", "done")
	checkDrafts(t, "removed", got, err, Draft{Type: AliasRemoved, Subject: "mdl_fraud", Refs: []string{"mdl_fraud/7"}, Payload: Payload{"alias": Alias("champion"), "note": "done"}})
	_, err = m.RemoveAlias("canary", "")
	checkCode(t, "absent", err, CodeNotFound)
	_, err = m.RemoveAlias("champion", "\x00")
	checkCode(t, "note", err, CodeInvalid)
}

func TestModelUntag(t *testing.T) {
	m := testModel()
	got, err := m.Untag("team")
	checkDrafts(t, "untagged", got, err, Draft{Type: ModelUntagged, Subject: "mdl_fraud", Payload: Payload{"key": "team"}})
	_, err = m.Untag("other")
	checkCode(t, "absent", err, CodeNotFound)
}
