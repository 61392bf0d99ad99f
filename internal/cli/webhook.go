package cli

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/client"
)

func newWebhookCommand(a *app) *cobra.Command {
	s := &webhookScope{}
	cmd := noun("webhook", "Tell receivers elsewhere what happens, by signed requests",
		newWebhookCreateCommand(a, s), newWebhookListCommand(a, s), newWebhookShowCommand(a, s), newWebhookEditCommand(a, s), newWebhookRemoveCommand(a, s),
		newWebhookTestCommand(a, s), newWebhookDeliveriesCommand(a, s), newWebhookRedeliverCommand(a, s), newWebhookRotateCommand(a, s))
	cmd.PersistentFlags().BoolVar(&s.instance, "instance", false, "the webhooks of the whole instance, and not of the project")
	return cmd
}

// webhookScope says whose webhooks a command is about.
type webhookScope struct{ instance bool }

// project is the project meant, "" for the instance.
func (s *webhookScope) project(a *app) pedigree.ProjectName {
	if s.instance {
		return ""
	}
	return a.projectName()
}

// webhookTypes reads the values of --type: a type, or a family such as alias or alias.*.
func webhookTypes(texts []string) ([]string, error) {
	var out []string
	for _, s := range texts {
		if !strings.Contains(s, ".") {
			s += ".*"
		}
		family := strings.TrimSuffix(s, "*")
		known := slices.ContainsFunc(pedigree.EventTypes, func(t pedigree.EventType) bool {
			return string(t) == s || family != s && strings.HasPrefix(string(t), family)
		})
		if !known {
			_, err := eventTypes([]string{strings.TrimSuffix(s, ".*")})
			return nil, err
		}
		out = append(out, s)
	}
	return out, nil
}

// webhookFlags say what a webhook wants.
type webhookFlags struct {
	name, description string
	types, models     []string
	allow             bool
}

func (f *webhookFlags) register(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.name, "name", "", "what to call it")
	cmd.Flags().StringVar(&f.description, "description", "", "what it is for")
	cmd.Flags().StringArrayVar(&f.types, "type", nil, "only this `TYPE` of event: alias.moved, or a family such as alias (repeat)")
	cmd.Flags().StringArrayVar(&f.models, "model", nil, "only this `MODEL` and its versions (repeat)")
	allowSecrets(cmd.Flags(), &f.allow)
}

func (f *webhookFlags) check(url string) error {
	return refuseTyped(f.allow, map[string]string{"--name": f.name, "--description": f.description, "the URL": url})
}

func newWebhookCreateCommand(a *app, s *webhookScope) *cobra.Command {
	f := &webhookFlags{}
	var inactive bool
	cmd := &cobra.Command{
		Use:   "create URL",
		Short: "Make a webhook, and show its secret once",
		Long: `Create makes a webhook of the project, or with --instance of all of them. From then on each
event that it wants is sent to URL, signed as Standard Webhooks says with the secret that
is shown now and never again. Without --type and --model it wants everything. Deliveries
are tried for three days; a server must be running.

URL must be https and public, unless the operator allows others (serve --webhook-allow).`,
		Example: `  pedigree webhook create https://ci.example.org/hooks/models --type alias --model fraud
  pedigree webhook create https://audit.example.org/in --instance --name audit
  pedigree webhook test whk_0192f0c8a1b27c3d8e4f5a6b7c8d9e0f`,
		Args: args(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := f.check(args[0]); err != nil {
				return err
			}
			types, err := webhookTypes(f.types)
			if err != nil {
				return err
			}
			c, err := a.client(cmd.Context())
			if err != nil {
				return err
			}
			w, err := c.CreateWebhook(cmd.Context(), s.project(a), client.NewWebhook{
				URL: args[0], Name: f.name, Description: f.description, Types: types, Models: f.models, Inactive: inactive,
			})
			if err != nil {
				return err
			}
			return a.printSecret(&w, "created webhook %s\n")
		},
	}
	f.register(cmd)
	cmd.Flags().BoolVar(&inactive, "inactive", false, "send nothing until it is switched on")
	a.dryRunFlag(cmd)
	return cmd
}

