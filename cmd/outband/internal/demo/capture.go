package demo

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/outband/outband/link"
	"github.com/outband/outband/link/pcapng"
	"github.com/outband/outband/link/pcapng/replay"
)

// A Capture is what was recorded of our stack's frames.
type Capture struct {
	File   string `json:"file"`
	Kept   bool   `json:"kept"` // whether the file stays
	Bytes  int64  `json:"bytes"`
	Frames uint64 `json:"frames"`
	In     uint64 `json:"in_frames"`
	Out    uint64 `json:"out_frames"`
}

// A captureFile is a capture being written.
type captureFile struct {
	file *os.File
	dir  string // to remove with all in it; "" if the file stays
	link *pcapng.Link
}

// createCapture opens the file to write to: in a directory of its own if the user
// named none.
func createCapture(path string) (*captureFile, error) {
	c := &captureFile{}
	if path == "" {
		var err error
		if c.dir, err = os.MkdirTemp("", "outband-demo-"); err != nil {
			return nil, err
		}
		path = filepath.Join(c.dir, "demo.pcapng")
	}
	file, err := os.Create(path)
	if err != nil {
		return nil, errors.Join(err, c.close())
	}
	c.file = file
	return c, nil
}

// wrap puts the capture around a link.
func (c *captureFile) wrap(l link.Link) (link.Link, error) {
	wrapped, err := pcapng.Wrap(l, c.file, pcapng.Options{Application: "outband demo"})
	if err != nil {
		return nil, err
	}
	c.link = wrapped
	return wrapped, nil
}

// close ends the writing, and removes a file that nobody asked for.
func (c *captureFile) close() error {
	var err error
	if c.file != nil {
		err = c.file.Close()
		c.file = nil
	}
	if c.dir != "" {
		err = errors.Join(err, os.RemoveAll(c.dir))
		c.dir = ""
	}
	return err
}

// capture ends our stack, so that the file is complete, and reads it.
func (d *demo) capture(context.Context) {
	d.step("capture", "Capture: all of our stack's frames so far, in pcapng for Wireshark and tcpdump")
	err := d.node.Close()
	d.node = nil
	c := &Capture{File: d.file.file.Name(), Kept: d.file.dir == ""}
	if err == nil {
		err = c.read()
	}
	written := d.file.link.Counters()
	if err == nil && (c.Frames != written.Captured || written.Dropped != 0) {
		err = fmt.Errorf("%d frames in it, and %d were written and %d dropped", c.Frames, written.Captured, written.Dropped)
	}
	d.report.Capture = c
	d.check(err, "%s: %d bytes; read back: %d frames, %d in and %d out", c.File, c.Bytes, c.Frames, c.In, c.Out)
	if c.Kept {
		d.note("the file stays: tcpdump -nr %s", c.File)
	} else {
		d.note("the file goes with the demo; --capture FILE keeps it")
	}
}

// read counts what is in the file.
func (c *Capture) read() (err error) {
	info, err := os.Stat(c.File)
	if err != nil {
		return err
	}
	c.Bytes = info.Size()
	if c.In, err = count(c.File, replay.Inbound); err == nil {
		c.Out, err = count(c.File, replay.Outbound)
	}
	c.Frames = c.In + c.Out
	return err
}

// count counts the frames of one direction.
func count(path string, direction replay.Direction) (n uint64, err error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	r, err := replay.Open(f, replay.Options{Direction: direction})
	if err != nil {
		return 0, err
	}
	defer r.Close()
	frames := make([]link.Frame, 64)
	for !r.EOF() {
		got := r.Receive(frames)
		r.Release()
		n += uint64(got)
		if got == 0 && r.Err() != nil {
			break
		}
	}
	return n, r.Err()
}
