package pedigree

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the table of roles in docs/access.md anew")

// TestRoleTable keeps the table of roles in docs/access.md in step with the code.
func TestRoleTable(t *testing.T) {
	const begin, end = "<!-- roles:begin -->\n", "<!-- roles:end -->"
	name := filepath.Join("docs", "access.md")
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(text), begin)
	_, after, found := strings.Cut(rest, end)
	if !ok || !found {
		t.Fatalf("%s has no %q", name, begin)
	}
	var b strings.Builder
	b.WriteString("| permission |")
	rule := "|---|"
	for _, r := range Roles {
		b.WriteString(" " + string(r) + " |")
		rule += "---|"
	}
	b.WriteString("\n" + rule + "\n")
	for _, p := range Permissions {
		b.WriteString("| `" + string(p) + "` |")
		for _, r := range Roles {
			if r.Has(p) {
				b.WriteString(" ✓ |")
			} else {
				b.WriteString("  |")
			}
		}
		b.WriteString("\n")
	}
	want := before + begin + b.String() + end + after
	if *update {
		if err := os.WriteFile(name, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if want != string(text) {
		t.Errorf("docs/access.md does not say what roles may; refresh it with\n\tgo test . -run TestRoleTable -update")
	}
}