// printSecret shows a webhook that has a fresh secret.
func (a *app) printSecret(w *pedigree.Webhook, done string) error {
	return a.print(answer{value: w, names: []string{w.ID}, human: func(out io.Writer) {
		fmt.Fprintf(out, done, w.ID)
		fmt.Fprintf(out, "secret  %s\n", w.Secret)
		fmt.Fprintln(out, "It is shown this once: give it to the receiver, which knows deliveries by it.")
	}})
}

func (a *app) printWebhook(w *pedigree.Webhook, done string) error {
	return a.print(answer{value: w, names: []string{w.ID}, human: func(out io.Writer) { fmt.Fprintf(out, done+"\n", w.ID) }})
}

func newWebhookListCommand(a *app, s *webhookScope) *cobra.Command {
	var limit int
	var all bool
	cmd := &cobra.Command{
		Use:     "ls",
		Aliases: []string{"list"},
		Short:   "List webhooks, newest first",
		Example: `  pedigree webhook ls -p risk
  pedigree webhook ls --all`,
		Args: args(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client(cmd.Context())
			if err != nil {
				return err
			}
			list, err := gather(limit, func(page pedigree.Page) (pedigree.List[pedigree.Webhook], error) {
				if all {
					return c.AllWebhooks(cmd.Context(), page)
				}
				return c.Webhooks(cmd.Context(), s.project(a), page)
			})
			if err != nil {
				return err
			}
			var names []string
			models := a.newNamer(c)
			t := a.newTable("webhook", "of", "name", "receiver", "wants", "state")
			for i := range list.Items {
				w := &list.Items[i]
				names = append(names, w.ID)
				if a.people() {
					t.row(w.ID, webhookOf(w), cut(w.Name, 30), cut(w.URL, 60), cut(a.wants(cmd.Context(), models, w), 50), webhookState(w))
				}
			}
			err = a.print(answer{value: list, names: names, human: func(w io.Writer) {
				if len(names) == 0 {
					fmt.Fprintln(w, "no webhooks")
					return
				}
				t.write(w, "")
			}})
			a.more(list.Next, limit)
			return err
		},
	}
	limitFlag(cmd, &limit)
	cmd.Flags().BoolVar(&all, "all", false, "those of the instance and of every project")
	return cmd
}

func webhookOf(w *pedigree.Webhook) string {
	if w.Project == "" {
		return "instance"
	}
	return string(w.Project)
}

func webhookState(w *pedigree.Webhook) string {
	switch {
	case w.URL == "":
		return "erased"
	case !w.Active:
		return "off"
	}
	return "on"
}

// wants says in a few words what a webhook wants.
func (a *app) wants(ctx context.Context, models *namer, w *pedigree.Webhook) string {
	what := strings.Join(w.Types, ", ")
	switch {
	case len(w.Events) > 0: // MLflow's words
		what = strings.Join(w.Events, ", ")
	case len(w.Types) == 0:
		what = "everything"
	}
	var names []string
	for _, id := range w.Models {
		names = append(names, models.name(ctx, id))
	}
	if len(names) > 0 {
		what += " of " + strings.Join(names, ", ")
	}
	return what
}

func newWebhookShowCommand(a *app, s *webhookScope) *cobra.Command {
	return &cobra.Command{
		Use:     "show WEBHOOK",
		Short:   "Show a webhook, and how its deliveries stand",
		Example: `  pedigree webhook show whk_0192f0c8a1b27c3d8e4f5a6b7c8d9e0f`,
		Args:    args(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client(cmd.Context())
			if err != nil {
				return err
			}
			w, err := c.Webhook(cmd.Context(), s.project(a), args[0])
			if err != nil {
				return err
			}
			return a.print(answer{value: w, names: []string{w.ID}, human: func(out io.Writer) { a.webhookPage(cmd.Context(), out, c, &w) }})
		},
	}
}

