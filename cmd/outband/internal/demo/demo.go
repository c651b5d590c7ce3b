// Package demo shows the stack at work against the kernel's, in two network
// namespaces that it makes and that vanish with it.
//
//	our stack, 10.9.0.1, near0 ---- veth ---- far0, 10.9.0.2, the kernel's
//
// Both ends use the same calls, sockapi's: out-of-band sockets at the near end,
// in-band ones at the far end. Every datagram that is received is compared with
// what was sent. All frames of our stack go through a capture, whose file is read
// back at the end.
package demo

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/cmd/outband/internal/bench"
	"github.com/outband/outband/cmd/outband/internal/node"
	"github.com/outband/outband/cmd/outband/internal/wire"
	"github.com/outband/outband/link"
	"github.com/outband/outband/sockapi"
)

// The times that keep a demo short, whatever goes wrong.
const (
	limit    = 17 * time.Second // for all of it; what is under way then still ends
	patience = 2 * time.Second  // for one answer
)

// A Config says how to run a demo.
type Config struct {
	Capture string // a file to keep the capture in; "": a temporary one
	CPUs    []int  // of the two ends of the benchmark; empty: not pinned
	// Show is told what happens as it happens. Neither may be nil.
	Show     Show
	Progress func(round, size int, contender string) // of the benchmark
}

// A Show presents a demo while it runs.
type Show interface {
	Step(title string)
	Check(c Check)
	Note(text string)
}

// A Report is what came of a demo.
type Report struct {
	Schema     int               `json:"schema"`
	OK         bool              `json:"ok"`
	Elapsed    time.Duration     `json:"elapsed_ns"`
	Steps      []*Step           `json:"steps"`
	Capture    *Capture          `json:"capture"`
	RoundTrips []bench.RTTResult `json:"round_trips"`
}

// schema counts the changes of the report's JSON that break its readers.
const schema = 1

// A Step is one thing that is shown.
type Step struct {
	Name   string   `json:"name"`
	Title  string   `json:"title"`
	Checks []Check  `json:"checks"`
	Notes  []string `json:"notes,omitempty"`
}

// A Check is one fact that a step establishes.
type Check struct {
	Text  string `json:"text"`
	OK    bool   `json:"ok"`
	Error string `json:"error,omitempty"`
}

// A demo is a Config at work.
type demo struct {
	Config
	interrupted func() bool
	report      *Report
	wire        *wire.Wire
	node        *node.Node
	file        *captureFile
}

// Run runs a demo. The error says why it could not run at all; that a step failed
// is in the report. When ctx ends, so does the demo, with ctx's error. In any
// case nothing of it stays behind, but for a capture that was asked for.
func Run(ctx context.Context, c Config) (report *Report, err error) {
	start := time.Now()
	d := &demo{Config: c, interrupted: func() bool { return ctx.Err() != nil }, report: &Report{Schema: schema, Steps: []*Step{}, RoundTrips: []bench.RTTResult{}}}
	timed, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	if err := d.open(timed); err != nil {
		return nil, errors.Join(err, d.close())
	}
	for _, step := range []func(context.Context){d.neighbours, d.pings, d.datagrams, d.unreachable, d.capture, d.roundTrips} {
		if timed.Err() == nil {
			step(timed)
		}
	}
	if err := d.close(); err != nil {
		return nil, err
	}
	d.report.Elapsed = time.Since(start)
	d.report.OK = d.report.passed() && timed.Err() == nil
	return d.report, ctx.Err()
}

// passed reports whether all checks did.
func (r *Report) passed() bool {
	for _, s := range r.Steps {
		for _, c := range s.Checks {
			if !c.OK {
				return false
			}
		}
	}
	return true
}

// open makes the network, the capture and the stack.
func (d *demo) open(ctx context.Context) (err error) {
	if d.file, err = createCapture(d.Capture); err != nil {
		return err
	}
	if d.wire, err = wire.New(false, true); err != nil {
		return err
	}
	return d.wire.Near.Do(func() error {
		d.node, err = node.Open(ctx, node.Config{Device: wire.NearDevice, Addr: wire.NearAddr,
			Wrap: func(l link.Link) (link.Link, error) { return d.file.wrap(l) }})
		return err
	})
}

// close ends what is still open, and removes the temporary file.
func (d *demo) close() error {
	var errs []error
	if d.node != nil {
		errs = append(errs, d.node.Close())
		d.node = nil
	}
	if d.wire != nil {
		errs = append(errs, d.wire.Close())
		d.wire = nil
	}
	if d.file != nil {
		errs = append(errs, d.file.close())
		d.file = nil
	}
	return errors.Join(errs...)
}

// step begins a step.
func (d *demo) step(name, title string) {
	d.report.Steps = append(d.report.Steps, &Step{Name: name, Title: title, Checks: []Check{}})
	d.Show.Step(title)
}

// check notes a fact of the current step, which holds if err is nil. What ends
// because the user ended it is no failure.
func (d *demo) check(err error, format string, args ...any) {
	if err != nil && d.interrupted() {
		return
	}
	c := Check{Text: fmt.Sprintf(format, args...), OK: err == nil}
	if err != nil {
		c.Error = err.Error()
	}
	s := d.report.Steps[len(d.report.Steps)-1]
	s.Checks = append(s.Checks, c)
	d.Show.Check(c)
}

// note adds an explanation to the current step.
func (d *demo) note(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	s := d.report.Steps[len(d.report.Steps)-1]
	s.Notes = append(s.Notes, text)
	d.Show.Note(text)
}

// ours opens an out-of-band socket at the near end, whose waits are bounded.
func (d *demo) ours(port uint16) (*sockapi.Socket, error) {
	s, err := d.node.UDP(port)
	if err != nil {
		return nil, err
	}
	return s, s.SetsockoptTimeval(unix.SOL_SOCKET, unix.SO_RCVTIMEO, patience)
}

// kernels opens an in-band socket at the far end, whose waits are bounded.
func (d *demo) kernels(typ, proto int, port uint16) (s *sockapi.Socket, err error) {
	err = d.wire.Far.Do(func() error {
		s, err = d.node.API.Socket(unix.AF_INET, typ|unix.SOCK_CLOEXEC, proto)
		return err
	})
	if err != nil {
		return nil, err
	}
	err = s.Bind(sockapi.Inet4(wire.FarAddr.Addr().As4(), port))
	if err == nil {
		err = s.SetsockoptTimeval(unix.SOL_SOCKET, unix.SO_RCVTIMEO, patience)
	}
	if err != nil {
		s.Close()
	}
	return s, err
}
