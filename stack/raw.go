package stack

import (
	"bytes"
	"encoding/binary"
	"math"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/outband/outband/icmp"
	"github.com/outband/outband/internal/checksum"
	"github.com/outband/outband/ipv4"
	"github.com/outband/outband/link"
	"github.com/outband/outband/stack/internal/counter"
	"github.com/outband/outband/stack/internal/output"
	"github.com/outband/outband/stack/internal/port"
	"github.com/outband/outband/stack/internal/route"
	"golang.org/x/sys/unix"
)

// Raw sockets (raw(7)) send and receive IP datagrams of one protocol, whole and
// with their headers. A stack without any has Stack.raws nil.

const (
	protocolRaw     = unix.IPPROTO_RAW // implies IP_HDRINCL
	maxWireProtocol = 255              // what an IP header has room for
	maxProtocol     = 262              // IPPROTO_MAX-1
)

// A RawSocket sends and receives IP datagrams of one protocol, whole and with their
// headers (raw(7)).
type RawSocket struct {
	IPSocket
	protocol       uint16
	headerIncluded atomic.Bool   // IP_HDRINCL
	noDefragment   atomic.Bool   // IP_NODEFRAG
	filter         atomic.Uint32 // ICMP_FILTER: the types, as bits, that are not wanted

	match rawMatch
}

// rawMatch is which datagrams a raw socket gets. It is guarded by the lanes' locks.
type rawMatch struct {
	local, peer ipv4.Addr // zero: any
	device      int32     // 0: any
	entered     bool      // the socket is in the table
}

// rawTable holds the raw sockets by protocol. It is guarded by the lanes' locks.
type rawTable struct {
	n       int
	sockets [maxWireProtocol + 1][]*RawSocket
}

// NewRawSocket makes a raw socket for an IP protocol (raw(7)): it receives
// every datagram of that protocol, with its IP header, and sends some.
// IPPROTO_RAW begins with SetHeaderIncluded. EPROTONOSUPPORT: 0. EINVAL: not a
// protocol.
func (s *Stack) NewRawSocket(proto int) (*RawSocket, error) {
	if s.Closed() {
		return nil, unix.ENETDOWN
	}
	switch {
	case proto < 0 || proto > maxProtocol:
		return nil, unix.EINVAL
	case proto == 0:
		return nil, unix.EPROTONOSUPPORT
	}
	k := &RawSocket{protocol: uint16(proto)}
	k.port = uint16(proto)
	k.headerIncluded.Store(proto == protocolRaw)
	if err := s.openIP(&k.IPSocket, k, uint8(proto)); err != nil {
		return nil, err
	}
	s.lockLanes()
	if !k.Closed() {
		s.enterRawLocked(k)
	}
	s.unlockLanes()
	s.wantsChanged()
	return k, nil
}

// enterRawLocked lets a raw socket receive. The locks of all lanes are held.
func (s *Stack) enterRawLocked(k *RawSocket) {
	if k.protocol > maxWireProtocol {
		return
	}
	if s.raws == nil {
		s.raws = new(rawTable)
	}
	s.raws.n++
	list := &s.raws.sockets[k.protocol]
	*list = append(*list, k)
	k.match.entered = true
}

// leaveRawLocked undoes enterRawLocked. The locks of all lanes are held.
func (s *Stack) leaveRawLocked(k *RawSocket) {
	if !k.match.entered {
		return
	}
	k.match.entered = false
	list := &s.raws.sockets[k.protocol]
	*list = slices.DeleteFunc(*list, func(other *RawSocket) bool { return other == k })
	if s.raws.n--; s.raws.n == 0 {
		s.raws = nil
	}
}

// bindLocked may bind the socket again, until it is connected.
func (k *RawSocket) bindLocked(addr ipv4.Addr, _ uint16) unix.Errno {
	if k.connected {
		return unix.EINVAL
	}
	if !k.bindable(addr) {
		return unix.EADDRNOTAVAIL
	}
	k.addr, k.bound = addr, addr
	k.s.lockLanes()
	k.match.local = addr
	k.s.unlockLanes()
	k.RenewPaths()
	return 0
}

func (k *RawSocket) takePortLocked(ipv4.Addr, uint16) unix.Errno { return 0 }
func (k *RawSocket) portedLocked() bool                          { return true }

func (k *RawSocket) connectLocked(src, dst ipv4.Addr, _ uint16) unix.Errno {
	k.match.local, k.match.peer = src, dst
	return 0
}

