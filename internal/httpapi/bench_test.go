package httpapi_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
)

// BenchmarkResolve asks what an alias names, over loopback and by many connections.
func BenchmarkResolve(b *testing.B) {
	r := newRegistry(b)
	must(r.Register(b.Context(), "fraud", linked("s3://m/1")))(b)
	must(r.SetAlias(b.Context(), ref(b, "fraud/1"), "production", nil, ""))(b)
	transport := &http.Transport{MaxIdleConnsPerHost: 64}
	b.Cleanup(transport.CloseIdleConnections)
	b.SetParallelism(8)
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			req, err := http.NewRequest(http.MethodGet, r.url+base+"/fraud/versions/@production/resolve", nil)
			if err != nil {
				b.Fatal(err)
			}
			resp, err := transport.RoundTrip(req)
			if err != nil {
				b.Fatal(err)
			}
			_, _ = io.Copy(io.Discard, resp.Body)
			_ = resp.Body.Close()
		}
	})
}

// BenchmarkResolveHandler is the same without the network: what our own code costs.
func BenchmarkResolveHandler(b *testing.B) {
	r := newRegistry(b)
	must(r.Register(b.Context(), "fraud", linked("s3://m/1")))(b)
	must(r.SetAlias(b.Context(), ref(b, "fraud/1"), "production", nil, ""))(b)
	req := httptest.NewRequest(http.MethodGet, "http://localhost"+base+"/fraud/versions/@production/resolve", nil)
	b.ReportAllocs()
	for b.Loop() {
		w := httptest.NewRecorder()
		r.handler.ServeHTTP(w, req)
		if w.Code != http.StatusOK {
			b.Fatal(w.Body)
		}
	}
}
