package pedigree

import (
	"fmt"
	"math"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestManifestGolden pins the bytes: the digest of a manifest is the artifact digest,
// and a stored one may never change. The constants were made by another program; where
// this test fails, the code is wrong and not the constants.
func TestManifestGolden(t *testing.T) {
	const (
		wantManifest = `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","artifactType":"application/vnd.cncf.model.manifest.v1+json",` +
			`"config":{"mediaType":"application/vnd.cncf.model.config.v1+json","digest":"sha256:a53520584a4e2a61d261ef21832939a3b3babf313596967d85cc50118c9beb2b","size":291},` +
			`"layers":[{"mediaType":"application/vnd.cncf.model.code.v1.raw","digest":"sha256:3af71adb278ad4af33c144b78fa1ae708da03b773d98324ae991a7daedb53ca2","size":9,` +
			`"annotations":{"org.cncf.model.file.metadata+json":"{\"mode\":493}","org.cncf.model.filepath":"bin/serve.sh"}},` +
			`{"mediaType":"application/vnd.cncf.model.weight.config.v1.raw","digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":2,` +
			`"annotations":{"org.cncf.model.filepath":"config.json"}},` +
			`{"mediaType":"application/vnd.cncf.model.weight.v1.raw","digest":"sha256:87e93f89f2be0db364e8be052f79f389e6c2da239831922e24513288af522a43","size":4,` +
			`"annotations":{"org.cncf.model.filepath":"model.onnx"}}]}`
		wantConfig = `{"descriptor":{},"config":{},"modelfs":{"type":"layers","diffIds":[` +
			`"sha256:3af71adb278ad4af33c144b78fa1ae708da03b773d98324ae991a7daedb53ca2",` +
			`"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",` +
			`"sha256:87e93f89f2be0db364e8be052f79f389e6c2da239831922e24513288af522a43"]}}`
		wantDigest = "sha256:f2736b68fee72f93a39b752206b3311d6f9825afb7beaa124366a55d8bd68355"
	)
	files := testFiles()
	for range len(files) { // whatever the order of the files
		m, c, err := Manifest(files)
		if err != nil {
			t.Fatal(err)
		}
		checkEqual(t, "manifest", string(m), wantManifest)
		checkEqual(t, "config", string(c), wantConfig)
		checkEqual(t, "digest", DigestBytes(m), Digest(wantDigest))
		files = append(files[1:], files[0])
	}
	before := slices.Clone(files)
	a, err := StoredArtifact(files)
	if err != nil {
		t.Fatal(err)
	}
	checkEqual(t, "the files that were given", files, before)
	checkEqual(t, "artifact digest", a.Digest, Digest(wantDigest))
	checkEqual(t, "size", *a.Size, int64(15))
	checkEqual(t, "first file", a.Files[0].Path, "bin/serve.sh")
}

func TestManifestDiffers(t *testing.T) {
	base := testFiles()
	for _, tt := range []struct {
		name   string
		change func([]File)
	}{
		{"path", func(f []File) { f[0].Path = "model2.onnx" }},
		{"size", func(f []File) { f[0].Size++ }},
		{"digest", func(f []File) { f[0].Digest = testDigest("other") }},
		{"executable bit", func(f []File) { f[0].Executable = true }},
	} {
		changed := slices.Clone(base)
		tt.change(changed)
		a, err1 := StoredArtifact(base)
		b, err2 := StoredArtifact(changed)
		if err1 != nil || err2 != nil || a.Digest == b.Digest {
			t.Errorf("another %s: digests %s and %s, errors %v and %v", tt.name, a.Digest, b.Digest, err1, err2)
		}
	}
}

func TestLayerType(t *testing.T) {
	for _, tt := range []struct{ path, want string }{
		{"model.onnx", mediaTypeWeight},
		{"weights/a.safetensors", mediaTypeWeight},
		{"noext", mediaTypeWeight},
		{"config.json", mediaTypeWeightConfig},
		{"MLmodel", mediaTypeWeightConfig},
		{"a/conda.YAML", mediaTypeWeightConfig},
		{"train.py", mediaTypeCode},
		{"x.ipynb", mediaTypeCode},
		{"R/a.R", mediaTypeCode},
		{"README", mediaTypeDoc},
		{"readme.txt", mediaTypeDoc},
		{"card.md", mediaTypeDoc},
		{"LICENSE-APACHE", mediaTypeDoc},
	} {
		checkEqual(t, tt.path, layerType(tt.path), tt.want)
	}
}

func TestCheckPath(t *testing.T) {
	for _, good := range []string{
		"model.onnx", "a/b/c", ".hidden", "..a", "a..b", "...a", "a b/c d", "été/モデル.bin", "e\u0301", "COM10", "conx.txt", "null", "a/aux2", "-rf", "~", "$HOME", "a?b*c", " lead",
		strings.Repeat("p", maxPathPart), strings.Repeat("a/", MaxPath/2-1) + "bb",
	} {
		checkCode(t, good, CheckPath(good), "")
	}
	for _, bad := range []string{
		"", ".", "..", "/", "/etc/passwd", "../x", "a/../../x", "a/..", "a/./b", "./a", "a//b", "a/", "//a", "..\\x", "a\\b", "C:x", "C:/x", "a:stream",
		"a\x00b", "a\nb", "a\tb", "a\x7f", "a\u0085b", "a\xff", "a.", "a./b", "a ", "a /b", "...", "con", "CON", "nul.txt", "a/AUX/b", "com1", "LPT9.log", "NUL .txt", "COM¹", "conin$",
		strings.Repeat("p", maxPathPart+1), strings.Repeat("a/", MaxPath/2) + "b",
	} {
		checkCode(t, bad, CheckPath(bad), CodeInvalid)
	}
}

func TestCheckFiles(t *testing.T) {
	files := func(paths ...string) []File {
		var out []File
		for _, p := range paths {
			out = append(out, File{Path: p, Size: 1, Digest: testDigest(p)})
		}
		return out
	}
	many := make([]File, MaxFiles+1)
	for i := range many {
		many[i] = File{Path: fmt.Sprintf("f%d", i), Digest: testDigest("x")}
	}
	for _, tt := range []struct {
		name  string
		files []File
		want  ErrorCode
	}{
		{"one", files("a"), ""},
		{"nested", files("a/b", "a/c", "a/d/e", "b"), ""},
		{"same content", []File{{Path: "a", Digest: testDigest("x")}, {Path: "b", Digest: testDigest("x")}}, ""},
		{"prefix of a name", files("a", "ab/c", "a.b"), ""},
		{"most", many[:MaxFiles], ""},
		{"none", nil, CodeInvalid},
		{"too many", many, CodeTooLarge},
		{"twice", files("a", "a"), CodeInvalid},
		{"case", files("a", "A"), CodeInvalid},
		{"case of a folder", files("a/x", "A/y"), CodeInvalid},
		{"case beyond ASCII", files("é", "É"), CodeInvalid},
		{"folded signs", files("ſ", "s"), CodeInvalid},
		{"file, then folder", files("a", "a/b"), CodeInvalid},
		{"folder, then file", files("a/b", "a"), CodeInvalid},
		{"folder of another case", files("a/b", "A"), CodeInvalid},
		{"bad path", files("a", "../b"), CodeInvalid},
		{"no digest", []File{{Path: "a"}}, CodeInvalid},
		{"bad digest", []File{{Path: "a", Digest: "md5:0"}}, CodeInvalid},
		{"negative", []File{{Path: "a", Size: -1, Digest: testDigest("x")}}, CodeInvalid},
		{"sum overflows", []File{{Path: "a", Size: math.MaxInt64, Digest: testDigest("x")}, {Path: "b", Size: 1, Digest: testDigest("x")}}, CodeTooLarge},
	} {
		checkCode(t, tt.name, CheckFiles(tt.files), tt.want)
		_, _, err := Manifest(tt.files)
		checkCode(t, tt.name+": Manifest", err, tt.want)
		_, err = StoredArtifact(tt.files)
		checkCode(t, tt.name+": StoredArtifact", err, tt.want)
	}
}

func FuzzCheckPath(f *testing.F) {
	for _, s := range []string{"a", "a/b", "..", "a/../..", "/a", "a\\..\\b", "C:a", "...", ".. ", "nul", "a\x00", "a/./b", "..a/b"} {
		f.Add(s)
	}
	root := filepath.FromSlash("/srv/root")
	f.Fuzz(func(t *testing.T, p string) {
		if err := CheckPath(p); err != nil {
			checkCode(t, p, err, CodeInvalid)
			return
		}
		if joined := filepath.Join(root, filepath.FromSlash(p)); !strings.HasPrefix(joined, root+string(filepath.Separator)) || !filepath.IsLocal(p) {
			t.Errorf("%q leaves the root: %q", p, joined)
		}
		if path.Clean(p) != p || strings.ContainsRune(p, '\\') || len(p) > MaxPath {
			t.Errorf("%q is not clean", p)
		}
		checkCode(t, "one file "+p, CheckFiles([]File{{Path: p, Digest: testDigest("x")}}), "")
	})
}
