package blob_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/internal/blob"
	"github.com/pedigree-ml/pedigree/internal/blob/blobtest"
)

const benchSize = 256 << 20

// BenchmarkPut is to be read beside BenchmarkSHA256 and BenchmarkWriteFsync: a Put
// can't be faster than the slower of the two.
func BenchmarkPut(b *testing.B) {
	data, d := blobtest.Bytes(1, benchSize)
	s, _ := mustOpenDir(b)
	b.SetBytes(benchSize)
	b.ReportAllocs()
	for b.Loop() {
		if err := s.Put(b.Context(), d, benchSize, bytes.NewReader(data)); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		if err := s.Delete(b.Context(), d); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}

func BenchmarkSHA256(b *testing.B) {
	data, _ := blobtest.Bytes(1, benchSize)
	b.SetBytes(benchSize)
	for b.Loop() {
		sha256.Sum256(data)
	}
}

func BenchmarkWriteFsync(b *testing.B) {
	data, _ := blobtest.Bytes(1, benchSize)
	path := filepath.Join(b.TempDir(), "file")
	b.SetBytes(benchSize)
	for b.Loop() {
		f, err := os.Create(path)
		if err != nil {
			b.Fatal(err)
		}
		for rest := data; len(rest) > 0; rest = rest[1<<20:] {
			if _, err := f.Write(rest[:1<<20]); err != nil {
				b.Fatal(err)
			}
		}
		if err := f.Sync(); err != nil {
			b.Fatal(err)
		}
		f.Close()
		b.StopTimer()
		os.Remove(path)
		b.StartTimer()
	}
}

func BenchmarkVerify(b *testing.B) {
	data, d := blobtest.Bytes(1, benchSize)
	s, _ := mustOpenDir(b)
	blobtest.MustPut(b, s, data)
	b.SetBytes(benchSize)
	for b.Loop() {
		if err := blob.Verify(b.Context(), s, d); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkPut200Small stores 200 files of 4 KiB, as a push of a tokenizer and its
// friends does, by so many goroutines.
func BenchmarkPut200Small(b *testing.B) {
	for _, workers := range []int{1, 4, 8, 16, 32} {
		b.Run(fmt.Sprintf("workers=%d", workers), func(b *testing.B) {
			s, _ := mustOpenDir(b)
			var round uint64
			for b.Loop() {
				round++
				files := make(chan uint64)
				var wg sync.WaitGroup
				for range workers {
					wg.Go(func() {
						data := make([]byte, 4096)
						for i := range files {
							binary.LittleEndian.PutUint64(data, round<<32|i)
							if err := s.Put(b.Context(), pedigree.DigestBytes(data), 4096, bytes.NewReader(data)); err != nil {
								b.Error(err)
							}
						}
					})
				}
				for i := range uint64(200) {
					files <- i
				}
				close(files)
				wg.Wait()
			}
		})
	}
}

// BenchmarkPutPresent is the cost of a file that is there already.
func BenchmarkPutPresent(b *testing.B) {
	s, _ := mustOpenDir(b)
	data, d := blobtest.Bytes(1, 4096)
	blobtest.MustPut(b, s, data)
	for b.Loop() {
		if err := s.Put(b.Context(), d, 4096, bytes.NewReader(data)); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkOpenDir opens a directory that has all its shards.
func BenchmarkOpenDir(b *testing.B) {
	_, path := mustOpenDir(b)
	for b.Loop() {
		if _, err := blob.OpenDir(path); err != nil {
			b.Fatal(err)
		}
	}
}
