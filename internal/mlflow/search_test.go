package mlflow

import (
	"bufio"
	"os"
	"strings"
	"testing"
)

// TestFilterAgainstMLflow reads filters and what MLflow's own server says of each: "ok",
// or its error.
func TestFilterAgainstMLflow(t *testing.T) {
	f, err := os.Open("testdata/filters.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		parts := strings.SplitN(lines.Text(), "\t", 3)
		if len(parts) != 3 {
			t.Fatalf("line %q", lines.Text())
		}
		target := versionSearch
		if parts[0] == "models" {
			target = modelSearch
		}
		got := "ok"
		if _, err := target.parse(parts[1]); err != nil {
			got = strings.TrimPrefix(err.Error(), "INVALID_PARAMETER_VALUE: ")
		}
		if got != parts[2] {
			t.Errorf("%s %q:\n got %s\nwant %s", parts[0], parts[1], got, parts[2])
		}
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
}
