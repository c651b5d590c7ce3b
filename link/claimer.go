package link

// A Claimer is a link over a device of a host whose own IP layer listens to it as well.
// The stack is a guest there: its addresses are to be nobody else's on that host, and
// what the host's IP layer would do with datagrams to them is to be kept from it. Any
// goroutine may call its methods at any time.
type Claimer interface {
	// ReserveAddress holds an address for the stack, until ReleaseAddress was called as often. An
	// error that wraps EADDRINUSE says who has it: the host itself, or another
	// process on this device.
	ReserveAddress(addr [4]byte) error
	// ReleaseAddress undoes one ReserveAddress.
	ReleaseAddress(addr [4]byte)
	// AddressTaken returns why an address that was reserved is not the stack's alone any
	// more, nil if it still is.
	AddressTaken(addr [4]byte) error
	// Claim tells the link which addresses are in use by the stack, on whichever of
	// its interfaces, all of them each time. An error that wraps EPERM says that the
	// host will answer datagrams to them, and that nothing can keep it from that.
	Claim(addresses [][4]byte) error
	// SetClaimNotify has f called when AddressTaken or Claim would give another answer; nil
	// takes it away. It is called on any goroutine, without a lock that the link's
	// methods take, and may take its time.
	SetClaimNotify(f func())
}

// ClaimerOf returns l, or the link that it wraps, as a Claimer; nil if it is none.
func ClaimerOf(l Link) Claimer { return inner[Claimer](l) }
