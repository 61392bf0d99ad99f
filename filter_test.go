package pedigree

import (
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestParseFilter(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"", ""},
		{" \t\n", ""},
		// MLflow's own.
		{"name='fraud'", "model = 'fraud'"},
		{"name = \"O'Neil\"", "model = 'O''Neil'"},
		{"attribute.name != 'x' and tag.team LIKE '%a_'", "model != 'x' AND tags.team LIKE '%a_'"},
		{"version_number >= '3' AND run_id iN ('a','B')", "version >= 3 AND run.id IN ('a', 'B')"},
		{"source_path ILIKE 'S3://%'", "artifact.uri ILIKE 'S3://%'"},
		{"tags.`mlflow.prompt.is_prompt` = 'true'", "tags.mlflow.prompt.is_prompt = 'true'"},
		{"`name` = 'x'", "model = 'x'"},
		{"tags.a.b.c = 'x'", "tags.a.b.c = 'x'"},
		// Every word of the extension.
		{"NOT owner = 'a' OR target = 'b/c' AND (project = 'd' or alias <> 'e')", "NOT owner = 'a' OR target = 'b/c' AND (project = 'd' OR alias != 'e')"},
		{"(owner='a' and (owner='b' and owner='c'))", "owner = 'a' AND owner = 'b' AND owner = 'c'"},
		{"owner='a' or (owner='b' or owner='c')", "owner = 'a' OR owner = 'b' OR owner = 'c'"},
		{"not not (((owner='a')))", "NOT NOT owner = 'a'"},
		{"NOT(owner='a'AND owner='b')", "NOT (owner = 'a' AND owner = 'b')"},
		{"owner is null and owner IS not NULL", "owner IS NULL AND owner IS NOT NULL"},
		{"owner not in ('a')", "owner NOT IN ('a')"},
		{"metrics.auc > 0.9 and metrics.loss<=1e-3 and metrics.x=-.5 and metrics.y = +5.", "metrics.auc > 0.9 AND metrics.loss <= 0.001 AND metrics.x = -0.5 AND metrics.y = 5"},
		{"metrics.val/auc >= '0.9' and metrics.\"val auc\" in (1, 2.5, '3')", "metrics.val/auc >= 0.9 AND metrics.\"val auc\" IN (1, 2.5, 3)"},
		{"metrics.x = -0 or metrics.x = 1e15 or metrics.x = 123456789012345", "metrics.x = 0 OR metrics.x = 1e+15 OR metrics.x = 123456789012345"},
		{"params.depth='6' and params.`a b`='x'", "params.depth = '6' AND params.\"a b\" = 'x'"},
		{"data.uri='s3://b/k' and data.train.digest like 'sha256:%' and data.\"my role\".uri='x' and data.a.b.kind='query'", "data.uri = 's3://b/k' AND data.train.digest LIKE 'sha256:%' AND data.\"my role\".uri = 'x' AND data.a.b.kind = 'query'"},
		{"data.personal = true and data.train.personal != 'FALSE'", "data.personal = true AND data.train.personal != false"},
		{"tags.KEY='a' and data.ROLE.uri='b' and tags.\"data.ROLE.uri\"='c'", "tags.KEY = 'a' AND data.ROLE.uri = 'b' AND tags.data.ROLE.uri = 'c'"},
		{"archived=True and code.dirty = false", "archived = true AND code.dirty = false"},
		{"runtime.package='numpy==1.26' and runtime.gpu is not null and artifact.size > 1e9", "runtime.package = 'numpy==1.26' AND runtime.gpu IS NOT NULL AND artifact.size > 1000000000"},
		{"creation_timestamp > 1700000000000 and created_at <= '-7d' and created_at != '2026-11-02T08:00:00Z'", "created_at > 1700000000000 AND created_at <= '-7d' AND created_at != '2026-11-02T08:00:00Z'"},
		{"user_id='ann' and complete < 7", "created_by = 'ann' AND complete < 7"},
		{"parent='fraud@champion' or parent='mdl_x/3' or parent like 'mdl_x/%' or parent.uri='hf://a/b'", "parent = 'fraud@champion' OR parent = 'mdl_x/3' OR parent LIKE 'mdl_x/%' OR parent.uri = 'hf://a/b'"},
		// Quoting: a doubled quote is one, a backslash is itself.
		{`owner = 'a''b"c' and owner = "a'b""c"`, `owner = 'a''b"c' AND owner = 'a''b"c'`},
		{`owner LIKE 'a\%' and owner = '\'`, `owner LIKE 'a\%' AND owner = '\'`},
		{"owner = '' and owner = 'été; -- DROP'", "owner = '' AND owner = 'été; -- DROP'"},
	} {
		f, err := ParseFilter(tt.in)
		if err != nil {
			t.Errorf("%s: %v", tt.in, err)
			continue
		}
		checkEqual(t, tt.in, f.String(), tt.want)
		checkRoundTrip(t, f)
	}
}

