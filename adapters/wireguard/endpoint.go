package wireguard

import (
	"net/netip"
	"sync/atomic"

	"golang.zx2c4.com/wireguard/conn"

	"github.com/outband/outband/sockapi"
)

// An Endpoint is where a peer is, and from where it is answered. It does not change but for
// ClearSrc; datagrams of several peers may share one.
type Endpoint struct {
	dst     netip.AddrPort
	src     netip.Addr // zero: the stack chooses
	ifindex int
	cleared atomic.Bool // src and ifindex no longer hold
}

var _ conn.Endpoint = (*Endpoint)(nil)

// ClearSrc has the stack choose from where the peer is answered.
func (e *Endpoint) ClearSrc() { e.cleared.Store(true) }

// SrcIP returns the address from which the peer is answered, zero if the stack chooses.
func (e *Endpoint) SrcIP() netip.Addr {
	if e.cleared.Load() {
		return netip.Addr{}
	}
	return e.src
}

// SrcToString returns SrcIP as text.
func (e *Endpoint) SrcToString() string { return e.SrcIP().String() }

// DstIP returns the peer's address.
func (e *Endpoint) DstIP() netip.Addr { return e.dst.Addr() }

// DstToString returns the peer's address and port.
func (e *Endpoint) DstToString() string { return e.dst.String() }

// DstToBytes returns the peer's address and port, for cookies.
func (e *Endpoint) DstToBytes() []byte {
	b, _ := e.dst.MarshalBinary() // which has no error
	return b
}

// appendSource appends from where the peer is answered (IP_PKTINFO in ip(7)), if it is said.
func (e *Endpoint) appendSource(control []byte) []byte {
	if src := e.SrcIP(); src.Is4() {
		return sockapi.AppendPktInfo(control, e.ifindex, src.As4())
	}
	return control
}
