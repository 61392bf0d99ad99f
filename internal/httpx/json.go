package httpx

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/pedigree-ml/pedigree"
)

// MaxBody is the most bytes of a JSON body: a record of [pedigree.MaxRecord] and what
// goes with it.
const MaxBody = pedigree.MaxRecord + pedigree.MaxFileTable + 1<<19

// buffers keeps idle buffers for bodies and answers.
var buffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// maxKept is the largest buffer that is kept.
const maxKept = 256 << 10

func putBuffer(b *bytes.Buffer) {
	if b.Cap() <= maxKept {
		b.Reset()
		buffers.Put(b)
	}
}

// ReadBody reads a body of at most limit bytes. It returns [pedigree.CodeTooLarge], and
// [pedigree.CodeInvalid] where the client breaks off.
func ReadBody(w http.ResponseWriter, r *http.Request, limit int64) ([]byte, error) {
	if r.ContentLength > limit {
		return nil, pedigree.Errorf(pedigree.CodeTooLarge, "the body has %d bytes, the limit is %d", r.ContentLength, limit).
			WithFix("attach long texts as evidence files")
	}
	var b bytes.Buffer
	if r.ContentLength > 0 {
		b.Grow(int(r.ContentLength) + bytes.MinRead)
	}
	_, err := b.ReadFrom(http.MaxBytesReader(w, r.Body, limit))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return nil, pedigree.Errorf(pedigree.CodeTooLarge, "the body has more than %d bytes", limit).WithFix("attach long texts as evidence files")
	case err != nil:
		return nil, pedigree.Errorf(pedigree.CodeInvalid, "the body broke off after %d bytes: %w", b.Len(), err)
	}
	return b.Bytes(), nil
}

// Decode reads a body as JSON into v, which points to a struct. Nothing is guessed:
// unknown fields, a wrong type, a second value, text that is not UTF-8, a NUL and an
// empty body are [pedigree.CodeInvalid], with the place. An error of a type's own
// parser comes back as it is.
func Decode(body []byte, v any) error {
	if err := CheckText(body); err != nil {
		return err
	}
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		return decodeError(err, body)
	}
	end := dec.InputOffset()
	if _, err := dec.Token(); err != io.EOF {
		return invalid("the body goes on after its JSON value, which ends at byte %d", end)
	}
	return nil
}

func invalid(format string, args ...any) *pedigree.Error {
	return pedigree.Errorf(pedigree.CodeInvalid, format, args...)
}

func decodeError(err error, body []byte) error {
	var own *pedigree.Error
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &own) && own.Code != pedigree.CodeInternal:
		return own
	case errors.Is(err, io.EOF) && len(bytes.TrimSpace(body)) == 0:
		return invalid("the body is empty; it should be a JSON object")
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return invalid("the body ends inside its JSON value")
	case errors.As(err, &syntax):
		return invalid("the body is not JSON: %s, at byte %d", toValid(syntax.Error()), syntax.Offset)
	case errors.As(err, &kind) && kind.Field != "":
		return invalid("field %s: got %s, want %s, at byte %d", clip(kind.Field), valueName(kind.Value), kindName(kind), kind.Offset)
	case errors.As(err, &kind):
		return invalid("the body is %s, want %s", valueName(kind.Value), kindName(kind))
	}
	return invalid("the body can't be read: %s", clip(strings.TrimPrefix(err.Error(), "json: ")))
}

// valueName is encoding/json's word for a value, as kindName has it for a type.
func valueName(value string) string {
	switch value {
	case "string":
		return "a string"
	case "array":
		return "a list"
	case "object":
		return "an object"
	case "bool":
		return "true or false"
	case "number":
		return "a number"
	}
	return clip(value) // "number 1.5"
}

