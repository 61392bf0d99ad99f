package link

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pedigree-ml/pedigree"
)

func mustServe(t *testing.T, h http.HandlerFunc) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s
}

// serveBytes answers as a plain file server does.
func serveBytes(b []byte, header ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, req *http.Request) {
		for i := 0; i < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		if w.Header().Get("Content-Type") == "" {
			w.Header().Set("Content-Type", "application/octet-stream")
		}
		http.ServeContent(w, req, "", time.Time{}, strings.NewReader(string(b)))
	}
}

func status(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
}

func TestWeb(t *testing.T) {
	b := content(600_000)
	size, digest := int64(len(b)), pedigree.DigestBytes(b)
	repr, wrong := "sha-256=:"+base64Sum(b)+":", "sha-256=:"+base64Sum(nil)+":"
	onlyGet := func(next http.HandlerFunc, code int) http.HandlerFunc {
		return func(w http.ResponseWriter, req *http.Request) {
			if req.Method != http.MethodGet {
				w.WriteHeader(code)
				return
			}
			next(w, req)
		}
	}
	chunked := func(w http.ResponseWriter, _ *http.Request) {
		w.(http.Flusher).Flush()
		_, _ = w.Write(b)
	}
	hash := Options{Digest: true}
	tests := []struct {
		name    string
		handler http.HandlerFunc
		o       Options
		size    int64
		digest  pedigree.Digest
		note    string
	}{
		{"size only", serveBytes(b), Options{}, size, "", "no digest: the server states no sha256"},
		{"hashed", serveBytes(b), hash, size, digest, ""},
		{"Repr-Digest", serveBytes(b, "Repr-Digest", "sha-512=:AAAA:, "+repr), Options{}, size, digest, ""},
		{"Repr-Digest, hashed", serveBytes(b, "Repr-Digest", repr), hash, size, digest, ""},
		{"Digest", serveBytes(b, "Digest", "md5=AAAA,SHA-256="+base64Sum(b)), Options{}, size, digest, ""},
		{"Content-Digest is of the message", serveBytes(b, "Content-Digest", wrong), Options{}, size, "", "states no sha256"},
		{"ETag is no digest", serveBytes(b, "ETag", `"`+digest.Hex()+`"`), Options{}, size, "", "states no sha256"},
		{"broken digest", serveBytes(b, "Repr-Digest", "sha-256=:AAAA:"), Options{}, size, "", "states no sha256"},
		{"HEAD not allowed", onlyGet(serveBytes(b), 405), Options{}, size, "", "states no sha256"},
		{"HEAD forbidden, as with a signed URL", onlyGet(serveBytes(b), 403), hash, size, digest, ""},
		{"HEAD not implemented", onlyGet(serveBytes(b), 501), hash, size, digest, ""},
		{"HEAD says 0", onlyGet(serveBytes(b), 200), hash, size, digest, ""},
		{"no ranges", onlyGet(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", strconv.Itoa(len(b)))
			_, _ = w.Write(b)
		}, 405), Options{}, size, "", "states no sha256"},
		{"empty", serveBytes(nil), hash, 0, pedigree.DigestBytes(nil), ""},
		{"size unknown", chunked, Options{}, -1, "", "no size: the server does not say it"},
		{"size unknown, hashed", chunked, hash, size, digest, ""},
		{"over the limit", serveBytes(b), Options{Digest: true, MaxBytes: size - 1}, size, "", "not hashed"},
		{"over the limit, stated", serveBytes(b, "Repr-Digest", repr), Options{Digest: true, MaxBytes: 1}, size, digest, "not hashed"},
		{"at the limit", serveBytes(b), Options{Digest: true, MaxBytes: size}, size, digest, ""},
		{"size unknown, over the limit", chunked, Options{Digest: true, MaxBytes: size - 1}, -1, "", "not hashed: it has more than"},
		{"web page", serveBytes(b, "Content-Type", "text/html; charset=utf-8"), hash, size, digest, "the server sends a web page"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := mustServe(t, tt.handler)
			got := mustRead(t, s.URL+"/m.bin?v=1#frag", tt.o)
			checkInfo(t, got, tt.size, tt.digest, 0, tt.note)
			if want := s.URL + "/m.bin?v=1#frag"; string(got.URI) != want {
				t.Errorf("URI %q, want %q", got.URI, want)
			}
		})
	}
	err := mustFail(t, mustServe(t, serveBytes(b, "Repr-Digest", wrong)).URL, hash, pedigree.CodeCorrupt)
	if !strings.Contains(err.Error(), string(digest)) {
		t.Errorf("error %q does not name the digest", err)
	}
}

