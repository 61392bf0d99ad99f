package pedigree

import (
	"errors"
	"fmt"
)

// ErrorCode classifies an [Error] by what the caller can do about it. Codes travel on
// the wire, so that the SDK returns the same error that the server decided on.
type ErrorCode string

// The codes. Their HTTP statuses stand in one table, in internal/httpx.
const (
	CodeInvalid         ErrorCode = "invalid"         // the request can never succeed as it is
	CodeUnauthenticated ErrorCode = "unauthenticated" // say who you are
	CodeForbidden       ErrorCode = "forbidden"       // this caller may not
	CodeNotFound        ErrorCode = "not_found"       // no such thing, or none visible to this caller
	CodeExists          ErrorCode = "exists"          // the name is taken
	CodeConflict        ErrorCode = "conflict"        // somebody else was faster; look and try again
	CodePrecondition    ErrorCode = "precondition"    // a condition that the caller named does not hold
	CodeRefused         ErrorCode = "refused"         // a rule of the registry says no
	CodeGone            ErrorCode = "gone"            // it was here; its bytes or fields were erased
	CodeTooLarge        ErrorCode = "too_large"       // over a documented limit
	CodeUnavailable     ErrorCode = "unavailable"     // an outage: the same request may succeed later
	CodeNotRecorded     ErrorCode = "not_recorded"    // asked about a moment before the record began
	CodeCorrupt         ErrorCode = "corrupt"         // stored or received bytes are not what their digest says
	CodeUnsupported     ErrorCode = "unsupported"     // not offered here
	CodeInternal        ErrorCode = "internal"        // a defect or an unclassified failure; details are in the server's log
)

// Error is the one error type that a caller can act on. Everything else is
// wrapped with %w and reaches users as [CodeInternal] with a fixed text.
type Error struct {
	// Code says what kind of failure this is.
	Code ErrorCode `json:"code"`
	// Message says what was wrong, with what value, and what would be right.
	Message string `json:"message"`
	// Fix is what to do next: mostly a command line. Optional.
	Fix string `json:"fix,omitempty"`
	// Current is what stands there now, for a lost race: "fraud@production is fraud/8".
	Current string `json:"current,omitempty"`
	// Err is the cause; it is logged and never sent.
	Err error `json:"-"`
}

// Error implements error: message, then fix.
func (e *Error) Error() string {
	if e.Fix == "" {
		return e.Message
	}
	return e.Message + "; " + e.Fix
}

// Unwrap returns the cause, if any.
func (e *Error) Unwrap() error { return e.Err }

// WithFix returns a copy of e that says what to do next.
func (e *Error) WithFix(format string, args ...any) *Error {
	c := *e
	c.Fix = fmt.Sprintf(format, args...)
	return &c
}

// Errorf makes an [Error]. A %w verb keeps its operand as the cause.
func Errorf(code ErrorCode, format string, args ...any) *Error {
	err := fmt.Errorf(format, args...)
	return &Error{Code: code, Message: err.Error(), Err: errors.Unwrap(err)}
}

// CodeOf returns the code of the first [Error] in err's chain, [CodeInternal]
// for any other error, and "" for nil.
func CodeOf(err error) ErrorCode {
	if err == nil {
		return ""
	}
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return CodeInternal
}
