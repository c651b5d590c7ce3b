// Package pcapng records what passes a link into a capture file. Package replay reads one
// back as a link.
//
// [Wrap] returns a link that writes every frame of both directions to an
// [io.Writer], in the pcapng format (draft-ietf-opsawg-pcapng), which Wireshark and
// tcpdump read:
//
//	l, err := pcapng.Wrap(l, file, pcapng.Options{})
//	...
//	err = l.Close() // writes what is buffered; the file stays open
//
// What is written is what a wire would carry, in nanoseconds: checksums that were
// left to the device are filled in, UDP GSO packets are cut into their datagrams,
// and VLAN tags stand in the frame. Each frame has its direction (epb_flags), and
// its length before it was cut.
//
// # The way of a frame
//
// The goroutine that sends or receives copies the frame into a buffer, and goes on.
// A timer's goroutine writes the buffer out. If that is too slow, or fails, frames
// are dropped from the capture and counted, and traffic goes on. A sent frame bears
// the time before the link got it, and is recorded if the link took it; since an
// answer can be received before that, each buffer is put in the order of time
// before it is written.
//
// # Locks
//
// Writer.mu guards the buffer, and is held for a copy only. Writer.writing is held
// while the io.Writer is written to; it is locked first.
package pcapng

import (
	"errors"
	"io"
	"sync"
	"time"

	"github.com/outband/outband/link"
	"github.com/outband/outband/link/internal/memory"
)

// Defaults for what Options leaves 0.
const (
	DefaultSnapLen       = 262144                 // bytes, as tcpdump's
	DefaultBuffer        = 4 << 20                // bytes
	DefaultFlushInterval = 200 * time.Millisecond // how old a frame gets in the buffer
)

// flushBytes is how full the buffer gets before it is written without waiting for
// the interval.
const flushBytes = 256 << 10

// Options are the properties of a capture. The zero value is of use.
type Options struct {
	// SnapLen is how many bytes of a frame are kept at most; the original
	// length is recorded beside. 0 means DefaultSnapLen.
	SnapLen int
	// Buffer is how many bytes may wait to be written. Frames for which there
	// is no room are dropped from the capture. As much again may be under way
	// to the writer. 0 means DefaultBuffer.
	Buffer int
	// FlushInterval is how long a frame waits in the buffer at most. 0 means
	// DefaultFlushInterval.
	FlushInterval time.Duration
	// FlushPackets makes the buffer be written when it holds that many frames.
	// 0 means that only time and size count.
	FlushPackets int
	// Immediate makes each frame be written as soon as it can be, as tcpdump -U
	// does. The traffic does not wait for that either.
	Immediate bool
	// Application and Comment are written into the file's header if not "".
	Application, Comment string
	// Now is the clock for sent frames, and for received ones without a time
	// stamp, in nanoseconds since the Unix epoch. nil means time.Now.
	Now func() int64
}

// ErrClosed is what Flush, and Wrap, return for a capture that is closed.
var ErrClosed = errors.New("pcapng: capture is closed")

// A Writer writes one capture file, of any number of links.
type Writer struct {
	opts Options

	writing sync.Mutex
	out     io.Writer
	sorter  sorter

	mu       sync.Mutex
	buf      []byte // blocks to be written
	spare    []byte // the buffer that was written last
	packets  int    // in buf
	links    []counts
	err      error // the first error of out
	closed   bool
	timer    *time.Timer
	timerAt  urgency
	timers   sync.WaitGroup // timers that are set or running
	segments []byte         // scratch: a datagram of a GSO packet
}

// urgency is for when a write is due.
type urgency uint8

const (
	none urgency = iota
	soon         // after FlushInterval
	now          // at once
)

// counts are the frames of one link.
type counts struct{ captured, dropped, unsaid uint64 }

// NewWriter starts a capture file. It writes the file's header at once, and returns
// the error of that. The io.Writer stays the caller's, to be closed after
// [Writer.Close].
func NewWriter(w io.Writer, opts Options) (*Writer, error) {
	if opts.SnapLen <= 0 {
		opts.SnapLen = DefaultSnapLen
	}
	if opts.Buffer <= 0 {
		opts.Buffer = DefaultBuffer
	}
	if opts.FlushInterval <= 0 {
		opts.FlushInterval = DefaultFlushInterval
	}
	if opts.Now == nil {
		opts.Now = func() int64 { return time.Now().UnixNano() }
	}
	c := &Writer{opts: opts, out: w}
	c.buf = appendSectionHeader(nil, &c.opts)
	if err := c.Flush(); err != nil {
		return nil, err
	}
	return c, nil
}

