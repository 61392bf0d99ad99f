package cli

import (
	"context"
	"fmt"
	"io"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/pedigree-ml/pedigree"
)

func newFilesCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "files REF",
		Short: "List the files of a version",
		Example: `  pedigree files fraud/7
  pedigree files fraud@production -q | grep onnx`,
		Args:              args(1, 1),
		ValidArgsFunction: a.completeReferences,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.files(cmd.Context(), args[0])
		},
	}
	a.atFlag(cmd)
	return cmd
}

func (a *app) files(ctx context.Context, name string) error {
	ref, at, err := a.question(ctx, name)
	if err != nil {
		return err
	}
	c, err := a.client(ctx)
	if err != nil {
		return err
	}
	resolved, art, err := c.Artifact(ctx, ref, at)
	if err != nil {
		return err
	}
	names := make([]string, len(art.Files))
	for i, f := range art.Files {
		names[i] = f.Path
	}
	value := struct {
		Resolved pedigree.Resolved `json:"resolved"`
		Artifact pedigree.Artifact `json:"artifact"`
	}{resolved, art}
	return a.print(answer{value: value, names: names, asOf: a.asOf(ctx, at), human: func(w io.Writer) {
		fmt.Fprintf(w, "%s  %s\n", a.reference(resolved.Project, resolved.Model, resolved.Number), artifactLine(art, ""))
		if len(art.Files) > 0 {
			a.fileTable(art.Files).write(w, "")
		}
	}})
}

func (a *app) fileTable(files []pedigree.File) lines {
	t := a.newTable("path", "size", "digest")
	for _, f := range files {
		name := f.Path
		if f.Executable {
			name += "*"
		}
		t.row(name, humanize.Bytes(uint64(f.Size)), f.Digest)
	}
	return t
}
