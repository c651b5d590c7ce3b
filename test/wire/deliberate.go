package wire

import (
	"strings"

	"github.com/outband/outband/ipv4"
	"github.com/outband/outband/sockapi"
	"github.com/outband/outband/test/oracle"
)

// A Difference is one from Linux that is on purpose.
type Difference struct {
	What, Reason string
	Show         func(p *Play) // a script that differs by it, or none: TestErrors has cases
}

// Deliberate are the differences on the wire that README tells.
var Deliberate = []Difference{
	{What: "errors about datagrams to where a socket has not sent lately",
		Reason: "they are forged; Linux believes whoever guesses the ports"},
	{What: "path MTU by IP_UNICAST_IF or IP_PKTINFO",
		Reason: "it is learnt for the way that the datagram took; Linux looks for the way without them, and learns nothing or that of another way"},
	{What: "raw sockets with IP_HDRINCL and DF, beyond the path MTU",
		Reason: "EMSGSIZE, as in Linux, which sends its own host an ICMP error too"},
	{What: "datagrams from a directed broadcast address",
		Reason: "dropped, since no host has it (RFC 1122, 3.2.1.3); Linux without rp_filter takes and answers them",
		Show: func(p *Play) {
			p.Host.Inject(0, UDP(0, ipv4.Fields{Src: [4]byte{10, 9, 0, 255}}, 7001, 9999, []byte("x")))
		}},
	{What: "datagrams from or to where none may come from or go to",
		Reason: "all are counted, as IpInAddrErrors; Linux drops martians without a counter of the host's",
		Show: func(p *Play) {
			p.Host.Inject(0, UDP(0, ipv4.Fields{Src: [4]byte{127, 0, 0, 1}}, 7001, 9999, []byte("x")))
		}},
	{What: "a route's MTU beyond its device's",
		Reason: "the device's counts; Linux sends frames that are too long for the device",
		Show: func(p *Play) {
			p.Host.SetMTU(1, 576)
			defer p.Host.SetMTU(1, 1500)
			p.UDP("k").Sendto(oracle.Data(1000), 0, sockapi.Inet4([4]byte{198, 19, 0, 1}, 9))
			p.Step()
		}},
	{What: "fragments without a carrier",
		Reason: "made and lost, and counted so; Linux stops at the first, and counts IpFragFails",
		Show: func(p *Play) {
			p.Host.SetCarrier(0, false)
			defer p.Host.SetCarrier(0, true)
			p.UDP("k").Sendto(oracle.Data(3000), 0, sockapi.Inet4(Far(0), 9))
		}},
	{What: "UdpInDatagrams of what nobody has read",
		Reason: "counted when it is queued, as RFC 4113 has it; Linux counts what has been read",
		Show: func(p *Play) {
			p.UDP("k").Bind(sockapi.Inet4([4]byte{}, 7001))
			p.Host.Inject(0, UDP(0, ipv4.Fields{}, 7002, 7001, []byte("x")))
		}},
}

// Markdown returns the differences as a table for README.
func Markdown() string {
	var b strings.Builder
	for _, d := range Deliberate {
		b.WriteString("| " + d.What + " | " + d.Reason + " |\n")
	}
	return b.String()
}
