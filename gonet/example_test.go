package gonet_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"net/netip"
	"os"
	"time"

	"github.com/outband/outband/gonet"
	"github.com/outband/outband/link"
	"github.com/outband/outband/link/pipe"
	"github.com/outband/outband/sockapi"
	"github.com/outband/outband/stack"
	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"
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
func hosts() (near, far *gonet.Net, end func()) {
	a, b := pipe.New(pipe.Options{})
	x, y := host(a, "10.9.0.1/24"), host(b, "10.9.0.2/24")
	return gonet.New(x), gonet.New(y), func() {
		check(x.Stack().Close())
		check(y.Stack().Close())
	}
}

// A server and a client, as over package net.
func Example() {
	near, far, end := hosts()
	defer end()

	server := must(far.ListenPacket("udp", ":7"))
	defer server.Close()
	go func() {
		buf := make([]byte, 1500)
		for {
			n, from, err := server.ReadFrom(buf)
			if err != nil {
				return // net.ErrClosed
			}
			server.WriteTo(append([]byte("you said "), buf[:n]...), from)
		}
	}()

	client := must(near.Dial("udp", "10.9.0.2:7"))
	defer client.Close()
	must(client.Write([]byte("hello")))
	check(client.SetReadDeadline(time.Now().Add(5 * time.Second)))
	buf := make([]byte, 1500)
	n := must(client.Read(buf))
	fmt.Printf("%s\n", buf[:n])
	// Output: you said hello
}

// Errors are those of package net.
func ExampleUDPConn_SetReadDeadline() {
	_, far, end := hosts()
	defer end()
	c := must(far.ListenUDP("udp", &net.UDPAddr{Port: 7}))
	check(c.SetReadDeadline(time.Now().Add(time.Millisecond)))
	_, _, err := c.ReadFrom(make([]byte, 1500))
	fmt.Println(err, errors.Is(err, os.ErrDeadlineExceeded))
	check(c.Close())
	_, _, err = c.ReadFrom(make([]byte, 1500))
	fmt.Println(err, errors.Is(err, net.ErrClosed))
	// Output:
	// read udp 0.0.0.0:7: i/o timeout true
	// read udp 0.0.0.0:7: use of closed network connection true
}

// A listener joins a group at an interface, and is told whom a datagram was for.
func ExampleNewPacketConn() {
	near, far, end := hosts()
	defer end()
	eth := &net.Interface{Index: 2} // in a program net.InterfaceByName's
	group := &net.UDPAddr{IP: net.IPv4(239, 1, 2, 3), Port: 5000}

	c := must(far.ListenUDP("udp4", &net.UDPAddr{Port: 5000}))
	p := gonet.NewPacketConn(c)
	check(p.JoinGroup(eth, group))
	check(p.SetControlMessage(ipv4.FlagDst, true))

	s := must(near.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(10, 9, 0, 1)}))
	check(gonet.NewPacketConn(s).SetMulticastInterface(eth))
	must(s.WriteTo([]byte("hello"), group))

	buf := make([]byte, 1500)
	n, cm, _, err := p.ReadFrom(buf)
	check(err)
	fmt.Printf("%s for %v\n", buf[:n], cm.Dst)
	// Output: hello for 239.1.2.3
}

// Two connections share a port, which Control permits.
func ExampleListenConfig() {
	_, far, end := hosts()
	defer end()
	l := gonet.ListenConfig{Net: far, Control: func(_, _ string, s *sockapi.Socket) error {
		return s.SetsockoptInt(unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
	}}
	one := must(l.ListenPacket(context.Background(), "udp", ":7"))
	two := must(l.ListenPacket(context.Background(), "udp", ":7"))
	fmt.Println(one.LocalAddr(), two.LocalAddr())
	// Output: 0.0.0.0:7 0.0.0.0:7
}

// A dialer ends the search for a name with a context, and binds where it is told to.
func ExampleDialer() {
	near, far, end := hosts()
	defer end()
	server := must(far.ListenUDP("udp4", &net.UDPAddr{Port: 7}))
	defer server.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	d := gonet.Dialer{Net: near, LocalAddr: &net.UDPAddr{Port: 7000}}
	c := must(d.DialContext(ctx, "udp", "10.9.0.2:7"))
	defer c.Close()
	must(c.Write([]byte("hello")))
	buf := make([]byte, 1500)
	n, from, err := server.ReadFromUDPAddrPort(buf)
	fmt.Printf("%s from %v, %v\n", buf[:n], from, err)
	// Output:
	// hello from 10.9.0.1:7000, <nil>
}

// Several datagrams with one call, in the shape of golang.org/x/net/ipv4.
func ExampleUDPConn_ReadBatch() {
	near, far, end := hosts()
	defer end()
	server := must(far.ListenUDP("udp4", &net.UDPAddr{Port: 7}))
	defer server.Close()
	c := must(near.DialUDP("udp4", nil, &net.UDPAddr{IP: net.IPv4(10, 9, 0, 2), Port: 7}))
	defer c.Close()
	out := []ipv4.Message{{Buffers: [][]byte{[]byte("one")}}, {Buffers: [][]byte{[]byte("two, "), []byte("gathered")}}}
	fmt.Println(c.WriteBatch(out, 0))
	in := make([]ipv4.Message, 8)
	for i := range in {
		in[i].Buffers = [][]byte{make([]byte, 1500)}
	}
	for got := 0; got < len(out); {
		n, err := server.ReadBatch(in, 0)
		check(err)
		for _, m := range in[:n] {
			fmt.Printf("%s\n", m.Buffers[0][:m.N])
		}
		got += n
	}
	// Output:
	// 2 <nil>
	// one
	// two, gathered
}

// An IPConn sends and receives what is in IP datagrams of a protocol: here a ping.
func ExampleIPConn() {
	near, _, end := hosts()
	defer end()
	c := must(near.DialIP("ip4:icmp", nil, &net.IPAddr{IP: net.IPv4(10, 9, 0, 2)}))
	defer c.Close()
	echo := icmp.Message{Type: ipv4.ICMPTypeEcho, Body: &icmp.Echo{ID: 7, Seq: 1, Data: []byte("hello")}}
	must(c.Write(must(echo.Marshal(nil))))
	buf := make([]byte, 1500)
	n := must(c.Read(buf))
	reply := must(icmp.ParseMessage(1, buf[20:n])) // behind the IP header
	fmt.Printf("%v: %s\n", reply.Type, reply.Body.(*icmp.Echo).Data)
	// Output:
	// echo reply: hello
}

// A group, of one source only: what another one sends is not heard.
func ExamplePacketConn_JoinSourceSpecificGroup() {
	near, far, end := hosts()
	defer end()
	c := must(near.ListenUDP("udp4", &net.UDPAddr{Port: 5000}))
	defer c.Close()
	group, source := &net.UDPAddr{IP: net.IPv4(232, 1, 2, 3)}, &net.UDPAddr{IP: net.IPv4(10, 9, 0, 2)}
	check(gonet.NewPacketConn(c).JoinSourceSpecificGroup(&net.Interface{Index: 2}, group, source))
	s := must(far.DialUDP("udp4", &net.UDPAddr{IP: net.IPv4(10, 9, 0, 2)}, &net.UDPAddr{IP: group.IP, Port: 5000}))
	defer s.Close()
	must(s.Write([]byte("tick")))
	buf := make([]byte, 1500)
	n := must(c.Read(buf))
	fmt.Printf("%s\n", buf[:n])
	// Output:
	// tick
}
