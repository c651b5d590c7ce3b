package netlab

import (
	"fmt"
	"os"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/outband/outband/internal/namespace"
)

// Capabilities are what it takes to make network namespaces, devices in them, and packet
// sockets there, without a user namespace of its own.
var Capabilities = []int{unix.CAP_SYS_ADMIN, unix.CAP_NET_ADMIN, unix.CAP_NET_RAW}

// A Namespace is a network namespace that is configured by its methods. They may be
// called by several goroutines at once, Close excepted.
type Namespace struct{ *namespace.Namespace }

// NewNamespace makes an anonymous network namespace, with its loopback device
// still down. It needs CAP_SYS_ADMIN; the error wraps a unix errno.
func NewNamespace() (*Namespace, error) {
	n, err := namespace.New()
	if err != nil {
		return nil, err
	}
	return &Namespace{n}, nil
}

// SetSysctl writes a setting below /proc/sys, such as "net/ipv4/ip_forward", as
// the namespace has it.
func (n *Namespace) SetSysctl(key, value string) error {
	return n.Do(func() error { return os.WriteFile("/proc/sys/"+key, []byte(value), 0) })
}

// ReadFile reads a file below /proc/thread-self, such as "net/snmp", as it is
// in the namespace.
func (n *Namespace) ReadFile(name string) (data []byte, err error) {
	err = n.Do(func() error {
		data, err = os.ReadFile("/proc/thread-self/" + name)
		return err
	})
	return data, err
}

// netlink runs fn with a route netlink socket in the namespace.
func (n *Namespace) netlink(fn func(*netlink.Handle) error) error {
	return n.Do(func() error {
		h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
		if err != nil {
			return fmt.Errorf("netlink: %w", err)
		}
		defer h.Close()
		return fn(h)
	})
}
