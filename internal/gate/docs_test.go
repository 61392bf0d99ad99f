package gate

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"

	"github.com/pedigree-ml/pedigree"
)

var update = flag.Bool("update", false, "write the table of docs/policies.md anew")

// TestDocs compares what docs/policies.md says that gates can read with what they can.
func TestDocs(t *testing.T) {
	const file, begin, end = "../../docs/policies.md", "<!-- fields -->\n", "<!-- end of fields -->\n"
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(b), begin)
	_, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("%s has no place for the table", file)
	}
	want := before + begin + fieldTable() + end + after
	switch {
	case want == string(b):
	case *update:
		if err := os.WriteFile(file, []byte(want), 0o600); err != nil {
			t.Fatal(err)
		}
	default:
		t.Errorf("%s is not what gates can read; run this test with -update", file)
	}
	for _, limit := range []string{
		fmt.Sprint(pedigree.MaxExpr), fmt.Sprint(pedigree.MaxGates), "500,000", fmt.Sprint(maxDepth) + " levels", fmt.Sprint(maxRegexp) + " instructions",
	} {
		if !strings.Contains(before+after, limit) {
			t.Errorf("%s does not say %s", file, limit)
		}
	}
	for name := range withheld {
		if !strings.Contains(before+after, "`"+name+"`") {
			t.Errorf("%s does not say that %s is not offered", file, name)
		}
	}
}

// TestDocumentedGates: the expressions of docs/policies.md can be used.
func TestDocumentedGates(t *testing.T) {
	b, err := os.ReadFile("../../docs/policies.md")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for i, block := range strings.Split(string(b), "```") {
		expr, ok := strings.CutPrefix(block, "cel\n")
		if i%2 == 0 || !ok {
			continue
		}
		for line := range strings.Lines(expr) {
			line, _, _ = strings.Cut(line, "   //")
			if found++; strings.TrimSpace(line) != "" {
				if err := CheckExpression("docs", strings.TrimSpace(line)); err != nil {
					t.Errorf("%s: %v", line, err)
				}
			}
		}
	}
	if found < 10 {
		t.Errorf("%d expressions found", found)
	}
}

// TestRecordFields: a new field of the record is offered to gates, or left out on purpose.
func TestRecordFields(t *testing.T) {
	for _, name := range pedigree.RecordFields {
		switch name {
		case "target":
			name = "target_name"
		case "rollback_note":
			continue // a note
		}
		if !slices.ContainsFunc(versionFields, func(f *field) bool { return f.name == name }) {
			t.Errorf("gates can't read %s of the record", name)
		}
	}
	for _, k := range kinds {
		for _, f := range k.fields {
			if unreadable[f.name] {
				t.Errorf("gates can read %s.%s", k.name, f.name)
			}
		}
	}
}

// fieldTable lists the variables, and the fields of each kind of object.
func fieldTable() string {
	var out strings.Builder
	for _, k := range kinds {
		switch k {
		case inputKind:
		case currentKind:
			out.WriteString("\n`current` has the fields of the version above, from `version` to `completeness`, and:\n")
		default:
			fmt.Fprintf(&out, "\n**%s**\n", k.name)
		}
		out.WriteString("\n| | type | |\n|---|---|---|\n")
		for _, f := range k.fields {
			if k == currentKind && slices.Contains(versionFields, f) {
				continue
			}
			fmt.Fprintf(&out, "| `%s` | %s | %s |\n", f.name, typeWords(f), f.doc)
		}
	}
	return out.String()
}

func typeWords(f *field) string {
	plain := func(t *cel.Type) string {
		switch t.Kind() {
		case types.StringKind:
			return "text"
		case types.DoubleKind:
			return "number"
		case types.IntKind:
			return "whole number"
		case types.BoolKind:
			return "true or false"
		case types.TimestampKind:
			return "time"
		}
		return "**" + f.of.name + "**"
	}
	switch f.kind.Kind() {
	case types.ListKind:
		return "list of " + strings.ReplaceAll(plain(f.kind.Parameters()[0])+"s", "**s", "**")
	case types.MapKind:
		return "map of text to " + plain(f.kind.Parameters()[1])
	}
	return plain(f.kind)
}
