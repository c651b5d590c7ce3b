package stack

import (
	"slices"
	"sync"

	"github.com/outband/outband/ether"
	"github.com/outband/outband/icmp"
	"github.com/outband/outband/ipv4"
	"github.com/outband/outband/link"
	"github.com/outband/outband/stack/internal/counter"
	"github.com/outband/outband/stack/internal/drive"
	"github.com/outband/outband/stack/internal/groupflow"
	"github.com/outband/outband/stack/internal/output"
	"github.com/outband/outband/stack/internal/route"
	"github.com/outband/outband/udp"
)

// input processes one received frame.
func (l *lane) input(ifc *Interface, f *link.Frame) {
	h, payload, ok := ether.Parse(f.Data)
	if !ok {
		l.count[counter.DropShortFrame]++
		return
	}
	if t := l.s.taps.Load(); t != nil {
		l.tapInput(t, ifc, f)
	}
	if f.VLAN && ether.Tag(f.VLANTCI).VLAN() != 0 {
		l.count[counter.DropVLAN]++
		return
	}
	if f.Type == link.OtherHost || f.Type == link.Outgoing {
		l.count[counter.DropOtherHost]++
		return
	}
	if h.Type().IsTag() {
		if !untag(f) {
			l.count[counter.DropVLAN]++
			return
		}
		h, payload, _ = ether.Parse(f.Data)
	}
	switch h.Type() {
	case ether.TypeIPv4:
		if f.WireLen > len(f.Data) {
			l.count[counter.DropTruncatedFrame]++
			return
		}
		own := ifc.dev.Loopback
		if own && f.Device != 0 {
			ifc = l.cameBy(ifc, f.Device)
		}
		l.ipv4Input(ifc, payload, &f.Meta, own)
	case ether.TypeARP:
		if !ifc.dev.Loopback {
			l.arpInput(ifc, f)
		}
	default:
		l.count[counter.DropEtherType]++
	}
}

// cameBy returns the interface that has a device by which a datagram has come to the
// host, as far as the lane has one, else the one whose link has brought it.
func (l *lane) cameBy(brought *Interface, device int32) *Interface {
	if i := interfaceOf(l.s.routes.Net().Present(device)); i != nil && i.lane == l {
		return i
	}
	return brought
}

// untag takes the tags out of a frame that the link has left in it. As on Linux any
// number of them is looked through if none names a VLAN: then it returns true.
func untag(f *link.Frame) bool {
	rest, ok := ether.StripPriorityTags(f.Data)
	f.WireLen -= len(f.Data) - len(rest)
	f.Data = rest
	return ok
}

// arrival is what the transport protocols are told about a datagram beside its
// bytes.
type arrival struct {
	ifc  *Interface
	meta *link.Meta
	h    ipv4.Header
	src  ipv4.Addr
	dst  ipv4.Addr
	kind route.Kind
	frag int        // length of the largest fragment, 0 if the datagram came whole
	flow *groupFlow // of a multicast, if it is known
	// chosen says that it is settled which sockets it is for: SO_REUSEPORT's programs are
	// not asked.
	chosen bool
	// home is the index of the interface that it counts as having come in by, which
	// sockets that are bound to one go by: ifc's, or, of what came over loopback, that
	// of the one that has its destination (Linux' inet_iif).
	home int32
}

// ipv4Input processes an IP datagram, or what is left of one. own says that it
// is from ourselves, so that our address as source is in order.
func (l *lane) ipv4Input(ifc *Interface, b []byte, meta *link.Meta, own bool) {
	l.count[counter.IPInReceives]++
	l.count[counter.IPInOctets] += uint64(len(b))
	h, payload, c := ipv4.Parse(b)
	if c != ipv4.CauseNone {
		l.badHeader(c)
		return
	}
	a := arrival{ifc: ifc, meta: meta, h: h, src: h.Src(), dst: h.Dst(), home: ifc.dev.Index}
	net, src, dst := l.s.routes.Net(), a.src, a.dst
	// Nearly every datagram comes from an ordinary address to the interface's
	// own one, which is zero if it has none, or to a group.
	switch ordinary := src[0] != 0 && src[0] < 224 && src[0] != 127 && !net.MayBeOurs(src); {
	case ordinary && dst == ifc.dev.Primary && dst[0] != 0:
	case ordinary && dst.IsMulticast():
		if !l.groupAcceptable(&a, payload) {
			return
		}
	default:
		if !l.acceptable(net, &a, payload, src, dst, own) {
			return
		}
	}
	if len(h) > ipv4.MinHeaderLen && !l.optionsAcceptable(&a) {
		return
	}
	if h.IsFragment() {
		l.fragmentInput(&a, payload)
		return
	}
	l.wholeInput(&a, payload)
}

