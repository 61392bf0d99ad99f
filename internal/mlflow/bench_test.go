package mlflow_test

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"sync/atomic"
	"testing"
)

// BenchmarkLogBatch reports 100 metrics of 10 names at once over HTTP, from 16 sides.
func BenchmarkLogBatch(b *testing.B) {
	k := newTracker(b, filepath.Join(b.TempDir(), "pedigree.db"))
	var n atomic.Int64
	b.SetParallelism(8)
	b.RunParallel(func(pb *testing.PB) {
		run := k.run("0", "")
		for pb.Next() {
			i := n.Add(1)
			var metrics []object
			for m := range 100 {
				metrics = append(metrics, object{"key": fmt.Sprintf("m%d", m%10), "value": float64(i), "timestamp": i, "step": i*10 + int64(m/10)})
			}
			body, err := json.Marshal(object{"run_id": run, "metrics": metrics})
			if err != nil {
				b.Error(err)
			}
			if status, text, _ := k.do("POST", "/api/2.0/mlflow/runs/log-batch", json.RawMessage(body)); status != 200 {
				b.Error(text)
			}
		}
	})
}
