package shared

import (
	"errors"

	"golang.org/x/sys/unix"
)

// errnoOf returns the errno that an error is or wraps, 0 for nil.
func errnoOf(err error) unix.Errno {
	var e unix.Errno
	if err == nil || errors.As(err, &e) {
		return e
	}
	return unix.EIO
}
