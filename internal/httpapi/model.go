package httpapi

import (
	"github.com/pedigree-ml/pedigree"
)

// NewModel is what a caller gives to make a model.
type NewModel struct {
	Name pedigree.Name `json:"name"`
	pedigree.ModelEdit
}

// Rename is what a caller gives to rename a model.
type Rename struct {
	To pedigree.Name `json:"to"`
}

func (a *API) listModels(c *call) error {
	project, err := c.project()
	if err != nil {
		return err
	}
	page, at, err := c.pageAt()
	if err != nil {
		return err
	}
	list, err := a.registrar.Models(c.ctx(), c.principal, project, page, at)
	return answerList(c, list, err)
}

func (a *API) createModel(c *call) error {
	project, err := c.project()
	if err != nil {
		return err
	}
	var in NewModel
	if err := c.decode(&in); err != nil {
		return err
	}
	m, err := a.registrar.CreateModel(c.ctx(), c.principal, project, in.Name, in.ModelEdit)
	if err == nil {
		c.located(string(m.Name))
	}
	return c.answerTagged(m.Changed, m, err)
}

func (a *API) getModel(c *call) error {
	project, name, err := c.model()
	if err != nil {
		return err
	}
	at, err := c.at()
	if err != nil {
		return err
	}
	m, err := readAt(c, at, func(at pedigree.At) (pedigree.Model, error) {
		return a.registrar.Model(c.ctx(), c.principal, project, name, at)
	})
	return c.answerTagged(m.Changed, m, err)
}

func (a *API) editModel(c *call) error {
	project, name, err := c.model()
	if err != nil {
		return err
	}
	ifMatch, err := c.ifMatch()
	if err != nil {
		return err
	}
	var edit pedigree.ModelEdit
	if err := c.decode(&edit); err != nil {
		return err
	}
	m, err := a.registrar.EditModel(c.ctx(), c.principal, project, name, edit, ifMatch)
	return c.answerTagged(m.Changed, m, err)
}

func (a *API) deleteModel(c *call) error {
	project, name, err := c.model()
	if err != nil {
		return err
	}
	force, err := c.flag("force")
	if err != nil {
		return err
	}
	ifMatch, err := c.ifMatch()
	if err != nil {
		return err
	}
	return c.answerNothing(a.registrar.DeleteModel(c.ctx(), c.principal, project, name, c.query.Get("reason"), force, ifMatch))
}

func (a *API) renameModel(c *call) error {
	project, name, err := c.model()
	if err != nil {
		return err
	}
	ifMatch, err := c.ifMatch()
	if err != nil {
		return err
	}
	var in Rename
	if err := c.decode(&in); err != nil {
		return err
	}
	m, err := a.registrar.RenameModel(c.ctx(), c.principal, project, name, in.To, ifMatch)
	return c.answerTagged(m.Changed, m, err)
}

func (a *API) untagModel(c *call) error {
	project, name, err := c.model()
	if err != nil {
		return err
	}
	key, err := pedigree.ParseKey("tag", c.r.PathValue("key"))
	if err != nil {
		return err
	}
	m, err := a.registrar.UntagModel(c.ctx(), c.principal, project, name, key)
	return c.answerTagged(m.Changed, m, err)
}
