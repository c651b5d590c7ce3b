package stack

import (
	"sync/atomic"

	"github.com/outband/outband/bpf"
	"github.com/outband/outband/ether"
	"github.com/outband/outband/ipv4"
	"github.com/outband/outband/link"
	"github.com/outband/outband/stack/internal/counter"
	"github.com/outband/outband/stack/internal/drive"
	"github.com/outband/outband/stack/internal/option"
	"github.com/outband/outband/stack/internal/output"
	"github.com/outband/outband/stack/internal/queue"
	"github.com/outband/outband/udp"
	"golang.org/x/sys/unix"
)

// interrupted looks at what ends a wait. It returns done if the call ends,
// with the error or, after a shutdown, with an empty datagram.
func (k *Endpoint) interrupted(t *queue.Target, blocking bool) (e unix.Errno, done bool) {
	st := k.state.Load()
	switch {
	case st&output.StateClosed != 0:
		return unix.EBADF, true
	case st&output.StateError != 0:
		if e := k.errors.Take(); e != 0 {
			return e, true
		}
		return 0, false
	case st&output.StateShutRead != 0 && k.queue.N.Load() == 0 && blocking:
		t.Count, t.N, t.Info = 0, 0, Info{}
		return 0, true
	}
	return 0, false
}

// Recv receives one datagram into p and returns how many bytes it stored;
// Info.Len is the datagram's length. It waits until the deadline, nanoseconds
// of the stack's clock (Deadline makes one): EAGAIN after that, or at once
// with MSG_DONTWAIT. MSG_PEEK leaves the datagram queued. After Shutdown it
// returns 0 bytes. A pending error is returned first. p is not kept.
func (k *Endpoint) Recv(p []byte, flags int, deadline int64) (n int, info Info, err error) {
	t := queue.Target{One: p}
	if e := k.s.receive(k, &t, flags, deadline, nil); e != 0 {
		return 0, Info{}, e
	}
	return t.N, t.Info, nil
}

// RecvMessages receives at least one datagram, as Recv does, and as many more
// as are there, into msgs, and returns how many.
func (k *Endpoint) RecvMessages(msgs []Message, flags int, deadline int64) (int, error) {
	return k.RecvMessagesWith(nil, msgs, flags, deadline)
}

// RecvMessagesWith is RecvMessages for a call that h may cut short: EINTR. With h.Awake it
// does not sleep: EAGAIN when it has spun for the socket's budget.
func (k *Endpoint) RecvMessagesWith(h *Handle, msgs []Message, flags int, deadline int64) (int, error) {
	if len(msgs) == 0 {
		if k.Closed() {
			return 0, unix.EBADF
		}
		return 0, nil
	}
	t := queue.Target{Msgs: msgs}
	if e := k.s.receive(k, &t, flags, deadline, h); e != 0 {
		return 0, e
	}
	if t.Count == 0 { // shut down: an empty message
		msgs[0].N, msgs[0].Flags, msgs[0].Info = 0, 0, Info{}
		return 1, nil
	}
	return t.Count, nil
}

// eventsReceive is what wakes a call that waits for a datagram.
const eventsReceive = EventsIn | drive.More | unix.EPOLLERR | unix.EPOLLHUP | unix.EPOLLRDHUP

// glance has a look for a datagram of k's, if no other call leads the lane that brings it, before
// anything is made ready to wait: under load there is one. It returns empty if there is
// nothing more to find either, in any lane.
func (s *Stack) glance(k *Endpoint, t *queue.Target) (done, empty bool) {
	l, lanes := &s.lanes.first, *s.lanes.all.Load()
	if n := k.lane.Load(); n > 1 {
		l = lanes[n-1]
	}
	if l.drive.Lock.Wanted() || !l.drive.Lock.Try(drive.Held) {
		return false, false
	}
	cold := false
	found := l.pumpFor(k, t, &cold)
	l.end()
	if found&drive.Done != 0 {
		return true, false
	}
	return false, found&drive.Full == 0 && len(lanes) == 1 && !k.ready()
}

