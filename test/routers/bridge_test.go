package routers

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/inband"
	"github.com/outband/outband/ipv4"
	"github.com/outband/outband/test/lab"
)

// A snoop is our host, a sender and another receiver at a bridge that snoops.
type snoop struct {
	*host
	sender, receiver *lab.Endpoint
	round            int // of arrives
}

// newSnoop makes a bridge that asks each second, and forgets after three without an
// answer, or a fifth of a second after a leave.
func newSnoop(t *testing.T, version int, shared bool) *snoop {
	lab.NeedProgram(t, "ip")
	lab.NeedProgram(t, "bridge")
	kernel, open := lab.Far|lab.End(2), newHost
	if shared {
		kernel, open = lab.All, newSharedHost
	}
	l := lab.New(t, lab.Config{Ends: 3, Kernel: kernel})
	set := []string{"link", "set", "dev", "br0", "type", "bridge"}
	lab.Output(t, l.Hub, "ip", append(set, "mcast_snooping", "1", "mcast_igmp_version", fmt.Sprint(version),
		"mcast_query_response_interval", "10", "mcast_query_interval", "100", "mcast_startup_query_interval", "100",
		"mcast_last_member_interval", "10", "mcast_membership_interval", "300")...)
	// It floods until it has been a querier for a response's time.
	lab.Output(t, l.Hub, "ip", append(set, "mcast_querier", "1")...)
	s := &snoop{host: open(t, l), sender: l.Ends[1], receiver: l.Ends[2]}
	s.speaks(version)
	s.outlasts(time.Second)
	return s
}

// An entry is one of the bridge's table of groups, as bridge(8) shows it.
type entry struct {
	Port    string `json:"port"`
	Group   string `json:"grp"`
	Source  string `json:"src"`
	Mode    string `json:"filter_mode"`
	Sources []struct {
		Address string `json:"address"`
	} `json:"source_list"`
	Flags []string `json:"flags"`
}

// known returns what the bridge knows about a group of an end's: "" if nothing, "all" in
// version 2, else the mode and the sources, with a "not" before those of which it
// forwards nothing.
func (s *snoop) known(e *lab.Endpoint, group [4]byte) string {
	s.t.Helper()
	out := lab.Output(s.t, s.lab.Hub, "bridge", "-d", "-s", "-j", "mdb", "show", "dev", "br0")
	var tables []struct {
		Entries []entry `json:"mdb"`
	}
	check(s.t, json.Unmarshal(out, &tables))
	what := ""
	var words []string
	for _, table := range tables {
		for _, n := range table.Entries {
			switch {
			case n.Port != "p-"+e.Name || n.Group != netip.AddrFrom4(group).String():
			case n.Source != "" && slices.Contains(n.Flags, "blocked"):
				words = append(words, " not "+n.Source)
			case n.Source != "":
				words = append(words, " "+n.Source)
			case n.Mode == "": // of a bridge of version 2
				what = "all"
			default:
				what = n.Mode
			}
		}
	}
	slices.Sort(words)
	return what + strings.Join(words, "")
}

// knows waits until the bridge knows this about a group of ours.
func (s *snoop) knows(group [4]byte, want string) {
	s.t.Helper()
	s.knowsOf(s.lab.Near(), group, want)
}

// knowsOf is knows for a group of any end's.
func (s *snoop) knowsOf(e *lab.Endpoint, group [4]byte, want string) {
	s.t.Helper()
	got := ""
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if got = s.known(e, group); got == want {
			return
		}
	}
	s.t.Fatalf("of %v at %s the bridge knows %q, want %q", group, e.Name, got, want)
}

