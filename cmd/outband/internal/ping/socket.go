package ping

import (
	"errors"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/ipv4"
	"github.com/outband/outband/stack"
)

// A Socket is an out-of-band ping socket as a Conn. It is a stack's own and not
// one of sockapi's because the TTL of each reply is wanted.
type Socket struct {
	stack  *stack.Stack
	socket *stack.Socket
}

// Open opens a ping socket with a local address and a destination. ttl 0 is the
// stack's default. EACCES: the destination is a broadcast address. ENETUNREACH:
// there is no route to it.
func Open(st *stack.Stack, local, dest netip.Addr, ttl int) (*Socket, error) {
	k, err := st.NewSocket(ipv4.ProtocolICMP)
	if err != nil {
		return nil, err
	}
	if ttl > 0 {
		k.SetTTL(ttl)
	}
	// Without it a host that is out of reach is no error (ping_err in Linux).
	k.SetRecvErr(true)
	err = k.Bind(netip.AddrPortFrom(local, 0))
	if err == nil {
		err = k.Connect(netip.AddrPortFrom(dest, 0))
	}
	if err != nil {
		return nil, errors.Join(err, k.Close())
	}
	return &Socket{st, k}, nil
}

// Send implements Conn.
func (s *Socket) Send(message []byte) error {
	return s.socket.Send(message, unix.MSG_DONTWAIT, stack.NoDeadline)
}

// Recv implements Conn.
func (s *Socket) Recv(buf []byte, within time.Duration) (n, ttl int, err error) {
	n, info, err := s.socket.Recv(buf, 0, s.stack.Deadline(within))
	return n, int(info.TTL), err
}

// Close closes the socket.
func (s *Socket) Close() error { return s.socket.Close() }
