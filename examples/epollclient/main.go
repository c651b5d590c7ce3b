// Epollclient sends a message to an epollserver, waits with epoll(7) for the answer
// and prints it, once a second. The message goes to every station unless --to names
// one.
//
//	epollclient --dev far0 --count 1
//
// prints
//
//	Sentbuffer : hello server!
//	Received : HELLO
package main

import (
	"bytes"
	"flag"
	"fmt"
	"log"
	"net"
	"time"

	"github.com/outband/outband/link/tpacket"
	"github.com/outband/outband/sockapi"
	"github.com/outband/outband/stack"
	"golang.org/x/sys/unix"
)

// experimental is an EtherType for experiments on one network (IEEE 802, 9.2.4).
const experimental = 0x88b5

func main() {
	dev := flag.String("dev", "", "network device")
	to := flag.String("to", "ff:ff:ff:ff:ff:ff", "the server's hardware address")
	proto := flag.Uint("proto", experimental, "EtherType; 0x888e is ETH_P_PAE")
	count := flag.Int("count", 0, "stop after so many messages (0: never)")
	flag.Parse()

	st := must(stack.New(stack.Config{}))
	defer st.Close()
	// Without being told, the link passes frames of IPv4 on only.
	options := tpacket.Options{EtherTypes: []uint16{uint16(*proto)}}
	ifc := must(st.AddLink(must(tpacket.Open(*dev, options)), stack.InterfaceConfig{}))
	api := sockapi.New(st)
	s := must(api.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|sockapi.SOCK_OOB, sockapi.HTONS(uint16(*proto))))
	check(s.Bind(sockapi.LinkLayer(ifc.Index(), uint16(*proto), [6]byte{})))
	server := sockapi.LinkLayer(ifc.Index(), uint16(*proto), [6]byte(must(net.ParseMAC(*to))))

	ep := must(api.EpollCreate())
	defer ep.Close()
	check(ep.Ctl(unix.EPOLL_CTL_ADD, s, sockapi.EpollEvent{Events: unix.EPOLLIN}))
	events := make([]sockapi.EpollEvent, 10)
	buf := make([]byte, 1500)
	for i := 1; ; i++ {
		must(s.Sendto([]byte("hello server!"), 0, server))
		fmt.Println("Sentbuffer : hello server!")
		if must(ep.Wait(events, 5*time.Second)) == 0 {
			log.Fatal("no answer")
		}
		n, _, err := s.Recvfrom(buf, 0)
		check(err)
		// Short frames are padded with zeros on the wire.
		fmt.Printf("Received : %s\n", bytes.TrimRight(buf[:n], "\x00"))
		if i == *count {
			return
		}
		time.Sleep(time.Second)
	}
}

func must[T any](v T, err error) T { check(err); return v }

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
