package cli

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/client"
)

func newListCommand(a *app) *cobra.Command {
	var archived bool
	var limit int
	cmd := &cobra.Command{
		Use:     "ls [MODEL]",
		Aliases: []string{"list"},
		Short:   "List the models, or the versions of a model",
		Example: `  pedigree ls
  pedigree ls fraud
  pedigree ls fraud --archived --at -30d`,
		Args:              args(0, 1),
		ValidArgsFunction: a.completeModels,
		RunE: func(cmd *cobra.Command, args []string) error {
			at, err := a.moment()
			if err != nil {
				return err
			}
			if len(args) == 0 {
				return a.listModels(cmd.Context(), limit, at)
			}
			model, err := a.modelOf(args[0])
			if err != nil {
				return err
			}
			return a.listVersions(cmd.Context(), model, archived, limit, at)
		},
	}
	cmd.Flags().BoolVar(&archived, "archived", false, "list archived versions too")
	limitFlag(cmd, &limit)
	a.atFlag(cmd)
	return cmd
}

// limitFlag gives a command the flag --limit.
func limitFlag(cmd *cobra.Command, limit *int) {
	cmd.Flags().IntVar(limit, "limit", 100, "the most to list; 0 lists all")
}

// gather reads the pages of a list until limit items are there; 0 reads all.
func gather[T any](limit int, next func(pedigree.Page) (pedigree.List[T], error)) (pedigree.List[T], error) {
	out := pedigree.List[T]{Items: []T{}}
	if limit < 0 {
		return out, pedigree.Errorf(pedigree.CodeInvalid, "--limit %d: want 0 or more", limit)
	}
	for {
		page := pedigree.Page{Limit: pedigree.MaxLimit, Cursor: out.Next}
		if limit > 0 {
			page.Limit = min(page.Limit, limit-len(out.Items))
		}
		list, err := next(page)
		if err != nil {
			return out, err
		}
		out.Items, out.Next, out.AsOf = append(out.Items, list.Items...), list.Next, list.AsOf
		if out.Names == nil {
			out.Names = list.Names
		}
		maps.Copy(out.Names, list.Names)
		if out.Next == "" || limit > 0 && len(out.Items) >= limit {
			return out, nil
		}
	}
}

// more tells people that a list was cut.
func (a *app) more(next string, limit int) {
	if next != "" {
		a.hint("there is more; --limit %d shows twice as much, --limit 0 all", 2*limit)
	}
}

func (a *app) listModels(ctx context.Context, limit int, at pedigree.At) error {
	c, err := a.client(ctx)
	if err != nil {
		return err
	}
	list, err := gather(limit, func(page pedigree.Page) (pedigree.List[pedigree.Model], error) { return c.Models(ctx, page, at) })
	if err != nil {
		return err
	}
	var names []string
	t := a.newTable("model", "latest", "aliases", "owner", "state", "created (UTC)")
	for _, m := range list.Items {
		names = append(names, a.reference(m.Project, m.Name, 0))
		latest := "-"
		if m.Latest > 0 {
			latest = m.Latest.String()
		}
		var aliases []string
		for alias, n := range m.Aliases {
			aliases = append(aliases, fmt.Sprintf("%s→%d", alias, n))
		}
		slices.Sort(aliases)
		t.row(a.reference(m.Project, m.Name, 0), latest, strings.Join(aliases, " "), m.Owner, strings.ReplaceAll(string(m.State), "_", " "), stamp(m.CreatedAt))
	}
	err = a.print(answer{value: list, names: names, asOf: a.asOf(ctx, at), human: func(w io.Writer) {
		if len(names) == 0 {
			fmt.Fprintln(w, "no models yet; register one with: pedigree push NAME PATH")
			return
		}
		t.write(w, "")
	}})
	a.more(list.Next, limit)
	return err
}

// modelFilter is the filter that chooses the versions of a model.
func modelFilter(name pedigree.Name) string {
	return "model = '" + strings.ReplaceAll(string(name), "'", "''") + "'"
}

func (a *app) listVersions(ctx context.Context, model pedigree.Name, archived bool, limit int, at pedigree.At) error {
	c, err := a.client(ctx)
	if err != nil {
		return err
	}
	if _, err := c.Model(ctx, model, at); err != nil { // an unknown model is an error, not an empty list
		return err
	}
	q := client.Query{Filter: modelFilter(model), At: at}
	if archived {
		q.Filter += " AND (archived = true OR archived = false)"
	}
	var running map[pedigree.VersionNumber][]string
	if a.people() {
		if running, err = a.runningVersions(ctx, c, model, at); err != nil {
			return err
		}
	}
	return a.listSummaries(ctx, c, q, limit, false, running, func() (string, error) { return a.noVersions(ctx, c, model, at) })
}

