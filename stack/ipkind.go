package stack

import (
	"math"

	"github.com/outband/outband/stack/internal/option"
	"golang.org/x/sys/unix"

	"github.com/outband/outband/stack/internal/output"
)

// What the stack does with sockets of the Internet: see kind.

func (k *IPSocket) linkDown() unix.Errno { return k.lostDevice() }
func (k *IPSocket) hasIPHeader() bool    { return false }

func (k *IPSocket) makeWarmup(gen uint32) *warmup { return &warmup{gen: gen} }

func (k *IPSocket) unanswered(e QueuedError, datagram []byte) {
	k.icmpError(k.transport.quoted(e, datagram), false)
}

func (k *IPSocket) quoted(e QueuedError, _ []byte) QueuedError { return e }

func (k *IPSocket) build(tx *output.Buffer, o *outgoing, flags int) unix.Errno {
	if e := k.autobind(); e != 0 { // first, as on Linux
		return e
	}
	shortest, longest := k.transport.limits()
	switch {
	case o.n > math.MaxUint16:
		return unix.EMSGSIZE
	case flags&unix.MSG_OOB != 0:
		return unix.EOPNOTSUPP
	case o.n < shortest:
		return unix.EINVAL
	}
	if k.sendExtras.Has(option.TransmitTimes) {
		o.began = k.s.Monotonic()
	}
	if (flags&unix.MSG_MORE != 0 || k.sendExtras.Has(option.Corked|option.Held)) && k.transport.collects() {
		if done, e := k.collect(o, flags); e != 0 || !done {
			if e == 0 {
				tx.Sent = o.message + 1
			}
			return e
		}
	}
	key := k.pathKey.Load()
	spec, connected, e := k.spec(o, flags)
	if e != 0 {
		return e
	}
	if o.n > longest {
		return unix.EMSGSIZE
	}
	if o.opts != nil || flags&(unix.MSG_DONTROUTE|unix.MSG_CONFIRM) != 0 || !spec.Final.IsUnspecified() || spec.Self {
		return k.sendAside(tx, o, &spec, flags)
	}
	if connected {
		return k.sendToPeer(tx, o, &spec, key)
	}
	return k.sendTo(tx, o, &spec, key)
}

// sendable returns what keeps a datagram from being sent, whatever it is.
func (k *IPSocket) sendable(p *output.Path) unix.Errno {
	if e := k.errors.Take(); e != 0 {
		return e
	}
	if k.state.Load()&output.StateShutWrite != 0 {
		return unix.EPIPE
	}
	if !p.Dev.Info().State.Enabled() {
		return unix.ENETDOWN
	}
	return 0
}
