package gonet

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
)

// errMissingAddress has the text of package net's error of that name, which it does not
// export.
var errMissingAddress = errors.New("missing address")

// errNoSuitableAddress is the text of package net's error of that name.
const errNoSuitableAddress = "no suitable address found"

// opError returns an error as package net does: what was done, and between which addresses.
func opError(op, network string, source, addr net.Addr, err error) error {
	return &net.OpError{Op: op, Net: network, Source: source, Addr: addr, Err: err}
}

// syscallError wraps what a socket's call returned, which would be a system call in package
// net; nil stays nil.
func syscallError(call string, err error) error {
	switch err.(type) {
	case nil:
		return nil
	case unix.Errno:
		if err == unix.EBADF {
			return net.ErrClosed
		}
		return os.NewSyscallError(call, err)
	}
	return err
}

// notIPv4 is what package net says of an address of another family.
func notIPv4(ip string) error { return &net.AddrError{Err: "non-IPv4 address", Addr: ip} }

// contextError returns the error that package net has for a context's.
func contextError(err error) error {
	switch err {
	case context.Canceled:
		return errCanceled
	case context.DeadlineExceeded:
		return errTimeout
	default:
		return err
	}
}

// errCanceled and errTimeout have the texts and methods of package net's errors of those
// names, which it does not export.
var (
	errCanceled error = canceledError{}
	errTimeout  error = &timeoutError{}
)

type canceledError struct{}

func (canceledError) Error() string        { return "operation was canceled" }
func (canceledError) Is(target error) bool { return target == context.Canceled }

type timeoutError struct{}

func (*timeoutError) Error() string        { return "i/o timeout" }
func (*timeoutError) Timeout() bool        { return true }
func (*timeoutError) Temporary() bool      { return true }
func (*timeoutError) Is(target error) bool { return target == context.DeadlineExceeded }

// addrPortAddr is the address in an error of the AddrPort methods.
type addrPortAddr struct{ netip.AddrPort }

// Network implements net.Addr.
func (addrPortAddr) Network() string { return "udp" }
