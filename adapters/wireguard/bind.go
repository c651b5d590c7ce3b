package wireguard

import (
	"errors"
	"net"
	"net/netip"
	"sync"

	"golang.org/x/sys/unix"
	"golang.zx2c4.com/wireguard/conn"

	"github.com/outband/outband/sockapi"
)

// A Host opens sockets: an *outband.Host that is not the kernel's ([outband.WithFallback];
// conn.NewStdNetBind is for that), or a *sockapi.API.
type Host interface {
	Socket(domain, typ, proto int) (*sockapi.Socket, error)
}

// A Bind is a conn.Bind over a host. Its methods are for any goroutines at once.
type Bind struct {
	host Host

	mu sync.Mutex
	s  *sockapi.Socket // nil: it is closed
}

var _ conn.Bind = (*Bind)(nil)

// NewBind returns the Bind of a host, which is closed.
func NewBind(h Host) *Bind { return &Bind{host: h} }

// bufferSize is for how many bytes of datagrams a socket has room, in and out: what
// wireguard-go gives the kernel's sockets.
const bufferSize = 7 << 20

// Open binds a socket to a port of all addresses, 0 for any free one.
func (b *Bind) Open(port uint16) ([]conn.ReceiveFunc, uint16, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.s != nil {
		return nil, 0, conn.ErrBindAlreadyOpen
	}
	s, err := b.host.Socket(unix.AF_INET, unix.SOCK_DGRAM|sockapi.SOCK_OOB, 0)
	if err != nil {
		return nil, 0, err
	}
	actual, err := setUp(s, port)
	if err != nil {
		_ = s.Close()
		return nil, 0, err
	}
	b.s = s
	return []conn.ReceiveFunc{newReceiver(s).receiveIPv4}, actual, nil
}

// setUp gives a socket its options and its port, and returns that.
func setUp(s *sockapi.Socket, port uint16) (uint16, error) {
	for _, o := range []struct{ force, ask int }{{unix.SO_RCVBUFFORCE, unix.SO_RCVBUF}, {unix.SO_SNDBUFFORCE, unix.SO_SNDBUF}} {
		if s.SetsockoptInt(unix.SOL_SOCKET, o.force, bufferSize) == nil {
			continue
		}
		if err := s.SetsockoptInt(unix.SOL_SOCKET, o.ask, bufferSize); err != nil { // as far as the host lets it
			return 0, err
		}
	}
	if err := s.SetsockoptInt(unix.IPPROTO_IP, unix.IP_PKTINFO, 1); err != nil {
		return 0, err
	}
	if err := s.Bind(sockapi.Inet4([4]byte{}, port)); err != nil {
		return 0, err
	}
	name, err := s.Getsockname()
	return name.Port, err
}

// Close ends the socket: what receives from it returns net.ErrClosed.
func (b *Bind) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.s == nil {
		return nil
	}
	s := b.s
	b.s = nil
	if err := s.Close(); !errors.Is(err, unix.EBADF) { // the host has closed it
		return err
	}
	return nil
}

// SetMark sets the mark (SO_MARK in socket(7)) of what is sent until the Bind is closed.
func (b *Bind) SetMark(mark uint32) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.s == nil {
		return nil
	}
	return b.s.SetsockoptInt(unix.SOL_SOCKET, unix.SO_MARK, int(mark))
}

// BatchSize returns how many datagrams a call takes at most.
func (b *Bind) BatchSize() int { return conn.IdealBatchSize }

// ParseEndpoint returns the endpoint at an address and port.
func (b *Bind) ParseEndpoint(s string) (conn.Endpoint, error) {
	ap, err := netip.ParseAddrPort(s)
	if err != nil {
		return nil, err
	}
	return &Endpoint{dst: netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())}, nil
}

// Send sends datagrams to an endpoint. An error is that of the first that could not leave; those
// before it have.
func (b *Bind) Send(bufs [][]byte, to conn.Endpoint) error {
	e, ok := to.(*Endpoint)
	if !ok {
		return conn.ErrWrongEndpointType
	}
	if !e.dst.Addr().Is4() {
		return unix.EAFNOSUPPORT
	}
	b.mu.Lock()
	s := b.s
	b.mu.Unlock()
	if s == nil {
		return net.ErrClosed
	}
	o := outgoings.Get().(*outgoing)
	defer o.free()
	msgs := o.fill(bufs, e)
	for len(msgs) > 0 {
		n, err := s.Sendmmsg(msgs, 0)
		if err != nil {
			return closedOr(err)
		}
		msgs = msgs[n:]
	}
	return nil
}

// closedOr returns net.ErrClosed for the error of a socket that is closed, which wireguard-go looks
// for.
func closedOr(err error) error {
	if errors.Is(err, unix.EBADF) {
		return net.ErrClosed
	}
	return err
}
