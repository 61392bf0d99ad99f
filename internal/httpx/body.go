package httpx

import (
	"errors"
	"io"
	"net/http"

	"github.com/pedigree-ml/pedigree"
)

// Upload is the body of a request whose bytes are stored. A client that goes away in
// the middle makes its Read return [pedigree.CodeInvalid]: not the end, and not a
// failure of the server.
func Upload(r *http.Request) io.Reader { return &upload{r: r.Body} }

// UploadUpTo is [Upload] of a body of at most limit bytes: its Read returns
// [pedigree.CodeTooLarge] beyond them. Where the request says that it has more, so does
// UploadUpTo, before anything is read.
func UploadUpTo(w http.ResponseWriter, r *http.Request, limit int64) (io.Reader, error) {
	if r.ContentLength > limit {
		return nil, pedigree.Errorf(pedigree.CodeTooLarge, "the body has %d bytes, the limit is %d", r.ContentLength, limit)
	}
	return &upload{r: http.MaxBytesReader(w, r.Body, limit)}, nil
}

type upload struct {
	r io.Reader
	n int64
}

// Read implements [io.Reader].
func (u *upload) Read(p []byte) (int, error) {
	n, err := u.r.Read(p)
	u.n += int64(n)
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		err = pedigree.Errorf(pedigree.CodeTooLarge, "the body has more than %d bytes", tooLarge.Limit)
	case err != nil && err != io.EOF:
		// Not wrapped: whoever reads on must not take it for the end of the bytes.
		err = pedigree.Errorf(pedigree.CodeInvalid, "the upload broke off after %d bytes: %v", u.n, err).WithFix("send it again")
	}
	return n, err
}
