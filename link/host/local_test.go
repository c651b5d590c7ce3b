package host

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/icmp"
	"github.com/outband/outband/inband"
	"github.com/outband/outband/inband/holder"
	"github.com/outband/outband/ipv4"
	"github.com/outband/outband/link"
)

// What an in-band server of the host answers, at whichever of the host's addresses, comes
// back once: by the ring on lo if there is one, else by the holder. So does what
// in-band programs send of themselves.
func TestHostLocal(t *testing.T) {
	for _, ringed := range []bool{true, false} {
		lb := newLab(t)
		h := lb.holders(t)
		o := Options{Source: h}
		if ringed {
			o.Ring = lb.ring(t)
			must(t, h.SetRings([]int32{1}))
		}
		k := lb.open(t, o)
		port := hold(t, h, holder.Request{}).Port()
		server := udp(t, lb.near, "0.0.0.0:7")
		for _, at := range []struct {
			src, dst [4]byte
			device   int32 // that the answer is said to come by without a ring
		}{{localhost, localhost, 1}, {[4]byte{127, 1, 2, 3}, [4]byte{127, 0, 0, 9}, 1}, {nearIP, nearIP, lb.device}, {nearIP, localhost, lb.device}} {
			must(t, k.Send(datagram(at.src, at.dst, port, 7, "question")))
			buf := make([]byte, 100)
			n, from, err := server.RecvFrom(buf, 0)
			must(t, err)
			if string(buf[:n]) != "question" || from != addrPort(at.src, port) {
				t.Fatalf("the server got %q from %v", buf[:n], from)
			}
			must(t, server.SendTo([]byte("answer"), from))
			g := receive(t, k, 1, toPort(port))[0]
			if g.payload() != "answer" || g.Type != link.Host || [4]byte(g.data[30:34]) != at.src || g.Clock != link.ClockSoftware {
				t.Errorf("ring %v: %+v", ringed, g)
			}
			if ringed && (g.Device != 0 || g.Holder != 0) || !ringed && (g.Device != at.device || g.Holder == 0) {
				t.Errorf("ring %v: %v to %v by device %d, holder %d", ringed, at.src, at.dst, g.Device, g.Holder)
			}
			none(t, k, port)
		}
	}
}

// A device without a ring is reached by the kernel, and what comes by it comes by the holder.
func TestDeviceWithoutRing(t *testing.T) {
	lb := newLab(t)
	h := lb.holders(t)
	k := lb.open(t, Options{Ring: lb.ring(t), Source: h})
	must(t, h.SetRings([]int32{1}))
	port := hold(t, h, holder.Request{}).Port()
	far := udp(t, lb.far, "0.0.0.0:7")
	must(t, far.SetOption(unix.SOL_SOCKET, unix.SO_BROADCAST, 1))
	must(t, far.SetOption(unix.SOL_IP, unix.IP_TTL, 9))
	must(t, far.SetOption(unix.SOL_IP, unix.IP_TOS, 0x28))
	must(t, k.Send(datagram(nearIP, farIP, port, 7, "there")))
	_, from, err := far.RecvFrom(make([]byte, 100), 0)
	must(t, err)
	for _, to := range []struct {
		addr [4]byte
		kind link.PacketType
		mac  link.MAC
	}{
		{from.Addr().As4(), link.Host, link.MAC{}}, {[4]byte{10, 9, 0, 255}, link.Broadcast, link.MAC{255, 255, 255, 255, 255, 255}},
	} {
		must(t, far.SendTo([]byte("back"), addrPort(to.addr, port)))
		g := receive(t, k, 1, toPort(port))[0]
		if g.payload() != "back" || g.Device != lb.device || g.Type != to.kind || link.MAC(g.data[:6]) != to.mac ||
			[4]byte(g.data[30:34]) != to.addr || [4]byte(g.data[26:30]) != farIP || g.data[15] != 0x28 || g.data[22] != 9 {
			t.Errorf("to %v: %+v", to.addr, g)
		}
	}
	none(t, k, port)
}

