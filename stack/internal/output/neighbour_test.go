package output

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/outband/outband/arp"
	"github.com/outband/outband/ether"
	"github.com/outband/outband/icmp"
	"github.com/outband/outband/ipv4"
	"github.com/outband/outband/link"
	"github.com/outband/outband/stack/internal/counter"
	"github.com/outband/outband/stack/internal/drive"
	"github.com/outband/outband/stack/internal/route"
	"github.com/outband/outband/udp"
	"golang.org/x/sys/unix"
)

// send sends a datagram of n bytes to a host, for a socket or for the stack itself.
func (r *rig) send(t *testing.T, tx *Buffer, p *Path, s *Sender, n int) (Packet, unix.Errno) {
	t.Helper()
	pkt := Packet{Proto: ipv4.ProtocolUDP, TTL: 64, Payload: make([]byte, n), Owner: s}
	e := r.SendPacket(tx, p, &pkt)
	return pkt, e
}

// answers has a neighbour answer.
func (r *rig) answers(at ipv4.Addr) {
	r.dev.Neighbours.Change(func(table *arp.Table, now int64) { table.Set(now, at, theirMAC, arp.Permanent) })
}

// Datagrams to a neighbour that is not known wait for it, charged to the socket, and leave
// by one batch when it answers; one that has metadata leaves with it, and with its stamp.
func TestWaitForNeighbour(t *testing.T) {
	for _, tt := range []struct {
		name     string
		metadata Metadata
		flags    uint32
		batches  int
		stamps   int
	}{
		{name: "plain", batches: 1},
		{name: "metadata", metadata: Metadata{Mark: 7}, batches: 1},
		{name: "a stamp", flags: unix.SOF_TIMESTAMPING_TX_SOFTWARE, batches: 2, stamps: 2},
		{name: "a stamp that is no record's", flags: unix.SOF_TIMESTAMPING_TX_HARDWARE, batches: 1},
	} {
		r := newRig(t)
		s := r.socket(1)
		tx := r.Acquire(1)
		p := r.path(t, silent)
		p.Metadata = tt.metadata
		for range 2 {
			pkt := Packet{Proto: ipv4.ProtocolUDP, TTL: 64, Payload: make([]byte, 10), Owner: &s.Sender, Stamp: Stamp{Flags: tt.flags}}
			if e := r.SendPacket(tx, p, &pkt); e != 0 || !pkt.Queued || tx.Sent != 1 {
				t.Fatalf("%s: %v, queued %v, %d sent", tt.name, e, pkt.Queued, tx.Sent)
			}
		}
		tx.Flush()
		r.Release(tx, 1)
		if s.Charged.Load() != 2*ChargeFrame(44) || len(r.l.q.sent) != 1 {
			t.Errorf("%s: %d charged, %d frames sent", tt.name, s.Charged.Load(), len(r.l.q.sent))
		}
		r.l.q.calls = nil
		r.answers(silent)
		if len(r.l.q.sent) != 3 || len(r.l.q.calls) != tt.batches || s.Charged.Load() != 0 || len(s.errors) != tt.stamps {
			t.Errorf("%s: %d frames sent, by %v, %d charged, %d stamps", tt.name, len(r.l.q.sent), r.l.q.calls, s.Charged.Load(), len(s.errors))
		}
	}
}

// A table that is full says ENOBUFS, an address that is no neighbour's EHOSTUNREACH. What
// is known takes no request.
func TestFind(t *testing.T) {
	r := newRig(t)
	l := newTestLink()
	d := new(Device)
	d.Init(&r.Transmitter, new(testHost), l, route.DeviceConfig{}, arp.Config{MaxEntries: 1})
	for _, tt := range []struct {
		at   ipv4.Addr
		want unix.Errno
	}{{neighbour, 0}, {silent, unix.ENOBUFS}, {ipv4.Addr{224, 0, 0, 1}, unix.EHOSTUNREACH}} {
		if tt.at == neighbour {
			d.Neighbours.Change(func(table *arp.Table, now int64) { table.Set(now, neighbour, theirMAC, arp.Permanent) })
		}
		entry, mac, version, e := d.Neighbours.Find(tt.at, own, true)
		if e != tt.want || (entry != nil) != (e == 0) || e == 0 && (mac != theirMAC || version == 0) {
			t.Errorf("%v: %v, version %d", tt.at, e, version)
		}
	}
	if len(l.q.sent) != 0 || r.Outbox.Waiting.Load() {
		t.Errorf("%d requests for what is known", len(l.q.sent))
	}
}

