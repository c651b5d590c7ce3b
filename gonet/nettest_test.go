package gonet

import (
	"io"
	"net"
	"testing"

	"github.com/outband/outband/link/pipe"
	"golang.org/x/net/nettest"
	"golang.org/x/sys/unix"
)

// streamEnd is a connection whose end the other one hears of, by an empty datagram: UDP
// has no end of stream, which nettest waits for.
type streamEnd struct{ *UDPConn }

func (c streamEnd) Read(b []byte) (int, error) {
	n, err := c.UDPConn.Read(b)
	if n == 0 && err == nil {
		return 0, io.EOF
	}
	return n, err
}

func (c streamEnd) Close() error {
	c.UDPConn.Write(nil)
	return c.UDPConn.Close()
}

// TestConn is golang.org/x/net's suite, over two hosts. Their queues hold all that the suite
// sends without waiting for an answer.
func TestConn(t *testing.T) {
	if c := listener(t, lone(t)); c.s.SetsockoptInt(unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 8<<20) == unix.EPERM {
		t.Skip("a receive buffer beyond net.core.rmem_max, which holds what the suite sends, needs CAP_NET_ADMIN")
	}
	nettest.TestConn(t, func() (c1, c2 net.Conn, stop func(), err error) {
		near, far := hostsAt(t, pipe.Options{Queue: 1 << 14})
		a, b, err := connectedPair(near, far)
		if err != nil {
			return nil, nil, nil, err
		}
		for _, c := range []*UDPConn{a, b} {
			if err := c.s.SetsockoptInt(unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 8<<20); err != nil { // beyond net.core.rmem_max
				return nil, nil, nil, err
			}
		}
		return streamEnd{a}, streamEnd{b}, func() { a.Close(); b.Close() }, nil
	})
}
