package httpapi_test

import (
	"bytes"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/internal/httpapi"
)

func testPredictionSchema(t *testing.T, r *registry) {
	schema := must(r.PredictionSchema(t.Context()))(t)
	if !bytes.Equal(bytes.TrimSpace(schema), bytes.TrimSpace(pedigree.PredictionSchema())) {
		t.Errorf("got another schema than the program's: %s", schema)
	}
}

// TestPredictionSchemaIsPublic asks as nobody, and again with what was kept.
func TestPredictionSchemaIsPublic(t *testing.T) {
	a := httpapi.New(nil, httpapi.Options{
		Now:    time.Now,
		Caller: func(*http.Request) (pedigree.Principal, error) { return pedigree.Principal{}, errors.New("nobody") },
	})
	get := func(tag string) *http.Response {
		req := httptest.NewRequest(http.MethodGet, "/api/v1/schemas/prediction/v1", nil)
		req.Header.Set("If-None-Match", tag)
		w := httptest.NewRecorder()
		a.Handler().ServeHTTP(w, req)
		return w.Result()
	}
	first := get("")
	tag := first.Header.Get("Etag")
	if first.StatusCode != http.StatusOK || first.Header.Get("Content-Type") != "application/schema+json" || tag == "" || first.Header.Get("Cache-Control") == "" {
		t.Errorf("got %s with %v", first.Status, first.Header)
	}
	if again := get(tag); again.StatusCode != http.StatusNotModified {
		t.Errorf("asked again with %s: got %s", tag, again.Status)
	}
}
