package registrar

import (
	"bytes"
	"context"
	"io"
	"sync"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/internal/blob"
	"github.com/pedigree-ml/pedigree/internal/sqlstore"
)

func (r *Registrar) projectID(ctx context.Context, project pedigree.ProjectName) (id string, err error) {
	err = r.store.Read(ctx, pedigree.At{}, func(tx *sqlstore.Tx) (err error) {
		id, err = tx.ProjectID(ctx, project)
		return err
	})
	return id, err
}

// MissingBlobs says which of the digests must be uploaded to the project before a
// version that names them is registered; the others are kept for at least
// [sqlstore.Lease] from now.
func (r *Registrar) MissingBlobs(ctx context.Context, _ pedigree.Principal, project pedigree.ProjectName, digests []pedigree.Digest) ([]pedigree.Digest, error) {
	if len(digests) > 2*pedigree.MaxFiles {
		return nil, pedigree.Errorf(pedigree.CodeTooLarge, "%d digests in one question, the limit is %d", len(digests), 2*pedigree.MaxFiles)
	}
	for _, d := range digests {
		if _, err := pedigree.ParseDigest(string(d)); err != nil {
			return nil, err
		}
	}
	id, err := r.projectID(ctx, project)
	if err != nil {
		return nil, err
	}
	have, err := r.store.HaveBlobs(ctx, id, digests)
	if err != nil {
		return nil, err
	}
	missing := []pedigree.Digest{}
	for _, d := range digests {
		if have[d] { // says the database; the bytes may have been lost
			switch _, err := r.blobs.Stat(ctx, d); pedigree.CodeOf(err) {
			case "":
				continue
			case pedigree.CodeNotFound:
			default:
				return nil, err
			}
		}
		missing = append(missing, d)
	}
	return missing, nil
}

// PutBlob stores size bytes of body under their digest in the project; size -1 means
// unknown. The bytes are durable and checked when it returns. It returns
// [pedigree.CodeCorrupt] for bytes that are not what the digest says.
func (r *Registrar) PutBlob(ctx context.Context, _ pedigree.Principal, project pedigree.ProjectName, d pedigree.Digest, size int64, body io.Reader) error {
	id, err := r.projectID(ctx, project)
	if err != nil {
		return err
	}
	return r.putBlob(ctx, id, d, size, body)
}

// ReceiveBlob stores the bytes of body, whose digest nobody knows yet, in the project, and
// keeps them for at least [sqlstore.Lease] from now.
func (r *Registrar) ReceiveBlob(ctx context.Context, p pedigree.Principal, project pedigree.ProjectName, body io.Reader) (pedigree.Digest, int64, error) {
	if _, err := r.may(ctx, p, pedigree.VersionsWrite, project); err != nil {
		return "", 0, err
	}
	id, err := r.projectID(ctx, project)
	if err != nil {
		return "", 0, err
	}
	d, size, err := r.blobs.Receive(ctx, body)
	if err != nil {
		return "", 0, err
	}
	return d, size, r.store.AddBlobs(ctx, id, []pedigree.Digest{d}, []int64{size})
}

// stat is the size of stored bytes. Bytes that were found damaged are looked at once more;
// where they are damaged still they are removed, so that they can be stored again.
func (r *Registrar) stat(ctx context.Context, d pedigree.Digest) (int64, error) {
	damaged, err := r.store.Damaged(ctx, d)
	if err != nil {
		return 0, err
	}
	if damaged {
		switch err := blob.Verify(ctx, r.blobs, d); pedigree.CodeOf(err) {
		case "":
		case pedigree.CodeCorrupt:
			if err := r.blobs.Delete(ctx, d); err != nil {
				return 0, err
			}
		default:
			return 0, err
		}
	}
	return r.blobs.Stat(ctx, d)
}

func (r *Registrar) putBlob(ctx context.Context, projectID string, d pedigree.Digest, size int64, body io.Reader) error {
	have, err := r.stat(ctx, d)
	switch pedigree.CodeOf(err) {
	case "":
		// The store has the bytes, perhaps by way of another project: only who can
		// show them may name them, so they are read and checked all the same.
		got, n, err := pedigree.DigestReader(body)
		if err != nil {
			return pedigree.Errorf(pedigree.CodeInvalid, "the upload broke off after %d bytes: %w", n, err).WithFix("send them again")
		}
		if got != d {
			return pedigree.Errorf(pedigree.CodeCorrupt, "the bytes have digest %s, not %s", got, d).WithFix("send them again")
		}
		return r.store.AddBlobs(ctx, projectID, []pedigree.Digest{d}, []int64{have})
	case pedigree.CodeNotFound:
	default:
		return err
	}
	if err := r.blobs.Put(ctx, d, size, body); err != nil {
		return err
	}
	n, err := r.blobs.Stat(ctx, d)
	if err != nil {
		return err
	}
	return r.store.AddBlobs(ctx, projectID, []pedigree.Digest{d}, []int64{n})
}

