package tpacket

import (
	"bytes"
	"errors"
	"sync"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/outband/outband/link"
)

// txOptions are the ways to send.
var txOptions = []struct {
	name string
	o    Options
}{
	{"sendmmsg", Options{}},
	{"sendmmsg through qdisc", Options{Qdisc: true}},
	{"sendto", Options{TxMode: TxSendto}},
}

func TestSend(t *testing.T) {
	lb := newLab(t, 1500)
	peer := lb.far.raw(experimental, false)
	for _, tt := range txOptions {
		t.Run(tt.name, func(t *testing.T) {
			l := lb.open(tt.o)
			defer l.Close()
			bytesSent := 0
			for i, size := range []int{0, 1, 46, 1000, 1499, 1500} {
				f := ethernet(lb.far.mac(), lb.near.mac(), pattern(size, byte(i)))
				check(t, l.Send(f))
				bytesSent += len(f)
				if g := read(t, peer); !bytes.Equal(g, f) {
					t.Errorf("%d bytes sent, %d others received", len(f), len(g))
				}
			}
			if s := l.Stats(); s.TxFrames != 6 || s.TxBytes != uint64(bytesSent) || s.TxErrors != 0 {
				t.Errorf("stats %+v", s)
			}
		})
	}
}

func TestSendBatchOrder(t *testing.T) {
	lb := newLab(t, 1500)
	for _, tt := range txOptions {
		t.Run(tt.name, func(t *testing.T) {
			l := lb.open(tt.o)
			peer := lb.far.open(Options{EtherTypes: []uint16{experimental}, Slots: 1024})
			defer l.Close()
			defer peer.Close()
			var frames []link.TxFrame
			for i := range 300 {
				frames = append(frames, link.TxFrame{Data: ethernet(lb.far.mac(), lb.near.mac(), pattern(i*4, byte(i)))})
			}
			n, err := l.SendBatch(frames)
			if n != len(frames) || err != nil {
				t.Fatalf("%d sent: %v", n, err)
			}
			for i, g := range receive(t, peer, len(frames)) {
				if !bytes.Equal(g.data, frames[i].Data) {
					t.Fatalf("frame %d: %d bytes", i, len(g.data))
				}
			}
			if n, err := l.SendBatch(nil); n != 0 || err != nil {
				t.Errorf("empty batch: %d, %v", n, err)
			}
		})
	}
}

func TestSendErrors(t *testing.T) {
	lb := newLab(t, 1500)
	fits := ethernet(lb.far.mac(), lb.near.mac(), make([]byte, 1500))
	long := ethernet(lb.far.mac(), lb.near.mac(), make([]byte, 1501))
	tagged := append([]byte(nil), fits...)
	copy(tagged[12:], []byte{0x81, 0, 0, 42})
	tagged = append(tagged, 0, 0, 0, 0)
	for _, tt := range txOptions {
		t.Run(tt.name, func(t *testing.T) {
			l := lb.open(tt.o)
			defer l.Close()
			peer := lb.far.open(Options{AllEtherTypes: true})
			defer peer.Close()
			expect := func(what string, err, want error) {
				t.Helper()
				if err != want {
					t.Errorf("%s: %v, want %v", what, err, want)
				}
			}
			expect("shorter than a header", l.Send(fits[:13]), unix.EINVAL)
			expect("empty", l.Send(nil), unix.EINVAL)
			expect("longer than the MTU", l.Send(long), unix.EMSGSIZE)
			expect("MTU", l.Send(fits), nil)
			expect("MTU and a tag", l.Send(tagged), nil)
			n, err := l.SendBatch([]link.TxFrame{{Data: fits}, {Data: fits}, {Data: long}, {Data: fits}})
			if n != 2 || err != unix.EMSGSIZE {
				t.Errorf("batch with one too long: %d, %v", n, err)
			}
			n, err = l.SendBatch([]link.TxFrame{{Data: fits}, {Data: fits[:3]}, {Data: fits}})
			if n != 1 || err != unix.EINVAL {
				t.Errorf("batch with one too short: %d, %v", n, err)
			}
			receive(t, peer, 5) // and nothing that failed is sent later
			check(t, l.Send(fits))
			receive(t, peer, 1)
			if s := l.Stats(); s.TxFrames != 6 || s.TxErrors != 5 || s.TxDropped != 0 {
				t.Errorf("stats %+v", s)
			}
		})
	}
}

