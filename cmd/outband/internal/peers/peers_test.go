package peers

import (
	"errors"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/test/lab"
)

func TestMain(m *testing.M) { lab.Main(m) }

// end is what all peers have in common.
type end interface {
	Send(p []byte) (int, error)
	Recv(p []byte) (int, error)
	Close() error
}

// openers open each kind of peer at one end of a lab.
var openers = map[string]func(at *lab.Endpoint, peer netip.Addr) (end, error){
	"ring": func(at *lab.Endpoint, _ netip.Addr) (end, error) { return OpenRing(at.Name) },
	"kernel spinning": func(at *lab.Endpoint, peer netip.Addr) (end, error) {
		return OpenKernel(at.AddrPort(7), netip.AddrPortFrom(peer, 7), true)
	},
	"kernel blocking": func(at *lab.Endpoint, peer netip.Addr) (end, error) {
		return OpenKernel(at.AddrPort(7), netip.AddrPortFrom(peer, 7), false)
	},
	"package net": func(at *lab.Endpoint, peer netip.Addr) (end, error) {
		return OpenGoNet(at.AddrPort(7), netip.AddrPortFrom(peer, 7))
	},
}

// openAt opens a peer that closes with the test.
func openAt(t *testing.T, open func(*lab.Endpoint, netip.Addr) (end, error), at, other *lab.Endpoint) end {
	t.Helper()
	var e end
	at.In(t, func() (err error) {
		e, err = open(at, other.Addr)
		return err
	})
	t.Cleanup(func() { e.Close() })
	return e
}

func TestExchange(t *testing.T) {
	for name, open := range openers {
		t.Run(name, func(t *testing.T) {
			l := lab.New(t, lab.Config{Kernel: lab.All})
			near, far := openAt(t, open, l.Near(), l.Far()), openAt(t, open, l.Far(), l.Near())
			buf := make([]byte, 2048)
			for _, size := range []int{1, 2, 64, 1400, MaxRingPayload} {
				payload := make([]byte, size)
				for i := range payload {
					payload[i] = byte(i * 7)
				}
				for _, way := range [][2]end{{near, far}, {far, near}} {
					if n, err := way[0].Send(payload); err != nil || n != size {
						t.Fatalf("send %d bytes: %d, %v", size, n, err)
					}
					n, err := way[1].Recv(buf)
					if err != nil || string(buf[:n]) != string(payload) {
						t.Fatalf("received %d bytes of %d, %v", n, size, err)
					}
				}
			}
		})
	}
}

func TestRingGoesRound(t *testing.T) {
	l := lab.New(t, lab.Config{})
	near, far := openAt(t, openers["ring"], l.Near(), l.Far()), openAt(t, openers["ring"], l.Far(), l.Near())
	buf := make([]byte, 64)
	for i := range 3 * RingSlots {
		near.Send([]byte{byte(i), byte(i >> 8)})
		if n, _ := far.Recv(buf); n != 2 || buf[0] != byte(i) || buf[1] != byte(i>>8) {
			t.Fatalf("frame %d: % x", i, buf[:n])
		}
	}
}

func TestRingPassesOverOtherFrames(t *testing.T) {
	l := lab.New(t, lab.Config{Kernel: lab.Near})
	far := openAt(t, openers["ring"], l.Far(), l.Near())
	near := openAt(t, openers["ring"], l.Near(), l.Far())
	u := l.Near().UDP(t, 0)
	if err := u.SendTo([]byte("asks for an address first"), l.Far().AddrPort(7)); err != nil {
		t.Fatal(err)
	}
	near.Send([]byte("ours"))
	buf := make([]byte, 64)
	if n, _ := far.Recv(buf); string(buf[:n]) != "ours" {
		t.Errorf("received %q", buf[:n])
	}
}

func TestRingAllocs(t *testing.T) {
	l := lab.New(t, lab.Config{})
	near, far := openAt(t, openers["ring"], l.Near(), l.Far()), openAt(t, openers["ring"], l.Far(), l.Near())
	buf := make([]byte, 64)
	if n := testing.AllocsPerRun(200, func() { near.Send(buf); far.Recv(buf) }); n != 0 {
		t.Errorf("%v allocations a frame", n)
	}
}

func TestOpenErrors(t *testing.T) {
	l := lab.New(t, lab.Config{})
	at := l.Near()
	at.In(t, func() error {
		if _, err := OpenRing("none0"); err == nil {
			t.Error("a ring without a device")
		}
		if _, err := OpenKernel(at.AddrPort(7), at.AddrPort(8), true); err != unix.EADDRNOTAVAIL {
			t.Errorf("kernel: %v", err)
		}
		if _, err := OpenGoNet(at.AddrPort(7), at.AddrPort(8)); !errors.Is(err, unix.EADDRNOTAVAIL) {
			t.Errorf("package net: %v", err)
		}
		return nil
	})
}

func TestKernelPassesOverRefusal(t *testing.T) {
	l := lab.New(t, lab.Config{Kernel: lab.All})
	near := openAt(t, openers["kernel blocking"], l.Near(), l.Far())
	near.Send([]byte("nobody is there")) // ends in ECONNREFUSED
	far := openAt(t, openers["kernel blocking"], l.Far(), l.Near())
	far.Send([]byte("now I am"))
	buf := make([]byte, 64)
	if n, err := near.Recv(buf); err != nil || string(buf[:n]) != "now I am" {
		t.Errorf("%q, %v", buf[:n], err)
	}
}
