package mlflow

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/internal/httpx"
)

// wireError is an error as MLflow's clients see it: a code of MLflow's and a message.
type wireError struct {
	status  int
	code    string
	message string
}

func (e *wireError) Error() string { return e.code + ": " + e.message }

// invalid is MLflow's INVALID_PARAMETER_VALUE.
func invalid(format string, args ...any) error {
	return &wireError{http.StatusBadRequest, "INVALID_PARAMETER_VALUE", fmt.Sprintf(format, args...)}
}

// notFound is MLflow's RESOURCE_DOES_NOT_EXIST.
func notFound(format string, args ...any) error {
	return &wireError{http.StatusNotFound, "RESOURCE_DOES_NOT_EXIST", fmt.Sprintf(format, args...)}
}

// exists is MLflow's RESOURCE_ALREADY_EXISTS, whose status is 400.
func exists(format string, args ...any) error {
	return &wireError{http.StatusBadRequest, "RESOURCE_ALREADY_EXISTS", fmt.Sprintf(format, args...)}
}

// kinds is the table from our codes to MLflow's. A client of MLflow tries again on 408,
// 429, 500, 502, 503 and 504: only what may succeed later has one of these.
var kinds = map[pedigree.ErrorCode]struct {
	status int
	code   string
}{
	pedigree.CodeInvalid:         {http.StatusBadRequest, "INVALID_PARAMETER_VALUE"},
	pedigree.CodeUnauthenticated: {http.StatusUnauthorized, "UNAUTHENTICATED"},
	pedigree.CodeForbidden:       {http.StatusForbidden, "PERMISSION_DENIED"},
	pedigree.CodeNotFound:        {http.StatusNotFound, "RESOURCE_DOES_NOT_EXIST"},
	pedigree.CodeExists:          {http.StatusBadRequest, "RESOURCE_ALREADY_EXISTS"},
	pedigree.CodeConflict:        {http.StatusConflict, "RESOURCE_CONFLICT"},
	pedigree.CodePrecondition:    {http.StatusConflict, "RESOURCE_CONFLICT"},
	pedigree.CodeRefused:         {http.StatusForbidden, "PERMISSION_DENIED"},
	pedigree.CodeGone:            {http.StatusNotFound, "RESOURCE_DOES_NOT_EXIST"},
	pedigree.CodeTooLarge:        {http.StatusRequestEntityTooLarge, "INVALID_PARAMETER_VALUE"},
	pedigree.CodeUnavailable:     {http.StatusServiceUnavailable, "TEMPORARILY_UNAVAILABLE"},
	pedigree.CodeNotRecorded:     {http.StatusNotFound, "RESOURCE_DOES_NOT_EXIST"},
	pedigree.CodeCorrupt:         {http.StatusBadRequest, "BAD_REQUEST"},
	pedigree.CodeUnsupported:     {http.StatusBadRequest, "BAD_REQUEST"},
	pedigree.CodeInternal:        {http.StatusInternalServerError, "INTERNAL_ERROR"},
}

// internalMessage is all that a caller learns of an unexpected failure.
const internalMessage = "the server failed to answer; its log says why, under this request's id"

// classify makes MLflow's error of any error. Of one without a code, only its kind is
// told.
func classify(err error) *wireError {
	var wire *wireError
	var own *pedigree.Error
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &wire):
		return wire
	case errors.As(err, &tooLarge):
		own = pedigree.Errorf(pedigree.CodeTooLarge, "the body has more than %d bytes", tooLarge.Limit)
	case errors.As(err, &own):
	case errors.Is(err, context.Canceled):
		own = pedigree.Errorf(pedigree.CodeInvalid, "the client went away")
	case errors.Is(err, context.DeadlineExceeded):
		own = pedigree.Errorf(pedigree.CodeUnavailable, "the answer took longer than the time limit")
	}
	if own == nil || own.Code == pedigree.CodeInternal {
		return &wireError{http.StatusInternalServerError, "INTERNAL_ERROR", internalMessage}
	}
	k, ok := kinds[own.Code]
	if !ok {
		return &wireError{http.StatusInternalServerError, "INTERNAL_ERROR", internalMessage}
	}
	return &wireError{k.status, k.code, own.Error()}
}

// errorBody is MLflow's error document. Newer servers add members of which clients read
// none.
type errorBody struct {
	Code    string `json:"error_code"`
	Message string `json:"message"`
}

// WriteError answers with err in MLflow's shape and notes it for the log. It does nothing
// to an answer that has begun.
func WriteError(w http.ResponseWriter, r *http.Request, err error) {
	info := httpx.InfoOf(r.Context())
	info.Err = err
	if info.Began() {
		return
	}
	if bad := guardPath(r); bad != nil { // whoever refused it did not know why MLflow does
		err = bad
	}
	e := classify(err)
	h := w.Header()
	for _, name := range []string{"Etag", "Last-Modified", "Content-Encoding", "Content-Disposition", "Accept-Ranges", "Cache-Control"} {
		h.Del(name)
	}
	if e.status == http.StatusServiceUnavailable {
		h.Set("Retry-After", "1")
	}
	if e.status == http.StatusUnauthorized {
		h.Set("WWW-Authenticate", `Basic realm="mlflow"`)
	}
	_ = httpx.WriteJSON(w, e.status, errorBody{e.code, strings.ToValidUTF8(e.message, "�")}) // two texts always marshal
}

// handler is a handler that returns what went wrong instead of writing it.
type handler func(w http.ResponseWriter, r *http.Request) error

// ServeHTTP implements [http.Handler]. Where the answer has begun already, the connection
// is cut, so that nobody takes a part of an answer for the whole.
func (h handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	err := h(w, r)
	if err == nil {
		return
	}
	info := httpx.InfoOf(r.Context())
	if info.Began() {
		info.Err = err
		panic(http.ErrAbortHandler)
	}
	WriteError(w, r, err)
}

// clip shortens a text from outside for a message.
func clip(s string) string {
	const most = 200
	if len(s) > most {
		return strings.ToValidUTF8(s[:most], "") + "…"
	}
	return strings.ToValidUTF8(s, "�")
}
