package stack

import (
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/outband/outband/ipv4"

	"github.com/outband/outband/link"
	"github.com/outband/outband/link/pipe"
	"github.com/outband/outband/stack/internal/output"
	"golang.org/x/sys/unix"
)

func TestLinkDownAndUp(t *testing.T) {
	bubble(t, func(t *testing.T, w *wire) {
		k := w.socket("10.9.0.1:9", "10.9.0.2:7")
		w.send(k, []byte("x"))
		w.feed(arpReply(farMAC))
		w.send(k, []byte("x"))
		got := make(chan string, 1)
		go func() {
			b := make([]byte, 10)
			n, _, err := k.Recv(b, 0, NoDeadline)
			if err != nil {
				b, n = []byte(err.Error()), len(err.Error())
			}
			got <- string(b[:n])
		}()
		synctest.Wait()
		w.near.SetUp(false)
		synctest.Wait()
		for range 2 {
			if err := k.Send([]byte("x"), 0, NoDeadline); err != unix.ENETUNREACH {
				t.Fatalf("Send while down: %v, want ENETUNREACH", err)
			}
		}
		if n := len(w.s.Neighbours()); n != 0 {
			t.Errorf("%d neighbours while down", n)
		}
		w.sent()
		w.near.SetUp(true)
		w.settle()
		if a := w.sentARP(); len(a) != 1 || mustARP(t, a[0].data).TargetIP() != near4 {
			t.Errorf("%d ARP packets when up again, want an announcement", len(a))
		}
		w.send(k, []byte("again"))
		w.feed(arpReply(farMAC))
		if f := w.sentIP(); len(f) != 1 || string(f[0].data[output.HeadersLen:]) != "again" {
			t.Errorf("%d datagrams left when up again", len(f))
		}
		w.feed(udpFrom(7, 9, "hello"))
		if s := <-got; s != "hello" {
			t.Errorf("the reader who waited got %q", s)
		}
	})
}

func TestMTUAndMACChange(t *testing.T) {
	bubble(t, func(t *testing.T, w *wire) {
		w.resolved()
		k := w.socket("10.9.0.1:9", "10.9.0.2:7")
		w.send(k, payload(1472))
		w.near.SetMTU(600)
		w.near.SetHardwareAddr(otherMAC)
		w.sent()
		w.send(k, payload(1472))
		f := w.sentIP()
		if len(f) != 3 || link.MAC(f[0].data[6:12]) != otherMAC {
			t.Fatalf("%d frames from %x, want 3 from the new MAC", len(f), f[0].data[6:12])
		}
	})
}

func TestRemoveLinkWhileReadersWait(t *testing.T) {
	bubble(t, func(t *testing.T, w *wire) {
		a, b := pipe.New(pipe.Options{})
		t.Cleanup(func() { b.Close() })
		second := addLink(t, w.s, a, "10.8.0.1/24")
		any, bound := w.socket("0.0.0.0:9", ""), w.socket("10.8.0.1:8", "10.8.0.2:7")
		type result struct {
			s   string
			err error
		}
		got := make(chan result, 2)
		for _, k := range []Socket{any, bound} {
			go func() {
				p := make([]byte, 10)
				n, _, err := k.Recv(p, 0, NoDeadline)
				got <- result{string(p[:n]), err}
			}()
		}
		solicited := make(chan error, 1)
		go func() { solicited <- w.s.Solicit(netip.MustParseAddr("10.8.0.2"), time.Hour, 0) }()
		synctest.Wait()
		if err := w.s.RemoveLink(second.Index()); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if len(got) != 0 {
			t.Fatalf("a reader returned: %v", <-got)
		}
		if err := <-solicited; err != unix.EHOSTUNREACH {
			t.Errorf("Solicit: %v, want EHOSTUNREACH", err)
		}
		if err := bound.Send([]byte("x"), 0, NoDeadline); err != unix.EINVAL && err != unix.ENETUNREACH {
			t.Errorf("Send from the address that is gone: %v", err)
		}
		if err := w.s.RemoveLink(second.Index()); err != unix.ENODEV {
			t.Errorf("again: %v, want ENODEV", err)
		}
		if err := w.s.RemoveLink(1); err != unix.EBUSY {
			t.Errorf("loopback: %v, want EBUSY", err)
		}
		if st := a.Info().State; st != link.Gone {
			t.Errorf("the link is %v", st)
		}
		w.feed(udpFrom(7, 9, "hello"))
		if r := <-got; r.s != "hello" {
			t.Errorf("the reader got %v", r)
		}
		bound.Close()
		if r := <-got; r.err != unix.EBADF {
			t.Errorf("the other got %v", r)
		}
	})
}