// wholeInput gives a datagram that is whole to all that it is for.
func (l *lane) wholeInput(a *arrival, payload []byte) {
	raw := l.s.raws != nil && !a.comesTwice() && l.rawInput(a, payload)
	if a.h.Protocol() == ipv4.ProtocolUDP { // the others' way is an indirect call longer
		l.count[counter.IPInDelivers]++
		l.udpInput(a, payload)
		return
	}
	l.protocolInput(a, payload, raw)
}

// comesTwice reports whether a holder has brought what a ring has brought too, if raw sockets
// want it: a unicast datagram by a device with a ring, to a port that others may have too.
func (a *arrival) comesTwice() bool {
	return a.meta.Holder != 0 && a.kind == route.Unicast && !link.InBand(a.ifc.dev.Link)
}

// A handler takes in a datagram of its protocol, or what is left of one: the payload is
// what follows the IP header.
type handler func(l *lane, a *arrival, payload []byte)

// A protocolTable has the handler of each IP protocol (IANA's protocol numbers), nil for
// those that the stack does not know. It does not change once a stack has frames.
type protocolTable [256]handler

func (t *protocolTable) init() {
	t[ipv4.ProtocolUDP] = (*lane).udpInput
	t[ipv4.ProtocolICMP] = (*lane).icmpInput
	t[ipv4.ProtocolIGMP] = (*lane).igmpInput
}

// protocolInput gives a datagram to the protocol that it is of. raw says that a raw
// socket has it already.
func (l *lane) protocolInput(a *arrival, payload []byte, raw bool) {
	h := l.s.protocols[a.h.Protocol()]
	switch {
	case h != nil:
		l.count[counter.IPInDelivers]++
		l.arrival = *a // what is called by the table must not be on a goroutine's stack
		h(l, &l.arrival, payload)
		l.arrival = arrival{}
	case raw:
		l.count[counter.IPInDelivers]++
	default:
		l.count[counter.IPInUnknownProtos]++
		l.sendError(a, errProtocolUnreachable, 0)
	}
}

// badHeader counts a datagram that is none.
func (l *lane) badHeader(c ipv4.Cause) {
	switch c {
	case ipv4.CauseBadChecksum:
		l.count[counter.IPInCsumErrors]++
		l.count[counter.IPInHdrErrors]++
	case ipv4.CauseTruncated:
		l.count[counter.IPInTruncatedPkts]++
	default:
		l.count[counter.IPInHdrErrors]++
	}
}

// acceptable reports whether a datagram is for us and from where it may be
// from, and finds out what kind its destination is.
func (l *lane) acceptable(net *route.Network, a *arrival, payload []byte, src, dst ipv4.Addr, own bool) bool {
	if a.ifc.dev.Loopback && !a.meta.ByLoopback {
		if home := net.HomeOf(dst); home != nil {
			a.home = home.Index
		}
		if a.meta.Device != 0 {
			a.home = a.meta.Device
		}
	}
	switch c := ipv4.CheckMartian(src, dst, a.h.Protocol(), a.ifc.dev.Loopback); c {
	case ipv4.CauseNone:
	case ipv4.CauseDestinationZero, ipv4.CauseDestinationLoopback:
		l.count[counter.DropMartianDestination]++
		l.count[counter.IPInAddrErrors]++
		return false
	default:
		l.count[counter.DropMartianSource]++
		l.count[counter.IPInAddrErrors]++
		return false
	}
	if net.MayBeOurs(src) && !own && (net.IsLocal(src) || net.IsBroadcast(src)) {
		l.count[counter.DropOwnSource]++
		l.count[counter.IPInAddrErrors]++
		return false
	}
	switch {
	case net.IsLocal(dst):
		return true
	case net.IsBroadcast(dst):
		a.kind = route.Broadcast
		l.count[counter.IPInBcastPkts]++
		return true
	case dst.IsMulticast():
		return l.groupAcceptable(a, payload)
	}
	if a.ifc.dev.Loopback || a.meta.Holder != 0 {
		return true // as on Linux: who sends it there means us; or the kernel has said so
	}
	l.count[counter.IPInAddrErrors]++
	l.count[counter.DropForward]++
	return false
}

