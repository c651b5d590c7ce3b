package tpacket

import (
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"runtime"
	"syscall"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"github.com/outband/outband/internal/descriptor"
	"github.com/outband/outband/internal/namespace"
)

// step names the step that failed. It returns nil for nil.
func step(name string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", name, err)
}

// needs names the capability that is missing, if that is what err means.
func needs(capability string, err error) error {
	if err != unix.EPERM {
		return err
	}
	return fmt.Errorf("needs %s: %w", capability, err)
}

// inNetNS runs f on a thread that is in the network namespace at path, or in
// the caller's if path is empty.
func inNetNS(path string, f func() error) error {
	if path == "" {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		return f()
	}
	there, err := namespace.Open(path)
	if err != nil {
		return step("NetNS", err)
	}
	defer there.Close()
	return there.Do(f)
}

// ethPAll is ETH_P_ALL as sll_protocol wants it, in network byte order.
var ethPAll = binary.NativeEndian.Uint16([]byte{0, unix.ETH_P_ALL})

// openRing opens the ring's socket, ready for PACKET_RX_RING: not bound, so
// that no stray frame gets in, and not in Go's netpoller.
func openRing(program []bpf.RawInstruction, o *Options) (int, error) {
	fd, err := descriptor.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return -1, step("packet socket", needs("CAP_NET_RAW", err))
	}
	options := []struct {
		name string
		opt  int
		val  int
	}{
		{"PACKET_VERSION", unix.PACKET_VERSION, unix.TPACKET_V2},
		{"PACKET_VNET_HDR", unix.PACKET_VNET_HDR, 1},
		{"PACKET_RESERVE", unix.PACKET_RESERVE, reserve},
		{"PACKET_COPY_THRESH", unix.PACKET_COPY_THRESH, 1},
		{"PACKET_IGNORE_OUTGOING", unix.PACKET_IGNORE_OUTGOING, 1},
	}
	for _, opt := range options {
		if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, opt.opt, opt.val); err != nil {
			unix.Close(fd)
			return -1, step(opt.name, err)
		}
	}
	if o.HardwareTime {
		err = step("PACKET_TIMESTAMP", unix.SetsockoptInt(fd, unix.SOL_PACKET,
			unix.PACKET_TIMESTAMP, unix.SOF_TIMESTAMPING_RAW_HARDWARE))
	}
	if err == nil {
		err = setBuffer(fd, unix.SO_RCVBUFFORCE, unix.SO_RCVBUF, or(o.LongBuffer, DefaultLongBuffer))
	}
	if err == nil {
		err = o.filterRing(fd, program)
	}
	if err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// setBuffer sets a socket's buffer size, beyond the sysctl's limit if that is
// permitted.
func setBuffer(fd, force, plain, bytes int) error {
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, force, bytes) == nil {
		return nil
	}
	return step("buffer size", unix.SetsockoptInt(fd, unix.SOL_SOCKET, plain, bytes))
}

// openTx opens a transmit socket bound to the device, with protocol 0: it never
// receives.
func openTx(ifi *net.Interface, vnet bool, o *Options) (fd int, err error) {
	fd, err = openSilent(ifi)
	if err != nil {
		return -1, step("transmit socket", err)
	}
	if !o.Qdisc {
		err = step("PACKET_QDISC_BYPASS", unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_QDISC_BYPASS, 1))
	}
	if err == nil && vnet {
		err = step("PACKET_VNET_HDR", unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_VNET_HDR, 1))
	}
	if err == nil && o.SendBuffer > 0 {
		err = setBuffer(fd, unix.SO_SNDBUFFORCE, unix.SO_SNDBUF, o.SendBuffer)
	}
	if err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// openSilent opens a packet socket bound to the device that receives nothing: its protocol
// is 0.
func openSilent(ifi *net.Interface) (int, error) {
	fd, err := descriptor.Socket(unix.AF_PACKET, unix.SOCK_RAW, 0)
	if err != nil {
		return -1, needs("CAP_NET_RAW", err)
	}
	if err := bind(fd, 0, ifi.Index); err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// bind binds a packet socket to a device; protocol is in network byte order.
func bind(fd int, protocol uint16, index int) error {
	return unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: protocol, Ifindex: index})
}

// boundTo returns the index of the device that a packet socket is bound to, and
// a number below 1 if that device is gone.
func boundTo(fd int) int {
	sa, err := unix.Getsockname(fd)
	if err != nil {
		return -1
	}
	return sa.(*unix.SockaddrLinklayer).Ifindex
}

// clearError takes the error that waits on a socket (SO_ERROR).
func clearError(fd int) { unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR) }

// A control is the control socket: memberships belong to it.
type control struct {
	file *os.File
	raw  syscall.RawConn
}

// open opens the control socket on a device.
func (c *control) open(ifi *net.Interface) error {
	fd, err := openSilent(ifi)
	if err != nil {
		return step("control socket", err)
	}
	file := os.NewFile(uintptr(fd), "packet socket")
	raw, err := file.SyscallConn()
	if err != nil {
		file.Close()
		return err
	}
	c.file, c.raw = file, raw
	return nil
}

// member adds or drops a membership (PACKET_ADD_MEMBERSHIP,
// PACKET_DROP_MEMBERSHIP). The device is named in each call, unlike in the
// Conn's own methods, since it may not be the one that the Conn began with.
func (c *control) member(opt, index int, kind uint16, addr []byte) error {
	mreq := unix.PacketMreq{Ifindex: int32(index), Type: kind, Alen: uint16(len(addr))}
	copy(mreq.Address[:], addr)
	var err error
	control := c.raw.Control(func(fd uintptr) {
		err = unix.SetsockoptPacketMreq(int(fd), unix.SOL_PACKET, opt, &mreq)
	})
	if control != nil {
		return control
	}
	return err
}

// close closes the control socket, and so ends its memberships.
func (c *control) close() {
	if c.file != nil {
		c.file.Close()
	}
}
