//go:build !windows

package blob

import (
	"errors"
	"os"
	"syscall"
)

// syncDir makes the entries of a directory durable. Some network file systems have no
// fsync for directories; their entries are as durable as they get.
func syncDir(path string) error {
	err := syncFile(path)
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, errors.ErrUnsupported) {
		return nil
	}
	return err
}

// syncFile makes the bytes of a file durable that somebody else wrote.
func syncFile(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// isFull tells a full disk, or a quota that is used up, from other errors.
func isFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}
