package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pedigree-ml/pedigree"
)

// logFlags choose events.
type logFlags struct {
	types  []string
	limit  int
	after  int64
	oldest bool
}

func newLogCommand(a *app) *cobra.Command {
	f := &logFlags{}
	cmd := &cobra.Command{
		Use:   "log [REF|MODEL]",
		Short: "Read the log: everything that ever happened, newest first",
		Long: `Log lists the events of the registry, of every project, or those of one model or version;
what was deleted is named by its id (mdl_…). Those of one project: pedigree changes -p PROJECT.
Every change is one event, and the log is tamper-evident: pedigree verify proves that nothing
in it was changed or removed.`,
		Example: `  pedigree log --limit 20
  pedigree log fraud --type alias
  pedigree log --after 1200 -o json
  pedigree log watch fraud
  pedigree log export > log.jsonl`,
		Args:              args(0, 1),
		ValidArgsFunction: a.completeReferences,
		RunE: func(cmd *cobra.Command, args []string) error {
			name := ""
			if len(args) == 1 {
				name = args[0]
			}
			f.oldest = cmd.Flags().Changed("after")
			return a.log(cmd.Context(), f, name)
		},
	}
	cmd.Flags().StringArrayVar(&f.types, "type", nil, "only this `TYPE`: alias.moved, or a family such as alias (repeat)")
	cmd.Flags().Int64Var(&f.after, "after", -1, "the events after event `N`, oldest first")
	cmd.Flags().IntVar(&f.limit, "limit", 50, "the most to list; 0 lists all")
	cmd.AddCommand(newLogWatchCommand(a), newLogExportCommand(a), newLogCheckpointCommand(a), newLogKeysCommand(a))
	return cmd
}

// subjectPattern is an id of a model, or of a version of it: what was deleted has no
// other name.
var subjectPattern = regexp.MustCompile(`^mdl_[0-9a-f]{32}(/[1-9][0-9]*)?$`)

// log lists events.
func (a *app) log(ctx context.Context, f *logFlags, name string) error {
	types, err := eventTypes(f.types)
	if err != nil {
		return err
	}
	if f.after < -1 {
		return pedigree.Errorf(pedigree.CodeInvalid, "--after %d: want the number of an event", f.after)
	}
	q := pedigree.EventQuery{Types: types, After: f.after, Newest: !f.oldest}
	var ref pedigree.Reference
	if subjectPattern.MatchString(name) {
		q.Subject, name = name, ""
	}
	if name != "" {
		if ref, err = pedigree.ParseReference(name); err != nil {
			return err
		}
	}
	c, err := a.client(ctx)
	if err != nil {
		return err
	}
	list, err := gather(f.limit, func(page pedigree.Page) (pedigree.List[pedigree.Entry], error) {
		q.Limit = page.Limit
		if page.Cursor != "" {
			if q.After, err = strconv.ParseInt(page.Cursor, 10, 64); err != nil {
				return pedigree.List[pedigree.Entry]{}, pedigree.Errorf(pedigree.CodeUnavailable, "the next page has no number: %w", err)
			}
		}
		if name != "" {
			return c.EventsOf(ctx, ref, q)
		}
		return c.Events(ctx, q)
	})
	if err != nil {
		return err
	}
	var names []string
	t := a.newTable("seq", "time (UTC)", "by", "what happened")
	subjects := a.newNamer(c)
	for i := range list.Items {
		entry := &list.Items[i]
		names = append(names, strconv.FormatInt(entry.Seq, 10))
		if !a.people() {
			continue
		}
		e := pedigree.Event{}
		if entry.Envelope != "" {
			if e, err = entry.Event(); err != nil {
				return err
			}
		}
		when := ""
		if !e.Time.IsZero() { // not of an event that the caller may not read
			when = stamp(e.Time)
		}
		t.row(entry.Seq, when, a.who(e.Actor), subjects.describe(ctx, entry, &e))
	}
	err = a.print(answer{value: list, names: names, human: func(w io.Writer) {
		if len(names) == 0 {
			fmt.Fprintln(w, "no events")
			return
		}
		t.write(w, "")
	}})
	a.more(list.Next, f.limit)
	return err
}

