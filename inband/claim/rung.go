package claim

import "fmt"

// A Rung is a mechanism that keeps the kernel's IP layer off claimed datagrams. All are
// equally correct; a higher one costs less.
type Rung uint8

// The rungs, from the lowest up.
const (
	// Any stands for no particular rung.
	Any Rung = iota
	// Holder has nothing at the device: the kernel processes claimed datagrams, and the
	// holder's filter drops them.
	Holder
	// NFT is an nf_tables chain at the device's ingress, in a table that goes with its
	// netlink socket (Linux 5.12, CAP_NET_ADMIN).
	NFT
	// TCX is an eBPF program at the device's TCX ingress (Linux 6.6, CAP_BPF and
	// CAP_NET_ADMIN).
	TCX
)

// String returns "tcx", "nft", "holder", or "any".
func (r Rung) String() string {
	switch r {
	case Any:
		return "any"
	case Holder:
		return "holder"
	case NFT:
		return "nft"
	case TCX:
		return "tcx"
	}
	return fmt.Sprintf("rung %d", uint8(r))
}
