package client

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"

	"github.com/pedigree-ml/pedigree"
)

// Artifact resolves ref and returns the files of its stored artifact. It returns
// [pedigree.CodeNotFound], and [pedigree.CodeUnsupported] or [pedigree.CodeRefused] for
// an artifact that is linked or none.
func (c *Client) Artifact(ctx context.Context, ref pedigree.Reference, at pedigree.At) (pedigree.Resolved, pedigree.Artifact, error) {
	type answer struct {
		Resolved pedigree.Resolved `json:"resolved"`
		Artifact pedigree.Artifact `json:"artifact"`
	}
	out, err := ask[answer](ctx, c, request{method: http.MethodGet, path: c.versionPath(ref, "artifact"), query: asOf(at)})
	return out.Resolved, out.Artifact, err
}

// maxAsked bounds the digests of one question.
const maxAsked = 10_000

// MissingBlobs says which of the digests the client's project lacks; the registry keeps
// the others for a day from now.
func (c *Client) MissingBlobs(ctx context.Context, digests []pedigree.Digest) ([]pedigree.Digest, error) {
	missing := []pedigree.Digest{}
	for chunk := range slices.Chunk(digests, maxAsked) {
		in := struct {
			Digests []pedigree.Digest `json:"digests"`
		}{chunk}
		var out struct {
			Missing []pedigree.Digest `json:"missing"`
		}
		if err := c.call(ctx, request{method: http.MethodPost, path: c.projectPath("blobs", "missing"), in: in, reads: true}, &out); err != nil {
			return nil, err
		}
		missing = append(missing, out.Missing...)
	}
	return missing, nil
}

// PutBlob uploads the size bytes of r (-1: to its end) under their digest to the
// client's project. It is tried once, because r can't be read again; [Client.PutFile]
// tries more often. It returns [pedigree.CodeCorrupt] for bytes that are not those of d.
func (c *Client) PutBlob(ctx context.Context, d pedigree.Digest, size int64, r io.Reader) error {
	open := func() (io.ReadCloser, error) { return io.NopCloser(r), nil }
	return c.putBlob(ctx, d, size, open, true)
}

// PutFile is [Client.PutBlob] with bytes that can be opened again after an outage.
func (c *Client) PutFile(ctx context.Context, d pedigree.Digest, size int64, open func() (io.ReadCloser, error)) error {
	return c.putBlob(ctx, d, size, open, false)
}

// expectFrom is the size from which on an upload asks first: a refusal then comes
// before the bytes are sent, and reaches the caller for certain.
const expectFrom = 1 << 20

func (c *Client) putBlob(ctx context.Context, d pedigree.Digest, size int64, open func() (io.ReadCloser, error), once bool) error {
	header := http.Header{"Content-Type": {"application/octet-stream"}}
	if size < 0 || size >= expectFrom {
		header.Set("Expect", "100-continue")
	}
	return c.call(ctx, request{
		method: http.MethodPut, path: c.projectPath("blobs", string(d)), header: header,
		open: open, size: size, once: once, safe: true,
	}, nil)
}

// OpenFile opens one file of the stored artifact of the version that ref names. The
// caller closes it. Its last Read returns [pedigree.CodeCorrupt] instead of [io.EOF]
// where the bytes were not those of the digest, and [io.ErrUnexpectedEOF] where the
// connection was lost. It returns [pedigree.CodeNotFound], and [pedigree.CodeGone] for
// bytes that were erased.
func (c *Client) OpenFile(ctx context.Context, ref pedigree.Reference, path string, at pedigree.At) (io.ReadCloser, pedigree.File, error) {
	resp, err := c.send(ctx, request{method: http.MethodGet, path: c.versionPath(ref, "files") + "/" + escapeRest(path), query: asOf(at)})
	if err != nil {
		return nil, pedigree.File{}, err
	}
	f := pedigree.File{Path: path, Size: resp.ContentLength, Executable: resp.Header.Get("Pedigree-Executable") == "true"}
	if f.Digest, err = pedigree.ParseDigest(resp.Header.Get("Pedigree-Digest")); err != nil || f.Size < 0 {
		_ = resp.Body.Close()
		return nil, f, pedigree.Errorf(pedigree.CodeUnavailable, "%s sends file %q without its digest or size", c.shown, path)
	}
	return &checkedBody{ReadCloser: resp.Body, h: pedigree.NewHasher(), want: f.Digest, what: path}, f, nil
}

// Evidence opens the bytes of a version's evidence by its name; see [Client.OpenFile].
func (c *Client) Evidence(ctx context.Context, ref pedigree.Reference, name string, at pedigree.At) (io.ReadCloser, error) {
	resp, err := c.send(ctx, request{method: http.MethodGet, path: c.versionPath(ref, "evidence") + "/" + escapeRest(name), query: asOf(at)})
	if err != nil {
		return nil, err
	}
	d, err := pedigree.ParseDigest(resp.Header.Get("Pedigree-Digest"))
	if err != nil {
		_ = resp.Body.Close()
		return nil, pedigree.Errorf(pedigree.CodeUnavailable, "%s sends evidence %q without its digest", c.shown, name)
	}
	return &checkedBody{ReadCloser: resp.Body, h: pedigree.NewHasher(), want: d, what: name}, nil
}

// checkedBody is a body whose end says whether it was what it should be.
type checkedBody struct {
	io.ReadCloser
	h    *pedigree.Hasher
	want pedigree.Digest
	what string
}

func (b *checkedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	_, _ = b.h.Write(p[:n])
	if errors.Is(err, io.EOF) && b.h.Digest() != b.want {
		return n, wrongBytes(b.what, b.h.Digest(), b.want)
	}
	return n, err
}

func wrongBytes(what string, got, want pedigree.Digest) error {
	return pedigree.Errorf(pedigree.CodeCorrupt, "the bytes of %s that the server sent have digest %s, not %s", what, got, want).
		WithFix("pedigree verify says what else is damaged")
}

// VerifyVersion makes the server read the stored bytes of a version again and compare
// them with their digests. It returns one finding a file, the problems among them.
func (c *Client) VerifyVersion(ctx context.Context, ref pedigree.Reference, at pedigree.At) ([]pedigree.FileCheck, error) {
	out, err := ask[pedigree.List[pedigree.FileCheck]](ctx, c, request{method: http.MethodPost, path: c.versionPath(ref, "verify"), query: asOf(at), reads: true})
	return out.Items, err
}

// fileRequest asks for the bytes of a file from offset on.
func (c *Client) fileRequest(ref pedigree.Reference, f pedigree.File, offset int64, query url.Values) request {
	r := request{method: http.MethodGet, path: c.versionPath(ref, "files") + "/" + escapeRest(f.Path), query: query}
	if offset > 0 {
		r.header = http.Header{
			"Range":    {"bytes=" + strconv.FormatInt(offset, 10) + "-"},
			"If-Range": {`"` + string(f.Digest) + `"`},
		}
	}
	return r
}
