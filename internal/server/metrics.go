package server

import (
	"context"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/internal/blob"
	"github.com/pedigree-ml/pedigree/internal/httpx"
	"github.com/pedigree-ml/pedigree/internal/notify"
	"github.com/pedigree-ml/pedigree/internal/registrar"
	"github.com/pedigree-ml/pedigree/internal/sqlstore"
)

// metrics is what /metrics shows. Its registry is its own: several servers may run in
// one process, as tests do.
//
// Labels never hold what a client chose: routes are the patterns of the mux, and
// methods that no route has are "other".
type metrics struct {
	registry *prometheus.Registry
	// targets names targets, models and versions, which not everybody may read.
	targets   *prometheus.Registry
	requests  *prometheus.CounterVec
	durations *prometheus.HistogramVec
	sent      *prometheus.CounterVec
	running   prometheus.Gauge
	stored    prometheus.Counter
}

// scrapeTimeout is how long /metrics waits for the database.
const scrapeTimeout = 2 * time.Second

func newMetrics(store *sqlstore.Store) *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		targets:  prometheus.NewRegistry(),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "pedigree_http_requests_total", Help: "Requests answered, by route, method and status.",
		}, []string{"route", "method", "status"}),
		durations: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "pedigree_http_request_duration_seconds", Help: "Time from a request's head to the end of its answer, by route and method.",
			Buckets: []float64{0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 60},
		}, []string{"route", "method"}),
		sent: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "pedigree_http_response_bytes_total", Help: "Bytes of answers, by route; those of the files route are bytes of blobs.",
		}, []string{"route"}),
		running: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "pedigree_http_requests_running", Help: "Requests that are being answered.",
		}),
		stored: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "pedigree_blob_received_bytes_total", Help: "Bytes that were stored as blobs by this server.",
		}),
	}
	events := prometheus.NewCounterFunc(prometheus.CounterOpts{
		Name: "pedigree_log_events_total", Help: "Events in the log, whichever server appended them; -1 while the database does not answer.",
	}, func() float64 {
		ctx, cancel := context.WithTimeout(context.Background(), scrapeTimeout)
		defer cancel()
		size, err := store.Head(ctx)
		if err != nil {
			return -1
		}
		return float64(size)
	})
	m.registry.MustRegister(m.requests, m.durations, m.sent, m.running, m.stored, events,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// notify adds what watches and webhooks do. What stands in the database is the same on
// every server; the attempts are those of this one.
func (m *metrics) notify(r *registrar.Registrar, feed *notify.Feed, n *notify.Notifier) {
	m.registry.MustRegister(
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "pedigree_watchers", Help: "Watches that are open on this server.",
		}, func() float64 { return float64(feed.Watchers()) }),
		&webhookCollector{r: r, n: n},
	)
}

// webhookCollector asks the database once a scrape.
type webhookCollector struct {
	r *registrar.Registrar
	n *notify.Notifier
}

var (
	webhooksDesc    = prometheus.NewDesc("pedigree_webhooks", "Webhooks that there are.", nil, nil)
	webhookWait     = prometheus.NewDesc("pedigree_webhook_deliveries", "Deliveries of webhooks that wait (pending) or were given up (dead).", []string{"state"}, nil)
	webhookBehind   = prometheus.NewDesc("pedigree_webhook_behind_events", "Events that the slowest webhook has not looked at yet.", nil, nil)
	webhookLag      = prometheus.NewDesc("pedigree_webhook_lag_seconds", "Age of the oldest event that waits to be delivered; 0 while none does.", nil, nil)
	webhookAttempts = prometheus.NewDesc("pedigree_webhook_attempts_total", "Attempts of this server to deliver, by outcome; dead ones are those after which a delivery was given up.", []string{"outcome"}, nil)
)

// Describe implements [prometheus.Collector].
func (c *webhookCollector) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{webhooksDesc, webhookWait, webhookBehind, webhookLag, webhookAttempts} {
		out <- d
	}
}

