package pedigree

import (
	"crypto/sha256"
	"encoding/base32"
	"strings"
	"time"
)

// TokenPrefix begins the text of every token, so that people and scanners know one.
const TokenPrefix = "pdg_"

// tokenBytes is the length of a token's secret: 256 random bits.
const tokenBytes = 32

var tokenEncoding = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// TokenText is the text of a token of 32 random bytes. It is shown once and never kept.
func TokenText(random [tokenBytes]byte) string {
	return TokenPrefix + tokenEncoding.EncodeToString(random[:])
}

// TokenHash is what a registry keeps of a token's text. It reports false for a text that
// can't be a token's.
func TokenHash(text string) (hash [sha256.Size]byte, ok bool) {
	encoded, found := strings.CutPrefix(text, TokenPrefix)
	if secret, err := tokenEncoding.DecodeString(encoded); !found || err != nil || len(secret) != tokenBytes {
		return hash, false
	}
	return sha256.Sum256([]byte(text)), true
}

// Token is a secret by which a caller shows that it is an account. Its text is not part
// of it: only the answer that creates it has that, in Text.
type Token struct {
	// ID is opaque: "tok_…".
	ID string `json:"id"`
	// Account is the id of the account, AccountName its name.
	Account     string    `json:"account"`
	AccountName ActorName `json:"account_name,omitempty"`
	// Name is what its owner calls it.
	Name string `json:"name,omitempty"`
	// Scopes narrow what the account may; none leave it as it is.
	Scopes []Scope `json:"scopes,omitempty"`
	// ExpiresAt is from when on it means nothing; nil is never.
	ExpiresAt *time.Time `json:"expires_at,omitempty"`
	Revoked   bool       `json:"revoked,omitempty"`
	// LastUsed is when it was last shown, to about a minute; nil is never.
	LastUsed  *time.Time `json:"last_used,omitempty"`
	CreatedAt time.Time  `json:"created_at"`
	CreatedBy string     `json:"created_by"`
	Seq       int64      `json:"seq"`
	// Text is the secret itself, in the answer that creates the token and nowhere else.
	Text string `json:"text,omitempty"`
	Named
}

// Expired says that the token means nothing any more at now.
func (t *Token) Expired(now time.Time) bool { return t.ExpiresAt != nil && !now.Before(*t.ExpiresAt) }

// NewToken is what a caller asks of a token that is to be made.
type NewToken struct {
	// Account is the name or the id of the account, "" for the caller's own.
	Account string `json:"account,omitempty"`
	Name    string `json:"name,omitempty"`
	// Scopes name projects.
	Scopes    []Scope    `json:"scopes,omitempty"`
	ExpiresAt *time.Time `json:"expires_at,omitempty"`
}

// MaxScopes is the most scopes of one token.
const MaxScopes = 50

// CreateToken decides the creation of a token under a new id for an account. scopes name
// projects by their ids. by is the token that the caller itself showed, nil for none: a
// token never makes one that can do more, or lives longer. It returns [CodeInvalid] and
// [CodeForbidden].
func CreateToken(id string, a *Account, scopes []Scope, expires *time.Time, by *Token, now time.Time) ([]Draft, error) {
	switch {
	case a.Disabled:
		return nil, Errorf(CodeInvalid, "%s is disabled", a.Label()).WithFix("pedigree account enable %s", a.Label())
	case len(scopes) > MaxScopes:
		return nil, Errorf(CodeInvalid, "a token has at most %d scopes, not %d", MaxScopes, len(scopes))
	case expires != nil && !expires.After(now):
		return nil, Errorf(CodeInvalid, "the token would have expired at %s, before it was made", expires.UTC().Format(time.RFC3339))
	case by != nil && len(by.Scopes) > 0:
		return nil, Errorf(CodeForbidden, "a token with scopes makes no other tokens").WithFix("use one without scopes")
	case by != nil && by.ExpiresAt != nil && by.Account == a.ID && (expires == nil || expires.After(*by.ExpiresAt)):
		return nil, Errorf(CodeForbidden, "this token ends at %s and makes none that lives longer", by.ExpiresAt.UTC().Format(time.RFC3339)).
			WithFix("pass an earlier end: --expires")
	}
	payload := Payload{"account": a.ID}
	if len(scopes) > 0 {
		payload["scopes"] = scopes
	}
	if expires != nil {
		payload["expires_at"] = expires.UTC().Truncate(time.Second)
	}
	return []Draft{{Type: TokenCreated, Subject: id, Refs: []string{a.ID}, Payload: payload}}, nil
}

// Revoke decides that a token means nothing from now on; no event for one that was
// revoked.
func (t *Token) Revoke() []Draft {
	if t.Revoked {
		return nil
	}
	return []Draft{{Type: TokenRevoked, Subject: t.ID, Refs: []string{t.Account}, Payload: Payload{"account": t.Account}}}
}
