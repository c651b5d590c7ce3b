package claim

import (
	"github.com/outband/outband/internal/ebpf/asm"
	"golang.org/x/sys/unix"
)

// The fast path of both programs, for nearly all frames: IPv4 without tag and options, no
// fragment, no ICMP. It never says anything else than the slow path, which follows it in
// the program and has everything: what is not simple goes there, to judge from the start.
//
// What the rings' filter decides here it notes at the frame, in struct __sk_buff's cb, and
// TCX, which has the same frame next, does what is noted. A note has a secret of these
// claims, and the device, since it may stay at a frame that goes on by another device. The
// kernel clears cb before a filter that uses it: a frame that the slow path decides, or
// that another process' ring sees later, has no note, and TCX looks itself.

// Offsets from the header on the stack: the first 24 bytes are as in the frame, so that
// what begins with the source is a connected claim's key, if a device of 0 is behind it.
const (
	sourceAt     = header + 12
	addressAt    = header + 16
	portAt       = header + 22
	keyDeviceAt  = header + 24
	fastLen      = ipLen + 4
	plainVersion = 0x45 // IPv4, without options
)

// fast goes to take, to leave, or to slow. Registers: result has the generation of the
// claims, flags the port's flags, fragment what the address is.
func (b *builder) fast() {
	if b.ring {
		b.add(asm.LoadMapValue(asm.R1, b.maps.widthMap.FD(), uint32(wideAt)), asm.LoadMem(asm.R2, asm.R1, 0, asm.Byte), asm.JNE.Imm(asm.R2, 0, "slow"))
	}
	b.add(asm.LoadMem(asm.R2, context, skbProtocol, asm.Word), asm.JNE.Imm(asm.R2, big(unix.ETH_P_IP), "slow"),
		asm.LoadMem(asm.R2, context, skbType, asm.Word), asm.JGT.Imm(asm.R2, unix.PACKET_MULTICAST, "slow"),
		asm.LoadMem(asm.R2, context, skbTagPresent, asm.Word), asm.JNE.Imm(asm.R2, 0, "slow"))
	b.headers()
	b.add(asm.LoadMem(asm.R1, asm.RFP, header, asm.Byte), asm.JNE.Imm(asm.R1, plainVersion, "slow"),
		asm.LoadMem(asm.R2, asm.RFP, header+9, asm.Byte), asm.JNE.Imm(asm.R2, unix.IPPROTO_UDP, "fast-other"),
		asm.LoadMem(asm.R1, asm.RFP, header+6, asm.Half), asm.JSet.Imm(asm.R1, big(moreFragments|fragmentOffset), "slow"))
	b.generation(result)
	b.half(asm.R2, portAt)
	b.add(asm.LoadMapValue(asm.R1, b.maps.portMap.FD(), 0), asm.Add.Reg(asm.R1, asm.R2), asm.LoadMem(flags, asm.R1, 0, asm.Byte),
		asm.JSet.Imm(flags, flagWild|flagLocal|flagDevice|flagShared, "fast-address"), asm.JSet.Imm(flags, flagExact, "fast-look-exact"), asm.Ja.Label("fast-pass"))
	b.fastAddress()
	b.fastClaims()
	b.fastMany()
	b.fastOther()
	b.fastEnd()
}

// headers copies the IP header, and the ports behind it, onto the stack.
func (b *builder) headers() {
	if b.ring {
		b.load(asm.R0, etherLen, header, fastLen, "slow") // in one call: each costs more than what it does
		return
	}
	b.add(asm.LoadMem(asm.R1, context, skbData, asm.Word), asm.LoadMem(asm.R2, context, skbDataEnd, asm.Word),
		asm.Mov.Reg(asm.R3, asm.R1), asm.Add.Imm(asm.R3, etherLen+fastLen), asm.JGT.Reg(asm.R3, asm.R2, "slow"))
	for at := int16(0); at < fastLen; at += 8 {
		b.add(asm.LoadMem(asm.R2, asm.R1, etherLen+at, asm.DWord), asm.StoreMem(asm.RFP, header+at, asm.R2, asm.DWord))
	}
}

