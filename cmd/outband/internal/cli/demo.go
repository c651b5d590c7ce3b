package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/outband/outband/cmd/outband/internal/demo"
)

func (a *app) demo() *cobra.Command {
	var capture string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Show this stack and the kernel's talking, in a network of its own",
		Long: `Makes two network namespaces joined by a veth pair, with this stack at one end and
the kernel's at the other, and shows what passes between them: ARP, ping, UDP of
all sizes, ICMP errors, a capture file, and what a round trip takes. It ends within
20 seconds and leaves nothing behind. Without root it runs in a user namespace.

Exit codes: 0 all is well; 1 a step failed, or Ctrl-C; 2 it could not run.`,
		Args: cobra.NoArgs,
	}
	cmd.Flags().StringVar(&capture, "capture", "", "keep the capture in this `file`")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return a.inLab(func() error { return a.runDemo(cmd.Context(), capture, asJSON) })
	}
	return cmd
}

const demoHead = `A UDP/IPv4 stack of our own talks to the kernel's, in two network namespaces made
for this. Your own network is not touched.

    ours: 10.9.0.1 on near0  <------ veth ------>  10.9.0.2 on far0: the kernel's
`

func (a *app) runDemo(ctx context.Context, capture string, asJSON bool) error {
	var ends benchFlags
	c := demo.Config{Capture: capture, CPUs: ends.ends(), Show: silent{}}
	if !asJSON {
		c.Show = &demoShow{out: a.out, marks: marksFor(a.out), clear: a.clearProgress}
		fmt.Fprint(a.out, demoHead)
	}
	if styled(a.err) {
		c.Progress = a.progress(0)
	}
	report, err := demo.Run(ctx, c)
	a.clearProgress()
	if report == nil {
		return denied(err, unix.CAP_SYS_ADMIN, unix.CAP_NET_ADMIN, unix.CAP_NET_RAW)
	}
	if asJSON {
		if err := a.printJSON(report); err != nil {
			return err
		}
	}
	switch {
	case errors.Is(err, context.Canceled):
		return answerNo("interrupted; nothing stays behind")
	case !report.OK:
		return answerNo("not all is well")
	case !asJSON:
		fmt.Fprintf(a.out, "\nAll is well, after %.1f s. Namespaces and processes are gone.\n", report.Elapsed.Seconds())
		fmt.Fprintln(a.out, "Next: outband ping, echo, send and recv on a device of yours; outband help.")
	}
	return nil
}

// silent shows nothing.
type silent struct{}

func (silent) Step(string)      {}
func (silent) Check(demo.Check) {}
func (silent) Note(string)      {}

// A demoShow prints a demo as it runs.
type demoShow struct {
	out   io.Writer
	marks marks
	clear func() // wipes what progress there is on the terminal
	steps int
}

// Step implements demo.Show.
func (s *demoShow) Step(title string) {
	s.steps++
	fmt.Fprintf(s.out, "\n%s%d. %s%s\n", s.marks.bold, s.steps, title, s.marks.plain)
}

// Check implements demo.Show.
func (s *demoShow) Check(c demo.Check) {
	s.clear()
	if c.OK {
		fmt.Fprintf(s.out, " %s  %s\n", s.marks.ok, c.Text)
		return
	}
	fmt.Fprintf(s.out, " %s  %s: %s\n", s.marks.failed, c.Text, c.Error)
}

// Note implements demo.Show.
func (s *demoShow) Note(text string) { fmt.Fprintf(s.out, "     %s\n", text) }

// marks are how a stream shows what is well and what is not.
type marks struct{ ok, failed, bold, plain string }

// marksFor returns words for a file or a pipe, and signs and colour for a
// terminal that takes them.
func marksFor(w io.Writer) marks {
	m := marks{ok: "ok", failed: "FAILED"}
	if terminal(w) && utf8Locale() {
		m.ok, m.failed = " ✓", " ✗ FAILED"
	}
	if styled(w) {
		const bold, green, red, plain = "\x1b[1m", "\x1b[32m", "\x1b[1;31m", "\x1b[0m"
		m = marks{green + m.ok + plain, red + m.failed + plain, bold, plain}
	}
	return m
}

// utf8Locale reports whether the user's terminal takes UTF-8, by the first that
// is set of the variables that say so (locale(7)).
func utf8Locale() bool {
	for _, name := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if value := os.Getenv(name); value != "" {
			value = strings.ToUpper(value)
			return strings.HasSuffix(value, "UTF-8") || strings.HasSuffix(value, "UTF8")
		}
	}
	return false
}
