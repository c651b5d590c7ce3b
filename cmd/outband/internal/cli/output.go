package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"

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
