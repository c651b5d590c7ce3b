package ancillary

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"testing"
	"unsafe"

	"github.com/outband/outband/sockapi/internal/cmsg"
	"github.com/outband/outband/sockapi/internal/option"
	"github.com/outband/outband/stack"
	"golang.org/x/sys/unix"
)

func newStack(t testing.TB) *stack.Stack {
	t.Helper()
	st, err := stack.New(stack.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Close() })
	return st
}

// newState returns the options of an out-of-band socket.
func newState(t testing.TB, kind option.Kind) *option.State {
	t.Helper()
	st := newStack(t)
	var k stack.Socket
	var err error
	if kind.IsPacket() {
		k, err = st.NewPacketSocket(false, 0)
	} else if kind.IsPing() {
		k, err = st.NewPingSocket()
	} else {
		k, err = st.NewUDPSocket()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { k.Close() })
	s := &option.State{Kind: kind, Stack: st}
	s.Open(k)
	return s
}

var (
	udp    = option.Kind{Domain: unix.AF_INET, Typ: unix.SOCK_DGRAM, Proto: unix.IPPROTO_UDP}
	ping   = option.Kind{Domain: unix.AF_INET, Typ: unix.SOCK_DGRAM, Proto: unix.IPPROTO_ICMP}
	packet = option.Kind{Domain: unix.AF_PACKET, Typ: unix.SOCK_RAW}
)

// A sender is a socket of the kernel's that is connected to one that takes all.
type sender int

