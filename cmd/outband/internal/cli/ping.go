package cli

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/signal"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/outband/outband/cmd/outband/internal/ping"
	"github.com/outband/outband/cmd/outband/internal/values"
)

func (a *app) ping() *cobra.Command {
	var f netFlags
	c := ping.Config{Interval: time.Second, Linger: 10 * time.Second, Size: 56, Preload: 1}
	p := pingFlags{SocketOptions: ping.SocketOptions{Discover: -1}}
	cmd := &cobra.Command{
		Use:   "ping DEST",
		Short: "Send ICMP echo requests, as ping(8) does",
		Long: `Sends ICMP echo requests from this stack and reports the replies in the words of
ping(8), with its letters and exit codes. Ctrl-C ends it with the statistics;
Ctrl-\ prints a summary and goes on.

Not here are these of ping(8)'s options:
` + pingNotHelp(),
		Args: cobra.ExactArgs(1),
	}
	f.register(cmd)
	explainPingNot(cmd)
	flags := cmd.Flags()
	flags.VarP(values.NumberOf(&c.Count, 1, values.Most), "count", "c", "stop after so many requests")
	flags.VarP((*values.Duration)(&c.Interval), "interval", "i", "time between requests, in seconds or as a duration")
	flags.VarP((*values.Duration)(&c.Linger), "timeout", "W", "how long to wait for a first reply at the end")
	flags.VarP((*values.Duration)(&c.Deadline), "deadline", "w", "stop after this time; with -c, when so many replies have come")
	flags.VarP(values.NumberOf(&c.Size, 0, ping.MaxSize), "size", "s", "bytes of data")
	flags.VarP(values.NumberOf(&p.TTL, 1, 255), "ttl", "t", "time to live of the requests")
	p.register(cmd, &c)
	flags.StringVarP(&p.from, "interface", "I", "", "device or own address to send from, as --dev or --addr say")
	flags.BoolVarP(&c.Quiet, "quiet", "q", false, "print the first line and the statistics only")
	flags.BoolVarP(&c.Stamps, "timestamp", "D", false, "print the time before each line")
	flags.BoolVarP(&c.Waiting, "outstanding", "O", false, "say when a request has no reply before the next goes out")
	completeDevices(cmd, "interface")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		dest, err := netip.ParseAddr(args[0])
		if err != nil || !dest.Is4() {
			return fmt.Errorf("%q is not an IPv4 address", args[0])
		}
		if err := f.from(p.from); err != nil {
			return err
		}
		if err := p.check(cmd, &c); err != nil {
			return err
		}
		n, err := a.open(cmd.Context(), &f.stackFlags)
		if err != nil {
			return err
		}
		defer n.Close()
		p.Local, p.Dest = n.Addr, dest
		s, err := ping.Open(n.Stack, p.SocketOptions)
		if err != nil {
			return noWay(dest, err)
		}
		defer s.Close()
		if dest == n.Broadcast() || dest == limitedBroadcast {
			fmt.Fprintln(a.err, "WARNING: pinging broadcast address")
		}
		c.Name, c.Addr, c.Local = args[0], dest, n.Addr
		if p.from != "" {
			c.From = fmt.Sprintf("%s %s", n.Addr, f.device)
		}
		defer a.showOnSignal(n, f.json)()
		status, stop := summaries()
		defer stop()
		out := a.out
		if f.json {
			out = io.Discard
		}
		stats, err := ping.Run(cmd.Context(), c, s, out, a.err, status)
		if err != nil {
			err = fmt.Errorf("%s: %w", dest, err)
		}
		if f.json {
			err = errors.Join(err, a.closing(&f, n, stats, ""))
		} else {
			stats.Print(a.out)
			f.show(a.out, n)
		}
		if err == nil && !stats.Answered(c) {
			err = answerNo("")
		}
		return err
	}
	return cmd
}

// from takes over -I, which names the device or our own address.
func (f *stackFlags) from(value string) error {
	if value == "" {
		return nil
	}
	addr, err := netip.ParseAddr(value)
	switch {
	case err == nil && (!f.addr.IsValid() || f.addr.Addr() != addr):
		return fmt.Errorf("-I %s: not our own address, which --addr says", value)
	case err == nil:
	case f.device == "":
		f.device = value
	case f.device != value:
		return fmt.Errorf("-I %s: --dev says %s", value, f.device)
	}
	return nil
}

// noWay words the errors of connecting to a destination.
func noWay(dest netip.Addr, err error) error {
	switch {
	case errors.Is(err, unix.EACCES):
		return fmt.Errorf("%s is a broadcast address: %w; ping takes -b for it", dest, err)
	case errors.Is(err, unix.ENETUNREACH):
		return fmt.Errorf("%s: %w; --gateway names the router for other networks", dest, err)
	}
	return fmt.Errorf("%s: %w", dest, err)
}

// summaries returns a channel that receives at each SIGQUIT, until stop.
func summaries() (status <-chan struct{}, stop func()) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, unix.SIGQUIT)
	out := make(chan struct{}, 1)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range signals {
			select {
			case out <- struct{}{}:
			default: // one is due already
			}
		}
	}()
	return out, func() {
		signal.Stop(signals)
		close(signals)
		<-done
	}
}
