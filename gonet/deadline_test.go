package gonet

import (
	"errors"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/outband/outband/sockapi"
	"golang.org/x/sys/unix"
)

// TestReadDeadlineMoves has reads wait while their deadline changes. The clock is a bubble's,
// so that the times are exact.
func TestReadDeadlineMoves(t *testing.T) {
	never := time.Duration(-1)
	for _, tt := range []struct {
		name     string
		at, to   time.Duration // from the start; to after a second
		data     time.Duration // when a datagram comes
		want     time.Duration // when the read ends
		received bool
	}{
		{"stays", 3 * time.Second, 3 * time.Second, never, 3 * time.Second, false},
		{"later", 3 * time.Second, 5 * time.Second, never, 5 * time.Second, false},
		{"earlier", 3 * time.Second, 2 * time.Second, never, 2 * time.Second, false},
		{"past", 3 * time.Second, 0, never, time.Second, false},
		{"set", never, 2 * time.Second, never, 2 * time.Second, false},
		{"set to the past", never, 0, never, time.Second, false},
		{"taken away", 3 * time.Second, never, 4 * time.Second, 4 * time.Second, true},
		{"put off", 3 * time.Second, 5 * time.Second, 4 * time.Second, 4 * time.Second, true},
		{"data before it", 3 * time.Second, 3 * time.Second, 2 * time.Second, 2 * time.Second, true},
	} {
		for _, both := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				near, far := hosts(t)
				a, b, err := connectedPair(near, far)
				check(t, err)
				defer a.Close()
				defer b.Close()
				_, err = b.Write([]byte("so that it is known who has which address"))
				check(t, err)
				_, err = a.Read(make([]byte, 100))
				check(t, err)
				start := time.Now()
				set := func(d time.Duration) {
					at := start.Add(d)
					if d < 0 {
						at = time.Time{}
					}
					if both {
						check(t, a.SetDeadline(at))
					} else {
						check(t, a.SetReadDeadline(at))
					}
				}
				set(tt.at)
				time.AfterFunc(time.Second, func() { set(tt.to) })
				if tt.data >= 0 {
					time.AfterFunc(tt.data, func() { b.Write([]byte("data")) })
				}
				_, err = a.Read(make([]byte, 100))
				if took := time.Since(start); took != tt.want || (err == nil) != tt.received || err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Errorf("%s: %v after %v, want it after %v", tt.name, err, took, tt.want)
				}
			})
		}
	}
}

// TestDeadlineBeforeData: what is there when the deadline comes is not read after it, and is with
// another deadline.
func TestDeadlineBeforeData(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := hosts(t)
		a, b, err := connectedPair(near, far)
		check(t, err)
		defer a.Close()
		defer b.Close()
		for range 2 { // the timer is made, and then set anew
			check(t, a.SetDeadline(time.Now().Add(time.Millisecond)))
			_, err = b.Write([]byte("x"))
			check(t, err)
			time.Sleep(2 * time.Millisecond)
			if _, err := a.Read(make([]byte, 10)); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("read: %v", err)
			}
			if _, err := a.Write([]byte("x")); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("write: %v", err)
			}
			check(t, a.SetDeadline(time.Now().Add(time.Second)))
			_, err = a.Read(make([]byte, 10))
			check(t, err)
			_, err = a.Write([]byte("x"))
			check(t, err)
		}
		check(t, a.SetDeadline(time.Now().Add(time.Hour)))
		check(t, a.Close())
		if a.readBy.timer.Stop() || a.writeBy.timer.Stop() {
			t.Error("a timer runs on after Close")
		}
	})
}

// TestPastThenFuture wakes a read, and lets it live on before it can have noticed: it waits
// on, or has timed out, and nothing else.
func TestPastThenFuture(t *testing.T) {
	for range 100 {
		synctest.Test(t, func(t *testing.T) {
			near, far := hosts(t)
			a, b, err := connectedPair(near, far)
			check(t, err)
			defer a.Close()
			defer b.Close()
			done := make(chan error)
			go func() {
				_, err := a.Read(make([]byte, 10))
				done <- err
			}()
			synctest.Wait()
			check(t, a.SetReadDeadline(past))
			check(t, a.SetReadDeadline(time.Now().Add(time.Second)))
			if err := <-done; !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Fatal(err)
			}
		})
	}
}

