package link

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/pedigree-ml/pedigree"
)

// bucket is a store that speaks S3, and what is read of it.
type bucket struct {
	*reader
	name, key, version string // the key is "" for the whole bucket

	endpoint *url.URL
	region   string
	keys     *credentials.Credentials
	// help is what to do when the store refuses; it depends on where keys were found.
	help   string
	google bool

	client *minio.Client // nil until the first request, and when the region changed
}

// s3 reads an object or a prefix of S3.
func (r *reader) s3(ctx context.Context) error {
	b, err := r.bucket()
	if err != nil {
		return err
	}
	if b.endpoint, err = r.endpoint(); err != nil {
		return err
	}
	if b.region = first(r.Env, "AWS_REGION", "AWS_DEFAULT_REGION"); b.region == "" {
		b.region = "us-east-1" // a bucket elsewhere says where it is
	}
	b.keys, b.help = r.awsKeys(ctx)
	return b.read(ctx)
}

// gs reads an object or a prefix of Google Cloud Storage by its S3-compatible interface.
func (r *reader) gs(ctx context.Context) error {
	b, err := r.bucket()
	if err != nil {
		return err
	}
	id, secret := r.Env("GS_ACCESS_KEY_ID"), r.Env("GS_SECRET_ACCESS_KEY")
	if id == "" || secret == "" {
		r.note("reading gs needs HMAC keys in GS_ACCESS_KEY_ID and GS_SECRET_ACCESS_KEY; the link is recorded as it is")
		return nil
	}
	b.google, b.region = true, "auto"
	b.endpoint = &url.URL{Scheme: "https", Host: "storage.googleapis.com"}
	b.keys = credentials.NewStaticV4(id, secret, "")
	b.help = "GS_ACCESS_KEY_ID and GS_SECRET_ACCESS_KEY must be allowed to read it"
	return b.read(ctx)
}

// bucket takes the link apart: "scheme://bucket/key", the key as it is, and at its end
// perhaps "?versionId=…".
func (r *reader) bucket() (*bucket, error) {
	_, rest, found := strings.Cut(r.uri, "://")
	name, key, _ := strings.Cut(rest, "/")
	if !found || name == "" || strings.ContainsAny(name, "@:?#") {
		return nil, r.fail(pedigree.CodeInvalid, "there is no name of a bucket").WithFix("write s3://bucket/key; credentials come from the environment")
	}
	key, version, _ := strings.Cut(key, "?versionId=")
	return &bucket{reader: r, name: name, key: key, version: version}, nil
}

// read reads the object at the key, or where there is none what is below the key.
func (b *bucket) read(ctx context.Context) error {
	if b.key == "" || strings.HasSuffix(b.key, "/") {
		return b.readPrefix(ctx, b.key)
	}
	err := b.readObject(ctx)
	if pedigree.CodeOf(err) != pedigree.CodeNotFound || b.version != "" {
		return err
	}
	if below := b.readPrefix(ctx, b.key+"/"); pedigree.CodeOf(below) != pedigree.CodeForbidden {
		return below
	}
	return err
}

func (b *bucket) readObject(ctx context.Context) error {
	info, err := b.stat(ctx)
	if err != nil {
		return err
	}
	b.info.Digest = checksum(info)
	if info.Size >= 0 {
		b.info.Size = &info.Size
	} else {
		b.note("no size: the store does not say it")
	}
	switch {
	case b.Digest && !b.tooLarge(info.Size):
		b.meter.start(info.Size)
		return b.object(ctx, b.source(b.key, info.ETag))
	case !b.Digest && b.info.Digest == "":
		b.note("no digest: the store states no sha256 of it, and its bytes were not read")
	}
	return nil
}

