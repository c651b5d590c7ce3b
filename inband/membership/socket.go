package membership

import (
	"bytes"
	"encoding/binary"
	"os"
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A socket is a UDP socket with memberships. It is bound to no port.
type socket struct {
	fd     int
	full   bool // it can have no more
	groups map[key]bool
}

// A sockaddrStorage is struct sockaddr_storage, with an IPv4 address.
type sockaddrStorage struct {
	_ [0]uintptr // how it is aligned
	b [128]byte
}

// A groupSource is struct group_source_req, and but for the last field struct group_req
// (netinet/in.h).
type groupSource struct {
	device uint32
	group  sockaddrStorage
	source sockaddrStorage
}

// A groupFilterHead is struct group_filter up to its sources.
type groupFilterHead struct {
	device uint32
	group  sockaddrStorage
	mode   uint32
	count  uint32
}

func storage(addr [4]byte) (s sockaddrStorage) {
	binary.NativeEndian.PutUint16(s.b[:], unix.AF_INET)
	copy(s.b[4:], addr[:])
	return s
}

// join has the socket join a group that it has not joined, for a filter that wants
// something; filter does the rest, unless that is the whole filter. ENOBUFS: it has as many
// groups as it may.
func (s *socket) join(k key, f Filter) error {
	req := groupSource{device: uint32(k.device), group: storage(k.group)}
	name, size := unix.MCAST_JOIN_GROUP, unsafe.Offsetof(req.source)
	if f.Mode == Include {
		req.source = storage(f.Sources[0])
		name, size = unix.MCAST_JOIN_SOURCE_GROUP, unsafe.Sizeof(req)
	}
	if err := s.set(name, unsafe.Slice((*byte)(unsafe.Pointer(&req)), size)); err != nil {
		return err
	}
	s.groups[k] = true
	return nil
}

// joined reports whether joining is the whole of a filter.
func (f Filter) joined() bool {
	return f.Mode == Exclude && len(f.Sources) == 0 || f.Mode == Include && len(f.Sources) == 1
}

// filter replaces the filter of a group that the socket has joined, all of it at once
// (MCAST_MSFILTER, RFC 3678 section 5.2).
func (s *socket) filter(k key, f Filter) error {
	head := groupFilterHead{device: uint32(k.device), group: storage(k.group), mode: uint32(f.Mode), count: uint32(len(f.Sources))}
	b := bytes.Clone(unsafe.Slice((*byte)(unsafe.Pointer(&head)), unsafe.Sizeof(head)))
	for _, source := range f.Sources {
		one := storage(source)
		b = append(b, one.b[:]...)
	}
	return s.set(unix.MCAST_MSFILTER, b)
}

// leave has the socket leave a group, also one of a device that is gone.
func (s *socket) leave(k key) {
	unix.SetsockoptIPMreqn(s.fd, unix.IPPROTO_IP, unix.IP_DROP_MEMBERSHIP, &unix.IPMreqn{Multiaddr: k.group, Ifindex: k.device})
	delete(s.groups, k)
	s.full = false
}

func (s *socket) set(name int, value []byte) error {
	return unix.SetsockoptString(s.fd, unix.IPPROTO_IP, name, string(value))
}

// defaultSources is net.ipv4.igmp_max_msf where it is not set.
const defaultSources = 10

// maxSources returns net.ipv4.igmp_max_msf of the calling thread's network namespace.
func maxSources() int {
	text, err := os.ReadFile("/proc/sys/net/ipv4/igmp_max_msf")
	if err != nil {
		return defaultSources
	}
	n, err := strconv.Atoi(string(bytes.TrimSpace(text)))
	if err != nil {
		return defaultSources
	}
	return max(1, n)
}
