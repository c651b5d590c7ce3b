package inband

import (
	"bytes"
	"errors"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// loopbackPair returns two connected sockets on the loopback device.
func loopbackPair(t *testing.T) (a, b *UDP) {
	t.Helper()
	open := func() *UDP {
		u, err := OpenUDP(netip.MustParseAddrPort("127.0.0.1:0"))
		must(t, err)
		t.Cleanup(func() { u.Close() })
		must(t, u.SetReadTimeout(5*time.Second))
		return u
	}
	a, b = open(), open()
	aAddr, err := a.LocalAddr()
	must(t, err)
	bAddr, err := b.LocalAddr()
	must(t, err)
	must(t, a.Connect(bAddr))
	must(t, b.Connect(aAddr))
	return a, b
}

func TestUDPSendRecv(t *testing.T) {
	a, b := loopbackPair(t)
	buf := make([]byte, 64)
	for _, payload := range []string{"", "x", "sixteen bytes ok"} {
		n, err := a.Send([]byte(payload))
		if err != nil || n != len(payload) {
			t.Fatalf("send: %d, %v", n, err)
		}
		if n, err = b.Recv(buf, 0); err != nil || string(buf[:n]) != payload {
			t.Errorf("%q, %v", buf[:n], err)
		}
	}
}

func TestUDPErrorsAreErrnos(t *testing.T) {
	a, b := loopbackPair(t)
	if _, err := a.Recv(make([]byte, 1), unix.MSG_DONTWAIT); err != unix.EAGAIN {
		t.Errorf("nothing there: %v", err)
	}
	must(t, b.Close())
	a.Send([]byte("x"))
	if _, err := a.Recv(make([]byte, 1), 0); err != unix.ECONNREFUSED {
		t.Errorf("port closed: %v", err)
	}
	if _, err := OpenUDP(netip.MustParseAddrPort("192.0.2.1:7")); err != unix.EADDRNOTAVAIL {
		t.Errorf("not our address: %v", err)
	}
}

func TestUDPReadTimeout(t *testing.T) {
	a, _ := loopbackPair(t)
	must(t, a.SetReadTimeout(time.Millisecond))
	if _, err := a.Recv(make([]byte, 1), 0); err != unix.EAGAIN {
		t.Errorf("got %v", err)
	}
}

func TestUDPBuffers(t *testing.T) {
	a, _ := loopbackPair(t)
	must(t, a.SetBuffers(1<<20))
	got, err := unix.GetsockoptInt(a.FD(), unix.SOL_SOCKET, unix.SO_RCVBUF)
	must(t, err)
	if HasCapability(unix.CAP_NET_ADMIN) && got < 1<<20 {
		t.Errorf("SO_RCVBUF is %d", got)
	}
	must(t, a.SetOption(unix.IPPROTO_IP, unix.IP_TTL, 7))
	if ttl, _ := unix.GetsockoptInt(a.FD(), unix.IPPROTO_IP, unix.IP_TTL); ttl != 7 {
		t.Errorf("IP_TTL is %d", ttl)
	}
}

func TestBatch(t *testing.T) {
	a, b := loopbackPair(t)
	out, in := NewBatch(8, 32), NewBatch(64, 2048)
	for i := range 8 {
		copy(out.payload(i), bytes.Repeat([]byte{byte(i)}, 32))
	}
	n, err := out.Send(a)
	if err != nil || n != 8 {
		t.Fatalf("sent %d, %v", n, err)
	}
	for got := 0; got < 8; {
		datagrams, size, err := in.Recv(b)
		must(t, err)
		if size != 32*datagrams {
			t.Errorf("%d bytes in %d datagrams", size, datagrams)
		}
		for i := range datagrams {
			if want := bytes.Repeat([]byte{byte(got)}, 32); !bytes.Equal(in.payload(i), want) {
				t.Errorf("datagram %d: %v", got, in.payload(i))
			}
			got++
		}
	}
}

func TestUDPAllocs(t *testing.T) {
	a, b := loopbackPair(t)
	payload, buf := make([]byte, 64), make([]byte, 64)
	spin := func() {
		a.Send(payload)
		for {
			if _, err := b.Recv(buf, unix.MSG_DONTWAIT); err == nil {
				return
			}
		}
	}
	if n := testing.AllocsPerRun(200, spin); n != 0 {
		t.Errorf("%v allocations a datagram", n)
	}
}

func TestUDPString(t *testing.T) {
	u, err := OpenUDP(netip.MustParseAddrPort("127.0.0.1:0"))
	must(t, err)
	addr, _ := u.LocalAddr()
	if got := u.String(); got != "udp "+addr.String() {
		t.Errorf("open: %s", got)
	}
	u.Close()
	if got := (&UDP{fd: -1}).String(); got != "udp fd -1" {
		t.Errorf("closed: %s", got)
	}
}

func TestUDPNoDescriptorLeft(t *testing.T) {
	err := limited(3, func() error { _, err := OpenUDP(netip.MustParseAddrPort("127.0.0.1:0")); return err })
	if !errors.Is(err, unix.EMFILE) {
		t.Errorf("got %v", err)
	}
}

func TestBatchTimeout(t *testing.T) {
	a, _ := loopbackPair(t)
	must(t, a.SetReadTimeout(time.Millisecond))
	if n, size, err := NewBatch(2, 64).Recv(a); n != 0 || size != 0 || err != unix.EAGAIN {
		t.Errorf("%d datagrams, %d bytes, %v", n, size, err)
	}
}
