package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/internal/config"
	"github.com/pedigree-ml/pedigree/internal/server"
)

// admin is a run of a command of "pedigree admin", which opens the database itself.
type admin struct {
	*app
	loader *config.Loader
}

func newAdminCommand(a *app) *cobra.Command {
	ad := &admin{app: a}
	cmd := noun("admin", "Look after a registry: accounts, keys, rebuild, erasure",
		ad.newInitCommand(), ad.newTokenCommand(), ad.newRebuildCommand(), ad.newNewKeyCommand(), ad.newRotateKeyCommand(), ad.newRedactCommand())
	cmd.Long = `Admin works on the database itself, not through a server, and needs the same settings as
the server: by flag, environment or file. Servers may run meanwhile.`
	ad.loader = config.NewLoader(cmd.PersistentFlags(), "data", "database", "blobs", "log-key", "log-key-file")
	return cmd
}

// open opens the registry of the settings for f.
func (ad *admin) open(cmd *cobra.Command, f func(ctx context.Context, srv *server.Server) error) error {
	// A server that the environment names yields to a registry that is named here.
	named := cmd.Flags().Changed("data") || cmd.Flags().Changed("data-dir") || cmd.Flags().Changed("database")
	if ad.url != "" && (!named || cmd.Flags().Changed("url")) {
		return pedigree.Errorf(pedigree.CodeInvalid, "%s works on the registry itself, not through the server %s", cmd.CommandPath(), config.MaskURL(ad.url)).
			WithFix("run it on the server's machine with --data-dir, without --url and PEDIGREE_URL")
	}
	cfg, err := ad.loadConfig(cmd, ad.loader)
	if err != nil {
		return err
	}
	where := cfg.Data
	if strings.Contains(cfg.Database, "://") {
		where = config.MaskURL(cfg.Database)
	} else if _, err := os.Stat(cfg.Database); errors.Is(err, fs.ErrNotExist) {
		return pedigree.Errorf(pedigree.CodeNotFound, "there is no registry in %s", cfg.Data).WithFix("name its folder with --data-dir; the first command that asks for something, as pedigree project ls, makes a new one")
	}
	ad.hint("registry: %s", where)
	srv, err := server.Open(cmd.Context(), cfg, newLogger(ad.stderr, cfg))
	if err != nil {
		return err
	}
	return errors.Join(f(cmd.Context(), srv), srv.Close())
}

func (ad *admin) newInitCommand() *cobra.Command {
	spec := pedigree.NewAccount{}
	name := "admin"
	cmd := &cobra.Command{
		Use:   "init",
		Short: "Switch accounts on: make the first one, and print its token, once",
		Long: `Init makes the first account, which may do everything, and prints a token of it. From then
on callers must say who they are, on every server of this database at once; nothing has to
be started again. It can't be undone, and works once: pedigree admin token is the way back
in for who has lost every token.`,
		Example: `  pedigree admin init
  pedigree admin init --name ann --email ann@example.org -q | pedigree login --token-stdin`,
		Args: args(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			var err error
			if spec.Name, err = pedigree.ParseActorName(name); err != nil {
				return err
			}
			return ad.open(cmd, func(ctx context.Context, srv *server.Server) error {
				t, err := srv.EnableAccounts(ctx, spec)
				if err != nil {
					return err
				}
				ad.hint("accounts are on; next: pedigree login, then pedigree account create NAME")
				return ad.printNewToken(&t)
			})
		},
	}
	cmd.Flags().StringVar(&name, "name", name, "what to call the first account")
	cmd.Flags().StringVar(&spec.Email, "email", "", "its address")
	cmd.Flags().StringVar(&spec.DisplayName, "display-name", "", "what to call it in full")
	return cmd
}

func (ad *admin) newTokenCommand() *cobra.Command {
	var spec pedigree.NewToken
	var scopes []string
	var expires string
	cmd := &cobra.Command{
		Use:     "token ACCOUNT",
		Short:   "Make a token of any account: the way back in",
		Example: `  pedigree admin token admin`,
		Args:    args(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			spec.Account = args[0]
			if err := ad.completeToken(&spec, scopes, expires); err != nil {
				return err
			}
			return ad.open(cmd, func(ctx context.Context, srv *server.Server) error {
				t, err := srv.CreateToken(ctx, spec)
				if err != nil {
					return err
				}
				return ad.printNewToken(&t)
			})
		},
	}
	addToken(cmd, &spec, &scopes, &expires)
	return cmd
}

