package stack

import (
	"bytes"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/outband/outband/arp"
	"github.com/outband/outband/icmp"
	"github.com/outband/outband/ipv4"
	"github.com/outband/outband/link/pipe"
	"github.com/outband/outband/stack/internal/drive"
	"github.com/outband/outband/stack/internal/output"
	"golang.org/x/sys/unix"
)

// at returns a time from now for SendOptions.TxTime, by CLOCK_MONOTONIC.
func (w *wire) at(d time.Duration) uint64 { return uint64(w.s.Monotonic() + int64(d)) }

// sendAt sends a datagram to 10.9.0.2:7 with a time.
func (w *wire) sendAt(k Socket, p []byte, t uint64) error {
	m := []OutMessage{{Buffers: [][]byte{p}, To: netip.AddrPortFrom(farAddr, 7), Options: &SendOptions{TxTime: t}}}
	_, err := k.SendMessages(m, unix.MSG_DONTWAIT, NoDeadline)
	return err
}

// timed returns a socket whose datagrams may have times.
func (w *wire) timed(t TxTime) *UDPSocket {
	k := w.socket("", "")
	k.Times().SetTxTime(t)
	return k
}

var monotonic = TxTime{Clock: unix.CLOCK_MONOTONIC, Report: true}

// TestScheduledLeaveAtTheirTime schedules datagrams out of order, while nobody
// leads and while somebody waits.
func TestScheduledLeaveAtTheirTime(t *testing.T) {
	for _, reading := range []bool{false, true} {
		bubble(t, func(t *testing.T, w *wire) {
			w.resolved()
			k := w.timed(monotonic)
			if reading {
				reader := w.socket("10.9.0.1:9", "")
				done := make(chan error)
				go func() {
					_, _, err := reader.Recv(nil, 0, NoDeadline)
					done <- err
				}()
				defer func() {
					reader.Close()
					<-done
				}()
			}
			w.settle()
			start := time.Since(w.born)
			after := []time.Duration{500 * time.Millisecond, time.Millisecond, 20 * time.Millisecond, 20 * time.Millisecond, 2 * time.Hour}
			for i, d := range after {
				check(t, w.sendAt(k, []byte{byte(i)}, w.at(d)))
			}
			check(t, k.SendTo([]byte{99}, 0, NoDeadline, netip.AddrPortFrom(farAddr, 7)))
			if n := w.s.Scheduled(); n != len(after) {
				t.Errorf("%d frames are scheduled", n)
			}
			time.Sleep(3 * time.Hour)
			var order []byte
			for _, f := range w.sentIP() {
				i := f.data[output.HeadersLen]
				order = append(order, i)
				if i == 99 {
					continue
				}
				if late := f.at - start - after[i]; late < 0 || late > drive.HouseTick {
					t.Errorf("datagram %d left %v after its time", i, late)
				}
			}
			if want := []byte{99, 1, 2, 3, 0, 4}; !bytes.Equal(order, want) {
				t.Errorf("they left in the order %v, expected %v", order, want)
			}
			if k.Errors().Queued() != 0 || k.SendQueued() != 0 || w.s.Scheduled() != 0 {
				t.Errorf("%d errors, %d bytes charged, %d scheduled", k.Errors().Queued(), k.SendQueued(), w.s.Scheduled())
			}
			w.grew("OutbandTxTimeScheduled", uint64(len(after)))
		})
	}
}

