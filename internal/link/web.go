package link

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"path"
	"strconv"
	"strings"

	"github.com/pedigree-ml/pedigree"
)

// maxRedirects is how many redirects are followed.
const maxRedirects = 5

var errRedirects = fmt.Errorf("it redirects more than %d times", maxRedirects)

// web reads an object of a web server.
func (r *reader) web(ctx context.Context) error {
	u, err := url.Parse(r.uri)
	if err != nil || u.Host == "" {
		return r.fail(pedigree.CodeInvalid, "it is not a web address").WithFix("write https://host/path")
	}
	w := &site{reader: r, user: u.User, client: *r.HTTP}
	u.User, u.Fragment = nil, ""
	w.url = u.String()
	w.client.CheckRedirect = checkRedirect
	var a answer
	if err := r.retry(ctx, func() error { a, err = w.ask(ctx); return err }); err != nil {
		return err
	}
	if a.page && !strings.HasPrefix(path.Ext(u.Path), ".htm") {
		r.note("the server sends a web page: look whether the link leads to the artifact itself")
	}
	r.info.Digest = a.digest
	if a.size >= 0 {
		r.info.Size = &a.size
	}
	switch {
	case r.Digest && !r.tooLarge(a.size):
		r.meter.start(a.size)
		if err := r.object(ctx, w.open); err != nil {
			return err
		}
	case !r.Digest && a.digest == "":
		r.note("no digest: the server states no sha256, and its bytes were not read")
	}
	if r.info.Size == nil {
		r.note("no size: the server does not say it")
	}
	return nil
}

// site is a web server that one object is read from.
type site struct {
	*reader
	client http.Client
	url    string // without user and fragment
	user   *url.Userinfo
	etag   string // of what is being hashed; strong, or ""
}

// answer is what a server says of an object.
type answer struct {
	size   int64 // -1 where it does not say
	digest pedigree.Digest
	page   bool // it is HTML
}

// checkRedirect keeps credentials on the server that they are for. A referrer is never
// sent on: it may hold a signature.
func checkRedirect(req *http.Request, via []*http.Request) error {
	if len(via) > maxRedirects {
		return errRedirects
	}
	req.Header.Del("Referer")
	if first := via[0].URL; req.URL.Host != first.Host || req.URL.Scheme != first.Scheme {
		req.Header.Del("Authorization")
	}
	return nil
}

// do sends a request. What comes back is as it is stored there: no transfer encoding
// is undone, for that would be other bytes with another digest.
func (w *site) do(ctx context.Context, method, byteRange string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, w.url, nil)
	if err != nil {
		return nil, w.fail(pedigree.CodeInvalid, "it is not a web address")
	}
	req.Header.Set("User-Agent", "pedigree")
	req.Header.Set("Accept-Encoding", "identity")
	if byteRange != "" {
		req.Header.Set("Range", byteRange)
		if w.etag != "" {
			req.Header.Set("If-Range", w.etag)
		}
	}
	if w.user != nil {
		password, _ := w.user.Password()
		req.SetBasicAuth(w.user.Username(), password)
	}
	resp, err := w.client.Do(req)
	if err == nil {
		return resp, nil
	}
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err // without the URL, which may hold a signature
	}
	if errors.Is(err, errRedirects) {
		return nil, w.fail(pedigree.CodeInvalid, "%w", err)
	}
	return nil, w.fail(pedigree.CodeUnavailable, "%w", reason(ctx, err))
}

// ask asks for size and digest by HEAD. A server may refuse that, as it must for a URL
// that is signed for GET, or say no size or a size of 0, which not all mean; then it is
// asked for the first byte.
func (w *site) ask(ctx context.Context) (answer, error) {
	ctx, _, stop := w.watch(ctx)
	defer stop()
	resp, err := w.do(ctx, http.MethodHead, "")
	if err != nil {
		return answer{}, err
	}
	_ = resp.Body.Close()
	if resp.StatusCode == http.StatusOK && resp.ContentLength > 0 {
		return answerOf(resp, resp.ContentLength), nil
	}
	if err := w.refusal(resp); pedigree.CodeOf(err) == pedigree.CodeUnavailable && resp.StatusCode != http.StatusNotImplemented {
		return answer{}, err
	}
	if resp, err = w.do(ctx, http.MethodGet, "bytes=0-0"); err != nil {
		return answer{}, err
	}
	_ = resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusOK:
		return answerOf(resp, resp.ContentLength), nil
	case http.StatusPartialContent, http.StatusRequestedRangeNotSatisfiable: // the latter of an empty object
		_, size := contentRange(resp.Header)
		return answerOf(resp, size), nil
	}
	return answer{}, w.refusal(resp)
}

