package shared

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/inband"
	"github.com/outband/outband/inband/claim"
	"github.com/outband/outband/ipv4"
	"github.com/outband/outband/link/tpacket"
	"github.com/outband/outband/stack"
	"github.com/outband/outband/test/lab"
)

// What follows is for one quiet machine, under chrt -f 10, and compares within one run.

// benchWorld is a world whose host is made anew for each configuration.
func benchWorld(b *testing.B, l *lab.Lab, c Config) *world {
	b.Helper()
	w := &world{Lab: l}
	c.Devices = []string{"near0"}
	w.Near().In(b, func() (err error) {
		if w.host, err = Open(c); err == nil {
			w.st = w.host.Stack()
		}
		return err
	})
	b.Cleanup(func() { w.host.Close() })
	return w
}

func openUDP(b *testing.B, st *stack.Stack, local string) *stack.UDPSocket {
	b.Helper()
	k, err := st.NewUDPSocket()
	check(b, err)
	b.Cleanup(func() { k.Close() })
	if local != "" {
		check(b, k.Bind(netip.MustParseAddrPort(local)))
	}
	return k
}

// BenchmarkBind is what it costs to open, bind and close a socket, and of that to bind it at
// the median: in-band, and with its claim on every rung.
func BenchmarkBind(b *testing.B) {
	l := lab.New(b, lab.Config{Kernel: lab.All})
	b.Run("in-band", func(b *testing.B) {
		l.Near().In(b, func() error {
			for b.Loop() {
				u, err := inband.OpenUDP(netip.MustParseAddrPort("0.0.0.0:0"))
				if err != nil {
					return err
				}
				u.Close()
			}
			return nil
		})
	})
	for _, r := range rungs {
		b.Run(r.String(), func(b *testing.B) {
			w := benchWorld(b, l, Config{Only: r})
			any := netip.MustParseAddrPort("0.0.0.0:0")
			var bind []time.Duration
			for b.Loop() {
				k, err := w.st.NewUDPSocket()
				check(b, err)
				began := time.Now()
				check(b, k.Bind(any))
				bind = append(bind, time.Since(began))
				k.Close()
			}
			slices.Sort(bind)
			b.ReportMetric(float64(bind[len(bind)/2]), "ns/bind")
		})
	}
}

// BenchmarkNewDestination is what the first datagram to a destination costs behind a
// gateway that is known: on an address of the stack's own, and on the kernel's.
func BenchmarkNewDestination(b *testing.B) {
	send := func(b *testing.B, st *stack.Stack) {
		k := openUDP(b, st, "")
		check(b, k.SendTo(nil, 0, stack.NoDeadline, netip.MustParseAddrPort("10.9.0.2:9")))
		check(b, st.Solicit(netip.MustParseAddr("10.9.0.2"), lab.Patience, 0))
		n := uint32(0)
		for b.Loop() {
			n++
			to := netip.AddrFrom4([4]byte{172, byte(16 + n>>16&15), byte(n >> 8), byte(n)})
			check(b, k.SendTo(nil, 0, stack.NoDeadline, netip.AddrPortFrom(to, 9)))
		}
	}
	b.Run("own address", func(b *testing.B) {
		l := lab.New(b, lab.Config{Kernel: lab.Far})
		st, err := stack.New(stack.Config{})
		check(b, err)
		b.Cleanup(func() { st.Close() })
		l.Near().In(b, func() error {
			t, err := tpacket.Open("near0", tpacket.Options{})
			if err != nil {
				return err
			}
			i, err := st.AddLink(t, stack.InterfaceConfig{})
			if err != nil {
				return err
			}
			return i.AddAddress(netip.PrefixFrom(l.Near().Addr, lab.Bits))
		})
		check(b, st.AddRoute(ipv4.Route{Prefix: netip.MustParsePrefix("172.16.0.0/12"), Gateway: l.Far().Addr.As4()}))
		send(b, st)
	})
	b.Run("shared", func(b *testing.B) {
		l := lab.New(b, lab.Config{Kernel: lab.All})
		check(b, l.Near().AddRoute(netip.MustParsePrefix("172.16.0.0/12"), l.Far().Addr))
		send(b, benchWorld(b, l, Config{}).st)
	})
}

