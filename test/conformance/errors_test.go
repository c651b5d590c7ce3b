package conformance

import (
	"encoding/binary"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/icmp"
	"github.com/outband/outband/ipv4"
	"github.com/outband/outband/stack"
)

// We send to a port that nobody has at the kernel.
func TestPortUnreachableFromKernel(t *testing.T) {
	w := newWorld(t, setup{})
	k := w.udp(0)
	check(t, k.Connect(w.kernels(9)))
	check(t, k.Send([]byte("x"), 0, stack.NoDeadline))
	// A reader who waits is told.
	_, _, err := k.Recv(make([]byte, 1), 0, w.stack.Deadline(5*time.Second))
	wantErr(t, err, unix.ECONNREFUSED)
	// So is the next sender; and then all is forgotten.
	check(t, k.Send([]byte("x"), 0, stack.NoDeadline))
	await(t, "pending error", k.Readable)
	wantErr(t, k.Send([]byte("x"), 0, stack.NoDeadline), unix.ECONNREFUSED)
	if e := k.Errors().Take(); e != 0 {
		t.Errorf("error is reported twice: %v", e)
	}
}

// Without a peer only who asks for it by IP_RECVERR hears of it.
func TestPortUnreachableUnconnected(t *testing.T) {
	w := newWorld(t, setup{})
	deaf, keen := w.udp(0), w.udp(0)
	keen.Errors().SetRecvErr(true)
	w.send(deaf, []byte("x"), w.kernels(9))
	w.wantStat("IcmpInDestUnreachs", 1)
	if e := deaf.Errors().Take(); e != 0 {
		t.Errorf("unconnected socket without IP_RECVERR got %v", e)
	}
	w.send(keen, []byte("x"), w.kernels(9))
	wantErr(t, w.awaitError(keen), unix.ECONNREFUSED)
}

// The kernel sends to a port that nobody has at ours.
func TestPortUnreachableToKernel(t *testing.T) {
	w := newWorld(t, setup{})
	u := w.far.UDP(t, 0)
	check(t, u.Connect(w.ours(9)))
	_, err := u.Send([]byte("x"))
	check(t, err)
	_, err = u.Recv(make([]byte, 1), 0)
	wantErr(t, err, unix.ECONNREFUSED)
	w.wantStat("UdpNoPorts", 1)
	w.wantStat("IcmpOutDestUnreachs", 1)
}

// The quote in our error is long enough for the kernel to find the datagram of
// which it speaks, also if that came in fragments.
func TestPortUnreachableFragmented(t *testing.T) {
	w := newWorld(t, setup{})
	u := w.far.UDP(t, 0)
	check(t, u.Connect(w.ours(9)))
	_, err := u.Send(make([]byte, 5000))
	check(t, err)
	_, err = u.Recv(make([]byte, 1), 0)
	wantErr(t, err, unix.ECONNREFUSED)
}

// A protocol that we do not speak.
func TestProtocolUnreachableToKernel(t *testing.T) {
	w := newWorld(t, setup{})
	r := rawSocket(t, w.far, 253) // for experiments (RFC 3692)
	check(t, unix.Connect(r.fd, &unix.SockaddrInet4{Addr: w.near.Addr.As4()}))
	_, err := unix.Write(r.fd, []byte("a quote takes 8 bytes"))
	check(t, err)
	_, _, err = unix.Recvfrom(r.fd, make([]byte, 1), 0)
	wantErr(t, err, unix.ENOPROTOOPT)
	w.wantStat("IpInUnknownProtos", 1)
}

