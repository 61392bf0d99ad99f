package registrar

import (
	"context"
	"fmt"
	"io"
	"net/url"
	"path"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/internal/blob"
	"github.com/pedigree-ml/pedigree/internal/sqlstore"
)

// The nouns of files.
type (
	TrackedFile  = sqlstore.TrackedFile
	TrackedEntry = sqlstore.TrackedEntry
)

// versionsFolder is the folder of the artifact tree below which the registered versions
// are: versions/{model id}/{number}/… It is made of the versions themselves and can't
// be written to.
const versionsFolder = "versions"

// VersionURI is the root of a registered version's files in the artifact tree.
func VersionURI(modelID string, n pedigree.VersionNumber) string {
	return fmt.Sprintf("mlflow-artifacts:/%s/%s/%d", versionsFolder, modelID, n)
}

// CheckTrackedPath checks a path of the artifact tree: relative, slash-separated and
// clean, at most [pedigree.MaxPath] bytes of UTF-8 without control characters. It
// returns [pedigree.CodeInvalid].
func CheckTrackedPath(p string) error {
	switch {
	case p == "", !utf8.ValidString(p), len(p) > pedigree.MaxPath, strings.ContainsFunc(p, unicode.IsControl),
		strings.HasPrefix(p, "/"), strings.ContainsAny(p, `\#`), p == ".", p == "..", strings.HasPrefix(p, "../"), path.Clean(p) != p,
		len(p) >= 3 && p[1] == ':' && p[2] == '/': // a drive
		return pedigree.Errorf(pedigree.CodeInvalid, "Invalid path")
	}
	return nil
}

// versionPath takes a path below versionsFolder apart: the version, and the path within
// its artifact, "" for its root.
func versionPath(p string) (modelID string, n pedigree.VersionNumber, rest string, ok bool) {
	parts := strings.SplitN(p, "/", 4)
	if len(parts) < 3 || parts[0] != versionsFolder {
		return "", 0, "", false
	}
	n, err := pedigree.ParseVersionNumber(parts[2])
	if err != nil {
		return "", 0, "", false
	}
	if len(parts) == 4 {
		rest = parts[3]
	}
	return parts[1], n, rest, true
}

func isVersions(p string) bool {
	return p == versionsFolder || strings.HasPrefix(p, versionsFolder+"/")
}

// PutFile stores the bytes of body and gives them a path in the artifact tree of the
// project; what had the path before is not changed, only no longer named by it. It
// returns [pedigree.CodeInvalid] for a path that can't be one, that is a folder or lies
// below a file, or that belongs to a version.
func (r *Registrar) PutFile(ctx context.Context, by pedigree.Principal, project pedigree.ProjectName, p string, body io.Reader) error {
	if err := CheckTrackedPath(p); err != nil {
		return err
	}
	if isVersions(p) {
		return pedigree.Errorf(pedigree.CodeInvalid, "Invalid path: the files of a registered version can't be changed")
	}
	id, err := r.tracking(ctx, by, pedigree.RunsWrite, project)
	if err != nil {
		return err
	}
	digest, size, err := r.blobs.Receive(ctx, body)
	if err != nil {
		return err
	}
	return r.store.PutFile(ctx, id, TrackedFile{Path: p, Digest: digest, Size: size, Time: r.milliseconds()})
}

// OpenTracked opens a file of the artifact tree. The caller closes it. It returns
// [pedigree.CodeNotFound], [pedigree.CodeInvalid] for a folder, and [pedigree.CodeGone]
// where the bytes are not there any more.
func (r *Registrar) OpenTracked(ctx context.Context, by pedigree.Principal, project pedigree.ProjectName, p string) (blob.File, TrackedFile, error) {
	if err := CheckTrackedPath(p); err != nil {
		return nil, TrackedFile{}, err
	}
	f, err := r.findTracked(ctx, by, project, p)
	if err != nil {
		return nil, f, err
	}
	b, err := r.openBlob(ctx, f.Digest)
	return b, f, err
}

func (r *Registrar) findTracked(ctx context.Context, by pedigree.Principal, project pedigree.ProjectName, p string) (f TrackedFile, err error) {
	if isVersions(p) {
		t, rest, err := r.versionFiles(ctx, by, pedigree.BytesRead, project, p)
		if err != nil {
			return f, err
		}
		if file, ok := t.byPath[rest]; ok {
			return TrackedFile{Path: p, Digest: file.Digest, Size: file.Size}, nil
		}
		if len(t.entries(rest)) > 0 {
			return f, pedigree.Errorf(pedigree.CodeInvalid, "'%s' is a directory", p)
		}
		return f, pedigree.Errorf(pedigree.CodeNotFound, "No such artifact: '%s'", p)
	}
	err = r.readTracking(ctx, by, pedigree.BytesRead, project, func(tx *sqlstore.Tx, id string) (err error) {
		if f, err = tx.File(ctx, id, p); pedigree.CodeOf(err) != pedigree.CodeNotFound {
			return err
		}
		folder, folderErr := tx.IsFolder(ctx, id, p)
		switch {
		case folderErr != nil:
			return folderErr
		case folder:
			return pedigree.Errorf(pedigree.CodeInvalid, "'%s' is a directory", p)
		}
		return err
	})
	return f, err
}