// checkRoundTrip checks that the canonical text reads as an equal tree.
func checkRoundTrip(t *testing.T, f *Filter) {
	t.Helper()
	text := f.String()
	if len(text) > MaxFilter {
		return
	}
	again, err := ParseFilter(text)
	if err != nil {
		t.Errorf("the canonical text %q is refused: %v", text, err)
		return
	}
	if again.String() != text {
		t.Errorf("the canonical text %q reads as %q", text, again)
	}
	clearPos(f.Root)
	clearPos(again.Root)
	if !reflect.DeepEqual(f, again) {
		t.Errorf("the canonical text %q reads as another tree", text)
	}
}

func clearPos(n *FilterNode) {
	if n == nil {
		return
	}
	n.Pos = 0
	for _, arg := range n.Args {
		clearPos(arg)
	}
}

func TestFilterTree(t *testing.T) {
	f, err := ParseFilter("name = 'é' AND NOT (metrics.auc > 0.9 OR data.train.uri IN ('a', 'b'))")
	if err != nil {
		t.Fatal(err)
	}
	name := &FilterNode{Op: Compare, Field: FilterField{KindAttribute, "model"}, Cmp: CmpEqual, Values: []FilterValue{{Text: "é"}}, Pos: 1}
	auc := &FilterNode{Op: Compare, Field: FilterField{KindMetrics, "auc"}, Cmp: CmpGreater, Values: []FilterValue{{Text: "0.9", Number: 0.9, IsNumber: true}}, Pos: 21}
	uri := &FilterNode{Op: Compare, Field: FilterField{KindData, "train.uri"}, Cmp: CmpIn, Values: []FilterValue{{Text: "a"}, {Text: "b"}}, Pos: 42}
	want := &Filter{Root: &FilterNode{Op: And, Pos: 1, Args: []*FilterNode{
		name,
		{Op: Not, Pos: 16, Args: []*FilterNode{{Op: Or, Pos: 21, Args: []*FilterNode{auc, uri}}}},
	}}}
	checkEqual(t, "tree", f, want)
	checkEqual(t, "comparisons", f.Comparisons(), []*FilterNode{name, auc, uri})
	checkEqual(t, "comparisons of none", len((&Filter{}).Comparisons()), 0)
	checkEqual(t, "attribute", uri.Field.Attribute(), "data.train.uri")
	checkEqual(t, "attribute", name.Field.Attribute(), "model")
}

