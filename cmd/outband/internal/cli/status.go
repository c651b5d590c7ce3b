package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"unicode"

	"github.com/spf13/cobra"

	"github.com/outband/outband/internal/status"
	"github.com/outband/outband/shared"
)

func (a *app) status() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show the processes with a stack on the host's addresses",
		Long: `Shows the processes of this network namespace that have a stack on the host's own
addresses: their devices, what keeps the kernel off what the stack has claimed (tcx,
nft, or the in-band sockets' filters alone: holder), how many ports are held, their
sockets and by which way their datagrams go, and how many datagrams came and went
in-band. Processes of other users are shown without any of that, but to root.

Columns of devices: CLAIMED, datagrams that the kernel was kept from (tcx counts);
IN-BAND, those that came by the in-band sockets; FRAGMENTS, those that the kernel has had
since a later one of their datagram came first.`,
		Args: cobra.NoArgs,
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.RunE = func(*cobra.Command, []string) error {
		answers, err := status.Ask()
		if err != nil {
			return err
		}
		list := make([]processStatus, len(answers))
		for at, answer := range answers {
			list[at] = processOf(answer)
		}
		if asJSON {
			return a.printJSON(struct {
				Schema    int             `json:"schema"`
				Processes []processStatus `json:"processes"`
			}{1, list})
		}
		for _, p := range list {
			p.print(a.out)
		}
		return nil
	}
	return cmd
}

// A processStatus is one process.
type processStatus struct {
	PID   int    `json:"pid"`
	UID   int    `json:"uid"`
	Error string `json:"error,omitempty"` // why there is no more
	*shared.Status
}

// processOf reads what a process has answered.
func processOf(answer status.Answer) processStatus {
	p := processStatus{PID: answer.PID, UID: answer.UID}
	err := answer.Err
	if err == nil {
		err = json.Unmarshal(answer.Body, &p.Status)
	}
	if err != nil {
		p.Error, p.Status = err.Error(), nil
	}
	return p
}

// print writes a process for people.
func (p *processStatus) print(w io.Writer) {
	if p.Status == nil {
		fmt.Fprintf(w, "%d: %s\n", p.PID, p.Error)
		return
	}
	fmt.Fprintf(w, "%d %s (uid %d): %s, %d ports held, %d datagrams sent in-band\n", p.PID, clean(p.Program), p.UID, clean(p.Rung), p.Holders, p.SentInBand)
	if p.Why != "" {
		fmt.Fprintf(w, "  not tcx: %s\n", clean(strings.ReplaceAll(p.Why, "\n", "; ")))
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "  DEVICE\tBY\tCLAIMED\tIN-BAND\tFRAGMENTS")
	for _, d := range p.Devices {
		by := clean(d.Rung)
		if !d.Ring {
			by = "-"
		}
		fmt.Fprintf(t, "  %s\t%s\t%d\t%d\t%d\n", clean(d.Name), by, d.ClaimedIn, d.HolderIn, d.FragmentsPassed)
	}
	if len(p.Sockets) > 0 {
		fmt.Fprintln(t, "  SOCKET\tLOCAL\tPEER\tPATH\tRECV-Q\tDROPS")
	}
	for _, k := range p.Sockets {
		fmt.Fprintf(t, "  %s\t%s\t%s\t%s\t%d\t%d\n", clean(k.Proto), dash(clean(k.Local)), dash(clean(k.Remote)), clean(p.path(k)), k.RecvQ, k.Drops)
	}
	t.Flush() // what cannot be written is found out by a.out
}

// path is a socket's way for people: "ring eth1".
func (p *processStatus) path(k shared.SocketStatus) string {
	for _, d := range p.Devices {
		if int(d.Index) == k.Device {
			return k.Path + " " + d.Name
		}
	}
	return k.Path
}

// clean leaves out what a terminal would take for more than text: any process may answer,
// with whatever it likes.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return -1
	}, s)
}

// dash stands for what is not there.
func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
