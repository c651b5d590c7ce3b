// Package ioctl is what ioctl(2) tells of interfaces and of received datagrams.
package ioctl

import (
	"encoding/binary"
	"math/bits"
	"net/netip"
	"slices"
	"strings"

	"github.com/outband/outband/link"
	"github.com/outband/outband/stack"
	"golang.org/x/sys/unix"
)

// A Request is a struct ifreq of 64-bit machines (netdevice(7)): an interface's
// name, and what is asked about it.
type Request [RequestLen]byte

const (
	// RequestLen is its length in bytes.
	RequestLen = 40
	ifNameLen  = 16 // IFNAMSIZ, its NUL included
)

// Name is the interface's name.
func (r *Request) Name() string { return unix.ByteSliceToString(r[:ifNameLen]) }

// SetName sets it, cut to what there is room for.
func (r *Request) SetName(n string) { clear(r[:ifNameLen]); copy(r[:ifNameLen-1], n) }

// Value is what is asked, or answered.
func (r *Request) Value() []byte { return r[ifNameLen:] }

// SetAddr stores a struct sockaddr_in.
func (r *Request) SetAddr(ip [4]byte) {
	clear(r.Value()[:unix.SizeofSockaddrInet4])
	binary.NativeEndian.PutUint16(r.Value(), unix.AF_INET)
	copy(r.Value()[4:], ip[:])
}

// Answer answers one of the requests about an interface.
func Answer(st *stack.Stack, req uint, r *Request) error {
	if req == unix.SIOCGIFNAME {
		i := st.InterfaceByIndex(int(int32(binary.NativeEndian.Uint32(r.Value()))))
		if i == nil {
			return unix.ENODEV
		}
		r.SetName(i.Name())
		return nil
	}
	name, _, alias := strings.Cut(r.Name(), ":") // "eth0:1" is an address of eth0
	i := st.InterfaceByName(name)
	if i == nil {
		return unix.ENODEV
	}
	info := i.Link().Info()
	switch req {
	case unix.SIOCGIFFLAGS:
		binary.NativeEndian.PutUint16(r.Value(), ifFlags(&info))
	case unix.SIOCGIFMTU:
		binary.NativeEndian.PutUint32(r.Value(), uint32(info.MTU))
	case unix.SIOCGIFINDEX:
		binary.NativeEndian.PutUint32(r.Value(), uint32(i.Index()))
	case unix.SIOCGIFHWADDR:
		kind := uint16(unix.ARPHRD_ETHER)
		if info.Caps&link.CapLoopback != 0 {
			kind = unix.ARPHRD_LOOPBACK
		}
		binary.NativeEndian.PutUint16(r.Value(), kind)
		copy(r.Value()[2:], info.HardwareAddr[:])
	default:
		if alias {
			return unix.EADDRNOTAVAIL
		}
		return r.address(req, i, info.Caps&link.CapLoopback != 0)
	}
	return nil
}

// address answers a request about one of the interface's addresses: the one
// that the caller names, else the first (devinet_ioctl in Linux).
func (r *Request) address(req uint, i *stack.Interface, loopback bool) error {
	all := i.Addresses()
	if len(all) == 0 {
		return unix.EADDRNOTAVAIL
	}
	p := all[0]
	if binary.NativeEndian.Uint16(r.Value()) == unix.AF_INET {
		named := netip.AddrFrom4([4]byte(r.Value()[4:8]))
		if at := slices.IndexFunc(all, func(p netip.Prefix) bool { return p.Addr() == named }); at >= 0 {
			p = all[at]
		}
	}
	ip := p.Addr().As4()
	mask := ^uint32(0) << (32 - p.Bits())
	switch req {
	case unix.SIOCGIFNETMASK:
		binary.BigEndian.PutUint32(ip[:], mask)
	case unix.SIOCGIFBRDADDR:
		if loopback || bits.OnesCount32(mask) > 30 {
			ip = [4]byte{} // RFC 3021: none
		} else {
			binary.BigEndian.PutUint32(ip[:], binary.BigEndian.Uint32(ip[:])|^mask)
		}
	}
	r.SetAddr(ip)
	return nil
}

// ifFlags returns an interface's flags (netdevice(7)).
func ifFlags(info *link.Info) uint16 {
	flags := uint16(unix.IFF_BROADCAST | unix.IFF_MULTICAST)
	if info.Caps&link.CapLoopback != 0 {
		flags = unix.IFF_LOOPBACK
	}
	switch info.State {
	case link.Up:
		flags |= unix.IFF_UP
		if !info.Dormant {
			flags |= unix.IFF_RUNNING
		}
	case link.NoCarrier:
		flags |= unix.IFF_UP
	}
	return flags
}

// Addresses is SIOCGIFCONF: it stores a struct ifreq for each address, as many as fit whole, and
// returns their length; that of all if buf is nil.
func Addresses(st *stack.Stack, buf []byte) int {
	n := 0
	for _, i := range st.Interfaces() {
		for _, p := range i.Addresses() {
			if buf == nil {
				n += RequestLen
				continue
			}
			if len(buf)-n < RequestLen {
				return n
			}
			r := (*Request)(buf[n:])
			*r = Request{}
			r.SetName(i.Name())
			r.SetAddr(p.Addr().As4())
			n += RequestLen
		}
	}
	return n
}
