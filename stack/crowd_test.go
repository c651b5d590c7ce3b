package stack

import (
	"encoding/binary"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/outband/outband/link/pipe"
	"golang.org/x/sys/unix"
)

// TestManyGoroutinesOneSocket has 100 goroutines receive from one socket: every
// datagram comes to exactly one of them, and all of them are woken by Close.
func TestManyGoroutinesOneSocket(t *testing.T) {
	const readers, datagrams = 100, 5000
	p := newPair(t, Config{}, pipe.Options{})
	server := udpSocket(t, p.far, "10.9.0.2:7")
	server.SetReceiveBuffer(1 << 26)
	client := udpSocket(t, p.near, "")
	if err := client.Connect(netip.MustParseAddrPort("10.9.0.2:7")); err != nil {
		t.Fatal(err)
	}
	if err := p.near.Solicit(farAddr, time.Second, 0); err != nil {
		t.Fatal(err)
	}
	var seen [datagrams]atomic.Int32
	var total atomic.Int32
	all := make(chan struct{})
	var wg sync.WaitGroup
	for range readers {
		wg.Add(1)
		go func() {
			defer wg.Done()
			b := make([]byte, 8)
			for {
				_, _, err := server.Recv(b, 0, NoDeadline)
				if err != nil {
					if err != unix.EBADF {
						t.Error(err)
					}
					return
				}
				seen[binary.BigEndian.Uint32(b)].Add(1)
				if total.Add(1) == datagrams {
					close(all)
				}
			}
		}()
	}
	var b [8]byte
	for i := range datagrams {
		binary.BigEndian.PutUint32(b[:], uint32(i))
		if err := client.Send(b[:], 0, NoDeadline); err != nil {
			t.Fatal(err)
		}
		if i%200 == 199 { // the pipe holds 1024
			for int(total.Load()) < i-400 {
				time.Sleep(100 * time.Microsecond)
			}
		}
	}
	select {
	case <-all:
	case <-time.After(time.Minute):
		t.Errorf("%d of %d datagrams were received", total.Load(), datagrams)
	}
	server.Close()
	wg.Wait()
	for i := range seen {
		if n := seen[i].Load(); n != 1 {
			t.Fatalf("datagram %d was received %d times", i, n)
		}
	}
}

// TestOneGoroutineManySockets echoes on 100 sockets from one goroutine that asks
// each in turn.
func TestOneGoroutineManySockets(t *testing.T) {
	const sockets, rounds = 100, 20
	p := newPair(t, Config{}, pipe.Options{})
	var servers [sockets]*UDPSocket
	for i := range servers {
		servers[i] = udpSocket(t, p.far, netip.AddrPortFrom(farAddr, uint16(1000+i)).String())
	}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Add(1)
	go func() {
		defer wg.Done()
		b := make([]byte, 100)
		for i := 0; ; i = (i + 1) % sockets {
			select {
			case <-stop:
				return
			default:
			}
			if n, info, err := servers[i].Recv(b, unix.MSG_DONTWAIT, NoDeadline); err == nil {
				to := netip.AddrPortFrom(netip.AddrFrom4(info.From), info.FromPort)
				if err := servers[i].SendTo(b[:n], 0, NoDeadline, to); err != nil {
					t.Error(err)
				}
			} else if i == 0 {
				time.Sleep(10 * time.Microsecond)
			}
		}
	}()
	client := udpSocket(t, p.near, "")
	b := make([]byte, 100)
	for range rounds {
		for i := range sockets {
			if err := client.SendTo([]byte{byte(i)}, 0, NoDeadline, servers[i].LocalAddr()); err != nil {
				t.Fatal(err)
			}
		}
		var got [sockets]bool
		for range sockets {
			n, info, err := client.Recv(b, 0, p.near.Deadline(5*time.Second))
			if err != nil || n != 1 || int(info.FromPort) != 1000+int(b[0]) || got[b[0]] {
				t.Fatalf("%d bytes from port %d: %v", n, info.FromPort, err)
			}
			got[b[0]] = true
		}
	}
	close(stop)
	wg.Wait()
}