// BenchmarkLocalRoundTrip is a datagram to the host's own address and back, by one thread
// that sends and receives in turn: in-band at both ends, ours by the ring on lo, and ours by
// the holders.
func BenchmarkLocalRoundTrip(b *testing.B) {
	l := lab.New(b, lab.Config{Kernel: lab.All})
	at := func(port uint16) netip.AddrPort { return netip.AddrPortFrom(l.Near().Addr, port) }
	b.Run("in-band", func(b *testing.B) {
		l.Near().In(b, func() error {
			x, err := inband.OpenUDP(at(7001))
			check(b, err)
			defer x.Close()
			y, err := inband.OpenUDP(at(7002))
			check(b, err)
			defer y.Close()
			check(b, x.Connect(at(7002)))
			check(b, y.Connect(at(7001)))
			p := make([]byte, 64)
			for b.Loop() {
				for _, way := range [][2]*inband.UDP{{x, y}, {y, x}} {
					if _, err := way[0].Send(p); err != nil {
						return err
					}
					for {
						if _, err := way[1].Recv(p, unix.MSG_DONTWAIT); err != unix.EAGAIN {
							check(b, err)
							break
						}
					}
				}
			}
			return nil
		})
	})
	for name, c := range map[string]Config{"ring": {}, "holder": {NoLo: true}} {
		b.Run(name, func(b *testing.B) {
			c.Stack.Spin = stack.SpinAlways
			w := benchWorld(b, l, c)
			x, y := openUDP(b, w.st, at(7001).String()), openUDP(b, w.st, at(7002).String())
			check(b, x.Connect(at(7002)))
			check(b, y.Connect(at(7001)))
			p := make([]byte, 64)
			for b.Loop() {
				for _, way := range [][2]*stack.UDPSocket{{x, y}, {y, x}} {
					check(b, way[0].Send(p, 0, stack.NoDeadline))
					_, _, err := way[1].Recv(p, 0, stack.NoDeadline)
					check(b, err)
				}
			}
		})
	}
}

// benchInBand is a datagram from far to an in-band socket at near, all by one thread: veth
// runs the receiver's side in the sender's call.
func benchInBand(b *testing.B, l *lab.Lab) {
	b.Helper()
	server := l.Near().BoundUDP(b, netip.AddrPortFrom(l.Near().Addr, 9000))
	client := l.Far().UDP(b, 0)
	check(b, client.Connect(netip.AddrPortFrom(l.Near().Addr, 9000)))
	p := make([]byte, 64)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for b.Loop() {
		if _, err := client.Send(p); err != nil {
			b.Fatal(err)
		}
		_, err := server.Recv(p, unix.MSG_DONTWAIT)
		for err == unix.EAGAIN { // the kernel has left the receiver's side to a thread of its own
			_, err = server.Recv(p, unix.MSG_DONTWAIT)
		}
		check(b, err)
	}
}

