package pedigree

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"
)

// testVersion is version 7 of model fraud with a whole record.
func testVersion(t *testing.T) Version {
	t.Helper()
	return Version{Project: "default", Model: "fraud", ModelID: "mdl_fraud", Number: 7, Record: normalRecord(t), Tags: map[string]string{"team": "risk"}, Description: "d"}
}

func TestVersionSubject(t *testing.T) {
	checkEqual(t, "subject", VersionSubject("mdl_x", 7), "mdl_x/7")
	for _, tt := range []struct {
		in string
		id string
		n  VersionNumber
		ok bool
	}{
		{"mdl_x/7", "mdl_x", 7, true},
		{"mdl_x/next", "mdl_x", 0, false},
		{"mdl_x/0", "mdl_x", 0, false},
		{"mdl_x/07", "mdl_x", 0, false},
		{"mdl_x/7/8", "mdl_x", 0, false},
		{"mdl_x", "", 0, false},
		{"prj_x/7", "", 0, false},
		{"", "", 0, false},
		{"/7", "", 0, false},
	} {
		id, n, ok := SplitVersionSubject(tt.in)
		if ok != tt.ok || n != tt.n || ok && id != tt.id {
			t.Errorf("%q: got %q, %d, %v", tt.in, id, n, ok)
		}
	}
}

func TestVersionReference(t *testing.T) {
	v := Version{Project: DefaultProject, Model: "fraud", ModelID: "mdl_x", Number: 7}
	checkEqual(t, "default project", v.Reference().String(), "fraud/7")
	v.Project = "risk"
	checkEqual(t, "other project", v.Reference().String(), "risk/fraud/7")
	checkEqual(t, "subject", v.Subject(), "mdl_x/7")
}

func TestRegisterVersion(t *testing.T) {
	got, err := RegisterVersion("mdl_fraud", Registration{Record: Record{Artifact: Artifact{Kind: ArtifactNone}}})
	checkDrafts(t, "bare", got, err, Draft{Type: VersionRegistered, Subject: "mdl_fraud/next", Payload: Payload{"artifact": json.RawMessage(`{"kind":"none"}`)}})

	r := normalRecord(t)
	got, err = RegisterVersion("mdl_fraud", Registration{
		Record: r, Tags: map[string]string{"a": "b"}, Description: "d", Aliases: []Alias{"champion", "canary"},
	})
	checkCode(t, "whole", err, "")
	if len(got) != 3 {
		t.Fatalf("got %d drafts", len(got))
	}
	p := got[0].Payload
	checkEqual(t, "payload", sortedKeys(p), slices.Sorted(slices.Values(append([]string{"tags", "description"}, RecordFields...))))
	checkEqual(t, "refs", got[0].Refs, []string{"mdl_base/3"})
	var read Record
	if err := json.Unmarshal(marshal(p), &read); err != nil {
		t.Fatal(err)
	}
	checkEqual(t, "record in the payload", string(marshal(read)), string(marshal(r)))
	checkDrafts(t, "aliases", got[1:], nil,
		Draft{Type: AliasMoved, Subject: "mdl_fraud", Refs: []string{"mdl_fraud/next"}, Payload: Payload{"alias": Alias("champion"), "version": VersionNumber(0)}},
		Draft{Type: AliasMoved, Subject: "mdl_fraud", Refs: []string{"mdl_fraud/next"}, Payload: Payload{"alias": Alias("canary"), "version": VersionNumber(0)}})

	_, err = RegisterVersion("mdl_fraud", Registration{Tags: map[string]string{"a|b": ""}})
	checkCode(t, "tag", err, CodeInvalid)
	_, err = RegisterVersion("mdl_fraud", Registration{Description: "\x00"})
	checkCode(t, "description", err, CodeInvalid)
}

