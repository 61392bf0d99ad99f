package cli

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/client"
)

// tokenVariable holds the token of a program.
const tokenVariable = "PEDIGREE_TOKEN"

// configDir is where this user's settings are kept.
func (a *app) configDir() (string, error) {
	for _, name := range []string{"XDG_CONFIG_HOME", "APPDATA"} {
		if dir := a.env(name); filepath.IsAbs(dir) {
			return filepath.Join(dir, "pedigree"), nil
		}
	}
	home := a.env("HOME")
	if home == "" {
		home = a.env("USERPROFILE")
	}
	if home == "" {
		return "", pedigree.Errorf(pedigree.CodeInvalid, "there is no place to keep a token in: neither HOME nor XDG_CONFIG_HOME is set").
			WithFix("set %s instead", tokenVariable)
	}
	return filepath.Join(home, ".config", "pedigree"), nil
}

// credentials are the tokens of this user, by the registry that each is for.
type credentials struct {
	Tokens map[string]string `json:"tokens"`
}

func (a *app) credentialsFile() (string, error) {
	dir, err := a.configDir()
	return filepath.Join(dir, "credentials.json"), err
}

// readCredentials reads the tokens that login has kept; none where it never ran.
func (a *app) readCredentials() (credentials, error) {
	c := credentials{Tokens: map[string]string{}}
	path, err := a.credentialsFile()
	if err != nil {
		return c, nil //nolint:nilerr // without such a place nothing was kept
	}
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return c, nil
	}
	if err == nil {
		err = json.Unmarshal(text, &c)
	}
	if err != nil {
		return c, pedigree.Errorf(pedigree.CodeCorrupt, "the tokens in %s can't be read: %w", path, err).WithFix("remove the file, and pedigree login again")
	}
	if c.Tokens == nil {
		c.Tokens = map[string]string{}
	}
	return c, nil
}

// writeCredentials keeps the tokens where only this user can read them: whole, or as they
// were.
func (a *app) writeCredentials(c credentials) error {
	path, err := a.credentialsFile()
	if err != nil {
		return err
	}
	text, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return err
	}
	err = os.MkdirAll(filepath.Dir(path), 0o700)
	if err == nil {
		err = replaceFile(path, append(text, '\n'))
	}
	if err != nil {
		return pedigree.Errorf(pedigree.CodeUnavailable, "the token can't be kept in %s: %w", path, err).WithFix("set %s instead", tokenVariable)
	}
	return nil
}

// replaceFile makes or replaces a file that only this user may read.
func replaceFile(path string, content []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".credentials-*") // made 0600
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}

// credentialKey is the name under which the token of a registry is kept: the address of a
// server without user info, or a folder.
func credentialKey(r *registry) string {
	if r.kind != kindServer {
		return "folder:" + r.where
	}
	u, err := url.Parse(r.config.URL)
	if err != nil {
		return r.config.URL
	}
	u.User = nil
	u.Scheme, u.Host = strings.ToLower(u.Scheme), strings.ToLower(u.Host)
	return strings.TrimRight(u.String(), "/")
}

// token is the token to show to a registry: that of the environment, or the one that login
// has kept for it.
func (a *app) token(r *registry) (string, error) {
	if t := strings.TrimSpace(a.env(tokenVariable)); t != "" {
		return t, nil
	}
	c, err := a.readCredentials()
	return c.Tokens[credentialKey(r)], err
}

