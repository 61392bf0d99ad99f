package link

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"

	"github.com/pedigree-ml/pedigree"
)

// TestRealS3 reads what a real S3 server has.
func TestRealS3(t *testing.T) {
	g := mustGateway(t)
	ctx := t.Context()
	bucket := fmt.Sprintf("link-%d", time.Now().UnixNano())
	if err := g.client.MakeBucket(ctx, bucket, minio.MakeBucketOptions{}); err != nil {
		t.Fatal(err)
	}
	put := func(key string, b []byte, o minio.PutObjectOptions) {
		t.Helper()
		if _, err := g.client.PutObject(ctx, bucket, key, bytes.NewReader(b), int64(len(b)), o); err != nil {
			t.Fatalf("put %s: %v", key, err)
		}
	}
	big, one := content(6<<20), content(40_000)
	folder := map[string][]byte{"model.onnx": one, "conf/a b+c?.json": []byte("{}"), "empty": {}}
	put("plain.bin", one, minio.PutObjectOptions{})
	put("summed.bin", one, minio.PutObjectOptions{UserMetadata: map[string]string{"x-amz-checksum-sha256": base64Sum(one)}})
	putParts(t, g, bucket, "parts.bin", big[:5<<20], big[5<<20:])
	put("packed.bin", one, minio.PutObjectOptions{ContentEncoding: "gzip"})
	for name, b := range folder {
		put("fraud/7/"+name, b, minio.PutObjectOptions{})
	}
	put("fraud/7/", nil, minio.PutObjectOptions{})
	put("fraud/7/.git/config", one, minio.PutObjectOptions{})
	put("fraud/70", one, minio.PutObjectOptions{})
	total := int64(len(one) + 2)

	env := g.environment.get
	read, hash := Options{Env: env}, Options{Env: env, Digest: true}
	base := "s3://" + bucket + "/"
	tests := []struct {
		name   string
		uri    string
		o      Options
		size   int64
		digest pedigree.Digest
		files  int
		note   string
	}{
		{"object", base + "plain.bin", read, int64(len(one)), "", 0, "the store states no sha256 of it"},
		{"object, hashed", base + "plain.bin", hash, int64(len(one)), pedigree.DigestBytes(one), 0, ""},
		{"with a checksum", base + "summed.bin", read, int64(len(one)), pedigree.DigestBytes(one), 0, ""},
		{"with a checksum, hashed", base + "summed.bin", hash, int64(len(one)), pedigree.DigestBytes(one), 0, ""},
		{"checksum of parts", base + "parts.bin", read, int64(len(big)), "", 0, "the store states no sha256 of it"},
		{"checksum of parts, hashed", base + "parts.bin", hash, int64(len(big)), pedigree.DigestBytes(big), 0, ""},
		{"content encoding", base + "packed.bin", hash, int64(len(one)), pedigree.DigestBytes(one), 0, ""},
		{"over the limit", base + "parts.bin", Options{Env: env, Digest: true, MaxBytes: 1000}, int64(len(big)), "", 0, "not hashed"},
		{"prefix", base + "fraud/7/", read, total, "", 3, "its bytes were not read"},
		{"prefix without a slash", base + "fraud/7", hash, total, artifact(t, folder), 3, ""},
		{"other scheme", "s3a" + strings.TrimPrefix(base, "s3") + "fraud/7/", hash, total, artifact(t, folder), 3, ""},
		{"odd name", base + "fraud/7/conf/a b+c?.json", hash, 2, pedigree.DigestBytes([]byte("{}")), 0, ""},
		{"folder over the limit", base + "fraud/7", Options{Env: env, Digest: true, MaxBytes: 1000}, total, "", 3, "not hashed"},
		{"bucket", "s3://" + bucket, read, total + 4*int64(len(one)) + int64(len(big)), "", 8, "its bytes were not read"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			checkInfo(t, mustRead(t, tt.uri, tt.o), tt.size, tt.digest, tt.files, tt.note)
		})
	}
	mustFail(t, base+"nothing", read, pedigree.CodeNotFound)
	mustFail(t, base+"nothing/", read, pedigree.CodeNotFound)
	mustFail(t, "s3://no-"+bucket+"/x", read, pedigree.CodeNotFound)
	mustFail(t, "s3://no-"+bucket+"/x/", read, pedigree.CodeNotFound)
	wrong := environ{"AWS_ENDPOINT_URL": g.endpoint, "AWS_ACCESS_KEY_ID": g.id, "AWS_SECRET_ACCESS_KEY": "wrong"}
	mustFail(t, base+"plain.bin", Options{Env: wrong.get}, pedigree.CodeForbidden)
	mustFail(t, base+"fraud/7/", Options{Env: wrong.get}, pedigree.CodeForbidden)
	err := mustFail(t, base+"plain.bin", Options{Env: environ{"AWS_ENDPOINT_URL": g.endpoint}.get}, pedigree.CodeForbidden)
	if !strings.Contains(err.Error(), "no keys were found: set AWS_ACCESS_KEY_ID") {
		t.Errorf("error %q does not say what to do", err)
	}
}