// stat asks what the store knows of the object. Who may read an encrypted object may
// still not be allowed to see its checksum; then it is asked without.
func (b *bucket) stat(ctx context.Context) (info minio.ObjectInfo, err error) {
	for _, withChecksum := range []bool{true, false} {
		err = b.do(ctx, func(ctx context.Context, _ func()) error {
			info, err = b.client.StatObject(ctx, b.name, b.key, minio.StatObjectOptions{Checksum: withChecksum, VersionID: b.version})
			return err
		})
		if pedigree.CodeOf(err) != pedigree.CodeForbidden {
			break
		}
	}
	if stored := info.Headers.Get("X-Goog-Stored-Content-Length"); stored != "" {
		info.Size = number(stored)
	}
	return info, err
}

// checksum is the sha256 that the store states. That of an object which came in parts
// may be one of the checksums of the parts: it is none of the object.
func checksum(info minio.ObjectInfo) pedigree.Digest {
	if strings.EqualFold(info.ChecksumMode, "COMPOSITE") {
		return ""
	}
	return digestOf(info.ChecksumSHA256) // "…-3" of three parts is no base64
}

// readPrefix reads all objects below prefix, which is "" or ends in a slash.
func (b *bucket) readPrefix(ctx context.Context, prefix string) error {
	t, err := b.list(ctx, prefix)
	if err != nil {
		return err
	}
	if t.count == 0 && t.flaw == "" {
		return b.fail(pedigree.CodeNotFound, "there is no object with this key, and none below it")
	}
	return b.describe(ctx, t, b.Digest)
}

// list gathers the objects below prefix. The empty ones that stand for a folder do not
// count.
func (b *bucket) list(ctx context.Context, prefix string) (*tree, error) {
	var t *tree
	owner := false
	err := b.do(ctx, func(ctx context.Context, alive func()) error {
		t = &tree{}
		ctx, cancel := context.WithCancel(ctx)
		defer cancel() // the rest of a listing that was left
		for o := range b.client.ListObjectsIter(ctx, b.name, minio.ListObjectsOptions{Prefix: prefix, Recursive: true, FetchOwner: &owner}) {
			if o.Err != nil {
				return o.Err
			}
			alive()
			p := strings.TrimPrefix(o.Key, prefix)
			switch {
			case p == "" || strings.HasSuffix(p, "/") && o.Size == 0 || isLeftOut(p):
				continue
			case t.count == maxObjects:
				t.spoil(fmt.Sprintf("it has more than %d objects", maxObjects))
				return nil
			}
			t.add(treeFile{File: pedigree.File{Path: p, Size: o.Size}, open: b.source(o.Key, o.ETag)})
		}
		return ctx.Err()
	})
	return t, err
}

// source reads the bytes of the object at key, which must still have the tag.
func (b *bucket) source(key, etag string) source {
	return func(ctx context.Context, offset int64) (io.ReadCloser, int64, error) {
		opts := minio.GetObjectOptions{VersionID: b.versionOf(key)}
		if etag == "" || b.google {
			offset = 0
		} else if err := errors.Join(opts.SetMatchETag(etag), setStart(&opts, offset)); err != nil {
			return nil, 0, b.fail(pedigree.CodeInternal, "%w", err)
		}
		body, _, header, err := minio.Core{Client: b.client}.GetObject(ctx, b.name, key, opts)
		if err != nil {
			return nil, 0, b.refusal(ctx, err)
		}
		if header.Get("Content-Range") == "" {
			offset = 0
		}
		if b.google && header.Get("Content-Encoding") == "gzip" && header.Get("X-Goog-Stored-Content-Encoding") == "identity" {
			return b.unpack(body)
		}
		return body, offset, nil
	}
}

func setStart(o *minio.GetObjectOptions, offset int64) error {
	if offset == 0 {
		return nil
	}
	return o.SetRange(offset, 0)
}

func (b *bucket) versionOf(key string) string {
	if key == b.key {
		return b.version
	}
	return ""
}

// unpack undoes the compression that Google's servers put on the way.
func (b *bucket) unpack(body io.ReadCloser) (io.ReadCloser, int64, error) {
	plain, err := gzip.NewReader(body)
	if err != nil {
		_ = body.Close()
		return nil, 0, b.fail(pedigree.CodeUnavailable, "reading its bytes: %w", err)
	}
	return struct {
		io.Reader
		io.Closer
	}{plain, body}, 0, nil
}

