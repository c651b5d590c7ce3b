package mcast

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/sockapi"
)

// A Config says what to receive.
type Config struct {
	Targets  []Target
	IfIndex  int   // of the device to join on
	Seq      Field // where datagrams have their sequence number
	Buffer   int   // bytes of each group's receive buffer (SO_RCVBUF); 0: the system's
	Interval time.Duration
	Count    uint64        // datagrams, after which to stop; 0: never
	Duration time.Duration // after which to stop; 0: never
	// Counters returns the counters of all drops, by name. What they grew by is
	// reported.
	Counters func() map[string]uint64
	// Ready is called when all groups are joined.
	Ready func()
	// End is called when the run is over and the groups are still joined.
	End func()
	// Each is given what an interval has brought.
	Each func(Interval) error
}

// A receiver has one socket for each group, all watched by one Epoll.
type receiver struct {
	Config
	epoll   *sockapi.Epoll
	sockets []*sockapi.Socket
	meters  []meter
	msgs    []sockapi.Mmsghdr
	began   time.Time
	total   Interval // until now
	was     Interval // until the last interval
	before  map[string]uint64
}

// batch is how many datagrams of a group are taken at once.
const batch = 64

// Receive joins the groups and receives until ctx ends, or what the configuration
// says is reached. open opens an unbound UDP socket of api. What is received is
// reported even if an error ended it.
func Receive(ctx context.Context, cfg Config, api *sockapi.API, open func() (*sockapi.Socket, error)) (*Report, error) {
	r := &receiver{Config: cfg, meters: make([]meter, len(cfg.Targets)), msgs: make([]sockapi.Mmsghdr, batch)}
	for i := range r.msgs {
		r.msgs[i].Hdr.Iov = [][]byte{make([]byte, max(cfg.Seq.End(), 1))}
	}
	var err error
	if r.epoll, err = api.EpollCreate(); err != nil {
		return nil, err
	}
	defer r.close()
	for i, t := range cfg.Targets {
		r.meters[i] = meter{target: t, quiet: true}
		if err := r.join(i, open); err != nil {
			return nil, fmt.Errorf("%s: %w", t, err)
		}
	}
	r.before = r.Counters()
	r.began = time.Now()
	if r.Ready != nil {
		r.Ready()
	}
	defer context.AfterFunc(ctx, func() { r.epoll.Close() })()
	err = r.run()
	if ctx.Err() != nil {
		err = nil
	}
	if r.End != nil {
		r.End()
	}
	return r.report(), err
}

func (r *receiver) close() {
	for _, s := range r.sockets {
		s.Close()
	}
	r.epoll.Close()
}

// join opens a group's socket, bound to the group so that it gets no other's.
func (r *receiver) join(i int, open func() (*sockapi.Socket, error)) error {
	s, err := open()
	if err != nil {
		return err
	}
	r.sockets = append(r.sockets, s)
	t := r.Targets[i]
	// Others of the host may receive the same.
	if err := s.SetsockoptInt(unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
		return err
	}
	// Only what this socket has joined, not what others have.
	if err := s.SetsockoptInt(unix.IPPROTO_IP, unix.IP_MULTICAST_ALL, 0); err != nil {
		return err
	}
	if r.Buffer > 0 {
		if err := s.SetsockoptInt(unix.SOL_SOCKET, unix.SO_RCVBUF, r.Buffer); err != nil {
			return err
		}
	}
	if err := s.Bind(sockapi.InetAddrPort(t.Group)); err != nil {
		return err
	}
	r.meters[i].dropsWere = drops(s)
	if err := r.epoll.Ctl(unix.EPOLL_CTL_ADD, s, sockapi.EpollEvent{Events: unix.EPOLLIN, Data: uint64(i)}); err != nil {
		return err
	}
	return Join(s, t, r.IfIndex)
}

// Join makes a socket a member of a group on a device: from any source, or from
// the target's (ip(7)).
func Join(s *sockapi.Socket, t Target, ifindex int) error {
	if len(t.Sources) == 0 {
		return s.Setsockopt(unix.IPPROTO_IP, unix.IP_ADD_MEMBERSHIP, Mreqn(t.Group.Addr(), ifindex))
	}
	for _, source := range t.Sources {
		if err := s.Setsockopt(unix.IPPROTO_IP, unix.MCAST_JOIN_SOURCE_GROUP, groupSourceReq(ifindex, t.Group.Addr(), source)); err != nil {
			return fmt.Errorf("source %s: %w", source, err)
		}
	}
	return nil
}

// Mreqn returns a struct ip_mreqn (ip(7)) of a group, or the zero Addr, and a
// device.
func Mreqn(group netip.Addr, ifindex int) []byte {
	b := make([]byte, 12)
	if group.IsValid() {
		copy(b, group.AsSlice())
	}
	binary.NativeEndian.PutUint32(b[8:], uint32(ifindex))
	return b
}

