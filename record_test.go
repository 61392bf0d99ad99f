package pedigree

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestNormalize(t *testing.T) {
	r := normalRecord(t)
	checkEqual(t, "artifact digest", r.Artifact.Digest, Digest("sha256:f2736b68fee72f93a39b752206b3311d6f9825afb7beaa124366a55d8bd68355"))
	checkEqual(t, "artifact size", *r.Artifact.Size, int64(15))
	again := r
	if err := again.Normalize(); err != nil {
		t.Fatal(err)
	}
	checkEqual(t, "normalized twice", again, r)

	var read Record
	if err := json.Unmarshal(marshal(r), &read); err != nil {
		t.Fatal(err)
	}
	checkEqual(t, "read from its JSON", string(marshal(read)), string(marshal(r)))

	var empty Record
	if err := empty.Normalize(); err != nil || empty.Artifact.Kind != ArtifactNone {
		t.Errorf("empty record: %v, kind %q", err, empty.Artifact.Kind)
	}
	env := Record{Runtime: &Runtime{Environment: &Environment{Packages: []string{"b", "a"}}}}
	if err := env.Normalize(); err != nil {
		t.Fatal(err)
	}
	checkEqual(t, "packages", env.Runtime.Environment.Packages, []string{"a", "b"})
}

func TestNormalizeRefuses(t *testing.T) {
	const nul = "a\x00b"
	negative := int64(-1)
	for _, tt := range []struct {
		name   string
		change func(r *Record)
		want   ErrorCode
	}{
		{"nothing", func(r *Record) {}, ""},
		{"artifact kind", func(r *Record) { r.Artifact = Artifact{Kind: "zip"} }, CodeInvalid},
		{"stored without files", func(r *Record) { r.Artifact = Artifact{Kind: ArtifactStored} }, CodeInvalid},
		{"stored with the right digest", func(r *Record) {
			r.Artifact.Digest = "sha256:f2736b68fee72f93a39b752206b3311d6f9825afb7beaa124366a55d8bd68355"
		}, ""},
		{"stored with another digest", func(r *Record) { r.Artifact.Digest = testDigest("other") }, CodeInvalid},
		{"linked", func(r *Record) { r.Artifact = Artifact{Kind: ArtifactLinked, URI: "s3://b/m"} }, ""},
		{"linked without a URI", func(r *Record) { r.Artifact = Artifact{Kind: ArtifactLinked} }, CodeInvalid},
		{"linked with files", func(r *Record) { r.Artifact = Artifact{Kind: ArtifactLinked, URI: "s3://b/m", Files: testFiles()} }, CodeInvalid},
		{"linked with a negative size", func(r *Record) { r.Artifact = Artifact{Kind: ArtifactLinked, URI: "s3://b/m", Size: &negative} }, CodeInvalid},
		{"none with a URI", func(r *Record) { r.Artifact = Artifact{Kind: ArtifactNone, URI: "dummy-source"} }, ""},
		{"none with a digest", func(r *Record) { r.Artifact = Artifact{Kind: ArtifactNone, Digest: testDigest("x")} }, CodeInvalid},
		{"none with a digest", func(r *Record) { r.Artifact = Artifact{Digest: testDigest("x")} }, CodeInvalid},
		{"code commit", func(r *Record) { r.Code.Commit = nul }, CodeInvalid},
		{"code branch", func(r *Record) { r.Code.Branch = nul }, CodeInvalid},
		{"code path", func(r *Record) { r.Code.Path = nul }, CodeInvalid},
		{"image", func(r *Record) { r.Runtime.Image = nul }, CodeInvalid},
		{"package", func(r *Record) { r.Runtime.Environment.Packages[0] = nul }, CodeInvalid},
		{"lock file", func(r *Record) { r.Runtime.Environment.File = nul }, CodeInvalid},
		{"python", func(r *Record) { r.Runtime.Environment.Python = nul }, CodeInvalid},
		{"manager", func(r *Record) { r.Runtime.Environment.Manager = nul }, CodeInvalid},
		{"cpu", func(r *Record) { r.Runtime.Compute.CPU = nul }, CodeInvalid},
		{"gpu", func(r *Record) { r.Runtime.Compute.GPUs[1] = nul }, CodeInvalid},
		{"instance type", func(r *Record) { r.Runtime.Compute.InstanceType = nul }, CodeInvalid},
		{"run id", func(r *Record) { r.Run.ID = nul }, CodeInvalid},
		{"run name", func(r *Record) { r.Run.Name = nul }, CodeInvalid},
		{"run user", func(r *Record) { r.Run.User = nul }, CodeInvalid},
		{"run system", func(r *Record) { r.Run.System = nul }, CodeInvalid},
		{"upstream run", func(r *Record) { r.Run.Upstream[0].Name = nul }, CodeInvalid},
		{"signature name", func(r *Record) { r.Signature.Inputs[0].Name = nul }, CodeInvalid},
		{"signature type", func(r *Record) { r.Signature.Outputs[0].Type = "\xff" }, CodeInvalid},
		{"flavor without a name", func(r *Record) { r.Flavors[0].Name = "" }, CodeInvalid},
		{"flavor loader", func(r *Record) { r.Flavors[0].Loader = nul }, CodeInvalid},
		{"flavor twice", func(r *Record) { r.Flavors = append(r.Flavors, r.Flavors[0]) }, CodeInvalid},
		{"flavor of no version", func(r *Record) { r.Flavors[0] = Flavor{Name: "custom"} }, ""},
		{"data role", func(r *Record) { r.Data[0].Role = "" }, CodeInvalid},
		{"data role key", func(r *Record) { r.Data[0].Role = "a|b" }, CodeInvalid},
		{"data kind", func(r *Record) { r.Data[0].Kind = "table" }, CodeInvalid},
		{"data names nothing", func(r *Record) { r.Data[0] = DataReference{Role: "train", Kind: DataSnapshot} }, CodeInvalid},
		{"data version alone", func(r *Record) { r.Data[0] = DataReference{Role: "train", Kind: DataLineage, Version: "3"} }, ""},
		{"query without text", func(r *Record) { r.Data[1].Query = "" }, CodeInvalid},
		{"data version", func(r *Record) { r.Data[0].Version = nul }, CodeInvalid},
		{"data subjects", func(r *Record) { r.Data[0].Subjects = nul }, CodeInvalid},
		{"data subject key", func(r *Record) { r.Data[0].SubjectKey = nul }, CodeInvalid},
		{"data size", func(r *Record) { r.Data[0].Size = &negative }, CodeInvalid},
		{"param key", func(r *Record) { r.Params["a|b"] = "1" }, CodeInvalid},
		{"param value", func(r *Record) { r.Params["a"] = nul }, CodeInvalid},
		{"long param", func(r *Record) { r.Params["a"] = strings.Repeat("é", MaxParamValue) }, ""},
		{"too long param", func(r *Record) { r.Params["a"] = strings.Repeat("é", MaxParamValue+1) }, CodeInvalid},
		{"metric name", func(r *Record) { r.Metrics[0].Name = "" }, CodeInvalid},
		{"metric dataset", func(r *Record) { r.Metrics[0].Dataset = nul }, CodeInvalid},
		{"metric split", func(r *Record) { r.Metrics[0].Split = nul }, CodeInvalid},
		{"output of nothing", func(r *Record) { r.Outputs[0] = Output{} }, CodeInvalid},
		{"output name", func(r *Record) { r.Outputs[0].Name = nul }, CodeInvalid},
		{"parent relation", func(r *Record) { r.Parents[0].Relation = "copy_of" }, CodeInvalid},
		{"parent of nothing", func(r *Record) { r.Parents[0] = Parent{Relation: EnsembleOf} }, CodeInvalid},
		{"parent reference", func(r *Record) { r.Parents[0].Reference = "a:b:c" }, CodeInvalid},
		{"parent without a version", func(r *Record) { r.Parents[0].Version = 0 }, CodeInvalid},
		{"parent model", func(r *Record) { r.Parents[0].ModelID = "mdl_a/b" }, CodeInvalid},
		{"evidence path", func(r *Record) { r.Evidence[0].Name = "../x" }, CodeInvalid},
		{"evidence twice", func(r *Record) { r.Evidence = append(r.Evidence, r.Evidence[0]) }, CodeInvalid},
		{"evidence of nothing", func(r *Record) { r.Evidence[0].Digest = "" }, CodeInvalid},
		{"evidence elsewhere", func(r *Record) { r.Evidence[0].Digest, r.Evidence[0].URI = "", "s3://b/e" }, ""},
		{"evidence kind", func(r *Record) { r.Evidence[0].Kind = "" }, CodeInvalid},
		{"evidence media type", func(r *Record) { r.Evidence[0].MediaType = nul }, CodeInvalid},
		{"evidence note", func(r *Record) { r.Evidence[0].Note = nul }, CodeInvalid},
		{"owner", func(r *Record) { r.Owner = strings.Repeat("a", MaxName+1) }, CodeInvalid},
		{"target", func(r *Record) { r.Target = "fraud-api" }, CodeInvalid},
		{"rollback note", func(r *Record) { r.RollbackNote = nul }, CodeInvalid},
		{"too large", func(r *Record) {
			for i := range 200 {
				r.Params[fmt.Sprint("p", i)] = strings.Repeat("x", MaxParamValue)
			}
		}, CodeTooLarge},
	} {
		r := testRecord()
		tt.change(&r)
		checkCode(t, tt.name, r.Normalize(), tt.want)
	}
}

