package httpapi

import (
	"github.com/pedigree-ml/pedigree"
)

// AppliedPolicy is the answer to a policy that was applied.
type AppliedPolicy struct {
	Policy pedigree.Policy `json:"policy"`
	// Changed says that it differs from what held before; with dry_run, that it would.
	Changed bool `json:"changed"`
}

// Trial asks what the policies make of deploying a version.
type Trial struct {
	// Target is a target of the version's project; without one, a protected alias is meant.
	Target pedigree.TargetName `json:"target,omitempty"`
	pedigree.Deploy
}

// scope reads the project of the path, "" where the route is that of the instance.
func (c *call) scope() (pedigree.ProjectName, error) {
	if c.r.PathValue("project") == "" {
		return "", nil
	}
	return c.project()
}

func (a *API) getPolicy(c *call) error {
	project, err := c.scope()
	if err != nil {
		return err
	}
	at, err := c.at()
	if err != nil {
		return err
	}
	p, err := readAt(c, at, func(at pedigree.At) (pedigree.Policy, error) {
		return a.registrar.Policy(c.ctx(), c.principal, project, at)
	})
	return c.answer(p, err)
}

func (a *API) applyPolicy(c *call) error {
	project, err := c.scope()
	if err != nil {
		return err
	}
	dryRun, err := c.flag("dry_run")
	if err != nil {
		return err
	}
	var in pedigree.Policy
	if err := c.decode(&in); err != nil {
		return err
	}
	if in.Project != "" && in.Project != project {
		return invalid("the policy is that of project %s, and the path is another's", in.Project)
	}
	in.Project = project
	p, changed, err := a.registrar.ApplyPolicy(c.ctx(), c.principal, in, dryRun)
	return c.answer(AppliedPolicy{p, changed}, err)
}

func (a *API) removePolicy(c *call) error {
	project, err := c.scope()
	if err != nil {
		return err
	}
	return c.answerNothing(a.registrar.RemovePolicy(c.ctx(), c.principal, project, c.query.Get("reason")))
}

func (a *API) tryPolicy(c *call) error {
	ref, at, err := c.referenceAt()
	if err != nil {
		return err
	}
	var in Trial
	if err := c.decode(&in); err != nil {
		return err
	}
	d, err := readAt(c, at, func(at pedigree.At) (pedigree.Decision, error) {
		return a.registrar.TestPolicy(c.ctx(), c.principal, ref, in.Target, in.Deploy, at)
	})
	return c.answer(d, err)
}
