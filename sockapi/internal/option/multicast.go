package option

import (
	"encoding/binary"

	"github.com/outband/outband/igmp"
	"github.com/outband/outband/ipv4"
	"github.com/outband/outband/stack"
	"golang.org/x/sys/unix"
)

// Lengths and offsets of the structures of ip(7) and RFC 3678 (linux/in.h), in bytes.
const (
	ipMreqLen       = 8   // struct ip_mreq: group, address
	ipMreqnLen      = 12  // struct ip_mreqn: group, address, interface
	ipMreqSourceLen = 12  // struct ip_mreq_source: group, address, source
	ipMsfilterHead  = 16  // struct ip_msfilter: group, address, mode, count; 4 for each source
	storageLen      = 128 // struct sockaddr_storage
	groupReqLen     = 8 + storageLen
	groupSourceLen  = 8 + 2*storageLen
	groupFilterMode = 8 + storageLen // struct group_filter: interface, group, mode,
	groupFilterN    = groupFilterMode + 4
	groupFilterHead = groupFilterN + 4 // and count; storageLen for each source
)

// optmemMax is Linux' net.core.optmem_max: how long a source filter may be, in bytes.
const optmemMax = 128 << 10

// multicastOptions are those of SOL_IP that are about groups (ip(7), RFC 3678).
var multicastOptions = map[optionKey]option{
	{unix.SOL_IP, unix.IP_MULTICAST_TTL}: nonempty(
		func(s *State) int { return s.IP.Multicast().TTL() },
		func(s *State, v int) error {
			if v == -1 {
				v = 1
			}
			if v < 0 || v > 255 {
				return unix.EINVAL
			}
			s.IP.Multicast().SetTTL(v)
			return nil
		}),
	{unix.SOL_IP, unix.IP_MULTICAST_LOOP}: nonempty(
		func(s *State) int { return boolInt(s.IP.Multicast().Loop()) },
		func(s *State, v int) error { s.IP.Multicast().SetLoop(v != 0); return nil }),
	{unix.SOL_IP, unix.IP_MULTICAST_ALL}: nonempty(
		func(s *State) int { return boolInt(s.IP.Multicast().All()) },
		func(s *State, v int) error {
			if v != 0 && v != 1 {
				return unix.EINVAL
			}
			s.IP.Multicast().SetAll(v != 0)
			return nil
		}),
	{unix.SOL_IP, unix.IP_MULTICAST_IF}: {size: 4, least: 4, variable: true,
		getN: func(s *State, b []byte) (int, error) {
			_, addr := s.IP.Multicast().Interface()
			return copy(b, addr[:]), nil
		},
		set: func(s *State, b []byte) error {
			var r stack.GroupRequest
			if len(b) >= ipMreqLen {
				r = mreq(b)
			} else {
				r.Address = ipv4.Addr(b)
			}
			return s.IP.Multicast().SetInterface(r)
		}},
	{unix.SOL_IP, unix.IP_ADD_MEMBERSHIP}:         mreqOption((*stack.Multicast).JoinGroup),
	{unix.SOL_IP, unix.IP_DROP_MEMBERSHIP}:        mreqOption((*stack.Multicast).LeaveGroup),
	{unix.SOL_IP, unix.IP_ADD_SOURCE_MEMBERSHIP}:  mreqSourceOption((*stack.Multicast).JoinSource),
	{unix.SOL_IP, unix.IP_DROP_SOURCE_MEMBERSHIP}: mreqSourceOption((*stack.Multicast).LeaveSource),
	{unix.SOL_IP, unix.IP_BLOCK_SOURCE}:           mreqSourceOption((*stack.Multicast).BlockSource),
	{unix.SOL_IP, unix.IP_UNBLOCK_SOURCE}:         mreqSourceOption((*stack.Multicast).UnblockSource),
	{unix.SOL_IP, unix.IP_MSFILTER}:               {variable: true, set: setMsfilter, getN: getMsfilter},
	{unix.SOL_IP, unix.MCAST_JOIN_GROUP}:          groupOption((*stack.Multicast).JoinGroup),
	{unix.SOL_IP, unix.MCAST_LEAVE_GROUP}:         groupOption((*stack.Multicast).LeaveGroup),
	{unix.SOL_IP, unix.MCAST_JOIN_SOURCE_GROUP}:   groupSourceOption((*stack.Multicast).JoinSource),
	{unix.SOL_IP, unix.MCAST_LEAVE_SOURCE_GROUP}:  groupSourceOption((*stack.Multicast).LeaveSource),
	{unix.SOL_IP, unix.MCAST_BLOCK_SOURCE}:        groupSourceOption((*stack.Multicast).BlockSource),
	{unix.SOL_IP, unix.MCAST_UNBLOCK_SOURCE}:      groupSourceOption((*stack.Multicast).UnblockSource),
	{unix.SOL_IP, unix.MCAST_MSFILTER}:            {variable: true, set: setGroupFilter, getN: getGroupFilter},
}

