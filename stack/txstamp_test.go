package stack

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"github.com/outband/outband/link"
	"github.com/outband/outband/stack/internal/output"
	"golang.org/x/sys/unix"
)

const testStamps = unix.SOF_TIMESTAMPING_TX_SOFTWARE | unix.SOF_TIMESTAMPING_OPT_ID

// TestWaitingDatagramsAreStamped sends to a neighbour that answers late: the
// stamps say when the datagrams left, with the numbers of the order of the calls.
func TestWaitingDatagramsAreStamped(t *testing.T) {
	bubble(t, func(t *testing.T, w *wire) {
		k := w.socket("", "10.9.0.2:7")
		k.Times().SetTimestamping(testStamps)
		w.send(k, []byte{0})
		w.send(k, payload(4000)) // three fragments, of which the first is stamped
		w.send(k, []byte{2})
		if n := k.Errors().Queued(); n != 0 {
			t.Fatalf("%d stamps of datagrams that wait", n)
		}
		time.Sleep(300 * time.Millisecond)
		answered := time.Now().UnixNano()
		w.feed(arpReply(farMAC))
		w.send(k, []byte{3})
		for i, length := range []int{1, 1480 - 8, 1, 1} {
			e, ok := k.Errors().TakeQueued()
			if !ok {
				t.Fatalf("datagram %d was not stamped", i)
			}
			if e.Origin != unix.SO_EE_ORIGIN_TIMESTAMPING || e.Info != unix.SCM_TSTAMP_SND || e.Data != uint32(i) {
				t.Errorf("stamp %d: origin %d, info %d, number %d", i, e.Origin, e.Info, e.Data)
			}
			if e.Time < answered {
				t.Errorf("datagram %d left %v before the answer came", i, time.Duration(answered-e.Time))
			}
			if len(e.Payload) != output.HeadersLen+length || link.MAC(e.Payload[:6]) != farMAC {
				t.Errorf("datagram %d: a frame of %d bytes to %x", i, len(e.Payload), e.Payload[:6])
			}
		}
		if e, ok := k.Errors().TakeQueued(); ok {
			t.Errorf("one stamp too many: %+v", e)
		}
		if k.out.Charged.Load() != 0 {
			t.Errorf("%d bytes of the send buffer are still charged", k.out.Charged.Load())
		}
	})
}

// TestWaitingDatagramsAreLost has the neighbour not answer: its datagrams are
// told of as unreachable, and not stamped.
func TestWaitingDatagramsAreLost(t *testing.T) {
	bubble(t, func(t *testing.T, w *wire) {
		k := w.socket("", "10.9.0.2:7")
		k.Errors().SetRecvErr(true)
		k.Times().SetTimestamping(testStamps)
		w.send(k, []byte{0})
		time.Sleep(5 * time.Second)
		w.settle()
		e, ok := k.Errors().TakeQueued()
		if !ok || e.Errno != unix.EHOSTUNREACH || e.Origin != unix.SO_EE_ORIGIN_ICMP {
			t.Fatalf("told %+v, %t", e, ok)
		}
		if e, ok := k.Errors().TakeQueued(); ok {
			t.Errorf("a stamp of what never left: %+v", e)
		}
		if k.out.Charged.Load() != 0 {
			t.Errorf("%d bytes of the send buffer are still charged", k.out.Charged.Load())
		}
	})
}

// TestRawDatagramIsStampedWhenItLeaves does the same with a header of the caller's.
func TestRawDatagramIsStampedWhenItLeaves(t *testing.T) {
	bubble(t, func(t *testing.T, w *wire) {
		k, err := w.s.NewRawSocket(253)
		if err != nil {
			t.Fatal(err)
		}
		defer k.Close()
		k.SetHeaderIncluded(true)
		k.Times().SetTimestamping(testStamps | unix.SOF_TIMESTAMPING_TX_SCHED)
		p := make([]byte, 24)
		p[0], p[8], p[9] = 0x45, 64, 253
		copy(p[16:], far4[:])
		binary.BigEndian.PutUint16(p[2:], 24)
		if err := k.SendTo(p, 0, NoDeadline, netip.MustParseAddrPort("10.9.0.2:0")); err != nil {
			t.Fatal(err)
		}
		w.feed(arpReply(farMAC))
		for _, info := range []uint32{unix.SCM_TSTAMP_SCHED, unix.SCM_TSTAMP_SND} {
			if e, ok := k.Errors().TakeQueued(); !ok || e.Info != info || len(e.Payload) != link.HeaderLen+len(p) {
				t.Errorf("stamp %d: %+v, %t", info, e, ok)
			}
		}
	})
}
