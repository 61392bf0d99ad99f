package httpx

import (
	"net/http"
	"strconv"
	"strings"

	"github.com/pedigree-ml/pedigree"
)

// ETag is the entity tag of an answer about something whose last change was the event
// changed: that number, and a few digits of the digest of the answer's text. The number
// is what If-Match compares. The digits are there for If-None-Match: an answer also
// shows what is decided elsewhere, such as the aliases that name a version.
func ETag(changed int64, body []byte) string {
	return `"` + strconv.FormatInt(changed, 10) + "-" + pedigree.DigestBytes(body).Short() + `"`
}

// IfMatch reads the header If-Match of a change: the Changed that the caller has seen,
// or nil where it names none or "*". It takes "17" and "17-0a1b2c3d4e5f". It returns
// [pedigree.CodeInvalid] for anything else.
func IfMatch(r *http.Request) (*int64, error) {
	values := r.Header.Values("If-Match")
	if len(values) == 0 || len(values) == 1 && strings.TrimSpace(values[0]) == "*" {
		return nil, nil
	}
	text := strings.TrimSpace(strings.Join(values, ","))
	inner, ok := strings.CutPrefix(text, `"`)
	if ok {
		inner, ok = strings.CutSuffix(inner, `"`)
	}
	digits, _, _ := strings.Cut(inner, "-")
	n, err := strconv.ParseInt(digits, 10, 64)
	if !ok || err != nil || n < 0 {
		return nil, invalid("the header If-Match is %s", strconv.Quote(clip(text))).
			WithFix(`send one entity tag as an answer had it in ETag, or its number: "17"`)
	}
	return &n, nil
}

// matchesNone says whether one of the tags of If-None-Match is tag.
func matchesNone(values []string, tag string) bool {
	for _, v := range values {
		for _, candidate := range strings.Split(v, ",") {
			candidate = strings.TrimPrefix(strings.TrimSpace(candidate), "W/")
			if candidate == tag || candidate == "*" {
				return true
			}
		}
	}
	return false
}

// SetAsOf says in the header Pedigree-As-Of which event is the last that the answer
// takes into account.
func SetAsOf(w http.ResponseWriter, seq int64) {
	w.Header()["Pedigree-As-Of"] = []string{strconv.FormatInt(seq, 10)}
}
