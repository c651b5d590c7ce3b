// Package link is the contract between the stack and what carries its frames.
//
// A [Link] moves whole link-layer frames, Ethernet header first. It knows no
// protocol above that. Implementations live in the folders below this one:
//
//   - link/tpacket: a Linux network device, by an AF_PACKET ring.
//   - link/loopback: what is sent is received again.
//   - link/host: the IP layer of the host itself, for a stack that shares its addresses.
//   - link/pipe: two ends in memory, for tests in simulated time.
//   - link/fault and link/pcapng: wrappers, which are links too, so they stack.
//
// What links over network devices share is in link/device.
//
// # Receiving
//
// Frames are received in batches and without copying: [Link.Receive] hands out
// views of the link's own memory, which hold until [Link.Release]. Receive and
// Release are for one goroutine at a time (the stack's receive lock sees to
// that); every other method may be called by any goroutine at any time.
//
// # Waiting
//
// Receive never blocks. A goroutine that is to sleep until a frame arrives uses a
// [Poller], which sleeps on any number of links at once.
package link

import "github.com/outband/outband/ether"

// A MAC is an Ethernet hardware address.
type MAC = ether.MAC

// HeaderLen is the length of an untagged Ethernet header in bytes.
const HeaderLen = ether.HeaderLen

// A Frame is one received frame: a view of the link's memory and what the link
// knows beside it.
type Frame struct {
	// Data is the frame, Ethernet header first, without a VLAN tag that the
	// device took out (see Meta.VLAN) and without the frame check sequence.
	// The slice is the link's: it holds until Release, may be changed in
	// place until then, and must not be kept.
	Data []byte
	Meta
}

// Meta is what a link knows of a received frame beside its bytes.
type Meta struct {
	// Time is when the frame was received: nanoseconds since the Unix epoch,
	// by the clock that Clock names. 0 if Clock is ClockNone.
	Time int64
	// WireLen is the frame's length on the wire in bytes. If it is larger
	// than len(Data), the frame was cut short (truncated).
	WireLen int
	// GSOSize is, for a GSO packet (GSO not GSONone), the length in bytes
	// of each segment's transport payload but the last's.
	GSOSize uint16
	// Priority and Mark are what TxFrame said of a frame that was sent to ourselves
	// (link/loopback); a frame from a device has neither.
	Priority, Mark uint32
	// Device is the index of the device that the frame came by, if it is another than the
	// link's (link/host): 0 if it is not.
	Device int32
	// Holder is the number of the in-band socket that the frame's datagram came to (link/host,
	// inband/holder): of a group's or a broadcast each has its own copy. 0: none.
	Holder uint32
	// ByLoopback is what TxFrame said.
	ByLoopback bool
	// VLANTCI and VLANTPID are the tag control information and the tag
	// protocol identifier (IEEE 802.1Q) if VLAN is true.
	VLANTCI, VLANTPID uint16
	VLAN              bool
	GSO               GSO
	Clock             Clock
	Checksum          Checksum
	Type              PacketType
}

// A Clock says which clock made a frame's time stamp.
type Clock uint8

const (
	ClockNone     Clock = iota // no time stamp
	ClockSoftware              // the kernel's (or the link's own) CLOCK_REALTIME
	ClockHardware              // the network device's own clock
)

// A Checksum says what is known of the transport checksum of a received frame.
type Checksum uint8

const (
	ChecksumUnknown Checksum = iota // nothing: verify it
	ChecksumValid                   // the device verified it
	ChecksumPartial                 // the sender left it to be filled in: the bytes were never on a wire
)

// GSO is the kind of GSO packet that a frame is: one frame that stands for
// several datagrams of one flow (generic segmentation offload).
type GSO uint8

const (
	GSONone  GSO = iota // an ordinary frame
	GSOUDP              // UDP: one header, then payloads of GSOSize bytes each (UDP_SEGMENT)
	GSOOther            // a kind that is not UDP's
)

// A PacketType is how a frame was addressed at the link layer, with Linux'
// values (packet(7), sll_pkttype).
type PacketType uint8

const (
	Host      PacketType = 0 // to this host
	Broadcast PacketType = 1 // to all
	Multicast PacketType = 2 // to a group
	OtherHost PacketType = 3 // to another host, caught by promiscuous mode or a flooding bridge
	Outgoing  PacketType = 4 // sent by this host
)

