package stack

import (
	"golang.org/x/sys/unix"

	"github.com/outband/outband/stack/internal/output"
)

// Setters of what the paths go by. They hold for what is sent after they return.

// SetTTL sets the time to live of unicast datagrams, 1 to 255; -1 is the default, 64,
// and so is 0, which is never sent (RFC 1122, 3.2.1.7).
func (k *IPSocket) SetTTL(ttl int) { k.ttl.Store(int32(ttl)); k.RenewPaths() }

// TTL returns what SetTTL set, or the default.
func (k *IPSocket) TTL() int {
	if v := k.ttl.Load(); v >= 0 {
		return int(v)
	}
	return output.DefaultTTL
}

// SetTOS sets the type-of-service octet (RFC 2474, RFC 3168), and the priority that
// goes with it: see TOSPriority.
func (k *IPSocket) SetTOS(tos int) {
	k.tos.Store(int32(tos))
	k.sending.SetPriority(TOSPriority(uint8(tos)))
}

// TOS returns the type-of-service octet.
func (k *IPSocket) TOS() int { return int(k.tos.Load()) }

// SetMTUDiscover sets one of unix.IP_PMTUDISC_* (ip(7)).
func (k *IPSocket) SetMTUDiscover(mode int) { k.mtuDiscover.Store(int32(mode)); k.RenewPaths() }

// MTUDiscover returns what SetMTUDiscover set.
func (k *IPSocket) MTUDiscover() int { return int(k.mtuDiscover.Load()) }

// SetRecvExtension asks for where in an ICMP error's payload its extensions are
// (IP_RECVERR_RFC4884 in ip(7)).
func (k *IPSocket) SetRecvExtension(on bool) { k.recvExtension.Store(on) }

// RecvExtension returns what SetRecvExtension set.
func (k *IPSocket) RecvExtension() bool { return k.recvExtension.Load() }

// PathMTU returns the MTU in bytes of the path to the peer as it is known now
// (IP_MTU, ip(7)): ENOTCONN if there is no peer.
func (k *IPSocket) PathMTU() (int, error) {
	if k.Closed() {
		return 0, unix.EBADF
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.connected {
		return 0, unix.ENOTCONN
	}
	f := k.flowLocked(k.peer, k.peerIf)
	f.Broadcast, f.OnLink = true, k.sending.DontRoute()
	k.multicast.apply(&f)
	h, e := k.s.routes.Find(f)
	if e != 0 {
		return 0, unix.ENOTCONN // as ip(7) has it: no path is known
	}
	return h.PathMTU, nil
}