// putManifest stores the manifest and the config of a stored artifact.
func (r *Registrar) putManifest(ctx context.Context, project pedigree.ProjectName, a *pedigree.Artifact) error {
	if a.Kind != pedigree.ArtifactStored {
		return nil
	}
	id, err := r.projectID(ctx, project)
	if err != nil {
		return err
	}
	manifest, config, err := pedigree.Manifest(a.Files)
	if err != nil {
		return err
	}
	digests := []pedigree.Digest{pedigree.DigestBytes(manifest), pedigree.DigestBytes(config)}
	sizes := []int64{int64(len(manifest)), int64(len(config))}
	for i, b := range [][]byte{manifest, config} {
		if _, err := r.stat(ctx, digests[i]); err != nil && pedigree.CodeOf(err) != pedigree.CodeNotFound {
			return err
		}
		if err := r.blobs.Put(ctx, digests[i], sizes[i], bytes.NewReader(b)); err != nil {
			return err
		}
	}
	return r.store.AddBlobs(ctx, id, digests, sizes)
}

// artifactCache keeps the file tables of stored artifacts, which never change: a pull
// of ten thousand files asks for one ten thousand times.
type artifactCache struct {
	mu     sync.Mutex
	tables map[string]*fileTable
}

type fileTable struct {
	artifact pedigree.Artifact
	byPath   map[string]pedigree.File
}

const maxArtifacts = 32

func (c *artifactCache) get(key string) *fileTable {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.tables[key]
}

func (c *artifactCache) put(key string, t *fileTable) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.tables == nil || len(c.tables) >= maxArtifacts {
		c.tables = map[string]*fileTable{}
	}
	c.tables[key] = t
}

func (r *Registrar) fileTable(ctx context.Context, found pedigree.Resolved) (*fileTable, error) {
	key := pedigree.VersionSubject(found.ModelID, found.Number)
	if t := r.artifacts.get(key); t != nil {
		return t, nil
	}
	t := &fileTable{byPath: map[string]pedigree.File{}}
	err := r.store.Read(ctx, pedigree.At{}, func(tx *sqlstore.Tx) (err error) {
		t.artifact, err = tx.Artifact(ctx, found.ModelID, found.Number)
		return err
	})
	if err != nil {
		return nil, err
	}
	for _, f := range t.artifact.Files {
		t.byPath[f.Path] = f
	}
	if t.artifact.Kind == pedigree.ArtifactStored {
		r.artifacts.put(key, t)
	}
	return t, nil
}

// stored resolves ref and returns its files. It returns [pedigree.CodeNotFound], and
// [pedigree.CodeUnsupported] for an artifact that is not stored here.
func (r *Registrar) stored(ctx context.Context, p pedigree.Principal, ref pedigree.Reference, at pedigree.At) (pedigree.Resolved, *fileTable, error) {
	found, err := r.Resolve(ctx, p, ref, at)
	if err != nil {
		return found, nil, err
	}
	name := pedigree.Reference{Model: found.Model, Version: found.Number}
	switch found.Kind {
	case pedigree.ArtifactLinked:
		return found, nil, pedigree.Errorf(pedigree.CodeUnsupported, "the artifact of %s is linked, not stored here", name).WithFix("pedigree show %s gives its URI", name)
	case pedigree.ArtifactNone:
		return found, nil, pedigree.Errorf(pedigree.CodeUnsupported, "%s has no artifact", name)
	}
	t, err := r.fileTable(ctx, found)
	return found, t, err
}

// Artifact resolves ref and returns its artifact: the files, for a pull. It returns
// what [Registrar.Resolve] returns, and [pedigree.CodeUnsupported] for an artifact that
// is not stored here.
func (r *Registrar) Artifact(ctx context.Context, p pedigree.Principal, ref pedigree.Reference, at pedigree.At) (pedigree.Resolved, pedigree.Artifact, error) {
	found, t, err := r.stored(ctx, p, ref, at)
	if err != nil {
		return found, pedigree.Artifact{}, err
	}
	return found, t.artifact, nil
}

