package client

import (
	"context"
	"net/http"

	"github.com/pedigree-ml/pedigree"
)

// bindingPath is where the roles of a project are, or, for "", those of the whole
// registry.
func bindingPath(project pedigree.ProjectName, more ...string) string {
	if project == "" {
		return escape(append([]string{"bindings"}, more...)...)
	}
	return escape(append([]string{"projects", string(project), "bindings"}, more...)...)
}

// Bindings lists who has which role in a project or, for project "", for the whole
// registry.
func (c *Client) Bindings(ctx context.Context, project pedigree.ProjectName, page pedigree.Page, at pedigree.At) (pedigree.List[pedigree.Binding], error) {
	return ask[pedigree.List[pedigree.Binding]](ctx, c, request{method: http.MethodGet, path: bindingPath(project), query: paged(asOf(at), page)})
}

// AddBinding gives an account or a group a role in a project or, for project "", for the
// whole registry. It returns [pedigree.CodeNotFound].
func (c *Client) AddBinding(ctx context.Context, project pedigree.ProjectName, b pedigree.NewBinding) (pedigree.Binding, error) {
	return ask[pedigree.Binding](ctx, c, request{method: http.MethodPost, path: bindingPath(project), in: b})
}

// RemoveBinding takes a role away. It returns [pedigree.CodeNotFound] and
// [pedigree.CodeRefused].
func (c *Client) RemoveBinding(ctx context.Context, project pedigree.ProjectName, b pedigree.NewBinding) error {
	return c.call(ctx, request{method: http.MethodDelete, path: bindingPath(project, string(b.Role), b.Member)}, nil)
}