// Errors as a kernel or router would send them, made by hand, arrive as the
// errnos of Linux: hard ones at connected sockets, all at those with IP_RECVERR.
func TestErrnos(t *testing.T) {
	cases := []struct {
		typ, code uint8
		want      unix.Errno
		hard      bool
	}{
		{icmp.DestinationUnreachable, icmp.CodeNet, unix.ENETUNREACH, false},
		{icmp.DestinationUnreachable, icmp.CodeHost, unix.EHOSTUNREACH, false},
		{icmp.DestinationUnreachable, icmp.CodeProtocol, unix.ENOPROTOOPT, true},
		{icmp.DestinationUnreachable, icmp.CodePort, unix.ECONNREFUSED, true},
		{icmp.DestinationUnreachable, icmp.CodeSourceRoute, unix.EOPNOTSUPP, false},
		{icmp.DestinationUnreachable, icmp.CodeHostUnknown, unix.EHOSTDOWN, true},
		{icmp.DestinationUnreachable, icmp.CodeFiltered, unix.EHOSTUNREACH, true},
		{icmp.TimeExceeded, icmp.CodeTTL, unix.EHOSTUNREACH, false},
		{icmp.ParameterProblem, icmp.CodePointer, unix.EPROTO, true},
	}
	w := newWorld(t, setup{})
	peer, h := w.far.UDP(t, 7), w.hand()
	for _, c := range cases {
		for _, recvErr := range []bool{false, true} {
			k := w.udp(0)
			k.Errors().SetRecvErr(recvErr)
			check(t, k.Connect(w.kernels(7)))
			check(t, k.Send([]byte("x"), 0, stack.NoDeadline))
			recvInBand(t, peer)
			frame := h.wire.Want(t, udpFromPort(k.LocalAddr().Port()))
			h.send(h.fields(ipv4.ProtocolICMP), icmp.AppendError(nil, c.typ, c.code, 0, frame[14:]))
			h.marker(k.LocalAddr().Port()) // of another port: nobody has it
			wantPending(t, w, k, c.typ, c.code, c.want, c.hard || recvErr)
			k.Close()
		}
	}
}

// udpFromPort is a keep function for Packet.Next.
func udpFromPort(port uint16) func([]byte) bool {
	return func(b []byte) bool {
		return len(b) > 42 && b[23] == ipv4.ProtocolUDP && binary.BigEndian.Uint16(b[34:]) == port
	}
}

func wantPending(t *testing.T, w *world, k *stack.UDPSocket, typ, code uint8, want unix.Errno, told bool) {
	t.Helper()
	var e unix.Errno
	if told {
		e = w.awaitError(k)
	} else {
		want = 0
		// The error has been dealt with when what follows it has been.
		w.echoOnce(w.udp(0), w.far.UDP(t, 0), []byte("marker"))
		e = k.Errors().Take()
	}
	if e != want {
		t.Errorf("type %d code %d: error is %v, want %v", typ, code, e, want)
	}
}

// Errors about what we never sent are forged: counted, and without effect.
func TestForgedErrors(t *testing.T) {
	w := newWorld(t, setup{})
	peer, h := w.far.UDP(t, 7), w.hand()
	k := w.udp(5000)
	k.Errors().SetRecvErr(true)
	w.echoOnce(k, peer, []byte("hello"))
	check(t, k.Connect(w.kernels(7)))
	own, far := w.near.Addr.As4(), w.far.Addr.As4()
	quote := func(src, dst [4]byte, sport, dport uint16) []byte {
		return packet(ipv4.Fields{TTL: 64, Protocol: ipv4.ProtocolUDP, Src: src, Dst: dst},
			datagram(src, dst, sport, dport, make([]byte, 8)))
	}
	forged := map[string][]byte{
		"another source":      quote(far, own, 5000, 7),
		"another host's":      quote(stranger, far, 5000, 7),
		"another source port": quote(own, far, 5001, 7),
		"another port":        quote(own, far, 5000, 8),
		"another destination": quote(own, stranger, 5000, 7),
		"cut short":           quote(own, far, 5000, 7)[:23],
	}
	for name, q := range forged {
		before := w.stat("OutbandDropICMPUnvalidated")
		h.send(h.fields(ipv4.ProtocolICMP), icmp.AppendError(nil, icmp.DestinationUnreachable, icmp.CodePort, 0, q))
		await(t, name, func() bool { return w.stat("OutbandDropICMPUnvalidated") == before+1 })
		if e := k.Errors().Take(); e != 0 {
			t.Errorf("%s: the socket got %v", name, e)
		}
	}
	// A redirect is counted, and the route stays ours.
	q := quote(own, far, 5000, 7)
	h.send(h.fields(ipv4.ProtocolICMP), icmp.AppendError(nil, icmp.Redirect, 1, binary.BigEndian.Uint32(stranger[:]), q))
	w.wantStat("IcmpInRedirects", 1)
	check(t, k.Send([]byte("still there"), 0, stack.NoDeadline))
	got, _ := recvInBand(t, peer)
	wantBytes(t, got, []byte("still there"))
}

