package pedigree

import (
	"net/url"
	"strings"
)

// Reference names a version the way people do. The forms, read from the right:
//
//	fraud                     the newest version of model fraud
//	fraud/7                   version 7
//	fraud@production          where the alias points
//	fraud@sha256:…            the newest live version that holds this artifact
//	risk/fraud@production     the same in project risk
//	models:/fraud@champion    MLflow's URI; pedigree://host/risk/fraud/7 likewise
//
// fraud:7 and fraud@7 are accepted and written fraud/7. A model name of digits
// alone, or with "@" or a double quote, is put in double quotes, and a double quote
// inside them is doubled: "7", risk/"a@b"/3, "a""b"@production.
type Reference struct {
	// Project is where to look; "" leaves it to the caller's configuration.
	Project ProjectName
	// Model is always set.
	Model Name
	// At most one of the following is set.
	Version VersionNumber
	Alias   Alias
	Digest  Digest
}

// ParseReference reads s, or returns [CodeInvalid] and says which forms there are.
// In a name that is put in double quotes, a double quote is doubled.
func ParseReference(s string) (Reference, error) {
	var ref Reference
	bad := func(why string) (Reference, error) {
		return Reference{}, Errorf(CodeInvalid, "%q is not a reference: %s", clip(s), why).
			WithFix("write fraud, fraud/7, fraud@production, fraud@sha256:… or project/fraud/7")
	}
	rest := s
	if after, ok := strings.CutPrefix(rest, "models:/"); ok {
		// MLflow's word for the newest version is our model alone.
		rest = strings.TrimSuffix(strings.TrimPrefix(after, "/"), "/latest")
	} else if after, ok := strings.CutPrefix(rest, "pedigree://"); ok {
		_, path, found := strings.Cut(after, "/")
		if !found {
			return bad("the URI has no path")
		}
		rest = path
		if p, err := url.PathUnescape(path); err == nil {
			rest = p
		}
	}
	rest, selector, err := cutSelector(rest, &ref)
	if err != nil {
		return bad(err.Error())
	}
	project, model := "", rest
	if !strings.HasPrefix(rest, `"`) {
		if p, m, ok := strings.Cut(rest, "/"); ok {
			project, model = p, m
		}
	}
	if project != "" || strings.HasPrefix(rest, "/") {
		if ref.Project, err = ParseProjectName(project); err != nil {
			return bad(err.Error())
		}
	}
	if unquoted, ok := cutQuotes(model); ok {
		model = unquoted
	} else if strings.Contains(model, `"`) {
		return bad("a quote is not closed")
	}
	if ref.Model, err = ParseName(model); err != nil {
		if selector && model == "" {
			return bad("the model's name is missing")
		}
		return bad(err.Error())
	}
	return ref, nil
}

// cutSelector takes the part from the right that chooses a version.
func cutSelector(s string, ref *Reference) (rest string, found bool, err error) {
	tail := strings.LastIndexByte(s, '"') + 1 // what stands in quotes is a name
	if i := strings.LastIndex(s[tail:], "@"); i >= 0 {
		i += tail
		text := s[i+1:]
		if strings.HasPrefix(text, digestPrefix) {
			ref.Digest, err = ParseDigest(text)
			return s[:i], true, err
		}
		if n, numErr := ParseVersionNumber(text); numErr == nil {
			ref.Version = n
			return s[:i], true, nil
		}
		ref.Alias, err = ParseAlias(text)
		return s[:i], true, err
	}
	if i := strings.LastIndexAny(s[tail:], "/:"); i >= 0 {
		i += tail
		if n, numErr := ParseVersionNumber(s[i+1:]); numErr == nil {
			ref.Version = n
			return s[:i], true, nil
		} else if s[i] == ':' {
			return s, true, numErr
		}
	}
	return s, false, nil
}

// cutQuotes returns what stands between the quotes that s begins and ends with.
func cutQuotes(s string) (string, bool) {
	if len(s) < 2 || s[0] != '"' || s[len(s)-1] != '"' {
		return "", false
	}
	inner := s[1 : len(s)-1]
	if strings.Contains(strings.ReplaceAll(inner, `""`, ""), `"`) {
		return "", false
	}
	return strings.ReplaceAll(inner, `""`, `"`), true
}

// String returns the canonical form, which [ParseReference] reads back.
func (r Reference) String() string {
	var b strings.Builder
	if r.Project != "" {
		b.WriteString(string(r.Project) + "/")
	}
	name := string(r.Model)
	if _, err := ParseVersionNumber(name); err == nil || strings.ContainsAny(name, `@"`) {
		name = quote(name, '"')
	}
	b.WriteString(name)
	switch {
	case r.Version != 0:
		b.WriteString("/" + r.Version.String())
	case r.Alias != "":
		b.WriteString("@" + string(r.Alias))
	case r.Digest != "":
		b.WriteString("@" + string(r.Digest))
	}
	return b.String()
}

// In returns r with project where r names none.
func (r Reference) In(project ProjectName) Reference {
	if r.Project == "" {
		r.Project = project
	}
	return r
}
