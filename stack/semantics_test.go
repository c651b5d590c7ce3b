package stack

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/outband/outband/ether"
	"github.com/outband/outband/ipv4"
	"github.com/outband/outband/link"
	"github.com/outband/outband/link/pipe"
	"github.com/outband/outband/stack/internal/output"
	"github.com/outband/outband/udp"
	"golang.org/x/sys/unix"
)

// shared opens a socket with SO_REUSEADDR.
func (w *wire) shared(local string) *UDPSocket {
	w.t.Helper()
	k := w.socket("", "")
	k.SetReuse(true, false)
	if err := k.Bind(netip.MustParseAddrPort(local)); err != nil {
		w.t.Fatal(err)
	}
	return k
}

func TestBroadcast(t *testing.T) {
	for _, c := range []struct {
		name, local, to string
	}{
		{"directed", "", "10.9.0.255:9"},
		{"limited", "10.9.0.1:5", "255.255.255.255:9"},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *wire) {
				any, here, there := w.shared("0.0.0.0:9"), w.shared("10.9.0.255:9"), w.shared("10.9.0.1:9")
				k := w.socket(c.local, "")
				to := netip.MustParseAddrPort(c.to)
				if err := k.SendTo([]byte("all"), 0, NoDeadline, to); err != unix.EACCES {
					t.Fatalf("without SetBroadcast: %v, want EACCES", err)
				}
				if err := k.Connect(to); err != unix.EACCES {
					t.Fatalf("Connect without SetBroadcast: %v, want EACCES", err)
				}
				k.SetBroadcast(true)
				if err := k.SendTo([]byte("all"), 0, NoDeadline, to); err != nil {
					t.Fatal(err)
				}
				f := w.sentIP()
				if len(f) != 1 || link.MAC(f[0].data[:6]) != ether.Broadcast {
					t.Fatalf("%d frames, want one broadcast", len(f))
				}
				w.settle()
				w.got(any, "all")
				w.empty(there)
				if c.name == "directed" {
					w.got(here, "all")
				} else {
					w.empty(here)
				}
				k.SetBroadcast(false)
				if err := k.SendTo([]byte("all"), 0, NoDeadline, to); err != unix.EACCES {
					t.Fatalf("after SetBroadcast(false): %v, want EACCES", err)
				}
			})
		})
	}
	t.Run("received by all", func(t *testing.T) {
		bubble(t, func(t *testing.T, w *wire) {
			var ks []Socket
			for range 3 {
				ks = append(ks, w.shared("0.0.0.0:9"))
			}
			dst := ipv4.Addr{10, 9, 0, 255}
			w.feed(ip(ipv4.Fields{Dst: dst}, datagram(far4, dst, 7, 9, []byte("all"))))
			for _, k := range ks {
				w.got(k, "all")
			}
			w.feed(ip(ipv4.Fields{Dst: dst}, datagram(far4, dst, 7, 10, []byte("all"))))
			w.grew("UdpIgnoredMulti", 1)
			w.silent()
		})
	})
	t.Run("large", func(t *testing.T) {
		bubble(t, func(t *testing.T, w *wire) {
			any, k := w.socket("0.0.0.0:9", ""), w.socket("", "")
			k.SetBroadcast(true)
			if err := k.SendTo(payload(5000), 0, NoDeadline, netip.MustParseAddrPort("10.9.0.255:9")); err != nil {
				t.Fatal(err)
			}
			w.got(any, string(payload(5000)))
			if f := w.sentIP(); len(f) != 4 {
				t.Errorf("%d frames, want 4 fragments", len(f))
			}
		})
	})
}