// TestRegisterImported: where a version comes from is in the event beside its record, and
// only then may it ask for a number.
func TestRegisterImported(t *testing.T) {
	born := time.Date(2024, 1, 2, 3, 4, 5, 0, time.UTC)
	from := &Imported{From: "http://old.example.org", ID: "fraud/7", Author: "ann", CreatedAt: &born}
	got, err := RegisterVersion("mdl_fraud", Registration{Imported: from, Number: 7})
	checkDrafts(t, "imported", got, err, Draft{Type: VersionRegistered, Subject: "mdl_fraud/next", Payload: Payload{"imported": from}, Number: 7})
	for name, reg := range map[string]Registration{
		"number alone":  {Number: 7},
		"below zero":    {Number: -1, Imported: from},
		"from nowhere":  {Imported: &Imported{ID: "fraud/7"}},
		"without an id": {Imported: &Imported{From: "http://old.example.org"}},
		"author":        {Imported: &Imported{From: "http://old.example.org", ID: "fraud/7", Author: "\x00"}},
	} {
		_, err := RegisterVersion("mdl_fraud", reg)
		checkCode(t, name, err, CodeInvalid)
	}
	registered := Event{Seq: 1, Type: VersionRegistered, Time: testNow, Fields: []Field{{Name: "imported", Value: marshal(from)}}}
	var v Version
	checkCode(t, "fold", FoldRecord(&v, []Event{registered}), "")
	checkEqual(t, "imported", *v.Imported.CreatedAt, born)
	registered.Fields[0].Value = nil
	checkCode(t, "fold erased", FoldRecord(&v, []Event{registered}), "")
	checkEqual(t, "erased", v.Imported == nil && slices.Equal(v.Erased, []string{"imported"}), true)
}