func newLogWatchCommand(a *app) *cobra.Command {
	f := &logFlags{}
	cmd := &cobra.Command{
		Use:   "watch [MODEL]",
		Short: "Show events as they happen, until interrupted",
		Long: `Watch shows the events of the registry, of the project that -p names, or of one model, as
they are appended. After an outage it goes on where it was, so that nothing is missed.
With -o json each event is one line, as the log's API has it; --after N begins after event
N, so that a program that keeps the last number it has seen can stop and go on.`,
		Example: `  pedigree log watch
  pedigree log watch fraud --type alias
  pedigree log watch --after 1200 -o json | ./react`,
		Args:              args(0, 1),
		ValidArgsFunction: a.completeReferences,
		RunE: func(cmd *cobra.Command, args []string) error {
			types, err := eventTypes(f.types)
			if err != nil {
				return err
			}
			q := pedigree.WatchQuery{Types: types}
			if cmd.Flags().Changed("project") || a.env("PEDIGREE_PROJECT") != "" {
				q.Project = a.projectName()
			}
			if len(args) == 1 {
				q.Model = args[0]
				if ref, err := pedigree.ParseReference(q.Model); err == nil && ref.Project != "" {
					q.Project = ref.Project
				}
			}
			if cmd.Flags().Changed("after") {
				q.After = &f.after
			}
			return a.watch(cmd.Context(), q, f.limit)
		},
	}
	cmd.Flags().StringArrayVar(&f.types, "type", nil, "only this `TYPE`: alias.moved, or a family such as alias (repeat)")
	cmd.Flags().Int64Var(&f.after, "after", -1, "begin after event `N` (default: with what happens from now on)")
	cmd.Flags().IntVar(&f.limit, "limit", 0, "end after so many; 0 goes on")
	return cmd
}

// errEnough ends a watch that has shown what it should.
var errEnough = errors.New("enough")

// watch shows events as they happen.
func (a *app) watch(ctx context.Context, q pedigree.WatchQuery, limit int) error {
	c, err := a.client(ctx)
	if err != nil {
		return err
	}
	subjects, shown := a.newNamer(c), 0
	err = c.Watch(ctx, q, func(entry pedigree.Entry) error {
		if err := a.printEvent(ctx, subjects, &entry); err != nil {
			return err
		}
		if shown++; shown == limit {
			return errEnough
		}
		return nil
	})
	if errors.Is(err, errEnough) || ctx.Err() != nil {
		return nil
	}
	return err
}

// printEvent writes one event as a line.
func (a *app) printEvent(ctx context.Context, subjects *namer, entry *pedigree.Entry) error {
	var line string
	switch {
	case a.out == "json":
		var b strings.Builder
		enc := json.NewEncoder(&b)
		enc.SetEscapeHTML(false)
		if err := enc.Encode(entry); err != nil {
			return err
		}
		line = strings.TrimSpace(b.String())
	case a.out == "yaml":
		return a.print(answer{value: []*pedigree.Entry{entry}})
	case !a.people():
		line = strconv.FormatInt(entry.Seq, 10)
	case entry.Envelope == "":
		line = fmt.Sprintf("%d  (not to be read by you)", entry.Seq)
	default:
		e, err := entry.Event()
		if err != nil {
			return err
		}
		line = fmt.Sprintf("%-6d %s  %s  %s", e.Seq, stamp(e.Time), e.Actor, printable(subjects.describe(ctx, entry, &e)))
	}
	_, err := fmt.Fprintln(a.stdout, line)
	return err
}

func newLogExportCommand(a *app) *cobra.Command {
	after := int64(-1)
	cmd := &cobra.Command{
		Use:   "export",
		Short: "Write the log to standard output, one event as JSON a line",
		Long: `Export writes every event with the exact texts that the log commits to. The file can be
checked anywhere, without this registry: pedigree verify --offline log.jsonl.`,
		Example: `  pedigree log export > log.jsonl
  pedigree log export --after 1200 >> log.jsonl`,
		Args: args(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client(cmd.Context())
			if err != nil {
				return err
			}
			return c.Export(cmd.Context(), after, a.stdout)
		},
	}
	cmd.Flags().Int64Var(&after, "after", -1, "begin after event `N`")
	return cmd
}

func newLogCheckpointCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "checkpoint",
		Short: "Print the signed size and root of the log, to keep elsewhere",
		Long: `Checkpoint prints a signed note. Whoever keeps it can prove later that the log of that day
is the beginning of the log of then: pedigree verify --checkpoint FILE.`,
		Example: `  pedigree log checkpoint > seen.txt
  pedigree verify --checkpoint seen.txt`,
		Args: args(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			cp, err := a.remember(cmd.Context())
			if err != nil {
				return err
			}
			size := strconv.FormatInt(cp.Size, 10)
			return a.print(answer{value: cp, names: []string{size}, human: func(w io.Writer) { fmt.Fprint(w, cp.Note) }})
		},
	}
}

func newLogKeysCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "keys",
		Short:   "List the public keys of the log, to pin with pedigree verify --key",
		Example: `  pedigree log keys`,
		Args:    args(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client(cmd.Context())
			if err != nil {
				return err
			}
			keys, err := c.Keys(cmd.Context())
			if err != nil {
				return err
			}
			var names []string
			t := a.newTable("from event", "from (UTC)", "key")
			for _, k := range keys {
				names = append(names, k.Key)
				t.row(k.FromSeq, stamp(k.From), k.Key)
			}
			return a.print(answer{value: pedigree.List[pedigree.LogKey]{Items: keys}, names: names, human: func(w io.Writer) { t.write(w, "") }})
		},
	}
}
