package httpapi

import (
	"github.com/pedigree-ml/pedigree"
)

// within reads the project of the path; "" where the path names none.
func (c *call) within() (pedigree.ProjectName, error) {
	if c.r.PathValue("project") == "" {
		return "", nil
	}
	return c.project()
}

func (a *API) listBindings(c *call) error {
	project, err := c.within()
	if err != nil {
		return err
	}
	page, at, err := c.pageAt()
	if err != nil {
		return err
	}
	list, err := a.registrar.Bindings(c.ctx(), c.principal, project, page, at)
	return answerList(c, list, err)
}

func (a *API) addBinding(c *call) error {
	project, err := c.within()
	if err != nil {
		return err
	}
	var in pedigree.NewBinding
	if err := c.decode(&in); err != nil {
		return err
	}
	out, err := a.registrar.AddBinding(c.ctx(), c.principal, project, in)
	return c.answer(out, err)
}

func (a *API) removeBinding(c *call) error {
	project, err := c.within()
	if err != nil {
		return err
	}
	role, err := pedigree.ParseRole(c.r.PathValue("role"))
	if err != nil {
		return err
	}
	return c.answerNothing(a.registrar.RemoveBinding(c.ctx(), c.principal, project, pedigree.NewBinding{Role: role, Member: c.r.PathValue("member")}))
}