// refusal is the error of a status that is not a success.
func (w *site) refusal(resp *http.Response) error {
	code := pedigree.CodeInvalid
	switch s := resp.StatusCode; {
	case s == http.StatusUnauthorized || s == http.StatusForbidden || s == http.StatusProxyAuthRequired:
		code = pedigree.CodeForbidden
	case s == http.StatusNotFound || s == http.StatusGone:
		code = pedigree.CodeNotFound
	case s == http.StatusRequestTimeout || s == http.StatusTooManyRequests || s >= 500:
		code = pedigree.CodeUnavailable
	}
	return w.fail(code, "the server answers %d %s", resp.StatusCode, http.StatusText(resp.StatusCode))
}

// open opens the bytes. It goes on at offset only where the server can prove, by a
// strong tag, that they are still the same.
func (w *site) open(ctx context.Context, offset int64) (io.ReadCloser, int64, error) {
	byteRange := ""
	if offset > 0 && w.etag != "" {
		byteRange = fmt.Sprintf("bytes=%d-", offset)
	}
	resp, err := w.do(ctx, http.MethodGet, byteRange)
	if err != nil {
		return nil, 0, err
	}
	switch resp.StatusCode {
	case http.StatusOK:
		w.etag = strongTag(resp.Header)
		return resp.Body, 0, nil
	case http.StatusPartialContent:
		if start, _ := contentRange(resp.Header); byteRange != "" && start == offset {
			return resp.Body, start, nil
		}
		_ = resp.Body.Close()
		w.etag = "" // the second try begins anew
		return nil, 0, w.fail(pedigree.CodeUnavailable, "the server sends another part than it was asked for")
	}
	_ = resp.Body.Close()
	return nil, 0, w.refusal(resp)
}

func answerOf(resp *http.Response, size int64) answer {
	media, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	return answer{size: size, digest: statedDigest(resp.Header), page: media == "text/html"}
}

// strongTag returns the ETag, or "" when it is weak: two objects may share such a one.
func strongTag(h http.Header) string {
	if tag := h.Get("ETag"); strings.HasPrefix(tag, `"`) {
		return tag
	}
	return ""
}

// contentRange reads "bytes 0-0/1234" and "bytes */0"; what is not there is -1.
func contentRange(h http.Header) (start, size int64) {
	part, whole, _ := strings.Cut(strings.TrimPrefix(h.Get("Content-Range"), "bytes "), "/")
	first, _, _ := strings.Cut(part, "-")
	return number(first), number(whole)
}

func number(s string) int64 {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 {
		return -1
	}
	return n
}

// statedDigest is the sha256 that a server states: "Repr-Digest: sha-256=:…:" of
// RFC 9530, or "Digest: SHA-256=…" of RFC 3230, which it replaces.
func statedDigest(h http.Header) pedigree.Digest {
	for _, name := range []string{"Repr-Digest", "Digest"} {
		for _, field := range strings.Split(strings.Join(h.Values(name), ","), ",") {
			algorithm, value, _ := strings.Cut(strings.TrimSpace(field), "=")
			if !strings.EqualFold(algorithm, "sha-256") {
				continue
			}
			value, _, _ = strings.Cut(value, ";")
			if d := digestOf(strings.Trim(value, ": ")); d != "" {
				return d
			}
		}
	}
	return ""
}

// digestOf returns the digest that is written in base64, or "".
func digestOf(b64 string) pedigree.Digest {
	sum, err := base64.StdEncoding.DecodeString(b64)
	if err != nil {
		return ""
	}
	d, err := pedigree.ParseDigest("sha256:" + hex.EncodeToString(sum))
	if err != nil {
		return ""
	}
	return d
}
