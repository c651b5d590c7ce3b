package bench

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/cmd/outband/internal/node"
	"github.com/outband/outband/link/tpacket"
	"github.com/outband/outband/sockapi"
	"github.com/outband/outband/stack"
)

// outbandConn is an end of ours: a connected out-of-band socket, by sockapi.
type outbandConn struct {
	node   *node.Node
	socket *sockapi.Socket
}

func openOutbandSpin(j EndJob) (conn, error)    { return openOutband(j, stack.SpinAlways) }
func openOutbandDefault(j EndJob) (conn, error) { return openOutband(j, stack.SpinAdaptive) }
func openOutbandBlock(j EndJob) (conn, error)   { return openOutband(j, stack.SpinNever) }

// openOutbandQdisc has frames go through the device's queueing discipline.
func openOutbandQdisc(j EndJob) (conn, error) {
	return openOutbandOver(j, stack.SpinAlways, tpacket.Options{Slots: tpacket.DefaultSlots, SlotSize: slotSize, Qdisc: true})
}

// openOutbandShared has both ends share the kernels' addresses.
func openOutbandShared(j EndJob) (conn, error) {
	j.Local = netip.Prefix{} // the kernel has it
	return openOutband(j, stack.SpinAlways)
}

func openOutband(j EndJob, spin time.Duration) (conn, error) {
	return openOutbandOver(j, spin, tpacket.Options{Slots: tpacket.DefaultSlots, SlotSize: slotSize})
}

func openOutbandOver(j EndJob, spin time.Duration, ring tpacket.Options) (conn, error) {
	c, err := connectOutband(j, spin, ring)
	if err != nil {
		return nil, err
	}
	return c, nil
}

func connectOutband(j EndJob, spin time.Duration, ring tpacket.Options) (*outbandConn, error) {
	n, err := node.Open(context.Background(), node.Config{Device: j.Device, Addr: j.Local, Spin: spin, Ring: ring, Capture: j.Capture, CaptureMore: true})
	if err != nil {
		return nil, err
	}
	running.Store(n)
	if n.Slots < ring.Slots {
		n.Close()
		return nil, fmt.Errorf("the kernel has memory for a ring of %d slots, not of %d: %w", n.Slots, ring.Slots, unix.ENOMEM)
	}
	s, err := n.UDP(port)
	if err == nil {
		err = s.Connect(sockapi.InetAddrPort(j.peer()))
	}
	if err == nil && !j.Server {
		// The server is up. Bulk that waits for ARP would overflow the
		// neighbour's queue, and a short run be over before the answer.
		err = n.Stack.Solicit(j.Peer, resolvePatience, 0)
	}
	if err != nil {
		n.Close()
		return nil, err
	}
	return &outbandConn{n, s}, nil
}

// Send sends a datagram to the peer.
func (o *outbandConn) Send(p []byte) (int, error) { return o.socket.Send(p, 0) }

// Recv returns the next datagram.
func (o *outbandConn) Recv(p []byte) (int, error) {
	for {
		n, err := o.socket.Recv(p, 0)
		if err == nil || !passing(err) {
			return n, err
		}
	}
}

// Close ends the socket and the stack.
func (o *outbandConn) Close() error { return errors.Join(o.socket.Close(), o.node.Close()) }

// resolvePatience is more than ARP takes to give up.
const resolvePatience = 5 * time.Second

// outbandBulk moves datagrams by Sendmmsg and Recvmmsg on a socket of ours.
type outbandBulk struct {
	*outbandConn
	msgs []sockapi.Mmsghdr
}

// bulkSlots is the receive ring's length for bulk, as tput_packet has it.
const bulkSlots = 4096

// slotSize is what an MTU of 1500 takes, as Open chooses it too.
const slotSize = 2048

func openOutbandBulk(j EndJob) (bulk, error) { return openOutbandBulkOver(j, false) }

// openOutbandBulkQdisc has frames go through the device's queueing discipline.
func openOutbandBulkQdisc(j EndJob) (bulk, error) { return openOutbandBulkOver(j, true) }

func openOutbandBulkOver(j EndJob, qdisc bool) (bulk, error) {
	c, err := connectOutband(j, stack.SpinAdaptive, tpacket.Options{Slots: bulkSlots, SlotSize: slotSize, Qdisc: qdisc})
	if err != nil {
		return nil, err
	}
	err = errors.Join(c.socket.SetsockoptInt(unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, bulkBuffer),
		c.socket.SetsockoptTimeval(unix.SOL_SOCKET, unix.SO_RCVTIMEO, idle))
	if err != nil {
		c.Close()
		return nil, err
	}
	room := j.Size
	if j.Server {
		room = maxDatagram
	}
	b := &outbandBulk{c, make([]sockapi.Mmsghdr, j.Batch)}
	for i := range b.msgs {
		b.msgs[i].Hdr.Iov = [][]byte{make([]byte, room)}
	}
	return b, nil
}

func (b *outbandBulk) send() (int, error) {
	n, err := b.socket.Sendmmsg(b.msgs, 0)
	if passing(err) {
		err = nil
	}
	return n, err
}

func (b *outbandBulk) receive() (int, error) {
	n, err := b.socket.Recvmmsg(b.msgs, unix.MSG_WAITFORONE, -1)
	switch {
	case err == unix.EAGAIN:
		err = errIdle
	case passing(err):
		err = nil
	}
	return n, err
}
