package client

import (
	"context"
	"net/http"

	"github.com/pedigree-ml/pedigree"
)

// StartExecution says that a batch job begins to run what is active at a target. It returns
// [pedigree.CodeRefused] where nothing is.
func (c *Client) StartExecution(ctx context.Context, target pedigree.TargetName, inputs []pedigree.Output) (pedigree.Execution, error) {
	in := struct {
		Inputs []pedigree.Output `json:"inputs,omitempty"`
	}{inputs}
	return ask[pedigree.Execution](ctx, c, request{method: http.MethodPost, path: c.targetPath(target, "executions"), in: in})
}

// FinishExecution says how a job ended, what it read and what it wrote.
func (c *Client) FinishExecution(ctx context.Context, id string, report pedigree.ExecutionReport) (pedigree.Execution, error) {
	return ask[pedigree.Execution](ctx, c, request{method: http.MethodPost, path: escape("executions", id, "finish"), in: report})
}

// TargetExecutions lists the batch runs of a target, newest first.
func (c *Client) TargetExecutions(ctx context.Context, target pedigree.TargetName, page pedigree.Page, at pedigree.At) (pedigree.List[pedigree.Execution], error) {
	return ask[pedigree.List[pedigree.Execution]](ctx, c, request{method: http.MethodGet, path: c.targetPath(target, "executions"), query: paged(asOf(at), page)})
}

// VersionExecutions lists the batch runs of a version, newest first.
func (c *Client) VersionExecutions(ctx context.Context, ref pedigree.Reference, page pedigree.Page, at pedigree.At) (pedigree.List[pedigree.Execution], error) {
	return ask[pedigree.List[pedigree.Execution]](ctx, c, request{method: http.MethodGet, path: c.versionPath(ref, "executions"), query: paged(asOf(at), page)})
}