func TestScheduledKinds(t *testing.T) {
	bubble(t, func(t *testing.T, w *wire) {
		w.resolved()
		ping, err := w.s.NewPingSocket()
		check(t, err)
		defer ping.Close()
		echo := make([]byte, icmp.HeaderLen)
		echo[0] = icmp.Echo
		withHeader := make([]byte, 30)
		f := ipv4.Fields{TTL: 9, Protocol: testProtocol, Src: near4, Dst: far4}
		f.Put(withHeader, 10)
		segmented := w.socket("", "")
		segmented.SetSegment(10)
		for _, tt := range []struct {
			name    string
			k       Socket
			payload []byte
			frames  int
		}{
			{"UDP", w.socket("", ""), payload(5), 1},
			{"fragments", w.socket("", ""), payload(4000), 3},
			{"segments", segmented, payload(25), 3},
			{"ping", ping, echo, 1},
			{"raw", rawSocketOf(t, w.s, testProtocol), payload(5), 1},
			{"raw with a header", rawSocketOf(t, w.s, protocolRaw), withHeader, 1},
			{"packet", packetSocketOf(t, w.s, false, 0), udpFrame(7, payload(5)), 1},
		} {
			w.sent()
			tt.k.Base().Times().SetTxTime(monotonic)
			tt.k.Base().Sending().SetPriority(3)
			o := &SendOptions{TxTime: w.at(time.Second)}
			m := []OutMessage{{Buffers: [][]byte{tt.payload}, Options: o}}
			if tt.k.Base().kind.name() == "packet" {
				m[0].Link = &LinkAddr{Interface: w.ifc.Index(), EtherType: unix.ETH_P_IP}
			} else {
				m[0].To = netip.AddrPortFrom(farAddr, 7)
			}
			if n, err := tt.k.SendMessages(m, 0, NoDeadline); n != 1 || err != nil || !o.Queued {
				t.Errorf("%s: SendMessages: %d, %v, queued %v", tt.name, n, err, o.Queued)
			}
			time.Sleep(900 * time.Millisecond)
			if n := len(w.sentIP()); n != 0 || tt.k.Base().SendQueued() == 0 {
				t.Errorf("%s: %d frames left before their time, %d bytes charged", tt.name, n, tt.k.Base().SendQueued())
			}
			time.Sleep(101 * time.Millisecond)
			if n := len(w.sentIP()); n != tt.frames || tt.k.Base().SendQueued() != 0 {
				t.Errorf("%s: %d frames left, expected %d; %d bytes charged", tt.name, n, tt.frames, tt.k.Base().SendQueued())
			}
		}
	})
}

// TestScheduledTooLate sends datagrams whose time is over.
func TestScheduledTooLate(t *testing.T) {
	for _, tt := range []struct {
		name    string
		txTime  TxTime
		recvErr bool
		at      func(w *wire) uint64
		want    error
		told    bool
	}{
		{"told of", monotonic, false, func(w *wire) uint64 { return w.at(-1) }, nil, true},
		{"told of by the call too", monotonic, true, func(w *wire) uint64 { return w.at(-1) }, unix.ENOBUFS, true},
		{"not told of", TxTime{Clock: unix.CLOCK_MONOTONIC}, false, func(w *wire) uint64 { return w.at(-1) }, nil, false},
		{"a deadline", TxTime{Clock: unix.CLOCK_MONOTONIC, Deadline: true, Report: true}, false, func(w *wire) uint64 { return w.at(-time.Hour) }, nil, true},
		{"long ago", monotonic, false, func(*wire) uint64 { return 1 }, nil, true},
		{"beyond all times", monotonic, false, func(*wire) uint64 { return math.MaxUint64 }, nil, true},
		{"real time", TxTime{Clock: unix.CLOCK_REALTIME, Report: true}, false, func(*wire) uint64 { return 1 << 50 }, nil, true},
	} {
		bubble(t, func(t *testing.T, w *wire) {
			w.resolved()
			time.Sleep(time.Second)
			k := w.timed(tt.txTime)
			k.Errors().SetRecvErr(tt.recvErr)
			at := tt.at(w)
			if err := w.sendAt(k, []byte("late"), at); err != tt.want {
				t.Errorf("%s: %v, expected %v", tt.name, err, tt.want)
			}
			w.settle()
			w.silent()
			w.grew("OutbandDropTxTimeInvalid", 1)
			e, told := k.Errors().TakeQueued()
			if told != tt.told {
				t.Fatalf("%s: told is %v", tt.name, told)
			}
			if told && (e.Errno != unix.EINVAL || e.Origin != unix.SO_EE_ORIGIN_TXTIME || e.Code != unix.SO_EE_CODE_TXTIME_INVALID_PARAM ||
				uint64(e.Data)<<32|uint64(e.Info) != at || !bytes.HasSuffix(e.Payload, []byte("late"))) {
				t.Errorf("%s: told %+v", tt.name, e)
			}
		})
	}
}

