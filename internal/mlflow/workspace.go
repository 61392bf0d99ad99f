package mlflow

import (
	"net/http"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/internal/httpx"
)

// Workspaces are MLflow's word for projects. A client of MLflow 3 that has one set sends
// its name with every request, see projectOf.

// workspaceRoutes are the endpoints about workspaces.
func (d *Dialect) workspaceRoutes() []Route {
	const all, one = api3 + "/workspaces", api3 + "/workspaces/{workspace}"
	keep := "Projects are neither changed nor deleted: their history stays."
	return []Route{
		{Method: get, Pattern: all, Support: Full, handle: d.listWorkspaces},
		{Method: post, Pattern: all, Support: Partial, Why: "A name and a description; where artifacts and traces go is the server's matter.", handle: d.createWorkspace},
		{Method: get, Pattern: one, Support: Full, handle: d.getWorkspace},
		{Method: patch, Pattern: one, Support: None, Why: keep, Raw: true, handle: refuse(keep)},
		{Method: remove, Pattern: one, Support: None, Why: keep, Raw: true, handle: refuse(keep)},
	}
}

// refuse answers what is not done. It does not say that the endpoint is missing: clients
// take that for a server without workspaces.
func refuse(why string) func(*call) error {
	return func(*call) error { return &wireError{http.StatusBadRequest, "BAD_REQUEST", why} }
}

// workspaceMissing gives an error the reason that the workspace which the request names
// is not there, where that is so.
func (c *call) workspaceMissing(err error) error {
	if err == nil || c.r.Header.Get(workspaceHeader) == "" || c.r.PathValue("project") != "" || classify(err).status != http.StatusNotFound {
		return err
	}
	if _, missing := c.d.registrar.Project(c.ctx(), c.principal, c.project, pedigree.At{}); pedigree.CodeOf(missing) == pedigree.CodeNotFound {
		return noWorkspace(c.project)
	}
	return err
}

func noWorkspace(name pedigree.ProjectName) error { return notFound("Workspace '%s' not found", name) }

// workspace is a project on the wire.
type workspace struct {
	Name        string `json:"name"`
	Description string `json:"description,omitempty"`
}

type workspaceAnswer struct {
	Workspace workspace `json:"workspace"`
}

func wireWorkspace(p *pedigree.Project) workspace {
	return workspace{Name: string(p.Name), Description: p.Description}
}

func (d *Dialect) listWorkspaces(c *call) error {
	answer := struct {
		Workspaces []workspace `json:"workspaces,omitempty"`
	}{}
	page := pedigree.Page{Limit: pedigree.MaxLimit}
	for {
		list, err := d.registrar.Projects(c.ctx(), c.principal, page, pedigree.At{})
		if err != nil {
			return err
		}
		for i := range list.Items {
			answer.Workspaces = append(answer.Workspaces, wireWorkspace(&list.Items[i]))
		}
		if page.Cursor = list.Next; page.Cursor == "" {
			return c.answer(answer, nil)
		}
	}
}

func (d *Dialect) getWorkspace(c *call) error {
	name, err := pedigree.ParseProjectName(c.r.PathValue("workspace"))
	if err != nil {
		return err
	}
	p, err := d.registrar.Project(c.ctx(), c.principal, name, pedigree.At{})
	if pedigree.CodeOf(err) == pedigree.CodeNotFound {
		err = noWorkspace(name)
	}
	return c.answer(workspaceAnswer{wireWorkspace(&p)}, err)
}

func (d *Dialect) createWorkspace(c *call) error {
	var in struct {
		Name        string `json:"name" mlflow:"required"`
		Description string `json:"description"`
	}
	if err := c.read(&in); err != nil {
		return err
	}
	if in.Name == string(pedigree.DefaultProject) {
		return invalid("The 'default' workspace is reserved and cannot be created")
	}
	name, err := pedigree.ParseProjectName(in.Name)
	if err != nil {
		return err
	}
	p, err := d.registrar.CreateProject(c.ctx(), c.principal, name, in.Description)
	switch pedigree.CodeOf(err) {
	case "":
		return httpx.WriteJSON(c.w, http.StatusCreated, workspaceAnswer{wireWorkspace(&p)})
	case pedigree.CodeExists:
		return exists("Workspace '%s' already exists.", name)
	}
	return err
}
