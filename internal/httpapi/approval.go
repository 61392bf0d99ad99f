package httpapi

import (
	"context"

	"github.com/pedigree-ml/pedigree"
)

// Note is what is said with a request.
type Note struct {
	Note string `json:"note,omitempty"`
}

// Comment is what is said about a version.
type Comment struct {
	Comment string `json:"comment,omitempty"`
}

// NewWithdrawal is why a version must not be used again.
type NewWithdrawal struct {
	Reason   string           `json:"reason"`
	Incident pedigree.SafeURI `json:"incident,omitempty"`
}

// review calls what is said about a version's approval.
func review[In any](c *call, say func(ctx context.Context, p pedigree.Principal, ref pedigree.Reference, in In) (pedigree.Version, error)) error {
	ref, err := c.reference()
	if err != nil {
		return err
	}
	var in In
	if err := c.decodeOptional(&in); err != nil {
		return err
	}
	v, err := say(c.ctx(), c.principal, ref, in)
	return c.answerTagged(v.Changed, &v, err)
}

func (a *API) requestApproval(c *call) error {
	return review(c, func(ctx context.Context, p pedigree.Principal, ref pedigree.Reference, in Note) (pedigree.Version, error) {
		return a.registrar.RequestApproval(ctx, p, ref, in.Note)
	})
}

func (a *API) approveVersion(c *call) error { return review(c, a.registrar.Approve) }
func (a *API) rejectVersion(c *call) error  { return review(c, a.registrar.Reject) }

func (a *API) revokeApproval(c *call) error {
	return review(c, func(ctx context.Context, p pedigree.Principal, ref pedigree.Reference, in Comment) (pedigree.Version, error) {
		return a.registrar.RevokeApproval(ctx, p, ref, in.Comment)
	})
}

func (a *API) meetCondition(c *call) error {
	return review(c, func(ctx context.Context, p pedigree.Principal, ref pedigree.Reference, in Comment) (pedigree.Version, error) {
		return a.registrar.MeetCondition(ctx, p, ref, c.r.PathValue("condition"), in.Comment)
	})
}

// listApprovals serves the inbox of a project, and of all where the path names none.
func (a *API) listApprovals(c *call) error {
	project, err := c.scope()
	if err != nil {
		return err
	}
	page, at, err := c.pageAt()
	if err != nil {
		return err
	}
	list, err := a.registrar.Requests(c.ctx(), c.principal, project, page, at)
	return answerList(c, list, err)
}

// listConditions serves what approvals of a project wait for, and those of all where the path
// names none.
func (a *API) listConditions(c *call) error {
	project, err := c.scope()
	if err != nil {
		return err
	}
	page, at, err := c.pageAt()
	if err != nil {
		return err
	}
	list, err := a.registrar.Conditions(c.ctx(), c.principal, project, c.query["owner"], page, at)
	return answerList(c, list, err)
}

func (a *API) withdrawVersion(c *call) error {
	ref, err := c.reference()
	if err != nil {
		return err
	}
	var in NewWithdrawal
	if err := c.decode(&in); err != nil {
		return err
	}
	w, err := a.registrar.Withdraw(c.ctx(), c.principal, ref, in.Reason, in.Incident)
	if w.Running == nil {
		w.Running = []pedigree.Deployment{}
	}
	return c.answer(w, err)
}
