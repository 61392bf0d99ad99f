package blob

import (
	"errors"
	"syscall"
)

// syncDir does nothing: Windows has no fsync for directories, and NTFS journals renames.
func syncDir(string) error { return nil }

// syncFile does nothing: a file that is open for reading can't be flushed on Windows,
// and those of a Put were flushed before they got their name.
func syncFile(string) error { return nil }

// isFull tells a full disk from other errors.
func isFull(err error) bool {
	const handleDiskFull, diskFull, quotaExceeded = syscall.Errno(39), syscall.Errno(112), syscall.Errno(1295)
	return errors.Is(err, handleDiskFull) || errors.Is(err, diskFull) || errors.Is(err, quotaExceeded)
}
