package examples

import (
	"encoding/binary"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/examples/feed/mold"
	"github.com/outband/outband/test/lab"
)

// feedEnds are the two ways to run the receiver.
var feedEnds = []struct {
	name string
	lab  lab.Config
	args []string
}{
	{"in-band", lab.Config{Kernel: lab.Near}, []string{"--in-band"}},
	{"out-of-band", lab.Config{}, []string{"--addr", "10.9.0.1/24"}},
}

// groupA and groupB are where the feed goes.
var groupA, groupB = [4]byte{239, 9, 0, 1}, [4]byte{239, 9, 0, 2}

// A tap notes what arrives of the feed, on the wire before the receiver.
type tap struct {
	packet *lab.Packet
	came   map[[4]byte]map[uint64]bool // messages of each group
	over   map[[4]byte]bool
}

func newTap(t *testing.T, at *lab.Endpoint) *tap {
	return &tap{packet: at.Packet(t), over: map[[4]byte]bool{}, came: map[[4]byte]map[uint64]bool{groupA: {}, groupB: {}}}
}

// watch reads until both groups have said that the session is over.
func (tp *tap) watch(t *testing.T) {
	t.Helper()
	for began := time.Now(); !tp.over[groupA] || !tp.over[groupB]; {
		frame := tp.packet.Next(t, time.Second, lab.EtherType(unix.ETH_P_IP))
		if frame == nil && time.Since(began) > patience {
			t.Fatal("the session does not end")
		}
		if len(frame) < 42 || frame[23] != unix.IPPROTO_UDP {
			continue
		}
		group := [4]byte(frame[30:34])
		length := binary.BigEndian.Uint16(frame[38:])
		p, err := mold.Parse(frame[42 : 34+int(length)])
		if err != nil || tp.came[group] == nil {
			continue
		}
		tp.over[group] = tp.over[group] || p.End
		for {
			n, _, ok := p.Message()
			if !ok {
				break
			}
			tp.came[group][n] = true
		}
	}
}

// numbers reads what the receiver has printed: each message in order, and what it
// calls lost.
func numbers(t *testing.T, text string) (delivered []uint64, lost map[uint64]bool) {
	t.Helper()
	lost = map[uint64]bool{}
	for _, m := range regexp.MustCompile(`(?m)^(?:(\d+): (\d+) \.+|lost (\d+)-(\d+))$`).FindAllStringSubmatch(text, -1) {
		n, _ := strconv.ParseUint(m[1], 10, 64)
		if m[1] != "" {
			if m[1] != m[2] {
				t.Fatalf("message %s has the number %s", m[2], m[1])
			}
			delivered = append(delivered, n)
			continue
		}
		first, _ := strconv.ParseUint(m[3], 10, 64)
		last, _ := strconv.ParseUint(m[4], 10, 64)
		for n := first; n <= last; n++ {
			lost[n] = true
		}
	}
	return delivered, lost
}

// TestFeed: what is lost on one side only is never missing; what is lost on both is
// reported, exactly.
func TestFeed(t *testing.T) {
	const count = 3000
	for _, end := range feedEnds {
		t.Run(end.name, func(t *testing.T) {
			l := lab.New(t, end.lab)
			wire := newTap(t, l.Near())
			rx := start(t, l.Near(), "feed", append([]string{"receive", "--dev", "near0", "--first", "1", "--print", "--timeout", "3s"}, end.args...)...)
			rx.expect("^joined ")
			tx := start(t, l.Far(), "feed", "publish", "--dev", "far0", "--addr", "10.9.0.2/24", "--addr-b", "10.9.0.3/24",
				"--count", fmt.Sprint(count), "--rate", "3000", "--batch", "3", "--loss-a", "0.1", "--loss-b", "0.2")
			wire.watch(t)
			rx.expect(`\nB +\d+`)
			tx.end(`session DEMO to 239\.9\.0\.1:26400 and 239\.9\.0\.2:26400\n3000 messages sent, A lost [1-9]\d* of \d+ frames, B lost [1-9]\d* of \d+ frames\n`)

			delivered, lost := numbers(t, rx.output())
			next := uint64(1)
			onlyOne, gone := 0, 0
			for n := uint64(1); n <= count; n++ {
				a, b := wire.came[groupA][n], wire.came[groupB][n]
				switch {
				case a != b:
					onlyOne++
				case !a:
					gone++
				}
				if lost[n] != (!a && !b) {
					t.Errorf("message %d: by A %v, by B %v, lost %v", n, a, b, lost[n])
				}
			}
			for _, n := range delivered {
				for lost[next] {
					next++
				}
				if n != next {
					t.Fatalf("%d came instead of %d", n, next)
				}
				next++
			}
			if len(delivered)+len(lost) != count || onlyOne == 0 || gone == 0 {
				t.Errorf("%d delivered, %d lost; %d were on one side only, %d on none", len(delivered), len(lost), onlyOne, gone)
			}
			for side, group := range map[string][4]byte{"A": groupA, "B": groupB} {
				want := fmt.Sprintf(`(?m)^%s +\d+ +%d +\d+ +%d `, side, len(wire.came[group]), count-len(wire.came[group]))
				if !regexp.MustCompile(want).MatchString(rx.output()) {
					t.Errorf("no line %s in\n%s", want, rx.output()[strings.LastIndex(rx.output(), "delivered"):])
				}
			}
		})
	}
}

