package follow

import (
	"time"

	"golang.org/x/sys/unix"
)

// An Answer is how the kernel would send.
type Answer struct {
	Kind   Kind
	Device int32 // the index of the device by which it leaves; Local: lo
	// Gateway is the neighbour to send to, zero if that is the destination.
	Gateway [4]byte
	// Src is the source: the query's, or the one that the kernel prefers.
	Src [4]byte
	// MTU is the route's or the learnt path's in bytes; 0: the device's. It may exceed the
	// device's.
	MTU int
	// MTULocked says that path MTU discovery must not change the MTU.
	MTULocked bool
	// Expires is how long a path MTU or a redirection that was learnt holds yet, 0: the
	// answer holds for ever. The kernel sends no event when it learns or forgets one.
	Expires time.Duration
	// KernelOnly says that the way has an encapsulation (lwtunnel) or a gateway with an
	// IPv6 address: the datagram has to go in-band.
	KernelOnly bool
}

// Offsets in struct rtmsg and struct rta_cacheinfo (linux/rtnetlink.h).
const (
	rtmType           = 7
	cacheExpires      = 8
	cacheExpiresHertz = 100 // USER_HZ, in which the kernel tells times
)

// parseRoute returns what the kernel's answer to a query says.
func parseRoute(q Query, m message) (Answer, unix.Errno) {
	if m.kind != unix.RTM_NEWROUTE || len(m.data) < unix.SizeofRtMsg {
		return Answer{}, unix.EPROTO
	}
	a := Answer{Kind: Kind(m.data[rtmType]), Src: q.Src}
	attrs := m.attributes(unix.SizeofRtMsg)
	for kind, v, ok := attrs.next(); ok; kind, v, ok = attrs.next() {
		switch kind {
		case unix.RTA_OIF:
			a.Device = int32(v.uint32())
		case unix.RTA_GATEWAY:
			a.Gateway = v.addr()
		case unix.RTA_PREFSRC:
			a.Src = v.addr()
		case unix.RTA_METRICS:
			a.metrics(attributes(v))
		case unix.RTA_CACHEINFO:
			if len(v) >= cacheExpires+4 {
				a.Expires = time.Duration(int32(v[cacheExpires:].uint32())) * (time.Second / cacheExpiresHertz)
			}
		case unix.RTA_VIA, unix.RTA_ENCAP:
			a.KernelOnly = true
		}
	}
	return a, 0
}

// metrics takes what a route's metrics say (RTAX_MTU, RTAX_LOCK).
func (a *Answer) metrics(attrs attributes) {
	for kind, v, ok := attrs.next(); ok; kind, v, ok = attrs.next() {
		switch kind {
		case unix.RTAX_MTU:
			a.MTU = int(v.uint32())
		case unix.RTAX_LOCK:
			a.MTULocked = v.uint32()&(1<<unix.RTAX_MTU) != 0
		}
	}
}
