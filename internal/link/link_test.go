package link

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/pedigree-ml/pedigree"
)

// environ is an environment.
type environ map[string]string

func (e environ) get(name string) string { return e[name] }

// mustRead reads a link that must be readable.
func mustRead(t *testing.T, uri string, o Options) Info {
	t.Helper()
	info, err := quick(uri, o).read(t.Context())
	if err != nil {
		t.Fatalf("Read(%q): %v", uri, err)
	}
	return info
}

// mustFail reads a link that must fail with the code.
func mustFail(t *testing.T, uri string, o Options, want pedigree.ErrorCode) error {
	t.Helper()
	info, err := quick(uri, o).read(t.Context())
	if got := pedigree.CodeOf(err); got != want {
		t.Fatalf("Read(%q) = %+v, error %q of code %q, want code %q", uri, info, err, got, want)
	}
	return err
}

// quick is a reader that does not wait long before the second try.
func quick(uri string, o Options) *reader {
	r := newReader(uri, o)
	r.pause = time.Millisecond
	return r
}

// checkInfo compares what was read; size -1 means that none is known.
func checkInfo(t *testing.T, got Info, size int64, digest pedigree.Digest, files int, note string) {
	t.Helper()
	gotSize := int64(-1)
	if got.Size != nil {
		gotSize = *got.Size
	}
	if gotSize != size || got.Digest != digest || got.Files != files {
		t.Errorf("got size %d, digest %q, %d files (note %q); want size %d, digest %q, %d files", gotSize, got.Digest, got.Files, got.Note, size, digest, files)
	}
	if (note == "") != (got.Note == "") || !strings.Contains(got.Note, note) {
		t.Errorf("note %q, want %q in it", got.Note, note)
	}
}

// content makes n bytes that are always the same.
func content(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{7}).Read(b)
	return b
}

func base64Sum(b []byte) string {
	sum := sha256.Sum256(b)
	return base64.StdEncoding.EncodeToString(sum[:])
}

func TestOtherSchemes(t *testing.T) {
	tests := []struct{ uri, want, scheme string }{
		{"hf://org/model@main", "hf://org/model@main", "hf"},
		{"oci://host.example/project/fraud:production", "oci://host.example/project/fraud:production", "oci"},
		{"mlflow-artifacts:/3/abc/artifacts/model", "mlflow-artifacts:/3/abc/artifacts/model", "mlflow-artifacts"},
		{"models:/fraud/7", "models:/fraud/7", "models"},
		{"DBFS:/models/fraud", "DBFS:/models/fraud", "dbfs"},
		{"ftp://ann:secret@host.example/m.bin", "ftp://host.example/m.bin", "ftp"},
	}
	for _, tt := range tests {
		got := mustRead(t, tt.uri, Options{Digest: true})
		if string(got.URI) != tt.want {
			t.Errorf("%s: URI %q, want %q", tt.uri, got.URI, tt.want)
		}
		checkInfo(t, got, -1, "", 0, "nobody here can read scheme "+tt.scheme+"; the link is recorded as it is")
	}
}

func TestMalformed(t *testing.T) {
	for _, uri := range []string{
		"", "  ", "https://", "https:///x", "http://host:port/x", "https://a b/", "s3:", "s3://", "s3:///key", "s3:bucket/key",
		"s3://id:sec/ret@bucket/key", "gs://", "file://", "file://models/x", "file:///a?b", "file:///a#b", "file:%zz", "https://host.example/\n", "s3://x/key",
		"s3://a_very bad bucket/key", "x\x00y",
	} {
		err := mustFail(t, uri, Options{Env: environ{"GS_ACCESS_KEY_ID": "a", "GS_SECRET_ACCESS_KEY": "b"}.get}, pedigree.CodeInvalid)
		if strings.Contains(err.Error(), "sec") && strings.Contains(uri, "sec/ret") {
			t.Errorf("the error of %q shows credentials: %v", uri, err)
		}
	}
}

// TestNoSecretInErrors reads what can't be read, with credentials in every place.
func TestNoSecretInErrors(t *testing.T) {
	for _, uri := range []string{
		"https://ann:hunter2@127.0.0.1:1/model.bin?X-Amz-Signature=hunter2",
		"https://ann:hun/ter2@127.0.0.1:1/model.bin",
		"http://ann:hunter2@127.0.0.1:1/%zz",
		"hunter2:x@host.example/model",
		"s3://hunter2@bucket/key",
		"gs://bucket/key?access_token=hunter2",
		"hunter2:x@host.example:8080/model",
	} {
		info, err := quick(uri, Options{}).read(t.Context())
		for text := range strings.SplitSeq(strings.ReplaceAll(string(info.URI)+"\n"+info.Note, "://", "\n"), "\n") {
			if strings.Contains(text, "hun") {
				t.Errorf("%s: %q shows a credential", uri, text)
			}
		}
		if err != nil && strings.Contains(err.Error(), "hun") {
			t.Errorf("%s: error %q shows a credential", uri, err)
		}
	}
}

func TestSchemeOf(t *testing.T) {
	for uri, want := range map[pedigree.SafeURI]string{
		"s3://b/k": "s3", "S3://b/k": "s3", "models:/x": "models", "git+ssh://h/x": "git+ssh",
		"/a/b": "", "a/b": "", `C:\models\x`: "", "c:/models": "", "./a:b": "", "a b:c": "", ":x": "", "3s:x": "", "": "",
	} {
		if got := schemeOf(uri); got != want {
			t.Errorf("schemeOf(%q) = %q, want %q", uri, got, want)
		}
	}
}

func TestCanceled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	dir := t.TempDir()
	mustWrite(t, dir, "a", []byte("a"))
	for _, uri := range []string{dir, dir + "/a", "http://127.0.0.1:1/x", "s3://bucket/key"} {
		if _, err := Read(ctx, uri, Options{}); pedigree.CodeOf(err) != pedigree.CodeUnavailable {
			t.Errorf("%s: got %v, want code %s", uri, err, pedigree.CodeUnavailable)
		}
	}
}
