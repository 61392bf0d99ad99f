package registrar_test

import (
	"context"
	"slices"
	"testing"

	"github.com/pedigree-ml/pedigree"
)

// numbers runs a search to its last page and returns the versions' numbers.
func (r *registry) numbers(t *testing.T, filter, order string, limit int, at pedigree.At) (out []pedigree.VersionNumber) {
	t.Helper()
	page := pedigree.Page{Limit: limit}
	for {
		list, err := r.Search(context.Background(), me, "default", filter, order, page, at)
		if err != nil {
			t.Fatalf("%s by %s: %v", filter, order, err)
		}
		for _, s := range list.Items {
			out = append(out, s.Number)
		}
		if page.Cursor = list.Next; page.Cursor == "" {
			return out
		}
	}
}

// TestSearchOnce: a version with one metric on two splits is found once, in one page as in
// several, and numbers that no version has are no failure.
func TestSearchOnce(t *testing.T) {
	eachDatabase(t, func(t *testing.T, database string) {
		r := mustOpen(t, database)
		metrics := []pedigree.Metric{{Name: "auc", Value: 0.9, Split: "train"}, {Name: "auc", Value: 0.8, Split: "test"}}
		for range 3 {
			if _, err := r.Register(context.Background(), me, "default", "m", pedigree.Registration{CreateModel: true, Record: pedigree.Record{Metrics: metrics}}); err != nil {
				t.Fatal(err)
			}
		}
		all, none := []pedigree.VersionNumber{3, 2, 1}, []pedigree.VersionNumber(nil)
		for _, row := range []struct {
			filter string
			want   []pedigree.VersionNumber
		}{
			{"metrics.auc > 0.5", all},
			{"metrics.auc > 0.5 AND model = 'm'", all},
			{"metrics.auc > 0.5 OR model = 'x'", all},
			{"metrics.auc != 5", all},
			{"metrics.auc = 0.9 AND metrics.auc = 0.8", all},
			{"version > 1e30", none},
			{"version > 1.5", []pedigree.VersionNumber{3, 2}},
			{"complete = 1e300", none},
		} {
			for _, order := range []string{"", "metrics.auc DESC, version DESC"} {
				for _, limit := range []int{1, 2, 100} {
					if got := r.numbers(t, row.filter, order, limit, pedigree.At{}); !slices.Equal(got, row.want) {
						t.Errorf("%s by %q, pages of %d: got %v, want %v", row.filter, order, limit, got, row.want)
					}
				}
			}
		}
	})
}

// TestUpdatedAsOf: when a version was last changed is a question about a moment too, and
// the pages of one list show one moment.
func TestUpdatedAsOf(t *testing.T) {
	eachDatabase(t, func(t *testing.T, database string) {
		r := mustOpen(t, database)
		ctx := context.Background()
		for range 6 {
			if _, err := r.Register(ctx, me, "default", "m", pedigree.Registration{CreateModel: true}); err != nil {
				t.Fatal(err)
			}
		}
		head, err := r.store.Head(ctx)
		if err != nil {
			t.Fatal(err)
		}
		last := head - 1
		then := pedigree.At{Seq: &last}
		want := r.numbers(t, "", "updated_at DESC", 100, then)
		first, err := r.Search(ctx, me, "default", "", "updated_at DESC", pedigree.Page{Limit: 3}, pedigree.At{})
		if err != nil {
			t.Fatal(err)
		}
		text := "x"
		for _, n := range []pedigree.VersionNumber{1, 6} {
			if _, err := r.EditVersion(ctx, me, pedigree.Reference{Project: "default", Model: "m", Version: n}, pedigree.VersionEdit{Description: &text}, nil); err != nil {
				t.Fatal(err)
			}
		}
		if got := r.numbers(t, "", "updated_at DESC", 100, then); !slices.Equal(got, want) {
			t.Errorf("the same question about the same moment: got %v, then %v", want, got)
		}
		second, err := r.Search(ctx, me, "default", "", "updated_at DESC", pedigree.Page{Limit: 3, Cursor: first.Next}, pedigree.At{})
		if err != nil {
			t.Fatal(err)
		}
		var pages []pedigree.VersionNumber
		for _, s := range append(first.Items, second.Items...) {
			pages = append(pages, s.Number)
		}
		if !slices.Equal(pages, want) {
			t.Errorf("two pages around a change: got %v, want %v", pages, want)
		}
	})
}
