package pedigree

import (
	"net/url"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Limits on texts, in characters unless they say otherwise. They are part of the
// public contract: raising one is allowed, lowering one is not.
const (
	MaxName        = 300       // a model name (MLflow's servers accept as many)
	MaxProjectName = 63        // a project name, bytes
	MaxAlias       = 255       // an alias
	MaxKey         = 250       // a tag, parameter or metric key
	MaxTagValue    = 100_000   // a tag's value
	MaxParamValue  = 6000      // a parameter's value
	MaxText        = 100 << 10 // a description, note or reason
	MaxURI         = 2048      // a URI, bytes
	MaxRecord      = 1 << 20   // a record as JSON without its list of files, bytes
	MaxFileTable   = 4 << 20   // the list of files of an artifact as JSON, bytes
	MaxEvidence    = 1 << 20   // one evidence file, bytes, when capture makes it
	MaxFiles       = 10_000    // files in one stored artifact
	MaxPath        = 1024      // a path inside an artifact, bytes
	MaxFilter      = 16 << 10  // a search filter, bytes
)

// Name is the name of a model, unique within its project at any one time. The
// grammar is MLflow's: 1 to 300 characters, no "/", no ":", no control
// characters, not blank, not "." or "..". Names are compared byte by byte.
type Name string

// ParseName checks s and returns it as a Name, or [CodeInvalid].
func ParseName(s string) (Name, error) {
	switch {
	case strings.TrimSpace(s) == "":
		return "", Errorf(CodeInvalid, "a model needs a name")
	case strings.ContainsAny(s, "/:"):
		return "", Errorf(CodeInvalid, "model name %q: \"/\" and \":\" are not allowed in a name", clip(s))
	case s == "." || s == "..":
		return "", Errorf(CodeInvalid, "model name %q is a path", s)
	}
	if err := checkText("model name", s, MaxName); err != nil {
		return "", err
	}
	if strings.ContainsFunc(s, unicode.IsControl) {
		return "", Errorf(CodeInvalid, "model name %q holds a control character", clip(s))
	}
	return Name(s), nil
}

// UnmarshalText implements [encoding.TextUnmarshaler] by [ParseName].
func (n *Name) UnmarshalText(b []byte) error {
	v, err := ParseName(string(b))
	*n = v
	return err
}

// ProjectName is the name of a project: lower-case letters and digits, with
// single ".", "_" or "-" between them, at most 63 bytes; so that OCI repositories
// and URLs carry it as it is.
type ProjectName string

// DefaultProject is the project that is meant where none is named.
const DefaultProject ProjectName = "default"

// ParseProjectName checks s and returns it as a ProjectName, or [CodeInvalid].
func ParseProjectName(s string) (ProjectName, error) {
	ok := s != "" && len(s) <= MaxProjectName
	sep := true // a separator may neither begin the name nor follow another
	for _, r := range s {
		switch {
		case r >= 'a' && r <= 'z' || r >= '0' && r <= '9':
			sep = false
		case (r == '.' || r == '_' || r == '-') && !sep:
			sep = true
		default:
			ok = false
		}
	}
	if !ok || sep {
		return "", Errorf(CodeInvalid, "%q is not a project name: use 1 to %d lower-case letters and digits, with single '.', '_' or '-' between them", clip(s), MaxProjectName)
	}
	return ProjectName(s), nil
}

// UnmarshalText implements [encoding.TextUnmarshaler] by [ParseProjectName].
func (n *ProjectName) UnmarshalText(b []byte) error {
	v, err := ParseProjectName(string(b))
	*n = v
	return err
}

// ParseKey checks the key of a tag, a parameter or a metric: 1 to 250 letters,
// digits, "_", ".", "-", "/", ":" and spaces, as MLflow has it; what says which of
// them it is, for the message. It returns [CodeInvalid].
func ParseKey(what, s string) (string, error) {
	if s == "" {
		return "", Errorf(CodeInvalid, "a %s needs a key", what)
	}
	if err := checkText(what+" key", s, MaxKey); err != nil {
		return "", err
	}
	for _, r := range s {
		if !unicode.IsLetter(r) && !unicode.IsDigit(r) && !unicode.IsMark(r) && !strings.ContainsRune("_.-/: ", r) {
			return "", Errorf(CodeInvalid, "%s key %q: %q is not allowed; use letters, digits, '_', '.', '-', '/', ':' and spaces", what, clip(s), r)
		}
	}
	return s, nil
}

// checkText checks that s is valid UTF-8 without NUL or other control characters
// than tab and newline, and has at most limit characters.
func checkText(what, s string, limit int) error {
	if !utf8.ValidString(s) {
		return Errorf(CodeInvalid, "%s %q is not valid UTF-8", what, clip(s))
	}
	if n := utf8.RuneCountInString(s); n > limit {
		return Errorf(CodeInvalid, "%s has %d characters, the limit is %d", what, n, limit)
	}
	for _, r := range s {
		if r < 0x20 && r != '\n' && r != '\t' && r != '\r' || r == 0x7f {
			return Errorf(CodeInvalid, "%s %q holds the control character %U", what, clip(s), r)
		}
	}
	return nil
}

// clip shortens s for an error message.
func clip(s string) string {
	const most = 80
	if len(s) <= most {
		return s
	}
	cut := most
	for cut > 0 && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + "…"
}

// SafeURI is a URI without credentials: no user info, no signature parameters.
// It is text to show and to search; the server follows none.
type SafeURI string

// signatureParams are the query parameters by which storage services and code
// hosts pass a signature or a token (AWS SigV2 and V4, Google, Azure SAS, GitLab).
var signatureParams = map[string]bool{
	"x-amz-signature": true, "x-amz-credential": true, "x-amz-security-token": true, "awsaccesskeyid": true, "signature": true,
	"x-goog-signature": true, "x-goog-credential": true, "googleaccessid": true,
	"sig": true, "se": true, "sp": true, "sv": true, "sr": true, "st": true, "skoid": true, "sktid": true, "ske": true, "sks": true, "skv": true, "skt": true,
	"token": true, "access_token": true, "private_token": true, "api_key": true, "apikey": true, "key": true, "password": true, "secret": true, "auth": true,
	"x-amz-algorithm": true, "x-amz-date": true, "x-amz-expires": true, "x-amz-signedheaders": true, "expires": true,
	"refresh_token": true, "id_token": true, "job_token": true, "oauth_token": true, "hf_token": true, "client_secret": true, "secret_key": true, "passwd": true, "pwd": true,
	"x-goog-algorithm": true, "x-goog-date": true, "x-goog-expires": true, "x-goog-signedheaders": true,
}

// ParseSafeURI checks s and strips what could be a credential from it: the user
// info of every authority, also that of a URI inside it, and signature parameters
// of query and fragment. What only looks like user info stays: the account "git" of
// ssh, the container of Azure's abfss and wasbs, an image's name before "@sha256:".
// A text without a scheme (a path, "git@host:repo") is kept too, unless it begins
// with "user:password@host.name/". It returns [CodeInvalid] for control characters
// and over [MaxURI] bytes.
func ParseSafeURI(s string) (SafeURI, error) {
	if len(s) > MaxURI {
		return "", Errorf(CodeInvalid, "URI %q has %d bytes, the limit is %d", clip(s), len(s), MaxURI)
	}
	if err := checkText("URI", s, MaxURI); err != nil {
		return "", err
	}
	if strings.ContainsAny(s, "\n\t\r") {
		return "", Errorf(CodeInvalid, "URI %q holds a control character", clip(s))
	}
	s = stripUserInfo(s)
	rest, fragment, hasFragment := strings.Cut(s, "#")
	out, query, hasQuery := strings.Cut(rest, "?")
	if query = stripSignature(query); hasQuery && query != "" {
		out += "?" + query
	}
	if fragment = stripSignature(fragment); hasFragment && fragment != "" {
		out += "#" + fragment
	}
	return SafeURI(out), nil
}

// bareCredentials matches what is in front of the host in a URI whose scheme was
// left out: "ann:secret@github.com/org/repo".
var bareCredentials = regexp.MustCompile(`^[^/@\s]+:[^/@\s]*@([^/@:\s]+\.[A-Za-z]+[/:])`)

// stripUserInfo removes user and password wherever s has an authority: after "://",
// and after "//" at its start.
func stripUserInfo(s string) string {
	for bareCredentials.MatchString(s) {
		s = bareCredentials.ReplaceAllString(s, "$1")
	}
	done := 0 // s[:done] is clean
	for {
		i := strings.Index(s[done:], "//")
		if i < 0 {
			return s
		}
		i += done
		done = i + len("//")
		if i == 0 || s[i-1] == ':' {
			s = s[:done] + stripAuthority(strings.ToLower(s[:max(0, i-1)]), s[done:])
		}
	}
}

// stripAuthority removes the user info of the authority that s begins with; before
// ends in the scheme.
func stripAuthority(before, s string) string {
	for {
		end := strings.IndexAny(s, "/?#")
		if end < 0 {
			end = len(s)
		}
		authority := s[:end]
		at := strings.LastIndexByte(authority, '@')
		if at < 0 {
			colon := strings.LastIndexByte(authority, ':')
			if colon < 0 || strings.Trim(authority[colon+1:], "0123456789]") == "" {
				return s
			}
			// No port: the colon parts a user from a password that holds "/", "?" or "#".
			if at = strings.IndexByte(s, '@'); at < 0 {
				return s
			}
			s = s[at+1:]
			continue
		}
		user, host := authority[:at], authority[at+1:]
		if strings.HasPrefix(host, digestPrefix) {
			if at = strings.LastIndexByte(user, '@'); at < 0 {
				return s
			}
			s = s[at+1:]
			continue
		}
		if user == "git" && strings.HasSuffix(before, "ssh") {
			return s
		}
		for _, scheme := range []string{"abfs", "abfss", "wasb", "wasbs"} {
			if strings.HasSuffix(before, scheme) && !strings.ContainsAny(user, ":@") {
				return s
			}
		}
		s = s[at+1:]
	}
}

// stripSignature removes signature parameters from a query or a fragment.
func stripSignature(query string) string {
	var kept []string
	separator := func(r rune) bool { return r == '&' || r == ';' }
	for _, pair := range strings.FieldsFunc(query, separator) {
		key, _, _ := strings.Cut(pair, "=")
		if k, err := url.QueryUnescape(key); err == nil {
			key = k
		}
		if !signatureParams[strings.ToLower(strings.TrimSpace(key))] {
			kept = append(kept, pair)
		}
	}
	if len(kept) == len(strings.FieldsFunc(query, separator)) {
		return query // exactly as it was
	}
	return strings.Join(kept, "&")
}

// UnmarshalText implements [encoding.TextUnmarshaler] by [ParseSafeURI].
func (u *SafeURI) UnmarshalText(b []byte) error {
	v, err := ParseSafeURI(string(b))
	*u = v
	return err
}
