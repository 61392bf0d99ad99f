package cli

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/pedigree-ml/pedigree"
)

// roleTable is the part of a help text that says what the roles may.
const roleTable = `Roles:
  viewer       reads records and history, not bytes
  reader       and the bytes
  contributor  registers, amends, tags, reports runs, moves aliases that nothing protects
  approver     reads, decides on approvals, withdraws versions
  deployer     reads, deploys, reports, rolls back
  oncall       reads, and rolls back
  admin        everything: in a project, or with --instance in the whole registry`

func newRoleCommand(a *app) *cobra.Command {
	cmd := noun("role", "Give and take roles, in a project or in the whole registry",
		newRoleGrantCommand(a), newRoleRevokeCommand(a), newRoleListCommand(a))
	cmd.Long = roleTable
	return cmd
}

// roleFlags say where a role is meant.
type roleFlags struct{ instance bool }

func (f *roleFlags) register(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&f.instance, "instance", false, "in the whole registry, not in one project")
}

// project is the project that is meant, "" for the whole registry.
func (f *roleFlags) project(a *app, cmd *cobra.Command) (pedigree.ProjectName, error) {
	if !f.instance {
		return a.projectName(), nil
	}
	if cmd.Flags().Changed("project") {
		return "", pedigree.Errorf(pedigree.CodeInvalid, "--project and --instance say different things").WithFix("leave one of them out")
	}
	return "", nil
}

func inProject(project pedigree.ProjectName) string {
	if project == "" {
		return "in the whole registry"
	}
	return "in project " + string(project)
}

func newRoleGrantCommand(a *app) *cobra.Command {
	var f roleFlags
	cmd := &cobra.Command{
		Use:   "grant ROLE NAME|group:NAME",
		Short: "Give an account or a group a role",
		Long:  roleTable,
		Example: `  pedigree role grant contributor ann -p risk
  pedigree role grant approver group:risk-officers -p risk
  pedigree role grant admin bob --instance`,
		Args: args(2, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			role, err := pedigree.ParseRole(args[0])
			if err != nil {
				return err
			}
			project, err := f.project(a, cmd)
			if err != nil {
				return err
			}
			c, err := a.client(cmd.Context())
			if err != nil {
				return err
			}
			b, err := c.AddBinding(cmd.Context(), project, pedigree.NewBinding{Role: role, Member: args[1]})
			if err != nil {
				return err
			}
			return a.print(answer{value: b, names: []string{b.Member.Label()}, human: func(w io.Writer) {
				fmt.Fprintf(w, "%s is %s %s\n", b.Member.Label(), b.Role, inProject(project))
			}})
		},
	}
	f.register(cmd)
	a.dryRunFlag(cmd)
	return cmd
}

func newRoleRevokeCommand(a *app) *cobra.Command {
	var f roleFlags
	cmd := &cobra.Command{
		Use:     "revoke ROLE NAME|group:NAME",
		Short:   "Take a role away; it holds from the next request on",
		Example: `  pedigree role revoke contributor ann -p risk`,
		Args:    args(2, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			role, err := pedigree.ParseRole(args[0])
			if err != nil {
				return err
			}
			project, err := f.project(a, cmd)
			if err != nil {
				return err
			}
			c, err := a.client(cmd.Context())
			if err != nil {
				return err
			}
			b := pedigree.NewBinding{Role: role, Member: args[1]}
			if err := c.RemoveBinding(cmd.Context(), project, b); err != nil {
				return err
			}
			return a.print(answer{value: b, names: []string{b.Member}, human: func(w io.Writer) {
				fmt.Fprintf(w, "%s is not %s %s any more\n", b.Member, b.Role, inProject(project))
			}})
		},
	}
	f.register(cmd)
	a.dryRunFlag(cmd)
	return cmd
}

func newRoleListCommand(a *app) *cobra.Command {
	var f roleFlags
	var limit int
	cmd := &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "List who has which role",
		Example: `  pedigree role list -p risk
  pedigree role list --instance
  pedigree role list -p risk --at -30d`,
		Args: args(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			project, err := f.project(a, cmd)
			if err != nil {
				return err
			}
			c, at, err := a.clientAt(cmd.Context())
			if err != nil {
				return err
			}
			list, err := gather(limit, func(page pedigree.Page) (pedigree.List[pedigree.Binding], error) {
				return c.Bindings(cmd.Context(), project, page, at)
			})
			if err != nil {
				return err
			}
			var names []string
			t := a.newTable("member", "role", "since (UTC)", "by")
			for i := range list.Items {
				b := &list.Items[i]
				names = append(names, b.Member.Label()+" "+string(b.Role))
				t.row(b.Member.Label(), b.Role, stamp(b.Time), a.who(b.Actor))
			}
			err = a.print(answer{value: list, names: names, asOf: a.asOf(cmd.Context(), at), human: func(w io.Writer) {
				if len(names) == 0 {
					fmt.Fprintf(w, "nobody has a role %s alone\n", inProject(project))
					return
				}
				t.write(w, "")
			}})
			a.more(list.Next, limit)
			return err
		},
	}
	f.register(cmd)
	limitFlag(cmd, &limit)
	a.atFlag(cmd)
	return cmd
}
