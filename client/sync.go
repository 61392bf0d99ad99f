package client

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/pedigree-ml/pedigree"
)

// SyncFolder is a folder that follows a target or an alias. In it, "current" is a link to
// the folder of one version below "versions", and beside that folder lies the pointer that
// says which version it is, under the same name with ".json".
//
// A folder below "versions" is whole or not there, and is never changed once it has its
// name; the link is replaced in one step. So whoever opens "current" sees one whole version,
// at whatever step the process that keeps the folder was killed.
type SyncFolder struct {
	dest string
	lock *os.File
}

// The names within a SyncFolder.
const (
	syncCurrent  = "current"
	syncVersions = "versions"
	syncState    = ".pedigree"
	syncApplied  = "applied.json"
)

// OpenSync takes a folder, which is made where it is not there, until [SyncFolder.Close]. It
// returns [pedigree.CodeConflict] where another process has it.
func OpenSync(dest string) (*SyncFolder, error) {
	dest, err := filepath.Abs(dest)
	if err != nil {
		return nil, localError("sync", err)
	}
	for _, dir := range []string{syncVersions, syncState} {
		if err := os.MkdirAll(filepath.Join(dest, dir), 0o777); err != nil {
			return nil, localError("sync", err)
		}
	}
	s := &SyncFolder{dest: dest}
	if s.lock, err = os.OpenFile(filepath.Join(dest, syncState, "lock"), os.O_RDWR|os.O_CREATE, 0o666); err != nil {
		return nil, localError("sync", err)
	}
	held, err := lockFile(s.lock, false)
	if err == nil && !held {
		who, _ := os.ReadFile(filepath.Join(dest, syncState, "pid"))
		err = pedigree.Errorf(pedigree.CodeConflict, "another sync keeps %s (process %s)", dest, cmp.Or(strings.TrimSpace(string(who)), "unknown")).
			WithFix("let that one do it, or stop it first")
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(dest, syncState, "pid"), fmt.Appendln(nil, os.Getpid()), 0o666)
	}
	if err != nil {
		_ = s.lock.Close()
		return nil, localError("sync", err)
	}
	return s, nil
}

// Close gives the folder back.
func (s *SyncFolder) Close() error { return s.lock.Close() }

// Memory remembers, in the folder itself, the checkpoints that were seen.
func (s *SyncFolder) Memory() *Memory {
	return OpenMemory(filepath.Join(s.dest, syncState, "checkpoints"))
}

// Current is the path of the link that names the version.
func (s *SyncFolder) Current() string { return filepath.Join(s.dest, syncCurrent) }

// Path is the folder of a version by its name.
func (s *SyncFolder) Path(name string) string { return filepath.Join(s.dest, syncVersions, name) }

// Read returns the pointer of the version that the link names, and the name of its folder;
// nil where there is none yet. It does not read the files: see [SyncFolder.Verify]. It
// returns [pedigree.CodeCorrupt] for a link that sync did not make, without a name, and for
// a pointer that can't be read, with it: the next swap mends that.
func (s *SyncFolder) Read() (*pedigree.Pointer, string, error) { return readSynced(s.dest) }

func readSynced(dest string) (*pedigree.Pointer, string, error) {
	link, err := os.Readlink(filepath.Join(dest, syncCurrent))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, "", nil
	}
	if err != nil {
		return nil, "", pedigree.Errorf(pedigree.CodeCorrupt, "%s is not a link that sync made: %w", filepath.Join(dest, syncCurrent), err).
			WithFix("move it away, or sync to another folder")
	}
	dir, name := filepath.Split(filepath.Clean(link))
	if filepath.Clean(dir) != syncVersions {
		return nil, "", pedigree.Errorf(pedigree.CodeCorrupt, "%s links to %s, which sync did not make", filepath.Join(dest, syncCurrent), link).
			WithFix("move it away, or sync to another folder")
	}
	text, err := os.ReadFile(filepath.Join(dest, syncVersions, name+".json"))
	if err != nil {
		return nil, name, pedigree.Errorf(pedigree.CodeCorrupt, "the pointer of %s can't be read: %w", name, err)
	}
	var p pedigree.Pointer
	if err := json.Unmarshal(text, &p); err != nil {
		return nil, name, pedigree.Errorf(pedigree.CodeCorrupt, "the pointer of %s can't be read: %w", name, err)
	}
	return &p, name, nil
}

// Verify reads the files of a version and says whether all of p's are there, byte by byte;
// what a program has left beside them does not count. It returns [pedigree.CodeCorrupt] where they are not.
func (s *SyncFolder) Verify(ctx context.Context, name string, p *pedigree.Pointer) error {
	return verifySynced(ctx, s.Path(name), p)
}

func verifySynced(ctx context.Context, dir string, p *pedigree.Pointer) error {
	if err := p.CheckFiles(); err != nil {
		return err
	}
	whole, err := contains(ctx, dir, p.Files)
	if err == nil && !whole {
		err = pedigree.Errorf(pedigree.CodeCorrupt, "the files in %s are not those of %s", dir, p.Reference())
	}
	return err
}

