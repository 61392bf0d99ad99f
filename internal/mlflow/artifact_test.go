package mlflow_test

import (
	"encoding/json"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/internal/registrar"
)

var me = pedigree.Local

const artifactRoot = "/api/2.0/mlflow-artifacts/artifacts"

func TestArtifacts(t *testing.T) {
	eachTracker(t, func(t *testing.T, k *tracker) {
		put := func(path, body string, want int) {
			t.Helper()
			if status, text, _ := k.do("PUT", artifactRoot+path, body); status != want {
				t.Errorf("PUT %s: got %d %s, want %d", path, status, text, want)
			}
		}
		list := func(path string) string {
			t.Helper()
			status, text, _ := k.do("GET", artifactRoot+"?path="+path, nil)
			if status != 200 {
				t.Fatalf("list %s: %d %s", path, status, text)
			}
			return strings.TrimSpace(text)
		}
		put("/z/a/b.txt", "hello", 200)
		put("/z/a/b.txt", "hello2", 200)
		put("/z/a/c.json", `{"x":1}`, 200)
		put("/z/a/empty", "", 200)
		put("/z/a/sub/d.txt", "d", 200)
		put("/z/a/sub/e.txt", "e", 200)
		put("/z/a.txt", "beside", 200)
		put("/z/%C3%A9%20%25.txt", "é", 200)
		put("/z/a%20b/c%20d.txt", "sp", 200)
		put("/z/..hidden", "x", 200)
		put("/z/a/b.txt/under", "x", 400)
		put("/z/a", "x", 400)
		for _, path := range []string{"/../x", "/%2e%2e/x", "/z/../../x", "/z/..%2f..%2fx", "/%252e%252e/x", "//etc/passwd", "/%2Fetc/passwd", "/C:/x", "/z/./y", "/z/a%00b", "/z/a%0Ab", "/z/%5c..%5cx", "/z/", "/versions/x/1/y"} {
			put(path, "x", 400)
		}
		if got, want := list("z/a"), `{"files":[{"path":"b.txt","is_dir":false,"file_size":6},{"path":"c.json","is_dir":false,"file_size":7},{"path":"empty","is_dir":false,"file_size":0},{"path":"sub","is_dir":true}]}`; got != want {
			t.Errorf("list: got %s, want %s", got, want)
		}
		if got, want := list(""), `{"files":[{"path":"z","is_dir":true}]}`; got != want {
			t.Errorf("root: got %s, want %s", got, want)
		}
		for _, path := range []string{"z/a/b.txt", "zz/yy", "z/a/su"} {
			if got := list(path); got != "{}" {
				t.Errorf("list %s: got %s", path, got)
			}
		}
		status, text, h := k.do("GET", artifactRoot+"/z/a/b.txt", nil)
		if status != 200 || text != "hello2" || h.Get("Content-Type") != "text/plain" || h.Get("Content-Length") != "6" || h.Get("Accept-Ranges") != "bytes" ||
			h.Get("Content-Disposition") != `attachment; filename="b.txt"` || h.Get("Etag") == "" || h.Get("Last-Modified") == "" {
			t.Errorf("got %d %q %v", status, text, h)
		}
		if status, text, h := k.do("GET", artifactRoot+"/z/%C3%A9%20%25.txt", nil); status != 200 || text != "é" || h.Get("Content-Disposition") != `attachment; filename="_ %.txt"; filename*=UTF-8''%C3%A9%20%25.txt` {
			t.Errorf("got %d %q %v", status, text, h.Get("Content-Disposition"))
		}
		req, _ := http.NewRequestWithContext(t.Context(), "GET", k.url+artifactRoot+"/z/a/b.txt", nil)
		req.Header.Set("Range", "bytes=1-3")
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if res.StatusCode != http.StatusPartialContent {
			t.Errorf("range: %d", res.StatusCode)
		}
		for path, want := range map[string]int{"/z/nope": 404, "/z/a": 400, "/z/a/": 400, "/": 400, "/z/../x": 400} {
			status, text, _ := k.do("GET", artifactRoot+path, nil)
			var e map[string]string
			if status != want || json.Unmarshal([]byte(text), &e) != nil || e["error_code"] == "" {
				t.Errorf("GET %s: got %d %s, want %d", path, status, text, want)
			}
		}
		for _, path := range []string{"/z/a/sub", "/z/a/sub", "/z/a/c.json", "/zz/q"} {
			if status, text, _ := k.do("DELETE", artifactRoot+path, nil); status != 200 {
				t.Errorf("DELETE %s: %d %s", path, status, text)
			}
		}
		for _, path := range []string{"/.", "/..", "/"} {
			if status, _, _ := k.do("DELETE", artifactRoot+path, nil); status != 400 {
				t.Errorf("DELETE %s: %d", path, status)
			}
		}
		if got, want := list("z/a/"), `{"files":[{"path":"b.txt","is_dir":false,"file_size":6},{"path":"empty","is_dir":false,"file_size":0}]}`; got != want {
			t.Errorf("list: got %s, want %s", got, want)
		}
		if status, _, _ := k.do("POST", "/api/2.0/mlflow-artifacts/mpu/create/z/big", object{"path": "big", "num_parts": 2}); status != http.StatusNotImplemented {
			t.Errorf("multipart: %d", status)
		}
	})
}

