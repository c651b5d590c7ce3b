package node

import (
	"errors"
	"os"
	"sync"

	"github.com/outband/outband/link"
	"github.com/outband/outband/link/pcapng"
)

// A captureFile is what a Node's frames are written to. The zero value is none.
type captureFile struct {
	mu     sync.Mutex
	file   *os.File
	writer *pcapng.Writer
}

// open begins the capture of a link, and returns what the stack is to use in its place.
func (f *captureFile) open(l link.Link, c *Config) (link.Link, error) {
	how := os.O_TRUNC
	if c.CaptureMore {
		how = os.O_APPEND
	}
	file, err := os.OpenFile(c.Capture, os.O_WRONLY|os.O_CREATE|how, 0o666)
	if err != nil {
		return nil, err
	}
	f.file = file
	if f.writer, err = pcapng.NewWriter(file, pcapng.Options{Application: "outband"}); err != nil {
		return nil, err
	}
	return f.writer.Wrap(l)
}

// end writes what is left and closes the file.
func (f *captureFile) end() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	var errs []error
	if f.writer != nil {
		errs = append(errs, f.writer.Close())
		f.writer = nil
	}
	if f.file != nil {
		errs = append(errs, f.file.Close())
		f.file = nil
	}
	return errors.Join(errs...)
}
