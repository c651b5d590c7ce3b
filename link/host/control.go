package host

import (
	"sync"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/link"
)

// A control is room for the control messages of one frame (cmsg(3)): struct in_pktinfo and
// three ints.
type control [128]byte

// set writes the messages that tell the kernel what of the route is not in the header that
// it looks at: by which device, from which address, for which service, with which mark.
// Each that is 0 is left out: for a mark of 0 too the kernel asks for a privilege.
func (c *control) set(m *unix.Msghdr, f *link.TxFrame, ip ipHeader, priority bool) {
	at := 0
	info := (*unix.Inet4Pktinfo)(unsafe.Pointer(c.message(&at, unix.SOL_IP, unix.IP_PKTINFO, unix.SizeofInet4Pktinfo)))
	*info = unix.Inet4Pktinfo{Ifindex: f.Device, Spec_dst: ip.source()}
	if tos := ip.tos(); tos != 0 {
		c.number(&at, unix.SOL_IP, unix.IP_TOS, uint32(tos))
	}
	if f.Mark != 0 {
		c.number(&at, unix.SOL_SOCKET, unix.SO_MARK, f.Mark)
	}
	if priority && f.Priority != 0 {
		c.number(&at, unix.SOL_SOCKET, unix.SO_PRIORITY, f.Priority)
	}
	m.Control = &c[0]
	m.SetControllen(at)
}

// message writes the header of a message of n bytes at an offset, moves that on, and
// returns where the data goes.
func (c *control) message(at *int, level, typ int32, n int) *byte {
	h := (*unix.Cmsghdr)(unsafe.Pointer(&c[*at]))
	h.Level, h.Type = level, typ
	h.SetLen(unix.CmsgLen(n))
	data := &c[*at+unix.CmsgLen(0)]
	*at += unix.CmsgSpace(n)
	return data
}

func (c *control) number(at *int, level, typ int32, value uint32) {
	*(*uint32)(unsafe.Pointer(c.message(at, level, typ, 4))) = value
}

// takesPriority reports whether the kernel takes SO_PRIORITY as a control message, which it
// does since Linux 6.14: to one that it does not know it says EINVAL, before it refuses
// to send a broadcast by a socket without SO_BROADCAST. It is a
// variable for tests.
var takesPriority = func(fd int) bool {
	var c control
	at := 0
	c.number(&at, unix.SOL_SOCKET, unix.SO_PRIORITY, 1)
	err := unix.Sendmsg(fd, nil, c[:at], &unix.SockaddrInet4{Addr: [4]byte{255, 255, 255, 255}}, unix.MSG_DONTWAIT)
	return err != unix.EINVAL
}

// A prioritySocket is the socket for frames with a priority where the kernel does not take it as a
// control message. fd is -1 where it does.
type prioritySocket struct {
	fd    int
	mu    sync.Mutex // held from setting its options until the frames are sent
	now   uint32
	quiet bool // it does not loop
	pool  batchPool
}

// send sends the first of frames that have one priority and go to the same members.
func (p *prioritySocket) send(frames []link.TxFrame) (int, syscall.Errno) {
	n := 1
	for n < min(len(frames), batchSize) && frames[n].Priority == frames[0].Priority && frames[n].NotLooped == frames[0].NotLooped {
		n++
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if want := frames[0].Priority; p.now != want {
		if err := unix.SetsockoptInt(p.fd, unix.SOL_SOCKET, unix.SO_PRIORITY, int(int32(want))); err != nil {
			return 0, err.(syscall.Errno)
		}
		p.now = want
	}
	if quiet := frames[0].NotLooped; p.quiet != quiet {
		loop := 1
		if quiet {
			loop = 0
		}
		if err := unix.SetsockoptInt(p.fd, unix.SOL_IP, unix.IP_MULTICAST_LOOP, loop); err != nil {
			return 0, err.(syscall.Errno)
		}
		p.quiet = quiet
	}
	return p.pool.send(p.fd, frames[:n])
}
