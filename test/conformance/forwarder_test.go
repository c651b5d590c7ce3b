package conformance

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/internal/checksum"
	"github.com/outband/outband/internal/netlab"
	"github.com/outband/outband/link/tpacket"
	"github.com/outband/outband/stack"
	"github.com/outband/outband/test/lab"
)

// A forwarder is a host of the kernel's that forwards between two networks, with a stack
// of ours on both of its devices, and a peer at each:
//
//	far --- 10.9.0.0/24 --- near0 (host .3, stack .1)
//	                        near1 (host .3, stack .1) --- 10.8.0.0/24 --- far1
//
// The stack has 10.9.0.100 on lo beside.
type forwarder struct {
	t     *testing.T
	host  *lab.Endpoint
	peers []*forwardedPeer
	stack *stack.Stack
	links []*tpacket.Link
	taken []netip.Addr // the stack's
	seq   uint16
}

// A forwardedPeer is a neighbour of the host, and what it sees of it.
type forwardedPeer struct {
	*lab.Endpoint
	hostMAC  [6]byte
	hostAddr netip.Addr
	wire     *lab.Packet
}

var forwardedAddresses = []struct {
	device string
	prefix netip.Prefix
}{
	{"near0", netip.MustParsePrefix("10.9.0.1/24")},
	{"near1", netip.MustParsePrefix("10.8.0.1/24")},
	{"lo", netip.MustParsePrefix("10.9.0.100/32")},
}

func newForwarder(t *testing.T, o tpacket.Options, without ...int) *forwarder {
	t.Helper()
	l := lab.New(t, lab.Config{Kernel: lab.Far})
	f := &forwarder{t: t, host: l.Near()}
	other, err := netlab.NewNamespace()
	check(t, err)
	t.Cleanup(func() { check(t, other.Close()) })
	near1 := &lab.Endpoint{Namespace: f.host.Namespace, Name: "near1", MAC: [6]byte{2, 0, 10, 8, 0, 1}}
	far1 := &lab.Endpoint{Namespace: other, Name: "far1", Addr: netip.MustParseAddr("10.8.0.2"), MAC: [6]byte{2, 0, 10, 8, 0, 2}}
	check(t, f.host.AddVeth(netlab.Veth{Name: near1.Name, PeerName: far1.Name, Peer: other, MAC: near1.MAC, PeerMAC: far1.MAC}))
	check(t, far1.AddAddress(far1.Name, far1.Prefix()))
	check(t, f.host.SetUp(near1.Name))
	check(t, far1.SetUp(far1.Name))
	f.peers = []*forwardedPeer{
		{l.Far(), f.host.MAC, netip.MustParseAddr("10.9.0.3"), l.Far().Packet(t)},
		{far1, near1.MAC, netip.MustParseAddr("10.8.0.3"), far1.Packet(t)},
	}
	check(t, f.host.AddAddress("near0", netip.PrefixFrom(f.peers[0].hostAddr, lab.Bits)))
	check(t, f.host.AddAddress("near1", netip.PrefixFrom(f.peers[1].hostAddr, lab.Bits)))
	check(t, f.host.SetSysctl("net/ipv4/ip_forward", "1"))
	f.stack, err = stack.New(stack.Config{})
	check(t, err)
	t.Cleanup(func() { check(t, f.stack.Close()) })
	for _, device := range []string{"near0", "near1"} {
		f.addLink(device, o, without)
	}
	return f
}

func (f *forwarder) addLink(device string, o tpacket.Options, without []int) {
	f.t.Helper()
	var l *tpacket.Link
	f.host.In(f.t, func() error {
		return withoutCapabilities(without, func() (err error) { l, err = tpacket.Open(device, o); return err })
	})
	f.links = append(f.links, l)
	_, err := f.stack.AddLink(l, stack.InterfaceConfig{})
	check(f.t, err)
}

// withoutCapabilities runs fn on the calling thread, which does without some
// capabilities meanwhile.
func withoutCapabilities(without []int, fn func() error) error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var all, some [2]unix.CapUserData
	if err := unix.Capget(&header, &all[0]); err != nil {
		return err
	}
	some = all
	for _, c := range without {
		some[c/32].Effective &^= 1 << (c % 32)
	}
	if err := unix.Capset(&header, &some[0]); err != nil {
		return err
	}
	defer unix.Capset(&header, &all[0])
	return fn()
}

