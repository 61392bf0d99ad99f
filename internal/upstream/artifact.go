package upstream

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path"
	"strings"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/internal/mlrecord"
)

// Origin is what a source names: the run and the logged model that it comes from, where
// the server knows them, and its files, where the server hands them out.
type Origin struct {
	Run   *mlrecord.Run
	Model *mlrecord.Model
	// Tree is nil where the bytes are at a place to which the server opens no way.
	Tree *Tree
}

// Origin finds what a source names: runs:/RUN/path, models:/m-ID, mlflow-artifacts:/path,
// or any other URI within the root of the run or of the logged model with the given ids,
// which may be empty. What the server does not know is left out.
func (c *Client) Origin(ctx context.Context, source, run, model string) (Origin, error) {
	var o Origin
	var err error
	if id, ok := strings.CutPrefix(source, "models:/m-"); ok {
		model = "m-" + strings.Trim(id, "/")
	}
	if model != "" {
		if o.Model, err = found(c.LoggedModel(ctx, model)); err != nil {
			return o, err
		}
	}
	inRun := ""
	if rest, ok := strings.CutPrefix(source, "runs:/"); ok {
		run, inRun, _ = strings.Cut(strings.Trim(rest, "/"), "/")
	}
	if run == "" && o.Model != nil {
		run = o.Model.Run
	}
	if run != "" {
		if o.Run, err = found(c.Run(ctx, run)); err != nil {
			return o, err
		}
	}
	switch {
	case strings.HasPrefix(source, "runs:/"):
		return o, c.locateInRun(ctx, &o, inRun)
	case strings.HasPrefix(source, "models:/m-"):
		if o.Model != nil {
			o.Tree = c.tree(o.Model.ArtifactURI, &o)
		}
	default:
		if o.Tree = c.tree(source, &o); o.Tree == nil {
			return o, c.locateInModels(ctx, source, &o)
		}
	}
	return o, nil
}

// locateInModels finds the logged model of the run at whose files a URI points.
func (c *Client) locateInModels(ctx context.Context, uri string, o *Origin) error {
	if o.Run == nil || o.Model != nil {
		return nil
	}
	for _, id := range o.Run.Models {
		m, err := found(c.LoggedModel(ctx, id))
		if err != nil {
			return err
		}
		if m == nil {
			continue
		}
		if rest, ok := within(uri, m.ArtifactURI); ok {
			o.Model, o.Tree = m, c.modelTree(m, rest)
			return nil
		}
	}
	return nil
}

// found makes nothing of what is not there.
func found[T any](v *T, err error) (*T, error) {
	if pedigree.CodeOf(err) == pedigree.CodeNotFound {
		return nil, nil
	}
	return v, err
}

// locateInRun finds the files of runs:/RUN/path. Since MLflow 3 a model is not among the
// files of its run but a logged model of its own, under the name that the path says.
func (c *Client) locateInRun(ctx context.Context, o *Origin, inRun string) error {
	if o.Run == nil {
		return nil
	}
	o.Tree = c.runTree(o.Run, inRun)
	files, err := o.Tree.folder(ctx, "")
	if err != nil || len(files) > 0 || inRun == "" {
		return err
	}
	name, rest, _ := strings.Cut(inRun, "/")
	for _, id := range o.Run.Models {
		m, err := found(c.LoggedModel(ctx, id))
		if err != nil {
			return err
		}
		if m != nil && m.Name == name {
			o.Model = m
			o.Tree = c.modelTree(m, rest)
		}
	}
	return nil
}

// Tree is a folder of files on the server, and the way by which the server hands them
// out.
type Tree struct {
	c *Client
	// root is what stands before every path that is asked for.
	root string
	list func(folder string) (path string, query url.Values)
	file func(file string) (path string, query url.Values)
}

// tree finds the way to the files at a URI; nil where there is none.
func (c *Client) tree(uri string, o *Origin) *Tree {
	if p, ok := c.proxied(uri); ok {
		return c.proxyTree(p)
	}
	if o.Run != nil {
		if rest, ok := within(uri, o.Run.ArtifactURI); ok {
			return c.runTree(o.Run, rest)
		}
	}
	if o.Model != nil {
		if rest, ok := within(uri, o.Model.ArtifactURI); ok {
			return c.modelTree(o.Model, rest)
		}
	}
	return nil
}

