// Package auth turns what a request says of its sender into a [pedigree.Principal].
//
// It owns the ways in which a token may be sent: "Authorization: Bearer TOKEN", and Basic
// with a user name and the token as password, or with the token alone; so that an MLflow
// client with MLFLOW_TRACKING_TOKEN, or with MLFLOW_TRACKING_USERNAME and _PASSWORD, curl
// -u and git-like tools all get in by the same tokens. The user name is not looked at: the
// token says who it is.
//
// It must never decide what a caller may: the registrar does. It must never keep, log or
// send back a token: only its hash leaves this package, and the look-up by that hash
// tells nobody how much of a token was right.
//
// Another way to say who one is (single sign-on, identities of CI systems) becomes another
// case of [Authenticator.Caller], with the same result.
package auth

import (
	"encoding/base64"
	"net/http"
	"strings"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/internal/registrar"
)

// Authenticator knows who sends a request. Its methods may be called from any goroutine.
type Authenticator struct{ registrar *registrar.Registrar }

// New returns the Authenticator of a registry.
func New(r *registrar.Registrar) *Authenticator { return &Authenticator{registrar: r} }

// Caller says who sends a request: [pedigree.Local] for one that does not say, and for
// every one while there are no accounts. It returns [pedigree.CodeUnauthenticated] for a
// token that means nothing, or nothing any more.
func (a *Authenticator) Caller(r *http.Request) (pedigree.Principal, error) {
	headers := r.Header["Authorization"]
	if len(headers) == 0 {
		return pedigree.Local, nil // the registrar refuses what takes more
	}
	text, bad := token(headers)
	if bad == nil {
		if hash, ok := pedigree.TokenHash(text); ok {
			return a.registrar.Authenticate(r.Context(), hash)
		}
		bad = pedigree.Errorf(pedigree.CodeUnauthenticated, "the header Authorization holds no token of this registry: those begin with %s", pedigree.TokenPrefix).
			WithFix("pedigree login, or set PEDIGREE_TOKEN (MLflow: MLFLOW_TRACKING_TOKEN)")
	}
	// A client that says who it is to everybody may say so to a registry that does not ask.
	if on, err := a.registrar.HasAccounts(r.Context()); err != nil || !on {
		return pedigree.Local, err
	}
	return pedigree.Principal{}, bad
}

// token finds the token in the values of the header Authorization.
func token(headers []string) (string, error) {
	unreadable := pedigree.Errorf(pedigree.CodeUnauthenticated, "the header Authorization can't be read").
		WithFix(`send "Authorization: Bearer TOKEN", or Basic with the token as password`)
	if len(headers) != 1 {
		return "", unreadable
	}
	scheme, rest, _ := strings.Cut(headers[0], " ")
	rest = strings.TrimSpace(rest)
	switch strings.ToLower(scheme) {
	case "bearer":
		return rest, nil
	case "basic":
		decoded, err := base64.StdEncoding.DecodeString(rest)
		if err != nil {
			return "", unreadable
		}
		user, password, _ := strings.Cut(string(decoded), ":")
		if password == "" {
			return user, nil
		}
		return password, nil
	}
	return "", unreadable
}
