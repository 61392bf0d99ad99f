package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/pedigree-ml/pedigree"
)

func newAliasCommand(a *app) *cobra.Command {
	return noun("alias", "Move, remove and list aliases, and read their history",
		newAliasSetCommand(a), newAliasRemoveCommand(a), newAliasListCommand(a), newAliasHistoryCommand(a))
}

// aliasFlags are the flags of a move.
type aliasFlags struct {
	ifCurrent currentFlag
	note      string
	allow     bool // --allow-secrets
}

func (f *aliasFlags) register(a *app, cmd *cobra.Command) {
	f.ifCurrent.register(cmd.Flags(), "only if it names version `N` now; 0: only if it names none")
	cmd.Flags().StringVar(&f.note, "note", "", "why; it stays in the history")
	allowSecrets(cmd.Flags(), &f.allow)
	a.dryRunFlag(cmd)
}

// currentFlag is --if-current: what must be there for a move to happen.
type currentFlag int64

func (f *currentFlag) register(flags *pflag.FlagSet, usage string) {
	flags.Int64Var((*int64)(f), "if-current", -1, usage)
}

// version is the condition, nil for none.
func (f *currentFlag) version(cmd *cobra.Command) (*pedigree.VersionNumber, error) {
	if !cmd.Flags().Changed("if-current") {
		return nil, nil
	}
	if *f < 0 {
		return nil, pedigree.Errorf(pedigree.CodeInvalid, "--if-current %d: want the number of a version, or 0 for none", *f)
	}
	n := pedigree.VersionNumber(*f)
	return &n, nil
}

// check refuses a note, or an alias, that looks like a secret.
func (f *aliasFlags) check(alias pedigree.Alias) error {
	return refuseTyped(f.allow, map[string]string{"--note": f.note, "the alias": string(alias)})
}

// aliasOf reads MODEL@ALIAS and enters its project.
func (a *app) aliasOf(s string) (pedigree.Reference, error) {
	ref, err := pedigree.ParseReference(s)
	if err != nil {
		return ref, err
	}
	if ref.Alias == "" {
		return ref, pedigree.Errorf(pedigree.CodeInvalid, "%s names no alias", ref).WithFix("write MODEL@ALIAS, as in fraud@production")
	}
	err = a.enter(ref.Project)
	return ref.In(a.projectName()), err
}

// versionOf reads what an alias shall name: a number, another alias, a digest, latest,
// or a whole reference to a version of the same model.
func versionOf(model pedigree.Reference, s string) (pedigree.Reference, error) {
	out := pedigree.Reference{Project: model.Project, Model: model.Model}
	if s == "latest" {
		return out, nil
	}
	if n, err := pedigree.ParseVersionNumber(strings.TrimPrefix(s, "v")); err == nil {
		out.Version = n
		return out, nil
	}
	if strings.HasPrefix(s, "sha256:") {
		d, err := pedigree.ParseDigest(s)
		out.Digest = d
		return out, err
	}
	if name, ok := strings.CutPrefix(s, "@"); ok {
		alias, err := pedigree.ParseAlias(name)
		out.Alias = alias
		return out, err
	}
	ref, err := pedigree.ParseReference(s)
	if err != nil {
		return out, pedigree.Errorf(pedigree.CodeInvalid, "%q is not a version", cut(s, 80)).WithFix("write a number, latest, @OTHER-ALIAS or sha256:…")
	}
	if ref.Model != model.Model || ref.Project != "" && ref.Project != model.Project {
		return out, pedigree.Errorf(pedigree.CodeInvalid, "%s is not a version of %s: an alias names a version of its own model", ref, model.Model)
	}
	ref.Project = model.Project
	return ref, nil
}

