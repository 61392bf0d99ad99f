package client

import (
	"bytes"
	"cmp"
	"context"
	"io"
	"os"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/pedigree-ml/pedigree"
)

// Push says what to register, and which bytes go with it.
type Push struct {
	// Model is where the version is registered, in the client's project.
	Model pedigree.Name
	// Path is the file or the folder that becomes the artifact. "" leaves the artifact
	// to the registration: a link, or none.
	Path string
	// Registration is everything else that is recorded.
	Registration pedigree.Registration
	// Attachments are evidence with bytes that are not on the disk.
	Attachments []Attachment
	// Exclude are patterns, as [path.Match] has them, of paths or names in the folder
	// that are left out, besides .git, __pycache__, .DS_Store and .ipynb_checkpoints.
	Exclude []string
	// Parallel is the most uploads at a time; 0 stands for 8.
	Parallel int
	// Progress is told how it goes on; nil is told nothing.
	Progress Progress
}

// Attachment is evidence and its bytes; digest and size are filled in.
type Attachment struct {
	Evidence pedigree.Evidence
	Content  []byte
}

// Pushed is what came of a push.
type Pushed struct {
	pedigree.Registered
	// Uploaded and Reused are the bytes that were sent, and that the registry had.
	Uploaded int64 `json:"uploaded"`
	Reused   int64 `json:"reused"`
	// UploadedFiles counts the files that were sent.
	UploadedFiles int `json:"uploaded_files"`
}

// Push registers a version with its bytes: it hashes what is on the disk, uploads what
// the registry lacks, makes sure that nothing changed meanwhile, and registers. Whatever
// goes wrong, no version is registered that lacks a byte; a second try goes on where
// the first ended.
//
// It returns [pedigree.CodeInvalid] for a folder that can't be one artifact (links that
// leave it, names that differ by case alone …), [pedigree.CodeConflict] and the name of
// the file where one changed meanwhile, and what [Client.Register] returns.
func (c *Client) Push(ctx context.Context, p Push) (Pushed, error) {
	var out Pushed
	job := &push{c: c, Push: p, content: map[pedigree.Digest][]byte{}}
	if p.Path != "" {
		var err error
		if job.folder, err = openFolder(p.Path, p.Exclude); err != nil {
			return out, err
		}
		defer func() { _ = job.folder.root.Close() }()
	}
	reg, err := job.prepare(ctx)
	if err != nil {
		return out, err
	}
	// Once more where the registry lost a blob between saying that it has it and the
	// registration: its lease ran out during a very long upload.
	for try := 0; ; try++ {
		if err := job.upload(ctx, &out); err != nil {
			return out, err
		}
		if err := job.unchanged(); err != nil {
			return out, err
		}
		r := request{method: "POST", path: c.modelPath(p.Model, "versions"), in: reg, keyed: true}
		out.Registered, err = ask[pedigree.Registered](ctx, c, r)
		if pedigree.CodeOf(err) != pedigree.CodePrecondition || try > 0 {
			return out, err
		}
	}
}

// push is a [Push] under way.
type push struct {
	Push
	c       *Client
	folder  *folder
	content map[pedigree.Digest][]byte
}

// prepare hashes everything and completes the registration.
func (p *push) prepare(ctx context.Context) (pedigree.Registration, error) {
	reg := p.Registration
	reg.Record.Evidence = slices.Clone(reg.Record.Evidence)
	for _, a := range p.Attachments {
		a.Evidence.Digest, a.Evidence.Size = pedigree.DigestBytes(a.Content), int64(len(a.Content))
		reg.Record.Evidence = append(reg.Record.Evidence, a.Evidence)
		p.content[a.Evidence.Digest] = a.Content
	}
	if p.folder == nil {
		return reg, nil
	}
	if err := p.folder.checkNames(); err != nil {
		return reg, err
	}
	if err := p.folder.hash(ctx, p.Progress); err != nil {
		return reg, err
	}
	var err error
	if reg.Record.Artifact, err = pedigree.StoredArtifact(p.folder.list()); err != nil {
		return reg, err
	}
	return reg, reg.Record.Normalize() // what would be refused is refused before the upload
}

