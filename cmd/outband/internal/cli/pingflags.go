package cli

import (
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/outband/outband/cmd/outband/internal/ping"
	"github.com/outband/outband/cmd/outband/internal/values"
)

// pingFlags are the letters of ping(8) that say how requests leave.
type pingFlags struct {
	ping.SocketOptions
	from     string
	discover string
	pattern  values.Pattern
	route    bool
	verbatim [2]bool // -n and -4, which say what holds anyway
}

func (p *pingFlags) register(cmd *cobra.Command, c *ping.Config) {
	flags := cmd.Flags()
	flags.VarP(values.NumberOf(&p.TOS, 0, 255), "tos", "Q", "type-of-service octet of the requests, decimal or 0x and hexadecimal")
	flags.StringVarP(&p.discover, "pmtudisc", "M", "", "path MTU discovery: do, want, dont or probe")
	flags.VarP(&p.pattern, "pattern", "p", "what the data repeats, up to 16 bytes in hexadecimal")
	flags.BoolVarP(&p.route, "record-route", "R", false, "have each hop enter its address, and print them")
	flags.BoolVarP(&p.Broadcast, "broadcast", "b", false, "allow a broadcast address")
	flags.BoolVarP(&c.Adaptive, "adaptive", "A", false, "send as soon as the reply is there: the interval follows the round-trip time")
	flags.BoolVarP(&c.Flood, "flood", "f", false, "print a dot for each request and wipe one for each reply; without -i as fast as they come back, and 100 times a second at least")
	flags.VarP(values.NumberOf(&c.Preload, 1, 65536), "preload", "l", "send so many requests before waiting for a reply")
	flags.BoolVarP(&c.Verbose, "verbose", "v", false, "say what comes beside replies")
	flags.BoolVarP(&p.verbatim[0], "numeric", "n", false, "print addresses and no names, as always")
	flags.BoolVarP(&p.verbatim[1], "ipv4", "4", false, "use IPv4, as always")
	completeWords(cmd, "pmtudisc", "do", "want", "dont", "probe")
}

// The limits that ping(8) has for users who are not root.
const (
	userInterval = 2 * time.Millisecond
	userPreload  = 3
)

// discoverModes are the words of -M.
var discoverModes = map[string]int{"do": unix.IP_PMTUDISC_DO, "want": unix.IP_PMTUDISC_WANT,
	"dont": unix.IP_PMTUDISC_DONT, "probe": unix.IP_PMTUDISC_PROBE, "": -1}

// check says what is wrong with the flags, and completes what they imply.
func (p *pingFlags) check(cmd *cobra.Command, c *ping.Config) error {
	if c.Flood && !cmd.Flags().Changed("interval") {
		c.Interval = 0
	}
	if os.Geteuid() != 0 {
		c.Shortest = userInterval
	}
	mode, known := discoverModes[p.discover]
	switch {
	case c.Interval < c.Shortest && !c.Flood && !c.Adaptive:
		return fmt.Errorf("-i %s: must be %s or more, but for root", c.Interval, userInterval)
	case c.Shortest > 0 && c.Preload > userPreload:
		return fmt.Errorf("-l %d: must be from 1 to %d, but for root", c.Preload, userPreload)
	case c.Interval > time.Duration(1<<62)/time.Duration(c.Preload):
		return fmt.Errorf("-l %d and -i %s are too much together", c.Preload, c.Interval)
	case !known:
		return fmt.Errorf("-M %q: must be do, want, dont or probe", p.discover)
	}
	c.Interval = max(c.Interval, c.Shortest)
	p.Discover, c.Pattern = mode, p.pattern
	if p.route {
		p.Options, c.Options = ping.RecordRoute, len(ping.RecordRoute)
		if c.Size > ping.MaxSize-c.Options {
			return fmt.Errorf("-s %d: must be from 0 to %d with -R", c.Size, ping.MaxSize-c.Options)
		}
	}
	return nil
}

// limitedBroadcast is everybody on the link (RFC 919).
var limitedBroadcast = netip.AddrFrom4([4]byte{255, 255, 255, 255})

// pingNot are the letters of ping(8) that are not here, with the reason.
var pingNot = []struct{ letter, why string }{
	{"3", "times are always printed with three digits"},
	{"6", "the stack has no IPv6"},
	{"a", "there is no bell"},
	{"B", "the source address is always --addr's"},
	{"C", "the socket is always connected"},
	{"d", "SO_DEBUG is the kernel's"},
	{"e", "the stack chooses the identifier of a ping socket"},
	{"F", "IPv4 has no flow label"},
	{"H", "names are never looked up"},
	{"L", "a stack has no second socket that would hear the multicast"},
	{"m", "a mark chooses among the kernel's routes, and none of them is used"},
	{"N", "node information is IPv6's"},
	{"r", "--dev and --gateway are all the routes that there are"},
	{"S", "a reply is taken at once: the socket needs no larger buffer"},
	{"T", "hosts no longer enter time stamps into IP options"},
	{"U", "times are always from one user to the other"},
	{"V", "outband version prints it"},
}

// pingNotHelp lists them for the help.
func pingNotHelp() string {
	var b strings.Builder
	for _, n := range pingNot {
		fmt.Fprintf(&b, "  -%s  %s\n", n.letter, n.why)
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// explainPingNot has the error of a letter that is not here say why.
func explainPingNot(cmd *cobra.Command) {
	cmd.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		i := slices.IndexFunc(pingNot, func(n struct{ letter, why string }) bool {
			return strings.HasPrefix(err.Error(), "unknown shorthand flag: '"+n.letter+"'")
		})
		if i < 0 {
			return cmd.Parent().FlagErrorFunc()(cmd, err)
		}
		return fmt.Errorf("ping: -%s is not here: %s\nTry 'outband ping --help'", pingNot[i].letter, pingNot[i].why)
	})
}
