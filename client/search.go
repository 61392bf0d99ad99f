package client

import (
	"context"
	"net/http"

	"github.com/pedigree-ml/pedigree"
)

// Query asks for versions.
type Query struct {
	// Filter chooses them, as [pedigree.ParseFilter] reads it; "" chooses all.
	Filter string
	// Order is as [pedigree.ParseOrder] reads it; "" is newest first.
	Order string
	// AllProjects looks in every project, not in the client's alone.
	AllProjects bool
	// Page is the part of the list that is wanted.
	Page pedigree.Page
	// At is the moment that the question is about; the pages of one search show one
	// moment in any case.
	At pedigree.At
}

// Search lists the versions that a filter chooses. It returns [pedigree.CodeInvalid]
// for a filter or an order that can't be read, and says where.
func (c *Client) Search(ctx context.Context, q Query) (pedigree.List[pedigree.Summary], error) {
	path := c.projectPath("search")
	if q.AllProjects {
		path = escape("search")
	}
	query := set(set(paged(asOf(q.At), q.Page), "filter", q.Filter), "order", q.Order)
	return ask[pedigree.List[pedigree.Summary]](ctx, c, request{method: http.MethodGet, path: path, query: query})
}
