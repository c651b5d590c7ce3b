// Package cli is the outband command: its subcommands, flags, output and exit
// codes. What a subcommand does at length lives in the packages beside it.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

// The exit codes of every subcommand.
const (
	ExitOK     = 0
	ExitNo     = 1 // it ran, and the answer is no
	ExitFailed = 2 // it could not run: usage, permission, a broken system
)

// An app is one run of the command.
type app struct {
	in   io.Reader
	out  io.Writer // what was asked for
	err  io.Writer // progress, warnings, what went wrong
	args []string
}

// Main runs the command with the arguments that follow its name, and returns
// the exit code.
func Main(args []string, in io.Reader, out, err io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGINT, unix.SIGTERM)
	defer stop()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	// A reader of the output that has gone is an error like others: it does not kill
	// this process before it has put things in order.
	signal.Ignore(unix.SIGPIPE)
	o := &output{to: out, stop: cancel}
	a := &app{in: in, out: o, err: err, args: args}
	root := a.root()
	runErr := known(root, args)
	if runErr == nil {
		runErr = root.ExecuteContext(ctx)
	}
	if failed := o.failed(); failed != nil {
		runErr = failed
	}
	return a.exitCode(runErr)
}

// answerNo is the error of a command that ran and whose answer is no. Its text
// may be empty: the output said it already.
type answerNo string

func (e answerNo) Error() string { return string(e) }

// exited is the error of a command that another process ran for this one.
type exited int

func (e exited) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

// exitCode says what went wrong on stderr, and how that is told to the shell.
func (a *app) exitCode(err error) int {
	var code exited
	var no answerNo
	switch {
	case err == nil:
		return ExitOK
	case errors.As(err, &code):
		return int(code)
	case errors.As(err, &no):
		if no != "" {
			fmt.Fprintln(a.err, "outband:", no)
		}
		return ExitNo
	case errors.As(err, new(unwritten)) && errors.Is(err, unix.EPIPE):
		return ExitFailed // as with "outband recv | head -1": the reader wants no more
	}
	fmt.Fprintln(a.err, "outband:", err)
	if hint := a.permissionHint(err); hint != "" {
		fmt.Fprint(a.err, hint)
	}
	return ExitFailed
}

// Command returns the definition of the command, for what describes it: it is not to be
// run.
func Command() *cobra.Command {
	root := (&app{in: os.Stdin, out: io.Discard, err: io.Discard}).root()
	root.DisableAutoGenTag = true
	return root
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "outband",
		Short: "UDP/IPv4 from an AF_PACKET ring to a socket, without the kernel's stack",
		Long: `outband runs a UDP/IPv4 stack of its own on a network device: frames come from an
AF_PACKET ring and reach the program by BSD-like sockets, without a step through
the kernel's IP layer. "outband demo" shows it on a device that it makes itself.

The manual pages are in man/ of the source: man outband, man outband-ping. The shell
completes commands, flags and devices once it has been told: outband help completion.

Exit codes: 0 done; 1 it ran and the answer is no; 2 it could not run.`,
		Version:       version(),
		SilenceErrors: true,
		SilenceUsage:  true,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetVersionTemplate("outband {{.Version}}\n")
	root.SetArgs(a.args)
	root.SetIn(a.in)
	root.SetOut(a.out)
	root.SetErr(a.err)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return fmt.Errorf("%w\nTry '%s --help'", err, cmd.CommandPath())
	})
	root.AddCommand(a.demo(), a.ping(), a.echo(), a.send(), a.recv(), a.neigh(), a.stat(), a.status(), a.mcast(), a.latmus(), a.bench(), a.run(), a.versionCommand(), a.benchEnd())
	parent(root)
	root.SetHelpCommand(help(root))
	root.InitDefaultCompletionCmd(a.args...)
	for _, sub := range root.Commands() {
		if sub.Name() == "completion" {
			parent(sub).RunE = func(*cobra.Command, []string) error {
				return errors.New("completion: for bash, zsh, fish or powershell")
			}
		}
	}
	noFiles(root)
	return root
}

// terminal reports whether a stream is a terminal, where colour and lines that
// are written over make sense.
func terminal(w io.Writer) bool {
	if o, wrapped := w.(*output); wrapped {
		w = o.to
	}
	f, ok := w.(*os.File)
	if !ok || os.Getenv("TERM") == "dumb" {
		return false
	}
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

// styled reports whether a stream may be given colour and \r: it is a terminal,
// and NO_COLOR is unset (no-color.org).
func styled(w io.Writer) bool { return os.Getenv("NO_COLOR") == "" && terminal(w) }
