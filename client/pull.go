package client

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/pedigree-ml/pedigree"
)

// Pull says which artifact to fetch, and where to.
type Pull struct {
	// Reference names the version; it is resolved once, so that the files are those of
	// one version whatever is moved meanwhile.
	Reference pedigree.Reference
	// At is the moment that Reference is read at.
	At pedigree.At
	// Dest is the folder that appears. Required.
	Dest string
	// Parallel is the most downloads at a time; 0 stands for 8.
	Parallel int
	// Force replaces what is at Dest, if it is not the artifact already.
	Force bool
	// Resume goes on with what an earlier pull of the same artifact, which broke off, left
	// beside Dest, and leaves that where this one breaks off. At most one pull at a time may
	// do so.
	Resume bool
	// Progress is told how it goes on; nil is told nothing.
	Progress Progress
}

// Pulled is what came of a pull.
type Pulled struct {
	pedigree.Resolved
	Files int   `json:"files"`
	Bytes int64 `json:"bytes"`
	// Path is the folder, as Dest named it.
	Path string `json:"path"`
	// Unchanged says that the folder held just that already, and nothing was fetched.
	Unchanged bool `json:"unchanged,omitempty"`
}

// Pull fetches the artifact of a version. The files come into a folder beside Dest, each
// is checked against its digest and written through to the disk, and the folder gets
// its name at the end: Dest is whole or not there.
//
// A Dest that holds exactly that artifact is left as it is. Any other Dest that is not
// empty is [pedigree.CodeExists], unless Force replaces it. Pull returns
// [pedigree.CodeNotFound], [pedigree.CodeCorrupt] for bytes or a list of files that are
// not what their digest says, [pedigree.CodeGone] for bytes that were erased, and an
// error for an artifact that is not stored.
func (c *Client) Pull(ctx context.Context, p Pull) (Pulled, error) {
	out := Pulled{Path: p.Dest}
	if p.Dest == "" {
		return out, pedigree.Errorf(pedigree.CodeInvalid, "name the folder to pull to")
	}
	var artifact pedigree.Artifact
	var err error
	if out.Resolved, artifact, err = c.Artifact(ctx, p.Reference, p.At); err != nil {
		return out, err
	}
	if err := checkArtifact(p.Reference, out.Resolved, artifact); err != nil {
		return out, err
	}
	out.Files = len(artifact.Files)
	for _, f := range artifact.Files {
		out.Bytes += f.Size
	}
	dest := filepath.Clean(p.Dest)
	occupied, err := isOccupied(dest)
	if err != nil {
		return out, err
	}
	if occupied {
		if out.Unchanged, err = holds(ctx, dest, artifact.Files); err != nil || out.Unchanged {
			return out, err
		}
		if !p.Force {
			return out, pedigree.Errorf(pedigree.CodeExists, "%s exists and is not that artifact", p.Dest).
				WithFix("pull to another folder, or replace it with --force")
		}
	}
	job := &pull{c: c, Pull: p, files: artifact.Files, query: url.Values{}}
	job.ref = pedigree.Reference{Project: out.Project, Model: out.Model, Version: out.Number}
	if !p.At.IsNow() { // the version may have been deleted or renamed since
		job.query = asOf(pedigree.At{Seq: &out.AsOf})
	}
	return out, job.run(ctx, dest)
}

// checkArtifact makes sure that the list of files is what the digest names.
func checkArtifact(ref pedigree.Reference, found pedigree.Resolved, a pedigree.Artifact) error {
	if a.Kind != pedigree.ArtifactStored {
		return pedigree.Errorf(pedigree.CodeUnsupported, "%s has no stored artifact: its kind is %s", ref, a.Kind)
	}
	stored, err := pedigree.StoredArtifact(a.Files)
	if err != nil {
		return pedigree.Errorf(pedigree.CodeCorrupt, "the server's list of files is not one of an artifact: %w", err)
	}
	if stored.Digest != found.Digest || ref.Digest != "" && ref.Digest != found.Digest {
		return pedigree.Errorf(pedigree.CodeCorrupt, "the server's list of files has digest %s, not %s", stored.Digest, cmp.Or(ref.Digest, found.Digest))
	}
	return nil
}

