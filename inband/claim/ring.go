package claim

import (
	"github.com/outband/outband/internal/ebpf"
	"github.com/outband/outband/internal/ebpf/asm"
	"golang.org/x/sys/unix"
)

// newRingFilter loads the filter of the rings' packet sockets.
func newRingFilter(m *maps) (*ebpf.Program, error) {
	b := &builder{maps: m, ring: true}
	b.add(asm.Mov.Reg(context, asm.R1))
	b.fast()
	b.label("slow")
	b.slowRing()
	return b.program("oob_ring", ebpf.SocketFilter)
}

// slowRing is the rings' filter without the fast path.
func (b *builder) slowRing() {
	b.wide()
	b.begin()
	b.wideIPv4()
	b.add(asm.JEq.Imm(flags, unix.IPPROTO_ICMP, "icmp"), asm.JNE.Imm(flags, unix.IPPROTO_UDP, "leave"),
		asm.JSet.Imm(fragment, fragmentOffset, "fragment"))
	b.datagramPorts()
	b.match()
	b.verdict()
	b.icmp()
	b.label("take")
	b.add(asm.Mov.Imm(asm.R0, -1), asm.Return()) // all of the frame
	b.label("leave")
	b.add(asm.Mov.Imm(asm.R0, 0), asm.Return())
}

// wide takes what packet sockets want.
func (b *builder) wide() {
	b.add(asm.LoadMapValue(asm.R1, b.maps.widthMap.FD(), 0),
		asm.LoadMem(asm.R2, asm.R1, int16(Promiscuous), asm.Byte), asm.JNE.Imm(asm.R2, 0, "take"),
		asm.LoadMem(asm.R2, context, skbType, asm.Word), asm.JEq.Imm(asm.R2, unix.PACKET_OTHERHOST, "leave"),
		asm.LoadMem(asm.R2, asm.R1, int16(Everything), asm.Byte), asm.JNE.Imm(asm.R2, 0, "take"))
}

// wideIPv4 takes what raw sockets want.
func (b *builder) wideIPv4() {
	b.add(asm.LoadMapValue(asm.R1, b.maps.widthMap.FD(), 0),
		asm.LoadMem(asm.R2, asm.R1, int16(AllIPv4), asm.Byte), asm.JNE.Imm(asm.R2, 0, "take"),
		asm.Add.Reg(asm.R1, flags), asm.LoadMem(asm.R2, asm.R1, 0, asm.Byte), asm.JNE.Imm(asm.R2, 0, "take"))
}

// ICMP messages that a socket gets (RFC 792).
const (
	icmpEchoReply    = 0
	icmpUnreachable  = 3
	icmpSourceQuench = 4
	icmpRedirect     = 5
	icmpEcho         = 8
	icmpTimeExceeded = 11
	icmpParameter    = 12
	icmpHeaderLen    = 8
)

// icmpErrors are the messages that quote a datagram.
var icmpErrors = []int32{icmpUnreachable, icmpSourceQuench, icmpRedirect, icmpTimeExceeded, icmpParameter}

// icmp takes answers to open ping sockets, and errors about what claims have sent.
func (b *builder) icmp() {
	b.label("icmp")
	b.add(asm.JSet.Imm(fragment, fragmentOffset, "fragment"))
	b.load(result, 0, portsAt, icmpHeaderLen, "none")
	b.add(asm.LoadMem(asm.R1, asm.RFP, portsAt, asm.Byte), asm.JEq.Imm(asm.R1, icmpEchoReply, "ident"))
	for _, t := range icmpErrors {
		b.add(asm.JEq.Imm(asm.R1, t, "error"))
	}
	b.label("none")
	b.add(asm.Mov.Imm(result, 0), asm.Ja.Label("verdict"))
	b.label("ident")
	b.half(asm.R2, portsAt+4)
	b.add(asm.LoadMapValue(asm.R1, b.maps.portMap.FD(), 0), asm.Add.Reg(asm.R1, asm.R2), asm.LoadMem(result, asm.R1, 0, asm.Byte),
		asm.And.Imm(result, flagIdent), asm.Ja.Label("verdict"))
	b.quote()
}

// quote goes on at match with what an ICMP error quotes: its source is here. As the kernel
// does, it looks at no more of the quoted header than it needs: quotes come altered.
func (b *builder) quote() {
	b.label("error")
	b.add(asm.Add.Imm(result, icmpHeaderLen))
	b.load(result, 0, quoteAt, ipLen, "none")
	b.add(asm.LoadMem(asm.R2, asm.RFP, quoteAt, asm.Byte), asm.And.Imm(asm.R2, 15), asm.LSh.Imm(asm.R2, 2), asm.JLT.Imm(asm.R2, ipLen, "none"),
		asm.Add.Reg(result, asm.R2), asm.Or.Imm(fragment, markQuote))
	b.load(result, 0, portsAt, 8, "none")
	b.add(asm.LoadMem(asm.R1, asm.RFP, quoteAt+9, asm.Byte), asm.JEq.Imm(asm.R1, unix.IPPROTO_ICMP, "quoted-icmp"),
		asm.JNE.Imm(asm.R1, unix.IPPROTO_UDP, "none"))
	b.move(exactAt, quoteAt+16)
	b.move(exactAt+4, quoteAt+12)
	b.add(asm.LoadMem(asm.R1, asm.RFP, portsAt, asm.Half), asm.StoreMem(asm.RFP, exactAt+10, asm.R1, asm.Half),
		asm.LoadMem(asm.R1, asm.RFP, portsAt+2, asm.Half), asm.StoreMem(asm.RFP, exactAt+8, asm.R1, asm.Half),
		asm.Ja.Label("match"))
	b.label("quoted-icmp")
	b.add(asm.LoadMem(asm.R1, asm.RFP, portsAt, asm.Byte), asm.JEq.Imm(asm.R1, icmpEcho, "ident"), asm.Ja.Label("none"))
}
