package client

import (
	"context"
	"net/http"
	"net/url"

	"github.com/pedigree-ml/pedigree"
)

// Tokens lists the tokens of an account that were not revoked: of the caller's own for
// "", of all accounts for "*".
func (c *Client) Tokens(ctx context.Context, account string, page pedigree.Page) (pedigree.List[pedigree.Token], error) {
	q := url.Values{}
	if account != "" {
		q.Set("account", account)
	}
	return ask[pedigree.List[pedigree.Token]](ctx, c, request{method: http.MethodGet, path: escape("tokens"), query: paged(q, page)})
}

// CreateToken makes a token and returns it with its text, which no other answer has. The
// text is "" where the answer was lost on its way and the call was sent again: then revoke
// the token and make another.
func (c *Client) CreateToken(ctx context.Context, spec pedigree.NewToken) (pedigree.Token, error) {
	return ask[pedigree.Token](ctx, c, request{method: http.MethodPost, path: escape("tokens"), in: spec})
}

// RevokeToken ends a token at once. It returns [pedigree.CodeNotFound].
func (c *Client) RevokeToken(ctx context.Context, id string) error {
	return c.call(ctx, request{method: http.MethodDelete, path: escape("tokens", id)}, nil)
}