func TestCheckTags(t *testing.T) {
	checkCode(t, "none", CheckTags(nil), "")
	checkCode(t, "good", CheckTags(map[string]string{"team": "", "a b": strings.Repeat("é", MaxTagValue)}), "")
	checkCode(t, "key", CheckTags(map[string]string{"": "x"}), CodeInvalid)
	checkCode(t, "long value", CheckTags(map[string]string{"a": strings.Repeat("x", MaxTagValue+1)}), CodeInvalid)
	checkCode(t, "control character", CheckTags(map[string]string{"a": "\x01"}), CodeInvalid)
}

func TestFields(t *testing.T) {
	r := normalRecord(t)
	fields := r.Fields()
	checkEqual(t, "fields", sortedKeys(fields), slices.Sorted(slices.Values(RecordFields)))
	checkEqual(t, "owner", string(fields["owner"]), `"team:risk"`)
	checkEqual(t, "empty record", (&Record{}).Fields(), map[string]json.RawMessage{})
}

func TestBlobs(t *testing.T) {
	r := normalRecord(t)
	r.Evidence = append(r.Evidence, Evidence{Name: "link", Kind: "card", URI: "s3://b/e", Digest: testDigest("elsewhere")})
	m, c, err := Manifest(testFiles())
	if err != nil {
		t.Fatal(err)
	}
	got, err := r.Blobs()
	checkCode(t, "blobs", err, "")
	checkEqual(t, "blobs", got, []Digest{DigestBytes(m), DigestBytes(c), testDigest("#!/bin/sh"), testDigest("{}"), testDigest("onnx"), testDigest("report")})
	_, err = (&Record{Artifact: Artifact{Kind: ArtifactStored}}).Blobs()
	checkCode(t, "stored without files", err, CodeInvalid)
	linked := Record{Artifact: Artifact{Kind: ArtifactLinked, URI: "s3://b/m", Digest: testDigest("x")}}
	got, err = linked.Blobs()
	checkCode(t, "linked", err, "")
	checkEqual(t, "linked", len(got), 0)
}

