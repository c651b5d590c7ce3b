// Package option has what the options of a socket say, apart from what the stack does
// about it. All methods may be called by any goroutines at once.
package option

import "sync/atomic"

// Extras are what few sockets ask for, as bits. While there are any, a bit of the socket's
// state is set, so that the way of a datagram asks one word whether to look closer, and
// the other sockets pay nothing.
type Extras struct {
	bits        atomic.Uint32
	bit, closed uint32 // of state
	state       *atomic.Uint32
}

// What receiving has to look at.
const (
	KeepOptions   = 1 << iota // keep IP options for IP_RECVOPTS and IP_RETOPTS
	KeepDrops                 // tell the drop count (SO_RXQ_OVFL)
	KeepMetadata              // tell what it was sent with (SO_RCVMARK, SO_RCVPRIORITY)
	GRO                       // take GSO packets whole (UDP_GRO)
	Filtered                  // there is a socket filter
	ReceiveTimes              // stamp Info.Taken and Info.Delivered
	Steered                   // the socket's SO_REUSEPORT group has a program
	NoteCPU                   // keep the CPU that a datagram was taken in on
	PeeksAtOffset             // SO_PEEK_OFF
	HolderOnly                // unicast is the socket's only if what holds its port has brought it
)

// Init has a bit of a socket's state follow whether there are extras; closed is the bit
// that says that the socket is closed.
func (x *Extras) Init(state *atomic.Uint32, bit, closed uint32) {
	x.state, x.bit, x.closed = state, bit, closed
}

// Has reports whether one of some extras is asked for. Hot.
func (x *Extras) Has(extras uint32) bool { return x.bits.Load()&extras != 0 }

// Put says whether an extra is asked for.
func (x *Extras) Put(extra uint32, on bool) {
	if on {
		x.bits.Or(extra)
		x.state.Or(x.bit)
		return
	}
	if x.bits.And(^extra)&^extra == 0 {
		x.state.And(^x.bit)
	}
	if x.bits.Load() != 0 { // somebody else has asked for something meanwhile
		x.state.Or(x.bit)
	}
}

// Follow puts an extra by what wanted says, which others may change at the same time.
func (x *Extras) Follow(extra uint32, wanted func() bool) {
	for {
		on := wanted()
		if x.Put(extra, on); wanted() == on {
			return
		}
	}
}

// isClosed reports whether the socket is closed.
func (x *Extras) isClosed() bool { return x.state.Load()&x.closed != 0 }
