package stack

import (
	"github.com/outband/outband/ipv4"
	"github.com/outband/outband/stack/internal/option"
	"github.com/outband/outband/stack/internal/output"
	"golang.org/x/sys/unix"
)

// Receiving are the options of what a socket receives, whatever its kind.
type Receiving = option.Receiving

// Receiving returns the options of what the socket receives.
func (k *Endpoint) Receiving() *Receiving { return &k.receiving }

// SetKeepOptions says whether Extra.Options is wanted.
func (k *IPSocket) SetKeepOptions(on bool) { k.recvExtras.Put(option.KeepOptions, on) }

// Sending are the options of what a socket sends, whatever its kind.
type Sending = option.Sending

// Sending returns the options of what the socket sends.
func (k *Endpoint) Sending() *Sending { return &k.sending }

// SetOptions sets the IP options of what is sent (IP_OPTIONS); they are padded
// to a multiple of 4 bytes. A datagram with a source route goes to its first hop.
// EINVAL: over 40 bytes, or malformed.
func (k *IPSocket) SetOptions(o []byte) error {
	if k.Closed() {
		return unix.EBADF
	}
	sent := new(ipv4.SentOptions)
	if sent.Set(o) != ipv4.CauseNone {
		return unix.EINVAL
	}
	if sent.Len() == 0 {
		sent = nil
	}
	k.options.Store(sent)
	k.sendExtras.Follow(option.IPOptions, func() bool { return k.options.Load() != nil })
	return nil
}

// Options returns what SetOptions set.
func (k *IPSocket) Options() []byte {
	if o := k.options.Load(); o != nil {
		return o.Bytes()
	}
	return nil
}

// SendOptions change one datagram: what control messages ask for.
type SendOptions struct {
	TTL    int       // 1 to 255; 0: the socket's
	TOS    int       // 0 to 255, with HasTOS
	HasTOS bool      //
	Source ipv4.Addr // the source address (ipi_spec_dst); zero: as ever, or with
	// AnySource the one that is chosen for the destination, even if the socket is bound.
	AnySource bool
	Device    int // the interface to leave by (ipi_ifindex); 0: as ever
	// Segment is UDP_SEGMENT's size for this call; -1: none, 0: the socket's.
	Segment int
	// DontRoute is MSG_DONTROUTE.
	DontRoute bool
	// Timestamping is SOF_TIMESTAMPING_TX_* for this datagram instead of the
	// socket's; 0: the socket's.
	Timestamping uint32
	// StampID is the number of the datagram's time stamps, with HasStampID,
	// instead of the socket's next (SCM_TS_OPT_ID).
	StampID    uint32
	HasStampID bool
	// Options are the IP options instead of the socket's, with HasOptions.
	Options    ipv4.SentOptions
	HasOptions bool
	// Priority and Mark are SetPriority's and SetMark's for this datagram, with
	// HasPriority and HasMark. TOS does not change the priority.
	Priority, Mark       uint32
	HasPriority, HasMark bool
	// Direct refuses a path over a gateway, which DontRoute would not look for:
	// EMULTIHOP.
	Direct bool
	// TxTime is when the datagram is to leave, in nanoseconds of the clock that
	// SetTxTime chose (SCM_TXTIME); 0: now, as without SetTxTime. It leaves at that
	// time or shortly after: see Config.TxTimeSlack.
	TxTime uint64
	// Queued is set by the send: the datagram waits for its neighbour or its time.
	Queued bool
}

// apply changes a path's specification.
func (o *SendOptions) apply(spec *output.Spec) {
	if o.TTL > 0 {
		spec.TTL = int32(o.TTL)
	}
	if o.HasTOS {
		spec.TOS = uint8(o.TOS)
	}
	if !o.Source.IsUnspecified() || o.AnySource {
		spec.Src = o.Source
	}
	if o.Device != 0 {
		spec.Device = int32(o.Device)
	}
	if o.HasOptions {
		spec.Options = &o.Options
	}
}

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

// Binding are the options that Bind, Connect and routing look at.
type Binding = option.Binding

// Binding returns the options that Bind, Connect and routing look at.
func (k *IPSocket) Binding() *Binding { return &k.binding }

// SetUnicastInterface makes datagrams leave by an interface unless the socket is
// bound to one (IP_UNICAST_IF); 0: any. What goes to the peer of a socket that is
// connected already keeps its way. EADDRNOTAVAIL: no such interface. EINVAL:
// the socket is bound to one, be it the same.
func (k *IPSocket) SetUnicastInterface(index int) error {
	if k.Closed() {
		return unix.EBADF
	}
	if index != 0 {
		if k.s.InterfaceByIndex(index) == nil {
			return unix.EADDRNOTAVAIL
		}
		if k.Device() != 0 {
			return unix.EINVAL
		}
	}
	k.unicastIf.Store(int32(index))
	k.RenewPaths()
	return nil
}

// UnicastInterface returns what SetUnicastInterface set.
func (k *IPSocket) UnicastInterface() int { return int(k.unicastIf.Load()) }

// metadata changes metadata as control messages ask for.
func (o *SendOptions) metadata(t *output.Metadata) {
	if o.HasPriority {
		t.Priority = o.Priority
	}
	if o.HasMark {
		t.Mark = o.Mark
	}
}

// Priorities of linux/pkt_sched.h, TC_PRIO_*.
const (
	prioBestEffort      = 0
	prioBulk            = 2
	prioInteractiveBulk = 4
	prioInteractive     = 6
)

// tosMask is IPTOS_TOS_MASK: the bits of RFC 1349.
const tosMask = 0x1e

// tosPriorities are the priorities for the four bits of IPTOS_TOS_MASK but the
// lowest two (ip_tos2prio in Linux).
var tosPriorities = [4]uint32{prioBestEffort, prioBulk, prioInteractive, prioInteractiveBulk}

// TOSPriority returns the priority that Linux gives to datagrams with a
// type-of-service octet (rt_tos2priority).
func TOSPriority(tos uint8) uint32 { return tosPriorities[tos&tosMask>>3] }
