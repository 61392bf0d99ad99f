package client

import (
	"context"
	"net/http"
	"net/url"

	"github.com/pedigree-ml/pedigree"
)

// Groups lists groups by name, without their members.
func (c *Client) Groups(ctx context.Context, page pedigree.Page) (pedigree.List[pedigree.Group], error) {
	return ask[pedigree.List[pedigree.Group]](ctx, c, request{method: http.MethodGet, path: escape("groups"), query: paged(url.Values{}, page)})
}

// CreateGroup makes a group. It returns [pedigree.CodeExists].
func (c *Client) CreateGroup(ctx context.Context, name pedigree.ActorName) (pedigree.Group, error) {
	return ask[pedigree.Group](ctx, c, request{method: http.MethodPost, path: escape("groups"), in: map[string]any{"name": name}})
}

// GetGroup reads a group with its members. It returns [pedigree.CodeNotFound].
func (c *Client) GetGroup(ctx context.Context, group string) (pedigree.Group, error) {
	return ask[pedigree.Group](ctx, c, request{method: http.MethodGet, path: escape("groups", group)})
}

// DeleteGroup ends a group, and all that was granted to it.
func (c *Client) DeleteGroup(ctx context.Context, group string) error {
	return c.call(ctx, request{method: http.MethodDelete, path: escape("groups", group)}, nil)
}

// AddMember puts an account into a group.
func (c *Client) AddMember(ctx context.Context, group, account string) (pedigree.Group, error) {
	return ask[pedigree.Group](ctx, c, request{method: http.MethodPut, path: escape("groups", group, "members", account)})
}

// RemoveMember takes an account out of a group. It returns [pedigree.CodeNotFound].
func (c *Client) RemoveMember(ctx context.Context, group, account string) (pedigree.Group, error) {
	return ask[pedigree.Group](ctx, c, request{method: http.MethodDelete, path: escape("groups", group, "members", account)})
}
