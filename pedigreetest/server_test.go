package pedigreetest_test

import (
	"io"
	"strings"
	"testing"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/client"
	"github.com/pedigree-ml/pedigree/internal/pgtest"
	"github.com/pedigree-ml/pedigree/pedigreetest"
)

// promote is the code under test of the example: it points "production" to the newest
// version that is good enough.
func promote(t testing.TB, url string) {
	c, err := client.New(client.Config{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	found, err := c.Search(t.Context(), client.Query{Filter: "model = 'fraud' AND metrics.auc > 0.9", Page: pedigree.Page{Limit: 1}})
	if err != nil || len(found.Items) == 0 {
		t.Fatalf("no version is good enough (%v)", err)
	}
	best := found.Items[0]
	if _, err := c.SetAlias(t.Context(), pedigree.Reference{Model: best.Model, Version: best.Number}, "production", nil, ""); err != nil {
		t.Fatal(err)
	}
}

// TestExample is what a test of a program that uses Pedigree looks like.
func TestExample(t *testing.T) {
	s := pedigreetest.NewServer(t)
	good := pedigree.Registration{Record: pedigree.Record{Metrics: []pedigree.Metric{{Name: "auc", Value: 0.93}}}}
	poor := pedigree.Registration{Record: pedigree.Record{Metrics: []pedigree.Metric{{Name: "auc", Value: 0.61}}}}
	s.MustPush(t, "fraud", map[string]string{"model.json": "{}", "tokens/vocab.txt": "a\n"}, good)
	s.MustRegister(t, "fraud", poor)

	promote(t, s.URL)

	if v := s.MustVersion(t, "fraud@production"); v.Number != 1 {
		t.Errorf("production is version %d, want 1", v.Number)
	}
}

func TestServers(t *testing.T) {
	for name, options := range map[string]func(t *testing.T) []pedigreetest.Option{
		"SQLite": func(*testing.T) []pedigreetest.Option { return nil },
		"Postgres": func(t *testing.T) []pedigreetest.Option {
			return []pedigreetest.Option{pedigreetest.Postgres(pgtest.Database(t))}
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := pedigreetest.NewServer(t, options(t)...)
			other := pedigreetest.NewServer(t)
			s.MustPush(t, "fraud", map[string]string{"model.bin": "weights"}, pedigree.Registration{})
			s.MustAlias(t, "fraud/1", "candidate")
			ref := pedigree.Reference{Model: "fraud", Alias: "candidate"}
			body, _, err := s.Client.OpenFile(t.Context(), ref, "model.bin", pedigree.At{})
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = body.Close() }()
			var text strings.Builder
			if _, err := io.Copy(&text, body); err != nil || text.String() != "weights" {
				t.Errorf("got %q, %v", text.String(), err)
			}
			if _, err := other.Client.Version(t.Context(), ref, pedigree.At{}); pedigree.CodeOf(err) != pedigree.CodeNotFound {
				t.Errorf("another server knows it too: %v", err)
			}
		})
	}
}