// disconnectLocked dissolves the association with the peer. As on Linux the
// socket loses its address and, for good, its protocol: it receives nothing any
// more.
func (k *RawSocket) disconnectLocked() (release func()) {
	k.addr, k.bound, k.port = ipv4.Addr{}, ipv4.Addr{}, 0
	k.s.lockLanes()
	k.match.local, k.match.peer, k.match.device = ipv4.Addr{}, ipv4.Addr{}, 0
	k.s.leaveRawLocked(k)
	k.s.unlockLanes()
	return k.s.wantsChanged
}

func (k *RawSocket) holdDeviceLocked(int32) unix.Errno { return 0 }

func (k *RawSocket) agreePeerLocked(port.Peer) (local ipv4.Addr, e unix.Errno) {
	return local, 0
}

func (k *RawSocket) rebindLocked() unix.Errno {
	k.match.device = k.device
	return 0
}

func (k *RawSocket) leave() {
	k.mu.Lock()
	k.s.lockLanes()
	k.s.leaveRawLocked(k)
	k.s.unlockLanes()
	k.mu.Unlock()
	k.s.wantsChanged()
	k.multicast.members.LeaveAll()
}

func (k *RawSocket) name() string                    { return "raw" }
func (k *RawSocket) limits() (shortest, longest int) { return 0, math.MaxUint16 }
func (k *RawSocket) headerLen() int                  { return 0 }
func (k *RawSocket) hasIPHeader() bool               { return true }
func (k *RawSocket) collects() bool                  { return !k.headerIncluded.Load() }
func (k *RawSocket) forgivesLoss() bool              { return !k.errors.RecvErr() }
func (k *RawSocket) lossCounter() counter.Kind       { return counter.OtherSndbufErrors }
func (k *RawSocket) counters() []counter.Kind        { return rawCounters }
func (k *RawSocket) preferCPU(int32)                 {}

var rawCounters = []counter.Kind{counter.IPOutRequests}

// address ignores the port that the call says.
func (k *RawSocket) address(spec *output.Spec, _ *outgoing) unix.Errno {
	spec.DstPort = k.peerPort
	return 0
}

func (k *RawSocket) sendAlong(tx *output.Buffer, p *output.Path, spec *output.Spec, o *outgoing) unix.Errno {
	if k.headerIncluded.Load() {
		if e := k.sendable(p); e != 0 {
			return e
		}
		return k.sendWithHeader(tx, p, spec, o)
	}
	// Linux' raw_sendmsg asks neither for a pending error nor for a shutdown.
	if !p.Dev.Info().State.Enabled() {
		return unix.ENETDOWN
	}
	return k.sendDatagram(tx, p, spec, o)
}

func (k *RawSocket) payload(o *outgoing) ([]byte, unix.Errno) {
	b := k.s.pool.Get(o.n)
	o.copyTo(b)
	return b, 0
}

func (k *RawSocket) errno(typ, code uint8) (e unix.Errno, hard, ok bool) {
	return icmp.Errno(typ, code)
}

// SetHeaderIncluded says that what is sent begins with an IP header
// (IP_HDRINCL): its length and checksum are filled in always, its
// identification and source address if they are zero.
func (k *RawSocket) SetHeaderIncluded(on bool) error {
	if k.Closed() {
		return unix.EBADF
	}
	k.headerIncluded.Store(on)
	return nil
}

// HeaderIncluded returns what SetHeaderIncluded set.
func (k *RawSocket) HeaderIncluded() bool { return k.headerIncluded.Load() }

// SetNoDefragment keeps fragments that the socket sends from being put together
// before they leave (IP_NODEFRAG in ip(7)). The stack never does that, so either
// setting is what is done.
func (k *RawSocket) SetNoDefragment(on bool) error {
	if k.Closed() {
		return unix.EBADF
	}
	k.noDefragment.Store(on)
	return nil
}

// NoDefragment returns what SetNoDefragment set.
func (k *RawSocket) NoDefragment() bool { return k.noDefragment.Load() }

// SetICMPFilter sets which types of ICMP messages are not received: bit n is type
// n (ICMP_FILTER in raw(7)). EOPNOTSUPP: not a raw socket of ICMP.
func (k *RawSocket) SetICMPFilter(types uint32) error {
	if k.Closed() {
		return unix.EBADF
	}
	if k.protocol != ipv4.ProtocolICMP {
		return unix.EOPNOTSUPP
	}
	k.filter.Store(types)
	return nil
}

