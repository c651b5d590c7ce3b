package wire

import (
	"net/netip"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/arp"
	"github.com/outband/outband/ipv4"
	"github.com/outband/outband/link"
	"github.com/outband/outband/sockapi"
	"github.com/outband/outband/test/oracle"
)

// A Difference is one from Linux that is on purpose.
type Difference struct {
	What, Reason string
	Show         func(p *Play) // a script that differs by it, or none: it is a matter of time, or TestErrors has cases
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
	{What: "ipi_spec_dst of a broadcast or multicast, after a change of addresses or routes", Reason: "it is that of when it is read; Linux finds it when the datagram comes",
		Show: func(p *Play) {
			other := netip.MustParsePrefix("10.9.0.44/24")
			k := p.UDP("k")
			k.Set(unix.SOL_IP, unix.IP_PKTINFO, 1)
			k.Bind(sockapi.Inet4([4]byte{}, 7001))
			p.Host.Inject(0, UDP(0, ipv4.Fields{Dst: [4]byte{10, 9, 0, 255}}, 7002, 7001, []byte("x")))
			p.Step()
			p.Host.Address(0, other, false)
			p.Host.Address(0, prefix(0), true)
			k.Recvmsg(100, unix.MSG_DONTWAIT, 10)
			p.Host.Address(0, other, true)
			p.Host.Address(0, prefix(0), false)
		}},
	{What: "who asks by ARP", Reason: "is no neighbour before something is sent to it, lest strangers fill the table; Linux makes an entry at once",
		Show: func(p *Play) {
			near, _ := MACs(0)
			who, stranger := link.MAC{2, 0, 10, 9, 0, 88}, [4]byte{10, 9, 0, 100 + byte(p.Nth%100)}
			p.Host.Inject(0, ARP(0, near, arp.OpRequest, who, stranger, near, Near(0)))
			p.Step()
			p.UDP("k").Sendto([]byte("x"), 0, sockapi.Inet4(stranger, 9))
			p.Host.Rest()
			for _, s := range p.Host.Sent() {
				p.Logf("%d sends to %x: %x", s.Device, s.Frame[:6], s.Frame[12:14])
			}
		}},
	{What: "an ARP reply that comes too soon after another", Reason: "is not believed, as in Linux, and does not confirm the address that it contradicts either, as there"},
	{What: "IGMP queries with a TTL other than 1", Reason: "not believed, since all versions send 1 and such a query is forged from afar (`igmp.Config.AnyTTL` is the way round); Linux does not look"},
	{What: "IGMP queries from where no host can be, or to where the host is not", Reason: "not believed; Linux does not look"},
	{What: "an IGMPv2 query for one group", Reason: "does not make the host speak version 2, only a general query does (RFC 3376, 7.2.1); in Linux both do"},
	{What: "old reports of others, to a host that speaks IGMPv3", Reason: "suppress none of ours (RFC 3376, 7.2.2, leaves it open); in Linux they do"},
	{What: "answers to IGMP queries that allow next to no time", Reason: "are spread over 100 ms, and in version 3 come 50 ms after the last, so that a storm of queries makes none of reports"},
}

// Markdown returns the differences as a table for README.
func Markdown() string {
	var b strings.Builder
	for _, d := range Deliberate {
		b.WriteString("| " + d.What + " | " + d.Reason + " |\n")
	}
	return b.String()
}
