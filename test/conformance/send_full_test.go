package conformance

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/link/tpacket"
	"github.com/outband/outband/sockapi"
	"github.com/outband/outband/test/lab"
)

// A fullCall is one way to send more than a device takes.
type fullCall struct {
	name    string
	count   int // messages
	size    int
	batch   int // a sendmmsg(2); 0: send(2)
	recvErr bool
	flags   int
}

// fullCalls returns every mix of them.
func fullCalls() (all []fullCall) {
	for _, shape := range []fullCall{
		{name: "send", count: 150, size: 100},
		{name: "sendmmsg of 100", count: 100, size: 100, batch: 100},
		{name: "sendmmsg of 150", count: 150, size: 100, batch: 150},
		{name: "sendmmsg of mixed sizes", count: 150, size: 0, batch: 150},
		{name: "sendmmsg of fragments", count: 60, size: 4000, batch: 60},
		{name: "sendmmsg of 10", count: 200, size: 100, batch: 10},
	} {
		for _, recvErr := range []bool{false, true} {
			for _, flags := range []int{0, unix.MSG_DONTWAIT} {
				c := shape
				c.recvErr, c.flags = recvErr, flags
				c.name += fmt.Sprintf(", IP_RECVERR %t, MSG_DONTWAIT %t", recvErr, flags != 0)
				all = append(all, c)
			}
		}
	}
	return all
}

// run is the usual program: it sends, and sends the rest, until there is none or nothing
// but errors. It returns what the calls said, equal answers in a row counted.
func (c *fullCall) run(t *testing.T, s *sockapi.Socket) (said []string) {
	t.Helper()
	if c.recvErr {
		check(t, s.SetsockoptInt(unix.SOL_IP, unix.IP_RECVERR, 1))
	}
	var payloads [][]byte
	for i := range c.count {
		size := c.size
		if size == 0 {
			size = 50 + i%7*10
		}
		payloads = append(payloads, sealed(size, uint32(i)))
	}
	for calls := 0; len(payloads) > 0; calls++ {
		if calls > 10*c.count {
			t.Fatalf("the loop that sends the rest does not end: %q", said[max(len(said)-5, 0):])
		}
		n, err := 1, error(nil)
		if c.batch == 0 {
			_, err = s.Send(payloads[0], c.flags)
		} else {
			n, err = s.Sendmmsg(batchOf(payloads[:min(c.batch, len(payloads))]...), c.flags)
		}
		if err == nil && n == 0 {
			t.Fatal("sendmmsg: 0, and no error")
		}
		if err != nil {
			n = 1 // it goes on behind the message that was refused
		}
		if c.batch == 0 || err != nil {
			said = append(said, fmt.Sprint(err))
		} else {
			said = append(said, fmt.Sprint(n))
		}
		payloads = payloads[n:]
	}
	return said
}

// numbers returns which datagrams are in frames: those that are whole, and how many
// frames there are.
func numbers(frames [][]byte) (whole []uint32, n int) {
	for _, f := range frames {
		if len(f) < 34 || binary.BigEndian.Uint16(f[12:]) != unix.ETH_P_IP || f[23] != unix.IPPROTO_UDP {
			continue
		}
		n++
		if length := int(binary.BigEndian.Uint16(f[16:])); binary.BigEndian.Uint16(f[20:])&0x3fff == 0 {
			if number, ok := intact(f[42 : 14+length]); ok {
				whole = append(whole, number)
			}
		}
	}
	return whole, n
}

// A tap that nobody reads takes as many frames as it has room for. What is lost after
// that counts as sent, unless the socket has IP_RECVERR and the frame did not go by a
// queueing discipline, which tells nobody. The same calls have the same results as
// in-band, and the same frames are found in the tap.
func TestFullTap(t *testing.T) {
	for _, pair := range []struct {
		ours  sendSide
		qdisc string // of the kernel's device: how the kernel's own datagrams go
	}{{oursSide, "noqueue"}, {qdiscSide, "pfifo_fast"}} {
		for _, c := range fullCalls() {
			t.Run(pair.ours.name+"/"+c.name, func(t *testing.T) {
				run := func(side sendSide) ([]string, []uint32, int) {
					tap := lab.NewTap(t, 100, side.kernel)
					if side.kernel {
						tap.Tc(t, "qdisc replace dev DEV root "+pair.qdisc)
					}
					w := newSendWorld(t, tap.Endpoint, side, tapPeer)
					drain(t, tap)
					said := c.run(t, w.connected(7))
					whole, n := numbers(drain(t, tap))
					return said, whole, n
				}
				wantSaid, wantWhole, wantN := run(kernelSide)
				gotSaid, gotWhole, gotN := run(pair.ours)
				if !slices.Equal(gotSaid, wantSaid) {
					t.Errorf("calls said %q, in-band %q", gotSaid, wantSaid)
				}
				if !slices.Equal(gotWhole, wantWhole) || gotN != wantN {
					t.Errorf("%d frames, %d whole datagrams; in-band %d and %d", gotN, len(gotWhole), wantN, len(wantWhole))
				}
			})
		}
	}
}