// TestAmend is the merge table: what an amendment changes, field by field.
func TestAmend(t *testing.T) {
	size := int64(5)
	for _, tt := range []struct {
		name  string
		amend Amend
		// want holds the changed fields as they come out; none means no event.
		want map[string]string
	}{
		{"nothing", Amend{}, nil},
		{"nothing, with a reason", Amend{Reason: "x"}, nil},
		{"the same owner", Amend{Record: Record{Owner: "team:risk"}}, nil},
		{"owner", Amend{Record: Record{Owner: "ann"}}, map[string]string{"owner": `"ann"`}},
		{"owner and reason", Amend{Record: Record{Owner: "ann"}, Reason: "left"}, map[string]string{"owner": `"ann"`, "reason": `"left"`}},
		{"owner removed", Amend{Replace: []string{"owner"}}, map[string]string{"owner": "null"}},
		{"target", Amend{Record: Record{Target: "prod/x"}}, map[string]string{"target": `"prod/x"`}},
		{"target removed", Amend{Replace: []string{"target"}}, map[string]string{"target": "null"}},
		{"rollback note removed", Amend{Replace: []string{"rollback_note"}}, map[string]string{"rollback_note": "null"}},
		{"code is replaced whole", Amend{Record: Record{Code: &Code{Commit: "abc"}}}, map[string]string{"code": `{"commit":"abc"}`}},
		{"code removed", Amend{Replace: []string{"code"}}, map[string]string{"code": "null"}},
		{"runtime", Amend{Record: Record{Runtime: &Runtime{Image: "i"}}}, map[string]string{"runtime": `{"image":"i"}`}},
		{"run removed", Amend{Replace: []string{"run"}}, map[string]string{"run": "null"}},
		{"signature removed", Amend{Replace: []string{"signature"}}, map[string]string{"signature": "null"}},
		{"flavors removed", Amend{Replace: []string{"flavors"}}, map[string]string{"flavors": "null"}},
		{"a flavor changed and one added", Amend{Record: Record{Flavors: []Flavor{{Name: "onnx", Version: "1.17"}, {Name: "python_function"}}}}, map[string]string{
			"flavors": `[{"name":"onnx","version":"1.17"},{"name":"python_function"}]`,
		}},
		{"a param added", Amend{Record: Record{Params: Params{"x": "1"}}}, map[string]string{"params": `{"depth":"6","eta":"0.1","x":"1"}`}},
		{"a param changed", Amend{Record: Record{Params: Params{"depth": "7"}}}, map[string]string{"params": `{"depth":"7","eta":"0.1"}`}},
		{"a param as it is", Amend{Record: Record{Params: Params{"depth": "6"}}}, nil},
		{"params replaced", Amend{Record: Record{Params: Params{"x": "1"}}, Replace: []string{"params"}}, map[string]string{"params": `{"x":"1"}`}},
		{"params removed", Amend{Replace: []string{"params"}}, map[string]string{"params": "null"}},
		{"a metric changed", Amend{Record: Record{Metrics: []Metric{{Name: "auc", Value: 0.8, Dataset: "test"}}}}, map[string]string{
			"metrics": `[{"name":"auc","value":0.8,"dataset":"test"},{"name":"auc","value":0.95,"dataset":"train","split":"a"},{"name":"loss","value":0.2}]`,
		}},
		{"a metric of another split", Amend{Record: Record{Metrics: []Metric{{Name: "auc", Value: 0.8, Dataset: "train"}}}}, map[string]string{
			"metrics": `[{"name":"auc","value":0.91,"dataset":"test"},{"name":"auc","value":0.95,"dataset":"train","split":"a"},{"name":"loss","value":0.2},{"name":"auc","value":0.8,"dataset":"train"}]`,
		}},
		{"metrics replaced", Amend{Record: Record{Metrics: []Metric{{Name: "f1", Value: 1}}}, Replace: []string{"metrics"}}, map[string]string{"metrics": `[{"name":"f1","value":1}]`}},
		{"metrics removed", Amend{Replace: []string{"metrics"}}, map[string]string{"metrics": "null"}},
		{"data of the same role and URI", Amend{Record: Record{Data: []DataReference{{Role: "test", Kind: DataQuery, Query: "SELECT 2"}}}, Replace: nil}, map[string]string{
			"data": `[` + string(marshal(testRecord().Data[0])) + `,{"role":"test","kind":"query","query":"SELECT 2"}]`,
		}},
		{"data of another URI", Amend{Record: Record{Data: []DataReference{{Role: "train", Kind: DataSnapshot, URI: "s3://data/2"}}}}, map[string]string{
			"data": `[` + string(marshal(testRecord().Data[0])) + `,` + string(marshal(testRecord().Data[1])) + `,{"role":"train","kind":"snapshot","uri":"s3://data/2"}]`,
		}},
		{"an output of the same name", Amend{Record: Record{Outputs: []Output{{Name: "scores", URI: "s3://out/2"}}}}, map[string]string{"outputs": `[{"name":"scores","uri":"s3://out/2"}]`}},
		{"outputs without names", Amend{Record: Record{Outputs: []Output{{Digest: testDigest("a")}, {Digest: testDigest("b")}, {URI: "s3://c"}, {URI: "s3://c", Size: &size}}}}, map[string]string{
			"outputs": `[` + string(marshal(testRecord().Outputs[0])) + `,{"digest":"` + string(testDigest("a")) + `"},{"digest":"` + string(testDigest("b")) + `"},{"uri":"s3://c","size":5}]`,
		}},
		{"a parent of the same version", Amend{Record: Record{Parents: []Parent{{Relation: DerivedFrom, Reference: "base/3", ModelID: "mdl_base", Version: 3}}}}, map[string]string{
			"parents": `[{"relation":"derived_from","reference":"base/3","model_id":"mdl_base","version":3},` + string(marshal(testRecord().Parents[1])) + `]`,
		}},
		{"parents not resolved yet", Amend{Record: Record{Parents: []Parent{{Relation: EnsembleOf, Reference: "a/1"}, {Relation: EnsembleOf, Reference: "b/1"}}}, Replace: []string{"parents"}}, map[string]string{
			"parents": `[{"relation":"ensemble_of","reference":"a/1"},{"relation":"ensemble_of","reference":"b/1"}]`,
		}},
		{"more parents not resolved yet", Amend{Record: Record{Parents: []Parent{{Relation: EnsembleOf, Reference: "a/1"}, {Relation: EnsembleOf, Reference: "b/1"}}}}, map[string]string{
			"parents": `[` + string(marshal(testRecord().Parents[0])) + `,` + string(marshal(testRecord().Parents[1])) + `,{"relation":"ensemble_of","reference":"a/1"},{"relation":"ensemble_of","reference":"b/1"}]`,
		}},
		{"evidence of the same name", Amend{Record: Record{Evidence: []Evidence{{Name: "eval/report.html", Kind: "evaluation", URI: "s3://b/r"}}}}, map[string]string{
			"evidence": `[{"name":"eval/report.html","kind":"evaluation","uri":"s3://b/r"}]`,
		}},
		{"the same artifact", Amend{Record: Record{Artifact: Artifact{Kind: ArtifactStored, Files: testFiles()}}}, nil},
	} {
		v := testVersion(t)
		before := string(marshal(v))
		got, err := v.Amend(tt.amend)
		checkCode(t, tt.name, err, "")
		checkEqual(t, tt.name+": the version", string(marshal(v)), before)
		if tt.want == nil {
			checkEqual(t, tt.name, len(got), 0)
			continue
		}
		if len(got) != 1 || got[0].Type != VersionAmended || got[0].Subject != "mdl_fraud/7" {
			t.Errorf("%s: got %v", tt.name, got)
			continue
		}
		fields := map[string]string{}
		for key, value := range got[0].Payload {
			fields[key] = string(marshal(value))
		}
		checkEqual(t, tt.name, fields, tt.want)
	}
}

