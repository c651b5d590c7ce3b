package claim

import (
	"errors"
	"net"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/inband"
)

// TestCounted has several holders of one claim.
func TestCounted(t *testing.T) {
	forRungs(t, func(t *testing.T, lb *lab, o Options) {
		c := lb.attached(o)
		r := lb.ring(c)
		claims := []Claim{{Port: 1000}, {Port: 1000, Local: hostAddr}, {Port: 1000, Local: hostAddr, Peer: peerAddr, PeerPort: 5000}}
		f := frame{to: hostAddr, sport: 5000, dport: 1000}
		check := func(what string, claimed bool) {
			t.Helper()
			before := lb.counter("Ip InReceives")
			if n, _ := r.took(lb.bytes(f)); (n == 1) != claimed {
				t.Errorf("%s: the ring took %d", what, n)
			}
			if hidden := lb.counter("Ip InReceives") == before; hidden != (claimed && o.Force != Holder) {
				t.Errorf("%s: hidden: %t", what, hidden)
			}
		}
		for _, claim := range claims {
			first, second := add(t, c, claim), add(t, c, claim)
			first.Close()
			first.Close() // which does nothing
			check("one of two", true)
			second.Close()
			check("none of two", false)
		}
		var all []*Entry
		for _, claim := range claims {
			all = append(all, add(t, c, claim))
		}
		for _, e := range all {
			check("one of each kind", true)
			e.Close()
		}
		check("none of each kind", false)
		if len(c.table.claims)+len(c.table.ports)+len(c.table.bound) != 0 {
			t.Errorf("left: %+v", c.table)
		}
	})
}

// TestSharedIsCounted has holders of one port some of which share it, as when an option
// is set at one of them: while there is one, the kernel has what is for many, and all that
// is for one; whatever else is claimed at the port.
func TestSharedIsCounted(t *testing.T) {
	forRungs(t, func(t *testing.T, lb *lab, o Options) {
		if o.Force == Holder {
			t.Skip("nothing is hidden")
		}
		c := lb.attached(o)
		r := lb.ring(c)
		for _, claim := range []Claim{{Port: 1000}, {Port: 1000, Local: hostAddr}, {Port: 1000, Local: hostAddr, Peer: peerAddr, PeerPort: 5000},
			{Port: 1000, Local: group}, {Port: 1000, Local: broadcast}} {
			f, many := frame{to: hostAddr, sport: 5000, dport: 1000}, true
			switch claim.Local {
			case hostAddr:
				many = false
			case group, broadcast:
				f.to = claim.Local
			default:
				f.to = group
			}
			try := func(when string, hidden bool) {
				t.Helper()
				before := lb.counter("Ip InReceives")
				n, _ := r.took(lb.bytes(f))
				if got := lb.counter("Ip InReceives") == before; got != hidden {
					t.Errorf("%+v, %s: hidden: %t", claim, when, got)
				}
				if want := hidden || many; n > 0 != want && !(n > 0 && c.filter == nil) { // which knows ports only
					t.Errorf("%+v, %s: the ring took it: %t", claim, when, n > 0)
				}
			}
			shared := claim
			shared.Shared = true
			elsewhere := Claim{Port: 1000, Local: otherAddr, Shared: true}
			e := add(t, c, claim)
			other := add(t, c, claim)
			try("nobody shares it", true)
			must(t, other.Replace(shared))
			try("one of two shares it", false)
			if other.Claim() != shared {
				t.Errorf("is %+v", other.Claim())
			}
			other.Close()
			try("who shared it is gone", true)
			third := add(t, c, elsewhere)
			try("one at another address shares it", false)
			must(t, e.Replace(shared))
			third.Close()
			try("only it itself shares it", false)
			must(t, e.Replace(claim))
			try("it does not any more", true)
			e.Close()
		}
	})
}