// groupAcceptable reports whether anybody wants a multicast, which is counted then, as
// in Linux. IGMP itself is not subject to source filters.
func (l *lane) groupAcceptable(a *arrival, payload []byte) bool {
	a.kind = route.Multicast
	if a.flow = l.findFlow(a, payload); a.flow != nil && a.flow.Plain {
		l.count[counter.IPInMcastPkts]++
		return true
	}
	src := a.src
	if a.h.Protocol() == ipv4.ProtocolIGMP {
		src = ipv4.Addr{}
	}
	if !a.ifc.groups.Accepts(a.dst, src) {
		if a.ifc.dev.Loopback {
			l.count[counter.IPInMcastPkts]++ // as in Linux, where it keeps the route that it left by
		}
		l.count[counter.DropNoMember]++
		return false
	}
	l.count[counter.IPInMcastPkts]++
	return true
}

// optionsAcceptable checks a header's options: a parameter problem is answered,
// source routes are refused as Linux does (net.ipv4.conf.all.accept_source_route).
// It enters us in those that record the way.
func (l *lane) optionsAcceptable(a *arrival) bool {
	set, pointer, c := ipv4.ParseOptions(a.h.Options())
	if c != ipv4.CauseNone {
		l.count[counter.IPInHdrErrors]++
		l.count[counter.DropOptions]++
		l.sendError(a, errParameterProblem, icmp.PointerRest(pointer))
		return false
	}
	if set.SourceRoute != 0 {
		l.count[counter.DropOptions]++
		l.count[counter.IPInAddrErrors]++
		return false
	}
	if set.RecordRoute|set.Timestamp != 0 {
		set.Stamp(a.h, l.s.LocalFor(a.ifc.dev.Index, a.src, a.dst), l.s.clock.OfDay())
	}
	return true
}

// udpInput demultiplexes a UDP datagram, or the several of a GSO packet.
func (l *lane) udpInput(a *arrival, b []byte) {
	uh, data, c := udp.Parse(b)
	if c != udp.CauseNone {
		l.count[counter.UDPInErrors]++
		return
	}
	if a.meta.Checksum == link.ChecksumUnknown || a.frag != 0 && a.meta.Checksum == link.ChecksumValid {
		if !udp.VerifyChecksum(a.src, a.dst, uh) {
			l.count[counter.UDPInCsumErrors]++
			l.count[counter.UDPInErrors]++
			return
		}
	}
	in := Info{
		From: a.src, To: a.dst, FromPort: uh.SrcPort(), ToPort: uh.DstPort(),
		Len: len(data), Interface: a.ifc.dev.Index, Home: a.home, TTL: a.h.TTL(), TOS: a.h.TOS(),
		Clock: a.meta.Clock, Type: a.meta.Type, FragSize: uint16(a.frag), Time: a.meta.Time,
	}
	if a.meta.GSO == link.GSONone {
		l.udpDeliver(a, data, &in)
		return
	}
	size := int(a.meta.GSOSize)
	if a.meta.GSO != link.GSOUDP || size == 0 {
		l.count[counter.DropGSO]++
		return
	}
	if a.kind != route.Unicast {
		l.udpDeliverGSO(a, l.destinations(a, &in), data, &in, size)
		l.forgetMatch()
		return
	}
	if k, ok := l.udpSocket(a, in.To, in.ToPort, in.From, in.FromPort, a.home); ok && len(data) > size {
		one := [1]*UDPSocket{l.steer(a, k, data, &in)}
		if one[0].GRO() {
			l.udpDeliverGSO(a, one[:], data, &in, size)
			return
		}
	}
	for ; len(data) > size; data = data[size:] {
		in.Len = size
		l.udpDeliver(a, data[:size], &in)
	}
	in.Len = len(data)
	l.udpDeliver(a, data, &in)
}