// putParts stores an object whose checksum is one of the checksums of its parts.
func putParts(t *testing.T, g *gateway, bucket, key string, parts ...[]byte) {
	t.Helper()
	core, ctx := minio.Core{Client: g.client}, t.Context()
	id, err := core.NewMultipartUpload(ctx, bucket, key, minio.PutObjectOptions{
		UserMetadata: map[string]string{"x-amz-checksum-algorithm": "SHA256", "x-amz-checksum-type": "COMPOSITE"},
	})
	if err != nil {
		t.Fatal(err)
	}
	var done []minio.CompletePart
	for i, b := range parts {
		sum := base64Sum(b)
		part, err := core.PutObjectPart(ctx, bucket, key, id, i+1, bytes.NewReader(b), int64(len(b)), minio.PutObjectPartOptions{
			CustomHeader: http.Header{"X-Amz-Checksum-Sha256": {sum}},
		})
		if err != nil {
			t.Fatal(err)
		}
		done = append(done, minio.CompletePart{PartNumber: i + 1, ETag: part.ETag, ChecksumSHA256: sum})
	}
	if _, err := core.CompleteMultipartUpload(ctx, bucket, key, id, done, minio.PutObjectOptions{}); err != nil {
		t.Fatal(err)
	}
	info, err := g.client.StatObject(ctx, bucket, key, minio.StatObjectOptions{Checksum: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("the checksum of parts is %q, of type %q", info.ChecksumSHA256, info.ChecksumMode)
}

func TestS3(t *testing.T) {
	b := content(3000)
	digest := pedigree.DigestBytes(b)
	folder := map[string][]byte{"a": b, "b/c": []byte("c"), "b/d": []byte("d"), "e": {}, "f": []byte("ff")}
	objects := map[string]fakeObject{
		"plain":      {data: b},
		"summed":     {data: b, header: []string{"X-Amz-Checksum-Sha256", base64Sum(b), "X-Amz-Checksum-Type", "FULL_OBJECT"}},
		"composite":  {data: b, header: []string{"X-Amz-Checksum-Sha256", base64Sum(b), "X-Amz-Checksum-Type", "COMPOSITE"}},
		"parts":      {data: b, header: []string{"X-Amz-Checksum-Sha256", base64Sum(b) + "-3"}},
		"wrong":      {data: b, header: []string{"X-Amz-Checksum-Sha256", base64Sum(nil)}},
		"cut":        {data: b, cut: 1000},
		"both":       {data: b},
		"both/x":     {data: b},
		"/slash":     {data: b},
		"100%/a%20b": {data: b},
		"v":          {data: b},
		"odd/a":      {data: b},
		"odd/b/":     {data: b},
		"odd/c//d":   {data: b},
	}
	for name, data := range folder {
		objects["fraud/7/"+name] = fakeObject{data: data}
	}
	objects["fraud/7/"], objects["fraud/7/b/"] = fakeObject{}, fakeObject{}
	f := newFakeS3(t, objects)
	f.page = 2
	read, hash := Options{Env: f.env().get}, Options{Env: f.env().get, Digest: true}
	tests := []struct {
		uri    string
		o      Options
		size   int64
		digest pedigree.Digest
		files  int
		note   string
	}{
		{"s3://models/plain", read, 3000, "", 0, "no sha256"},
		{"S3://models/plain", hash, 3000, digest, 0, ""},
		{"s3n://models/summed", read, 3000, digest, 0, ""},
		{"s3://models/composite", read, 3000, "", 0, "no sha256"},
		{"s3://models/parts", read, 3000, "", 0, "no sha256"},
		{"s3://models/parts", hash, 3000, digest, 0, ""},
		{"s3://models/summed", Options{Env: f.env().get, Digest: true, MaxBytes: 10}, 3000, digest, 0, "not hashed"},
		{"s3://models/cut", hash, 3000, digest, 0, ""},
		{"s3://models/both", hash, 3000, digest, 0, ""},
		{"s3://models/both/", hash, 3000, artifact(t, map[string][]byte{"x": b}), 1, ""},
		{"s3://models//slash", hash, 3000, digest, 0, ""},
		{"s3://models/100%/a%20b", hash, 3000, digest, 0, ""},
		{"s3://models/v?versionId=3", hash, 3000, digest, 0, ""},
		{"s3://models/fraud/7", hash, 3004, artifact(t, folder), 5, ""},
		{"s3://models/fraud/7/", read, 3004, "", 5, "its bytes were not read"},
		{"s3://models/odd/", hash, 9000, "", 3, "is not clean"},
	}
	for _, tt := range tests {
		t.Run(tt.uri, func(t *testing.T) {
			got := mustRead(t, tt.uri, tt.o)
			checkInfo(t, got, tt.size, tt.digest, tt.files, tt.note)
			if string(got.URI) != tt.uri {
				t.Errorf("URI %q, want %q", got.URI, tt.uri)
			}
		})
	}
	mustFail(t, "s3://models/wrong", hash, pedigree.CodeCorrupt)
	mustFail(t, "s3://models/plain?versionId=", Options{Env: environ{"AWS_ENDPOINT_URL": "ftp://x"}.get}, pedigree.CodeInvalid)
	if f.lists.Load() < 4 {
		t.Errorf("%d requests for listings: there was no second page", f.lists.Load())
	}
}

// TestS3Version makes sure that a version is asked for in every request.
func TestS3Version(t *testing.T) {
	f := newFakeS3(t, map[string]fakeObject{"a": {data: []byte("a")}})
	f.fail = func(req *http.Request) int {
		if req.FormValue("versionId") != "v 2" {
			return http.StatusNotFound
		}
		return 0
	}
	got := mustRead(t, "s3://models/a?versionId=v 2", Options{Env: f.env().get, Digest: true})
	checkInfo(t, got, 1, pedigree.DigestBytes([]byte("a")), 0, "")
	mustFail(t, "s3://models/a?versionId=1", Options{Env: f.env().get}, pedigree.CodeNotFound)
	if f.lists.Load() != 0 {
		t.Error("a version was looked for as a prefix")
	}
}

// TestS3Region reads a bucket of another region than the environment says.
func TestS3Region(t *testing.T) {
	f := newFakeS3(t, map[string]fakeObject{"a": {data: []byte("a")}, "p/a": {data: []byte("a")}})
	f.region = "eu-west-1"
	for _, region := range []string{"", "eu-west-1", "ap-south-1"} {
		env := f.env()
		env["AWS_REGION"] = region
		checkInfo(t, mustRead(t, "s3://models/a", Options{Env: env.get, Digest: true}), 1, pedigree.DigestBytes([]byte("a")), 0, "")
		checkInfo(t, mustRead(t, "s3://models/p/", Options{Env: env.get, Digest: true}), 1, artifact(t, map[string][]byte{"a": []byte("a")}), 1, "")
	}
}

func TestS3Errors(t *testing.T) {
	f := newFakeS3(t, map[string]fakeObject{"a": {data: []byte("a")}, "p/a": {data: []byte("a")}})
	o := Options{Env: f.env().get, Digest: true}
	when := func(method string, status int) func(*http.Request) int {
		return func(req *http.Request) int {
			if req.Method == method {
				return status
			}
			return 0
		}
	}
	tests := []struct {
		name string
		uri  string
		fail func(*http.Request) int
		want pedigree.ErrorCode
	}{
		{"no object", "s3://models/b", nil, pedigree.CodeNotFound},
		{"no prefix", "s3://models/q/", nil, pedigree.CodeNotFound},
		{"no bucket", "s3://other/a", nil, pedigree.CodeNotFound},
		{"no listing", "s3://models/b", when("GET", 403), pedigree.CodeNotFound},
		{"refused", "s3://models/a", when("HEAD", 403), pedigree.CodeForbidden},
		{"bytes refused", "s3://models/a", when("GET", 403), pedigree.CodeForbidden},
		{"listing refused", "s3://models/p/", when("GET", 403), pedigree.CodeForbidden},
		{"unauthorized", "s3://models/a", when("HEAD", 401), pedigree.CodeForbidden},
		{"bad request", "s3://models/a", when("HEAD", 400), pedigree.CodeInvalid},
		{"changed", "s3://models/a", when("GET", 412), pedigree.CodeConflict},
		{"overloaded", "s3://models/a", when("HEAD", 503), pedigree.CodeUnavailable},
		{"overloaded listing", "s3://models/p/", when("GET", 503), pedigree.CodeUnavailable},
		{"gone meanwhile", "s3://models/p/", func(req *http.Request) int {
			if req.URL.Path == "/models/p/a" {
				return 404
			}
			return 0
		}, pedigree.CodeConflict},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f.fail = tt.fail
			err := mustFail(t, tt.uri, o, tt.want)
			if strings.ContainsRune(err.Error(), 7) || !strings.HasPrefix(err.Error(), tt.uri+": ") {
				t.Errorf("error %q is not for people", err)
			}
		})
	}
	env := f.env()
	f.Close()
	mustFail(t, "s3://models/a", Options{Env: env.get}, pedigree.CodeUnavailable)
}

