package httpapi_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pedigree-ml/pedigree/internal/httpapi"
)

// TestRouteTable keeps the table of operations in docs/api.md in step with the routes.
func TestRouteTable(t *testing.T) {
	const begin, end = "<!-- routes:begin -->\n", "<!-- routes:end -->"
	name := filepath.Join("..", "..", "docs", "api.md")
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(text), begin)
	if !ok {
		t.Fatalf("%s has no %q", name, begin)
	}
	_, after, ok := strings.Cut(rest, end)
	if !ok {
		t.Fatalf("%s has no %q", name, end)
	}
	var b strings.Builder
	b.WriteString("| operation | does | takes | parameters |\n|---|---|---|---|\n")
	for _, r := range httpapi.New(nil, httpapi.Options{}).Routes() {
		var params []string
		for _, p := range r.Query {
			params = append(params, "`"+p.Name+"`")
		}
		takes := ""
		if p := r.Permission(); p != "" {
			takes = "`" + string(p) + "`"
		}
		fmt.Fprintf(&b, "| `%s %s` | %s | %s | %s |\n", r.Method, r.Pattern, r.Summary, takes, strings.Join(params, " "))
	}
	want := before + begin + b.String() + end + after
	if *update {
		if err := os.WriteFile(name, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if want != string(text) {
		t.Errorf("docs/api.md does not list the routes as they are; refresh it with\n\tgo test ./internal/httpapi -run TestRouteTable -update")
	}
}