// udpDeliverGSO gives a GSO packet with segments of size bytes to each of some
// sockets: whole if it has UDP_GRO, else cut.
func (l *lane) udpDeliverGSO(a *arrival, sockets []*UDPSocket, data []byte, in *Info, size int) {
	if len(sockets) == 0 {
		l.count[counter.UDPIgnoredMulti]++
		return
	}
	a.chosen = true
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
			l.deliver(a, &k.Endpoint, rest[:n], &its, counter.UDPInDatagrams, counter.UDPRcvbufErrors)
			rest = rest[n:]
			more = len(rest) > 0
		}
	}
}

// udpDeliver gives one datagram to the sockets that it is for.
func (l *lane) udpDeliver(a *arrival, data []byte, in *Info) {
	if a.flow != nil && !a.flow.Selective() && len(a.flow.All) == 1 && a.meta.Holder == 0 {
		a.chosen = true
		l.deliver(a, &a.flow.All[0].Endpoint, data, in, counter.UDPInDatagrams, counter.UDPRcvbufErrors)
		return
	}
	if a.kind != route.Unicast {
		l.deliverEach(a, l.destinations(a, in), data, in)
		l.forgetMatch()
		return
	}
	k, ok := l.udpSocket(a, in.To, in.ToPort, in.From, in.FromPort, a.home)
	if !ok {
		l.count[counter.UDPNoPorts]++
		l.sendError(a, errPortUnreachable, 0)
		return
	}
	l.deliver(a, &k.Endpoint, data, in, counter.UDPInDatagrams, counter.UDPRcvbufErrors)
}

// udpSocket returns the socket that a unicast datagram is for, or that has sent what an error
// quotes: the best for it, unless one of a port's holders has brought it, to which the
// kernel has given it.
func (l *lane) udpSocket(a *arrival, dst ipv4.Addr, dport uint16, src ipv4.Addr, sport uint16, dev int32) (k *UDPSocket, ok bool) {
	k, ok = l.s.udp.Lookup(dst, dport, src, sport, dev)
	if n := a.meta.Holder; n != 0 && ok && !k.broughtBy(n) {
		return l.heldBy(n, dport, k), true
	}
	return k, ok
}

// heldBy returns the socket whose port a holder holds, or the best if there is none any more.
func (l *lane) heldBy(holder uint32, port uint16, best *UDPSocket) *UDPSocket {
	for b := range l.s.udp.At(port) {
		if b.Owner.broughtBy(holder) {
			return b.Owner
		}
	}
	return best
}

// destinations returns the sockets that a broadcast or multicast is for, in memory
// that holds until the next. The caller has l.match forgotten, which may be that memory.
func (l *lane) destinations(a *arrival, in *Info) []*UDPSocket {
	f := a.flow
	if f == nil {
		f = l.flowTo(groupflow.KeyOf(in.To, in.ToPort, in.Interface))
	}
	switch {
	case f == nil:
		return nil
	case a.meta.Holder == 0 && !f.Selective():
		return f.All
	}
	l.match = append(l.match[:0], f.All...)
	if f.Selective() {
		l.match = selected(l.match, f, in.From, in.FromPort)
	}
	if n := a.meta.Holder; n != 0 { // every holder has its own copy
		l.match = slices.DeleteFunc(l.match, func(k *UDPSocket) bool { return !k.broughtBy(n) })
	}
	return l.match
}

// forgetMatch lets go of what destinations returned.
func (l *lane) forgetMatch() {
	clear(l.match)
	l.match = l.match[:0]
}

// deliverEach gives each socket its copy of a datagram.
func (l *lane) deliverEach(a *arrival, sockets []*UDPSocket, data []byte, in *Info) {
	if len(sockets) == 0 {
		l.count[counter.UDPIgnoredMulti]++
		return
	}
	a.chosen = true
	last := len(sockets) - 1
	for _, k := range sockets[:last] {
		if k.state.Load()&output.StateRecvExtras == 0 {
			l.deliver(a, &k.Endpoint, data, in, counter.UDPInDatagrams, counter.UDPRcvbufErrors)
			continue
		}
		its := *in // which accept may change
		l.deliver(a, &k.Endpoint, data, &its, counter.UDPInDatagrams, counter.UDPRcvbufErrors)
	}
	l.deliver(a, &sockets[last].Endpoint, data, in, counter.UDPInDatagrams, counter.UDPRcvbufErrors)
}