// takeQueued takes what is queued, or looks at it. It returns false if nothing is.
func (k *Endpoint) takeQueued(t *queue.Target, peek bool) bool {
	ok, left := k.queue.Take(&k.s.pool, t, peek)
	if left {
		k.watches.Tell(drive.More)
	}
	if ok {
		k.watches.Drained()
	}
	return ok
}

// receive waits until deadline for a datagram for k and stores it in t.
func (s *Stack) receive(k *Endpoint, t *queue.Target, flags int, deadline int64, h *Handle) unix.Errno {
	peek := flags&unix.MSG_PEEK != 0
	switch {
	case k.state.Load() != 0:
	case k.queue.N.Load() > 0:
		if k.takeQueued(t, peek) {
			return 0
		}
	case !peek:
		if flags&unix.MSG_DONTWAIT != 0 {
			s.drive.Prompt() // who waits looks again anyway, and costs no look at the clock
		}
		switch done, empty := s.glance(k, t); {
		case done:
			return 0
		case empty && flags&unix.MSG_DONTWAIT != 0:
			return unix.EAGAIN
		}
	}
	return s.receiveSlow(k, t, flags, deadline, h)
}

// receiveSlow is receive for a call that has to wait, and for sockets whose state matters.
// Package drive decides which call drives the links meanwhile.
func (s *Stack) receiveSlow(k *Endpoint, t *queue.Target, flags int, deadline int64, h *Handle) unix.Errno {
	peek, blocking := flags&unix.MSG_PEEK != 0, flags&unix.MSG_DONTWAIT == 0
	c := drive.Call{Spin: &k.spin, Deadline: deadline, Until: &k.readBy, Handle: h, Once: !blocking,
		List: &k.watches, Events: eventsReceive, Exclusive: true}
	if lane := k.lane.Load(); lane != 0 {
		c.Lane, c.Bound = int(lane)-1, true
	}
	if blocking {
		if c.Budget = k.spin.Budget(); c.Budget > 0 {
			k.prepareWarmup()
		}
	}
	g := drive.Goal{Queued: &k.queue.N, State: &k.state, Bits: output.StateReceive}
	cold := c.Budget > 0
	if !peek {
		g.Pump = func(l drive.Pumper) drive.Outcome { return l.(*lane).pumpFor(k, t, &cold) }
	}
	for first := true; ; first = false {
		if st := k.state.Load(); st != 0 {
			if st&output.StateRecvExtras != 0 && flags&recvPlain == 0 && k.recvExtras.Has(option.PeeksAtOffset) {
				return s.receiveAtOffset(k, t, flags, deadline, h)
			}
			if e, done := k.interrupted(t, blocking); done {
				s.drive.Finish(&c)
				return e
			}
		}
		if k.queue.N.Load() > 0 && k.takeQueued(t, peek) {
			s.drive.Finish(&c)
			return 0
		}
		if !blocking && !first {
			return unix.EAGAIN
		}
		switch s.drive.Wait(&g, &c) {
		case drive.Delivered:
			s.drive.Finish(&c)
			return 0
		case drive.Expired:
			s.drive.Finish(&c)
			return unix.EAGAIN
		case drive.Cut:
			s.drive.Finish(&c)
			return unix.EINTR
		case drive.Spent:
			if blocking { // but awake
				s.drive.Finish(&c)
				return unix.EAGAIN
			}
		}
	}
}

// Peeking at an offset (SO_PEEK_OFF in socket(7)). A socket that does has receive
// extras, and its calls leave the common way where they look at its state.

// recvPlain is a flag of receive's own, beside those of recvmsg(2): the peek offset
// does not matter to this call.
const recvPlain = 1 << 30