// versionFiles finds the files of the version that a path below versionsFolder names,
// and what is left of the path. It returns [pedigree.CodeNotFound].
func (r *Registrar) versionFiles(ctx context.Context, by pedigree.Principal, permission pedigree.Permission, project pedigree.ProjectName, p string) (*fileTable, string, error) {
	missing := pedigree.Errorf(pedigree.CodeNotFound, "No such artifact: '%s'", p)
	modelID, n, rest, ok := versionPath(p)
	found := pedigree.Resolved{ModelID: modelID, Number: n}
	err := r.store.Read(ctx, pedigree.At{}, func(tx *sqlstore.Tx) error {
		if err := r.authorise(ctx, tx, by, permission, project); err != nil {
			return err
		}
		id, err := tx.ProjectID(ctx, project)
		if err != nil {
			return err
		}
		if !ok {
			return missing
		}
		there, err := tx.HasVersion(ctx, id, modelID, n)
		if err == nil && !there {
			err = missing
		}
		return err
	})
	if err != nil {
		return nil, "", err
	}
	t, err := r.fileTable(ctx, found)
	return t, rest, err
}

// entries lists what is right below a folder of an artifact, by name.
func (t *fileTable) entries(folder string) []TrackedEntry {
	prefix := ""
	if folder != "" {
		prefix = folder + "/"
	}
	var out []TrackedEntry
	for _, f := range t.artifact.Files { // sorted by path
		rest, ok := strings.CutPrefix(f.Path, prefix)
		if !ok {
			continue
		}
		name, _, isDir := strings.Cut(rest, "/")
		if isDir && len(out) > 0 && out[len(out)-1].IsDir && out[len(out)-1].Name == name {
			continue
		}
		e := TrackedEntry{Name: name, IsDir: isDir}
		if !isDir {
			e.Size = f.Size
		}
		out = append(out, e)
	}
	return out
}

// ListFolder lists what is right below a folder of the artifact tree, "" being its
// root, by name. A file and a path that is not there have nothing below them.
func (r *Registrar) ListFolder(ctx context.Context, by pedigree.Principal, project pedigree.ProjectName, folder string) (out []TrackedEntry, err error) {
	if folder != "" {
		if err := CheckTrackedPath(folder); err != nil {
			return nil, err
		}
	}
	if isVersions(folder) {
		t, rest, err := r.versionFiles(ctx, by, pedigree.RecordsRead, project, folder)
		switch {
		case pedigree.CodeOf(err) == pedigree.CodeNotFound:
			return nil, nil
		case err != nil:
			return nil, err
		}
		return t.entries(rest), nil
	}
	err = r.readTracking(ctx, by, pedigree.RunsRead, project, func(tx *sqlstore.Tx, id string) (err error) {
		out, err = tx.ListFolder(ctx, id, folder)
		return err
	})
	slices.SortFunc(out, func(a, b TrackedEntry) int { return strings.Compare(a.Name, b.Name) })
	return out, err
}

// DeleteFiles takes a file, or all files below a folder, out of the artifact tree.
// Versions that were registered from them keep them. What is not there is no error.
func (r *Registrar) DeleteFiles(ctx context.Context, by pedigree.Principal, project pedigree.ProjectName, p string) error {
	if err := CheckTrackedPath(p); err != nil {
		return err
	}
	if isVersions(p) {
		return pedigree.Errorf(pedigree.CodeInvalid, "Invalid path: the files of a registered version can't be changed")
	}
	id, err := r.tracking(ctx, by, pedigree.RunsWrite, project)
	if err != nil {
		return err
	}
	return r.store.DeleteFiles(ctx, id, p)
}

// TrackedPath turns an artifact URI of ours into a path of the artifact tree: of
// mlflow-artifacts: URIs, with or without a host. It reports false for other URIs.
func TrackedPath(uri string) (string, bool) {
	rest, ok := strings.CutPrefix(uri, "mlflow-artifacts:")
	if !ok {
		return "", false
	}
	if after, hasHost := strings.CutPrefix(rest, "//"); hasHost {
		_, rest, _ = strings.Cut(after, "/")
	}
	if decoded, err := url.PathUnescape(rest); err == nil && strings.Contains(rest, "%") {
		rest = decoded
	}
	rest = strings.Trim(rest, "/")
	return rest, rest != ""
}

