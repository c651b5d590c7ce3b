package stack

import (
	"encoding/binary"

	"github.com/outband/outband/icmp"
	"github.com/outband/outband/ipv4"
	"github.com/outband/outband/link"
	"github.com/outband/outband/stack/internal/counter"
	"github.com/outband/outband/udp"
	"golang.org/x/sys/unix"
)

// All in this file runs with the receive lock held.

// vlanIDMask is the part of a tag that names the VLAN (IEEE 802.1Q, 9.6). A tag
// with identifier 0 carries a priority only: the frame is in no VLAN.
const vlanIDMask = 0x0fff

// input processes one received frame.
func (s *Stack) input(ifc *Interface, f *link.Frame) {
	r := &s.rx
	if len(f.Data) < link.HeaderLen {
		r.count[counter.DropShortFrame]++
		return
	}
	if t := s.taps.Load(); t != nil {
		s.tapInput(t, ifc, f)
	}
	if f.VLAN && f.VLANTCI&vlanIDMask != 0 {
		r.count[counter.DropVLAN]++
		return
	}
	if f.Type == link.OtherHost || f.Type == link.Outgoing {
		r.count[counter.DropOtherHost]++
		return
	}
	etherType := binary.BigEndian.Uint16(f.Data[12:])
	if etherType == unix.ETH_P_8021Q || etherType == unix.ETH_P_8021AD {
		if !untag(f) {
			r.count[counter.DropVLAN]++
			return
		}
		etherType = binary.BigEndian.Uint16(f.Data[12:])
	}
	switch etherType {
	case unix.ETH_P_IP:
		if f.WireLen > len(f.Data) {
			r.count[counter.DropTruncatedFrame]++
			return
		}
		s.ipv4Input(ifc, f.Data[link.HeaderLen:], &f.Meta, ifc.loopback)
	case unix.ETH_P_ARP:
		if !ifc.loopback {
			ifc.arpInput(f)
		}
	default:
		r.count[counter.DropEtherType]++
	}
}

// untag takes the tags out of a frame that the link has left in it. As on Linux any
// number of them is looked through if none names a VLAN: then it returns true.
func untag(f *link.Frame) bool {
	const tagLen = 4
	for {
		switch binary.BigEndian.Uint16(f.Data[12:]) {
		case unix.ETH_P_8021Q, unix.ETH_P_8021AD:
		default:
			return true
		}
		if len(f.Data) < link.HeaderLen+tagLen || binary.BigEndian.Uint16(f.Data[14:])&vlanIDMask != 0 {
			return false
		}
		copy(f.Data[tagLen:], f.Data[:12])
		f.Data, f.WireLen = f.Data[tagLen:], f.WireLen-tagLen
	}
}

// arrival is what the transport protocols are told about a datagram beside its
// bytes.
type arrival struct {
	ifc  *Interface
	meta *link.Meta
	h    ipv4.Header
	src  ipv4.Addr
	dst  ipv4.Addr
	kind destination
	frag int        // length of the largest fragment, 0 if the datagram came whole
	flow *groupFlow // of a multicast, if it is known
	// home is the index of the interface that it counts as having come in by, which
	// sockets that are bound to one go by: ifc's, or, of what came over loopback, that
	// of the one that has its destination (Linux' inet_iif).
	home int32
}

