package client

import (
	"context"
	"net/http"
	"net/url"

	"github.com/pedigree-ml/pedigree"
)

// SetAlias points alias, of ref's model, to the version that ref names. ifCurrent,
// where not nil, is the version that the alias must name now, 0 for none: the loser of
// a race gets [pedigree.CodeConflict], with what is there in Current. It returns
// [pedigree.CodeRefused] for an archived version.
func (c *Client) SetAlias(ctx context.Context, ref pedigree.Reference, alias pedigree.Alias, ifCurrent *pedigree.VersionNumber, note string) (pedigree.AliasMove, error) {
	ref = ref.In(c.project)
	in := struct {
		Version   string                  `json:"version"`
		IfCurrent *pedigree.VersionNumber `json:"if_current"`
		Note      string                  `json:"note,omitempty"`
	}{selector(ref), ifCurrent, note}
	path := c.In(ref.Project).modelPath(ref.Model, "aliases", string(alias))
	return ask[pedigree.AliasMove](ctx, c, request{method: http.MethodPut, path: path, in: in})
}

// RemoveAlias makes an alias name nothing. It returns [pedigree.CodeNotFound] where it
// does not now; ifCurrent is as in [Client.SetAlias].
func (c *Client) RemoveAlias(ctx context.Context, model pedigree.Name, alias pedigree.Alias, ifCurrent *pedigree.VersionNumber, note string) error {
	q := set(url.Values{}, "note", note)
	if ifCurrent != nil {
		q.Set("if_current", ifCurrent.String())
	}
	return c.call(ctx, request{method: http.MethodDelete, path: c.modelPath(model, "aliases", string(alias)), query: q}, nil)
}

// Aliases lists what the aliases of a model name: the interval that each is in.
func (c *Client) Aliases(ctx context.Context, model pedigree.Name, at pedigree.At) (pedigree.List[pedigree.AliasMove], error) {
	return ask[pedigree.List[pedigree.AliasMove]](ctx, c, request{method: http.MethodGet, path: c.modelPath(model, "aliases"), query: asOf(at)})
}

// AliasHistory lists every interval of an alias, or of all aliases of the model where
// alias is "", newest first.
func (c *Client) AliasHistory(ctx context.Context, model pedigree.Name, alias pedigree.Alias, page pedigree.Page, at pedigree.At) (pedigree.List[pedigree.AliasMove], error) {
	path := c.modelPath(model, "history")
	if alias != "" {
		path = c.modelPath(model, "aliases", string(alias), "history")
	}
	return ask[pedigree.List[pedigree.AliasMove]](ctx, c, request{method: http.MethodGet, path: path, query: paged(asOf(at), page)})
}
