package conformance

import (
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/outband/outband/igmp"
	"github.com/outband/outband/stack"
	"github.com/outband/outband/test/lab"
)

// A storm of queries of all kinds, each of which wants its answer at once, is answered
// a few times a second, and what is delivered meanwhile comes without a gap.
func TestQueryStorm(t *testing.T) {
	for _, version := range []int{3, 2, 1} {
		t.Run("version "+string('0'+byte(version)), func(t *testing.T) { queryStorm(t, version) })
	}
}

func queryStorm(t *testing.T, version int) {
	w := newWorld(t, setup{link: linkOptions(16384)})
	const groups = 10
	k, wire := w.member(7, groupA), w.far.Packet(t)
	k.SetReceiveBuffer(16 << 20)
	for i := range byte(groups - 1) {
		source := w.udp(100 + uint16(i))
		g := stack.GroupRequest{Group: [4]byte{239, 9, 2, i}, Interface: w.ifc.Index()}
		check(t, source.Multicast().JoinSource(g, from(51)))
	}
	peer := kernelMember(t, w.far, 0)
	var frames [][]byte
	queries := []lab.IGMPQuery{{}, {Group: groupA}, {Group: [4]byte{239, 9, 2, 1}, Sources: [][4]byte{from(51), from(52)}},
		{Group: [4]byte{239, 9, 2, 2}, Sources: [][4]byte{from(53)}}}
	if version < 3 {
		queries = queries[:4-version]
	}
	for _, q := range queries {
		q.Version, q.Src = version, w.far.Addr.As4()
		frames = append(frames, q.Frame(w.far.MAC))
	}
	await(t, "joins reported", func() bool { _, st := w.ifc.Groups(); return st.ChangeTimer == never })
	before, beforeHeap := w.ifc.GroupStats(), heap()

	const rounds, perRound = 200, 100
	pass := func(storm bool) time.Duration {
		began := time.Now()
		for i := range rounds {
			for j := range perRound {
				if storm {
					wire.Send(t, frames[j%len(frames)])
				}
			}
			check(t, peer.SendTo(sealed(100, uint32(i)), at(groupA, 7)))
			b, _ := w.recv(k)
			if number, ok := intact(b); !ok || number != uint32(i) {
				t.Fatalf("got datagram %d (intact: %t), want %d", number, ok, i)
			}
		}
		return time.Since(began)
	}
	calm := pass(false)
	began := time.Now()
	stormy := pass(true)
	if version > 1 { // which has ten seconds
		await(t, "silence", func() bool {
			groups, st := w.ifc.Groups()
			busy := func(g igmp.GroupInfo) bool { return g.Timer != never }
			return st.GeneralTimer == never && !slices.ContainsFunc(groups, busy)
		})
	}
	st, elapsed := w.ifc.GroupStats(), time.Since(began)
	var heard uint64
	for v := range st.RxQueries {
		heard += st.RxQueries[v] - before.RxQueries[v]
	}
	sent := st.TxReportsV1 + st.TxReportsV2 + st.TxReportsV3 - before.TxReportsV1 - before.TxReportsV2 - before.TxReportsV3
	t.Logf("%d of %d queries in %v: %d reports; %d datagrams take %v without", heard, rounds*perRound, stormy, sent, rounds, calm)
	if heard == 0 {
		t.Fatal("no query was heard")
	}
	// Responses of one kind are at least 50 ms apart: in version 3 those to general
	// queries, and those to others. In older versions each group has its own.
	kinds := map[int]uint64{3: 2, 2: groups, 1: groups}[version]
	if limit := kinds * (2 + uint64(elapsed/(50*time.Millisecond))); version == 3 && sent > limit || sent > 2*limit {
		t.Errorf("%d reports within %v, want at most %d", sent, elapsed, limit)
	}
	if st.QuerySources != 0 || st.QueuedMessages != 0 || st.Groups != groups {
		t.Errorf("left behind: %+v", st)
	}
	if grown := int64(heap()) - int64(beforeHeap); grown > 4<<20 {
		t.Errorf("the heap has grown by %d bytes", grown)
	}
	if version == 3 && st.Causes[igmp.CauseBacklog] != 0 {
		t.Errorf("%d messages were given up", st.Causes[igmp.CauseBacklog])
	}
}

// heap returns how many bytes are in use.
func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