// kindName is a Go type in the words of JSON.
func kindName(e *json.UnmarshalTypeError) string {
	switch e.Type.Kind().String() {
	case "string":
		return "a string"
	case "bool":
		return "true or false"
	case "slice", "array":
		return "a list"
	case "map", "struct", "ptr":
		return "an object"
	}
	if strings.HasPrefix(e.Type.Kind().String(), "float") {
		return "a number"
	}
	return "a whole number"
}

// CheckText refuses what a JSON parser would mend quietly: text that is not UTF-8, and
// halves of surrogate pairs; and NUL, which no database column takes. It returns
// [pedigree.CodeInvalid] with the place.
func CheckText(body []byte) error {
	if !utf8.Valid(body) {
		return invalid("the body is not valid UTF-8")
	}
	for i := bytes.IndexByte(body, '\\'); i >= 0 && i+1 < len(body); {
		step := 2
		if body[i+1] == 'u' {
			r := hex4(body[i+2:])
			switch {
			case r == 0:
				return invalid("the body holds a NUL character, at byte %d", i)
			case r >= 0xdc00 && r <= 0xdfff:
				return invalid("the body holds half of a surrogate pair, at byte %d", i)
			case r >= 0xd800 && r <= 0xdbff:
				rest := body[i+6:]
				if low := hex4Escape(rest); low < 0xdc00 || low > 0xdfff {
					return invalid("the body holds half of a surrogate pair, at byte %d", i)
				}
				step = 12
			case r > 0:
				step = 6
			}
		}
		next := bytes.IndexByte(body[i+step:], '\\')
		if next < 0 {
			break
		}
		i += step + next
	}
	return nil
}

// hex4 reads four hexadecimal digits, -1 where they are none.
func hex4(b []byte) int64 {
	if len(b) < 4 {
		return -1
	}
	n, err := strconv.ParseUint(string(b[:4]), 16, 16)
	if err != nil {
		return -1
	}
	return int64(n)
}

func hex4Escape(b []byte) int64 {
	if len(b) < 6 || b[0] != '\\' || b[1] != 'u' {
		return -1
	}
	return hex4(b[2:])
}

// toValid makes a text fit for an answer.
func toValid(s string) string { return strings.ToValidUTF8(s, "�") }

// marshal writes v as JSON and a newline, without HTML escaping: the entries of the log
// carry texts that must arrive as they were hashed.
func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err := enc.Encode(v)
	return b.Bytes(), err
}

// contentJSON is shared by all answers; nobody changes it.
var (
	contentJSON = []string{"application/json"}
	noSniff     = []string{"nosniff"}
)

// WriteJSON answers with v as JSON.
func WriteJSON(w http.ResponseWriter, status int, v any) error {
	b := buffers.Get().(*bytes.Buffer)
	defer putBuffer(b)
	enc := json.NewEncoder(b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return err
	}
	WriteRaw(w, status, b.Bytes())
	return nil
}

// WriteTagged answers a GET with v as JSON and an entity tag of changed and the text
// itself, or with 304 where the caller has just that. For other methods it is
// [WriteJSON] with the tag.
func WriteTagged(w http.ResponseWriter, r *http.Request, status int, changed int64, v any) error {
	b := buffers.Get().(*bytes.Buffer)
	defer putBuffer(b)
	enc := json.NewEncoder(b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return err
	}
	tag := ETag(changed, b.Bytes())
	w.Header()["Etag"] = []string{tag}
	if (r.Method == http.MethodGet || r.Method == http.MethodHead) && matchesNone(r.Header.Values("If-None-Match"), tag) {
		w.WriteHeader(http.StatusNotModified)
		return nil
	}
	WriteRaw(w, status, b.Bytes())
	return nil
}

// WriteRaw answers with a JSON text.
func WriteRaw(w http.ResponseWriter, status int, body []byte) {
	h := w.Header()
	h["Content-Type"] = contentJSON
	h["X-Content-Type-Options"] = noSniff
	h["Content-Length"] = []string{strconv.Itoa(len(body))}
	w.WriteHeader(status)
	_, _ = w.Write(body)
}