func TestParseFilterErrors(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"metrcs.auc > 1", `filter, column 1: "metrcs.auc" is no key that can be searched; did you mean metrics.auc?`},
		{"owner='x' and ownr = 'y'", `filter, column 15: "ownr" is no key that can be searched; did you mean owner?`},
		{"data.train.url = 'x'", `column 1: "data.train.url" is no key that can be searched; did you mean data.train.uri?`},
		{"data.\"my role\".ur = 'x'", `did you mean data."my role".uri?`},
		{"code.comit = 'x'", "did you mean code.commit?"},
		{"tgas.\"a b\" = 'x'", "did you mean tags.\"a b\"?"},
		{"zzz = 'x'", "the keys are tags.KEY, params.KEY"},
		{"foo.bar.baz.qux = 'x'", "the keys are tags.KEY"},
		{"Owner.x = 'x'", "no key that can be searched"},
		{"tags = 'x'", "write tags.KEY"},
		{"tags. = 'x'", "tags. needs a key"},
		{"data..uri = 'x'", "column 1: data. needs a key"},
		{"data.\"\".uri = 'x'", "column 1: data. needs a key"},
		{"tags.'a' = 'x'", "tags. needs a key"},
		{"tags.\"a|b\" = 'x'", `column 1: tags key "a|b": '|' is not allowed`},
		{"data.\"a|b\".uri = 'x'", `data key "a|b"`},
		{"metrics.auc > x", `column 15: metrics.auc is of type number and can't be compared with "x"; write a number, as 0.9`},
		{"metrics.auc > 'x'", "column 15: metrics.auc is of type number and can't be compared with the text 'x'"},
		{"metrics.auc > ''", "metrics.auc is of type number"},
		{"metrics.auc = NaN", "metrics.auc is of type number"},
		{"metrics.auc = 'NaN'", "metrics.auc is of type number"},
		{"metrics.auc = 'Infinity'", "metrics.auc is of type number"},
		{"metrics.auc = 1e999", `"1e999" is out of the range of numbers`},
		{"metrics.auc = '0x1p3'", "metrics.auc is of type number"},
		{"metrics.auc LIKE '0.9'", "column 13: metrics.auc is of type number and can't be compared by LIKE; it takes =, !=, <,"},
		{"owner = 5", "column 9: owner is of type text and can't be compared with the number 5; write '5'"},
		{"owner = team:risk", "column 9: owner is of type text and can't be compared with \"team:risk\"; write 'team:risk'"},
		{"owner > 'x'", "column 7: owner is of type text and can't be compared by >; it takes =, !=, LIKE"},
		{"owner in ('a', 5)", "column 16: owner is of type text"},
		{"archived = 1", "archived is of type bool and can't be compared with the number 1; write true or false"},
		{"archived = 'yes'", "write true or false"},
		{"archived IN (true)", "can't be compared by IN"},
		{"created_at > 'yesterday'", "column 14: created_at: 'yesterday' is not a time"},
		{"created_at > '1700000000000'", "milliseconds since 1970 stand without quotes"},
		{"created_at > 1e30", "is not a number of milliseconds since 1970"},
		{"created_at > now", "created_at is of type time and can't be compared with \"now\"; write an RFC 3339 time"},
		{"created_at LIKE '2026%'", "can't be compared by LIKE"},
		{"parent = 'a:b:c'", `column 10: "a:b:c" is not a reference`},
		{"owner in ()", "column 11: owner IN needs at least one value"},
		{"owner in 'a'", "column 10: the text 'a' after IN; write owner IN ('text', 'text')"},
		{"owner in ('a' 'b')", `column 15: the text 'b' where a comma or a ")" belongs`},
		{"owner in ('a',)", "where a value belongs"},
		{"owner in ('a'", "the end where a comma"},
		{"owner NOT LIKE 'x'", "column 7: NOT stands before the key: NOT owner LIKE"},
		{"owner NOT 'x'", "column 7: \"NOT\" after owner; it takes"},
		{"owner IS 'x'", "column 10: the text 'x' after IS; write owner IS NULL or owner IS NOT NULL"},
		{"owner == 'x'", `"==" after owner`},
		{"owner", "the end after owner; it takes"},
		{"owner =", "the end after owner =, where a value belongs"},
		{"owner = = 'x'", `"=" after owner =, where a value belongs`},
		{"owner = 'x", "column 9: the quote ' is not closed"},
		{"tags.`a = 'x'", "column 6: the quote ` is not closed"},
		{"tags.\"été\" = 'x' and owner = \"x", "column 30: the quote \" is not closed"},
		{"'x' = owner", "column 1: the text 'x' where a key is wanted"},
		{"owner = 'x' owner = 'y'", `column 13: "owner" is left over; join comparisons with AND or OR`},
		{"owner = 'x' AND", "column 16: the end where a key is wanted"},
		{"AND owner = 'x'", `"AND" is no key`},
		{"(owner = 'x'", `column 13: the end where a ")" closes the parenthesis of column 1`},
		{"owner = 'x')", `column 12: ")" is left over`},
		{"()", `column 2: ")" where a key is wanted`},
		{"owner = 'x'; DROP TABLE x", "column 12: ';' does not belong here"},
		{"owner = 'x' -- comment", "column 13: '-' does not belong here"},
		{"metrics.x = 5AND owner = 'x'", `column 13: "5A" is not a number`},
		{"metrics.x = 1.2.3", `"1.2." is not a number`},
		{"owner = 'a\x00'", "control character"},
		{"owner = '\xff'", "not valid UTF-8"},
	} {
		_, err := ParseFilter(tt.in)
		checkCode(t, tt.in, err, CodeInvalid)
		if err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s:\n got %s\nwant %s", tt.in, err, tt.want)
		}
	}
}

