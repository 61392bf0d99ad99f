package client

import (
	"context"
	"net/http"
	"net/url"

	"github.com/pedigree-ml/pedigree"
)

// targetPath is the path of something of a target in c's project.
func (c *Client) targetPath(name pedigree.TargetName, segments ...string) string {
	env := name.Environment()
	rest := string(name)[min(len(name), len(env)+1):]
	return c.projectPath(append([]string{"targets", env, rest}, segments...)...)
}

// CreateTarget makes a target in c's project. It returns [pedigree.CodeExists].
func (c *Client) CreateTarget(ctx context.Context, name pedigree.TargetName, spec pedigree.TargetSpec) (pedigree.Target, error) {
	in := struct {
		Name pedigree.TargetName `json:"name"`
		pedigree.TargetSpec
	}{name, spec}
	return ask[pedigree.Target](ctx, c, request{method: http.MethodPost, path: c.projectPath("targets"), in: in})
}

// Target reads a target. It returns [pedigree.CodeNotFound].
func (c *Client) Target(ctx context.Context, name pedigree.TargetName, at pedigree.At) (pedigree.Target, error) {
	return ask[pedigree.Target](ctx, c, request{method: http.MethodGet, path: c.targetPath(name), query: asOf(at)})
}

// Targets lists the targets of c's project by name, with what stands there and what was
// seen.
func (c *Client) Targets(ctx context.Context, page pedigree.Page, at pedigree.At) (pedigree.List[pedigree.TargetStatus], error) {
	return ask[pedigree.List[pedigree.TargetStatus]](ctx, c, request{method: http.MethodGet, path: c.projectPath("targets"), query: paged(asOf(at), page)})
}

// EditTarget lays fields, by their JSON keys in [pedigree.TargetSpec], over what is said of
// a target; nil takes one away. ifMatch, where not nil, is the Changed that was seen.
func (c *Client) EditTarget(ctx context.Context, name pedigree.TargetName, fields map[string]any, ifMatch *int64) (pedigree.Target, error) {
	return ask[pedigree.Target](ctx, c, request{method: http.MethodPatch, path: c.targetPath(name), in: fields, ifMatch: ifMatch})
}

// DeleteTarget takes a target away. It returns [pedigree.CodeRefused] while something
// stands there.
func (c *Client) DeleteTarget(ctx context.Context, name pedigree.TargetName, reason string) error {
	return c.call(ctx, request{method: http.MethodDelete, path: c.targetPath(name), query: set(url.Values{}, "reason", reason)}, nil)
}

// TargetStatus compares what is desired at a target with what its instances run.
func (c *Client) TargetStatus(ctx context.Context, name pedigree.TargetName, at pedigree.At) (pedigree.TargetStatus, error) {
	return ask[pedigree.TargetStatus](ctx, c, request{method: http.MethodGet, path: c.targetPath(name, "status"), query: asOf(at)})
}

// Observe says what an instance runs, and returns what it should run.
func (c *Client) Observe(ctx context.Context, target pedigree.TargetName, o pedigree.Observation) (pedigree.TargetStatus, error) {
	return ask[pedigree.TargetStatus](ctx, c, request{method: http.MethodPost, path: c.targetPath(target, "observations"), in: o})
}
