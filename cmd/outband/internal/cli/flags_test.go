package cli

import (
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// eachFlag calls fn with every flag of every command.
func eachFlag(cmd *cobra.Command, fn func(cmd *cobra.Command, f *pflag.Flag)) {
	cmd.LocalFlags().VisitAll(func(f *pflag.Flag) { fn(cmd, f) })
	for _, sub := range cmd.Commands() {
		eachFlag(sub, fn)
	}
}

// TestFlagsAreInTheUsersWords holds all flags to what README says of them: times are bare
// seconds too, or microseconds where EVL has those, and a number out of range is told the
// range. A flag of a kind that is not known here needs a look at what it says.
func TestFlagsAreInTheUsersWords(t *testing.T) {
	const tooMuch = "99999999999999999999"
	eachFlag(Command(), func(cmd *cobra.Command, f *pflag.Flag) {
		name := cmd.CommandPath() + " --" + f.Name
		takes, refuses, says := "", "soon", ""
		switch f.Value.Type() {
		case "time", "us", "budget":
			takes, says = "1.5", "a duration such as 1.5s, 200ms or 2h"
		case "number":
			refuses, says = tooMuch, "must be a number from "
		case "size", "sizes":
			takes, refuses, says = "2K", tooMuch, "must be a size from 0 to "
		case "bool", "string", "stringSlice", "address", "address/bits", "hex", "near,far", "offset:width":
			return
		default:
			t.Errorf("%s: a flag of type %s", name, f.Value.Type())
			return
		}
		if takes != "" {
			if err := f.Value.Set(takes); err != nil {
				t.Errorf("%s %s: %v", name, takes, err)
			}
		}
		if err := f.Value.Set(refuses); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s %s: %v", name, refuses, err)
		}
	})
}

// TestCompletion asks the completion for what each flag of some kind takes.
func TestCompletion(t *testing.T) {
	wants := map[string]string{"dev": "lo", "netif": "lo", "interface": "lo", "spin": "always", "pmtudisc": "want"}
	seen := map[string]bool{}
	eachFlag(Command(), func(cmd *cobra.Command, f *pflag.Flag) {
		want := wants[f.Name]
		if want == "" {
			return
		}
		seen[f.Name] = true
		args := append(strings.Fields(cmd.CommandPath())[1:], "--"+f.Name, "")
		code, out, _ := run(append([]string{cobra.ShellCompRequestCmd}, args...)...)
		if code != ExitOK || !slices.Contains(strings.Fields(out), want) {
			t.Errorf("%v: code %d, %q", args, code, out)
		}
	})
	if len(seen) != len(wants) {
		t.Errorf("of %v there are only %v", wants, seen)
	}
}
