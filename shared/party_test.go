package shared

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/inband/claim"
	"github.com/outband/outband/sockapi"
	"github.com/outband/outband/test/lab"
)

// A party is where sockets are: in-band at an end, or in a stack there. All have the same
// calls.
type party struct {
	t    testing.TB
	name string
	end  *lab.Endpoint
	api  *sockapi.API // nil: in-band
}

func inBand(t testing.TB, e *lab.Endpoint) party {
	return party{t, "in-band", e, nil}
}

// party returns the sockets of a world's stack.
func (w *world) party(name string) party {
	return party{w.t, name, w.Near(), sockapi.New(w.st)}
}

// parties returns in-band sockets, and those of two stacks on the host.
func (w *world) parties(other *world) []party {
	return []party{inBand(w.t, w.Near()), w.party("here"), other.party("other")}
}

// open opens a UDP socket that waits at most Patience. It is bound unless local is zero.
func (p party) open(local netip.AddrPort, options ...[3]int) *sockapi.Socket {
	p.t.Helper()
	s, err := p.tryOpen(local, options...)
	if err != nil {
		p.t.Fatalf("%s at %s: %v", p.name, local, err)
	}
	return s
}

// tryOpen is open for what may fail.
func (p party) tryOpen(local netip.AddrPort, options ...[3]int) (s *sockapi.Socket, err error) {
	p.t.Helper()
	if p.api != nil {
		s, err = p.api.Socket(unix.AF_INET, unix.SOCK_DGRAM|sockapi.SOCK_OOB, 0)
	} else {
		p.end.In(p.t, func() error {
			s, err = sockapi.New(nil).Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
			return nil
		})
	}
	if err != nil {
		return nil, err
	}
	p.t.Cleanup(func() { s.Close() })
	check(p.t, s.SetsockoptTimeval(unix.SOL_SOCKET, unix.SO_RCVTIMEO, 5*time.Second))
	for _, o := range options {
		check(p.t, s.SetsockoptInt(o[0], o[1], o[2]))
	}
	if local.IsValid() {
		err = s.Bind(sockapi.InetAddrPort(local))
	}
	return s, err
}

// options of sockets.
var (
	reuseAddr = [3]int{unix.SOL_SOCKET, unix.SO_REUSEADDR, 1}
	broadcast = [3]int{unix.SOL_SOCKET, unix.SO_BROADCAST, 1}
	recvErr   = [3]int{unix.SOL_IP, unix.IP_RECVERR, 1}
	pktInfo   = [3]int{unix.SOL_IP, unix.IP_PKTINFO, 1}
	groups    = [3]int{unix.SOL_IP, unix.IP_MULTICAST_ALL, 0}
)

// sendTo sends a datagram, to the peer if to is zero.
func sendTo(t testing.TB, s *sockapi.Socket, data string, to netip.AddrPort) {
	t.Helper()
	var name sockapi.Sockaddr
	if to.IsValid() {
		name = sockapi.InetAddrPort(to)
	}
	if _, err := s.Sendmsg(&sockapi.Msghdr{Name: name, Iov: [][]byte{[]byte(data)}}, 0); err != nil {
		t.Fatalf("to %s: %v", to, err)
	}
}

// A receipt is what a socket has received.
type receipt struct {
	data     string
	from     netip.AddrPort
	to       netip.Addr // with IP_PKTINFO
	spec     netip.Addr
	device   int
	segment  int // with UDP_GRO
	msgFlags int
}

// receive receives a datagram.
func receive(t testing.TB, s *sockapi.Socket) receipt {
	t.Helper()
	r, err := tryReceive(s, 0)
	if err != nil {
		t.Fatalf("receive: %v", err)
	}
	return r
}

func tryReceive(s *sockapi.Socket, flags int) (r receipt, err error) {
	b, control := make([]byte, 65536), make([]byte, 256)
	m := sockapi.Msghdr{Iov: [][]byte{b}, Control: control}
	n, err := s.Recvmsg(&m, flags)
	if err != nil {
		return r, err
	}
	r.data, r.from, r.msgFlags = string(b[:n]), m.Name.AddrPort(), m.Flags
	for rest := control[:m.ControlLen]; ; {
		c, next, ok := sockapi.NextCmsg(rest)
		if !ok {
			return r, nil
		}
		switch {
		case c.Level == unix.SOL_IP && c.Type == unix.IP_PKTINFO:
			r.device = int(binary.NativeEndian.Uint32(c.Data))
			r.spec, r.to = netip.AddrFrom4([4]byte(c.Data[4:])), netip.AddrFrom4([4]byte(c.Data[8:]))
		case c.Level == unix.SOL_UDP && c.Type == unix.UDP_GRO:
			r.segment = int(binary.NativeEndian.Uint32(c.Data))
		}
		rest = next
	}
}

// silent fails if a socket has a datagram now.
func silent(t testing.TB, name string, s *sockapi.Socket) {
	t.Helper()
	if r, err := tryReceive(s, unix.MSG_DONTWAIT); err != unix.EAGAIN {
		t.Errorf("%s has received %.40q from %s, error %v", name, r.data, r.from, err)
	}
}

// A setting is a rung, and whether lo has a ring.
type setting struct {
	rung claim.Rung
	noLo bool
}

func (s setting) String() string {
	if s.noLo {
		return s.rung.String() + " without lo"
	}
	return s.rung.String()
}

// onEachSetting runs a test on every rung, with a ring on lo and without.
func onEachSetting(t *testing.T, c Config, f func(t *testing.T, w *world)) {
	t.Helper()
	for _, r := range rungs {
		for _, noLo := range []bool{false, true} {
			s := setting{r, noLo}
			t.Run(s.String(), func(t *testing.T) {
				c.Only, c.NoLo = r, noLo
				f(t, newWorld(t, c))
			})
		}
	}
}

// another opens another stack on the same host, as w's is.
func (w *world) another() *world { return worldOf(w.t, w.Lab, w.host.cfg) }

// text returns a payload of n bytes that begins with a number.
func text(i, n int) string {
	b := []byte(fmt.Sprintf("%d:", i))
	for len(b) < n {
		b = append(b, byte('a'+len(b)%26))
	}
	return string(b)
}
