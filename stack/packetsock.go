package stack

import (
	"net/netip"
	"sync"
	"sync/atomic"

	"github.com/outband/outband/bpf"
	"github.com/outband/outband/ether"
	"github.com/outband/outband/link"
	"github.com/outband/outband/stack/internal/counter"
	"github.com/outband/outband/stack/internal/option"
	"github.com/outband/outband/stack/internal/output"
	"golang.org/x/sys/unix"
)

// Packet sockets (packet(7)) send and receive frames: they see those that arrive
// before the protocols do and, with ETH_P_ALL, those that are sent. A stack
// without any has Stack.taps nil, and looks no further.
//
// What they see is what the links bring: a tpacket link's own filter passes only
// IPv4 and ARP unless tpacket.Options.EtherTypes or AllEtherTypes says
// otherwise, and frames to other hosts only with Options.Promiscuous.

// A PacketSocket sends and receives frames (packet(7)). Of sockets of the Internet it has
// neither addresses nor a peer.
type PacketSocket struct {
	Endpoint
	cooked         bool        // SOCK_DGRAM: without the Ethernet header
	ignoreOutgoing atomic.Bool // PACKET_IGNORE_OUTGOING

	frames    atomic.Uint32 // seen since PacketStatistics
	dropsSeen atomic.Uint32 // of the queue's drops, by PacketStatistics

	// What follows is guarded by Endpoint.mu.
	proto       uint16 // EtherType in host order; 0: receives nothing
	index       int32  // of the interface; 0: all, negative: it is gone
	memberships []membership
}

// A tap is a packet socket that receives.
type tap struct {
	socket *PacketSocket
	proto  uint16
	index  int32
}

// tapTable is the packet sockets that receive. It is never changed, only replaced.
type tapTable struct {
	taps     []tap
	outgoing bool // some want what is sent
}

// A tapList has the present tapTable, nil while no packet socket wants anything.
type tapList struct {
	atomic.Pointer[tapTable]
	mu sync.Mutex // for changing it; a leaf
}

// NewPacketSocket makes a packet socket for the frames of an EtherType, in host
// order: unix.ETH_P_ALL for all, 0 for none. A cooked one (SOCK_DGRAM) has
// frames without their Ethernet header.
func (s *Stack) NewPacketSocket(cooked bool, ethertype uint16) (*PacketSocket, error) {
	k := &PacketSocket{cooked: cooked, proto: ethertype}
	if err := s.open(&k.Endpoint, k); err != nil {
		return nil, err
	}
	k.mu.Lock()
	k.retapLocked()
	k.mu.Unlock()
	s.wantsChanged()
	return k, nil
}

// BindLink has a packet socket receive the frames of an EtherType, in host order,
// from one interface, and send by it; 0 leaves the EtherType as it is, and index
// 0 is all interfaces. ENODEV: there is no such interface, or its frames pass by no link of
// the stack's. An interface that is down is ENETDOWN for the next call.
func (k *PacketSocket) BindLink(index int, ethertype uint16) error {
	if k.Closed() {
		return unix.EBADF
	}
	defer k.s.wantsChanged()
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.Closed() {
		return unix.EBADF
	}
	var ifc *Interface
	if index != 0 {
		if ifc = k.s.InterfaceByIndex(index); ifc == nil || ifc.dev.InBand {
			return unix.ENODEV
		}
	}
	if ethertype != 0 {
		k.proto = ethertype
	}
	k.index = int32(index)
	k.s.lockLanes()
	k.losses.Of(&k.s.links, k.s.routes.Net().ByIndex(k.index))
	k.s.unlockLanes()
	k.retapLocked()
	if k.proto != 0 && ifc != nil && !ifc.dev.Info().State.Enabled() {
		k.errors.set(unix.ENETDOWN)
	}
	return nil
}

// A LinkAddr is a link-layer address (struct sockaddr_ll in packet(7)).
type LinkAddr struct {
	Interface int    // its index
	EtherType uint16 // in host order
	Addr      link.MAC
}

