package blob

import (
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/pedigree-ml/pedigree"
)

const (
	// dirMode keeps everybody but the server's own user out: models may be secret, and
	// who may read them is decided by the registry alone.
	dirMode = 0o700
	// scratchMode is what a file has while it is written, and until its directory entry
	// is durable.
	scratchMode = 0o600
	// storedMode is what a blob has. It is read-only, so that no slip of an editor or a
	// script changes bytes that a digest names; and it is the mark of a blob whose
	// directory entry is durable (see [Dir.present]).
	storedMode = 0o400

	// scratchLife is how long a scratch file may stay untouched before OpenDir takes it
	// for the rest of a crashed process. Every write renews it, so an upload that takes
	// longer is safe as long as bytes arrive.
	scratchLife = 24 * time.Hour
)

// Dir is a [Store] in a directory of a local disk:
//
//	path/sha256/ab/abcd…   one read-only file per blob, under the first two digits
//	path/tmp/              blobs that are being received
//
// A blob is stored with this sequence of system calls:
//
//	open(tmp/x, O_CREAT|O_EXCL, 0600)
//	write(tmp/x) …               and on Linux sync_file_range beside it, to start the disk early
//	fsync(tmp/x)                 the bytes are durable, under a name that nobody looks at
//	mkdir(sha256/ab)             for the first blob of a shard only, with
//	fsync(sha256)                after it
//	rename(tmp/x, sha256/ab/h)   visible, whole; not yet durable, and says so by its mode
//	fsync(sha256/ab)             the name is durable
//	chmod(sha256/ab/h, 0400)     marked as durable; a crash may lose the mark, which is made again
//
// There is no lock: two Puts of one blob write two scratch files, and the second
// rename changes nothing. Many small blobs are bound by fsync, and file systems gather
// fsyncs that come at the same time: put them side by side.
//
// On Windows directories need no fsync and have none, and a blob that is being read
// can't be deleted.
type Dir struct {
	root, scratch string
	bufs          buffers

	// shards holds which of the 256 shard directories are there and durable. Another
	// process may have made one and not synced it yet: only what this process synced
	// counts.
	shards [256]atomic.Bool
}

// OpenDir opens the store in path and makes it when it isn't there. It removes the
// scratch files of crashed processes: those untouched for a day, by the clock of the
// file system itself.
//
// It fails when the directory can't be made or written to.
func OpenDir(path string) (*Dir, error) {
	root, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("open blob directory: %w", err)
	}
	s := &Dir{root: filepath.Join(root, "sha256"), scratch: filepath.Join(root, "tmp")}
	for _, step := range []func() error{
		func() error { return makeDir(root) },
		func() error { return makeDir(s.scratch) },
		func() error { return makeDir(s.root) },
		s.findShards,
		func() error { return syncDir(root) },
		s.sweep,
	} {
		if err := step(); err != nil {
			return nil, fmt.Errorf("open blob directory: %w", err)
		}
	}
	return s, nil
}