// ICMPFilter returns what SetICMPFilter set.
func (k *RawSocket) ICMPFilter() (uint32, error) {
	if k.Closed() {
		return 0, unix.EBADF
	}
	if k.protocol != ipv4.ProtocolICMP {
		return 0, unix.EOPNOTSUPP
	}
	return k.filter.Load(), nil
}

// matches reports whether a datagram from a peer to an address of ours, by a
// device, is the socket's. A lane's lock is held.
func (w *rawMatch) matches(local, peer ipv4.Addr, device int32) bool {
	return (w.local.IsUnspecified() || w.local == local) && (w.peer.IsUnspecified() || w.peer == peer) &&
		(w.device == 0 || w.device == device)
}

// wants reports whether the filter lets an ICMP message pass. As on Linux one
// that is too short does not, and types from 32 on do.
func (k *RawSocket) wants(m []byte) bool {
	if len(m) < icmp.HeaderLen {
		return false
	}
	return !icmp.ICMPFilter(k.filter.Load()).Blocks(m[0])
}

// rawInput gives a datagram to all raw sockets that it is for, each its own copy,
// before the protocol itself has it. It reports whether there were any.
func (l *lane) rawInput(a *arrival, payload []byte) (taken bool) {
	proto := a.h.Protocol()
	datagram := a.h.Datagram()
	for _, k := range l.s.raws.sockets[proto] {
		if !k.match.matches(a.dst, a.src, a.home) ||
			a.kind == route.Multicast && !k.multicast.members.Admits(a.dst, a.ifc.dev.Index, a.src) {
			continue
		}
		taken = true
		if proto == ipv4.ProtocolICMP && !k.wants(payload) {
			continue
		}
		in := Info{From: a.src, To: a.dst, Len: len(datagram), Interface: a.ifc.dev.Index, Home: a.home,
			TTL: a.h.TTL(), TOS: a.h.TOS(), Clock: a.meta.Clock, Type: a.meta.Type,
			FragSize: uint16(a.frag), Time: a.meta.Time}
		if len(payload) >= 4 {
			in.ToPort = binary.BigEndian.Uint16(payload[2:]) // where all protocols with ports have it
		}
		l.deliver(a, &k.Endpoint, datagram, &in, counter.RawInDatagrams, counter.RawRcvbufErrors)
	}
	return taken
}

// rawErrors gives an ICMP error to the raw sockets that it concerns, and reports
// whether there were any. known says that what it quotes was sent by one of our
// sockets; if that is not known, only those are told that sent to that
// destination lately.
func (l *lane) rawErrors(a *arrival, m icmp.Message, q *icmp.Quote, known bool) (told bool) {
	errno, hard, ok := icmp.Errno(m.Type(), m.Code())
	for _, k := range l.s.raws.sockets[q.Protocol] {
		if !k.match.matches(q.Src, q.Dst, a.ifc.dev.Index) || !known && !l.s.recent.Has(k.id, q.Dst) {
			continue
		}
		told = true
		if !ok {
			continue
		}
		qe := quotedError(a, m, q, errno)
		headers := q.HeaderLen
		if k.headerIncluded.Load() {
			headers = 0
		}
		qe.DstPort = 0
		qe.WithQuoted(m, headers)
		if m.IsFragmentationNeeded() {
			l.s.learnPathMTU(q, m.MTU(), &k.IPSocket)
			hard = k.mtuDiscover.Load() != unix.IP_PMTUDISC_DONT
		}
		k.icmpError(qe, hard)
	}
	return told
}

// quoted has all behind the IP header, or the header too if the socket has written it.
func (k *RawSocket) quoted(e QueuedError, datagram []byte) QueuedError {
	if h, _, ok := ipv4.ParseQuoted(datagram); ok && !k.headerIncluded.Load() {
		datagram = datagram[len(h):]
	}
	e.DstPort, e.Payload = 0, bytes.Clone(datagram)
	return e
}

// sendWithHeader sends a datagram whose IP header is the caller's (raw_send_hdrinc
// in Linux). It goes where the address says, whatever the header does.
func (k *RawSocket) sendWithHeader(tx *output.Buffer, p *output.Path, spec *output.Spec, o *outgoing) unix.Errno {
	switch mtu := p.Dev.Info().MTU; {
	case o.n > mtu:
		k.localError(unix.EMSGSIZE, spec.Dst, spec.DstPort, mtu)
		return unix.EMSGSIZE
	case o.n < ipv4.MinHeaderLen || spec.Options != nil:
		return unix.EINVAL
	case k.out.SendFull():
		return k.out.NoSpace()
	}
	b := k.s.pool.Get(o.n)
	defer k.s.pool.Put(b)
	o.copyTo(b)
	hlen := int(b[0]&0x0f) * 4
	if hlen < ipv4.MinHeaderLen || hlen > o.n {
		return unix.EINVAL
	}
	k.completeHeader(p, b, hlen)
	pkt := output.Packet{Owner: &k.out, Message: o.message, Stamp: k.times.beginStamp(o)}
	if e := k.s.sendDatagramOf(tx, p, b, &pkt); e != 0 {
		k.times.dropStamp(&pkt.Stamp, o)
		return e
	}
	return k.times.stampSent(tx, o, &pkt) // as in Linux IpOutRequests does not count it
}