// Collect implements [prometheus.Collector]. While the database does not answer, only what
// this server itself knows is there.
func (c *webhookCollector) Collect(out chan<- prometheus.Metric) {
	counts := c.n.Counts()
	for outcome, n := range map[string]int64{"delivered": counts.Delivered, "failed": counts.Failed - counts.Dead, "dead": counts.Dead} {
		out <- prometheus.MustNewConstMetric(webhookAttempts, prometheus.CounterValue, float64(n), outcome)
	}
	ctx, cancel := context.WithTimeout(context.Background(), scrapeTimeout)
	defer cancel()
	t, err := c.r.DeliveryTotals(ctx)
	if err != nil {
		return
	}
	lag := 0.0
	if t.Oldest != nil {
		lag = max(time.Since(*t.Oldest).Seconds(), 0)
	}
	out <- prometheus.MustNewConstMetric(webhooksDesc, prometheus.GaugeValue, float64(t.Webhooks))
	out <- prometheus.MustNewConstMetric(webhookWait, prometheus.GaugeValue, float64(t.Pending), "pending")
	out <- prometheus.MustNewConstMetric(webhookWait, prometheus.GaugeValue, float64(t.Dead), "dead")
	out <- prometheus.MustNewConstMetric(webhookBehind, prometheus.GaugeValue, float64(t.Behind))
	out <- prometheus.MustNewConstMetric(webhookLag, prometheus.GaugeValue, lag)
}

// handler serves the figures of the process to everybody, and those of targets to whom may
// see them. A caller whose token means nothing hears so, instead of missing figures.
func (m *metrics) handler(may func(r *http.Request) error) http.Handler {
	process := promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
	all := promhttp.HandlerFor(prometheus.Gatherers{m.registry, m.targets}, promhttp.HandlerOpts{})
	return httpx.Handler(func(w http.ResponseWriter, r *http.Request) error {
		err := may(r)
		switch {
		case err == nil:
			all.ServeHTTP(w, r)
		case len(r.Header["Authorization"]) > 0 && pedigree.CodeOf(err) == pedigree.CodeUnauthenticated:
			return err
		default: // also while the database does not answer
			process.ServeHTTP(w, r)
		}
		return nil
	})
}

// observe notes one answered request.
func (m *metrics) observe(route, method string, status int, took time.Duration) {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions:
	default:
		method = "other"
	}
	route = routeLabel(route)
	m.requests.WithLabelValues(route, method, strconv.Itoa(status)).Inc()
	m.durations.WithLabelValues(route, method).Observe(took.Seconds())
}

// routeLabel is the pattern of a route without its method, which has a label of its own;
// "none" for what no route matches.
func routeLabel(pattern string) string {
	if _, path, ok := strings.Cut(pattern, " "); ok {
		pattern = path
	}
	switch pattern {
	case "", "/": // refused before the mux, or matched by what answers all the rest
		return "none"
	case "/{$}":
		return "/"
	}
	return pattern
}

// count counts requests under way and the bytes of their answers.
func (m *metrics) count(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := &countedWriter{ResponseWriter: w}
		m.running.Inc()
		defer func() {
			m.running.Dec()
			m.sent.WithLabelValues(routeLabel(r.Pattern)).Add(float64(c.n)) // the mux has set it
		}()
		next.ServeHTTP(c, r)
	})
}

type countedWriter struct {
	http.ResponseWriter
	n int64
}

func (w *countedWriter) Write(p []byte) (int, error) {
	n, err := w.ResponseWriter.Write(p)
	w.n += int64(n)
	return n, err
}

// ReadFrom hands a file on as it is: the system copies it to the connection.
func (w *countedWriter) ReadFrom(r io.Reader) (int64, error) {
	n, err := io.Copy(w.ResponseWriter, r)
	w.n += n
	return n, err
}

// Unwrap is for [http.ResponseController].
func (w *countedWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// meter counts the bytes that are stored. Reading is not wrapped: an open file goes to
// the connection as it is, without passing through the process.
func (m *metrics) meter(s blob.Store) blob.Store { return &meteredBlobs{Store: s, stored: m.stored} }

type meteredBlobs struct {
	blob.Store
	stored prometheus.Counter
}

func (b *meteredBlobs) Put(ctx context.Context, d pedigree.Digest, size int64, r io.Reader) error {
	return b.Store.Put(ctx, d, size, &meteredReader{r: r, n: b.stored})
}

func (b *meteredBlobs) Receive(ctx context.Context, r io.Reader) (pedigree.Digest, int64, error) {
	return b.Store.Receive(ctx, &meteredReader{r: r, n: b.stored})
}

type meteredReader struct {
	r io.Reader
	n prometheus.Counter
}

func (r *meteredReader) Read(p []byte) (int, error) {
	n, err := r.r.Read(p)
	r.n.Add(float64(n))
	return n, err
}