// TestSetLocal has the host's addresses change.
func TestSetLocal(t *testing.T) {
	forRungs(t, func(t *testing.T, lb *lab, o Options) {
		if o.Force == Holder {
			t.Skip("nothing is hidden")
		}
		c := lb.attached(o)
		add(t, c, Claim{Port: 1000})
		add(t, c, Claim{Port: 1001, Local: otherAddr})
		add(t, c, Claim{Port: 1002, Local: broadcast, Shared: true})
		hides := func(a [4]byte, port uint16, want bool) {
			t.Helper()
			if got := lb.hides(frame{to: a, dport: port}); got != want {
				t.Errorf("%v:%d hidden: %t", a, port, got)
			}
		}
		hides(otherAddr, 1000, true)
		hides(broadcast, 1000, true)
		hides(broadcast, 1002, false)
		must(t, c.SetLocal([][4]byte{hostAddr, broadcast}, nil))
		hides(hostAddr, 1000, true)
		hides(otherAddr, 1000, false) // gone
		hides(otherAddr, 1001, true)  // its socket may still be bound to it
		hides(broadcast, 1000, true)
		hides(broadcast, 1002, false) // whatever it is
		must(t, c.SetLocal(nil, [][4]byte{broadcast, otherAddr}))
		hides(hostAddr, 1000, false)
		hides(otherAddr, 1001, true) // a broadcast address now, and nobody else has the port
		hides(broadcast, 1002, false)
		must(t, c.SetLocal([][4]byte{otherAddr}, [][4]byte{otherAddr})) // as with a prefix of 32 bits
		hides(otherAddr, 1000, true)
		hides(otherAddr, 1001, true)
		if err := c.SetLocal(make([][4]byte, maxAddresses), nil); err != nil { // all the same
			t.Error(err)
		}
		many := make([][4]byte, maxAddresses+1)
		for i := range many {
			many[i] = [4]byte{11, byte(i >> 16), byte(i >> 8), byte(i)}
		}
		if err := c.SetLocal(many, nil); !errors.Is(err, unix.ENOBUFS) {
			t.Errorf("too many: %v", err)
		}
		must(t, c.SetLocal(many[:5000], nil))
		hides(many[4999], 1000, true)
		hides(many[5000], 1000, false)
	})
}

// TestInvalid has claims that no socket can have, and calls after Close.
func TestInvalid(t *testing.T) {
	lb := newLab(t)
	c := lb.attached(Options{})
	e := add(t, c, Claim{Port: 1000})
	for _, claim := range []Claim{{}, {Local: hostAddr}, {Port: 1, Peer: peerAddr, PeerPort: 5}, {Port: 1, Local: hostAddr, Peer: peerAddr},
		{Port: 1, Local: hostAddr, PeerPort: 5}, {Port: 1, Device: -1}} {
		if _, err := c.Add(claim); err != unix.EINVAL {
			t.Errorf("Add %+v: %v", claim, err)
		}
		if err := e.Replace(claim); err != unix.EINVAL {
			t.Errorf("Replace by %+v: %v", claim, err)
		}
	}
	if !lb.hides(frame{to: hostAddr, dport: 1000}) {
		t.Error("a Replace that failed takes the claim away")
	}
	closed := add(t, c, Claim{Port: 1001})
	closed.Close()
	if err := closed.Replace(Claim{Port: 1002}); !errors.Is(err, unix.EBADF) {
		t.Errorf("Replace of what is closed: %v", err)
	}
	narrow, err := c.Widen(Everything)
	must(t, err)
	c.Close()
	c.Close()
	e.Close()
	narrow()
	c.Detach(lb.index)
	c.RemoveFilter(0)
	_, addErr := c.Add(Claim{Port: 1})
	_, widenErr := c.Widen(0)
	_, identErr := c.AddIdent(0)
	for i, err := range []error{addErr, widenErr, identErr, e.Replace(Claim{Port: 1}), c.SetLocal(nil, nil), c.Attach(lb.index, "eth0"), c.AttachFilter(0)} {
		if !errors.Is(err, unix.EBADF) {
			t.Errorf("call %d after Close: %v", i, err)
		}
	}
	if c.Stats(lb.index) != (Stats{}) {
		t.Error("counters after Close")
	}
}

// TestSuperPacket has the peer send datagrams by UDP_SEGMENT, which cross as one frame.
func TestSuperPacket(t *testing.T) {
	forRungs(t, func(t *testing.T, lb *lab, o Options) {
		c := lb.attached(o)
		r := lb.ring(c)
		add(t, c, Claim{Port: 1000})
		var u *inband.UDP
		must(t, lb.peer.Do(func() (err error) {
			u, err = inband.OpenUDP(netip.AddrPortFrom(netip.IPv4Unspecified(), 5000))
			return err
		}))
		defer u.Close()
		must(t, u.SetOption(unix.IPPROTO_UDP, unix.UDP_SEGMENT, 1000))
		before := lb.counter("Ip InReceives")
		must(t, u.SendTo(make([]byte, 10*1000), netip.AddrPortFrom(netip.AddrFrom4(hostAddr), 1000)))
		n, lengths := r.came()
		if n != 1 || lengths[0] != 14+20+8+10*1000 {
			t.Errorf("the ring took %v", lengths)
		}
		if got := lb.counter("Ip InReceives") - before; (got == 0) != (o.Force != Holder) {
			t.Errorf("the kernel has %d", got)
		}
		if got := c.Stats(lb.index).Dropped; o.Force == TCX && got != 10 {
			t.Errorf("counted %d", got)
		}
	})
}