// A blocking caller waits until what has waited for the neighbour has left.
func TestFindWaitsForFlush(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		n := &r.dev.Neighbours
		n.Mu.Lock()
		n.Flushing = 2
		n.Mu.Unlock()
		if _, _, version, e := n.Find(neighbour, own, false); version != 0 || e != 0 {
			t.Errorf("an answer passes what has waited: version %d, %v", version, e)
		}
		var found atomic.Bool
		go func() {
			if _, _, version, e := n.Find(neighbour, own, true); version != 0 && e == 0 {
				found.Store(true)
			}
		}()
		for left := range 2 {
			if synctest.Wait(); found.Load() {
				t.Errorf("found while %d wait", 2-left)
			}
			n.settled(&arp.Event{Kind: arp.Transmit}) // which is none of them
			n.settled(&arp.Event{Kind: arp.Flush})
		}
		if synctest.Wait(); !found.Load() {
			t.Error("not found after all have left")
		}
	})
}

// Nothing is in the outbox after an ARP packet about others.
func TestNeighbourInput(t *testing.T) {
	r := newRig(t)
	frame := func(target ipv4.Addr) []byte {
		b := make([]byte, link.HeaderLen+arp.Len)
		ether.Put(b, ether.Broadcast, theirMAC, ether.TypeARP)
		copy(b[link.HeaderLen:], []byte{0, 1, 8, 0, 6, 4, 0, 1})
		copy(b[link.HeaderLen+8:], theirMAC[:])
		copy(b[link.HeaderLen+14:], neighbour[:])
		copy(b[link.HeaderLen+24:], target[:])
		return b
	}
	r.dev.Neighbours.Change(func(table *arp.Table, now int64) { table.AddAddress(now, own) })
	if r.dev.Neighbours.Input(frame(silent)) || r.Outbox.Waiting.Load() {
		t.Error("a request for another host's address is answered")
	}
	if !r.dev.Neighbours.Input(frame(own)) || !r.Outbox.Waiting.Load() {
		t.Error("a request for our address is not answered")
	}
}

// The error about a neighbour that does not answer has the port and the payload of a UDP
// datagram whose header is whole and the first fragment's, else the payload as it is.
func TestUnreachable(t *testing.T) {
	for _, tt := range []struct {
		name     string
		protocol uint8
		payload  int
		offset   int
		cut      int
		dst      ipv4.Addr
		port     uint16
		left     int
	}{
		{"UDP", ipv4.ProtocolUDP, udp.HeaderLen + 3, 0, 0, silent, 53, 3},
		{"UDP without payload", ipv4.ProtocolUDP, udp.HeaderLen, 0, 0, silent, 53, 0},
		{"half a header", ipv4.ProtocolUDP, udp.HeaderLen - 1, 0, 0, silent, 0, udp.HeaderLen - 1},
		{"a later fragment", ipv4.ProtocolUDP, udp.HeaderLen + 3, 8, 0, silent, 0, udp.HeaderLen + 3},
		{"another protocol", ipv4.ProtocolICMP, udp.HeaderLen + 3, 0, 0, silent, 0, udp.HeaderLen + 3},
		{"no header", ipv4.ProtocolUDP, 0, 0, 1, ipv4.Addr{}, 0, 0},
	} {
		b := make([]byte, IPOffset+ipv4.MinHeaderLen+tt.payload)
		f := ipv4.Fields{TTL: 1, Protocol: tt.protocol, Src: own, Dst: silent}
		f.Put(b[IPOffset:], tt.payload)
		b[IPOffset+7] = byte(tt.offset / 8)
		copy(b[UDPOffset:], []byte{0, 9, 0, 53})
		e := unreachable(b[:len(b)-tt.cut])
		if e.Errno != unix.EHOSTUNREACH || e.Type != icmp.DestinationUnreachable || e.Code != icmp.CodeHost {
			t.Errorf("%s: %v, type %d, code %d", tt.name, e.Errno, e.Type, e.Code)
		}
		if e.Dst != tt.dst || e.DstPort != tt.port || len(e.Payload) != tt.left {
			t.Errorf("%s: of a datagram to %v, port %d, %d bytes", tt.name, e.Dst, e.DstPort, len(e.Payload))
		}
	}
}