func newLoginCommand(a *app) *cobra.Command {
	var stdin bool
	cmd := &cobra.Command{
		Use:   "login",
		Short: "Keep a token for the registry, so that commands show it",
		Long: `Login asks for a token, tries it, and keeps it for this registry in a file that only you can
read. Tokens never go on a command line, where others can see them. PEDIGREE_TOKEN, where
it is set, wins over what was kept.`,
		Example: `  pedigree login --url https://models.example.org
  pedigree login --token-stdin < token`,
		Args: args(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error { return a.login(cmd.Context(), stdin) },
	}
	cmd.Flags().BoolVar(&stdin, "token-stdin", false, "read the token from standard input")
	return cmd
}

func (a *app) login(ctx context.Context, stdin bool) error {
	token, err := a.readToken(stdin)
	if err != nil {
		return err
	}
	if _, ok := pedigree.TokenHash(token); !ok {
		return pedigree.Errorf(pedigree.CodeInvalid, "that is not a token: tokens begin with %s and have %d characters", pedigree.TokenPrefix, len(pedigree.TokenText([32]byte{})))
	}
	if _, err := a.client(ctx); err != nil {
		return err
	}
	r := a.registry
	r.config.Token = token
	if r.client, err = client.New(r.config); err != nil {
		return err
	}
	who, err := r.client.WhoAmI(ctx)
	if err != nil {
		return err
	}
	if !who.Accounts || who.Account == nil {
		return pedigree.Errorf(pedigree.CodeRefused, "%s has no accounts: there is nobody to be", r.where).WithFix("pedigree admin init, where its database is, makes the first account")
	}
	c, err := a.readCredentials()
	if err != nil {
		return err
	}
	c.Tokens[credentialKey(r)] = token
	if err := a.writeCredentials(c); err != nil {
		return err
	}
	return a.print(answer{value: who, names: []string{who.Account.Label()}, human: func(w io.Writer) {
		fmt.Fprintf(w, "you are %s at %s\n", who.Account.Label(), r.where)
	}})
}

// readToken reads the token that login is to keep.
func (a *app) readToken(stdin bool) (string, error) {
	if stdin {
		line, err := bufio.NewReader(io.LimitReader(a.stdin, 4096)).ReadString('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return "", fmt.Errorf("read the token: %w", err)
		}
		return strings.TrimSpace(line), nil
	}
	f, ok := a.stdin.(*os.File)
	if !ok || !terminal(a.stdin) || !terminal(a.stderr) {
		return "", pedigree.Errorf(pedigree.CodeInvalid, "there is no terminal to ask for the token on").WithFix("pipe it: pedigree login --token-stdin < FILE")
	}
	fmt.Fprint(a.stderr, "token: ")
	text, err := term.ReadPassword(int(f.Fd()))
	fmt.Fprintln(a.stderr)
	if err != nil {
		return "", fmt.Errorf("read the token: %w", err)
	}
	return strings.TrimSpace(string(text)), nil
}

func newLogoutCommand(a *app) *cobra.Command {
	var revoke bool
	cmd := &cobra.Command{
		Use:     "logout",
		Short:   "Forget the token that login has kept for the registry",
		Example: `  pedigree logout --url https://models.example.org`,
		Args:    args(0, 0),
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.logout(cmd.Context(), revoke) },
	}
	cmd.Flags().BoolVar(&revoke, "revoke", false, "end the token at the registry, too")
	return cmd
}

func (a *app) logout(ctx context.Context, revoke bool) error {
	c, err := a.client(ctx)
	if err != nil {
		return err
	}
	kept, err := a.readCredentials()
	if err != nil {
		return err
	}
	key := credentialKey(a.registry)
	if kept.Tokens[key] == "" {
		return pedigree.Errorf(pedigree.CodeNotFound, "no token was kept for %s", a.registry.where).WithFix("pedigree login keeps one")
	}
	if revoke {
		if a.env(tokenVariable) != "" {
			return pedigree.Errorf(pedigree.CodeInvalid, "%s is set: which token is meant?", tokenVariable).WithFix("unset it, then log out")
		}
		who, err := c.WhoAmI(ctx)
		if err != nil {
			return err
		}
		if who.Token != nil {
			if err := c.RevokeToken(ctx, who.Token.ID); err != nil {
				return err
			}
		}
	}
	delete(kept.Tokens, key)
	if err := a.writeCredentials(kept); err != nil {
		return err
	}
	return a.print(answer{value: map[string]string{"registry": a.registry.where}, names: []string{a.registry.where}, human: func(w io.Writer) {
		fmt.Fprintf(w, "forgot the token for %s\n", a.registry.where)
	}})
}

func newWhoAmICommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "whoami",
		Short:   "Say who the registry takes you for, and what you may do",
		Example: `  pedigree whoami`,
		Args:    args(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client(cmd.Context())
			if err != nil {
				return err
			}
			who, err := c.WhoAmI(cmd.Context())
			if err != nil {
				return err
			}
			name := pedigree.Local.ID
			if who.Account != nil {
				name = who.Account.Label()
			}
			return a.print(answer{value: who, names: []string{name}, human: func(w io.Writer) { a.describeIdentity(w, name, &who) }})
		},
	}
}

func (a *app) describeIdentity(w io.Writer, name string, who *pedigree.Identity) {
	if who.Account == nil {
		fmt.Fprintln(w, name+": this registry has no accounts, and whoever reaches it may do everything")
		return
	}
	out := page{w}
	out.title(name, string(who.Account.Kind))
	out.line("registry", a.registry.where)
	out.line("acts for", string(who.Account.ActsForName))
	if t := who.Token; t != nil {
		out.line("token", t.ID, t.Name)
		out.line("scopes", scopeList(t.Scopes))
		if t.ExpiresAt != nil {
			out.line("ends", a.since(*t.ExpiresAt))
		}
	}
	for i := range who.Bindings {
		b := &who.Bindings[i]
		by := ""
		if b.Member.Group {
			by = "by " + b.Member.Label()
		}
		out.line("role", string(b.Role), inProject(b.Project), by)
	}
	if len(who.Bindings) == 0 {
		out.line("role", "none; ask an administrator: pedigree role grant ROLE "+name)
	}
}
