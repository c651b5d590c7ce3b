package cli

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/outband/outband/cmd/outband/internal/values"
	"github.com/outband/outband/sockapi"
)

func (a *app) recv() *cobra.Command {
	var f netFlags
	var port uint16
	var count int
	cmd := &cobra.Command{
		Use:   "recv --port N",
		Short: "Print the datagrams that arrive",
		Long: `Prints a line for each UDP datagram: its length, its source and its bytes, with
what a terminal could misread escaped; with --json an object. Ends after -n
datagrams, or with Ctrl-C.`,
		Args: cobra.NoArgs,
	}
	f.register(cmd)
	cmd.Flags().Var(values.NumberOf(&port, 0, maxPort), "port", "port to listen on (0: any that is free)")
	cmd.Flags().VarP(values.NumberOf(&count, 0, values.Most), "count", "n", "stop after so many datagrams (0: never)")
	cmd.MarkFlagRequired("port")
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
		sum, err := a.runRecv(cmd.Context(), s, count, f.json)
		err = errors.Join(err, a.closing(&f, n, sum, fmt.Sprintf("%d datagrams, %d bytes", sum.Datagrams, sum.Bytes)))
		if err != nil {
			return err
		}
		if sum.Datagrams < uint64(count) {
			return answerNo(fmt.Sprintf("%d of %d datagrams came", sum.Datagrams, count))
		}
		return nil
	}
	return cmd
}

// A transferSummary is what went one way.
type transferSummary struct {
	Datagrams uint64 `json:"datagrams"`
	Bytes     uint64 `json:"bytes"`
	NotSent   uint64 `json:"not_sent,omitempty"` // while the device was down, or away
}

// text is the summary as a line.
func (s *transferSummary) text() string {
	text := fmt.Sprintf("%d datagrams, %d bytes", s.Datagrams, s.Bytes)
	if s.NotSent > 0 {
		text += fmt.Sprintf(", %d not sent", s.NotSent)
	}
	return text
}

// A received is one datagram as JSON.
type received struct {
	Schema int    `json:"schema"`
	From   string `json:"from"`
	Bytes  int    `json:"bytes"`
	Data   []byte `json:"data_base64"`
}

// runRecv prints datagrams until ctx ends or count is reached (0: never).
func (a *app) runRecv(ctx context.Context, s *sockapi.Socket, count int, asJSON bool) (sum transferSummary, err error) {
	defer context.AfterFunc(ctx, func() { s.Close() })()
	buf := make([]byte, maxPayload)
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
		if err := a.printDatagram(from, buf[:n], asJSON); err != nil {
			return sum, err
		}
	}
	return sum, nil
}

func (a *app) printDatagram(from sockapi.Sockaddr, p []byte, asJSON bool) error {
	if asJSON {
		return a.printLine(received{schema, from.String(), len(p), p})
	}
	_, err := fmt.Fprintf(a.out, "%d bytes from %s: %s\n", len(p), from, printable(p))
	return err
}

// printable returns text with all escaped that would not stay on one line, or
// do something to a terminal.
func printable(p []byte) string {
	text := strings.TrimSuffix(string(p), "\n")
	fine := utf8.ValidString(text) && !strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) && r != '\t' })
	if fine {
		return text
	}
	quoted := strconv.Quote(text)
	return strings.ReplaceAll(quoted[1:len(quoted)-1], `\"`, `"`)
}
