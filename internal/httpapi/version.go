package httpapi

import (
	"context"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/internal/httpx"
)

// Reason is why something is done; it is kept in the log.
type Reason struct {
	Reason string `json:"reason,omitempty"`
}

func (a *API) registerVersion(c *call) error {
	project, name, err := c.model()
	if err != nil {
		return err
	}
	var in pedigree.Registration
	if err := c.decode(&in); err != nil {
		return err
	}
	v, err := a.registrar.Register(c.ctx(), c.principal, project, name, in)
	if err == nil {
		c.located(v.Number.String())
	}
	return c.answer(&v, err)
}

func (a *API) getVersion(c *call) error {
	ref, at, err := c.referenceAt()
	if err != nil {
		return err
	}
	v, err := readAt(c, at, func(at pedigree.At) (pedigree.Version, error) {
		return a.registrar.Version(c.ctx(), c.principal, ref, at)
	})
	return c.answerTagged(v.Changed, &v, err)
}

func (a *API) editVersion(c *call) error  { return changeVersion(c, a.registrar.EditVersion) }
func (a *API) amendVersion(c *call) error { return changeVersion(c, a.registrar.Amend) }

// changeVersion calls a change of a version that the body describes.
func changeVersion[In any](c *call, change func(ctx context.Context, p pedigree.Principal, ref pedigree.Reference, in In, ifMatch *int64) (pedigree.Version, error)) error {
	ref, err := c.reference()
	if err != nil {
		return err
	}
	ifMatch, err := c.ifMatch()
	if err != nil {
		return err
	}
	var in In
	if err := c.decode(&in); err != nil {
		return err
	}
	v, err := change(c.ctx(), c.principal, ref, in, ifMatch)
	return c.answerTagged(v.Changed, &v, err)
}

func (a *API) deleteVersion(c *call) error {
	ref, err := c.reference()
	if err != nil {
		return err
	}
	ifMatch, err := c.ifMatch()
	if err != nil {
		return err
	}
	force, err := c.flag("force")
	if err != nil {
		return err
	}
	_, err = a.registrar.DeleteVersion(c.ctx(), c.principal, ref, c.query.Get("reason"), force, ifMatch)
	return c.answerNothing(err)
}

func (a *API) archiveVersion(c *call) error { return c.withReason(a.registrar.ArchiveVersion) }
func (a *API) restoreVersion(c *call) error { return c.withReason(a.registrar.RestoreVersion) }

// withReason calls a change of a version that takes nothing but a reason.
func (c *call) withReason(change func(ctx context.Context, p pedigree.Principal, ref pedigree.Reference, reason string) (pedigree.Version, error)) error {
	ref, err := c.reference()
	if err != nil {
		return err
	}
	var in Reason
	if err := c.decodeOptional(&in); err != nil {
		return err
	}
	v, err := change(c.ctx(), c.principal, ref, in.Reason)
	return c.answerTagged(v.Changed, &v, err)
}

func (a *API) untagVersion(c *call) error {
	ref, err := c.reference()
	if err != nil {
		return err
	}
	key, err := pedigree.ParseKey("tag", c.r.PathValue("key"))
	if err != nil {
		return err
	}
	v, err := a.registrar.UntagVersion(c.ctx(), c.principal, ref, key)
	return c.answerTagged(v.Changed, &v, err)
}

// resolveVersion is what a serving process asks again and again.
func (a *API) resolveVersion(c *call) error {
	ref, at, err := c.referenceAt()
	if err != nil {
		return err
	}
	found, err := a.registrar.Resolve(c.ctx(), c.principal, ref, at)
	if err != nil {
		return err
	}
	body, err := appendResolved(make([]byte, 0, 384), &found)
	if err != nil {
		return err
	}
	httpx.SetAsOf(c.w, found.AsOf)
	httpx.WriteRaw(c.w, c.route.status(), body)
	return nil
}
