package cli

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/client"
)

// overrideFlags pass over failed checks by name, all for one reason.
type overrideFlags struct {
	names  []string
	reason string
}

func (f *overrideFlags) register(flags *pflag.FlagSet, reason string) {
	flags.StringArrayVar(&f.names, "override", nil, "`CHECK` to pass over although it failed (break-glass); needs --reason, and is loud in the log")
	flags.StringVar(&f.reason, "reason", "", reason)
}

func (f *overrideFlags) overrides() []pedigree.Override {
	var out []pedigree.Override
	for _, name := range f.names {
		out = append(out, pedigree.Override{Name: name, Reason: f.reason})
	}
	return out
}

func newDeployCommand(a *app) *cobra.Command {
	var deploy pedigree.Deploy
	var incident, target string
	var current currentFlag
	var over overrideFlags
	var allow bool
	cmd := &cobra.Command{
		Use:   "deploy REF --to ENV/NAME",
		Short: "Deploy a version at a target, through the gates of its policies",
		Long: `Deploy records that a version is to run on a target, from now on. It asks the policies first:
gates, approvals, and the registry's own checks; a refusal says which rule, with the values it
saw, and the command that mends it.

It records and steers, it does not start anything: pedigree sync beside the service, a webhook,
or the platform's own tool acts on it. A target that was made with --confirm waits until the
deployment is reported (pedigree deployment report) or seen (an instance says so); otherwise it
is active at once. Then it supersedes what ran there, and the alias tied to the target moves.`,
		Example: `  pedigree deploy fraud@candidate --to prod/fraud-api --image registry.example.org/risk/serve:1.4 --note "November release"
  pedigree deploy fraud/7 --to prod/fraud-api --dry-run
  pedigree deploy fraud/8 --to prod/fraud-api --role canary
  pedigree deploy fraud/7 --to prod/fraud-api --override auc --reason "incident 4711: the old one leaks"`,
		Args:              args(1, 1),
		ValidArgsFunction: a.completeReferences,
		RunE: func(cmd *cobra.Command, args []string) error {
			if target == "" {
				return pedigree.Errorf(pedigree.CodeInvalid, "deploy %s where?", args[0]).WithFix("--to prod/NAME; pedigree target ls lists the targets")
			}
			name, err := a.targetOf(target)
			if err != nil {
				return err
			}
			ref, err := a.versionAt(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			if err := refuseTyped(allow, map[string]string{"--note": deploy.Note, "--reason": over.reason, "--config": deploy.Config, "--rollback-note": deploy.RollbackNote, "--incident": incident}); err != nil {
				return err
			}
			ifCurrent, err := current.version(cmd)
			if err != nil {
				return err
			}
			if deploy.Incident, err = pedigree.ParseSafeURI(incident); err != nil {
				return err
			}
			deploy.Overrides = over.overrides()
			c, err := a.client(cmd.Context())
			if err != nil {
				return err
			}
			var d pedigree.Deployment
			do := func() (err error) {
				d, err = c.Deploy(cmd.Context(), ref, name, deploy, ifCurrent)
				return err
			}
			if a.dryRun {
				return a.planDeploy(cmd.Context(), ref, name, deploy, ifCurrent, do)
			}
			if err := do(); err != nil {
				return err
			}
			return a.print(answer{value: d, names: []string{d.ID}, human: func(w io.Writer) { a.deploymentDone(w, &d) }})
		},
	}
	f := cmd.Flags()
	f.StringVar(&target, "to", "", "target, `ENV/NAME`")
	f.StringVar((*string)(&deploy.Role), "role", "", "primary (default), canary or shadow")
	f.StringVar(&deploy.Image, "image", "", "container `IMAGE` that runs it")
	f.StringVar(&deploy.Config, "config", "", "configuration that it runs with: a URI, a digest or a commit")
	f.StringVar(&deploy.Note, "note", "", "what to say about it; it stays in the log")
	f.StringVar(&deploy.RollbackNote, "rollback-note", "", "what to mind when going back from this version; amends its record")
	f.StringVar(&incident, "incident", "", "`URL` of the incident that it is for")
	current.register(f, "only if this `VERSION` is active there now; 0 for none")
	over.register(f, "why a check is passed over; it stays in the log")
	a.dryRunFlag(cmd)
	allowSecrets(f, &allow)
	return cmd
}

// planDeploy shows what the policies make of a deployment, and what do would send for it
// where they let it pass.
func (a *app) planDeploy(ctx context.Context, ref pedigree.Reference, target pedigree.TargetName, deploy pedigree.Deploy, ifCurrent *pedigree.VersionNumber, do func() error) error {
	c, err := a.client(ctx)
	if err != nil {
		return err
	}
	if ifCurrent != nil {
		v, err := c.Version(ctx, ref, pedigree.At{})
		if err != nil {
			return err
		}
		status, err := c.In(v.Project).TargetStatus(ctx, target, pedigree.At{})
		if err != nil {
			return err
		}
		if err := pedigree.CheckCurrent(target, status.Current, v.ModelID, ifCurrent); err != nil {
			return err
		}
	}
	d, err := c.TestPolicy(ctx, ref, target, deploy, pedigree.At{})
	if err != nil {
		return err
	}
	if err := d.Override(deploy.Overrides); err != nil {
		return err
	}
	doing := "deploying " + a.display(ref) + " to " + string(target)
	var sent []rehearsed
	if d.Err(doing) == nil {
		if sent, err = a.rehearse(do); err != nil {
			return err
		}
	}
	return a.decision(ctx, &d, doing, sent)
}

// isTarget says that a text means what is deployed at a target.
func isTarget(text string) bool { return strings.HasPrefix(text, "target:") }

func notTarget(text string) error {
	return pedigree.Errorf(pedigree.CodeInvalid, "%q names no target", cut(text, 80)).WithFix("write target:prod/fraud-api, or target:risk:prod/fraud-api for one of the project risk")
}

// versionAt reads what is to be deployed or compared: a reference, or a target, which
// stands for what is deployed there.
func (a *app) versionAt(ctx context.Context, text string) (pedigree.Reference, error) {
	project, name, ok := pedigree.ParseTargetReference(text)
	if isTarget(text) && !ok {
		return pedigree.Reference{}, notTarget(text)
	}
	if !ok {
		ref, err := pedigree.ParseReference(text)
		if err == nil && ref.Project == "" {
			ref.Project = a.projectName()
		}
		return ref, err
	}
	at, err := a.moment()
	if err != nil {
		return pedigree.Reference{}, err
	}
	c, err := a.client(ctx)
	if err != nil {
		return pedigree.Reference{}, err
	}
	if project != "" {
		c = c.In(project)
	}
	s, err := c.TargetStatus(ctx, name, at)
	if err == nil && s.Current == nil {
		err = pedigree.Errorf(pedigree.CodeNotFound, "nothing is deployed at %s", name).WithFix("pedigree timeline %s", name)
	}
	if err != nil {
		return pedigree.Reference{}, err
	}
	return pedigree.Reference{Project: s.Current.Project, Model: s.Current.Model, Version: s.Current.Version}, nil
}

func (a *app) deploymentDone(w io.Writer, d *pedigree.Deployment) {
	ref := a.deployed(d)
	switch {
	case d.State == pedigree.DeploymentActive && d.Restores != "":
		fmt.Fprintf(w, "%s is back on %s (%s)\n", d.Target, ref, d.ID)
	case d.State == pedigree.DeploymentActive:
		fmt.Fprintf(w, "%s runs %s as %s (%s)\n", d.Target, ref, d.Role, d.ID)
	default:
		fmt.Fprintf(w, "%s waits at %s (%s)\n", ref, d.Target, d.ID)
		if d.Confirm == pedigree.ConfirmReport {
			fmt.Fprintf(w, "when it runs: pedigree deployment report %s --active, or --failed --note WHY\n", d.ID)
		} else {
			fmt.Fprintln(w, "it is active once an instance says that it runs it")
		}
	}
	for _, c := range d.Decision.Overridden() {
		fmt.Fprintf(w, "OVERRIDDEN %s: %s (%s)\n", c.Name, printable(c.Message), printable(c.Reason))
	}
}

// decision shows what was looked at, with what would be sent, and ends with the refusal where
// there is one.
func (a *app) decision(ctx context.Context, d *pedigree.Decision, doing string, sent []rehearsed) error {
	refused, would := cmp.Or(d.Err(doing), refusal(sent)), a.would(ctx, sent)
	if refused != nil {
		sent = nil
	}
	var names []string
	for _, c := range d.Checks {
		names = append(names, c.Name+" "+string(c.State))
	}
	value := struct {
		*pedigree.Decision
		Curl []string `json:"curl,omitempty"`
	}{d, curls(sent)}
	err := a.print(answer{value: value, names: names, human: func(w io.Writer) {
		a.checkLines(w, d.Checks, d.Replaces)
		for _, line := range would {
			fmt.Fprintf(w, "would be recorded: %s\n", printable(line))
		}
		if a.dryRun {
			fmt.Fprintln(w, "nothing was changed")
		}
		writeCurl(w, sent)
	}})
	if err != nil {
		return err
	}
	return refused
}

// checkLines writes every check with the values that it saw and what mends it.
func (a *app) checkLines(w io.Writer, checks []pedigree.Check, replaces string) {
	if replaces != "" {
		fmt.Fprintf(w, "compared with %s\n", replaces)
	}
	if len(checks) == 0 {
		fmt.Fprintln(w, "nothing speaks against it: no policy asks for anything")
	}
	for _, c := range checks {
		mark := map[pedigree.CheckState]string{
			pedigree.CheckPassed: "✓", pedigree.CheckWarned: "!", pedigree.CheckFailed: "✗", pedigree.CheckOverridden: "⚠",
		}[c.State]
		fmt.Fprintf(w, "%s %-11s %s: %s\n", mark, c.State, c.Name, printable(c.Message))
		if c.Expr != "" && c.State != pedigree.CheckPassed {
			fmt.Fprintf(w, "    %s\n", printable(c.Expr))
		}
		for _, v := range c.Values { // what the message tells is not told twice
			if read := v.Path + " = " + string(v.Value); !strings.Contains(c.Message, read) {
				fmt.Fprintf(w, "    %s\n", printable(read))
			}
		}
		if c.Reason != "" {
			fmt.Fprintf(w, "    overridden because: %s\n", printable(c.Reason))
		}
		if c.Fix != "" && c.State == pedigree.CheckFailed {
			fmt.Fprintf(w, "    → %s\n", printable(c.Fix))
		}
	}
}

func newDeploymentCommand(a *app) *cobra.Command {
	return noun("deployment", "Report, end and mark deployments, and list them",
		newDeploymentReportCommand(a), newDeploymentEndCommand(a), newDeploymentMarkCommand(a), newDeploymentShowCommand(a), newDeploymentListCommand(a))
}

func newDeploymentReportCommand(a *app) *cobra.Command {
	var active, failed, allow bool
	var note, incident string
	cmd := &cobra.Command{
		Use:   "report DEPLOYMENT --active|--failed",
		Short: "Say that a deployment that waits is active, or that it failed",
		Example: `  pedigree deployment report dep_0192… --active
  pedigree deployment report dep_0192… --failed --note "the pods crash on start"`,
		Args: args(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			report := pedigree.DeploymentReport{State: pedigree.DeploymentActive, Note: note}
			if active == failed {
				return pedigree.Errorf(pedigree.CodeInvalid, "is %s active, or did it fail?", args[0]).WithFix("--active, or --failed --note WHY")
			}
			if failed {
				report.State = pedigree.DeploymentFailing
			}
			err := refuseTyped(allow, map[string]string{"--note": note, "--incident": incident})
			if err != nil {
				return err
			}
			if report.Incident, err = pedigree.ParseSafeURI(incident); err != nil {
				return err
			}
			c, err := a.client(cmd.Context())
			if err != nil {
				return err
			}
			d, err := c.ReportDeployment(cmd.Context(), args[0], report)
			return a.deploymentChanged(&d, err)
		},
	}
	cmd.Flags().BoolVar(&active, "active", false, "it runs")
	cmd.Flags().BoolVar(&failed, "failed", false, "it did not come up")
	cmd.Flags().StringVar(&note, "note", "", "what happened; it stays in the log")
	cmd.Flags().StringVar(&incident, "incident", "", "`URL` of the incident")
	allowSecrets(cmd.Flags(), &allow)
	a.dryRunFlag(cmd)
	return cmd
}

// deploymentChanged prints a deployment that was changed.
func (a *app) deploymentChanged(d *pedigree.Deployment, err error) error {
	if err != nil {
		return err
	}
	return a.print(answer{value: d, names: []string{d.ID}, human: func(w io.Writer) {
		bad := ""
		if d.Bad {
			bad = ", marked bad: " + d.BadReason
		}
		a.deploymentLine(w, d, printable(bad))
	}})
}

func (a *app) deploymentLine(w io.Writer, d *pedigree.Deployment, and string) {
	fmt.Fprintf(w, "%s: %s at %s is %s%s\n", d.ID, a.deployed(d), d.Target, strings.ReplaceAll(string(d.State), "_", " "), and)
}

// leftAlias is the alias tied to the target of a deployment that was ended where it still names
// the version: ending takes nothing away from whoever follows it. It is "" where nothing tells,
// since what was asked for is done.
func leftAlias(ctx context.Context, c *client.Client, d *pedigree.Deployment) pedigree.Alias {
	if d.Role != pedigree.RolePrimary || d.State != pedigree.DeploymentOver || d.ActiveSeq == nil {
		return ""
	}
	status, err := c.In(d.Project).TargetStatus(ctx, d.Target, pedigree.At{})
	if err != nil || status.Target.Alias == "" || status.Current != nil {
		return ""
	}
	named, err := c.In(d.Project).Resolve(ctx, pedigree.Reference{Model: d.Model, Alias: status.Target.Alias}, pedigree.At{})
	if err != nil || named.Number != d.Version {
		return ""
	}
	return status.Target.Alias
}

func newDeploymentEndCommand(a *app) *cobra.Command {
	var reason string
	var allow bool
	cmd := &cobra.Command{
		Use:     "end DEPLOYMENT",
		Short:   "Say that a deployment stands no more, with nothing in its place",
		Example: `  pedigree deployment end dep_0192… --reason "the service is retired"`,
		Args:    args(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := refuseTyped(allow, map[string]string{"--reason": reason}); err != nil {
				return err
			}
			c, err := a.client(cmd.Context())
			if err != nil {
				return err
			}
			d, err := c.EndDeployment(cmd.Context(), args[0], reason)
			if err != nil {
				return err
			}
			alias := leftAlias(cmd.Context(), c, &d)
			return a.print(answer{value: d, names: []string{d.ID}, human: func(w io.Writer) {
				over := ""
				if d.State != pedigree.DeploymentOver {
					over = ": it stood there no more, and nothing was changed"
				}
				a.deploymentLine(w, &d, over)
				if alias != "" {
					at := a.display(pedigree.Reference{Project: d.Project, Model: d.Model, Alias: alias})
					fmt.Fprintf(w, "%[1]s still names %[2]s, for whoever follows it: pedigree alias rm %[1]s\n", at, a.deployed(&d))
				}
			}})
		},
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why; it stays in the log")
	allowSecrets(cmd.Flags(), &allow)
	a.dryRunFlag(cmd)
	return cmd
}

func newDeploymentMarkCommand(a *app) *cobra.Command {
	var reason string
	var bad, good, allow bool
	cmd := &cobra.Command{
		Use:   "mark DEPLOYMENT --bad|--good",
		Short: "Say whether a rollback may go to a deployment by itself",
		Example: `  pedigree deployment mark dep_0192… --bad --reason "wrong features"
  pedigree deployment mark dep_0192… --good`,
		Args: args(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if bad == good {
				return pedigree.Errorf(pedigree.CodeInvalid, "is %s bad or good?", args[0]).WithFix("--bad --reason WHY, or --good")
			}
			if err := refuseTyped(allow, map[string]string{"--reason": reason}); err != nil {
				return err
			}
			c, err := a.client(cmd.Context())
			if err != nil {
				return err
			}
			d, err := c.MarkDeployment(cmd.Context(), args[0], bad, reason)
			return a.deploymentChanged(&d, err)
		},
	}
	cmd.Flags().BoolVar(&bad, "bad", false, "no rollback goes to it by itself")
	cmd.Flags().BoolVar(&good, "good", false, "take the mark away")
	cmd.Flags().StringVar(&reason, "reason", "", "why; it stays in the log")
	allowSecrets(cmd.Flags(), &allow)
	a.dryRunFlag(cmd)
	return cmd
}

func newDeploymentShowCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "show DEPLOYMENT",
		Short:   "Show a deployment, with what was checked before",
		Example: `  pedigree deployment show dep_0192…`,
		Args:    args(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, at, err := a.clientAt(cmd.Context())
			if err != nil {
				return err
			}
			d, err := c.Deployment(cmd.Context(), args[0], at)
			if err != nil {
				return err
			}
			return a.print(answer{value: d, names: []string{d.ID}, asOf: a.asOf(cmd.Context(), at), human: func(w io.Writer) {
				a.deploymentPage(page{w}, &d)
				if len(d.Decision.Checks) > 0 {
					fmt.Fprintln(w)
					a.checkLines(w, d.Decision.Checks, d.Decision.Replaces)
				}
			}})
		},
	}
	a.atFlag(cmd)
	return cmd
}

