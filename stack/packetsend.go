package stack

import (
	"github.com/outband/outband/ether"
	"github.com/outband/outband/link"
	"github.com/outband/outband/stack/internal/output"
	"golang.org/x/sys/unix"
)

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
