package wire

import (
	"encoding/binary"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/icmp"
	"github.com/outband/outband/inband/claim"
	"github.com/outband/outband/ipv4"
	"github.com/outband/outband/sockapi"
	"github.com/outband/outband/test/lab"
	"github.com/outband/outband/test/oracle"
)

func TestMain(m *testing.M) { lab.Main(m) }

var (
	more = flag.Int("wire.random", 300, "how many random cases of each kind to run beside the systematic ones")
	seed = flag.Uint64("wire.seed", 1, "of random cases")
	all  = flag.Bool("wire.all", false, "run all systematic cases, not every fourth")
	only = flag.String("wire.case", "", "show every case that contains this, whether it differs or not, and run no other")
)

// An errorCase is an ICMP message about a datagram that a socket has sent. Each
// number is a place in the list of its axis.
type errorCase [7]int

// The axes of an errorCase.
const (
	axisSocket = iota
	axisAsked  // IP_RECVERR
	axisMode   // IP_MTU_DISCOVER
	axisMessage
	axisMTU
	axisTo
	axisQuote
)

// A sender is a kind of socket.
type sender struct {
	name    string
	other   bool // the destination is in the network that device 1 reaches better
	proto   int
	typ     int
	connect bool
	set     func(p *Play, k *oracle.Sock)
	how     func(p *Play, k *oracle.Sock, b []byte, to sockapi.Sockaddr)
}

const ownPort, peerPort = 7001, 443

var senders = []sender{
	{name: "UDP, connected", connect: true},
	{name: "UDP", how: sendto},
	{name: "UDP, connected, of one byte", connect: true, how: sendLittle},
	{name: "UDP, bound to its address", how: sendto, set: func(p *Play, k *oracle.Sock) { k.Bind(p.Near(ownPort)) }},
	{name: "UDP, connected, bound to device 0", connect: true, other: true, set: bindDevice(0)},
	{name: "UDP, connected, bound to device 1", connect: true, other: true, set: bindDevice(1)},
	{name: "UDP, bound to device 0", other: true, set: bindDevice(0), how: sendto},
	{name: "UDP, connected, IP_UNICAST_IF 0", connect: true, other: true, set: unicastIf},
	{name: "UDP, IP_UNICAST_IF 0", other: true, set: unicastIf, how: sendto},
	{name: "UDP, IP_PKTINFO 0", other: true, how: sendInfo},
	{name: "UDP, connected, by device 1", connect: true, other: true},
	{name: "ping, connected", proto: unix.IPPROTO_ICMP, connect: true, how: sendEcho},
	{name: "ping", proto: unix.IPPROTO_ICMP, how: sendEcho},
	{name: "ping, bound to device 0", proto: unix.IPPROTO_ICMP, how: sendEcho, other: true, set: bindDevice(0)},
	{name: "raw 253", typ: unix.SOCK_RAW, proto: 253, how: sendto},
	{name: "raw 253, connected", typ: unix.SOCK_RAW, proto: 253, connect: true},
	{name: "raw 253, connected, of one byte", typ: unix.SOCK_RAW, proto: 253, connect: true, how: sendLittle},
	{name: "raw 253, connected, bound to device 0", typ: unix.SOCK_RAW, proto: 253, connect: true, other: true, set: bindDevice(0)},
	{name: "raw 253, with its header", typ: unix.SOCK_RAW, proto: 253, how: sendHeader,
		set: func(p *Play, k *oracle.Sock) { k.Set(unix.SOL_IP, unix.IP_HDRINCL, 1) }},
}

func bindDevice(d int) func(p *Play, k *oracle.Sock) {
	return func(p *Play, k *oracle.Sock) {
		k.SetBytes(unix.SOL_SOCKET, unix.SO_BINDTODEVICE, []byte(devices[d]))
	}
}

func unicastIf(p *Play, k *oracle.Sock) {
	k.SetBytes(unix.SOL_IP, unix.IP_UNICAST_IF, binary.BigEndian.AppendUint32(nil, uint32(p.Host.Index(0))))
}

func sendto(p *Play, k *oracle.Sock, b []byte, to sockapi.Sockaddr) { k.Sendto(b, 0, to) }

