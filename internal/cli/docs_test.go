package cli

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/pedigree-ml/pedigree"
)

var update = flag.Bool("update", false, "write the golden files again")

// TestDocs compares docs/cli.md with the commands.
func TestDocs(t *testing.T) {
	a := &app{env: func(string) string { return "" }}
	root := newRootCommand(a)
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	var b bytes.Buffer
	b.WriteString("# The command line\n\nMade from the commands themselves by `go test ./internal/cli -run TestDocs -update`; not edited by hand.\n\n")
	b.WriteString(strings.ReplaceAll(root.Long, "\n  ", "\n    ") + "\n\n")
	writeExample(&b, root)
	b.WriteString("Flags of every command:\n\n")
	writeFlags(&b, root.PersistentFlags())
	for _, group := range root.Groups() {
		fmt.Fprintf(&b, "## %s\n\n", strings.TrimSuffix(group.Title, ":"))
		for _, cmd := range root.Commands() {
			if cmd.GroupID == group.ID {
				writeCommand(&b, cmd)
			}
		}
	}
	golden := filepath.Join("..", "..", "docs", "cli.md")
	if *update {
		if err := os.MkdirAll(filepath.Dir(golden), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(golden, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if got := b.Bytes(); !bytes.Equal(got, want) {
		t.Errorf("docs/cli.md is not what the commands say; run go test ./internal/cli -run TestDocs -update\nfirst difference:\n%s", firstDifference(string(got), string(want)))
	}
}

// TestSearchFields keeps the table of what can be searched in docs/api.md in step with
// [pedigree.FilterFields].
func TestSearchFields(t *testing.T) {
	const begin, end = "<!-- fields:begin -->\n", "<!-- fields:end -->"
	name := filepath.Join("..", "..", "docs", "api.md")
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(text), begin)
	_, after, closed := strings.Cut(rest, end)
	if !ok || !closed {
		t.Fatalf("%s has no place for the table", name)
	}
	var b strings.Builder
	b.WriteString("| field | type | also written |\n|---|---|---|\n")
	for _, f := range pedigree.FilterFields {
		if _, err := pedigree.ParseFilter(strings.NewReplacer("KEY", "k", "ROLE", "train").Replace(f.Name) + " IS NOT NULL"); err != nil {
			continue // reserved for later
		}
		also := ""
		if len(f.Also) > 0 {
			also = "`" + strings.Join(f.Also, "` `") + "`"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", f.Name, f.Type, also)
	}
	want := before + begin + b.String() + end + after
	if *update {
		if err := os.WriteFile(name, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if want != string(text) {
		t.Error("docs/api.md does not list the fields as they are; run go test ./internal/cli -run TestSearchFields -update")
	}
}

func writeCommand(b *bytes.Buffer, cmd *cobra.Command) {
	if !cmd.IsAvailableCommand() && cmd.Name() != "help" {
		return
	}
	if cmd.Name() == "help" || cmd.Parent() != nil && cmd.Parent().Name() == "completion" {
		return
	}
	fmt.Fprintf(b, "### %s\n\n%s.\n\n", cmd.CommandPath(), cmd.Short)
	if cmd.Runnable() && !cmd.HasAvailableSubCommands() || cmd.Name() == "log" {
		fmt.Fprintf(b, "    %s\n\n", strings.TrimSuffix(cmd.UseLine(), " [flags]"))
	}
	if cmd.Long != "" && cmd.Name() != "completion" { // cobra's own text says what is known
		b.WriteString(strings.TrimSpace(cmd.Long) + "\n\n")
	}
	if cmd.Annotations[borrowed] == "" { // they follow
		writeExample(b, cmd)
	}
	writeFlags(b, cmd.LocalNonPersistentFlags())
	if cmd.HasParent() && !cmd.Parent().HasParent() {
		writeFlags(b, cmd.PersistentFlags())
	}
	for _, sub := range cmd.Commands() {
		writeCommand(b, sub)
	}
}

func writeExample(b *bytes.Buffer, cmd *cobra.Command) {
	if cmd.Example == "" {
		return
	}
	fmt.Fprintf(b, "Example:\n\n")
	for _, line := range strings.Split(cmd.Example, "\n") {
		fmt.Fprintf(b, "    %s\n", strings.TrimPrefix(line, "  "))
	}
	b.WriteString("\n")
}

func writeFlags(b *bytes.Buffer, flags *pflag.FlagSet) {
	rows := false
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Hidden || f.Name == "help" {
			return
		}
		if !rows {
			b.WriteString("| flag | meaning |\n|---|---|\n")
			rows = true
		}
		kind, usage := pflag.UnquoteUsage(f)
		name := "`--" + f.Name
		if f.Shorthand != "" {
			name = "`-" + f.Shorthand + "`, " + name
		}
		if kind != "" {
			name += " " + strings.ReplaceAll(kind, "|", "\\|")
		}
		switch f.DefValue {
		case "", "false", "[]", "-1", "0":
		default:
			usage += " (default " + f.DefValue + ")"
		}
		fmt.Fprintf(b, "| %s` | %s |\n", name, strings.ReplaceAll(usage, "|", "\\|"))
	})
	if rows {
		b.WriteString("\n")
	}
}

func firstDifference(got, want string) string {
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range g {
		if i >= len(w) || g[i] != w[i] {
			other := "(the end)"
			if i < len(w) {
				other = w[i]
			}
			return fmt.Sprintf("line %d\n got  %s\n want %s", i+1, g[i], other)
		}
	}
	return "the file has more lines"
}

// TestHelp makes sure that whoever asks a command for help gets an example that is a
// command of ours.
func TestHelp(t *testing.T) {
	root := newRootCommand(&app{env: func(string) string { return "" }})
	var check func(cmd *cobra.Command)
	check = func(cmd *cobra.Command) {
		if cmd.Name() == "help" || cmd.Name() == "completion" { // cobra's own
			return
		}
		if cmd.Short == "" || strings.HasSuffix(cmd.Short, ".") {
			t.Errorf("%s: Short is %q, want a phrase without a full stop", cmd.CommandPath(), cmd.Short)
		}
		runs := cmd.Runnable() && !cmd.HasSubCommands()
		if runs && !cmd.Hidden && !strings.Contains(cmd.Example, cmd.CommandPath()) {
			t.Errorf("%s has no example of itself: %q", cmd.CommandPath(), cmd.Example)
		}
		for _, line := range strings.Split(cmd.Example, "\n") {
			at := strings.Index(line, "pedigree ")
			if at < 0 {
				continue
			}
			words := strings.Fields(line[at:])[1:]
			if found, _, err := root.Find(words); err != nil || found == root {
				t.Errorf("%s: the example %q is of no command: %v", cmd.CommandPath(), line, err)
			}
		}
		for _, sub := range cmd.Commands() {
			check(sub)
		}
	}
	check(root)
}
