//go:build linux

package icmp

import (
	"encoding/binary"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/outband/outband/ipv4"
	"golang.org/x/sys/unix"
)

// An oracle is the running kernel, in a network namespace where nobody else
// sends.
type oracle struct {
	t   *testing.T
	raw int
}

func newOracle(t *testing.T) *oracle {
	// Without unlocking: the thread ends with the test, and the namespace with it.
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Skipf("needs a network namespace of its own: %v", err)
	}
	o := &oracle{t: t}
	o.raw = o.socket(unix.SOCK_RAW, unix.IPPROTO_ICMP)
	ifr, err := unix.NewIfreq("lo")
	if err != nil {
		t.Fatal(err)
	}
	ifr.SetUint16(unix.IFF_UP)
	if err := unix.IoctlIfreq(o.raw, unix.SIOCSIFFLAGS, ifr); err != nil {
		t.Fatal(err)
	}
	return o
}

func (o *oracle) socket(typ, proto int) int {
	o.t.Helper()
	fd, err := unix.Socket(unix.AF_INET, typ|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, proto)
	if err != nil {
		o.t.Fatal(err)
	}
	o.t.Cleanup(func() { unix.Close(fd) })
	return fd
}

// connected returns a UDP socket with a peer and with one option set, and the
// packet that an error about what it sent would quote.
func (o *oracle) connected(opt, v int) (int, []byte) {
	o.t.Helper()
	fd := o.socket(unix.SOCK_DGRAM, 0)
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_IP, opt, v); err != nil {
		o.t.Fatal(err)
	}
	if err := unix.Connect(fd, &unix.SockaddrInet4{Addr: ipv4.Addr{127, 0, 0, 1}, Port: 9}); err != nil {
		o.t.Fatal(err)
	}
	sa, err := unix.Getsockname(fd)
	if err != nil {
		o.t.Fatal(err)
	}
	ip := udpPacket(28)
	copy(ip[12:], []byte{127, 0, 0, 1, 127, 0, 0, 1})
	binary.BigEndian.PutUint16(ip[20:], uint16(sa.(*unix.SockaddrInet4).Port))
	binary.BigEndian.PutUint16(ip[22:], 9)
	return fd, ip
}

// hears sends an error to a socket and returns what the socket says of it.
func (o *oracle) hears(fd int, typ, code uint8, ip []byte) unix.Errno {
	o.t.Helper()
	rest := uint32(0)
	if typ == DestinationUnreachable && code == CodeFragmentation {
		rest = FragmentationRest(1400)
	}
	if err := unix.Sendto(o.raw, AppendError(nil, typ, code, rest, ip), 0,
		&unix.SockaddrInet4{Addr: ipv4.Addr{127, 0, 0, 1}}); err != nil {
		o.t.Fatal(err)
	}
	e, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err != nil {
		o.t.Fatal(err)
	}
	return unix.Errno(e)
}

func TestErrnoAgainstKernel(t *testing.T) {
	o := newOracle(t)
	all, allIP := o.connected(unix.IP_RECVERR, 1)
	hardOnly, hardIP := o.connected(unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_DONT)
	for typ := range uint8(20) {
		if typ == Echo || typ == Redirect || typ == Timestamp {
			continue // would be answered, or change the namespace's routes
		}
		for code := range uint8(20) {
			errno, hard, ok := Errno(typ, code)
			dont := errno
			if !ok {
				errno = 0
			}
			if !hard {
				dont = 0
			}
			if got := o.hears(all, typ, code, allIP); got != errno {
				t.Errorf("type %d code %d: %v, in Linux %v", typ, code, errno, got)
			}
			if got := o.hears(hardOnly, typ, code, hardIP); got != dont {
				t.Errorf("type %d code %d without IP_RECVERR: %v, in Linux %v", typ, code, dont, got)
			}
		}
	}
	mtu, mtuIP := o.connected(unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_DO)
	if got := o.hears(mtu, DestinationUnreachable, CodeFragmentation, mtuIP); got != unix.EMSGSIZE {
		t.Errorf("fragmentation needed with path MTU discovery: %v in Linux, hard by Errno's comment", got)
	}
}

// The defaults are those of a fresh namespace of the running kernel. Later
// kernels may have others: then this says so.
func TestLimiterDefaultsAgainstKernel(t *testing.T) {
	newOracle(t)
	cfg := DefaultLimiterConfig()
	for name, want := range map[string]int{
		"icmp_msgs_per_sec": cfg.MsgsPerSec,
		"icmp_msgs_burst":   cfg.MsgsBurst,
		"icmp_ratelimit":    int(cfg.RateLimit.Milliseconds()),
		"icmp_ratemask":     int(cfg.RateMask),
	} {
		b, err := os.ReadFile("/proc/sys/net/ipv4/" + name)
		if err != nil {
			t.Logf("%s: %v", name, err) // older kernels have the first two in the first namespace only
			continue
		}
		if got, err := strconv.Atoi(strings.TrimSpace(string(b))); err != nil || got != want {
			t.Logf("%s: %d here, %d in Linux 6.18", name, got, want)
			if strings.HasPrefix(kernelRelease(t), "6.18.") {
				t.Errorf("%s = %d, want %d", name, want, got)
			}
		}
	}
}

func kernelRelease(t *testing.T) string {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		t.Fatal(err)
	}
	return unix.ByteSliceToString(u.Release[:])
}
