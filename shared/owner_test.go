package shared

import (
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/stack"
	"github.com/outband/outband/test/lab"
)

// An owner of sockets in the model is a stack, or the kernel.
type owner struct {
	m     *model
	end   *lab.Endpoint // where its sockets are
	world *world        // nil: the kernel
	fence endpoint
}

// An endpoint is a socket of either.
type endpoint interface {
	bind(local netip.AddrPort, reuseAddr, reusePort bool) error
	connect(peer netip.AddrPort) error
	disconnect() error
	reuse(addr, port bool) error // of a socket that is bound
	// receive returns a datagram's payload, nil if none is there, or comes soon.
	receive(wait bool) []byte
	close()
}

// open opens the owner's fence: what comes there has come after all else.
func (o *owner) open(number int) {
	o.fence = o.socket()
	check(o.m.t, o.fence.bind(addrPort(o.m.Near(), fencePort+uint16(number)), false, false))
	o.m.t.Cleanup(o.fence.close)
}

func (o *owner) socket() endpoint {
	if o.world != nil {
		k, err := o.world.st.NewUDPSocket()
		check(o.m.t, err)
		return &ourEndpoint{o.world.st, k}
	}
	k := &kernelEndpoint{}
	o.end.In(o.m.t, func() (err error) {
		k.fd, err = unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		return err
	})
	tv := unix.NsecToTimeval(soon.Nanoseconds())
	check(o.m.t, unix.SetsockoptTimeval(k.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tv))
	return k
}

type ourEndpoint struct {
	st *stack.Stack
	*stack.UDPSocket
}

func (k *ourEndpoint) bind(local netip.AddrPort, reuseAddr, reusePort bool) error {
	k.SetReuse(reuseAddr, reusePort)
	return k.Bind(local)
}

func (k *ourEndpoint) reuse(addr, port bool) error {
	k.SetReuse(addr, port)
	return nil
}

func (k *ourEndpoint) connect(peer netip.AddrPort) error { return k.Connect(peer) }
func (k *ourEndpoint) disconnect() error                 { return k.Disconnect() }
func (k *ourEndpoint) close()                            { k.Close() }

func (k *ourEndpoint) receive(wait bool) []byte {
	deadline, flags := k.st.Deadline(soon), 0
	if !wait {
		flags = unix.MSG_DONTWAIT
	}
	b := make([]byte, 2048)
	n, _, err := k.Recv(b, flags, deadline)
	if err != nil {
		return nil
	}
	return b[:n]
}

type kernelEndpoint struct{ fd int }

func (k *kernelEndpoint) bind(local netip.AddrPort, reuseAddr, reusePort bool) error {
	if err := k.reuse(reuseAddr, reusePort); err != nil {
		return err
	}
	return unix.Bind(k.fd, &unix.SockaddrInet4{Port: int(local.Port()), Addr: local.Addr().As4()})
}

func (k *kernelEndpoint) reuse(addr, port bool) error {
	for option, on := range map[int]bool{unix.SO_REUSEADDR: addr, unix.SO_REUSEPORT: port} {
		value := 0
		if on {
			value = 1
		}
		if err := unix.SetsockoptInt(k.fd, unix.SOL_SOCKET, option, value); err != nil {
			return err
		}
	}
	return nil
}

func (k *kernelEndpoint) connect(peer netip.AddrPort) error {
	return unix.Connect(k.fd, &unix.SockaddrInet4{Port: int(peer.Port()), Addr: peer.Addr().As4()})
}

func (k *kernelEndpoint) disconnect() error {
	unspec := unix.RawSockaddr{Family: unix.AF_UNSPEC}
	_, _, e := unix.Syscall(unix.SYS_CONNECT, uintptr(k.fd), uintptr(unsafe.Pointer(&unspec)), unsafe.Sizeof(unspec))
	if e != 0 {
		return e
	}
	return nil
}

func (k *kernelEndpoint) close() {
	if k.fd >= 0 {
		unix.Close(k.fd)
		k.fd = -1
	}
}

func (k *kernelEndpoint) receive(wait bool) []byte {
	flags := 0
	if !wait {
		flags = unix.MSG_DONTWAIT
	}
	b := make([]byte, 2048)
	n, _, err := unix.Recvfrom(k.fd, b, flags)
	if err != nil {
		return nil
	}
	return b[:n]
}
