package cli

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestDocumentedLogger runs the logger in Python of docs/predictions.md and checks what it
// wrote.
func TestDocumentedLogger(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("there is no python3")
		}
		t.Skip("there is no python3")
	}
	doc, err := os.ReadFile(filepath.Join("..", "..", "docs", "predictions.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, code, _ := strings.Cut(string(doc), "<!-- python:begin -->\n```python\n")
	code, _, ok := strings.Cut(code, "```\n<!-- python:end -->")
	if !ok {
		t.Fatal("docs/predictions.md has no logger in Python")
	}
	dir := t.TempDir()
	code += "\nlog_prediction({'amount': 12.5, 'name': 'Zoë'}, 0.93, {'decision': 'review'})\nlog_prediction({}, [1, 2])\n"
	cmd := exec.Command(python, "-c", code)
	cmd.Dir = dir
	cmd.Env = []string{"PEDIGREE_DEPLOYMENT=dep_0193a3c5e8b07aa48f2d3c4b5a697887", "PEDIGREE_DIGEST="}
	if said, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, said)
	}
	var stdout, stderr bytes.Buffer
	exit := Main([]string{"predictions", "check", filepath.Join(dir, "predictions.jsonl")}, strings.NewReader(""), &stdout, &stderr, func(string) string { return "" })
	if exit != exitOK || !strings.HasPrefix(stdout.String(), "ok  2 lines") {
		t.Errorf("exit code %d: %s%s", exit, stdout.String(), stderr.String())
	}
}
