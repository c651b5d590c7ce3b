package sockapi

import (
	"encoding/binary"
	"math/bits"

	"github.com/outband/outband/link"
	"github.com/outband/outband/sockapi/internal/ancillary"
	"github.com/outband/outband/stack"
	"golang.org/x/sys/unix"
)

// Packet sockets (packet(7)), out-of-band: what differs from Internet sockets.

// openPacket opens an out-of-band packet socket. As in packet(7) proto is an
// EtherType in network byte order: what htons makes of unix.ETH_P_IP and so on.
func (a *API) openPacket(kind, proto int) (stack.Socket, error) {
	if kind != unix.SOCK_RAW && kind != unix.SOCK_DGRAM {
		return nil, unix.ESOCKTNOSUPPORT
	}
	return a.st.NewPacketSocket(kind == unix.SOCK_DGRAM, hostOrder(uint16(proto)))
}

// hostOrder returns a number in network byte order in the machine's.
func hostOrder(v uint16) uint16 {
	var b [2]byte
	binary.NativeEndian.PutUint16(b[:], v)
	return binary.BigEndian.Uint16(b[:])
}

// HTONS returns a number in network byte order, as socket(2) takes the protocol of
// a packet socket.
func HTONS(v uint16) int {
	if hostOrder(1) == 1 {
		return int(v)
	}
	return int(bits.ReverseBytes16(v))
}

// bindPacket is bind for a packet socket.
func (s *stackSocket) bindPacket(local Sockaddr) error {
	if s.K.Closed() {
		return unix.EBADF
	}
	if local.Family != unix.AF_PACKET {
		return unix.EINVAL
	}
	return s.Packet.BindLink(int(int32(local.IfIndex)), uint16(local.Extra))
}

// packetName is getsockname for a packet socket.
func (s *stackSocket) packetName() Sockaddr {
	bound, ifc := s.Packet.BoundLink()
	a := LinkLayer(bound.Interface, bound.EtherType, bound.Addr)
	if a.Halen = 0; ifc != nil {
		a.Halen, a.Hatype = uint8(len(bound.Addr)), ifc.HardwareType()
	}
	return a
}

// packetSource returns the sockaddr_ll of a frame.
func packetSource(info *stack.Info) Sockaddr {
	l := info.Link()
	a := LinkLayer(int(info.Interface), l.EtherType, l.Source)
	a.Hatype, a.Pkttype = l.HardwareType, uint8(info.Type)
	return a
}

// linkAddr returns where a frame is sent. Like Linux it looks at the length of the
// address, not at its family.
func (a *Sockaddr) linkAddr() (stack.LinkAddr, error) {
	var buf [addrSize]byte
	n := a.encode(&buf)
	if n < packetLen || n < packetHead+int(buf[11]) {
		return stack.LinkAddr{}, unix.EINVAL
	}
	return stack.LinkAddr{
		Interface: int(int32(binary.NativeEndian.Uint32(buf[4:]))),
		EtherType: binary.BigEndian.Uint16(buf[2:]),
		Addr:      link.MAC(buf[packetHead:]),
	}, nil
}

// packetRecvFlags are the only flags with which a packet socket receives.
const packetRecvFlags = unix.MSG_PEEK | unix.MSG_DONTWAIT | unix.MSG_TRUNC | unix.MSG_ERRQUEUE

// refuses returns why the socket does not receive with these flags. Linux' UDP
// ignores MSG_OOB, its other datagram sockets do not.
func (s *stackSocket) refuses(flags int) error {
	switch {
	case s.IsPacket():
		if flags&^packetRecvFlags != 0 {
			return s.orClosed(unix.EINVAL)
		}
	case flags&unix.MSG_OOB != 0 && !s.IsUDP():
		return s.orClosed(unix.EOPNOTSUPP)
	}
	return nil
}

// sendFrame is sendto for a packet socket.
func (s *stackSocket) sendFrame(p []byte, flags int, to Sockaddr) (int, error) {
	addr, err := to.linkAddr()
	if err != nil {
		return 0, s.orClosed(err)
	}
	err = s.Packet.SendLink(p, flags&sendStackFlags|int(s.nonblock.Load()), s.deadline(&s.SndTimeout), &addr)
	if err != nil {
		return 0, err
	}
	return len(p), nil
}

// fillFrame is fill for a packet socket.
func (b *batch) fillFrame(s *stackSocket, i int, to *Sockaddr, iov [][]byte, control []byte) error {
	out := &b.out[i]
	*out = stack.OutMessage{Buffers: iov}
	if !to.IsZero() {
		addr, err := to.linkAddr()
		if err != nil {
			return err
		}
		if len(b.links) < len(b.out) {
			b.links = make([]stack.LinkAddr, len(b.out))
		}
		b.links[i] = addr
		out.Link = &b.links[i]
	}
	if len(control) == 0 {
		return nil
	}
	o := &b.opts[i]
	*o = stack.SendOptions{}
	if err := ancillary.ParsePacket(&s.State, control, o); err != nil {
		return err
	}
	out.Options = o
	return nil
}
