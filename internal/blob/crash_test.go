package blob_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/internal/blob"
)

const (
	crashPathEnv  = "PEDIGREE_TEST_CRASH_PATH"
	crashRoundEnv = "PEDIGREE_TEST_CRASH_ROUND"
)

// A child process stores blobs as fast as it can and is killed at a random moment,
// twenty times on the same directory. Afterwards everything that is visible must have
// its digest, and everything that the child acknowledged must be visible.
func TestDirCrash(t *testing.T) {
	if path := os.Getenv(crashPathEnv); path != "" {
		crashChild(t, path, os.Getenv(crashRoundEnv))
		return
	}
	s, path := mustOpenDir(t)
	acked := make(map[pedigree.Digest]bool)
	for round := range 20 {
		for _, d := range killedChild(t, path, round) {
			acked[d] = true
		}
		visible := 0
		err := s.List(t.Context(), func(d pedigree.Digest, _ int64, _ time.Time) error {
			visible++
			return blob.Verify(t.Context(), s, d)
		})
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		for d := range acked {
			if _, err := s.Stat(t.Context(), d); err != nil {
				t.Errorf("round %d: acknowledged, then lost: %v", round, err)
			}
		}
		if round == 19 {
			t.Logf("%d blobs visible, %d acknowledged", visible, len(acked))
		}
	}
	if len(acked) == 0 {
		t.Error("no child acknowledged anything")
	}
	wantSweepable(t, path)
}

// killedChild runs a child until a random moment after its first acknowledgement and
// returns what it acknowledged.
func killedChild(t *testing.T, path string, round int) (acked []pedigree.Digest) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestDirCrash$")
	cmd.Env = append(os.Environ(), crashPathEnv+"="+path, fmt.Sprintf("%s=%d", crashRoundEnv, round))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Process.Kill()
	var once sync.Once
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		d, err := pedigree.ParseDigest(lines.Text())
		if err != nil { // the line that the kill cut short, or a failure of the child
			t.Logf("round %d: child says %q", round, lines.Text())
			continue
		}
		acked = append(acked, d)
		once.Do(func() {
			time.AfterFunc(rand.N(60*time.Millisecond), func() { _ = cmd.Process.Kill() })
		})
	}
	if err := cmd.Wait(); err == nil {
		t.Errorf("round %d: the child ended by itself", round)
	}
	return acked
}

// crashChild stores blobs of many sizes from four goroutines until it is killed.
func crashChild(t *testing.T, path, round string) {
	s, err := blob.OpenDir(path)
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for worker := range 4 {
		wg.Go(func() {
			for i := 0; ; i++ {
				b := []byte(fmt.Sprintf("round %s, worker %d, blob %d\n", round, worker, i))
				if i%3 != 0 {
					b = bytes.Repeat(b, 1<<rand.N(17)) // up to 3 MiB
				}
				d := pedigree.DigestBytes(b)
				if err := s.Put(t.Context(), d, -1, bytes.NewReader(b)); err != nil {
					t.Errorf("Put: %v", err)
					return
				}
				mu.Lock()
				_, err := io.WriteString(os.Stdout, string(d)+"\n")
				mu.Unlock()
				if err != nil {
					return
				}
			}
		})
	}
	wg.Wait()
}

// wantSweepable checks that what the killed children left in tmp goes away in time.
func wantSweepable(t *testing.T, path string) {
	t.Helper()
	left, err := filepath.Glob(filepath.Join(path, "tmp", "*"))
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d scratch files left by crashes", len(left))
	then := time.Now().Add(-48 * time.Hour)
	for _, file := range left {
		if err := os.Chtimes(file, then, then); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := blob.OpenDir(path); err != nil {
		t.Fatal(err)
	}
	wantNoScratch(t, path)
}
