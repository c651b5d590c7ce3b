package wireguard

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
	"golang.zx2c4.com/wireguard/conn"

	"github.com/outband/outband/sockapi"
)

// open opens a Bind until the test ends.
func open(t testing.TB, api *sockapi.API, port uint16) (*Bind, conn.ReceiveFunc, uint16) {
	t.Helper()
	b := NewBind(api)
	fns, actual, err := b.Open(port)
	check(t, err)
	t.Cleanup(func() { check(t, b.Close()) })
	if len(fns) != 1 || fns[0].PrettyName() != "v4" {
		t.Fatalf("%d receive functions", len(fns))
	}
	return b, fns[0], actual
}

// endpoint parses an endpoint.
func endpoint(t testing.TB, b conn.Bind, s string) conn.Endpoint {
	t.Helper()
	e, err := b.ParseEndpoint(s)
	check(t, err)
	return e
}

// receive takes n datagrams.
func receive(t testing.TB, f conn.ReceiveFunc, n int) (got [][]byte, from []conn.Endpoint) {
	t.Helper()
	for len(got) < n {
		packets, sizes, eps := make([][]byte, conn.IdealBatchSize), make([]int, conn.IdealBatchSize), make([]conn.Endpoint, conn.IdealBatchSize)
		for i := range packets {
			packets[i] = make([]byte, 65535)
		}
		m, err := f(packets, sizes, eps)
		check(t, err)
		for i := range m {
			got, from = append(got, packets[i][:sizes[i]]), append(from, eps[i])
		}
	}
	return got, from
}

// TestBatches sends batches of all shapes, and wants each datagram as it was, and no more frames
// for them than it takes.
func TestBatches(t *testing.T) {
	lengths := func(n, each int, then ...int) (l []int) {
		for range n {
			l = append(l, each)
		}
		return append(l, then...)
	}
	for _, tt := range []struct {
		name    string
		lengths []int
		frames  uint64
	}{
		{"one", []int{148}, 1},
		{"two of a length", []int{1400, 1400}, 1},
		{"a shorter one ends it", []int{1400, 1400, 100, 100}, 2},
		{"a longer one ends it", []int{100, 100, 1400}, 2},
		{"all different", []int{100, 200, 300, 400}, 4},
		{"empty ones alone", []int{0, 0, 100, 0}, 4},
		{"as many as a GSO packet takes", lengths(64, 700), 1},
		{"one more", lengths(65, 700), 2},
		{"more bytes than a GSO packet takes", lengths(50, 1400, 1400, 7), 2},
		{"a whole batch", lengths(128, 148), 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			near, far := hosts(t)
			a, _, _ := open(t, near, 0)
			_, rx, port := open(t, far, 0)
			to := endpoint(t, a, fmt.Sprint("10.9.0.2:", port))
			check(t, a.Send([][]byte{{1}}, to)) // finds the neighbour
			receive(t, rx, 1)
			before := wire(t, near).Stats().TxFrames
			bufs := make([][]byte, len(tt.lengths))
			for i, n := range tt.lengths {
				bufs[i] = bytes.Repeat([]byte{byte(i)}, n)
			}
			check(t, a.Send(bufs, to))
			frames := wire(t, near).Stats().TxFrames - before
			got, _ := receive(t, rx, len(bufs))
			for i := range bufs {
				if !bytes.Equal(got[i], bufs[i]) {
					t.Errorf("datagram %d: %d bytes, want %d", i, len(got[i]), len(bufs[i]))
				}
			}
			if frames != tt.frames {
				t.Errorf("%d frames, want %d", frames, tt.frames)
			}
		})
	}
}

// TestSource wants answers to come from where a peer has sent to, until that is given up.
func TestSource(t *testing.T) {
	near, far := hosts(t)
	check(t, far.Stack().InterfaceByIndex(2).AddAddress(mustPrefix("10.9.0.3/24")))
	a, rxA, portA := open(t, near, 0)
	b, rxB, portB := open(t, far, 0)
	check(t, a.Send([][]byte{{1}, {2, 2}}, endpoint(t, a, fmt.Sprint("10.9.0.3:", portB))))
	_, from := receive(t, rxB, 2)
	e := from[0]
	if from[1] != e {
		t.Error("datagrams of a peer in a batch have two endpoints")
	}
	if e.SrcToString() != "10.9.0.3" || e.DstToString() != fmt.Sprint("10.9.0.1:", portA) {
		t.Errorf("from %s, to %s", e.DstToString(), e.SrcToString())
	}
	for _, want := range []string{"10.9.0.3", "10.9.0.2"} {
		check(t, b.Send([][]byte{{3}}, e))
		_, at := receive(t, rxA, 1)
		if at[0].DstIP().String() != want {
			t.Errorf("answered from %s, want %s", at[0].DstIP(), want)
		}
		e.ClearSrc()
		if e.SrcIP().IsValid() {
			t.Error("the source is still", e.SrcIP())
		}
	}
}

// TestEndpoint parses endpoints.
func TestEndpoint(t *testing.T) {
	b := NewBind(nil)
	for text, want := range map[string]string{"10.9.0.1:7": "10.9.0.1:7", "[::ffff:10.9.0.1]:7": "10.9.0.1:7", "[2001:db8::1]:7": "[2001:db8::1]:7"} {
		e := endpoint(t, b, text)
		if e.DstToString() != want || !strings.HasPrefix(want, e.DstIP().String()) && !strings.HasPrefix(want, "["+e.DstIP().String()) || e.SrcIP().IsValid() {
			t.Errorf("%s: %s", text, e.DstToString())
		}
	}
	if got := endpoint(t, b, "10.9.0.1:258").DstToBytes(); !bytes.Equal(got, []byte{10, 9, 0, 1, 2, 1}) {
		t.Errorf("% x", got)
	}
	for _, text := range []string{"", "10.9.0.1", "host:7"} {
		if _, err := b.ParseEndpoint(text); err == nil {
			t.Errorf("%q is an endpoint", text)
		}
	}
}

