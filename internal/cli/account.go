package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/client"
)

func newAccountCommand(a *app) *cobra.Command {
	cmd := noun("account", "Who may call: people and programs",
		newAccountCreateCommand(a), newAccountListCommand(a), newAccountShowCommand(a), newAccountEditCommand(a),
		newAccountSwitchCommand(a, "disable", "Take every right from an account, until it is enabled", (*client.Client).DisableAccount),
		newAccountSwitchCommand(a, "enable", "Give an account its rights back", (*client.Client).EnableAccount),
		newAccountEraseCommand(a))
	cmd.Long = `An account is a person or, with --service, a program. It may do nothing until it has a
role: pedigree role grant. It shows who it is by a token: pedigree token create.
pedigree admin init makes the first account.`
	return cmd
}

func newAccountCreateCommand(a *app) *cobra.Command {
	var spec pedigree.NewAccount
	var service bool
	cmd := &cobra.Command{
		Use:   "create NAME",
		Short: "Make an account",
		Example: `  pedigree account create ann --email ann@example.org
  pedigree account create ci-fraud --service --acts-for ann`,
		Args: args(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			name, err := pedigree.ParseActorName(args[0])
			if err != nil {
				return err
			}
			spec.Name = name
			if service {
				spec.Kind = pedigree.ServiceAccount
			}
			c, err := a.client(cmd.Context())
			if err != nil {
				return err
			}
			out, err := c.CreateAccount(cmd.Context(), spec)
			if err != nil {
				return err
			}
			return a.print(answer{value: out, names: []string{out.Label()}, human: func(w io.Writer) {
				fmt.Fprintf(w, "created the account %s; next:\n  pedigree role grant contributor %s\n  pedigree token create --account %s\n", out.Name, out.Name, out.Name)
			}})
		},
	}
	cmd.Flags().BoolVar(&service, "service", false, "it is a program")
	cmd.Flags().StringVar(&spec.ActsFor, "acts-for", "", "the `PERSON` for whom a service account acts, and who answers for it")
	cmd.Flags().StringVar(&spec.Email, "email", "", "its address")
	cmd.Flags().StringVar(&spec.DisplayName, "display-name", "", "what to call it in full")
	a.dryRunFlag(cmd)
	return cmd
}

func newAccountEditCommand(a *app) *cobra.Command {
	var email, display, actsFor string
	cmd := &cobra.Command{
		Use:   "edit NAME",
		Short: "Change what is said of an account",
		Example: `  pedigree account edit ann --email ann@example.com
  pedigree account edit ci-fraud --acts-for bob`,
		Args: args(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var edit pedigree.AccountEdit
			if cmd.Flags().Changed("email") {
				edit.Email = &email
			}
			if cmd.Flags().Changed("display-name") {
				edit.DisplayName = &display
			}
			if cmd.Flags().Changed("acts-for") {
				edit.ActsFor = &actsFor
			}
			if edit == (pedigree.AccountEdit{}) {
				return pedigree.Errorf(pedigree.CodeInvalid, "there is nothing to change").WithFix("pass --email, --display-name or --acts-for")
			}
			c, err := a.client(cmd.Context())
			if err != nil {
				return err
			}
			out, err := c.EditAccount(cmd.Context(), args[0], edit)
			if err != nil {
				return err
			}
			return a.printAccount(&out)
		},
	}
	cmd.Flags().StringVar(&actsFor, "acts-for", "", "the `PERSON` for whom a service account acts; empty for nobody")
	cmd.Flags().StringVar(&email, "email", "", "its address")
	cmd.Flags().StringVar(&display, "display-name", "", "what to call it in full")
	a.dryRunFlag(cmd)
	return cmd
}

func newAccountListCommand(a *app) *cobra.Command {
	var limit int
	cmd := &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "List the accounts",
		Example: `  pedigree account list`,
		Args:    args(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client(cmd.Context())
			if err != nil {
				return err
			}
			list, err := gather(limit, func(page pedigree.Page) (pedigree.List[pedigree.Account], error) {
				return c.Accounts(cmd.Context(), page)
			})
			if err != nil {
				return err
			}
			var names []string
			t := a.newTable("account", "kind", "acts for", "state", "created (UTC)", "by")
			for i := range list.Items {
				acc := &list.Items[i]
				names = append(names, acc.Label())
				t.row(acc.Label(), acc.Kind, acc.ActsForName, accountState(acc), stamp(acc.CreatedAt), a.who(acc.CreatedBy))
			}
			err = a.print(answer{value: list, names: names, human: func(w io.Writer) {
				if len(names) == 0 {
					fmt.Fprintln(w, "no accounts: whoever reaches this registry may do everything; pedigree admin init makes the first one")
					return
				}
				t.write(w, "")
			}})
			a.more(list.Next, limit)
			return err
		},
	}
	limitFlag(cmd, &limit)
	return cmd
}

func accountState(acc *pedigree.Account) string {
	switch {
	case acc.Erased:
		return "erased"
	case acc.Disabled:
		return "disabled"
	}
	return "enabled"
}

func newAccountShowCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "show NAME",
		Short:   "Show an account",
		Example: `  pedigree account show ann`,
		Args:    args(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client(cmd.Context())
			if err != nil {
				return err
			}
			out, err := c.GetAccount(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return a.printAccount(&out)
		},
	}
}

