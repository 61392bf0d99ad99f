package httpapi

import (
	"context"

	"github.com/pedigree-ml/pedigree"
)

// NewExecution is what a job says when it begins.
type NewExecution struct {
	Inputs []pedigree.Output `json:"inputs,omitempty"`
}

func (a *API) startExecution(c *call) error {
	return atTarget(c, func(ctx context.Context, p pedigree.Principal, project pedigree.ProjectName, target pedigree.TargetName, in NewExecution) (pedigree.Execution, error) {
		return a.registrar.StartExecution(ctx, p, project, target, in.Inputs)
	})
}

func (a *API) finishExecution(c *call) error {
	var in pedigree.ExecutionReport
	if err := c.decode(&in); err != nil {
		return err
	}
	e, err := a.registrar.FinishExecution(c.ctx(), c.principal, c.r.PathValue("execution"), in)
	return c.answer(e, err)
}

func (a *API) listTargetExecutions(c *call) error {
	project, name, err := c.target()
	if err != nil {
		return err
	}
	page, at, err := c.pageAt()
	if err != nil {
		return err
	}
	list, err := a.registrar.Executions(c.ctx(), c.principal, project, name, nil, page, at)
	return answerList(c, list, err)
}

func (a *API) listVersionExecutions(c *call) error {
	ref, err := c.reference()
	if err != nil {
		return err
	}
	page, at, err := c.pageAt()
	if err != nil {
		return err
	}
	list, err := a.registrar.Executions(c.ctx(), c.principal, ref.Project, "", &ref, page, at)
	return answerList(c, list, err)
}