// makeDir makes path and its parents, each of them durably.
func makeDir(path string) error {
	err := os.Mkdir(path, dirMode)
	if errors.Is(err, fs.ErrNotExist) && filepath.Dir(path) != path {
		if err := makeDir(filepath.Dir(path)); err != nil {
			return err
		}
		err = os.Mkdir(path, dirMode)
	}
	if errors.Is(err, fs.ErrExist) {
		return nil // if it is no directory, the next step says so
	}
	if err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

// findShards notes which shards there are. It syncs in any case: a process that
// crashed may have made them without.
func (s *Dir) findShards() error {
	entries, err := os.ReadDir(s.root)
	if err != nil {
		return err
	}
	if err := syncDir(s.root); err != nil {
		return err
	}
	for _, e := range entries {
		if i, ok := shardIndex(e.Name()); ok && e.IsDir() {
			s.shards[i].Store(true)
		}
	}
	return nil
}

// makeShard makes the directory of path, durably, if this process does not know it yet.
func (s *Dir) makeShard(path string) error {
	dir := filepath.Dir(path)
	i, _ := shardIndex(filepath.Base(dir))
	if s.shards[i].Load() {
		return nil
	}
	if err := os.Mkdir(dir, dirMode); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if err := syncDir(s.root); err != nil {
		return err
	}
	s.shards[i].Store(true)
	return nil
}

// shardIndex turns 00, 01 … ff into a number. Other names are no shards.
func shardIndex(name string) (i uint8, ok bool) {
	b, err := hex.DecodeString(name)
	if err != nil || len(b) != 1 || name != hex.EncodeToString(b) {
		return 0, false
	}
	return b[0], true
}

// sweep removes scratch files that are older than scratchLife. It compares them with a
// file that it just made, so that the clock of another machine (a network file system)
// can't make a living upload look old.
func (s *Dir) sweep() error {
	probe, err := os.CreateTemp(s.scratch, "clock-")
	if err != nil {
		return err
	}
	defer os.Remove(probe.Name())
	now, err := probe.Stat()
	if err := errors.Join(err, probe.Close()); err != nil {
		return err
	}
	entries, err := os.ReadDir(s.scratch)
	if err != nil {
		return err
	}
	for _, e := range entries {
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue // another process finished with it
		}
		if err != nil {
			return err
		}
		if now.ModTime().Sub(info.ModTime()) <= scratchLife || !info.Mode().IsRegular() {
			continue
		}
		if err := os.Remove(filepath.Join(s.scratch, e.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// Put implements [Store].
func (s *Dir) Put(ctx context.Context, d pedigree.Digest, size int64, r io.Reader) error {
	if err := begin(ctx, d); err != nil {
		return err
	}
	info, err := s.present(s.path(d))
	if err == nil && (size < 0 || size == info.Size()) {
		return nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return diskError(d, err)
	}
	// A file of another size is there: either it is damaged or the caller is wrong.
	// Receiving the bytes tells which, and mends the file if it was that.
	scratch, size, err := s.receive(ctx, d, size, r)
	if err != nil {
		return err
	}
	return s.publish(d, scratch, size)
}

// receive writes r to a scratch file and checks it. When it returns nil the file is
// whole, durable and closed; otherwise, and when r panics, it is gone.
func (s *Dir) receive(ctx context.Context, d pedigree.Digest, size int64, r io.Reader) (path string, got int64, err error) {
	f, err := os.CreateTemp(s.scratch, d.Short()+"-") // makes it with scratchMode
	if err != nil {
		return "", 0, diskError(d, err)
	}
	whole := false
	defer func() {
		if !whole {
			f.Close()
			os.Remove(f.Name())
		}
	}()
	if got, err = receive(ctx, d, size, r, &scratchFile{f: f, d: d}, &s.bufs); err != nil {
		return "", 0, err
	}
	// An fsync that failed is never tried again: the kernel may have dropped the pages
	// and would say yes the second time. The file goes, and the caller sends it again.
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return "", 0, diskError(d, err)
	}
	whole = true
	return f.Name(), got, nil
}

// Receive implements [Store].
func (s *Dir) Receive(ctx context.Context, r io.Reader) (pedigree.Digest, int64, error) {
	if err := ctx.Err(); err != nil {
		return "", 0, fmt.Errorf("receive a blob: %w", err)
	}
	f, err := os.CreateTemp(s.scratch, "upload-")
	if err != nil {
		return "", 0, diskError("", err)
	}
	whole := false
	defer func() {
		if !whole {
			f.Close()
			os.Remove(f.Name())
		}
	}()
	h := pedigree.NewHasher()
	if err := receiveUnknown(ctx, h, r, &scratchFile{f: f}, &s.bufs); err != nil {
		return "", 0, err
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return "", 0, diskError("", err)
	}
	whole = true
	return h.Digest(), h.Size(), s.publish(h.Digest(), f.Name(), h.Size())
}

// publish gives a whole, durable scratch file of blob d its name.
func (s *Dir) publish(d pedigree.Digest, scratch string, size int64) error {
	path := s.path(d)
	if s.stored(path, size) {
		os.Remove(scratch) // somebody else was faster
		return nil
	}
	err := s.makeShard(path)
	if err == nil {
		err = os.Rename(scratch, path)
	}
	if err != nil {
		os.Remove(scratch)
		if s.stored(path, size) { // Windows replaces no file that is read-only or being read
			return nil
		}
		return diskError(d, err)
	}
	// If this fails, the blob stays as it is, unmarked: whoever meets it next tries
	// again. Taking it away could take it from a Put that has already said yes.
	if err := s.settle(path); err != nil {
		return diskError(d, err)
	}
	return nil
}

// stored reports whether path holds a blob of that size already. A file of another size
// is damaged and makes way.
func (s *Dir) stored(path string, size int64) bool {
	info, err := s.present(path)
	if err == nil && info.Size() != size {
		_ = os.Chmod(path, scratchMode) // so that Windows lets it be replaced
		return false
	}
	return err == nil
}

// present says what is stored in path, an [fs.ErrNotExist] if nothing is. It upholds
// the invariant for the moment between rename and fsync in some other goroutine or
// process (or before the crash of one), and for files that were copied here from a
// backup: a blob that does not carry the mark is made durable before anyone sees it.
func (s *Dir) present(path string) (fs.FileInfo, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("not a regular file but %v", info.Mode().Type())
	}
	if marked := info.Mode()&0o200 == 0; !marked {
		if err := syncFile(path); err != nil {
			return nil, err
		}
		if err := s.settle(path); err != nil {
			return nil, err
		}
	}
	return info, nil
}

// settle makes the directory entry of path durable, and marks the file as such. The
// mark may fail (another owner, a read-only file system): it only saves the next one
// the trouble.
func (s *Dir) settle(path string) error {
	if err := s.makeShard(path); err != nil {
		return err
	}
	if err := syncDir(filepath.Dir(path)); err != nil {
		return err
	}
	_ = os.Chmod(path, storedMode)
	return nil
}

// Open implements [Store].
func (s *Dir) Open(ctx context.Context, d pedigree.Digest) (File, error) {
	if err := begin(ctx, d); err != nil {
		return nil, err
	}
	path := s.path(d)
	if _, err := s.present(path); err != nil {
		return nil, s.absent(d, err)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, s.absent(d, err)
	}
	info, err := f.Stat() // of the file that was opened: present's may have been replaced
	if err != nil {
		f.Close()
		return nil, diskError(d, err)
	}
	return &dirFile{File: f, size: info.Size()}, nil
}

// dirFile embeds the file itself, so that net/http finds the methods it needs for
// sendfile(2).
type dirFile struct {
	*os.File
	size int64
}

func (f *dirFile) Size() int64 { return f.size }

// Stat implements [Store].
func (s *Dir) Stat(ctx context.Context, d pedigree.Digest) (int64, error) {
	if err := begin(ctx, d); err != nil {
		return 0, err
	}
	info, err := s.present(s.path(d))
	if err != nil {
		return 0, s.absent(d, err)
	}
	return info.Size(), nil
}

// Delete implements [Store].
func (s *Dir) Delete(ctx context.Context, d pedigree.Digest) error {
	if err := begin(ctx, d); err != nil {
		return err
	}
	path := s.path(d)
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return diskError(d, err)
	}
	// Also when it was absent: a process may have crashed between the two.
	err := syncDir(filepath.Dir(path))
	if s.missing(err) {
		return nil
	}
	if err != nil {
		return diskError(d, err)
	}
	return nil
}

// List implements [Store]. Files that are no blobs are passed over.
func (s *Dir) List(ctx context.Context, fn func(d pedigree.Digest, size int64, modTime time.Time) error) error {
	shards, err := os.ReadDir(s.root) // sorted, as are the files in each
	if err != nil {
		return diskError("", err)
	}
	for _, shard := range shards {
		if _, ok := shardIndex(shard.Name()); !ok {
			continue
		}
		if err := s.listShard(ctx, shard.Name(), fn); err != nil {
			return err
		}
	}
	return nil
}

func (s *Dir) listShard(ctx context.Context, shard string, fn func(d pedigree.Digest, size int64, modTime time.Time) error) error {
	entries, err := os.ReadDir(filepath.Join(s.root, shard))
	if err != nil {
		return diskError("", err)
	}
	for _, e := range entries {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("list blobs: %w", err)
		}
		d, err := pedigree.ParseDigest("sha256:" + e.Name())
		if err != nil || d.Hex()[:2] != shard || !e.Type().IsRegular() {
			continue
		}
		info, err := s.present(s.path(d))
		if s.missing(err) {
			continue // deleted meanwhile
		}
		if err != nil {
			return diskError(d, err)
		}
		if err := fn(d, info.Size(), info.ModTime().UTC()); err != nil {
			return err
		}
	}
	return nil
}