// deliver hands one datagram to a socket: to the leader's own buffer if that is
// who waits for it, else to the queue. good and full are the counters.
func (l *lane) deliver(a *arrival, k *Endpoint, data []byte, in *Info, good, full counter.Kind) {
	if st := k.state.Load(); st&(output.StateClosed|output.StateRecvExtras) != 0 {
		if st&output.StateClosed != 0 {
			l.count[counter.IPInDiscards]++
			return
		}
		var keep bool
		if k, data, keep = l.accept(a, k, data, in); !keep {
			return
		}
	}
	if l.sinkSocket == k && k.queue.N.Load() == 0 && !l.sink.Full() {
		l.sink.Store(data, in)
		l.count[good]++
		return
	}
	if l.warming {
		return // not the socket that it is for: another of its group was chosen
	}
	ok := k.queue.Push(&l.s.pool, data, in)
	if !ok {
		l.count[full]++
		if full == counter.UDPRcvbufErrors {
			l.count[counter.UDPInErrors]++
		}
		return
	}
	l.count[good]++
	if k.watches.Wanted(EventsIn) {
		p := l.pending
		if n := len(p.wake); n == 0 || p.wake[n-1] != k {
			p.wake = append(p.wake, k)
		}
	}
}

// reassembly is where fragments wait for the rest of their datagrams: of all lanes, since
// they may come by several links. mu is held while a datagram that is whole again is given
// to its sockets: it lies in the reassembler's memory.
type reassembly struct {
	mu    sync.Mutex // taken with a lane's lock held
	r     *ipv4.Reassembler
	timer *drive.Timer
}

// fragmentInput takes in a fragment, and the datagram that it makes whole.
func (l *lane) fragmentInput(a *arrival, payload []byte) {
	s := l.s
	s.reasm.mu.Lock()
	defer s.reasm.mu.Unlock()
	now := s.clock.Now()
	if now >= s.reasm.r.Deadline() {
		l.reassemblyTimersLocked(now) // what Input gives up itself nobody would be told of
	}
	datagram, done, c := s.reasm.r.Input(now, a.h, payload, int(a.ifc.dev.Index))
	s.timers.Set(s.reasm.timer, s.reasm.r.Deadline())
	if c != ipv4.CauseNone {
		l.count[counter.DropFragment]++
	}
	if !done {
		return
	}
	if a.h, payload, c = ipv4.Parse(datagram); c != ipv4.CauseNone {
		l.badHeader(c)
		return
	}
	a.frag = s.reasm.r.MaxFragSize()
	l.wholeInput(a, payload)
}

// reassemblyTimers gives up datagrams whose time is over, and tells their
// senders.
func (l *lane) reassemblyTimers(now int64) {
	l.s.reasm.mu.Lock()
	defer l.s.reasm.mu.Unlock()
	l.reassemblyTimersLocked(now)
}

func (l *lane) reassemblyTimersLocked(now int64) {
	s := l.s
	s.reasm.r.Advance(now)
	for {
		e, ok := s.reasm.r.Next()
		if !ok {
			break
		}
		ifc := interfaceOf(s.routes.Net().ByIndex(int32(e.Iface)))
		h, _, ok := ipv4.ParseQuoted(e.First)
		if e.First == nil || ifc == nil || !ok {
			continue
		}
		a := arrival{ifc: ifc, meta: &link.Meta{}, h: h, src: h.Src(), dst: h.Dst()}
		if s.routes.Net().IsBroadcast(h.Dst()) {
			a.kind = route.Broadcast
		}
		l.sendErrorAbout(&a, errReassemblyTime, 0, e.First)
	}
	s.timers.Set(s.reasm.timer, s.reasm.r.Deadline())
}

// stats returns the reassembler's counters.
func (r *reassembly) stats() ipv4.ReassemblyStats {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.r.Stats()
}
