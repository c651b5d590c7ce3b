package cli

import (
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/spf13/cobra"

	"github.com/outband/outband/cmd/outband/internal/bench"
)

// parent makes a command one that only its subcommands do something for: without
// one it is an error that names them, and a wrong one an error that names what was
// meant.
func parent(cmd *cobra.Command) *cobra.Command {
	cmd.SuggestionsMinimumDistance = 2
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return nil
		}
		return unknownCommand(cmd, args[0])
	}
	return cmd
}

// unknownCommand says that a command has no such subcommand, and which ones the user
// may have meant.
func unknownCommand(cmd *cobra.Command, name string) error {
	text := fmt.Sprintf("unknown command %q for %q", name, cmd.CommandPath())
	if near := cmd.SuggestionsFor(name); len(near) > 0 {
		text += fmt.Sprintf("; did you mean %s?", strings.Join(near, " or "))
	}
	return errors.New(text + fmt.Sprintf("\nTry '%s --help'", cmd.CommandPath()))
}

// known says which command is unknown, also where --help or --version follows: the
// framework would show the help of the command above, as if all were well.
func known(root *cobra.Command, args []string) error {
	root.InitDefaultHelpCmd()
	at, rest, err := root.Find(args)
	if err != nil || !at.HasSubCommands() || len(rest) == 0 || strings.HasPrefix(rest[0], "-") || strings.HasPrefix(rest[0], cobra.ShellCompRequestCmd) {
		return nil // what else is wrong, the command itself says
	}
	return unknownCommand(at, rest[0])
}

// help is the command that shows the help of another.
func help(root *cobra.Command) *cobra.Command {
	return &cobra.Command{
		Use:   "help [COMMAND...]",
		Short: "Show the help of a command",
		ValidArgsFunction: func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			at, _, err := root.Find(args)
			if err != nil {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			var names []string
			for _, sub := range at.Commands() {
				if sub.IsAvailableCommand() {
					names = append(names, sub.Name()+"\t"+sub.Short)
				}
			}
			return names, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(_ *cobra.Command, args []string) error {
			at := root
			for _, name := range args {
				next, _, err := at.Find([]string{name})
				if err != nil || next == at {
					return unknownCommand(at, name)
				}
				at = next
			}
			at.InitDefaultHelpFlag()
			at.InitDefaultVersionFlag()
			return at.Help()
		},
	}
}

// version is the revision of the source, and the compiler's.
func version() string { return bench.Revision() + " " + goVersion() }

// versionCommand prints what --version does.
func (a *app) versionCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Print the revision of the source, and of the compiler",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if !asJSON {
				fmt.Fprintln(a.out, "outband", version())
				return nil
			}
			return a.printLine(struct {
				Schema   int    `json:"schema"`
				Revision string `json:"revision"`
				Go       string `json:"go"`
			}{schema, bench.Revision(), goVersion()})
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// completeDevices has the shell complete a flag with the network devices.
func completeDevices(cmd *cobra.Command, flag string) {
	cmd.RegisterFlagCompletionFunc(flag, func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		all, err := net.Interfaces()
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		names := make([]string, len(all))
		for i, device := range all {
			names[i] = device.Name
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	})
}

// completeWords has the shell complete a flag with one of some words.
func completeWords(cmd *cobra.Command, flag string, words ...string) {
	cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp))
}

// noFiles has the shell complete the arguments of a command, and of those below it,
// with nothing: no argument is a file.
func noFiles(cmd *cobra.Command) {
	if cmd.ValidArgsFunction == nil {
		cmd.ValidArgsFunction = cobra.NoFileCompletions
	}
	for _, sub := range cmd.Commands() {
		noFiles(sub)
	}
}
