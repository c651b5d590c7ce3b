package stack

import (
	"net/netip"

	"github.com/outband/outband/stack/internal/counter"
	"golang.org/x/sys/unix"
)

// What calls return that packet sockets do not have, and what else differs.

// Bind is EINVAL: see BindLink.
func (k *PacketSocket) Bind(netip.AddrPort) error {
	if k.Closed() {
		return unix.EBADF
	}
	return unix.EINVAL
}

// Connect is EOPNOTSUPP.
func (k *PacketSocket) Connect(netip.AddrPort) error { return k.notSupported() }

// Disconnect is EOPNOTSUPP.
func (k *PacketSocket) Disconnect() error { return k.notSupported() }

func (k *PacketSocket) notSupported() error {
	if k.Closed() {
		return unix.EBADF
	}
	return unix.EOPNOTSUPP
}

// LocalAddr returns zeros: see BoundLink.
func (k *PacketSocket) LocalAddr() netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{}), 0)
}

// RemoteAddr returns that there is no peer.
func (k *PacketSocket) RemoteAddr() (peer netip.AddrPort, ok bool) {
	return k.LocalAddr(), false
}

// Shutdown is EOPNOTSUPP, or EINVAL for what is no direction.
func (k *PacketSocket) Shutdown(how int) error {
	if _, err := shutdownBits(how); err != nil && !k.Closed() {
		return err
	}
	return k.notSupported()
}

func (k *PacketSocket) name() string              { return "packet" }
func (k *PacketSocket) ip() *IPSocket             { return nil }
func (k *PacketSocket) ported() bool              { return true }
func (k *PacketSocket) counters() []counter.Kind  { return nil }
func (k *PacketSocket) lossCounter() counter.Kind { return counter.OtherSndbufErrors }
func (k *PacketSocket) forgivesLoss() bool        { return false }
func (k *PacketSocket) linkDown() unix.Errno      { return unix.ENETDOWN }
func (k *PacketSocket) headerLen() int            { return 0 }
func (k *PacketSocket) hasIPHeader() bool         { return false }
func (k *PacketSocket) rebindLocked() unix.Errno  { return 0 }
func (k *PacketSocket) preferCPU(int32)           {}

func (k *PacketSocket) makeWarmup(gen uint32) *warmup { return &warmup{gen: gen} }

func (k *PacketSocket) unanswered(QueuedError, []byte) {}