// addAddresses gives the stack its addresses, and returns the first error.
func (f *forwarder) addAddresses() error {
	f.t.Helper()
	for _, a := range forwardedAddresses {
		if err := f.stack.InterfaceByName(a.device).AddAddress(a.prefix); err != nil {
			return err
		}
		f.taken = append(f.taken, a.prefix.Addr())
	}
	return nil
}

// datagram returns a frame with an IPv4 datagram from a peer to an address of the host's
// device, with tags before it.
func (p *forwardedPeer) datagram(to netip.Addr, protocol uint8, id, fragment uint16, payload []byte, tags ...byte) []byte {
	b := append(append(append([]byte{}, p.hostMAC[:]...), p.MAC[:]...), tags...)
	b = append(b, 8, 0)
	at := len(b)
	b = append(b, 0x45, 0)
	b = binary.BigEndian.AppendUint16(b, uint16(20+len(payload)))
	b = binary.BigEndian.AppendUint16(b, id)
	b = binary.BigEndian.AppendUint16(b, fragment)
	b = append(b, 64, protocol, 0, 0)
	b = append(append(b, p.Addr.AsSlice()...), to.AsSlice()...)
	binary.BigEndian.PutUint16(b[at+10:], ^checksum.Sum(b[at:], 0))
	return append(b, payload...)
}

// fenceIdent is the ident of the pings to the host itself.
const fenceIdent = 99

// echo returns an ICMP echo request.
func echo(ident, seq uint16) []byte {
	b := []byte{8, 0, 0, 0, byte(ident >> 8), byte(ident), byte(seq >> 8), byte(seq), 'e', 'c', 'h', 'o', '.', '.', '.', '.'}
	binary.BigEndian.PutUint16(b[2:], ^checksum.Sum(b, 0))
	return b
}

// udpTo returns a UDP datagram from port 4000, without a checksum.
func udpTo(port uint16, payload []byte) []byte {
	b := binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(nil, 4000), port)
	b = binary.BigEndian.AppendUint16(b, uint16(8+len(payload)))
	return append(append(b, 0, 0), payload...)
}

// askedAnswers is how many frames the stack has to answer what ask sends with, at least:
// four echo replies, a datagram, and one of two fragments.
const askedAnswers = 4 + 1 + 2

// ask sends to one of the stack's addresses all that a host that forwards might have an
// opinion on: echo requests with and without priority tags, datagrams to an open port and
// a closed one, fragments.
func (f *forwarder) ask(p *forwardedPeer, to netip.Addr) {
	f.t.Helper()
	priority := []byte{0x81, 0, 0xe0, 0}
	for n := range 4 {
		f.seq++
		p.wire.Send(f.t, p.datagram(to, unix.IPPROTO_ICMP, f.seq, 0, echo(1, f.seq), []byte(strings.Repeat(string(priority), n))...))
	}
	f.seq++
	p.wire.Send(f.t, p.datagram(to, unix.IPPROTO_UDP, f.seq, 0, udpTo(7, fmt.Appendf(nil, "open %4d", f.seq))))
	p.wire.Send(f.t, p.datagram(to, unix.IPPROTO_UDP, f.seq+1, 0, udpTo(9, []byte("closed"))))
	f.seq += 2
	long := udpTo(7, append(fmt.Appendf(nil, "long %4d", f.seq), make([]byte, 2943)...))
	p.wire.Send(f.t, p.datagram(to, unix.IPPROTO_UDP, f.seq, 0x2000, long[:1480]))
	p.wire.Send(f.t, p.datagram(to, unix.IPPROTO_UDP, f.seq, 1480/8, long[1480:]))
}

