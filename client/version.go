package client

import (
	"context"
	"net/http"

	"github.com/pedigree-ml/pedigree"
)

// Register registers the next version of a model in the client's project. The bytes
// that the record names must be in the registry: [Client.Push] sees to that. It returns
// [pedigree.CodePrecondition] where they are not, [pedigree.CodeNotFound] for a model
// that is not there unless reg asks to make it, and [pedigree.CodeInvalid].
func (c *Client) Register(ctx context.Context, model pedigree.Name, reg pedigree.Registration) (pedigree.Registered, error) {
	return ask[pedigree.Registered](ctx, c, request{method: http.MethodPost, path: c.modelPath(model, "versions"), in: reg})
}

// Version reads the version that ref names. It returns [pedigree.CodeNotFound].
func (c *Client) Version(ctx context.Context, ref pedigree.Reference, at pedigree.At) (pedigree.Version, error) {
	return ask[pedigree.Version](ctx, c, request{method: http.MethodGet, path: c.versionPath(ref), query: asOf(at)})
}

// Resolve finds the version that ref names and the digest of its artifact; it is the
// cheapest of the questions. It returns [pedigree.CodeNotFound].
func (c *Client) Resolve(ctx context.Context, ref pedigree.Reference, at pedigree.At) (pedigree.Resolved, error) {
	return ask[pedigree.Resolved](ctx, c, request{method: http.MethodGet, path: c.versionPath(ref, "resolve"), query: asOf(at)})
}

// Amend changes the record of a version; both the old and the new stay readable.
// ifMatch is as in [Client.EditModel]. It returns [pedigree.CodeRefused] for a change
// of a stored artifact's bytes.
func (c *Client) Amend(ctx context.Context, ref pedigree.Reference, amend pedigree.Amend, ifMatch *int64) (pedigree.Version, error) {
	return ask[pedigree.Version](ctx, c, request{method: http.MethodPost, path: c.versionPath(ref, "amendments"), in: amend, ifMatch: ifMatch})
}

// EditVersion changes the description of a version and sets tags on it. ifMatch is as
// in [Client.EditModel].
func (c *Client) EditVersion(ctx context.Context, ref pedigree.Reference, edit pedigree.VersionEdit, ifMatch *int64) (pedigree.Version, error) {
	return ask[pedigree.Version](ctx, c, request{method: http.MethodPatch, path: c.versionPath(ref), in: edit, ifMatch: ifMatch})
}

// UntagVersion removes a tag of a version. It returns [pedigree.CodeNotFound] where it
// is not set.
func (c *Client) UntagVersion(ctx context.Context, ref pedigree.Reference, key string) (pedigree.Version, error) {
	return ask[pedigree.Version](ctx, c, request{method: http.MethodDelete, path: c.versionPath(ref, "tags") + "/" + escapeRest(key)})
}

type reasoned struct {
	Reason string `json:"reason,omitempty"`
}

// Archive hides a version from lists. It returns [pedigree.CodeRefused] while an alias
// names it.
func (c *Client) Archive(ctx context.Context, ref pedigree.Reference, reason string) (pedigree.Version, error) {
	return ask[pedigree.Version](ctx, c, request{method: http.MethodPost, path: c.versionPath(ref, "archive"), in: reasoned{reason}})
}

// Restore undoes [Client.Archive].
func (c *Client) Restore(ctx context.Context, ref pedigree.Reference, reason string) (pedigree.Version, error) {
	return ask[pedigree.Version](ctx, c, request{method: http.MethodPost, path: c.versionPath(ref, "restore"), in: reasoned{reason}})
}

// DeleteVersion takes a version out of every list; its history stays, and its number is
// never used again. It returns [pedigree.CodeRefused] while an alias names it and force is
// false; with force the aliases go too.
func (c *Client) DeleteVersion(ctx context.Context, ref pedigree.Reference, reason string, force bool) error {
	q := set(asOf(pedigree.At{}), "reason", reason)
	if force {
		q = set(q, "force", "true")
	}
	return c.call(ctx, request{method: http.MethodDelete, path: c.versionPath(ref), query: q}, nil)
}
