// Package replay has a capture file as a link: what package pcapng, or another program, has
// recorded is received once more.
//
//	l, err := replay.Open(file, replay.Options{})
package replay

import (
	"bufio"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"sync"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"
	"golang.org/x/sys/unix"

	"github.com/outband/outband/ether"
	"github.com/outband/outband/link"
	"github.com/outband/outband/link/internal/memory"
)

// What a file begins with, and a flag of epb_flags (draft-ietf-opsawg-pcapng, sections 4.1 and 4.3.1).
const (
	blockSection   = 0x0a0d0d0a
	byteOrderMagic = 0x1a2b3c4d
	flagOutbound   = 2
)

var le = binary.LittleEndian

// A Direction says which frames of a capture a Link hands out.
type Direction uint8

const (
	Any      Direction = iota // all
	Inbound                   // not those that the capture calls outbound
	Outbound                  // only those that the capture calls outbound
)

// Options are the properties of a Link. The zero value is of use.
type Options struct {
	Name      string    // "" means the name of the capture's first interface, or "capture"
	MAC       link.MAC  // by which PacketType is told
	MTU       int       // 0 means 65535
	Caps      link.Caps // link.CapChecksum and link.CapGSO: what Send accepts
	Direction Direction // which frames are received

	// Sent is called with each frame that is sent on the Link, on the
	// goroutine that sends; nil means that they vanish. The frame's slice
	// holds until Sent returns.
	Sent func(link.TxFrame)
}

// ErrLinkType is what Open returns for a capture that has no Ethernet frames.
var ErrLinkType = errors.New("replay: capture is not of Ethernet frames")

// A Link is a capture file as a link: what was recorded is received, in the order
// of the file and with its times. What is sent goes nowhere.
//
// Receive reads from the io.Reader, and so blocks if that does, and allocates now
// and then; a file or bytes in memory are what it is for. Frames come as fast as
// they are asked for. After the last one the link stays up and silent.
type Link struct {
	opts Options

	mu      sync.Mutex
	next    func() (recorded, error)
	pool    memory.Pool
	out     [][]byte
	groups  memory.Groups
	modes   memory.Modes
	stats   link.Stats
	skipped uint64
	end     error // why there are no more frames: io.EOF or an error
	closed  bool
	changed func()
}

var _ link.Link = (*Link)(nil)

// recorded is one packet of a capture. Its data hold until the next.
type recorded struct {
	data     []byte
	info     gopacket.CaptureInfo
	linkType layers.LinkType
	outbound bool
}

// Open reads the header of a capture: pcapng, or the older pcap with times in
// microseconds or nanoseconds; both in either byte order, and compressed by gzip or
// not.
func Open(r io.Reader, opts Options) (*Link, error) {
	buffered := bufio.NewReader(r)
	if magic, err := buffered.Peek(2); err == nil && magic[0] == 0x1f && magic[1] == 0x8b { // RFC 1952
		unzipped, err := gzip.NewReader(buffered)
		if err != nil {
			return nil, fmt.Errorf("pcapng: %w", err)
		}
		buffered = bufio.NewReader(unzipped)
	}
	c := &Link{opts: opts}
	magic, err := buffered.Peek(12)
	if err != nil && len(magic) < 4 {
		return nil, fmt.Errorf("pcapng: no capture: %w", io.ErrUnexpectedEOF)
	}
	name := ""
	if le.Uint32(magic) == blockSection {
		name, err = c.openNg(buffered, magic)
	} else {
		err = c.openClassic(buffered)
	}
	if err != nil {
		return nil, err
	}
	c.setDefaults(name)
	return c, nil
}

func (c *Link) setDefaults(name string) {
	if c.opts.Name == "" {
		c.opts.Name = name
	}
	if c.opts.Name == "" {
		c.opts.Name = "capture"
	}
	if c.opts.MTU <= 0 {
		c.opts.MTU = 65535
	}
	c.opts.Caps &= link.CapChecksum | link.CapGSO
}

