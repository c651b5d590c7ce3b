package oracle

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/sockapi"
)

// A Case is one script of the table.
type Case struct {
	// Name says what it is about, from the general to the particular, with
	// slashes between: "option/SO_BROADCAST/set 1". Lists name cases by it, or
	// by the beginning of it.
	Name string
	// Tops are where it runs; none is over the wire and over loopback.
	Tops []Topology
	Run  func(r *Run)
}

// tops returns where the case runs.
func (c *Case) tops() []Topology {
	if c.Tops == nil {
		return []Topology{Wire, Loopback}
	}
	return c.Tops
}

// within reports whether the case is name, or one of those below it.
func (c *Case) within(name string) bool {
	rest, ok := strings.CutPrefix(c.Name, name)
	return ok && (rest == "" || rest[0] == '/')
}

// A Stage is a world to run scripts in.
type Stage struct {
	World World
	// Careful has every Sync wait for what hosts themselves answer, which takes four
	// times as long.
	Careful bool
	// markers are sockets of each host for Sync, at a port that scripts leave
	// alone.
	markers [2]*sockapi.Socket
	// held are others, to which datagrams come, where stacks share addresses, by the in-band
	// sockets that hold their ports: what comes so does not keep the order of what comes by a
	// ring.
	held [2]*sockapi.Socket
	// pings are of each host too: what a host itself answers does not keep the
	// order of what its sockets send.
	pings [2]*sockapi.Socket
}

// markerPort is Sync's (discard, RFC 863), and its echo requests' ident.
const markerPort = 9

// heldPort is that of Stage.held (chargen, RFC 864).
const heldPort = 19

// NewStage makes a stage of a world, for as long as the test lasts.
func NewStage(t testing.TB, w World) *Stage {
	t.Helper()
	s := &Stage{World: w}
	for h := range s.markers {
		k, err := w.Socket(Host(h), unix.AF_INET, unix.SOCK_DGRAM, 0)
		check(t, err)
		t.Cleanup(func() { k.Close() })
		check(t, k.SetsockoptTimeval(unix.SOL_SOCKET, unix.SO_RCVTIMEO, patience))
		check(t, k.Bind(sockapi.Inet4([4]byte{}, markerPort)))
		// Linux begins to stamp a while after the first socket has asked for it.
		check(t, k.SetsockoptInt(unix.SOL_SOCKET, unix.SO_TIMESTAMP, 1))
		s.markers[h] = k
		p, err := w.Socket(Host(h), unix.AF_INET, unix.SOCK_DGRAM, unix.IPPROTO_ICMP)
		check(t, err)
		t.Cleanup(func() { p.Close() })
		check(t, p.SetsockoptTimeval(unix.SOL_SOCKET, unix.SO_RCVTIMEO, patience))
		check(t, p.Bind(sockapi.Inet4([4]byte{}, markerPort)))
		s.pings[h] = p
		s.held[h] = heldMarker(t, w, Host(h))
	}
	for _, top := range []Topology{Wire, Loopback, Own} {
		s.sync(top, true) // neighbours get to know each other
	}
	return s
}

// heldMarker opens a socket for Stage.held.
func heldMarker(t testing.TB, w World, h Host) *sockapi.Socket {
	t.Helper()
	k, err := w.Socket(h, unix.AF_INET, unix.SOCK_DGRAM, 0)
	check(t, err)
	t.Cleanup(func() { k.Close() })
	check(t, k.SetsockoptTimeval(unix.SOL_SOCKET, unix.SO_RCVTIMEO, patience))
	check(t, k.SetsockoptInt(unix.SOL_SOCKET, unix.SO_REUSEADDR, 1))
	check(t, k.Bind(sockapi.Inet4([4]byte{}, heldPort)))
	return k
}

// sync sends markers to and fro: what was sent before them has arrived when they
// have, since links keep the order. The second round is for answers that a host
// sent while it had the first marker already.
func (s *Stage) sync(top Topology, answers bool) {
	for range 2 {
		for from := range top.Hosts {
			s.mark(top, from, &s.held, heldPort)
			s.mark(top, from, &s.markers, markerPort)
			if answers {
				s.ping(top, from)
			}
		}
	}
}

