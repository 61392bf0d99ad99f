package pedigree_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/pedigree-ml/pedigree"
)

// logPrediction is the logger of docs/predictions.md.
func logPrediction(w io.Writer) error {
	line, err := json.Marshal(pedigree.Prediction{
		Schema: pedigree.PredictionV1, ID: uuid.NewString(), Time: time.Now().UTC(),
		Deployment: os.Getenv("PEDIGREE_DEPLOYMENT"), Digest: pedigree.Digest(os.Getenv("PEDIGREE_DIGEST")),
		Request: json.RawMessage(`{"amount": 12.5}`), Prediction: json.RawMessage(`0.93`),
	})
	if err != nil {
		return err
	}
	_, err = w.Write(append(line, '\n'))
	return err
}

func ExampleParsePrediction() {
	p, err := pedigree.ParsePrediction([]byte(`{"schema": "pedigree.prediction/v1", "id": "1", "time": "2026-11-24T09:00:00Z", "model": "fraud", "version": 7, "request": {"amount": 12.5}, "prediction": 0.93}`))
	fmt.Println(p.Model, p.Version, string(p.Prediction), err)
	_, err = pedigree.ParsePrediction([]byte(`{"schema": "pedigree.prediction/v1", "id": "1", "tiem": 1}`))
	fmt.Println(err)
	// Output:
	// fraud 7 0.93 <nil>
	// byte 54: there is no field "tiem"; did you mean time?
}

// TestDocumentedLogger keeps the logger in docs/predictions.md the one that is tested
// here.
func TestDocumentedLogger(t *testing.T) {
	t.Setenv("PEDIGREE_DEPLOYMENT", "dep_0193a3c5e8b07aa48f2d3c4b5a697887")
	t.Setenv("PEDIGREE_DIGEST", "")
	var b bytes.Buffer
	if err := logPrediction(&b); err != nil {
		t.Fatal(err)
	}
	if _, err := pedigree.ParsePrediction(bytes.TrimSpace(b.Bytes())); err != nil {
		t.Errorf("%v: %s", err, b.String())
	}
	doc, err := os.ReadFile("docs/predictions.md")
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile("prediction_example_test.go")
	if err != nil {
		t.Fatal(err)
	}
	_, code, _ := strings.Cut(string(doc), "<!-- go:begin -->\n```go\n")
	code, _, ok := strings.Cut(code, "```\n<!-- go:end -->")
	if !ok {
		t.Fatal("docs/predictions.md has no logger in Go")
	}
	for line := range strings.Lines(code) {
		if !strings.Contains(string(source), line) {
			t.Errorf("docs/predictions.md has a line that is not tested: %s", line)
		}
	}
}