// OpenFile opens one file of a stored artifact. The caller closes it. It returns
// [pedigree.CodeNotFound], and [pedigree.CodeGone] where the bytes are not there any
// more.
func (r *Registrar) OpenFile(ctx context.Context, p pedigree.Principal, ref pedigree.Reference, path string, at pedigree.At) (blob.File, pedigree.File, error) {
	_, t, err := r.stored(ctx, p, ref, at)
	if err != nil {
		return nil, pedigree.File{}, err
	}
	f, ok := t.byPath[path]
	if !ok {
		names := make([]string, 0, len(t.artifact.Files))
		for _, f := range t.artifact.Files {
			names = append(names, f.Path)
		}
		e := pedigree.Errorf(pedigree.CodeNotFound, "there is no file %q in %s", path, ref)
		if near := pedigree.Nearest(path, names); near != "" {
			e = e.WithFix("did you mean %s?", near)
		}
		return nil, pedigree.File{}, e
	}
	b, err := r.openBlob(ctx, f.Digest)
	return b, f, err
}

// OpenManifest opens the OCI manifest of a stored artifact. The caller closes it.
func (r *Registrar) OpenManifest(ctx context.Context, p pedigree.Principal, ref pedigree.Reference, at pedigree.At) (blob.File, pedigree.Digest, error) {
	found, _, err := r.stored(ctx, p, ref, at)
	if err != nil {
		return nil, "", err
	}
	b, err := r.openBlob(ctx, found.Digest)
	return b, found.Digest, err
}

// OpenEvidence opens the bytes of a version's evidence by its name. The caller closes
// them. It returns [pedigree.CodeNotFound].
func (r *Registrar) OpenEvidence(ctx context.Context, p pedigree.Principal, ref pedigree.Reference, name string, at pedigree.At) (blob.File, pedigree.Evidence, error) {
	v, err := r.Version(ctx, p, ref, at)
	if err != nil {
		return nil, pedigree.Evidence{}, err
	}
	for _, e := range v.Record.Evidence {
		if e.Name == name && e.Digest != "" && e.URI == "" {
			b, err := r.openBlob(ctx, e.Digest)
			return b, e, err
		}
	}
	return nil, pedigree.Evidence{}, pedigree.Errorf(pedigree.CodeNotFound, "%s has no evidence file %q", v.Reference(), name)
}

func (r *Registrar) openBlob(ctx context.Context, d pedigree.Digest) (blob.File, error) {
	b, err := r.blobs.Open(ctx, d)
	if pedigree.CodeOf(err) == pedigree.CodeNotFound {
		return nil, pedigree.Errorf(pedigree.CodeGone, "the bytes %s are not in the store any more", d).WithFix("pedigree verify says what else is missing")
	}
	return b, err
}

// VerifyVersion reads the stored bytes of a version again and compares them with their
// digests: every file, the manifest, and evidence. It returns the findings, the
// problems among them; an error means that the check itself could not be done.
func (r *Registrar) VerifyVersion(ctx context.Context, p pedigree.Principal, ref pedigree.Reference, at pedigree.At) ([]pedigree.FileCheck, error) {
	v, err := r.Version(ctx, p, ref, at)
	if err != nil {
		return nil, err
	}
	var checks []pedigree.FileCheck
	if a := v.Record.Artifact; a.Kind == pedigree.ArtifactStored {
		manifest, config, err := pedigree.Manifest(a.Files)
		if err != nil {
			return nil, err
		}
		checks = append(checks,
			pedigree.FileCheck{Path: "(manifest)", Digest: pedigree.DigestBytes(manifest), Size: int64(len(manifest))},
			pedigree.FileCheck{Path: "(config)", Digest: pedigree.DigestBytes(config), Size: int64(len(config))})
		for _, f := range a.Files {
			checks = append(checks, pedigree.FileCheck{Path: f.Path, Digest: f.Digest, Size: f.Size})
		}
	}
	for _, e := range v.Record.Evidence {
		if e.Digest != "" && e.URI == "" {
			checks = append(checks, pedigree.FileCheck{Path: "evidence/" + e.Name, Digest: e.Digest, Size: e.Size})
		}
	}
	for i := range checks {
		err := blob.Verify(ctx, r.blobs, checks[i].Digest)
		switch pedigree.CodeOf(err) {
		case "":
		case pedigree.CodeNotFound:
			checks[i].Problem = "missing"
		case pedigree.CodeCorrupt:
			checks[i].Problem = err.Error()
		default:
			return checks, err
		}
		if checks[i].Problem != "" { // the next push of these bytes mends it
			if err := r.store.MarkDamaged(ctx, checks[i].Digest); err != nil {
				return checks, err
			}
		}
	}
	return checks, nil
}
