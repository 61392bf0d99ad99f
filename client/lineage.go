package client

import (
	"context"
	"net/http"
	"strconv"

	"github.com/pedigree-ml/pedigree"
)

// Lineage is the graph around the version that ref names. direction is "up" (what it
// was made from), "down" (what was made from it) or "both", which "" stands for; depth
// counts versions, 0 stands for the most that the server follows.
func (c *Client) Lineage(ctx context.Context, ref pedigree.Reference, direction string, depth int, at pedigree.At) (pedigree.Lineage, error) {
	q := set(asOf(at), "direction", direction)
	if depth > 0 {
		q.Set("depth", strconv.Itoa(depth))
	}
	return ask[pedigree.Lineage](ctx, c, request{method: http.MethodGet, path: c.versionPath(ref, "lineage"), query: q})
}
