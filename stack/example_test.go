package stack_test

import (
	"fmt"
	"log"
	"net/netip"

	"github.com/outband/outband/ipv4"
	"github.com/outband/outband/link/loopback"
	"github.com/outband/outband/link/pipe"
	"github.com/outband/outband/stack"
)

// A host of one interface, on a wire in memory: in a program the link is tpacket.Open's,
// over a device.
func ExampleNew() {
	wire, _ := pipe.New(pipe.Options{A: pipe.End{Name: "near0"}})
	st, err := stack.New(stack.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer st.Close()
	ifc, err := st.AddLink(wire, stack.InterfaceConfig{})
	if err != nil {
		log.Fatal(err)
	}
	if err := ifc.AddAddress(netip.MustParsePrefix("10.9.0.1/24")); err != nil {
		log.Fatal(err)
	}
	err = st.AddRoute(ipv4.Route{Prefix: netip.MustParsePrefix("0.0.0.0/0"), Gateway: ipv4.Addr{10, 9, 0, 254}, Iface: ifc.Index()})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(ifc.Name(), ifc.Addresses())
	for _, r := range st.Routes() {
		if !r.Gateway.IsUnspecified() {
			fmt.Println(r.Prefix, "by", netip.AddrFrom4(r.Gateway))
		}
	}
	// Output:
	// near0 [10.9.0.1/24]
	// 0.0.0.0/0 by 10.9.0.254
}

// The counters have the names that nstat(8) gives the kernel's.
func ExampleStack_Stats() {
	st, err := stack.New(stack.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer st.Close()
	lo, err := st.AddLink(loopback.New(loopback.Options{}), stack.InterfaceConfig{})
	if err == nil {
		err = lo.AddAddress(netip.MustParsePrefix("127.0.0.1/8"))
	}
	if err != nil {
		log.Fatal(err)
	}
	s, err := st.NewUDPSocket()
	if err == nil {
		err = s.Connect(netip.MustParseAddrPort("127.0.0.1:9")) // where nobody listens
	}
	if err != nil {
		log.Fatal(err)
	}
	if err = s.Send([]byte("anybody?"), 0, st.Deadline(-1)); err != nil {
		log.Fatal(err)
	}
	_, _, err = s.Recv(make([]byte, 64), 0, st.Deadline(-1))
	fmt.Println(err)
	fmt.Println("UdpNoPorts", st.Stats().Get("UdpNoPorts"))
	// Output:
	// connection refused
	// UdpNoPorts 1
}

// What happens to links, addresses and neighbours can be heard.
func ExampleStack_Subscribe() {
	wire, _ := pipe.New(pipe.Options{A: pipe.End{Name: "near0"}})
	st, err := stack.New(stack.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer st.Close()
	if _, err := st.AddLink(wire, stack.InterfaceConfig{}); err != nil {
		log.Fatal(err)
	}
	events := st.Subscribe(0)
	defer events.Close()
	wire.SetUp(false)
	e := <-events.C
	fmt.Println(e.Kind == stack.LinkDown, e)
	// Output: true near0: link is down
}
