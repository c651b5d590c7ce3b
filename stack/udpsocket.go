package stack

import (
	"encoding/binary"
	"sync/atomic"

	"github.com/outband/outband/icmp"
	"github.com/outband/outband/internal/checksum"
	"github.com/outband/outband/ipv4"
	"github.com/outband/outband/stack/internal/counter"
	"github.com/outband/outband/stack/internal/option"
	"github.com/outband/outband/stack/internal/output"
	"github.com/outband/outband/udp"
	"golang.org/x/sys/unix"
)

// A UDPSocket sends and receives UDP datagrams (udp(7)).
type UDPSocket struct {
	place[*UDPSocket] // which a datagram finds the socket by: beside what it touches next
	IPSocket
	segmentSize atomic.Int32 // UDP_SEGMENT: bytes of payload in each datagram
}

// NewUDPSocket opens a UDP socket. ENFILE: there are too many (Config.Limits).
func (s *Stack) NewUDPSocket() (*UDPSocket, error) {
	k := new(UDPSocket)
	k.place.init(&k.IPSocket, s.udpPorts, k)
	if err := s.openIP(&k.IPSocket, k, ipv4.ProtocolUDP); err != nil {
		return nil, err
	}
	return k, nil
}

// HolderFD returns the descriptor of the in-band socket that holds the port, where a
// PortHolder has one; false: there is none. It stays the holder's.
func (k *UDPSocket) HolderFD() (fd int, ok bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if h, has := k.holdLocked().(interface{ FD() int }); has {
		fd = h.FD()
		return fd, fd >= 0
	}
	return -1, false
}

// AdoptHolder has the PortHolder take an in-band socket that holds the address and the port
// that are asked for next, instead of one of its own (PortRequest.Adopt). EOPNOTSUPP: there is
// no PortHolder. EBADF: the socket is closed.
func (k *UDPSocket) AdoptHolder(fd int) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case k.Closed():
		return unix.EBADF
	case !k.ports.Asks():
		return unix.EOPNOTSUPP
	}
	k.claim.Adopt, k.claim.Adopts = fd, true
	return nil
}

func (k *UDPSocket) name() string { return "udp" }

func (k *UDPSocket) takePortLocked(addr ipv4.Addr, port uint16) unix.Errno {
	r := k.binding.PortRange()
	return k.claimLocked(addr, port, uint16(r), uint16(r>>16), k.steeredLocked)
}

func (k *UDPSocket) connectLocked(src, dst ipv4.Addr, port uint16) unix.Errno {
	return k.ports.Table.Connect(&k.claim.Binding, src, dst, port)
}

func (k *UDPSocket) disconnectLocked() (release func()) {
	if k.port == 0 {
		return nil
	}
	k.holdNoPeerLocked()
	k.s.lockLanes()
	defer k.s.unlockLanes()
	release = k.place.disconnectLocked()
	k.steeredLocked()
	return release
}

func (k *UDPSocket) rebindLocked() unix.Errno {
	e := k.place.rebindLocked()
	if e == 0 && k.port != 0 {
		k.steeredLocked()
	}
	return e
}

func (k *UDPSocket) limits() (shortest, longest int) { return 0, maxDatagram }
func (k *UDPSocket) headerLen() int                  { return udp.HeaderLen }
func (k *UDPSocket) collects() bool                  { return true }
func (k *UDPSocket) forgivesLoss() bool              { return !k.errors.RecvErr() }
func (k *UDPSocket) lossCounter() counter.Kind       { return counter.UDPSndbufErrors }
func (k *UDPSocket) counters() []counter.Kind        { return udpCounters }

var udpCounters = []counter.Kind{counter.UDPOutDatagrams}

func (k *UDPSocket) address(spec *output.Spec, o *outgoing) unix.Errno {
	spec.Proto = ipv4.ProtocolUDP
	if o.explicit && spec.DstPort == 0 {
		return unix.EINVAL
	}
	return 0
}

func (k *UDPSocket) sendAlong(tx *output.Buffer, p *output.Path, spec *output.Spec, o *outgoing) unix.Errno {
	size := k.segment(o)
	if size == 0 {
		if e := k.checkLength(p, spec, o); e != 0 {
			return e // before all that follows, as on Linux
		}
	}
	if e := k.sendable(p); e != 0 {
		return e
	}
	if size > 0 {
		switch {
		case o.n > size:
			return k.sendSegments(tx, p, spec, o, size)
		case o.n > p.MaxData:
			return unix.EMSGSIZE // of one segment, but not to be cut by IP
		case k.sending.NoCheck():
			return unix.EINVAL
		}
	}
	return k.sendDatagram(tx, p, spec, o)
}