func (ad *admin) newRebuildCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "rebuild",
		Short: "Make the tables that answer questions again, from the log alone",
		Long: `Rebuild empties the tables that answer questions and applies the whole log to them again,
in one transaction: readers see the old tables until it is done, writers wait. It changes
nothing that is recorded, and is never needed but after a defect.`,
		Example: `  pedigree admin rebuild`,
		Args:    args(0, 0),
		RunE:    func(cmd *cobra.Command, _ []string) error { return ad.open(cmd, ad.rebuild) },
	}
}

func (ad *admin) rebuild(ctx context.Context, srv *server.Server) error {
	var events int64
	shown := ad.people() && terminal(ad.stderr)
	err := srv.Rebuild(ctx, func(done, size int64) {
		events = done
		if shown {
			fmt.Fprintf(ad.stderr, "\r%s of %s events", humanize.Comma(done), humanize.Comma(size))
		}
	})
	if shown {
		fmt.Fprintln(ad.stderr)
	}
	if err != nil {
		return err
	}
	value := map[string]int64{"events": events}
	return ad.print(answer{value: value, names: []string{strconv.FormatInt(events, 10)}, human: func(w io.Writer) {
		fmt.Fprintf(w, "rebuilt the tables from %s\n", count(int(events), "event"))
	}})
}

func (ad *admin) newNewKeyCommand() *cobra.Command {
	var origin, out string
	cmd := &cobra.Command{
		Use:   "new-key",
		Short: "Print a new private key for a log; PostgreSQL servers are given one",
		Long: `New-key prints the private key of a log that does not exist yet: all servers of one
PostgreSQL database are given the same. It touches no registry. The key is the one thing
that can't be made again: keep a copy where the database's backups are not.`,
		Example: `  pedigree admin new-key > log.key
  pedigree admin new-key --origin models.example.org/log --out log.key`,
		Args: args(0, 0),
		RunE: func(*cobra.Command, []string) error {
			private, public, err := server.NewKey(origin)
			if err != nil {
				return err
			}
			ad.hint("the public key, for whoever checks the log: %s", public)
			return ad.savePrivate(out, private)
		},
	}
	cmd.Flags().StringVar(&origin, "origin", "", "name of the log (default: random)")
	cmd.Flags().StringVar(&out, "out", "-", "`FILE` to write the key to, which must not be there; - is standard output")
	return cmd
}

// savePrivate writes a private key, never over something that is there.
func (ad *admin) savePrivate(path, private string) error {
	if path == "-" {
		_, err := fmt.Fprintln(ad.stdout, private)
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return pedigree.Errorf(pedigree.CodeInvalid, "the key can't be written: %w", err).WithFix("name a file that is not there yet")
	}
	_, err = fmt.Fprintln(f, private)
	return errors.Join(err, f.Sync(), f.Close())
}

func (ad *admin) newRotateKeyCommand() *cobra.Command {
	var out string
	var yes bool
	cmd := &cobra.Command{
		Use:   "rotate-key",
		Short: "Give the log a new private key",
		Long: `Rotate-key makes a new private key and records it in the log, under a checkpoint that the
old key signs, so that whoever trusted the old key can trust the new one.

Where the key is in a file, the new one takes its place, the old one is kept beside it as
FILE.old-N, and servers that run go on with it by themselves. Where it is given as text
(PEDIGREE_LOG_KEY), or with --out, the new key is written to --out, and every server must
be started again with it.`,
		Example: `  pedigree admin rotate-key --yes
  pedigree admin rotate-key --out new.key --yes`,
		Args: args(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return ad.open(cmd, func(ctx context.Context, srv *server.Server) error {
				if err := ad.agree(yes, "the log gets a new private key; the present one signs nothing from then on"); err != nil {
					return err
				}
				return ad.rotateKey(ctx, srv, out)
			})
		},
	}
	cmd.Flags().StringVar(&out, "out", "", "`FILE` to write the new key to, which must not be there; - is standard output")
	cmd.Flags().BoolVar(&yes, "yes", false, "do it")
	return cmd
}

func (ad *admin) rotateKey(ctx context.Context, srv *server.Server, out string) error {
	var save func(string) error
	if out != "" {
		save = func(private string) error { return ad.savePrivate(out, private) }
	}
	public, err := srv.RotateKey(ctx, save)
	if err != nil {
		return err
	}
	if out != "" {
		ad.hint("the public key is now %s; give the private one to every server and start it again", public)
		return nil
	}
	return ad.print(answer{value: map[string]string{"key": public}, names: []string{public}, human: func(w io.Writer) {
		fmt.Fprintf(w, "the public key is now %s\n", public)
	}})
}

