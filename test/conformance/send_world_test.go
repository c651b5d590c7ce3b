package conformance

import (
	"testing"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/arp"
	"github.com/outband/outband/link/tpacket"
	"github.com/outband/outband/sockapi"
	"github.com/outband/outband/stack"
	"github.com/outband/outband/test/lab"
)

// The judges of sending run the same program on a socket of the kernel's and on ours,
// over a device in the same state, and expect the same of both.

// A sendSide is whose sockets a program gets.
type sendSide struct {
	name   string
	kernel bool
	link   tpacket.Options // of ours
}

var (
	kernelSide = sendSide{name: "in-band", kernel: true}
	oursSide   = sendSide{name: "ours"}
	qdiscSide  = sendSide{name: "ours, Qdisc", link: tpacket.Options{Qdisc: true}}
)

// A sendWorld is a host whose sockets send by a device near0, to 10.9.0.2.
type sendWorld struct {
	t    testing.TB
	near *lab.Endpoint
	api  *sockapi.API
	side sendSide
}

// newSendWorld returns side's world at near, which knows the neighbour's address: what
// the device does to ARP is no concern of the judges.
func newSendWorld(t testing.TB, near *lab.Endpoint, side sendSide, far *lab.Endpoint) *sendWorld {
	t.Helper()
	st, err := stack.New(stack.Config{})
	check(t, err)
	t.Cleanup(func() { check(t, st.Close()) })
	w := &sendWorld{t: t, near: near, api: sockapi.New(st), side: side}
	if side.kernel {
		check(t, near.SetNeighbour(near.Name, far.Addr, far.MAC))
		return w
	}
	ifc, err := st.AddLink(openRing(t, near, side.link), stack.InterfaceConfig{ARP: arp.Config{AnnounceNum: -1}})
	check(t, err)
	check(t, ifc.AddAddress(near.Prefix()))
	check(t, ifc.SetNeighbour(far.Addr, far.MAC, arp.Permanent))
	return w
}

// sendLab is a lab of two ends for newSendWorld.
func sendLab(t testing.TB, side sendSide) *lab.Lab {
	t.Helper()
	c := lab.Config{Kernel: lab.Far}
	if side.kernel {
		c.Kernel = lab.All
	}
	l := lab.New(t, c)
	check(t, l.Far().SetNeighbour(l.Far().Name, l.Near().Addr, l.Near().MAC))
	return l
}

// socket opens a UDP socket, which closes with the test.
func (w *sendWorld) socket() *sockapi.Socket {
	w.t.Helper()
	var s *sockapi.Socket
	w.near.In(w.t, func() (err error) {
		typ := unix.SOCK_DGRAM
		if !w.side.kernel {
			typ |= sockapi.SOCK_OOB
		}
		s, err = w.api.Socket(unix.AF_INET, typ, 0)
		return err
	})
	w.t.Cleanup(func() { s.Close() })
	return s
}

// connected is socket, connected to a port of the far end's.
func (w *sendWorld) connected(port uint16) *sockapi.Socket {
	w.t.Helper()
	s := w.socket()
	check(w.t, s.Connect(sockapi.Inet4([4]byte{10, 9, 0, 2}, port)))
	return s
}

// batchOf returns sendmmsg's argument for payloads to the peer.
func batchOf(payloads ...[]byte) []sockapi.Mmsghdr {
	msgs := make([]sockapi.Mmsghdr, len(payloads))
	for i, p := range payloads {
		msgs[i].Hdr.Iov = [][]byte{p}
	}
	return msgs
}
