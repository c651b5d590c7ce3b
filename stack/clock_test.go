package stack

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/outband/outband/arp"
	"github.com/outband/outband/icmp"
	"golang.org/x/sys/unix"
)

// wallClock is a handClock with a time of day.
type wallClock struct {
	handClock
	wall time.Time
}

func (c *wallClock) Wall() time.Time { return c.wall }

// TestWallClock: what is stamped with the time of day has that of the stack's clock,
// if that knows it.
func TestWallClock(t *testing.T) {
	c := &wallClock{wall: time.Date(2001, 2, 3, 0, 0, 4, 5e6, time.UTC)}
	s := newStack(t, Config{Clock: c})
	if got := s.WallTime(); got != c.wall.UnixNano() {
		t.Errorf("time of day %d, want %d", got, c.wall.UnixNano())
	}
	if got := s.clock.OfDay(); got != 4005 {
		t.Errorf("%d ms since midnight, want 4005", got)
	}
	k, to := udpSocket(t, s, ""), udpSocket(t, s, "127.0.0.1:9")
	k.Times().SetTimestamping(unix.SOF_TIMESTAMPING_TX_SOFTWARE)
	check(t, k.SendTo([]byte("x"), 0, NoDeadline, to.LocalAddr()))
	if e, ok := k.Errors().TakeQueued(); !ok || e.Time != c.wall.UnixNano() {
		t.Errorf("stamp %+v, %t", e, ok)
	}
	s = newStack(t, Config{Clock: new(handClock)})
	before := time.Now().UnixNano()
	if got := s.WallTime(); got < before || got > time.Now().UnixNano() {
		t.Errorf("time of day %d of a clock that does not know it, at %d", got, before)
	}
}

// TestTimestampIsOfTheClock: an answer to an ICMP time-stamp request is exact.
func TestTimestampIsOfTheClock(t *testing.T) {
	c := &wallClock{wall: time.Date(2001, 2, 3, 10, 0, 0, 0, time.UTC)}
	s, r, i := replayStackConfig(t, Config{Clock: c})
	check(t, i.SetNeighbour(farAddr, farMAC, arp.Permanent))
	r.frame = icmpFrom(icmp.AppendEcho(nil, icmp.Timestamp, 7, 9, make([]byte, 12)))
	s.lockLanes()
	s.inputFrame(i, r.frame)
	s.unlockLanes()
	r.mu.Lock()
	defer r.mu.Unlock()
	at := binary.BigEndian.AppendUint32(nil, 10*3600*1000)
	if !bytes.HasSuffix(r.sent, append(at, at...)) {
		t.Errorf("answer %x", r.sent)
	}
}

// TestOneClock: the package, and those below it, tell the time by Config.Clock alone, but
// where that is made.
func TestOneClock(t *testing.T) {
	files, err := filepath.Glob("*.go")
	check(t, err)
	internal, err := filepath.Glob("internal/*/*.go")
	check(t, err)
	for _, file := range append(files, internal...) {
		if strings.HasSuffix(file, "_test.go") || file == "internal/times/times.go" {
			continue
		}
		text, err := os.ReadFile(file)
		check(t, err)
		for n, line := range strings.Split(string(text), "\n") {
			if strings.Contains(line, "time.Now") || strings.Contains(line, "time.Since") {
				t.Errorf("%s:%d: %s", file, n+1, strings.TrimSpace(line))
			}
		}
	}
}
