package gonet

import (
	"io"
	"net"
	"testing"

	"github.com/outband/outband/link/pipe"
	"golang.org/x/net/nettest"
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
	nettest.TestConn(t, func() (c1, c2 net.Conn, stop func(), err error) {
		near, far := hostsAt(t, pipe.Options{Queue: 1 << 14})
		a, b, err := connectedPair(near, far)
		if err != nil {
			return nil, nil, nil, err
		}
		for _, c := range []*UDPConn{a, b} {
			if err := c.SetReadBuffer(8 << 20); err != nil {
				return nil, nil, nil, err
			}
		}
		return streamEnd{a}, streamEnd{b}, func() { a.Close(); b.Close() }, nil
	})
}
