package registrar

import (
	"context"
	"path"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/internal/blob"
)

// OpenUnder opens one of the files that [Registrar.FilesUnder] lists. The caller closes
// it. It returns what that does, and [pedigree.CodeGone] where the bytes are not there
// any more.
func (r *Registrar) OpenUnder(ctx context.Context, p pedigree.Principal, project pedigree.ProjectName, artifactURI, file string) (blob.File, error) {
	root, err := r.trackedRoot(ctx, p, project, artifactURI)
	if err != nil {
		return nil, err
	}
	b, _, err := r.OpenTracked(ctx, p, project, path.Join(root, file))
	if pedigree.CodeOf(err) == pedigree.CodeNotFound && path.Base(root) == file { // the URI names the file itself
		b, _, err = r.OpenTracked(ctx, p, project, root)
	}
	return b, err
}
