package main

import (
	"context"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/examples/feed/arbiter"
	"github.com/outband/outband/examples/feed/mold"
	"github.com/outband/outband/link"
	"github.com/outband/outband/sockapi"
	"github.com/outband/outband/stack"
)

type receiveFlags struct {
	sideFlags
	first    uint64
	window   int
	timeout  time.Duration
	requests netip.AddrPort
	after    time.Duration
	print    bool
	spin     bool
}

func (f *receiveFlags) parse(args []string, out io.Writer) error {
	fs := flag.NewFlagSet("feed receive", flag.ContinueOnError)
	fs.SetOutput(out)
	f.register(fs)
	fs.Uint64Var(&f.first, "first", 0, "number of the first message (0: the first that comes)")
	fs.IntVar(&f.window, "window", 4096, "messages to hold while one before them is missing")
	fs.DurationVar(&f.timeout, "timeout", 50*time.Millisecond, "how long a missing message may still come")
	fs.TextVar(&f.requests, "requests", netip.AddrPort{}, "`address:port` to ask again for what is missing")
	fs.DurationVar(&f.after, "request-after", 5*time.Millisecond, "how long to wait before each such request")
	fs.BoolVar(&f.print, "print", false, "print the messages")
	fs.BoolVar(&f.spin, "spin", false, "spin always, for the shortest latency")
	if err := fs.Parse(args); err != nil {
		return err
	}
	if f.window < 1 || f.window > 1<<20 || f.timeout <= 0 || f.after <= 0 {
		return errors.New("--window, --timeout and --request-after must be above 0")
	}
	if err := f.check(); err != nil {
		return err
	}
	if !f.inBand && (f.b.dev != f.a.dev) != f.b.addr.IsValid() {
		return errors.New("--addr-b is our own address on --dev-b, if that is another device")
	}
	return nil
}

// A receiver takes the feed: one goroutine waits for all of its sockets.
type receiver struct {
	receiveFlags
	out     io.Writer
	arbiter *arbiter.Arbiter
	epoll   *sockapi.Epoll
	sockets []*sockapi.Socket // by arbiter.Side
	msgs    []sockapi.Mmsghdr
	room    [][]byte // of the messages' control messages
	wrong   uint64   // datagrams that are no MoldUDP64
	request []byte
	ranges  []arbiter.Range
	known   bool // the session has been printed
}

func receive(ctx context.Context, args []string, out io.Writer) error {
	r := &receiver{out: out}
	if err := r.parse(args, out); err != nil {
		return err
	}
	cfg := arbiter.Config{First: r.first, Window: r.window, Timeout: r.timeout, Lost: r.lost}
	if r.requests.IsValid() {
		cfg.RequestAfter = r.after
	}
	if r.print {
		cfg.Deliver = r.deliver
	}
	r.arbiter = arbiter.New(cfg)
	st, err := r.openStack()
	if err != nil {
		return err
	}
	defer st.Close()
	defer r.close()
	if err := r.openSockets(st); err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { r.epoll.Close() })()
	fmt.Fprintf(out, "joined %s on %s and %s on %s\n", r.a.group, r.a.dev, r.b.group, r.b.dev)
	if err := r.run(); err != nil && ctx.Err() == nil {
		return err
	}
	r.report()
	return nil
}

// openStack brings up a stack with an interface for each device; in-band it has
// none, and only lends its calls.
func (r *receiver) openStack() (*stack.Stack, error) {
	cfg := stack.Config{}
	if r.spin {
		cfg.Spin = stack.SpinAlways
	}
	st, err := stack.New(cfg)
	if err != nil || r.inBand {
		return st, err
	}
	plain := func(l link.Link) link.Link { return l }
	err = addLink(st, r.a, plain)
	if err == nil && r.b.dev != r.a.dev {
		err = addLink(st, r.b, plain)
	}
	if err != nil {
		st.Close()
		return nil, err
	}
	return st, nil
}