// FilesUnder lists the files that an artifact URI of ours names, with paths relative to
// it: mlflow-artifacts:/…, runs:/RUN/path and models:/m-ID/path. One that names a
// single file has that file, under its own name. It returns nothing for a URI of ours
// without files, [pedigree.CodeUnsupported] for a URI that is not ours,
// [pedigree.CodeNotFound] for a run or a logged model that is not there,
// [pedigree.CodeInvalid], and [pedigree.CodeTooLarge] over [pedigree.MaxFiles].
func (r *Registrar) FilesUnder(ctx context.Context, by pedigree.Principal, project pedigree.ProjectName, artifactURI string) ([]pedigree.File, error) {
	root, err := r.trackedRoot(ctx, by, project, artifactURI)
	if err != nil {
		return nil, err
	}
	if err := CheckTrackedPath(root); err != nil {
		return nil, err
	}
	var files []pedigree.File
	if isVersions(root) {
		t, rest, err := r.versionFiles(ctx, by, pedigree.BytesRead, project, root)
		if err != nil {
			return nil, err
		}
		return t.below(rest), nil
	}
	err = r.readTracking(ctx, by, pedigree.BytesRead, project, func(tx *sqlstore.Tx, id string) (err error) {
		if files, err = tx.FilesBelow(ctx, id, root, pedigree.MaxFiles+1); err != nil || len(files) > 0 {
			return err
		}
		f, err := tx.File(ctx, id, root)
		switch pedigree.CodeOf(err) {
		case "":
			files = []pedigree.File{{Path: path.Base(root), Digest: f.Digest, Size: f.Size}}
		case pedigree.CodeNotFound:
			return nil
		}
		return err
	})
	if len(files) > pedigree.MaxFiles {
		return nil, pedigree.Errorf(pedigree.CodeTooLarge, "there are more than %d files under %s", pedigree.MaxFiles, artifactURI)
	}
	return files, err
}

// below lists the files below a folder of an artifact, with the folder's path left out.
func (t *fileTable) below(folder string) []pedigree.File {
	if folder == "" {
		return t.artifact.Files
	}
	if f, ok := t.byPath[folder]; ok {
		f.Path = path.Base(folder)
		return []pedigree.File{f}
	}
	var out []pedigree.File
	for _, f := range t.artifact.Files {
		if rest, ok := strings.CutPrefix(f.Path, folder+"/"); ok {
			f.Path = rest
			out = append(out, f)
		}
	}
	return out
}

// trackedRoot turns an artifact URI into a path of the artifact tree.
func (r *Registrar) trackedRoot(ctx context.Context, by pedigree.Principal, project pedigree.ProjectName, uri string) (string, error) {
	foreign := pedigree.Errorf(pedigree.CodeUnsupported, "the files of %s are not here", uri)
	if run, ok := strings.CutPrefix(uri, "runs:/"); ok {
		return r.runRoot(ctx, by, project, strings.Trim(run, "/"), foreign)
	}
	if model, ok := strings.CutPrefix(uri, "models:/m-"); ok {
		id, rest, _ := strings.Cut(strings.Trim(model, "/"), "/")
		m, err := r.LoggedModel(ctx, by, project, "m-"+id, false)
		if err != nil {
			return "", err
		}
		root, ok := TrackedPath(m.ArtifactURI)
		if !ok {
			return "", foreign
		}
		return path.Join(root, rest), nil
	}
	root, ok := TrackedPath(uri)
	if !ok {
		return "", foreign
	}
	return root, nil
}

// runRoot finds the files of "RUN/path". Since MLflow 3 a model is not among the files
// of its run but a logged model of its own, under the name that the path says.
func (r *Registrar) runRoot(ctx context.Context, by pedigree.Principal, project pedigree.ProjectName, rest string, foreign error) (string, error) {
	id, within, _ := strings.Cut(rest, "/")
	run, err := r.Run(ctx, by, project, id)
	if err != nil {
		return "", err
	}
	root, ok := TrackedPath(run.ArtifactURI)
	if !ok {
		return "", foreign
	}
	if err := CheckTrackedPath(path.Join(root, within)); err != nil {
		return "", err
	}
	full := path.Join(root, within)
	if within == "" {
		return full, nil
	}
	err = r.readTracking(ctx, by, pedigree.RunsRead, project, func(tx *sqlstore.Tx, projectID string) error {
		if there, err := tx.IsFolder(ctx, projectID, full); there || err != nil {
			return err
		}
		if _, err := tx.File(ctx, projectID, full); pedigree.CodeOf(err) != pedigree.CodeNotFound {
			return err
		}
		name, inside, _ := strings.Cut(within, "/")
		m, err := tx.LoggedModelOf(ctx, projectID, id, name)
		switch pedigree.CodeOf(err) {
		case "":
			if modelRoot, ok := TrackedPath(m.ArtifactURI); ok {
				full = path.Join(modelRoot, inside)
			}
		case pedigree.CodeNotFound:
			return nil
		}
		return err
	})
	return full, err
}
