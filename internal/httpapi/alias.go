package httpapi

import (
	"github.com/pedigree-ml/pedigree"
)

// AliasPointer is what a caller gives to point an alias.
type AliasPointer struct {
	// Version is 7, latest, @other or sha256:….
	Version string `json:"version" doc:"The version: 7, latest, @other or sha256:…" example:"7"`
	// IfCurrent is the version that the alias must name now, 0 for none; null asks for
	// nothing.
	IfCurrent *pedigree.VersionNumber `json:"if_current,omitempty" doc:"The version that the alias must name now, 0 for none."`
	Note      string                  `json:"note,omitempty"`
}

func (a *API) listAliases(c *call) error {
	project, name, err := c.model()
	if err != nil {
		return err
	}
	at, err := c.at()
	if err != nil {
		return err
	}
	list, err := a.registrar.Aliases(c.ctx(), c.principal, project, name, at)
	return answerList(c, list, err)
}

func (a *API) setAlias(c *call) error {
	project, name, err := c.model()
	if err != nil {
		return err
	}
	alias, err := c.alias()
	if err != nil {
		return err
	}
	var in AliasPointer
	if err := c.decode(&in); err != nil {
		return err
	}
	ref := pedigree.Reference{Project: project, Model: name}
	if err := selectVersion(&ref, in.Version); err != nil {
		return err
	}
	move, err := a.registrar.SetAlias(c.ctx(), c.principal, ref, alias, in.IfCurrent, in.Note)
	return c.answer(move, err)
}

func (a *API) removeAlias(c *call) error {
	project, name, err := c.model()
	if err != nil {
		return err
	}
	alias, err := c.alias()
	if err != nil {
		return err
	}
	n, err := c.number("if_current", -1, 0)
	if err != nil {
		return err
	}
	var ifCurrent *pedigree.VersionNumber
	if n >= 0 {
		ifCurrent = ptr(pedigree.VersionNumber(n))
	}
	return c.answerNothing(a.registrar.RemoveAlias(c.ctx(), c.principal, project, name, alias, ifCurrent, c.query.Get("note")))
}

// aliasHistory serves the history of one alias, and of all where the path names none.
func (a *API) aliasHistory(c *call) error {
	project, name, err := c.model()
	if err != nil {
		return err
	}
	var alias pedigree.Alias
	if c.r.PathValue("alias") != "" {
		if alias, err = c.alias(); err != nil {
			return err
		}
	}
	page, at, err := c.pageAt()
	if err != nil {
		return err
	}
	list, err := a.registrar.AliasHistory(c.ctx(), c.principal, project, name, alias, page, at)
	return answerList(c, list, err)
}