// blob is one thing to upload: a file of the folder, or content.
type blob struct {
	digest pedigree.Digest
	size   int64
	file   *localFile
}

// blobs lists what the version consists of, each digest once.
func (p *push) blobs() []blob {
	var all []blob
	seen := map[pedigree.Digest]bool{}
	add := func(b blob) {
		if !seen[b.digest] {
			seen[b.digest] = true
			all = append(all, b)
		}
	}
	if p.folder != nil {
		for i := range p.folder.files {
			f := &p.folder.files[i]
			add(blob{f.Digest, f.Size, f})
		}
	}
	for d, content := range p.content {
		add(blob{d, int64(len(content)), nil})
	}
	return all
}

// upload sends what the registry lacks, the largest first.
func (p *push) upload(ctx context.Context, out *Pushed) error {
	all := p.blobs()
	digests := make([]pedigree.Digest, len(all))
	for i, b := range all {
		digests[i] = b.digest
	}
	missing, err := p.c.MissingBlobs(ctx, digests)
	if err != nil {
		return err
	}
	lacks := map[pedigree.Digest]bool{}
	for _, d := range missing {
		lacks[d] = true
	}
	var todo []blob
	var total, reused int64
	for _, b := range all {
		if lacks[b.digest] {
			todo = append(todo, b)
			total += b.size
		} else {
			reused += b.size
		}
	}
	if out.Uploaded == 0 { // not the second time around
		out.Reused = reused
	}
	slices.SortFunc(todo, func(a, b blob) int { return cmp.Compare(b.size, a.size) })
	m := newMeter(p.Progress, "upload", len(todo), total)
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(cmp.Or(max(p.Parallel, 0), 8))
	for _, b := range todo {
		g.Go(func() error { return p.send(ctx, b, m) })
	}
	if err := g.Wait(); err != nil {
		return err
	}
	out.Uploaded += total
	out.UploadedFiles += len(todo)
	return nil
}

// send uploads one blob.
func (p *push) send(ctx context.Context, b blob, m *meter) error {
	if b.file == nil {
		content := p.content[b.digest]
		err := p.c.PutFile(ctx, b.digest, b.size, func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(content)), nil })
		m.add("", b.size, true)
		return err
	}
	var stop func(size int64)
	ended := func(size int64) {
		if stop != nil {
			stop(size)
			stop = nil
		}
	}
	err := p.c.PutFile(ctx, b.digest, b.size, func() (io.ReadCloser, error) {
		ended(0) // the try before this one counts for nothing
		f, err := p.folder.open(b.file)
		if err == nil && p.Progress != nil && b.size > bufferSize {
			stop = watch(f, func(n int64) { m.add(b.file.Path, n, false) })
		}
		return asBody(f), err
	})
	switch {
	case err == nil:
		watched := stop != nil
		ended(b.size)
		if watched {
			m.add(b.file.Path, 0, true)
		} else {
			m.add(b.file.Path, b.size, true)
		}
		return nil
	case ctx.Err() != nil:
		ended(0)
		return err
	}
	ended(0)
	if changed := p.folder.check(b.file); changed != nil {
		return changed
	}
	if pedigree.CodeOf(err) == pedigree.CodeCorrupt {
		return pedigree.Errorf(pedigree.CodeCorrupt, "the bytes of %q that arrived are not those that were hashed: %w", b.file.Path, err).
			WithFix("push again; if it happens again, check disk and memory of this machine")
	}
	return err
}

// asBody keeps a nil file from becoming a body that is not nil.
func asBody(f *os.File) io.ReadCloser {
	if f == nil {
		return nil
	}
	return f
}

// unchanged makes sure that every file is still as it was hashed.
func (p *push) unchanged() error {
	if p.folder == nil {
		return nil
	}
	for i := range p.folder.files {
		if err := p.folder.check(&p.folder.files[i]); err != nil {
			return err
		}
	}
	return nil
}