// within says whether a URI lies below a root, and where.
func within(uri, root string) (rest string, ok bool) {
	uri, root = strings.TrimRight(uri, "/"), strings.TrimRight(root, "/")
	if root == "" || uri != root && !strings.HasPrefix(uri, root+"/") {
		return "", false
	}
	return strings.Trim(uri[len(root):], "/"), true
}

// proxied is the path of a URI of the server's own artifact proxy.
func (c *Client) proxied(uri string) (string, bool) {
	rest, ok := strings.CutPrefix(uri, "mlflow-artifacts:")
	if !ok {
		return "", false
	}
	if after, hasHost := strings.CutPrefix(rest, "//"); hasHost {
		host := ""
		if host, rest, _ = strings.Cut(after, "/"); host != "" && host != c.base.Host && host != c.base.Hostname() {
			return "", false
		}
	}
	if decoded, err := url.PathUnescape(rest); err == nil {
		rest = decoded
	}
	rest = strings.Trim(rest, "/")
	return rest, rest != ""
}

func (c *Client) proxyTree(root string) *Tree {
	return &Tree{
		c: c, root: root,
		list: func(folder string) (string, url.Values) { return proxy, url.Values{"path": {folder}} },
		file: func(file string) (string, url.Values) { return proxy + "/" + escape(file), nil },
	}
}

func (c *Client) runTree(run *mlrecord.Run, root string) *Tree {
	if p, ok := c.proxied(run.ArtifactURI); ok {
		return c.proxyTree(path.Join(p, root))
	}
	return &Tree{
		c: c, root: root,
		list: func(folder string) (string, url.Values) {
			return api + "/artifacts/list", url.Values{"run_id": {run.ID}, "path": {folder}}
		},
		file: func(file string) (string, url.Values) {
			return "/get-artifact", url.Values{"run_id": {run.ID}, "run_uuid": {run.ID}, "path": {file}}
		},
	}
}

func (c *Client) modelTree(m *mlrecord.Model, root string) *Tree {
	if p, ok := c.proxied(m.ArtifactURI); ok {
		return c.proxyTree(path.Join(p, root))
	}
	base := "/logged-models/" + url.PathEscape(m.ID) + "/artifacts/"
	return &Tree{
		c: c, root: root,
		list: func(folder string) (string, url.Values) {
			return api + base + "directories", url.Values{"artifact_directory_path": {folder}}
		},
		file: func(file string) (string, url.Values) {
			return "/ajax-api/2.0/mlflow" + base + "files", url.Values{"artifact_file_path": {file}}
		},
	}
}

// escape escapes each element of a path.
func escape(p string) string {
	parts := strings.Split(p, "/")
	for i, part := range parts {
		parts[i] = url.PathEscape(part)
	}
	return strings.Join(parts, "/")
}

// File is one file of a [Tree].
type File struct {
	// Path is relative to the tree.
	Path string
	// Size is what the server says; -1 where it does not.
	Size int64

	at string
}

type entry struct {
	name  string
	isDir bool
	size  int64
}

// folder lists what is right below a folder of the tree.
func (t *Tree) folder(ctx context.Context, folder string) ([]entry, error) {
	p, query := t.list(path.Join(t.root, folder))
	if query.Get("path") == "" {
		query.Del("path")
	}
	if query.Get("artifact_directory_path") == "" {
		query.Del("artifact_directory_path")
	}
	var out []entry
	err := pages(query, func(query url.Values) (string, error) {
		var page struct {
			Files []struct {
				Path  string   `json:"path"`
				IsDir bool     `json:"is_dir"`
				Size  *integer `json:"file_size"`
			} `json:"files"`
			Next string `json:"next_page_token"`
		}
		err := t.c.get(ctx, p, query, &page)
		for _, f := range page.Files {
			e := entry{path.Base(f.Path), f.IsDir, -1}
			if f.Size != nil {
				e.size = int64(*f.Size)
			}
			out = append(out, e)
		}
		return page.Next, err
	})
	if pedigree.CodeOf(err) == pedigree.CodeNotFound {
		return nil, nil
	}
	return out, err
}

// maxDepth is how deep folders may lie in one another.
const maxDepth = 64

