package mlflow

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the table of docs/mlflow.md anew")

// TestDocs compares the table of docs/mlflow.md with the routes.
func TestDocs(t *testing.T) {
	const file, begin, end = "../../docs/mlflow.md", "<!-- routes -->\n", "<!-- end of routes -->\n"
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(b), begin)
	_, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("%s has no place for the table", file)
	}
	want := before + begin + routeTable() + end + after
	switch {
	case want == string(b):
	case *update:
		if err := os.WriteFile(file, []byte(want), 0o600); err != nil {
			t.Fatal(err)
		}
	default:
		t.Errorf("%s is not what the routes say; run this test with -update", file)
	}
}

// routeTable lists the endpoints; those of one kind that are not offered share a row.
func routeTable() string {
	var out strings.Builder
	out.WriteString("| endpoint | support | |\n|---|---|---|\n")
	type row struct{ pattern, why string }
	absent := map[row][]string{}
	var order []row
	for _, r := range New(nil, Config{}).Routes() {
		if r.Support != None {
			fmt.Fprintf(&out, "| `%s %s` | %s | %s |\n", r.Method, r.Pattern, r.Support, r.Why)
			continue
		}
		key := row{r.Pattern, r.Why}
		if absent[key] == nil {
			order = append(order, key)
		}
		absent[key] = append(absent[key], r.Method)
	}
	for _, key := range order {
		fmt.Fprintf(&out, "| `%s %s` | %s | %s |\n", strings.Join(absent[key], ", "), key.pattern, None, key.why)
	}
	return out.String()
}

// TestEveryRouteSaysWhy: what is not whole says what is missing.
func TestEveryRouteSaysWhy(t *testing.T) {
	seen := map[string]bool{}
	for _, r := range New(nil, Config{}).Routes() {
		if (r.Support == Full) == (r.Why != "") {
			t.Errorf("%s %s: support %q, why %q", r.Method, r.Pattern, r.Support, r.Why)
		}
		key := r.Method + " " + r.Pattern
		if seen[key] {
			t.Errorf("%s is there twice", key)
		}
		seen[key] = true
	}
}
