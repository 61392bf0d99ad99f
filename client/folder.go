package client

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/pedigree-ml/pedigree"
)

// leftOut are the names that no push takes along: what tools leave in folders.
var leftOut = []string{".git", "__pycache__", ".DS_Store", ".ipynb_checkpoints"}

// folder is what a push takes from the disk. Files are opened through root, so that no
// link that appears meanwhile leads out of it.
type folder struct {
	root  *os.Root
	files []localFile
}

// localFile is one file of a folder, as it was when it was found.
type localFile struct {
	pedigree.File
	real    string // below the root, without links
	modTime time.Time
}

// openFolder finds the files under name, which is a file or a folder. Links inside a
// folder stand for the files that they lead to; one that leads out is refused, as is
// anything that is neither file nor folder.
func openFolder(name string, exclude []string) (*folder, error) {
	for _, pattern := range exclude {
		if _, err := path.Match(pattern, ""); err != nil {
			return nil, pedigree.Errorf(pedigree.CodeInvalid, "%q is not a pattern of names to leave out", pattern)
		}
	}
	real, err := filepath.EvalSymlinks(name)
	if err != nil {
		return nil, localError("push", err)
	}
	info, err := os.Stat(real)
	if err != nil {
		return nil, localError("push", err)
	}
	if !info.IsDir() {
		return openSingle(name, real, info)
	}
	f := &folder{}
	if f.root, err = os.OpenRoot(real); err != nil {
		return nil, localError("push", err)
	}
	if err := f.scan(real, exclude); err != nil {
		_ = f.root.Close()
		return nil, err
	}
	return f, nil
}

// Files lists what a push of name, a file or a folder, would upload: paths and sizes,
// without digests. It returns [pedigree.CodeInvalid] as Push does.
func Files(name string, exclude []string) ([]pedigree.File, error) {
	f, err := openFolder(name, exclude)
	if err != nil {
		return nil, err
	}
	out := make([]pedigree.File, len(f.files))
	for i := range f.files {
		out[i] = f.files[i].File
	}
	return out, f.root.Close()
}

// openSingle is a folder of one file.
func openSingle(name, real string, info fs.FileInfo) (*folder, error) {
	if !info.Mode().IsRegular() {
		return nil, notAFile(name)
	}
	root, err := os.OpenRoot(filepath.Dir(real))
	if err != nil {
		return nil, localError("push", err)
	}
	f := &folder{root: root}
	f.add(filepath.Base(name), filepath.Base(real), info)
	return f, nil
}

func (f *folder) scan(dir string, exclude []string) error {
	return filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return localError("push", err)
		}
		rel, err := filepath.Rel(dir, name)
		if err != nil || rel == "." {
			return err
		}
		p := filepath.ToSlash(rel)
		switch {
		case excluded(p, exclude) && d.IsDir():
			return filepath.SkipDir
		case excluded(p, exclude), d.IsDir():
			return nil
		case d.Type()&fs.ModeSymlink != 0:
			return f.follow(dir, name, p)
		case !d.Type().IsRegular():
			return notAFile(p)
		}
		info, err := d.Info()
		if err != nil {
			return localError("push", err)
		}
		f.add(p, rel, info)
		return nil
	})
}

// follow adds the file that a link leads to.
func (f *folder) follow(dir, name, p string) error {
	real, err := filepath.EvalSymlinks(name)
	if err != nil {
		return pedigree.Errorf(pedigree.CodeInvalid, "%q is a link that leads nowhere: %w", p, err).WithFix("remove it, or leave it out with --exclude %s", p)
	}
	rel, err := filepath.Rel(dir, real)
	if err != nil || rel == ".." || strings.HasPrefix(rel, ".."+string(filepath.Separator)) {
		return pedigree.Errorf(pedigree.CodeInvalid, "%q is a link that leaves the folder", p).
			WithFix("put the file itself there, or leave it out with --exclude %s", p)
	}
	info, err := os.Lstat(real)
	if err != nil {
		return localError("push", err)
	}
	if !info.Mode().IsRegular() {
		return pedigree.Errorf(pedigree.CodeInvalid, "%q is a link to something that is not a file", p).
			WithFix("put the files themselves there, or leave it out with --exclude %s", p)
	}
	f.add(p, rel, info)
	return nil
}

