package sockapi

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

// An ifreq is a struct ifreq of 64-bit machines (netdevice(7)): an interface's
// name, and what is asked about it.
type ifreq [ifreqLen]byte

const (
	ifreqLen  = 40
	ifNameLen = 16 // IFNAMSIZ, its NUL included
)

func (r *ifreq) name() string     { return unix.ByteSliceToString(r[:ifNameLen]) }
func (r *ifreq) setName(n string) { clear(r[:ifNameLen]); copy(r[:ifNameLen-1], n) }
func (r *ifreq) value() []byte    { return r[ifNameLen:] }

// setAddr stores a struct sockaddr_in.
func (r *ifreq) setAddr(ip [4]byte) {
	clear(r.value()[:inet4Len])
	binary.NativeEndian.PutUint16(r.value(), unix.AF_INET)
	copy(r.value()[4:], ip[:])
}

// ifreq answers one of the requests about an interface.
func (a *API) ifreq(req uint, r *ifreq) error {
	if req == unix.SIOCGIFNAME {
		i := a.st.InterfaceByIndex(int(int32(binary.NativeEndian.Uint32(r.value()))))
		if i == nil {
			return unix.ENODEV
		}
		r.setName(i.Name())
		return nil
	}
	name, _, alias := strings.Cut(r.name(), ":") // "eth0:1" is an address of eth0
	i := a.st.InterfaceByName(name)
	if i == nil {
		return unix.ENODEV
	}
	info := i.Link().Info()
	switch req {
	case unix.SIOCGIFFLAGS:
		binary.NativeEndian.PutUint16(r.value(), ifFlags(&info))
	case unix.SIOCGIFMTU:
		binary.NativeEndian.PutUint32(r.value(), uint32(info.MTU))
	case unix.SIOCGIFINDEX:
		binary.NativeEndian.PutUint32(r.value(), uint32(i.Index()))
	case unix.SIOCGIFHWADDR:
		kind := uint16(unix.ARPHRD_ETHER)
		if info.Caps&link.CapLoopback != 0 {
			kind = unix.ARPHRD_LOOPBACK
		}
		binary.NativeEndian.PutUint16(r.value(), kind)
		copy(r.value()[2:], info.HardwareAddr[:])
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
func (r *ifreq) address(req uint, i *stack.Interface, loopback bool) error {
	all := i.Addresses()
	if len(all) == 0 {
		return unix.EADDRNOTAVAIL
	}
	p := all[0]
	if binary.NativeEndian.Uint16(r.value()) == unix.AF_INET {
		named := netip.AddrFrom4([4]byte(r.value()[4:8]))
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
	r.setAddr(ip)
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

// ifconf stores a struct ifreq for each address, as many as fit whole, and
// returns their length; that of all if buf is nil.
func (a *API) ifconf(buf []byte) int {
	n := 0
	for _, i := range a.st.Interfaces() {
		for _, p := range i.Addresses() {
			if buf == nil {
				n += ifreqLen
				continue
			}
			if len(buf)-n < ifreqLen {
				return n
			}
			r := (*ifreq)(buf[n:])
			*r = ifreq{}
			r.setName(i.Name())
			r.setAddr(p.Addr().As4())
			n += ifreqLen
		}
	}
	return n
}
