package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"

	"github.com/outband/outband/cmd/outband/internal/node"
	"golang.org/x/sys/unix"
)

// A printer writes itself for people to read.
type printer interface{ Print(w io.Writer) }

// An output is the standard output: what fails to be written ends the command.
// Anything may write to it at once.
type output struct {
	to   io.Writer
	stop context.CancelFunc // called at the first error

	mu  sync.Mutex
	err error // the first
}

// Write implements io.Writer.
func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err != nil {
		return 0, o.err
	}
	n, err := o.to.Write(p)
	if err != nil {
		o.err = err
		o.stop()
	}
	return n, err
}

// failed returns what could not be written, if so.
func (o *output) failed() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err == nil {
		return nil
	}
	return unwritten{o.err}
}

// unwritten is the error of output that could not be written.
type unwritten struct{ error }

func (e unwritten) Error() string { return fmt.Sprintf("standard output: %v", reason(e.error)) }
func (e unwritten) Unwrap() error { return e.error }

// reason returns the errno of an error if it has one: of a stream's error the rest
// is its name and the call.
func reason(err error) error {
	var errno unix.Errno
	if errors.As(err, &errno) {
		return errno
	}
	return err
}

// print writes a report to stdout: for people, or as one JSON object.
func (a *app) print(report printer, asJSON bool) error {
	if !asJSON {
		report.Print(a.out)
		return nil
	}
	return a.printJSON(report)
}

// printJSON writes an object over several lines.
func (a *app) printJSON(v any) error {
	e := json.NewEncoder(a.out)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// printLine writes an object as one line.
func (a *app) printLine(v any) error { return json.NewEncoder(a.out).Encode(v) }

// schema counts the changes of the JSON objects that break their readers.
const schema = 1

// closing prints the end of a run: a line of summary to stderr, and what --neigh
// and --stat ask for to stdout; or with --json all of it as one object.
func (a *app) closing(f *netFlags, n *node.Node, summary any, text string) error {
	if f.json {
		return a.printLine(struct {
			Schema  int `json:"schema"`
			Summary any `json:"summary"`
			shown
		}{schema, summary, f.shown(n)})
	}
	fmt.Fprintln(a.err, text)
	f.show(a.out, n)
	return nil
}

// A lineHandler writes records of a log as the command's other messages are written, a line
// each: what it is about in parentheses behind it.
type lineHandler struct{ w io.Writer }

var _ slog.Handler = lineHandler{}

// Enabled implements slog.Handler.
func (h lineHandler) Enabled(_ context.Context, l slog.Level) bool { return l >= slog.LevelInfo }

// Handle implements slog.Handler.
func (h lineHandler) Handle(_ context.Context, r slog.Record) error {
	var attrs []string
	event := false
	r.Attrs(func(a slog.Attr) bool {
		event = event || a.Key == "event"
		attrs = append(attrs, fmt.Sprintf("%s %v", a.Key, a.Value))
		return true
	})
	if event {
		return nil // which app.tell has told
	}
	about := ""
	if len(attrs) > 0 {
		about = " (" + strings.ReplaceAll(strings.Join(attrs, ", "), "\n", "; ") + ")"
	}
	_, err := fmt.Fprintf(h.w, "outband: %s%s\n", r.Message, about)
	return err
}

// WithAttrs implements slog.Handler: nobody here gives a logger attributes of its own.
func (h lineHandler) WithAttrs([]slog.Attr) slog.Handler { return h }

// WithGroup implements slog.Handler: as WithAttrs.
func (h lineHandler) WithGroup(string) slog.Handler { return h }
