package client

import (
	"context"
	"net/http"
	"net/url"

	"github.com/pedigree-ml/pedigree"
)

// policyPath is the path of the policy of a scope: of a project, or of the instance for "".
func policyPath(scope pedigree.ProjectName) string {
	if scope == "" {
		return escape("policy")
	}
	return escape("projects", string(scope), "policy")
}

// Policy reads the policy of a scope: of a project, or of the instance for "". It returns
// [pedigree.CodeNotFound] where there is none.
func (c *Client) Policy(ctx context.Context, scope pedigree.ProjectName, at pedigree.At) (pedigree.Policy, error) {
	return ask[pedigree.Policy](ctx, c, request{method: http.MethodGet, path: policyPath(scope), query: asOf(at)})
}

// ApplyPolicy makes policy that of its scope, policy.Project; dryRun only checks it. changed
// says that it differs from what held before. It returns [pedigree.CodeInvalid] for an
// expression that can't be used.
func (c *Client) ApplyPolicy(ctx context.Context, policy pedigree.Policy, dryRun bool) (applied pedigree.Policy, changed bool, err error) {
	q := url.Values{}
	if dryRun {
		q.Set("dry_run", "true")
	}
	out, err := ask[struct {
		Policy  pedigree.Policy `json:"policy"`
		Changed bool            `json:"changed"`
	}](ctx, c, request{method: http.MethodPut, path: policyPath(policy.Project), query: q, in: policy, reads: dryRun})
	return out.Policy, out.Changed, err
}

// RemovePolicy takes the policy of a scope away. It returns [pedigree.CodeNotFound].
func (c *Client) RemovePolicy(ctx context.Context, scope pedigree.ProjectName, reason string) error {
	return c.call(ctx, request{method: http.MethodDelete, path: policyPath(scope), query: set(url.Values{}, "reason", reason)}, nil)
}

// TestPolicy says what the policies make of deploying the version that ref names at a
// target, without doing it; target "" asks for a protected alias that is tied to none.
func (c *Client) TestPolicy(ctx context.Context, ref pedigree.Reference, target pedigree.TargetName, deploy pedigree.Deploy, at pedigree.At) (pedigree.Decision, error) {
	in := struct {
		Target pedigree.TargetName `json:"target,omitempty"`
		pedigree.Deploy
	}{target, deploy}
	return ask[pedigree.Decision](ctx, c, request{method: http.MethodPost, path: c.versionPath(ref, "decision"), query: asOf(at), in: in, reads: true})
}