// Only the first fragment comes: when the time is over, the sender is told by an
// error that the kernel understands. (It counts it and tells no socket, as we do.)
func TestReassemblyTimeExceeded(t *testing.T) {
	const timeout = 100 * time.Millisecond
	w := newWorld(t, setup{stack: stack.Config{Reassembly: ipv4.ReassemblyConfig{Timeout: timeout}}})
	h := w.hand()
	before := kernelCounter(t, w.far, "Icmp", "InTimeExcds")
	f := h.fields(ipv4.ProtocolUDP)
	f.MoreFragments = true
	whole := datagram(f.Src, f.Dst, 6000, 7, make([]byte, 2000))
	begin := time.Now()
	h.send(f, whole[:1480])
	h.wire.Want(t, icmpOfType(icmp.TimeExceeded, icmp.CodeReassembly))
	if took := time.Since(begin); took < timeout {
		t.Errorf("time exceeded after %v, before the %v were over", took, timeout)
	}
	w.wantStat("IpReasmTimeout", 1)
	w.wantStat("IcmpOutTimeExcds", 1)
	await(t, "kernel's count", func() bool { return kernelCounter(t, w.far, "Icmp", "InTimeExcds") == before+1 })

	// Without the first fragment nobody is told (RFC 1122, section 3.3.2).
	f.MoreFragments, f.FragmentOffset, f.ID = false, 1480, 2
	h.send(f, whole[1480:])
	w.wantStat("IpReasmTimeout", 2)
	if h.wire.Next(t, 20*time.Millisecond, icmpOfType(icmp.TimeExceeded, icmp.CodeReassembly)) != nil {
		t.Error("time exceeded was sent about a later fragment")
	}
}

// We hear of it too, and tell no socket: nor does Linux (icmp_unreach).
func TestReassemblyTimeExceededHere(t *testing.T) {
	w := newWorld(t, setup{})
	peer, h, k := w.far.UDP(t, 7), w.hand(), w.udp(5000)
	k.Errors().SetRecvErr(true)
	check(t, k.Connect(w.kernels(7)))
	check(t, k.Send([]byte("x"), 0, stack.NoDeadline))
	recvInBand(t, peer)
	frame := h.wire.Want(t, udpFromPort(5000))
	h.send(h.fields(ipv4.ProtocolICMP), icmp.AppendError(nil, icmp.TimeExceeded, icmp.CodeReassembly, 0, frame[14:]))
	w.wantStat("IcmpInTimeExcds", 1)
	if e := k.Errors().Take(); e != 0 {
		t.Errorf("the socket got %v", e)
	}
}

// Errors are limited as Linux limits them: six at once to one host, then one a
// second; echo replies are not.
func TestErrorsLimited(t *testing.T) {
	w := newWorld(t, setup{})
	u := w.far.UDP(t, 0)
	for range 30 {
		check(t, u.SendTo([]byte("x"), w.ours(9)))
	}
	w.wantStat("UdpNoPorts", 30)
	sent, limited := w.stat("IcmpOutDestUnreachs"), w.stat("IcmpOutRateLimitHost")
	if sent < 6 || sent > 12 || sent+limited != 30 {
		t.Errorf("%d errors sent and %d not, of 30", sent, limited)
	}
	r := rawSocket(t, w.far, unix.IPPROTO_ICMP)
	for i := range 30 {
		r.send(icmp.AppendEcho(nil, icmp.Echo, 1, uint16(i), nil), w.near.Addr)
		r.recvICMP(icmp.EchoReply)
	}
}
