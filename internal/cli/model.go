package cli

import (
	"context"
	"fmt"
	"io"
	"reflect"
	"slices"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/pedigree-ml/pedigree"
)

func newModelCommand(a *app) *cobra.Command {
	return noun("model", "Create, describe, rename and remove models",
		newModelCreateCommand(a), newModelEditCommand(a), newModelRenameCommand(a), newModelRemoveCommand(a),
		newModelShowCommand(a), newModelListCommand(a))
}

// modelFlags are the flags that describe a model.
type modelFlags struct {
	owner, purpose, permittedUse, restrictions, tier, state, description string
	tags                                                                 []string
	allow                                                                bool // --allow-secrets
}

func (f *modelFlags) register(flags *pflag.FlagSet) {
	flags.SortFlags = false
	flags.StringVar(&f.owner, "owner", "", "person or team that answers for it")
	flags.StringVar(&f.purpose, "purpose", "", "what it is for")
	flags.StringVar(&f.permittedUse, "permitted-use", "", "what it may be used for")
	flags.StringVar(&f.restrictions, "restrictions", "", "what it must not be used for")
	flags.StringVar(&f.tier, "tier", "", "risk tier: low, medium or high")
	flags.StringVar(&f.state, "state", "", "life state: development, in_use or retired")
	flags.StringVar(&f.description, "description", "", "what else to know of it, in Markdown")
	flags.StringArrayVar(&f.tags, "tag", nil, "tag, `KEY=VALUE` (repeat)")
	allowSecrets(flags, &f.allow)
}

// edit is what the flags say; a flag that was not given changes nothing.
func (f *modelFlags) edit(flags *pflag.FlagSet) (pedigree.ModelEdit, error) {
	e := pedigree.ModelEdit{}
	for name, field := range map[string]**string{
		"owner": &e.Owner, "purpose": &e.Purpose, "permitted-use": &e.PermittedUse,
		"restrictions": &e.Restrictions, "description": &e.Description,
	} {
		if flags.Changed(name) {
			value, err := flags.GetString(name)
			if err != nil {
				return e, err
			}
			*field = &value
		}
	}
	if flags.Changed("tier") {
		tier := pedigree.Tier(f.tier)
		e.Tier = &tier
	}
	if flags.Changed("state") {
		state := pedigree.LifeState(f.state)
		e.State = &state
	}
	var err error
	if e.Tags, err = parsePairs("tag", f.tags); err != nil {
		return e, err
	}
	return e, refuseTyped(f.allow, withTags(map[string]string{
		"--owner": f.owner, "--purpose": f.purpose, "--permitted-use": f.permittedUse,
		"--restrictions": f.restrictions, "--description": f.description,
	}, e.Tags))
}

func newModelCreateCommand(a *app) *cobra.Command {
	f := &modelFlags{}
	cmd := &cobra.Command{
		Use:     "create MODEL",
		Short:   "Create a model, before its first version",
		Example: `  pedigree model create fraud --owner team:risk --purpose "score card payments" --tier high`,
		Args:    args(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			name, err := a.modelOf(args[0])
			if err != nil {
				return err
			}
			spec, err := f.edit(cmd.Flags())
			if err != nil {
				return err
			}
			if err := refuseTyped(f.allow, map[string]string{"the model's name": string(name)}); err != nil {
				return err
			}
			c, err := a.client(ctx)
			if err != nil {
				return err
			}
			m, err := c.CreateModel(ctx, name, spec)
			if err != nil {
				return err
			}
			return a.printModel(&m, "created model %s")
		},
	}
	f.register(cmd.Flags())
	a.dryRunFlag(cmd)
	return cmd
}

func (a *app) printModel(m *pedigree.Model, sentence string) error {
	name := a.reference(m.Project, m.Name, 0)
	return a.print(answer{value: m, names: []string{name}, human: func(w io.Writer) {
		fmt.Fprintf(w, sentence+"\n", name)
	}})
}

func newModelEditCommand(a *app) *cobra.Command {
	f := &modelFlags{}
	var remove []string
	cmd := &cobra.Command{
		Use:   "edit MODEL",
		Short: "Change what is said of a model",
		Example: `  pedigree model edit fraud --state in_use --restrictions "not for credit decisions"
  pedigree model edit fraud --owner ""`,
		Args:              args(1, 1),
		ValidArgsFunction: a.completeModels,
		RunE: func(cmd *cobra.Command, args []string) error {
			name, err := a.modelOf(args[0])
			if err != nil {
				return err
			}
			edit, err := f.edit(cmd.Flags())
			if err != nil {
				return err
			}
			if reflect.ValueOf(edit).IsZero() && len(remove) == 0 {
				return pedigree.Errorf(pedigree.CodeInvalid, "say what to change").WithFix("pedigree model edit --help lists the flags")
			}
			return a.editModel(cmd.Context(), name, edit, remove)
		},
	}
	f.register(cmd.Flags())
	cmd.Flags().StringArrayVar(&remove, "untag", nil, "remove the tag `KEY` (repeat)")
	a.dryRunFlag(cmd)
	return cmd
}

