package pcapng

import (
	"errors"
	"io"

	"github.com/outband/outband/ether"
	"github.com/outband/outband/link"
	"github.com/outband/outband/link/internal/memory"
)

// A Link is a link whose frames are recorded.
type Link struct {
	link.Link // what is not recorded is the wrapped link's own

	writer *Writer
	id     int  // number of the interface in the file
	owns   bool // the writer ends with the link
}

var _ link.Queuer = (*Link)(nil)

// Counters count the frames of one link.
type Counters struct {
	Captured uint64 // recorded; a GSO packet counts its datagrams
	Dropped  uint64 // not recorded, because the buffer was full or writing had failed
}

// Wrap starts a capture file for one link. It writes the file's header at once, and
// returns the error of that. Closing the Link closes l and ends the capture; the
// io.Writer stays the caller's.
func Wrap(l link.Link, w io.Writer, opts Options) (*Link, error) {
	c, err := NewWriter(w, opts)
	if err != nil {
		return nil, err
	}
	wrapped, err := c.Wrap(l)
	if err != nil {
		return nil, err
	}
	wrapped.owns = true
	return wrapped, nil
}

// Wrap adds a link to the capture. Closing the returned Link closes l, and leaves the
// capture to the others.
func (c *Writer) Wrap(l link.Link) (*Link, error) {
	info := l.Info()
	id, err := c.addInterface(&info)
	if err != nil {
		return nil, err
	}
	return &Link{Link: l, writer: c, id: id}, nil
}

// Unwrap returns the wrapped link.
func (l *Link) Unwrap() link.Link { return l.Link }

// Receive implements [link.Link].
func (l *Link) Receive(frames []link.Frame) int {
	n := l.Link.Receive(frames)
	for i := range frames[:n] {
		l.received(&frames[i])
	}
	return n
}

// Send implements [link.Link]. A frame that the wrapped link refuses is not recorded.
func (l *Link) Send(frame []byte) error { return l.send(l.Link, frame) }

// SendBatch implements [link.Link]. All frames of a batch bear the same time.
func (l *Link) SendBatch(frames []link.TxFrame) (int, error) { return l.sendBatch(l.Link, frames) }

// send sends a frame by a way out of the wrapped link.
func (l *Link) send(out transmitter, frame []byte) error {
	at := l.writer.opts.Now()
	err := out.Send(frame)
	if err == nil {
		l.writer.record(&packet{data: frame, wireLen: len(frame), time: at, link: l.id, flags: flagOutbound})
	}
	return err
}

// sendBatch is send for several frames.
func (l *Link) sendBatch(out transmitter, frames []link.TxFrame) (int, error) {
	at := l.writer.opts.Now()
	n, err := out.SendBatch(frames)
	for i := range frames[:n] {
		l.sent(&frames[i], at)
	}
	return n, err
}

// sent records a frame that was sent.
func (l *Link) sent(f *link.TxFrame, at int64) {
	p := packet{data: f.Data, wireLen: len(f.Data), time: at, link: l.id, flags: flagOutbound}
	start, offset := int(f.CsumStart), int(f.CsumOffset)
	if f.PartialChecksum && memory.Fits(f.Data, start, offset) {
		p.sumAt, p.sum = start+offset, memory.Sum(f.Data, start)
	}
	var s memory.Segmenter
	if f.GSOSize != 0 && s.Init(f.Data, f.GSOSize) {
		l.writer.recordGSO(&p, &s)
		return
	}
	l.writer.record(&p)
}

// received records a frame that arrived.
func (l *Link) received(f *link.Frame) {
	p := packet{data: f.Data, wireLen: f.WireLen, time: f.Time, link: l.id, flags: receptionFlags(f.Type),
		vlan: f.VLAN, tci: f.VLANTCI, tpid: f.VLANTPID}
	if p.tpid == 0 {
		p.tpid = uint16(ether.TypeVLAN) // what a tag is if the device does not say
	}
	if f.Clock == link.ClockNone {
		p.time = l.writer.opts.Now()
	}
	whole := f.WireLen <= len(f.Data)
	var s memory.Segmenter
	if whole && f.GSO == link.GSOUDP && s.Init(f.Data, f.GSOSize) {
		l.writer.recordGSO(&p, &s)
		return
	}
	if whole && f.Checksum == link.ChecksumPartial {
		if o, ok := memory.FindOffload(f.Data); ok {
			p.sumAt, p.sum = o.Start+o.Offset, memory.MendedSum(f.Data, o)
		}
	}
	l.writer.record(&p)
}

// receptionFlags returns the epb_flags of a received frame.
func receptionFlags(t link.PacketType) uint32 {
	switch t {
	case link.Host:
		return flagInbound | flagUnicast
	case link.Broadcast:
		return flagInbound | flagBroadcast
	case link.Multicast:
		return flagInbound | flagMulticast
	case link.OtherHost:
		return flagInbound | flagPromiscuous
	case link.Outgoing:
		return flagOutbound
	default:
		return flagInbound
	}
}

// Flush writes what is buffered; see [Writer.Flush].
func (l *Link) Flush() error { return l.writer.Flush() }

// Err returns the first error that writing gave; see [Writer.Err].
func (l *Link) Err() error { return l.writer.Err() }

// Counters returns how many of the link's frames were recorded.
func (l *Link) Counters() Counters {
	c := l.writer
	c.mu.Lock()
	defer c.mu.Unlock()
	return Counters{Captured: c.links[l.id].captured, Dropped: c.links[l.id].dropped}
}

// Close implements [link.Link]. It closes the wrapped link, and ends the capture if
// the package's Wrap made it. Its error is the wrapped link's and the writer's.
func (l *Link) Close() error {
	err := l.Link.Close()
	if !l.owns {
		return err
	}
	return errors.Join(err, l.writer.Close())
}
