package client

import (
	"errors"
	"os"

	"golang.org/x/sys/windows"
)

// lockFile takes a lock on an open file, which ends with the process at the latest; shared
// ones do not exclude each other. It says false, and does not wait, where somebody else has
// one that excludes it.
func lockFile(f *os.File, shared bool) (bool, error) {
	flags := uint32(windows.LOCKFILE_FAIL_IMMEDIATELY)
	if !shared {
		flags |= windows.LOCKFILE_EXCLUSIVE_LOCK
	}
	handle, whole := windows.Handle(f.Fd()), &windows.Overlapped{}
	if shared { // unlike elsewhere, a lock is not changed into another
		_ = windows.UnlockFileEx(handle, 0, 1, 0, &windows.Overlapped{})
	}
	err := windows.LockFileEx(handle, flags, 0, 1, 0, whole)
	if errors.Is(err, windows.ERROR_LOCK_VIOLATION) || errors.Is(err, windows.ERROR_IO_PENDING) {
		return false, nil
	}
	return err == nil, err
}
