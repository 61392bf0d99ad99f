package httpx

import (
	"io"
	"net/http"

	"github.com/pedigree-ml/pedigree"
)

// Upload is the body of a request whose bytes are stored. A client that goes away in
// the middle makes its Read return [pedigree.CodeInvalid]: not the end, and not a
// failure of the server.
func Upload(r *http.Request) io.Reader { return &upload{r: r.Body} }

type upload struct {
	r io.Reader
	n int64
}

// Read implements [io.Reader].
func (u *upload) Read(p []byte) (int, error) {
	n, err := u.r.Read(p)
	u.n += int64(n)
	if err != nil && err != io.EOF {
		// Not wrapped: whoever reads on must not take it for the end of the bytes.
		err = pedigree.Errorf(pedigree.CodeInvalid, "the upload broke off after %d bytes: %v", u.n, err).WithFix("send it again")
	}
	return n, err
}