// groupSourceReq returns a struct group_source_req (linux/in.h): unlike struct
// ip_mreq_source it names the device by its index.
func groupSourceReq(ifindex int, group, source netip.Addr) []byte {
	const storage = 128 // of a struct sockaddr_storage, aligned to 8 bytes
	b := make([]byte, 8+2*storage)
	binary.NativeEndian.PutUint32(b, uint32(ifindex))
	for i, a := range []netip.Addr{group, source} {
		sockaddr := b[8+i*storage:]
		binary.NativeEndian.PutUint16(sockaddr, unix.AF_INET)
		copy(sockaddr[4:], a.AsSlice())
	}
	return b
}

// skMeminfoDrops is the index of SK_MEMINFO_DROPS (linux/sock_diag.h).
const skMeminfoDrops = 8

// drops returns how many datagrams a socket has dropped: the number that
// SO_RXQ_OVFL tells, which comes only with the next datagram.
func drops(s *sockapi.Socket) uint64 {
	var b [4 * (skMeminfoDrops + 1)]byte
	n, err := s.Getsockopt(unix.SOL_SOCKET, unix.SO_MEMINFO, b[:])
	if err != nil || n < len(b) {
		return 0
	}
	return uint64(binary.NativeEndian.Uint32(b[4*skMeminfoDrops:]))
}

func (r *receiver) elapsed() int64 { return int64(time.Since(r.began)) }

// run receives until it is enough.
func (r *receiver) run() error {
	events := make([]sockapi.EpollEvent, 64)
	interval, end := int64(r.Interval), int64(r.Duration)
	if end == 0 {
		end = math.MaxInt64
	}
	for next := interval; ; {
		n, err := r.epoll.Wait(events, time.Duration(max(0, min(next, end)-r.elapsed())))
		if err != nil {
			return err
		}
		for _, e := range events[:n] {
			if err := r.drain(int(e.Data)); err != nil || r.enough() {
				return err
			}
		}
		now := r.elapsed()
		if now >= next {
			if err := r.interval(now); err != nil {
				return err
			}
			next = now - now%interval + interval
		}
		if now >= end {
			return nil
		}
	}
}

func (r *receiver) enough() bool { return r.Count > 0 && r.total.Datagrams >= r.Count }

// drain takes one batch of a group's datagrams; the other groups are not to wait
// for more.
func (r *receiver) drain(i int) error {
	msgs := r.msgs
	if r.Count > 0 {
		msgs = msgs[:min(batch, r.Count-r.total.Datagrams)]
	}
	// MSG_TRUNC: the length is the datagram's, though only its number is copied.
	n, err := r.sockets[i].Recvmmsg(msgs, unix.MSG_DONTWAIT|unix.MSG_TRUNC, -1)
	if err == unix.EAGAIN {
		return nil
	}
	if err != nil {
		return err
	}
	now := r.elapsed()
	for j := range msgs[:n] {
		d := &msgs[j]
		p := d.Hdr.Iov[0]
		r.meters[i].datagram(now, d.Hdr.Name.AddrPort(), p[:min(d.Len, len(p))], d.Len, &r.Seq)
		r.total.Datagrams++
		r.total.Bytes += uint64(d.Len)
	}
	return nil
}

// refresh brings the sums over all groups up to date.
func (r *receiver) refresh() (missing, drop uint64, silent int) {
	for i := range r.meters {
		m := &r.meters[i]
		m.drops = drops(r.sockets[i]) - m.dropsWere
		drop += m.drops
		missing += m.sequence().Missing
		if m.quiet {
			silent++
		}
	}
	return missing, drop, silent
}

// interval hands out what came since the last one.
func (r *receiver) interval(now int64) error {
	missing, drop, silent := r.refresh()
	t := r.total
	t.Elapsed, t.Missing, t.Drops = now, int64(missing), drop
	i := Interval{Elapsed: now, Datagrams: t.Datagrams - r.was.Datagrams, Bytes: t.Bytes - r.was.Bytes,
		Missing: t.Missing - r.was.Missing, Drops: t.Drops - r.was.Drops, Silent: silent, Groups: len(r.meters)}
	i.Rate = rate(i.Bytes, now-r.was.Elapsed)
	r.was = t
	for j := range r.meters {
		r.meters[j].quiet = true
	}
	if r.Each == nil {
		return nil
	}
	return r.Each(i)
}

// rate returns bits a second.
func rate(bytes uint64, ns int64) uint64 {
	if ns <= 0 {
		return 0
	}
	return uint64(float64(bytes) * 8e9 / float64(ns))
}
