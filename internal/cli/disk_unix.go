//go:build linux || darwin || freebsd

package cli

import "golang.org/x/sys/unix"

// freeSpace is the number of bytes that may still be written below dir; ok is false
// where the system does not say.
func freeSpace(dir string) (free uint64, ok bool) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return 0, false
	}
	return uint64(s.Bavail) * uint64(s.Bsize), true
}
