package httpapi

import (
	"io"
	"mime"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/internal/httpx"
)

// Files is a version and the files of its stored artifact.
type Files struct {
	Resolved pedigree.Resolved `json:"resolved"`
	Artifact pedigree.Artifact `json:"artifact"`
}

// Digests asks which of them are missing.
type Digests struct {
	Digests []pedigree.Digest `json:"digests"`
}

// Missing are the digests to upload.
type Missing struct {
	Missing []pedigree.Digest `json:"missing"`
}

func (a *API) getArtifact(c *call) error {
	ref, at, err := c.referenceAt()
	if err != nil {
		return err
	}
	found, artifact, err := a.registrar.Artifact(c.ctx(), c.principal, ref, at)
	if err == nil {
		httpx.SetAsOf(c.w, found.AsOf)
	}
	return c.answer(Files{found, artifact}, err)
}

// pinned reads the version of the path and as_of, and resolves them, so that what is
// read then is of the version that the headers name, also while an alias moves.
func (c *call) pinned() (pedigree.Reference, pedigree.At, error) {
	ref, at, err := c.referenceAt()
	if err != nil {
		return ref, at, err
	}
	found, err := c.a.registrar.Resolve(c.ctx(), c.principal, ref, at)
	if err != nil {
		return ref, at, err
	}
	ref.Version, ref.Alias, ref.Digest = found.Number, "", ""
	c.w.Header().Set("Pedigree-Version", found.Number.String())
	httpx.SetAsOf(c.w, found.AsOf)
	return ref, at, nil
}

func (a *API) getManifest(c *call) error {
	ref, at, err := c.pinned()
	if err != nil {
		return err
	}
	b, digest, err := a.registrar.OpenManifest(c.ctx(), c.principal, ref, at)
	if err != nil {
		return err
	}
	return c.serveBlob(b, digest, pedigree.MediaTypeManifest)
}

func (a *API) getFile(c *call) error {
	path := c.r.PathValue("path")
	if err := pedigree.CheckPath(path); err != nil {
		return err
	}
	ref, at, err := c.pinned()
	if err != nil {
		return err
	}
	b, f, err := a.registrar.OpenFile(c.ctx(), c.principal, ref, path, at)
	if err != nil {
		return err
	}
	if f.Executable {
		c.w.Header().Set("Pedigree-Executable", "true")
	}
	return c.serveBlob(b, f.Digest, octets)
}

func (a *API) getEvidence(c *call) error {
	name := c.r.PathValue("name")
	if err := pedigree.CheckPath(name); err != nil {
		return err
	}
	ref, at, err := c.pinned()
	if err != nil {
		return err
	}
	b, e, err := a.registrar.OpenEvidence(c.ctx(), c.principal, ref, name, at)
	if err != nil {
		return err
	}
	return c.serveBlob(b, e.Digest, harmless(e.MediaType))
}

// harmless is a media type that a browser shows without running anything; others become
// bytes. Who registers a version must not be able to run a script under this origin.
func harmless(mediaType string) string {
	base, _, err := mime.ParseMediaType(mediaType)
	if err != nil {
		return octets
	}
	switch base {
	case "text/plain", "text/csv", "text/markdown":
		return base + "; charset=utf-8"
	case "application/json", "application/pdf", "image/png", "image/jpeg", "image/gif", "image/webp":
		return base
	}
	return octets
}

// serveBlob answers with bytes, or the ranges of them that are asked for, and closes
// them.
func (c *call) serveBlob(b io.ReadSeekCloser, digest pedigree.Digest, mediaType string) error {
	defer func() { _ = b.Close() }()
	c.w.Header().Set("Pedigree-Digest", string(digest))
	httpx.ServeContent(c.w, c.r, mediaType, `"`+string(digest)+`"`, b)
	return nil
}

func (a *API) verifyVersion(c *call) error {
	ref, at, err := c.pinned()
	if err != nil {
		return err
	}
	checks, err := a.registrar.VerifyVersion(c.ctx(), c.principal, ref, at)
	if checks == nil {
		checks = []pedigree.FileCheck{}
	}
	return c.answer(pedigree.List[pedigree.FileCheck]{Items: checks}, err)
}

func (a *API) missingBlobs(c *call) error {
	project, err := c.project()
	if err != nil {
		return err
	}
	var in Digests
	if err := c.decode(&in); err != nil {
		return err
	}
	missing, err := a.registrar.MissingBlobs(c.ctx(), c.principal, project, in.Digests)
	return c.answer(Missing{missing}, err)
}

func (a *API) putBlob(c *call) error {
	project, err := c.project()
	if err != nil {
		return err
	}
	digest, err := pedigree.ParseDigest(c.r.PathValue("digest"))
	if err != nil {
		return err
	}
	if err := a.registrar.PutBlob(c.ctx(), c.principal, project, digest, c.r.ContentLength, httpx.Upload(c.r)); err != nil {
		return err
	}
	c.w.Header().Set("Pedigree-Digest", string(digest))
	c.w.Header().Set("Content-Length", "0")
	c.w.WriteHeader(c.route.status())
	return nil
}
