package outband

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"syscall"

	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"

	"github.com/outband/outband/gonet"
	"github.com/outband/outband/sockapi"
)

// Join opens a connection that hears a group: it is bound to the group's port, where others
// may be too, and has joined the group on each device that the host was opened on, for what
// comes from the sources, or, without any, from everybody. Of other groups it hears nothing;
// unicasts to the port, as all that is bound to a port. [gonet.NewPacketConn] of it joins
// further groups, and leaves them.
//
// Errors are of package net's shape, around EINVAL (not a group), ENODEV, ENOBUFS (too many
// groups or sources).
func (h *Host) Join(group netip.AddrPort, sources ...netip.Addr) (net.PacketConn, error) {
	var c net.PacketConn
	err := error(unix.EINVAL)
	if group.Addr().Unmap().Is4() && group.Addr().IsMulticast() {
		c, err = h.listenGroup(group.String())
	}
	if err == nil {
		if err = h.joinAll(c, group.Addr(), sources); err == nil {
			return c, nil
		}
		_ = c.Close()
	}
	var op *net.OpError
	if errors.As(err, &op) {
		return nil, err
	}
	return nil, &net.OpError{Op: "listen", Net: "udp4", Addr: net.UDPAddrFromAddrPort(group), Err: err}
}

// listenGroup opens a connection at a group's port that hears no group yet.
func (h *Host) listenGroup(address string) (net.PacketConn, error) {
	if h.net != nil {
		l := gonet.ListenConfig{Net: h.net, Control: func(_, _ string, s *sockapi.Socket) error {
			return s.SetsockoptInt(unix.SOL_IP, unix.IP_MULTICAST_ALL, 0)
		}}
		return l.ListenPacket(context.Background(), "udp4", address)
	}
	l := net.ListenConfig{Control: func(_, _ string, s syscall.RawConn) error {
		var err error
		return errors.Join(s.Control(func(fd uintptr) {
			err = unix.SetsockoptInt(int(fd), unix.SOL_IP, unix.IP_MULTICAST_ALL, 0)
		}), err)
	}}
	return l.ListenPacket(context.Background(), "udp4", address)
}

// A joiner joins groups for a connection: gonet's PacketConn, or that of x/net.
type joiner interface {
	JoinGroup(ifi *net.Interface, group net.Addr) error
	JoinSourceSpecificGroup(ifi *net.Interface, group, source net.Addr) error
}

// joinAll joins a group on all devices.
func (h *Host) joinAll(c net.PacketConn, group netip.Addr, sources []netip.Addr) error {
	var j joiner
	if u, ok := c.(*gonet.UDPConn); ok {
		j = gonet.NewPacketConn(u)
	} else {
		j = ipv4.NewPacketConn(c)
	}
	g := &net.UDPAddr{IP: group.AsSlice()}
	for _, name := range h.devices {
		ifi, err := h.interfaceNamed(name)
		if err != nil {
			return err
		}
		if len(sources) == 0 {
			if err := j.JoinGroup(ifi, g); err != nil {
				return err
			}
		}
		for _, s := range sources {
			if err := j.JoinSourceSpecificGroup(ifi, g, &net.UDPAddr{IP: s.AsSlice()}); err != nil {
				return err
			}
		}
	}
	return nil
}

// interfaceNamed returns a device as package net names it.
func (h *Host) interfaceNamed(name string) (*net.Interface, error) {
	if h.net == nil {
		ifi, err := net.InterfaceByName(name)
		if err != nil {
			return nil, unix.ENODEV
		}
		return ifi, nil
	}
	i := h.st.InterfaceByName(name)
	if i == nil {
		return nil, unix.ENODEV
	}
	return &net.Interface{Index: i.Index(), Name: i.Name()}, nil
}