// TestWebEncoding makes sure that what is hashed are the bytes as they are stored.
func TestWebEncoding(t *testing.T) {
	b := content(1000) // says that it is compressed; nothing must unpack it
	s := mustServe(t, func(w http.ResponseWriter, req *http.Request) {
		if got := req.Header.Get("Accept-Encoding"); got != "identity" {
			t.Errorf("Accept-Encoding %q", got)
		}
		serveBytes(b, "Content-Encoding", "gzip", "Content-Length", "1000")(w, req)
	})
	checkInfo(t, mustRead(t, s.URL, Options{Digest: true}), 1000, pedigree.DigestBytes(b), 0, "")
}

func TestWebErrors(t *testing.T) {
	tests := []struct {
		name    string
		handler http.HandlerFunc
		want    pedigree.ErrorCode
	}{
		{"not found", status(404), pedigree.CodeNotFound},
		{"gone", status(410), pedigree.CodeNotFound},
		{"unauthorized", status(401), pedigree.CodeForbidden},
		{"forbidden", status(403), pedigree.CodeForbidden},
		{"bad request", status(400), pedigree.CodeInvalid},
		{"teapot", status(418), pedigree.CodeInvalid},
		{"overloaded", status(503), pedigree.CodeUnavailable},
		{"slow down", status(429), pedigree.CodeUnavailable},
		{"not implemented", status(501), pedigree.CodeUnavailable},
		{"redirect loop", func(w http.ResponseWriter, req *http.Request) { http.Redirect(w, req, "/", http.StatusFound) }, pedigree.CodeInvalid},
		{"connection dropped", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, pedigree.CodeUnavailable},
		{"another part", func(w http.ResponseWriter, req *http.Request) {
			if req.Method == http.MethodHead {
				w.Header().Set("Content-Length", "10")
				return
			}
			w.Header().Set("Content-Range", "bytes 5-9/10")
			w.WriteHeader(http.StatusPartialContent)
		}, pedigree.CodeUnavailable},
		{"another size", func(w http.ResponseWriter, req *http.Request) {
			if req.Method == http.MethodHead {
				w.Header().Set("Content-Length", "10")
				return
			}
			_, _ = w.Write([]byte("shorter"))
		}, pedigree.CodeConflict},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			mustFail(t, mustServe(t, tt.handler).URL, Options{Digest: true}, tt.want)
		})
	}
	closed := httptest.NewServer(status(200))
	closed.Close()
	mustFail(t, closed.URL, Options{}, pedigree.CodeUnavailable)
}

func TestWebRetry(t *testing.T) {
	b := content(100)
	for _, failures := range []int32{1, 2} {
		var calls atomic.Int32
		s := mustServe(t, func(w http.ResponseWriter, req *http.Request) {
			if calls.Add(1) <= failures {
				w.WriteHeader(http.StatusServiceUnavailable)
				return
			}
			serveBytes(b)(w, req)
		})
		if failures == 1 {
			checkInfo(t, mustRead(t, s.URL, Options{}), 100, "", 0, "no digest")
		} else {
			mustFail(t, s.URL, Options{}, pedigree.CodeUnavailable)
		}
		if calls.Load() != 2 {
			t.Errorf("%d requests, want 2", calls.Load())
		}
	}
}

func TestWebRedirects(t *testing.T) {
	b := content(100)
	s := mustServe(t, func(w http.ResponseWriter, req *http.Request) {
		n, _ := strconv.Atoi(strings.TrimPrefix(req.URL.Path, "/"))
		if n > 0 {
			http.Redirect(w, req, fmt.Sprintf("/%d", n-1), http.StatusFound)
			return
		}
		serveBytes(b)(w, req)
	})
	got := mustRead(t, s.URL+"/5", Options{Digest: true})
	checkInfo(t, got, 100, pedigree.DigestBytes(b), 0, "")
	if string(got.URI) != s.URL+"/5" {
		t.Errorf("URI %q is not that of the link", got.URI)
	}
	mustFail(t, s.URL+"/6", Options{}, pedigree.CodeInvalid)
}

// TestWebCredentials makes sure that the credentials go to the server that they are
// for, and nowhere else.
func TestWebCredentials(t *testing.T) {
	b := content(100)
	store := mustServe(t, func(w http.ResponseWriter, req *http.Request) {
		if req.Header.Get("Authorization") != "" || req.Header.Get("Referer") != "" {
			t.Errorf("the other server got %q", req.Header)
		}
		serveBytes(b)(w, req)
	})
	front := mustServe(t, func(w http.ResponseWriter, req *http.Request) {
		if user, password, _ := req.BasicAuth(); user != "ann" || password != "p@ss/word" || req.FormValue("token") != "hunter2" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		if req.URL.Path == "/here" {
			http.Redirect(w, req, "/there?token=hunter2", http.StatusFound)
			return
		}
		http.Redirect(w, req, store.URL, http.StatusTemporaryRedirect)
	})
	host := strings.TrimPrefix(front.URL, "http://")
	got := mustRead(t, "http://ann:"+url.QueryEscape("p@ss/word")+"@"+host+"/here?token=hunter2", Options{Digest: true})
	checkInfo(t, got, 100, pedigree.DigestBytes(b), 0, "")
	if want := front.URL + "/here"; string(got.URI) != want {
		t.Errorf("URI %q, want %q", got.URI, want)
	}
	err := mustFail(t, "http://ann:hunter3@"+host+"/here?token=hunter2", Options{}, pedigree.CodeForbidden)
	if strings.Contains(err.Error(), "hunter") {
		t.Errorf("error %q shows credentials", err)
	}
}