func sendLittle(p *Play, k *oracle.Sock, b []byte, to sockapi.Sockaddr) { k.Send(b[:1], 0) }

func sendInfo(p *Play, k *oracle.Sock, b []byte, to sockapi.Sockaddr) {
	info := append(oracle.Int(p.Host.Index(0)), make([]byte, 8)...)
	k.Sendmsg([][]byte{b}, oracle.Cmsg(unix.SOL_IP, unix.IP_PKTINFO, info), 0, to)
}

func sendEcho(p *Play, k *oracle.Sock, b []byte, to sockapi.Sockaddr) {
	copy(b, []byte{icmp.Echo, 0, 0, 0, 0, 0, 0, 1})
	k.Sendto(b, 0, to)
}

func sendHeader(p *Play, k *oracle.Sock, b []byte, to sockapi.Sockaddr) {
	f := ipv4.Fields{TTL: 64, Protocol: 253, Src: nearIP[0], Dst: to.AddrPort().Addr().As4(), DontFragment: true}
	b = b[:len(b)-f.HeaderLen()]
	b = append(make([]byte, f.HeaderLen()), b...)
	f.Put(b, len(b)-f.HeaderLen())
	k.Sendto(b, 0, to)
}

var modes = []int{unix.IP_PMTUDISC_WANT, unix.IP_PMTUDISC_DONT, unix.IP_PMTUDISC_DO, unix.IP_PMTUDISC_PROBE,
	unix.IP_PMTUDISC_INTERFACE, unix.IP_PMTUDISC_OMIT}

// messages are types and codes. The first is fragmentation needed.
var messages = func() (all [][2]uint8) {
	all = append(all, [2]uint8{3, 4})
	codes := map[int]int{3: 17, 4: 1, 5: 4, 11: 3, 12: 3}
	for typ := range 20 {
		for code := range max(codes[typ], 1) {
			if typ != 3 || code != 4 {
				all = append(all, [2]uint8{uint8(typ), uint8(code)})
			}
		}
	}
	return append(all, [][2]uint8{{3, 20}, {3, 255}, {8, 3}, {11, 255}, {12, 255}, {41, 0}, {42, 0}, {43, 0}, {255, 0}}...)
}()

var mtus = []int{1400, 0, 1, 68, 551, 552, 576, 1000, 1399, 1401, 1492, 1499, 1500, 1501, 65535}

// An addressee is where the message goes.
type addressee struct {
	name string
	dst  [4]byte // zero: the host
}

var addressees = []addressee{
	{"the host", [4]byte{}}, {"the subnet", [4]byte{10, 9, 0, 255}}, {"all", [4]byte{255, 255, 255, 255}},
	{"a group", [4]byte{224, 0, 0, 1}}, {"its other address", nearIP[1]},
}

// A quote is how the datagram is quoted.
type quote struct {
	name  string
	alter func(q []byte) []byte
}

// put returns a quote that says other bytes at some place.
func put(name string, at int, b ...byte) quote {
	return quote{name, func(q []byte) []byte { copy(q[at:], b); return q }}
}

// cut returns a quote of n bytes.
func cut(n int) quote {
	return quote{fmt.Sprintf("%d bytes", n), func(q []byte) []byte { return q[:min(n, len(q))] }}
}

// swap returns a quote that has two bytes in the other order.
func swap(name string, at ...int) quote {
	return quote{name, func(q []byte) []byte {
		for _, at := range at {
			q[at], q[at+1] = q[at+1], q[at]
		}
		return q
	}}
}

