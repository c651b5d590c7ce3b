package routers

import (
	"bytes"
	"testing"

	"golang.org/x/sys/unix"
)

// A bridge knows of a stack on a shared address what it knows of one with its own.
func TestBridgeShared(t *testing.T) {
	t.Parallel()
	t.Run("3", func(t *testing.T) { t.Parallel(); bridge3(t, newSnoop(t, 3, true)) })
	t.Run("2", func(t *testing.T) { t.Parallel(); bridge2(t, newSnoop(t, 2, true)) })
}

// For a bridge the stack and in-band programs on one address are one host, which never
// contradicts itself: what it says is what all of them together want, and one that leaves
// does not cut off another.
func TestBridgeSeesOneHost(t *testing.T) {
	t.Parallel()
	s := newSnoop(t, 3, true)
	k, near := s.udp(7), s.lab.Near()
	inBand := near.UDP(t, 8)
	for _, oursFirst := range []bool{true, false} {
		join := []func() error{
			func() error { return k.Multicast().JoinGroup(s.on(groupA)) },
			func() error { return setGroup(inBand, near, unix.IP_ADD_MEMBERSHIP, groupA) },
		}
		leave := []func() error{
			func() error { return k.Multicast().LeaveGroup(s.on(groupA)) },
			func() error { return setGroup(inBand, near, unix.IP_DROP_MEMBERSHIP, groupA) },
		}
		first, second := 0, 1
		if !oursFirst {
			first, second = 1, 0
		}
		check(t, join[first]())
		s.knows(groupA, "exclude")
		check(t, join[second]())
		check(t, leave[first]())
		s.outlasts(lifetime)
		s.knows(groupA, "exclude")
		check(t, leave[second]())
		s.knows(groupA, "")
	}
	// Sources of both add up, as RFC 3376, section 3.2, has it for one host's sockets.
	check(t, k.Multicast().JoinSource(s.on(groupB), from(2)))
	s.knows(groupB, "include 10.9.0.2")
	source := func(option int, n byte) {
		t.Helper()
		from1, fromN := from(1), from(n)
		m := append(append(bytes.Clone(groupB[:]), from1[:]...), fromN[:]...) // struct ip_mreq_source
		check(t, unix.SetsockoptString(inBand.FD(), unix.IPPROTO_IP, option, string(m)))
	}
	source(unix.IP_ADD_SOURCE_MEMBERSHIP, 2)
	source(unix.IP_ADD_SOURCE_MEMBERSHIP, 102)
	s.knows(groupB, "include 10.9.0.102 10.9.0.2")
	check(t, k.Multicast().LeaveSource(s.on(groupB), from(2)))
	s.outlasts(lifetime)
	s.knows(groupB, "include 10.9.0.102 10.9.0.2")
	source(unix.IP_DROP_SOURCE_MEMBERSHIP, 2)
	s.knows(groupB, "include 10.9.0.102")
	check(t, k.Multicast().JoinGroup(s.on(groupB)))
	s.knows(groupB, "exclude")
	check(t, s.close())
	s.knows(groupB, "include 10.9.0.102")
}
