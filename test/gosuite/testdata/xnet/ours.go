package gosuite

import (
	"net"

	"github.com/outband/outband/gonet"
	"github.com/outband/outband/sockapi"
	"github.com/outband/outband/stack"
)

// host is one that has no link but its own loopback, which is lo.
var host, lo = func() (*gonet.Net, net.Interface) {
	st, err := stack.New(stack.Config{})
	if err != nil {
		panic(err)
	}
	i := st.InterfaceByName("lo")
	return gonet.New(sockapi.New(st)), net.Interface{Index: i.Index(), Name: i.Name(), MTU: 65536, Flags: net.FlagUp | net.FlagLoopback | net.FlagMulticast}
}()

type ipv4_PacketConn = gonet.PacketConn

var net_ListenPacket = host.ListenPacket

func ipv4_NewPacketConn(c net.PacketConn) *gonet.PacketConn {
	return gonet.NewPacketConn(c.(gonet.Conn))
}

func net_Interfaces() ([]net.Interface, error) { return []net.Interface{lo}, nil }

func nettest_RoutedInterface(string, net.Flags) (*net.Interface, error) { return &lo, nil }

func nettest_MulticastSource(string, *net.Interface) (net.IP, error) {
	return net.IPv4(127, 0, 0, 1), nil
}

func nettest_NewLocalPacketListener(network string) (net.PacketConn, error) {
	return host.ListenPacket(network, "127.0.0.1:0")
}

func nettest_SupportsRawSocket() bool { return true }