func TestRunArtifacts(t *testing.T) {
	eachTracker(t, func(t *testing.T, k *tracker) {
		run := k.run("0", "r")
		model := k.post("logged-models", object{"experiment_id": "0", "name": "m", "source_run_id": run}).text("model.info.model_id")
		for path, body := range map[string]string{
			"/0/" + run + "/artifacts/d/x.html":         "<b>x</b>",
			"/0/" + run + "/artifacts/top":              "top",
			"/0/models/" + model + "/artifacts/MLmodel": "flavors: {}",
			"/0/models/" + model + "/artifacts/a/b.bin": "bin",
		} {
			if status, text, _ := k.do("PUT", artifactRoot+path, body); status != 200 {
				t.Fatalf("PUT %s: %d %s", path, status, text)
			}
		}
		if status, text, _ := k.do("POST", "/ajax-api/2.0/mlflow/upload-artifact?run_uuid="+run+"&path=up/x.txt", "up"); status != 200 || text != "" {
			t.Errorf("upload: %d %s", status, text)
		}
		got := k.get("artifacts/list", "run_id", run)
		if got.text("root_uri") != "mlflow-artifacts:/0/"+run+"/artifacts" || got.len("files") != 3 {
			t.Errorf("list %v", got)
		}
		if got := k.get("artifacts/list", "run_id", run, "path", "d"); got.text("files.0.path") != "d/x.html" || got.text("files.0.file_size") != "8" {
			t.Errorf("list d: %v", got)
		}
		k.refused("GET", "artifacts/list?run_id="+run+"&path=../", nil, 400, "INVALID_PARAMETER_VALUE", "Invalid path")
		if got := k.get("logged-models/" + model + "/artifacts/directories"); got.len("files") != 2 {
			t.Errorf("list of a model: %v", got)
		}
		for path, want := range map[string]string{
			"/get-artifact?run_id=" + run + "&path=d/x.html":                                              "<b>x</b>",
			"/get-artifact?run_uuid=" + run + "&path=up/x.txt":                                            "up",
			"/ajax-api/2.0/mlflow/logged-models/" + model + "/artifacts/files?artifact_file_path=MLmodel": "flavors: {}",
		} {
			if status, text, _ := k.do("GET", path, nil); status != 200 || text != want {
				t.Errorf("GET %s: %d %s", path, status, text)
			}
		}
		for path, want := range map[string]int{
			"/get-artifact?run_id=zz&path=nope": 404, "/get-artifact?run_id=" + run + "&path=nope": 404,
			"/get-artifact?run_id=" + run: 400, "/get-artifact?run_id=" + run + "&path=../x": 400,
		} {
			if status, text, _ := k.do("GET", path, nil); status != want {
				t.Errorf("GET %s: %d %s, want %d", path, status, text, want)
			}
		}
		for uri, want := range map[string]int{
			"runs:/" + run + "/d": 1, "runs:/" + run: 3, "runs:/" + run + "/m": 2, "runs:/" + run + "/m/a": 1, "runs:/" + run + "/top": 1, "runs:/" + run + "/nope": 0,
			"models:/" + model: 2, "models:/" + model + "/a": 1, "mlflow-artifacts:/0/" + run + "/artifacts/d": 1, "mlflow-artifacts://host:5000/0/" + run + "/artifacts/d/": 1,
		} {
			files, err := k.registrar.FilesUnder(t.Context(), me, pedigree.DefaultProject, uri)
			if err != nil || len(files) != want {
				t.Errorf("FilesUnder %s: %d files, %v, want %d", uri, len(files), err, want)
			}
		}
		for uri, want := range map[string]pedigree.ErrorCode{
			"s3://bucket/x": pedigree.CodeUnsupported, "runs:/nope/x": pedigree.CodeNotFound, "models:/m-nope": pedigree.CodeNotFound, "mlflow-artifacts:/../x": pedigree.CodeInvalid,
		} {
			if _, err := k.registrar.FilesUnder(t.Context(), me, pedigree.DefaultProject, uri); pedigree.CodeOf(err) != want {
				t.Errorf("FilesUnder %s: got %v, want %s", uri, err, want)
			}
		}
	})
}

