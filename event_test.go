package pedigree

import (
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestEnvelopeGolden pins the text that a leaf of the log hashes: its keys, their order
// and their form are part of the log's format.
func TestEnvelopeGolden(t *testing.T) {
	e := Event{
		V: 1, Seq: 42, Time: testNow, Type: VersionRegistered, Actor: "local", Subject: "mdl_x/7", Refs: []string{"mdl_base/3"}, RequestID: "req_1",
		PayloadDigest: testDigest("p"), Fields: []Field{{Name: "owner", Value: json.RawMessage(`"<ann>"`)}},
	}
	want := `{"v":1,"seq":42,"time":"2026-11-02T08:00:00Z","type":"version.registered","actor":"local","subject":"mdl_x/7","refs":["mdl_base/3"],` +
		`"request_id":"req_1","payload_digest":"sha256:148de9c5a7a44d19e56cd9ae1a554bf67847afb0c58f6e12fa29ac7ddfca9940"}`
	checkEqual(t, "envelope", e.Envelope(), want)
	read, err := ParseEnvelope(want)
	checkCode(t, "read", err, "")
	e.Text, e.Fields = want, nil
	checkEqual(t, "read", read, e)
}

func TestParseEnvelope(t *testing.T) {
	good := `{"v":1,"seq":0,"time":"2026-11-02T08:00:00Z","type":"log.created","actor":"system","subject":"log","payload_digest":""}`
	for _, tt := range []struct {
		in   string
		want ErrorCode
	}{
		{good, ""},
		{good + "\n", ""},
		{`{"v":1,"new":"field"}`, ""},
		{"", CodeCorrupt},
		{"null", CodeCorrupt},
		{"[]", CodeCorrupt},
		{`{"v":2}`, CodeCorrupt},
		{`{}`, CodeCorrupt},
		{good + good, CodeCorrupt},
		{good + "x", CodeCorrupt},
		{good[:len(good)-1], CodeCorrupt},
		{`{"v":1,"seq":"0"}`, CodeCorrupt},
		{`{"v":1,"time":"yesterday"}`, CodeCorrupt},
		{`{"v":1,"payload_digest":"md5:1"}`, CodeCorrupt},
	} {
		_, err := ParseEnvelope(tt.in)
		checkCode(t, tt.in, err, tt.want)
	}
}

func TestEventFields(t *testing.T) {
	e := Event{Fields: []Field{
		{Name: "key", Value: json.RawMessage(`"team"`)}, {Name: "gone"}, {Name: "n", Value: json.RawMessage(`5`)}, {Name: "null", Value: json.RawMessage(`null`)},
	}}
	checkEqual(t, "text", e.String("key"), "team")
	checkEqual(t, "erased", e.String("gone"), "")
	checkEqual(t, "absent", e.String("other"), "")
	checkEqual(t, "number as text", e.String("n"), "")
	checkEqual(t, "null", e.String("null"), "")
	if e.Field("other") != nil || !e.Field("gone").Erased() || e.Field("null").Erased() {
		t.Errorf("fields: %v", e.Fields)
	}
	for _, tt := range []struct {
		name string
		ok   bool
		want ErrorCode
	}{{"n", true, ""}, {"gone", false, ""}, {"other", false, ""}, {"key", false, CodeCorrupt}} {
		n := 7
		ok, err := e.Decode(tt.name, &n)
		checkCode(t, tt.name, err, tt.want)
		checkEqual(t, tt.name, ok, tt.ok)
		if !ok && tt.want == "" && n != 7 {
			t.Errorf("%s: the value was touched: %d", tt.name, n)
		}
	}
}

func TestEntry(t *testing.T) {
	e := Event{V: 1, Seq: 3, Time: testNow, Type: VersionTagged, Subject: "mdl_x/1"}
	fields := []Field{{Name: "key", Value: json.RawMessage(`"a"`)}, {Name: "value"}}
	entry := Entry{Envelope: e.Envelope(), Fields: fields, Seq: 3}
	got, err := entry.Event()
	checkCode(t, "event", err, "")
	checkEqual(t, "fields", got.Fields, fields)
	checkEqual(t, "text", got.Text, entry.Envelope)
	checkEqual(t, "payload", entry.Payload(), map[string]json.RawMessage{"key": json.RawMessage(`"a"`), "value": json.RawMessage("null")})
	hidden := Entry{Seq: 3}
	_, err = hidden.Event()
	checkCode(t, "hidden", err, CodeCorrupt)
}

// TestEventTypes checks that the list has every constant of the source.
func TestEventTypes(t *testing.T) {
	source, err := os.ReadFile("event.go")
	if err != nil {
		t.Fatal(err)
	}
	var declared []EventType
	for _, m := range regexp.MustCompile(`EventType += "([a-z_.]+)"`).FindAllSubmatch(source, -1) {
		declared = append(declared, EventType(m[1]))
	}
	checkEqual(t, "event types", EventTypes, declared)
	for typ := range structural {
		if !slices.Contains(EventTypes, typ) {
			t.Errorf("structural fields of an unknown type %s", typ)
		}
	}
}

func TestMaterial(t *testing.T) {
	want := []string{"artifact", "code", "runtime", "data", "params", "metrics", "parents", "signature", "flavors", "evidence"}
	for _, field := range append([]string{"tags", "description", "reason", ""}, RecordFields...) {
		checkEqual(t, field, Material(field), slices.Contains(want, field))
	}
}

func TestErasable(t *testing.T) {
	for _, tt := range []struct {
		typ   EventType
		field string
		want  bool
	}{
		{VersionRegistered, "artifact", false},
		{VersionRegistered, "owner", true},
		{VersionRegistered, "data", true},
		{VersionRegistered, "tags", true},
		{VersionTagged, "key", false},
		{VersionTagged, "value", true},
		{VersionUntagged, "key", false},
		{AliasMoved, "alias", false},
		{AliasMoved, "version", false},
		{AliasMoved, "note", true},
		{ModelCreated, "name", false},
		{ModelCreated, "owner", true},
		{ModelRenamed, "to", false},
		{ModelDeleted, "reason", true},
		{PayloadRedacted, "event", false},
		{PayloadRedacted, "fields", false},
		{PayloadRedacted, "reason", true},
		{LogCreated, "key", false},
	} {
		checkEqual(t, string(tt.typ)+" "+tt.field, Erasable(tt.typ, tt.field), tt.want)
	}
}

func TestTouches(t *testing.T) {
	text := func(s string) json.RawMessage { return marshal(s) }
	fields := []Field{
		{Name: "project", Value: text("prj_1")}, {Name: "name", Value: text("fraud")}, {Name: "from", Value: text("fraud")}, {Name: "to", Value: text("fraud2")}, {Name: "alias", Value: text("champion")},
	}
	want := map[EventType][]string{
		LogCreated:        {"s"},
		KeyRotated:        {"s"},
		ProjectCreated:    {"project:fraud"},
		ModelCreated:      {"name:prj_1/fraud"},
		ModelRenamed:      {"s", "name:prj_1/fraud", "name:prj_1/fraud2"},
		ModelDeleted:      {"s", "name:prj_1/fraud"},
		ModelEdited:       {"s"},
		ModelTagged:       {"s"},
		ModelUntagged:     {"s"},
		VersionRegistered: nil,
		VersionAmended:    {"s"},
		VersionEdited:     {"s"},
		VersionTagged:     {"s"},
		VersionUntagged:   {"s"},
		VersionArchived:   {"s"},
		VersionRestored:   {"s"},
		VersionDeleted:    {"s"},
		AliasMoved:        {"alias:s/champion", "aliases:s"},
		AliasRemoved:      {"alias:s/champion", "aliases:s"},
		PayloadRedacted:   {"s"},

		VersionWithdrawn: {"s"}, VersionReinstated: {"s"}, PolicyApplied: {"s"}, PolicyRemoved: {"s"},
		ApprovalRequested: {"s"}, ApprovalGranted: {"s"}, ApprovalRejected: {"s"}, ApprovalRevoked: {"s"}, ApprovalConditionMet: {"s"},
		TargetCreated: {"s", "target:prj_1/fraud", "tied:prj_1"}, TargetEdited: {"s", "tied:tgt_1", "tied:mdl_1/2"}, TargetDeleted: {"s", "target:prj_1/fraud", "tied:prj_1"},
		DeploymentOpened: {"s", "tgt_1", "deployed:mdl_1/2", "deployed:mdl_1"}, DeploymentActivated: {"s", "tgt_1", "deployed:mdl_1/2", "deployed:mdl_1"},
		DeploymentFailed: {"s", "tgt_1", "deployed:mdl_1/2", "deployed:mdl_1"}, DeploymentEnded: {"s", "tgt_1", "deployed:mdl_1/2", "deployed:mdl_1"}, DeploymentMarked: {"s", "tgt_1", "deployed:mdl_1/2", "deployed:mdl_1"},
		GateOverridden: nil, TargetReadiness: {"readiness:s"}, ExecutionStarted: nil, ExecutionFinished: {"s"}, InstanceChanged: {"instance:s/"},
		AuthEnabled:        {"access"},
		AccountCreated:     {"s", "access"},
		AccountChanged:     {"s", "access"},
		AccountDisabled:    {"s", "access"},
		AccountEnabled:     {"s", "access"},
		AccountErased:      {"s", "access"},
		GroupCreated:       {"s", "access"},
		GroupDeleted:       {"s", "access"},
		GroupMemberAdded:   {"s", "access"},
		GroupMemberRemoved: {"s", "access"},
		BindingAdded:       {"access"},
		BindingRemoved:     {"access"},
		TokenCreated:       {"s", "access"},
		TokenRevoked:       {"s", "access"},
		AccessDenied:       nil,

		WebhookEdited:        {"s"},
		WebhookSecretRotated: {"s"},
		WebhookDeleted:       {"s"},
		WebhookCreated:       nil,
	}
	fields = append(fields, Field{Name: "target", Value: text("tgt_1")}, Field{Name: "model", Value: text("mdl_1")}, Field{Name: "version", Value: json.RawMessage("2")})
	for _, typ := range EventTypes {
		touches, ok := want[typ]
		if !ok {
			t.Errorf("%s: what should it touch?", typ)
		}
		e := Event{Type: typ, Subject: "s", Refs: []string{"tgt_1", "mdl_1/2"}, Fields: fields}
		checkEqual(t, string(typ), e.Touches(), touches)
	}
}

func TestRedact(t *testing.T) {
	e := Event{Seq: 9, Type: VersionRegistered, Subject: "mdl_x/1", Fields: []Field{
		{Name: "artifact", Value: json.RawMessage(`{}`)}, {Name: "data", Value: json.RawMessage(`[]`)}, {Name: "owner", Value: json.RawMessage(`"ann"`)}, {Name: "run"},
	}}
	draft := func(reason string, fields ...string) Draft {
		return Draft{Type: PayloadRedacted, Subject: "mdl_x/1", Payload: Payload{"event": int64(9), "fields": fields}.with("reason", reason)}
	}
	for _, tt := range []struct {
		name   string
		fields []string
		reason string
		want   []Draft
		code   ErrorCode
	}{
		{"one", []string{"owner"}, "asked", []Draft{draft("asked", "owner")}, ""},
		{"sorted, once", []string{"owner", "data", "owner"}, "", []Draft{draft("", "data", "owner")}, ""},
		{"one erased already", []string{"run", "owner"}, "", []Draft{draft("", "owner")}, ""},
		{"all erased already", []string{"run"}, "", nil, ""},
		{"none named", nil, "", nil, CodeInvalid},
		{"absent", []string{"owner", "metrics"}, "", nil, CodeInvalid},
		{"structural", []string{"owner", "artifact"}, "", nil, CodeRefused},
		{"reason", []string{"owner"}, "\x00", nil, CodeInvalid},
	} {
		given := slices.Clone(tt.fields)
		got, err := e.Redact(tt.fields, tt.reason)
		checkEqual(t, tt.name+": the fields that were given", tt.fields, given)
		if tt.code != "" {
			checkCode(t, tt.name, err, tt.code)
			checkEqual(t, tt.name, len(got), 0)
			continue
		}
		checkDrafts(t, tt.name, got, err, tt.want...)
	}
}

// TestEventTypesInDocs: the table in docs/log.md, a public contract, names every type and
// no other.
func TestEventTypesInDocs(t *testing.T) {
	text, err := os.ReadFile("docs/log.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(text), "\n## Event types\n")
	table, _, _ = strings.Cut(table, "\n## ")
	documented := map[EventType]bool{}
	for _, line := range strings.Split(table, "\n") {
		first, _, _ := strings.Cut(strings.TrimPrefix(line, "| "), " | ")
		if strings.HasPrefix(first, "`") && strings.HasPrefix(line, "| ") {
			for _, name := range strings.Split(first, ", ") {
				documented[EventType(strings.Trim(name, "`"))] = true
			}
		}
	}
	for _, name := range EventTypes {
		if !documented[name] {
			t.Errorf("docs/log.md does not say what %s holds", name)
		}
		delete(documented, name)
	}
	for name := range documented {
		t.Errorf("docs/log.md describes %s, which is no type", name)
	}
}
