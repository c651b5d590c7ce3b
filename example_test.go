package outband_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net/netip"
	"time"

	"github.com/outband/outband"
	"github.com/outband/outband/stack"
)

// README's first program.
func Example() {
	h, err := outband.Open(context.Background(), "eth1") // on the address that eth1 has
	if err != nil {
		log.Fatal(err) // it says what is missing, and the line that mends it
	}
	c, _ := h.ListenPacket("udp", ":7777") // a net.PacketConn
	b := make([]byte, 1500)
	n, from, _ := c.ReadFrom(b)
	c.WriteTo(b[:n], from)
}

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

// The kernel's sockets do where the stack is not to be had: here, since there is no such device.
func ExampleWithFallback() {
	h, err := outband.Open(context.Background(), "nosuch0", outband.WithFallback())
	if err != nil {
		log.Fatal(err)
	}
	defer h.Close()
	fmt.Println("in-band:", errors.Unwrap(h.Why()))
	server, err := h.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	client, err := h.Dial("udp", server.LocalAddr().String())
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	client.Write([]byte("hello"))
	b := make([]byte, 1500)
	n, _, err := server.ReadFrom(b)
	fmt.Printf("%s, %v\n", b[:n], err)
	// Output:
	// in-band: nosuch0: no such device
	// hello, <nil>
}

// What mends an error is a line of its own.
func ExampleOpenError() {
	_, err := outband.Open(context.Background(), "eth1")
	var o *outband.OpenError
	if errors.As(err, &o) && o.Mend != "" {
		fmt.Println(o.Err)
		fmt.Println("try:", o.Mend)
	}
}

// A group of market data, of one source only.
func ExampleHost_Join() {
	h, err := outband.Open(context.Background(), "eth1", outband.WithCPU(3), outband.WithSpin(stack.SpinAlways))
	if err != nil {
		log.Fatal(err)
	}
	defer h.Close()
	c, err := h.Join(netip.MustParseAddrPort("239.1.2.3:26400"), netip.MustParseAddr("192.0.2.10"))
	if err != nil {
		log.Fatal(err)
	}
	b := make([]byte, 1500)
	for {
		n, _, err := c.ReadFrom(b)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(n, "bytes")
	}
}

// What happens to links, addresses and neighbours, in a log and by a channel.
func ExampleHost_Events() {
	h, err := outband.Open(context.Background(), "eth1", outband.WithLogger(slog.Default()))
	if err != nil {
		log.Fatal(err)
	}
	defer h.Close()
	events := h.Events(0)
	defer events.Close()
	for e := range events.C {
		if e.Kind == stack.LinkDown {
			fmt.Println(e.Name, "has no carrier")
		}
	}
}
