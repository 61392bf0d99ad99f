package registrar

import (
	"encoding/base64"
	"encoding/json"

	"github.com/pedigree-ml/pedigree"
)

// encodeCursor makes the opaque text from which the next page goes on.
func encodeCursor(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic("registrar: cursor: " + err.Error())
	}
	return base64.RawURLEncoding.EncodeToString(b)
}

// decodeCursor reads what encodeCursor made; "" leaves v as it is. It returns
// [pedigree.CodeInvalid].
func decodeCursor(s string, v any) error {
	if s == "" {
		return nil
	}
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err == nil {
		err = json.Unmarshal(b, v)
	}
	if err != nil {
		return pedigree.Errorf(pedigree.CodeInvalid, "the page cursor is not one that this registry gave out").WithFix("begin again without a cursor")
	}
	return nil
}
