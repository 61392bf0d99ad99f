package cli

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/pedigree-ml/pedigree"
)

func newWhichCommand(a *app) *cobra.Command {
	id := ""
	cmd := &cobra.Command{
		Use:   "which X",
		Short: "Which version is that: of a target, a deployment, a digest, an image, a logged prediction …",
		Long: `Which answers the first question of an incident. X is a target (prod/fraud-api), a deployment
(dep_…), a model or a version, a digest of an artifact or of an image (sha256:…), an image, an
instance (a pod, a host), the URL of a dashboard, or a logged prediction: the line itself, or a
file that holds it; it is asked about as of its own time. The answer is the version with its
whole record, the deployment, who put it there and why, where to look, and how to go back.`,
		Example: `  pedigree which prod/fraud-api
  pedigree which prod/fraud-api --at -2h
  pedigree which sha256:9f86d0…
  pedigree which fraud-api-7d9c
  pedigree which predictions.jsonl --id r-4711`,
		Args:              args(1, 1),
		ValidArgsFunction: a.completeTargets,
		RunE: func(cmd *cobra.Command, args []string) error {
			c, at, err := a.clientAt(cmd.Context())
			if err != nil {
				return err
			}
			line, ok, err := a.loggedPrediction(cmd.Context(), args[0], id)
			if err != nil {
				return err
			}
			var list pedigree.List[pedigree.Finding]
			if ok {
				list, err = c.WhichPrediction(cmd.Context(), line, at)
			} else {
				list, err = c.Which(cmd.Context(), args[0], at)
			}
			if err != nil {
				return err
			}
			if ok && at.IsNow() {
				at = pedigree.At{Seq: &list.AsOf}
			}
			var names []string
			for i := range list.Items {
				names = append(names, a.found(&list.Items[i]))
			}
			return a.print(answer{value: list, names: names, asOf: a.asOf(cmd.Context(), at), human: func(w io.Writer) {
				for i := range list.Items {
					if i > 0 {
						fmt.Fprintln(w)
					}
					a.findingPage(w, &list.Items[i])
				}
			}})
		},
	}
	a.atFlag(cmd)
	cmd.Flags().StringVar(&id, "id", "", "the `ID` of the logged prediction, where the file holds more than one")
	return cmd
}

// found is the version of a finding, also where it was deleted since.
func (a *app) found(f *pedigree.Finding) string {
	if f.Version.Model == "" && f.Deployment != nil {
		return a.deployed(f.Deployment)
	}
	return a.reference(f.Version.Project, f.Version.Model, f.Version.Number)
}

func (a *app) findingPage(w io.Writer, f *pedigree.Finding) {
	p := page{w}
	if d := f.Deployment; d != nil {
		a.deploymentPage(p, d)
	} else {
		p.title(a.found(f), "(deployed nowhere)")
	}
	p.disagreement(f.Contradictions, f.Notes)
	if f.Rollback != "" {
		p.line("go back", f.Rollback)
	}
	if t := f.Target; t != nil {
		for _, u := range t.Dashboards {
			p.line("dashboard", string(u))
		}
		p.line("runbook", string(t.Runbook))
		p.line("on call", string(t.OnCall))
	}
	fmt.Fprintln(w)
	if f.Version.Model == "" {
		fmt.Fprintln(w, "the version was deleted since")
		return
	}
	a.versionPage(w, &f.Version, "")
}

func newWhereCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "where REF|MODEL",
		Short: "Where a version runs, or any version of a model",
		Example: `  pedigree where fraud/7
  pedigree where fraud --at -30d`,
		Args:              args(1, 1),
		ValidArgsFunction: a.completeReferences,
		RunE: func(cmd *cobra.Command, args []string) error {
			ref, at, err := a.question(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			c, err := a.client(cmd.Context())
			if err != nil {
				return err
			}
			list, err := c.Where(cmd.Context(), ref, at)
			if err != nil {
				return err
			}
			return a.deploymentList(cmd.Context(), list, at, 0, a.display(ref)+" is deployed nowhere")
		},
	}
	a.atFlag(cmd)
	return cmd
}

