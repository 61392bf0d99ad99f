package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/pedigree-ml/pedigree"
)

// The exit codes. They are part of the public contract.
const (
	exitOK          = 0
	exitFailure     = 1   // an outage, damaged data, a defect
	exitUsage       = 2   // the command or its values can't be right
	exitNotFound    = 3   // no such thing
	exitRefused     = 4   // a rule or a condition says no
	exitConflict    = 5   // the name is taken, or somebody else was faster
	exitInterrupted = 130 // Ctrl-C
)

// exitStatus is the exit code of a command that ran in the place of this one.
type exitStatus int

func (e exitStatus) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

// Main runs the command line args (without the program's name) and returns the exit
// code: 0 ok, 1 failure, 2 usage, 3 not found, 4 refused by a rule or a precondition,
// 5 conflict, 130 interrupted. env looks up environment variables; os.Getenv is the
// real one. Only the program's main function calls it, and tests.
func Main(args []string, stdin io.Reader, stdout, stderr io.Writer, env func(string) string) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the program at once
	a := &app{stdin: stdin, stdout: stdout, stderr: stderr, env: env, now: time.Now}
	err := run(ctx, a, args)
	var ended exitStatus
	if errors.As(err, &ended) { // the command that exec ran has said all
		return int(ended)
	}
	if ctx.Err() != nil && (err == nil || errors.Is(err, context.Canceled)) {
		if err != nil {
			fmt.Fprintln(stderr, "pedigree: interrupted")
			return exitInterrupted
		}
		return exitOK // a server that was told to stop, and did
	}
	if err != nil {
		a.report(err)
	}
	return exitCode(err)
}

// run runs one command and closes the registry that it opened.
func run(ctx context.Context, a *app, args []string) error {
	root := newRootCommand(a)
	root.SetArgs(args)
	root.SetIn(a.stdin)
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	cmd, err := root.ExecuteContextC(ctx)
	if a.dryRun && a.rehearsal.stopped { // and the command has shown no plan of its own
		err = a.printRehearsed(ctx)
	}
	err = a.placed(a.advise(ctx, err, cmd.Name()))
	if closeErr := a.close(); err == nil {
		err = closeErr
	}
	return err
}

// newRootCommand is the program with all its commands.
func newRootCommand(a *app) *cobra.Command {
	root := &cobra.Command{
		Use:   "pedigree",
		Short: "A model registry: the durable handoff record between training and production",
		Long: `Pedigree keeps one record for every version of a model: which artifact it is, which
code, image and data made it, how well it did, and everything that happened to it since.

Without --url it works on the registry in your data directory; nothing has to be
started. A reference names a version:

  fraud                   the newest version of the model fraud
  fraud/7                 version 7
  fraud@production        where the alias production points
  fraud@sha256:…          the version that holds these bytes
  risk/fraud/7            the same in the project risk
  target:prod/fraud-api   what is deployed at that target

With --dry-run, a command that changes something shows what it would change and changes
nothing. The registry judges it as it would judge the change, by rights, rules and gates, and a
refusal is the answer; where it can't tell beforehand, the plan says so. A plan names the
curl line that does the same; in it, $PEDIGREE_TOKEN stands for your token, and $PEDIGREE_URL
for the server of a registry that none was named for.

Exit codes: 0 ok, 1 failure, 2 usage, 3 not found, 4 refused by a rule or a
precondition, 5 conflict, 130 interrupted.`,
		Example: `  pedigree push fraud ./model --metric auc=0.93 --data train=s3://lake/fraud/2026-10
  pedigree alias set fraud@production 1
  pedigree pull fraud@production ./model
  pedigree show fraud@production --at -7d`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.ArbitraryArgs,
		RunE:          unknownCommand,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			return a.settle(cmd)
		},
	}
	f := root.PersistentFlags()
	f.SortFlags = false
	f.StringVar(&a.url, "url", "", "server to speak to, as in https://models.example.org (PEDIGREE_URL)")
	f.StringVar(&a.data, "data-dir", "", "folder of the registry to work on where there is no --url (PEDIGREE_DATA)")
	f.StringVar(&a.data, "data", "", "")
	_ = f.MarkHidden("data") // the short form of --data-dir, but for commands whose --data is a data reference
	f.StringVarP(&a.project, "project", "p", "", "project to work in (PEDIGREE_PROJECT; default \"default\")")
	f.StringVarP(&a.out, "format", "o", "table", "form of the answer: table, json, yaml or name")
	f.BoolVarP(&a.quiet, "quiet", "q", false, "print ids and references only")
	f.BoolVar(&a.noColor, "no-color", false, "no colour (NO_COLOR)")
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return pedigree.Errorf(pedigree.CodeInvalid, "%s", flagMessage(cmd, err)).WithFix("%s --help", cmd.CommandPath())
	})
	for _, group := range commandGroups(a) {
		root.AddGroup(&cobra.Group{ID: group.id, Title: group.title})
		for _, cmd := range group.commands {
			cmd.GroupID = group.id
			root.AddCommand(cmd)
		}
	}
	root.SetHelpCommandGroupID("operate")
	root.SetCompletionCommandGroupID("operate")
	root.InitDefaultCompletionCmd()
	root.InitDefaultHelpCmd()
	for _, cmd := range root.Commands() {
		switch cmd.Name() {
		case "completion": // cobra would show the help for a shell that it doesn't know
			cmd.Args, cmd.RunE = cobra.ArbitraryArgs, unknownCommand
		case "help":
			help := cmd.Run
			cmd.RunE = func(cmd *cobra.Command, args []string) error {
				if found, rest, err := root.Find(args); err != nil || len(rest) > 0 {
					return unknownCommand(found, rest)
				}
				help(cmd, args)
				return nil
			}
		}
	}
	return root
}

