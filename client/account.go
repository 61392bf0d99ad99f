package client

import (
	"context"
	"net/http"
	"net/url"
	"sync"

	"github.com/pedigree-ml/pedigree"
)

// names remembers what answers said of the actors in them.
type names struct{ known sync.Map }

// named is an answer that says the names of the actors that it shows.
type named interface {
	Said() map[string]pedigree.ActorName
}

func (n *names) learn(answer any) {
	if a, ok := answer.(named); ok {
		for id, name := range a.Said() {
			n.known.Store(id, name)
		}
	}
}

// NameOf is the name of an account or a group as an earlier answer of this Client said
// it, and the id itself where none did.
func (c *Client) NameOf(id string) string {
	if name, ok := c.names.known.Load(id); ok {
		return string(name.(pedigree.ActorName))
	}
	return id
}

// WhoAmI asks what the registry knows of the caller. It returns
// [pedigree.CodeUnauthenticated] where it has accounts and the caller has no token.
func (c *Client) WhoAmI(ctx context.Context) (pedigree.Identity, error) {
	return ask[pedigree.Identity](ctx, c, request{method: http.MethodGet, path: escape("whoami")})
}

// Accounts lists accounts by name.
func (c *Client) Accounts(ctx context.Context, page pedigree.Page) (pedigree.List[pedigree.Account], error) {
	return ask[pedigree.List[pedigree.Account]](ctx, c, request{method: http.MethodGet, path: escape("accounts"), query: paged(url.Values{}, page)})
}

// CreateAccount makes an account. It returns [pedigree.CodeExists].
func (c *Client) CreateAccount(ctx context.Context, spec pedigree.NewAccount) (pedigree.Account, error) {
	return ask[pedigree.Account](ctx, c, request{method: http.MethodPost, path: escape("accounts"), in: spec})
}

// GetAccount reads an account by its name or its id. It returns [pedigree.CodeNotFound].
func (c *Client) GetAccount(ctx context.Context, account string) (pedigree.Account, error) {
	return ask[pedigree.Account](ctx, c, request{method: http.MethodGet, path: escape("accounts", account)})
}

// EditAccount changes what is said of an account.
func (c *Client) EditAccount(ctx context.Context, account string, edit pedigree.AccountEdit) (pedigree.Account, error) {
	return ask[pedigree.Account](ctx, c, request{method: http.MethodPatch, path: escape("accounts", account), in: edit})
}

// DisableAccount takes every right from an account. It returns [pedigree.CodeRefused] for
// the last one that is admin of the whole registry.
func (c *Client) DisableAccount(ctx context.Context, account, reason string) (pedigree.Account, error) {
	return c.accountVerb(ctx, account, "disable", reason)
}

// EnableAccount undoes [Client.DisableAccount].
func (c *Client) EnableAccount(ctx context.Context, account, reason string) (pedigree.Account, error) {
	return c.accountVerb(ctx, account, "enable", reason)
}

func (c *Client) accountVerb(ctx context.Context, account, verb, reason string) (pedigree.Account, error) {
	return ask[pedigree.Account](ctx, c, request{method: http.MethodPost, path: escape("accounts", account, verb), in: map[string]string{"reason": reason}})
}

// EraseAccount erases name, addresses and tokens of an account for good.
func (c *Client) EraseAccount(ctx context.Context, account string) (pedigree.Account, error) {
	return ask[pedigree.Account](ctx, c, request{method: http.MethodPost, path: escape("accounts", account, "erase")})
}
