package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/examples/feed/mold"
	"github.com/outband/outband/link"
	"github.com/outband/outband/link/fault"
	"github.com/outband/outband/sockapi"
	"github.com/outband/outband/stack"
)

// maxPacket is the longest packet that an Ethernet frame carries.
const maxPacket = 1500 - 20 - 8

// minSize is the shortest message: it has room for any number.
const minSize = 20

type publishFlags struct {
	sideFlags
	session      string
	count        uint64
	rate         float64
	size, batch  int
	heartbeat    time.Duration
	linger       time.Duration
	lossA, lossB float64
	delayB       time.Duration
	seed         uint64
	requests     uint
	keep         int
}

func (f *publishFlags) parse(args []string, out io.Writer) error {
	fs := flag.NewFlagSet("feed publish", flag.ContinueOnError)
	fs.SetOutput(out)
	f.register(fs)
	fs.StringVar(&f.session, "session", "DEMO", "name of the session")
	fs.Uint64Var(&f.count, "count", 0, "messages to send (0: until Ctrl-C)")
	fs.Float64Var(&f.rate, "rate", 1000, "messages a second")
	fs.IntVar(&f.size, "size", 40, "bytes in a message")
	fs.IntVar(&f.batch, "batch", 4, "messages in a packet, at most")
	fs.DurationVar(&f.heartbeat, "heartbeat", time.Second, "pause after which a heartbeat is sent")
	fs.DurationVar(&f.linger, "linger", time.Second, "how long the end of the session is told")
	fs.Float64Var(&f.lossA, "loss-a", 0, "fraction of side A's frames to lose")
	fs.Float64Var(&f.lossB, "loss-b", 0, "fraction of side B's frames to lose")
	fs.DurationVar(&f.delayB, "delay-b", 0, "how much later side B's frames leave")
	fs.Uint64Var(&f.seed, "seed", 1, "of the losses: the same seed loses the same packets")
	fs.UintVar(&f.requests, "requests", 0, "answer requests for lost messages on this port of --addr (0: do not)")
	fs.IntVar(&f.keep, "keep", 1<<16, "messages to keep for requests")
	if err := fs.Parse(args); err != nil {
		return err
	}
	if err := f.check(); err != nil {
		return err
	}
	switch {
	case f.inBand && (f.lossA > 0 || f.lossB > 0 || f.delayB > 0):
		return errors.New("--loss-a, --loss-b and --delay-b are faults of our links: not --in-band")
	case !f.inBand && !f.b.addr.IsValid():
		return errors.New("needs another address of our own for side B: --addr-b")
	case f.rate <= 0:
		return errors.New("--rate: must be above 0")
	case f.size < minSize || f.size > maxPacket-mold.HeaderLen-2:
		return fmt.Errorf("--size: must be from %d to %d", minSize, maxPacket-mold.HeaderLen-2)
	case f.batch < 1 || f.heartbeat <= 0 || f.keep < 1 || f.requests > 65535:
		return errors.New("--batch, --heartbeat and --keep must be above 0, --requests a port")
	}
	return nil
}

// A publisher sends a session.
type publisher struct {
	publishFlags
	sockets [2]*sockapi.Socket
	to      [2]sockapi.Sockaddr
	faults  [2]*fault.Link
	store   *store
	next    uint64
	packet  []byte
	message []byte
	refused error // the last error of sending, which goes on
}

func publish(ctx context.Context, args []string, out io.Writer) error {
	p := &publisher{next: 1}
	if err := p.parse(args, out); err != nil {
		return err
	}
	p.store = newStore(mold.NewSession(p.session), p.keep)
	p.message = make([]byte, p.size)
	a, err := p.open(0, p.a, p.lossA, 0)
	if err != nil {
		return err
	}
	defer a.Close()
	b, err := p.open(1, p.b, p.lossB, p.delayB)
	if err != nil {
		return err
	}
	defer b.Close()
	defer p.sockets[0].Close()
	defer p.sockets[1].Close()
	if p.requests > 0 {
		s, err := open(a, p.inBand, sockapi.InetAddrPort(p.serverAddr()))
		if err != nil {
			return err
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			p.store.serve(s)
		}()
		defer func() {
			s.Close()
			<-done
		}()
	}
	fmt.Fprintf(out, "session %s to %s and %s\n", p.session, p.a.group, p.b.group)
	p.run(ctx)
	return p.report(out)
}

