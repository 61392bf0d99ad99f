package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode"

	"github.com/dustin/go-humanize"
	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
	"go.yaml.in/yaml/v3"

	"github.com/pedigree-ml/pedigree"
)

// answer is what a command found, in every form that it can be asked for.
type answer struct {
	// value is the wire form, for json and yaml.
	value any
	// names are the ids or references, one a line, for -o name and -q.
	names []string
	// human writes it for people; nil writes the names.
	human func(w io.Writer)
	// asOf is the moment that the answer is of, for people, from [app.asOf]; "" is now.
	asOf string
}

// print writes an answer to standard output in the form of -o.
func (a *app) print(ans answer) error {
	var b bytes.Buffer
	switch {
	case a.out == "json":
		if err := writeJSON(&b, ans.value); err != nil {
			return err
		}
	case a.out == "yaml":
		if err := writeYAML(&b, ans.value); err != nil {
			return err
		}
	case a.out == "name" || a.quiet || ans.human == nil:
		for _, name := range ans.names {
			fmt.Fprintln(&b, name)
		}
	default:
		if ans.asOf != "" {
			fmt.Fprintln(&b, "as of "+ans.asOf)
		}
		ans.human(&b)
	}
	if _, err := a.stdout.Write(b.Bytes()); err != nil {
		return fmt.Errorf("write the answer: %w", err)
	}
	return nil
}

// asOf is the event that an answer of a moment in the past is as of, with its time, for
// people: "event 12, 2026-10-01 03:00:00 UTC". It is "" for now.
func (a *app) asOf(ctx context.Context, at pedigree.At) string {
	if at.IsNow() || !a.people() {
		return ""
	}
	c, err := a.client(ctx)
	if err != nil {
		return ""
	}
	list, err := c.Models(ctx, pedigree.Page{Limit: 1}, at)
	if err != nil {
		return "" // the question itself will have said why
	}
	out := fmt.Sprintf("event %d", list.AsOf)
	if entry, err := c.Event(ctx, list.AsOf); err == nil {
		if e, err := entry.Event(); err == nil {
			out += ", " + stamp(e.Time) + " UTC"
		}
	}
	return out
}

// people says that the answer is for people to read, and not for a program.
func (a *app) people() bool { return a.out == "table" && !a.quiet }

// hint writes a line for people to standard error; programs don't see it.
func (a *app) hint(format string, args ...any) {
	if a.people() {
		fmt.Fprintln(a.stderr, printable(fmt.Sprintf(format, args...)))
	}
}

// warn writes a warning to standard error, whoever reads it.
func (a *app) warn(format string, args ...any) {
	fmt.Fprintln(a.stderr, "warning: "+printable(fmt.Sprintf(format, args...)))
}

func writeJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// writeYAML writes the JSON form of v as YAML, its keys in the same order.
func writeYAML(w io.Writer, v any) error {
	var b bytes.Buffer
	if err := writeJSON(&b, v); err != nil {
		return err
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(b.Bytes(), &doc); err != nil { // JSON is YAML
		return err
	}
	plain(&doc)
	enc := yaml.NewEncoder(w)
	enc.SetIndent(2)
	if err := enc.Encode(&doc); err != nil {
		return err
	}
	return enc.Close()
}

// plain takes from a document the quotes and braces of JSON. The encoder quotes again
// what would read as something else.
func plain(n *yaml.Node) {
	if n.Kind == yaml.ScalarNode && n.Tag == "!!str" && strings.Contains(n.Value, "\n") {
		n.Style = yaml.LiteralStyle
	} else {
		n.Style = 0
	}
	for _, c := range n.Content {
		plain(c)
	}
}

// lines is a table without borders.
type lines struct{ table.Writer }

// newTable begins a table; the heads are its first line.
func (a *app) newTable(heads ...string) lines {
	t := lines{table.NewWriter()}
	style := table.StyleDefault
	style.Options = table.OptionsNoBordersAndSeparators
	style.Box.PaddingLeft, style.Box.PaddingRight = "", "  "
	style.Format.Header = text.FormatDefault
	if columns := width(a.stdout); columns > 0 {
		style.Size.WidthMax = columns
		style.Box.UnfinishedRow = "…"
	}
	t.SetStyle(style)
	t.SuppressTrailingSpaces()
	if len(heads) > 0 {
		row := make(table.Row, len(heads))
		for i, h := range heads {
			row[i] = strings.ToUpper(h)
		}
		t.AppendHeader(row)
	}
	return t
}

// row adds a line. Cells hold one line of printable text.
func (t lines) row(cells ...any) {
	row := make(table.Row, len(cells))
	for i, c := range cells {
		row[i] = printable(fmt.Sprint(c))
	}
	t.AppendRow(row)
}

// write writes the table, indented.
func (t lines) write(w io.Writer, indent string) {
	out := t.Render()
	for _, line := range strings.Split(out, "\n") {
		fmt.Fprintln(w, strings.TrimRight(indent+line, " "))
	}
}

// printable makes s one line that a terminal can't take for a command: line ends become
// "⏎", other control characters spaces.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n':
			return '⏎'
		case unicode.IsControl(r) || r == '\u202e' || r == '\u202d' || r == '\u2066' || r == '\u2067' || r == '\u2068':
			return ' '
		}
		return r
	}, strings.TrimRight(s, "\r\n"))
}

// cut shortens s to at most n characters.
func cut(s string, n int) string {
	if r := []rune(s); len(r) > n {
		return string(r[:n-1]) + "…"
	}
	return s
}

// size is a number of bytes for people: "1.2 MB", "unknown" for nil.
func size(n *int64) string {
	if n == nil || *n < 0 {
		return "size unknown"
	}
	return humanize.Bytes(uint64(*n))
}

// count is a number with its noun: "1 file", "3 files".
func count(n int, one string) string {
	if n == 1 {
		return "1 " + one
	}
	return humanize.Comma(int64(n)) + " " + one + "s"
}

// stamp is a moment for a table: UTC, to the second.
func stamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05") }

// since is a moment for people, with how long ago it was.
func (a *app) since(t time.Time) string {
	return stamp(t) + " UTC (" + humanize.RelTime(t, a.now(), "ago", "from now") + ")"
}

// reference is the name of a version, or of a model, as the user would write it.
func (a *app) reference(project pedigree.ProjectName, model pedigree.Name, n pedigree.VersionNumber) string {
	return a.display(pedigree.Reference{Project: project, Model: model, Version: n})
}

// display is a reference as the user would write it: without the project that they work
// in.
func (a *app) display(ref pedigree.Reference) string {
	if ref.Project == a.home {
		ref.Project = ""
	}
	return ref.String()
}

// projectName is the project that this run works in.
func (a *app) projectName() pedigree.ProjectName {
	if a.project == "" {
		return pedigree.DefaultProject
	}
	return pedigree.ProjectName(a.project)
}