func TestPeek(t *testing.T) {
	for _, wait := range []bool{false, true} {
		bubble(t, func(t *testing.T, w *wire) {
			k := w.socket("10.9.0.1:9", "")
			go func() {
				if wait {
					time.Sleep(time.Second)
				}
				w.far.Send(udpFrom(7, 9, "one"))
				w.far.Send(udpFrom(7, 9, "two"))
			}()
			b := make([]byte, 2)
			for range 3 {
				n, info, err := k.Recv(b, unix.MSG_PEEK, NoDeadline)
				if err != nil || n != 2 || string(b) != "on" || info.Len != 3 || info.FromPort != 7 {
					t.Fatalf("peeked %q of %d, %v", b[:n], info.Len, err)
				}
			}
			w.settle() // the second may still be in the link
			w.got(k, "one")
			if n, ok := k.NextLen(); !ok || n != 3 {
				t.Errorf("next datagram: %d bytes, %v", n, ok)
			}
			w.got(k, "two")
			w.empty(k)
			if _, _, err := k.Recv(b, unix.MSG_PEEK|unix.MSG_DONTWAIT, NoDeadline); err != unix.EAGAIN {
				t.Errorf("peeked at nothing: %v, want EAGAIN", err)
			}
		})
	}
}

// TestPeekLeavesTheOthersTheirs has one goroutine wait to peek and another to
// receive: one datagram serves both.
func TestPeekLeavesTheOthersTheirs(t *testing.T) {
	bubble(t, func(t *testing.T, w *wire) {
		k := w.socket("10.9.0.1:9", "")
		leader := w.socket("10.9.0.1:8", "")
		go leader.Recv(nil, 0, NoDeadline) // sleeps on the links, the others follow
		synctest.Wait()
		done := make(chan string, 2)
		for _, flags := range []int{unix.MSG_PEEK, 0} {
			go func() {
				b := make([]byte, 10)
				n, _, err := k.Recv(b, flags, NoDeadline)
				done <- fmt.Sprint(string(b[:n]), err)
			}()
			synctest.Wait()
		}
		w.feed(udpFrom(7, 9, "x"))
		time.Sleep(time.Second)
		synctest.Wait()
		if len(done) != 2 {
			t.Fatalf("%d of 2 receivers returned", len(done))
		}
		for range 2 {
			if s := <-done; s != "x<nil>" {
				t.Error(s)
			}
		}
		leader.Close()
	})
}

func TestShutdown(t *testing.T) {
	t.Run("not connected", func(t *testing.T) {
		bubble(t, func(t *testing.T, w *wire) {
			k := w.socket("10.9.0.1:9", "")
			if err := k.Shutdown(unix.SHUT_RDWR); err != unix.ENOTCONN {
				t.Errorf("%v, want ENOTCONN", err)
			}
			if err := k.Shutdown(9); err != unix.EINVAL {
				t.Errorf("how 9: %v, want EINVAL", err)
			}
		})
	})
	t.Run("read", func(t *testing.T) {
		bubble(t, func(t *testing.T, w *wire) {
			w.resolved()
			k := w.socket("10.9.0.1:9", "10.9.0.2:7")
			done := make(chan error, 1)
			go func() {
				n, _, err := k.Recv(make([]byte, 10), 0, NoDeadline)
				if n != 0 {
					err = fmt.Errorf("%d bytes", n)
				}
				done <- err
			}()
			synctest.Wait()
			if err := k.Shutdown(unix.SHUT_RD); err != nil {
				t.Fatal(err)
			}
			if err := <-done; err != nil {
				t.Fatalf("the waiting Recv: %v, want 0 bytes", err)
			}
			w.empty(k) // with MSG_DONTWAIT
			if n, _, err := k.Recv(make([]byte, 10), 0, NoDeadline); n != 0 || err != nil {
				t.Errorf("Recv: %d, %v", n, err)
			}
			var m [1]Message
			if n, err := k.RecvMessages(m[:], 0, NoDeadline); n != 1 || m[0].N != 0 || err != nil {
				t.Errorf("RecvMessages: %d, %v", n, err)
			}
			// As on Linux, what arrives afterwards can be read all the same.
			w.feed(udpFrom(7, 9, "late"))
			w.got(k, "late")
			w.send(k, []byte("x"))
			w.one()
		})
	})
	t.Run("write", func(t *testing.T) {
		bubble(t, func(t *testing.T, w *wire) {
			w.resolved()
			k := w.socket("10.9.0.1:9", "10.9.0.2:7")
			w.send(k, []byte("x"))
			if err := k.Shutdown(unix.SHUT_WR); err != nil {
				t.Fatal(err)
			}
			if err := k.Send([]byte("x"), 0, NoDeadline); err != unix.EPIPE {
				t.Errorf("Send: %v, want EPIPE", err)
			}
			if n, err := k.SendMessages([]OutMessage{{}}, 0, NoDeadline); n != 0 || err != unix.EPIPE {
				t.Errorf("SendMessages: %d, %v, want EPIPE", n, err)
			}
			w.feed(udpFrom(7, 9, "x"))
			w.got(k, "x")
		})
	})
}

