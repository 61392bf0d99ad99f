package cli

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/internal/importer"
	"github.com/pedigree-ml/pedigree/internal/upstream"
)

func newImportCommand(a *app) *cobra.Command {
	return noun("import", "Bring the models of another registry here", newImportMLflowCommand(a))
}

func newImportMLflowCommand(a *app) *cobra.Command {
	var from string
	var opts importer.Options
	cmd := &cobra.Command{
		Use:   "mlflow",
		Short: "Bring the registered models of an MLflow server here, with their bytes",
		Long: `Mlflow brings registered models from an MLflow server: versions with their numbers,
aliases, stages, tags and descriptions, what their runs say, and the bytes of their
artifacts. Who registered a version there and when stays visible; the log says who
brought it here, and when.

Running it again brings what is new and changes nothing else. One that was interrupted
goes on where it stopped. What differs between there and here is listed, and kept as it
is here unless --overwrite is given.

It signs in with MLFLOW_TRACKING_TOKEN, or MLFLOW_TRACKING_USERNAME and
MLFLOW_TRACKING_PASSWORD, where these are set. It reads there and never writes. Where the
registry has accounts, importing is an administrator's right.`,
		Example: `  pedigree import mlflow --from http://mlflow.example.org:5000 --dry-run
  pedigree import mlflow --from http://mlflow.example.org:5000
  pedigree import mlflow --from http://mlflow.example.org:5000 --model fraud -p risk -o json`,
		Args: args(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			opts.DryRun = a.dryRun
			return a.importMLflow(cmd.Context(), from, opts)
		},
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.StringVar(&from, "from", "", "`URL` of the MLflow server")
	flags.StringArrayVar(&opts.Models, "model", nil, "`NAME` of a registered model (repeat; default: all)")
	a.dryRunFlag(cmd)
	flags.BoolVar(&opts.Merge, "merge", false, "add to models that have versions from elsewhere; numbers that are taken become the next ones")
	flags.BoolVar(&opts.Overwrite, "overwrite", false, "make aliases, stages, tags and descriptions of imported versions as they are there")
	flags.BoolVar(&opts.LinkUnreadable, "link-unreadable", false, "register versions whose files can't be read as links to them")
	flags.StringVar(&opts.Scratch, "scratch", "", "`FOLDER` for files on their way (default: the system's)")
	return cmd
}

func (a *app) importMLflow(ctx context.Context, from string, opts importer.Options) error {
	if from == "" {
		return pedigree.Errorf(pedigree.CodeInvalid, "--from is missing").WithFix("pedigree import mlflow --from http://mlflow.example.org:5000")
	}
	there, err := upstream.New(upstream.Config{
		URL: from, Username: a.env("MLFLOW_TRACKING_USERNAME"), Password: a.env("MLFLOW_TRACKING_PASSWORD"), Token: a.env("MLFLOW_TRACKING_TOKEN"),
	})
	if err != nil {
		return fmt.Errorf("--from: %w", err)
	}
	here, err := a.client(ctx)
	if err != nil {
		return err
	}
	if !opts.DryRun {
		if _, err := a.remember(ctx); err != nil {
			return err
		}
	}
	bar := a.newProgress()
	opts.Progress = bar.event
	if bar.writer == nil { // lines, where a bar would be one a file
		opts.Note = func(v importer.Version) { a.hint("%s", importedVersion(v)) }
	}
	report, err := importer.MLflow(ctx, there, here, opts)
	bar.stop()
	if err == nil || len(report.Models) > 0 { // of a server that did not answer there is nothing to tell
		if printErr := a.printImport(&report); err == nil {
			err = printErr
		}
	}
	if err != nil {
		if ctx.Err() != nil {
			a.hint("run it again: it goes on where it stopped")
		}
		return err
	}
	if !opts.DryRun {
		if _, err := a.remember(ctx); err != nil {
			return err
		}
	}
	return report.Err()
}

// importedVersion is what became of a version, in a line.
func importedVersion(v importer.Version) string {
	parts := []string{v.ID, string(v.Action)}
	if v.Number != 0 && !strings.HasSuffix(v.ID, "/"+v.Number.String()) {
		parts = append(parts, "as version", v.Number.String())
	}
	if v.Action == importer.Registered && v.Files > 0 {
		parts = append(parts, "("+count(v.Files, "file")+", "+size(&v.Bytes)+")")
	}
	return words(parts)
}

func (a *app) printImport(r *importer.Report) error {
	var names []string
	t := a.newTable("model", "versions", "new", "there", "failed", "bytes", "linked")
	for _, m := range r.Models {
		var fresh, present, failed, linked int
		var bytes int64
		for _, v := range m.Versions {
			switch v.Action {
			case importer.Registered:
				fresh++
				bytes += v.Bytes
				if v.Kind == pedigree.ArtifactLinked {
					linked++
				}
				names = append(names, v.ID)
			case importer.Present, importer.Deleted:
				present++
			case importer.Failed:
				failed++
			}
		}
		t.row(m.Name, fmt.Sprint(len(m.Versions)), fmt.Sprint(fresh), fmt.Sprint(present), fmt.Sprint(failed), size(&bytes), fmt.Sprint(linked))
	}
	return a.print(answer{value: r, names: names, human: func(w io.Writer) {
		if len(r.Models) == 0 {
			fmt.Fprintf(w, "there are no registered models at %s\n", r.From)
			return
		}
		if r.DryRun {
			fmt.Fprintln(w, "nothing was done; an import would do this:")
		}
		t.write(w, "")
		p := page{w}
		fmt.Fprintln(w)
		for _, m := range r.Models {
			if m.Action == importer.Skipped {
				p.line("skipped", m.Name)
			}
			p.list(cut(m.Name, 12), m.Notes)
			p.list("changed", m.Changed)
			p.list("kept as here", m.Kept)
			for _, v := range m.Versions {
				p.list(cut(v.ID, 12), v.Notes)
				if v.Action == importer.Deleted {
					p.line(cut(v.ID, 12), "was deleted here since; it stays so")
				}
			}
		}
		fmt.Fprintln(w)
		p.list("never carried", r.Left)
		if r.DryRun {
			fmt.Fprintln(w, "\nno curl line does the same: it is many requests, and each rests on the answers before it")
		}
	}})
}