// TestNoWakeUpIsLost plays ping-pong by sleeping receivers while others take the
// lane's lock for reasons of their own. One lost wake-up and it stands still.
func TestNoWakeUpIsLost(t *testing.T) {
	const rounds = 3000
	p := newPair(t, Config{Spin: SpinNever}, pipe.Options{})
	server, client := udpSocket(t, p.far, "10.9.0.2:7"), udpSocket(t, p.near, "10.9.0.1:9")
	if err := client.Connect(netip.MustParseAddrPort("10.9.0.2:7")); err != nil {
		t.Fatal(err)
	}
	if err := server.Connect(netip.MustParseAddrPort("10.9.0.1:9")); err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Add(3)
	for _, s := range []*Stack{p.near, p.far} {
		go func() {
			defer wg.Done()
			for {
				select {
				case <-stop:
					return
				default:
					s.Stats()
				}
			}
		}()
	}
	go func() {
		defer wg.Done()
		b := make([]byte, 10)
		for {
			n, _, err := server.Recv(b, 0, NoDeadline)
			if err == nil {
				err = server.Send(b[:n], 0, NoDeadline)
			}
			if err != nil {
				return
			}
		}
	}()
	b := make([]byte, 10)
	for i := range rounds {
		if err := client.Send([]byte("x"), 0, NoDeadline); err != nil {
			t.Fatal(err)
		}
		if _, _, err := client.Recv(b, 0, p.near.Deadline(2*time.Second)); err != nil {
			t.Errorf("round %d: %v", i, err)
			break
		}
	}
	close(stop)
	server.Close()
	wg.Wait()
}

// TestFollowersGetTheirs has sockets with a sleeping reader each, of whom only one
// sleeps on the links, and sends to all of them in turn.
func TestFollowersGetTheirs(t *testing.T) {
	const sockets, rounds = 20, 30
	for _, spin := range []time.Duration{SpinNever, SpinAdaptive, 50 * time.Microsecond} {
		p := newPair(t, Config{Spin: spin}, pipe.Options{})
		var wg sync.WaitGroup
		var servers []*UDPSocket
		for i := range sockets {
			k := udpSocket(t, p.far, netip.AddrPortFrom(farAddr, uint16(1000+i)).String())
			servers = append(servers, k)
			wg.Add(1)
			go func() {
				defer wg.Done()
				b := make([]byte, 10)
				for {
					n, info, err := k.Recv(b, 0, NoDeadline)
					if err != nil {
						return
					}
					k.SendTo(b[:n], 0, NoDeadline, netip.AddrPortFrom(netip.AddrFrom4(info.From), info.FromPort))
				}
			}()
		}
		client := udpSocket(t, p.near, "")
		b := make([]byte, 10)
		for r := range rounds {
			for i := range sockets {
				if err := client.SendTo([]byte{byte(i)}, 0, NoDeadline, servers[i].LocalAddr()); err != nil {
					t.Fatal(err)
				}
				if _, _, err := client.Recv(b, 0, p.near.Deadline(2*time.Second)); err != nil {
					t.Fatalf("spin %v, round %d, socket %d: %v", spin, r, i, err)
				}
			}
		}
		for _, k := range servers {
			k.Close()
		}
		wg.Wait()
	}
}

// TestFrameThatComesWhileTheLockIsHeld wakes a reader who cannot look at the
// links, since somebody else has the lane's lock and does not look either.
func TestFrameThatComesWhileTheLockIsHeld(t *testing.T) {
	bubble(t, func(t *testing.T, w *wire) {
		k := w.socket("10.9.0.1:9", "")
		got := make(chan error, 1)
		go func() {
			_, _, err := k.Recv(make([]byte, 10), 0, NoDeadline)
			got <- err
		}()
		synctest.Wait()
		time.Sleep(time.Second)
		w.s.lockLanes()
		w.far.Send(udpFrom(7, 9, "x"))
		time.Sleep(time.Millisecond)
		w.s.unlockLanes()
		time.Sleep(100 * time.Millisecond)
		synctest.Wait()
		if len(got) != 1 {
			t.Error("the reader sleeps on")
		}
		k.Close()
	})
}