// Files lists all files of the tree. A tree that is a single file has that file, under
// its own name. It returns [pedigree.CodeInvalid] for a name that can't be a path, and
// [pedigree.CodeTooLarge] over [pedigree.MaxFiles].
func (t *Tree) Files(ctx context.Context) ([]File, error) {
	var out []File
	if err := t.walk(ctx, "", 0, &out); err != nil || len(out) > 0 || t.root == "" {
		return out, err
	}
	above := *t
	above.root = path.Dir(t.root)
	if above.root == "." {
		above.root = ""
	}
	entries, err := above.folder(ctx, "")
	for _, e := range entries {
		if e.name == path.Base(t.root) && !e.isDir {
			out = append(out, File{Path: e.name, Size: e.size, at: t.root})
		}
	}
	return out, err
}

func (t *Tree) walk(ctx context.Context, folder string, depth int, out *[]File) error {
	entries, err := t.folder(ctx, folder)
	if err != nil {
		return err
	}
	for _, e := range entries {
		p := path.Join(folder, e.name)
		if err := pedigree.CheckPath(p); err != nil {
			return err
		}
		switch {
		case len(*out) >= pedigree.MaxFiles || depth > maxDepth:
			return pedigree.Errorf(pedigree.CodeTooLarge, "there are more than %d files, or folders deeper than %d", pedigree.MaxFiles, maxDepth)
		case e.isDir:
			if err := t.walk(ctx, p, depth+1, out); err != nil {
				return err
			}
		default:
			*out = append(*out, File{Path: p, Size: e.size, at: path.Join(t.root, p)})
		}
	}
	return nil
}

// Open opens a file. A connection that breaks off is continued where it ended, as long
// as the file is still the same; the caller closes it. It returns
// [pedigree.CodeNotFound].
func (t *Tree) Open(ctx context.Context, f File) (io.ReadCloser, error) {
	p, query := t.file(f.at)
	r := &reader{ctx: ctx, c: t.c, path: p, query: query, want: f.Size}
	return r, r.open()
}

// reader reads one file over as many connections as it takes.
type reader struct {
	ctx   context.Context
	c     *Client
	path  string
	query url.Values
	// want is the size of the file; -1 while nobody has said.
	want, at int64
	tag      string
	breaks   int
	body     io.ReadCloser
}

// maxBreaks is how often a connection may break off without a byte between.
const maxBreaks = 3

// open asks for the file from where r is.
func (r *reader) open() error {
	header := http.Header{}
	if r.at > 0 {
		header.Set("Range", fmt.Sprintf("bytes=%d-", r.at))
	}
	resp, err := r.c.open(r.ctx, r.path, r.query, header)
	if err != nil {
		return err
	}
	changed := func() error {
		_ = resp.Body.Close()
		return pedigree.Errorf(pedigree.CodeConflict, "the file changed on the MLflow server while it was read").WithFix("try again")
	}
	tag := resp.Header.Get("Etag")
	if r.at > 0 && tag != r.tag {
		return changed()
	}
	r.tag = tag
	r.body = r.c.watch(resp.Body)
	skip := int64(0)
	if resp.StatusCode == http.StatusPartialContent {
		var from int64
		if _, err := fmt.Sscanf(resp.Header.Get("Content-Range"), "bytes %d-", &from); err != nil || from != r.at {
			return changed()
		}
	} else {
		skip = r.at // it does not know ranges
	}
	if n := resp.ContentLength; n >= 0 {
		size := n + r.at - skip
		if r.want >= 0 && size != r.want {
			return changed()
		}
		r.want = size
	}
	_, err = io.CopyN(io.Discard, r.body, skip)
	return err
}

// Read implements [io.Reader].
func (r *reader) Read(p []byte) (int, error) {
	for {
		n, err := r.body.Read(p)
		r.at += int64(n)
		if n > 0 {
			r.breaks = 0
			if err != nil && err != io.EOF {
				err = nil // the next call meets it again
			}
		}
		switch {
		case err == nil:
			return n, nil
		case err == io.EOF && (r.want < 0 || r.at == r.want):
			return n, io.EOF
		case n > 0:
			return n, nil
		case r.ctx.Err() != nil:
			return 0, r.ctx.Err()
		case r.breaks == maxBreaks:
			return 0, r.c.failed(r.ctx, fmt.Errorf("the file ended after %d bytes: %w", r.at, err))
		}
		r.breaks++
		_ = r.body.Close()
		if err := r.open(); err != nil {
			return 0, err
		}
	}
}

// Close implements [io.Closer].
func (r *reader) Close() error {
	if r.body == nil {
		return nil
	}
	return r.body.Close()
}