func TestComplete(t *testing.T) {
	missing := func(c Completeness) []string {
		names := []string{}
		for _, g := range c.Missing {
			names = append(names, g.Field)
			if g.Flag == "" {
				t.Errorf("%s: nothing says how to fill it", g.Field)
			}
		}
		return names
	}
	for _, tt := range []struct {
		name     string
		change   func(r *Record)
		approved bool
		// have counts at register, approve and deploy; missing is that of deploy.
		have    [3]int
		missing []string
	}{
		{"whole", func(r *Record) {}, true, [3]int{5, 6, 8}, []string{}},
		{"not approved", func(r *Record) {}, false, [3]int{5, 6, 7}, []string{"approval"}},
		{"linked artifact", func(r *Record) { r.Artifact = Artifact{Kind: ArtifactLinked, URI: "s3://b/m"} }, true, [3]int{5, 6, 8}, []string{}},
		{"no artifact", func(r *Record) { r.Artifact = Artifact{Kind: ArtifactNone} }, true, [3]int{4, 5, 7}, []string{"artifact"}},
		{"no owner", func(r *Record) { r.Owner = "" }, true, [3]int{4, 5, 7}, []string{"owner"}},
		{"no commit", func(r *Record) { r.Code.Commit = "" }, true, [3]int{4, 5, 7}, []string{"code version"}},
		{"no code", func(r *Record) { r.Code = nil }, true, [3]int{4, 5, 7}, []string{"code version"}},
		{"no runtime", func(r *Record) { r.Runtime = nil }, true, [3]int{4, 5, 7}, []string{"runtime image"}},
		{"environment for image", func(r *Record) { r.Runtime.Image = "" }, true, [3]int{5, 6, 8}, []string{}},
		{"image alone", func(r *Record) { r.Runtime.Environment = nil }, true, [3]int{5, 6, 8}, []string{}},
		{"compute alone", func(r *Record) { r.Runtime = &Runtime{Compute: r.Runtime.Compute} }, true, [3]int{4, 5, 7}, []string{"runtime image"}},
		{"neither", func(r *Record) { r.Code, r.Runtime = nil, nil }, true, [3]int{4, 5, 7}, []string{"code version and runtime image"}},
		{"no data", func(r *Record) { r.Data = nil }, true, [3]int{4, 5, 7}, []string{"data reference"}},
		{"no metric", func(r *Record) { r.Metrics = nil }, true, [3]int{4, 5, 7}, []string{"offline metric"}},
		{"no target", func(r *Record) { r.Target = "" }, true, [3]int{5, 5, 7}, []string{"deployment target"}},
		{"no rollback note", func(r *Record) { r.RollbackNote = "" }, true, [3]int{5, 6, 7}, []string{"rollback note"}},
		{"nothing", func(r *Record) { *r = Record{} }, false, [3]int{0, 0, 0}, []string{
			"artifact", "owner", "code version and runtime image", "data reference", "offline metric", "deployment target", "approval", "rollback note",
		}},
	} {
		r := normalRecord(t)
		tt.change(&r)
		got := r.Complete(tt.approved)
		if len(got) != 3 {
			t.Fatalf("%s: %d stages", tt.name, len(got))
		}
		for i, stage := range []Stage{StageRegister, StageApprove, StageDeploy} {
			want := []int{5, 6, 8}[i]
			checkEqual(t, tt.name+": stage", got[i].Stage, stage)
			checkEqual(t, tt.name+": have at "+string(stage), got[i].Have, tt.have[i])
			checkEqual(t, tt.name+": want at "+string(stage), got[i].Want, want)
			checkEqual(t, tt.name+": missing at "+string(stage), len(got[i].Missing), want-tt.have[i])
		}
		checkEqual(t, tt.name+": missing", missing(got[2]), tt.missing)
	}
	r := normalRecord(t)
	r.RollbackNote = ""
	checkEqual(t, "text", r.Complete(true)[2].String(), "7/8, missing: rollback note")
	checkEqual(t, "text", r.Complete(true)[0].String(), "5/5")
}

