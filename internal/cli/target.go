package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/pedigree-ml/pedigree"
)

func newTargetCommand(a *app) *cobra.Command {
	return noun("target", "Make, change and list the places that serve or run models",
		newTargetCreateCommand(a), newTargetEditCommand(a), newTargetListCommand(a), newTargetShowCommand(a), newTargetDeleteCommand(a))
}

// targetFlags are what can be said of a target.
type targetFlags struct {
	spec       pedigree.TargetSpec
	dashboards []string
	runbook    string
	oncall     string
	schema     string
	silent     string
	allow      bool
}

func (f *targetFlags) register(flags *pflag.FlagSet) {
	flags.StringVar((*string)(&f.spec.Kind), "kind", "", "online, batch, managed or edge")
	flags.StringVar(&f.spec.Owner, "owner", "", "`NAME` of a person or group: ann, team:risk")
	flags.StringVar(&f.spec.Description, "description", "", "what it is")
	flags.StringVar((*string)(&f.spec.Alias), "alias", "", "`ALIAS` that names what is active here; only deployments move it")
	flags.BoolVar(&f.spec.Protected, "protected", false, "needs approvals whatever its environment, and its way back is checked in the background")
	flags.StringVar((*string)(&f.spec.Confirm), "confirm", "", "what makes a deployment active: none (at once), report or observation")
	flags.StringVar(&f.silent, "silent-after", "", "how long an instance may say nothing (default 5m)")
	flags.StringArrayVar(&f.dashboards, "dashboard", nil, "`URL` of a dashboard; may be repeated")
	flags.StringVar(&f.runbook, "runbook", "", "`URL` of the runbook")
	flags.StringVar(&f.oncall, "oncall", "", "`URL` of who is on call")
	flags.StringVar(&f.schema, "log-schema", "", "`FILE` with the JSON Schema of a logged prediction here")
	allowSecrets(flags, &f.allow)
}

// fields are the fields that flags set, by their JSON keys; an empty text takes one away.
func (f *targetFlags) fields(flags *pflag.FlagSet) (map[string]any, error) {
	out := map[string]any{}
	if err := refuseTyped(f.allow, map[string]string{
		"--description": f.spec.Description, "--owner": f.spec.Owner, "--dashboard": strings.Join(f.dashboards, "\n"), "--runbook": f.runbook, "--oncall": f.oncall,
	}); err != nil {
		return nil, err
	}
	for flag, v := range map[string]any{
		"kind": string(f.spec.Kind), "owner": f.spec.Owner, "description": f.spec.Description, "alias": string(f.spec.Alias), "protected": f.spec.Protected,
		"confirm": string(f.spec.Confirm), "silent-after": f.silent, "dashboard": f.dashboards, "runbook": f.runbook, "oncall": f.oncall,
	} {
		if !flags.Changed(flag) {
			continue
		}
		key := map[string]string{"silent-after": "silent_after", "dashboard": "dashboards"}[flag]
		if key == "" {
			key = flag
		}
		if text, ok := v.(string); ok && text == "" {
			v = nil
		}
		out[key] = v
	}
	if flags.Changed("log-schema") {
		out["log_schema"] = nil
		if f.schema != "" {
			data, err := os.ReadFile(f.schema)
			if err != nil {
				return nil, pedigree.Errorf(pedigree.CodeInvalid, "--log-schema: %w", err)
			}
			if !json.Valid(data) {
				return nil, pedigree.Errorf(pedigree.CodeInvalid, "--log-schema %s is not JSON", f.schema)
			}
			out["log_schema"] = json.RawMessage(data)
		}
	}
	return out, nil
}

// spec turns fields into what is said of a new target.
func specOf(fields map[string]any) (pedigree.TargetSpec, error) {
	var spec pedigree.TargetSpec
	text, err := json.Marshal(fields)
	if err == nil {
		err = json.Unmarshal(text, &spec)
	}
	return spec, err
}

// targetOf reads the name of a target, "env/name", "target:env/name" or
// "target:project:env/name", and enters its project.
func (a *app) targetOf(s string) (pedigree.TargetName, error) {
	if project, name, ok := pedigree.ParseTargetReference(s); ok {
		return name, a.enter(project)
	}
	return pedigree.ParseTarget(s)
}