// TestWebInterrupted breaks the connection in the middle: the second request goes on
// where the object has a strong tag, and begins anew where it has none or changed.
func TestWebInterrupted(t *testing.T) {
	b := content(2_000_000)
	for _, tt := range []struct {
		name       string
		tag1, tag2 string
		breaks     int32
		want       pedigree.ErrorCode
	}{
		{"goes on", `"a"`, `"a"`, 1, ""},
		{"no tag", "", "", 1, ""},
		{"weak tag", `W/"a"`, `W/"a"`, 1, ""},
		{"changed", `"a"`, `"b"`, 1, ""},
		{"breaks again", `"a"`, `"a"`, 2, pedigree.CodeUnavailable},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var gets atomic.Int32
			var ranged atomic.Bool
			s := mustServe(t, func(w http.ResponseWriter, req *http.Request) {
				tag := tt.tag1
				if req.Method == http.MethodGet && gets.Add(1) > 1 {
					tag = tt.tag2
				}
				if tag != "" {
					w.Header().Set("ETag", tag)
				}
				if req.Header.Get("Range") != "" {
					ranged.Store(true)
				}
				if n := gets.Load(); n == 0 || n > tt.breaks {
					serveBytes(b)(w, req)
					return
				}
				w.Header().Set("Content-Length", strconv.Itoa(len(b)))
				_, _ = w.Write(b[:1_000_000])
				panic(http.ErrAbortHandler)
			})
			var last int64
			o := Options{Digest: true, Progress: func(done, _ int64) { last = done }}
			if tt.want != "" {
				mustFail(t, s.URL, o, tt.want)
				return
			}
			checkInfo(t, mustRead(t, s.URL, o), int64(len(b)), pedigree.DigestBytes(b), 0, "")
			if last != int64(len(b)) {
				t.Errorf("progress ended at %d, want %d", last, len(b))
			}
			if gets.Load() != 2 {
				t.Errorf("%d requests for the bytes, want 2", gets.Load())
			}
			if wantRange := strings.HasPrefix(tt.tag1, `"`); ranged.Load() != wantRange {
				t.Errorf("asked for a part: %v, want %v", ranged.Load(), wantRange)
			}
		})
	}
}

// TestWebSilent reads from a server that stops in the middle, or never begins.
func TestWebSilent(t *testing.T) {
	done := make(chan struct{})
	s := mustServe(t, func(w http.ResponseWriter, req *http.Request) {
		w.Header().Set("Content-Length", "10")
		if req.Method == http.MethodHead && req.URL.Path != "/never" {
			return
		}
		if req.URL.Path == "/never" {
			<-done
			return
		}
		_, _ = w.Write([]byte("12345"))
		w.(http.Flusher).Flush()
		<-done
	})
	defer close(done) // before the server is closed
	for _, p := range []string{"/middle", "/never"} {
		r := quick(s.URL+p, Options{Digest: true})
		r.patience = 50 * time.Millisecond
		_, err := r.read(t.Context())
		if pedigree.CodeOf(err) != pedigree.CodeUnavailable || !strings.Contains(err.Error(), errSilent.Error()) {
			t.Errorf("%s: got %v, want %q", p, err, errSilent)
		}
	}
}

func TestStatedDigest(t *testing.T) {
	sum := base64Sum([]byte("x"))
	want := pedigree.DigestBytes([]byte("x"))
	tests := []struct {
		name  string
		lines []string
		want  pedigree.Digest
	}{
		{"Repr-Digest", []string{"sha-256=:" + sum + ":"}, want},
		{"Repr-Digest", []string{"md5=:AAAA:", "SHA-256=:" + sum + ":;q=1"}, want},
		{"Repr-Digest", []string{"sha-512=:" + sum + ":"}, ""},
		{"Repr-Digest", []string{"sha-256", "=", ",,", "sha-256=:%:"}, ""},
		{"Digest", []string{"sha-256=" + sum}, want},
		{"Digest", []string{"id-sha-256=" + sum}, ""},
	}
	for _, tt := range tests {
		if got := statedDigest(http.Header{tt.name: tt.lines}); got != tt.want {
			t.Errorf("%s %q: %q, want %q", tt.name, tt.lines, got, tt.want)
		}
	}
}
