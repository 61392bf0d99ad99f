package httpapi

import (
	"github.com/pedigree-ml/pedigree"
)

// search serves a search in one project, and in all where the path names none.
func (a *API) search(c *call) error {
	var project pedigree.ProjectName
	if c.r.PathValue("project") != "" {
		var err error
		if project, err = c.project(); err != nil {
			return err
		}
	}
	page, at, err := c.pageAt()
	if err != nil {
		return err
	}
	list, err := a.registrar.Search(c.ctx(), c.principal, project, c.query.Get("filter"), c.query.Get("order"), page, at)
	return answerList(c, list, err)
}

// listVersions is a search among the versions of one model.
func (a *API) listVersions(c *call) error {
	project, name, err := c.model()
	if err != nil {
		return err
	}
	page, at, err := c.pageAt()
	if err != nil {
		return err
	}
	filter, err := ofModel(name, c.query.Get("filter"))
	if err != nil {
		return param("filter", err)
	}
	list, err := a.registrar.Search(c.ctx(), c.principal, project, filter, c.query.Get("order"), page, at)
	if err == nil && len(list.Items) == 0 { // or is there no such model?
		_, err = a.registrar.Model(c.ctx(), c.principal, project, name, at)
	}
	return answerList(c, list, err)
}

// ofModel is a filter that also asks for the model.
func ofModel(name pedigree.Name, filter string) (string, error) {
	f, err := pedigree.ParseFilter(filter)
	if err != nil {
		return "", err
	}
	root := &pedigree.FilterNode{
		Op: pedigree.Compare, Cmp: pedigree.CmpEqual,
		Field:  pedigree.FilterField{Kind: pedigree.KindAttribute, Key: "model"},
		Values: []pedigree.FilterValue{{Text: string(name)}},
	}
	switch {
	case f.Root == nil:
	case f.Root.Op == pedigree.And: // an And has no And below it
		root = &pedigree.FilterNode{Op: pedigree.And, Args: append([]*pedigree.FilterNode{root}, f.Root.Args...)}
	default:
		root = &pedigree.FilterNode{Op: pedigree.And, Args: []*pedigree.FilterNode{root, f.Root}}
	}
	return (&pedigree.Filter{Root: root}).String(), nil
}