// openNg starts reading pcapng. It returns the name of the first interface.
func (c *Link) openNg(r io.Reader, magic []byte) (string, error) {
	if len(magic) < 12 {
		return "", fmt.Errorf("pcapng: no capture: %w", io.ErrUnexpectedEOF)
	}
	bigEndian := binary.BigEndian.Uint32(magic[8:]) == byteOrderMagic
	ng, err := pcapgo.NewNgReader(r, pcapgo.NgReaderOptions{WantMixedLinkType: true, SkipUnknownVersion: true})
	if err != nil {
		return "", fmt.Errorf("pcapng: %w", err)
	}
	read := func() (p recorded, err error) {
		data, info, opts, err := ng.ZeroCopyReadPacketDataWithOptions()
		if err != nil {
			return p, err
		}
		of, err := ng.Interface(info.InterfaceIndex)
		if err != nil {
			return p, err
		}
		p = recorded{data: data, info: info, linkType: of.LinkType}
		if opts.Flags != nil {
			flags := opts.Flags.ToUint32()
			if bigEndian {
				flags = bits.ReverseBytes32(flags) // the library reads them in the wrong order
			}
			p.outbound = flags&3 == flagOutbound
		}
		return p, nil
	}
	// The first interface is known only when the first packet is read.
	first, err := read()
	if err != nil && err != io.EOF {
		return "", fmt.Errorf("pcapng: %w", err)
	}
	held, heldErr := true, err
	c.next = func() (recorded, error) {
		if held {
			held = false
			return first, heldErr
		}
		return read()
	}
	if ng.NInterfaces() == 0 {
		return "", nil
	}
	of, err := ng.Interface(0)
	if err != nil {
		return "", fmt.Errorf("pcapng: %w", err)
	}
	if of.LinkType != layers.LinkTypeEthernet && ng.NInterfaces() == 1 {
		return "", fmt.Errorf("%w: link type %v", ErrLinkType, of.LinkType)
	}
	return of.Name, nil
}

// openClassic starts reading pcap.
func (c *Link) openClassic(r io.Reader) error {
	classic, err := pcapgo.NewReader(r)
	if err != nil {
		return fmt.Errorf("pcapng: %w", err)
	}
	if classic.LinkType() != layers.LinkTypeEthernet {
		return fmt.Errorf("%w: link type %v", ErrLinkType, classic.LinkType())
	}
	c.next = func() (recorded, error) {
		data, info, err := classic.ZeroCopyReadPacketData()
		return recorded{data: data, info: info, linkType: layers.LinkTypeEthernet}, err
	}
	return nil
}

// Receive implements [link.Link].
func (c *Link) Receive(frames []link.Frame) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := 0
	for n < len(frames) && c.end == nil && !c.closed {
		p, err := c.next()
		if err != nil {
			c.end = err
			break
		}
		if !c.wantedLocked(&p) {
			continue
		}
		c.fillLocked(&frames[n], &p)
		n++
	}
	return n
}

// wantedLocked reports whether a packet is to be handed out.
func (c *Link) wantedLocked(p *recorded) bool {
	if p.linkType != layers.LinkTypeEthernet || len(p.data) < link.HeaderLen || len(p.data) > memory.MaxFrame {
		c.skipped++
		return false
	}
	return c.opts.Direction == Any || (c.opts.Direction == Outbound) == p.outbound
}

// fillLocked makes a frame of a packet, as a device would have received it: with the
// outermost tag taken out.
func (c *Link) fillLocked(f *link.Frame, p *recorded) {
	b := c.pool.Get(len(p.data))
	copy(b, p.data)
	c.out = append(c.out, b)
	*f = link.Frame{Data: b, Meta: link.Meta{WireLen: max(p.info.Length, len(b))}}
	if !p.info.Timestamp.IsZero() {
		f.Time, f.Clock = p.info.Timestamp.UnixNano(), link.ClockSoftware
	}
	h, payload, _ := ether.Parse(b)
	if tag, _, _, ok := ether.ParseTag(payload); ok && h.Type().IsTag() {
		f.VLAN, f.VLANTPID, f.VLANTCI = true, uint16(h.Type()), uint16(tag)
		f.Data = ether.Untag(b)
		f.WireLen -= ether.TagLen
	}
	f.Type = memory.TypeOf(f.Data, c.opts.MAC)
	if p.outbound {
		f.Type = link.Outgoing
	}
	c.stats.RxFrames++
	c.stats.RxBytes += uint64(len(f.Data))
	if f.WireLen > len(f.Data) {
		c.stats.RxTruncated++
	}
}