// heard collects what a peer gets up to the host's answer to a ping of its own, and the
// stack's to all that was asked: answers of the stack's, by what they say, and what the
// host should not have said.
func (f *forwarder) heard(p *forwardedPeer, answers map[string]int) (wrong []string) {
	f.t.Helper()
	p.wire.Send(f.t, p.datagram(p.hostAddr, unix.IPPROTO_ICMP, 1, 0, echo(fenceIdent, 1)))
	for fence, left := false, askedAnswers*len(f.taken); !fence || left > 0; {
		frame := p.wire.Want(f.t, nil)
		switch binary.BigEndian.Uint16(frame[12:]) {
		case unix.ETH_P_ARP:
			from, about := netip.AddrFrom4([4]byte(frame[28:])), netip.AddrFrom4([4]byte(frame[38:]))
			if request := frame[21] == 1; request && from == p.hostAddr && about != p.Addr {
				wrong = append(wrong, fmt.Sprintf("ARP: %v asks for %v", from, about))
			}
		case unix.ETH_P_IP:
			ip := frame[14:]
			from, to, body := netip.AddrFrom4([4]byte(ip[12:])), netip.AddrFrom4([4]byte(ip[16:])), ip[20:]
			what := fmt.Sprintf("%v to %v: %x, protocol %d, %x", from, to, ip[4:8], ip[9], body[:min(16, len(body))])
			switch {
			case from == p.hostAddr && ip[9] == unix.IPPROTO_ICMP && body[0] == 0 && binary.BigEndian.Uint16(body[4:]) == fenceIdent:
				fence = true
			case to != p.Addr || ip[8] != 64 || !f.has(from):
				wrong = append(wrong, what)
			case ip[9] == unix.IPPROTO_ICMP && body[0] == 3:
				answers[fmt.Sprintf("%s, about %x", what, ip[28:56])]++
			default:
				answers[what]++
				left--
			}
		}
	}
	return wrong
}

func (f *forwarder) has(a netip.Addr) bool {
	for _, t := range f.taken {
		if t == a {
			return true
		}
	}
	return false
}

// TestHostThatForwards has a host that forwards, and asks all the stack's addresses by
// all its devices: what the peers see comes of the stack, once.
func TestHostThatForwards(t *testing.T) {
	for _, tt := range []struct {
		keeper  string
		options tpacket.Options
		without []int
	}{
		{"tcx", tpacket.Options{}, nil},
		{"nft", tpacket.Options{}, []int{unix.CAP_BPF, unix.CAP_SYS_ADMIN}},
		{"", tpacket.Options{}, []int{unix.CAP_BPF, unix.CAP_SYS_ADMIN, unix.CAP_NET_ADMIN}},
		{"", tpacket.Options{NoClaim: true}, nil},
		{"", tpacket.Options{HostMayAnswer: true, NoClaim: true}, nil},
	} {
		t.Run(fmt.Sprintf("keeper=%s may=%t", tt.keeper, tt.options.HostMayAnswer), func(t *testing.T) {
			f := newForwarder(t, tt.options, tt.without...)
			if by := f.links[0].ClaimedBy(); by != tt.keeper {
				t.Skipf("claimed by %q: this kernel has the other not", by)
			}
			err := f.addAddresses()
			if tt.keeper == "" && !tt.options.HostMayAnswer {
				if !errors.Is(err, unix.EPERM) {
					t.Errorf("an address: %v", err)
				}
				return
			}
			check(t, err)
			answers, wrong, seen := f.exchange()
			if tt.options.HostMayAnswer { // so that we know that we would see it
				if len(wrong) == 0 || seen == 0 {
					t.Errorf("the host may answer, and does not: %d datagrams seen", seen)
				}
				return
			}
			if seen != 0 || len(wrong) != 0 {
				t.Errorf("the host's IP layer saw %d datagrams of the stack's, and said:\n%s", seen, strings.Join(wrong, "\n"))
			}
			for what, n := range answers {
				if n != 1 {
					t.Errorf("%d times: %s", n, what)
				}
			}
		})
	}
}

// exchange asks, echoes, and returns the stack's answers, what the host should not have
// said, and how many datagrams its IP layer saw beside those of its own.
func (f *forwarder) exchange() (answers map[string]int, wrong []string, seen int) {
	f.t.Helper()
	w := &world{t: f.t, stack: f.stack}
	k := w.udp(7)
	answers = map[string]int{}
	before := kernelCounter(f.t, f.host, "Ip", "InReceives")
	fences := 0
	for _, p := range f.peers {
		p.UDP(f.t, 4000) // takes the answers
		for _, to := range f.taken {
			f.ask(p, to)
			for range 2 {
				b, info := w.recv(k)
				check(f.t, k.SendTo(b, 0, f.stack.Deadline(lab.Patience), netip.AddrPortFrom(netip.AddrFrom4(info.From), info.FromPort)))
			}
		}
	}
	// Answers that wait for ARP are on the wire once the peer is known.
	for _, p := range f.peers {
		check(f.t, f.stack.Solicit(p.Addr, lab.Patience, 0))
	}
	for _, p := range f.peers {
		wrong = append(wrong, f.heard(p, answers)...)
		fences++
	}
	return answers, wrong, int(kernelCounter(f.t, f.host, "Ip", "InReceives")-before) - fences
}
