package output

import (
	"errors"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/outband/outband/arp"
	"github.com/outband/outband/ipv4"
	"github.com/outband/outband/link"
	"github.com/outband/outband/stack/internal/counter"
	"github.com/outband/outband/stack/internal/drive"
	"github.com/outband/outband/stack/internal/queue"
	"github.com/outband/outband/stack/internal/route"
	"github.com/outband/outband/stack/internal/times"
)

// A testQueue is a way out of a link: it takes frames as long as refuse says nothing.
type testQueue struct {
	mu     sync.Mutex
	refuse func(n int) error // of the n-th frame, from 0; nil: never
	sent   [][]byte
	calls  []int // how many frames each call brought
	room   func() bool
	queued int
	fd     int
	told   func() // SetRoom's
	buffer int
	closed int
}

func (q *testQueue) Send(frame []byte) error {
	_, err := q.send([]link.TxFrame{{Data: frame}})
	return err
}

func (q *testQueue) SendBatch(frames []link.TxFrame) (int, error) { return q.send(frames) }

func (q *testQueue) send(frames []link.TxFrame) (int, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.calls = append(q.calls, len(frames))
	for i, f := range frames {
		if q.refuse != nil {
			if err := q.refuse(len(q.sent)); err != nil {
				return i, err
			}
		}
		q.sent = append(q.sent, append([]byte(nil), f.Data...))
	}
	return len(frames), nil
}

// frames returns what was sent, by the byte behind the link header.
func (q *testQueue) frames() (all []byte) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, f := range q.sent {
		all = append(all, f[link.HeaderLen])
	}
	return all
}

func (q *testQueue) Queued() int      { return q.queued }
func (q *testQueue) Room() bool       { return q.room == nil || q.room() }
func (q *testQueue) RoomFD() int      { return q.fd }
func (q *testQueue) SetRoom(f func()) { q.told = f }
func (q *testQueue) SetBuffer(n int)  { q.buffer = n }
func (q *testQueue) Close() error     { q.closed++; return nil }

// A testLink is a link with a queue of its own, and more of them for whoever asks.
type testLink struct {
	link.Link
	q      testQueue
	info   link.Info
	open   error // what OpenQueue says
	opened []*testQueue
}

func (l *testLink) Info() link.Info                         { return l.info }
func (l *testLink) FD() int                                 { return -1 }
func (l *testLink) Close() error                            { return nil }
func (l *testLink) Queue() link.TxQueue                     { return &l.q }
func (l *testLink) Send(frame []byte) error                 { return l.q.Send(frame) }
func (l *testLink) SendBatch(f []link.TxFrame) (int, error) { return l.q.SendBatch(f) }

func (l *testLink) OpenQueue(buffer int) (link.TxQueue, error) {
	if l.open != nil {
		return nil, l.open
	}
	q := &testQueue{fd: -1, buffer: buffer}
	l.opened = append(l.opened, q)
	return q, nil
}

// A rig is a transmitter with one device, 10.0.2.1/24 at index 2.
type rig struct {
	Transmitter
	now     atomic.Int64
	driver  drive.Driver
	lane    drive.Lane
	pool    queue.Pool
	routes  route.Routes
	l       *testLink
	dev     *Device
	posted  int
	chores  atomic.Int32
	pumped  int
	closing bool
	host    *testHost // of dev
}

// A testHost is the interface of a device.
type testHost struct {
	gone     error
	isMember bool
	changed  []arp.Event
	looped   []link.PacketType
}

// The parts of a rig that others ask.
type (
	rigClock struct{ *rig }
	rigStack struct{ *rig }
	rigDrive struct{ *rig }
)

func (c rigClock) Now() int64 { return c.now.Load() }

func (h rigStack) Closing() bool        { return h.closing }
func (h rigStack) PumpLoopback()        { h.pumped++ }
func (h rigStack) Posted()              { h.posted++ }
func (h rigStack) TapFrames(tx *Buffer) {}
func (h rigStack) Fault(v any)          { panic(v) }

func (h *testHost) Gone() error                         { return h.gone }
func (h *testHost) IsMember(group, src ipv4.Addr) bool  { return h.isMember }
func (h *testHost) Loop(b []byte, kind link.PacketType) { h.looped = append(h.looped, kind) }
func (h *testHost) NeighbourChanged(ev *arp.Event)      { h.changed = append(h.changed, *ev) }

func (h rigDrive) RunTimers(now int64)    { h.driver.Timers.Run(now) }
func (h rigDrive) Links() []link.Pollable { return nil }
func (h rigDrive) Chores()                { h.chores.Add(1) }
func (h rigDrive) Pump() drive.Outcome    { return 0 }
func (h rigDrive) Release()               { h.lane.Unlock() }