func (a *app) webhookPage(ctx context.Context, out io.Writer, c *client.Client, w *pedigree.Webhook) {
	p := page{out}
	p.title(w.ID, "("+webhookState(w)+")")
	p.line("name", w.Name)
	p.line("of", webhookOf(w))
	p.text("description", w.Description)
	p.line("receiver", w.URL)
	p.line("wants", a.wants(ctx, a.newNamer(c), w))
	if w.Format != pedigree.FormatStandard {
		p.line("format", string(w.Format))
	}
	if !w.Signed {
		p.line("secret", "none")
	}
	if q := w.Queue; q != nil {
		p.line("pending", strconv.FormatInt(q.Pending, 10))
		if q.Oldest != nil {
			p.line("oldest", a.since(*q.Oldest))
		}
		if q.Dead > 0 {
			p.line("given up", strconv.FormatInt(q.Dead, 10), "pedigree webhook deliveries "+w.ID+" --state dead")
		}
		if q.Behind > 0 && w.Active {
			p.line("behind", count(int(q.Behind), "event"))
		}
	}
	p.line("created", a.since(w.CreatedAt), "by "+w.CreatedBy)
}

func newWebhookEditCommand(a *app, s *webhookScope) *cobra.Command {
	f := &webhookFlags{}
	var to, reason string
	var on, off, allTypes, allModels bool
	cmd := &cobra.Command{
		Use:   "edit WEBHOOK",
		Short: "Change where a webhook goes, what it wants, and whether it is on",
		Long: `Edit changes what is named and leaves the rest. What happens while a webhook is off is never
sent; what waited before goes on when it is on again. A receiver that answers 410 Gone
switches its webhook off.`,
		Example: `  pedigree webhook edit whk_0192f0c8a1b27c3d8e4f5a6b7c8d9e0f --to https://ci.example.org/v2/models
  pedigree webhook edit whk_0192f0c8a1b27c3d8e4f5a6b7c8d9e0f --off --reason "the receiver moves"
  pedigree webhook edit whk_0192f0c8a1b27c3d8e4f5a6b7c8d9e0f --on --all-types`,
		Args: args(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := f.check(to); err != nil {
				return err
			}
			if err := refuseTyped(f.allow, map[string]string{"--reason": reason}); err != nil {
				return err
			}
			if on && off || allTypes && len(f.types) > 0 || allModels && len(f.models) > 0 {
				return pedigree.Errorf(pedigree.CodeInvalid, "the flags contradict each other").WithFix("leave one out: --on or --off, --type or --all-types, --model or --all-models")
			}
			edit := pedigree.WebhookEdit{Reason: reason}
			changed := cmd.Flags().Changed
			for _, text := range []struct {
				flag  string
				value *string
				to    **string
			}{{"name", &f.name, &edit.Name}, {"description", &f.description, &edit.Description}, {"to", &to, &edit.URL}} {
				if changed(text.flag) {
					*text.to = text.value
				}
			}
			types, err := webhookTypes(f.types)
			if err != nil {
				return err
			}
			if allTypes || len(types) > 0 {
				types = append([]string{}, types...)
				edit.Types = &types
			}
			if allModels || len(f.models) > 0 {
				models := append([]string{}, f.models...)
				edit.Models = &models
			}
			if on || off {
				edit.Active = &on
			}
			if edit == (pedigree.WebhookEdit{Reason: reason}) {
				return pedigree.Errorf(pedigree.CodeInvalid, "say what to change").WithFix("pedigree webhook edit --help lists the flags")
			}
			c, err := a.client(cmd.Context())
			if err != nil {
				return err
			}
			w, err := c.EditWebhook(cmd.Context(), s.project(a), args[0], edit, nil)
			if err != nil {
				return err
			}
			return a.printWebhook(&w, "changed webhook %s")
		},
	}
	f.register(cmd)
	cmd.Flags().StringVar(&to, "to", "", "another `URL` of the receiver")
	cmd.Flags().BoolVar(&on, "on", false, "send from now on")
	cmd.Flags().BoolVar(&off, "off", false, "send nothing")
	cmd.Flags().BoolVar(&allTypes, "all-types", false, "every type of event")
	cmd.Flags().BoolVar(&allModels, "all-models", false, "every model")
	cmd.Flags().StringVar(&reason, "reason", "", "why; it stays in the log")
	a.dryRunFlag(cmd)
	return cmd
}

