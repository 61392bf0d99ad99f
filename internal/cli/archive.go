package cli

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/pedigree-ml/pedigree"
)

func newArchiveCommand(a *app) *cobra.Command {
	var reason string
	var allow bool
	cmd := &cobra.Command{
		Use:   "archive REF",
		Short: "Hide a version from lists; restore undoes it",
		Example: `  pedigree archive fraud/3 --reason "trained on the wrong month"
  pedigree restore fraud/3`,
		Args:              args(1, 1),
		ValidArgsFunction: a.completeReferences,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := refuseTyped(allow, map[string]string{"--reason": reason}); err != nil {
				return err
			}
			return a.archive(cmd.Context(), args[0], reason, true)
		},
	}
	a.archiveFlags(cmd, &reason, &allow)
	return cmd
}

func newRestoreCommand(a *app) *cobra.Command {
	var reason string
	var allow bool
	cmd := &cobra.Command{
		Use:   "restore REF",
		Short: "Undo archive or withdraw",
		Long:  `Restore shows an archived version in lists again, and lets a withdrawn one be used again.`,
		Example: `  pedigree restore fraud/3
  pedigree restore fraud/7 --reason "it was another data set"`,
		Args:              args(1, 1),
		ValidArgsFunction: a.completeReferences,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := refuseTyped(allow, map[string]string{"--reason": reason}); err != nil {
				return err
			}
			return a.archive(cmd.Context(), args[0], reason, false)
		},
	}
	a.archiveFlags(cmd, &reason, &allow)
	return cmd
}

func (a *app) archiveFlags(cmd *cobra.Command, reason *string, allow *bool) {
	cmd.Flags().StringVar(reason, "reason", "", "why; it stays in the log")
	allowSecrets(cmd.Flags(), allow)
	a.dryRunFlag(cmd)
}

// precise reads a reference that must say which version it means: "the newest" is too
// little for what hides or deletes.
func precise(name string) (pedigree.Reference, error) {
	ref, err := pedigree.ParseReference(name)
	if err == nil && ref.Version == 0 && ref.Alias == "" && ref.Digest == "" {
		err = pedigree.Errorf(pedigree.CodeInvalid, "%s names a model, and here goes a version", ref).WithFix("write its number: %s/N", ref)
	}
	return ref, err
}

func (a *app) archive(ctx context.Context, name, reason string, away bool) error {
	ref, err := precise(name)
	if err != nil {
		return err
	}
	c, err := a.client(ctx)
	if err != nil {
		return err
	}
	v, err := c.Version(ctx, ref, pedigree.At{})
	if err != nil {
		return err
	}
	full := a.reference(v.Project, v.Model, v.Number)
	fixed := pedigree.Reference{Project: v.Project, Model: v.Model, Version: v.Number}
	did, do := "restored", c.Restore
	if away {
		did, do = "archived", c.Archive
	}
	change := func() (err error) {
		v, err = do(ctx, fixed, reason)
		return err
	}
	if a.dryRun {
		return a.printPlan(ctx, full, nil, change)
	}
	if err := change(); err != nil {
		return err
	}
	return a.print(answer{value: v, names: []string{full}, human: func(w io.Writer) {
		fmt.Fprintf(w, "%s %s\n", did, full)
	}})
}

func newRemoveCommand(a *app) *cobra.Command {
	var d deletion
	var force bool
	cmd := &cobra.Command{
		Use:     "rm REF",
		Aliases: []string{"delete"},
		Short:   "Delete a version; pedigree archive only hides it",
		Long: `Rm shows the plan and asks for --yes. The version leaves every list and its number is never used
again. While an alias names it the command is refused; with --force the aliases go too.
Its history and the log stay, and bytes go only by retention.`,
		Example: `  pedigree rm fraud/3 --reason "pushed by mistake" --yes
  pedigree rm fraud/3 --dry-run`,
		Args:              args(1, 1),
		ValidArgsFunction: a.completeReferences,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.remove(cmd.Context(), args[0], d, force)
		},
	}
	d.register(a, cmd)
	cmd.Flags().BoolVar(&force, "force", false, "although aliases name it; they go too")
	return cmd
}

func (a *app) remove(ctx context.Context, name string, d deletion, force bool) error {
	ref, err := precise(name)
	if err != nil {
		return err
	}
	if err := d.check(); err != nil {
		return err
	}
	c, err := a.client(ctx)
	if err != nil {
		return err
	}
	v, err := c.Version(ctx, ref, pedigree.At{})
	if err != nil {
		return err
	}
	full := a.reference(v.Project, v.Model, v.Number)
	plan := []string{full + " leaves every list, and its number is never used again"}
	goes := ", which names it, goes with it"
	if !force {
		goes = " names it: move it first, or add --force and it goes too"
	}
	for _, alias := range v.Aliases {
		plan = append(plan, a.display(pedigree.Reference{Project: v.Project, Model: v.Model, Alias: alias})+goes)
	}
	children, err := a.children(ctx, &v)
	if err != nil {
		return err
	}
	for _, child := range children {
		plan = append(plan, child+" was made from it, and keeps saying so")
	}
	if _, err := v.Delete(d.reason, force); err != nil && d.yes && !a.dryRun {
		writePlan(a.stderr, plan)
		return err
	}
	fixed := pedigree.Reference{Project: v.Project, Model: v.Model, Version: v.Number}
	ok, err := a.confirm(d, full, plan, func() error { return c.DeleteVersion(ctx, fixed, d.reason, force) })
	if err != nil || !ok {
		return err
	}
	return a.print(answer{value: v, names: []string{full}, human: func(w io.Writer) {
		fmt.Fprintf(w, "deleted %s\n", full)
	}})
}

// children are the versions that name v as their parent.
func (a *app) children(ctx context.Context, v *pedigree.Version) ([]string, error) {
	c, err := a.client(ctx)
	if err != nil {
		return nil, err
	}
	ref := pedigree.Reference{Project: v.Project, Model: v.Model, Version: v.Number}
	graph, err := c.Lineage(ctx, ref, "down", 1, pedigree.At{})
	if err != nil {
		return nil, err
	}
	labels := map[string]string{}
	for _, n := range graph.Nodes {
		if n.Kind == "version" {
			labels[n.ID] = n.Label
		}
	}
	var out []string
	for _, e := range graph.Edges {
		if label := labels[e.To]; e.From == graph.Root && label != "" {
			out = append(out, label)
		}
	}
	return out, nil
}