var quotes = []quote{
	{"as much as there is room for", func(q []byte) []byte { return q }},
	cut(28), cut(27), cut(20), cut(19), cut(8), cut(0), cut(29), cut(156), cut(100),
	{"with options", func(q []byte) []byte {
		q = slices.Insert(q, 20, 1, 1, 1, 0)
		q[0]++
		return q
	}},
	{"with options that it has not", func(q []byte) []byte { q[0] = 0x4f; return q }},
	put("too short a header", 0, 0x44), put("version 5", 0, 0x55), put("version 0", 0, 0x05),
	put("length 0", 2, 0, 0), put("length 29", 2, 0, 29), put("length 100", 2, 0, 100), put("length 552", 2, 2, 40),
	put("length of a GSO packet", 2, 0x2e, 0x1c), put("length 65535", 2, 255, 255),
	swap("length in the other order", 2), swap("length and offset in the other order", 2, 6),
	swap("length, identification and offset in the other order", 2, 4, 6),
	put("another identification", 4, 0x12, 0x34), put("without DF", 6, 0, 0), put("more fragments", 6, 0x20, 0),
	put("another TTL", 8, 1), put("another TOS", 1, 0xb8), put("another header checksum", 10, 0xde, 0xad),
	put("another checksum", 26, 0xde, 0xad), put("another UDP length", 24, 0xff, 0xff),
	put("another source port", 20, 9, 9), put("source address of the other device", 12, 10, 8, 0, 1),
	put("source address of nobody", 12, 192, 0, 2, 1), put("source 0.0.0.0", 12, 0, 0, 0, 0),
	put("source broadcast", 12, 255, 255, 255, 255),
	put("another destination port", 22, 9, 9), put("another protocol", 9, 6), put("protocol UDP", 9, 17),
	put("protocol raw", 9, 255), put("protocol ICMP", 9, 1),
}

// lengths are how many values each axis has.
var lengths = [len(errorCase{})]int{len(senders), 2, len(modes), len(messages), len(mtus), len(addressees), len(quotes)}

func (c errorCase) String() string {
	m := messages[c[axisMessage]]
	return fmt.Sprintf("%s/IP_RECVERR %d/mode %d/type %d code %d MTU %d/to %s/quote: %s", senders[c[axisSocket]].name, c[axisAsked],
		modes[c[axisMode]], m[0], m[1], mtus[c[axisMTU]], addressees[c[axisTo]].name, quotes[c[axisQuote]].name)
}

// errorCases returns the cases in which at most two axes are not what they are in
// the first one, and some random ones.
func errorCases(random int, r *rand.Rand) (all []errorCase) {
	seen := make(map[errorCase]bool)
	add := func(c errorCase) {
		if !seen[c] {
			seen[c] = true
			all = append(all, c)
		}
	}
	for a := range lengths {
		for b := range a {
			for i := range lengths[a] {
				for j := range lengths[b] {
					var c errorCase
					c[a], c[b] = i, j
					add(c)
				}
			}
		}
	}
	for range random {
		var c errorCase
		for a, n := range lengths {
			if a != axisMessage || r.IntN(2) == 0 {
				c[a] = r.IntN(n)
			}
		}
		add(c)
	}
	return all
}

// run performs the case, towards a destination that no other has had.
func (c errorCase) run(p *Play) {
	s := senders[c[axisSocket]]
	dst := [4]byte{198, 18, byte(p.Nth >> 8), byte(p.Nth)}
	if s.other {
		dst[1] = 19
	}
	to := sockapi.Inet4(dst, peerPort)
	k := s.open(p, c, to)
	send := func(n int) {
		if s.how == nil {
			k.Send(oracle.Data(n), 0)
		} else {
			s.how(p, k, oracle.Data(n), to)
		}
		p.Step()
	}
	mtu := func() {
		if s.connect {
			k.GetInt(unix.SOL_IP, unix.IP_MTU)
		}
	}
	send(1472)
	device, sent := p.Latest()
	if sent == nil {
		return
	}
	p.Host.Inject(device, c.message(device, sent))
	p.Step()
	k.Poll()
	k.Recvmsg(200, unix.MSG_ERRQUEUE|unix.MSG_DONTWAIT, 40, 2000)
	k.Recvfrom(100, unix.MSG_DONTWAIT)
	mtu()
	for range 3 {
		send(1472)
	}
	send(1300)
	mtu()
	k.Recvmsg(200, unix.MSG_ERRQUEUE|unix.MSG_DONTWAIT, 40, 2000)
	k.Error()
}