func newWebhookRemoveCommand(a *app, s *webhookScope) *cobra.Command {
	var d deletion
	cmd := &cobra.Command{
		Use:     "delete WEBHOOK",
		Aliases: []string{"rm"},
		Short:   "Remove a webhook, and what waits to be sent by it",
		Example: `  pedigree webhook delete whk_0192f0c8a1b27c3d8e4f5a6b7c8d9e0f --reason "the receiver is gone" --yes`,
		Args:    args(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := d.check(); err != nil {
				return err
			}
			c, err := a.client(cmd.Context())
			if err != nil {
				return err
			}
			w, err := c.Webhook(cmd.Context(), s.project(a), args[0])
			if err != nil {
				return err
			}
			plan := []string{"nothing is sent to " + w.URL + " any more"}
			if q := w.Queue; q != nil && q.Pending+q.Dead > 0 {
				plan = append(plan, fmt.Sprintf("what waits (%s) and what was given up (%d) is forgotten", count(int(q.Pending), "event"), q.Dead))
			}
			ok, err := a.confirm(d, w.ID, plan, func() error { return c.DeleteWebhook(cmd.Context(), s.project(a), w.ID, d.reason) })
			if err != nil || !ok {
				return err
			}
			return a.printWebhook(&w, "deleted webhook %s")
		},
	}
	d.register(a, cmd)
	return cmd
}

func newWebhookTestCommand(a *app, s *webhookScope) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "test WEBHOOK",
		Short: "Send an example to a webhook's receiver, and show its answer",
		Long: `Test sends a signed webhook.test to the receiver, now, also while the webhook is off. It is
no delivery and is not tried again. The exit code is 1 where the receiver did not take it.`,
		Example: `  pedigree webhook test whk_0192f0c8a1b27c3d8e4f5a6b7c8d9e0f`,
		Args:    args(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client(cmd.Context())
			if err != nil {
				return err
			}
			got, err := c.TestWebhook(cmd.Context(), s.project(a), args[0])
			if err != nil {
				return err
			}
			if err := a.print(answer{value: got, names: []string{strconv.Itoa(got.Status)}, human: func(out io.Writer) {
				fmt.Fprintf(out, "%s after %.0f ms\n", outcomeOf(&got), got.Duration)
				if got.Answer != "" {
					fmt.Fprintf(out, "answer  %s\n", printable(cut(got.Answer, 200)))
				}
			}}); err != nil || got.Error == "" {
				return err
			}
			return pedigree.Errorf(pedigree.CodeUnavailable, "the receiver did not take it: %s", got.Error)
		},
	}
	a.dryRunFlag(cmd)
	return cmd
}

// outcomeOf says in a word or two what became of an attempt.
func outcomeOf(at *pedigree.Attempt) string {
	switch {
	case at == nil:
		return "not tried yet"
	case at.Error == "":
		return "taken, status " + strconv.Itoa(at.Status)
	case at.Status != 0:
		return "refused, status " + strconv.Itoa(at.Status)
	}
	return at.Error
}

func newWebhookDeliveriesCommand(a *app, s *webhookScope) *cobra.Command {
	var limit int
	var state string
	cmd := &cobra.Command{
		Use:   "deliveries WEBHOOK",
		Short: "List what a webhook sent, tries to send and gave up, newest first",
		Long: `Deliveries lists the events that the webhook wanted, with the last attempt of each. What was
delivered is shown for a week, what was given up for a month.`,
		Example: `  pedigree webhook deliveries whk_0192f0c8a1b27c3d8e4f5a6b7c8d9e0f
  pedigree webhook deliveries whk_0192f0c8a1b27c3d8e4f5a6b7c8d9e0f --state dead`,
		Args: args(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client(cmd.Context())
			if err != nil {
				return err
			}
			list, err := gather(limit, func(page pedigree.Page) (pedigree.List[pedigree.WebhookDelivery], error) {
				return c.Deliveries(cmd.Context(), s.project(a), args[0], pedigree.DeliveryState(state), page)
			})
			if err != nil {
				return err
			}
			var names []string
			t := a.newTable("event", "type", "state", "attempts", "last (UTC)", "outcome", "next (UTC)")
			for i := range list.Items {
				d := &list.Items[i]
				names = append(names, strconv.FormatInt(d.Seq, 10))
				last, next := "", ""
				if d.Last != nil {
					last = stamp(d.Last.At)
				}
				if d.NextAt != nil && d.Attempts > 0 {
					next = stamp(*d.NextAt)
				}
				t.row(d.Seq, d.Type, d.State, d.Attempts, last, cut(outcomeOf(d.Last), 60), next)
			}
			err = a.print(answer{value: list, names: names, human: func(w io.Writer) {
				if len(names) == 0 {
					fmt.Fprintln(w, "no deliveries")
					return
				}
				t.write(w, "")
			}})
			a.more(list.Next, limit)
			return err
		},
	}
	limitFlag(cmd, &limit)
	cmd.Flags().StringVar(&state, "state", "", "only those that are `STATE`: pending, delivered or dead")
	return cmd
}

