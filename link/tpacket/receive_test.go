package tpacket

import (
	"bytes"
	"encoding/binary"
	"testing"
	"time"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"github.com/outband/outband/link"
)

func TestReceiveBytes(t *testing.T) {
	lb := newLab(t, 1500)
	l := lb.open(Options{EtherTypes: []uint16{experimental}})
	peer := lb.far.raw(0, false)
	before := time.Now()
	var want [][]byte
	for i, size := range []int{0, 1, 46, 100, 1486, 1499, 1500} {
		f := ethernet(lb.near.mac(), lb.far.mac(), pattern(size, byte(i)))
		want = append(want, f)
		_, err := unix.Write(peer, f)
		check(t, err)
	}
	for i, g := range receive(t, l, len(want)) {
		if !bytes.Equal(g.data, want[i]) {
			t.Errorf("frame %d of %d bytes: got %d other bytes", i, len(want[i]), len(g.data))
		}
		if g.WireLen != len(want[i]) || g.Type != link.Host || g.VLAN || g.GSO != link.GSONone || g.Checksum == link.ChecksumPartial {
			t.Errorf("frame %d: %+v", i, g.Meta)
		}
		if at := time.Unix(0, g.Time); g.Clock != link.ClockSoftware || at.Before(before) || at.After(time.Now()) {
			t.Errorf("frame %d: received at %v by clock %d", i, at, g.Clock)
		}
	}
	s := l.Stats()
	if s.RxFrames != 7 || s.RxBytes == 0 || s.RxDropped != 0 || s.RxTruncated != 0 {
		t.Errorf("stats %+v", s)
	}
}

func TestReceivePacketTypes(t *testing.T) {
	lb := newLab(t, 1500)
	other := link.MAC{2, 9, 9, 9, 9, 9}
	group := link.MAC{1, 0, 0x5e, 1, 2, 3}
	send := func() {
		peer := lb.far.raw(0, false)
		for _, dst := range []link.MAC{other, group, {255, 255, 255, 255, 255, 255}, lb.near.mac()} {
			_, err := unix.Write(peer, ethernet(dst, lb.far.mac(), nil))
			check(t, err)
		}
	}
	types := func(all []got) (p []link.PacketType) {
		for _, g := range all {
			p = append(p, g.Type)
		}
		return p
	}
	t.Run("default", func(t *testing.T) {
		l := lb.open(Options{AllEtherTypes: true})
		send()
		if p := types(receive(t, l, 3)); p[0] != link.Multicast || p[1] != link.Broadcast || p[2] != link.Host {
			t.Errorf("types %v", p)
		}
		if n := lb.near.link().Attrs().Promisc; n != 0 {
			t.Errorf("promiscuity is %d", n)
		}
	})
	t.Run("promiscuous", func(t *testing.T) {
		l := lb.open(Options{AllEtherTypes: true, Promiscuous: true})
		if n := lb.near.link().Attrs().Promisc; n != 1 {
			t.Errorf("promiscuity is %d", n)
		}
		send()
		if p := types(receive(t, l, 4)); p[0] != link.OtherHost {
			t.Errorf("types %v", p)
		}
	})
}

func TestFilter(t *testing.T) {
	all := []uint16{unix.ETH_P_IP, unix.ETH_P_IPV6, unix.ETH_P_ARP, experimental, 0x88b6}
	tests := []struct {
		name string
		o    Options
		want []uint16
	}{
		{"default", Options{}, []uint16{unix.ETH_P_IP, unix.ETH_P_ARP}},
		{"more types", Options{EtherTypes: []uint16{0x88b6}}, []uint16{unix.ETH_P_IP, unix.ETH_P_ARP, 0x88b6}},
		{"all types", Options{AllEtherTypes: true}, all},
		{"own", Options{Filter: assemble(t, bpf.LoadAbsolute{Off: 12, Size: 2},
			bpf.JumpIf{Cond: bpf.JumpEqual, Val: experimental, SkipFalse: 1},
			bpf.RetConstant{Val: 20}, bpf.RetConstant{Val: 0})}, []uint16{experimental}},
	}
	lb := newLab(t, 1500)
	peer := lb.far.raw(0, false)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := lb.open(tt.o)
			defer l.Close()
			for _, e := range all {
				f := ethernet(lb.near.mac(), lb.far.mac(), pattern(50, 0))
				binary.BigEndian.PutUint16(f[12:], e)
				_, err := unix.Write(peer, f)
				check(t, err)
			}
			for i, g := range receive(t, l, len(tt.want)) {
				if e := binary.BigEndian.Uint16(g.data[12:]); e != tt.want[i] {
					t.Errorf("frame %d is of type %#x, want %#x", i, e, tt.want[i])
				}
				if tt.o.Filter != nil && (len(g.data) != 20 || g.WireLen != 64 || l.Stats().RxTruncated != 1) {
					t.Errorf("cut to 20: %d bytes of %d", len(g.data), g.WireLen)
				}
			}
		})
	}
}

func assemble(t *testing.T, p ...bpf.Instruction) []bpf.RawInstruction {
	t.Helper()
	raw, err := bpf.Assemble(p)
	check(t, err)
	return raw
}

