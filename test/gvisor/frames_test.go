package gvisor

import (
	"encoding/binary"
	"math/rand/v2"

	"github.com/outband/outband/arp"
	"github.com/outband/outband/icmp"
	"github.com/outband/outband/ipv4"
	"github.com/outband/outband/link"
	"github.com/outband/outband/udp"
)

// A step is some frames that are fed one after the other, and what they are.
type step struct {
	kind   string
	frames [][]byte
}

// A source makes steps at random.
type source struct {
	*rand.Rand
	id uint16
}

// kinds are how steps are made.
var kinds = []struct {
	name string
	make func(r *source) [][]byte
}{
	{"datagram", func(r *source) [][]byte { return one(r.datagram(far, near, 1472)) }},
	{"datagram to all", func(r *source) [][]byte {
		return one(r.datagram(far, [][4]byte{{10, 9, 0, 255}, {255, 255, 255, 255}}[r.IntN(2)], 1472))
	}},
	{"datagram to another host", func(r *source) [][]byte { return one(r.datagram(far, [4]byte{10, 9, 0, 7}, 100)) }},
	{"datagram from a martian", func(r *source) [][]byte {
		src := [][4]byte{{127, 0, 0, 1}, {224, 1, 2, 3}, {255, 255, 255, 255}, near}
		return one(r.datagram(src[r.IntN(len(src))], near, 100))
	}},
	{"datagram to loopback", func(r *source) [][]byte { return one(r.datagram(far, [4]byte{127, 0, 0, 1}, 100)) }},
	{"datagram without checksum", func(r *source) [][]byte {
		f := r.datagram(far, near, 100)
		f[40], f[41] = 0, 0
		return one(f)
	}},
	{"datagram, a bit wrong", func(r *source) [][]byte { return one(r.flip(r.datagram(far, near, 200), 34)) }},
	{"datagram, a bit of the IP header wrong", func(r *source) [][]byte { return one(r.flipHeader(r.datagram(far, near, 200))) }},
	{"datagram, padded", func(r *source) [][]byte {
		return one(append(r.datagram(far, near, 20), make([]byte, r.IntN(20))...))
	}},
	{"datagram, cut", func(r *source) [][]byte {
		f := r.datagram(far, near, 200)
		return one(f[:14+r.IntN(len(f)-14)])
	}},
	{"datagram, other length", func(r *source) [][]byte {
		f := r.datagram(far, near, 200)
		binary.BigEndian.PutUint16(f[38:], uint16(r.IntN(2*len(f))))
		return one(f)
	}},
	{"echo", func(r *source) [][]byte { return one(r.icmp(r.echo(1472), near)) }},
	{"echo to all", func(r *source) [][]byte { return one(r.icmp(r.echo(100), [4]byte{10, 9, 0, 255})) }},
	{"echo, a bit wrong", func(r *source) [][]byte { return one(r.flip(r.icmp(r.echo(100), near), 34)) }},
	{"echo, cut", func(r *source) [][]byte {
		m := r.echo(20)
		return one(r.ip(ipv4.Fields{Protocol: 1, Dst: near}, m[:r.IntN(len(m))]))
	}},
	{"other ICMP", func(r *source) [][]byte {
		return one(r.icmp(icmp.AppendEcho(nil, 16+uint8(r.IntN(200)), 1, 1, r.data(40)), near))
	}},
	{"ICMP error about nothing", func(r *source) [][]byte {
		q := r.datagram(near, far, 30)[14:]
		return one(r.icmp(icmp.AppendError(nil, 3, uint8(r.IntN(16)), 0, q), near))
	}},
	{"unknown protocol", func(r *source) [][]byte {
		return one(r.ip(ipv4.Fields{Protocol: 100 + uint8(r.IntN(20)), Dst: near}, r.data(1480)))
	}},
	{"fragments", func(r *source) [][]byte { return r.fragments(r.IntN(6000)) }},
	{"fragments, shuffled", func(r *source) [][]byte { return r.shuffled(r.fragments(r.IntN(6000))) }},
	{"fragments, some twice", func(r *source) [][]byte {
		f := r.fragments(1500 + r.IntN(4000))
		at := r.IntN(len(f) - 1) // not the last, which would begin anew
		return append(append(append([][]byte(nil), f[:at+1]...), f[at]), f[at+1:]...)
	}},
	{"fragments, one lost", func(r *source) [][]byte {
		f := r.fragments(1500 + r.IntN(4000))
		at := r.IntN(len(f))
		return append(append([][]byte(nil), f[:at]...), f[at+1:]...)
	}},
	{"fragments, overlapping", func(r *source) [][]byte { return r.overlapping() }},
	{"echo in fragments", func(r *source) [][]byte {
		return r.cut(r.echo(1500+r.IntN(4000)), ipv4.ProtocolICMP)
	}},
	{"ARP request", func(r *source) [][]byte { return one(arpRequest([4]byte{10, 9, 0, byte(1 + r.IntN(3))})) }},
	{"ARP, a bit wrong", func(r *source) [][]byte { return one(r.flip(arpRequest(near), 14)) }},
}

