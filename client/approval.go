package client

import (
	"context"
	"net/http"

	"github.com/pedigree-ml/pedigree"
)

// RequestApproval asks for the approval of a version. It returns [pedigree.CodeRefused] for
// one that is withdrawn.
func (c *Client) RequestApproval(ctx context.Context, ref pedigree.Reference, note string) (pedigree.Version, error) {
	return c.review(ctx, ref, map[string]string{"note": note}, "approval", "request")
}

// Approve says that a version may go on as it is. It returns [pedigree.CodeRefused] for
// its authors, unless the policies let them, and [pedigree.CodeForbidden].
func (c *Client) Approve(ctx context.Context, ref pedigree.Reference, review pedigree.Review) (pedigree.Version, error) {
	return c.review(ctx, ref, review, "approval", "approve")
}

// Reject says that a version may not go on, and why. It returns what [Client.Approve]
// returns.
func (c *Client) Reject(ctx context.Context, ref pedigree.Reference, review pedigree.Review) (pedigree.Version, error) {
	return c.review(ctx, ref, review, "approval", "reject")
}

// RevokeApproval takes back what was approved. It returns [pedigree.CodeRefused] where
// nothing was.
func (c *Client) RevokeApproval(ctx context.Context, ref pedigree.Reference, comment string) (pedigree.Version, error) {
	return c.review(ctx, ref, map[string]string{"comment": comment}, "approval", "revoke")
}

// MeetCondition reports that a condition of the approval is met. It returns
// [pedigree.CodeNotFound].
func (c *Client) MeetCondition(ctx context.Context, ref pedigree.Reference, id, comment string) (pedigree.Version, error) {
	return c.review(ctx, ref, map[string]string{"comment": comment}, "approval", "conditions", id, "met")
}

func (c *Client) review(ctx context.Context, ref pedigree.Reference, in any, segments ...string) (pedigree.Version, error) {
	return ask[pedigree.Version](ctx, c, request{method: http.MethodPost, path: c.versionPath(ref, segments...), in: in})
}

// Approvals lists the versions whose approval is asked for, the newest request first; of
// c's project, or of all that the caller may read.
func (c *Client) Approvals(ctx context.Context, all bool, page pedigree.Page, at pedigree.At) (pedigree.List[pedigree.Summary], error) {
	path := c.projectPath("approvals")
	if all {
		path = escape("approvals")
	}
	return ask[pedigree.List[pedigree.Summary]](ctx, c, request{method: http.MethodGet, path: path, query: paged(asOf(at), page)})
}

// Conditions lists the conditions of approvals that are not met, those of the newest approval
// first; of owners, where there are some. They are those of c's project, or of all that the
// caller may read.
func (c *Client) Conditions(ctx context.Context, all bool, owners []string, page pedigree.Page, at pedigree.At) (pedigree.List[pedigree.OpenCondition], error) {
	path := c.projectPath("approvals", "conditions")
	if all {
		path = escape("approvals", "conditions")
	}
	q := paged(asOf(at), page)
	for _, owner := range owners {
		q.Add("owner", owner)
	}
	return ask[pedigree.List[pedigree.OpenCondition]](ctx, c, request{method: http.MethodGet, path: path, query: q})
}

// Withdraw bars a version everywhere, and says where it still runs. [Client.RestoreVersion]
// undoes it.
func (c *Client) Withdraw(ctx context.Context, ref pedigree.Reference, reason string, incident pedigree.SafeURI) (pedigree.Withdrawn, error) {
	in := struct {
		Reason   string           `json:"reason"`
		Incident pedigree.SafeURI `json:"incident,omitempty"`
	}{reason, incident}
	return ask[pedigree.Withdrawn](ctx, c, request{method: http.MethodPost, path: c.versionPath(ref, "withdraw"), in: in})
}