// completeHeader fills in what the caller may leave out of a header of hlen bytes.
func (k *RawSocket) completeHeader(p *output.Path, b []byte, hlen int) {
	if ipv4.Addr(b[12:]).IsUnspecified() {
		copy(b[12:16], p.Hop.Src[:])
	}
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
	if df := b[6]&0x40 != 0; b[4]|b[5] == 0 && !df {
		id := k.s.out.Ident.Next(k.s.clock.Now(), ipv4.Addr(b[12:]), ipv4.Addr(b[16:]), b[9], 1)
		binary.BigEndian.PutUint16(b[4:], id)
	}
	b[10], b[11] = 0, 0
	binary.BigEndian.PutUint16(b[10:], ^checksum.Sum(b[:hlen], 0))
}

// sendDatagramOf sends an IP datagram as it is along a path, with what else pkt says
// of it. One that is longer than the path's MTU is cut into fragments if its header
// permits.
func (s *Stack) sendDatagramOf(tx *output.Buffer, p *output.Path, b []byte, pkt *output.Packet) unix.Errno {
	if len(b) > p.MTU() {
		h, payload, c := ipv4.Parse(b)
		if c != ipv4.CauseNone || h.DontFragment() {
			tx.Count[counter.IPFragFails].Add(1)
			return unix.EMSGSIZE
		}
		f := h.Fields()
		pkt.Payload = payload
		return s.out.SendFields(tx, p, &f, pkt)
	}
	if p.StaysInside(b[8]) {
		if p.Heard {
			p.HearDatagram(b)
		}
		tx.Sent = pkt.Message + 1
		return 0
	}
	p, entry, ok, e := p.Ready(tx)
	if e != 0 {
		return e
	}
	pkt.Queued = !ok
	if !ok {
		if e := tx.Flush(); e != 0 { // what was sent before stays before
			return e
		}
	}
	frame, e := tx.Room(p.Queue, link.HeaderLen+len(b))
	if e != 0 {
		return e
	}
	copy(frame, p.Header[:link.HeaderLen])
	copy(frame[link.HeaderLen:], b)
	if !ok {
		s.out.Await(tx, p, entry, frame, pkt)
		tx.Sent = pkt.Message + 1
		return 0
	}
	pkt.Stamp.Keep(frame)
	if e := tx.AddAlong(p, frame, pkt, pkt.Message); e != 0 {
		return e
	}
	if p.Heard {
		if e := tx.Finish(); e != 0 {
			return e
		}
		p.HearDatagram(b)
	}
	return 0
}

// Wants are what the stack's sockets want of the frames that links see, beside what is for
// their ports: see Config.Wanted.
type Wants struct {
	// Frames says that packet sockets want whatever there is.
	Frames bool
	// Protocols are the IP protocols that raw sockets want all datagrams of, a bit each.
	Protocols [4]uint64
}

// Protocol reports whether raw sockets want all datagrams of a protocol.
func (w *Wants) Protocol(p uint8) bool { return w.Protocols[p>>6]&(1<<(p&63)) != 0 }

// A wanted tells somebody what is wanted.
type wanted struct {
	tell func(Wants) // nil: nobody wants to know
	mu   sync.Mutex  // taken before the locks of lanes; held while tell is called
	last Wants
}

// wantsChanged tells whoever wants to know what is wanted now, if that is news. No lock of
// a lane is held.
func (s *Stack) wantsChanged() {
	if s.wanted.tell == nil {
		return
	}
	s.wanted.mu.Lock()
	defer s.wanted.mu.Unlock()
	w := Wants{Frames: s.taps.Load() != nil}
	s.lockLanes()
	if s.raws != nil {
		for p, sockets := range s.raws.sockets {
			if len(sockets) > 0 {
				w.Protocols[p>>6] |= 1 << (p & 63)
			}
		}
	}
	s.unlockLanes()
	if w != s.wanted.last {
		s.wanted.last = w
		s.wanted.tell(w)
	}
}