// deploymentPage writes the lines of one deployment.
func (a *app) deploymentPage(p page, d *pedigree.Deployment) {
	p.title(a.deployed(d)+" at "+string(d.Target), "("+string(d.Role)+", "+strings.ReplaceAll(string(d.State), "_", " ")+")")
	p.line("deployment", d.ID)
	p.line("opened", a.since(d.OpenedAt), "by "+a.who(d.OpenedBy))
	if d.ActiveAt != nil {
		p.line("active", a.since(*d.ActiveAt), "by "+a.who(d.ActiveBy))
	}
	if d.EndedAt != nil {
		p.line("ended", a.since(*d.EndedAt), "by "+a.who(d.EndedBy), d.EndReason)
	}
	p.line("image", d.Image)
	p.line("config", d.Config)
	p.text("note", d.Note)
	p.line("incident", string(d.Incident))
	p.line("restores", d.Restores)
	if d.Bad {
		p.line("BAD", d.BadReason)
	}
	p.overridden(d)
}

// overridden shows the checks that a deployment passed by name: loudly, wherever it is shown.
func (p page) overridden(d *pedigree.Deployment) {
	for _, c := range d.Decision.Overridden() {
		p.line("OVERRIDDEN", c.Name+": "+c.Message, "because: "+c.Reason)
	}
}

