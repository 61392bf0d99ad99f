package cli

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/client"
)

// reviewCommand makes a command that says something about a version's approval.
func (a *app) reviewCommand(use, short, example, flag, usage string, say func(cmd *cobra.Command, c *client.Client, ref pedigree.Reference, text string) (pedigree.Version, error)) *cobra.Command {
	var text string
	var allow bool
	cmd := &cobra.Command{
		Use:               use,
		Short:             short,
		Example:           example,
		Args:              args(1, 1),
		ValidArgsFunction: a.completeReferences,
		RunE: func(cmd *cobra.Command, args []string) error {
			ref, err := precise(args[0])
			if err != nil {
				return err
			}
			if err := refuseTyped(allow, map[string]string{"--" + flag: text}); err != nil {
				return err
			}
			c, err := a.client(cmd.Context())
			if err != nil {
				return err
			}
			v, err := say(cmd, c, ref, text)
			if err != nil {
				return err
			}
			name := a.reference(v.Project, v.Model, v.Number)
			return a.print(answer{value: v, names: []string{name}, human: func(w io.Writer) {
				state := pedigree.ApprovalNone
				if v.Approval != nil {
					state = v.Approval.State
				}
				fmt.Fprintf(w, "%s is %s", name, state)
				if v.Approval != nil && state == pedigree.ApprovalAsked {
					fmt.Fprintf(w, ": %d of %d approve it", v.Approval.Have, v.Approval.Need)
				}
				fmt.Fprintln(w)
			}})
		},
	}
	cmd.Flags().StringVar(&text, flag, "", usage)
	allowSecrets(cmd.Flags(), &allow)
	a.dryRunFlag(cmd)
	return cmd
}

func newRequestCommand(a *app) *cobra.Command {
	return a.reviewCommand("request REF", "Ask for the approval of a version", `  pedigree request fraud/7 --note "for the November release"`, "note", "what to say to the reviewers",
		func(cmd *cobra.Command, c *client.Client, ref pedigree.Reference, text string) (pedigree.Version, error) {
			return c.RequestApproval(cmd.Context(), ref, text)
		})
}

func newApproveCommand(a *app) *cobra.Command {
	var conditions []string
	var owner, due string
	cmd := a.reviewCommand("approve REF", "Approve a version as it is", `  pedigree approve fraud/7 --comment "checked against the fairness report"
  pedigree approve fraud/7 --condition "expr: deploy.role == \"canary\""
  pedigree approve fraud/7 --condition "drift report every week" --condition-owner ann --condition-due 2026-12-31`, "comment", "what to say; it stays in the log",
		func(cmd *cobra.Command, c *client.Client, ref pedigree.Reference, text string) (pedigree.Version, error) {
			allow, err := cmd.Flags().GetBool("allow-secrets")
			if err != nil {
				return pedigree.Version{}, err
			}
			if err := refuseTyped(allow, map[string]string{"--condition": strings.Join(conditions, "\n"), "--condition-owner": owner}); err != nil {
				return pedigree.Version{}, err
			}
			review := pedigree.Review{Comment: text}
			for _, condition := range conditions {
				k := pedigree.Condition{Note: condition, Owner: owner, Due: due}
				if expr, ok := strings.CutPrefix(condition, "expr:"); ok {
					k.Note, k.Expr = "", strings.TrimSpace(expr)
				}
				review.Conditions = append(review.Conditions, k)
			}
			return c.Approve(cmd.Context(), ref, review)
		})
	cmd.Long = `Approve says that a version may go on as it is: bound to its record, so that an amendment of what
was judged makes the approval stale. Whoever made the version can't approve it. A condition is a
note, which is listed until it is met (pedigree approvals met), or an expression ("expr: …") that
must hold wherever the version is deployed.`
	cmd.Flags().StringArrayVar(&conditions, "condition", nil, "`CONDITION` of the approval: a note, or expr: and an expression; may be repeated")
	cmd.Flags().StringVar(&owner, "condition-owner", "", "who sees to the conditions")
	cmd.Flags().StringVar(&due, "condition-due", "", "`DATE` by which they are to be met")
	return cmd
}

func newRejectCommand(a *app) *cobra.Command {
	return a.reviewCommand("reject REF", "Reject a version as it is", `  pedigree reject fraud/7 --comment "the test set leaks"`, "comment", "why; it stays in the log",
		func(cmd *cobra.Command, c *client.Client, ref pedigree.Reference, text string) (pedigree.Version, error) {
			return c.Reject(cmd.Context(), ref, pedigree.Review{Comment: text})
		})
}

func newRevokeCommand(a *app) *cobra.Command {
	return a.reviewCommand("revoke REF", "Take back what was approved", `  pedigree revoke fraud/7 --comment "new findings of the audit"`, "comment", "why; it stays in the log",
		func(cmd *cobra.Command, c *client.Client, ref pedigree.Reference, text string) (pedigree.Version, error) {
			return c.RevokeApproval(cmd.Context(), ref, text)
		})
}

// approvals are what waits for people: versions for a decision, as the inbox has them, and
// conditions for whoever sees to them.
type approvals struct {
	pedigree.List[pedigree.Summary]
	Conditions pedigree.List[pedigree.OpenCondition] `json:"conditions"`
}

