package stack

import (
	"bytes"
	"net/netip"
	"testing"
	"time"

	"github.com/outband/outband/link/pipe"
	"golang.org/x/sys/unix"
)

// payload returns n bytes that differ from one another.
func payload(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i*7 + i>>8)
	}
	return b
}

func TestDatagramsOfAllSizesCross(t *testing.T) {
	p := newPair(t, Config{}, pipe.Options{})
	server := udpSocket(t, p.far, "10.9.0.2:7")
	client := udpSocket(t, p.near, "")
	if err := client.Connect(netip.MustParseAddrPort("10.9.0.2:7")); err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{0, 1, 64, 1471, 1472, 1473, 8972, 65507} {
		want := payload(n)
		if err := client.Send(want, 0, NoDeadline); err != nil {
			t.Fatalf("Send of %d bytes: %v", n, err)
		}
		got, info := recv(t, server)
		if !bytes.Equal(got, want) || info.Len != n {
			t.Fatalf("%d bytes arrived as %d (Len %d)", n, len(got), info.Len)
		}
		if err := server.SendTo(got, 0, NoDeadline, netip.AddrPortFrom(netip.AddrFrom4(info.From), info.FromPort)); err != nil {
			t.Fatalf("SendTo of %d bytes: %v", n, err)
		}
		if got, _ = recv(t, client); !bytes.Equal(got, want) {
			t.Fatalf("%d bytes came back as %d", n, len(got))
		}
	}
	if err := client.Send(payload(65508), 0, NoDeadline); err != unix.EMSGSIZE {
		t.Fatalf("Send of 65508 bytes: %v, want EMSGSIZE", err)
	}
}

func TestLoopback(t *testing.T) {
	s := newStack(t, Config{})
	server := udpSocket(t, s, "127.0.0.1:9")
	client := udpSocket(t, s, "")
	if err := client.SendTo([]byte("hello"), 0, NoDeadline, netip.MustParseAddrPort("127.0.0.1:9")); err != nil {
		t.Fatal(err)
	}
	got, info := recv(t, server)
	if string(got) != "hello" || info.From != loopbackAddr || info.FromPort != client.LocalAddr().Port() {
		t.Fatalf("got %q from %v:%d", got, info.From, info.FromPort)
	}
}

func TestPortUnreachable(t *testing.T) {
	p := newPair(t, Config{}, pipe.Options{})
	client := udpSocket(t, p.near, "")
	if err := client.Connect(netip.MustParseAddrPort("10.9.0.2:99")); err != nil {
		t.Fatal(err)
	}
	if err := client.Send([]byte("x"), 0, NoDeadline); err != nil {
		t.Fatal(err)
	}
	_, _, err := client.Recv(make([]byte, 10), 0, p.near.Deadline(time.Second))
	if err != unix.ECONNREFUSED {
		t.Fatalf("Recv: %v, want ECONNREFUSED", err)
	}
	if _, _, err := client.Recv(make([]byte, 10), unix.MSG_DONTWAIT, NoDeadline); err != unix.EAGAIN {
		t.Fatalf("second Recv: %v, want EAGAIN", err)
	}
}

func TestCloseWakesReceivers(t *testing.T) {
	for _, name := range []string{"", "0.0.0.0:5"} {
		s := newStack(t, Config{})
		k := udpSocket(t, s, name)
		done := make(chan error)
		for range 3 {
			go func() {
				_, _, err := k.Recv(make([]byte, 10), 0, NoDeadline)
				done <- err
			}()
		}
		for k.watches.Sleeping(EventsIn) < 3 {
			time.Sleep(time.Millisecond)
		}
		k.Close()
		for range 3 {
			if err := <-done; err != unix.EBADF {
				t.Fatalf("Recv: %v, want EBADF", err)
			}
		}
	}
}
