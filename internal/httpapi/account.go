package httpapi

import (
	"github.com/pedigree-ml/pedigree"
)

const (
	account = "/accounts/{account}"
	group   = "/groups/{group}"
)

// accessRoutes are the operations on accounts, groups, roles and tokens.
func (a *API) accessRoutes() []Route {
	bindings := func(base, id, where string) []Route {
		return []Route{
			{Method: get, Pattern: base, ID: "list" + id + "s", Tag: "access", Summary: "List who has which role " + where + ".", Query: listParams, Response: pedigree.List[pedigree.Binding]{}, handle: a.listBindings},
			{Method: post, Pattern: base, ID: "add" + id, Tag: "access", Summary: "Give an account, or a group (group:NAME), a role " + where + ".", Request: pedigree.NewBinding{}, Response: pedigree.Binding{}, Status: created, Changes: true, Judged: true, RequestExample: exampleBinding, handle: a.addBinding},
			{Method: remove, Pattern: base + "/{role}/{member}", ID: "remove" + id, Tag: "access", Summary: "Take a role away " + where + ".", Status: noContent, Changes: true, Judged: true, handle: a.removeBinding},
		}
	}
	routes := []Route{
		{Method: get, Pattern: "/whoami", ID: "whoAmI", Tag: "access", Summary: "Say what the registry knows of the caller: account, token and roles.", Response: pedigree.Identity{}, handle: a.whoAmI},
		{Method: get, Pattern: "/accounts", ID: "listAccounts", Tag: "access", Summary: "List accounts by name.", Query: []Param{limitParam, cursorParam}, Response: pedigree.List[pedigree.Account]{}, handle: a.listAccounts},
		{Method: post, Pattern: "/accounts", ID: "createAccount", Tag: "access", Summary: "Make an account. It may do nothing yet.", Request: pedigree.NewAccount{}, Response: pedigree.Account{}, Status: created, Changes: true, RequestExample: exampleAccount, handle: a.createAccount},
		{Method: get, Pattern: account, ID: "getAccount", Tag: "access", Summary: "Read an account by its name or its id.", Response: pedigree.Account{}, handle: a.getAccount},
		{Method: patch, Pattern: account, ID: "editAccount", Tag: "access", Summary: "Change what is said of an account.", Request: pedigree.AccountEdit{}, Response: pedigree.Account{}, Changes: true, RequestExample: pedigree.AccountEdit{Email: ptr("ann@example.org")}, handle: a.editAccount},
		{Method: post, Pattern: account + "/disable", ID: "disableAccount", Tag: "access", Summary: "Take every right from an account, until it is enabled.", Request: Reason{}, OptionalBody: true, Response: pedigree.Account{}, Changes: true, handle: a.disableAccount},
		{Method: post, Pattern: account + "/enable", ID: "enableAccount", Tag: "access", Summary: "Give an account its rights back.", Request: Reason{}, OptionalBody: true, Response: pedigree.Account{}, Changes: true, handle: a.enableAccount},
		{Method: post, Pattern: account + "/erase", ID: "eraseAccount", Tag: "access", Summary: "Erase the name, the addresses and the tokens of an account for good. What it did stays in the log under its id.", Response: pedigree.Account{}, Changes: true, handle: a.eraseAccount},

		{Method: get, Pattern: "/groups", ID: "listGroups", Tag: "access", Summary: "List groups by name.", Query: []Param{limitParam, cursorParam}, Response: pedigree.List[pedigree.Group]{}, handle: a.listGroups},
		{Method: post, Pattern: "/groups", ID: "createGroup", Tag: "access", Summary: "Make a group.", Request: NewGroup{}, Response: pedigree.Group{}, Status: created, Changes: true, Judged: true, RequestExample: NewGroup{Name: "risk"}, handle: a.createGroup},
		{Method: get, Pattern: group, ID: "getGroup", Tag: "access", Summary: "Read a group with its members.", Response: pedigree.Group{}, handle: a.getGroup},
		{Method: remove, Pattern: group, ID: "deleteGroup", Tag: "access", Summary: "End a group, and all that was granted to it.", Status: noContent, Changes: true, Judged: true, handle: a.deleteGroup},
		{Method: put, Pattern: group + "/members/{account}", ID: "addMember", Tag: "access", Summary: "Put an account into a group.", Response: pedigree.Group{}, Changes: true, Judged: true, handle: a.addMember},
		{Method: remove, Pattern: group + "/members/{account}", ID: "removeMember", Tag: "access", Summary: "Take an account out of a group.", Response: pedigree.Group{}, Changes: true, Judged: true, handle: a.removeMember},

		{Method: get, Pattern: "/tokens", ID: "listTokens", Tag: "access", Summary: "List the tokens of the caller, or of an account, that were not revoked.", Query: []Param{
			{Name: "account", Type: "string", Doc: "Whose: a name, an id, or * for everybody's. Without it: the caller's own."}, limitParam, cursorParam,
		}, Response: pedigree.List[pedigree.Token]{}, handle: a.listTokens},
		{Method: post, Pattern: "/tokens", ID: "createToken", Tag: "access", Summary: "Make a token. This answer alone holds its text; that of a repeated request does not.", Request: pedigree.NewToken{}, Response: pedigree.Token{}, Status: created, Changes: true, RequestExample: pedigree.NewToken{Name: "ci"}, handle: a.createToken},
		{Method: remove, Pattern: "/tokens/{token}", ID: "revokeToken", Tag: "access", Summary: "End a token at once.", Status: noContent, Changes: true, handle: a.revokeToken},
	}
	routes = append(routes, bindings("/projects/{project}/bindings", "ProjectBinding", "in a project")...)
	return append(routes, bindings("/bindings", "Binding", "for the whole registry")...)
}

