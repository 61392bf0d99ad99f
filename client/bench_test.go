package client_test

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/client"
)

const benchSize = 256 << 20

// benchFile makes a file of random bytes, others for each seed.
func benchFile(b *testing.B, path string, seed uint64) {
	b.Helper()
	data := make([]byte, benchSize)
	var key [32]byte
	key[0], key[1] = byte(seed), byte(seed>>8)
	_, _ = rand.NewChaCha8(key).Read(data)
	if err := os.WriteFile(path, data, 0o644); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkPush pushes one large file that the registry does not have: it is hashed,
// sent over loopback, hashed again and made durable.
func BenchmarkPush(b *testing.B) {
	r := newRegistry(b)
	path := filepath.Join(b.TempDir(), "model.bin")
	b.SetBytes(benchSize)
	for i := 0; b.Loop(); i++ {
		b.StopTimer()
		benchFile(b, path, uint64(i))
		b.StartTimer()
		if _, err := r.Push(b.Context(), push("fraud", path)); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkPushUnchanged pushes the same file again: it is hashed, and nothing is sent.
func BenchmarkPushUnchanged(b *testing.B) {
	r := newRegistry(b)
	path := filepath.Join(b.TempDir(), "model.bin")
	benchFile(b, path, 1)
	b.SetBytes(benchSize)
	for b.Loop() {
		if _, err := r.Push(b.Context(), push("fraud", path)); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkPull pulls it: sent over loopback, hashed and made durable.
func BenchmarkPull(b *testing.B) {
	r := newRegistry(b)
	path := filepath.Join(b.TempDir(), "model.bin")
	benchFile(b, path, 1)
	if _, err := r.Push(b.Context(), push("fraud", path)); err != nil {
		b.Fatal(err)
	}
	dest := filepath.Join(b.TempDir(), "model")
	b.SetBytes(benchSize)
	for b.Loop() {
		if _, err := r.Pull(b.Context(), client.Pull{Reference: pedigree.Reference{Model: "fraud"}, Dest: dest}); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		if err := os.RemoveAll(dest); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}
