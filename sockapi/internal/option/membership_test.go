package option

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"golang.org/x/sys/unix"
)

// A dice makes values of options about groups: most of them such as a program would
// give, some not.
type dice struct{ *rand.Rand }

// seldom reports true once in a while.
func (d dice) seldom() bool { return d.IntN(12) == 0 }

// group returns one of few groups, or what is none.
func (d dice) group() []byte {
	if d.seldom() {
		return []byte{10, 0, 0, 1}
	}
	return []byte{239, 3, 0, byte(d.IntN(3))}
}

func (d dice) source() []byte { return []byte{10, 0, 0, byte(1 + d.IntN(12))} }

// address returns that of loopback, of nobody, or none.
func (d dice) address() []byte {
	if d.seldom() {
		return [][]byte{{0, 0, 0, 0}, {127, 9, 9, 9}}[d.IntN(2)]
	}
	return []byte{127, 0, 0, 1}
}

func (d dice) number(usual uint32) []byte {
	if d.seldom() {
		usual = uint32(corners[d.IntN(len(corners))])
	}
	return binary.NativeEndian.AppendUint32(nil, usual)
}

// storage returns a struct sockaddr_storage.
func (d dice) storage(addr []byte) []byte {
	b := make([]byte, storageLen)
	if binary.NativeEndian.PutUint16(b, unix.AF_INET); d.seldom() {
		binary.NativeEndian.PutUint16(b, unix.AF_INET6)
	}
	copy(b[4:], addr)
	return b
}

// cut returns b, or now and then less or more of it.
func (d dice) cut(b []byte) []byte {
	if d.seldom() {
		b = append(b, make([]byte, storageLen)...)
		return b[:max(0, len(b)-storageLen+[]int{-9, -4, -1, 1, 4, storageLen}[d.IntN(6)])]
	}
	return b
}

func join(parts ...[]byte) (b []byte) {
	for _, p := range parts {
		b = append(b, p...)
	}
	return b
}

// filter returns the mode, the count and the sources of a filter, each of which entry makes.
func (d dice) filter(entry func() []byte) []byte {
	n := d.IntN(4) * d.IntN(4)
	b := join(d.number(uint32(d.IntN(2))), d.number(uint32(n)))
	for range n {
		b = append(b, entry()...)
	}
	return b
}

// value returns a value of an option about groups.
func (d dice) value(name int) []byte {
	index := append(d.number(1), 0, 0, 0, 0)
	switch name {
	case unix.IP_ADD_MEMBERSHIP, unix.IP_DROP_MEMBERSHIP, unix.IP_MULTICAST_IF:
		return d.cut(join(d.group(), d.address(), d.number(1))[:[]int{8, 12, 12, 12}[d.IntN(4)]])
	case unix.IP_MSFILTER:
		return d.cut(join(d.group(), d.address(), d.filter(d.source)))
	case unix.MCAST_JOIN_GROUP, unix.MCAST_LEAVE_GROUP:
		return d.cut(join(index, d.storage(d.group())))
	case unix.MCAST_MSFILTER:
		return d.cut(join(index, d.storage(d.group()), d.filter(func() []byte { return d.storage(d.source()) })))
	case unix.IP_ADD_SOURCE_MEMBERSHIP, unix.IP_DROP_SOURCE_MEMBERSHIP, unix.IP_BLOCK_SOURCE, unix.IP_UNBLOCK_SOURCE:
		return d.cut(join(d.group(), d.address(), d.source()))
	}
	return d.cut(join(index, d.storage(d.group()), d.storage(d.source())))
}

