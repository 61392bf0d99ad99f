package httpapi_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/pedigree-ml/pedigree"
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

// BenchmarkResolveHandler is the same without the network: what our own code costs, without
// accounts and with a token.
func BenchmarkResolveHandler(b *testing.B) {
	for _, mode := range []string{"open", "accounts"} {
		b.Run(mode, func(b *testing.B) {
			r := newRegistry(b)
			must(r.Register(b.Context(), "fraud", linked("s3://m/1")))(b)
			must(r.SetAlias(b.Context(), ref(b, "fraud/1"), "production", nil, ""))(b)
			req := httptest.NewRequest(http.MethodGet, "http://localhost"+base+"/fraud/versions/@production/resolve", nil)
			if mode == "accounts" {
				token := must(r.registrar.EnableAccounts(b.Context(), pedigree.Operator, pedigree.NewAccount{Name: "root"}))(b)
				req.Header.Set("Authorization", "Bearer "+token.Text)
			}
			b.ReportAllocs()
			for b.Loop() {
				w := httptest.NewRecorder()
				r.handler.ServeHTTP(w, req)
				if w.Code != http.StatusOK {
					b.Fatal(w.Body)
				}
			}
		})
	}
}
