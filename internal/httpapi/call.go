package httpapi

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/internal/httpx"
)

// call is one request, with what a handler wants to know of it. Its methods return
// [pedigree.CodeInvalid] and name the part of the request that is wrong.
type call struct {
	a         *API
	w         http.ResponseWriter
	r         *http.Request
	route     *Route
	query     url.Values
	body      []byte
	principal pedigree.Principal
}

func (c *call) ctx() context.Context { return c.r.Context() }

func invalid(format string, args ...any) *pedigree.Error {
	return pedigree.Errorf(pedigree.CodeInvalid, format, args...)
}

// parseQuery reads the query. A parameter that the route does not have is refused: a
// misspelt as_of must not be answered with the present.
func (c *call) parseQuery(allowed map[string]bool) error {
	if c.r.URL.RawQuery == "" {
		return nil
	}
	var err error
	if c.query, err = url.ParseQuery(c.r.URL.RawQuery); err != nil {
		return invalid("the query can't be read: %s", strings.ToValidUTF8(err.Error(), "�"))
	}
	for name, values := range c.query {
		many, ok := allowed[name]
		switch {
		case !ok && name == judgedParam.Name && c.route.Changes:
			return pedigree.Errorf(pedigree.CodeUnsupported, "what this would change can't be told without doing it").WithFix("leave %s out", name)
		case !ok:
			e := invalid("there is no query parameter %q here", strings.ToValidUTF8(name, "�"))
			names := make([]string, 0, len(allowed))
			for _, p := range c.route.Query {
				names = append(names, p.Name)
			}
			if near := pedigree.Nearest(name, names); near != "" {
				return e.WithFix("did you mean %s?", near)
			}
			if len(names) == 0 {
				return e.WithFix("leave it out: there are none")
			}
			return e.WithFix("there are %s", strings.Join(names, ", "))
		case len(values) > 1 && !many:
			return invalid("the query parameter %s is there %d times", name, len(values))
		}
		for _, v := range values {
			if strings.ToValidUTF8(v, "") != v || strings.ContainsRune(v, 0) {
				return invalid("the query parameter %s is not text: it is not valid UTF-8, or holds a NUL", name)
			}
		}
	}
	return nil
}

// param wraps an error with the name of the parameter that it is about.
func param(name string, err error) error {
	if err == nil {
		return nil
	}
	e := invalid("query parameter %s: %w", name, err)
	if own, ok := err.(*pedigree.Error); ok {
		e.Message, e.Fix = "query parameter "+name+": "+own.Message, own.Fix
	}
	return e
}

