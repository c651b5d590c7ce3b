// Package poll is what package net's tests take of internal/poll.
package poll

import (
	"errors"
	"net"
	"os"
)

// Errors as package net has them.
var (
	ErrNetClosing       = net.ErrClosed
	ErrFileClosing      = os.ErrClosed
	ErrDeadlineExceeded = os.ErrDeadlineExceeded
	ErrNoDeadline       = os.ErrNoDeadline
	ErrNotPollable      = errors.New("not pollable")
)

// A DeadlineExceededError is that of internal/poll's: no error is one, but ErrDeadlineExceeded is known by itself.
type DeadlineExceededError struct{ error }