// A datagram of one frame is not counted as fragmented; what was built for elsewhere and
// cannot leave is in the way of all its frames.
func TestSendPacket(t *testing.T) {
	r := newRig(t)
	tx := r.Acquire(1)
	p := r.path(t, neighbour)
	for _, tt := range []struct{ n, fragments int }{{1480, 0}, {1481, 2}} {
		before := tx.Count[counter.IPFragCreates].Load()
		if _, e := r.send(t, tx, p, nil, tt.n); e != 0 {
			t.Fatal(e)
		}
		if n := tx.Count[counter.IPFragCreates].Load() - before; n != uint64(tt.fragments) || tx.Count[counter.IPFragOKs].Load() != n/2 {
			t.Errorf("%d bytes: %d fragments, %d datagrams fragmented", tt.n, n, tx.Count[counter.IPFragOKs].Load())
		}
	}
	tx.Flush()
	other := &WayOut{Dev: &Device{}, out: &testQueue{refuse: always(0, unix.EAGAIN)}}
	build(t, tx, other, 0, 0)
	if _, e := r.send(t, tx, p, nil, 10); e != unix.EAGAIN || len(tx.Batch) != 1 {
		t.Errorf("behind what cannot leave: %v, %d frames built", e, len(tx.Batch))
	}
}

// What a datagram cannot have is said: a neighbour for which there is no room, a place in
// the schedule, room in the device before a group hears it too.
func TestSendPacketRefused(t *testing.T) {
	for _, tt := range []struct {
		name    string
		dst     ipv4.Addr
		prepare func(r *rig, s *testSocket, p *Path)
		want    unix.Errno
	}{
		{"no room for a neighbour", silent, func(r *rig, _ *testSocket, p *Path) {
			d := new(Device)
			d.Init(&r.Transmitter, new(testHost), r.l, route.DeviceConfig{}, arp.Config{MaxEntries: 1})
			d.Neighbours.Change(func(table *arp.Table, now int64) { table.Set(now, neighbour, theirMAC, arp.Permanent) })
			p.Dev = d
		}, unix.ENOBUFS},
		{"a full schedule", neighbour, func(r *rig, s *testSocket, p *Path) {
			s.wants = true
			p.Later = &Later{Due: 5e9}
			r.Limits.Scheduled = 0
		}, unix.ENOBUFS},
		{"a full schedule, of which nobody wants to know", neighbour, func(r *rig, s *testSocket, p *Path) {
			p.Later = &Later{Due: 5e9}
			r.Limits.Scheduled = 0
		}, 0},
		{"a full device, before we hear it", ipv4.Addr{10, 0, 2, 255}, func(r *rig, _ *testSocket, _ *Path) { r.l.q.refuse = always(0, unix.EAGAIN) }, unix.EAGAIN},
		{"nothing", ipv4.Addr{10, 0, 2, 255}, func(*rig, *testSocket, *Path) {}, 0},
	} {
		r := newRig(t)
		s := r.socket(1)
		p := r.path(t, tt.dst)
		tt.prepare(r, s, p)
		tx := r.Acquire(1)
		tx.Owner, tx.Flags = &s.Sender, unix.MSG_DONTWAIT
		_, e := r.send(t, tx, p, &s.Sender, 10)
		heard := tt.dst[3] == 255 && tt.want == 0
		if e != tt.want || len(r.host.looped) > 0 != heard {
			t.Errorf("%s: %v, want %v; heard by us %v", tt.name, e, tt.want, len(r.host.looped) > 0)
		}
	}
}

// A path that holds is taken as it is; one that others may see is copied before its
// neighbour is resolved.
func TestReady(t *testing.T) {
	r := newRig(t)
	tx := r.Acquire(1)
	p := r.path(t, neighbour)
	p.Shared = true
	q, _, ok, e := p.Ready(tx)
	if q == p || !ok || e != 0 || p.Resolved || !q.Holds() || q.Shared {
		t.Errorf("a path of others: the same %v, resolved %v, %v", q == p, p.Resolved, e)
	}
	q.Shared = true
	if again, _, ok, e := q.Ready(r.Acquire(1)); again != q || !ok || e != 0 {
		t.Errorf("a path that holds: the same %v, %v", again == q, e)
	}
	p = r.path(t, silent)
	if q, entry, ok, e := p.Ready(tx); q != p || entry == nil || ok || e != 0 || p.Resolved {
		t.Errorf("a neighbour that is not known: %v, %v", ok, e)
	}
}