func newWebhookRedeliverCommand(a *app, s *webhookScope) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "redeliver WEBHOOK EVENT...",
		Short: "Send events again, at once and whatever became of them",
		Long: `Redeliver makes deliveries wait again, with the ids that they had: a receiver knows those
that it has seen. They wait for no earlier event.`,
		Example: `  pedigree webhook redeliver whk_0192f0c8a1b27c3d8e4f5a6b7c8d9e0f 4711
  pedigree webhook deliveries whk_0192f0c8a1b27c3d8e4f5a6b7c8d9e0f --state dead -q`,
		Args: args(2, -1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client(cmd.Context())
			if err != nil {
				return err
			}
			list := pedigree.List[pedigree.WebhookDelivery]{Items: []pedigree.WebhookDelivery{}}
			var names []string
			var steps []func() error
			for _, text := range args[1:] {
				seq, err := strconv.ParseInt(text, 10, 64)
				if err != nil || seq < 0 {
					return pedigree.Errorf(pedigree.CodeInvalid, "%q is not the number of an event", cut(text, 60))
				}
				names = append(names, text)
				steps = append(steps, func() error {
					d, err := c.Redeliver(cmd.Context(), s.project(a), args[0], seq)
					list.Items = append(list.Items, d)
					return err
				})
			}
			if err := a.each(steps...); err != nil {
				return err
			}
			return a.print(answer{value: list, names: names, human: func(w io.Writer) {
				fmt.Fprintf(w, "%s of %s will be sent again\n", count(len(names), "event"), args[0])
			}})
		},
	}
	a.dryRunFlag(cmd)
	return cmd
}

func newWebhookRotateCommand(a *app, s *webhookScope) *cobra.Command {
	var reason string
	var allow bool
	grace := pedigree.RotationGrace
	cmd := &cobra.Command{
		Use:   "rotate WEBHOOK",
		Short: "Give a webhook another secret, and show it once",
		Long: `Rotate makes another secret. For the time of --grace both sign each delivery, so that the
receiver can change over without missing one; --grace 0s ends the old one now.`,
		Example: `  pedigree webhook rotate whk_0192f0c8a1b27c3d8e4f5a6b7c8d9e0f
  pedigree webhook rotate whk_0192f0c8a1b27c3d8e4f5a6b7c8d9e0f --grace 0s --reason "it was in a chat"`,
		Args: args(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := refuseTyped(allow, map[string]string{"--reason": reason}); err != nil {
				return err
			}
			if grace < 0 || grace > pedigree.MaxRotationGrace {
				return pedigree.Errorf(pedigree.CodeInvalid, "--grace %s: want 0s to %s", grace, pedigree.MaxRotationGrace)
			}
			c, err := a.client(cmd.Context())
			if err != nil {
				return err
			}
			w, err := c.RotateWebhookSecret(cmd.Context(), s.project(a), args[0], grace.Truncate(time.Second), reason)
			if err != nil {
				return err
			}
			return a.printSecret(&w, "webhook %s has another secret\n")
		},
	}
	cmd.Flags().DurationVar(&grace, "grace", grace, "how long the old secret signs beside the new one")
	cmd.Flags().StringVar(&reason, "reason", "", "why; it stays in the log")
	allowSecrets(cmd.Flags(), &allow)
	a.dryRunFlag(cmd)
	return cmd
}
