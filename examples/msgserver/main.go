// Msgserver receives datagrams with recvmsg(2) into two buffers, a small one that
// holds most of them and a large one for what overflows, and prints what the layers
// below know of each: the control messages. It answers with sendmsg(2), from the
// address that was asked.
//
//	msgserver --dev near0 --addr 10.9.0.1/24
//
// prints
//
//	listening on 0.0.0.0:4000
//	19 bytes from 10.9.0.2:51234: 19 in the small buffer, 0 in the large one
//	  to 10.9.0.1, interface 2
//	  TTL 9
//	  TOS 0x10
package main

import (
	"encoding/binary"
	"flag"
	"fmt"
	"log"
	"net/netip"

	"github.com/outband/outband/link/tpacket"
	"github.com/outband/outband/sockapi"
	"github.com/outband/outband/stack"
	"golang.org/x/sys/unix"
)

func main() {
	dev := flag.String("dev", "", "network device")
	addr := flag.String("addr", "", "our own address and its network, such as 10.9.0.1/24")
	port := flag.Int("port", 4000, "port to listen on")
	count := flag.Int("count", 0, "stop after so many datagrams (0: never)")
	flag.Parse()

	st := must(stack.New(stack.Config{}))
	defer st.Close()
	ifc := must(st.AddLink(must(tpacket.Open(*dev, tpacket.Options{})), stack.InterfaceConfig{}))
	check(ifc.AddAddress(must(netip.ParsePrefix(*addr))))
	s := must(sockapi.New(st).Socket(unix.AF_INET, unix.SOCK_DGRAM|sockapi.SOCK_OOB, 0))
	check(s.Bind(sockapi.Inet4([4]byte{}, uint16(*port))))
	// Ask for what the kernel keeps to itself otherwise.
	for _, option := range []int{unix.IP_PKTINFO, unix.IP_RECVTTL, unix.IP_RECVTOS} {
		check(s.SetsockoptInt(unix.IPPROTO_IP, option, 1))
	}
	fmt.Println("listening on", must(s.Getsockname()))
	for i := 0; *count == 0 || i < *count; i++ {
		serve(s)
	}
}

// serve receives one datagram and answers it.
func serve(s *sockapi.Socket) {
	var small [128]byte
	var large [1400]byte
	var control [256]byte
	m := sockapi.Msghdr{Iov: [][]byte{small[:], large[:]}, Control: control[:]}
	n := must(s.Recvmsg(&m, 0))
	inSmall := min(n, len(small))
	fmt.Printf("%d bytes from %s: %d in the small buffer, %d in the large one\n", n, m.Name, inSmall, n-inSmall)
	if m.Flags&unix.MSG_TRUNC != 0 {
		fmt.Println("  and more that fits in neither")
	}
	var asked [4]byte
	rest := m.Control[:m.ControlLen]
	for c, next, ok := sockapi.NextCmsg(rest); ok; c, next, ok = sockapi.NextCmsg(next) {
		switch c.Type {
		case unix.IP_PKTINFO: // struct in_pktinfo: interface, local address, destination
			asked = [4]byte(c.Data[4:8])
			fmt.Printf("  to %s, interface %d\n", netip.AddrFrom4([4]byte(c.Data[8:12])), binary.NativeEndian.Uint32(c.Data))
		case unix.IP_TTL:
			fmt.Printf("  TTL %d\n", c.Int())
		case unix.IP_TOS:
			fmt.Printf("  TOS %#x\n", c.Int())
		}
	}
	answer := sockapi.Msghdr{
		Name:    m.Name,
		Iov:     [][]byte{[]byte("got: "), small[:inSmall]},
		Control: sockapi.AppendPktInfo(nil, 0, asked),
	}
	must(s.Sendmsg(&answer, 0))
}

func must[T any](v T, err error) T { check(err); return v }

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
