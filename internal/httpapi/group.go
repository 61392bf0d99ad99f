package httpapi

import (
	"github.com/pedigree-ml/pedigree"
)

// NewGroup is what a caller gives to make a group.
type NewGroup struct {
	Name pedigree.ActorName `json:"name"`
}

func (a *API) listGroups(c *call) error {
	page, err := c.page()
	if err != nil {
		return err
	}
	list, err := a.registrar.Groups(c.ctx(), c.principal, page)
	return answerList(c, list, err)
}

func (a *API) createGroup(c *call) error {
	var in NewGroup
	if err := c.decode(&in); err != nil {
		return err
	}
	out, err := a.registrar.CreateGroup(c.ctx(), c.principal, in.Name)
	if err == nil {
		c.located(string(out.Name))
	}
	return c.answer(out, err)
}

func (a *API) getGroup(c *call) error {
	out, err := a.registrar.Group(c.ctx(), c.principal, c.r.PathValue("group"))
	return c.answer(out, err)
}

func (a *API) deleteGroup(c *call) error {
	return c.answerNothing(a.registrar.DeleteGroup(c.ctx(), c.principal, c.r.PathValue("group")))
}

func (a *API) addMember(c *call) error {
	out, err := a.registrar.AddMember(c.ctx(), c.principal, c.r.PathValue("group"), c.r.PathValue("account"))
	return c.answer(out, err)
}

func (a *API) removeMember(c *call) error {
	out, err := a.registrar.RemoveMember(c.ctx(), c.principal, c.r.PathValue("group"), c.r.PathValue("account"))
	return c.answer(out, err)
}
