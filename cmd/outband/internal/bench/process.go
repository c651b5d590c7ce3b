package bench

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"time"

	"github.com/outband/outband/cmd/outband/internal/wire"
)

// patience bounds one contender's turn, beside what its count of round trips
// may take: a datagram that is lost would leave it waiting for ever.
const patience = 30 * time.Second

// endPatience is how long a process may take to end once its standard input is closed:
// it completes its capture.
const endPatience = 5 * time.Second

// slowest is how long a round trip may take on average.
const slowest = time.Millisecond

// A process is one end of a running measurement.
type process struct {
	cmd    *exec.Cmd
	stdin  io.Closer
	stdout *bufio.Reader
	stderr bytes.Buffer
}

// start starts a job in the namespace of an end.
func start(ctx context.Context, at *wire.End, job EndJob) (*process, error) {
	text, err := json.Marshal(job)
	if err != nil {
		return nil, err
	}
	p := &process{cmd: exec.CommandContext(ctx, "/proc/self/exe", EndCommand, string(text))}
	p.cmd.Stderr = &p.stderr
	// Its standard input is a pipe that nothing is written to: when this process
	// goes, in whatever way, the pipe ends and so does the child.
	stdin, err := p.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.stdin, p.stdout = stdin, bufio.NewReader(stdout)
	p.cmd.Cancel = func() error { stdin.Close(); return nil }
	p.cmd.WaitDelay = endPatience
	if err := at.Start(p.cmd); err != nil {
		return nil, err
	}
	return p, nil
}

// line returns the next line that the process prints.
func (p *process) line() (string, error) {
	text, err := p.stdout.ReadString('\n')
	return strings.TrimSpace(text), err
}

// waitReady returns when the server's process says that it is ready.
func (p *process) waitReady() error {
	if text, err := p.line(); err != nil || text != readyLine {
		return fmt.Errorf("server did not start: %w", p.end(errors.New(text)))
	}
	return nil
}

// result waits for the process, and decodes what it printed.
func (p *process) result(into any) error {
	text, err := p.line()
	if err == nil {
		err = json.Unmarshal([]byte(text), into)
	}
	return p.end(err)
}

// end waits for the process and returns why it failed: in its own words, or
// else err.
func (p *process) end(err error) error {
	waitErr := p.cmd.Wait()
	p.stdin.Close()
	words := strings.TrimPrefix(strings.TrimSpace(p.stderr.String()), "outband: ")
	switch {
	case waitErr != nil && words != "":
		return errors.New(words)
	case waitErr != nil:
		return waitErr
	}
	return err
}

// kill ends the process whatever it does.
func (p *process) kill() {
	p.stdin.Close()
	late := time.AfterFunc(endPatience, func() { p.cmd.Process.Kill() })
	p.cmd.Wait()
	late.Stop()
}

// pair runs a server at the far end and a client at the near end, and decodes
// the results that they print. Either destination may be nil.
func pair(ctx context.Context, w *wire.Wire, server, client EndJob, serverResult, clientResult any) error {
	ctx, cancel := context.WithTimeout(ctx, patience+time.Duration(client.Count)*slowest)
	defer cancel()
	far, err := start(ctx, w.Far, server)
	if err != nil {
		return err
	}
	if err := far.waitReady(); err != nil {
		return err
	}
	near, err := start(ctx, w.Near, client)
	if err != nil {
		far.kill()
		return err
	}
	if err := near.result(clientResult); err != nil {
		far.kill()
		if ctx.Err() == context.DeadlineExceeded {
			err = fmt.Errorf("no answer: %w", err)
		}
		return fmt.Errorf("client: %w", err)
	}
	if err := far.result(serverResult); err != nil {
		return fmt.Errorf("server: %w", err)
	}
	return nil
}
