package follow

import (
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"
)

// A Snapshot is what devices and addresses the kernel has in the network namespace. It is
// not to be changed: others may have it too.
type Snapshot struct {
	Devices   []Device  // in the order of their indices
	Addresses []Address // in the kernel's order: a device's primary ones first
}

// A Device is a network device.
type Device struct {
	Index    int32
	Name     string
	Kind     string // "veth", "bridge", "vlan", ..., "" for hardware and lo
	MTU      int    // bytes
	MAC      [6]byte
	Up       bool  // set up by the administrator (IFF_UP)
	Running  bool  // up, and has a carrier (IFF_RUNNING)
	Ethernet bool  // carries Ethernet frames (ARPHRD_ETHER)
	Loopback bool  // IFF_LOOPBACK
	NoARP    bool  // IFF_NOARP
	Master   int32 // the bridge, bond or VRF that it is part of, 0: none
	// Lower is the device below a VLAN or macvlan device, 0: none, or in another
	// namespace.
	Lower int32
}

// An Address is an IPv4 address of the host's.
type Address struct {
	Device    int32
	Prefix    netip.Prefix // the address, not masked
	Broadcast [4]byte      // zero: none
	Peer      [4]byte      // the other end's of a point-to-point address, zero: none
	Secondary bool
}

// Device returns the device with an index.
func (s Snapshot) Device(index int32) (Device, bool) {
	i, ok := slices.BinarySearchFunc(s.Devices, index, func(d Device, index int32) int { return int(d.Index) - int(index) })
	if !ok {
		return Device{}, false
	}
	return s.Devices[i], true
}

// equal reports whether two snapshots say the same.
func (s Snapshot) equal(t Snapshot) bool {
	return slices.Equal(s.Devices, t.Devices) && slices.Equal(s.Addresses, t.Addresses)
}

// Ask returns what there is now, of which Changed may not have been told yet. The errno is 0
// but for what should not be.
func (k *Kernel) Ask() (Snapshot, unix.Errno) {
	k.dumping.Lock()
	defer k.dumping.Unlock()
	return k.dumper.snapshot()
}

// dumpTries is how often a dump is done that changes interrupt, before what it gave is
// taken for what it is. The events of those changes lead to another.
const dumpTries = 8

// snapshot asks the kernel for all devices and addresses.
func (s *socket) snapshot() (t Snapshot, errno unix.Errno) {
	for range dumpTries {
		t = Snapshot{}
		if errno = s.devices(&t); errno == 0 {
			errno = s.addresses(&t)
		}
		if errno != unix.EINTR {
			return t, errno
		}
	}
	return t, 0
}

// skipStatistics is RTEXT_FILTER_SKIP_STATS (linux/rtnetlink.h).
const skipStatistics = 1 << 3

func (s *socket) devices(t *Snapshot) unix.Errno {
	w, link := s.begin(unix.RTM_GETLINK, unix.NLM_F_DUMP, unix.SizeofIfInfomsg)
	link[0] = unix.AF_UNSPEC
	w.uint32(unix.IFLA_EXT_MASK, skipStatistics)
	errno := s.dump(w.end(), func(m message) {
		if d, ok := parseDevice(m); ok {
			t.Devices = append(t.Devices, d)
		}
	})
	slices.SortFunc(t.Devices, func(a, b Device) int { return int(a.Index) - int(b.Index) })
	return errno
}

// addresses adds the addresses of the devices that are there.
func (s *socket) addresses(t *Snapshot) unix.Errno {
	w, addr := s.begin(unix.RTM_GETADDR, unix.NLM_F_DUMP, unix.SizeofIfAddrmsg)
	addr[0] = unix.AF_INET
	return s.dump(w.end(), func(m message) {
		a, ok := parseAddress(m)
		if _, there := t.Device(a.Device); ok && there {
			t.Addresses = append(t.Addresses, a)
		}
	})
}

// parseDevice reads struct ifinfomsg and its attributes.
func parseDevice(m message) (d Device, ok bool) {
	if m.kind != unix.RTM_NEWLINK || len(m.data) < unix.SizeofIfInfomsg {
		return d, false
	}
	hardware, flags := native.Uint16(m.data[2:]), native.Uint32(m.data[8:])
	d = Device{Index: int32(native.Uint32(m.data[4:])),
		Up: flags&unix.IFF_UP != 0, Running: flags&unix.IFF_UP != 0 && flags&unix.IFF_RUNNING != 0,
		Loopback: flags&unix.IFF_LOOPBACK != 0, NoARP: flags&unix.IFF_NOARP != 0,
		Ethernet: hardware == unix.ARPHRD_ETHER}
	elsewhere := false
	attrs := m.attributes(unix.SizeofIfInfomsg)
	for kind, v, ok := attrs.next(); ok; kind, v, ok = attrs.next() {
		switch kind {
		case unix.IFLA_IFNAME:
			d.Name = v.text()
		case unix.IFLA_MTU:
			d.MTU = int(v.uint32())
		case unix.IFLA_ADDRESS:
			d.MAC = v.mac()
		case unix.IFLA_MASTER:
			d.Master = int32(v.uint32())
		case unix.IFLA_LINK:
			d.Lower = int32(v.uint32())
		case unix.IFLA_LINK_NETNSID:
			elsewhere = true
		case unix.IFLA_LINKINFO:
			d.Kind = linkKind(attributes(v))
		}
	}
	if elsewhere {
		d.Lower = 0
	}
	return d, true
}

func linkKind(attrs attributes) string {
	for kind, v, ok := attrs.next(); ok; kind, v, ok = attrs.next() {
		if kind == unix.IFLA_INFO_KIND {
			return v.text()
		}
	}
	return ""
}

// parseAddress reads struct ifaddrmsg and its attributes.
func parseAddress(m message) (a Address, ok bool) {
	if m.kind != unix.RTM_NEWADDR || len(m.data) < unix.SizeofIfAddrmsg || m.data[0] != unix.AF_INET {
		return a, false
	}
	a = Address{Device: int32(native.Uint32(m.data[4:])), Secondary: m.data[2]&unix.IFA_F_SECONDARY != 0}
	var local, prefix [4]byte
	attrs := m.attributes(unix.SizeofIfAddrmsg)
	for kind, v, ok := attrs.next(); ok; kind, v, ok = attrs.next() {
		switch kind {
		case unix.IFA_LOCAL:
			local = v.addr()
		case unix.IFA_ADDRESS: // the peer's if there is one, else the same
			prefix = v.addr()
		case unix.IFA_BROADCAST:
			a.Broadcast = v.addr()
		}
	}
	if prefix != local {
		a.Peer = prefix
	}
	a.Prefix = netip.PrefixFrom(netip.AddrFrom4(local), int(m.data[1]))
	return a, true
}