// path returns where d is stored.
func (s *Dir) path(d pedigree.Digest) string {
	h := d.Hex()
	return filepath.Join(s.root, h[:2], h)
}

// absent is the error for a blob that could not be seen.
func (s *Dir) absent(d pedigree.Digest, err error) error {
	if s.missing(err) {
		return notFound(d)
	}
	return diskError(d, err)
}

// missing reports whether err says that something is not stored. That may only be said
// while the directory of all shards is there: a disk that is not mounted must not look
// like a store without blobs, nor an erasure on it like one that was done.
func (s *Dir) missing(err error) bool {
	if !errors.Is(err, fs.ErrNotExist) {
		return false
	}
	_, err = os.Stat(s.root)
	return err == nil
}

// scratchFile writes to a scratch file. Every few megabytes it asks the system to begin
// writing to the disk, so that the fsync at the end finds most of the work done.
type scratchFile struct {
	f              *os.File
	d              pedigree.Digest
	size, underway int64
}

func (w *scratchFile) Write(p []byte) (int, error) {
	n, err := w.f.Write(p)
	w.size += int64(n)
	if err != nil {
		return n, diskError(w.d, err)
	}
	const step = 4 << 20
	if w.size-w.underway >= step {
		startWriteback(w.f, w.underway, w.size-w.underway)
		w.underway = w.size
	}
	return n, nil
}

// diskError gives an error of the file system its code. The text of a coded error is
// sent to the caller, so it names no path; the cause, which does, is for the log.
func diskError(d pedigree.Digest, err error) error {
	switch {
	case isFull(err):
		return &pedigree.Error{
			Code:    pedigree.CodeUnavailable,
			Message: fmt.Sprintf("the disk is full: blob %s was not stored", cmp.Or(d, "of this upload")),
			Fix:     "free space on the disk of the blob directory, or add some, and send it again",
			Err:     err,
		}
	case errors.Is(err, fs.ErrNotExist):
		return &pedigree.Error{
			Code:    pedigree.CodeUnavailable,
			Message: "the blob directory is not there",
			Fix:     "mount its disk again, or restart the server to make the directory anew",
			Err:     err,
		}
	case d == "":
		return fmt.Errorf("blobs: %w", err)
	default:
		return fmt.Errorf("blob %s: %w", d, err)
	}
}
