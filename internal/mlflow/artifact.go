package mlflow

import (
	"io"
	"mime"
	"net/http"
	"net/url"
	"path"
	"strings"
	"time"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/internal/blob"
	"github.com/pedigree-ml/pedigree/internal/httpx"
	"github.com/pedigree-ml/pedigree/internal/registrar"
)

// artifactRoutes are the endpoints of files: MLflow's artifact proxy, and what else
// lists and sends them.
func (d *Dialect) artifactRoutes() []Route {
	const later = "Files are sent in one piece; clients fall back to that by themselves."
	none := absentTransfer
	return []Route{
		{Method: get, Pattern: artifacts + "/artifacts", Support: Full, handle: listProxied},
		{Method: get, Pattern: artifacts + "/artifacts/{path...}", Support: Full, Raw: true, handle: getProxied},
		{Method: put, Pattern: artifacts + "/artifacts/{path...}", Support: Full, Raw: true, handle: putProxied},
		{Method: remove, Pattern: artifacts + "/artifacts/{path...}", Support: Full, Raw: true, handle: deleteProxied},
		{Method: post, Pattern: artifacts + "/mpu/create/{path...}", Support: None, Why: later, Raw: true, handle: none},
		{Method: post, Pattern: artifacts + "/mpu/complete/{path...}", Support: None, Why: later, Raw: true, handle: none},
		{Method: post, Pattern: artifacts + "/mpu/abort/{path...}", Support: None, Why: later, Raw: true, handle: none},
		{Method: get, Pattern: artifacts + "/presigned/{path...}", Support: None, Why: later, Raw: true, handle: none},
		{Method: post, Pattern: api + "/artifacts/presigned-upload-url", Support: None, Why: later, Raw: true, handle: none},
		{Method: post, Pattern: api + "/artifacts/presigned-download-url", Support: None, Why: later, Raw: true, handle: none},
		{Method: get, Pattern: api + "/artifacts/list", Support: Full, handle: listArtifacts},
		{Method: get, Pattern: api + "/logged-models/{model}/artifacts/directories", Support: Full, handle: listLoggedModelArtifacts},
		{Method: get, Pattern: api + "/logged-models/{model}/artifacts/files", Support: Full, handle: getLoggedModelFile},
		{Method: post, Pattern: api + "/upload-artifact", Support: Full, Raw: true, handle: uploadArtifact},
		{Method: get, Pattern: "/get-artifact", Support: Full, handle: getRunArtifact},
		{Method: get, Pattern: "/model-versions/get-artifact", Support: Full, handle: getVersionArtifact},
	}
}

func absentTransfer(*call) error {
	return &wireError{http.StatusNotImplemented, "NOT_IMPLEMENTED", "Multipart upload is not supported for the current artifact repository"}
}

// proxied is part of every path of the artifact proxy that names a file.
const proxied = "/mlflow-artifacts/artifacts/"

// guardPath refuses what is not a plain path, before a mux makes one of it: a client
// that asks for ".." must not be sent elsewhere, but told so.
func guardPath(r *http.Request) error {
	escaped := r.URL.EscapedPath()
	i := strings.Index(escaped, proxied)
	if i < 0 {
		return nil
	}
	for range 5 {
		p := escaped[i+len(proxied):]
		for _, part := range strings.Split(p, "/") {
			if part == ".." || part == "." {
				return errInvalidPath
			}
		}
		if strings.HasPrefix(p, "/") || strings.Contains(p, "//") {
			return errInvalidPath
		}
		decoded, err := url.PathUnescape(escaped)
		if err != nil || decoded == escaped {
			return nil
		}
		if escaped, i = decoded, strings.Index(decoded, proxied); i < 0 {
			return nil
		}
	}
	return errInvalidPath
}

var errInvalidPath = &wireError{http.StatusBadRequest, "INVALID_PARAMETER_VALUE", "Invalid path"}

// fileInfo is one file or folder of a list.
type fileInfo struct {
	Path  string `json:"path"`
	IsDir bool   `json:"is_dir"`
	Size  *int64 `json:"file_size,omitempty"`
}

func filesOut(prefix string, entries []registrar.TrackedEntry) []fileInfo {
	var out []fileInfo
	for _, e := range entries {
		f := fileInfo{Path: path.Join(prefix, e.Name), IsDir: e.IsDir}
		if !e.IsDir {
			f.Size = &e.Size
		}
		out = append(out, f)
	}
	return out
}

// folderPath checks the path of a folder, which may end in a slash; "" is the root.
func folderPath(p string) (string, error) {
	p = strings.TrimSuffix(p, "/")
	if p == "" {
		return "", nil
	}
	return p, registrar.CheckTrackedPath(p)
}

