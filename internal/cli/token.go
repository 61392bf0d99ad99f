package cli

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/pedigree-ml/pedigree"
)

func newTokenCommand(a *app) *cobra.Command {
	cmd := noun("token", "The secrets by which callers show who they are",
		newTokenCreateCommand(a), newTokenListCommand(a), newTokenRevokeCommand(a))
	cmd.Long = `A token is shown once, when it is made; the registry keeps only a hash of it. pedigree
login keeps one for this user, PEDIGREE_TOKEN is for programs, and MLflow clients take it
as MLFLOW_TRACKING_TOKEN.`
	return cmd
}

// expiry reads --expires: an age such as 90d, or a moment. "" is never.
func expiry(text string, now time.Time) (*time.Time, error) {
	if text == "" {
		return nil, nil
	}
	if d, err := pedigree.ParseDuration(text); err == nil {
		at := now.Add(time.Duration(d)).UTC().Truncate(time.Second)
		return &at, nil
	}
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if at, err := time.Parse(layout, text); err == nil {
			return &at, nil
		}
	}
	return nil, pedigree.Errorf(pedigree.CodeInvalid, "--expires %q: want an age or a moment", cut(text, 60)).WithFix("write 90d, 12h, or 2027-01-31")
}

// addToken adds the flags of a new token.
func addToken(cmd *cobra.Command, spec *pedigree.NewToken, scopes *[]string, expires *string) {
	cmd.Flags().StringVar(&spec.Name, "name", "", "what to call it, as in laptop")
	cmd.Flags().StringArrayVar(scopes, "scope", nil, "only this: a `ROLE` or a permission, also PROJECT/ROLE (repeat)")
	cmd.Flags().StringVar(expires, "expires", "", "when it ends: 90d, 12h, or 2027-01-31; never without it")
}

// completeToken reads what the flags of a new token say.
func (a *app) completeToken(spec *pedigree.NewToken, scopes []string, expires string) error {
	for _, s := range scopes {
		scope, err := pedigree.ParseScope(s)
		if err != nil {
			return err
		}
		spec.Scopes = append(spec.Scopes, scope)
	}
	var err error
	spec.ExpiresAt, err = expiry(expires, a.now())
	return err
}

func newTokenCreateCommand(a *app) *cobra.Command {
	var spec pedigree.NewToken
	var scopes []string
	var expires string
	cmd := &cobra.Command{
		Use:   "create",
		Short: "Make a token, and print it: once",
		Long: `Create makes a token of your own account or, for administrators, of another. The token alone
goes to standard output, so that it can be piped into a secret store. A scope narrows what
it may: a role, a permission (see docs/access.md), * for everything, each also for one
project alone: risk/contributor.`,
		Example: `  pedigree token create --name laptop --expires 90d
  pedigree token create --account ci-fraud --scope risk/contributor --expires 365d
  pedigree token create --scope bytes.read --scope observations.write -q > token`,
		Args: args(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := a.completeToken(&spec, scopes, expires); err != nil {
				return err
			}
			c, err := a.client(cmd.Context())
			if err != nil {
				return err
			}
			t, err := c.CreateToken(cmd.Context(), spec)
			if err != nil {
				return err
			}
			return a.printNewToken(&t)
		},
	}
	cmd.Flags().StringVar(&spec.Account, "account", "", "the `NAME` of the account; your own without it")
	addToken(cmd, &spec, &scopes, &expires)
	a.dryRunFlag(cmd)
	return cmd
}

// printNewToken prints the only answer that has a token's text: the text alone on standard
// output, and what to know on standard error.
func (a *app) printNewToken(t *pedigree.Token) error {
	if t.Text == "" {
		return pedigree.Errorf(pedigree.CodeUnavailable, "the token %s was made, and the answer that showed it was lost", t.ID).
			WithFix("pedigree token revoke %s, then make another", t.ID)
	}
	ends := ""
	if t.ExpiresAt != nil {
		ends = " until " + stamp(*t.ExpiresAt) + " UTC"
	}
	a.hint("a token of %s%s (%s). It is shown only now:", t.AccountName, ends, t.ID)
	return a.print(answer{value: t, names: []string{t.Text}})
}

func newTokenListCommand(a *app) *cobra.Command {
	var limit int
	var account string
	var all bool
	cmd := &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "List tokens that were not revoked",
		Example: `  pedigree token list
  pedigree token list --account ci-fraud
  pedigree token list --all`,
		Args: args(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if all {
				account = "*"
			}
			c, err := a.client(cmd.Context())
			if err != nil {
				return err
			}
			list, err := gather(limit, func(page pedigree.Page) (pedigree.List[pedigree.Token], error) {
				return c.Tokens(cmd.Context(), account, page)
			})
			if err != nil {
				return err
			}
			var names []string
			t := a.newTable("token", "account", "name", "scopes", "created (UTC)", "ends (UTC)", "last used (UTC)")
			for i := range list.Items {
				tok := &list.Items[i]
				names = append(names, tok.ID)
				t.row(tok.ID, a.who(tok.Account), tok.Name, scopeList(tok.Scopes), stamp(tok.CreatedAt), tokenEnd(tok, a.now()), moment(tok.LastUsed))
			}
			err = a.print(answer{value: list, names: names, human: func(w io.Writer) {
				if len(names) == 0 {
					fmt.Fprintln(w, "no tokens")
					return
				}
				t.write(w, "")
			}})
			a.more(list.Next, limit)
			return err
		},
	}
	cmd.Flags().StringVar(&account, "account", "", "those of the account `NAME`; your own without it")
	cmd.Flags().BoolVar(&all, "all", false, "those of all accounts")
	limitFlag(cmd, &limit)
	return cmd
}

func scopeList(scopes []pedigree.Scope) string {
	texts := make([]string, len(scopes))
	for i, s := range scopes {
		texts[i] = string(s)
	}
	return strings.Join(texts, " ")
}

func tokenEnd(t *pedigree.Token, now time.Time) string {
	if t.Expired(now) {
		return "ended"
	}
	return moment(t.ExpiresAt)
}

// moment is a time that may not be.
func moment(t *time.Time) string {
	if t == nil {
		return "never"
	}
	return stamp(*t)
}

func newTokenRevokeCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "revoke TOKEN",
		Short:   "End a token at once, on every server",
		Example: `  pedigree token revoke tok_0192f0c8a1b27c3d8e4f5a6b7c8d9e0f`,
		Args:    args(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if strings.HasPrefix(args[0], pedigree.TokenPrefix) {
				return pedigree.Errorf(pedigree.CodeInvalid, "that is the token itself, which is now in your shell's history").
					WithFix("name it by its id: pedigree token list")
			}
			c, err := a.client(cmd.Context())
			if err != nil {
				return err
			}
			if err := c.RevokeToken(cmd.Context(), args[0]); err != nil {
				return err
			}
			value := map[string]string{"token": args[0]}
			return a.print(answer{value: value, names: []string{args[0]}, human: func(w io.Writer) { fmt.Fprintf(w, "revoked %s\n", args[0]) }})
		},
	}
	a.dryRunFlag(cmd)
	return cmd
}