// place is the name of the folder for what p stands for: one that holds just that already,
// or else one that is not there. What is damaged is passed over: something may read it.
func (s *SyncFolder) place(ctx context.Context, p *pedigree.Pointer) (name string, there bool, err error) {
	if err := p.CheckFiles(); err != nil {
		return "", false, err
	}
	base := p.Version.String() + "-" + p.Digest.Hex()[:16]
	for n := 1; ; n++ {
		if name = base; n > 1 {
			name = fmt.Sprintf("%s.%d", base, n)
		}
		if _, err := os.Lstat(s.Path(name)); errors.Is(err, fs.ErrNotExist) {
			return name, false, nil
		}
		there, err := contains(ctx, s.Path(name), p.Files)
		if err != nil || there {
			return name, there, err
		}
	}
}

// Fetch makes sure that the folder holds what p, which has its files, stands for, every byte
// of it compared with its digest, and returns the name of its folder and how many bytes
// came; progress is told when it begins to ask the registry. A fetch that broke off, or was
// killed, is gone on with by the next. The link is not touched.
func (s *SyncFolder) Fetch(ctx context.Context, c *Client, p *pedigree.Pointer, parallel int, progress Progress) (string, int64, error) {
	name, there, err := s.place(ctx, p)
	if err != nil || there {
		return name, 0, err
	}
	s.sweep(scratchOf(p.Files))
	if progress != nil {
		progress(ProgressEvent{Stage: "download"})
	}
	out, err := c.Pull(ctx, Pull{
		Reference: pedigree.Reference{Project: p.Project, Model: p.Model, Version: p.Version},
		Dest:      s.Path(name), Parallel: parallel, Resume: true, Progress: progress,
	})
	if err == nil && (out.ModelID != p.ModelID || out.Digest != p.Digest) {
		err = errors.Join(pedigree.Errorf(pedigree.CodeConflict, "%s was replaced by another model while it was fetched", p.Reference()).WithFix("try again"), os.RemoveAll(s.Path(name)))
	}
	return name, out.Bytes, err
}

// Sweep removes what was half fetched of versions that are not wanted any more: it is for
// when the registry has said that what is current is what should be.
func (s *SyncFolder) Sweep() { s.sweep("") }

// sweep removes what earlier fetches and prunes left half done, but for one folder.
func (s *SyncFolder) sweep(keep string) {
	entries, _ := os.ReadDir(filepath.Join(s.dest, syncVersions))
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") && e.Name() != keep {
			_ = os.RemoveAll(s.Path(e.Name())) // tried again the next time
		}
	}
}

// Fallback reads the pointer of the version that another folder of this kind has as its
// current one, without taking or changing that folder. It returns [pedigree.CodeNotFound]
// where there is none. Whether to believe it is for [CheckPointer] to say.
func Fallback(dir string) (pedigree.Pointer, string, error) {
	p, name, err := readSynced(dir)
	if err == nil && p == nil {
		err = pedigree.Errorf(pedigree.CodeNotFound, "%s has no version to fall back to", dir).WithFix("fill it while the registry answers: pedigree sync SOURCE %s", dir)
	}
	if err != nil {
		return pedigree.Pointer{}, "", err
	}
	return *p, filepath.Join(dir, syncVersions, name), nil
}

// Adopt copies the files of a version from another folder, each compared with its digest as
// it is copied, and returns the name of its folder here. The link is not touched.
func (s *SyncFolder) Adopt(ctx context.Context, from string, p *pedigree.Pointer) (string, error) {
	name, there, err := s.place(ctx, p)
	if err != nil || there {
		return name, err
	}
	scratch := s.Path(".copy-" + rand.Text()[:12])
	s.sweep("")
	if err := os.Mkdir(scratch, 0o777); err != nil {
		return "", localError("sync", err)
	}
	defer func() { _ = os.RemoveAll(scratch) }()
	if err := copyFiles(ctx, from, scratch, p.Files); err != nil {
		return "", localError("copy from "+from, err)
	}
	return name, localError("sync", publish(scratch, s.Path(name)))
}

func copyFiles(ctx context.Context, from, to string, files []pedigree.File) error {
	in, err := os.OpenRoot(from)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	out, err := os.OpenRoot(to)
	if err != nil {
		return err
	}
	defer func() { _ = out.Close() }()
	dirs := map[string]bool{".": true}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(4)
	for _, f := range files {
		path := filepath.FromSlash(f.Path)
		for dir := filepath.Dir(path); !dirs[dir]; dir = filepath.Dir(dir) {
			dirs[dir] = true
		}
		if err := out.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			return errors.Join(err, g.Wait())
		}
		g.Go(func() error { return copyFile(ctx, in, out, path, f) })
	}
	if err := g.Wait(); err != nil {
		return err
	}
	for dir := range dirs {
		if err := syncDir(filepath.Join(to, dir)); err != nil {
			return err
		}
	}
	return nil
}