func newDeploymentListCommand(a *app) *cobra.Command {
	var limit int
	cmd := &cobra.Command{
		Use:     "ls",
		Aliases: []string{"list"},
		Short:   "List the deployments of a project, newest first",
		Example: `  pedigree deployment ls --limit 20`,
		Args:    args(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, at, err := a.clientAt(cmd.Context())
			if err != nil {
				return err
			}
			list, err := gather(limit, func(page pedigree.Page) (pedigree.List[pedigree.Deployment], error) {
				return c.Deployments(cmd.Context(), page, at)
			})
			if err != nil {
				return err
			}
			return a.deploymentList(cmd.Context(), list, at, limit, "no deployments yet; pedigree deploy MODEL/VERSION --to ENV/NAME")
		},
	}
	limitFlag(cmd, &limit)
	a.atFlag(cmd)
	return cmd
}

// deploymentList prints deployments as a table.
func (a *app) deploymentList(ctx context.Context, list pedigree.List[pedigree.Deployment], at pedigree.At, limit int, empty string) error {
	var names []string
	t := a.newTable("target", "version", "role", "state", "from (UTC)", "to (UTC)", "by", "note", "deployment")
	for i := range list.Items {
		d := &list.Items[i]
		names = append(names, d.ID)
		from, to := d.OpenedAt, ""
		if d.ActiveAt != nil {
			from = *d.ActiveAt
		}
		if d.EndedAt != nil {
			to = stamp(*d.EndedAt)
		} else if d.State == pedigree.DeploymentActive {
			to = "now"
		}
		state := strings.ReplaceAll(string(d.State), "_", " ")
		if d.Bad {
			state += ", bad"
		}
		if d.Restores != "" {
			state += ", rollback"
		}
		if len(d.Decision.Overridden()) > 0 {
			state += ", OVERRIDDEN"
		}
		t.row(d.Target, a.deployed(d), d.Role, state, stamp(from), to, a.who(d.OpenedBy), cut(d.Note, 40), d.ID)
	}
	err := a.print(answer{value: list, names: names, asOf: a.asOf(ctx, at), human: func(w io.Writer) {
		if len(names) == 0 {
			fmt.Fprintln(w, empty)
			return
		}
		t.write(w, "")
	}})
	a.more(list.Next, limit)
	return err
}
