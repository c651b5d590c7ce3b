package stack

import (
	"math"

	"github.com/outband/outband/bpf"
	"github.com/outband/outband/ipv4"
	"github.com/outband/outband/link"
	"github.com/outband/outband/stack/internal/counter"
	"github.com/outband/outband/stack/internal/option"
	"github.com/outband/outband/stack/internal/output"
	"github.com/outband/outband/udp"
	"golang.org/x/sys/unix"
)

// What few sockets ask for. A socket that wants any of it on receive has
// output.StateRecvExtras, and every datagram for it takes the way through accept; one
// that wants any of it on send has output.StateSendExtras, and never takes the fast
// way out. The others pay nothing.

// Receiving are the options of what a socket receives, whatever its kind.
type Receiving = option.Receiving

// Receiving returns the options of what the socket receives.
func (k *Endpoint) Receiving() *Receiving { return &k.receiving }

// SetKeepOptions says whether Extra.Options is wanted.
func (k *IPSocket) SetKeepOptions(on bool) { k.recvExtras.Put(option.KeepOptions, on) }

// SetGRO says whether the socket takes datagrams that were joined into one by
// their sender or the device, with Info.SegmentSize (UDP_GRO in udp(7)).
func (k *UDPSocket) SetGRO(on bool) { k.recvExtras.Put(option.GRO, on) }

// GRO returns what SetGRO set.
func (k *UDPSocket) GRO() bool { return k.recvExtras.Has(option.GRO) }

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

// SetSegment makes every send cut its payload into datagrams of n bytes, the
// last maybe shorter (UDP_SEGMENT in udp(7)); 0 turns it off.
func (k *UDPSocket) SetSegment(n int) {
	k.segmentSize.Store(int32(n))
	k.sendExtras.Follow(option.Segmented, func() bool { return k.segmentSize.Load() > 0 })
}

// Segment returns what SetSegment set.
func (k *UDPSocket) Segment() int { return int(k.segmentSize.Load()) }

// Sending are the options of what a socket sends, whatever its kind.
type Sending = option.Sending

// Sending returns the options of what the socket sends.
func (k *Endpoint) Sending() *Sending { return &k.sending }

// SetOptions sets the IP options of what is sent (IP_OPTIONS); they are padded
// to a multiple of 4 bytes. A datagram with a source route goes to its first hop.
// EINVAL: over 40 bytes, or malformed.
func (k *IPSocket) SetOptions(o []byte) error {
	if k.Closed() {
		return unix.EBADF
	}
	sent := new(ipv4.SentOptions)
	if sent.Set(o) != ipv4.CauseNone {
		return unix.EINVAL
	}
	if sent.Len() == 0 {
		sent = nil
	}
	k.options.Store(sent)
	k.sendExtras.Follow(option.IPOptions, func() bool { return k.options.Load() != nil })
	return nil
}

// Options returns what SetOptions set.
func (k *IPSocket) Options() []byte {
	if o := k.options.Load(); o != nil {
		return o.Bytes()
	}
	return nil
}

// SetDevice binds the socket to an interface: it sends and receives by that one
// only (SO_BINDTOIFINDEX, SO_BINDTODEVICE); 0 takes the binding away. As on Linux
// an index that no interface has is taken: sends say ENODEV until there is one.
// EINVAL: not an index.
func (k *Endpoint) SetDevice(index int) error {
	if k.Closed() {
		return unix.EBADF
	}
	if index < 0 || index > math.MaxInt32 {
		return unix.EINVAL
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.setDeviceLocked(int32(index))
	k.s.lockLanes()
	defer k.s.unlockLanes()
	k.losses.Of(&k.s.links, k.s.routes.Net().ByIndex(k.device))
	if e := k.kind.rebindLocked(); e != 0 {
		return e
	}
	k.RenewPaths()
	return nil
}

// setDeviceLocked says which interface the socket is bound to. k.mu is held.
func (k *Endpoint) setDeviceLocked(index int32) {
	k.device = index
	lane := int32(0)
	if i := interfaceOf(k.s.routes.Net().ByIndex(index)); i != nil {
		lane = int32(i.lane.number) + 1
	}
	k.lane.Store(lane)
}

// Device returns the index of the interface that the socket is bound to, or 0.
func (k *Endpoint) Device() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return int(k.device)
}

