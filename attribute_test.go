package pedigree

import (
	"encoding/json"
	"math"
	"strconv"
	"strings"
	"testing"
)

// texts renders attributes for comparison: "field key=text" and the number.
func texts(attributes []Attribute) []string {
	out := []string{}
	for _, a := range attributes {
		s := a.Field + " " + a.Key + "=" + a.Text
		if a.Number != nil {
			s += " #" + strconv.FormatFloat(*a.Number, 'g', -1, 64)
		}
		out = append(out, s)
	}
	return out
}

func TestAttributes(t *testing.T) {
	r := normalRecord(t)
	got := texts(r.Attributes())
	checkEqual(t, "attributes", got, []string{
		"artifact artifact.digest=sha256:f2736b68fee72f93a39b752206b3311d6f9825afb7beaa124366a55d8bd68355",
		"artifact artifact.kind=stored",
		"artifact artifact.size=15 #15",
		"artifact file.path=bin/serve.sh",
		"artifact file.digest=" + string(testDigest("#!/bin/sh")),
		"artifact file.path=config.json",
		"artifact file.digest=" + string(testDigest("{}")),
		"artifact file.path=model.onnx",
		"artifact file.digest=" + string(testDigest("onnx")),
		"code code.commit=4b825dc642cb6eb9a060e54bf8d69288fbee4904",
		"code code.repository=https://example.com/risk/fraud.git",
		"code code.branch=main",
		"code code.path=train.py",
		"code code.dirty=false",
		"runtime runtime.image=example.com/train:1@" + string(testDigest("image")),
		"runtime runtime.instance_type=g6.xlarge",
		"runtime runtime.gpu=L4",
		"runtime runtime.environment=uv",
		"runtime runtime.python=3.13.1",
		"runtime runtime.package=numpy==1.26",
		"runtime runtime.package=pandas==2.3",
		"data data.role=train",
		"data data.uri=s3://data/train", "data data.train.uri=s3://data/train",
		"data data.digest=" + string(testDigest("train")), "data data.train.digest=" + string(testDigest("train")),
		"data data.version=v3", "data data.train.version=v3",
		"data data.kind=snapshot", "data data.train.kind=snapshot",
		"data data.personal=true", "data data.train.personal=true",
		"data data.role=test",
		"data data.query=SELECT 1", "data data.test.query=SELECT 1",
		"data data.kind=query", "data data.test.kind=query",
		"params params.depth=6", "params params.eta=0.1",
		"metrics metrics.auc=0.91 #0.91", "metrics metrics.auc=0.95 #0.95", "metrics metrics.loss=0.2 #0.2",
		"run run.id=run-1", "run run.user=ann", "run run.uri=https://ci.example.com/1", "run run.system=github",
		"outputs output.uri=s3://out/scores", "outputs output.digest=" + string(testDigest("scores")), "outputs output.name=scores",
		"parents parent=mdl_base/3", "parents parent.uri=hf://org/model",
		"flavors flavor.name=onnx", "flavors flavor.version=onnx==1.16", "flavors flavor.loader=mlflow.onnx",
		"evidence evidence.name=eval/report.html", "evidence evidence.kind=evaluation",
		"owner owner=team:risk", "target target=prod/fraud-api", "rollback_note rollback_note=feature x went",
	})
	checkEqual(t, "empty record", texts((&Record{}).Attributes()), []string{})
	checkEqual(t, "artifact none", texts((&Record{Artifact: Artifact{Kind: ArtifactNone}}).Attributes()), []string{"artifact artifact.kind=none"})
	checkEqual(t, "unresolved parent", texts((&Record{Parents: []Parent{{Reference: "base/3"}}}).Attributes()), []string{"parents parent=base/3"})
}

func TestAttributeNumbers(t *testing.T) {
	r := Record{Metrics: []Metric{
		{Name: "a", Value: Float(math.NaN())},
		{Name: "b", Value: Float(math.Inf(1))},
		{Name: "c", Value: Float(math.Inf(-1))},
		{Name: "d", Value: math.MaxFloat64},
		{Name: "e", Value: 0.5, Dataset: "x"},
		{Name: "e", Value: 0.5, Dataset: "y"},
	}}
	checkEqual(t, "metrics", texts(r.Attributes()), []string{
		"metrics metrics.a=NaN",
		"metrics metrics.b=+Inf #1.7976931348623157e+308",
		"metrics metrics.c=-Inf #-1.7976931348623157e+308",
		"metrics metrics.d=1.7976931348623157e+308 #1.7976931348623157e+308",
		"metrics metrics.e=0.5 #0.5",
	})
}