// TestFeedRecovers has the publisher send again what was lost on both sides.
func TestFeedRecovers(t *testing.T) {
	for _, end := range feedEnds {
		t.Run(end.name, func(t *testing.T) {
			l := lab.New(t, end.lab)
			rx := start(t, l.Near(), "feed", append([]string{"receive", "--dev", "near0", "--first", "1", "--timeout", "20s",
				"--requests", "10.9.0.2:26401"}, end.args...)...)
			rx.expect("^joined ")
			start(t, l.Far(), "feed", "publish", "--dev", "far0", "--addr", "10.9.0.2/24", "--addr-b", "10.9.0.3/24", "--requests", "26401",
				"--count", "2000", "--rate", "4000", "--loss-a", "0.2", "--loss-b", "0.2", "--linger", "3s")
			rx.end(`joined 239\.9\.0\.1:26400 on near0 and 239\.9\.0\.2:26400 on near0\nsession DEMO\n` +
				`2000 delivered, 0 lost in 0 gaps, 0 late, [1-9]\d* recovered, 0 window overflows\n` +
				`side +packets +messages +first +missing +loss +lead p50 +lead p99\n` +
				`A +\d+ +\d+ +\d+ +[1-9]\d* +\d+\.\d+% +[0-9.]+ us +[0-9.]+ us\n` + `B +\d+ +\d+ +\d+ +[1-9]\d* +\d+\.\d+% +(?:-|[0-9.]+ us) +(?:-|[0-9.]+ us)\n`)
		})
	}
}

// TestFeedInBand has the kernel at both ends.
func TestFeedInBand(t *testing.T) {
	l := lab.New(t, lab.Config{Kernel: lab.All})
	rx := start(t, l.Near(), "feed", "receive", "--dev", "near0", "--in-band", "--first", "1", "--timeout", "5s")
	rx.expect("^joined ")
	start(t, l.Far(), "feed", "publish", "--dev", "far0", "--in-band", "--count", "50").
		end("session DEMO to [0-9.:]+ and [0-9.:]+\n50 messages sent\n")
	rx.expect(`\n50 delivered, 0 lost in 0 gaps`)
}

func TestFeedUsage(t *testing.T) {
	l := lab.New(t, lab.Config{})
	for _, tt := range []struct{ args, want string }{
		{"", "usage: feed publish|receive"},
		{"receive", "needs a network device"},
		{"receive --dev near0", "needs an address of our own: --addr, or --in-band"},
		{"receive --dev near0 --in-band --addr 10.9.0.1/24", "not with --in-band"},
		{"receive --dev near0 --addr 10.9.0.1/24 --dev-b near1", "--addr-b is our own address on --dev-b"},
		{"receive --dev near0 --addr 10.9.0.1/24 --addr-b 10.9.0.3/24", "--addr-b is our own address on --dev-b"},
		{"receive --dev near0 --in-band --a 10.9.0.1:7", "10.9.0.1:7 is no IPv4 group with a port"},
		{"receive --dev near0 --in-band --b 239.9.0.1:26400", "the two sides are the same"},
		{"receive --dev none0 --in-band", "none0: no such device"},
		{"receive --dev near0 --in-band --window 0", "must be above 0"},
		{"publish --dev near0 --in-band --loss-a 0.5", "not --in-band"},
		{"publish --dev near0 --addr 10.9.0.1/24", "--addr-b"},
		{"publish --dev near0 --in-band --size 5", "must be from 20 to"},
		{"publish --dev near0 --in-band --rate 0", "--rate"},
	} {
		p := start(t, l.Near(), "feed", strings.Fields(tt.args)...)
		<-p.done
		if p.cmd.ProcessState.ExitCode() != 1 || !strings.Contains(p.output(), tt.want) {
			t.Errorf("feed %s: %s", tt.args, p.output())
		}
	}
}
