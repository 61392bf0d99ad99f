package httpx

import (
	"net/http"

	"github.com/pedigree-ml/pedigree"
)

// maxKey is the longest Idempotency-Key, in bytes.
const maxKey = 255

// Identify completes a caller with what the request says of itself: the server's id of
// it, and, for a change with an Idempotency-Key, the key and the fingerprint of what is
// asked for: method, path, query and body. It returns [pedigree.CodeInvalid] for a key
// that is none.
func Identify(p pedigree.Principal, r *http.Request, body []byte) (pedigree.Principal, error) {
	p.RequestID = InfoOf(r.Context()).ID
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		return p, nil
	}
	keys := r.Header.Values("Idempotency-Key")
	if len(keys) == 0 {
		return p, nil
	}
	if len(keys) > 1 || len(keys[0]) == 0 || len(keys[0]) > maxKey || !visible(keys[0]) {
		return p, invalid("the header Idempotency-Key is not one key of 1 to %d visible ASCII characters", maxKey)
	}
	h := pedigree.NewHasher()
	for _, part := range []string{r.Method, "\n", r.URL.EscapedPath(), "?", r.URL.RawQuery, "\n"} {
		_, _ = h.Write([]byte(part))
	}
	_, _ = h.Write(body)
	p.IdempotencyKey, p.Fingerprint = keys[0], h.Digest()
	return p, nil
}

func visible(s string) bool {
	for i := range len(s) {
		if s[i] < 0x21 || s[i] > 0x7e {
			return false
		}
	}
	return true
}
