package sockapi

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/outband/outband/link"
	"github.com/outband/outband/link/pipe"
	"github.com/outband/outband/sockapi/internal/ancillary"
	"github.com/outband/outband/stack"
	"golang.org/x/sys/unix"
)

// newWire returns the sockets of two stacks that a pipe joins; the pipe is
// interface 2 of each.
func newWire(t testing.TB) (near, far *API, farEnd *pipe.Link) {
	t.Helper()
	a, b := pipe.New(pipe.Options{A: pipe.End{Index: 2}, B: pipe.End{Index: 2}})
	open := func(l *pipe.Link) *API {
		s, err := stack.New(stack.Config{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
		if _, err := s.AddLink(l, stack.InterfaceConfig{}); err != nil {
			t.Fatal(err)
		}
		return New(s)
	}
	return open(a), open(b), b
}

func openOOB(t testing.TB, a *API, domain, typ, proto int) *Socket {
	t.Helper()
	s, err := a.Socket(domain, typ|SOCK_OOB, proto)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func TestHTONS(t *testing.T) {
	var b [2]byte
	binary.NativeEndian.PutUint16(b[:], uint16(HTONS(unix.ETH_P_IP)))
	if b != [2]byte{8, 0} {
		t.Errorf("%x", b)
	}
	if hostOrder(uint16(HTONS(0x1234))) != 0x1234 {
		t.Error("there and back is not the same")
	}
}

func TestPacketTypes(t *testing.T) {
	a, _, _ := newWire(t)
	tests := []struct {
		name               string
		domain, typ, proto int
		want               error
	}{
		{"packet, raw", unix.AF_PACKET, unix.SOCK_RAW, HTONS(unix.ETH_P_ALL), nil},
		{"packet, cooked", unix.AF_PACKET, unix.SOCK_DGRAM, HTONS(unix.ETH_P_PAE), nil},
		{"packet, nothing", unix.AF_PACKET, unix.SOCK_DGRAM, 0, nil},
		{"packet, stream", unix.AF_PACKET, unix.SOCK_STREAM, 0, unix.ESOCKTNOSUPPORT},
		{"raw", unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_ICMP, nil},
		{"raw, no protocol", unix.AF_INET, unix.SOCK_RAW, 0, unix.EPROTONOSUPPORT},
		{"raw, not a protocol", unix.AF_INET, unix.SOCK_RAW, 263, unix.EINVAL},
		{"raw, negative", unix.AF_INET, unix.SOCK_RAW, -2, unix.EINVAL},
		{"raw, IPv6", unix.AF_INET6, unix.SOCK_RAW, 1, unix.EAFNOSUPPORT},
	}
	for _, tt := range tests {
		s, err := a.Socket(tt.domain, tt.typ|SOCK_OOB|unix.SOCK_NONBLOCK, tt.proto)
		if err != tt.want {
			t.Errorf("%s: %v, expected %v", tt.name, err, tt.want)
		}
		if err == nil {
			if _, err := s.Recv(nil, 0); err != unix.EAGAIN {
				t.Errorf("%s: recv: %v", tt.name, err)
			}
			s.Close()
		}
	}
}

func TestPacketAuxdata(t *testing.T) {
	_, a, end := newWire(t)
	frame := append([]byte{1, 0, 0x5e, 0, 0, 1, 2, 0, 0, 0, 0, 9, 0x88, 0x8e}, "authenticate"...)
	in := link.Frame{Data: frame, Meta: link.Meta{VLAN: true, VLANTCI: 5, VLANTPID: unix.ETH_P_8021Q,
		Type: link.Multicast, Checksum: link.ChecksumValid}}
	tests := []struct {
		name      string
		typ, want int
		status    uint32
		net       uint16
	}{
		{"raw", unix.SOCK_RAW, len(frame), ancillary.StatusUser | ancillary.StatusVLANValid | ancillary.StatusVLANTPIDValid | ancillary.StatusCsumValid, 14},
		{"cooked", unix.SOCK_DGRAM, len(frame) - 14, ancillary.StatusUser | ancillary.StatusVLANValid | ancillary.StatusVLANTPIDValid | ancillary.StatusCsumValid, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := openOOB(t, a, unix.AF_PACKET, tt.typ, HTONS(unix.ETH_P_PAE))
			if err := s.SetsockoptInt(unix.SOL_PACKET, unix.PACKET_AUXDATA, 1); err != nil {
				t.Fatal(err)
			}
			end.Inject(in)
			m := Msghdr{Iov: [][]byte{make([]byte, 5)}, Control: make([]byte, 100)}
			n, err := s.Recvmsg(&m, unix.MSG_TRUNC)
			if err != nil || n != tt.want || m.Flags&unix.MSG_TRUNC == 0 {
				t.Fatalf("%d, %v, flags %#x", n, err, m.Flags)
			}
			want := LinkLayer(2, unix.ETH_P_PAE, [6]byte{2, 0, 0, 0, 0, 9})
			want.Hatype, want.Pkttype = unix.ARPHRD_ETHER, unix.PACKET_OTHERHOST
			if m.Name != want {
				t.Errorf("from %v %+v", m.Name, m.Name)
			}
			c, _, ok := NextCmsg(m.Control[:m.ControlLen])
			if !ok || c.Level != unix.SOL_PACKET || c.Type != unix.PACKET_AUXDATA || len(c.Data) != ancillary.AuxdataLen {
				t.Fatalf("control %+v", c)
			}
			u, h := binary.NativeEndian.Uint32, binary.NativeEndian.Uint16
			if u(c.Data) != tt.status || int(u(c.Data[4:])) != tt.want || int(u(c.Data[8:])) != tt.want ||
				h(c.Data[14:]) != tt.net || h(c.Data[16:]) != 5 || h(c.Data[18:]) != unix.ETH_P_8021Q {
				t.Errorf("%x", c.Data)
			}
		})
	}
}

// TestPacketOptionsUnknown: what is the link's own business is no option.
func TestPacketOptionsUnknown(t *testing.T) {
	a, _, _ := newWire(t)
	s := openOOB(t, a, unix.AF_PACKET, unix.SOCK_RAW, 0)
	for _, name := range []int{unix.PACKET_VERSION, unix.PACKET_RX_RING, unix.PACKET_FANOUT, unix.PACKET_VNET_HDR,
		unix.PACKET_QDISC_BYPASS, unix.PACKET_TIMESTAMP, unix.PACKET_LOSS, unix.PACKET_RESERVE} {
		if err := s.SetsockoptInt(unix.SOL_PACKET, name, 1); err != unix.ENOPROTOOPT {
			t.Errorf("set %d: %v", name, err)
		}
		if _, err := s.GetsockoptInt(unix.SOL_PACKET, name); err != unix.ENOPROTOOPT {
			t.Errorf("get %d: %v", name, err)
		}
	}
}

// TestPacketTimestamp: when a frame left is told as packet(7) has it.
func TestPacketTimestamp(t *testing.T) {
	a, _, _ := newWire(t)
	s := openOOB(t, a, unix.AF_PACKET, unix.SOCK_DGRAM, 0)
	flags := unix.SOF_TIMESTAMPING_TX_SOFTWARE | unix.SOF_TIMESTAMPING_SOFTWARE
	if err := s.SetsockoptInt(unix.SOL_SOCKET, unix.SO_TIMESTAMPING, flags); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Sendto([]byte("x"), 0, LinkLayer(2, 0x88b5, [6]byte{2})); err != nil {
		t.Fatal(err)
	}
	m := Msghdr{Iov: [][]byte{make([]byte, 100)}, Control: make([]byte, 256)}
	n, err := s.Recvmsg(&m, unix.MSG_ERRQUEUE)
	if err != nil || n != 15 {
		t.Fatalf("%d, %v", n, err)
	}
	c, rest, _ := NextCmsg(m.Control[:m.ControlLen])
	if c.Type != unix.SO_TIMESTAMPING {
		t.Errorf("%+v", c)
	}
	if c, _, _ = NextCmsg(rest); c.Level != unix.SOL_PACKET || c.Type != unix.PACKET_TX_TIMESTAMP || len(c.Data) != 16 {
		t.Errorf("%+v", c)
	}
}

// TestRawEpoll: a raw socket is waited for like any other.
func TestRawEpoll(t *testing.T) {
	a, _, _ := newWire(t)
	s := openOOB(t, a, unix.AF_INET, unix.SOCK_RAW, 253)
	e, err := a.EpollCreate()
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	if err := e.Ctl(unix.EPOLL_CTL_ADD, s, EpollEvent{Events: unix.EPOLLIN, Data: 7}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Sendto([]byte("self"), 0, Inet4([4]byte{127, 0, 0, 1}, 0)); err != nil {
		t.Fatal(err)
	}
	evs := make([]EpollEvent, 1)
	if n, err := e.Wait(evs, time.Second); err != nil || n != 1 || evs[0].Data != 7 {
		t.Errorf("%d %v %+v", n, err, evs)
	}
}

// TestPacketReceiveAllocates: nothing, control messages and all.
func TestPacketReceiveAllocates(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	_, a, end := newWire(t)
	s := openOOB(t, a, unix.AF_PACKET, unix.SOCK_RAW, HTONS(unix.ETH_P_PAE))
	if err := s.SetsockoptInt(unix.SOL_PACKET, unix.PACKET_AUXDATA, 1); err != nil {
		t.Fatal(err)
	}
	in := link.Frame{Data: append(make([]byte, 12), 0x88, 0x8e, 0)}
	m := Msghdr{Iov: [][]byte{make([]byte, 100)}, Control: make([]byte, 100)}
	if n := testing.AllocsPerRun(100, func() {
		end.Inject(in)
		if _, err := s.Recvmsg(&m, 0); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
