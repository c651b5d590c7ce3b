package stack

import (
	"sync"

	"github.com/outband/outband/ipv4"
	"github.com/outband/outband/link"
	"github.com/outband/outband/stack/internal/counter"
	"github.com/outband/outband/stack/internal/option"
	"github.com/outband/outband/stack/internal/output"
	"github.com/outband/outband/udp"
	"golang.org/x/sys/unix"
)

// Datagrams of one size to one destination, sent by one call, leave as one
// GSO packet where the link can cut it up (link.CapGSO): one pass through the
// device's queue for all of them. On the wire it is the same datagrams.

const (
	// maxGSO is how many datagrams go in one GSO packet: what every kernel
	// that has UDP_SEGMENT takes (UDP_MAX_SEGMENTS was 64 until Linux 6.12).
	maxGSO = 64
	// minGSO is from how many on it is worth while.
	minGSO = 2
	// maxGSOFrame is the longest frame that one may be: Linux drops a longer one with
	// PACKET_QDISC_BYPASS, since it would have to cut it before the device does
	// (gso_max_size in ip-link(8), whose default is one more).
	maxGSOFrame = 65535
)

// gsoRun returns how many of msgs, from the first on, can go in one
// GSO packet, and along which path.
func (k *Endpoint) gsoRun(tx *output.Buffer, msgs []OutMessage) (int, *output.Path) {
	if len(msgs) < minGSO || k.state.Load()&output.StateSend != 0 {
		return 0, nil
	}
	first := outgoing{}
	if e := first.fill(&msgs[0]); e != 0 || first.n == 0 || first.opts != nil {
		return 0, nil
	}
	p := k.cachedPath(tx, &first)
	if p == nil || !p.Holds() || first.n > p.MaxFast || p.Slow ||
		p.Dev.Info().Caps&link.CapGSO == 0 {
		return 0, nil
	}
	run, total := 1, first.n
	for run < min(len(msgs), maxGSO) {
		m := &msgs[run]
		n := m.len()
		if m.To != msgs[0].To || m.Options != nil || n == 0 || n > first.n || output.HeadersLen+total+n > maxGSOFrame {
			break
		}
		total += n
		run++
		if n < first.n {
			break // only the last may be shorter
		}
	}
	if run < minGSO {
		return 0, nil
	}
	return run, p
}

// sendGSO builds the GSO packet of msgs, all of them. base is the index of
// the first in its call.
func (k *Endpoint) sendGSO(tx *output.Buffer, p *output.Path, msgs []OutMessage, base int) unix.Errno {
	total := 0
	for i := range msgs {
		total += msgs[i].len()
	}
	b, e := tx.Room(p.Queue, output.HeadersLen+total)
	if e != 0 {
		return e
	}
	at := output.HeadersLen
	for i := range msgs {
		for _, piece := range msgs[i].Buffers {
			at += copy(b[at:], piece)
		}
	}
	k.addGSO(tx, p, b, msgs[0].len(), base+len(msgs)-1)
	return 0
}

// AddGSO queues the GSO packet that b has the payload of, to be cut into datagrams
// of size bytes. message is the last that it completes.
func (k *Endpoint) addGSO(tx *output.Buffer, p *output.Path, b []byte, size, message int) {
	total := len(b) - output.HeadersLen
	n := (total + size - 1) / size
	p.PutGSO(b, total, n)
	tx.AddGSO(b, size, message)
	if p.Described() {
		tx.DescribeLast(p.Metadata)
	}
	tx.Ends[len(tx.Ends)-1].Datagrams = int32(n)
	tx.Count[counter.UDPOutDatagrams].Add(uint64(n))
}

// sendSegmentsWhole sends a payload that UDP_SEGMENT cuts as one GSO packet. It
// reports whether it has; if not, they have to go one by one.
func (k *UDPSocket) sendSegmentsWhole(tx *output.Buffer, p *output.Path, spec *output.Spec, o *outgoing, size int) (bool, unix.Errno) {
	if !k.staysWhole(p, spec, o) {
		return false, 0
	}
	p, _, ok, e := p.Ready(tx)
	if e != 0 || !ok {
		return false, e
	}
	if k.out.SendFull() {
		return false, k.out.NoSpace()
	}
	b, e := tx.Room(p.Queue, output.HeadersLen+o.n)
	if e != 0 {
		return false, e
	}
	o.copyTo(b[output.HeadersLen:])
	k.addGSO(tx, p, b, size, o.message)
	if o.opts != nil {
		o.opts.Queued = false
	}
	return true, 0
}

