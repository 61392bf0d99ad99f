package httpx

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"

	"github.com/pedigree-ml/pedigree"
)

// Problem is the wire form of an error: a problem document with members of our own.
type Problem struct {
	// Type is a stable URI reference, "/problems/CODE".
	Type string `json:"type" doc:"Stable URI reference of this kind of problem." example:"/problems/not_found"`
	// Title is the same for every problem of a type.
	Title  string `json:"title" example:"Not found"`
	Status int    `json:"status" example:"404"`
	// Detail says what was wrong, with what value, and what would be right.
	Detail string             `json:"detail" example:"there is no model fruad in project default"`
	Code   pedigree.ErrorCode `json:"code" doc:"What a caller can do about it." example:"not_found"`
	// Fix is what to do next: mostly a command line.
	Fix string `json:"fix,omitempty" doc:"What to do next." example:"did you mean fraud?"`
	// Current is what stands there now, for a lost race.
	Current string `json:"current,omitempty" doc:"What stands there now, for a lost race."`
	// RequestID finds the request in the server's log.
	RequestID string `json:"request_id,omitempty" doc:"Finds the request in the server's log."`
}

// kinds is the one table from codes to statuses.
var kinds = map[pedigree.ErrorCode]struct {
	status int
	title  string
}{
	pedigree.CodeInvalid:         {http.StatusBadRequest, "Invalid request"},
	pedigree.CodeUnauthenticated: {http.StatusUnauthorized, "Not signed in"},
	pedigree.CodeForbidden:       {http.StatusForbidden, "Not allowed"},
	pedigree.CodeNotFound:        {http.StatusNotFound, "Not found"},
	pedigree.CodeExists:          {http.StatusConflict, "Exists already"},
	pedigree.CodeConflict:        {http.StatusConflict, "Conflict"},
	pedigree.CodePrecondition:    {http.StatusPreconditionFailed, "Precondition failed"},
	pedigree.CodeRefused:         {http.StatusUnprocessableEntity, "Refused by a rule"},
	pedigree.CodeGone:            {http.StatusGone, "Gone"},
	pedigree.CodeTooLarge:        {http.StatusRequestEntityTooLarge, "Too large"},
	pedigree.CodeUnavailable:     {http.StatusServiceUnavailable, "Not available now"},
	pedigree.CodeNotRecorded:     {http.StatusNotFound, "Not recorded"},
	pedigree.CodeCorrupt:         {http.StatusUnprocessableEntity, "Bytes are not what they should be"},
	pedigree.CodeUnsupported:     {http.StatusUnprocessableEntity, "Not offered here"},
	pedigree.CodeInternal:        {http.StatusInternalServerError, "Server error"},
}

// Status is the HTTP status of an error by its code; 500 for one without.
func Status(err error) int {
	if k, ok := kinds[classify(err).Code]; ok {
		return k.status
	}
	return http.StatusInternalServerError
}

// internalDetail is all that a caller learns of an unexpected failure.
const internalDetail = "the server failed to answer; its log says why, under this request's id"

// classify makes an [pedigree.Error] of any error. Of one without a code, only its
// kind is told.
func classify(err error) *pedigree.Error {
	var own *pedigree.Error
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return pedigree.Errorf(pedigree.CodeTooLarge, "the body has more than %d bytes", tooLarge.Limit)
	case errors.As(err, &own) && own.Code != pedigree.CodeInternal:
		return own
	case errors.Is(err, context.Canceled):
		return pedigree.Errorf(pedigree.CodeInvalid, "the client went away")
	case errors.Is(err, context.DeadlineExceeded):
		return pedigree.Errorf(pedigree.CodeUnavailable, "the answer took longer than the time limit")
	}
	return &pedigree.Error{Code: pedigree.CodeInternal, Message: internalDetail}
}

// ProblemOf is the problem document of an error, without a request's id.
func ProblemOf(err error) Problem {
	e := classify(err)
	k, ok := kinds[e.Code]
	if !ok {
		e = &pedigree.Error{Code: pedigree.CodeInternal, Message: internalDetail}
		k = kinds[e.Code]
	}
	return Problem{
		Type: "/problems/" + string(e.Code), Title: k.title, Status: k.status,
		Detail: e.Message, Code: e.Code, Fix: e.Fix, Current: e.Current,
	}
}

// WriteError answers with the problem document of err and notes err for the log. It
// does nothing to an answer that has begun.
func WriteError(w http.ResponseWriter, r *http.Request, err error) {
	writeProblem(w, r, ProblemOf(err), err)
}

func writeProblem(w http.ResponseWriter, r *http.Request, p Problem, err error) {
	info := InfoOf(r.Context())
	info.Err = err
	if info.began {
		return
	}
	p.RequestID = info.ID
	h := w.Header()
	for _, name := range []string{"Etag", "Last-Modified", "Content-Encoding", "Content-Disposition", "Accept-Ranges", "Cache-Control"} {
		h.Del(name)
	}
	h.Set("Content-Type", "application/problem+json")
	h.Set("X-Content-Type-Options", "nosniff")
	if p.Status == http.StatusServiceUnavailable {
		h.Set("Retry-After", "1")
	}
	if p.Status == http.StatusUnauthorized {
		h.Set("WWW-Authenticate", "Bearer")
	}
	body, marshalErr := marshal(p)
	if marshalErr != nil { // a problem holds texts and a number: this can't be
		body = []byte("{}\n")
	}
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(p.Status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(body)
	}
}

// NotFound answers a path that is none of ours.
func NotFound(w http.ResponseWriter, r *http.Request) {
	WriteError(w, r, pedigree.Errorf(pedigree.CodeNotFound, "there is nothing at %s", clip(r.URL.Path)).WithFix("/api/v1/openapi.json lists what there is"))
}

// NotAllowed answers a method that a path does not have; allow lists those it has.
func NotAllowed(w http.ResponseWriter, r *http.Request, allow string) {
	w.Header().Set("Allow", allow)
	err := pedigree.Errorf(pedigree.CodeInvalid, "%s is not a method of %s", clip(r.Method), clip(r.URL.Path)).WithFix("it has %s", allow)
	p := ProblemOf(err)
	p.Status, p.Title = http.StatusMethodNotAllowed, "Method not allowed"
	writeProblem(w, r, p, err)
}

// clip shortens a text from outside for a message.
func clip(s string) string {
	const most = 80
	if len(s) > most {
		return strings.ToValidUTF8(s[:most], "") + "…"
	}
	return toValid(s)
}