// receiveAtOffset is receive for a socket with a peek offset.
func (s *Stack) receiveAtOffset(k *Endpoint, t *queue.Target, flags int, deadline int64, h *Handle) unix.Errno {
	if flags&unix.MSG_PEEK == 0 {
		e := s.receive(k, t, flags|recvPlain, deadline, h)
		if e == 0 {
			k.receiving.MovePeek(-t.Returned(flags))
		}
		return e
	}
	e, done := k.peekOnce(t, flags)
	if done {
		return e
	}
	var fired atomic.Bool
	g := s.NewWaiter(fired.Load)
	w := Watch{Notify: func(uint32) bool { fired.Store(true); return g.Wake() }}
	if k.Watch(&w) != nil {
		return unix.EBADF
	}
	defer k.Unwatch(&w)
	g.Poll()
	blocking := flags&unix.MSG_DONTWAIT == 0
	for v := drive.Ready; ; v = g.WaitFor(deadline, &k.readBy, h) {
		fired.Store(false)
		if e, done := k.peekOnce(t, flags); done {
			return e
		}
		switch {
		case v == drive.Cut:
			return unix.EINTR
		case !blocking || v != drive.Ready:
			return unix.EAGAIN
		case k.state.Load()&output.StateShutRead != 0:
			t.Count, t.N, t.Info = 0, 0, Info{}
			return 0
		}
	}
}

// peekOnce peeks if there is something at the offset, or an error.
func (k *Endpoint) peekOnce(t *queue.Target, flags int) (e unix.Errno, done bool) {
	if k.state.Load()&output.StateClosed != 0 {
		return unix.EBADF, true
	}
	if e := k.errors.Take(); e != 0 {
		return e, true
	}
	if !k.queue.PeekAt(t, max(int(k.receiving.PeekOffset()), 0)) {
		return 0, false
	}
	k.receiving.MovePeek(t.Returned(flags))
	return 0, true
}

// A system call leaves the processor's caches and branch predictors full of the
// kernel's code, and the next datagram pays for it: a few hundred nanoseconds,
// several times what its processing costs otherwise. A spinner that has just
// found nothing has time until its datagram comes. It spends some of it on a
// datagram of its own making, which takes the same way through the same code to
// the same socket, and leaves no trace: its counters are not the stack's, only
// the sink gets it, and nothing is sent because of it.

// warmup is a socket's frame for that purpose, and where its payload goes.
type warmup struct {
	gen   uint32     // the configuration's generation that it was made in
	ifc   *Interface // nil: there is no way to warm
	frame []byte
	sink  [warmPayload]byte
}

// warmPayload is the payload in bytes.
const warmPayload = 64

// prepareWarmup makes the socket's frame if it has none that fits.
func (k *Endpoint) prepareWarmup() {
	gen := k.s.routes.Generations.Config()
	if w := k.warmup.Load(); w != nil && w.gen == gen {
		return
	}
	k.warmup.Store(k.kind.makeWarmup(gen))
}

func (k *UDPSocket) makeWarmup(gen uint32) *warmup {
	k.mu.Lock()
	local, port, peer, peerPort := k.addr, k.port, k.peer, k.peerPort
	k.mu.Unlock()
	w := &warmup{gen: gen, ifc: interfaceOf(k.s.routes.Net().Toward(local))}
	if w.ifc != nil && port != 0 {
		if local.IsUnspecified() {
			local = k.s.routes.Net().Primary(&w.ifc.dev.Device)
		}
		if peer.IsUnspecified() {
			peer, peerPort = local, discardPort
			peer[3] ^= 1
		}
		w.frame = warmFrame(w.ifc, local, peer, port, peerPort)
	} else {
		w.ifc = nil
	}
	return w
}

// discardPort is the source port of a datagram to which no reply is wanted (RFC 863).
const discardPort = 9

// warmFrame returns the frame of a datagram from peer to local.
func warmFrame(ifc *Interface, local, peer ipv4.Addr, port, peerPort uint16) []byte {
	b := make([]byte, output.HeadersLen+warmPayload)
	ether.Put(b, ifc.dev.Info().HardwareAddr, link.MAC{}, ether.TypeIPv4)
	f := ipv4.Fields{TTL: output.DefaultTTL, Protocol: ipv4.ProtocolUDP, Src: peer, Dst: local, DontFragment: true}
	f.Put(b[output.IPOffset:], udp.HeaderLen+warmPayload)
	udp.Put(b[output.UDPOffset:], peer, local, peerPort, port, warmPayload)
	return b
}

