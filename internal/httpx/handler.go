package httpx

import "net/http"

// Handler is a handler that returns what went wrong instead of writing it.
type Handler func(w http.ResponseWriter, r *http.Request) error

// ServeHTTP implements [http.Handler]. An error becomes a problem document; where the
// answer has begun already, the connection is cut, so that nobody takes a part of an
// answer for the whole.
func (h Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	err := h(w, r)
	if err == nil {
		return
	}
	info := InfoOf(r.Context())
	if info.began {
		info.Err = err
		panic(http.ErrAbortHandler)
	}
	WriteError(w, r, err)
}
