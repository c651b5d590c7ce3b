package bench

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"sync/atomic"

	"github.com/outband/outband/cmd/outband/internal/node"
)

// running is the process' stack.
var running atomic.Pointer[node.Node]

// EndCommand is the hidden subcommand that runs an [EndJob].
const EndCommand = "bench-end"

// An EndJob is what one process of a measurement is to do. It travels as JSON.
type EndJob struct {
	place
	Bench     string  `json:"bench"` // rtt or tput
	Contender string  `json:"contender"`
	Server    bool    `json:"server"` // the far end: it echoes, or receives
	Size      int     `json:"size"`   // bytes of payload
	Count     int     `json:"count,omitempty"`
	Batch     int     `json:"batch,omitempty"`
	Seconds   float64 `json:"seconds,omitempty"`
	Capture   string  `json:"capture,omitempty"` // to which a stack of ours adds its frames
}

// readyLine is what a server's process prints when the client may start.
const readyLine = "ready"

// RunEnd does a job in this process, and prints its result to stdout as JSON. It
// ends the process when stdin ends: the parent is gone, or wants no result any more.
func RunEnd(text string, stdin io.Reader, stdout io.Writer) error {
	var job EndJob
	if err := json.Unmarshal([]byte(text), &job); err != nil {
		return fmt.Errorf("job: %w", err)
	}
	go func() {
		io.Copy(io.Discard, stdin)
		if n := running.Load(); n != nil {
			n.EndCapture()
		}
		os.Exit(1)
	}()
	result, err := job.run(func() { fmt.Fprintln(stdout, readyLine) })
	if err != nil {
		return err
	}
	return json.NewEncoder(stdout).Encode(result)
}

func (j EndJob) run(ready func()) (any, error) {
	switch j.Bench {
	case "rtt":
		return j.runRTT(ready)
	case "tput":
		return j.runTput(ready)
	}
	return nil, fmt.Errorf("no bench %q", j.Bench)
}