func TestQueueOverflow(t *testing.T) {
	bubble(t, func(t *testing.T, w *wire) {
		full, other := w.socket("10.9.0.1:9", ""), w.socket("10.9.0.1:8", "")
		full.SetReceiveBuffer(4096)
		const sent = 50
		for range sent {
			w.feed(udpFrom(7, 9, "x"))
		}
		w.feed(udpFrom(7, 8, "y"))
		got := 0
		for {
			if _, err := try(full); err != nil {
				break
			}
			got++
		}
		if got == 0 || got == sent || uint32(got)+full.Drops() != sent {
			t.Fatalf("%d datagrams and %d drops of %d", got, full.Drops(), sent)
		}
		w.grew("UdpRcvbufErrors", uint64(full.Drops()))
		w.grew("UdpInErrors", uint64(full.Drops()))
		w.grew("UdpInDatagrams", uint64(got+1))
		w.got(other, "y")
		if other.Drops() != 0 {
			t.Error("another socket's drops grew")
		}
		w.feed(udpFrom(7, 9, "room again"))
		w.got(full, "room again")
	})
}

// TestQueueWeighsLikeLinux counts the datagrams that fit a default buffer.
func TestQueueWeighsLikeLinux(t *testing.T) {
	for _, c := range []struct{ size, low, high int }{{1, 200, 300}, {1400, 80, 110}, {60000, 2, 4}} {
		bubble(t, func(t *testing.T, w *wire) {
			k := w.socket("10.9.0.1:9", "")
			f := ip(ipv4.Fields{}, datagram(far4, near4, 7, 9, payload(c.size)))
			for range 400 {
				w.near.Inject(link.Frame{Data: f})
			}
			w.settle()
			if n := 400 - int(k.Drops()); n < c.low || n > c.high {
				t.Errorf("%d datagrams of %d bytes fit, want %d to %d", n, c.size, c.low, c.high)
			}
		})
	}
}

func TestRecvDeadline(t *testing.T) {
	bubble(t, func(t *testing.T, w *wire) {
		k := w.socket("10.9.0.1:9", "")
		for _, d := range []time.Duration{0, time.Millisecond, time.Minute} {
			start := time.Now()
			if _, _, err := k.Recv(nil, 0, w.s.Deadline(d)); err != unix.EAGAIN {
				t.Fatalf("%v: %v, want EAGAIN", d, err)
			}
			if got := time.Since(start); got < d || got > d+time.Microsecond {
				t.Errorf("waited %v, want %v", got, d)
			}
		}
		go func() {
			time.Sleep(time.Second)
			w.far.Send(udpFrom(7, 9, "x"))
		}()
		start := time.Now()
		if n, _, err := k.Recv(make([]byte, 9), 0, w.s.Deadline(time.Minute)); n != 1 || err != nil || time.Since(start) != time.Second {
			t.Errorf("%d bytes, %v after %v", n, err, time.Since(start))
		}
	})
}

