package oracle

import (
	"encoding/binary"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/sockapi"
)

// The values of the options for groups (ip(7), RFC 3678, linux/in.h).

// Mreq returns struct ip_mreq.
func Mreq(group, address [4]byte) []byte { return append(group[:], address[:]...) }

// Mreqn returns struct ip_mreqn.
func Mreqn(group, address [4]byte, index int) []byte {
	return append(Mreq(group, address), Int(index)...)
}

// MreqSource returns struct ip_mreq_source.
func MreqSource(group, address, source [4]byte) []byte {
	return append(Mreq(group, address), source[:]...)
}

// Msfilter returns struct ip_msfilter, which says that it has count sources.
func Msfilter(group, address [4]byte, mode, count int, sources ...[4]byte) []byte {
	b := append(append(Mreq(group, address), Int(mode)...), Int(count)...)
	for _, s := range sources {
		b = append(b, s[:]...)
	}
	return b
}

// storage returns a struct sockaddr_storage.
func storage(family int, addr [4]byte) []byte {
	b := make([]byte, 128)
	binary.NativeEndian.PutUint16(b, uint16(family))
	copy(b[4:], addr[:])
	return b
}

// GroupReq returns struct group_req.
func GroupReq(index, family int, group [4]byte) []byte {
	return append(append(Int(index), 0, 0, 0, 0), storage(family, group)...)
}

// GroupSourceReq returns struct group_source_req.
func GroupSourceReq(index int, group [4]byte, family int, source [4]byte) []byte {
	return append(GroupReq(index, unix.AF_INET, group), storage(family, source)...)
}

// GroupFilter returns struct group_filter, which says that it has count sources.
func GroupFilter(index int, group [4]byte, mode, count int, sources ...[4]byte) []byte {
	b := append(append(GroupReq(index, unix.AF_INET, group), Int(mode)...), Int(count)...)
	for _, s := range sources {
		b = append(b, storage(unix.AF_INET, s)...)
	}
	return b
}

// GroupIndex returns the index of the interface that multicasts between the ends go
// by: on one host, by its own address, that is the device, which hands them back.
func (r *Run) GroupIndex() int {
	if r.Top.Name == Loopback.Name {
		return loIndex
	}
	return deviceIndex
}

// SetGroup sets an option, and writes it down as text.
func (k *Sock) SetGroup(name int, text string, v []byte) error {
	return k.err(fmt.Sprintf("setsockopt(%s, %s)", OptionName(unix.SOL_IP, name), text),
		func() error { return k.s.Setsockopt(unix.SOL_IP, name, v) })
}

// GroupOption sets an option whose value is a struct ip_mreqn, by the index.
func (k *Sock) GroupOption(name int, group [4]byte) error {
	return k.SetGroup(name, ip(group), Mreqn(group, [4]byte{}, k.r.GroupIndex()))
}

// Join makes the socket a member of a group on the interface between the ends.
func (k *Sock) Join(group [4]byte) { k.GroupOption(unix.IP_ADD_MEMBERSHIP, group) }

// Leave undoes Join.
func (k *Sock) Leave(group [4]byte) { k.GroupOption(unix.IP_DROP_MEMBERSHIP, group) }

// SourceOption sets an option whose value is a struct group_source_req.
func (k *Sock) SourceOption(name int, group, source [4]byte) {
	k.SetGroup(name, ip(group)+", "+ip(source), GroupSourceReq(k.r.GroupIndex(), group, unix.AF_INET, source))
}

// By has the socket's multicasts leave by the interface between the ends.
func (k *Sock) By() {
	k.SetGroup(unix.IP_MULTICAST_IF, "by it", Mreqn([4]byte{}, [4]byte{}, k.r.GroupIndex()))
}

// GetFilter gets IP_MSFILTER or MCAST_MSFILTER, with a value to begin with.
func (k *Sock) GetFilter(name int, v []byte) {
	k.do(fmt.Sprintf("getsockopt(%s, %d bytes)", OptionName(unix.SOL_IP, name), len(v)), func() string {
		b := append([]byte(nil), v...)
		n, err := k.s.Getsockopt(unix.SOL_IP, name, b)
		if err != nil {
			return errnoName(err)
		}
		return fmt.Sprintf("length %d: %x", n, b)
	})
}

// Filter writes down the socket's filter for a group on the interface between the ends.
func (k *Sock) Filter(group [4]byte) {
	k.do("filter("+ip(group)+")", func() string {
		b := make([]byte, 144+16*128)
		copy(b, GroupFilter(k.r.GroupIndex(), group, 0, 16))
		n, err := k.s.Getsockopt(unix.SOL_IP, unix.MCAST_MSFILTER, b)
		if err != nil {
			return errnoName(err)
		}
		out := [...]string{"EXCLUDE", "INCLUDE"}[b[136]&1]
		for at := 144; at < n; at += 128 {
			out += " " + ip([4]byte(b[at+4:]))
		}
		return fmt.Sprintf("%s, %d sources", out, binary.NativeEndian.Uint32(b[140:]))
	})
}

// ip writes an address down.
func ip(a [4]byte) string { return sockapi.Inet4(a, 0).AddrPort().Addr().String() }