// BoundLink returns what a packet socket is bound to, with the hardware address
// of the interface; ifc is nil if it is bound to none (getsockname(2)).
func (k *PacketSocket) BoundLink() (a LinkAddr, ifc *Interface) {
	k.mu.Lock()
	defer k.mu.Unlock()
	a = LinkAddr{Interface: int(k.index), EtherType: k.proto}
	if ifc = k.s.InterfaceByIndex(a.Interface); ifc != nil {
		a.Addr = ifc.dev.Info().HardwareAddr
	}
	return a, ifc
}

// HardwareType returns the interface's ARPHRD_* type: Ethernet's or loopback's.
func (i *Interface) HardwareType() uint16 {
	if i.dev.Loopback {
		return unix.ARPHRD_LOOPBACK
	}
	return unix.ARPHRD_ETHER
}

// SetIgnoreOutgoing keeps what the stack sends from a packet socket
// (PACKET_IGNORE_OUTGOING).
func (k *PacketSocket) SetIgnoreOutgoing(on bool) {
	k.ignoreOutgoing.Store(on)
	k.mu.Lock()
	k.retapLocked()
	k.mu.Unlock()
}

// IgnoreOutgoing returns what SetIgnoreOutgoing set.
func (k *PacketSocket) IgnoreOutgoing() bool { return k.ignoreOutgoing.Load() }

// PacketStatistics returns how many frames a packet socket was to have since the
// last call, and how many it lost to a full queue or, as Drops says, to a full ring
// (PACKET_STATISTICS).
func (k *PacketSocket) PacketStatistics() (frames, drops uint32) {
	now := k.Drops()
	return k.frames.Swap(0), now - k.dropsSeen.Swap(now)
}

// retapLocked brings the table of taps up to date with the socket. k.mu is held.
func (k *PacketSocket) retapLocked() {
	s := k.s
	s.taps.mu.Lock()
	defer s.taps.mu.Unlock()
	t := new(tapTable)
	if old := s.taps.Load(); old != nil {
		for _, o := range old.taps {
			if o.socket != k {
				t.add(o)
			}
		}
	}
	if k.proto != 0 && !k.Closed() {
		t.add(tap{k, k.proto, k.index})
	}
	if len(t.taps) == 0 {
		t = nil
	}
	s.taps.Store(t)
	s.out.Tapped.Store(t != nil && t.outgoing)
}

func (t *tapTable) add(o tap) {
	t.taps = append(t.taps, o)
	t.outgoing = t.outgoing || o.proto == unix.ETH_P_ALL && !o.socket.ignoreOutgoing.Load()
}

func (k *PacketSocket) leave() {
	k.mu.Lock()
	k.retapLocked()
	k.leaveAllLocked()
	k.mu.Unlock()
	k.s.wantsChanged()
}

// tapsDown tells the packet sockets that are bound to an interface that it is
// down, or gone for good. Of one that goes while it is down they have been told.
func (s *Stack) tapsDown(i *Interface, gone bool) {
	t := s.taps.Load()
	if t == nil {
		return
	}
	for _, o := range t.taps {
		if o.index != i.dev.Index {
			continue
		}
		if !gone || i.dev.Info().State.Enabled() {
			o.socket.errors.set(unix.ENETDOWN)
		}
		if gone {
			o.socket.mu.Lock()
			o.socket.index = -1
			o.socket.retapLocked()
			o.socket.mu.Unlock()
		}
	}
}

// etherType returns the protocol of a frame as Linux' eth_type_trans has it: what
// is a length instead of a type is IEEE 802.2, or old Novell's 802.3.
func etherType(frame []byte) uint16 {
	t := ether.Header(frame).Type()
	switch {
	case t >= ether.MinType:
		return uint16(t)
	case len(frame) >= link.HeaderLen+2 && frame[14] == 0xff && frame[15] == 0xff:
		return unix.ETH_P_802_3
	default:
		return unix.ETH_P_802_2
	}
}