// TestScheduledMissed lets the clock jump while nobody leads.
func TestScheduledMissed(t *testing.T) {
	clock := new(handClock)
	clock.now.Store(1e9)
	end, peer := pipe.New(pipe.Options{})
	defer peer.Close()
	s := newStack(t, Config{Clock: clock, TxTimeSlack: time.Minute})
	i := addLink(t, s, end, "10.9.0.1/24")
	check(t, i.SetNeighbour(farAddr, farMAC, arp.Permanent))
	w := &wire{t: t, s: s, ifc: i, near: end, far: peer}
	w.mark()
	k := w.timed(monotonic)
	first := w.at(time.Second)
	check(t, w.sendAt(k, []byte("missed"), first))
	check(t, w.sendAt(k, []byte("just in time"), w.at(2*time.Second)))
	check(t, w.sendAt(k, []byte("not yet"), w.at(time.Hour)))
	s.lockLanes()
	clock.now.Add(int64(62 * time.Second))
	s.lanes.first.drive.RunTimers(clock.Now())
	s.unlockLanes()
	if got := w.sentIPUntil(1); len(got) != 1 || !bytes.HasSuffix(got[0].data, []byte("just in time")) || s.Scheduled() != 1 {
		t.Fatalf("left: %+v, %d wait", got, s.Scheduled())
	}
	w.grew("OutbandDropTxTimeMissed", 1)
	e, ok := k.Errors().TakeQueued()
	if !ok || e.Errno != unix.ECANCELED || e.Origin != unix.SO_EE_ORIGIN_TXTIME || e.Code != unix.SO_EE_CODE_TXTIME_MISSED ||
		uint64(e.Data)<<32|uint64(e.Info) != first || !bytes.HasSuffix(e.Payload, []byte("missed")) {
		t.Errorf("told %v, %+v", ok, e)
	}
	check(t, s.Close()) // with one that waits
}

// sentIPUntil waits until n IP packets have left.
func (w *wire) sentIPUntil(n int) (out []sentFrame) {
	for end := time.Now().Add(10 * time.Second); len(out) < n && time.Now().Before(end); {
		out = append(out, w.sentIP()...)
		time.Sleep(time.Millisecond)
	}
	return out
}

// TestScheduledDeadlineMode sends at once what has until then.
func TestScheduledDeadlineMode(t *testing.T) {
	bubble(t, func(t *testing.T, w *wire) {
		w.resolved()
		k := w.timed(TxTime{Clock: unix.CLOCK_MONOTONIC, Deadline: true})
		check(t, w.sendAt(k, []byte("x"), w.at(time.Hour)))
		if n := len(w.sentIP()); n != 1 {
			t.Errorf("%d datagrams left at once", n)
		}
	})
}

// TestScheduledWithoutOption checks that times mean nothing to a socket without
// SO_TXTIME, and 0 nothing to one with it.
func TestScheduledWithoutOption(t *testing.T) {
	bubble(t, func(t *testing.T, w *wire) {
		w.resolved()
		check(t, w.sendAt(w.socket("", ""), []byte("x"), w.at(time.Hour)))
		check(t, w.sendAt(w.timed(monotonic), []byte("x"), 0))
		if n := len(w.sentIP()); n != 2 {
			t.Errorf("%d datagrams left at once", n)
		}
	})
}

// TestScheduledClocks schedules by each clock.
func TestScheduledClocks(t *testing.T) {
	for _, clock := range []int32{unix.CLOCK_MONOTONIC, unix.CLOCK_REALTIME, unix.CLOCK_TAI} {
		s := newStack(t, Config{})
		var now unix.Timespec
		check(t, unix.ClockGettime(clock, &now))
		before := s.clock.Now()
		due := s.timeOf(clock, now.Nano()+int64(time.Hour))
		if d := time.Duration(due-before) - time.Hour; d < -time.Minute || d > time.Minute {
			t.Errorf("clock %d: an hour from now is %v off", clock, d)
		}
		if due := s.timeOf(clock, math.MaxInt64); due <= before {
			t.Errorf("clock %d: the end of time is over", clock)
		}
	}
	if due := newStack(t, Config{}).timeOf(-77, 1); due != math.MinInt64 {
		t.Errorf("no such clock: %d", due)
	}
}