func newAliasSetCommand(a *app) *cobra.Command {
	f := &aliasFlags{}
	cmd := &cobra.Command{
		Use:   "set MODEL@ALIAS VERSION",
		Short: "Point an alias at a version",
		Long: `Set moves an alias, or makes it. VERSION is a number, latest, @OTHER-ALIAS or sha256:….
With --if-current the move happens only if the alias names that version now, and the loser
of a race gets exit code 5 and learns what is there.`,
		Example: `  pedigree alias set fraud@production 7 --if-current 6 --note "passed the shadow week"
  pedigree alias set fraud@production @candidate
  pedigree alias set fraud@production 7 --dry-run`,
		Args:              args(2, 2),
		ValidArgsFunction: a.completeReferences,
		RunE: func(cmd *cobra.Command, args []string) error {
			ref, err := a.aliasOf(args[0])
			if err != nil {
				return err
			}
			to, err := versionOf(ref, args[1])
			if err != nil {
				return err
			}
			ifCurrent, err := f.ifCurrent.version(cmd)
			if err != nil {
				return err
			}
			if err := f.check(ref.Alias); err != nil {
				return err
			}
			return a.setAlias(cmd.Context(), ref, to, ifCurrent, f)
		},
	}
	f.register(a, cmd)
	return cmd
}

// aliasNow is the interval that an alias is in, nil where it names nothing.
func (a *app) aliasNow(ctx context.Context, ref pedigree.Reference, at pedigree.At) (*pedigree.AliasMove, error) {
	c, err := a.client(ctx)
	if err != nil {
		return nil, err
	}
	list, err := c.Aliases(ctx, ref.Model, at)
	if err != nil {
		return nil, err
	}
	for i := range list.Items {
		if list.Items[i].Alias == ref.Alias {
			return &list.Items[i], nil
		}
	}
	return nil, nil
}

// lostRace adds to a conflict who moved the alias, and when.
func (a *app) lostRace(ctx context.Context, ref pedigree.Reference, err error) error {
	var e *pedigree.Error
	if !errors.As(err, &e) || e.Code != pedigree.CodeConflict {
		return err
	}
	now, readErr := a.aliasNow(ctx, ref, pedigree.At{})
	if readErr != nil || now == nil {
		return err
	}
	out := *e
	out.Message += fmt.Sprintf("; %s moved it to %d on %s UTC", a.who(now.Actor), now.Version, stamp(now.From))
	return &out
}

func (a *app) setAlias(ctx context.Context, ref, to pedigree.Reference, ifCurrent *pedigree.VersionNumber, f *aliasFlags) error {
	c, err := a.client(ctx)
	if err != nil {
		return err
	}
	before, err := a.aliasNow(ctx, ref, pedigree.At{})
	if err != nil {
		return err
	}
	var move pedigree.AliasMove
	set := func() (err error) {
		move, err = c.SetAlias(ctx, to, ref.Alias, ifCurrent, f.note)
		return err
	}
	if a.dryRun {
		return a.lostRace(ctx, ref, a.printPlan(ctx, a.reference(c.Project(), ref.Model, 0), nil, set))
	}
	if _, err := a.remember(ctx); err != nil {
		return err
	}
	if err := set(); err != nil {
		return a.lostRace(ctx, ref, err)
	}
	if _, err := a.remember(ctx); err != nil {
		return err
	}
	name := a.display(ref)
	return a.print(answer{value: move, names: []string{a.reference(c.Project(), ref.Model, move.Version)}, human: func(w io.Writer) {
		now := a.reference(c.Project(), ref.Model, move.Version)
		switch {
		case before == nil:
			fmt.Fprintf(w, "%s → %s (new)\n", name, now)
		case before.FromSeq == move.FromSeq:
			fmt.Fprintf(w, "%s → %s (as before)\n", name, now)
		default:
			fmt.Fprintf(w, "%s → %s (was %d)\n", name, now, before.Version)
		}
	}})
}

