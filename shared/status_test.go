package shared

import (
	"encoding/json"
	"net/netip"
	"os"
	"testing"

	"github.com/outband/outband/inband/claim"
	"github.com/outband/outband/internal/status"
	"github.com/outband/outband/stack"
)

// A process answers who asks what it does: what it says is what has happened.
func TestStatus(t *testing.T) {
	onEachRung(t, Config{Devices: []string{"near0"}}, func(t *testing.T, w *world) {
		ours := w.socket("10.9.0.1:7")
		check(t, w.socket("").Connect(addrPort(w.Far(), 9)))
		client := w.Far().UDP(t, 0)
		for range 3 {
			check(t, client.SendTo([]byte("x"), addrPort(w.Near(), 7)))
			w.recv(ours)
		}
		broadcaster := w.socket("")
		broadcaster.SetBroadcast(true)
		check(t, broadcaster.SendTo([]byte("x"), 0, stack.NoDeadline, netip.MustParseAddrPort("10.9.0.255:9")))

		var answers []status.Answer
		w.Near().In(t, func() (err error) { answers, err = status.Ask(); return err })
		if len(answers) != 1 || answers[0].Err != nil || answers[0].PID != os.Getpid() {
			t.Fatalf("%+v", answers)
		}
		var s Status
		check(t, json.Unmarshal(answers[0].Body, &s))
		rung := w.host.claims.Rung()
		if s.Rung != rung.String() || s.Holders != 3 || len(s.Sockets) != 3 || s.SentInBand != 1 || len(s.Devices) < 2 {
			t.Fatalf("%+v", s)
		}
		lo, near := s.Devices[0], s.Devices[1]
		want := uint64(0)
		if rung == claim.TCX {
			want = 3
		}
		if lo.Name != "lo" || !lo.Ring || near.Name != "near0" || !near.Ring || near.Rung != rung.String() || near.ClaimedIn != want {
			t.Errorf("%+v", s.Devices)
		}
		found := false
		for _, k := range s.Sockets {
			found = found || k.Proto == "udp" && k.Remote == "10.9.0.2:9" && k.Path == "ring" && k.Device == int(near.Index)
		}
		if !found {
			t.Errorf("%+v", s.Sockets)
		}
		check(t, w.host.Close())
		w.Near().In(t, func() (err error) { answers, err = status.Ask(); return err })
		if len(answers) != 0 {
			t.Errorf("after Close %+v", answers)
		}
	})
}