// A TxFrame is one frame to send, and what the link is to do with it.
type TxFrame struct {
	// Data is the frame, Ethernet header first. The link has no use for it
	// after the call returns.
	Data []byte
	// CsumStart and CsumOffset ask the link to fill in a transport checksum
	// if PartialChecksum is true: the Internet checksum of all bytes from
	// CsumStart, written at CsumStart+CsumOffset, where the pseudo-header's
	// sum stands already. Only for links with CapChecksum.
	CsumStart, CsumOffset uint16
	// GSOSize makes the frame a UDP GSO packet if it is not 0: the link
	// cuts its payload into datagrams of GSOSize bytes, the last maybe shorter.
	// Needs PartialChecksum. Only for links with CapGSO.
	GSOSize         uint16
	PartialChecksum bool
	// Priority and Mark go along with the frame for what is below the link to
	// look at: queueing disciplines, the priority of a VLAN tag, packet filters
	// (SO_PRIORITY and SO_MARK in socket(7)). They are never on the wire. Links
	// without CapMark leave them out. 0 is what Send's frames have.
	Priority, Mark uint32
	// Device is the index of the device to leave by, of a link that sends by many
	// (link/host); 0: any. Other links do not look at it.
	Device int32
	// ByLoopback says of a frame to ourselves that it counts as having come in by the
	// loopback interface, whichever has the address that it goes to. It means
	// something on links with CapLoopback only.
	ByLoopback bool
	// NotLooped says of a datagram to a group that the members on the sender's own host do
	// not get it (IP_MULTICAST_LOOP in ip(7)), of a link that would bring it to them
	// (link/host). Other links do not look at it.
	NotLooped bool
}

// A Link carries frames. The package comment says which goroutines may call what.
type Link interface {
	// Receive stores the frames that have arrived, oldest first, up to
	// len(frames), and returns how many. It never blocks, allocates nothing,
	// and makes no system call in the ordinary case. All views of the
	// previous call must have been given back by Release.
	Receive(frames []Frame) int
	// Release gives back all the frames that the last Receive handed out.
	Release()

	// Send transmits one frame, and returns without waiting for the wire.
	// It does not keep the slice. Without a carrier the frame is lost, and counted,
	// which is no error. Errors are unix errnos: ENETDOWN (device down or gone), EAGAIN and ENOBUFS (the device's queue is full), EMSGSIZE
	// (longer than the MTU allows).
	Send(frame []byte) error
	// SendBatch transmits frames in order with as few system calls as the link
	// can, and returns how many were sent. The error is what stopped it, as
	// for Send; nil if all were sent.
	SendBatch(frames []TxFrame) (int, error)

	// Info returns the link's properties as they are now. It is cheap, but not
	// for the hot path: SetNotify's changed says when to ask again.
	Info() Info
	// Stats returns the link's counters since it was opened.
	Stats() Stats

	// SetNotify registers what the link calls when something happens; either
	// function may be nil, and a second call replaces the first's functions.
	// readable: a frame has arrived, on a link whose FD is negative; the link
	// calls it for every frame or only when it had none waiting, never with a
	// lock held that its own methods take. changed: Info would give another
	// answer. Both are called on any goroutine and must return at once.
	SetNotify(readable, changed func())
	// FD returns the file descriptor that poll(2) reports readable when
	// frames wait, or -1 if there is none, or none of use now: then SetNotify's
	// functions tell. The descriptor stays the link's. PollError has the link find
	// out why and clear the condition; if the descriptor is of no use until changed
	// is called, FD returns -1 from then on.
	Pollable

	// JoinGroup and LeaveGroup open and close the device's filter for a
	// multicast hardware address. Each group is counted: a group joined twice
	// is left twice. Joins outlive a device that goes away and comes back.
	JoinGroup(group MAC) error
	LeaveGroup(group MAC) error
	// AddMode and DropMode open and close the device's filter for frames that
	// are for others. Each mode is counted, and outlives the device, as a group
	// does. EINVAL: no such mode. EADDRNOTAVAIL: a mode dropped that is not on.
	AddMode(m Mode) error
	DropMode(m Mode) error

	// Close ends the link: Receive returns 0 and Send ENETDOWN from now on. It
	// must not be called while a received frame is out, or while another
	// goroutine is in Receive.
	Close() error
}

