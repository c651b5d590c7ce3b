package outband_test

import (
	"context"
	"fmt"
	"log"
	"net/netip"
	"time"

	"github.com/outband/outband"
	"github.com/outband/outband/stack"
)

// A server on the address that the host has, which spins for 50 us before it sleeps.
func ExampleOpen() {
	h, err := outband.Open(context.Background(), "eth1", outband.WithSpin(50*time.Microsecond))
	if err != nil {
		log.Fatal(err)
	}
	defer h.Close()
	c, err := h.ListenPacket("udp", ":7777")
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

// An address of the stack's own, by a router.
func ExampleWithAddress() {
	h, err := outband.Open(context.Background(), "eth1",
		outband.WithAddress(netip.MustParsePrefix("192.0.2.77/24")), outband.WithGateway(netip.MustParseAddr("192.0.2.1")),
		outband.WithProbe(500*time.Millisecond), outband.WithSpin(stack.SpinAlways))
	if err != nil {
		log.Fatal(err)
	}
	defer h.Close()
	fmt.Println(h.Addresses())
}

// The kernel's sockets do where a ring is not to be had.
func ExampleWithFallback() {
	h, err := outband.Open(context.Background(), "eth1", outband.WithFallback())
	if err != nil {
		log.Fatal(err)
	}
	defer h.Close()
	if why := h.Why(); why != nil {
		fmt.Println("in-band:", why)
	}
}