// A path is to the first hop of a source route.
func TestRouteBySource(t *testing.T) {
	for _, tt := range []struct {
		name    string
		options string
		none    bool
		dst     ipv4.Addr
		to, end ipv4.Addr
		e       unix.Errno
	}{
		{"no options", "", true, silent, silent, ipv4.Addr{}, 0},
		{"no source route", "\x01\x01", false, silent, silent, ipv4.Addr{}, 0},
		{"a source route", "\x89\x07\x04\x0a\x00\x02\x02", false, silent, neighbour, silent, 0},
		{"to nowhere", "\x89\x07\x04\x0a\x00\x02\x02", false, ipv4.Addr{}, ipv4.Addr{}, ipv4.Addr{}, unix.EINVAL},
		{"to nowhere, without", "\x01\x01", false, ipv4.Addr{}, ipv4.Addr{}, ipv4.Addr{}, 0},
	} {
		spec := Spec{Flow: route.Flow{Dst: tt.dst}}
		if !tt.none {
			spec.Options = new(ipv4.SentOptions)
			if c := spec.Options.Set(ipv4.Options(tt.options)); c != ipv4.CauseNone {
				t.Fatal(c)
			}
		}
		if e := spec.RouteBySource(); e != tt.e || spec.Dst != tt.to || spec.Final != tt.end {
			t.Errorf("%s: %v, to %v, at the end to %v", tt.name, e, spec.Dst, spec.Final)
		}
	}
}

// Buffers are one sender's each; more than are kept at hand are given up, with their
// counters, when so many senders are not there any more.
func TestBuffers(t *testing.T) {
	r := newRig(t)
	const all = Slots + 2 + 3 // of the rig's limit of 2 beyond the slots
	for range 2 {
		seen := make(map[*Buffer]bool)
		var list []*Buffer
		for range all {
			tx := r.Acquire(1)
			if seen[tx] {
				t.Fatal("two senders have one Buffer")
			}
			seen[tx] = true
			tx.Count[counter.ARPOut].Add(1)
			list = append(list, tx)
		}
		if len(r.TxAll) != all {
			t.Errorf("%d Buffers for %d senders", len(r.TxAll), all)
		}
		for _, tx := range list {
			r.Release(tx, 1)
		}
		if len(r.TxAll) != Slots+2 || len(r.txFree) != 2 {
			t.Errorf("%d Buffers are left, %d of them beyond those at hand", len(r.TxAll), len(r.txFree))
		}
	}
	var sum counter.Set
	if r.AddTransmitCounters(&sum); sum[counter.ARPOut] != 2*all {
		t.Errorf("%d counted of %d", sum[counter.ARPOut], 2*all)
	}
	if a := r.Acquire(3); a != r.TxAll[a.at] {
		t.Error("a Buffer has not its place")
	}
	b := r.Acquire(5)
	r.Release(b, 5)
	if r.Acquire(5) != b {
		t.Error("a socket does not get the Buffer that it had")
	}
}

