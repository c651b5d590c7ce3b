package bpf

// A View is what a program is run on: the bytes that it sees, and what is known
// beside them. The caller makes one for each run, on its stack: it is not kept.
type View struct {
	// Host answers what few programs ask. It may be nil.
	Host Host
	// Data is what offsets from 0 on read.
	Data []byte
	// Network is what offsets from SKF_NET_OFF on read: from the IP header on. nil:
	// there is none.
	Network []byte
	// Offset is where Network begins in Data: negative if Data begins behind the
	// network header.
	Offset     int
	PacketType uint8  // PACKET_HOST and its kin (packet(7))
	Interface  int32  // index
	EtherType  uint16 // in host order
	Frame      Frame
	// Found says that Frame is set. If it is not, Host is asked when a program wants
	// the frame.
	Found bool
}

// A Frame is what has brought a datagram.
type Frame struct {
	Data      []byte // from the Ethernet header on; nil: there is none
	Tagged    bool   // the device has taken out a tag, which is
	TCI, TPID uint16
}

// A Host knows what is not laid out before each run, since few programs ask.
type Host interface {
	// HardwareType returns an interface's ARPHRD_* type, 0 if there is no such
	// interface.
	HardwareType(index int32) uint16
	// Frame returns the frame that has brought a datagram whose IP header begins
	// network; none if the datagram was put together of several.
	Frame(network []byte) Frame
	// CPU returns the processor that the caller runs on.
	CPU() int32
}

// frame returns the frame, looked for once.
func (v *View) frame() *Frame {
	if !v.Found && v.Host != nil && len(v.Network) > 0 {
		v.Frame = v.Host.Frame(v.Network)
	}
	v.Found = true
	return &v.Frame
}