func newTimelineCommand(a *app) *cobra.Command {
	var limit int
	cmd := &cobra.Command{
		Use:   "timeline ENV/NAME",
		Short: "What ran on a target, from when to when",
		Example: `  pedigree timeline prod/fraud-api
  pedigree timeline prod/fraud-api --at -30d -o json`,
		Args:              args(1, 1),
		ValidArgsFunction: a.completeTargets,
		RunE: func(cmd *cobra.Command, args []string) error {
			name, err := a.targetOf(args[0])
			if err != nil {
				return err
			}
			c, at, err := a.clientAt(cmd.Context())
			if err != nil {
				return err
			}
			list, err := gather(limit, func(page pedigree.Page) (pedigree.List[pedigree.Deployment], error) {
				return c.Timeline(cmd.Context(), name, page, at)
			})
			if err != nil {
				return err
			}
			return a.deploymentList(cmd.Context(), list, at, limit, "nothing was ever deployed at "+string(name))
		},
	}
	limitFlag(cmd, &limit)
	a.atFlag(cmd)
	return cmd
}

func newStatusCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "status [ENV/NAME]",
		Short: "Desired against observed: who lags, who is silent, is the way back open",
		Example: `  pedigree status
  pedigree status prod/fraud-api`,
		Args:              args(0, 1),
		ValidArgsFunction: a.completeTargets,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				return a.targetStatus(cmd.Context(), args[0])
			}
			return a.statusOfAll(cmd.Context())
		},
	}
	a.atFlag(cmd)
	return cmd
}

func (a *app) statusOfAll(ctx context.Context) error {
	c, at, err := a.clientAt(ctx)
	if err != nil {
		return err
	}
	list, err := gather(0, func(page pedigree.Page) (pedigree.List[pedigree.TargetStatus], error) {
		return c.Targets(ctx, page, at)
	})
	if err != nil {
		return err
	}
	var names []string
	t := a.newTable("target", "desired", "instances", "lag", "silent", "way back", "checked (UTC)")
	for i := range list.Items {
		s := &list.Items[i]
		names = append(names, string(s.Target.Name))
		desired := "-"
		if s.Current != nil {
			desired = a.deployed(s.Current)
		}
		if s.Withdrawn {
			desired += " (WITHDRAWN)"
		}
		if s.Pending != nil {
			desired += " → " + a.deployed(s.Pending)
			if s.Barred != "" {
				desired += " (BARRED)"
			}
		}
		back, checked := "", ""
		switch r := s.Rollback; {
		case r != nil && r.Ready:
			back, checked = r.Version, stamp(r.CheckedAt)
		case r != nil:
			back, checked = "NOT READY", stamp(r.CheckedAt)
		case s.Protected && s.Current == nil:
			back = "nothing to go back from"
		case s.Protected:
			back = "not checked yet"
		}
		t.row(s.Target.Name, desired, len(s.Instances), a.countSince(s.Lagging, s.LaggingSince), a.countSince(s.Silent, s.SilentSince), back, checked)
	}
	return a.print(answer{value: list, names: names, asOf: a.asOf(ctx, at), human: func(w io.Writer) {
		if len(names) == 0 {
			fmt.Fprintln(w, "no targets yet; make one with: pedigree target create prod/NAME --kind online")
			return
		}
		t.write(w, "")
	}})
}

// countSince is how many instances do something, and since when the first of them does.
func (a *app) countSince(n int, since *time.Time) string {
	if since == nil {
		return strconv.Itoa(n)
	}
	return fmt.Sprintf("%d, since %s", n, humanize.RelTime(*since, a.now(), "ago", "from now"))
}

// periodFlags are a time, as the user says it.
type periodFlags struct{ from, to string }

func (f *periodFlags) register(cmd *cobra.Command, from string) {
	cmd.Flags().StringVar(&f.from, "from", from, "beginning: RFC 3339, or an age (-2h, -7d)")
	cmd.Flags().StringVar(&f.to, "to", "", "end (default: now)")
}

func (a *app) period(f periodFlags) (from, to time.Time, err error) {
	for text, t := range map[*string]*time.Time{&f.from: &from, &f.to: &to} {
		at, err := pedigree.ParseAt(*text, a.now())
		if err != nil {
			return from, to, err
		}
		if at.Seq != nil {
			return from, to, pedigree.Errorf(pedigree.CodeInvalid, "%s is the number of an event, and here goes a time", *text)
		}
		*t = at.Time
	}
	return from, to, nil
}