func TestParseImage(t *testing.T) {
	digest := "@sha256:" + strings.Repeat("0a", 32)
	for _, s := range []string{"train", "team/train:1.2", "registry.example.org:5000/team/train" + digest, "a/b:latest" + digest} {
		if _, err := ParseImage(s); err != nil {
			t.Errorf("%q: %v", s, err)
		}
	}
	for _, s := range []string{
		"", "not an image!!", "https://registry.example.org/x:1", "user:secret@registry.example.org/x:1", "x@sha256:2d71", "x" + digest + "0", "x@", "-x", "a//b", "a\nb",
	} {
		_, err := ParseImage(s)
		if CodeOf(err) != CodeInvalid {
			t.Errorf("%q: got %v, want invalid", s, err)
		} else if strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: the error repeats the password: %v", s, err)
		}
	}
}

// TestMostFiles: the documented number of files fits, with paths of some length.
func TestMostFiles(t *testing.T) {
	r := Record{Artifact: Artifact{Kind: ArtifactStored}}
	for i := range MaxFiles {
		r.Artifact.Files = append(r.Artifact.Files, File{Path: fmt.Sprintf("checkpoints/shard-%05d/part-%08d-of-%08d.safetensors", i%97, i, MaxFiles), Digest: DigestBytes(nil)})
	}
	if err := r.Normalize(); err != nil {
		t.Error(err)
	}
	r.Artifact.Digest = ""
	for i := range r.Artifact.Files {
		r.Artifact.Files[i].Path = strings.Repeat("x", 200) + "/" + strings.Repeat("y", 200) + "/" + r.Artifact.Files[i].Path
	}
	if err := r.Normalize(); CodeOf(err) != CodeTooLarge {
		t.Errorf("got %v, want too large", err)
	}
}
