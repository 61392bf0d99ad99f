package sqlstore

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/pedigree-ml/pedigree"
)

// TestSearchByHash: a text is found by its hash, and another text that has the same one is
// not taken for it.
func TestSearchByHash(t *testing.T) {
	eachDatabase(t, func(t *testing.T, database string) {
		s := mustOpen(t, database)
		project, model := mustBegin(t, s)
		ctx := context.Background()
		for i := range 6 {
			grade := []string{"rare", "other"}[i%2]
			mustAppend(t, s, pedigree.Draft{
				Type: pedigree.VersionRegistered, Subject: model + pedigree.NextVersion,
				Payload: pedigree.Payload{"tags": map[string]string{"grade": grade}},
			})
		}
		search := func(order string) (out []int64) {
			f, err := pedigree.ParseFilter("tags.grade = 'rare'")
			if err != nil {
				t.Fatal(err)
			}
			by, err := pedigree.ParseOrder(order)
			if err != nil {
				t.Fatal(err)
			}
			err = s.Read(ctx, pedigree.At{}, func(tx *Tx) error {
				out = nil
				var after *SearchKey
				for {
					seqs, next, err := tx.Search(ctx, Search{Project: project, Filter: f, Order: by, After: after, Limit: 2, Now: time.Now()})
					if err != nil {
						return err
					}
					out = append(out, seqs...)
					if after = next; next == nil {
						return nil
					}
					for i, v := range after.Values { // as a cursor has it
						if n, ok := v.(int64); ok {
							after.Values[i] = float64(n)
						}
					}
				}
			})
			if err != nil {
				t.Fatal(err)
			}
			return out
		}
		want := []int64{7, 5, 3}
		for _, collide := range []bool{false, true} {
			if collide {
				if _, err := s.write.ExecContext(ctx, fmt.Sprintf("UPDATE view_attributes SET hash = %d WHERE text = 'other'", textHash("rare"))); err != nil {
					t.Fatal(err)
				}
			}
			for _, order := range []string{"", "updated_at DESC", "created_at DESC", "tags.grade, version DESC"} {
				if got := search(order); !slices.Equal(got, want) {
					t.Errorf("by %q, another text with the same hash %v: got %v, want %v", order, collide, got, want)
				}
			}
		}
	})
}