func TestAmendRefuses(t *testing.T) {
	other := []File{{Path: "other", Size: 1, Digest: testDigest("o")}}
	for _, tt := range []struct {
		name  string
		amend Amend
		want  ErrorCode
	}{
		{"replace of nothing", Amend{Replace: []string{"tags"}}, CodeInvalid},
		{"reason", Amend{Record: Record{Owner: "x"}, Reason: "\x00"}, CodeInvalid},
		{"invalid field", Amend{Record: Record{Target: "x"}}, CodeInvalid},
		{"other bytes", Amend{Record: Record{Artifact: Artifact{Kind: ArtifactStored, Files: other}}}, CodeRefused},
		{"a link for bytes", Amend{Record: Record{Artifact: Artifact{Kind: ArtifactLinked, URI: "s3://b/m"}}}, CodeRefused},
		{"nothing for bytes", Amend{Record: Record{Artifact: Artifact{Kind: ArtifactNone}}}, CodeRefused},
	} {
		v := testVersion(t)
		got, err := v.Amend(tt.amend)
		checkCode(t, tt.name, err, tt.want)
		checkEqual(t, tt.name, len(got), 0)
	}
	linked := Version{Model: "fraud", ModelID: "mdl_fraud", Number: 7, Record: Record{Artifact: Artifact{Kind: ArtifactLinked, URI: "s3://b/m"}}}
	got, err := linked.Amend(Amend{Record: Record{Artifact: Artifact{Kind: ArtifactLinked, URI: "s3://b/m2"}}})
	checkDrafts(t, "another link", got, err, Draft{Type: VersionAmended, Subject: "mdl_fraud/7", Payload: Payload{"artifact": json.RawMessage(`{"kind":"linked","uri":"s3://b/m2"}`)}})
}

func TestDescribe(t *testing.T) {
	v := testVersion(t)
	got, err := v.Describe("new")
	checkDrafts(t, "new", got, err, Draft{Type: VersionEdited, Subject: "mdl_fraud/7", Payload: Payload{"description": "new"}})
	got, err = v.Describe("")
	checkDrafts(t, "removed", got, err, Draft{Type: VersionEdited, Subject: "mdl_fraud/7", Payload: Payload{"description": ""}})
	got, err = v.Describe("d")
	checkDrafts(t, "same", got, err)
	_, err = v.Describe(strings.Repeat("x", MaxText+1))
	checkCode(t, "long", err, CodeInvalid)
}

