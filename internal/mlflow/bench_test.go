package mlflow_test

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/pedigree-ml/pedigree/internal/pgtest"
)

var benchDatabases = map[string]func(b *testing.B) string{
	"sqlite":   func(b *testing.B) string { return filepath.Join(b.TempDir(), "pedigree.db") },
	"postgres": func(b *testing.B) string { return pgtest.Database(b) },
}

// BenchmarkCreateVersion makes versions of sixteen models with two tags over HTTP, from 16
// sides.
func BenchmarkCreateVersion(b *testing.B) {
	for database, open := range benchDatabases {
		b.Run(database, func(b *testing.B) {
			k := newTracker(b, open(b))
			var n atomic.Int64
			b.SetParallelism(8)
			b.RunParallel(func(pb *testing.PB) {
				name := fmt.Sprintf("model-%d", n.Add(1))
				k.post("registered-models/create", object{"name": name})
				body, err := json.Marshal(object{"name": name, "source": "s3://models/fraud", "tags": []object{{"key": "grade", "value": "common"}, {"key": "region", "value": "eu"}}})
				if err != nil {
					b.Error(err)
				}
				for pb.Next() {
					if status, text, _ := k.do("POST", "/api/2.0/mlflow/model-versions/create", json.RawMessage(body)); status != 200 {
						b.Error(text)
					}
				}
			})
		})
	}
}

// BenchmarkLogBatch reports 100 metrics at once over HTTP, from 16 sides, each to a run
// of its own: ten steps of ten names, and one step of a hundred.
func BenchmarkLogBatch(b *testing.B) {
	for database, open := range benchDatabases {
		for _, names := range []int{10, 100} {
			b.Run(fmt.Sprintf("%s/%d", database, names), func(b *testing.B) {
				k := newTracker(b, open(b))
				var n atomic.Int64
				b.SetParallelism(8)
				b.RunParallel(func(pb *testing.PB) {
					run := k.run("0", "")
					for pb.Next() {
						i := n.Add(1)
						var metrics []object
						for m := range 100 {
							metrics = append(metrics, object{"key": fmt.Sprintf("m%d", m%names), "value": float64(i), "timestamp": i, "step": i*10 + int64(m/names)})
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
			})
		}
	}
}
