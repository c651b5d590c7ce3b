// Command own echoes datagrams on an address of its own, by no more packages than that takes.
package main

import (
	"log"
	"net/netip"

	"github.com/outband/outband/gonet"
	"github.com/outband/outband/link/tpacket"
	"github.com/outband/outband/sockapi"
	"github.com/outband/outband/stack"
)

func main() {
	st, err := stack.New(stack.Config{})
	if err != nil {
		log.Fatal(err)
	}
	l, err := tpacket.Open("eth1", tpacket.Options{})
	if err != nil {
		log.Fatal(err)
	}
	i, err := st.AddLink(l, stack.InterfaceConfig{})
	if err != nil {
		log.Fatal(err)
	}
	if err := i.AddAddress(netip.MustParsePrefix("192.0.2.77/24")); err != nil {
		log.Fatal(err)
	}
	c, err := gonet.New(sockapi.New(st)).ListenPacket("udp", ":7777")
	if err != nil {
		log.Fatal(err)
	}
	b := make([]byte, 1500)
	for {
		n, from, err := c.ReadFrom(b)
		if err != nil {
			log.Fatal(err)
		}
		c.WriteTo(b[:n], from)
	}
}
