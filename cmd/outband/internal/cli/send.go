package cli

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/outband/outband/cmd/outband/internal/node"
	"github.com/outband/outband/sockapi"
)

// resolvePatience bounds how long a command waits until a neighbour answers ARP:
// three requests a second apart, as the stack sends them.
const resolvePatience = 4 * time.Second

func (a *app) send() *cobra.Command {
	var f netFlags
	var wait time.Duration
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
	cmd.Flags().DurationVarP(&wait, "wait", "w", 0, "print answers until none came for so long")
	cmd.Flags().Uint16Var(&port, "port", 0, "port to send from (0: any)")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		to, err := netip.ParseAddrPort(args[0])
		if err != nil || !to.Addr().Is4() || to.Port() == 0 {
			return fmt.Errorf("%q is not an IPv4 address and a port, such as 10.9.0.2:7", args[0])
		}
		n, err := f.open()
		if err != nil {
			return err
		}
		defer n.Close()
		s, err := n.UDP(port)
		if err != nil {
			return err
		}
		defer a.showOnSignal(n)()
		sum, err := a.runSend(cmd.Context(), n, s, to, args[1:])
		if err == nil && wait > 0 {
			err = a.answers(cmd.Context(), s, wait, f.json)
		}
		return errors.Join(err, a.closing(&f, n, sum, fmt.Sprintf("%d datagrams, %d bytes", sum.Datagrams, sum.Bytes)))
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
	// A datagram that waits for ARP would end with this process.
	if err := resolve(ctx, n, []netip.Addr{to.Addr()}, resolvePatience); err != nil {
		return sum, answerNo(err.Error())
	}
	var lines io.Reader = strings.NewReader(strings.Join(words, " ") + "\n")
	if len(words) == 0 {
		lines = a.in
	}
	err = eachLine(ctx, lines, func(line []byte) error {
		n, err := s.Send(line, 0)
		if err == nil {
			sum.Datagrams++
			sum.Bytes += uint64(n)
		}
		return refused(err)
	})
	return sum, err
}

// eachLine calls fn with each line, without its end, until ctx ends. A line may
// be as long as a datagram; a longer one is an error. A read from a terminal
// cannot be called back: its goroutine ends with the next line, or the process.
func eachLine(ctx context.Context, r io.Reader, fn func(line []byte) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	lines, ended := make(chan []byte), make(chan error, 1)
	go func() {
		scanner := bufio.NewScanner(r)
		scanner.Buffer(make([]byte, 4096), maxPayload+2)
		for scanner.Scan() {
			select {
			case lines <- bytes.Clone(scanner.Bytes()):
			case <-ctx.Done():
				return
			}
		}
		ended <- scanner.Err()
	}()
	for {
		select {
		case line := <-lines:
			if err := fn(line); err != nil {
				return err
			}
		case err := <-ended:
			return err
		case <-ctx.Done():
			return nil
		}
	}
}

// answers prints what comes back until nothing came for so long.
func (a *app) answers(ctx context.Context, s *sockapi.Socket, wait time.Duration, asJSON bool) error {
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
			return refused(err)
		}
		if err := a.printDatagram(from, buf[:n], asJSON); err != nil {
			return err
		}
	}
}

// refused makes an answer of an error that the network gave: the destination, or
// a router, said no.
func refused(err error) error {
	for _, errno := range []unix.Errno{unix.ECONNREFUSED, unix.EHOSTUNREACH, unix.ENETUNREACH, unix.ENOPROTOOPT, unix.ETIMEDOUT} {
		if errors.Is(err, errno) {
			return answerNo(err.Error())
		}
	}
	return err
}
