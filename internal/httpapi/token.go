package httpapi

import (
	"github.com/pedigree-ml/pedigree"
)

func (a *API) listTokens(c *call) error {
	page, err := c.page()
	if err != nil {
		return err
	}
	list, err := a.registrar.Tokens(c.ctx(), c.principal, c.query.Get("account"), page)
	return answerList(c, list, err)
}

func (a *API) createToken(c *call) error {
	var in pedigree.NewToken
	if err := c.decode(&in); err != nil {
		return err
	}
	c.w.Header().Set("Cache-Control", "no-store")
	out, err := a.registrar.CreateToken(c.ctx(), c.principal, in)
	return c.answer(out, err)
}

func (a *API) revokeToken(c *call) error {
	return c.answerNothing(a.registrar.RevokeToken(c.ctx(), c.principal, c.r.PathValue("token")))
}
