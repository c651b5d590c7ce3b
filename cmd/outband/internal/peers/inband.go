package peers

import (
	"errors"
	"net"
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/inband"
)

// A Kernel is a connected in-band UDP socket used by raw system calls.
type Kernel struct {
	udp   *inband.UDP
	flags int
}

// OpenKernel opens a socket in the calling thread's namespace. If spin is set
// Recv asks the kernel again and again (MSG_DONTWAIT), which is the fastest that
// an in-band UDP socket can be; otherwise it sleeps in recv(2).
func OpenKernel(local, peer netip.AddrPort, spin bool) (*Kernel, error) {
	u, err := inband.OpenUDP(local)
	if err != nil {
		return nil, err
	}
	if err := u.Connect(peer); err != nil {
		u.Close()
		return nil, err
	}
	k := &Kernel{udp: u}
	if spin {
		k.flags = unix.MSG_DONTWAIT
	}
	return k, nil
}

// Send sends a datagram to the peer.
func (k *Kernel) Send(p []byte) (int, error) { return k.udp.Send(p) }

// Recv returns the next datagram.
func (k *Kernel) Recv(p []byte) (int, error) {
	for {
		n, err := k.udp.Recv(p, k.flags)
		if err == nil || !transient(err) {
			return n, err
		}
	}
}

// transient are the errors after which a peer's receive loop goes on: nothing
// there yet, a signal, or an ICMP error from before the other end was up.
func transient(err error) bool {
	return err == unix.EAGAIN || err == unix.EINTR || errors.Is(err, unix.ECONNREFUSED)
}

// Close closes the socket.
func (k *Kernel) Close() error { return k.udp.Close() }

// A GoNet is a connected socket of package net: what a Go program pays today.
type GoNet struct {
	conn *net.UDPConn
}

// OpenGoNet opens a socket in the calling thread's namespace.
func OpenGoNet(local, peer netip.AddrPort) (*GoNet, error) {
	conn, err := net.DialUDP("udp4", net.UDPAddrFromAddrPort(local), net.UDPAddrFromAddrPort(peer))
	if err != nil {
		return nil, err
	}
	return &GoNet{conn: conn}, nil
}

// Send sends a datagram to the peer.
func (g *GoNet) Send(p []byte) (int, error) { return g.conn.Write(p) }

// Recv returns the next datagram.
func (g *GoNet) Recv(p []byte) (int, error) {
	for {
		n, err := g.conn.Read(p)
		if err == nil || !transient(err) {
			return n, err
		}
	}
}

// Close closes the socket.
func (g *GoNet) Close() error { return g.conn.Close() }