// number reads a whole number of a query, otherwise where it is not there.
func (c *call) number(name string, otherwise, least int64) (int64, error) {
	text := c.query.Get(name)
	if text == "" && !c.query.Has(name) {
		return otherwise, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < least {
		return 0, invalid("query parameter %s: %q is not a whole number of at least %d", name, text, least)
	}
	return n, nil
}

// flag reads true or false of a query.
func (c *call) flag(name string) (bool, error) {
	switch text := c.query.Get(name); text {
	case "", "false":
		return false, nil
	case "true":
		return true, nil
	default:
		return false, invalid("query parameter %s: %q is neither true nor false", name, text)
	}
}

// at reads as_of.
func (c *call) at() (pedigree.At, error) {
	if c.query == nil {
		return pedigree.At{}, nil
	}
	at, err := pedigree.ParseAt(c.query.Get("as_of"), c.a.now())
	return at, param("as_of", err)
}

// page reads limit and cursor.
func (c *call) page() (pedigree.Page, error) {
	limit, err := c.number("limit", 0, 1)
	return pedigree.Page{Limit: int(min(limit, pedigree.MaxLimit)), Cursor: c.query.Get("cursor")}, err
}

// pageAt reads limit, cursor and as_of.
func (c *call) pageAt() (pedigree.Page, pedigree.At, error) {
	page, err := c.page()
	if err != nil {
		return page, pedigree.At{}, err
	}
	at, err := c.at()
	return page, at, err
}

// decode reads the body.
func (c *call) decode(v any) error { return httpx.Decode(c.body, v) }

// decodeOptional reads the body, which may be empty.
func (c *call) decodeOptional(v any) error {
	if len(c.body) == 0 {
		return nil
	}
	return httpx.Decode(c.body, v)
}

func (c *call) project() (pedigree.ProjectName, error) {
	return pedigree.ParseProjectName(c.r.PathValue("project"))
}

// model reads the project and the model of the path.
func (c *call) model() (pedigree.ProjectName, pedigree.Name, error) {
	project, err := c.project()
	if err != nil {
		return "", "", err
	}
	name, err := pedigree.ParseName(c.r.PathValue("model"))
	return project, name, err
}

// reference reads the project, the model and the version of the path.
func (c *call) reference() (pedigree.Reference, error) {
	project, model, err := c.model()
	if err != nil {
		return pedigree.Reference{}, err
	}
	ref := pedigree.Reference{Project: project, Model: model}
	return ref, selectVersion(&ref, c.r.PathValue("version"))
}

// referenceAt reads the version of the path and as_of.
func (c *call) referenceAt() (pedigree.Reference, pedigree.At, error) {
	ref, err := c.reference()
	if err != nil {
		return ref, pedigree.At{}, err
	}
	at, err := c.at()
	return ref, at, err
}

// selectVersion reads what chooses a version of a model: 7, latest, @production or
// sha256:….
func selectVersion(ref *pedigree.Reference, text string) (err error) {
	switch {
	case text == "latest":
		return nil
	case strings.HasPrefix(text, "@"):
		ref.Alias, err = pedigree.ParseAlias(text[1:])
		return err
	case strings.HasPrefix(text, "sha256:"):
		ref.Digest, err = pedigree.ParseDigest(text)
		return err
	}
	if ref.Version, err = pedigree.ParseVersionNumber(text); err != nil {
		err = invalid("%q does not choose a version", clip(text)).WithFix("write a number, latest, @alias or sha256:…")
	}
	return err
}

func clip(s string) string {
	const most = 80
	if len(s) > most {
		return strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}

// alias reads the alias of the path.
func (c *call) alias() (pedigree.Alias, error) {
	return pedigree.ParseAlias(c.r.PathValue("alias"))
}

// seq reads the event of the path.
func (c *call) seq() (int64, error) {
	text := c.r.PathValue("seq")
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 {
		return 0, invalid("%q is not the number of an event: want 0, 1, 2 …", clip(text))
	}
	return n, nil
}

// ifMatch reads the header If-Match.
func (c *call) ifMatch() (*int64, error) { return httpx.IfMatch(c.r) }

// answer writes v as JSON.
func (c *call) answer(v any, err error) error {
	if err == nil {
		v, err = c.named(v)
	}
	if err != nil {
		return err
	}
	return httpx.WriteJSON(c.w, c.route.status(), v)
}

// answerList writes a list and the event that it holds for.
func answerList[T any](c *call, list pedigree.List[T], err error) error {
	if err != nil {
		return err
	}
	httpx.SetAsOf(c.w, list.AsOf)
	return c.answer(list, nil)
}

// answerTagged writes something with its entity tag.
func (c *call) answerTagged(changed int64, v any, err error) error {
	if err == nil {
		v, err = c.named(v)
	}
	if err != nil {
		return err
	}
	return httpx.WriteTagged(c.w, c.r, c.route.status(), changed, v)
}

// answerNothing says that a removal was done.
func (c *call) answerNothing(err error) error {
	if err == nil {
		c.w.WriteHeader(http.StatusNoContent)
	}
	return err
}

// located says where what was made is.
func (c *call) located(segment string) {
	c.w.Header().Set("Location", c.r.URL.EscapedPath()+"/"+url.PathEscape(segment))
}

// readAt reads something at a moment and says in a header which event the answer holds
// for. A question about now is asked again when the log grew meanwhile, so that the
// header is true; under constant writing it is the event that was the last before the
// answer was read.
func readAt[T any](c *call, at pedigree.At, read func(at pedigree.At) (T, error)) (T, error) {
	var none T
	before, err := c.a.registrar.Moment(c.ctx(), c.principal, at)
	if err != nil {
		return none, err
	}
	if !at.IsNow() {
		httpx.SetAsOf(c.w, before)
		return read(pedigree.At{Seq: &before})
	}
	for try := 0; ; try++ {
		v, err := read(at)
		if err != nil {
			return none, err
		}
		after, err := c.a.registrar.Moment(c.ctx(), c.principal, at)
		if err != nil {
			return none, err
		}
		if after == before || try == 2 {
			httpx.SetAsOf(c.w, before)
			return v, nil
		}
		before = after
	}
}