func listProxied(c *call) error {
	var in struct {
		Path string `json:"path"`
	}
	if err := c.read(&in); err != nil {
		return err
	}
	if in.Path == "/" {
		return errInvalidPath
	}
	folder, err := folderPath(in.Path)
	if err != nil {
		return err
	}
	entries, err := c.d.registrar.ListFolder(c.ctx(), c.principal, c.project, folder)
	return c.answer(struct {
		Files []fileInfo `json:"files,omitempty"`
	}{filesOut("", entries)}, err)
}

func getProxied(c *call) error { return c.sendFile(c.r.PathValue("path")) }

func putProxied(c *call) error {
	if err := c.d.registrar.PutFile(c.ctx(), c.principal, c.project, c.r.PathValue("path"), httpx.Upload(c.r)); err != nil {
		return err
	}
	return c.answerNothing(nil)
}

func deleteProxied(c *call) error {
	return c.answerNothing(c.d.registrar.DeleteFiles(c.ctx(), c.principal, c.project, c.r.PathValue("path")))
}

// sendFile answers with a file of the artifact tree, or the ranges of it that are asked
// for.
func (c *call) sendFile(p string) error {
	b, f, err := c.d.registrar.OpenTracked(c.ctx(), c.principal, c.project, p)
	if err != nil {
		return err
	}
	return c.sendBlob(b, path.Base(p), f.Digest, f.Time)
}

// sendBlob answers with bytes under a name and closes them; changed is when the name was
// given to them, 0 where it always had them.
func (c *call) sendBlob(b blob.File, name string, digest pedigree.Digest, changed int64) error {
	defer func() { _ = b.Close() }()
	h := c.w.Header()
	h.Set("Pedigree-Digest", string(digest))
	h.Set("Content-Disposition", attachment(name))
	if changed > 0 {
		h.Set("Last-Modified", time.UnixMilli(changed).UTC().Format(http.TimeFormat))
	}
	httpx.ServeContent(c.w, c.r, mediaType(name), `"`+string(digest)+`"`, b)
	return nil
}

// attachment is a Content-Disposition for a file name of any characters.
func attachment(name string) string {
	plain := strings.Map(func(r rune) rune {
		if r < 0x20 || r > 0x7e || r == '"' || r == '\\' {
			return '_'
		}
		return r
	}, name)
	out := `attachment; filename="` + plain + `"`
	if plain != name {
		out += "; filename*=UTF-8''" + strings.ReplaceAll(url.QueryEscape(name), "+", "%20")
	}
	return out
}

// textFiles are the endings that MLflow's servers send as plain text.
var textFiles = map[string]bool{
	".txt": true, ".log": true, ".err": true, ".cfg": true, ".conf": true, ".cnf": true, ".cf": true, ".ini": true, ".properties": true, ".prop": true,
	".hocon": true, ".toml": true, ".yaml": true, ".yml": true, ".xml": true, ".json": true, ".js": true, ".py": true, ".py3": true, ".csv": true,
	".tsv": true, ".md": true, ".rst": true, ".mlmodel": true, ".mlproject": true,
}

func mediaType(name string) string {
	ext := strings.ToLower(path.Ext(name))
	if textFiles[ext] || name == "MLmodel" || name == "MLproject" {
		return "text/plain"
	}
	if t := mime.TypeByExtension(ext); t != "" {
		return t
	}
	return "application/octet-stream"
}

// listed is the answer of a list below a root.
type listed struct {
	Root  string     `json:"root_uri"`
	Files []fileInfo `json:"files,omitempty"`
}

// listBelow lists a folder of an artifact root; paths are relative to the root.
func (c *call) listBelow(root, folder string) error {
	folder, err := folderPath(folder)
	if err != nil {
		return err
	}
	base, ok := registrar.TrackedPath(root)
	if !ok {
		return &wireError{http.StatusBadRequest, "INVALID_PARAMETER_VALUE", "The files of " + clip(root) + " are not kept by this server; list them there."}
	}
	entries, err := c.d.registrar.ListFolder(c.ctx(), c.principal, c.project, path.Join(base, folder))
	return c.answer(listed{root, filesOut(folder, entries)}, err)
}

// sendBelow sends a file of an artifact root.
func (c *call) sendBelow(root, file string) error {
	if file == "" {
		return missing("path")
	}
	if err := registrar.CheckTrackedPath(file); err != nil {
		return err
	}
	base, ok := registrar.TrackedPath(root)
	if !ok {
		return &wireError{http.StatusBadRequest, "INVALID_PARAMETER_VALUE", "The files of " + clip(root) + " are not kept by this server; read them there."}
	}
	return c.sendFile(path.Join(base, file))
}