func TestReceiveVLAN(t *testing.T) {
	lb := newLab(t, 1500)
	l := lb.open(Options{})
	peer := lb.far.raw(0, false)
	for _, tpid := range []uint16{unix.ETH_P_8021Q, unix.ETH_P_8021AD} {
		plain := udpFrame(lb.near.mac(), lb.far.mac(), []byte("tagged"), false)
		tag := binary.BigEndian.AppendUint16(nil, tpid)
		tag = binary.BigEndian.AppendUint16(tag, 3<<13|42)
		f := append(append(append([]byte(nil), plain[:12]...), tag...), plain[12:]...)
		_, err := unix.Write(peer, f)
		check(t, err)
		g := receive(t, l, 1)[0]
		if !g.VLAN || g.VLANTCI != 3<<13|42 || g.VLANTPID != tpid {
			t.Errorf("tag %#x: %+v", tpid, g.Meta)
		}
		if !bytes.Equal(g.data, plain) {
			t.Errorf("tag %#x: frame is\n%x, want\n%x", tpid, g.data, plain)
		}
	}
}

func TestReceivePartialChecksum(t *testing.T) {
	lb := newLab(t, 1500)
	l := lb.open(Options{})
	lb.far.addr(farIP, nearIP, lb.near.mac())
	fd := lb.far.udp(farIP, 7000)
	check(t, unix.Sendto(fd, []byte("partial"), 0, &unix.SockaddrInet4{Addr: nearIP, Port: 7000}))
	g := receive(t, l, 1)[0]
	if g.Checksum != link.ChecksumPartial || !bytes.HasSuffix(g.data, []byte("partial")) {
		t.Errorf("checksum state %d, frame %x", g.Checksum, g.data)
	}
}

func TestReceiveSuperPacket(t *testing.T) {
	lb := newLab(t, 1500)
	lb.far.addr(farIP, nearIP, lb.near.mac())
	fd := lb.far.udp(farIP, 7000)
	check(t, unix.SetsockoptInt(fd, unix.IPPROTO_UDP, unix.UDP_SEGMENT, 1400))
	for _, o := range []Options{{}, {SlotSize: 256}, {SlotSize: MaxSlotSize, Slots: 8}} {
		l := lb.open(o)
		for _, size := range []int{1401, 2800, 30000, 45 * 1400} {
			payload := pattern(size, 1)
			check(t, unix.Sendto(fd, payload, 0, &unix.SockaddrInet4{Addr: nearIP, Port: 7000}))
			g := receive(t, l, 1)[0]
			if g.GSO != link.GSOUDP || g.GSOSize != 1400 || g.Checksum != link.ChecksumPartial {
				t.Errorf("%d bytes: %+v", size, g.Meta)
			}
			if g.WireLen != 42+size || !bytes.Equal(g.data[42:], payload) {
				t.Errorf("%d bytes: got %d, on the wire %d", size, len(g.data), g.WireLen)
			}
		}
		if s := l.Stats(); s.RxTruncated != 0 || s.RxDropped != 0 {
			t.Errorf("stats %+v", s)
		}
		l.Close()
	}
}

// Frames longer than a slot, among others, in order, more of them than there
// are buffers.
func TestReceiveLongFrames(t *testing.T) {
	lb := newLab(t, 9000)
	l := lb.open(Options{SlotSize: 512, EtherTypes: []uint16{experimental}})
	peer := lb.far.raw(0, false)
	var want [][]byte
	for i := range 40 {
		size := []int{9000, 20, 400, 5000, 430, 431}[i%6]
		f := ethernet(lb.near.mac(), lb.far.mac(), pattern(size, byte(i)))
		want = append(want, f)
		_, err := unix.Write(peer, f)
		check(t, err)
	}
	for i, g := range receive(t, l, len(want)) {
		if !bytes.Equal(g.data, want[i]) || g.WireLen != len(want[i]) {
			t.Errorf("frame %d of %d bytes: got %d, on the wire %d", i, len(want[i]), len(g.data), g.WireLen)
		}
	}
	if s := l.Stats(); s.RxTruncated != 0 {
		t.Errorf("stats %+v", s)
	}
}

func TestReceiveTruncated(t *testing.T) {
	lb := newLab(t, 9000)
	l := lb.open(Options{SlotSize: 512, LongBuffer: 1, EtherTypes: []uint16{experimental}})
	peer := lb.far.raw(0, false)
	f := ethernet(lb.near.mac(), lb.far.mac(), pattern(9000, 0))
	for range 3 { // the first alone fits the queue
		_, err := unix.Write(peer, f)
		check(t, err)
	}
	all := receive(t, l, 3)
	if !bytes.Equal(all[0].data, f) {
		t.Errorf("frame 0: %d bytes", len(all[0].data))
	}
	last := all[2]
	if len(last.data) != 512-dataOffset || last.WireLen != len(f) || !bytes.HasPrefix(f, last.data) {
		t.Errorf("frame 2: %d bytes, on the wire %d", len(last.data), last.WireLen)
	}
	if s := l.Stats(); s.RxTruncated == 0 || s.RxTruncated > 2 {
		t.Errorf("stats %+v", s)
	}
}