// mark sends a marker from one host to the other, and waits for it.
func (s *Stage) mark(top Topology, from int, sockets *[2]*sockapi.Socket, port uint16) {
	var b [1]byte
	to := 1 - from
	if _, err := sockets[top.Hosts[from]].Sendto(b[:], 0, sockapi.Inet4(top.Addrs[to], port)); err != nil {
		panic(fmt.Sprintf("%s: a marker: %v", s.World.Name(), err))
	}
	if _, err := sockets[top.Hosts[to]].Recv(b[:], 0); err != nil {
		panic(fmt.Sprintf("%s, %s: a marker got lost: %v", s.World.Name(), top.Name, err))
	}
}

// ping has one host answer the other: what it had to answer before that has been
// answered then.
func (s *Stage) ping(top Topology, from int) {
	k := s.pings[top.Hosts[from]]
	request := [8]byte{8} // an echo request; the socket adds checksum and ident
	if _, err := k.Sendto(request[:], 0, sockapi.Inet4(top.Addrs[1-from], 0)); err != nil {
		panic(fmt.Sprintf("%s: an echo request: %v", s.World.Name(), err))
	}
	if _, err := k.Recv(request[:], 0); err != nil {
		panic(fmt.Sprintf("%s, %s: no echo: %v", s.World.Name(), top.Name, err))
	}
}

// Play runs a script and returns its lines.
func (s *Stage) Play(top Topology, script func(*Run)) []string {
	r := &Run{World: s.World, Top: top, stage: s, ports: make(map[uint16]string)}
	defer func() {
		r.end()
		s.sync(top, s.Careful)
		if top.Name == Own.Name {
			s.sync(Wire, false) // what went to everybody has come to the other host too
		}
	}()
	script(r)
	return r.lines
}

// Diff returns "" if two logs are equal, or both of them side by side with what
// differs marked.
func Diff(linux, ours []string) string {
	same := len(linux) == len(ours)
	var b strings.Builder
	for i := range max(len(linux), len(ours)) {
		l, o := line(linux, i), line(ours, i)
		if l == o {
			fmt.Fprintf(&b, "          %s\n", l)
			continue
		}
		same = false
		fmt.Fprintf(&b, "  Linux:  %s\n  ours:   %s\n", l, o)
	}
	if same {
		return ""
	}
	return b.String()
}

func line(log []string, i int) string {
	if i < len(log) {
		return log[i]
	}
	return "(nothing)"
}

// A Judge compares a stage of ours with the kernel's.
type Judge struct {
	Linux, Ours *Stage
	Calls       int // that were compared
	// Unsteady are the differences that did not come again: the case and what was seen.
	Unsteady []string
}

// repeats is how often a script that differs is run again before it counts: a
// machine under load may delay what both worlds are expected to do at once.
const repeats = 2

// Compare runs a script in both worlds, and returns how they differ. It tries a
// script that differs again if that is a surprise.
func (j *Judge) Compare(top Topology, script func(*Run), surprise bool) string {
	diff := ""
	for i := range repeats + 1 {
		if i > 0 && !surprise {
			break
		}
		linux, ours := j.Linux.Play(top, script), j.Ours.Play(top, script)
		d := Diff(linux, ours)
		if d == "" {
			j.Calls += len(linux)
			if i > 0 {
				j.Unsteady = append(j.Unsteady, top.Name+":\n"+diff)
			}
			return ""
		}
		diff = d
		time.Sleep(time.Duration(i) * 5 * time.Millisecond)
	}
	return fmt.Sprintf("%s, %s:\n%s", j.Ours.World.Name(), top.Name, diff)
}

// Steady fails the test if what was compared latest, a case of that name, differed and
// then did not, unless Unsteady says why it may.
func (j *Judge) Steady(t testing.TB, c *Case) {
	t.Helper()
	if find(Unsteady, c) < 0 {
		for _, d := range j.Unsteady {
			t.Errorf("%s differed at first, and not again, by %s", c.Name, d)
		}
	}
	j.Unsteady = nil
}

// Case compares a case in all its topologies; surprise is Compare's.
func (j *Judge) Case(c *Case, surprise bool) string {
	var diffs []string
	for _, top := range c.tops() {
		if d := j.Compare(top, c.Run, surprise); d != "" {
			diffs = append(diffs, d)
		}
	}
	return strings.Join(diffs, "")
}
