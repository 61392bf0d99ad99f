package notify

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/pedigree-ml/pedigree"
)

// BenchmarkDeliver appends events to models of their own and waits until a receiver on this
// machine has them all: what one webhook can send in a second.
func BenchmarkDeliver(b *testing.B) {
	r, rc := mustRegistrar(b, filepath.Join(b.TempDir(), "pedigree.db"), allowed), newReceiver(b)
	mustWebhook(b, r, "default", rc.URL, nil)
	p := run(b, r, newClock(), nil)
	n := 0
	for b.Loop() {
		n++
		mustModel(b, r, pedigree.Name(fmt.Sprintf("m%d", n)))
	}
	begin, left := time.Now(), int64(n)-p.Counts().Delivered
	for p.Counts().Delivered < int64(n) {
		time.Sleep(time.Millisecond)
	}
	b.ReportMetric(float64(n)/(b.Elapsed()+time.Since(begin)).Seconds(), "deliveries/s")
	b.ReportMetric(float64(left), "behind")
}