func TestScatterGather(t *testing.T) {
	bubble(t, func(t *testing.T, w *wire) {
		w.resolved()
		k := w.socket("10.9.0.1:9", "10.9.0.2:7")
		n, err := k.SendMessages([]OutMessage{
			{Buffers: [][]byte{[]byte("a"), []byte("bcd"), nil, []byte("ef")}},
			{},
			{Buffers: [][]byte{payload(3000), payload(3)}},
			{Buffers: [][]byte{[]byte("g")}, To: netip.MustParseAddrPort("10.9.0.2:8")},
		}, 0, NoDeadline)
		if n != 4 || err != nil {
			t.Fatalf("SendMessages: %d, %v", n, err)
		}
		f := w.sentIP()
		if len(f) != 6 || string(f[0].data[output.HeadersLen:]) != "abcdef" || len(f[1].data) != output.HeadersLen || string(f[5].data[output.HeadersLen:]) != "g" {
			t.Fatalf("%d frames", len(f))
		}
		for i, n := range []int{0, 1, 5} {
			if d := f[n].data[output.UDPOffset:]; !udp.VerifyChecksum(near4, far4, d) {
				t.Errorf("datagram %d: checksum wrong", i)
			}
		}
		for _, s := range []string{"one", "twotwo", "", "three and more"} {
			w.far.Send(udpFrom(7, 9, s))
		}
		w.settle()
		m := make([]Message, 6)
		for i := range m {
			m[i].Buffers = [][]byte{make([]byte, 2), nil, make([]byte, 3)}
		}
		if n, err := k.RecvMessages(m, 0, NoDeadline); n != 4 || err != nil {
			t.Fatalf("RecvMessages: %d, %v", n, err)
		}
		for i, want := range []struct {
			s     string
			flags int
		}{{"one", 0}, {"twotw", unix.MSG_TRUNC}, {"", 0}, {"three", unix.MSG_TRUNC}} {
			if got := string(m[i].Buffers[0]) + string(m[i].Buffers[2]); !strings.HasPrefix(got, want.s) || m[i].N != len(want.s) || m[i].Flags != want.flags {
				t.Errorf("message %d: %q, %d bytes, flags %#x", i, got, m[i].N, m[i].Flags)
			}
		}
	})
}

// TestSendAfterDisconnect sends where it sent before: not from the port that
// the socket has given up.
func TestSendAfterDisconnect(t *testing.T) {
	bubble(t, func(t *testing.T, w *wire) {
		w.resolved()
		k := w.socket("", "")
		to := netip.MustParseAddrPort("10.9.0.2:7")
		if err := k.SendTo([]byte("x"), 0, NoDeadline, to); err != nil {
			t.Fatal(err)
		}
		if err := k.Connect(netip.MustParseAddrPort("10.9.0.3:7")); err != nil {
			t.Fatal(err)
		}
		if err := k.Disconnect(); err != nil {
			t.Fatal(err)
		}
		if p := k.LocalAddr().Port(); p != 0 {
			t.Fatalf("port %d kept", p)
		}
		w.sent()
		if err := k.SendTo([]byte("x"), 0, NoDeadline, to); err != nil {
			t.Fatal(err)
		}
		_, p := w.one()
		uh, _, _ := udp.Parse(p)
		if k.LocalAddr().Port() == 0 || uh.SrcPort() != k.LocalAddr().Port() {
			t.Fatalf("sent from port %d, bound to %d", uh.SrcPort(), k.LocalAddr().Port())
		}
	})
}