// source opens a socket of the sender's at an address of its own.
func (s *snoop) source(n byte) *inband.UDP {
	s.t.Helper()
	addr := netip.AddrFrom4(from(n))
	if addr != s.sender.Addr {
		check(s.t, s.sender.AddAddress(s.sender.Name, netip.PrefixFrom(addr, lab.Bits)))
	}
	u := s.sender.BoundUDP(s.t, netip.AddrPortFrom(addr, 0))
	check(s.t, setGroup(u, s.sender, unix.IP_MULTICAST_IF, [4]byte{}))
	return u
}

// setGroup sets an option that takes a struct ip_mreqn.
func setGroup(u *inband.UDP, e *lab.Endpoint, option int, group [4]byte) error {
	d, err := e.Device(e.Name)
	if err != nil {
		return err
	}
	return unix.SetsockoptIPMreqn(u.FD(), unix.IPPROTO_IP, option, &unix.IPMreqn{Multiaddr: group, Ifindex: int32(d.Index)})
}

// arrives sends one datagram after the other, the last of which must arrive at an end's
// device, and returns those that do. Each is "SOURCE GROUP".
func (s *snoop) arrives(p *lab.Packet, sources map[byte]*inband.UDP, sends ...string) (came []string) {
	s.t.Helper()
	s.round++
	suffix := fmt.Sprint(" round ", s.round)
	for _, line := range sends {
		var n byte
		var group string
		fmt.Sscan(line, &n, &group)
		check(s.t, sources[n].SendTo([]byte(line+suffix), netip.AddrPortFrom(netip.MustParseAddr(group), 7)))
	}
	for end := time.Now().Add(patience); ; {
		f := p.Next(s.t, time.Until(end), lab.EtherType(unix.ETH_P_IP))
		if f == nil {
			s.t.Fatalf("of %q came %q only", sends, came)
		}
		h, payload, c := ipv4.Parse(f[14:])
		if c != ipv4.CauseNone || h.Protocol() != ipv4.ProtocolUDP || len(payload) < 8 {
			continue
		}
		line, ours := strings.CutSuffix(string(payload[8:]), suffix)
		if !ours {
			continue
		}
		came = append(came, line)
		if came[len(came)-1] == sends[len(sends)-1] {
			return came
		}
	}
}

// TestBridge3 is about a bridge that asks in version 3.
func TestBridge3(t *testing.T) {
	t.Parallel()
	bridge3(t, newSnoop(t, 3, false))
}

