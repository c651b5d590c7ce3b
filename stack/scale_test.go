package stack

import (
	"fmt"
	"net/netip"
	"runtime"
	"testing"

	"github.com/outband/outband/ipv4"

	"github.com/outband/outband/arp"
	"github.com/outband/outband/link"
	"github.com/outband/outband/stack/internal/output"
	"github.com/outband/outband/udp"
)

// crowds are the numbers of sockets and neighbours that are compared: a datagram
// may cost no more than 1.5 times as much among many as among few.
var crowds = []int{10, 100_000}

// hostAddr returns the n-th address of 10.0.0.0/8 that is neither near's nor far's.
func hostAddr(n int) ipv4.Addr { return ipv4.Addr{10, byte(16 + n>>16), byte(n >> 8), byte(n)} }

// crowdStack is a stack with 10.9.0.1/8 on a replay link.
func crowdStack(b testing.TB) (*Stack, *replay, *Interface) {
	b.Helper()
	s := newStack(b, Config{})
	r := &replay{}
	i, err := s.AddLink(r, InterfaceConfig{ARP: arp.Config{AnnounceNum: -1}})
	if err != nil {
		b.Fatal(err)
	}
	if err := i.AddAddress(netip.MustParsePrefix("10.9.0.1/8")); err != nil {
		b.Fatal(err)
	}
	return s, r, i
}

// spread returns the numbers below n in an order that caches do not foresee.
func spread(n int) []int {
	out := make([]int, n)
	for i := range out {
		out[i] = int(uint64(i) * 61_927 % uint64(n)) // prime, so each comes once
	}
	return out
}

// BenchmarkReceiveAmongSockets has one socket of many receive, and all of them
// in turn.
func BenchmarkReceiveAmongSockets(b *testing.B) {
	for _, n := range crowds {
		s, r, _ := crowdStack(b)
		// One socket for each port and, beyond those, each address.
		addrs := (n + 49_999) / 50_000
		for a := range addrs {
			if err := s.Interfaces()[1].AddAddress(netip.PrefixFrom(netip.AddrFrom4(hostAddr(a)), 32)); err != nil {
				b.Fatal(err)
			}
		}
		sockets := make([]*UDPSocket, n)
		frames := make([][]byte, n)
		for i := range sockets {
			dst, port := hostAddr(i/50_000), uint16(1000+i%50_000)
			sockets[i] = udpSocket(b, s, netip.AddrPortFrom(netip.AddrFrom4(dst), port).String())
			frames[i] = with(udpFrame(port, payload(64)), 30, dst[:]...)
			repairIP(frames[i])
			src := ipv4.Addr{10, 9, 0, 2}
			udp.Put(frames[i][output.UDPOffset:], src, dst, 7, port, 64)
		}
		buf := make([]byte, 2048)
		runtime.GC() // or the collector is still at what was set up
		receive := func(b *testing.B, i int) {
			r.frame, r.ready = frames[i], 1
			if n, _, err := sockets[i].Recv(buf, 0, NoDeadline); n != 64 || err != nil {
				b.Fatal(n, err)
			}
		}
		b.Run(fmt.Sprintf("%d/one", n), func(b *testing.B) {
			for b.Loop() {
				receive(b, n/2)
			}
		})
		b.Run(fmt.Sprintf("%d/ten", n), func(b *testing.B) {
			for i := 0; b.Loop(); i++ {
				receive(b, i%10*(n/10))
			}
		})
		order := spread(n)
		b.Run(fmt.Sprintf("%d/all", n), func(b *testing.B) {
			for i := 0; b.Loop(); i++ {
				receive(b, order[i%n])
			}
		})
		s.Close()
	}
}

// BenchmarkSendAmongNeighbours sends to one, ten and all of many neighbours from
// one socket without a peer, and from a connected one.
func BenchmarkSendAmongNeighbours(b *testing.B) {
	for _, n := range crowds {
		s, _, i := crowdStack(b)
		to := make([]netip.AddrPort, n)
		for k := range to {
			a := netip.AddrFrom4(hostAddr(k))
			if err := i.SetNeighbour(a, link.MAC{2, 1, 0, byte(k >> 16), byte(k >> 8), byte(k)}, arp.Permanent); err != nil {
				b.Fatal(err)
			}
			to[k] = netip.AddrPortFrom(a, 7)
		}
		p := payload(64)
		k := udpSocket(b, s, "10.9.0.1:9")
		send := func(b *testing.B, i int) {
			if err := k.SendTo(p, 0, NoDeadline, to[i]); err != nil {
				b.Fatal(err)
			}
		}
		connected := udpSocket(b, s, "10.9.0.1:8")
		if err := connected.Connect(to[n/2]); err != nil {
			b.Fatal(err)
		}
		runtime.GC()
		b.Run(fmt.Sprintf("%d/connected", n), func(b *testing.B) {
			for b.Loop() {
				if err := connected.Send(p, 0, NoDeadline); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(fmt.Sprintf("%d/one", n), func(b *testing.B) {
			for b.Loop() {
				send(b, n/2)
			}
		})
		b.Run(fmt.Sprintf("%d/ten", n), func(b *testing.B) {
			for i := 0; b.Loop(); i++ {
				send(b, i%10*(n/10))
			}
		})
		order := spread(n)
		b.Run(fmt.Sprintf("%d/all", n), func(b *testing.B) {
			for i := 0; b.Loop(); i++ {
				send(b, order[i%n])
			}
		})
		s.Close()
	}
}

// TestIdleStackIsSmall measures what a stack with one link and one socket takes.
func TestIdleStackIsSmall(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector takes memory")
	}
	const stacks = 20
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	var keep []*UDPSocket
	for range stacks {
		s, _, _ := crowdStack(t)
		keep = append(keep, udpSocket(t, s, "10.9.0.1:9"))
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	each := (int64(after.HeapAlloc) - int64(before.HeapAlloc)) / stacks
	t.Logf("%d KiB a stack", each>>10)
	if each > 2<<20 {
		t.Errorf("an idle stack takes %d bytes, want less than 2 MiB", each)
	}
	runtime.KeepAlive(keep)
}