func TestVersionTags(t *testing.T) {
	v := testVersion(t)
	got, err := v.Tag(map[string]string{"z": "1", "team": "risk", "a": ""})
	checkDrafts(t, "tagged", got, err,
		Draft{Type: VersionTagged, Subject: "mdl_fraud/7", Payload: Payload{"key": "a", "value": ""}},
		Draft{Type: VersionTagged, Subject: "mdl_fraud/7", Payload: Payload{"key": "z", "value": "1"}})
	got, err = v.Tag(nil)
	checkDrafts(t, "none", got, err)
	_, err = v.Tag(map[string]string{"a|b": ""})
	checkCode(t, "key", err, CodeInvalid)
	got, err = v.Untag("team")
	checkDrafts(t, "untagged", got, err, Draft{Type: VersionUntagged, Subject: "mdl_fraud/7", Payload: Payload{"key": "team"}})
	_, err = v.Untag("z")
	checkCode(t, "absent", err, CodeNotFound)
}

// TestEnterStage: a withdrawn version enters no stage by which it would be handed out, whoever
// says so and however.
func TestEnterStage(t *testing.T) {
	for _, tt := range []struct {
		text      string
		withdrawn bool
		want      ErrorCode
	}{
		{"Production", false, ""},
		{"Production", true, CodeRefused},
		{"production", true, CodeRefused},
		{"sTaging", true, CodeRefused},
		{"Archived", true, ""},
		{"None", true, ""},
		{"nowhere", true, ""},
	} {
		v := testVersion(t)
		if tt.withdrawn {
			v.Withdrawn = &Withdrawal{Reason: "leaks"}
		}
		_, err := v.Transition(StageOf(tt.text))
		checkCode(t, "transition to "+tt.text, err, tt.want)
		_, err = v.Tag(map[string]string{StageTag: tt.text})
		checkCode(t, "tag "+tt.text, err, tt.want)
		_, err = v.Tag(map[string]string{"team": "fraud"})
		checkCode(t, "another tag", err, "")
	}
}

func TestArchive(t *testing.T) {
	for _, tt := range []struct {
		name     string
		archived bool
		aliases  []Alias
		reason   string
		archive  ErrorCode // "none" for no event
		restore  ErrorCode
	}{
		{"live", false, nil, "old", "", "none"},
		{"live, no reason", false, nil, "", "", "none"},
		{"in use", false, []Alias{"champion"}, "", CodeRefused, "none"},
		{"archived", true, nil, "old", "none", ""},
		{"archived and named", true, []Alias{"champion"}, "", "none", ""},
		{"bad reason", false, nil, "\x00", CodeInvalid, CodeInvalid},
		{"bad reason, archived", true, nil, "\x00", CodeInvalid, CodeInvalid},
	} {
		v := testVersion(t)
		v.Archived, v.Aliases = tt.archived, tt.aliases
		for _, step := range []struct {
			t      EventType
			decide func(string) ([]Draft, error)
			want   ErrorCode
		}{{VersionArchived, v.Archive, tt.archive}, {VersionRestored, v.Restore, tt.restore}} {
			got, err := step.decide(tt.reason)
			what := tt.name + ": " + string(step.t)
			switch step.want {
			case "":
				checkDrafts(t, what, got, err, Draft{Type: step.t, Subject: "mdl_fraud/7", Payload: Payload{}.with("reason", tt.reason)})
			case "none":
				checkDrafts(t, what, got, err)
			default:
				checkCode(t, what, err, step.want)
				checkEqual(t, what, len(got), 0)
			}
		}
	}
}

