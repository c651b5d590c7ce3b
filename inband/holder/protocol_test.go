package holder

import (
	"testing"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/internal/netlab"
)

// unreachable reports whether the kernel says that it does not know a protocol: it sends a
// datagram of it over lo by a connected raw socket, whose pending error an ICMP error would
// be there when the call returns.
func unreachable(t *testing.T, n *netlab.Namespace, protocol int) bool {
	t.Helper()
	var told bool
	must(t, n.Do(func() error {
		// IPPROTO_RAW: it sends, and is not there to receive the protocol.
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		icmp, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.IPPROTO_ICMP)
		if err != nil {
			return err
		}
		defer unix.Close(icmp)
		packet := make([]byte, 28)
		packet[0], packet[8], packet[9] = 0x45, 64, byte(protocol)
		copy(packet[12:], []byte{127, 0, 0, 1, 127, 0, 0, 1})
		if err := unix.Sendto(fd, packet, 0, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
			return err
		}
		b := make([]byte, 128)
		got, _, err := unix.Recvfrom(icmp, b, 0)
		if err == unix.EAGAIN {
			return nil
		}
		told = got > 21 && b[20] == 3 && b[21] == 2 // destination unreachable, protocol unreachable
		return err
	}))
	return told
}

// While a protocol is held the kernel does not say that it does not know it.
func TestHoldProtocol(t *testing.T) {
	n := newSpace(t)
	must(t, n.SetSysctl("net/ipv4/icmp_ratemask", "0"))
	h := newHolders(t, n)
	const protocol = 253 // for experiments (RFC 3692)
	if !unreachable(t, n, protocol) {
		t.Fatal("the kernel does not answer to an unknown protocol: the test cannot tell")
	}
	release, e := h.HoldProtocol(protocol)
	ok(t, e)
	if unreachable(t, n, protocol) {
		t.Error("held, and the kernel answers")
	}
	release()
	if !unreachable(t, n, protocol) {
		t.Error("released, and the kernel is silent")
	}
}
