package pedigree

import (
	"bytes"
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// testLine is a whole line; rows change one part of it.
const testLine = `{"schema": "pedigree.prediction/v1", "id": "r-1", "time": "2026-11-24T09:00:00.123Z",` +
	` "predicted_at": "2026-11-24T09:00:00.130+00:00", "responded_at": "2026-11-24T10:00:00.131+01:00",` +
	` "project": "risk", "target": "prod/fraud-api", "deployment": "dep_0193a3c5e8b07aa48f2d3c4b5a697887",` +
	` "model": "fraud", "version": 7, "digest": "sha256:f2736b68fee72f93a39b752206b3311d6f9825afb7beaa124366a55d8bd68355",` +
	` "instance": "pod-3", "request": {"amount": 12.50, "age": "NaN"}, "prediction": {"score": 0.93},` +
	` "response": {"decision": "review"}, "extra": {"tenant": "eu"}}`

func TestParsePrediction(t *testing.T) {
	p, err := ParsePrediction([]byte(testLine))
	if err != nil {
		t.Fatal(err)
	}
	checkEqual(t, "time", p.Time.UTC(), time.Date(2026, 11, 24, 9, 0, 0, 123e6, time.UTC))
	checkEqual(t, "responded at", p.RespondedAt.UTC(), time.Date(2026, 11, 24, 9, 0, 0, 131e6, time.UTC))
	checkEqual(t, "version", p.Version, VersionNumber(7))
	checkEqual(t, "target", p.Target, TargetName("prod/fraud-api"))
	checkEqual(t, "request", string(p.Request), `{"amount": 12.50, "age": "NaN"}`)
	checkEqual(t, "request digest", p.RequestDigest(), DigestBytes([]byte(`{"amount":12.50,"age":"NaN"}`)))
	checkEqual(t, "prediction digest", p.PredictionDigest(), DigestBytes([]byte(`{"score":0.93}`)))

	again, err := ParsePrediction(marshal(p))
	if err != nil {
		t.Fatalf("what was read can't be read again: %v", err)
	}
	checkEqual(t, "written and read", string(marshal(again)), string(marshal(p)))
}

// predictionRows are lines and what is wrong with them; schemaBlind are those that JSON
// Schema can't see.
var predictionRows = []struct {
	name, old, new string
	want           string // part of the error; "" for none
	schemaBlind    bool
}{
	{name: "nothing"},
	{name: "null stands for nothing", old: `"dep_0193a3c5e8b07aa48f2d3c4b5a697887"`, new: `null`},
	{name: "null response and extra", old: `{"decision": "review"}, "extra": {"tenant": "eu"}`, new: `null, "extra": null`},
	{name: "a whole number with a point", old: `"version": 7`, new: `"version": 7.0`},
	{name: "a scalar prediction", old: `{"score": 0.93}`, new: `0.93`},
	{name: "false is a prediction", old: `{"score": 0.93}`, new: `false`},
	{name: "not JSON", old: `{"decision"`, new: `{decision`, want: "this is not JSON", schemaBlind: true},
	{name: "cut off", old: `, "extra": {"tenant": "eu"}}`, want: "this is not JSON", schemaBlind: true},
	{name: "NaN", old: `"NaN"`, new: `NaN`, want: "JSON has no number NaN", schemaBlind: true},
	{name: "minus infinity", old: `"NaN"`, new: `-Infinity`, want: "JSON has no number Infinity", schemaBlind: true},
	{name: "two objects", old: `"eu"}}`, new: `"eu"}} {}`, want: "this is not JSON", schemaBlind: true},
	{name: "not UTF-8", old: `review`, new: "re\xffview", want: "this is not UTF-8", schemaBlind: true},
	{name: "twice", old: `"id": "r-1"`, new: `"id": "r-1", "id": "r-1"`, want: `byte 54: the field "id" is there twice`, schemaBlind: true},
	{name: "misspelt", old: `"deployment"`, new: `"depolyment"`, want: `there is no field "depolyment"; did you mean deployment?`},
	{name: "unknown", old: `"instance"`, new: `"zzzzzzzzzzz"`, want: `goes into extra`},
	{name: "another form", old: `prediction/v1`, new: `prediction/v2`, want: `byte 12: schema: "pedigree.prediction/v2" is not a form`},
	{name: "no form", old: `"schema": "pedigree.prediction/v1", `, want: `the field schema is missing`},
	{name: "no id", old: `"id": "r-1", `, want: `the field id is missing`},
	{name: "empty id", old: `"r-1"`, new: `""`, want: `the text is empty`},
	{name: "null id", old: `"r-1"`, new: `null`, want: `id: want a string, not null`},
	{name: "long id", old: `"r-1"`, new: `"` + strings.Repeat("ä", 251) + `"`, want: `251 characters`},
	{name: "id with a line end", old: `"r-1"`, new: `"r\n1"`, want: `control character`},
	{name: "no time", old: `"time": "2026-11-24T09:00:00.123Z",`, want: `the field time is missing`},
	{name: "no time zone", old: `.123Z"`, new: `.123"`, want: `datetime.now(timezone.utc).isoformat()`},
	{name: "a number for a time", old: `"2026-11-24T09:00:00.123Z"`, new: `1764000000`, want: `time: want a string, not a number`},
	{name: "a time with a space", old: `24T09:00:00.123Z`, new: `24 09:00:00.123Z`, want: `RFC 3339`},
	{name: "no such day", old: `2026-11-24T09:00:00.123Z`, new: `2026-02-30T09:00:00.123Z`, want: `RFC 3339`},
	{name: "the time of a prediction", old: `2026-11-24T09:00:00.130+00:00`, new: `09:00`, want: `predicted_at: "09:00" is not a moment`},
	{name: "no request", old: `"request": {"amount": 12.50, "age": "NaN"},`, want: `the field request is missing`},
	{name: "a list for a request", old: `{"amount": 12.50, "age": "NaN"}`, new: `[12.5]`, want: `request: want an object, not a list`},
	{name: "no prediction", old: ` "prediction": {"score": 0.93},`, want: `the field prediction is missing`},
	{name: "null prediction", old: `{"score": 0.93}`, new: `null`, want: `null is no prediction`},
	{name: "a list for extra", old: `{"tenant": "eu"}`, new: `["eu"]`, want: `extra: want an object, not a list`},
	{name: "a text for a version", old: `"version": 7`, new: `"version": "7"`, want: `is not the number of a version`},
	{name: "version 0", old: `"version": 7`, new: `"version": 0`, want: `is not the number of a version`},
	{name: "version 1.5", old: `"version": 7`, new: `"version": 1.5`, want: `is not the number of a version`},
	{name: "a short digest", old: `sha256:f2`, new: `sha256:`, want: `is not a digest`},
	{name: "empty digest", old: `"sha256:f2736b68fee72f93a39b752206b3311d6f9825afb7beaa124366a55d8bd68355"`, new: `""`, want: `is not a digest`},
	{name: "no deployment's id", old: `dep_0193`, new: `0193`, want: `is not the id of a deployment`},
	{name: "no target", old: `prod/fraud-api`, new: `fraud-api`, want: `is not a target`},
	{name: "no project", old: `"risk"`, new: `"Risk!"`, want: `is not a project name`},
	{name: "no model", old: `"fraud", "version"`, new: `"a/b", "version"`, want: `not allowed in a name`},
	{name: "blank model", old: `"fraud", "version"`, new: `"  ", "version"`, want: `needs a name`},
	{name: "dotted model", old: `"fraud", "version"`, new: `"..", "version"`, want: `is a path`},
	{name: "number for an instance", old: `"pod-3"`, new: `3`, want: `instance: want a string`},
	{name: "too long", old: `"NaN"`, new: `"` + strings.Repeat("x", MaxPrediction) + `"`, want: `the limit is 1048576`, schemaBlind: true},
}

func predictionLine(t *testing.T, old, new string) string {
	t.Helper()
	if strings.Count(testLine, old) != 1 && old != "" {
		t.Fatalf("%q is in the line %d times", old, strings.Count(testLine, old))
	}
	if old == "" {
		return testLine
	}
	return strings.Replace(testLine, old, new, 1)
}

func TestParsePredictionRefuses(t *testing.T) {
	for _, tt := range predictionRows {
		_, err := ParsePrediction([]byte(predictionLine(t, tt.old, tt.new)))
		switch {
		case tt.want == "" && err != nil:
			t.Errorf("%s: %v", tt.name, err)
		case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
			t.Errorf("%s: got %v, want something with %q", tt.name, err, tt.want)
		}
	}
	for _, line := range []string{"", " ", "7", "[]", "null"} {
		_, err := ParsePrediction([]byte(line))
		checkCode(t, line, err, CodeInvalid)
	}
}

// TestParsePredictionNames goes through what may be left out.
func TestParsePredictionNames(t *testing.T) {
	const line = `{"schema":"pedigree.prediction/v1","id":"1","time":"2026-11-24T09:00:00Z","request":{},"prediction":1`
	schema := compilePredictionSchema(t)
	for _, tt := range []struct {
		more string
		ok   bool
	}{
		{``, false},
		{`,"model":"fraud"`, false},
		{`,"version":7`, false},
		{`,"model":"fraud","version":null`, false},
		{`,"instance":"pod-3","project":"risk"`, false},
		{`,"model":"fraud","version":7`, true},
		{`,"target":"prod/x"`, true},
		{`,"target":null`, false},
		{`,"digest":"sha256:f2736b68fee72f93a39b752206b3311d6f9825afb7beaa124366a55d8bd68355"`, true},
		{`,"deployment":"dep_0193a3c5e8b07aa48f2d3c4b5a697887"`, true},
	} {
		text := line + tt.more + "}"
		if _, err := ParsePrediction([]byte(text)); (err == nil) != tt.ok {
			t.Errorf("%s: got %v", tt.more, err)
		}
		if err := validateText(t, schema, text); (err == nil) != tt.ok {
			t.Errorf("%s: the schema says %v", tt.more, err)
		}
	}
}

func compilePredictionSchema(t testing.TB) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(PredictionSchema()))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource("urn:pedigree:prediction:v1", doc); err != nil {
		t.Fatal(err)
	}
	schema, err := c.Compile("urn:pedigree:prediction:v1")
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