type commandGroup struct {
	id, title string
	commands  []*cobra.Command
}

func commandGroups(a *app) []commandGroup {
	return []commandGroup{
		{"start", "Start:", []*cobra.Command{newQuickstartCommand(a), newServeCommand(a), newConfigCommand(a), newDoctorCommand(a)}},
		{"models", "Models and versions:", []*cobra.Command{
			newPushCommand(a), newPullCommand(a), newShowCommand(a), newListCommand(a), newSearchCommand(a), newDiffCommand(a),
			newFilesCommand(a), newModelCommand(a), newProjectCommand(a), newAliasCommand(a), newAmendCommand(a), newTagCommand(a),
			newArchiveCommand(a), newRestoreCommand(a), newRemoveCommand(a),
		}},
		{"lifecycle", "Approval and deployment:", []*cobra.Command{
			newPolicyCommand(a), newRequestCommand(a), newApproveCommand(a), newRejectCommand(a), newRevokeCommand(a), newApprovalsCommand(a), newWithdrawCommand(a),
			newTargetCommand(a), newDeployCommand(a), newDeploymentCommand(a), newRollbackCommand(a), newStatusCommand(a), newSyncCommand(a), newExecCommand(a), newExecutionsCommand(a),
			newWhichCommand(a), newWhereCommand(a), newTimelineCommand(a), newChangesCommand(a), newReportCommand(a),
		}},
		{"history", "History and proof:", []*cobra.Command{newLogCommand(a), newVerifyCommand(a), newLineageCommand(a), newPredictionsCommand(a), newReplayCommand(a)}},
		{"access", "Access:", []*cobra.Command{
			newLoginCommand(a), newLogoutCommand(a), newWhoAmICommand(a), newAccountCommand(a), newGroupCommand(a), newRoleCommand(a), newTokenCommand(a),
		}},
		{"operate", "Operate:", []*cobra.Command{newApplyCommand(a), newWebhookCommand(a), newImportCommand(a), newAdminCommand(a), newVersionCommand(a)}},
	}
}

// settle completes the global flags from the environment and checks them.
func (a *app) settle(cmd *cobra.Command) error {
	folderNamed := a.data != ""
	for _, f := range []struct {
		value *string
		name  string
	}{{&a.url, "PEDIGREE_URL"}, {&a.data, "PEDIGREE_DATA"}, {&a.project, "PEDIGREE_PROJECT"}} {
		if *f.value == "" {
			*f.value = a.env(f.name)
		}
	}
	if folderNamed && !cmd.Flags().Changed("url") {
		a.url = "" // the folder was named here, the server only in the environment
	}
	a.noColor = a.noColor || a.env("NO_COLOR") != ""
	switch a.out {
	case "table", "json", "yaml", "name":
	default:
		bad := a.out
		a.out = "table"
		return pedigree.Errorf(pedigree.CodeInvalid, "-o %s: want table, json, yaml or name", bad)
	}
	if a.project != "" {
		if _, err := pedigree.ParseProjectName(a.project); err != nil {
			return err
		}
	}
	a.home = a.projectName()
	return nil
}

