package gonet

import (
	"context"
	"net"

	"golang.org/x/sys/unix"
)

// ListenICMP opens a connection that sends and receives ICMP messages, in the way of
// golang.org/x/net/icmp's ListenPacket: with the network "ip4:icmp" all of them, by an
// *[IPConn]; with "udp4" echo requests and the replies to them, by a *[UDPConn], whose
// addresses have an ident in place of the port, which stands in what is sent too (icmp(7)).
// address is a host's name or address; empty: any. NewPacketConn has options.
func (n *Net) ListenICMP(network, address string) (Conn, error) {
	if network != "udp4" {
		c, err := n.ListenPacket(network, address)
		if err != nil {
			return nil, err
		}
		if c, ok := c.(*IPConn); ok {
			return c, nil
		}
		_ = c.Close()
		return nil, opError("listen", network, nil, nil, net.UnknownNetworkError(network))
	}
	ips, err := n.resolveIP(context.Background(), network, address)
	if err != nil {
		return nil, opError("listen", network, nil, nil, err)
	}
	laddr := &net.UDPAddr{IP: ips[0].IP}
	s, err := n.open(unix.SOCK_DGRAM, unix.IPPROTO_ICMP, "udp4", laddr.String(), nil)
	if err == nil {
		if err = bindUDP(s, laddr); err == nil {
			c := new(UDPConn)
			c.init(s, network, udpName(s), nil, false)
			return c, nil
		}
		_ = s.Close()
	}
	return nil, opError("listen", network, nil, laddr, err)
}
