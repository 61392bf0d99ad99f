package cli

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/client"
)

func newPullCommand(a *app) *cobra.Command {
	p := client.Pull{}
	cmd := &cobra.Command{
		Use:   "pull REF [DEST]",
		Short: "Fetch the files of a version",
		Long: `Pull resolves a reference once, fetches the files of that version, checks every digest,
and makes the folder DEST appear whole or not at all. Without DEST that is ./MODEL-N. A
folder that holds the same files already is left as it is; one that differs is an error
without --force. A target stands for what is deployed there.`,
		Example: `  pedigree pull fraud@production ./model
  pedigree pull target:prod/fraud-api ./model
  pedigree pull fraud@production ./as-it-was --at 2026-10-01T03:00:00Z`,
		Args:              args(1, 2),
		ValidArgsFunction: a.completeThenFiles,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 2 {
				p.Dest = args[1]
			}
			return a.pull(cmd.Context(), p, args[0])
		},
	}
	cmd.Flags().BoolVar(&p.Force, "force", false, "replace a folder that is there")
	cmd.Flags().IntVar(&p.Parallel, "parallel", 0, "files to fetch at the same time (default: by the machine)")
	a.atFlag(cmd)
	return cmd
}

func (a *app) pull(ctx context.Context, p client.Pull, name string) error {
	ref, at, err := a.question(ctx, name)
	if err != nil {
		return err
	}
	c, err := a.client(ctx)
	if err != nil {
		return err
	}
	if _, err := a.remember(ctx); err != nil {
		return err
	}
	if isTarget(name) {
		if err := handedOut(ctx, c, ref); err != nil {
			return err
		}
	}
	p.Reference, p.At = ref, at
	if p.Dest == "" {
		resolved, err := c.Resolve(ctx, ref, at)
		if err != nil {
			return err
		}
		// The number fixes what the alias meant a moment ago.
		p.Reference = pedigree.Reference{Project: resolved.Project, Model: resolved.Model, Version: resolved.Number}
		p.Dest = fmt.Sprintf("%s-%d", resolved.Model, resolved.Number)
	}
	bar := a.newProgress()
	p.Progress = bar.event
	pulled, err := c.Pull(ctx, p)
	bar.stop()
	if err != nil {
		return err
	}
	got := a.reference(pulled.Project, pulled.Model, pulled.Number)
	return a.print(answer{value: pulled, names: []string{pulled.Path}, human: func(w io.Writer) {
		already := ""
		if pulled.Unchanged {
			already = "  (as it was)"
		}
		fmt.Fprintf(w, "%s  %s  (%s, %s)\n→ %s%s\n", got, pulled.Digest, count(pulled.Files, "file"), size(&pulled.Bytes), printable(pulled.Path), already)
	}})
}

// atFlag gives a command the flag --at.
func (a *app) atFlag(cmd *cobra.Command) {
	cmd.Flags().StringVar(&a.at, "at", "", "answer as of a `MOMENT`: RFC 3339, an age (-2h, -7d), or an event's number")
}

// question reads a reference, or a target, which stands for what is deployed there, and the
// moment that the question is about.
func (a *app) question(ctx context.Context, name string) (pedigree.Reference, pedigree.At, error) {
	at, err := a.moment()
	if err != nil {
		return pedigree.Reference{}, at, err
	}
	var ref pedigree.Reference
	if isTarget(name) {
		ref, err = a.versionAt(ctx, name)
	} else {
		ref, err = pedigree.ParseReference(name)
	}
	return ref, at, err
}

// handedOut refuses a version that was withdrawn where a target led to it: the registry
// does so itself for an alias, and a number is found all the same.
func handedOut(ctx context.Context, c *client.Client, ref pedigree.Reference) error {
	v, err := c.Version(ctx, ref, pedigree.At{})
	if pedigree.CodeOf(err) == pedigree.CodeNotFound { // deleted since the moment that was asked about
		return nil
	}
	if err != nil || v.Withdrawn == nil {
		return err
	}
	return pedigree.Errorf(pedigree.CodeRefused, "%s is withdrawn and is not handed out any more: %s", v.Reference(), v.Withdrawn.Reason).
		WithFix("go back: pedigree rollback ENV/NAME; or take it by its number: pedigree pull %s", v.Reference())
}