func TestReceiveOverflow(t *testing.T) {
	lb := newLab(t, 1500)
	l := lb.open(Options{Slots: 8, BlockSize: 4096, EtherTypes: []uint16{experimental}})
	if l.Slots() != 8 || l.SlotSize() != 2048 {
		t.Fatalf("%d slots of %d", l.Slots(), l.SlotSize())
	}
	peer := lb.far.raw(0, false)
	next := byte(0)
	write := func(n int) {
		for range n {
			_, err := unix.Write(peer, ethernet(lb.near.mac(), lb.far.mac(), []byte{next}))
			check(t, err)
			next++
		}
	}
	for round := range 3 {
		first := next
		write(20)
		for i, g := range receive(t, l, 8) {
			if g.data[14] != first+byte(i) {
				t.Errorf("round %d: frame %d is %d, want %d: the newest are dropped", round, i, g.data[14], first+byte(i))
			}
		}
		if s := l.Stats(); s.RxDropped != uint64(12*(round+1)) || s.RxFrames != uint64(8*(round+1)) {
			t.Errorf("round %d: %+v", round, s)
		}
	}
}

// TestLostBeforeAFrame has the ring overflow: the receiver of the frame that follows knows
// already how many were lost, and those before it come without.
func TestLostBeforeAFrame(t *testing.T) {
	lb := newLab(t, 1500)
	l := lb.open(Options{Slots: 8, SlotSize: 2048, BlockSize: 4096, EtherTypes: []uint16{experimental}})
	peer := lb.far.raw(0, false)
	write := func(n int) {
		for range n {
			_, err := unix.Write(peer, ethernet(lb.near.mac(), lb.far.mac(), []byte{1}))
			check(t, err)
		}
	}
	var frames [64]link.Frame
	take := func(limit, want int, lost uint64) {
		t.Helper()
		n := l.Receive(frames[:limit])
		if n != want || l.Lost() != lost {
			t.Errorf("%d frames and %d lost, want %d and %d", n, l.Lost(), want, lost)
		}
		l.Release()
	}
	for round := range uint64(3) {
		lost := round * 15
		write(20) // 8 fit
		take(3, 3, lost)
		write(1) // into a slot that is free again, behind 12 that were lost
		take(64, 5, lost)
		take(64, 1, lost+12)
		write(11) // and 3 more, of which Stats tells first
		if s := l.Stats(); s.RxDropped != lost+15 {
			t.Errorf("%d lost, want %d", s.RxDropped, lost+15)
		}
		take(64, 8, lost+15)
		write(1)
		take(64, 1, lost+15)
	}
}

// Views hold until Release, though Receive is called with few frames at a time,
// and no slot is handed out twice.
func TestReceiveInParts(t *testing.T) {
	lb := newLab(t, 1500)
	l := lb.open(Options{Slots: 4, BlockSize: 4096, EtherTypes: []uint16{experimental}})
	peer := lb.far.raw(0, false)
	for i := range 4 {
		_, err := unix.Write(peer, ethernet(lb.near.mac(), lb.far.mac(), []byte{byte(i)}))
		check(t, err)
	}
	frames := make([]link.Frame, 10)
	n := l.Receive(frames[:3])
	n += l.Receive(frames[n:])
	if n != 4 || l.Receive(frames[n:]) != 0 {
		t.Fatalf("%d frames", n)
	}
	for i, f := range frames[:n] {
		if f.Data[14] != byte(i) {
			t.Errorf("frame %d is %d", i, f.Data[14])
		}
		f.Data[14] = 99 // may be changed in place
	}
	l.Release()
	l.Release()
	if n := l.Receive(frames); n != 0 {
		t.Errorf("%d frames after release", n)
	}
}

func TestIgnoresOwn(t *testing.T) {
	lb := newLab(t, 1500)
	l := lb.open(Options{AllEtherTypes: true, Qdisc: true})
	check(t, l.Send(ethernet(lb.far.mac(), lb.near.mac(), []byte("out"))))
	_, err := unix.Write(lb.far.raw(0, false), ethernet(lb.near.mac(), lb.far.mac(), []byte("in")))
	check(t, err)
	if g := receive(t, l, 1)[0]; string(g.data[14:]) != "in" {
		t.Errorf("received %q", g.data[14:])
	}
}

func TestReceiveAllocs(t *testing.T) {
	lb := newLab(t, 9000)
	l := lb.open(Options{SlotSize: 2048, EtherTypes: []uint16{experimental}})
	peer := lb.far.raw(0, false)
	frames := make([]link.Frame, 16)
	for _, size := range []int{64, 9000} {
		f := ethernet(lb.near.mac(), lb.far.mac(), make([]byte, size))
		received := 0
		allocs := allocsPerRun(100, func() {
			unix.Write(peer, f)
			received += l.Receive(frames)
			l.Release()
		})
		if allocs != 0 || received == 0 {
			t.Errorf("%d bytes: %v allocations, %d frames", size, allocs, received)
		}
	}
}