func validateText(t testing.TB, schema *jsonschema.Schema, text string) error {
	t.Helper()
	value, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
	if err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return schema.Validate(value)
}

// TestPredictionSchemaAgrees compares the schema with the parser on every row.
func TestPredictionSchemaAgrees(t *testing.T) {
	schema := compilePredictionSchema(t)
	for _, tt := range predictionRows {
		if tt.schemaBlind {
			continue
		}
		if err := validateText(t, schema, predictionLine(t, tt.old, tt.new)); (err == nil) != (tt.want == "") {
			t.Errorf("%s: the schema says %v, the parser %q", tt.name, err, tt.want)
		}
	}
}

// TestPredictionSchemaType compares the schema with the Go type: the same fields in the
// same order, and those required that are never left out, but for what only a head lacks.
func TestPredictionSchemaType(t *testing.T) {
	var doc struct {
		AdditionalProperties *bool
		Required             []string
		Properties           json.RawMessage
	}
	if err := json.Unmarshal(PredictionSchema(), &doc); err != nil {
		t.Fatal(err)
	}
	if doc.AdditionalProperties == nil || *doc.AdditionalProperties {
		t.Error("the schema allows fields that the type does not have")
	}
	var names []string
	required := []string{"request", "prediction"}
	dec := json.NewDecoder(bytes.NewReader(doc.Properties))
	_, _ = dec.Token()
	for dec.More() {
		name, err := dec.Token()
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, name.(string))
		var property struct{ Description string }
		if err := dec.Decode(&property); err != nil || property.Description == "" {
			t.Errorf("%s has no description: %v", name, err)
		}
	}
	checkEqual(t, "fields", names, predictionFields)
	typ := reflect.TypeFor[Prediction]()
	for i := range typ.NumField() {
		if name, more, _ := strings.Cut(typ.Field(i).Tag.Get("json"), ","); more == "" {
			required = append(required, name)
		}
	}
	checkEqual(t, "required", slices.Sorted(slices.Values(doc.Required)), slices.Sorted(slices.Values(required)))
}

