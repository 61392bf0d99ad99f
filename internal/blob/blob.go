// Package blob keeps bytes under their sha256 digest: [Dir] on a local disk, [Memory]
// for tests of other packages.
//
// It owns the bytes and nothing else. It must never know what they mean: no versions,
// names, projects, leases or SQL. Who may read a blob, whether somebody still needs
// it, and when it may go is decided above; this package does as it is told.
//
// The invariant: a blob that is visible under its digest is whole, durable, and has
// that digest. So [Store.Put] hashes while it receives and publishes in one step at
// the end, and a crash at any moment leaves either the whole blob or none, and at
// worst a scratch file that no reader sees. Keys are digests, so that writing twice
// is harmless and no correctness rests on a conditional write.
//
// What is not promised: a Put and a [Store.Delete] of the same digest at the same
// time. A Put that finds the blob present may answer just before the Delete takes it
// away; the collector's leases keep the two apart.
//
// Bytes that rot on the disk afterwards are found by [Verify] and mended by a Delete
// and another Put. Every implementation passes the suite in package blobtest.
package blob

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/pedigree-ml/pedigree"
)

// Store keeps blobs by digest. All methods may be called at the same time from many
// goroutines, and many processes may use one place.
//
// Besides the errors that each method lists, all of them return [pedigree.CodeInvalid]
// for a digest that is none (the empty one, or one that was never parsed), ctx's error
// when it ended (errors.Is finds it), [pedigree.CodeUnavailable] when the place of the
// bytes is not there or out of order for now, and unclassified errors for the rest.
// The messages of coded errors name digests and sizes, never a path or an address.
type Store interface {
	// Put stores the bytes of r under d. When it returns nil, the blob is durable.
	// A size below zero means that it is not known. A blob that is present already,
	// with that size where one was given, is confirmed without reading r.
	//
	// When r ends early, is too long or has another digest, Put returns
	// [pedigree.CodeCorrupt] with what it got and what was wanted; an
	// [io.ErrUnexpectedEOF] of r counts as ending early. Any other error of r comes
	// back wrapped, with its own code if it has one. [pedigree.CodeUnavailable] means
	// that there is no space left. After an error nothing is visible that was not
	// visible before. A Read that blocks is not interrupted by ctx: whoever made r
	// must see to that, as an HTTP server does for bodies.
	Put(ctx context.Context, d pedigree.Digest, size int64, r io.Reader) error

	// Receive stores the bytes of r, whose digest nobody knows yet, and returns it with
	// their number. It is for uploads that come without a digest; whoever knows it uses
	// Put, which sees that a blob is there already. Errors are those of Put, without
	// CodeCorrupt: what arrived is what was meant, unless r ended with an error.
	Receive(ctx context.Context, r io.Reader) (d pedigree.Digest, size int64, err error)

	// Open returns the bytes of d, which the caller must close. A reader that is open
	// already does not mind a Put of the same digest. [pedigree.CodeNotFound] when d
	// is not stored.
	Open(ctx context.Context, d pedigree.Digest) (File, error)

	// Stat returns the size of d: a promise that d is stored durably, not that its
	// bytes are still right (see [Verify]). [pedigree.CodeNotFound] when d is not
	// stored.
	Stat(ctx context.Context, d pedigree.Digest) (size int64, err error)

	// Delete removes d for good: when it returns nil, a crash does not bring d back.
	// Deleting what is not stored is no error.
	Delete(ctx context.Context, d pedigree.Digest) error

	// List calls fn for every blob, in ascending order of digests, with its size and
	// the time at which it was stored (UTC). It stops at the first error of fn and
	// returns that error as it is. Blobs that come or go meanwhile may be seen or not.
	List(ctx context.Context, fn func(d pedigree.Digest, size int64, modTime time.Time) error) error
}

// File is an open blob. It can be handed to [net/http.ServeContent] as it is; one of
// a [Dir] is sent to a TCP connection without passing through the process.
type File interface {
	io.ReadSeekCloser
	io.ReaderAt
	// Size returns the number of bytes.
	Size() int64
}

// Verify reads d from s again and hashes it. It returns [pedigree.CodeCorrupt] when the
// stored bytes are not those of d, and [pedigree.CodeNotFound] when d is not stored.
func Verify(ctx context.Context, s Store, d pedigree.Digest) error {
	f, err := s.Open(ctx, d)
	if err != nil {
		return err
	}
	defer f.Close()
	h := pedigree.NewHasher()
	buf := make([]byte, max(1, min(bufferSize, f.Size())))
	for err == nil {
		var n int
		n, err = fill(ctx, f, buf)
		h.Write(buf[:n])
	}
	if err != io.EOF {
		return fmt.Errorf("verify blob %s: %w", d, err)
	}
	if got := h.Digest(); got != d {
		return pedigree.Errorf(pedigree.CodeCorrupt,
			"the stored bytes of blob %s are damaged: got %d bytes with digest %s, wanted digest %s", d, h.Size(), got, d)
	}
	return nil
}

func notFound(d pedigree.Digest) error {
	return pedigree.Errorf(pedigree.CodeNotFound, "blob %s is not stored here", d)
}

// begin is the start of every method with a digest: a live context, a true digest.
// A [pedigree.Digest] is a string and may be empty or unchecked; here it becomes a
// path or a key, so this is the one place where checking it again is not too much.
func begin(ctx context.Context, d pedigree.Digest) error {
	if _, err := pedigree.ParseDigest(string(d)); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("blob %s: %w", d, err)
	}
	return nil
}
