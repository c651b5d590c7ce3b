package cli

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/signal"
	"strconv"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/outband/outband/cmd/outband/internal/ping"
)

func (a *app) ping() *cobra.Command {
	var f netFlags
	c := ping.Config{Interval: time.Second, Linger: 10 * time.Second}
	var ttl int
	var from string
	cmd := &cobra.Command{
		Use:   "ping DEST",
		Short: "Send ICMP echo requests, as ping(8) does",
		Long: `Sends ICMP echo requests from this stack and reports the replies in the words of
ping(8), with its letters and exit codes. Ctrl-C ends it with the statistics;
Ctrl-\ prints a summary and goes on.`,
		Args: cobra.ExactArgs(1),
	}
	f.register(cmd)
	flags := cmd.Flags()
	flags.IntVarP(&c.Count, "count", "c", 0, "stop after so many requests")
	flags.VarP((*secondsValue)(&c.Interval), "interval", "i", "time between requests, in seconds or as a duration")
	flags.VarP((*secondsValue)(&c.Linger), "timeout", "W", "how long to wait for a first reply at the end")
	flags.VarP((*secondsValue)(&c.Deadline), "deadline", "w", "stop after this time; with -c, when so many replies have come")
	flags.IntVarP(&c.Size, "size", "s", 56, "bytes of data")
	flags.IntVarP(&ttl, "ttl", "t", 0, "time to live of the requests")
	flags.StringVarP(&from, "interface", "I", "", "device or own address to send from, as --dev or --addr say")
	flags.BoolVarP(&c.Quiet, "quiet", "q", false, "print the first line and the statistics only")
	flags.BoolVarP(&c.Stamps, "timestamp", "D", false, "print the time before each line")
	flags.BoolVarP(&c.Waiting, "outstanding", "O", false, "say when a request has no reply before the next goes out")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		dest, err := netip.ParseAddr(args[0])
		if err != nil || !dest.Is4() {
			return fmt.Errorf("%q is not an IPv4 address", args[0])
		}
		if err := f.from(from); err != nil {
			return err
		}
		if err := checkPing(c, ttl, cmd.Flags().Changed("ttl")); err != nil {
			return err
		}
		n, err := f.open()
		if err != nil {
			return err
		}
		defer n.Close()
		s, err := ping.Open(n.Stack, n.Addr, dest, ttl)
		if err != nil {
			return noWay(dest, err)
		}
		defer s.Close()
		c.Name, c.Addr, c.Local = args[0], dest, n.Addr
		if from != "" {
			c.From = fmt.Sprintf("%s %s", n.Addr, f.device)
		}
		defer a.showOnSignal(n)()
		status, stop := summaries()
		defer stop()
		out := a.out
		if f.json {
			out = io.Discard
		}
		stats, err := ping.Run(cmd.Context(), c, s, out, a.err, status)
		if err != nil {
			return err
		}
		if f.json {
			err = a.closing(&f, n, stats, "")
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

// minInterval is the shortest time between requests, as ping(8) has it for
// users who are not root.
const minInterval = 2 * time.Millisecond

func checkPing(c ping.Config, ttl int, ttlSet bool) error {
	switch {
	case c.Count < 0:
		return fmt.Errorf("-c %d: must be 1 or more", c.Count)
	case c.Size < 0 || c.Size > ping.MaxSize:
		return fmt.Errorf("-s %d: must be from 0 to %d", c.Size, ping.MaxSize)
	case c.Interval < minInterval:
		return fmt.Errorf("-i %s: must be %s or more", c.Interval, minInterval)
	case ttlSet && (ttl < 1 || ttl > 255):
		return fmt.Errorf("-t %d: must be from 1 to 255", ttl)
	}
	return nil
}

// noWay words the errors of connecting to a destination.
func noWay(dest netip.Addr, err error) error {
	switch {
	case errors.Is(err, unix.EACCES):
		return fmt.Errorf("%s is a broadcast address: %w", dest, err)
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

// secondsValue is a flag that takes seconds, as ping(8) does, or a duration.
type secondsValue time.Duration

func (v *secondsValue) Type() string   { return "seconds" }
func (v *secondsValue) String() string { return time.Duration(*v).String() }

func (v *secondsValue) Set(s string) error {
	d, err := time.ParseDuration(s)
	if seconds, numErr := strconv.ParseFloat(s, 64); numErr == nil {
		d, err = time.Duration(seconds*float64(time.Second)), nil
	}
	if err != nil || d < 0 {
		return errors.New("neither seconds nor a duration")
	}
	*v = secondsValue(d)
	return nil
}