func copyFile(ctx context.Context, in, out *os.Root, path string, f pedigree.File) error {
	r, err := in.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = r.Close() }()
	mode := fs.FileMode(0o666)
	if f.Executable {
		mode = 0o777
	}
	w, err := out.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	h := pedigree.NewHasher()
	_, err = transfer(ctx, h, w, r, nil)
	if err == nil && (h.Size() != f.Size || h.Digest() != f.Digest) {
		err = pedigree.Errorf(pedigree.CodeCorrupt, "%q has the digest %s, not %s", f.Path, h.Digest(), f.Digest)
	}
	if err == nil {
		err = w.Sync()
	}
	return errors.Join(err, w.Close())
}

// Swap makes a version the current one: its pointer is written, then the link is replaced in
// one step.
func (s *SyncFolder) Swap(name string, p *pedigree.Pointer) error {
	if err := s.write(filepath.Join(syncVersions, name+".json"), p); err != nil {
		return err
	}
	if link, err := os.Readlink(s.Current()); err == nil && link == filepath.Join(syncVersions, name) {
		return nil
	}
	next := filepath.Join(s.dest, syncState, "next")
	if err := os.Remove(next); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return localError("sync", err)
	}
	if err := os.Symlink(filepath.Join(syncVersions, name), next); err != nil {
		return pedigree.Errorf(pedigree.CodeUnsupported, "no link can be made in %s: %w", s.dest, err).WithFix("sync to a folder of a file system with symbolic links")
	}
	if err := os.Rename(next, s.Current()); err != nil {
		return pedigree.Errorf(pedigree.CodeExists, "%s is not a link that sync made: %w", s.Current(), err).WithFix("move it away, or sync to another folder")
	}
	return localError("sync", syncDir(s.dest))
}

// write makes or replaces a file in one step.
func (s *SyncFolder) write(path string, v any) error {
	text, err := encode(v)
	if err != nil {
		return err
	}
	path = filepath.Join(s.dest, path)
	scratch := filepath.Join(s.dest, syncState, "scratch")
	f, err := os.OpenFile(scratch, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o666)
	if err == nil {
		_, err = f.Write(text)
		err = errors.Join(err, f.Sync(), f.Close())
	}
	if err == nil {
		err = os.Rename(scratch, path)
	}
	if err == nil {
		err = syncDir(filepath.Dir(path))
	}
	return localError("sync", err)
}

// Applied is what was current when whoever uses the folder was last told so, without its
// files and proofs; nil where they never were.
func (s *SyncFolder) Applied() (*pedigree.Pointer, error) {
	text, err := os.ReadFile(filepath.Join(s.dest, syncState, syncApplied))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, localError("sync", err)
	}
	var p pedigree.Pointer
	if err := json.Unmarshal(text, &p); err != nil {
		return nil, nil //nolint:nilerr // told once more does no harm
	}
	return &p, nil
}

// SetApplied notes that whoever uses the folder knows of p.
func (s *SyncFolder) SetApplied(p pedigree.Pointer) error {
	p.Files, p.Events, p.Checkpoint = nil, nil, pedigree.Checkpoint{}
	return s.write(filepath.Join(syncState, syncApplied), p)
}

// Confirm notes that the registry has said now that what is current is what should be.
func (s *SyncFolder) Confirm(now time.Time) {
	_ = os.Chtimes(filepath.Join(s.dest, syncState, syncApplied), now, now) // for people
}

// Confirmed is when the registry last said so; zero where it never did.
func (s *SyncFolder) Confirmed() time.Time {
	info, err := os.Stat(filepath.Join(s.dest, syncState, syncApplied))
	if err != nil {
		return time.Time{}
	}
	return info.ModTime()
}

// Prune removes versions that are not current until at most keep are left, the current one
// among them; those that were current last stay. It returns the names of those that went.
func (s *SyncFolder) Prune(keep int) ([]string, error) {
	_, current, err := s.Read()
	if err != nil || current == "" {
		return nil, err
	}
	entries, err := os.ReadDir(filepath.Join(s.dest, syncVersions))
	if err != nil {
		return nil, localError("sync", err)
	}
	type version struct {
		name string
		at   time.Time
	}
	var others []version
	for _, e := range entries {
		name := e.Name()
		if !e.IsDir() || strings.HasPrefix(name, ".") || name == current {
			continue
		}
		v := version{name: name} // one without a pointer was never current
		if info, err := os.Stat(s.Path(name + ".json")); err == nil {
			v.at = info.ModTime()
		}
		others = append(others, v)
	}
	slices.SortFunc(others, func(a, b version) int { return b.at.Compare(a.at) })
	var gone []string
	for _, v := range others[min(len(others), max(keep-1, 0)):] {
		away := s.Path(".old-" + rand.Text()[:12])
		if err := os.Rename(s.Path(v.name), away); err != nil { // it is whole, or not there under its name
			return gone, localError("sync", err)
		}
		gone = append(gone, v.name)
		if err := errors.Join(os.RemoveAll(away), removeIfThere(s.Path(v.name+".json"))); err != nil {
			return gone, localError("sync", err)
		}
	}
	return gone, nil
}

func removeIfThere(path string) error {
	if err := os.Remove(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