// tapInput gives a frame that has arrived to the packet sockets that want it, each
// its own copy.
func (l *lane) tapInput(t *tapTable, ifc *Interface, f *link.Frame) {
	proto := etherType(f.Data)
	for i := range t.taps {
		o := &t.taps[i]
		if o.index != 0 && o.index != ifc.dev.Index || o.proto != unix.ETH_P_ALL && o.proto != proto {
			continue
		}
		typ := f.Type
		switch {
		case typ == link.Outgoing:
			if o.proto != unix.ETH_P_ALL || o.socket.IgnoreOutgoing() {
				continue
			}
		case f.VLAN && ether.Tag(f.VLANTCI).VLAN() != 0 && o.proto != unix.ETH_P_ALL:
			typ = link.OtherHost // of a VLAN that we are not in, as Linux has it
		case typ == link.Broadcast && ifc.dev.Loopback:
			typ = link.Multicast // Linux' loopback device has another broadcast address
		}
		data, in, ok := o.socket.frameInfo(ifc, f.Data, proto, &f.Meta)
		if !ok {
			continue
		}
		in.Type = typ
		l.count[counter.PacketInFrames]++
		l.deliverFrame(o.socket, data, &in)
	}
}

// tap gives the frames that are about to be sent to the packet sockets that want
// them, all but the one that sends them.
func (s *Stack) tap(tx *output.Buffer) {
	t, ifc := s.taps.Load(), interfaceOf(&tx.To.Dev.Device)
	if t == nil || !ifc.dev.Info().State.Enabled() {
		return
	}
	meta := link.Meta{Type: link.Outgoing, Clock: link.ClockSoftware, Time: s.WallTime()}
	fresh := tx.Batch[tx.Tapped:] // the others were tried before
	tx.Tapped = len(tx.Batch)
	for n := range fresh {
		f := &fresh[n]
		proto := uint16(ether.Header(f.Data).Type())
		if tx.From != 0 && tx.Proto != 0 && tx.Proto != unix.ETH_P_ALL {
			proto = tx.Proto
		}
		meta.WireLen, meta.Checksum = len(f.Data), link.ChecksumUnknown
		meta.Priority, meta.Mark = f.Priority, f.Mark
		if f.PartialChecksum {
			meta.Checksum = link.ChecksumPartial
		}
		for i := range t.taps {
			o := &t.taps[i]
			if o.index != 0 && o.index != ifc.dev.Index || o.proto != unix.ETH_P_ALL ||
				o.socket.IgnoreOutgoing() || o.socket.id == tx.From {
				continue
			}
			if data, in, ok := o.socket.frameInfo(ifc, f.Data, proto, &meta); ok {
				s.queueFrame(tx, o.socket, data, &in)
			}
		}
	}
}

// frameInfo returns what a packet socket gets of a frame, and what it is told of
// it; false if its filter refuses the frame. It counts the frame.
func (k *PacketSocket) frameInfo(ifc *Interface, frame []byte, proto uint16, meta *link.Meta) ([]byte, Info, bool) {
	data := frame
	if k.cooked {
		data = frame[link.HeaderLen:]
	}
	in := Info{Interface: ifc.dev.Index, Type: meta.Type, Clock: meta.Clock, Time: meta.Time}
	in.PutLink(ifc.dev.Loopback, frame, proto, meta, max(meta.WireLen-len(frame), 0)+len(data))
	if k.Closed() {
		return nil, in, false
	}
	if f := k.receiving.Filter(); f != nil {
		v := bpf.View{Host: bpfHost{k.s}, Data: data, Network: frame[link.HeaderLen:], PacketType: uint8(meta.Type),
			Interface: ifc.dev.Index, EtherType: proto, Frame: bpfFrame(frame, meta), Found: true}
		if !k.cooked {
			v.Offset = link.HeaderLen
		}
		keep := min(f.Run(&v), uint32(len(data)))
		if keep == 0 {
			return nil, in, false
		}
		data = data[:keep]
	}
	if k.recvExtras.Has(option.KeepDrops) {
		in.Drops = k.Drops()
	}
	if t := (output.Metadata{Priority: meta.Priority, Mark: meta.Mark}); t != (output.Metadata{}) && k.recvExtras.Has(option.KeepMetadata) {
		in.SetMetadata(t.Priority, t.Mark)
	}
	in.Len = len(data)
	k.frames.Add(1)
	return data, in, true
}