// isOccupied says whether something is at dest that is not an empty folder.
func isOccupied(dest string) (bool, error) {
	info, err := os.Lstat(dest)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, localError("pull", err)
	}
	if !info.IsDir() {
		return true, nil
	}
	d, err := os.Open(dest)
	if err != nil {
		return false, localError("pull", err)
	}
	defer func() { _ = d.Close() }()
	if _, err = d.ReadDir(1); errors.Is(err, io.EOF) {
		return false, nil
	}
	return true, localError("pull", err)
}

// holds says whether dest is a folder of just these files, by their digests.
func holds(ctx context.Context, dest string, files []pedigree.File) (bool, error) {
	if info, err := os.Lstat(dest); err != nil || !info.IsDir() {
		return false, localError("pull", err)
	}
	found := 0
	same := true
	err := walkFiles(dest, files, func(_ string, size int64, f *pedigree.File) error {
		if f == nil || size != f.Size {
			same = false
			return fs.SkipAll
		}
		found++
		return nil
	})
	if err != nil || !same || found != len(files) {
		return false, localError("pull", err)
	}
	return sameBytes(ctx, dest, files)
}

// walkFiles calls f with every file below a folder, its size, and the one of the files that
// has its path, is regular and may be run as it may; nil for none.
func walkFiles(dir string, files []pedigree.File, f func(name string, size int64, file *pedigree.File) error) error {
	want := map[string]*pedigree.File{}
	for i := range files {
		want[files[i].Path] = &files[i]
	}
	return filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(dir, name)
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		file := want[filepath.ToSlash(rel)]
		executable := info.Mode()&0o111 != 0
		if file != nil && (!info.Mode().IsRegular() || runtime.GOOS != "windows" && executable != file.Executable) {
			file = nil
		}
		return f(name, info.Size(), file)
	})
}

// contains says whether dest holds these files, by their digests, whatever else is there: a
// program that uses them may have left something beside them.
func contains(ctx context.Context, dest string, files []pedigree.File) (bool, error) {
	for _, f := range files {
		info, err := os.Lstat(filepath.Join(dest, filepath.FromSlash(f.Path)))
		if errors.Is(err, fs.ErrNotExist) {
			return false, nil
		}
		if err != nil || !info.Mode().IsRegular() || info.Size() != f.Size {
			return false, localError("read "+dest, err)
		}
	}
	return sameBytes(ctx, dest, files)
}

// sameBytes compares files with their digests.
func sameBytes(ctx context.Context, dest string, files []pedigree.File) (bool, error) {
	differs := errors.New("differs")
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(max(2, runtime.GOMAXPROCS(0)))
	for _, f := range files {
		g.Go(func() error {
			opened, err := os.Open(filepath.Join(dest, filepath.FromSlash(f.Path)))
			if err != nil {
				return err
			}
			defer func() { _ = opened.Close() }()
			h := pedigree.NewHasher()
			if _, err = transfer(ctx, h, nil, opened, nil); err == nil && h.Digest() != f.Digest {
				err = differs
			}
			return err
		})
	}
	err := g.Wait()
	if errors.Is(err, differs) {
		return false, nil
	}
	return err == nil, localError("pull", err)
}

// pull is a [Pull] under way.
type pull struct {
	Pull
	c     *Client
	ref   pedigree.Reference
	query url.Values
	files []pedigree.File
	root  *os.Root
	meter *meter
}

