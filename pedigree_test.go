package pedigree

import (
	"errors"
	"fmt"
	"reflect"
	"testing"
	"time"
)

var testNow = time.Date(2026, 11, 2, 8, 0, 0, 0, time.UTC)

// checkCode fails where err is not of the wanted code; "" wants no error.
func checkCode(t *testing.T, what string, err error, want ErrorCode) {
	t.Helper()
	if got := CodeOf(err); got != want {
		t.Errorf("%s: got code %q (%v), want %q", what, got, err, want)
	}
}

// checkEqual fails where got is not deeply equal to want.
func checkEqual(t *testing.T, what string, got, want any) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s:\n got %#v\nwant %#v", what, got, want)
	}
}

// testDigest is the digest of a text, for records.
func testDigest(s string) Digest { return DigestBytes([]byte(s)) }

// testFiles are three files whose manifest is a golden constant.
func testFiles() []File {
	return []File{
		{Path: "model.onnx", Size: 4, Digest: testDigest("onnx")},
		{Path: "bin/serve.sh", Size: 9, Digest: testDigest("#!/bin/sh"), Executable: true},
		{Path: "config.json", Size: 2, Digest: testDigest("{}")},
	}
}

// testRecord has something in every field.
func testRecord() Record {
	yes, seconds, size := true, Float(12.5), int64(1000)
	started, ended := testNow.Add(-time.Hour), testNow
	return Record{
		Artifact: Artifact{Kind: ArtifactStored, Files: testFiles()},
		Code:     &Code{Repository: "https://example.com/risk/fraud.git", Commit: "4b825dc642cb6eb9a060e54bf8d69288fbee4904", Branch: "main", Path: "train.py"},
		Runtime: &Runtime{
			Image:       "example.com/train:1@" + string(testDigest("image")),
			Environment: &Environment{Manager: "uv", Python: "3.13.1", File: "uv.lock", Digest: testDigest("lock"), Packages: []string{"numpy==1.26", "pandas==2.3"}},
			Compute:     &Compute{OS: "linux", Arch: "amd64", CPU: "x", Cores: 8, Memory: 1 << 34, GPUs: []string{"L4", "L4"}, InstanceType: "g6.xlarge"},
			Seconds:     &seconds,
		},
		Data: []DataReference{
			{Role: "train", Kind: DataSnapshot, URI: "s3://data/train", Version: "v3", Digest: testDigest("train"), Size: &size, Personal: &yes, Subjects: "customers", SubjectKey: "customer_id"},
			{Role: "test", Kind: DataQuery, Query: "SELECT 1"},
		},
		Params: Params{"depth": "6", "eta": "0.1"},
		Metrics: []Metric{
			{Name: "auc", Value: 0.91, Dataset: "test"},
			{Name: "auc", Value: 0.95, Dataset: "train", Split: "a"},
			{Name: "loss", Value: 0.2},
		},
		Run: &Run{
			ID: "run-1", Name: "nightly", URI: "https://ci.example.com/1", System: "github", User: "ann", StartedAt: &started, EndedAt: &ended,
			Upstream: []UpstreamRun{{ID: "run-0", Name: "features", URI: "https://ci.example.com/0"}},
		},
		Outputs:      []Output{{Name: "scores", URI: "s3://out/scores", Digest: testDigest("scores"), Size: &size}},
		Parents:      []Parent{{Relation: FineTunedFrom, Reference: "base/3", ModelID: "mdl_base", Version: 3}, {Relation: DistilledFrom, URI: "hf://org/model", Digest: testDigest("base")}},
		Flavors:      []Flavor{{Name: "onnx", Version: "1.16", Loader: "mlflow.onnx", Python: "3.13.1"}},
		Signature:    &Signature{Inputs: []Column{{Name: "amount", Type: "double"}}, Outputs: []Column{{Name: "p", Type: "double", Shape: []int64{-1, 1}}}},
		Evidence:     []Evidence{{Name: "eval/report.html", Kind: "evaluation", Digest: testDigest("report"), Size: 6, MediaType: "text/html", Note: "v1"}},
		Owner:        "team:risk",
		Target:       "prod/fraud-api",
		RollbackNote: "feature x went",
	}
}

// normalRecord is testRecord, normalized.
func normalRecord(t *testing.T) Record {
	t.Helper()
	r := testRecord()
	if err := r.Normalize(); err != nil {
		t.Fatalf("Normalize: %v", err)
	}
	return r
}

func TestError(t *testing.T) {
	cause := errors.New("disk")
	err := Errorf(CodeUnavailable, "store: %w", cause)
	if !errors.Is(err, cause) {
		t.Errorf("errors.Is does not find the cause of %v", err)
	}
	fixed := err.WithFix("try %d times", 2)
	checkEqual(t, "with fix", fixed.Error(), "store: disk; try 2 times")
	checkEqual(t, "the original", err.Error(), "store: disk")
	for _, tt := range []struct {
		err  error
		want ErrorCode
	}{
		{nil, ""},
		{cause, CodeInternal},
		{err, CodeUnavailable},
		{fmt.Errorf("while: %w", fixed), CodeUnavailable},
		{Errorf(CodeCorrupt, "outer: %w", Errorf(CodeInvalid, "inner")), CodeCorrupt},
	} {
		checkCode(t, "CodeOf", tt.err, tt.want)
	}
}
