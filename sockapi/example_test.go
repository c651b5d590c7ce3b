package sockapi_test

import (
	"fmt"
	"log"
	"net"
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/link"
	"github.com/outband/outband/link/pipe"
	"github.com/outband/outband/sockapi"
	"github.com/outband/outband/stack"
)

// must returns what a call returned, or ends the example.
func must[T any](v T, err error) T {
	check(err)
	return v
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

// host makes a host of a link: in a program the link is tpacket.Open's, over a device.
func host(l link.Link, prefix string) *sockapi.API {
	st := must(stack.New(stack.Config{}))
	ifc := must(st.AddLink(l, stack.InterfaceConfig{}))
	check(ifc.AddAddress(netip.MustParsePrefix(prefix)))
	return sockapi.New(st)
}

// hosts makes two hosts at the ends of a wire in memory.
func hosts() (near, far *sockapi.API, end func()) {
	a, b := pipe.New(pipe.Options{})
	near, far = host(a, "10.9.0.1/24"), host(b, "10.9.0.2/24")
	return near, far, func() {
		check(near.Stack().Close())
		check(far.Stack().Close())
	}
}

const udp = unix.SOCK_DGRAM | sockapi.SOCK_OOB

var server = sockapi.Inet4([4]byte{10, 9, 0, 2}, 7)

// Two hosts exchange datagrams. Without SOCK_OOB the same calls would go to sockets of the
// kernel's.
func Example() {
	near, far, end := hosts()
	defer end()

	s := must(far.Socket(unix.AF_INET, udp, 0))
	check(s.Bind(server))
	c := must(near.Socket(unix.AF_INET, udp, 0))
	check(c.Bind(sockapi.Inet4([4]byte{10, 9, 0, 1}, 4000)))
	check(c.Connect(server))
	must(c.Send([]byte("hello"), 0))

	buf := make([]byte, 1500)
	n, from, err := s.Recvfrom(buf, 0)
	check(err)
	fmt.Printf("%s from %s\n", buf[:n], from)
	must(s.Sendto([]byte("and to you"), 0, from))
	n = must(c.Recv(buf, 0))
	fmt.Printf("%s\n", buf[:n])
	// Output:
	// hello from 10.9.0.1:4000
	// and to you
}

// Control messages tell which address and interface a datagram came for.
func ExampleSocket_Recvmsg() {
	near, far, end := hosts()
	defer end()
	s := must(far.Socket(unix.AF_INET, udp, 0))
	check(s.Bind(sockapi.Inet4([4]byte{}, 7)))
	check(s.SetsockoptInt(unix.IPPROTO_IP, unix.IP_PKTINFO, 1))
	check(s.SetsockoptInt(unix.IPPROTO_IP, unix.IP_RECVTTL, 1))
	c := must(near.Socket(unix.AF_INET, udp, 0))
	must(c.Sendto([]byte("hello, in parts"), 0, server))

	head, rest := make([]byte, 5), make([]byte, 1500)
	m := sockapi.Msghdr{Iov: [][]byte{head, rest}, Control: make([]byte, 128)}
	n := must(s.Recvmsg(&m, 0))
	fmt.Printf("%d bytes: %q and %q\n", n, head, rest[:n-len(head)])
	for b := m.Control[:m.ControlLen]; ; {
		control, more, ok := sockapi.NextCmsg(b)
		if !ok {
			break
		}
		switch control.Type {
		case unix.IP_PKTINFO: // struct in_pktinfo (ip(7)): index, local address, destination
			fmt.Println("for", netip.AddrFrom4([4]byte(control.Data[8:12])))
		case unix.IP_TTL:
			fmt.Println("TTL", control.Int())
		}
		b = more
	}
	// Output:
	// 15 bytes: "hello" and ", in parts"
	// for 10.9.0.2
	// TTL 64
}

// Many datagrams leave, and are taken, with one call.
func ExampleSocket_Sendmmsg() {
	near, far, end := hosts()
	defer end()
	s := must(far.Socket(unix.AF_INET, udp, 0))
	check(s.Bind(server))
	c := must(near.Socket(unix.AF_INET, udp, 0))
	check(c.Connect(server))

	out := make([]sockapi.Mmsghdr, 3)
	for i := range out {
		out[i].Hdr.Iov = [][]byte{fmt.Appendf(nil, "datagram %d", i+1)}
	}
	fmt.Println(must(c.Sendmmsg(out, 0)), "sent")

	in := make([]sockapi.Mmsghdr, 3)
	for i := range in {
		in[i].Hdr.Iov = [][]byte{make([]byte, 1500)}
	}
	for got := 0; got < len(in); { // the first ones may be there before the others
		n := must(s.Recvmmsg(in[got:], unix.MSG_WAITFORONE, -1))
		for _, m := range in[got : got+n] {
			fmt.Printf("%s\n", m.Hdr.Iov[0][:m.Len])
		}
		got += n
	}
	// Output:
	// 3 sent
	// datagram 1
	// datagram 2
	// datagram 3
}

// An Epoll watches sockets of either kind; Data says which one is ready.
func ExampleEpoll() {
	near, far, end := hosts()
	defer end()
	e := must(far.EpollCreate())
	defer e.Close()
	sockets := map[uint64]*sockapi.Socket{}
	for port := uint16(7); port < 10; port++ {
		s := must(far.Socket(unix.AF_INET, udp|unix.SOCK_NONBLOCK, 0))
		check(s.Bind(sockapi.Inet4([4]byte{10, 9, 0, 2}, port)))
		check(e.Ctl(unix.EPOLL_CTL_ADD, s, sockapi.EpollEvent{Events: unix.EPOLLIN, Data: uint64(port)}))
		sockets[uint64(port)] = s
	}
	c := must(near.Socket(unix.AF_INET, udp, 0))
	must(c.Sendto([]byte("hello"), 0, sockapi.Inet4([4]byte{10, 9, 0, 2}, 8)))

	events := make([]sockapi.EpollEvent, 8)
	n := must(e.Wait(events, -1))
	buf := make([]byte, 1500)
	for _, ev := range events[:n] {
		got := must(sockets[ev.Data].Recv(buf, 0))
		fmt.Printf("port %d: %s\n", ev.Data, buf[:got])
	}
	// Output: port 8: hello
}

// Poll and Select watch what they are given for one call.
func ExampleAPI_Poll() {
	near, far, end := hosts()
	defer end()
	s := must(far.Socket(unix.AF_INET, udp, 0))
	check(s.Bind(server))
	c := must(near.Socket(unix.AF_INET, udp, 0))
	must(c.Sendto([]byte("hello"), 0, server))

	fds := []sockapi.PollFd{{Socket: s, Events: unix.POLLIN}, {Socket: c, Events: unix.POLLIN}}
	n := must(far.Poll(fds, -1))
	fmt.Println(n, "ready:", fds[0].Revents == unix.POLLIN, fds[1].Revents == 0)
	// Output: 1 ready: true true
}

// A group's datagrams go to all sockets that have joined it.
func ExampleSocket_Setsockopt() {
	near, far, end := hosts()
	defer end()
	group := [4]byte{239, 9, 0, 1}
	s := must(far.Socket(unix.AF_INET, udp, 0))
	check(s.Bind(sockapi.Inet4(group, 5000)))
	mreq := append(group[:], 10, 9, 0, 2) // struct ip_mreq (ip(7)): the group, and an address of ours
	check(s.Setsockopt(unix.IPPROTO_IP, unix.IP_ADD_MEMBERSHIP, mreq))

	c := must(near.Socket(unix.AF_INET, udp, 0))
	check(c.Setsockopt(unix.IPPROTO_IP, unix.IP_MULTICAST_IF, []byte{10, 9, 0, 1})) // there is no route for groups
	must(c.Sendto([]byte("to all of you"), 0, sockapi.Inet4(group, 5000)))
	buf := make([]byte, 1500)
	n := must(s.Recv(buf, 0))
	fmt.Printf("%s\n", buf[:n])
	// Output: to all of you
}

// Solicit makes a neighbour known before the first datagram, whose time then has no ARP
// in it.
func ExampleSocket_Solicit() {
	near, _, end := hosts()
	defer end()
	c := must(near.Socket(unix.AF_INET, udp, 0))
	check(c.Solicit(server, 0))
	for _, n := range near.Stack().Neighbours() {
		fmt.Println(netip.AddrFrom4(n.Addr), "is at", net.HardwareAddr(n.MAC[:]))
	}
	// Output: 10.9.0.2 is at 02:00:00:00:00:02
}
