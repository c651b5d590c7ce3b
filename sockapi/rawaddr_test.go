package sockapi

import (
	"bytes"
	"encoding/hex"
	"net/netip"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// Little-endian machines only have these; the fields in network order are the
// same everywhere.
var rawAddresses = []struct {
	name string
	addr Sockaddr
	raw  string
}{
	{"none", Sockaddr{}, "0000 0000 00000000 0000000000000000"},
	{"inet", Inet4([4]byte{192, 0, 2, 1}, 53), "0200 0035 c0000201 0000000000000000"},
	{"inet6", InetAddrPort(netip.MustParseAddrPort("[2001:db8::1]:53")),
		"0a00 0035 00000000 20010db8000000000000000000000001 00000000"},
	{"inet6 scope and flow", Sockaddr{Family: unix.AF_INET6, Port: 1, IfIndex: 7, Extra: 0x12345, addr: [16]byte{0xfe, 0x80, 15: 1}},
		"0a00 0001 00012345 fe800000000000000000000000000001 07000000"},
	{"packet", LinkLayer(3, 0x0800, [6]byte{2, 0, 0, 0, 0, 9}), "1100 0800 03000000 0000 00 06 0200000000090000"},
	{"packet of others", Sockaddr{Family: unix.AF_PACKET, IfIndex: 3, Hatype: 1, Pkttype: 3, Halen: 6},
		"1100 0000 03000000 0100 03 06 0000000000000000"},
	{"packet of InfiniBand", Sockaddr{Family: unix.AF_PACKET, IfIndex: 3, Hatype: 32, Halen: 20, path: strings.Repeat("i", 20)},
		"1100 0000 03000000 2000 00 14" + strings.Repeat("69", 20)},
	{"netlink", Netlink(0x1234, 0x11), "1000 0000 34120000 11000000"},
	{"vsock", Vsock(2, 1024), "2800 0000 00040000 02000000 00000000"},
	{"unix unnamed", Unix(""), "0100"},
	{"unix path", Unix("/x"), "0100 2f7800"},
	{"unix abstract", Unix("@ab"), "0100 006162"},
	{"unix abstract with NULs", Unix("@a\x00b"), "0100 00610062"},
	{"unix abstract, empty name", Unix("@"), "0100 00"},
	{"unix longest", Unix(strings.Repeat("p", 108)), "0100" + strings.Repeat("70", 108)},
	{"other family", RawSockaddr(unix.AF_CAN, []byte{0, 0, 5, 0, 0, 0}), "1d00 0000 05000000"},
}

func TestSockaddrBytes(t *testing.T) {
	for _, tt := range rawAddresses {
		t.Run(tt.name, func(t *testing.T) {
			want, err := hex.DecodeString(strings.ReplaceAll(tt.raw, " ", ""))
			if err != nil {
				t.Fatal(err)
			}
			if got := tt.addr.Raw(); !bytes.Equal(got, want) {
				t.Errorf("Raw() = %x, want %x", got, want)
			}
			var buf [addrSize]byte
			if got := decodeSockaddr(&buf, copy(buf[:], want)); !tt.addr.IsZero() && got != tt.addr {
				t.Errorf("decoded %+v, want %+v", got, tt.addr)
			}
		})
	}
}

func TestSockaddrOfOddLengths(t *testing.T) {
	// Whatever the kernel says the length is, no decoding panics, and what is
	// not there is zero.
	for _, tt := range rawAddresses {
		full := tt.addr.Raw()
		for n := -1; n <= addrSize+9; n++ {
			var buf [addrSize]byte
			copy(buf[:], full[:max(min(n, len(full)), 0)])
			a := decodeSockaddr(&buf, n)
			if n < familyLen && a != (Sockaddr{}) || n >= familyLen && a.Family != tt.addr.Family {
				t.Errorf("%s cut to %d bytes: %+v", tt.name, n, a)
			}
			if n < inet4Len && (a.Port != 0 || a.AddrPort().Port() != 0) {
				t.Errorf("%s cut to %d bytes: port %d", tt.name, n, a.Port)
			}
		}
	}
	var buf [addrSize]byte
	a := Unix(strings.Repeat("p", 300))
	if n := a.encode(&buf); n <= unix.SizeofSockaddrUnix || n > addrSize {
		t.Errorf("a path that is too long gives %d bytes, which Linux would not refuse", n)
	}
}

func TestSockaddrString(t *testing.T) {
	for _, tt := range []struct {
		addr Sockaddr
		want string
	}{
		{Sockaddr{}, "none"},
		{Inet4([4]byte{192, 0, 2, 1}, 53), "192.0.2.1:53"},
		{InetAddrPort(netip.MustParseAddrPort("[fe80::1%7]:53")), "[fe80::1%7]:53"},
		{InetAddrPort(netip.AddrPort{}), "none"},
		{Unix("@ab"), "@ab"},
		{LinkLayer(3, 0x0800, [6]byte{2, 0, 0, 0, 0, 9}), "packet 3 0x0800 020000000009"},
		{Netlink(7, 1), "netlink 7 0x1"},
		{Vsock(2, 1024), "vsock 2:1024"},
		{RawSockaddr(unix.AF_CAN, []byte{1}), "family 29 01"},
	} {
		if got := tt.addr.String(); got != tt.want {
			t.Errorf("%q, want %q", got, tt.want)
		}
	}
}

func TestZones(t *testing.T) {
	for zone, want := range map[string]uint32{"": 0, "7": 7, "lo": 1, "nosuch0": 0} {
		if got := scope(zone); got != want && zone != "lo" || zone == "lo" && got == 0 {
			t.Errorf("scope(%q) = %d, want %d", zone, got, want)
		}
	}
}

func FuzzDecodeSockaddr(f *testing.F) {
	for _, tt := range rawAddresses {
		f.Add(tt.addr.Raw())
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		var buf, again [addrSize]byte
		a := decodeSockaddr(&buf, copy(buf[:], raw))
		n := a.encode(&again)
		if b := decodeSockaddr(&again, n); a != b {
			t.Errorf("%x is %+v, encoded and decoded %+v", raw, a, b)
		}
		_ = a.String()
	})
}

// Linux looks at the length of an address before its family (inet_bind, udp_sendmsg).
func TestLengthOfAnotherFamilysAddress(t *testing.T) {
	for data, want := range map[int]unix.Errno{13: unix.EINVAL, 14: unix.EAFNOSUPPORT, 15: unix.EAFNOSUPPORT} {
		a := RawSockaddr(200, make([]byte, data))
		if got := a.notInet(); got != want {
			t.Errorf("%d bytes behind the family: %v, want %v", data, got, want)
		}
	}
}
