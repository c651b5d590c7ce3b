package ping

import (
	"errors"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/stack"
)

// A Socket is an out-of-band ping socket as a Conn. It is a stack's own and not
// one of sockapi's because the TTL of each reply is wanted.
type Socket struct {
	stack  *stack.Stack
	socket *stack.PingSocket
}

// SocketOptions say how requests leave. Only Dest is needed.
type SocketOptions struct {
	Local, Dest netip.Addr
	TTL         int    // 0: the stack's default
	TOS         int    // the type-of-service octet
	Discover    int    // one of unix.IP_PMTUDISC_*, -1: the stack's default
	Options     []byte // IP options
	Broadcast   bool   // the destination may be a broadcast address
}

// Open opens a ping socket. EACCES: the destination is a broadcast address.
// ENETUNREACH: there is no route to it.
func Open(st *stack.Stack, o SocketOptions) (*Socket, error) {
	k, err := st.NewPingSocket()
	if err != nil {
		return nil, err
	}
	if err := o.apply(k); err != nil {
		return nil, errors.Join(err, k.Close())
	}
	return &Socket{st, k}, nil
}

func (o SocketOptions) apply(k *stack.PingSocket) error {
	if o.TTL > 0 {
		k.SetTTL(o.TTL)
		k.Multicast().SetTTL(o.TTL)
	}
	k.SetTOS(o.TOS)
	if o.Discover >= 0 {
		k.SetMTUDiscover(o.Discover)
	}
	k.SetBroadcast(o.Broadcast)
	// Without it a host that is out of reach is no error (ping_err in Linux).
	k.Errors().SetRecvErr(true)
	if len(o.Options) > 0 {
		k.SetKeepOptions(true)
		if err := k.SetOptions(o.Options); err != nil {
			return err
		}
	}
	if err := k.Bind(netip.AddrPortFrom(o.Local, 0)); err != nil {
		return err
	}
	return k.Connect(netip.AddrPortFrom(o.Dest, 0))
}

// Send implements Conn.
func (s *Socket) Send(message []byte) error {
	return s.socket.Send(message, unix.MSG_DONTWAIT, stack.NoDeadline)
}

// Recv implements Conn.
func (s *Socket) Recv(buf []byte, within time.Duration) (Message, error) {
	n, info, err := s.socket.Recv(buf, 0, s.stack.Deadline(within))
	if err != nil {
		return Message{}, err
	}
	m := Message{Len: n, TTL: int(info.TTL), From: netip.AddrFrom4(info.From)}
	if info.Extra != nil {
		m.Options = info.Extra.Options
	}
	return m, nil
}

// MTU implements Conn.
func (s *Socket) MTU() int {
	mtu, err := s.socket.PathMTU()
	if err != nil {
		return 0
	}
	return mtu
}

// Close closes the socket.
func (s *Socket) Close() error { return s.socket.Close() }