// warm takes k's frame through the receive path. The caller leads for k, and its sink is
// empty. It reports false if the frame is another lane's.
func (l *lane) warm(k *Endpoint) (done bool) {
	w := k.warmup.Load()
	if w != nil && w.ifc != nil && w.ifc.lane != l {
		return false
	}
	if w == nil || w.ifc == nil || k.state.Load()&(output.StateRecvExtras|output.StateReceive) != 0 || k.queue.N.Load() != 0 {
		return true
	}
	if l.s.raws != nil {
		return true // they would get it too
	}
	defer l.cool(l.sink.One, l.sink.Msgs)
	defer l.containFrame(w.ifc, w.frame)
	l.sink.One, l.sink.Msgs = w.sink[:], nil
	l.count, l.warming = &l.warmCounters, true
	f := &l.batch[0]
	f.Data, f.Meta = w.frame, link.Meta{WireLen: len(w.frame)}
	l.ipv4Input(w.ifc, f.Data[output.IPOffset:], &f.Meta, false)
	return true
}

// cool ends warm: what comes is counted, and goes to where it is wanted.
func (l *lane) cool(one []byte, msgs []Message) {
	l.count, l.warming = &l.counters, false
	l.sink.One, l.sink.Msgs, l.sink.Count = one, msgs, 0
}

// Info is what is known of a received datagram beside its bytes: addresses and ports,
// length, interface, TTL and TOS, when it came and by which clock.
type Info = queue.Info

// Extra is what a socket may be told of a datagram that has it.
type Extra = queue.Extra

// A Message is one datagram to receive: where to, and what came.
type Message = queue.Message

// LinkInfo is what a packet socket is told of a frame beside its bytes (struct
// sockaddr_ll and struct tpacket_auxdata in packet(7)). Info.Link returns it.
type LinkInfo = queue.LinkInfo

// What few sockets ask for. A socket that wants any of it on receive has
// output.StateRecvExtras, and every datagram for it takes the way through accept; one
// that wants any of it on send has output.StateSendExtras, and never takes the fast
// way out. The others pay nothing.

// accept looks at a datagram for a socket with receive extras: it returns whom
// it is for, which may be another of the socket's group, and what of the data to
// deliver, or false to drop it.
func (l *lane) accept(a *arrival, k *Endpoint, data []byte, in *Info) (to *Endpoint, keep []byte, ok bool) {
	to = k
	if u, ok := k.kind.(*UDPSocket); ok {
		if to = &l.steer(a, u, data, in).Endpoint; to != k && to.state.Load()&output.StateRecvExtras == 0 {
			return to, data, true
		}
	}
	keep, ok = l.acceptExtras(a, to, data, in)
	return to, keep, ok
}

// acceptExtras is accept when it is known whom the datagram is for.
func (l *lane) acceptExtras(a *arrival, k *Endpoint, data []byte, in *Info) ([]byte, bool) {
	x := &k.recvExtras
	if k.passes(a) {
		return nil, false
	}
	if x.Has(option.NoteCPU) && k.hasPeer.Load() {
		k.cpu.Store(link.CPU())
	}
	if x.Has(option.KeepOptions) && len(a.h) > ipv4.MinHeaderLen {
		in.NeedExtra().Options = append([]byte(nil), a.h.Options()...)
	}
	if m := a.metadata(); m != (output.Metadata{}) && x.Has(option.KeepMetadata) {
		in.SetMetadata(m.Priority, m.Mark)
	}
	if x.Has(option.KeepDrops) {
		in.Drops = k.Drops()
	}
	if x.Has(option.ReceiveTimes) {
		in.Taken, in.Delivered = l.taken, l.s.Monotonic()
	}
	if f := k.receiving.Filter(); f != nil {
		return l.filterDatagram(a, k, f, data, in)
	}
	return data, true
}

