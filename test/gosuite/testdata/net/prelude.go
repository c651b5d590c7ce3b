package gosuite

import (
	"errors"
	"net"
	"syscall"
	"testing"
)

// What package net's tests ask of the system: IPv4 only, and nothing of unix sockets, which are
// not what is tested.
func supportsIPv4() bool { return true }

func supportsIPv6() bool { return false }

func supportsIPv4map() bool { return true }

func supportsUnixSocket() bool { return false }

// Of internal packages.
var (
	testenv tester
	race    = struct{ Enabled bool }{raceEnabled}
	asan    = struct{ Enabled bool }{}
)

type tester struct{}

func (tester) MustHaveExternalNetwork(testing.TB) {} // nothing goes out
func (tester) SkipIfOptimizationOff(testing.TB)   {}
func (tester) HasExternalNetwork() bool           { return true }
func (tester) Builder() string                    { return "" }
func (tester) SkipFlaky(t testing.TB, _ int)      { t.Skip("known to package net to be flaky") }

func (tester) SyscallIsNotSupported(err error) bool {
	return errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.EACCES)
}

// Of package net, not exported.
var (
	errMissingAddress    = missingAddress()
	errCanceled          = errors.New("package net's alone")
	errTimeout           = errors.New("package net's alone")
	errNoSuitableAddress = errors.New("package net's alone")
)

func missingAddress() error {
	_, err := Dial("udp", "")
	return err.(*net.OpError).Err
}

type (
	pipeAddr     struct{ net.Addr }
	timeoutError struct{ error }
)

// A fileAddr is a string in package net.
type fileAddr string

func (fileAddr) Network() string  { return "file+net" }
func (f fileAddr) String() string { return string(f) }

// isWildcard reports whether an address is that of all.
func isWildcard(a net.Addr) bool {
	host, _, err := net.SplitHostPort(a.String())
	if err != nil {
		host = a.String()
	}
	ip := net.ParseIP(host)
	return ip == nil || ip.IsUnspecified()
}

// The groups that the kernel has joined are not those of a stack's sockets.
func multicastRIBContains(net.IP) (bool, error) { return true, nil }
