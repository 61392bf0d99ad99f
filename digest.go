package pedigree

import (
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"io"
	"strings"
)

// Digest is the content address of some bytes: "sha256:" and 64 lower-case
// hexadecimal digits, as the OCI image specification writes it. The empty Digest
// means that none is known.
type Digest string

const digestPrefix = "sha256:"

// ParseDigest checks s. It returns [CodeInvalid] for anything but a sha256 digest.
func ParseDigest(s string) (Digest, error) {
	hexa, ok := strings.CutPrefix(s, digestPrefix)
	if !ok || len(hexa) != 2*sha256.Size || strings.Trim(hexa, "0123456789abcdef") != "" {
		return "", Errorf(CodeInvalid, "%q is not a digest: want sha256: and 64 lower-case hexadecimal digits", clip(s))
	}
	return Digest(s), nil
}

// DigestBytes returns the digest of b.
func DigestBytes(b []byte) Digest {
	sum := sha256.Sum256(b)
	return Digest(digestPrefix + hex.EncodeToString(sum[:]))
}

// Hex returns the hexadecimal part of d.
func (d Digest) Hex() string { return strings.TrimPrefix(string(d), digestPrefix) }

// Short returns the first twelve hexadecimal digits, for people.
func (d Digest) Short() string {
	h := d.Hex()
	return h[:min(12, len(h))]
}

// UnmarshalText implements [encoding.TextUnmarshaler]; empty text is the empty digest.
func (d *Digest) UnmarshalText(b []byte) error {
	if len(b) == 0 {
		*d = ""
		return nil
	}
	v, err := ParseDigest(string(b))
	*d = v
	return err
}

// Hasher computes the digest and the size of what is written to it.
type Hasher struct {
	h    hash.Hash
	size int64
}

// NewHasher returns an empty Hasher.
func NewHasher() *Hasher { return &Hasher{h: sha256.New()} }

// Write implements [io.Writer]; it never fails.
func (h *Hasher) Write(p []byte) (int, error) {
	h.size += int64(len(p))
	return h.h.Write(p)
}

// Digest returns the digest of what was written so far.
func (h *Hasher) Digest() Digest { return Digest(digestPrefix + hex.EncodeToString(h.h.Sum(nil))) }

// Size returns the number of bytes written so far.
func (h *Hasher) Size() int64 { return h.size }

// DigestReader reads r to its end and returns digest and size in bytes.
func DigestReader(r io.Reader) (Digest, int64, error) {
	h := NewHasher()
	if _, err := io.Copy(h, r); err != nil {
		return "", h.size, err
	}
	return h.Digest(), h.size, nil
}