// run fetches everything into a folder beside dest and gives that the name.
func (p *pull) run(ctx context.Context, dest string) error {
	parent := filepath.Dir(dest)
	if err := os.MkdirAll(parent, 0o777); err != nil {
		return localError("pull", err)
	}
	scratch := filepath.Join(parent, ".pedigree-"+rand.Text()[:12])
	if p.Resume {
		scratch = filepath.Join(parent, scratchOf(p.files))
	}
	if err := os.Mkdir(scratch, 0o777); err != nil && !(p.Resume && errors.Is(err, fs.ErrExist)) {
		return localError("pull", err)
	}
	keep := false
	defer func() {
		if !keep {
			_ = os.RemoveAll(scratch)
		}
	}()
	if p.Resume {
		if err := tidy(scratch, p.files); err != nil {
			return localError("pull", err)
		}
	}
	if err := p.fetchAll(ctx, scratch); err != nil {
		keep = p.Resume && pedigree.CodeOf(err) != pedigree.CodeCorrupt
		return err
	}
	if err := publish(scratch, dest); err != nil {
		return err
	}
	keep = true // it has its name
	return nil
}

// scratchOf is the folder in which a pull that may be resumed gathers files.
func scratchOf(files []pedigree.File) string {
	text, _ := encode(files) // of strings and numbers
	return ".pedigree-" + pedigree.DigestBytes(text).Hex()[:24]
}

// tidy removes from a folder what is none of the files, or can't be a part of one.
func tidy(dir string, files []pedigree.File) error {
	return walkFiles(dir, files, func(name string, size int64, f *pedigree.File) error {
		if f != nil && size <= f.Size {
			return nil
		}
		return os.Remove(name)
	})
}

func (p *pull) fetchAll(ctx context.Context, scratch string) error {
	var err error
	if p.root, err = os.OpenRoot(scratch); err != nil {
		return localError("pull", err)
	}
	defer func() { _ = p.root.Close() }()
	dirs := map[string]bool{".": true}
	var total int64
	for _, f := range p.files {
		total += f.Size
		for dir := path.Dir(f.Path); !dirs[dir]; dir = path.Dir(dir) {
			dirs[dir] = true
		}
		if err := p.root.MkdirAll(filepath.FromSlash(path.Dir(f.Path)), 0o777); err != nil {
			return localError("pull", err)
		}
	}
	p.meter = newMeter(p.Progress, "download", len(p.files), total)
	files := slices.Clone(p.files)
	slices.SortFunc(files, func(a, b pedigree.File) int { return cmp.Compare(b.Size, a.Size) })
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(cmp.Or(max(p.Parallel, 0), 8))
	for _, f := range files {
		g.Go(func() error { return p.fetch(ctx, f) })
	}
	if err := g.Wait(); err != nil {
		return err
	}
	for dir := range dirs {
		if err := syncDir(filepath.Join(scratch, filepath.FromSlash(dir))); err != nil {
			return localError("pull", err)
		}
	}
	return nil
}

// fetch makes one file: received, checked, and on the disk.
func (p *pull) fetch(ctx context.Context, f pedigree.File) error {
	mode := fs.FileMode(0o666)
	if f.Executable {
		mode = 0o777
	}
	flags := os.O_WRONLY | os.O_CREATE | os.O_EXCL
	if p.Resume {
		flags = os.O_RDWR | os.O_CREATE
	}
	w, err := p.root.OpenFile(filepath.FromSlash(f.Path), flags, mode)
	if err != nil {
		return localError("pull", err)
	}
	h, err := p.begun(ctx, f, w)
	if err == nil && h.Size() < f.Size {
		err = p.receive(ctx, f, h, w)
	}
	if err == nil && (h.Size() != f.Size || h.Digest() != f.Digest) {
		err = wrongBytes(fmt.Sprintf("%q", f.Path), h.Digest(), f.Digest)
	}
	if err == nil {
		err = localError("pull", w.Sync())
	}
	if closeErr := w.Close(); err == nil {
		err = localError("pull", closeErr)
	}
	if err == nil {
		p.meter.add(f.Path, 0, true)
	}
	return err
}

