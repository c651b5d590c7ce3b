package gvisor

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/outband/outband/icmp"
	"github.com/outband/outband/ipv4"
	"github.com/outband/outband/link"
)

var (
	seed  = flag.Uint64("seed", 0, "the seed of the differential test; 0: of the clock")
	steps = flag.Int("steps", 3000, "how many steps the differential test takes")
)

// TestDifferential gives both stacks the same frames.
func TestDifferential(t *testing.T) {
	if *seed == 0 {
		*seed = uint64(time.Now().UnixNano())
	}
	t.Logf("-seed %d", *seed)
	synctest.Test(t, func(t *testing.T) {
		r := &source{Rand: rand.New(rand.NewPCG(*seed, 0))}
		hosts := [2]host{newOurs(t), newNetstack(t)}
		count := make(map[string]int)
		var late [2][]string
		cutIDs := make(map[string]bool)
		failures := 0
		for n := range *steps {
			s := r.step()
			s.noteCut(cutIDs)
			var got [2]outcome
			for i, h := range hosts {
				got[i] = s.give(h)
				got[i].sent, late[i] = split(got[i].sent, late[i])
			}
			if got[0].equal(got[1]) {
				count["the same"]++
				continue
			}
			if d := s.deliberate(got[0], got[1]); d != "" {
				count[d]++
				continue
			}
			t.Errorf("step %d, %s:\n%s\nours:     %v\nnetstack: %v", n, s.kind, s.dump(), got[0], got[1])
			if failures++; failures == 10 {
				t.Fatal("and maybe more")
			}
		}
		for range 3100 { // often, since a link holds few frames
			time.Sleep(10 * time.Millisecond)
			synctest.Wait()
			for i, h := range hosts {
				_, late[i] = split(replies(h.sent()), late[i])
			}
		}
		late[0] = slices.DeleteFunc(late[0], func(m string) bool { return cutIDs[quotedID(m)] })
		slices.Sort(late[0])
		slices.Sort(late[1])
		if !slices.Equal(late[0], late[1]) {
			t.Errorf("time exceeded: %d messages of ours, %d of netstack's, or others", len(late[0]), len(late[1]))
		}
		t.Logf("%5d datagrams expired", len(late[0]))
		for d, n := range count {
			t.Logf("%5d %s", n, d)
		}
	})
}

// An outcome is what a host did about a step.
type outcome struct{ received, sent []string }

func (o outcome) equal(p outcome) bool {
	return slices.Equal(o.received, p.received) && slices.Equal(o.sent, p.sent)
}

// split takes out the messages that come when the time of a reassembly is over,
// at which step is a matter of a millisecond, and appends them to late.
func split(sent, late []string) (now, then []string) {
	for _, m := range sent {
		if strings.Contains(m, "ICMP type 11 code 1") {
			late = append(late, m)
		} else {
			now = append(now, m)
		}
	}
	return now, late
}

func (s step) give(h host) outcome {
	for _, f := range s.frames {
		h.feed(slices.Clone(f))
	}
	return outcome{h.received(), replies(h.sent())}
}

func (s step) dump() string {
	var b strings.Builder
	for _, f := range s.frames {
		fmt.Fprintf(&b, "  %x\n", f)
	}
	return b.String()
}

// replies returns what was sent in a form that can be compared: without TTL,
// identification and type of service, which each stack chooses for itself, and
// with fragments put together.
func replies(frames [][]byte) (out []string) {
	var parts []byte
	for _, f := range frames {
		b := f[link.HeaderLen:]
		if f[12] == 8 && f[13] == 6 {
			out = append(out, fmt.Sprintf("ARP to %x: %x", f[:6], b[:28]))
			continue
		}
		h, p, c := ipv4.Parse(b)
		if c != ipv4.CauseNone {
			out = append(out, fmt.Sprintf("bad IP packet (%v): %x", c, b))
			continue
		}
		if h.FragmentOffset() == 0 {
			parts = nil
		}
		if parts = append(parts, p...); h.MoreFragments() {
			continue
		}
		out = append(out, fmt.Sprintf("to %x, %v > %v: %s", f[:6], h.Src(), h.Dst(), message(h.Protocol(), parts)))
	}
	return out
}

func message(proto uint8, b []byte) string {
	m, c := icmp.Parse(b)
	if proto != ipv4.ProtocolICMP || c != icmp.CauseNone {
		return fmt.Sprintf("protocol %d (%v): %x", proto, c, b)
	}
	return fmt.Sprintf("ICMP type %d code %d rest %08x data %x", m.Type(), m.Code(), m.Rest(), m.Data())
}