func TestFilterLimits(t *testing.T) {
	deep := func(n int) string {
		return strings.Repeat("(", n) + "owner = 'x'" + strings.Repeat(")", n)
	}
	many := func(n int) string { return strings.TrimSuffix(strings.Repeat("owner='x' or ", n), " or ") }
	values := func(n int) string {
		return "metrics.x IN (" + strings.TrimSuffix(strings.Repeat("1,", n), ",") + ")"
	}
	text := func(n int) string { return "owner='" + strings.Repeat("x", n-len("owner=''")) + "'" }
	keys := func(n int) string {
		var out []string
		for i := range n {
			out = append(out, fmt.Sprint("tags.k", i))
		}
		return strings.Join(out, ",")
	}
	for _, tt := range []struct {
		name, in string
		ok       bool
	}{
		{"deepest", deep(MaxFilterDepth), true},
		{"too deep", deep(MaxFilterDepth + 1), false},
		{"far too deep", deep(MaxFilter / 4), false},
		{"unclosed", strings.Repeat("(", MaxFilter), false},
		{"most NOTs", strings.Repeat("NOT ", MaxFilterDepth) + "owner = 'x'", true},
		{"too many NOTs", strings.Repeat("NOT ", MaxFilterDepth+1) + "owner = 'x'", false},
		{"most comparisons", many(MaxFilterComparisons), true},
		{"too many comparisons", many(MaxFilterComparisons + 1), false},
		{"most values", values(MaxFilterValues), true},
		{"too many values", values(MaxFilterValues + 1), false},
		{"longest", text(MaxFilter), true},
		{"too long", text(MaxFilter + 1), false},
	} {
		f, err := ParseFilter(tt.in)
		want := CodeInvalid
		if tt.ok {
			want = ""
		}
		checkCode(t, tt.name, err, want)
		if err == nil {
			checkRoundTrip(t, f)
		}
	}
	orders, err := ParseOrder(keys(MaxOrderKeys))
	checkCode(t, "most keys", err, "")
	checkEqual(t, "most keys", len(orders), MaxOrderKeys)
	_, err = ParseOrder(keys(MaxOrderKeys + 1))
	checkCode(t, "too many keys", err, CodeInvalid)
}

func TestParseOrder(t *testing.T) {
	for _, tt := range []struct {
		in   string
		want []string
	}{
		{"", nil},
		{"  ", nil},
		{"metrics.auc DESC, created_at", []string{"metrics.auc DESC", "created_at"}},
		{"name asc,version_number Desc", []string{"model", "version DESC"}},
		{"attribute.creation_timestamp, tags.`a b` desc", []string{"created_at", `tags."a b" DESC`}},
		{"`name`", []string{"model"}},
	} {
		orders, err := ParseOrder(tt.in)
		checkCode(t, tt.in, err, "")
		var got []string
		for _, o := range orders {
			got = append(got, o.String())
		}
		checkEqual(t, tt.in, got, tt.want)
		again, err := ParseOrder(strings.Join(got, ", "))
		checkCode(t, "again "+tt.in, err, "")
		checkEqual(t, "again "+tt.in, again, orders)
	}
	for in, want := range map[string]string{
		"name foo":                       `order, column 6: "foo" after model; write ASC or DESC`,
		"name, model":                    "order, column 7: model is there twice",
		"nmae":                           "did you mean name?",
		"name,":                          "order, column 6: the end where a key is wanted",
		",":                              "where a key is wanted",
		"name DESC ASC":                  `"ASC" after model`,
		"'name'":                         "the text 'name' where a key is wanted",
		"name = 'x'":                     `"=" after model`,
		"tags.\"a":                       "is not closed",
		strings.Repeat(" ", MaxFilter+1): "the limit is",
	} {
		_, err := ParseOrder(in)
		checkCode(t, in, err, CodeInvalid)
		if err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s:\n got %s\nwant %s", clip(in), err, want)
		}
	}
}