// InterfaceByName returns the interface of that name, nil if there is none, or its
// device is gone.
func (s *Stack) InterfaceByName(name string) *Interface {
	for _, i := range s.Interfaces() {
		if info := i.dev.Info(); info.Name == name && info.State != link.Gone {
			return i
		}
	}
	return nil
}

// InterfaceByIndex returns the interface of that index, nil if there is none, or its
// device is gone.
func (s *Stack) InterfaceByIndex(index int) *Interface {
	return interfaceOf(s.routes.Net().Present(int32(index)))
}

// LocalFor returns the address that the stack would answer a datagram with, that
// came by the interface from src for dst: dst itself if it is ours, else, for
// broadcasts and multicasts, the one that it would send to src with (in_pktinfo's
// ipi_spec_dst in ip(7), Linux' fib_compute_spec_dst).
func (s *Stack) LocalFor(index int32, src, dst ipv4.Addr) ipv4.Addr {
	return s.routes.LocalFor(index, src, dst)
}

// SendOptions change one datagram: what control messages ask for.
type SendOptions struct {
	TTL    int       // 1 to 255; 0: the socket's
	TOS    int       // 0 to 255, with HasTOS
	HasTOS bool      //
	Source ipv4.Addr // the source address (ipi_spec_dst); zero: as ever, or with
	// AnySource the one that is chosen for the destination, even if the socket is bound.
	AnySource bool
	Device    int // the interface to leave by (ipi_ifindex); 0: as ever
	// Segment is UDP_SEGMENT's size for this call; -1: none, 0: the socket's.
	Segment int
	// DontRoute is MSG_DONTROUTE.
	DontRoute bool
	// Timestamping is SOF_TIMESTAMPING_TX_* for this datagram instead of the
	// socket's; 0: the socket's.
	Timestamping uint32
	// StampID is the number of the datagram's time stamps, with HasStampID,
	// instead of the socket's next (SCM_TS_OPT_ID).
	StampID    uint32
	HasStampID bool
	// Options are the IP options instead of the socket's, with HasOptions.
	Options    ipv4.SentOptions
	HasOptions bool
	// Priority and Mark are SetPriority's and SetMark's for this datagram, with
	// HasPriority and HasMark. TOS does not change the priority.
	Priority, Mark       uint32
	HasPriority, HasMark bool
	// Direct refuses a path over a gateway, which DontRoute would not look for:
	// EMULTIHOP.
	Direct bool
	// TxTime is when the datagram is to leave, in nanoseconds of the clock that
	// SetTxTime chose (SCM_TXTIME); 0: now, as without SetTxTime. It leaves at that
	// time or shortly after: see Config.TxTimeSlack.
	TxTime uint64
	// Queued is set by the send: the datagram waits for its neighbour or its time.
	Queued bool
}

// apply changes a path's specification.
func (o *SendOptions) apply(spec *output.Spec) {
	if o.TTL > 0 {
		spec.TTL = int32(o.TTL)
	}
	if o.HasTOS {
		spec.TOS = uint8(o.TOS)
	}
	if !o.Source.IsUnspecified() || o.AnySource {
		spec.Src = o.Source
	}
	if o.Device != 0 {
		spec.Device = int32(o.Device)
	}
	if o.HasOptions {
		spec.Options = &o.Options
	}
}

// MemInfo is what a socket holds and may hold, in bytes as Linux charges them
// (SO_MEMINFO in sock_diag(7)).
type MemInfo struct {
	Receive, ReceiveLimit, Send, SendLimit int
	Drops                                  uint32
}

// MemInfo returns the socket's memory.
func (k *Endpoint) MemInfo() MemInfo {
	charged := k.queue.Charged()
	return MemInfo{Receive: int(charged), ReceiveLimit: k.ReceiveBuffer(),
		Send: k.out.Queued(), SendLimit: k.SendBuffer(), Drops: k.Drops()}
}
