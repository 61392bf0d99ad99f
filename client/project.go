package client

import (
	"context"
	"net/http"

	"github.com/pedigree-ml/pedigree"
)

// CreateProject makes a project. It returns [pedigree.CodeExists] for a name that is
// taken and [pedigree.CodeInvalid] for one that is none.
func (c *Client) CreateProject(ctx context.Context, name pedigree.ProjectName, description string) (pedigree.Project, error) {
	in := struct {
		Name        pedigree.ProjectName `json:"name"`
		Description string               `json:"description,omitempty"`
	}{name, description}
	return ask[pedigree.Project](ctx, c, request{method: http.MethodPost, path: escape("projects"), in: in})
}

// GetProject reads a project. It returns [pedigree.CodeNotFound].
func (c *Client) GetProject(ctx context.Context, name pedigree.ProjectName, at pedigree.At) (pedigree.Project, error) {
	return ask[pedigree.Project](ctx, c, request{method: http.MethodGet, path: escape("projects", string(name)), query: asOf(at)})
}

// Projects lists the projects by name.
func (c *Client) Projects(ctx context.Context, page pedigree.Page, at pedigree.At) (pedigree.List[pedigree.Project], error) {
	return ask[pedigree.List[pedigree.Project]](ctx, c, request{method: http.MethodGet, path: escape("projects"), query: paged(asOf(at), page)})
}