// TestClose wants who receives to be told, and the Bind to be opened anew.
func TestClose(t *testing.T) {
	near, _ := hosts(t)
	b := NewBind(near)
	for range 2 {
		fns, port, err := b.Open(51820)
		check(t, err)
		if port != 51820 {
			t.Errorf("port %d", port)
		}
		if _, _, err := b.Open(0); err != conn.ErrBindAlreadyOpen {
			t.Errorf("opened twice: %v", err)
		}
		done := make(chan error)
		go func() {
			_, err := fns[0]([][]byte{make([]byte, 100)}, make([]int, 1), make([]conn.Endpoint, 1))
			done <- err
		}()
		check(t, b.Close())
		if err := <-done; !errors.Is(err, net.ErrClosed) {
			t.Errorf("a receive ends with %v", err)
		}
		if err := b.Send([][]byte{{1}}, endpoint(t, b, "10.9.0.2:7")); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Send when closed: %v", err)
		}
		check(t, b.Close())
	}
}

// TestErrors wants what cannot be done to be said.
func TestErrors(t *testing.T) {
	near, _ := hosts(t)
	b, _, port := open(t, near, 0)
	for name, tt := range map[string]struct {
		err, want error
	}{
		"an endpoint of another Bind": {b.Send([][]byte{{1}}, &conn.StdNetEndpoint{}), conn.ErrWrongEndpointType},
		"an endpoint of IPv6":         {b.Send([][]byte{{1}}, endpoint(t, b, "[2001:db8::1]:7")), unix.EAFNOSUPPORT},
		"no route":                    {b.Send([][]byte{{1}}, endpoint(t, b, "192.0.2.1:7")), unix.ENETUNREACH},
		"too long":                    {b.Send([][]byte{make([]byte, 65536)}, endpoint(t, b, "10.9.0.2:7")), unix.EMSGSIZE},
	} {
		if !errors.Is(tt.err, tt.want) {
			t.Errorf("%s: %v, want %v", name, tt.err, tt.want)
		}
	}
	if _, _, err := NewBind(near).Open(port); !errors.Is(err, unix.EADDRINUSE) {
		t.Errorf("a port that is taken: %v", err)
	}
	if sockets := len(near.Stack().Sockets()); sockets != 1 {
		t.Errorf("%d sockets are left", sockets)
	}
}

// TestOptions wants room for many datagrams, and the mark on what is sent.
func TestOptions(t *testing.T) {
	near, _ := hosts(t)
	b := NewBind(near)
	check(t, b.SetMark(1)) // closed: for nobody
	_, _, err := b.Open(0)
	check(t, err)
	defer b.Close()
	check(t, b.SetMark(0xfeed))
	for _, o := range []struct{ level, name, want int }{
		{unix.SOL_SOCKET, unix.SO_MARK, 0xfeed}, {unix.SOL_SOCKET, unix.SO_RCVBUF, 2 * bufferSize}, {unix.SOL_SOCKET, unix.SO_SNDBUF, 2 * bufferSize},
	} {
		if got, err := b.s.GetsockoptInt(o.level, o.name); got != o.want || err != nil {
			t.Errorf("option %d is %d, %v; want %d", o.name, got, err, o.want)
		}
	}
}

// TestHostCloses wants who receives to be told that the host is gone, as of a Close.
func TestHostCloses(t *testing.T) {
	near, _ := hosts(t)
	b, rx, _ := open(t, near, 0)
	done := make(chan error)
	go func() {
		_, err := rx([][]byte{make([]byte, 100)}, make([]int, 1), make([]conn.Endpoint, 1))
		done <- err
	}()
	check(t, near.Stack().Close())
	if err := <-done; !errors.Is(err, net.ErrClosed) {
		t.Errorf("a receive ends with %v", err)
	}
	if err := b.Send([][]byte{{1}}, endpoint(t, b, "10.9.0.2:7")); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Send: %v", err)
	}
}

// TestAllocations wants a send to allocate nothing, and a receive one endpoint for a batch of
// one peer.
func TestAllocations(t *testing.T) {
	near, far := hosts(t)
	a, _, _ := open(t, near, 0)
	_, rx, port := open(t, far, 0)
	to := endpoint(t, a, fmt.Sprint("10.9.0.2:", port))
	bufs := make([][]byte, 100)
	for i := range bufs {
		bufs[i] = make([]byte, 148)
	}
	check(t, a.Send(bufs[:1], to))
	receive(t, rx, 1)
	packets, sizes, eps := make([][]byte, 128), make([]int, 128), make([]conn.Endpoint, 128)
	for i := range packets {
		packets[i] = make([]byte, 2048)
	}
	got := 0
	n := testing.AllocsPerRun(100, func() {
		check(t, a.Send(bufs, to))
		for want := got + len(bufs); got < want; {
			m, err := rx(packets, sizes, eps)
			check(t, err)
			got += m
		}
	})
	if n > 3 && !raceEnabled { // two, if a batch comes in two parts
		t.Errorf("%v allocations", n)
	}
}
