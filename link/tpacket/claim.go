package tpacket

import (
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/outband/outband/inband"
	"github.com/outband/outband/link"
)

var _ link.Claimer = (*Link)(nil)

// errShared is what a link says that is asked for an address and shares the host's.
var errShared = fmt.Errorf("the link shares the host's addresses: %w", unix.EOPNOTSUPP)

// ReserveAddress implements [link.Claimer]: no two processes reserve one address on a device,
// and none that the kernel has on whatever device of the namespace.
func (l *Link) ReserveAddress(addr [4]byte) error {
	if l.guest == nil {
		return errShared
	}
	return l.guest.Reserve(addr)
}

// ReleaseAddress implements [link.Claimer].
func (l *Link) ReleaseAddress(addr [4]byte) {
	if l.guest != nil {
		l.guest.Release(addr)
	}
}

// AddressTaken implements [link.Claimer].
func (l *Link) AddressTaken(addr [4]byte) error {
	if l.guest == nil {
		return errShared
	}
	return l.guest.Taken(addr)
}

// Claim keeps the kernel's IP layer off datagrams to the given addresses: see
// [Link.ClaimedBy]. Where that is not to be had, as without privileges or with
// [Options.NoClaim], it does harm only on a host that forwards, which would send them on
// and tell the sender so: that is the error, which wraps EPERM, unless
// [Options.HostMayAnswer] is set.
func (l *Link) Claim(addresses [][4]byte) error {
	if l.guest == nil {
		return errShared
	}
	return l.guest.Claim(addresses)
}

// SetClaimNotify implements [link.Claimer].
func (l *Link) SetClaimNotify(f func()) {
	if l.guest != nil {
		l.guest.SetNotify(f)
	}
}

// ClaimedBy names what keeps the kernel's IP layer off the stack's datagrams: "tcx", a
// TCX program at the device's ingress (CAP_BPF and CAP_NET_ADMIN, Linux 6.6); "nft", an
// nf_tables chain there (CAP_NET_ADMIN in the user namespace that owns the network
// namespace, Linux 5.12); or "" for nothing.
func (l *Link) ClaimedBy() string {
	if l.guest == nil {
		return ""
	}
	return l.guest.Kind()
}

// openGuest is the part of open that makes the stack a guest.
func (l *Link) openGuest(o *Options) (err error) {
	if o.Share != nil {
		return nil
	}
	l.guest, err = inband.NewGuest(inband.GuestOptions{NoClaim: o.NoClaim, HostMayAnswer: o.HostMayAnswer})
	return err
}

// attachHost says on the host's side which device it is.
func (l *Link) attachHost(index int, name string) error {
	if s := l.opts.Share; s != nil {
		return s.Attach(index, name)
	}
	l.guest.Attach(index, name)
	return nil
}
