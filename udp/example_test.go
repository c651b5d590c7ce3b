package udp_test

import (
	"fmt"

	"github.com/outband/outband/ipv4"
	"github.com/outband/outband/udp"
)

// A datagram is written, and read as the other host does.
func ExamplePut() {
	src, dst := ipv4.Addr{10, 9, 0, 1}, ipv4.Addr{10, 9, 0, 2}
	b := append(make([]byte, udp.HeaderLen), "hello"...)
	udp.Put(b, src, dst, 4000, 7, len("hello"))

	h, payload, cause := udp.Parse(b)
	if cause != udp.CauseNone || !udp.VerifyChecksum(src, dst, h[:h.Length()]) {
		fmt.Println("damaged:", cause)
		return
	}
	fmt.Printf("%d to %d: %s\n", h.SrcPort(), h.DstPort(), payload)
	// Output: 4000 to 7: hello
}

// The table finds the socket that a datagram is for: the one that fits it best.
func ExampleTable() {
	table := udp.NewTable[string](func() uint64 { return 4 }) // random numbers, of a program
	here, peer := ipv4.Addr{10, 9, 0, 1}, ipv4.Addr{10, 9, 0, 2}
	server := &udp.Binding[string]{Owner: "server", LocalPort: 7, ReuseAddr: true}
	client := &udp.Binding[string]{Owner: "client of the peer", Local: here, LocalPort: 7, ReuseAddr: true}
	for _, b := range []*udp.Binding[string]{server, client} {
		if errno := table.Bind(b); errno != 0 {
			fmt.Println(errno)
		}
	}
	if errno := table.Connect(client, here, peer, 4000); errno != 0 {
		fmt.Println(errno)
	}
	const device = 1
	for _, port := range []uint16{4000, 4001} {
		owner, ok := table.Lookup(here, 7, peer, port, device)
		fmt.Println(port, owner, ok)
	}
	// Output:
	// 4000 client of the peer true
	// 4001 server true
}