// begun hashes what an earlier pull left of a file, and leaves w at its end. A whole file
// that is not what it should be is begun again.
func (p *pull) begun(ctx context.Context, f pedigree.File, w *os.File) (*pedigree.Hasher, error) {
	h := pedigree.NewHasher()
	if !p.Resume {
		return h, nil
	}
	n, err := transfer(ctx, h, nil, w, nil)
	if err != nil {
		return nil, localError("pull", err)
	}
	if n == f.Size && n > 0 && h.Digest() != f.Digest {
		if _, err := w.Seek(0, io.SeekStart); err != nil {
			return nil, localError("pull", err)
		}
		return pedigree.NewHasher(), localError("pull", w.Truncate(0))
	}
	if n > 0 {
		p.meter.add(f.Path, n, false)
	}
	return h, nil
}

// receive reads a file to its end. Where the connection is lost it goes on from the
// byte that was reached, as often as the client tries again without getting any further.
func (p *pull) receive(ctx context.Context, f pedigree.File, h *pedigree.Hasher, w io.Writer) error {
	for try := 0; ; try++ {
		n, err := p.receivePart(ctx, f, h, w)
		if err == nil || ctx.Err() != nil {
			return err
		}
		var lost *sourceError
		if !errors.As(err, &lost) {
			return err
		}
		if n > 0 {
			try = 0
		}
		if try >= p.c.retries {
			return pedigree.Errorf(pedigree.CodeUnavailable, "the connection to %s was lost after %d of %d bytes of %q: %w", p.c.shown, h.Size(), f.Size, f.Path, lost.err).
				WithFix("pull again")
		}
		if err := pause(ctx, try, 0); err != nil {
			return err
		}
	}
}

func (p *pull) receivePart(ctx context.Context, f pedigree.File, h *pedigree.Hasher, w io.Writer) (int64, error) {
	offset := h.Size()
	resp, err := p.c.send(ctx, p.c.fileRequest(p.ref, f, offset, p.query))
	if err != nil {
		return 0, err
	}
	defer func() { _ = resp.Body.Close() }()
	if offset > 0 && (resp.StatusCode != http.StatusPartialContent ||
		!strings.HasPrefix(resp.Header.Get("Content-Range"), fmt.Sprintf("bytes %d-", offset))) {
		return 0, pedigree.Errorf(pedigree.CodeUnavailable, "%s can't go on with %q from byte %d", p.c.shown, f.Path, offset).WithFix("pull again")
	}
	// One byte more than there should be shows a file that is too long.
	body := io.LimitReader(resp.Body, f.Size-offset+1)
	n, err := transfer(ctx, h, w, body, func(n int) { p.meter.add(f.Path, int64(n), false) })
	if err == nil && h.Size() < f.Size && resp.ContentLength < 0 { // a proxy that ends early without saying so
		err = &sourceError{io.ErrUnexpectedEOF}
	}
	var lost *sourceError
	if err != nil && !errors.As(err, &lost) {
		err = localError("pull", err)
	}
	return n, err
}

// publish gives a whole folder its name. Something that is there makes way, and is
// removed when the new one is in its place.
func publish(scratch, dest string) error {
	parent := filepath.Dir(dest)
	old := ""
	if _, err := os.Lstat(dest); err == nil {
		if os.Remove(dest) != nil { // more than an empty folder or a file
			old = filepath.Join(parent, ".pedigree-old-"+rand.Text()[:12])
			if err := os.Rename(dest, old); err != nil {
				return localError("pull", err)
			}
		}
	}
	if err := os.Rename(scratch, dest); err != nil {
		if old != "" {
			_ = os.Rename(old, dest)
		}
		return localError("pull", err)
	}
	if err := syncDir(parent); err != nil {
		return localError("pull", err)
	}
	if old != "" {
		if err := os.RemoveAll(old); err != nil {
			return pedigree.Errorf(pedigree.CodeForbidden, "the artifact is at %s; what was there before can't be removed from %s: %w", dest, old, err)
		}
	}
	return nil
}

// syncDir makes the names in a folder durable, where the system has such a thing.
func syncDir(name string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	d, err := os.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