// A group's datagram reaches members beside us on this host, members elsewhere, and, as a
// copy that no ring sees, our own holder, ring or not.
func TestGroup(t *testing.T) {
	lb := newLab(t)
	h := lb.holders(t)
	k := lb.open(t, Options{Source: h})
	must(t, h.SetRings([]int32{lb.device}))
	port := hold(t, h, holder.Request{Port: 5353, ReuseAddr: true}).Port()
	here, there := udp(t, lb.near, "233.252.0.7:4000"), udp(t, lb.far, "0.0.0.0:4000")
	for _, m := range []struct {
		fd     int
		device int32
	}{{here.FD(), lb.device}, {there.FD(), 2}} {
		must(t, unix.SetsockoptIPMreqn(m.fd, unix.SOL_IP, unix.IP_ADD_MEMBERSHIP, &unix.IPMreqn{Multiaddr: group, Ifindex: m.device}))
	}
	for _, to := range []uint16{4000, port} {
		must(t, k.Send(datagram(nearIP, group, port, to, "all")))
	}
	buf := make([]byte, 10)
	for _, u := range []interface {
		RecvFrom([]byte, int) (int, netip.AddrPort, error)
	}{here, there} {
		if n, from, err := u.RecvFrom(buf, 0); err != nil || string(buf[:n]) != "all" || from != addrPort(nearIP, port) {
			t.Errorf("%q from %v, %v", buf[:n], from, err)
		}
	}
	g := receive(t, k, 1, toPort(port))[0]
	if g.Type != link.Multicast || g.Device != lb.device || link.MAC(g.data[:6]) != group.MulticastMAC() {
		t.Errorf("our copy: %+v", g)
	}
	none(t, k, port)
}

// The frame of a holder's datagram says all that the kernel knows.
func TestFrame(t *testing.T) {
	lb := newLab(t)
	h := lb.holders(t)
	k := lb.open(t, Options{Source: h})
	d := hold(t, h, holder.Request{})
	u := udp(t, lb.near, "127.0.0.1:0")
	options := string([]byte{1, 1, 148, 4, 0, 0, 1, 0})
	must(t, unix.SetsockoptString(u.FD(), unix.SOL_IP, unix.IP_OPTIONS, options))
	must(t, u.SetOption(unix.SOL_SOCKET, unix.SO_MARK, 99))
	must(t, u.SetOption(unix.SOL_SOCKET, unix.SO_PRIORITY, 4))
	must(t, u.SetOption(unix.SOL_UDP, unix.UDP_SEGMENT, 100))
	payload := string(make([]byte, 777))
	must(t, u.SendTo([]byte(payload), addrPort(localhost, d.Port())))
	g := receive(t, k, 1, toPort(d.Port()))[0]
	want := link.Meta{Time: g.Time, WireLen: link.HeaderLen + 28 + 8 + 777, GSO: link.GSOUDP, GSOSize: 100, Priority: 4, Mark: 99,
		Device: 1, Holder: d.ID(), Clock: link.ClockSoftware, Checksum: link.ChecksumValid}
	if g.Meta != want || g.Time == 0 {
		t.Errorf("%+v, want %+v", g.Meta, want)
	}
	if len(g.data) != g.WireLen || g.data[14] != 0x47 || string(g.data[34:42]) != options || string(g.data[50:]) != payload ||
		binary.BigEndian.Uint16(g.data[46:]) != 8+777 || binary.BigEndian.Uint16(g.data[48:]) != 0 {
		t.Errorf("frame % x", g.data[:60])
	}
	if s := k.Stats(); s.RxFrames != 1 || s.RxBytes != uint64(len(g.data)) {
		t.Errorf("%+v", s)
	}
}

