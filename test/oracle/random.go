package oracle

import (
	"fmt"
	"math/rand/v2"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/sockapi"
)

// A Sequence is a script by chance: steps on a few sockets of both ends.
type Sequence []Step

// A Step is one call on one of the sockets. It is plain numbers, so that a
// sequence is made before it runs, runs the same in every world, and can be
// shortened.
type Step struct {
	kind    int    // of steps
	sock    int    // of sockNames
	a, b, c uint32 // chance, for the arguments
}

// sockNames are the sockets of a sequence; those in capitals are at the far end.
var sockNames = [...]string{"a", "b", "C", "D"}

// A stepKind is what a step does; the more weight it has the more often it
// comes.
type stepKind struct {
	name   string
	weight int
	do     func(q *sequenceRun, k *Sock, s *Step)
}

// sequenceRun is the state of a sequence on its way.
type sequenceRun struct {
	*Run
	socks [len(sockNames)]*Sock
}

// Values that steps choose from.
var (
	stepPorts = []uint16{7001, 7002, 7003, 0}
	stepSizes = []int{0, 1, 10, 100, 1472, 1473, 3000}
	stepAddrs = []func(r *Run) [4]byte{
		func(r *Run) [4]byte { return r.Top.Addrs[Near] },
		func(r *Run) [4]byte { return r.Top.Addrs[Far] },
		func(r *Run) [4]byte { return r.Top.Addrs[Far] },
		func(*Run) [4]byte { return [4]byte{} },
		func(*Run) [4]byte { return [4]byte{127, 0, 0, 1} },
		func(*Run) [4]byte { return directedBroadcast },
		func(*Run) [4]byte { return [4]byte{192, 0, 2, 1} },
		func(*Run) [4]byte { return stepGroups[0] },
		func(*Run) [4]byte { return stepGroups[0] },
		func(*Run) [4]byte { return stepGroups[1] },
	}
	// There is a route to the second, and everybody is in the third.
	stepGroups  = [][4]byte{{239, 1, 2, 3}, {239, 9, 0, 1}, {224, 0, 0, 1}}
	stepSources = []func(r *Run) [4]byte{
		func(r *Run) [4]byte { return r.Top.Addrs[Near] },
		func(r *Run) [4]byte { return r.Top.Addrs[Far] },
		func(*Run) [4]byte { return [4]byte{10, 9, 0, 1} },
		func(*Run) [4]byte { return [4]byte{192, 0, 2, 1} },
	}
	stepMemberships = []int{unix.IP_ADD_MEMBERSHIP, unix.IP_ADD_MEMBERSHIP, unix.IP_DROP_MEMBERSHIP}
	stepFilters     = []int{unix.MCAST_JOIN_SOURCE_GROUP, unix.MCAST_JOIN_SOURCE_GROUP, unix.MCAST_LEAVE_SOURCE_GROUP,
		unix.MCAST_BLOCK_SOURCE, unix.MCAST_BLOCK_SOURCE, unix.MCAST_UNBLOCK_SOURCE}
	stepRecvFlags = []int{0, 0, 0, unix.MSG_PEEK, unix.MSG_TRUNC, unix.MSG_ERRQUEUE, unix.MSG_WAITALL, unix.MSG_PEEK | unix.MSG_TRUNC}
	stepSendFlags = []int{0, 0, 0, 0, unix.MSG_DONTWAIT, unix.MSG_NOSIGNAL, unix.MSG_CONFIRM, unix.MSG_DONTROUTE, unix.MSG_OOB}
	// Steps leave out what Deliberate has.
	//
	// stepOptions leave out what Linux decides by hash or by load, and IP_PKTINFO,
	// which has to be set before the first datagram comes (see Deliberate). Nor is
	// there a MSG_MORE or UDP_CORK: connecting between two pieces of a datagram
	// redirects it in Linux, by accident.
	stepOptions = []struct {
		level, name int
		values      []int
	}{
		{unix.SOL_SOCKET, unix.SO_REUSEADDR, []int{0, 1}},
		{unix.SOL_SOCKET, unix.SO_BROADCAST, []int{0, 1}},
		{unix.SOL_SOCKET, unix.SO_TIMESTAMP, []int{0, 1}},
		{unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, []int{0, 1}},
		{unix.SOL_SOCKET, unix.SO_RXQ_OVFL, []int{0, 1}},
		{unix.SOL_SOCKET, unix.SO_DONTROUTE, []int{0, 1}},
		{unix.SOL_SOCKET, unix.SO_NO_CHECK, []int{0, 1}},
		{unix.SOL_IP, unix.IP_RECVERR, []int{0, 1, 1}},
		{unix.SOL_IP, unix.IP_TTL, []int{1, 5, 255, -1, 0}},
		{unix.SOL_IP, unix.IP_TOS, []int{0, 16, 184, 3}},
		{unix.SOL_IP, unix.IP_RECVTTL, []int{0, 1}},
		{unix.SOL_IP, unix.IP_RECVTOS, []int{0, 1}},
		{unix.SOL_IP, unix.IP_MTU_DISCOVER, []int{0, 1, 2, 3}},
		{unix.SOL_IP, unix.IP_FREEBIND, []int{0, 1}},
		{unix.SOL_IP, unix.IP_MULTICAST_LOOP, []int{0, 1}},
		{unix.SOL_IP, unix.IP_MULTICAST_ALL, []int{0, 1}},
		{unix.SOL_IP, unix.IP_MULTICAST_TTL, []int{1, 7, -1, 255, 256}}, // for 0 see Deliberate
	}
)