// ipv4Input processes an IP datagram, or what is left of one. own says that it
// is from ourselves, so that our address as source is in order.
func (s *Stack) ipv4Input(ifc *Interface, b []byte, meta *link.Meta, own bool) {
	r := &s.rx
	r.count[counter.IPInReceives]++
	r.count[counter.IPInOctets] += uint64(len(b))
	h, payload, c := ipv4.Parse(b)
	if c != ipv4.CauseNone {
		s.badHeader(c)
		return
	}
	a := arrival{ifc: ifc, meta: meta, h: h, src: h.Src(), dst: h.Dst(), home: ifc.index}
	net, src, dst := s.net.Load(), a.src, a.dst
	// Nearly every datagram comes from an ordinary address to the interface's
	// own one, which is zero if it has none, or to a group.
	switch ordinary := src[0] != 0 && src[0] < 224 && src[0] != 127 && !net.lastByte[src[3]]; {
	case ordinary && dst == ifc.primary && dst[0] != 0:
	case ordinary && dst.IsMulticast():
		if !s.groupAcceptable(&a, payload) {
			return
		}
	default:
		if !s.acceptable(net, &a, payload, src, dst, own) {
			return
		}
	}
	if r.header = h; len(h) > ipv4.MinHeaderLen && !s.optionsAcceptable(&a) {
		return
	}
	if h.IsFragment() {
		datagram, done := s.reassemble(&a, payload)
		if !done {
			return
		}
		if h, payload, c = ipv4.Parse(datagram); c != ipv4.CauseNone {
			s.badHeader(c)
			return
		}
		a.h, a.frag = h, s.reasm.MaxFragSize()
		r.header = h
	}
	raw := r.raws != nil && s.rawInput(&a, payload)
	switch h.Protocol() {
	case ipv4.ProtocolUDP:
		r.count[counter.IPInDelivers]++
		s.udpInput(&a, payload)
	case ipv4.ProtocolICMP:
		r.count[counter.IPInDelivers]++
		s.icmpInput(&a, payload)
	case ipv4.ProtocolIGMP:
		r.count[counter.IPInDelivers]++
		s.igmpInput(&a, payload)
	default:
		if raw {
			r.count[counter.IPInDelivers]++
			return
		}
		r.count[counter.IPInUnknownProtos]++
		s.sendError(&a, errProtocolUnreachable, 0)
	}
}

// badHeader counts a datagram that is none.
func (s *Stack) badHeader(c ipv4.Cause) {
	r := &s.rx
	switch c {
	case ipv4.CauseBadChecksum:
		r.count[counter.IPInCsumErrors]++
		r.count[counter.IPInHdrErrors]++
	case ipv4.CauseTruncated:
		r.count[counter.IPInTruncatedPkts]++
	default:
		r.count[counter.IPInHdrErrors]++
	}
}

// acceptable reports whether a datagram is for us and from where it may be
// from, and finds out what kind its destination is.
func (s *Stack) acceptable(net *network, a *arrival, payload []byte, src, dst ipv4.Addr, own bool) bool {
	r := &s.rx
	if a.ifc.loopback && !a.meta.ByLoopback {
		if home := net.homeOf(dst); home != nil {
			a.home = home.index
		}
	}
	switch c := ipv4.CheckMartian(src, dst, a.h.Protocol(), a.ifc.loopback); c {
	case ipv4.CauseNone:
	case ipv4.CauseDestinationZero, ipv4.CauseDestinationLoopback:
		r.count[counter.DropMartianDestination]++
		r.count[counter.IPInAddrErrors]++
		return false
	default:
		r.count[counter.DropMartianSource]++
		r.count[counter.IPInAddrErrors]++
		return false
	}
	if net.lastByte[src[3]] && !own && (net.isLocal(src) || net.isBroadcast(src)) {
		r.count[counter.DropOwnSource]++
		r.count[counter.IPInAddrErrors]++
		return false
	}
	switch {
	case net.isLocal(dst):
		return true
	case net.isBroadcast(dst):
		a.kind = toBroadcast
		r.count[counter.IPInBcastPkts]++
		return true
	case dst.IsMulticast():
		return s.groupAcceptable(a, payload)
	}
	if a.ifc.loopback {
		return true // as on Linux: who sends it there means us
	}
	r.count[counter.IPInAddrErrors]++
	r.count[counter.DropForward]++
	return false
}

// groupAcceptable reports whether anybody wants a multicast, which is counted then, as
// in Linux. IGMP itself is not subject to source filters.
func (s *Stack) groupAcceptable(a *arrival, payload []byte) bool {
	r := &s.rx
	a.kind = toMulticast
	if a.flow = s.findFlow(a, payload); a.flow != nil && a.flow.plain {
		r.count[counter.IPInMcastPkts]++
		return true
	}
	src := a.src
	if a.h.Protocol() == ipv4.ProtocolIGMP {
		src = ipv4.Addr{}
	}
	if !a.ifc.inGroup(a.dst, src) {
		if a.ifc.loopback {
			r.count[counter.IPInMcastPkts]++ // as in Linux, where it keeps the route that it left by
		}
		r.count[counter.DropNoMember]++
		return false
	}
	r.count[counter.IPInMcastPkts]++
	return true
}

