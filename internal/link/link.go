// Package link reads what a linked artifact is: its digest, its size and how many
// files it has, so that a version whose bytes stay elsewhere can still be recognised.
//
// It runs in the client, with the credentials of the person or the job that pushes:
// the server follows no link of a record. Everything comes in by [Options]; there is
// no look at the process's own environment. Local files and folders, web servers, S3
// with all that speaks it, and Google Cloud Storage are read. A link of any other
// kind is recorded as it is, with a note that says so: registering must not depend on
// whether this machine can reach a store.
//
// A digest is the sha256 of an object, or, for what has several files, the digest of
// the OCI manifest that [pedigree.StoredArtifact] gives for them: a linked folder and
// a stored one with the same files have the same digest. Names that a push leaves out
// (.git, __pycache__ …) are left out here too. A bucket keeps no executable bit, so a
// folder with executable files has another digest there.
//
// Invariants: no credential and no signature reaches Info, an error or a note; what is
// recorded as a digest was computed here or is a sha256 that the store itself states,
// never an ETag; memory is bounded, whatever the size of the object or the listing.
package link

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
	"unicode"

	"github.com/pedigree-ml/pedigree"
)

// Options says with what a link is read. The zero value reads without credentials
// and hashes nothing but local files.
type Options struct {
	// Env looks up an environment variable and returns "" for one that is not set:
	// os.Getenv for the real one. Nil means an empty environment.
	Env func(name string) string
	// HTTP makes the requests; of S3 and Google Cloud Storage only its transport is
	// used. How redirects are followed is decided here. Nil means a client with the
	// default transport.
	HTTP *http.Client
	// Digest reads the bytes of a remote link and hashes them; a sha256 that the store
	// states must then be theirs. Without it a digest is had only from a store that
	// states one. Local files are always hashed.
	Digest bool
	// MaxBytes is the size above which nothing is hashed, local files included; for
	// what has several files it is their sum. Zero means no limit.
	MaxBytes int64
	// Progress is told how many bytes were hashed, of how many; total is -1 where the
	// store does not say. After an interruption done may go back. Calls never overlap.
	// Nil means that nobody wants to know.
	Progress func(done, total int64)
}

// Info is what could be read of a link.
type Info struct {
	// URI is the link without credentials; a local path has become a file URI.
	URI pedigree.SafeURI
	// Size is the size in bytes, of several files their sum; nil where unknown.
	Size *int64
	// Digest is empty where none could be had.
	Digest pedigree.Digest
	// Files is the number of files in a folder or of objects below a prefix, and 0 for
	// a link to a single object.
	Files int
	// Note says for the person why digest or size could not be had. It holds no secrets.
	Note string
}

// Read reads what uri links to: a local path, or a URI of the schemes file, http,
// https, s3 (also s3a and s3n) and gs. A link with any other scheme is no error: Info
// then has the URI and a Note.
//
// It returns [pedigree.CodeInvalid] for what is malformed, [pedigree.CodeNotFound]
// where there is no such object, [pedigree.CodeForbidden] where the credentials do not
// do, [pedigree.CodeUnavailable] when the store does not answer, also not a second
// time, [pedigree.CodeConflict] when the object changed while it was read, and
// [pedigree.CodeCorrupt] when its bytes are not what the store says they are.
func Read(ctx context.Context, uri string, o Options) (Info, error) {
	return newReader(uri, o).read(ctx)
}

// How long is waited, and how much is looked at.
const (
	patience   = time.Minute            // without a byte from a store, until it counts as silent
	pause      = 300 * time.Millisecond // before the second try
	workers    = 8                      // files hashed at the same time
	maxObjects = 1_000_000              // objects of a listing that are counted
	maxMessage = 300                    // characters of a store's own words
)

// reader reads one link.
type reader struct {
	Options
	uri      string // as it was given, with its credentials: in no message
	info     Info
	notes    []string
	meter    meter
	patience time.Duration
	pause    time.Duration
}

