package interleave

import (
	"testing"

	"github.com/outband/outband/ipv4"
	"github.com/outband/outband/test/oracle"
	"github.com/outband/outband/test/wire"
)

// A Judge runs programs on the kernel's host and on ours.
type Judge struct {
	linux    wire.Host
	scope    *scope // of the kernel's host: the test that runs now
	nth      int
	Programs int
	Lines    int // that were compared
	Unsteady int // differences that did not come again
}

// NewJudge returns a judge that lasts as long as the test.
func NewJudge(t testing.TB) *Judge {
	t.Helper()
	j := &Judge{scope: &scope{TB: t}}
	t.Cleanup(j.scope.end)
	j.linux = wire.NewKernel(j.scope)
	return j
}

// Compare runs a program on both hosts, and returns how they differ, "" if they do not.
// A difference that does not come again is counted as unsteady.
func (j *Judge) Compare(t testing.TB, prog Program) string {
	t.Helper()
	diff := j.once(t, prog)
	if diff == "" {
		return ""
	}
	if j.once(t, prog) == "" {
		j.Unsteady++
		t.Logf("did not come again:\n%s\n%s", prog, diff)
	}
	return diff
}

// once is Compare without a second look.
func (j *Judge) once(t testing.TB, prog Program) string {
	t.Helper()
	old := j.scope.TB
	j.scope.TB = t
	defer func() { j.scope.TB = old }()
	j.nth++
	j.Programs++
	linux := j.onKernel(prog)
	ours := j.onOurs(t, prog)
	j.Lines += len(linux)
	return oracle.Diff(linux, ours)
}

// onKernel runs a program on the kernel's host, and makes that as it was before.
func (j *Judge) onKernel(prog Program) []string {
	lines, p := perform(j.linux, j.nth, prog)
	if p.dirty {
		j.linux.Reset()
	} else {
		j.linux.Forget()
	}
	for key := range p.keys {
		forget(j.linux, key)
	}
	return lines
}

// onOurs runs a program on a host of ours that is made for it.
func (j *Judge) onOurs(t testing.TB, prog Program) []string {
	s := &scope{TB: t}
	defer s.end()
	lines, _ := perform(wire.NewOurs(s, j.linux), j.nth, prog)
	return lines
}

// forget ends what is left of a datagram in fragments: otherwise the kernel would
// count it 30 s later, in the middle of another program.
func forget(h wire.Host, key fragmentKey) {
	f := ipv4.Fields{Src: key.src, Dst: key.dst, ID: key.id, Protocol: ipv4.ProtocolUDP}
	done := func(at int, more bool) bool {
		before := h.Counters()
		f.FragmentOffset, f.MoreFragments = at, more
		h.Inject(0, wire.IP(0, f, make([]byte, 8)))
		h.Settle()
		after := h.Counters()
		return before["IpReasmFails"] != after["IpReasmFails"] || before["IpReasmOKs"] != after["IpReasmOKs"]
	}
	// The first says that the datagram ends at 16 bytes, the second goes beyond.
	_ = done(8, false) || done(16, true)
	h.Sent()
}

// A scope is a test that others stand in for, and what is to be done at its end.
type scope struct {
	testing.TB
	last []func()
}

// Cleanup registers f for end.
func (s *scope) Cleanup(f func()) { s.last = append(s.last, f) }

func (s *scope) end() {
	for i := len(s.last) - 1; i >= 0; i-- {
		s.last[i]()
	}
}
