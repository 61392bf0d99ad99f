package blob_test

import (
	"bytes"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/pedigree-ml/pedigree"
	"github.com/pedigree-ml/pedigree/internal/blob"
	"github.com/pedigree-ml/pedigree/internal/blob/blobtest"
)

const fullDiskEnv = "PEDIGREE_TEST_FULL_DISK"

// A full disk is a clear error, leaves nothing half done, and once there is space
// again everything works. The disk is real: a file system of 4 MiB that a child mounts
// in a name space of its own.
func TestDirFullDisk(t *testing.T) {
	if mountPoint := os.Getenv(fullDiskEnv); mountPoint != "" {
		fullDiskChild(t, mountPoint)
		return
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestDirFullDisk$", "-test.v")
	cmd.Env = append(os.Environ(), fullDiskEnv+"="+t.TempDir())
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
	}
	out, err := cmd.CombinedOutput()
	if _, ran := err.(*exec.ExitError); err != nil && !ran {
		t.Skipf("no user name spaces here: %v", err)
	}
	if strings.Contains(string(out), "--- SKIP") {
		t.Skipf("no mounts in name spaces here:\n%s", out)
	}
	if err != nil || !strings.Contains(string(out), "--- PASS: TestDirFullDisk") {
		t.Fatalf("child: %v\n%s", err, out)
	}
}

func fullDiskChild(t *testing.T, path string) {
	if err := syscall.Mount("none", path, "tmpfs", 0, "size=4m"); err != nil {
		t.Skipf("mount: %v", err)
	}
	s, err := blob.OpenDir(path)
	if err != nil {
		t.Fatal(err)
	}
	small, _ := blobtest.Bytes(1, 1<<20)
	blobtest.MustPut(t, s, small)
	for _, n := range []int{3<<20 + 1, 8 << 20} {
		big, d := blobtest.Bytes(uint64(n), n)
		for _, size := range []int64{int64(n), -1} {
			err := s.Put(t.Context(), d, size, bytes.NewReader(big))
			if pedigree.CodeOf(err) != pedigree.CodeUnavailable || !strings.HasPrefix(err.Error(), "the disk is full") {
				t.Errorf("Put of %d bytes: got %v (code %q), want code %q, the disk is full", n, err, pedigree.CodeOf(err), pedigree.CodeUnavailable)
			}
			if strings.Contains(err.Error(), path) {
				t.Errorf("error %q names a path of the server", err)
			}
			wantNoScratch(t, path)
			if _, err := s.Stat(t.Context(), d); pedigree.CodeOf(err) != pedigree.CodeNotFound {
				t.Errorf("Stat: got %v, want not found", err)
			}
		}
	}
	second, _ := blobtest.Bytes(2, 2<<20)
	d := blobtest.MustPut(t, s, second)
	if err := blob.Verify(t.Context(), s, d); err != nil {
		t.Error(err)
	}
}