func newApprovalsCommand(a *app) *cobra.Command {
	var all, mine bool
	var owners []string
	var limit int
	cmd := &cobra.Command{
		Use:   "approvals",
		Short: "List the versions that wait for an approval, and the conditions that are not met",
		Long: `Approvals lists what waits for somebody: the versions whose approval is asked for, and below them
the conditions of approvals that nobody has reported met, with who sees to each, and when it is due
(OVERDUE once that day is over, in UTC). --mine lists only the conditions whose owner you are, by
your account's name or address, --owner those of others.`,
		Example: `  pedigree approvals
  pedigree approvals --all
  pedigree approvals --all --mine
  pedigree approvals --owner team:risk -o json
  pedigree approvals met fraud/7 412.1 --comment "report attached"`,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, given []string) error {
			if len(given) > 0 {
				return unknownCommand(cmd, given)
			}
			c, at, err := a.clientAt(cmd.Context())
			if err != nil {
				return err
			}
			if mine {
				me, err := ownNames(cmd.Context(), c)
				if err != nil {
					return err
				}
				owners = append(owners, me...)
			}
			out := approvals{List: pedigree.List[pedigree.Summary]{Items: []pedigree.Summary{}}}
			if len(owners) == 0 {
				if out.List, err = gather(limit, func(page pedigree.Page) (pedigree.List[pedigree.Summary], error) {
					return c.Approvals(cmd.Context(), all, page, at)
				}); err != nil {
					return err
				}
			}
			out.Conditions, err = gather(limit, func(page pedigree.Page) (pedigree.List[pedigree.OpenCondition], error) {
				return c.Conditions(cmd.Context(), all, owners, page, at)
			})
			if err != nil {
				return err
			}
			out.AsOf = out.Conditions.AsOf
			err = a.printApprovals(cmd.Context(), &out, len(owners) == 0, at)
			a.more(out.Next+out.Conditions.Next, limit)
			return err
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "of all projects")
	cmd.Flags().BoolVar(&mine, "mine", false, "only conditions whose owner you are")
	cmd.Flags().StringArrayVar(&owners, "owner", nil, "only conditions whose `OWNER` this is; may be repeated")
	limitFlag(cmd, &limit)
	a.atFlag(cmd)
	cmd.AddCommand(newConditionMetCommand(a))
	return cmd
}

// ownNames are the names by which a condition may say that the caller sees to it.
func ownNames(ctx context.Context, c *client.Client) ([]string, error) {
	who, err := c.WhoAmI(ctx)
	if err != nil {
		return nil, err
	}
	names := []string{pedigree.Local.ID}
	if account := who.Account; account != nil {
		names = []string{string(account.Name)}
		if account.Email != "" {
			names = append(names, account.Email)
		}
	}
	return names, nil
}

// printApprovals shows what waits; inbox says that the versions were asked for, too.
func (a *app) printApprovals(ctx context.Context, out *approvals, inbox bool, at pedigree.At) error {
	var names []string
	versions := a.newTable("version", "state", "approvals", "complete", "owner", "asked (UTC)", "by", "note")
	for _, s := range out.Items {
		name := a.reference(s.Project, s.Model, s.Number)
		names = append(names, name)
		var have, asked, by, note string
		if w := s.Waiting; w != nil { // older servers do not tell
			have, asked, by, note = fmt.Sprintf("%d/%d", w.Have, w.Need), stamp(w.Request.At), a.who(w.Request.By), cut(w.Request.Note, 80)
		}
		versions.row(name, s.Approval, have, fmt.Sprintf("%d/%d", s.Have, s.Want), s.Owner, asked, by, note)
	}
	conditions := a.newTable("version", "condition", "owner", "due", "set (UTC)", "by", "what")
	for i := range out.Conditions.Items {
		c := &out.Conditions.Items[i]
		name := a.reference(c.Project, c.Model, c.Version)
		if !inbox {
			names = append(names, name)
		}
		conditions.row(name, c.ID, c.Owner, dueDate(&c.Condition), stamp(c.At), a.who(c.By), cut(c.Note+c.Expr, 80))
	}
	return a.print(answer{value: out, names: names, asOf: a.asOf(ctx, at), human: func(w io.Writer) {
		switch {
		case len(out.Items) > 0:
			versions.write(w, "")
		case inbox:
			fmt.Fprintln(w, "nothing waits for an approval")
		}
		switch {
		case len(out.Conditions.Items) == 0 && inbox:
		case len(out.Conditions.Items) == 0:
			fmt.Fprintln(w, "no open conditions")
		default:
			if inbox {
				fmt.Fprintln(w, "\nconditions that are not met (pedigree approvals met VERSION CONDITION)")
			}
			conditions.write(w, "")
		}
	}})
}

// dueDate is when a condition is due, with a mark where that is past.
func dueDate(c *pedigree.Condition) string {
	if c.Overdue {
		return c.Due + " OVERDUE"
	}
	return c.Due
}

