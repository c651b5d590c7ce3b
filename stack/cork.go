package stack

import (
	"sync"

	"github.com/outband/outband/ipv4"
	"github.com/outband/outband/stack/internal/option"
	"github.com/outband/outband/stack/internal/output"
	"github.com/outband/outband/udp"
	"golang.org/x/sys/unix"
)

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