// optionsAcceptable checks a header's options: a parameter problem is answered,
// source routes are refused as Linux does (net.ipv4.conf.all.accept_source_route).
// It enters us in those that record the way.
func (s *Stack) optionsAcceptable(a *arrival) bool {
	set, pointer, c := ipv4.ParseOptions(a.h.Options())
	if c != ipv4.CauseNone {
		s.rx.count[counter.IPInHdrErrors]++
		s.rx.count[counter.DropOptions]++
		s.sendError(a, errParameterProblem, icmp.PointerRest(pointer))
		return false
	}
	if set.SourceRoute != 0 {
		s.rx.count[counter.DropOptions]++
		s.rx.count[counter.IPInAddrErrors]++
		return false
	}
	if set.RecordRoute|set.Timestamp != 0 {
		set.Stamp(a.h, s.LocalFor(a.ifc.index, a.src, a.dst), s.timeOfDay())
	}
	return true
}

// reassemble takes in a fragment.
func (s *Stack) reassemble(a *arrival, payload []byte) (datagram []byte, done bool) {
	now := s.clock.Now()
	if now >= s.reasm.Deadline() {
		s.reassemblyTimers(now) // what Input gives up itself nobody would be told of
	}
	datagram, done, c := s.reasm.Input(now, a.h, payload, int(a.ifc.index))
	s.timers.set(s.reasmTimer, s.reasm.Deadline())
	if c != ipv4.CauseNone {
		s.rx.count[counter.DropFragment]++
	}
	return datagram, done
}

// reassemblyTimers gives up datagrams whose time is over, and tells their
// senders.
func (s *Stack) reassemblyTimers(now int64) {
	s.reasm.Advance(now)
	for {
		e, ok := s.reasm.Next()
		if !ok {
			break
		}
		ifc := s.net.Load().byIndex[int32(e.Iface)]
		h, _, ok := ipv4.ParseQuoted(e.First)
		if e.First == nil || ifc == nil || !ok {
			continue
		}
		a := arrival{ifc: ifc, meta: &link.Meta{}, h: h, src: h.Src(), dst: h.Dst()}
		if s.net.Load().isBroadcast(h.Dst()) {
			a.kind = toBroadcast
		}
		s.sendErrorAbout(&a, errReassemblyTime, 0, e.First)
	}
	s.timers.set(s.reasmTimer, s.reasm.Deadline())
}

// udpInput demultiplexes a UDP datagram, or the several of a GSO packet.
func (s *Stack) udpInput(a *arrival, b []byte) {
	r := &s.rx
	uh, data, c := udp.Parse(b)
	if c != udp.CauseNone {
		r.count[counter.UDPInErrors]++
		return
	}
	if a.meta.Checksum == link.ChecksumUnknown || a.frag != 0 && a.meta.Checksum == link.ChecksumValid {
		if !udp.VerifyChecksum(a.src, a.dst, uh) {
			r.count[counter.UDPInCsumErrors]++
			r.count[counter.UDPInErrors]++
			return
		}
	}
	in := Info{
		From: a.src, To: a.dst, FromPort: uh.SrcPort(), ToPort: uh.DstPort(),
		Len: len(data), Interface: a.ifc.index, Home: a.home, TTL: a.h.TTL(), TOS: a.h.TOS(),
		Clock: a.meta.Clock, Type: a.meta.Type, FragSize: uint16(a.frag), Time: a.meta.Time,
	}
	if a.meta.GSO == link.GSONone {
		s.udpDeliver(a, data, &in)
		return
	}
	size := int(a.meta.GSOSize)
	if a.meta.GSO != link.GSOUDP || size == 0 {
		r.count[counter.DropGSO]++
		return
	}
	if a.kind != toUnicast {
		s.udpDeliverGSO(s.destinations(a, &in), data, &in, size)
		r.forgetMatch()
		return
	}
	if k, ok := s.udp.Lookup(in.To, in.ToPort, in.From, in.FromPort, a.home); ok && len(data) > size {
		one := [1]*Endpoint{s.steer(k, data, &in)}
		if one[0].GRO() {
			s.udpDeliverGSO(one[:], data, &in, size)
			return
		}
	}
	for ; len(data) > size; data = data[size:] {
		in.Len = size
		s.udpDeliver(a, data[:size], &in)
	}
	in.Len = len(data)
	s.udpDeliver(a, data, &in)
}

