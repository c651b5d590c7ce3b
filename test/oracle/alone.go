package oracle

import "github.com/outband/outband/sockapi"

// NewRun returns a run that is on no stage: the judge of package wire has one host,
// and a wire in its hand instead of another. sync is what Sync does.
func NewRun(w World, top Topology, sync func()) *Run {
	return &Run{World: w, Top: top, aside: sync, ports: make(map[uint16]string)}
}

// Lines returns what the run has written since the last call.
func (r *Run) Lines() []string {
	lines := r.lines
	r.lines = nil
	return lines
}

// End closes what is open.
func (r *Run) End() { r.end() }

// Do makes a call that a Sock has no method for, and writes its line.
func (k *Sock) Do(call string, f func(s *sockapi.Socket) string) {
	k.do(call, func() string { return f(k.s) })
}
