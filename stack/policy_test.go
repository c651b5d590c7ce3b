package stack

import (
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/outband/outband/arp"
	"github.com/outband/outband/ether"
	"github.com/outband/outband/icmp"
	"github.com/outband/outband/ipv4"
	"github.com/outband/outband/link"
	"github.com/outband/outband/link/pipe"
)

// policyBubble runs a test with a wire whose interface has a policy, and whose neighbour
// is known.
func policyBubble(t *testing.T, p Policy, f func(t *testing.T, w *wire)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		t.Cleanup(func() { time.Sleep(time.Millisecond) })
		a, b := pipe.New(pipe.Options{})
		t.Cleanup(func() { b.Close() })
		w := &wire{t: t, s: newStack(t, Config{}), near: a, far: b, born: time.Now()}
		var err error
		w.ifc, err = w.s.AddLink(a, InterfaceConfig{Policy: p})
		check(t, err)
		check(t, w.ifc.AddAddress(netip.MustParsePrefix("10.9.0.1/24")))
		if w.ifc.Policy() != p {
			t.Errorf("Policy: %+v, want %+v", w.ifc.Policy(), p)
		}
		w.resolved()
		f(t, w)
	})
}

// team is a group.
var team = ipv4.Addr{239, 1, 2, 3}

// elsewhere4 is an address of another interface of the stack.
var elsewhere4 = ipv4.Addr{10, 8, 0, 1}

// Each field of a policy leaves out what it says, which is counted, and nothing else.
func TestPolicy(t *testing.T) {
	request := func(target ipv4.Addr) []byte {
		return arpPacket(ether.Broadcast, arp.OpRequest, farMAC, far4, link.MAC{}, target)
	}
	timestamp := icmp.AppendEcho(nil, icmp.Timestamp, 7, 9, make([]byte, 12))
	part := fragment(9, datagram(far4, near4, 7, 9, make([]byte, 100)), 0, 64)
	cases := []struct {
		name    string
		set     func(p *Policy)
		frame   []byte
		wait    time.Duration
		ignored string
	}{
		{"ARP for all: another interface's", func(p *Policy) { p.ARP = arp.AnswerOwn }, request(elsewhere4), 0, "OutbandArpIgnored"},
		{"ARP for own", func(p *Policy) { p.ARP = arp.AnswerNone }, request(near4), 0, "OutbandArpIgnored"},
		{"ARP probe", func(p *Policy) { p.ARP = arp.AnswerNone },
			arpPacket(ether.Broadcast, arp.OpRequest, farMAC, ipv4.Addr{}, link.MAC{}, near4), 0, "OutbandArpIgnored"},
		{"echo", func(p *Policy) { p.IgnoreEcho = true }, icmpFrom(icmp.AppendEcho(nil, icmp.Echo, 1, 2, nil)), 0, "OutbandEchoIgnored"},
		{"timestamp", func(p *Policy) { p.IgnoreTimestamp = true }, icmpFrom(timestamp), 0, "OutbandTimestampIgnored"},
		{"port", func(p *Policy) { p.IgnorePorts = true }, udpFrom(7, 9999, "x"), 0, "OutbandPortIgnored"},
		{"protocol", func(p *Policy) { p.IgnoreProtocols = true }, ip(ipv4.Fields{Protocol: 99}, []byte("x")), 0, "OutbandProtocolIgnored"},
		{"bad options", func(p *Policy) { p.IgnoreBroken = true }, ip(ipv4.Fields{Options: []byte{7, 9, 4, 0}}, nil), 0, "OutbandBrokenIgnored"},
		{"fragment missing", func(p *Policy) { p.IgnoreBroken = true }, part, time.Minute, "OutbandBrokenIgnored"},
	}
	for _, c := range cases {
		policies := map[string]Policy{"none": {}, "this": {}, "shared": SharedPolicy()}
		var this, others Policy
		c.set(&this)
		others = allBut(c.set)
		policies["this"], policies["others"] = this, others
		for name, p := range policies {
			answered := name == "none" || name == "others"
			t.Run(c.name+"/"+name, func(t *testing.T) {
				policyBubble(t, p, func(t *testing.T, w *wire) {
					a, b := pipe.New(pipe.Options{})
					t.Cleanup(func() { b.Close() })
					addLink(t, w.s, a, netip.PrefixFrom(netip.AddrFrom4(elsewhere4), 24).String())
					time.Sleep(5 * time.Second) // announcements are over
					w.sent()
					w.mark()
					w.feed(c.frame)
					time.Sleep(c.wait)
					synctest.Wait()
					if n := len(w.sent()); n != map[bool]int{true: 1, false: 0}[answered] {
						t.Errorf("%d frames were sent, answered should be %v", n, answered)
					}
					if got := w.s.Stats().Get(c.ignored) - w.base.Get(c.ignored); got != map[bool]uint64{true: 0, false: 1}[answered] {
						t.Errorf("%s grew by %d", c.ignored, got)
					}
				})
			})
		}
	}
}