func (k *UDPSocket) payload(p *output.Path, spec *output.Spec, o *outgoing) ([]byte, unix.Errno) {
	b := k.s.pool.Get(udp.HeaderLen + o.n)
	sum := o.copySum(b[udp.HeaderLen:])
	sum = udp.FinishChecksum(p.UDPSum, udp.HeaderLen+o.n, sum)
	if k.sending.NoCheck() {
		sum = 0
	}
	udp.PutHeader(b, spec.SrcPort, spec.DstPort, o.n, sum)
	return b, 0
}

func (k *UDPSocket) errno(typ, code uint8) (e unix.Errno, hard, ok bool) {
	return icmp.Errno(typ, code)
}

// A PingSocket sends ICMP echo requests and receives the replies to them (icmp(7)). Its
// port is the ident in them.
type PingSocket struct {
	place[*PingSocket] // which a datagram finds the socket by: beside what it touches next
	IPSocket
}

// NewPingSocket opens a ping socket. ENFILE: there are too many (Config.Limits).
func (s *Stack) NewPingSocket() (*PingSocket, error) {
	k := new(PingSocket)
	k.place.init(&k.IPSocket, s.pingPorts, k)
	if err := s.openIP(&k.IPSocket, k, ipv4.ProtocolICMP); err != nil {
		return nil, err
	}
	return k, nil
}

func (k *PingSocket) name() string { return "icmp" }

func (k *PingSocket) bindLocked(addr ipv4.Addr, port uint16) unix.Errno {
	if k.s.routes.Net().ReceivesOnly(addr) || !k.bindable(addr) { // whoever holds idents knows no addresses
		return unix.EADDRNOTAVAIL
	}
	return k.place.bindLocked(addr, port)
}

func (k *PingSocket) takePortLocked(addr ipv4.Addr, port uint16) unix.Errno {
	return k.claimLocked(addr, port, 0, 0, func() {})
}

// connectLocked leaves the peer out: Linux' ping sockets hear everybody.
func (k *PingSocket) connectLocked(src, dst ipv4.Addr, port uint16) unix.Errno {
	k.ports.Table.Disconnect(&k.claim.Binding, src)
	return 0
}

func (k *PingSocket) disconnectLocked() (release func()) {
	if k.port == 0 {
		return nil
	}
	k.holdNoPeerLocked()
	k.s.lockLanes()
	defer k.s.unlockLanes()
	return k.place.disconnectLocked()
}

func (k *PingSocket) limits() (shortest, longest int) { return icmp.HeaderLen, maxDatagram }
func (k *PingSocket) headerLen() int                  { return 0 }
func (k *PingSocket) collects() bool                  { return false }
func (k *PingSocket) forgivesLoss() bool              { return false }
func (k *PingSocket) lossCounter() counter.Kind       { return counter.OtherSndbufErrors }
func (k *PingSocket) counters() []counter.Kind        { return pingCounters }

var pingCounters = []counter.Kind{counter.IPOutRequests, counter.ICMPOutMsgs, counter.ICMPOutEchos}

func (k *PingSocket) sendAlong(tx *output.Buffer, p *output.Path, spec *output.Spec, o *outgoing) unix.Errno {
	if e := k.checkLength(p, spec, o); e != 0 {
		return e // before all that follows, as on Linux
	}
	if e := k.sendable(p); e != 0 {
		return e
	}
	return k.sendDatagram(tx, p, spec, o)
}

func (k *PingSocket) payload(spec *output.Spec, o *outgoing) ([]byte, unix.Errno) {
	b := k.s.pool.Get(o.n) // of a whole header at least: see limits
	o.copyTo(b)
	if b[0] != icmp.Echo || b[1] != 0 {
		k.s.pool.Put(b)
		return nil, unix.EINVAL
	}
	binary.BigEndian.PutUint16(b[4:], spec.SrcPort)
	b[2], b[3] = 0, 0
	binary.BigEndian.PutUint16(b[2:], ^checksum.Sum(b, 0))
	return b, 0
}

func (k *PingSocket) errno(typ, code uint8) (e unix.Errno, hard, ok bool) {
	return icmp.PingErrno(typ, code)
}

// SetGRO says whether the socket takes datagrams that were joined into one by
// their sender or the device, with Info.SegmentSize (UDP_GRO in udp(7)).
func (k *UDPSocket) SetGRO(on bool) { k.recvExtras.Put(option.GRO, on) }

// GRO returns what SetGRO set.
func (k *UDPSocket) GRO() bool { return k.recvExtras.Has(option.GRO) }

// SetSegment makes every send cut its payload into datagrams of n bytes, the
// last maybe shorter (UDP_SEGMENT in udp(7)); 0 turns it off.
func (k *UDPSocket) SetSegment(n int) {
	k.segmentSize.Store(int32(n))
	k.sendExtras.Follow(option.Segmented, func() bool { return k.segmentSize.Load() > 0 })
}

// Segment returns what SetSegment set.
func (k *UDPSocket) Segment() int { return int(k.segmentSize.Load()) }