// TestFieldAttributes checks that the fields one by one give what the record gives,
// and that garbage is refused.
func TestFieldAttributes(t *testing.T) {
	r := normalRecord(t)
	var all []Attribute
	for _, field := range RecordFields {
		attributes, err := FieldAttributes(field, r.Fields()[field])
		checkCode(t, field, err, "")
		if len(attributes) == 0 && field != "signature" {
			t.Errorf("field %s has no attributes", field)
		}
		for _, a := range attributes {
			if a.Field != field {
				t.Errorf("field %s gives an attribute of %s", field, a.Field)
			}
		}
		all = append(all, attributes...)
	}
	checkEqual(t, "field by field", all, r.Attributes())

	for _, tt := range []struct {
		field, raw string
		want       []string
		code       ErrorCode
	}{
		{"tags", `{"team":"risk","a b":""}`, []string{"tags tags.a b=", "tags tags.team=risk"}, ""},
		{"tags", `{}`, []string{}, ""},
		{"description", `"hello"`, []string{"description description=hello"}, ""},
		{"description", `""`, []string{}, ""},
		{"owner", `null`, []string{}, ""},
		{"artifact", `null`, []string{}, ""},
		{"owner", ``, []string{}, ""},
		{"signature", `{"inputs":[]}`, []string{}, ""},
		{"reason", `"because"`, []string{}, ""},
		{"reason", `garbage`, []string{}, ""},
		{"owner", `5`, nil, CodeCorrupt},
		{"owner", `"a" "b"`, nil, CodeCorrupt},
		{"owner", `"a`, nil, CodeCorrupt},
		{"tags", `["a"]`, nil, CodeCorrupt},
		{"tags", `{"a":1}`, nil, CodeCorrupt},
		{"metrics", `[{"name":"auc","value":"x"}]`, nil, CodeCorrupt},
		{"metrics", `[{"name":"auc","value":null}]`, nil, CodeCorrupt},
		{"data", `[{"digest":"md5:1"}]`, nil, CodeCorrupt},
		{"artifact", `{"kind":`, nil, CodeCorrupt},
	} {
		got, err := FieldAttributes(tt.field, json.RawMessage(tt.raw))
		checkCode(t, tt.field+" "+tt.raw, err, tt.code)
		if tt.code == "" {
			checkEqual(t, tt.field+" "+tt.raw, texts(got), tt.want)
		}
	}
}

// TestAttributesAreFields checks that every attribute can be searched under its key,
// and that every stored field has attributes.
func TestAttributesAreFields(t *testing.T) {
	r := normalRecord(t)
	attributes := r.Attributes()
	r.Artifact = Artifact{Kind: ArtifactLinked, URI: "s3://b/m"}
	attributes = append(attributes, r.Attributes()...)
	for field, raw := range map[string]string{"tags": `{"a b":"x"}`, "description": `"x"`, "imported": `{"from":"http://a","id":"b/1","author":"c","created_at":"2024-01-02T03:04:05.006Z"}`} {
		more, err := FieldAttributes(field, json.RawMessage(raw))
		checkCode(t, field, err, "")
		attributes = append(attributes, more...)
	}
	emitted := map[string]bool{}
	for _, a := range attributes {
		f, err := ParseFilter(keyText(a.Key) + " IS NOT NULL")
		if err != nil {
			t.Errorf("%s: %v", a.Key, err)
			continue
		}
		field := f.Root.Field
		checkEqual(t, "key", field.Attribute(), a.Key)
		spec, ok := field.Spec()
		if !ok || !spec.Stored || (spec.Type == NumberField) != (a.Number != nil) {
			t.Errorf("%s: spec %+v, %v; number %v", a.Key, spec, ok, a.Number)
		}
		emitted[spec.Name] = true
	}
	for _, spec := range FilterFields {
		if spec.Stored && !emitted[spec.Name] {
			t.Errorf("no attribute was made for %s", spec.Name)
		}
	}
}

// keyText puts the key of a tag in quotes.
func keyText(key string) string {
	if k, ok := strings.CutPrefix(key, "tags."); ok {
		return `tags."` + k + `"`
	}
	return key
}

// TestPoints checks the count that lists show against Complete.
func TestPoints(t *testing.T) {
	for _, drop := range append([]string{""}, RecordFields...) {
		whole := normalRecord(t)
		fields := whole.Fields()
		delete(fields, drop)
		var r Record
		if err := json.Unmarshal(marshal(fields), &r); err != nil {
			t.Fatal(err)
		}
		for _, approved := range []bool{false, true} {
			points := Points{"approval": approved}
			for _, a := range r.Attributes() {
				points.Add(a)
			}
			checkEqual(t, "without "+drop, points.Count(), r.Complete(approved)[2].Have)
			checkEqual(t, "missing without "+drop, len(points.Missing()), len(r.Complete(approved)[2].Missing))
		}
	}
	points := Points{"approval": true}
	points.Add(Attribute{Field: "artifact", Key: "artifact.kind", Text: string(ArtifactNone)})
	checkEqual(t, "artifact of kind none: the approval alone", points.Count(), 1)
}