// directedBroadcast is the wire's (RFC 919).
var directedBroadcast = [4]byte{10, 9, 0, 255}

// pick returns one of a list by chance.
func pick[T any](list []T, chance uint32) T { return list[chance%uint32(len(list))] }

// address returns an address and port by chance.
func (s *Step) address(r *Run) sockapi.Sockaddr {
	return sockapi.Inet4(pick(stepAddrs, s.a)(r), pick(stepPorts, s.b))
}

var stepKinds = []stepKind{
	{"bind", 8, func(q *sequenceRun, k *Sock, s *Step) {
		if a := s.address(q.Run); a.IP4() != directedBroadcast {
			k.Bind(a)
		}
	}},
	{"connect", 8, func(q *sequenceRun, k *Sock, s *Step) {
		if k.Connect(s.address(q.Run)) != nil {
			k.Connect(sockapi.Sockaddr{}) // for a connected socket see Deliberate
		}
	}},
	{"disconnect", 2, func(_ *sequenceRun, k *Sock, _ *Step) { k.Connect(sockapi.Sockaddr{}) }},
	{"send", 12, func(q *sequenceRun, k *Sock, s *Step) {
		k.Send(Data(pick(stepSizes, s.a)), pick(stepSendFlags, s.b))
		q.SyncAnswers()
	}},
	{"sendto", 16, func(q *sequenceRun, k *Sock, s *Step) {
		k.Sendto(Data(pick(stepSizes, s.c)), pick(stepSendFlags, s.c>>8), s.address(q.Run))
		q.SyncAnswers()
	}},
	{"sendmmsg", 4, func(q *sequenceRun, k *Sock, s *Step) {
		k.Sendmmsg(0, s.address(q.Run), Data(pick(stepSizes, s.c))) // of several see Deliberate
		q.SyncAnswers()
	}},
	{"sendmsg", 4, func(q *sequenceRun, k *Sock, s *Step) {
		k.Sendmsg([][]byte{Data(3), Data(4)}, CmsgInt(unix.SOL_IP, unix.IP_TTL, int(s.c%70)), 0, s.address(q.Run))
		q.SyncAnswers()
	}},
	{"recv", 12, func(_ *sequenceRun, k *Sock, s *Step) {
		k.Recvfrom(pick([]int{0, 5, 100, 4000}, s.a), pick(stepRecvFlags, s.b)|unix.MSG_DONTWAIT)
	}},
	{"recvmsg", 10, func(_ *sequenceRun, k *Sock, s *Step) {
		k.Recvmsg(pick([]int{0, 20, 300}, s.a), pick(stepRecvFlags, s.b)|unix.MSG_DONTWAIT, 4, 2000)
	}},
	{"recvmmsg", 3, func(_ *sequenceRun, k *Sock, s *Step) { k.Recvmmsg(int(s.a%4), 50, unix.MSG_DONTWAIT, -1) }},
	{"shutdown", 3, func(_ *sequenceRun, k *Sock, s *Step) { k.Shutdown(int(s.a % 4)) }},
	{"set", 14, func(_ *sequenceRun, k *Sock, s *Step) {
		o := pick(stepOptions, s.a)
		k.Set(o.level, o.name, pick(o.values, s.b))
	}},
	{"get", 3, func(_ *sequenceRun, k *Sock, s *Step) { o := pick(stepOptions, s.a); k.GetInt(o.level, o.name) }},
	{"membership", 8, func(_ *sequenceRun, k *Sock, s *Step) {
		k.GroupOption(pick(stepMemberships, s.a), pick(stepGroups, s.b))
	}},
	{"source", 8, func(q *sequenceRun, k *Sock, s *Step) {
		k.SourceOption(pick(stepFilters, s.a), pick(stepGroups, s.b), pick(stepSources, s.c)(q.Run))
	}},
	{"filter", 3, func(q *sequenceRun, k *Sock, s *Step) {
		sources := [][4]byte{pick(stepSources, s.a)(q.Run), pick(stepSources, s.a>>8)(q.Run)}[:s.b>>8%3]
		k.SetGroup(unix.MCAST_MSFILTER, fmt.Sprint(s.c&1, sources),
			GroupFilter(q.GroupIndex(), pick(stepGroups, s.b), int(s.c&1), len(sources), sources...))
		k.Filter(pick(stepGroups, s.b))
	}},
	{"multicast if", 4, func(q *sequenceRun, k *Sock, s *Step) {
		k.SetGroup(unix.IP_MULTICAST_IF, fmt.Sprint(s.a%3 > 0), Mreqn([4]byte{}, [4]byte{}, min(int(s.a%3), 1)*q.GroupIndex()))
	}},
	{"error", 4, func(_ *sequenceRun, k *Sock, _ *Step) { k.Error() }},
	{"names", 5, func(_ *sequenceRun, k *Sock, _ *Step) { k.Names() }},
	{"queued", 3, func(_ *sequenceRun, k *Sock, _ *Step) { k.Inq() }},
	{"close", 2, func(q *sequenceRun, k *Sock, s *Step) { k.Close(); q.socks[s.sock] = nil }},
}