// allBut returns the shared policy but for what set sets, which is as ever.
func allBut(set func(*Policy)) Policy {
	var this, zero Policy
	set(&this)
	p := SharedPolicy()
	if this.ARP != zero.ARP {
		p.ARP = zero.ARP
	}
	for _, f := range []struct{ this, p *bool }{
		{&this.IgnoreEcho, &p.IgnoreEcho}, {&this.IgnoreTimestamp, &p.IgnoreTimestamp},
		{&this.IgnorePorts, &p.IgnorePorts}, {&this.IgnoreProtocols, &p.IgnoreProtocols},
		{&this.IgnoreBroken, &p.IgnoreBroken},
	} {
		if *f.this {
			*f.p = false
		}
	}
	return p
}

// With AnswerNone addresses are neither announced, nor probed for, nor defended: they are
// in use at once. With AnswerOwn they are announced.
func TestPolicyAnnouncements(t *testing.T) {
	for answers, want := range map[arp.Answers]bool{arp.AnswerAll: true, arp.AnswerOwn: true, arp.AnswerNone: false} {
		policyBubble(t, Policy{ARP: answers}, func(t *testing.T, w *wire) {
			time.Sleep(5 * time.Second)
			if n := len(w.sentARP()); n > 0 != want {
				t.Errorf("%v: %d announcements", answers, n)
			}
			w.mark()
			w.feed(arpPacket(ether.Broadcast, arp.OpRequest, otherMAC, near4, link.MAC{}, far4))
			if n := len(w.sentARP()); n > 0 != want {
				t.Errorf("%v: defended by %d packets", answers, n)
			}
			w.grew("OutbandArpConflicts", 1)
			w.near.SetUp(false)
			w.near.SetUp(true)
			w.settle()
			if n := len(w.sentARP()); n > 0 != want {
				t.Errorf("%v: %d announcements when the link is up again", answers, n)
			}
			a, b := pipe.New(pipe.Options{})
			t.Cleanup(func() { b.Close() })
			i, err := w.s.AddLink(a, InterfaceConfig{ARP: arp.Config{Probe: true}, Policy: Policy{ARP: answers}})
			check(t, err)
			p := netip.MustParsePrefix("10.7.0.1/24")
			check(t, i.AddAddress(p))
			if got := i.AddressState(p) == AddressProbed; got != want {
				t.Errorf("%v: probed for %v", answers, got)
			}
		})
	}
}

// With IgnoreGroups nothing is reported; members receive all the same.
func TestPolicyGroups(t *testing.T) {
	for _, ignore := range []bool{false, true} {
		policyBubble(t, Policy{IgnoreGroups: ignore}, func(t *testing.T, w *wire) {
			k := w.socket("0.0.0.0:9", "")
			check(t, k.Multicast().JoinGroup(w.on(team)))
			time.Sleep(time.Minute)
			w.mark()
			if n := len(w.reports()); n > 0 == ignore {
				t.Errorf("ignore %v: %d reports", ignore, n)
			}
			if n := w.s.Stats().Get("OutbandGroupsIgnored"); n > 0 != ignore {
				t.Errorf("ignore %v: %d are counted", ignore, n)
			}
			w.feed(fromHost(3, team, 9, "x"))
			w.got(k, "x")
		})
	}
}

// With KeepHost the host's own addresses can be had, and nothing is claimed from it.
func TestPolicyKeepsHost(t *testing.T) {
	for _, keep := range []bool{false, true} {
		a, b := pipe.New(pipe.Options{})
		t.Cleanup(func() { b.Close() })
		l := &hostLink{Link: a, host: map[[4]byte]bool{near4: true}, reserved: map[[4]byte]int{}, answers: keep}
		s := newStack(t, Config{})
		i, err := s.AddLink(l, InterfaceConfig{Policy: Policy{KeepHost: keep}})
		check(t, err)
		p := netip.MustParsePrefix("10.9.0.1/24")
		if err := i.AddAddress(p); (err == nil) != keep {
			t.Errorf("keep %v: the host's address: %v", keep, err)
		}
		if got := slices.Contains(i.Addresses(), p); got != keep {
			t.Errorf("keep %v: in use %v", keep, got)
		}
		check(t, i.AddAddress(netip.MustParsePrefix("10.9.0.7/24")))
		if n := len(l.reserved) + len(l.claimed); n > 0 == keep || (l.notify == nil) != keep {
			t.Errorf("keep %v: %d reserved and claimed", keep, n)
		}
	}
}