func listArtifacts(c *call) error {
	var in struct {
		ID   string `json:"run_id"`
		UUID string `json:"run_uuid"`
		Path string `json:"path"`
	}
	if err := c.read(&in); err != nil {
		return err
	}
	id, err := runIDs{in.ID, in.UUID}.get()
	if err != nil {
		return err
	}
	if _, err := folderPath(in.Path); err != nil {
		return err
	}
	run, err := c.d.registrar.Run(c.ctx(), c.principal, c.project, id)
	if err != nil {
		return err
	}
	return c.listBelow(run.ArtifactURI, in.Path)
}

func listLoggedModelArtifacts(c *call) error {
	var in struct {
		Path string `json:"artifact_directory_path"`
	}
	if err := c.read(&in); err != nil {
		return err
	}
	m, err := c.d.registrar.LoggedModel(c.ctx(), c.principal, c.project, c.r.PathValue("model"), false)
	if err != nil {
		return err
	}
	return c.listBelow(m.ArtifactURI, in.Path)
}

func getLoggedModelFile(c *call) error {
	var in struct {
		Path string `json:"artifact_file_path" mlflow:"required"`
	}
	if err := c.read(&in); err != nil {
		return err
	}
	m, err := c.d.registrar.LoggedModel(c.ctx(), c.principal, c.project, c.r.PathValue("model"), false)
	if err != nil {
		return err
	}
	return c.sendBelow(m.ArtifactURI, in.Path)
}

func getRunArtifact(c *call) error {
	var in struct {
		ID   string `json:"run_id"`
		UUID string `json:"run_uuid"`
		Path string `json:"path"`
	}
	if err := c.read(&in); err != nil {
		return err
	}
	id, err := runIDs{in.ID, in.UUID}.get()
	if err != nil {
		return err
	}
	if in.Path != "" {
		if err := registrar.CheckTrackedPath(in.Path); err != nil {
			return err
		}
	}
	run, err := c.d.registrar.Run(c.ctx(), c.principal, c.project, id)
	if err != nil {
		return err
	}
	return c.sendBelow(run.ArtifactURI, in.Path)
}

// maxUpload is the most bytes of a file that the endpoint of MLflow's web pages takes.
const maxUpload = 10 << 20

func uploadArtifact(c *call) error {
	query := c.r.URL.Query()
	id, file := query.Get("run_uuid"), query.Get("path")
	switch {
	case id == "":
		return invalid("Request must specify run_uuid.")
	case file == "":
		return invalid("Request must specify path.")
	case c.r.ContentLength > maxUpload:
		return invalid("Artifact size is too large. Max size is %d bytes.", maxUpload)
	}
	if err := registrar.CheckTrackedPath(file); err != nil {
		return err
	}
	run, err := c.d.registrar.Run(c.ctx(), c.principal, c.project, id)
	if err != nil {
		return err
	}
	base, ok := registrar.TrackedPath(run.ArtifactURI)
	if !ok {
		return invalid("The files of %s are not kept by this server.", clip(run.ArtifactURI))
	}
	c.r.Body = http.MaxBytesReader(c.w, c.r.Body, maxUpload)
	if err := c.d.registrar.PutFile(c.ctx(), c.principal, c.project, path.Join(base, file), httpx.Upload(c.r)); err != nil {
		return err
	}
	c.w.Header().Set("Content-Type", "application/json")
	_, err = io.WriteString(c.w, "")
	return err
}

func getVersionArtifact(c *call) error {
	var in struct {
		Name    string `json:"name" mlflow:"required"`
		Version string `json:"version" mlflow:"required"`
		Path    string `json:"path" mlflow:"required"`
	}
	if err := c.read(&in); err != nil {
		return err
	}
	if err := registrar.CheckTrackedPath(in.Path); err != nil {
		return err
	}
	n, err := pedigree.ParseVersionNumber(strings.TrimLeft(in.Version, "0"))
	if err != nil {
		return notFound("Model Version (name=%s, version=%s) not found", clip(in.Name), clip(in.Version))
	}
	name, err := pedigree.ParseName(in.Name)
	if err != nil {
		return err
	}
	b, f, err := c.d.registrar.OpenFile(c.ctx(), c.principal, pedigree.Reference{Project: c.project, Model: name, Version: n}, in.Path, pedigree.At{})
	if err != nil {
		return err
	}
	return c.sendBlob(b, path.Base(in.Path), f.Digest, 0)
}