// generation loads the number that moves while one claim takes another's place.
func (b *builder) generation(to asm.Register) {
	b.add(asm.LoadMapValue(asm.R1, b.maps.widthMap.FD(), uint32(generation)), asm.LoadMem(to, asm.R1, 0, asm.Byte))
}

// fastAddress finds out what the destination is. At one of the host's, a claim of all of
// them is the end of it.
func (b *builder) fastAddress() {
	b.label("fast-address")
	b.add(asm.LoadMem(asm.R2, asm.RFP, addressAt, asm.Byte), asm.And.Imm(asm.R2, 0xf0), asm.JEq.Imm(asm.R2, 0xe0, "fast-many"),
		asm.LoadMem(asm.R1, asm.RFP, addressAt, asm.Word), asm.JEq.Imm32(asm.R1, -1, "slow"), // 255.255.255.255
		asm.Mov.Reg(asm.R2, asm.R1), asm.Mul.Imm32(asm.R2, nearFactor), asm.RSh.Imm(asm.R2, 32-nearBits), asm.LSh.Imm(asm.R2, 3),
		asm.LoadMapValue(asm.R3, b.maps.widthMap.FD(), uint32(nearAt)), asm.Add.Reg(asm.R3, asm.R2), asm.LoadMem(fragment, asm.R3, 0, asm.DWord),
		asm.Mov.Reg32(asm.R2, fragment), asm.RSh.Imm(fragment, 32), asm.JNE.Reg(asm.R2, asm.R1, "fast-not-near"),
		asm.JSet.Imm(fragment, addressMany, "fast-many"), asm.JSet.Imm(fragment, addressOwn, "fast-own"), asm.Ja.Label("slow"))
	b.label("fast-not-near")
	b.add(asm.JSet.Imm(fragment, nearMore, "slow"), // known, perhaps
		asm.LoadMem(asm.R2, context, skbDevice, asm.Word), asm.JEq.Imm(asm.R2, loopbackIndex, "slow"), asm.Ja.Label("fast-exact"))
	b.label("fast-own")
	b.add(asm.JSet.Imm(flags, flagWildAlone, "fast-hit")) // else there is none, or the port is shared
}

// fastClaims looks for a claim of an address that is not for many.
func (b *builder) fastClaims() {
	b.label("fast-exact")
	b.add(asm.JSet.Imm(flags, flagShared, "fast-pass"), asm.JSet.Imm(flags, flagExact, "fast-look-exact"), asm.Ja.Label("fast-local"))
	b.label("fast-look-exact")
	b.add(asm.StoreImm(asm.RFP, keyDeviceAt, 0, asm.Word))
	b.lookup(b.maps.exact.FD(), sourceAt)
	b.add(asm.JEq.Imm(asm.R0, 0, "fast-local"), asm.LoadMem(asm.R1, asm.R0, 0, asm.Byte), asm.JSet.Imm(asm.R1, valueAlone, "fast-hit"), asm.Ja.Label("slow"))
	b.label("fast-local")
	b.between()
	b.add(asm.JSet.Imm(flags, flagLocal, "fast-look-local"), asm.Ja.Label("fast-missed"))
	b.label("fast-look-local")
	b.fastLocal()
	b.add(asm.JNE.Imm(asm.R0, 0, "fast-hit"))
	b.label("fast-missed")
	b.add(asm.JSet.Imm(flags, flagDevice, "slow"))
	b.generation(asm.R2)
	b.add(asm.JNE.Reg(asm.R2, result, "slow"), asm.Ja.Label("fast-pass"))
}

