package queue

import (
	"encoding/binary"

	"github.com/outband/outband/link"
	"golang.org/x/sys/unix"
)

// LinkInfo is what a packet socket is told of a frame beside its bytes (struct
// sockaddr_ll and struct tpacket_auxdata in packet(7)).
type LinkInfo struct {
	EtherType         uint16 // in host order
	HardwareType      uint16 // ARPHRD_*
	Source            link.MAC
	Len               int // bytes of the frame, header and all if the socket has it, before anybody cut it
	Checksum          link.Checksum
	VLAN              bool // it came with a tag, which is
	VLANTCI, VLANTPID uint16
}

// A datagram's Info is copied on its way, so it is kept short: what only packet
// sockets are told is in the fields that they have no other use for.
//
//	From, To[:2]  source          ToPort    EtherType
//	To[2:]        VLANTCI         FromPort  VLANTPID
//	FragSize      Len, low half   TTL       Checksum, and linkVLAN
//	SegmentSize   Len, high half  TOS       1: loopback
const linkVLAN = 0x80

// PutLink stores what Link returns.
func (in *Info) PutLink(loopback bool, frame []byte, proto uint16, meta *link.Meta, n int) {
	copy(in.From[:], frame[6:10])
	copy(in.To[:2], frame[10:12])
	in.ToPort = proto
	in.FragSize, in.SegmentSize = uint16(n), uint16(n>>16)
	in.TTL = uint8(meta.Checksum)
	if meta.VLAN {
		binary.BigEndian.PutUint16(in.To[2:], meta.VLANTCI)
		in.FromPort = meta.VLANTPID
		in.TTL |= linkVLAN
	}
	if loopback {
		in.TOS = 1
	}
}

// Link returns what a packet socket is told of a frame. The addresses, ports, TTL,
// TOS, FragSize and SegmentSize of such an Info mean nothing by themselves.
func (in *Info) Link() LinkInfo {
	l := LinkInfo{EtherType: in.ToPort, HardwareType: unix.ARPHRD_ETHER,
		Len:      int(in.SegmentSize)<<16 | int(in.FragSize),
		Checksum: link.Checksum(in.TTL &^ linkVLAN),
		VLAN:     in.TTL&linkVLAN != 0,
		VLANTCI:  binary.BigEndian.Uint16(in.To[2:]), VLANTPID: in.FromPort}
	copy(l.Source[:], in.From[:])
	copy(l.Source[4:], in.To[:2])
	if in.TOS != 0 {
		l.HardwareType = unix.ARPHRD_LOOPBACK
	}
	return l
}
