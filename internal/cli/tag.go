package cli

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/pedigree-ml/pedigree"
)

func newTagCommand(a *app) *cobra.Command {
	edit := tagEdit{}
	var description string
	var allow bool
	cmd := &cobra.Command{
		Use:   "tag REF|MODEL [KEY=VALUE …]",
		Short: "Set and remove tags of a version or a model, and describe a version",
		Example: `  pedigree tag fraud/7 team=risk ticket=RISK-812
  pedigree tag fraud team=risk
  pedigree tag fraud/7 --rm ticket --description "the one with the new merchant features"`,
		Args:              args(1, -1),
		ValidArgsFunction: a.completeReferences,
		RunE: func(cmd *cobra.Command, args []string) error {
			ref, err := pedigree.ParseReference(args[0])
			if err != nil {
				return err
			}
			if edit.tags, err = parsePairs("tag", args[1:]); err != nil {
				return err
			}
			if cmd.Flags().Changed("description") {
				edit.description = &description
			}
			if len(edit.tags) == 0 && len(edit.remove) == 0 && edit.description == nil {
				return pedigree.Errorf(pedigree.CodeInvalid, "there is nothing to set or to remove").WithFix("write: pedigree tag %s KEY=VALUE", ref)
			}
			texts := withTags(map[string]string{"--description": description}, edit.tags)
			if err := refuseTyped(allow, texts); err != nil {
				return err
			}
			if ref.Version == 0 && ref.Alias == "" && ref.Digest == "" {
				return a.tagModel(cmd.Context(), ref, edit)
			}
			return a.tagVersion(cmd.Context(), ref, edit)
		},
	}
	cmd.Flags().StringArrayVar(&edit.remove, "rm", nil, "remove the tag `KEY` (repeat)")
	cmd.Flags().StringVar(&description, "description", "", "what to know of it, in Markdown")
	allowSecrets(cmd.Flags(), &allow)
	a.dryRunFlag(cmd)
	return cmd
}

// tagEdit is what the command tag changes.
type tagEdit struct {
	tags        map[string]string
	remove      []string
	description *string // nil: it stays
}

func (a *app) tagModel(ctx context.Context, ref pedigree.Reference, e tagEdit) error {
	if err := a.enter(ref.Project); err != nil {
		return err
	}
	return a.editModel(ctx, ref.Model, pedigree.ModelEdit{Tags: e.tags, Description: e.description}, e.remove)
}

func (a *app) tagVersion(ctx context.Context, ref pedigree.Reference, e tagEdit) error {
	c, err := a.client(ctx)
	if err != nil {
		return err
	}
	v, err := c.Version(ctx, ref, pedigree.At{})
	if err != nil {
		return err
	}
	name := a.reference(v.Project, v.Model, v.Number)
	fixed := pedigree.Reference{Project: v.Project, Model: v.Model, Version: v.Number}
	var steps []func() error
	if len(e.tags) > 0 || e.description != nil {
		steps = append(steps, func() (err error) {
			v, err = c.EditVersion(ctx, fixed, pedigree.VersionEdit{Tags: e.tags, Description: e.description}, nil)
			return err
		})
	}
	for _, key := range e.remove {
		steps = append(steps, func() (err error) {
			v, err = c.UntagVersion(ctx, fixed, key)
			return err
		})
	}
	if a.dryRun {
		return a.printPlan(ctx, name, nil, func() error { return a.each(steps...) })
	}
	if err := a.each(steps...); err != nil {
		return err
	}
	return a.print(answer{value: v, names: []string{name}, human: func(w io.Writer) {
		fmt.Fprintln(w, printable(words([]string{name, "", pairs(v.Tags)})))
		if e.description != nil {
			page{w}.text("description", v.Description)
		}
	}})
}