// TestWriteDeadline fills a send buffer: a write waits, until its deadline, and goes on with
// another one. Nobody answers for the address, so nothing leaves.
func TestWriteDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, _ := hosts(t)
		c := must[*UDPConn](t)(near.DialUDP("udp4", nil, &net.UDPAddr{IP: net.IPv4(10, 9, 0, 77), Port: 9}))
		defer c.Close()
		check(t, c.SetWriteBuffer(1))
		fill := func() (time.Duration, error) {
			start := time.Now()
			for {
				if _, err := c.Write(make([]byte, 1000)); err != nil {
					return time.Since(start), err
				}
			}
		}
		for _, wait := range []time.Duration{10 * time.Millisecond, 20 * time.Millisecond} {
			check(t, c.SetWriteDeadline(time.Now().Add(wait)))
			if took, err := fill(); took != wait || !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("%v after %v, want a time-out after %v", err, took, wait)
			}
		}
		check(t, c.SetWriteDeadline(time.Time{}))
		time.AfterFunc(time.Millisecond, func() { c.SetWriteDeadline(past) })
		if took, err := fill(); took != time.Millisecond || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%v after %v, want a time-out after 1 ms", err, took)
		}
	})
}

// TestCloseWakes has calls wait that Close ends.
func TestCloseWakes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, _ := hosts(t)
		c := must[*UDPConn](t)(near.DialUDP("udp4", nil, &net.UDPAddr{IP: net.IPv4(10, 9, 0, 77), Port: 9}))
		check(t, c.SetWriteBuffer(1))
		done := make(chan error)
		for range 3 {
			go func() {
				_, err := c.Read(make([]byte, 10))
				done <- err
			}()
			go func() {
				var err error
				for err == nil {
					_, err = c.Write(make([]byte, 1000))
				}
				done <- err
			}()
		}
		synctest.Wait()
		check(t, c.Close())
		for range 6 {
			if err := <-done; !errors.Is(err, net.ErrClosed) {
				t.Error(err)
			}
		}
	})
}

// TestClosedHost ends a host under its connections.
func TestClosedHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, _ := hosts(t)
		c := must[*UDPConn](t)(near.ListenUDP("udp4", nil))
		time.AfterFunc(time.Second, func() { near.host.(*sockapi.API).Stack().Close() })
		if _, _, err := c.ReadFrom(make([]byte, 10)); !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
		if _, err := near.ListenUDP("udp4", nil); !errors.Is(err, unix.ENETDOWN) {
			t.Error(err)
		}
	})
}

// TestNonblocking: a socket that Control has made non-blocking does not have a read go round
// and round.
func TestNonblocking(t *testing.T) {
	l := ListenConfig{Net: lone(t), Control: func(network, address string, s *sockapi.Socket) error {
		if network != "udp4" || address != "127.0.0.1:0" {
			t.Errorf("Control of %s %s", network, address)
		}
		return s.SetNonblock(true)
	}}
	c, err := l.ListenPacket(t.Context(), "udp", "127.0.0.1:0")
	check(t, err)
	defer c.Close()
	if _, _, err := c.ReadFrom(make([]byte, 10)); !errors.Is(err, unix.EAGAIN) || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error(err)
	}
}

// TestCallWhileDeadlineChanges has a call begin when the connection has the new deadline already, and
// the socket the one of before, which ends its wait: it is made again.
func TestCallWhileDeadlineChanges(t *testing.T) {
	c := listener(t, lone(t))
	check(t, c.SetReadDeadline(past))
	set := c.readBy.set
	var was uint32
	c.readBy.set = func(at int64) error {
		var err error
		if was, err = c.readBy.begin(&c.conn); err != nil {
			t.Error(err)
		}
		return set(at)
	}
	check(t, c.SetReadDeadline(time.Time{}))
	if err := c.readBy.ended(unix.EAGAIN, was); err != errAgain {
		t.Error(err)
	}
}
