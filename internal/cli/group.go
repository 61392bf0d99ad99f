package cli

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/client"
)

func newGroupCommand(a *app) *cobra.Command {
	cmd := noun("group", "Sets of accounts that get roles together",
		newGroupCreateCommand(a), newGroupListCommand(a), newGroupDeleteCommand(a),
		newGroupMemberCommand(a, "add", "Put accounts into a group", "is in", (*client.Client).AddMember),
		newGroupMemberCommand(a, "remove", "Take accounts out of a group", "is not in", (*client.Client).RemoveMember))
	cmd.Long = `What is granted to a group is granted to each of its members: pedigree role grant ROLE
group:NAME.`
	return cmd
}

func newGroupCreateCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "create NAME",
		Short:   "Make a group",
		Example: `  pedigree group create risk`,
		Args:    args(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			name, err := pedigree.ParseActorName(args[0])
			if err != nil {
				return err
			}
			c, err := a.client(cmd.Context())
			if err != nil {
				return err
			}
			g, err := c.CreateGroup(cmd.Context(), name)
			if err != nil {
				return err
			}
			return a.print(answer{value: g, names: []string{string(g.Name)}, human: func(w io.Writer) {
				fmt.Fprintf(w, "created the group %s; next:\n  pedigree group add %s NAME\n  pedigree role grant contributor group:%s\n", g.Name, g.Name, g.Name)
			}})
		},
	}
	a.dryRunFlag(cmd)
	return cmd
}

func newGroupListCommand(a *app) *cobra.Command {
	var limit int
	cmd := &cobra.Command{
		Use:     "list [NAME]",
		Aliases: []string{"ls"},
		Short:   "List the groups, or the members of one",
		Example: `  pedigree group list
  pedigree group list risk`,
		Args: args(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client(cmd.Context())
			if err != nil {
				return err
			}
			if len(args) == 1 {
				return a.printGroup(cmd.Context(), c, args[0])
			}
			list, err := gather(limit, func(page pedigree.Page) (pedigree.List[pedigree.Group], error) {
				return c.Groups(cmd.Context(), page)
			})
			if err != nil {
				return err
			}
			var names []string
			t := a.newTable("group", "created (UTC)", "by")
			for _, g := range list.Items {
				names = append(names, string(g.Name))
				t.row(g.Name, stamp(g.CreatedAt), a.who(g.CreatedBy))
			}
			err = a.print(answer{value: list, names: names, human: func(w io.Writer) {
				if len(names) == 0 {
					fmt.Fprintln(w, "no groups")
					return
				}
				t.write(w, "")
			}})
			a.more(list.Next, limit)
			return err
		},
	}
	limitFlag(cmd, &limit)
	return cmd
}

func (a *app) printGroup(ctx context.Context, c *client.Client, name string) error {
	g, err := c.GetGroup(ctx, name)
	if err != nil {
		return err
	}
	var names []string
	for _, m := range g.Members {
		names = append(names, m.Label())
	}
	return a.print(answer{value: g, names: names, human: func(w io.Writer) {
		if len(names) == 0 {
			fmt.Fprintf(w, "nobody is in the group %s\n", g.Name)
		}
		for _, n := range names {
			fmt.Fprintln(w, n)
		}
	}})
}

func newGroupDeleteCommand(a *app) *cobra.Command {
	var d deletion
	cmd := &cobra.Command{
		Use:     "delete NAME",
		Aliases: []string{"rm"},
		Short:   "End a group, and all that was granted to it",
		Example: `  pedigree group delete risk --yes`,
		Args:    args(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client(cmd.Context())
			if err != nil {
				return err
			}
			g, err := c.GetGroup(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			ok, err := a.confirm(d, string(g.Name), []string{
				fmt.Sprintf("the group %s ends, and with it what it gave to %s", g.Name, count(len(g.Members), "member")),
			}, func() error { return c.DeleteGroup(cmd.Context(), g.ID) })
			if err != nil || !ok {
				return err
			}
			return a.print(answer{value: g, names: []string{string(g.Name)}, human: func(w io.Writer) { fmt.Fprintf(w, "deleted the group %s\n", g.Name) }})
		},
	}
	cmd.Flags().BoolVar(&d.yes, "yes", false, "do it")
	a.dryRunFlag(cmd)
	return cmd
}

func newGroupMemberCommand(a *app, verb, short, now string, do func(*client.Client, context.Context, string, string) (pedigree.Group, error)) *cobra.Command {
	cmd := &cobra.Command{
		Use:     verb + " GROUP NAME…",
		Short:   short,
		Example: `  pedigree group ` + verb + ` risk ann bob`,
		Args:    args(2, -1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client(cmd.Context())
			if err != nil {
				return err
			}
			var g pedigree.Group
			var steps []func() error
			for _, name := range args[1:] {
				steps = append(steps, func() (err error) {
					g, err = do(c, cmd.Context(), args[0], name)
					return err
				})
			}
			if err := a.each(steps...); err != nil {
				return err
			}
			return a.print(answer{value: g, names: []string{string(g.Name)}, human: func(w io.Writer) {
				for _, name := range args[1:] {
					fmt.Fprintf(w, "%s %s the group %s\n", name, now, g.Name)
				}
			}})
		},
	}
	a.dryRunFlag(cmd)
	return cmd
}