func FuzzParsePrediction(f *testing.F) {
	for _, tt := range predictionRows {
		if len(tt.new) < 1000 && tt.old != "" {
			f.Add(strings.Replace(testLine, tt.old, tt.new, 1))
		}
	}
	schema := compilePredictionSchema(f)
	f.Fuzz(func(t *testing.T, line string) {
		p, err := ParsePrediction([]byte(line))
		if err != nil {
			if code := CodeOf(err); code != CodeInvalid && code != CodeTooLarge {
				t.Fatalf("code %q: %v", code, err)
			}
			return
		}
		if err := validateText(t, schema, line); err != nil {
			t.Fatalf("the schema refuses what the parser takes: %v", err)
		}
		text := marshal(p)
		again, err := ParsePrediction(text)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		if got := marshal(again); !bytes.Equal(got, text) {
			t.Fatalf("written and read:\n got %s\nwant %s", got, text)
		}
	})
}

// TestParsePredictionHead: a line without its content is enough to be found, and is still
// a line.
func TestParsePredictionHead(t *testing.T) {
	p, err := ParsePrediction([]byte(testLine))
	if err != nil {
		t.Fatal(err)
	}
	head := p.Head()
	text := string(marshal(head))
	for _, content := range []string{"request", `"prediction":`, "amount", "0.93", "review", "tenant"} {
		if strings.Contains(text, content) {
			t.Errorf("the head holds %q: %s", content, text)
		}
	}
	again, err := ParsePredictionHead([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	checkEqual(t, "written and read", string(marshal(again)), text)
	if whole, err := ParsePredictionHead([]byte(testLine)); err != nil || string(marshal(whole)) != string(marshal(p)) {
		t.Errorf("a whole line: got %+v, %v", whole, err)
	}
	_, err = ParsePrediction([]byte(text))
	checkCode(t, "a head for a line", err, CodeInvalid)
	for _, tt := range predictionRows {
		if tt.want == "" || strings.HasPrefix(tt.name, "no request") || strings.HasPrefix(tt.name, "no prediction") {
			continue
		}
		if _, err := ParsePredictionHead([]byte(predictionLine(t, tt.old, tt.new))); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want something with %q", tt.name, err, tt.want)
		}
	}
}

// TestAnsweredBy: which of the deployments at a target a line is of.
func TestAnsweredBy(t *testing.T) {
	deployment := func(role DeploymentRole, model Name, n VersionNumber) Deployment {
		return Deployment{ID: "dep_" + string(role), Project: DefaultProject, Role: role, Model: model, Version: n, Digest: DigestBytes([]byte{byte(n)})}
	}
	canary, primary, shadow := deployment(RoleCanary, "fraud", 3), deployment(RolePrimary, "fraud", 2), deployment(RoleShadow, "scores", 1)
	all := []Deployment{canary, primary, shadow}
	for _, tt := range []struct {
		name   string
		line   Prediction
		active []Deployment
		want   string
		notes  int
	}{
		{"nothing is active", Prediction{}, nil, "", 0},
		{"the primary before others", Prediction{}, all, primary.ID, 2},
		{"without a primary", Prediction{}, []Deployment{canary}, canary.ID, 0},
		{"of a model", Prediction{Model: "fraud"}, all, primary.ID, 2},
		{"of another model", Prediction{Model: "scores"}, all, shadow.ID, 2},
		{"of a model that is not there", Prediction{Model: "other"}, all, primary.ID, 2},
		{"a version", Prediction{Model: "fraud", Version: 3}, all, canary.ID, 0},
		{"a version that is not there", Prediction{Model: "fraud", Version: 1}, all, "", 0},
		{"a number alone", Prediction{Version: 3}, all, canary.ID, 0},
		{"a number alone that is not there", Prediction{Version: 9}, all, primary.ID, 0},
		{"an artifact", Prediction{Digest: canary.Digest}, all, canary.ID, 0},
		{"an artifact that is not there", Prediction{Digest: DigestBytes(nil)}, all, "", 0},
		{"a version and another artifact", Prediction{Model: "fraud", Version: 3, Digest: primary.Digest}, all, "", 0},
	} {
		got, notes := tt.line.AnsweredBy(tt.active)
		id := ""
		if got != nil {
			id = got.ID
		}
		if id != tt.want || len(notes) != tt.notes {
			t.Errorf("%s: got %q with %q, want %q with %d notes", tt.name, id, notes, tt.want, tt.notes)
		}
	}
}

// TestReplayErr: the worst that was found is the error.
func TestReplayErr(t *testing.T) {
	for _, tt := range []struct {
		name   string
		replay Replay
		want   ErrorCode
	}{
		{"nothing", Replay{}, ""},
		{"identical", Replay{Comparison: &Comparison{Outcome: OutcomeIdentical}}, ""},
		{"bytes that are not whole", Replay{Facts: ReplayFacts{Digest: DigestBytes(nil)}, Bytes: &ReplayedBytes{Problem: "lost"}, Contradictions: []string{"x"}}, CodeCorrupt},
		{"no bytes where none are", Replay{Bytes: &ReplayedBytes{Problem: "none"}}, ""},
		{"can't be scored", Replay{Comparison: &Comparison{Outcome: OutcomeCannot}, Contradictions: []string{"x"}}, CodeUnavailable},
		{"another prediction", Replay{Comparison: &Comparison{Outcome: OutcomeDifferent}}, CodeRefused},
		{"they do not agree", Replay{Contradictions: []string{"x"}}, CodeRefused},
	} {
		if got := CodeOf(tt.replay.Err()); got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.name, got, tt.want)
		}
	}
}