// BenchmarkInBandBeside is what an in-band datagram costs where stacks share the address.
func BenchmarkInBandBeside(b *testing.B) {
	b.Run("no stack", func(b *testing.B) { benchInBand(b, lab.New(b, lab.Config{Kernel: lab.All})) })
	for n := 1; n <= 3; n++ { // the least that there is beside a ring
		b.Run(fmt.Sprintf("packet sockets that take nothing=%d", n), func(b *testing.B) {
			l := lab.New(b, lab.Config{Kernel: lab.All})
			for range n {
				takesNothing(b, l)
			}
			benchInBand(b, l)
		})
	}
	for _, c := range []struct {
		rung   claim.Rung
		stacks int
		claims int
	}{{claim.TCX, 1, 1}, {claim.TCX, 1, 10_000}, {claim.TCX, 2, 1}, {claim.TCX, 3, 1}, {claim.NFT, 1, 1}, {claim.NFT, 1, 1000}, {claim.Holder, 1, 1}} {
		b.Run(fmt.Sprintf("%s/stacks=%d/claims=%d", c.rung, c.stacks, c.claims), func(b *testing.B) {
			l := lab.New(b, lab.Config{Kernel: lab.All})
			port := 10_000
			for range c.stacks {
				w := benchWorld(b, l, Config{Only: c.rung})
				for range c.claims {
					openUDP(b, w.st, fmt.Sprintf("0.0.0.0:%d", port))
					port++
				}
			}
			benchInBand(b, l)
		})
	}
}

// takesNothing opens a packet socket on near's device whose filter drops every frame.
func takesNothing(b *testing.B, l *lab.Lab) {
	b.Helper()
	l.Near().In(b, func() error {
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		b.Cleanup(func() { unix.Close(fd) })
		drop := unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K}
		if err := unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: 1, Filter: &drop}); err != nil {
			return err
		}
		device, err := net.InterfaceByName("near0")
		if err != nil {
			return err
		}
		return unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: binary.BigEndian.Uint16(binary.NativeEndian.AppendUint16(nil, unix.ETH_P_ALL)), Ifindex: device.Index})
	})
}

// BenchmarkClaimed is what a datagram for the stack costs, its ring and its socket included,
// by what keeps the kernel off it; and what one costs that nobody wants.
func BenchmarkClaimed(b *testing.B) {
	l := lab.New(b, lab.Config{Kernel: lab.All})
	for _, r := range rungs {
		b.Run(r.String(), func(b *testing.B) {
			w := benchWorld(b, l, Config{Only: r, Stack: stack.Config{Spin: stack.SpinAlways}})
			k := openUDP(b, w.st, "0.0.0.0:7")
			client := l.Far().UDP(b, 0)
			check(b, client.Connect(netip.AddrPortFrom(l.Near().Addr, 7)))
			p := make([]byte, 64)
			for b.Loop() {
				if _, err := client.Send(p); err != nil {
					b.Fatal(err)
				}
				if _, _, err := k.Recv(p, 0, stack.NoDeadline); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkTCPBeside is a TCP connection of the host's through a device whose frames a stack's
// ring and program see too.
func BenchmarkTCPBeside(b *testing.B) {
	b.Run("no stack", func(b *testing.B) { benchTCP(b, lab.New(b, lab.Config{Kernel: lab.All})) })
	b.Run("one stack", func(b *testing.B) {
		l := lab.New(b, lab.Config{Kernel: lab.All})
		openUDP(b, benchWorld(b, l, Config{}).st, "0.0.0.0:7000")
		benchTCP(b, l)
	})
}

// benchTCP sends a MiB from far to near, again and again.
func benchTCP(b *testing.B, l *lab.Lab) {
	b.Helper()
	var server net.Listener
	l.Near().In(b, func() (err error) {
		server, err = net.Listen("tcp4", netip.AddrPortFrom(l.Near().Addr, 9000).String())
		return err
	})
	defer server.Close()
	var client net.Conn
	l.Far().In(b, func() (err error) {
		client, err = net.Dial("tcp4", server.Addr().String())
		return err
	})
	defer client.Close()
	c, err := server.Accept()
	check(b, err)
	defer c.Close()
	p, in := make([]byte, 1<<20), make([]byte, 1<<20)
	b.SetBytes(int64(len(p)))
	for b.Loop() {
		sent := make(chan error, 1)
		go func() {
			_, err := client.Write(p)
			sent <- err
		}()
		_, err := io.ReadFull(c, in)
		check(b, err)
		check(b, <-sent)
	}
}