// udpDeliverGSO gives a GSO packet with segments of size bytes to each of some
// sockets: whole if it has UDP_GRO, else cut.
func (s *Stack) udpDeliverGSO(sockets []*Endpoint, data []byte, in *Info, size int) {
	r := &s.rx
	if len(sockets) == 0 {
		r.count[counter.UDPIgnoredMulti]++
		return
	}
	r.chosen = true
	for _, k := range sockets {
		rest, step := data, size
		gro := k.GRO() && len(data) > size
		if gro {
			step = len(data)
		}
		for more := true; more; {
			its, n := *in, min(step, len(rest)) // a copy, which accept may change
			if its.Len = n; gro {
				its.SegmentSize = uint16(size)
			}
			s.deliver(k, rest[:n], &its, counter.UDPInDatagrams, counter.UDPRcvbufErrors)
			rest = rest[n:]
			more = len(rest) > 0
		}
	}
	r.chosen = false
}

// udpDeliver gives one datagram to the sockets that it is for.
func (s *Stack) udpDeliver(a *arrival, data []byte, in *Info) {
	r := &s.rx
	if a.flow != nil && a.flow.some == nil && len(a.flow.all) == 1 {
		r.chosen = true
		s.deliver(a.flow.all[0], data, in, counter.UDPInDatagrams, counter.UDPRcvbufErrors)
		r.chosen = false
		return
	}
	if a.kind != toUnicast {
		s.deliverEach(s.destinations(a, in), data, in)
		r.forgetMatch()
		return
	}
	k, ok := s.udp.Lookup(in.To, in.ToPort, in.From, in.FromPort, a.home)
	if !ok {
		r.count[counter.UDPNoPorts]++
		s.sendError(a, errPortUnreachable, 0)
		return
	}
	s.deliver(k, data, in, counter.UDPInDatagrams, counter.UDPRcvbufErrors)
}

// destinations returns the sockets that a broadcast or multicast is for, in memory
// that holds until the next. The caller clears r.match, which may be that.
func (s *Stack) destinations(a *arrival, in *Info) []*Endpoint {
	f := a.flow
	if f == nil {
		f = s.flowTo(in.To, in.ToPort, in.Interface)
	}
	switch {
	case f == nil:
		return nil
	case f.some == nil:
		return f.all
	}
	r := &s.rx
	r.match = f.appendSome(append(r.match[:0], f.all...), in.From, in.FromPort)
	return r.match
}

// forgetMatch lets go of what destinations returned.
func (r *receiver) forgetMatch() {
	clear(r.match)
	r.match = r.match[:0]
}

// deliverEach gives each socket its copy of a datagram.
func (s *Stack) deliverEach(sockets []*Endpoint, data []byte, in *Info) {
	if len(sockets) == 0 {
		s.rx.count[counter.UDPIgnoredMulti]++
		return
	}
	r := &s.rx
	r.chosen = true
	last := len(sockets) - 1
	for _, k := range sockets[:last] {
		if k.state.Load()&stateRecvExtras == 0 {
			s.deliver(k, data, in, counter.UDPInDatagrams, counter.UDPRcvbufErrors)
			continue
		}
		its := *in // which accept may change
		s.deliver(k, data, &its, counter.UDPInDatagrams, counter.UDPRcvbufErrors)
	}
	s.deliver(sockets[last], data, in, counter.UDPInDatagrams, counter.UDPRcvbufErrors)
	r.chosen = false
}

// deliver hands one datagram to a socket: to the leader's own buffer if that is
// who waits for it, else to the queue. good and full are the counters.
func (s *Stack) deliver(k *Endpoint, data []byte, in *Info, good, full counter.Kind) {
	r := &s.rx
	if st := k.state.Load(); st&(stateClosed|stateRecvExtras) != 0 {
		if st&stateClosed != 0 {
			r.count[counter.IPInDiscards]++
			return
		}
		var keep bool
		if k, data, keep = s.accept(k, data, in); !keep {
			return
		}
	}
	if r.sinkSocket == k && k.queue.n.Load() == 0 && !r.sink.full() {
		r.sink.store(data, in)
		r.count[good]++
		return
	}
	if r.warming {
		return // not the socket that it is for: another of its group was chosen
	}
	ok, wake := k.queue.push(&s.pool, data, in)
	if !ok {
		r.count[full]++
		if full == counter.UDPRcvbufErrors {
			r.count[counter.UDPInErrors]++
		}
		return
	}
	r.count[good]++
	if wake || k.watched() {
		p := r.pending
		if n := len(p.wake); n == 0 || p.wake[n-1] != k {
			p.wake = append(p.wake, k)
		}
	}
}