func one(f []byte) [][]byte { return [][]byte{f} }

// step makes one.
func (r *source) step() step {
	k := kinds[r.IntN(len(kinds))]
	return step{k.name, k.make(r)}
}

// data returns up to n random bytes.
func (r *source) data(n int) []byte {
	b := make([]byte, r.IntN(n+1))
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// ip returns the frame of an IP packet.
func (r *source) ip(f ipv4.Fields, payload []byte) []byte {
	if f.Src == ([4]byte{}) {
		f.Src = far
	}
	f.TTL = uint8(1 + r.IntN(255))
	b := make([]byte, link.HeaderLen+f.HeaderLen()+len(payload))
	dst := nearMAC
	if f.Dst[3] == 255 {
		dst = [6]byte{255, 255, 255, 255, 255, 255}
	}
	copy(b, dst[:])
	copy(b[6:], farMAC[:])
	b[12] = 8
	n := f.Put(b[link.HeaderLen:], len(payload))
	copy(b[link.HeaderLen+n:], payload)
	return b
}

// datagram returns a frame with up to n bytes of payload, to a port that is
// open or not.
func (r *source) datagram(src, dst [4]byte, n int) []byte {
	r.id++
	return r.ip(ipv4.Fields{ID: r.id, Protocol: 17, Src: src, Dst: dst, DontFragment: r.IntN(2) == 0}, r.udp(src, dst, r.data(n)))
}

func (r *source) udp(src, dst [4]byte, data []byte) []byte {
	b := make([]byte, udp.HeaderLen+len(data))
	copy(b[udp.HeaderLen:], data)
	udp.Put(b, src, dst, uint16(1+r.IntN(65535)), []uint16{9, 9, 10, 11}[r.IntN(4)], len(data))
	return b
}

func (r *source) echo(n int) []byte {
	return icmp.AppendEcho(nil, icmp.Echo, uint16(r.Uint32()), uint16(r.Uint32()), r.data(n))
}

func (r *source) icmp(m []byte, dst [4]byte) []byte {
	r.id++
	return r.ip(ipv4.Fields{ID: r.id, Protocol: ipv4.ProtocolICMP, Dst: dst}, m)
}

// flip inverts one bit behind from, all else stays, checksums too.
func (r *source) flip(f []byte, from int) []byte {
	f[from+r.IntN(len(f)-from)] ^= 1 << r.IntN(8)
	return f
}

// flipHeader inverts a bit of the IP header, and mends its checksum or not.
func (r *source) flipHeader(f []byte) []byte {
	f[14+r.IntN(20)] ^= 1 << r.IntN(8)
	if n := int(f[14]&15) * 4; r.IntN(4) > 0 && n >= 20 && 14+n <= len(f) {
		f[24], f[25] = 0, 0
		binary.BigEndian.PutUint16(f[24:], ipv4.Checksum(f[14:14+n]))
	}
	return f
}

// fragments returns a datagram with n bytes of payload in pieces.
func (r *source) fragments(n int) [][]byte {
	data := r.data(0)
	for len(data) < n {
		data = append(data, byte(r.Uint32()))
	}
	return r.cut(r.udp(far, near, data), ipv4.ProtocolUDP)
}

// cut returns an IP payload in fragments of random sizes.
func (r *source) cut(whole []byte, proto uint8) (out [][]byte) {
	r.id++
	for at := 0; at < len(whole) || at == 0; {
		n := min(8*(1+r.IntN(185)), len(whole)-at)
		out = append(out, r.ip(ipv4.Fields{ID: r.id, Protocol: proto, Dst: near, FragmentOffset: at,
			MoreFragments: at+n < len(whole)}, whole[at:at+n]))
		at += n
	}
	return out
}

func (r *source) shuffled(f [][]byte) [][]byte {
	r.Shuffle(len(f), func(i, j int) { f[i], f[j] = f[j], f[i] })
	return f
}

// overlapping returns fragments of which the second reaches back into the first.
func (r *source) overlapping() [][]byte {
	whole := r.udp(far, near, make([]byte, 1000))
	r.id++
	f := ipv4.Fields{ID: r.id, Protocol: 17, Dst: near, MoreFragments: true}
	first := r.ip(f, whole[:504])
	f.FragmentOffset, f.MoreFragments = 8*(1+r.IntN(62)), false
	return [][]byte{first, r.ip(f, whole[f.FragmentOffset:])}
}

func arpRequest(target [4]byte) []byte {
	b := make([]byte, link.HeaderLen+arp.Len)
	copy(b, []byte{255, 255, 255, 255, 255, 255})
	copy(b[6:], farMAC[:])
	copy(b[12:], []byte{8, 6, 0, 1, 8, 0, 6, 4, 0, 1})
	copy(b[22:], farMAC[:])
	copy(b[28:], far[:])
	copy(b[38:], target[:])
	return b
}
