// Udp sends a datagram, or prints those that come, over a stack of its own:
//
//	udp --dev near0 --addr 10.9.0.1/24                          # prints "hello from 10.9.0.2:37145"
//	udp --dev far0 --addr 10.9.0.2/24 --to 10.9.0.1:4000 hello
package main

import (
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
	to := flag.String("to", "", "address and port to send to; without: receive on port 4000")
	flag.Parse()

	st := must(stack.New(stack.Config{}))
	defer st.Close()
	ifc := must(st.AddLink(must(tpacket.Open(*dev, tpacket.Options{})), stack.InterfaceConfig{}))
	check(ifc.AddAddress(must(netip.ParsePrefix(*addr))))
	s := must(sockapi.New(st).Socket(unix.AF_INET, unix.SOCK_DGRAM|sockapi.SOCK_OOB, 0))

	if *to != "" {
		peer := sockapi.InetAddrPort(must(netip.ParseAddrPort(*to)))
		check(s.Solicit(peer, 0)) // or the program could end before the peer's address is known
		must(s.Sendto([]byte(flag.Arg(0)), 0, peer))
		return
	}
	check(s.Bind(sockapi.Inet4([4]byte{}, 4000)))
	for buf := make([]byte, 65536); ; {
		n, from, err := s.Recvfrom(buf, 0)
		check(err)
		fmt.Printf("%s from %s\n", buf[:n], from)
	}
}

func must[T any](v T, err error) T { check(err); return v }

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
