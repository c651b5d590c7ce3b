package cli

import (
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// TestFlagRanges: every flag that takes a number says its range, and every one that
// takes a time takes bare seconds.
func TestFlagRanges(t *testing.T) {
	a := &app{}
	for _, cmd := range commands(a.root()) {
		cmd.Flags().VisitAll(func(f *pflag.Flag) {
			switch kind := f.Value.Type(); kind {
			case "int", "uint16", "uint8", "duration":
				t.Errorf("%s --%s is a plain %s: its errors are not in words", cmd.CommandPath(), f.Name, kind)
			case "time":
				if err := f.Value.Set("2.5"); err != nil {
					t.Errorf("%s --%s 2.5: %v", cmd.CommandPath(), f.Name, err)
				}
			}
		})
	}
}

// commands returns a command and all below it.
func commands(root *cobra.Command) []*cobra.Command {
	all := []*cobra.Command{root}
	for _, sub := range root.Commands() {
		all = append(all, commands(sub)...)
	}
	return all
}
