package gonet

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/dhcpv4/nclient4"
	"github.com/insomniacslk/dhcp/dhcpv4/server4"
	"golang.org/x/sys/unix"

	"github.com/outband/outband/gonet"
	"github.com/outband/outband/sockapi"
)

// leased is the address that the server has for everybody.
var leased = net.IPv4(10, 9, 0, 50)

// TestDHCP has a client of insomniacslk/dhcp ask for an address, that of a host which has none: from
// 0.0.0.0 to everybody.
func TestDHCP(t *testing.T) {
	eachWire(t, func(t *testing.T, w wire) {
		near := w.host(t, 0, "")
		far := w.host(t, 1, "10.9.0.2/24")
		listen := func(n *gonet.Net, address string) net.PacketConn { // at the device, as the package's own sockets
			l := gonet.ListenConfig{Net: n, Control: func(_, _ string, s *sockapi.Socket) error {
				return s.SetsockoptInt(unix.SOL_SOCKET, unix.SO_BINDTOIFINDEX, w.index)
			}}
			c, err := l.ListenPacket(t.Context(), "udp4", address)
			check(t, err)
			return c
		}
		server, err := server4.NewServer("", nil, lease, server4.WithConn(listen(far, ":67")))
		check(t, err)
		done := make(chan error)
		go func() { done <- server.Serve() }()
		defer func() { server.Close(); <-done }()

		client, err := nclient4.NewWithConn(listen(near, ":68"), net.HardwareAddr{2, 0, 0, 0, 0, 1},
			nclient4.WithTimeout(500*time.Millisecond), nclient4.WithRetry(20))
		check(t, err)
		defer client.Close()
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		got, err := client.Request(ctx)
		check(t, err)
		if !got.ACK.YourIPAddr.Equal(leased) {
			t.Errorf("leased %v", got.ACK)
		}
	})
}

// lease answers a client.
func lease(c net.PacketConn, peer net.Addr, m *dhcpv4.DHCPv4) {
	answer := map[dhcpv4.MessageType]dhcpv4.MessageType{
		dhcpv4.MessageTypeDiscover: dhcpv4.MessageTypeOffer,
		dhcpv4.MessageTypeRequest:  dhcpv4.MessageTypeAck,
	}
	typ, ok := answer[m.MessageType()]
	if !ok {
		return
	}
	r, err := dhcpv4.NewReplyFromRequest(m, dhcpv4.WithMessageType(typ), dhcpv4.WithYourIP(leased),
		dhcpv4.WithServerIP(net.IPv4(10, 9, 0, 2)), dhcpv4.WithOption(dhcpv4.OptServerIdentifier(net.IPv4(10, 9, 0, 2))))
	if err == nil {
		_, _ = c.WriteTo(r.ToBytes(), peer)
	}
}