func newConditionMetCommand(a *app) *cobra.Command {
	var comment string
	var allow bool
	cmd := &cobra.Command{
		Use:               "met REF CONDITION",
		Short:             "Report that a condition of an approval is met",
		Example:           `  pedigree approvals met fraud/7 412.1 --comment "report attached"`,
		Args:              args(2, 2),
		ValidArgsFunction: a.completeReferences,
		RunE: func(cmd *cobra.Command, args []string) error {
			ref, err := precise(args[0])
			if err != nil {
				return err
			}
			if err := refuseTyped(allow, map[string]string{"--comment": comment}); err != nil {
				return err
			}
			c, err := a.client(cmd.Context())
			if err != nil {
				return err
			}
			v, err := c.MeetCondition(cmd.Context(), ref, args[1], comment)
			if err != nil {
				return err
			}
			name := a.reference(v.Project, v.Model, v.Number)
			return a.print(answer{value: v, names: []string{name}, human: func(w io.Writer) { fmt.Fprintf(w, "condition %s of %s is met\n", args[1], name) }})
		},
	}
	cmd.Flags().StringVar(&comment, "comment", "", "how; it stays in the log")
	allowSecrets(cmd.Flags(), &allow)
	a.dryRunFlag(cmd)
	return cmd
}

func newWithdrawCommand(a *app) *cobra.Command {
	var reason, incident string
	var allow bool
	cmd := &cobra.Command{
		Use:   "withdraw REF",
		Short: "Bar a version everywhere, and list where it still runs",
		Long: `Withdraw says "never again, because …": the version can't be deployed, approved, or pulled by an
alias or a target, and everyone who runs it is told by webhook. By its number it can still be
read, for those who look into it. Restore undoes it.`,
		Example: `  pedigree withdraw fraud/7 --reason "trained on data that must not be used" --incident https://incidents.example.org/4711
  pedigree restore fraud/7 --reason "it was another data set"`,
		Args:              args(1, 1),
		ValidArgsFunction: a.completeReferences,
		RunE: func(cmd *cobra.Command, args []string) error {
			ref, err := precise(args[0])
			if err != nil {
				return err
			}
			if err := refuseTyped(allow, map[string]string{"--reason": reason, "--incident": incident}); err != nil {
				return err
			}
			uri, err := pedigree.ParseSafeURI(incident)
			if err != nil {
				return err
			}
			c, err := a.client(cmd.Context())
			if err != nil {
				return err
			}
			out, err := c.Withdraw(cmd.Context(), ref, reason, uri)
			if err != nil {
				return err
			}
			name := a.reference(out.Version.Project, out.Version.Model, out.Version.Number)
			return a.print(answer{value: out, names: []string{name}, human: func(w io.Writer) {
				fmt.Fprintf(w, "withdrew %s\n", name)
				for i := range out.Running {
					d := &out.Running[i]
					fmt.Fprintf(w, "STILL RUNS at %s (%s): pedigree rollback %s\n", d.Target, d.State, d.Target)
				}
			}})
		},
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why; it stays in the log")
	cmd.Flags().StringVar(&incident, "incident", "", "`URL` of the incident")
	allowSecrets(cmd.Flags(), &allow)
	a.dryRunFlag(cmd)
	return cmd
}

// approvalLines are the lines of a version's page about its approval.
func (a *app) approvalLines(p page, v *pedigree.Version) {
	if w := v.Withdrawn; w != nil {
		p.line("WITHDRAWN", w.Reason, string(w.Incident), a.since(w.At), "by "+a.who(w.By))
	}
	ap := v.Approval
	if ap == nil {
		return
	}
	state := string(ap.State)
	if ap.State == pedigree.ApprovalApproved || ap.Have > 0 || ap.State == pedigree.ApprovalAsked {
		state += fmt.Sprintf(" (%d of %d)", ap.Have, ap.Need)
	}
	expires := ""
	if ap.ExpiresAt != nil {
		expires = "until " + stamp(*ap.ExpiresAt) + " UTC"
	}
	p.line("approval", state, expires)
	if o := ap.Refused; o != nil && ap.State != pedigree.ApprovalRefused && ap.State != pedigree.ApprovalWithdrawn {
		p.line("", "it was "+string(o.Verdict)+" by "+a.who(o.By)+" and not approved again: a rollback to it stops")
	}
	if r := ap.Request; r != nil {
		p.line("", words([]string{"asked for by", a.who(r.By), stamp(r.At), "UTC", r.Note}))
	}
	for _, o := range ap.Opinions {
		marks := []string{string(o.Verdict), "by " + a.who(o.By), stamp(o.At) + " UTC", o.Comment}
		if o.Author {
			marks = append(marks, "(own work, allowed by policy)")
		}
		if o.Stale {
			marks = append(marks, "(stale)")
		}
		if o.Past {
			marks = append(marks, "(past)")
		}
		p.line("", words(marks))
	}
	for _, c := range ap.Conditions {
		state := "open"
		if c.Met {
			state = "met by " + a.who(c.MetBy)
		}
		p.line("", "condition "+c.ID+":", c.Note+c.Expr, words([]string{c.Owner, dueDate(&c)}), state)
	}
}
