package cli

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/outband/outband/cmd/outband/internal/mcast"
	"github.com/outband/outband/cmd/outband/internal/node"
	"github.com/outband/outband/cmd/outband/internal/values"
	"github.com/outband/outband/sockapi"
)

// mcastSendFlags are those of mcast send.
type mcastSendFlags struct {
	mcastFlags
	seq   mcast.Field
	count values.Size
	rate  values.Size
	size  values.Size
	ttl   uint8
	loop  bool
	port  uint16
}

func (a *app) mcastSend() *cobra.Command {
	f := mcastSendFlags{rate: 1000, ttl: 1}
	cmd := &cobra.Command{
		Use:   "send GROUP:PORT [TEXT...]",
		Short: "Send datagrams to a group: a text, lines of standard input, or a load",
		Long: `Sends TEXT as one datagram, or --count times; or without TEXT, but with --size, a
load of --count datagrams of so many bytes; or else each line of standard input as
one datagram. --rate holds for all but the lines. --seq writes a sequence number
into each datagram, big endian, from 1 on.`,
		Args: cobra.MinimumNArgs(1),
	}
	f.register(cmd)
	flags := cmd.Flags()
	flags.Var(&f.seq, "seq", "where to write a sequence number: 8:4 is 4 bytes from byte 8 on")
	flags.Var(&f.count, "count", "datagrams to send (0: one of TEXT)")
	flags.Var(&f.rate, "rate", "datagrams a second")
	flags.Var(&f.size, "size", "bytes in each datagram of a load")
	flags.Var(values.NumberOf(&f.ttl, 0, 255), "ttl", "how far they go: 0 not beyond this host, 1 not beyond this network")
	flags.BoolVar(&f.loop, "loop", true, "let sockets of this host, or of this stack, have them too")
	flags.Var(values.NumberOf(&f.port, 0, maxPort), "port", "port to send from (0: any)")
	cmd.RunE = func(cmd *cobra.Command, args []string) error { return a.runMcastSend(cmd, &f, args) }
	return cmd
}

func (f *mcastSendFlags) checkSend(words []string) error {
	size := int(f.size)
	if len(words) > 0 {
		size = len(strings.Join(words, " "))
	}
	switch {
	case f.rate == 0:
		return errors.New("--rate: must be 1 or more")
	case f.size > maxPayload:
		return fmt.Errorf("--size %d: must be from 0 to %d", f.size, maxPayload)
	case f.size > 0 && len(words) > 0:
		return errors.New("--size and a text do not go together")
	case f.size > 0 && f.count == 0:
		return errors.New("--size needs --count: how many datagrams")
	case f.size == 0 && len(words) == 0 && f.count > 0:
		return errors.New("--count needs --size, or a text")
	case size > 0 && f.seq.End() > size:
		return fmt.Errorf("--seq %s: does not fit in %d bytes", f.seq.String(), size)
	}
	return nil
}

func (a *app) runMcastSend(cmd *cobra.Command, f *mcastSendFlags, args []string) error {
	to, err := mcast.ParseGroup(args[0])
	if err == nil {
		err = f.checkSend(args[1:])
	}
	if err != nil {
		return err
	}
	n, err := a.openMcast(&f.mcastFlags, cmd)
	if err != nil {
		return err
	}
	defer n.Close()
	s, err := n.UDP(f.port)
	if err != nil {
		return err
	}
	defer s.Close()
	if err := f.setOptions(cmd, n, s); err != nil {
		return err
	}
	if err := s.Connect(sockapi.InetAddrPort(to)); err != nil {
		return noWay(to.Addr(), err)
	}
	defer a.showOnSignal(n, f.json)()
	sum, err := a.sendToGroup(cmd.Context(), f, n, s, to, args[1:])
	return errors.Join(err, a.closing(&f.netFlags, n, sum, sum.text()))
}

// setOptions sets the options of multicast that were asked for; the others stay as
// the system has them.
func (f *mcastSendFlags) setOptions(cmd *cobra.Command, n *node.Node, s *sockapi.Socket) error {
	if n.InBand() { // a stack of one device has no choice
		ifindex, err := n.IfIndex()
		if err == nil {
			err = s.Setsockopt(unix.IPPROTO_IP, unix.IP_MULTICAST_IF, mcast.Mreqn(netip.Addr{}, ifindex))
		}
		if err != nil {
			return err
		}
	}
	if cmd.Flags().Changed("ttl") {
		if err := s.SetsockoptInt(unix.IPPROTO_IP, unix.IP_MULTICAST_TTL, int(f.ttl)); err != nil {
			return fmt.Errorf("--ttl: %w", err)
		}
	}
	if cmd.Flags().Changed("loop") {
		loop := 0
		if f.loop {
			loop = 1
		}
		if err := s.SetsockoptInt(unix.IPPROTO_IP, unix.IP_MULTICAST_LOOP, loop); err != nil {
			return fmt.Errorf("--loop: %w", err)
		}
	}
	return nil
}

// sendToGroup sends what the flags and words say, until ctx ends.
func (a *app) sendToGroup(ctx context.Context, f *mcastSendFlags, n *node.Node, s *sockapi.Socket, to netip.AddrPort, words []string) (sum transferSummary, err error) {
	out, several := outage{a: a}, f.count > 1 || f.size == 0 && len(words) == 0
	one := func(p []byte) error {
		if f.seq.End() > len(p) {
			return fmt.Errorf("--seq %s: does not fit in the %d bytes of line %d", f.seq.String(), len(p), sum.Datagrams+1)
		}
		f.seq.Put(p, sum.Datagrams+sum.NotSent+1) // those are missing, and receivers are to see it
		sent, err := s.Send(p, 0)
		if err == nil {
			sum.Datagrams++
			sum.Bytes += uint64(sent)
		}
		if several && out.lost(n, to.String(), err, &sum) {
			return nil
		}
		return refused(to.String(), err)
	}
	if f.size == 0 && len(words) == 0 {
		err := eachLine(ctx, a.in, one)
		return sum, err
	}
	p := make([]byte, f.size)
	if len(words) > 0 {
		p = []byte(strings.Join(words, " "))
	}
	count := max(uint64(f.count), 1)
	err = paced(ctx, count, float64(f.rate), func() error { return one(p) })
	return sum, err
}

// paced calls fn count times, at a rate a second, until ctx ends. What is late is
// made up for.
func paced(ctx context.Context, count uint64, rate float64, fn func() error) error {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	start := time.Now()
	for done := uint64(0); done < count; {
		for due := min(count, 1+uint64(time.Since(start).Seconds()*rate)); done < due; done++ {
			if err := fn(); err != nil {
				return err
			}
			if ctx.Err() != nil {
				return nil
			}
		}
		if done == count {
			break
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
	return nil
}