// deliverFrame is deliver for a packet socket, which has nothing to accept.
func (l *lane) deliverFrame(k *PacketSocket, data []byte, in *Info) {
	if k.recvExtras.Has(option.ReceiveTimes) {
		in.Taken, in.Delivered = l.taken, l.s.Monotonic()
	}
	if l.sinkSocket == &k.Endpoint && k.queue.N.Load() == 0 && !l.sink.Full() {
		l.sink.Store(data, in)
		return
	}
	ok := k.queue.Push(&l.s.pool, data, in)
	if !ok {
		l.count[counter.PacketRcvbufErrors]++
		return
	}
	if k.watches.Wanted(EventsIn) {
		l.pending.wake = append(l.pending.wake, &k.Endpoint)
	}
}

// queueFrame is deliverFrame for senders, which hold no lane's lock.
func (s *Stack) queueFrame(tx *output.Buffer, k *PacketSocket, data []byte, in *Info) {
	if k.recvExtras.Has(option.ReceiveTimes) {
		in.Delivered = s.Monotonic()
		in.Taken = in.Delivered
	}
	ok := k.queue.Push(&s.pool, data, in)
	if !ok {
		tx.Count[counter.PacketRcvbufErrors].Add(1)
		return
	}
	k.watches.Tell(EventsIn)
}

// vlanHeaderLen is the length of a tag that stands in the frame (IEEE 802.1Q).
const vlanHeaderLen = 4

// SendLink is Send for a packet socket: p is a frame, or, on a cooked socket, the
// payload of one to to.Addr. to nil is what the socket is bound to; then a
// cooked one has no destination, and is refused but on loopback. ENXIO: no
// interface. ENETDOWN: it is down. EMSGSIZE: longer than its MTU. EINVAL: no
// frame at all.
func (k *PacketSocket) SendLink(p []byte, flags int, deadline int64, to *LinkAddr) error {
	o := outgoing{one: p, n: len(p), link: to}
	return k.sendOne(&o, flags, deadline)
}

// sendFrame sends one frame of a packet socket (packet_snd in Linux).
func (k *PacketSocket) sendFrame(tx *output.Buffer, o *outgoing) unix.Errno {
	ifc, proto := k.frameRoute(o)
	if ifc == nil {
		return unix.ENXIO
	}
	info := ifc.dev.Info()
	if !info.State.Enabled() {
		return unix.ENETDOWN
	}
	longest := info.MTU
	if !k.cooked {
		longest += link.HeaderLen
	}
	if o.n > longest+vlanHeaderLen {
		return unix.EMSGSIZE
	}
	if e := k.errors.Take(); e != 0 {
		return e
	}
	n := o.n
	if k.cooked {
		if o.link == nil && !ifc.dev.Loopback {
			return unix.EINVAL
		}
		n += link.HeaderLen
	} else if n < link.HeaderLen {
		return unix.EINVAL
	}
	if tx.From != k.id || tx.Proto != proto {
		if e := tx.Flush(); e != 0 {
			return e
		}
	}
	b, e := tx.Room(k.out.WayOutOf(&ifc.dev), n)
	if e != 0 {
		return e
	}
	if k.cooked {
		putLinkHeader(b, o, proto, info.HardwareAddr)
		o.copyTo(b[link.HeaderLen:])
	} else {
		o.copyTo(b)
	}
	if o.n > longest && (ifc.dev.Loopback || ether.Header(b).Type() != ether.TypeVLAN) {
		return unix.EMSGSIZE // only a tag in the frame may go beyond
	}
	tx.From, tx.Proto = k.id, proto
	l := k.times.later(o)
	if l != nil && k.out.SendFull() {
		return k.out.NoSpace()
	}
	pkt := output.Packet{Owner: &k.out, Message: o.message, Stamp: k.times.beginStamp(o)}
	pkt.Stamp.Keep(b)
	if l != nil {
		pkt.Queued = true
		if e := tx.AddLater(&ifc.dev, b, pkt.Waiting(o.metadata(&k.sending), l), o.message); e != 0 {
			return e
		}
		return k.times.stampSent(tx, o, &pkt)
	}
	tx.Add(b, o.message)
	if t := o.metadata(&k.sending); t != (output.Metadata{}) {
		tx.DescribeLast(t)
	}
	return k.times.stampSent(tx, o, &pkt)
}

