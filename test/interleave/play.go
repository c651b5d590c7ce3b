package interleave

import (
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/arp"
	"github.com/outband/outband/ether"
	"github.com/outband/outband/ipv4"
	"github.com/outband/outband/link"
	"github.com/outband/outband/test/oracle"
	"github.com/outband/outband/test/wire"
)

// play is one performance of a program on one host.
type play struct {
	*oracle.Run
	host   wire.Host
	nth    int // no other performance has the same
	socks  []*oracle.Sock
	latest []byte // the IP datagram that left latest,
	by     int    // and the device by which
	state  [2]struct{ down, lost bool }
	keys   map[fragmentKey]bool
	dirty  bool // the configuration was changed
	many   bool // a broadcast or multicast may be queued
	// devices says that sockets were bound to devices.
	devices bool
	// martian says that frames came from where none may come from: for how they are
	// counted see wire.Deliberate.
	martian bool
	lossy   bool // a device was without a carrier: see wire.Deliberate too
}

// perform runs a program on a host, and returns what it wrote.
func perform(h wire.Host, nth int, prog Program) (lines []string, p *play) {
	p = &play{host: h, nth: nth, socks: make([]*oracle.Sock, len(sockets)), keys: make(map[fragmentKey]bool)}
	p.Run = oracle.NewRun(h, wire.Topology(), p.rest)
	h.Rest()
	h.Sent()
	before := wire.Count(h)
	for i := range prog {
		p.step(&prog[i])
	}
	for i, k := range p.socks {
		if k != nil {
			receive(k, &Step{Sock: i})
			k.Recvmsg(200, unix.MSG_ERRQUEUE|unix.MSG_DONTWAIT, 1)
			k.Error()
			k.Discard() // for what is not read see wire.Deliberate
		}
	}
	after := wire.Count(h)
	if p.martian {
		after["IpInAddrErrors"] = before["IpInAddrErrors"]
	}
	if p.lossy {
		after["IpFragFails"], after["IpFragOKs"], after["IpFragCreates"] = before["IpFragFails"], before["IpFragOKs"], before["IpFragCreates"]
	}
	after["IpOutRequests"] = before["IpOutRequests"] // with IGMP's reports, which leave by chance
	lines = append(p.Lines(), wire.Counted(before, after)...)
	p.Run.End()
	return lines, p
}

// step runs a step, and then asks all sockets what they are ready for.
func (p *play) step(s *Step) {
	kind := &kinds[s.Kind]
	k := p.socks[s.Sock]
	if k == nil && isCall(s.Kind) {
		k = p.open(s.Sock)
	}
	if kind.changes && p.many {
		p.read() // of a broadcast and a change behind it see wire.Deliberate
	}
	p.dirty = p.dirty || kind.slow
	kind.do(p, k, s)
	p.rest()
	for _, k := range p.socks {
		if k != nil {
			k.Poll()
		}
	}
}

// read receives all that is queued.
func (p *play) read() {
	for _, k := range p.socks {
		if k != nil {
			k.Discard()
		}
	}
	p.many = false
}

func isCall(kind int) bool { return kind < len(callKinds) }

func (p *play) open(i int) *oracle.Sock {
	kind := &sockets[i]
	k := p.Open(kind.name, oracle.Near, unix.AF_INET, kind.typ, kind.proto)
	if kind.set != nil {
		before := p.Lines()
		kind.set(k)
		p.Lines() // the same each time
		for _, l := range before {
			p.Logf("%s", l)
		}
	}
	p.socks[i] = k
	return k
}

// rest waits until the host has done with everything, and writes down what it sent.
func (p *play) rest() {
	p.host.Rest()
	sent := p.host.Sent()
	for _, l := range append(wire.Describe(sent), describeARP(sent)...) {
		p.Logf("%s", l)
	}
	for _, s := range sent {
		h, _, c := ipv4.Parse(s.Frame[link.HeaderLen:])
		if ether.Header(s.Frame).Type() != ether.TypeIPv4 || c != ipv4.CauseNone || h.Protocol() == ipv4.ProtocolIGMP {
			continue
		}
		if _, far := wire.MACs(s.Device); [6]byte(s.Frame) != far {
			p.Logf("  the next hop is %x", s.Frame[:6])
		}
		p.by, p.latest = s.Device, s.Frame[link.HeaderLen:]
	}
}

// describeARP writes down the answers to ARP requests. Requests and announcements go by
// timers.
func describeARP(sent []wire.Sent) (lines []string) {
	for _, s := range sent {
		m, c := arp.Parse(s.Frame[link.HeaderLen:])
		if ether.Header(s.Frame).Type() == ether.TypeARP && c == arp.CauseNone && m.Op() == arp.OpReply {
			lines = append(lines, fmt.Sprintf("  sends by %d: ARP %v is at %v, to %v", s.Device, m.SenderIP(), m.SenderMAC(), m.TargetIP()))
		}
	}
	return lines
}
