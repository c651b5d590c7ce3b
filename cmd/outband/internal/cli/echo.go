package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/outband/outband/cmd/outband/internal/values"
	"github.com/outband/outband/sockapi"
)

// maxPayload is the most that a UDP datagram carries over IPv4.
const maxPayload = 65535 - 20 - 8

// maxPort is the largest port.
const maxPort = 65535

func (a *app) echo() *cobra.Command {
	var f netFlags
	var port uint16
	var count int
	cmd := &cobra.Command{
		Use:   "echo",
		Short: "Send every datagram back",
		Long: `Answers each UDP datagram with the same datagram, until Ctrl-C or -n. Under
--spin always it is the quickest answer that this stack gives.`,
		Args: cobra.NoArgs,
	}
	f.register(cmd)
	port = 7 // RFC 862
	cmd.Flags().Var(values.NumberOf(&port, 0, maxPort), "port", "port to listen on (0: any that is free)")
	cmd.Flags().VarP(values.NumberOf(&count, 0, values.Most), "count", "n", "stop after so many datagrams (0: never)")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
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
		fmt.Fprintf(a.err, "listening on %s, %s\n", must(s.Getsockname()), f.device)
		sum, err := a.runEcho(cmd.Context(), s, count)
		return errors.Join(err, a.closing(&f, n, sum, fmt.Sprintf("%d datagrams, %d bytes, %d not sent back", sum.Datagrams, sum.Bytes, sum.Unsent)))
	}
	return cmd
}

// An echoSummary is what an echo server did.
type echoSummary struct {
	Datagrams uint64 `json:"datagrams"`
	Bytes     uint64 `json:"bytes"`
	Unsent    uint64 `json:"unsent"` // answers that could not leave
}

// runEcho serves until ctx ends or count is reached (0: never).
func (a *app) runEcho(ctx context.Context, s *sockapi.Socket, count int) (sum echoSummary, err error) {
	defer context.AfterFunc(ctx, func() { s.Close() })()
	buf := make([]byte, maxPayload)
	var last error
	for count == 0 || sum.Datagrams < uint64(count) {
		n, from, err := s.Recvfrom(buf, 0)
		if err != nil {
			if over(ctx, err) {
				break
			}
			return sum, err
		}
		sum.Datagrams++
		sum.Bytes += uint64(n)
		if _, err := s.Sendto(buf[:n], 0, from); err != nil {
			sum.Unsent++
			if err != last && !over(ctx, err) { // once, not once a datagram
				fmt.Fprintf(a.err, "outband: to %s: %v\n", from, err)
			}
			last = err
		}
	}
	return sum, nil
}

// over reports whether a receive call ended because Ctrl-C closed its socket.
func over(ctx context.Context, err error) bool {
	return ctx.Err() != nil && errors.Is(err, unix.EBADF)
}

// must returns the address; a socket that is open has one.
func must(s sockapi.Sockaddr, _ error) sockapi.Sockaddr { return s }