// frameRoute returns the interface that a frame leaves by, nil if there is none,
// and its protocol.
func (k *PacketSocket) frameRoute(o *outgoing) (*Interface, uint16) {
	if o.link != nil {
		return k.s.InterfaceByIndex(o.link.Interface), o.link.EtherType
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.s.InterfaceByIndex(int(k.index)), k.proto
}

// putLinkHeader writes the Ethernet header of a cooked socket's frame (eth_header in
// Linux): 802.2 and 802.3 frames have their length where others have their type.
func putLinkHeader(b []byte, o *outgoing, proto uint16, src link.MAC) {
	var dst link.MAC
	if o.link != nil {
		dst = o.link.Addr
	}
	if proto == unix.ETH_P_802_3 || proto == unix.ETH_P_802_2 {
		proto = uint16(o.n)
	}
	ether.Put(b, dst, src, ether.Type(proto))
}

// What calls return that packet sockets do not have, and what else differs.

// Bind is EINVAL: see BindLink.
func (k *PacketSocket) Bind(netip.AddrPort) error {
	if k.Closed() {
		return unix.EBADF
	}
	return unix.EINVAL
}

// Connect is EOPNOTSUPP.
func (k *PacketSocket) Connect(netip.AddrPort) error { return k.notSupported() }

// Disconnect is EOPNOTSUPP.
func (k *PacketSocket) Disconnect() error { return k.notSupported() }

func (k *PacketSocket) notSupported() error {
	if k.Closed() {
		return unix.EBADF
	}
	return unix.EOPNOTSUPP
}

// LocalAddr returns zeros: see BoundLink.
func (k *PacketSocket) LocalAddr() netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{}), 0)
}

// RemoteAddr returns that there is no peer.
func (k *PacketSocket) RemoteAddr() (peer netip.AddrPort, ok bool) {
	return k.LocalAddr(), false
}

// Shutdown is EOPNOTSUPP, or EINVAL for what is no direction.
func (k *PacketSocket) Shutdown(how int) error {
	if _, err := shutdownBits(how); err != nil && !k.Closed() {
		return err
	}
	return k.notSupported()
}

func (k *PacketSocket) name() string              { return "packet" }
func (k *PacketSocket) ip() *IPSocket             { return nil }
func (k *PacketSocket) ported() bool              { return true }
func (k *PacketSocket) counters() []counter.Kind  { return nil }
func (k *PacketSocket) lossCounter() counter.Kind { return counter.OtherSndbufErrors }
func (k *PacketSocket) forgivesLoss() bool        { return false }
func (k *PacketSocket) linkDown() unix.Errno      { return unix.ENETDOWN }
func (k *PacketSocket) headerLen() int            { return 0 }
func (k *PacketSocket) hasIPHeader() bool         { return false }
func (k *PacketSocket) rebindLocked() unix.Errno  { return 0 }

func (k *PacketSocket) holdDeviceLocked(int32) unix.Errno { return 0 }
func (k *PacketSocket) preferCPU(int32)                   {}

func (k *PacketSocket) makeWarmup(gen uint32) *warmup { return &warmup{gen: gen} }

func (k *PacketSocket) unanswered(QueuedError, []byte) {}