func newTargetCreateCommand(a *app) *cobra.Command {
	f := &targetFlags{}
	cmd := &cobra.Command{
		Use:   "create ENV/NAME",
		Short: "Make a target",
		Long: `Create makes a target: a place that serves or runs models. With --alias, that alias of the
model which is deployed here names the active version, and only deployments move it. With
--confirm report or observation, a deployment waits until whoever deploys reports it, or until
the first instance says that it runs it; without, it is active at once.`,
		Example: `  pedigree target create prod/fraud-api --kind online --owner team:risk --alias production --protected \
    --dashboard https://grafana.example.org/d/fraud --runbook https://wiki.example.org/fraud
  pedigree target create prod/nightly --kind batch`,
		Args: args(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			name, err := a.targetOf(args[0])
			if err != nil {
				return err
			}
			fields, err := f.fields(cmd.Flags())
			if err != nil {
				return err
			}
			spec, err := specOf(fields)
			if err != nil {
				return err
			}
			if spec.Kind == "" {
				return pedigree.Errorf(pedigree.CodeInvalid, "which kind of target is %s?", name).WithFix("--kind online, batch, managed or edge")
			}
			c, err := a.client(cmd.Context())
			if err != nil {
				return err
			}
			t, err := c.CreateTarget(cmd.Context(), name, spec)
			if err != nil {
				return err
			}
			return a.print(answer{value: t, names: []string{string(t.Name)}, human: func(w io.Writer) {
				fmt.Fprintf(w, "created target %s (%s)\n", t.Name, t.Kind)
			}})
		},
	}
	f.register(cmd.Flags())
	a.dryRunFlag(cmd)
	return cmd
}

func newTargetEditCommand(a *app) *cobra.Command {
	f := &targetFlags{}
	cmd := &cobra.Command{
		Use:   "edit ENV/NAME",
		Short: "Change what is said of a target",
		Example: `  pedigree target edit prod/fraud-api --oncall https://oncall.example.org/risk
  pedigree target edit prod/fraud-api --alias ""`,
		Args:              args(1, 1),
		ValidArgsFunction: a.completeTargets,
		RunE: func(cmd *cobra.Command, args []string) error {
			name, err := a.targetOf(args[0])
			if err != nil {
				return err
			}
			fields, err := f.fields(cmd.Flags())
			if err != nil {
				return err
			}
			if len(fields) == 0 {
				return pedigree.Errorf(pedigree.CodeInvalid, "say what to change").WithFix("pedigree target edit --help lists the flags")
			}
			c, err := a.client(cmd.Context())
			if err != nil {
				return err
			}
			t, err := c.EditTarget(cmd.Context(), name, fields, nil)
			if err != nil {
				return err
			}
			return a.print(answer{value: t, names: []string{string(t.Name)}, human: func(w io.Writer) {
				fmt.Fprintf(w, "changed target %s\n", t.Name)
			}})
		},
	}
	f.register(cmd.Flags())
	a.dryRunFlag(cmd)
	return cmd
}

func newTargetListCommand(a *app) *cobra.Command {
	var limit int
	cmd := &cobra.Command{
		Use:     "ls",
		Aliases: []string{"list"},
		Short:   "List the targets and what runs there",
		Example: `  pedigree target ls
  pedigree target ls --at -7d`,
		Args: args(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error { return a.listTargets(cmd.Context(), limit) },
	}
	limitFlag(cmd, &limit)
	a.atFlag(cmd)
	return cmd
}

func (a *app) listTargets(ctx context.Context, limit int) error {
	c, at, err := a.clientAt(ctx)
	if err != nil {
		return err
	}
	list, err := gather(limit, func(page pedigree.Page) (pedigree.List[pedigree.TargetStatus], error) {
		return c.Targets(ctx, page, at)
	})
	if err != nil {
		return err
	}
	var names []string
	t := a.newTable("target", "kind", "runs", "since (UTC)", "pending", "alias", "owner")
	for i := range list.Items {
		s := &list.Items[i]
		names = append(names, string(s.Target.Name))
		name := string(s.Target.Name)
		if s.Protected {
			name += " (protected)"
		}
		runs, since := "-", ""
		if d := s.Current; d != nil {
			runs, since = a.deployed(d), stamp(*d.ActiveAt)
		}
		pending := ""
		if s.Pending != nil {
			pending = a.deployed(s.Pending)
		}
		t.row(name, s.Target.Kind, runs, since, pending, s.Target.Alias, s.Target.Owner)
	}
	err = a.print(answer{value: list, names: names, asOf: a.asOf(ctx, at), human: func(w io.Writer) {
		if len(names) == 0 {
			fmt.Fprintln(w, "no targets yet; make one with: pedigree target create prod/NAME --kind online")
			return
		}
		t.write(w, "")
	}})
	a.more(list.Next, limit)
	return err
}

// deployed is the version of a deployment as the user would write it.
func (a *app) deployed(d *pedigree.Deployment) string {
	return a.reference(d.Project, d.Model, d.Version)
}

func newTargetShowCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:               "show ENV/NAME",
		Short:             "Show a target: what runs there, what was seen, and the way back",
		Example:           `  pedigree target show prod/fraud-api --at -2h`,
		Args:              args(1, 1),
		ValidArgsFunction: a.completeTargets,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.targetStatus(cmd.Context(), args[0])
		},
	}
	a.atFlag(cmd)
	return cmd
}

func (a *app) targetStatus(ctx context.Context, text string) error {
	name, err := a.targetOf(text)
	if err != nil {
		return err
	}
	c, at, err := a.clientAt(ctx)
	if err != nil {
		return err
	}
	s, err := c.TargetStatus(ctx, name, at)
	if err != nil {
		return err
	}
	return a.print(answer{value: s, names: []string{string(name)}, asOf: a.asOf(ctx, at), human: func(w io.Writer) { a.statusPage(w, &s) }})
}

