package ping

import (
	"time"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/sockapi"
)

// Socket returns a connected ping socket, out-of-band or in-band, as a Conn.
func Socket(s *sockapi.Socket) Conn { return &socket{s: s} }

type socket struct {
	s      *sockapi.Socket
	within time.Duration // as SO_RCVTIMEO has it
}

func (c *socket) Send(message []byte) error {
	_, err := c.s.Send(message, 0)
	return err
}

func (c *socket) Recv(buf []byte, within time.Duration) (n, ttl int, err error) {
	within = max(within, time.Microsecond) // 0 would be for ever
	if within != c.within {
		if err := c.s.SetsockoptTimeval(unix.SOL_SOCKET, unix.SO_RCVTIMEO, within); err != nil {
			return 0, 0, err
		}
		c.within = within
	}
	n, err = c.s.Recv(buf, 0)
	return n, 0, err
}
