package cli

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/pedigree-ml/pedigree"
)

func newProjectCommand(a *app) *cobra.Command {
	return noun("project", "Create and list projects, the namespaces of teams",
		newProjectCreateCommand(a), newProjectListCommand(a), newProjectShowCommand(a))
}

func newProjectCreateCommand(a *app) *cobra.Command {
	var description string
	var allow bool
	cmd := &cobra.Command{
		Use:     "create PROJECT",
		Short:   "Create a project",
		Example: `  pedigree project create risk --description "models of the risk team"`,
		Args:    args(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			name, err := pedigree.ParseProjectName(args[0])
			if err != nil {
				return err
			}
			if err := refuseTyped(allow, map[string]string{"--description": description, "the project's name": string(name)}); err != nil {
				return err
			}
			c, err := a.client(cmd.Context())
			if err != nil {
				return err
			}
			p, err := c.CreateProject(cmd.Context(), name, description)
			if err != nil {
				return err
			}
			return a.print(answer{value: p, names: []string{string(p.Name)}, human: func(w io.Writer) {
				fmt.Fprintf(w, "created project %s; work in it with -p %s or PEDIGREE_PROJECT=%s\n", p.Name, p.Name, p.Name)
			}})
		},
	}
	cmd.Flags().StringVar(&description, "description", "", "what the project is for")
	allowSecrets(cmd.Flags(), &allow)
	a.dryRunFlag(cmd)
	return cmd
}

func newProjectListCommand(a *app) *cobra.Command {
	var limit int
	cmd := &cobra.Command{
		Use:     "ls",
		Aliases: []string{"list"},
		Short:   "List the projects",
		Example: `  pedigree project ls`,
		Args:    args(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, at, err := a.clientAt(cmd.Context())
			if err != nil {
				return err
			}
			list, err := gather(limit, func(page pedigree.Page) (pedigree.List[pedigree.Project], error) {
				return c.Projects(cmd.Context(), page, at)
			})
			if err != nil {
				return err
			}
			var names []string
			t := a.newTable("project", "description", "created (UTC)", "by")
			for _, p := range list.Items {
				names = append(names, string(p.Name))
				t.row(p.Name, cut(p.Description, 60), stamp(p.CreatedAt), a.who(p.CreatedBy))
			}
			err = a.print(answer{value: list, names: names, asOf: a.asOf(cmd.Context(), at), human: func(w io.Writer) { t.write(w, "") }})
			a.more(list.Next, limit)
			return err
		},
	}
	limitFlag(cmd, &limit)
	a.atFlag(cmd)
	return cmd
}

func newProjectShowCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "show PROJECT",
		Short:   "Show a project",
		Example: `  pedigree project show risk`,
		Args:    args(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			name, err := pedigree.ParseProjectName(args[0])
			if err != nil {
				return err
			}
			c, at, err := a.clientAt(cmd.Context())
			if err != nil {
				return err
			}
			p, err := c.GetProject(cmd.Context(), name, at)
			if err != nil {
				return err
			}
			asOf := a.asOf(cmd.Context(), at)
			return a.print(answer{value: p, names: []string{string(p.Name)}, human: func(w io.Writer) {
				out := page{w}
				out.title(string(p.Name), "")
				out.line("as of", asOf)
				out.text("description", p.Description)
				out.line("created", a.since(p.CreatedAt), "by "+a.who(p.CreatedBy))
				out.line("id", p.ID)
			}})
		},
	}
	a.atFlag(cmd)
	return cmd
}