// Flush writes what is buffered, and returns when it is written. It returns the
// first error that writing ever gave.
func (c *Writer) Flush() error {
	c.writing.Lock()
	defer c.writing.Unlock()
	c.mu.Lock()
	blocks, err := c.buf, c.err
	c.buf, c.spare, c.packets = c.spare[:0], nil, 0
	c.mu.Unlock()
	if err == nil && len(blocks) > 0 {
		var n int
		sorted := c.sorter.sort(blocks)
		if n, err = c.out.Write(sorted); err == nil && n < len(sorted) {
			err = io.ErrShortWrite
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.spare = blocks[:0]
	if c.err == nil {
		c.err = err
	}
	return c.err
}

// Err returns the first error that writing gave, or nil. Frames after it are dropped
// from the capture; traffic goes on.
func (c *Writer) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// Close writes what is buffered and the statistics of each link, and returns the
// first error that writing ever gave. The links go on without being recorded. A
// second Close returns the same.
func (c *Writer) Close() error {
	c.mu.Lock()
	if c.closed {
		defer c.mu.Unlock()
		return c.err
	}
	c.closed = true
	if c.timerAt != none && c.timer.Stop() {
		c.timers.Done()
	}
	c.mu.Unlock()
	c.timers.Wait()
	if err := c.Flush(); err != nil {
		return err
	}
	c.mu.Lock()
	at := c.opts.Now()
	for id := range c.links {
		c.buf = appendStatistics(c.buf, id, at, &c.links[id])
	}
	c.mu.Unlock()
	return c.Flush()
}

// addInterface starts recording a link, and returns its number in the file.
func (c *Writer) addInterface(info *link.Info) (int, error) {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return 0, ErrClosed
	}
	id := len(c.links)
	c.links = append(c.links, counts{})
	c.buf = appendInterface(c.buf, info, c.opts.SnapLen)
	c.mu.Unlock()
	return id, c.Flush()
}

// record copies a packet into the buffer. It is the hot path.
func (c *Writer) record(p *packet) {
	c.mu.Lock()
	c.recordLocked(p)
	c.mu.Unlock()
}

// recordGSO records the datagrams of a UDP GSO packet.
func (c *Writer) recordGSO(p *packet, s *memory.Segmenter) {
	c.mu.Lock()
	defer c.mu.Unlock()
	segment := *p
	segment.sumAt = 0
	for b := s.Next(c.segments); b != nil; b = s.Next(c.segments) {
		c.segments = b
		segment.data, segment.wireLen = b, len(b)
		c.recordLocked(&segment)
	}
}

func (c *Writer) recordLocked(p *packet) {
	if c.closed {
		return
	}
	count := &c.links[p.link]
	if c.err != nil || len(c.buf)+p.maxLen(c.opts.SnapLen) > c.opts.Buffer && len(c.buf) > 0 {
		count.dropped++
		count.unsaid++
		return
	}
	p.drops = count.unsaid
	count.unsaid = 0
	count.captured++
	c.buf = p.appendTo(c.buf, c.opts.SnapLen)
	c.packets++
	switch {
	case c.opts.Immediate, len(c.buf) >= min(flushBytes, c.opts.Buffer/2),
		c.opts.FlushPackets > 0 && c.packets >= c.opts.FlushPackets:
		c.dueLocked(now)
	case c.timerAt == none:
		c.dueLocked(soon)
	}
}

// dueLocked sets the timer that writes the buffer.
func (c *Writer) dueLocked(at urgency) {
	if at <= c.timerAt {
		return
	}
	d := c.opts.FlushInterval
	if at == now {
		d = 0
	}
	switch {
	case c.timerAt == none:
		c.timers.Add(1)
		if c.timer == nil {
			c.timer = time.AfterFunc(d, c.timed)
		} else {
			c.timer.Reset(d)
		}
	case c.timer.Stop():
		c.timer.Reset(d)
	}
	c.timerAt = at
}

// timed is the timer's function.
func (c *Writer) timed() {
	defer c.timers.Done()
	c.mu.Lock()
	c.timerAt = none
	c.mu.Unlock()
	c.Flush() // the error is kept
}
