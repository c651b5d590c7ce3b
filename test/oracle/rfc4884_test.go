package oracle

import (
	"encoding/binary"
	"fmt"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/tcpip/checksum"

	"github.com/outband/outband/ipv4"
)

// extension returns an ICMP extension structure with a sum, which is replaced by
// the right one if it is 0xffff.
func extension(version byte, sum uint16, objects ...byte) []byte {
	b := append([]byte{version << 4, 0, 0, 0}, objects...)
	if sum == 0xffff {
		sum = ^checksum.Checksum(b, 0)
	}
	binary.BigEndian.PutUint16(b[2:], sum)
	return b
}

// extendedError returns an ICMP error about a UDP datagram from a's port 7001 to
// b's port 7002, which quotes n bytes and says it is words of 4.
func extendedError(r *Run, typ, code, words byte, n int, tail []byte) []byte {
	m := append([]byte{typ, code, 0, 0, 0, words, 0, 0}, make([]byte, n)...)
	f := ipv4.Fields{TTL: 60, Protocol: unix.IPPROTO_UDP, DontFragment: true, Src: r.Top.Addrs[Near], Dst: r.Top.Addrs[Far]}
	var h [20]byte
	f.Put(h[:], 8+500)
	udp := []byte{7001 >> 8, 7001 & 0xff, 7002 >> 8, 7002 & 0xff, 508 >> 8, 508 & 0xff, 0, 0}
	copy(m[8:], append(append(h[:], udp...), Data(500)...))
	m = append(m, tail...)
	binary.BigEndian.PutUint16(m[2:], ^checksum.Checksum(m, 0))
	return m
}

// extensionCases are of IP_RECVERR_RFC4884.
func extensionCases() (cases []Case) {
	object := []byte{0, 8, 1, 1, 0xde, 0xad, 0xbe, 0xef}
	errors := []struct {
		name            string
		typ, code, word byte
		quoted          int
		tail            []byte
	}{
		{"no length", 3, 1, 0, 128, extension(2, 0xffff, object...)},
		{"an object", 3, 1, 32, 128, extension(2, 0xffff, object...)},
		{"no objects", 3, 1, 32, 128, extension(2, 0xffff)},
		{"time exceeded", 11, 0, 32, 128, extension(2, 0xffff, object...)},
		{"parameter problem", 12, 0, 32, 128, extension(2, 0xffff, object...)},
		{"two objects", 3, 1, 32, 128, extension(2, 0xffff, append(object, object...)...)},
		{"longer quote", 3, 1, 40, 160, extension(2, 0xffff, object...)},
		{"length too small", 3, 1, 31, 124, extension(2, 0xffff, object...)},
		{"length too large", 3, 1, 200, 128, extension(2, 0xffff, object...)},
		{"length to the end", 3, 1, 32, 128, nil},
		{"half a header", 3, 1, 32, 128, []byte{0x20, 0}},
		{"no checksum", 3, 1, 32, 128, extension(2, 0, object...)},
		{"wrong checksum", 3, 1, 32, 128, extension(2, 0x1234, object...)},
		{"version 1", 3, 1, 32, 128, extension(1, 0x1234, object...)},
		{"an object of length 0", 3, 1, 32, 128, extension(2, 0xffff, 0, 0, 1, 1)},
		{"an object of length 3", 3, 1, 32, 128, extension(2, 0xffff, 0, 3, 1, 1)},
		{"an object cut", 3, 1, 32, 128, extension(2, 0xffff, 0, 12, 1, 1, 9, 9, 9, 9)},
		{"half an object", 3, 1, 32, 128, extension(2, 0xffff, 0, 4)},
		{"an empty object", 3, 1, 32, 128, extension(2, 0xffff, 0, 4, 1, 1)},
	}
	for _, e := range errors {
		for _, on := range []int{0, 1} {
			cases = append(cases, Case{Name: fmt.Sprintf("extension/%s, asked %d", e.name, on), Tops: []Topology{Wire}, Run: func(r *Run) {
				a, _ := r.Pair()
				raw := r.Open("raw", Far, unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_ICMP)
				a.Set(unix.SOL_IP, unix.IP_RECVERR, 1)
				a.Set(unix.SOL_IP, unix.IP_RECVERR_RFC4884, on)
				a.Send([]byte("x"), 0)
				r.SyncAnswers()
				raw.Sendto(extendedError(r, e.typ, e.code, e.word, e.quoted, e.tail), 0, r.Near(0))
				r.SyncAnswers()
				a.Recvmsg(200, unix.MSG_ERRQUEUE, 300)
				a.Error()
			}})
		}
	}
	cases = append(cases, Case{Name: "extension/to a raw socket", Tops: []Topology{Wire}, Run: func(r *Run) {
		a, _ := r.Pair()
		raw := r.Open("raw", Far, unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_ICMP)
		k := r.Open("k", Near, unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_UDP)
		k.Set(unix.SOL_IP, unix.IP_RECVERR, 1)
		k.Set(unix.SOL_IP, unix.IP_RECVERR_RFC4884, 1)
		a.Send([]byte("x"), 0)
		r.SyncAnswers()
		for range 2 {
			raw.Sendto(extendedError(r, 3, 1, 32, 128, extension(2, 0xffff, object...)), 0, r.Near(0))
			r.SyncAnswers()
			k.Recvmsg(200, unix.MSG_ERRQUEUE, 300)
			k.Set(unix.SOL_IP, unix.IP_HDRINCL, 1)
		}
	}})
	return cases
}
