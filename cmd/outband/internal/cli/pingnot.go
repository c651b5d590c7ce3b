package cli

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

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