// noVersions says why the list of a model's versions is empty.
func (a *app) noVersions(ctx context.Context, c *client.Client, model pedigree.Name, at pedigree.At) (string, error) {
	list, err := c.Search(ctx, client.Query{Filter: modelFilter(model) + " AND archived = true", At: at, Page: pedigree.Page{Limit: 1}})
	if err != nil {
		return "", err
	}
	if len(list.Items) > 0 {
		return "all versions are archived; list them with: pedigree ls " + shellWord(string(model)) + " --archived", nil
	}
	return "no versions yet; register one with: pedigree push " + shellWord(string(model)) + " PATH", nil
}

// listSummaries lists what a search finds.
func (a *app) listSummaries(ctx context.Context, c *client.Client, q client.Query, limit int, models bool, running map[pedigree.VersionNumber][]string, empty func() (string, error)) error {
	list, err := gather(limit, func(page pedigree.Page) (pedigree.List[pedigree.Summary], error) {
		q.Page = page
		return c.Search(ctx, q)
	})
	if err != nil {
		return err
	}
	var names []string
	for _, s := range list.Items {
		names = append(names, a.reference(s.Project, s.Model, s.Number))
	}
	nothing := ""
	if len(names) == 0 && a.people() {
		if nothing, err = empty(); err != nil {
			return err
		}
	}
	err = a.print(answer{value: list, names: names, asOf: a.asOf(ctx, q.At), human: func(w io.Writer) {
		if len(names) == 0 {
			fmt.Fprintln(w, nothing)
			return
		}
		a.versionTable(list.Items, models, running).write(w, "")
	}})
	a.more(list.Next, limit)
	return err
}

// runningVersions says for the versions of a model where they are deployed.
func (a *app) runningVersions(ctx context.Context, c *client.Client, model pedigree.Name, at pedigree.At) (map[pedigree.VersionNumber][]string, error) {
	list, err := c.Where(ctx, pedigree.Reference{Project: c.Project(), Model: model}, at)
	if err != nil {
		return nil, err
	}
	out := map[pedigree.VersionNumber][]string{}
	for i := range list.Items {
		d := &list.Items[i]
		where := string(d.Target)
		switch {
		case d.State != pedigree.DeploymentActive:
			where += " (" + string(d.State) + ")"
		case d.Role != pedigree.RolePrimary:
			where += " (" + string(d.Role) + ")"
		}
		out[d.Version] = append(out[d.Version], where)
	}
	return out, nil
}

// versionTable is a list of versions; models says that they are of several models, and
// running where each is deployed. There is a column for approvals, and one for targets,
// where there is anything to say in it.
func (a *app) versionTable(items []pedigree.Summary, models bool, running map[pedigree.VersionNumber][]string) lines {
	heads := []string{"version", "aliases", "artifact", "size", "owner", "complete"}
	approvals := slices.ContainsFunc(items, func(s pedigree.Summary) bool {
		return s.Approval != "" && s.Approval != pedigree.ApprovalNone || s.Withdrawn
	})
	targets := slices.ContainsFunc(items, func(s pedigree.Summary) bool { return len(running[s.Number]) > 0 })
	if approvals {
		heads = append(heads, "approval")
	}
	if targets {
		heads = append(heads, "runs at")
	}
	t := a.newTable(append(heads, "registered (UTC)", "by")...)
	for _, s := range items {
		name := s.Number.String()
		if models {
			name = a.reference(s.Project, s.Model, s.Number)
		}
		var aliases []string
		for _, alias := range s.Aliases {
			aliases = append(aliases, string(alias))
		}
		if s.Archived {
			aliases = append(aliases, "(archived)")
		}
		what := s.Digest.Short()
		if what == "" {
			what = string(s.Kind)
		}
		bytes := ""
		if s.Size != nil {
			bytes = size(s.Size)
		}
		cells := []any{name, strings.Join(aliases, " "), what, bytes, s.Owner, fmt.Sprintf("%d/%d", s.Have, s.Want)}
		if approvals {
			state := string(s.Approval)
			if s.Withdrawn {
				state = "WITHDRAWN"
			}
			cells = append(cells, state)
		}
		if targets {
			cells = append(cells, strings.Join(running[s.Number], ", "))
		}
		t.row(append(cells, stamp(s.CreatedAt), a.who(s.CreatedBy))...)
	}
	return t
}
