package memory

import (
	"bytes"
	"encoding/binary"
	"testing"

	"gvisor.dev/gvisor/pkg/tcpip/checksum"

	"github.com/outband/outband/link"
)

func TestPoolRecycles(t *testing.T) {
	var p Pool
	for _, n := range []int{0, 1, 256, 257, 2048, 2049, 16 << 10, 65536 + 64} {
		b := p.Get(n)
		if len(b) != n {
			t.Fatalf("Get(%d) has %d bytes", n, len(b))
		}
		if cap(b) == 0 {
			t.Fatalf("Get(%d) has no capacity", n)
		}
		p.Put(b)
		c := p.Get(n)
		if &b[:1][0] != &c[:1][0] {
			t.Errorf("Get(%d) did not return the buffer given back last", n)
		}
		p.Put(c)
	}
	huge := p.Get(1 << 20)
	kept := p.Kept()
	p.Put(huge)
	if p.Kept() != kept {
		t.Error("a buffer of no class was kept")
	}
}

func TestPoolIsBounded(t *testing.T) {
	var p Pool
	for range 1000 {
		p.Put(make([]byte, 65536+64))
		p.Put(make([]byte, 2048))
	}
	if n := p.Kept(); n > 2*(keepBytes+65536+64) {
		t.Errorf("%d bytes kept", n)
	}
}

func TestQueueOrderAcrossGrowth(t *testing.T) {
	q := NewQueue(100, 1<<20)
	frames := make([]link.Frame, 7)
	next, want := byte(0), byte(0)
	pop := func() {
		n := q.Pop(frames)
		for i := range frames[:n] {
			if frames[i].Data[0] != want || frames[i].WireLen != int(want) {
				t.Fatalf("got frame %d, want %d", frames[i].Data[0], want)
			}
			want++
		}
		q.Release()
	}
	for range 20 {
		for range 10 {
			if !q.Push([]byte{next}, &link.Meta{WireLen: int(next)}) {
				t.Fatalf("full at %d", q.Len())
			}
			next++
		}
		pop()
	}
	for q.Len() > 0 {
		pop()
	}
	if next != want || q.bytes != 0 {
		t.Errorf("%d pushed, %d popped, %d bytes left", next, want, q.bytes)
	}
}

func TestQueueAllocs(t *testing.T) {
	q := NewQueue(100, 1<<20)
	frames := make([]link.Frame, 32)
	data := make([]byte, 1400)
	var meta link.Meta
	cycle := func() {
		for range 32 {
			q.Push(data, &meta)
		}
		q.Pop(frames)
		q.Release()
	}
	cycle()
	if n := testing.AllocsPerRun(100, cycle); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// datagram returns a frame with an IPv4 or IPv6 header, after tags of 4 bytes, and
// without checksums.
func datagram(v6 bool, tags int, protocol byte, payload int) []byte {
	f := make([]byte, 12, 2000)
	for range tags {
		f = append(f, 0x81, 0, 0, 5)
	}
	var ip []byte
	if v6 {
		f = append(f, 0x86, 0xdd)
		ip = make([]byte, 40)
		ip[0], ip[6] = 0x60, protocol
		binary.BigEndian.PutUint16(ip[4:], uint16(payload))
	} else {
		f = append(f, 0x08, 0)
		ip = make([]byte, 24)
		ip[0], ip[9] = 0x46, protocol
		binary.BigEndian.PutUint16(ip[2:], uint16(24+payload))
		copy(ip[20:], []byte{1, 1, 1, 0})
	}
	for i := len(ip) - 8; i < len(ip)-4; i++ {
		ip[i] |= byte(i)
	}
	f = append(f, ip...)
	for i := range payload {
		f = append(f, byte(i*7))
	}
	return f
}

func TestFindOffload(t *testing.T) {
	mutate := func(f []byte, at int, b byte) []byte { f[at] = b; return f }
	tests := []struct {
		name  string
		frame []byte
		want  Offload
		ok    bool
	}{
		{"IPv4 UDP", datagram(false, 0, 17, 20), Offload{14, 38, 6, 17, true}, true},
		{"IPv4 TCP, one tag", datagram(false, 1, 6, 20), Offload{18, 42, 16, 6, true}, true},
		{"IPv6 UDP, two tags", datagram(true, 2, 17, 20), Offload{22, 62, 6, 17, false}, true},
		{"three tags", datagram(false, 3, 17, 20), Offload{}, false},
		{"ICMP", datagram(false, 0, 1, 20), Offload{}, false},
		{"ARP", mutate(datagram(false, 0, 17, 20), 13, 6), Offload{}, false},
		{"fragment", mutate(datagram(false, 0, 17, 20), 20, 0x20), Offload{}, false},
		{"later fragment", mutate(datagram(false, 0, 17, 20), 21, 9), Offload{}, false},
		{"header of 16 bytes", mutate(datagram(false, 0, 17, 20), 14, 0x44), Offload{}, false},
		{"header of 60 bytes in 44", mutate(datagram(false, 0, 17, 20), 14, 0x4f), Offload{}, false},
		{"version 5", mutate(datagram(false, 0, 17, 20), 14, 0x56), Offload{}, false},
		{"version 5 as IPv6", mutate(datagram(true, 0, 17, 20), 14, 0x50), Offload{}, false},
		{"UDP header cut", datagram(false, 0, 17, 7), Offload{}, false},
		{"TCP header cut", datagram(true, 0, 6, 19), Offload{}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, ok := FindOffload(tt.frame)
			if ok != tt.ok || ok && got != tt.want {
				t.Errorf("FindOffload = %+v, %v; want %+v, %v", got, ok, tt.want, tt.ok)
			}
			for n := range tt.frame {
				short := bytes.Clone(tt.frame[:n])
				Mend(short)
				var s Segmenter
				if s.Init(short, 3) {
					s.Next(nil)
				}
			}
		})
	}
}

