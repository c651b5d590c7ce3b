package arp_test

import (
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/outband/outband/arp"
	"github.com/outband/outband/ether"
	"github.com/outband/outband/ipv4"
)

// A neighbour is asked for, three times a second apart, and does not answer. The time is
// the caller's: nothing waits.
func ExampleTable() {
	t := arp.New(arp.DefaultConfig(), ether.MAC{2, 0, 0, 0, 0, 1}, func() uint64 { return 4 })
	t.LinkUp(0)
	own, wanted := ipv4.Addr{10, 9, 0, 1}, ipv4.Addr{10, 9, 0, 2}
	if _, cause := t.Resolve(0, wanted, own); cause != arp.CauseNone {
		fmt.Println(cause)
	}
	for now := int64(0); ; {
		for e, ok := t.Next(); ok; e, ok = t.Next() {
			if e.Kind != arp.Transmit {
				continue
			}
			if m, cause := arp.Parse(e.Packet[:]); cause == arp.CauseNone {
				fmt.Println(time.Duration(now), "who has", netip.AddrFrom4(m.TargetIP()), "to", net.HardwareAddr(e.Dst[:]))
			}
		}
		if t.Entries()[0].State == arp.Failed {
			fmt.Println(time.Duration(now), "nobody")
			return
		}
		now = t.Deadline()
		t.Advance(now)
	}
	// Output:
	// 0s who has 10.9.0.2 to ff:ff:ff:ff:ff:ff
	// 1s who has 10.9.0.2 to ff:ff:ff:ff:ff:ff
	// 2s who has 10.9.0.2 to ff:ff:ff:ff:ff:ff
	// 3s nobody
}
