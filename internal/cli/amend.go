package cli

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"reflect"

	"github.com/spf13/cobra"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/client"
)

// amendFlags are the flags of amend beside those of the record.
type amendFlags struct {
	recordFlags
	replace []string
	reason  string
}

func newAmendCommand(a *app) *cobra.Command {
	f := &amendFlags{}
	cmd := &cobra.Command{
		Use:   "amend REF",
		Short: "Add to the record of a version, or correct it",
		Long: `Amend changes fields of a record; what was there before stays readable, with who changed it
and why. Lists and parameters are merged by their keys (a metric by name, data set and
split); --replace FIELD replaces a field as a whole. The files of a version never change.`,
		Example: `  pedigree amend fraud/7 --rollback-note "6 needs the old feature view" --reason "asked by on-call"
  pedigree amend fraud/7 --evidence fairness=fairness.html --metric auc=0.91@shadow
  pedigree amend fraud/7 --replace metrics --metric auc=0.93@test --reason "wrong split before"`,
		Args:              args(1, 1),
		ValidArgsFunction: a.completeReferences,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.amend(cmd.Context(), f, args[0])
		},
	}
	cmd.Flags().SortFlags = false
	f.register(cmd.Flags())
	cmd.Flags().StringVar(&f.reason, "reason", "", "why; it stays in the record")
	cmd.Flags().StringArrayVar(&f.replace, "replace", nil, "replace this `FIELD` as a whole (repeat)")
	a.dryRunFlag(cmd)
	return cmd
}

func (a *app) amend(ctx context.Context, f *amendFlags, name string) error {
	ref, err := precise(name)
	if err != nil {
		return err
	}
	if err := a.enter(ref.Project); err != nil { // parents without a project are looked up there
		return err
	}
	g, err := f.read(ctx, pedigree.Record{}, nil, "")
	if err != nil {
		return err
	}
	if g.tags != nil || g.description != "" {
		return pedigree.Errorf(pedigree.CodeInvalid, "%s has tags or a description, which are not part of the record", f.recordFile).
			WithFix("pedigree tag %s KEY=VALUE; pedigree tag %s --description TEXT", ref, ref)
	}
	found, err := g.secrets(nil)
	if err != nil {
		return err
	}
	found.text("--reason", f.reason)
	if err := found.refuse(f.allowSecrets); err != nil {
		return err
	}
	if reflect.ValueOf(g.record).IsZero() && len(g.attachments) == 0 && len(f.replace) == 0 {
		return pedigree.Errorf(pedigree.CodeInvalid, "there is nothing to add or to correct").
			WithFix("write: pedigree amend %s --rollback-note TEXT, or another flag that pedigree amend --help lists", ref)
	}
	for _, at := range g.attachments {
		g.record.Evidence = append(g.record.Evidence, at.Evidence)
	}
	c, err := a.client(ctx)
	if err != nil {
		return err
	}
	v, err := c.Version(ctx, ref, pedigree.At{})
	if err != nil {
		return err
	}
	change := pedigree.Amend{Record: g.record, Replace: f.replace, Reason: f.reason}
	drafts, err := v.Amend(change)
	if err != nil {
		return err
	}
	full := a.reference(v.Project, v.Model, v.Number)
	// The number fixes what was meant: an alias may move in between.
	fixed := pedigree.Reference{Project: v.Project, Model: v.Model, Version: v.Number}
	amend := func() error {
		if err := putAttachments(ctx, c.In(v.Project), g.attachments); err != nil {
			return err
		}
		v, err = c.Amend(ctx, fixed, change, nil)
		return err
	}
	if a.dryRun {
		if len(g.attachments) == 0 {
			drafts = nil // the registry decides
		}
		return a.printPlan(ctx, full, drafts, amend)
	}
	if err := amend(); err != nil {
		return err
	}
	return a.print(answer{value: v, names: []string{full}, human: func(w io.Writer) {
		if len(drafts) == 0 {
			fmt.Fprintf(w, "%s is like that already\n", full)
		} else {
			fmt.Fprintf(w, "amended %s\n", full)
		}
		fmt.Fprint(w, completenessLine(v.Completeness))
	}})
}

// putAttachments uploads what the registry does not have.
func putAttachments(ctx context.Context, c *client.Client, attachments []client.Attachment) error {
	if len(attachments) == 0 {
		return nil
	}
	var digests []pedigree.Digest
	for _, at := range attachments {
		digests = append(digests, at.Evidence.Digest)
	}
	missing, err := c.MissingBlobs(ctx, digests)
	if err != nil {
		return err
	}
	want := map[pedigree.Digest]bool{}
	for _, d := range missing {
		want[d] = true
	}
	for _, at := range attachments {
		if !want[at.Evidence.Digest] {
			continue
		}
		delete(want, at.Evidence.Digest)
		if err := c.PutBlob(ctx, at.Evidence.Digest, at.Evidence.Size, bytes.NewReader(at.Content)); err != nil {
			return err
		}
	}
	return nil
}