// TestScheduledNeighbour schedules datagrams to a neighbour that answers in time
// for one of them.
func TestScheduledNeighbour(t *testing.T) {
	bubble(t, func(t *testing.T, w *wire) {
		w.settle()
		k := w.timed(monotonic)
		start := time.Since(w.born)
		check(t, w.sendAt(k, []byte("early"), w.at(100*time.Millisecond)))
		check(t, w.sendAt(k, []byte("late"), w.at(700*time.Millisecond)))
		time.Sleep(500 * time.Millisecond)
		w.feed(arpReply(farMAC))
		time.Sleep(time.Second)
		got := w.sentIP()
		if len(got) != 1 || !bytes.HasSuffix(got[0].data, []byte("late")) || got[0].at-start < 700*time.Millisecond {
			t.Errorf("left: %+v", got)
		}
		w.grew("OutbandDropTxTimeMissed", 1)
		if e, _ := k.Errors().TakeQueued(); e.Code != unix.SO_EE_CODE_TXTIME_MISSED {
			t.Errorf("told %+v", e)
		}
		if k.SendQueued() != 0 {
			t.Errorf("%d bytes charged", k.SendQueued())
		}
	})
}

// TestScheduledBounds fills the send buffer, and the queue.
func TestScheduledBounds(t *testing.T) {
	bubble(t, func(t *testing.T, w *wire) {
		w.resolved()
		k := w.timed(monotonic)
		n := 0
		for ; n < w.s.limits.Scheduled; n++ {
			if err := w.sendAt(k, payload(1000), w.at(time.Second)); err != nil {
				if err != unix.EAGAIN {
					t.Errorf("a full send buffer: %v", err)
				}
				break
			}
		}
		if n == w.s.limits.Scheduled {
			t.Fatal("the send buffer bounds nothing")
		}
		time.Sleep(1100 * time.Millisecond)
		if got := len(w.sentIP()); got != n || k.SendQueued() != 0 {
			t.Errorf("%d of %d left, %d bytes charged", got, n, k.SendQueued())
		}
		other := w.timed(monotonic)
		for _, k := range []Socket{k, other} {
			k.Base().SetSendBuffer(1 << 30)
			for range w.s.limits.ScheduledPerSocket {
				check(t, w.sendAt(k, nil, w.at(time.Hour)))
			}
		}
		check(t, w.sendAt(k, nil, w.at(time.Hour)))
		k.Errors().SetRecvErr(true)
		if err := w.sendAt(k, nil, w.at(time.Hour)); err != unix.ENOBUFS {
			t.Errorf("a full queue: %v", err)
		}
		w.grew("OutbandDropTxTimeQueueFull", 2)
		if w.s.Scheduled() != w.s.limits.Scheduled {
			t.Errorf("%d frames are scheduled", w.s.Scheduled())
		}
	})
}

// TestScheduledStamps checks that a datagram is stamped when it leaves.
func TestScheduledStamps(t *testing.T) {
	bubble(t, func(t *testing.T, w *wire) {
		w.resolved()
		k := w.timed(monotonic)
		k.Times().SetTimestamping(unix.SOF_TIMESTAMPING_TX_SOFTWARE | unix.SOF_TIMESTAMPING_OPT_ID)
		for i := range 2 {
			check(t, w.sendAt(k, []byte(fmt.Sprint(i)), w.at(time.Duration(2-i)*time.Second)))
		}
		if k.Errors().Queued() != 0 {
			t.Error("stamped before it left")
		}
		time.Sleep(3 * time.Second)
		var ids []uint32
		for e, ok := k.Errors().TakeQueued(); ok; e, ok = k.Errors().TakeQueued() {
			ids = append(ids, e.Data)
			if int(e.Payload[output.HeadersLen]) != '0'+int(e.Data) {
				t.Errorf("stamp %d is of %x", e.Data, e.Payload)
			}
		}
		if want := []uint32{1, 0}; !slices.Equal(ids, want) {
			t.Errorf("stamps of %v, expected %v", ids, want)
		}
	})
}

// TestScheduledToOurselves sends over loopback.
func TestScheduledToOurselves(t *testing.T) {
	bubble(t, func(t *testing.T, w *wire) {
		rx := w.socket("127.0.0.1:7", "")
		k := w.timed(monotonic)
		m := []OutMessage{{Buffers: [][]byte{[]byte("x")}, To: rx.LocalAddr(), Options: &SendOptions{TxTime: w.at(time.Second)}}}
		_, err := k.SendMessages(m, 0, NoDeadline)
		check(t, err)
		time.Sleep(900 * time.Millisecond)
		w.empty(rx)
		time.Sleep(200 * time.Millisecond)
		w.got(rx, "x")
	})
}