// TestMembershipsLikeLinux joins, leaves and filters groups at random by all structures
// that there are for that, well-formed and not: each call gives what the kernel gives.
func TestMembershipsLikeLinux(t *testing.T) {
	l := newLab(t)
	p := l.newPair(t, 0)
	defer p.close()
	d := dice{rand.New(rand.NewPCG(3, 4))}
	names := []int{
		unix.IP_ADD_MEMBERSHIP, unix.IP_DROP_MEMBERSHIP, unix.IP_ADD_SOURCE_MEMBERSHIP, unix.IP_DROP_SOURCE_MEMBERSHIP, unix.IP_BLOCK_SOURCE,
		unix.IP_UNBLOCK_SOURCE, unix.IP_MSFILTER, unix.MCAST_JOIN_GROUP, unix.MCAST_LEAVE_GROUP, unix.MCAST_JOIN_SOURCE_GROUP,
		unix.MCAST_LEAVE_SOURCE_GROUP, unix.MCAST_BLOCK_SOURCE, unix.MCAST_UNBLOCK_SOURCE, unix.MCAST_MSFILTER, unix.IP_MULTICAST_IF,
	}
	for step := range 12000 {
		name := names[d.IntN(len(names))]
		value := d.value(name)
		if err := p.set(unix.SOL_IP, name, value); err != nil {
			t.Fatalf("step %d, option %d: %v", step, name, err)
		}
		room := make([]byte, 4*d.IntN(14))
		ask := join(d.group(), d.address(), d.number(0), binary.NativeEndian.AppendUint32(nil, uint32(len(room)/4)), room)
		name = unix.IP_MSFILTER
		if d.IntN(2) == 0 {
			name, room = unix.MCAST_MSFILTER, make([]byte, storageLen*d.IntN(14))
			ask = join(d.number(1), make([]byte, 4), d.storage(d.group()), d.number(0), binary.NativeEndian.AppendUint32(nil, uint32(len(room)/storageLen)), room)
		}
		if d.seldom() {
			ask = ask[:d.IntN(16)]
		}
		if err := p.get(unix.SOL_IP, name, ask); err != nil {
			t.Fatalf("step %d, option %d: %v", step, name, err)
		}
	}
}

// Memberships of packet sockets have an address of 8 bytes, or as many as they say.
func TestPacketMemberships(t *testing.T) {
	l := newLab(t)
	p := l.newPair(t, len(kinds)-1)
	defer p.close()
	for _, length := range []int{0, 15, 16, 17, 24, 40} {
		for _, addr := range []uint16{0, 6, 8, 9, 16, 32, 33} {
			for _, typ := range []uint16{unix.PACKET_MR_PROMISC, unix.PACKET_MR_ALLMULTI} {
				for _, name := range []int{unix.PACKET_ADD_MEMBERSHIP, unix.PACKET_DROP_MEMBERSHIP, unix.PACKET_DROP_MEMBERSHIP} {
					b := binary.NativeEndian.AppendUint16(number(1), typ)
					b = append(binary.NativeEndian.AppendUint16(b, addr), make([]byte, 40)...)
					if err := p.set(unix.SOL_PACKET, name, b[:length]); err != nil {
						t.Errorf("length %d, address %d, type %d, option %d: %v", length, addr, typ, name, err)
					}
				}
			}
		}
	}
}

// The length of a source filter has a limit of its own; what is told of it fits the value.
func TestFilterLengths(t *testing.T) {
	l := newLab(t)
	p := l.newPair(t, 0)
	defer p.close()
	group := []byte{239, 3, 0, 1}
	both(t, "join", p.set(unix.SOL_IP, unix.IP_ADD_MEMBERSHIP, join(group, []byte{127, 0, 0, 1}, number(1))))
	for _, n := range []int{10, 11} {
		sources := make([]byte, 4*n)
		for i := range n {
			sources[4*i], sources[4*i+3] = 10, byte(i+1)
		}
		both(t, "sources", p.set(unix.SOL_IP, unix.IP_MSFILTER, join(group, []byte{127, 0, 0, 1}, number(1), number(n), sources)))
	}
	for _, name := range []int{unix.IP_MSFILTER, unix.MCAST_MSFILTER} {
		head := join(group, []byte{127, 0, 0, 1}, number(0), number(0))
		if name == unix.MCAST_MSFILTER {
			head = join(number(1), number(0), dice{rand.New(rand.NewPCG(1, 1))}.storage(group), number(0), number(0))
		}
		for _, n := range []int{optmemMax, optmemMax + 1} {
			both(t, "long", p.set(unix.SOL_IP, name, append(head, make([]byte, n-len(head))...)))
		}
	}
	both(t, "join", p.set(unix.SOL_IP, unix.IP_MSFILTER, join(group, []byte{127, 0, 0, 1}, number(1), number(2), []byte{10, 0, 0, 1, 10, 0, 0, 2})))
	for _, tt := range []struct {
		name, size int
		ask        []byte
	}{
		{unix.IP_MSFILTER, 4, join(group, []byte{127, 0, 0, 1}, number(0), number(2))},
		{unix.MCAST_MSFILTER, storageLen, join(number(1), number(0), dice{rand.New(rand.NewPCG(1, 1))}.storage(group), number(0), number(2))},
	} {
		if _, err := p.ours.Get(unix.SOL_IP, tt.name, append(tt.ask, make([]byte, 2*tt.size-1)...)); err != unix.EFAULT {
			t.Errorf("option %d, a value too short for what it asks for: %v", tt.name, err)
		}
		both(t, "long enough", p.get(unix.SOL_IP, tt.name, append(tt.ask, make([]byte, 2*tt.size)...)))
	}
}
