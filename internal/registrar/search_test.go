package registrar_test

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"testing"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/internal/registrar"
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

// TestSearchByChange: the order of the last change is right however few or many versions
// changed after they were registered, in pages of any size, both ways, and by any filter.
func TestSearchByChange(t *testing.T) {
	type version struct {
		model   pedigree.Name
		number  pedigree.VersionNumber
		rare    bool
		changed int // by which step
	}
	eachDatabase(t, func(t *testing.T, database string) {
		r := mustOpen(t, database)
		ctx := context.Background()
		var all []*version
		step := 0
		register := func(model pedigree.Name, n int) {
			for range n {
				step++
				v := &version{model: model, number: 1, rare: step%3 == 0, changed: step}
				for _, w := range all {
					if w.model == model {
						v.number = w.number + 1
					}
				}
				tags := map[string]string{"grade": "common", "region": "x"}
				if v.rare {
					tags["grade"] = "rare"
				}
				if _, err := r.Register(ctx, me, "default", model, pedigree.Registration{CreateModel: true, Tags: tags}); err != nil {
					t.Fatal(err)
				}
				all = append(all, v)
			}
		}
		edit := func(v *version) {
			step++
			text := strconv.Itoa(step)
			if _, err := r.EditVersion(ctx, me, pedigree.Reference{Project: "default", Model: v.model, Version: v.number}, pedigree.VersionEdit{Description: &text}, nil); err != nil {
				t.Fatal(err)
			}
			v.changed = step
		}
		pages := func(filter, order string, limit int, skip int64) (out []string) {
			f, err := pedigree.ParseFilter(filter)
			if err != nil {
				t.Fatal(err)
			}
			by, err := pedigree.ParseOrder(order)
			if err != nil {
				t.Fatal(err)
			}
			q := registrar.CardQuery{Filter: f, Order: by, Limit: limit, Skip: skip}
			for {
				cards, next, err := r.SearchCards(ctx, me, "default", q)
				if err != nil {
					t.Fatalf("%s by %s: %v", filter, order, err)
				}
				for _, c := range cards {
					out = append(out, fmt.Sprintf("%s/%d", c.Model, c.Number))
				}
				if q.Cursor, q.Skip = next, 0; next == "" {
					return out
				}
			}
		}
		check := func(what string) {
			t.Helper()
			for filter, match := range map[string]func(*version) bool{
				"":                                    func(*version) bool { return true },
				"tags.grade = 'rare'":                 func(v *version) bool { return v.rare },
				"model = 'a'":                         func(v *version) bool { return v.model == "a" },
				"model = 'a' AND tags.grade = 'rare'": func(v *version) bool { return v.model == "a" && v.rare },
				"tags.region = 'x' AND tags.grade = 'rare'": func(v *version) bool { return v.rare },
				"tags.grade = 'rare' AND version < 20":      func(v *version) bool { return v.rare && v.number < 20 },
			} {
				found := slices.DeleteFunc(slices.Clone(all), func(v *version) bool { return !match(v) })
				// Those that one step changed are of one model, the newest first.
				slices.SortFunc(found, func(a, b *version) int {
					return cmp.Or(cmp.Compare(b.changed, a.changed), cmp.Compare(b.number, a.number))
				})
				var want []string
				for _, v := range found {
					want = append(want, fmt.Sprintf("%s/%d", v.model, v.number))
				}
				for _, order := range []string{"updated_at DESC", "updated_at DESC, model ASC, version DESC"} {
					for _, limit := range []int{7, 1000} {
						if got := pages(filter, order, limit, 0); !slices.Equal(got, want) {
							t.Errorf("%s: %s by %s, pages of %d:\ngot  %v\nwant %v", what, filter, order, limit, got, want)
						}
					}
				}
				if got := pages(filter, "updated_at DESC", 4, 5); !slices.Equal(got, want[min(5, len(want)):]) {
					t.Errorf("%s: %s from the sixth:\ngot  %v\nwant %v", what, filter, got, want)
				}
				slices.SortStableFunc(found, func(a, b *version) int { return cmp.Compare(a.changed, b.changed) })
				want = want[:0]
				for _, v := range found {
					want = append(want, fmt.Sprintf("%s/%d", v.model, v.number))
				}
				if got := pages(filter, "updated_at ASC", 7, 0); !slices.Equal(got, want) {
					t.Errorf("%s: %s, the oldest first:\ngot  %v\nwant %v", what, filter, got, want)
				}
			}
		}
		register("a", 12)
		register("b", 12)
		check("nothing changed")
		for _, i := range []int{3, 17, 5, 3, 20} {
			edit(all[i])
		}
		register("a", 3)
		check("few changed")
		register("b", 220)
		step++
		if _, err := r.RenameModel(ctx, me, "default", "b", "c", nil); err != nil {
			t.Fatal(err)
		}
		for _, v := range all {
			if v.model == "b" {
				v.model, v.changed = "c", step
			}
		}
		register("a", 2)
		edit(all[40])
		check("many changed")
	})
}

// TestSearchAcrossProjects: an order by model and version tells apart what is called alike
// in two projects.
func TestSearchAcrossProjects(t *testing.T) {
	eachDatabase(t, func(t *testing.T, database string) {
		r := mustOpen(t, database)
		ctx := context.Background()
		for _, project := range []pedigree.ProjectName{"one", "two", "three"} {
			if _, err := r.CreateProject(ctx, me, project, ""); err != nil {
				t.Fatal(err)
			}
			if _, err := r.Register(ctx, me, project, "m", pedigree.Registration{CreateModel: true}); err != nil {
				t.Fatal(err)
			}
		}
		seen := map[pedigree.ProjectName]int{}
		page := pedigree.Page{Limit: 1}
		for {
			list, err := r.Search(ctx, me, "", "", "model, version", page, pedigree.At{})
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range list.Items {
				seen[s.Project]++
			}
			if page.Cursor = list.Next; page.Cursor == "" {
				break
			}
		}
		if len(seen) != 3 || seen["one"] != 1 || seen["two"] != 1 || seen["three"] != 1 {
			t.Errorf("each project's version once: got %v", seen)
		}
	})
}