// Release implements [link.Link].
func (c *Link) Release() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, b := range c.out {
		c.pool.Put(b)
		c.out[i] = nil
	}
	c.out = c.out[:0]
}

// EOF reports whether the capture is at its end: nothing will be received any more.
func (c *Link) EOF() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.end != nil
}

// Err returns why reading ended: nil if it did not, or ended where the capture does.
func (c *Link) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.end == nil || errors.Is(c.end, io.EOF) {
		return nil
	}
	return fmt.Errorf("pcapng: %w", c.end)
}

// Skipped returns how many packets were no Ethernet frames, shorter than an Ethernet
// header, or longer than any link's frames.
func (c *Link) Skipped() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.skipped
}

// Send implements [link.Link].
func (c *Link) Send(frame []byte) error {
	return c.send(&link.TxFrame{Data: frame})
}

// SendBatch implements [link.Link].
func (c *Link) SendBatch(frames []link.TxFrame) (int, error) {
	for i := range frames {
		if err := c.send(&frames[i]); err != nil {
			return i, err
		}
	}
	return len(frames), nil
}

func (c *Link) send(f *link.TxFrame) error {
	err := memory.CheckTx(f, c.opts.Caps, c.opts.MTU)
	c.mu.Lock()
	if c.closed {
		err = unix.ENETDOWN
	}
	if err == nil {
		c.stats.TxFrames++
		c.stats.TxBytes += uint64(len(f.Data))
	} else {
		c.stats.TxErrors++
	}
	c.mu.Unlock()
	if err == nil && c.opts.Sent != nil {
		c.opts.Sent(*f)
	}
	return err
}

// Info implements [link.Link]. The state is Up, also at the end of the capture, and
// Gone after Close.
func (c *Link) Info() link.Info {
	c.mu.Lock()
	defer c.mu.Unlock()
	info := link.Info{Name: c.opts.Name, MTU: c.opts.MTU, HardwareAddr: c.opts.MAC, State: link.Up,
		Caps: c.opts.Caps | link.CapTimestamps}
	if c.closed {
		info.State = link.Gone
	}
	return info
}

// Stats implements [link.Link].
func (c *Link) Stats() link.Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.stats
}

// SetNotify implements [link.Link]. readable is called once, at once, unless the
// capture is at its end: its frames wait from the beginning.
func (c *Link) SetNotify(readable, changed func()) {
	c.mu.Lock()
	c.changed = changed
	waiting := c.end == nil && !c.closed
	c.mu.Unlock()
	if waiting && readable != nil {
		readable()
	}
}

// FD implements [link.Link]: there is none.
func (c *Link) FD() int { return -1 }

// PollError implements [link.Link]: it has no descriptor that could have one.
func (c *Link) PollError() {}

// JoinGroup implements [link.Link]. Memberships are only counted.
func (c *Link) JoinGroup(group link.MAC) error { return c.groups.Join(group) }

// LeaveGroup implements [link.Link]. It returns EADDRNOTAVAIL for a group that is not
// joined.
func (c *Link) LeaveGroup(group link.MAC) error { return c.groups.Leave(group) }

// AddMode implements [link.Link]. Modes are only counted.
func (c *Link) AddMode(m link.Mode) error { return c.modes.Add(m) }

// DropMode implements [link.Link]. It returns EADDRNOTAVAIL for a mode that is not
// on.
func (c *Link) DropMode(m link.Mode) error { return c.modes.Drop(m) }

// Close implements [link.Link]. The io.Reader stays the caller's.
func (c *Link) Close() error {
	c.mu.Lock()
	first := !c.closed
	c.closed = true
	changed := c.changed
	c.mu.Unlock()
	if first && changed != nil {
		changed()
	}
	return nil
}
