package client

import (
	"context"
	"net/http"
	"net/url"

	"github.com/pedigree-ml/pedigree"
)

// CreateModel makes a model in the client's project. It returns [pedigree.CodeExists]
// for a name that is taken and [pedigree.CodeInvalid].
func (c *Client) CreateModel(ctx context.Context, name pedigree.Name, spec pedigree.ModelEdit) (pedigree.Model, error) {
	in := struct {
		Name pedigree.Name `json:"name"`
		pedigree.ModelEdit
	}{name, spec}
	return ask[pedigree.Model](ctx, c, request{method: http.MethodPost, path: c.projectPath("models"), in: in})
}

// Model reads a model. It returns [pedigree.CodeNotFound], with the nearest name there
// is as its fix.
func (c *Client) Model(ctx context.Context, name pedigree.Name, at pedigree.At) (pedigree.Model, error) {
	return ask[pedigree.Model](ctx, c, request{method: http.MethodGet, path: c.modelPath(name), query: asOf(at)})
}

// Models lists the models of the client's project by name.
func (c *Client) Models(ctx context.Context, page pedigree.Page, at pedigree.At) (pedigree.List[pedigree.Model], error) {
	return ask[pedigree.List[pedigree.Model]](ctx, c, request{method: http.MethodGet, path: c.projectPath("models"), query: paged(asOf(at), page)})
}

// EditModel changes what is said of a model. ifMatch, where not nil, is the Changed
// that the caller has seen: [pedigree.CodePrecondition] says that it is old.
func (c *Client) EditModel(ctx context.Context, name pedigree.Name, edit pedigree.ModelEdit, ifMatch *int64) (pedigree.Model, error) {
	return ask[pedigree.Model](ctx, c, request{method: http.MethodPatch, path: c.modelPath(name), in: edit, ifMatch: ifMatch})
}

// RenameModel gives a model another name within its project. It returns
// [pedigree.CodeExists] for a name that is taken.
func (c *Client) RenameModel(ctx context.Context, name, to pedigree.Name) (pedigree.Model, error) {
	in := struct {
		To pedigree.Name `json:"to"`
	}{to}
	return ask[pedigree.Model](ctx, c, request{method: http.MethodPost, path: c.modelPath(name, "rename"), in: in})
}

// DeleteModel hides a model and frees its name; history and bytes stay. It returns
// [pedigree.CodeRefused] while an alias names one of its versions, unless force.
func (c *Client) DeleteModel(ctx context.Context, name pedigree.Name, reason string, force bool) error {
	q := set(url.Values{}, "reason", reason)
	if force {
		q.Set("force", "true")
	}
	return c.call(ctx, request{method: http.MethodDelete, path: c.modelPath(name), query: q}, nil)
}

// UntagModel removes a tag of a model. It returns [pedigree.CodeNotFound] where it is
// not set.
func (c *Client) UntagModel(ctx context.Context, name pedigree.Name, key string) (pedigree.Model, error) {
	return ask[pedigree.Model](ctx, c, request{method: http.MethodDelete, path: c.modelPath(name, "tags") + "/" + escapeRest(key)})
}
