package link

import (
	"encoding/xml"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// fakeS3 answers HEAD, GET and ListObjectsV2 for one bucket, as far as this package
// asks: what a real server does is in bucket_test.go, and this is for what a real one
// can't be made to do.
type fakeS3 struct {
	*httptest.Server
	bucket  string
	region  string // another one is refused with the right one named
	key     string // the access key that is let in; "" lets everybody in
	page    int    // keys of a page of a listing
	objects map[string]fakeObject
	// fail, when it returns a status, is the answer.
	fail     func(req *http.Request) int
	requests atomic.Int32
	lists    atomic.Int32
}

type fakeObject struct {
	data   []byte
	header []string // further headers, name and value by turns
	// cut breaks the connection of the first GET after so many bytes.
	cut int
}

func newFakeS3(t *testing.T, objects map[string]fakeObject) *fakeS3 {
	t.Helper()
	f := &fakeS3{bucket: "models", region: "us-east-1", key: "id", page: 1000, objects: objects}
	f.Server = httptest.NewServer(f)
	t.Cleanup(f.Close)
	return f
}

// env is an environment that reaches the fake with its key.
func (f *fakeS3) env() environ {
	return environ{"AWS_ENDPOINT_URL": f.URL, "AWS_ACCESS_KEY_ID": f.key, "AWS_SECRET_ACCESS_KEY": "secret"}
}

// ServeHTTP implements [http.Handler].
func (f *fakeS3) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	f.requests.Add(1)
	auth := req.Header.Get("Authorization")
	bucket, key, _ := strings.Cut(strings.TrimPrefix(req.URL.Path, "/"), "/")
	switch {
	case f.fail != nil && f.fail(req) != 0:
		refuseS3(w, req, f.fail(req), "SomeCode")
	case f.key != "" && !strings.Contains(auth, "Credential="+f.key+"/"):
		refuseS3(w, req, http.StatusForbidden, "AccessDenied")
	case auth != "" && !strings.Contains(auth, "/"+f.region+"/s3/"):
		w.Header().Set("X-Amz-Bucket-Region", f.region)
		refuseS3(w, req, http.StatusBadRequest, "AuthorizationHeaderMalformed")
	case bucket != f.bucket:
		refuseS3(w, req, http.StatusNotFound, "NoSuchBucket")
	case key == "":
		f.list(w, req)
	default:
		f.object(w, req, key)
	}
}

func refuseS3(w http.ResponseWriter, req *http.Request, status int, code string) {
	w.WriteHeader(status)
	if req.Method != http.MethodHead {
		_, _ = w.Write([]byte("<Error><Code>" + code + "</Code><Message>no &#7; " + code + "</Message></Error>"))
	}
}

func (f *fakeS3) object(w http.ResponseWriter, req *http.Request, key string) {
	o, ok := f.objects[key]
	if !ok {
		refuseS3(w, req, http.StatusNotFound, "NoSuchKey")
		return
	}
	for i := 0; i < len(o.header); i += 2 {
		if checksum := strings.HasPrefix(o.header[i], "X-Amz-Checksum"); !checksum || req.Header.Get("X-Amz-Checksum-Mode") == "ENABLED" {
			w.Header().Set(o.header[i], o.header[i+1])
		}
	}
	w.Header().Set("ETag", `"`+etagOf(o)+`"`)
	if o.cut > 0 && req.Method == http.MethodGet && req.Header.Get("Range") == "" {
		w.Header().Set("Content-Length", strconv.Itoa(len(o.data)))
		w.Header().Set("Last-Modified", time.Unix(1, 0).UTC().Format(http.TimeFormat))
		_, _ = w.Write(o.data[:o.cut])
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}
	http.ServeContent(w, req, "", time.Unix(1, 0), strings.NewReader(string(o.data)))
}

func etagOf(o fakeObject) string { return "tag-" + strconv.Itoa(len(o.data)) }

func (f *fakeS3) list(w http.ResponseWriter, req *http.Request) {
	f.lists.Add(1)
	type content struct {
		Key, ETag, LastModified string
		Size                    int
	}
	var result struct {
		XMLName               xml.Name `xml:"ListBucketResult"`
		Name                  string
		IsTruncated           bool
		NextContinuationToken string
		Contents              []content
	}
	var keys []string
	for k := range f.objects {
		if strings.HasPrefix(k, req.FormValue("prefix")) && k > req.FormValue("continuation-token") {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	if len(keys) > f.page {
		keys = keys[:f.page]
		result.IsTruncated, result.NextContinuationToken = true, keys[f.page-1]
	}
	for _, k := range keys {
		result.Contents = append(result.Contents, content{k, `"` + etagOf(f.objects[k]) + `"`, "2026-01-02T03:04:05.000Z", len(f.objects[k].data)})
	}
	_ = xml.NewEncoder(w).Encode(result)
}
