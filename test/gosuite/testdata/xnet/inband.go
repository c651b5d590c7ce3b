package gosuite

import (
	"net"
	"os"
)

// The loopback device says that it has no multicast, and has.
func nettest_RoutedInterface(string, net.Flags) (*net.Interface, error) {
	return net.InterfaceByName("lo")
}

func net_Interfaces() ([]net.Interface, error) {
	lo, err := net.InterfaceByName("lo")
	if err != nil {
		return nil, err
	}
	return []net.Interface{*lo}, nil
}

func nettest_MulticastSource(string, *net.Interface) (net.IP, error) {
	return net.IPv4(127, 0, 0, 1), nil
}

func nettest_SupportsRawSocket() bool { return os.Geteuid() == 0 }
