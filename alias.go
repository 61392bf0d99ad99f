package pedigree

import (
	"regexp"
	"strings"
	"time"
)

// Alias is a movable name of a version within its model: champion, production.
// The grammar is MLflow's: 1 to 255 letters, digits, "_" and "-"; neither "latest"
// in any case nor "v" with digits, which would read as versions.
type Alias string

var (
	aliasPattern   = regexp.MustCompile(`^[\pL\pN_-]+$`)
	versionPattern = regexp.MustCompile(`^[vV]\d+$`)
)

// ParseAlias checks s and returns it as an Alias, or [CodeInvalid].
func ParseAlias(s string) (Alias, error) {
	if err := checkText("alias", s, MaxAlias); err != nil {
		return "", err
	}
	switch {
	case !aliasPattern.MatchString(s):
		return "", Errorf(CodeInvalid, "%q is not an alias: use letters, digits, '_' and '-'", clip(s))
	case strings.EqualFold(s, "latest"):
		return "", Errorf(CodeInvalid, "alias %q is reserved: the newest version needs no alias, name the model alone", s)
	case versionPattern.MatchString(s):
		return "", Errorf(CodeInvalid, "alias %q is reserved, it reads as a version number", s)
	}
	return Alias(s), nil
}

// UnmarshalText implements [encoding.TextUnmarshaler] by [ParseAlias].
func (a *Alias) UnmarshalText(b []byte) error {
	v, err := ParseAlias(string(b))
	*a = v
	return err
}

// AliasMove is one interval of an alias's history: from one event to the next,
// it pointed to one version.
type AliasMove struct {
	Alias   Alias         `json:"alias"`
	Version VersionNumber `json:"version"`
	// FromSeq and ToSeq are the events that began and ended the interval; ToSeq is
	// nil while it lasts.
	FromSeq int64      `json:"from_seq"`
	ToSeq   *int64     `json:"to_seq,omitempty"`
	From    time.Time  `json:"from"`
	To      *time.Time `json:"to,omitempty"`
	// Actor is the opaque id of who moved it there.
	Actor string `json:"actor"`
	// Note is what that person said about it.
	Note string `json:"note,omitempty"`
	Named
}