// open opens a side: a stack of its own, so that what it loses is its own, and a
// socket.
func (p *publisher) open(i int, s side, loss float64, delay time.Duration) (*stack.Stack, error) {
	st, err := stack.New(stack.Config{})
	if err != nil {
		return nil, err
	}
	local := sockapi.Inet4([4]byte{}, 0)
	if !p.inBand {
		local = sockapi.Inet4(s.addr.Addr().As4(), 0)
		err = addLink(st, s, func(l link.Link) link.Link {
			p.faults[i] = fault.Wrap(l, fault.Config{Seed: p.seed + uint64(i), Tx: fault.Faults{Loss: loss, Delay: delay}})
			return p.faults[i]
		})
	}
	if err == nil {
		p.sockets[i], err = open(st, p.inBand, local)
	}
	if err == nil && p.inBand {
		// Which device: a stack of one device has no choice.
		var b []byte
		if b, err = mreqn(netip.Addr{}, s.dev); err == nil {
			err = p.sockets[i].Setsockopt(unix.IPPROTO_IP, unix.IP_MULTICAST_IF, b)
		}
	}
	p.to[i] = sockapi.InetAddrPort(s.group)
	if err != nil {
		st.Close()
		return nil, err
	}
	return st, nil
}

// run sends the messages at their rate, heartbeats in between, and the end of the
// session.
func (p *publisher) run(ctx context.Context) {
	tick := time.NewTicker(min(time.Millisecond, p.heartbeat))
	defer tick.Stop()
	start := time.Now()
	last := start
	for ctx.Err() == nil && (p.count == 0 || p.next <= p.count) {
		due := 1 + uint64(time.Since(start).Seconds()*p.rate)
		if p.count > 0 {
			due = min(due, p.count)
		}
		switch {
		case p.next <= due:
			p.sendMessages(due)
			last = time.Now()
			continue
		case time.Since(last) >= p.heartbeat:
			p.send(mold.AppendHeader(p.packet[:0], p.store.session, p.next, false))
			last = time.Now()
		}
		wait(ctx, tick.C)
	}
	// Also after Ctrl-C: the receiver ends with the session.
	tick.Reset(min(p.heartbeat, 50*time.Millisecond))
	for end := time.Now(); ; <-tick.C {
		p.send(mold.AppendHeader(p.packet[:0], p.store.session, p.next, true))
		if time.Since(end) >= p.linger {
			return
		}
	}
}

func wait(ctx context.Context, tick <-chan time.Time) {
	select {
	case <-ctx.Done():
	case <-tick:
	}
}

// sendMessages sends one packet of messages up to number due.
func (p *publisher) sendMessages(due uint64) {
	b := mold.AppendHeader(p.packet[:0], p.store.session, p.next, false)
	for n := 0; n < p.batch && p.next <= due; n++ {
		longer, ok := mold.AppendMessage(b, p.compose(p.next), maxPacket)
		if !ok {
			break
		}
		b = longer
		p.store.add(p.next, p.message)
		p.next++
	}
	p.send(b)
}

// compose writes message n: its number in decimal, and dots up to its size.
func (p *publisher) compose(n uint64) []byte {
	text := fmt.Appendf(p.message[:0], "%d ", n)
	copy(p.message[len(text):], bytes.Repeat([]byte{'.'}, p.size-len(text)))
	return p.message
}

// send sends a packet on both sides. What cannot be sent is lost: the sides go on.
func (p *publisher) send(packet []byte) {
	p.packet = packet
	for i, s := range p.sockets {
		if _, err := s.Sendto(packet, 0, p.to[i]); err != nil {
			p.refused = err
		}
	}
}

func (p *publisher) report(out io.Writer) error {
	fmt.Fprintf(out, "%d messages sent", p.next-1)
	for i, name := range []string{"A", "B"} {
		if l := p.faults[i]; l != nil {
			c := l.Counters().Tx
			fmt.Fprintf(out, ", %s lost %d of %d frames", name, c.Lost, c.Frames)
		}
	}
	if p.requests > 0 {
		requests, messages := p.store.served()
		fmt.Fprintf(out, ", %d requests answered with %d messages", requests, messages)
	}
	fmt.Fprintln(out)
	return p.refused
}