var (
	own       = ipv4.Addr{10, 0, 2, 1}
	neighbour = ipv4.Addr{10, 0, 2, 2}
	silent    = ipv4.Addr{10, 0, 2, 3} // a neighbour that is not known
	theirMAC  = link.MAC{2, 0, 0, 0, 0, 9}
)

func newRig(t testing.TB) *rig {
	t.Helper()
	r := &rig{l: newTestLink()}
	r.now.Store(1e9)
	r.driver.Init(rigDrive{r}, rigClock{r}, drive.SpinNever)
	r.lane.Init(&r.driver, rigDrive{r}, true)
	r.driver.SetLanes([]*drive.Lane{&r.lane})
	r.driver.LinksChanged(true, false)
	random := func() uint64 { return 7 }
	r.routes.Init(r.now.Load, random, 10)
	r.Init(Config{Host: rigStack{r}, Clock: times.Of(rigClock{r}), Random: random, Pool: &r.pool, Drive: &r.driver,
		Timers: &r.driver.Timers, Routes: &r.routes, Ident: ipv4.NewIdentifier([16]byte{1}),
		Limits: Limits{Buffers: 2, Outbox: 4, Scheduled: 4, ScheduledPerSocket: 3}})
	t.Cleanup(r.Rooms.Close)
	r.dev, r.host = r.device(t, r.l, 2, "10.0.2.1/24")
	r.dev.Neighbours.Change(func(table *arp.Table, now int64) { table.Set(now, neighbour, theirMAC, arp.Permanent) })
	return r
}

// device adds a device.
func (r *rig) device(t testing.TB, l link.Link, index int, addr string) (*Device, *testHost) {
	t.Helper()
	d, h := new(Device), new(testHost)
	d.Init(&r.Transmitter, h, l, route.DeviceConfig{}, arp.Config{})
	n := r.routes.Net().Clone()
	if err := errors.Join(n.Add(&d.Device, index), n.AddAddress(&d.Device, netip.MustParsePrefix(addr))); err != nil {
		t.Fatal(err)
	}
	n.Finish()
	r.routes.Set(n)
	d.Neighbours.Configure(n, false)
	return d, h
}

// newTestLink returns a link that is up.
func newTestLink() *testLink {
	l := &testLink{info: link.Info{MTU: 1500, State: link.Up, HardwareAddr: link.MAC{2, 0, 0, 0, 0, 1}}}
	l.q.fd = -1
	return l
}

// path returns the path to a host, made for UDP.
func (r *rig) path(t testing.TB, dst ipv4.Addr) *Path {
	t.Helper()
	p := new(Path)
	if e := r.MakePath(p, &Spec{Flow: route.Flow{Dst: dst, Broadcast: true}, Proto: ipv4.ProtocolUDP}); e != 0 {
		t.Fatal(e)
	}
	return p
}

// build adds a frame of a number to tx, which ends a message or not (-1).
func build(t testing.TB, tx *Buffer, q *WayOut, number byte, message int) {
	t.Helper()
	b, e := tx.Room(q, 60)
	if e != 0 {
		t.Fatalf("no room for frame %d: %v", number, e)
	}
	b[link.HeaderLen] = number
	tx.Add(b, message)
}

// A testSocket is a socket that sends.
type testSocket struct {
	Sender
	state    atomic.Uint32
	watches  drive.List
	watched  bool
	told     atomic.Uint32
	changes  int
	errors   []queue.QueuedError
	wants    bool
	noPort   bool
	lossSent bool
	noAnswer int
}

func (s *testSocket) IsWatched() bool                        { return s.watched }
func (s *testSocket) TellEvents(events uint32)               { s.told.Or(events); s.watches.Tell(events) }
func (s *testSocket) PathsChanged()                          { s.changes++ }
func (s *testSocket) ErrorArrived(e queue.QueuedError)       { s.errors = append(s.errors, e) }
func (s *testSocket) WantsErrors() bool                      { return s.wants }
func (s *testSocket) HasPort() bool                          { return !s.noPort }
func (s *testSocket) OutCounters() []counter.Kind            { return []counter.Kind{counter.UDPOutDatagrams} }
func (s *testSocket) LossCounter() counter.Kind              { return counter.UDPSndbufErrors }
func (s *testSocket) LossIsSent() bool                       { return s.lossSent }
func (s *testSocket) NoAnswer(e queue.QueuedError, b []byte) { s.noAnswer++ }

func (r *rig) socket(id uint64) *testSocket {
	s := new(testSocket)
	s.Init(&r.Transmitter, s, &s.watches, id, &s.state)
	return s
}
