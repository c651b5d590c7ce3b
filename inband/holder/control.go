package holder

import (
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/internal/mmsg"
)

// A controlBuffer has room for the control messages of one datagram: struct in_pktinfo, a
// time, up to 40 bytes of options, and numbers.
type controlBuffer [320]byte

// extendedErrLen is the length in bytes of struct sock_extended_err, which the address of
// the error's sender follows.
const extendedErrLen = int(unsafe.Sizeof(unix.SockExtendedErr{}))

// set fills in d from what the kernel says of one message.
func (d *Datagram) set(s *socket, m *mmsg.Header, from *unix.RawSockaddrInet4) {
	*d = Datagram{Buffer: d.Buffer, Len: int(m.N), Source: from.Addr, SourcePort: swapped(from.Port),
		Port: s.port, Holder: s.id}
	rest := unsafe.Slice(m.Hdr.Control, m.Hdr.Controllen)
	for len(rest) >= unix.SizeofCmsghdr {
		c := (*unix.Cmsghdr)(unsafe.Pointer(&rest[0]))
		if c.Len < unix.SizeofCmsghdr || uint64(c.Len) > uint64(len(rest)) {
			return
		}
		d.message(c, rest[unix.CmsgLen(0):c.Len])
		rest = rest[min(len(rest), unix.CmsgSpace(int(c.Len)-unix.CmsgLen(0))):]
	}
}

// message takes one control message in (cmsg(3)).
func (d *Datagram) message(c *unix.Cmsghdr, data []byte) {
	switch {
	case c.Level == unix.SOL_IP && c.Type == unix.IP_PKTINFO && len(data) >= unix.SizeofInet4Pktinfo:
		info := (*unix.Inet4Pktinfo)(unsafe.Pointer(&data[0]))
		d.Device, d.Local, d.Destination = info.Ifindex, info.Spec_dst, info.Addr
	case c.Level == unix.SOL_IP && c.Type == unix.IP_TTL:
		d.TTL = uint8(number(data))
	case c.Level == unix.SOL_IP && c.Type == unix.IP_TOS && len(data) >= 1:
		d.TOS = data[0]
	case c.Level == unix.SOL_IP && c.Type == unix.IP_RECVOPTS:
		d.optionsLen = uint8(copy(d.options[:], data))
	case c.Level == unix.SOL_IP && c.Type == unix.IP_RECVERR && len(data) >= extendedErrLen+unix.SizeofSockaddrInet4:
		e := (*unix.SockExtendedErr)(unsafe.Pointer(&data[0]))
		if e.Origin == unix.SO_EE_ORIGIN_ICMP {
			d.Error.Type, d.Error.Code, d.Error.Info = e.Type, e.Code, e.Info
			d.Source = (*unix.RawSockaddrInet4)(unsafe.Pointer(&data[extendedErrLen])).Addr // SO_EE_OFFENDER
			d.SourcePort = 0
		}
	case c.Level == unix.SOL_UDP && c.Type == unix.UDP_GRO:
		d.SegmentSize = uint16(number(data))
	case c.Level == unix.SOL_SOCKET && c.Type == unix.SO_TIMESTAMPNS_NEW && len(data) >= 16:
		t := (*[2]int64)(unsafe.Pointer(&data[0])) // struct __kernel_timespec
		d.Time = t[0]*1e9 + t[1]
	case c.Level == unix.SOL_SOCKET && c.Type == unix.SO_MARK:
		d.Mark = number(data)
	case c.Level == unix.SOL_SOCKET && c.Type == unix.SO_PRIORITY:
		d.Priority = number(data)
	}
}

// number returns an int of a control message.
func number(data []byte) uint32 {
	if len(data) < 4 {
		return 0
	}
	return *(*uint32)(unsafe.Pointer(&data[0]))
}