func (a *app) editModel(ctx context.Context, name pedigree.Name, edit pedigree.ModelEdit, remove []string) error {
	c, err := a.client(ctx)
	if err != nil {
		return err
	}
	var m pedigree.Model
	var steps []func() error
	if !reflect.ValueOf(edit).IsZero() || len(remove) == 0 {
		steps = append(steps, func() (err error) {
			m, err = c.EditModel(ctx, name, edit, nil)
			return err
		})
	}
	for _, key := range remove {
		steps = append(steps, func() (err error) {
			m, err = c.UntagModel(ctx, name, key)
			return err
		})
	}
	if a.dryRun {
		return a.printPlan(ctx, a.reference(c.Project(), name, 0), nil, func() error { return a.each(steps...) })
	}
	if err := a.each(steps...); err != nil {
		return err
	}
	return a.printModel(&m, "changed model %s")
}

func newModelRenameCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "rename MODEL NEW-NAME",
		Short: "Rename a model; its history and its references by id stay true",
		Example: `  pedigree model rename fraud card-fraud
  pedigree model rename fraud card-fraud --dry-run`,
		Args:              args(2, 2),
		ValidArgsFunction: a.completeModels,
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			name, err := a.modelOf(args[0])
			if err != nil {
				return err
			}
			to, err := pedigree.ParseName(args[1])
			if err != nil {
				return err
			}
			c, err := a.client(ctx)
			if err != nil {
				return err
			}
			var renamed pedigree.Model
			rename := func() (err error) {
				renamed, err = c.RenameModel(ctx, name, to)
				return err
			}
			if a.dryRun {
				return a.printPlan(ctx, a.reference(c.Project(), name, 0), nil, rename)
			}
			if err := rename(); err != nil {
				return err
			}
			return a.printModel(&renamed, string(name)+" is now %s")
		},
	}
	a.dryRunFlag(cmd)
	return cmd
}

func newModelRemoveCommand(a *app) *cobra.Command {
	var d deletion
	var force bool
	cmd := &cobra.Command{
		Use:     "rm MODEL",
		Aliases: []string{"delete"},
		Short:   "Delete a model: hide it with all its versions and free its name",
		Long: `Rm shows the plan and asks for --yes. The model and its versions leave every list and its
name is free for another; history and log stay, and bytes go only by retention.`,
		Example: `  pedigree model rm fraud-test --reason "was an experiment" --yes
  pedigree model rm fraud-test --force --yes`,
		Args:              args(1, 1),
		ValidArgsFunction: a.completeModels,
		RunE: func(cmd *cobra.Command, args []string) error {
			name, err := a.modelOf(args[0])
			if err != nil {
				return err
			}
			return a.removeModel(cmd.Context(), name, d, force)
		},
	}
	d.register(a, cmd)
	cmd.Flags().BoolVar(&force, "force", false, "although aliases name its versions")
	return cmd
}

func (a *app) removeModel(ctx context.Context, name pedigree.Name, d deletion, force bool) error {
	if err := d.check(); err != nil {
		return err
	}
	c, err := a.client(ctx)
	if err != nil {
		return err
	}
	m, err := c.Model(ctx, name, pedigree.At{})
	if err != nil {
		return err
	}
	full := a.reference(m.Project, m.Name, 0)
	plan := []string{"the model " + full + " and all its versions leave every list; the name is free"}
	goes := "%s, which names version %d, goes with it"
	if !force {
		goes = "%s names version %d: remove it first, or add --force and it goes too"
	}
	for alias, n := range m.Aliases {
		plan = append(plan, fmt.Sprintf(goes, a.display(pedigree.Reference{Project: m.Project, Model: m.Name, Alias: alias}), n))
	}
	slices.Sort(plan[1:])
	ok, err := a.confirm(d, full, plan, func() error { return c.DeleteModel(ctx, name, d.reason, force) })
	if err != nil || !ok {
		return err
	}
	return a.printModel(&m, "deleted model %s")
}

func newModelShowCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:               "show MODEL",
		Short:             "Show a model and its newest versions",
		Example:           `  pedigree model show fraud --at -7d`,
		Args:              args(1, 1),
		ValidArgsFunction: a.completeModels,
		RunE: func(cmd *cobra.Command, args []string) error {
			ref, at, err := a.question(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return a.showModel(cmd.Context(), ref, at)
		},
	}
	a.atFlag(cmd)
	return cmd
}

func newModelListCommand(a *app) *cobra.Command {
	var limit int
	cmd := &cobra.Command{
		Use:     "ls",
		Aliases: []string{"list"},
		Short:   "List the models",
		Example: `  pedigree model ls -p risk`,
		Args:    args(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			at, err := a.moment()
			if err != nil {
				return err
			}
			return a.listModels(cmd.Context(), limit, at)
		},
	}
	limitFlag(cmd, &limit)
	a.atFlag(cmd)
	return cmd
}