func (a *API) whoAmI(c *call) error {
	who, err := a.registrar.WhoAmI(c.ctx(), c.principal)
	return c.answer(who, err)
}

func (a *API) listAccounts(c *call) error {
	page, err := c.page()
	if err != nil {
		return err
	}
	list, err := a.registrar.Accounts(c.ctx(), c.principal, page)
	return answerList(c, list, err)
}

func (a *API) createAccount(c *call) error {
	var in pedigree.NewAccount
	if err := c.decode(&in); err != nil {
		return err
	}
	out, err := a.registrar.CreateAccount(c.ctx(), c.principal, in)
	if err == nil {
		c.located(string(out.Name))
	}
	return c.answer(out, err)
}

func (a *API) getAccount(c *call) error {
	out, err := a.registrar.Account(c.ctx(), c.principal, c.r.PathValue("account"))
	return c.answer(out, err)
}

func (a *API) editAccount(c *call) error {
	var in pedigree.AccountEdit
	if err := c.decode(&in); err != nil {
		return err
	}
	out, err := a.registrar.EditAccount(c.ctx(), c.principal, c.r.PathValue("account"), in)
	return c.answer(out, err)
}

func (a *API) disableAccount(c *call) error {
	var in Reason
	if err := c.decodeOptional(&in); err != nil {
		return err
	}
	out, err := a.registrar.DisableAccount(c.ctx(), c.principal, c.r.PathValue("account"), in.Reason)
	return c.answer(out, err)
}

func (a *API) enableAccount(c *call) error {
	var in Reason
	if err := c.decodeOptional(&in); err != nil {
		return err
	}
	out, err := a.registrar.EnableAccount(c.ctx(), c.principal, c.r.PathValue("account"), in.Reason)
	return c.answer(out, err)
}

func (a *API) eraseAccount(c *call) error {
	out, err := a.registrar.EraseAccount(c.ctx(), c.principal, c.r.PathValue("account"))
	return c.answer(out, err)
}