func TestSendSpecial(t *testing.T) {
	lb := newLab(t, 1500)
	lb.far.addr(farIP, nearIP, lb.near.mac())
	fd := lb.far.udp(farIP, 7000)
	frame := func(size int) []byte {
		return udpFrame(lb.far.mac(), lb.near.mac(), pattern(size, 5), true)
	}
	partial := func(size, gso int) link.TxFrame {
		return link.TxFrame{Data: frame(size), PartialChecksum: true, CsumStart: 34, CsumOffset: 6, GSOSize: uint16(gso)}
	}
	for _, tt := range txOptions {
		t.Run(tt.name, func(t *testing.T) {
			l := lb.open(tt.o)
			defer l.Close()
			if c := l.Info().Caps; c&link.CapChecksum == 0 || c&link.CapGSO == 0 {
				t.Fatalf("caps %b", c)
			}
			whole := link.TxFrame{Data: udpFrame(lb.far.mac(), lb.near.mac(), []byte("whole"), false)}
			batch := []link.TxFrame{whole, partial(100, 0), whole, partial(3*1000+7, 1000), partial(64*900, 900), partial(5, 1472)}
			n, err := l.SendBatch(batch)
			if n != len(batch) || err != nil {
				t.Fatalf("%d sent: %v", n, err)
			}
			sizes := []int{5, 100, 5, 1000, 1000, 1000, 7}
			for range 64 {
				sizes = append(sizes, 900)
			}
			sizes = append(sizes, 5)
			var rest []byte
			for i, want := range sizes {
				g := read(t, fd)
				if len(g) != want {
					t.Fatalf("datagram %d has %d bytes, want %d", i, len(g), want)
				}
				if i >= 7 && i < 7+64 {
					rest = append(rest, g...)
				}
			}
			if !bytes.Equal(rest, pattern(64*900, 5)) {
				t.Error("segments carry other bytes")
			}
			tests := []struct {
				name string
				f    link.TxFrame
				want error
			}{
				{"segment beyond the MTU", partial(4000, 1473), unix.EMSGSIZE},
				{"segment at the MTU", partial(2000, 1472), nil},
				{"GSO without partial checksum", link.TxFrame{Data: frame(2000), GSOSize: 1000}, unix.EINVAL},
				{"checksum in the Ethernet header", link.TxFrame{Data: frame(10), PartialChecksum: true, CsumStart: 6}, unix.EINVAL},
				{"checksum behind the end", link.TxFrame{Data: frame(10), PartialChecksum: true, CsumStart: 50, CsumOffset: 1}, unix.EINVAL},
				{"GSO of half a header", link.TxFrame{Data: frame(10)[:41], PartialChecksum: true, CsumStart: 34, CsumOffset: 4, GSOSize: 9}, unix.EINVAL},
				{"longer than any datagram", link.TxFrame{Data: make([]byte, maxFrame+1), PartialChecksum: true, CsumStart: 34, CsumOffset: 6, GSOSize: 1000}, unix.EMSGSIZE},
				{"partial checksum beyond the MTU", partial(1473, 0), unix.EMSGSIZE},
			}
			for _, tt := range tests {
				n, err := l.SendBatch([]link.TxFrame{tt.f})
				if err != tt.want || (n == 1) != (tt.want == nil) {
					t.Errorf("%s: %d sent, %v, want %v", tt.name, n, err, tt.want)
				}
			}
			read(t, fd)
			read(t, fd)
		})
	}
}

