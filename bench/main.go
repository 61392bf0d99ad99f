// Command bench measures Pedigree as its users meet it: it builds the real program,
// starts "pedigree serve" as a process of its own with its default settings, and drives
// it over HTTP. Beside each figure that a physical limit bounds, it measures that limit
// in the same rounds, so that a ratio never compares two machines or two hours.
//
//	go run ./bench [all|resolve|register|search|lifecycle|bytes|idle|mlflow] [flags]
//
// It owns the loads (load.go), what they send (registry.go, lifecycle.go), the limits of hardware
// (bytes.go), the processes (process.go, postgres.go) and the tables (report.go); and the
// comparison with MLflow's own server (mlflow.go, peer.go, transfer.go, view.py). The
// cases of one measurement run in turn, round after round, so that a change of the
// machine's mood touches all of them; a rate is the median of its rounds.
//
// It must never turn off what a production server has on: files and databases are
// synced, requests are logged. It must never count a request that failed: the first one
// ends the run.
//
// Invariant: whatever it starts, it ends, and whatever it writes below its work folder,
// it removes; databases that it makes on a PostgreSQL of the caller's are dropped.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// options are the command line.
type options struct {
	command   string
	databases []string
	postgres  string         // URL of a PostgreSQL; "" starts one
	seconds   time.Duration  // of one round of one case
	repeat    int            // rounds
	match     *regexp.Regexp // of the cases to measure, "two tags, one model, 16"
	versions  []int          // sizes of the seeded registry
	// deployments is how many the old target of "lifecycle" has.
	deployments int
	size        int64 // bytes of the large file
	dir         string
	binary      string   // the program; "" builds it
	serve       []string // more flags of "pedigree serve"
	python      string   // that has MLflow; "" looks in the usual place
	only        []string // parts of "mlflow"
	out         string
	update      bool
}

var commands = []string{"all", "resolve", "register", "search", "lifecycle", "bytes", "idle", "mlflow"}

// parse reads the command line.
func parse(args []string, stderr io.Writer) (options, error) {
	o := options{command: "all"}
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		o.command, args = args[0], args[1:]
	}
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.Usage = func() {
		fmt.Fprintf(stderr, "usage: go run ./bench [%s] [flags]\n", strings.Join(commands, "|"))
		f.PrintDefaults()
	}
	database := f.String("database", "both", "sqlite, postgres or both")
	f.StringVar(&o.postgres, "postgres", "", "`URL` of a PostgreSQL to make databases on; without it, a throwaway one is started")
	seconds := f.Float64("seconds", 5, "how long one round of one case is measured")
	f.IntVar(&o.repeat, "rounds", 3, "rounds; the median counts")
	match := f.String("match", "", "`pattern` of the cases to measure, as in \"full record.*, 16$\"; empty matches all")
	versions := f.String("versions", "1000", "`sizes` of the seeded registry, in versions: 1000,100000")
	f.IntVar(&o.deployments, "deployments", 100_000, "for lifecycle: `deployments` of the target with a past")
	size := f.Int64("size", 1024, "size of the large file, in `MiB`")
	f.StringVar(&o.dir, "dir", os.TempDir(), "`folder` on the disk to measure; a folder is made in it and removed")
	f.StringVar(&o.binary, "binary", "", "the pedigree `program` to measure; without it, it is built")
	serve := f.String("serve", "", "more `flags` for pedigree serve, as in \"--log-level warn\"")
	f.StringVar(&o.python, "mlflow", "", "for mlflow: the `Python` that has MLflow "+peerRelease)
	only := f.String("only", strings.Join(parts, ","), "for mlflow: the `parts` to measure")
	f.StringVar(&o.out, "out", "", "`file` to write the tables to, besides the standard output")
	f.BoolVar(&o.update, "update", false, "put the tables into docs/benchmarks.md")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if o.command == "mlflow" { // many cases, three servers: less of each is enough
		given := map[string]bool{}
		f.Visit(func(f *flag.Flag) { given[f.Name] = true })
		if !given["seconds"] {
			*seconds = 1
		}
		if !given["versions"] {
			*versions = "1000,100000"
		}
	}
	o.only = strings.Split(*only, ",")
	for _, part := range o.only {
		if !slices.Contains(parts, part) {
			return o, fmt.Errorf("-only %q: want some of %s", *only, strings.Join(parts, ","))
		}
	}
	var err error
	if o.match, err = regexp.Compile(*match); err != nil {
		return o, err
	}
	o.seconds, o.size, o.serve = time.Duration(*seconds*float64(time.Second)), *size<<20, strings.Fields(*serve)
	switch *database {
	case "both":
		o.databases = []string{"sqlite", "postgres"}
	case "sqlite", "postgres":
		o.databases = []string{*database}
	default:
		return o, fmt.Errorf("-database %q: want sqlite, postgres or both", *database)
	}
	for word := range strings.SplitSeq(*versions, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(word))
		if err != nil || n < 1 {
			return o, fmt.Errorf("-versions %q: want numbers above 0", *versions)
		}
		o.versions = append(o.versions, n)
	}
	switch {
	case !slices.Contains(commands, o.command):
		return o, fmt.Errorf("there is no measurement %q: want one of %s", o.command, strings.Join(commands, ", "))
	case f.NArg() > 0:
		return o, fmt.Errorf("what does %q mean?", f.Arg(0))
	case o.seconds <= 0 || o.repeat < 1 || o.size < 1 || o.deployments < 1:
		return o, errors.New("-seconds, -rounds, -size and -deployments must be above 0")
	}
	return o, nil
}