// A Mode is which frames a link receives beside those for itself, for all hosts,
// and for the groups that it has joined (PACKET_ADD_MEMBERSHIP in packet(7)).
type Mode uint8

const (
	Promiscuous  Mode = iota // all that pass, those for other hosts too (PACKET_MR_PROMISC)
	AllMulticast             // those for all groups (PACKET_MR_ALLMULTI)

	Modes // how many there are
)

// A LossTeller is a link that knows, while it receives, how many frames it has lost.
// Lost returns how many have found no room since the link was opened: at least those
// before the frames that the last Receive handed out. Any goroutine may call it, after
// Close too; it never falls, and costs no system call.
type LossTeller interface{ Lost() uint64 }

// LossTellerOf returns l, or the link that it wraps, as a LossTeller; nil if it is none.
func LossTellerOf(l Link) LossTeller { return inner[LossTeller](l) }

// A Prompter is a link whose Receive does not look everywhere each time, as who spins has
// no use for that (link/host). Prompt has the next Receive look wherever it is time to: a
// call has begun that may look but once. Any goroutine may call it; it costs next to nothing.
type Prompter interface{ Prompt() }

// PrompterOf returns l, or the link that it wraps, as a Prompter; nil if it is none.
func PrompterOf(l Link) Prompter { return inner[Prompter](l) }

// An InBander is a link to an operating system's own sockets (link/host). InBand reports
// whether no ring is between: what comes by it takes an operating system's time.
type InBander interface{ InBand() bool }

// InBand reports whether l, or the link that it wraps, is an InBander that says so.
func InBand(l Link) bool {
	b := inner[InBander](l)
	return b != nil && b.InBand()
}

// inner returns l, or the link that it wraps, as a T; its zero value if none is one.
func inner[T any](l Link) (t T) {
	for {
		if t, ok := l.(T); ok {
			return t
		}
		w, ok := l.(interface{ Unwrap() Link })
		if !ok {
			return t
		}
		l = w.Unwrap()
	}
}

// Info is what a link is.
type Info struct {
	Name         string // the device's present name, "near0"; while it is Gone, the one waited for
	Index        int    // the kernel's interface index; 0 if the kernel does not know it
	MTU          int    // bytes of payload behind the Ethernet header
	HardwareAddr MAC
	State        State
	Dormant      bool // the device waits for somebody to say that it may be used: it is not IFF_RUNNING, though Up
	Caps         Caps
}

// A State is whether a link carries frames.
type State uint8

const (
	Down      State = iota // set down by the administrator (not IFF_UP)
	Up                     // frames pass, though the device may be dormant (IFF_UP, IFF_LOWER_UP)
	Gone                   // the device was deleted or moved; the link waits for one of the name that it was opened by
	NoCarrier              // set up, but without a carrier (not IFF_LOWER_UP): what is sent is lost
)

// Enabled reports whether a device in that state is there and set up: routes by it count.
func (s State) Enabled() bool { return s == Up || s == NoCarrier }

// String returns the state as ip-link(8) writes it.
func (s State) String() string {
	switch s {
	case Up:
		return "UP"
	case Down:
		return "DOWN"
	case NoCarrier:
		return "NO-CARRIER"
	default:
		return "NOTPRESENT"
	}
}

// Caps is a set of what a link can do.
type Caps uint32

const (
	CapChecksum   Caps = 1 << iota // Send fills in partial checksums
	CapGSO                         // Send cuts UDP GSO packets
	CapLoopback                    // what is sent comes back: no neighbours, no ARP
	CapTimestamps                  // received frames carry a time
	CapMark                        // SendBatch takes a frame's Priority and Mark along
)

// Stats counts what passed a link since it was opened, in frames and bytes.
type Stats struct {
	RxFrames, RxBytes uint64
	TxFrames, TxBytes uint64
	RxDropped         uint64 // arrived while no slot was free (ring overflow)
	RxTruncated       uint64 // were longer than the link could take whole
	TxErrors          uint64 // Send failed
	TxDropped         uint64 // Send failed because the device's queue was full
	TxLost            uint64 // sent while there was no carrier
	Reopened          uint64 // the device had gone and came back
}