// Queues that do not move fill: that of a TAP device, which nobody reads, and that
// of a token bucket, which lets nothing through.
func TestSendQueueFull(t *testing.T) {
	const much = 64 << 20
	tests := []struct {
		name  string
		o     Options
		limit int // bytes that the token bucket holds; 0: a TAP device instead
		want  error
	}{
		{"device full", Options{SendBuffer: much}, 0, unix.ENOBUFS},
		{"send buffer full", Options{Qdisc: true, SendBuffer: 8192}, much, unix.EAGAIN},
		{"qdisc full", Options{Qdisc: true, SendBuffer: much}, 9000, unix.ENOBUFS},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			lb := newLab(t, 1500)
			h := lb.near
			var drain func(int)
			if tt.limit == 0 {
				h.dev = "tap0"
				file := h.tun(h.dev, unix.IFF_TAP)
				defer file.Close()
				drain = func(n int) {
					for range n {
						_, err := file.Read(make([]byte, 2000))
						check(t, err)
					}
				}
			} else {
				q := &netlink.Tbf{Rate: 1000, Buffer: 2e9 >> 6, Limit: uint32(tt.limit), QdiscAttrs: netlink.QdiscAttrs{
					LinkIndex: h.link().Attrs().Index, Parent: netlink.HANDLE_ROOT, Handle: netlink.MakeHandle(1, 0)}}
				check(t, h.nl.QdiscAdd(q))
				drain = func(int) { check(t, h.nl.QdiscDel(q)) }
			}
			l := h.open(tt.o)
			frame := ethernet(lb.far.mac(), h.mac(), make([]byte, 1000))
			sent, err := 0, error(nil)
			for err == nil && sent < 100000 {
				if err = l.Send(frame); err == nil {
					sent++
				}
			}
			if sent == 0 || !errors.Is(err, tt.want) {
				t.Errorf("after %d frames: %v, want %v", sent, err, tt.want)
			}
			n, err := l.SendBatch([]link.TxFrame{{Data: frame}, {Data: frame}})
			if n != 0 || !errors.Is(err, tt.want) {
				t.Errorf("batch: %d, %v", n, err)
			}
			if s := l.Stats(); s.TxFrames != uint64(sent) || s.TxErrors != 2 || s.TxDropped != 2 {
				t.Errorf("%d sent, stats %+v", sent, s)
			}
			drain(sent)
			check(t, l.Send(frame)) // it moves again
		})
	}
}

func TestSendConcurrently(t *testing.T) {
	lb := newLab(t, 1500)
	for _, tt := range txOptions {
		t.Run(tt.name, func(t *testing.T) {
			l := lb.open(tt.o)
			peer := lb.far.open(Options{EtherTypes: []uint16{experimental}, Slots: 4096})
			defer l.Close()
			defer peer.Close()
			var wg sync.WaitGroup
			for i := range 8 {
				wg.Go(func() {
					f := ethernet(lb.far.mac(), lb.near.mac(), bytes.Repeat([]byte{byte(i)}, 100+i))
					for range 20 {
						if err := l.Send(f); err != nil {
							t.Error(err)
						}
						if n, err := l.SendBatch([]link.TxFrame{{Data: f}, {Data: f}, {Data: f}}); n != 3 || err != nil {
							t.Error(n, err)
						}
						l.Info()
						l.Stats()
					}
				})
			}
			wg.Wait()
			count := [8]int{}
			for _, g := range receive(t, peer, 8*20*4) {
				i := g.data[14]
				if !bytes.Equal(g.data[14:], bytes.Repeat([]byte{i}, 100+int(i))) {
					t.Errorf("frame of sender %d mixed up", i)
				}
				count[i]++
			}
			if count != [8]int{80, 80, 80, 80, 80, 80, 80, 80} {
				t.Errorf("frames of senders: %v", count)
			}
		})
	}
}

func TestSendAllocs(t *testing.T) {
	lb := newLab(t, 1500)
	f := ethernet(lb.far.mac(), lb.near.mac(), make([]byte, 64))
	udp := udpFrame(lb.far.mac(), lb.near.mac(), make([]byte, 64), true)
	batch := []link.TxFrame{{Data: f}, {Data: f}, {Data: f}, {Data: f}}
	gso := []link.TxFrame{{Data: udp, PartialChecksum: true, CsumStart: 34, CsumOffset: 6, GSOSize: 32}}
	for _, tt := range txOptions {
		t.Run(tt.name, func(t *testing.T) {
			l := lb.open(tt.o)
			defer l.Close()
			for name, send := range map[string]func() error{
				"Send":          func() error { return l.Send(f) },
				"Send error":    func() error { l.Send(f[:5]); return nil },
				"SendBatch":     func() error { _, err := l.SendBatch(batch); return err },
				"SendBatch GSO": func() error { _, err := l.SendBatch(gso); return err },
			} {
				if n := allocsPerRun(200, func() {
					if err := send(); err != nil {
						t.Error(err)
					}
				}); n != 0 {
					t.Errorf("%s: %v allocations", name, n)
				}
			}
		})
	}
}