// bench is one run.
type bench struct {
	options
	work   string // folder of everything that it writes
	report *report
	stderr io.Writer // progress
	pg     *cluster  // once it was needed
}

func (b *bench) say(format string, args ...any) { fmt.Fprintf(b.stderr, format+"\n", args...) }

// wants says whether a measurement was asked for.
func (b *bench) wants(command string) bool { return b.command == "all" || b.command == command }

// run makes every measurement that was asked for, and writes the tables of those that
// were made even where a later one fails.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) (err error) {
	o, err := parse(args, stderr)
	if err != nil {
		return err
	}
	b := &bench{options: o, stderr: stderr, report: newReport(args)}
	if b.work, err = os.MkdirTemp(o.dir, "pedigree-bench"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.pg.stop(), os.RemoveAll(b.work)) }()
	if b.binary == "" {
		b.say("building")
		if b.binary, err = build(ctx, b.work); err != nil {
			return err
		}
	} else if b.binary, err = filepath.Abs(b.binary); err != nil {
		return err
	}
	err = b.measure(ctx)
	text := b.report.markdown()
	_, writeErr := io.WriteString(stdout, text)
	if o.out != "" {
		writeErr = errors.Join(writeErr, os.WriteFile(o.out, []byte(text), 0o644))
	}
	if o.update && err == nil {
		place := "bench"
		if o.command == "mlflow" {
			place = "bench:mlflow"
		}
		writeErr = errors.Join(writeErr, update(ctx, place, text))
	}
	return errors.Join(err, writeErr)
}

func (b *bench) measure(ctx context.Context) error {
	if b.command == "mlflow" { // another product must be there: it is no part of "all"
		return b.mlflow(ctx)
	}
	for _, database := range b.databases {
		for _, n := range b.versions {
			if b.command == "bytes" || b.command == "lifecycle" {
				continue
			}
			if err := b.measureRegistry(ctx, database, n); err != nil {
				return fmt.Errorf("%s, %d versions: %w", database, n, err)
			}
		}
	}
	if b.wants("lifecycle") {
		for _, database := range b.databases {
			if err := b.lifecycle(ctx, database); err != nil {
				return fmt.Errorf("%s, lifecycle: %w", database, err)
			}
		}
	}
	if b.wants("bytes") { // the database has no part in it
		return b.bytes(ctx, b.databases[0])
	}
	return nil
}

// measureRegistry measures all that concerns one registry of n versions. Registering
// comes last, since the registry grows by it.
func (b *bench) measureRegistry(ctx context.Context, database string, n int) (err error) {
	r, err := b.newRegistry(ctx, database)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.remove()) }()
	steps := []struct {
		wanted bool
		run    func(context.Context, *registry) error
	}{
		{b.wants("idle"), b.idle}, // while it is empty
		{true, func(ctx context.Context, r *registry) error { return r.seed(ctx, n, b.say) }},
		{b.wants("idle"), b.idle},
		{b.wants("search"), b.search},
		{b.wants("resolve"), b.resolve},
		{b.wants("register"), b.register},
	}
	for _, s := range steps {
		if !s.wanted {
			continue
		}
		if err := s.run(ctx, r); err != nil {
			return err
		}
	}
	return nil
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
	case err != nil:
		fmt.Fprintln(os.Stderr, "bench:", err)
		stop()
		os.Exit(1)
	}
}