// An ICMP error about our datagram, which no ring sees, comes as one: at the host itself,
// from another, and with a path's MTU.
func TestICMPError(t *testing.T) {
	lb := newLab(t)
	h := lb.holders(t)
	k := lb.open(t, Options{Source: h})
	port := hold(t, h, holder.Request{}).Port()
	for _, at := range []struct{ src, dst ipv4.Addr }{{localhost, ipv4.Addr{127, 0, 0, 9}}, {nearIP, farIP}} {
		sent := datagram(at.src, at.dst, port, 7, "nobody is there!")
		must(t, k.Send(sent))
		g := receive(t, k, 1, func(*link.Frame) bool { return true })[0]
		ip, payload, c := ipv4.Parse(g.data[link.HeaderLen:])
		if c != ipv4.CauseNone || ip.Protocol() != ipv4.ProtocolICMP || ip.Src() != at.dst || ip.Dst() != at.src || g.Type != link.Host {
			t.Fatalf("%v, %v", c, ip)
		}
		if m, c := icmp.Parse(payload); c != 0 || m.Type() != icmp.DestinationUnreachable || m.Code() != icmp.CodePort {
			t.Errorf("cause %v: % x", c, payload)
		}
		quoted, rest, ok := ipv4.ParseQuoted(payload[8:])
		if !ok || quoted.Src() != at.src || quoted.Dst() != at.dst || quoted.Protocol() != 17 ||
			string(rest[:4]) != string(sent[34:38]) || string(rest[8:]) != "nobody is there!" {
			t.Errorf("quotes % x", payload[8:])
		}
	}
	none(t, k, port)
}

// What an error tells beside its type stands where its RFC has it.
func TestErrorInfo(t *testing.T) {
	b := newBench(t)
	for _, e := range []holder.ICMPError{{Type: 3, Code: 4, Info: 1400}, {Type: 12, Info: 21}, {Type: 11, Info: 9}} {
		d := &b.rx.in[0]
		*d = holder.Datagram{Buffer: d.Buffer, Len: 8, Source: farIP, Destination: nearIP, Local: nearIP, Error: e}
		var f link.Frame
		b.rx.frame(&f, 0)
		got := [4]byte(f.Data[38:42])
		want := map[uint8][4]byte{3: {0, 0, 1400 >> 8, 1400 & 255}, 12: {21}, 11: {}}[e.Type]
		if got != want {
			t.Errorf("%+v: % x, want % x", e, got, want)
		}
	}
}

// What is not to be looped the host's own members do not get, whatever else a batch has,
// and on kernels that take no SO_PRIORITY as a control message too.
func TestNotLooped(t *testing.T) {
	kernel := takesPriority
	defer func() { takesPriority = kernel }()
	for _, taken := range []bool{true, false} {
		if !taken {
			takesPriority = func(int) bool { return false }
		}
		lb := newLab(t)
		k := lb.open(t, Options{})
		near, far := udp(t, lb.near, "0.0.0.0:7"), udp(t, lb.far, "0.0.0.0:7")
		for _, m := range []struct {
			u      *inband.UDP
			device int32
		}{{near, lb.device}, {far, 2}} {
			must(t, unix.SetsockoptIPMreqn(m.u.FD(), unix.SOL_IP, unix.IP_ADD_MEMBERSHIP, &unix.IPMreqn{Multiaddr: group, Ifindex: m.device}))
		}
		var batch []link.TxFrame
		var want, all []string
		for i := range 40 {
			f := link.TxFrame{Data: datagram(nearIP, group, 8, 7, fmt.Sprint(i)), Device: lb.device, NotLooped: i%3 == 0, Priority: uint32(i / 7 % 2)}
			if all = append(all, fmt.Sprint(i)); !f.NotLooped {
				want = append(want, fmt.Sprint(i))
			}
			batch = append(batch, f)
		}
		if n, err := k.SendBatch(batch); n != len(batch) || err != nil {
			t.Fatalf("%d, %v", n, err)
		}
		for u, want := range map[*inband.UDP][]string{near: want, far: all} {
			var got []string
			for b := make([]byte, 100); len(got) < len(want); {
				n, err := u.Recv(b, 0)
				must(t, err)
				got = append(got, string(b[:n]))
			}
			if !slices.Equal(got, want) {
				t.Errorf("received %q, want %q", got, want)
			}
			if n, err := u.Recv(make([]byte, 100), unix.MSG_DONTWAIT); err != unix.EAGAIN {
				t.Errorf("received %d bytes more, %v", n, err)
			}
		}
	}
}