// fastLocal looks for a claim of the address.
func (b *builder) fastLocal() {
	b.move(localAt, addressAt)
	b.add(asm.LoadMem(asm.R1, asm.RFP, portAt, asm.Half), asm.StoreMem(asm.RFP, localAt+4, asm.R1, asm.Half),
		asm.StoreImm(asm.RFP, localAt+6, 0, asm.Half), asm.StoreImm(asm.RFP, localAt+8, 0, asm.Word))
	b.lookup(b.maps.local.FD(), localAt)
}

// fastMany looks for a claim of what is for every socket: the kernel is to have it too,
// unless nobody else can have the port.
func (b *builder) fastMany() {
	b.label("fast-many")
	b.add(asm.JSet.Imm(flags, flagExact|flagDevice, "slow"),
		asm.Mov.Reg(fragment, flags), asm.And.Imm(fragment, flagWild|flagWildAlone), // 1 and 2, as a claim's value
		asm.JSet.Imm(flags, flagLocal, "fast-look-many"), asm.Ja.Label("fast-looked-many"))
	b.label("fast-look-many")
	b.fastLocal()
	b.add(asm.JEq.Imm(asm.R0, 0, "fast-looked-many"), asm.LoadMem(asm.R1, asm.R0, 0, asm.Byte), asm.Or.Reg(fragment, asm.R1))
	b.label("fast-looked-many")
	b.add(asm.JEq.Imm(fragment, 0, "fast-missed"), asm.JSet.Imm(fragment, valueAlone, "fast-hit"))
	if b.ring {
		b.note(notePass, "take")
	} else {
		b.add(asm.Ja.Label("leave"))
	}
}

// fastOther has the protocol in R2, which is not UDP.
func (b *builder) fastOther() {
	b.label("fast-other")
	if b.ring {
		b.add(asm.JEq.Imm(asm.R2, unix.IPPROTO_ICMP, "slow"),
			asm.LoadMapValue(asm.R1, b.maps.widthMap.FD(), 0), asm.Add.Reg(asm.R1, asm.R2),
			asm.LoadMem(asm.R1, asm.R1, 0, asm.Byte), asm.JNE.Imm(asm.R1, 0, "slow"))
	}
	b.add(asm.Ja.Label("fast-pass"))
}

// fastEnd ends the path, with a note.
func (b *builder) fastEnd() {
	b.label("fast-pass")
	if !b.ring {
		b.add(asm.Ja.Label("leave"))
		b.label("fast-hit")
		b.add(asm.Ja.Label("take"))
		return
	}
	b.note(notePass, "leave")
	b.label("fast-hit")
	b.note(noteDrop, "take")
}

// What is noted, beside the secret.
const (
	noteDrop = 0
	notePass = 1
)

// note notes what TCX is to do, and goes on.
func (b *builder) note(what int32, then string) {
	b.add(asm.LoadImm(asm.R1, int64(b.maps.secret)|int64(what)), asm.StoreMem(context, skbNote, asm.R1, asm.DWord),
		asm.LoadMem(asm.R1, context, skbDevice, asm.Word), asm.StoreMem(context, skbNoteOn, asm.R1, asm.Word), asm.Ja.Label(then))
}

// noted does what a ring's filter noted.
func (b *builder) noted() {
	b.add(asm.LoadMem(asm.R1, context, skbNote, asm.DWord), asm.Mov.Reg(asm.R2, asm.R1), asm.And.Imm(asm.R2, ^notePass),
		asm.LoadImm(asm.R3, int64(b.maps.secret)), asm.JNE.Reg(asm.R2, asm.R3, "fast"),
		asm.LoadMem(asm.R2, context, skbNoteOn, asm.Word), asm.LoadMem(asm.R3, context, skbDevice, asm.Word), asm.JNE.Reg(asm.R2, asm.R3, "fast"),
		asm.JSet.Imm(asm.R1, notePass, "leave"), asm.Ja.Label("take"))
	b.label("fast")
}