// staysWhole reports whether a payload that UDP_SEGMENT cuts may leave uncut: where
// plain datagrams may be put together too.
func (k *UDPSocket) staysWhole(p *output.Path, spec *output.Spec, o *outgoing) bool {
	stamped := k.sendExtras.Has(option.SendStamps|option.TransmitTimes) || o.opts != nil && o.opts.Timestamping != 0
	return p.Dev.Info().Caps&link.CapGSO != 0 && output.HeadersLen+o.n <= maxGSOFrame && !p.Slow && p.Later == nil &&
		spec.Options == nil && !stamped
}

// len returns the length of the message's payload.
func (m *OutMessage) len() int {
	n := 0
	for _, b := range m.Buffers {
		n += len(b)
	}
	return n
}

// corked is the datagram that a socket is putting together (UDP_CORK in
// udp(7), MSG_MORE in send(2)).
type corked struct {
	mu   sync.Mutex
	to   outgoing // where it goes: the first call decides
	data []byte
}

// SetCork makes what is sent add up to one datagram, until it is turned off
// again: then that is sent.
func (k *UDPSocket) SetCork(on bool) error {
	if k.Closed() {
		return unix.EBADF
	}
	k.sendExtras.Put(option.Corked, on)
	if on {
		return nil
	}
	if !k.sendExtras.Has(option.Held) {
		return nil
	}
	o := outgoing{one: []byte{}}
	return k.sendOne(&o, 0, never)
}

// Cork reports whether SetCork is on.
func (k *UDPSocket) Cork() bool { return k.sendExtras.Has(option.Corked) }

// collect adds o to the datagram that is being put together. If that is
// complete, o becomes the whole of it, and done is true.
func (k *IPSocket) collect(o *outgoing, flags int) (done bool, e unix.Errno) {
	c := &k.corked
	c.mu.Lock()
	defer c.mu.Unlock()
	more := flags&unix.MSG_MORE != 0 || k.sendExtras.Has(option.Corked)
	if !k.sendExtras.Has(option.Held) && !more {
		return true, 0
	}
	if !k.sendExtras.Has(option.Held) {
		to, e := k.corkTarget(o, flags)
		if e != 0 {
			return false, e
		}
		k.sendExtras.Put(option.Held, true)
		c.to, c.data = to, c.data[:0]
	}
	if len(c.data)+o.n > ipv4.MaxLen-ipv4.MinHeaderLen-udp.HeaderLen {
		k.sendExtras.Put(option.Held, false) // Linux: the whole datagram is lost
		return false, unix.EMSGSIZE
	}
	at := len(c.data)
	c.data = append(c.data, make([]byte, o.n)...)
	o.copyTo(c.data[at:])
	if more {
		return false, 0
	}
	k.sendExtras.Put(option.Held, false)
	message := o.message
	*o = c.to
	o.one, o.n, o.message = append([]byte(nil), c.data...), len(c.data), message
	return true, 0
}

// corkTarget returns where the datagram that begins with o goes. Like Linux it
// asks for all that can be wrong with that now, and not again at the end.
func (k *IPSocket) corkTarget(o *outgoing, flags int) (to outgoing, e unix.Errno) {
	spec, _, e := k.spec(o, flags)
	if e != 0 {
		return outgoing{}, e
	}
	if _, e := k.s.routes.Find(spec.Flow); e != 0 {
		return outgoing{}, e
	}
	if e := k.errors.Take(); e != 0 {
		return outgoing{}, e
	}
	if k.state.Load()&output.StateShutWrite != 0 {
		return outgoing{}, unix.EPIPE
	}
	to = *o
	to.one, to.bufs = nil, nil
	if o.opts != nil { // the caller's, for this call only
		opts := *o.opts
		to.opts = &opts
	}
	to.dst, to.port, to.explicit = spec.Dst, spec.DstPort, true
	return to, 0
}