// agree shows what is about to happen, and refuses it without --yes.
func (ad *admin) agree(yes bool, plan ...string) error {
	if yes {
		return nil
	}
	for _, line := range plan {
		fmt.Fprintln(ad.stderr, "- "+printable(line))
	}
	return pedigree.Errorf(pedigree.CodeRefused, "nothing was changed").WithFix("add --yes to do it")
}

func (ad *admin) newRedactCommand() *cobra.Command {
	var reason string
	var yes, allow bool
	cmd := &cobra.Command{
		Use:   "redact SEQ FIELD…",
		Short: "Erase payload fields of one event for good",
		Long: `Redact erases the values of payload fields of one event, where the law says that they must
go. Their commitments stay, so that the log still verifies, and the erasure is itself an
event with the reason. Nothing brings a value back, but backups and exports made before
may still hold it. Without --yes it shows what would be erased.`,
		Example: `  pedigree admin redact 1042 description --reason "names a person; request 77"
  pedigree admin redact 1042 description --reason "names a person; request 77" --yes`,
		Args: args(2, -1),
		RunE: func(cmd *cobra.Command, args []string) error {
			seq, err := strconv.ParseInt(args[0], 10, 64)
			if err != nil {
				return pedigree.Errorf(pedigree.CodeInvalid, "%q is not the number of an event", args[0]).WithFix("pedigree log lists them")
			}
			if strings.TrimSpace(reason) == "" {
				return pedigree.Errorf(pedigree.CodeInvalid, "an erasure needs a reason, which stays in the log").WithFix(`add --reason "…"`)
			}
			if err := refuseTyped(allow, map[string]string{"--reason": reason}); err != nil {
				return err
			}
			return ad.open(cmd, func(ctx context.Context, srv *server.Server) error {
				return ad.redact(ctx, srv, seq, args[1:], reason, yes)
			})
		},
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why; it stays in the log")
	allowSecrets(cmd.Flags(), &allow)
	cmd.Flags().BoolVar(&yes, "yes", false, "do it; it can't be undone")
	return cmd
}

func (ad *admin) redact(ctx context.Context, srv *server.Server, seq int64, fields []string, reason string, yes bool) error {
	entry, err := srv.Entry(ctx, seq)
	if err != nil {
		return err
	}
	event, err := entry.Event()
	if err != nil {
		return err
	}
	if err := hasFields(&event, fields); err != nil {
		return err
	}
	drafts, err := event.Redact(fields, reason) // decided as the registrar will, for the plan
	if err != nil {
		return err
	}
	if len(drafts) == 0 {
		ad.hint("event %d: these fields are erased already", seq)
	} else {
		if err := ad.agree(yes, erasures(&event, fields)...); err != nil {
			return err
		}
		if entry, err = srv.Redact(ctx, seq, fields, reason); err != nil {
			return err
		}
	}
	return ad.print(answer{value: entry, names: []string{strconv.FormatInt(seq, 10)}, human: func(w io.Writer) {
		fmt.Fprintf(w, "erased %s of event %d (%s)\n", count(len(fields), "field"), seq, event.Type)
	}})
}

// hasFields refuses names that are of no field of the event.
func hasFields(event *pedigree.Event, fields []string) error {
	var names []string
	for _, f := range event.Fields {
		names = append(names, f.Name)
	}
	for _, name := range fields {
		if event.Field(name) != nil {
			continue
		}
		e := pedigree.Errorf(pedigree.CodeInvalid, "event %d (%s) has no field %q", event.Seq, event.Type, cut(name, 60))
		if n := pedigree.Misspelt(name, names, 4); n != "" {
			return e.WithFix("did you mean %s?", n)
		}
		return e.WithFix("its fields: %s", strings.Join(names, ", "))
	}
	return nil
}

// erasures are the lines of the plan: each field with the value that goes.
func erasures(event *pedigree.Event, fields []string) []string {
	lines := []string{fmt.Sprintf("event %d (%s, %s), for good:", event.Seq, event.Type, stamp(event.Time))}
	for _, name := range fields {
		value := json.RawMessage("erased already")
		if f := event.Field(name); f != nil && !f.Erased() {
			value = f.Value
		}
		lines = append(lines, fmt.Sprintf("%s: %s", name, cut(string(value), 200)))
	}
	return lines
}
