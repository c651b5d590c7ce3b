package arp

import (
	"math"
	"testing"
	"time"

	"github.com/outband/outband/ether"
)

func TestConfigComplete(t *testing.T) {
	def := DefaultConfig()
	if got := (Config{}).complete(); got != def {
		t.Errorf("zero: %+v", got)
	}
	if got := def.complete(); got != def {
		t.Errorf("default: %+v", got)
	}
	none := Config{UcastSolicit: -1, McastSolicit: -1, McastResolicit: -1, AnnounceNum: -1, MaxConflicts: -1}.complete()
	if none.UcastSolicit|none.McastSolicit|none.McastResolicit|none.AnnounceNum|none.MaxConflicts != 0 {
		t.Errorf("none: %+v", none)
	}
	wild := Config{
		ReachableTime: math.MaxInt64, RetransTime: -1, ProbeMin: time.Minute, ProbeMax: time.Second,
		McastSolicit: math.MaxInt, ProbeNum: math.MaxInt, QueueLen: -5,
	}.complete()
	if wild.ReachableTime != maxDuration || wild.RetransTime != def.RetransTime || wild.ProbeMax != time.Minute ||
		wild.McastSolicit != maxCount || wild.ProbeNum != maxCount || wild.QueueLen != def.QueueLen {
		t.Errorf("wild: %+v", wild)
	}
	if got := (Config{ReachableTime: 4 * time.Second}).complete().GCInterval; got != 2*time.Second {
		t.Errorf("GCInterval %v", got)
	}
}

// The smallest times do not let a table run in circles.
func TestSmallestTimes(t *testing.T) {
	s := newSim(t, nil)
	s.cfg = Config{ReachableTime: 1, RetransTime: 1, DelayProbeTime: 1, GCStaleTime: 1, GCInterval: 1, GCThreshold: 1}.complete()
	s.redrawAt = 0
	s.reach()
	s.Resolve(s.now, otherIP, ourIP)
	s.run(time.Second)
	if s.Len() != 0 || s.Deadline() != math.MaxInt64 {
		t.Errorf("%d entries, deadline %d", s.Len(), s.Deadline())
	}
}

// A conflict that finds too many events waiting is counted, not reported.
func TestConflictBacklog(t *testing.T) {
	s := newSim(t, func(c *Config) { c.MaxEvents = 1 })
	s.Input(s.now, packet(OpRequest, peerMAC, peerIP, ether.MAC{}, ourIP), peerMAC)
	s.Input(s.now, claim(ourIP), peerMAC)
	if n := len(s.drain()); n != 1 || s.Stats().Causes[CauseBacklog] != 2 {
		t.Errorf("%d events, %d left out", n, s.Stats().Causes[CauseBacklog])
	}
}