func TestParseFilterTime(t *testing.T) {
	for _, tt := range []struct {
		value FilterValue
		want  time.Time
	}{
		{FilterValue{Text: "2026-11-02T08:00:00+01:00"}, time.Date(2026, 11, 2, 7, 0, 0, 0, time.UTC)},
		{FilterValue{Text: "2026-11-02"}, time.Date(2026, 11, 2, 0, 0, 0, 0, time.UTC)},
		{FilterValue{Text: "-7d"}, time.Date(2026, 10, 26, 8, 0, 0, 0, time.UTC)},
		{FilterValue{Text: "-90m"}, time.Date(2026, 11, 2, 6, 30, 0, 0, time.UTC)},
		{FilterValue{Text: "now"}, testNow},
		{FilterValue{Text: "1793606400123", Number: 1793606400123, IsNumber: true}, time.UnixMilli(1793606400123).UTC()},
		{FilterValue{Text: "0", IsNumber: true}, time.Unix(0, 0).UTC()},
		{FilterValue{Text: "-1", Number: -1, IsNumber: true}, time.UnixMilli(-1).UTC()},
	} {
		got, err := ParseFilterTime(tt.value, testNow)
		checkCode(t, tt.value.Text, err, "")
		checkEqual(t, tt.value.Text, got, tt.want)
	}
	for _, bad := range []FilterValue{
		{}, {Text: "x"}, {Text: "5"}, {Text: "2h"}, {Text: "0.5", Number: 0.5, IsNumber: true}, {Text: "1e+18", Number: 1e18, IsNumber: true}, {Text: "-1e+18", Number: -1e18, IsNumber: true},
	} {
		_, err := ParseFilterTime(bad, testNow)
		checkCode(t, bad.Text, err, CodeInvalid)
	}
}

// TestFilterFields checks the table against its documentation and its parser.
func TestFilterFields(t *testing.T) {
	var table strings.Builder
	fmt.Fprintf(&table, "//\t%-25s%-8s%-10s%s\n", "key", "type", "stored", "also")
	for _, spec := range FilterFields {
		stored := "no"
		if spec.Stored {
			stored = "yes"
		}
		line := fmt.Sprintf("//\t%-25s%-8s%-10s%s", spec.Name, spec.Type, stored, strings.Join(spec.Also, ", "))
		table.WriteString(strings.TrimRight(line, " ") + "\n")
	}
	source, err := os.ReadFile("filter.go")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(source), table.String()) {
		t.Errorf("the comment of FilterFields is not the table, which is\n%s", table.String())
	}

	for _, spec := range FilterFields {
		for _, name := range append([]string{spec.Name}, spec.Also...) {
			_, canonical, _ := strings.Cut(spec.Name, ".")
			name = strings.Replace(name, "KEY", "some.key", 1)
			f, err := ParseFilter(name + " IS NULL")
			if err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			field := f.Root.Field
			got, ok := field.Spec()
			if !ok || got.Name != spec.Name || field.Type() != spec.Type {
				t.Errorf("%s is found as %s of type %s", name, got.Name, field.Type())
			}
			if canonical == "KEY" {
				checkEqual(t, name, field.Key, "some.key")
			} else {
				checkEqual(t, name, field.Attribute(), spec.Name)
			}
			checkEqual(t, name, field.String(), field.Attribute())
		}
	}
	if _, ok := (FilterField{KindCode, "nothing"}).Spec(); ok || (FilterField{}).Type() != "" {
		t.Error("a field that is none has a spec")
	}
}

func FuzzParseFilter(f *testing.F) {
	for _, s := range []string{
		"", "name='fraud' and tags.team=\"it's\"", "NOT (metrics.auc > 0.9 OR owner IS NULL)", "tags.`a b` in ('x','y''z')", "data.\"my role\".uri is not null",
		"created_at > '-7d' and created_at < 1700000000000", "archived = TRUE", "version>='3'", "parent='fraud/7'", "tags..a. = 'x'", "((((owner='x'))))", "metrics.x=-1e-7",
		"a..b.c=1", "data.uri.uri.uri='x'", "tags.\"\"\"\"=''", "owner='\\'",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if filter, err := ParseFilter(s); err == nil {
			checkRoundTrip(t, filter)
		} else if code := CodeOf(err); code != CodeInvalid {
			t.Errorf("%q: code %q: %v", s, code, err)
		}
		orders, err := ParseOrder(s)
		if err != nil {
			return
		}
		var texts []string
		for _, o := range orders {
			texts = append(texts, o.String())
		}
		if again, err := ParseOrder(strings.Join(texts, ", ")); err != nil || !reflect.DeepEqual(again, orders) {
			t.Errorf("order %q writes %q, which reads %v, %v", s, texts, again, err)
		}
	})
}
