// Epollserver waits with epoll(7) on a packet socket, prints what it receives and
// answers HELLO: Ethernet frames of one protocol, without IP.
//
//	epollserver --dev near0
//
// prints
//
//	server is listening
//	Received: hello server!
//	sending message = HELLO
package main

import (
	"bytes"
	"flag"
	"fmt"
	"log"

	"github.com/outband/outband/link/tpacket"
	"github.com/outband/outband/sockapi"
	"github.com/outband/outband/stack"
	"golang.org/x/sys/unix"
)

// experimental is an EtherType for experiments on one network (IEEE 802, 9.2.4).
const experimental = 0x88b5

func main() {
	dev := flag.String("dev", "", "network device")
	proto := flag.Uint("proto", experimental, "EtherType; 0x888e is ETH_P_PAE, 3 ETH_P_ALL")
	count := flag.Int("count", 0, "stop after so many messages (0: never)")
	flag.Parse()

	st := must(stack.New(stack.Config{}))
	defer st.Close()
	ifc := must(st.AddLink(must(tpacket.Open(*dev, received(uint16(*proto)))), stack.InterfaceConfig{}))
	api := sockapi.New(st)
	s := must(api.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|sockapi.SOCK_OOB, sockapi.HTONS(uint16(*proto))))
	check(s.Bind(sockapi.LinkLayer(ifc.Index(), uint16(*proto), [6]byte{})))

	ep := must(api.EpollCreate())
	defer ep.Close()
	check(ep.Ctl(unix.EPOLL_CTL_ADD, s, sockapi.EpollEvent{Events: unix.EPOLLIN}))
	fmt.Println("server is listening")
	events := make([]sockapi.EpollEvent, 10)
	buf := make([]byte, 1500)
	for served := 0; *count == 0 || served < *count; {
		for range must(ep.Wait(events, -1)) {
			n, from, err := s.Recvfrom(buf, 0)
			check(err)
			if from.Pkttype == unix.PACKET_OUTGOING {
				continue // our own answer, which ETH_P_ALL shows us too
			}
			// Short frames are padded with zeros on the wire.
			fmt.Printf("Received: %s\n", bytes.TrimRight(buf[:n], "\x00"))
			fmt.Println("sending message = HELLO")
			to := from
			to.Pkttype = 0
			must(s.Sendto([]byte("HELLO"), 0, to))
			served++
		}
	}
}

// received says which frames the link is to pass on: else it is those of IPv4 only.
func received(proto uint16) tpacket.Options {
	if proto == unix.ETH_P_ALL {
		return tpacket.Options{AllEtherTypes: true}
	}
	return tpacket.Options{EtherTypes: []uint16{proto}}
}

func must[T any](v T, err error) T { check(err); return v }

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