// TestVersionFiles: a version that was registered from the files of a run keeps them,
// whatever happens to the run.
func TestVersionFiles(t *testing.T) {
	k := newTracker(t, filepath.Join(t.TempDir(), "pedigree.db"))
	run := k.run("0", "r")
	root := "/0/" + run + "/artifacts/m"
	for path, body := range map[string]string{"/MLmodel": "one", "/data/w.bin": "weights"} {
		if status, text, _ := k.do("PUT", artifactRoot+root+path, body); status != 200 {
			t.Fatalf("%d %s", status, text)
		}
	}
	files, err := k.registrar.FilesUnder(t.Context(), me, pedigree.DefaultProject, "runs:/"+run+"/m")
	if err != nil {
		t.Fatal(err)
	}
	a, err := pedigree.StoredArtifact(files)
	if err != nil {
		t.Fatal(err)
	}
	v, err := k.registrar.Register(t.Context(), me, pedigree.DefaultProject, "fraud", pedigree.Registration{CreateModel: true, Record: pedigree.Record{Artifact: a}})
	if err != nil {
		t.Fatal(err)
	}
	if status, _, _ := k.do("PUT", artifactRoot+root+"/MLmodel", "two"); status != 200 {
		t.Fatal(status)
	}
	if status, _, _ := k.do("DELETE", artifactRoot+root+"/data", nil); status != 200 {
		t.Fatal(status)
	}
	uri, ok := registrar.TrackedPath(registrar.VersionURI(v.ModelID, v.Number))
	if !ok {
		t.Fatal("no path")
	}
	for path, want := range map[string]string{"/MLmodel": "one", "/data/w.bin": "weights"} {
		if status, text, _ := k.do("GET", artifactRoot+"/"+uri+path, nil); status != 200 || text != want {
			t.Errorf("GET %s: %d %s", path, status, text)
		}
	}
	if _, text, _ := k.do("GET", artifactRoot+"?path="+uri, nil); strings.TrimSpace(text) != `{"files":[{"path":"MLmodel","is_dir":false,"file_size":3},{"path":"data","is_dir":true}]}` {
		t.Errorf("list: %s", text)
	}
	if status, text, _ := k.do("GET", "/model-versions/get-artifact?name=fraud&version=1&path=data/w.bin", nil); status != 200 || text != "weights" {
		t.Errorf("%d %s", status, text)
	}
	for path, want := range map[string]int{"/" + uri: 400, "/" + uri + "/nope": 404, "/versions/mdl_x/1/MLmodel": 404, "/versions/" + v.ModelID + "/2/MLmodel": 404, "/versions/" + v.ModelID: 404} {
		if status, text, _ := k.do("GET", artifactRoot+path, nil); status != want {
			t.Errorf("GET %s: %d %s, want %d", path, status, text, want)
		}
	}
	if status, _, _ := k.do("DELETE", artifactRoot+"/"+uri, nil); status != 400 {
		t.Errorf("DELETE: %d", status)
	}
	if files, err := k.registrar.FilesUnder(t.Context(), me, pedigree.DefaultProject, registrar.VersionURI(v.ModelID, 1)); err != nil || len(files) != 2 {
		t.Errorf("files of the version: %v, %v", files, err)
	}
}