// do calls f, and once more with the region that the store names. The client makes a
// second try on its own. f must call alive for every sign of life.
func (b *bucket) do(ctx context.Context, f func(ctx context.Context, alive func()) error) error {
	for moved := false; ; moved = true {
		if err := b.connect(); err != nil {
			return err
		}
		watched, alive, stop := b.watch(ctx)
		err := f(watched, alive)
		if err == nil {
			stop()
			return nil
		}
		refusal := b.refusal(watched, err)
		stop()
		var answer minio.ErrorResponse
		if moved || !errors.As(err, &answer) || answer.Region == "" || answer.Region == b.region {
			return refusal
		}
		b.region, b.client = answer.Region, nil
	}
}

func (b *bucket) connect() error {
	if b.client != nil {
		return nil
	}
	encoding, lookup := "identity", minio.BucketLookupAuto
	if b.google {
		encoding, lookup = "gzip", minio.BucketLookupPath // else what is stored compressed comes unpacked
	}
	var err error
	b.client, err = minio.New(b.endpoint.Host, &minio.Options{
		Creds: b.keys, Secure: b.endpoint.Scheme == "https", Region: b.region, BucketLookup: lookup,
		Transport: &headerTransport{b.transport(), "Accept-Encoding", encoding}, MaxRetries: 2,
	})
	if err != nil {
		return b.fail(pedigree.CodeInvalid, "%w", err)
	}
	return nil
}

// transport makes the requests of what brings a client of its own.
func (r *reader) transport() http.RoundTripper {
	if r.HTTP.Transport != nil {
		return r.HTTP.Transport
	}
	return http.DefaultTransport
}

// headerTransport sets a header of every request.
type headerTransport struct {
	next        http.RoundTripper
	name, value string
}

// RoundTrip implements [http.RoundTripper].
func (t *headerTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	req = req.Clone(req.Context())
	req.Header.Set(t.name, t.value)
	return t.next.RoundTrip(req)
}

// refusal gives an error of the store its code.
func (b *bucket) refusal(ctx context.Context, err error) error {
	var own *pedigree.Error
	if errors.As(err, &own) {
		return err
	}
	var answer minio.ErrorResponse
	if ctx.Err() != nil || !errors.As(err, &answer) {
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err
		}
		return b.fail(pedigree.CodeUnavailable, "%w", reason(ctx, err))
	}
	what := clip(answer.Message, maxMessage)
	switch s := answer.StatusCode; {
	case answer.Code == minio.NoSuchBucket:
		return b.fail(pedigree.CodeNotFound, "there is no bucket %s", b.name)
	case s == http.StatusNotFound || answer.Code == minio.NoSuchKey || answer.Code == minio.NoSuchVersion:
		return b.fail(pedigree.CodeNotFound, "there is no object with this key")
	case answer.Code == "InvalidObjectState":
		return b.fail(pedigree.CodeUnavailable, "it is archived: %s", what).WithFix("restore it first")
	case s == http.StatusPreconditionFailed:
		return b.changed(answer.Key)
	case s == http.StatusUnauthorized || s == http.StatusForbidden || refused[answer.Code]:
		return b.fail(pedigree.CodeForbidden, "the store refuses: %s", what).WithFix("%s", b.help)
	case s == http.StatusRequestTimeout || s == http.StatusTooManyRequests || s >= 500 || s == 0:
		return b.fail(pedigree.CodeUnavailable, "the store answers %d: %s", s, what)
	}
	return b.fail(pedigree.CodeInvalid, "the store answers: %s", what)
}

// refused are the codes that speak of credentials whatever the status.
var refused = map[string]bool{
	"AccessDenied": true, "InvalidAccessKeyId": true, "SignatureDoesNotMatch": true, "ExpiredToken": true, "InvalidToken": true, "TokenRefreshRequired": true,
}
