package server

import (
	"context"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/pedigree-ml/pedigree"
)

// statusAge is how old the figures about targets may be: many who scrape many servers do
// not make the database tell them the same again and again.
const statusAge = 5 * time.Second

// targetCollector shows what is desired at targets and what was seen there. Its labels are
// names that administrators and owners of models chose: there is one line for each target
// and figure, whatever instances there are.
type targetCollector struct {
	statuses func(context.Context) ([]pedigree.TargetStatus, error)

	mu    sync.Mutex
	last  []pedigree.TargetStatus
	asked time.Time
}

var (
	targetLabels  = []string{"project", "target"}
	targetReady   = prometheus.NewDesc("pedigree_target_rollback_ready", "Whether a protected target could go back (1) or not (0), as of its last check.", targetLabels, nil)
	targetChecked = prometheus.NewDesc("pedigree_target_rollback_checked_timestamp_seconds", "When the files of what a rollback would restore were last read and compared.", targetLabels, nil)
	targetSeen    = prometheus.NewDesc("pedigree_target_instances", "Instances that report what they run: what is desired (ok), something else (lags), or that say nothing any more (silent).", append(targetLabels, "state"), nil)
	targetLags    = prometheus.NewDesc("pedigree_target_lagging_timestamp_seconds", "Since when the instance that lags longest does; absent where none lags.", targetLabels, nil)
	targetSilent  = prometheus.NewDesc("pedigree_target_silent_timestamp_seconds", "When the instance that is silent longest was last heard; absent where none is silent.", targetLabels, nil)
	targetRuns    = prometheus.NewDesc("pedigree_target_deployed_info", "The version that is active as primary; the value is 1.", append(targetLabels, "model", "version"), nil)
	targetActive  = prometheus.NewDesc("pedigree_target_deployed_timestamp_seconds", "When what is active as primary became so.", targetLabels, nil)
	targetPending = prometheus.NewDesc("pedigree_target_pending_timestamp_seconds", "Since when a primary deployment waits to be confirmed; absent where none does.", targetLabels, nil)
)

// Describe implements [prometheus.Collector].
func (c *targetCollector) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{targetReady, targetChecked, targetSeen, targetLags, targetSilent, targetRuns, targetActive, targetPending} {
		out <- d
	}
}

// Collect implements [prometheus.Collector]. While the database does not answer there are
// no figures: an alert on their absence says so, and old ones would not.
func (c *targetCollector) Collect(out chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	statuses := c.read()
	for i := range statuses {
		s := &statuses[i]
		project, target := string(s.Target.Project), string(s.Target.Name)
		if r := s.Rollback; r != nil {
			ready := 0.0
			if r.Ready {
				ready = 1
			}
			gauge(targetReady, ready, project, target)
			gauge(targetChecked, seconds(r.CheckedAt), project, target)
		}
		gauge(targetSeen, float64(len(s.Instances)-s.Lagging-s.Silent), project, target, "ok")
		gauge(targetSeen, float64(s.Lagging), project, target, "lags")
		gauge(targetSeen, float64(s.Silent), project, target, "silent")
		if s.LaggingSince != nil {
			gauge(targetLags, seconds(*s.LaggingSince), project, target)
		}
		if s.SilentSince != nil {
			gauge(targetSilent, seconds(*s.SilentSince), project, target)
		}
		if d := s.Current; d != nil {
			gauge(targetRuns, 1, project, target, string(d.Model), d.Version.String())
			gauge(targetActive, seconds(*d.ActiveAt), project, target)
		}
		if d := s.Pending; d != nil {
			gauge(targetPending, seconds(d.OpenedAt), project, target)
		}
	}
}

func (c *targetCollector) read() []pedigree.TargetStatus {
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Since(c.asked) < statusAge {
		return c.last
	}
	ctx, cancel := context.WithTimeout(context.Background(), scrapeTimeout)
	defer cancel()
	statuses, err := c.statuses(ctx)
	if err != nil {
		return nil
	}
	c.last, c.asked = statuses, time.Now()
	return statuses
}

func seconds(t time.Time) float64 { return float64(t.UnixMicro()) / 1e6 }
