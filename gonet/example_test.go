package gonet_test

import (
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