// TestLoopedBack has a socket of the host send to a group of which another is a member,
// which no ring sees: the member gets it.
func TestLoopedBack(t *testing.T) {
	forRungs(t, func(t *testing.T, lb *lab, o Options) {
		c := lb.attached(o)
		add(t, c, Claim{Port: 1000})
		add(t, c, Claim{Port: 1000, Local: group})
		member, sender := lb.socket(1000), lb.socket(0)
		join := &unix.IPMreqn{Multiaddr: group, Ifindex: int32(lb.index)}
		must(t, unix.SetsockoptIPMreqn(member.FD(), unix.IPPROTO_IP, unix.IP_ADD_MEMBERSHIP, join))
		must(t, unix.SetsockoptIPMreqn(sender.FD(), unix.IPPROTO_IP, unix.IP_MULTICAST_IF, join))
		must(t, member.SetReadTimeout(5e9))
		lb.inject(lb.bytes(frame{to: group, dport: 1000, payload: []byte("wire")}))
		must(t, sender.SendTo([]byte("host"), netip.AddrPortFrom(netip.AddrFrom4(group), 1000)))
		want, buf := "host", make([]byte, 10)
		if o.Force == Holder {
			want = "wire"
		}
		if n, err := member.Recv(buf, 0); err != nil || string(buf[:n]) != want {
			t.Errorf("the member has %q, %v", buf[:n], err)
		}
	})
}

// TestLoopback has claims on lo, where all of 127.0.0.0/8 is the host's.
func TestLoopback(t *testing.T) {
	forRungs(t, func(t *testing.T, lb *lab, o Options) {
		c := lb.attached(o)
		must(t, c.Attach(1, "lo"))
		if o.Force == NFT {
			must(t, c.SetLocal([][4]byte{hostAddr, {127, 0, 0, 1}, {127, 9, 9, 9}}, nil))
		}
		add(t, c, Claim{Port: 1000})
		in, sender := lb.socket(1000), lb.socket(0)
		for _, to := range []string{"127.0.0.1", "127.9.9.9", "10.9.0.1"} {
			before := lb.counter("Udp NoPorts") + lb.counter("Ip InReceives")
			must(t, sender.SendTo([]byte("x"), netip.AddrPortFrom(netip.MustParseAddr(to), 1000)))
			hidden := lb.counter("Udp NoPorts")+lb.counter("Ip InReceives") == before
			_, err := in.Recv(make([]byte, 10), unix.MSG_DONTWAIT)
			if want := o.Force != Holder; hidden != want || (err == unix.EAGAIN) != want {
				t.Errorf("%s: hidden %t, %v", to, hidden, err)
			}
		}
		if lb.hides(frame{to: [4]byte{127, 0, 0, 1}, dport: 1000}) && o.Force == TCX {
			t.Error("a martian is hidden from the kernel, which counts it")
		}
	})
}

// TestSocketsOfOthers has in-band sockets beside a claim: a neighbouring port, and TCP.
func TestSocketsOfOthers(t *testing.T) {
	forRungs(t, func(t *testing.T, lb *lab, o Options) {
		c := lb.attached(o)
		add(t, c, Claim{Port: 1000})
		in := lb.socket(1001)
		var u *inband.UDP
		must(t, lb.peer.Do(func() (err error) {
			u, err = inband.OpenUDP(netip.AddrPortFrom(netip.IPv4Unspecified(), 0))
			return err
		}))
		defer u.Close()
		for range 100 {
			must(t, u.SendTo([]byte("x"), netip.AddrPortFrom(netip.AddrFrom4(hostAddr), 1000)))
			must(t, u.SendTo([]byte("x"), netip.AddrPortFrom(netip.AddrFrom4(hostAddr), 1001)))
		}
		must(t, in.SetReadTimeout(5e9))
		for i := range 100 {
			if _, err := in.Recv(make([]byte, 10), 0); err != nil {
				t.Fatalf("datagram %d: %v", i, err)
			}
		}
		var l net.Listener
		must(t, lb.host.Do(func() (err error) { l, err = net.Listen("tcp4", "10.9.0.1:1000"); return err }))
		defer l.Close()
		must(t, lb.peer.Do(func() error {
			conn, err := net.Dial("tcp4", "10.9.0.1:1000")
			if err == nil {
				conn.Close()
			}
			return err
		}))
	})
}
