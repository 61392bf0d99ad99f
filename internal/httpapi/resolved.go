package httpapi

import (
	"bytes"
	"encoding/json"
	"strconv"

	"github.com/pedigree-ml/pedigree"
)

// appendResolved writes r as encoding/json does, for a third of the time: it is the
// answer that is asked for most.
func appendResolved(b []byte, r *pedigree.Resolved) ([]byte, error) {
	var err error
	for _, f := range [...]struct{ before, text string }{
		{`{"project":`, string(r.Project)}, {`,"model":`, string(r.Model)}, {`,"model_id":`, r.ModelID},
	} {
		if b, err = appendString(append(b, f.before...), f.text); err != nil {
			return nil, err
		}
	}
	b = strconv.AppendInt(append(b, `,"version":`...), int64(r.Number), 10)
	if b, err = appendString(append(b, `,"kind":`...), string(r.Kind)); err != nil {
		return nil, err
	}
	if r.Digest != "" {
		if b, err = appendString(append(b, `,"digest":`...), string(r.Digest)); err != nil {
			return nil, err
		}
	}
	b = strconv.AppendInt(append(b, `,"as_of":`...), r.AsOf, 10)
	return append(b, '}', '\n'), nil
}

// appendString writes a text; one that needs no escapes, as nearly all, is copied.
func appendString(b []byte, s string) ([]byte, error) {
	for i := range len(s) {
		if s[i] < 0x20 || s[i] > 0x7e || s[i] == '"' || s[i] == '\\' {
			var text bytes.Buffer
			enc := json.NewEncoder(&text)
			enc.SetEscapeHTML(false)
			err := enc.Encode(s)
			return append(b, bytes.TrimSuffix(text.Bytes(), []byte("\n"))...), err
		}
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"'), nil
}
