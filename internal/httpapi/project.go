package httpapi

import (
	"github.com/pedigree-ml/pedigree"
)

// NewProject is what a caller gives to make a project.
type NewProject struct {
	Name        pedigree.ProjectName `json:"name"`
	Description string               `json:"description,omitempty"`
}

func (a *API) listProjects(c *call) error {
	page, at, err := c.pageAt()
	if err != nil {
		return err
	}
	list, err := a.registrar.Projects(c.ctx(), c.principal, page, at)
	return answerList(c, list, err)
}

func (a *API) createProject(c *call) error {
	var in NewProject
	if err := c.decode(&in); err != nil {
		return err
	}
	p, err := a.registrar.CreateProject(c.ctx(), c.principal, in.Name, in.Description)
	if err == nil {
		c.located(string(p.Name))
	}
	return c.answer(p, err)
}

func (a *API) getProject(c *call) error {
	name, err := c.project()
	if err != nil {
		return err
	}
	at, err := c.at()
	if err != nil {
		return err
	}
	p, err := readAt(c, at, func(at pedigree.At) (pedigree.Project, error) {
		return a.registrar.Project(c.ctx(), c.principal, name, at)
	})
	return c.answer(p, err)
}