// open opens the case's socket.
func (s *sender) open(p *Play, c errorCase, to sockapi.Sockaddr) *oracle.Sock {
	typ := s.typ
	if typ == 0 {
		typ = unix.SOCK_DGRAM
	}
	k := p.Open("k", oracle.Near, unix.AF_INET, typ, s.proto)
	if s.set != nil {
		s.set(p, k)
	}
	if typ == unix.SOCK_DGRAM && s.name != "UDP, bound to its address" {
		k.Bind(sockapi.Inet4([4]byte{}, ownPort))
	}
	k.Set(unix.SOL_IP, unix.IP_MTU_DISCOVER, modes[c[axisMode]])
	k.Set(unix.SOL_IP, unix.IP_RECVERR, c[axisAsked])
	if s.connect {
		k.Connect(to)
	}
	return k
}

// message returns the frame about a datagram.
func (c errorCase) message(device int, sent []byte) []byte {
	q := slices.Clone(sent)
	if h, p, cause := ipv4.Parse(q); cause == ipv4.CauseNone && h.Protocol() == ipv4.ProtocolUDP && len(p) > 8 && h.FragmentOffset() == 0 {
		p[6], p[7] = 0, 0 // what the device may have left to do
	}
	q[4], q[5], q[10], q[11] = 0, 0, 0, 0 // chance
	if len(q) < 60 {
		q = append(q, make([]byte, 60-len(q))...) // for the alterations, and as Ethernet pads
	}
	q = quotes[c[axisQuote]].alter(q)
	m := messages[c[axisMessage]]
	b := icmp.AppendError(nil, m[0], m[1], icmp.FragmentationRest(mtus[c[axisMTU]]), q)
	return IP(device, ipv4.Fields{Protocol: ipv4.ProtocolICMP, Src: routerIP, Dst: addressees[c[axisTo]].dst}, b)
}

// TestErrors compares what ICMP messages do.
func TestErrors(t *testing.T) {
	linux := NewKernel(t)
	compareErrors(t, &Judge{Linux: linux, Ours: NewOurs(t, linux)}, excused)
}

// TestErrorsShared is TestErrors for stacks on shared addresses, on every rung.
func TestErrorsShared(t *testing.T) {
	for _, rung := range []claim.Rung{claim.TCX, claim.NFT, claim.Holder} {
		t.Run(rung.String(), func(t *testing.T) {
			t.Parallel()
			compareErrors(t, &Judge{Linux: NewKernel(t), Ours: NewShared(t, rung), Uncounted: true}, excusedShared)
		})
	}
}

// compareErrors compares all cases but those that are excused.
func compareErrors(t *testing.T, j *Judge, excused func(errorCase) bool) {
	cases := errorCases(*more, rand.New(rand.NewPCG(*seed, 1)))
	failed := 0
	for i, c := range cases {
		if !strings.Contains(c.String(), *only) || !*all && *only == "" && i%4 != 0 {
			continue
		}
		diff := j.Compare(c.run)
		if diff == "" && *only == "" || excused(c) {
			continue
		}
		if failed++; failed <= 20 {
			t.Errorf("%v\n%s", c, diff)
		}
	}
	t.Logf("%d cases, %d differ, %d lines compared with Linux", len(cases), failed, j.Calls)
}

// excused reports whether a case differs on purpose: see README's list.
//
//   - A datagram's own device or IP_UNICAST_IF is the way that it took, and the path MTU
//     that it meets is learnt for that; Linux looks for the way without them, and learns
//     nothing or that of another way.
//   - A datagram with its own header and DF that is longer than the path MTU is refused
//     with EMSGSIZE; Linux sends its own host an ICMP error too.
func excused(c errorCase) bool {
	if !needed(messages[c[axisMessage]]) {
		return false
	}
	name := senders[c[axisSocket]].name
	return strings.Contains(name, "IP_UNICAST_IF") || strings.Contains(name, "IP_PKTINFO") || strings.Contains(name, "with its header")
}

// excusedShared is excused on shared addresses. There what an error tells of a raw socket's
// path is the host's to know, since the in-band socket that holds its protocol is bound to
// nothing; in-band it is not believed if another address of the host's is quoted.
func excusedShared(c errorCase) bool {
	return excused(c) || needed(messages[c[axisMessage]]) && strings.HasPrefix(senders[c[axisSocket]].name, "raw") &&
		quotes[c[axisQuote]].name == "source address of the other device"
}

// needed reports whether a type and code are fragmentation needed.
func needed(m [2]uint8) bool {
	return m == [2]uint8{icmp.DestinationUnreachable, icmp.CodeFragmentation}
}