// verify reports whether the transport checksum of a whole datagram is right.
func verify(f []byte, v6 bool, network, start int) bool {
	segment := f[start:]
	from, to := network+12, network+20
	if v6 {
		from, to = network+8, network+40
	}
	protocol := f[network+9]
	if v6 {
		protocol = f[network+6]
	}
	sum := checksum.Checksum(f[from:to], uint16(protocol))
	sum = checksum.Combine(sum, uint16(len(segment)))
	return checksum.Checksum(segment, sum) == 0xffff
}

func TestMend(t *testing.T) {
	for _, v6 := range []bool{false, true} {
		for _, protocol := range []byte{6, 17} {
			for _, payload := range []int{20, 21, 1001} {
				f := datagram(v6, 0, protocol, payload)
				o, _ := FindOffload(f)
				if !Mend(f) || !verify(f, v6, o.Network, o.Start) {
					t.Errorf("IPv6 %v, protocol %d, %d bytes: the sum is wrong", v6, protocol, payload)
				}
				if v6 {
					continue
				}
				sum := binary.BigEndian.Uint16(f[o.Start+o.Offset:])
				padded := append(bytes.Clone(f), 0xde, 0xad)
				Mend(padded)
				if got := binary.BigEndian.Uint16(padded[o.Start+o.Offset:]); got != sum {
					t.Errorf("padding changed the sum from %#x to %#x", sum, got)
				}
			}
		}
	}
}

func TestFill(t *testing.T) {
	f := datagram(false, 0, 17, 100)
	o, _ := FindOffload(f)
	want := MendedSum(f, o)
	pseudo := checksum.Combine(checksum.Checksum(f[o.Network+12:o.Network+20], 17), 100)
	binary.BigEndian.PutUint16(f[o.Start+o.Offset:], pseudo)
	if !Fill(f, o.Start, o.Offset) || binary.BigEndian.Uint16(f[o.Start+o.Offset:]) != want {
		t.Error("the sum is wrong")
	}
	if Fill(f, len(f)-7, 6) || Fill(f, 65535, 65535) {
		t.Error("a sum beyond the end was filled in")
	}
	zero := []byte{0xff, 0xff, 0, 0}
	if Fill(zero, 0, 2); binary.BigEndian.Uint16(zero[2:]) != 0xffff {
		t.Error("a sum of 0 must be sent as 0xffff (RFC 768)")
	}
}

func TestSegmenter(t *testing.T) {
	for _, v6 := range []bool{false, true} {
		f := datagram(v6, 1, 17, 8+1000)
		binary.BigEndian.PutUint16(f[22:], 0xfffe) // identification, which wraps round
		var s Segmenter
		if !s.Init(f, 300) {
			t.Fatal("refused")
		}
		o := s.o
		var payload, buf []byte
		n := 0
		for buf = s.Next(buf); buf != nil; buf = s.Next(buf) {
			got, ok := FindOffload(buf)
			if !ok || got != o || !verify(buf, v6, o.Network, o.Start) {
				t.Fatalf("segment %d is damaged", n)
			}
			if !v6 {
				ip := buf[o.Network:o.Start]
				if id := binary.BigEndian.Uint16(ip[4:]); id != uint16(0xfffe+n) {
					t.Errorf("segment %d has identification %#x", n, id)
				}
				if checksum.Checksum(ip, 0) != 0xffff {
					t.Errorf("segment %d: IP header checksum", n)
				}
			}
			payload = append(payload, buf[o.Start+8:]...)
			n++
		}
		if n != 4 || !bytes.Equal(payload, f[o.Start+8:]) {
			t.Errorf("IPv6 %v: %d segments, %d bytes", v6, n, len(payload))
		}
	}
	var s Segmenter
	if s.Init(datagram(false, 0, 17, 100), 0) || s.Init(datagram(false, 0, 6, 100), 10) {
		t.Error("no size, or TCP: must be refused")
	}
	if !s.Init(datagram(false, 0, 17, 8), 10) || s.Next(nil) == nil || s.Next(nil) != nil {
		t.Error("an empty datagram is one segment")
	}
}

func BenchmarkSegmenter(b *testing.B) {
	f := datagram(false, 0, 17, 8+1400)
	buf := make([]byte, 0, 2000)
	b.ReportAllocs()
	for b.Loop() {
		var s Segmenter
		s.Init(f, 700)
		for buf = s.Next(buf); len(buf) > 0; {
			next := s.Next(buf)
			if next == nil {
				break
			}
		}
	}
}