// TestConnectChangesTheSource sends to an address before and after the socket
// was bound to another of the stack's addresses by Connect.
func TestConnectChangesTheSource(t *testing.T) {
	bubble(t, func(t *testing.T, w *wire) {
		w.resolved()
		a, b := pipe.New(pipe.Options{})
		t.Cleanup(func() { b.Close() })
		addLink(t, w.s, a, "10.8.0.1/24")
		k := w.socket("", "")
		to := netip.MustParseAddrPort("10.9.0.2:7")
		for _, want := range []ipv4.Addr{near4, {10, 8, 0, 1}} {
			if err := k.SendTo([]byte("x"), 0, NoDeadline, to); err != nil {
				t.Fatal(err)
			}
			if h, _ := w.one(); h.Src() != want {
				t.Errorf("from %v, want %v", h.Src(), want)
			}
			if err := k.Connect(netip.MustParseAddrPort("10.8.0.2:7")); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func TestSendErrors(t *testing.T) {
	bubble(t, func(t *testing.T, w *wire) {
		k := w.socket("", "")
		for _, c := range []struct {
			name, to string
			n        int
			want     error
		}{
			{"no peer", "", 1, unix.EDESTADDRREQ},
			{"no route", "198.51.100.1:7", 1, unix.ENETUNREACH},
			{"port 0", "10.9.0.2:0", 1, unix.EINVAL},
			{"IPv6", "[::1]:7", 1, unix.EAFNOSUPPORT},
			{"too long", "10.9.0.2:7", 65508, unix.EMSGSIZE},
			{"longest", "10.9.0.2:7", 65507, nil},
			{"IPv4 in IPv6", "[::ffff:10.9.0.2]:7", 1, nil},
		} {
			var err error
			if c.to == "" {
				err = k.Send(payload(c.n), 0, NoDeadline)
			} else {
				err = k.SendTo(payload(c.n), 0, NoDeadline, netip.MustParseAddrPort(c.to))
			}
			if err != c.want {
				t.Errorf("%s: %v, want %v", c.name, err, c.want)
			}
		}
		k.Close()
		if err := k.Send(nil, 0, NoDeadline); err != unix.EBADF {
			t.Errorf("closed: %v, want EBADF", err)
		}
	})
}

func TestHeadersOfWhatIsSent(t *testing.T) {
	bubble(t, func(t *testing.T, w *wire) {
		w.resolved()
		k := w.socket("10.9.0.1:9", "10.9.0.2:7")
		for _, c := range []struct {
			ttl, tos, pmtu int
			df             bool
		}{{64, 0, unix.IP_PMTUDISC_WANT, true}, {1, 0xb8, unix.IP_PMTUDISC_DONT, false}, {255, 3, unix.IP_PMTUDISC_DO, true}} {
			k.SetTTL(c.ttl)
			k.SetTOS(c.tos)
			k.SetMTUDiscover(c.pmtu)
			for _, n := range []int{0, 1, 63, 64, 1471, 1472} {
				for range 2 { // the slow way, then the fast
					w.send(k, payload(n))
					h, p := w.one()
					uh, data, cause := udp.Parse(p)
					if int(h.TTL()) != c.ttl || int(h.TOS()) != c.tos || h.DontFragment() != c.df || h.Src() != near4 || h.Dst() != far4 {
						t.Fatalf("header %x", []byte(h))
					}
					if cause != udp.CauseNone || !udp.VerifyChecksum(near4, far4, uh) || string(data) != string(payload(n)) || uh.SrcPort() != 9 || uh.DstPort() != 7 {
						t.Fatalf("%d bytes: datagram %x", n, p[:8])
					}
				}
			}
		}
	})
}

// TestChecksumIsNeverZero sends a payload whose sum makes the checksum 0, which
// would mean none: 0xffff is sent for it (RFC 768).
func TestChecksumIsNeverZero(t *testing.T) {
	bubble(t, func(t *testing.T, w *wire) {
		w.resolved()
		k := w.socket("10.9.0.1:9", "10.9.0.2:7")
		w.send(k, []byte{0, 0})
		_, p := w.one()
		for range 2 {
			w.send(k, p[6:8])
			_, q := w.one()
			if q[6] != 0xff || q[7] != 0xff {
				t.Errorf("checksum %x, want ffff", q[6:8])
			}
		}
	})
}
