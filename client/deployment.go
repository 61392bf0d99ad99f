package client

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"github.com/pedigree-ml/pedigree"
)

// Deploy opens a deployment of the version that ref names at a target of the same project.
// ifCurrent, where not nil, is the version that must be active there now, 0 for none. It
// returns [pedigree.CodeRefused] with every check that failed and was not overridden.
func (c *Client) Deploy(ctx context.Context, ref pedigree.Reference, target pedigree.TargetName, deploy pedigree.Deploy, ifCurrent *pedigree.VersionNumber) (pedigree.Deployment, error) {
	ref = ref.In(c.project)
	in := struct {
		Version string `json:"version"`
		pedigree.Deploy
		IfCurrent *pedigree.VersionNumber `json:"if_current,omitempty"`
	}{ref.String(), deploy, ifCurrent}
	return ask[pedigree.Deployment](ctx, c, request{method: http.MethodPost, path: c.In(ref.Project).targetPath(target, "deployments"), in: in})
}

// PlanRollback says what a rollback of a target would do, and what speaks against it.
func (c *Client) PlanRollback(ctx context.Context, target pedigree.TargetName, rollback pedigree.Rollback) (pedigree.RollbackPlan, error) {
	return ask[pedigree.RollbackPlan](ctx, c, request{method: http.MethodPost, path: c.targetPath(target, "rollback", "plan"), in: rollback, reads: true})
}

// Rollback goes back to an earlier deployment. It returns [pedigree.CodeRefused].
func (c *Client) Rollback(ctx context.Context, target pedigree.TargetName, rollback pedigree.Rollback) (pedigree.Deployment, error) {
	return ask[pedigree.Deployment](ctx, c, request{method: http.MethodPost, path: c.targetPath(target, "rollback"), in: rollback})
}

// Timeline lists the deployments of a target, newest first.
func (c *Client) Timeline(ctx context.Context, target pedigree.TargetName, page pedigree.Page, at pedigree.At) (pedigree.List[pedigree.Deployment], error) {
	return ask[pedigree.List[pedigree.Deployment]](ctx, c, request{method: http.MethodGet, path: c.targetPath(target, "deployments"), query: paged(asOf(at), page)})
}

// Deployments lists the deployments of c's project, newest first.
func (c *Client) Deployments(ctx context.Context, page pedigree.Page, at pedigree.At) (pedigree.List[pedigree.Deployment], error) {
	return ask[pedigree.List[pedigree.Deployment]](ctx, c, request{method: http.MethodGet, path: c.projectPath("deployments"), query: paged(asOf(at), page)})
}

// Deployment reads a deployment by its id. It returns [pedigree.CodeNotFound].
func (c *Client) Deployment(ctx context.Context, id string, at pedigree.At) (pedigree.Deployment, error) {
	return ask[pedigree.Deployment](ctx, c, request{method: http.MethodGet, path: escape("deployments", id), query: asOf(at)})
}

// ReportDeployment says that a deployment that waits is active, or that it failed.
func (c *Client) ReportDeployment(ctx context.Context, id string, report pedigree.DeploymentReport) (pedigree.Deployment, error) {
	return ask[pedigree.Deployment](ctx, c, request{method: http.MethodPost, path: escape("deployments", id, "report"), in: report})
}

// EndDeployment says that a deployment stands no more, with nothing in its place.
func (c *Client) EndDeployment(ctx context.Context, id, reason string) (pedigree.Deployment, error) {
	return ask[pedigree.Deployment](ctx, c, request{method: http.MethodPost, path: escape("deployments", id, "end"), in: map[string]string{"reason": reason}})
}

// MarkDeployment says whether a deployment is bad: no rollback goes to it by itself.
func (c *Client) MarkDeployment(ctx context.Context, id string, bad bool, reason string) (pedigree.Deployment, error) {
	in := struct {
		Bad    bool   `json:"bad"`
		Reason string `json:"reason,omitempty"`
	}{bad, reason}
	return ask[pedigree.Deployment](ctx, c, request{method: http.MethodPost, path: escape("deployments", id, "mark"), in: in})
}

// Where lists where the version that ref names stands; where it names a model alone, where
// any of its versions does.
func (c *Client) Where(ctx context.Context, ref pedigree.Reference, at pedigree.At) (pedigree.List[pedigree.Deployment], error) {
	ref = ref.In(c.project)
	path := c.versionPath(ref, "deployments")
	if ref.Version == 0 && ref.Alias == "" && ref.Digest == "" {
		path = c.In(ref.Project).modelPath(ref.Model, "deployments")
	}
	return ask[pedigree.List[pedigree.Deployment]](ctx, c, request{method: http.MethodGet, path: path, query: asOf(at)})
}

// Which finds the deployment and the version behind a target, a deployment's id, a model, a
// digest, an image, an instance or a dashboard. It returns [pedigree.CodeNotFound].
func (c *Client) Which(ctx context.Context, what string, at pedigree.At) (pedigree.List[pedigree.Finding], error) {
	return ask[pedigree.List[pedigree.Finding]](ctx, c, request{method: http.MethodGet, path: c.projectPath("which"), query: set(asOf(at), "what", what)})
}

// Changes lists the events of a time about a target, a model, or, where both are "", the
// whole of c's project, oldest first. Those of a target are also the events about the
// versions that were deployed or active there in that time, and about the policies of the
// project and the instance. A zero from is a day before to, a zero to is now.
func (c *Client) Changes(ctx context.Context, target pedigree.TargetName, model pedigree.Name, from, to time.Time, page pedigree.Page) (pedigree.List[pedigree.Entry], error) {
	q := set(set(period(from, to), "target", string(target)), "model", string(model))
	return ask[pedigree.List[pedigree.Entry]](ctx, c, request{method: http.MethodGet, path: c.projectPath("changes"), query: paged(q, page)})
}

// Delivery reports how c's project delivers, of all its models and of each; environment is a
// pattern, prod* for "". A zero from is 90 days before to, a zero to is now.
func (c *Client) Delivery(ctx context.Context, environment string, from, to time.Time) (pedigree.List[pedigree.Delivery], error) {
	q := set(period(from, to), "environment", environment)
	return ask[pedigree.List[pedigree.Delivery]](ctx, c, request{method: http.MethodGet, path: c.projectPath("delivery"), query: q})
}

func period(from, to time.Time) url.Values {
	q := url.Values{}
	for name, t := range map[string]time.Time{"from": from, "to": to} {
		if !t.IsZero() {
			q.Set(name, t.UTC().Format(time.RFC3339Nano))
		}
	}
	return q
}
