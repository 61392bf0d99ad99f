package httpx

import (
	"io"
	"net/http"
	"time"

	"github.com/pedigree-ml/pedigree"
)

// ServeContent answers with the bytes of content, or the ranges of them that are asked
// for; etag is their entity tag with its quotes. The bytes are whatever somebody once
// uploaded, so that no browser may run them under this origin.
func ServeContent(w http.ResponseWriter, r *http.Request, mediaType, etag string, content io.ReadSeeker) {
	h := w.Header()
	h.Set("Content-Type", mediaType)
	h["X-Content-Type-Options"] = noSniff
	h.Set("Content-Security-Policy", "sandbox; default-src 'none'")
	h["Etag"] = []string{etag}
	if r.Header.Get("Range") != "" || r.Header.Get("If-Match") != "" {
		w = &contentWriter{ResponseWriter: w, r: r}
	}
	http.ServeContent(w, r, "", time.Time{}, content)
}

// contentWriter makes problem documents of what net/http refuses in plain text.
type contentWriter struct {
	http.ResponseWriter
	r       *http.Request
	refused bool
}

func (c *contentWriter) WriteHeader(status int) {
	var err *pedigree.Error
	switch status {
	case http.StatusRequestedRangeNotSatisfiable:
		err = invalid("the range %s is not one of these bytes", clip(c.r.Header.Get("Range")))
	case http.StatusPreconditionFailed:
		err = pedigree.Errorf(pedigree.CodePrecondition, "the bytes have another entity tag: %s", c.Header().Get("Etag"))
	default:
		c.ResponseWriter.WriteHeader(status)
		return
	}
	c.refused = true
	p := ProblemOf(err)
	p.Status = status
	writeProblem(c.ResponseWriter, c.r, p, err)
}

func (c *contentWriter) Write(p []byte) (int, error) {
	if c.refused {
		return len(p), nil
	}
	return c.ResponseWriter.Write(p)
}

// ReadFrom is for sendfile, as in exchange.
func (c *contentWriter) ReadFrom(r io.Reader) (int64, error) {
	return io.Copy(c.ResponseWriter, r)
}
