package libp2p

import (
	"net"

	"github.com/libp2p/go-libp2p/p2p/transport/quicreuse"

	"github.com/outband/outband/gonet"
)

// A Host is what connections are opened on: an *outband.Host that is not the kernel's
// ([outband.WithFallback]: then libp2p needs no options).
type Host interface {
	Net() *gonet.Net
}

// Options returns what quicreuse.NewConnManager is to be told: to open connections on the host,
// with all that quic-go asks for (batches, GSO, congestion marks), and to ask the host from where
// a peer is reached.
func Options(h Host) []quicreuse.Option {
	n := h.Net()
	return []quicreuse.Option{
		quicreuse.OverrideListenUDP(func(network string, laddr *net.UDPAddr) (net.PacketConn, error) { return listen(n, network, laddr) }),
		quicreuse.OverrideSourceIPSelector(func() (quicreuse.SourceIPSelector, error) { return sources{n}, nil }),
	}
}

// listen opens a connection for quic-go.
func listen(n *gonet.Net, network string, laddr *net.UDPAddr) (net.PacketConn, error) {
	c, err := n.ListenUDP(network, laddr)
	if err != nil {
		return nil, err
	}
	return gonet.WithSyscallConn(c)
}

// sources knows from where peers are reached.
type sources struct{ n *gonet.Net }

// PreferredSourceIPForDestination implements quicreuse.SourceIPSelector.
func (s sources) PreferredSourceIPForDestination(dst *net.UDPAddr) (net.IP, error) {
	c, err := s.n.DialUDP("udp", nil, dst)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	return c.LocalAddr().(*net.UDPAddr).IP, nil
}
