package conformance

import (
	"encoding/binary"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/sockapi"
	"github.com/outband/outband/test/lab"
)

// slowSides are those whose frames pass the device's queueing discipline.
var slowSides = []sendSide{kernelSide, qdiscSide}

// slowDevices are devices that take far less than programs send.
var slowDevices = []struct {
	name string
	make func(t testing.TB, e *lab.Endpoint)
}{
	{"htb", func(t testing.TB, e *lab.Endpoint) { e.Htb(t, lab.Class{Rate: "60mbit"}) }},
	{"tbf", func(t testing.TB, e *lab.Endpoint) { e.Tbf(t, "60mbit", 1<<20) }},
}

// endMark is the number of the datagram that is sent last.
const endMark = 1 << 31

// sendMark sends that datagram, behind all others of a device's class.
func sendMark(t testing.TB, s *sockapi.Socket) {
	t.Helper()
	check(t, s.SetsockoptInt(unix.SOL_UDP, unix.UDP_SEGMENT, 0))
	_, err := s.Send(sealed(8, endMark), 0)
	check(t, err)
}

// Through a slow device each datagram comes as often as the calls promised: once if a
// call took it, and never if it said EAGAIN. Nothing of a message leaves twice, and no
// fragment leaves without the others. After POLLOUT no call says EAGAIN.
func TestSendThroughASlowDevice(t *testing.T) {
	for _, side := range slowSides {
		for _, dev := range slowDevices {
			l := sendLab(t, side)
			w := newSendWorld(t, l.Near(), side, l.Far())
			dev.make(t, l.Near())
			for _, c := range traffics {
				for _, how := range manners {
					t.Run(side.name+"/"+dev.name+"/"+c.name+"/"+how.name, func(t *testing.T) {
						w := *w
						w.t = t
						wire := readFrames(t, l.Far(), true)
						in := newArrivals(t, l.Far(), 7)
						s := w.connected(7)
						c.prepare(t, s)
						msgs := c.make(0)
						log, spurious, err := c.run(&w, s, msgs, how)
						check(t, err)
						if spurious > 0 {
							t.Errorf("EAGAIN after POLLOUT %d times", spurious)
						}
						sendMark(t, s)
						in.until(endMark)
						in.judge(msgs, log)
						wire.judge(t, msgs, log)
					})
				}
			}
		}
	}
}

// judge fails the test unless the frames of all that has come, up to the mark, are those
// of the messages that were taken: each identification's fragments whole, and once.
func (r *frameReader) judge(t testing.TB, msgs []message, l ledger) {
	t.Helper()
	want := 0
	for i := range msgs {
		if l[&msgs[i]] == promised {
			want += msgs[i].frames()
		}
	}
	type datagram struct{ bytes, whole int }
	fragments := map[uint16]*datagram{}
	got := 0
	for {
		frame, n := r.frame(t, lab.Patience)
		if frame == nil {
			t.Fatal("the mark has not come by")
		}
		if frame[23] != unix.IPPROTO_UDP {
			continue
		}
		ip := frame[14 : 14+int(binary.BigEndian.Uint16(frame[16:]))]
		id, offset := binary.BigEndian.Uint16(ip[4:]), binary.BigEndian.Uint16(ip[6:])
		if offset&0x3fff == 0 {
			if number, ok := intact(ip[28:]); ok && number == endMark {
				break
			}
			got += n
			continue
		}
		got++
		d := fragments[id]
		if d == nil {
			d = new(datagram)
			fragments[id] = d
		}
		d.bytes += len(ip) - 20
		if offset&0x2000 == 0 {
			d.whole = int(offset&0x1fff)*8 + len(ip) - 20
		}
	}
	orphans := 0
	for _, d := range fragments {
		if d.bytes != d.whole {
			orphans++
		}
	}
	if got != want || orphans > 0 {
		t.Errorf("%d frames, want %d; of %d fragmented datagrams %d not whole", got, want, len(fragments), orphans)
	}
}