func (a *app) printAccount(acc *pedigree.Account) error {
	return a.print(answer{value: acc, names: []string{acc.Label()}, human: func(w io.Writer) {
		out := page{w}
		out.title(acc.Label(), string(acc.Kind)+", "+accountState(acc))
		out.line("name", acc.DisplayName)
		out.line("e-mail", acc.Email)
		actsFor := string(acc.ActsForName)
		if actsFor == "" {
			actsFor = acc.ActsFor
		}
		out.line("acts for", actsFor)
		out.line("created", a.since(acc.CreatedAt), "by "+a.who(acc.CreatedBy))
		out.line("id", acc.ID)
	}})
}

func newAccountSwitchCommand(a *app, verb, short string, do func(*client.Client, context.Context, string, string) (pedigree.Account, error)) *cobra.Command {
	var reason string
	var allow bool
	cmd := &cobra.Command{
		Use:     verb + " NAME",
		Short:   short,
		Example: `  pedigree account ` + verb + ` ann --reason "ticket 4711"`,
		Args:    args(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := refuseTyped(allow, map[string]string{"--reason": reason}); err != nil {
				return err
			}
			c, err := a.client(cmd.Context())
			if err != nil {
				return err
			}
			out, err := do(c, cmd.Context(), args[0], reason)
			if err != nil {
				return err
			}
			return a.print(answer{value: out, names: []string{out.Label()}, human: func(w io.Writer) {
				fmt.Fprintf(w, "the account %s is %s\n", out.Label(), accountState(&out))
			}})
		},
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why; it stays in the log, so name nobody")
	allowSecrets(cmd.Flags(), &allow)
	a.dryRunFlag(cmd)
	return cmd
}

func newAccountEraseCommand(a *app) *cobra.Command {
	var d deletion
	cmd := &cobra.Command{
		Use:   "erase NAME",
		Short: "Erase a person's name, addresses and tokens for good",
		Long: `Erase removes the name, the addresses and the tokens of an account, and every role. What it
did stays in the log under its id, and the log still verifies. The account can't come
back. Backups made before still hold the name.`,
		Example: `  pedigree account erase ann --yes`,
		Args:    args(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client(cmd.Context())
			if err != nil {
				return err
			}
			acc, err := c.GetAccount(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			out := acc
			ok, err := a.confirm(d, acc.Label(), []string{
				fmt.Sprintf("the name %s, its addresses and its tokens go for good", acc.Label()),
				"every role and every group is taken from it",
				"what it did stays in the log, as done by " + acc.ID,
			}, func() (err error) {
				out, err = c.EraseAccount(cmd.Context(), acc.ID)
				return err
			})
			if err != nil || !ok {
				return err
			}
			return a.print(answer{value: out, names: []string{out.ID}, human: func(w io.Writer) {
				fmt.Fprintf(w, "erased %s; the log knows it as %s\n", args[0], out.ID)
			}})
		},
	}
	cmd.Flags().BoolVar(&d.yes, "yes", false, "do it")
	a.dryRunFlag(cmd)
	return cmd
}

// who is the name of an actor as the registry said it, or its id.
func (a *app) who(id string) string {
	if a.registry == nil {
		return id
	}
	return a.registry.client.NameOf(id)
}

// accessSentence is [sentence] for events about who may do what; "" for others.
func accessSentence(t pedigree.EventType, subject string, payload map[string]json.RawMessage) string {
	text := func(name string) string { return rawText(payload[name]) }
	why := ""
	if s := text("reason"); s != "" && payload["reason"] != nil {
		why = " (" + cut(s, 60) + ")"
	}
	where := " for the whole registry"
	if p := text("project"); payload["project"] != nil && p != "" {
		where = " in project " + p
	}
	switch t {
	case pedigree.AuthEnabled:
		return "accounts were switched on"
	case pedigree.AccountCreated:
		actsFor := ""
		if payload["acts_for"] != nil {
			actsFor = ", which acts for " + text("acts_for")
		}
		return "account " + subject + " was made: a " + text("kind") + actsFor
	case pedigree.AccountChanged:
		if payload["acts_for"] == nil {
			return "what is said of account " + subject + " was changed"
		}
		if person := text("acts_for"); person != "" {
			return "account " + subject + " acts for " + person
		}
		return "account " + subject + " acts for nobody that is known"
	case pedigree.AccountDisabled:
		return "account " + subject + " was disabled" + why
	case pedigree.AccountEnabled:
		return "account " + subject + " was enabled" + why
	case pedigree.AccountErased:
		return "account " + subject + " was erased"
	case pedigree.GroupCreated:
		return "group " + subject + " was made"
	case pedigree.GroupDeleted:
		return "group " + subject + " was deleted"
	case pedigree.GroupMemberAdded:
		return text("account") + " was put into group " + subject
	case pedigree.GroupMemberRemoved:
		return text("account") + " was taken out of group " + subject
	case pedigree.BindingAdded:
		return text("member") + " was given the role " + text("role") + where
	case pedigree.BindingRemoved:
		return text("member") + " lost the role " + text("role") + where
	case pedigree.TokenCreated:
		scopes := ""
		var list []string
		if json.Unmarshal(payload["scopes"], &list) == nil && len(list) > 0 {
			scopes = ", for " + strings.Join(list, " ")
		}
		return "a token of " + text("account") + " was made (" + subject + ")" + scopes
	case pedigree.TokenRevoked:
		return "a token of " + text("account") + " was revoked (" + subject + ")"
	case pedigree.AccessDenied:
		more := ""
		if n := text("more"); payload["more"] != nil {
			more = ", and " + n + " times before"
		}
		in := " in the registry as a whole"
		if subject != pedigree.InstanceSubject {
			in = " in project " + subject
		}
		return "refused: " + text("permission") + in + more
	}
	return ""
}