// unknownCommand answers a word that is no command, and shows the help where there is
// no word.
func unknownCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return cmd.Help()
	}
	var names []string
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() {
			names = append(names, c.Name())
		}
	}
	err := pedigree.Errorf(pedigree.CodeInvalid, "%q is not a command of %s", args[0], cmd.CommandPath())
	if n := pedigree.Misspelt(args[0], names, 4); n != "" {
		return err.WithFix("did you mean: %s %s", cmd.CommandPath(), n)
	}
	return err.WithFix("%s --help lists them", cmd.CommandPath())
}

// borrowed marks a command whose examples are those of its commands.
const borrowed = "examples of its commands"

// noun is a command that only holds others. Its help shows the first example of each.
func noun(use, short string, commands ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{Use: use, Short: short, Args: cobra.ArbitraryArgs, RunE: unknownCommand}
	var examples []string
	for _, sub := range commands {
		lines, end := strings.SplitAfter(sub.Example, "\n"), 0
		for end < len(lines)-1 && strings.HasSuffix(lines[end], "\\\n") { // it goes on
			end++
		}
		if first := strings.TrimSuffix(strings.Join(lines[:end+1], ""), "\n"); first != "" {
			examples = append(examples, first)
		}
	}
	cmd.Example, cmd.Annotations = strings.Join(examples, "\n"), map[string]string{borrowed: "true"}
	cmd.AddCommand(commands...)
	return cmd
}

// args checks the number of arguments by the names in the command's usage.
func args(least, most int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, given []string) error {
		if len(given) >= least && (most < 0 || len(given) <= most) {
			return nil
		}
		usage := strings.TrimSuffix(cmd.UseLine(), " [flags]")
		what := ""
		if len(given) < least { // the words of Use name the arguments
			names := strings.Fields(cmd.Use)[1+len(given) : 1+least]
			verb := " is"
			if len(names) > 1 {
				verb = " are"
			}
			what = strings.Join(names, " and ") + verb + " missing"
		}
		if len(given) >= least {
			what = fmt.Sprintf("%q is one too many", cut(given[most], 60))
		}
		return pedigree.Errorf(pedigree.CodeInvalid, "%s: %s", cmd.CommandPath(), what).WithFix("write: %s", usage)
	}
}

// flagMessage improves on pflag's message where a flag is unknown.
func flagMessage(cmd *cobra.Command, err error) string {
	var bad *pflag.InvalidValueError
	if errors.As(err, &bad) {
		want := map[string]string{"int": "a whole number", "int64": "a whole number", "bool": "true or false", "duration": "a duration, as in 30s"}
		if form := want[bad.GetFlag().Value.Type()]; form != "" {
			return fmt.Sprintf("--%s %q: want %s", bad.GetFlag().Name, cut(bad.GetValue(), 60), form)
		}
	}
	message := err.Error()
	name, found := strings.CutPrefix(message, "unknown flag: --")
	if !found {
		return message
	}
	var names []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
	if near := pedigree.Nearest(name, names); near != "" {
		return message + " (did you mean --" + near + "?)"
	}
	return message
}

// report writes an error for people, or as JSON where the answer was to be JSON.
func (a *app) report(err error) {
	e := asError(err)
	if a.out == "json" {
		enc := json.NewEncoder(a.stderr)
		enc.SetEscapeHTML(false)
		_ = enc.Encode(e)
		return
	}
	fmt.Fprintf(a.stderr, "pedigree: %s\n", printable(e.Message))
	if e.Fix != "" {
		fmt.Fprintf(a.stderr, "  → %s\n", printable(e.Fix))
	}
}

// asError is the error that the user can act on, with the whole text of what was
// wrapped around it.
func asError(err error) *pedigree.Error {
	var e *pedigree.Error
	if !errors.As(err, &e) {
		return &pedigree.Error{Code: pedigree.CodeInternal, Message: err.Error()}
	}
	out := *e
	if whole := err.Error(); whole != e.Error() {
		out.Message = strings.TrimSuffix(whole, "; "+e.Fix)
	}
	return &out
}

// exitCode is the exit code of an error; the table is part of the contract.
func exitCode(err error) int {
	switch code := pedigree.CodeOf(err); {
	case code == "":
		return exitOK
	case code == pedigree.CodeInvalid:
		return exitUsage
	case slices.Contains([]pedigree.ErrorCode{pedigree.CodeNotFound, pedigree.CodeNotRecorded, pedigree.CodeGone}, code):
		return exitNotFound
	case slices.Contains([]pedigree.ErrorCode{pedigree.CodeRefused, pedigree.CodePrecondition, pedigree.CodeForbidden, pedigree.CodeUnauthenticated}, code):
		return exitRefused
	case code == pedigree.CodeConflict || code == pedigree.CodeExists:
		return exitConflict
	default:
		return exitFailure
	}
}
