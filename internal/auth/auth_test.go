package auth

import (
	"encoding/base64"
	"testing"

	"github.com/pedigree-ml/pedigree"
)

// TestToken: the ways in which a token may be sent, and what is none.
func TestToken(t *testing.T) {
	basic := func(s string) string { return "Basic " + base64.StdEncoding.EncodeToString([]byte(s)) }
	for _, tt := range []struct {
		name    string
		headers []string
		want    string
		code    pedigree.ErrorCode
	}{
		{"bearer", []string{"Bearer pdg_x"}, "pdg_x", ""},
		{"bearer in capitals", []string{"BEARER  pdg_x "}, "pdg_x", ""},
		{"user and password", []string{basic("ann:pdg_x")}, "pdg_x", ""},
		{"password alone", []string{basic(":pdg_x")}, "pdg_x", ""},
		{"user alone", []string{basic("pdg_x:")}, "pdg_x", ""},
		{"user without a colon", []string{basic("pdg_x")}, "pdg_x", ""},
		{"a colon in it", []string{basic("ann:a:b")}, "a:b", ""},
		{"not base64", []string{"Basic %%%"}, "", pedigree.CodeUnauthenticated},
		{"another scheme", []string{"Digest pdg_x"}, "", pedigree.CodeUnauthenticated},
		{"nothing", []string{""}, "", pedigree.CodeUnauthenticated},
		{"twice", []string{"Bearer pdg_x", "Bearer pdg_y"}, "", pedigree.CodeUnauthenticated},
	} {
		got, err := token(tt.headers)
		if got != tt.want || pedigree.CodeOf(err) != tt.code {
			t.Errorf("%s: got %q, %v; want %q, %q", tt.name, got, err, tt.want, tt.code)
		}
	}
}
