package follow

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/inband"
	"github.com/outband/outband/internal/checksum"
)

// TestLearntPathMTU has a router say that a datagram is too big, and the kernel believe it.
func TestLearntPathMTU(t *testing.T) {
	l, far := uplinks(t)
	k := l.open()
	l.ip("route add 10.9.0.0/16 via 10.0.0.2")
	q := Query{Dst: ip4("10.9.0.1")}
	peer := netip.MustParseAddrPort("10.9.0.1:9")
	var u *inband.UDP
	must(t, l.Do(func() (err error) { u, err = inband.OpenUDP(netip.MustParseAddrPort("10.0.0.1:7777")); return err }))
	defer u.Close()
	must(t, u.Connect(peer))
	if a, errno := k.Route(q); errno != 0 || a.MTU != 0 || a.Expires != 0 {
		t.Fatal(a, errno)
	}
	must(t, far.fragmentationNeeded(netip.MustParseAddrPort("10.0.0.1:7777"), peer, 1300))
	eventually(t, "path MTU", func() bool { a, _ := k.Route(q); return a.MTU == 1300 })
	a, _ := k.Route(q)
	if a.Expires <= 0 || a.Expires > time.Hour || a.MTULocked || a.Device != l.index("up0") || a.Gateway != ip4("10.0.0.2") {
		t.Errorf("%+v", a)
	}
	if mtu, err := unix.GetsockoptInt(u.FD(), unix.IPPROTO_IP, unix.IP_MTU); err != nil || mtu != 1300 {
		t.Error("in-band:", mtu, err)
	}
	if a, _ := k.Route(Query{Dst: ip4("10.9.0.2")}); a.MTU != 0 {
		t.Errorf("another destination: %+v", a)
	}
}

// fragmentationNeeded sends an ICMP error about a datagram (RFC 1191).
func (l *lab) fragmentationNeeded(from, to netip.AddrPort, mtu uint16) error {
	b := make([]byte, 8+20+8)
	b[0], b[1] = 3, 4 // destination unreachable, fragmentation needed
	binary.BigEndian.PutUint16(b[6:], mtu)
	ip := b[8:]
	ip[0], ip[8], ip[9] = 0x45, 64, unix.IPPROTO_UDP
	binary.BigEndian.PutUint16(ip[2:], 1500)
	copy(ip[12:], from.Addr().AsSlice())
	copy(ip[16:], to.Addr().AsSlice())
	binary.BigEndian.PutUint16(ip[10:], ^checksum.Sum(ip[:20], 0))
	binary.BigEndian.PutUint16(ip[20:], from.Port())
	binary.BigEndian.PutUint16(ip[22:], to.Port())
	binary.BigEndian.PutUint16(ip[24:], 1480)
	binary.BigEndian.PutUint16(b[2:], ^checksum.Sum(b, 0))
	return l.Do(func() error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_ICMP)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		return unix.Sendto(fd, b, 0, &unix.SockaddrInet4{Addr: from.Addr().As4()})
	})
}