func newAliasRemoveCommand(a *app) *cobra.Command {
	f := &aliasFlags{}
	cmd := &cobra.Command{
		Use:               "rm MODEL@ALIAS",
		Aliases:           []string{"delete"},
		Short:             "Make an alias name nothing; its history stays",
		Example:           `  pedigree alias rm fraud@candidate --if-current 7`,
		Args:              args(1, 1),
		ValidArgsFunction: a.completeReferences,
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			ref, err := a.aliasOf(args[0])
			if err != nil {
				return err
			}
			ifCurrent, err := f.ifCurrent.version(cmd)
			if err != nil {
				return err
			}
			if err := f.check(""); err != nil {
				return err
			}
			before, err := a.aliasNow(ctx, ref, pedigree.At{})
			if err != nil {
				return err
			}
			if before == nil && ifCurrent == nil {
				return pedigree.Errorf(pedigree.CodeNotFound, "model %s has no alias %s", ref.Model, ref.Alias)
			}
			c, err := a.client(ctx)
			if err != nil {
				return err
			}
			unset := func() error { return c.RemoveAlias(ctx, ref.Model, ref.Alias, ifCurrent, f.note) }
			if a.dryRun {
				return a.lostRace(ctx, ref, a.printPlan(ctx, a.reference(c.Project(), ref.Model, 0), nil, unset))
			}
			if err := unset(); err != nil {
				return a.lostRace(ctx, ref, err)
			}
			return a.print(answer{value: before, names: []string{a.display(ref)}, human: func(w io.Writer) {
				was := ""
				if before != nil {
					was = fmt.Sprintf(" (was %d)", before.Version)
				}
				fmt.Fprintf(w, "%s names nothing now%s\n", a.display(ref), was)
			}})
		},
	}
	f.register(a, cmd)
	return cmd
}

func newAliasListCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "ls MODEL",
		Aliases: []string{"list"},
		Short:   "List the aliases of a model",
		Example: `  pedigree alias ls fraud
  pedigree alias ls fraud --at 2026-10-01T03:00:00Z`,
		Args:              args(1, 1),
		ValidArgsFunction: a.completeModels,
		RunE: func(cmd *cobra.Command, args []string) error {
			model, err := a.modelOf(args[0])
			if err != nil {
				return err
			}
			c, at, err := a.clientAt(cmd.Context())
			if err != nil {
				return err
			}
			list, err := c.Aliases(cmd.Context(), model, at)
			if err != nil {
				return err
			}
			return a.printMoves(cmd.Context(), list, at, "no aliases; set one with: pedigree alias set "+shellWord(string(model)+"@NAME")+" VERSION")
		},
	}
	a.atFlag(cmd)
	return cmd
}

func newAliasHistoryCommand(a *app) *cobra.Command {
	var limit int
	cmd := &cobra.Command{
		Use:   "history MODEL[@ALIAS]",
		Short: "List what an alias named, from when to when, and who moved it",
		Example: `  pedigree alias history fraud@production
  pedigree alias history fraud --at -30d`,
		Args:              args(1, 1),
		ValidArgsFunction: a.completeReferences,
		RunE: func(cmd *cobra.Command, args []string) error {
			ref, at, err := a.question(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			if ref.Version != 0 || ref.Digest != "" {
				return pedigree.Errorf(pedigree.CodeInvalid, "%s names a version; aliases have a history", ref).WithFix("write MODEL or MODEL@ALIAS")
			}
			if err := a.enter(ref.Project); err != nil {
				return err
			}
			c, err := a.client(cmd.Context())
			if err != nil {
				return err
			}
			list, err := gather(limit, func(page pedigree.Page) (pedigree.List[pedigree.AliasMove], error) {
				return c.AliasHistory(cmd.Context(), ref.Model, ref.Alias, page, at)
			})
			if err != nil {
				return err
			}
			if ref.Alias != "" && len(list.Items) == 0 {
				return pedigree.Errorf(pedigree.CodeNotFound, "model %s has no alias %s", ref.Model, ref.Alias)
			}
			err = a.printMoves(cmd.Context(), list, at, "no alias was ever set")
			a.more(list.Next, limit)
			return err
		},
	}
	limitFlag(cmd, &limit)
	a.atFlag(cmd)
	return cmd
}

// printMoves lists intervals of aliases. Their names are alias and version.
func (a *app) printMoves(ctx context.Context, list pedigree.List[pedigree.AliasMove], at pedigree.At, empty string) error {
	asOf := a.asOf(ctx, at)
	var names []string
	t := a.newTable("alias", "version", "from (UTC)", "to (UTC)", "by", "note")
	for _, m := range list.Items {
		names = append(names, string(m.Alias)+" "+m.Version.String())
		to := "now"
		if m.To != nil {
			to = stamp(*m.To)
		}
		t.row(m.Alias, m.Version, stamp(m.From), to, a.who(m.Actor), cut(m.Note, 60))
	}
	return a.print(answer{value: list, names: names, asOf: asOf, human: func(w io.Writer) {
		if len(names) == 0 {
			fmt.Fprintln(w, empty)
			return
		}
		t.write(w, "")
	}})
}