func TestVersionDelete(t *testing.T) {
	v := testVersion(t)
	got, err := v.Delete("", true)
	checkDrafts(t, "bare", got, err, Draft{Type: VersionDeleted, Subject: "mdl_fraud/7", Payload: Payload{}})
	v.Aliases = []Alias{"canary", "champion"}
	got, err = v.Delete("broken", true)
	removed := func(a Alias) Draft {
		return Draft{Type: AliasRemoved, Subject: "mdl_fraud", Refs: []string{"mdl_fraud/7"}, Payload: Payload{"alias": a}}
	}
	checkDrafts(t, "with aliases", got, err, removed("canary"), removed("champion"), Draft{Type: VersionDeleted, Subject: "mdl_fraud/7", Payload: Payload{"reason": "broken"}})
	_, err = v.Delete("\x00", true)
	checkCode(t, "reason", err, CodeInvalid)
}

func TestFoldRecord(t *testing.T) {
	event := func(seq int64, typ EventType, fields map[string]string) Event {
		e := Event{Seq: seq, Type: typ, Time: testNow.Add(time.Duration(seq)), Actor: "ann", PayloadDigest: testDigest(string(marshal(fields)))}
		for _, name := range sortedKeys(fields) {
			f := Field{Name: name}
			if fields[name] != "" {
				f.Value = json.RawMessage(fields[name])
			}
			e.Fields = append(e.Fields, f)
		}
		return e
	}
	registered := event(1, VersionRegistered, map[string]string{"artifact": `{"kind":"none"}`, "owner": `"ann"`, "params": `{"a":"1"}`, "tags": `{"x":"y"}`})
	note := event(2, VersionAmended, map[string]string{"rollback_note": `"mind x"`, "reason": `"asked"`})
	params := event(3, VersionAmended, map[string]string{"params": `{"a":"2"}`, "owner": `null`})
	erased := event(4, VersionAmended, map[string]string{"params": ``})

	fold := func(events ...Event) Version {
		t.Helper()
		v := Version{Model: "fraud", ModelID: "mdl_fraud", Number: 1}
		if err := FoldRecord(&v, events); err != nil {
			t.Fatal(err)
		}
		return v
	}
	v := fold(registered)
	checkEqual(t, "registered", v.Record, Record{Artifact: Artifact{Kind: ArtifactNone}, Owner: "ann", Params: Params{"a": "1"}})
	checkEqual(t, "created", v.CreatedAt, registered.Time)
	first := v.RecordDigest
	checkEqual(t, "record digest", first, testDigest(string(registered.PayloadDigest)+"\n"))

	v = fold(registered, note)
	checkEqual(t, "a note", v.Record.RollbackNote, "mind x")
	checkEqual(t, "a note changes no digest", v.RecordDigest, first)
	checkEqual(t, "amendments", v.Amendments, []Amendment{{Seq: 2, Time: note.Time, Actor: "ann", Reason: "asked", Fields: map[string]json.RawMessage{"rollback_note": json.RawMessage(`"mind x"`)}}})

	v = fold(registered, note, params)
	checkEqual(t, "amended", v.Record, Record{Artifact: Artifact{Kind: ArtifactNone}, Params: Params{"a": "2"}, RollbackNote: "mind x"})
	checkEqual(t, "params change the digest", v.RecordDigest, testDigest(string(registered.PayloadDigest)+"\n"+string(params.PayloadDigest)+"\n"))
	checkEqual(t, "a removed field is not erased", len(v.Erased), 0)

	v = fold(registered, note, params, erased)
	checkEqual(t, "erased", v.Erased, []string{"params"})
	checkEqual(t, "erased value", len(v.Record.Params), 0)
	checkEqual(t, "erased amendment", string(v.Amendments[2].Fields["params"]), "null")

	if err := FoldRecord(&v, []Event{registered, note}); err != nil || len(v.Amendments) != 1 || len(v.Erased) != 0 {
		t.Errorf("folded again: %v, %d amendments, erased %v", err, len(v.Amendments), v.Erased)
	}
	checkCode(t, "garbage", FoldRecord(&v, []Event{event(1, VersionRegistered, map[string]string{"owner": "5"})}), CodeCorrupt)
}
