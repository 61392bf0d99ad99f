//go:build linux && (amd64 || arm64)

package blob

import (
	"os"
	"syscall"
)

// startWriteback asks the kernel to begin writing a range to the disk. It is only a
// hint: durability comes from the fsync at the end, and an error shows there.
func startWriteback(f *os.File, off, n int64) {
	const syncFileRangeWrite = 2
	c, err := f.SyscallConn()
	if err != nil {
		return
	}
	_ = c.Control(func(fd uintptr) {
		_ = syscall.SyncFileRange(int(fd), off, n, syncFileRangeWrite)
	})
}