func (r *receiver) openSockets(st *stack.Stack) error {
	var err error
	if r.epoll, err = sockapi.New(st).EpollCreate(); err != nil {
		return err
	}
	for i := range 64 {
		r.room = append(r.room, make([]byte, sockapi.CmsgSpace(16)))
		r.msgs = append(r.msgs, sockapi.Mmsghdr{Hdr: sockapi.Msghdr{Iov: [][]byte{make([]byte, 9216)}, Control: r.room[i]}})
	}
	for _, s := range []side{r.a, r.b} {
		// Bound to the group, so that the other side's datagrams stay out even if
		// both have one port.
		err := r.add(st, sockapi.InetAddrPort(s.group), func(socket *sockapi.Socket) error {
			b, err := mreqn(s.group.Addr(), s.dev)
			if err != nil {
				return err
			}
			if err := socket.Setsockopt(unix.IPPROTO_IP, unix.IP_ADD_MEMBERSHIP, b); err != nil {
				return fmt.Errorf("join %s on %s: %w", s.group.Addr(), s.dev, err)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	if !r.requests.IsValid() {
		return nil
	}
	local := sockapi.Inet4([4]byte{}, 0)
	if !r.inBand {
		local = sockapi.Inet4(r.a.addr.Addr().As4(), 0)
	}
	return r.add(st, local, func(socket *sockapi.Socket) error {
		return socket.Connect(sockapi.InetAddrPort(r.requests))
	})
}

// add opens the next side's socket, which tells when datagrams came.
func (r *receiver) add(st *stack.Stack, local sockapi.Sockaddr, ready func(*sockapi.Socket) error) error {
	s, err := open(st, r.inBand, local)
	if err != nil {
		return err
	}
	r.sockets = append(r.sockets, s)
	if err := s.SetsockoptInt(unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1); err != nil {
		return err
	}
	if err := s.SetsockoptInt(unix.SOL_SOCKET, unix.SO_RCVBUF, 4<<20); err != nil {
		return err
	}
	if err := ready(s); err != nil {
		return err
	}
	return r.epoll.Ctl(unix.EPOLL_CTL_ADD, s, sockapi.EpollEvent{Events: unix.EPOLLIN, Data: uint64(len(r.sockets) - 1)})
}

func (r *receiver) close() {
	for _, s := range r.sockets {
		s.Close()
	}
	if r.epoll != nil {
		r.epoll.Close()
	}
}

// run receives until the session is over: both sides have said so, or the one that
// did is not followed by the other within the time for missing messages.
func (r *receiver) run() error {
	events := make([]sockapi.EpollEvent, 3)
	end := int64(math.MaxInt64)
	for {
		n, err := r.epoll.Wait(events, until(min(r.arbiter.Deadline(), end)))
		if err != nil {
			return err
		}
		for _, e := range events[:n] {
			if err := r.drain(arbiter.Side(e.Data)); err != nil {
				return err
			}
		}
		now := monotonic()
		r.arbiter.Tick(now)
		r.ask(now)
		if !r.arbiter.Done() {
			continue
		}
		if end == math.MaxInt64 {
			end = now + int64(max(r.timeout, time.Second))
		}
		if r.arbiter.Over() || now >= end {
			return nil
		}
	}
}

// until returns how long Wait may take; negative: without end.
func until(deadline int64) time.Duration {
	if deadline == math.MaxInt64 {
		return -1
	}
	return time.Duration(max(0, deadline-monotonic()))
}

// drain takes what a side's socket has, one batch at most: the other side is not to
// wait for long.
func (r *receiver) drain(from arbiter.Side) error {
	for i := range r.msgs {
		r.msgs[i].Hdr.Control = r.room[i]
	}
	n, err := r.sockets[from].Recvmmsg(r.msgs, unix.MSG_DONTWAIT, -1)
	if err == unix.EAGAIN || err == unix.ECONNREFUSED { // the latter: no server there
		return nil
	}
	if err != nil {
		return err
	}
	now := monotonic()
	for i := range r.msgs[:n] {
		m := &r.msgs[i]
		p, err := mold.Parse(m.Hdr.Iov[0][:m.Len])
		if err != nil || m.Hdr.Flags&unix.MSG_TRUNC != 0 {
			r.wrong++
			continue
		}
		r.arbiter.Packet(from, arrival(&m.Hdr), now, p)
	}
	if s, ok := r.arbiter.Session(); ok && !r.known {
		r.known = true
		fmt.Fprintln(r.out, "session", s)
	}
	return nil
}

// arrival returns when a datagram came, by the clock of time stamps.
func arrival(m *sockapi.Msghdr) int64 {
	c, _, ok := sockapi.NextCmsg(m.Control[:m.ControlLen])
	if !ok || c.Type != unix.SO_TIMESTAMPNS || len(c.Data) < 16 {
		return 0
	}
	return int64(binary.NativeEndian.Uint64(c.Data))*1e9 + int64(binary.NativeEndian.Uint64(c.Data[8:]))
}

// ask asks the server for what is missing.
func (r *receiver) ask(now int64) {
	if int(arbiter.Recovery) >= len(r.sockets) {
		return
	}
	r.ranges = r.arbiter.Requests(now, r.ranges[:0])
	session, _ := r.arbiter.Session()
	for _, g := range r.ranges {
		r.request = mold.AppendRequest(r.request[:0], session, g.First, int(g.Last-g.First+1))
		// One that cannot leave is asked again.
		_, _ = r.sockets[arbiter.Recovery].Send(r.request, unix.MSG_DONTWAIT)
	}
}

func (r *receiver) deliver(sequence uint64, message []byte) {
	fmt.Fprintf(r.out, "%d: %s\n", sequence, message)
}

func (r *receiver) lost(g arbiter.Range) { fmt.Fprintf(r.out, "lost %d-%d\n", g.First, g.Last) }

// lead writes how much earlier a side's messages came than the other side's.
func lead(h *arbiter.Histogram, q float64) string {
	if h.Count == 0 {
		return "-"
	}
	return fmt.Sprintf("%.1f us", float64(h.Quantile(q))/1e3)
}

func (r *receiver) report() {
	s := r.arbiter.Stats()
	fmt.Fprintf(r.out, "%d delivered, %d lost in %d gaps, %d late, %d recovered, %d window overflows\n",
		s.Delivered, s.Lost, s.Gaps, s.Late, s.Sides[arbiter.Recovery].First, s.Overflows)
	fmt.Fprintf(r.out, "%-4s %9s %9s %9s %9s %8s %11s %11s\n", "side", "packets", "messages", "first", "missing", "loss", "lead p50", "lead p99")
	for _, from := range []arbiter.Side{arbiter.A, arbiter.B} {
		d := &s.Sides[from]
		all := max(1, d.Messages+d.Missing)
		fmt.Fprintf(r.out, "%-4s %9d %9d %9d %9d %7.3f%% %11s %11s\n", from, d.Packets, d.Messages, d.First, d.Missing,
			100*float64(d.Missing)/float64(all), lead(&d.Lead, 0.5), lead(&d.Lead, 0.99))
	}
	for _, from := range []arbiter.Side{arbiter.A, arbiter.B} {
		if d := &s.Sides[from]; d.OtherSession+d.Duplicates+d.Old > 0 {
			fmt.Fprintf(r.out, "%s: %d packets of another session, %d duplicates, %d too old\n", from, d.OtherSession, d.Duplicates, d.Old)
		}
	}
	if r.wrong > 0 {
		fmt.Fprintf(r.out, "%d datagrams are no MoldUDP64\n", r.wrong)
	}
}
