package link

import (
	"context"
	"errors"
	"path"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/pedigree-ml/pedigree"
)

// leftOut are the names that no push takes along; a linked folder is compared with
// what a push of it would have stored.
var leftOut = []string{".git", "__pycache__", ".DS_Store", ".ipynb_checkpoints"}

// isLeftOut says whether a part of the path is a name that no push takes along.
func isLeftOut(p string) bool {
	return slices.ContainsFunc(strings.Split(p, "/"), func(part string) bool { return slices.Contains(leftOut, part) })
}

// tree is what a folder or a prefix holds.
type tree struct {
	files []treeFile // at most one more than an artifact may have
	count int        // of all files
	size  int64      // of all files together
	// flaw says what keeps the tree from having a size and a digest.
	flaw string
}

// treeFile is one file of a tree.
type treeFile struct {
	pedigree.File
	open source
	// check makes sure, after the file was hashed, that it had not changed. Optional.
	check func() error
}

func (t *tree) add(f treeFile) {
	t.count++
	t.size += f.Size
	if len(t.files) <= pedigree.MaxFiles {
		t.files = append(t.files, f)
	}
}

// spoil keeps the first flaw.
func (t *tree) spoil(why string) {
	if t.flaw == "" {
		t.flaw = why
	}
}

// describe fills count, size and, where the tree can be an artifact, digest.
func (r *reader) describe(ctx context.Context, t *tree, digest bool) error {
	r.info.Files = t.count
	if t.flaw != "" {
		r.note("no size and no digest: %s", t.flaw)
		return nil
	}
	r.info.Size = &t.size
	if t.count == 0 {
		r.note("no digest: there is no file in it")
		return nil
	}
	if err := checkNames(t.files); err != nil {
		r.note("no digest: %v", err)
		return nil
	}
	if !digest {
		r.note("no digest: its bytes were not read")
		return nil
	}
	if r.tooLarge(t.size) {
		return nil
	}
	r.meter.start(t.size)
	if err := r.hashFiles(ctx, t.files); err != nil {
		return err
	}
	a, err := pedigree.StoredArtifact(list(t.files))
	if err != nil {
		return err
	}
	r.info.Digest = a.Digest
	return nil
}

// checkNames checks the paths before anything is hashed.
func checkNames(files []treeFile) error {
	named := list(files)
	for i := range named {
		named[i].Digest = pedigree.DigestBytes(nil)
	}
	err := pedigree.CheckFiles(named)
	var own *pedigree.Error
	if errors.As(err, &own) {
		return errors.New(own.Message) // not what to do about it in a push
	}
	return err
}

func list(files []treeFile) []pedigree.File {
	out := make([]pedigree.File, len(files))
	for i, f := range files {
		out[i] = f.File
	}
	return out
}

// hashFiles fills in the digests, several files at a time. The first error ends it.
func (r *reader) hashFiles(ctx context.Context, files []treeFile) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(context.Canceled)
	var next atomic.Int64
	var wg sync.WaitGroup
	for range min(workers, len(files)) {
		wg.Go(func() {
			for ctx.Err() == nil {
				i := int(next.Add(1)) - 1
				if i >= len(files) {
					return
				}
				if err := r.hashFile(ctx, &files[i]); err != nil {
					cancel(err)
				}
			}
		})
	}
	wg.Wait()
	if ctx.Err() != nil {
		return r.canceled(context.Cause(ctx))
	}
	return nil
}

func (r *reader) hashFile(ctx context.Context, f *treeFile) error {
	digest, size, err := r.hash(ctx, f.open)
	switch {
	case errors.Is(err, errTooLong), pedigree.CodeOf(err) == pedigree.CodeNotFound, err == nil && size != f.Size:
		return r.changed(f.Path)
	case err != nil:
		return err
	}
	f.Digest = digest
	if f.check != nil {
		return f.check()
	}
	return nil
}

// changed is the error of a file or object that is not any more as it was found.
func (r *reader) changed(p string) error {
	what := "it"
	if p != "" {
		what = clip(path.Base(p), maxMessage)
	}
	return r.fail(pedigree.CodeConflict, "%s changed while it was read", what).WithFix("try again when nothing writes to it any more")
}

// canceled gives the end of a context a code; other errors stay as they are.
func (r *reader) canceled(err error) error {
	var own *pedigree.Error
	if errors.As(err, &own) {
		return err
	}
	return r.fail(pedigree.CodeUnavailable, "%w", err)
}
