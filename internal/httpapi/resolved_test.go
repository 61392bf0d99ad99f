package httpapi

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/pedigree-ml/pedigree"
)

// TestAppendResolved compares the short way with the long one.
func TestAppendResolved(t *testing.T) {
	for _, name := range []pedigree.Name{"fraud", `a"b\c`, "größe <&> €\u2028", "\x7f", "😀"} {
		for _, r := range []pedigree.Resolved{
			{Project: "default", Model: name, ModelID: "mdl_1", Number: 7, Kind: pedigree.ArtifactStored, Digest: pedigree.DigestBytes(nil), AsOf: 4711},
			{Project: "risk", Model: name, ModelID: "mdl_2", Number: 1, Kind: pedigree.ArtifactNone},
		} {
			var want bytes.Buffer
			enc := json.NewEncoder(&want)
			enc.SetEscapeHTML(false)
			if err := enc.Encode(r); err != nil {
				t.Fatal(err)
			}
			got, err := appendResolved(nil, &r)
			if err != nil || string(got) != want.String() {
				t.Errorf("got %s, want %s (%v)", got, want.String(), err)
			}
		}
	}
}

func TestOfModel(t *testing.T) {
	for filter, want := range map[string]string{
		"":                                `model = 'it''s "x"'`,
		"owner = 'a'":                     `model = 'it''s "x"' AND owner = 'a'`,
		"owner = 'a' OR owner = 'b'":      `model = 'it''s "x"' AND (owner = 'a' OR owner = 'b')`,
		"owner = 'a' AND owner = 'b'":     `model = 'it''s "x"' AND owner = 'a' AND owner = 'b'`,
		"NOT (owner = 'a' AND owner='b')": `model = 'it''s "x"' AND NOT (owner = 'a' AND owner = 'b')`,
	} {
		got, err := ofModel(`it's "x"`, filter)
		if err != nil || got != want {
			t.Errorf("%s: got %s, want %s (%v)", filter, got, want, err)
		}
	}
	for _, filter := range []string{"owner = 'a') OR (owner = 'b'", "owner ="} {
		if got, err := ofModel("x", filter); err == nil || !strings.Contains(err.Error(), "") {
			t.Errorf("%s: got %s", filter, got)
		}
	}
}
