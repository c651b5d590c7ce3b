package claim

import (
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// icmp returns an ICMP message from the peer, with what is behind its first 4 bytes.
func icmp(typ byte, more ...byte) frame {
	return frame{to: hostAddr, protocol: unix.IPPROTO_ICMP, payload: append([]byte{typ, 0, 0, 0}, more...)}
}

// quoting returns an ICMP error about a datagram from the host.
func quoting(typ byte, about frame) frame {
	about.from, about.to = about.to, about.from
	return icmp(typ, append(make([]byte, 4), ipv4(about)...)...)
}

// TestRingTakesICMP has ICMP messages of each kind come.
func TestRingTakesICMP(t *testing.T) {
	for _, o := range []Options{{}, {Classic: true}} {
		lb := newLab(t)
		c := lb.attached(o)
		r := lb.ring(c)
		add(t, c, Claim{Port: 1000})
		add(t, c, Claim{Port: 1003, Local: hostAddr, Peer: peerAddr, PeerPort: 5000})
		release, err := c.AddIdent(77)
		must(t, err)
		// Of a quoted datagram "to" is the source, and sport the claimed port.
		about := frame{to: hostAddr, from: peerAddr, sport: 1000, dport: 9}
		with := func(change func(*frame)) frame { f := about; change(&f); return f }
		cases := []struct {
			name     string
			f        frame
			want     bool
			tooMuch  bool // a classic filter takes it too
			released bool
		}{
			{"unreachable", quoting(3, about), true, false, true},
			{"source quench", quoting(4, about), true, false, true},
			{"redirect", quoting(5, about), true, false, true},
			{"time exceeded", quoting(11, about), true, false, true},
			{"parameter problem", quoting(12, about), true, false, true},
			{"about a port that is not claimed", quoting(3, with(func(f *frame) { f.sport = 1001 })), false, false, false},
			{"about what another address sent, which a router may have made of it", quoting(3, with(func(f *frame) { f.to = elsewhere })), true, false, true},
			{"about what another address sent, from a port that is not claimed", quoting(3, with(func(f *frame) { f.to, f.sport = elsewhere, 1001 })), false, false, false},
			{"about a header of version 5", quoting(3, with(func(f *frame) { f.headerLen = 0x55 })), true, false, true},
			{"about a header that is too short", quoting(3, with(func(f *frame) { f.headerLen = 0x44 })), false, true, false},
			{"about a connected socket", quoting(3, with(func(f *frame) { f.sport, f.dport = 1003, 5000 })), true, false, true},
			{"about another peer's port", quoting(3, with(func(f *frame) { f.sport, f.dport = 1003, 5001 })), false, true, false},
			{"about a datagram with options", quoting(3, with(func(f *frame) { f.options = make([]byte, 8) })), true, false, true},
			{"about an unclaimed one with options", quoting(3, with(func(f *frame) { f.options, f.sport = make([]byte, 8), 1001 })), false, true, false},
			{"about TCP", quoting(3, with(func(f *frame) { f.protocol, f.payload = 6, udpHeader(1000, 9, 20) })), false, false, false},
			{"about a later fragment", quoting(3, with(func(f *frame) { f.fragment, f.payload = 5, udpHeader(1000, 9, 0) })), true, false, true},
			{"with options of its own", func() frame { f := quoting(3, about); f.options = make([]byte, 4); return f }(), true, false, true},
			{"cut short", icmp(3, append(make([]byte, 4), ipv4(about)[:22]...)...), false, true, false},
			{"echo reply", icmp(0, 0, 77, 0, 1), true, false, false},
			{"another ping's reply", icmp(0, 0, 78, 0, 1), false, true, false},
			{"about an echo", quoting(3, with(func(f *frame) { f.protocol, f.payload = 1, []byte{8, 0, 0, 0, 0, 77, 0, 1} })), true, false, false},
			{"about another ping's echo", quoting(3, with(func(f *frame) { f.protocol, f.payload = 1, []byte{8, 0, 0, 0, 0, 78, 0, 1} })), false, true, false},
			{"about an echo reply", quoting(3, with(func(f *frame) { f.protocol, f.payload = 1, []byte{0, 0, 0, 0, 0, 77, 0, 1} })), false, true, false},
			{"echo", icmp(8, 0, 77, 0, 1), false, false, false},
			{"timestamp", icmp(13, 0, 77, 0, 1), false, false, false},
		}
		for _, tt := range cases {
			n, _ := r.took(lb.bytes(tt.f))
			if want := tt.want || o.Classic && tt.tooMuch; (n > 0) != want {
				t.Errorf("classic %t: %s: the ring took %d", o.Classic, tt.name, n)
			}
		}
		release()
		release() // which does nothing
		for _, tt := range cases {
			n, _ := r.took(lb.bytes(tt.f))
			if n > 0 != tt.released && !(o.Classic && tt.tooMuch) {
				t.Errorf("classic %t: %s, the ping socket closed: the ring took %d", o.Classic, tt.name, n)
			}
		}
	}
}

// TestRingTakesLongReply has the reply to a long ping come in fragments.
func TestRingTakesLongReply(t *testing.T) {
	lb := newLab(t)
	c := lb.attached(Options{})
	r := lb.ring(c)
	_, err := c.AddIdent(77)
	must(t, err)
	parts := func(ident byte, id uint16) [][]byte {
		first, last := icmp(0, append([]byte{0, ident, 0, 1}, make([]byte, 8)...)...), icmp(0, make([]byte, 12)...)
		first.id, first.fragment, last.id, last.fragment = id, moreFragments, id, 2
		return [][]byte{lb.bytes(first), lb.bytes(last)}
	}
	if n, _ := r.took(parts(77, 1)...); n != 2 {
		t.Errorf("the ring took %d of 2", n)
	}
	if n, _ := r.took(parts(78, 2)...); n != 0 {
		t.Errorf("the ring took %d of another ping's", n)
	}
}

// TestWiden has raw and packet sockets open.
func TestWiden(t *testing.T) {
	for _, o := range []Options{{}, {Classic: true}} {
		lb := newLab(t)
		c := lb.attached(o)
		r := lb.ring(c)
		frames := map[string]frame{
			"UDP":        {to: hostAddr, dport: 999},
			"TCP":        {to: hostAddr, protocol: 6, payload: make([]byte, 20)},
			"fragment":   {to: hostAddr, protocol: 6, fragment: 9, payload: make([]byte, 20)},
			"forwarded":  {to: elsewhere, protocol: 6, payload: make([]byte, 20)},
			"echo":       icmp(8, 0, 1, 0, 1),
			"experiment": {toMAC: lb.hostMAC, etherType: 0x88b5, payload: make([]byte, 46)},
			"VLAN":       {to: hostAddr, dport: 999, tags: [][2]uint16{{unix.ETH_P_8021Q, 5}}},
			"other host": {to: hostAddr, dport: 999, toMAC: [6]byte{2, 0, 0, 0, 0, 99}},
		}
		sees := func(what string, want ...string) {
			t.Helper()
			for name, f := range frames {
				if n, _ := r.took(lb.bytes(f)); (n > 0) != slices.Contains(want, name) {
					t.Errorf("classic %t: %s: of %s the ring took %d", o.Classic, what, name, n)
				}
			}
		}
		widen := func(w Width) func() {
			t.Helper()
			narrow, err := c.Widen(w)
			must(t, err)
			return narrow
		}
		ipv4 := []string{"UDP", "TCP", "fragment", "forwarded", "echo"}
		sees("nothing")
		tcp, again := widen(6), widen(6)
		sees("TCP", "TCP", "fragment", "forwarded")
		tcp()
		tcp()
		sees("TCP once more", "TCP", "fragment", "forwarded")
		again()
		sees("no more TCP")
		all := widen(AllIPv4)
		sees("all IPv4", ipv4...)
		everything := widen(Everything)
		all()
		sees("everything", append(ipv4, "experiment", "VLAN")...)
		promiscuous := widen(Promiscuous)
		sees("promiscuous", append(ipv4, "experiment", "VLAN", "other host")...)
		everything()
		promiscuous()
		sees("nothing more")
		for _, w := range []Width{-1, Promiscuous + 1} {
			if _, err := c.Widen(w); err != unix.EINVAL {
				t.Errorf("width %d: %v", w, err)
			}
		}
	}
}

// TestClassicPorts has as many ports as a classic filter tells apart, and one more.
func TestClassicPorts(t *testing.T) {
	lb := newLab(t)
	c := lb.attached(Options{Force: Holder, Classic: true})
	r := lb.ring(c)
	takes := func(port uint16) bool {
		n, _ := r.took(lb.bytes(frame{to: hostAddr, dport: port}))
		return n > 0
	}
	var last *Entry
	for i := range uint16(maxClassicPorts) {
		last = add(t, c, Claim{Port: 1000 + 2*i})
		if i < 10 || i > maxClassicPorts-3 {
			for j := range uint16(2 * (i + 2)) {
				if got, want := takes(999+j), j%2 == 1 && j <= 2*i+1; got != want {
					t.Errorf("%d ports: port %d taken: %t", i+1, 999+j, got)
				}
			}
		}
	}
	one := add(t, c, Claim{Port: 7})
	if !takes(999) || !takes(8) {
		t.Error("more ports: not all are taken")
	}
	one.Close()
	if takes(999) || !takes(1000) || !takes(1998) {
		t.Error("one less: ports are not told apart")
	}
	last.Close()
	if takes(1998) {
		t.Error("a port is taken that was given up")
	}
}

// TestClassicReturns has a socket be without a filter's care for a time.
func TestClassicReturns(t *testing.T) {
	lb := newLab(t)
	c := lb.attached(Options{Force: Holder, Classic: true})
	r := lb.ring(c)
	add(t, c, Claim{Port: 1000})
	c.RemoveFilter(r.fd)
	e := add(t, c, Claim{Port: 1001})
	must(t, c.AttachFilter(r.fd))
	e.Close() // the filter is to be what it was before
	if n, _ := r.took(lb.bytes(frame{to: hostAddr, dport: 1001})); n != 0 {
		t.Error("a port is taken that was given up")
	}
}

// TestClassicForgets has a descriptor become another socket.
func TestClassicForgets(t *testing.T) {
	lb := newLab(t)
	c := lb.attached(Options{Force: Holder, Classic: true})
	open := func() (fd int) {
		t.Helper()
		must(t, lb.host.Do(func() (err error) {
			fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
			return err
		}))
		return fd
	}
	first, second := open(), open()
	defer unix.Close(second)
	must(t, c.AttachFilter(first))
	must(t, unix.Dup3(second, first, unix.O_CLOEXEC)) // closes what first was
	defer unix.Close(first)
	add(t, c, Claim{Port: 1000})
	if len(c.sockets) != 0 {
		t.Error("another socket has got a filter")
	}
	must(t, c.AttachFilter(second))
	c.RemoveFilter(second)
	if len(c.sockets) != 0 {
		t.Error("a socket was not forgotten")
	}
}
