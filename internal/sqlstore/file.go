package sqlstore

import (
	"context"
	"errors"
	"strings"

	"github.com/pedigree-ml/pedigree"
)

// TrackedFile is a file of a run or a logged model: a name for bytes that stay where
// they are. Writing the name again changes what it stands for, never the bytes.
type TrackedFile struct {
	// Path is the whole path below the artifact root of the project.
	Path   string
	Digest pedigree.Digest
	Size   int64
	// Time is milliseconds since 1970.
	Time int64
}

// TrackedEntry is one line of the list of a folder.
type TrackedEntry struct {
	Name  string
	IsDir bool
	Size  int64
}

// PutFile names bytes that are durable, and leases them. It returns
// [pedigree.CodeInvalid] where the path is a folder, or below a file.
func (s *Store) PutFile(ctx context.Context, project string, f TrackedFile) error {
	return s.own(ctx, func(ctx context.Context, tx *Tx) error {
		if err := tx.placeFor(ctx, project, f.Path); err != nil {
			return err
		}
		if err := tx.addBlob(ctx, project, f.Digest, f.Size); err != nil {
			return err
		}
		return tx.c.exec(ctx, `INSERT INTO own_files (project, path, digest, size, time) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (project, path) DO UPDATE SET digest = excluded.digest, size = excluded.size, time = excluded.time`,
			project, f.Path, string(f.Digest), f.Size, f.Time)
	})
}

// placeFor says whether a file may stand at path.
func (tx *Tx) placeFor(ctx context.Context, project, path string) error {
	var parents []string
	for i := range path {
		if path[i] == '/' {
			parents = append(parents, path[:i])
		}
	}
	var clash string
	found := func(rows rows) error { return rows.Scan(&clash) }
	if len(parents) > 0 {
		err := inLists(parents, func(chunk []string) error {
			in, args := list([]any{project}, chunk)
			return tx.each(ctx, "look for files", "SELECT path FROM own_files WHERE project = $1 AND path IN ("+in+")", args, found)
		})
		if err != nil {
			return err
		}
	}
	if clash != "" {
		return pedigree.Errorf(pedigree.CodeInvalid, "Invalid path: '%s' is a file", clash)
	}
	first, last := below(path)
	err := tx.each(ctx, "look for files", "SELECT path FROM own_files WHERE project = $1 AND path >= $2 AND path < $3 ORDER BY path LIMIT 1", []any{project, first, last}, found)
	if err == nil && clash != "" {
		err = pedigree.Errorf(pedigree.CodeInvalid, "Invalid path: '%s' is a directory", path)
	}
	return err
}

// below is the range of paths below a folder; "" is the root.
func below(folder string) (first, last string) {
	if folder == "" {
		return "", "\U0010ffff"
	}
	return folder + "/", folder + "0" // "0" comes right after "/"
}

// File finds a file by its path. It returns [pedigree.CodeNotFound].
func (tx *Tx) File(ctx context.Context, project, path string) (TrackedFile, error) {
	f := TrackedFile{Path: path}
	err := tx.row(ctx, "SELECT digest, size, time FROM own_files WHERE project = $1 AND path = $2", []any{project, path}, (*string)(&f.Digest), &f.Size, &f.Time)
	if errors.Is(err, errNoRows) {
		return f, pedigree.Errorf(pedigree.CodeNotFound, "No such artifact: '%s'", path)
	}
	return f, tx.s.d.translate(err, "find a file")
}

// IsFolder says whether there are files below path.
func (tx *Tx) IsFolder(ctx context.Context, project, path string) (bool, error) {
	first, last := below(path)
	found := false
	err := tx.each(ctx, "look for files", "SELECT path FROM own_files WHERE project = $1 AND path >= $2 AND path < $3 ORDER BY path LIMIT 1", []any{project, first, last}, func(rows rows) error {
		found = true
		var p string
		return rows.Scan(&p)
	})
	return found, err
}

// listChunk is how many files one step of listing a folder reads.
const listChunk = 1000

// ListFolder lists what is right below a folder, by name. A path that is a file or that
// nothing is below has nothing.
func (tx *Tx) ListFolder(ctx context.Context, project, folder string) ([]TrackedEntry, error) {
	first, last := below(folder)
	prefix := len(folder) + 1
	if folder == "" {
		prefix = 0
	}
	var out []TrackedEntry
	for next := first; ; {
		n, inside := 0, ""
		err := tx.each(ctx, "list files", "SELECT path, size FROM own_files WHERE project = $1 AND path >= $2 AND path < $3 ORDER BY path LIMIT $4",
			[]any{project, next, last, listChunk}, func(rows rows) error {
				var path string
				var size int64
				if err := rows.Scan(&path, &size); err != nil {
					return err
				}
				n++
				next = path + "\x01" // no path holds control characters
				name, _, isDir := strings.Cut(path[prefix:], "/")
				inside = ""
				if isDir {
					inside = path[:prefix] + name
				}
				if len(out) > 0 && out[len(out)-1].IsDir && isDir && out[len(out)-1].Name == name {
					return nil
				}
				entry := TrackedEntry{Name: name, IsDir: isDir}
				if !isDir {
					entry.Size = size
				}
				out = append(out, entry)
				return nil
			})
		if err != nil {
			return nil, err
		}
		if n < listChunk {
			return out, nil
		}
		if inside != "" { // the rest of this folder has nothing new
			_, next = below(inside)
		}
	}
}

// FilesBelow reads all files below a folder, with the folder's path left out, at most
// limit.
func (tx *Tx) FilesBelow(ctx context.Context, project, folder string, limit int) ([]pedigree.File, error) {
	first, last := below(folder)
	var out []pedigree.File
	err := tx.each(ctx, "list files", "SELECT path, digest, size FROM own_files WHERE project = $1 AND path >= $2 AND path < $3 ORDER BY path LIMIT $4", []any{project, first, last, limit}, func(rows rows) error {
		var f pedigree.File
		err := rows.Scan(&f.Path, (*string)(&f.Digest), &f.Size)
		f.Path = strings.TrimPrefix(f.Path, first)
		out = append(out, f)
		return err
	})
	return out, err
}

// DeleteFiles takes away a file, or all files below a folder. What is not there is no
// error.
func (s *Store) DeleteFiles(ctx context.Context, project, path string) error {
	return s.own(ctx, func(ctx context.Context, tx *Tx) error {
		first, last := below(path)
		if err := tx.c.exec(ctx, "DELETE FROM own_files WHERE project = $1 AND path = $2", project, path); err != nil {
			return err
		}
		return tx.c.exec(ctx, "DELETE FROM own_files WHERE project = $1 AND path >= $2 AND path < $3", project, first, last)
	})
}
