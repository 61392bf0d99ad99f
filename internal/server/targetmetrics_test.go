package server

import (
	"context"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/pedigree-ml/pedigree"
)

// TestTargetMetrics: since when instances lag and are silent, and nothing where none does.
func TestTargetMetrics(t *testing.T) {
	lags, silent := time.Unix(1_700_000_000, 0), time.Unix(1_700_000_100, 0)
	r := prometheus.NewRegistry()
	r.MustRegister(&targetCollector{statuses: func(context.Context) ([]pedigree.TargetStatus, error) {
		return []pedigree.TargetStatus{
			{Target: pedigree.Target{Project: "risk", Name: "prod/a"}, Lagging: 1, LaggingSince: &lags, Silent: 2, SilentSince: &silent, Instances: make([]pedigree.Instance, 3)},
			{Target: pedigree.Target{Project: "risk", Name: "prod/b"}},
		}, nil
	}})
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			name := f.GetName()
			for _, l := range m.GetLabel() {
				if l.GetName() == "target" {
					name += " " + l.GetValue()
				}
			}
			got[name] = m.GetGauge().GetValue()
		}
	}
	for name, want := range map[string]float64{
		"pedigree_target_lagging_timestamp_seconds prod/a": 1_700_000_000, "pedigree_target_silent_timestamp_seconds prod/a": 1_700_000_100,
	} {
		if got[name] != want {
			t.Errorf("%s: got %v, want %v", name, got[name], want)
		}
	}
	for _, name := range []string{"pedigree_target_lagging_timestamp_seconds prod/b", "pedigree_target_silent_timestamp_seconds prod/b"} {
		if v, ok := got[name]; ok {
			t.Errorf("%s is there, %v, although all is well", name, v)
		}
	}
}