func newReader(uri string, o Options) *reader {
	if o.Env == nil {
		o.Env = func(string) string { return "" }
	}
	if o.HTTP == nil {
		o.HTTP = &http.Client{}
	}
	return &reader{Options: o, uri: uri, meter: meter{tell: o.Progress}, patience: patience, pause: pause}
}

func (r *reader) read(ctx context.Context) (Info, error) {
	if strings.TrimSpace(r.uri) == "" {
		return Info{}, pedigree.Errorf(pedigree.CodeInvalid, "a link needs a path or a URI")
	}
	var err error
	if r.info.URI, err = pedigree.ParseSafeURI(r.uri); err != nil {
		return Info{}, err
	}
	switch scheme := schemeOf(r.info.URI); scheme {
	case "":
		err = r.local(ctx, r.uri)
	case "file":
		err = r.file(ctx)
	case "http", "https":
		err = r.web(ctx)
	case "s3", "s3a", "s3n":
		err = r.s3(ctx)
	case "gs":
		err = r.gs(ctx)
	default:
		r.note("nobody here can read scheme %s; the link is recorded as it is", scheme)
	}
	if err != nil {
		return Info{}, err
	}
	r.info.Note = strings.Join(r.notes, "; ")
	return r.info, nil
}

// schemeOf returns the scheme of a URI in lower case, or "" for a path. A single
// letter is a drive of Windows. It looks at the safe URI: what stands before the first
// colon of the other may be a user name.
func schemeOf(uri pedigree.SafeURI) string {
	scheme, _, found := strings.Cut(string(uri), ":")
	if !found || len(scheme) < 2 {
		return ""
	}
	for i, c := range scheme {
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
		if !letter && (i == 0 || !(c >= '0' && c <= '9') && !strings.ContainsRune("+-.", c)) {
			return ""
		}
	}
	return strings.ToLower(scheme)
}

func (r *reader) note(format string, args ...any) {
	r.notes = append(r.notes, fmt.Sprintf(format, args...))
}

// fail makes an error that begins with the link.
func (r *reader) fail(code pedigree.ErrorCode, format string, args ...any) *pedigree.Error {
	return pedigree.Errorf(code, "%s: "+format, append([]any{clip(string(r.info.URI), maxMessage)}, args...)...)
}

// tooLarge says whether size is over the limit, and notes it.
func (r *reader) tooLarge(size int64) bool {
	if r.MaxBytes <= 0 || size <= r.MaxBytes {
		return false
	}
	r.note("its bytes were not hashed: it has %d, and no more than %d are", size, r.MaxBytes)
	return true
}

// retry calls f, and once more when the store did not answer.
func (r *reader) retry(ctx context.Context, f func() error) error {
	err := f()
	if pedigree.CodeOf(err) != pedigree.CodeUnavailable || r.wait(ctx) != nil {
		return err
	}
	return f()
}

// wait waits before the second try.
func (r *reader) wait(ctx context.Context) error {
	t := time.NewTimer(r.pause)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// errSilent is why a watched context ended.
var errSilent = errors.New("the store has gone silent")

// watch returns a context that ends when alive is not called for the time of patience,
// and a function to end it. Its cause is then errSilent.
func (r *reader) watch(ctx context.Context) (watched context.Context, alive, stop func()) {
	watched, cancel := context.WithCancelCause(ctx)
	t := time.AfterFunc(r.patience, func() { cancel(errSilent) })
	alive = func() { t.Reset(r.patience) }
	stop = func() {
		t.Stop()
		cancel(context.Canceled)
	}
	return watched, alive, stop
}

// reason is why a request under ctx failed: its cause when that ended it.
func reason(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// clip makes a text from outside fit for a message: one line, not too long.
func clip(s string, most int) string {
	s = strings.TrimSpace(strings.Map(func(c rune) rune {
		if unicode.IsControl(c) {
			return ' '
		}
		return c
	}, strings.ToValidUTF8(s, "")))
	if c := []rune(s); len(c) > most {
		return string(c[:most]) + "…"
	}
	return s
}