// nonempty makes an option of type int, or a byte, that is not taken for 0 if there is
// no value.
func nonempty(get func(*State) int, set func(*State, int) error) option {
	o := integer(get, set)
	o.least = 1
	return o
}

// mreq reads a struct ip_mreqn, or a struct ip_mreq, which is its beginning.
func mreq(b []byte) stack.GroupRequest {
	r := stack.GroupRequest{Group: ipv4.Addr(b), Address: ipv4.Addr(b[4:])}
	if len(b) >= ipMreqnLen {
		r.Interface = int(int32(binary.NativeEndian.Uint32(b[8:])))
	}
	return r
}

// mreqOption makes an option whose value is a struct ip_mreqn or ip_mreq.
func mreqOption(do func(*stack.Multicast, stack.GroupRequest) error) option {
	return option{variable: true, set: func(s *State, b []byte) error {
		if len(b) < ipMreqLen {
			return unix.EINVAL
		}
		return do(s.IP.Multicast(), mreq(b))
	}}
}

// mreqSourceOption makes an option whose value is a struct ip_mreq_source.
func mreqSourceOption(do func(*stack.Multicast, stack.GroupRequest, ipv4.Addr) error) option {
	return option{variable: true, set: func(s *State, b []byte) error {
		if len(b) != ipMreqSourceLen {
			return unix.EINVAL
		}
		return do(s.IP.Multicast(), mreq(b[:ipMreqLen]), ipv4.Addr(b[8:]))
	}}
}

// storedInet4 returns the address in a struct sockaddr_storage, if it is IPv4.
func storedInet4(b []byte) (addr ipv4.Addr, ok bool) {
	return ipv4.Addr(b[4:]), binary.NativeEndian.Uint16(b) == unix.AF_INET
}

// groupOption makes an option whose value is a struct group_req.
func groupOption(do func(*stack.Multicast, stack.GroupRequest) error) option {
	return option{variable: true, set: func(s *State, b []byte) error {
		if len(b) < groupReqLen {
			return unix.EINVAL
		}
		group, ok := storedInet4(b[8:])
		if !ok {
			return unix.EINVAL
		}
		return do(s.IP.Multicast(), stack.GroupRequest{Group: group, Interface: interfaceOf(b)})
	}}
}

// interfaceOf reads the interface's index with which the structures of RFC 3678 begin.
func interfaceOf(b []byte) int { return int(int32(binary.NativeEndian.Uint32(b))) }

// groupSourceOption makes an option whose value is a struct group_source_req.
func groupSourceOption(do func(*stack.Multicast, stack.GroupRequest, ipv4.Addr) error) option {
	return option{variable: true, set: func(s *State, b []byte) error {
		if len(b) != groupSourceLen {
			return unix.EINVAL
		}
		group, ok := storedInet4(b[8:])
		source, ok2 := storedInet4(b[8+storageLen:])
		if !ok || !ok2 {
			return unix.EADDRNOTAVAIL
		}
		return do(s.IP.Multicast(), stack.GroupRequest{Group: group, Interface: interfaceOf(b)}, source)
	}}
}

// filterCount checks the length of a source filter's structure and its count, at
// offset at, of sources of size bytes each behind a head.
func (s *State) filterCount(b []byte, at, head, size int) (int, error) {
	if len(b) < head {
		return 0, unix.EINVAL
	}
	n := int(binary.NativeEndian.Uint32(b[at:]))
	switch {
	case len(b) > optmemMax, n > s.IP.Multicast().MaxSources():
		return 0, unix.ENOBUFS
	case head+n*size > len(b):
		return 0, unix.EINVAL
	}
	return n, nil
}