func newChangesCommand(a *app) *cobra.Command {
	var period periodFlags
	var limit int
	cmd := &cobra.Command{
		Use:   "changes [ENV/NAME|MODEL]",
		Short: "What changed: the events about a target, a model or the whole project, by time",
		Long: `Changes lists the events of a time, oldest first. Those of a target are its deployments, executions
and settings; what was said of each version that was deployed or active there in that time:
approvals, rejections, amendments, a withdrawal; and the policies of the project and the instance.`,
		Example: `  pedigree changes prod/fraud-api --from -3h
  pedigree changes fraud --from 2026-11-01 --to 2026-11-02
  pedigree changes --from -1d`,
		Args:              args(0, 1),
		ValidArgsFunction: a.completeTargets,
		RunE: func(cmd *cobra.Command, args []string) error {
			from, to, err := a.period(period)
			if err != nil {
				return err
			}
			var target pedigree.TargetName
			var model pedigree.Name
			if len(args) == 1 {
				if target, err = a.targetOf(args[0]); err != nil {
					if model, err = a.modelOf(args[0]); err != nil {
						return err
					}
				}
			}
			c, err := a.client(cmd.Context())
			if err != nil {
				return err
			}
			list, err := gather(limit, func(page pedigree.Page) (pedigree.List[pedigree.Entry], error) {
				return c.Changes(cmd.Context(), target, model, from, to, page)
			})
			if err != nil {
				return err
			}
			return a.changes(cmd.Context(), list, limit)
		},
	}
	period.register(cmd, "-24h")
	limitFlag(cmd, &limit)
	return cmd
}

func (a *app) changes(ctx context.Context, list pedigree.List[pedigree.Entry], limit int) error {
	c, err := a.client(ctx)
	if err != nil {
		return err
	}
	n := a.newNamer(c)
	var names []string
	t := a.newTable("event", "when (UTC)", "by", "what")
	for i := range list.Items {
		entry := &list.Items[i]
		e, err := entry.Event()
		if err != nil {
			return err
		}
		names = append(names, pedigree.VersionNumber(e.Seq).String())
		t.row(e.Seq, stamp(e.Time), a.who(e.Actor), strings.TrimSpace(n.describe(ctx, entry, &e)))
	}
	err = a.print(answer{value: list, names: names, human: func(w io.Writer) {
		if len(names) == 0 {
			fmt.Fprintln(w, "nothing changed in that time")
			return
		}
		t.write(w, "")
	}})
	a.more(list.Next, limit)
	return err
}

func newReportCommand(a *app) *cobra.Command {
	return noun("report", "Reports out of the log", newDeliveryCommand(a))
}

func newDeliveryCommand(a *app) *cobra.Command {
	var period periodFlags
	var environment string
	cmd := &cobra.Command{
		Use:   "delivery",
		Short: "How often you deploy, how long it takes, how often it fails, how fast you restore",
		Example: `  pedigree report delivery
  pedigree report delivery --env prod --from -30d -o json`,
		Args: args(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			from, to, err := a.period(period)
			if err != nil {
				return err
			}
			c, err := a.client(cmd.Context())
			if err != nil {
				return err
			}
			list, err := c.Delivery(cmd.Context(), environment, from, to)
			if err != nil {
				return err
			}
			var names []string
			t := a.newTable("model", "deployments", "a week", "lead time", "failures", "failure rate", "rollbacks", "time to restore")
			for _, d := range list.Items {
				name := string(d.Model)
				if name == "" {
					name = "(all)"
				}
				names = append(names, name)
				rate := "-"
				if d.FailureRate != nil {
					rate = fmt.Sprintf("%.0f %%", 100*float64(*d.FailureRate))
				}
				t.row(name, d.Deployments, fmt.Sprintf("%.1f", float64(d.PerWeek)), seconds(d.LeadTime), d.Failures, rate, d.Rollbacks, seconds(d.TimeToRestore))
			}
			return a.print(answer{value: list, names: names, human: func(w io.Writer) { t.write(w, "") }})
		},
	}
	cmd.Flags().StringVar(&environment, "env", "", "environments of the targets, as a pattern (default prod*)")
	period.register(cmd, "-90d")
	return cmd
}

// seconds is a length of time for people, "-" for none.
func seconds(s *pedigree.Float) string {
	if s == nil {
		return "-"
	}
	d := time.Duration(float64(*s) * float64(time.Second))
	if d >= 48*time.Hour {
		return fmt.Sprintf("%.1f days", d.Hours()/24)
	}
	return d.Round(time.Second).String()
}