// NewSequence makes a sequence of n steps.
func NewSequence(rng *rand.Rand, n int) Sequence {
	total := 0
	for i := range stepKinds {
		total += stepKinds[i].weight
	}
	q := make(Sequence, n)
	for i := range q {
		w, kind := rng.IntN(total), 0
		for w >= stepKinds[kind].weight {
			w -= stepKinds[kind].weight
			kind++
		}
		q[i] = Step{kind: kind, sock: rng.IntN(len(sockNames)), a: rng.Uint32(), b: rng.Uint32(), c: rng.Uint32()}
	}
	return q
}

// Run is the sequence as a script. A step on a socket that is not open opens it.
// After each step the socket is asked what it is ready for.
func (q Sequence) Run(r *Run) {
	run := &sequenceRun{Run: r}
	for i := range q {
		s := &q[i]
		k := run.socks[s.sock]
		if k == nil {
			open := run.UDP
			if n := sockNames[s.sock]; n == strings.ToUpper(n) {
				open = run.FarUDP
			}
			k = open(sockNames[s.sock])
			run.socks[s.sock] = k
		}
		stepKinds[s.kind].do(run, k, s)
		for _, k := range run.socks {
			if k != nil {
				k.Poll()
			}
		}
	}
}

// Shorten takes steps out of a sequence that differs as long as it still does.
func (q Sequence) Shorten(differs func(Sequence) bool) Sequence {
	for size := len(q) / 2; size > 0; size /= 2 {
		for at := 0; at+size <= len(q); {
			shorter := append(append(Sequence{}, q[:at]...), q[at+size:]...)
			if differs(shorter) {
				q = shorter
			} else {
				at += size
			}
		}
	}
	return q
}

// String names the steps.
func (q Sequence) String() string {
	var b strings.Builder
	for i := range q {
		fmt.Fprintf(&b, "%s.%s ", sockNames[q[i].sock], stepKinds[q[i].kind].name)
	}
	return b.String()
}