func TestAddressesAtRunTime(t *testing.T) {
	bubble(t, func(t *testing.T, w *wire) {
		w.resolved()
		second := netip.MustParsePrefix("10.7.0.1/16")
		k := w.socket("0.0.0.0:9", "")
		dst := ipv4.Addr{10, 7, 0, 1}
		frame := readdressed("x", 30, dst[:])
		w.feed(frame)
		w.empty(k)
		w.grew("OutbandDropNotOurAddress", 1)
		if err := w.ifc.AddAddress(second); err != nil {
			t.Fatal(err)
		}
		if err := w.ifc.AddAddress(second); err != unix.EEXIST {
			t.Errorf("again: %v, want EEXIST", err)
		}
		w.feed(frame)
		w.got(k, "x")
		c := w.socket("", "10.7.3.4:5")
		if a := c.LocalAddr().Addr(); a != second.Addr() {
			t.Errorf("source %v, want the new address", a)
		}
		w.send(c, []byte("x"))
		if err := w.ifc.RemoveAddress(second); err != nil {
			t.Fatal(err)
		}
		if err := w.ifc.RemoveAddress(second); err != unix.EADDRNOTAVAIL {
			t.Errorf("again: %v, want EADDRNOTAVAIL", err)
		}
		w.feed(frame)
		w.empty(k)
		if err := c.Send([]byte("x"), 0, NoDeadline); err == nil {
			t.Error("sent from an address that is gone")
		}
		if err := w.socket("", "").Bind(netip.MustParseAddrPort("10.7.0.1:1")); err != unix.EADDRNOTAVAIL {
			t.Errorf("Bind: %v, want EADDRNOTAVAIL", err)
		}
		w.feed(udpFrom(7, 9, "first address"))
		w.got(k, "first address")
	})
}

// TestAddLinkAtRunTime adds a link while a reader sleeps, who then gets a
// datagram by it.
func TestAddLinkAtRunTime(t *testing.T) {
	bubble(t, func(t *testing.T, w *wire) {
		k := w.socket("0.0.0.0:9", "")
		got := make(chan Info, 1)
		go func() {
			_, info, _ := k.Recv(make([]byte, 10), 0, NoDeadline)
			got <- info
		}()
		synctest.Wait()
		a, b := pipe.New(pipe.Options{})
		t.Cleanup(func() { b.Close() })
		second := addLink(t, w.s, a, "10.8.0.1/24")
		b.Send(readdressed("x", 30, []byte{10, 8, 0, 1}))
		if info := <-got; int(info.Interface) != second.Index() {
			t.Errorf("by interface %d, want %d", info.Interface, second.Index())
		}
		if _, err := w.s.AddLink(a, InterfaceConfig{Index: second.Index()}); err != unix.EEXIST {
			t.Errorf("the same index: %v, want EEXIST", err)
		}
	})
}

func TestCloseUnderLoad(t *testing.T) {
	for range 5 {
		p := newPair(t, Config{}, pipe.Options{})
		var wg sync.WaitGroup
		until := func(f func() error) {
			wg.Add(1)
			go func() {
				defer wg.Done()
				for {
					switch err := f(); err {
					case unix.EBADF:
						return
					case nil, unix.ENETDOWN, unix.ENETUNREACH, unix.EINVAL, unix.EAGAIN:
					default:
						t.Errorf("%v", err)
						return
					}
				}
			}()
		}
		for i := range 4 {
			server := udpSocket(t, p.far, "")
			server.Bind(netip.AddrPortFrom(farAddr, uint16(7+i)))
			until(func() error {
				b := make([]byte, 100)
				n, info, err := server.Recv(b, 0, NoDeadline)
				if err == nil {
					err = server.SendTo(b[:n], 0, NoDeadline, netip.AddrPortFrom(netip.AddrFrom4(info.From), info.FromPort))
				}
				return err
			})
			client := udpSocket(t, p.near, "")
			if err := client.Connect(netip.AddrPortFrom(farAddr, uint16(7+i))); err != nil {
				t.Fatal(err)
			}
			until(func() error { return client.Send([]byte("ping"), 0, NoDeadline) })
			until(func() error {
				_, _, err := client.Recv(make([]byte, 100), 0, p.near.Deadline(time.Millisecond))
				return err
			})
		}
		time.Sleep(5 * time.Millisecond)
		p.near.Close()
		p.far.Close()
		wg.Wait()
		if _, err := p.near.NewUDPSocket(); err != unix.ENETDOWN {
			t.Errorf("NewSocket of a closed stack: %v, want ENETDOWN", err)
		}
		if err := p.near.Close(); err != nil {
			t.Errorf("second Close: %v", err)
		}
	}
}