func newSender(t testing.TB) sender {
	t.Helper()
	var fds [2]int
	for i := range fds {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { unix.Close(fd) })
		fds[i] = fd
	}
	if err := unix.Bind(fds[0], &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Skip(err)
	}
	name, err := unix.Getsockname(fds[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Connect(fds[1], name); err != nil {
		t.Fatal(err)
	}
	return sender(fds[1])
}

func (s sender) send(control []byte) error {
	data := [1]byte{'x'}
	v := unix.Iovec{Base: &data[0], Len: 1}
	h := unix.Msghdr{Iov: &v, Iovlen: 1, Control: unsafe.SliceData(control), Controllen: uint64(len(control))}
	if _, _, e := unix.Syscall(unix.SYS_SENDMSG, uintptr(s), uintptr(unsafe.Pointer(&h)), unix.MSG_NOSIGNAL); e != 0 {
		return e
	}
	return nil
}

// numbers are such as control messages may have, or may not.
var numbers = []int32{-1, 0, 1, 2, 3, 4, 5, 6, 7, 8, 16, 17, 64, 100, 127, 128, 255, 256, 257, 1000, 65535, 65536, 1 << 17, 1 << 18, 1 << 19, -1 << 31, 1<<31 - 1}

// TestParseLikeLinux sends with control messages of all kinds, lengths and values: what
// the kernel refuses is refused here, with the same error.
func TestParseLikeLinux(t *testing.T) {
	k, s := newSender(t), newState(t, udp)
	// A number for stamps is taken of sockets that number them, a time of those that have a clock.
	set := func() {
		t.Helper()
		flags := unix.SOF_TIMESTAMPING_OPT_ID
		if err := errors.Join(unix.SetsockoptInt(int(k), unix.SOL_SOCKET, unix.SO_TIMESTAMPING, flags),
			s.Set(unix.SOL_SOCKET, unix.SO_TIMESTAMPING, binary.NativeEndian.AppendUint32(nil, uint32(flags)))); err != nil {
			t.Fatal(err)
		}
		clock := make([]byte, 8)
		clock[0] = unix.CLOCK_MONOTONIC
		if err := errors.Join(unix.SetsockoptString(int(k), unix.SOL_SOCKET, unix.SO_TXTIME, string(clock)), s.Set(unix.SOL_SOCKET, unix.SO_TXTIME, clock)); err != nil {
			t.Fatal(err)
		}
	}
	types := []struct{ level, typ int }{
		{unix.SOL_IP, unix.IP_TTL}, {unix.SOL_IP, unix.IP_TOS}, {unix.SOL_IP, unix.IP_RETOPTS}, {unix.SOL_IP, unix.IP_PKTINFO}, {unix.SOL_IP, 99},
		{unix.SOL_UDP, unix.UDP_SEGMENT}, {unix.SOL_UDP, 99}, {unix.SOL_SOCKET, unix.SO_TIMESTAMPING}, {unix.SOL_SOCKET, unix.SO_TIMESTAMPING_NEW},
		{unix.SOL_SOCKET, scmTSOptID}, {unix.SOL_SOCKET, unix.SO_MARK}, {unix.SOL_SOCKET, unix.SO_PRIORITY}, {unix.SOL_SOCKET, unix.SCM_TXTIME},
		{unix.SOL_SOCKET, unix.SCM_RIGHTS}, {unix.SOL_SOCKET, unix.SCM_CREDENTIALS}, {unix.SOL_SOCKET, 9999}, {unix.SOL_TCP, 1},
	}
	r := rand.New(rand.NewPCG(7, 8))
	for _, prepared := range []bool{false, true} {
		if prepared {
			set()
		}
		for _, tt := range types {
			for _, n := range []int{4, 0, 1, 2, 3, 5, 8, 11, 12, 13, 16, 39, 40, 41, 44} {
				for _, v := range numbers {
					data := binary.NativeEndian.AppendUint32(nil, uint32(v))
					switch {
					case tt.typ == unix.IP_PKTINFO && tt.level == unix.SOL_IP:
						data = make([]byte, 44) // no interface, and no address
					case tt.typ == unix.IP_RETOPTS && tt.level == unix.SOL_IP:
						data = []byte{1, 1, 1, byte(v)}
					}
					data = append(data, make([]byte, 44)...)[:n]
					control := cmsg.Append(nil, tt.level, tt.typ, data)
					if r.IntN(8) == 0 { // one that is malformed behind it
						control = append(control, [][]byte{{}, {16}, make([]byte, 16), {15, 15: 0}, {17, 15: 0}, {99, 15: 0}}[r.IntN(6)]...)
					}
					var o stack.SendOptions
					want, got := k.send(control), Parse(s, control, &o)
					if !errors.Is(got, want) {
						t.Errorf("prepared %t, level %d, type %d, % x: %v, the kernel says %v", prepared, tt.level, tt.typ, control[16:], got, want)
						break
					}
				}
			}
		}
	}
}

// Messages of levels that a kind of socket has not are passed over.
func TestParseOtherKinds(t *testing.T) {
	segment := cmsg.Append(nil, unix.SOL_UDP, unix.UDP_SEGMENT, []byte{1})
	var o stack.SendOptions
	if err := Parse(newState(t, ping), segment, &o); err != nil {
		t.Errorf("UDP_SEGMENT of a ping socket: %v", err)
	}
	s := newState(t, packet)
	mark := cmsg.Append(nil, unix.SOL_SOCKET, unix.SO_PRIORITY, []byte{5, 0, 0, 0})
	for _, tt := range []struct {
		name    string
		control []byte
		want    error
	}{
		{"nothing", nil, nil}, {"less than a header", make([]byte, 15), nil}, {"an IP option", cmsg.Append(nil, unix.SOL_IP, 99, nil), nil},
		{"priority", mark, nil}, {"priority, short", cmsg.Append(nil, unix.SOL_SOCKET, unix.SO_PRIORITY, []byte{5}), unix.EINVAL},
		{"malformed", make([]byte, 16), unix.EINVAL}, {"malformed behind another", append(mark, make([]byte, 16)...), unix.EINVAL},
		{"another behind it", append(cmsg.Append(nil, unix.SOL_IP, 99, nil), cmsg.Append(nil, unix.SOL_SOCKET, 9999, nil)...), unix.EINVAL},
	} {
		o = stack.SendOptions{}
		if err := ParsePacket(s, tt.control, &o); err != tt.want {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
	if err := ParsePacket(s, mark, &o); err != nil || o.Priority != 5 || !o.HasPriority {
		t.Errorf("priority is %d, %v", o.Priority, err)
	}
}

// What is parsed is what is asked for.
func TestParsed(t *testing.T) {
	s := newState(t, udp)
	var o stack.SendOptions
	info := make([]byte, 12)
	info[0], info[4] = 3, 10
	control := cmsg.Append(nil, unix.SOL_IP, unix.IP_PKTINFO, info)
	for typ, n := range map[int]byte{unix.IP_TTL: 9, unix.IP_TOS: 16} {
		control = cmsg.Append(control, unix.SOL_IP, typ, []byte{n, 0, 0, 0})
	}
	control = cmsg.Append(control, unix.SOL_UDP, unix.UDP_SEGMENT, []byte{100, 0})
	if err := Parse(s, control, &o); err != nil {
		t.Fatal(err)
	}
	if o.Device != 3 || o.Source != [4]byte{10} || !o.AnySource || o.TTL != 9 || o.TOS != 16 || !o.HasTOS || !o.HasPriority || o.Segment != 100 {
		t.Errorf("%+v", o)
	}
	if err := Parse(s, cmsg.Append(cmsg.Append(nil, unix.SOL_UDP, unix.UDP_SEGMENT, []byte{0, 0}), unix.SOL_IP, unix.IP_PKTINFO, make([]byte, 12)), &o); err != nil || o.Segment != -1 || o.Device != 3 {
		t.Errorf("%+v, %v", o, err)
	}
}