func bridge3(t *testing.T, s *snoop) {
	k, other := s.udp(7), s.udp(8)
	sources := map[byte]*inband.UDP{2: s.source(2), 102: s.source(102), 103: s.source(103)}
	wire, otherWire := s.lab.Near().Packet(t), s.receiver.Packet(t)

	check(t, k.Multicast().JoinGroup(s.on(groupA)))
	check(t, k.Multicast().JoinSource(s.on(groupB), from(2)))
	check(t, setGroup(s.receiver.UDP(t, 7), s.receiver, unix.IP_ADD_MEMBERSHIP, groupC))
	s.knows(groupA, "exclude")
	s.knows(groupB, "include 10.9.0.2")
	s.knowsOf(s.receiver, groupC, "exclude")
	sends := []string{"2 239.9.1.3", "2 239.9.1.4", "102 239.9.1.2", "2 239.9.1.2", "2 239.9.1.1", "102 239.9.1.1"}
	want := []string{"2 239.9.1.2", "2 239.9.1.1", "102 239.9.1.1"}
	if came := s.arrives(wire, sources, sends...); !slices.Equal(came, want) {
		t.Errorf("came %q, want %q", came, want)
	}
	if came := s.arrives(otherWire, sources, append(sends[1:], sends[0])...); !slices.Equal(came, sends[:1]) {
		t.Errorf("to the other receiver came %q", came)
	}

	// Sources come and go.
	check(t, k.Multicast().JoinSource(s.on(groupB), from(102)))
	s.knows(groupB, "include 10.9.0.102 10.9.0.2")
	check(t, other.Multicast().JoinSource(s.on(groupB), from(103)))
	s.knows(groupB, "include 10.9.0.102 10.9.0.103 10.9.0.2")
	check(t, k.Multicast().LeaveSource(s.on(groupB), from(2)))
	s.knows(groupB, "include 10.9.0.102 10.9.0.103")
	check(t, k.Multicast().BlockSource(s.on(groupA), from(2)))
	s.knows(groupA, "exclude not 10.9.0.2")
	if came := s.arrives(wire, sources, "2 239.9.1.2", "2 239.9.1.1", "103 239.9.1.2", "102 239.9.1.1"); !slices.Equal(came, []string{"103 239.9.1.2", "102 239.9.1.1"}) {
		t.Errorf("came %q", came)
	}
	check(t, k.Multicast().UnblockSource(s.on(groupA), from(2)))
	s.knows(groupA, "exclude")

	// What we answer to its queries keeps it from forgetting.
	s.outlasts(lifetime)
	s.knows(groupA, "exclude")
	s.knows(groupB, "include 10.9.0.102 10.9.0.103")

	check(t, k.Multicast().LeaveGroup(s.on(groupA)))
	s.knows(groupA, "")
	check(t, k.Multicast().LeaveGroup(s.on(groupB)))
	s.knows(groupB, "include 10.9.0.103")
	if came := s.arrives(wire, sources, "2 239.9.1.1", "102 239.9.1.1", "102 239.9.1.2", "103 239.9.1.2"); !slices.Equal(came, []string{"103 239.9.1.2"}) {
		t.Errorf("came %q", came)
	}
	check(t, k.Multicast().JoinGroup(s.on(groupD)))
	s.knows(groupD, "exclude")
	check(t, s.close())
	s.knows(groupB, "")
	s.knows(groupD, "")
}

// outlasts waits until the bridge has asked for so long, once a second.
func (s *snoop) outlasts(d time.Duration) {
	s.t.Helper()
	if s.shared { // it is the kernel that hears
		time.Sleep(d)
		return
	}
	heard := func() uint64 { q := s.ifc.GroupStats().RxQueries; return q[1] + q[2] + q[3] }
	before, began := heard(), time.Now()
	await(s.t, "queries", func() bool { return time.Since(began) > d && heard()-before >= uint64(d/time.Second) })
}

// lifetime is for how long the bridge knows a member that does not answer, and a bit.
const lifetime = 3200 * time.Millisecond

// TestBridge2 is about one that asks in version 2.
func TestBridge2(t *testing.T) {
	t.Parallel()
	bridge2(t, newSnoop(t, 2, false))
}

func bridge2(t *testing.T, s *snoop) {
	k, other := s.udp(7), s.udp(8)
	sources := map[byte]*inband.UDP{2: s.source(2)}
	wire := s.lab.Near().Packet(t)
	check(t, k.Multicast().JoinGroup(s.on(groupA)))
	check(t, other.Multicast().JoinGroup(s.on(groupA)))
	check(t, k.Multicast().JoinSource(s.on(groupB), from(2)))
	check(t, setGroup(s.receiver.UDP(t, 7), s.receiver, unix.IP_ADD_MEMBERSHIP, groupC))
	s.knows(groupA, "all")
	s.knows(groupB, "all")
	s.knowsOf(s.receiver, groupC, "all")
	want := []string{"2 239.9.1.2", "2 239.9.1.1"}
	if came := s.arrives(wire, sources, "2 239.9.1.3", "2 239.9.1.4", "2 239.9.1.2", "2 239.9.1.1"); !slices.Equal(came, want) {
		t.Errorf("came %q, want %q", came, want)
	}
	check(t, k.Multicast().LeaveGroup(s.on(groupA)))
	check(t, k.Multicast().LeaveGroup(s.on(groupB)))
	s.knows(groupB, "")
	s.outlasts(lifetime)
	s.knows(groupA, "all") // there is a member left
	check(t, s.close())
	s.knows(groupA, "")
}