// TestS3Retry fails the first request.
func TestS3Retry(t *testing.T) {
	f := newFakeS3(t, map[string]fakeObject{"a": {data: []byte("a")}})
	f.fail = func(*http.Request) int {
		if f.requests.Load() == 1 {
			return http.StatusServiceUnavailable
		}
		return 0
	}
	checkInfo(t, mustRead(t, "s3://models/a", Options{Env: f.env().get}), 1, "", 0, "no digest")
	if f.requests.Load() != 2 {
		t.Errorf("%d requests, want 2", f.requests.Load())
	}
}

// TestS3ChecksumRefused reads an object whose checksum this caller may not see.
func TestS3ChecksumRefused(t *testing.T) {
	f := newFakeS3(t, map[string]fakeObject{"a": {data: []byte("a")}})
	f.fail = func(req *http.Request) int {
		if req.Header.Get("X-Amz-Checksum-Mode") != "" {
			return http.StatusForbidden
		}
		return 0
	}
	checkInfo(t, mustRead(t, "s3://models/a", Options{Env: f.env().get}), 1, "", 0, "no digest")
}

// TestS3Silent lists a bucket whose server never answers.
func TestS3Silent(t *testing.T) {
	done := make(chan struct{})
	s := mustServe(t, func(http.ResponseWriter, *http.Request) { <-done })
	defer close(done) // before the server is closed
	for _, uri := range []string{"s3://models/a", "s3://models/a/"} {
		r := quick(uri, Options{Env: environ{"AWS_ENDPOINT_URL": s.URL}.get})
		r.patience = 50 * time.Millisecond
		if _, err := r.read(t.Context()); pedigree.CodeOf(err) != pedigree.CodeUnavailable || !strings.Contains(err.Error(), errSilent.Error()) {
			t.Errorf("%s: got %v, want %q", uri, err, errSilent)
		}
	}
}