// tapPeer is who is behind a tap: nobody but the test.
var tapPeer = &lab.Endpoint{Addr: netip.AddrFrom4([4]byte{10, 9, 0, 2}), MAC: [6]byte{2, 0, 10, 9, 0, 2}}

// drain reads all frames that are in the tap.
func drain(t *testing.T, tap *lab.Tap) (frames [][]byte) {
	t.Helper()
	for {
		f := tap.Read(t)
		if f == nil {
			return frames
		}
		frames = append(frames, f)
	}
}

// After a tap was full, and has been read, all is as before.
func TestTapHasRoomAgain(t *testing.T) {
	for _, side := range []sendSide{kernelSide, oursSide, qdiscSide} {
		t.Run(side.name, func(t *testing.T) {
			tap := lab.NewTap(t, 20, side.kernel)
			w := newSendWorld(t, tap.Endpoint, side, tapPeer)
			s := w.connected(7)
			for round := range 3 {
				drain(t, tap)
				c := fullCall{count: 50, size: 100, batch: 50}
				c.run(t, s)
				whole, n := numbers(drain(t, tap))
				if n == 0 || n >= 50 || len(whole) != n || int(whole[n-1]) != n-1 {
					t.Fatalf("round %d: %d frames, %d of them whole", round, n, len(whole))
				}
				if !pollOut(w, s) {
					t.Error("the socket is not writable")
				}
			}
		})
	}
}

// plainSide sends one frame a datagram: tbf tells nobody that it has dropped a part of a
// GSO packet, and of which datagrams.
var plainSide = sendSide{name: "ours, Qdisc, NoGSO", link: tpacket.Options{Qdisc: true, NoGSO: true}}

// A queue that is full drops (ENOBUFS): the same calls have the same results as in-band,
// and the same datagrams come once the queue moves again.
func TestFullQueue(t *testing.T) {
	for _, c := range fullCalls() {
		t.Run(c.name, func(t *testing.T) {
			run := func(side sendSide) ([]string, []uint32) {
				l := sendLab(t, side)
				w := newSendWorld(t, l.Near(), side, l.Far())
				in := newArrivals(t, l.Far(), 7)
				// Nothing leaves but what the bucket holds at first.
				l.Near().Tc(t, "qdisc replace dev DEV root tbf rate 800bit burst 1600 limit 8000")
				s, last := w.connected(7), w.connected(7)
				said := c.run(t, s)
				l.Near().Tc(t, "qdisc change dev DEV root tbf rate 100mbit burst 16000 limit 8000")
				await(t, "room for the mark", func() bool { // which moves the queue, too
					_, err := last.Send(sealed(8, endMark), 0)
					return err == nil && in.has(endMark)
				})
				var came []uint32
				for n := range in.count {
					if n != endMark {
						came = append(came, n)
					}
				}
				slices.Sort(came)
				return said, came
			}
			wantSaid, wantCame := run(kernelSide)
			gotSaid, gotCame := run(plainSide)
			if !slices.Equal(gotSaid, wantSaid) {
				t.Errorf("calls said %q, in-band %q", gotSaid, wantSaid)
			}
			if !slices.Equal(gotCame, wantCame) {
				t.Errorf("datagrams %v came, in-band %v", gotCame, wantCame)
			}
		})
	}
}

// has takes in what is there, and reports whether a number is among it.
func (a *arrivals) has(number uint32) bool {
	a.t.Helper()
	check(a.t, a.from.SetReadTimeout(20*time.Millisecond))
	defer a.from.SetReadTimeout(lab.Patience)
	b := make([]byte, 1<<16)
	for {
		n, _, err := a.from.RecvFrom(b, 0)
		if err == unix.EAGAIN {
			return a.count[number] > 0
		}
		check(a.t, err)
		if got, ok := intact(b[:n]); ok {
			a.count[got]++
		}
		if a.count[number] > 0 {
			return true
		}
	}
}
