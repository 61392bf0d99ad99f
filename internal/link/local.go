package link

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/pedigree-ml/pedigree"
)

// file reads a file URI.
func (r *reader) file(ctx context.Context) error {
	u, err := url.Parse(r.uri)
	if err != nil {
		return r.fail(pedigree.CodeInvalid, "it is not a file URI")
	}
	if u.RawQuery != "" || u.Fragment != "" {
		return r.fail(pedigree.CodeInvalid, "a file URI has no query and no fragment").WithFix("write %%3F for ? and %%23 for #, or give the path as it is")
	}
	if u.Host != "" && u.Host != "localhost" {
		return r.fail(pedigree.CodeInvalid, "%q would be a machine", u.Host).WithFix("write file:/// and the absolute path")
	}
	name := u.Path
	if u.Opaque != "" {
		if name, err = url.PathUnescape(u.Opaque); err != nil {
			return r.fail(pedigree.CodeInvalid, "it is not a file URI")
		}
	}
	if runtime.GOOS == "windows" && len(name) > 2 && name[0] == '/' && name[2] == ':' {
		name = name[1:] // /C:/models
	}
	if name == "" {
		return r.fail(pedigree.CodeInvalid, "there is no path").WithFix("write file:/// and the absolute path")
	}
	return r.local(ctx, filepath.FromSlash(name))
}

// local reads a file or folder of this machine.
func (r *reader) local(ctx context.Context, name string) error {
	abs, err := filepath.Abs(name)
	if err != nil {
		return r.fail(pedigree.CodeInvalid, "%w", err)
	}
	u := url.URL{Scheme: "file", Path: filepath.ToSlash(abs)}
	if !strings.HasPrefix(u.Path, "/") {
		u.Path = "/" + u.Path
	}
	info, err := os.Stat(abs)
	if err != nil {
		return r.localError(err)
	}
	if r.info.URI, err = pedigree.ParseSafeURI(u.String()); err != nil {
		return err
	}
	switch {
	case info.IsDir():
		return r.folder(ctx, abs)
	case !info.Mode().IsRegular():
		return r.fail(pedigree.CodeInvalid, "it is neither a file nor a folder")
	}
	f := r.localFile(filepath.Base(abs), abs, info)
	r.info.Size = &f.Size
	if r.tooLarge(f.Size) {
		return nil
	}
	r.meter.start(f.Size)
	if err := r.object(ctx, f.open); err != nil {
		return err
	}
	return f.check()
}

// folder reads all files below a folder. Links are followed to files wherever those
// are: what counts is what somebody who copies the folder gets.
func (r *reader) folder(ctx context.Context, name string) error {
	dir, err := filepath.EvalSymlinks(name)
	if err != nil {
		return r.localError(err)
	}
	t := &tree{}
	err = filepath.WalkDir(dir, func(file string, d fs.DirEntry, err error) error {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, file)
		if err != nil || rel == "." {
			return err
		}
		switch p := filepath.ToSlash(rel); {
		case isLeftOut(p) && d.IsDir():
			return filepath.SkipDir
		case isLeftOut(p), d.IsDir():
			return nil
		default:
			return r.addLocal(t, p, file)
		}
	})
	if ctx.Err() != nil {
		return r.canceled(ctx.Err())
	}
	if err != nil {
		return r.localError(err)
	}
	return r.describe(ctx, t, true)
}

// addLocal adds what is at name, as p, to the tree.
func (r *reader) addLocal(t *tree, p, name string) error {
	info, err := os.Stat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		t.spoil(clip(p, maxMessage) + " is a link that leads nowhere")
	case err != nil:
		return err
	case info.IsDir():
		t.spoil(clip(p, maxMessage) + " is a link to a folder")
	case !info.Mode().IsRegular():
		t.spoil(clip(p, maxMessage) + " is neither a file nor a folder")
	default:
		t.add(r.localFile(p, name, info))
	}
	return nil
}

// localFile is the file at name, which was as info says.
func (r *reader) localFile(p, name string, info fs.FileInfo) treeFile {
	f := treeFile{File: pedigree.File{
		Path: p, Size: info.Size(),
		Executable: runtime.GOOS != "windows" && info.Mode()&0o111 != 0,
	}}
	f.open = func(_ context.Context, offset int64) (io.ReadCloser, int64, error) {
		opened, err := os.Open(name)
		if err == nil && offset > 0 {
			if _, err = opened.Seek(offset, io.SeekStart); err != nil {
				_ = opened.Close()
			}
		}
		if err != nil {
			return nil, 0, r.localError(err)
		}
		return opened, offset, nil
	}
	f.check = func() error {
		now, err := os.Stat(name)
		if err != nil {
			return r.localError(err)
		}
		if now.Size() != info.Size() || !now.ModTime().Equal(info.ModTime()) {
			return r.changed(p)
		}
		return nil
	}
	return f
}

// localError gives an error of the disk its code.
func (r *reader) localError(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		err = p.Err // the link has the path already
		if name := filepath.Base(p.Path); !strings.HasSuffix(string(r.info.URI), name) {
			return r.fail(localCode(err), "%s: %w", clip(name, maxMessage), err)
		}
	}
	return r.fail(localCode(err), "%w", err)
}

func localCode(err error) pedigree.ErrorCode {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return pedigree.CodeNotFound
	case errors.Is(err, fs.ErrPermission):
		return pedigree.CodeForbidden
	}
	return pedigree.CodeUnavailable
}
