package mlflow

import (
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/pedigree-ml/pedigree/internal/mlrecord"
)

// TestFetches: calls for one source share a transfer, which outlives a caller that gives
// up; what was delivered once is read anew.
func TestFetches(t *testing.T) {
	var f fetches
	reads := 0
	arrived := make(chan struct{})
	read := func(ctx context.Context) ([]mlrecord.Content, error) {
		reads++
		select {
		case <-arrived:
			return []mlrecord.Content{{}}, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := f.get(gone, "a", read); !errors.Is(err, context.Canceled) {
		t.Fatalf("a caller that gave up got %v", err)
	}
	var both sync.WaitGroup
	for range 2 {
		both.Go(func() {
			if files, err := f.get(t.Context(), "a", read); err != nil || len(files) != 1 {
				t.Errorf("got %d files, %v", len(files), err)
			}
		})
	}
	close(arrived)
	both.Wait()
	if len(f.byKey) != 0 {
		t.Errorf("%d transfers are kept after they were delivered", len(f.byKey))
	}
	if _, err := f.get(t.Context(), "a", read); err != nil {
		t.Error(err)
	}
	if reads < 2 || reads > 3 { // the two may just have missed one another
		t.Errorf("%d reads, want one for the three of them, and one for the last", reads)
	}
	// What failed while nobody waited is tried anew.
	fails := func(context.Context) ([]mlrecord.Content, error) { return nil, errors.New("broken off") }
	_, _ = f.get(gone, "b", fails)
	if files, err := f.get(t.Context(), "b", func(context.Context) ([]mlrecord.Content, error) { return []mlrecord.Content{{}}, nil }); err == nil && len(files) != 1 {
		t.Errorf("got %d files", len(files))
	}
}

func TestElsewhereID(t *testing.T) {
	const run, model = "0123456789abcdef0123456789abcdef", "m-0123456789abcdef0123456789abcdef"
	for source, want := range map[string]string{
		"runs:/" + run + "/m": run,
		"runs:/" + run:        run,
		"runs:/abc/m":         "",
		"runs:/" + run + "0":  "",
		"models:/" + model:    model,
		"models:/m-nobody":    "",
		"models:/fraud/1":     "",
		"mlflow-artifacts:/3/" + run + "/artifacts/m":         run,
		"mlflow-artifacts:/3/models/" + model + "/artifacts":  model,
		"mlflow-artifacts://host/3/" + run + "/artifacts":     run,
		"mlflow-artifacts:/versions/mdl_x/1":                  "",
		"s3://bucket/3/" + run + "/artifacts/m":               "",
		"mlflow-artifacts:/3/" + run + "/files/" + run + "/m": "",
	} {
		if got := elsewhereID(source); got != want {
			t.Errorf("%s: got %q, want %q", source, got, want)
		}
	}
}