func (a *app) statusPage(w io.Writer, s *pedigree.TargetStatus) {
	p, t := page{w}, &s.Target
	state := ""
	if s.Protected {
		state = "(protected)"
	}
	p.title(string(t.Name), state)
	p.line("kind", string(t.Kind))
	p.line("owner", t.Owner)
	p.text("description", t.Description)
	p.line("alias", string(t.Alias))
	if t.Confirm != pedigree.ConfirmNone {
		p.line("confirm", string(t.Confirm))
	}
	if s.Current != nil {
		p.line("runs", a.deployed(s.Current), "since "+a.since(*s.Current.ActiveAt), s.Current.ID)
		p.line("image", s.Current.Image)
		p.line("config", s.Current.Config)
		if s.Withdrawn {
			p.line("", "WITHDRAWN: what runs is barred; go back: pedigree rollback "+string(t.Name))
		}
		p.overridden(s.Current)
	} else {
		p.line("runs", "nothing")
	}
	if s.Pending != nil {
		p.line("pending", a.deployed(s.Pending), "since "+a.since(s.Pending.OpenedAt), s.Pending.ID)
		if s.Barred != "" {
			p.line("", "can't become active: "+s.Barred)
		}
	}
	for i := range s.Others {
		p.line(string(s.Others[i].Role), a.deployed(&s.Others[i]), string(s.Others[i].State), s.Others[i].ID)
	}
	if r := s.Rollback; r != nil {
		if r.Ready {
			p.line("way back", "ready: "+r.Version, "checked "+a.since(r.CheckedAt))
		} else {
			p.line("way back", "NOT READY", r.Version, "checked "+a.since(r.CheckedAt))
			for _, c := range r.Checks {
				if c.State == pedigree.CheckFailed {
					p.line("", c.Message)
				}
			}
		}
		for _, c := range r.Checks {
			if c.State == pedigree.CheckWarned {
				p.line("", "mind: "+c.Message)
			}
		}
	}
	for _, u := range t.Dashboards {
		p.line("dashboard", string(u))
	}
	p.line("runbook", string(t.Runbook))
	p.line("on call", string(t.OnCall))
	if len(s.Instances) > 0 {
		fmt.Fprintln(w)
		a.instanceTable(s.Instances).write(w, "")
	}
}

func (a *app) instanceTable(instances []pedigree.Instance) lines {
	t := a.newTable("instance", "runs", "since (UTC)", "last seen (UTC)", "")
	ago := func(t time.Time) string { return " " + humanize.RelTime(t, a.now(), "ago", "from now") }
	for _, i := range instances {
		runs := i.Digest.Short()
		if i.Version != 0 {
			runs = string(i.Model) + "/" + i.Version.String()
		} else if i.Deployment != "" {
			runs = i.Deployment
		}
		state := "ok"
		switch {
		case i.Silent:
			state = "silent since" + ago(i.SeenAt)
		case !i.Matches && i.LagsSince == nil: // an older server does not tell
			state = "lags"
		case !i.Matches:
			state = "lags since " + stamp(*i.LagsSince) + "," + ago(*i.LagsSince)
		}
		t.row(i.Instance, runs, stamp(i.Since), stamp(i.SeenAt), state)
	}
	return t
}

func newTargetDeleteCommand(a *app) *cobra.Command {
	var d deletion
	cmd := &cobra.Command{
		Use:               "rm ENV/NAME",
		Aliases:           []string{"delete"},
		Short:             "Take a target away; its history stays",
		Example:           `  pedigree target rm staging/old --yes`,
		Args:              args(1, 1),
		ValidArgsFunction: a.completeTargets,
		RunE: func(cmd *cobra.Command, args []string) error {
			name, err := a.targetOf(args[0])
			if err != nil {
				return err
			}
			if err := d.check(); err != nil {
				return err
			}
			c, err := a.client(cmd.Context())
			if err != nil {
				return err
			}
			t, err := c.Target(cmd.Context(), name, pedigree.At{})
			if err != nil {
				return err
			}
			ok, err := a.confirm(d, string(name), []string{"target " + string(name) + " leaves every list; its history stays, and its name is free"}, func() error {
				return c.DeleteTarget(cmd.Context(), name, d.reason)
			})
			if err != nil || !ok {
				return err
			}
			return a.print(answer{value: t, names: []string{string(name)}, human: func(w io.Writer) { fmt.Fprintf(w, "deleted target %s\n", name) }})
		},
	}
	d.register(a, cmd)
	return cmd
}

// completeTargets completes the names of targets.
func (a *app) completeTargets(cmd *cobra.Command, given []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(given) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	c, err := a.client(cmd.Context())
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	list, _ := c.Targets(cmd.Context(), pedigree.Page{Limit: pedigree.MaxLimit}, pedigree.At{})
	var out []string
	for i := range list.Items {
		out = append(out, string(list.Items[i].Target.Name))
	}
	return out, cobra.ShellCompDirectiveNoFileComp
}