// Frames with a time of their own leave at that time; there are limits for a socket and for
// all; a closed socket's leave if their time is near, and what is later goes with it.
func TestSchedule(t *testing.T) {
	const second = int64(1e9)
	r := newRig(t)
	s, other := r.socket(1), r.socket(2)
	tx := r.Acquire(1)
	at := func(s *testSocket, due int64) unix.Errno {
		t.Helper()
		frame := r.pool.Get(60)
		return r.scheduleFrame(tx, r.dev, waitingFrame{socket: &s.Sender, later: &Later{Due: due, Report: true}}, frame, true)
	}
	now := r.now.Load()
	for i, tt := range []struct {
		s    *testSocket
		due  int64
		want unix.Errno
	}{
		{s, now - 1, unix.ENOBUFS}, // late
		{s, now, 0},
		{s, now + second, 0},
		{s, now + second + 1, 0},
		{s, now + 1, unix.ENOBUFS}, // the socket's limit
		{other, now + 3*second, 0},
		{other, now + 3*second, unix.ENOBUFS}, // the limit of all
	} {
		if e := at(tt.s, tt.due); e != tt.want {
			t.Errorf("%d: %v, want %v", i, e, tt.want)
		}
	}
	if r.ScheduledFrames() != 4 || s.scheduled != 3 || len(s.errors) != 1 || s.errors[0].Code != unix.SO_EE_CODE_TXTIME_INVALID_PARAM {
		t.Errorf("%d frames are scheduled, %d of the first socket, %d errors", r.ScheduledFrames(), s.scheduled, len(s.errors))
	}
	r.socket(3).Unschedule()
	s.state.Or(StateClosed)
	s.Unschedule()
	if r.ScheduledFrames() != 3 || s.scheduled != 2 || other.scheduled != 1 || s.Charged.Load() != 2*ChargeFrame(60) {
		t.Errorf("after a socket's end %d frames are left, %d of it, %d charged", r.ScheduledFrames(), s.scheduled, s.Charged.Load())
	}
	if e := at(s, now+second+1); e != unix.ENOBUFS {
		t.Errorf("a closed socket's, for long after: %v", e)
	}
	if e := at(s, now+second); e != 0 {
		t.Errorf("a closed socket's, for soon: %v", e)
	}
	var sum counter.Set
	if r.AddTransmitCounters(&sum); sum[counter.DropTxTimeClosed] != 1 {
		t.Errorf("%d frames went with their socket", sum[counter.DropTxTimeClosed])
	}
	r.now.Store(now + second)
	r.scheduleTimer(now + second)
	if r.SendOutbox(); len(r.l.q.sent) != 2 || r.posted != 1 || s.Charged.Load() != 0 {
		t.Errorf("%d frames sent at their time, posted %d times, %d charged", len(r.l.q.sent), r.posted, s.Charged.Load())
	}
	r.scheduleTimer(now + 3*second)
	r.now.Store(now + 3*second + r.Slack + 1)
	if r.SendOutbox(); len(r.l.q.sent) != 2 || len(other.errors) != 1 || other.errors[0].Code != unix.SO_EE_CODE_TXTIME_MISSED {
		t.Errorf("%d frames sent, of which one is late", len(r.l.q.sent))
	}
}

// Who empties the outbox leaves it to the housekeeper if it is filled as fast.
func TestOutboxFilledAsFast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		closing := make(chan struct{})
		r.driver.Start(closing)
		time.Sleep(10 * drive.HouseTick) // it leads, asleep
		post := func() { r.PostPackets([]OutPacket{{Dev: r.dev, Frame: r.pool.Get(60)}}) }
		r.l.q.refuse = func(int) error { post(); return nil }
		post()
		synctest.Wait()
		before := r.chores.Load()
		r.SendOutbox()
		if n := len(r.l.q.sent); n != outboxRounds || !r.Outbox.Waiting.Load() {
			t.Errorf("%d frames sent, waiting %v", n, r.Outbox.Waiting.Load())
		}
		if synctest.Wait(); r.chores.Load() == before {
			t.Error("the housekeeper is not told")
		}
		close(closing)
		r.driver.End()
		r.driver.Ended()
	})
}

// The outbox has room for so many packets, and gives back the memory of the others; one
// goroutine at a time empties it.
func TestOutbox(t *testing.T) {
	r := newRig(t)
	packets := func(n int) (out []OutPacket) {
		for range n {
			out = append(out, OutPacket{Dev: r.dev, Frame: r.pool.Get(60)})
		}
		return out
	}
	if n := r.PostPackets(packets(3)); n != 0 || !r.Outbox.Waiting.Load() {
		t.Errorf("%d of 3 found no room", n)
	}
	if n := r.PostPackets(packets(3)); n != 2 {
		t.Errorf("%d of 6 found no room among 4", n)
	}
	if n := r.PostPackets(packets(1)); n != 1 {
		t.Errorf("%d found no room in a full outbox", n)
	}
	r.Outbox.Busy = true
	if r.SendOutbox(); len(r.l.q.sent) != 0 {
		t.Error("two empty the outbox")
	}
	r.Outbox.Busy = false
	if r.SendOutbox(); len(r.l.q.sent) != 4 || r.Outbox.Busy || r.Outbox.Waiting.Load() {
		t.Errorf("%d frames sent, waiting %v", len(r.l.q.sent), r.Outbox.Waiting.Load())
	}
}
