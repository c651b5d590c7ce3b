package bench

import (
	"errors"
	"net"
	"syscall"

	"github.com/outband/outband/cmd/outband/internal/node"
	"github.com/outband/outband/gonet"
	"github.com/outband/outband/link/tpacket"
	"github.com/outband/outband/stack"
)

// gonetConn is an end of ours by the types of package net.
type gonetConn struct {
	node *node.Node
	conn *gonet.UDPConn
}

func openOutbandGonet(j EndJob) (conn, error) {
	o, err := connectOutband(j, stack.SpinAlways, tpacket.Options{Slots: tpacket.DefaultSlots, SlotSize: slotSize})
	if err != nil {
		return nil, err
	}
	if err := o.socket.Close(); err != nil { // the port is for the connection
		o.node.Close()
		return nil, err
	}
	c, err := gonet.New(o.node.API).DialUDP("udp4", net.UDPAddrFromAddrPort(j.local()), net.UDPAddrFromAddrPort(j.peer()))
	if err != nil {
		o.node.Close()
		return nil, err
	}
	return &gonetConn{o.node, c}, nil
}

// Send sends a datagram to the peer.
func (g *gonetConn) Send(p []byte) (int, error) { return g.conn.Write(p) }

// Recv returns the next datagram.
func (g *gonetConn) Recv(p []byte) (int, error) {
	for {
		n, err := g.conn.Read(p)
		var e syscall.Errno
		if err == nil || !errors.As(err, &e) || !passing(e) {
			return n, err
		}
	}
}

// Close ends the connection and the stack.
func (g *gonetConn) Close() error { return errors.Join(g.conn.Close(), g.node.Close()) }