func (f *folder) add(p, real string, info fs.FileInfo) {
	f.files = append(f.files, localFile{
		File: pedigree.File{
			Path: p, Size: info.Size(),
			Executable: runtime.GOOS != "windows" && info.Mode()&0o111 != 0,
		},
		real: real, modTime: info.ModTime(),
	})
}

func notAFile(p string) error {
	return pedigree.Errorf(pedigree.CodeInvalid, "%q is neither a file nor a folder", p).WithFix("leave it out with --exclude %s", p)
}

// excluded says whether a pattern fits the path, or the name at its end.
func excluded(p string, patterns []string) bool {
	base := path.Base(p)
	if slices.Contains(leftOut, base) {
		return true
	}
	return slices.ContainsFunc(patterns, func(pattern string) bool {
		pattern = strings.TrimSuffix(pattern, "/")
		whole, _ := path.Match(pattern, p)
		last, _ := path.Match(pattern, base)
		return whole || last
	})
}

// open opens a file that must be as it was found.
func (f *folder) open(file *localFile) (*os.File, error) {
	opened, err := f.root.Open(file.real)
	if err != nil {
		return nil, localError("push", err)
	}
	info, err := opened.Stat()
	if err == nil && !file.same(info) {
		err = file.changed()
	}
	if err != nil {
		_ = opened.Close()
		return nil, localError("push", err)
	}
	return opened, nil
}

func (l *localFile) same(info fs.FileInfo) bool {
	return info.Mode().IsRegular() && info.Size() == l.Size && info.ModTime().Equal(l.modTime)
}

func (l *localFile) changed() error {
	return pedigree.Errorf(pedigree.CodeConflict, "file %q changed while it was being pushed", l.Path).
		WithFix("push again when nothing writes to it any more")
}

// check makes sure that a file is still as it was found.
func (f *folder) check(file *localFile) error {
	info, err := f.root.Stat(file.real)
	if errors.Is(err, fs.ErrNotExist) || err == nil && !file.same(info) {
		return file.changed()
	}
	return localError("push", err)
}

// hash fills in the digests of all files, several at a time.
func (f *folder) hash(ctx context.Context, tell Progress) error {
	var total int64
	for i := range f.files {
		total += f.files[i].Size
	}
	m := newMeter(tell, "hash", len(f.files), total)
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(max(2, runtime.GOMAXPROCS(0)))
	for i := range f.files {
		g.Go(func() error { return f.hashOne(ctx, &f.files[i], m) })
	}
	return g.Wait()
}

func (f *folder) hashOne(ctx context.Context, file *localFile, m *meter) error {
	opened, err := f.open(file)
	if err != nil {
		return err
	}
	defer func() { _ = opened.Close() }()
	h := pedigree.NewHasher()
	n, err := transfer(ctx, h, nil, opened, func(n int) { m.add(file.Path, int64(n), false) })
	if err != nil {
		return localError("push", err)
	}
	if n != file.Size {
		return file.changed()
	}
	file.Digest = h.Digest()
	m.add(file.Path, 0, true)
	return f.check(file)
}

// list returns the files as an artifact names them.
func (f *folder) list() []pedigree.File {
	files := make([]pedigree.File, len(f.files))
	for i := range f.files {
		files[i] = f.files[i].File
	}
	return files
}

// checkNames checks the paths before anything is hashed.
func (f *folder) checkNames() error {
	files := f.list()
	for i := range files {
		files[i].Digest = pedigree.DigestBytes(nil)
	}
	return pedigree.CheckFiles(files)
}

// localError says what was being done when the disk failed.
func localError(doing string, err error) error {
	var own *pedigree.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &own):
		return err
	case errors.Is(err, fs.ErrNotExist):
		return pedigree.Errorf(pedigree.CodeNotFound, "%s: %w", doing, err)
	case errors.Is(err, fs.ErrPermission):
		return pedigree.Errorf(pedigree.CodeForbidden, "%s: %w", doing, err)
	}
	return fmt.Errorf("%s: %w", doing, err)
}