// TestS3Parallel hashes many objects and hears of the progress.
func TestS3Parallel(t *testing.T) {
	files, objects, total := map[string][]byte{}, map[string]fakeObject{}, int64(0)
	for i := range 60 {
		b := content(1000 * i)
		files[fmt.Sprintf("f%02d", i)], objects[fmt.Sprintf("p/f%02d", i)] = b, fakeObject{data: b}
		total += int64(len(b))
	}
	f := newFakeS3(t, objects)
	var inside atomic.Bool
	var last int64
	got := mustRead(t, "s3://models/p", Options{Env: f.env().get, Digest: true, Progress: func(done, of int64) {
		if inside.Swap(true) || of != total {
			t.Error("two calls at the same time, or another total")
		}
		last = done
		inside.Store(false)
	}})
	checkInfo(t, got, total, artifact(t, files), 60, "")
	if last != total {
		t.Errorf("progress ended at %d, want %d", last, total)
	}
}

// TestGS reads from Google Cloud Storage, which here is a fake that compresses on the
// way, as the real one may.
func TestGS(t *testing.T) {
	b := content(5000)
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	_, _ = z.Write(b)
	_ = z.Close()
	f := newFakeS3(t, map[string]fakeObject{
		"plain": {data: b},
		"stored": {data: b, header: []string{
			"Content-Encoding", "gzip", "X-Goog-Stored-Content-Encoding", "gzip", "X-Goog-Stored-Content-Length", "5000",
		}},
		"packed": {data: packed.Bytes(), header: []string{
			"Content-Encoding", "gzip", "X-Goog-Stored-Content-Encoding", "identity", "X-Goog-Stored-Content-Length", "5000",
		}},
		"p/plain": {data: b},
	})
	f.region = "auto"
	there, err := url.Parse(f.URL)
	if err != nil {
		t.Fatal(err)
	}
	o := Options{
		Env: environ{"GS_ACCESS_KEY_ID": "id", "GS_SECRET_ACCESS_KEY": "secret", "AWS_ENDPOINT_URL": "http://127.0.0.1:1"}.get, Digest: true,
		HTTP: &http.Client{Transport: roundTripper(func(req *http.Request) (*http.Response, error) {
			if got := req.URL.Scheme + "://" + req.URL.Host; got != "https://storage.googleapis.com" {
				t.Errorf("request to %s", got)
			}
			req.URL.Scheme, req.URL.Host = there.Scheme, there.Host
			return http.DefaultTransport.RoundTrip(req)
		})},
	}
	for _, key := range []string{"plain", "stored", "packed"} {
		checkInfo(t, mustRead(t, "gs://models/"+key, o), 5000, pedigree.DigestBytes(b), 0, "")
	}
	checkInfo(t, mustRead(t, "gs://models/p", o), 5000, artifact(t, map[string][]byte{"plain": b}), 1, "")
	mustFail(t, "gs://models/nothing", o, pedigree.CodeNotFound)
	checkInfo(t, mustRead(t, "gs://models/plain", Options{Digest: true}), -1, "", 0, "HMAC keys in GS_ACCESS_KEY_ID")
}

type roundTripper func(*http.Request) (*http.Response, error)

// RoundTrip implements [http.RoundTripper].
func (f roundTripper) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }
