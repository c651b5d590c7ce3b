package stack

import (
	"testing"
	"testing/synctest"

	"github.com/outband/outband/link"
	"github.com/outband/outband/stack/internal/output"
)

// TestBehindTheBacklog has a socket send while frames of an earlier call of its wait for
// room: what comes later leaves later, on each way to send.
func TestBehindTheBacklog(t *testing.T) {
	for name, send := range map[string]func(k Socket) error{
		"one": func(k Socket) error { return k.Send([]byte("later"), 0, NoDeadline) },
		"several": func(k Socket) error {
			_, err := k.SendMessages([]OutMessage{{Buffers: [][]byte{[]byte("later")}}}, 0, NoDeadline)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *wire) {
				w.resolved()
				k := w.socket("10.9.0.1:9", "10.9.0.2:7")
				w.send(k, []byte("first of all"))
				first := w.sentIP()[0].data
				k.out.Keep(w.ifc.dev.Queue, []link.TxFrame{{Data: first}})
				check(t, send(k))
				f := w.sentIP()
				if len(f) != 2 || string(f[0].data[output.HeadersLen:]) != "first of all" || string(f[1].data[output.HeadersLen:]) != "later" {
					t.Errorf("%d frames, in another order", len(f))
				}
				if n := k.SendQueued(); n != 0 || k.out.BehindOn() != nil {
					t.Errorf("%d bytes charged, backlog on %v", n, k.out.BehindOn())
				}
			})
		})
	}
}

// TestBehindOthers has a call that does not wait look through more batches of others' frames
// than one: its datagram came before the call.
func TestBehindOthers(t *testing.T) {
	for _, others := range []int{0, 1, batchSize, 3 * batchSize, 10*batchSize + 1} {
		bubble(t, func(t *testing.T, w *wire) {
			k, other := w.socket("10.9.0.1:9", ""), w.socket("10.9.0.1:10", "")
			other.SetReceiveBuffer(1 << 24)
			l := &w.s.lanes.first
			l.begin()
			for range others {
				check(t, w.far.Send(udpFrom(7, 10, "other")))
			}
			check(t, w.far.Send(udpFrom(7, 9, "ours")))
			synctest.Wait() // the housekeeper has seen that somebody leads
			l.end()
			if _, err := try(k); err != nil {
				t.Errorf("behind %d of others': %v", others, err)
			}
		})
	}
}