// Sockets of different classes do not come into each other's way, whatever each sends.
func TestSendInSeveralClasses(t *testing.T) {
	for _, side := range slowSides {
		t.Run(side.name, func(t *testing.T) {
			l := sendLab(t, side)
			w := newSendWorld(t, l.Near(), side, l.Far())
			l.Near().Htb(t, lab.Class{Rate: "20mbit"}, lab.Class{Rate: "20mbit"}, lab.Class{Rate: "20mbit"}, lab.Class{Rate: "20mbit"})
			var wg sync.WaitGroup
			defer wg.Wait()
			for i, c := range []traffic{traffics[1], traffics[2], traffics[3], traffics[5]} {
				in := newArrivals(t, l.Far(), uint16(100+i))
				s := w.connected(uint16(100 + i))
				check(t, s.SetsockoptInt(unix.SOL_SOCKET, unix.SO_PRIORITY, lab.ClassPriority(i)))
				c.prepare(t, s)
				msgs := c.make(uint32(i) << 20)
				wg.Go(func() {
					log, _, err := c.run(w, s, msgs, manners[i%2*2])
					if err != nil {
						t.Errorf("%s: %v", c.name, err)
						return
					}
					sendMark(t, s)
					in.until(endMark)
					in.judge(msgs, log)
				})
			}
		})
	}
}

// A blockade is a way to end a call that waits for room.
type blockade struct {
	name string
	end  func(s *sockapi.Socket) error
	wait time.Duration // of SO_SNDTIMEO
	want unix.Errno
}

var blockades = []blockade{
	{name: "close", end: (*sockapi.Socket).Close, want: unix.EBADF},
	{name: "shutdown", end: func(s *sockapi.Socket) error { return s.Shutdown(unix.SHUT_WR) }, want: unix.EPIPE},
	{name: "time-out", wait: 10 * time.Millisecond, want: unix.EAGAIN},
}

// A call that is ended while it waits for room takes its message back, or has it come
// whole: never a part, and never twice. What was taken before comes once.
func TestSendEndedInTheMiddle(t *testing.T) {
	for _, side := range slowSides {
		for _, c := range []traffic{traffics[0], traffics[1], traffics[2], traffics[3], traffics[5]} {
			for _, b := range blockades {
				t.Run(side.name+"/"+c.name+"/"+b.name, func(t *testing.T) {
					l := sendLab(t, side)
					w := newSendWorld(t, l.Near(), side, l.Far())
					l.Near().Htb(t, lab.Class{Rate: "300kbit"})
					wire := readFrames(t, l.Far(), true)
					in := newArrivals(t, l.Far(), 7)
					s, last := w.connected(7), w.connected(7)
					c.prepare(t, s)
					c.messages *= 4 // more than the buffer holds
					msgs := c.make(0)
					log, err := c.runUntil(t, s, msgs, &b, in)
					wantErr(t, err, b.want)
					l.Near().SetRate(t, 0, "100mbit")
					in.all(log)
					settleInFlight(t, in, msgs, log)
					sendMark(t, last)
					in.until(endMark)
					in.judge(msgs, log)
					wire.judge(t, msgs, log)
				})
			}
		}
	}
}

// runUntil sends messages, blocking, until the call is ended: once a first datagram has
// come, so that the call is in the middle of it.
func (c *traffic) runUntil(t testing.TB, s *sockapi.Socket, msgs []message, b *blockade, in *arrivals) (ledger, error) {
	t.Helper()
	if b.wait > 0 {
		check(t, s.SetsockoptTimeval(unix.SOL_SOCKET, unix.SO_SNDTIMEO, b.wait))
	}
	l := ledger{}
	ended := make(chan error, 1)
	go func() {
		for i := 0; i < len(msgs); {
			n, err := c.attempt(s, msgs[i:], 0)
			for range n {
				l[&msgs[i]] = promised
				i++
			}
			if err == nil && b.wait > 0 && n < c.batch && i < len(msgs) {
				err = unix.EAGAIN // said by the number
			}
			if err != nil {
				for j := range max(c.batch, 1) { // in flight
					if i+j < len(msgs) && err != unix.EAGAIN {
						l[&msgs[i+j]] = perhaps
					}
				}
				ended <- err
				return
			}
		}
		ended <- nil
	}()
	if b.end != nil {
		in.next()
		check(t, b.end(s))
	}
	select {
	case err := <-ended:
		return l, err
	case <-time.After(lab.Patience):
		t.Fatal("the call goes on")
		return nil, nil
	}
}

// settleInFlight waits for the rest of messages that have begun to come, and notes of
// all that were in flight whether they have come.
func settleInFlight(t testing.TB, in *arrivals, msgs []message, l ledger) {
	t.Helper()
	for i := range msgs {
		m := &msgs[i]
		if l[m] != perhaps {
			continue
		}
		begun := false
		for j := range m.n {
			begun = begun || in.count[m.first+uint32(j)] > 0
		}
		if begun {
			in.all(ledger{m: promised})
			l[m] = promised
		}
	}
}
