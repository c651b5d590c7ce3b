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

	"github.com/outband/outband/cmd/outband/internal/node"
	"github.com/outband/outband/cmd/outband/internal/values"
	"github.com/outband/outband/sockapi"
)

// resolvePatience bounds how long a command waits until a neighbour answers ARP:
// three requests a second apart, as the stack sends them.
const resolvePatience = 4 * time.Second

func (a *app) send() *cobra.Command {
	var f netFlags
	var wait values.Duration
	var port uint16
	cmd := &cobra.Command{
		Use:   "send DEST:PORT [TEXT...]",
		Short: "Send datagrams: the text, or each line of standard input",
		Long: `Sends TEXT as one UDP datagram, or without it each line of standard input as one.
With --wait it stays to print answers, as recv does, and to learn of errors: that
nobody listens is known only when an ICMP message says so.`,
		Args: cobra.MinimumNArgs(1),
	}
	f.register(cmd)
	cmd.Flags().VarP(&wait, "wait", "w", "print answers until none came for so long")
	cmd.Flags().Var(values.NumberOf(&port, 0, maxPort), "port", "port to send from (0: any)")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		to, err := netip.ParseAddrPort(args[0])
		if err != nil || !to.Addr().Is4() || to.Port() == 0 {
			return fmt.Errorf("%q is not an IPv4 address and a port, such as 10.9.0.2:7", args[0])
		}
		n, err := a.open(cmd.Context(), &f.stackFlags)
		if err != nil {
			return err
		}
		defer n.Close()
		s, err := n.UDP(port)
		if err != nil {
			return err
		}
		defer a.showOnSignal(n, f.json)()
		sum, err := a.runSend(cmd.Context(), n, s, to, args[1:])
		if err == nil && wait > 0 {
			err = a.answers(cmd.Context(), s, to, time.Duration(wait), f.json)
		}
		return errors.Join(err, a.closing(&f, n, sum, sum.text()))
	}
	return cmd
}

// runSend sends the words as one datagram, or each line of stdin as one.
func (a *app) runSend(ctx context.Context, n *node.Node, s *sockapi.Socket, to netip.AddrPort, words []string) (sum transferSummary, err error) {
	if err := s.SetsockoptInt(unix.SOL_SOCKET, unix.SO_BROADCAST, 1); err != nil {
		return sum, err
	}
	if err := s.Connect(sockapi.InetAddrPort(to)); err != nil {
		return sum, noWay(to.Addr(), err)
	}
	// A datagram that waits for ARP would end with this process. The peer is another than
	// was asked for if that is 0.0.0.0.
	peer, err := s.Getpeername()
	if err != nil {
		return sum, err
	}
	if addr := peer.AddrPort().Addr(); hasNeighbour(n, addr) {
		if err := resolve(ctx, n, []netip.Addr{addr}, resolvePatience); err != nil {
			return sum, answerNo(err.Error())
		}
	}
	out := outage{a: a}
	one := func(p []byte) error {
		sent, err := s.Send(p, 0)
		if err == nil {
			sum.Datagrams++
			sum.Bytes += uint64(sent)
		}
		if len(words) == 0 && out.lost(n, to.String(), err, &sum) {
			return nil
		}
		return refused(to.String(), err)
	}
	if len(words) > 0 {
		err = one([]byte(strings.Join(words, " ")))
	} else {
		err = eachLine(ctx, a.in, one)
	}
	return sum, err
}

// hasNeighbour reports whether a destination is reached by way of a neighbour: groups
// and broadcasts are not.
func hasNeighbour(n *node.Node, to netip.Addr) bool {
	return !to.IsMulticast() && to != limitedBroadcast && to != n.Broadcast()
}

// answers prints what comes back until nothing came for so long.
func (a *app) answers(ctx context.Context, s *sockapi.Socket, to netip.AddrPort, wait time.Duration, asJSON bool) error {
	defer context.AfterFunc(ctx, func() { s.Close() })()
	if err := s.SetsockoptTimeval(unix.SOL_SOCKET, unix.SO_RCVTIMEO, wait); err != nil {
		return err
	}
	buf := make([]byte, maxPayload)
	for {
		n, from, err := s.Recvfrom(buf, 0)
		switch {
		case errors.Is(err, unix.EAGAIN), over(ctx, err):
			return nil
		case err != nil:
			return refused(to.String(), err)
		}
		if err := a.printDatagram(from, buf[:n], asJSON); err != nil {
			return err
		}
	}
}

// refused names the destination of an error, and makes an answer of one that the
// network gave: the destination, or a router, said no.
func refused(to string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.EMSGSIZE):
		return fmt.Errorf("%s: longer than a datagram can be, %d bytes: %w", to, maxPayload, err)
	}
	err = fmt.Errorf("%s: %w", to, err)
	for _, errno := range []unix.Errno{unix.ECONNREFUSED, unix.EHOSTUNREACH, unix.ENETUNREACH, unix.ENOPROTOOPT, unix.ETIMEDOUT} {
		if errors.Is(err, errno) {
			return answerNo(err.Error())
		}
	}
	return err
}