// filterMode reads the mode of a source filter.
func filterMode(b []byte) (igmp.Mode, error) {
	v := binary.NativeEndian.Uint32(b)
	if v != unix.MCAST_INCLUDE && v != unix.MCAST_EXCLUDE {
		return 0, unix.EINVAL
	}
	return igmp.Mode(v), nil
}

// setMsfilter is IP_MSFILTER, whose value is a struct ip_msfilter.
func setMsfilter(s *State, b []byte) error {
	n, err := s.filterCount(b, 12, ipMsfilterHead, 4)
	if err != nil {
		return err
	}
	f := igmp.Filter{Sources: make([]ipv4.Addr, n)}
	for i := range f.Sources {
		f.Sources[i] = ipv4.Addr(b[ipMsfilterHead+4*i:])
	}
	if f.Mode, err = filterMode(b[8:]); err != nil {
		return err
	}
	return s.IP.Multicast().SetGroupFilter(mreq(b[:ipMreqLen]), f)
}

// getMsfilter is IP_MSFILTER for getsockopt(2): the value names the group and how
// many sources it has room for.
func getMsfilter(s *State, b []byte) (int, error) {
	if len(b) < ipMsfilterHead {
		return 0, unix.EINVAL
	}
	f, err := s.IP.Multicast().GroupFilter(mreq(b[:ipMreqLen]))
	if err != nil {
		return 0, err
	}
	room := int(binary.NativeEndian.Uint32(b[12:]))
	binary.NativeEndian.PutUint32(b[8:], uint32(f.Mode))
	binary.NativeEndian.PutUint32(b[12:], uint32(len(f.Sources)))
	n := min(len(f.Sources), room)
	if ipMsfilterHead+4*n > len(b) {
		return 0, unix.EFAULT // Linux writes behind the value
	}
	for i := range n {
		copy(b[ipMsfilterHead+4*i:], f.Sources[i][:])
	}
	return ipMsfilterHead + 4*n, nil
}

// setGroupFilter is MCAST_MSFILTER, whose value is a struct group_filter.
func setGroupFilter(s *State, b []byte) error {
	n, err := s.filterCount(b, groupFilterN, groupFilterHead, storageLen)
	if err != nil {
		return err
	}
	group, ok := storedInet4(b[8:])
	f := igmp.Filter{Sources: make([]ipv4.Addr, n)}
	for i := range f.Sources {
		var is bool
		f.Sources[i], is = storedInet4(b[groupFilterHead+storageLen*i:])
		ok = ok && is
	}
	if !ok {
		return unix.EADDRNOTAVAIL
	}
	if f.Mode, err = filterMode(b[groupFilterMode:]); err != nil {
		return err
	}
	return s.IP.Multicast().SetGroupFilter(stack.GroupRequest{Group: group, Interface: interfaceOf(b)}, f)
}

// getGroupFilter is MCAST_MSFILTER for getsockopt(2).
func getGroupFilter(s *State, b []byte) (int, error) {
	if len(b) < groupFilterHead {
		return 0, unix.EINVAL
	}
	group, ok := storedInet4(b[8:])
	if !ok {
		return 0, unix.EINVAL
	}
	f, err := s.IP.Multicast().GroupFilterOn(group, interfaceOf(b))
	if err != nil {
		return 0, err
	}
	room := int(binary.NativeEndian.Uint32(b[groupFilterN:]))
	binary.NativeEndian.PutUint32(b[groupFilterMode:], uint32(f.Mode))
	binary.NativeEndian.PutUint32(b[groupFilterN:], uint32(len(f.Sources)))
	n := min(len(f.Sources), room)
	if groupFilterHead+storageLen*n > len(b) {
		return 0, unix.EFAULT
	}
	for i := range n {
		at := b[groupFilterHead+storageLen*i:][:storageLen]
		clear(at)
		binary.NativeEndian.PutUint16(at, unix.AF_INET)
		copy(at[4:], f.Sources[i][:])
	}
	return groupFilterHead + storageLen*n, nil
}
