package outband

import (
	"errors"
	"os"
	"sync"

	"github.com/outband/outband/link"
	"github.com/outband/outband/link/pcapng"
)

// A captureFile is what a Host's frames are written to. The zero value is none.
type captureFile struct {
	mu     sync.Mutex
	file   *os.File
	writer *pcapng.Writer
	ended  bool
}

// wrap begins the capture of a link, and returns what the stack is to use in its place.
func (f *captureFile) wrap(l link.Link, c *config) (link.Link, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.writer == nil {
		if err := f.openLocked(c); err != nil {
			return nil, err
		}
	}
	return f.writer.Wrap(l)
}

// openLocked opens the file.
func (f *captureFile) openLocked(c *config) error {
	if f.ended {
		return os.ErrClosed
	}
	how := os.O_TRUNC
	if c.captureMore {
		how = os.O_APPEND
	}
	file, err := os.OpenFile(c.capture, os.O_WRONLY|os.O_CREATE|how, 0o666)
	if err != nil {
		return err
	}
	f.file = file
	f.writer, err = pcapng.NewWriter(file, pcapng.Options{Application: "outband"})
	return err
}

// end writes what is left and closes the file.
func (f *captureFile) end() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ended = true
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