// filterDatagram runs a filter, for which the header is put before the payload
// again.
func (l *lane) filterDatagram(a *arrival, k *Endpoint, f *bpf.Program, data []byte, in *Info) ([]byte, bool) {
	head := k.kind.headerLen()
	b := l.s.pool.Get(head + len(data))
	defer l.s.pool.Put(b)
	copy(b[head:], data)
	h := a.h
	switch whole := h.Payload(); {
	case head == 0:
	case len(whole) == len(b):
		copy(b, whole[:head])
	default: // one of several in a GSO packet
		udp.PutHeader(b, in.FromPort, in.ToPort, len(data), 0)
	}
	v := bpf.View{Host: laneHost{l}, Data: b, Network: h.Datagram(), PacketType: uint8(in.Type), Interface: in.Interface, EtherType: unix.ETH_P_IP}
	if !k.kind.hasIPHeader() {
		v.Offset = -len(h)
	}
	keep := int(min(f.Run(&v), uint32(len(b))))
	if keep == 0 {
		k.queue.Drops.Add(1)
		l.count[counter.DropFilter]++
		if head > 0 {
			l.count[counter.UDPInErrors]++ // as Linux' udp_queue_rcv_one_skb
		}
		return nil, false
	}
	keep = max(keep, head)
	in.Len = keep - head
	return data[:in.Len], true
}

// steer returns whom a datagram is for that was found to be for k.
func (l *lane) steer(a *arrival, k *UDPSocket, data []byte, in *Info) *UDPSocket {
	if a.chosen || !k.recvExtras.Has(option.Steered) {
		return k
	}
	if !k.claim.Binding.Steered() { // not any more
		k.recvExtras.Put(option.Steered, false)
		return k
	}
	l.view = bpf.View{Host: laneHost{l}, Data: data, Network: a.h.Datagram(), Offset: -len(a.h) - udp.HeaderLen,
		PacketType: uint8(in.Type), Interface: in.Interface, EtherType: unix.ETH_P_IP}
	to := l.s.udp.Steer(&k.claim.Binding, &l.view)
	l.view = bpf.View{}
	return to
}

// metadata returns what a datagram of this stack's own was sent with, if it came over
// loopback.
func (a *arrival) metadata() output.Metadata {
	if !a.ifc.dev.Loopback {
		return output.Metadata{}
	}
	return output.Metadata{Priority: a.meta.Priority, Mark: a.meta.Mark}
}

// bpfHost tells socket filters what is not in the bytes that they see.
type bpfHost struct{ s *Stack }

// HardwareType returns an interface's ARPHRD_* type, 0 if there is no such
// interface.
func (h bpfHost) HardwareType(index int32) uint16 {
	if i := h.s.InterfaceByIndex(int(index)); i != nil {
		return i.HardwareType()
	}
	return 0
}

// CPU returns the processor that the caller runs on.
func (bpfHost) CPU() int32 { return link.CPU() }

// Frame is asked of a laneHost only: a bpfHost is for programs that see the frame itself.
func (bpfHost) Frame([]byte) bpf.Frame { return bpf.Frame{} }

// laneHost is bpfHost for what a lane takes in.
type laneHost struct{ *lane }

// HardwareType is bpfHost's.
func (h laneHost) HardwareType(index int32) uint16 { return bpfHost{h.s}.HardwareType(index) }

// CPU is bpfHost's.
func (h laneHost) CPU() int32 { return bpfHost{h.s}.CPU() }

// Frame returns the frame that has brought a datagram. It looks in the batch that
// is being processed: the frame is not kept for the few programs that ask.
func (h laneHost) Frame(network []byte) bpf.Frame {
	for i := range h.batch {
		f := &h.batch[i]
		if len(f.Data) > link.HeaderLen && &f.Data[link.HeaderLen] == &network[0] {
			return bpfFrame(f.Data, &f.Meta)
		}
	}
	return bpf.Frame{}
}

// bpfFrame is a frame as programs see it.
func bpfFrame(data []byte, m *link.Meta) bpf.Frame {
	return bpf.Frame{Data: data, Tagged: m.VLAN, TCI: m.VLANTCI, TPID: m.VLANTPID}
}
