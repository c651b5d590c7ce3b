// Oob-net-icmp is EVL's demo of that name: it answers pings by itself, frame by
// frame, on a packet socket. The stack below has no address, so that nobody else
// answers; the ARP requests for --addr are answered here too.
//
//	oob-net-icmp -i near0 --addr 10.9.0.1
//
// prints, for a ping from a neighbour,
//
//	listening to interface near0
//	[1] count=42, proto=0x806, ifindex=2, type=1, halen=6, mac=02:00:0a:09:00:02
//	.. ARP reply sent: 42
//	[2] count=98, proto=0x800, ifindex=2, type=0, halen=6, mac=02:00:0a:09:00:02
//	.. ICMP reply sent: 98
//
// With -d it prints the fields and the bytes of requests and replies too.
package main

import (
	"encoding/binary"
	"encoding/hex"
	"flag"
	"fmt"
	"log"
	"net"
	"net/netip"

	"github.com/outband/outband/ether"
	"github.com/outband/outband/icmp"
	"github.com/outband/outband/ipv4"
	"github.com/outband/outband/link"
	"github.com/outband/outband/link/tpacket"
	"github.com/outband/outband/sockapi"
	"github.com/outband/outband/stack"
	"golang.org/x/sys/unix"
)

// maxFrame is how much of a frame is looked at.
const maxFrame = 65536

// A responder answers for one address.
type responder struct {
	ip            [4]byte
	mac           link.MAC
	debug, silent bool
}

func main() {
	log.SetFlags(0)
	log.SetPrefix("oob-net-icmp: ")
	var r responder
	var dev string
	flag.StringVar(&dev, "i", "", "network device")
	flag.StringVar(&dev, "dev", "", "network device, as -i")
	addr := flag.String("addr", "", "address to answer for, which nobody else has")
	count := flag.Int("count", 0, "stop after so many replies to pings (0: never)")
	flag.BoolVar(&r.debug, "d", false, "print the fields and the bytes of requests and replies")
	flag.BoolVar(&r.silent, "s", false, "print nothing")
	flag.Parse()

	r.ip = must(netip.ParseAddr(*addr)).As4()
	l := must(tpacket.Open(dev, tpacket.Options{AllEtherTypes: true}))
	r.mac = l.Info().HardwareAddr
	st := must(stack.New(stack.Config{}))
	defer st.Close()
	ifc := must(st.AddLink(l, stack.InterfaceConfig{}))
	s := must(sockapi.New(st).Socket(unix.AF_PACKET, unix.SOCK_RAW|sockapi.SOCK_OOB, sockapi.HTONS(unix.ETH_P_ALL)))
	check(s.Bind(sockapi.LinkLayer(ifc.Index(), unix.ETH_P_ALL, link.MAC{})))

	r.say("listening to interface %s", dev)
	buf := make([]byte, maxFrame)
	for frames, replies := 1, 0; *count == 0 || replies < *count; {
		m := sockapi.Msghdr{Iov: [][]byte{buf}}
		n := must(s.OobRecvmsg(&m, nil, 0))
		if m.Name.Pkttype == unix.PACKET_OUTGOING {
			continue // our own
		}
		r.say("[%d] count=%d, proto=%#x, ifindex=%d, type=%d, halen=%d, mac=%s", frames, n, m.Name.Extra,
			m.Name.IfIndex, m.Name.Pkttype, m.Name.Halen, net.HardwareAddr(buf[6:12]))
		frames++
		kind, reply := r.answer(buf[:n])
		if reply == nil {
			r.say("*** not an ICMP request - dropped")
			continue
		}
		out := sockapi.Msghdr{Iov: [][]byte{reply}} // to the device that the socket is bound to
		r.say(".. %s reply sent: %d", kind, must(s.OobSendmsg(&out, nil, 0)))
		if kind == "ICMP" {
			replies++
		}
	}
}

// answer turns a request into its reply, in place; nil if it is none to us.
func (r *responder) answer(frame []byte) (kind string, reply []byte) {
	h, _, ok := ether.Parse(frame)
	if !ok {
		return "", nil
	}
	switch h.Type() {
	case ether.TypeARP:
		return "ARP", r.answerARP(frame)
	case ether.TypeIPv4:
		return "ICMP", r.answerPing(frame)
	}
	return "", nil
}

// answerPing turns an echo request into a reply (RFC 792).
func (r *responder) answerPing(frame []byte) []byte {
	h, payload, c := ipv4.Parse(frame[link.HeaderLen:])
	if c != ipv4.CauseNone || h.IsFragment() || h.Protocol() != ipv4.ProtocolICMP || h.Dst() != r.ip ||
		len(payload) < icmp.HeaderLen || payload[0] != icmp.Echo || icmp.Checksum(payload) != 0 {
		return nil
	}
	frame = frame[:link.HeaderLen+len(h)+len(payload)] // without what padded it
	r.show("request", frame, h, payload)
	src := h.Src()
	copy(frame[link.HeaderLen+12:], r.ip[:])
	copy(frame[link.HeaderLen+16:], src[:]) // the sum of the header stays what it is
	payload[0], payload[2], payload[3] = icmp.EchoReply, 0, 0
	binary.BigEndian.PutUint16(payload[2:], icmp.Checksum(payload))
	r.address(frame)
	r.show("reply", frame, h, payload)
	return frame
}

// Offsets in an ARP packet for IPv4 over Ethernet, in bytes (RFC 826).
const (
	arpOperation = 6
	arpSender    = 8
	arpTarget    = 18
	arpTargetIP  = 24
	arpLen       = 28
)

// answerARP turns an ARP request for our address into a reply.
func (r *responder) answerARP(frame []byte) []byte {
	p := frame[link.HeaderLen:]
	if len(p) < arpLen || binary.BigEndian.Uint16(p[arpOperation:]) != 1 || [4]byte(p[arpTargetIP:arpLen]) != r.ip {
		return nil
	}
	binary.BigEndian.PutUint16(p[arpOperation:], 2)
	copy(p[arpTarget:arpLen], p[arpSender:arpTarget])
	copy(p[arpSender:], r.mac[:])
	copy(p[arpSender+6:], r.ip[:])
	r.address(frame)
	return frame[:link.HeaderLen+arpLen]
}

// address sends a frame back to where it came from.
func (r *responder) address(frame []byte) {
	h := ether.Header(frame)
	ether.Put(frame, h.Source(), r.mac, h.Type())
}

// show prints what -d asks for.
func (r *responder) show(what string, frame []byte, h ipv4.Header, payload []byte) {
	if !r.debug {
		return
	}
	r.say("%s: icmp_type=%d, icmp_id=%d, icmp_seq=%d, ip_hl=%d, ip_v=4, ip_len=%d, ip_p=%d, ip_sum=%#x", what,
		payload[0], binary.BigEndian.Uint16(payload[4:]), binary.BigEndian.Uint16(payload[6:]),
		len(frame[link.HeaderLen:len(frame)-len(payload)])/4, len(frame)-link.HeaderLen, h.Protocol(),
		binary.BigEndian.Uint16(frame[link.HeaderLen+10:]))
	r.say("%s", hex.Dump(frame))
}

func (r *responder) say(format string, args ...any) {
	if !r.silent {
		fmt.Printf(format+"\n", args...)
	}
}

func must[T any](v T, err error) T { check(err); return v }

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
